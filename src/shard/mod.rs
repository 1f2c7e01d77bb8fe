//! The data plane: one thread, one runtime, one [`Shard`] that owns everything a request touches.
//!
//! ```text
//! accept ─→ serve: a connection's life ─→ request ★: one request's story
//!                                           ├ look      what its head says
//!                                           ├ phase     plugins, in order
//!                                           ├ attempt   pick, connect, send, try again
//!                                           ├ upstream  targets and their connections
//!                                           ├ download  the way back
//!                                           ├ affinity  the hash that keeps like requests together
//!                                           ├ forward   the heads that leave, both ways
//!                                           ├ body      streaming, both ways at once
//!                                           ├ tunnel    after a 101
//!                                           ├ h2        the same over the streams of HTTP/2
//!                                           └ refusal   every failure a client can see, in one match
//! redis: the way to every Redis that plugins ask
//! tables: what is compiled per generation    pool: idle upstream connections    log, count: what is left of a request
//! ```
//!
//! Nothing here locks, and no borrow of a cell lives across an `.await`. The control thread is heard through a mailbox
//! and answered through a callback; without it a shard goes on serving.

mod accept;
mod affinity;
mod attempt;
mod body;
mod certificate;
mod count;
mod download;
mod early;
mod forward;
mod greeting;
mod h2;
mod leaving;
mod log;
mod look;
mod phase;
mod pool;
mod recode;
mod redis;
mod refusal;
mod request;
pub mod secure;
mod serve;
mod tables;
mod tunnel;
mod upstream;

pub use log::LINE_BYTES_MAX;
pub use tables::Tables;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Millis;
use crate::bus::{Endpoints, FromShard, Gauges, RefusalSnapshot, ToShard};
use crate::hook::{Locals, Refusals, Tally};
use crate::io::deadline::Deadlines;
use crate::io::listen::Bound;
use crate::io::mailbox::{Seat, Sender};
use crate::io::runtime::Wait;
use crate::io::{buf, channel, clock};
use crate::plan::{Listener, Runtime};
use crate::route::Scratch;
use count::{Counters, RouteCounts};
use pool::{Bounds, Pool};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tables::World;
use upstream::Group;

/// What a shard's thread is started with.
pub struct Start {
    /// Its number, from 0.
    pub index: usize,
    /// The CPU to stay on.
    pub cpu: Option<usize>,
    /// Its driver.
    pub wait: Wait,
    /// Sizes and bounds; those that only a restart changes are read here.
    pub runtime: Runtime,
    /// Its listeners, bound but not listening yet.
    pub listeners: Vec<(Arc<Listener>, Bound)>,
    /// Its mailbox.
    pub seat: Seat<ToShard<Tables>>,
    /// Everybody's mailboxes, its own included, by index.
    pub shards: Vec<Sender<ToShard<Tables>>>,
    /// Everybody's gauges, by index.
    pub gauges: Vec<Arc<Gauges>>,
    /// Ring of access-log lines; `None` where the log is off.
    pub log: Option<rtrb::Producer<u8>>,
    /// Seed of its random numbers.
    pub seed: u64,
    /// How it speaks to the control thread; must not block.
    pub report: Box<dyn Fn(FromShard)>,
}

/// All state of one core.
pub struct Shard {
    index: usize,
    gauges: Vec<Arc<Gauges>>,
    shards: Vec<Sender<ToShard<Tables>>>,
    report: Box<dyn Fn(FromShard)>,
    /// Today's tables; a request takes the `Rc` at its start and sees nothing else.
    world: RefCell<Rc<World>>,
    endpoints: RefCell<Arc<Endpoints>>,
    /// Upstreams by name: they outlive a reload.
    groups: RefCell<HashMap<String, Rc<Group>>>,
    /// Idle connections by address: they outlive a reload.
    pools: RefCell<HashMap<SocketAddr, Rc<Pool>>>,
    /// Connections over TLS, or made for one client, by address and [`secure::Toward::key`].
    secure_pools: RefCell<HashMap<(SocketAddr, u64), Rc<Pool>>>,
    /// Settings of TLS towards upstreams, with their memories of sessions.
    clients: RefCell<HashMap<[u8; 32], Arc<crate::tls::ClientConfig>>>,
    /// Of keys that clients choose; its own, so that nobody can aim.
    hasher: ahash::RandomState,
    pool_bounds: Bounds,
    redis: redis::Redis,
    hand_off: bool,
    small: buf::Pool,
    large: Rc<buf::Pool>,
    #[expect(clippy::vec_box, reason = "boxes are handed out and taken back; moving the contents would copy them")]
    works: RefCell<Vec<Box<serve::Work>>>,
    /// The fewest that lay free within this second.
    works_least: Cell<usize>,
    /// Who waits for a client's next request, so that those who wait for long give their buffers back.
    waiting: RefCell<Slab<Rc<serve::Waiting>>>,
    /// Of TLS connections.
    sealed: Rc<channel::Buffers>,
    /// Handshakes of clients under way.
    shaking: RefCell<serve::Handshakes>,
    deadlines: Deadlines,
    leaving: leaving::Leaving,
    locals: RefCell<Locals>,
    rng: RefCell<Rng>,
    /// Where the groups of path expressions are put, for those who ask for them after routing.
    captures: RefCell<Scratch>,
    /// `Date` of the current second.
    date: Cell<(u64, [u8; 29])>,
    log: RefCell<log::Ring>,
    counters: Counters,
    counts: RouteCounts,
    complaints: Complaints,
    serial: Cell<u64>,
    draining: Cell<Option<Millis>>,
    /// Tasks that must hear that the shard drains, those that accept and connections of many streams: a place for each, since
    /// they are polled for other things far more often.
    drain_wakers: RefCell<Slab<Option<Waker>>>,
}

