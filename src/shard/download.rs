//! The way back: reads an upstream's answer and relays it to the client as it comes.

use super::attempt::Failure;
use super::body::{Decoding, Invitation};
use super::count::bump;
use super::forward::{self, ToClient};
use super::phase;
use super::refusal::Refusal;
use super::request::{Exchange, Record};
use super::upstream::Peer;
use super::{pool::Link, redis, Complaint};
use crate::base::limits::{INTERIM_REPLIES_MAX, REPLY_HEAD_BYTES_MAX, TRANSFORMED_BODY_BYTES_MAX};
use crate::base::time::{Millis, Nanos};
use crate::hook::{Edits, Identity, Unfit};
use crate::http::framing::{self, Length};
use crate::http::parse::{Parser, Progress};
use crate::http::{upgrade, Head, HeadRef, Known, Method, Version};
use crate::io::channel::Channel;
use crate::io::clock;
use crate::io::deadline::Side;
use crate::plan::Service;
use std::cell::Cell;
use std::future::{poll_fn, Future as _};
use std::io::ErrorKind;
use std::pin::pin;

/// Room before an answer that is expected to be large, bytes. Our head is put there, right before the payload, so that both
/// leave in one send and the payload is not copied. A head that is longer leaves by way of another buffer.
const HEADROOM: usize = 1024;

/// The way back.
pub(super) struct Download<'a> {
    pub(super) cx: &'a Exchange<'a>,
    pub(super) service: &'a Service,
    pub(super) peer: &'a Peer,
    pub(super) link: &'a Link,
    /// To be told when the upstream has said all: however long the client takes to hear it, the upstream is free.
    pub(super) ended: &'a dyn Fn(),
    /// Has the client sent its whole body?
    pub(super) uploaded: &'a Cell<bool>,
    /// Has the client been sent a byte of the answer?
    pub(super) begun: &'a Cell<bool>,
    /// What the upstream says to a client that waits for a 100.
    pub(super) invited: &'a Invitation,
}

/// How an answer ended.
pub(super) struct Downloaded {
    /// May the client's connection be kept?
    pub(super) keep: bool,
    /// May the upstream's connection be used again?
    pub(super) reusable: bool,
    /// After a 101: what came right behind it.
    pub(super) tunnel: Option<Vec<u8>>,
}

