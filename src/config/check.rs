//! A document against the rows of [`plan::schema`](crate::plan::schema): values with their defaults filled in, and every
//! fault in the words that users of the declarative format know.
//!
//! A value with a fault is replaced by its default, or by null: what comes after goes on, and finds the next fault.

use super::doc::{Key, Node, Value};
use crate::base::nearest::nearest;
use crate::base::span::Span;
use crate::plan::report::Report;
use crate::plan::schema::{Element, Field, Kind, Read, Rule};
use serde_json::{Map, Value as Json};
use std::collections::HashSet;

/// Looks up a reference to a vault, `{vault://…}`.
///
/// # Errors
/// A sentence: why there is nothing.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Where findings go, and what references mean.
pub struct Cx<'a> {
    /// The findings.
    pub report: &'a mut Report,
    /// The vaults.
    pub resolve: Resolve<'a>,
    /// Reads files that values name; `None` where nobody needs what is in them.
    pub read: Option<Read<'a>>,
    /// What was made of those files, by the paths of their names.
    pub files: Vec<(String, Vec<u8>)>,
}

impl<'a> Cx<'a> {
    /// One that reads no files.
    pub fn new(report: &'a mut Report, resolve: Resolve<'a>) -> Cx<'a> {
        Cx { report, resolve, read: None, files: Vec::new() }
    }
}

/// Reads the fields of a record at `span`; `entries` may be in any order and are those of one map.
pub fn record<'n>(
    fields: &[Field],
    entries: impl Iterator<Item = &'n (Key, Node)>,
    span: &Span,
    path: &str,
    cx: &mut Cx<'_>,
) -> Map<String, Json> {
    let mut held: Vec<Option<&Node>> = vec![None; fields.len()];
    for (key, node) in entries {
        match fields.iter().position(|field| field.name == key.text) {
            Some(ix) => held[ix] = Some(node),
            None => unknown(key, fields.iter().map(|field| field.name), path, cx.report),
        }
    }
    let mut out = Map::with_capacity(fields.len());
    for (field, node) in fields.iter().zip(held) {
        out.insert(field.name.to_owned(), value(field, node, span, path, cx));
    }
    out
}

/// Says that nobody knows `key`, and what was probably meant.
pub fn unknown<'f>(key: &Key, names: impl IntoIterator<Item = &'f str>, path: &str, report: &mut Report) {
    let hint = nearest(&key.text, names).map_or(String::new(), |near| format!("did you mean \"{near}\"?"));
    report.fault(&key.span, join(path, &key.text), "unknown field", hint);
}

/// `path.key`, or `key` at the top.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn value(field: &Field, node: Option<&Node>, span: &Span, path: &str, cx: &mut Cx<'_>) -> Json {
    // null is taken for "not given": so that a generated file may name every field.
    let node = node.filter(|node| !node.is_null());
    let Some(node) = node else {
        let value = default(field, span, path, cx);
        if field.required && value.is_null() {
            cx.report.fault(span, join(path, field.name), "required field missing", "");
        }
        return value;
    };
    let path = join(path, field.name);
    match typed(&field.kind, field.rules, node, &path, cx) {
        Some(value) => value,
        None => default(field, span, &path, cx),
    }
}

/// The default of a field. A record that must be there has those of its fields.
fn default(field: &Field, span: &Span, path: &str, cx: &mut Cx<'_>) -> Json {
    match (&field.kind, field.default) {
        (Kind::Record(_), "null") if !field.required => Json::Null,
        (Kind::Record(fields), "null" | "{}") => {
            Json::Object(record(fields, std::iter::empty(), span, &join(path, field.name), cx))
        }
        (_, "null") => Json::Null, // most are; reading it as JSON took longer than the rest of the field
        (_, text) => serde_json::from_str(text).expect("defaults of fields are JSON"),
    }
}

