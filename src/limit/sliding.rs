//! Sliding windows: what was used in the last period, estimated from two windows of the calendar. The one before counts by
//! the share of it that is still within the period:
//!
//! ```text
//! used = now's window + ⌈ window before × (end of now's window − now) ÷ its length ⌉
//! ```
//!
//! So no burst at a window's turn lets twice the limit pass, as fixed windows do. Rounded up: never too generous.
//!
//! **Two words**, a key's and its twin's: windows take turns, the even ones in one, the odd ones in the other.
//! Whoever comes first in a window *closes* the one before, by moving the end of its word on to the end of the new window:
//! from then on nobody takes from it, so that what everybody reads of it is the same, and final. A thread whose clock is
//! behind finds its window closed and takes from the next. Each take is then one compare-and-swap on the word of its own
//! window: admitted is never more than the estimate allows, whichever shards the requests come to.

use super::bank::{Bank, Key, Step};
use super::window::{Period, Window};
use super::word;
use crate::base::time::WallMs;

/// What a key has used, as seen at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// The window of that moment.
    pub(super) window: Window,
    /// The moment: the asked one, or later where another thread's clock was already in the next window.
    pub(super) now: WallMs,
    /// In the window before.
    pub(super) before: u32,
    /// In the window.
    pub(super) here: u32,
}

impl Used {
    /// Tokens used in the period that ends now.
    pub(super) fn total(self) -> u64 {
        u64::from(self.here) + carried(self.before, self.window, self.now)
    }

    /// Until `cost` tokens of `limit` are free again, ms, if nobody takes any; `None`: never.
    pub(super) fn free_in_ms(self, cost: u32, limit: u32) -> Option<u64> {
        let spare = u64::from(limit.checked_sub(cost)?);
        if self.total() <= spare {
            return Some(0);
        }
        let (end_ms, len_ms) = (ms(self.window.end_s), u64::from(self.window.len_s()) * 1000);
        // How much of a window may be left when `before` of it and `here` leave room.
        let left_ms = |before: u32, room: u64| (u128::from(room) * u128::from(len_ms) / u128::from(before)) as u64;
        let until_end = end_ms.saturating_sub(self.now.0);
        match spare.checked_sub(u64::from(self.here)) {
            Some(room) if self.before > 0 => Some(until_end.saturating_sub(left_ms(self.before, room))),
            // Only in the next window, where this one is the one before.
            _ => Some(until_end + len_ms.saturating_sub(left_ms(self.here.max(1), spare))),
        }
    }
}

/// The share of `before` that counts.
fn carried(before: u32, window: Window, now: WallMs) -> u64 {
    let len_ms = u128::from(window.len_s().max(1)) * 1000;
    let left_ms = u128::from(ms(window.end_s).saturating_sub(now.0)).min(len_ms);
    (u128::from(before) * left_ms).div_ceil(len_ms) as u64
}

fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

/// The words of a key: that of `window`, and that of the windows around it.
fn words(key: Key, period: Period, window: Window) -> (Key, Key) {
    match period.is_odd(window) {
        false => (key, key.twin()),
        true => (key.twin(), key),
    }
}

/// Is `end_s` that of a later window, by no more than clocks disagree?
fn is_ahead(end_s: u32, window: Window) -> bool {
    end_s > window.end_s && end_s - window.end_s <= 2 * window.len_s().min(u32::MAX / 2)
}

