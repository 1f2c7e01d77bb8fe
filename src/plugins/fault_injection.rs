//! `fault-injection`: makes some requests late, or fail, so that one can see how clients bear it.
//!
//! Chances are drawn from the shard's numbers, to a millionth. A delay comes before an abort, and a request may get both.
//! A fault stands in for an upstream's, so it comes after those who refuse for a reason.

use crate::base::limits::SLEEP_MS_MAX;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, ReplyBody, Verdict};
use crate::plan::schema::{Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "fault-injection",
    priority: 790,
    version: env!("CARGO_PKG_VERSION"),
    about: "Delays some requests, answers some with an error, or both: to see how clients bear it.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = "
services:
  - name: orders
    url: http://orders.internal:8080
    routes:
      - name: orders
        paths: [/orders]
    plugins:
      - name: fault-injection
        config:
          delay: {fixed_ms: 250, percentage: 10}
          abort: {status: 503, percentage: 0.5, body: try again}
          active_faults_max: 100
";

const PERCENTAGE: Field = Field::with_default(
    "percentage",
    Kind::Number,
    "100",
    "Of how many requests in a hundred; to four places behind the point.",
)
.required()
.rules(&[Rule::Between(0.0, 100.0)]);

const ABORT: &[Field] = &[
    Field::optional("status", Kind::Integer, "Status of the answer.").rules(&[Rule::Between(200.0, 599.0)]),
    Field::optional("grpc_status", Kind::Integer, "Status of an answer of gRPC, in the place of `status`.")
        .rules(&[Rule::Between(0.0, 16.0)]),
    PERCENTAGE,
    Field::optional("body", Kind::String, "Content of the answer, as text; the error template where it is not given."),
];

const DELAY: &[Field] = &[
    Field::optional("fixed_ms", Kind::Integer, "How long a request is held back, ms.")
        .required()
        .rules(&[Rule::Between(1.0, SLEEP_MS_MAX as f64)]),
    PERCENTAGE,
];

const FIELDS: &[Field] = &[
    Field::optional("abort", Kind::Record(ABORT), "Answers in the place of the upstream."),
    Field::optional("delay", Kind::Record(DELAY), "Holds requests back before they go on."),
    Field::with_default(
        "from_headers",
        Kind::Boolean,
        "false",
        "Let requests ask for faults: X-Fault-Abort-Status, X-Fault-Abort-Grpc-Status, X-Fault-Delay-Ms, and \
         X-Fault-Abort-Percentage and X-Fault-Delay-Percentage, which only lower what is configured. For tests: anybody \
         can send them.",
    )
    .required(),
    Field::optional(
        "active_faults_max",
        Kind::Integer,
        "Most requests of the node that are held back at once; while there are so many, others get no fault.",
    )
    .rules(&[Rule::Between(0.0, 1_000_000.0)]),
];

fn check(config: &Value) -> Vec<(String, String)> {
    let of = |name: &str| config.get(name).filter(|value| !value.is_null());
    let mut faults = Vec::new();
    if of("abort").is_none() && of("delay").is_none() && config.get("from_headers") != Some(&Value::Bool(true)) {
        let message = "at least one of these fields must be non-empty: 'config.abort', 'config.delay'";
        faults.push((String::new(), message.to_owned()));
    }
    if let Some(abort) = of("abort") {
        let has = |name: &str| abort.get(name).is_some_and(|value| !value.is_null());
        if has("status") == has("grpc_status") {
            let message = "exactly one of these fields must be non-empty: 'status', 'grpc_status'";
            faults.push(("abort".to_owned(), message.to_owned()));
        }
        if has("grpc_status") && has("body") {
            faults.push(("abort.body".to_owned(), "an answer of gRPC has no such body".to_owned()));
        }
    }
    for name in ["abort", "delay"] {
        let percentage = of(name).and_then(|fault| fault.get("percentage")).and_then(Value::as_f64);
        let is_fine = |percentage: f64| (percentage * MILLIONTHS - (percentage * MILLIONTHS).round()).abs() < 1e-6;
        if percentage.is_some_and(|percentage| !is_fine(percentage)) {
            faults.push((format!("{name}.percentage"), "write at most four places behind the point".to_owned()));
        }
    }
    faults
}

/// Millionths in a hundredth.
const MILLIONTHS: f64 = 10_000.0;
/// Millionths in the whole.
const ALWAYS: u64 = 1_000_000;

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let of = |name: &str| config.get(name).filter(|value| !value.is_null());
    let chance = |fault: &Value| {
        let percentage = fault.get("percentage").and_then(Value::as_f64).unwrap_or(100.0);
        (percentage * MILLIONTHS).round() as u64
    };
    let number = |fault: &Value, name: &str| fault.get(name).and_then(Value::as_u64);
    let abort = of("abort").map(|abort| Abort {
        answer: match number(abort, "grpc_status") {
            Some(status) => Answer::Grpc(status),
            None => Answer::Http(number(abort, "status").and_then(|status| u16::try_from(status).ok()).unwrap_or(503)),
        },
        body: abort.get("body").and_then(Value::as_str).map(str::to_owned),
        chance: chance(abort),
    });
    let delay = of("delay").and_then(|delay| Some(Delay { ms: number(delay, "fixed_ms")?, chance: chance(delay) }));
    Ok(Arc::new(FaultInjection {
        abort,
        delay,
        from_headers: config.get("from_headers").and_then(Value::as_bool).unwrap_or(false),
        active_max: config.get("active_faults_max").and_then(Value::as_u64).unwrap_or(u64::MAX),
        active: AtomicU64::new(0),
    }))
}

