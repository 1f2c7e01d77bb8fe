//! `rate-limiting`: so many requests per calendar period, counted for all shards at once in [`Bank`].
//!
//! For a limit of N exactly N requests pass in a window. With several periods a request takes one token of each or none:
//! the tokens it took are given back when a later period is used up. Nobody is refused wrongly in between, for whoever
//! meets a token that will be given back would meet the period that is used up as well. A request that is refused does
//! not count.
//!
//! A count is keyed by the ids of the route and service that the instance is attached to, who asks, and the period; so it
//! outlives a reload.
//!
//! Not here: the `redis` policy. It is refused at load, rather than counting here what was meant to be shared.

use crate::base::time::WallMs;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin, Reply, Verdict};
use crate::limit::bank::{Bank, Key, Taken};
use crate::limit::window::{Period, Window};
use crate::plan::schema::{Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "rate-limiting",
    priority: 910,
    version: env!("CARGO_PKG_VERSION"),
    about:
        "Lets so many requests pass per second, minute, hour, day, month or year of the UTC calendar; exact for all \
            CPUs of the node together.",
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const POSITIVE: &[Rule] = &[Rule::GreaterThan(0.0)];
const PORT: &[Rule] = &[Rule::Between(0.0, 65_535.0)];
const MILLISECONDS: &[Rule] = &[Rule::Between(0.0, 2_147_483_646.0)];

const FIELDS: &[Field] = &[
    Field::optional("second", Kind::Number, "Requests per second.").rules(POSITIVE),
    Field::optional("minute", Kind::Number, "Requests per minute.").rules(POSITIVE),
    Field::optional("hour", Kind::Number, "Requests per hour.").rules(POSITIVE),
    Field::optional("day", Kind::Number, "Requests per day.").rules(POSITIVE),
    Field::optional("month", Kind::Number, "Requests per month.").rules(POSITIVE),
    Field::optional("year", Kind::Number, "Requests per year.").rules(POSITIVE),
    Field::with_default("limit_by", Kind::String, "\"consumer\"", "Who shares a count; the client address stands in.")
        .rules(&[Rule::OneOf(&["consumer", "credential", "ip", "service", "header", "path"])]),
    Field::optional("header_name", Kind::String, "With `limit_by: header`: the header whose value shares a count.")
        .rules(&[Rule::HeaderName]),
    Field::optional("path", Kind::String, "With `limit_by: path`: the path whose requests share a count.")
        .rules(&[Rule::Text(path)]),
    Field::with_default("policy", Kind::String, "\"local\"", "Where counts are kept. Only `local` is there so far.")
        .required()
        .rules(&[Rule::OneOf(&["local", "redis"])]),
    Field::with_default("fault_tolerant", Kind::Boolean, "true", "Let requests pass when counts cannot be reached.")
        .required(),
    Field::with_default("redis", Kind::Record(REDIS), "{}", "Where Redis is.").required(),
    Field::with_default("hide_client_headers", Kind::Boolean, "false", "Do not tell clients what is left.").required(),
    Field::with_default("error_code", Kind::Number, "429", "Status of a refusal.").rules(POSITIVE),
    Field::with_default("error_message", Kind::String, "\"API rate limit exceeded\"", "Message of a refusal."),
    Field::with_default(
        "sync_rate",
        Kind::Number,
        "-1",
        "Seconds between exchanges with Redis; -1: with each request.",
    )
    .required(),
    Field::optional("redis_host", Kind::String, "Older name of `redis.host`."),
    Field::optional("redis_port", Kind::Integer, "Older name of `redis.port`.").rules(PORT),
    Field::optional("redis_password", Kind::String, "Older name of `redis.password`.")
        .rules(&[Rule::MayBeEmpty, Rule::Referenceable]),
    Field::optional("redis_username", Kind::String, "Older name of `redis.username`.").rules(&[Rule::Referenceable]),
    Field::optional("redis_ssl", Kind::Boolean, "Older name of `redis.ssl`."),
    Field::optional("redis_ssl_verify", Kind::Boolean, "Older name of `redis.ssl_verify`."),
    Field::optional("redis_server_name", Kind::String, "Older name of `redis.server_name`."),
    Field::optional("redis_timeout", Kind::Integer, "Older name of `redis.timeout`.").rules(MILLISECONDS),
    Field::optional("redis_database", Kind::Integer, "Older name of `redis.database`."),
];

const REDIS: &[Field] = &[
    Field::optional("host", Kind::String, "Host."),
    Field::with_default("port", Kind::Integer, "6379", "Port.").rules(PORT),
    Field::with_default("timeout", Kind::Integer, "2000", "Of connecting, sending and reading, ms.")
        .rules(MILLISECONDS),
    Field::optional("username", Kind::String, "User of AUTH.").rules(&[Rule::Referenceable]),
    Field::optional("password", Kind::String, "Password of AUTH.").rules(&[Rule::MayBeEmpty, Rule::Referenceable]),
    Field::with_default("database", Kind::Integer, "0", "Number of the database."),
    Field::with_default("ssl", Kind::Boolean, "false", "Speak TLS?"),
    Field::with_default("ssl_verify", Kind::Boolean, "false", "Verify the certificate?"),
    Field::optional("server_name", Kind::String, "Name in the certificate."),
];

fn path(text: &str) -> Result<(), String> {
    match text {
        _ if !text.starts_with('/') => Err("should start with: /".to_owned()),
        _ if text.contains("//") => Err("must not have empty segments".to_owned()),
        _ => Ok(()),
    }
}

fn check(config: &Value) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let mut fault = |path: &str, message: String| faults.push((path.to_owned(), message));
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let limits: Vec<(Period, f64)> =
        Period::ALL.iter().filter_map(|&period| Some((period, config.get(period.name())?.as_f64()?))).collect();

    if limits.is_empty() {
        let names: Vec<_> = Period::ALL.iter().map(|period| format!("'config.{}'", period.name())).collect();
        fault("", format!("at least one of these fields must be non-empty: {}", names.join(", ")));
    }
    // Every pair, shortest period first; the first one that is wrong is named.
    let pairs =
        limits.iter().enumerate().flat_map(|(at, short)| limits[at + 1..].iter().map(move |long| (short, long)));
    if let Some(((short, most), (long, least))) = pairs.into_iter().find(|(short, long)| long.1 < short.1) {
        let (short, long) = (short.name(), long.name());
        fault("", format!("The limit for {long}({least:.1}) cannot be lower than the limit for {short}({most:.1})"));
    }
    for (period, limit) in &limits {
        if *limit > f64::from(LIMIT_MAX) {
            fault(period.name(), format!("{LIMIT_MAX} is the most that is counted; write that, or leave it out"));
        }
    }
    for (by, needed) in [("header", "header_name"), ("path", "path")] {
        if text("limit_by") == Some(by) && text(needed).is_none() {
            fault(needed, "required field missing".to_owned());
            fault("", "failed conditional validation given value of field 'config.limit_by'".to_owned());
        }
    }
    check_redis(config, &mut fault);
    faults
}