/// A value of a kind; `None`, and a finding, where it is none.
fn typed(kind: &Kind, rules: &[Rule], node: &Node, path: &str, cx: &mut Cx<'_>) -> Option<Json> {
    let expected = |word: &str, cx: &mut Cx<'_>| {
        cx.report.fault(&node.span, path, format!("expected {word}"), hint_of_type(kind, &node.value));
        None
    };
    let value = match (kind, &node.value) {
        (Kind::Boolean, Value::Bool(b)) => Json::from(*b),
        (Kind::Boolean, _) => return expected("a boolean", cx),
        (Kind::Integer | Kind::Number, Value::Int(n)) => Json::from(*n),
        // Numbers have one type in the reference: 5.0 is a whole number.
        (Kind::Integer, Value::Float(x)) if x.fract() == 0.0 && x.abs() < 9e15 => Json::from(*x as i64),
        (Kind::Integer, _) => return expected("an integer", cx),
        (Kind::Number, Value::Float(x)) if x.is_finite() => Json::from(*x),
        (Kind::Number, _) => return expected("a number", cx),
        (Kind::String, Value::Str(text)) => Json::from(referenced(text, rules, node, path, cx)),
        (Kind::String, Value::Seq(nodes)) if rules.iter().any(|rule| matches!(rule, Rule::OrList)) => {
            let one = |(ix, node)| typed(kind, rules_of_one(rules), node, &format!("{path}[{ix}]"), cx);
            return Some(Json::Array(nodes.iter().enumerate().filter_map(one).collect()));
        }
        (Kind::String, _) => return expected("a string", cx),
        (Kind::Array(element), Value::Seq(nodes)) => Json::Array(elements(element, nodes, path, cx)),
        (Kind::Array(_), _) => return expected("an array", cx),
        (Kind::Set(element), Value::Seq(nodes)) => {
            let mut values = elements(element, nodes, path, cx);
            dedup(&mut values);
            Json::Array(values)
        }
        (Kind::Set(_), _) => return expected("a set", cx),
        (Kind::Lines(element), Value::Seq(nodes)) => Json::Array(elements(element, nodes, path, cx)),
        (Kind::Lines(element), Value::Map(entries)) => {
            let mut out = Map::new();
            for (key, node) in entries {
                let path = join(path, &key.text);
                let Value::Str(text) = &node.value else {
                    cx.report.fault(&node.span, path, "expected a string", hint_of_type(&Kind::String, &node.value));
                    continue;
                };
                let line = Json::from(format!("{}:{text}", key.text));
                match element.rules.iter().find_map(|rule| broken(rule, &line)) {
                    Some((message, hint)) => cx.report.fault(&node.span, path, message, hint),
                    None => {
                        out.insert(key.text.clone(), Json::from(text.clone()));
                    }
                }
            }
            Json::Object(out)
        }
        (Kind::Lines(_), _) => return expected("an array", cx),
        (Kind::Map(element), Value::Map(entries)) => {
            let mut out = Map::new();
            for (key, node) in entries {
                let value = typed(&element.kind, element.rules, node, &join(path, &key.text), cx);
                out.insert(key.text.clone(), value.unwrap_or(Json::Null));
            }
            Json::Object(out)
        }
        (Kind::Map(_), _) => return expected("a map", cx),
        (Kind::Record(fields), Value::Map(entries)) => {
            return Some(Json::Object(record(fields, entries.iter(), &node.span, path, cx)));
        }
        (Kind::Record(_), _) => return expected("a record", cx),
    };
    // What a reference stands for may be empty: that was warned of, and is for its reader to judge.
    let may_be_empty = rules.iter().any(|rule| matches!(rule, Rule::MayBeEmpty)) || node.str() != Some("");
    if value.as_str().is_some_and(str::is_empty) && !may_be_empty {
        cx.report.fault(&node.span, path, "length must be at least 1", "");
        return None;
    }
    let broken = rules.iter().find_map(|rule| broken(rule, &value));
    if let Some((message, hint)) = broken {
        cx.report.fault(&node.span, path, message, hint);
        return None;
    }
    for rule in rules {
        let (Rule::Reads(make), Some(read), Json::String(name)) = (rule, cx.read, &value) else { continue };
        match make(name, read) {
            Ok(made) => cx.files.push((path.to_owned(), made)),
            Err(message) => {
                cx.report.fault(&node.span, path, message, "");
                return None;
            }
        }
    }
    Some(value)
}

/// The rules of an element where a list may stand in the place of one value: those before [`Rule::OrList`].
fn rules_of_one(rules: &[Rule]) -> &[Rule] {
    let end = rules.iter().position(|rule| matches!(rule, Rule::OrList)).unwrap_or(rules.len());
    &rules[..end]
}

/// What the wrong type probably came from.
fn hint_of_type(kind: &Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::String, Value::Int(_) | Value::Float(_) | Value::Bool(_)) => "put it in quotes".to_owned(),
        (Kind::Integer | Kind::Number, Value::Str(text)) if text.parse::<f64>().is_ok() => {
            format!("write {text} without quotes")
        }
        (Kind::Boolean, Value::Str(_)) => "write true or false without quotes".to_owned(),
        (Kind::Array(_) | Kind::Set(_), Value::Str(text)) => format!("write [{text}]"),
        _ => String::new(),
    }
}

