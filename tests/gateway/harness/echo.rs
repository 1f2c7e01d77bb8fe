//! The upstream that the rows of `cases/` expect: it says what it was asked, as JSON.
//!
//! Any path → 200 `{name, method, uri, headers (lower-case keys), args, body}`; `/status/N`, `/delay/S`,
//! `/response-headers?K=V`, `/cache/N` and `/drop` do what they say. It counts requests, for rows about retries and shares.

use super::wire::{Head, Message, Wire};
use super::PATIENCE;
use serde_json::{json, Map, Value};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// An echo upstream on a port of 127.0.0.1.
pub(crate) struct Echo {
    pub(crate) addr: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Echo {
    /// Listens on any port, as `name`.
    pub(crate) fn start(name: &str) -> Echo {
        Echo::on(TcpListener::bind("127.0.0.1:0").unwrap(), name)
    }

    /// Serves a listener, on its own threads, until the test process ends.
    pub(crate) fn on(listener: TcpListener, name: &str) -> Echo {
        let addr = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let (name, counter) = (name.to_owned(), count.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (name, counter) = (name.clone(), counter.clone());
                std::thread::spawn(move || serve(stream, &name, &counter));
            }
        });
        Echo { addr, count }
    }

    /// Requests since the last call.
    pub(crate) fn take_count(&self) -> usize {
        self.count.swap(0, Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, name: &str, count: &AtomicUsize) {
    let mut wire = Wire::of(stream, PATIENCE * 6);
    while let Ok(request) = wire.request() {
        count.fetch_add(1, Ordering::SeqCst);
        if request.head.target().contains("/drop") {
            return;
        }
        let Some(answer) = answer(&request, name) else { return websocket(wire, &request.head) };
        if wire.stream.write_all(&answer).is_err() || request.head.holds("Connection: close") {
            return;
        }
    }
}

fn answer(request: &Message, name: &str) -> Option<Vec<u8>> {
    let head = &request.head;
    if head.holds("Upgrade") {
        return None;
    }
    let uri = head.target();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let after = |prefix: &str| path.split_once(prefix).map(|(_, rest)| rest.to_owned());
    let mut status = 200;
    let mut extra = String::new();
    if let Some(code) = after("/status/") {
        status = code.parse().unwrap_or(200);
    }
    if let Some(seconds) = after("/delay/") {
        std::thread::sleep(Duration::from_secs_f64(seconds.parse().unwrap_or(0.0)));
    }
    if let Some(seconds) = after("/cache/") {
        extra += &format!("Cache-Control: public, max-age={seconds}\r\n");
    }
    if path.contains("/response-headers") {
        for (key, value) in args(query) {
            extra += &format!("{key}: {}\r\n", value.as_str().unwrap_or(""));
        }
    }
    let body = if status == 204 || status == 304 { String::new() } else { described(request, name).to_string() };
    let length =
        if status == 204 || status == 304 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let body = if head.method() == "HEAD" { "" } else { &body };
    Some(format!("HTTP/1.1 {status} Echo\r\nContent-Type: application/json\r\n{extra}{length}\r\n{body}").into_bytes())
}

/// What was asked, as JSON.
fn described(request: &Message, name: &str) -> Value {
    let head = &request.head;
    let mut headers = Map::new();
    for (name, value) in &head.fields {
        let text = match headers.get(&name.to_ascii_lowercase()).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value.clone(),
        };
        headers.insert(name.to_ascii_lowercase(), text.into());
    }
    let query = head.target().split_once('?').map_or("", |(_, query)| query);
    json!({
        "name": name, "method": head.method(), "uri": head.target(), "headers": headers, "args": args(query),
        "body": String::from_utf8_lossy(&request.body),
    })
}

fn args(query: &str) -> Map<String, Value> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| (decoded(key), Value::from(decoded(value)))).collect()
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => out.push(b' '),
            b'%' => {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&String::from_utf8_lossy(&hex), 16).unwrap_or(b'?'));
            }
            b => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Accepts the handshake, then sends back whatever comes.
fn websocket(mut wire: Wire, head: &Head) {
    let key = head.one("sec-websocket-key").unwrap_or("");
    let accept = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: echo-{key}\r\n\r\n"
    );
    if wire.stream.write_all(accept.as_bytes()).is_err() {
        return;
    }
    loop {
        let bytes = match wire.rest().len() {
            0 => match wire.fill(std::time::Instant::now() + PATIENCE * 6) {
                Ok(1..) => continue,
                _ => return,
            },
            count => wire.exactly(count).unwrap(),
        };
        if wire.stream.write_all(&bytes).is_err() {
            return;
        }
    }
}
