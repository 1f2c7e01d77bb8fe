//! Token and leaky buckets: so many at once, then one per interval, with no windows at all.
//!
//! One word holds the moment at which the bucket is as good as untouched again, in ticks of half a nanosecond (the
//! "theoretical arrival time" of GCRA, ITU-T I.371): a bucket that lacks n tokens is n intervals away from it. A take moves it on by its
//! cost; there is nothing to refill. Intervals are rounded up to a tick, so never more pass than configured.
//!
//! A *leaky* bucket that queues is the same with patience: a request that comes too early by no more than `delay` takes its
//! tokens at once and goes on when they are there, so that requests leave in the order and at the pace of the bucket.

use super::bank::{Bank, Key, Step};
use super::word;
use crate::base::time::WallMs;

/// Moments and spans, in half nanoseconds: the finest decimal unit whose parts of a second fit a word. Decimal, so that a
/// client that keeps to a pace of whole milliseconds is never early by a rounding.
type Ticks = u64;

const SECOND: Ticks = 2_000_000_000;
const _: () = assert!(SECOND - 1 <= word::LOW_MAX as u64, "the part of a second fits below the end");

/// A clock that was set back by more than this, beyond what a full queue reaches, makes buckets start afresh. Less, and
/// shards whose clocks differ would take each other's time for a mistake.
const SKEW: Ticks = 2 * SECOND;

/// The shape of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    interval: Ticks,
    burst: u32,
    delay: Ticks,
}

/// A take that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Poured {
    /// The word before and after.
    word: (u64, u64),
    /// To wait before going on, ms.
    pub(super) wait_ms: u64,
    /// Tokens that could be taken now.
    pub(super) left: u64,
    /// Until the bucket is full again, ms.
    pub(super) full_in_ms: u64,
}

impl Bucket {
    /// `limit` tokens per `period_s` seconds flow in, at most `burst` lie there, and who comes too early by up to
    /// `delay_ms` may wait. `None` where it takes longer than [`FILL_S_MAX`] to fill.
    pub fn new(period_s: u32, limit: f64, burst: u32, delay_ms: u64) -> Option<Bucket> {
        let whole = u128::from(period_s) * u128::from(SECOND);
        let interval = match limit.fract() == 0.0 {
            true => whole.div_ceil((limit as u128).max(1)),
            false => (whole as f64 / limit).ceil() as u128,
        };
        let (burst, delay) = (burst.max(1), (delay_ms * SECOND).div_ceil(1000));
        let fill = interval.max(1) * u128::from(burst);
        let interval = u64::try_from(interval.max(1)).ok()?;
        (fill <= u128::from(FILL_S_MAX) * u128::from(SECOND)).then_some(Bucket { interval, burst, delay })
    }

    /// How far ahead of now the word may be.
    fn room(&self) -> Ticks {
        self.interval * u64::from(self.burst) + self.delay
    }

    /// When the bucket of this word is full: now, or later.
    fn full_at(&self, held: Ticks, now: Ticks) -> Ticks {
        let is_far = held > now + 2 * self.room() + SKEW;
        if is_far {
            now
        } else {
            held.max(now)
        }
    }

    /// The word after a take of `cost`, and how long to wait; or how much too early it is.
    fn pour(&self, held: Ticks, now: Ticks, cost: u32) -> Result<(Ticks, Ticks), Ticks> {
        let next = self.full_at(held, now).saturating_add(self.interval.saturating_mul(u64::from(cost)));
        let early = next.saturating_sub(now + self.interval * u64::from(self.burst));
        if early > self.delay || next >= (u64::from(u32::MAX) + 1) * SECOND {
            return Err(early.saturating_sub(self.delay));
        }
        Ok((next, early))
    }

    /// Tokens that could be taken of a bucket that is full at `full_at`.
    fn left(&self, full_at: Ticks, now: Ticks) -> u64 {
        (now + self.room()).saturating_sub(full_at) / self.interval
    }
}

/// Longest time that a bucket may take to fill, s: four years. What lies further ahead than the end of 32-bit seconds
/// could not be written down.
pub const FILL_S_MAX: u32 = 4 * 366 * 86_400;

fn of_word(held: u64) -> Ticks {
    u64::from(word::end_s(held)) * SECOND + u64::from(word::low(held))
}

