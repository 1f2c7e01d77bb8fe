//! `/metrics`: Prometheus text (exposition format 0.0.4).
//!
//! Names begin with `ringway_`. Durations are histograms in seconds with the fixed bounds of [`BOUNDS_US`]: per-shard
//! histograms are read into the same buckets, so that the sum over shards, nodes and time is exact. The shards' histograms
//! are precise to some per cent; a value within that of a bound may be counted one bucket higher.
//!
//! Series are bounded: the first [`limits::METRIC_ROUTES_MAX`] pairs of service and route that serve a request get lines
//! of their own and keep them as long as shards count them apart; the rest are summed under `other`, so no counter shrinks.

use super::super::board::{by_route, Board, Phase, View};
use super::super::health::{self as targets, AddressHealth};
use super::process;
use crate::base::latency::Of;
use crate::base::limits;
use crate::bus::{Gauges, RouteSnapshot, Snapshot};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{Display, Write};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Upper bounds of latency buckets, µs, and as `le` says them, s. From what a cache answers in to what a client waits for.
const BOUNDS_US: &[(u64, &str)] = &[
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// Families by route, without the prefix.
const OF_ROUTES: &[&str] =
    &["refusals_total", "requests_total", "bytes_total", "request_duration_seconds", "upstream_duration_seconds"];

/// Which series have lines of their own.
#[derive(Debug, Default)]
pub(super) struct Series {
    routes: HashSet<(String, String)>,
    labels: HashMap<&'static str, HashSet<String>>,
    /// By service, route and consumer.
    refused: HashSet<(String, String, String)>,
}

const OTHER: &str = "other";

impl Series {
    fn admits_route(&mut self, service: &str, route: &str) -> bool {
        let pair = (service.to_owned(), route.to_owned());
        self.routes.contains(&pair) || (self.routes.len() < limits::METRIC_ROUTES_MAX && self.routes.insert(pair))
    }

    fn admits_refused(&mut self, service: &str, route: &str, consumer: &str) -> bool {
        let who = (service.to_owned(), route.to_owned(), consumer.to_owned());
        self.refused.contains(&who) || (self.refused.len() < limits::METRIC_REFUSALS_MAX && self.refused.insert(who))
    }

    fn admits_label(&mut self, metric: &'static str, value: &str) -> bool {
        let values = self.labels.entry(metric).or_default();
        values.contains(value) || (values.len() < limits::METRIC_LABELS_MAX && values.insert(value.to_owned()))
    }
}

/// The whole text.
pub(super) fn render(board: &Board, view: &View, snapshots: &[Snapshot], series: &Mutex<Series>) -> String {
    let mut text = Text::default();
    node(&mut text, board, view);
    health(&mut text, view);
    let mut series = series.lock().unwrap_or_else(PoisonError::into_inner);
    counters(&mut text, board, snapshots, &mut series);
    routes(&mut text, snapshots, &mut series);
    refusals(&mut text, snapshots, &mut series);
    text.0
}

/// The text so far, and the families in it.
#[derive(Default)]
struct Text(String, HashSet<String>);

impl Text {
    /// Begins a family.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        if !help.is_empty() {
            self.line(format_args!("# HELP {name} {help}"));
        }
        self.line(format_args!("# TYPE {name} {kind}"));
        self.1.insert(name.to_owned());
    }

    fn has(&self, name: &str) -> bool {
        self.1.contains(name)
    }

    /// One sample.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (n, (label, value)) in labels.iter().enumerate() {
            self.0.push(if n == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            self.escaped(value);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    /// A family of one sample without labels.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
        self.0.push('\n');
    }
}

