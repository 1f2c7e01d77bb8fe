//! The heads that leave the gateway, both ways: what is copied, what ends here, what is written anew.

use super::certificate;
use super::look::Parts;
use super::refusal::{field, number_field};
use super::request::Record;
use super::upstream::Peer;
use super::Shard;
use crate::base::bytes::{put, Short};
use crate::hook::{Edits, Op};
use crate::http::framing::Length;
use crate::http::headers::Drop;
use crate::http::{encode, query, reply, target, Fault, HeadRef, Known, Version};
use crate::io::buf::Pool;
use crate::plan::{Dress, Node, Plan, Protocol};
use crate::route::path;

/// How the body of a request goes to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Fixed(u64),
    /// In chunks.
    Chunked,
}

/// Fields of a request that are always written anew, or end here.
const REWRITTEN: u64 = Known::bits(&[
    Known::Host,
    Known::ContentLength,
    Known::ContentLengthLookalike,
    Known::TransferEncodingLookalike,
    Known::Expect,
    Known::XRealIp,
    Known::XForwardedFor,
    Known::Via,
]);

/// Fields that say how a request came here; believed from trusted peers only.
const FORWARDED: [Known; 5] = [
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwardedPath,
    Known::XForwardedPrefix,
];

/// Writes the head of a request for `peer`. `expects`: does the client still wait for a 100?
///
/// # Errors
/// Where the client's Connection field lists too much.
#[expect(clippy::too_many_arguments, reason = "each is a piece of the exchange's state, borrowed apart")]
pub(super) fn request(
    plan: &Plan,
    parts: &Parts<'_>,
    peer: &Peer,
    framing: Framing,
    expects: bool,
    edits: &Edits,
    spare: &Pool,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let head = parts.head;
    let (way, Some(service)) = (parts.way, parts.service) else { return Ok(()) };
    let facts = &parts.facts;
    put(out, [edits.method().unwrap_or_else(|| head.method_bytes()), b" "]);
    let from = out.len();
    match edits.path() {
        Some(path) => out.extend_from_slice(path),
        None => path::upstream_path(service.path.as_deref(), facts.path, parts.matched, way.strip_path, out),
    }
    if !target::is_encoded_path(&out[from..]) {
        let mut plain = spare.take();
        plain.extend_from_slice(&out[from..]);
        out.truncate(from);
        target::encode_path(&plain, out);
        spare.put(plain);
    }
    if let Some(query) = edits.query().map_or(facts.query, |query| Some(query).filter(|query| !query.is_empty())) {
        out.push(b'?');
        if edits.dropped_query_args().next().is_none() {
            target::encode_query(query, out);
        } else {
            let from = out.len();
            let gone = |name: &[u8]| edits.dropped_query_args().any(|dropped| dropped == name);
            let mut scratch = spare.take();
            query::remove(query, gone, &mut scratch, out);
            spare.put(scratch);
            if out.len() == from {
                // Nothing is left of it: nor is the question mark.
                out.pop();
            }
        }
    }
    put(out, [b" HTTP/1.1\r\nHost: "]);
    match edits.host() {
        Some(host) => put(out, [host]),
        None => host(plan, parts, peer, out),
    }
    put(out, [b"\r\n"]);

    let mut ids = REWRITTEN;
    for id in FORWARDED {
        if !(parts.trusted && head.has(id)) {
            ids |= id.bit();
        }
    }
    let certified = facts.client.filter(|client| client.is_verified);
    if !certificate::passes(plan.node.tls.forwarded, certified.is_some()) {
        ids |= Known::XForwardedClientCert.bit();
    }
    let mut drop = Drop::of_request(head, ids)?;
    let dress = &plan.node.dress;
    if let Some(name) = &dress.request_id_upstream {
        drop.add_name(head, name.as_bytes());
    }
    for edit in edits.of_request().iter().filter(|edit| edit.op != Op::Add) {
        drop.add_name(head, edits.name(edit));
    }
    encode::fields(head, &drop, out);

    // A call's status comes in trailers, so whoever calls takes them; and what a plugin makes of them, the client may take.
    let trailers = parts.trailers || matches!(service.protocol, Protocol::Grpc | Protocol::Grpcs);
    // RFC 9110 §10.1.4: "A sender of TE MUST also send a "TE" connection option within the Connection header field".
    put(
        out,
        [
            match (parts.websocket, trailers) {
                (false, false) => b"Connection: keep-alive\r\n",
                (false, true) => b"Connection: keep-alive, TE\r\nTE: trailers\r\n",
                (true, false) => b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
                (true, true) => b"Connection: keep-alive, Upgrade, TE\r\nUpgrade: websocket\r\nTE: trailers\r\n",
            },
            if expects { b"Expect: 100-continue\r\n" } else { b"" },
        ],
    );
    let told;
    let client_ip = if facts.client_ip == facts.peer.ip() {
        parts.peer_ip
    } else {
        told = Short::of(facts.client_ip);
        told.bytes()
    };
    put(out, [b"X-Real-IP: ", client_ip, b"\r\nX-Forwarded-For: "]);
    if head.has(Known::XForwardedFor) {
        for value in head.all(Known::XForwardedFor) {
            put(out, [value, b", "]);
        }
        put(out, [parts.peer_ip, b"\r\n"]);
    } else {
        put(out, [client_ip, b"\r\n"]);
    }
    let kept = |id: Known| parts.trusted && head.has(id);
    if !kept(Known::XForwardedProto) {
        put(out, [b"X-Forwarded-Proto: ", if parts.tls { b"https" } else { b"http" }, b"\r\n"]);
    }
    if !kept(Known::XForwardedHost) && !facts.host.is_empty() {
        put(out, [b"X-Forwarded-Host: ", facts.host, b"\r\n"]);
        let from = out.len() - facts.host.len() - 2;
        out[from..].make_ascii_lowercase();
    }
    if !kept(Known::XForwardedPort) {
        number_field(out, "X-Forwarded-Port", plan.node.public_port(facts.local.port()).into());
    }
    if !kept(Known::XForwardedPath) {
        // As sent, but never a byte beyond ASCII: what a field value with one means depends on who reads it.
        put(out, [b"X-Forwarded-Path: "]);
        target::encode_query(parts.raw_path, out);
        put(out, [b"\r\n"]);
    }
    if !kept(Known::XForwardedPrefix) {
        if let Some(prefix) = path::forwarded_prefix(facts.path, parts.matched, way.strip_path) {
            put(out, [b"X-Forwarded-Prefix: "]);
            target::encode_path(prefix, out);
            put(out, [b"\r\n"]);
        }
    }
    if let Some(client) = certified {
        certificate::field(plan.node.tls.forwarded, head, client, out);
    }
    if let Some(name) = &dress.via_request {
        via(head, name, parts.http2, out);
    }
    if let Some(name) = &dress.request_id_upstream {
        field(out, name, facts.request_id.as_bytes());
    }
    edits.write_request(out);
    match framing {
        Framing::None => {}
        Framing::Fixed(bytes) => number_field(out, "Content-Length", bytes),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn host(plan: &Plan, parts: &Parts<'_>, peer: &Peer, out: &mut Vec<u8>) {
    let Some(service) = parts.service else { return };
    if parts.way.preserve_host && !parts.host_sent.is_empty() {
        put(out, [parts.host_sent]);
        return;
    }
    let name = plan.upstream(service.upstream).host_header.as_deref().unwrap_or(&peer.host);
    if name.contains(':') && !name.starts_with('[') {
        put(out, [b"[", name.as_bytes(), b"]"]);
    } else {
        put(out, [name.as_bytes()]);
    }
    if service.protocol.default_port() != Some(peer.port) {
        put(out, [b":", itoa::Buffer::new().format(peer.port).as_bytes()]);
    }
}

/// What a head to the client is made of, beside the upstream's own.
pub(super) struct ToClient {
    /// How the body goes to the client.
    pub(super) length: Length,
    /// Will the connection be kept?
    pub(super) keep: bool,
    /// Is it a switch of protocols?
    pub(super) switching: bool,
    /// Would the body have another length than the upstream says?
    pub(super) resized: bool,
    /// Did it come by HTTP/2?
    pub(super) http2: bool,
}

/// Writes the head of an upstream's answer for the client.
///
/// # Errors
/// Where the upstream's Connection field lists too much.
#[expect(clippy::too_many_arguments, reason = "each is a piece of the exchange's state, borrowed apart")]
pub(super) fn answer(
    shard: &Shard,
    node: &Node,
    parts: &Parts<'_>,
    reply_head: HeadRef<'_>,
    record: &Record,
    edits: &Edits,
    to: &ToClient,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let dress = &node.dress;
    let head = reply_head.head;
    match edits.status() {
        Some(status) => encode::status_line(Version::H11, status, reply::reason(status).as_bytes(), out),
        None => encode::status_line(Version::H11, head.status, reply_head.reason(), out),
    }
    let mut ids = Known::Via.bit() | Known::ContentLengthLookalike.bit() | Known::TransferEncodingLookalike.bit();
    if to.length != Length::None || to.resized {
        ids |= Known::ContentLength.bit();
    }
    if !parts.trailers {
        ids |= Known::Trailer.bit();
    }
    let mut drop = Drop::of_reply(reply_head, ids)?;
    if let Some(name) = &dress.request_id_client {
        drop.add_name(reply_head, name.as_bytes());
    }
    for edit in edits.of_reply().iter().filter(|edit| edit.op != Op::Add) {
        drop.add_name(reply_head, edits.name(edit));
    }
    encode::fields(reply_head, &drop, out);
    if !reply_head.has(Known::Date) && !edits.decides_reply(b"Date") {
        field(out, "Date", &shard.date());
    }
    if !reply_head.has(Known::Server) && !edits.decides_reply(b"Server") {
        if let Some(server) = &dress.server {
            field(out, "Server", server.as_bytes());
        }
    }
    match to.length {
        Length::None | Length::UntilClose => {}
        Length::Fixed(bytes) => number_field(out, "Content-Length", bytes),
        Length::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    let connection: &[u8] = match (to.switching, to.keep) {
        (true, _) => b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        (false, false) => b"Connection: close\r\n",
        (false, true) => b"Connection: keep-alive\r\n",
    };
    put(out, [connection]);
    if let Some(name) = &dress.via_reply {
        via(reply_head, name, to.http2, out);
    }
    latencies(dress, record, out);
    if let Some(name) = &dress.upstream_status {
        number_field(out, name, record.upstream_status.into());
    }
    if let Some(name) = &dress.request_id_client {
        field(out, name, &record.id);
    }
    debug_fields(dress, parts, out);
    edits.write_reply(out);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes an interim answer (RFC 9110 §15.2): only its own fields, and none of ours.
///
/// # Errors
/// As [`answer`].
pub(super) fn interim(reply_head: HeadRef<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    encode::status_line(Version::H11, reply_head.head.status, reply_head.reason(), out);
    let drop = Drop::of_reply(reply_head, 0)?;
    encode::fields(reply_head, &drop, out);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn latencies(dress: &Dress, record: &Record, out: &mut Vec<u8>) {
    if let Some(name) = &dress.upstream_latency {
        number_field(out, name, record.upstream_us.unwrap_or(0) / 1000);
    }
    if let Some(name) = &dress.proxy_latency {
        number_field(out, name, record.proxy_us / 1000);
    }
}

/// Fields of answers made here.
pub(super) fn local_fields(dress: &Dress, record: &Record, proxied: bool, edits: &Edits, out: &mut Vec<u8>) {
    if let Some(server) = dress.server.as_ref().filter(|_| !edits.decides_reply(b"Server")) {
        field(out, "Server", server.as_bytes());
    }
    if proxied {
        latencies(dress, record, out);
    } else if let Some(name) = &dress.response_latency {
        number_field(out, name, record.total_us() / 1000);
    }
    if let Some(name) = &dress.request_id_client {
        field(out, name, &record.id);
    }
}

/// Which route and service it was, where the node allows it and the client asks.
pub(super) fn debug_fields(dress: &Dress, parts: &Parts<'_>, out: &mut Vec<u8>) {
    let Some(trigger) = &dress.debug_trigger else { return };
    if parts.head.find(trigger.as_bytes()).is_none() {
        return;
    }
    let [route_id, route_name, service_id, service_name] = &dress.debug_names;
    if let Some(route) = parts.route {
        field(out, route_id, route.id.to_string().as_bytes());
        if let Some(name) = &route.name {
            checked_field(out, route_name, name.as_bytes());
        }
    }
    if let Some(service) = parts.service {
        field(out, service_id, service.id.to_string().as_bytes());
        if let Some(name) = &service.name {
            checked_field(out, service_name, name.as_bytes());
        }
    }
}

/// A field whose value comes from a configuration or a plugin: it must not end its line.
pub(super) fn checked_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.iter().map(|&b| if b < b' ' && b != b'\t' || b == 0x7f { b' ' } else { b }));
    out.extend_from_slice(b"\r\n");
}

/// What the field held, and this hop behind it (RFC 9110 §7.6.3).
fn via(head: HeadRef<'_>, name: &str, http2: bool, out: &mut Vec<u8>) {
    put(out, [b"Via: "]);
    if head.has(Known::Via) {
        for value in head.all(Known::Via).filter(|value| !value.is_empty()) {
            put(out, [value, b", "]);
        }
    }
    let version: &[u8] = match head.head.version {
        _ if http2 => b"2 ",
        Version::H10 => b"1.0 ",
        Version::H11 => b"1.1 ",
    };
    put(out, [version, name.as_bytes(), b"\r\n"]);
}

/// How the body of an answer goes to a client: as it came, or in the way this client can be told where it ends.
pub(super) fn length_for_client(length: Length, request: Version) -> Length {
    match (length, request) {
        (Length::Chunked | Length::UntilClose, Version::H11) => Length::Chunked,
        (Length::Chunked | Length::UntilClose, Version::H10) => Length::UntilClose,
        (length, _) => length,
    }
}
