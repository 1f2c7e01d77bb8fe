//! A ring of points on which every target stands many times, well mixed; a request goes to the nearest entry below the
//! point of its hash. Where a target goes, only the requests that were its own move, each to the next entry below.
//!
//! The points are those that clusters in the field compute: xxHash32 of `ip::port n`, modulo the points of the ring; so
//! nodes of both kinds behind one load balancer agree on who serves whom, as long as no two entries meet on a point in
//! another order.

use crate::base::limits::{RING_ENTRIES_PER_TARGET, RING_POINTS_MIN};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use xxhash_rust::xxh32::{xxh32, Xxh32};

/// A hash that is fed piece by piece; keeps nothing on the heap.
pub struct Hash(Xxh32);

impl Hash {
    /// Of nothing yet.
    pub fn new() -> Hash {
        Hash(Xxh32::new(0))
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes together, however they were cut.
    pub fn finish(&self) -> u32 {
        self.0.digest()
    }
}

impl Default for Hash {
    fn default() -> Hash {
        Hash::new()
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hash").field(&self.finish()).finish()
    }
}

/// The ring of one upstream.
#[derive(Clone, Debug)]
pub struct Ring {
    points: u32,
    /// Sorted by point, one entry to a point.
    entries: Arc<[Entry]>,
    targets: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    point: u32,
    target: u16,
}

impl Ring {
    /// A ring of `slots` points for these targets. A target of average weight has [`RING_ENTRIES_PER_TARGET`] entries, the
    /// others by their share, each at least one. O(entries), 8 bytes each.
    pub fn new(slots: u32, targets: &[(SocketAddr, u32)]) -> Ring {
        let points = slots.max(RING_POINTS_MIN);
        let total: u64 = targets.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let all = targets.len() as u64 * RING_ENTRIES_PER_TARGET;
        let mut entries = Vec::new();
        let mut key = String::new();
        for (target, (addr, weight)) in targets.iter().enumerate().filter(|(_, (_, weight))| *weight > 0) {
            let share = (u64::from(*weight) * all / total).max(1);
            for n in 1..=share {
                key.clear();
                // Writing to a string cannot fail.
                let _ = match addr.ip() {
                    IpAddr::V4(ip) => write!(key, "{ip}::{} {n}", addr.port()),
                    IpAddr::V6(ip) => write!(key, "[{ip}]::{} {n}", addr.port()),
                };
                entries.push(Entry { point: xxh32(key.as_bytes(), 0) % points, target: target as u16 });
            }
        }
        // Who comes later takes a point that was taken: a stable sort, and of equals the last is kept.
        entries.sort_by_key(|entry| entry.point);
        entries.reverse();
        entries.dedup_by_key(|entry| entry.point);
        entries.reverse();
        Ring { points, entries: entries.into(), targets: targets.len() }
    }