fn node(text: &mut Text, board: &Board, view: &View) {
    text.family("ringway_info", "gauge", "The version that runs, and the configuration it serves.");
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("configuration_hash", &view.plan.hash)];
    text.sample("ringway_info", &labels, 1);
    text.family("ringway_phase", "gauge", "1 for where the process is in its life.");
    for phase in [Phase::Starting, Phase::Serving, Phase::Draining] {
        text.sample("ringway_phase", &[("phase", phase.word())], u8::from(view.phase == phase));
    }
    text.single("ringway_uptime_seconds", "gauge", "Since the start.", board.uptime().as_secs());

    let reloads = &view.reloads;
    text.family("ringway_config_reloads_total", "counter", "Configurations read after the start, by result.");
    for (result, count) in
        [("success", reloads.success), ("failure", reloads.failure), ("unchanged", reloads.unchanged)]
    {
        text.sample("ringway_config_reloads_total", &[("result", result)], count);
    }
    let ok = reloads.last.as_ref().is_none_or(|last| last.ok);
    let help = "1 if what was read last is what is served.";
    text.single("ringway_config_last_reload_successful", "gauge", help, u8::from(ok));
    if let Some(last) = &reloads.last {
        let at = last.at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        text.single("ringway_config_last_reload_timestamp_seconds", "gauge", "When that was.", at);
    }
    let help = "Settings that were read and wait for a restart.";
    text.single("ringway_config_restart_needed", "gauge", help, view.restart.len());

    text.family("ringway_dns_lookups_total", "counter", "Names asked for, by result.");
    for (result, count) in [("success", view.lookups.success), ("failure", view.lookups.failure)] {
        text.sample("ringway_dns_lookups_total", &[("result", result)], count);
    }
    text.family("ringway_dns_names", "gauge", "Names in use, by how they stand.");
    for state in ["fresh", "stale", "failed", "unasked"] {
        let count = view.names.iter().filter(|name| name.state == state).count();
        text.sample("ringway_dns_names", &[("state", state)], count);
    }
    let help = "Times the shards were given new addresses.";
    text.single("ringway_dns_refreshes_total", "counter", help, view.refreshes);

    gauges(text, board.shards.gauges());
    process(text);
}

fn gauges(text: &mut Text, shards: &[std::sync::Arc<Gauges>]) {
    type Read = fn(&Gauges) -> &AtomicU64;
    let families: [(&str, &str, &str, Read); 3] = [
        ("ringway_connections", "gauge", "Open client connections.", |gauges| &gauges.connections),
        ("ringway_requests_active", "gauge", "Requests being served.", |gauges| &gauges.requests),
        ("ringway_requests_served_total", "counter", "Requests served, whatever the answer.", |gauges| &gauges.served),
    ];
    for (name, kind, help, of) in families {
        text.family(name, kind, help);
        for (shard, gauges) in shards.iter().enumerate() {
            text.sample(name, &[("shard", &shard.to_string())], of(gauges).load(Relaxed));
        }
    }
}

/// Targets of upstreams that are checked, or that a hand has set.
fn health(text: &mut Text, view: &View) {
    let mut all: Vec<(&str, String, AddressHealth)> = Vec::new();
    for upstream in &view.plan.upstreams {
        let Some(located) = view.endpoints.of.get(&upstream.name) else { continue };
        let health = targets::of(upstream, located);
        for (target, health) in upstream.targets.iter().zip(health.targets) {
            let seen = |address: &AddressHealth| upstream.checks.are_on() || address.flips != (0, 0);
            let addresses = health.addresses.into_iter().filter(seen);
            all.extend(addresses.map(|at| (upstream.name.as_str(), format!("{}:{}", target.host, target.port), at)));
        }
    }
    all.truncate(limits::METRIC_TARGETS_MAX);
    if all.is_empty() {
        return;
    }
    let name = "ringway_upstream_target_healthy";
    text.family(name, "gauge", "1 for an address of a target that gets requests.");
    for (upstream, target, address) in &all {
        let at = address.addr.to_string();
        let labels = [("upstream", *upstream), ("target", target), ("address", &at)];
        text.sample(name, &labels, u8::from(address.is_up));
    }
    let name = "ringway_upstream_target_transitions_total";
    text.family(name, "counter", "Changes of the health of an address, by what it became.");
    for (upstream, target, address) in &all {
        let at = address.addr.to_string();
        for (to, count) in [("unhealthy", address.flips.0), ("healthy", address.flips.1)] {
            let labels = [("upstream", *upstream), ("target", target), ("address", &at), ("to", to)];
            text.sample(name, &labels, count);
        }
    }
}

