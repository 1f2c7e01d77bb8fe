//! Calls in text: base64, padded where a message ends, so that one that has come can be read before the next does.

use crate::plugins::grpc::frames::Place;
use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;

/// The bytes of a text: pieces of base64, each of them padded where it must be. `None` where it is none.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let pad = rest.iter().position(|&byte| byte == b'=').unwrap_or(rest.len());
        // Up to the end of the group that the padding is in.
        let (piece, behind) = rest.split_at(rest.len().min((pad / 4 + 1) * 4));
        STANDARD.decode_vec(piece, &mut out).ok()?;
        rest = behind;
    }
    Some(out)
}

/// Writes a stream of messages as text. Holds back two bytes at most, and none at the end of a message.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    place: Place,
    /// What makes no whole group yet.
    held: Vec<u8>,
}

impl Encoder {
    /// Takes more of the stream.
    pub(super) fn put(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while !data.is_empty() {
            let (bytes, ends) = self.place.advance(data);
            self.held.extend_from_slice(&data[..bytes]);
            data = &data[bytes..];
            let ready = if ends { self.held.len() } else { self.held.len() / 3 * 3 };
            encode(&self.held[..ready], out);
            self.held.drain(..ready);
        }
    }

    /// The stream has ended, in the middle of a message maybe.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        encode(&self.held, out);
        self.held.clear();
    }
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    // There is room for all of it.
    let _ = STANDARD.encode_slice(bytes, &mut out[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::grpc::frames;

    #[test]
    fn a_message_ends_with_its_padding_however_it_is_cut() {
        let (mut stream, mut want) = (Vec::new(), Vec::new());
        for text in ["a", "bc", "def", ""] {
            let from = stream.len();
            frames::put(0, text.as_bytes(), &mut stream);
            want.extend(STANDARD.encode(&stream[from..]).into_bytes());
        }
        for cut in 0..=stream.len() {
            let (mut encoder, mut out) = (Encoder::default(), Vec::new());
            encoder.put(&stream[..cut], &mut out);
            encoder.put(&stream[cut..], &mut out);
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&want), "cut at {cut}");
            assert_eq!(decode(&out).as_deref(), Some(&stream[..]));
        }
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        encoder.put(&stream[..4], &mut out);
        encoder.flush(&mut out);
        assert_eq!(decode(&out).as_deref(), Some(&stream[..4]));
    }

    #[test]
    fn what_is_no_base64_is_no_text() {
        for text in ["a", "AAA", "A=AA", "AAAA=", "AA==A", "====", "AA A", "AA-_"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
        assert_eq!(decode(b"AA==AAA=\n").as_deref(), Some(&[0, 0, 0][..]));
    }
}
