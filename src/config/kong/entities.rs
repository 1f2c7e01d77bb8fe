//! Services, routes, upstreams, targets and consumers: rules that span fields, and what becomes of the values.

use super::{health, text, Entity, Reader};
use crate::base::span::At;
use crate::config::check::join;
use crate::config::doc::Value;
use crate::plan::balancing::{HashOn, Hashing};
use crate::plan::draft::{ConsumerDraft, Ref, RouteDraft, ServiceDraft, TargetDraft, UpstreamDraft};
use crate::plan::schema::EVERY;
use crate::plan::spoken::ProxyVersion;
use crate::plan::tls::ServiceTls;
use crate::plan::{Algorithm, HeaderMatch, HeaderWant, Protocol};
use serde_json::Value as Json;

/// A port of a target that names none.
pub(super) const TARGET_PORT: u16 = 8000;

/// Reads words that were checked.
pub(super) fn protocols(words: &[&str]) -> Vec<Protocol> {
    words.iter().filter_map(|word| protocol(word)).collect()
}

fn protocol(word: &str) -> Option<Protocol> {
    EVERY.iter().copied().find(|protocol| protocol.word() == word)
}

pub(super) fn service(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let (word, host) = (entity.owned("protocol").unwrap_or_default(), entity.owned("host"));
    let (port, prefix) = (entity.number("port") as u16, entity.owned("path"));
    if entity.has("url") {
        // Its parts are in their fields, and were not held to the rules of these.
        if protocol(&word).is_none() {
            let message = format!("expected one of: {}", super::fields::PROTOCOLS.join(", "));
            reader.report.fault(entity.span("url"), entity.path("protocol"), message, "");
        }
        if let Err(message) = prefix.as_deref().map_or(Ok(()), text::path) {
            reader.report.fault(entity.span("url"), entity.path("path"), message, "");
        }
    } else if host.is_none() && entity.node.get("host").is_none() && entity.node.get("url").is_none() {
        let hint = "write host, or url: http://host:port/path";
        reader.report.fault(&entity.common.at, entity.path("host"), "required field missing", hint);
    }
    let protocol = protocol(&word).unwrap_or(Protocol::Http);
    let must_be_null: &[&str] = match protocol {
        Protocol::Http => &TLS_FIELDS,
        Protocol::Https => &[],
        Protocol::Tls => &["path", "http2", "proxy_protocol"],
        Protocol::Grpc => &["path", "client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates", "http2"],
        Protocol::Grpcs => &["path", "http2"],
        Protocol::Tcp | Protocol::Udp => &[
            "path",
            "client_certificate",
            "tls_verify",
            "tls_verify_depth",
            "ca_certificates",
            "http2",
            "proxy_protocol",
        ],
        Protocol::TlsPassthrough => {
            &["client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates", "http2", "proxy_protocol"]
        }
    };
    for field in must_be_null {
        let client_certificate = *field == "client_certificate"
            && entity.references.iter().any(|(column, reference)| column == field && reference.is_some());
        if client_certificate || entity.has(field) {
            let hint = format!("the protocol is {word}");
            reader.report.fault(entity.span(field), entity.path(field), "value must be null", hint);
        }
    }
    if !matches!(protocol, Protocol::Http | Protocol::Https | Protocol::Grpc | Protocol::Grpcs) {
        let message = format!("{word} is not served yet: its requests are answered with 501");
        reader.report.warning(entity.span("protocol"), entity.path("protocol"), message, "");
    }
    let tls = ServiceTls {
        verify: entity.values["tls_verify"].as_bool(),
        depth: entity.values["tls_verify_depth"].as_u64().map(|depth| depth as u32),
        ..ServiceTls::default()
    };
    if tls.verify == Some(false) {
        let message = "the upstream's certificate is not verified: whoever is between can read and change everything";
        reader.report.warning(entity.span("tls_verify"), entity.path("tls_verify"), message, "");
    }
    let authorities = entity.has("ca_certificates").then(|| {
        let span = entity.span("ca_certificates");
        entity.texts("ca_certificates").iter().map(|id| At::new(Ref::Text((*id).to_owned()), span.clone())).collect()
    });
    let mut entity = entity;
    let certificate = entity.take("client_certificate");
    reader.draft.services.push(ServiceDraft {
        name: entity.owned("name"),
        protocol,
        host: host.unwrap_or_default(),
        port,
        prefix,
        retries: entity.number("retries") as u32,
        connect_timeout_ms: entity.number("connect_timeout"),
        write_timeout_ms: entity.number("write_timeout"),
        read_timeout_ms: entity.number("read_timeout"),
        tls,
        http2: entity.flag("http2"),
        announces: entity.values["proxy_protocol"].as_str().and_then(ProxyVersion::of),
        authorities,
        certificate,
        enabled: entity.flag("enabled"),
        common: entity.common,
    });
}

