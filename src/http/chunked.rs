//! The chunked coding (RFC 9112 §7.1), strictly: incremental, a few words of state, no copy of the payload.
//!
//! The decoder hands out ranges of the input that are payload; the relay passes them on and frames them anew, so that
//! extensions, odd spellings of sizes and forbidden trailers end here. Not here: where the bytes come from.

use super::headers::{self, Known, TrailerRule};
use super::{parse, scan, Fault};
use crate::base::limits;
use std::ops::Range;

/// What one call of [`Decoder::step`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first `used` bytes are dealt with; more input is needed. Bytes after `used` (of an unfinished trailer
    /// section) must be given again, with more behind them.
    NeedMore {
        /// Bytes to forget.
        used: usize,
    },
    /// `input[data]` is payload, never empty, and all before its end is dealt with.
    Data {
        /// Where the payload is.
        data: Range<usize>,
    },
    /// The body is over.
    Done {
        /// Bytes of the input that belonged to the body.
        used: usize,
        /// The trailer section without its final empty line: checked field lines, often none. See [`write_end`].
        trailers: Range<usize>,
    },
}

/// The state between two pieces of input. 40 bytes.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    /// Digits of the size read so far.
    digits: u8,
    /// Bytes of the size line read so far.
    line: u16,
    /// Extension bytes of the whole body.
    extensions: u32,
    /// Size being read, or payload bytes left of the chunk.
    left: u64,
    /// Trailers: start of the line being read and first byte not looked at, counted from the section's start.
    trailer_line: u32,
    trailer_seen: u32,
    trailer_count: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    ExpectSize,
    /// White space after the size: only allowed when a `;` follows (BWS).
    ExpectSemicolon,
    ExpectName,
    InName,
    ExpectEquals,
    ExpectValue,
    InValue,
    InQuotes,
    InEscape,
    AfterQuotes,
    ExpectSizeLf,
    InData,
    ExpectDataCr,
    ExpectDataLf,
    InTrailers,
    Done,
}

impl Decoder {
    /// Before the first chunk.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Payload bytes of the current chunk that have not been handed out: so many may be moved on without looking, when
    /// they are accounted for by [`Decoder::skip`].
    pub fn payload_left(&self) -> u64 {
        if self.state == State::InData {
            self.left
        } else {
            0
        }
    }

    /// Says that `count` payload bytes went by without [`Decoder::step`]; at most [`Decoder::payload_left`].
    pub fn skip(&mut self, count: u64) {
        debug_assert!(count <= self.payload_left());
        self.take(count.min(self.payload_left()));
    }

