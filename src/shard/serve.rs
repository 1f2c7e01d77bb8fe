//! A connection's life: wait for a request, answer it, wait again; give buffers back when quiet, and close politely.

use super::certificate;
use super::count::bump;
use super::early;
use super::h2::{self, Ends};
use super::request::{self, Next};
use super::{Complaint, Shard};
use crate::base::bytes::{put, Short};
use crate::base::limits::{
    HEAD_BYTES_MAX, LINGER_BYTES_MAX, LINGER_MS, LINGER_QUIET_MS, TLS_HANDSHAKES_MAX, TLS_HANDSHAKE_MS,
};
use crate::base::time::Millis;
use crate::hook::{ClientCertificate, Edits};
use crate::http::parse::{Parser, Progress};
use crate::http::{proxy_protocol, Fault, Head, Method};
use crate::io::channel::{Channel, Refused};
use crate::io::clock;
use crate::io::deadline::{Side, Watch};
use crate::io::tcp::{self, is_stopped, Lull, Peek, Stop};
use crate::route;
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;

/// A client's connection.
pub(super) struct Client {
    // Before `stream`, so that it is dropped first: a watched socket must not be closed.
    pub(super) watch: Watch,
    /// Shared with the streams of a connection that has some.
    pub(super) stream: Rc<Channel>,
    /// Where it is one stream of many: what it receives and sends by.
    pub(super) ends: Option<Box<Ends>>,
    pub(super) peer: SocketAddr,
    /// The address of `peer` as headers show it.
    pub(super) peer_ip: Short,
    pub(super) local: SocketAddr,
    /// Name of the listener it came by, where that speaks TLS.
    pub(super) listener: Option<Arc<str>>,
    /// The certificate it has shown.
    pub(super) certificate: Option<Rc<ClientCertificate>>,
    /// Does a load balancer say first whom it speaks for?
    pub(super) announces: bool,
    /// May it speak HTTP/2 from its first byte on?
    pub(super) http2: bool,
    /// The address it named.
    pub(super) announced: Cell<Option<IpAddr>>,
    pub(super) serial: u64,
    /// Requests begun, from 1.
    pub(super) requests: Cell<u64>,
    pub(super) bytes_in: Cell<u64>,
    pub(super) bytes_out: Cell<u64>,
}

impl Client {
    pub(super) fn new(shard: &Shard, stream: Channel, watch: Watch, peer: SocketAddr, local: SocketAddr) -> Client {
        Client {
            watch,
            stream: Rc::new(stream),
            ends: None,
            peer,
            peer_ip: Short::of(peer.ip()),
            local,
            listener: None,
            certificate: None,
            announces: false,
            http2: false,
            announced: Cell::new(None),
            serial: shard.next_serial(),
            requests: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
        }
    }

