//! Settings with a shape of their own: each with its reader and, beside it, its JSON Schema.

use super::read::{is_off, join, list, map, show, switch, text, unknown};
use super::{listen, log_format, value};
use crate::base::span::{At, Span};
use crate::config::doc::{Node, Value};
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::{AccessLog, Bind, Listener, LogPath, Shards};
use serde_json::{json, Value as Json};
use std::net::IpAddr;

/// `auto`, a number, a list of CPUs, `{cpus: "0-3,8"}`.
pub(super) fn shards(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    const HINT: &str = "write auto, a number above 0, a list of CPUs, or {cpus: \"0-3,8\"}";
    let cpus = |text: &str| value::cpus(text).map(Shards::Cpus);
    let numbers = |nodes: &[Node]| {
        let words: Option<Vec<String>> = nodes.iter().map(|node| whole(node).map(|n| n.to_string())).collect();
        cpus(&words.ok_or("not a list of CPUs".to_owned())?.join(","))
    };
    let read = match &doc.value {
        Value::Str(word) if word == "auto" => Ok(Shards::Auto),
        Value::Seq(nodes) => numbers(nodes),
        Value::Map(entries) => match entries.as_slice() {
            [(key, node)] if key.text == "cpus" => match &node.value {
                Value::Str(text) => cpus(text),
                Value::Int(n) => cpus(&n.to_string()),
                Value::Seq(nodes) => numbers(nodes),
                _ => Err("not a list of CPUs".to_owned()),
            },
            _ => Err("not a map of cpus alone".to_owned()),
        },
        // 4096: one thread per CPU is what shards are for, and few machines have more.
        _ => match whole(doc).filter(|n| (1..=4096).contains(n)) {
            Some(n) => Ok(Shards::Count(n)),
            None => Err(format!("not a number of shards: {}", show(doc))),
        },
    };
    match read {
        Ok(shards) => draft.node.runtime.shards = shards,
        Err(why) => report.fault(&doc.span, path, why, HINT),
    }
}

pub(super) fn shards_schema() -> Json {
    let cpu = json!({"type": "integer", "minimum": 0, "maximum": 4095});
    let cpus = json!({"type": "array", "items": cpu, "minItems": 1});
    let ranges = json!({"type": "string", "pattern": "^[0-9]+(-[0-9]+)?( *, *[0-9]+(-[0-9]+)?)*$"});
    json!({"default": "auto", "anyOf": [
        {"const": "auto"},
        {"type": "integer", "minimum": 1, "maximum": 4096},
        cpus,
        {"type": "object", "properties": {"cpus": {"anyOf": [ranges, cpus]}}, "required": ["cpus"],
         "additionalProperties": false},
    ]})
}

fn whole(node: &Node) -> Option<u32> {
    match node.value {
        Value::Int(n) => u32::try_from(n).ok(),
        _ => None,
    }
}

/// Directives, or maps of address and flags; `off` is none.
pub(super) fn listeners(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    if let Some(sockets) = sockets(doc, path, report) {
        let named = sockets.into_iter().map(|(At { value: bind, span }, name)| {
            let name = name.unwrap_or_else(|| format!("proxy {}", bind.addr));
            At::new(Listener { name, bind }, span)
        });
        let listeners: Vec<At<Listener>> = named.collect();
        for (ix, one) in listeners.iter().enumerate() {
            if listeners[..ix]
                .iter()
                .any(|other| other.value.name == one.value.name && other.value.bind != one.value.bind)
            {
                let message = format!("another listener is named \"{}\"", one.value.name);
                report.fault(&one.span, format!("{path}[{ix}]"), message, "names tell them apart in logs and metrics");
            }
        }
        draft.listeners = listeners;
    }
}

pub(super) fn listeners_schema() -> Json {
    let many = json!({"type": "array", "items": socket_schema()});
    json!({"default": ["0.0.0.0:8000"], "anyOf": [{"enum": ["off", false]}, socket_schema(), many]})
}

/// As `listeners`, without names.
pub(super) fn admin(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    if let Some(sockets) = sockets(doc, path, report) {
        draft.admin = sockets.into_iter().map(|(bind, _)| bind).collect();
    }
}

pub(super) fn admin_schema() -> Json {
    let mut schema = listeners_schema();
    schema["default"] = json!(["127.0.0.1:8001"]);
    schema
}

/// The sockets, each with its name where it has one; `None` after a fault.
fn sockets(doc: &Node, path: &str, report: &mut Report) -> Option<Vec<(At<Bind>, Option<String>)>> {
    if is_off(doc) {
        return Some(Vec::new());
    }
    let mut all = Vec::new();
    let mut whole = true;
    for (ix, one) in list(doc).iter().enumerate() {
        let path = if doc.seq().is_some() { format!("{path}[{ix}]") } else { path.to_owned() };
        let read = match &one.value {
            Value::Map(_) => socket_map(one, &path, report),
            _ => text(one, &path, report).and_then(|text| socket_text(text, &one.span, &path, report)),
        };
        match read {
            Some((bind, name)) => all.push((At::new(bind, one.span.clone()), name)),
            None => whole = false,
        }
    }
    whole.then_some(all)
}

