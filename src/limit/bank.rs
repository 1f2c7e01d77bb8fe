//! The node-wide truth about who has used how much: one word per key, moved by compare-and-swap, the same for all shards
//! and connections. What the word counts is the algorithm's: [`fixed`](super::fixed), [`sliding`](super::sliding),
//! [`bucket`](super::bucket).
//!
//! A fixed table of 128-byte sets; a key's 64-bit hash names the set and, in it, one of eight ways. A way is two words:
//!
//! ```text
//! tag    48 bits of the hash | 16 bits of the claim that wrote it
//! state  0 | its end, s since the epoch (32) | what the algorithm keeps there (31)     it counts
//!        1 | number of a claim (63)                   it is frozen: being given to a key, or to nobody (claim 0)
//! ```
//!
//! After its end a word says nothing that a new one would not: its way may be given away.
//!
//! **Taking** finds the tag and moves `state` by one compare-and-swap; a new window begins by the same swap, so there is
//! no sweep. Two keys meet only if all 64 bits of their keyed hashes agree; then they share a count, which is never too
//! generous.
//!
//! **A new key** is the rare case. Its thread freezes a way (unused, else expired, else the oldest), writes the tag, and
//! looks whether another thread claims a way for the same key: a claim it finds is cancelled, a way in use is used
//! instead. Only then its own claim becomes a count, if nobody cancelled it: that swap names the claim, so of several
//! threads that bring the same key one succeeds, and the others find it. Nobody waits for a thread that sleeps: its claim
//! is cancelled after a few turns. Freezing is on the word that takers swap, so no take is lost in a way that changes
//! hands, and an expired way cannot come back: ends only grow.
//!
//! **Why one token at a time.** A shard could lease k tokens and spend them without touching the bank. But then a shard
//! that nobody asks keeps tokens that another shard must refuse for (fewer than N pass), and `Remaining` shows what was
//! leased, not what was used. One token costs one swap: 11 ns alone, and 11 to
//! 14 ns with two threads on the same word (`benches/limit.rs`, two cores). That is a thousandth of a request, so there is
//! nothing to buy. Revisit beyond 16 shards that share one key.
//!
//! What is *not* exact: when all eight ways of a set hold living words, the one that ends first is given up and its key
//! starts afresh. That is counted ([`Bank::evicted_live`]).

use super::word;
use crate::base::limits;
use ahash::{AHasher, RandomState};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

const WAYS: usize = 8;

#[derive(Debug, Default)]
struct Way {
    tag: AtomicU64,
    state: AtomicU64,
}

/// Two cache lines: the prefetcher fetches them as a pair, and no set shares one with its neighbour.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Set {
    ways: [Way; WAYS],
}

const _: () = assert!(size_of::<Set>() == 128, "a set is one pair of cache lines");
const _: () = assert!(limits::BANK_SETS.is_power_of_two(), "a set is found by masking");

/// The key of a count: a keyed hash. Made by [`Bank::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// Another key that belongs to this one: an algorithm that needs two words has the second there.
    pub(super) fn twin(self) -> Key {
        Key(self.0 ^ TWIN)
    }
}

/// Far from 0 in all bits, so that a key and its twin are in sets that have nothing to do with each other.
const TWIN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A key in the making.
#[derive(Clone, Debug)]
pub struct Naming(AHasher);

impl Naming {
    /// The same with one more part. Its length is hashed with it, so that no two lists of parts run into each other.
    #[must_use]
    pub fn part(mut self, part: &[u8]) -> Naming {
        self.0.write_usize(part.len());
        self.0.write(part);
        self
    }

    /// The key of what the parts name together.
    pub fn key(&self) -> Key {
        Key(self.0.finish())
    }
}

/// What an operation does with a word that it has found.
pub(super) enum Step<R> {
    /// Puts this one in its place, if nobody has moved it meanwhile; else it is asked again.
    Write(u64, R),
    /// Leaves it.
    Leave(R),
}

