//! Idle connections to upstreams: per shard and address, last in first out, so that the warm ones are used and the
//! surplus grows old and is closed.

use super::h2::{Call, Ended, Share};
use super::secure::Made;
use crate::base::time::Millis;
use crate::io::channel::Channel;
use crate::io::deadline::Watch;
use crate::io::tcp::{self, Peek};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Result;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Context;

/// A connection to an upstream. Boxed, because it is handed on often: by the pool, by an exchange, by its tries.
pub(super) struct Link {
    // Before `stream`, so that it is dropped first: a watched socket must not be closed.
    pub(super) watch: Watch,
    pub(super) wire: Wire,
    /// Whom it was made to and for whom, where that is more than an address.
    pub(super) toward: Option<Box<Made>>,
    /// Requests it has served.
    pub(super) served: u64,
    born: Millis,
    /// When its last answer ended.
    idle_since: Millis,
}

/// What a link is made of.
pub(super) enum Wire {
    /// A connection of its own.
    Socket(Channel),
    /// One stream of many.
    Call(Box<Call>),
}

/// What ends a link from elsewhere; valid as long as the link lives.
pub(super) enum Ending {
    Socket(RawFd),
    Call(Rc<Ended>),
}

impl Ending {
    /// Ends what waits for the link.
    pub(super) fn end(&self) {
        match self {
            Ending::Socket(fd) => tcp::end(*fd),
            Ending::Call(ended) => ended.end(),
        }
    }
}

impl Link {
    /// One that was made just now.
    pub(super) fn new(stream: Channel, watch: Watch, now: Millis) -> Link {
        Link { watch, wire: Wire::Socket(stream), toward: None, served: 0, born: now, idle_since: now }
    }

    pub(super) fn of_call(call: Call, watch: Watch) -> Link {
        Link {
            watch,
            wire: Wire::Call(Box::new(call)),
            toward: None,
            served: 0,
            born: Millis(0),
            idle_since: Millis(0),
        }
    }

    /// Does the upstream speak HTTP/2?
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.wire, Wire::Call(_))
    }

    /// Takes what has come while nobody asks for it, where the connection is shared: what lies about there is at the others'
    /// cost.
    pub(super) fn soak(&self, cx: &mut Context<'_>) {
        if let Wire::Call(call) = &self.wire {
            call.soak(cx);
        }
    }

    /// As [`Channel::recv`].
    pub(super) async fn recv(&self, buf: Vec<u8>) -> (Result<usize>, Vec<u8>) {
        match &self.wire {
            Wire::Socket(stream) => stream.recv(buf).await,
            Wire::Call(call) => call.recv(buf, &self.watch).await,
        }
    }

    /// As [`Channel::send`], of all of `buf`. Boxed for the rare kind, as it would make room in every exchange.
    pub(super) async fn send(&self, buf: Vec<u8>) -> (Result<()>, Vec<u8>) {
        match &self.wire {
            Wire::Socket(stream) => stream.send(buf, 0).await,
            Wire::Call(call) => (Box::pin(call.send(&buf, &self.watch)).await, buf),
        }
    }

    /// What ends it.
    pub(super) fn ending(&self) -> Ending {
        match &self.wire {
            Wire::Socket(stream) => Ending::Socket(stream.fd()),
            Wire::Call(call) => Ending::Call(call.ending()),
        }
    }

    /// Says that nothing more will be sent; a call has said so already.
    pub(super) fn shutdown_write(&self) {
        if let Wire::Socket(stream) = &self.wire {
            stream.shutdown_write();
        }
    }

    /// The connection, where it is one of its own.
    pub(super) fn channel(&self) -> Option<&Channel> {
        match &self.wire {
            Wire::Socket(stream) => Some(stream),
            Wire::Call(_) => None,
        }
    }

    fn is_quiet(&self) -> bool {
        matches!(&self.wire, Wire::Socket(stream) if stream.peek() == Peek::Quiet)
    }
}

/// The connections to one address that nobody has for himself.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<VecDeque<Box<Link>>>,
    /// Those that take many requests at once.
    pub(super) share: Rc<Share>,
    /// Connections that were found closed or with bytes nobody asked for.
    pub(super) stale: Cell<u64>,
}

/// What bounds a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) idle_max: usize,
    pub(super) requests_max: u64,
    pub(super) idle_ms: u64,
    pub(super) age_ms: u64,
    pub(super) http2_connections_max: usize,
    pub(super) http2_streams_max: usize,
    pub(super) http2_ping_ms: u64,
}

impl Bounds {
    fn is_old(&self, born: Millis, now: Millis) -> bool {
        self.age_ms > 0 && now.0.saturating_sub(born.0) >= self.age_ms
    }
}

impl Pool {
    /// A live idle connection, the one used last.
    ///
    /// Each is asked, which costs a syscall. Bytes that wait on an idle connection belong to no request: it is closed, or
    /// the next client would get them as its answer; and they may come right behind an answer, so that having been used
    /// a moment ago proves nothing. What comes between this look and the request cannot be told from the request's answer,
    /// by anyone: HTTP/1.1 has no name for an exchange. Answers after which that is likely do not come back here at all.
    pub(super) fn take(&self) -> Option<Box<Link>> {
        loop {
            let link = self.idle.borrow_mut().pop_back()?;
            if link.is_quiet() {
                return Some(link);
            }
            self.stale.set(self.stale.get() + 1);
        }
    }

    /// Keeps a connection whose answer has ended cleanly; the oldest makes room.
    pub(super) fn put(&self, mut link: Box<Link>, now: Millis, bounds: &Bounds) {
        let is_spent = bounds.requests_max > 0 && link.served >= bounds.requests_max || bounds.is_old(link.born, now);
        if is_spent || bounds.idle_max == 0 {
            return;
        }
        link.idle_since = now;
        link.watch.disarm_read();
        link.watch.disarm_write();
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= bounds.idle_max {
            idle.pop_front();
        }
        idle.push_back(link);
    }

    /// Closes what was idle for too long, and what its peer has closed. O(idle); called a few times a minute.
    pub(super) fn sweep(&self, now: Millis, bounds: &Bounds) {
        self.idle.borrow_mut().retain(|link| {
            let idle_ms = now.0.saturating_sub(link.idle_since.0);
            (bounds.idle_ms == 0 || idle_ms < bounds.idle_ms) && !bounds.is_old(link.born, now) && link.is_quiet()
        });
        self.share.sweep(now, bounds);
    }

    /// Closes all of them.
    pub(super) fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.share.clear();
    }

    /// How many it holds.
    pub(super) fn len(&self) -> usize {
        self.idle.borrow().len() + self.share.len()
    }
}
