//! The node itself: what it is, what it can be asked, and the settings that clients choose their requests by.
//!
//! Of its settings only those are told that name no file and hold no secret.

use super::answer::as_json;
use super::{kinds, Desk};
use crate::plan::{Bind, Level, Plan};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::Router;
use serde_json::{json, Map, Value};
use std::collections::BTreeSet;

/// Paths that are not those of entities, as `/endpoints` lists them.
const PATHS: &[&str] = &[
    "/",
    "/config",
    "/endpoints",
    "/metrics",
    "/plugins/enabled",
    "/plugins/schema/{plugin}",
    "/schemas/{entity}",
    "/schemas/{entity}/validate",
    "/schemas/plugins/{plugin}",
    "/schemas/plugins/validate",
    "/schemas/vaults/{vault}",
    "/schemas/vaults/validate",
    "/status",
    "/status/ready",
    "/tags",
    "/tags/{tag}",
    "/timers",
    "/upstreams/{upstreams}/targets/all",
];

/// The paths of this file.
pub(super) fn router() -> Router<Desk> {
    Router::new().route("/", get(root)).route("/endpoints", get(endpoints)).route("/timers", get(timers))
}

async fn root(State(desk): State<Desk>) -> Response {
    let view = desk.board.view();
    let plan = &view.plan;
    let there_are: Map<String, Value> = desk
        .descriptors
        .iter()
        .map(|plugin| (plugin.name.to_owned(), json!({ "version": plugin.version, "priority": plugin.priority })))
        .collect();
    let enabled: BTreeSet<&str> = plan.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    let pid = std::process::id();
    let body = json!({
        "tagline": plan.node.dress.tagline,
        "version": plan.node.dress.version,
        "edition": "community",
        "hostname": desk.node.hostname,
        "node_id": desk.node.id.to_string(),
        "phase": view.phase.word(),
        "timers": { "running": 0, "pending": 0 },
        "plugins": { "available_on_server": there_are, "enabled_in_cluster": enabled },
        "configuration": settings(plan, &desk),
        // One process serves with a thread per shard.
        "pids": { "master": pid, "workers": [pid] },
    });
    as_json(StatusCode::OK, &body)
}

/// The settings by the names that clients of the Admin API know. That there is no database, and which router matches
/// routes, is what tools decide by.
fn settings(plan: &Plan, desk: &Desk) -> Value {
    let node = &plan.node;
    let addresses = |binds: &mut dyn Iterator<Item = &Bind>| -> Vec<String> {
        binds.map(|bind| format!("{}{}", bind.addr, if bind.tls { " ssl" } else { "" })).collect()
    };
    let plugins: Map<String, Value> =
        desk.descriptors.iter().map(|plugin| (plugin.name.to_owned(), true.into())).collect();
    json!({
        "database": "off",
        "role": "traditional",
        "router_flavor": "traditional_compatible",
        "proxy_listen": addresses(&mut plan.listeners.iter().map(|listener| &listener.bind)),
        "admin_listen": addresses(&mut node.admin.iter()),
        "loaded_plugins": plugins,
        "plugins": ["bundled"],
        "log_level": match node.log_level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        },
        "trusted_ips": node.trusted.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "real_ip_header": node.real_ip_header,
        "real_ip_recursive": if node.real_ip_recursive { "on" } else { "off" },
        "upstream_keepalive_pool_size": node.runtime.upstream_idle_max,
        "upstream_keepalive_max_requests": node.runtime.upstream_requests_max,
        "upstream_keepalive_idle_timeout": node.runtime.upstream_idle_ms / 1000,
    })
}

async fn endpoints(State(desk): State<Desk>) -> Response {
    let mut all = kinds::paths(&desk.shapes);
    all.extend(PATHS.iter().map(|path| (*path).to_owned()));
    // By parts: what is below a path follows it.
    all.sort_by_cached_key(|path| path.replace('/', "\0"));
    all.dedup();
    as_json(StatusCode::OK, &json!({ "data": all }))
}

/// There are none: what is due is waited for by one loop. Tools look whether the path is there.
async fn timers(State(_): State<Desk>) -> Response {
    let stats = json!({ "sys": { "total": 0, "running": 0, "pending": 0, "waiting": 0 }, "timers": {} });
    as_json(StatusCode::OK, &json!({ "worker": { "id": 0, "count": 1 }, "stats": stats }))
}
