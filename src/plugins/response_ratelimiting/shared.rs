//! Policy `redis`: counts that several gateways share.
//!
//! On its way to the upstream a request asks Redis what is used; on the way back what the answer uses is added, and nobody
//! waits for that. Keys and values are those of other gateways that keep their counts so, and a fleet can be moved node by
//! node: `response-ratelimit:<route>:<service>:<who>:<window's start, ms>:<name>:<period>`, an integer. A new count ends with
//! its window.
//!
//! **How exact that is.** What Redis said, and what answers have used since, is known to the shard. Of answers that come at
//! once on other shards and gateways it is not known yet, so these may use more than is left: as many as were under way
//! when the last of it was used. Nothing that was used is lost, unless Redis goes away before it is told.
//!
//! A name that is known to be used up is not asked about where that refuses the request (`block_on_first_violation`).
//!
//! When Redis cannot be asked, `fault_tolerant` says whether requests pass, uncounted and told nothing, or get a 500.

use super::super::redis_fields;
use super::{Limit, Name, ResponseRatelimiting};
use crate::base::limits::{NAMED_LIMITS_MAX, REDIS_KNOWN_MAX};
use crate::base::time::WallMs;
use crate::hook::{Ctx, Env, Locals, Outbox};
use crate::limit::bank::{Key, Naming};
use crate::limit::window::{Period, Window};
use crate::redis::script::ADD;
use crate::redis::{Call, Place, Reply as Answer, Server, Shape, Spare};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

/// How an instance shares its counts.
pub(super) struct Shared {
    server: Arc<Server>,
    /// What keys of this instance begin with.
    prefix: String,
    /// Do requests pass when Redis cannot be asked?
    pub(super) tolerant: bool,
}

impl Shared {
    /// As `policy` and its companions say; `None` where counts are kept here.
    pub(super) fn of(config: &Value, env: &Env<'_>) -> Option<Shared> {
        if config.get("policy").and_then(Value::as_str) != Some("redis") {
            return None;
        }
        Some(Shared {
            server: redis_fields::server(config)?,
            prefix: format!("response-ratelimit:{}:{}:", env.route_id(), env.service_id()),
            tolerant: config.get("fault_tolerant").and_then(Value::as_bool).unwrap_or(true),
        })
    }

    /// Asks for every count of whoever sends this: all at once, or each by itself where they lie apart.
    pub(super) fn ask(&self, limiter: &ResponseRatelimiting, cx: &mut Ctx<'_>) -> Box<Call> {
        let apart = matches!(self.server.place, Place::Cluster(_));
        let count = if apart { 1 } else { each(&limiter.names).count() };
        let mut call = cx.locals.of(Spare::default).call(&self.server, cx.now.0);
        for (name, limit) in each(&limiter.names) {
            if apart || call.commands.is_empty() {
                call.commands.push(cx.locals.of(Spare::default).plain("MGET", Shape::Texts(count)));
            }
            if let Some(command) = call.commands.last_mut() {
                let window = limit.period.window(cx.now);
                command.push_with(|key| self.write_key(limiter, cx, name, limit.period, window, key));
            }
        }
        call
    }

    /// Keeps what Redis said.
    pub(super) fn learn(limiter: &ResponseRatelimiting, cx: &mut Ctx<'_>, call: &Call, answers: &[Answer]) {
        let (who, asked) = (limiter.who.naming(&limiter.bank, cx), WallMs(call.note));
        let known = cx.locals.of(Known::default);
        let counts = answers.iter().flat_map(Answer::list);
        for ((name, limit), count) in each(&limiter.names).zip(counts) {
            let used = count.text().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            let used = used.clamp(0, i64::from(u32::MAX)) as u32;
            known.put(name.key(&who, limit), limit.period.window(asked), used);
        }
    }

    /// Forgets what is known of whoever sends this.
    pub(super) fn forget(limiter: &ResponseRatelimiting, cx: &mut Ctx<'_>) {
        let who = limiter.who.naming(&limiter.bank, cx);
        let known = cx.locals.of(Known::default);
        for (name, limit) in each(&limiter.names) {
            known.forget(name.key(&who, limit));
        }
    }

    /// Uses these amounts of all their names and periods, or of none where nothing is left of one: `false`.
    pub(super) fn spend(
        &self,
        limiter: &ResponseRatelimiting,
        cx: &mut Ctx<'_>,
        who: &Naming,
        amounts: &[u32; NAMED_LIMITS_MAX],
    ) -> bool {
        let names = || limiter.names.iter().zip(amounts).filter(|(_, &amount)| amount > 0);
        let known = cx.locals.of(Known::default);
        let is_full = |(name, limit): (&Name, &Limit)| {
            let used = known.used(name.key(who, limit), limit.period.window(cx.now));
            used.is_some_and(|used| used >= limit.amount)
        };
        if names().any(|(name, _)| name.limits.iter().any(|limit| is_full((name, limit)))) {
            return false;
        }
        let mut call = cx.locals.of(Spare::default).call(&self.server, 0);
        for (name, &amount) in names() {
            for limit in &name.limits {
                let window = limit.period.window(cx.now);
                cx.locals.of(Known::default).add(name.key(who, limit), window, amount);
                let mut command = cx.locals.of(Spare::default).script(&ADD, 1, Shape::Integer);
                command.push_with(|key| self.write_key(limiter, cx, name, limit.period, window, key));
                command.push_number(i64::from(amount));
                command.push_number(i64::from(window.end_s));
                call.commands.push(command);
            }
        }
        cx.locals.of(Outbox::default).0.push(call);
        true
    }

