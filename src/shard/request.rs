//! ★ The story of one request, from its head to its log line.

use super::affinity;
use super::body::{Broken, Inbound, Invitation};
use super::count::{bump, InFlight, Sample};
use super::download::{Download, Downloaded};
use super::forward::{self, Framing};
use super::log::Entry;
use super::phase::{self, Phase};
use super::pool::Link;
use super::refusal::{self, Refusal};
use super::secure::{Announced, Toward};
use super::serve::{Client, Work};
use super::tables::{Way, World};
use super::upstream::{Group, Peer};
use super::{redis, tunnel, Complaint, Shard};
use crate::base::bytes;
use crate::base::id::{RouteIx, ServiceIx};
use crate::base::limits::{BODY_KEPT_BYTES_MAX, H2_REFUSALS_MAX, SLEEP_MS_MAX};
use crate::base::time::{Millis, Nanos};
use crate::hook::{Edits, Facts, Identity, Need, Outcome};
use crate::http::framing::{self, Expectation, Length};
use crate::http::grpc;
use crate::http::headers;
use crate::http::target::{self, Form, Normal};
use crate::http::{upgrade, Fault, Head, HeadRef, Known, Method, Target};
use crate::io::clock;
use crate::plan::spoken::{ProxyVersion, Spoken};
use crate::plan::{Protocol, Route, Runtime, Service};
use crate::route::entry::{Came, Entry as Entrance};
use crate::route::{Fields, Match, Query};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next request may come.
    Keep,
    /// It ends here, cleanly.
    Close,
    /// It ends here, and the client may still be sending.
    Linger,
    /// It is cut, so that a part is not taken for the whole.
    Cut,
    /// The client is gone.
    Gone,
}

/// What is known of a request once its head is read.
pub(super) struct Parts<'a> {
    pub(super) head: HeadRef<'a>,
    pub(super) facts: Facts<'a>,
    /// Path as sent, without query.
    pub(super) raw_path: &'a [u8],
    /// Host as sent, port and all.
    pub(super) host_sent: &'a [u8],
    /// The peer's address as headers show it.
    pub(super) peer_ip: &'a [u8],
    pub(super) route_ix: Option<RouteIx>,
    pub(super) way: Way,
    pub(super) route: Option<&'a Route>,
    pub(super) service: Option<&'a Service>,
    /// How it was found.
    pub(super) found: Option<Match>,
    /// Bytes of the normalised path that the route matched.
    pub(super) matched: usize,
    /// Is the peer trusted with forwarding headers?
    pub(super) trusted: bool,
    /// Did it come by TLS?
    pub(super) tls: bool,
    /// Did it come by HTTP/2?
    pub(super) http2: bool,
    /// Is it a call of gRPC?
    pub(super) grpc: bool,
    /// When its caller gives up.
    pub(super) deadline: Option<Millis>,
    /// Does it ask to become a WebSocket?
    pub(super) websocket: bool,
    /// Does the client take trailers?
    pub(super) trailers: bool,
    /// Does the client wait for a 100?
    expects: bool,
    /// Does the client want the connection kept?
    pub(super) keep: bool,
    /// How its body is framed; `None` where that is in doubt.
    length: Option<Length>,
}

/// What is noted of a request for log and metrics.
pub(super) struct Record {
    pub(super) id: [u8; 32],
    started: Nanos,
    /// When the upstream was asked, the last time.
    pub(super) asked: Nanos,
    pub(super) ended: Nanos,
    pub(super) status: u16,
    pub(super) upstream_status: u16,
    /// In the gateway before the upstream was asked, µs.
    pub(super) proxy_us: u64,
    /// Waiting for the upstream's head, µs.
    pub(super) upstream_us: Option<u64>,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) tries: u32,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) refusal: &'static str,
    /// Have the response hooks run? They do so once, even where the answer they ran for is then given up.
    pub(super) responded: bool,
}

impl Record {
    fn new(shard: &Shard) -> Record {
        let now = clock::nanos();
        Record {
            id: bytes::hex(shard.rng.borrow_mut().uuid_v4()),
            started: now,
            asked: now,
            ended: now,
            status: 0,
            upstream_status: 0,
            proxy_us: 0,
            upstream_us: None,
            upstream: None,
            tries: 0,
            bytes_in: 0,
            bytes_out: 0,
            refusal: "",
            responded: false,
        }
    }

