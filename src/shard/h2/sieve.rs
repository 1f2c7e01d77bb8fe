//! What is seen of frames before the HTTP/2 engine reads them: their heads, to count those that cost much and carry nothing,
//! and the sizes that RFC 9113 has an error of its own for.
//!
//! The engine (the `h2` crate) bounds memory and the frames of one header block; it answers every PING, SETTINGS and
//! WINDOW_UPDATE for as long as they come. Here a client has an allowance of those, which grows back with time and with what
//! it does that is of use. Beyond it the connection ends with ENHANCE_YOUR_CALM.

use crate::base::limits;
use crate::base::time::Millis;
use h2::Reason;

/// How much of something a client may still do: a bucket that fills with time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    left: u64,
    max: u64,
    per_second: u64,
    at: Millis,
}

impl Allowance {
    /// A full one.
    pub(super) fn new((max, per_second): (u64, u64), now: Millis) -> Allowance {
        Allowance { left: max, max, per_second, at: now }
    }

    /// Takes `cost`; `false` where there is not enough.
    pub(super) fn take(&mut self, cost: u64, now: Millis) -> bool {
        if self.left < cost {
            let earned = now.0.saturating_sub(self.at.0).saturating_mul(self.per_second) / 1000;
            if earned > 0 {
                self.give(earned);
                self.at = now;
            }
        }
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Gives some back.
    pub(super) fn give(&mut self, earned: u64) {
        self.left = self.left.saturating_add(earned).min(self.max);
    }
}

/// Reads the heads of frames as bytes come, however they are cut.
pub(super) struct Sieve {
    /// Of the preface, bytes still to come.
    preface_left: usize,
    head: [u8; HEAD_BYTES],
    head_len: usize,
    payload_left: u32,
    kind: u8,
    /// Between HEADERS and the end of its block.
    in_block: bool,
    /// Of the setting being read.
    setting: [u8; SETTING_BYTES],
    setting_len: usize,
    idle: Allowance,
    windows: Allowance,
    /// Bytes sent since they last earned the peer a frame that carries nothing.
    unearned: u64,
    /// Do HEADERS answer calls of ours, which earn them?
    answers: bool,
    /// A whole SETTINGS frame of the peer's own has come.
    settings_new: bool,
}

const HEAD_BYTES: usize = 9;
const SETTING_BYTES: usize = 6;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;
const WINDOW_MAX: u32 = 0x7fff_ffff;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Of one frame, in allowances. SETTINGS and empty DATA: a client sends a few in a connection's life.
const COST: u64 = 1;
const COST_RARE: u64 = 10;

impl Sieve {
    pub(super) fn new(now: Millis) -> Sieve {
        Sieve {
            preface_left: super::PREFACE.len(),
            head: [0; HEAD_BYTES],
            head_len: 0,
            payload_left: 0,
            kind: DATA,
            in_block: false,
            setting: [0; SETTING_BYTES],
            setting_len: 0,
            idle: Allowance::new(limits::H2_IDLE_FRAMES, now),
            windows: Allowance::new(limits::H2_WINDOW_UPDATES, now),
            unearned: 0,
            answers: false,
            settings_new: false,
        }
    }

    /// Of an upstream's connection: it has no preface, and what it may send is earned by calls.
    pub(super) fn of_upstream(now: Millis) -> Sieve {
        Sieve { preface_left: 0, answers: true, ..Sieve::new(now) }
    }

    /// An upstream was asked something.
    pub(super) fn asked(&mut self) {
        self.idle.give(limits::H2_FRAMES_PER_CALL);
    }

    /// Has a SETTINGS frame of the peer's own come since the last look?
    pub(super) fn take_settings(&mut self) -> bool {
        std::mem::take(&mut self.settings_new)
    }

