//! Asks targets how they are: active health checks, on the control thread, over connections of their own.
//!
//! One task follows what the loop has sent to the shards last. Every upstream with active checks has two clocks, one for
//! its healthy targets and one for the others; when one strikes, every target that is so at that moment is probed, unless
//! its last probe is still on its way. Probes of one upstream are bounded by its `concurrency`, all of them by
//! [`limits::PROBES_MAX`]. A reload or new addresses leave the clocks of upstreams that stay running.
//!
//! What a probe finds goes to the target's [`Health`](crate::balance::health::Health), which shards read. What one probe does
//! is in `ask`.

mod ask;

use super::roster;
use crate::balance::health::Report;
use crate::base::limits;
use crate::base::time::Millis;
use crate::bus::{Endpoint, Endpoints};
use crate::plan::balancing::{Active, Probe};
use crate::plan::tls::{NodeTls, PemPair};
use crate::plan::{Plan, Upstream};
use crate::tls::certs::{Kept, Pair};
use crate::tls::settings::{self, Client};
use crate::tls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{watch, Semaphore};
use tokio::time::Instant;

/// The way to the task. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Prober {
    wards: watch::Sender<Vec<Arc<Ward>>>,
    settings: Settings,
}

/// An upstream whose targets are probed.
#[derive(Debug, PartialEq)]
struct Ward {
    upstream: String,
    host_header: Option<String>,
    active: Active,
    endpoints: Vec<Endpoint>,
    /// `None` in the clear.
    tls: Option<Tls>,
}

impl Ward {
    /// What a target is called in requests.
    fn host<'a>(&'a self, endpoint: &'a Endpoint) -> &'a str {
        self.host_header.as_deref().unwrap_or(&endpoint.host)
    }
}

/// How targets are asked over TLS; the same while nothing of it changes.
#[derive(Clone, Debug)]
struct Tls(Arc<ClientConfig>);

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Settings of TLS that probes have needed so far, for one generation of the node's own.
#[derive(Debug, Default)]
struct Settings {
    node: NodeTls,
    roots: Option<Arc<RootCertStore>>,
    /// By whether a certificate is verified, whether HTTP/2 is spoken, and what is shown.
    made: HashMap<(bool, bool, Option<PemPair>), Tls>,
    /// What files held when it last could be read, by their names: shown on while they are broken, as requests show it.
    kept: Kept,
}

/// Sessions that probes of one kind remember.
const SESSIONS_MAX: usize = 64;

impl Settings {
    /// Those of a probe; as for services that say nothing of their own, nobody is verified where nobody vouches.
    fn of(&mut self, node: &NodeTls, active: &Active, shown: Option<&PemPair>) -> Option<Tls> {
        let http2 = active.probe == Probe::Grpcs;
        if !http2 && active.probe != Probe::Https {
            return None;
        }
        if self.node != *node {
            *self = Settings { node: node.clone(), kept: std::mem::take(&mut self.kept), ..Settings::default() };
        }
        let verify = active.verify && node.upstream_verify;
        let key = (verify, http2, shown.cloned());
        if let Some(tls) = self.made.get(&key) {
            return Some(tls.clone());
        }
        // Those of certificates that were replaced are needed no more.
        if self.made.len() >= limits::PROBE_SETTINGS_MAX {
            self.made.clear();
        }
        let roots = match verify {
            true => self.roots().filter(|roots| !roots.is_empty()),
            false => None,
        };
        let alpn = if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() };
        let identity = shown.and_then(|pem| self.pair(pem));
        let client = Client { roots, depth: None, identity, alpn: vec![alpn] };
        match client.build(SESSIONS_MAX) {
            Ok(config) => {
                self.made.insert(key, Tls(config.clone()));
                Some(Tls(config))
            }
            Err(why) => {
                tracing::error!("probes over TLS cannot be made: {why}");
                None
            }
        }
    }

    /// What is shown; what is wrong with a pair was found when the configuration was compiled.
    fn pair(&mut self, pem: &PemPair) -> Option<Pair> {
        let Ok(pair) = Pair::read(&pem.chain, &pem.key.0, None) else { return self.kept.find(&pem.files) };
        if !pem.files.is_empty() {
            self.kept.put(&pem.files, &pair);
        }
        Some(pair)
    }

    /// Who vouches for targets. Reads the system's authorities, some milliseconds, once.
    fn roots(&mut self) -> Option<Arc<RootCertStore>> {
        if self.roots.is_none() {
            let mut roots = match self.node.system_authorities {
                true => settings::system_roots(),
                false => RootCertStore::empty(),
            };
            // What is wrong with them was found when the configuration was compiled.
            if let Ok(more) = settings::roots_of(std::iter::once(self.node.upstream_authorities.as_str())) {
                roots.extend(more.roots);
            }
            self.roots = Some(Arc::new(roots));
        }
        self.roots.clone()
    }
}

impl Prober {
    /// Starts the task on the current runtime; it probes nobody yet.
    pub(super) fn start() -> Prober {
        let (sender, wards) = watch::channel(Vec::new());
        tokio::spawn(run(wards));
        Prober { wards: sender, settings: Settings::default() }
    }

