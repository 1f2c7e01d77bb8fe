//! Bytes to offsets: the one pass over a head that everything else relies on. Strict where peers differ (RFC 9112 §2–§5).
//!
//! A line is parsed when its end has come, and never again: a client that sends a byte at a time costs as much as one
//! that sends all at once. Bare CR, bare LF, NUL and other controls, obs-fold and space before a colon are refused.

use super::head::{Field, Head, Method, Part, Version};
use super::headers::classify_in;
use super::Fault;
use crate::base::limits;

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head is whole; [`Head::len`] says where it ends.
    Done,
}

/// Where parsing goes on when more bytes have come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parser {
    /// Start of the line that is not whole yet.
    line: usize,
    /// Bytes of it that hold no line end.
    scanned: usize,
    /// Is the first line behind us?
    begun: bool,
    empty_lines: usize,
}

impl Parser {
    /// Parses a request's head at the start of `buf`. Called again with a longer `buf` that begins with the same bytes.
    ///
    /// # Errors
    /// What is wrong with it; the connection is then of no use.
    pub fn request(&mut self, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        self.run(buf, head, limits::HEAD_BYTES_MAX, true)
    }

    /// The same for a reply.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn reply(&mut self, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        self.run(buf, head, limits::REPLY_HEAD_BYTES_MAX, false)
    }

    fn run(&mut self, buf: &[u8], head: &mut Head, bytes_max: usize, request: bool) -> Result<Progress, Fault> {
        if self.line == 0 && self.scanned == 0 {
            head.clear();
        }
        loop {
            let rest = &buf[self.line..];
            let Some(end) = memchr::memchr(b'\n', &rest[self.scanned..]).map(|at| at + self.scanned) else {
                self.scanned = rest.len();
                // An over-long target is said to be one, even when its line never ends.
                if request && !self.begun && rest.len() > limits::TARGET_BYTES_MAX + limits::METHOD_BYTES_MAX + 2 {
                    return Err(Fault::TargetTooLong);
                }
                if buf.len() >= bytes_max {
                    return Err(Fault::HeadTooLarge);
                }
                self.early(rest, request)?;
                return Ok(Progress::Partial);
            };
            let at = self.line;
            self.line += end + 1;
            self.scanned = 0;
            if self.line > bytes_max {
                return Err(Fault::HeadTooLarge);
            }
            if end == 0 || rest[end - 1] != b'\r' {
                return Err(Fault::BareLf);
            }
            let line = &rest[..end - 1];
            if line.is_empty() {
                if self.begun {
                    head.len = self.line;
                    return Ok(Progress::Done);
                }
                self.empty_lines += 1;
                if !request || self.empty_lines > limits::EMPTY_LINES_MAX {
                    return Err(Fault::EmptyLines);
                }
                continue;
            }
            if memchr::memchr(b'\r', line).is_some() {
                return Err(Fault::BareCr);
            }
            match (self.begun, request) {
                (true, _) => field(buf, at, line, head)?,
                (false, true) => request_line(at, line, head)?,
                (false, false) => status_line(at, line, head)?,
            }
            self.begun = true;
        }
    }

    /// What can be said of a line that has no end yet: a client that speaks another protocol is told at once.
    fn early(&self, rest: &[u8], request: bool) -> Result<(), Fault> {
        if self.begun || !request || rest.is_empty() {
            return Ok(());
        }
        let method = &rest[..rest.iter().position(|&b| b == b' ').unwrap_or(rest.len())];
        if rest != b"\r" && !method.iter().all(|&b| TOKEN[usize::from(b)] || b == b'\r') {
            return Err(Fault::Method);
        }
        if method.len() > limits::METHOD_BYTES_MAX {
            return Err(Fault::MethodTooLong);
        }
        Ok(())
    }
}

