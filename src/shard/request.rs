//! ★ The story of one request, from its head to its log line.

use super::body::Inbound;
use super::count::{bump, InFlight, Sample};
use super::early;
use super::log::Entry;
use super::look::{look, Parts};
use super::phase::{self, Phase};
use super::refusal::{self, Refusal};
use super::serve::{Client, Work};
use super::tables::World;
use super::{redis, Shard};
use crate::base::bytes;
use crate::base::limits::{BODY_KEPT_BYTES_MAX, SLEEP_MS_MAX};
use crate::base::time::Nanos;
use crate::hook::{Edits, Identity, Need, Outcome};
use crate::http::framing::Length;
use crate::http::{Fault, Head, HeadRef, Method};
use crate::io::clock;
use crate::plan::{Protocol, Runtime};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next request may come.
    Keep,
    /// It ends here, cleanly.
    Close,
    /// It ends here, and the client may still be sending.
    Linger,
    /// It is cut, so that a part is not taken for the whole.
    Cut,
    /// The client is gone.
    Gone,
}

/// What is noted of a request for log and metrics.
pub(super) struct Record {
    pub(super) id: [u8; 32],
    pub(super) started: Nanos,
    /// When the upstream was asked, the last time.
    pub(super) asked: Nanos,
    pub(super) ended: Nanos,
    pub(super) status: u16,
    pub(super) upstream_status: u16,
    /// In the gateway before the upstream was asked, µs.
    pub(super) proxy_us: u64,
    /// Waiting for the upstream's head, µs.
    pub(super) upstream_us: Option<u64>,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) tries: u32,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) refusal: &'static str,
    /// Have the response hooks run? They do so once, even where the answer they ran for is then given up.
    pub(super) responded: bool,
}

impl Record {
    fn new(shard: &Shard) -> Record {
        let now = clock::nanos();
        Record {
            id: bytes::hex(shard.rng.borrow_mut().uuid_v4()),
            started: now,
            asked: now,
            ended: now,
            status: 0,
            upstream_status: 0,
            proxy_us: 0,
            upstream_us: None,
            upstream: None,
            tries: 0,
            bytes_in: 0,
            bytes_out: 0,
            refusal: "",
            responded: false,
        }
    }

    pub(super) fn total_us(&self) -> u64 {
        self.ended.since(self.started) / 1000
    }
}

/// Where the body of a request is.
pub(super) enum Body {
    /// There is none.
    None,
    /// Whole, right behind the head: so many bytes.
    Hand(usize),
    /// On its way.
    Inbound(Box<Inbound>),
    /// Not read, and nobody will: the request was refused by its head. What follows it is not a next request.
    Unread,
}

impl Body {
    /// Has all of it been read?
    pub(super) fn is_read(&self) -> bool {
        match self {
            Body::None | Body::Hand(_) => true,
            Body::Inbound(inbound) => inbound.is_done(),
            Body::Unread => false,
        }
    }

    /// That of a request refused by its head.
    fn of_refused(length: Option<Length>, rest: &[u8]) -> Body {
        match length {
            Some(Length::None) => Body::None,
            Some(Length::Fixed(bytes)) if bytes <= rest.len() as u64 => Body::Hand(bytes as usize),
            _ => Body::Unread,
        }
    }
}

/// Serves the request whose head stands in `work`.
pub(super) async fn serve(shard: &Rc<Shard>, client: &Client, work: &mut Work) -> Next {
    client.requests.set(client.requests.get() + 1);
    bump(&shard.counters.requests);
    let _in_flight = InFlight::begin(shard.gauges());
    story(shard, client, work).await
}

async fn story(shard: &Rc<Shard>, client: &Client, work: &mut Work) -> Next {
    let world = shard.world(); // this request's world
    let mut record = Record::new(shard);
    let bytes_before = client.bytes_out.get();
    let Work { input, start, now, head, reply_head, edits, path, scratch, .. } = work;
    edits.clear();
    let mut identity = Identity::default();
    let mut body = Body::None;

    let bytes = &input[*start..];
    let id = record.id;
    let (parts, length) = look(&world, client, head.on(bytes), path, scratch, &id);
    let (runtime, waited) = (&world.tables.plan.node.runtime, Cell::new(client.stream.is_early()));
    let cx = Exchange { shard, client, world: &world, parts: &parts, runtime, waited };
    let answered = match length {
        Ok(length) => {
            cx.answer(length, &bytes[head.len..], &mut body, &mut identity, edits, reply_head, &mut record).await
        }
        Err(refusal) => {
            body = Body::of_refused(parts.length, &bytes[head.len..]);
            Err(refusal)
        }
    };
    let mut next = match answered {
        Ok(next) => next,
        Err(refusal) => {
            let next = cx.refuse(refusal, body.is_read(), &mut identity, edits, reply_head, &mut record).await;
            record.ended = clock::nanos();
            next
        }
    };
    *now = record.ended.millis();
    record.bytes_in = head.len as u64
        + match &body {
            Body::None | Body::Unread => 0,
            Body::Hand(bytes) => *bytes as u64,
            Body::Inbound(inbound) => inbound.payload(),
        };
    record.bytes_out = client.bytes_out.get() - bytes_before;
    cx.note(identity, &record);

    match body {
        Body::None => *start += head.len,
        Body::Unread => {
            *start += head.len;
            if next == Next::Keep {
                next = Next::Linger;
            }
        }
        Body::Hand(bytes) => *start += head.len + bytes,
        Body::Inbound(inbound) => {
            if !inbound.is_done() && next == Next::Keep {
                next = Next::Linger;
            }
            let used = std::mem::replace(input, inbound.into_rest());
            *start = 0;
            shard.put_buf(used);
        }
    }
    next
}

