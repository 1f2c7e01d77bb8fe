//! One stream of a client's HTTP/2 connection, with the manners of a socket: what is received is HTTP/1.1's body, what is
//! sent is HTTP/1.1's answer, and both turn into frames here. So a request has one story, whatever it came by.

use super::convert;
use super::halves::{Framing, Inbound, Outbound, Stage, CHUNK_ROOM};
use crate::http::framing::{self, Length};
use crate::http::parse::{Parser, Progress};
use crate::http::{Head, Method};
use crate::io::deadline::Watch;
use crate::io::tcp::Stop;
use crate::shard::pool::Ending;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::task::{Context, Poll, Waker};

/// Both directions of a stream.
pub(in crate::shard) struct Ends {
    inbound: RefCell<Inbound>,
    outbound: Outbound,
    respond: RefCell<SendResponse<Bytes>>,
    method: Method,
    websocket: bool,
    /// Has the client reset it, or is its connection gone?
    gone: Cell<bool>,
    /// What works for it on the upstream's side.
    link: RefCell<Option<Ending>>,
}

impl Ends {
    /// `declared`: the length of the body, where it was said.
    pub(super) fn new(
        stream: RecvStream,
        respond: SendResponse<Bytes>,
        method: Method,
        kind: convert::Kind,
        declared: Option<u64>,
    ) -> Ends {
        let chunked = kind == convert::Kind::Plain { chunked: true };
        let framing = if chunked { Framing::Chunks } else { Framing::Plain };
        Ends {
            inbound: RefCell::new(Inbound::new(stream, framing, declared)),
            outbound: Outbound::default(),
            respond: RefCell::new(respond),
            method,
            websocket: kind == convert::Kind::WebSocket,
            gone: Cell::new(false),
            link: RefCell::default(),
        }
    }

    /// Has the client given it up?
    pub(in crate::shard) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Notes what works for it, to be ended when the client gives it up.
    pub(in crate::shard) fn hold(&self, link: Option<Ending>) {
        *self.link.borrow_mut() = link;
    }

    /// Has an answer begun?
    pub(super) fn is_begun(&self) -> bool {
        self.outbound.is_begun()
    }

    /// Looks whether the client has given it up, and lets go of the upstream if so.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) {
        if self.gone.get() || self.outbound.is_done() {
            return;
        }
        let reset = self.outbound.poll_reset(cx);
        if reset.unwrap_or_else(|| self.respond.borrow_mut().poll_reset(cx).is_ready()) {
            self.gone.set(true);
            if let Some(link) = &*self.link.borrow() {
                link.end();
            }
        }
    }

    /// Ends what is not at its end. Its handles then tell the client, where its body was not wanted to the end.
    pub(super) fn finish(&self) {
        let malformed = self.inbound.borrow().is_malformed();
        let reason = if malformed { Reason::PROTOCOL_ERROR } else { Reason::INTERNAL_ERROR };
        if !self.gone.get() && !self.outbound.finish(reason) {
            self.respond.borrow_mut().send_reset(reason);
        }
    }

    /// Receives into the spare capacity of `buf`, as a socket does; 0 at the end.
    pub(in crate::shard) async fn recv(
        &self,
        mut buf: Vec<u8>,
        watch: &Watch,
        stop: Option<&Stop>,
    ) -> (Result<usize>, Vec<u8>) {
        let result = poll_fn(|cx| {
            if stop.is_some_and(Stop::is_used) {
                return Poll::Ready(Err(Error::from_raw_os_error(libc::ECANCELED)));
            }
            self.inbound.borrow_mut().poll_recv(cx, watch, &mut buf)
        })
        .await;
        (result, buf)
    }

    /// Writes what has come of the body behind its head, without waiting for more.
    pub(super) fn take_early(&self, watch: &Watch, input: &mut Vec<u8>) {
        if input.capacity() - input.len() > CHUNK_ROOM {
            // A fault is told to whoever asks for more.
            let mut cx = Context::from_waker(Waker::noop());
            let _ = self.inbound.borrow_mut().poll_recv(&mut cx, watch, input);
        }
    }

    /// Takes what has come of the body while nobody asks for it; wakes when there is more.
    pub(super) fn soak(&self, cx: &mut Context<'_>) {
        self.inbound.borrow_mut().soak(cx);
    }

    /// Waits until there is something to receive.
    pub(in crate::shard) async fn readable(&self, watch: &Watch) -> Result<()> {
        poll_fn(|cx| self.inbound.borrow_mut().poll_held(cx, watch)).await
    }

    /// Sends a piece of an HTTP/1.1 answer: a whole head and what is behind it, or more of the body, its framing whole.
    ///
    /// # Errors
    /// Where the client has given up, or is too slow, or the answer is none.
    pub(in crate::shard) async fn send(&self, bytes: &[u8], watch: &Watch) -> Result<()> {
        let mut rest = bytes;
        if !self.outbound.is_begun() {
            match self.send_head(bytes)? {
                None => return Ok(()),
                Some(len) => rest = &bytes[len..],
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
        self.outbound.body(rest, watch, &self.gone).await
    }

    /// Sends the head that `bytes` begin with, and interim ones before it; `None` where no body is to come. How long it is.
    fn send_head(&self, bytes: &[u8]) -> Result<Option<usize>> {
        let bad = || Error::from(ErrorKind::InvalidData);
        let broken = |_| Error::from(ErrorKind::BrokenPipe);
        if self.gone.get() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut head = Head::new();
        let mut at = 0;
        while at < bytes.len() {
            let Ok(Progress::Done) = Parser::default().reply(&bytes[at..], &mut head) else { return Err(bad()) };
            let on = head.on(&bytes[at..]);
            let switched = head.status == 101;
            if switched && !self.websocket {
                return Err(bad());
            }
            let length = match switched {
                true => Length::UntilClose,
                false => framing::of_reply(on, self.method).map_err(|_| bad())?,
            };
            let response = convert::response(on, self.websocket).map_err(|_| bad())?;
            at += head.len;
            if head.status < 200 && !switched {
                self.respond.borrow_mut().send_informational(response).map_err(broken)?;
                continue;
            }
            let stage = Stage::of(length);
            let is_done = stage.is_done();
            let send = self.respond.borrow_mut().send_response(response, is_done).map_err(broken)?;
            self.outbound.begin(send, stage);
            return Ok((!is_done).then_some(at));
        }
        Ok(None)
    }

    /// Says that a tunnel ends this way.
    pub(in crate::shard) fn shutdown_write(&self) {
        self.outbound.close_tunnel();
    }
}
