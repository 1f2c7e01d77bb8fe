//! `ringway explain`: what would become of a request, without sending one.
//!
//! Routing is the gateway's own, in words ([`route::explain`]); plugins are listed as they would run, with their
//! configuration after defaults and with secrets hidden.

use super::sources::{Files, Overrides};
use super::{report, say, seam};
use crate::base::id::ConsumerIx;
use crate::hook::Descriptor;
use crate::http::target::{encode_path, normalize, Normal};
use crate::plan::chain::{Chains, Step};
use crate::plan::schema::{Element, Field, Kind, Rule};
use crate::plan::{Plan, PluginInstance, Protocol, Route, Service};
use crate::route::entry::{Came, Door, Entry};
use crate::route::explain::{explain, Row, Verdict};
use crate::route::path::upstream_path;
use crate::route::Query;
use serde_json::{json, Map, Value};
use std::fmt::Write;
use std::process::ExitCode;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// The request: `GET http://host/path?query`, or only the URL.
    #[arg(value_name = "REQUEST")]
    request: String,
    /// A header field of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Who sends it, by username: shows the plugins as that consumer gets them.
    #[arg(long, value_name = "USERNAME")]
    consumer: Option<String>,
    /// Print one JSON document instead of text.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringway explain -c kong.yml 'GET http://api.test/users/7'
  ringway explain -c kong.yml 'POST http://api.test/orders' -H 'x-version: v2' --consumer bob
  ringway explain -c kong.yml https://api.test/ --json | jq .route

Exit code 0: a route matches and the request would be sent on. 1: it would not, or the configuration is bad.";

