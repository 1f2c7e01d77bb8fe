//! What a connection is to whoever serves it: a TCP stream, or TLS over one, by the same calls.
//!
//! In the clear a call is the stream's own, after one look at a pointer. Over TLS the same rules hold: a read that is given
//! up by [`Lull`] or [`Stop`] loses nothing, a send is one operation for up to [`SEND_BYTES`], and a connection that waits for
//! a peer ([`Channel::readable`]) holds no buffer.

use super::buf::Pool;
use super::early::{Early, Ended};
use super::tcp::{self, is_stopped, Lull, Peek, Stop, Stream};
use crate::base::limits::{TLS_HANDSHAKE_BYTES_MAX, TLS_HELLO_BYTES_MAX};
use crate::tls::engine::{Facts, Handshake, Progress};
use crate::tls::hello::{self, Hello};
use crate::tls::record::{Fault, OVERHEAD_BYTES, PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX};
use crate::tls::session::{Found, Inbox, Session};
use crate::tls::{ClientConfig, ServerConfig, ServerName};
use std::cell::{Cell, OnceCell, RefCell};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Bytes of small buffers: a head and its body, in one record.
const SMALL_BYTES: usize = 4 * 1024;

/// Data that leaves in one operation: a full buffer of a caller's, and a head before it.
pub const SEND_BYTES: usize = 2 * PAYLOAD_BYTES_MAX + 2048;

/// What sealing adds to that: three records, and one that changes the key.
const SEALING_BYTES: usize = 4 * OVERHEAD_BYTES + 8;

/// Bytes of large buffers.
const LARGE_BYTES: usize = SEND_BYTES + SEALING_BYTES;
const _: () = assert!(LARGE_BYTES >= 2 * RECORD_BYTES_MAX, "two records must fit, or a caller's buffer is half filled");

/// The buffers of a shard's TLS connections: sealed bytes, both ways.
pub struct Buffers {
    small: Pool,
    large: Pool,
}

impl Buffers {
    /// At most `kept` of each class lie free.
    pub fn new(kept: usize) -> Buffers {
        Buffers { small: Pool::new(SMALL_BYTES, kept), large: Pool::new(LARGE_BYTES, kept) }
    }

    /// One with room for `bytes`.
    fn take(&self, bytes: usize) -> Vec<u8> {
        match bytes <= SMALL_BYTES {
            true => self.small.take(),
            false => self.large.take(),
        }
    }

    fn put(&self, buf: Vec<u8>) {
        if buf.capacity() >= LARGE_BYTES {
            self.large.put(buf);
        } else {
            self.small.put(buf);
        }
    }

    /// Frees what nobody has needed since the last call; how many bytes that was.
    pub fn trim(&self) -> usize {
        self.small.trim() + self.large.trim()
    }
}

/// A connection, in the clear or not. Closed when dropped, over TLS with a word of it.
pub struct Channel {
    tcp: Stream,
    /// From the end of the handshake on.
    tls: OnceCell<Box<Tls>>,
    /// A handshake whose client has asked before its end.
    early: Option<Box<Early>>,
}

struct Tls {
    session: RefCell<Session>,
    inbox: RefCell<Inbox>,
    facts: Facts,
    buffers: Rc<Buffers>,
    /// A send is under way, or has failed: what the peer has may end within a record.
    sending: Cell<bool>,
    /// A read was dropped, and bytes with it.
    lost: Cell<bool>,
    /// The peer's TCP ended without its word.
    cut: Cell<bool>,
    /// The last read filled its buffer: the next may want a larger one.
    much: Cell<bool>,
}

/// How a handshake on the server's side ended, where it did not end well.
#[derive(Debug)]
pub enum Refused {
    /// The peer is gone, or was too slow.
    Gone,
    /// A request in the clear; the bytes of it that came.
    PlainHttp(Vec<u8>),
    /// What it sent is no handshake, or one that cannot be made; for the log.
    Failed(String),
}

impl From<Stream> for Channel {
    fn from(tcp: Stream) -> Channel {
        Channel { tcp, tls: OnceCell::new(), early: None }
    }
}

