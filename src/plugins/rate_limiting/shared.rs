//! Policy `redis`: counts that several gateways share.
//!
//! Every request asks Redis, which counts and decides in one script: of two gateways and one Redis, admitted is at most
//! the limit, and a refused request takes nothing. Keys, values and lives are those of other gateways that keep their
//! counts so: `ratelimit:<route>:<service>:<who>:<window's start, ms>:<period>`, an integer; a fleet can be moved node by
//! node, and counts on. A life is the period's nominal length, or until the window ends where a month or a leap year is
//! longer.
//!
//! With a `sync_rate` counts are exchanged in the background instead: `sync.rs` says how exact that is.
//!
//! Once a window is used up, this shard remembers it until the window ends, and refuses without asking.
//!
//! In a cluster the periods' counts lie on different nodes: each is taken by itself, and given back where another is used
//! up. Meanwhile another gateway may find one token fewer than there are, so with several periods a refusal is remembered
//! for a second only.
//!
//! When Redis cannot be asked, `on_redis_fault` says what happens: `pass`, `fail` (500), or `local`: the limits hold for
//! this node alone. Where it is not set, `fault_tolerant` says `pass` or `fail`.

use super::super::redis_fields;
use super::limits::Row;
use super::{sync, Found, RateLimiting};
use crate::base::limits;
use crate::base::time::WallMs;
use crate::hook::{Ctx, Env, Need, Outbox, Reply, Verdict};
use crate::limit::bank::{Bank, Key};
use crate::limit::rule::reset_s;
use crate::limit::window::{Period, Window};
use crate::redis::script::{GIVE_BACK, TAKE};
use crate::redis::{Call, Command, Fault, Place, Reply as Answer, Server, Shape, Spare};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

/// How an instance shares its counts.
pub(super) struct Shared {
    server: Arc<Server>,
    /// What keys of this instance begin with.
    prefix: String,
    /// This instance with these limits.
    own: Key,
    on_fault: OnFault,
    /// Between two exchanges, ms; `None`: with each request.
    every_ms: Option<u64>,
}

/// What happens to a request when Redis cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnFault {
    Pass,
    Fail,
    Local,
}

impl Shared {
    /// As `policy` and its companions say; `None` where counts are kept here.
    pub(super) fn of(config: &Value, env: &Env<'_>, bank: &Bank, rows: &[Row]) -> Option<Shared> {
        if config.get("policy").and_then(Value::as_str) != Some("redis") {
            return None;
        }
        let flag = |name: &str| config.get(name).and_then(Value::as_bool);
        let tolerant = flag("continue_on_error").or(flag("fault_tolerant")).unwrap_or(true);
        let on_fault = match config.get("on_redis_fault").and_then(Value::as_str) {
            Some("local") => OnFault::Local,
            Some("pass") => OnFault::Pass,
            Some("fail") => OnFault::Fail,
            _ if tolerant => OnFault::Pass,
            _ => OnFault::Fail,
        };
        let tokens: Vec<[u8; 5]> = rows
            .iter()
            .map(|row| {
                let [a, b, c, d] = row.limit.tokens.to_be_bytes();
                [row.limit.period as u8, a, b, c, d]
            })
            .collect();
        // As written: another text may mean other limits.
        let tiers = config.get("tiers").map_or_else(String::new, Value::to_string);
        Some(Shared {
            server: redis_fields::server(config)?,
            prefix: format!("ratelimit:{}:{}:", env.route_id(), env.service_id()),
            own: bank.key(&[env.instance.id.as_bytes(), tokens.as_flattened(), tiers.as_bytes()]),
            on_fault,
            every_ms: config.get("sync_rate").and_then(Value::as_f64).filter(|&rate| rate > 0.0).map(|rate| {
                // A day: a rate that is larger than any window would be no exchange at all.
                (rate * 1000.0).clamp(20.0, 86_400_000.0) as u64
            }),
        })
    }

