//! A connection of HTTP/2 to an upstream: many calls at once, until it is old, idle, or told to go.

use super::call::Call;
use super::pump::Pump;
use crate::base::limits;
use crate::base::time::Millis;
use crate::io::channel::Channel;
use crate::io::clock;
use crate::io::duplex::Pipe;
use crate::shard::Shard;
use bytes::Bytes;
use h2::client::SendRequest;
use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind, Result};
use std::pin::pin;
use std::rc::Rc;

/// A connection; it ends when nobody holds it any more.
pub(in crate::shard) struct Mux {
    sender: RefCell<SendRequest<Bytes>>,
    /// Calls under way.
    live: Cell<usize>,
    /// Calls begun.
    served: Cell<u64>,
    idle_since: Cell<Millis>,
    /// Takes no more calls.
    closed: Rc<Cell<bool>>,
}

impl Mux {
    /// Begins to speak HTTP/2 over `stream`.
    ///
    /// # Errors
    /// Where the engine cannot begin.
    pub(in crate::shard) async fn over(shard: &Rc<Shard>, stream: Channel, write_timeout_ms: u64) -> Result<Rc<Mux>> {
        let pipe = Pipe::new(shard.large.take());
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(limits::H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(limits::H2_SEND_BYTES_MAX)
            .max_header_list_size(limits::REPLY_HEAD_BYTES_MAX as u32);
        let shaken = builder.handshake::<_, Bytes>(pipe.other()).await;
        let (sender, connection) = shaken.map_err(|_| Error::from(ErrorKind::ConnectionReset))?;
        let closed = Rc::new(Cell::new(false));
        let mux = Rc::new(Mux {
            sender: RefCell::new(sender),
            live: Cell::new(0),
            served: Cell::new(0),
            idle_since: Cell::new(clock::millis()),
            closed: closed.clone(),
        });
        let shard = shard.clone();
        crate::io::spawn(async move {
            let watch = shard.deadlines.watch(stream.fd());
            let over = Cell::new(false);
            let pump = Pump { shard: &shard, stream: &stream, watch: &watch, pipe: &pipe, over: &over };
            let engine = async {
                let _ = pin!(connection).await;
                closed.set(true);
            };
            let run =
                pump.run(pump.read(Vec::new(), |_| true, || {}), pump.write(write_timeout_ms, |_| {}), engine, |_| {});
            let _ = crate::io::catch_panic(run).await;
            closed.set(true);
        });
        Ok(mux)
    }

    /// May one more call begin, as far as is known?
    pub(in crate::shard) fn has_room(&self) -> bool {
        self.live.get() < limits::H2_CALLS_MAX.min(self.sender.borrow().current_max_send_streams())
    }

    /// Does it take calls at all? `requests_max`: 0 is any number.
    pub(in crate::shard) fn is_open(&self, requests_max: u64) -> bool {
        !self.closed.get() && (requests_max == 0 || self.served.get() < requests_max)
    }

    /// Since when it has nothing to do; `None` while it has.
    pub(in crate::shard) fn idle_since(&self) -> Option<Millis> {
        (self.live.get() == 0).then(|| self.idle_since.get())
    }

    /// Says that it takes no more calls.
    pub(super) fn close(&self) {
        self.closed.set(true);
    }

    /// Begins a call.
    pub(in crate::shard) fn call(self: &Rc<Mux>) -> Call {
        self.live.set(self.live.get() + 1);
        self.served.set(self.served.get() + 1);
        let sender = self.sender.borrow().clone();
        Call::new(self.clone(), sender)
    }

    /// A call has ended.
    pub(super) fn ended(&self) {
        self.live.set(self.live.get() - 1);
        if self.live.get() == 0 {
            self.idle_since.set(clock::millis());
        }
    }
}
