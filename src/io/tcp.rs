//! TCP streams over owned buffers: the few calls that the data plane makes.
#![expect(unsafe_code, reason = "two directions of one socket at once, and socket calls on borrowed descriptors")]

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelableAsyncReadRent, Canceller};
use monoio::net::TcpStream;
use socket2::{SockRef, Socket, TcpKeepalive};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::future::{poll_fn, Future};
use std::io::{Error, ErrorKind, Result};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

/// A connected socket. Closed when dropped.
pub struct Stream {
    // monoio's methods take `&mut self` for the sake of its traits; the operations themselves only clone the shared
    // descriptor, which is how its own split halves read and write at once.
    tcp: UnsafeCell<TcpStream>,
}

/// What lies in a socket's receive queue, asked without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing; the peer is there.
    Quiet,
    /// Bytes nobody asked for.
    Bytes,
    /// The peer has closed its side; it may still be reading.
    Gone,
    /// The connection is broken.
    Broken,
}

impl Stream {
    fn new(tcp: TcpStream) -> Stream {
        Stream { tcp: UnsafeCell::new(tcp) }
    }

    /// Adopts a connected socket.
    ///
    /// # Errors
    /// Where the driver cannot register it.
    pub fn adopt(socket: OwnedFd) -> Result<Stream> {
        Ok(Stream::new(TcpStream::from_std(socket.into())?))
    }

    /// Connects within `timeout_ms`.
    ///
    /// # Errors
    /// What the kernel says, or `TimedOut`.
    pub async fn connect(addr: SocketAddr, timeout_ms: u64) -> Result<Stream> {
        let connecting = TcpStream::connect_addr(addr);
        let tcp = monoio::time::timeout(Duration::from_millis(timeout_ms), connecting)
            .await
            .map_err(|_| Error::from(ErrorKind::TimedOut))??;
        tcp.set_nodelay(true)?;
        Ok(Stream::new(tcp))
    }

    /// Has the kernel ask a peer that is silent for `quiet_s` seconds whether it is there; four times without an answer, a
    /// quarter of that apart, end the connection.
    pub fn keep_alive(&self, quiet_s: u64) {
        // SAFETY: the socket is open as long as `self` is there.
        let socket = unsafe { BorrowedFd::borrow_raw(self.fd()) };
        let (quiet, apart) = (Duration::from_secs(quiet_s), Duration::from_secs((quiet_s / 4).max(1)));
        let settings = TcpKeepalive::new().with_time(quiet).with_interval(apart).with_retries(4);
        // Refused, it lives without.
        let _ = SockRef::from(&socket).set_tcp_keepalive(&settings);
    }

    #[expect(clippy::mut_from_ref, reason = "see the field: the two directions do not touch common state")]
    fn tcp(&self) -> &mut TcpStream {
        // SAFETY: the reference lives only while an operation is made from it; that clones the descriptor and touches
        // nothing else of the stream. The stream is not Sync, so no other thread can be here.
        unsafe { &mut *self.tcp.get() }
    }

    /// Receives into the spare capacity of `buf`; returns how many bytes were appended, 0 at the end of the stream.
    /// `buf` must have spare capacity.
    pub async fn recv(&self, buf: Vec<u8>) -> (Result<usize>, Vec<u8>) {
        let (from, to) = (buf.len(), buf.capacity());
        debug_assert!(from < to, "a read into a full buffer looks like the end of the stream");
        let (result, slice) = self.tcp().read(buf.slice_mut(from..to)).await;
        (result, slice.into_inner())
    }

    /// The same, ended without loss by [`Stop::stop`] with an error of kind `Other` (ECANCELED).
    pub async fn recv_until(&self, buf: Vec<u8>, stop: &Stop) -> (Result<usize>, Vec<u8>) {
        let (from, to) = (buf.len(), buf.capacity());
        let handle = stop.0.borrow().handle();
        let (result, slice) = self.tcp().cancelable_read(buf.slice_mut(from..to), handle).await;
        (result, slice.into_inner())
    }

