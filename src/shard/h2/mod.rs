//! A client's connection that speaks HTTP/2 (RFC 9113): frames by the `h2` crate, one task per stream, the same story of a
//! request as over HTTP/1.1.
//!
//! ```text
//! socket ─ reader ─ sieve ─┐                    ┌─ stream's task: convert → story (request.rs) → ends
//!                          ├─ pipe ─ h2 engine ─┼─ …
//! socket ─ writer ─────────┘                    └─ at most H2_STREAMS_MAX
//! ```
//!
//! `sieve` bounds what costs and is of no use, `conduct` what breaks rules that the engine does not know, `convert` refuses what HTTP/1.1 would read otherwise, `ends` makes a stream
//! look like a socket. Towards upstreams: `share` has the connections to one target, `mux` is one of them, `call` one stream
//! of it. Not here: what becomes of a request.

mod block;
mod call;
mod conduct;
mod convert;
mod ends;
mod halves;
mod index;
mod mux;
mod opened;
mod pump;
mod share;
mod sieve;

pub(super) use call::{Call, Ended};
pub(super) use ends::Ends;
pub(super) use mux::{Fresh, Mux};
pub(super) use share::Share;

use super::count::bump;
use super::request::{self, Next};
use super::serve::{Client, Origin};
use super::{Complaint, Shard};
use crate::base::limits;
use crate::base::time::Millis;
use crate::http::parse::{Parser, Progress};
use crate::http::{Fault, Method};
use crate::io::clock;
use crate::io::duplex::Pipe;
use crate::io::tcp;
use base64::Engine as _;
use bytes::Bytes;
use convert::Kind;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode};
use pump::Pump;
use sieve::{Allowance, Sieve};
use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What a client of HTTP/2 says first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the tasks of a connection share.
struct Shared {
    origin: Origin,
    /// Requests begun.
    requests: Cell<u64>,
    /// Streams whose tasks run.
    live: Cell<usize>,
    /// Why the connection must end.
    fault: Cell<Option<Reason>>,
    /// There was one: what is received afterwards is not looked at, as the sieve has lost its place.
    failed: Cell<bool>,
    /// Streams that the client may still give up before their answers, or have malformed.
    given_up: RefCell<Allowance>,
    sieve: RefCell<Sieve>,
    /// The connection's own task.
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Ends the connection; the first reason is the one that is told.
    fn fail(&self, reason: Reason) {
        if !self.failed.replace(true) {
            self.fault.set(Some(reason));
            self.wake();
        }
    }
}

/// Serves a client that has said, or is about to say, the preface. `early` was received before.
pub(super) async fn serve(shard: &Rc<Shard>, client: &Client, early: Vec<u8>) {
    bump(&shard.counters.http2);
    let now = clock::millis();
    let shared = Rc::new(Shared {
        origin: client.origin(),
        requests: Cell::new(0),
        live: Cell::new(0),
        fault: Cell::new(None),
        failed: Cell::new(false),
        given_up: RefCell::new(Allowance::new(limits::H2_GIVEN_UP, now)),
        sieve: RefCell::new(Sieve::new(now)),
        waker: RefCell::default(),
    });
    let pipe = Pipe::new(&shard.large);
    let over = Cell::new(false);
    let pump = Pump { shard, stream: &client.stream, watch: &client.watch, pipe: &pipe, over: &over };
    let seen = |bytes: &mut [u8]| {
        client.bytes_in.set(client.bytes_in.get() + bytes.len() as u64);
        if shared.failed.get() {
            return false;
        }
        let Err(reason) = shared.sieve.borrow_mut().feed(bytes, clock::millis()) else { return true };
        if reason == Reason::ENHANCE_YOUR_CALM {
            shard.complain(Complaint::Flood, || format!("{} floods its HTTP/2 connection", client.peer));
            bump(&shard.counters.http2_floods);
        }
        shared.fail(reason);
        false
    };
    let sent = |bytes| {
        client.bytes_out.set(client.bytes_out.get() + bytes);
        shared.sieve.borrow_mut().sent(bytes);
    };
    let send_timeout_ms = shard.world.borrow().tables.plan.node.runtime.send_timeout_ms;
    let place = shard.drain_wakers.borrow_mut().insert(None);
    let reading = pin!(pump.read(early, seen, || shared.fail(Reason::NO_ERROR)));
    let writing = pin!(pump.write(send_timeout_ms, sent));
    let engine = pin!(engine(shard, client, &shared, &pipe));
    pump.run(reading, writing, engine, |cx| {
        let mut waker = shared.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
            shard.hold_waker(place, cx.waker());
        }
    })
    .await;
    shard.drain_wakers.borrow_mut().remove(place);
    shared.waker.take();
    // Streams whose tasks have not heard of it yet hold the socket: the client is not to wait for them.
    tcp::end(client.stream.fd());
}

/// A GOAWAY frame of PROTOCOL_ERROR, before any stream.
const GOAWAY: &[u8; 17] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";

