//! Clients that leave while an upstream thinks: their exchange is given up, so that the upstream's connection is free.
//!
//! Nobody reads from a client whose request is with an upstream, and a poll per request would cost a tenth of it. So
//! exchanges that last are looked at once a second. A reset is the end at once; a FIN may be a half-close, after which
//! the client still wants its answer, and so it is the end only after [`HALF_CLOSED_MS`].

use super::pool::Ending;
use crate::base::limits::HALF_CLOSED_MS;
use crate::base::time::Millis;
use crate::io::tcp::{self, Peek};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

/// The exchanges of a shard that wait for an upstream.
#[derive(Clone, Default)]
pub(super) struct Leaving(Rc<RefCell<Slab<Exchange>>>);

struct Exchange {
    client: RawFd,
    link: Ending,
    since: u64,
    /// When the client's FIN was seen; 0 before.
    closed_at: Cell<u64>,
    given_up: Cell<bool>,
}

/// An exchange under watch. Dropped before either socket is closed.
pub(super) struct Watched {
    all: Leaving,
    key: usize,
}

impl Leaving {
    pub(super) fn watch(&self, client: RawFd, link: Ending, now: Millis) -> Watched {
        let exchange = Exchange { client, link, since: now.0, closed_at: Cell::new(0), given_up: Cell::new(false) };
        let key = self.0.borrow_mut().insert(exchange);
        Watched { all: self.clone(), key }
    }

    /// Looks at exchanges older than a second. O(exchanges), a syscall for each of the old ones.
    pub(super) fn sweep(&self, now: Millis) {
        for (_, exchange) in self.0.borrow().iter().filter(|(_, exchange)| now.0 >= exchange.since + 1000) {
            if exchange.given_up.get() {
                continue;
            }
            let over = match tcp::peek(exchange.client) {
                Peek::Quiet | Peek::Bytes => false,
                Peek::Broken => true,
                Peek::Gone if exchange.closed_at.get() == 0 => {
                    exchange.closed_at.set(now.0);
                    false
                }
                Peek::Gone => now.0 >= exchange.closed_at.get() + HALF_CLOSED_MS,
            };
            if over {
                exchange.given_up.set(true);
                exchange.link.end();
            }
        }
    }
}

impl Watched {
    /// Was the exchange given up because its client has left?
    pub(super) fn is_given_up(&self) -> bool {
        self.all.0.borrow()[self.key].given_up.get()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(self.key);
    }
}
