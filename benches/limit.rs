//! What a rate limit costs: one take from the bank, alone and against other threads.
//!
//! `cargo bench --bench limit`. With two CPUs the figures for two threads are those of two shards.

use divan::counter::ItemsCount;
use divan::{black_box, Bencher};
use ringway::base::time::WallMs;
use ringway::limit::bank::{Bank, Key};
use ringway::limit::bucket::Bucket;
use ringway::limit::rule::{Algorithm, Limit};
use ringway::limit::window::{Period, Window};

const NOON: WallMs = WallMs(1_795_435_200_000);
const NOW_S: u32 = 1_795_435_200;

fn main() {
    divan::main();
}

fn hour() -> Window {
    Period::Hour.window(NOON)
}

/// Which window it is: paid per period and request.
#[divan::bench(args = Period::ALL)]
fn window(period: Period) -> Window {
    period.window(black_box(NOON))
}

/// The keyed hash of two ids and an address.
#[divan::bench]
fn key(bencher: Bencher<'_, '_>) {
    let bank = Bank::new(64);
    bencher.bench(|| bank.key(black_box(&[&[1; 16], &[2; 16], &[1, b'4'], &[192, 0, 2, 1]])));
}

/// All threads take from one count: the worst case, one cache line that every core wants.
#[divan::bench(threads = [1, 2])]
fn take_one_key(bencher: Bencher<'_, '_>) {
    let bank = Bank::new(64);
    let (key, hour) = (bank.key(&[b"one"]), hour());
    bencher.counter(ItemsCount::new(1u32)).bench(|| bank.take(black_box(key), hour, 1, u32::MAX, NOW_S));
}

/// Threads take from 10 000 counts in turn: the usual case.
#[divan::bench(threads = [1, 2])]
fn take_many_keys(bencher: Bencher<'_, '_>) {
    let bank = Bank::default();
    let keys: Vec<Key> = (0..10_000u32).map(|n| bank.key(&[&n.to_be_bytes()])).collect();
    let hour = hour();
    bencher.counter(ItemsCount::new(keys.len())).bench(|| {
        for key in &keys {
            black_box(bank.take(*key, hour, 1, u32::MAX, NOW_S).is_ok());
        }
    });
}

/// A limit that is used up: refusals write nothing.
#[divan::bench(threads = [1, 2])]
fn refuse(bencher: Bencher<'_, '_>) {
    let bank = Bank::new(64);
    let (key, hour) = (bank.key(&[b"one"]), hour());
    let _ = bank.take(key, hour, 1, 1, NOW_S);
    bencher.bench(|| bank.take(black_box(key), hour, 1, 1, NOW_S));
}

/// So many tokens a second.
fn limit(algorithm: &str, tokens: u32) -> Limit {
    let bucket = || Bucket::new(1, f64::from(tokens), tokens, 0).expect("it fills in a second");
    let algorithm = match algorithm {
        "sliding-window" => Algorithm::Sliding,
        "token-bucket" => Algorithm::Bucket(bucket()),
        _ => Algorithm::Fixed,
    };
    Limit { period: Period::Second, tokens, algorithm }
}

const ALGORITHMS: [&str; 3] = ["fixed-window", "sliding-window", "token-bucket"];

/// One take by each algorithm, from one count that all threads want.
#[divan::bench(args = ALGORITHMS, threads = [1, 2])]
fn pass(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (bank, limit) = (Bank::new(64), limit(algorithm, (1 << 31) - 1));
    let key = bank.key(&[b"one"]);
    bencher.counter(ItemsCount::new(1u32)).bench(|| limit.take(&bank, black_box(key), 1, NOON).is_some());
}

/// The same where nothing is left.
#[divan::bench(args = ALGORITHMS, threads = [1, 2])]
fn deny(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (bank, limit) = (Bank::new(64), limit(algorithm, 1));
    let key = bank.key(&[b"one"]);
    let _ = limit.take(&bank, key, 1, NOON);
    bencher.counter(ItemsCount::new(1u32)).bench(|| limit.take(&bank, black_box(key), 1, NOON).is_some());
}
