//! Towards an upstream: picks a target, sends the request, relays its answer, and tries again where that is safe.

use super::affinity;
use super::body::{Broken, Invitation};
use super::count::bump;
use super::download::{Download, Downloaded};
use super::forward::{self, Framing};
use super::pool::Link;
use super::refusal::Refusal;
use super::request::{Body, Exchange, Next, Record};
use super::secure::{Announced, Toward};
use super::serve::Client;
use super::upstream::{Group, Peer};
use super::{tunnel, Complaint};
use crate::base::id::ServiceIx;
use crate::base::limits::H2_REFUSALS_MAX;
use crate::base::time::Millis;
use crate::hook::{Edits, Facts, Identity};
use crate::http::framing::Length;
use crate::http::{Head, Method};
use crate::io::clock;
use crate::plan::spoken::{ProxyVersion, Spoken};
use crate::plan::Service;
use std::cell::Cell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;

/// Why a try has failed.
pub(super) enum Failure {
    /// The upstream has not answered; `slow` by time, otherwise by closing or resetting.
    Silent { slow: bool },
    /// The upstream has surely not begun on it.
    Refused,
    /// What the client is told; trying again would not help, or is not safe.
    Final(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Final(refusal)
    }
}
impl Exchange<'_> {
    /// Picks, connects, sends, and tries again where that is safe.
    #[expect(clippy::too_many_arguments, reason = "as for `answer`")]
    pub(super) async fn exchange(
        &self,
        service: &Service,
        rest: &[u8],
        body: &mut Body,
        identity: &mut Identity,
        edits: &mut Edits,
        reply_head: &mut Head,
        record: &mut Record,
    ) -> Result<Next, Refusal> {
        let shard = self.shard;
        let Some(service_ix) = self.parts.way.service else {
            return Err(Refusal::NoService);
        };
        let group = self.world.group(service_ix);
        let peers = group.peers();
        let hash = match peers.hashes() {
            true => affinity::of(shard, self.world, self.parts, service, *identity, edits),
            false => 0,
        };
        let mut failed: Vec<SocketAddr> = Vec::new();
        let mut tries_left = service.retries;
        // One more where a kept connection turns out to have been closed: that is nobody's failure.
        let mut stale_left = 1;
        let mut refusals_left = H2_REFUSALS_MAX;
        // A connection that becomes a WebSocket is shared with nobody.
        let shared = service.speaks() != Spoken::Http1 && !self.parts.websocket;
        // Where nothing ran before it, it is asked at once: a reading of the clock costs more than what lies between.
        if self.parts.way.chained || self.waited.get() {
            record.asked = clock::nanos();
            record.proxy_us = record.asked.since(record.started) / 1000;
        }
        loop {
            let peer = group.pick(shard, &peers, hash, &failed).map_err(|none| {
                shard.complain(Complaint::UpstreamName, || format!("no target for upstream {:?}", group.name()));
                Refusal::NoPeer(none)
            })?;
            let open = Cell::new(peer.begin());
            let ended = || drop(open.take());
            record.tries += 1;
            record.upstream = Some(peer.addr);
            let (was_reused, link) = {
                // Gone before the request is sent: nothing of it is to make the exchange's future larger.
                let toward = self.toward(service, service_ix, &peer, shared);
                let reused = match stale_left {
                    _ if shared => peer.reuse_shared(shard, toward.as_ref(), stale_left > 0),
                    0 => None,
                    _ => peer.reuse(shard, toward.as_ref()),
                };
                match reused {
                    Some(link) => (true, Ok(link)),
                    None => {
                        // Boxed, as all that is rare: an exchange's future is what every poll goes through, and the
                        // smaller it is, the fewer cache lines that takes.
                        let connecting = self.connect(service, group, &peer, toward.as_ref(), shared, record);
                        (false, Box::pin(connecting).await)
                    }
                }
            };
            let (slow, safe) = match link {
                Err(_) if self.client.is_gone() => return Err(Refusal::Gone),
                Err(error) => (error.kind() == ErrorKind::TimedOut, true),
                Ok(link) => {
                    let tried = self
                        .attempt(service, &peer, link, &ended, rest, body, identity, edits, reply_head, record)
                        .await;
                    match tried {
                        Ok(next) => return Ok(next),
                        Err(Failure::Final(refusal)) => {
                            if let Refusal::BadUpstream | Refusal::SlowUpstream = refusal {
                                peer.on_failure(matches!(refusal, Refusal::SlowUpstream));
                            }
                            return Err(refusal);
                        }
                        Err(Failure::Refused) => {
                            if refusals_left > 0 && self.is_replayable(body, edits) {
                                refusals_left -= 1;
                                record.asked = clock::nanos();
                                continue;
                            }
                            (false, self.is_replayable(body, edits))
                        }
                        Err(Failure::Silent { slow }) => {
                            if slow || !was_reused {
                                peer.on_failure(slow);
                            }
                            // Sent once already. POST, LOCK and PATCH may have been acted on; the body must be there.
                            (slow, self.is_repeatable(edits) && self.is_replayable(body, edits))
                        }
                    }
                }
            };
            if was_reused && !slow && safe && stale_left > 0 {
                stale_left -= 1;
                record.asked = clock::nanos();
                continue;
            }
            if !safe || tries_left == 0 {
                return Err(if slow { Refusal::SlowUpstream } else { Refusal::BadUpstream });
            }
            tries_left -= 1;
            bump(&shard.counters.upstream_retries);
            failed.push(peer.addr);
            // The next try counts its times from here, over whatever connection.
            record.asked = clock::nanos();
        }
    }

    /// A new connection to `peer`, or a place on one that many share; the request counts as asked from then on.
    async fn connect(
        &self,
        service: &Service,
        group: &Group,
        peer: &Peer,
        toward: Option<&Toward<'_>>,
        shared: bool,
        record: &mut Record,
    ) -> std::io::Result<Box<Link>> {
        let connected = match shared {
            true => {
                let until = Millis(record.asked.millis().0 + service.connect_timeout_ms);
                let until = self.parts.deadline.map_or(until, |deadline| until.min(deadline));
                let gone = || self.client.is_gone();
                peer.connect_shared(self.shard, group, service, toward, until, gone).await
            }
            false => peer.connect(self.shard, group, service.connect_timeout_ms, toward).await,
        };
        record.asked = clock::nanos();
        connected
    }

    /// One try: sends the request over `link` and relays the answer.
    #[expect(clippy::too_many_arguments, reason = "as for `answer`")]
    async fn attempt(
        &self,
        service: &Service,
        peer: &Rc<Peer>,
        mut link: Box<Link>,
        ended: &dyn Fn(),
        rest: &[u8],
        body: &mut Body,
        identity: &mut Identity,
        edits: &mut Edits,
        reply_head: &mut Head,
        record: &mut Record,
    ) -> Result<Next, Failure> {
        let shard = self.shard;
        let framing = match (edits.body(), &*body) {
            (Some(bytes), _) => Framing::Fixed(bytes.len() as u64),
            (None, Body::None | Body::Unread) => Framing::None,
            (None, Body::Hand(bytes)) => Framing::Fixed(*bytes as u64),
            (None, Body::Inbound(inbound)) => match inbound.length {
                Length::Fixed(bytes) => Framing::Fixed(bytes),
                _ if inbound.is_replayable() && inbound.is_done() => Framing::Fixed(inbound.kept.len() as u64),
                _ => Framing::Chunked,
            },
        };
        let mut out = shard.small.take();
        let expects = matches!(&*body, Body::Inbound(inbound) if inbound.expects && !inbound.is_done());
        let plan = &self.world.tables.plan;
        let written = forward::request(plan, self.parts, peer, framing, expects, edits, &shard.small, &mut out);
        if let Err(fault) = written {
            shard.put_buf(out);
            return Err(Refusal::Client(fault.status(), Some(fault)).into());
        }
        match (edits.body(), &mut *body) {
            // The client's was read to its end by the plugin that wrote this one.
            (Some(bytes), _) => out.extend_from_slice(bytes),
            (None, Body::None | Body::Unread) => {}
            (None, Body::Hand(bytes)) => out.extend_from_slice(&rest[..*bytes]),
            (None, Body::Inbound(inbound)) => {
                if self.is_repeatable(edits) || link.is_http2() {
                    inbound.keep_little();
                }
                inbound.put_kept(framing == Framing::Chunked, &mut out);
                if !inbound.is_done() {
                    let taken = inbound.take(framing == Framing::Chunked, self.runtime.body_bytes_max, &mut out);
                    taken.map_err(Failure::Final)?;
                }
            }
        }
        link.watch.arm_write(Millis(record.asked.millis().0 + service.write_timeout_ms));
        let (sent, out) = link.send(out).await;
        link.watch.disarm_write();
        shard.put_buf(out);
        match sent {
            Err(_) if link.watch.fired().is_some() => return Err(Failure::Silent { slow: true }),
            // It cannot be said in what the upstream speaks: another would not be told of it either.
            Err(error) if error.kind() == ErrorKind::InvalidData && link.is_http2() => {
                return Err(Refusal::Client(400, None).into());
            }
            _ => {}
        }
        let _held = Held::on(self.client, &link)?;
        // An upstream that refuses the rest of a body may have said why before it closed: its answer is read all the
        // same; where there is none, reading says so.
        let (uploaded, begun) = (Cell::new(body.is_read()), Cell::new(false));
        let invited = Invitation::default();
        let download = Download {
            cx: self,
            service,
            peer,
            link: &link,
            ended,
            uploaded: &uploaded,
            begun: &begun,
            invited: &invited,
        };
        let done = match body {
            Body::Inbound(inbound) if !inbound.is_done() => {
                let upload = async {
                    let (client, deadline) = (self.client, self.parts.deadline);
                    let result = inbound.upload(shard, client, &link, self.runtime, service, deadline, &invited).await;
                    if result.is_ok() {
                        uploaded.set(true);
                    }
                    result
                };
                // Another may be asked where the request may be sent twice: then the upload must not be dropped midway.
                let again = (self.is_repeatable(edits) || link.is_http2()).then_some(&*link);
                let download = download.run(identity, edits, reply_head, record);
                let done = Box::pin(duplex(upload, download, &invited, again)).await;
                // A refusal in the middle of an answer would be taken for a part of it.
                done.map_err(|failure| match failure {
                    Failure::Final(Refusal::Short) => failure,
                    _ if begun.get() => Refusal::Cut.into(),
                    _ => failure,
                })
            }
            _ => download.run(identity, edits, reply_head, record).await,
        }?;
        record.ended = clock::nanos();
        if let Some(early) = done.tunnel {
            let late = match &*body {
                Body::None => rest,
                Body::Hand(bytes) => &rest[*bytes..],
                Body::Inbound(_) | Body::Unread => b"",
            };
            let mut first = shard.large.take();
            first.extend_from_slice(late);
            Box::pin(tunnel::run(shard, self.client, &link, early, first, self.runtime.tunnel_timeout_ms)).await;
            record.ended = clock::nanos();
            return Ok(Next::Gone);
        }
        if done.reusable && uploaded.get() {
            link.watch.disarm_read();
            peer.give_back(shard, link, record.ended.millis());
        } else {
            link.served += 1;
        }
        Ok(match (done.keep, uploaded.get()) {
            (true, true) => Next::Keep,
            (_, false) => Next::Linger,
            (false, true) => Next::Close,
        })
    }

    /// Is all of its body still there?
    fn is_replayable(&self, body: &Body, edits: &Edits) -> bool {
        match body {
            _ if edits.body().is_some() => true,
            Body::None | Body::Hand(_) | Body::Unread => true,
            Body::Inbound(inbound) => inbound.is_replayable(),
        }
    }

    /// To whom a connection to `peer` is made over TLS, to the host that it is told of, or for this client alone. `None` where
    /// the address is all that counts. `shared`: may it be shared with other requests?
    fn toward<'p>(&'p self, service: &Service, ix: ServiceIx, peer: &'p Peer, shared: bool) -> Option<Toward<'p>> {
        if !service.is_secure() && service.announces.is_none() {
            return None;
        }
        let announced = service.announces.map(|version| self.announced(version));
        let Some(plan) = self.world.tables.secure.client(ix.ix(), shared) else {
            return Some(Toward::new(self.shard, None, b"", announced));
        };
        let host = match self.world.tables.plan.upstream(service.upstream).host_header.as_deref() {
            _ if self.parts.way.preserve_host && !self.parts.facts.host.is_empty() => self.parts.facts.host,
            Some(host) => match host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.as_bytes(),
                _ => host.as_bytes(),
            },
            None => peer.host.as_bytes(),
        };
        Some(Toward::new(self.shard, Some(plan), host, announced))
    }

    /// How this client is announced: by the address that it is believed to have, and its port where that is the peer's.
    fn announced(&self, version: ProxyVersion) -> Announced {
        let Facts { client_ip, peer, local, .. } = self.parts.facts;
        let port = if client_ip == peer.ip() { peer.port() } else { 0 };
        Announced { version, source: SocketAddr::new(client_ip, port), target: local }
    }

    /// May it be sent again, although an upstream may have acted on it?
    fn is_repeatable(&self, edits: &Edits) -> bool {
        !matches!(self.method(edits), Method::Post | Method::Lock | Method::Patch)
    }
}

