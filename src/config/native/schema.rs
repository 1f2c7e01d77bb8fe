//! JSON Schema (draft 2020-12) of a native file, for editors; made of the rows that read it.

use super::entities::{Duration, DURATIONS};
use super::knobs::{Kind, Knob, Number, Unit, TOP};
use super::read::in_unit;
use crate::plan::node::NodeDraft;
use crate::plan::schema::{Element, Field, Kind as FieldKind, Rule};
use serde_json::{json, Map, Value as Json};

/// The schema: settings from the rows of this dialect, entities from `nouns`: name of the list, what it holds, fields.
pub fn schema(nouns: &[(&str, &str, &[Field])]) -> Json {
    let draft = super::defaults();
    let mut properties = properties(TOP, &draft);
    for (noun, about, fields) in nouns {
        properties.insert((*noun).to_owned(), entities(noun, about, fields, nouns));
    }
    for name in super::IGNORED {
        properties.insert(name.to_owned(), json!({"description": "Ignored: remarks, and a place for YAML anchors."}));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ringway.yaml",
        "description": "Configuration of the Ringway API gateway.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions(nouns),
    })
}

fn properties(knobs: &[Knob], draft: &NodeDraft) -> Map<String, Json> {
    knobs.iter().map(|knob| (knob.name.to_owned(), described(setting(knob, draft), knob.about))).collect()
}

fn described(mut schema: Json, about: &str) -> Json {
    schema["description"] = about.into();
    schema
}

fn setting(knob: &Knob, draft: &NodeDraft) -> Json {
    match &knob.kind {
        Kind::Section(knobs) => {
            json!({"type": "object", "properties": properties(knobs, draft), "additionalProperties": false})
        }
        Kind::Number(number) => number_schema(number, (number.read)(draft)),
        Kind::Switch { read, .. } => json!({"type": "boolean", "default": read(draft)}),
        Kind::Word { words, read, .. } => json!({"enum": words, "default": words[read(draft)]}),
        Kind::Shown { read, .. } => {
            // `off` without quotes is `false` to a YAML parser, so an editor sees either.
            let text = json!({"type": "string", "pattern": "^[A-Za-z0-9._/-]+$"});
            let default = read(draft).map_or(Json::from("off"), |text| Json::from(text.as_str()));
            json!({"anyOf": [text, {"const": false}], "default": default})
        }
        Kind::Own { schema, .. } => schema(),
    }
}

fn number_schema(number: &Number, default: u64) -> Json {
    let value = match number.unit {
        Unit::Count => json!({"type": "integer", "minimum": number.min, "maximum": number.max}),
        Unit::Time => duration_schema(),
        Unit::Size => json!({"type": "string", "pattern": "^[0-9]+ ?(B|KB|MB|GB|KiB|MiB|GiB)$"}),
        Unit::Rate => json!({"type": "string", "pattern": "^[0-9]+ ?(B|KB|MB|GB|KiB|MiB|GiB)/s$"}),
    };
    let default = match (default, number.none, number.unit) {
        (0, Some(word), _) => word.into(),
        (n, _, Unit::Count) => n.into(),
        (n, _, unit) => in_unit(n, unit).into(),
    };
    match number.none {
        None => {
            let mut value = value;
            value["default"] = default;
            value
        }
        Some("off") => json!({"anyOf": [value, {"enum": ["off", false]}], "default": default}),
        Some(word) => json!({"anyOf": [value, {"const": word}], "default": default}),
    }
}

fn duration_schema() -> Json {
    json!({"type": "string", "pattern": "^[0-9]+ ?(ms|s|m|min|h)$"})
}

/// One definition per noun, as entities are nested in each other.
fn definitions(nouns: &[(&str, &str, &[Field])]) -> Map<String, Json> {
    let record =
        |(noun, _, fields): &(&str, &str, &[Field])| ((*noun).to_owned(), record(fields, &mut vec![noun], nouns));
    nouns.iter().map(record).collect()
}

fn entities(noun: &str, about: &str, _fields: &[Field], _nouns: &[(&str, &str, &[Field])]) -> Json {
    json!({"type": "array", "description": about, "items": {"$ref": format!("#/$defs/{noun}")}})
}

