//! Bodies, both ways: decoded from the framing they came in, written in the framing they leave in, never held as a whole.
//!
//! One buffer per direction and connection; the next read waits for the last write, so a slow reader slows its writer
//! down and memory stays constant whatever the size.

use super::count::bump;
use super::pool::Link;
use super::refusal::Refusal;
use super::serve::Client;
use super::Shard;
use crate::base::limits::{BODY_RATE_GRACE_MS, BODY_REPLAYED_BYTES_MAX, EXPECT_SILENCE_MS};
use crate::base::time::Millis;
use crate::hook::{BodyLimit, Reply};
use crate::http::chunked::{self, Decoder, Step};
use crate::http::framing::Length;
use crate::http::Fault;
use crate::io::clock;
use crate::io::tcp::{is_stopped, Stop};
use crate::plan::{Runtime, Service};
use std::cell::{Cell, OnceCell};
use std::future::Future as _;
use std::task::Poll;

/// Takes a body out of its framing.
pub(super) enum Decoding {
    /// So many bytes are to come.
    Fixed(u64),
    /// Chunks are to come.
    Chunked(Box<Decoder>),
    /// Everything until the peer closes.
    UntilClose,
    /// Nothing is to come any more.
    Done,
}

/// What one step took of its input, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Of the input.
    pub(super) used: usize,
    /// Of that, payload: the rest was framing.
    pub(super) payload: usize,
}

impl Decoding {
    pub(super) fn new(length: Length) -> Decoding {
        match length {
            Length::None | Length::Fixed(0) => Decoding::Done,
            Length::Fixed(bytes) => Decoding::Fixed(bytes),
            Length::Chunked => Decoding::Chunked(Box::default()),
            Length::UntilClose => Decoding::UntilClose,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Decoding::Done)
    }

    /// Moves payload from `input` to `out`, in chunks where `chunks`; returns how much of `input` was used, and how much
    /// of that was payload. What was not used (part of a trailer section) must be given again with more behind it. At the
    /// end of a chunked body the last chunk is written too, with the trailers where `trailers`.
    ///
    /// # Errors
    /// Chunks that are none; the connection is then of no use.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        chunks: bool,
        trailers: bool,
        out: &mut Vec<u8>,
    ) -> Result<Taken, Fault> {
        match self {
            Decoding::Done => Ok(Taken { used: 0, payload: 0 }),
            Decoding::Fixed(left) => {
                let bytes = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                put(&input[..bytes], chunks, out);
                *left -= bytes as u64;
                if *left == 0 {
                    *self = Decoding::Done;
                    if chunks {
                        out.extend_from_slice(b"0\r\n\r\n");
                    }
                }
                Ok(Taken { used: bytes, payload: bytes })
            }
            Decoding::UntilClose => {
                put(input, chunks, out);
                Ok(Taken { used: input.len(), payload: input.len() })
            }
            Decoding::Chunked(decoder) => {
                let (mut used, mut payload) = (0, 0);
                loop {
                    match decoder.step(&input[used..])? {
                        Step::Data { data } => {
                            put(&input[used + data.start..used + data.end], chunks, out);
                            payload += data.len();
                            used += data.end;
                        }
                        Step::NeedMore { used: more } => return Ok(Taken { used: used + more, payload }),
                        Step::Done { used: more, trailers: lines } => {
                            if chunks {
                                let lines = &input[used + lines.start..used + lines.end];
                                chunked::write_end(if trailers { lines } else { b"" }, out);
                            }
                            *self = Decoding::Done;
                            return Ok(Taken { used: used + more, payload });
                        }
                    }
                }
            }
        }
    }

    /// Moves payload from `input` to `out`, and at the end the lines of a trailer section to `lines`; returns how much of
    /// `input` was used. What was not used must be given again, as for [`Decoding::take`].
    ///
    /// # Errors
    /// As [`Decoding::take`].
    pub(super) fn unpack(&mut self, input: &[u8], out: &mut Vec<u8>, lines: &mut Vec<u8>) -> Result<usize, Fault> {
        let Decoding::Chunked(decoder) = self else {
            return self.take(input, false, false, out).map(|taken| taken.used);
        };
        let mut used = 0;
        loop {
            match decoder.step(&input[used..])? {
                Step::Data { data } => {
                    out.extend_from_slice(&input[used + data.start..used + data.end]);
                    used += data.end;
                }
                Step::NeedMore { used: more } => return Ok(used + more),
                Step::Done { used: more, trailers } => {
                    lines.extend_from_slice(&input[used + trailers.start..used + trailers.end]);
                    *self = Decoding::Done;
                    return Ok(used + more);
                }
            }
        }
    }

    /// Takes up to `received` bytes of payload that leave as they came; how many that are. `None` where payload must be looked
    /// into, or leaves in chunks: see [`Decoding::take`].
    pub(super) fn pass(&mut self, received: usize, chunks: bool) -> Option<usize> {
        match self {
            _ if chunks => None,
            Decoding::UntilClose => Some(received),
            Decoding::Fixed(left) => {
                let bytes = received.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes as u64;
                if *left == 0 {
                    *self = Decoding::Done;
                }
                Some(bytes)
            }
            Decoding::Chunked(_) | Decoding::Done => None,
        }
    }

    /// Is what is still to come known to be at most `bytes`? So it seems for a body whose end is not known.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        !matches!(self, Decoding::Fixed(left) if *left > bytes as u64)
    }

    /// The peer has closed. Only a body that lasts until then is whole.
    pub(super) fn close(&mut self, chunks: bool, out: &mut Vec<u8>) -> bool {
        if !matches!(self, Decoding::UntilClose) {
            return self.is_done();
        }
        if chunks {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        *self = Decoding::Done;
        true
    }
}

