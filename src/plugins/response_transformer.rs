//! `response-transformer`: changes answers before they go to the client: headers, and members of JSON bodies.
//!
//! Whoever made the answer: an upstream, another plugin, a refusal. Whether a header is there is judged by the answer as the
//! plugins before this one left it, whatever the steps here do: one that is removed and then added is removed.
//!
//! A body is held back only where the configuration changes bodies and the answer is JSON that is not compressed; it has no
//! Content-Length of the upstream then. What is no JSON after all is passed on as it is.

use super::transform::json::{Change, Path};
use super::transform::lines::{names, pairs, split};
use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin};
use crate::http::HeadRef;
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "response-transformer",
    priority: 800,
    version: env!("CARGO_PKG_VERSION"),
    about: "Changes the headers of answers, and members of JSON bodies.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: false, response: true },
};

const EXAMPLE: &str = r#"
services:
  - name: legacy
    url: http://legacy.internal:8080
    routes:
      - name: legacy
        paths: [/legacy]
    plugins:
      - name: response-transformer
        config:
          remove:
            headers: [X-Powered-By]
            json: [internal]
          add:
            json: ["api_version:2"]
            json_types: [number]
"#;

const FIELDS: &[Field] = &[
    Field::with_default("remove", Kind::Record(REMOVE), "{}", "Takes away what has these names; first of all.")
        .required(),
    Field::with_default("rename", Kind::Record(RENAME), "{}", "Gives it another name: `old:new`.").required(),
    Field::with_default("replace", Kind::Record(GIVE), "{}", "Writes over it where it is: `name:value`.").required(),
    Field::with_default("add", Kind::Record(GIVE), "{}", "Writes it where it is not: `name:value`.").required(),
    Field::with_default("append", Kind::Record(GIVE), "{}", "Writes one more: `name:value`.").required(),
    Field::optional(
        "dots_in_keys",
        Kind::Boolean,
        "If false, the name of a JSON member is a path: `a.b`, `list[*].a`, `list[1]`; else dots belong to the name.",
    ),
];
const REMOVE: &[Field] = &[
    Field::with_default("json", Kind::Array(&NAME), "[]", "Members of a JSON object.").required(),
    Field::with_default("headers", Kind::Array(&HEADER), "[]", "Headers.").required(),
];
const RENAME: &[Field] = &[
    Field::with_default("json", Kind::Lines(&LINE), "[]", "Members of a JSON object.").required(),
    Field::with_default("headers", Kind::Lines(&HEADERS), "[]", "Headers.").required(),
];
const GIVE: &[Field] = &[
    Field::with_default("json", Kind::Lines(&LINE), "[]", "Members of a JSON object.").required(),
    Field::with_default(
        "json_types",
        Kind::Array(&TYPE),
        "[]",
        "Types of the values of `json`, in the same order; text where there is none.",
    )
    .required(),
    Field::with_default("headers", Kind::Lines(&HEADER_LINE), "[]", "Headers.").required(),
];
const NAME: Element = Element { kind: Kind::String, rules: &[] };
const TYPE: Element = Element { kind: Kind::String, rules: &[Rule::OneOf(&["boolean", "number", "string"])] };
const HEADER: Element = Element { kind: Kind::String, rules: &[Rule::Text(header)] };
const LINE: Element = Element { kind: Kind::String, rules: &[Rule::Text(line)] };
const HEADERS: Element = Element { kind: Kind::String, rules: &[Rule::Text(headers)] };
const HEADER_LINE: Element = Element { kind: Kind::String, rules: &[Rule::Text(header_line)] };

fn header(text: &str) -> Result<(), String> {
    let (name, _) = split(text);
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_name.then_some(()).ok_or_else(|| format!("'{name}' is not a valid header"))
}

fn header_line(text: &str) -> Result<(), String> {
    line(text)?;
    header(text)
}

fn headers(text: &str) -> Result<(), String> {
    header_line(text)?;
    header(split(text).1)
}

