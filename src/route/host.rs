//! From the host of a request to the buckets of matchers that may hold there.
//!
//! A bucket is a set of matchers; hosts with the same set share one. Names are found by hash: the whole host, then
//! every ending at a dot that is no longer than the longest `*.…` of the table, then every beginning likewise. The
//! port of a pattern is part of its key, so that no candidate asks for it again.
//!
//! The hash table is our own for one reason: a look-up touches two cache lines, the slot and the name, where the
//! standard one touches three. With ten thousand hosts lines are what a request waits for.

use super::pattern::fold;
use super::trie::NONE;
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
#[derive(Debug)]
pub(super) struct Hosts {
    exact: Names,
    suffixes: Names,
    prefixes: Names,
    any: u32,
    /// For names with ports: the bucket for any port or [`NONE`], and those for some.
    by_port: Vec<(u32, Vec<(u16, u32)>)>,
}

/// Names and their buckets: open addressing, at most half full, so that a probe is short and always ends.
#[derive(Debug)]
struct Names {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    held: usize,
    bytes_max: usize,
    hasher: RandomState,
}

/// A name and its buckets, or, with [`NONE`] for `name_at`, room for one. 16 bytes, four to a cache line.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    name_at: u32,
    name_len: u32,
    buckets: u32,
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
        let mut hosts = Hosts::empty();
        for name in order {
            let Some(held) = names.remove(&name) else { continue };
            let buckets = hosts.join(&held);
            match name {
                HostName::Exact(name) => hosts.exact.insert(name.as_bytes(), buckets),
                HostName::Suffix(name) => hosts.suffixes.insert(name.as_bytes(), buckets),
                HostName::Prefix(name) => hosts.prefixes.insert(name.as_bytes(), buckets),
                HostName::Any => hosts.any = buckets,
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
    /// No hosts.
    pub(super) fn empty() -> Hosts {
        Hosts { exact: Names::new(), suffixes: Names::new(), prefixes: Names::new(), any: NONE, by_port: Vec::new() }
    }

    /// Calls `each` with every bucket that holds at `host`; at most three look-ups by hash per label.
    #[inline]
    pub(super) fn visit(&self, host: &[u8], port: u16, lower: &mut Vec<u8>, mut each: impl FnMut(u32)) {
        let host = if host.iter().any(u8::is_ascii_uppercase) {
            fold(host, lower);
            lower
        } else {
            host
        };
        self.tell(self.exact.find(host), port, &mut each);
        if self.suffixes.held > 0 {
            let longest = host.len().saturating_sub(self.suffixes.bytes_max);
            for at in memchr::memchr_iter(b'.', &host[longest..]) {
                self.tell(self.suffixes.find(&host[longest + at..]), port, &mut each);
            }
        }
        if self.prefixes.held > 0 {
            let longest = host.len().min(self.prefixes.bytes_max);
            for at in memchr::memchr_iter(b'.', &host[..longest]) {
                self.tell(self.prefixes.find(&host[..=at]), port, &mut each);
            }
        }
        self.tell(self.any, port, &mut each);
    }

    #[inline]
    fn tell(&self, buckets: u32, port: u16, each: &mut impl FnMut(u32)) {
        if buckets == NONE {
            return;
        }
        if buckets & BY_PORT == 0 {
            return each(buckets);
        }
        let (any, ports) = &self.by_port[(buckets & !BY_PORT) as usize];
        for (at, bucket) in ports {
            if *at == port {
                each(*bucket);
            }
        }
        if *any != NONE {
            each(*any);
        }
    }

    /// One number for the buckets of a name.
    fn join(&mut self, held: &[(Option<u16>, u32)]) -> u32 {
        if let [(None, bucket)] = held {
            return *bucket;
        }
        let mut any = NONE;
        let mut ports = Vec::new();
        for (port, bucket) in held {
            match port {
                Some(port) => ports.push((*port, *bucket)),
                None => any = *bucket,
            }
        }
        self.by_port.push((any, ports));
        (self.by_port.len() as u32 - 1) | BY_PORT
    }
}

/// In a number that stands for buckets: an index into `Hosts::by_port`, not a bucket.
const BY_PORT: u32 = 1 << 31;

impl Names {
    fn new() -> Names {
        // Fixed seeds: the names are the operator's, and a client cannot add one.
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        Names { slots: vec![FREE; 2], bytes: Vec::new(), held: 0, bytes_max: 0, hasher }
    }

    /// Adds a name that is not there yet.
    fn insert(&mut self, name: &[u8], buckets: u32) {
        if (self.held + 1) * 2 > self.slots.len() {
            let larger = vec![FREE; self.slots.len() * 2];
            for slot in std::mem::replace(&mut self.slots, larger) {
                if slot.name_at != NONE {
                    self.place(slot);
                }
            }
        }
        let slot = Slot {
            hash: self.hasher.hash_one(name) as u32,
            name_at: self.bytes.len() as u32,
            name_len: name.len() as u32,
            buckets,
        };
        self.bytes.extend_from_slice(name);
        self.bytes_max = self.bytes_max.max(name.len());
        self.held += 1;
        self.place(slot);
    }

    /// The buckets of a name in lower case, or [`NONE`].
    #[inline]
    fn find(&self, name: &[u8]) -> u32 {
        if name.len() > self.bytes_max || self.held == 0 {
            return NONE;
        }
        let hash = self.hasher.hash_one(name) as u32;
        let mut at = hash as usize;
        loop {
            at &= self.slots.len() - 1;
            let slot = &self.slots[at];
            if slot.name_at == NONE {
                return NONE;
            }
            if slot.hash == hash && self.bytes[slot.name_at as usize..][..slot.name_len as usize] == *name {
                return slot.buckets;
            }
            at += 1;
        }
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash as usize & mask;
        while self.slots[at].name_at != NONE {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

const FREE: Slot = Slot { hash: 0, name_at: NONE, name_len: 0, buckets: NONE };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let mut names = Names::new();
        for n in 0..3000 {
            names.insert(format!("h{n}.test").as_bytes(), n);
        }
        for n in 0..4000 {
            let want = if n < 3000 { n } else { NONE };
            assert_eq!(names.find(format!("h{n}.test").as_bytes()), want);
        }
        assert_eq!(names.find(b""), NONE);
        assert_eq!(Names::new().find(b""), NONE);
    }

    #[test]
    fn names_are_read_with_their_wildcard() {
        let rows = [
            ("a.test", HostName::Exact("a.test".into())),
            ("*.test", HostName::Suffix(".test".into())),
            ("a.*", HostName::Prefix("a.".into())),
            ("*", HostName::Any),
        ];
        for (text, want) in rows {
            assert_eq!(name_of(text), want);
        }
    }
}
