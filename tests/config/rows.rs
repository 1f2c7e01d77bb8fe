//! Plugins as rows, enough of each that files of every shape can be read. They cannot be built.

use ringway::hook::{Descriptor, Env, Hooks, Plugin};
use ringway::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::sync::Arc;

pub static PLUGINS: &[Descriptor] = &[
    row("correlation-id", 100_001, CORRELATION, true, none),
    row("jwt", 1450, JWT, false, none),
    row("key-auth", 1250, KEY, false, none),
    row("rate-limiting", 910, RATE, true, limits),
    row("request-termination", 2, TERMINATION, true, none),
];

const fn row(
    name: &'static str,
    priority: i32,
    fields: &'static [Field],
    consumer_scope: bool,
    check: fn(&Value) -> Vec<(String, String)>,
) -> Descriptor {
    Descriptor {
        name,
        priority,
        version: "1",
        about: "",
        fields,
        consumer_scope,
        protocols: HTTP_PROTOCOLS,
        check,
        build,
        hooks: Hooks { request: true, response: false },
    }
}

fn build(_: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    Err("a row for tests of reading".to_owned())
}

fn none(_: &Value) -> Vec<(String, String)> {
    Vec::new()
}

/// What spans fields, in the words of the real one.
fn limits(config: &Value) -> Vec<(String, String)> {
    let of = |name: &str| config[name].as_f64();
    if of("second").is_none() && of("minute").is_none() {
        let message = "at least one of these fields must be non-empty: 'config.second', 'config.minute'";
        return vec![(String::new(), message.to_owned())];
    }
    match (of("second"), of("minute")) {
        (Some(second), Some(minute)) if minute < second => {
            let message =
                format!("The limit for minute({minute:.1}) cannot be lower than the limit for second({second:.1})");
            vec![("minute".to_owned(), message)]
        }
        _ => Vec::new(),
    }
}

const NAME: Element = Element { kind: Kind::String, rules: &[Rule::HeaderName] };
const CLAIM: Element = Element { kind: Kind::String, rules: &[Rule::OneOf(&["exp", "nbf"])] };

const CORRELATION: &[Field] = &[
    Field::with_default("header_name", Kind::String, "\"Kong-Request-ID\"", ""),
    Field::with_default("generator", Kind::String, "\"uuid#counter\"", "").rules(&[Rule::OneOf(&[
        "uuid",
        "uuid#counter",
        "tracker",
    ])]),
];
const JWT: &[Field] = &[Field::optional("claims_to_verify", Kind::Set(&CLAIM), "")];
const KEY: &[Field] = &[
    Field::with_default("key_names", Kind::Array(&NAME), "[\"apikey\"]", "").required(),
    Field::with_default("hide_credentials", Kind::Boolean, "false", ""),
];
const RATE: &[Field] = &[
    Field::optional("second", Kind::Number, "").rules(&[Rule::GreaterThan(0.0)]),
    Field::optional("minute", Kind::Number, "").rules(&[Rule::GreaterThan(0.0)]),
    Field::with_default("policy", Kind::String, "\"local\"", "").rules(&[Rule::OneOf(&["local", "redis"])]),
    Field::optional("redis", Kind::Record(REDIS), "").required(),
];
const REDIS: &[Field] = &[
    Field::optional("host", Kind::String, ""),
    Field::with_default("port", Kind::Integer, "6379", "").rules(&[Rule::Between(0.0, 65535.0)]),
    Field::optional("password", Kind::String, "").rules(&[Rule::Referenceable]),
];
const TERMINATION: &[Field] = &[
    Field::with_default("status_code", Kind::Integer, "503", "").rules(&[Rule::Between(100.0, 599.0)]),
    Field::optional("message", Kind::String, ""),
];