fn request_line(at: usize, line: &[u8], head: &mut Head) -> Result<(), Fault> {
    let Some(method_end) = line.iter().position(|&b| b == b' ') else { return Err(Fault::Method) };
    let method = &line[..method_end];
    if method.is_empty() || !method.iter().all(|&b| TOKEN[usize::from(b)]) {
        return Err(Fault::Method);
    }
    if method.len() > limits::METHOD_BYTES_MAX {
        return Err(Fault::MethodTooLong);
    }
    let rest = &line[method_end + 1..];
    let Some(target_end) = rest.iter().position(|&b| b == b' ') else { return Err(Fault::Version) };
    let target = &rest[..target_end];
    if target.is_empty() || !target.iter().all(|&b| b > b' ' && b != 0x7f) {
        return Err(Fault::TargetByte);
    }
    if target.len() > limits::TARGET_BYTES_MAX {
        return Err(Fault::TargetTooLong);
    }
    head.version = version(&rest[target_end + 1..])?;
    head.method = Method::classify(method);
    head.method_part = Part::new(at, at + method_end);
    head.target_part = Part::new(at + method_end + 1, at + method_end + 1 + target_end);
    Ok(())
}

fn version(text: &[u8]) -> Result<Version, Fault> {
    match text {
        b"HTTP/1.1" => Ok(Version::H11),
        b"HTTP/1.0" => Ok(Version::H10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Fault::VersionUnsupported)
        }
        _ => Err(Fault::Version),
    }
}

fn status_line(at: usize, line: &[u8], head: &mut Head) -> Result<(), Fault> {
    let (Some(text), Some(b' ')) = (line.get(..8), line.get(8)) else { return Err(Fault::StatusLine) };
    head.version = version(text).map_err(|_| Fault::StatusLine)?;
    let digits = line.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let Some(&[a, b, c]) = digits else { return Err(Fault::StatusLine) };
    head.status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    if head.status < 100 {
        return Err(Fault::StatusLine);
    }
    // The space before an empty reason is often left out; RFC 9112 §4 asks for it, nobody is misled without it.
    let reason = match &line[12..] {
        [] => Part::new(at + 12, at + 12),
        [b' ', reason @ ..] if reason.iter().all(|&b| is_value(b)) => Part::new(at + 13, at + 13 + reason.len()),
        _ => return Err(Fault::StatusLine),
    };
    head.reason_part = reason;
    Ok(())
}

fn field(buf: &[u8], at: usize, line: &[u8], head: &mut Head) -> Result<(), Fault> {
    if matches!(line[0], b' ' | b'\t') {
        return Err(Fault::Fold);
    }
    if head.fields.len() == limits::FIELDS_MAX {
        return Err(Fault::TooManyFields);
    }
    let Some(colon) = line.iter().position(|&b| !TOKEN[usize::from(b)]) else { return Err(Fault::NoColon) };
    match line[colon] {
        b':' if colon > 0 => {}
        b' ' | b'\t' if colon > 0 => return Err(Fault::SpaceBeforeColon),
        _ => return Err(Fault::FieldName),
    }
    let mut from = colon + 1;
    let mut to = line.len();
    while from < to && matches!(line[from], b' ' | b'\t') {
        from += 1;
    }
    while to > from && matches!(line[to - 1], b' ' | b'\t') {
        to -= 1;
    }
    if !line[from..to].iter().all(|&b| is_value(b)) {
        return Err(Fault::FieldValue);
    }
    head.push(Field {
        name_at: at as u32,
        value_at: (at + from) as u32,
        value_len: (to - from) as u32,
        name_len: colon as u16,
        id: classify_in(buf, at, colon),
        plain: from == colon + 2 && to == line.len() && line[colon + 1] == b' ',
    });
    Ok(())
}

fn is_value(b: u8) -> bool {
    b >= b' ' && b != 0x7f || b == b'\t'
}

/// RFC 9110 §5.6.2 `tchar`.
pub(super) static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        table[b] = c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        b += 1;
    }
    table
};
