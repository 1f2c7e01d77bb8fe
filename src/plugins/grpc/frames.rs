//! Messages of gRPC in a body: a byte of flags, four of length, then so many bytes.

use crate::base::limits::GRPC_MESSAGE_BYTES_MAX;
use crate::hook::Unfit;

/// Bytes before a message.
pub(in crate::plugins) const HEAD_BYTES: usize = 5;

/// The flag of a message that holds trailers: gRPC-Web's.
pub(in crate::plugins) const TRAILERS: u8 = 0x80;

/// Appends a message with its head.
pub(in crate::plugins) fn put(flags: u8, message: &[u8], out: &mut Vec<u8>) {
    out.push(flags);
    out.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(message);
}

/// The one message of a body that holds one, whole and plain.
pub(in crate::plugins) fn only(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_first_chunk::<HEAD_BYTES>()?;
    let [flags, length @ ..] = *head;
    (flags == 0 && u32::from_be_bytes(length) as usize == message.len()).then_some(message)
}

/// Where in a stream of messages its pieces are. Keeps no message.
#[derive(Debug, Default)]
pub(in crate::plugins) struct Place {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come.
    had: usize,
    /// Bytes of the message that are to come, once the head is whole.
    left: u32,
}

impl Place {
    /// Goes on through `data`, up to the end of a message at most: how far, and whether one ends there.
    pub(in crate::plugins) fn advance(&mut self, data: &[u8]) -> (usize, bool) {
        let mut at = 0;
        if self.had < HEAD_BYTES {
            at = data.len().min(HEAD_BYTES - self.had);
            self.head[self.had..self.had + at].copy_from_slice(&data[..at]);
            self.had += at;
            if self.had < HEAD_BYTES {
                return (at, false);
            }
            let [_, length @ ..] = self.head;
            self.left = u32::from_be_bytes(length);
        }
        let more = (data.len() - at).min(self.left as usize);
        self.left -= more as u32;
        if self.left == 0 {
            self.had = 0;
            return (at + more, true);
        }
        (at + more, false)
    }
}

/// Messages of a stream, each whole. Keeps one, of at most [`GRPC_MESSAGE_BYTES_MAX`].
#[derive(Debug, Default)]
pub(in crate::plugins) struct Messages {
    held: Vec<u8>,
    place: Place,
}

impl Messages {
    /// Takes more of the stream and gives each message that is whole by it.
    ///
    /// # Errors
    /// A message that is too large, or compressed, or `each`'s own.
    pub(in crate::plugins) fn take(
        &mut self,
        mut data: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        while !data.is_empty() {
            let (bytes, ends) = self.place.advance(data);
            self.held.extend_from_slice(&data[..bytes]);
            data = &data[bytes..];
            if self.held.len() > HEAD_BYTES + GRPC_MESSAGE_BYTES_MAX {
                return Err(Unfit);
            }
            if ends {
                each(only(&self.held).ok_or(Unfit)?)?;
                self.held.clear();
            }
        }
        Ok(())
    }

    /// Is a message only half there?
    pub(in crate::plugins) fn is_midway(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let mut stream = Vec::new();
        ["one", "", "three"].iter().for_each(|text| put(0, text.as_bytes(), &mut stream));
        for cut in 0..=stream.len() {
            let (mut messages, mut got) = (Messages::default(), Vec::new());
            for piece in [&stream[..cut], &stream[cut..]] {
                messages
                    .take(piece, |message| {
                        got.push(message.to_vec());
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(got, [&b"one"[..], b"", b"three"], "cut at {cut}");
            assert!(!messages.is_midway());
        }
    }

    #[test]
    fn what_is_no_plain_message_is_unfit() {
        let mut compressed = Vec::new();
        put(1, b"x", &mut compressed);
        assert_eq!(Messages::default().take(&compressed, |_| Ok(())), Err(Unfit));
        assert_eq!((only(&compressed), only(b"\0\0\0\0\x02x"), only(b"\0\0\0\0\x01xy")), (None, None, None));
        let mut large = Messages::default();
        let head = u32::try_from(GRPC_MESSAGE_BYTES_MAX + 1).unwrap().to_be_bytes();
        assert_eq!(large.take(&[&[0], &head[..]].concat(), |_| Ok(())), Ok(()));
        assert_eq!(large.take(&vec![0; GRPC_MESSAGE_BYTES_MAX + 1], |_| Ok(())), Err(Unfit));
    }
}
