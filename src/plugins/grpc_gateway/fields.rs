//! Texts of a path or a query as fields of a message, in the JSON that the message is then read from.
//!
//! JSON's text stands for numbers, enums, bytes, times and their like as well; only truth values and numbers of enums are
//! told apart here. A field has two names, and one that was set by either is the same field.

use super::rules::Body;
use crate::base::limits::JSON_DEPTH_MAX;
use crate::http::query;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Writes the field at a path of names, in the place of what was there.
///
/// # Errors
/// Where there is no such field that a text can stand for, as a sentence that a client may read.
pub(super) fn put(
    message: &MessageDescriptor,
    path: &str,
    text: Cow<'_, str>,
    value: &mut Value,
) -> Result<(), String> {
    let (place, field) = find(message, path, value).ok_or_else(|| missing(path))?;
    let text = leaf(&field, text).ok_or_else(|| invalid(&field))?;
    take(place, &field);
    place.insert(field.json_name().to_owned(), text);
    Ok(())
}

/// Writes the fields that a query names, but for those within what the body stands for. `strict`: are others refused?
///
/// # Errors
/// As [`put`]; for names that the message does not have only where `strict`.
pub(super) fn put_query(
    message: &MessageDescriptor,
    query: &[u8],
    body: &Body,
    strict: bool,
    value: &mut Value,
) -> Result<(), String> {
    let (mut name_scratch, mut text_scratch) = (Vec::new(), Vec::new());
    for arg in query::args(query) {
        let name = query::decode(arg.name, &mut name_scratch);
        let Ok(path) = std::str::from_utf8(name) else { continue };
        let is_body = match body {
            Body::Field(field) => path.split('.').next() == Some(field),
            _ => false,
        };
        let found = if is_body { None } else { find(message, path, value) };
        let Some((place, field)) = found else {
            match strict {
                true => return Err("the query names what the message does not have".to_owned()),
                false => continue,
            }
        };
        let text = query::decode(arg.value.unwrap_or_default(), &mut text_scratch);
        let text = std::str::from_utf8(text).ok().and_then(|text| leaf(&field, text.into()));
        let text = text.ok_or_else(|| invalid(&field))?;
        if !field.is_list() {
            take(place, &field);
            place.insert(field.json_name().to_owned(), text);
            continue;
        }
        let list = place.entry(field.json_name()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(text);
        }
    }
    Ok(())
}

fn missing(path: &str) -> String {
    format!("the message has no field {path} that a text can stand for")
}

fn invalid(field: &FieldDescriptor) -> String {
    format!("invalid value for {}", field.name())
}

/// The object that holds the field at a path, those on the way made where they are not there, and the field. `None` where
/// there is none, or one on the way is no message.
fn find<'v>(
    message: &MessageDescriptor,
    path: &str,
    value: &'v mut Value,
) -> Option<(&'v mut Map<String, Value>, FieldDescriptor)> {
    // Looked up before anything is made.
    let mut fields = Vec::new();
    let mut kind = message.clone();
    for step in path.split('.') {
        if fields.len() >= JSON_DEPTH_MAX
            || fields.last().is_some_and(|field: &FieldDescriptor| field.is_list() || field.is_map())
        {
            return None;
        }
        let field = kind.get_field_by_name(step).or_else(|| kind.get_field_by_json_name(step))?;
        if let Kind::Message(inner) = field.kind() {
            kind = inner;
        }
        fields.push(field);
    }
    let last = fields.pop()?;
    if last.is_map() {
        return None;
    }
    let mut place = value.as_object_mut()?;
    for field in fields {
        let Kind::Message(_) = field.kind() else { return None };
        let held = take(place, &field).filter(Value::is_object).unwrap_or_else(|| Value::Object(Map::new()));
        let inner = place.entry(field.json_name()).or_insert(held);
        place = inner.as_object_mut()?;
    }
    Some((place, last))
}

/// What an object has under either name of a field; it is taken away.
fn take(place: &mut Map<String, Value>, field: &FieldDescriptor) -> Option<Value> {
    let by_name = place.shift_remove(field.name());
    place.shift_remove(field.json_name()).or(by_name)
}

/// A text as a value of a field; `None` where it cannot be one.
fn leaf(field: &FieldDescriptor, text: Cow<'_, str>) -> Option<Value> {
    let truth = |text: &str| match text {
        "true" | "1" => Some(Value::Bool(true)),
        "false" | "0" => Some(Value::Bool(false)),
        _ => None,
    };
    match field.kind() {
        Kind::Bool => truth(&text),
        Kind::Enum(kind) => match text.parse::<i32>() {
            Ok(number) => Some(number.into()),
            Err(_) => kind.get_value_by_name(&text).map(|_| Value::String(text.into_owned())),
        },
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.BoolValue" => truth(&text),
            name if TEXTUAL.contains(&name) => Some(Value::String(text.into_owned())),
            _ => None,
        },
        _ => Some(Value::String(text.into_owned())),
    }
}

/// Messages that JSON has as text.
const TEXTUAL: [&str; 11] = [
    "google.protobuf.BytesValue",
    "google.protobuf.DoubleValue",
    "google.protobuf.Duration",
    "google.protobuf.FieldMask",
    "google.protobuf.FloatValue",
    "google.protobuf.Int32Value",
    "google.protobuf.Int64Value",
    "google.protobuf.StringValue",
    "google.protobuf.Timestamp",
    "google.protobuf.UInt32Value",
    "google.protobuf.UInt64Value",
];
