//! `rate-limiting`: so many requests per period, counted for all shards at once in [`Bank`].
//!
//! With several periods a request takes of each or of none: what it took is given back when a later period is used up.
//! Nobody is refused wrongly in between, for whoever meets a token that will be given back would meet the period that is
//! used up as well. A request that is refused does not count.
//!
//! # Algorithms
//!
//! | `algorithm` | what passes | `RateLimit-Reset` | `Retry-After` |
//! |---|---|---|---|
//! | `fixed-window` | exactly N in a window of the UTC calendar, and so up to 2N around its turn | end of the window | the same |
//! | `sliding-window` | N in the last period, where of the window before the share counts that is still within the period | end of the window | when a request passes again |
//! | `token-bucket` | `burst` at once (N where not given), then one per period ÷ N | when the bucket is full | when a request passes again |
//! | `leaky-bucket` | one per period ÷ N, `burst` (1) at once; with `queue_delay_max_ms` who comes too early is held back until it is due, if that is no longer | as above | as above |
//!
//! All are exact over all shards: no spread of requests over them lets one more pass than the algorithm allows, and none is
//! lost (`limit/`, with its tests under threads). What a give-back cannot restore: tokens of a *bucket* that was poured
//! from again in the same microsecond stay taken. With several periods `burst` and the queue belong to the shortest; the
//! buckets of longer ones hold their limit.
//!
//! # Who shares a count
//!
//! A count is keyed by the ids of the route and service that the instance is attached to, who asks (`limit_by`; of a list
//! all must agree), the period, and how it is counted; so it outlives a reload, also into other limits. An unknown part (no
//! consumer, no such header, another path) stands as the client's address. Counts live in a table of fixed size
//! ([`BANK_SETS`](crate::base::limits::BANK_SETS)): when eight living ones meet in a set, the one that ends first is given
//! up and its key starts afresh.
//!
//! `tiers` are other limits for consumers: the first, in the order written, whose name is a group of the consumer, of access
//! lists (`acls`) or of consumers (`consumer_groups`), or one of its tags.
//! `cost_header` names a request's field that says how many tokens it takes: 1 where it is missing or no number from 1 up,
//! `cost_max` at most. It is as honest as who sends it: set it where clients do not. `shadow` counts and tells as always
//! but lets pass what it would refuse, with `X-RateLimit-Shadow: refused`, and holds nothing back.
//!
//! # Cost
//!
//! A request that passes: a keyed hash of who asks, and per period one look-up and one compare-and-swap in the bank (two
//! more look-ups with a sliding window); nothing is allocated. One that is refused writes nothing in the bank and allocates
//! nothing either: its message is the configuration's.
//!
//! With policy `redis` the counts are in Redis: `shared.rs`. Then there are fixed windows only.

mod fields;
pub(super) mod limits;
mod shared;
mod sync;
#[cfg(test)]
mod tests;
pub(super) mod who;

use crate::base::limits::LIMIT_COST_DEFAULT;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Tally, Verdict};
use crate::limit::bank::{Bank, Key};
use crate::limit::rule::Taken;
use crate::limit::window::Period;
use crate::plan::groups::Membership;
use crate::plan::schema::HTTP_PROTOCOLS;
use limits::Row;
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
        "Lets so many requests pass per second, minute, hour, day, month or year, by windows or by a bucket; exact for \
            all CPUs of the node together.",
    example: EXAMPLE,
    fields: fields::FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check: fields::check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r"
services:
  - name: orders
    url: http://orders.internal:8080
    routes:
      - name: orders
        paths: [/orders]
    plugins:
      - name: rate-limiting
        config:
          second: 20
          minute: 300
          limit_by: ip
