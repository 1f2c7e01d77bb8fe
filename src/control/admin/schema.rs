//! `/schemas`: the rows that entities and plugins are read by, as JSON; and those rows applied to an entity.
//!
//! There is one table of rows (`plan::schema`): what is told here is what a load checks by and what answers are made of.

use super::answer::{as_json, message};
use super::body::{self, Body};
use super::Desk;
use super::{entities, form};
use crate::base::limits;
use crate::config::Shape;
use crate::plan::ids::Table;
use crate::plan::schema::{alias_of, Element, Field, Kind, Rule};
use crate::plan::Protocol;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use serde_json::{json, Map, Value};

/// The paths of this file.
pub(super) fn router() -> Router<Desk> {
    Router::new()
        .route("/schemas/{entity}", get(of_entity))
        .route("/schemas/{entity}/validate", post(validate))
        .route("/schemas/plugins/validate", post(async |desk, request| validate(desk, name("plugins"), request).await))
        .route("/schemas/vaults/validate", post(async |desk, request| validate(desk, name("vaults"), request).await))
        .route("/schemas/plugins/{plugin}", get(of_plugin))
        .route("/schemas/vaults/{vault}", get(of_vault))
        .route("/plugins/schema/{plugin}", get(of_plugin))
}

fn name(noun: &str) -> Path<String> {
    Path(noun.to_owned())
}

async fn of_entity(State(desk): State<Desk>, Path(noun): Path<String>) -> Response {
    match desk.shapes.iter().find(|shape| shape.noun == noun) {
        Some(shape) => as_json(StatusCode::OK, &json!({ "entity_checks": [], "fields": fields_of(shape) })),
        None => message(StatusCode::NOT_FOUND, &format!("No entity named '{noun}'")),
    }
}

async fn of_plugin(State(desk): State<Desk>, Path(name): Path<String>) -> Response {
    let Some(descriptor) = desk.descriptors.iter().find(|descriptor| descriptor.name == name) else {
        return message(StatusCode::NOT_FOUND, &format!("No plugin named '{name}'"));
    };
    let words = |all: &[Protocol]| all.iter().map(|protocol| protocol.word()).collect::<Vec<_>>();
    let elements = json!({ "type": "string", "one_of": words(descriptor.protocols.accepted) });
    let default = words(descriptor.protocols.default);
    let protocols = json!({ "type": "set", "required": true, "default": default, "elements": elements });
    let mut consumer = foreign(Table::Consumers);
    if !descriptor.consumer_scope {
        consumer["eq"] = Value::Null;
    }
    let mut config = kind(&Kind::Record(descriptor.fields), &[]);
    config.insert("required".to_owned(), true.into());
    let all = json!([{ "consumer": consumer }, { "protocols": protocols }, { "config": config }]);
    as_json(StatusCode::OK, &json!({ "entity_checks": [], "fields": all }))
}

async fn of_vault(State(desk): State<Desk>, Path(name): Path<String>) -> Response {
    let vaults = desk.shape(Table::Vaults).filter(|_| name == "env");
    match vaults.and_then(|shape| shape.fields.iter().find(|field| field.name == "config")) {
        Some(field) => {
            let fields = json!([{ "config": described(field) }]);
            as_json(StatusCode::OK, &json!({ "entity_checks": [], "fields": fields }))
        }
        None => message(StatusCode::NOT_FOUND, &format!("No vault named '{name}'")),
    }
}

async fn validate(State(desk): State<Desk>, Path(noun): Path<String>, request: Request) -> Response {
    let Some(shape) = desk.shapes.iter().find(|shape| shape.noun == noun) else {
        return message(StatusCode::NOT_FOUND, &format!("No entity named '{noun}'"));
    };
    let entity = match body::read(request, limits::ADMIN_BODY_BYTES_MAX, false).await {
        Ok(Body::Json(entity)) => Ok(entity),
        Ok(Body::Form(pairs)) => form::entity(&pairs, Some(shape), desk.descriptors).map(Value::Object),
        Ok(Body::Empty | Body::Raw(_)) => Ok(json!({})),
        Err(why) => Err(why),
    };
    match entity {
        Ok(entity) => entities::violation(&desk, shape.table, &entity)
            .unwrap_or_else(|| message(StatusCode::OK, "schema validation successful")),
        Err(why) => why.into_response(),
    }
}

