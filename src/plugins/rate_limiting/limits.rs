//! Limits per period: reading them, what is wrong between them, and what clients are told of each.

use crate::limit::bank::{Key, Naming};
use crate::limit::bucket::{Bucket, FILL_S_MAX};
use crate::limit::rule::{Algorithm, Limit};
use crate::limit::window::Period;
use serde_json::Value;

pub(super) use crate::limit::rule::LIMIT_MAX;

/// One limit, and its headers.
pub(super) struct Row {
    /// What it allows. A limit of 2.5 lets three pass: the third comes while 2 < 2.5 are used.
    pub(super) limit: Limit,
    /// The limit as clients read it.
    pub(super) shown: String,
    pub(super) limit_header: &'static str,
    pub(super) remaining_header: &'static str,
}

impl Row {
    /// The key of what `who` has used of it.
    pub(super) fn key(&self, who: &Naming) -> Key {
        who.clone().part(&[self.limit.period as u8, self.limit.algorithm.tag()]).key()
    }
}

/// The word of `algorithm`.
pub(super) fn algorithm(config: &Value) -> &str {
    config.get("algorithm").and_then(Value::as_str).unwrap_or("fixed-window")
}

/// The limits that stand in `of`, a config or one of its tiers; shortest period first.
pub(super) fn of(config: &Value, of: &Value) -> Vec<Row> {
    let given = given(of);
    let shortest = given.first().map(|(period, _)| *period);
    let rows = given.into_iter().filter_map(|(period, exact)| {
        let algorithm = match algorithm(config) {
            "sliding-window" => Algorithm::Sliding,
            "token-bucket" | "leaky-bucket" => {
                Algorithm::Bucket(bucket(config, of, period, exact, shortest == Some(period))?)
            }
            _ => Algorithm::Fixed,
        };
        let (limit_header, remaining_header) = match period {
            Period::Second => ("X-RateLimit-Limit-Second", "X-RateLimit-Remaining-Second"),
            Period::Minute => ("X-RateLimit-Limit-Minute", "X-RateLimit-Remaining-Minute"),
            Period::Hour => ("X-RateLimit-Limit-Hour", "X-RateLimit-Remaining-Hour"),
            Period::Day => ("X-RateLimit-Limit-Day", "X-RateLimit-Remaining-Day"),
            Period::Month => ("X-RateLimit-Limit-Month", "X-RateLimit-Remaining-Month"),
            Period::Year => ("X-RateLimit-Limit-Year", "X-RateLimit-Remaining-Year"),
        };
        let limit = Limit { period, tokens: exact.ceil() as u32, algorithm };
        // `{}` of a whole f64 has no decimals, whether it was written 6 or 6.0.
        Some(Row { limit, shown: format!("{exact}"), limit_header, remaining_header })
    });
    rows.collect()
}

/// The bucket of a limit; `None` where it would take too long to fill. `burst` and the queue are the shortest period's:
/// the buckets of longer ones hold what their limit says.
fn bucket(config: &Value, of: &Value, period: Period, limit: f64, is_shortest: bool) -> Option<Bucket> {
    let number = |held: &Value, name: &str| held.get(name).and_then(Value::as_u64);
    let leaks = algorithm(config) == "leaky-bucket";
    let own = if leaks { 1 } else { limit.ceil() as u64 };
    let burst = match is_shortest {
        true => number(of, "burst").or(number(config, "burst")).unwrap_or(own),
        false => limit.ceil() as u64,
    };
    let delay_ms = number(config, "queue_delay_max_ms").filter(|_| leaks && is_shortest).unwrap_or(0);
    Bucket::new(period.nominal_s(), limit, burst.min(u64::from(LIMIT_MAX)) as u32, delay_ms)
}

fn given(of: &Value) -> Vec<(Period, f64)> {
    Period::ALL.iter().filter_map(|&period| Some((period, of.get(period.name())?.as_f64()?))).collect()
}

/// What is wrong with the limits in `of`, which stands at `path` of `config`.
pub(super) fn check(config: &Value, of: &Value, path: &str, fault: &mut impl FnMut(&str, String)) {
    let limits = given(of);
    if limits.is_empty() {
        let dot = if path.is_empty() { "" } else { "." };
        let names: Vec<_> = Period::ALL.iter().map(|period| format!("'config.{path}{dot}{}'", period.name())).collect();
        fault(path, format!("at least one of these fields must be non-empty: {}", names.join(", ")));
    }
    monotonic(&limits, path, fault);
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (nth, (period, limit)) in limits.iter().enumerate() {
        if *limit > f64::from(LIMIT_MAX) {
            fault(&at(period.name()), format!("{LIMIT_MAX} is the most that is counted; write that, or leave it out"));
        } else if algorithm(config).ends_with("bucket") && bucket(config, of, *period, *limit, nth == 0).is_none() {
            let years = FILL_S_MAX / 86_400 / 366;
            fault(
                &at(period.name()),
                format!(
                    "a bucket that takes more than {years} years to fill; allow more per {}, or a smaller burst",
                    period.name()
                ),
            );
        }
    }
}

/// A longer period's limit may not be lower. Every pair, shortest period first; the first one that is wrong is named.
pub(in super::super) fn monotonic(limits: &[(Period, f64)], path: &str, fault: &mut impl FnMut(&str, String)) {
    let mut pairs =
        limits.iter().enumerate().flat_map(|(at, short)| limits[at + 1..].iter().map(move |long| (short, long)));
    if let Some(((short, most), (long, least))) = pairs.find(|(short, long)| long.1 < short.1) {
        let (short, long) = (short.name(), long.name());
        fault(path, format!("The limit for {long}({least:.1}) cannot be lower than the limit for {short}({most:.1})"));
    }
}
