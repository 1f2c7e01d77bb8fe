//! Bytes to [`Head`]: one pass, resumable, strict (RFC 9112 §2 to §5).
//!
//! The parser looks at every byte of a head once, as it arrives: [`Parser`] remembers in a few words where it stopped, so
//! that a client which sends one byte at a time costs O(n) and not O(n²). A fault is reported as soon as its byte is
//! there, wherever the pieces were cut. Strict means: a line ends with CRLF and nothing else does, a name is a token with
//! its colon right behind it, a value holds no control byte but HTAB, and lines are not folded. A lenient reader in front
//! of or behind us could see another message in anything else.
//!
//! Not here: what the fields mean (`framing`), what the target is (`target`).

use super::head::{Field, Head, Method, Part, Version};
use super::headers::{self, Known};
use super::scan::{self, Controls, Scan};
use super::Fault;
use crate::base::limits;

/// Whether the head is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed. Call again with the same bytes and more behind them.
    Partial,
    /// The head is whole: `head.len` bytes of the buffer are its.
    Done,
}

/// Where a head that is still arriving was left. 16 bytes; `Default` stands before the first byte.
///
/// After `Done` or a fault it stands before the next message again.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    stage: Stage,
    empty_lines: u8,
    /// Where the element begins that is being read: the method, the target, the version, the line.
    at: u32,
    /// Bytes before this one have been looked at.
    seen: u32,
    /// Offset of the colon of the line at `at`; 0 while its name is being read.
    colon: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    Target,
    Version,
    Reason,
    Fields,
}

/// Two heads in one parser.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Reply,
}

impl Parser {
    /// Reads the head of a request at the start of `buf`.
    ///
    /// Skips up to `limits::EMPTY_LINES_MAX` empty lines (RFC 9112 §2.2). Call it with the same bytes and more behind
    /// them until it says `Done`; `head` must be the same one each time, and is cleared at the first call.
    ///
    /// # Errors
    /// The exact reason. The connection's framing is lost: answer and close.
    pub fn request(&mut self, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        self.read(Kind::Request, buf, head)
    }

    /// Reads the head of a reply at the start of `buf`, under the same rules.
    ///
    /// # Errors
    /// The exact reason; the caller answers 502.
    pub fn reply(&mut self, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        self.read(Kind::Reply, buf, head)
    }

    fn read(&mut self, kind: Kind, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        #[cfg(target_arch = "x86_64")]
        let result = match scan::avx2() {
            Some(avx2) => self.read_by(avx2, kind, buf, head),
            None => self.read_by(scan::Sse2, kind, buf, head),
        };
        #[cfg(not(target_arch = "x86_64"))]
        let result = self.read_by(scan::Table, kind, buf, head);
        result
    }

    fn read_by<S: Scan>(&mut self, scan: S, kind: Kind, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        if self.stage == Stage::Start && self.seen == 0 {
            head.clear();
        }
        let max = match kind {
            Kind::Request => limits::HEAD_BYTES_MAX,
            Kind::Reply => limits::REPLY_HEAD_BYTES_MAX,
        };
        // Bytes beyond the limit are not looked at, so that the verdict does not depend on how much came at once.
        let buf = &buf[..buf.len().min(max)];
        let result = self.walk(scan, kind, buf, head);
        match result {
            Ok(Progress::Partial) if buf.len() < max => return Ok(Progress::Partial),
            _ => *self = Parser::default(),
        }
        match result {
            Ok(Progress::Partial) => Err(Fault::HeadTooLarge),
            result => result,
        }
    }

    #[inline(always)]
    fn walk<S: Scan>(&mut self, scan: S, kind: Kind, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        if self.stage != Stage::Fields {
            let begun = match kind {
                Kind::Request => self.request_line(scan, buf, head)?,
                Kind::Reply => self.status_line(scan, buf, head)?,
            };
            if begun == Progress::Partial {
                return Ok(Progress::Partial);
            }
        }
        self.fields(scan, buf, head)
    }