    /// What its streams are made from.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            stream: self.stream.clone(),
            peer: self.peer,
            peer_ip: self.peer_ip,
            local: self.local,
            listener: self.listener.clone(),
            certificate: self.certificate.clone(),
            announced: self.announced.get(),
            serial: self.serial,
        }
    }

    /// The client of one stream, which is its connection's request `nth`.
    pub(super) fn on_stream(shard: &Shard, origin: &Origin, nth: u64, ends: Ends) -> Client {
        Client {
            watch: shard.deadlines.watch_waiter(),
            stream: origin.stream.clone(),
            ends: Some(Box::new(ends)),
            peer: origin.peer,
            peer_ip: origin.peer_ip,
            local: origin.local,
            listener: origin.listener.clone(),
            certificate: origin.certificate.clone(),
            announces: false,
            http2: true,
            announced: Cell::new(origin.announced),
            serial: origin.serial,
            requests: Cell::new(nth - 1),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
        }
    }

    /// Does it speak HTTP/2?
    pub(super) fn is_http2(&self) -> bool {
        self.ends.is_some()
    }

    /// Has it given up the stream that this is?
    pub(super) fn is_gone(&self) -> bool {
        self.ends.as_ref().is_some_and(|ends| ends.is_gone())
    }

    /// Waits until there is something to receive.
    pub(super) async fn readable(&self) -> std::io::Result<()> {
        match &self.ends {
            None => self.stream.readable().await,
            Some(ends) => ends.readable(&self.watch).await,
        }
    }

    /// Receives more of what the client sends, by the deadline armed before.
    pub(super) async fn recv(&self, buf: Vec<u8>) -> (std::io::Result<usize>, Vec<u8>) {
        let (result, buf) = match &self.ends {
            None => self.stream.recv(buf).await,
            Some(ends) => ends.recv(buf, &self.watch, None).await,
        };
        if let Ok(got) = result {
            self.bytes_in.set(self.bytes_in.get() + got as u64);
        }
        (result, buf)
    }

    /// The same, unless it is stopped; nothing that was received is lost.
    pub(super) async fn recv_until(&self, buf: Vec<u8>, stop: &Stop) -> (std::io::Result<usize>, Vec<u8>) {
        let (result, buf) = match &self.ends {
            None => self.stream.recv_until(buf, stop).await,
            Some(ends) => ends.recv(buf, &self.watch, Some(stop)).await,
        };
        if let Ok(got) = result {
            self.bytes_in.set(self.bytes_in.get() + got as u64);
        }
        (result, buf)
    }

    /// Sends all of `buf`, within the node's send timeout.
    pub(super) async fn send(&self, buf: Vec<u8>, timeout_ms: u64) -> (std::io::Result<()>, Vec<u8>) {
        self.send_from(buf, 0, Millis(clock::millis().0 + timeout_ms)).await
    }

    /// Sends `buf[from..]`, until the given moment at the latest.
    pub(super) async fn send_from(&self, buf: Vec<u8>, from: usize, until: Millis) -> (std::io::Result<()>, Vec<u8>) {
        self.watch.arm_write(until);
        let bytes = (buf.len() - from) as u64;
        let (result, buf) = match &self.ends {
            None => self.stream.send(buf, from).await,
            Some(ends) => (ends.send(&buf[from..], &self.watch).await, buf),
        };
        self.watch.disarm_write();
        if result.is_ok() {
            self.bytes_out.set(self.bytes_out.get() + bytes);
        }
        (result, buf)
    }
}

/// What all streams of a connection have in common.
pub(super) struct Origin {
    stream: Rc<Channel>,
    peer: SocketAddr,
    peer_ip: Short,
    local: SocketAddr,
    listener: Option<Arc<str>>,
    certificate: Option<Rc<ClientCertificate>>,
    announced: Option<IpAddr>,
    serial: u64,
}

/// What an active connection needs beside its socket; pooled, so that a quiet connection holds none of it.
pub(super) struct Work {
    /// Bytes from the client: the current head from `start` on, then what followed it.
    pub(super) input: Vec<u8>,
    pub(super) start: usize,
    /// When the last request ended, or the first was waited for.
    pub(super) now: Millis,
    pub(super) parser: Parser,
    pub(super) head: Head,
    pub(super) reply_head: Head,
    pub(super) edits: Edits,
    /// The normalised path.
    pub(super) path: Vec<u8>,
    pub(super) scratch: route::Scratch,
    waiting: Rc<Waiting>,
}

/// Somebody waits for a client's next request, or for a peer's next frame.
#[derive(Default)]
pub(super) struct Waiting {
    /// Since when; 0 while nobody waits.
    since: Cell<u64>,
    pub(super) lull: Lull,
}

impl Waiting {
    /// The wait begins.
    pub(super) fn begin(&self, now: Millis) {
        self.since.set(now.0.max(1));
    }

    /// It is over.
    pub(super) fn over(&self) {
        self.since.set(0);
    }

    /// Ends the wait if it was there at `before`, since when the thread must have slept: see [`Lull::end`].
    pub(super) fn end_since(&self, before: Millis) {
        let since = self.since.get();
        if since != 0 && since <= before.0 {
            self.lull.end();
        }
    }
}

/// About what a [`Work`] takes, its vectors included.
const WORK_BYTES: usize = 2560;

/// Made at a time.
const WORKS_BATCH: usize = 16;

impl Shard {
    pub(super) fn take_work(&self) -> Box<Work> {
        let mut works = self.works.borrow_mut();
        if works.is_empty() {
            // Side by side, as buffers are: see `io/buf.rs`.
            works.extend((0..WORKS_BATCH).map(|_| self.new_work()));
        }
        let mut work = works.pop().unwrap_or_else(|| self.new_work());
        self.works_least.set(self.works_least.get().min(works.len()));
        work.input = self.small.take();
        work.start = 0;
        work
    }

    /// A wait that ends when it has been long; forgotten once nobody else holds it.
    pub(super) fn new_waiting(&self) -> Rc<Waiting> {
        let waiting = Rc::new(Waiting::default());
        self.waiting.borrow_mut().insert(waiting.clone());
        waiting
    }