    pub(super) fn total_us(&self) -> u64 {
        self.ended.since(self.started) / 1000
    }
}

/// Where the body of a request is.
enum Body {
    /// There is none.
    None,
    /// Whole, right behind the head: so many bytes.
    Hand(usize),
    /// On its way.
    Inbound(Box<Inbound>),
    /// Not read, and nobody will: the request was refused by its head. What follows it is not a next request.
    Unread,
}

impl Body {
    /// Has all of it been read?
    fn is_read(&self) -> bool {
        match self {
            Body::None | Body::Hand(_) => true,
            Body::Inbound(inbound) => inbound.is_done(),
            Body::Unread => false,
        }
    }

    /// That of a request refused by its head.
    fn of_refused(length: Option<Length>, rest: &[u8]) -> Body {
        match length {
            Some(Length::None) => Body::None,
            Some(Length::Fixed(bytes)) if bytes <= rest.len() as u64 => Body::Hand(bytes as usize),
            _ => Body::Unread,
        }
    }
}

/// Serves the request whose head stands in `work`.
pub(super) async fn serve(shard: &Rc<Shard>, client: &Client, work: &mut Work) -> Next {
    client.requests.set(client.requests.get() + 1);
    bump(&shard.counters.requests);
    let _in_flight = InFlight::begin(shard.gauges());
    story(shard, client, work).await
}

async fn story(shard: &Rc<Shard>, client: &Client, work: &mut Work) -> Next {
    let world = shard.world(); // this request's world
    let mut record = Record::new(shard);
    let bytes_before = client.bytes_out.get();
    let Work { input, start, head, reply_head, edits, path, scratch, .. } = work;
    edits.clear();
    let mut identity = Identity::default();
    let mut body = Body::None;

    let bytes = &input[*start..];
    let id = record.id;
    let (parts, length) = look(&world, client, head.on(bytes), path, scratch, &id);
    let cx = Exchange { shard, client, world: &world, parts: &parts, runtime: &world.tables.plan.node.runtime };
    let answered = match length {
        Ok(length) => {
            cx.answer(length, &bytes[head.len..], &mut body, &mut identity, edits, reply_head, &mut record).await
        }
        Err(refusal) => {
            body = Body::of_refused(parts.length, &bytes[head.len..]);
            Err(refusal)
        }
    };
    let mut next = match answered {
        Ok(next) => next,
        Err(refusal) => cx.refuse(refusal, body.is_read(), &mut identity, edits, reply_head, &mut record).await,
    };
    record.ended = clock::nanos();
    record.bytes_in = head.len as u64
        + match &body {
            Body::None | Body::Unread => 0,
            Body::Hand(bytes) => *bytes as u64,
            Body::Inbound(inbound) => inbound.payload(),
        };
    record.bytes_out = client.bytes_out.get() - bytes_before;
    cx.note(identity, &record);

    match body {
        Body::None => *start += head.len,
        Body::Unread => {
            *start += head.len;
            if next == Next::Keep {
                next = Next::Linger;
            }
        }
        Body::Hand(bytes) => *start += head.len + bytes,
        Body::Inbound(inbound) => {
            if !inbound.is_done() && next == Next::Keep {
                next = Next::Linger;
            }
            let used = std::mem::replace(input, inbound.into_rest());
            *start = 0;
            shard.put_buf(used);
        }
    }
    next
}

/// Answers a client whose head could not be read, and closes.
pub(super) async fn refuse_unread(
    shard: &Rc<Shard>,
    client: &Client,
    work: &mut Work,
    status: u16,
    fault: Option<Fault>,
) -> Next {
    client.requests.set(client.requests.get() + 1);
    bump(&shard.counters.requests);
    if status == 408 {
        bump(&shard.counters.client_timeouts);
    }
    let world = shard.world();
    let mut record = Record::new(shard);
    work.edits.clear();
    record.ended = clock::nanos();
    let mut out = shard.small.take();
    let refusal = Refusal::Client(status, fault);
    let Work { edits, reply_head, .. } = work;
    refusal::render(shard, None, &mut record, refusal, false, edits, reply_head, |_, _, _| {}, &mut out);
    record.bytes_out = out.len() as u64;
    let (_, out) = client.send(out, world.tables.plan.node.runtime.send_timeout_ms).await;
    shard.put_buf(out);
    note(shard, client, &world, None, Identity::default(), &record);
    Next::Linger
}