const TLS_FIELDS: [&str; 4] = ["client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates"];

/// Families of protocols that a route may not mix, in the order messages list them.
const FAMILIES: [&[Protocol]; 4] = [
    &[Protocol::Http, Protocol::Https],
    &[Protocol::Tcp, Protocol::Tls, Protocol::Udp],
    &[Protocol::TlsPassthrough],
    &[Protocol::Grpc, Protocol::Grpcs],
];

pub(super) fn route(reader: &mut Reader<'_>, mut entity: Entity<'_>) {
    let protocols = protocols(&entity.texts("protocols"));
    let families: Vec<_> =
        FAMILIES.iter().filter(|family| family.iter().any(|member| protocols.contains(member))).collect();
    if families.len() > 1 {
        let quoted = |family: &&&[Protocol]| {
            let words: Vec<String> = family.iter().map(|member| format!("'{}'", member.word())).collect();
            format!("({})", words.join(", "))
        };
        let sets: Vec<String> = families.iter().map(quoted).collect();
        let message = format!("these sets are mutually exclusive: {}", sets.join(", "));
        reader.report.fault(entity.span("protocols"), entity.path("protocols"), message, "");
    } else if let Some(family) = families.first() {
        // Where a field has a fault it counts as given, so that one slip is not two faults.
        matchers(reader, &entity, family, &protocols);
    }
    let grpc = protocols.iter().any(|member| matches!(member, Protocol::Grpc | Protocol::Grpcs));
    let strip_path = entity.values["strip_path"].as_bool();
    if grpc && strip_path == Some(true) {
        let message = "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'";
        reader.report.fault(entity.span("strip_path"), entity.path("strip_path"), message, "");
    }
    let is_served =
        |member: &&Protocol| matches!(member, Protocol::Http | Protocol::Https | Protocol::Grpc | Protocol::Grpcs);
    let unserved = protocols.iter().find(|member| !is_served(member));
    if let Some(member) = unserved {
        let message = format!("routes of protocol {} are not served yet", member.word());
        reader.report.warning(entity.span("protocols"), entity.path("protocols"), message, "");
    }
    let hosts = entity.texts("hosts");
    let priority = entity.values["regex_priority"].as_i64().unwrap_or_default();
    if priority < 0 {
        let message = "a priority below 0 is taken for 0";
        let span = entity.span("regex_priority");
        reader.report.warning(span, entity.path("regex_priority"), message, "priorities are compared without sign");
    }
    let draft = RouteDraft {
        name: entity.owned("name"),
        methods: entity.texts("methods").into_iter().map(str::to_owned).collect(),
        hosts: hosts.iter().filter_map(|host| text::to_host_pattern(host).ok()).collect(),
        paths: entity.texts("paths").into_iter().map(text::to_path_pattern).collect(),
        headers: headers(reader, &entity),
        snis: entity.texts("snis").iter().map(|sni| sni.trim_end_matches('.').to_ascii_lowercase()).collect(),
        strip_path: strip_path.unwrap_or(!grpc),
        preserve_host: entity.flag("preserve_host"),
        https_redirect_status: entity.number("https_redirect_status_code") as u16,
        regex_priority: priority.max(0) as u32,
        request_buffering: entity.flag("request_buffering"),
        response_buffering: entity.flag("response_buffering"),
        service: entity.take("service"),
        protocols,
        common: entity.common,
    };
    reader.draft.routes.push(draft);
}