fn socket_text(text: &str, span: &Span, path: &str, report: &mut Report) -> Option<(Bind, Option<String>)> {
    match listen::parse_one(text, &span.to_string()) {
        Ok(bind) => Some((bind, None)),
        Err(bad) => {
            report.fault(span, path, bad.why, bad.hint);
            None
        }
    }
}

fn socket_map(doc: &Node, path: &str, report: &mut Report) -> Option<(Bind, Option<String>)> {
    const NAMES: [&str; 6] = ["address", "name", "backlog", "proxy_protocol", "tls", "http2"];
    let Some(address) = doc.get("address") else {
        report.fault(&doc.span, join(path, "address"), "required field missing", "write \"0.0.0.0:8000\"");
        return None;
    };
    let address_path = join(path, "address");
    let (mut bind, mut name) = text(address, &address_path, report)
        .and_then(|text| socket_text(text, &address.span, &address_path, report))?;
    bind.at = doc.span.to_string();
    for (key, value) in doc.map().unwrap_or_default() {
        let field = join(path, &key.text);
        match key.text.as_str() {
            "address" => {}
            "name" => name = text(value, &field, report).map(str::to_owned),
            "backlog" => match whole(value).filter(|n| *n > 0) {
                Some(n) => bind.backlog = n,
                None => report.fault(&value.span, field, format!("not a backlog: {}", show(value)), "write 4096"),
            },
            "proxy_protocol" => bind.proxy_protocol = switch(value, &field, report)?,
            "tls" if value.map().is_some() => {
                bind.tls = true;
                bind.options = Some(Box::new(super::tls::listener(value, &field, report)));
            }
            "tls" => bind.tls = switch(value, &field, report)?,
            "http2" => bind.http2 = switch(value, &field, report)?,
            _ => unknown(key, NAMES.into_iter(), path, report),
        }
    }
    Some((bind, name))
}

fn socket_schema() -> Json {
    let address = json!({
        "type": "string",
        "description": "address:port, then flags: backlog=N, proxy_protocol, http2, ssl",
        "pattern": "^(\\*|localhost|[0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]+( +[a-z_0-9=]+)*$",
    });
    let backlog = json!({
        "type": "integer",
        "minimum": 1,
        "default": listen::BACKLOG,
        "description": "Length of the accept queue.",
    });
    let flag = |about: &str| json!({"type": "boolean", "default": false, "description": about});
    let map = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["address"],
        "properties": {
            "address": address,
            "name": {"type": "string", "description": "Its name in logs and metrics."},
            "backlog": backlog,
            "proxy_protocol": flag("A load balancer writes the client's address first."),
            "tls": {"anyOf": [flag("Terminate TLS."), super::tls::listener_schema()]},
            "http2": flag("Offer HTTP/2."),
        },
    });
    json!({"anyOf": [address, map]})
}

/// A path, or a map of path and format.
pub(super) fn access_log(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    if doc.map().is_none() {
        if let Some(to) = log_path(doc, path, report) {
            set_access_path(draft, to);
        }
        return;
    }
    for (key, value) in map(doc, path, report).unwrap_or_default() {
        match key.text.as_str() {
            "path" => {
                if let Some(to) = log_path(value, &join(path, "path"), report) {
                    set_access_path(draft, to);
                }
            }
            "format" => {}
            _ => unknown(key, ["path", "format"].into_iter(), path, report),
        }
    }
    // After the path, whichever was written first: the format is that of a log which is on.
    if let (Some(format), Some(log)) = (doc.get("format"), &mut draft.node.access_log) {
        let path = join(path, "format");
        let mut fields = Vec::new();
        for (key, value) in map(format, &path, report).unwrap_or_default() {
            let path = join(&path, &key.text);
            let Some(name) = text(value, &path, report) else { continue };
            match log_format::variable(name) {
                Ok(field) => fields.push((key.text.clone(), field)),
                Err((why, hint)) => report.fault(&value.span, path, why, hint),
            }
        }
        log.fields = fields;
    }
}

fn set_access_path(draft: &mut NodeDraft, path: LogPath) {
    draft.node.access_log = match (draft.node.access_log.take(), path) {
        (_, LogPath::Off) => None,
        (Some(log), path) => Some(AccessLog { path, ..log }),
        (None, path) => Some(AccessLog { path, fields: log_format::default_fields() }),
    };
}

