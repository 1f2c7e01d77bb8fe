//! The one model of what the gateway does: plain data, immutable once linked, and free of any dialect.
//!
//! A front-end of `config` writes a [`draft::Draft`]; [`link::link`] turns it into a [`Plan`] and a [`report::Report`].
//! Words that clients of a dialect can see (header names, product tokens) are data here: [`Dress`].
//!
//! Indexes ([`RouteIx`] …) are places in *this* plan. Whatever outlives a reload is keyed by [`Uuid`] or by name.

pub mod balancing;
pub mod chain;
pub mod draft;
pub mod groups;
pub mod ids;
pub mod link;
pub mod node;
pub mod packed;
pub mod people;
pub mod rank;
pub mod record;
pub mod report;
pub mod schema;
pub mod spoken;
pub mod tls;

use crate::base::id::{ConsumerIx, CredentialIx, GroupIx, PluginIx, ServiceIx, UpstreamIx};
use crate::base::span::Span;
use balancing::{Checks, Hashing};
pub use people::{Consumer, Consumers, Credential, Credentials, NewConsumer, Secret, TokenKey};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use uuid::Uuid;

/// Everything a generation of the gateway serves by.
#[derive(Clone, Debug)]
pub struct Plan {
    /// SHA-256 of the sources, lower-case hex: what `/status` and the log call the configuration.
    pub hash: String,
    /// Settings of the process and its shards.
    pub node: Node,
    /// Sockets that accept clients.
    pub listeners: Vec<Listener>,
    /// Where requests go.
    pub services: Vec<Service>,
    /// Which requests go there.
    pub routes: Vec<Route>,
    /// Named or implied groups of targets; a service with a plain host has an implied one.
    pub upstreams: Vec<Upstream>,
    /// Who sends them.
    pub consumers: Consumers,
    /// By what they prove it.
    pub credentials: Credentials,
    /// Groups of them that plugins may be for.
    pub groups: groups::Groups,
    /// Plugin instances; disabled ones are not here.
    pub plugins: Vec<PluginInstance>,
    /// Certificates and authorities.
    pub secure: tls::Secure,
}

/// Settings of the process and its shards.
#[derive(Clone, Debug)]
pub struct Node {
    /// Threads and their sizes.
    pub runtime: Runtime,
    /// Where the Admin API listens; empty where it is off.
    pub admin: Vec<Bind>,
    /// Access log of proxied requests; `None` is off.
    pub access_log: Option<AccessLog>,
    /// Access log of the Admin API; `None` is off.
    pub admin_log: Option<LogPath>,
    /// Where the program's own log goes.
    pub error_log: LogPath,
    /// Lowest level of the program's own log.
    pub log_level: Level,
    /// Peers whose forwarding headers are believed.
    pub trusted: Vec<ipnet::IpNet>,
    /// Lower-case name of the header that carries the real client address: `x-real-ip`, `x-forwarded-for`,
    /// or the word `proxy_protocol`.
    pub real_ip_header: String,
    /// Walk the list from the right over trusted addresses.
    pub real_ip_recursive: bool,
    /// Listener's port, and the port that clients know it by: a balancer or a container's mapping stands between.
    pub port_maps: Vec<(u16, u16)>,
    /// Names and tokens that peers see.
    pub dress: Dress,
    /// Static name → address, before any DNS.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// DNS servers; empty means the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// TLS of all sockets and services.
    pub tls: tls::NodeTls,
}

impl Node {
    /// The port that clients know a listener's port by.
    pub fn public_port(&self, port: u16) -> u16 {
        self.port_maps.iter().find(|(inner, _)| *inner == port).map_or(port, |(_, public)| *public)
    }
}

