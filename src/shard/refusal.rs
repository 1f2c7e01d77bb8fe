//! What a client sees when something fails: one match, and the bytes that come of it.

use super::forward;
use super::look::Parts;
use super::request::Record;
use super::upstream::NoPeer;
use super::Shard;
use crate::base::bytes::put;
use crate::base::limits::FIELDS_MAX;
use crate::hook::{Edits, Op, Reply, ReplyBody};
use crate::http::accept::{self, Format};
use crate::http::headers::Drop;
use crate::http::{encode, grpc, reply, Fault, Head, HeadRef, Known, Version};
use crate::plan::Dress;
use std::borrow::Cow;

/// Why a request is not answered by an upstream. Grouped by whose fault it is.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The client's: what it sent cannot be served, and where the next request begins may be in doubt.
    Client(u16, Option<Fault>),
    /// Nothing matches.
    NoRoute,
    /// The route leads nowhere.
    NoService,
    /// The route is for TLS only; the status says what to tell.
    NotHttps(u16),
    /// The route is for gRPC only.
    NotGrpc,
    /// The route is for gRPC, and gRPC needs HTTP/2.
    NeedHttp2,
    /// The route is for gRPC over TLS only.
    GrpcNeedsTls,
    /// `OPTIONS *`: about the gateway itself; not a failure.
    Asterisk,
    /// A plugin answered; not a failure.
    Policy(Box<Reply>),
    /// The same with a message that stands in the edits.
    Noted(u16),
    /// A plugin has put this status in the place of an upstream's answer; not a failure.
    Replaced(u16),
    /// There is no target to ask.
    NoPeer(NoPeer),
    /// The upstream could not be reached, or closed, or sent what is no answer.
    BadUpstream,
    /// The upstream was too slow.
    SlowUpstream,
    /// The service speaks a protocol that is not served.
    Unserved,
    /// The client is gone: there is nobody to tell.
    Gone,
    /// The answer has begun and cannot be finished: the connection is cut, so that nobody takes the part for the whole.
    Cut,
    /// The same, of an answer whose framing says what is missing: the connection ends in good order, after all that came.
    Short,
}

/// The bytes' ingredients.
struct Told {
    status: u16,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    body: ReplyBody,
    /// A transport error takes its media type from what the client sends, where it does not say what it accepts.
    transport: bool,
    /// Is where the next request begins in doubt?
    close: bool,
    /// Was an upstream tried?
    proxied: bool,
    word: &'static str,
}

impl Told {
    fn message(status: u16, message: &'static str, word: &'static str) -> Told {
        let body = ReplyBody::Message(message.into());
        Told { status, headers: Vec::new(), body, transport: false, close: false, proxied: false, word }
    }

    fn transport(status: u16, word: &'static str) -> Told {
        Told { transport: true, ..Told::message(status, message_of(status), word) }
    }
}

