//! From the host of a request to the buckets of matchers that may hold there.
//!
//! A bucket is a set of matchers; hosts with the same set share one. Names are found by hash: the whole host, then
//! every ending at a dot that is no longer than the longest `*.…` of the table, then every beginning likewise. The
//! port of a pattern is part of its key, so that no candidate asks for it again.

use super::pattern::fold;
use crate::plan::{HostName, HostPattern};
use ahash::RandomState;
use std::collections::{BTreeSet, HashMap};

/// Does the host of a request (any case) fit the name of a route?
pub(super) fn fits(name: &HostName, host: &[u8]) -> bool {
    match name {
        HostName::Exact(want) => host.eq_ignore_ascii_case(want.as_bytes()),
        HostName::Suffix(want) => {
            host.len() >= want.len() && host[host.len() - want.len()..].eq_ignore_ascii_case(want.as_bytes())
        }
        HostName::Prefix(want) => host.len() >= want.len() && host[..want.len()].eq_ignore_ascii_case(want.as_bytes()),
        HostName::Any => true,
    }
}

/// Reads `a.test`, `*.test`, `a.*` or `*`.
pub(super) fn name_of(text: &str) -> HostName {
    match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(""), _) => HostName::Any,
        (Some(rest), _) => HostName::Suffix(rest.into()),
        (None, Some(rest)) => HostName::Prefix(rest.into()),
        (None, None) => HostName::Exact(text.into()),
    }
}

/// The hosts of a table.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: Names,
    suffixes: Names,
    prefixes: Names,
    any: Slot,
    ports: Vec<(u16, u32)>,
}

#[derive(Debug)]
struct Names {
    slots: HashMap<Box<[u8]>, Slot, RandomState>,
    bytes_max: usize,
}

/// The buckets of one name: for any port, and for some.
#[derive(Clone, Copy, Debug)]
struct Slot {
    bucket: u32,
    /// Range of `Hosts::ports`.
    ports_at: u32,
    ports_end: u32,
}

/// No bucket.
pub(super) const NONE: u32 = u32::MAX;

impl Default for Slot {
    fn default() -> Slot {
        Slot { bucket: NONE, ports_at: 0, ports_end: 0 }
    }
}

impl Default for Names {
    fn default() -> Names {
        // Fixed seeds: the names are the operator's, not a client's, and a client cannot add one.
        Names { slots: HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4)), bytes_max: 0 }
    }
}

/// Gathers which matchers hold at which host; turns into [`Hosts`].
#[derive(Default)]
pub(super) struct Gather {
    /// `None` for matchers without hosts, which hold everywhere, as those of `*` do.
    at: HashMap<(HostName, Option<u16>), BTreeSet<u32>>,
}

impl Gather {
    /// Matcher number `ord` holds at these hosts.
    pub(super) fn add(&mut self, ord: u32, hosts: &[HostPattern]) {
        if hosts.is_empty() {
            self.at.entry((HostName::Any, None)).or_default().insert(ord);
        }
        for host in hosts {
            let name = match &host.name {
                HostName::Exact(name) => HostName::Exact(name.to_ascii_lowercase()),
                HostName::Suffix(name) => HostName::Suffix(name.to_ascii_lowercase()),
                HostName::Prefix(name) => HostName::Prefix(name.to_ascii_lowercase()),
                HostName::Any => HostName::Any,
            };
            self.at.entry((name, host.port)).or_default().insert(ord);
        }
    }

    /// Indexes the hosts. `bucket` is given every distinct set of matchers once, and says its number.
    pub(super) fn finish(self, mut bucket: impl FnMut(&[u32]) -> u32) -> Hosts {
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut names: HashMap<HostName, Vec<(Option<u16>, u32)>> = HashMap::new();
        let mut sorted: Vec<_> = self.at.into_iter().collect();
        // By the best matcher: what is looked up together lies together, and a table compiles the same every time.
        sorted.sort_by(|a, b| a.1.first().cmp(&b.1.first()).then_with(|| sort_key(&a.0).cmp(&sort_key(&b.0))));
        let mut order = Vec::new();
        for ((name, port), matchers) in sorted {
            let matchers: Vec<u32> = matchers.into_iter().collect();
            let ix = *known.entry(matchers).or_insert_with_key(|matchers| bucket(matchers));
            let held = names.entry(name.clone()).or_default();
            if held.is_empty() {
                order.push(name);
            }
            held.push((port, ix));
        }
        let mut hosts = Hosts::default();
        for name in order {
            let Some(held) = names.remove(&name) else { continue };
            let slot = hosts.slot(&held);
            match name {
                HostName::Exact(name) => hosts.exact.insert(name, slot),
                HostName::Suffix(name) => hosts.suffixes.insert(name, slot),
                HostName::Prefix(name) => hosts.prefixes.insert(name, slot),
                HostName::Any => hosts.any = slot,
            }
        }
        hosts
    }
}

fn sort_key((name, port): &(HostName, Option<u16>)) -> (u8, &str, Option<u16>) {
    match name {
        HostName::Exact(name) => (0, name, *port),
        HostName::Suffix(name) => (1, name, *port),
        HostName::Prefix(name) => (2, name, *port),
        HostName::Any => (3, "", *port),
    }
}

impl Hosts {
    /// Calls `each` with every bucket that holds at `host`; at most three look-ups by hash per label.
    pub(super) fn visit(&self, host: &[u8], port: u16, lower: &mut Vec<u8>, mut each: impl FnMut(u32)) {
        let host = match host.iter().any(u8::is_ascii_uppercase) {
            true => {
                fold(host, lower);
                lower
            }
            false => host,
        };
        if let Some(slot) = self.exact.find(host) {
            self.tell(slot, port, &mut each);
        }
        if self.suffixes.bytes_max > 0 {
            for at in (host.len().saturating_sub(self.suffixes.bytes_max)..host.len()).filter(|at| host[*at] == b'.') {
                if let Some(slot) = self.suffixes.find(&host[at..]) {
                    self.tell(slot, port, &mut each);
                }
            }
        }
        if self.prefixes.bytes_max > 0 {
            for at in (0..host.len().min(self.prefixes.bytes_max)).filter(|at| host[*at] == b'.') {
                if let Some(slot) = self.prefixes.find(&host[..=at]) {
                    self.tell(slot, port, &mut each);
                }
            }
        }
        self.tell(self.any, port, &mut each);
    }

    fn tell(&self, slot: Slot, port: u16, each: &mut impl FnMut(u32)) {
        for (at, bucket) in &self.ports[slot.ports_at as usize..slot.ports_end as usize] {
            if *at == port {
                each(*bucket);
            }
        }
        if slot.bucket != NONE {
            each(slot.bucket);
        }
    }

    fn slot(&mut self, held: &[(Option<u16>, u32)]) -> Slot {
        let mut slot = Slot { ports_at: self.ports.len() as u32, ..Slot::default() };
        for (port, bucket) in held {
            match port {
                Some(port) => self.ports.push((*port, *bucket)),
                None => slot.bucket = *bucket,
            }
        }
        slot.ports_end = self.ports.len() as u32;
        slot
    }
}

impl Names {
    fn insert(&mut self, name: String, slot: Slot) {
        self.bytes_max = self.bytes_max.max(name.len());
        self.slots.insert(name.into_bytes().into(), slot);
    }

    fn find(&self, name: &[u8]) -> Option<Slot> {
        if name.len() > self.bytes_max {
            return None;
        }
        self.slots.get(name).copied()
    }
}
