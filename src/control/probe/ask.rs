//! One probe: a connection of its own, over TLS where that is asked for, one question, and what the answer says.
//!
//! Kinds of HTTP ask for a path and look at the status alone. Those of gRPC call `grpc.health.v1.Health/Check`; the path without
//! its first slash is the service asked about, `/` the whole server.

use super::{Tls, Ward};
use crate::balance::health::Report;
use crate::base::limits;
use crate::bus::Endpoint;
use crate::http::grpc;
use crate::plan::balancing::{Active, Probe};
use crate::tls::ServerName;
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use std::io::{Error, ErrorKind, Result};
use std::net::Ipv6Addr;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a probe speaks over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Probes a target.
///
/// # Errors
/// Where it cannot be reached, closes without an answer, or sends what is none.
pub(super) async fn ask(ward: &Ward, endpoint: &Endpoint) -> Result<Report> {
    match ward.active.probe {
        Probe::Tcp => {
            TcpStream::connect(endpoint.addr).await?;
            Ok(Report::Connected)
        }
        Probe::Http | Probe::Https => {
            let status = status_in(ward, endpoint, "1.1").await?;
            // 505 HTTP Version Not Supported: an old server; it says how it is when it is asked in its own tongue.
            Ok(Report::Status(if status == 505 { status_in(ward, endpoint, "1.0").await? } else { status }))
        }
        Probe::Grpc | Probe::Grpcs => {
            let call = health_check(ward, endpoint).ok_or(ErrorKind::InvalidInput)?;
            let service = ward.active.path.strip_prefix('/').unwrap_or_default();
            call_of_grpc(open(ward, endpoint).await?, call, service).await
        }
    }
}

async fn status_in(ward: &Ward, endpoint: &Endpoint, version: &str) -> Result<u16> {
    let mut stream = open(ward, endpoint).await?;
    status_of(&mut *stream, &request(&ward.active, ward.host(endpoint), version)).await
}

/// Connects, over TLS where the ward has settings of it.
async fn open(ward: &Ward, endpoint: &Endpoint) -> Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(endpoint.addr).await?;
    let Some(Tls(config)) = &ward.tls else { return Ok(Box::new(stream)) };
    let host = ward.host(endpoint);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let name = ward.active.sni.as_deref().unwrap_or(host).to_owned();
    // What is no name is asked for by address, as services do.
    let name = ServerName::try_from(name).unwrap_or_else(|_| ServerName::from(endpoint.addr.ip()));
    let stream = tokio_rustls::TlsConnector::from(config.clone()).connect(name, stream).await?;
    let chosen = stream.get_ref().1.alpn_protocol();
    if ward.active.probe == Probe::Grpcs && chosen != Some(b"h2") {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(Box::new(stream))
}

/// The request, as bytes. A field whose name is none is left out, and no value can end its line.
fn request(active: &Active, host: &str, version: &str) -> Vec<u8> {
    let host = bracketed(host);
    let mut text = format!("GET {} HTTP/{version}\r\nConnection: close\r\n", clean(&active.path));
    if !is_given(active, "host") {
        text += &format!("Host: {host}\r\n");
    }
    if !is_given(active, "user-agent") {
        text += "User-Agent: ringway-probe\r\n";
    }
    let is_token =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    for (name, values) in active.headers.iter().filter(|(name, _)| is_token(name)) {
        for value in values {
            text += &format!("{name}: {}\r\n", clean(value));
        }
    }
    text += "\r\n";
    text.into_bytes()
}

fn is_given(active: &Active, name: &str) -> bool {
    active.headers.iter().any(|(held, _)| held.eq_ignore_ascii_case(name))
}