/// Runs it.
pub(super) fn main(args: &Args) -> ExitCode {
    let loaded = seam::load(&args.files, None, &Overrides::default(), &seam::Shelf::default());
    let Some(plan) = loaded.plan.as_ref().filter(|_| loaded.report.is_clean()) else {
        eprint!("{}", report::as_text(&loaded.report, None, loaded.files.paths.len()));
        return ExitCode::FAILURE;
    };
    let told = Asked::read(&args.request, &args.headers, plan)
        .and_then(|asked| tell(plan, seam::descriptors(), &asked, args.consumer.as_deref()));
    match told {
        Ok(told) => {
            let text = if args.json { format!("{told:#}\n") } else { as_text(&told) };
            say(&text);
            match told["answer"].is_null() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("ringway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("\"{text}\" is not written as \"name: value\""))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

// ---- The request ----

/// A request that nobody sends.
#[derive(Debug)]
struct Asked {
    method: String,
    https: bool,
    /// Without port; empty where there is none.
    host: String,
    port: Option<u16>,
    listener_port: u16,
    /// Normalised.
    path: Vec<u8>,
    query: Option<String>,
    headers: Vec<(String, String)>,
}

impl Asked {
    fn read(request: &str, headers: &[(String, String)], plan: &Plan) -> Result<Asked, String> {
        let words: Vec<&str> = request.split_whitespace().collect();
        let (method, url) = match words[..] {
            [url] => ("GET", url),
            [method, url] | [method, url, _] => (method, url),
            _ => return Err(format!("\"{request}\" is not a request; write 'GET http://host/path'")),
        };
        let (https, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, _)) => return Err(format!("\"{scheme}\" is neither http nor https")),
            None => (false, url),
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = if url.starts_with('/') { ("", url) } else { rest.split_at(at) };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let target = target.split('#').next().unwrap_or_default();
        let named = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let (host, port) = authority_of(named.map_or(authority, |(_, value)| value))?;
        let (path, query) = path_of(target);
        let by_default = if https { 443 } else { 80 };
        let listener = plan.listeners.iter().find(|listener| listener.bind.tls == https);
        let listener_port = listener.map_or(by_default, |listener| listener.bind.addr.port());
        let (method, headers) = (method.to_owned(), headers.to_vec());
        Ok(Asked { method, https, host, port, listener_port, path, query, headers })
    }

    fn query(&self) -> Query<'_, [(String, String)]> {
        Query {
            method: self.method.as_bytes(),
            host: self.host.as_bytes(),
            port: self.port,
            listener_port: self.listener_port,
            path: &self.path,
            sni: (self.https && !self.host.is_empty()).then_some(self.host.as_str()),
            tls: self.https,
            headers: &self.headers,
        }
    }

    fn host_and_port(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    fn shown(&self) -> Value {
        let path = encoded(&self.path);
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let scheme = if self.https { "https" } else { "http" };
        json!({
            "method": self.method,
            "url": format!("{scheme}://{}{path}{query}", self.host_and_port()),
            "path": path,
            "listener_port": self.listener_port,
        })
    }
}

/// The normalised path and the query of a target that begins with `/`.
fn path_of(target: &str) -> (Vec<u8>, Option<String>) {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let mut normal = Vec::new();
    match normalize(path.as_bytes(), &mut normal) {
        Normal::Already => (path.as_bytes().to_vec(), query),
        Normal::Rewritten => (normal, query),
    }
}

/// A normalised path as it goes over the wire.
fn encoded(path: &[u8]) -> String {
    let mut wire = Vec::with_capacity(path.len());
    encode_path(path, &mut wire);
    String::from_utf8_lossy(&wire).into_owned()
}

fn authority_of(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match (text.rfind(':'), text.rfind(']')) {
        (Some(colon), bracket) if bracket.is_none_or(|bracket| bracket < colon) => {
            (&text[..colon], Some(&text[colon + 1..]))
        }
        _ => (text, None),
    };
    let port = port.map(|port| port.parse().map_err(|_| format!("\"{port}\" is not a port"))).transpose()?;
    Ok((host.to_owned(), port))
}

// ---- What becomes of it ----

fn tell(plan: &Plan, plugins: &[Descriptor], asked: &Asked, consumer: Option<&str>) -> Result<Value, String> {
    let consumer = consumer.map(|name| consumer_of(plan, name)).transpose()?;
    let rows = explain(&plan.routes, &asked.query())
        .map_err(|faults| faults.iter().map(|fault| fault.what.clone()).collect::<Vec<_>>().join("; "))?;
    let won = rows.iter().find_map(|row| match row.verdict {
        Verdict::Wins { prefix_len } => Some((row, prefix_len)),
        _ => None,
    });
    let priority = |name: &str| plugins.iter().find(|row| row.name == name).map_or(0, |row| row.priority);
    let chains = Chains::of(plan, priority);
    let chain = won.map_or(&chains.unmatched, |(row, _)| &chains.routes[row.route.ix()]);
    let mut told = Map::new();
    told.insert("request".into(), asked.shown());
    told.insert("answer".into(), answer(plan, asked, won.map(|(row, _)| row)));
    told.insert("route".into(), won.map_or(Value::Null, |(row, len)| shown_route(plan, row, asked, len)));
    let service = won.and_then(|(row, len)| {
        let route = &plan.routes[row.route.ix()];
        plan.service_of(route).map(|service| shown_service(plan, route, service, asked, len))
    });
    told.insert("service".into(), service.unwrap_or(Value::Null));
    told.insert("plugins".into(), shown_chain(plan, plugins, chain, consumer).into());
    told.insert("others".into(), shown_others(plan, &rows).into());
    Ok(Value::Object(told))
}

fn consumer_of(plan: &Plan, name: &str) -> Result<ConsumerIx, String> {
    let place = plan.consumers.iter().position(|consumer| consumer.username == Some(name));
    place.map(|place| ConsumerIx(place as u32)).ok_or_else(|| format!("there is no consumer \"{name}\""))
}

/// What the gateway would answer itself before any plugin; `null` where it would not.
fn answer(plan: &Plan, asked: &Asked, row: Option<&Row>) -> Value {
    let Some(row) = row else { return Value::from("404 no Route matched with those values") };
    let route = &plan.routes[row.route.ix()];
    let grpc = asked.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("content-type") && value.to_ascii_lowercase().starts_with("application/grpc")
    });
    let came = Came { https: asked.https, http2: false, grpc };
    let text = match Door::of(&route.protocols, route.https_redirect_status).decide(came) {
        Entry::Serve if route.service.is_none() => {
            "503 no Service found with those values, unless a plugin answers".to_owned()
        }
        Entry::Serve => return Value::Null,
        Entry::UpgradeTls => "426 Please use HTTPS protocol".to_owned(),
        Entry::Redirect(status) => format!("{status} to the same URL under https"),
        Entry::NotGrpc => "415 Non-gRPC request matched gRPC route".to_owned(),
        Entry::NeedHttp2 => "426 Please use HTTP2 protocol".to_owned(),
        Entry::GrpcNeedsTls => "200 with grpc-status 1: the route takes gRPC over TLS only".to_owned(),
    };
    Value::from(text)
}

