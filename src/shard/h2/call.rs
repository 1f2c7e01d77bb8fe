//! One stream of a connection to an upstream, with the manners of a socket: what is sent is HTTP/1.1's request, what is
//! received its answer. So an exchange has one story, whatever the upstream speaks.

use super::convert;
use super::halves::{self, Framing, Inbound, Outbound, Stage};
use super::mux::Mux;
use crate::http::framing;
use crate::http::parse::{Parser, Progress};
use crate::http::{Head, Method};
use crate::io::deadline::Watch;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::RecvStream;
use http::Response;
use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future as _};
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Room for the head of an answer as text, which holds most, bytes.
const HEAD_ROOM: usize = 512;

/// A request and its answer.
pub(in crate::shard) struct Call {
    mux: Rc<Mux>,
    sender: RefCell<SendRequest<Bytes>>,
    outbound: Outbound,
    answer: RefCell<Answer>,
    method: Cell<Method>,
    ended: Rc<Ended>,
}

/// Ends a call from elsewhere on the thread.
#[derive(Default)]
pub(in crate::shard) struct Ended {
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Ended {
    /// Ends what waits for the call now and later.
    pub(in crate::shard) fn end(&self) {
        self.over.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

enum Answer {
    /// Nothing was asked.
    Unasked,
    /// An interim answer as text, handed on up to the offset, while the final one is awaited.
    Awaited(ResponseFuture, Vec<u8>, usize),
    /// Its head as text, handed on up to the offset, and then its body.
    Begun(Vec<u8>, usize, Inbound),
    Failed(ErrorKind),
}

impl Call {
    pub(super) fn new(mux: Rc<Mux>, sender: SendRequest<Bytes>) -> Call {
        Call {
            mux,
            sender: RefCell::new(sender),
            outbound: Outbound::default(),
            answer: RefCell::new(Answer::Unasked),
            method: Cell::new(Method::Get),
            ended: Rc::default(),
        }
    }

    /// What ends it.
    pub(in crate::shard) fn ending(&self) -> Rc<Ended> {
        self.ended.clone()
    }

    /// Sends a piece of an HTTP/1.1 request: a whole head and what is behind it, or more of the body, its framing whole.
    ///
    /// # Errors
    /// `ConnectionRefused` where the upstream has surely not begun on it.
    pub(in crate::shard) async fn send(&self, bytes: &[u8], watch: &Watch) -> Result<()> {
        let mut rest = bytes;
        if !self.outbound.is_begun() {
            match self.send_head(bytes, watch).await {
                Ok(len) => rest = &bytes[len..],
                Err(error) => {
                    *self.answer.borrow_mut() = Answer::Failed(error.kind());
                    return Err(error);
                }
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.outbound.body(rest, watch, &self.ended.over).await
    }

    async fn send_head(&self, bytes: &[u8], watch: &Watch) -> Result<usize> {
        let bad = || Error::from(ErrorKind::InvalidData);
        let mut head = Head::new();
        let Ok(Progress::Done) = Parser::default().request(bytes, &mut head) else { return Err(bad()) };
        let on = head.on(bytes);
        let length = framing::of_request(on).map_err(|_| bad())?;
        let request = convert::upstream_request(on, self.mux.is_secure()).map_err(|_| bad())?;
        self.method.set(head.method);
        poll_fn(|cx| match self.sender.borrow_mut().poll_ready(cx) {
            Poll::Pending if watch.fired().is_some() => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Poll::Pending => {
                watch.wait(cx.waker());
                Poll::Pending
            }
            Poll::Ready(ready) => Poll::Ready(ready.map_err(|_| self.refused())),
        })
        .await?;
        let stage = Stage::of(length);
        let sent = self.sender.borrow_mut().send_request(request, stage.is_done());
        let (answer, send) = sent.map_err(|_| self.refused())?;
        self.outbound.begin(send, stage);
        *self.answer.borrow_mut() = Answer::Awaited(answer, Vec::new(), 0);
        self.mux.asked();
        Ok(head.len)
    }

    /// The connection takes no more calls, so this one has not reached the upstream.
    fn refused(&self) -> Error {
        self.mux.close();
        ErrorKind::ConnectionRefused.into()
    }

    /// Receives into the spare capacity of `buf`, as a socket does; 0 at the end.
    ///
    /// # Errors
    /// `ConnectionRefused` as for [`Call::send`].
    pub(in crate::shard) async fn recv(&self, mut buf: Vec<u8>, watch: &Watch) -> (Result<usize>, Vec<u8>) {
        let result = poll_fn(|cx| self.poll_recv(cx, &mut buf, watch)).await;
        (result, buf)
    }

    fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut Vec<u8>, watch: &Watch) -> Poll<Result<usize>> {
        if self.ended.over.get() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let mut answer = self.answer.borrow_mut();
        loop {
            match &mut *answer {
                Answer::Unasked => return Poll::Ready(Ok(0)),
                Answer::Failed(kind) => return Poll::Ready(Err((*kind).into())),
                Answer::Awaited(_, text, at) if *at < text.len() => return Poll::Ready(Ok(hand_on(text, at, buf))),
                Answer::Awaited(awaited, text, at) => match poll_answer(awaited, cx) {
                    Poll::Ready(Ok(Told::Interim(interim))) => {
                        (*at, *text) = (0, Vec::new());
                        if convert::upstream_interim(&interim.into_parts().0, text).is_err() {
                            *answer = Answer::Failed(ErrorKind::InvalidData);
                        }
                    }
                    Poll::Pending if watch.fired().is_some() => return Poll::Ready(Err(ErrorKind::TimedOut.into())),
                    Poll::Pending => return self.wait(cx, watch),
                    Poll::Ready(Err(error)) => *answer = Answer::Failed(halves::reset(&error).kind()),
                    Poll::Ready(Ok(Told::Final(response))) => {
                        let (parts, body) = response.into_parts();
                        let mut text = Vec::with_capacity(HEAD_ROOM);
                        let ended = body.is_end_stream();
                        *answer = match convert::upstream_response(&parts, ended, self.method.get(), &mut text) {
                            Ok(chunked) => {
                                let framing = if chunked { Framing::Chunks } else { Framing::Plain };
                                Answer::Begun(text, 0, Inbound::new(body, framing, None))
                            }
                            Err(convert::Malformed) => Answer::Failed(ErrorKind::InvalidData),
                        };
                    }
                },
                Answer::Begun(text, at, inbound) => {
                    let head = if *at < text.len() { hand_on(text, at, buf) } else { 0 };
                    if *at < text.len() {
                        return Poll::Ready(Ok(head));
                    }
                    return match inbound.poll_recv(cx, watch, buf) {
                        Poll::Ready(Ok(body)) => Poll::Ready(Ok(head + body)),
                        _ if head > 0 => Poll::Ready(Ok(head)),
                        Poll::Pending => self.wait(cx, watch),
                        failed => failed,
                    };
                }
            }
        }
    }

    /// Takes what has come of the body while the client takes what came before it; wakes when there is more.
    pub(in crate::shard) fn soak(&self, cx: &mut Context<'_>) {
        if let Answer::Begun(_, _, inbound) = &mut *self.answer.borrow_mut() {
            inbound.soak(cx);
        }
    }

    fn wait(&self, cx: &mut Context<'_>, watch: &Watch) -> Poll<Result<usize>> {
        watch.wait(cx.waker());
        let mut waker = self.ended.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Moves text from `at` on to `buf`, as far as there is room; how much.
fn hand_on(text: &[u8], at: &mut usize, buf: &mut Vec<u8>) -> usize {
    let bytes = (text.len() - *at).min((buf.capacity() - buf.len()).max(1));
    buf.extend_from_slice(&text[*at..*at + bytes]);
    *at += bytes;
    bytes
}

/// What an upstream has said.
enum Told {
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

fn poll_answer(awaited: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<std::result::Result<Told, h2::Error>> {
    match awaited.poll_informational(cx) {
        Poll::Ready(Some(interim)) => Poll::Ready(interim.map(Told::Interim)),
        _ => Pin::new(awaited).poll(cx).map_ok(Told::Final),
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.mux.ended();
    }
}
