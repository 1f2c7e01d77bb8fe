//! The two halves of a stream of HTTP/2, on either side of the gateway: what comes in is handed on as HTTP/1.1's body, what
//! HTTP/1.1 has as a body goes out as DATA and trailers.
//!
//! Flow control is end to end: the peer's window opens by what was received last when more is asked for, which is after the
//! other side has taken it; and sending waits for the peer's window. What has come already is handed on at once, as far as a
//! buffer holds it: a small message is one piece, its end included. What comes while nobody asks is taken as well, within the
//! window.

use super::convert;
use crate::http::chunked::{self, Decoder, Step};
use crate::http::framing::Length;
use crate::io::deadline::Watch;
use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::task::{Context, Poll};

/// What comes in.
pub(super) struct Inbound {
    stream: RecvStream,
    framing: Framing,
    /// Received, and not handed on.
    held: Bytes,
    /// Received behind it, while nobody asked.
    soaked: Soaked,
    /// Handed on, and not given back to the window.
    lent: usize,
    /// All has come, but for the trailers.
    ended: bool,
    /// How it broke behind what has come.
    broken: Option<ErrorKind>,
    /// Of the declared length, bytes that have not come; never 0 where none was declared.
    left: u64,
    /// Are its trailers none?
    malformed: bool,
}

/// How a body is handed on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// As it is: its length is known, or it is a tunnel's.
    Plain,
    /// In chunks.
    Chunks,
    /// What is held is the end of a body in chunks, as it leaves.
    Trailers,
}

/// Pieces in the order in which they came. Small ones are put together, as each takes some hundred bytes beside its own.
#[derive(Default)]
struct Soaked {
    pieces: VecDeque<Bytes>,
    /// Behind them.
    small: BytesMut,
}

/// Pieces from this size on stay where they are, bytes. The engine takes smaller ones for a burden as well.
const PIECE_BYTES_MIN: usize = 256;

impl Soaked {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.small.is_empty()
    }

    fn put(&mut self, piece: Bytes) {
        if piece.len() < PIECE_BYTES_MIN {
            self.small.extend_from_slice(&piece);
            return;
        }
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
        self.pieces.push_back(piece);
    }

    fn take(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front();
        piece.or_else(|| (!self.small.is_empty()).then(|| std::mem::take(&mut self.small).freeze()))
    }
}

/// Room for the end of a body as text, which holds most trailers, bytes.
const TRAILER_ROOM: usize = 128;

/// Room that a chunk's size and line ends take, bytes.
pub(super) const CHUNK_ROOM: usize = 24;

impl Inbound {
    pub(super) fn new(stream: RecvStream, framing: Framing, declared: Option<u64>) -> Inbound {
        Inbound {
            stream,
            framing,
            held: Bytes::new(),
            soaked: Soaked::default(),
            lent: 0,
            ended: false,
            broken: None,
            left: declared.unwrap_or(u64::MAX),
            malformed: false,
        }
    }

