//! Bytes appended and spelled quickly: what the head of every message is made of.
#![expect(unsafe_code, reason = "copies behind one check for room; `put_slowly` is the definition")]

/// Appends `parts` one behind the other: one check for room, then copies. Literals among them become plain stores.
#[inline(always)]
pub fn put<const N: usize>(out: &mut Vec<u8>, parts: [&[u8]; N]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    let mut at = out.len();
    for part in parts {
        // SAFETY: `reserve` made room for all parts behind `at`, and `out` is borrowed for writing, so none lies in it.
        unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), out.as_mut_ptr().add(at), part.len()) };
        at += part.len();
    }
    // SAFETY: every byte up to `at` was written above, within the capacity.
    unsafe { out.set_len(at) };
}

/// The safe twin of [`put`].
#[cfg(test)]
fn put_slowly(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Is it text without a control byte but the tab?
#[inline]
pub fn is_one_line(text: &[u8]) -> bool {
    all(text, |b| (b >= b' ' || b == b'\t') & (b != 0x7f))
}

/// Does it stand in a JSON string as it is: printable ASCII without quotes and backslashes?
#[inline]
pub fn is_plain_json(text: &[u8]) -> bool {
    all(text, |b| (b' '..0x7f).contains(&b) & (b != b'"') & (b != b'\\'))
}

/// Are all bytes such? Sixteen at once, as far as there are; no byte of a piece decides before the others.
#[inline(always)]
fn all(text: &[u8], is_such: impl Fn(u8) -> bool) -> bool {
    let (pieces, rest) = text.as_chunks::<16>();
    let of_piece = |piece: &[u8; 16]| piece.iter().fold(true, |all, &b| all & is_such(b));
    pieces.iter().all(of_piece) && rest.iter().all(|&b| is_such(b))
}

/// Both digits of every byte, side by side.
static HEX: [[u8; 2]; 256] = {
    let (digits, mut table, mut byte) = (b"0123456789abcdef", [[0; 2]; 256], 0);
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

/// Sixteen bytes as lower-case hex digits; one look-up a byte.
#[inline]
pub fn hex(bytes: [u8; 16]) -> [u8; 32] {
    let mut out = [0; 32];
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = HEX[usize::from(byte)];
    }
    out
}

/// A text of at most 47 bytes, held in place: an address as a header shows it, made once per connection.
#[derive(Clone, Copy)]
pub struct Short {
    text: [u8; Short::BYTES_MAX],
    len: u8,
}

impl Short {
    /// Longest text, bytes: an IPv6 address has at most 45.
    pub const BYTES_MAX: usize = 47;

    /// The text of `what`, cut to [`Short::BYTES_MAX`].
    pub fn of(what: impl std::fmt::Display) -> Short {
        use std::io::Write;
        let mut short = Short { text: [0; Short::BYTES_MAX], len: 0 };
        let mut rest = &mut short.text[..];
        // What does not fit is left out; nothing else can fail here.
        let _ = write!(rest, "{what}");
        short.len = (Short::BYTES_MAX - rest.len()) as u8;
        short
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_stand_one_behind_the_other(before: Vec<u8>, a: Vec<u8>, b: Vec<u8>, c: Vec<u8>) {
            let (mut fast, mut slow) = (before.clone(), before);
            put(&mut fast, [&a, b": ", &b, &c, b"\r\n"]);
            put_slowly(&mut slow, &[&a, b": ", &b, &c, b"\r\n"]);
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn text_is_judged_by_each_of_its_bytes(text: Vec<u8>) {
            let control = |b: &u8| b.is_ascii_control() && *b != b'\t';
            prop_assert_eq!(is_one_line(&text), !text.iter().any(control));
            let plain = |b: &u8| (b' '..=b'~').contains(b) && !b"\"\\".contains(b);
            prop_assert_eq!(is_plain_json(&text), text.iter().all(plain));
        }

        #[test]
        fn hex_is_what_the_formatter_writes(bytes: [u8; 16]) {
            let want: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(hex(bytes), want.as_bytes());
        }
    }

    #[test]
    fn addresses_are_held_whole_and_longer_texts_are_cut() {
        let longest = "0000:0000:0000:0000:0000:ffff:192.168.100.200";
        for text in ["", "127.0.0.1", "::1", longest] {
            assert_eq!(Short::of(text).bytes(), text.as_bytes());
        }
        assert_eq!(Short::of("x".repeat(60)).bytes().len(), Short::BYTES_MAX);
    }
}