struct HeadFields<'a>(HeadRef<'a>);

impl Fields for HeadFields<'_> {
    fn any(&self, name: &str, test: impl FnMut(&[u8]) -> bool) -> bool {
        self.0.find_all(name.as_bytes()).any(test)
    }
}

/// Reads what a head says: where its body ends, whom it is for, which route takes it. Everything that can be known is in
/// the parts, even where the request is refused.
fn look<'a>(
    world: &'a World,
    client: &'a Client,
    head: HeadRef<'a>,
    path: &'a mut Vec<u8>,
    scratch: &mut crate::route::Scratch,
    id: &'a [u8; 32],
) -> (Parts<'a>, Result<Length, Refusal>) {
    let node = &world.tables.plan.node;
    let trusted = is_trusted(&node.trusted, client.peer.ip());
    let mut parts = Parts {
        head,
        facts: Facts {
            client_ip: client.peer.ip(),
            peer: client.peer,
            local: client.local,
            https: false,
            host: b"",
            port: client.local.port(),
            path: b"/",
            query: None,
            client: client.certificate.as_deref(),
            request_id: std::str::from_utf8(id).expect("hex digits"),
            connection: client.serial,
            connection_request: client.requests.get(),
        },
        raw_path: b"/",
        host_sent: b"",
        peer_ip: client.peer_ip.bytes(),
        route_ix: None,
        way: world.tables.way(None),
        route: None,
        service: None,
        found: None,
        matched: 0,
        trusted,
        tls: client.stream.facts().is_some(),
        http2: client.is_http2(),
        grpc: false,
        deadline: None,
        websocket: false,
        trailers: false,
        expects: false,
        keep: framing::keep_alive(head),
        length: None,
    };
    let length = look_into(world, client, &mut parts, path, scratch);
    (parts, length)
}