";

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let code = config.get("error_code").and_then(Value::as_f64).unwrap_or(429.0);
    if !(200.0..=599.0).contains(&code) || code.fract() != 0.0 {
        return Err(format!("error_code {code} is no status of an answer; write one from 200 to 599"));
    }
    let tiers = config.get("tiers").and_then(Value::as_object);
    let asks_groups =
        tiers.is_some_and(|tiers| env.plan.groups.all.iter().any(|group| tiers.contains_key(&group.name)));
    let cost_max = config.get("cost_max").and_then(Value::as_u64).unwrap_or(LIMIT_COST_DEFAULT);
    let (bank, rows) = (env.shelf.take_or(Bank::default), limits::of(config, config));
    Ok(Arc::new(RateLimiting {
        shared: Shared::of(config, env, &bank, &rows),
        bank,
        rows,
        tiers: tiers.into_iter().flatten().map(|(name, tier)| (name.clone(), limits::of(config, tier))).collect(),
        membership: asks_groups.then(|| env.membership()),
        who: Who::of(config, env),
        cost: text("cost_header").map(|header| (header, cost_max.min(u64::from(u32::MAX)) as u32)),
        tells_retry: limits::algorithm(config) != "fixed-window",
        shadow: flag("shadow"),
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
    rows: Vec<Row>,
    /// By group or tag; none where there is no limit.
    tiers: Vec<(String, Vec<Row>)>,
    /// Who is in which consumer group; `None` where no tier asks.
    membership: Option<Arc<Membership>>,
    who: Who,
    /// The field that says what a request costs, and the most it may.
    cost: Option<(String, u32)>,
    /// Is a refused client told when a request passes again, rather than when the tightest period is over?
    tells_retry: bool,
    shadow: bool,
    quiet: bool,
    status: u16,
    message: String,
}

/// What a request finds in one period.
#[derive(Clone, Copy)]
struct Found {
    key: Key,
    left: u32,
    reset_s: u32,
    taken: Option<Taken>,
}

type All = [Option<Found>; Period::ALL.len()];

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
        self.take_here(cx).unwrap_or_else(|refused| refused)
    }

    /// The same; `Err` with the verdict where nothing was taken, which lets pass all the same where `shadow` is set.
    fn take_here(&self, cx: &mut Ctx<'_>) -> Result<Verdict, Verdict> {
        let (_, rows) = self.rows_of(cx);
        let (cost, naming) = (self.cost_of(cx), self.who.naming(&self.bank, cx));
        let mut found: All = [None; Period::ALL.len()];
        let (mut full, mut wait_ms) = (false, 0);
        for (row, slot) in rows.iter().zip(&mut found) {
            let key = row.key(&naming);
            let taken = if full { None } else { row.limit.take(&self.bank, key, cost, cx.now) };
            full |= taken.is_none();
            let (left, reset_s) = taken.map_or((0, 1), |taken| (taken.left, taken.reset_s));
            wait_ms = taken.map_or(wait_ms, |taken| taken.wait_ms.max(wait_ms));
            *slot = Some(Found { key, left, reset_s, taken });
        }
        if full {
            return Err(self.refuse(cx, rows, cost, &mut found));
        }
        self.tell(cx, rows, &found);
        Ok(match wait_ms {
            0 => Verdict::Next,
            _ if self.shadow => Verdict::Next,
            wait_ms => Verdict::Need(Need::Sleep(wait_ms)),
        })
    }

    /// The limits for whoever sends this, and which of the tiers they are, from 1; 0: of none.
    fn rows_of(&self, cx: &Ctx<'_>) -> (u8, &[Row]) {
        if self.tiers.is_empty() {
            return (0, &self.rows);
        }
        let Some(ix) = cx.identity.consumer else { return (0, &self.rows) };
        let plan = cx.directory.plan();
        let consumer = plan.consumer(ix);
        let is_in = |name: &String| {
            let entities = self.membership.iter().flat_map(|all| all.names(&plan.groups, ix));
            consumer.groups().chain(consumer.tags()).chain(entities).any(|held| held == *name)
        };
        let tier = self.tiers.iter().position(|(name, _)| is_in(name));
        tier.map_or((0, &self.rows), |at| (at as u8 + 1, &self.tiers[at].1))
    }

    /// Tokens that the request takes.
    fn cost_of(&self, cx: &Ctx<'_>) -> u32 {
        let Some((header, max)) = &self.cost else { return 1 };
        let Some(said) = cx.head.find(header.as_bytes()) else { return 1 };
        if said.is_empty() || !said.iter().all(u8::is_ascii_digit) {
            return 1;
        }
        let most = u64::from(*max);
        let cost = said.iter().fold(0u64, |cost, digit| (cost * 10 + u64::from(digit - b'0')).min(most));
        cost.max(1) as u32
    }

    /// Gives back what was taken, says what is left, and when to come back.
    #[cold]
    fn refuse(&self, cx: &mut Ctx<'_>, rows: &[Row], cost: u32, found: &mut All) -> Verdict {
        for (row, found) in rows.iter().zip(found.iter().flatten()) {
            if let Some(taken) = &found.taken {
                row.limit.give_back(&self.bank, found.key, cost, taken);
            }
        }
        let mut retry_s = 1;
        for (row, found) in rows.iter().zip(found.iter_mut().flatten()) {
            let stands = row.limit.stand(&self.bank, found.key, cost, cx.now);
            (found.left, found.reset_s) = (stands.left, stands.reset_s);
            retry_s = retry_s.max(stands.retry_s);
        }
        self.deny(cx, rows, found, retry_s)
    }

    /// The refusal; says what is left and when to come back.
    fn deny(&self, cx: &mut Ctx<'_>, rows: &[Row], found: &All, retry_s: u32) -> Verdict {
        let reset_s = self.tell(cx, rows, found);
        let tally = cx.locals.of(Tally::default);
        tally.note_by(self.who.word());
        if self.shadow {
            let consumer = cx.identity.consumer.map(|ix| cx.directory.plan().consumer(ix));
            tally.add(DESCRIPTOR.name, cx.route, cx.service, consumer, self.status, true);
            if !self.quiet {
                cx.edits.set_reply("X-RateLimit-Shadow", b"refused");
            }
            return Verdict::Next;
        }
        if let Some(reset_s) = reset_s {
            let seconds = if self.tells_retry { retry_s } else { reset_s };
            cx.edits.set_reply("Retry-After", itoa::Buffer::new().format(seconds).as_bytes());
        }
        cx.edits.set_message(&self.message);
        Verdict::Refuse(self.status)
    }

    /// Tells the client what is left; returns the seconds until the tightest period begins anew. `None`: clients are told
    /// nothing.
    fn tell(&self, cx: &mut Ctx<'_>, rows: &[Row], found: &All) -> Option<u32> {
        if self.quiet {
            return None;
        }
        let mut number = itoa::Buffer::new();
        let mut tightest: Option<(&Row, &Found)> = None;
        for (row, found) in rows.iter().zip(found.iter().flatten()) {
            cx.edits.set_reply(row.limit_header, row.shown.as_bytes());
            cx.edits.set_reply(row.remaining_header, number.format(found.left).as_bytes());
            // Of two periods with as much left the longer one counts, which comes later.
            if tightest.is_none_or(|(_, least)| found.left <= least.left) {
                tightest = Some((row, found));
            }
        }
        let (row, found) = tightest?;
        cx.edits.set_reply("RateLimit-Limit", row.shown.as_bytes());
        cx.edits.set_reply("RateLimit-Remaining", number.format(found.left).as_bytes());
        cx.edits.set_reply("RateLimit-Reset", number.format(found.reset_s).as_bytes());
        Some(found.reset_s)
    }
}
