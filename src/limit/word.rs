//! What stands in the bank for a key: 63 bits, of which the upper 32 say when the word ends.

/// Bits below the end.
const LOW_BITS: u32 = 31;

/// The largest number below the end.
pub(super) const LOW_MAX: u32 = (1 << LOW_BITS) - 1;

/// A word that ends at `end_s`, seconds since the epoch, and holds `low`, at most [`LOW_MAX`].
pub(super) fn of(end_s: u32, low: u32) -> u64 {
    u64::from(end_s) << LOW_BITS | u64::from(low.min(LOW_MAX))
}

/// When it ends.
pub(super) fn end_s(word: u64) -> u32 {
    (word >> LOW_BITS) as u32
}

/// What it holds below its end.
pub(super) fn low(word: u64) -> u32 {
    word as u32 & LOW_MAX
}

/// May its way be given to another key? Not in the second after its end: a shard whose clock is a few milliseconds behind
/// still counts in it, and would begin it anew.
pub(super) fn is_over(word: u64, now_s: u32) -> bool {
    end_s(word) < now_s
}

/// `now` in whole seconds that fit a word.
pub(super) fn seconds(now: crate::base::time::WallMs) -> u32 {
    now.seconds().min(u64::from(u32::MAX)) as u32
}