fn look_into<'a>(
    world: &'a World,
    client: &Client,
    parts: &mut Parts<'a>,
    path: &'a mut Vec<u8>,
    scratch: &mut crate::route::Scratch,
) -> Result<Length, Refusal> {
    let refused = |fault: Fault| Refusal::Client(fault.status(), Some(fault));
    let head = parts.head;
    let grpc = grpc::is_call(head.field(Known::ContentType));
    parts.grpc = grpc && parts.http2;
    if parts.grpc || grpc::is_web(head.field(Known::ContentType)) {
        let timeout = head.find(b"grpc-timeout").and_then(grpc::timeout_ms);
        parts.deadline = timeout.map(|ms| Millis(clock::millis().0 + ms));
    }
    let node = &world.tables.plan.node;
    let length = framing::of_request(head).map_err(refused)?;
    parts.length = Some(length);
    let max = node.runtime.field_bytes_max as usize;
    if max > 0 && head.head.len > max && head.fields().any(|(_, _, value)| value.len() > max) {
        return Err(refused(Fault::HeadTooLarge));
    }
    let target = Target::of(head).map_err(refused)?;
    let host = framing::host_of(head, &target).map_err(refused)?;
    if let Some(host) = host {
        parts.host_sent = host.sent;
        parts.facts.host = host.authority.host;
        parts.facts.port = host.authority.port.unwrap_or(parts.facts.port);
    }
    if let (true, Some(listener)) = (parts.tls, &client.listener) {
        if is_misdirected(world, client, listener, parts.facts.host) {
            return Err(Refusal::Client(421, None));
        }
    }
    // Neither is for us: TRACE shows a client what others have added to its request, CONNECT makes an open proxy.
    if matches!(head.head.method, Method::Trace | Method::Connect) {
        return Err(Refusal::Client(405, None));
    }
    parts.expects = match framing::expectation(head) {
        Expectation::None => false,
        Expectation::Continue => true,
        Expectation::Unknown => return Err(Refusal::Client(417, None)),
    };
    let max = node.runtime.body_bytes_max;
    if max > 0 && matches!(length, Length::Fixed(bytes) if bytes > max) {
        return Err(Refusal::Client(413, None));
    }
    if target.form == Form::Asterisk {
        return Err(Refusal::Asterisk);
    }
    parts.raw_path = target.path(head.buf);
    parts.facts.query = target.query(head.buf);
    parts.facts.path = match target::normalize(parts.raw_path, path) {
        Normal::Already => parts.raw_path,
        Normal::Rewritten => path,
    };
    if parts.trusted {
        let said = head.field(Known::XForwardedProto);
        parts.facts.https = said.map_or(parts.tls, |said| said.eq_ignore_ascii_case(b"https"));
        parts.facts.client_ip = real_ip(node, head, client);
    } else {
        parts.facts.https = parts.tls;
    }
    parts.websocket = upgrade::is_websocket(head, length);
    parts.trailers = client.is_http2() || headers::takes_trailers(head);
    let query = Query {
        method: head.method_bytes(),
        host: parts.facts.host,
        port: host.and_then(|host| host.authority.port),
        listener_port: node.public_port(parts.facts.local.port()),
        path: parts.facts.path,
        sni: client.stream.facts().and_then(|facts| facts.server_name.as_deref()),
        tls: parts.tls,
        headers: &HeadFields(head),
    };
    let Some(found) = world.tables.routes.find(&query, scratch) else { return Err(Refusal::NoRoute) };
    let route = world.tables.route(found.route);
    parts.found = Some(found);
    parts.route_ix = Some(found.route);
    parts.route = Some(route);
    parts.way = world.tables.way(parts.route_ix);
    parts.service = parts.way.service.map(|ix| &world.tables.plan.services[ix.ix()]);
    parts.matched = found.prefix_len;
    let came = Came { https: parts.facts.https, http2: client.is_http2(), grpc };
    match parts.way.door.decide(came) {
        Entrance::Serve => Ok(length),
        Entrance::UpgradeTls => Err(Refusal::NotHttps(426)),
        Entrance::Redirect(status) => Err(Refusal::NotHttps(status)),
        Entrance::NotGrpc => Err(Refusal::NotGrpc),
        Entrance::NeedHttp2 => Err(Refusal::NeedHttp2),
        Entrance::GrpcNeedsTls => Err(Refusal::GrpcNeedsTls),
    }
}

/// Is a request for `host` one that its connection was not made for? Most are for the name that it was.
fn is_misdirected(world: &World, client: &Client, listener: &str, host: &[u8]) -> bool {
    let Some(facts) = client.stream.facts() else { return false };
    let asked = facts.server_name.as_deref();
    if asked.is_some_and(|asked| asked.as_bytes().eq_ignore_ascii_case(host)) {
        return false;
    }
    let Some(greeting) = world.tables.secure.greeting(listener) else { return false };
    greeting.tells_apart() && {
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        greeting.is_misdirected(asked, host.trim_end_matches('.'), client.is_http2())
    }
}

/// The word that stands for the connection's announcement where the name of a header could stand.
const PROXY_PROTOCOL: &str = "proxy_protocol";

fn is_trusted(trusted: &[ipnet::IpNet], ip: IpAddr) -> bool {
    trusted.iter().any(|net| net.contains(&ip))
}

/// The client's address as a trusted peer tells it: in the one way that is configured, and in no other.
fn real_ip(node: &crate::plan::Node, head: HeadRef<'_>, client: &Client) -> IpAddr {
    let peer = client.peer.ip();
    if node.real_ip_header == PROXY_PROTOCOL {
        return client.announced.get().unwrap_or(peer);
    }
    let mut found = peer;
    // Several lines are one list (RFC 9110 §5.3), and the hop nearest to us stands last in it.
    let lines = head.find_all(node.real_ip_header.as_bytes()).rev();
    for text in lines.flat_map(|value| value.rsplit(|&b| b == b',')) {
        let text = std::str::from_utf8(headers::trim(text)).unwrap_or("");
        let Some(ip) = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip())) else {
            break;
        };
        found = ip;
        if !node.real_ip_recursive || !is_trusted(&node.trusted, ip) {
            break;
        }
    }
    found
}