/// RFC 9110 §7.2: an IPv6 address stands in brackets.
fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]")
    } else {
        clean(host)
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Sends the request and reads the status of the answer; nothing after that is of interest.
async fn status_of(stream: &mut (impl Stream + ?Sized), request: &[u8]) -> Result<u16> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(limits::PROBE_REPLY_BYTES_MAX);
    loop {
        if let Some(end) = head.iter().position(|&b| b == b'\n') {
            return status(&head[..end]).ok_or_else(|| ErrorKind::InvalidData.into());
        }
        let room = limits::PROBE_REPLY_BYTES_MAX - head.len();
        if room == 0 || (&mut *stream).take(room as u64).read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// `HTTP/1.1 200 OK` → 200.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (b' ', digits) = (rest.get(1)?, rest.get(2..5)?) else { return None };
    let ends = rest.get(5).is_none_or(|&b| b == b' ' || b == b'\r');
    let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (ends && status >= 100).then_some(status)
}

/// The head of a call; `None` where the target's name can stand in no address.
fn health_check(ward: &Ward, endpoint: &Endpoint) -> Option<Request<()>> {
    let scheme = if ward.tls.is_some() { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(bracketed(ward.host(endpoint)))
        .path_and_query("/grpc.health.v1.Health/Check")
        .build()
        .ok()?;
    let mut request =
        Request::post(uri).header("content-type", "application/grpc").header("te", "trailers").body(()).ok()?;
    let fields = request.headers_mut();
    for (name, values) in &ward.active.headers {
        // What connections and calls are made of is not to be replaced.
        let Ok(name) = HeaderName::try_from(name.as_str()) else { continue };
        if name == http::header::HOST || name == http::header::CONTENT_LENGTH {
            continue;
        }
        for value in values.iter().filter_map(|value| HeaderValue::try_from(clean(value)).ok()) {
            fields.append(name.clone(), value);
        }
    }
    fields.entry("user-agent").or_insert(HeaderValue::from_static("ringway-probe"));
    Some(request)
}

/// A message of gRPC with `HealthCheckRequest { service }`.
fn message(service: &str) -> Bytes {
    let mut inner = BytesMut::new();
    if !service.is_empty() {
        // Field 1, of bytes; its length in groups of seven bits.
        inner.put_u8(0x0a);
        let mut left = service.len();
        while left >= 0x80 {
            inner.put_u8(left as u8 | 0x80);
            left >>= 7;
        }
        inner.put_u8(left as u8);
        inner.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + inner.len());
    framed.put_u8(0);
    framed.put_u32(inner.len() as u32);
    framed.put_slice(&inner);
    framed.freeze()
}

/// Does a message of gRPC hold `HealthCheckResponse { status: SERVING }`?
fn is_serving(framed: &[u8]) -> bool {
    matches!(framed, [0, 0, 0, 0, 2, 0x08, 1])
}

fn failed(error: h2::Error) -> Error {
    error.into_io().unwrap_or_else(|| ErrorKind::ConnectionReset.into())
}

async fn call_of_grpc(stream: Box<dyn Stream>, head: Request<()>, service: &str) -> Result<Report> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(limits::REPLY_HEAD_BYTES_MAX as u32);
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(failed)?;
    let call = async {
        let mut sender = sender.ready().await.map_err(failed)?;
        let (answer, mut send) = sender.send_request(head, false).map_err(failed)?;
        send.send_data(message(service), true).map_err(failed)?;
        read_health(answer.await.map_err(failed)?).await
    };
    let mut call = pin!(call);
    tokio::select! {
        biased;
        report = &mut call => report,
        // What it has said before it closed still counts.
        _ = connection => call.await,
    }
}

/// SERVING is a success whatever statuses are good ones; what else it says counts as the status that HTTP has for it.
async fn read_health(answer: Response<RecvStream>) -> Result<Report> {
    let (parts, mut body) = answer.into_parts();
    if parts.status != 200 {
        return Ok(Report::Status(parts.status.as_u16()));
    }
    let media = parts.headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !grpc::is_call(media) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(failed)?;
        if message.len() + data.len() > limits::PROBE_REPLY_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        message.extend_from_slice(&data);
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await.map_err(failed)?;
    let code = |fields: &HeaderMap| fields.get("grpc-status")?.to_str().ok()?.parse::<u16>().ok();
    let code = trailers.as_ref().and_then(code).or_else(|| code(&parts.headers)).ok_or(ErrorKind::InvalidData)?;
    Ok(match code {
        0 if is_serving(&message) => Report::Connected,
        4 => Report::Late,
        // It does not know the service, or nothing of health at all.
        5 => Report::Status(404),
        12 => Report::Status(501),
        _ => Report::Status(503),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::active;
    use super::*;

    #[test]
    fn a_request_says_whom_it_wants_and_cannot_be_split() {
        let text = |host, version| String::from_utf8(request(&active(1, 1), host, version)).unwrap();
        assert_eq!(
            text("a.test", "1.1"),
            "GET /health HTTP/1.1\r\nConnection: close\r\nHost: a.test\r\nUser-Agent: ringway-probe\r\nX-A: 1\r\n\
             X-A: 2  X-Evil: 3\r\n\r\n"
        );
        assert!(text("::1", "1.0").starts_with("GET /health HTTP/1.0\r\nConnection: close\r\nHost: [::1]\r\n"));
        assert!(text("a.test:81", "1.1").contains("\r\nHost: a.test:81\r\n"));
    }

    #[test]
    fn a_status_is_read_from_its_line_only() {
        for (line, want) in [
            ("HTTP/1.1 200 OK\r", Some(200)),
            ("HTTP/1.0 503", Some(503)),
            ("HTTP/1.1 200\r", Some(200)),
            ("HTTP/1.1 2000 OK", None),
            ("HTTP/1.1 099 OK", None),
            ("HTTP/1.1 2 0", None),
            ("HTTP/1.1  200", None),
            ("HTTP/2 200", None),
            ("SSH-2.0-x", None),
            ("", None),
        ] {
            assert_eq!(status(line.as_bytes()), want, "{line:?}");
        }
    }

    /// Real sockets: what a server says is what a probe finds.
    #[test]
    fn a_probe_finds_what_the_server_says() {
        use tokio::net::TcpListener;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let rows: &[(&[u8], Option<u16>)] = &[
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some(200)),
            (b"HTTP/1.0 404 Not Found\n\n", Some(404)),
            (b"", None),
            (b"nonsense\r\n", None),
            (&[b'x'; 4096], None),
        ];
        for (answer, want) in rows {
            let got = runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addr = listener.local_addr().unwrap();
                let server = async {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut head = [0; 1024];
                    let count = stream.read(&mut head).await.unwrap();
                    assert!(head[..count].starts_with(b"GET /health HTTP/1.1\r\n"));
                    let _ = stream.write_all(answer).await;
                };
                let asked = request(&active(1, 1), "a.test", "1.1");
                let client = async {
                    let mut stream = TcpStream::connect(addr).await.unwrap();
                    status_of(&mut stream, &asked).await
                };
                let (got, ()) = tokio::join!(client, server);
                got.ok()
            });
            assert_eq!(got, *want, "{:?}", String::from_utf8_lossy(&answer[..answer.len().min(20)]));
        }
    }

    #[test]
    fn a_health_check_is_a_message_of_grpc() {
        assert_eq!(message(""), &[0, 0, 0, 0, 0][..]);
        assert_eq!(message("a.S"), &b"\0\0\0\0\x05\x0a\x03a.S"[..]);
        let long = "x".repeat(300);
        assert_eq!(message(&long)[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
        assert!(is_serving(b"\0\0\0\0\x02\x08\x01"));
        for other in
            [&b""[..], b"\0\0\0\0\0", b"\0\0\0\0\x02\x08\x02", b"\x01\0\0\0\x02\x08\x01", b"\0\0\0\0\x02\x10\x01"]
        {
            assert!(!is_serving(other), "{other:?}");
        }
    }
}