    /// Refuses what is known to be used up; asks Redis about everything else.
    pub(super) fn on_request(&self, limiter: &RateLimiting, cx: &mut Ctx<'_>) -> Verdict {
        let (tier, rows) = limiter.rows_of(cx);
        if rows.is_empty() {
            return Verdict::Next;
        }
        let place = (self.own, whole(limiter, cx, tier));
        let now_s = cx.now.seconds();
        if let Some(denial) = cx.locals.of(Denials::default).find(place, now_s) {
            let mut found = [None; Period::ALL.len()];
            for ((slot, row), left) in found.iter_mut().zip(rows).zip(denial.remaining) {
                let window = row.limit.period.window(cx.now);
                let reset_s = reset_s(row.limit.period, window, cx.now);
                *slot = Some(Found { key: place.1, left, reset_s, taken: None });
            }
            return limiter.deny(cx, rows, &found, 1);
        }
        if let Some(every_ms) = self.every_ms {
            if let Some(verdict) = self.count_between(every_ms, limiter, rows, cx) {
                return verdict;
            }
        }
        Verdict::Need(Need::Redis(self.take(limiter, rows, cx)))
    }

    /// Decides by what was learnt at the last exchange and has come here since; `None` where Redis has to be asked.
    fn count_between(&self, every_ms: u64, limiter: &RateLimiting, rows: &[Row], cx: &mut Ctx<'_>) -> Option<Verdict> {
        let table = sync::table(cx.locals, &self.server, every_ms);
        let (cost, naming) = (limiter.cost_of(cx), limiter.who.naming(&limiter.bank, cx));
        let mut found = [None; Period::ALL.len()];
        let mut full = false;
        for (row, slot) in rows.iter().zip(&mut found) {
            let (period, window) = (row.limit.period, row.limit.period.window(cx.now));
            let key = row.key(&naming);
            let name = || {
                let mut name = Vec::new();
                self.write_key(limiter, cx, period, window, &mut name);
                name
            };
            let used = table.borrow_mut().used(key, window, name)?;
            full |= used.saturating_add(cost) > row.limit.tokens;
            let left = row.limit.tokens.saturating_sub(used);
            *slot = Some(Found { key, left, reset_s: reset_s(period, window, cx.now), taken: None });
        }
        if full {
            return Some(limiter.deny(cx, rows, &found, 1));
        }
        // The other shards of this node have admitted what the table does not know: the node's own count does.
        let verdict = match limiter.take_here(cx) {
            Ok(verdict) => verdict,
            Err(refused) => return Some(refused),
        };
        for found in found.iter_mut().flatten() {
            table.borrow_mut().add(found.key, cost);
            found.left = found.left.saturating_sub(cost);
        }
        limiter.tell(cx, rows, &found);
        Some(verdict)
    }

    /// Keeps what Redis said, less what is given back of it, for the time up to the next exchange.
    #[expect(clippy::too_many_arguments, reason = "each is a piece of the answer")]
    fn learn(
        &self,
        every_ms: u64,
        limiter: &RateLimiting,
        rows: &[Row],
        cx: &mut Ctx<'_>,
        call: &Call,
        answers: &[Answer],
        given_back: i64,
    ) {
        let table = sync::table(cx.locals, &self.server, every_ms);
        let (asked, naming) = (WallMs(call.note), limiter.who.naming(&limiter.bank, cx));
        let names = call.commands.iter().flat_map(|command| command.args().take(command.keys as usize));
        let counts = answers.iter().flat_map(|answer| &answer.list()[1..]);
        for ((row, name), count) in rows.iter().zip(names).zip(counts) {
            let key = row.key(&naming);
            let used = (count.integer().unwrap_or(0) - given_back).clamp(0, i64::from(u32::MAX)) as u32;
            table.borrow_mut().learn(key, row.limit.period.window(asked), name, used);
        }
    }

