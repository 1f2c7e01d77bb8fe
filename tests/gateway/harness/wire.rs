//! A connection read strictly: what the gateway sends must be the one normal form of RFC 9112, to either side.
//!
//! Written from the standard, apart from the parser of the crate, so that the two can disagree.

use super::text::{latin1, show};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Why no (more) message can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed, and nothing was left over.
    Closed,
    /// The peer closed in the middle; what was there.
    Cut(String),
    /// The peer reset the connection.
    Reset,
    /// Nothing came in time.
    Silent,
    /// Something that is no HTTP/1.1; why.
    Bad(String),
}

/// How the end of a body was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Fixed(u64),
    Chunked,
    UntilClose,
}

/// A message's head.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// As it came, the empty line included.
    pub(crate) raw: Vec<u8>,
    /// First line.
    pub(crate) start: String,
    /// Names as sent, values trimmed.
    pub(crate) fields: Vec<(String, String)>,
}

/// A whole message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) framing: Framing,
}

impl Head {
    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The only value of a field; `None` where there is none or more than one.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Does it hold `Name: value` (name in any case, value exact), or `Name` with any value? Options of a connection
    /// have no case.
    pub(crate) fn holds(&self, row: &str) -> bool {
        let Some((name, value)) = row.split_once(':') else { return !self.all(row).is_empty() };
        let caseless = ["connection", "upgrade", "te"].contains(&name.to_ascii_lowercase().as_str());
        let same = |got: &&str| if caseless { got.eq_ignore_ascii_case(value.trim()) } else { *got == value.trim() };
        self.all(name.trim()).iter().any(same)
    }

    /// Status code of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Method of a request.
    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or("")
    }

    /// Target of a request.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }

    /// Length of a request's body by its head, or why it has none that two readers would agree on.
    pub(crate) fn framing_of_request(&self) -> Result<Framing, End> {
        Ok(self.declared()?.unwrap_or(Framing::None))
    }

    /// Length of an answer's body to a request of `method`.
    pub(crate) fn framing_of_answer(&self, method: &str) -> Result<Framing, End> {
        let declared = self.declared()?;
        if method == "HEAD" || matches!(self.status(), 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        Ok(declared.unwrap_or(Framing::UntilClose))
    }

    fn declared(&self) -> Result<Option<Framing>, End> {
        let bad = |why: &str| Err(End::Bad(format!("{why} in {}", show(&self.raw))));
        let (lengths, codings) = (self.all("content-length"), self.all("transfer-encoding"));
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(None),
            ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Some(Framing::Fixed(length.parse().unwrap())))
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
            _ => bad("doubtful framing"),
        }
    }
}

/// One end of a connection, with what was read and not yet used.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    buf: Vec<u8>,
    /// Everything that ever came.
    pub(crate) all: Vec<u8>,
    limit: Duration,
}

impl Wire {
    pub(crate) fn of(stream: TcpStream, limit: Duration) -> Wire {
        stream.set_nodelay(true).ok();
        Wire { stream, buf: Vec::new(), all: Vec::new(), limit }
    }

    /// How long to wait from now on.
    pub(crate) fn patience(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// What was read and belongs to no message yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buf
    }