fn put(payload: &[u8], chunk: bool, out: &mut Vec<u8>) {
    if payload.is_empty() {
        return;
    }
    if chunk {
        chunked::encode_size(payload.len() as u64, out);
    }
    out.extend_from_slice(payload);
    if chunk {
        out.extend_from_slice(b"\r\n");
    }
}

/// A request body that was not whole when its head was read.
pub(super) struct Inbound {
    pub(super) decoding: Decoding,
    /// As the client declared it.
    pub(super) length: Length,
    /// Received; used up to `at`. Behind the end of the body: the next request.
    buf: Vec<u8>,
    at: usize,
    /// Payload so far, bytes.
    payload: u64,
    /// For how long the client was waited for, ms: what the gateway itself waits for is not the client's slowness.
    waited_ms: u64,
    /// The client waits for a 100 before it sends.
    pub(super) expects: bool,
    /// May it be as slow as it likes? A stream of messages has no rate; that neither side says anything is bounded by the
    /// upstream's time.
    pub(super) patient: bool,
    /// Payload that a plugin has asked for, or that may have to be sent again.
    pub(super) kept: Vec<u8>,
    /// Bytes of payload up to which all of it is kept, in case that it must be sent again.
    keep_max: usize,
    /// A plugin's word on how large it may be.
    limit: Option<BodyLimit>,
}

/// The upstream's word on an `Expect: 100-continue` that was passed on to it.
///
/// A final answer instead of a 100 means that the body is not wanted: the client gets that answer and no 100. An upstream
/// that does not know the field says nothing and waits for the body, so a short silence counts as an invitation.
///
/// It is withdrawn where the upstream has failed and another may be asked: the upload then ends, and loses nothing.
#[derive(Default)]
pub(super) struct Invitation {
    /// The upstream has said 100, or nothing for so long that it counts as said.
    pub(super) given: Cell<bool>,
    /// The client waits for a 100, and has not been sent one.
    untold: Cell<bool>,
    /// The download sends an interim answer.
    telling: Cell<bool>,
    /// The upstream has answered instead.
    pub(super) declined: Cell<bool>,
    withdrawn: Cell<bool>,
    /// Ends a read from the client; made when there is one, as most requests have none.
    stop: OnceCell<Stop>,
}

impl Invitation {
    /// Asks the upload to end. What it has received stays with the body; a read under way ends without loss.
    pub(super) fn withdraw(&self) {
        self.withdrawn.set(true);
        if let Some(stop) = self.stop.get() {
            stop.stop();
        }
    }

    /// What one direction may have changed that the other waits for.
    pub(super) fn turn(&self) -> (bool, bool) {
        (self.given.get(), self.telling.get())
    }

    /// Says whether the download is sending an interim answer, into which no 100 may fall.
    pub(super) fn tell(&self, telling: bool) {
        self.telling.set(telling);
    }