fn check_redis(config: &Value, fault: &mut impl FnMut(&str, String)) {
    let redis = config.get("redis").unwrap_or(&Value::Null);
    for field in REDIS {
        let older = format!("redis_{}", field.name);
        let (old, new) = (config.get(&older).unwrap_or(&Value::Null), redis.get(field.name).unwrap_or(&Value::Null));
        // A value that is the default may be one that nobody wrote: then the older name has the say.
        let is_default = serde_json::from_str::<Value>(field.default).is_ok_and(|default| default == *new);
        if !old.is_null() && !new.is_null() && !is_default && old != new {
            let (name, old, new) = (field.name, plain(old), plain(new));
            fault(
                "",
                format!(
                    "both deprecated and new field are used but their values mismatch: {older} = {old} vs redis.{name} = {new}"
                ),
            );
        }
    }
    let shared = config.get("policy").and_then(Value::as_str) == Some("redis");
    if !shared && config.get("sync_rate").and_then(Value::as_f64).is_some_and(|rate| rate != -1.0) {
        fault("", "sync_rate can only be used with the redis policy".to_owned());
    }
    if shared {
        fault(
            "policy",
            "this version keeps counts on the node and cannot share them through redis; write \"local\" and divide \
             the limits by the number of nodes"
                .to_owned(),
        );
    }
}

