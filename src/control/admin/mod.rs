//! The Admin API: what an operator, a scraper or a tool may ask a node. HTTP/1.1, in the clear or over TLS; nothing is changed by it but the
//! configuration as a whole, and the health of targets.
//!
//! ```text
//!   answer.rs    answers and the error object        kinds.rs     which path is which entity
//!   body.rs      bodies: JSON, forms, text           metrics.rs   GET /metrics: Prometheus text
//!   declare.rs   GET, POST /config                   node.rs      GET /, /endpoints, /timers
//!   entities.rs  /services, /routes/r/plugins …      page.rs      size, offset, tags
//!   fault.rs     findings as `fields` and sentences  schema.rs    GET /schemas/…, POST …/validate
//!   form.rs      forms → entities                    status.rs    GET /status
//!   health.rs    /upstreams/u/health, …/healthy       secured.rs   handshakes
//! ```
//!
//! What is shown comes from the [`Store`](super::store::Store): entities as they were written. It shows what the
//! reference's Admin API shows, API keys and JWT secrets among it, which is why it listens on the loopback address unless
//! it is told otherwise; passwords are hashes, and references to vaults stay references. It runs on the control thread's
//! reactor, within bounds of its own on connections, heads, bodies and time, so that it cannot hold up a reload for long.

mod answer;
mod body;
mod declare;
mod entities;
mod fault;
mod form;
mod health;
mod kinds;
mod metrics;
mod node;
mod page;
mod process;
mod schema;
mod secured;
mod status;

use super::board::{Board, Phase};
use super::sink::{Reopen, Sink};
use super::{Doors, Line};
use crate::base::limits;
use crate::config::{self, Shape};
use crate::hook::{Descriptor, ThisNode};
use crate::plan::ids::Table;
use crate::plan::{Bind, LogPath, Node};
use answer::{as_json, message};
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{header, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{from_fn_with_state, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use secured::Secured;
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// What every handler can reach.
#[derive(Clone)]
pub(super) struct Desk {
    board: Arc<Board>,
    /// To the loop.
    line: Line,
    descriptors: &'static [Descriptor],
    /// Every kind of entity as its rows.
    shapes: Arc<[Shape]>,
    /// This process, among others.
    node: Arc<ThisNode>,
    series: Arc<Mutex<metrics::Series>>,
    /// Places for whole configurations on their way in.
    configs: Arc<Semaphore>,
    log: Option<Arc<Log>>,
}

struct Log {
    lines: NonBlocking,
    _guard: WorkerGuard,
}

impl Desk {
    /// A desk without a log.
    pub(super) fn new(
        board: &Arc<Board>,
        line: &Line,
        descriptors: &'static [Descriptor],
        node: Arc<ThisNode>,
    ) -> Desk {
        Desk {
            board: board.clone(),
            line: line.clone(),
            descriptors,
            shapes: config::shapes().into(),
            node,
            series: Arc::default(),
            configs: Arc::new(Semaphore::new(limits::ADMIN_CONFIGS_MAX)),
            log: None,
        }
    }

    /// The rows of a kind.
    fn shape(&self, table: Table) -> Option<&Shape> {
        self.shapes.iter().find(|shape| shape.table == table)
    }
}

/// Binds every address of `node.admin` and serves them on the current runtime.
///
/// # Errors
/// A sentence: which address, and why.
pub(super) fn start(node: &Node, mut desk: Desk, reopen: &Reopen, doors: &Arc<Doors>) -> Result<(), String> {
    let mut listeners = Vec::new();
    for bind in &node.admin {
        let listener = listen(bind)
            .map_err(|error| format!("the Admin API cannot listen on {} ({}): {error}", bind.addr, bind.at))?;
        tracing::info!(address = %bind.addr, tls = bind.tls, "the Admin API is listening");
        listeners.push((listener, bind.http2, bind.tls.then(|| Secured::new(bind.addr, doors))));
    }
    if listeners.is_empty() {
        return Ok(());
    }
    desk.log = log(node.admin_log.as_ref(), reopen).map_err(|error| format!("the log of the Admin API: {error}"))?;
    let (router, places) = (router(desk), Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS_MAX)));
    for (listener, http2, secured) in listeners {
        tokio::spawn(accept(listener, http2, secured, router.clone(), places.clone()));
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

async fn accept(listener: TcpListener, http2: bool, secured: Option<Secured>, router: Router, places: Arc<Semaphore>) {
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
        // Latency only; an answer is sent without it as well.
        let _ = stream.set_nodelay(true);
        let router = router.clone().layer(Extension(peer));
        // Over the bound the connection is closed at once: waiting would let idle clients lock the operator out.
        let Some(secured) = &secured else {
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            tokio::spawn(async move {
                serve(stream, http2, router).await;
                drop(place);
            });
            continue;
        };
        // Handshakes have places of their own: who never ends one keeps nobody out who did.
        let Some(handshake) = secured.begin(stream) else { continue };
        let places = places.clone();
        tokio::spawn(async move {
            let Some(stream) = handshake.await else { return };
            let Ok(place) = places.try_acquire_owned() else { return };
            serve(stream, http2, router).await;
            drop(place);
        });
    }
}

/// Serves one connection to its end. `http2`: may it be spoken, as agreed on in the handshake or as the client begins?
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool, router: Router) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let head = Duration::from_millis(limits::ADMIN_HEAD_MS);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(limits::ADMIN_HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head)
        .keep_alive_timeout(head)
        .max_header_list_size(limits::ADMIN_HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(limits::ADMIN_STREAMS_MAX);
    if !http2 {
        builder = builder.http1_only();
    }
    let asked = Arc::default();
    let service = Noting { inner: TowerToHyperService::new(router), asked: Arc::clone(&asked) };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // No clock of the builder's runs while it waits for what tells the versions apart, nor before the first stream.
    let first = async {
        tokio::time::sleep(head).await;
        if !http2 || asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = &mut connection => {
            if let Err(error) = served {
                tracing::debug!(%error, "a connection of the Admin API has failed");
            }
        }
        () = first => tracing::debug!("a client of the Admin API has asked nothing"),
    }
}

