//! `response-ratelimiting`: limits on what answers are worth, by names that upstreams choose.
//!
//! An upstream says in a field of its answer what that has used: `X-Kong-Limit: video=2, image=1`. Each name has limits per
//! window of the UTC calendar; names without any, and what is no `name=number`, mean nothing. The field itself is kept from
//! the client, who is told `X-RateLimit-Limit-NAME-PERIOD` and `X-RateLimit-Remaining-NAME-PERIOD` instead.
//!
//! An answer that uses a name of which nothing is left is replaced by a 429 without content, and counts nothing. While
//! anything is left an answer may use more than that: it is there already. With `block_on_first_violation` a request is
//! refused before it is sent on, once any name is used up. The upstream is told what is left, the least of all periods, in
//! `X-RateLimit-Remaining-NAME`.
//!
//! Counts are those of `rate-limiting`: node-wide, in [`Bank`], keyed by route and service of the instance, who asks, name
//! and period. Between several answers at once nothing is lost: each is one compare-and-swap. Allocates nothing.
//!
//! With policy `redis` the counts are in Redis: [`shared`].

mod shared;

use super::rate_limiting::limits::monotonic;
use super::rate_limiting::who::Who;
use super::redis_fields;
use crate::base::limits::NAMED_LIMITS_MAX;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, Tally, Verdict};
use crate::http::headers::trim;
use crate::limit::bank::{Bank, Key, Naming};
use crate::limit::fixed::Taken;
use crate::limit::rule::LIMIT_MAX;
use crate::limit::window::Period;
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use shared::Shared;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "response-ratelimiting",
    priority: 900,
    version: env!("CARGO_PKG_VERSION"),
    about: "Limits what answers are worth, by names and amounts that upstreams tell in a header of the answer.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: true },
};

const EXAMPLE: &str = r"
services:
  - name: media
    url: http://media.internal:8080
    routes:
      - name: media
        paths: [/media]
    plugins:
      - name: response-ratelimiting
        config:
          limit_by: ip
          limits:
            video: {minute: 10}
            image: {second: 100}
";

const FIELDS: &[Field] = &redis_fields::joined::<{ OWN.len() + redis_fields::OLDER.len() }>(OWN, redis_fields::OLDER);

const OWN: &[Field] = &[
    Field::with_default(
        "header_name",
        Kind::String,
        "\"x-kong-limit\"",
        "The upstream's field that says what was used.",
    )
    .rules(&[Rule::HeaderName]),
    Field::with_default("limit_by", Kind::String, "\"consumer\"", "Who shares a count; the client address stands in.")
        .rules(&[Rule::OneOf(&["consumer", "credential", "ip"])]),
    Field::with_default("policy", Kind::String, "\"local\"", "Where counts are kept: on the node, or in Redis.")
        .rules(&[Rule::OneOf(&["local", "redis"])]),
    Field::with_default("fault_tolerant", Kind::Boolean, "true", "Let requests pass when counts cannot be reached.")
        .required(),
    Field::with_default("redis", Kind::Record(redis_fields::REDIS), "{}", "Where Redis is.").required(),
    Field::with_default(
        "block_on_first_violation",
        Kind::Boolean,
        "false",
        "Refuse requests before they are sent on, once any name is used up.",
    )
    .required(),
    Field::with_default("hide_client_headers", Kind::Boolean, "false", "Do not tell clients what is left.").required(),
    Field::optional(
        "limits",
        Kind::Map(&Element { kind: Kind::Record(PERIODS), rules: &[] }),
        "By name: how much per period.",
    )
    .required()
    .rules(&[Rule::LengthMin(1)]),
];

const POSITIVE: &[Rule] = &[Rule::GreaterThan(0.0)];

const PERIODS: &[Field] = &[
    Field::optional("second", Kind::Number, "Per second.").rules(POSITIVE),
    Field::optional("minute", Kind::Number, "Per minute.").rules(POSITIVE),
    Field::optional("hour", Kind::Number, "Per hour.").rules(POSITIVE),
    Field::optional("day", Kind::Number, "Per day.").rules(POSITIVE),
    Field::optional("month", Kind::Number, "Per month.").rules(POSITIVE),
    Field::optional("year", Kind::Number, "Per year.").rules(POSITIVE),
];

fn given(of: &Value) -> Vec<(Period, f64)> {
    Period::ALL.iter().filter_map(|&period| Some((period, of.get(period.name())?.as_f64()?))).collect()
}