/// Answers a client whose head could not be read, and closes.
pub(super) async fn refuse_unread(
    shard: &Rc<Shard>,
    client: &Client,
    work: &mut Work,
    status: u16,
    fault: Option<Fault>,
) -> Next {
    client.requests.set(client.requests.get() + 1);
    bump(&shard.counters.requests);
    if status == 408 {
        bump(&shard.counters.client_timeouts);
    }
    let world = shard.world();
    let mut record = Record::new(shard);
    work.edits.clear();
    record.ended = clock::nanos();
    let mut out = shard.small.take();
    let refusal = Refusal::Client(status, fault);
    let Work { edits, reply_head, .. } = work;
    refusal::render(shard, None, &mut record, refusal, false, edits, reply_head, |_, _, _| {}, &mut out);
    record.bytes_out = out.len() as u64;
    let (_, out) = client.send(out, world.tables.plan.node.runtime.send_timeout_ms).await;
    shard.put_buf(out);
    note(shard, client, &world, None, Identity::default(), &record);
    Next::Linger
}

/// Everything a request's story refers to.
pub(super) struct Exchange<'a> {
    pub(super) shard: &'a Rc<Shard>,
    pub(super) client: &'a Client,
    pub(super) world: &'a World,
    pub(super) parts: &'a Parts<'a>,
    pub(super) runtime: &'a Runtime,
    /// Has it waited for something before an upstream was asked: a plugin's need, or the end of the client's handshake?
    pub(super) waited: Cell<bool>,
}