/// Text, or what it refers to.
fn referenced(text: &str, rules: &[Rule], node: &Node, path: &str, cx: &mut Cx<'_>) -> String {
    let is_reference = text.starts_with("{vault://") && text.ends_with('}');
    if !is_reference || !rules.iter().any(|rule| matches!(rule, Rule::Referenceable)) {
        return text.to_owned();
    }
    (cx.resolve)(text).unwrap_or_else(|why| {
        let message = format!("could not resolve reference {text}: {why}");
        cx.report.warning(&node.span, path, message, "it stands for the empty string until the next load");
        String::new()
    })
}

fn elements(element: &Element, nodes: &[Node], path: &str, cx: &mut Cx<'_>) -> Vec<Json> {
    let one = |(ix, node): (usize, &Node)| typed(&element.kind, element.rules, node, &format!("{path}[{ix}]"), cx);
    nodes.iter().enumerate().filter_map(one).collect()
}

/// Drops what is there already. Few values are compared with each other, many are hashed by their text.
fn dedup(values: &mut Vec<Json>) {
    if values.len() < 16 {
        let mut kept: Vec<Json> = Vec::with_capacity(values.len());
        for value in values.drain(..) {
            if !kept.contains(&value) {
                kept.push(value);
            }
        }
        *values = kept;
        return;
    }
    let mut seen = HashSet::new();
    values.retain(|value| seen.insert(value.to_string()));
}

/// What a value does not satisfy: message and hint.
fn broken(rule: &Rule, value: &Json) -> Option<(String, String)> {
    let number = value.as_f64();
    let length = || match value {
        Json::String(text) => Some(text.chars().count()),
        Json::Array(values) => Some(values.len()),
        Json::Object(map) => Some(map.len()),
        _ => None,
    };
    let message = match (rule, value) {
        (Rule::OneOf(words), Json::String(text)) if !words.contains(&text.as_str()) => {
            let hint = nearest(text, words.iter().copied());
            let hint = hint.map_or(String::new(), |near| format!("did you mean \"{near}\"?"));
            return Some((format!("expected one of: {}", words.join(", ")), hint));
        }
        (Rule::OneOfNumbers(numbers), Json::Number(n)) if !numbers.iter().any(|one| n.as_i64() == Some(*one)) => {
            let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
            format!("expected one of: {}", numbers.join(", "))
        }
        (Rule::Between(low, high), _) if number.is_some_and(|n| n < *low || n > *high) => {
            format!("value should be between {low} and {high}")
        }
        (Rule::GreaterThan(low), _) if number.is_some_and(|n| n <= *low) => {
            format!("value must be greater than {low}")
        }
        (Rule::LengthMin(least), _) if length().is_some_and(|n| n < *least) => {
            format!("length must be at least {least}")
        }
        (Rule::HeaderName, Json::String(text)) if !is_header_name(text) => {
            format!("bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'")
        }
        (Rule::Url, Json::String(text)) => match text.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                host.is_empty().then(|| "missing host in url".to_owned())?
            }
            _ => "missing scheme in url".to_owned(),
        },
        (Rule::Text(test), Json::String(text)) => test(text).err()?,
        (
            Rule::OneOf(_)
            | Rule::OneOfNumbers(_)
            | Rule::Between(..)
            | Rule::GreaterThan(_)
            | Rule::LengthMin(_)
            | Rule::HeaderName
            | Rule::Url
            | Rule::Text(_)
            | Rule::Reads(_)
            | Rule::MayBeEmpty
            | Rule::OrList
            | Rule::Referenceable,
            _,
        ) => return None,
    };
    Some((message, String::new()))
}