    /// `method SP request-target SP HTTP-version CRLF`, after empty lines. `Done` leaves `self` at the first field.
    #[inline(always)]
    fn request_line<S: Scan>(&mut self, scan: S, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        if self.stage == Stage::Start {
            if self.empty_lines(buf)? == Progress::Partial {
                return Ok(Progress::Partial);
            }
            let at = self.at as usize;
            let end = scan.token_end(buf, (self.seen as usize).max(at));
            if end - at > limits::METHOD_BYTES_MAX {
                return Err(Fault::MethodTooLong);
            }
            match buf.get(end) {
                None => return self.wait(at, end),
                Some(b' ') if end > at => {}
                Some(_) => return Err(Fault::Method),
            }
            head.method_part = Part::new(at, end);
            head.method = Method::classify(&buf[at..end]);
            self.enter(Stage::Target, end + 1);
        }
        if self.stage == Stage::Target {
            let at = self.at as usize;
            let end = scan.target_end(buf, self.seen as usize);
            if end - at > limits::TARGET_BYTES_MAX {
                return Err(Fault::TargetTooLong);
            }
            match buf.get(end) {
                None => return self.wait(at, end),
                Some(b' ') if end > at => {}
                // `GET /` and the end of the line: HTTP/0.9, or a target with a line break in it.
                Some(b'\r' | b'\n') if end > at => return Err(Fault::Version),
                Some(_) => return Err(Fault::TargetByte),
            }
            head.target_part = Part::new(at, end);
            self.enter(Stage::Version, end + 1);
        }
        let at = self.at as usize;
        let Some(line) = buf[at..].first_chunk::<10>() else {
            return match could_be_version(&buf[at..]) {
                true => self.wait(at, buf.len()),
                false => Err(Fault::Version),
            };
        };
        head.version = match line {
            b"HTTP/1.1\r\n" => Version::H11,
            b"HTTP/1.0\r\n" => Version::H10,
            _ => return Err(version_fault(line)),
        };
        self.enter(Stage::Fields, at + 10);
        Ok(Progress::Done)
    }

    /// `HTTP-version SP status-code SP [reason] CRLF`.
    ///
    /// A missing space before an absent reason is forgiven (RFC 9112 §4 would have it): many origins leave it out, the
    /// line is written anew for the client, and no second reading of it exists.
    #[inline(always)]
    fn status_line<S: Scan>(&mut self, scan: S, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        if self.stage == Stage::Start {
            // The shortest prefix that decides: `HTTP/1.1 200` and the byte after it.
            let Some(line) = buf.first_chunk::<13>() else {
                return match could_be_status(buf) {
                    true => self.wait(0, buf.len()),
                    false => Err(Fault::StatusLine),
                };
            };
            if !could_be_status(line) {
                return Err(Fault::StatusLine);
            }
            head.version = if line[7] == b'1' { Version::H11 } else { Version::H10 };
            head.status = line[9..12].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
            self.enter(Stage::Reason, if line[12] == b' ' { 13 } else { 12 });
        }
        let at = self.at as usize;
        let end = Controls::new(scan, buf, self.seen as usize).next(self.seen as usize);
        match buf.get(end..) {
            Some([b'\r', b'\n', ..]) => {}
            None | Some([] | [b'\r']) => return self.wait(at, end),
            Some([b'\r', ..]) => return Err(Fault::BareCr),
            Some([b'\n', ..]) => return Err(Fault::BareLf),
            Some(_) => return Err(Fault::StatusLine),
        }
        head.reason_part = Part::new(at, end);
        self.enter(Stage::Fields, end + 2);
        Ok(Progress::Done)
    }

    /// Skips CRLFs before a request line. `Done` leaves `self.at` at the first byte that is none.
    #[inline(always)]
    fn empty_lines(&mut self, buf: &[u8]) -> Result<Progress, Fault> {
        loop {
            match buf[self.at as usize..] {
                [b'\r', b'\n', ..] if usize::from(self.empty_lines) < limits::EMPTY_LINES_MAX => {
                    self.empty_lines += 1;
                    self.at += 2;
                }
                [b'\r', b'\n', ..] => return Err(Fault::EmptyLines),
                [b'\r'] | [] => return self.wait(self.at as usize, self.at as usize),
                [b'\r', ..] => return Err(Fault::BareCr),
                [b'\n', ..] => return Err(Fault::BareLf),
                _ => return Ok(Progress::Done),
            }
        }
    }