    fn new_work(&self) -> Box<Work> {
        let waiting = self.new_waiting();
        Box::new(Work {
            input: Vec::new(),
            start: 0,
            now: Millis(0),
            parser: Parser::default(),
            head: Head::new(),
            reply_head: Head::new(),
            edits: Edits::default(),
            path: Vec::with_capacity(256),
            scratch: route::Scratch::default(),
            waiting,
        })
    }

    pub(super) fn put_work(&self, mut work: Box<Work>) {
        let input = std::mem::take(&mut work.input);
        self.put_buf(input);
        work.waiting.lull.reset();
        self.works.borrow_mut().push(work);
    }

    /// Frees what nobody has needed since the last call; about how many bytes that was.
    pub(super) fn trim_works(&self) -> usize {
        let mut works = self.works.borrow_mut();
        let surplus = self.works_least.get().min(works.len());
        works.drain(..surplus);
        // Those of works that are no more: freed just now, or gone with a connection that panicked.
        self.waiting.borrow_mut().retain(|_, waiting| Rc::strong_count(waiting) > 1);
        self.works_least.set(works.len());
        surplus * WORK_BYTES
    }

    /// Exchanges a buffer of the small class for one of the large, and makes room for at least `room` bytes more.
    pub(super) fn enlarge(&self, buf: &mut Vec<u8>, room: usize) {
        if buf.capacity() < self.large.bytes() {
            let mut larger = self.large.take();
            larger.extend_from_slice(buf);
            self.put_buf(std::mem::replace(buf, larger));
        }
        buf.reserve(room);
    }

    /// Gives a buffer back to the list of its class.
    pub(super) fn put_buf(&self, buf: Vec<u8>) {
        if buf.capacity() >= self.large.bytes() {
            self.large.put(buf);
        } else {
            self.small.put(buf);
        }
    }
}

/// Serves a client until one of us closes.
///
/// The state of an active connection is a boxed future of its own: a quiet one holds its socket and a poll, and no
/// buffers.
pub(super) async fn connection(shard: &Rc<Shard>, client: &mut Client) {
    // Many connect long before they ask: a new client begins as a quiet one.
    let header_ms = shard.world.borrow().tables.plan.node.runtime.header_timeout_ms;
    client.watch.arm_read(Millis(clock::millis().0 + header_ms));
    let mut early = Vec::new();
    if client.announces || client.http2 || client.listener.is_some() {
        let Some(received) = Box::pin(greet(shard, client, header_ms)).await else { return };
        early = received;
    }
    loop {
        if early.is_empty() && !is_ready(client).await {
            return;
        }
        match Box::pin(active(shard, client, std::mem::take(&mut early))).await {
            Rest::Quiet => {}
            Rest::Over => return,
        }
    }
}

/// Does what comes before HTTP/1.1, and serves a client that speaks HTTP/2 to its end; what was received of HTTP/1.1, or
/// `None` where it is over.
async fn greet(shard: &Rc<Shard>, client: &mut Client, header_ms: u64) -> Option<Vec<u8>> {
    let mut early = Vec::new();
    if client.announces {
        early = Box::pin(announcement(shard, client)).await?;
    }
    if let Some(listener) = client.listener.clone() {
        if !Box::pin(secure(shard, client, &listener, early)).await {
            return None;
        }
        client.watch.arm_read(Millis(clock::millis().0 + header_ms));
        if client.stream.alpn() == Some(b"h2") {
            Box::pin(h2::serve(shard, client, Vec::new())).await;
            return None;
        }
        return Some(Vec::new());
    }
    if !client.http2 {
        return Some(early);
    }
    match Box::pin(preface(shard, client, early)).await {
        Spoken::Http1(received) => return Some(received),
        Spoken::Http2(received) => Box::pin(h2::serve(shard, client, received)).await,
        Spoken::Neither => Box::pin(h2::decline(shard, client)).await,
        Spoken::Nothing => {}
    }
    None
}

/// Waits, without a buffer, until a client sends something; `false` where it is over before.
async fn is_ready(client: &Client) -> bool {
    client.watch.set_quiet(true);
    let ready = client.stream.readable().await;
    client.watch.set_quiet(false);
    ready.is_ok() && client.watch.fired().is_none()
}

