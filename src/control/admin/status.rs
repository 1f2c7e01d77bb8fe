//! `/status`: the node as one JSON document. The members `server` and `configuration_hash` have the names and meanings that
//! monitoring of other gateways looks for; the rest is ours. As there is no database, there is no member `database`.
//!
//! `unit` and `scale` say how memory is written, in `workers_lua_vms`: `?unit=k&scale=0`. `resident_bytes` is what it says.

use super::super::board::{total, Board, View};
use super::page::Query;
use super::process;
use crate::base::latency::Of;
use crate::base::limits::ADMIN_SCALE_MAX;
use crate::base::time::{Date, WallMs};
use crate::bus::Snapshot;
use hdrhistogram::Histogram;
use serde_json::{json, Value};
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

/// How memory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writing {
    /// What one of the unit is, bytes, and its sign; `None`: bytes, as a number.
    unit: Option<(u64, &'static str)>,
    /// Digits after the point.
    scale: usize,
}

impl Writing {
    /// As a query asks; in MiB with two digits where it does not say. A scale that is no number says nothing.
    ///
    /// # Errors
    /// A sentence for the client: there is no such unit, or there are not so many digits.
    pub(super) fn of(query: &Query) -> Result<Writing, String> {
        let unit = match query.get("unit").unwrap_or("m") {
            "" | "b" | "B" => None,
            "k" | "K" => Some((1 << 10, "KiB")),
            "m" | "M" => Some((1 << 20, "MiB")),
            "g" | "G" => Some((1 << 30, "GiB")),
            other => return Err(format!("invalid unit '{other}' (expected 'k/K', 'm/M', or 'g/G')")),
        };
        let scale = match query.get("scale").and_then(|text| text.parse::<f64>().ok()).filter(|scale| !scale.is_nan()) {
            None => 2,
            Some(_) if unit.is_none() => 0,
            Some(scale) if scale < 0.0 => return Err("scale must be equal or greater than 0".to_owned()),
            Some(scale) if scale <= ADMIN_SCALE_MAX as f64 => scale as usize,
            Some(_) => return Err(format!("scale must be {ADMIN_SCALE_MAX} or less")),
        };
        Ok(Writing { unit, scale })
    }

    fn write(self, bytes: u64) -> Value {
        match self.unit {
            None => bytes.into(),
            Some((one, sign)) => format!("{:.*} {sign}", self.scale, bytes as f64 / one as f64).into(),
        }
    }
}

/// In the place of a hash where no configuration was read, and none was handed in.
const NO_CONFIGURATION: &str = "00000000000000000000000000000000";

/// The document.
pub(super) fn show(board: &Board, view: &View, snapshots: &[Snapshot], writing: Writing) -> Value {
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
        // What asks wants to know whether the node was given its configuration.
        "configuration_hash": if view.store.is_absent { NO_CONFIGURATION } else { &plan.hash },
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
        "memory": memory(writing),
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
fn memory(writing: Writing) -> Value {
    let resident = process::read().resident_bytes;
    let written = writing.write(resident.unwrap_or_default());
    json!({
        "resident_bytes": resident,
        "workers_lua_vms": [{ "pid": std::process::id(), "http_allocated_gc": written }],
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
    fn memory_is_written_as_asked() {
        let rows = [
            ("", Ok("5.24 MiB")),
            ("unit=b", Ok("5497558")),
            ("unit=", Ok("5497558")),
            ("unit=B&scale=-1", Ok("5497558")),
            ("unit=k", Ok("5368.71 KiB")),
            ("unit=K&scale=0", Ok("5369 KiB")),
            ("scale=0", Ok("5 MiB")),
            ("unit=G&scale=3", Ok("0.005 GiB")),
            ("scale=many", Ok("5.24 MiB")),
            ("scale=NaN", Ok("5.24 MiB")),
            ("scale=100", Err("scale must be 99 or less")),
            ("scale=-1", Err("scale must be equal or greater than 0")),
            ("unit=x", Err("invalid unit 'x' (expected 'k/K', 'm/M', or 'g/G')")),
            ("unit=kk&scale=-1", Err("invalid unit 'kk' (expected 'k/K', 'm/M', or 'g/G')")),
        ];
        for (query, want) in rows {
            let written = Writing::of(&Query::of(Some(query))).map(|writing| writing.write(5_497_558));
            let text = written.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            assert_eq!(text.as_deref().map_err(String::as_str), want, "{query}");
        }
    }

    #[test]
    fn a_moment_is_written_in_utc() {
        assert_eq!(iso(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)), "1994-11-06T08:49:37Z");
    }
}
