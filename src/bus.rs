//! The messages between the control thread and the shards: closed enums, and what they carry. Neither side calls the
//! other; the control thread holds a [`Shards`], which `boot` makes of the shards' mailboxes.

use crate::balance::Member;
use crate::base::latency::Latencies;
use crate::plan::Plan;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::Arc;

/// To a shard. `T` is the shard's compiled tables, which only `shard` and `boot` know.
pub enum ToShard<T> {
    /// Serve by these tables from the next request on.
    Publish(Arc<T>),
    /// Addresses of upstreams have changed.
    Endpoints(Arc<Endpoints>),
    /// A client that another shard accepted; nothing was read from it.
    Adopt {
        /// Its socket.
        socket: OwnedFd,
        /// Name of the listener it came by.
        listener: Arc<str>,
    },
    /// Stop accepting, finish what is in flight, then answer [`FromShard::Drained`].
    Drain,
    /// Send a copy of the counters.
    Scrape(SyncSender<Snapshot>),
}

/// From a shard.
#[derive(Debug)]
pub enum FromShard {
    /// It accepts.
    Ready {
        /// Which.
        shard: usize,
        /// Its CPU, where it is pinned.
        cpu: Option<usize>,
        /// `io_uring` or `epoll`.
        driver: &'static str,
    },
    /// Nothing is in flight any more.
    Drained {
        /// Which.
        shard: usize,
    },
    /// It needs the addresses of a name, now and from now on; they come with [`ToShard::Endpoints`].
    Wanted {
        /// The name, lower-case.
        name: String,
    },
    /// Its thread ended without being told to.
    Died {
        /// Which.
        shard: usize,
        /// Why.
        reason: String,
    },
}

/// What the control thread may do with the shards.
pub trait Shards: Send + Sync {
    /// Compiles tables of `plan` on the calling thread and gives them to every shard, `endpoints` first.
    ///
    /// # Errors
    /// What the plugins' constructors refused; then nothing was published.
    fn publish(&self, plan: Arc<Plan>, endpoints: Arc<Endpoints>) -> Result<(), Vec<String>>;
    /// Gives new addresses to every shard.
    fn refresh(&self, endpoints: Arc<Endpoints>);
    /// Tells every shard to drain.
    fn drain(&self);
    /// Asks every shard for its counters and waits up to `wait_ms` for the answers. Blocks: call it off the reactor.
    fn snapshots(&self, wait_ms: u64) -> Vec<Snapshot>;
    /// Subject and end, seconds of the wall clock, of each certificate that is shown.
    fn expiries(&self) -> Vec<(String, i64)> {
        Vec::new()
    }
    /// The gauges of every shard, readable at any time.
    fn gauges(&self) -> &[Arc<Gauges>];
}

/// Where the targets of upstreams are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoints {
    /// By name of the upstream.
    pub of: HashMap<String, Located>,
    /// Addresses of the names that shards have asked for ([`FromShard::Wanted`]), lower-case; none where a name does not
    /// resolve.
    pub names: HashMap<String, Vec<IpAddr>>,
}

/// The addresses of one upstream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located {
    /// Every address of every target with a weight.
    pub endpoints: Vec<Endpoint>,
    /// Did a name of it fail to resolve, with no stale answer to go on with?
    pub failed: bool,
}

/// One address of a target.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where to connect.
    pub addr: SocketAddr,
    /// Share of the traffic.
    pub weight: u32,
    /// The target's host as configured: what `Host` says.
    pub host: Arc<str>,
    /// The target's port, as configured or as an SRV record gave it.
    pub port: u16,
    /// Its target, as a place in the upstream's list.
    pub target: u32,
    /// Its health and load, shared by all shards; the same after a reload.
    pub member: Arc<Member>,
}

/// The member follows from the upstream, the host and the address; it is equal where they are.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Endpoint) -> bool {
        let of = |one: &Endpoint| (one.addr, one.weight, one.port, one.target);
        of(self) == of(other) && self.host == other.host
    }
}

/// A shard's gauges: one writer, any reader. Aligned to two cache lines, because the prefetcher fetches pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gauges {
    /// Open client connections.
    pub connections: AtomicU64,
    /// Requests being served.
    pub requests: AtomicU64,
    /// Requests served since start.
    pub served: AtomicU64,
    /// Has it something to serve by? Before, it takes no clients from others.
    pub open: AtomicBool,
}

impl Gauges {
    /// Adds to a gauge that only the calling thread writes: no locked instruction.
    pub fn add(gauge: &AtomicU64, by: u64) {
        gauge.store(gauge.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// Takes from a gauge that only the calling thread writes.
    pub fn sub(gauge: &AtomicU64, by: u64) {
        gauge.store(gauge.load(Ordering::Relaxed).wrapping_sub(by), Ordering::Relaxed);
    }
}

/// A shard's counters at one moment; all count from the start of the process.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which shard.
    pub shard: usize,
    /// Node-wide counters by metric name (without the product's prefix), e.g. `connections_accepted_total`.
    pub counters: Vec<(&'static str, u64)>,
    /// Counters with one label: metric name, label name, label value, count.
    pub labelled: Vec<(&'static str, &'static str, String, u64)>,
    /// Per route that has served a request since start.
    pub routes: Vec<RouteSnapshot>,
    /// What plugins have refused.
    pub refusals: Vec<RefusalSnapshot>,
}

/// Refusals of one kind on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusalSnapshot {
    /// The plugin.
    pub plugin: String,
    /// Service's name or id; empty where there is none.
    pub service: String,
    /// Route's name or id.
    pub route: String,
    /// Consumer's name or id; empty where it is not known.
    pub consumer: String,
    /// Who shares the count that was used up; empty for plugins that count nothing.
    pub by: &'static str,
    /// The status.
    pub code: u16,
    /// Did it pass all the same, as the plugin only watches?
    pub shadow: bool,
    /// How many.
    pub count: u64,
}

/// The counters of one route on one shard.
#[derive(Clone, Debug, Default)]
pub struct RouteSnapshot {
    /// Route's name or id; empty for requests that no route matched.
    pub route: String,
    /// Service's name or id; empty where there is none.
    pub service: String,
    /// Requests by status sent: `(status, count)`.
    pub statuses: Vec<(u16, u64)>,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes sent to clients.
    pub bytes_out: u64,
    /// Of whole requests, and of waiting for the upstream's head.
    pub latencies: Latencies,
}