fn name_of(name: Option<&str>, id: uuid::Uuid) -> String {
    name.map_or_else(|| id.to_string(), str::to_owned)
}

fn shown_route(plan: &Plan, row: &Row, asked: &Asked, prefix_len: usize) -> Value {
    let route = &plan.routes[row.route.ix()];
    let matched = asked.path.get(..prefix_len).unwrap_or_default();
    json!({
        "name": route.name,
        "id": route.id.to_string(),
        "at": route.at.to_string(),
        "paths": row.paths,
        "matched": encoded(matched),
        "strip_path": route.strip_path,
        "preserve_host": route.preserve_host,
    })
}

fn shown_service(plan: &Plan, route: &Route, service: &Service, asked: &Asked, prefix_len: usize) -> Value {
    let upstream = plan.upstream(service.upstream);
    let targets: Vec<Value> = upstream
        .targets
        .iter()
        .map(|target| json!({ "host": target.host, "port": target.port, "weight": target.weight }))
        .collect();
    let mut path = Vec::new();
    upstream_path(service.path.as_deref(), &asked.path, prefix_len, route.strip_path, &mut path);
    let first = upstream.targets.iter().find(|target| target.weight > 0);
    let address = first.map_or(service.host.clone(), |target| with_port(&target.host, target.port, service.protocol));
    let host = match (route.preserve_host, &upstream.host_header) {
        (true, _) => asked.host_and_port(),
        (false, Some(host)) => host.clone(),
        (false, None) => address.clone(),
    };
    let query = asked.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    json!({
        "name": service.name,
        "id": service.id.to_string(),
        "at": service.at.to_string(),
        "upstream": upstream.name,
        "targets": targets,
        "url": format!("{}://{address}{}{query}", service.protocol.word(), encoded(&path)),
        "host_header": host,
        "attempts": service.retries + 1,
    })
}

fn with_port(host: &str, port: u16, protocol: Protocol) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match protocol.default_port() == Some(port) {
        true => host,
        false => format!("{host}:{port}"),
    }
}

fn shown_others(plan: &Plan, rows: &[Row]) -> Vec<Value> {
    let mut others = Vec::new();
    for row in rows {
        let why = match &row.verdict {
            Verdict::Wins { .. } => continue,
            Verdict::ComesLater(why) => format!("matches, but another comes first: {why}"),
            Verdict::Fails(why) => why.clone(),
        };
        let route = &plan.routes[row.route.ix()];
        others.push(json!({
            "route": name_of(route.name.as_deref(), route.id),
            "at": route.at.to_string(),
            "paths": row.paths,
            "why": why,
        }));
    }
    others
}

// ---- Plugins ----

fn shown_chain(plan: &Plan, plugins: &[Descriptor], chain: &[Step], who: Option<ConsumerIx>) -> Vec<Value> {
    let mut shown = Vec::new();
    for step in chain {
        if let Some(ix) = step.instance(who) {
            shown.push(shown_plugin(plan, plugins, plan.plugin(ix)));
        }
        if who.is_some() {
            continue;
        }
        // Nobody is assumed: every consumer who gets another instance is named after the one that the others get.
        for (n, consumer) in plan.consumers.iter().enumerate() {
            let ix = step.instance(Some(ConsumerIx(n as u32)));
            if let Some(ix) = ix.filter(|_| ix != step.plain) {
                let mut plugin = shown_plugin(plan, plugins, plan.plugin(ix));
                plugin["only_for"] = Value::from(name_of(consumer.username, consumer.id));
                shown.push(plugin);
            }
        }
    }
    shown
}

