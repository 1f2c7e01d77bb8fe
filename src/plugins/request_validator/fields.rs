//! The language of fields, in which the reference describes its own entities, as a JSON Schema: a list of `{name: {type:
//! …}}`. Records take no fields but theirs, text is not empty, and null stands for what is left out.
//!
//! Deliberately different: lengths of text are in characters, not bytes. Left out: `custom_validator` and its like, which
//! are Lua.

use super::lua_pattern;
use serde_json::{json, Map, Value};

/// A record's fields as a schema.
///
/// # Errors
/// A sentence: what is wrong, and at which field.
pub(super) fn schema(fields: &Value) -> Result<Value, String> {
    record(fields, "")
}

fn record(fields: &Value, at: &str) -> Result<Value, String> {
    let Some(list) = fields.as_array() else { return Err(fault(at, "expected a list of {name: {type: …}}")) };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for entry in list {
        let field = entry.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next());
        let Some((name, traits)) = field else { return Err(fault(at, "expected {name: {type: …}}")) };
        let place = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let Some(traits) = traits.as_object() else { return Err(fault(&place, "expected an object")) };
        let needed = traits.get("required") == Some(&Value::Bool(true));
        if needed {
            required.push(Value::from(name.as_str()));
        }
        if properties.insert(name.clone(), of_type(traits, &place, !needed)?).is_some() {
            return Err(fault(&place, "it is there twice"));
        }
    }
    Ok(json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false}))
}

fn fault(at: &str, text: &str) -> String {
    if at.is_empty() {
        text.to_owned()
    } else {
        format!("{at}: {text}")
    }
}

/// Words that say nothing of a value.
const SILENT: &[&str] = &["type", "required", "default", "description", "err", "elements", "keys", "values", "fields"];

fn of_type(traits: &Map<String, Value>, at: &str, may_be_null: bool) -> Result<Value, String> {
    let of = |name: &str| traits.get(name);
    let word = of("type").and_then(Value::as_str).ok_or_else(|| fault(at, "required field missing: type"))?;
    let inner = |name: &str| match of(name) {
        None => Ok(json!({})),
        Some(Value::Object(traits)) => of_type(traits, &format!("{at}.{name}"), false),
        Some(_) => Err(fault(at, &format!("{name}: expected an object"))),
    };
    let mut out = match word {
        "string" => json!({"type": "string", "minLength": 1}),
        "number" | "integer" | "boolean" => json!({ "type": word }),
        "array" | "set" => json!({"type": "array", "items": inner("elements")?}),
        "map" => {
            json!({"type": "object", "propertyNames": inner("keys")?, "additionalProperties": inner("values")?})
        }
        "record" => record(of("fields").unwrap_or(&Value::Null), at)?,
        "any" => json!({}),
        _ => return Err(fault(at, "type: expected one of: array, boolean, integer, map, number, record, set, string")),
    };
    let mut all = Vec::new();
    for (name, value) in traits.iter().filter(|(name, _)| !SILENT.contains(&name.as_str())) {
        let rule = rule(name, value, word).map_err(|why| fault(at, &format!("{name}: {why}")))?;
        match (name.as_str(), rule) {
            // Said in place of the type's own, or beside it where only one may stand.
            ("len_min" | "len_max" | "len_eq" | "between" | "gt", Value::Object(rule)) => {
                rule.into_iter().for_each(|(key, value)| out[key] = value);
            }
            (_, rule) => all.push(rule),
        }
    }
    if !all.is_empty() {
        out["allOf"] = all.into();
    }
    if !may_be_null {
        return Ok(out);
    }
    // By type where that will do: a miss within then still says where.
    match (out.get("type").and_then(Value::as_str), out.get("allOf")) {
        (Some(word), None) => out["type"] = json!([word, "null"]),
        (Some(_), Some(_)) => out = json!({"if": {"type": "null"}, "else": out}),
        (None, _) => {}
    }
    Ok(out)
}

/// What one word demands, as a schema.
fn rule(name: &str, value: &Value, word: &str) -> Result<Value, String> {
    let number = || value.as_f64().map(|_| value.clone()).ok_or("expected a number");
    let text = || value.as_str().ok_or("expected a string");
    let list = || value.as_array().ok_or("expected an array");
    let count = || value.as_u64().ok_or("expected an integer");
    let (least, most) = match word {
        "string" => ("minLength", "maxLength"),
        "array" | "set" => ("minItems", "maxItems"),
        _ => ("minProperties", "maxProperties"),
    };
    Ok(match name {
        "one_of" => json!({ "enum": list()? }),
        "not_one_of" => json!({"not": {"enum": list()?}}),
        "eq" => json!({ "const": value }),
        "ne" => json!({"not": {"const": value}}),
        "gt" => json!({ "exclusiveMinimum": number()? }),
        "between" => match list()?.as_slice() {
            [low, high] if low.is_number() && high.is_number() => json!({"minimum": low, "maximum": high}),
            _ => return Err("expected two numbers".to_owned()),
        },
        "len_min" => json!({ least: count()? }),
        "len_max" => json!({ most: count()? }),
        "len_eq" => json!({ least: count()?, most: count()? }),
        "match" => json!({ "pattern": lua_pattern::translated(text()?)? }),
        "not_match" => json!({"not": {"pattern": lua_pattern::translated(text()?)?}}),
        "match_all" => json!({ "allOf": patterns(list()?)? }),
        "match_any" => json!({ "anyOf": patterns(&any_of(value)?)? }),
        "match_none" => json!({"not": {"anyOf": patterns(list()?)?}}),
        "starts_with" => {
            json!({ "pattern": format!("^{}", text()?.chars().map(lua_pattern::escaped).collect::<String>()) })
        }
        "contains" => json!({"contains": {"const": value}}),
        "uuid" if value == true => json!({"pattern": UUID}),
        "is_regex" if value == true => json!({"format": "regex"}),
        "timestamp" if value == true => json!({"exclusiveMinimum": 0}),
        "uuid" | "is_regex" | "timestamp" => json!({}),
        _ => return Err("it is not known here".to_owned()),
    })
}