    /// Field lines up to the empty line.
    #[inline(always)]
    fn fields<S: Scan>(&mut self, scan: S, buf: &[u8], head: &mut Head) -> Result<Progress, Fault> {
        let mut line = self.at as usize;
        let mut seen = self.seen as usize;
        let mut colon = self.colon as usize;
        let mut controls = Controls::new(scan, buf, seen);
        loop {
            // The end of the line first, then its name: so the walk from line to line waits for nothing but the bits.
            let end = controls.next(seen);
            if colon == 0 {
                let stop = scan.token_end(buf, seen);
                match buf.get(stop) {
                    Some(b':') if stop > line => colon = stop,
                    Some(b'\r') if stop == line => match buf.get(stop + 1) {
                        Some(b'\n') => {
                            head.len = line + 2;
                            return Ok(Progress::Done);
                        }
                        Some(_) => return Err(Fault::BareCr),
                        None => return self.wait(line, stop),
                    },
                    Some(&byte) => return Err(name_fault(byte, stop == line)),
                    None => return self.wait(line, stop),
                }
            }
            // The byte that ended the name came before any control byte, so `end` is beyond the colon.
            match buf.get(end..) {
                Some([b'\r', b'\n', ..]) => {}
                None | Some([] | [b'\r']) => {
                    self.colon = colon as u32;
                    return self.wait(line, end);
                }
                Some([b'\r', ..]) => return Err(Fault::BareCr),
                Some([b'\n', ..]) => return Err(Fault::BareLf),
                Some(_) => return Err(Fault::FieldValue),
            }
            if head.fields.len() == limits::FIELDS_MAX {
                return Err(Fault::TooManyFields);
            }
            head.push(field(buf, line, colon, end));
            line = end + 2;
            seen = line;
            colon = 0;
        }
    }

    #[inline(always)]
    fn enter(&mut self, stage: Stage, at: usize) {
        self.stage = stage;
        self.at = at as u32;
        self.seen = at as u32;
        self.colon = 0;
    }

    /// Remembers that the element at `at` has no end before `seen`.
    #[inline(always)]
    fn wait(&mut self, at: usize, seen: usize) -> Result<Progress, Fault> {
        self.at = at as u32;
        self.seen = seen as u32;
        Ok(Progress::Partial)
    }
}

/// One field line whose name, colon and end are known.
#[inline(always)]
fn field(buf: &[u8], line: usize, colon: usize, end: usize) -> Field {
    let is_ows = |at: usize| matches!(buf[at], b' ' | b'\t');
    let mut value_at = colon + 1;
    let mut plain = buf[value_at] == b' ';
    value_at += usize::from(plain);
    let mut value_end = end;
    // `end` holds a CR, so the walk to the right stops there at the latest.
    if is_ows(value_at) || is_ows(end - 1) && end - 1 >= value_at {
        plain = false;
        while is_ows(value_at) {
            value_at += 1;
        }
        while value_end > value_at && is_ows(value_end - 1) {
            value_end -= 1;
        }
    }
    let id = headers::classify_in(buf, line, colon - line);
    if id == Known::ContentLength && value_end > value_at + 1 && buf[value_at] == b'0' {
        plain = false;
    }
    Field {
        name_at: line as u32,
        value_at: value_at as u32,
        value_len: (value_end - value_at) as u32,
        name_len: (colon - line) as u16,
        id,
        plain,
    }
}

/// One line of a trailer section without its CRLF: name and value, under the rules of a head.
///
/// # Errors
/// As for a head.
pub fn field_line(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let stop = line.iter().position(|&byte| !scan::is_token(byte)).unwrap_or(line.len());
    match line.get(stop) {
        Some(b':') if stop > 0 => {}
        Some(&byte) => return Err(name_fault(byte, stop == 0)),
        None => return Err(Fault::NoColon),
    }
    let value = &line[stop + 1..];
    match value.iter().find(|&&byte| scan::is_control(byte)) {
        None => Ok((&line[..stop], headers::trim(value))),
        Some(b'\r') => Err(Fault::BareCr),
        Some(b'\n') => Err(Fault::BareLf),
        Some(_) => Err(Fault::FieldValue),
    }
}

/// What a byte that is no token character and no sound end of a name tells.
#[cold]
fn name_fault(byte: u8, first: bool) -> Fault {
    match byte {
        b' ' | b'\t' if first => Fault::Fold,
        b' ' | b'\t' => Fault::SpaceBeforeColon,
        b'\r' => Fault::NoColon,
        b'\n' => Fault::BareLf,
        _ => Fault::FieldName,
    }
}

/// Whether these first bytes of a version can still become `HTTP/d.d CRLF`.
#[cold]
fn could_be_version(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/0.0\r\n").enumerate().all(|(i, (&byte, &want))| match i {
        5 | 7 => byte.is_ascii_digit(),
        _ => byte == want,
    })
}

#[cold]
fn version_fault(line: &[u8; 10]) -> Fault {
    if could_be_version(line) {
        Fault::VersionUnsupported
    } else {
        Fault::Version
    }
}

/// Whether these first bytes can still become a status line of 1.0 or 1.1.
fn could_be_status(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/1.1 200 ").enumerate().all(|(i, (&byte, &want))| match i {
        7 => byte == b'0' || byte == b'1',
        9 => (b'1'..=b'9').contains(&byte),
        10 | 11 => byte.is_ascii_digit(),
        12 => byte == b' ' || byte == b'\r',
        _ => byte == want,
    })
}
