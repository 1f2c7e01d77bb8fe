//! Heads between HTTP/2 and HTTP/1.1 (RFC 9113 §8): the one place that refuses what would mean something else over there.
//!
//! In: what the HTTP/2 engine has read; it has refused upper-case names, connection-specific fields, pseudo-fields that are
//! unknown, repeated, late or missing, and control characters. Out: the text of a head for our own parser, whose rules then
//! hold as well; and back. No I/O.

use crate::base::bytes::put;
use crate::http::grpc;
use crate::http::headers::{self, Drop};
use crate::http::{parse, Fault, HeadRef, Known};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TRAILER};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS};

/// The request means nothing, or not the same to everybody (RFC 9113 §8.1.1): a stream error of PROTOCOL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// How a request came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ordinary one.
    Plain {
        /// Is its body in chunks, as no length was declared?
        chunked: bool,
    },
    /// An extended CONNECT (RFC 8441), which is told to the upstream as an upgrade of HTTP/1.1.
    WebSocket,
    /// An extended CONNECT to what is not served.
    UnknownProtocol,
}

/// Writes a request as HTTP/1.1. `ended`: is there no body? `key`: for the handshake of a WebSocket.
///
/// # Errors
/// [`Malformed`]; `out` then holds a part.
pub(super) fn request(
    parts: &Parts,
    ended: bool,
    key: impl FnOnce() -> [u8; 24],
    out: &mut Vec<u8>,
) -> Result<Kind, Malformed> {
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    let websocket = protocol.is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"));
    if protocol.is_some() && !websocket {
        return Ok(Kind::UnknownProtocol);
    }
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(Malformed);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let target = match (&parts.method, parts.uri.path_and_query()) {
        (&Method::CONNECT, _) if !websocket => authority.ok_or(Malformed)?,
        (_, Some(path)) => path.as_str().as_bytes(),
        (_, None) => return Err(Malformed),
    };
    // RFC 9113 §8.3.1: ":path" "MUST NOT be empty for http or https URIs", and is "*" for OPTIONS alone.
    let is_path = target.starts_with(b"/") || parts.method == Method::OPTIONS && target == b"*";
    if !is_path && (parts.method != Method::CONNECT || websocket) {
        return Err(Malformed);
    }
    let method = if websocket { "GET" } else { parts.method.as_str() };
    put(out, [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"]);
    if let Some(host) = host(authority, &parts.headers)? {
        put(out, [b"Host: ", host, b"\r\n"]);
    }
    for (name, value) in &parts.headers {
        if *name != HOST && *name != COOKIE && *name != CONTENT_LENGTH {
            field(name, value, out)?;
        }
    }
    cookies(&parts.headers, out)?;
    if websocket {
        // A body before the switch is none: everything behind the head belongs to the tunnel.
        put(out, [b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ", &key(), b"\r\n\r\n"]);
        return Ok(Kind::WebSocket);
    }
    let mut chunked = false;
    match parts.headers.get(CONTENT_LENGTH) {
        // Others say the same, or the engine would have refused them.
        Some(length) => field(&CONTENT_LENGTH, length, out)?,
        None if ended => {}
        None => {
            chunked = true;
            put(out, [b"Transfer-Encoding: chunked\r\n"]);
        }
    }
    put(out, [b"\r\n"]);
    Ok(Kind::Plain { chunked })
}

/// The host: of `:authority`, or of Host where there is none; both must say the same.
fn host<'a>(authority: Option<&'a [u8]>, fields: &'a HeaderMap) -> Result<Option<&'a [u8]>, Malformed> {
    let mut hosts = fields.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Malformed);
    }
    match (authority, host) {
        // RFC 9113 §8.3.1: ":authority" "MUST NOT include the deprecated userinfo subcomponent".
        (Some(authority), _) if authority.contains(&b'@') => Err(Malformed),
        // "A server SHOULD treat a request as malformed if it contains a Host header field that identifies an entity that
        // differs from the entity in the ":authority" pseudo-header field."
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(Malformed),
        (authority, host) => Ok(authority.or(host)),
    }
}

fn field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let value = value.as_bytes();
    // RFC 9113 §8.2.1: "A field value MUST NOT start or end with an ASCII whitespace character". A control character would
    // have been refused by the engine; that it ends no line here must not hang on that alone.
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    // Not `any`: without a way out in the middle it is a few wide instructions.
    let ends_line = value.iter().fold(false, |found, byte| found | matches!(byte, b'\r' | b'\n' | 0));
    if is_space(value.first()) || is_space(value.last()) || ends_line {
        return Err(Malformed);
    }
    put(out, [name.as_str().as_bytes(), b": ", value, b"\r\n"]);
    Ok(())
}

/// RFC 9113 §8.2.3: crumbs "MUST be concatenated into a single octet string using the two-octet delimiter of 0x3B, 0x20".
fn cookies(fields: &HeaderMap, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut any = false;
    for crumb in fields.get_all(COOKIE) {
        if !any {
            field(&COOKIE, crumb, out)?;
            any = true;
            continue;
        }
        out.truncate(out.len() - 2);
        let from = out.len();
        field(&COOKIE, crumb, out)?;
        // In the place of the name: what joins it to the crumb before.
        out.splice(from..from + COOKIE.as_str().len() + 2, *b"; ");
    }
    Ok(())
}

/// Trailers as the end of a chunked body, the last chunk included.
pub(super) fn trailers(fields: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    put(out, [b"0\r\n"]);
    for (name, value) in fields.into_iter().flatten() {
        field(name, value, out)?;
    }
    put(out, [b"\r\n"]);
    Ok(())
}

/// The head of an answer, ours and whole, as HTTP/2 has it. `websocket`: a 101 then says that the tunnel is open.
///
/// # Errors
/// [`Malformed`] where it cannot be said in HTTP/2; a fault of whoever wrote it.
pub(super) fn response(head: HeadRef<'_>, websocket: bool) -> Result<Response<()>, Malformed> {
    let drop = Drop::of_reply(head, 0).map_err(|_| Malformed)?;
    let mut response = Response::new(());
    let switched = head.head.status == 101;
    *response.status_mut() = match switched && websocket {
        true => StatusCode::OK,
        false => StatusCode::from_u16(head.head.status).map_err(|_| Malformed)?,
    };
    // One copy for all values.
    let bytes = Bytes::copy_from_slice(&head.buf[..head.head.len]);
    let fields = response.headers_mut();
    fields.reserve(head.head.fields.len());
    for (at, line) in head.head.fields.iter().enumerate() {
        if drop.has(at) || switched && line.id == Known::SecWebsocketAccept {
            continue;
        }
        // A call that fails at once is one block of fields, without a body and without a length.
        let value = line.value(head.buf);
        if line.id == Known::ContentLength && value == b"0" && grpc::is_call(head.field(Known::ContentType)) {
            continue;
        }
        let value = bytes.slice(line.value_at as usize..(line.value_at + line.value_len) as usize);
        append(line.id, line.name(head.buf), value, fields)?;
    }
    Ok(response)
}

/// A request to an upstream, ours and whole, as HTTP/2 has it. `secure`: is it asked over TLS?
///
/// # Errors
/// [`Malformed`] where it cannot be said in HTTP/2, such as a host that no URI can hold.
pub(super) fn upstream_request(head: HeadRef<'_>, secure: bool) -> Result<Request<()>, Malformed> {
    let drop = Drop::of_request(head, 0).map_err(|_| Malformed)?;
    let bytes = Bytes::copy_from_slice(&head.buf[..head.head.len]);
    let part = |at: usize, len: usize| bytes.slice(at..at + len);
    let target = head.head.target_part;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    let target = part(target.at as usize, target.len as usize);
    let path = PathAndQuery::from_maybe_shared(target.clone()).or_else(|_| {
        // Bytes that no URI has, and many clients send in queries all the same (RFC 3986 §2.1).
        let escaped = percent_encoding::percent_encode(&target, NO_URI).to_string();
        PathAndQuery::from_maybe_shared(Bytes::from(escaped))
    });
    uri.path_and_query = Some(path.map_err(|_| Malformed)?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method_bytes()).map_err(|_| Malformed)?;
    let fields = request.headers_mut();
    fields.reserve(head.head.fields.len());
    for (at, line) in head.head.fields.iter().enumerate() {
        let value = part(line.value_at as usize, line.value_len as usize);
        match line.id {
            Known::Host => uri.authority = Some(Authority::from_maybe_shared(value).map_err(|_| Malformed)?),
            Known::Te => {
                fields.insert(http::header::TE, HeaderValue::from_static("trailers"));
            }
            _ if drop.has(at) => {}
            _ => append(line.id, line.name(head.buf), value, fields)?,
        }
    }
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Malformed)?;
    Ok(request)
}

