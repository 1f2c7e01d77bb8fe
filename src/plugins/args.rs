//! Query arguments as plugins that look for secrets in them need them: decoded only where there is something to decode.

use crate::http::query;
use std::borrow::Cow;

/// A piece of a query, decoded. Allocates only where there is something to decode, which keys seldom have.
pub(super) fn decoded(piece: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', piece).is_none() {
        return Cow::Borrowed(piece);
    }
    let mut scratch = Vec::with_capacity(piece.len());
    query::decode(piece, &mut scratch);
    Cow::Owned(scratch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_piece_is_not_copied() {
        assert!(matches!(decoded(b"a-b_c.d"), Cow::Borrowed(b"a-b_c.d")));
        assert_eq!(*decoded(b"a%20b+c%2"), *b"a b c%2");
    }
}