/// Makes the client's handshake; `false` where there is nobody to serve after it. `early` was received before.
async fn secure(shard: &Rc<Shard>, client: &mut Client, listener: &str, early: Vec<u8>) -> bool {
    if early.is_empty() && !is_ready(client).await {
        return false;
    }
    let slot = Shaking::begin(shard, client);
    let until = Millis(clock::millis().0 + TLS_HANDSHAKE_MS);
    client.watch.arm_read(until);
    client.watch.arm_write(until);
    let tables = shard.world().tables.clone();
    // No stream of its own shares the connection yet.
    let Some(stream) = Rc::get_mut(&mut client.stream) else { return false };
    let greeting = tables.secure.greeting(listener);
    let config = |name: Option<&str>| greeting.map(|greeting| greeting.manner(name).config.clone());
    client.watch.set_midway(true);
    let shaken = stream.accept(early, &shard.sealed, config).await;
    client.watch.set_midway(false);
    drop(slot);
    client.watch.disarm_read();
    client.watch.disarm_write();
    match shaken {
        Ok(()) => {
            bump(&shard.counters.handshakes);
            if client.stream.facts().is_some_and(|facts| facts.resumed) {
                bump(&shard.counters.handshakes_resumed);
            }
            if let (Some(facts), Some(greeting)) =
                (client.stream.facts().filter(|facts| !facts.peer.is_empty()), greeting)
            {
                let shown = certificate::of(facts, greeting, tables.plan.node.tls.forwarded_details);
                // A session goes on without another look at the certificate it began with.
                let end = shown.as_ref().map_or(0, |shown| shown.not_after);
                if end < clock::wall().seconds() as i64 && greeting.manner(facts.server_name.as_deref()).verifies {
                    shard.complain(Complaint::Handshake, || {
                        format!("no handshake with {} on {listener}: its certificate has expired", client.peer)
                    });
                    return false;
                }
                client.certificate = shown.map(Rc::new);
            }
            return true;
        }
        Err(Refused::Gone) => bump(&shard.counters.handshakes_failed),
        Err(Refused::PlainHttp(buf)) => {
            bump(&shard.counters.handshakes_failed);
            let answer = plain_http(tables.plan.node.dress.server.as_deref().unwrap_or(""));
            let _ = client.send(answer, tables.plan.node.runtime.send_timeout_ms).await;
            client.stream.shutdown_write();
            linger(client, buf).await;
        }
        Err(Refused::Failed(why)) => {
            bump(&shard.counters.handshakes_failed);
            shard.complain(Complaint::Handshake, || format!("no handshake with {} on {listener}: {why}", client.peer));
            client.stream.shutdown_write();
            linger(client, shard.small.take()).await;
        }
    }
    false
}

/// The handshakes under way on a shard: connection and socket, the one that began first in front.
pub(super) type Handshakes = VecDeque<(u64, RawFd)>;

/// A handshake under way.
struct Shaking<'a> {
    shard: &'a Shard,
    serial: u64,
}

impl Shaking<'_> {
    /// Where there are too many, the one that began first is ended: it waits for its peer, and were newcomers refused
    /// instead, a few thousand peers that never end theirs would keep everybody else out.
    fn begin<'a>(shard: &'a Shard, client: &Client) -> Shaking<'a> {
        let mut all = shard.shaking.borrow_mut();
        if all.len() >= TLS_HANDSHAKES_MAX {
            if let Some((_, oldest)) = all.pop_front() {
                bump(&shard.counters.handshakes_refused);
                tcp::end(oldest);
            }
        }
        all.push_back((client.serial, client.stream.fd()));
        Shaking { shard, serial: client.serial }
    }
}

impl Drop for Shaking<'_> {
    /// O(handshakes) at worst; most end soon after they began.
    fn drop(&mut self) {
        let mut all = self.shard.shaking.borrow_mut();
        if let Some(at) = all.iter().rposition(|(serial, _)| *serial == self.serial) {
            all.remove(at);
        }
    }
}

/// What a client is told that asks in the clear where TLS is spoken: the page that such clients know.
fn plain_http(server: &str) -> Vec<u8> {
    let page = format!(
        "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n\
         <center><h1>400 Bad Request</h1></center>\r\n\
         <center>The plain HTTP request was sent to HTTPS port</center>\r\n<hr><center>{server}</center>\r\n\
         </body>\r\n</html>\r\n"
    );
    let mut out = b"HTTP/1.1 400 Bad Request\r\n".to_vec();
    if !server.is_empty() {
        put(&mut out, [b"Server: ", server.as_bytes(), b"\r\n"]);
    }
    let length = page.len().to_string();
    put(&mut out, [b"Content-Type: text/html\r\nContent-Length: ", length.as_bytes()]);
    put(&mut out, [b"\r\nConnection: close\r\n\r\n", page.as_bytes()]);
    out
}

