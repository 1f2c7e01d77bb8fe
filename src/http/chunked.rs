//! Takes chunks apart (RFC 9112 §7.1), a few bytes or many at a time.

use super::headers::{self, TrailerRule};
use super::{Fault, Head, Known};
use crate::base::limits::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// What a look at more input has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Payload: `len` bytes from `at` on. Everything up to its end is used.
    Data {
        /// Framing before it, bytes.
        at: usize,
        /// Its length.
        len: usize,
    },
    /// The input is used up to here; more is needed.
    More {
        /// Bytes used.
        used: usize,
    },
    /// The body has ended.
    Done {
        /// Bytes used.
        used: usize,
    },
}

/// The state between two looks.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    /// Bytes of payload left in this chunk.
    left: u64,
    digits: u8,
    line_bytes: usize,
    extension_bytes: usize,
    /// The trailer section as it is read; then the lines that are passed on.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    ExpectSize,
    ExpectExtension,
    /// In a quoted string of an extension.
    ExpectQuote,
    /// Behind a backslash in one.
    ExpectEscaped,
    ExpectSizeLf,
    ExpectData,
    ExpectDataCr,
    ExpectDataLf,
    ExpectTrailer,
}

impl Decoder {
    /// Looks at more input.
    ///
    /// # Errors
    /// What is no chunk. The connection is of no use then.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            match self.state {
                State::ExpectData => {
                    let len = (input.len() - used).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= len as u64;
                    if self.left == 0 {
                        self.state = State::ExpectDataCr;
                    }
                    return Ok(Step::Data { at: used, len });
                }
                State::ExpectTrailer => {
                    used += 1;
                    self.trailers.push(byte);
                    if self.trailers.len() > TRAILER_BYTES_MAX {
                        return Err(Fault::TrailerTooLarge);
                    }
                    if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                        self.end()?;
                        return Ok(Step::Done { used });
                    }
                    continue;
                }
                _ => {}
            }
            used += 1;
            self.framing(byte)?;
        }
        Ok(Step::More { used })
    }

    fn framing(&mut self, byte: u8) -> Result<(), Fault> {
        if !matches!(self.state, State::ExpectDataCr | State::ExpectDataLf) {
            self.line_bytes += 1;
            if self.line_bytes > CHUNK_LINE_BYTES_MAX {
                return Err(Fault::ChunkExtensionTooLong);
            }
        }
        match self.state {
            State::ExpectSize => match (byte, (byte as char).to_digit(16)) {
                (_, Some(digit)) => {
                    self.digits += 1;
                    self.left = self.left << 4 | u64::from(digit);
                    if self.digits > 16 || self.left > i64::MAX as u64 {
                        return Err(Fault::ChunkSizeTooLarge);
                    }
                }
                _ if self.digits == 0 => return Err(Fault::ChunkSize),
                (b'\r', _) => self.state = State::ExpectSizeLf,
                (b';', _) => self.state = State::ExpectExtension,
                _ => return Err(Fault::ChunkSize),
            },
            State::ExpectExtension | State::ExpectQuote | State::ExpectEscaped => {
                self.extension_bytes += 1;
                if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
                    return Err(Fault::ChunkExtensionTooLong);
                }
                self.state = match (self.state, byte) {
                    (State::ExpectExtension, b'\r') => State::ExpectSizeLf,
                    (State::ExpectExtension, b'"') => State::ExpectQuote,
                    (State::ExpectQuote, b'"') => State::ExpectExtension,
                    (State::ExpectQuote, b'\\') => State::ExpectEscaped,
                    (State::ExpectEscaped, b' '..=b'~') => State::ExpectQuote,
                    (State::ExpectQuote, b' '..=b'~' | b'\t') => State::ExpectQuote,
                    (State::ExpectExtension, b'=' | b';') => State::ExpectExtension,
                    (State::ExpectExtension, byte) if super::parse::TOKEN[usize::from(byte)] => State::ExpectExtension,
                    _ => return Err(Fault::ChunkExtension),
                };
            }
            State::ExpectSizeLf if byte == b'\n' => {
                self.state = if self.left == 0 { State::ExpectTrailer } else { State::ExpectData };
                self.digits = 0;
                self.line_bytes = 0;
            }
            State::ExpectDataCr if byte == b'\r' => self.state = State::ExpectDataLf,
            State::ExpectDataLf if byte == b'\n' => self.state = State::ExpectSize,
            State::ExpectSizeLf => return Err(Fault::ChunkExtension),
            State::ExpectDataCr | State::ExpectDataLf => return Err(Fault::ChunkEnd),
            State::ExpectData | State::ExpectTrailer => {}
        }
        Ok(())
    }

    /// Checks the trailer section and leaves the lines that are passed on.
    fn end(&mut self) -> Result<(), Fault> {
        let section = std::mem::take(&mut self.trailers);
        if section == b"\r\n" {
            return Ok(());
        }
        // A head with a first line of our own, so that the same rules hold for its fields.
        let mut message = b"HTTP/1.1 200 \r\n".to_vec();
        message.extend_from_slice(&section);
        let mut head = Head::new();
        super::parse::Parser::default().reply(&message, &mut head)?;
        for (field, name, value) in head.on(&message).fields() {
            match headers::trailer_rule(field.id) {
                TrailerRule::Refuse => return Err(Fault::TrailerForbidden),
                TrailerRule::Discard => {}
                TrailerRule::Forward => {
                    debug_assert!(field.id != Known::Host);
                    self.trailers.extend_from_slice(name);
                    self.trailers.extend_from_slice(b": ");
                    self.trailers.extend_from_slice(value);
                    self.trailers.extend_from_slice(b"\r\n");
                }
            }
        }
        Ok(())
    }

    /// The trailer lines that are passed on, each with its CRLF; empty before the end.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }
}

/// Appends a chunk's first line.
pub fn encode_size(bytes: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 16];
    let mut at = digits.len();
    let mut rest = bytes;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}
