//! Which of its streams a client has ended: frames for those are its fault (RFC 9113 §5.1), and the engine has no error of its
//! own for them.

use crate::base::limits;

/// Which of the streams opened last the client has ended.
#[derive(Clone, Copy, Default)]
pub(super) struct Opened {
    /// The last stream opened.
    last: u32,
    /// A bit for each of the streams up to it, at its number; older ones are forgotten, and left to the engine.
    over: [u64; OPENED / 64],
}

/// How many are remembered: twice what may be open, so that those that end late are there.
const OPENED: usize = limits::H2_STREAMS_MAX * 2;
const _: () = assert!(OPENED.is_power_of_two() && OPENED >= 64, "a stream's bit is found by its number");

impl Opened {
    fn bit(stream: u32) -> (usize, u64) {
        let at = (stream / 2) as usize % OPENED;
        (at / 64, 1 << (at % 64))
    }

    /// Notes a stream; `false` where it is no new one.
    pub(super) fn open(&mut self, stream: u32) -> bool {
        if stream <= self.last {
            return false;
        }
        // Those that were passed over were never opened: they are not over, but wrong.
        let from = (self.last / 2 + 1).max((stream / 2).saturating_sub(OPENED as u32 - 1));
        for skipped in from..=stream / 2 {
            let (word, bit) = Opened::bit(skipped * 2);
            self.over[word] &= !bit;
        }
        self.last = stream;
        true
    }

    /// The client has ended it, or given it up.
    pub(super) fn end(&mut self, stream: u32) {
        if self.remembers(stream) {
            let (word, bit) = Opened::bit(stream);
            self.over[word] |= bit;
        }
    }

    /// Is it known to be over?
    pub(super) fn is_over(&self, stream: u32) -> bool {
        let (word, bit) = Opened::bit(stream);
        self.remembers(stream) && self.over[word] & bit != 0
    }

    fn remembers(&self, stream: u32) -> bool {
        stream % 2 == 1 && stream <= self.last && (self.last - stream) / 2 < OPENED as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_are_over_stay_so() {
        let last = 2 * OPENED as u32 + 11;
        let mut opened = Opened::default();
        for stream in [1, 7, 9, 11] {
            assert!(opened.open(stream), "{stream}");
        }
        opened.end(1);
        opened.end(7);
        assert!(opened.is_over(1) && opened.is_over(7) && !opened.is_over(9));
        assert!(opened.open(last));
        opened.end(last);
        opened.end(13);
        assert!(opened.is_over(last) && opened.is_over(13));
        // Too old to be remembered, open, passed over, of ours, not yet there, nothing.
        for stream in [1, 7, 15, 14, last + 2, 0] {
            assert!(!opened.is_over(stream), "{stream}");
        }
        // A bit that was another stream's.
        assert!(opened.open(last + 2 * OPENED as u32) && !opened.is_over(last + 2 * OPENED as u32));
        for stream in [0, 5, last] {
            assert!(!opened.open(stream), "{stream} is no new one");
        }
    }
}
