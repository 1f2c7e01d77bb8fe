//! What the tests of this room share.

use crate::base::span::Span;
use crate::plan::{Algorithm, Dress, Level, LogPath, Node, Plan, Runtime, Target, Upstream};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// A new empty folder for one test, below the system's temporary one.
pub(crate) fn folder(name: &str) -> PathBuf {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ringway-{}-{serial}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A target as a plan holds it.
pub(crate) fn target(host: &str, port: u16, weight: u32) -> Target {
    Target { host: host.to_owned(), port, weight, at: Span::nowhere() }
}

/// A plan of nothing but upstreams, with no listener and no log.
pub(crate) fn plan_of(upstreams: &[(&str, &[Target])]) -> Plan {
    let upstreams = upstreams.iter().map(|(name, targets)| Upstream {
        id: Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()),
        name: (*name).to_owned(),
        implied: false,
        algorithm: Algorithm::RoundRobin,
        host_header: None,
        targets: targets.to_vec(),
        tags: Vec::new(),
        at: Span::nowhere(),
    });
    Plan {
        hash: "0".repeat(64),
        node: Node {
            runtime: Runtime::default(),
            admin: Vec::new(),
            access_log: None,
            admin_log: None,
            error_log: LogPath::Stderr,
            log_level: Level::Info,
            trusted: Vec::new(),
            real_ip_header: "x-real-ip".to_owned(),
            real_ip_recursive: false,
            dress: Dress {
                server: Some("ringway".to_owned()),
                via_request: None,
                via_reply: None,
                request_id_upstream: None,
                request_id_client: None,
                upstream_latency: None,
                proxy_latency: None,
                response_latency: None,
                upstream_status: None,
                debug_trigger: None,
                debug_names: Default::default(),
                error_type: "text/plain".to_owned(),
            },
            hosts: BTreeMap::new(),
            dns_servers: Vec::new(),
        },
        listeners: Vec::new(),
        services: Vec::new(),
        routes: Vec::new(),
        upstreams: upstreams.collect(),
        consumers: Vec::new(),
        credentials: Vec::new(),
        plugins: Vec::new(),
    }
}
