//! Records of an established session: sealed into one buffer, opened where they lie (RFC 8446 §5, RFC 5246 §6.2.3.3 with
//! RFC 5288 and RFC 7905).
//!
//! The handshake is rustls'; what comes after it is protected here, because rustls allocates for every record both ways.
//! Nothing here does: a caller's bytes are encrypted from where they are into the buffer that is sent.
//! Not here: what alerts and handshake messages mean (`session.rs`).

use aws_lc_rs::aead::{Aad, Algorithm, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305};
use rustls::ConnectionTrafficSecrets;

/// What a record begins with: type, version, length.
pub const HEADER_BYTES: usize = 5;

/// Most payload of a record (RFC 8446 §5.1).
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;

/// Most bytes behind the header: payload and what protection adds (RFC 8446 §5.2). RFC 5246 allows 2048 more than the
/// payload, for ciphers that nobody offers here.
const SEALED_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 256;

/// The largest record, header and all.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + SEALED_BYTES_MAX;

/// Most that sealing adds to a payload: header, explicit nonce or inner type, tag.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + EXPLICIT_BYTES + TAG_BYTES;

const TAG_BYTES: usize = 16;
const EXPLICIT_BYTES: usize = 8;

/// Records under one AES-GCM key: 2²⁴·⁵ full ones are the bound of RFC 8446 §5.5; half of 2²⁴ is far from it.
const RECORDS_PER_KEY: u64 = 1 << 23;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `change_cipher_spec`; none is due any more.
    ChangeCipherSpec,
    /// An alert.
    Alert,
    /// Handshake messages, or pieces of them.
    Handshake,
    /// What it is all for.
    Data,
}

impl Content {
    fn of(byte: u8) -> Result<Content, Fault> {
        match byte {
            20 => Ok(Content::ChangeCipherSpec),
            21 => Ok(Content::Alert),
            22 => Ok(Content::Handshake),
            23 => Ok(Content::Data),
            _ => Err(Fault::Unexpected),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Content::ChangeCipherSpec => 20,
            Content::Alert => 21,
            Content::Handshake => 22,
            Content::Data => 23,
        }
    }
}

/// Why a session ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A record that was not made with the session's key: changed on its way, or out of order.
    Forged,
    /// A record longer than there are.
    Overflow,
    /// A record or message that has no place here.
    Unexpected,
    /// Message after message without a byte of data.
    Idle,
    /// The peer said so: its alert.
    Alert(u8),
    /// The key has protected as much as it may.
    Exhausted,
}

impl Fault {
    /// The alert that tells the peer; `None` where it was the peer's own.
    pub fn alert(self) -> Option<u8> {
        match self {
            Fault::Forged => Some(20),
            Fault::Overflow => Some(22),
            Fault::Unexpected | Fault::Idle => Some(10),
            Fault::Exhausted => Some(80),
            Fault::Alert(_) => None,
        }
    }

    /// For the log.
    pub fn text(self) -> &'static str {
        match self {
            Fault::Forged => "a record that fails its check",
            Fault::Overflow => "a record that is too long",
            Fault::Unexpected => "a message that is not due",
            Fault::Idle => "too many messages without data",
            Fault::Alert(_) => "an alert of the peer",
            Fault::Exhausted => "the session's key is used up",
        }
    }
}

/// Where the parts of a nonce and of a record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// TLS 1.3: type inside, nonce implied.
    Inner,
    /// TLS 1.2 with AES-GCM: eight bytes of the nonce in front.
    Explicit,
    /// TLS 1.2 with ChaCha20: nonce implied.
    Implied,
}

/// One direction's key.
pub(super) struct Key {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    shape: Shape,
    limited: bool,
}

