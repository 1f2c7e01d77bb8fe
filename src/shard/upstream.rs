//! The upstream side of a request: which target, over which connection, and what to do when it fails.

use super::count::bump;
use super::h2::{Fresh, Mux};
use super::pool::{Link, Pool, Wire};
use super::secure::Toward;
use super::{Complaint, Shard};
use crate::balance::health::{suffices, Report};
use crate::balance::member::Open;
use crate::balance::round_robin::Turn;
use crate::balance::{Member, Pick, Picker, Standing};
use crate::base::limits::ACCEPT_PAUSE_MS;
use crate::base::time::Millis;
use crate::bus::{Endpoint, Located};
use crate::io::channel::Channel;
use crate::io::clock;
use crate::io::listen::is_out_of_descriptors;
use crate::io::tcp::Stream;
use crate::plan::balancing::Criteria;
use crate::plan::spoken::Spoken;
use crate::plan::{Algorithm, Service, Upstream};
use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// An upstream on this shard; outlives a reload.
pub(super) struct Group {
    name: String,
    turn: Arc<Turn>,
    peers: RefCell<Rc<Peers>>,
}

/// Where an upstream is at the moment; a request sees one of these from its first try to its last.
#[derive(Default)]
pub(super) struct Peers {
    peers: Vec<Rc<Peer>>,
    picker: Picker,
    made_of: MadeOf,
    /// Weights, where a share of them must be available; empty where any will do.
    weights: Vec<u32>,
    /// That share, percent.
    threshold: f64,
    /// A name did not resolve, and there is nothing else to go on with.
    failed: bool,
}

/// What a picker was made of: algorithm, points of the ring, addresses and weights. A ring of many targets takes
/// milliseconds, and most reloads change none of these.
type MadeOf = (Option<Algorithm>, u32, Vec<(SocketAddr, u32)>);

/// One address of an upstream.
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    /// Host of the target as configured.
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pool: Rc<Pool>,
    member: Arc<Member>,
    /// Are open requests counted?
    counts_open: bool,
    /// Are answers timed?
    times_answers: bool,
    /// Does anybody want to know how requests end?
    is_heard: bool,
    care: Rc<Care>,
    /// Was its last answer too large for a small buffer? Then so may the next be.
    pub(super) answers_much: Cell<bool>,
}

/// What is done with what requests find out about the targets of an upstream.
struct Care {
    upstream: String,
    /// What their outcomes mean.
    passive: Criteria,
}

/// Why there is nobody to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPeer {
    /// The name did not resolve.
    Name,
    /// No target has a weight.
    Empty,
    /// Those that have one are unhealthy, or too many of them.
    Down,
}

impl Group {
    pub(super) fn new(name: &str, turn: Arc<Turn>) -> Group {
        Group { name: name.to_owned(), turn, peers: RefCell::default() }
    }

    /// Takes new addresses, or the settings of a new generation; connections to addresses that stay are kept.
    pub(super) fn locate(&self, upstream: &Upstream, located: Option<&Located>, pool: impl Fn(SocketAddr) -> Rc<Pool>) {
        let Some(located) = located else { return };
        let targets: Vec<_> = located.endpoints.iter().map(|endpoint| (endpoint.addr, endpoint.weight)).collect();
        let made_of: MadeOf = (Some(upstream.algorithm), upstream.hashing.slots, targets);
        let before = self.peers();
        let picker = match before.made_of == made_of {
            true => before.picker.clone(),
            false => Picker::new(upstream, &made_of.2),
        };
        let checks = &upstream.checks;
        let care = Rc::new(Care { upstream: upstream.name.clone(), passive: checks.passive.clone() });
        let has_threshold = checks.threshold > 0.0;
        let peer = |endpoint: &Endpoint| {
            Rc::new(Peer {
                addr: endpoint.addr,
                host: endpoint.host.clone(),
                port: endpoint.port,
                pool: pool(endpoint.addr),
                member: endpoint.member.clone(),
                counts_open: picker.counts_open(),
                times_answers: picker.times_answers(),
                is_heard: !care.passive.is_off(),
                care: care.clone(),
                answers_much: Cell::new(false),
            })
        };
        *self.peers.borrow_mut() = Rc::new(Peers {
            peers: located.endpoints.iter().map(peer).collect(),
            picker,
            weights: made_of.2.iter().filter(|_| has_threshold).map(|(_, weight)| *weight).collect(),
            made_of,
            threshold: checks.threshold,
            failed: located.failed,
        });
    }

    pub(super) fn peers(&self) -> Rc<Peers> {
        self.peers.borrow().clone()
    }

