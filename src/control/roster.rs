//! The members of upstreams: what all shards share of an address of a target. Keyed by names and addresses, so that a
//! target which is unhealthy is so after a reload, whatever else the new configuration adds or takes away.
//!
//! Owned by the loop, which alone makes and drops members; shards, probes and the Admin API get them with the endpoints.

use crate::balance::health::Flip;
use crate::balance::Member;
use crate::bus::{Endpoint, Endpoints};
use crate::plan::Plan;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Roster {
    of: HashMap<String, HashMap<(Arc<str>, SocketAddr), Arc<Member>>>,
}

impl Roster {
    /// The member at `addr` by which the target `host` of `upstream` can be reached; healthy where there was none.
    pub(super) fn of(&mut self, upstream: &str, host: &Arc<str>, addr: SocketAddr) -> Arc<Member> {
        if !self.of.contains_key(upstream) {
            self.of.insert(upstream.to_owned(), HashMap::new());
        }
        let members = self.of.get_mut(upstream).expect("it was just put there");
        members.entry((host.clone(), addr)).or_default().clone()
    }

    /// Forgets members that nobody else holds: neither the endpoints that the loop has sent last, nor a shard, nor a probe.
    /// What a request in flight still holds is forgotten the next time.
    pub(super) fn sweep(&mut self) {
        self.of.retain(|_, members| {
            members.retain(|_, member| Arc::strong_count(member) > 1);
            !members.is_empty()
        });
    }
}

/// Makes the targets of upstreams well whose checks a reload has switched off: nobody is left to find out that they are.
/// What a hand has set where nobody checked before stays.
pub(super) fn release(before: &Plan, now: &Plan, endpoints: &Endpoints) {
    let checked: HashSet<&str> =
        before.upstreams.iter().filter(|upstream| upstream.checks.are_on()).map(|upstream| &*upstream.name).collect();
    for upstream in
        now.upstreams.iter().filter(|upstream| !upstream.checks.are_on() && checked.contains(&*upstream.name))
    {
        for endpoint in endpoints.of.get(&upstream.name).map(|located| &*located.endpoints).unwrap_or_default() {
            if let Some(flip) = endpoint.member.health().set(true) {
                say(flip, "nobody: its checks are off", &upstream.name, endpoint);
            }
        }
    }
}

/// Says in the log that a target was found to be other than was thought.
pub(super) fn say(flip: Flip, found_by: &'static str, upstream: &str, endpoint: &Endpoint) {
    let (host, port, address) = (&endpoint.host, endpoint.port, endpoint.addr);
    // A warning both ways: who was told of the one wants to hear of the other.
    tracing::warn!(upstream, %host, port, %address, found_by, "{}", flip.text());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::names::Book;
    use crate::control::testing::{plan_of, target};

    #[test]
    fn checks_that_are_switched_off_leave_nobody_ill() {
        let plan = |name: &str, http_failures| {
            let mut plan = plan_of(&[(name, &[target("10.0.0.1", 80, 100)])]);
            plan.upstreams[0].checks.passive.http_failures = http_failures;
            plan
        };
        for (before, now, want) in [
            (plan("up", 3), plan("up", 0), true),
            (plan("up", 3), plan("up", 1), false),
            (plan("up", 0), plan("up", 0), false),
            (plan("other", 3), plan("up", 0), false),
        ] {
            let endpoints = Book::default().endpoints(&now, &mut Roster::default());
            let health = endpoints.of["up"].endpoints[0].member.health();
            health.set(false);
            release(&before, &now, &endpoints);
            assert_eq!(health.is_up(), want);
        }
    }

    #[test]
    fn members_outlive_reloads_and_nothing_else() {
        let mut roster = Roster::default();
        let one = target("10.0.0.1", 80, 100);
        let book = Book::default();
        let first = book.endpoints(&plan_of(&[("up", std::slice::from_ref(&one)), ("other", &[])]), &mut roster);
        first.of["up"].endpoints[0].member.health().set(false);

        let more = plan_of(&[("up", &[target("10.0.0.2", 80, 1), one.clone()]), ("new", std::slice::from_ref(&one))]);
        let second = book.endpoints(&more, &mut roster);
        let up =
            |endpoints: &Endpoints, name: &str, at: usize| endpoints.of[name].endpoints[at].member.health().is_up();
        assert!(up(&second, "up", 0) && !up(&second, "up", 1), "health did not survive");
        assert!(up(&second, "new", 0), "another upstream's health is its own");

        drop(first);
        let third = book.endpoints(&plan_of(&[("up", &[target("10.0.0.2", 80, 1)])]), &mut roster);
        drop(second);
        roster.sweep();
        assert!(up(&third, "up", 0));
        assert_eq!(roster.of.values().map(HashMap::len).sum::<usize>(), 1);
        let fourth = book.endpoints(&plan_of(&[("up", &[one])]), &mut roster);
        assert!(up(&fourth, "up", 0), "a target that was gone begins anew");
    }
}