/// Notes that a request has come.
struct Noting<S> {
    inner: S,
    asked: Arc<AtomicBool>,
}

impl<S: Service<R>, R> Service<R> for Noting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> S::Future {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.call(request)
    }
}

// ---- Requests ----

fn router(desk: Desk) -> Router {
    let routes = Router::new()
        .route("/status", get(status))
        .route("/status/ready", get(ready))
        .route("/metrics", get(metrics))
        .merge(declare::router())
        .merge(entities::router())
        .merge(health::routes())
        .merge(node::router())
        .merge(schema::router())
        .fallback(entities::answer)
        .method_not_allowed_fallback(async || message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"))
        .with_state(desk.clone());
    // A router of its own around the routes: only there the answer to a wrong method has its `Allow`.
    Router::new().fallback_service(routes).layer(from_fn_with_state(desk, around))
}

/// Around every request: bounds on body and time, the fields that every answer has, the log.
async fn around(
    State(desk): State<Desk>,
    Extension(peer): Extension<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let is_strange = is_from_a_strange_page(request.method(), request.uri(), request.headers());
    // `/routes/` is `/routes`.
    if let Some(uri) = without_slash(request.uri()) {
        *request.uri_mut() = uri;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (bytes_max, ms_max) = bounds(&method, &path);
    let body_min = request.body().size_hint().lower();
    let asked = request.headers().clone();
    let mut response = if is_strange {
        message(StatusCode::FORBIDDEN, "A page of another site asks this")
    } else if body_min > bytes_max as u64 {
        message(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large")
    } else {
        let answered = tokio::time::timeout(Duration::from_millis(ms_max), next.run(request)).await;
        answered.unwrap_or_else(|_| message(StatusCode::SERVICE_UNAVAILABLE, "The node is busy"))
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = told_methods(response, &method);
    }
    let took_ms = started.elapsed().as_millis() as u64;
    dress(&desk, &asked, response.headers_mut(), took_ms);
    if let Some(log) = &desk.log {
        // The query is left out: people paste secrets into them.
        let line = json!({
            "timestamp": SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64),
            "remote_addr": peer.ip().to_string(),
            "method": method.as_str(),
            "path": path,
            "status": response.status().as_u16(),
            "latency": took_ms,
        });
        // A full queue drops the line; the clone is a handle on the queue.
        let _ = log.lines.clone().write_all(format!("{line}\n").as_bytes());
    }
    response
}

/// Does a page of another site make a browser ask this? A form there could hand this node a configuration, and a script
/// could read its keys, while the operator looks at that page. A manager on another port of the same host is of the same
/// site. A page whose own name leads to this address (DNS rebinding) cannot be told from one of ours.
fn is_from_a_strange_page(method: &Method, uri: &Uri, asked: &HeaderMap) -> bool {
    // Fetch Metadata, which browsers send to whom they reach over TLS or the loopback interface.
    if let Some(site) = asked.get("sec-fetch-site") {
        // A link that is followed shows the answer to the operator and to nobody else.
        let mode = asked.get("sec-fetch-mode").map(HeaderValue::as_bytes);
        return site.as_bytes() == b"cross-site" && !(method.is_safe() && mode == Some(b"navigate"));
    }
    // Everybody else hears from them who asks to change something, or to be shown it: RFC 6454 §7.
    let Some(origin) = asked.get(header::ORIGIN) else { return false };
    let host_of = |text: &[u8]| Some(Authority::try_from(text).ok()?.host().to_ascii_lowercase());
    let host = asked.get(header::HOST).and_then(|host| host_of(host.as_bytes()));
    let host = host.or_else(|| Some(uri.host()?.to_ascii_lowercase()));
    // `null` is a page that has lost its name.
    let scheme = origin.as_bytes().windows(3).position(|part| part == b"://");
    host.is_none() || scheme.and_then(|at| host_of(&origin.as_bytes()[at + 3..])) != host
}

fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    format!("{path}{query}").parse().ok()
}

/// Bytes of a body, and ms to the answer: a whole configuration is large, and takes as long as a reload.
fn bounds(method: &Method, path: &str) -> (usize, u64) {
    match (method, path) {
        (&Method::POST, "/config") => {
            (limits::ADMIN_CONFIG_BYTES_MAX, limits::ADMIN_CONFIG_MS + limits::ADMIN_REQUEST_MS)
        }
        _ => (limits::ADMIN_BODY_BYTES_MAX, limits::ADMIN_REQUEST_MS),
    }
}

/// Names the methods of a path that was asked with another; that is also the answer to OPTIONS.
fn told_methods(mut response: Response, method: &Method) -> Response {
    let Some(allow) = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()) else {
        return response;
    };
    let mut methods: Vec<&str> = allow.split(',').map(str::trim).chain(["OPTIONS"]).collect();
    methods.sort_unstable();
    methods.dedup();
    let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) else { return response };
    if method == Method::OPTIONS {
        response = StatusCode::NO_CONTENT.into_response();
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
        let fields = HeaderValue::from_static("Content-Type");
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, fields);
    }
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// The fields of every answer. Pages of any origin of this site may read them: whoever reaches this listener may ask it
/// everything, and it is on nobody to let strangers reach it.
fn dress(desk: &Desk, asked: &HeaderMap, fields: &mut HeaderMap, took_ms: u64) {
    let view = desk.board.view();
    let dress = &view.plan.node.dress;
    if let Some(server) = dress.server.as_ref().and_then(|name| HeaderValue::from_str(name).ok()) {
        fields.insert(header::SERVER, server);
    }
    if let Some(name) = dress.admin_latency.as_ref().and_then(|name| HeaderName::try_from(name.as_str()).ok()) {
        fields.insert(name, HeaderValue::from(took_ms));
    }
    let origin = asked.get(header::ORIGIN).cloned().unwrap_or(HeaderValue::from_static("*"));
    fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    if let Some(wanted) = wanted.filter(|_| fields.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS)) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
}

async fn status(State(desk): State<Desk>, request: Request) -> Response {
    let writing = match status::Writing::of(&page::Query::of(request.uri().query())) {
        Ok(writing) => writing,
        Err(why) => return message(StatusCode::BAD_REQUEST, &why),
    };
    let snapshots = desk.board.snapshots().await;
    as_json(StatusCode::OK, &status::show(&desk.board, &desk.board.view(), &snapshots, writing))
}

async fn ready(State(desk): State<Desk>) -> Response {
    let view = desk.board.view();
    match view.phase {
        Phase::Serving if view.store.is_absent => {
            message(StatusCode::SERVICE_UNAVAILABLE, "no configuration available (empty configuration present)")
        }
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