/// A record: an entity, or a map within one. `place` is the noun and the path of fields down to it.
fn record<'a>(fields: &'a [Field], place: &mut Vec<&'a str>, nouns: &[(&str, &str, &[Field])]) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        place.push(field.name);
        let duration = DURATIONS.iter().find(|duration| is_at(duration, place));
        let mut schema = match duration {
            Some(_) => described(duration_schema(), field.about),
            None => described(value(&field.kind, field.rules, place, nouns), field.about),
        };
        place.pop();
        let default = serde_json::from_str::<Json>(field.default).unwrap_or(Json::Null);
        match (default, duration) {
            (Json::Null, _) if field.required => required.push(field.name),
            (Json::Null, _) => {}
            (default, None) => schema["default"] = default,
            (default, Some(duration)) => schema["default"] = duration_default(&default, duration),
        }
        properties.insert(field.name.to_owned(), nullable(schema, field.required));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// What may be left out may be null as well.
fn nullable(mut schema: Json, required: bool) -> Json {
    if let (false, Some(kind)) = (required, schema.get("type").and_then(Json::as_str)) {
        schema["type"] = json!([kind, "null"]);
        if let Some(words) = schema.get_mut("enum").and_then(Json::as_array_mut) {
            words.push(Json::Null);
        }
    }
    schema
}

fn is_at(duration: &Duration, place: &[&str]) -> bool {
    place.split_first().is_some_and(|(noun, path)| *noun == duration.noun && path == duration.path)
}

fn duration_default(default: &Json, duration: &Duration) -> Json {
    let scale = if duration.scale == super::entities::Scale::Ms { 1.0 } else { 1000.0 };
    let ms = default.as_f64().unwrap_or_default() * scale;
    in_unit(ms as u64, Unit::Time).into()
}

fn value<'a>(kind: &'a FieldKind, rules: &[Rule], place: &mut Vec<&'a str>, nouns: &[(&str, &str, &[Field])]) -> Json {
    let mut schema = match kind {
        FieldKind::Boolean => json!({"type": "boolean"}),
        FieldKind::Integer => json!({"type": "integer"}),
        FieldKind::Number => json!({"type": "number"}),
        FieldKind::String => json!({"type": "string", "minLength": 1}),
        FieldKind::Array(element) => json!({"type": "array", "items": element_schema(element, place, nouns)}),
        FieldKind::Set(element) => json!({"type": "array", "items": element_schema(element, place, nouns)}),
        FieldKind::Map(element) => {
            json!({"type": "object", "additionalProperties": element_schema(element, place, nouns)})
        }
        FieldKind::Record(fields) => record(fields, place, nouns),
    };
    rules.iter().for_each(|rule| apply(rule, &mut schema));
    schema
}

fn element_schema<'a>(element: &'a Element, place: &mut Vec<&'a str>, nouns: &[(&str, &str, &[Field])]) -> Json {
    value(&element.kind, element.rules, place, nouns)
}

fn apply(rule: &Rule, schema: &mut Json) {
    match rule {
        Rule::OneOf(words) => schema["enum"] = json!(words),
        Rule::Between(low, high) => {
            schema["minimum"] = number(*low);
            schema["maximum"] = number(*high);
        }
        Rule::GreaterThan(low) => schema["exclusiveMinimum"] = number(*low),
        Rule::MayBeEmpty => {
            if let Some(object) = schema.as_object_mut() {
                object.remove("minLength");
            }
        }
        Rule::LengthMin(least) => {
            let key = if schema["type"] == "string" { "minLength" } else { "minItems" };
            schema[key] = json!(least);
        }
        Rule::HeaderName => schema["pattern"] = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$".into(),
        Rule::Url => schema["format"] = "uri".into(),
        Rule::OneOfNumbers(numbers) => schema["enum"] = json!(numbers),
        Rule::Referenceable | Rule::Text(_) => {}
    }
}

/// A whole number without its fraction: editors show `minimum: 1`, not `1.0`.
fn number(x: f64) -> Json {
    if x.fract() == 0.0 && x.abs() < 1e15 {
        json!(x as i64)
    } else {
        json!(x)
    }
}
