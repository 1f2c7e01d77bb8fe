//! A connection of HTTP/2 to an upstream: many calls at once, until it is old, idle, or told to go.
//!
//! A task of its own moves its bytes and watches over it: frames that are of no use are bounded as those of clients are, and
//! an upstream that is silent while calls wait for it may be asked by PING whether it is there.

use super::call::Call;
use super::pump::Pump;
use super::share::Share;
use super::sieve::Sieve;
use crate::base::limits;
use crate::base::time::Millis;
use crate::io::channel::Channel;
use crate::io::clock;
use crate::io::deadline::Watch;
use crate::io::duplex::Pipe;
use crate::shard::count::bump;
use crate::shard::pool::Bounds;
use crate::shard::secure::Made;
use crate::shard::{Complaint, Shard};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong, Reason};
use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::{pin, Pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// A connection; it ends when nobody holds it any more.
pub(in crate::shard) struct Mux {
    sender: RefCell<SendRequest<Bytes>>,
    /// Whom it was made to, where that is more than an address.
    pub(in crate::shard) made: Option<Box<Made>>,
    /// Is it over TLS?
    secure: bool,
    born: Millis,
    /// Calls begun.
    served: Cell<u64>,
    idle_since: Cell<Millis>,
    /// Whom to tell of room.
    share: Weak<Share>,
    state: Rc<State>,
}

/// What a connection has in common with its task, which must not keep it alive.
struct State {
    /// Calls under way.
    live: Cell<usize>,
    /// Takes no more calls.
    closed: Cell<bool>,
    /// The upstream has said its first SETTINGS.
    greeted: Cell<bool>,
    /// Something was received since the last look.
    heard: Cell<bool>,
    /// The upstream sends what it must not.
    fault: Cell<Option<Reason>>,
    sieve: RefCell<Sieve>,
    /// Who waits for the greeting.
    waker: RefCell<Option<Waker>>,
}

impl State {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What a connection is made of.
pub(in crate::shard) struct Fresh {
    // Before `stream`, as a watched socket must not be closed.
    pub(in crate::shard) watch: Watch,
    pub(in crate::shard) stream: Channel,
    pub(in crate::shard) made: Option<Box<Made>>,
    /// For the log.
    pub(in crate::shard) addr: SocketAddr,
}

impl Mux {
    /// Begins to speak HTTP/2 over a connection, until the upstream has said its SETTINGS, too: before that it is not known how
    /// many calls it takes, nor whether it speaks HTTP/2 at all.
    ///
    /// # Errors
    /// `TimedOut` at `until`; `InvalidData` where it is no HTTP/2, or the upstream has closed.
    pub(in crate::shard) async fn over(
        shard: &Rc<Shard>,
        fresh: Fresh,
        share: &Rc<Share>,
        write_timeout_ms: u64,
        until: Millis,
    ) -> Result<Rc<Mux>> {
        let Fresh { watch, stream, made, addr } = fresh;
        // Streams may be silent for long, and nobody else would find out that the upstream is gone.
        stream.keep_alive(limits::H2_KEEPALIVE_S);
        let pipe = Pipe::new(&shard.large);
        let builder = builder(shard.pool_bounds.http2_streams_max);
        let (sender, connection) =
            builder.handshake::<_, Bytes>(pipe.other()).await.map_err(|_| Error::from(ErrorKind::ConnectionReset))?;
        let now = clock::millis();
        let state = Rc::new(State {
            live: Cell::new(0),
            closed: Cell::new(false),
            greeted: Cell::new(false),
            heard: Cell::new(false),
            fault: Cell::new(None),
            sieve: RefCell::new(Sieve::of_upstream(now)),
            waker: RefCell::default(),
        });
        let mux = Rc::new(Mux {
            sender: RefCell::new(sender),
            made,
            secure: stream.facts().is_some(),
            born: now,
            served: Cell::new(0),
            idle_since: Cell::new(now),
            share: Rc::downgrade(share),
            state: state.clone(),
        });
        let task =
            Task { shard: shard.clone(), stream, watch, addr, pipe, state: state.clone(), share: Rc::downgrade(share) };
        crate::io::spawn(task.run(connection, write_timeout_ms));
        let patience = shard.deadlines.watch_waiter();
        patience.arm_read(until);
        poll_fn(|cx| match (state.greeted.get(), state.closed.get()) {
            (_, true) => Poll::Ready(Err(Error::new(ErrorKind::InvalidData, "it does not speak HTTP/2"))),
            (true, false) => Poll::Ready(Ok(())),
            _ if patience.fired().is_some() => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            _ => {
                patience.wait(cx.waker());
                *state.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await?;
        Ok(mux)
    }

    /// How many more calls may begin, as far as is known.
    pub(in crate::shard) fn room(&self, bounds: &Bounds) -> usize {
        let max = bounds.http2_streams_max.min(self.sender.borrow().current_max_send_streams());
        max.saturating_sub(self.state.live.get())
    }

    /// May one more call begin?
    pub(in crate::shard) fn has_room(&self, bounds: &Bounds) -> bool {
        self.room(bounds) > 0
    }

    /// Does it take calls at all?
    pub(in crate::shard) fn is_open(&self, now: Millis, bounds: &Bounds) -> bool {
        !self.state.closed.get()
            && (bounds.requests_max == 0 || self.served.get() < bounds.requests_max)
            && (bounds.age_ms == 0 || now.0.saturating_sub(self.born.0) < bounds.age_ms)
    }

    /// Since when it has nothing to do; `None` while it has.
    pub(in crate::shard) fn idle_since(&self) -> Option<Millis> {
        (self.state.live.get() == 0).then(|| self.idle_since.get())
    }

    /// Is it over TLS?
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Says that it takes no more calls.
    pub(super) fn close(&self) {
        self.state.closed.set(true);
    }

    /// Begins a call.
    pub(in crate::shard) fn call(self: &Rc<Mux>) -> Call {
        self.state.live.set(self.state.live.get() + 1);
        self.served.set(self.served.get() + 1);
        let sender = self.sender.borrow().clone();
        Call::new(self.clone(), sender)
    }

    /// A call has said its head.
    pub(super) fn asked(&self) {
        self.state.sieve.borrow_mut().asked();
    }

    /// A call has ended.
    pub(super) fn ended(&self) {
        let live = &self.state.live;
        live.set(live.get() - 1);
        self.state.sieve.borrow_mut().ended(live.get());
        if live.get() == 0 {
            self.idle_since.set(clock::millis());
        }
        if let Some(share) = self.share.upgrade() {
            share.call(1);
        }
    }
}

fn builder(streams_max: usize) -> h2::client::Builder {
    // Room for all that its calls may hold: clients that do not read would take the others' share of less.
    let window = limits::H2_STREAM_WINDOW_BYTES as usize * streams_max;
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(limits::H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(window.min(limits::H2_WINDOW_BYTES_MAX as usize) as u32)
        .data_frame_budget(limits::H2_UNREAD_BYTES_MAX)
        .max_send_buffer_size(limits::H2_SEND_BYTES_MAX)
        .max_header_list_size(limits::REPLY_HEAD_BYTES_MAX as u32);
    builder
}

/// What moves a connection's bytes.
struct Task {
    shard: Rc<Shard>,
    // Before `stream`, as a watched socket must not be closed.
    watch: Watch,
    stream: Channel,
    addr: SocketAddr,
    pipe: Rc<Pipe>,
    state: Rc<State>,
    share: Weak<Share>,
}

type Connection = h2::client::Connection<crate::io::duplex::Duplex, Bytes>;

impl Task {
    async fn run(self, connection: Connection, write_timeout_ms: u64) {
        let Task { shard, watch, stream, pipe, state, .. } = &self;
        let over = Cell::new(false);
        let pump = Pump { shard, stream, watch, pipe, over: &over };
        let reading = pin!(pump.read(Vec::new(), |bytes| self.seen(bytes), || {}));
        let writing = pin!(pump.write(write_timeout_ms, |bytes| state.sieve.borrow_mut().sent(bytes)));
        let engine = pin!(self.engine(connection));
        let run = pump.run(reading, writing, engine, |_| {});
        let _ = crate::io::catch_panic(run).await;
        self.end();
    }

    /// Looks at what was received; may it pass?
    fn seen(&self, bytes: &mut [u8]) -> bool {
        self.state.heard.set(true);
        if self.state.fault.get().is_some() {
            return false;
        }
        let Err(reason) = self.state.sieve.borrow_mut().feed(bytes, clock::millis()) else { return true };
        if reason == Reason::ENHANCE_YOUR_CALM {
            self.shard.complain(Complaint::UpstreamFlood, || format!("{} floods its HTTP/2 connection", self.addr));
            bump(&self.shard.counters.upstream_http2_floods);
        }
        self.state.fault.set(Some(reason));
        false
    }

    /// Runs the engine until the connection is over.
    async fn engine(&self, mut connection: Connection) {
        let state = &self.state;
        let every_ms = self.shard.pool_bounds.http2_ping_ms;
        let mut pings = connection.ping_pong().filter(|_| every_ms > 0).map(|pings| Pings::new(pings, every_ms));
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            if let Some(reason) = state.fault.get() {
                self.pipe.say(&super::goaway(reason));
                return Poll::Ready(());
            }
            let over = connection.as_mut().poll(cx).map(|_| ());
            if state.sieve.borrow_mut().take_settings() {
                // A later one: it may take more calls than before.
                let is_later = state.greeted.replace(true);
                state.wake();
                if let Some(share) = self.share.upgrade().filter(|_| is_later) {
                    share.call(usize::MAX);
                }
            }
            match &mut pings {
                Some(pings) if over.is_pending() => pings.poll(cx, state),
                _ => over,
            }
        })
        .await;
        self.end();
    }

    /// No more calls; who waits for room makes another.
    fn end(&self) {
        if !self.state.closed.replace(true) {
            self.state.wake();
            if let Some(share) = self.share.upgrade() {
                share.call(1);
            }
        }
    }
}

/// Asks an upstream that is silent while calls wait for it whether it is still there.
struct Pings {
    pings: PingPong,
    every_ms: u64,
    timer: Pin<Box<dyn Future<Output = ()>>>,
    asked: bool,
}

impl Pings {
    fn new(pings: PingPong, every_ms: u64) -> Pings {
        Pings { pings, every_ms, timer: Box::pin(crate::io::sleep_ms(every_ms)), asked: false }
    }

    /// Ready where the upstream has said nothing for so long, was asked, and has said nothing for as long again.
    fn poll(&mut self, cx: &mut Context<'_>, state: &State) -> Poll<()> {
        let _ = self.pings.poll_pong(cx);
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer = Box::pin(crate::io::sleep_ms(self.every_ms));
            if state.heard.take() || state.live.get() == 0 {
                self.asked = false;
            } else if self.asked {
                return Poll::Ready(());
            } else {
                self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
                // The engine writes it.
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}
