//! Idle connections to upstreams: per shard and address, last in first out, so that the warm ones are used and the
//! surplus grows old and is closed.

use super::secure::Made;
use crate::base::time::Millis;
use crate::io::channel::Channel;
use crate::io::deadline::Watch;
use crate::io::tcp::Peek;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// A connection to an upstream. Boxed, because it is handed on often: by the pool, by an exchange, by its tries.
pub(super) struct Link {
    // Before `stream`, so that it is dropped first: a watched socket must not be closed.
    pub(super) watch: Watch,
    pub(super) stream: Channel,
    /// Whom it was made to, where that was over TLS.
    pub(super) toward: Option<Box<Made>>,
    /// Requests it has served.
    pub(super) served: u64,
    /// When its last answer ended.
    idle_since: Millis,
}

impl Link {
    pub(super) fn new(stream: Channel, watch: Watch) -> Link {
        Link { watch, stream, toward: None, served: 0, idle_since: Millis(0) }
    }
}

/// The idle connections to one address.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<VecDeque<Box<Link>>>,
    /// Connections that were found closed or with bytes nobody asked for.
    pub(super) stale: Cell<u64>,
}

/// What bounds a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) idle_max: usize,
    pub(super) requests_max: u64,
    pub(super) idle_ms: u64,
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
            if link.stream.peek() == Peek::Quiet {
                return Some(link);
            }
            self.stale.set(self.stale.get() + 1);
        }
    }

    /// Keeps a connection whose answer has ended cleanly; the oldest makes room.
    pub(super) fn put(&self, mut link: Box<Link>, now: Millis, bounds: Bounds) {
        if bounds.requests_max > 0 && link.served >= bounds.requests_max || bounds.idle_max == 0 {
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
    pub(super) fn sweep(&self, now: Millis, bounds: Bounds) {
        self.idle.borrow_mut().retain(|link| {
            let idle_ms = now.0.saturating_sub(link.idle_since.0);
            (bounds.idle_ms == 0 || idle_ms < bounds.idle_ms) && link.stream.peek() == Peek::Quiet
        });
    }

    /// Closes all of them.
    pub(super) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// How many lie idle.
    pub(super) fn len(&self) -> usize {
        self.idle.borrow().len()
    }
}
