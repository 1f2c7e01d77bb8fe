//! What reports of good and bad make of a target: counters against thresholds, in one atomic word.
//!
//! A report of a kind whose threshold is 0 does nothing at all, and neither does one that says what is known: good of a
//! healthy target with no failure counted, bad of an unhealthy one. So healthy traffic writes nothing, and the word stays
//! in every core's cache. The failure counters are independent of each other; a success that counts clears them, a
//! failure clears the count of successes.
//!
//! Who reports does not matter: clients' requests and probes count on the same counters, each against the thresholds of
//! its own [`Criteria`].

use crate::plan::balancing::Criteria;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The health of one address: node-wide truth, read by all shards, written seldom. Healthy at first.
#[derive(Debug, Default)]
pub struct Health {
    word: AtomicU64,
    falls: AtomicU64,
    rises: AtomicU64,
}

/// What somebody has found out about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It answered with this status.
    Status(u16),
    /// A connection was made, and that is all that was tried.
    Connected,
    /// It could not be reached, or closed without an answer, or sent what is none.
    Broken,
    /// It was too slow.
    Late,
}

/// A change of mind about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// It gets requests again.
    Up,
    /// It gets none any more.
    Down,
}

impl Flip {
    /// The sentence in the log.
    pub fn text(self) -> &'static str {
        match self {
            Flip::Up => "a target is healthy: it gets requests again",
            Flip::Down => "a target is unhealthy: it gets no requests",
        }
    }
}

/// The counters, as they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Good answers in a row, while it is not quite well.
    pub successes: u8,
    /// Failed connections since the last good answer that counted.
    pub tcp_failures: u8,
    /// Timeouts since then.
    pub timeouts: u8,
    /// Bad answers since then.
    pub http_failures: u8,
}

/// The word, taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    down: bool,
    counts: Counts,
}

/// Kinds of reports, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Success,
    Tcp,
    Timeout,
    Http,
}

impl Health {
    /// May it be asked?
    pub fn is_up(&self) -> bool {
        self.word.load(Relaxed) & 1 == 0
    }

    /// Takes a report in; says so where it changes what is thought of the target, to exactly one of those who report at
    /// the same time. Lock-free; writes only where a counter moves.
    pub fn hear(&self, report: Report, criteria: &Criteria) -> Option<Flip> {
        let kind = kind_of(report, criteria)?;
        self.change(|state| next(state, kind, criteria))
    }

    /// Sets it by hand, and forgets what was counted.
    pub fn set(&self, up: bool) -> Option<Flip> {
        self.change(|_| State { down: !up, counts: Counts::default() })
    }

    /// The counters of the moment.
    pub fn counts(&self) -> Counts {
        State::of(self.word.load(Relaxed)).counts
    }

    /// How often it has become unhealthy and healthy again since the start.
    pub fn flips(&self) -> (u64, u64) {
        (self.falls.load(Relaxed), self.rises.load(Relaxed))
    }

    fn change(&self, change: impl Fn(State) -> State) -> Option<Flip> {
        let mut word = self.word.load(Relaxed);
        loop {
            let (before, after) = (State::of(word), change(State::of(word)));
            if before == after {
                return None;
            }
            // Relaxed: nothing else is read on the strength of this word.
            match self.word.compare_exchange_weak(word, after.word(), Relaxed, Relaxed) {
                Err(now) => word = now,
                Ok(_) if before.down == after.down => return None,
                Ok(_) if after.down => {
                    self.falls.fetch_add(1, Relaxed);
                    return Some(Flip::Down);
                }
                Ok(_) => {
                    self.rises.fetch_add(1, Relaxed);
                    return Some(Flip::Up);
                }
            }
        }
    }
}

impl State {
    fn of(word: u64) -> State {
        let [down, successes, tcp_failures, timeouts, http_failures, ..] = word.to_le_bytes();
        State { down: down == 1, counts: Counts { successes, tcp_failures, timeouts, http_failures } }
    }

