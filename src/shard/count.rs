//! What a shard counts: plain cells, one writer, copied out when the control thread asks.

use crate::base::latency::{Latencies, Of};
use crate::bus::{Gauges, RefusalSnapshot, RouteSnapshot, Snapshot};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use uuid::Uuid;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $metric:literal),+ $(,)?) => {
        /// Node-wide counters of a shard.
        #[derive(Default)]
        pub(super) struct Counters {
            $($(#[$doc])* pub(super) $name: Cell<u64>,)+
        }
        impl Counters {
            fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$(($metric, self.$name.get())),+]
            }
        }
    };
}

counters! {
    /// Clients accepted here.
    accepted "connections_accepted_total",
    /// Clients given to another shard.
    handed_off "connections_handed_off_total",
    /// Clients refused because too many are connected.
    refused_full "connections_refused_total",
    /// Times that no descriptor was left.
    out_of_descriptors "accept_out_of_descriptors_total",
    /// Connections ended by a panic.
    panics "panics_total",
    /// Requests read.
    requests "requests_total",
    /// Clients that were too slow with a head or a body.
    client_timeouts "client_timeouts_total",
    /// Clients that went away in the middle.
    client_gone "client_aborts_total",
    /// Connections that speak HTTP/2.
    http2 "http2_connections_total",
    /// Requests of HTTP/2 whose streams were reset because they were malformed.
    http2_malformed "http2_malformed_total",
    /// Connections of HTTP/2 ended because their clients sent too much that is of no use.
    http2_floods "http2_floods_total",
    /// Connections of HTTP/2 ended because their upstreams sent too much that is of no use.
    upstream_http2_floods "upstream_http2_floods_total",
    /// Connections made to upstreams.
    upstream_connects "upstream_connections_total",
    /// Connections to upstreams that could not be made.
    upstream_connect_failures "upstream_connect_failures_total",
    /// Requests over a connection that was there already.
    upstream_reuses "upstream_reuses_total",
    /// Attempts after a first one.
    upstream_retries "upstream_retries_total",
    /// Access-log lines that found their ring full.
    log_dropped "access_log_dropped_total",
    /// TLS handshakes with clients.
    handshakes "tls_handshakes_total",
    /// Those that went on from an earlier session.
    handshakes_resumed "tls_handshakes_resumed_total",
    /// Those that failed.
    handshakes_failed "tls_handshakes_failed_total",
    /// Clients closed because too many handshakes were under way.
    handshakes_refused "tls_handshakes_refused_total",
    /// Requests that came before the end of their handshake (0-RTT) and were safe: they went on at once.
    early_passed "early_requests_total",
    /// Those that were not, and waited for the end.
    early_waited "early_requests_waited_total",
    /// Those of them that were refused with 425, because it did not come in time.
    early_refused "early_requests_refused_total",
    /// TLS handshakes with upstreams.
    upstream_handshakes "upstream_tls_handshakes_total",
    /// Those that went on from an earlier session.
    upstream_handshakes_resumed "upstream_tls_handshakes_resumed_total",
    /// Tunnels opened.
    tunnels "tunnels_total",
    /// Bytes through tunnels, both ways.
    tunnel_bytes "tunnel_bytes_total",
}

pub(super) fn bump(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

/// A request being served; the gauges see its end however it ends, by a panic too.
pub(super) struct InFlight<'a>(&'a Gauges);