fn is_header_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::doc;
    use std::sync::Arc;

    const WORD: Element = Element { kind: Kind::String, rules: &[Rule::OneOf(&["http", "https", "tcp"])] };
    const TEXT: Element = Element { kind: Kind::String, rules: &[] };
    const INNER: &[Field] = &[
        Field::optional("host", Kind::String, ""),
        Field::with_default("port", Kind::Integer, "6379", "").rules(&[Rule::Between(0.0, 65535.0)]),
    ];
    const FIELDS: &[Field] = &[
        Field::optional("name", Kind::String, "").required(),
        Field::with_default("on", Kind::Boolean, "true", ""),
        Field::optional("minute", Kind::Number, "").rules(&[Rule::GreaterThan(0.0)]),
        Field::with_default("words", Kind::Set(&WORD), r#"["http"]"#, ""),
        Field::optional("list", Kind::Array(&TEXT), "").rules(&[Rule::LengthMin(1)]),
        Field::optional("map", Kind::Map(&TEXT), ""),
        Field::optional("redis", Kind::Record(INNER), "").required(),
        Field::optional("secret", Kind::String, "").rules(&[Rule::Referenceable]),
        Field::optional("header", Kind::String, "").rules(&[Rule::HeaderName]),
        Field::optional("url", Kind::String, "").rules(&[Rule::Url]),
        Field::optional("by", Kind::String, "").rules(&[Rule::OneOf(&["a", "b"]), Rule::OrList]),
    ];

    fn read(text: &str) -> String {
        let mut report = Report::default();
        let node = doc::parse(&Arc::from("f"), text, &mut report).expect("the test's text is YAML");
        let resolve = |text: &str| match text {
            "{vault://env/there}" => Ok("value".to_owned()),
            _ => Err("nothing there".to_owned()),
        };
        let mut cx = Cx::new(&mut report, &resolve);
        let value = record(FIELDS, node.map().unwrap_or_default().iter(), &node.span, "config", &mut cx);
        if report.findings.is_empty() {
            return Json::Object(value).to_string();
        }
        report.sorted().iter().map(|finding| finding.to_string() + "\n").collect()
    }

    #[test]
    fn defaults_are_filled_in() {
        assert_eq!(
            read("{name: a, words: [tcp, http, tcp], minute: 1.5, secret: '{vault://env/there}'}"),
            r#"{"name":"a","on":true,"minute":1.5,"words":["tcp","http"],"list":null,"map":null,"redis":{"host":null,"port":6379},"secret":"value","header":null,"url":null,"by":null}"#
        );
    }

    #[test]
    fn faults_are_said_in_the_known_words() {
        let rows = [
            ("{}", "f:1:1: config.name: required field missing\n"),
            ("{name: 5}", "f:1:8: config.name: expected a string; put it in quotes\n"),
            ("{name: ''}", "f:1:8: config.name: length must be at least 1\n"),
            ("{name: a, secret: ''}", "f:1:19: config.secret: length must be at least 1\n"),
            ("{name: a, minut: 5}", "f:1:11: config.minut: unknown field; did you mean \"minute\"?\n"),
            ("{name: a, minute: 0}", "f:1:19: config.minute: value must be greater than 0\n"),
            ("{name: a, minute: '5'}", "f:1:19: config.minute: expected a number; write 5 without quotes\n"),
            ("{name: a, on: 'no'}", "f:1:15: config.on: expected a boolean; write true or false without quotes\n"),
            (
                "{name: a, words: [http, htp, 7]}",
                "f:1:25: config.words[1]: expected one of: http, https, tcp; did you mean \"http\"?\n\
                 f:1:30: config.words[2]: expected a string; put it in quotes\n",
            ),
            ("{name: a, list: x}", "f:1:17: config.list: expected an array; write [x]\n"),
            ("{name: a, list: []}", "f:1:17: config.list: length must be at least 1\n"),
            ("{name: a, map: {k: [1]}}", "f:1:20: config.map.k: expected a string\n"),
            (
                "{name: a, redis: {port: 70000, hots: a}}",
                "f:1:25: config.redis.port: value should be between 0 and 65535\n\
                 f:1:32: config.redis.hots: unknown field; did you mean \"host\"?\n",
            ),
            (
                "{name: a, secret: '{vault://env/gone}'}",
                "f:1:19: warning: config.secret: could not resolve reference {vault://env/gone}: nothing there; it \
                 stands for the empty string until the next load\n",
            ),
            (
                "{name: a, header: 'x y'}",
                "f:1:19: config.header: bad header name 'x y', allowed characters are A-Z, a-z, 0-9, '_', and '-'\n",
            ),
            ("{name: a, url: 'http:///x'}", "f:1:16: config.url: missing host in url\n"),
            ("{name: a, url: 'x'}", "f:1:16: config.url: missing scheme in url\n"),
            ("{name: a, by: zzzz}", "f:1:15: config.by: expected one of: a, b\n"),
            (
                "{name: a, by: [a, zzzz, 1]}",
                "f:1:19: config.by[1]: expected one of: a, b\nf:1:25: config.by[2]: expected a string; put it in quotes\n",
            ),
        ];
        for (text, want) in rows {
            // The unknown-field row is found before the fields are read; the rows are ordered by place.
            assert_eq!(read(text), want, "{text}");
        }
    }
}