/// Threads, sizes and times of the shards. `config/` and tuning.md say what each is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Which CPUs serve.
    pub shards: Shards,
    /// io_uring where the kernel lets us, or epoll.
    pub driver: Driver,
    /// Submission entries of a ring; the completion ring has four times as many.
    pub ring_entries: u32,
    /// Pinned to its CPU?
    pub pin: bool,
    /// Open client connections of the whole process; one more is refused with 503.
    pub connections_max: u64,
    /// Bytes of the buffer a connection waits for a head in.
    pub buffer_small: u32,
    /// Bytes of the buffer that bodies are relayed through.
    pub buffer_large: u32,
    /// Free buffers a shard keeps, per class.
    pub buffers_kept: u32,
    /// Idle upstream connections a shard keeps, per address.
    pub upstream_idle_max: u32,
    /// Requests over one upstream connection; 0 means no bound.
    pub upstream_requests_max: u64,
    /// Idle time of an upstream connection, ms; 0 means never.
    pub upstream_idle_ms: u64,
    /// Age from which on an upstream connection takes no more requests, ms; 0 means never.
    pub upstream_age_ms: u64,
    /// Connections of HTTP/2 a shard has side by side to one address.
    pub upstream_http2_connections_max: u32,
    /// Requests at once over one of them, where the upstream allows so many.
    pub upstream_http2_streams_max: u32,
    /// Silence of an upstream with requests under way over HTTP/2 before it is sent a PING, ms; 0 means never.
    pub upstream_http2_ping_ms: u64,
    /// From the first byte of a head (or from accept) to its end, ms.
    pub header_timeout_ms: u64,
    /// Between two reads of a request body, ms.
    pub body_timeout_ms: u64,
    /// Lowest rate of a request body after the first seconds, bytes per second; 0 means any.
    pub body_rate_min: u64,
    /// Between two writes to a client that does not read, ms.
    pub send_timeout_ms: u64,
    /// Between two requests, ms.
    pub keepalive_timeout_ms: u64,
    /// Requests of one client connection; 0 means no bound.
    pub keepalive_requests_max: u64,
    /// Silence in a tunnel, ms.
    pub tunnel_timeout_ms: u64,
    /// From SIGTERM to the end, ms.
    pub drain_timeout_ms: u64,
    /// Largest request body, bytes; 0 means any.
    pub body_bytes_max: u64,
    /// Largest value of one header field of a request, bytes; 0 means what the whole head may be.
    pub field_bytes_max: u64,
    /// Bytes of a shard's access-log ring.
    pub log_ring_bytes: u32,
    /// Hand new connections to the least loaded shard?
    pub hand_off: bool,
}

impl Default for Runtime {
    fn default() -> Runtime {
        Runtime {
            shards: Shards::Auto,
            driver: Driver::Auto,
            ring_entries: 1024,
            pin: true,
            connections_max: 100_000,
            buffer_small: 4 * 1024,
            buffer_large: 32 * 1024,
            buffers_kept: 1024,
            upstream_idle_max: 512,
            upstream_requests_max: 10_000,
            upstream_idle_ms: 60_000,
            upstream_age_ms: 0,
            upstream_http2_connections_max: 100,
            upstream_http2_streams_max: 100,
            upstream_http2_ping_ms: 0,
            header_timeout_ms: 15_000,
            body_timeout_ms: 60_000,
            body_rate_min: 64,
            send_timeout_ms: 60_000,
            keepalive_timeout_ms: 75_000,
            keepalive_requests_max: 0,
            tunnel_timeout_ms: 60_000,
            drain_timeout_ms: 30_000,
            body_bytes_max: 0,
            field_bytes_max: 0,
            log_ring_bytes: 1024 * 1024,
            hand_off: true,
        }
    }
}

/// Which CPUs serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shards {
    /// One per CPU the process may run on.
    Auto,
    /// The first so many of them.
    Count(u32),
    /// These, by number.
    Cpus(Vec<u32>),
}

/// What a shard waits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring, or epoll with one warning where the kernel refuses it.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// A level of the program's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What an operator wants to know.
    Warn,
    /// What an operator must know.
    Error,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPath {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to; reopened when it was renamed (SIGUSR1).
    File(String),
}

/// The access log of proxied requests: JSON, a line a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where to.
    pub path: LogPath,
    /// Output keys in order and what stands behind each.
    pub fields: Vec<(String, LogField)>,
}