impl Download<'_> {
    pub(super) async fn run(
        &self,
        identity: &mut Identity,
        edits: &mut Edits,
        head: &mut Head,
        record: &mut Record,
    ) -> Result<Downloaded, Failure> {
        let shard = self.cx.shard;
        // Most answers are small; whoever waits for one holds no more than it takes.
        let (mut input, from) = match self.peer.answers_much.get() {
            false => (shard.small.take(), 0),
            true => (shard.large.take(), HEADROOM),
        };
        input.resize(from, 0);
        let heard = match self.read_head(&mut input, from, head, record.asked.millis()).await {
            Ok(heard) => heard,
            Err(failure) => {
                shard.put_buf(input);
                return Err(failure);
            }
        };
        let us = heard.since(record.asked) / 1000;
        record.upstream_us = Some(us);
        record.upstream_status = head.status;
        self.peer.on_answer(head.status, us);
        // What was received leaves behind a head of ours: a small buffer would grow past its class for a full one.
        let is_little = from > 0 || input.len() <= shard.small.bytes() / 2;
        let mut out = if is_little { shard.small.take() } else { shard.large.take() };
        let result = self.relay(&mut input, from, heard, &mut out, identity, edits, head, record).await;
        shard.put_buf(out);
        shard.put_buf(input);
        result
    }

    /// Reads until a final head stands in `input`, `from` where its room ends, and gives when it came; passes interim ones
    /// on. The upstream was asked at `now`.
    async fn read_head(
        &self,
        input: &mut Vec<u8>,
        from: usize,
        head: &mut Head,
        mut now: Millis,
    ) -> Result<Nanos, Failure> {
        let shard = self.cx.shard;
        // A stream of many hears at once that its client has left.
        let client = self.cx.client;
        let leaving = (!client.is_http2()).then(|| shard.leaving.watch(client.stream.fd(), self.link.ending(), now));
        let mut parser = Parser::default();
        let mut interims = 0;
        let mut any = false;
        loop {
            // While the client is still sending, the upstream is not late; the end of the upload sets the deadline. A stream of
            // messages may have no end, and the upload sets it anew with each.
            if self.uploaded.get() || self.cx.parts.grpc {
                self.link.watch.arm_read(self.until(now));
            } else if let Some(deadline) = self.cx.parts.deadline {
                self.link.watch.arm_read(deadline);
            }
            if input.len() == input.capacity() {
                shard.enlarge(input, REPLY_HEAD_BYTES_MAX);
            }
            let (result, buf) = self.link.recv(std::mem::take(input)).await;
            *input = buf;
            let heard = clock::nanos();
            now = heard.millis();
            match result {
                Ok(1..) => any = true,
                _ if client.is_gone() || leaving.as_ref().is_some_and(|leaving| leaving.is_given_up()) => {
                    return Err(Refusal::Gone.into())
                }
                _ if self.link.watch.fired() == Some(Side::Read) && self.is_clients_silence(now) => {
                    bump(&shard.counters.client_timeouts);
                    return Err(Refusal::Client(408, None).into());
                }
                _ if self.link.watch.fired() == Some(Side::Read) => {
                    shard.complain(Complaint::UpstreamTimeout, || {
                        format!("upstream of service {:?} was silent for too long", self.service.host)
                    });
                    return Err(if any { Refusal::SlowUpstream.into() } else { Failure::Silent { slow: true } });
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Err(Failure::Refused),
                _ if any => return Err(self.bad("closed within its head")),
                _ => return Err(Failure::Silent { slow: false }),
            }
            loop {
                match parser.reply(&input[from..], head) {
                    Ok(Progress::Partial) => break,
                    Ok(Progress::Done) if (100..200).contains(&head.status) && head.status != 101 => {
                        interims += 1;
                        if interims > INTERIM_REPLIES_MAX {
                            return Err(self.bad("too many interim answers"));
                        }
                        if head.status == 100 {
                            self.invited.given.set(true);
                        }
                        Box::pin(self.interim(head.on(&input[from..]))).await?;
                        input.drain(from..from + head.len);
                        parser = Parser::default();
                        if input.len() == from {
                            break;
                        }
                    }
                    Ok(Progress::Done) => {
                        self.invited.declined.set(!self.invited.given.get());
                        self.invited.told().await;
                        return Ok(heard);
                    }
                    Err(fault) => return Err(self.bad(fault.text())),
                }
            }
        }
    }

    /// Is it the client that has said too little for too long, its messages having no end? The upstream may wait for them; it is
    /// not to be taken for ill.
    fn is_clients_silence(&self, now: Millis) -> bool {
        self.cx.parts.grpc && !self.uploaded.get() && self.cx.parts.deadline.is_none_or(|deadline| now < deadline)
    }

    /// When the next read must have ended.
    pub(super) fn until(&self, now: Millis) -> Millis {
        let until = Millis(now.0 + self.service.read_timeout_ms);
        self.cx.parts.deadline.map_or(until, |deadline| until.min(deadline))
    }

    /// Is the end that was received the upstream's own: neither our deadline, nor over TLS a cut?
    pub(super) fn has_ended_well(&self) -> bool {
        self.link.watch.fired().is_none() && !self.link.channel().is_some_and(Channel::is_cut)
    }

    pub(super) fn bad(&self, what: &str) -> Failure {
        self.cx.shard.complain(Complaint::UpstreamReply, || {
            format!("service {:?} sent what is no answer: {what}", self.service.host)
        });
        Refusal::BadUpstream.into()
    }

    /// Passes a 103 and its like on. A 100 ends here: the upload sends it, once and in its place.
    async fn interim(&self, reply: HeadRef<'_>) -> Result<(), Failure> {
        if reply.head.status == 100 || self.cx.parts.head.head.version == Version::H10 {
            return Ok(());
        }
        let mut out = self.cx.shard.small.take();
        let written = forward::interim(reply, &mut out);
        self.invited.told().await;
        self.invited.tell(true);
        let (sent, out) = self.cx.client.send(out, self.cx.runtime.send_timeout_ms).await;
        self.invited.tell(false);
        self.cx.shard.put_buf(out);
        written.map_err(|fault| self.bad(fault.text()))?;
        sent.map_err(|_| Refusal::Gone.into())
    }

    /// Sends the answer whose head stands in `input`, behind its room of `from` bytes; it was heard just now.
    #[expect(clippy::too_many_arguments, reason = "each is a piece of the connection's state, borrowed apart")]
    async fn relay(
        &self,
        input: &mut Vec<u8>,
        from: usize,
        heard: Nanos,
        out: &mut Vec<u8>,
        identity: &mut Identity,
        edits: &mut Edits,
        head: &mut Head,
        record: &mut Record,
    ) -> Result<Downloaded, Failure> {
        let Exchange { shard, world, parts, .. } = *self.cx;
        let mut now = heard.millis();
        let reply = head.on(&input[from..]);
        let switching = head.status == 101;
        if switching && !(parts.websocket && upgrade::is_granted(reply)) {
            return Err(self.bad("a switch of protocols nobody asked for"));
        }
        let (asked, wanted) = (self.cx.method(edits), parts.head.head.method);
        let length = framing::of_reply(reply, asked).map_err(|fault| self.bad(fault.text()))?;
        let mut to_client = forward::length_for_client(length, parts.head.head.version);
        // Where a plugin has changed the method, the upstream's answer may have a body that the client must not get, or
        // none where the client waits for one.
        let unwanted = wanted == Method::Head && length != Length::None;
        if unwanted {
            to_client = Length::None;
        } else if asked == Method::Head && wanted != Method::Head && !matches!(head.status, 100..=199 | 204 | 304) {
            to_client = Length::Fixed(0);
        }
        let keep =
            parts.keep && to_client != Length::UntilClose && self.uploaded.get() && !self.cx.is_last() && !switching;
        let link_kept = framing::keep_alive(reply);
        // An answer that must not have a body and yet announces one: some upstreams send it, a moment later.
        let announces = head.status == 204 && reply.field(Known::ContentLength).is_some_and(|length| length != b"0");
        let may_go_on = length == Length::None && (announces || reply.has(Known::TransferEncoding));
        phase::response(shard, world, parts, identity, edits, reply, false);
        if parts.way.responds {
            redis::send_outbox(shard);
        }
        record.responded = true;
        if let Some(status) = edits.replaced() {
            return Err(Refusal::Replaced(status).into());
        }
        record.status = edits.status().unwrap_or(head.status);
        let rewritten = parts.way.rewrites
            && !switching
            && head.status != 206
            && phase::wants_body(shard, world, parts, identity, edits, reply);
        if rewritten && length != Length::None && !unwanted {
            return Box::pin(self.rewrite(input, from, length, out, identity, edits, head, record)).await;
        }
        if let Some(recode) = edits.take_recode().filter(|_| length != Length::None && !unwanted && !switching) {
            return Box::pin(self.recode(recode, input, from, length, out, edits, head, record)).await;
        }
        let http2 = self.link.is_http2();
        let to = ToClient { length: to_client, keep, switching, resized: rewritten, http2 };
        forward::answer(shard, &world.tables.plan.node, parts, reply, record, edits, &to, out)
            .map_err(|fault| self.bad(fault.text()))?;
        if unwanted {
            self.begun.set(true);
            (self.ended)();
            self.send(out, 0, now, record).await?;
            return Ok(Downloaded { keep, reusable: false, tunnel: None });
        }
        let mut decoding = Decoding::new(length);
        let chunks = to_client == Length::Chunked;
        // A client that is told no end takes any end in good order for it.
        let cut = || if to_client == Length::UntilClose { Refusal::Cut } else { Refusal::Short };
        let mut at = from + head.len;
        if switching {
            self.send(out, 0, now, record).await?;
            input.drain(..at);
            return Ok(Downloaded { keep: false, reusable: false, tunnel: Some(std::mem::take(input)) });
        }
        if chunks && decoding.is_done() {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        // An answer without a body says nothing of those that have one.
        if length != Length::None {
            self.peer.answers_much.set(!decoding.fits(shard.small.bytes()));
        }
        let mut surplus = false;
        'body: loop {
            // From the first byte of the body on nothing else can be said: what fails after it cuts the connection.
            let in_place = from > 0 && !out.is_empty() && out.len() <= at && at < input.len();
            match in_place.then(|| decoding.pass(input.len() - at, chunks)).flatten() {
                Some(bytes) => {
                    let start = at - out.len();
                    input[start..at].copy_from_slice(out);
                    out.clear();
                    surplus = input.len() > at + bytes;
                    input.truncate(at + bytes);
                    self.begun.set(true);
                    if decoding.is_done() {
                        (self.ended)();
                    }
                    self.send(input, start, now, record).await?;
                    at = 0;
                }
                None => {
                    let taken = decoding.take(&input[at..], chunks, parts.trailers, out);
                    at += match taken {
                        Ok(taken) => taken.used,
                        Err(fault) if self.begun.get() => {
                            let _ = self.bad(fault.text());
                            return Err(cut().into());
                        }
                        Err(fault) => return Err(self.bad(fault.text())),
                    };
                    self.begun.set(true);
                    if decoding.is_done() {
                        (self.ended)();
                    }
                    // Head and first bytes of the body leave in one send.
                    self.send(out, 0, now, record).await?;
                }
            }
            if decoding.is_done() {
                break;
            }
            input.drain(..at);
            at = 0;
            shard.enlarge(input, 1024);
            if decoding.pass(0, chunks).is_none() {
                shard.enlarge(out, 0);
            }
            loop {
                self.link.watch.arm_read(self.until(clock::millis()));
                let (result, buf) = self.link.recv(std::mem::take(input)).await;
                *input = buf;
                now = clock::millis();
                match result {
                    Ok(1..) => {}
                    Ok(_) if self.has_ended_well() && decoding.close(chunks, out) => {
                        (self.ended)();
                        if !out.is_empty() {
                            self.send(out, 0, now, record).await?;
                        }
                        break 'body;
                    }
                    _ if self.cx.client.is_gone() => {
                        bump(&shard.counters.client_gone);
                        record.refusal = "gone";
                        return Err(Refusal::Cut.into());
                    }
                    _ => {
                        let _ = self.bad("the body ended before its end");
                        return Err(cut().into());
                    }
                }
                // Payload that needs no other framing leaves from where it lies.
                let received = input.len();
                let Some(bytes) = decoding.pass(received, chunks) else { break };
                input.truncate(bytes);
                if decoding.is_done() {
                    (self.ended)();
                }
                self.send(input, 0, now, record).await?;
                if decoding.is_done() {
                    surplus = received > bytes;
                    break 'body;
                }
            }
        }
        // Bytes behind the end belong to no request: whoever got this connection next would get them as its answer.
        let reusable = link_kept && !may_go_on && length != Length::UntilClose && at == input.len() && !surplus;
        Ok(Downloaded { keep, reusable, tunnel: None })
    }

    /// Receives the whole body behind a head of `head` bytes that stays where it is. Gives the body, the lines of the trailer
    /// section behind it, and whether the upstream's connection is in order after it.
    async fn whole(
        &self,
        input: &mut Vec<u8>,
        head: usize,
        length: Length,
    ) -> Result<(Vec<u8>, Vec<u8>, bool), Failure> {
        let mut decoding = Decoding::new(length);
        let (mut body, mut trailers) = (Vec::new(), Vec::new());
        loop {
            let used = decoding.unpack(&input[head..], &mut body, &mut trailers);
            let used = used.map_err(|fault| self.bad(fault.text()))?;
            if body.len() > TRANSFORMED_BODY_BYTES_MAX {
                return Err(self.bad("its body is larger than one that can be rewritten"));
            }
            input.drain(head..head + used);
            if decoding.is_done() {
                break;
            }
            self.cx.shard.enlarge(input, 1024);
            self.link.watch.arm_read(self.until(clock::millis()));
            let (result, buf) = self.link.recv(std::mem::take(input)).await;
            *input = buf;
            match result {
                Ok(1..) => {}
                Ok(_) if self.has_ended_well() && decoding.close(false, &mut body) => break,
                _ => return Err(self.bad("the body ended before its end")),
            }
        }
        (self.ended)();
        let in_order = length != Length::UntilClose && input.len() == head;
        Ok((body, trailers, in_order))
    }

    /// Sends an answer whose body a plugin wants to see before anybody else does: nothing has been sent so far, so what
    /// fails is still told to the client. Trailers are told to the plugins alone.
    #[expect(clippy::too_many_arguments, reason = "each is a piece of the exchange's state, borrowed apart")]
    async fn rewrite(
        &self,
        input: &mut Vec<u8>,
        from: usize,
        length: Length,
        out: &mut Vec<u8>,
        identity: &mut Identity,
        edits: &mut Edits,
        head: &mut Head,
        record: &mut Record,
    ) -> Result<Downloaded, Failure> {
        let Exchange { shard, world, parts, .. } = *self.cx;
        let (mut body, trailers, in_order) = self.whole(input, from + head.len, length).await?;
        if let Some(mut recode) = edits.take_recode() {
            let mut new = Vec::new();
            let recoded = recode.data(&body, &mut new).and_then(|()| recode.end(&trailers, &mut new));
            recoded.map_err(|Unfit| self.bad("its body is nothing that can be rewritten"))?;
            body = new;
        }
        let reply = head.on(&input[from..]);
        let new = phase::rewrite(shard, world, parts, identity, edits, reply, false, &body, &trailers);
        record.status = edits.status().unwrap_or(head.status);
        let body = new.as_deref().unwrap_or(&body);
        let keep = parts.keep && self.uploaded.get() && !self.cx.is_last();
        let (length, http2) = (Length::Fixed(body.len() as u64), self.link.is_http2());
        let to = ToClient { length, keep, switching: false, resized: true, http2 };
        forward::answer(shard, &world.tables.plan.node, parts, reply, record, edits, &to, out)
            .map_err(|fault| self.bad(fault.text()))?;
        let reusable = in_order && framing::keep_alive(reply);
        out.extend_from_slice(body);
        self.begun.set(true);
        self.send(out, 0, clock::millis(), record).await?;
        Ok(Downloaded { keep, reusable, tunnel: None })
    }

    /// Sends `out` from `from` on, from `now` on within the node's time, and empties it.
    pub(super) async fn send(
        &self,
        out: &mut Vec<u8>,
        from: usize,
        now: Millis,
        record: &mut Record,
    ) -> Result<(), Failure> {
        let until = Millis(now.0 + self.cx.runtime.send_timeout_ms);
        let mut sending = pin!(self.cx.client.send_from(std::mem::take(out), from, until));
        let (sent, back) = poll_fn(|cx| {
            let sent = sending.as_mut().poll(cx);
            if sent.is_pending() {
                self.link.soak(cx);
            }
            sent
        })
        .await;
        *out = back;
        out.clear();
        if sent.is_err() {
            bump(&self.cx.shard.counters.client_gone);
            record.refusal = "gone";
            return Err(Refusal::Cut.into());
        }
        Ok(())
    }
}
