//! The node-wide truth about fixed windows: for a limit of N, exactly N takes succeed in a window, whichever shards and
//! connections they come from.
//!
//! A fixed table of 128-byte sets; a key's 64-bit hash names the set and, in it, one of eight ways. A way is two words:
//!
//! ```text
//! tag    48 bits of the hash | 16 bits of the claim that wrote it
//! state  0 | window's end, s (32) | used (31)         it counts
//!        1 | number of a claim (63)                   it is frozen: being given to a key, or to nobody (claim 0)
//! ```
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
//! What is *not* exact: when all eight ways of a set hold living windows, the oldest is given up and its key starts
//! afresh. That is counted ([`Bank::evicted_live`]).

use super::window::Window;
use crate::base::limits;
use ahash::RandomState;
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

/// A token that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Takes in this window so far, this one included; at least 1.
    pub used: u32,
    /// End of the window it was taken from: the asked one, or the next if another thread's clock was already there.
    pub end_s: u32,
}

/// All tokens of the window are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Takes in this window; the limit, or more if the limit was larger before.
    pub used: u32,
}

/// Counts per key and window, for all shards. Fixed size; no operation allocates or waits for another thread.
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

    /// The key of what these parts name together. Each part's length is hashed with it, so that no two lists of parts
    /// run into each other. The hash is keyed anew in every process: nobody can aim at a set from outside.
    pub fn key(&self, parts: &[&[u8]]) -> Key {
        let mut hasher = self.hasher.build_hasher();
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        Key(hasher.finish())
    }

    /// Takes one token of `limit` from `key`'s `window`. `now_s` is the wall clock: what ends by then may be evicted.
    ///
    /// A window never turns back: a thread whose clock is behind takes from the window that a faster one has begun. Only
    /// when that window is further away than clocks disagree (the clock was set back) the count starts afresh.
    /// # Errors
    /// [`Full`] when the window has no token left; nothing was changed then.
    pub fn take(&self, key: Key, window: Window, limit: u32, now_s: u32) -> Result<Taken, Full> {
        let limit = limit.min(USED_MAX);
        if limit == 0 {
            return Err(Full { used: 0 });
        }
        let (set, tag) = self.place(key);
        loop {
            for way in &set.ways {
                if let Some(taken) = take_from(way, tag, window, limit) {
                    return taken;
                }
            }
            self.bring(set, tag, window, now_s);
        }
    }

    /// How many tokens of `window` are taken. Does not bring the key in.
    pub fn peek(&self, key: Key, window: Window) -> u32 {
        let (set, tag) = self.place(key);
        for way in &set.ways {
            if !same_tag(way.tag.load(SeqCst), tag) {
                continue;
            }
            let seen = way.state.load(SeqCst);
            if !same_tag(way.tag.load(SeqCst), tag) {
                continue;
            }
            if let Some(count) = Count::of(seen).and_then(|count| count.in_window(window)) {
                return count.used;
            }
        }
        0
    }

    /// Gives back a token that was taken, unless its window is over or its key was evicted.
    pub fn give_back(&self, key: Key, taken: Taken) {
        let (set, tag) = self.place(key);
        for way in &set.ways {
            if !same_tag(way.tag.load(SeqCst), tag) {
                continue;
            }
            let mut seen = way.state.load(SeqCst);
            while let Some(count) = Count::of(seen) {
                if !same_tag(way.tag.load(SeqCst), tag) || count.end_s != taken.end_s || count.used == 0 {
                    break;
                }
                let next = Count { used: count.used - 1, ..count };
                match way.state.compare_exchange_weak(seen, next.word(), SeqCst, SeqCst) {
                    Ok(_) => return,
                    Err(now) => seen = now,
                }
            }
        }
    }

    /// How many living windows were given up for lack of room, since start.
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
    fn bring(&self, set: &Set, tag: u64, window: Window, now_s: u32) {
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
            let fresh = Count { end_s: window.end_s, used: 0 };
            if way.state.compare_exchange(frozen, fresh.word(), SeqCst, SeqCst).is_ok() {
                if Count::of(seen).is_some_and(|count| !count.is_over(now_s)) {
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
const USED_BITS: u32 = 31;
const USED_MAX: u32 = (1 << USED_BITS) - 1;

fn same_tag(held: u64, tag: u64) -> bool {
    // A way that nobody has claimed yet has stamp 0 and tag 0. A hash of 48 zeros finds it, which is right: it is free,
    // counts nothing, and will do as well as another.
    held | STAMP == tag
}

/// What a state says that is not frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    end_s: u32,
    used: u32,
}

impl Count {
    fn of(word: u64) -> Option<Count> {
        let count = Count { end_s: (word >> USED_BITS) as u32, used: word as u32 & USED_MAX };
        (word & FROZEN == 0).then_some(count)
    }

    fn word(self) -> u64 {
        u64::from(self.end_s) << USED_BITS | u64::from(self.used)
    }

    /// May its way be given to another key? Not in the second after its end: a shard whose clock is a few milliseconds
    /// behind still counts in it, and would begin it anew.
    fn is_over(self, now_s: u32) -> bool {
        self.end_s < now_s
    }

    /// Does it count for `window`, or for one that began while we held an older clock?
    fn in_window(self, window: Window) -> Option<Count> {
        let ahead_s = self.end_s.checked_sub(window.end_s)?;
        // Months and years differ in length, so the next window may be longer than this one, but never twice as long.
        (ahead_s <= 2 * window.len_s().min(u32::MAX / 2)).then_some(self)
    }
}

/// Takes a token from `way`; `None` when it does not count for `tag`, or not any more.
fn take_from(way: &Way, tag: u64, window: Window, limit: u32) -> Option<Result<Taken, Full>> {
    if !same_tag(way.tag.load(SeqCst), tag) {
        return None;
    }
    let mut seen = way.state.load(SeqCst);
    loop {
        // The tag after the state: if the way is still ours, so was the state that we saw.
        if !same_tag(way.tag.load(SeqCst), tag) {
            return None;
        }
        let count = Count::of(seen)?;
        let next = match count.in_window(window) {
            Some(count) if count.used >= limit => return Some(Err(Full { used: count.used })),
            Some(count) => Count { used: count.used + 1, ..count },
            None => Count { end_s: window.end_s, used: 1 },
        };
        match way.state.compare_exchange_weak(seen, next.word(), SeqCst, SeqCst) {
            Ok(_) => return Some(Ok(Taken { used: next.used, end_s: next.end_s })),
            Err(now) => seen = now,
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

/// The way to give to a new key, and its state: free or expired first, then the one whose window ends first, of these the
/// one that used least. `None` when all are being claimed by others.
fn victim(set: &Set, now_s: u32) -> Option<(&Way, u64)> {
    let mut best: Option<(u64, &Way, u64)> = None;
    for way in &set.ways {
        let state = way.state.load(SeqCst);
        let cost = match Count::of(state) {
            Some(count) if count.is_over(now_s) => 0,
            Some(_) => state,
            None if state == NOBODY => 0,
            None => continue,
        };
        if best.is_none_or(|(least, ..)| cost < least) {
            best = Some((cost, way, state));
        }
    }
    best.map(|(_, way, state)| (way, state))
}

#[cfg(test)]
mod tests {
    use super::super::window::Period;
    use super::*;
    use crate::base::rng::Rng;
    use crate::base::time::WallMs;
    use std::collections::HashMap;
    use std::sync::atomic::AtomicU32;
    use std::sync::Barrier;

    const NOON: u32 = 1_795_435_200;

    fn window(start_s: u32, len_s: u32) -> Window {
        Window { start_s, end_s: start_s + len_s }
    }

    /// Runs `job` on so many threads at once and gives back the sum of what they return.
    fn together(threads: usize, job: impl Fn(usize) -> u32 + Sync) -> u32 {
        let gate = Barrier::new(threads);
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|me| {
                    let (gate, job) = (&gate, &job);
                    scope.spawn(move || {
                        gate.wait();
                        job(me)
                    })
                })
                .collect();
            handles.into_iter().map(|handle| handle.join().expect("no thread panics")).sum()
        })
    }

    #[test]
    fn a_limit_of_n_lets_n_pass_and_counts_no_refusal() {
        let bank = Bank::new(4);
        let (key, minute) = (bank.key(&[b"a"]), window(NOON, 60));
        for used in 1..=3 {
            assert_eq!(bank.take(key, minute, 3, NOON), Ok(Taken { used, end_s: NOON + 60 }));
        }
        assert_eq!(bank.take(key, minute, 3, NOON), Err(Full { used: 3 }));
        assert_eq!(bank.peek(key, minute), 3);
        bank.give_back(key, Taken { used: 3, end_s: NOON + 60 });
        assert_eq!(bank.take(key, minute, 3, NOON), Ok(Taken { used: 3, end_s: NOON + 60 }));
        assert_eq!(bank.take(key, minute, 0, NOON), Err(Full { used: 0 }));
    }

    #[test]
    fn a_window_turns_forwards_only() {
        let bank = Bank::new(4);
        let key = bank.key(&[b"a"]);
        let (old, new) = (window(NOON, 60), window(NOON + 60, 60));
        assert_eq!(bank.take(key, old, 2, NOON + 59).map(|taken| taken.used), Ok(1));
        assert_eq!(bank.take(key, new, 2, NOON + 60).map(|taken| taken.used), Ok(1));
        assert_eq!(bank.peek(key, new), 1);
        // A slow clock asks for the old window and gets the new one; its token goes back to where it came from.
        let late = bank.take(key, old, 2, NOON + 59);
        assert_eq!(late, Ok(Taken { used: 2, end_s: NOON + 120 }));
        assert_eq!(bank.take(key, old, 2, NOON + 59), Err(Full { used: 2 }));
        bank.give_back(key, Taken { used: 1, end_s: NOON + 60 });
        assert_eq!(bank.peek(key, new), 2, "a token of a past window is worth nothing");
        // The clock was set back by an hour: the count of the future does not lock anyone out.
        assert_eq!(bank.take(key, window(NOON - 3600, 60), 2, NOON - 3600).map(|taken| taken.used), Ok(1));
    }

    #[test]
    fn the_largest_limits_and_ends_do_not_wrap() {
        let bank = Bank::new(1);
        let key = bank.key(&[b"a"]);
        let last = Period::Year.window(WallMs(u64::MAX));
        assert_eq!(last.end_s, u32::MAX);
        assert_eq!(bank.take(key, last, u32::MAX, u32::MAX - 2).map(|taken| taken.used), Ok(1));
        let way = bank.sets[0].ways.iter().find(|way| Count::of(way.state.load(SeqCst)).is_some_and(|c| c.used == 1));
        let full = Count { end_s: u32::MAX, used: USED_MAX };
        way.expect("one way counts").state.store(full.word(), SeqCst);
        assert_eq!(bank.take(key, last, u32::MAX, u32::MAX - 2), Err(Full { used: USED_MAX }));
    }

    #[test]
    fn exactly_n_pass_however_many_threads_take() {
        for round in 0..200u32 {
            let bank = Bank::new(1);
            let key = bank.key(&[&round.to_be_bytes()]);
            let limit = 1 + round * 7;
            let passed = together(4, |_| {
                (0..limit).filter(|_| bank.take(key, window(NOON, 60), limit, NOON).is_ok()).count() as u32
            });
            assert_eq!(passed, limit);
            assert_eq!(bank.evicted_live(), 0);
        }
    }

    #[test]
    fn exactly_n_pass_per_window_while_windows_turn_and_keys_come_and_go() {
        // One set, two keys per window, 100 windows: every key is brought in, expires and is replaced, under threads
        // whose clocks differ by up to one window.
        const STEPS: u32 = 100;
        let bank = Bank::new(1);
        let tally: Vec<[AtomicU32; 2]> = (0..2 * STEPS).map(|_| Default::default()).collect();
        let clock = AtomicU32::new(0);
        let seen: [AtomicU32; 3] = Default::default();
        together(4, |me| {
            if me == 3 {
                for step in 1..=STEPS {
                    while seen.iter().any(|seen| seen.load(SeqCst) + 1 < step) {
                        std::thread::yield_now();
                    }
                    clock.store(step, SeqCst);
                }
                return 0;
            }
            let mut rng = Rng::new(me as u64);
            loop {
                let step = clock.load(SeqCst);
                seen[me].store(step, SeqCst);
                if step >= STEPS {
                    return 0;
                }
                for _ in 0..6 {
                    let id = step * 2 + rng.below(2) as u32;
                    let passed = bank.take(bank.key(&[&id.to_be_bytes()]), window(NOON + step, 1), 5, NOON + step);
                    tally[id as usize][usize::from(passed.is_ok())].fetch_add(1, SeqCst);
                }
            }
        });
        assert_eq!(bank.evicted_live(), 0);
        for (id, [refused, passed]) in tally.iter().enumerate() {
            let (refused, passed) = (refused.load(SeqCst), passed.load(SeqCst));
            assert_eq!(passed, (passed + refused).min(5), "key {id}");
        }
    }

    #[test]
    fn one_key_is_brought_in_once() {
        for round in 0..2000u32 {
            let bank = Bank::new(1);
            let key = bank.key(&[&round.to_be_bytes()]);
            together(3, |_| u32::from(bank.take(key, window(NOON, 60), 100, NOON).is_ok()));
            assert_eq!(bank.peek(key, window(NOON, 60)), 3);
            let (set, tag) = bank.place(key);
            let live = |way: &&Way| same_tag(way.tag.load(SeqCst), tag) && way.state.load(SeqCst) & FROZEN == 0;
            assert_eq!(set.ways.iter().filter(live).count(), 1);
        }
    }

    #[test]
    fn expired_windows_make_room_first_then_the_oldest_living_one() {
        let bank = Bank::new(1);
        let keys: Vec<Key> = (0..10u8).map(|n| bank.key(&[&[n]])).collect();
        let (minute, hour) = (window(NOON, 60), window(NOON, 3600));
        for key in &keys[..7] {
            assert!(bank.take(*key, hour, 5, NOON).is_ok());
        }
        assert!(bank.take(keys[7], minute, 5, NOON).is_ok());
        // Eight ways are full of living windows. When the minute is over, its way is free.
        assert!(bank.take(keys[8], hour, 5, NOON + 61).is_ok());
        assert_eq!(bank.evicted_live(), 0);
        assert_eq!(bank.peek(keys[7], minute), 0);
        // Now all eight live: the ninth takes the way of one, and says so.
        assert!(bank.take(keys[9], hour, 5, NOON + 61).is_ok());
        assert_eq!(bank.evicted_live(), 1);
        assert_eq!(keys.iter().filter(|key| bank.peek(**key, hour) == 1).count(), 8);
    }

    #[test]
    fn the_bank_agrees_with_a_map() {
        // Room for all keys: 64 sets × 8 ways for 60 (key, period) pairs, so that nothing that lives is evicted.
        for seed in 0..20 {
            let (bank, mut rng) = (Bank::new(64), Rng::new(seed));
            let mut twin: HashMap<(u64, Period), (u32, u32)> = HashMap::new();
            let mut now = WallMs(u64::from(NOON) * 1000 + rng.below(86_400_000));
            for _ in 0..20_000 {
                now.0 += rng.below(400) * rng.below(4);
                if rng.below(500) == 0 {
                    now.0 += rng.below(40 * 86_400_000);
                }
                let (id, period) = (rng.below(10), Period::ALL[rng.below(6) as usize]);
                let (window, limit) = (period.window(now), 1 + id as u32 * 3);
                let key = bank.key(&[&id.to_be_bytes(), &[period as u8]]);
                let held = twin.entry((id, period)).or_default();
                if held.0 != window.end_s {
                    *held = (window.end_s, 0);
                }
                match rng.below(8) {
                    0 => {
                        bank.give_back(key, Taken { used: 1, end_s: window.end_s });
                        held.1 = held.1.saturating_sub(1);
                    }
                    1 => assert_eq!(bank.peek(key, window), held.1),
                    _ => {
                        let want = if held.1 < limit {
                            held.1 += 1;
                            Ok(Taken { used: held.1, end_s: window.end_s })
                        } else {
                            Err(Full { used: held.1 })
                        };
                        assert_eq!(bank.take(key, window, limit, now.seconds() as u32), want, "seed {seed}");
                    }
                }
            }
            assert_eq!(bank.evicted_live(), 0);
        }
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        let bank = Bank::new(1);
        assert_ne!(bank.key(&[b"ab", b"c"]), bank.key(&[b"a", b"bc"]));
        assert_ne!(bank.key(&[b"a", b""]), bank.key(&[b"a"]));
        assert_eq!(bank.key(&[b"a", b"b"]), bank.key(&[b"a", b"b"]));
    }
}
