//! One connection to Redis that is up: calls go out in one stream, answers come back in the same order.
//!
//! A call that is not answered in time ends the connection: what comes after it could not be told from its answer, and
//! whatever holds up one call holds up those behind it.

use crate::base::limits;
use crate::base::time::Millis;
use crate::io::channel::Channel;
use crate::io::tcp;
use crate::redis::{codec, Fault, Reply};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The connection.
pub(super) struct Live {
    stream: Channel,
    /// Bytes that leave with the next write.
    out: RefCell<Vec<u8>>,
    /// Calls whose answers are to come, in order.
    queue: RefCell<VecDeque<Rc<Ticket>>>,
    writer: RefCell<Option<Waker>>,
    ended: Cell<Option<Fault>>,
    /// Did it end while nobody waited?
    quiet: Cell<bool>,
}

/// A call that waits for its answers.
pub(super) struct Ticket {
    /// Answers still to come.
    left: Cell<usize>,
    replies: RefCell<Vec<Reply>>,
    fault: Cell<Option<Fault>>,
    waker: RefCell<Option<Waker>>,
    deadline: Millis,
}

impl Ticket {
    /// Waits for the answers. Dropping it does no harm: they are thrown away when they come.
    pub(super) async fn answered(&self) -> Result<Vec<Reply>, Fault> {
        poll_fn(|cx| {
            if let Some(fault) = self.fault.get() {
                return Poll::Ready(Err(fault));
            }
            if self.left.get() == 0 {
                return Poll::Ready(Ok(self.replies.take()));
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Live {
    pub(super) fn new(stream: Channel) -> Live {
        Live {
            stream,
            out: RefCell::default(),
            queue: RefCell::default(),
            writer: RefCell::default(),
            ended: Cell::new(None),
            quiet: Cell::new(false),
        }
    }

    /// Puts a call among those that leave with the next write; `write` appends its bytes, which ask for `count` answers.
    pub(super) fn submit(
        &self,
        write: impl FnOnce(&mut Vec<u8>),
        count: usize,
        deadline: Millis,
    ) -> Result<Rc<Ticket>, Fault> {
        if let Some(fault) = self.ended.get() {
            return Err(fault);
        }
        let (mut out, mut queue) = (self.out.borrow_mut(), self.queue.borrow_mut());
        if queue.len() >= limits::REDIS_IN_FLIGHT_MAX || out.len() >= limits::REDIS_OUT_BYTES_MAX {
            return Err(Fault::Full);
        }
        write(&mut out);
        let ticket = Rc::new(Ticket {
            left: Cell::new(count),
            replies: RefCell::new(Vec::with_capacity(count)),
            fault: Cell::new(None),
            waker: RefCell::new(None),
            deadline,
        });
        queue.push_back(ticket.clone());
        drop((out, queue));
        // The writer's turn comes after those who are ready now: what they ask leaves in the same write.
        self.wake_writer();
        Ok(ticket)
    }

    /// Sends and receives until the connection ends; why it did.
    pub(super) async fn run(&self) -> Fault {
        crate::io::both(self.write(), self.read()).await;
        self.ended.get().unwrap_or(Fault::Closed)
    }

    /// Ends it; whoever waits is told `fault`.
    pub(super) fn end(&self, fault: Fault) {
        if self.ended.get().is_some() {
            return;
        }
        self.ended.set(Some(fault));
        let waiting = self.queue.take();
        self.quiet.set(waiting.is_empty());
        for ticket in waiting {
            ticket.fault.set(Some(fault));
            ticket.wake();
        }
        tcp::end(self.stream.fd());
        self.wake_writer();
    }

    /// Has it ended while nobody waited for an answer?
    pub(super) fn ended_quietly(&self) -> bool {
        self.quiet.get()
    }

    /// Does nobody wait for an answer?
    pub(super) fn is_idle(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Ends it if a call waits for too long.
    pub(super) fn expire(&self, now: Millis) {
        // Not only the first: calls that were redirected here have less time left than those before them.
        let late = self.queue.borrow().iter().any(|ticket| ticket.deadline <= now);
        if late {
            self.end(Fault::Timeout);
        }
    }

    fn wake_writer(&self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    async fn write(&self) {
        let mut spare = Vec::new();
        while self.wanted().await {
            let out = self.out.replace(spare);
            let (sent, mut out) = self.stream.send(out, 0).await;
            if sent.is_err() {
                return self.end(Fault::Closed);
            }
            out.clear();
            out.shrink_to(KEPT_BYTES);
            spare = out;
        }
    }

    /// Waits until there is something to send; false once the connection has ended.
    async fn wanted(&self) -> bool {
        poll_fn(|cx| {
            if self.ended.get().is_some() {
                return Poll::Ready(false);
            }
            if !self.out.borrow().is_empty() {
                return Poll::Ready(true);
            }
            *self.writer.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn read(&self) {
        let mut buf = Vec::with_capacity(KEPT_BYTES);
        loop {
            if buf.len() == buf.capacity() {
                buf.reserve(buf.len().max(KEPT_BYTES));
            }
            let (received, back) = self.stream.recv(buf).await;
            buf = back;
            if self.ended.get().is_some() {
                return;
            }
            if !received.is_ok_and(|bytes| bytes > 0) {
                return self.end(Fault::Closed);
            }
            let mut at = 0;
            loop {
                match codec::read(&buf[at..]) {
                    Ok(None) => break,
                    Ok(Some((reply, len))) => {
                        at += len;
                        // An answer that nobody asked for would shift all that follow.
                        if !self.deliver(reply) {
                            return self.end(Fault::Rubbish);
                        }
                    }
                    Err(codec::Rubbish) => return self.end(Fault::Rubbish),
                }
            }
            buf.drain(..at);
            buf.shrink_to(KEPT_BYTES.max(buf.len()));
        }
    }

    /// Gives an answer to whoever is next; false where nobody is.
    fn deliver(&self, reply: Reply) -> bool {
        let mut queue = self.queue.borrow_mut();
        let Some(ticket) = queue.front() else { return false };
        ticket.replies.borrow_mut().push(reply);
        ticket.left.set(ticket.left.get() - 1);
        if ticket.left.get() == 0 {
            ticket.wake();
            queue.pop_front();
        }
        true
    }
}

/// Bytes that an idle connection keeps for each direction.
const KEPT_BYTES: usize = 16 * 1024;