/// A value as it stands in a sentence: text without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The largest limit: what [`Bank`] counts to.
const LIMIT_MAX: u32 = (1 << 31) - 1;

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let limits = Period::ALL.iter().filter_map(|&period| Limit::of(period, config.get(period.name())?)).collect();
    let code = config.get("error_code").and_then(Value::as_f64).unwrap_or(429.0);
    if !(200.0..=599.0).contains(&code) || code.fract() != 0.0 {
        return Err(format!("error_code {code} is no status of an answer; write one from 200 to 599"));
    }
    Ok(Arc::new(RateLimiting {
        bank: env.shelf.take_or(Bank::default),
        limits,
        by: match text("limit_by").as_deref() {
            Some("credential") => By::Credential,
            Some("ip") => By::Ip,
            Some("service") => By::Service,
            Some("header") => By::Header(text("header_name").unwrap_or_default()),
            Some("path") => By::Path(text("path").unwrap_or_default()),
            _ => By::Consumer,
        },
        route: env.route_id(),
        service: env.service_id(),
        quiet: flag("hide_client_headers"),
        status: code as u16,
        message: text("error_message").unwrap_or_else(|| "API rate limit exceeded".to_owned()),
    }))
}

struct RateLimiting {
    bank: Arc<Bank>,
    /// Shortest period first; at least one.
    limits: Vec<Limit>,
    by: By,
    route: Uuid,
    service: Uuid,
    quiet: bool,
    status: u16,
    message: String,
}

struct Limit {
    period: Period,
    /// Requests that pass. A limit of 2.5 lets three pass: the third comes while 2 < 2.5 are used.
    tokens: u32,
    /// The limit as clients read it.
    shown: String,
    limit_header: &'static str,
    remaining_header: &'static str,
}

impl Limit {
    fn of(period: Period, limit: &Value) -> Option<Limit> {
        let exact = limit.as_f64()?;
        let (limit_header, remaining_header) = match period {
            Period::Second => ("X-RateLimit-Limit-Second", "X-RateLimit-Remaining-Second"),
            Period::Minute => ("X-RateLimit-Limit-Minute", "X-RateLimit-Remaining-Minute"),
            Period::Hour => ("X-RateLimit-Limit-Hour", "X-RateLimit-Remaining-Hour"),
            Period::Day => ("X-RateLimit-Limit-Day", "X-RateLimit-Remaining-Day"),
            Period::Month => ("X-RateLimit-Limit-Month", "X-RateLimit-Remaining-Month"),
            Period::Year => ("X-RateLimit-Limit-Year", "X-RateLimit-Remaining-Year"),
        };
        // `{}` of a whole f64 has no decimals, whether it was written 6 or 6.0.
        Some(Limit { period, tokens: exact.ceil() as u32, shown: format!("{exact}"), limit_header, remaining_header })
    }
}

/// Who shares a count.
enum By {
    Consumer,
    Credential,
    Ip,
    Service,
    Header(String),
    Path(String),
}

/// What a request finds in one period.
#[derive(Clone, Copy)]
struct Found {
    key: Key,
    window: Window,
    taken: Option<Taken>,
    remaining: u32,
}

