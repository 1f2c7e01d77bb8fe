//! What is seen of frames before the HTTP/2 engine reads them: their heads, to count those that cost much and carry nothing,
//! and what RFC 9113 has an error of its own for.
//!
//! The engine (the `h2` crate) bounds memory; it answers every PING, SETTINGS and WINDOW_UPDATE for as long as they come. Here
//! a client has an allowance of those, which grows back with time and with what it does that is of use. Beyond it, and beyond
//! the frames that one header block may have, the connection ends with ENHANCE_YOUR_CALM.
//!
//! Where the engine has one error for many faults, or none, the fault is found here: wrong sizes, and of clients what `conduct`
//! looks at.

use super::conduct::Conduct;
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
    /// CONTINUATION frames of that block so far, but for its last.
    pieces: usize,
    /// Of the setting being read.
    setting: [u8; SETTING_BYTES],
    setting_len: usize,
    idle: Allowance,
    windows: Allowance,
    /// Bytes sent since they last earned the peer a frame that carries nothing.
    unearned: u64,
    /// Do HEADERS answer calls of ours, which earn them?
    answers: bool,
    /// What the calls under way have earned, and is not used up; taken before what comes with time.
    reserve: u64,
    /// A whole SETTINGS frame of the peer's own has come.
    settings_new: bool,
    /// Of a client: what it has said so far. `None` of an upstream.
    conduct: Option<Box<Conduct>>,
}