    /// Reads once. `Ok(0)` is the end.
    pub(crate) fn fill(&mut self, end: Instant) -> Result<usize, End> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(End::Silent);
        }
        self.stream.set_read_timeout(Some(left)).ok();
        let mut chunk = [0u8; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(n) => {
                self.buf.extend_from_slice(&chunk[..n]);
                self.all.extend_from_slice(&chunk[..n]);
                Ok(n)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(End::Silent),
            Err(e) if e.kind() == ErrorKind::Interrupted => self.fill(end),
            Err(_) => Err(End::Reset),
        }
    }

    /// The next head. Empty lines before it are not skipped: the gateway has no reason to send any.
    pub(crate) fn head(&mut self) -> Result<Head, End> {
        let end = Instant::now() + self.limit;
        loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                let raw: Vec<u8> = self.buf.drain(..at + 4).collect();
                return parse_head(raw);
            }
            // A head that only a lenient reader would take shall not look like silence.
            if self.buf.windows(2).any(|w| w == b"\n\n") {
                return Err(End::Bad(format!("bare LF in {}", show(&self.buf))));
            }
            match self.fill(end) {
                Ok(0) if self.buf.is_empty() => return Err(End::Closed),
                Ok(0) => return Err(End::Cut(show(&self.buf))),
                Err(End::Reset) if !self.buf.is_empty() => return Err(End::Cut(show(&self.buf))),
                Err(End::Silent) if !self.buf.is_empty() => {
                    return Err(End::Bad(format!("no end of the head: {}", show(&self.buf))))
                }
                Err(end) => return Err(end),
                Ok(_) => {}
            }
        }
    }

    /// The body of a message, decoded, and its trailers.
    pub(crate) fn body(&mut self, framing: Framing) -> Result<(Vec<u8>, Vec<(String, String)>), End> {
        let mut body = Vec::new();
        match framing {
            Framing::None => {}
            Framing::Fixed(length) => body = self.exactly(length as usize)?,
            Framing::UntilClose => loop {
                body.append(&mut self.buf);
                match self.fill(Instant::now() + self.limit) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(End::Reset) => return Err(End::Cut(show(&body))),
                    Err(end) => return Err(end),
                }
            },
            Framing::Chunked => loop {
                let line = self.line()?;
                // Extensions end at this hop, and nobody needs them: the normal form has none.
                let size = match usize::from_str_radix(&line, 16) {
                    Ok(size) if line.bytes().all(|b| b.is_ascii_hexdigit()) => size,
                    _ => return Err(End::Bad(format!("chunk size {line:?}"))),
                };
                if size == 0 {
                    let mut trailers = Vec::new();
                    loop {
                        let line = self.line()?;
                        if line.is_empty() {
                            return Ok((body, trailers));
                        }
                        trailers.push(field(&line)?);
                    }
                }
                body.extend(self.exactly(size)?);
                if self.exactly(2)? != b"\r\n" {
                    return Err(End::Bad("chunk does not end with CRLF".into()));
                }
            },
        }
        Ok((body, Vec::new()))
    }

    /// A whole answer to a request of `method`; interim answers (1xx but 101) come one by one.
    pub(crate) fn answer(&mut self, method: &str) -> Result<Message, End> {
        let head = self.head()?;
        if !head.start.starts_with("HTTP/1.1 ") && !head.start.starts_with("HTTP/1.0 ") {
            return Err(End::Bad(format!("status line {:?}", head.start)));
        }
        let framing = head.framing_of_answer(method)?;
        let (body, trailers) = self.body(framing)?;
        Ok(Message { head, body, trailers, framing })
    }

    /// A whole request.
    pub(crate) fn request(&mut self) -> Result<Message, End> {
        let head = self.head()?;
        let framing = head.framing_of_request()?;
        let (body, trailers) = self.body(framing)?;
        Ok(Message { head, body, trailers, framing })
    }

    /// Reads up to the end of the connection: `Ok` with what still came, or that it was reset or stays open.
    pub(crate) fn until_close(&mut self) -> Result<Vec<u8>, End> {
        let end = Instant::now() + self.limit;
        loop {
            if self.fill(end)? == 0 {
                return Ok(std::mem::take(&mut self.buf));
            }
        }
    }

    /// Exactly so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.buf.len() < count {
            match self.fill(Instant::now() + self.limit) {
                Ok(0) | Err(End::Reset) => return Err(End::Cut(show(&self.buf))),
                Err(end) => return Err(end),
                Ok(_) => {}
            }
        }
        Ok(self.buf.drain(..count).collect())
    }

    fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(at) = self.buf.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.buf.drain(..=at).collect();
                let Some(line) = line.strip_suffix(b"\r\n") else {
                    return Err(End::Bad(format!("bare LF in {}", show(&line))));
                };
                return Ok(latin1(line));
            }
            match self.fill(Instant::now() + self.limit) {
                Ok(0) | Err(End::Reset) => return Err(End::Cut(show(&self.buf))),
                Err(end) => return Err(end),
                Ok(_) => {}
            }
        }
    }
}

fn parse_head(raw: Vec<u8>) -> Result<Head, End> {
    let text = latin1(&raw);
    let lines: Vec<&str> = text[..text.len() - 4].split("\r\n").collect();
    if lines.iter().any(|line| line.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f)) {
        return Err(End::Bad(format!("control character in {}", show(&raw))));
    }
    let fields = lines[1..].iter().map(|line| field(line)).collect::<Result<Vec<_>, _>>()?;
    Ok(Head { start: lines[0].to_owned(), fields, raw })
}

fn field(line: &str) -> Result<(String, String), End> {
    let (name, value) = line.split_once(':').ok_or_else(|| End::Bad(format!("no colon in {line:?}")))?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(End::Bad(format!("field name {name:?}")));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}
