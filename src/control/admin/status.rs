//! `/status`: the node as one JSON document. The members `server`, `database` and `configuration_hash` have the names and
//! meanings that monitoring of other gateways looks for; the rest is ours.

use super::super::board::{total, Board, View};
use super::process;
use crate::base::latency::Of;
use crate::base::time::{Date, WallMs};
use crate::bus::Snapshot;
use hdrhistogram::Histogram;
use serde_json::{json, Value};
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

pub(super) fn show(board: &Board, view: &View, snapshots: &[Snapshot]) -> Value {
    let plan = &view.plan;
    let gauges = board.shards.gauges();
    let active: u64 = gauges.iter().map(|gauges| gauges.connections.load(Relaxed)).sum();
    let busy: u64 = gauges.iter().map(|gauges| gauges.requests.load(Relaxed)).sum();
    let served: u64 = gauges.iter().map(|gauges| gauges.served.load(Relaxed)).sum();
    let accepted = total(snapshots, "connections_accepted_total");
    let shards: Vec<Value> = view
        .shards
        .iter()
        .zip(gauges)
        .enumerate()
        .map(|(number, (shard, gauges))| {
            json!({
                "shard": number,
                "state": if shard.drained { "drained" } else if shard.ready { "ready" } else { "starting" },
                "cpu": shard.cpu,
                "driver": shard.driver,
                "connections": gauges.connections.load(Relaxed),
                "requests": gauges.requests.load(Relaxed),
                "requests_total": gauges.served.load(Relaxed),
            })
        })
        .collect();
    let listeners: Vec<Value> = plan
        .listeners
        .iter()
        .map(
            |l| json!({ "name": l.name, "address": l.bind.addr.to_string(), "tls": l.bind.tls, "http2": l.bind.http2 }),
        )
        .collect();
    let names: Vec<Value> = view
        .names
        .iter()
        .map(|name| json!({ "name": name.name, "state": name.state, "addresses": name.addresses, "error": name.error }))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "phase": view.phase.word(),
        "uptime_s": board.uptime().as_secs(),
        "configuration_hash": plan.hash,
        "configuration": {
            "files": view.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
            // If so, the files give the settings only, until one of them changes.
            "handed_in": view.is_posted,
            "published_at": view.published.map(iso),
            "routes": plan.routes.len(),
            "services": plan.services.len(),
            "upstreams": plan.upstreams.len(),
            "consumers": plan.consumers.len(),
            "plugins": plan.plugins.len(),
        },
        "reload": {
            "success": view.reloads.success,
            "failure": view.reloads.failure,
            "unchanged": view.reloads.unchanged,
            "last_successful": view.reloads.last.as_ref().is_none_or(|last| last.ok),
            "last_at": view.reloads.last.as_ref().map(|last| iso(last.at)),
            "findings": view.reloads.last.as_ref().map_or(&[][..], |last| &last.findings),
            "findings_total": view.reloads.last.as_ref().map_or(0, |last| last.found),
            "restart_needed_for": view.restart,
        },
        "server": {
            "connections_active": active,
            // A connection is written to or idle here; between two requests nobody tells reading from waiting.
            "connections_reading": 0,
            "connections_writing": busy,
            "connections_waiting": active.saturating_sub(busy),
            "connections_accepted": accepted,
            "connections_handled": accepted,
            "total_requests": served,
        },
        // There is none to be out of reach; what asks wants to know whether the node can work.
        "database": { "reachable": true },
        "memory": memory(),
        "latency_us": {
            "request": percentiles(snapshots, Of::Request),
            "upstream": percentiles(snapshots, Of::Upstream),
        },
        "listeners": listeners,
        "shards": shards,
        "names": names,
    })
}

/// There is one heap and no memory that processes share; those who read these lists find the whole in the first.
fn memory() -> Value {
    let resident = process::read().resident_bytes;
    let mib = format!("{:.2} MiB", resident.unwrap_or_default() as f64 / (1024.0 * 1024.0));
    json!({
        "resident_bytes": resident,
        "workers_lua_vms": [{ "pid": std::process::id(), "http_allocated_gc": mib }],
        "lua_shared_dicts": {},
    })
}

/// Latencies of all routes and shards since the start, in one histogram.
fn percentiles(snapshots: &[Snapshot], of: Of) -> Value {
    // Two digits are what the shards' buckets are worth; it grows to the largest value.
    let mut merged = Histogram::<u64>::new(2).expect("2 is a valid number of digits");
    for route in snapshots.iter().flat_map(|snapshot| &snapshot.routes) {
        for (us, count) in route.latencies.recorded(of) {
            merged.record_n(us, count).expect("a histogram that grows takes every value");
        }
    }
    json!({
        "count": merged.len(),
        "p50": merged.value_at_quantile(0.5),
        "p90": merged.value_at_quantile(0.9),
        "p99": merged.value_at_quantile(0.99),
        "p99.9": merged.value_at_quantile(0.999),
        "max": merged.max(),
    })
}

/// ISO 8601 in UTC, whole seconds.
fn iso(at: SystemTime) -> String {
    let ms = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let at = WallMs(u64::try_from(ms).unwrap_or(0));
    let (date, secs) = (Date::of(at), at.seconds() % 86_400);
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year, date.month, date.day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::RouteSnapshot;
    use std::time::Duration;

    #[test]
    fn latencies_of_all_shards_make_one_histogram() {
        let shard = |latencies: &[u64]| {
            let mut route = RouteSnapshot::default();
            latencies.iter().for_each(|&us| route.latencies.record(Of::Request, us));
            Snapshot { routes: vec![route], ..Snapshot::default() }
        };
        let told = percentiles(&[shard(&[10; 98]), shard(&[1_000, 100_000])], Of::Request);
        assert_eq!((&told["count"], &told["p50"], &told["p90"]), (&json!(100), &json!(10), &json!(10)));
        let near = |key: &str, want: u64| told[key].as_u64().is_some_and(|us| us.abs_diff(want) * 10 < want);
        assert!(near("p99", 1_000) && near("max", 100_000), "{told}");
    }

    #[test]
    fn a_moment_is_written_in_utc() {
        assert_eq!(iso(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)), "1994-11-06T08:49:37Z");
    }
}
