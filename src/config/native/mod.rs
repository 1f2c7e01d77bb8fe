//! The native dialect, `ringway.yaml`: settings of the node by name and unit, and the entities of the declarative
//! format with units for their durations.
//!
//! The settings are rows ([`knobs`]); a reader and the JSON Schema are made of the same rows. A later file overwrites
//! settings and adds entities. Not here: what the entities mean; their one reader is the declarative format's.

mod entities;
mod knobs;
pub(crate) mod listen;
pub mod log_format;
mod read;
mod schema;
mod sections;
mod tls;
pub(crate) mod value;

pub use schema::{schema, Shape};

use super::doc::{Key, Node, Value};
use crate::base::span::{At, Span};
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::{self, AccessLog, Bind, Dress, Level, Listener, LogPath, Runtime};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Keys without a meaning: remarks, and a place for anchors.
const IGNORED: [&str; 2] = ["_comment", "_ignore"];

/// Reads the settings of a native file into `draft`, and gives back its entities in the declarative format.
///
/// `nouns` are the names of the lists of entities. What cannot be read is in `report`; the rest is taken.
pub fn read(doc: Node, nouns: &[&str], draft: &mut NodeDraft, report: &mut Report) -> Node {
    let span = doc.span.clone();
    let mut found = Vec::new();
    if read::map(&doc, "", report).is_none() {
        return Node::new(Value::Map(found), span);
    }
    let Value::Map(entries) = doc.value else { return Node::new(Value::Map(found), span) };
    for (key, mut value) in entries {
        if let Some(knob) = knobs::TOP.iter().find(|knob| knob.name == key.text) {
            read::knob(&value, knob, &key.text, draft, report);
        } else if nouns.contains(&key.text.as_str()) {
            entities::translate(&mut value, &key.text, &key.text, report);
            found.push((key, value));
        } else if !IGNORED.contains(&key.text.as_str()) {
            let names = knobs::TOP.iter().map(|knob| knob.name).chain(nouns.iter().copied());
            read::unknown(&key, names, "", report);
        }
    }
    check(draft, &span, report);
    Node::new(Value::Map(found), span)
}

/// Relations between settings.
fn check(draft: &NodeDraft, span: &Span, report: &mut Report) {
    let runtime = &draft.node.runtime;
    if runtime.buffer_small > runtime.buffer_large {
        let message = format!("small ({} B) is larger than large ({} B)", runtime.buffer_small, runtime.buffer_large);
        report.fault(span, "runtime.buffers", message, "");
    }
}

/// Does a file with these keys at its top look like a native one?
pub fn is_native(keys: &[(Key, Node)]) -> bool {
    keys.iter().any(|(key, _)| knobs::TOP.iter().any(|knob| knob.name == key.text))
}

/// The settings of a node for which nothing is set and no other dialect speaks.
pub fn defaults() -> NodeDraft {
    let bind = |addr: [u8; 4], port| Bind {
        addr: SocketAddr::from((addr, port)),
        tls: false,
        http2: false,
        proxy_protocol: false,
        backlog: listen::BACKLOG,
        at: "default".to_owned(),
        options: None,
    };
    let proxy = bind([0; 4], 8000);
    let node = plan::Node {
        runtime: Runtime::default(),
        admin: Vec::new(),
        access_log: Some(AccessLog { path: LogPath::Stdout, fields: log_format::default_fields() }),
        admin_log: None,
        error_log: LogPath::Stderr,
        log_level: Level::Info,
        trusted: Vec::new(),
        real_ip_header: "x-real-ip".to_owned(),
        real_ip_recursive: false,
        port_maps: Vec::new(),
        dress: dress(),
        hosts: BTreeMap::new(),
        dns_servers: Vec::new(),
        tls: plan::tls::NodeTls::default(),
    };
    NodeDraft {
        node,
        listeners: vec![At::new(Listener { name: format!("proxy {}", proxy.addr), bind: proxy }, Span::nowhere())],
        admin: vec![At::new(bind([127, 0, 0, 1], 8001), Span::nowhere())],
        tls_at: Span::nowhere(),
        upstream_authorities: Vec::new(),
    }
}

/// The gateway's own names.
fn dress() -> Dress {
    let some = |text: &str| Some(text.to_owned());
    Dress {
        server: some("ringway"),
        via_request: some("ringway"),
        via_reply: some("ringway"),
        request_id_upstream: some("X-Ringway-Request-Id"),
        request_id_client: some("X-Ringway-Request-Id"),
        upstream_latency: some("X-Ringway-Upstream-Latency"),
        proxy_latency: some("X-Ringway-Proxy-Latency"),
        response_latency: some("X-Ringway-Response-Latency"),
        upstream_status: None,
        debug_trigger: None,
        debug_names: ["Ringway-Route-Id", "Ringway-Route-Name", "Ringway-Service-Id", "Ringway-Service-Name"]
            .map(str::to_owned),
        error_type: "text/plain".to_owned(),
        head_too_large: 431,
        tagline: "Ringway".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        admin_latency: some("X-Ringway-Admin-Latency"),
    }
}

#[cfg(test)]
mod tests;