    /// Appends the key of a count in Redis.
    fn write_key(
        &self,
        limiter: &ResponseRatelimiting,
        cx: &Ctx<'_>,
        name: &Name,
        period: Period,
        window: Window,
        key: &mut Vec<u8>,
    ) {
        key.extend_from_slice(self.prefix.as_bytes());
        limiter.who.write(cx, key);
        // Writing to a vector cannot fail.
        let _ = write!(key, ":{}:{}:{}", u64::from(window.start_s) * 1000, name.name, period.name());
    }
}

/// Every limit with its name.
fn each(names: &[Name]) -> impl Iterator<Item = (&Name, &Limit)> {
    names.iter().flat_map(|name| name.limits.iter().map(move |limit| (name, limit)))
}

/// What is used of a count, as far as this shard knows; `None` where Redis has not told.
pub(super) fn used(locals: &mut Locals, key: Key, window: Window) -> Option<u32> {
    locals.of(Known::default).used(key, window)
}

/// Counts as Redis told them, and what answers have used since, on this shard.
///
/// What was asked about last is always there. When half of the bound is new, the half before it is forgotten: at once, and
/// nothing is looked through.
#[derive(Default)]
struct Known {
    new: Counts,
    old: Counts,
}

type Counts = HashMap<Key, Count, ahash::RandomState>;

#[derive(Clone, Copy)]
struct Count {
    /// End of its window.
    end_s: u32,
    used: u32,
}

impl Known {
    fn count(&self, key: Key) -> Option<&Count> {
        self.new.get(&key).or_else(|| self.old.get(&key))
    }

    /// What is used of a window; of one that follows the known one nothing.
    fn used(&self, key: Key, window: Window) -> Option<u32> {
        let count = self.count(key)?;
        Some(if count.end_s < window.end_s { 0 } else { count.used })
    }

    fn put(&mut self, key: Key, window: Window, used: u32) {
        // What an answer has used meanwhile may not have been counted in Redis when it was asked; counts only grow.
        let count = match self.count(key) {
            Some(count) if count.end_s > window.end_s => *count,
            Some(count) if count.end_s == window.end_s => Count { used: used.max(count.used), ..*count },
            _ => Count { end_s: window.end_s, used },
        };
        if self.new.len() >= REDIS_KNOWN_MAX / 2 && !self.new.contains_key(&key) {
            std::mem::swap(&mut self.new, &mut self.old);
            self.new.clear();
        }
        self.new.insert(key, count);
    }

    fn add(&mut self, key: Key, window: Window, amount: u32) {
        let Some(count) = self.new.get_mut(&key).or_else(|| self.old.get_mut(&key)) else { return };
        let before = if count.end_s < window.end_s { 0 } else { count.used };
        *count = Count { end_s: count.end_s.max(window.end_s), used: before.saturating_add(amount) };
    }

    fn forget(&mut self, key: Key) {
        self.new.remove(&key);
        self.old.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::bank::Bank;

    #[test]
    fn counts_follow_their_windows_and_are_bounded() {
        let bank = Bank::new(1);
        let key = |n: u32| bank.key(&[&n.to_be_bytes()]);
        let (one, two) = (Window { start_s: 0, end_s: 10 }, Window { start_s: 10, end_s: 20 });
        let mut known = Known::default();
        assert_eq!(known.used(key(0), one), None);
        known.put(key(0), one, 3);
        known.add(key(0), one, 2);
        assert_eq!(known.used(key(0), one), Some(5));
        // Redis was asked before the answer was counted.
        known.put(key(0), one, 3);
        assert_eq!((known.used(key(0), one), known.used(key(0), two)), (Some(5), Some(0)));
        known.add(key(0), two, 1);
        assert_eq!(known.used(key(0), two), Some(1));
        known.put(key(0), two, 9);
        assert_eq!(known.used(key(0), two), Some(9));
        known.add(key(7), one, 1);
        assert_eq!(known.used(key(7), one), None, "only what Redis told of");
        for n in 1..=2 * REDIS_KNOWN_MAX as u32 {
            known.put(key(n), one, n);
            assert_eq!(known.used(key(n), one), Some(n), "however many live, Redis is believed");
        }
        assert!(known.new.len() + known.old.len() <= REDIS_KNOWN_MAX);
        let last = 2 * REDIS_KNOWN_MAX as u32;
        let recent = key(last - REDIS_KNOWN_MAX as u32 / 2 + 1);
        assert!(known.used(recent, one).is_some(), "the last half is known");
        assert_eq!(known.used(key(1), one), None);
        known.add(key(last), one, 1);
        known.forget(key(last));
        assert_eq!(known.used(key(last), one), None);
    }
}
