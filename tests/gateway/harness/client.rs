//! A client that sends any bytes and reads answers strictly.

use super::wire::{End, Message, Wire};
use super::PATIENCE;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// One client connection.
pub(crate) struct Client {
    pub(crate) wire: Wire,
}

impl Client {
    /// Connects.
    #[track_caller]
    pub(crate) fn to(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).unwrap_or_else(|e| panic!("connect {addr}: {e}"));
        Client { wire: Wire::of(stream, PATIENCE) }
    }

    /// Sends bytes; false when the gateway has closed.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// The final answer to a request of `method`; interim ones are passed over.
    pub(crate) fn answer(&mut self, method: &str) -> Result<Message, End> {
        loop {
            let answer = self.wire.answer(method)?;
            if answer.head.status() >= 200 || answer.head.status() == 101 {
                return Ok(answer);
            }
        }
    }

    /// Sends `GET target` with these extra field lines (each with its CRLF) and reads the answer.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str, fields: &str) -> Message {
        self.try_get(target, fields).unwrap_or_else(|end| panic!("GET {target}: {end:?}"))
    }

    /// As [`Client::get`], for when the answer may not come.
    pub(crate) fn try_get(&mut self, target: &str, fields: &str) -> Result<Message, End> {
        let host = if fields.to_ascii_lowercase().contains("host:") { "" } else { "Host: client.test\r\n" };
        self.send(format!("GET {target} HTTP/1.1\r\n{host}{fields}\r\n"));
        self.answer("GET")
    }
}

/// `GET target` on a connection of its own.
#[track_caller]
pub(crate) fn get(addr: SocketAddr, target: &str) -> Message {
    Client::to(addr).get(target, "Connection: close\r\n")
}

/// `POST target` with a body of this media type, on a connection of its own.
#[track_caller]
pub(crate) fn post(addr: SocketAddr, target: &str, kind: &str, body: &str) -> Message {
    let mut client = Client::to(addr);
    let length = body.len();
    client.send(format!(
        "POST {target} HTTP/1.1\r\nHost: client.test\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ));
    client.answer("POST").unwrap_or_else(|end| panic!("POST {target}: {end:?}"))
}

/// The same, for when it may fail.
pub(crate) fn try_get(addr: SocketAddr, target: &str) -> Result<Message, End> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).map_err(|_| End::Reset)?;
    Client { wire: Wire::of(stream, PATIENCE) }.try_get(target, "Connection: close\r\n")
}
