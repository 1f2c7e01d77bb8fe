//! Moves bytes between a socket and an engine of HTTP/2: a reader and a writer, polled in one task with the engine itself.

use crate::base::limits;
use crate::base::time::Millis;
use crate::io::channel::Channel;
use crate::io::clock;
use crate::io::deadline::{Side, Watch};
use crate::io::duplex::Pipe;
use crate::io::tcp::is_stopped;
use crate::shard::Shard;
use std::cell::Cell;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// One connection's reader and writer.
pub(super) struct Pump<'a> {
    pub(super) shard: &'a Rc<Shard>,
    pub(super) stream: &'a Channel,
    pub(super) watch: &'a Watch,
    pub(super) pipe: &'a Pipe,
    /// Is the engine at its end?
    pub(super) over: &'a Cell<bool>,
}

/// Rounds of a connection's three parts before others get their turn: each moves a buffer.
const TURNS_MAX: usize = 64;

impl Pump<'_> {
    /// Polls the three until the engine has ended, what it has said is sent, and the peer has closed or was waited for.
    /// `each` is called whenever the task wakes. Pinned by the caller: handed over by value, they have their room twice.
    pub(super) async fn run(
        &self,
        mut reading: Pin<&mut impl Future<Output = ()>>,
        mut writing: Pin<&mut impl Future<Output = ()>>,
        mut engine: Pin<&mut impl Future<Output = ()>>,
        mut each: impl FnMut(&mut Context<'_>),
    ) {
        let (mut read_ended, mut write_ended) = (false, false);
        poll_fn(|cx| {
            each(cx);
            for _ in 0..TURNS_MAX {
                let before = self.pipe.turns();
                read_ended = read_ended || reading.as_mut().poll(cx).is_ready();
                if !self.over.get() && engine.as_mut().poll(cx).is_ready() {
                    self.over.set(true);
                }
                write_ended = write_ended || writing.as_mut().poll(cx).is_ready();
                if self.over.get() && write_ended {
                    // Polled once more, so that it reads on for the sake of a close in good order.
                    read_ended = read_ended || reading.as_mut().poll(cx).is_ready();
                    return if read_ended { Poll::Ready(()) } else { Poll::Pending };
                }
                if self.pipe.turns() == before {
                    return Poll::Pending;
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.pipe.put_outbound(self.pipe.take_outbound());
        self.shard.put_buf(self.pipe.take_inbound());
    }

    /// Receives and hands in, one buffer at a time, what `seen` lets pass; once it is over, reads on and forgets, for a
    /// bounded time. `fired` is told where the deadline has passed. A peer that is quiet for a while is waited for without a
    /// buffer.
    pub(super) async fn read(&self, early: Vec<u8>, mut seen: impl FnMut(&mut [u8]) -> bool, fired: impl Fn()) {
        let (pipe, over) = (self.pipe, self.over);
        let mut buf = early;
        if buf.capacity() == 0 {
            buf = self.shard.small.take();
        }
        let mut linger_left = limits::LINGER_BYTES_MAX;
        let waiting = self.shard.new_waiting();
        loop {
            if !buf.is_empty() {
                if over.get() {
                    let Some(left) = linger_left.checked_sub(buf.len()) else { break };
                    linger_left = left;
                    buf.clear();
                } else if seen(&mut buf) {
                    pipe.put(buf);
                    poll_fn(|_| if pipe.is_taken() || over.get() { Poll::Ready(()) } else { Poll::Pending }).await;
                    buf = pipe.take_inbound();
                } else {
                    buf.clear();
                }
            }
            waiting.begin(clock::millis());
            let (result, back) = self.stream.recv_or_lull(buf, &waiting.lull).await;
            waiting.over();
            buf = back;
            match result {
                Ok(1..) => {}
                Err(error) if is_stopped(&error) && self.watch.fired().is_none() => {
                    self.shard.put_buf(buf);
                    // An error is one of the next read, too.
                    let _ = self.stream.readable().await;
                    buf = self.shard.small.take();
                }
                _ if self.watch.fired() == Some(Side::Read) && !over.get() => {
                    // It was idle, or slow with a head, for too long: it is told so.
                    fired();
                    poll_fn(|_| if over.get() { Poll::Ready(()) } else { Poll::Pending }).await;
                    break;
                }
                _ => {
                    pipe.end();
                    break;
                }
            }
        }
        self.shard.put_buf(buf);
    }

    /// Sends what the engine has written, and tells `sent` how much; at the end, closes this side.
    pub(super) async fn write(&self, timeout_ms: u64, mut sent: impl FnMut(u64)) {
        let (pipe, over) = (self.pipe, self.over);
        loop {
            poll_fn(|_| if pipe.has_outbound() || over.get() { Poll::Ready(()) } else { Poll::Pending }).await;
            if !pipe.has_outbound() {
                break;
            }
            let out = pipe.take_outbound();
            let bytes = out.len() as u64;
            self.watch.arm_write(Millis(clock::millis().0 + timeout_ms));
            let (result, out) = self.stream.send(out, 0).await;
            self.watch.disarm_write();
            pipe.put_outbound(out);
            if result.is_err() {
                pipe.break_off();
                break;
            }
            sent(bytes);
        }
        self.stream.shutdown_write();
        self.watch.set_quiet(false);
        self.watch.arm_read(Millis(clock::millis().0 + limits::LINGER_QUIET_MS));
    }
}
