//! The pairs of the Cookie fields (RFC 6265 §5.4), as they were written.

use super::head::HeadRef;
use super::headers::{trim, Known};

/// Every pair of a request's Cookie fields, in order. A piece without `=` is a value without a name.
pub fn of(head: HeadRef<'_>) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    head.all(Known::Cookie).flat_map(pairs)
}

/// The pairs of one Cookie value. White space around names and values is not theirs; quotes are.
pub fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    value.split(|&byte| byte == b';').map(trim).filter(|pair| !pair.is_empty()).map(|pair| {
        match pair.iter().position(|&byte| byte == b'=') {
            Some(eq) => (trim(&pair[..eq]), trim(&pair[eq + 1..])),
            None => (&[][..], pair),
        }
    })
}

/// The first cookie of this name; names are case-sensitive.
pub fn find<'a>(head: HeadRef<'a>, name: &[u8]) -> Option<&'a [u8]> {
    of(head).find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Head;

    #[test]
    fn pairs_are_split_at_semicolons_and_the_first_equals_sign() {
        let (mut head, mut buf) = (Head::new(), Vec::new());
        head.append(&mut buf, b"Cookie", b"a=1; b = two ;;c==x=; bare; q=\"x y\"");
        head.append(&mut buf, b"cookie", b"a=2");
        let on = head.on(&buf);
        let want: &[(&[u8], &[u8])] =
            &[(b"a", b"1"), (b"b", b"two"), (b"c", b"=x="), (b"", b"bare"), (b"q", b"\"x y\""), (b"a", b"2")];
        assert_eq!(of(on).collect::<Vec<_>>(), want);
        assert_eq!(find(on, b"a"), Some(&b"1"[..]));
        assert_eq!(find(on, b"A"), None);
    }
}