/// The fields of an entity in the order of its answers.
fn fields_of(shape: &Shape) -> Vec<Value> {
    let mut all = Vec::new();
    let late = |field: &&Field| field.name == "updated_at" && shape.table.is_of_consumer();
    for field in shape.common.iter().filter(|field| !late(field)).chain(shape.fields) {
        let is_shorthand = shape.shorthands.contains(&field.name);
        match shape.foreign.iter().find(|(column, _)| *column == field.name) {
            Some((_, table)) => all.push(json!({ field.name: foreign(*table) })),
            None if !is_shorthand => all.push(json!({ field.name: described(field) })),
            None => {}
        }
    }
    all
}

fn foreign(table: Table) -> Value {
    json!({ "type": "foreign", "reference": table.name() })
}

/// The fields of a record, without older names of what is in another one.
fn fields(fields: &[Field]) -> Vec<Value> {
    let own = fields.iter().filter(|field| alias_of(fields, field.name).is_none());
    own.map(|field| json!({ field.name: described(field) })).collect()
}

/// Those older names, and what they stand for.
fn aliases(fields: &[Field]) -> Vec<Value> {
    let alias = |field: &Field| {
        let (record, inner) = alias_of(fields, field.name)?;
        let mut all = kind(&field.kind, field.rules);
        all.insert("translate_backwards".to_owned(), json!([record, inner]));
        Some(json!({ field.name: all }))
    };
    fields.iter().filter_map(alias).collect()
}

fn described(field: &Field) -> Value {
    let mut all = kind(&field.kind, field.rules);
    all.insert("description".to_owned(), field.about.into());
    // A record without a value of its own has those of its fields.
    let default = serde_json::from_str::<Value>(field.default).unwrap_or(Value::Null);
    let own = !default.is_null() && !matches!(field.kind, Kind::Record(_));
    if own {
        all.insert("default".to_owned(), default);
    }
    if field.required || own {
        all.insert("required".to_owned(), true.into());
    }
    Value::Object(all)
}

fn kind(of: &Kind, rules: &[Rule]) -> Map<String, Value> {
    let mut all = Map::new();
    let (word, within) = match of {
        Kind::Boolean => ("boolean", None),
        Kind::Integer => ("integer", None),
        Kind::Number => ("number", None),
        Kind::String => ("string", None),
        Kind::Array(of) => ("array", Some(("elements", element(of)))),
        Kind::Lines(of) => ("array", Some(("elements", element(of)))),
        Kind::Set(of) => ("set", Some(("elements", element(of)))),
        Kind::Map(of) => ("map", Some(("values", element(of)))),
        Kind::Record(of) => ("record", Some(("fields", fields(of).into()))),
    };
    all.insert("type".to_owned(), word.into());
    if word == "map" {
        all.insert("keys".to_owned(), json!({ "type": "string" }));
    }
    all.extend(within.map(|(name, value)| (name.to_owned(), value)));
    if let Kind::Record(inner) = of {
        let aliases = aliases(inner);
        if !aliases.is_empty() {
            all.insert("shorthand_fields".to_owned(), aliases.into());
        }
    }
    for rule in rules {
        let (name, value) = match rule {
            Rule::OneOf(words) => ("one_of", json!(words)),
            Rule::OneOfNumbers(numbers) => ("one_of", json!(numbers)),
            Rule::Between(low, high) => ("between", json!([number(*low), number(*high)])),
            Rule::GreaterThan(low) => ("gt", number(*low)),
            Rule::LengthMin(least) => ("len_min", json!(least)),
            Rule::MayBeEmpty => ("len_min", json!(0)),
            Rule::Referenceable => ("referenceable", json!(true)),
            // Rules of text are functions there, too, and are not told.
            Rule::HeaderName | Rule::Url | Rule::OrList | Rule::Text(_) | Rule::Reads(_) => continue,
        };
        all.insert(name.to_owned(), value);
    }
    all
}

fn element(element: &Element) -> Value {
    Value::Object(kind(&element.kind, element.rules))
}

/// Without a fraction where there is none.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 9e15 {
        json!(x as i64)
    } else {
        json!(x)
    }
}
