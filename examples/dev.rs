use ringway::base::span::Span;
use ringway::base::id::*;
use ringway::plan::*;
use ringway::control::{self, *};
use std::sync::Arc;
fn main() -> std::process::ExitCode {
    let a: Vec<String> = std::env::args().collect();
    let up: std::net::SocketAddr = a[1].parse().unwrap();
    let mut node = ringway::config::native::defaults();
    node.node.runtime.shards = Shards::Cpus(a.get(2).map(|s| s.split(',').map(|x| x.parse().unwrap()).collect()).unwrap_or(vec![0]));
    if std::env::var("EPOLL").is_ok() { node.node.runtime.driver = Driver::Epoll; }
    node.node.access_log = std::env::var("LOG").ok().map(|p| AccessLog { path: LogPath::File(p), fields: ringway::config::native::log_format::default_fields() });
    let mut rep = report::Report::default();
    let (node, listeners) = node.finish(&mut rep);
    let at = Span::nowhere();
    let plan = Plan { hash: "dev".into(), node, listeners,
        services: vec![Service { id: uuid::Uuid::from_u128(1), name: Some("s".into()), protocol: Protocol::Http, host: up.ip().to_string(), port: up.port(), path: None, retries: 5, connect_timeout_ms: 60000, write_timeout_ms: 60000, read_timeout_ms: 60000, upstream: UpstreamIx(0), tls_verify: None, tags: vec![], at: at.clone() }],
        routes: vec![Route { id: uuid::Uuid::from_u128(2), name: Some("r".into()), protocols: vec![Protocol::Http, Protocol::Https], methods: vec![], hosts: vec![], paths: vec![PathPattern::Prefix("/".into())], headers: vec![], snis: vec![], strip_path: true, preserve_host: false, https_redirect_status: 426, regex_priority: 0, request_buffering: true, response_buffering: true, service: Some(ServiceIx(0)), tags: vec![], at: at.clone() }],
        upstreams: vec![Upstream { id: uuid::Uuid::nil(), name: up.to_string(), implied: true, algorithm: Algorithm::RoundRobin, host_header: None, targets: vec![Target { host: up.ip().to_string(), port: up.port(), weight: 100, at: at.clone() }], tags: vec![], at: at.clone() }],
        consumers: vec![], credentials: vec![], plugins: vec![] };
    let (line, inbox) = Line::new();
    let reopen = control::sink::Reopen::default();
    let journal = control::journal::Journal::start(&LogPath::Stderr, Level::Info, &reopen).ok();
    let p2 = plan.clone();
    ringway::boot::serve(ringway::boot::Start { first: First { plan: Arc::new(plan), report: rep, files: vec![] }, load: Arc::new(move || Loaded { plan: Some(p2.clone()), report: Default::default(), files: vec![] }), line, inbox, reopen, journal })
}