    /// Whether the body is over.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on. `input` begins where the last step ended (`used`, or the end of its `data`).
    ///
    /// Stops at each stretch of payload, so a caller loops until `NeedMore` or `Done`.
    /// # Errors
    /// The first byte that breaks the grammar or a limit; nothing of the body can be trusted after it.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::InData => {
                    let len = self.left.min((input.len() - at) as u64);
                    self.take(len);
                    return Ok(Step::Data { data: at..at + len as usize });
                }
                State::InTrailers => return self.trailers(input, at),
                State::Done => return Ok(Step::Done { used: at, trailers: at..at }),
                _ => self.framing(input[at])?,
            }
            at += 1;
        }
        Ok(Step::NeedMore { used: at })
    }

    fn take(&mut self, count: u64) {
        self.left -= count;
        if self.state == State::InData && self.left == 0 {
            self.state = State::ExpectDataCr;
        }
    }

    /// One byte that is neither payload nor trailer.
    fn framing(&mut self, byte: u8) -> Result<(), Fault> {
        match self.state {
            State::ExpectDataCr | State::ExpectDataLf => {
                let (want, next) = match self.state {
                    State::ExpectDataCr => (b'\r', State::ExpectDataLf),
                    _ => (b'\n', State::ExpectSize),
                };
                if byte != want {
                    return Err(Fault::ChunkEnd);
                }
                self.state = next;
                return Ok(());
            }
            State::ExpectSizeLf => {
                if byte != b'\n' {
                    return Err(Fault::BareCr);
                }
                self.state = if self.left == 0 { State::InTrailers } else { State::InData };
                (self.digits, self.line) = (0, 0);
                return Ok(());
            }
            _ => {}
        }
        self.line += 1;
        if usize::from(self.line) > limits::CHUNK_LINE_BYTES_MAX {
            return Err(Fault::ChunkExtensionTooLong);
        }
        if self.state == State::ExpectSize {
            if let Some(digit) = char::from(byte).to_digit(16) {
                // 16 digits hold 2⁶⁴ − 1; leading zeros count, or a line of zeros would never end.
                self.digits += 1;
                self.left = self.left << 4 | u64::from(digit);
                if self.digits > 16 || self.left > i64::MAX as u64 {
                    return Err(Fault::ChunkSizeTooLarge);
                }
                return Ok(());
            }
        } else {
            self.extensions += 1;
            if self.extensions as usize > limits::CHUNK_EXTENSION_BYTES_MAX {
                return Err(Fault::ChunkExtensionTooLong);
            }
        }
        self.state = self.after(byte)?;
        Ok(())
    }

    /// `chunk-size *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF`, one byte further. Extensions
    /// are read only to be sure where the line ends: "A recipient MUST ignore unrecognized chunk extensions."
    fn after(&self, byte: u8) -> Result<State, Fault> {
        use State::*;
        let fault = match self.state {
            ExpectSize | ExpectSemicolon => Fault::ChunkSize,
            _ => Fault::ChunkExtension,
        };
        Ok(match (self.state, byte) {
            (ExpectSize, _) if self.digits == 0 => return Err(Fault::ChunkSize),
            (ExpectSize | InName | InValue | AfterQuotes, b'\r') => ExpectSizeLf,
            (ExpectSize | ExpectSemicolon | InName | ExpectEquals | InValue | AfterQuotes, b';') => ExpectName,
            (ExpectSize | ExpectSemicolon | InValue | AfterQuotes, b' ' | b'\t') => ExpectSemicolon,
            (ExpectName | ExpectEquals | ExpectValue, b' ' | b'\t') => self.state,
            (InName, b' ' | b'\t') => ExpectEquals,
            (InName | ExpectEquals, b'=') => ExpectValue,
            (ExpectName | InName, _) if scan::is_token(byte) => InName,
            (ExpectValue, b'"') => InQuotes,
            (ExpectValue | InValue, _) if scan::is_token(byte) => InValue,
            (InQuotes, b'"') => AfterQuotes,
            (InQuotes, b'\\') => InEscape,
            (InQuotes | InEscape, _) if !scan::is_control(byte) => InQuotes,
            (_, b'\n') => return Err(Fault::BareLf),
            _ => return Err(fault),
        })
    }

    /// The trailer section begins at `start`; it is given out whole.
    fn trailers(&mut self, input: &[u8], start: usize) -> Result<Step, Fault> {
        let section = &input[start..];
        while let Some(found) = memchr::memchr(b'\n', &section[self.trailer_seen as usize..]) {
            let line_at = self.trailer_line as usize;
            let lf = self.trailer_seen as usize + found;
            if lf + 1 > limits::TRAILER_BYTES_MAX {
                return Err(Fault::TrailerTooLarge);
            }
            let Some(line) = section[line_at..lf].strip_suffix(b"\r") else { return Err(Fault::BareLf) };
            if line.is_empty() {
                self.state = State::Done;
                return Ok(Step::Done { used: start + lf + 1, trailers: start..start + line_at });
            }
            let (name, _) = parse::field_line(line)?;
            if headers::trailer_rule(Known::classify(name)) == TrailerRule::Refuse {
                return Err(Fault::TrailerForbidden);
            }
            self.trailer_count += 1;
            if self.trailer_count as usize > limits::FIELDS_MAX {
                return Err(Fault::TrailerTooLarge);
            }
            self.trailer_line = lf as u32 + 1;
            self.trailer_seen = self.trailer_line;
        }
        if section.len() >= limits::TRAILER_BYTES_MAX {
            return Err(Fault::TrailerTooLarge);
        }
        self.trailer_seen = section.len() as u32;
        Ok(Step::NeedMore { used: start })
    }
}