/// Reads what a load balancer says of the client, within the time of a head; gives what came behind it. `None` where it is
/// something else, or did not come: whoever speaks something else would not understand an answer either.
async fn announcement(shard: &Shard, client: &Client) -> Option<Vec<u8>> {
    if !is_ready(client).await {
        return None;
    }
    let mut buf = shard.small.take();
    let announced = loop {
        buf.reserve(1);
        let (received, back) = client.recv(buf).await;
        buf = back;
        if !matches!(received, Ok(1..)) {
            break None;
        }
        match proxy_protocol::read(&buf) {
            Ok(None) => {}
            Ok(Some(announcement)) => break Some(announcement),
            Err(proxy_protocol::Malformed) => {
                shard.complain(Complaint::Announcement, || {
                    format!("{} does not begin with the PROXY protocol, as its listener demands", client.peer)
                });
                break None;
            }
        }
    };
    if let Some(announcement) = announced {
        client.announced.set(announcement.source.map(|source| source.ip()));
        buf.drain(..announcement.len);
        if !buf.is_empty() {
            return Some(buf);
        }
    }
    shard.put_buf(buf);
    announced.map(|_| Vec::new())
}

/// What a client speaks, and what it has said of it.
enum Spoken {
    Http2(Vec<u8>),
    Http1(Vec<u8>),
    /// A line that no version of HTTP begins with.
    Neither,
    /// It has gone, or said too little for too long.
    Nothing,
}

/// Is the first line one of HTTP/1.1 in neither its method nor its version? Where one of them can be read, HTTP/1.1 says
/// better what is wrong.
fn is_neither(buf: &[u8]) -> bool {
    let Some(end) = buf.iter().position(|&byte| byte == b'\n') else { return false };
    let mut words = buf[..end].split(|&byte| byte == b' ');
    let (method, version) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
    Method::classify(method) == Method::Other && !version.is_empty() && !version.starts_with(b"HTTP/")
}

/// Reads until the preface of HTTP/2 stands there or cannot any more (RFC 9113 §3.3, prior knowledge).
async fn preface(shard: &Shard, client: &Client, early: Vec<u8>) -> Spoken {
    let mut buf = early;
    loop {
        if buf.starts_with(h2::PREFACE) {
            return Spoken::Http2(buf);
        }
        if !h2::PREFACE.starts_with(&buf) {
            return match is_neither(&buf) {
                true => Spoken::Neither,
                false => Spoken::Http1(buf),
            };
        }
        if buf.capacity() == 0 {
            if !is_ready(client).await {
                return Spoken::Nothing;
            }
            buf = shard.small.take();
        }
        let (received, back) = client.recv(buf).await;
        buf = back;
        if !matches!(received, Ok(1..)) {
            shard.put_buf(buf);
            return Spoken::Nothing;
        }
    }
}

enum Rest {
    /// Nothing has come for a while.
    Quiet,
    /// The connection is to be closed.
    Over,
}

enum Read {
    Head,
    Quiet,
    Over,
    Fault(Fault),
    TimedOut,
    /// The client has closed in the middle of a head.
    Cut,
}

/// Serves requests until none comes for a while. `early` was received before: the beginning of the first one.
async fn active(shard: &Rc<Shard>, client: &Client, early: Vec<u8>) -> Rest {
    let mut work = shard.take_work();
    work.now = clock::millis();
    if !early.is_empty() {
        shard.put_buf(std::mem::replace(&mut work.input, early));
    }
    let rest = loop {
        let next = match read_head(shard, client, &mut work).await {
            Read::Head => request::serve(shard, client, &mut work).await,
            Read::Quiet => break Rest::Quiet,
            Read::Over => break Rest::Over,
            Read::Fault(fault) => {
                Box::pin(request::refuse_unread(shard, client, &mut work, fault.status(), Some(fault))).await
            }
            Read::TimedOut => Box::pin(request::refuse_unread(shard, client, &mut work, 408, None)).await,
            Read::Cut => Box::pin(request::refuse_unread(shard, client, &mut work, 400, None)).await,
        };
        if matches!(next, Next::Close | Next::Linger) && client.stream.is_early() {
            // The rest of its handshake is on its way, and must not find the socket closed: see `linger_out`.
            let _ = Box::pin(early::complete(client)).await;
        }
        match next {
            Next::Keep => {}
            Next::Close => {
                let more = work.start < work.input.len() || client.stream.peek() == Peek::Bytes;
                client.stream.shutdown_write();
                if more {
                    Box::pin(linger_out(shard, client, &mut work)).await;
                }
                break Rest::Over;
            }
            Next::Linger => {
                client.stream.shutdown_write();
                Box::pin(linger_out(shard, client, &mut work)).await;
                break Rest::Over;
            }
            Next::Cut => {
                client.stream.reset_on_close();
                break Rest::Over;
            }
            Next::Gone => break Rest::Over,
        }
    };
    shard.put_work(work);
    rest
}