/// While a stream of many is served by an upstream's socket: the client that gives up ends it.
struct Held<'a>(&'a Client);

impl Held<'_> {
    fn on<'a>(client: &'a Client, link: &Link) -> Result<Held<'a>, Refusal> {
        if let Some(ends) = &client.ends {
            if ends.is_gone() {
                return Err(Refusal::Gone);
            }
            ends.hold(Some(link.ending()));
        }
        Ok(Held(client))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(ends) = &self.0.ends {
            ends.hold(None);
        }
    }
}

/// Uploads and downloads at once. The download decides when it is over; a client that breaks its own body ends both.
///
/// Where the upstream is silent for good and the request may be sent `again`, the upload over that connection is asked to
/// end and waited for: dropped in the middle of a read, it would lose what the client has sent.
async fn duplex(
    upload: impl std::future::Future<Output = Result<(), Broken>>,
    download: impl std::future::Future<Output = Result<Downloaded, Failure>>,
    invited: &Invitation,
    again: Option<&Link>,
) -> Result<Downloaded, Failure> {
    let (mut upload, mut download) = (std::pin::pin!(upload), std::pin::pin!(download));
    let mut uploading = true;
    let mut silent = None;
    std::future::poll_fn(move |cx| loop {
        let had = invited.turn();
        if uploading {
            match upload.as_mut().poll(cx) {
                std::task::Poll::Ready(Err(Broken::Client(refusal))) => {
                    return std::task::Poll::Ready(Err(Failure::Final(refusal)))
                }
                std::task::Poll::Ready(Ok(()) | Err(Broken::Upstream)) => uploading = false,
                std::task::Poll::Pending => {}
            }
        }
        if silent.is_some() {
            return match silent.take_if(|_| !uploading) {
                None => std::task::Poll::Pending,
                Some(failure) => std::task::Poll::Ready(Err(failure)),
            };
        }
        match (download.as_mut().poll(cx), again) {
            (std::task::Poll::Ready(Err(failure @ (Failure::Silent { .. } | Failure::Refused))), Some(link))
                if uploading =>
            {
                silent = Some(failure);
                invited.withdraw();
                link.ending().end();
                continue;
            }
            (std::task::Poll::Ready(done), _) => return std::task::Poll::Ready(done),
            (std::task::Poll::Pending, _) => {}
        }
        // The upload waits for nothing that would wake it but the 100 that the download may just have read, or the interim
        // answer that it has sent.
        if !uploading || invited.turn() == had {
            return std::task::Poll::Pending;
        }
    })
    .await
}