impl Bank {
    /// Takes `cost` tokens of `limit` of a sliding `period`.
    /// # Errors
    /// What is used, where it leaves no room; nothing was taken then.
    pub(super) fn take_sliding(
        &self,
        key: Key,
        period: Period,
        cost: u32,
        limit: u32,
        mut now: WallMs,
    ) -> Result<Used, Used> {
        let limit = limit.min(word::LOW_MAX);
        loop {
            let window = period.window(now);
            let (key_here, key_before) = words(key, period, window);
            let next = || WallMs(ms(window.end_s));
            let Some(before) = self.close(key_before, period, window, now) else {
                now = next();
                continue;
            };
            let carried = carried(before, window, now);
            let taken = self.update(key_here, word::of(window.end_s, 0), word::seconds(now), |held| {
                let end_s = word::end_s(held);
                if is_ahead(end_s, window) {
                    return Step::Leave(None);
                }
                let here = if end_s == window.end_s { word::low(held) } else { 0 };
                let used = |here| Used { window, now, before, here };
                if carried + u64::from(here) + u64::from(cost) > u64::from(limit) {
                    return Step::Leave(Some(Err(used(here))));
                }
                Step::Write(word::of(window.end_s, here + cost), Some(Ok(used(here + cost))))
            });
            match taken {
                Some(taken) => return taken,
                None => now = next(),
            }
        }
    }

    /// What was used in the window before `window`, and will not change; `None` where a later window than that has begun.
    fn close(&self, key: Key, period: Period, window: Window, now: WallMs) -> Option<u32> {
        let before = period.before(window);
        self.update(key, word::of(window.end_s, 0), word::seconds(now), |held| {
            let (end_s, used) = (word::end_s(held), word::low(held));
            if end_s == window.end_s {
                Step::Leave(Some(used))
            } else if is_ahead(end_s, window) {
                Step::Leave(None)
            } else {
                let used = if end_s == before.end_s { used } else { 0 };
                Step::Write(word::of(window.end_s, used), Some(used))
            }
        })
    }

    /// What is used at `now`; brings nothing in and closes nothing.
    pub(super) fn peek_sliding(&self, key: Key, period: Period, now: WallMs) -> Used {
        let window = period.window(now);
        let (key_here, key_before) = words(key, period, window);
        let of = |key: Key, ends: [u32; 2]| match self.read(key) {
            Some(held) if ends.contains(&word::end_s(held)) => word::low(held),
            _ => 0,
        };
        let before = of(key_before, [window.end_s, period.before(window).end_s]);
        Used { window, now, before, here: of(key_here, [window.end_s; 2]) }
    }

