//! JSON Schema (draft 2020-12) of a native file, for editors; made of the rows that read it.

use super::entities::{Duration, Scale, DURATIONS};
use super::knobs::{Kind, Knob, Number, Unit, TOP};
use super::read::in_unit;
use crate::hook::Descriptor;
use crate::plan::ids::Table;
use crate::plan::node::NodeDraft;
use crate::plan::schema::{Element, Field, Kind as FieldKind, Rule};
use serde_json::{json, Map, Value as Json};

/// A kind of entity, as its one reader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Name of its list.
    pub noun: &'static str,
    /// Its kind.
    pub table: Table,
    /// What one is.
    pub about: &'static str,
    /// Fields that every entity has.
    pub common: &'static [Field],
    /// Its own.
    pub fields: &'static [Field],
    /// Columns that refer to others.
    pub foreign: &'static [(&'static str, Table)],
    /// Fields that stand for others: written, and never shown.
    pub shorthands: &'static [&'static str],
    /// Lists that may be nested in it, and the column that refers back.
    pub children: &'static [(&'static str, &'static str)],
    /// The list in it of who or what it goes with, and what an element of that may be named by.
    pub members: Option<(&'static str, &'static [&'static str])>,
}

/// The schema: settings from the rows of this dialect, entities from `shapes`, configurations of plugins from theirs.
pub fn schema(shapes: &[Shape], plugins: &[Descriptor]) -> Json {
    let mut properties = properties(TOP, &super::defaults());
    for shape in shapes {
        properties.insert(shape.noun.to_owned(), described(list_of(shape.noun), shape.about));
    }
    for name in super::IGNORED {
        properties.insert(name.to_owned(), json!({"description": "Ignored: remarks, and a place for YAML anchors."}));
    }
    let definitions: Map<String, Json> =
        shapes.iter().map(|shape| (shape.noun.to_owned(), entity(shape, plugins))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ringway.yaml",
        "description": "Configuration of the Ringway API gateway.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions,
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

/// Entities are nested in each other, so each noun is one definition.
fn list_of(noun: &str) -> Json {
    json!({"type": ["array", "null"], "items": {"$ref": format!("#/$defs/{noun}")}})
}

/// Elements that are names, or hold one.
fn members(names: &[&str]) -> Json {
    let named: Map<String, Json> = names.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    json!({"type": ["array", "null"], "items": {"anyOf": [{"type": "string"}, {"type": "object", "properties": named}]}})
}

fn entity(shape: &Shape, plugins: &[Descriptor]) -> Json {
    let mut place = vec![shape.noun];
    let mut schema = record(shape.fields, &mut place);
    let Json::Object(mut common) = record(shape.common, &mut place)["properties"].take() else { return schema };
    common.extend(shape.children.iter().map(|(child, _)| ((*child).to_owned(), list_of(child))));
    common.extend(shape.members.iter().map(|(list, names)| ((*list).to_owned(), members(names))));
    common.extend(super::IGNORED.iter().map(|name| ((*name).to_owned(), json!(true))));
    if let Some(own) = schema["properties"].as_object_mut() {
        if shape.noun == "plugins" {
            own.insert("config".to_owned(), json!({"type": ["object", "null"]}));
            schema["allOf"] = plugins.iter().map(of_plugin).collect();
        }
    }
    if let Some(own) = schema["properties"].as_object_mut() {
        own.extend(common);
    }
    schema
}

/// What `config` is where the plugin has this name.
fn of_plugin(plugin: &Descriptor) -> Json {
    let mut config = described(record(plugin.fields, &mut vec![plugin.name]), plugin.about);
    config["type"] = json!(["object", "null"]);
    json!({"if": {"properties": {"name": {"const": plugin.name}}}, "then": {"properties": {"config": config}}})
}

/// A record: an entity, or a map within one. `place` is the noun and the path of fields down to it.
fn record(fields: &'static [Field], place: &mut Vec<&'static str>) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        place.push(field.name);
        let duration = DURATIONS.iter().find(|duration| is_at(duration, place));
        let mut schema = match duration {
            // The row names the unit of the declarative format's number; here the unit is written.
            Some(_) => described(duration_schema(), &field.about.replace(", ms.", ".").replace(", s", "")),
            None => described(value(&field.kind, field.rules, place), field.about),
        };
        place.pop();
        // A default that is no JSON is the reader's to complain of.
        let default = serde_json::from_str::<Json>(field.default).unwrap_or(Json::Null);
        // A record that must be there is there by the defaults of its fields.
        let filled = matches!(field.kind, FieldKind::Record(_));
        match (default, duration) {
            (Json::Null, _) if field.required && !filled => required.push(field.name),
            (Json::Null, _) => {}
            (default, None) => schema["default"] = default,
            (default, Some(duration)) => schema["default"] = duration_default(&default, duration),
        }
        properties.insert(field.name.to_owned(), nullable(schema, required.last() == Some(&field.name)));
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
    let scale = if duration.scale == Scale::Ms { 1.0 } else { 1000.0 };
    let ms = default.as_f64().unwrap_or_default() * scale;
    in_unit(ms as u64, Unit::Time).into()
}

fn value(kind: &'static FieldKind, rules: &[Rule], place: &mut Vec<&'static str>) -> Json {
    let element = |element: &'static Element, place: &mut Vec<&'static str>| value(&element.kind, element.rules, place);
    let mut schema = match kind {
        FieldKind::Boolean => json!({"type": "boolean"}),
        FieldKind::Integer => json!({"type": "integer"}),
        FieldKind::Number => json!({"type": "number"}),
        FieldKind::String => json!({"type": "string", "minLength": 1}),
        FieldKind::Array(of) | FieldKind::Set(of) => json!({"type": "array", "items": element(of, place)}),
        FieldKind::Lines(_) => json!({"anyOf": [
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ]}),
        FieldKind::Map(of) => json!({"type": "object", "additionalProperties": element(of, place)}),
        FieldKind::Record(fields) => record(fields, place),
    };
    rules.iter().for_each(|rule| apply(rule, &mut schema));
    schema
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
        Rule::OrList => {
            let one = schema.clone();
            *schema = json!({"anyOf": [one, {"type": "array", "items": one}]});
        }
        Rule::Referenceable | Rule::Text(_) | Rule::Reads(_) => {}
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