    /// Was what came at its end no trailer section?
    pub(super) fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Waits until something is held, or the end has come. Wakes by the watch's deadline, too.
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>, watch: &Watch) -> Poll<Result<()>> {
        self.give_back();
        self.poll_more(cx, watch)
    }

    /// Receives into the spare capacity of `buf` what has come, as a socket does; 0 at the end.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>, watch: &Watch, buf: &mut Vec<u8>) -> Poll<Result<usize>> {
        self.give_back();
        let mut bytes = 0;
        loop {
            match self.poll_more(cx, watch) {
                Poll::Ready(Ok(())) => {}
                // Whoever asks again is told.
                Poll::Ready(Err(_)) | Poll::Pending if bytes > 0 => return Poll::Ready(Ok(bytes)),
                waits => return waits.map_ok(|()| 0),
            }
            let more = self.hand_on(buf);
            bytes += more;
            if more == 0 || buf.capacity() - buf.len() <= CHUNK_ROOM {
                return Poll::Ready(Ok(bytes));
            }
        }
    }

    /// Takes what has come while nobody asks for it, within the window. The engine holds every frame by itself, and ends a
    /// connection for the memory that small ones take: a stream whose other side is slow must not be the end of the others.
    pub(super) fn soak(&mut self, cx: &mut Context<'_>) {
        while !self.ended && self.broken.is_none() {
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => self.soaked.put(data),
                Poll::Ready(Some(Err(error))) => self.broken = Some(reset(&error).kind()),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => return,
            }
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, watch: &Watch) -> Poll<Result<()>> {
        if self.malformed {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        loop {
            if self.held.is_empty() {
                if let Some(piece) = self.soaked.take() {
                    self.hold(piece);
                }
            }
            // The last of a declared length is held until the stream ends there: whoever gets it takes the request for whole,
            // and a byte more would make it malformed.
            if self.ended || !self.held.is_empty() && self.left > 0 {
                break;
            }
            if let Some(kind) = self.broken {
                return Poll::Ready(Err(kind.into()));
            }
            if watch.fired().is_some() {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(data))) => self.hold(data),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(reset(&error))),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    watch.wait(cx.waker());
                    return Poll::Pending;
                }
            }
        }
        if self.held.is_empty() {
            self.give_back();
            if self.framing == Framing::Chunks {
                // The trailers are there when the end is.
                return self.poll_end(cx);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn hold(&mut self, data: Bytes) {
        self.left = self.left.saturating_sub(data.len() as u64);
        self.held = data;
    }

    /// Opens the window by what was handed on.
    fn give_back(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        if lent > 0 {
            let _ = self.stream.flow_control().release_capacity(lent);
        }
    }

    /// Writes what is held into the spare capacity of `buf`, in its framing; 0 at the end.
    fn hand_on(&mut self, buf: &mut Vec<u8>) -> usize {
        let before = buf.len();
        if self.held.is_empty() {
            return 0;
        }
        if buf.capacity() - before <= CHUNK_ROOM {
            buf.reserve(1024);
        }
        let chunks = self.framing == Framing::Chunks;
        let room = buf.capacity() - before - if chunks { CHUNK_ROOM } else { 0 };
        let bytes = room.min(self.held.len());
        if chunks {
            chunked::encode_size(bytes as u64, buf);
        }
        buf.extend_from_slice(&self.held[..bytes]);
        if chunks {
            buf.extend_from_slice(b"\r\n");
        }
        self.held.advance(bytes);
        if self.framing != Framing::Trailers {
            self.lent += bytes;
        }
        // Nobody asks for more behind the end, and other streams need the connection's window.
        if self.ended && self.held.is_empty() && self.soaked.is_empty() {
            self.give_back();
        }
        buf.len() - before
    }

    /// The end of a body in chunks becomes held bytes, once.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let trailers = match self.stream.poll_trailers(cx) {
            Poll::Ready(Ok(trailers)) => trailers,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(reset(&error))),
            Poll::Pending => return Poll::Pending,
        };
        let mut text = Vec::with_capacity(TRAILER_ROOM);
        if convert::trailers(trailers.as_ref(), &mut text).is_err() {
            self.malformed = true;
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        self.held = text.into();
        self.framing = Framing::Trailers;
        Poll::Ready(Ok(()))
    }
}

/// What a stream's end means to whoever waits for it: refused before anything was done, or broken.
pub(super) fn reset(error: &h2::Error) -> Error {
    let refused = error.reason() == Some(Reason::REFUSED_STREAM) || error.is_go_away() && error.is_remote();
    if refused {
        ErrorKind::ConnectionRefused.into()
    } else {
        ErrorKind::ConnectionReset.into()
    }
}

/// What goes out.
#[derive(Default)]
pub(super) struct Outbound {
    /// From the head on.
    send: RefCell<Option<SendStream<Bytes>>>,
    /// Has the head been sent? The stage does not tell: it is away while a piece of the body waits for room.
    begun: Cell<bool>,
    stage: RefCell<Stage>,
}

/// What is to come.
#[derive(Default)]
pub(super) enum Stage {
    #[default]
    Head,
    /// So many bytes of body.
    Fixed(u64),
    Chunks(Box<Decoder>),
    /// A tunnel: until it is closed.
    Tunnel,
    Done,
}

impl Stage {
    /// Behind a head that says so.
    pub(super) fn of(length: Length) -> Stage {
        match length {
            Length::None | Length::Fixed(0) => Stage::Done,
            Length::Fixed(bytes) => Stage::Fixed(bytes),
            Length::Chunked => Stage::Chunks(Box::default()),
            Length::UntilClose => Stage::Tunnel,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Stage::Done)
    }
}

impl Outbound {
    /// The head was sent.
    pub(super) fn begin(&self, send: SendStream<Bytes>, stage: Stage) {
        *self.send.borrow_mut() = Some(send);
        *self.stage.borrow_mut() = stage;
        self.begun.set(true);
    }

    pub(super) fn is_begun(&self) -> bool {
        self.begun.get()
    }

    pub(super) fn is_done(&self) -> bool {
        self.stage.borrow().is_done()
    }

    /// Was it reset? `None` before the head.
    pub(super) fn poll_reset(&self, cx: &mut Context<'_>) -> Option<bool> {
        self.send.borrow_mut().as_mut().map(|send| send.poll_reset(cx).is_ready())
    }

    /// Sends more of a body, its framing whole. `gone`: has the peer given up?
    ///
    /// # Errors
    /// Where the peer has given up, or is too slow, or the framing is none.
    pub(super) async fn body(&self, bytes: &[u8], watch: &Watch, gone: &Cell<bool>) -> Result<()> {
        let mut stage = self.stage.take();
        let result = self.step(&mut stage, bytes, watch, gone).await;
        *self.stage.borrow_mut() = stage;
        result
    }