impl Exchange<'_> {
    #[expect(clippy::too_many_arguments, reason = "each is a piece of the connection's state, borrowed apart")]
    async fn answer(
        &self,
        length: Length,
        rest: &[u8],
        body: &mut Body,
        identity: &mut Identity,
        edits: &mut Edits,
        reply_head: &mut Head,
        record: &mut Record,
    ) -> Result<Next, Refusal> {
        *body = match length {
            Length::Fixed(bytes) if bytes <= rest.len() as u64 => Body::Hand(bytes as usize),
            Length::None | Length::UntilClose => Body::None,
            length => {
                let mut inbound = Inbound::new(self.shard, length, rest, self.parts.expects);
                inbound.patient = self.parts.grpc;
                Body::Inbound(Box::new(inbound))
            }
        };
        if self.client.stream.is_early() {
            Box::pin(early::settle(self, length, edits)).await?;
        }
        self.plugins(rest, body, identity, edits).await?;
        let Some(service) = self.parts.service else {
            return Err(Refusal::NoService);
        };
        if !matches!(service.protocol, Protocol::Http | Protocol::Https | Protocol::Grpc | Protocol::Grpcs) {
            return Err(Refusal::Unserved);
        }
        self.exchange(service, rest, body, identity, edits, reply_head, record).await
    }

    /// Runs the request hooks, fetching what they need.
    async fn plugins(
        &self,
        rest: &[u8],
        body: &mut Body,
        identity: &mut Identity,
        edits: &mut Edits,
    ) -> Result<(), Refusal> {
        let (shard, world) = (self.shard, self.world);
        let mut phase = phase::request(shard, world, self.parts, identity, edits, 0, None);
        loop {
            if let Body::Inbound(inbound) = body {
                inbound.limit_to(edits.body_limit())?;
            }
            let (at, need) = match phase {
                Phase::Done => return Ok(()),
                Phase::Reply(reply) => return Err(Refusal::Policy(reply)),
                Phase::Refuse(status) => return Err(Refusal::Noted(status)),
                Phase::Need(at, need) => (at, need),
            };
            self.waited.set(true);
            let bytes_max = match need {
                Need::Body { bytes_max } => bytes_max.min(BODY_KEPT_BYTES_MAX),
                Need::Sleep(ms) => {
                    Box::pin(crate::io::sleep_ms(ms.min(SLEEP_MS_MAX))).await;
                    phase = phase::request(shard, world, self.parts, identity, edits, at, Some(Outcome::Slept));
                    continue;
                }
                Need::Redis(call) => {
                    let answers = Box::pin(redis::ask(shard, &call)).await;
                    let outcome = Outcome::Redis(&call, answers.as_deref().map_err(|fault| *fault));
                    phase = phase::request(shard, world, self.parts, identity, edits, at, Some(outcome));
                    redis::keep(shard, call);
                    redis::send_outbox(shard);
                    continue;
                }
            };
            let whole: Option<&[u8]> = match body {
                Body::None | Body::Unread => Some(b""),
                Body::Hand(bytes) => Some(&rest[..*bytes]).filter(|bytes| bytes.len() <= bytes_max),
                Body::Inbound(inbound) => {
                    let whole = Box::pin(inbound.collect(shard, self.client, self.runtime, bytes_max)).await?;
                    whole.then_some(&inbound.kept)
                }
            };
            phase = phase::request(shard, world, self.parts, identity, edits, at, Some(Outcome::Body(whole)));
        }
    }

    /// Sends what a client is told when its request fails.
    async fn refuse(
        &self,
        refusal: Refusal,
        body_read: bool,
        identity: &mut Identity,
        edits: &mut Edits,
        reply_head: &mut Head,
        record: &mut Record,
    ) -> Next {
        match refusal {
            Refusal::Cut => return Next::Cut,
            Refusal::Short if body_read => return Next::Close,
            Refusal::Short => return Next::Linger,
            _ => {}
        }
        if let Refusal::Gone = refusal {
            bump(&self.shard.counters.client_gone);
            record.status = 499;
            record.refusal = "gone";
            return Next::Gone;
        }
        let shard = self.shard;
        // What nobody has waited for takes less than a reading of the clock is worth: its latency is told in ms.
        let at_once = record.tries == 0 && !self.waited.get();
        record.ended = if at_once { record.started } else { clock::nanos() };
        let mut out = shard.small.take();
        let keep = self.parts.keep && body_read && !self.is_last();
        let responded = std::mem::replace(&mut record.responded, true);
        let hooks = |head: HeadRef<'_>, edits: &mut Edits, body: &mut Vec<u8>| {
            if !responded {
                phase::response(shard, self.world, self.parts, identity, edits, head, true);
                if let Some(new) = phase::rewrite(shard, self.world, self.parts, identity, edits, head, true, body, b"")
                {
                    *body = new;
                }
            }
        };
        let parts = Some(self.parts);
        let rendered = refusal::render(shard, parts, record, refusal, keep, edits, reply_head, hooks, &mut out);
        let (sent, out) = self.client.send(out, self.runtime.send_timeout_ms).await;
        shard.put_buf(out);
        match rendered {
            _ if sent.is_err() => Next::Gone,
            Some(rendered) if !rendered.close => Next::Keep,
            _ if body_read => Next::Close,
            _ => Next::Linger,
        }
    }

    /// What the upstream is asked with.
    pub(super) fn method(&self, edits: &Edits) -> Method {
        edits.method().map_or(self.parts.head.head.method, Method::classify)
    }

    /// Is this the last request the connection may have?
    pub(super) fn is_last(&self) -> bool {
        let max = self.runtime.keepalive_requests_max;
        max > 0 && self.client.requests.get() >= max || self.shard.is_draining()
    }

    fn note(&self, identity: Identity, record: &Record) {
        note(self.shard, self.client, self.world, Some(self.parts), identity, record);
    }
}

/// Writes the log line and counts.
fn note(shard: &Shard, client: &Client, world: &World, parts: Option<&Parts<'_>>, identity: Identity, record: &Record) {
    let route_ix = parts.and_then(|parts| parts.route_ix);
    let plan = &world.tables.plan;
    if let Some(log) = &plan.node.access_log {
        let label = world.tables.label(route_ix);
        let entry = Entry {
            parts,
            record,
            client,
            identity,
            route: &label.route,
            service: &label.service,
            shard: shard.index,
            wall_ms: clock::wall().0,
        };
        if !shard.log.borrow_mut().write(plan, &log.fields, &entry) {
            bump(&shard.counters.log_dropped);
        }
    }
    let sample = Sample {
        status: record.status,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        latency_us: record.total_us(),
        upstream_us: record.upstream_us,
    };
    world.count(shard, route_ix, sample);
}