fn check(config: &Value) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let mut fault = |path: &str, message: String| faults.push((path.to_owned(), message));
    let names = config.get("limits").and_then(Value::as_object);
    for (name, of) in names.into_iter().flatten() {
        let (path, limits) = (format!("limits.{name}"), given(of));
        if limits.is_empty() {
            let fields: Vec<_> =
                Period::ALL.iter().map(|period| format!("'config.{path}.{}'", period.name())).collect();
            fault(&path, format!("at least one of these fields must be non-empty: {}", fields.join(", ")));
        }
        monotonic(&limits, &path, &mut fault);
        for (period, _) in limits.iter().filter(|(_, limit)| *limit > f64::from(LIMIT_MAX)) {
            let path = format!("{path}.{}", period.name());
            fault(&path, format!("{LIMIT_MAX} is the most that is counted; write that, or leave it out"));
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            fault(&path, "the name stands in names of headers: write A-Z, a-z, 0-9, '_', and '-'".to_owned());
        }
    }
    if names.is_some_and(|names| names.len() > NAMED_LIMITS_MAX) {
        fault("limits", format!("{NAMED_LIMITS_MAX} names are the most"));
    }
    redis_fields::check(config, &mut fault);
    faults
}

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let names = config.get("limits").and_then(Value::as_object);
    Ok(Arc::new(ResponseRatelimiting {
        bank: env.shelf.take_or(Bank::default),
        shared: Shared::of(config, env),
        who: Who::of(config, env),
        header: config.get("header_name").and_then(Value::as_str).unwrap_or("x-kong-limit").to_owned(),
        names: names.into_iter().flatten().map(|(name, of)| Name::of(name, of)).collect(),
        blocks: flag("block_on_first_violation"),
        quiet: flag("hide_client_headers"),
    }))
}

struct ResponseRatelimiting {
    bank: Arc<Bank>,
    /// `None` where counts are kept here.
    shared: Option<Shared>,
    who: Who,
    header: String,
    /// At most [`NAMED_LIMITS_MAX`].
    names: Vec<Name>,
    blocks: bool,
    quiet: bool,
}

/// A name and its limits.
struct Name {
    name: String,
    upstream_header: String,
    refusal: String,
    /// Shortest period first.
    limits: Vec<Limit>,
}

struct Limit {
    period: Period,
    amount: u32,
    shown: String,
    limit_header: String,
    remaining_header: String,
}

impl Name {
    fn of(name: &str, of: &Value) -> Name {
        let limit = |(period, exact): (Period, f64)| Limit {
            period,
            amount: exact.ceil() as u32,
            shown: format!("{exact}"),
            limit_header: format!("X-RateLimit-Limit-{name}-{}", period.name()),
            remaining_header: format!("X-RateLimit-Remaining-{name}-{}", period.name()),
        };
        Name {
            name: name.to_owned(),
            upstream_header: format!("X-RateLimit-Remaining-{name}"),
            refusal: format!("API rate limit exceeded for '{name}'"),
            limits: given(of).into_iter().map(limit).collect(),
        }
    }

    fn key(&self, who: &Naming, limit: &Limit) -> Key {
        who.clone().part(b"answers").part(self.name.as_bytes()).part(&[limit.period as u8]).key()
    }
}

impl Plugin for ResponseRatelimiting {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        let Some(shared) = &self.shared else { return self.admit(cx) };
        if self.blocks && self.is_used_up(cx) {
            return self.admit(cx);
        }
        Verdict::Need(Need::Redis(shared.ask(self, cx)))
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let Outcome::Redis(call, answers) = outcome else { return Verdict::Next };
        match answers {
            Ok(answers) => {
                Shared::learn(self, cx, call, answers);
                self.admit(cx)
            }
            Err(_) if self.shared.as_ref().is_none_or(|shared| shared.tolerant) => {
                Shared::forget(self, cx);
                // Nobody knows what is left, so nobody says it: not the client either.
                self.names.iter().for_each(|name| cx.edits.remove_request(&name.upstream_header));
                Verdict::Next
            }
            Err(_) => Verdict::Reply(Box::new(Reply::message(500, "An unexpected error occurred"))),
        }
    }

    fn on_response(&self, cx: &mut Ctx<'_>, _status: u16) {
        let Some(reply) = cx.reply.filter(|_| !cx.made_here) else { return };
        let who = self.who.naming(&self.bank, cx);
        let mut amounts = [0u32; NAMED_LIMITS_MAX];
        for value in reply.find_all(self.header.as_bytes()) {
            self.read(value, &mut amounts);
        }
        cx.edits.remove_reply(&self.header);
        let is_over = amounts.iter().any(|&amount| amount > 0)
            && !match &self.shared {
                Some(shared) => shared.spend(self, cx, &who, &amounts),
                None => self.spend(cx, &who, &amounts),
            };
        self.tell(cx, &who);
        if is_over {
            let consumer = cx.identity.consumer.map(|ix| cx.directory.plan().consumer(ix));
            let tally = cx.locals.of(Tally::default);
            tally.note_by(self.who.word());
            tally.add(DESCRIPTOR.name, cx.route, cx.service, consumer, 429, false);
            cx.edits.replace_reply(429);
        }
    }
}