    fn word(self) -> u64 {
        let Counts { successes, tcp_failures, timeouts, http_failures } = self.counts;
        u64::from_le_bytes([u8::from(self.down), successes, tcp_failures, timeouts, http_failures, 0, 0, 0])
    }
}

/// `None` where a status is neither good nor bad.
fn kind_of(report: Report, criteria: &Criteria) -> Option<Kind> {
    match report {
        Report::Connected => Some(Kind::Success),
        Report::Broken => Some(Kind::Tcp),
        Report::Late => Some(Kind::Timeout),
        Report::Status(status) if criteria.good.has(status) => Some(Kind::Success),
        Report::Status(status) if criteria.bad.has(status) => Some(Kind::Http),
        Report::Status(_) => None,
    }
}

/// The rule.
fn next(state: State, kind: Kind, criteria: &Criteria) -> State {
    let limit = match kind {
        Kind::Success => criteria.successes,
        Kind::Tcp => criteria.tcp_failures,
        Kind::Timeout => criteria.timeouts,
        Kind::Http => criteria.http_failures,
    };
    let Counts { successes, tcp_failures, timeouts, http_failures } = state.counts;
    let failures = tcp_failures | timeouts | http_failures;
    let is_known = match kind {
        Kind::Success => !state.down && failures == 0,
        Kind::Tcp | Kind::Timeout | Kind::Http => state.down && successes == 0,
    };
    if limit == 0 || is_known {
        return state;
    }
    let mut counts = match kind {
        Kind::Success => Counts { successes, ..Counts::default() },
        Kind::Tcp | Kind::Timeout | Kind::Http => Counts { successes: 0, ..state.counts },
    };
    let counter = match kind {
        Kind::Success => &mut counts.successes,
        Kind::Tcp => &mut counts.tcp_failures,
        Kind::Timeout => &mut counts.timeouts,
        Kind::Http => &mut counts.http_failures,
    };
    *counter = counter.saturating_add(1);
    if *counter < limit {
        return State { counts, ..state };
    }
    // What has led here has had its effect: the way back begins at nothing.
    State { down: kind != Kind::Success, counts: Counts::default() }
}

