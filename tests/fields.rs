//! Every field of every plugin stands in a row that asks the gateway from outside: in a configuration of
//! `gateway/cases/*.toml`, or, where it takes another server to see what it does, in a test of `gateway/*.rs`.

use ringway::config::doc::{self, Node};
use ringway::plan::report::Report;
use ringway::plan::schema::{Field, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Tests in code that configure these plugins, and the words that their configurations may be looked for.
const IN_CODE: &[(&str, &[&str])] = &[
    ("rate-limiting", &["redis.rs", "redis_answers.rs", "redis_groups.rs", "redis_secure.rs"]),
    // Its block `redis` is that of rate-limiting, read by the same lines.
    ("response-ratelimiting", &["redis.rs", "redis_answers.rs", "redis_groups.rs", "redis_secure.rs"]),
    ("jwt", &["issuer.rs"]),
    ("grpc-gateway", &["web.rs"]),
    ("grpc-http1-bridge", &["bridge.rs"]),
    ("grpc-web", &["web.rs"]),
    ("mtls-auth", &["mtls.rs"]),
];

/// Fields that have no row yet, each with the reason.
const LATER: &[(&str, &str)] = &[
    // Unit tests of the plugins hold them; the rows are to come with the next ones of gRPC's.
    ("grpc-web", "pass_stripped_path"),
    ("grpc-gateway", "canonical_json"),
];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway")
}

/// Paths of fields, `redis.host`; an element of a list or a map stands for all of them.
fn paths(fields: &[Field], before: &str, into: &mut BTreeSet<String>) {
    for field in fields {
        let path = format!("{before}{}", field.name);
        let inner = match field.kind {
            Kind::Record(inner) => inner,
            Kind::Array(element) | Kind::Set(element) | Kind::Map(element) | Kind::Lines(element) => match element.kind
            {
                Kind::Record(inner) => inner,
                _ => &[],
            },
            _ => &[],
        };
        paths(inner, &format!("{path}."), into);
        into.insert(path);
    }
}

/// The same of what stands in a configuration, as far as `fields` know it, and says something: a field that is given its
/// default does what it does where nobody names it, so that its row would pass without it.
fn named(config: &Node, fields: &[Field], before: &str, into: &mut BTreeSet<String>) {
    for (key, value) in config.map().unwrap_or_default() {
        let Some(field) = fields.iter().find(|field| field.name == key.text) else { continue };
        let path = format!("{before}{}", field.name);
        let deeper = format!("{path}.");
        match field.kind {
            Kind::Record(inner) => named(value, inner, &deeper, into),
            Kind::Array(element) | Kind::Set(element) => {
                if let Kind::Record(inner) = element.kind {
                    value.seq().unwrap_or_default().iter().for_each(|value| named(value, inner, &deeper, into));
                }
            }
            Kind::Map(element) => {
                if let Kind::Record(inner) = element.kind {
                    value.map().unwrap_or_default().iter().for_each(|(_, value)| named(value, inner, &deeper, into));
                }
            }
            _ => {}
        }
        let default: serde_json::Value = serde_json::from_str(field.default).expect("JSON");
        if value.json() != default {
            into.insert(path);
        }
    }
}

/// Looks for instances of plugins anywhere in a document.
fn walk(node: &Node, into: &mut BTreeMap<&'static str, BTreeSet<String>>) {
    let name = node.get("name").and_then(Node::str);
    let row = ringway::plugins::ALL.iter().find(|row| Some(row.name) == name);
    if let (Some(row), Some(config)) = (row, node.get("config")) {
        named(config, row.fields, "", into.entry(row.name).or_default());
    }
    node.map().unwrap_or_default().iter().for_each(|(_, value)| walk(value, into));
    node.seq().unwrap_or_default().iter().for_each(|value| walk(value, into));
}

/// Rows that are not run.
fn disabled() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("cases/disabled.toml")).expect("text");
    let rows: toml::Table = text.parse().expect("TOML");
    let rows = rows.get("disabled").and_then(toml::Value::as_array).into_iter().flatten();
    rows.filter_map(|row| Some(row.get("id")?.as_str()?.to_owned())).collect()
}