    /// Waits until a 100 that is to be sent has left: what the upstream says behind it comes behind it.
    pub(super) async fn told(&self) {
        std::future::poll_fn(|_| match self.given.get() && self.untold.get() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }

    /// Waits until the client may be told to go on, or goes on by itself; for ever where the body is not wanted. Is the
    /// client still waiting? The exchange polls both of its directions whenever one of them is woken, so a cell is all that
    /// has to be looked at.
    async fn wait(&self, client: &Client) -> bool {
        // Boxed: a timer's entry is aligned to two cache lines, and so would be every exchange that has a body.
        let mut silence = Box::pin(crate::io::sleep_ms(EXPECT_SILENCE_MS));
        let mut sends = std::pin::pin!(client.readable());
        self.untold.set(true);
        std::future::poll_fn(|cx| {
            if self.withdrawn.get() {
                return Poll::Ready(true);
            }
            if self.declined.get() || self.telling.get() {
                return Poll::Pending;
            }
            if self.given.get() {
                return Poll::Ready(true);
            }
            if sends.as_mut().poll(cx).is_ready() {
                self.untold.set(false);
                return Poll::Ready(false);
            }
            silence.as_mut().poll(cx).map(|()| {
                self.given.set(true);
                true
            })
        })
        .await
    }
}

/// Why an upload ended before its end.
pub(super) enum Broken {
    /// The client's fault, or its end.
    Client(Refusal),
    /// The upstream takes no more; its answer may say why.
    Upstream,
}

impl Inbound {
    pub(super) fn new(shard: &Shard, length: Length, rest: &[u8], expects: bool) -> Inbound {
        // What has come whole needs no room for more; a chunked body that only looks so gets it when more is read.
        let is_whole = length == Length::Chunked && rest.ends_with(b"0\r\n\r\n") && rest.len() <= shard.small.bytes();
        let mut buf = if is_whole { shard.small.take() } else { shard.large.take() };
        buf.extend_from_slice(rest);
        Inbound {
            decoding: Decoding::new(length),
            length,
            // A client that sends its body at once does not wait, whatever it says.
            expects: expects && rest.is_empty(),
            patient: false,
            buf,
            at: 0,
            payload: 0,
            waited_ms: 0,
            kept: Vec::new(),
            keep_max: 0,
            limit: None,
        }
    }

    /// Holds it to a plugin's limit from now on; what has been received already, too.
    pub(super) fn limit_to(&mut self, limit: Option<BodyLimit>) -> Result<(), Refusal> {
        self.limit = limit;
        self.check_limit()
    }

    fn check_limit(&self) -> Result<(), Refusal> {
        match self.limit {
            Some(limit) if self.payload > limit.bytes => {
                Err(Refusal::Policy(Box::new(Reply::message(413, limit.message))))
            }
            _ => Ok(()),
        }
    }