/// One word per key, for all shards. Fixed size; no operation allocates or waits for another thread.
#[derive(Debug)]
pub struct Bank {
    sets: Box<[Set]>,
    hasher: RandomState,
    claims: AtomicU64,
    evicted_live: AtomicU64,
}

impl Default for Bank {
    fn default() -> Bank {
        Bank::new(limits::BANK_SETS)
    }
}

impl Bank {
    /// A bank of `sets` × 8 counts, 16 bytes each. `sets` is rounded up to a power of two.
    pub fn new(sets: usize) -> Bank {
        let sets = sets.max(1).next_power_of_two();
        Bank {
            sets: (0..sets).map(|_| Set::default()).collect(),
            hasher: RandomState::new(),
            claims: AtomicU64::new(0),
            evicted_live: AtomicU64::new(0),
        }
    }

    /// Begins a key. The hash is keyed anew in every process: nobody can aim at a set from outside.
    pub fn naming(&self) -> Naming {
        Naming(self.hasher.build_hasher())
    }

    /// The key of what these parts name together.
    pub fn key(&self, parts: &[&[u8]]) -> Key {
        parts.iter().fold(self.naming(), |naming, part| naming.part(part)).key()
    }

    /// Moves the word of `key` as `step` says; where there is none, `fresh` is brought first. `now_s` is the wall clock:
    /// what ends before it may be evicted. `step` may be asked again and again, and must be pure.
    pub(super) fn update<R>(&self, key: Key, fresh: u64, now_s: u32, mut step: impl FnMut(u64) -> Step<R>) -> R {
        let (set, tag) = self.place(key);
        loop {
            for way in &set.ways {
                if let Some(found) = way.update(tag, &mut step) {
                    return found;
                }
            }
            self.bring(set, tag, fresh, now_s);
        }
    }

    /// Moves the word of `key` where there is one.
    pub(super) fn update_held<R>(&self, key: Key, mut step: impl FnMut(u64) -> Step<R>) -> Option<R> {
        let (set, tag) = self.place(key);
        set.ways.iter().find_map(|way| way.update(tag, &mut step))
    }

    /// The word of `key`. Does not bring it in.
    pub(super) fn read(&self, key: Key) -> Option<u64> {
        self.update_held(key, Step::Leave)
    }

    /// How many words were given up before their end for lack of room, since start.
    pub fn evicted_live(&self) -> u64 {
        self.evicted_live.load(SeqCst)
    }

    fn place(&self, key: Key) -> (&Set, u64) {
        // The set comes from the low 16 bits, which the tag leaves out: with 2^16 sets all 64 bits of the hash are
        // compared.
        (&self.sets[key.0 as usize & (self.sets.len() - 1)], key.0 | STAMP)
    }

    /// Sees to it that a way of `set` counts for `tag`, or did a moment ago.
    #[cold]
    fn bring(&self, set: &Set, tag: u64, fresh: u64, now_s: u32) {
        let claim = self.claims.fetch_add(1, SeqCst).wrapping_add(1);
        let frozen = FROZEN | claim;
        let mut patience = PATIENCE;
        loop {
            match rival(set, tag, None) {
                Some(Rival::Counts) => return,
                Some(Rival::Claims(way, state)) => {
                    // Either somebody brings our key, which is a matter of nanoseconds, or its thread was stopped.
                    patience -= 1;
                    if patience > 0 {
                        std::hint::spin_loop();
                        continue;
                    }
                    patience = PATIENCE;
                    let _ = way.state.compare_exchange(state, NOBODY, SeqCst, SeqCst);
                }
                None => {}
            }
            let Some((way, seen)) = victim(set, now_s) else { continue };
            if way.state.compare_exchange(seen, frozen, SeqCst, SeqCst).is_err() {
                continue;
            }
            let held = way.tag.load(SeqCst);
            let mine = (tag & !STAMP) | (claim & STAMP);
            if way.tag.compare_exchange(held, mine, SeqCst, SeqCst).is_err() {
                let _ = way.state.compare_exchange(frozen, NOBODY, SeqCst, SeqCst);
                continue;
            }
            // The tag is written before we look, and so does everybody: of two claims at least one sees the other.
            loop {
                match rival(set, tag, Some(way)) {
                    Some(Rival::Counts) => {
                        let _ = way.state.compare_exchange(frozen, NOBODY, SeqCst, SeqCst);
                        return;
                    }
                    Some(Rival::Claims(other, state)) => {
                        let _ = other.state.compare_exchange(state, NOBODY, SeqCst, SeqCst);
                    }
                    None => break,
                }
            }
            if way.state.compare_exchange(frozen, fresh, SeqCst, SeqCst).is_ok() {
                if seen & FROZEN == 0 && !word::is_over(seen, now_s) {
                    self.evicted_live.fetch_add(1, SeqCst);
                }
                return;
            }
            // Our claim was cancelled; look again who has won.
        }
    }
}