impl<'a> InFlight<'a> {
    pub(super) fn begin(gauges: &'a Gauges) -> InFlight<'a> {
        Gauges::add(&gauges.requests, 1);
        InFlight(gauges)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        Gauges::sub(&self.0.requests, 1);
        Gauges::add(&self.0.served, 1);
    }
}

/// The counters of one route, in one piece of memory: with ten thousand routes none of it is in a cache when its request
/// comes, so every pointer that were followed here would be waited for. Aligned so that a request touches two lines of it, the
/// first and the one of its latency.
#[repr(align(64))]
pub(super) struct RouteCount(RefCell<Counted>);

#[repr(C)]
struct Counted {
    traffic: Traffic,
    latencies: Latencies,
    /// Statuses that found no place.
    more: Vec<(u16, u64)>,
    route: String,
    service: String,
}

/// What every request adds to. With the flag of the cell before it, a cache line.
#[derive(Default)]
struct Traffic {
    bytes_in: u64,
    bytes_out: u64,
    /// Few statuses occur on a route; a scan beats a map. What occurred no times is a free place.
    statuses: [u16; STATUSES],
    /// How often each.
    times: [u64; STATUSES],
}

const _: () = assert!(size_of::<RefCell<Traffic>>() == 64, "a cache line");

/// Different statuses of a route that are counted in place.
const STATUSES: usize = 4;

/// What one request adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) status: u16,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) latency_us: u64,
    pub(super) upstream_us: Option<u64>,
}

impl RouteCount {
    fn new(route: &str, service: &str) -> RouteCount {
        RouteCount(RefCell::new(Counted {
            traffic: Traffic::default(),
            latencies: Latencies::default(),
            more: Vec::new(),
            route: route.to_owned(),
            service: service.to_owned(),
        }))
    }

    /// Adds one request.
    pub(super) fn add(&self, sample: Sample) {
        let counted = &mut *self.0.borrow_mut();
        counted.traffic.bytes_in += sample.bytes_in;
        counted.traffic.bytes_out += sample.bytes_out;
        counted.answered(sample.status, 1);
        counted.latencies.record(Of::Request, sample.latency_us);
        if let Some(us) = sample.upstream_us {
            counted.latencies.record(Of::Upstream, us);
        }
    }

    /// Adds all of another one's.
    fn merge(&self, other: &RouteCount) {
        let (counted, other) = (&mut *self.0.borrow_mut(), other.0.borrow());
        counted.traffic.bytes_in += other.traffic.bytes_in;
        counted.traffic.bytes_out += other.traffic.bytes_out;
        other.statuses().for_each(|(status, times)| counted.answered(status, times));
        counted.latencies.merge(&other.latencies);
    }

    fn snapshot(&self) -> RouteSnapshot {
        let counted = self.0.borrow();
        let traffic = &counted.traffic;
        RouteSnapshot {
            route: counted.route.clone(),
            service: counted.service.clone(),
            statuses: counted.statuses().collect(),
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            latencies: counted.latencies.clone(),
        }
    }
}

impl Counted {
    fn answered(&mut self, status: u16, more_times: u64) {
        let Counted { traffic, more, .. } = self;
        let is_its = |at: &usize| traffic.statuses[*at] == status || traffic.times[*at] == 0;
        match (0..STATUSES).find(is_its) {
            Some(at) => {
                traffic.statuses[at] = status;
                traffic.times[at] += more_times;
            }
            None => match more.iter_mut().find(|(held, _)| *held == status) {
                Some((_, times)) => *times += more_times,
                None => more.push((status, more_times)),
            },
        }
    }

    fn statuses(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let here = self.traffic.statuses.iter().copied().zip(self.traffic.times);
        here.chain(self.more.iter().copied()).filter(|&(_, times)| times > 0)
    }
}

/// Under this id stands what was counted of routes that are gone.
const GONE: Uuid = Uuid::max();

/// What metrics call it, as they call routes that have no lines of their own.
const OTHER: &str = "other";

/// The counters of all routes that have served, by the route's id: they outlive a reload.
#[derive(Default)]
pub(super) struct RouteCounts(RefCell<HashMap<Uuid, Rc<RouteCount>>>);

impl RouteCounts {
    /// The counters of a route; made at its first request.
    pub(super) fn of(&self, id: Uuid, route: &str, service: &str) -> Rc<RouteCount> {
        let mut all = self.0.borrow_mut();
        all.entry(id).or_insert_with(|| Rc::new(RouteCount::new(route, service))).clone()
    }