#[derive(Clone, Debug)]
struct Abort {
    answer: Answer,
    body: Option<String>,
    /// Millionths.
    chance: u64,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Http(u16),
    Grpc(u64),
}

#[derive(Clone, Copy, Debug)]
struct Delay {
    ms: u64,
    /// Millionths.
    chance: u64,
}

struct FaultInjection {
    abort: Option<Abort>,
    delay: Option<Delay>,
    from_headers: bool,
    active_max: u64,
    /// Requests that are held back, over all shards. Each ends its own time, whether its client is still there or not.
    active: AtomicU64,
}

impl Plugin for FaultInjection {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if let Some(delay) = self.delay(cx).filter(|delay| cx.rng.below(ALWAYS) < delay.chance) {
            if self.begin() {
                return Verdict::Need(Need::Sleep(delay.ms));
            }
        }
        self.abort_or_not(cx)
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, _: Outcome<'_>) -> Verdict {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.abort_or_not(cx)
    }
}

impl FaultInjection {
    /// Takes a place among those that are held back.
    fn begin(&self) -> bool {
        let may = |active: u64| (active < self.active_max).then_some(active + 1);
        self.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may).is_ok()
    }

    fn abort_or_not(&self, cx: &mut Ctx<'_>) -> Verdict {
        let Some(abort) = self.abort(cx).filter(|abort| cx.rng.below(ALWAYS) < abort.chance) else {
            return Verdict::Next;
        };
        if self.active.load(Ordering::Relaxed) >= self.active_max {
            return Verdict::Next;
        }
        Verdict::Reply(Box::new(match (abort.answer, abort.body) {
            (Answer::Http(status), None) => Reply::message(status, "fault injected"),
            (Answer::Http(status), Some(body)) => Reply {
                status,
                headers: Vec::new(),
                body: ReplyBody::Raw { content_type: "text/plain".into(), bytes: body.into_bytes() },
            },
            // A reply without messages has its status among its fields (gRPC over HTTP2, Trailers-Only).
            (Answer::Grpc(status), _) => Reply { status: 200, headers: Vec::new(), body: ReplyBody::Empty }
                .with("Content-Type", "application/grpc")
                .with("grpc-status", status.to_string())
                .with("grpc-message", "fault injected"),
        }))
    }

    fn delay(&self, cx: &Ctx<'_>) -> Option<Delay> {
        let asked = if self.from_headers { number(cx, "x-fault-delay-ms") } else { None };
        let chance = self.delay.map_or(ALWAYS, |delay| delay.chance);
        match asked {
            Some(ms) => Some(Delay {
                ms: (ms as u64).clamp(1, SLEEP_MS_MAX),
                chance: lowered(chance, number(cx, "x-fault-delay-percentage")),
            }),
            None => self.delay,
        }
    }

    fn abort(&self, cx: &Ctx<'_>) -> Option<Abort> {
        let asked = |name: &str, low: f64, high: f64| {
            let number = if self.from_headers { number(cx, name) } else { None };
            number.filter(|number| (low..=high).contains(number))
        };
        let http = asked("x-fault-abort-status", 200.0, 599.0).map(|status| Answer::Http(status as u16));
        let grpc = asked("x-fault-abort-grpc-status", 0.0, 16.0).map(|status| Answer::Grpc(status as u64));
        let chance = self.abort.as_ref().map_or(ALWAYS, |abort| abort.chance);
        match http.or(grpc) {
            Some(answer) => {
                let chance = lowered(chance, number(cx, "x-fault-abort-percentage"));
                Some(Abort { answer, body: None, chance })
            }
            None => self.abort.clone(),
        }
    }
}

/// A chance, or what a request asks for where that is less.
fn lowered(chance: u64, asked: Option<f64>) -> u64 {
    asked.map_or(chance, |percentage| chance.min((percentage.clamp(0.0, 100.0) * MILLIONTHS).round() as u64))
}

