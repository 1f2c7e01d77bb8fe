//! A server's handshake whose client asks before its end (RFC 8446 §2.3): what it asked is read and answered while the
//! handshake is still under way, by the same calls as ever. Whoever reads brings the handshake on.
//!
//! Not here: what may be asked that early (`shard/early.rs`), and that each session is good once (`tls/sessions.rs`).

use super::channel::Buffers;
use super::tcp::{self, Stream};
use crate::tls::engine::{Facts, Handshake, Progress};
use crate::tls::session::{Inbox, Session};
use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind, Result};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The handshake, and what lies between it and the socket.
pub(super) struct Early {
    shaking: RefCell<Option<Shaking>>,
    pub(super) facts: Facts,
    pub(super) buffers: Rc<Buffers>,
    /// Sealed and not sent: it stands before all that is sealed later.
    owed: RefCell<Vec<u8>>,
    /// A send is under way, or has failed.
    pub(super) sending: Cell<bool>,
    /// A read was dropped, and bytes with it.
    pub(super) lost: Cell<bool>,
    /// The peer's TCP ended without its word.
    pub(super) cut: Cell<bool>,
    /// Who waits for the end.
    waiting: RefCell<Vec<Waker>>,
}

struct Shaking {
    handshake: Handshake,
    /// Received, and not whole yet.
    input: Vec<u8>,
    /// Opened, and taken up to `taken`.
    data: Vec<u8>,
    taken: usize,
}

/// What a handshake ends with.
pub(super) struct Ended {
    pub(super) session: Session,
    pub(super) facts: Facts,
    pub(super) inbox: Inbox,
}

impl Early {
    /// A handshake that has opened data of its client; `input` is what is not whole yet.
    pub(super) fn new(mut handshake: Handshake, input: Vec<u8>, buffers: &Rc<Buffers>) -> Early {
        let (facts, mut data) = (handshake.facts(), Vec::new());
        handshake.take_early(&mut data);
        Early {
            shaking: RefCell::new(Some(Shaking { handshake, input, data, taken: 0 })),
            facts,
            buffers: buffers.clone(),
            owed: RefCell::default(),
            sending: Cell::new(false),
            lost: Cell::new(false),
            cut: Cell::new(false),
            waiting: RefCell::default(),
        }
    }

    /// Is there data that was opened and not taken?
    pub(super) fn has_data(&self) -> bool {
        self.shaking.borrow().as_ref().is_some_and(|shaking| shaking.taken < shaking.data.len())
    }

    /// Moves data to `into`, up to its capacity; how much.
    pub(super) fn take(&self, into: &mut Vec<u8>) -> usize {
        let mut shaking = self.shaking.borrow_mut();
        let Some(shaking) = shaking.as_mut() else { return 0 };
        let left = &shaking.data[shaking.taken..];
        let bytes = left.len().min(into.capacity() - into.len());
        into.extend_from_slice(&left[..bytes]);
        shaking.taken += bytes;
        bytes
    }

    /// Brings the handshake on with what was received; what it ended with, once.
    ///
    /// # Errors
    /// It has failed, and there is no session.
    pub(super) fn advance(&self, tcp: &Stream, received: &[u8]) -> Result<Option<Ended>> {
        let mut held = self.shaking.borrow_mut();
        let Some(mut shaking) = held.take() else { return Ok(None) };
        let mut out = Vec::new();
        shaking.input.extend_from_slice(received);
        let progress = shaking.handshake.step(&mut shaking.input, &mut out);
        self.owed.borrow_mut().append(&mut out);
        self.pay_now(tcp);
        let invalid = |error| Error::new(ErrorKind::InvalidData, crate::tls::settings::reason(&error));
        match progress {
            Ok(Progress::Done) => {}
            Ok(Progress::More | Progress::Early) => {
                shaking.handshake.take_early(&mut shaking.data);
                *held = Some(shaking);
                return Ok(None);
            }
            Err(error) => {
                self.wake();
                return Err(invalid(error));
            }
        }
        let Shaking { handshake, input, mut data, taken } = shaking;
        let (session, facts, later) = handshake.finish().map_err(invalid)?;
        data.drain(..taken);
        data.extend_from_slice(&later);
        Ok(Some(Ended { session, facts, inbox: Inbox::filled(input, &data) }))
    }

    /// Seals data before the end of the handshake: behind its own Finished a server may send (RFC 8446 §4.4.4).
    ///
    /// # Errors
    /// The handshake has failed.
    pub(super) fn seal(&self, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut held = self.shaking.borrow_mut();
        let shaking = held.as_mut().ok_or(ErrorKind::NotConnected)?;
        shaking.handshake.seal(&mut shaking.input, data, out).map_err(|_| ErrorKind::NotConnected.into())
    }

    /// Is anything sealed and not sent?
    pub(super) fn owes(&self) -> bool {
        !self.owed.borrow().is_empty()
    }

    /// What must be sent before anything else.
    pub(super) fn take_owed(&self) -> Vec<u8> {
        self.owed.take()
    }

    /// Sends what is owed as far as that goes without waiting, where nobody else is sending.
    fn pay_now(&self, tcp: &Stream) {
        if !self.sending.get() {
            let mut owed = self.owed.borrow_mut();
            let sent = tcp::send_part(tcp.fd(), &owed);
            owed.drain(..sent);
        }
    }

    /// Says that nothing more will be sent; as far as that goes without waiting.
    pub(super) fn close(&self, tcp: &Stream) {
        if let (false, Some(shaking)) = (self.sending.get(), self.shaking.borrow_mut().as_mut()) {
            let mut out = Vec::new();
            if shaking.handshake.close(&mut shaking.input, &mut out).is_ok() {
                self.owed.borrow_mut().append(&mut out);
            }
            self.pay_now(tcp);
            self.sending.set(true);
        }
    }

    /// Waits for the end of the handshake, which another task brings about; `is_over` says whether it has come.
    pub(super) fn poll_over(&self, is_over: bool, cx: &Context<'_>) -> Poll<()> {
        if is_over || self.shaking.borrow().is_none() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Wakes who waits for the end.
    pub(super) fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}