impl Channel {
    /// Makes the handshake of a server. `early` was received before; `config` is asked by the name that the client asks
    /// for; `None`: there is no certificate.
    ///
    /// # Errors
    /// [`Refused`]; the channel is then of use for an answer in the clear, and for nothing else.
    pub async fn accept(
        &mut self,
        early: Vec<u8>,
        buffers: &Rc<Buffers>,
        config: impl FnOnce(Option<&str>) -> Option<Arc<ServerConfig>>,
    ) -> std::result::Result<(), Refused> {
        let mut input = early;
        let name = loop {
            if hello::is_plain_http(&input) && input.len() >= 8 {
                return Err(Refused::PlainHttp(input));
            }
            match hello::look(&input) {
                Hello::Whole(name) => break name,
                // What does not begin like a handshake is for rustls to refuse.
                Hello::Partial if input.first().is_some_and(|&byte| byte != 22) && !hello::is_plain_http(&input) => {
                    break None;
                }
                Hello::Partial if input.len() >= TLS_HELLO_BYTES_MAX => {
                    return Err(Refused::Failed("a ClientHello that is too long".to_owned()));
                }
                Hello::Partial => self.fill(&mut input, buffers).await.map_err(|_| Refused::Gone)?,
            }
        };
        let failed = |error: crate::tls::Error| Refused::Failed(error.to_string());
        let Some(config) = config(name.as_deref()) else {
            return Err(Refused::Failed("the listener has no certificate".to_owned()));
        };
        let handshake = Handshake::accept(config, name).map_err(failed)?;
        self.shake(handshake, input, buffers).await.map_err(|error| match error {
            None => Refused::Gone,
            Some(error) => failed(error),
        })
    }

    /// Makes the handshake of a client, towards `name`.
    ///
    /// # Errors
    /// What rustls says, such as a certificate that does not verify; `UnexpectedEof` where the peer has closed.
    pub async fn connect(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: &Rc<Buffers>,
    ) -> Result<()> {
        let invalid = |error| Error::new(ErrorKind::InvalidData, crate::tls::settings::reason(&error));
        let handshake = Handshake::connect(config, name).map_err(invalid)?;
        let shaken = self.shake(handshake, Vec::new(), buffers).await;
        shaken.map_err(|error| error.map_or(ErrorKind::UnexpectedEof.into(), invalid))
    }