/// Runs a shard on this thread until it has drained.
///
/// # Errors
/// Where the driver cannot be built or a listener cannot listen.
pub fn run(start: Start) -> std::io::Result<()> {
    let cpu = start.cpu.filter(|&cpu| crate::io::runtime::pin(cpu));
    let (wait, entries) = (start.wait, start.runtime.ring_entries);
    crate::io::runtime::run(wait, entries, live(start, cpu))?
}

async fn live(start: Start, cpu: Option<usize>) -> std::io::Result<()> {
    let runtime = &start.runtime;
    let kept = runtime.buffers_kept as usize;
    let mut mailbox = start.seat.sit(start.wait.non_blocking())?;
    // Nobody is let in before there is something to serve by.
    let mut endpoints = Arc::default();
    let tables = loop {
        match mailbox.next().await {
            Some(ToShard::Publish(tables)) => break tables,
            Some(ToShard::Endpoints(new)) => endpoints = new,
            Some(ToShard::Drain) => (start.report)(FromShard::Drained { shard: start.index }),
            // Nobody hands a client to a shard that is not open.
            Some(ToShard::Adopt { .. } | ToShard::Scrape(_)) => {}
            None => return Ok(()),
        }
    };
    let world = Rc::new(World::empty(tables.clone()));
    let shard = Rc::new(Shard {
        index: start.index,
        gauges: start.gauges,
        shards: start.shards,
        report: start.report,
        world: RefCell::new(world),
        endpoints: RefCell::new(endpoints),
        groups: RefCell::default(),
        pools: RefCell::default(),
        secure_pools: RefCell::default(),
        clients: RefCell::default(),
        hasher: ahash::RandomState::new(),
        pool_bounds: Bounds {
            idle_max: runtime.upstream_idle_max as usize,
            requests_max: runtime.upstream_requests_max,
            idle_ms: runtime.upstream_idle_ms,
            age_ms: runtime.upstream_age_ms,
            http2_connections_max: runtime.upstream_http2_connections_max as usize,
            http2_streams_max: runtime.upstream_http2_streams_max as usize,
            http2_ping_ms: runtime.upstream_http2_ping_ms,
        },
        redis: redis::Redis::default(),
        hand_off: runtime.hand_off,
        small: buf::Pool::new(runtime.buffer_small as usize, kept),
        large: Rc::new(buf::Pool::new(runtime.buffer_large as usize, kept)),
        works: RefCell::default(),
        works_least: Cell::new(0),
        waiting: RefCell::default(),
        sealed: Rc::new(channel::Buffers::new(kept)),
        shaking: RefCell::default(),
        deadlines: Deadlines::default(),
        leaving: leaving::Leaving::default(),
        locals: RefCell::default(),
        rng: RefCell::new(Rng::new(start.seed)),
        captures: RefCell::default(),
        date: Cell::new((0, *b"Thu, 01 Jan 1970 00:00:00 GMT")),
        log: RefCell::new(log::Ring::new(start.log)),
        counters: Counters::default(),
        counts: RouteCounts::default(),
        complaints: Complaints::default(),
        serial: Cell::new(0),
        draining: Cell::new(None),
        drain_wakers: RefCell::default(),
    });
    shard.publish(tables);
    shard.gauges().open.store(true, std::sync::atomic::Ordering::Release);
    crate::io::spawn(shard.deadlines.clone().run());
    crate::io::spawn(shard.clone().housekeeping());
    for (listener, bound) in start.listeners {
        let socket = bound.listen(listener.bind.backlog, start.wait.non_blocking())?;
        crate::io::spawn(accept::accept(shard.clone(), listener, socket));
    }
    (shard.report)(FromShard::Ready { shard: shard.index, cpu, driver: start.wait.word() });
    while let Some(message) = mailbox.next().await {
        match message {
            ToShard::Publish(tables) => shard.publish(tables),
            ToShard::Endpoints(endpoints) => shard.relocate(endpoints),
            ToShard::Adopt { socket, listener } => accept::adopt(&shard, socket, listener),
            ToShard::Scrape(answer) => {
                let mut snapshot = shard.counts.snapshot(shard.index, &shard.counters, shard.refusals());
                shard.redis.count_into(&mut snapshot);
                // A full or closed channel means that nobody waits any more.
                let _ = answer.try_send(snapshot);
            }
            ToShard::Drain => shard.drain(),
        }
    }
    Ok(())
}

