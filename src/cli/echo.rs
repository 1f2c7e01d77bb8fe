//! The upstreams of the demo: they answer any request with what they saw of it, as JSON.
//!
//! A thread per connection on the standard library's sockets: made to be looked at, not to be fast. It believes its one
//! client, the gateway, and so reads bodies by `Content-Length` or `chunked` without further questions.

use serde_json::{json, Map, Value};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Largest body that is repeated; the rest is read and left out.
const SHOWN_BYTES_MAX: u64 = 4 * 1024;

/// Silence after which a connection is closed, s.
const IDLE_S: u64 = 90;

/// An upstream that listens.
pub(super) struct Upstream {
    /// Where.
    pub(super) addr: SocketAddr,
}

impl Upstream {
    /// Listens on `addr`, or on any free port where that is taken, and answers under `name` for the life of the process.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn start(name: &'static str, addr: SocketAddr) -> io::Result<Upstream> {
        let listener = TcpListener::bind(addr).or_else(|_| TcpListener::bind((addr.ip(), 0)))?;
        let addr = listener.local_addr()?;
        thread::Builder::new().name(format!("demo-{name}")).spawn(move || {
            for stream in listener.incoming().flatten() {
                let spawned = thread::Builder::new().name(format!("demo-{name}")).spawn(move || {
                    // What a client breaks off is no one's business here.
                    let _ = serve(name, stream);
                });
                if spawned.is_err() {
                    thread::sleep(Duration::from_millis(100));
                }
            }
        })?;
        Ok(Upstream { addr })
    }
}

fn serve(name: &str, stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(IDLE_S)))?;
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(seen) = read_request(&mut input)? {
        let body = format!("{:#}\n", seen.shown(name));
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        out.write_all(if seen.method == "HEAD" { head } else { head + &body }.as_bytes())?;
    }
    Ok(())
}

struct Seen {
    method: String,
    target: String,
    headers: Map<String, Value>,
    body: String,
    body_bytes: u64,
}

impl Seen {
    fn shown(&self, name: &str) -> Value {
        json!({
            "upstream": name,
            "method": self.method,
            "path": self.target,
            "headers": self.headers,
            "body": self.body,
            "body_bytes": self.body_bytes,
        })
    }
}

/// The next request; `None` when the client has closed.
fn read_request(input: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
    let first = line(input)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Map::new();
    loop {
        let line = line(input)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), Value::from(value.trim()));
    }
    let text = |name: &str| headers.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut body = Vec::new();
    let body_bytes = if text("transfer-encoding").eq_ignore_ascii_case("chunked") {
        let mut total = 0;
        loop {
            let size = line(input)?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if size == 0 {
                while !line(input)?.is_empty() {}
                break total;
            }
            take(input, size, &mut body)?;
            line(input)?;
            total += size;
        }
    } else {
        let length = text("content-length").parse().unwrap_or(0);
        take(input, length, &mut body)?;
        length
    };
    Ok(Some(Seen { method, target, headers, body: String::from_utf8_lossy(&body).into_owned(), body_bytes }))
}

/// A line without its end; empty at the end of the connection.
fn line(input: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.by_ref().take(64 * 1024).read_until(b'\n', &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads `length` bytes and keeps the first of them.
fn take(input: &mut BufReader<TcpStream>, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let room = SHOWN_BYTES_MAX.saturating_sub(body.len() as u64).min(length);
    input.by_ref().take(room).read_to_end(body)?;
    io::copy(&mut input.by_ref().take(length - room), &mut io::sink()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_on_one_connection_are_answered_in_order() {
        let upstream = Upstream::start("test", "127.0.0.1:0".parse().unwrap()).unwrap();
        let mut stream = TcpStream::connect(upstream.addr).unwrap();
        stream
            .write_all(
                b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
                  PUT /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n\
                  HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
            )
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let parts: Vec<&str> = text.split("HTTP/1.1 200 OK").skip(1).collect();
        assert_eq!(parts.len(), 3, "{text}");
        for (part, target) in [(parts[0], "/a?b=c"), (parts[1], "/d")] {
            let json: Value = serde_json::from_str(part.split_once("\r\n\r\n").unwrap().1).unwrap();
            assert_eq!(
                (&json["path"], &json["body"], &json["headers"]["host"]),
                (&json!(target), &json!("abc"), &json!("x"))
            );
        }
        assert!(parts[2].ends_with("\r\n\r\n"));
    }
}
