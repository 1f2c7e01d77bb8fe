//! Schemas: text → something that judges values. Draft 4 to 2020-12, by a crate that is told to fetch nothing and to match
//! expressions in linear time.

use crate::base::limits::{SCHEMA_BYTES_MAX, SCHEMA_DETAIL_NODES_MAX, SCHEMA_PATTERN_BYTES_MAX};
use crate::plugins::json;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// A compiled schema.
pub(super) struct Schema {
    validator: Validator,
    /// What is known of it that those who prepare values for it look at: types, items, properties.
    text: Value,
    /// How much may be asked of it beyond yes and no.
    detail: Detail,
}

/// What telling where a value fails costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// As much as judging it.
    Cheap,
    /// A copy of what each branch of `anyOf` or `oneOf` refuses: only of small values.
    Copies,
    /// Branches within branches by reference: no bound that a value's depth does not lift.
    Endless,
}

/// Where a value fails, and on what. Never the value: it may be a secret, and is the sender's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Miss {
    /// RFC 6901; `None` where it was not looked for.
    pub(super) pointer: Option<String>,
    /// The schema's word.
    pub(super) keyword: Option<String>,
    /// The property that is missing, as the schema names it.
    pub(super) missing: Option<String>,
}

impl Schema {
    /// Compiles a text.
    ///
    /// # Errors
    /// A sentence: what is wrong with it, and where within it.
    pub(super) fn of_text(text: &str, draft: Draft) -> Result<Schema, String> {
        Schema::of(read(text)?, draft)
    }

    /// Compiles a value.
    ///
    /// # Errors
    /// As [`Schema::of_text`].
    pub(super) fn of(text: Value, draft: Draft) -> Result<Schema, String> {
        if !text.is_object() && !text.is_boolean() {
            return Err("a schema is an object".to_owned());
        }
        let patterns =
            PatternOptions::regex().size_limit(SCHEMA_PATTERN_BYTES_MAX).dfa_size_limit(SCHEMA_PATTERN_BYTES_MAX);
        let options = jsonschema::options()
            .with_draft(draft)
            .offline()
            .should_validate_formats(true)
            // The crate's own compiles what a peer sends.
            .with_format("regex", is_expression)
            .with_pattern_options(patterns);
        let validator = options.build(&text).map_err(|error| {
            let place = error.instance_path().to_string();
            let at = if place.is_empty() { String::new() } else { format!("at {place}: ") };
            format!("{at}{}", shortened(&error.to_string()))
        })?;
        let has = |words: &[&str]| has_key(&text, words);
        let detail = match (has(&["anyOf", "oneOf"]), has(&["$ref", "$dynamicRef", "$recursiveRef"])) {
            (false, _) => Detail::Cheap,
            (true, false) => Detail::Copies,
            (true, true) => Detail::Endless,
        };
        Ok(Schema { validator, text, detail })
    }

    /// The schema itself.
    pub(super) fn text(&self) -> &Value {
        &self.text
    }

    /// Judges a value of so many nodes. With `tell`, a miss says where, as far as that is bounded.
    pub(super) fn judge(&self, value: &Value, nodes: usize, tell: bool) -> Result<(), Miss> {
        // First without a word: what passes, which is most, costs nothing more, and results of references are remembered.
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let affordable = match self.detail {
            Detail::Cheap => true,
            Detail::Copies => nodes <= SCHEMA_DETAIL_NODES_MAX,
            Detail::Endless => false,
        };
        if !tell || !affordable {
            return Err(Miss::default());
        }
        let Err(error) = self.validator.validate(value) else { return Err(Miss::default()) };
        let missing = match error.kind() {
            ValidationErrorKind::Required { property } => property.as_str().map(str::to_owned),
            _ => None,
        };
        Err(Miss {
            pointer: Some(error.instance_path().to_string()),
            keyword: Some(error.kind().keyword().to_owned()),
            missing,
        })
    }
}

/// Reads the text of a schema.
///
/// # Errors
/// A sentence.
pub(super) fn read(text: &str) -> Result<Value, String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("larger than {} KiB", SCHEMA_BYTES_MAX / 1024));
    }
    json::parse(text.as_bytes()).map(|parsed| parsed.value).map_err(|broken| broken.to_string())
}

/// Faults quote the schema, which may be long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn has_key(value: &Value, words: &[&str]) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| words.contains(&key.as_str()) || has_key(value, words)),
        Value::Array(list) => list.iter().any(|value| has_key(value, words)),
        _ => false,
    }
}