impl Plugin for RateLimiting {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        let now_s = cx.now.seconds().min(u64::from(u32::MAX)) as u32;
        let mut found: [Option<Found>; Period::ALL.len()] = [None; Period::ALL.len()];
        for (limit, slot) in self.limits.iter().zip(&mut found) {
            let (key, window) = (self.key(cx, limit.period), limit.period.window(cx.now));
            *slot = Some(Found { key, window, taken: None, remaining: 0 });
        }
        let mut full = false;
        for (limit, found) in self.limits.iter().zip(found.iter_mut().flatten()) {
            match self.bank.take(found.key, found.window, limit.tokens, now_s) {
                Ok(taken) => {
                    found.taken = Some(taken);
                    found.remaining = limit.tokens.saturating_sub(taken.used);
                }
                Err(_) => {
                    full = true;
                    break;
                }
            }
        }
        if full {
            self.refuse(cx, &mut found)
        } else {
            self.tell(cx, &found);
            Verdict::Next
        }
    }
}

impl RateLimiting {
    /// Gives back what was taken, says what is left, and when to come back.
    #[cold]
    fn refuse(&self, cx: &mut Ctx<'_>, found: &mut [Option<Found>; Period::ALL.len()]) -> Verdict {
        for found in found.iter().flatten() {
            if let Some(taken) = found.taken {
                self.bank.give_back(found.key, taken);
            }
        }
        for (limit, found) in self.limits.iter().zip(found.iter_mut().flatten()) {
            found.remaining = limit.tokens.saturating_sub(self.bank.peek(found.key, found.window));
        }
        let reply = Reply::message(self.status, self.message.clone());
        let reply = match self.tell(cx, found) {
            Some(reset_s) => reply.with("Retry-After", reset_s.to_string()),
            None => reply,
        };
        Verdict::Reply(Box::new(reply))
    }

    /// Tells the client what is left; returns the seconds until the tightest period begins anew. `None`: clients are told
    /// nothing.
    fn tell(&self, cx: &mut Ctx<'_>, found: &[Option<Found>; Period::ALL.len()]) -> Option<u32> {
        if self.quiet {
            return None;
        }
        let mut number = itoa::Buffer::new();
        let mut tightest: Option<(&Limit, &Found)> = None;
        for (limit, found) in self.limits.iter().zip(found.iter().flatten()) {
            cx.edits.set_reply(limit.limit_header, limit.shown.as_bytes());
            cx.edits.set_reply(limit.remaining_header, number.format(found.remaining).as_bytes());
            // Of two periods with as much left the longer one counts, which comes later.
            if tightest.is_none_or(|(_, least)| found.remaining <= least.remaining) {
                tightest = Some((limit, found));
            }
        }
        let (limit, found) = tightest?;
        let reset_s = reset_s(limit.period, found.window, cx.now);
        cx.edits.set_reply("RateLimit-Limit", limit.shown.as_bytes());
        cx.edits.set_reply("RateLimit-Remaining", number.format(found.remaining).as_bytes());
        cx.edits.set_reply("RateLimit-Reset", number.format(reset_s).as_bytes());
        Some(reset_s)
    }

    /// The key of who asks, in this period.
    fn key(&self, cx: &Ctx<'_>, period: Period) -> Key {
        let plan = cx.directory.plan();
        let consumer = || cx.identity.consumer.map(|ix| plan.consumers[ix.ix()].id);
        let credential = || cx.identity.credential.map(|ix| plan.credentials[ix.ix()].id);
        // The first byte keeps kinds of names apart: a header's value must not be able to name another client's count.
        match &self.by {
            By::Consumer => match (consumer(), credential()) {
                (Some(id), _) => self.key_of(period, b'c', id.as_bytes()),
                (None, Some(id)) => self.key_of(period, b'k', id.as_bytes()),
                (None, None) => self.key_of_ip(period, cx.facts.client_ip),
            },
            By::Credential => match credential() {
                Some(id) => self.key_of(period, b'k', id.as_bytes()),
                None => self.key_of_ip(period, cx.facts.client_ip),
            },
            By::Service => match cx.service {
                Some(service) => self.key_of(period, b's', service.id.as_bytes()),
                None => self.key_of_ip(period, cx.facts.client_ip),
            },
            By::Header(name) => match cx.head.find(name.as_bytes()) {
                Some(value) => self.key_of(period, b'h', value),
                None => self.key_of_ip(period, cx.facts.client_ip),
            },
            By::Path(path) if path.as_bytes() == cx.facts.path => self.key_of(period, b'p', path.as_bytes()),
            By::Path(_) | By::Ip => self.key_of_ip(period, cx.facts.client_ip),
        }
    }

