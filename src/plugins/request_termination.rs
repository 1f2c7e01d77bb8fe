//! `request-termination`: answers instead of an upstream, always or when a request carries a trigger; with `echo` it
//! shows what it was asked.

use crate::base::limits;
use crate::hook::{Ctx, Descriptor, Env, Group, Hooks, Need, Outcome, Plugin, Reply, ReplyBody, ThisNode, Verdict};
use crate::http::headers::Known;
use crate::http::query;
use crate::plan::schema::{Field, Kind, Rule, HTTP_PROTOCOLS};
use crate::plan::{HeaderWant, HostName, HostPattern, PathPattern, Route, Service};
use serde_json::{json, Map, Value};
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "request-termination",
    priority: 2,
    version: env!("CARGO_PKG_VERSION"),
    about: "Answers with a status and a message or body of your choice; no upstream is asked.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r#"
routes:
  - name: maintenance
    paths: [/orders]
    plugins:
      - name: request-termination
        config:
          status_code: 503
          content_type: application/json
          body: '{"message":"back at noon"}'
"#;

const FIELDS: &[Field] = &[
    Field::with_default("status_code", Kind::Integer, "503", "Status of the answer.")
        .required()
        .rules(&[Rule::Between(100.0, 599.0)]),
    Field::optional("message", Kind::String, "Message of the answer, as JSON."),
    Field::optional("content_type", Kind::String, "Media type of `body`; JSON where it is not given."),
    Field::optional("body", Kind::String, "Content of the answer, as it stands."),
    Field::with_default("echo", Kind::Boolean, "false", "Answer with a description of the request.").required(),
    Field::optional("trigger", Kind::String, "Only answer requests with a header or query argument of this name.")
        .rules(&[Rule::HeaderName]),
];

fn check(config: &Value) -> Vec<(String, String)> {
    let has = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
    let status = config.get("status_code").and_then(Value::as_i64).unwrap_or(503);
    let rows = [
        (
            "",
            has("message") && (has("content_type") || has("body")),
            "message cannot be used with content_type or body",
        ),
        ("", has("content_type") && !has("body"), "content_type requires a body"),
        ("status_code", status < 200, "a status below 200 does not end a request; write one from 200 to 599"),
    ];
    rows.iter().filter(|row| row.1).map(|row| (row.0.to_owned(), row.2.to_owned())).collect()
}

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
    let status = config.get("status_code").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.unwrap_or(503);
    let message = text("message").or_else(|| default_message(status).map(str::to_owned));
    let body = match (text("body"), &message) {
        (Some(body), _) => ReplyBody::Raw {
            content_type: text("content_type").map_or("application/json; charset=utf-8".into(), Into::into),
            bytes: body.into_bytes(),
        },
        (None, Some(message)) => ReplyBody::Json(json!({ "message": message }).to_string().into()),
        (None, None) => ReplyBody::Empty,
    };
    Ok(Arc::new(RequestTermination {
        reply: Reply { status, headers: Vec::new(), body },
        message,
        trigger: text("trigger"),
        echo: config.get("echo").and_then(Value::as_bool).unwrap_or(false),
        pid: std::process::id(),
        node: env.shelf.take_or(ThisNode::default),
    }))
}

/// What a status says by itself; the others have no body.
fn default_message(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => "Unauthorized",
        404 => "Not found",
        405 => "Method not allowed",
        500 => "An unexpected error occurred",
        502 => "Bad Gateway",
        503 => "Service unavailable",
        _ => return None,
    })
}

struct RequestTermination {
    reply: Reply,
    message: Option<String>,
    trigger: Option<String>,
    echo: bool,
    pid: u32,
    node: Arc<ThisNode>,
}

impl Plugin for RequestTermination {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if self.trigger.as_ref().is_some_and(|name| !carries(cx, name)) {
            return Verdict::Next;
        }
        if self.echo {
            return Verdict::Need(Need::Body { bytes_max: limits::ECHO_BODY_BYTES_MAX });
        }
        Verdict::Reply(Box::new(self.reply.clone()))
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let body = outcome.body();
        Verdict::Reply(Box::new(Reply::json(self.reply.status, self.echo(cx, body).to_string())))
    }
}

/// Whether a request has a header or a query argument of this name.
fn carries(cx: &Ctx<'_>, name: &str) -> bool {
    let mut scratch = Vec::new();
    cx.head.find(name.as_bytes()).is_some()
        || query::args(cx.facts.query.unwrap_or_default())
            .any(|arg| query::decode(arg.name, &mut scratch) == name.as_bytes())
}

