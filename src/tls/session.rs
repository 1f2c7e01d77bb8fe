//! An established session: bytes in, bytes out. What alerts, key updates and tickets mean is decided here.
//!
//! In: the key and the counters that a handshake ended with. Out: records, sealed and opened. No I/O and no buffers of its
//! own: received bytes lie in an [`Inbox`], which gives its memory back when it is empty.

use super::record::{self, Content, Fault, Key, PAYLOAD_BYTES_MAX};
use crate::base::limits::{TLS_IDLE_RECORDS_MAX, TLS_MESSAGE_BYTES_MAX};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ExtractedSecrets, ProtocolVersion};
use std::ops::Range;

/// What is left of the handshake: it derives later keys and keeps later tickets.
pub(super) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// An established session.
pub struct Session {
    receive: Key,
    send: Key,
    kernel: Kernel,
    tls13: bool,
    /// The peer has asked us to change our key: before the next record.
    update_asked: bool,
    /// The peer has said that nothing more will come.
    closed: bool,
    /// We have said so.
    closing: bool,
    /// Records in a row that held no data.
    idle: u32,
    /// A handshake message of which a part is still to come.
    message: Vec<u8>,
}

/// Received bytes: opened ones that nobody has taken yet, then sealed ones.
#[derive(Default)]
pub struct Inbox {
    /// The memory; given and taken back by whoever receives.
    pub buf: Vec<u8>,
    /// Opened and not taken.
    open: Range<usize>,
    /// Where sealed bytes begin.
    at: usize,
}

/// What stands in an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Data: take it.
    Data,
    /// Part of a record, or nothing: so many bytes must fit behind what is there already.
    More(usize),
    /// The peer has ended its side in good order.
    Closed,
}

impl Inbox {
    /// Is there anything at all?
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.at == self.buf.len()
    }

    /// Is there data that was opened and not taken?
    pub fn has_data(&self) -> bool {
        !self.open.is_empty()
    }

    /// Begins with what a handshake has left: sealed bytes, and `data` that it has opened already.
    pub fn filled(mut sealed: Vec<u8>, data: &[u8]) -> Inbox {
        if !data.is_empty() {
            sealed.splice(0..0, data.iter().copied());
        }
        Inbox { buf: sealed, open: 0..data.len(), at: data.len() }
    }

    /// Takes up to the spare capacity of `into`; how much.
    pub fn take(&mut self, into: &mut Vec<u8>) -> usize {
        let bytes = self.open.len().min(into.capacity() - into.len());
        into.extend_from_slice(&self.buf[self.open.start..self.open.start + bytes]);
        self.open.start += bytes;
        bytes
    }

    /// Moves what is there to the front; only without opened data.
    pub fn compact(&mut self) {
        debug_assert!(!self.has_data());
        if self.at == self.buf.len() {
            self.buf.clear();
        } else if self.at > 0 {
            self.buf.drain(..self.at);
        }
        (self.open, self.at) = (0..0, 0);
    }
}

impl Session {
    pub(super) fn new(secrets: &ExtractedSecrets, kernel: Kernel, closed: bool) -> Result<Session, Fault> {
        let version = match &kernel {
            Kernel::Server(kernel) => kernel.protocol_version(),
            Kernel::Client(kernel) => kernel.protocol_version(),
        };
        let tls13 = version == ProtocolVersion::TLSv1_3;
        Ok(Session {
            receive: Key::new(&secrets.rx.1, secrets.rx.0, tls13)?,
            send: Key::new(&secrets.tx.1, secrets.tx.0, tls13)?,
            kernel,
            tls13,
            update_asked: false,
            closed,
            closing: false,
            idle: 0,
            message: Vec::new(),
        })
    }

    /// TLS 1.3, or 1.2?
    pub fn is_tls13(&self) -> bool {
        self.tls13
    }

    /// Has the peer said that nothing more will come?
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Opens records until there is data, or no whole record.
    ///
    /// # Errors
    /// The session is of no use any more; the fault's alert may be sent.
    pub fn open(&mut self, inbox: &mut Inbox) -> Result<Found, Fault> {
        loop {
            if inbox.has_data() {
                return Ok(Found::Data);
            }
            if self.closed {
                return Ok(Found::Closed);
            }
            let rest = &mut inbox.buf[inbox.at..];
            let bytes = match record::length(rest)? {
                Some(bytes) if bytes <= rest.len() => bytes,
                Some(bytes) => return Ok(Found::More(bytes)),
                None => return Ok(Found::More(record::HEADER_BYTES)),
            };
            let (content, found) = self.receive.open(&mut rest[..bytes])?;
            let start = inbox.at;
            inbox.at += bytes;
            let payload = start + found.start..start + found.end;
            if content == Content::Data && !payload.is_empty() {
                if !self.message.is_empty() {
                    return Err(Fault::Unexpected);
                }
                self.idle = 0;
                inbox.open = payload;
                continue;
            }
            self.idle += 1;
            if self.idle > TLS_IDLE_RECORDS_MAX {
                return Err(Fault::Idle);
            }
            match content {
                Content::Data => {}
                Content::Alert => self.alert(&inbox.buf[payload])?,
                Content::Handshake => self.handshake(&inbox.buf[payload])?,
                Content::ChangeCipherSpec => return Err(Fault::Unexpected),
            }
        }
    }