    /// Gives back `cost` tokens of what [`Bank::take_sliding`] took, unless their window is closed.
    pub(super) fn give_back_sliding(&self, key: Key, period: Period, taken: Used, cost: u32) {
        let (key, _) = words(key, period, taken.window);
        self.update_held(key, |held| {
            if word::end_s(held) != taken.window.end_s {
                return Step::Leave(());
            }
            Step::Write(word::of(taken.window.end_s, word::low(held).saturating_sub(cost)), ())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    const NOON: u64 = 1_795_435_200_000;

    proptest! {
        #[test]
        fn it_agrees_with_the_formula_over_all_that_passed(
            period in (0usize..6).prop_map(|n| Period::ALL[n]),
            limit in 1u32..40,
            steps in prop::collection::vec((0u64..1500, 0u32..10, 1u32..4), 1..300),
        ) {
            let (bank, mut now) = (Bank::new(64), NOON);
            let key = bank.key(&[b"a"]);
            let mut passed: HashMap<u32, u64> = HashMap::new();
            for (permille, jump, cost) in steps {
                // Up to one and a half windows, now and then many.
                now += permille * u64::from(period.nominal_s()) / if jump == 0 { 1 } else { 20 };
                let window = period.window(WallMs(now));
                let before = period.window(WallMs(u64::from(window.start_s) * 1000 - 1));
                let held = |window: Window| passed.get(&window.end_s).copied().unwrap_or(0);
                let (len, left) = (u64::from(window.len_s()) * 1000, u64::from(window.end_s) * 1000 - now);
                let weighed = (held(before) * left).div_ceil(len);
                let passes = held(window) + weighed + u64::from(cost) <= u64::from(limit);
                let taken = bank.take_sliding(key, period, cost, limit, WallMs(now));
                prop_assert_eq!(taken.is_ok(), passes);
                if passes {
                    *passed.entry(window.end_s).or_default() += u64::from(cost);
                }
                let seen = bank.peek_sliding(key, period, WallMs(now));
                prop_assert_eq!(seen.total(), held_of(&passed, window) + weighed);
                match seen.free_in_ms(1, limit) {
                    None => prop_assert_eq!(limit, 0),
                    Some(0) => prop_assert!(seen.total() < u64::from(limit)),
                    // A calendar month may be followed by a longer one: only equal windows can be foretold to the ms.
                    Some(wait) if period < Period::Month => {
                        let at = |ms: u64| bank.peek_sliding(key, period, WallMs(now + ms)).total() < u64::from(limit);
                        prop_assert!(at(wait) && !at(wait - 1), "{} ms", wait);
                    }
                    Some(_) => {}
                }
            }
            prop_assert_eq!(bank.evicted_live(), 0);
        }
    }

    fn held_of(passed: &HashMap<u32, u64>, window: Window) -> u64 {
        passed.get(&window.end_s).copied().unwrap_or(0)
    }

    #[test]
    fn what_was_taken_can_be_given_back() {
        let bank = Bank::new(4);
        let (key, now) = (bank.key(&[b"a"]), WallMs(NOON));
        let taken = bank.take_sliding(key, Period::Minute, 3, 3, now).expect("three of three");
        assert!(bank.take_sliding(key, Period::Minute, 1, 3, now).is_err());
        bank.give_back_sliding(key, Period::Minute, taken, 3);
        assert_eq!(bank.peek_sliding(key, Period::Minute, now).total(), 0);
        assert!(bank.take_sliding(key, Period::Minute, 3, 3, now).is_ok());
        // The clock is set back by a day: nobody is locked out.
        assert!(bank.take_sliding(key, Period::Minute, 3, 3, WallMs(NOON - 86_400_000)).is_ok());
    }

    #[test]
    fn threads_with_clocks_that_differ_take_no_more_than_one_thread_could() {
        // Half a minute a step. Two threads run behind the first by up to a step; all take whatever they get.
        const STEPS: u32 = 120;
        const LIMIT: u32 = 50;
        let bank = Bank::new(4);
        let key = bank.key(&[b"a"]);
        let (clock, seen) = (AtomicU32::new(0), [const { AtomicU32::new(0) }; 3]);
        // By window: what passed while all of the one before counted, and what passed in all.
        let tally: Vec<[AtomicU32; 2]> = (0..STEPS).map(|_| Default::default()).collect();
        let take = |me: usize| loop {
            let step = clock.load(SeqCst);
            seen[me].store(step, SeqCst);
            if step >= STEPS {
                return;
            }
            let lag = if me == 0 { 0 } else { 1 };
            let now = WallMs(NOON + u64::from(step.saturating_sub(lag)) * 30_000);
            for _ in 0..20 {
                if let Ok(used) = bank.take_sliding(key, Period::Minute, 1, LIMIT, now) {
                    let window = (u64::from(used.window.start_s) - NOON / 1000) / 60;
                    let whole = used.now.0 == u64::from(used.window.start_s) * 1000;
                    tally[window as usize][usize::from(!whole)].fetch_add(1, SeqCst);
                }
            }
        };
        std::thread::scope(|scope| {
            (0..3).for_each(|me| drop(scope.spawn(move || take(me))));
            for step in 1..=STEPS {
                while seen.iter().any(|seen| seen.load(SeqCst) + 1 < step) {
                    std::thread::yield_now();
                }
                clock.store(step, SeqCst);
            }
        });
        assert_eq!(bank.evicted_live(), 0);
        let (mut before, mut most) = (0, 0);
        for [whole, half] in &tally {
            let (whole, all) = (whole.load(SeqCst), whole.load(SeqCst) + half.load(SeqCst));
            assert!(whole == 0 || whole + before <= LIMIT, "{whole} beside {before}");
            assert!(all + before.div_ceil(2) <= LIMIT, "{all} after {before}");
            most = most.max(all + before.div_ceil(2));
            before = all;
        }
        assert_eq!(most, LIMIT, "what is free is had");
    }
}