impl RequestTermination {
    /// What was asked, as JSON. A body that is too large is left out.
    fn echo(&self, cx: &Ctx<'_>, body: Option<&[u8]>) -> Value {
        let mut headers = Map::new();
        for (_, name, value) in cx.head.fields() {
            gather(&mut headers, text(name).to_ascii_lowercase(), text(value).into());
        }
        let mut out = json!({
            // The key that clients of the reference look under.
            "kong": {
                "node_id": self.node.id.to_string(),
                "worker_pid": self.pid,
                "hostname": self.node.hostname,
            },
            "request": {
                "scheme": if cx.facts.https { "https" } else { "http" },
                "host": text(cx.facts.host),
                "port": cx.facts.port,
                "headers": headers,
                "query": arguments(cx.facts.query.unwrap_or_default()),
                "body": body.and_then(|body| parsed(cx, body)),
                "raw_body": body.map(text),
                "method": text(cx.head.method_bytes()),
                "path": text(cx.facts.path),
                "uri_captures": captures(cx),
            },
            "matched_route": cx.route.map(|route| route_json(route, cx.service)),
            "matched_service": cx.service.map(service_json),
        });
        if let Some(message) = &self.message {
            out["message"] = message.as_str().into();
        }
        out
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One value under a name stands alone, several make a list.
fn gather(into: &mut Map<String, Value>, name: String, value: Value) {
    match into.get_mut(&name) {
        None => {
            into.insert(name, value);
        }
        Some(Value::Array(list)) => list.push(value),
        Some(one) => *one = json!([one.take(), value]),
    }
}

fn arguments(query: &[u8]) -> Map<String, Value> {
    let (mut out, mut scratch) = (Map::new(), Vec::new());
    for arg in query::args(query) {
        let name = text(query::decode(arg.name, &mut scratch));
        let value = arg.value.map_or(Value::Bool(true), |value| text(query::decode(value, &mut scratch)).into());
        gather(&mut out, name, value);
    }
    out
}

/// The groups of the path's expression: a list where none has a name; else by place and, those that have one, by name too.
fn captures(cx: &Ctx<'_>) -> Value {
    let by_place = |at| Some((at, text(cx.capture(Group::At(at))?)));
    let places: Vec<(usize, String)> = (1..=limits::ECHO_GROUPS_MAX).filter_map(by_place).collect();
    let paths = cx.route.map_or(&[][..], |route| &route.paths);
    let names = paths.iter().flat_map(|path| match path {
        PathPattern::Prefix(_) => Vec::new(),
        PathPattern::Regex(regex) => group_names(regex),
    });
    let named: Vec<(&str, &[u8])> = names.filter_map(|name| Some((name, cx.capture(Group::Named(name))?))).collect();
    if !places.is_empty() && named.is_empty() {
        return places.into_iter().map(|(_, text)| text).collect();
    }
    let mut map: Map<String, Value> = places.into_iter().map(|(at, text)| (at.to_string(), text.into())).collect();
    map.extend(named.into_iter().map(|(name, bytes)| (name.to_owned(), text(bytes).into())));
    map.into()
}

/// Names of the groups of an expression.
fn group_names(regex: &str) -> Vec<&str> {
    let after = |mark| regex.split(mark).skip(1);
    let name = |rest: &str| rest.find('>').filter(|&end| end > 0 && !rest.starts_with(['=', '!']));
    after("(?<").chain(after("(?P<")).filter_map(|rest| Some(&rest[..name(rest)?])).collect()
}

/// A body that is a form or JSON, as a value.
fn parsed(cx: &Ctx<'_>, body: &[u8]) -> Option<Value> {
    let media = cx.head.field(Known::ContentType)?.split(|&byte| byte == b';').next()?.trim_ascii();
    if media.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Some(Value::Object(arguments(body)));
    }
    if media.eq_ignore_ascii_case(b"application/json") {
        return serde_json::from_slice(body).ok();
    }
    None
}

fn route_json(route: &Route, service: Option<&Service>) -> Value {
    let path = |path: &PathPattern| match path {
        PathPattern::Prefix(prefix) => prefix.clone(),
        PathPattern::Regex(regex) => format!("~{regex}"),
    };
    let values = |want: &HeaderWant| match want {
        HeaderWant::OneOf(values) => values.clone(),
        HeaderWant::Regex(regex) => vec![format!("~*{regex}")],
    };
    json!({
        "id": route.id.to_string(),
        "name": route.name,
        "protocols": route.protocols.iter().map(|protocol| protocol.word()).collect::<Vec<_>>(),
        "methods": listed(&route.methods, String::clone),
        "hosts": listed(&route.hosts, host_text),
        "paths": listed(&route.paths, path),
        "headers": route.headers.iter().map(|h| (h.name.clone(), json!(values(&h.want)))).collect::<Map<_, _>>(),
        "snis": listed(&route.snis, String::clone),
        "strip_path": route.strip_path,
        "preserve_host": route.preserve_host,
        "https_redirect_status_code": route.https_redirect_status,
        "regex_priority": route.regex_priority,
        "request_buffering": route.request_buffering,
        "response_buffering": route.response_buffering,
        "service": service.map(|service| json!({ "id": service.id.to_string() })),
        "tags": listed(&route.tags, String::clone),
    })
}

fn listed<T>(items: &[T], show: impl Fn(&T) -> String) -> Option<Vec<String>> {
    (!items.is_empty()).then(|| items.iter().map(show).collect())
}

fn host_text(host: &HostPattern) -> String {
    let name = match &host.name {
        HostName::Exact(name) => name.clone(),
        HostName::Suffix(rest) => format!("*{rest}"),
        HostName::Prefix(rest) => format!("{rest}*"),
        HostName::Any => "*".to_owned(),
    };
    host.port.map_or(name.clone(), |port| format!("{name}:{port}"))
}

fn service_json(service: &Service) -> Value {
    json!({
        "id": service.id.to_string(),
        "name": service.name,
        "protocol": service.protocol.word(),
        "host": service.host,
        "port": service.port,
        "path": service.path,
        "retries": service.retries,
        "connect_timeout": service.connect_timeout_ms,
        "write_timeout": service.write_timeout_ms,
        "read_timeout": service.read_timeout_ms,
        "tags": listed(&service.tags, String::clone),
    })
}

#[cfg(test)]
mod tests {
    use super::super::rig::{faults, Rig, ROUTE, SERVICE};
    use super::*;

