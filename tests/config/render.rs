//! A plan as text, short: what is at its default is left out.

use ringway::plan::balancing::{Active, Criteria, Hashing};
use ringway::plan::schema::{Field, Kind};
use ringway::plan::{HeaderWant, HostName, LogPath, PathPattern, Plan, Secret, TokenKey};
use serde_json::{Map, Value as Json};
use std::fmt::Write;

/// Lines of a plan.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut out = String::new();
    node(plan, &mut out);
    for service in &plan.services {
        let upstream = plan.upstream(service.upstream);
        let mut line = format!("service {} {}", service.id, name(&service.name));
        let path = service.path.as_deref().unwrap_or_default();
        let _ =
            write!(line, " {}://{}:{}{path} -> {}", service.protocol.word(), service.host, service.port, upstream.name);
        if service.retries != 5 {
            let _ = write!(line, " retries={}", service.retries);
        }
        let times = [service.connect_timeout_ms, service.write_timeout_ms, service.read_timeout_ms];
        if times != [60_000; 3] {
            let _ = write!(line, " timeouts={times:?}");
        }
        tags(&service.tags, &mut line);
        end(line, &service.at, &mut out);
    }
    for upstream in &plan.upstreams {
        let implied = if upstream.implied { " implied" } else { "" };
        let mut line = format!("upstream {} {}{implied} {:?}", upstream.id, upstream.name, upstream.algorithm);
        if let Some(host) = &upstream.host_header {
            let _ = write!(line, " host={host}");
        }
        if upstream.hashing != Hashing::default() {
            let Hashing { on, fallback, cookie_path, slots } = &upstream.hashing;
            let _ = write!(line, " hash={on:?}/{fallback:?} cookie_path={cookie_path} slots={slots}");
        }
        if let Some(active) = &upstream.checks.active {
            let Active { probe, timeout_ms, concurrency, path, headers, .. } = active;
            let intervals = [active.healthy_interval_ms, active.unhealthy_interval_ms];
            let _ = write!(line, " active={probe:?} {path} timeout={timeout_ms} concurrency={concurrency}");
            let _ = write!(line, " headers={headers:?} intervals={intervals:?} {}", criteria(&active.criteria));
        }
        if !upstream.checks.passive.is_off() {
            let _ = write!(line, " passive={}", criteria(&upstream.checks.passive));
        }
        if upstream.checks.threshold != 0.0 {
            let _ = write!(line, " threshold={}", upstream.checks.threshold);
        }
        for target in &upstream.targets {
            let _ = write!(line, " {}:{}*{}", target.host, target.port, target.weight);
        }
        end(line, &upstream.at, &mut out);
    }
    for route in &plan.routes {
        let mut line = format!("route {} {} ->", route.id, name(&route.name));
        line.push_str(&plan.service_of(route).map_or(" nothing".to_owned(), |s| format!(" {}", name(&s.name))));
        let words: Vec<&str> = route.protocols.iter().map(|protocol| protocol.word()).collect();
        if words != ["http", "https"] {
            let _ = write!(line, " {}", words.join("+"));
        }
        list(&mut line, "methods", &route.methods);
        let hosts = route.hosts.iter().map(|host| {
            let port = host.port.map_or(String::new(), |port| format!(":{port}"));
            match &host.name {
                HostName::Exact(text) => format!("={text}{port}"),
                HostName::Suffix(text) => format!("*{text}{port}"),
                HostName::Prefix(text) => format!("{text}*{port}"),
                HostName::Any => format!("*{port}"),
            }
        });
        list(&mut line, "hosts", &hosts.collect::<Vec<_>>());
        let paths = route.paths.iter().map(|path| match path {
            PathPattern::Prefix(text) => text.clone(),
            PathPattern::Regex(text) => format!("~{text}"),
        });
        list(&mut line, "paths", &paths.collect::<Vec<_>>());
        let headers = route.headers.iter().map(|header| match &header.want {
            HeaderWant::OneOf(values) => format!("{}={}", header.name, values.join("|")),
            HeaderWant::Regex(regex) => format!("{}~{regex}", header.name),
        });
        list(&mut line, "headers", &headers.collect::<Vec<_>>());
        list(&mut line, "snis", &route.snis);
        for (word, on) in [
            ("keep-path", !route.strip_path),
            ("preserve-host", route.preserve_host),
            ("no-request-buffering", !route.request_buffering),
            ("no-response-buffering", !route.response_buffering),
        ] {
            if on {
                let _ = write!(line, " {word}");
            }
        }
        if route.https_redirect_status != 426 {
            let _ = write!(line, " https={}", route.https_redirect_status);
        }
        if route.regex_priority != 0 {
            let _ = write!(line, " priority={}", route.regex_priority);
        }
        tags(&route.tags, &mut line);
        end(line, &route.at, &mut out);
    }
    for consumer in plan.consumers.iter() {
        let mut line = format!("consumer {} {}", consumer.id, name(&consumer.username));
        if let Some(custom_id) = consumer.custom_id {
            let _ = write!(line, " custom_id={custom_id}");
        }
        list(&mut line, "groups", &consumer.groups().collect::<Vec<_>>());
        tags(&consumer.tags().collect::<Vec<_>>(), &mut line);
        end(line, &consumer.at(), &mut out);
    }
    for credential in plan.credentials.iter() {
        let consumer = plan.consumer(credential.consumer);
        let secret = match credential.secret {
            Secret::Key { key, ttl_s } => format!("key {key} ttl={ttl_s:?}"),
            Secret::Jwt(held) => {
                let TokenKey { key, secret, algorithm, public_key } = held;
                format!("jwt {key} {secret} {algorithm} public_key={}", public_key.is_some())
            }
            Secret::Basic { username, password_hash } => format!("basic {username} {password_hash}"),
            Secret::Hmac { username, secret } => format!("hmac {username} {secret}"),
            Secret::Subject { name, authority } => format!("subject {name} by={authority:?}"),
        };
        end(format!("credential {} {} {secret}", credential.id, name(&consumer.username)), &credential.at(), &mut out);
    }
    for (ix, group) in plan.groups.all.iter().enumerate() {
        let mut line = format!("group {} {}", group.id, group.name);
        let members = plan.groups.members.iter().filter(|(_, held)| held.ix() == ix);
        let members: Vec<&str> = members.map(|(who, _)| plan.consumer(*who).username.unwrap_or("-")).collect();
        list(&mut line, "members", &members);
        tags(&group.tags, &mut line);
        end(line, &group.at, &mut out);
    }
    for plugin in &plan.plugins {
        let mut line = format!("plugin {} {}", plugin.id, plugin.name);
        if let Some(own) = &plugin.instance_name {
            let _ = write!(line, " ({own})");
        }
        if let Some(ix) = plugin.scope.route {
            let _ = write!(line, " route={}", name(&plan.routes[ix.ix()].name));
        }
        if let Some(ix) = plugin.scope.service {
            let _ = write!(line, " service={}", name(&plan.services[ix.ix()].name));
        }
        if let Some(ix) = plugin.scope.consumer {
            let _ = write!(line, " consumer={}", name(&plan.consumer(ix).username));
        }
        if let Some(ix) = plugin.scope.group {
            let _ = write!(line, " group={}", plan.groups.all[ix.ix()].name);
        }
        if plugin.protocols.len() != 4 {
            let words: Vec<&str> = plugin.protocols.iter().map(|protocol| protocol.word()).collect();
            let _ = write!(line, " {}", words.join("+"));
        }
        let _ = write!(line, " {}", config(&plugin.name, &plugin.config));
        end(line, &plugin.at, &mut out);
    }
    out
}

