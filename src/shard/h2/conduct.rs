//! How a client behaves, frame by frame: what RFC 9113 has an error for and the engine has another, or none. Streams that go on
//! behind their end (`opened`), header blocks that are none (`block`), a preface without settings.
//!
//! Not here: what frames cost (`sieve`), and all that the engine says as the RFC would have it said.

use super::block::Walk;
use super::opened::Opened;
use super::sieve::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HAS_PRIORITY, HEADERS, PADDED, PRIORITY_BYTES, PUSH_PROMISE,
    RST_STREAM, SETTINGS,
};
use crate::base::limits;
use h2::Reason;
use std::collections::VecDeque;

/// What a client has said so far.
#[derive(Default)]
pub(super) struct Conduct {
    /// Has its first SETTINGS come?
    greeted: bool,
    /// Has it acknowledged ours?
    acknowledged: bool,
    kind: u8,
    flags: u8,
    /// Of the block that was begun last.
    stream: u32,
    /// Is that a trailer section?
    trailers: bool,
    /// Is the length of the padding of HEADERS to come?
    padded: bool,
    /// How many bytes of padding the frame ends with.
    padding: u32,
    /// Of HEADERS, bytes of its priority to come.
    priority_left: usize,
    walk: Walk,
    opened: Opened,
    /// Streams to come whose heads are malformed, in order.
    malformed: VecDeque<u32>,
}

/// "Reserved: […] MUST be ignored when receiving" (RFC 9113 §4.1).
const STREAM_MAX: u32 = 0x7fff_ffff;