/// Is as much of the weight available as the threshold asks for? With a threshold of 0 any weight will do.
pub fn suffices(available: u64, total: u64, threshold: f64) -> bool {
    // A product instead of a quotient: no division by zero where there is no weight.
    available > 0 && available as f64 * 100.0 > total as f64 * threshold
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn criteria(successes: u8, tcp_failures: u8, timeouts: u8, http_failures: u8) -> Criteria {
        let (good, bad) = ([200, 302].into_iter().collect(), [429, 500, 503].into_iter().collect());
        Criteria { successes, tcp_failures, timeouts, http_failures, good, bad }
    }

    /// `500 500 broken late 200 ok` … → the state after each, `U` or `D`.
    #[track_caller]
    fn check(criteria: &Criteria, reports: &str, want: &str) {
        let health = Health::default();
        let mut got = String::new();
        for word in reports.split_whitespace() {
            match word {
                "broken" => health.hear(Report::Broken, criteria),
                "late" => health.hear(Report::Late, criteria),
                "connected" => health.hear(Report::Connected, criteria),
                "up" => health.set(true),
                "down" => health.set(false),
                status => health.hear(Report::Status(status.parse().unwrap()), criteria),
            };
            got.push(if health.is_up() { 'U' } else { 'D' });
        }
        assert_eq!(got, want, "{reports}");
    }

    #[test]
    fn failures_of_a_kind_add_up_to_its_threshold() {
        check(&criteria(0, 2, 3, 2), "500 503", "UD");
        check(&criteria(0, 2, 3, 2), "broken broken", "UD");
        check(&criteria(0, 2, 3, 2), "late late late", "UUD");
        check(&criteria(0, 2, 3, 2), "500 broken late late 404 broken", "UUUUUD");
    }

    #[test]
    fn a_success_that_counts_clears_failures_and_one_that_is_off_does_not() {
        check(&criteria(1, 0, 0, 2), "500 200 500 200 500 500", "UUUUUD");
        check(&criteria(0, 0, 0, 2), "500 200 500", "UUD");
    }

    #[test]
    fn a_failure_clears_successes() {
        check(&criteria(2, 1, 0, 1), "500 200 500 200 200", "DDDDU");
        check(&criteria(2, 1, 0, 1), "500 200 200 500 connected connected", "DDUDDU");
    }

    #[test]
    fn what_is_off_or_in_no_list_does_nothing() {
        check(&criteria(0, 0, 0, 0), "500 500 broken late 200", "UUUUU");
        check(&criteria(1, 1, 1, 1), "404 201 404", "UUU");
    }

    #[test]
    fn a_hand_sets_what_it_likes_and_counting_begins_anew() {
        check(&criteria(1, 0, 0, 2), "down 200 500 up 500 500", "DUUUUD");
        check(&criteria(0, 0, 0, 2), "500 up 500 down up 500 500", "UUUDUUD");
    }

    #[test]
    fn every_flip_is_told_once_and_counted() {
        let (health, criteria) = (Health::default(), criteria(1, 1, 1, 1));
        assert_eq!(health.hear(Report::Broken, &criteria), Some(Flip::Down));
        assert_eq!(health.hear(Report::Broken, &criteria), None);
        assert_eq!(health.set(false), None);
        assert_eq!(health.hear(Report::Status(200), &criteria), Some(Flip::Up));
        assert_eq!(health.hear(Report::Status(200), &criteria), None);
        assert_eq!(health.flips(), (1, 1));
    }

    #[test]
    fn shards_that_report_at_once_tell_one_flip() {
        let (health, criteria) = (&Health::default(), &criteria(0, 100, 0, 0));
        let told: usize = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4)
                .map(|_| scope.spawn(move || (0..25).filter_map(|_| health.hear(Report::Broken, criteria)).count()))
                .collect();
            shards.into_iter().map(|shard| shard.join().unwrap()).sum()
        });
        assert_eq!(told, 1);
        assert!(!health.is_up());
    }

    /// The rule once more, by fields and without bits.
    #[derive(Default)]
    struct Naive {
        down: bool,
        successes: u32,
        failures: [u32; 3],
    }

    impl Naive {
        fn hear(&mut self, kind: usize, limit: u8) {
            let is_known =
                if kind == 3 { !self.down && self.failures == [0; 3] } else { self.down && self.successes == 0 };
            if limit == 0 || is_known {
                return;
            }
            let count = if kind == 3 {
                self.failures = [0; 3];
                self.successes += 1;
                self.successes
            } else {
                self.successes = 0;
                self.failures[kind] += 1;
                self.failures[kind]
            };
            if count >= u32::from(limit) {
                *self = Naive { down: kind != 3, ..Naive::default() };
            }
        }
    }

    #[test]
    fn the_word_agrees_with_the_naive_rule() {
        const SEED: u64 = 0xea1;
        let mut rng = Rng::new(SEED);
        for round in 0..500 {
            let mut limit = || if rng.below(4) == 0 { 0 } else { rng.below(6) as u8 };
            let limits = [limit(), limit(), limit(), limit()];
            let criteria = criteria(limits[3], limits[0], limits[1], limits[2]);
            let (health, mut naive) = (Health::default(), Naive::default());
            for _ in 0..200 {
                let kind = rng.below(4) as usize;
                let report = [Report::Broken, Report::Late, Report::Status(500), Report::Status(200)][kind];
                health.hear(report, &criteria);
                naive.hear(kind, limits[kind]);
                assert_eq!(health.is_up(), !naive.down, "seed {SEED:#x}, round {round}, {limits:?}");
            }
        }
    }

    #[test]
    fn a_threshold_is_a_share_that_must_be_exceeded() {
        for (available, total, threshold, want) in [
            (0, 0, 0.0, false),
            (0, 200, 0.0, false),
            (1, 65_535, 0.0, true),
            (100, 200, 50.0, false),
            (101, 200, 50.0, true),
            (200, 200, 100.0, false),
        ] {
            assert_eq!(suffices(available, total, threshold), want, "{available}/{total} > {threshold}");
        }
    }
}