/// What a line of the access log can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogField {
    /// Wall clock at the end of the request, ms since the epoch.
    TimestampMs,
    /// The same as ISO 8601.
    TimeIso8601,
    /// The request's id.
    RequestId,
    /// Client address after trust.
    RemoteAddr,
    /// Client port.
    RemotePort,
    /// Method as sent.
    Method,
    /// Request-target as sent, query included.
    Uri,
    /// Host as sent.
    Host,
    /// `http` or `https`.
    Scheme,
    /// `HTTP/1.1`.
    Protocol,
    /// Status sent to the client.
    Status,
    /// Status of the upstream; 0 where none answered.
    UpstreamStatus,
    /// From the first byte of the request to the last of the answer, ms.
    LatencyMs,
    /// From sending to the upstream to its head, ms; -1 where none.
    UpstreamLatencyMs,
    /// In the gateway before the upstream, ms.
    ProxyLatencyMs,
    /// Bytes sent to the client, head included.
    BytesSent,
    /// Bytes read from the client, head included.
    BytesReceived,
    /// Consumer's username.
    Consumer,
    /// Route's name, or its id.
    Route,
    /// Service's name, or its id.
    Service,
    /// Address of the target that answered.
    Upstream,
    /// Attempts made.
    Tries,
    /// User-Agent as sent.
    UserAgent,
    /// Referer as sent.
    Referer,
    /// CPU-bound thread that served.
    Shard,
    /// Why the gateway answered itself: a short word, empty where it did not.
    Refusal,
    /// Version of TLS; empty in the clear, as all that follow.
    TlsVersion,
    /// Cipher suite.
    TlsSuite,
    /// The server name that the client asked for.
    TlsServerName,
    /// `r` where the session went on from an earlier one, `.` where not.
    TlsResumed,
    /// `SUCCESS`, `UNVERIFIED` where only a plugin looks who vouches for the certificate, `NONE`.
    ClientVerify,
    /// Subject of the client's certificate.
    ClientSubject,
    /// Its alternative names, commas between them.
    ClientNames,
    /// Its serial number, hex.
    ClientSerial,
    /// SHA-256 of it, hex.
    ClientSha256,
}

/// Names and tokens that clients and upstreams see; a front-end chooses them, so that the data plane knows no dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dress {
    /// `Server` of answers made here, and of upstreams that sent none; `None` hides it.
    pub server: Option<String>,
    /// Pseudonym in `Via` towards upstreams; `None` hides it.
    pub via_request: Option<String>,
    /// Pseudonym in `Via` towards clients; `None` hides it.
    pub via_reply: Option<String>,
    /// Header of the request id towards upstreams.
    pub request_id_upstream: Option<String>,
    /// Header of the request id towards clients.
    pub request_id_client: Option<String>,
    /// Header of the ms spent waiting for the upstream's head.
    pub upstream_latency: Option<String>,
    /// Header of the ms spent here before connecting.
    pub proxy_latency: Option<String>,
    /// Header of the ms spent on answers made here.
    pub response_latency: Option<String>,
    /// Header of the upstream's status.
    pub upstream_status: Option<String>,
    /// Header that asks for the debug headers, lower-case; `None`: never given.
    pub debug_trigger: Option<String>,
    /// Debug headers: route id, route name, service id, service name.
    pub debug_names: [String; 4],
    /// Media type of transport errors where the client named none: `text/plain`.
    pub error_type: String,
    /// Status where a head is too large: 431 (RFC 6585 §5), or the 400 that clients of other gateways know.
    pub head_too_large: u16,
    /// What the Admin API greets with.
    pub tagline: String,
    /// The version it tells its clients, which choose by it what they may ask.
    pub version: String,
    /// Header of the ms spent on its answers.
    pub admin_latency: Option<String>,
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    /// Address and port.
    pub addr: SocketAddr,
    /// TLS?
    pub tls: bool,
    /// HTTP/2 too?
    pub http2: bool,
    /// Is a PROXY protocol header expected?
    pub proxy_protocol: bool,
    /// Length of the accept queue.
    pub backlog: u32,
    /// Where it was written.
    pub at: String,
    /// What its TLS is set to; `None`: as the node's.
    pub options: Option<Box<tls::TlsOptions>>,
}