/// Turns that a claim of the same key is left in peace. A claim takes some 30 ns; 64 turns are about as many hundred.
const PATIENCE: u32 = 64;

const STAMP: u64 = 0xffff;
const FROZEN: u64 = 1 << 63;
/// Frozen by nobody: free to claim.
const NOBODY: u64 = FROZEN;
fn same_tag(held: u64, tag: u64) -> bool {
    // A way that nobody has claimed yet has stamp 0 and tag 0. A hash of 48 zeros finds it, which is right: it is free,
    // counts nothing, and will do as well as another.
    held | STAMP == tag
}

impl Way {
    /// Moves its word as `step` says; `None` when it does not count for `tag`, or not any more.
    fn update<R>(&self, tag: u64, step: &mut impl FnMut(u64) -> Step<R>) -> Option<R> {
        if !same_tag(self.tag.load(SeqCst), tag) {
            return None;
        }
        let mut seen = self.state.load(SeqCst);
        loop {
            // The tag after the state: if the way is still ours, so was the state that we saw.
            if !same_tag(self.tag.load(SeqCst), tag) || seen & FROZEN != 0 {
                return None;
            }
            match step(seen) {
                Step::Leave(found) => return Some(found),
                Step::Write(next, found) => match self.state.compare_exchange_weak(seen, next, SeqCst, SeqCst) {
                    Ok(_) => return Some(found),
                    Err(now) => seen = now,
                },
            }
        }
    }
}

/// Another way with our tag.
enum Rival<'a> {
    /// It counts: use it.
    Counts,
    /// It is frozen: a claim for our key, or our key being evicted.
    Claims(&'a Way, u64),
}

fn rival<'a>(set: &'a Set, tag: u64, own: Option<&Way>) -> Option<Rival<'a>> {
    let mut claims = None;
    for way in &set.ways {
        if own.is_some_and(|own| std::ptr::eq(own, way)) || !same_tag(way.tag.load(SeqCst), tag) {
            continue;
        }
        match way.state.load(SeqCst) {
            NOBODY => {}
            state if state & FROZEN != 0 => claims = Some(Rival::Claims(way, state)),
            _ => return Some(Rival::Counts),
        }
    }
    claims
}

/// The way to give to a new key, and its state: free or over first, then the one that ends first, of these the one that
/// used least. `None` when all are being claimed by others.
fn victim(set: &Set, now_s: u32) -> Option<(&Way, u64)> {
    let mut best: Option<(u64, &Way, u64)> = None;
    for way in &set.ways {
        let state = way.state.load(SeqCst);
        let cost = match state {
            NOBODY => 0,
            _ if state & FROZEN != 0 => continue,
            _ if word::is_over(state, now_s) => 0,
            _ => state,
        };
        if best.is_none_or(|(least, ..)| cost < least) {
            best = Some((cost, way, state));
        }
    }
    best.map(|(_, way, state)| (way, state))
}

#[cfg(test)]
mod tests;