/// Appends the size line of a chunk of `len` bytes, which the caller puts behind it, and then [`CHUNK_END`]. `len` is
/// not 0: that would end the body.
pub fn encode_size(len: u64, out: &mut Vec<u8>) {
    debug_assert!(len > 0);
    let mut line = [0; 18];
    let mut at = 16;
    line[16..].copy_from_slice(b"\r\n");
    let mut left = len;
    while left > 0 {
        at -= 1;
        line[at] = b"0123456789abcdef"[(left & 15) as usize];
        left >>= 4;
    }
    out.extend_from_slice(&line[at..]);
}

/// What follows the payload of every chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The end of a body without trailers.
pub const BODY_END: &[u8] = b"0\r\n\r\n";

/// Appends the last chunk and, in normal form, the trailer fields that may be passed on. `trailers` are the checked lines
/// of [`Step::Done`].
pub fn write_end(trailers: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for line in trailers.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok((name, value)) = parse::field_line(line) else { continue };
        if headers::trailer_rule(Known::classify(name)) == TrailerRule::Forward {
            super::encode::field(name, value, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Payload, trailers and bytes used.
    type Body = (Vec<u8>, Vec<u8>, usize);
    /// Payload, trailers and what is left behind the body, as text.
    type Told<'a> = (&'a str, &'a str, &'a str);

    /// Feeds `input` in pieces of at most `piece` bytes; gives the payload, the trailers and how much was used.
    fn decode(input: &[u8], piece: usize) -> Result<Option<Body>, Fault> {
        let mut decoder = Decoder::new();
        let mut payload = Vec::new();
        let (mut at, mut end) = (0, 0);
        loop {
            let window = &input[at..end];
            match decoder.step(window)? {
                Step::Data { data } => {
                    assert!(!data.is_empty());
                    payload.extend_from_slice(&window[data.clone()]);
                    at += data.end;
                }
                Step::Done { used, trailers } => {
                    return Ok(Some((payload, window[trailers].to_vec(), at + used)));
                }
                Step::NeedMore { used } => {
                    at += used;
                    if end == input.len() {
                        return Ok(None);
                    }
                    end = (end + piece).min(input.len());
                }
            }
        }
    }

    #[track_caller]
    fn check(input: &str, want: Result<Option<Told<'_>>, Fault>) {
        let want = want.map(|whole| {
            whole.map(|(payload, trailers, rest)| {
                (payload.as_bytes().to_vec(), trailers.as_bytes().to_vec(), input.len() - rest.len())
            })
        });
        for piece in [usize::MAX / 2, 1, 2, 3, 7] {
            assert_eq!(decode(input.as_bytes(), piece), want, "{input:?} in pieces of {piece}");
        }
    }

    #[test]
    fn chunks_are_read_or_refused_for_the_right_reason() {
        let long_name = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(limits::CHUNK_LINE_BYTES_MAX));
        let line = format!("1;{}\r\nx\r\n", "e".repeat(200));
        let many = line.repeat(limits::CHUNK_EXTENSION_BYTES_MAX / 200 + 1);
        let trailer = format!("0\r\nA: {}\r\n\r\n", "v".repeat(limits::TRAILER_BYTES_MAX));
        let lines = format!("0\r\n{}\r\n", "a:\r\n".repeat(limits::FIELDS_MAX + 1));
        let rows: &[(&str, Result<Option<Told<'_>>, Fault>)] = &[
            ("0\r\n\r\n", Ok(Some(("", "", "")))),
            ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", Ok(Some(("hello world", "", "GET")))),
            ("A\r\n0123456789\r\n000\r\n\r\n", Ok(Some(("0123456789", "", "")))),
            ("0000000000000001\r\nx\r\n0\r\n\r\n", Ok(Some(("x", "", "")))),
            ("1;a\r\nx\r\n0;b=c\r\n\r\n", Ok(Some(("x", "", "")))),
            ("1; some; parameters = stuff\r\nx\r\n0\r\n\r\n", Ok(Some(("x", "", "")))),
            ("1 \t; a\r\nx\r\n0\r\n\r\n", Ok(Some(("x", "", "")))),
            ("1;a=\"\\\"q; \\\\\u{e9}\\\"\";b\r\nx\r\n0\r\n\r\n", Ok(Some(("x", "", "")))),
            ("1;a=\"\" ;b\r\nx\r\n0\r\n\r\n", Ok(Some(("x", "", "")))),
            ("0\r\nA: b\r\nC:d \r\n\r\nrest", Ok(Some(("", "A: b\r\nC:d \r\n", "rest")))),
            ("0\r\nVary: *\r\nContent-Type: x\r\n\r\n", Ok(Some(("", "Vary: *\r\nContent-Type: x\r\n", "")))),
            ("", Ok(None)),
            ("5\r\nhel", Ok(None)),
            ("3\r\nfoo\r\n", Ok(None)),
            ("0\r\n", Ok(None)),
            ("0\r\nA: b\r\n", Ok(None)),
            ("\r\n", Err(Fault::ChunkSize)),
            ("x\r\n", Err(Fault::ChunkSize)),
            ("-1\r\n", Err(Fault::ChunkSize)),
            ("+1\r\n", Err(Fault::ChunkSize)),
            ("0x1\r\n", Err(Fault::ChunkSize)),
            ("1_0\r\n", Err(Fault::ChunkSize)),
            (" 1\r\n", Err(Fault::ChunkSize)),
            ("1 \r\n", Err(Fault::ChunkSize)),
            ("1\t\r\n", Err(Fault::ChunkSize)),
            ("1 a\r\n", Err(Fault::ChunkSize)),
            (";a\r\n", Err(Fault::ChunkSize)),
            ("1\n", Err(Fault::BareLf)),
            ("1\rx", Err(Fault::BareCr)),
            ("1\r\r\n", Err(Fault::BareCr)),
            ("00000000000000001\r\n", Err(Fault::ChunkSizeTooLarge)),
            ("8000000000000000\r\n", Err(Fault::ChunkSizeTooLarge)),
            ("fffffffffffffffff\r\n", Err(Fault::ChunkSizeTooLarge)),
            ("2;\r\naa\r\n", Err(Fault::ChunkExtension)),
            ("2;;a\r\naa\r\n", Err(Fault::ChunkExtension)),
            ("2;=a\r\n", Err(Fault::ChunkExtension)),
            ("2;a=\r\n", Err(Fault::ChunkExtension)),
            ("2;a b\r\n", Err(Fault::ChunkExtension)),
            ("2;a=b c\r\n", Err(Fault::ChunkSize)),
            ("2;a \r\n", Err(Fault::ChunkExtension)),
            ("2;a=\"b\r\n", Err(Fault::ChunkExtension)),
            ("2;a=\"b\"c\r\n", Err(Fault::ChunkExtension)),
            ("2;a=\"\x01\"\r\n", Err(Fault::ChunkExtension)),
            ("2;a\0\r\n", Err(Fault::ChunkExtension)),
            ("2;a\nb\r\n", Err(Fault::BareLf)),
            ("5;ext=val\rue\r\n", Err(Fault::BareCr)),
            ("2\r\naaX", Err(Fault::ChunkEnd)),
            ("2\r\naaa\r\n", Err(Fault::ChunkEnd)),
            ("2\r\naa\n", Err(Fault::ChunkEnd)),
            ("2\r\naa\rX", Err(Fault::ChunkEnd)),
            ("0\r\n\n", Err(Fault::BareLf)),
            ("0\r\nA: b\n\r\n", Err(Fault::BareLf)),
            ("0\r\nA: b\rc\r\n\r\n", Err(Fault::BareCr)),
            ("0\r\nA : b\r\n\r\n", Err(Fault::SpaceBeforeColon)),
            ("0\r\n folded: b\r\n\r\n", Err(Fault::Fold)),
            ("0\r\nGET / HTTP/1.1\r\n\r\n", Err(Fault::SpaceBeforeColon)),
            ("0\r\nX\r\n\r\n", Err(Fault::NoColon)),
            ("0\r\nA: \0\r\n\r\n", Err(Fault::FieldValue)),
            ("0\r\nContent-Length: 99\r\n\r\n", Err(Fault::TrailerForbidden)),
            ("0\r\nA: b\r\nhost: x\r\n\r\n", Err(Fault::TrailerForbidden)),
            ("0\r\nTransfer_Encoding: x\r\n\r\n", Err(Fault::TrailerForbidden)),
            (&long_name, Err(Fault::ChunkExtensionTooLong)),
            (&many, Err(Fault::ChunkExtensionTooLong)),
            (&trailer, Err(Fault::TrailerTooLarge)),
            (&lines, Err(Fault::TrailerTooLarge)),
        ];
        for &(input, want) in rows {
            check(input, want);
        }
    }

    #[test]
    fn payload_may_go_by_without_the_decoder() {
        let mut decoder = Decoder::new();
        assert_eq!(decoder.payload_left(), 0);
        assert_eq!(decoder.step(b"5\r\n"), Ok(Step::NeedMore { used: 3 }));
        assert_eq!(decoder.payload_left(), 5);
        decoder.skip(4);
        assert_eq!(decoder.step(b"o\r\n0\r\n\r\n"), Ok(Step::Data { data: 0..1 }));
        assert_eq!(decoder.payload_left(), 0);
        assert_eq!(decoder.step(b"\r\n0\r\n\r\nx"), Ok(Step::Done { used: 7, trailers: 5..5 }));
        assert!(decoder.is_done());
    }

    #[test]
    fn the_end_carries_only_trailers_that_may_be_trailers() {
        let rows: &[(&str, &str)] = &[
            ("", "0\r\n\r\n"),
            ("Server-Timing:  a \r\nVary: *\r\nX: y\r\nSet-Cookie: s\r\n", "0\r\nServer-Timing: a\r\nX: y\r\n\r\n"),
        ];
        for &(trailers, want) in rows {
            let mut out = Vec::new();
            write_end(trailers.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8),
            piece in 1usize..64,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                encode_size(chunk.len() as u64, &mut wire);
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(CHUNK_END);
            }
            write_end(b"", &mut wire);
            prop_assert_eq!(decode(&wire, piece), Ok(Some((chunks.concat(), Vec::new(), wire.len()))));
        }

        #[test]
        fn pieces_change_nothing(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "5\r\nhello\r\n", "0\r\n", "\r\n", "1;a=\"b\"\r\nx\r\n", "A: b\r\n", ";", " ", "\n", "\r", "3\r\n", "ff", "abc",
            ]), 0..12),
            piece in 1usize..9,
        ) {
            let input = pieces.concat();
            prop_assert_eq!(decode(input.as_bytes(), piece), decode(input.as_bytes(), usize::MAX / 2));
        }

        #[test]
        fn sizes_are_read_as_they_are_written(size in 1..=i64::MAX as u64) {
            let mut line = Vec::new();
            encode_size(size, &mut line);
            let text = format!("{size:x}\r\n");
            prop_assert_eq!(&line, text.as_bytes());
            let mut decoder = Decoder::new();
            prop_assert_eq!(decoder.step(&line), Ok(Step::NeedMore { used: line.len() }));
            prop_assert_eq!(decoder.payload_left(), size);
        }
    }
}