impl Key {
    /// # Errors
    /// Where the secrets are of a kind that is not known here; there is none among the suites on offer.
    pub(super) fn new(secrets: &ConnectionTrafficSecrets, sequence: u64, tls13: bool) -> Result<Key, Fault> {
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Fault::Exhausted),
        };
        // A key of 128 bits may come in an array that has room for 256.
        let bytes = key.as_ref().get(..algorithm.key_len()).ok_or(Fault::Exhausted)?;
        let key = LessSafeKey::new(UnboundKey::new(algorithm, bytes).map_err(|_| Fault::Exhausted)?);
        let iv = iv.as_ref().try_into().map_err(|_| Fault::Exhausted)?;
        let gcm = !matches!(secrets, ConnectionTrafficSecrets::Chacha20Poly1305 { .. });
        let shape = match (tls13, gcm) {
            (true, _) => Shape::Inner,
            (false, true) => Shape::Explicit,
            (false, false) => Shape::Implied,
        };
        Ok(Key { key, iv, sequence, shape, limited: gcm })
    }

    /// Should it be replaced before the next record?
    pub(super) fn is_spent(&self) -> bool {
        self.limited && self.sequence >= RECORDS_PER_KEY
    }

    /// The nonce of the record that is due: the sequence number over the iv (RFC 8446 §5.3).
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, other)| *byte ^= other);
        nonce
    }

    /// What is authenticated beside a payload of `bytes` in TLS 1.2.
    fn associated(&self, content: u8, bytes: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..11].copy_from_slice(&[content, 3, 3]);
        aad[11..].copy_from_slice(&(bytes as u16).to_be_bytes());
        aad
    }

    /// Appends a record with `payload`, of at most [`PAYLOAD_BYTES_MAX`], to `out`.
    pub(super) fn seal(&mut self, content: Content, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        let nonce = self.nonce();
        let (ahead, behind, outer) = match self.shape {
            Shape::Inner => (0, 1 + TAG_BYTES, Content::Data.byte()),
            Shape::Explicit => (EXPLICIT_BYTES, TAG_BYTES, content.byte()),
            Shape::Implied => (0, TAG_BYTES, content.byte()),
        };
        let sealed = ahead + payload.len() + behind;
        let header = [outer, 3, 3, (sealed >> 8) as u8, sealed as u8];
        let at = out.len();
        out.extend_from_slice(&header);
        out.extend_from_slice(&nonce[12 - ahead..]);
        out.resize(at + HEADER_BYTES + sealed, 0);
        let body = &mut out[at + HEADER_BYTES + ahead..];
        let (text, tail) = body.split_at_mut(payload.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let done = match self.shape {
            Shape::Inner => {
                let inner = [content.byte()];
                self.key.seal_out_of_place_scatter(nonce, Aad::from(header), payload, text, &inner, tail)
            }
            Shape::Explicit | Shape::Implied => {
                let aad = Aad::from(self.associated(content.byte(), payload.len()));
                self.key.seal_out_of_place_scatter(nonce, aad, payload, text, &[], tail)
            }
        };
        self.sequence += 1;
        done.map_err(|_| {
            out.truncate(at);
            Fault::Exhausted
        })
    }

    /// Opens a whole record where it lies; what it holds, and where in `record` its payload is.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(Content, std::ops::Range<usize>), Fault> {
        let (header, body) = record.split_at_mut(HEADER_BYTES);
        let outer = header[0];
        let mut nonce = self.nonce();
        let (ahead, least) = match self.shape {
            Shape::Inner if outer != Content::Data.byte() => return Err(Fault::Unexpected),
            Shape::Inner => (0, TAG_BYTES + 1),
            Shape::Explicit => (EXPLICIT_BYTES, EXPLICIT_BYTES + TAG_BYTES),
            Shape::Implied => (0, TAG_BYTES),
        };
        if body.len() < least {
            return Err(Fault::Forged);
        }
        let (explicit, sealed) = body.split_at_mut(ahead);
        nonce[12 - ahead..].copy_from_slice(explicit);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = match self.shape {
            Shape::Inner => {
                let aad: [u8; HEADER_BYTES] = [header[0], header[1], header[2], header[3], header[4]];
                self.key.open_in_place(nonce, Aad::from(aad), sealed)
            }
            Shape::Explicit | Shape::Implied => {
                let aad = self.associated(outer, sealed.len() - TAG_BYTES);
                self.key.open_in_place(nonce, Aad::from(aad), sealed)
            }
        };
        let text = opened.map_err(|_| Fault::Forged)?;
        self.sequence += 1;
        let start = HEADER_BYTES + ahead;
        let (content, bytes) = match self.shape {
            // RFC 8446 §5.4: zeros may follow the type; a record of zeros alone is an error.
            Shape::Inner => {
                let last = text.iter().rposition(|&byte| byte != 0).ok_or(Fault::Unexpected)?;
                (Content::of(text[last])?, last)
            }
            Shape::Explicit | Shape::Implied => (Content::of(outer)?, text.len()),
        };
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(Fault::Overflow);
        }
        Ok((content, start..start + bytes))
    }
}