fn line(text: &str) -> Result<(), String> {
    let is_line = text.find(':').is_some_and(|at| at > 0);
    is_line.then_some(()).ok_or_else(|| format!("invalid value: {text}"))
}

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let nested = config["dots_in_keys"].as_bool() == Some(false);
    let filled = |value: &Value| pairs(value).into_iter().filter(|(_, text)| !text.is_empty()).collect::<Vec<_>>();
    let headers = |step: &str| filled(&config[step]["headers"]);
    let json = |step: &str| -> Vec<(Path, Value)> {
        let types = config[step]["json_types"].as_array();
        let all = pairs(&config[step]["json"]).into_iter().enumerate().filter(|(_, (_, text))| !text.is_empty());
        let typed = all.filter_map(|(at, (name, text))| {
            let kind = types.and_then(|types| types.get(at)).and_then(Value::as_str).unwrap_or("string");
            Some((Path::of(&name, nested), typed(text, kind)?))
        });
        typed.collect()
    };
    let renamed = headers("rename");
    // A header that is renamed is gone by that: removing it first would leave nothing to rename.
    let is_renamed = |name: &String| renamed.iter().any(|(old, _)| old.eq_ignore_ascii_case(name));
    let mut removed = names(&config["remove"]["headers"]);
    removed.retain(|name| !is_renamed(name));
    let steps = Json {
        remove: names(&config["remove"]["json"]).iter().map(|name| Path::of(name, nested)).collect(),
        rename: filled(&config["rename"]["json"]).into_iter().map(|(old, new)| (Path::of(&old, nested), new)).collect(),
        replace: json("replace"),
        add: json("add"),
        append: json("append"),
    };
    let (replace, add) = (headers("replace"), headers("add"));
    if replace.len() + add.len() > 128 {
        return Err("more than 128 headers to replace and add".to_owned());
    }
    Ok(Arc::new(ResponseTransformer { removed, renamed, replace, add, append: headers("append"), json: steps }))
}

/// A value of a type; `None` where the text is none of it.
fn typed(text: String, kind: &str) -> Option<Value> {
    match kind {
        "boolean" => Some(Value::Bool(text == "true")),
        "number" => match text.trim().parse::<i64>() {
            Ok(whole) => Some(whole.into()),
            Err(_) => serde_json::Number::from_f64(text.trim().parse().ok()?).map(Value::Number),
        },
        _ => Some(Value::String(text)),
    }
}

struct ResponseTransformer {
    removed: Vec<String>,
    renamed: Vec<(String, String)>,
    /// Together at most 128: whether each is there is one bit.
    replace: Vec<(String, String)>,
    add: Vec<(String, String)>,
    append: Vec<(String, String)>,
    json: Json,
}

#[derive(Default, PartialEq)]
struct Json {
    remove: Vec<Path>,
    rename: Vec<(Path, String)>,
    replace: Vec<(Path, Value)>,
    add: Vec<(Path, Value)>,
    append: Vec<(Path, Value)>,
}

impl Plugin for ResponseTransformer {
    fn on_response(&self, cx: &mut Ctx<'_>, _status: u16) {
        let Some(reply) = cx.reply else { return };
        let mut there = 0u128;
        for (at, (name, _)) in self.replace.iter().chain(&self.add).enumerate() {
            there |= u128::from(cx.edits.reply_values(reply, name.as_bytes()).next().is_some()) << at;
        }
        for name in &self.removed {
            cx.edits.remove_reply(name);
        }
        for (old, new) in &self.renamed {
            cx.edits.rename_reply(reply, old, new);
        }
        for (at, (name, value)) in self.replace.iter().enumerate() {
            if there >> at & 1 == 1 {
                cx.edits.set_reply(name, value.as_bytes());
            }
        }
        for (at, (name, value)) in self.add.iter().enumerate() {
            if there >> (self.replace.len() + at) & 1 == 0 {
                cx.edits.set_reply(name, value.as_bytes());
            }
        }
        for (name, value) in &self.append {
            cx.edits.add_reply(name, value.as_bytes());
        }
    }

    fn rewrites(&self) -> bool {
        self.json != Json::default()
    }

    fn wants_body(&self, cx: &Ctx<'_>) -> bool {
        let Some(reply) = cx.reply else { return false };
        let is_coded = |coding: &[u8]| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
        let mut coded = cx.edits.reply_values(reply, b"content-encoding").chain(reply.find_all(b"content-encoding"));
        self.rewrites() && is_json(cx, reply) && !coded.any(is_coded)
    }

    fn on_response_body(&self, _: &mut Ctx<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let mut json: Value = serde_json::from_slice(body).ok()?;
        let mut changed = false;
        for path in &self.json.remove {
            changed |= path.change(&mut json, &Change::Remove);
        }
        for (path, new) in &self.json.rename {
            changed |= path.change(&mut json, &Change::Rename(new));
        }
        for (path, value) in &self.json.replace {
            changed |= path.change(&mut json, &Change::Replace(value));
        }
        for (path, value) in &self.json.add {
            changed |= path.change(&mut json, &Change::Add(value));
        }
        for (path, value) in &self.json.append {
            changed |= path.change(&mut json, &Change::Append(value));
        }
        changed.then(|| json.to_string().into_bytes())
    }
}

