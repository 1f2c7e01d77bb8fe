//! How an upstream shares requests among its targets, and by what it learns which of them are well: plain data.
//!
//! What the words mean is decided in `balance/`; who asks targets how they are is `control/probe/`, who hears it from
//! clients' requests is `shard/upstream.rs`.

use std::fmt;

/// By what a hash tells requests apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    /// By nothing.
    #[default]
    None,
    /// Consumer's id, or that of the credential where it belongs to nobody.
    Consumer,
    /// Client address after trust.
    Ip,
    /// Values of a header.
    Header(String),
    /// Value of a cookie; a client that has none is given one.
    Cookie(String),
    /// Normalised path.
    Path,
    /// Values of a query argument.
    QueryArg(String),
    /// A named group of the route's path expression.
    UriCapture(String),
}

impl HashOn {
    /// The word in configurations.
    pub fn word(&self) -> &'static str {
        match self {
            HashOn::None => "none",
            HashOn::Consumer => "consumer",
            HashOn::Ip => "ip",
            HashOn::Header(_) => "header",
            HashOn::Cookie(_) => "cookie",
            HashOn::Path => "path",
            HashOn::QueryArg(_) => "query_arg",
            HashOn::UriCapture(_) => "uri_capture",
        }
    }
}

/// What a hash is made of, and how finely the ring is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// Asked first.
    pub on: HashOn,
    /// Asked where the first is missing.
    pub fallback: HashOn,
    /// `Path` of a cookie that is made here.
    pub cookie_path: String,
    /// Points of the ring, as configured.
    pub slots: u32,
}

impl Default for Hashing {
    fn default() -> Hashing {
        Hashing { on: HashOn::None, fallback: HashOn::None, cookie_path: "/".to_owned(), slots: 10_000 }
    }
}

/// How the health of targets is learnt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// Requests made to find out; `None`: none are made.
    pub active: Option<Active>,
    /// What answers to clients' requests tell.
    pub passive: Criteria,
    /// The share of weight that must be available, percent: with that much or less nobody is asked.
    pub threshold: f64,
}

impl Checks {
    /// Can a target be found unhealthy, or probed at all? Passive successes alone have nothing to heal.
    pub fn are_on(&self) -> bool {
        let Criteria { tcp_failures, timeouts, http_failures, .. } = self.passive;
        self.active.is_some() || tcp_failures > 0 || timeouts > 0 || http_failures > 0
    }
}

/// Requests made to find out how targets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// What is tried.
    pub probe: Probe,
    /// From connecting to the status, ms.
    pub timeout_ms: u64,
    /// Probes of one upstream at a time.
    pub concurrency: u32,
    /// Path asked for; with gRPC, the service asked about behind its slash.
    pub path: String,
    /// Fields sent.
    pub headers: Vec<(String, Vec<String>)>,
    /// The name of the target in TLS; `None`: its host.
    pub sni: Option<String>,
    /// Is its certificate verified, where the node verifies at all?
    pub verify: bool,
    /// Between two probes of a healthy target, ms; 0 is never.
    pub healthy_interval_ms: u64,
    /// Between two probes of an unhealthy target, ms; 0 is never.
    pub unhealthy_interval_ms: u64,
    /// What the answers mean.
    pub criteria: Criteria,
}

/// What a probe tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// To connect.
    Tcp,
    /// To get an answer over HTTP/1.1.
    Http,
    /// The same over TLS.
    Https,
    /// To be told SERVING by `grpc.health.v1`, over HTTP/2 in the clear.
    Grpc,
    /// The same over TLS.
    Grpcs,
}

/// How many reports of a kind change what is thought of a target. A count of 0 switches its kind off: such reports do
/// nothing then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// Good answers until an unhealthy target is healthy.
    pub successes: u8,
    /// Connections that failed, or broke without an answer, until a healthy one is unhealthy.
    pub tcp_failures: u8,
    /// Timeouts until then.
    pub timeouts: u8,
    /// Bad answers until then.
    pub http_failures: u8,
    /// Statuses of good answers.
    pub good: Statuses,
    /// Statuses of bad answers. A status may be neither.
    pub bad: Statuses,
}

impl Criteria {
    /// Does no report do anything?
    pub fn is_off(&self) -> bool {
        [self.successes, self.tcp_failures, self.timeouts, self.http_failures] == [0; 4]
    }
}

/// A set of statuses, 100 to 999; a bit each.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Statuses([u64; 15]);

impl Statuses {
    /// Is it one of them? O(1).
    pub fn has(&self, status: u16) -> bool {
        let at = usize::from(status.wrapping_sub(100));
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (100..1000).filter(|&status| self.has(status))
    }
}

impl FromIterator<u16> for Statuses {
    fn from_iter<I: IntoIterator<Item = u16>>(statuses: I) -> Statuses {
        let mut set = Statuses::default();
        for status in statuses.into_iter().filter(|status| (100..1000).contains(status)) {
            let at = usize::from(status - 100);
            set.0[at / 64] |= 1 << (at % 64);
        }
        set
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_statuses_it_was_made_of_and_no_others() {
        let set: Statuses = [100, 200, 599, 999, 99, 1000, 0, 65535].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [100, 200, 599, 999]);
        for outside in [0, 99, 101, 1000, 1060, 65535] {
            assert!(!set.has(outside), "{outside}");
        }
    }

    #[test]
    fn checks_are_on_where_something_can_fail() {
        let passive = |successes, http_failures| Checks {
            passive: Criteria { successes, http_failures, ..Criteria::default() },
            ..Checks::default()
        };
        assert!(!Checks::default().are_on());
        assert!(!passive(1, 0).are_on());
        assert!(passive(0, 1).are_on());
    }
}
