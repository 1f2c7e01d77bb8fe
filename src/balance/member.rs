//! What all shards share of one address of a target: its health, its open requests, its latency. Atomics, no lock.
//!
//! The control thread makes one per upstream, host and address, hands it out with the endpoints and keeps it over reloads.
//! Cost: health is read per pick and written where a report counts, so its line is in every core's cache. Open requests
//! and latency are on a line of their own and written per request, by the algorithms that ask for them only: two locked
//! adds for least-connections, a plain store for latency. On a line that several cores write an add is some 50 to 100 ns,
//! against tens of microseconds for the request; counts per shard would not see what the other shards have open, which is
//! what the algorithm is for.

use super::health::Health;
use super::latency::Pace;
use crate::base::time::Millis;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Member {
    health: Quiet,
    load: Busy,
}

/// Two lines, as the prefetcher fetches pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Quiet {
    health: Health,
    /// Is a probe on its way? The prober's alone.
    probing: AtomicBool,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Busy {
    open: AtomicU64,
    pace: AtomicU64,
}

impl Member {
    /// What is thought of it.
    pub fn health(&self) -> &Health {
        &self.health.health
    }

    /// Requests open to it, over all shards that count.
    pub fn open(&self) -> u64 {
        self.load.open.load(Relaxed)
    }

    /// Counts a request until the guard is dropped.
    pub fn begin(&self) -> Open<'_> {
        self.load.open.fetch_add(1, Relaxed);
        Open(self)
    }

    /// Smoothed latency, µs; `None` before the first answer.
    pub fn pace(&self, now: Millis) -> Option<f32> {
        Pace::of(self.load.pace.load(Relaxed)).at(now)
    }

    /// Takes the time of an answer in. Of two shards that do so at the same moment one is lost: it is one sample.
    pub fn answered(&self, us: u64, now: Millis) {
        let pace = Pace::of(self.load.pace.load(Relaxed)).after(us, now);
        self.load.pace.store(pace.word(), Relaxed);
    }

    /// Begins a probe; `None` while the last one is on its way.
    pub fn try_probe(&self) -> Option<Probing<'_>> {
        (!self.health.probing.swap(true, Relaxed)).then_some(Probing(self))
    }
}

/// A request that is open.
#[derive(Debug)]
pub struct Open<'a>(&'a Member);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.load.open.fetch_sub(1, Relaxed);
    }
}

/// A probe on its way.
#[derive(Debug)]
pub struct Probing<'a>(&'a Member);

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        self.0.health.probing.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_ends_with_its_guard() {
        let member = Member::default();
        let (one, two) = (member.begin(), member.begin());
        assert_eq!(member.open(), 2);
        drop((one, two));
        assert_eq!(member.open(), 0);
        let probing = member.try_probe();
        assert!(probing.is_some() && member.try_probe().is_none());
        drop(probing);
        assert!(member.try_probe().is_some());
    }
}
