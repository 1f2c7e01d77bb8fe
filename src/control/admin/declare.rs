//! `/config`: the whole configuration as one declarative text, in and out.
//!
//! What is handed in takes the way of a reload (`life.rs`): read on a thread that may block, linked, compiled, given to
//! the shards. Its entities replace all others; the settings of the node stay those of the files. The answer comes when
//! every shard serves by it, or says what is wrong with it while the old one serves on. **The files win again** when one
//! of them changes, on SIGHUP, and after a restart: nothing is written to disk.

use super::answer::{as_json, as_text, error, message, Code};
use super::body::{self, Body};
use super::fault;
use super::page::Query;
use super::Desk;
use crate::base::limits;
use crate::config::{doc, sha256, POSTED};
use crate::control::life::{Event, Post, Posted};
use crate::control::store::Store;
use crate::plan::ids::Table;
use crate::plan::report::Report;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{header, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use serde_json::{json, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The paths of this file.
pub(super) fn router() -> Router<Desk> {
    // The bound of these bodies is ours: the extractor of forms has a smaller one of its own.
    Router::new().route("/config", get(export).post(take).layer(DefaultBodyLimit::disable()))
}

async fn export(State(desk): State<Desk>) -> Response {
    let store = desk.board.view().store.clone();
    // A large one takes a while to write out.
    let text = tokio::task::spawn_blocking(move || store.export()).await.unwrap_or_default();
    as_json(StatusCode::OK, &json!({ "config": text }))
}

async fn take(State(desk): State<Desk>, request: Request) -> Response {
    let query = Query::of(request.uri().query());
    let is_on = |text: &str| ["1", "true", "on", "yes"].contains(&text.to_ascii_lowercase().as_str());
    let flatten = query.get("flatten_errors").is_some_and(is_on);
    // Before the body is read: some of the largest at once would be the memory of the machine.
    let Ok(_place) = desk.configs.try_acquire() else { return busy() };
    let text = match body::read(request, limits::ADMIN_CONFIG_BYTES_MAX, true).await.map(text) {
        Ok(Some(text)) => text,
        Ok(None) => return message(StatusCode::BAD_REQUEST, "expected a declarative configuration"),
        Err(why) => return why.into_response(),
    };
    if query.get("check_hash") == Some("1") && desk.board.view().store.digest == Some(sha256(&text)) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let (reply, answer) = oneshot::channel();
    let kept = flatten.then(|| text.clone());
    desk.line.say(Event::Posted(Post { text, reply }));
    let answer = tokio::time::timeout(Duration::from_millis(limits::ADMIN_CONFIG_MS), answer).await;
    match answer {
        Ok(Ok(Posted::Served(store))) => whole(store).await,
        Ok(Ok(Posted::Refused(report, more))) => refused(&desk, &report, &more, kept),
        Ok(Ok(Posted::Busy)) => busy(),
        Ok(Ok(Posted::Ending) | Err(_)) => message(StatusCode::SERVICE_UNAVAILABLE, "The process is ending"),
        Err(_) => message(StatusCode::GATEWAY_TIMEOUT, "Timed out while loading configuration"),
    }
}

fn busy() -> Response {
    let mut response = message(StatusCode::TOO_MANY_REQUESTS, "Currently loading previous configuration");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The text of a configuration: a body by itself, or the field `config` of a form or an object.
fn text(body: Body) -> Option<String> {
    let text = match body {
        Body::Empty => None,
        Body::Raw(text) => Some(text),
        Body::Form(pairs) => pairs.into_iter().find(|(name, _)| name == "config").map(|(_, text)| text),
        Body::Json(Value::Object(mut map)) => match map.get_mut("config").map(Value::take) {
            Some(Value::String(text)) => Some(text),
            Some(_) => None,
            None => Some(Value::Object(map).to_string()),
        },
        Body::Json(_) => None,
    };
    text.filter(|text| !text.trim().is_empty())
}

/// Kind → id → entity.
async fn whole(store: Arc<Store>) -> Response {
    let write = move || {
        let kind = |table: Table| {
            let rows: Vec<String> = store.rows(table).map(|row| format!("\"{}\":{}", row.id, row.json())).collect();
            format!("\"{}\":{{{}}}", table.name(), rows.join(","))
        };
        format!("{{{}}}", store.kinds().map(kind).collect::<Vec<_>>().join(","))
    };
    as_text(StatusCode::CREATED, tokio::task::spawn_blocking(write).await.unwrap_or_default())
}

fn refused(desk: &Desk, report: &Report, more: &[String], text: Option<String>) -> Response {
    let findings = &report.findings;
    let tell = |faults: &fault::Faults, more: &[(&str, Value)]| {
        let message = format!("declarative config is invalid: {}", faults.table());
        let members = [&[("fields", faults.json())], more].concat();
        error(Code::DeclarativeConfig, &message, &members)
    };
    let Some(text) = text else { return tell(&fault::of_document(findings, more, &desk.shapes), &[]) };
    let document = doc::parse(&Arc::from(POSTED), &text, &mut Report::default());
    let document = document.map_or(Value::Null, |node| node.json());
    let (flat, rest) = fault::flattened(findings, more, &document, &desk.shapes);
    tell(&rest, &[("flattened_errors", flat.into())])
}
