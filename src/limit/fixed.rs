//! Fixed windows: for a limit of N, exactly N takes succeed in a window of the calendar. One word: the window's end, and
//! what was used of it.

use super::bank::{Bank, Key, Step};
use super::window::Window;
use super::word;

/// Tokens that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Tokens taken in this window so far, these included; at least 1.
    pub used: u32,
    /// End of the window they were taken from: the asked one, or the next if another thread's clock was already there.
    pub end_s: u32,
}

/// The window has not so many tokens left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Tokens taken in this window; the limit at most, or more if the limit was larger before.
    pub used: u32,
}

/// How many takes of `window` the word counts; `None` where it counts for an older one, or one so far ahead that the clock
/// must have been set back.
fn used(held: u64, window: Window) -> Option<u32> {
    let ahead_s = word::end_s(held).checked_sub(window.end_s)?;
    // Months and years differ in length, so the next window may be longer than this one, but never twice as long.
    (ahead_s <= 2 * window.len_s().min(u32::MAX / 2)).then_some(word::low(held))
}

impl Bank {
    /// Takes `cost` tokens of `limit` from `key`'s `window`. `now_s` is the wall clock: what ends by then may be evicted.
    ///
    /// A window never turns back: a thread whose clock is behind takes from the window that a faster one has begun. Only
    /// when that window is further away than clocks disagree (the clock was set back) the count starts afresh.
    /// # Errors
    /// [`Full`] when the window has fewer tokens left; nothing was changed then.
    pub fn take(&self, key: Key, window: Window, cost: u32, limit: u32, now_s: u32) -> Result<Taken, Full> {
        let limit = limit.min(word::LOW_MAX);
        if cost > limit {
            return Err(Full { used: self.peek(key, window) });
        }
        self.update(key, word::of(window.end_s, 0), now_s, |held| {
            let (end_s, before) = match used(held, window) {
                Some(used) => (word::end_s(held), used),
                None => (window.end_s, 0),
            };
            if before > limit - cost {
                return Step::Leave(Err(Full { used: before }));
            }
            Step::Write(word::of(end_s, before + cost), Ok(Taken { used: before + cost, end_s }))
        })
    }

    /// Uses `amount` of what `limit` allows in `window`, where anything is left at all: the last one may use more than there
    /// is. Otherwise as [`Bank::take`].
    /// # Errors
    /// [`Full`] when nothing is left; nothing was changed then.
    pub fn spend(&self, key: Key, window: Window, amount: u32, limit: u32, now_s: u32) -> Result<Taken, Full> {
        self.update(key, word::of(window.end_s, 0), now_s, |held| {
            let (end_s, before) = match used(held, window) {
                Some(used) => (word::end_s(held), used),
                None => (window.end_s, 0),
            };
            if before >= limit.min(word::LOW_MAX) {
                return Step::Leave(Err(Full { used: before }));
            }
            let used = before.saturating_add(amount).min(word::LOW_MAX);
            Step::Write(word::of(end_s, used), Ok(Taken { used, end_s }))
        })
    }

    /// How many tokens of `window` are taken. Does not bring the key in.
    pub fn peek(&self, key: Key, window: Window) -> u32 {
        self.read(key).and_then(|held| used(held, window)).unwrap_or(0)
    }

    /// Gives back `cost` tokens that were taken, unless their window is over or their key was evicted.
    pub fn give_back(&self, key: Key, taken: Taken, cost: u32) {
        self.update_held(key, |held| {
            if word::end_s(held) != taken.end_s {
                return Step::Leave(());
            }
            Step::Write(word::of(taken.end_s, word::low(held).saturating_sub(cost)), ())
        });
    }
}