impl Shard {
    fn gauges(&self) -> &Gauges {
        &self.gauges[self.index]
    }

    /// What plugins have refused since the start.
    fn refusals(&self) -> Vec<RefusalSnapshot> {
        let mut locals = self.locals.borrow_mut();
        let snapshot = |row: &Refusals| RefusalSnapshot {
            plugin: row.plugin.clone(),
            service: row.service.clone(),
            route: row.route.clone(),
            consumer: row.consumer.clone(),
            by: row.by,
            code: row.code,
            shadow: row.shadow,
            count: row.count,
        };
        locals.of(Tally::default).rows().map(snapshot).collect()
    }

    fn world(&self) -> Rc<World> {
        self.world.borrow().clone()
    }

    /// Swaps one pointer. What did not change lives on: groups, pools and counters are kept by name, address and id.
    fn publish(&self, tables: Arc<Tables>) {
        let endpoints = self.endpoints.borrow().clone();
        let mut groups = self.groups.borrow_mut();
        let of_plan: Vec<Rc<Group>> = tables
            .plan
            .upstreams
            .iter()
            .zip(&tables.turns)
            .map(|(upstream, turn)| {
                let group = groups
                    .entry(upstream.name.clone())
                    .or_insert_with(|| Rc::new(Group::new(&upstream.name, turn.clone())));
                group.locate(upstream, endpoints.of.get(&upstream.name), |addr| self.pool(addr));
                group.clone()
            })
            .collect();
        groups.retain(|name, _| tables.plan.upstreams.iter().any(|upstream| upstream.name == *name));
        drop(groups);
        self.keep_clients(&tables.secure);
        let world = Rc::new(World::new(tables, of_plan));
        *self.world.borrow_mut() = world.clone();
        self.counts.settle(world.tables.counted());
    }

    fn relocate(&self, endpoints: Arc<Endpoints>) {
        *self.endpoints.borrow_mut() = endpoints.clone();
        let world = self.world();
        for (upstream, group) in world.located() {
            group.locate(upstream, endpoints.of.get(&upstream.name), |addr| self.pool(addr));
        }
    }

    fn pool(&self, addr: SocketAddr) -> Rc<Pool> {
        self.pools.borrow_mut().entry(addr).or_default().clone()
    }

    /// `Date` for answers made now; rendered once a second.
    fn date(&self) -> [u8; 29] {
        let now = clock::wall();
        let (second, date) = self.date.get();
        if second == now.seconds() {
            return date;
        }
        let date = now.imf_fixdate();
        self.date.set((now.seconds(), date));
        date
    }

