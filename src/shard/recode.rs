//! Answers whose bodies a plugin rewrites as they come: the relay of `download.rs` with a [`Recode`] in its middle.
//!
//! The client is told no length, and gets no trailers: what they say is the recoder's to tell.

use super::attempt::Failure;
use super::body::Decoding;
use super::count::bump;
use super::download::{Download, Downloaded};
use super::forward::{self, ToClient};
use super::refusal::Refusal;
use super::request::{Exchange, Record};
use crate::hook::{Edits, Recode, Stop, Unfit};
use crate::http::chunked;
use crate::http::framing::{self, Length};
use crate::http::Head;
use crate::io::clock;

impl Download<'_> {
    /// Sends the answer whose head stands in `input`, behind its room of `from` bytes, by way of `recode`.
    #[expect(clippy::too_many_arguments, reason = "each is a piece of the connection's state, borrowed apart")]
    pub(super) async fn recode(
        &self,
        mut recode: Box<dyn Recode>,
        input: &mut Vec<u8>,
        from: usize,
        length: Length,
        out: &mut Vec<u8>,
        edits: &mut Edits,
        head: &mut Head,
        record: &mut Record,
    ) -> Result<Downloaded, Failure> {
        let Exchange { shard, world, parts, client, .. } = *self.cx;
        let reply = head.on(&input[from..]);
        let to_client = forward::length_for_client(Length::UntilClose, parts.head.head.version);
        let chunks = to_client == Length::Chunked;
        let keep = parts.keep && chunks && self.uploaded.get() && !self.cx.is_last();
        let link_kept = framing::keep_alive(reply);
        let http2 = self.link.is_http2();
        let to = ToClient { length: to_client, keep, switching: false, resized: true, http2 };
        forward::answer(shard, &world.tables.plan.node, parts, reply, record, edits, &to, out)
            .map_err(|fault| self.bad(fault.text()))?;
        // A stream may be silent for long, and its client gone meanwhile.
        let now = clock::millis();
        let leaving = (!client.is_http2()).then(|| shard.leaving.watch(client.stream.fd(), self.link.ending(), now));
        let cut = || if chunks { Refusal::Short } else { Refusal::Cut };
        let mut decoding = Decoding::new(length);
        let (mut payload, mut piece, mut trailers) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = from + head.len;
        let mut stopped = None;
        loop {
            payload.clear();
            let used = decoding.unpack(&input[at..], &mut payload, &mut trailers);
            at += used.unwrap_or_else(|fault| {
                let _ = self.bad(fault.text());
                stopped = Some(Stop::Broken);
                0
            });
            let recoded = match stopped {
                Some(why) => recode.stop(why, &mut piece).then_some(()).ok_or(Unfit),
                None if decoding.is_done() => {
                    (self.ended)();
                    recode.data(&payload, &mut piece).and_then(|()| recode.end(&trailers, &mut piece))
                }
                None => recode.data(&payload, &mut piece),
            };
            if recoded.is_err() {
                if stopped.is_none() {
                    let _ = self.bad("its body is nothing that can be rewritten");
                }
                return Err(if self.begun.get() { cut() } else { Refusal::BadUpstream }.into());
            }
            let is_last = stopped.is_some() || decoding.is_done();
            put(&piece, chunks, is_last, out);
            piece.clear();
            self.begun.set(true);
            if !out.is_empty() {
                self.send(out, 0, clock::millis(), record).await?;
            }
            if is_last {
                break;
            }
            input.drain(..at);
            at = 0;
            shard.enlarge(input, 1024);
            self.link.watch.arm_read(self.until(clock::millis()));
            let (result, buf) = self.link.recv(std::mem::take(input)).await;
            *input = buf;
            match result {
                Ok(1..) => {}
                Ok(_) if self.has_ended_well() && decoding.close(false, &mut payload) => {}
                _ if client.is_gone() || leaving.as_ref().is_some_and(|leaving| leaving.is_given_up()) => {
                    bump(&shard.counters.client_gone);
                    record.refusal = "gone";
                    return Err(Refusal::Cut.into());
                }
                _ => {
                    let late = self.link.watch.fired().is_some();
                    let _ = self.bad("the body ended before its end");
                    stopped = Some(if late { Stop::Late } else { Stop::Broken });
                }
            }
        }
        let reusable = link_kept && stopped.is_none() && length != Length::UntilClose && at == input.len();
        Ok(Downloaded { keep, reusable, tunnel: None })
    }
}

/// Frames what goes to the client.
fn put(piece: &[u8], chunks: bool, is_last: bool, out: &mut Vec<u8>) {
    if chunks && !piece.is_empty() {
        chunked::encode_size(piece.len() as u64, out);
    }
    out.extend_from_slice(piece);
    if chunks && !piece.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    if chunks && is_last {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}