/// Bytes of the record that `bytes` begin with, its header included; `None` before that is known.
///
/// # Errors
/// A length that no record has.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > SEALED_BYTES_MAX {
        return Err(Fault::Overflow);
    }
    Ok(Some(HEADER_BYTES + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::cipher::{AeadKey, Iv};

    fn secrets(kind: usize) -> ConnectionTrafficSecrets {
        let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
        match kind {
            0 => ConnectionTrafficSecrets::Aes128Gcm { key, iv },
            1 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
            _ => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
        }
    }

    fn pair(kind: usize, tls13: bool) -> (Key, Key) {
        let key = || Key::new(&secrets(kind), 3, tls13).expect("a known kind");
        (key(), key())
    }

    #[test]
    fn what_is_sealed_opens_to_the_same() {
        for kind in 0..3 {
            for tls13 in [false, true] {
                let (mut ours, mut theirs) = pair(kind, tls13);
                for bytes in [0, 1, 200, PAYLOAD_BYTES_MAX] {
                    let (payload, mut out) = (vec![b'x'; bytes], Vec::new());
                    ours.seal(Content::Data, &payload, &mut out).expect("seals");
                    assert!(out.len() <= bytes + OVERHEAD_BYTES);
                    assert_eq!(length(&out), Ok(Some(out.len())));
                    let (content, at) = theirs.open(&mut out).expect("opens");
                    assert_eq!((content, &out[at]), (Content::Data, &*payload), "{kind} {tls13}");
                }
            }
        }
    }

    #[test]
    fn a_record_changed_repeated_or_cut_is_forged() {
        for kind in 0..3 {
            for tls13 in [false, true] {
                let (mut ours, _) = pair(kind, tls13);
                let mut out = Vec::new();
                ours.seal(Content::Data, b"hello", &mut out).expect("seals");
                for at in 0..out.len() {
                    let mut changed = out.clone();
                    changed[at] ^= 1;
                    let (_, mut theirs) = pair(kind, tls13);
                    // The version and length of TLS 1.2's header are not taken from the record.
                    let same = !tls13 && (1..5).contains(&at);
                    assert_eq!(theirs.open(&mut changed).is_ok(), same, "{kind} {tls13} at {at}");
                }
                let (_, mut theirs) = pair(kind, tls13);
                assert!(theirs.open(&mut out.clone()).is_ok());
                assert_eq!(theirs.open(&mut out.clone()), Err(Fault::Forged), "a repeated record");
                let (_, mut theirs) = pair(kind, tls13);
                for end in HEADER_BYTES..out.len() {
                    assert!(theirs.open(&mut out[..end].to_vec()).is_err(), "cut at {end}");
                }
            }
        }
    }

    #[test]
    fn zeros_behind_the_type_are_no_payload() {
        let (ours, mut theirs) = pair(0, true);
        let header = [23, 3, 3, 0, 3 + 1 + 4 + 16];
        let mut text = b"abc\x17\0\0\0\0".to_vec();
        let nonce = Nonce::assume_unique_for_key(ours.nonce());
        ours.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut text).expect("seals");
        let mut record = [&header[..], &text].concat();
        let (content, at) = theirs.open(&mut record).expect("opens");
        assert_eq!((content, &record[at]), (Content::Data, &b"abc"[..]));
    }

    #[test]
    fn a_length_beyond_all_is_refused_by_its_header() {
        assert_eq!(length(&[23, 3, 3, 0x41]), Ok(None));
        assert_eq!(length(&[23, 3, 3, 0x41, 0]), Ok(Some(RECORD_BYTES_MAX)));
        assert_eq!(length(&[23, 3, 3, 0x41, 1]), Err(Fault::Overflow));
    }
}