    /// Keeps what is received from now on, as long as it is little: the request may be sent twice.
    pub(super) fn keep_little(&mut self) {
        if self.is_replayable() {
            self.keep_max = BODY_REPLAYED_BYTES_MAX;
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.decoding.is_done()
    }

    /// Payload received so far, bytes.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// Is every byte of the payload still in `kept`?
    pub(super) fn is_replayable(&self) -> bool {
        self.kept.len() as u64 == self.payload
    }

    /// Writes what a plugin has asked for before; stays, so that it can be written again.
    pub(super) fn put_kept(&mut self, chunks: bool, out: &mut Vec<u8>) {
        put(&self.kept, chunks, out);
        if chunks && self.is_done() {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// What came behind the end of the body, and the buffer it lies in.
    pub(super) fn into_rest(mut self) -> Vec<u8> {
        // A read that was under way when the answer ended has taken the buffer with it.
        self.buf.drain(..self.at.min(self.buf.len()));
        self.buf
    }

    /// Moves what has been received to `out`, in chunks where `chunks`.
    pub(super) fn take(&mut self, chunks: bool, bytes_max: u64, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let from = out.len();
        let taken = self.decoding.take(&self.buf[self.at..], chunks, true, out);
        let taken = taken.map_err(|fault| Refusal::Client(fault.status(), Some(fault)))?;
        self.at += taken.used;
        if self.is_replayable() && self.kept.len() + taken.payload <= self.keep_max {
            // What is written in chunks here is read by the same rules, so it cannot fail.
            let _ = match chunks {
                true => Decoding::new(Length::Chunked).take(&out[from..], false, false, &mut self.kept),
                false => Decoding::UntilClose.take(&out[from..], false, false, &mut self.kept),
            };
        }
        self.payload += taken.payload as u64;
        if bytes_max > 0 && self.payload > bytes_max {
            return Err(Refusal::Client(413, None));
        }
        self.check_limit()
    }

    /// Receives more, unless it is stopped by the invitation, which an upload has. Everything received before must have been
    /// taken.
    async fn fill(
        &mut self,
        shard: &Shard,
        client: &Client,
        runtime: &Runtime,
        invited: Option<&Invitation>,
    ) -> Result<(), Refusal> {
        if std::mem::take(&mut self.expects) {
            let mut interim = shard.small.take();
            interim.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            let (result, interim) = client.send(interim, runtime.send_timeout_ms).await;
            shard.put_buf(interim);
            result.map_err(|_| Refusal::Gone)?;
            if let Some(invited) = invited {
                invited.untold.set(false);
            }
        }
        if self.at == self.buf.len() {
            self.buf.clear();
            self.at = 0;
        }
        shard.enlarge(&mut self.buf, 0);
        if self.buf.len() == self.buf.capacity() {
            self.buf.drain(..self.at);
            self.at = 0;
            self.buf.reserve(1024);
        }
        let now = clock::millis();
        let mut until = now.0 + runtime.body_timeout_ms;
        // The moment at which the rate would fall below the least; none where any will do.
        if let Some(earned) = self.payload.saturating_mul(1000).checked_div(runtime.body_rate_min) {
            until = until.min(now.0 + BODY_RATE_GRACE_MS.max(earned).saturating_sub(self.waited_ms));
        }
        // Whoever waits for all of it waits for its end, too.
        let is_patient = self.patient && invited.is_some();
        if until <= now.0 && !is_patient {
            bump(&shard.counters.client_timeouts);
            return Err(Refusal::Client(408, None));
        }
        match is_patient {
            true => client.watch.disarm_read(),
            false => client.watch.arm_read(Millis(until)),
        }
        let buf = std::mem::take(&mut self.buf);
        let (result, buf) = match invited.and_then(|invited| invited.stop.get()) {
            Some(stop) => client.recv_until(buf, stop).await,
            None => client.recv(buf).await,
        };
        self.buf = buf;
        client.watch.disarm_read();
        if !is_patient {
            self.waited_ms += clock::millis().0.saturating_sub(now.0);
        }
        match result {
            Ok(1..) => Ok(()),
            Err(error) if is_stopped(&error) && client.watch.fired().is_none() => Ok(()),
            _ if client.watch.fired().is_some() => {
                bump(&shard.counters.client_timeouts);
                Err(Refusal::Client(408, None))
            }
            // A body that ends before its length: half a request. The client may still listen.
            Ok(0) => Err(Refusal::Client(400, None)),
            _ => Err(Refusal::Gone),
        }
    }

    /// Receives the body into `kept`, up to `bytes_max`; whether all of it is there.
    pub(super) async fn collect(
        &mut self,
        shard: &Shard,
        client: &Client,
        runtime: &Runtime,
        bytes_max: usize,
    ) -> Result<bool, Refusal> {
        let mut kept = std::mem::take(&mut self.kept);
        loop {
            let taken = self.take(false, runtime.body_bytes_max, &mut kept);
            if taken.is_err() || self.is_done() || kept.len() > bytes_max {
                let whole = self.is_done() && kept.len() <= bytes_max;
                self.kept = kept;
                return taken.map(|()| whole);
            }
            if let Err(refusal) = self.fill(shard, client, runtime, None).await {
                self.kept = kept;
                return Err(refusal);
            }
        }
    }

    /// Sends the rest of the body to the upstream, which must answer by `deadline` in any case.
    #[expect(clippy::too_many_arguments, reason = "each is a piece of the exchange's state, borrowed apart")]
    pub(super) async fn upload(
        &mut self,
        shard: &Shard,
        client: &Client,
        link: &Link,
        runtime: &Runtime,
        service: &Service,
        deadline: Option<Millis>,
        invited: &Invitation,
    ) -> Result<(), Broken> {
        let answer_within = |ms: u64| {
            let until = Millis(clock::millis().0 + ms);
            link.watch.arm_read(deadline.map_or(until, |deadline| until.min(deadline)));
        };
        let chunks = self.length == Length::Chunked;
        let mut out = shard.large.take();
        if self.expects {
            self.expects = invited.wait(client).await;
        }
        // Only what is kept can be sent again, and then it is worth a read that can be stopped.
        if self.keep_max > 0 {
            invited.stop.get_or_init(Stop::default);
        }
        let result = loop {
            if self.is_done() {
                break Ok(());
            }
            if invited.withdrawn.get() {
                break Err(Broken::Upstream);
            }
            if let Err(refusal) = self.fill(shard, client, runtime, Some(invited)).await {
                break Err(Broken::Client(refusal));
            }
            if invited.withdrawn.get() {
                // What has just come is taken by the next try.
                continue;
            }
            out.clear();
            let taken = self.take(chunks, runtime.body_bytes_max, &mut out);
            if let Err(refusal) = taken {
                break Err(Broken::Client(refusal));
            }
            if out.is_empty() {
                continue;
            }
            // A stream of messages lives for as long as either side says something: the silence counts from here on, or, where
            // the upstream is slow to take it, from when it has.
            if self.patient {
                answer_within(service.write_timeout_ms + service.read_timeout_ms);
            }
            link.watch.arm_write(Millis(clock::millis().0 + service.write_timeout_ms));
            let (sent, back) = link.send(out).await;
            link.watch.disarm_write();
            out = back;
            if sent.is_err() {
                break Err(Broken::Upstream);
            }
            if self.patient {
                answer_within(service.read_timeout_ms);
            }
        };
        shard.put_buf(out);
        // From here on it is the upstream that is waited for.
        answer_within(service.read_timeout_ms);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(length: Length, input: &str, chunks: bool, want: &str, rest: &str) {
        for cut in 0..=input.len() {
            let (mut decoding, mut out, mut at, mut payload) = (Decoding::new(length), Vec::new(), 0, 0);
            for end in [cut, input.len()] {
                let taken = decoding.take(&input.as_bytes()[at..end], chunks, true, &mut out).expect("sound chunks");
                at += taken.used;
                payload += taken.payload;
            }
            assert_eq!(payload, want.len(), "framing is no payload; cut at {cut}");
            if length == Length::UntilClose {
                assert!(decoding.close(chunks, &mut out));
            }
            assert!(decoding.is_done(), "cut at {cut}");
            assert_eq!(&input[at..], rest, "cut at {cut}");
            if !chunks {
                assert_eq!(String::from_utf8_lossy(&out), want, "cut at {cut}");
            } else {
                let (mut again, mut plain) = (Decoding::new(Length::Chunked), Vec::new());
                again.take(&out, false, false, &mut plain).expect("we write sound chunks");
                assert!(again.is_done(), "cut at {cut}");
                assert_eq!(String::from_utf8_lossy(&plain), want, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_body_leaves_in_another_framing_with_the_same_content() {
        for chunks in [false, true] {
            check(Length::Fixed(5), "helloGET /", chunks, "hello", "GET /");
            check(Length::Chunked, "5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\nGET /", chunks, "hello!", "GET /");
            check(Length::Chunked, "0\r\nX-Sum: 1\r\n\r\n", chunks, "", "");
            check(Length::UntilClose, "all of it", chunks, "all of it", "");
        }
    }

    #[test]
    fn what_needs_no_framing_passes_up_to_its_end() {
        let mut fixed = Decoding::new(Length::Fixed(5));
        assert_eq!((fixed.pass(3, true), fixed.pass(3, false), fixed.pass(0, false)), (None, Some(3), Some(0)));
        assert!(!fixed.is_done());
        assert_eq!((fixed.pass(9, false), fixed.pass(9, false)), (Some(2), None));
        assert!(fixed.is_done());
        let mut open = Decoding::new(Length::UntilClose);
        assert_eq!((open.pass(9, false), open.is_done()), (Some(9), false));
        assert_eq!(Decoding::new(Length::Chunked).pass(9, false), None);
    }

    #[test]
    fn a_body_that_is_cut_is_not_whole() {
        let mut decoding = Decoding::new(Length::Fixed(5));
        let mut out = Vec::new();
        assert_eq!(decoding.take(b"hel", true, true, &mut out), Ok(Taken { used: 3, payload: 3 }));
        assert!(!decoding.close(true, &mut out));
    }
}