impl Conduct {
    /// Looks at the head of a frame. `in_block`: is a block begun, and not at its end?
    ///
    /// # Errors
    /// What the connection ends with.
    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, in_block: bool) -> Result<(), Reason> {
        (self.kind, self.flags) = (kind, flags);
        let stream = stream & STREAM_MAX;
        let is_first = !std::mem::replace(&mut self.greeted, true);
        // RFC 9113 §3.4: the preface "MUST be followed by a SETTINGS frame"; "Clients and servers MUST treat an invalid
        // connection preface as a connection error of type PROTOCOL_ERROR". And a client can promise nothing.
        if is_first && (kind != SETTINGS || flags & ACK != 0) || kind == PUSH_PROMISE {
            return Err(Reason::PROTOCOL_ERROR);
        }
        // RFC 9113 §6.10: nothing but its own CONTINUATION comes within a block.
        if in_block != (kind == CONTINUATION) || in_block && stream != self.stream {
            return Err(Reason::PROTOCOL_ERROR);
        }
        (self.padded, self.padding, self.priority_left) = (false, 0, 0);
        match kind {
            // RFC 9113 §5.1: for a frame other than those that may be late, "it MUST respond with a stream error of type
            // STREAM_CLOSED". No sound client sends any, so the connection ends.
            DATA | HEADERS if self.opened.is_over(stream) => return Err(Reason::STREAM_CLOSED),
            HEADERS => {
                self.stream = stream;
                self.trailers = !self.opened.open(stream);
                self.padded = flags & PADDED != 0;
                self.priority_left = if flags & HAS_PRIORITY == 0 { 0 } else { PRIORITY_BYTES };
            }
            _ => {}
        }
        if kind == RST_STREAM || flags & END_STREAM != 0 && matches!(kind, DATA | HEADERS) {
            self.opened.end(stream);
        }
        Ok(())
    }

    /// Is the frame an acknowledgement of nothing? Our settings are said once.
    pub(super) fn is_surplus(&mut self) -> bool {
        self.kind == SETTINGS && self.flags & ACK != 0 && std::mem::replace(&mut self.acknowledged, true)
    }

    /// Looks at a piece of HEADERS or CONTINUATION (RFC 9113 §6.2, §6.10), of which so many bytes are to come.
    ///
    /// # Errors
    /// What the connection ends with.
    pub(super) fn fields(&mut self, mut piece: &[u8], left: u32) -> Result<(), Reason> {
        if let (true, [padding, rest @ ..]) = (self.padded, piece) {
            (self.padded, self.padding, piece) = (false, u32::from(*padding), rest);
            // "Padding that exceeds the size remaining for the field block fragment MUST be treated as a PROTOCOL_ERROR."
            if self.padding + self.priority_left as u32 > left + rest.len() as u32 {
                return Err(Reason::PROTOCOL_ERROR);
            }
        }
        let priority = self.priority_left.min(piece.len());
        self.priority_left -= priority;
        let padding = self.padding.saturating_sub(left) as usize;
        let end = piece.len().saturating_sub(padding).max(priority);
        self.walk.feed(&piece[priority..end]).map_err(|_| Reason::COMPRESSION_ERROR)?;
        if left > 0 || self.flags & END_HEADERS == 0 {
            return Ok(());
        }
        let noted = self.walk.end().map_err(|_| Reason::COMPRESSION_ERROR)?;
        match self.trailers {
            // RFC 9113 §8.1: "Trailers MUST NOT include pseudo-header fields". The engine would drop them.
            true if noted.pseudo => Err(Reason::PROTOCOL_ERROR),
            false if noted.fragment && self.malformed.len() == limits::H2_STREAMS_MAX => Err(Reason::ENHANCE_YOUR_CALM),
            false if noted.fragment => {
                self.malformed.push_back(self.stream);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Is the head of this stream malformed, though the engine has taken it? To be asked once for each, in order.
    pub(super) fn is_malformed(&mut self, stream: u32) -> bool {
        while self.malformed.front().is_some_and(|malformed| *malformed < stream) {
            self.malformed.pop_front();
        }
        self.malformed.front() == Some(&stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Behind settings: HEADERS of stream 1, cut into pieces of `piece`.
    fn headers(flags: u8, payload: &[u8], piece: usize) -> Result<Conduct, Reason> {
        let mut conduct = Conduct::default();
        conduct.frame(SETTINGS, 0, 0, false)?;
        conduct.frame(HEADERS, END_HEADERS | flags, 1, false)?;
        let mut left = payload.len();
        for piece in payload.chunks(piece) {
            left -= piece.len();
            conduct.fields(piece, left as u32)?;
        }
        Ok(conduct)
    }

    #[test]
    fn a_block_is_read_between_priority_and_padding_however_it_is_cut() {
        let block = [3, 0, 0, 0, 1, 16, 0x82, 0x84, 0x86, 0x90, 0xff, 0xff, 0xff];
        let rows: [(u8, &[u8], Result<(), Reason>); 6] = [
            (PADDED | HAS_PRIORITY, &block, Ok(())),
            (PADDED, &[2, 0x82, 0, 0], Ok(())),
            (PADDED, &[0, 0x82], Ok(())),
            (PADDED, &[3, 0x82, 0], Err(Reason::PROTOCOL_ERROR)),
            (PADDED | HAS_PRIORITY, &[1, 0, 0, 0, 1, 16], Err(Reason::PROTOCOL_ERROR)),
            (HAS_PRIORITY, &[0, 0, 0, 1, 16, 0x80], Err(Reason::COMPRESSION_ERROR)),
        ];
        for (flags, payload, want) in rows {
            for piece in [1, 2, 5, 100] {
                assert_eq!(headers(flags, payload, piece).map(|_| ()), want, "{payload:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn streams_that_are_over_are_closed() {
        for kind in [DATA, HEADERS] {
            let mut conduct = headers(END_STREAM, &[0x82], 1).expect("a request");
            assert_eq!(conduct.frame(RST_STREAM, 0, 1, false), Ok(()));
            assert_eq!(conduct.frame(kind, END_HEADERS, 1, false), Err(Reason::STREAM_CLOSED));
        }
    }

    #[test]
    fn a_path_with_a_fragment_is_malformed_once() {
        let mut conduct = headers(END_STREAM, &[0x82, 4, 2, b'/', b'#'], 1).expect("a request");
        assert!(conduct.is_malformed(1) && !conduct.is_malformed(3) && !conduct.is_malformed(5));
    }
}