/// What a path or a query has in percent-encoding alone; "%" itself stands where it has been used.
const NO_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

fn append(id: Known, name: &[u8], value: Bytes, fields: &mut HeaderMap) -> Result<(), Malformed> {
    let name = name_of(id, name)?;
    let mut value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)?;
    value.set_sensitive(is_passing(name.as_str()));
    fields.append(name, value);
    Ok(())
}

/// A name as the engine has it; where we know it, without a copy.
fn name_of(id: Known, name: &[u8]) -> Result<HeaderName, Malformed> {
    match (id, name) {
        (Known::Other, b"grpc-status") => Ok(HeaderName::from_static("grpc-status")),
        (Known::Other, b"grpc-message") => Ok(HeaderName::from_static("grpc-message")),
        (Known::Other, _) => HeaderName::from_bytes(name).map_err(|_| Malformed),
        _ => Ok(HeaderName::from_static(id.name())),
    }
}

/// Is a field's value another one in every message? Those are written as literals that no table keeps (RFC 7541 §6.2.3): in the
/// peer's and ours they would push out what comes again, and ours looks through all values of a name before it keeps one more.
fn is_passing(name: &str) -> bool {
    let ends = |end: &str| name.ends_with(end);
    match name.as_bytes() {
        [.., b'i', b'd'] => ends("-id") || ends("traceid") || ends("spanid"),
        [.., b'c', b'y'] => ends("-latency"),
        [.., b'm', b'e'] => ends("-time"),
        [.., b'n', b'g'] => ends("-remaining") || ends("-timing"),
        [.., b'n', b't'] => ends("traceparent"),
        _ => false,
    }
}

