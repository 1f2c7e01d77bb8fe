//! A pipe between the owned buffers of a socket and code that wants to poll one: HTTP/2, whose framing is a crate's.
//!
//! One task polls both ends in turns (see `shard/h2`), so nothing here wakes anybody: whoever moves bytes says so in
//! [`Pipe::turns`], and the task polls the other side again. Bounded both ways: one buffer comes in at a time, and what goes
//! out waits in one buffer that does not grow, and is held only while there is something in it.

use super::buf::Pool;
use std::cell::{Cell, RefCell, RefMut};
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The end that does I/O.
pub struct Pipe {
    /// Received, and taken up to the offset.
    inbound: RefCell<(Vec<u8>, usize)>,
    /// Nothing more will be received.
    ended: Cell<bool>,
    /// To be sent. Invariant: of no capacity, or of the pool and never longer than its capacity.
    outbound: RefCell<Vec<u8>>,
    /// Where `outbound` comes from.
    pool: Rc<Pool>,
    /// Nothing more can be sent.
    broken: Cell<bool>,
    turns: Cell<u64>,
}

/// The end that is polled.
pub struct Duplex(Rc<Pipe>);

impl Pipe {
    /// A pipe whose outbound bytes wait in a buffer of `pool`, up to its capacity.
    pub fn new(pool: &Rc<Pool>) -> Rc<Pipe> {
        Rc::new(Pipe {
            inbound: RefCell::default(),
            ended: Cell::new(false),
            outbound: RefCell::default(),
            pool: pool.clone(),
            broken: Cell::new(false),
            turns: Cell::new(0),
        })
    }

    /// The other end.
    pub fn other(self: &Rc<Pipe>) -> Duplex {
        Duplex(self.clone())
    }

    fn turn(&self) {
        self.turns.set(self.turns.get() + 1);
    }

    /// Changes whenever bytes have moved or an end has come.
    pub fn turns(&self) -> u64 {
        self.turns.get()
    }

    /// Hands in what was received; all that was before must have been taken.
    pub fn put(&self, received: Vec<u8>) {
        debug_assert!(self.is_taken());
        *self.inbound.borrow_mut() = (received, 0);
        self.turn();
    }

    /// Has all that was handed in been taken?
    pub fn is_taken(&self) -> bool {
        let inbound = self.inbound.borrow();
        inbound.1 == inbound.0.len()
    }

    /// The buffer of what was handed in, to receive into again.
    pub fn take_inbound(&self) -> Vec<u8> {
        let (mut buf, _) = self.inbound.take();
        buf.clear();
        buf
    }

    /// Says that nothing more will be handed in.
    pub fn end(&self) {
        self.ended.set(true);
        self.turn();
    }

    /// Is anything to be sent?
    pub fn has_outbound(&self) -> bool {
        !self.outbound.borrow().is_empty()
    }

    /// Takes what is to be sent; its buffer is to be given back.
    pub fn take_outbound(&self) -> Vec<u8> {
        self.turn();
        self.outbound.take()
    }

    /// Takes the buffer back whose bytes were sent, or never will be.
    pub fn put_outbound(&self, sent: Vec<u8>) {
        self.pool.put(sent);
    }

    /// What is to be sent, with room for more of it unless it is full.
    fn outbound(&self) -> RefMut<'_, Vec<u8>> {
        let mut outbound = self.outbound.borrow_mut();
        if outbound.capacity() == 0 {
            *outbound = self.pool.take();
        }
        outbound
    }

    /// Appends to what is to be sent, past the other end; where there is no room, nothing.
    pub fn say(&self, bytes: &[u8]) {
        let mut outbound = self.outbound();
        if outbound.capacity() - outbound.len() >= bytes.len() {
            outbound.extend_from_slice(bytes);
        }
        self.turn();
    }

    /// Says that nothing more can be sent.
    pub fn break_off(&self) {
        self.broken.set(true);
        self.ended.set(true);
        self.turn();
    }
}

impl AsyncRead for Duplex {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let mut inbound = self.0.inbound.borrow_mut();
        let (buf, at) = &mut *inbound;
        if *at == buf.len() {
            return if self.0.ended.get() { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let bytes = (buf.len() - *at).min(into.remaining());
        into.put_slice(&buf[*at..*at + bytes]);
        *at += bytes;
        self.0.turn();
        Poll::Ready(Ok(()))
    }
}

impl Duplex {
    fn append(&self, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        if self.0.broken.get() {
            return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        }
        let mut outbound = self.0.outbound();
        let mut written = 0;
        for slice in slices {
            let bytes = slice.len().min(outbound.capacity() - outbound.len());
            outbound.extend_from_slice(&slice[..bytes]);
            written += bytes;
        }
        if written == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Poll::Pending;
        }
        self.0.turn();
        Poll::Ready(Ok(written))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.append(&[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        self.append(slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_both_ways_and_wait_where_there_is_no_room() {
        let pipe = Pipe::new(&Rc::new(Pool::new(4, 1)));
        let mut end = pipe.other();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut room = [0; 3];
        let mut read = |end: &mut Duplex, cx: &mut Context<'_>| {
            let mut into = ReadBuf::new(&mut room);
            let polled = Pin::new(end).poll_read(cx, &mut into);
            polled.map(|result| result.map(|()| into.filled().to_vec()).expect("no error"))
        };
        assert!(read(&mut end, &mut cx).is_pending());
        pipe.put(b"hello".to_vec());
        assert_eq!(read(&mut end, &mut cx), Poll::Ready(b"hel".to_vec()));
        assert!(!pipe.is_taken());
        assert_eq!(read(&mut end, &mut cx), Poll::Ready(b"lo".to_vec()));
        assert!(pipe.is_taken());
        pipe.end();
        assert_eq!(read(&mut end, &mut cx), Poll::Ready(Vec::new()));

        let mut write = |bytes: &[u8]| Pin::new(&mut end).poll_write(&mut cx, bytes).map(|result| result.ok());
        let room = pipe.outbound().capacity();
        assert_eq!(write(&vec![b'x'; room + 1]), Poll::Ready(Some(room)));
        assert!(write(b"y").is_pending());
        let sent = pipe.take_outbound();
        assert_eq!(sent.len(), room);
        pipe.put_outbound(sent);
        assert_eq!(pipe.outbound.borrow().capacity(), 0, "a pipe with nothing to send holds no buffer");
        assert_eq!(write(b"y"), Poll::Ready(Some(1)));
        pipe.break_off();
        assert_eq!(write(b"z"), Poll::Ready(None));
    }
}