    fn alert(&mut self, payload: &[u8]) -> Result<(), Fault> {
        const WARNING: u8 = 1;
        match *payload {
            [_, 0] => self.closed = true,
            // `user_canceled` is followed by `close_notify`; TLS 1.2 has warnings that change nothing.
            [_, 90] => {}
            [WARNING, _] if !self.tls13 => {}
            [_, alert] => return Err(Fault::Alert(alert)),
            _ => return Err(Fault::Unexpected),
        }
        Ok(())
    }

    fn handshake(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if !self.tls13 {
            // A server may ask for a new handshake and be ignored (RFC 5246 §7.4.1.1); a client's is renegotiation.
            return if matches!(self.kernel, Kernel::Client(_)) && payload == [0, 0, 0, 0] {
                Ok(())
            } else {
                Err(Fault::Unexpected)
            };
        }
        if payload.is_empty() || self.message.len() + payload.len() > TLS_MESSAGE_BYTES_MAX {
            return Err(Fault::Unexpected);
        }
        self.message.extend_from_slice(payload);
        let mut message = std::mem::take(&mut self.message);
        let mut at = 0;
        while let [kind, a, b, c, rest @ ..] = &message[at..] {
            let bytes = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some(body) = rest.get(..bytes) else { break };
            at += 4 + bytes;
            match (*kind, body) {
                // RFC 8446 §5.1: messages before a change of keys end with a record.
                (24, [asked @ 0..=1]) if at == message.len() => self.on_update(*asked == 1)?,
                (4, _) => match &mut self.kernel {
                    // A ticket that cannot be read is one that will not be used.
                    Kernel::Client(kernel) => drop(kernel.handle_new_session_ticket(body)),
                    Kernel::Server(_) => return Err(Fault::Unexpected),
                },
                _ => return Err(Fault::Unexpected),
            }
        }
        message.drain(..at);
        self.message = if message.is_empty() { Vec::new() } else { message };
        Ok(())
    }

    fn on_update(&mut self, asked: bool) -> Result<(), Fault> {
        let (sequence, secrets) = match &mut self.kernel {
            Kernel::Server(kernel) => kernel.update_rx_secret(),
            Kernel::Client(kernel) => kernel.update_rx_secret(),
        }
        .map_err(|_| Fault::Unexpected)?;
        self.receive = Key::new(&secrets, sequence, true)?;
        self.update_asked |= asked;
        Ok(())
    }

    /// Appends `data` as records to `out`.
    ///
    /// # Errors
    /// [`Fault::Exhausted`]: a TLS 1.2 session that has sent all it may.
    pub fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        for payload in data.chunks(PAYLOAD_BYTES_MAX) {
            if self.update_asked || self.send.is_spent() {
                self.renew(out)?;
            }
            self.send.seal(Content::Data, payload, out)?;
        }
        Ok(())
    }

    /// Tells the peer of a new key, and takes it (RFC 8446 §4.6.3).
    fn renew(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.tls13 {
            return Err(Fault::Exhausted);
        }
        self.update_asked = false;
        self.send.seal(Content::Handshake, &[24, 0, 0, 1, 0], out)?;
        let (sequence, secrets) = match &mut self.kernel {
            Kernel::Server(kernel) => kernel.update_tx_secret(),
            Kernel::Client(kernel) => kernel.update_tx_secret(),
        }
        .map_err(|_| Fault::Exhausted)?;
        self.send = Key::new(&secrets, sequence, true)?;
        Ok(())
    }

    /// Appends the word that nothing more will be sent; nothing where it was said.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.closing, true) {
            let _ = self.send.seal(Content::Alert, &[1, 0], out);
        }
    }

    /// Appends the alert of a fault.
    pub fn complain(&mut self, fault: Fault, out: &mut Vec<u8>) {
        if let (Some(alert), false) = (fault.alert(), std::mem::replace(&mut self.closing, true)) {
            let _ = self.send.seal(Content::Alert, &[2, alert], out);
        }
    }
}