    fn key_of_ip(&self, period: Period, ip: IpAddr) -> Key {
        match ip {
            IpAddr::V4(ip) => self.key_of(period, b'4', &ip.octets()),
            IpAddr::V6(ip) => self.key_of(period, b'6', &ip.octets()),
        }
    }

    fn key_of(&self, period: Period, kind: u8, who: &[u8]) -> Key {
        self.bank.key(&[self.route.as_bytes(), self.service.as_bytes(), &[period as u8, kind], who])
    }
}

/// Seconds until the window is said to be over, at least 1. Months have 30 days here and years 365, whatever the
/// calendar says: what clients of the reference are told.
fn reset_s(period: Period, window: Window, now: WallMs) -> u32 {
    let gone = now.seconds().saturating_sub(u64::from(window.start_s));
    u64::from(period.nominal_s()).saturating_sub(gone).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::super::rig::{faults, Rig, Seen, ALICE, BOB, NOON};
    use super::*;
    use crate::base::id::CredentialIx;
    use crate::hook::{Identity, Shelf};
    use serde_json::json;

    fn numbers(seen: &Seen, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| seen.client(name).unwrap_or("-").to_owned()).collect()
    }

    #[test]
    fn six_a_minute_are_six_a_minute() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"minute": 6}));
        rig.now = WallMs(NOON.0 + 20_500);
        let names = [
            "X-RateLimit-Limit-Minute",
            "X-RateLimit-Remaining-Minute",
            "RateLimit-Limit",
            "RateLimit-Remaining",
            "RateLimit-Reset",
        ];
        for left in ["5", "4", "3", "2", "1", "0"] {
            let seen = rig.ask("GET /");
            assert_eq!(seen.said(), "next");
            assert_eq!(numbers(&seen, &names), ["6", left, "6", left, "40"]);
            assert_eq!(seen.client_fields().len(), names.len());
        }
        for _ in 0..3 {
            let seen = rig.ask("GET /");
            assert_eq!(seen.said(), "429 E(API rate limit exceeded)");
            assert_eq!(numbers(&seen, &names), ["6", "0", "6", "0", "40"]);
            assert_eq!(seen.reply_field("Retry-After"), Some("40"));
        }
        rig.now = WallMs(NOON.0 + 60_000);
        assert_eq!(numbers(&rig.ask("GET /"), &names), ["6", "5", "6", "5", "60"]);
    }

    #[test]
    fn a_refused_request_takes_nothing_of_any_period() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"second": 2, "minute": 3, "hour": 3}));
        let names = [
            "X-RateLimit-Remaining-Second",
            "X-RateLimit-Remaining-Minute",
            "X-RateLimit-Remaining-Hour",
            "RateLimit-Limit",
            "RateLimit-Remaining",
            "RateLimit-Reset",
        ];
        assert_eq!(numbers(&rig.ask("GET /"), &names), ["1", "2", "2", "2", "1", "1"]);
        assert_eq!(numbers(&rig.ask("GET /"), &names), ["0", "1", "1", "2", "0", "1"]);
        let third = rig.ask("GET /");
        assert_eq!(third.said(), "429 E(API rate limit exceeded)");
        assert_eq!(numbers(&third, &names), ["0", "1", "1", "2", "0", "1"]);
        rig.now = WallMs(NOON.0 + 1000);
        // Minute and hour have as little left: the longer one is told.
        assert_eq!(numbers(&rig.ask("GET /"), &names), ["1", "0", "0", "3", "0", "3599"]);
        let late = rig.ask("GET /");
        assert_eq!(
            (late.said().as_str(), late.reply_field("Retry-After")),
            ("429 E(API rate limit exceeded)", Some("3599"))
        );
        // The token of the second was given back.
        assert_eq!(numbers(&late, &names), ["1", "0", "0", "3", "0", "3599"]);
    }

    #[test]
    fn months_are_said_to_have_thirty_days() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"month": 5, "year": 5.0}));
        // 23 November, noon: 22.5 days of November and 326.5 days of 2026 are gone.
        let seen = rig.ask("GET /");
        assert_eq!(seen.client("RateLimit-Reset"), Some("3326400"));
        assert_eq!(seen.client("X-RateLimit-Limit-Year"), Some("5"));
        assert_eq!(reset_s(Period::Month, Window { start_s: 0, end_s: 31 * 86_400 }, WallMs(30 * 86_400_000)), 1);
    }

    #[test]
    fn hidden_headers_are_hidden_from_refusals_too() {
        let config = json!({"minute": 1, "hide_client_headers": true, "error_code": 403, "error_message": "Enough"});
        let mut rig = Rig::new(&DESCRIPTOR, config);
        assert_eq!(rig.ask("GET /").client_fields(), Vec::<&str>::new());
        let seen = rig.ask("GET /");
        assert_eq!(seen.said(), "403 E(Enough)");
        assert_eq!((seen.client_fields().len(), seen.reply_field("Retry-After")), (0, None));
    }

    /// Asks in turn, as (consumer and credential, last byte of the address, request), with one request a minute; gives
    /// back which passed.
    fn passed(config: serde_json::Value, asks: &[(Option<Identity>, u8, &str)]) -> Vec<bool> {
        let mut rig = Rig::new(&DESCRIPTOR, config);
        let ask = |&(identity, ip, request): &(Option<Identity>, u8, &str)| {
            rig.identity = identity.unwrap_or_default();
            rig.client_ip = IpAddr::from([192, 0, 2, ip]);
            rig.ask(request).reply.is_none()
        };
        asks.iter().map(ask).collect()
    }

    #[test]
    fn who_shares_a_count() {
        let who = |consumer, credential| {
            Some(Identity { consumer, credential: Some(CredentialIx(credential)), is_vouched: false })
        };
        let (bob, bob_too, alice) = (who(Some(BOB), 0), who(Some(BOB), 2), who(Some(ALICE), 1));
        let anyone = None;
        let by = |by: &str| json!({"minute": 1, "limit_by": by, "header_name": "x-u", "path": "/a"});
        let get = "GET /";
        let rows: &[(&str, &[(Option<Identity>, u8, &str)], &[bool])] = &[
            (
                "consumer",
                &[
                    (bob, 1, get),
                    (alice, 1, get),
                    (bob_too, 2, get),
                    (anyone, 1, get),
                    (anyone, 2, get),
                    (anyone, 1, get),
                ],
                &[true, true, false, true, true, false],
            ),
            (
                "credential",
                &[(bob, 1, get), (bob_too, 1, get), (bob, 2, get), (anyone, 1, get)],
                &[true, true, false, true],
            ),
            ("ip", &[(bob, 1, get), (alice, 1, get), (bob, 2, get)], &[true, false, true]),
            ("service", &[(bob, 1, get), (alice, 2, "GET /other")], &[true, false]),
            (
                "header",
                &[
                    (bob, 1, "GET /\nX-U: a"),
                    (bob, 1, "GET /\nx-u: b"),
                    (alice, 2, "GET /\nx-u: a"),
                    (bob, 1, get),
                    (alice, 1, get),
                    (alice, 2, get),
                ],
                &[true, true, false, true, false, true],
            ),
            (
                "path",
                &[
                    (bob, 1, "GET /a"),
                    (alice, 2, "GET /a?x"),
                    (bob, 1, "GET /b"),
                    (bob, 1, "GET /c"),
                    (bob, 2, "GET /c"),
                ],
                &[true, false, true, false, true],
            ),
        ];
        for (name, asks, want) in rows {
            assert_eq!(passed(by(name), asks), *want, "limit_by {name}");
        }
    }

    #[test]
    fn a_header_cannot_name_the_count_of_an_address() {
        let forged = "GET /\nx-u: \u{c0}\u{0}\u{2}\u{1}";
        let rows = [(None, 1, "GET /"), (None, 2, forged)];
        assert_eq!(passed(json!({"minute": 1, "limit_by": "header", "header_name": "x-u"}), &rows), [true, true]);
    }

    #[test]
    fn counts_outlive_a_reload_and_limits_may_change() {
        let shelf = Shelf::default();
        let rig = |limit: u32| Rig::with(&DESCRIPTOR, json!({"hour": limit}), &shelf, Vec::new());
        let (mut before, mut after) = (rig(2), rig(3));
        assert_eq!([before.ask("GET /").said(), before.ask("GET /").said()], ["next", "next"]);
        assert!(before.ask("GET /").reply.is_some());
        assert_eq!(after.ask("GET /").client("RateLimit-Remaining"), Some("0"));
        assert!(after.ask("GET /").reply.is_some());
    }

    #[test]
    fn ten_of_sixty_four_pass_whoever_asks() {
        let shelf = Shelf::default();
        let passed: usize = std::thread::scope(|scope| {
            let ask = || {
                let mut rig = Rig::with(&DESCRIPTOR, json!({"minute": 10, "hour": 10}), &shelf, Vec::new());
                (0..16).filter(|_| rig.ask("GET /").reply.is_none()).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 10);
    }

    #[test]
    fn configurations_that_cannot_be_meant_are_refused() {
        let rows = [
            (
                json!({}),
                "|at least one of these fields must be non-empty: 'config.second', 'config.minute', 'config.hour', \
                 'config.day', 'config.month', 'config.year'",
            ),
            (json!({"second": 2, "minute": 1}), "|The limit for minute(1.0) cannot be lower than the limit for second(2.0)"),
            (json!({"minute": 9, "day": 10, "year": 2.5}), "|The limit for year(2.5) cannot be lower than the limit for minute(9.0)"),
            (
                json!({"minute": 1, "limit_by": "header"}),
                "header_name|required field missing\n|failed conditional validation given value of field 'config.limit_by'",
            ),
            (
                json!({"minute": 1, "limit_by": "path"}),
                "path|required field missing\n|failed conditional validation given value of field 'config.limit_by'",
            ),
            (json!({"minute": 1, "sync_rate": 0.1}), "|sync_rate can only be used with the redis policy"),
            (
                json!({"minute": 1, "redis_host": "a", "redis": {"host": "b"}}),
                "|both deprecated and new field are used but their values mismatch: redis_host = a vs redis.host = b",
            ),
            (json!({"minute": 1, "redis_port": 1, "redis": {"host": "b"}}), ""),
            (json!({"year": 3_000_000_000u64}), "year|2147483647 is the most that is counted; write that, or leave it out"),
        ];
        for (config, want) in rows {
            let found: Vec<_> =
                faults(&DESCRIPTOR, config).iter().map(|(path, text)| format!("{path}|{text}")).collect();
            assert_eq!(found.join("\n"), want);
        }
        let shared = faults(&DESCRIPTOR, json!({"minute": 1, "policy": "redis", "sync_rate": 0.1}));
        assert!(matches!(&shared[..], [(path, _)] if path == "policy"), "{shared:?}");
    }
}