    /// The same for a peer that may stay silent for long, without the cost of being cancellable: ended by [`Lull::end`] with
    /// the same error, and the buffer is gone with it.
    pub async fn recv_or_lull(&self, buf: Vec<u8>, lull: &Lull) -> (Result<usize>, Vec<u8>) {
        // An end that came just after the bytes it was to give up on is not one of this read, which is not even submitted.
        lull.ended.set(false);
        let mut receiving = pin!(self.recv(buf));
        let received = poll_fn(|cx| {
            // What has been received is looked for first, so that only a read which is still waiting is ever dropped.
            if let Poll::Ready(received) = receiving.as_mut().poll(cx) {
                return Poll::Ready(Some(received));
            }
            if lull.ended.take() {
                return Poll::Ready(None);
            }
            let mut waker = lull.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        received.unwrap_or_else(|| (Err(Error::from_raw_os_error(libc::ECANCELED)), Vec::new()))
    }

    /// Sends all of `buf[from..]`; one operation unless the socket's buffer is full.
    ///
    /// # Errors
    /// As the kernel says; how much was sent is then unknown.
    pub async fn send(&self, mut buf: Vec<u8>, mut from: usize) -> (Result<()>, Vec<u8>) {
        while from < buf.len() {
            let to = buf.len();
            let (result, slice) = self.tcp().write(buf.slice(from..to)).await;
            buf = slice.into_inner();
            match result {
                Ok(0) => return (Err(ErrorKind::WriteZero.into()), buf),
                Ok(sent) => from += sent,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Waits until there is something to read, holding no buffer.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn readable(&self) -> Result<()> {
        self.tcp().readable(false).await
    }

    /// Looks into the receive queue; one syscall, never waits.
    pub fn peek(&self) -> Peek {
        peek(self.fd())
    }

    /// Says that nothing more will be sent (FIN).
    pub fn shutdown_write(&self) {
        shutdown_raw(self.fd(), Shutdown::Write);
    }

    /// Makes the close that follows a reset: the peer sees that the message was cut, not that it ended.
    pub fn reset_on_close(&self) {
        let _ = self.sock_ref().set_linger(Some(Duration::ZERO));
    }

    fn sock_ref(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// This end's address.
    ///
    /// # Errors
    /// As the kernel says, where the connection is gone.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.sock_ref().local_addr()?.as_socket().ok_or_else(|| ErrorKind::Unsupported.into())
    }

    /// The other end's address.
    ///
    /// # Errors
    /// As the kernel says, where the connection is gone.
    pub fn peer_addr(&self) -> Result<SocketAddr> {
        self.sock_ref().peer_addr()?.as_socket().ok_or_else(|| ErrorKind::Unsupported.into())
    }

    /// The descriptor, for [`super::deadline`].
    pub fn fd(&self) -> RawFd {
        self.tcp().as_raw_fd()
    }

    /// Takes the socket out, to give it to another shard. No operation may be in flight.
    pub fn into_socket(self) -> OwnedFd {
        // SAFETY: `into_raw_fd` gives up the only owner of the descriptor.
        unsafe { OwnedFd::from_raw_fd(self.tcp.into_inner().into_raw_fd()) }
    }
}

impl std::os::fd::AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }
}

/// Ends a [`Stream::recv_until`] from elsewhere on the thread, keeping its buffer and its bytes.
#[derive(Default)]
pub struct Stop(RefCell<Canceller>, Cell<bool>);

impl Stop {
    /// Ends what waits on it now; later waits are not affected.
    pub fn stop(&self) {
        self.1.set(true);
        let waiting = self.0.take();
        self.0.replace(waiting.cancel());
    }

    /// Has it been used? For what waits without an operation of the kernel.
    pub fn is_used(&self) -> bool {
        self.1.get()
    }
}

/// Ends a [`Stream::recv_or_lull`] from elsewhere on the thread.
#[derive(Default)]
pub struct Lull {
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Lull {
    /// Ends the read that waits on it now by dropping it. It must have been waiting before the thread last slept.
    ///
    /// Then nothing is lost: over epoll a waiting read has taken nothing yet. Over io_uring the read has been submitted
    /// and has found the socket empty, and its completions are run only when the thread asks for them (DEFER_TASKRUN,
    /// see `runtime.rs`), which it does after submitting what is queued: the cancellation that dropping queues is always
    /// looked at before the arrival of a byte is, and takes the read away unread.
    pub fn end(&self) {
        self.ended.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Forgets who waited.
    pub fn reset(&self) {
        self.waker.take();
    }
}

/// Was the read ended by [`Stop::stop`] or [`Lull::end`]?
pub fn is_stopped(error: &Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

/// Looks into the receive queue of an open socket; one syscall, never waits.
pub fn peek(fd: RawFd) -> Peek {
    let mut byte = [0u8; 1];
    // SAFETY: one byte may be written to `byte`, which has one. A descriptor that is not ours would give a wrong answer,
    // and no more: callers hold the socket, or what is dropped before it.
    let got = unsafe { libc::recv(fd, byte.as_mut_ptr().cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    match got {
        0 => Peek::Gone,
        1.. => Peek::Bytes,
        _ if Error::last_os_error().kind() == ErrorKind::WouldBlock => Peek::Quiet,
        _ => Peek::Broken,
    }
}

/// Sends `bytes`, as far as they go without waiting, and closes the socket. A few syscalls; never waits.
///
/// A request that is there already is read off first, up to 4 KiB: closing over unread bytes is a reset, which can overtake
/// what was sent.
pub fn last_words(socket: OwnedFd, bytes: &[u8]) {
    let socket = Socket::from(socket);
    let mut unread = [std::mem::MaybeUninit::uninit(); 4096];
    let _ = socket.recv_with_flags(&mut unread, libc::MSG_DONTWAIT);
    let _ = socket.send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    let _ = socket.shutdown(Shutdown::Write);
}

/// Sends `bytes` as far as they go without waiting; how many those were. One syscall.
pub(super) fn send_part(fd: RawFd, bytes: &[u8]) -> usize {
    if bytes.is_empty() {
        return 0;
    }
    // SAFETY: callers own the socket.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    SockRef::from(&socket).send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).unwrap_or(0)
}

/// Sends `bytes` as far as they go without waiting; one syscall.
pub(super) fn send_now(fd: RawFd, bytes: &[u8]) {
    if !bytes.is_empty() {
        // SAFETY: callers own the socket.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        let _ = SockRef::from(&socket).send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    }
}

/// Ends both directions of an open socket: what waits on it is woken.
pub fn end(fd: RawFd) {
    shutdown_raw(fd, Shutdown::Both);
}

/// Shuts down a socket that is open; errors (not connected any more) mean that it already is.
pub(super) fn shutdown_raw(fd: RawFd, how: Shutdown) {
    // SAFETY: callers own the socket or hold a `Watch`, which is dropped before the socket is closed.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let _ = SockRef::from(&socket).shutdown(how);
}

/// Options of every accepted socket, inherited from its listener.
pub(super) fn tune_listener(socket: &Socket) -> Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)
}