/// The format `regex`: parsed, which takes as much memory as the text, and not compiled, which may take any. What looks
/// around is an expression there, if not one of ours.
fn is_expression(text: &str) -> bool {
    use regex_syntax::ast::{parse::ParserBuilder, ErrorKind};
    let parsed = ParserBuilder::new().nest_limit(64).build().parse(text);
    parsed.is_ok() || matches!(parsed.map_err(|e| e.kind().clone()), Err(ErrorKind::UnsupportedLookAround))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn miss(schema: Value, value: Value) -> Option<Miss> {
        let nodes = json::parse(value.to_string().as_bytes()).unwrap().nodes;
        Schema::of(schema, Draft::Draft202012).unwrap().judge(&value, nodes, true).err()
    }

    #[test]
    fn a_miss_says_where_and_never_what() {
        let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"items": {"maxLength": 2}}}});
        let at = |pointer: &str, keyword: &str| Some((Some(pointer.to_owned()), Some(keyword.to_owned())));
        let said = |value| miss(schema.clone(), value).map(|miss| (miss.pointer, miss.keyword));
        assert_eq!(said(json!({"a": ["xx"]})), None);
        assert_eq!(said(json!({"a": ["x", "secret"]})), at("/a/1", "maxLength"));
        assert_eq!(said(json!([])), at("", "type"));
        assert_eq!(miss(schema.clone(), json!({})).unwrap().missing.as_deref(), Some("a"));
        // Of branches it is told for small values, and not where references may multiply them.
        let either = json!({"anyOf": [{"type": "string"}, {"items": {"type": "string"}}]});
        assert!(miss(either.clone(), json!([1])).unwrap().pointer.is_some());
        let many = Value::from_iter(std::iter::repeat_n(1, SCHEMA_DETAIL_NODES_MAX));
        assert_eq!(miss(either, many), Some(Miss::default()));
        let items = json!({"type": "array", "items": {"$ref": "#/$defs/t"}});
        let tree = json!({"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [{"type": "number"}, items.clone(), items]}}});
        assert_eq!(miss(tree.clone(), json!([[1]])), None);
        let deep = (0..60).fold(json!("no"), |deep, _| json!([deep]));
        // Branches of branches, 60 deep, at once: each reference is judged once per value.
        assert_eq!(miss(tree, deep), Some(Miss::default()));
    }

    #[test]
    fn faults_of_schemas_say_where() {
        let rows = [
            (r#"{"type": "strin"}"#, "at /type: "),
            (r#"{"properties": {"a": {"minLength": -1}}}"#, "at /properties/a/minLength: "),
            (r#"{"$ref": "https://a.test/s.json"}"#, "https://a.test/s.json"),
            (r#"{"$ref": "file:///etc/passwd"}"#, "/etc/passwd"),
            (r#"{"pattern": "(?=a)b"}"#, "pattern"),
            (r#"{"pattern": "(?:[a-z]{1000}){1000}"}"#, "pattern"),
            (r#"{"type": "string", "type": "number"}"#, "twice"),
            ("[]", "a schema is an object"),
            ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
        ];
        for (text, want) in rows {
            let said = Schema::of_text(text, Draft::Draft7).map(|_| ()).unwrap_err();
            assert!(said.contains(want), "{text}: {said}");
        }
        assert!(Schema::of_text(&" ".repeat(SCHEMA_BYTES_MAX + 1), Draft::Draft7).is_err());
    }

    #[test]
    fn drafts_differ_where_they_do() {
        let judge = |draft, schema: Value, value: Value| {
            Schema::of(schema, draft).is_ok_and(|schema| schema.judge(&value, 1, false).is_ok())
        };
        let exclusive = || json!({"maximum": 3, "exclusiveMaximum": true});
        assert!(!judge(Draft::Draft4, exclusive(), json!(3)));
        assert!(judge(Draft::Draft4, exclusive(), json!(2)));
        assert!(Schema::of(exclusive(), Draft::Draft6).is_err());
        assert!(!judge(Draft::Draft7, json!({"if": {"const": 1}, "then": false}), json!(1)));
        assert!(judge(Draft::Draft4, json!({"if": {"const": 1}, "then": false}), json!(1)));
        let prefix = || json!({"prefixItems": [{"type": "string"}]});
        assert!(judge(Draft::Draft201909, prefix(), json!([1])) && !judge(Draft::Draft202012, prefix(), json!([1])));
        assert!(!judge(Draft::Draft202012, json!({"format": "date"}), json!("2026-13-01")));
        assert!(judge(Draft::Draft7, json!({"format": "regex"}), json!("^a(?=b)")));
        assert!(!judge(Draft::Draft7, json!({"format": "regex"}), json!("(a")));
    }

    /// Texts and values that take others down: each is judged within a moment, and none takes memory with it.
    #[test]
    fn hostile_values_are_judged_in_time() {
        let start = std::time::Instant::now();
        let text = "a".repeat(1_000_000);
        for pattern in ["^(a+)+$", "^(a|aa)+$", "(.*a){12}b", r"^([a-z]+\s?)+$"] {
            let _ = miss(json!({"pattern": pattern}), json!(text.clone() + "!"));
        }
        for format in ["email", "uri", "hostname", "date-time", "regex", "json-pointer", "uri-template", "ipv6", "uuid"]
        {
            let _ = miss(json!({"format": format}), json!(text));
            let _ = miss(json!({"format": format}), json!("(?:a{1000}){1000}".repeat(10_000)));
            let _ = miss(json!({"format": format}), json!("[a".repeat(10_000)));
        }
        let numbers = Value::from_iter((0..90_000).map(|n| n as f64 * 1e300 + 0.5));
        assert_eq!(miss(json!({"uniqueItems": true, "items": {"type": "number"}}), numbers.clone()), None);
        assert!(miss(json!({"items": {"multipleOf": 0.01}}), json!([1e308, 1e-308, 1.5e300])).is_some());
        let lists = Value::from_iter((0..20_000).map(|n| json!([n, {"a": n}])));
        assert_eq!(miss(json!({"uniqueItems": true}), lists), None);
        let names: serde_json::Map<String, Value> = (0..90_000).map(|n| (format!("name{n}"), json!(n))).collect();
        let schema = json!({"patternProperties": {"^(n+a?)+m": {"type": "integer"}, "e": true},
            "propertyNames": {"maxLength": 20}, "unevaluatedProperties": false, "minProperties": 2});
        assert_eq!(miss(schema, names.into()), None);
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }
}