    #[test]
    fn the_answer_is_what_the_configuration_says() {
        let rows = [
            (json!({}), r#"503 {"message":"Service unavailable"}"#),
            (json!({"status_code": 404}), r#"404 {"message":"Not found"}"#),
            (json!({"status_code": 418}), "418"),
            (json!({"status_code": 401, "message": "go \"away\""}), r#"401 {"message":"go \"away\""}"#),
            (json!({"status_code": 200, "body": "<a/>", "content_type": "text/xml"}), "200 text/xml: <a/>"),
            (json!({"body": "{}"}), "503 application/json; charset=utf-8: {}"),
        ];
        for (config, want) in rows {
            assert_eq!(Rig::new(&DESCRIPTOR, config).ask("GET /").said(), want);
        }
    }

    #[test]
    fn a_trigger_is_a_header_or_an_argument() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"trigger": "x-stop", "status_code": 418}));
        for request in ["GET /", "GET /?x-stopp=1", "GET /x-stop", "GET /?a=x-stop", "GET /?X-Stop"] {
            assert_eq!(rig.ask(request).said(), "next", "{request}");
        }
        for request in ["GET /?x-stop", "GET /?a=1&x%2Dstop=", "GET /\nX-Stop:"] {
            assert_eq!(rig.ask(request).said(), "418", "{request}");
        }
    }

    #[test]
    fn an_echo_shows_what_was_asked() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"echo": true, "status_code": 404}));
        let said = rig.ask("POST /a/b?x=1&x=%32&y\nX-A: 1\nx-a: 2\nContent-Type: application/json\n\n{\"k\":1}").said();
        let (status, text) = said.split_once(' ').unwrap();
        let echo: Value = serde_json::from_str(text).unwrap();
        let request = &echo["request"];
        assert_eq!((status, &echo["message"]), ("404", &json!("Not found")));
        assert_eq!((&request["path"], &request["method"]), (&json!("/a/b"), &json!("POST")));
        assert_eq!(request["query"], json!({"x": ["1", "2"], "y": true}));
        assert_eq!(request["headers"]["x-a"], json!(["1", "2"]));
        assert_eq!((&request["body"], &request["raw_body"]), (&json!({"k": 1}), &json!("{\"k\":1}")));
        assert_eq!(echo["matched_route"]["id"], json!(ROUTE.to_string()));
        assert_eq!(echo["matched_service"]["id"], json!(SERVICE.to_string()));
        assert_eq!(echo["kong"]["worker_pid"], json!(std::process::id()));
        assert_eq!(request["uri_captures"], json!({}));
        let long = format!("POST /\n\n{}", "x".repeat(limits::ECHO_BODY_BYTES_MAX + 1));
        assert!(rig.ask(&long).said().contains("\"raw_body\":null"));
    }

    #[test]
    fn names_of_groups_are_found() {
        assert_eq!(group_names(r"/(?<a>x)/(?P<b_1>\\d+)/(?:y)(?<=z)(?<!z)(z)"), ["a", "b_1"]);
    }

    #[test]
    fn contradictions_are_refused() {
        let both = "message cannot be used with content_type or body";
        let rows = [
            (json!({"message": "a", "body": "b"}), "", both),
            (json!({"message": "a", "body": "b", "content_type": "c"}), "", both),
            (json!({"content_type": "c"}), "", "content_type requires a body"),
            (
                json!({"status_code": 101}),
                "status_code",
                "a status below 200 does not end a request; write one from 200 to 599",
            ),
        ];
        for (config, path, text) in rows {
            assert_eq!(faults(&DESCRIPTOR, config), [(path.to_owned(), text.to_owned())]);
        }
    }
}
