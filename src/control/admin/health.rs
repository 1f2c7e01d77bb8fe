//! The health of upstreams:
//!
//! ```text
//!   GET       /upstreams/{upstream}/health                                      every target; ?balancer_health=1: as a whole
//!   PUT POST  /upstreams/{upstream}/targets/{target}/healthy      | unhealthy   all its addresses
//!   PUT POST  /upstreams/{upstream}/targets/{target}/{address}/healthy | unhealthy
//! ```
//!
//! An upstream is named by its name or id, a target by `host:port` or id, an address by `ip:port`. A hand's word holds
//! until a check finds otherwise. What a plan made up for services with plain hosts is not to be found here.

use super::answer::{as_json, message};
use super::Desk;
use crate::bus::Located;
use crate::control::board::View;
use crate::control::health::{self, AddressHealth, TargetHealth, UpstreamHealth, Weight};
use crate::plan::{Target, Upstream};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::Router;
use serde_json::{json, Value};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::SystemTime;
use uuid::Uuid;

/// The routes of this file.
pub(super) fn routes() -> Router<Desk> {
    let mut routes = Router::new().route("/upstreams/{upstream}/health", get(show));
    for (word, up) in [("healthy", true), ("unhealthy", false)] {
        let all = move |State(desk): State<Desk>, Path((upstream, target)): Path<(String, String)>| async move {
            set(&desk, &upstream, &target, None, up)
        };
        let one = move |State(desk): State<Desk>, Path(place): Path<(String, String, String)>| async move {
            let (upstream, target, address) = place;
            set(&desk, &upstream, &target, Some(&address), up)
        };
        routes = routes
            .route(&format!("/upstreams/{{upstream}}/targets/{{target}}/{word}"), put(all).post(all))
            .route(&format!("/upstreams/{{upstream}}/targets/{{target}}/{{address}}/{word}"), put(one).post(one));
    }
    routes
}

async fn show(
    State(desk): State<Desk>,
    Path(upstream): Path<String>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let view = desk.board.view();
    let Some(upstream) = find(&view, &upstream) else { return not_found() };
    let health = health::of(upstream, &located(&view, upstream));
    let whole = asked.get("balancer_health").is_some_and(|word| word == "1" || word == "true");
    let data = if whole {
        as_a_whole(upstream, &health)
    } else {
        let targets = upstream.targets.iter().zip(&health.targets);
        targets.map(|(target, health)| of_target(&view, upstream, target, health)).collect()
    };
    as_json(StatusCode::OK, &json!({ "data": data, "next": null, "node_id": desk.node.id.to_string() }))
}

fn set(desk: &Desk, upstream: &str, target: &str, address: Option<&str>, up: bool) -> Response {
    let view = desk.board.view();
    let found = find(&view, upstream).and_then(|upstream| Some((upstream, place_of(upstream, target)?)));
    let Some((upstream, target)) = found else { return not_found() };
    let only: Option<SocketAddr> = match address.map(str::parse) {
        None => None,
        Some(Ok(addr)) => Some(addr),
        Some(Err(_)) => return not_found(),
    };
    // Shards begin to serve a moment before it is known here where they do.
    let Some(located) = view.endpoints.of.get(&upstream.name) else {
        return message(StatusCode::SERVICE_UNAVAILABLE, "The targets are not located yet");
    };
    match health::set(upstream, located, target, only, up) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => not_found(),
    }
}

fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "Not found")
}

/// By id where it is one, by name otherwise.
fn find<'v>(view: &'v View, key: &str) -> Option<&'v Upstream> {
    let id = Uuid::try_parse(key).ok();
    let declared = || view.plan.upstreams.iter().filter(|upstream| !upstream.implied);
    declared().find(|upstream| Some(upstream.id) == id).or_else(|| declared().find(|upstream| upstream.name == key))
}

fn place_of(upstream: &Upstream, key: &str) -> Option<usize> {
    let id = Uuid::try_parse(key).ok();
    upstream.targets.iter().position(|target| Some(target.id) == id || name_of(target) == key)
}

/// `host:port`, an IPv6 address in brackets.
fn name_of(target: &Target) -> String {
    match target.host.contains(':') {
        true => format!("[{}]:{}", target.host, target.port),
        false => format!("{}:{}", target.host, target.port),
    }
}

fn located(view: &View, upstream: &Upstream) -> Located {
    view.endpoints.of.get(&upstream.name).cloned().unwrap_or_default()
}

// ---- As JSON ----

fn of_target(view: &View, upstream: &Upstream, target: &Target, health: &TargetHealth) -> Value {
    let since = view.published.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    // A file does not say when a target was made; what is known is since when it is served.
    let created = since.map_or(0.0, |since| since.as_millis() as f64 / 1000.0);
    json!({
        "id": target.id.to_string(),
        "target": name_of(target),
        "weight": target.weight,
        "tags": (!target.tags.is_empty()).then_some(&target.tags),
        "upstream": { "id": upstream.id.to_string() },
        "created_at": created,
        "updated_at": created,
        "health": health.word.text(),
        "data": details(target, health),
    })
}

fn as_a_whole(upstream: &Upstream, health: &UpstreamHealth) -> Value {
    let answers = if health.answers { health::Word::Healthy } else { health::Word::Unhealthy };
    let hosts: Vec<Value> =
        upstream.targets.iter().zip(&health.targets).map(|(target, health)| details(target, health)).collect();
    json!({
        "id": upstream.id.to_string(),
        "health": health.word.text(),
        "balancer_health": answers.text(),
        "details": { "healthy": health.answers, "weight": weight(health.weight), "hosts": hosts },
    })
}

fn details(target: &Target, health: &TargetHealth) -> Value {
    let addresses: Vec<Value> = health.addresses.iter().map(address).collect();
    // The kind of record that the addresses came from, as far as they tell.
    let dns = health.addresses.first().map(|first| match first.addr {
        addr if addr.port() != target.port => "SRV",
        SocketAddr::V4(_) => "A",
        SocketAddr::V6(_) => "AAAA",
    });
    json!({
        "host": target.host,
        "port": target.port,
        "dns": dns,
        "nodeWeight": target.weight,
        "weight": weight(health.weight),
        "addresses": addresses,
    })
}

fn weight(weight: Weight) -> Value {
    let Weight { total, available } = weight;
    json!({ "total": total, "available": available, "unavailable": total - available })
}

fn address(address: &AddressHealth) -> Value {
    let counts = address.counts;
    json!({
        "ip": address.addr.ip().to_string(),
        "port": address.addr.port(),
        "weight": address.weight,
        "health": address.word.text(),
        "counters": {
            "successes": counts.successes,
            "tcp_failures": counts.tcp_failures,
            "timeouts": counts.timeouts,
            "http_failures": counts.http_failures,
        },
    })
}
