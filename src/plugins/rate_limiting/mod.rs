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
//! With policy `redis` the counts are in Redis: `shared.rs`.

mod fields;
mod shared;
#[cfg(test)]
mod tests;
mod who;

use crate::base::time::WallMs;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Outcome, Plugin, Reply, Verdict};
use crate::limit::bank::{Bank, Key, Taken};
use crate::limit::window::{Period, Window};
use crate::plan::schema::HTTP_PROTOCOLS;
use serde_json::Value;
use shared::Shared;
use std::sync::Arc;
use who::Who;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "rate-limiting",
    priority: 910,
    version: env!("CARGO_PKG_VERSION"),
    about:
        "Lets so many requests pass per second, minute, hour, day, month or year of the UTC calendar; exact for all \
            CPUs of the node together.",
    fields: fields::FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check: fields::check,
    build,
    hooks: Hooks { request: true, response: false },
};

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let limits: Vec<Limit> =
        Period::ALL.iter().filter_map(|&period| Limit::of(period, config.get(period.name())?)).collect();
    let code = config.get("error_code").and_then(Value::as_f64).unwrap_or(429.0);
    if !(200.0..=599.0).contains(&code) || code.fract() != 0.0 {
        return Err(format!("error_code {code} is no status of an answer; write one from 200 to 599"));
    }
    let bank = env.shelf.take_or(Bank::default);
    Ok(Arc::new(RateLimiting {
        shared: Shared::of(config, env, &bank, &limits),
        bank,
        limits,
        who: Who::of(config, env),
        quiet: flag("hide_client_headers"),
        status: code as u16,
        message: text("error_message").unwrap_or_else(|| "API rate limit exceeded".to_owned()),
    }))
}

struct RateLimiting {
    bank: Arc<Bank>,
    /// `None` where counts are kept here.
    shared: Option<Shared>,
    /// Shortest period first; at least one.
    limits: Vec<Limit>,
    who: Who,
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
        match &self.shared {
            Some(shared) => shared.on_request(self, cx),
            None => self.count_here(cx),
        }
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        match (&self.shared, outcome) {
            (Some(shared), Outcome::Redis(call, answers)) => shared.on_answer(self, cx, call, answers),
            _ => Verdict::Next,
        }
    }
}

impl RateLimiting {
    /// Counts on this node.
    fn count_here(&self, cx: &mut Ctx<'_>) -> Verdict {
        let now_s = cx.now.seconds().min(u64::from(u32::MAX)) as u32;
        let mut found: [Option<Found>; Period::ALL.len()] = [None; Period::ALL.len()];
        let asker = self.who.asks(cx);
        for (limit, slot) in self.limits.iter().zip(&mut found) {
            let (key, window) = (self.who.key(&self.bank, asker, limit.period as u8), limit.period.window(cx.now));
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
        self.reply(cx, found)
    }

    /// The refusal; says what is left and when to come back.
    fn reply(&self, cx: &mut Ctx<'_>, found: &[Option<Found>; Period::ALL.len()]) -> Verdict {
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
}

/// Seconds until the window is said to be over, at least 1. Months have 30 days here and years 365, whatever the
/// calendar says: what clients of the reference are told.
fn reset_s(period: Period, window: Window, now: WallMs) -> u32 {
    let gone = now.seconds().saturating_sub(u64::from(window.start_s));
    u64::from(period.nominal_s()).saturating_sub(gone).max(1) as u32
}
