//! A document as a tree that remembers where each word was written. YAML and JSON; no dialect is known here.
//!
//! Plain YAML scalars are read as the declarative format's first reader does, which is YAML 1.1 with the usual
//! omissions: `yes`, `no`, `on` and `off` are booleans (`y` and `n` are not), `0755` is octal, `1_000` is a number and
//! so is `1:30` (base 60). Quoted scalars are always text. `<<` merges; a key given twice is a fault (there the last
//! one wins silently, which is how a route loses its paths). Only the first document of a file is read.

mod json;
mod scalar;
mod yaml;

use crate::base::limits::DOC_BYTES_MAX;
use crate::base::span::Span;
use crate::plan::report::Report;
use std::sync::Arc;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where it begins.
    pub span: Span,
}

/// What a document can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number; may be infinite or NaN.
    Float(f64),
    /// Text.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// Keys and values in the order they were written; no key is there twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a map; always text, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it begins.
    pub span: Span,
}

impl Node {
    /// A node at a place.
    pub fn new(value: Value, span: Span) -> Node {
        Node { value, span }
    }

    /// JSON as a node, every part of it at `span`. A number too large for either kind is its nearest float.
    pub fn of(json: &serde_json::Value, span: &Span) -> Node {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => {
                n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int)
            }
            serde_json::Value::String(text) => Value::Str(text.clone()),
            serde_json::Value::Array(values) => Value::Seq(values.iter().map(|value| Node::of(value, span)).collect()),
            serde_json::Value::Object(map) => {
                let entry = |(key, value): (&String, &serde_json::Value)| {
                    (Key { text: key.clone(), span: span.clone() }, Node::of(value, span))
                };
                Value::Map(map.iter().map(entry).collect())
            }
        };
        Node::new(value, span.clone())
    }

    /// The value under `key`, where this is a map that has it. O(keys).
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Key and value under `key`, where this is a map that has it. O(keys).
    pub fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        self.map()?.iter().find(|(held, _)| held.text == key)
    }

    /// The entries, where this is a map.
    pub fn map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The elements, where this is a list.
    pub fn seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(nodes) => Some(nodes),
            _ => None,
        }
    }

    /// The text, where this is text.
    pub fn str(&self) -> Option<&str> {
        match &self.value {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Is there nothing?
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The value as JSON, without places. Infinite numbers and NaN, which JSON has not, become null.
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Float(x) => (*x).into(),
            Value::Str(text) => text.as_str().into(),
            Value::Seq(nodes) => nodes.iter().map(Node::json).collect(),
            Value::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), node.json())).collect())
            }
        }
    }
}

impl Value {
    /// What it is, for a message: `a map`.
    pub fn word(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Str(_) => "a string",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads a document; `None` where it has a fault of syntax, which is then in `report`.
///
/// JSON is read as JSON where the name of the file ends so, or where the text begins with a brace and is JSON; else the
/// text is YAML. An empty text is null.
pub fn parse(file: &Arc<str>, text: &str, report: &mut Report) -> Option<Node> {
    if text.len() > DOC_BYTES_MAX {
        let message = format!("larger than {} MiB", DOC_BYTES_MAX / (1024 * 1024));
        report.fault(&Span::new(file, 0, 0), "", message, "");
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = if file.to_ascii_lowercase().ends_with(".json") {
        json::parse(file, text)
    } else if text.trim_start().starts_with('{') {
        // YAML's flow style begins with a brace as well; what is wrong with it then is told in YAML's terms.
        json::parse(file, text).or_else(|_| yaml::parse(file, text, report))
    } else {
        yaml::parse(file, text, report)
    };
    parsed.map_err(|fault| report.findings.push(fault.into_finding())).ok()
}

/// A fault of syntax.
struct Fault {
    span: Span,
    message: String,
}

impl Fault {
    fn new(span: Span, message: impl Into<String>) -> Fault {
        Fault { span, message: message.into() }
    }

    fn into_finding(self) -> crate::plan::report::Finding {
        crate::plan::report::Finding {
            severity: crate::plan::report::Severity::Fault,
            span: self.span,
            path: String::new(),
            message: self.message,
            hint: String::new(),
        }
    }
}

/// Says which key of `entries` is there twice. Few keys are compared with each other, many are hashed.
fn twice(entries: &[(Key, Node)]) -> Option<Fault> {
    let fault = |first: &Key, second: &Key| {
        let message = format!("the key \"{}\" is already given in line {}", second.text, first.span.line);
        Fault::new(second.span.clone(), message)
    };
    if entries.len() <= 16 {
        for (ix, (key, _)) in entries.iter().enumerate() {
            if let Some((first, _)) = entries[..ix].iter().find(|(held, _)| held.text == key.text) {
                return Some(fault(first, key));
            }
        }
        return None;
    }
    let mut seen = std::collections::HashMap::with_capacity(entries.len());
    entries.iter().find_map(|(key, _)| seen.insert(key.text.as_str(), key).map(|first| fault(first, key)))
}

#[cfg(test)]
mod tests;