impl ResponseRatelimiting {
    /// What is used of a limit; `None` where that is in Redis, which has not told.
    fn used(&self, cx: &mut Ctx<'_>, who: &Naming, name: &Name, limit: &Limit) -> Option<u32> {
        let (key, window) = (name.key(who, limit), limit.period.window(cx.now));
        match &self.shared {
            Some(_) => shared::used(cx.locals, key, window),
            None => Some(self.bank.peek(key, window)),
        }
    }

    /// The least that is left of a name in any period; `None` where nobody knows.
    fn least(&self, cx: &mut Ctx<'_>, who: &Naming, name: &Name) -> Option<u32> {
        let left = |limit| Some(limit_left(limit, self.used(cx, who, name, limit)?));
        name.limits.iter().filter_map(left).min()
    }

    /// Is nothing left of a name, as far as is known?
    fn is_used_up(&self, cx: &mut Ctx<'_>) -> bool {
        let who = self.who.naming(&self.bank, cx);
        self.names.iter().any(|name| self.least(cx, &who, name) == Some(0))
    }

    /// Tells the upstream what is left, or refuses the request where that is to be.
    fn admit(&self, cx: &mut Ctx<'_>) -> Verdict {
        let who = self.who.naming(&self.bank, cx);
        let mut number = itoa::Buffer::new();
        for name in &self.names {
            let Some(least) = self.least(cx, &who, name) else {
                cx.edits.remove_request(&name.upstream_header);
                continue;
            };
            if self.blocks && least == 0 {
                self.tell(cx, &who);
                cx.locals.of(Tally::default).note_by(self.who.word());
                cx.edits.set_message(&name.refusal);
                return Verdict::Refuse(429);
            }
            cx.edits.set_request(&name.upstream_header, number.format(least).as_bytes());
        }
        Verdict::Next
    }

    /// Adds what a value of the upstream's field says: `video=2, image=1`.
    fn read(&self, value: &[u8], amounts: &mut [u32; NAMED_LIMITS_MAX]) {
        for item in value.split(|&b| b == b',') {
            let Some(at) = memchr::memchr(b'=', item) else { continue };
            let (name, amount) = (trim(&item[..at]), trim(&item[at + 1..]));
            let Some(ix) = self.names.iter().position(|held| held.name.as_bytes() == name) else { continue };
            if amount.is_empty() || !amount.iter().all(u8::is_ascii_digit) {
                continue;
            }
            let add = |sum: u32, digit: &u8| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
            amounts[ix] = amounts[ix].saturating_add(amount.iter().fold(0, add));
        }
    }

    /// Uses these amounts of all their names and periods, or of none: `false`.
    fn spend(&self, cx: &Ctx<'_>, who: &Naming, amounts: &[u32; NAMED_LIMITS_MAX]) -> bool {
        let now_s = cx.now.seconds().min(u64::from(u32::MAX)) as u32;
        let mut spent: [[Option<Taken>; Period::ALL.len()]; NAMED_LIMITS_MAX] = [[None; 6]; NAMED_LIMITS_MAX];
        let each = || self.names.iter().zip(amounts).enumerate().filter(|(_, (_, &amount))| amount > 0);
        let mut all = true;
        'names: for (ix, (name, &amount)) in each() {
            for (limit, slot) in name.limits.iter().zip(&mut spent[ix]) {
                let (key, window) = (name.key(who, limit), limit.period.window(cx.now));
                match self.bank.spend(key, window, amount, limit.amount, now_s) {
                    Ok(taken) => *slot = Some(taken),
                    Err(_) => {
                        all = false;
                        break 'names;
                    }
                }
            }
        }
        if !all {
            for (ix, (name, &amount)) in each() {
                for (limit, taken) in name.limits.iter().zip(&spent[ix]) {
                    if let Some(taken) = taken {
                        self.bank.give_back(name.key(who, limit), *taken, amount);
                    }
                }
            }
        }
        all
    }

    /// Tells the client what is left of each name and period.
    fn tell(&self, cx: &mut Ctx<'_>, who: &Naming) {
        if self.quiet {
            return;
        }
        let mut number = itoa::Buffer::new();
        for name in &self.names {
            for limit in &name.limits {
                let Some(used) = self.used(cx, who, name, limit) else { continue };
                let left = limit_left(limit, used);
                cx.edits.set_reply(&limit.limit_header, limit.shown.as_bytes());
                cx.edits.set_reply(&limit.remaining_header, number.format(left).as_bytes());
            }
        }
    }
}

fn limit_left(limit: &Limit, used: u32) -> u32 {
    limit.amount.saturating_sub(used)
}

#[cfg(test)]
mod tests;