    /// Takes what Redis said for a verdict.
    pub(super) fn on_answer(
        &self,
        limiter: &RateLimiting,
        cx: &mut Ctx<'_>,
        call: &Call,
        answers: Result<&[Answer], Fault>,
    ) -> Verdict {
        let Ok(answers) = answers else {
            return match self.on_fault {
                OnFault::Pass => Verdict::Next,
                OnFault::Fail if limiter.shadow => Verdict::Next,
                OnFault::Fail => Verdict::Reply(Box::new(Reply::message(500, "An unexpected error occurred"))),
                OnFault::Local => limiter.count_here(cx),
            };
        };
        // Windows are those that were asked about: the answer may come when the next ones have begun.
        let asked = WallMs(call.note);
        let (tier, rows) = limiter.rows_of(cx);
        let key = whole(limiter, cx, tier);
        let mut found = [None; Period::ALL.len()];
        let mut end_s = None;
        let counts = answers.iter().flat_map(|answer| &answer.list()[1..]);
        for ((slot, row), count) in found.iter_mut().zip(rows).zip(counts) {
            let used = count.integer().unwrap_or(0).clamp(0, i64::from(u32::MAX)) as u32;
            let left = row.limit.tokens.saturating_sub(used);
            let window = row.limit.period.window(asked);
            if left == 0 {
                end_s = end_s.max(Some(window.end_s));
            }
            *slot = Some(Found { key, left, reset_s: reset_s(row.limit.period, window, cx.now), taken: None });
        }
        let was_taken = |answer: &Answer| answer.list().first().and_then(Answer::integer) == Some(1);
        let all = answers.iter().all(was_taken);
        let cost = limiter.cost_of(cx);
        if let Some(every_ms) = self.every_ms {
            // The node's own count is to hold what it has admitted, whoever counted it; and it knows of other shards what
            // Redis does not know yet.
            let here = if all { limiter.take_here(cx) } else { Ok(Verdict::Next) };
            let given_back = if here.is_err() { i64::from(cost) } else { 0 };
            self.learn(every_ms, limiter, rows, cx, call, answers, given_back);
            if let Err(refused) = here {
                self.give_back(cx, call, cost, answers.iter().map(was_taken));
                return refused;
            }
        }
        if all {
            limiter.tell(cx, rows, &found);
            return Verdict::Next;
        }
        if answers.len() > 1 {
            self.give_back(cx, call, cost, answers.iter().map(was_taken));
        }
        if let Some(end_s) = end_s {
            let soon_s = asked.seconds().min(u64::from(u32::MAX) - 1) as u32 + 1;
            let end_s = if answers.len() > 1 { end_s.min(soon_s) } else { end_s };
            let mut remaining = [0; Period::ALL.len()];
            remaining.iter_mut().zip(found.iter().flatten()).for_each(|(slot, found)| *slot = found.left);
            let denial = Denial { end_s, remaining };
            cx.locals.of(Denials::default).put((self.own, key), denial, cx.now.seconds());
        }
        limiter.deny(cx, rows, &found, 1)
    }

    /// Asks for the tokens of every period: of all or none in one script, or each by itself where they lie apart.
    fn take(&self, limiter: &RateLimiting, rows: &[Row], cx: &mut Ctx<'_>) -> Box<Call> {
        let (apart, now) = (matches!(self.server.place, Place::Cluster(_)), cx.now);
        let mut call = cx.locals.of(Spare::default).call(&self.server, now.0);
        for several in rows.chunks(if apart { 1 } else { rows.len() }) {
            let shape = Shape::Integers(several.len() + 1);
            let mut command = cx.locals.of(Spare::default).script(&TAKE, several.len() as u32, shape);
            for row in several {
                command
                    .push_with(|key| self.write_key(limiter, cx, row.limit.period, row.limit.period.window(now), key));
            }
            command.push_number(i64::from(limiter.cost_of(cx)));
            for row in several {
                command.push_number(i64::from(row.limit.tokens));
                command.push_number(life_s(row.limit.period, now));
            }
            call.commands.push(command);
        }
        call
    }

    /// Gives back what was taken for a request that is refused for another period, or by the node; nobody waits for it.
    fn give_back(&self, cx: &mut Ctx<'_>, call: &Call, cost: u32, taken: impl Iterator<Item = bool>) {
        let cost = cost.to_string();
        let commands: Vec<Command> = call
            .commands
            .iter()
            .zip(taken)
            .filter(|(_, taken)| *taken)
            .flat_map(|(command, _)| command.args().take(command.keys as usize))
            .map(|key| Command::script(&GIVE_BACK, 1, Shape::Integer).arg(key).arg(cost.as_bytes()))
            .collect();
        if !commands.is_empty() {
            let call = Call { server: self.server.clone(), commands, note: 0 };
            cx.locals.of(Outbox::default).0.push(Box::new(call));
        }
    }

