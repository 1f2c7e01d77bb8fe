//! The certificate a client has shown, as plugins, upstreams and logs are told of it.

use crate::base::time::WallMs;
use std::cell::RefCell;

/// Verdicts of plugins that a connection remembers: few instances look at one connection's requests.
const VERDICTS_MAX: usize = 8;

/// The certificate of a client. One per connection, made when it is shown.
#[derive(Debug, Default)]
pub struct ClientCertificate {
    /// Its subject as RFC 2253 writes it.
    pub subject: String,
    /// The common name of its subject; empty where it has none.
    pub common_name: String,
    /// Hosts it is for, lower-case.
    pub dns: Vec<String>,
    /// URIs it is for.
    pub uris: Vec<String>,
    /// Mail addresses it is for.
    pub emails: Vec<String>,
    /// Addresses it is for.
    pub ips: Vec<String>,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// SHA-256 of it, lower-case hex.
    pub sha256: String,
    /// Until when it holds, seconds of the wall clock.
    pub not_after: i64,
    /// It and those that vouch for it, DER.
    pub chain: Vec<Vec<u8>>,
    /// Was it verified when it was shown? Where not, it is only known to be the client's.
    pub is_verified: bool,
    /// What `X-Forwarded-Client-Cert` says of it.
    pub element: String,
    /// What plugins have found about it.
    pub verdicts: Verdicts,
}

/// Verdicts on a certificate.
#[derive(Debug, Default)]
pub struct Verdicts(RefCell<Vec<Verdict>>);

/// What was found about it by one measure.
#[derive(Debug)]
struct Verdict {
    key: u64,
    good: bool,
    until: WallMs,
}

impl ClientCertificate {
    /// Every name it is for beside its subject: mail addresses, hosts, URIs, addresses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.dns.iter().chain(&self.emails).chain(&self.uris).chain(&self.ips).map(String::as_str)
    }

    /// Is it good by the measure `key`? As `verify` says, asked at most once in `ttl_ms` and never for longer than the
    /// certificate holds.
    pub fn is_good(&self, key: u64, now: WallMs, ttl_ms: u64, verify: impl FnOnce() -> bool) -> bool {
        let mut verdicts = self.verdicts.0.borrow_mut();
        if let Some(held) = verdicts.iter().find(|held| held.key == key && now < held.until) {
            return held.good;
        }
        let good = verify();
        verdicts.retain(|held| held.key != key && now < held.until);
        if verdicts.len() < VERDICTS_MAX {
            let end = u64::try_from(self.not_after).unwrap_or(0).saturating_mul(1000);
            let until = now.0.saturating_add(ttl_ms);
            verdicts.push(Verdict { key, good, until: WallMs(if good { until.min(end) } else { until }) });
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_remembered_for_a_while() {
        let client = ClientCertificate { not_after: 100, ..ClientCertificate::default() };
        let ask = |key, now, good| client.is_good(key, WallMs(now), 60_000, || good);
        assert!(ask(1, 0, true));
        assert!(ask(1, 59_999, false), "remembered");
        assert!(!ask(2, 0, false), "another measure");
        assert!(!ask(1, 60_000, false), "asked again");
        assert!(ask(3, 90_000, true) && !ask(3, 100_000, false), "not beyond its end");
    }
}