    /// The target of the next try: one that is available and has not failed this request yet, or, where all have, one
    /// that is available. `hash` is that of the request, for upstreams that hash.
    pub(super) fn pick(
        &self,
        shard: &Shard,
        peers: &Peers,
        hash: u32,
        failed: &[SocketAddr],
    ) -> Result<Rc<Peer>, NoPeer> {
        if !peers.suffice() {
            return Err(NoPeer::Down);
        }
        let standing = |at: usize| match &peers.peers[at] {
            peer if !peer.member.health().is_up() => Standing::Down,
            peer if failed.contains(&peer.addr) => Standing::Tried,
            _ => Standing::Ready,
        };
        // Nobody else asks for the time.
        let now = if peers.picker.times_answers() { clock::millis() } else { Millis(0) };
        let cx = Pick { turn: &self.turn, hash, now, rng: &shard.rng };
        match peers.picker.pick(&cx, |at| &*peers.peers[at].member, standing) {
            Some(at) => Ok(peers.peers[at].clone()),
            None if !peers.peers.is_empty() => Err(NoPeer::Down),
            None if peers.failed => Err(NoPeer::Name),
            None => Err(NoPeer::Empty),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Peers {
    /// Is a hash of the request looked at?
    pub(super) fn hashes(&self) -> bool {
        self.picker.hashes()
    }

    /// Is as much of the weight available as is asked for? O(targets), and only where a share is asked for.
    fn suffice(&self) -> bool {
        let weighed = || self.weights.iter().zip(&self.peers).map(|(weight, peer)| (u64::from(*weight), peer));
        let total: u64 = weighed().map(|(weight, _)| weight).sum();
        let up = weighed().filter(|(_, peer)| peer.member.health().is_up());
        total == 0 || suffices(up.map(|(weight, _)| weight).sum(), total, self.threshold)
    }
}

impl Peer {
    /// Counts a request as open until the guard is dropped, where that is of use to anybody.
    pub(super) fn begin(&self) -> Option<Open<'_>> {
        self.counts_open.then(|| self.member.begin())
    }

    /// It has answered, so many µs after it was asked.
    pub(super) fn on_answer(&self, status: u16, us: u64) {
        if self.times_answers {
            self.member.answered(us, clock::millis());
        }
        // A gateway behind this one that waited in vain has the same thing to say.
        self.hear(if status == 504 { Report::Late } else { Report::Status(status) });
    }

    /// It has not answered: `slow` by time, otherwise by refusing, closing or nonsense.
    pub(super) fn on_failure(&self, slow: bool) {
        self.hear(if slow { Report::Late } else { Report::Broken });
    }

    fn hear(&self, report: Report) {
        if !self.is_heard {
            return;
        }
        let Some(flip) = self.member.health().hear(report, &self.care.passive) else { return };
        let (upstream, host, port, address) = (&self.care.upstream, &self.host, self.port, self.addr);
        let found_by = "clients' requests";
        // A warning both ways: who was told of the one wants to hear of the other.
        tracing::warn!(upstream, %host, port, %address, found_by, "{}", flip.text());
    }

    /// A stream on a connection of HTTP/2 that is there, if one has room; where the target chooses HTTP/1.1, a connection that
    /// lies idle, if that is `stale_too`.
    pub(super) fn reuse_shared(
        &self,
        shard: &Shard,
        toward: Option<&Toward<'_>>,
        stale_too: bool,
    ) -> Option<Box<Link>> {
        let pool = self.pool_of(shard, toward);
        let link = match free(shard, &pool, toward).filter(|_| !pool.share.is_awaited()) {
            Some(mux) => Box::new(Link::of_call(mux.call(), shard.deadlines.watch_waiter())),
            None if pool.share.is_declined() && stale_too => toward?.take(&pool)?,
            None => return None,
        };
        bump(&shard.counters.upstream_reuses);
        Some(link)
    }

    /// A stream on a connection of HTTP/2, once one has room, or on a new one; or one of HTTP/1.1, where the target chooses
    /// that and the service leaves it the choice. Whoever is `gone` does not wait on.
    pub(super) async fn connect_shared(
        &self,
        shard: &Rc<Shard>,
        group: &Group,
        service: &Service,
        toward: Option<&Toward<'_>>,
        until: Millis,
        gone: impl Fn() -> bool,
    ) -> std::io::Result<Box<Link>> {
        let pool = self.pool_of(shard, toward);
        let share = &pool.share;
        let mut again = false;
        // Who is first in line does not wait for himself.
        while !share.is_declined() && (!again && share.is_awaited() || !share.may_make(&shard.pool_bounds)) {
            let watch = shard.deadlines.watch_waiter();
            watch.arm_read(until);
            share.wait(again, &watch, &gone).await?;
            again = true;
            if let Some(mux) = free(shard, &pool, toward) {
                return Ok(Box::new(Link::of_call(mux.call(), shard.deadlines.watch_waiter())));
            }
        }
        let making = share.make();
        let left_ms = until.0.saturating_sub(clock::millis().0).max(1);
        let mut link = self.connect(shard, group, left_ms, toward).await?;
        let chosen = toward.filter(|toward| toward.is_secure()).and(link.channel()).map(Channel::alpn);
        if chosen.is_some_and(|chosen| chosen != Some(b"h2")) {
            if service.speaks() == Spoken::Either {
                share.decline();
                return Ok(link);
            }
            return Err(self.no_http2(shard, group, &ErrorKind::InvalidData.into()));
        }
        let (watch, made) = (link.watch, link.toward.take());
        let Wire::Socket(stream) = link.wire else { return Err(ErrorKind::Unsupported.into()) };
        let fresh = Fresh { watch, stream, made, addr: self.addr };
        let mux = Mux::over(shard, fresh, share, service.write_timeout_ms, until).await;
        let mux = mux.map_err(|error| self.no_http2(shard, group, &error))?;
        let link = Link::of_call(mux.call(), shard.deadlines.watch_waiter());
        if !shard.is_draining() {
            let room = mux.room(&shard.pool_bounds);
            share.put(mux);
            making.done(room);
        }
        Ok(Box::new(link))
    }

    /// Notes that the target does not speak HTTP/2.
    fn no_http2(&self, shard: &Shard, group: &Group, error: &Error) -> Error {
        let late = error.kind() == ErrorKind::TimedOut;
        shard.complain(Complaint::UpstreamHandshake, || {
            let how = if late { "in time" } else { "at all" };
            format!("{} of upstream {:?} does not speak HTTP/2 {how}", self.addr, group.name)
        });
        bump(&shard.counters.upstream_connect_failures);
        self.on_failure(late);
        error.kind().into()
    }

    /// The connections that may be used for a request.
    fn pool_of(&self, shard: &Shard, toward: Option<&Toward<'_>>) -> Rc<Pool> {
        toward.map_or_else(|| self.pool.clone(), |toward| shard.secure_pool(self.addr, toward.key))
    }

    /// A connection that was used before, if a live one lies idle.
    pub(super) fn reuse(&self, shard: &Shard, toward: Option<&Toward<'_>>) -> Option<Box<Link>> {
        let link = match toward {
            None => self.pool.take()?,
            Some(toward) => toward.take(&shard.secure_pool(self.addr, toward.key))?,
        };
        bump(&shard.counters.upstream_reuses);
        Some(link)
    }

    /// A new connection.
    pub(super) async fn connect(
        &self,
        shard: &Shard,
        group: &Group,
        timeout_ms: u64,
        toward: Option<&Toward<'_>>,
    ) -> std::io::Result<Box<Link>> {
        let stream = self.dial(shard, group, timeout_ms).await?;
        let watch = shard.deadlines.watch(stream.fd());
        let mut link = Box::new(Link::new(stream.into(), watch, clock::millis()));
        if let Some(toward) = toward {
            let begun = Box::pin(toward.begin(shard, &mut link, self.addr, timeout_ms)).await;
            if let Err(error) = begun {
                shard.complain(Complaint::UpstreamHandshake, || {
                    let what = if toward.is_secure() { "no TLS" } else { "no word" };
                    format!("{what} with {} of upstream {:?}: {error}", self.addr, group.name)
                });
                bump(&shard.counters.upstream_connect_failures);
                self.on_failure(error.kind() == std::io::ErrorKind::TimedOut);
                return Err(error);
            }
        }
        Ok(link)
    }

    async fn dial(&self, shard: &Shard, group: &Group, timeout_ms: u64) -> std::io::Result<Stream> {
        let mut connected = Stream::connect(self.addr, timeout_ms).await;
        if connected.as_ref().is_err_and(is_out_of_descriptors) {
            bump(&shard.counters.out_of_descriptors);
            shard.free_descriptors();
            crate::io::sleep_ms(ACCEPT_PAUSE_MS).await;
            connected = Stream::connect(self.addr, timeout_ms).await;
        }
        match connected {
            Ok(stream) => {
                bump(&shard.counters.upstream_connects);
                Ok(stream)
            }
            Err(error) => {
                bump(&shard.counters.upstream_connect_failures);
                shard.complain(Complaint::UpstreamConnect, || {
                    format!("cannot connect to {} of upstream {:?}: {error}", self.addr, group.name)
                });
                // That we have no descriptor left is no fault of the target.
                if !is_out_of_descriptors(&error) {
                    self.on_failure(error.kind() == std::io::ErrorKind::TimedOut);
                }
                Err(error)
            }
        }
    }

    /// Keeps a connection for the next request. Only when its answer has ended where its framing said, and nothing came
    /// after it.
    pub(super) fn give_back(&self, shard: &Shard, mut link: Box<Link>, now: Millis) {
        link.served += 1;
        if !shard.is_draining() && !link.is_http2() {
            match link.toward.as_ref().map(|toward| toward.key) {
                None => self.pool.put(link, now, &shard.pool_bounds),
                Some(key) => shard.secure_pool(self.addr, key).put(link, now, &shard.pool_bounds),
            }
        }
    }
}

/// A connection of HTTP/2 that has room for one more request towards the same.
fn free(shard: &Shard, pool: &Pool, toward: Option<&Toward<'_>>) -> Option<Rc<Mux>> {
    let bounds = &shard.pool_bounds;
    let now = if bounds.age_ms > 0 { clock::millis() } else { Millis(0) };
    pool.share.free(now, bounds, |mux| match (toward, &mux.made) {
        (None, None) => true,
        (Some(toward), Some(made)) => toward.is(made),
        _ => false,
    })
}