/// A socket that accepts clients; every shard opens its own beside the others (SO_REUSEPORT).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Name in logs and metrics.
    pub name: String,
    /// Where.
    pub bind: Bind,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Service {
    /// Stable id.
    pub id: Uuid,
    /// Name, where it has one.
    pub name: Option<String>,
    /// `http`, `https`, …
    pub protocol: Protocol,
    /// Host as written: sent as `Host`, or the name of an upstream.
    pub host: String,
    /// Port as written.
    pub port: u16,
    /// Path put before the request's; `None` is `/`.
    pub path: Option<String>,
    /// Attempts after the first.
    pub retries: u32,
    /// Per attempt, ms.
    pub connect_timeout_ms: u64,
    /// Between two writes, ms.
    pub write_timeout_ms: u64,
    /// Between two reads, ms.
    pub read_timeout_ms: u64,
    /// Its targets.
    pub upstream: UpstreamIx,
    /// How its upstreams are asked, where that is over TLS.
    pub tls: tls::ServiceTls,
    /// HTTP/2 with its upstreams, where the protocol alone would be HTTP/1.1?
    pub http2: bool,
    /// How a client is announced to its upstreams before a connection's first byte; then no two clients share one.
    pub announces: Option<spoken::ProxyVersion>,
    /// Tags.
    pub tags: Vec<String>,
    /// Where it was written.
    pub at: Span,
}

/// A scheme of a service or route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// gRPC in the clear.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
    /// Any TCP.
    Tcp,
    /// Any TLS, terminated here.
    Tls,
    /// Any UDP.
    Udp,
    /// Any TLS, not terminated here.
    TlsPassthrough,
}

impl Protocol {
    /// The word in configurations.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Grpc => "grpc",
            Protocol::Grpcs => "grpcs",
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
            Protocol::Udp => "udp",
            Protocol::TlsPassthrough => "tls_passthrough",
        }
    }

    /// The port that needs no mention in `Host`.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Protocol::Http | Protocol::Grpc => Some(80),
            Protocol::Https | Protocol::Grpcs => Some(443),
            _ => None,
        }
    }
}

/// Which requests go to a service.
#[derive(Clone, Debug)]
pub struct Route {
    /// Stable id.
    pub id: Uuid,
    /// Name, where it has one.
    pub name: Option<String>,
    /// Schemes it is meant for; a request by another gets `https_redirect_status`.
    pub protocols: Vec<Protocol>,
    /// Methods, exact; empty is any.
    pub methods: Vec<String>,
    /// Hosts; empty is any.
    pub hosts: Vec<HostPattern>,
    /// Paths; empty is any.
    pub paths: Vec<PathPattern>,
    /// Headers: all of these names, any of each one's values.
    pub headers: Vec<HeaderMatch>,
    /// TLS server names; only asked of TLS connections.
    pub snis: Vec<String>,
    /// Takes the matched prefix off the upstream path.
    pub strip_path: bool,
    /// Sends the client's Host to the upstream.
    pub preserve_host: bool,
    /// 426, 301, 302, 307 or 308.
    pub https_redirect_status: u16,
    /// Orders regex paths; larger first.
    pub regex_priority: u32,
    /// Collect a small request body before connecting?
    pub request_buffering: bool,
    /// Collect a small answer before passing it on?
    pub response_buffering: bool,
    /// Where they go; `None`: a plugin must answer.
    pub service: Option<ServiceIx>,
    /// Tags.
    pub tags: Vec<String>,
    /// Where it was written.
    pub at: Span,
}

/// A host of a route, lower-case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// The name, with its wildcard label cut off.
    pub name: HostName,
    /// Only at this port.
    pub port: Option<u16>,
}

/// The shapes a route's host has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostName {
    /// `a.test`
    Exact(String),
    /// `*.a.test`, held as `.a.test`
    Suffix(String),
    /// `a.*`, held as `a.`
    Prefix(String),
    /// `*` alone: any
    Any,
}

/// A path of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// A byte prefix of the normalised path.
    Prefix(String),
    /// A regular expression, anchored at the start; held without the `~`.
    Regex(String),
}

/// A header of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Lower-case name.
    pub name: String,
    /// What its value must be.
    pub want: HeaderWant,
}