/// Everything a request's story refers to.
pub(super) struct Exchange<'a> {
    pub(super) shard: &'a Rc<Shard>,
    pub(super) client: &'a Client,
    pub(super) world: &'a World,
    pub(super) parts: &'a Parts<'a>,
    pub(super) runtime: &'a Runtime,
}

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
    #[expect(clippy::too_many_arguments, reason = "each is a piece of the connection's state, borrowed apart")]
    async fn answer(
        &self,
        length: Length,
        rest: &[u8],
        body: &mut Body,
        identity: &mut Identity,
        edits: &mut Edits,
        reply_head: &mut Head,
        record: &mut Record,
    ) -> Result<Next, Refusal> {
        *body = match length {
            Length::Fixed(bytes) if bytes <= rest.len() as u64 => Body::Hand(bytes as usize),
            Length::None | Length::UntilClose => Body::None,
            length => {
                let mut inbound = Inbound::new(self.shard, length, rest, self.parts.expects);
                inbound.patient = self.parts.grpc;
                Body::Inbound(Box::new(inbound))
            }
        };
        self.plugins(rest, body, identity, edits).await?;
        let Some(service) = self.parts.service else {
            return Err(Refusal::NoService);
        };
        if !matches!(service.protocol, Protocol::Http | Protocol::Https | Protocol::Grpc | Protocol::Grpcs) {
            return Err(Refusal::Unserved);
        }
        self.exchange(service, rest, body, identity, edits, reply_head, record).await
    }

    /// Runs the request hooks, fetching what they need.
    async fn plugins(
        &self,
        rest: &[u8],
        body: &mut Body,
        identity: &mut Identity,
        edits: &mut Edits,
    ) -> Result<(), Refusal> {
        let (shard, world) = (self.shard, self.world);
        let mut phase = phase::request(shard, world, self.parts, identity, edits, 0, None);
        loop {
            if let Body::Inbound(inbound) = body {
                inbound.limit_to(edits.body_limit())?;
            }
            let (at, need) = match phase {
                Phase::Done => return Ok(()),
                Phase::Reply(reply) => return Err(Refusal::Policy(reply)),
                Phase::Refuse(status) => return Err(Refusal::Noted(status)),
                Phase::Need(at, need) => (at, need),
            };
            let bytes_max = match need {
                Need::Body { bytes_max } => bytes_max.min(BODY_KEPT_BYTES_MAX),
                Need::Sleep(ms) => {
                    Box::pin(crate::io::sleep_ms(ms.min(SLEEP_MS_MAX))).await;
                    phase = phase::request(shard, world, self.parts, identity, edits, at, Some(Outcome::Slept));
                    continue;
                }
                Need::Redis(call) => {
                    let answers = Box::pin(redis::ask(shard, &call)).await;
                    let outcome = Outcome::Redis(&call, answers.as_deref().map_err(|fault| *fault));
                    phase = phase::request(shard, world, self.parts, identity, edits, at, Some(outcome));
                    redis::send_outbox(shard);
                    continue;
                }
            };
            let whole: Option<&[u8]> = match body {
                Body::None | Body::Unread => Some(b""),
                Body::Hand(bytes) => Some(&rest[..*bytes]).filter(|bytes| bytes.len() <= bytes_max),
                Body::Inbound(inbound) => {
                    let whole = Box::pin(inbound.collect(shard, self.client, self.runtime, bytes_max)).await?;
                    whole.then_some(&inbound.kept)
                }
            };
            phase = phase::request(shard, world, self.parts, identity, edits, at, Some(Outcome::Body(whole)));
        }
    }

    /// Picks, connects, sends, and tries again where that is safe.
    #[expect(clippy::too_many_arguments, reason = "as for `answer`")]
    async fn exchange(
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
        record.asked = clock::nanos();
        record.proxy_us = record.asked.since(record.started) / 1000;
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
                Err(error) => (error.kind() == std::io::ErrorKind::TimedOut, true),
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
        if sent.is_err() && link.watch.fired().is_some() {
            return Err(Failure::Silent { slow: true });
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
                    let result = inbound.upload(shard, self.client, &link, self.runtime, service, &invited).await;
                    if result.is_ok() {
                        uploaded.set(true);
                    }
                    if let Some(deadline) = self.parts.deadline {
                        let until = Millis(clock::millis().0 + service.read_timeout_ms);
                        link.watch.arm_read(until.min(deadline));
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
        if let Some(early) = done.tunnel {
            let late = match &*body {
                Body::None => rest,
                Body::Hand(bytes) => &rest[*bytes..],
                Body::Inbound(_) | Body::Unread => b"",
            };
            let mut first = shard.large.take();
            first.extend_from_slice(late);
            Box::pin(tunnel::run(shard, self.client, &link, early, first, self.runtime.tunnel_timeout_ms)).await;
            return Ok(Next::Gone);
        }
        if done.reusable && uploaded.get() {
            link.watch.disarm_read();
            peer.give_back(shard, link);
        } else {
            link.served += 1;
        }
        Ok(match (done.keep, uploaded.get()) {
            (true, true) => Next::Keep,
            (_, false) => Next::Linger,
            (false, true) => Next::Close,
        })
    }

    /// Sends what a client is told when its request fails.
    async fn refuse(
        &self,
        refusal: Refusal,
        body_read: bool,
        identity: &mut Identity,
        edits: &mut Edits,
        reply_head: &mut Head,
        record: &mut Record,
    ) -> Next {
        match refusal {
            Refusal::Cut => return Next::Cut,
            Refusal::Short if body_read => return Next::Close,
            Refusal::Short => return Next::Linger,
            _ => {}
        }
        if let Refusal::Gone = refusal {
            bump(&self.shard.counters.client_gone);
            record.status = 499;
            record.refusal = "gone";
            return Next::Gone;
        }
        let shard = self.shard;
        record.ended = clock::nanos();
        let mut out = shard.small.take();
        let keep = self.parts.keep && body_read && !self.is_last();
        let responded = std::mem::replace(&mut record.responded, true);
        let hooks = |head: HeadRef<'_>, edits: &mut Edits, body: &mut Vec<u8>| {
            if !responded {
                phase::response(shard, self.world, self.parts, identity, edits, head, true);
                if let Some(new) = phase::rewrite(shard, self.world, self.parts, identity, edits, head, true, body, b"")
                {
                    *body = new;
                }
            }
        };
        let parts = Some(self.parts);
        let rendered = refusal::render(shard, parts, record, refusal, keep, edits, reply_head, hooks, &mut out);
        let (sent, out) = self.client.send(out, self.runtime.send_timeout_ms).await;
        shard.put_buf(out);
        match rendered {
            _ if sent.is_err() => Next::Gone,
            Some(rendered) if !rendered.close => Next::Keep,
            _ if body_read => Next::Close,
            _ => Next::Linger,
        }
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

    /// What the upstream is asked with.
    pub(super) fn method(&self, edits: &Edits) -> Method {
        edits.method().map_or(self.parts.head.head.method, Method::classify)
    }

    /// Is this the last request the connection may have?
    pub(super) fn is_last(&self) -> bool {
        let max = self.runtime.keepalive_requests_max;
        max > 0 && self.client.requests.get() >= max || self.shard.is_draining()
    }

    fn note(&self, identity: Identity, record: &Record) {
        note(self.shard, self.client, self.world, Some(self.parts), identity, record);
    }
}

/// Writes the log line and counts.
fn note(shard: &Shard, client: &Client, world: &World, parts: Option<&Parts<'_>>, identity: Identity, record: &Record) {
    let route_ix = parts.and_then(|parts| parts.route_ix);
    let plan = &world.tables.plan;
    if let Some(log) = &plan.node.access_log {
        let label = world.tables.label(route_ix);
        let entry = Entry {
            parts,
            record,
            client,
            identity,
            route: &label.route,
            service: &label.service,
            shard: shard.index,
            wall_ms: clock::wall().0,
        };
        if !shard.log.borrow_mut().write(plan, &log.fields, &entry) {
            bump(&shard.counters.log_dropped);
        }
    }
    world.count(shard, route_ix).borrow_mut().add(Sample {
        status: record.status,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        latency_us: record.total_us(),
        upstream_us: record.upstream_us,
    });
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
        let had = invited.given.get();
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
        // The upload waits for nothing that would wake it but the 100 that the download may just have read.
        if !uploading || invited.given.get() == had {
            return std::task::Poll::Pending;
        }
    })
    .await
}