    /// Puts the counters of routes that are gone into one row where there are more counters than `routes`: they have a bound,
    /// and no sum shrinks. Those that requests still hold follow the next time.
    pub(super) fn settle(&self, routes: impl ExactSizeIterator<Item = Uuid>) {
        if self.0.borrow().len() <= routes.len() + 1 {
            return;
        }
        let there: HashSet<Uuid> = routes.chain([GONE]).collect();
        let gone = self.of(GONE, OTHER, OTHER);
        self.0.borrow_mut().retain(|id, count| {
            let stays = there.contains(id) || Rc::strong_count(count) > 1;
            if !stays {
                gone.merge(count);
            }
            stays
        });
    }

    /// Everything, for the control thread.
    pub(super) fn snapshot(&self, shard: usize, counters: &Counters, refusals: Vec<RefusalSnapshot>) -> Snapshot {
        Snapshot {
            shard,
            counters: counters.list(),
            labelled: Vec::new(),
            refusals,
            routes: self.0.borrow().values().map(|count| count.snapshot()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn statuses_are_told_apart_however_many_they_are() {
        let count = RouteCount::new("r", "s");
        // 0: a client that was cut off heard none.
        for status in [0, 200, 404, 200, 500, 502, 503, 0, 503] {
            count.add(Sample {
                status,
                bytes_in: 2,
                bytes_out: 3,
                latency_us: 9,
                upstream_us: (status == 200).then_some(7),
            });
        }
        let seen = count.snapshot();
        let expected = [(0, 2), (200, 2), (404, 1), (500, 1), (502, 1), (503, 2)];
        assert_eq!((seen.statuses, seen.bytes_in, seen.bytes_out), (expected.to_vec(), 18, 27));
        assert_eq!(seen.latencies.recorded(Of::Request).collect::<Vec<_>>(), [(9, 9)]);
        assert_eq!(seen.latencies.recorded(Of::Upstream).collect::<Vec<_>>(), [(7, 2)]);
    }

    #[test]
    fn what_gone_routes_have_counted_stays_in_the_sum() {
        let counts = RouteCounts::default();
        let sample = |status| Sample { status, bytes_in: 1, bytes_out: 2, latency_us: 9, upstream_us: None };
        let ids: Vec<Uuid> = (0..10).map(Uuid::from_u128).collect();
        for (id, status) in ids.iter().zip(200..) {
            counts.of(*id, "r", "s").add(sample(status));
        }
        let held = counts.of(ids[9], "r", "s");
        counts.settle(ids[..2].iter().copied());
        held.add(sample(209));
        assert_eq!(counts.0.borrow().len(), 4, "two that are there, one that is held, and the rest");
        drop(held);
        counts.settle(ids[..2].iter().copied());
        let gone = counts.of(GONE, "", "").snapshot();
        assert_eq!((gone.route.as_str(), gone.service.as_str()), ("other", "other"));
        assert_eq!((gone.bytes_in, gone.bytes_out), (9, 18));
        let mut statuses = gone.statuses;
        statuses.sort_unstable();
        let want: Vec<(u16, u64)> = (202..209).map(|status| (status, 1)).chain([(209, 2)]).collect();
        assert_eq!(statuses, want);
        assert_eq!(gone.latencies.recorded(Of::Request).collect::<Vec<_>>(), [(9, 9)]);
    }

    #[test]
    fn a_request_that_panics_is_in_flight_no_more() {
        let gauges = Gauges::default();
        let request = std::panic::AssertUnwindSafe(|| {
            let _in_flight = InFlight::begin(&gauges);
            assert_eq!(gauges.requests.load(Relaxed), 1);
            std::panic::resume_unwind(Box::new("a fault of our own"));
        });
        assert!(std::panic::catch_unwind(request).is_err());
        assert_eq!((gauges.requests.load(Relaxed), gauges.served.load(Relaxed)), (0, 1));
    }
}