/// Writes an upstream's answer as HTTP/1.1; is its body in chunks? `ended`: has it none?
///
/// # Errors
/// [`Malformed`]; `out` then holds a part.
pub(super) fn upstream_response(
    parts: &http::response::Parts,
    ended: bool,
    method: crate::http::Method,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    let status = parts.status.as_u16();
    head_of_answer(parts, out)?;
    let bodyless = method == crate::http::Method::Head || matches!(status, 100..=199 | 204 | 304);
    let length = parts.headers.get(CONTENT_LENGTH);
    // Trailers have a place behind chunks alone. A call's status is in them, and who announces some means to send them.
    let has_trailers = grpc::is_call(parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes))
        || parts.headers.contains_key(TRAILER);
    let mut chunked = false;
    match length {
        Some(length) if bodyless || !has_trailers => field(&CONTENT_LENGTH, length, out)?,
        _ if bodyless => {}
        _ if ended => put(out, [b"Content-Length: 0\r\n"]),
        _ => {
            chunked = true;
            put(out, [b"Transfer-Encoding: chunked\r\n"]);
        }
    }
    put(out, [b"\r\n"]);
    Ok(chunked)
}

/// Writes an upstream's interim answer as HTTP/1.1.
///
/// # Errors
/// [`Malformed`], such as a switch of protocols, which HTTP/2 does not have (RFC 9113 §8.6).
pub(super) fn upstream_interim(parts: &http::response::Parts, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if !parts.status.is_informational() || parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed);
    }
    head_of_answer(parts, out)?;
    put(out, [b"\r\n"]);
    Ok(())
}

