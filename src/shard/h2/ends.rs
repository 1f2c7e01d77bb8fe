//! One stream of an HTTP/2 connection, with the manners of a socket: what is received is HTTP/1.1's body, what is sent is
//! HTTP/1.1's answer, and both turn into frames here. So a request has one story, whatever it came by.
//!
//! Flow control is end to end: the client's window opens by what was received last when more is asked for, which is after
//! the upstream has taken it; and sending waits for the client's window.

use super::convert;
use crate::http::chunked::{Decoder, Step};
use crate::http::framing::{self, Length};
use crate::http::parse::{Parser, Progress};
use crate::http::{Head, Method};
use crate::io::deadline::Watch;
use crate::io::tcp::{self, Stop};
use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::RawFd;
use std::task::{Context, Poll};

/// Both directions of a stream.
pub(in crate::shard) struct Ends {
    inbound: RefCell<Inbound>,
    respond: RefCell<SendResponse<Bytes>>,
    /// From the head of the answer on.
    send: RefCell<Option<SendStream<Bytes>>>,
    stage: RefCell<Stage>,
    method: Method,
    websocket: bool,
    /// Has the client reset it, or is its connection gone?
    gone: Cell<bool>,
    /// The upstream's socket that works for it.
    link: Cell<Option<RawFd>>,
}

struct Inbound {
    stream: RecvStream,
    framing: Framing,
    /// Received, and not handed on.
    held: Bytes,
    /// Handed on, and not given back to the window.
    lent: usize,
    ended: bool,
}

/// How the body is handed on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// As it is: its length is known, or it is a tunnel's.
    Plain,
    /// In chunks.
    Chunks,
}

/// What of the answer is to come.
#[derive(Default)]
enum Stage {
    #[default]
    Head,
    /// So many bytes of body.
    Fixed(u64),
    Chunks(Box<Decoder>),
    /// A tunnel: until it is closed.
    Tunnel,
    Done,
}

/// Room that a chunk's size and line ends take, bytes.
const CHUNK_ROOM: usize = 24;

impl Ends {
    pub(super) fn new(stream: RecvStream, respond: SendResponse<Bytes>, method: Method, kind: convert::Kind) -> Ends {
        let chunked = kind == convert::Kind::Plain { chunked: true };
        let framing = if chunked { Framing::Chunks } else { Framing::Plain };
        Ends {
            inbound: RefCell::new(Inbound { stream, framing, held: Bytes::new(), lent: 0, ended: false }),
            respond: RefCell::new(respond),
            send: RefCell::default(),
            stage: RefCell::default(),
            method,
            websocket: kind == convert::Kind::WebSocket,
            gone: Cell::new(false),
            link: Cell::new(None),
        }
    }

    /// Has the client given it up?
    pub(in crate::shard) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Notes which upstream's socket works for it, to be ended when the client gives it up.
    pub(in crate::shard) fn hold(&self, link: Option<RawFd>) {
        self.link.set(link);
    }

    /// Has an answer begun?
    pub(super) fn is_begun(&self) -> bool {
        !matches!(*self.stage.borrow(), Stage::Head)
    }

