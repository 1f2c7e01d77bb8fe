//! Weighted round-robin: a wheel of slots in which every target stands as often as its weight says, well spread, and one
//! cursor that turns it.
//!
//! The cursor is an atomic that all shards share: a count of requests per upstream on each shard would be exact only
//! within the shard, and a client that opens twenty connections would see 11 to 9. One relaxed add per request.

use crate::base::limits::{WHEEL_SLOTS_MAX, WHEEL_TURNS_MAX};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A wheel over `0..n` targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wheel {
    slots: Arc<[u16]>,
    targets: usize,
}

impl Wheel {
    /// A wheel for these weights; weight 0 has no slot. Every target with a weight has at least one, and the wheel has at
    /// most [`WHEEL_SLOTS_MAX`], so that extreme weights (65535 : 1) are rounded. O(slots × targets).
    pub fn new(weights: &[u32]) -> Wheel {
        let divisor = weights.iter().copied().filter(|&weight| weight > 0).fold(0, gcd).max(1);
        let mut shares: Vec<u64> = weights.iter().map(|&weight| u64::from(weight / divisor)).collect();
        let total: u64 = shares.iter().sum();
        let room = WHEEL_SLOTS_MAX as u64;
        if total > room {
            for share in shares.iter_mut().filter(|share| **share > 0) {
                *share = (*share * room / total).max(1);
            }
        }
        let total: i64 = shares.iter().sum::<u64>() as i64;
        // Smooth spread: in every step each target gains its share, the richest is taken and pays the total.
        let mut credit = vec![0i64; shares.len()];
        let mut slots = Vec::with_capacity(total as usize);
        for _ in 0..total {
            let mut best = None;
            for (target, credit) in credit.iter_mut().enumerate() {
                *credit += shares[target] as i64;
                if shares[target] > 0 && best.is_none_or(|(_, most)| *credit > most) {
                    best = Some((target, *credit));
                }
            }
            let Some((target, _)) = best else { break };
            credit[target] -= total;
            slots.push(target as u16);
        }
        Wheel { slots: slots.into(), targets: weights.len() }
    }

    /// The target of a turn; `None` where no target has a weight.
    pub fn at(&self, turn: u64) -> Option<usize> {
        let len = self.slots.len() as u64;
        (len > 0).then(|| usize::from(self.slots[(turn % len) as usize]))
    }

    /// The target of the next turn that may be asked. One relaxed add where the first may; every other costs one more,
    /// so that those who are left take turns evenly.
    pub fn pick(&self, turn: &Turn, may: impl Fn(usize) -> bool) -> Option<usize> {
        let first = self.at(turn.next())?;
        if may(first) {
            return Some(first);
        }
        if !(0..self.targets).any(&may) {
            return None;
        }
        for _ in 0..WHEEL_TURNS_MAX {
            let target = self.at(turn.next())?;
            if may(target) {
                return Some(target);
            }
        }
        // The few who may have few slots: the rest of the wheel is walked without turning it.
        let from = turn.next() % self.slots.len() as u64;
        (0..self.slots.len() as u64).filter_map(|step| self.at(from + step)).find(|&target| may(target))
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// No target has a weight.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        gcd(b, a % b)
    }
}

/// The cursor of one wheel, on a pair of cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Turn(AtomicU64);

impl Turn {
    /// The next turn, counted over all shards.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The cursors of all upstreams, by name: they outlive a reload. Looked up while tables are compiled, never by requests.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Arc<Turn>>>);

impl Turns {
    /// Forgets the cursors that no tables hold.
    pub fn forget_unused(&self) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    }

    /// The cursor of an upstream.
    pub fn of(&self, upstream: &str) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(upstream.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(weights: &[u32], turns: u64, want: &[u64]) {
        let wheel = Wheel::new(weights);
        let mut got = vec![0u64; weights.len()];
        for turn in 0..turns {
            if let Some(target) = wheel.at(turn) {
                got[target] += 1;
            }
        }
        assert_eq!(got, want, "{weights:?}");
    }

    #[test]
    fn targets_get_their_share_exactly() {
        check(&[100, 100], 20, &[10, 10]);
        check(&[100, 100, 100], 21, &[7, 7, 7]);
        check(&[300, 100], 8, &[6, 2]);
        check(&[10, 0, 20], 9, &[3, 0, 6]);
        check(&[0, 0], 5, &[0, 0]);
        check(&[], 5, &[]);
    }

    #[test]
    fn those_who_are_left_share_the_turns_of_those_who_are_down() {
        let (wheel, turn) = (Wheel::new(&[100, 100, 100]), Turn::default());
        let mut got = [0; 3];
        for _ in 0..30 {
            got[wheel.pick(&turn, |target| target != 1).unwrap()] += 1;
        }
        assert_eq!(got, [15, 0, 15]);
        assert_eq!(wheel.pick(&turn, |_| false), None);
        assert_eq!(Wheel::new(&[]).pick(&turn, |_| true), None);
    }

    #[test]
    fn the_last_one_is_found_however_small_its_share() {
        let (wheel, turn) = (Wheel::new(&[4000, 1]), Turn::default());
        for _ in 0..10 {
            assert_eq!(wheel.pick(&turn, |target| target == 1), Some(1));
        }
    }

    #[test]
    fn heavy_targets_do_not_come_in_bursts() {
        let wheel = Wheel::new(&[2, 1, 1]);
        let order: Vec<_> = (0..4).filter_map(|turn| wheel.at(turn)).collect();
        assert_eq!(order, [0, 1, 2, 0]);
    }

    #[test]
    fn extreme_weights_are_rounded_within_the_bound() {
        let wheel = Wheel::new(&[65_535, 1, 65_534]);
        assert!(wheel.len() <= WHEEL_SLOTS_MAX + 3, "{}", wheel.len());
        assert!((0..wheel.len() as u64).any(|turn| wheel.at(turn) == Some(1)));
    }
}
