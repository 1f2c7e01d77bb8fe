//! The access log: one JSON line a request, rendered once, straight into this shard's ring. A writer thread empties the
//! rings; a full one drops the line and counts it, and nobody ever waits.

use super::look::Parts;
use super::request::Record;
use super::serve::Client;
use crate::base::bytes::{is_plain_json, put};
use crate::hook::Identity;
use crate::plan::{LogField, Plan};
use std::borrow::Cow;

/// Longest line, bytes; what peers send is cut to fit.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// Longest value of a peer in a line, bytes.
const VALUE_BYTES_MAX: usize = 4 * 1024;

/// A shard's end of its ring.
pub(super) struct Ring {
    ring: Option<rtrb::Producer<u8>>,
    line: Vec<u8>,
}

impl Ring {
    pub(super) fn new(ring: Option<rtrb::Producer<u8>>) -> Ring {
        Ring { ring, line: Vec::with_capacity(1024) }
    }

    /// Writes the line of a request; `false` where the ring is full.
    pub(super) fn write(&mut self, plan: &Plan, fields: &[(String, LogField)], entry: &Entry<'_>) -> bool {
        let Some(ring) = &mut self.ring else { return true };
        let line = &mut self.line;
        line.clear();
        line.push(b'{');
        for (at, (key, field)) in fields.iter().enumerate() {
            if at > 0 {
                line.push(b',');
            }
            text(line, key.as_bytes());
            line.push(b':');
            value(line, plan, *field, entry);
        }
        line.extend_from_slice(b"}\n");
        // Whole lines only: the writer never has to look for where one ends.
        ring.push_entire_slice(line).is_ok()
    }
}

/// What a line is made of.
pub(super) struct Entry<'a> {
    pub(super) parts: Option<&'a Parts<'a>>,
    pub(super) record: &'a Record,
    pub(super) client: &'a Client,
    pub(super) identity: Identity,
    pub(super) route: &'a str,
    pub(super) service: &'a str,
    pub(super) shard: usize,
    pub(super) wall_ms: u64,
}

fn value(line: &mut Vec<u8>, plan: &Plan, field: LogField, entry: &Entry<'_>) {
    let record = entry.record;
    let head = entry.parts.map(|parts| parts.head);
    match field {
        LogField::TimestampMs => number(line, entry.wall_ms),
        LogField::TimeIso8601 => iso8601(line, entry.wall_ms),
        LogField::RequestId => text(line, &record.id),
        LogField::RemoteAddr => {
            line.push(b'"');
            let ip = entry.parts.map_or(entry.client.peer.ip(), |parts| parts.facts.client_ip);
            display(line, ip);
            line.push(b'"');
        }
        LogField::RemotePort => number(line, entry.client.peer.port().into()),
        LogField::Method => text(line, head.map_or(b"", |head| head.method_bytes())),
        LogField::Uri => text(line, head.map_or(b"", |head| head.target())),
        LogField::Host => {
            let host = head.and_then(|head| head.field(crate::http::Known::Host));
            text(line, host.unwrap_or_default());
        }
        LogField::Scheme => {
            let https = entry.parts.is_some_and(|parts| parts.facts.https);
            text(line, if https { b"https" } else { b"http" });
        }
        LogField::Protocol if entry.client.is_http2() => text(line, b"HTTP/2.0"),
        LogField::Protocol => text(line, head.map_or("", |head| head.head.version.text()).as_bytes()),
        LogField::Status => number(line, record.status.into()),
        LogField::UpstreamStatus => number(line, record.upstream_status.into()),
        LogField::LatencyMs => number(line, record.total_us() / 1000),
        LogField::UpstreamLatencyMs => match record.upstream_us {
            Some(us) => number(line, us / 1000),
            None => line.extend_from_slice(b"-1"),
        },
        LogField::ProxyLatencyMs => number(line, record.proxy_us / 1000),
        LogField::BytesSent => number(line, record.bytes_out),
        LogField::BytesReceived => number(line, record.bytes_in),
        LogField::Consumer => {
            let consumer = entry.identity.consumer.map(|ix| plan.consumer(ix));
            text(line, consumer.and_then(|consumer| consumer.username).unwrap_or("").as_bytes());
        }
        LogField::Route => text(line, entry.route.as_bytes()),
        LogField::Service => text(line, entry.service.as_bytes()),
        LogField::Upstream => {
            line.push(b'"');
            if let Some(addr) = record.upstream {
                display(line, addr);
            }
            line.push(b'"');
        }
        LogField::Tries => number(line, record.tries.into()),
        LogField::UserAgent => {
            text(line, head.and_then(|head| head.field(crate::http::Known::UserAgent)).unwrap_or_default());
        }
        LogField::Referer => {
            text(line, head.and_then(|head| head.field(crate::http::Known::Referer)).unwrap_or_default());
        }
        LogField::Shard => number(line, entry.shard as u64),
        LogField::Refusal => text(line, record.refusal.as_bytes()),
        of_tls => text(line, secured(of_tls, entry.client).as_bytes()),
    }
}

