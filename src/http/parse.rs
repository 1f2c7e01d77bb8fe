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
            return match unusual_version(&buf[at..]) {
                Ok(_) => self.wait(at, buf.len()),
                Err(fault) => Err(fault),
            };
        };
        head.version = match line {
            b"HTTP/1.1\r\n" => Version::H11,
            b"HTTP/1.0\r\n" => Version::H10,
            _ => unusual_version(line)?,
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
            head.version = if line[7] == b'0' { Version::H10 } else { Version::H11 };
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
                        None => return self.wait_in_line(line, stop, 0),
                    },
                    Some(&byte) => return Err(name_fault(byte, stop == line)),
                    None => return self.wait_in_line(line, stop, 0),
                }
            }
            // The byte that ended the name came before any control byte, so `end` is beyond the colon.
            match buf.get(end..) {
                Some([b'\r', b'\n', ..]) => {}
                None | Some([] | [b'\r']) => return self.wait_in_line(line, end, colon),
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

    /// [`Parser::wait`] within a field line; `colon` is 0 while its name is being read.
    #[inline(always)]
    fn wait_in_line(&mut self, line: usize, seen: usize, colon: usize) -> Result<Progress, Fault> {
        self.colon = colon as u32;
        self.wait(line, seen)
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
    if is_ows(value_at) || (end > value_at && is_ows(end - 1)) {
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

/// What these first bytes of `HTTP/d.d CRLF` are or can still become, where they are neither 1.0 nor 1.1.
///
/// RFC 9110 §2.5: a recipient of a higher minor version "SHOULD process the message as if it was in the highest minor
/// version within that major version to which the recipient is conformant". Another major version is told so as soon as its
/// digits are there: what follows them would be another grammar.
#[cold]
fn unusual_version(bytes: &[u8]) -> Result<Version, Fault> {
    let is_as = |pattern: &[u8; 10], bytes: &[u8]| {
        bytes.iter().zip(pattern).all(|(&byte, &want)| if want == b'0' { byte.is_ascii_digit() } else { byte == want })
    };
    let number = &bytes[..bytes.len().min(8)];
    if number.len() == 8 && number[5] != b'1' && is_as(b"HTTP/0.0\r\n", number) {
        return Err(Fault::VersionUnsupported);
    }
    is_as(b"HTTP/0.0\r\n", bytes).then_some(Version::H11).ok_or(Fault::Version)
}

/// Whether these first bytes can still become a status line of HTTP/1; of any minor version, as for requests.
fn could_be_status(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/1.1 200 ").enumerate().all(|(i, (&byte, &want))| match i {
        7 => byte.is_ascii_digit(),
        9 => (b'1'..=b'9').contains(&byte),
        10 | 11 => byte.is_ascii_digit(),
        12 => byte == b' ' || byte == b'\r',
        _ => byte == want,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadRef;
    use proptest::prelude::*;

    /// One head in one piece, by the widest vectors of this machine.
    fn read(kind: Kind, buf: &[u8]) -> (Result<Progress, Fault>, Head) {
        let (mut parser, mut head) = (Parser::default(), Head::new());
        (parser.read(kind, buf, &mut head), head)
    }

    /// The same by one scanner and in pieces that end at `cuts`.
    fn read_cut<S: Scan>(scan: S, kind: Kind, buf: &[u8], cuts: &[usize]) -> (Result<Progress, Fault>, Head) {
        let (mut parser, mut head) = (Parser::default(), Head::new());
        for &cut in cuts {
            match parser.read_by(scan, kind, &buf[..cut.min(buf.len())], &mut head) {
                Ok(Progress::Partial) => {}
                early => return (early, head),
            }
        }
        (parser.read_by(scan, kind, buf, &mut head), head)
    }

    /// `Ok(None)` for a head that is not whole, otherwise all that was read, as text.
    fn told(result: &Result<Progress, Fault>, head: &Head, buf: &[u8]) -> Result<Option<String>, Fault> {
        if *result.as_ref().map_err(|&fault| fault)? == Progress::Partial {
            return Ok(None);
        }
        let on: HeadRef<'_> = head.on(buf);
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let mut out = match head.status {
            0 => format!("{} {} {:?}", text(on.method_bytes()), text(on.target()), head.version),
            status => format!("{:?} {status} {}", head.version, text(on.reason())),
        };
        for (field, name, value) in on.fields() {
            let mark = if field.plain { ':' } else { '~' };
            out += &format!(" | {}{mark}{}", text(name), text(value));
            assert_eq!(field.id, Known::classify(name));
            assert!(on.has(field.id));
        }
        out += &format!(" + {}", text(&buf[head.len..]));
        Ok(Some(out))
    }

    #[test]
    fn requests_are_read_or_refused_for_the_right_reason() {
        let rows: &[(&str, Result<Option<&str>, Fault>)] = &[
            ("GET / HTTP/1.1\r\n\r\n", Ok(Some("GET / H11 + "))),
            ("GET / HTTP/1.0\r\n\r\nrest", Ok(Some("GET / H10 + rest"))),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some("GET / H11 + "))),
            ("-BLARGH /x HTTP/1.1\r\n\r\n", Ok(Some("-BLARGH /x H11 + "))),
            ("get * HTTP/1.1\r\n\r\n", Ok(Some("get * H11 + "))),
            ("M-SEARCH /\u{e9}?a=\"|\\ HTTP/1.1\r\n\r\n", Ok(Some("M-SEARCH /\\xc3\\xa9?a=\\\"|\\\\ H11 + "))),
            ("G / HTTP/1.1\r\na:\r\nb: \r\nc:  \r\nd: \t\r\n\r\n", Ok(Some("G / H11 | a~ | b: | c~ | d~ + "))),
            (
                "G / HTTP/1.1\r\na:b\r\nc: d\r\ne: f \r\ng:\th\r\ni:  j\r\n\r\n",
                Ok(Some("G / H11 | a~b | c:d | e~f | g~h | i~j + ")),
            ),
            ("G / HTTP/1.1\r\na: b \t c\t \r\n\r\n", Ok(Some("G / H11 | a~b \\t c + "))),
            (
                "G / HTTP/1.1\r\nX.a|!#$%&'*+-^_`~0: \u{ff}\r\n\r\n",
                Ok(Some("G / H11 | X.a|!#$%&\\'*+-^_`~0:\\xc3\\xbf + ")),
            ),
            ("G / HTTP/1.1\r\nContent-Length: 003\r\n\r\n", Ok(Some("G / H11 | Content-Length~003 + "))),
            ("G / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Ok(Some("G / H11 | Content-Length:0 + "))),
            ("", Ok(None)),
            ("\r", Ok(None)),
            ("GET / HTTP/1.1\r\n", Ok(None)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r", Ok(None)),
            (&"\r\n".repeat(9), Err(Fault::EmptyLines)),
            ("\n", Err(Fault::BareLf)),
            ("\rG", Err(Fault::BareCr)),
            (" GET / HTTP/1.1", Err(Fault::Method)),
            ("\x16\x03\x01", Err(Fault::Method)),
            ("G\0T", Err(Fault::Method)),
            ("bla:rgh /", Err(Fault::Method)),
            ("GET\t/", Err(Fault::Method)),
            ("GET\r\n", Err(Fault::Method)),
            (&"M".repeat(33), Err(Fault::MethodTooLong)),
            ("GET  / HTTP/1.1\r\n", Err(Fault::TargetByte)),
            ("GET /\t HTTP/1.1\r\n", Err(Fault::TargetByte)),
            ("GET /\x7f", Err(Fault::TargetByte)),
            ("GET /\x01", Err(Fault::TargetByte)),
            ("GET /\r\n", Err(Fault::Version)),
            ("GET /a b HTTP/1.1\r\n", Err(Fault::Version)),
            ("GET / HTTP/1.1 \r\n", Err(Fault::Version)),
            ("GET /  HTTP/1.1\r\n", Err(Fault::Version)),
            ("GET / HTTP/1.1\n\n", Err(Fault::Version)),
            ("GET / HTTP/1.1\rX", Err(Fault::Version)),
            ("GET / http/1.1\r\n", Err(Fault::Version)),
            ("GET / HTTP/111\r\n\r\n", Err(Fault::Version)),
            ("GET / HTTP/11.1\r\n", Err(Fault::Version)),
            ("GET / HTTP/1.10\r\n", Err(Fault::Version)),
            ("GET / HTTPS/1.1\r\n", Err(Fault::Version)),
            ("GET / ICE", Err(Fault::Version)),
            ("GET / HTTP/2.0\r\n", Err(Fault::VersionUnsupported)),
            ("GET / HTTP/0.9\r\n", Err(Fault::VersionUnsupported)),
            ("GET / HTTP/5.6", Err(Fault::VersionUnsupported)),
            ("GET / HTTP/2.0x", Err(Fault::VersionUnsupported)),
            ("GET / HTTP/1.2\r\n\r\n", Ok(Some("GET / H11 + "))),
            ("GET / HTTP/1.2x", Err(Fault::Version)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Fault::VersionUnsupported)),
            ("G / HTTP/1.1\r\n Host: a\r\n\r\n", Err(Fault::Fold)),
            ("G / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", Err(Fault::Fold)),
            ("G / HTTP/1.1\r\n: b\r\n\r\n", Err(Fault::FieldName)),
            ("G / HTTP/1.1\r\nA : b\r\n\r\n", Err(Fault::SpaceBeforeColon)),
            ("G / HTTP/1.1\r\nA\t: b\r\n\r\n", Err(Fault::SpaceBeforeColon)),
            ("G / HTTP/1.1\r\nA@: b\r\n\r\n", Err(Fault::FieldName)),
            ("G / HTTP/1.1\r\n\u{e9}: b\r\n\r\n", Err(Fault::FieldName)),
            ("G / HTTP/1.1\r\nA\0: b\r\n\r\n", Err(Fault::FieldName)),
            ("G / HTTP/1.1\r\nA\r\n : b\r\n\r\n", Err(Fault::NoColon)),
            ("G / HTTP/1.1\r\nA\n", Err(Fault::BareLf)),
            ("G / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", Err(Fault::BareLf)),
            ("G / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", Err(Fault::BareCr)),
            ("G / HTTP/1.1\r\nA:\r\r\n\r\n", Err(Fault::BareCr)),
            ("G / HTTP/1.1\r\nA: b\r\n\rX", Err(Fault::BareCr)),
            ("G / HTTP/1.1\r\nA: b\r\n\n", Err(Fault::BareLf)),
            ("G / HTTP/1.1\r\nA: \0\r\n\r\n", Err(Fault::FieldValue)),
            ("G / HTTP/1.1\r\nA: b\x7f\r\n\r\n", Err(Fault::FieldValue)),
            ("G / HTTP/1.1\r\nA: b\x0bc\r\n\r\n", Err(Fault::FieldValue)),
        ];
        for &(text, want) in rows {
            let buf = text.as_bytes();
            let (result, head) = read(Kind::Request, buf);
            assert_eq!(told(&result, &head, buf), want.map(|told| told.map(str::to_owned)), "{text:?}");
        }
    }

    #[test]
    fn replies_are_read_or_refused_for_the_right_reason() {
        let rows: &[(&str, Result<Option<&str>, Fault>)] = &[
            ("HTTP/1.1 200 OK\r\n\r\n", Ok(Some("H11 200 OK + "))),
            ("HTTP/1.0 404 Not  Found \r\nA: b\r\n\r\n<", Ok(Some("H10 404 Not  Found  | A:b + <"))),
            ("HTTP/1.1 200 \r\n\r\n", Ok(Some("H11 200  + "))),
            ("HTTP/1.1 200\r\n\r\n", Ok(Some("H11 200  + "))),
            ("HTTP/1.1 999 \u{e9}\t\r\n\r\n", Ok(Some("H11 999 \\xc3\\xa9\\t + "))),
            ("HTTP/1.1 200", Ok(None)),
            ("HTTP/1.1 200 O", Ok(None)),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Err(Fault::StatusLine)),
            ("HTTP/2.0 200 OK\r\n\r\n", Err(Fault::StatusLine)),
            ("HTTP/1.1 099 OK\r\n\r\n", Err(Fault::StatusLine)),
            ("HTTP/1.1 20 OK\r\n\r\n", Err(Fault::StatusLine)),
            ("HTTP/1.1 2000 OK\r\n\r\n", Err(Fault::StatusLine)),
            ("HTTP/1.1  200 OK\r\n\r\n", Err(Fault::StatusLine)),
            ("HTTP/1.1 200 O\0K\r\n\r\n", Err(Fault::StatusLine)),
            ("HTTP/1.1 200 OK\n\n", Err(Fault::BareLf)),
            ("HTTP/1.1 200 OK\rX", Err(Fault::BareCr)),
            ("HTTP/1.1 200\rX\n", Err(Fault::BareCr)),
            ("ICY 200 OK\r\n", Err(Fault::StatusLine)),
            ("HTTP/1.1 200 OK\r\nA : b\r\n", Err(Fault::SpaceBeforeColon)),
        ];
        for &(text, want) in rows {
            let buf = text.as_bytes();
            let (result, head) = read(Kind::Reply, buf);
            assert_eq!(told(&result, &head, buf), want.map(|told| told.map(str::to_owned)), "{text:?}");
        }
    }

    #[test]
    fn limits_hold_however_much_comes_at_once() {
        let target = |len: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(len - 1));
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        // 21: what surrounds the value.
        let size = |len: usize| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "v".repeat(len - 23));
        let rows: &[(String, Result<Progress, Fault>)] = &[
            (target(limits::TARGET_BYTES_MAX), Ok(Progress::Done)),
            (target(limits::TARGET_BYTES_MAX + 1), Err(Fault::TargetTooLong)),
            (target(limits::HEAD_BYTES_MAX * 2), Err(Fault::TargetTooLong)),
            (fields(limits::FIELDS_MAX), Ok(Progress::Done)),
            (fields(limits::FIELDS_MAX + 1), Err(Fault::TooManyFields)),
            (size(limits::HEAD_BYTES_MAX), Ok(Progress::Done)),
            (size(limits::HEAD_BYTES_MAX + 1), Err(Fault::HeadTooLarge)),
            (size(limits::HEAD_BYTES_MAX * 2), Err(Fault::HeadTooLarge)),
        ];
        for (text, want) in rows {
            let buf = text.as_bytes();
            assert_eq!(&read(Kind::Request, buf).0, want, "{} bytes", buf.len());
            let cuts: Vec<usize> = (0..buf.len()).step_by(1000).collect();
            assert_eq!(&read_cut(scan::Table, Kind::Request, buf, &cuts).0, want, "{} bytes, cut", buf.len());
        }
    }

    #[test]
    fn a_parser_is_ready_for_the_next_message() {
        let (mut parser, mut head) = (Parser::default(), Head::new());
        let one = b"GET /one HTTP/1.1\r\na: b\r\n\r\n";
        let two = b"GET /two HTTP/1.0\r\n\r\n";
        assert_eq!(parser.request(one, &mut head), Ok(Progress::Done));
        assert_eq!(parser.request(two, &mut head), Ok(Progress::Done));
        assert_eq!((head.on(two).target(), head.fields.len()), (&b"/two"[..], 0));
        assert_eq!(parser.request(b"\0", &mut head), Err(Fault::Method));
        assert_eq!(parser.request(one, &mut head), Ok(Progress::Done));
        assert_eq!(head.fields.len(), 1);
    }

    /// Heads of sound and unsound pieces: most are nearly right, which is where readers differ.
    fn heads(reply: bool) -> impl Strategy<Value = Vec<u8>> {
        let start = if reply {
            prop::sample::select(vec![
                "HTTP/1.1 200 OK\r\n",
                "HTTP/1.0 301 Moved Permanently\r\n",
                "HTTP/1.1 204 \r\n",
                "HTTP/1.1 200\r\n",
                "HTTP/1.2 200 OK\r\n",
                "HTTP/1.1 2x0 OK\r\n",
                "HTTP/1.1 200 OK\n",
            ])
        } else {
            prop::sample::select(vec![
                "GET / HTTP/1.1\r\n",
                "\r\nPOST /a/b?c=d HTTP/1.0\r\n",
                "OPTIONS * HTTP/1.1\r\n",
                "X-Y http://a/ HTTP/1.1\r\n",
                "GET  / HTTP/1.1\r\n",
                "GET / HTTP/1.3\r\n",
                "GE T / HTTP/1.1\r\n",
                "GET / HTTP/1.1\n",
                "\nGET / HTTP/1.1\r\n",
            ])
        };
        let piece = prop_oneof![
            8 => prop::sample::select(vec![
                "Host: a.test\r\n", "Content-Length: 12\r\n", "content-length:012\r\n", "Transfer-Encoding: chunked\r\n",
                "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "Cookie: a=b; c=d\t\r\n", "Accept:  */*  \r\n", "Empty:\r\n",
                "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126\r\n",
                "A-Name-That-Is-Longer-Than-Thirty-Two-Bytes-In-All: and its value\r\n", "V: caf\u{e9}\r\n",
            ]).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::sample::select(vec![
                " folded\r\n", "Name : v\r\n", "NoColon\r\n", "A: b\nB: c\r\n", "A: b\rB: c\r\n", "N\0: v\r\n", ": v\r\n", "\r", "\n",
            ]).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ];
        (start, prop::collection::vec(piece, 0..12), prop::sample::select(vec!["\r\n", "\r\n", "\r\nbody", "\n", ""]))
            .prop_map(|(start, pieces, end)| [start.as_bytes(), &pieces.concat(), end.as_bytes()].concat())
    }

    /// What we accept, httparse accepts, and reads the same.
    fn agrees_with_httparse(kind: Kind, buf: &[u8]) {
        let (result, head) = read(kind, buf);
        if result != Ok(Progress::Done) {
            return;
        }
        let on = head.on(buf);
        let mut theirs = [httparse::EMPTY_HEADER; limits::FIELDS_MAX];
        let (len, minor, first, second) = match kind {
            Kind::Request => {
                let mut request = httparse::Request::new(&mut theirs);
                let status = request.parse(buf);
                let first = request.method.unwrap_or_default().to_owned();
                (status, request.version, first, request.path.unwrap_or_default().to_owned())
            }
            Kind::Reply => {
                let mut reply = httparse::Response::new(&mut theirs);
                let status = reply.parse(buf);
                (status, reply.version, reply.code.unwrap_or_default().to_string(), String::new())
            }
        };
        if len == Err(httparse::Error::Version) {
            // It knows no minor version above 1; that difference is meant.
            return;
        }
        assert_eq!(len, Ok(httparse::Status::Complete(head.len)));
        assert_eq!(minor, Some(u8::from(head.version == Version::H11)));
        match kind {
            Kind::Request => {
                assert_eq!(first.as_bytes(), on.method_bytes());
                assert_eq!(second.as_bytes(), on.target());
            }
            Kind::Reply => assert_eq!(first, head.status.to_string()),
        }
        for (i, (_, name, value)) in on.fields().enumerate() {
            assert_eq!((theirs[i].name.as_bytes(), theirs[i].value), (name, value));
        }
        assert!(theirs.get(head.fields.len()).is_none_or(|next| *next == httparse::EMPTY_HEADER));
    }

    fn agrees_with_itself(kind: Kind, buf: &[u8], cuts: &[usize]) {
        let (result, head) = read(kind, buf);
        let want = told(&result, &head, buf);
        let every: Vec<usize> = (0..buf.len()).collect();
        for cuts in [cuts, &every] {
            let (result, head) = read_cut(scan::Table, kind, buf, cuts);
            assert_eq!(told(&result, &head, buf), want, "scalar, cut at {cuts:?}");
            #[cfg(target_arch = "x86_64")]
            {
                let (result, head) = read_cut(scan::Sse2, kind, buf, cuts);
                assert_eq!(told(&result, &head, buf), want, "sse2, cut at {cuts:?}");
                let (mut parser, mut head) = (Parser::default(), Head::new());
                let mut result = Ok(Progress::Partial);
                for cut in cuts.iter().copied().chain([buf.len()]) {
                    if result == Ok(Progress::Partial) {
                        result = parser.read(kind, &buf[..cut], &mut head);
                    }
                }
                assert_eq!(told(&result, &head, buf), want, "widest, cut at {cuts:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_request_we_accept_httparse_reads_the_same(buf in heads(false)) {
            agrees_with_httparse(Kind::Request, &buf);
        }

        #[test]
        fn a_reply_we_accept_httparse_reads_the_same(buf in heads(true)) {
            agrees_with_httparse(Kind::Reply, &buf);
        }

        #[test]
        fn pieces_and_vectors_change_nothing(buf in heads(false), mut cuts in prop::collection::vec(0usize..600, 0..6)) {
            cuts.retain(|&cut| cut < buf.len());
            cuts.sort_unstable();
            agrees_with_itself(Kind::Request, &buf, &cuts);
        }

        #[test]
        fn pieces_and_vectors_change_nothing_in_replies(buf in heads(true), mut cuts in prop::collection::vec(0usize..600, 0..6)) {
            cuts.retain(|&cut| cut < buf.len());
            cuts.sort_unstable();
            agrees_with_itself(Kind::Reply, &buf, &cuts);
        }
    }
}