fn told(refusal: Refusal, https_location: impl FnOnce() -> String) -> Option<Told> {
    Some(match refusal {
        Refusal::Client(status, fault) => Told {
            close: fault.is_some() || matches!(status, 400 | 405 | 408 | 413 | 501 | 505),
            ..Told::transport(status, fault.map_or("client", |_| "malformed"))
        },
        Refusal::NoRoute => Told::message(404, "no Route matched with those values", "no_route"),
        Refusal::NoService => Told::message(503, "no Service found with those values", "no_service"),
        Refusal::NotHttps(426) => {
            let mut told = Told::message(426, "Please use HTTPS protocol", "not_https");
            told.headers.push(("Connection".into(), "Upgrade".into()));
            told.headers.push(("Upgrade".into(), "TLS/1.2, HTTP/1.1".into()));
            told
        }
        Refusal::NotHttps(status) => Told {
            body: ReplyBody::Empty,
            headers: vec![("Location".into(), https_location().into())],
            ..Told::message(status, "", "not_https")
        },
        Refusal::NotGrpc => Told::message(415, "Non-gRPC request matched gRPC route", "not_grpc"),
        Refusal::NeedHttp2 => {
            let mut told = Told::message(426, "Please use HTTP2 protocol", "not_http2");
            told.headers.push(("Connection".into(), "Upgrade".into()));
            told.headers.push(("Upgrade".into(), "HTTP/2".into()));
            told
        }
        Refusal::GrpcNeedsTls => Told::message(200, "gRPC request matched gRPCs route", "not_https"),
        Refusal::Asterisk => Told {
            body: ReplyBody::Empty,
            headers: vec![("Allow".into(), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".into())],
            ..Told::message(200, "", "asterisk")
        },
        Refusal::Policy(reply) => {
            let Reply { status, headers, body } = *reply;
            Told { headers, body, ..Told::message(status, "", "policy") }
        }
        Refusal::Noted(status) => Told { body: ReplyBody::Noted, ..Told::message(status, "", "policy") },
        Refusal::Replaced(status) => {
            Told { body: ReplyBody::Empty, proxied: true, ..Told::message(status, "", "policy") }
        }
        Refusal::NoPeer(NoPeer::Name) => Told::message(503, "name resolution failed", "name"),
        Refusal::NoPeer(NoPeer::Empty) => Told::message(503, NO_PEER, "no_peer"),
        Refusal::NoPeer(NoPeer::Down) => Told::message(503, NO_PEER, "unhealthy"),
        Refusal::BadUpstream => Told { proxied: true, ..Told::transport(502, "bad_upstream") },
        Refusal::SlowUpstream => Told { proxied: true, ..Told::transport(504, "slow_upstream") },
        Refusal::Unserved => Told::message(501, "This protocol is not served", "unserved"),
        Refusal::Gone | Refusal::Cut | Refusal::Short => return None,
    })
}

/// What is said where nobody can be asked, in the words that clients know.
const NO_PEER: &str = "failure to get a peer from the ring-balancer";

/// The sentences of transport errors.
fn message_of(status: u16) -> &'static str {
    match status {
        400 => "Bad request",
        404 => "Not found",
        405 => "Method not allowed",
        408 => "Request timeout",
        411 => "Length required",
        412 => "Precondition failed",
        413 => "Payload too large",
        414 => "URI too long",
        417 => "Expectation failed",
        421 => "Misdirected request",
        425 => "Too early",
        431 => "Request header or cookie too large",
        501 => "Not implemented",
        502 => "An invalid response was received from the upstream server",
        503 => "The upstream server is currently unavailable",
        504 => "The upstream server is timing out",
        505 => "HTTP version not supported",
        _ => "An unexpected error occurred",
    }
}

/// An answer ready to be sent.
pub(super) struct Rendered {
    /// Must the connection be closed after it?
    pub(super) close: bool,
}

/// Renders the answer to a refusal into `out`; `None` where there is nobody to tell. `parts` is `None` for requests that
/// could not be read. `keep`: may the connection be kept, as far as the caller knows? `hooks` runs the response hooks over
/// its head, for which `own` is the room, and its body.
#[expect(clippy::too_many_arguments, reason = "each is a piece of the exchange's state, borrowed apart")]
pub(super) fn render(
    shard: &Shard,
    parts: Option<&Parts<'_>>,
    record: &mut Record,
    refusal: Refusal,
    keep: bool,
    edits: &mut Edits,
    own: &mut Head,
    mut hooks: impl FnMut(HeadRef<'_>, &mut Edits, &mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Option<Rendered> {
    let world = shard.world();
    let dress = &world.tables.plan.node.dress;
    let mut told = told(refusal, || parts.map_or(String::new(), https_location))?;
    if told.transport && told.status == 431 {
        told.status = dress.head_too_large;
    }
    record.status = told.status;
    record.refusal = told.word;
    let keep = keep && !told.close && !shard.is_draining();
    let head = parts.map(|parts| parts.head);
    let version = head.map_or(Version::H11, |head| head.head.version);
    let is_head = head.is_some_and(|head| head.head.method == crate::http::Method::Head);

    if let ReplyBody::Message(message) = &told.body {
        edits.set_message(message);
    }
    let mut body = shard.small.take();
    let is_call = parts.is_some_and(|parts| parts.grpc);
    let content_type: Cow<'_, str> = match &told.body {
        ReplyBody::Empty => "".into(),
        // A caller of gRPC reads fields, not bodies.
        ReplyBody::Message(_) | ReplyBody::Noted if is_call => "application/grpc".into(),
        ReplyBody::Message(message) => {
            let format = format_of(head, dress, told.transport);
            template(format, message.as_bytes(), &record.id, &mut body);
            format.content_type().into()
        }
        ReplyBody::Noted => {
            let format = format_of(head, dress, told.transport);
            template(format, edits.message_bytes(), &record.id, &mut body);
            format.content_type().into()
        }
        ReplyBody::Json(text) => {
            body.extend_from_slice(text.as_bytes());
            "application/json; charset=utf-8".into()
        }
        ReplyBody::Raw { content_type, bytes } => {
            body.extend_from_slice(bytes);
            content_type.as_ref().into()
        }
    };
    let named_by_plugin = |name: &str| told.headers.iter().any(|(held, _)| held.eq_ignore_ascii_case(name));
    let said = match &told.body {
        ReplyBody::Message(message) if is_call => Some(message.as_ref()),
        ReplyBody::Noted if is_call => Some(edits.message()),
        _ => None,
    };
    encode::status_line(Version::H11, told.status, reply::reason(told.status).as_bytes(), out);
    let hooked = parts.is_some_and(|parts| parts.way.responds || parts.way.rewrites);
    if !hooked && told.headers.is_empty() && said.is_none() && !edits.decides_reply(b"Content-Type") {
        // Nobody looks at the head of a refusal like most: it is not made to be looked at.
        field(out, "Date", &shard.date());
        if !content_type.is_empty() {
            field(out, "Content-Type", content_type.as_bytes());
        }
    } else {
        // What hooks see and edit: the fields its maker gave it. Those that every answer has are written after them.
        own.clear();
        own.status = told.status;
        let mut buf = shard.small.take();
        if !content_type.is_empty() && !named_by_plugin("content-type") {
            own.append(&mut buf, b"Content-Type", content_type.as_bytes());
        }
        if let Some(message) = said {
            // Plain gRPC to a route of gRPC over TLS is "cancelled" and a success of HTTP, as its clients know it.
            let status = if told.status == 200 { 1 } else { grpc::status_of(told.status) };
            own.append(&mut buf, b"grpc-status", itoa::Buffer::new().format(status).as_bytes());
            own.append(&mut buf, b"grpc-message", grpc::encode_message(message).as_bytes());
        }
        for (name, value) in told.headers.iter().take(FIELDS_MAX - 3) {
            match !keep && name.eq_ignore_ascii_case("connection") && !value.to_ascii_lowercase().contains("close") {
                true => own_field(own, &mut buf, name, &format!("{value}, close")),
                false => own_field(own, &mut buf, name, value),
            }
        }
        let head = own.on(&buf);
        hooks(head, edits, &mut body);
        field(out, "Date", &shard.date());
        let mut drop = Drop::none();
        for edit in edits.of_reply().iter().filter(|edit| edit.op != Op::Add) {
            drop.add_name(head, edits.name(edit));
        }
        encode::fields(head, &drop, out);
        shard.put_buf(buf);
    }
    if !keep && !named_by_plugin("connection") {
        field(out, "Connection", b"close");
    } else if keep && version == Version::H10 {
        field(out, "Connection", b"keep-alive");
    }
    // 204 and 304 have no body by definition, and 204 no length either (RFC 9110 §8.6).
    let bodyless = matches!(told.status, 100..=199 | 204 | 304);
    if !bodyless {
        number_field(out, "Content-Length", body.len() as u64);
    }
    forward::local_fields(dress, record, told.proxied, edits, out);
    if let Some(parts) = parts {
        forward::debug_fields(dress, parts, out);
    }
    edits.write_reply(out);
    edits.clear();
    out.extend_from_slice(b"\r\n");
    if !is_head && !bodyless {
        out.extend_from_slice(&body);
    }
    shard.put_buf(body);
    Some(Rendered { close: !keep })
}

/// A field whose value comes from a configuration or a plugin: it must not end its line.
fn own_field(own: &mut Head, buf: &mut Vec<u8>, name: &str, value: &str) {
    let is_plain = |text: &str| !text.bytes().any(|b| b < b' ' && b != b'\t' || b == 0x7f);
    if is_plain(value) {
        own.append(buf, name.as_bytes(), value.as_bytes());
    } else {
        own.append(buf, name.as_bytes(), value.replace(|c: char| c.is_ascii_control() && c != '\t', " ").as_bytes());
    }
}

pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(out, [name.as_bytes(), b": ", value, b"\r\n"]);
}