/// Reads until a whole head stands in `input` from `start` on.
async fn read_head(shard: &Shard, client: &Client, work: &mut Work) -> Read {
    let (header_ms, keepalive_ms) = {
        let world = shard.world.borrow();
        let runtime = &world.tables.plan.node.runtime;
        (runtime.header_timeout_ms, runtime.keepalive_timeout_ms)
    };
    work.parser = Parser::default();
    if work.start == work.input.len() {
        work.input.clear();
        work.start = 0;
    }
    let first = client.requests.get() == 0;
    let mut begun = !work.input.is_empty();
    let mut timed = first || begun;
    client.watch.arm_read(Millis(work.now.0 + if timed { header_ms } else { keepalive_ms }));
    loop {
        if begun {
            match work.parser.request(&work.input[work.start..], &mut work.head) {
                Ok(Progress::Done) => {
                    client.watch.disarm_read();
                    return Read::Head;
                }
                Ok(Progress::Partial) => {}
                Err(fault) => return Read::Fault(fault),
            }
            if !timed {
                // The keep-alive time has ended with the first byte; a head has its own, from its first byte on
                // and not from its last, or a byte a second would hold the connection for ever.
                client.watch.arm_read(Millis(clock::millis().0 + header_ms));
                timed = true;
            }
        }
        make_room(shard, work);
        let buf = std::mem::take(&mut work.input);
        let (result, buf) = if begun {
            client.watch.set_midway(true);
            let received = client.stream.recv(buf).await;
            client.watch.set_midway(false);
            received
        } else {
            work.waiting.begin(work.now);
            client.watch.set_quiet(true);
            let received = client.stream.recv_or_lull(buf, &work.waiting.lull).await;
            client.watch.set_quiet(false);
            work.waiting.over();
            received
        };
        work.input = buf;
        match result {
            Ok(0) => {
                return match (begun, client.watch.fired()) {
                    (false, _) => Read::Over,
                    (true, Some(Side::Read)) => Read::TimedOut,
                    (true, Some(Side::Write)) => Read::Over,
                    (true, None) => Read::Cut,
                };
            }
            Ok(got) => {
                client.bytes_in.set(client.bytes_in.get() + got as u64);
                begun = true;
            }
            Err(error) if is_stopped(&error) && client.watch.fired().is_none() => {
                if !begun {
                    return Read::Quiet;
                }
            }
            Err(_) => return Read::Over,
        }
    }
}

/// Makes room behind the bytes of an unfinished head.
fn make_room(shard: &Shard, work: &mut Work) {
    if work.input.len() < work.input.capacity() {
        return;
    }
    if work.start > 0 {
        work.input.drain(..work.start);
        work.start = 0;
        if work.input.len() < work.input.capacity() {
            return;
        }
    }
    // The parser refuses a head of more than HEAD_BYTES_MAX, so this happens once or twice.
    shard.enlarge(&mut work.input, HEAD_BYTES_MAX + 1);
}

/// Reads and forgets what the client still sends, for a bounded time: closing a socket with unread bytes makes the kernel
/// send a reset, which can overtake the answer (RFC 9112 §9.6).
async fn linger_out(shard: &Shard, client: &Client, work: &mut Work) {
    let mut buf = std::mem::take(&mut work.input);
    if buf.capacity() == 0 {
        // A read that was given up took the buffer with it.
        buf = shard.small.take();
    }
    work.input = linger(client, buf).await;
    work.start = 0;
}

async fn linger(client: &Client, mut buf: Vec<u8>) -> Vec<u8> {
    let end = clock::millis().0 + LINGER_MS;
    let mut left = LINGER_BYTES_MAX;
    loop {
        buf.clear();
        buf.reserve(1);
        client.watch.arm_read(Millis(end.min(clock::millis().0 + LINGER_QUIET_MS)));
        let (result, back) = client.stream.drain(buf).await;
        buf = back;
        match result {
            Ok(got @ 1..) if left > got => left -= got,
            _ => break,
        }
    }
    buf
}
