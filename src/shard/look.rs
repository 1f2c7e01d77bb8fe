//! What a request's head says: where its body ends, whom it is for, which route takes it.

use super::refusal::Refusal;
use super::serve::Client;
use super::tables::{Way, World};
use crate::base::id::RouteIx;
use crate::base::time::Millis;
use crate::hook::Facts;
use crate::http::framing::{self, Expectation, Length};
use crate::http::grpc;
use crate::http::headers;
use crate::http::target::{self, Form, Normal};
use crate::http::{upgrade, Fault, HeadRef, Known, Method, Target};
use crate::io::clock;
use crate::plan::{Route, Service};
use crate::route::entry::{Came, Entry as Entrance};
use crate::route::{Fields, Match, Query};
use std::net::{IpAddr, SocketAddr};

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
    pub(super) expects: bool,
    /// Does the client want the connection kept?
    pub(super) keep: bool,
    /// How its body is framed; `None` where that is in doubt.
    pub(super) length: Option<Length>,
}

struct HeadFields<'a>(HeadRef<'a>);

impl Fields for HeadFields<'_> {
    fn any(&self, name: &str, test: impl FnMut(&[u8]) -> bool) -> bool {
        self.0.find_all(name.as_bytes()).any(test)
    }
}

/// Reads what a head says: where its body ends, whom it is for, which route takes it. Everything that can be known is in
/// the parts, even where the request is refused.
pub(super) fn look<'a>(
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
            http2: client.is_http2(),
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
    greeting.tells_apart(asked) && {
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