/// Thresholds in the order ok, tcp, timeout, http; then how many statuses are good and bad.
fn criteria(criteria: &Criteria) -> String {
    let Criteria { successes, tcp_failures, timeouts, http_failures, good, bad } = criteria;
    let counts = [successes, tcp_failures, timeouts, http_failures];
    format!("{counts:?} of {}/{}", good.iter().count(), bad.iter().count())
}

/// A plugin's config without what is at its default.
fn config(plugin: &str, config: &Json) -> Json {
    let row = ringway::plugins::ALL.iter().find(|row| row.name == plugin).expect("a plan holds known plugins");
    written(row.fields, config)
}

fn written(fields: &[Field], config: &Json) -> Json {
    let mut out = Map::new();
    for field in fields {
        let value = &config[field.name];
        let default: Json = serde_json::from_str(field.default).expect("defaults are JSON");
        match field.kind {
            Kind::Record(fields) if value.is_object() => {
                let inner = written(fields, value);
                if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                    out.insert(field.name.to_owned(), inner);
                }
            }
            _ if *value != default => {
                out.insert(field.name.to_owned(), value.clone());
            }
            _ => {}
        }
    }
    Json::Object(out)
}

/// The settings that files of these tests touch.
fn node(plan: &Plan, out: &mut String) {
    let binds = plan.listeners.iter().map(|listener| &listener.bind);
    let binds: Vec<String> = binds.map(|bind| bind.addr.to_string()).collect();
    let admin: Vec<String> = plan.node.admin.iter().map(|bind| bind.addr.to_string()).collect();
    let _ = writeln!(out, "listen {} admin {}", binds.join(" "), admin.join(" "));
    let dress = &plan.node.dress;
    let _ = writeln!(
        out,
        "dress server={:?} id={:?} debug={:?} shards={:?}",
        dress.server, dress.request_id_client, dress.debug_trigger, plan.node.runtime.shards
    );
    let path = |path: &LogPath| format!("{path:?}");
    match &plan.node.access_log {
        None => out.push_str("access_log off\n"),
        Some(log) => {
            let keys: Vec<&str> = log.fields.iter().map(|(key, _)| key.as_str()).collect();
            let _ = writeln!(out, "access_log {} {}", path(&log.path), keys.join(" "));
        }
    }
}

fn name<T: AsRef<str>>(name: &Option<T>) -> &str {
    name.as_ref().map_or("-", AsRef::as_ref)
}

fn list<T: AsRef<str>>(line: &mut String, what: &str, words: &[T]) {
    if !words.is_empty() {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let _ = write!(line, " {what}[{}]", words.join(" "));
    }
}

fn tags<T: AsRef<str>>(tags: &[T], line: &mut String) {
    list(line, "tags", tags);
}

fn end(line: String, at: &ringway::base::span::Span, out: &mut String) {
    let _ = writeln!(out, "{line} @{}:{}", at.line, at.column);
}