    /// Receives more of a handshake into `input`.
    async fn fill(&self, input: &mut Vec<u8>, buffers: &Buffers) -> Result<()> {
        if input.capacity() == 0 {
            *input = buffers.take(SMALL_BYTES);
        }
        if input.len() == input.capacity() {
            if input.len() >= TLS_HANDSHAKE_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            input.reserve(SMALL_BYTES);
        }
        let (received, back) = self.tcp.recv(std::mem::take(input)).await;
        *input = back;
        match received? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// `None` for an error: the peer is gone.
    async fn shake(
        &mut self,
        mut handshake: Handshake,
        mut input: Vec<u8>,
        buffers: &Rc<Buffers>,
    ) -> std::result::Result<(), Option<crate::tls::Error>> {
        let mut out = buffers.take(SMALL_BYTES);
        let is_early = loop {
            let progress = handshake.step(&mut input, &mut out);
            if !out.is_empty() {
                let (sent, back) = self.tcp.send(out, 0).await;
                out = back;
                out.clear();
                sent.map_err(|_| None)?;
            }
            match progress.map_err(Some)? {
                Progress::Done => break false,
                Progress::Early => break true,
                Progress::More => self.fill(&mut input, buffers).await.map_err(|_| None)?,
            }
        };
        buffers.put(out);
        if is_early {
            self.early = Some(Box::new(Early::new(handshake, input, buffers)));
            return Ok(());
        }
        let (session, facts, data) = handshake.finish().map_err(Some)?;
        self.establish(Ended { session, facts, inbox: Inbox::filled(input, &data) }, buffers);
        Ok(())
    }

    fn establish(&self, ended: Ended, buffers: &Rc<Buffers>) {
        let Ended { session, facts, mut inbox } = ended;
        if inbox.is_empty() {
            buffers.put(std::mem::take(&mut inbox.buf));
            inbox = Inbox::default();
        }
        let tls = Tls {
            session: RefCell::new(session),
            inbox: RefCell::new(inbox),
            facts,
            buffers: buffers.clone(),
            sending: Cell::new(false),
            lost: Cell::new(false),
            cut: Cell::new(false),
            much: Cell::new(false),
        };
        let first = self.tls.set(Box::new(tls));
        debug_assert!(first.is_ok(), "a handshake ends once");
    }

    /// Is the handshake still under way? What its client has asked so far may have been asked before, by somebody else
    /// (RFC 8446 §8).
    pub fn is_early(&self) -> bool {
        self.early.is_some() && self.tls.get().is_none()
    }

    /// Brings the handshake to its end, where nobody else reads.
    ///
    /// # Errors
    /// As of a read; `UnexpectedEof` where the peer is gone.
    pub async fn complete(&self) -> Result<()> {
        while let (Some(early), None) = (&self.early, self.tls.get()) {
            if self.receive_early(early, Wait::Long).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Waits until whoever reads has brought it there, or to nowhere.
    pub fn poll_complete(&self, cx: &Context<'_>) -> Poll<()> {
        match &self.early {
            Some(early) => early.poll_over(!self.is_early(), cx),
            None => Poll::Ready(()),
        }
    }

    /// Receives within a handshake; how many bytes, sealed.
    async fn receive_early(&self, early: &Early, wait: Wait<'_>) -> Result<usize> {
        if early.lost.get() {
            return Err(ErrorKind::InvalidData.into());
        }
        let chunk = early.buffers.take(SMALL_BYTES);
        let guard = Dropped(&early.lost);
        let (received, chunk) = match wait {
            Wait::Until(stop) => self.tcp.recv_until(chunk, stop).await,
            Wait::Lull(lull) => self.tcp.recv_or_lull(chunk, lull).await,
            Wait::Long => self.tcp.recv(chunk).await,
        };
        std::mem::forget(guard);
        let advanced = match &received {
            Ok(1..) => early.advance(&self.tcp, &chunk),
            _ => Ok(None),
        };
        early.buffers.put(chunk);
        if let Some(ended) = advanced? {
            self.establish(ended, &early.buffers);
            early.wake();
        }
        if let Ok(0) = received {
            early.cut.set(true);
        }
        received
    }

    async fn recv_early(&self, early: &Early, mut buf: Vec<u8>, mut wait: Wait<'_>) -> (Result<usize>, Vec<u8>) {
        loop {
            if let Some(tls) = self.tls.get() {
                return tls.recv(&self.tcp, buf, wait).await;
            }
            let bytes = early.take(&mut buf);
            if bytes > 0 {
                return (Ok(bytes), buf);
            }
            match self.receive_early(early, wait).await {
                Ok(1..) => {}
                other => return (other, buf),
            }
            // Only a first read has waited long enough to be dropped.
            if let Wait::Lull(_) = wait {
                wait = Wait::Long;
            }
        }
    }

    async fn send_early(&self, early: &Early, data: &[u8]) -> Result<()> {
        let mut rest = data;
        loop {
            let mut out = early.take_owed();
            if self.tls.get().is_none() && !rest.is_empty() {
                let now = rest.len().min(SEND_BYTES);
                early.seal(&rest[..now], &mut out)?;
                rest = &rest[now..];
            }
            if !out.is_empty() {
                early.sending.set(true);
                self.tcp.send(out, 0).await.0?;
                early.sending.set(false);
            }
            match self.tls.get() {
                // What the handshake has said meanwhile was taken above, or is there for the next turn.
                Some(tls) if !early.owes() => return tls.send(&self.tcp, rest).await,
                None if rest.is_empty() => return Ok(()),
                _ => {}
            }
        }
    }

    /// What the handshake agreed on; `None` in the clear.
    pub fn facts(&self) -> Option<&Facts> {
        self.tls.get().map(|tls| &tls.facts).or_else(|| self.early.as_ref().map(|early| &early.facts))
    }

    /// The protocol that was agreed on (ALPN), such as `h2`.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.facts()?.alpn.as_deref()
    }

    /// Receives into the spare capacity of `buf`; returns how many bytes were appended, 0 at the end of the stream, also
    /// where it was cut: see [`Channel::is_cut`]. `buf` must have spare capacity.
    pub async fn recv(&self, buf: Vec<u8>) -> (Result<usize>, Vec<u8>) {
        match (self.tls.get(), &self.early) {
            (Some(tls), _) => tls.recv(&self.tcp, buf, Wait::Long).await,
            (None, None) => self.tcp.recv(buf).await,
            (None, Some(early)) => Box::pin(self.recv_early(early, buf, Wait::Long)).await,
        }
    }

    /// The same, ended without loss by [`Stop::stop`] with an error of kind `Other` (ECANCELED).
    pub async fn recv_until(&self, buf: Vec<u8>, stop: &Stop) -> (Result<usize>, Vec<u8>) {
        match (self.tls.get(), &self.early) {
            (Some(tls), _) => tls.recv(&self.tcp, buf, Wait::Until(stop)).await,
            (None, None) => self.tcp.recv_until(buf, stop).await,
            (None, Some(early)) => Box::pin(self.recv_early(early, buf, Wait::Until(stop))).await,
        }
    }

    /// The same for a peer that may stay silent for long, without the cost of being cancellable: ended by [`Lull::end`] with
    /// the same error; the buffer may be gone with it.
    pub async fn recv_or_lull(&self, buf: Vec<u8>, lull: &Lull) -> (Result<usize>, Vec<u8>) {
        match (self.tls.get(), &self.early) {
            (Some(tls), _) => tls.recv(&self.tcp, buf, Wait::Lull(lull)).await,
            (None, None) => self.tcp.recv_or_lull(buf, lull).await,
            (None, Some(early)) => Box::pin(self.recv_early(early, buf, Wait::Lull(lull))).await,
        }
    }

    /// Sends all of `buf[from..]`; one operation unless the socket's buffer is full, or it is very much.
    ///
    /// # Errors
    /// As the kernel says; how much was sent is then unknown.
    pub async fn send(&self, buf: Vec<u8>, from: usize) -> (Result<()>, Vec<u8>) {
        match (self.tls.get(), &self.early) {
            (_, Some(early)) if self.is_early() || early.owes() => {
                let sent = Box::pin(self.send_early(early, &buf[from..])).await;
                (sent, buf)
            }
            (None, _) => self.tcp.send(buf, from).await,
            (Some(tls), _) => {
                let sent = tls.send(&self.tcp, &buf[from..]).await;
                (sent, buf)
            }
        }
    }

    /// Waits until there is something to read, holding no buffer.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn readable(&self) -> Result<()> {
        if self.has_data() {
            return Ok(());
        }
        self.tcp.readable().await
    }

    /// Looks into the receive queue; at most one syscall, never waits. Over TLS, `Bytes` may be no data.
    pub fn peek(&self) -> Peek {
        match self.tls.get() {
            Some(tls) if !tls.inbox.borrow().is_empty() => Peek::Bytes,
            None if self.has_data() => Peek::Bytes,
            _ => self.tcp.peek(),
        }
    }

    /// Is there data that was opened and not taken?
    fn has_data(&self) -> bool {
        match self.tls.get() {
            Some(tls) => tls.has_data(),
            None => self.early.as_ref().is_some_and(|early| early.has_data()),
        }
    }

    /// Says that nothing more will be sent, over TLS.
    fn close(&self) {
        match (self.tls.get(), &self.early) {
            // A send that began within the handshake is cut as well.
            (Some(_), Some(early)) if early.sending.get() || early.owes() => {}
            (Some(tls), _) => tls.close(&self.tcp),
            (None, Some(early)) => early.close(&self.tcp),
            (None, None) => {}
        }
    }

    /// Receives and forgets; over TLS also what cannot be opened any more.
    pub async fn drain(&self, buf: Vec<u8>) -> (Result<usize>, Vec<u8>) {
        self.tcp.recv(buf).await
    }

    /// Says that nothing more will be sent (FIN, over TLS with `close_notify` before it).
    pub fn shutdown_write(&self) {
        self.close();
        self.tcp.shutdown_write();
    }

    /// Makes the close that follows a reset: the peer sees that the message was cut, not that it ended.
    pub fn reset_on_close(&self) {
        if let Some(tls) = self.tls.get() {
            tls.sending.set(true);
        }
        if let Some(early) = &self.early {
            early.sending.set(true);
        }
        self.tcp.reset_on_close();
    }

    /// Has the stream ended without its peer's word (`close_notify`)? Never so in the clear, where there is none.
    pub fn is_cut(&self) -> bool {
        let within = || self.early.as_ref().is_some_and(|early| early.cut.get());
        self.tls.get().is_some_and(|tls| tls.cut.get()) || within()
    }

    /// As [`Stream::keep_alive`].
    pub fn keep_alive(&self, quiet_s: u64) {
        self.tcp.keep_alive(quiet_s);
    }

    /// This end's address.
    ///
    /// # Errors
    /// As the kernel says, where the connection is gone.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The other end's address.
    ///
    /// # Errors
    /// As the kernel says, where the connection is gone.
    pub fn peer_addr(&self) -> Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    /// The descriptor, for [`super::deadline`].
    pub fn fd(&self) -> RawFd {
        self.tcp.fd()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.close();
    }
}

/// How a read may be given up.
#[derive(Clone, Copy)]
enum Wait<'a> {
    Long,
    Until(&'a Stop),
    Lull(&'a Lull),
}

/// Notes that a read was dropped while it was under way.
struct Dropped<'a>(&'a Cell<bool>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl Tls {
    fn has_data(&self) -> bool {
        self.inbox.borrow().has_data()
    }

    /// Opens what is there, and moves data to `into` as far as there is room; how much. Then what more is needed.
    fn take(&self, into: &mut Vec<u8>) -> std::result::Result<(usize, Found), Fault> {
        let (mut inbox, mut session) = (self.inbox.borrow_mut(), self.session.borrow_mut());
        let mut bytes = 0;
        loop {
            let found = match session.open(&mut inbox) {
                Ok(found) => found,
                // What came before the fault is sound.
                Err(_) if bytes > 0 => return Ok((bytes, Found::Data)),
                Err(fault) => return Err(fault),
            };
            if found != Found::Data || into.len() == into.capacity() {
                if !inbox.has_data() {
                    inbox.compact();
                }
                return Ok((bytes, found));
            }
            bytes += inbox.take(into);
        }
    }

    async fn recv(&self, tcp: &Stream, mut buf: Vec<u8>, wait: Wait<'_>) -> (Result<usize>, Vec<u8>) {
        debug_assert!(buf.len() < buf.capacity(), "a read into a full buffer looks like the end of the stream");
        if self.lost.get() {
            return (Err(ErrorKind::InvalidData.into()), buf);
        }
        let mut first = true;
        loop {
            let found = match self.take(&mut buf) {
                Ok((0, found)) => found,
                Ok((bytes, _)) => {
                    self.release();
                    return (Ok(bytes), buf);
                }
                Err(fault) => {
                    self.complain(tcp, fault);
                    return (Err(Error::new(ErrorKind::InvalidData, fault.text())), buf);
                }
            };
            let needed = match found {
                Found::More(bytes) => bytes,
                Found::Closed | Found::Data => {
                    self.release();
                    return (Ok(0), buf);
                }
            };
            let input = self.room(needed, buf.capacity() - buf.len());
            let is_part = !input.is_empty();
            // Dropped here, the bytes of a record are gone with the read.
            let guard = Dropped(&self.lost);
            let (received, input) = match wait {
                Wait::Until(stop) => tcp.recv_until(input, stop).await,
                // Only the first read has waited long enough to be dropped without loss, and a part of a record would be
                // dropped with it.
                Wait::Lull(lull) if first && !is_part => tcp.recv_or_lull(input, lull).await,
                Wait::Lull(_) | Wait::Long => tcp.recv(input).await,
            };
            std::mem::forget(guard);
            first = false;
            self.much.set(input.len() == input.capacity());
            self.inbox.borrow_mut().buf = input;
            match received {
                Ok(0) => {
                    self.cut.set(true);
                    self.release();
                    return (Ok(0), buf);
                }
                Ok(_) => {}
                Err(error) => {
                    if is_stopped(&error) {
                        self.release();
                    }
                    return (Err(error), buf);
                }
            }
        }
    }

    /// The inbox's memory, with room for a record of `needed` bytes; large where that helps a caller who has `spare` room.
    fn room(&self, needed: usize, spare: usize) -> Vec<u8> {
        let buf = std::mem::take(&mut self.inbox.borrow_mut().buf);
        let wanted = if self.much.get() && spare > SMALL_BYTES { LARGE_BYTES } else { needed.max(SMALL_BYTES) };
        if buf.capacity() >= wanted && buf.len() < buf.capacity() {
            return buf;
        }
        let mut larger = self.buffers.take(wanted.max(buf.len() + 1));
        larger.extend_from_slice(&buf);
        self.buffers.put(buf);
        larger
    }

    /// Gives the inbox's memory back where it is empty.
    fn release(&self) {
        let mut inbox = self.inbox.borrow_mut();
        if inbox.is_empty() {
            self.buffers.put(std::mem::take(&mut *inbox).buf);
        }
    }

    async fn send(&self, tcp: &Stream, data: &[u8]) -> Result<()> {
        for data in data.chunks(SEND_BYTES) {
            let mut out = self.buffers.take(data.len() + SEALING_BYTES);
            let sealed = self.session.borrow_mut().seal(data, &mut out);
            self.sending.set(true);
            let sent = match sealed {
                Ok(()) => {
                    let (sent, back) = tcp.send(out, 0).await;
                    out = back;
                    sent
                }
                Err(fault) => Err(Error::other(fault.text())),
            };
            self.buffers.put(out);
            sent?;
            self.sending.set(false);
        }
        Ok(())
    }

    /// Says that nothing more will be sent; as far as that goes without waiting.
    fn close(&self, tcp: &Stream) {
        if !self.sending.get() {
            let mut out = Vec::new();
            self.session.borrow_mut().close(&mut out);
            tcp::send_now(tcp.fd(), &out);
        }
    }

    fn complain(&self, tcp: &Stream, fault: Fault) {
        if !self.sending.get() {
            let mut out = Vec::new();
            self.session.borrow_mut().complain(fault, &mut out);
            tcp::send_now(tcp.fd(), &out);
        }
    }
}