fn goaway(reason: Reason) -> [u8; GOAWAY.len()] {
    let mut frame = *GOAWAY;
    frame[GOAWAY.len() - 4..].copy_from_slice(&u32::from(reason).to_be_bytes());
    frame
}

/// Tells a client that has begun with something else that this is HTTP/2: "Clients and servers MUST treat an invalid
/// connection preface as a connection error of type PROTOCOL_ERROR" (RFC 9113 §3.4).
pub(super) async fn decline(shard: &Shard, client: &Client) {
    // An empty SETTINGS frame, which comes first whatever is said.
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    let mut out = shard.small.take();
    out.extend_from_slice(SETTINGS);
    out.extend_from_slice(GOAWAY);
    let timeout_ms = shard.world.borrow().tables.plan.node.runtime.send_timeout_ms;
    let (_, out) = client.send(out, timeout_ms).await;
    shard.put_buf(out);
    client.stream.shutdown_write();
}

/// Runs the engine until the connection is over, all that is to be said of it being written.
async fn engine(shard: &Rc<Shard>, client: &Client, shared: &Rc<Shared>, pipe: &Rc<Pipe>) {
    let mut clocks = Clocks::new(shard, client);
    // Boxed, as it ends long before the connection does, and is as large.
    let mut shaking = Box::pin(builder().handshake::<_, Bytes>(pipe.other()));
    let shaken = poll_fn(|cx| {
        clocks.look(client, shared);
        match shaking.as_mut().poll(cx) {
            Poll::Pending if shared.fault.get().is_some() => Poll::Ready(None),
            shaken => shaken.map(Result::ok),
        }
    });
    let Some(mut connection) = shaken.await else {
        // The engine has said its SETTINGS and no more: what was wrong came with the preface.
        if let Some(reason) = shared.fault.get() {
            pipe.say(&goaway(reason));
        }
        return;
    };
    drop(shaking);
    let requests_max = shard.world.borrow().tables.plan.node.runtime.keepalive_requests_max;
    let mut leaving = false;
    poll_fn(|cx| {
        if let Some(reason) = shared.fault.take() {
            connection.abrupt_shutdown(reason);
        }
        let is_last = requests_max > 0 && shared.requests.get() >= requests_max;
        if !leaving && (is_last || shard.is_draining()) {
            leaving = true;
            connection.graceful_shutdown();
        }
        let over = accept(shard, shared, &mut connection, cx);
        clocks.look(client, shared);
        over
    })
    .await;
}

/// Starts a task for every new stream; ready when the connection is over.
fn accept(
    shard: &Rc<Shard>,
    shared: &Rc<Shared>,
    connection: &mut Connection<crate::io::duplex::Duplex, Bytes>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                shared.requests.set(shared.requests.get() + 1);
                // The engine forgets a stream when it is reset, its task a little later: no room for those who do that fast.
                if shared.live.get() >= limits::H2_STREAMS_MAX * 2 {
                    shared.fail(Reason::ENHANCE_YOUR_CALM);
                    cx.waker().wake_by_ref();
                    continue;
                }
                shared.live.set(shared.live.get() + 1);
                let malformed = shared.sieve.borrow_mut().is_malformed(respond.stream_id().as_u32());
                let (shard, shared) = (shard.clone(), shared.clone());
                crate::io::spawn(async move {
                    let served = Box::pin(stream(&shard, &shared, request, respond, malformed));
                    if let Err(panic) = crate::io::catch_panic(served).await {
                        bump(&shard.counters.panics);
                        let text = || format!("a stream ended by a fault of the gateway itself: {panic}");
                        shard.complain(Complaint::Panic, text);
                    }
                    shared.live.set(shared.live.get() - 1);
                    if shared.live.get() == 0 {
                        shared.wake();
                    }
                });
            }
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}

fn builder() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits::H2_STREAMS_MAX as u32)
        .initial_window_size(limits::H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
        .data_frame_budget(limits::H2_UNREAD_BYTES_MAX)
        .max_send_buffer_size(limits::H2_SEND_BYTES_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX as u32)
        .max_local_error_reset_streams(Some(limits::H2_FAULTY_STREAMS_MAX))
        .enable_connect_protocol();
    builder
}

/// When a connection with nothing to do, or with half a head, must end.
struct Clocks {
    header_ms: u64,
    keepalive_ms: u64,
    /// Since when no stream lives.
    idle_since: Option<Millis>,
    /// Since when a head is half there.
    midway_since: Option<Millis>,
    armed: Option<u64>,
}

impl Clocks {
    fn new(shard: &Shard, client: &Client) -> Clocks {
        let world = shard.world.borrow();
        let runtime = &world.tables.plan.node.runtime;
        client.watch.disarm_read();
        Clocks {
            header_ms: runtime.header_timeout_ms,
            keepalive_ms: runtime.keepalive_timeout_ms,
            idle_since: None,
            midway_since: None,
            armed: None,
        }
    }

