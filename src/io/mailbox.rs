//! A shard's mailbox: a bounded queue that any thread may post to, and a byte on a socket pair that wakes the shard.
//!
//! Not on the path of a request. The runtime's own cross-thread wakers would cost every park two atomic operations.

use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;
use std::io::{Result, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Arc;

/// The side that posts; clone it freely.
pub struct Sender<T> {
    queue: SyncSender<T>,
    bell: Arc<Bell>,
}

struct Bell {
    socket: StdUnixStream,
    /// Has it rung since the shard last looked? One byte per batch is enough.
    rung: AtomicBool,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

/// The side that reads, before its thread has a runtime.
pub struct Seat<T> {
    queue: Receiver<T>,
    bell: Arc<Bell>,
    socket: StdUnixStream,
}

/// The side that reads.
pub struct Mailbox<T> {
    queue: Receiver<T>,
    bell: Arc<Bell>,
    socket: UnixStream,
    scratch: Vec<u8>,
}

/// A mailbox for at most `bound` messages.
///
/// # Errors
/// Where no socket pair can be made.
pub fn mailbox<T>(bound: usize) -> Result<(Sender<T>, Seat<T>)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (send, receive) = sync_channel(bound);
    let bell = Arc::new(Bell { socket: ours, rung: AtomicBool::new(false) });
    Ok((Sender { queue: send, bell: bell.clone() }, Seat { queue: receive, bell, socket: theirs }))
}

impl<T> Sender<T> {
    /// Posts without waiting.
    ///
    /// # Errors
    /// The message, where the mailbox is full or its shard is gone.
    pub fn post(&self, message: T) -> std::result::Result<(), T> {
        self.queue.try_send(message).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(message) | std::sync::mpsc::TrySendError::Disconnected(message) => {
                message
            }
        })?;
        if !self.bell.rung.swap(true, Ordering::AcqRel) {
            // A full socket means that bytes are waiting: the shard will wake all the same.
            let _ = (&self.bell.socket).write(&[1]);
        }
        Ok(())
    }
}

impl<T> Seat<T> {
    /// Takes the seat, on the thread that will read. `non_blocking`: what the epoll driver needs of sockets.
    ///
    /// # Errors
    /// Where the driver cannot register the socket.
    pub fn sit(self, non_blocking: bool) -> Result<Mailbox<T>> {
        self.socket.set_nonblocking(non_blocking)?;
        let socket = UnixStream::from_std(self.socket)?;
        Ok(Mailbox { queue: self.queue, bell: self.bell, socket, scratch: Vec::with_capacity(64) })
    }
}

impl<T> Mailbox<T> {
    /// The next message, in the order of posting; `None` when every sender is gone. Never cancelled: one reader.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            if let Ok(message) = self.queue.try_recv() {
                return Some(message);
            }
            // Between the look above and this store a message may come; it is found by the look below, and one that
            // comes later rings again.
            self.bell.rung.store(false, Ordering::Release);
            if let Ok(message) = self.queue.try_recv() {
                return Some(message);
            }
            let scratch = std::mem::take(&mut self.scratch);
            let (result, scratch) = self.socket.read(scratch).await;
            self.scratch = scratch;
            if !matches!(result, Ok(1..)) {
                return None;
            }
        }
    }
}