    async fn step(&self, stage: &mut Stage, bytes: &[u8], watch: &Watch, gone: &Cell<bool>) -> Result<()> {
        match stage {
            Stage::Head | Stage::Done => Ok(()),
            Stage::Tunnel => self.data(bytes, false, watch, gone).await,
            Stage::Fixed(left) => {
                let bytes = &bytes[..bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
                *left -= bytes.len() as u64;
                let end = *left == 0;
                let result = self.data(bytes, end, watch, gone).await;
                if end {
                    *stage = Stage::Done;
                }
                result
            }
            Stage::Chunks(decoder) => match unchunk(decoder, bytes)? {
                (payload, None) => self.payload(payload, false, watch, gone).await,
                (payload, Some(trailers)) => {
                    *stage = Stage::Done;
                    let end = trailers.is_empty();
                    self.payload(payload, end, watch, gone).await?;
                    if end {
                        return Ok(());
                    }
                    let fields = convert::trailer_fields(trailers).map_err(|_| Error::from(ErrorKind::InvalidData))?;
                    self.with(|send| send.send_trailers(fields))
                }
            },
        }
    }

    async fn data(&self, bytes: &[u8], end: bool, watch: &Watch, gone: &Cell<bool>) -> Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            let room = poll_fn(|cx| self.poll_room(cx, bytes.len() - at, watch, gone)).await?;
            let piece = Bytes::copy_from_slice(&bytes[at..at + room.min(bytes.len() - at)]);
            at += piece.len();
            let is_last = end && at == bytes.len();
            self.with(|send| send.send_data(piece, is_last))?;
        }
        if end && bytes.is_empty() {
            self.with(|send| send.send_data(Bytes::new(), true))?;
        }
        Ok(())
    }

    /// As [`Outbound::data`], of bytes of its own.
    async fn payload(&self, bytes: Vec<u8>, end: bool, watch: &Watch, gone: &Cell<bool>) -> Result<()> {
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            let room = poll_fn(|cx| self.poll_room(cx, bytes.len(), watch, gone)).await?;
            let piece = bytes.split_to(room.min(bytes.len()));
            let is_last = end && bytes.is_empty();
            self.with(|send| send.send_data(piece, is_last))?;
            if is_last {
                return Ok(());
            }
        }
        if end {
            self.with(|send| send.send_data(Bytes::new(), true))?;
        }
        Ok(())
    }

    fn with(&self, act: impl FnOnce(&mut SendStream<Bytes>) -> std::result::Result<(), h2::Error>) -> Result<()> {
        let mut send = self.send.borrow_mut();
        let Some(send) = &mut *send else { return Err(ErrorKind::BrokenPipe.into()) };
        act(send).map_err(|_| ErrorKind::BrokenPipe.into())
    }

    fn poll_room(&self, cx: &mut Context<'_>, want: usize, watch: &Watch, gone: &Cell<bool>) -> Poll<Result<usize>> {
        let broken = || Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        let mut held = self.send.borrow_mut();
        let (Some(send), false) = (&mut *held, gone.get()) else { return broken() };
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
                Poll::Ready(_) => return broken(),
                Poll::Pending => {
                    watch.wait(cx.waker());
                    return Poll::Pending;
                }
            }
        }
    }

    /// Says that a tunnel ends this way.
    pub(super) fn close_tunnel(&self) {
        if matches!(*self.stage.borrow(), Stage::Tunnel) {
            self.stage.replace(Stage::Done);
            let _ = self.with(|send| send.send_data(Bytes::new(), true));
        }
    }

    /// Ends what is not at its end, for this reason; `false` where nothing was begun.
    pub(super) fn finish(&self, reason: Reason) -> bool {
        self.close_tunnel();
        match self.stage.replace(Stage::Done) {
            Stage::Done => true,
            _ => self.send.borrow_mut().as_mut().map(|send| send.send_reset(reason)).is_some(),
        }
    }
}

/// Payload and, at the end, the lines of the trailer section.
fn unchunk<'a>(decoder: &mut Decoder, bytes: &'a [u8]) -> Result<(Vec<u8>, Option<&'a [u8]>)> {
    let mut payload = Vec::with_capacity(bytes.len());
    let mut at = 0;
    loop {
        match decoder.step(&bytes[at..]).map_err(|_| Error::from(ErrorKind::InvalidData))? {
            Step::Data { data } => {
                payload.extend_from_slice(&bytes[at + data.start..at + data.end]);
                at += data.end;
            }
            Step::NeedMore { used } if at + used == bytes.len() => return Ok((payload, None)),
            Step::NeedMore { .. } => return Err(ErrorKind::InvalidData.into()),
            Step::Done { trailers, .. } => return Ok((payload, Some(&bytes[at + trailers.start..at + trailers.end]))),
        }
    }
}