pub(super) fn access_log_schema() -> Json {
    let variables = log_format::VARIABLES.iter();
    let variables = variables.map(|(name, _, about)| json!({"const": format!("${name}"), "description": about}));
    let format = json!({
        "type": "object",
        "description": "Output key to variable, in the order of the line.",
        "additionalProperties": {"oneOf": variables.collect::<Vec<_>>()},
    });
    let map = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {"path": path_schema(), "format": format},
    });
    json!({"default": "/dev/stdout", "anyOf": [path_schema(), map]})
}

/// Requests of the Admin API.
pub(super) fn admin_access_log(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    if let Some(to) = log_path(doc, path, report) {
        draft.node.admin_log = (to != LogPath::Off).then_some(to);
    }
}

/// The program's own words.
pub(super) fn error_log(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    if let Some(to) = log_path(doc, path, report) {
        draft.node.error_log = to;
    }
}

fn log_path(doc: &Node, path: &str, report: &mut Report) -> Option<LogPath> {
    if is_off(doc) {
        return Some(LogPath::Off);
    }
    match text(doc, path, report)? {
        "/dev/stdout" => Some(LogPath::Stdout),
        "/dev/stderr" => Some(LogPath::Stderr),
        "" => {
            report.fault(&doc.span, path, "a path is missing", "write a file, /dev/stdout, /dev/stderr or off");
            None
        }
        file => Some(LogPath::File(file.to_owned())),
    }
}

pub(super) fn path_schema() -> Json {
    let examples = ["/dev/stdout", "/dev/stderr", "/var/log/ringway/access.log"];
    json!({"anyOf": [
        {"type": "string", "minLength": 1, "examples": examples},
        {"const": false, "description": "off"},
    ]})
}

/// Addresses and CIDR blocks.
pub(super) fn trusted_ips(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    draft.node.trusted = items(doc, path, report, |text| {
        value::network(text).ok_or(("not an address or CIDR block", "write \"10.0.0.0/8\" or \"::1\""))
    });
}

pub(super) fn trusted_ips_schema() -> Json {
    let one = json!({"type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"});
    json!({"default": [], "anyOf": [one, {"type": "array", "items": one}]})
}

/// Servers to ask instead of the system's.
pub(super) fn dns_servers(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    draft.node.dns_servers = items(doc, path, report, |text| {
        value::dns_server(text).ok_or(("not the address of a DNS server", "write \"10.0.0.2\" or \"10.0.0.2:53\""))
    });
}

pub(super) fn dns_servers_schema() -> Json {
    let one = json!({"type": "string", "pattern": "^([0-9.]+|[0-9A-Fa-f:]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]+)?$"});
    json!({"default": [], "anyOf": [one, {"type": "array", "items": one}]})
}

/// Name → address, or list of addresses. Names of several files add up; a name that is there again is replaced.
pub(super) fn hosts(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    for (key, value) in map(doc, path, report).unwrap_or_default() {
        let addresses: Vec<IpAddr> = items(value, &join(path, &key.text), report, |text| {
            text.parse().map_err(|_| ("not an IP address", "write \"10.0.1.10\" or \"::1\", without a port"))
        });
        draft.node.hosts.insert(key.text.to_ascii_lowercase(), addresses);
    }
}

pub(super) fn hosts_schema() -> Json {
    let one = json!({"type": "string", "pattern": "^[0-9A-Fa-f.:]+$"});
    let many = json!({"type": "array", "items": one, "minItems": 1});
    json!({"type": "object", "default": {}, "additionalProperties": {"anyOf": [one, many]}})
}

/// Reads each text of a list; what cannot be read is a fault and left out.
fn items<T>(
    doc: &Node,
    path: &str,
    report: &mut Report,
    read: impl Fn(&str) -> Result<T, (&'static str, &'static str)>,
) -> Vec<T> {
    let mut all = Vec::new();
    for (ix, one) in list(doc).iter().enumerate() {
        let path = if doc.seq().is_some() { format!("{path}[{ix}]") } else { path.to_owned() };
        let Some(word) = text(one, &path, report) else { continue };
        match read(word) {
            Ok(value) => all.push(value),
            Err((why, hint)) => report.fault(&one.span, path, format!("{why}: \"{word}\""), hint),
        }
    }
    all
}

/// The header that carries the client's address.
pub(super) fn real_ip_header(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    match doc.str().filter(|name| value::is_token(name)) {
        Some(name) => draft.node.real_ip_header = name.to_ascii_lowercase(),
        None => {
            let message = format!("not a header's name: {}", show(doc));
            report.fault(&doc.span, path, message, "write X-Real-IP, X-Forwarded-For or proxy_protocol");
        }
    }
}

pub(super) fn real_ip_header_schema() -> Json {
    json!({"type": "string", "default": "X-Real-IP", "examples": ["X-Real-IP", "X-Forwarded-For", "proxy_protocol"]})
}