/// What the rows configure, by plugin: those that are run and send something. Rows that are refused or only warned of try
/// what is checked, not what a field does.
fn in_rows() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    let disabled = disabled();
    for entry in std::fs::read_dir(folder().join("cases")).expect("the rows are there") {
        let path = entry.expect("a file").path();
        let rows: toml::Table = std::fs::read_to_string(&path).expect("text").parse().expect("TOML");
        let shared = rows.get("shared").and_then(toml::Value::as_table);
        let fill = |text: &str| {
            let words = shared.into_iter().flatten().rev();
            words.fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("${name}"), value.as_str().unwrap_or(""))
            })
        };
        for case in rows.get("case").and_then(toml::Value::as_array).into_iter().flatten() {
            let id = case.get("id").and_then(toml::Value::as_str).unwrap_or_default();
            if case.get("refused").is_some() || case.get("step").is_none() || disabled.iter().any(|held| held == id) {
                continue;
            }
            let steps = case.get("step").and_then(toml::Value::as_array).into_iter().flatten();
            let texts = steps.filter_map(|step| step.get("reload")).chain(case.get("config"));
            for text in texts.filter_map(toml::Value::as_str) {
                let mut report = Report::default();
                let file: Arc<str> = path.display().to_string().into();
                // Rows may be of a document that is no document; those name nothing.
                if let Some(node) = doc::parse(&file, &fill(text), &mut report) {
                    walk(&node, &mut all);
                }
            }
        }
    }
    all
}

/// What stands in this code's string literals: a configuration does, a field of a struct or a remark does not.
fn literals(code: &str) -> String {
    let mut all = String::new();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n").replace("'\"'", "").replace("\\\"", "");
    for (at, part) in code.split('"').enumerate() {
        all.push_str(if at % 2 == 1 { part } else { "\n" });
    }
    all
}

/// Does this text configure a field by its last name?
fn is_in(text: &str, path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    let found = regex::Regex::new(&format!(r"\b{}: ?", regex::escape(name))).expect("a name");
    found.is_match(text)
}

#[test]
fn every_field_of_every_plugin_is_asked_for_from_outside() {
    let rows = in_rows();
    let mut missing = Vec::new();
    for row in ringway::plugins::ALL {
        let mut fields = BTreeSet::new();
        paths(row.fields, "", &mut fields);
        let files = IN_CODE.iter().filter(|(name, _)| *name == row.name).flat_map(|(_, files)| *files);
        let code: String =
            files.map(|file| literals(&std::fs::read_to_string(folder().join(file)).expect(file))).collect();
        let none = BTreeSet::new();
        let held = rows.get(row.name).unwrap_or(&none);
        missing.extend(
            fields
                .difference(held)
                .filter(|path| !is_in(&code, path) && !LATER.contains(&(row.name, path)))
                .map(|path| format!("{}: {path}", row.name)),
        );
    }
    assert!(missing.is_empty(), "no row names these fields:\n{}", missing.join("\n"));
}

#[test]
fn a_field_that_no_row_names_is_found() {
    let mut all = BTreeMap::new();
    let text = "plugins: [{name: rate-limiting, config: {second: 1, tiers: {gold: {hour: 2}}, redis: {host: h}}}]";
    let node = doc::parse(&"f".into(), text, &mut Report::default()).expect("a document");
    walk(&node, &mut all);
    let held: Vec<&str> = all["rate-limiting"].iter().map(String::as_str).collect();
    assert_eq!(held, ["redis", "redis.host", "second", "tiers", "tiers.hour"]);
    assert!(is_in("redis: {host: a}", "redis.host") && !is_in("redis: {host: a}", "redis.port"));
    let code = "fn f(port: u16) { // host: h\n    // \"host: h\"\n    g('\"', \"ip: \\\"1\\\", ssl: {port}\", Seen { path: 1 });";
    let said = literals(code);
    assert!(is_in(&said, "ip") && is_in(&said, "ssl"), "{said}");
    assert!(["port", "host", "path"].iter().all(|name| !is_in(&said, name)), "{said}");
    let defaults = "plugins: [{name: key-auth, config: {key_in_query: true, key_in_body: true}}]";
    let mut all = BTreeMap::new();
    walk(&doc::parse(&"f".into(), defaults, &mut Report::default()).expect("a document"), &mut all);
    assert_eq!(all["key-auth"].iter().map(String::as_str).collect::<Vec<_>>(), ["key_in_body"]);
}