    fn look(&mut self, client: &Client, shared: &Shared) {
        let (is_idle, is_midway) = (shared.live.get() == 0, shared.sieve.borrow().is_midway());
        if is_idle == self.idle_since.is_some() && is_midway == self.midway_since.is_some() {
            return;
        }
        let now = clock::millis();
        let since = |held: Option<Millis>, is: bool| is.then(|| held.unwrap_or(now));
        self.idle_since = since(self.idle_since, is_idle);
        self.midway_since = since(self.midway_since, is_midway);
        let idle_ms = if shared.requests.get() == 0 { self.header_ms } else { self.keepalive_ms };
        let idle_at = self.idle_since.map(|since| since.0 + idle_ms);
        let midway_at = self.midway_since.map(|since| since.0 + self.header_ms);
        let due = [idle_at, midway_at].into_iter().flatten().min();
        if due != self.armed {
            self.armed = due;
            match due {
                Some(at) => client.watch.arm_read(Millis(at)),
                None => client.watch.disarm_read(),
            }
        }
        client.watch.set_quiet(is_idle && !is_midway);
    }
}

/// One request, from its fields to the end of its answer. `malformed`: is it known to be, though not by what is left of it?
async fn stream(
    shard: &Rc<Shard>,
    shared: &Shared,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    malformed: bool,
) {
    let (parts, body) = request.into_parts();
    let mut work = shard.take_work();
    let key = || {
        let mut key = [0; 24];
        let random = shard.rng.borrow_mut().uuid_v4();
        let _ = base64::engine::general_purpose::STANDARD.encode_slice(random, &mut key);
        key
    };
    let written = match malformed {
        true => Err(convert::Malformed),
        false => convert::request(&parts, body.is_end_stream(), key, &mut work.input),
    };
    let kind = match written {
        Ok(Kind::UnknownProtocol) => {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
            let _ = respond.send_response(response, true);
            shard.put_work(work);
            return;
        }
        Ok(kind) => kind,
        Err(convert::Malformed) => {
            bump(&shard.counters.http2_malformed);
            respond.send_reset(Reason::PROTOCOL_ERROR);
            shard.put_work(work);
            // The engine counts those that it finds itself.
            if !shared.given_up.borrow_mut().take(1, clock::millis()) {
                bump(&shard.counters.http2_floods);
                shared.fail(Reason::ENHANCE_YOUR_CALM);
            }
            return;
        }
    };
    let goes_on = !body.is_end_stream();
    let has_body = goes_on && kind != Kind::WebSocket;
    // A body that may not have a byte is waited for, as the request is malformed where it has one.
    let awaited = goes_on && parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let method = Method::classify(parts.method.as_str().as_bytes());
    drop(parts);
    let method = if kind == Kind::WebSocket { Method::Get } else { method };
    let ends = Ends::new(body, respond, method, kind, declared);
    let client = Box::new(Client::on_stream(shard, &shared.origin, shared.requests.get(), ends));
    if awaited {
        let body_ms = shard.world.borrow().tables.plan.node.runtime.body_timeout_ms;
        client.watch.arm_read(Millis(clock::millis().0 + body_ms));
        if client.readable().await.is_err() {
            bump(&shard.counters.http2_malformed);
            shard.put_work(work);
            return;
        }
        client.watch.disarm_read();
    }
    if let (Some(ends), true) = (&client.ends, has_body) {
        ends.take_early(&client.watch, &mut work.input);
    }
    work.parser = Parser::default();
    let read = work.parser.request(&work.input, &mut work.head);
    {
        let mut story = pin!(async {
            match read {
                Ok(Progress::Done) => request::serve(shard, &client, &mut work).await,
                Ok(Progress::Partial) => refuse(shard, &client, &mut work, Fault::HeadTooLarge).await,
                Err(fault) => refuse(shard, &client, &mut work, fault).await,
            }
        });
        let Some(ends) = &client.ends else { return };
        let mut begun = false;
        poll_fn(|cx| {
            if !ends.is_gone() {
                ends.poll_gone(cx);
                if ends.is_gone() && !ends.is_begun() && !shared.given_up.borrow_mut().take(1, clock::millis()) {
                    bump(&shard.counters.http2_floods);
                    shared.fail(Reason::ENHANCE_YOUR_CALM);
                }
            }
            // What was given up, or turned out to be malformed, before it was begun has no story.
            if ends.is_gone() && !std::mem::replace(&mut begun, true) {
                return Poll::Ready(None);
            }
            begun = true;
            let told = story.as_mut().poll(cx);
            if goes_on && told.is_pending() {
                ends.soak(cx);
            }
            told.map(Some)
        })
        .await;
        if !ends.is_gone() {
            shared.given_up.borrow_mut().give(1);
        }
        ends.finish();
    }
    shard.put_work(work);
}

async fn refuse(shard: &Rc<Shard>, client: &Client, work: &mut super::serve::Work, fault: Fault) -> Next {
    Box::pin(request::refuse_unread(shard, client, work, fault.status(), Some(fault))).await
}