fn to_word(at: Ticks) -> u64 {
    word::of((at / SECOND) as u32, (at % SECOND) as u32)
}

fn ticks(now: WallMs) -> Ticks {
    let seconds = now.seconds().min(u64::from(u32::MAX - FILL_S_MAX));
    seconds * SECOND + now.0 % 1000 * (SECOND / 1000)
}

/// Rounded up, so that whoever comes back then is not early.
fn ms(span: Ticks) -> u64 {
    (u128::from(span) * 1000).div_ceil(u128::from(SECOND)) as u64
}

impl Bank {
    /// Takes `cost` tokens of `key`'s bucket.
    /// # Errors
    /// How long to stay away, ms, where there are too few; nothing was changed then.
    pub(super) fn pour(&self, key: Key, bucket: &Bucket, cost: u32, now: WallMs) -> Result<Poured, u64> {
        let (now_s, now) = (word::seconds(now), ticks(now));
        self.update(key, to_word(now), now_s, |held| match bucket.pour(of_word(held), now, cost) {
            Err(early) => Step::Leave(Err(ms(early))),
            Ok((next, wait)) => {
                let full_in_ms = ms(next - now);
                let poured =
                    Poured { word: (held, to_word(next)), wait_ms: ms(wait), left: bucket.left(next, now), full_in_ms };
                Step::Write(to_word(next), Ok(poured))
            }
        })
    }

    /// Tokens that could be taken, and until the bucket is full and until `cost` tokens are there, ms.
    pub(super) fn peek_bucket(&self, key: Key, bucket: &Bucket, cost: u32, now: WallMs) -> (u64, u64, u64) {
        let now = ticks(now);
        let held = self.read(key).map_or(now, of_word);
        let full_at = bucket.full_at(held, now);
        let early = bucket.pour(held, now, cost).err().unwrap_or(0);
        (bucket.left(full_at, now), ms(full_at - now), ms(early))
    }