/// What a header's value must be; compared in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderWant {
    /// One of these, lower-case.
    OneOf(Vec<String>),
    /// Found by this regular expression (lower-cased text), unanchored.
    Regex(String),
}

/// A group of targets.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Stable id.
    pub id: Uuid,
    /// Its name; for an implied one `host:port`.
    pub name: String,
    /// Was it made up for a service with a plain host?
    pub implied: bool,
    /// How a target is picked.
    pub algorithm: Algorithm,
    /// What a hash is made of; only [`Algorithm::ConsistentHashing`] makes one.
    pub hashing: Hashing,
    /// How the health of its targets is learnt.
    pub checks: Checks,
    /// `Host` to send instead of the target's.
    pub host_header: Option<String>,
    /// What probes show to its targets, and services that have none of their own: its place among the certificates.
    pub certificate: Option<usize>,
    /// Its targets, weight 0 included.
    pub targets: Vec<Target>,
    /// Tags.
    pub tags: Vec<String>,
    /// Where it was written.
    pub at: Span,
}

/// How a target is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// By weight, in turn.
    RoundRobin,
    /// Fewest open requests by weight.
    LeastConnections,
    /// By a hash of the request.
    ConsistentHashing,
    /// Lowest smoothed latency.
    Latency,
}

/// A place of an upstream: a name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Stable id.
    pub id: Uuid,
    /// Name or address, without brackets.
    pub host: String,
    /// Port; `None` where SRV records give it.
    pub port: u16,
    /// Share of the traffic; 0 is none.
    pub weight: u32,
    /// Tags.
    pub tags: Vec<String>,
    /// Where it was written.
    pub at: Span,
}

/// A configured plugin.
#[derive(Clone, Debug)]
pub struct PluginInstance {
    /// Stable id.
    pub id: Uuid,
    /// `rate-limiting`, …
    pub name: String,
    /// Own name, where it has one.
    pub instance_name: Option<String>,
    /// Its scope; all `None` is global.
    pub scope: Scope,
    /// Schemes it runs for.
    pub protocols: Vec<Protocol>,
    /// Validated against the plugin's schema, defaults filled in.
    pub config: serde_json::Value,
    /// What was made of the files that `config` names, by field.
    pub files: Vec<(Box<str>, Arc<[u8]>)>,
    /// Where it runs, if not by its priority.
    pub ordering: Option<Box<Ordering>>,
    /// Tags.
    pub tags: Vec<String>,
    /// Where it was written.
    pub at: Span,
}

impl PluginInstance {
    /// What was made of the file that this field names.
    pub fn made_of(&self, field: &str) -> Option<&[u8]> {
        self.files.iter().find(|(name, _)| **name == *field).map(|(_, bytes)| &**bytes)
    }
}

/// Where an instance runs on the way to the upstream, beside what other plugins. On the way back all run by priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordering {
    /// It runs before plugins of these names.
    pub before: Vec<String>,
    /// It runs after plugins of these names.
    pub after: Vec<String>,
    /// Where it was written.
    pub at: Span,
    /// Its path within its file.
    pub path: String,
}

/// What a plugin instance is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    /// A route.
    pub route: Option<crate::base::id::RouteIx>,
    /// A service.
    pub service: Option<ServiceIx>,
    /// A consumer.
    pub consumer: Option<ConsumerIx>,
    /// A group of consumers; then it is for no consumer.
    pub group: Option<GroupIx>,
}

impl Plan {
    /// The service of a route.
    pub fn service_of(&self, route: &Route) -> Option<&Service> {
        route.service.map(|ix| &self.services[ix.ix()])
    }

    /// An instance by its place.
    pub fn plugin(&self, ix: PluginIx) -> &PluginInstance {
        &self.plugins[ix.ix()]
    }

    /// A consumer by its place.
    pub fn consumer(&self, ix: ConsumerIx) -> Consumer<'_> {
        self.consumers.at(ix)
    }

    /// A credential by its place.
    pub fn credential(&self, ix: CredentialIx) -> Credential<'_> {
        self.credentials.at(ix)
    }

    /// The upstream of a service.
    pub fn upstream(&self, ix: UpstreamIx) -> &Upstream {
        &self.upstreams[ix.ix()]
    }
}