    /// Buffers of quiet clients, several times a second; memory nobody needs, once a second; pools of upstreams nobody
    /// uses, every five.
    async fn housekeeping(self: Rc<Shard>) {
        const A_SECOND: u64 = 1000 / limits::IDLE_BUFFERS_MS;
        let (mut turns, mut now) = (0u64, clock::millis());
        loop {
            crate::io::sleep_ms(limits::IDLE_BUFFERS_MS).await;
            turns += 1;
            // Waking is all this does to a waiting task, so the borrow holds nobody up.
            self.waiting.borrow().iter().for_each(|(_, waiting)| waiting.end_since(now));
            now = clock::millis();
            if turns.is_multiple_of(A_SECOND) {
                self.leaving.sweep(now);
                self.world.borrow().tables.secure.turn(clock::wall().seconds());
                let freed = self.small.trim() + self.large.trim() + self.trim_works() + self.sealed.trim();
                if freed >= limits::RELEASE_BYTES_MIN {
                    crate::io::runtime::release_memory();
                }
            }
            if turns.is_multiple_of(5 * A_SECOND) {
                let pools: Vec<Rc<Pool>> = self.pools.borrow().values().cloned().collect();
                pools.iter().for_each(|pool| pool.sweep(now, &self.pool_bounds));
                // A pool that only this map holds belongs to an address that no upstream has any more.
                self.pools.borrow_mut().retain(|_, pool| Rc::strong_count(pool) > 1 || pool.len() > 0);
                let secure: Vec<Rc<Pool>> = self.secure_pools.borrow().values().cloned().collect();
                secure.iter().for_each(|pool| pool.sweep(now, &self.pool_bounds));
                drop(secure);
                self.secure_pools.borrow_mut().retain(|_, pool| Rc::strong_count(pool) > 1 || pool.len() > 0);
            }
        }
    }

    /// The process has no descriptor left: quiet clients, then those that have sent half a head, and idle upstream connections
    /// give theirs, as busy ones are worth more.
    fn free_descriptors(&self) {
        self.deadlines.end_quietest(limits::QUIET_ENDED_MAX);
        self.clear_pools();
    }

    fn clear_pools(&self) {
        self.pools.borrow().values().for_each(|pool| pool.clear());
        self.secure_pools.borrow().values().for_each(|pool| pool.clear());
    }

    /// Stops accepting and lets clients finish; answers [`FromShard::Drained`] when none is left.
    fn drain(self: &Rc<Shard>) {
        if self.draining.get().is_some() {
            return;
        }
        self.draining.set(Some(clock::millis()));
        self.drain_wakers.borrow().iter().filter_map(|(_, waker)| waker.as_ref()).for_each(Waker::wake_by_ref);
        let shard = self.clone();
        crate::io::spawn(async move {
            // Clients that are quiet now may have a request on its way: they have a moment to send it.
            crate::io::sleep_ms(limits::DRAIN_QUIET_MS).await;
            loop {
                shard.deadlines.end_quiet();
                if shard.gauges().connections.load(std::sync::atomic::Ordering::Relaxed) == 0 {
                    break;
                }
                crate::io::sleep_ms(20).await;
            }
            shard.clear_pools();
            redis::flush(&shard).await;
            (shard.report)(FromShard::Drained { shard: shard.index });
        });
    }

    fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Waits until the shard drains; `place` is that of the task in `drain_wakers`.
    async fn drained(&self, place: usize) {
        std::future::poll_fn(|cx| {
            if self.is_draining() {
                return Poll::Ready(());
            }
            self.hold_waker(place, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Wakes the task of this place when the shard drains.
    fn hold_waker(&self, place: usize, waker: &Waker) {
        let held = &mut self.drain_wakers.borrow_mut()[place];
        if !held.as_ref().is_some_and(|held| held.will_wake(waker)) {
            *held = Some(waker.clone());
        }
    }

    fn next_serial(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        // Serials of different shards must not meet: the number of shards is far below 2¹⁶.
        self.serial.get() << 16 | self.index as u64
    }

    /// Says a fault in the log, unless its kind was said a moment ago; then it is only counted.
    fn complain(&self, kind: Complaint, text: impl FnOnce() -> String) {
        let Some(silent) = self.complaints.may(kind, clock::millis()) else { return };
        let text = text();
        if silent > 0 {
            tracing::warn!(shard = self.index, "{text} ({silent} more of the kind went unsaid)");
        } else {
            tracing::warn!(shard = self.index, "{text}");
        }
    }
}

/// Kinds of faults that come in floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Complaint {
    Accept,
    Panic,
    UpstreamConnect,
    UpstreamReply,
    UpstreamTimeout,
    UpstreamName,
    Announcement,
    Flood,
    Handshake,
    UpstreamHandshake,
    UpstreamFlood,
}

/// When a kind was said last, and how often it went unsaid since.
#[derive(Default)]
struct Complaints([Cell<(u64, u64)>; 11]);

impl Complaints {
    /// Whether to say it now; how many went unsaid.
    fn may(&self, kind: Complaint, now: Millis) -> Option<u64> {
        let cell = &self.0[kind as usize];
        let (said, silent) = cell.get();
        if said != 0 && now.0 < said + limits::COMPLAINT_MS {
            cell.set((said, silent + 1));
            return None;
        }
        cell.set((now.0.max(1), 0));
        Some(silent)
    }
}