    /// Gives back what was poured, if nobody has poured since: then the bucket is as it was. Else it stays taken, as it
    /// cannot be told any more whether the bucket was full in between and would then hold more than it may.
    pub(super) fn pour_back(&self, key: Key, poured: Poured) {
        let (before, after) = poured.word;
        self.update_held(key, |held| match held == after {
            true => Step::Write(before, ()),
            false => Step::Leave(()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

    const NOON: u64 = 1_795_435_200_000;

    /// A definition that keeps every passage: at no time may more have passed since any earlier one than the burst and what
    /// has flowed in since. Returns how much too early a request is, in ticks.
    fn early(passed: &[(u64, u32)], bucket: &Bucket, at: u64, cost: u32) -> i128 {
        let own = i128::from(cost);
        let mut since = own;
        let mut worst = own - i128::from(bucket.burst);
        let mut early = worst * i128::from(bucket.interval);
        for &(then, cost) in passed.iter().rev() {
            since += i128::from(cost);
            worst = since - i128::from(bucket.burst);
            early = early.max(worst * i128::from(bucket.interval) - i128::from(at - then));
        }
        early
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition_over_all_that_passed(
            per_second in 1u32..2000, burst in 1u32..20, delay_ms in prop_oneof![Just(0u64), 0u64..500],
            steps in prop::collection::vec((0u64..60, 1u32..5), 1..250),
        ) {
            let bucket = Bucket::new(1, f64::from(per_second), burst, delay_ms).expect("fills in seconds");
            let (bank, mut now) = (Bank::new(8), NOON);
            let key = bank.key(&[b"a"]);
            let mut passed: Vec<(u64, u32)> = Vec::new();
            for (jump, cost) in steps {
                now += jump * jump / 20;
                let at = ticks(WallMs(now));
                let early = early(&passed, &bucket, at, cost);
                let poured = bank.pour(key, &bucket, cost, WallMs(now));
                let (_, _, wait_ms) = bank.peek_bucket(key, &bucket, cost, WallMs(now));
                match poured {
                    Ok(poured) => {
                        prop_assert!(early <= i128::from(bucket.delay));
                        prop_assert_eq!(poured.wait_ms, ms(early.max(0) as u64));
                        passed.push((at, cost));
                    }
                    Err(wait) => {
                        prop_assert!(early > i128::from(bucket.delay));
                        prop_assert_eq!(wait, ms((early - i128::from(bucket.delay)) as u64));
                        prop_assert_eq!(wait, wait_ms);
                        // Whoever comes back then, and not a moment earlier than told, passes.
                        let ever = (i128::from(cost) - i128::from(burst)) * i128::from(bucket.interval);
                        prop_assert!(ever > i128::from(bucket.delay) || bucket.pour(bank.read(key).map_or(0, of_word), ticks(WallMs(now + wait)), cost).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_and_the_smallest_buckets_hold() {
        let year = 31_536_000;
        assert_eq!(Bucket::new(year, 1.0, 5, 0), None, "five years to fill");
        let slow = Bucket::new(year, 1.0, 1, 0).expect("a year to fill");
        let fast = Bucket::new(1, f64::from(word::LOW_MAX), word::LOW_MAX, 0).expect("a second to fill");
        let half = Bucket::new(60, 2.5, 3, 0).expect("a minute to fill");
        assert_eq!((fast.interval, half.interval), (1, 24 * SECOND));
        let bank = Bank::new(4);
        for (name, bucket) in [(b"s", slow), (b"f", fast), (b"h", half)] {
            let key = bank.key(&[name]);
            assert!(bank.pour(key, &bucket, bucket.burst, WallMs(u64::MAX)).is_ok());
            assert!(bank.pour(key, &bucket, 1, WallMs(u64::MAX)).is_err());
            assert!(bank.pour(key, &bucket, u32::MAX, WallMs(u64::MAX)).is_err());
        }
    }

    #[test]
    fn what_was_poured_is_given_back_where_nobody_has_poured_since() {
        let bank = Bank::new(4);
        let (key, now) = (bank.key(&[b"a"]), WallMs(NOON));
        let bucket = Bucket::new(1, 1.0, 2, 0).expect("two seconds to fill");
        let first = bank.pour(key, &bucket, 1, now).expect("full");
        bank.pour_back(key, first);
        assert_eq!(bank.peek_bucket(key, &bucket, 1, now), (2, 0, 0));
        let (first, second) = (bank.pour(key, &bucket, 1, now).expect("one"), bank.pour(key, &bucket, 1, now));
        assert!(second.is_ok());
        bank.pour_back(key, first);
        assert_eq!(bank.pour(key, &bucket, 1, now), Err(1000));
        // The clock is set back by a day.
        assert!(bank.pour(key, &bucket, 1, WallMs(NOON - 86_400_000)).is_ok());
    }

    #[test]
    fn threads_pour_what_one_thread_would() {
        const STEPS: u32 = 200;
        for (delay_ms, burst) in [(0, 7), (500, 1)] {
            let bucket = Bucket::new(1, 20.0, burst, delay_ms).expect("less than a second to fill");
            let bank = Bank::new(4);
            let key = bank.key(&[b"a"]);
            let (clock, poured) = (AtomicU32::new(0), AtomicU64::new(0));
            let seen = [const { AtomicU32::new(0) }; 3];
            let pour = |me: usize| loop {
                let step = clock.load(SeqCst);
                // Whoever has tried at this step has taken all there was.
                let now = WallMs(NOON + u64::from(step) * 130);
                while bank.pour(key, &bucket, 1, now).is_ok() {
                    poured.fetch_add(1, SeqCst);
                }
                seen[me].store(step + 1, SeqCst);
                if step >= STEPS {
                    return;
                }
            };
            std::thread::scope(|scope| {
                (0..3).for_each(|me| drop(scope.spawn(move || pour(me))));
                for step in 1..=STEPS {
                    // One who is left behind by more than `SKEW` would be taken for a clock that was set back.
                    let is_far = |seen: &AtomicU32| seen.load(SeqCst) + 8 < step;
                    while seen.iter().all(|seen| seen.load(SeqCst) < step) || seen.iter().any(is_far) {
                        std::thread::yield_now();
                    }
                    clock.store(step, SeqCst);
                }
            });
            let flowed = u64::from(STEPS) * 130 * 20 / 1000;
            assert_eq!(poured.into_inner(), u64::from(burst) + delay_ms * 20 / 1000 + flowed);
        }
    }
}