/// Does the answer say so, in one element of its list?
fn is_json(cx: &Ctx<'_>, reply: HeadRef<'_>) -> bool {
    let mut values = cx.edits.reply_values(reply, b"content-type");
    values.any(|value| {
        let mut elements = value.split(|&byte| byte == b',');
        elements.any(|element| {
            let media = element.split(|&byte| byte == b';').next().unwrap_or_default();
            media.trim_ascii().eq_ignore_ascii_case(b"application/json")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;
    use serde_json::json;

    /// What the client gets under `X-A` and `X-B`, of an upstream that says `X-A: 1`.
    #[track_caller]
    fn check(config: Value, want: [Option<&str>; 2]) {
        let mut rig = Rig::new(&DESCRIPTOR, config.clone());
        rig.reply = vec![("x-a", "1")];
        let seen = rig.ask_and_answer("GET /", 200);
        let got = |name: &str| {
            let values = seen.client_values(name, &rig.reply);
            (!values.is_empty()).then(|| values.join("|"))
        };
        assert_eq!([got("X-A").as_deref(), got("X-B").as_deref()], want, "{config}");
    }

    #[test]
    fn headers_are_changed_in_order() {
        check(json!({}), [Some("1"), None]);
        check(json!({"remove": {"headers": ["X-A"]}}), [None, None]);
        check(json!({"rename": {"headers": ["x-a:X-B"]}}), [None, Some("1")]);
        check(json!({"rename": {"headers": {"x-a": "X-B"}}}), [None, Some("1")]);
        check(json!({"replace": {"headers": ["X-A:2", "X-B:2"]}}), [Some("2"), None]);
        check(json!({"add": {"headers": ["X-A:2", "X-B:2:3"]}}), [Some("1"), Some("2:3")]);
        check(json!({"append": {"headers": ["X-A:2", "X-B:2"]}}), [Some("1|2"), Some("2")]);
        check(json!({"add": {"headers": ["X-B:"]}}), [Some("1"), None]);
        // What is there is judged before anything is done.
        check(json!({"remove": {"headers": ["X-A"]}, "add": {"headers": ["X-A:2"]}}), [None, None]);
        check(json!({"remove": {"headers": ["X-A"]}, "replace": {"headers": ["X-A:2"]}}), [Some("2"), None]);
        check(json!({"remove": {"headers": ["X-A"]}, "rename": {"headers": ["X-A:X-B"]}}), [None, Some("1")]);
    }

    #[test]
    fn bodies_are_changed_in_order() {
        let rows = [
            (json!({"remove": {"json": ["a"]}}), r#"{"a":1,"b":[]}"#, Some(r#"{"b":[]}"#)),
            (json!({"rename": {"json": ["a:c"]}}), r#"{"a":1}"#, Some(r#"{"c":1}"#)),
            (json!({"replace": {"json": ["a:x", "z:x"]}}), r#"{"a":1}"#, Some(r#"{"a":"x"}"#)),
            (
                json!({"add": {"json": ["n:1.5", "i:7", "t:true", "f:no", "s:1"],
                    "json_types": ["number", "number", "boolean", "boolean", "string"]}}),
                "{}",
                Some(r#"{"n":1.5,"i":7,"t":true,"f":false,"s":"1"}"#),
            ),
            (json!({"add": {"json": ["n:word"], "json_types": ["number"]}}), "{}", None),
            (json!({"append": {"json": ["a:2"]}}), r#"{"a":"1"}"#, Some(r#"{"a":["1","2"]}"#)),
            (json!({"remove": {"json": ["a.b"]}}), r#"{"a":{"b":1}}"#, None),
            (json!({"dots_in_keys": false, "remove": {"json": ["a.b"]}}), r#"{"a":{"b":1}}"#, Some(r#"{"a":{}}"#)),
            (json!({"remove": {"json": ["a"]}}), "no JSON", None),
            (json!({"remove": {"json": ["a"]}}), "[1]", None),
        ];
        for (config, body, want) in rows {
            let got = Rig::new(&DESCRIPTOR, config.clone()).rewritten(&[("Content-Type", "application/json")], body);
            assert_eq!(got.as_deref(), want, "{config} {body}");
        }
    }

    #[test]
    fn only_plain_json_is_looked_into() {
        let config = || json!({"remove": {"json": ["a"]}});
        let rewritten = |fields: &[(&'static str, &'static str)], config: Value| {
            Rig::new(&DESCRIPTOR, config).rewritten(fields, r#"{"a":1}"#).is_some()
        };
        assert!(rewritten(&[("content-type", "text/x, Application/JSON; charset=utf-8")], config()));
        assert!(!rewritten(&[("content-type", "application/json-patch")], config()));
        assert!(!rewritten(&[("content-type", "text/plain")], config()));
        assert!(!rewritten(&[], config()));
        assert!(!rewritten(&[("content-type", "application/json"), ("content-encoding", "gzip")], config()));
        assert!(rewritten(&[("content-type", "application/json"), ("content-encoding", "identity")], config()));
        assert!(!rewritten(&[("content-type", "application/json")], json!({"remove": {"headers": ["a"]}})));
        let retyped = json!({"remove": {"json": ["a"]}, "replace": {"headers": ["content-type:text/plain"]}});
        assert!(!rewritten(&[("content-type", "application/json")], retyped));
    }
}
