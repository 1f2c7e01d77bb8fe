//! One limit of a configuration: so many per period, by one of the algorithms; the one face of them all for those who
//! limit.

use super::bank::{Bank, Key};
use super::bucket::{Bucket, Poured};
use super::sliding::Used;
use super::window::{Period, Window};
use super::{fixed, word};
use crate::base::time::WallMs;

/// How a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// By windows of the calendar.
    Fixed,
    /// By the last period, estimated from two windows.
    Sliding,
    /// By a bucket.
    Bucket(Bucket),
}

impl Algorithm {
    /// What tells keys of its counts from those of the others: words of one algorithm mean nothing to another.
    pub fn tag(&self) -> u8 {
        match self {
            Algorithm::Fixed => b'f',
            Algorithm::Sliding => b's',
            Algorithm::Bucket(_) => b'b',
        }
    }
}

/// So many tokens per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The period.
    pub period: Period,
    /// Tokens; at most [`LIMIT_MAX`].
    pub tokens: u32,
    /// How it counts.
    pub algorithm: Algorithm,
}

/// The largest limit: what a word of the bank counts to.
pub const LIMIT_MAX: u32 = word::LOW_MAX;

/// Tokens that were taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// What is left.
    pub left: u32,
    /// Seconds until all of it is there again, at least 1.
    pub reset_s: u32,
    /// To wait before going on, ms: the bucket queues.
    pub wait_ms: u64,
    back: Back,
}

/// How to give back.
#[derive(Clone, Copy, Debug)]
enum Back {
    Fixed(fixed::Taken),
    Sliding(Used),
    Bucket(Poured),
}

/// How a limit stands, without taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is left.
    pub left: u32,
    /// Seconds until all of it is there again, at least 1.
    pub reset_s: u32,
    /// Seconds until as much is there as was asked for, at least 1; of no meaning where that is more than there can be.
    pub retry_s: u32,
}

impl Limit {
    /// Takes `cost` tokens of `key`'s; `None` where there are too few, and nothing was taken.
    pub fn take(&self, bank: &Bank, key: Key, cost: u32, now: WallMs) -> Option<Taken> {
        match &self.algorithm {
            Algorithm::Fixed => {
                let window = self.period.window(now);
                let taken = bank.take(key, window, cost, self.tokens, word::seconds(now)).ok()?;
                let left = self.tokens.saturating_sub(taken.used);
                Some(Taken { left, reset_s: reset_s(self.period, window, now), wait_ms: 0, back: Back::Fixed(taken) })
            }
            Algorithm::Sliding => {
                let used = bank.take_sliding(key, self.period, cost, self.tokens, now).ok()?;
                let reset_s = reset_s(self.period, used.window, used.now);
                Some(Taken { left: self.left(used.total()), reset_s, wait_ms: 0, back: Back::Sliding(used) })
            }
            Algorithm::Bucket(bucket) => {
                let poured = bank.pour(key, bucket, cost, now).ok()?;
                let left = poured.left.min(u64::from(self.tokens)) as u32;
                let reset_s = seconds(poured.full_in_ms);
                Some(Taken { left, reset_s, wait_ms: poured.wait_ms, back: Back::Bucket(poured) })
            }
        }
    }

    /// Gives back what was taken.
    pub fn give_back(&self, bank: &Bank, key: Key, cost: u32, taken: &Taken) {
        match taken.back {
            Back::Fixed(taken) => bank.give_back(key, taken, cost),
            Back::Sliding(used) => bank.give_back_sliding(key, self.period, used, cost),
            Back::Bucket(poured) => bank.pour_back(key, poured),
        }
    }

    /// How it stands with `key`, for a request of `cost`.
    pub fn stand(&self, bank: &Bank, key: Key, cost: u32, now: WallMs) -> Standing {
        match &self.algorithm {
            Algorithm::Fixed => {
                let window = self.period.window(now);
                let reset_s = reset_s(self.period, window, now);
                let left = self.left(u64::from(bank.peek(key, window)));
                Standing { left, reset_s, retry_s: reset_s }
            }
            Algorithm::Sliding => {
                let used = bank.peek_sliding(key, self.period, now);
                let reset_s = reset_s(self.period, used.window, now);
                let retry_s = used.free_in_ms(cost, self.tokens).map_or(reset_s, seconds);
                Standing { left: self.left(used.total()), reset_s, retry_s }
            }
            Algorithm::Bucket(bucket) => {
                let (left, full_in_ms, wait_ms) = bank.peek_bucket(key, bucket, cost, now);
                let left = left.min(u64::from(self.tokens)) as u32;
                Standing { left, reset_s: seconds(full_in_ms), retry_s: seconds(wait_ms) }
            }
        }
    }

    fn left(&self, used: u64) -> u32 {
        u64::from(self.tokens).saturating_sub(used) as u32
    }
}

/// Seconds until the window is said to be over, at least 1. Months have 30 days here and years 365, whatever the
/// calendar says: what clients of the reference are told.
pub fn reset_s(period: Period, window: Window, now: WallMs) -> u32 {
    let gone = now.seconds().saturating_sub(u64::from(window.start_s));
    u64::from(period.nominal_s()).saturating_sub(gone).max(1) as u32
}

fn seconds(ms: u64) -> u32 {
    ms.div_ceil(1000).clamp(1, u64::from(u32::MAX)) as u32
}