/// What a route of a family must have, and what it cannot.
fn matchers(reader: &mut Reader<'_>, entity: &Entity<'_>, family: &[Protocol], protocols: &[Protocol]) {
    let has = |member: Protocol| protocols.contains(&member);
    let (needed, forbidden, when): (&[&str], &[&str], &str) = match family[0] {
        Protocol::Http if has(Protocol::Https) => {
            (&["methods", "hosts", "headers", "paths", "snis"], &["sources", "destinations"], "'https'")
        }
        Protocol::Http => (&["methods", "hosts", "headers", "paths"], &["sources", "destinations"], "'http'"),
        Protocol::Grpc if has(Protocol::Grpcs) => {
            (&["hosts", "headers", "paths", "snis"], &["methods", "sources", "destinations"], "'grpcs'")
        }
        Protocol::Grpc => (&["hosts", "headers", "paths"], &["methods", "sources", "destinations"], "'grpc'"),
        Protocol::TlsPassthrough => {
            (&["snis"], &["methods", "hosts", "headers", "paths", "sources", "destinations"], "'tls_passthrough'")
        }
        _ => (&["sources", "destinations", "snis"], &["methods", "hosts", "headers", "paths"], "'tcp', 'tls' or 'udp'"),
    };
    let list = |value: Option<&crate::config::doc::Node>| match value.map(|node| &node.value) {
        None | Some(Value::Null) => false,
        Some(Value::Seq(nodes)) => !nodes.is_empty(),
        Some(Value::Map(entries)) => !entries.is_empty(),
        Some(_) => true,
    };
    if !needed.iter().any(|field| list(entity.node.get(field))) {
        let quoted: Vec<String> = needed.iter().map(|field| format!("'{field}'")).collect();
        let message = match quoted.as_slice() {
            [_] => format!("must set snis when 'protocols' is {when}"),
            _ => format!("must set one of {} when 'protocols' is {when}", quoted.join(", ")),
        };
        reader.report.fault(&entity.common.at, &entity.common.path, message, "");
    }
    for field in forbidden.iter().filter(|field| list(entity.node.get(field))) {
        let message = format!("cannot set '{field}' when 'protocols' is {when}");
        reader.report.fault(entity.span(field), entity.path(field), message, "");
    }
    let tls = [Protocol::Https, Protocol::Grpcs, Protocol::Tls, Protocol::TlsPassthrough];
    if list(entity.node.get("snis")) && !tls.iter().any(|member| protocols.contains(member)) {
        let message = "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'";
        reader.report.fault(entity.span("snis"), entity.path("snis"), message, "");
    }
}

/// The headers of a route. Names and values are compared in lower case, and so is the text of an expression.
fn headers(reader: &mut Reader<'_>, entity: &Entity<'_>) -> Vec<HeaderMatch> {
    let mut out = Vec::new();
    let Some(map) = entity.values["headers"].as_object() else { return out };
    for (name, values) in map {
        let path = join(&entity.path("headers"), name);
        let entry = entity.node.get("headers").and_then(|headers| headers.entry(name));
        let span = entry.map_or(&entity.common.at, |(key, _)| &key.span);
        if name.eq_ignore_ascii_case("host") {
            let message = "cannot contain 'host' header, which must be specified in the 'hosts' attribute";
            reader.report.fault(span, path, message, "");
            continue;
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let message = format!("bad header name '{name}', allowed characters are A-Z, a-z, 0-9, '_', and '-'");
            reader.report.fault(span, path, message, "");
            continue;
        }
        let values: Vec<String> = values.as_array().into_iter().flatten().filter_map(Json::as_str).map(lower).collect();
        let want = match values.as_slice() {
            [one] if one.starts_with("~*") => {
                let regex = one["~*".len()..].to_owned();
                if let Err(message) = text::regex(&regex) {
                    reader.report.fault(span, path, message, "");
                }
                HeaderWant::Regex(regex)
            }
            _ => HeaderWant::OneOf(values),
        };
        out.push(HeaderMatch { name: name.to_ascii_lowercase(), want });
    }
    out
}

fn lower(text: &str) -> String {
    text.to_lowercase()
}

pub(super) fn upstream(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let algorithm = algorithm(entity.text("algorithm"), entity.text("hash_on"));
    hash_rules(reader, &entity, algorithm);
    let hashing = hashing(&entity);
    if algorithm == Algorithm::ConsistentHashing && !entity.has("hash_on") {
        let message = "nothing tells requests apart: all of them go to one target";
        reader.report.warning(entity.span("algorithm"), entity.path("algorithm"), message, "write hash_on");
    }
    let checks = health::checks(&entity);
    let Some(name) = entity.owned("name") else { return };
    let host_header = entity.owned("host_header");
    let mut entity = entity;
    let certificate = entity.take("client_certificate");
    let common = entity.common;
    reader.draft.upstreams.push(UpstreamDraft { common, name, algorithm, hashing, checks, host_header, certificate });
}

/// Shorthand: a hash needs the algorithm that hashes, and an algorithm that does not needs no hash.
pub(super) fn algorithm(written: Option<&str>, hash_on: Option<&str>) -> Algorithm {
    match (written, hash_on) {
        (_, Some(hash_on)) if hash_on != "none" => Algorithm::ConsistentHashing,
        (Some("least-connections"), _) => Algorithm::LeastConnections,
        (Some("latency"), _) => Algorithm::Latency,
        (Some("consistent-hashing"), None) => Algorithm::ConsistentHashing,
        _ => Algorithm::RoundRobin,
    }
}

