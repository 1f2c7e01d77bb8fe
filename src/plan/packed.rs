//! Many small texts and numbers side by side in one string: for what there may be a hundred thousand of, where a pointer, a
//! length and an allocation for each text would take more than the text.
//!
//! ```text
//!   number    six bits a character, the lowest first; 0x40 is set where more follow
//!   text      its length, and it
//!   maybe     its length + 1, and it; 0 is none
//! ```
//!
//! All of it is UTF-8, so that texts are slices of the string and nothing is copied or checked to read one. Reading what was
//! never written gives zeros and empty texts.

const MORE: u8 = 0x40;

/// Appends a number. One byte to 63, two to 4095, three to 262 143.
pub fn put_number(out: &mut String, mut number: u64) {
    while number >= u64::from(MORE) {
        out.push(char::from(number as u8 & (MORE - 1) | MORE));
        number >>= 6;
    }
    out.push(char::from(number as u8));
}

/// Appends a text.
pub fn put_text(out: &mut String, text: &str) {
    put_number(out, text.len() as u64);
    out.push_str(text);
}

/// Appends a text that may be missing.
pub fn put_maybe(out: &mut String, text: Option<&str>) {
    put_number(out, text.map_or(0, |text| text.len() as u64 + 1));
    out.push_str(text.unwrap_or_default());
}

/// Where in `out` the next thing is appended. What lies beyond 4 GiB is not found again; configurations are refused long
/// before, see [`limits::DOC_BYTES_MAX`](crate::base::limits::DOC_BYTES_MAX).
pub fn place(out: &str) -> u32 {
    u32::try_from(out.len()).unwrap_or(u32::MAX)
}

/// Reads what was appended, in the same order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpack<'p>(&'p str);

impl<'p> From<&'p str> for Unpack<'p> {
    fn from(packed: &'p str) -> Unpack<'p> {
        Unpack(packed)
    }
}

impl<'p> Unpack<'p> {
    /// From this place on.
    pub fn at(packed: &'p str, place: u32) -> Unpack<'p> {
        Unpack(packed.get(place as usize..).unwrap_or_default())
    }

    /// Is nothing left?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number.
    pub fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        let mut read = 0;
        for byte in self.0.bytes() {
            read += 1;
            // 60: eleven characters hold 64 bits.
            if shift <= 60 {
                number |= u64::from(byte & (MORE - 1)) << shift;
            }
            shift += 6;
            if byte & MORE == 0 {
                break;
            }
        }
        self.0 = self.0.get(read..).unwrap_or_default();
        number
    }

    /// A text.
    pub fn text(&mut self) -> &'p str {
        let len = self.number() as usize;
        self.take(len)
    }

    /// A text that may be missing.
    pub fn maybe(&mut self) -> Option<&'p str> {
        let len = self.number() as usize;
        (len > 0).then(|| self.take(len - 1))
    }

    fn take(&mut self, len: usize) -> &'p str {
        let (text, rest) = self.0.split_at_checked(len).unwrap_or_default();
        self.0 = rest;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_is_read(all in proptest::collection::vec((any::<u64>(), ".*", proptest::option::of(".*")), 0..9)) {
            let (mut out, mut places) = (String::from("before"), Vec::new());
            for (number, text, maybe) in &all {
                places.push(place(&out));
                put_number(&mut out, *number);
                put_text(&mut out, text);
                put_maybe(&mut out, maybe.as_deref());
            }
            for ((number, text, maybe), at) in all.iter().zip(places) {
                let mut unpack = Unpack::at(&out, at);
                prop_assert_eq!((unpack.number(), unpack.text(), unpack.maybe()), (*number, &**text, maybe.as_deref()));
            }
        }

        #[test]
        fn nonsense_is_read_without_harm(packed: String, at: u32) {
            let mut unpack = Unpack::at(&packed, at % 64);
            while !unpack.is_empty() {
                unpack.maybe();
            }
            prop_assert_eq!((unpack.number(), unpack.text(), unpack.maybe()), (0, "", None));
        }
    }

    #[test]
    fn numbers_are_short() {
        for (number, len) in [(0, 1), (63, 1), (64, 2), (4095, 2), (262_143, 3), (u64::MAX, 11)] {
            let mut out = String::new();
            put_number(&mut out, number);
            assert_eq!((out.len(), Unpack::at(&out, 0).number()), (len, number));
        }
    }
}