    /// Appends the key of a count in Redis.
    fn write_key(&self, limiter: &RateLimiting, cx: &Ctx<'_>, period: Period, window: Window, key: &mut Vec<u8>) {
        key.extend_from_slice(self.prefix.as_bytes());
        limiter.who.write(cx, key);
        // Writing to a vector cannot fail.
        let _ = write!(key, ":{}:{}", u64::from(window.start_s) * 1000, period.name());
    }
}

/// The place of all counts of an asker and a tier.
fn whole(limiter: &RateLimiting, cx: &Ctx<'_>, tier: u8) -> Key {
    limiter.who.naming(&limiter.bank, cx).part(&[WHOLE, tier]).key()
}

/// Tells what belongs to an asker as a whole from counts of single periods.
const WHOLE: u8 = u8::MAX;

/// Seconds that a new count lives.
fn life_s(period: Period, now: WallMs) -> i64 {
    let left_s = u64::from(period.window(now).end_s).saturating_sub(now.seconds());
    i64::from(period.nominal_s()).max(left_s as i64)
}

/// Windows that are used up, on this shard.
#[derive(Default)]
struct Denials {
    of: HashMap<(Key, Key), Denial, ahash::RandomState>,
    /// When it was last looked through for what is over, s.
    swept_s: u64,
}

#[derive(Clone, Copy)]
struct Denial {
    end_s: u32,
    /// What was left of each period.
    remaining: [u32; Period::ALL.len()],
}

impl Denials {
    fn find(&self, place: (Key, Key), now_s: u64) -> Option<Denial> {
        // Usually there is none at all; then nothing is hashed.
        if self.of.is_empty() {
            return None;
        }
        self.of.get(&place).copied().filter(|denial| now_s < u64::from(denial.end_s))
    }

    fn put(&mut self, place: (Key, Key), denial: Denial, now_s: u64) {
        if self.of.len() >= limits::REDIS_DENIALS_MAX && now_s != self.swept_s {
            self.swept_s = now_s;
            self.of.retain(|_, denial| now_s < u64::from(denial.end_s));
        }
        if self.of.len() < limits::REDIS_DENIALS_MAX || self.of.contains_key(&place) {
            self.of.insert(place, denial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_lives_at_least_as_long_as_its_window() {
        // 1 October 2026 has 31 days before it ends, 1 January 2028 begins a leap year.
        let (october, leap) = (WallMs(1_790_812_800_000), WallMs(1_830_297_600_000));
        let rows = [
            (Period::Second, october, 1),
            (Period::Minute, october, 60),
            (Period::Month, october, 31 * 86_400),
            (Period::Month, WallMs(october.0 + 20 * 86_400_000), 2_592_000),
            (Period::Year, leap, 366 * 86_400),
        ];
        for (period, now, want) in rows {
            assert_eq!(life_s(period, now), want, "{period:?}");
        }
    }

    #[test]
    fn denials_end_and_are_bounded() {
        let bank = Bank::new(1);
        let place = |n: u32| (bank.key(&[b"own"]), bank.key(&[&n.to_be_bytes()]));
        let denial = |end_s| Denial { end_s, remaining: [0; 6] };
        let mut denials = Denials::default();
        denials.put(place(0), denial(10), 5);
        assert!(denials.find(place(0), 9).is_some() && denials.find(place(0), 10).is_none());
        for n in 1..=limits::REDIS_DENIALS_MAX as u32 {
            denials.put(place(n), denial(20), 6);
        }
        assert_eq!(denials.of.len(), limits::REDIS_DENIALS_MAX);
        denials.put(place(u32::MAX), denial(30), 11);
        assert!(denials.find(place(u32::MAX), 12).is_some(), "what was over has made room");
    }
}
