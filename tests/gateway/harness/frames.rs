//! HTTP/2 as frames: written by hand, so that they can be wrong, and read as far as a test needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A block of fields, each a literal that is not indexed and not compressed (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            match text.len() {
                len @ ..127 => out.push(len as u8),
                len => {
                    out.push(127);
                    let mut rest = len - 127;
                    while rest >= 128 {
                        out.push((rest % 128 + 128) as u8);
                        rest /= 128;
                    }
                    out.push(rest as u8);
                }
            }
            out.extend(text.bytes());
        }
    }
    out
}

/// HEADERS with these fields and nothing behind them.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

/// The pseudo-fields of a request, and more.
pub(crate) fn request<'a>(method: &'a str, path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path)];
    fields.extend(more);
    fields
}

/// A GET without a body.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, END_STREAM, &request("GET", path, &[]))
}

/// A frame that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// An answer with this status.
    Status(u16),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code.
    Away(u32),
    /// The connection is closed.
    Closed,
    /// Nothing, in the time of a test.
    Silent,
}

/// A client's connection.
pub(crate) struct H2 {
    pub(crate) stream: TcpStream,
}

impl H2 {
    /// Connects and says the preface with empty settings.
    pub(crate) fn to(addr: SocketAddr) -> H2 {
        let mut client = H2::bare(addr);
        client.send([PREFACE, &frame(SETTINGS, 0, 0, b"")].concat());
        client
    }

    /// Connects, and says nothing.
    pub(crate) fn bare(addr: SocketAddr) -> H2 {
        let client = H2 { stream: TcpStream::connect(addr).unwrap() };
        client.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        client.stream.set_nodelay(true).unwrap();
        client
    }

    /// Sends; `false` where the peer takes no more.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// The next frame; `None` at the end. SETTINGS are acknowledged.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        if kind == SETTINGS && flags & ACK == 0 {
            self.send(frame(SETTINGS, ACK, 0, b""));
        }
        Some(Frame { kind, flags, stream: u32::from_be_bytes(id), payload })
    }

    /// What is said of this stream, or of the whole connection.
    pub(crate) fn told(&mut self, stream: u32) -> Told {
        loop {
            let Some(frame) = self.next() else {
                let mut byte = [0];
                return match self.stream.read(&mut byte) {
                    Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => Told::Silent,
                    _ => Told::Closed,
                };
            };
            let code = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
            match frame.kind {
                GOAWAY if code(4) != 0 => return Told::Away(code(4)),
                RST_STREAM if frame.stream == stream => return Told::Reset(code(0)),
                HEADERS if frame.stream == stream => {
                    if let Some(status) = status(&frame.payload) {
                        return Told::Status(status);
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads to the end of a stream; its payload.
    pub(crate) fn body(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(frame) = self.next() {
            if frame.stream == stream && frame.kind == DATA {
                body.extend(&frame.payload);
            }
            if frame.stream == stream && frame.flags & END_STREAM != 0 {
                break;
            }
        }
        body
    }
}

/// The status that a block begins with: an index of the static table, or a literal with the table's name.
pub(crate) fn status(block: &[u8]) -> Option<u16> {
    // Changes of the table's size come first.
    let at = block.iter().position(|byte| byte >> 5 != 1)?;
    match &block[at..] {
        [byte @ 0x88..=0x8e, ..] => Some([200, 204, 206, 304, 400, 404, 500][usize::from(byte - 0x88)]),
        [0x48 | 0x08, len, rest @ ..] if len & 0x80 == 0 => std::str::from_utf8(&rest[..3]).ok()?.parse().ok(),
        // Compressed: digits take 5 bits for 0, 1, 2 and 6 for others (RFC 7541, appendix B).
        [0x48 | 0x08, len, rest @ ..] => {
            let bits = rest[..usize::from(len & 0x7f)].iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            let mut left = usize::from(len & 0x7f) * 8;
            let mut number = 0;
            for _ in 0..3 {
                let five = bits >> (left - 5) & 31;
                let (digit, took) = if five < 3 { (five, 5) } else { ((bits >> (left - 6) & 63) - 0x19 + 3, 6) };
                number = number * 10 + digit;
                left -= took;
            }
            u16::try_from(number).ok()
        }
        _ => None,
    }
}