/// What a hash is made of; what is missing of it was said by [`hash_rules`].
fn hashing(entity: &Entity<'_>) -> Hashing {
    let on = |word: Option<&str>, header: &str, query_arg: &str, capture: &str| {
        let named = |field: &str, of: fn(String) -> HashOn| entity.owned(field).map_or(HashOn::None, of);
        match word {
            Some("consumer") => HashOn::Consumer,
            Some("ip") => HashOn::Ip,
            Some("header") => named(header, HashOn::Header),
            Some("cookie") => named("hash_on_cookie", HashOn::Cookie),
            Some("path") => HashOn::Path,
            Some("query_arg") => named(query_arg, HashOn::QueryArg),
            Some("uri_capture") => named(capture, HashOn::UriCapture),
            _ => HashOn::None,
        }
    };
    Hashing {
        on: on(entity.text("hash_on"), "hash_on_header", "hash_on_query_arg", "hash_on_uri_capture"),
        fallback: on(
            entity.text("hash_fallback"),
            "hash_fallback_header",
            "hash_fallback_query_arg",
            "hash_fallback_uri_capture",
        ),
        cookie_path: entity.owned("hash_on_cookie_path").unwrap_or_else(|| "/".to_owned()),
        slots: entity.number("slots") as u32,
    }
}

/// What hashing by something needs, and what cannot be its fallback.
fn hash_rules(reader: &mut Reader<'_>, entity: &Entity<'_>, algorithm: Algorithm) {
    let on = match entity.text("hash_on") {
        Some(on) if algorithm == Algorithm::ConsistentHashing => on,
        _ => "none",
    };
    let fallback = entity.text("hash_fallback").unwrap_or("none");
    let fault = |field: &str, message: String, reader: &mut Reader<'_>| {
        reader.report.fault(entity.span(field), entity.path(field), message, "");
    };
    let companions = [
        ("header", "hash_on_header", "hash_fallback_header"),
        ("cookie", "hash_on_cookie", "hash_on_cookie"),
        ("query_arg", "hash_on_query_arg", "hash_fallback_query_arg"),
        ("uri_capture", "hash_on_uri_capture", "hash_fallback_uri_capture"),
    ];
    for (word, for_on, for_fallback) in companions {
        for (chosen, field) in [(on, for_on), (fallback, for_fallback)] {
            if chosen == word && !entity.has(field) {
                fault(field, "required field missing".to_owned(), reader);
            }
        }
        let same = entity.text(for_on).is_some() && entity.text(for_on) == entity.text(for_fallback);
        if on == word && fallback == word && for_on != for_fallback && same {
            let message = format!("values of these fields must be distinct: '{for_on}', '{for_fallback}'");
            reader.report.fault(&entity.common.at, &entity.common.path, message, "");
        }
    }
    let expected = match on {
        "none" if fallback != "none" => "expected one of: none".to_owned(),
        "cookie" if fallback != "none" => "expected one of: none".to_owned(),
        "consumer" | "ip" | "path" if on == fallback => {
            let others = ["none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"];
            let others: Vec<&str> = others.into_iter().filter(|word| *word != on).collect();
            format!("expected one of: {}", others.join(", "))
        }
        _ => return,
    };
    fault("hash_fallback", expected, reader);
}

pub(super) fn target(reader: &mut Reader<'_>, mut entity: Entity<'_>) {
    let upstream = entity.take("upstream");
    if upstream.is_none() && entity.node.get("upstream").is_none_or(super::Node::is_null) {
        reader.report.fault(&entity.common.at, entity.path("upstream"), "required field missing", "");
    }
    let (Some(upstream), Some(place)) = (upstream, entity.text("target").and_then(text::host_port)) else { return };
    reader.draft.targets.push(TargetDraft {
        upstream,
        host: place.host,
        port: place.port.unwrap_or(TARGET_PORT),
        weight: entity.number("weight") as u32,
        common: entity.common,
    });
}

pub(super) fn consumer(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let (username, custom_id) = (entity.owned("username"), entity.owned("custom_id"));
    let given = |field: &str| entity.node.get(field).is_some_and(|node| !node.is_null());
    if !given("username") && !given("custom_id") {
        let message = "at least one of these fields must be non-empty: 'custom_id', 'username'";
        reader.report.fault(&entity.common.at, &entity.common.path, message, "");
    }
    reader.draft.consumers.push(ConsumerDraft { common: entity.common, username, custom_id });
}