    /// Probes the targets of `plan` at `endpoints` from now on, and no others.
    pub(super) fn follow(&mut self, plan: &Plan, endpoints: &Endpoints) {
        let node = &plan.node.tls;
        let wards = plan.upstreams.iter().filter_map(|upstream| {
            let shown = upstream.certificate.and_then(|ix| plan.secure.certificates.get(ix)?.pairs.first());
            ward(upstream, endpoints, node, shown, &mut self.settings)
        });
        let wards: Vec<Arc<Ward>> = wards.map(Arc::new).collect();
        self.wards.send_if_modified(|held| {
            let changed = *held != wards;
            *held = wards;
            changed
        });
    }
}

fn ward(
    upstream: &Upstream,
    endpoints: &Endpoints,
    node: &NodeTls,
    shown: Option<&PemPair>,
    settings: &mut Settings,
) -> Option<Ward> {
    let active = upstream.checks.active.clone()?;
    let endpoints = endpoints.of.get(&upstream.name).map(|located| located.endpoints.clone()).unwrap_or_default();
    let tls = settings.of(node, &active, shown);
    let (name, host_header) = (upstream.name.clone(), upstream.host_header.clone());
    Some(Ward { upstream: name, host_header, active, endpoints, tls })
}

async fn run(mut wards: watch::Receiver<Vec<Arc<Ward>>>) {
    let born = Instant::now();
    let now = || Millis(u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX));
    let places = Arc::new(Semaphore::new(limits::PROBES_MAX));
    let mut rounds: Vec<Round> = Vec::new();
    loop {
        for round in &mut rounds {
            for at in round.take_due(now()) {
                tokio::spawn(probe(round.ward.clone(), at, [round.places.clone(), places.clone()]));
            }
        }
        let due = rounds.iter().filter_map(Round::next_due).min();
        let until_due = async {
            match due {
                // One more, since `now` is rounded down.
                Some(due) => {
                    tokio::time::sleep(Duration::from_millis(due.0.saturating_sub(now().0).saturating_add(1))).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = wards.changed() => {
                if changed.is_err() {
                    return;
                }
                rounds = follow(rounds, &wards.borrow_and_update(), now());
            }
            () = until_due => {}
        }
    }
}

/// The rounds of `wards`; those of upstreams that were there before keep their clocks.
fn follow(rounds: Vec<Round>, wards: &[Arc<Ward>], now: Millis) -> Vec<Round> {
    let mut before: HashMap<String, Round> =
        rounds.into_iter().map(|round| (round.ward.upstream.clone(), round)).collect();
    let round = |ward: &Arc<Ward>| Round::new(ward.clone(), before.remove(&ward.upstream), now);
    wards.iter().map(round).collect()
}

/// The clocks of one upstream.
struct Round {
    ward: Arc<Ward>,
    places: Arc<Semaphore>,
    well: Clock,
    ill: Clock,
}

/// Strikes at once and then every so often.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// ms; 0 is never.
    interval: u64,
    due: Millis,
}

impl Clock {
    fn new(interval: u64, before: Option<Clock>, now: Millis) -> Clock {
        let interval = if interval == 0 { 0 } else { interval.max(limits::PROBE_INTERVAL_MS_MIN) };
        match before {
            Some(clock) if clock.interval == interval => clock,
            _ => Clock { interval, due: now },
        }
    }

    fn strikes(&mut self, now: Millis) -> bool {
        let strikes = self.interval > 0 && self.due <= now;
        if strikes {
            // From now on: a thread that was late does not probe twice to make up for it.
            self.due = Millis(now.0 + self.interval);
        }
        strikes
    }
}

impl Round {
    fn new(ward: Arc<Ward>, before: Option<Round>, now: Millis) -> Round {
        let active = &ward.active;
        let same = before.as_ref().filter(|round| round.ward.active.concurrency == active.concurrency);
        let concurrency = (active.concurrency as usize).min(limits::PROBES_MAX);
        let places = same.map_or_else(|| Arc::new(Semaphore::new(concurrency)), |round| round.places.clone());
        let well = Clock::new(active.healthy_interval_ms, before.as_ref().map(|round| round.well), now);
        let ill = Clock::new(active.unhealthy_interval_ms, before.as_ref().map(|round| round.ill), now);
        Round { ward, places, well, ill }
    }

    /// Places of the targets to probe now.
    fn take_due(&mut self, now: Millis) -> Vec<usize> {
        let (well, ill) = (self.well.strikes(now), self.ill.strikes(now));
        if !well && !ill {
            return Vec::new();
        }
        let endpoints = self.ward.endpoints.iter().enumerate();
        let due = |endpoint: &Endpoint| if endpoint.member.health().is_up() { well } else { ill };
        endpoints.filter(|(_, endpoint)| due(endpoint)).map(|(at, _)| at).collect()
    }

    fn next_due(&self) -> Option<Millis> {
        [self.well, self.ill].into_iter().filter(|clock| clock.interval > 0).map(|clock| clock.due).min()
    }
}