/// Under the names that every client library uses.
fn process(text: &mut Text) {
    let process = process::read();
    if let Some(seconds) = process.cpu_s {
        text.single("process_cpu_seconds_total", "counter", "Processor time of all threads.", seconds);
    }
    if let Some(bytes) = process.resident_bytes {
        text.single("process_resident_memory_bytes", "gauge", "Memory in RAM.", bytes);
    }
    if let Some(fds) = process.fds {
        text.single("process_open_fds", "gauge", "Open descriptors.", fds);
    }
    if let Some(fds) = process.fds_max {
        text.single("process_max_fds", "gauge", "Descriptors it may have.", fds);
    }
    if let Some(seconds) = process.started_s {
        text.single("process_start_time_seconds", "gauge", "When it was started, since the epoch.", seconds);
    }
}

/// Node-wide counters of shards and of others, summed by name; what ends in `_total` is a counter.
fn counters(text: &mut Text, board: &Board, snapshots: &[Snapshot], series: &mut Series) {
    let mut plain: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in snapshots.iter().flat_map(|snapshot| &snapshot.counters) {
        *plain.entry(name).or_default() += count;
    }
    for (name, read) in &board.readings {
        *plain.entry(name).or_default() += read();
    }
    // A second family of the same name makes a scraper refuse the whole text. Ours say more: they have labels.
    plain.retain(|name, _| !text.has(&format!("ringway_{name}")) && !OF_ROUTES.contains(name));
    for (name, count) in plain {
        text.single(&format!("ringway_{name}"), kind(name), "", count);
    }
    let mut labelled: BTreeMap<(&str, &str), BTreeMap<&str, u64>> = BTreeMap::new();
    for (name, label, value, count) in snapshots.iter().flat_map(|snapshot| &snapshot.labelled) {
        let value = if series.admits_label(name, value) { value } else { OTHER };
        *labelled.entry((name, label)).or_default().entry(value).or_default() += count;
    }
    for ((name, label), values) in labelled {
        let full = format!("ringway_{name}");
        if text.has(&full) || OF_ROUTES.contains(&name) {
            continue;
        }
        text.family(&full, kind(name), "");
        for (value, count) in values {
            text.sample(&full, &[(label, value)], count);
        }
    }
}

fn kind(name: &str) -> &'static str {
    if name.ends_with("_total") {
        "counter"
    } else {
        "gauge"
    }
}

/// The sums of one pair of service and route.
#[derive(Default)]
struct Sums {
    statuses: BTreeMap<u16, u64>,
    bytes_in: u64,
    bytes_out: u64,
    latency: Buckets,
    upstream: Buckets,
}

impl Sums {
    fn add(&mut self, route: &RouteSnapshot) {
        for (status, count) in &route.statuses {
            // An upstream may make up any three digits; those that mean nothing share one line.
            let status = if (100..600).contains(status) { *status } else { 0 };
            *self.statuses.entry(status).or_default() += count;
        }
        self.bytes_in += route.bytes_in;
        self.bytes_out += route.bytes_out;
        self.latency.add(route.latencies.recorded(Of::Request));
        self.upstream.add(route.latencies.recorded(Of::Upstream));
    }
}

/// A histogram with the fixed bounds.
#[derive(Default)]
struct Buckets {
    counts: [u64; BOUNDS_US.len()],
    total: u64,
    sum_us: u128,
}

impl Buckets {
    fn add(&mut self, recorded: impl Iterator<Item = (u64, u64)>) {
        for (value, count) in recorded {
            if let Some(bucket) = BOUNDS_US.iter().position(|&(bound, _)| value <= bound) {
                self.counts[bucket] += count;
            }
            self.total += count;
            self.sum_us += u128::from(value) * u128::from(count);
        }
    }