const UUID: &str = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$";

/// `match_any` has its patterns under a key of their own.
fn any_of(value: &Value) -> Result<Vec<Value>, String> {
    let list = value.get("patterns").unwrap_or(value);
    list.as_array().cloned().ok_or_else(|| "expected an array".to_owned())
}

/// Patterns, plain or with the error they stand for.
fn patterns(list: &[Value]) -> Result<Vec<Value>, String> {
    let one = |entry: &Value| {
        let text = entry.get("pattern").unwrap_or(entry).as_str().ok_or("expected a pattern")?;
        Ok(json!({ "pattern": lua_pattern::translated(text)? }))
    };
    list.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema::Schema;
    use super::*;
    use jsonschema::Draft;

    #[track_caller]
    fn check(fields: Value, rows: &[(Value, bool)]) {
        let text = schema(&fields).unwrap();
        let compiled = Schema::of(text.clone(), Draft::Draft202012).unwrap_or_else(|why| panic!("{why} in {text}"));
        for (value, want) in rows {
            assert_eq!(compiled.judge(value, 1, false).is_ok(), *want, "{value} by {text}");
        }
    }

    #[test]
    fn fields_judge_as_they_do_there() {
        check(
            json!([{"name": {"type": "string", "required": true, "len_max": 5}},
                {"age": {"type": "integer", "between": [0, 120]}}]),
            &[
                (json!({"name": "bob"}), true),
                (json!({"name": "bob", "age": 7}), true),
                (json!({"name": "bob", "age": null}), true),
                (json!({"name": "bob", "age": 121}), false),
                (json!({"name": "bob", "age": "7"}), false),
                (json!({"name": "bobbyx"}), false),
                (json!({"name": ""}), false),
                (json!({"name": null}), false),
                (json!({"age": 7}), false),
                (json!({"name": "bob", "x": 1}), false),
                (json!([]), false),
                (json!("bob"), false),
            ],
        );
        check(
            json!([
                {"kind": {"type": "string", "one_of": ["a", "b"]}},
                {"tags": {"type": "set", "elements": {"type": "string", "match": "^%l+$"}, "len_min": 1}},
                {"map": {"type": "map", "keys": {"type": "string", "len_min": 2}, "values": {"type": "number", "gt": 1}}},
                {"in": {"type": "record", "fields": [{"id": {"type": "string", "uuid": true, "required": true}}]}},
                {"s": {"type": "string", "starts_with": "/a.b", "match_none": [{"pattern": "//", "err": "x"}], "len_min": 0}},
                {"b": {"type": "boolean", "eq": true}},
                {"n": {"type": "number", "ne": 3, "not_one_of": [5]}},
            ]),
            &[
                (json!({}), true),
                (json!({"kind": "a"}), true),
                (json!({"kind": "c"}), false),
                (json!({"kind": null}), true),
                (json!({"tags": ["a"]}), true),
                (json!({"tags": []}), false),
                (json!({"tags": ["a1"]}), false),
                (json!({"map": {"ab": 2}}), true),
                (json!({"map": {"a": 2}}), false),
                (json!({"map": {"ab": 1}}), false),
                (json!({"in": {"id": "0855b320-0dd2-547d-891d-601e9b38647f"}}), true),
                (json!({"in": {"id": "0855b320"}}), false),
                (json!({"in": {}}), false),
                (json!({"s": "/a.bc"}), true),
                (json!({"s": "/axb"}), false),
                (json!({"s": "/a.b//"}), false),
                (json!({"b": true}), true),
                (json!({"b": false}), false),
                (json!({"n": 4}), true),
                (json!({"n": 3}), false),
                (json!({"n": 5}), false),
            ],
        );
    }

    #[test]
    fn faults_name_the_field() {
        let rows = [
            (json!({}), "expected a list of {name: {type: …}}"),
            (json!([{"a": {}}]), "a: required field missing: type"),
            (json!([{"a": {"type": "text"}}]), "a: type: expected one of: array, boolean"),
            (json!([{"a": {"type": "string", "lenmin": 1}}]), "a: lenmin: it is not known here"),
            (json!([{"a": {"type": "record", "fields": [{"b": {"type": "number", "between": 3}}]}}]), "a.b: between: "),
            (json!([{"a": {"type": "string", "match": "%b()"}}]), "a: match: %b has no counterpart"),
            (json!([{"a": {"type": "string"}, "b": {"type": "string"}}]), "expected {name: {type: …}}"),
        ];
        for (fields, want) in rows {
            let said = schema(&fields).unwrap_err();
            assert!(said.starts_with(want), "{fields}: {said}");
        }
    }
}
