//! The bank under threads, and against a map.

use super::super::fixed::{Full, Taken};
use super::super::window::{Period, Window};
use super::super::word;
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
        assert_eq!(bank.take(key, minute, 1, 3, NOON), Ok(Taken { used, end_s: NOON + 60 }));
    }
    assert_eq!(bank.take(key, minute, 1, 3, NOON), Err(Full { used: 3 }));
    assert_eq!(bank.peek(key, minute), 3);
    bank.give_back(key, Taken { used: 3, end_s: NOON + 60 }, 1);
    assert_eq!(bank.take(key, minute, 1, 3, NOON), Ok(Taken { used: 3, end_s: NOON + 60 }));
    assert_eq!(bank.take(key, minute, 1, 0, NOON), Err(Full { used: 3 }));
    assert_eq!(bank.take(key, minute, u32::MAX, 3, NOON), Err(Full { used: 3 }));
}

#[test]
fn a_window_turns_forwards_only() {
    let bank = Bank::new(4);
    let key = bank.key(&[b"a"]);
    let (old, new) = (window(NOON, 60), window(NOON + 60, 60));
    assert_eq!(bank.take(key, old, 1, 2, NOON + 59).map(|taken| taken.used), Ok(1));
    assert_eq!(bank.take(key, new, 1, 2, NOON + 60).map(|taken| taken.used), Ok(1));
    assert_eq!(bank.peek(key, new), 1);
    // A slow clock asks for the old window and gets the new one; its token goes back to where it came from.
    let late = bank.take(key, old, 1, 2, NOON + 59);
    assert_eq!(late, Ok(Taken { used: 2, end_s: NOON + 120 }));
    assert_eq!(bank.take(key, old, 1, 2, NOON + 59), Err(Full { used: 2 }));
    bank.give_back(key, Taken { used: 1, end_s: NOON + 60 }, 1);
    assert_eq!(bank.peek(key, new), 2, "a token of a past window is worth nothing");
    // The clock was set back by an hour: the count of the future does not lock anyone out.
    assert_eq!(bank.take(key, window(NOON - 3600, 60), 1, 2, NOON - 3600).map(|taken| taken.used), Ok(1));
}

#[test]
fn the_largest_limits_and_ends_do_not_wrap() {
    let bank = Bank::new(1);
    let key = bank.key(&[b"a"]);
    let last = Period::Year.window(WallMs(u64::MAX));
    assert_eq!(last.end_s, u32::MAX);
    assert_eq!(bank.take(key, last, 1, u32::MAX, u32::MAX - 2).map(|taken| taken.used), Ok(1));
    let one = word::of(u32::MAX, 1);
    let way = bank.sets[0].ways.iter().find(|way| way.state.load(SeqCst) == one);
    let full = word::of(u32::MAX, word::LOW_MAX);
    way.expect("one way counts").state.store(full, SeqCst);
    assert_eq!(bank.take(key, last, 1, u32::MAX, u32::MAX - 2), Err(Full { used: word::LOW_MAX }));
}

#[test]
fn exactly_n_pass_however_many_threads_take() {
    for round in 0..200u32 {
        let bank = Bank::new(1);
        let key = bank.key(&[&round.to_be_bytes()]);
        let limit = 1 + round * 7;
        let passed = together(4, |_| {
            (0..limit).filter(|_| bank.take(key, window(NOON, 60), 1, limit, NOON).is_ok()).count() as u32
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
                let passed = bank.take(bank.key(&[&id.to_be_bytes()]), window(NOON + step, 1), 1, 5, NOON + step);
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
        together(3, |_| u32::from(bank.take(key, window(NOON, 60), 1, 100, NOON).is_ok()));
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
        assert!(bank.take(*key, hour, 1, 5, NOON).is_ok());
    }
    assert!(bank.take(keys[7], minute, 1, 5, NOON).is_ok());
    // Eight ways are full of living windows. When the minute is over, its way is free.
    assert!(bank.take(keys[8], hour, 1, 5, NOON + 61).is_ok());
    assert_eq!(bank.evicted_live(), 0);
    assert_eq!(bank.peek(keys[7], minute), 0);
    // Now all eight live: the ninth takes the way of one, and says so.
    assert!(bank.take(keys[9], hour, 1, 5, NOON + 61).is_ok());
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
                    bank.give_back(key, Taken { used: 1, end_s: window.end_s }, 1);
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
                    assert_eq!(bank.take(key, window, 1, limit, now.seconds() as u32), want, "seed {seed}");
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