    fn write(&self, text: &mut Text, name: &str, service: &str, route: &str) {
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for ((_, le), count) in BOUNDS_US.iter().zip(self.counts) {
            below += count;
            text.sample(&bucket, &[("service", service), ("route", route), ("le", le)], below);
        }
        text.sample(&bucket, &[("service", service), ("route", route), ("le", "+Inf")], self.total);
        let labels = [("service", service), ("route", route)];
        text.sample(&format!("{name}_sum"), &labels, self.sum_us as f64 / 1e6);
        text.sample(&format!("{name}_count"), &labels, self.total);
    }
}

fn routes(text: &mut Text, snapshots: &[Snapshot], series: &mut Series) {
    let mut all: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    let counted = by_route(snapshots);
    if series.routes.len() >= limits::METRIC_ROUTES_MAX {
        series.routes.retain(|(service, route)| counted.contains_key(&(service.as_str(), route.as_str())));
    }
    for ((service, route), shards) in counted {
        let pair = if series.admits_route(service, route) { (service, route) } else { (OTHER, OTHER) };
        let sums = all.entry(pair).or_default();
        shards.into_iter().for_each(|shard| sums.add(shard));
    }
    if all.is_empty() {
        return;
    }
    let name = "ringway_requests_total";
    text.family(name, "counter", "Requests by service, route and status sent to the client.");
    for ((service, route), sums) in &all {
        for (status, count) in &sums.statuses {
            let code = if *status == 0 { OTHER.to_owned() } else { status.to_string() };
            text.sample(name, &[("service", service), ("route", route), ("code", &code)], count);
        }
    }
    let name = "ringway_bytes_total";
    text.family(name, "counter", "Bytes read from clients (in) and sent to them (out), heads included.");
    for ((service, route), sums) in &all {
        for (direction, bytes) in [("in", sums.bytes_in), ("out", sums.bytes_out)] {
            text.sample(name, &[("service", service), ("route", route), ("direction", direction)], bytes);
        }
    }
    let name = "ringway_request_duration_seconds";
    text.family(name, "histogram", "From the first byte of the request to the last of the answer.");
    for ((service, route), sums) in &all {
        sums.latency.write(text, name, service, route);
    }
    let name = "ringway_upstream_duration_seconds";
    text.family(name, "histogram", "From sending to the upstream to the head of its answer.");
    for ((service, route), sums) in &all {
        sums.upstream.write(text, name, service, route);
    }
}

