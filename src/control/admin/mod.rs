//! The Admin API: what an operator or a scraper may ask a node. Plain HTTP/1.1, read-only.
//!
//! ```text
//!   GET /              version and where to look next
//!   GET /status        the node as JSON          status.rs
//!   GET /status/ready  200 while it serves, 503 otherwise
//!   GET /metrics       Prometheus text           metrics.rs
//! ```
//!
//! Answers hold no secret: configurations of plugins and credentials are not shown at all. It runs on the control thread's
//! reactor, within bounds of its own on connections, heads, bodies and time, so that it cannot hold up a reload for long.

mod metrics;
mod process;
mod status;

use super::board::{Board, Phase};
use super::sink::{Reopen, Sink};
use crate::base::limits;
use crate::plan::{Bind, LogPath, Node};
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{header, HeaderValue, StatusCode};
use axum::middleware::{from_fn_with_state, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{json, Value};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// What every handler can reach.
#[derive(Clone)]
struct Desk {
    board: Arc<Board>,
    series: Arc<Mutex<metrics::Series>>,
    log: Option<Arc<Log>>,
}

struct Log {
    lines: NonBlocking,
    _guard: WorkerGuard,
}

/// Binds every address of `node.admin` and serves them on the current runtime.
///
/// # Errors
/// A sentence: which address, and why.
pub(super) fn start(node: &Node, board: &Arc<Board>, reopen: &Reopen) -> Result<(), String> {
    let mut listeners = Vec::new();
    for bind in &node.admin {
        if bind.tls {
            tracing::warn!(address = %bind.addr, "the Admin API is not served over TLS yet; this address stays closed");
            continue;
        }
        let listener = listen(bind)
            .map_err(|error| format!("the Admin API cannot listen on {} ({}): {error}", bind.addr, bind.at))?;
        tracing::info!(address = %bind.addr, "the Admin API is listening");
        listeners.push(listener);
    }
    if listeners.is_empty() {
        return Ok(());
    }
    let log = log(node.admin_log.as_ref(), reopen).map_err(|error| format!("the log of the Admin API: {error}"))?;
    let desk = Desk { board: board.clone(), series: Arc::default(), log };
    let (router, places) = (router(desk), Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS_MAX)));
    for listener in listeners {
        tokio::spawn(accept(listener, router.clone(), places.clone()));
    }
    Ok(())
}

fn listen(bind: &Bind) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(bind.addr), Type::STREAM, Some(Protocol::TCP))?;
    if bind.addr.is_ipv6() {
        // `0.0.0.0:8001` and `[::]:8001` may both be configured; a dual-stack socket would take both.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&bind.addr.into())?;
    socket.listen(i32::try_from(bind.backlog.max(1)).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

fn log(path: Option<&LogPath>, reopen: &Reopen) -> io::Result<Option<Arc<Log>>> {
    let Some(path) = path.filter(|path| **path != LogPath::Off) else { return Ok(None) };
    let (lines, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(limits::JOURNAL_LINES_MAX)
        .thread_name("admin-log")
        .finish(Sink::open(path, reopen)?);
    Ok(Some(Arc::new(Log { lines, _guard: guard })))
}

// ---- Connections ----

async fn accept(listener: TcpListener, router: Router, places: Arc<Semaphore>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the client is gone already. Either way, not in a tight loop.
                tracing::debug!(%error, "the Admin API cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Over the bound the connection is closed at once: waiting would let idle clients lock the operator out.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let router = router.clone().layer(Extension(peer));
        tokio::spawn(async move {
            serve(stream, router).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, router: Router) {
    // Latency only; an answer is sent without it as well.
    let _ = stream.set_nodelay(true);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::ADMIN_HEAD_MS))
        .max_buf_size(limits::ADMIN_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of the Admin API has failed");
    }
}

// ---- Requests ----

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/status", get(status))
        .route("/status/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || message(StatusCode::NOT_FOUND, "Not found"))
        .method_not_allowed_fallback(async || message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"))
        .layer(from_fn_with_state(desk.clone(), around))
        .with_state(desk)
}

/// Around every request: bounds on body and time, the `Server` field, the log.
async fn around(
    State(desk): State<Desk>,
    Extension(peer): Extension<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let body_min = request.body().size_hint().lower();
    let mut response = if body_min > limits::ADMIN_BODY_BYTES_MAX as u64 {
        message(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large")
    } else {
        let answered = tokio::time::timeout(Duration::from_millis(limits::ADMIN_REQUEST_MS), next.run(request)).await;
        answered.unwrap_or_else(|_| message(StatusCode::SERVICE_UNAVAILABLE, "The node is busy"))
    };
    let view = desk.board.view();
    if let Some(server) = view.plan.node.dress.server.as_ref().and_then(|name| HeaderValue::from_str(name).ok()) {
        response.headers_mut().insert(header::SERVER, server);
    }
    if let Some(log) = &desk.log {
        // The query is left out: nothing here reads one, and people paste secrets into them.
        let line = json!({
            "timestamp": SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64),
            "remote_addr": peer.ip().to_string(),
            "method": method,
            "path": path,
            "status": response.status().as_u16(),
            "latency": started.elapsed().as_millis() as u64,
        });
        // A full queue drops the line; the clone is a handle on the queue.
        let _ = log.lines.clone().write_all(format!("{line}\n").as_bytes());
    }
    response
}

async fn root(State(desk): State<Desk>) -> Response {
    let view = desk.board.view();
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "tagline": "Ringway",
        "phase": view.phase.word(),
        "endpoints": ["/", "/metrics", "/status", "/status/ready"],
    });
    as_json(StatusCode::OK, &body)
}

async fn status(State(desk): State<Desk>) -> Response {
    let snapshots = desk.board.snapshots().await;
    as_json(StatusCode::OK, &status::show(&desk.board, &desk.board.view(), &snapshots))
}

async fn ready(State(desk): State<Desk>) -> Response {
    match desk.board.view().phase {
        Phase::Serving => message(StatusCode::OK, "ready"),
        Phase::Starting => message(StatusCode::SERVICE_UNAVAILABLE, "no configuration is served yet"),
        Phase::Draining => message(StatusCode::SERVICE_UNAVAILABLE, "draining"),
    }
}

async fn metrics(State(desk): State<Desk>) -> Response {
    let snapshots = desk.board.snapshots().await;
    let text = metrics::render(&desk.board, &desk.board.view(), &snapshots, &desk.series);
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    (StatusCode::OK, [kind], text).into_response()
}

fn message(status: StatusCode, text: &str) -> Response {
    as_json(status, &json!({ "message": text }))
}

fn as_json(status: StatusCode, body: &Value) -> Response {
    let kind = (header::CONTENT_TYPE, "application/json; charset=utf-8");
    (status, [kind], Body::from(body.to_string())).into_response()
}