    /// Looks at what was received. O(frames).
    ///
    /// # Errors
    /// ENHANCE_YOUR_CALM where an allowance is used up, and the error of a wrong size; nothing may be fed after it.
    pub(super) fn feed(&mut self, mut bytes: &[u8], now: Millis) -> Result<(), Reason> {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped = bytes.len().min(self.payload_left as usize);
                self.payload_left -= skipped as u32;
                if self.kind == SETTINGS {
                    self.settings(&bytes[..skipped])?;
                    self.settings_new |= self.payload_left == 0;
                }
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEAD_BYTES - self.head_len).min(bytes.len());
            self.head[self.head_len..self.head_len + taken].copy_from_slice(&bytes[..taken]);
            self.head_len += taken;
            bytes = &bytes[taken..];
            if self.head_len == HEAD_BYTES {
                self.head_len = 0;
                self.frame(now)?;
            }
        }
        Ok(())
    }

    /// RFC 9113 §6.5.2: values of a window "above the maximum flow-control window size of 2^31-1 MUST be treated as a
    /// connection error of type FLOW_CONTROL_ERROR".
    fn settings(&mut self, payload: &[u8]) -> Result<(), Reason> {
        for byte in payload {
            self.setting[self.setting_len] = *byte;
            self.setting_len += 1;
            if self.setting_len == SETTING_BYTES {
                self.setting_len = 0;
                let [id @ .., a, b, c, d] = self.setting;
                if u16::from_be_bytes(id) == INITIAL_WINDOW && u32::from_be_bytes([a, b, c, d]) > WINDOW_MAX {
                    return Err(Reason::FLOW_CONTROL_ERROR);
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: Millis) -> Result<(), Reason> {
        let [a, b, c, kind, flags, ..] = self.head;
        self.payload_left = u32::from_be_bytes([0, a, b, c]);
        self.kind = kind;
        self.setting_len = 0;
        // On stream 0 or not at all; where the stream is wrong the engine says so.
        let sized = match (kind, self.payload_left) {
            (SETTINGS, 0) => true,
            (SETTINGS, bytes) => flags & ACK == 0 && bytes.is_multiple_of(SETTING_BYTES as u32),
            (PING, bytes) => bytes == 8,
            (RST_STREAM | WINDOW_UPDATE, bytes) => bytes == 4,
            (GOAWAY, bytes) => bytes >= 8,
            _ => true,
        };
        if !sized {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let within = match kind {
            DATA if self.payload_left == 0 && flags & END_STREAM == 0 => self.idle.take(COST_RARE, now),
            DATA => true,
            HEADERS if self.answers => {
                self.in_block = flags & END_HEADERS == 0;
                self.idle.take(COST_RARE, now)
            }
            HEADERS => {
                self.idle.give(COST);
                self.in_block = flags & END_HEADERS == 0;
                true
            }
            CONTINUATION => {
                self.in_block = self.in_block && flags & END_HEADERS == 0;
                self.payload_left > 0 || self.idle.take(COST_RARE, now)
            }
            SETTINGS => {
                self.settings_new |= flags & ACK == 0 && self.payload_left == 0;
                self.idle.take(COST_RARE, now)
            }
            WINDOW_UPDATE => self.windows.take(COST, now),
            // PRIORITY, RST_STREAM, PING, GOAWAY, PUSH_PROMISE and those that nobody knows.
            _ => self.idle.take(COST, now),
        };
        within.then_some(()).ok_or(Reason::ENHANCE_YOUR_CALM)
    }

    /// The peer has been sent so much: it may give so much of its window back.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.windows.give(bytes.div_ceil(limits::H2_BYTES_PER_WINDOW_UPDATE));
        // The rest is carried over: what answers a PING must not earn the next.
        self.unearned += bytes;
        self.idle.give(self.unearned / limits::H2_BYTES_PER_IDLE_FRAME);
        self.unearned %= limits::H2_BYTES_PER_IDLE_FRAME;
    }

    /// Is something begun that only waits for its own rest: the preface, a header block, a frame other than DATA?
    pub(super) fn is_midway(&self) -> bool {
        self.preface_left > 0 || self.in_block || self.head_len > 0 || self.payload_left > 0 && self.kind != DATA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    fn fresh() -> Sieve {
        let mut sieve = Sieve::new(Millis(0));
        sieve.feed(super::super::PREFACE, Millis(0)).expect("the preface costs nothing");
        sieve
    }

    /// How many of a frame pass at once, up to 100 000.
    fn pass(kind: u8, flags: u8, payload: &[u8]) -> usize {
        let (mut sieve, frame) = (fresh(), frame(kind, flags, payload));
        (0..100_000).take_while(|_| sieve.feed(&frame, Millis(0)).is_ok()).count()
    }

    #[test]
    fn what_is_of_no_use_has_an_end() {
        let idle = limits::H2_IDLE_FRAMES.0 as usize;
        assert_eq!(pass(6, 0, &[0; 8]), idle, "PING");
        assert_eq!(pass(SETTINGS, 0, b""), idle / 10, "SETTINGS");
        assert_eq!(pass(2, 0, &[0; 5]), idle, "PRIORITY");
        assert_eq!(pass(77, 0, b"?"), idle, "an unknown kind");
        assert_eq!(pass(DATA, 0, b""), idle / 10, "empty DATA");
        assert_eq!(pass(WINDOW_UPDATE, 0, &[0, 0, 0, 1]), limits::H2_WINDOW_UPDATES.0 as usize, "WINDOW_UPDATE");
        assert_eq!(pass(DATA, 0, b"x"), 100_000, "DATA");
        assert_eq!(pass(HEADERS, END_HEADERS, b"x"), 100_000, "HEADERS");
    }

    #[test]
    fn time_and_use_give_back() {
        let (mut sieve, ping) = (fresh(), frame(77, 0, b""));
        while sieve.feed(&ping, Millis(0)).is_ok() {}
        assert_eq!(sieve.feed(&ping, Millis(1)), Err(Reason::ENHANCE_YOUR_CALM));
        sieve.feed(&ping, Millis(1000)).expect("a second earns some");
        while sieve.feed(&ping, Millis(1000)).is_ok() {}
        sieve.feed(&frame(HEADERS, END_HEADERS, b"x"), Millis(1000)).expect("a request is of use");
        sieve.feed(&ping, Millis(1000)).expect("and earns a ping");

        let (mut sieve, window) = (fresh(), frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1]));
        while sieve.feed(&window, Millis(0)).is_ok() {}
        // The rest of the last.
        sieve.feed(&window[HEAD_BYTES..], Millis(0)).expect("payload");
        sieve.sent(1);
        sieve.feed(&window, Millis(0)).expect("what was sent may be acknowledged");
    }

    #[test]
    fn an_upstream_earns_its_frames_by_calls() {
        let (head, ping) = (frame(HEADERS, END_HEADERS, b"x"), frame(PING, 0, &[0; 8]));
        let mut sieve = Sieve::of_upstream(Millis(0));
        sieve.feed(&frame(SETTINGS, ACK, b""), Millis(0)).expect("no flood");
        assert!(!sieve.take_settings());
        sieve.feed(&frame(SETTINGS, 0, &[0; 6])[..14], Millis(0)).expect("no flood");
        assert!(!sieve.take_settings(), "half of it");
        sieve.feed(&[0], Millis(0)).expect("no flood");
        assert!(sieve.take_settings() && !sieve.take_settings());

        let mut sieve = Sieve::of_upstream(Millis(0));
        assert_eq!(
            (0..1000).take_while(|_| sieve.feed(&head, Millis(0)).is_ok()).count(),
            100,
            "HEADERS nobody asked for"
        );
        for _ in 0..1000 {
            let mut sieve = Sieve { idle: Allowance { left: 0, ..sieve.idle }, ..Sieve::of_upstream(Millis(0)) };
            sieve.asked();
            (0..4).for_each(|_| sieve.feed(&head, Millis(0)).expect("a head, trailers, two interim answers"));
            assert!(sieve.feed(&head, Millis(0)).is_err());
        }
        let mut sieve = Sieve::of_upstream(Millis(0));
        let answered = |sieve: &mut Sieve| {
            sieve.sent(17);
            sieve.feed(&ping, Millis(0)).is_ok()
        };
        assert!((0..100_000).take_while(|_| answered(&mut sieve)).count() < 1100, "answers to PING do not earn it");
        sieve.sent(512);
        assert!(!sieve.take_settings());
    }

    #[test]
    fn a_wrong_size_has_its_error() {
        let rows: [(u8, u8, &[u8], Result<(), Reason>); 8] = [
            (SETTINGS, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff], Ok(())),
            (SETTINGS, 0, &[0, 4, 0x80, 0, 0, 0], Err(Reason::FLOW_CONTROL_ERROR)),
            (SETTINGS, 0, &[0, 4, 0], Err(Reason::FRAME_SIZE_ERROR)),
            (SETTINGS, ACK, &[0, 3, 0, 0, 0, 1], Err(Reason::FRAME_SIZE_ERROR)),
            (PING, 0, b"1234567", Err(Reason::FRAME_SIZE_ERROR)),
            (RST_STREAM, 0, b"123", Err(Reason::FRAME_SIZE_ERROR)),
            (WINDOW_UPDATE, 0, b"12345", Err(Reason::FRAME_SIZE_ERROR)),
            (GOAWAY, 0, b"1234567", Err(Reason::FRAME_SIZE_ERROR)),
        ];
        for (kind, flags, payload, want) in rows {
            assert_eq!(fresh().feed(&frame(kind, flags, payload), Millis(0)), want, "{kind} {payload:?}");
        }
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut bytes = super::super::PREFACE.to_vec();
        bytes.extend_from_slice(&frame(SETTINGS, 0, &[0; 6]));
        bytes.extend_from_slice(&frame(HEADERS, 0, b"half"));
        let whole = bytes.len();
        bytes.extend_from_slice(&frame(CONTINUATION, END_HEADERS, b"rest"));
        let mut sieve = Sieve::new(Millis(0));
        for (at, byte) in bytes.iter().enumerate() {
            assert!(at == 0 || sieve.is_midway() || at == 24 || at == 39, "byte {at}");
            sieve.feed(&[*byte], Millis(0)).expect("no flood");
            assert_eq!(sieve.in_block, (whole - 4..bytes.len() - 4).contains(&(at + 1)) || at + 1 == whole - 4);
        }
        assert!(!sieve.is_midway());
    }
}
