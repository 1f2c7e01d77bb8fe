//! The tables of header compression (RFC 7541 §2.3), as far as walking a block hangs on them: what there is at an index, and how
//! large it is. Not here: the values.

use std::collections::VecDeque;

/// A name, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) bytes: u32,
    pub(super) kind: Kind,
}

/// Whose name it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Regular,
    Pseudo,
    Path,
}

/// RFC 7541 §4.1: of an entry, beside its texts.
const ENTRY_BYTES: u32 = 32;
/// RFC 7541 §4.2: what SETTINGS_HEADER_TABLE_SIZE is where nobody has said anything, as we do not.
pub(super) const TABLE_BYTES_MAX: u32 = 4096;
/// What the dynamic table holds (RFC 7541 §2.3.2), newest first.
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: u32,
    bytes_max: u32,
}

struct Entry {
    bytes: u16,
    name_bytes: u16,
    kind: Kind,
    fragment: bool,
}

impl Default for Table {
    fn default() -> Table {
        Table { entries: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES_MAX }
    }
}

/// Lengths of the static table's names (RFC 7541, appendix A), from index 1 on.
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

impl Table {
    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get((index as usize).checked_sub(STATIC_NAMES.len() + 1)?)
    }

    /// The name at an index, of either table; `None` where there is none.
    pub(super) fn name(&self, index: u32) -> Option<Name> {
        if let Some(bytes) = STATIC_NAMES.get((index as usize).checked_sub(1)?) {
            let kind = match index {
                4 | 5 => Kind::Path,
                ..=14 => Kind::Pseudo,
                _ => Kind::Regular,
            };
            return Some(Name { bytes: u32::from(*bytes), kind });
        }
        self.entry(index).map(|entry| Name { bytes: u32::from(entry.name_bytes), kind: entry.kind })
    }

    /// Is it a path with a fragment?
    pub(super) fn has_fragment(&self, index: u32) -> bool {
        self.entry(index).is_some_and(|entry| entry.fragment)
    }

    /// Puts a field in, and what has no room out.
    pub(super) fn insert(&mut self, name: Name, value_bytes: u32, fragment: bool) {
        let bytes = name.bytes.saturating_add(value_bytes).saturating_add(ENTRY_BYTES);
        self.shrink(self.bytes_max.saturating_sub(bytes));
        // RFC 7541 §4.4: an entry larger than the table "is not an error": it empties the table.
        if bytes <= self.bytes_max {
            self.bytes += bytes;
            // Both are within the table's bytes.
            let (bytes, name_bytes) = (bytes as u16, name.bytes as u16);
            self.entries.push_front(Entry { bytes, name_bytes, kind: name.kind, fragment });
        }
    }

    /// Takes another size.
    pub(super) fn resize(&mut self, bytes_max: u32) {
        self.bytes_max = bytes_max;
        self.shrink(bytes_max);
    }

    fn shrink(&mut self, bytes_max: u32) {
        while self.bytes > bytes_max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= u32::from(oldest.bytes);
        }
    }
}

#[cfg(test)]
impl Table {
    /// Entries, and their bytes.
    pub(super) fn size(&self) -> (usize, u32) {
        (self.entries.len(), self.bytes)
    }
}