pub(super) fn number_field(out: &mut Vec<u8>, name: &str, value: u64) {
    field(out, name, itoa::Buffer::new().format(value).as_bytes());
}

/// Where a request over plain HTTP is sent: the same target on the host that the upstream would have been told of, so
/// that a trusted load balancer's name for it holds.
fn https_location(parts: &Parts<'_>) -> String {
    let mut to = String::from("https://");
    match parts.head.field(Known::XForwardedHost).filter(|_| parts.trusted) {
        Some(said) => to.push_str(&String::from_utf8_lossy(said)),
        None => to.push_str(&String::from_utf8_lossy(parts.facts.host).to_ascii_lowercase()),
    }
    to.push_str(&String::from_utf8_lossy(parts.raw_path));
    if let Some(query) = parts.facts.query {
        to.push('?');
        to.push_str(&String::from_utf8_lossy(query));
    }
    to
}

fn format_of(head: Option<crate::http::HeadRef<'_>>, dress: &Dress, transport: bool) -> Format {
    let accept = head.and_then(|head| head.field(Known::Accept));
    if !transport || accept.is_some() {
        return accept::choose(accept);
    }
    let sent = head.and_then(|head| head.field(Known::ContentType));
    let media = |text: &[u8]| {
        let end = text.iter().position(|&b| b == b';').unwrap_or(text.len());
        Format::of_media(crate::http::headers::trim(&text[..end]))
    };
    sent.map_or_else(|| media(dress.error_type.as_bytes()), media)
}

