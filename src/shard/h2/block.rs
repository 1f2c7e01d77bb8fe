//! Walks header blocks (RFC 7541) before the HTTP/2 engine decodes them, for what the engine does not tell.
//!
//! To the engine a block that is none is a PROTOCOL_ERROR, where RFC 9113 §4.3 has COMPRESSION_ERROR; of trailers it drops
//! pseudo-fields without a word, and of a path the fragment. Nothing is decoded here: texts are skipped or, where they are
//! compressed, measured, as the table's evictions hang on their lengths. Of the table, sizes and kinds are kept.

use super::index::{Kind, Name, Table, TABLE_BYTES_MAX};

/// The bytes are no header block: a connection error of COMPRESSION_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoBlock;

/// What a block holds that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// A pseudo-field.
    pub(super) pseudo: bool,
    /// A path with a fragment: "#" is no part of it (RFC 9113 §8.3.1).
    pub(super) fragment: bool,
}

/// Reads the blocks of one connection, however they are cut.
#[derive(Default)]
pub(super) struct Walk {
    table: Table,
    next: Next,
    noted: Noted,
    /// Has a field been read in this block? Changes of the table's size come before all (RFC 7541 §4.2).
    begun: bool,
    /// Is the field to be put into the table?
    indexed: bool,
    number: u32,
    shift: u32,
    name: Name,
    text: Text,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Field,
    /// More of a number, which is for …
    Number(For),
    NameLength,
    ValueLength,
    Name,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Whole,
    Name,
    Size,
    NameLength,
    ValueLength,
}

/// Bytes of a number after its first: values beyond 2²⁸ are of no use. The engine's own bound.
const NUMBER_SHIFT_MAX: u32 = 28;