/// Probes one target and takes in what was found.
async fn probe(ward: Arc<Ward>, at: usize, places: [Arc<Semaphore>; 2]) {
    let endpoint = &ward.endpoints[at];
    let Some(_probing) = endpoint.member.try_probe() else { return };
    let [own, all] = &places;
    let (_own, _all) = (own.acquire().await, all.acquire().await);
    let life = Duration::from_millis(ward.active.timeout_ms);
    let report = match tokio::time::timeout(life, ask::ask(&ward, endpoint)).await {
        Ok(Ok(report)) => report,
        Ok(Err(_)) => Report::Broken,
        Err(_) => Report::Late,
    };
    if let Some(flip) = endpoint.member.health().hear(report, &ward.active.criteria) {
        roster::say(flip, "a probe", &ward.upstream, endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Member;
    use crate::plan::balancing::Criteria;
    use std::net::SocketAddr;

    pub(super) fn active(healthy_interval_ms: u64, unhealthy_interval_ms: u64) -> Active {
        Active {
            probe: Probe::Http,
            timeout_ms: 1000,
            concurrency: 10,
            path: "/health".to_owned(),
            headers: vec![
                ("X-A".to_owned(), vec!["1".to_owned(), "2\r\nX-Evil: 3".to_owned()]),
                ("bad name".to_owned(), vec!["x".to_owned()]),
            ],
            sni: None,
            verify: true,
            healthy_interval_ms,
            unhealthy_interval_ms,
            criteria: Criteria { successes: 1, ..Criteria::default() },
        }
    }

    fn ward(name: &str, active: Active, targets: u16) -> Arc<Ward> {
        let endpoint = |n: u16| Endpoint {
            addr: SocketAddr::from(([127, 0, 0, 1], n + 1)),
            weight: 1,
            host: "a.test".into(),
            port: n + 1,
            target: u32::from(n),
            member: Arc::new(Member::default()),
        };
        let endpoints = (0..targets).map(endpoint).collect();
        Arc::new(Ward { upstream: name.to_owned(), host_header: None, active, endpoints, tls: None })
    }

    #[test]
    fn while_a_pair_is_half_renewed_the_one_before_it_is_shown() {
        let pem = |files: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let cert = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
            let key = crate::plan::tls::Hidden(key.serialize_pem());
            PemPair { chain: cert.pem(), key, files: files.to_owned(), ..PemPair::default() }
        };
        let (good, other) = (pem("a.pem a.key"), pem("b.pem b.key"));
        let broken = |files: &str| PemPair { chain: other.chain.clone(), files: files.to_owned(), ..good.clone() };
        let active = Active { probe: Probe::Https, ..active(1000, 1000) };
        let mut settings = Settings::default();
        let mut shows = |pem: &PemPair| {
            let tls = settings.of(&NodeTls::default(), &active, Some(pem)).unwrap();
            tls.0.client_auth_cert_resolver.has_certs()
        };
        let [same, another, none] = ["a.pem a.key", "c.pem c.key", ""].map(broken);
        assert_eq!([&good, &same, &another, &none].map(&mut shows), [true, true, false, false]);
    }

    #[test]
    fn each_health_has_a_clock_of_its_own() {
        let ward = ward("u", active(1000, 100), 3);
        let mut round = Round::new(ward.clone(), None, Millis(5));
        ward.endpoints[1].member.health().set(false);
        assert_eq!(round.take_due(Millis(5)), [0, 1, 2]);
        assert_eq!(round.take_due(Millis(50)), [0; 0]);
        assert_eq!(round.next_due(), Some(Millis(105)));
        assert_eq!(round.take_due(Millis(105)), [1]);
        // The thread was held up: one round, not many.
        assert_eq!(round.take_due(Millis(9000)), [0, 1, 2]);
        assert_eq!(round.next_due(), Some(Millis(9100)));
    }

    #[test]
    fn an_interval_of_0_is_never() {
        let mut round = Round::new(ward("u", active(0, 50), 2), None, Millis(0));
        assert_eq!(round.take_due(Millis(1000)), [0; 0]);
        assert_eq!(round.next_due(), Some(Millis(1050)));
    }

    #[test]
    fn a_reload_leaves_the_clocks_of_those_who_stay() {
        let rounds = follow(Vec::new(), &[ward("a", active(1000, 1000), 1), ward("b", active(10, 0), 1)], Millis(0));
        let mut rounds = follow(rounds, &[ward("a", active(1000, 1000), 1)], Millis(1));
        assert_eq!(rounds[0].take_due(Millis(1)), [0]);
        let wards = [ward("c", active(1000, 0), 2), ward("a", active(1000, 1000), 4)];
        let mut rounds = follow(rounds, &wards, Millis(500));
        assert_eq!(rounds[0].take_due(Millis(500)), [0, 1]);
        assert_eq!(rounds[1].take_due(Millis(500)), [0; 0], "its clock has begun anew");
        assert_eq!(rounds[1].take_due(Millis(1001)), [0, 1, 2, 3]);
        let mut rounds = follow(rounds, &[ward("a", active(300, 1000), 1)], Millis(1100));
        assert_eq!(rounds[0].take_due(Millis(1100)), [0], "another interval is another clock");
    }
}