/// The number in a header; one that is none is not there.
fn number(cx: &Ctx<'_>, name: &str) -> Option<f64> {
    let text = std::str::from_utf8(cx.head.find(name.as_bytes())?).ok()?;
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::rig::{faults, Rig};
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_are_held_back_and_answered() {
        let rows = [
            (json!({"abort": {"status": 503}}), 0, "503 E(fault injected)"),
            (json!({"abort": {"status": 418, "body": "tea"}}), 0, "418 text/plain: tea"),
            (json!({"delay": {"fixed_ms": 250}}), 250, "next"),
            (json!({"delay": {"fixed_ms": 250}, "abort": {"status": 500}}), 250, "500 E(fault injected)"),
            (json!({"abort": {"status": 503, "percentage": 0}}), 0, "next"),
            (json!({"abort": {"grpc_status": 14}}), 0, "200"),
            (json!({"abort": {"status": 503}, "active_faults_max": 0}), 0, "next"),
            (json!({"delay": {"fixed_ms": 9}, "active_faults_max": 0}), 0, "next"),
        ];
        for (config, slept_ms, want) in rows {
            let seen = Rig::new(&DESCRIPTOR, config.clone()).ask("GET /");
            assert_eq!((seen.slept_ms, seen.said().as_str()), (slept_ms, want), "{config}");
        }
        let seen = Rig::new(&DESCRIPTOR, json!({"abort": {"grpc_status": 14}})).ask("POST /");
        assert_eq!(seen.reply_field("grpc-status"), Some("14"));
    }

    #[test]
    fn chances_are_exact_and_repeat_with_their_seed() {
        let count = |percentage: f64, requests: usize| {
            let mut rig = Rig::new(&DESCRIPTOR, json!({"abort": {"status": 503, "percentage": percentage}}));
            (0..requests).filter(|_| rig.ask("GET /").reply.is_some()).count()
        };
        assert_eq!(count(25.0, 4000), count(25.0, 4000), "the same seed, the same faults");
        // Four times the standard deviation, about: 27 of 1000, and 8 of 4.
        assert!((890..=1110).contains(&count(25.0, 4000)), "{}", count(25.0, 4000));
        assert!((1..=12).contains(&count(0.01, 40_000)), "{}", count(0.01, 40_000));
        assert_eq!((count(0.0, 1000), count(100.0, 1000)), (0, 1000));
    }

    #[test]
    fn requests_may_ask_for_faults_where_they_are_let() {
        let ask = |config: &Value, request: &str| {
            let seen = Rig::new(&DESCRIPTOR, config.clone()).ask(request);
            (seen.slept_ms, seen.said())
        };
        let next = || "next".to_owned();
        let off = json!({"delay": {"fixed_ms": 1, "percentage": 0}});
        assert_eq!(ask(&off, "GET /\nX-Fault-Abort-Status: 503\nX-Fault-Delay-Ms: 9"), (0, next()));
        let on = json!({"from_headers": true});
        assert_eq!(ask(&on, "GET /"), (0, next()));
        let both = "GET /\nX-Fault-Abort-Status: 503\nX-Fault-Delay-Ms: 9";
        assert_eq!(ask(&on, both), (9, "503 E(fault injected)".to_owned()));
        assert_eq!(ask(&on, "GET /\nX-Fault-Abort-Grpc-Status: 14"), (0, "200".to_owned()));
        assert_eq!(ask(&on, "GET /\nX-Fault-Delay-Ms: 99999999999999999999"), (SLEEP_MS_MAX, next()));
        for odd in ["x", "-1", "101", "NaN", "1e9", ""] {
            assert_eq!(ask(&on, &format!("GET /\nX-Fault-Abort-Status: {odd}")), (0, next()), "{odd}");
        }
        let none = format!("{both}\nX-Fault-Abort-Percentage: 0\nX-Fault-Delay-Percentage: 0");
        assert_eq!(ask(&on, &none), (0, next()));
        // What is configured is the most.
        let never = json!({"from_headers": true, "abort": {"status": 500, "percentage": 0}});
        assert_eq!(ask(&never, "GET /\nX-Fault-Abort-Status: 503\nX-Fault-Abort-Percentage: 100"), (0, next()));
    }

    #[test]
    fn contradictions_are_refused() {
        let one = "exactly one of these fields must be non-empty: 'status', 'grpc_status'";
        let rows = [
            (json!({}), "", "at least one of these fields must be non-empty: 'config.abort', 'config.delay'"),
            (json!({"abort": {}}), "abort", one),
            (json!({"abort": {"status": 500, "grpc_status": 1}}), "abort", one),
            (json!({"abort": {"grpc_status": 1, "body": "x"}}), "abort.body", "an answer of gRPC has no such body"),
            (
                json!({"abort": {"status": 500, "percentage": 0.00001}}),
                "abort.percentage",
                "write at most four places behind the point",
            ),
        ];
        for (config, path, text) in rows {
            assert_eq!(faults(&DESCRIPTOR, config), [(path.to_owned(), text.to_owned())]);
        }
        assert!(faults(&DESCRIPTOR, json!({"abort": {"status": 500, "percentage": 33.3333}})).is_empty());
    }
}