impl Walk {
    /// Looks at a piece of a block. O(bytes), a few bits each where they are compressed.
    ///
    /// # Errors
    /// [`NoBlock`]; nothing may be fed after it.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), NoBlock> {
        while let [byte, rest @ ..] = bytes {
            match self.next {
                Next::Name | Next::Value => {
                    let (piece, rest) = bytes.split_at(bytes.len().min(self.text.left as usize));
                    bytes = rest;
                    self.text.feed(piece)?;
                    if self.text.left == 0 {
                        self.text_ended()?;
                    }
                    continue;
                }
                Next::Field => self.field(*byte)?,
                Next::NameLength => self.length(*byte, For::NameLength)?,
                Next::ValueLength => self.length(*byte, For::ValueLength)?,
                Next::Number(goal) => {
                    if self.shift == NUMBER_SHIFT_MAX {
                        return Err(NoBlock);
                    }
                    self.number = self.number.checked_add(u32::from(byte & 0x7f) << self.shift).ok_or(NoBlock)?;
                    self.shift += 7;
                    if byte & 0x80 == 0 {
                        self.counted(goal)?;
                    }
                }
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Ends a block; what it held.
    ///
    /// # Errors
    /// [`NoBlock`] where it ends within a field.
    pub(super) fn end(&mut self) -> Result<Noted, NoBlock> {
        self.begun = false;
        match self.next {
            Next::Field => Ok(std::mem::take(&mut self.noted)),
            _ => Err(NoBlock),
        }
    }

    /// The first byte of a field (RFC 7541 §6).
    fn field(&mut self, byte: u8) -> Result<(), NoBlock> {
        let (bits, goal) = match byte {
            0x80.. => (7, For::Whole),
            0x40.. => (6, For::Name),
            0x20.. if self.begun => return Err(NoBlock),
            0x20.. => (5, For::Size),
            _ => (4, For::Name),
        };
        self.begun = goal != For::Size;
        self.indexed = byte & 0xc0 == 0x40;
        self.prefix(byte, bits, goal)
    }

    /// The first byte of a text's length.
    fn length(&mut self, byte: u8, goal: For) -> Result<(), NoBlock> {
        self.text = Text { compressed: byte & 0x80 != 0, ..Text::default() };
        self.prefix(byte, 7, goal)
    }

    /// A number's first byte, of which so many bits count (RFC 7541 §5.1).
    fn prefix(&mut self, byte: u8, bits: u32, goal: For) -> Result<(), NoBlock> {
        let most = (1 << bits) - 1;
        self.number = u32::from(byte) & most;
        self.shift = 0;
        if self.number == most {
            self.next = Next::Number(goal);
            return Ok(());
        }
        self.counted(goal)
    }

    fn counted(&mut self, goal: For) -> Result<(), NoBlock> {
        match goal {
            For::Whole => {
                let name = self.table.name(self.number).ok_or(NoBlock)?;
                self.noted.pseudo |= name.kind != Kind::Regular;
                // The value was noted with the block that put it into the table; one such is enough to be refused.
                self.noted.fragment |= self.table.has_fragment(self.number);
                self.next = Next::Field;
            }
            For::Name if self.number == 0 => self.next = Next::NameLength,
            For::Name => {
                self.name = self.table.name(self.number).ok_or(NoBlock)?;
                self.next = Next::ValueLength;
            }
            For::Size if self.number > TABLE_BYTES_MAX => return Err(NoBlock),
            For::Size => {
                self.table.resize(self.number);
                self.next = Next::Field;
            }
            For::NameLength | For::ValueLength => {
                self.text.left = self.number;
                self.text.sent = self.number;
                let is_name = goal == For::NameLength;
                self.text.of_path = !is_name && self.name.kind == Kind::Path;
                self.next = if is_name { Next::Name } else { Next::Value };
                if self.number == 0 {
                    self.text_ended()?;
                }
            }
        }
        Ok(())
    }

    fn text_ended(&mut self) -> Result<(), NoBlock> {
        let bytes = self.text.end()?;
        if self.next == Next::Name {
            self.name = Name { bytes, kind: self.text.kind() };
            self.next = Next::ValueLength;
            return Ok(());
        }
        self.noted.pseudo |= self.name.kind != Kind::Regular;
        self.noted.fragment |= self.text.fragment;
        if self.indexed {
            self.table.insert(self.name, bytes, self.text.fragment);
        }
        self.next = Next::Field;
        Ok(())
    }
}

/// A text that is passed by.
#[derive(Default)]
struct Text {
    compressed: bool,
    of_path: bool,
    /// Bytes to come, and in all.
    left: u32,
    sent: u32,
    /// What it begins with.
    head: [u8; PATH.len()],
    head_len: usize,
    /// Of compressed bytes: those that are no whole symbol yet, leftmost first.
    bits: u64,
    bits_len: u32,
    symbols: u32,
    fragment: bool,
}

const PATH: &[u8; 5] = b":path";
/// The same, compressed.
const PATH_COMPRESSED: &[u8; 4] = &[0xb9, 0x58, 0xd3, 0x3f];
/// ":", compressed: 7 bits.
const COLON_COMPRESSED: u8 = 0xb8;
/// "#", compressed: 12 bits.
const HASH_COMPRESSED: u32 = 0xffa;

impl Text {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), NoBlock> {
        let kept = (self.head.len() - self.head_len).min(bytes.len());
        self.head[self.head_len..self.head_len + kept].copy_from_slice(&bytes[..kept]);
        self.head_len += kept;
        self.left -= bytes.len() as u32;
        if !self.compressed {
            self.fragment |= self.of_path && bytes.contains(&b'#');
            return Ok(());
        }
        for byte in bytes {
            self.bits |= u64::from(*byte) << (56 - self.bits_len);
            self.bits_len += 8;
            // No symbol is longer than 30 bits; with 32 there, the one before is certain.
            while self.bits_len >= 32 {
                self.symbol()?;
            }
        }
        Ok(())
    }

    /// Takes a symbol off the bits that are there; `false` where they are none.
    fn symbol(&mut self) -> Result<bool, NoBlock> {
        let top = (self.bits >> 32) as u32;
        let len = symbol_len(top);
        if len > self.bits_len {
            return Ok(false);
        }
        // RFC 7541 §5.2: "A Huffman-encoded string literal containing the EOS symbol MUST be treated as a decoding error."
        if len == 30 && top >> 2 == EOS {
            return Err(NoBlock);
        }
        self.fragment |= self.of_path && len == 12 && top >> 20 == HASH_COMPRESSED;
        self.bits <<= len;
        self.bits_len -= len;
        self.symbols += 1;
        Ok(true)
    }

    /// Its length, not compressed.
    ///
    /// # Errors
    /// RFC 7541 §5.2: "A padding strictly longer than 7 bits MUST be treated as a decoding error. A padding not corresponding
    /// to the most significant bits of the code for the EOS symbol MUST be treated as a decoding error."
    fn end(&mut self) -> Result<u32, NoBlock> {
        if !self.compressed {
            return Ok(self.sent);
        }
        // The bits that have not come count as ones, so that padding reads as the beginning of EOS.
        while self.bits_len > 0 {
            self.bits |= u64::MAX >> self.bits_len;
            if !self.symbol()? {
                break;
            }
        }
        let is_padding = self.bits_len < 8 && self.bits == u64::MAX;
        if self.bits_len == 0 || is_padding {
            Ok(self.symbols)
        } else {
            Err(NoBlock)
        }
    }

    fn kind(&self) -> Kind {
        let head = &self.head[..self.head_len];
        let path: &[u8] = if self.compressed { PATH_COMPRESSED } else { PATH };
        match head {
            _ if self.sent as usize == path.len() && head == path => Kind::Path,
            [first, ..] if self.compressed && first & 0xfe == COLON_COMPRESSED => Kind::Pseudo,
            [b':', ..] if !self.compressed => Kind::Pseudo,
            _ => Kind::Regular,
        }
    }
}

const EOS: u32 = 0x3fff_ffff;

/// Symbols of each length, from 5 bits on (RFC 7541, appendix B). The code is canonical: of two symbols the longer is the
/// larger number, left-aligned.
const SYMBOLS: [u32; 26] = [10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4];

/// Left-aligned, the first code that is longer than 5 bits, 6 bits, …
const LIMITS: [u64; 26] = {
    let mut limits = [0; 26];
    let (mut at, mut limit) = (0, 0);
    while at < limits.len() {
        limit += (SYMBOLS[at] as u64) << (27 - at);
        limits[at] = limit;
        at += 1;
    }
    limits
};
const _: () = assert!(LIMITS[25] == 1 << 32, "the code has a symbol for every bit string");

/// How long the symbol is that these bits begin with.
fn symbol_len(top: u32) -> u32 {
    LIMITS.iter().position(|limit| u64::from(top) < *limit).map_or(30, |at| at as u32 + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// Reads blocks one after the other, whole and in pieces; the entries and bytes of the table after each.
    #[track_caller]
    fn check(blocks: &[(&str, usize, u32)]) {
        for piece in [1, 2, 3, usize::MAX] {
            let mut walk = Walk::default();
            for (block, entries, size) in blocks {
                bytes(block).chunks(piece).for_each(|piece| walk.feed(piece).expect("a block"));
                walk.end().expect("whole");
                assert_eq!(walk.table.size(), (*entries, *size), "{block}");
            }
        }
    }

    #[test]
    fn the_table_is_as_large_as_in_the_examples_of_the_rfc() {
        // RFC 7541, appendix C.3 and C.4: the same requests, plain and compressed.
        check(&[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", 1, 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", 2, 110),
            ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", 3, 164),
        ]);
        check(&[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", 1, 57),
            ("8286 84be 5886 a8eb 1064 9cbf", 2, 110),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", 3, 164),
        ]);
        // C.6: responses, within 256 bytes.
        check(&[
            (
                "3fe1 01 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad \
                 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                4,
                222,
            ),
            ("4883 640e ffc1 c0bf", 4, 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
                 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                3,
                215,
            ),
        ]);
        // An entry that is larger than the table, and no table.
        check(&[("4001 61 01 62", 1, 34), ("20 4001 61 01 62", 0, 0), ("3fe1 1f 4001 61 01 62", 1, 34)]);
    }

    #[test]
    fn what_is_no_block_is_found_however_it_is_cut() {
        let rows = [
            ("80", "the index 0"),
            ("be", "an index beyond the table"),
            ("7f 80 01 01 61", "a name beyond the table"),
            ("ff ff ff ff ff 0f", "a number too large"),
            ("7f 80 80 80 80 80 00", "a number too long"),
            ("ff", "half a number"),
            ("00 05 61", "half a name"),
            ("00 01 61", "no value"),
            ("3f e2 1f", "a table too large"),
            ("82 20", "a size behind a field"),
            ("00 01 61 84 ff ff ff ff", "EOS"),
            ("00 01 61 81 18", "padding of zeros"),
            ("00 01 61 82 1f ff", "padding of more than 7 bits"),
            ("00 01 61 81 ff", "nothing but padding"),
            ("4001 61 01 62 20", "a size behind a field of the table"),
        ];
        for (block, name) in rows {
            for piece in [1, usize::MAX] {
                let mut walk = Walk::default();
                let fed = bytes(block).chunks(piece).try_for_each(|piece| walk.feed(piece));
                assert_eq!(fed.and_then(|()| walk.end().map(|_| ())), Err(NoBlock), "{name}");
            }
        }
    }

    #[test]
    fn pseudo_fields_and_fragments_are_noted() {
        let plain = Noted::default();
        let pseudo = Noted { pseudo: true, ..plain };
        let rows = [
            ("", plain),
            ("0001 78 01 23", plain),
            ("5f 01 23", plain),
            ("82", pseudo),
            ("81", pseudo),
            ("04 01 2f", pseudo),
            ("44 02 2f 23", Noted { pseudo: true, fragment: true }),
            ("be", Noted { pseudo: true, fragment: true }),
            // ":path: /#a", name and value compressed; ":pat: #" and ":x".
            ("00 84 b9 58 d3 3f 83 63 fe 87", Noted { pseudo: true, fragment: true }),
            ("00 04 3a 70 61 74 01 23", pseudo),
            ("00 82 b9 e7 00", pseudo),
            ("00 05 3a 70 61 74 68 01 23", Noted { pseudo: true, fragment: true }),
        ];
        for piece in [1, usize::MAX] {
            let mut walk = Walk::default();
            for (block, want) in rows {
                bytes(block).chunks(piece).for_each(|piece| walk.feed(piece).expect("a block"));
                assert_eq!(walk.end(), Ok(want), "{block}");
            }
        }
    }
}
