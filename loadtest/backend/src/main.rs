//! The origin of the load tests: keep-alive HTTP/1.1 answers from memory, as cheaply as we know how.
//!
//! The last segment of the path decides the size of the body: `4k`, `64k`, `1m`; 200 bytes for everything else. Bodies of
//! requests are read and thrown away. It trusts its peers: only what proxies on this machine send is understood.

use memchr::memmem;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use std::io::Result;
use std::net::SocketAddr;
use std::rc::Rc;

const USAGE: &str = "backend --listen ADDR [--cpu N]";

/// Largest head that is understood; request bodies pass through in pieces of this size at most.
const BUFFER_BYTES: usize = 16 * 1024;

fn main() {
    let mut args = ring::Args::read(USAGE);
    let listen: SocketAddr = args.need("listen");
    let cpu = args.take("cpu");
    args.end();
    let ended = ring::run(cpu, accept(listen));
    ring::fail(format!("cannot listen on {listen}: {ended:?}"));
}

/// Whole answers, head and body in one piece.
struct Answers {
    small: Vec<u8>,
    medium: Vec<u8>,
    large: Vec<u8>,
    huge: Vec<u8>,
}

impl Answers {
    fn new() -> Answers {
        let answer = |bytes: usize| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n"
            );
            [head.as_bytes(), &vec![b'x'; bytes]].concat()
        };
        Answers { small: answer(200), medium: answer(4 * 1024), large: answer(64 * 1024), huge: answer(1024 * 1024) }
    }

    fn to(&self, head: &[u8]) -> &[u8] {
        let line = &head[..memchr::memchr(b'\r', head).unwrap_or(head.len())];
        let path = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        if path.ends_with(b"/64k") {
            &self.large
        } else if path.ends_with(b"/1m") {
            &self.huge
        } else if path.ends_with(b"/4k") {
            &self.medium
        } else {
            &self.small
        }
    }
}

async fn accept(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind_with_config(listen, &ListenerOpts::new().backlog(4096).reuse_port(false))?;
    let answers = Rc::new(Answers::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        monoio::spawn(serve(stream, answers.clone()));
    }
}

/// What of a request is still to come.
enum Rest {
    Head,
    /// So many bytes of body.
    Bytes(usize),
    /// A chunked body: everything to its last chunk.
    Chunks,
}

async fn serve(mut stream: TcpStream, answers: Rc<Answers>) {
    let mut buf: Vec<u8> = Vec::with_capacity(BUFFER_BYTES);
    let mut out: Vec<u8> = Vec::new();
    let mut rest = Rest::Head;
    loop {
        let filled = buf.len();
        if filled == buf.capacity() {
            return;
        }
        let (got, slice) = stream.read(buf.slice_mut(filled..BUFFER_BYTES)).await;
        buf = slice.into_inner();
        let Ok(1..) = got else { return };
        let mut used = 0;
        loop {
            let left = &buf[used..];
            match rest {
                Rest::Head => {
                    let Some(end) = memmem::find(left, b"\r\n\r\n") else { break };
                    let head = &left[..end + 4];
                    out.extend_from_slice(answers.to(head));
                    rest = body_of(head);
                    used += end + 4;
                }
                Rest::Bytes(bytes) => {
                    let taken = bytes.min(left.len());
                    used += taken;
                    if taken < bytes {
                        rest = Rest::Bytes(bytes - taken);
                        break;
                    }
                    rest = Rest::Head;
                }
                Rest::Chunks => {
                    // Bodies of the load tests hold no such line themselves.
                    let Some(end) = memmem::find(left, b"0\r\n\r\n") else {
                        used += left.len().saturating_sub(4);
                        break;
                    };
                    used += end + 5;
                    rest = Rest::Head;
                }
            }
        }
        buf.drain(..used);
        // The answer to a request whose body is still coming waits for it: proxies need not expect an early one.
        if !out.is_empty() && matches!(rest, Rest::Head) {
            let (sent, back) = stream.write_all(out).await;
            if sent.is_err() {
                return;
            }
            out = back;
            out.clear();
        }
    }
}

fn body_of(head: &[u8]) -> Rest {
    // GET has none here, and is most of what comes.
    if head.starts_with(b"GET ") {
        return Rest::Head;
    }
    for line in head.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let value = line[colon + 1..].trim_ascii();
        if line[..colon].eq_ignore_ascii_case(b"content-length") {
            let bytes = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()).unwrap_or(0);
            return Rest::Bytes(bytes);
        }
        if line[..colon].eq_ignore_ascii_case(b"transfer-encoding") {
            return Rest::Chunks;
        }
    }
    Rest::Head
}