    /// Looks whether the client has given it up, and lets go of the upstream if so.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) {
        if self.gone.get() || matches!(*self.stage.borrow(), Stage::Done) {
            return;
        }
        let reset = match &mut *self.send.borrow_mut() {
            Some(send) => send.poll_reset(cx).is_ready(),
            None => self.respond.borrow_mut().poll_reset(cx).is_ready(),
        };
        if reset {
            self.gone.set(true);
            if let Some(link) = self.link.get() {
                tcp::end(link);
            }
        }
    }

    /// Ends what is not at its end. Its handles then tell the client, where its body was not wanted to the end.
    pub(super) fn finish(&self) {
        let stage = self.stage.replace(Stage::Done);
        if self.gone.get() || matches!(stage, Stage::Done) {
            return;
        }
        match (&mut *self.send.borrow_mut(), stage) {
            (Some(send), Stage::Tunnel) => {
                let _ = send.send_data(Bytes::new(), true);
            }
            (Some(send), _) => send.send_reset(Reason::INTERNAL_ERROR),
            (None, _) => self.respond.borrow_mut().send_reset(Reason::INTERNAL_ERROR),
        }
    }

    /// Receives into the spare capacity of `buf`, as a socket does; 0 at the end.
    pub(in crate::shard) async fn recv(
        &self,
        mut buf: Vec<u8>,
        watch: &Watch,
        stop: Option<&Stop>,
    ) -> (Result<usize>, Vec<u8>) {
        let result = poll_fn(|cx| self.poll_recv(cx, &mut buf, watch, stop)).await;
        (result, buf)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        watch: &Watch,
        stop: Option<&Stop>,
    ) -> Poll<Result<usize>> {
        if stop.is_some_and(Stop::is_used) {
            return Poll::Ready(Err(Error::from_raw_os_error(libc::ECANCELED)));
        }
        match self.poll_held(cx, watch) {
            Poll::Ready(Ok(())) => Poll::Ready(self.inbound.borrow_mut().hand_on(buf)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits until there is something to receive.
    pub(in crate::shard) async fn readable(&self, watch: &Watch) -> Result<()> {
        poll_fn(|cx| self.poll_held(cx, watch)).await
    }

    /// Until something is held, or the end has come.
    fn poll_held(&self, cx: &mut Context<'_>, watch: &Watch) -> Poll<Result<()>> {
        let mut inbound = self.inbound.borrow_mut();
        inbound.give_back();
        while inbound.held.is_empty() && !inbound.ended {
            if watch.fired().is_some() {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            match inbound.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => inbound.held = data,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
                Poll::Ready(None) => inbound.ended = true,
                Poll::Pending => {
                    watch.wait(cx.waker());
                    return Poll::Pending;
                }
            }
        }
        if inbound.held.is_empty() && inbound.framing == Framing::Chunks {
            // The trailers are there when the end is.
            return inbound.poll_end(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a piece of an HTTP/1.1 answer: a whole head and what is behind it, or more of the body, its framing whole.
    ///
    /// # Errors
    /// Where the client has given up, or is too slow, or the answer is none.
    pub(in crate::shard) async fn send(&self, bytes: &[u8], watch: &Watch) -> Result<()> {
        let mut rest = bytes;
        if matches!(*self.stage.borrow(), Stage::Head) {
            match self.send_head(bytes)? {
                None => return Ok(()),
                Some(len) => rest = &bytes[len..],
            }
        }
        let stage = self.stage.take();
        let (stage, result) = self.send_body(stage, rest, watch).await;
        *self.stage.borrow_mut() = stage;
        result
    }

    /// Sends the head that `bytes` begin with; `None` where nothing of a body is behind it. Interim ones before it, too.
    fn send_head(&self, bytes: &[u8]) -> Result<Option<usize>> {
        let bad = || Error::from(ErrorKind::InvalidData);
        if self.gone.get() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut head = Head::new();
        let mut at = 0;
        loop {
            if at == bytes.len() {
                return Ok(None);
            }
            match Parser::default().reply(&bytes[at..], &mut head) {
                Ok(Progress::Done) => {}
                _ => return Err(bad()),
            }
            let on = head.on(&bytes[at..]);
            let switched = head.status == 101;
            let response = convert::response(on, self.websocket).map_err(|_| bad())?;
            let mut respond = self.respond.borrow_mut();
            at += head.len;
            if head.status < 200 && !switched {
                respond.send_informational(response).map_err(|_| Error::from(ErrorKind::BrokenPipe))?;
                continue;
            }
            if switched && !self.websocket {
                return Err(bad());
            }
            let length =
                if switched { Length::UntilClose } else { framing::of_reply(on, self.method).map_err(|_| bad())? };
            let stage = match length {
                Length::None | Length::Fixed(0) => Stage::Done,
                Length::Fixed(bytes) => Stage::Fixed(bytes),
                Length::Chunked => Stage::Chunks(Box::default()),
                Length::UntilClose => Stage::Tunnel,
            };
            let is_done = matches!(stage, Stage::Done);
            let send = respond.send_response(response, is_done).map_err(|_| Error::from(ErrorKind::BrokenPipe))?;
            *self.send.borrow_mut() = Some(send);
            *self.stage.borrow_mut() = stage;
            return Ok((!is_done).then_some(at));
        }
    }

    async fn send_body(&self, mut stage: Stage, mut bytes: &[u8], watch: &Watch) -> (Stage, Result<()>) {
        let result = match &mut stage {
            Stage::Head | Stage::Done => Ok(()),
            Stage::Tunnel => self.send_data(bytes, false, watch).await,
            Stage::Fixed(left) => {
                bytes = &bytes[..bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
                *left -= bytes.len() as u64;
                let end = *left == 0;
                let result = self.send_data(bytes, end, watch).await;
                if end {
                    stage = Stage::Done;
                }
                result
            }
            Stage::Chunks(decoder) => match unchunk(decoder, bytes) {
                Err(error) => Err(error),
                Ok((payload, None)) => self.send_data(&payload, false, watch).await,
                Ok((payload, Some(trailers))) => {
                    let end = trailers.is_empty();
                    let mut result = self.send_data(&payload, end, watch).await;
                    if let (Ok(()), false, Some(send)) = (&result, end, &mut *self.send.borrow_mut()) {
                        let fields = convert::trailer_fields(trailers).unwrap_or_default();
                        result = send.send_trailers(fields).map_err(|_| ErrorKind::BrokenPipe.into());
                    }
                    stage = Stage::Done;
                    result
                }
            },
        };
        (stage, result)
    }

    async fn send_data(&self, bytes: &[u8], end: bool, watch: &Watch) -> Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            let room = poll_fn(|cx| self.poll_room(cx, bytes.len() - at, watch)).await?;
            let piece = &bytes[at..at + room.min(bytes.len() - at)];
            at += piece.len();
            self.put(Bytes::copy_from_slice(piece), end && at == bytes.len())?;
        }
        if end && bytes.is_empty() {
            self.put(Bytes::new(), true)?;
        }
        Ok(())
    }

    fn put(&self, data: Bytes, end: bool) -> Result<()> {
        match &mut *self.send.borrow_mut() {
            Some(send) => send.send_data(data, end).map_err(|_| ErrorKind::BrokenPipe.into()),
            None => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn poll_room(&self, cx: &mut Context<'_>, want: usize, watch: &Watch) -> Poll<Result<usize>> {
        let gone = || Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        let mut held = self.send.borrow_mut();
        let (Some(send), false) = (&mut *held, self.gone.get()) else { return gone() };
        send.reserve_capacity(want);
        loop {
            match send.capacity() {
                0 => {}
                room => return Poll::Ready(Ok(room)),
            }
            if watch.fired().is_some() {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            match send.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return gone(),
                Poll::Pending => {
                    watch.wait(cx.waker());
                    return Poll::Pending;
                }
            }
        }
    }

    /// Says that a tunnel ends this way.
    pub(in crate::shard) fn shutdown_write(&self) {
        let stage = self.stage.replace(Stage::Done);
        match (stage, &mut *self.send.borrow_mut()) {
            (Stage::Tunnel, Some(send)) => {
                let _ = send.send_data(Bytes::new(), true);
            }
            (stage, _) => *self.stage.borrow_mut() = stage,
        }
    }
}

impl Inbound {
    /// Opens the window by what was handed on.
    fn give_back(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        if lent > 0 {
            let _ = self.stream.flow_control().release_capacity(lent);
        }
    }

    fn hand_on(&mut self, buf: &mut Vec<u8>) -> Result<usize> {
        let before = buf.len();
        if self.held.is_empty() {
            return Ok(0);
        }
        if buf.capacity() - before <= CHUNK_ROOM {
            buf.reserve(1024);
        }
        let chunks = self.framing == Framing::Chunks;
        let room = buf.capacity() - before - if chunks { CHUNK_ROOM } else { 0 };
        let bytes = room.min(self.held.len());
        if chunks {
            crate::http::chunked::encode_size(bytes as u64, buf);
        }
        buf.extend_from_slice(&self.held[..bytes]);
        if chunks {
            buf.extend_from_slice(b"\r\n");
        }
        self.held.advance(bytes);
        self.lent += bytes;
        Ok(buf.len() - before)
    }

    /// The end of a body in chunks becomes held bytes, once.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let trailers = match self.stream.poll_trailers(cx) {
            Poll::Ready(Ok(trailers)) => trailers,
            Poll::Ready(Err(_)) => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            Poll::Pending => return Poll::Pending,
        };
        let mut text = Vec::new();
        if convert::trailers(trailers.as_ref(), &mut text).is_err() {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        self.held = text.into();
        // What is held now is framing already.
        self.framing = Framing::Plain;
        Poll::Ready(Ok(()))
    }
}

/// Payload and, at the end, the lines of the trailer section.
fn unchunk<'a>(decoder: &mut Decoder, bytes: &'a [u8]) -> Result<(Vec<u8>, Option<&'a [u8]>)> {
    let mut payload = Vec::new();
    let mut at = 0;
    loop {
        match decoder.step(&bytes[at..]).map_err(|_| Error::from(ErrorKind::InvalidData))? {
            Step::Data { data } => {
                payload.extend_from_slice(&bytes[at + data.start..at + data.end]);
                at += data.end;
            }
            Step::NeedMore { used } if at + used == bytes.len() => return Ok((payload, None)),
            Step::NeedMore { .. } => return Err(ErrorKind::InvalidData.into()),
            Step::Done { trailers, .. } => {
                let lines = &bytes[at + trailers.start..at + trailers.end];
                return Ok((payload, Some(lines)));
            }
        }
    }
}
