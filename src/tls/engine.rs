//! Handshakes: rustls as a pure engine, bytes in and bytes out. Ends in a [`Session`].
//!
//! A flight is written whole, so that it leaves in one send. What it costs lives as long as the handshake: rustls' state
//! is let go of when keys are there.

use super::session::{Kernel, Session};
use crate::base::limits::TLS_HANDSHAKE_BYTES_MAX;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, ReadEarlyData, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, HandshakeKind, ServerConfig};
use std::sync::Arc;

/// What both ends agreed on, and who the other is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The name the client asked for, lower-case; on the server's side.
    pub server_name: Option<String>,
    /// The protocol agreed on, such as `h2`.
    pub alpn: Option<Vec<u8>>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The suite by its standard name.
    pub suite: &'static str,
    /// Did it go on from an earlier session?
    pub resumed: bool,
    /// The peer's certificates, DER, its own first; empty where it showed none.
    pub peer: Vec<Vec<u8>>,
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed; send what was written first.
    More,
    /// The same, and the client has asked already: [`Handshake::take_early`].
    Early,
    /// Both ends have their keys; send what was written first.
    Done,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// A handshake under way.
pub struct Handshake {
    side: Box<Side>,
    server_name: Option<String>,
    received: usize,
    /// Data that came right behind the peer's last flight.
    early: Early,
}

/// What came within a handshake or right behind it, in the same bytes.
#[derive(Default)]
struct Early {
    data: Vec<u8>,
    /// Some of it came before the end.
    within: bool,
    /// The peer's word that nothing more will come.
    closed: bool,
}

impl Handshake {
    /// The server's side; `server_name` as the ClientHello has it.
    ///
    /// # Errors
    /// Where the configuration cannot serve.
    pub fn accept(config: Arc<ServerConfig>, server_name: Option<String>) -> Result<Handshake, rustls::Error> {
        let side = Side::Server(UnbufferedServerConnection::new(config)?);
        Ok(Handshake { side: Box::new(side), server_name, received: 0, early: Early::default() })
    }

    /// The client's side, towards `name`.
    ///
    /// # Errors
    /// Where the configuration allows no handshake.
    pub fn connect(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Handshake, rustls::Error> {
        let side = Side::Client(UnbufferedClientConnection::new(config, name)?);
        Ok(Handshake { side: Box::new(side), server_name: None, received: 0, early: Early::default() })
    }

    /// Takes what was received from `input`, and appends what is to be sent to `out`. `input` keeps what is not whole yet.
    ///
    /// # Errors
    /// It has failed; `out` ends with the alert that says so to the peer.
    pub fn step(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Progress, rustls::Error> {
        let before = input.len();
        let stepped = match &mut *self.side {
            Side::Server(conn) => step(conn, input, out, &mut self.early),
            Side::Client(conn) => step(conn, input, out, &mut self.early),
        };
        if stepped.is_err() {
            match &mut *self.side {
                Side::Server(conn) => last_words(conn, out),
                Side::Client(conn) => last_words(conn, out),
            }
        }
        self.received += before - input.len();
        match stepped {
            Ok(Progress::More) if self.received + input.len() > TLS_HANDSHAKE_BYTES_MAX => {
                Err(rustls::Error::General("the handshake is too long".into()))
            }
            Ok(Progress::More) if self.early.within => Ok(Progress::Early),
            stepped => stepped,
        }
    }

    /// Appends what the client has sent before the end of the handshake, and was not taken yet.
    pub fn take_early(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.early.data);
    }

    /// Appends `data` as records to `out`, before the end of the handshake; behind what is to be sent of that. `input` as
    /// in [`Handshake::step`].
    ///
    /// # Errors
    /// Nothing may be sent yet, or any more.
    pub fn seal(&mut self, input: &mut Vec<u8>, data: &[u8], out: &mut Vec<u8>) -> Result<(), rustls::Error> {
        self.write(input, out, |traffic, room| traffic.encrypt(data, room))
    }

    /// Appends the word that nothing more will be sent, likewise.
    ///
    /// # Errors
    /// As [`Handshake::seal`].
    pub fn close(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
        self.write(input, out, |traffic, room| traffic.queue_close_notify(room))
    }

    fn write(
        &mut self,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
        what: impl Fn(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), rustls::Error> {
        let refused = || rustls::Error::General("nothing may be sent in this handshake".into());
        let Side::Server(conn) = &mut *self.side else { return Err(refused()) };
        loop {
            let UnbufferedStatus { discard, state } = conn.process_tls_records(input);
            let mut written = None;
            match state? {
                ConnectionState::EncodeTlsData(data) => encode(data, out),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::ReadEarlyData(data) => self.early.read(data),
                ConnectionState::WriteTraffic(mut traffic) => {
                    let at = out.len();
                    if let Err(EncryptError::InsufficientSize(size)) = what(&mut traffic, &mut []) {
                        out.resize(at + size.required_size, 0);
                    }
                    let bytes = what(&mut traffic, &mut out[at..]).map_err(|_| refused());
                    out.truncate(at + bytes.as_ref().copied().unwrap_or(0));
                    written = Some(bytes.map(|_| ()));
                }
                _ => return Err(refused()),
            }
            input.drain(..discard);
            if let Some(written) = written {
                return written;
            }
        }
    }

    fn common(&self) -> &CommonState {
        match &*self.side {
            Side::Server(conn) => conn,
            Side::Client(conn) => conn,
        }
    }

    /// What is agreed on so far: all of it, once a server has answered.
    pub fn facts(&self) -> Facts {
        let common = self.common();
        let version = match common.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let suite = common.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("");
        let peer = common.peer_certificates().unwrap_or_default().iter().map(|der| der.to_vec()).collect();
        Facts {
            server_name: self.server_name.clone(),
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            version,
            suite,
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            peer,
        }
    }

    /// The session, its facts, and what came behind the handshake and was opened already.
    ///
    /// # Errors
    /// The handshake is not done.
    pub fn finish(self) -> Result<(Session, Facts, Vec<u8>), rustls::Error> {
        let facts = self.facts();
        let (secrets, kernel) = match *self.side {
            Side::Server(conn) => {
                let (secrets, kernel) = conn.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Server(kernel))
            }
            Side::Client(conn) => {
                let (secrets, kernel) = conn.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Client(kernel))
            }
        };
        let session = Session::new(&secrets, kernel, self.early.closed);
        let session = session.map_err(|fault| rustls::Error::General(fault.text().into()))?;
        Ok((session, facts, self.early.data))
    }
}