/// What a log says of a connection's TLS; nothing of one in the clear.
fn secured(field: LogField, client: &Client) -> Cow<'_, str> {
    let Some(facts) = client.stream.facts() else { return Cow::default() };
    let shown = client.certificate.as_deref();
    match (field, shown) {
        (LogField::TlsVersion, _) => facts.version.into(),
        (LogField::TlsSuite, _) => facts.suite.into(),
        (LogField::TlsServerName, _) => facts.server_name.as_deref().unwrap_or_default().into(),
        (LogField::TlsResumed, _) => Cow::from(if facts.resumed { "r" } else { "." }),
        (LogField::ClientVerify, None) => "NONE".into(),
        (LogField::ClientVerify, Some(shown)) => Cow::from(if shown.is_verified { "SUCCESS" } else { "UNVERIFIED" }),
        (LogField::ClientSubject, Some(shown)) => shown.subject.as_str().into(),
        (LogField::ClientNames, Some(shown)) => shown.names().collect::<Vec<_>>().join(",").into(),
        (LogField::ClientSerial, Some(shown)) => shown.serial.as_str().into(),
        (LogField::ClientSha256, Some(shown)) => shown.sha256.as_str().into(),
        _ => Cow::default(),
    }
}

fn number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn display(line: &mut Vec<u8>, what: impl std::fmt::Display) {
    use std::io::Write;
    write!(line, "{what}").expect("writing to a vector cannot fail");
}

fn iso8601(line: &mut Vec<u8>, wall_ms: u64) {
    let date = crate::base::time::Date::of(crate::base::time::WallMs(wall_ms));
    let (secs, ms) = (wall_ms / 1000 % 86_400, wall_ms % 1000);
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    display(
        line,
        format_args!(
            "\"{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z\"",
            date.year, date.month, date.day
        ),
    );
}

/// A JSON string of bytes that are mostly text: controls, quotes and what is not UTF-8 are escaped, so that no peer can
/// forge or break a line.
pub(super) fn text(line: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(VALUE_BYTES_MAX)];
    if is_plain_json(bytes) {
        put(line, [b"\"", bytes, b"\""]);
        return;
    }
    line.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => line.extend_from_slice(b"\\\""),
                '\\' => line.extend_from_slice(b"\\\\"),
                c if (c as u32) < 0x20 || c as u32 == 0x7f => escape(line, c as u32),
                c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        chunk.invalid().iter().for_each(|&b| escape(line, b.into()));
    }
    line.push(b'"');
}

fn escape(line: &mut Vec<u8>, code: u32) {
    display(line, format_args!("\\u{code:04x}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_sends_stays_within_its_quotes() {
        let rows: &[(&[u8], &str)] = &[
            (b"plain", r#""plain""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"line\nbreak\0", r#""line\u000abreak\u0000""#),
            (b"caf\xc3\xa9", "\"caf\u{e9}\""),
            (b"\xff\xfe", r#""\u00ff\u00fe""#),
        ];
        for (bytes, want) in rows {
            let mut line = Vec::new();
            text(&mut line, bytes);
            assert_eq!(std::str::from_utf8(&line), Ok(*want));
            assert!(serde_json::from_slice::<String>(&line).is_ok());
        }
    }

    #[test]
    fn time_is_written_as_iso_8601() {
        let mut line = Vec::new();
        iso8601(&mut line, 784_111_777_042);
        assert_eq!(line, b"\"1994-11-06T08:49:37.042Z\"");
    }
}