const HEAD_BYTES: usize = 9;
/// Where a head has the kind.
const KIND_AT: usize = 3;
const SETTING_BYTES: usize = 6;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;
const WINDOW_MAX: u32 = 0x7fff_ffff;
/// SETTINGS_MAX_FRAME_SIZE where nobody has said anything, as we do not.
const FRAME_BYTES_MAX: u32 = 16_384;
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// A kind that nobody knows, and everybody passes over.
const UNKNOWN: u8 = 0xff;
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const HAS_PRIORITY: u8 = 0x20;
pub(super) const PRIORITY_BYTES: usize = 5;

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
            pieces: 0,
            setting: [0; SETTING_BYTES],
            setting_len: 0,
            idle: Allowance::new(limits::H2_IDLE_FRAMES, now),
            windows: Allowance::new(limits::H2_WINDOW_UPDATES, now),
            unearned: 0,
            answers: false,
            reserve: 0,
            settings_new: false,
            conduct: Some(Box::default()),
        }
    }

    /// Of an upstream's connection: it has no preface, and what it may send is earned by calls.
    pub(super) fn of_upstream(now: Millis) -> Sieve {
        Sieve { preface_left: 0, answers: true, conduct: None, ..Sieve::new(now) }
    }

    /// An upstream was asked something.
    pub(super) fn asked(&mut self) {
        self.reserve += limits::H2_FRAMES_PER_CALL;
    }

    /// A call has ended, and so many are under way: what it has earned and not used ends with it, or it would add up. Some is
    /// left, as answers to calls that were given up may still come.
    pub(super) fn ended(&mut self, live: usize) {
        let calls = (live + limits::H2_STREAMS_MAX) as u64;
        self.reserve = self.reserve.min(calls * limits::H2_FRAMES_PER_CALL);
    }

    /// Takes what a frame that carries nothing costs.
    fn spend(&mut self, cost: u64, now: Millis) -> bool {
        let own = self.reserve.min(cost);
        let has = self.idle.take(cost - own, now);
        if has {
            self.reserve -= own;
        }
        has
    }

    /// Has a SETTINGS frame of the peer's own come since the last look?
    pub(super) fn take_settings(&mut self) -> bool {
        std::mem::take(&mut self.settings_new)
    }

    /// Looks at what was received. O(frames), and O(bytes) of a client's header blocks. A second acknowledgement of our settings,
    /// which some clients send of their own accord and the engine would end the connection for, becomes a frame of no kind, and
    /// so does DATA that is empty and not the end.
    ///
    /// # Errors
    /// ENHANCE_YOUR_CALM where an allowance is used up, and the errors that the engine has not; nothing may be fed after it.
    pub(super) fn feed(&mut self, bytes: &mut [u8], now: Millis) -> Result<(), Reason> {
        let mut at = self.preface_left.min(bytes.len());
        self.preface_left -= at;
        while at < bytes.len() {
            if self.payload_left > 0 {
                let end = bytes.len().min(at + self.payload_left as usize);
                self.payload_left -= (end - at) as u32;
                self.payload(&bytes[at..end])?;
                at = end;
                continue;
            }
            let end = bytes.len().min(at + HEAD_BYTES - self.head_len);
            self.head[self.head_len..self.head_len + end - at].copy_from_slice(&bytes[at..end]);
            self.head_len += end - at;
            at = end;
            if self.head_len == HEAD_BYTES {
                self.head_len = 0;
                self.frame(now)?;
                // Its kind may be in what the engine has had already; it then says what it has to say.
                let surplus = self.conduct.as_mut().is_some_and(|conduct| conduct.is_surplus());
                if (surplus || self.is_void()) && at >= HEAD_BYTES - KIND_AT {
                    bytes[at - (HEAD_BYTES - KIND_AT)] = UNKNOWN;
                }
                if self.payload_left == 0 {
                    self.payload(&[])?;
                }
            }
        }
        Ok(())
    }

    /// Is the frame DATA of a stream that says nothing? It was paid for; the engine takes a hundred of them in a connection's
    /// life, where some peers send one with every call.
    fn is_void(&self) -> bool {
        let [_, _, _, kind, flags, id @ ..] = self.head;
        let bare = kind == DATA && self.payload_left == 0 && flags & (END_STREAM | PADDED) == 0;
        bare && !self.in_block && id != [0; 4]
    }

    /// Looks at a piece of a frame's payload; at an empty one where there is none.
    fn payload(&mut self, piece: &[u8]) -> Result<(), Reason> {
        match (self.kind, &mut self.conduct) {
            (SETTINGS, _) if !piece.is_empty() => {
                self.settings(piece)?;
                self.settings_new |= self.payload_left == 0;
                Ok(())
            }
            (HEADERS | CONTINUATION, Some(conduct)) => conduct.fields(piece, self.payload_left),
            _ => Ok(()),
        }
    }

    /// Is the head of this stream malformed, though the engine has taken it? To be asked once for each, in order.
    pub(super) fn is_malformed(&mut self, stream: u32) -> bool {
        self.conduct.as_mut().is_some_and(|conduct| conduct.is_malformed(stream))
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
        let [a, b, c, kind, flags, id @ ..] = self.head;
        self.payload_left = u32::from_be_bytes([0, a, b, c]);
        self.kind = kind;
        self.setting_len = 0;
        if let Some(conduct) = &mut self.conduct {
            conduct.frame(kind, flags, u32::from_be_bytes(id), self.in_block)?;
        }
        if !is_sized(kind, flags, self.payload_left) {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let within = match kind {
            DATA if self.payload_left == 0 && flags & END_STREAM == 0 => self.spend(COST_RARE, now),
            DATA => true,
            HEADERS if self.answers => {
                self.in_block = flags & END_HEADERS == 0;
                self.spend(COST_RARE, now)
            }
            HEADERS => {
                self.idle.give(COST);
                self.in_block = flags & END_HEADERS == 0;
                true
            }
            CONTINUATION => {
                self.in_block = self.in_block && flags & END_HEADERS == 0;
                self.pieces = if self.in_block { self.pieces + 1 } else { 0 };
                self.pieces <= limits::H2_CONTINUATIONS_MAX && (self.payload_left > 0 || self.spend(COST_RARE, now))
            }
            SETTINGS => {
                self.settings_new |= flags & ACK == 0 && self.payload_left == 0;
                self.spend(COST_RARE, now)
            }
            WINDOW_UPDATE => self.windows.take(COST, now),
            // PRIORITY, RST_STREAM, PING, GOAWAY, PUSH_PROMISE and those that nobody knows.
            _ => self.spend(COST, now),
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

/// RFC 9113 §4.2: a frame that is too large, "or is too small to contain mandatory frame data", has an error of its own. Where the
/// stream is wrong, too, the engine does not get to say so.
fn is_sized(kind: u8, flags: u8, bytes: u32) -> bool {
    let padded = u32::from(flags & PADDED != 0);
    let priority = if flags & HAS_PRIORITY == 0 { 0 } else { PRIORITY_BYTES as u32 };
    match kind {
        _ if bytes > FRAME_BYTES_MAX => false,
        SETTINGS => bytes == 0 || flags & ACK == 0 && bytes.is_multiple_of(SETTING_BYTES as u32),
        PING => bytes == 8,
        RST_STREAM | WINDOW_UPDATE => bytes == 4,
        GOAWAY => bytes >= 8,
        PRIORITY => bytes == PRIORITY_BYTES as u32,
        DATA => bytes >= padded,
        HEADERS => bytes >= padded + priority,
        _ => true,
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

    fn feed(sieve: &mut Sieve, bytes: &[u8], now: u64) -> Result<(), Reason> {
        sieve.feed(&mut bytes.to_vec(), Millis(now))
    }

    fn fresh() -> Sieve {
        let mut sieve = Sieve::new(Millis(0));
        let begin = [super::super::PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
        feed(&mut sieve, &begin, 0).expect("it costs nothing");
        sieve.idle.give(COST_RARE);
        sieve
    }

    /// How many of a frame pass at once, up to 100 000.
    fn pass(kind: u8, flags: u8, payload: &[u8]) -> usize {
        let (mut sieve, frame) = (fresh(), frame(kind, flags, payload));
        (0..100_000).take_while(|_| feed(&mut sieve, &frame, 0).is_ok()).count()
    }

    #[test]
    fn calls_at_once_earn_their_answers_and_no_more() {
        let mut sieve = Sieve::of_upstream(Millis(0));
        let calls = 1000;
        (0..calls).for_each(|_| sieve.asked());
        for left in (0..calls).rev() {
            // Head, an empty piece of body, trailers.
            for answer in [frame(HEADERS, END_HEADERS, &[0x88]), frame(DATA, 0, b""), frame(HEADERS, 5, &[0x90])] {
                assert_eq!(feed(&mut sieve, &answer, 0), Ok(()), "{left} to come");
            }
            sieve.ended(left);
        }
        let ping = frame(PING, 0, &[0; 8]);
        let passed = (0..100_000).take_while(|_| feed(&mut sieve, &ping, 0).is_ok()).count();
        let kept = limits::H2_STREAMS_MAX as u64 * limits::H2_FRAMES_PER_CALL;
        assert_eq!(passed as u64, limits::H2_IDLE_FRAMES.0 + kept);
    }

    #[test]
    fn a_block_has_few_pieces() {
        let (open, more) = (frame(HEADERS, 0, &[0x90]), frame(CONTINUATION, 0, &[0x90]));
        let mut sieve = fresh();
        for _ in 0..1000 {
            let whole = [&open[..], &more.repeat(limits::H2_CONTINUATIONS_MAX), &frame(CONTINUATION, END_HEADERS, b"")];
            sieve.idle.give(COST_RARE);
            assert_eq!(feed(&mut sieve, &whole.concat(), 0), Ok(()));
        }
        feed(&mut sieve, &[&open[..], &more.repeat(limits::H2_CONTINUATIONS_MAX)].concat(), 0)
            .expect("as many as may be");
        assert_eq!(feed(&mut sieve, &more, 0), Err(Reason::ENHANCE_YOUR_CALM));
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
        assert_eq!(pass(HEADERS, END_HEADERS, &[0x90]), 100_000, "HEADERS");
    }

    #[test]
    fn time_and_use_give_back() {
        let (mut sieve, ping) = (fresh(), frame(77, 0, b""));
        while feed(&mut sieve, &ping, 0).is_ok() {}
        assert_eq!(feed(&mut sieve, &ping, 1), Err(Reason::ENHANCE_YOUR_CALM));
        feed(&mut sieve, &ping, 1000).expect("a second earns some");
        while feed(&mut sieve, &ping, 1000).is_ok() {}
        feed(&mut sieve, &frame(HEADERS, END_HEADERS, &[0x90]), 1000).expect("a request is of use");
        feed(&mut sieve, &ping, 1000).expect("and earns a ping");

        let (mut sieve, window) = (fresh(), frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1]));
        while feed(&mut sieve, &window, 0).is_ok() {}
        // The rest of the last.
        feed(&mut sieve, &window[HEAD_BYTES..], 0).expect("payload");
        sieve.sent(1);
        feed(&mut sieve, &window, 0).expect("what was sent may be acknowledged");
    }

    #[test]
    fn an_upstream_earns_its_frames_by_calls() {
        let (head, ping) = (frame(HEADERS, END_HEADERS, b"x"), frame(PING, 0, &[0; 8]));
        let mut sieve = Sieve::of_upstream(Millis(0));
        feed(&mut sieve, &frame(SETTINGS, ACK, b""), 0).expect("no flood");
        assert!(!sieve.take_settings());
        feed(&mut sieve, &frame(SETTINGS, 0, &[0; 6])[..14], 0).expect("no flood");
        assert!(!sieve.take_settings(), "half of it");
        feed(&mut sieve, &[0], 0).expect("no flood");
        assert!(sieve.take_settings() && !sieve.take_settings());

        let mut sieve = Sieve::of_upstream(Millis(0));
        assert_eq!(
            (0..1000).take_while(|_| feed(&mut sieve, &head, 0).is_ok()).count(),
            100,
            "HEADERS nobody asked for"
        );
        for _ in 0..1000 {
            let mut sieve = Sieve { idle: Allowance { left: 0, ..sieve.idle }, ..Sieve::of_upstream(Millis(0)) };
            sieve.asked();
            (0..4).for_each(|_| feed(&mut sieve, &head, 0).expect("a head, trailers, two interim answers"));
            assert!(feed(&mut sieve, &head, 0).is_err());
        }
        let mut sieve = Sieve::of_upstream(Millis(0));
        let answered = |sieve: &mut Sieve| {
            sieve.sent(17);
            feed(sieve, &ping, 0).is_ok()
        };
        assert!((0..100_000).take_while(|_| answered(&mut sieve)).count() < 1100, "answers to PING do not earn it");
        sieve.sent(512);
        assert!(!sieve.take_settings());
    }

    #[test]
    fn a_wrong_size_has_its_error() {
        let rows: [(u8, u8, &[u8], Result<(), Reason>); 13] = [
            (SETTINGS, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff], Ok(())),
            (SETTINGS, 0, &[0, 4, 0x80, 0, 0, 0], Err(Reason::FLOW_CONTROL_ERROR)),
            (SETTINGS, 0, &[0, 4, 0], Err(Reason::FRAME_SIZE_ERROR)),
            (SETTINGS, ACK, &[0, 3, 0, 0, 0, 1], Err(Reason::FRAME_SIZE_ERROR)),
            (PING, 0, b"1234567", Err(Reason::FRAME_SIZE_ERROR)),
            (RST_STREAM, 0, b"123", Err(Reason::FRAME_SIZE_ERROR)),
            (WINDOW_UPDATE, 0, b"12345", Err(Reason::FRAME_SIZE_ERROR)),
            (GOAWAY, 0, b"1234567", Err(Reason::FRAME_SIZE_ERROR)),
            (PRIORITY, 0, b"1234", Err(Reason::FRAME_SIZE_ERROR)),
            (HEADERS, PADDED, b"", Err(Reason::FRAME_SIZE_ERROR)),
            (HEADERS, PADDED | HAS_PRIORITY, b"12345", Err(Reason::FRAME_SIZE_ERROR)),
            (DATA, PADDED, b"", Err(Reason::FRAME_SIZE_ERROR)),
            (77, 0, &[0; 16_385], Err(Reason::FRAME_SIZE_ERROR)),
        ];
        for (kind, flags, payload, want) in rows {
            assert_eq!(feed(&mut fresh(), &frame(kind, flags, payload), 0), want, "{kind} {payload:?}");
        }
    }

    #[test]
    fn a_second_acknowledgement_is_made_nothing_of() {
        let (mut sieve, ack) = (fresh(), frame(SETTINGS, ACK, b""));
        let mut bytes = [ack.as_slice(), &ack, &frame(PING, 0, &[0; 8])].concat();
        sieve.feed(&mut bytes, Millis(0)).expect("sound");
        let kinds = [3, 12, 21].map(|at| bytes[at]);
        assert_eq!(kinds, [SETTINGS, UNKNOWN, PING]);
    }

    #[test]
    fn data_that_is_none_is_made_nothing_of() {
        let mut sieve = Sieve::of_upstream(Millis(0));
        let rows = [frame(DATA, 0, b""), frame(DATA, END_STREAM, b""), frame(DATA, 0, b"x"), frame(DATA, PADDED, &[0])];
        let kinds = rows.map(|mut bytes| {
            sieve.feed(&mut bytes, Millis(0)).expect("sound");
            bytes[KIND_AT]
        });
        assert_eq!(kinds, [UNKNOWN, DATA, DATA, DATA]);
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut bytes = super::super::PREFACE.to_vec();
        bytes.extend_from_slice(&frame(SETTINGS, 0, &[0; 6]));
        bytes.extend_from_slice(&frame(HEADERS, 0, &[0x90; 4]));
        let whole = bytes.len();
        bytes.extend_from_slice(&frame(CONTINUATION, END_HEADERS, &[0x90; 4]));
        let mut sieve = Sieve::new(Millis(0));
        for (at, byte) in bytes.iter().enumerate() {
            assert!(at == 0 || sieve.is_midway() || at == 24 || at == 39, "byte {at}");
            feed(&mut sieve, &[*byte], 0).expect("no flood");
            assert_eq!(sieve.in_block, (whole - 4..bytes.len() - 4).contains(&(at + 1)) || at + 1 == whole - 4);
        }
        assert!(!sieve.is_midway());
    }
}