    /// The nearest target below the hash's point that may be asked; below the lowest comes the highest. A binary search,
    /// and a walk where the nearest may not.
    pub fn pick(&self, hash: u32, may: impl Fn(usize) -> bool) -> Option<usize> {
        let point = hash % self.points;
        let below = self.entries.partition_point(|entry| entry.point <= point);
        let (low, high) = self.entries.split_at(below);
        let mut walk = low.iter().rev().chain(high.iter().rev()).map(|entry| usize::from(entry.target));
        let nearest = walk.next()?;
        if may(nearest) {
            return Some(nearest);
        }
        // Few against the entries of a whole ring, where there is nobody to find.
        (0..self.targets).any(&may).then(|| walk.find(|&target| may(target))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn targets(weights: &[u32]) -> Vec<(SocketAddr, u32)> {
        let addr = |n: usize| SocketAddr::from(([10, 0, (n / 250) as u8, (n % 250) as u8 + 1], 8000 + n as u16));
        weights.iter().enumerate().map(|(n, weight)| (addr(n), *weight)).collect()
    }

    fn hash_of(text: &str) -> u32 {
        xxh32(text.as_bytes(), 0)
    }

    /// Addresses that the keys go to.
    fn homes(slots: u32, targets: &[(SocketAddr, u32)], keys: usize) -> Vec<SocketAddr> {
        let ring = Ring::new(slots, targets);
        (0..keys).map(|key| targets[ring.pick(hash_of(&format!("key {key}")), |_| true).unwrap()].0).collect()
    }

    #[test]
    fn a_hash_does_not_depend_on_how_its_bytes_were_cut() {
        let text = "the quick brown fox jumps over the lazy dog";
        for cut in 0..text.len() {
            let mut hash = Hash::new();
            hash.add(&text.as_bytes()[..cut]);
            hash.add(&text.as_bytes()[cut..]);
            assert_eq!(hash.finish(), hash_of(text));
        }
        // The published check values of xxHash32.
        assert_eq!((Hash::new().finish(), hash_of("a")), (0x02cc_5d05, 0x550d_7456));
    }

    #[test]
    fn removing_one_of_three_moves_only_its_own_third() {
        const KEYS: usize = 30_000;
        let all = targets(&[100, 100, 100]);
        let before = homes(10_000, &all, KEYS);
        for gone in 0..3 {
            let mut left = all.clone();
            let gone = left.remove(gone).0;
            let after = homes(10_000, &left, KEYS);
            let moved: Vec<usize> = (0..KEYS).filter(|&key| before[key] != after[key]).collect();
            assert!(moved.len() > KEYS / 4 && moved.len() < KEYS * 2 / 5, "{} of {KEYS} moved", moved.len());
            // Where two entries met on a point, the one below may come to light: few.
            let strangers = moved.iter().filter(|&&key| before[key] != gone).count();
            assert!(strangers < KEYS / 50, "{strangers} of others moved");
        }
    }

    #[test]
    fn a_target_that_is_down_gives_its_keys_away_and_gets_the_same_back() {
        let all = targets(&[100, 100, 100]);
        let ring = Ring::new(10_000, &all);
        for key in 0..3000 {
            let hash = hash_of(&format!("key {key}"));
            let home = ring.pick(hash, |_| true).unwrap();
            let away = ring.pick(hash, |target| target != 1).unwrap();
            assert!(home == 1 || away == home, "a key of {home} moved to {away}");
            assert_ne!(away, 1);
            assert_eq!(ring.pick(hash, |_| false), None);
        }
    }

    #[test]
    fn shares_follow_weights() {
        let all = targets(&[300, 100, 0]);
        let homes = homes(65_536, &all, 40_000);
        let count = |target: usize| homes.iter().filter(|home| **home == all[target].0).count() as f64 / 40_000.0;
        assert!((count(0) - 0.75).abs() < 0.08 && count(2) == 0.0, "{} {}", count(0), count(2));
    }

    #[test]
    fn extremes_are_served() {
        assert_eq!(Ring::new(10, &[]).pick(7, |_| true), None);
        assert_eq!(Ring::new(10, &targets(&[0])).pick(7, |_| true), None);
        assert_eq!(Ring::new(10, &targets(&[1])).pick(u32::MAX, |_| true), Some(0));
        let ring = Ring::new(10, &targets(&[65_535, 1]));
        assert!(ring.entries.iter().any(|entry| entry.target == 1), "a small weight has no entry");
    }

    /// The definition: a slot for every point, filled in order, walked down one by one.
    fn naive(slots: u32, targets: &[(SocketAddr, u32)], hash: u32, may: impl Fn(usize) -> bool) -> Option<usize> {
        let points = slots.max(1000) as usize;
        let mut continuum = vec![None; points];
        let total: u64 = targets.iter().map(|(_, weight)| u64::from(*weight)).sum();
        for (target, (addr, weight)) in targets.iter().enumerate() {
            let entries =
                if *weight == 0 { 0 } else { (u64::from(*weight) * targets.len() as u64 * 160 / total).max(1) };
            for n in 1..=entries {
                continuum[hash_of(&format!("{}::{} {n}", addr.ip(), addr.port())) as usize % points] = Some(target);
            }
        }
        let start = hash as usize % points;
        (0..points).filter_map(|step| continuum[(start + points - step) % points]).find(|&target| may(target))
    }

    proptest! {
        #[test]
        fn the_ring_agrees_with_the_naive_walk(
            weights in prop::collection::vec(0u32..300, 0..6), slots in 10u32..3000, hash: u32, down in 0u8..64,
        ) {
            let all = targets(&weights);
            let may = |target: usize| down >> target & 1 == 0;
            prop_assert_eq!(Ring::new(slots, &all).pick(hash, may), naive(slots, &all, hash, may));
        }
    }
}
