//! How the targets of an upstream are, as plain data, for the Admin API and the metrics; and how a hand changes it.
//!
//! What is read are the shards' own atomics: it is as of now, and a change holds for the next request on every shard.

use super::roster;
use crate::balance::health::{suffices, Counts};
use crate::bus::{Endpoint, Located};
use crate::plan::Upstream;
use std::net::SocketAddr;

/// The words for how something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It gets requests.
    Healthy,
    /// It gets none.
    Unhealthy,
    /// Nobody checks.
    Off,
    /// It has no address.
    DnsError,
}

impl Word {
    /// As other gateways' Admin APIs write it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Word::Healthy => "HEALTHY",
            Word::Unhealthy => "UNHEALTHY",
            Word::Off => "HEALTHCHECKS_OFF",
            Word::DnsError => "DNS_ERROR",
        }
    }
}

/// An upstream.
#[derive(Debug)]
pub(super) struct UpstreamHealth {
    /// Does it answer, or [`Word::Off`]?
    pub(super) word: Word,
    /// Does it answer, whether or not anybody checks?
    pub(super) answers: bool,
    /// All of its weight.
    pub(super) weight: Weight,
    /// Its targets, in the order of the plan.
    pub(super) targets: Vec<TargetHealth>,
}

/// Weight of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Of all.
    pub(super) total: u64,
    /// Of those that get requests.
    pub(super) available: u64,
}

/// A target.
#[derive(Debug)]
pub(super) struct TargetHealth {
    /// Healthy where one of its addresses is.
    pub(super) word: Word,
    /// Of its addresses.
    pub(super) weight: Weight,
    /// Where it is.
    pub(super) addresses: Vec<AddressHealth>,
}

/// An address of a target.
#[derive(Debug)]
pub(super) struct AddressHealth {
    /// Where.
    pub(super) addr: SocketAddr,
    /// Its share of the traffic.
    pub(super) weight: u32,
    /// How it is.
    pub(super) word: Word,
    /// Does it get requests, whether or not anybody checks?
    pub(super) is_up: bool,
    /// What was counted since its health changed.
    pub(super) counts: Counts,
    /// How often it became unhealthy, and healthy again.
    pub(super) flips: (u64, u64),
}

/// How `upstream` is, which stands at `located`.
pub(super) fn of(upstream: &Upstream, located: &Located) -> UpstreamHealth {
    let are_on = upstream.checks.are_on();
    let word = |is_up: bool| match (are_on, is_up) {
        (false, _) => Word::Off,
        (true, true) => Word::Healthy,
        (true, false) => Word::Unhealthy,
    };
    let mut targets: Vec<TargetHealth> = upstream
        .targets
        .iter()
        .map(|target| {
            // A target without weight is not looked up: that it has no address says nothing.
            let word = if target.weight == 0 { word(true) } else { Word::DnsError };
            TargetHealth { word, weight: Weight::default(), addresses: Vec::new() }
        })
        .collect();
    let mut weight = Weight::default();
    for endpoint in &located.endpoints {
        let Some(target) = targets.get_mut(endpoint.target as usize) else { continue };
        let health = endpoint.member.health();
        let is_up = health.is_up();
        let share = u64::from(endpoint.weight);
        for weight in [&mut target.weight, &mut weight] {
            weight.total += share;
            weight.available += if is_up { share } else { 0 };
        }
        target.word = word(target.weight.available > 0);
        target.addresses.push(AddressHealth {
            addr: endpoint.addr,
            weight: endpoint.weight,
            word: word(is_up),
            is_up,
            counts: health.counts(),
            flips: health.flips(),
        });
    }
    let answers = suffices(weight.available, weight.total, upstream.checks.threshold);
    UpstreamHealth { word: word(answers), answers, weight, targets }
}

/// Sets every address of a target, or the one given, by hand; `false` where there is no such address. A target without
/// an address takes it as said: there is nothing to set.
pub(super) fn set(upstream: &Upstream, located: &Located, target: usize, only: Option<SocketAddr>, up: bool) -> bool {
    let mut any = only.is_none();
    let chosen =
        |endpoint: &&Endpoint| endpoint.target as usize == target && only.is_none_or(|addr| endpoint.addr == addr);
    for endpoint in located.endpoints.iter().filter(chosen) {
        any = true;
        if let Some(flip) = endpoint.member.health().set(up) {
            roster::say(flip, "the Admin API", &upstream.name, endpoint);
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::names::{questions, Book};
    use crate::control::roster::Roster;
    use crate::control::testing::{plan_of, target};
    use crate::plan::balancing::{Checks, Criteria};
    use crate::plan::Plan;

    fn plan(checks: Checks) -> Plan {
        let mut plan = plan_of(&[(
            "up",
            &[
                target("10.0.0.1", 80, 100),
                target("two.test", 80, 50),
                target("gone.test", 80, 9),
                target("10.0.0.9", 80, 0),
            ],
        )]);
        plan.upstreams[0].checks = checks;
        plan.node.hosts.insert("two.test".into(), vec!["10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()]);
        assert_eq!(questions(&plan).len(), 1);
        plan
    }

    fn words(health: &UpstreamHealth) -> Vec<&'static str> {
        health.targets.iter().map(|target| target.word.text()).collect()
    }

    #[test]
    fn a_target_is_healthy_where_one_of_its_addresses_is() {
        let checks = Checks {
            passive: Criteria { http_failures: 1, ..Criteria::default() },
            threshold: 60.0,
            ..Checks::default()
        };
        let plan = plan(checks);
        let endpoints = Book::default().endpoints(&plan, &mut Roster::default());
        let (upstream, located) = (&plan.upstreams[0], &endpoints.of["up"]);
        let now = || of(upstream, located);
        assert_eq!(words(&now()), ["HEALTHY", "HEALTHY", "DNS_ERROR", "HEALTHY"]);
        assert_eq!(now().weight, Weight { total: 200, available: 200 });

        let second = "10.0.0.2:80".parse().unwrap();
        assert!(set(upstream, located, 1, Some(second), false));
        assert_eq!(words(&now())[1], "HEALTHY");
        assert_eq!(now().targets[1].weight, Weight { total: 100, available: 50 });
        assert!(now().answers);

        assert!(set(upstream, located, 1, None, false));
        assert_eq!(
            (words(&now())[1], now().word.text()),
            ("UNHEALTHY", "UNHEALTHY"),
            "half of the weight is too little"
        );
        assert!(!set(upstream, located, 0, Some(second), false), "the address is another target's");
        assert_eq!(words(&now())[0], "HEALTHY");

        assert!(set(upstream, located, 1, None, true));
        assert!(now().targets[1].addresses.iter().all(|address| address.is_up && address.flips == (1, 1)));
    }

    #[test]
    fn where_nobody_checks_that_is_what_is_said() {
        let plan = plan(Checks::default());
        let endpoints = Book::default().endpoints(&plan, &mut Roster::default());
        let (upstream, located) = (&plan.upstreams[0], &endpoints.of["up"]);
        set(upstream, located, 0, None, false);
        let health = of(upstream, located);
        assert_eq!(words(&health), ["HEALTHCHECKS_OFF", "HEALTHCHECKS_OFF", "DNS_ERROR", "HEALTHCHECKS_OFF"]);
        assert!(health.answers && !health.targets[0].addresses[0].is_up);
    }
}