impl Early {
    fn read(&mut self, mut early: ReadEarlyData<'_, '_, ServerConnectionData>) {
        self.within = true;
        while let Some(Ok(record)) = early.next_record() {
            self.data.extend_from_slice(record.payload);
        }
    }
}

/// What both sides of rustls can do, by one name.
trait Engine: std::ops::Deref<Target: std::ops::Deref<Target = CommonState>> {
    type Data;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    /// Takes what a client has sent before the end.
    fn read_early(data: ReadEarlyData<'_, '_, Self::Data>, early: &mut Early);
}

impl Engine for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn read_early(data: ReadEarlyData<'_, '_, Self::Data>, early: &mut Early) {
        early.read(data);
    }
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

impl Engine for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn read_early(_: ReadEarlyData<'_, '_, Self::Data>, _: &mut Early) {}
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

fn step<E: Engine>(
    conn: &mut E,
    input: &mut Vec<u8>,
    out: &mut Vec<u8>,
    early: &mut Early,
) -> Result<Progress, rustls::Error> {
    loop {
        let UnbufferedStatus { discard, state } = conn.process(input);
        let mut progress = None;
        match state {
            Err(error) => {
                input.drain(..discard);
                return Err(error);
            }
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::ReadTraffic(mut data)) => {
                while let Some(Ok(record)) = data.next_record() {
                    early.data.extend_from_slice(record.payload);
                }
            }
            Ok(ConnectionState::ReadEarlyData(data)) => E::read_early(data, early),
            Ok(ConnectionState::BlockedHandshake) => progress = Some(Progress::More),
            Ok(ConnectionState::WriteTraffic(_)) => progress = Some(Progress::Done),
            Ok(ConnectionState::PeerClosed) => early.closed = true,
            Ok(_) => {
                input.drain(..discard);
                return Err(rustls::Error::General("closed within the handshake".into()));
            }
        }
        input.drain(..discard);
        match progress {
            // A TLS 1.3 server may send before the client's last flight has come.
            Some(Progress::Done) if conn.is_handshaking() => return Ok(Progress::More),
            Some(progress) => return Ok(progress),
            None => {}
        }
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Vec<u8>) {
    let at = out.len();
    let needed = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        _ => 0,
    };
    out.resize(at + needed, 0);
    if data.encode(&mut out[at..]).is_err() {
        out.truncate(at);
    }
}

/// Writes the alert of a failed handshake. Nothing is received any more: asked for more than what it has queued, rustls
/// would look into bytes that it has given back.
fn last_words<E: Engine>(conn: &mut E, out: &mut Vec<u8>) {
    while conn.wants_write() {
        let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(data)), .. } = conn.process(&mut []) else {
            return;
        };
        encode(data, out);
    }
}