fn shown_plugin(plan: &Plan, plugins: &[Descriptor], instance: &PluginInstance) -> Value {
    let fields = plugins.iter().find(|row| row.name == instance.name).map(|row| row.fields);
    json!({
        "name": instance.name,
        "instance_name": instance.instance_name,
        "scope": scope(plan, instance),
        "at": instance.at.to_string(),
        // Without its fields nothing tells a secret from the rest.
        "config": fields.map_or(Value::Null, |fields| without_secrets(&instance.config, fields)),
    })
}

fn scope(plan: &Plan, instance: &PluginInstance) -> String {
    let scope = &instance.scope;
    let mut parts = Vec::new();
    if let Some(route) = scope.route.map(|ix| &plan.routes[ix.ix()]) {
        parts.push(format!("route {}", name_of(route.name.as_deref(), route.id)));
    }
    if let Some(service) = scope.service.map(|ix| &plan.services[ix.ix()]) {
        parts.push(format!("service {}", name_of(service.name.as_deref(), service.id)));
    }
    if let Some(consumer) = scope.consumer.map(|ix| plan.consumer(ix)) {
        parts.push(format!("consumer {}", name_of(consumer.username, consumer.id)));
    }
    if let Some(group) = scope.group.map(|ix| &plan.groups.all[ix.ix()]) {
        parts.push(format!("consumer group {}", group.name));
    }
    match parts.is_empty() {
        true => "global".to_owned(),
        false => parts.join(", "),
    }
}

const HIDDEN: &str = "******";

/// The same record with every value hidden that may be a reference to a vault: those are the secrets.
fn without_secrets(record: &Value, fields: &[Field]) -> Value {
    let Value::Object(record) = record else { return record.clone() };
    let hidden = record.iter().map(|(key, value)| {
        let field = fields.iter().find(|field| field.name == key);
        (key.clone(), field.map_or_else(|| Value::from(HIDDEN), |field| hide(value, field.kind, field.rules)))
    });
    Value::Object(hidden.collect())
}

fn hide(value: &Value, kind: Kind, rules: &[Rule]) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    if rules.iter().any(|rule| matches!(rule, Rule::Referenceable)) {
        return Value::from(HIDDEN);
    }
    let inner = |element: &Element, value: &Value| hide(value, element.kind, element.rules);
    match (kind, value) {
        (Kind::Array(element) | Kind::Set(element), Value::Array(values)) => {
            values.iter().map(|value| inner(element, value)).collect()
        }
        (Kind::Map(element), Value::Object(values)) => {
            Value::Object(values.iter().map(|(key, value)| (key.clone(), inner(element, value))).collect())
        }
        (Kind::Record(fields), record) => without_secrets(record, fields),
        (_, value) => value.clone(),
    }
}

// ---- As text ----