/// The error template in one of its four forms.
fn template(format: Format, message: &[u8], id: &[u8; 32], out: &mut Vec<u8>) {
    match format {
        Format::Json => {
            out.extend_from_slice(b"{\n  \"message\":");
            super::log::text(out, message);
            out.extend_from_slice(b",\n  \"request_id\":\"");
            out.extend_from_slice(id);
            out.extend_from_slice(b"\"\n}");
        }
        Format::Plain => {
            out.extend_from_slice(message);
            out.extend_from_slice(b"\nrequest_id: ");
            out.extend_from_slice(id);
            out.push(b'\n');
        }
        Format::Xml => {
            out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>");
            escape_markup(message, out);
            out.extend_from_slice(b"</message>\n  <requestid>");
            out.extend_from_slice(id);
            out.extend_from_slice(b"</requestid>\n</error>\n");
        }
        Format::Html => {
            out.extend_from_slice(b"<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error");
            out.extend_from_slice(b"</title>\n  </head>\n  <body>\n    <h1>Error</h1>\n    <p>");
            escape_markup(message, out);
            out.extend_from_slice(b".</p>\n    <p>request_id: ");
            out.extend_from_slice(id);
            out.extend_from_slice(b"</p>\n  </body>\n</html>\n");
        }
    }
}

fn escape_markup(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            _ => out.push(byte),
        }
    }
}