/// What plugins have refused: who is abusing what.
fn refusals(text: &mut Text, snapshots: &[Snapshot], series: &mut Series) {
    type Row<'s> = (&'s str, &'s str, &'s str, &'s str, &'static str, u16, bool);
    let mut all: BTreeMap<Row<'_>, u64> = BTreeMap::new();
    for row in snapshots.iter().flat_map(|snapshot| &snapshot.refusals) {
        let (service, route, consumer) = match series.admits_refused(&row.service, &row.route, &row.consumer) {
            true => (row.service.as_str(), row.route.as_str(), row.consumer.as_str()),
            false => (OTHER, OTHER, OTHER),
        };
        *all.entry((&row.plugin, service, route, consumer, row.by, row.code, row.shadow)).or_default() += row.count;
    }
    if all.is_empty() {
        return;
    }
    let name = "ringway_refusals_total";
    let help =
        "Requests that plugins refused, or with mode shadow would have; key: who shares the count that was used up.";
    text.family(name, "counter", help);
    for ((plugin, service, route, consumer, by, code, shadow), count) in all {
        let labels = [
            ("plugin", plugin),
            ("service", service),
            ("route", route),
            ("consumer", consumer),
            ("key", by),
            ("code", &code.to_string()),
            ("mode", if shadow { "shadow" } else { "enforced" }),
        ];
        text.sample(name, &labels, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::latency::Latencies;

    fn latencies(values: &[u64]) -> Latencies {
        let mut latencies = Latencies::default();
        values.iter().for_each(|&value| latencies.record(Of::Request, value));
        latencies
    }

    fn route(service: &str, route: &str, statuses: &[(u16, u64)], latency: &[u64]) -> RouteSnapshot {
        RouteSnapshot {
            route: route.to_owned(),
            service: service.to_owned(),
            statuses: statuses.to_vec(),
            bytes_in: 10,
            bytes_out: 100,
            latencies: latencies(latency),
        }
    }

    fn text_of(snapshots: &[Snapshot], series: &mut Series) -> String {
        let mut text = Text::default();
        routes(&mut text, snapshots, series);
        text.0
    }

    #[test]
    fn shards_are_summed_by_service_and_route() {
        let snapshots = [
            Snapshot {
                shard: 0,
                routes: vec![route("s", "r", &[(200, 3), (404, 1)], &[400, 900])],
                ..Default::default()
            },
            Snapshot {
                shard: 1,
                routes: vec![route("s", "r", &[(200, 2), (999, 1)], &[70_000_000])],
                ..Default::default()
            },
        ];
        let text = text_of(&snapshots, &mut Series::default());
        for want in [
            "ringway_requests_total{service=\"s\",route=\"r\",code=\"200\"} 5\n",
            "ringway_requests_total{service=\"s\",route=\"r\",code=\"404\"} 1\n",
            "ringway_requests_total{service=\"s\",route=\"r\",code=\"other\"} 1\n",
            "ringway_bytes_total{service=\"s\",route=\"r\",direction=\"in\"} 20\n",
            "ringway_request_duration_seconds_bucket{service=\"s\",route=\"r\",le=\"0.0005\"} 1\n",
            "ringway_request_duration_seconds_bucket{service=\"s\",route=\"r\",le=\"0.001\"} 2\n",
            "ringway_request_duration_seconds_bucket{service=\"s\",route=\"r\",le=\"60\"} 2\n",
            "ringway_request_duration_seconds_bucket{service=\"s\",route=\"r\",le=\"+Inf\"} 3\n",
            "ringway_request_duration_seconds_count{service=\"s\",route=\"r\"} 3\n",
            "ringway_upstream_duration_seconds_count{service=\"s\",route=\"r\"} 0\n",
        ] {
            assert!(text.contains(want), "{want} is not in\n{text}");
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let routes = vec![route("a\"b\\c\nd", "r", &[(200, 1)], &[])];
        let text = text_of(&[Snapshot { routes, ..Default::default() }], &mut Series::default());
        assert!(text.contains(r#"service="a\"b\\c\nd","#), "{text}");
    }

    #[test]
    fn series_have_a_bound_and_no_counter_shrinks() {
        let mut series = Series::default();
        let many = |from: usize| Snapshot {
            routes: (from..limits::METRIC_ROUTES_MAX + 3)
                .rev()
                .map(|n| route("s", &format!("r{n:05}"), &[(200, 1)], &[]))
                .collect(),
            ..Default::default()
        };
        let first = text_of(&[many(3)], &mut series);
        assert!(!first.contains("route=\"other\""));
        // Three more, whose names sort before all others.
        let second = text_of(&[many(0)], &mut series);
        assert!(second.contains("ringway_requests_total{service=\"other\",route=\"other\",code=\"200\"} 3\n"));
        for line in first.lines().filter(|line| line.starts_with("ringway_requests_total{")) {
            assert!(second.contains(line), "{line} has gone");
        }
        // Seven are gone, and make room for others.
        let mut snapshot = many(10);
        snapshot.routes.push(route("s", "new", &[(200, 1)], &[]));
        let third = text_of(&[snapshot], &mut series);
        assert!(third.contains("route=\"new\"") && !third.contains("route=\"other\""));
    }
}
