//! The arguments of a raw query. Pieces are handed out as written; decoding is asked for, piece by piece.

pub use super::target::triplet;

/// One argument of a query, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg<'a> {
    /// The name: what stands before the first `=`.
    pub name: &'a [u8],
    /// The value; `None` when there is no `=`.
    pub value: Option<&'a [u8]>,
}

/// The arguments of a query (without its `?`), in order. Empty pieces (`a&&b`) are skipped.
pub fn args(query: &[u8]) -> impl Iterator<Item = Arg<'_>> + Clone {
    query.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty()).map(arg)
}

fn arg(piece: &[u8]) -> Arg<'_> {
    match memchr::memchr(b'=', piece) {
        Some(eq) => Arg { name: &piece[..eq], value: Some(&piece[eq + 1..]) },
        None => Arg { name: piece, value: None },
    }
}

/// Appends a name or value of which every byte stands for itself: all but letters, digits and `-._~` become triplets.
pub fn encode(piece: &[u8], out: &mut Vec<u8>) {
    for &byte in piece {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            super::target::push_triplet(byte, out);
        }
    }
}

/// Decodes a name or value: triplets to bytes, `+` to a space; a `%` that begins no triplet stays. `scratch` is cleared
/// first, and only used when there is something to decode.
pub fn decode<'a>(piece: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr::memchr2(b'%', b'+', piece).is_none() {
        return piece;
    }
    scratch.clear();
    let mut rest = piece;
    while let Some(at) = memchr::memchr2(b'%', b'+', rest) {
        scratch.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (byte, used) = match (rest[0], triplet(rest)) {
            (b'+', _) => (b' ', 1),
            (_, Some(byte)) => (byte, 3),
            (percent, None) => (percent, 1),
        };
        scratch.push(byte);
        rest = &rest[used..];
    }
    scratch.extend_from_slice(rest);
    scratch
}

/// The value of the first argument of this (decoded) name, decoded; empty for an argument without `=`.
pub fn find<'a>(query: &'a [u8], name: &[u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let found = args(query).find(|arg| decode(arg.name, scratch) == name)?;
    Some(decode(found.value.unwrap_or(b""), scratch))
}

/// Appends `query` to `out` without the arguments whose decoded name `gone` says yes to; all other bytes are preserved.
/// Returns whether anything was left out. When everything was, the caller leaves out the `?` too.
pub fn remove(query: &[u8], mut gone: impl FnMut(&[u8]) -> bool, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let (mut removed, mut first) = (false, true);
    for piece in query.split(|&byte| byte == b'&') {
        if !piece.is_empty() && gone(decode(arg(piece).name, scratch)) {
            removed = true;
            continue;
        }
        if !first {
            out.push(b'&');
        }
        first = false;
        out.extend_from_slice(piece);
    }
    debug_assert!(removed || out[start..] == *query);
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_and_decoded() {
        let mut scratch = Vec::new();
        let query = b"a=1&b&&c=x=y&=z&d%20e=f+g%2";
        let want: &[(&[u8], Option<&[u8]>)] =
            &[(b"a", Some(b"1")), (b"b", None), (b"c", Some(b"x=y")), (b"", Some(b"z")), (b"d%20e", Some(b"f+g%2"))];
        assert_eq!(args(query).map(|arg| (arg.name, arg.value)).collect::<Vec<_>>(), want);
        let rows: &[(&str, Option<&str>)] = &[
            ("a", Some("1")),
            ("b", Some("")),
            ("d e", Some("f g%2")),
            ("d%20e", None),
            ("", Some("z")),
            ("zz", None),
        ];
        for &(name, want) in rows {
            assert_eq!(find(query, name.as_bytes(), &mut scratch), want.map(str::as_bytes), "{name:?}");
        }
    }

    #[test]
    fn an_encoded_piece_is_decoded_to_itself() {
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        let all: Vec<u8> = (0..=255).collect();
        encode(&all, &mut out);
        assert_eq!(decode(&out, &mut scratch), all);
        assert!(out.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    }

    #[test]
    fn removed_arguments_leave_the_rest_as_it_was() {
        let rows: &[(&str, &str, bool)] = &[
            ("apikey=x", "", true),
            ("a=1&apikey=x&b=2", "a=1&b=2", true),
            ("apikey=x&a=%zz+&b", "a=%zz+&b", true),
            ("a&%61pikey=x", "a", true),
            ("a=1&&b=2&", "a=1&&b=2&", false),
            ("a=apikey", "a=apikey", false),
            ("", "", false),
            ("apikey&apikey=2&x", "x", true),
        ];
        for &(query, want, removed) in rows {
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let got = remove(query.as_bytes(), |name| name == b"apikey", &mut scratch, &mut out);
            assert_eq!((String::from_utf8_lossy(&out).as_ref(), got), (want, removed), "{query}");
        }
    }
}