/// The status line, with the words that HTTP/2 leaves out, and the fields but for the length.
fn head_of_answer(parts: &http::response::Parts, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let reason = parts.status.canonical_reason().unwrap_or("");
    put(out, [b"HTTP/1.1 ", parts.status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    for (name, value) in &parts.headers {
        if *name != CONTENT_LENGTH {
            field(name, value, out)?;
        }
    }
    Ok(())
}

/// The lines of a trailer section as HTTP/2 has them.
///
/// # Errors
/// [`Malformed`] as for [`response`].
pub(super) fn trailer_fields(lines: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut fields = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        if line.is_empty() {
            continue;
        }
        let (name, value) = parse::field_line(line).map_err(|_: Fault| Malformed)?;
        let id = Known::classify(name);
        if headers::is_hop_by_hop(id) {
            continue;
        }
        fields.append(name_of(id, name)?, HeaderValue::from_bytes(value).map_err(|_| Malformed)?);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[track_caller]
    fn check(method: &str, uri: &str, fields: &[(&str, &str)], ended: bool, want: Result<&str, Malformed>) {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let mut out = Vec::new();
        let got = super::request(&parts, ended, || [b'k'; 24], &mut out);
        let got = got.map(|_| String::from_utf8(out).expect("text").replace("\r\n", "|"));
        assert_eq!(got.as_deref().map_err(|bad| *bad), want, "{method} {uri} {fields:?}");
    }

    #[test]
    fn a_request_is_told_as_http1() {
        check("GET", "http://a.test/x?y", &[], true, Ok("GET /x?y HTTP/1.1|Host: a.test||"));
        check("GET", "/x", &[("host", "b.test")], true, Ok("GET /x HTTP/1.1|Host: b.test||"));
        let both = [("host", "A.test"), ("te", "trailers")];
        check("GET", "http://a.test/", &both, true, Ok("GET / HTTP/1.1|Host: a.test|te: trailers||"));
        let long = [("content-length", "5"), ("content-length", "5")];
        check("PUT", "http://a.test/", &long, false, Ok("PUT / HTTP/1.1|Host: a.test|content-length: 5||"));
        check("PUT", "http://a.test/", &[], false, Ok("PUT / HTTP/1.1|Host: a.test|Transfer-Encoding: chunked||"));
        let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")];
        let want = "GET / HTTP/1.1|Host: a.test|x: y|cookie: a=1; b=2; c=3||";
        check("GET", "http://a.test/", &crumbs, true, Ok(want));
        check("CONNECT", "a.test:443", &[], true, Ok("CONNECT a.test:443 HTTP/1.1|Host: a.test:443||"));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let rows: [(&str, &str, &[(&str, &str)]); 8] = [
            ("GET", "http://a.test/", &[("host", "b.test")]),
            ("GET", "/", &[("host", "a.test"), ("host", "a.test")]),
            ("GET", "http://u@a.test/", &[]),
            ("GET", "ftp://a.test/", &[]),
            ("GET", "http://a.test/", &[("x", " y")]),
            ("GET", "http://a.test/", &[("x", "y\t")]),
            ("GET", "http://a.test/", &[("cookie", "a=1"), ("cookie", "b=2 ")]),
            ("GET", "*", &[("host", "a.test")]),
        ];
        for (method, uri, fields) in rows {
            check(method, uri, fields, true, Err(Malformed));
        }
    }

    #[test]
    fn values_that_never_come_again_are_kept_in_no_table() {
        let text = b"HTTP/1.1 200 OK\r\nServer: x\r\nX-Request-ID: 7\r\nX-Upstream-Latency: 3\r\nPaid: no\r\nX-Time-Zone: +1\r\n\r\n";
        let mut head = crate::http::Head::new();
        parse::Parser::default().reply(text, &mut head).expect("an answer");
        let response = response(head.on(text), false).expect("sound");
        let passing = response.headers().iter().filter(|(_, value)| value.is_sensitive());
        let names: Vec<&str> = passing.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-request-id", "x-upstream-latency"]);
    }

    #[test]
    fn trailers_are_told_both_ways() {
        let fields = trailer_fields(b"Grpc-Status: 0\r\ngrpc-message: \r\nConnection: x\r\n").expect("sound");
        let mut out = Vec::new();
        trailers(Some(&fields), &mut out).expect("sound");
        assert_eq!(out, b"0\r\ngrpc-status: 0\r\ngrpc-message: \r\n\r\n");
        assert_eq!(trailer_fields(b"no colon\r\n"), Err(Malformed));
    }
}