fn as_text(told: &Value) -> String {
    let mut text = String::new();
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut line = |label: &str, rest: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<10}{rest}");
    };
    let named = |entity: &Value| word(if entity["name"].is_null() { &entity["id"] } else { &entity["name"] });
    line("request", format!("{} {}", word(&told["request"]["method"]), word(&told["request"]["url"])));
    if !told["answer"].is_null() {
        line("answer", word(&told["answer"]));
    }
    let route = &told["route"];
    match route.is_null() {
        true => line("route", "none".to_owned()),
        false => {
            line("route", format!("{}  ({})", named(route), word(&route["at"])));
            if !word(&route["matched"]).is_empty() {
                line("", format!("matched {} of the path", word(&route["matched"])));
            }
        }
    }
    let service = &told["service"];
    if !service.is_null() {
        line("service", format!("{}  ({})", named(service), word(&service["at"])));
        line("upstream", format!("{} {}", word(&told["request"]["method"]), word(&service["url"])));
        line("", format!("Host: {}", word(&service["host_header"])));
        let targets = service["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        for target in targets {
            line("", format!("target {}:{} weight {}", word(&target["host"]), target["port"], target["weight"]));
        }
    }
    let plugins = told["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (n, plugin) in plugins.iter().enumerate() {
        let only = plugin["only_for"].as_str().map(|name| format!(", only for consumer {name}")).unwrap_or_default();
        let label = if n == 0 { "plugins" } else { "" };
        line(label, format!("{}  ({}{only}; {})", word(&plugin["name"]), word(&plugin["scope"]), word(&plugin["at"])));
        line("", format!("  {}", plugin["config"]));
    }
    if plugins.is_empty() {
        line("plugins", "none".to_owned());
    }
    let others = told["others"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (n, other) in others.iter().enumerate() {
        let paths: Vec<String> = other["paths"].as_array().into_iter().flatten().map(word).collect();
        let paths = if paths.is_empty() { String::new() } else { format!(" [{}]", paths.join(", ")) };
        let label = if n == 0 { "not" } else { "" };
        line(label, format!("{}{paths}: {}", word(&other["route"]), word(&other["why"])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{RouteIx, ServiceIx, UpstreamIx};
    use crate::base::span::Span;
    use crate::control::testing::{plan_of, target};
    use crate::hook::Hooks;
    use crate::plan::{NewConsumer, PathPattern, Scope};
    use crate::route::wild;
    use uuid::Uuid;

    const FIELDS: &[Field] = &[
        Field::optional("minute", Kind::Integer, ""),
        Field::optional("secret", Kind::String, "").rules(&[Rule::Referenceable]),
        Field::optional("keys", Kind::Array(&Element { kind: Kind::String, rules: &[Rule::Referenceable] }), ""),
        Field::optional(
            "redis",
            Kind::Record(&[Field::optional("password", Kind::String, "").rules(&[Rule::Referenceable])]),
            "",
        ),
    ];

    fn descriptor(name: &'static str, priority: i32) -> Descriptor {
        Descriptor {
            name,
            priority,
            version: "1",
            about: "",
            example: "",
            fields: FIELDS,
            consumer_scope: true,
            protocols: crate::plan::schema::HTTP_PROTOCOLS,
            check: |_| Vec::new(),
            build: |_, _| Err(String::new()),
            hooks: Hooks::default(),
        }
    }

    fn plugin(name: &str, scope: Scope, config: Value) -> PluginInstance {
        PluginInstance {
            id: Uuid::nil(),
            name: name.to_owned(),
            instance_name: None,
            scope,
            protocols: Vec::new(),
            config,
            files: Vec::new(),
            ordering: None,
            tags: Vec::new(),
            at: Span::nowhere(),
        }
    }

    fn plan() -> Plan {
        let mut plan = plan_of(&[("up", &[target("10.0.0.1", 8080, 100)])]);
        plan.services = vec![Service {
            id: Uuid::nil(),
            name: Some("users".to_owned()),
            protocol: Protocol::Http,
            host: "up".to_owned(),
            port: 80,
            path: Some("/v1".to_owned()),
            retries: 5,
            connect_timeout_ms: 1,
            write_timeout_ms: 1,
            read_timeout_ms: 1,
            upstream: UpstreamIx(0),
            tls: Default::default(),
            http2: false,
            announces: None,
            tags: Vec::new(),
            at: Span::nowhere(),
        }];
        let route = |n, name: &str, path: &str, protocols: &[Protocol]| Route {
            name: Some(name.to_owned()),
            paths: vec![PathPattern::Prefix(path.to_owned())],
            protocols: protocols.to_vec(),
            https_redirect_status: 426,
            strip_path: true,
            service: Some(ServiceIx(0)),
            ..wild::route(n)
        };
        let both = &[Protocol::Http, Protocol::Https];
        plan.routes = vec![route(1, "users", "/users", both), route(2, "safe", "/safe", &[Protocol::Https])];
        let (id, at) = (Uuid::nil(), &Span::nowhere());
        plan.consumers.push(NewConsumer { id, username: Some("bob"), custom_id: None, groups: &[], tags: &[], at });
        let config = json!({ "minute": 5, "secret": "s3cret", "keys": ["s3cret"], "redis": { "password": "s3cret" } });
        let of_route = Scope { route: Some(RouteIx(0)), ..Scope::default() };
        let of_bob = Scope { consumer: Some(ConsumerIx(0)), route: Some(RouteIx(0)), ..Scope::default() };
        plan.plugins = vec![
            plugin("late", Scope::default(), Value::Null),
            plugin("early", of_route, config),
            plugin("early", of_bob, json!({ "minute": 9 })),
        ];
        plan
    }

    fn told(request: &str, consumer: Option<&str>) -> Value {
        let plan = plan();
        let plugins = [descriptor("late", 1), descriptor("early", 900)];
        let asked = Asked::read(request, &[], &plan).unwrap();
        tell(&plan, &plugins, &asked, consumer).unwrap()
    }

    #[test]
    fn a_request_is_followed_to_its_upstream() {
        let told = told("GET http://a.test/users/7?x=1", None);
        assert_eq!(told["route"]["name"], "users");
        assert_eq!(told["service"]["url"], "http://10.0.0.1:8080/v1/7?x=1");
        assert_eq!(told["service"]["host_header"], "10.0.0.1:8080");
        assert_eq!(told["answer"], Value::Null);
        assert_eq!(told["others"][0]["why"], "path /users/7 does not begin with /safe");
    }

    #[test]
    fn plugins_stand_in_their_order_and_show_no_secret() {
        let told = told("http://a.test/users", None);
        let names: Vec<&Value> = told["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["name"]).collect();
        assert_eq!(names, ["early", "early", "late"]);
        assert_eq!(told["plugins"][0]["config"]["minute"], 5);
        assert_eq!(
            (&told["plugins"][0]["scope"], &told["plugins"][1]["only_for"]),
            (&json!("route users"), &json!("bob"))
        );
        for text in [told.to_string(), as_text(&told)] {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_consumer_gets_his_own_plugins() {
        let told = told("http://a.test/users", Some("bob"));
        assert_eq!(told["plugins"].as_array().map(Vec::len), Some(2));
        assert_eq!(told["plugins"][0]["config"]["minute"], 9);
    }

    #[test]
    fn the_gateways_own_answers_are_told() {
        let rows = [
            ("http://a.test/nowhere", Value::from("404 no Route matched with those values")),
            ("http://a.test/safe", Value::from("426 Please use HTTPS protocol")),
            ("https://a.test/safe", Value::Null),
        ];
        for (request, want) in rows {
            assert_eq!(told(request, None)["answer"], want, "{request}");
        }
    }

    #[test]
    fn requests_are_read_as_people_write_them() {
        let rows: &[(&str, Option<(&str, &str, Option<u16>, &str)>)] = &[
            ("GET http://a.test/b?c", Some(("GET", "a.test", None, "/b"))),
            ("http://a.test", Some(("GET", "a.test", None, "/"))),
            ("POST /only/path", Some(("POST", "", None, "/only/path"))),
            ("a.test:81/b", Some(("GET", "a.test", Some(81), "/b"))),
            ("PUT https://[::1]:8443/b HTTP/1.1", Some(("PUT", "[::1]", Some(8443), "/b"))),
            ("http://[::1]/b", Some(("GET", "[::1]", None, "/b"))),
            ("http://a.test?q=1", Some(("GET", "a.test", None, "/"))),
            ("http://a.test/a/../b%2Dc//d", Some(("GET", "a.test", None, "/b-c/d"))),
            ("", None),
            ("ftp://a.test/", None),
            ("http://a.test:x/", None),
        ];
        for (text, want) in rows {
            let read = Asked::read(text, &[], &plan()).ok();
            let got = read.as_ref().map(|asked| {
                (asked.method.as_str(), asked.host.as_str(), asked.port, std::str::from_utf8(&asked.path).unwrap())
            });
            assert_eq!(got, *want, "{text:?}");
        }
    }
}
