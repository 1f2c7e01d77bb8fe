//! Entities as the running configuration has them. They are changed by whole configurations only (`POST /config`): a
//! write is held to the rules of its entity first, so that a client learns what is wrong with it, and then refused.

use super::answer::{as_json, as_text, error, message, not_allowed, not_found, Code, Unreadable};
use super::body::{self, Body};
use super::fault::Faults;
use super::kinds::{self, Place};
use super::page::{page, Query, Tags};
use super::Desk;
use crate::base::limits;
use crate::control::store::{as_id, Row, Store};
use crate::plan::ids::Table;
use crate::plan::schema::alias_of;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use percent_encoding::percent_decode_str;
use serde_json::{json, Map, Value};
use std::borrow::Cow;
use uuid::Uuid;

/// What is seldom asked for: tags over all kinds, and which plugins there are.
pub(super) fn router() -> Router<Desk> {
    Router::new().route("/plugins/enabled", get(enabled)).route("/tags", get(tags)).route("/tags/{tag}", get(tags_of))
}

/// Answers every path that no route takes.
pub(super) async fn answer(State(desk): State<Desk>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let texts: Option<Vec<String>> = path
        .trim_start_matches('/')
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8().ok().map(|text| text.into_owned()))
        .collect();
    let texts = texts.unwrap_or_default();
    let parts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let Some(place) = kinds::place(&parts, &desk.shapes) else { return not_found() };
    let view = desk.board.view();
    let store = &view.store;
    let method = request.method().clone();
    match method {
        Method::GET | Method::HEAD => read(&place, &Query::of(request.uri().query()), store),
        Method::POST if matches!(place, Place::List(_) | Place::Under(..)) => {
            create(&desk, &place, store, request).await
        }
        Method::PUT | Method::PATCH if !matches!(place, Place::List(_) | Place::Under(..) | Place::Members(..)) => {
            change(&desk, &place, store, request).await
        }
        Method::DELETE if matches!(place, Place::Item(..) | Place::ItemUnder(..)) => remove(&place, store),
        _ => not_allowed(place.allow()),
    }
}

// ---- Reads ----

fn read(place: &Place<'_>, query: &Query, store: &Store) -> Response {
    match *place {
        Place::List(table) => list(table, query, store),
        Place::Under(parent, key, child, column) => {
            let Some(parent_row) = store.find(parent, key) else { return not_found() };
            let rows = store.children(child, column, parent_row.id);
            let (outer, inner) = (kinds::of(parent).and_then(|kind| kind.flat), kinds::of(child));
            let (Some(outer), Some(inner)) = (outer, inner) else { return not_found() };
            page(rows, key_of, shown, query, &format!("/{outer}/{}/{}", parent_row.id, inner.nested), &[])
        }
        Place::Members(table, key, own, other, others) => {
            let Some(row) = store.find(table, key) else { return not_found() };
            let (Some(outer), Some(inner)) = (kinds::of(table), kinds::of(others)) else { return not_found() };
            let path = format!("/{}/{}/{}", outer.nested, row.id, inner.nested);
            page(members(store, row.id, own, other, others), key_of, shown, query, &path, &[])
        }
        Place::Item(..) | Place::ItemUnder(..) | Place::Parent(..) => match item(place, store) {
            Some(row) if matches!(place, Place::Item(Table::ConsumerGroups, _)) => whole_group(&row, query, store),
            Some(row) => as_text(StatusCode::OK, row.json()),
            None => not_found(),
        },
    }
}

/// What memberships of `id` lead to on the other side, each once, by id.
fn members<'s>(store: &'s Store, id: Uuid, own: &str, other: &str, others: Table) -> Vec<Row<'s>> {
    let all = store.children(Table::Members, own, id);
    let mut ids: Vec<Uuid> = all.iter().filter_map(|row| row.parent(other)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().filter_map(|id| store.by_id(others, id)).collect()
}

/// A group stands in a field of its own, and beside it who is in it, unless that is not wanted.
fn whole_group(row: &Row<'_>, query: &Query, store: &Store) -> Response {
    let mut body = format!("{{\"consumer_group\":{}", row.json());
    if query.get("list_consumers") != Some("false") {
        let all = members(store, row.id, "consumer_group", "consumer", Table::Consumers);
        let all: Vec<String> = all.iter().map(Row::json).collect();
        body.push_str(&format!(",\"consumers\":[{}]", all.join(",")));
    }
    body.push('}');
    as_text(StatusCode::OK, body)
}

fn list(table: Table, query: &Query, store: &Store) -> Response {
    let filter = match Tags::of(query) {
        Ok(filter) => filter,
        Err(why) => return why.into_response(),
    };
    let custom_id = query.get("custom_id").filter(|_| table == Table::Consumers);
    if custom_id == Some("") {
        return message(StatusCode::BAD_REQUEST, "custom_id must be an unempty string");
    }
    let rows = store.rows(table);
    let rows = rows.filter(|row| filter.as_ref().is_none_or(|filter| filter.admits(&row.tags())));
    let rows = rows.filter(|row| custom_id.is_none_or(|id| row.holds("custom_id", id)));
    let path = kinds::of(table).and_then(|kind| kind.flat).unwrap_or_default();
    page(rows.collect(), key_of, shown, query, &format!("/{path}"), &["tags", "size"])
}

fn key_of(row: &Row<'_>) -> Vec<u8> {
    row.id.as_bytes().to_vec()
}

fn shown(row: &Row<'_>) -> String {
    row.json()
}

/// The one entity that a path leads to.
fn item<'s>(place: &Place<'_>, store: &'s Store) -> Option<Row<'s>> {
    match *place {
        Place::Item(table, key) => store.find(table, key),
        Place::ItemUnder(parent, key, child, column, child_key) => {
            let parent = store.find(parent, key)?;
            // Of these the name need not be unique but among those of one parent.
            let name = if child == Table::Groups { Some("group") } else { child.key() };
            let id = as_id(child_key);
            let mut rows = store.children(child, column, parent.id).into_iter();
            rows.find(|row| match id {
                Some(id) => row.id == id,
                None => name.is_some_and(|name| row.holds(name, child_key)),
            })
        }
        Place::Parent(child, key, column, parent) => {
            let child = store.find(child, key)?;
            store.by_id(parent, child.parent(column)?)
        }
        Place::List(_) | Place::Under(..) | Place::Members(..) => None,
    }
}

async fn enabled(State(desk): State<Desk>) -> Response {
    let names: Vec<&str> = desk.descriptors.iter().map(|descriptor| descriptor.name).collect();
    as_json(StatusCode::OK, &json!({ "enabled_plugins": names }))
}

async fn tags(State(desk): State<Desk>, request: Request) -> Response {
    tagged(&desk, None, "/tags", &Query::of(request.uri().query()))
}

async fn tags_of(
    State(desk): State<Desk>,
    axum::extract::Path(tag): axum::extract::Path<String>,
    request: Request,
) -> Response {
    tagged(&desk, Some(&tag), request.uri().path(), &Query::of(request.uri().query()))
}

/// Every pair of an entity and a tag, or those of one tag.
fn tagged(desk: &Desk, only: Option<&str>, path: &str, query: &Query) -> Response {
    let view = desk.board.view();
    let mut rows = Vec::new();
    for table in view.store.kinds() {
        for row in view.store.rows(table) {
            let tags = row.tags().into_iter().filter(|tag| only.is_none_or(|only| only == tag));
            rows.extend(tags.map(|tag| (row.id, tag, table)));
        }
    }
    rows.sort();
    type Tagged<'s> = (Uuid, Cow<'s, str>, Table);
    let key = |(id, tag, _): &Tagged<'_>| [id.as_bytes().as_slice(), tag.as_bytes()].concat();
    let shown = |(id, tag, table): &Tagged<'_>| {
        json!({ "entity_name": table.name(), "entity_id": id.to_string(), "tag": tag }).to_string()
    };
    page(rows, key, shown, query, path, &["size"])
}

// ---- Writes ----

async fn create(desk: &Desk, place: &Place<'_>, store: &Store, request: Request) -> Response {
    let (table, parent) = match *place {
        Place::Under(parent, key, child, column) => match store.find(parent, key) {
            Some(row) => (child, Some((column, row))),
            None => return not_found(),
        },
        Place::List(table) => (table, None),
        _ => return not_found(),
    };
    let mut entity = match entity(desk, table, request).await {
        Ok(entity) => entity,
        Err(why) => return why.into_response(),
    };
    if let Some((column, row)) = parent {
        entity.insert(column.to_owned(), json!({ "id": row.id.to_string() }));
    }
    refused(desk, table, entity, store).unwrap_or_else(|| unsupported("create", table, None))
}

async fn change(desk: &Desk, place: &Place<'_>, store: &Store, request: Request) -> Response {
    let patches = request.method() == Method::PATCH;
    let held = item(place, store);
    let (table, key, parent) = match *place {
        Place::Item(table, key) => (table, key, None),
        Place::ItemUnder(parent, parent_key, child, column, key) => match store.find(parent, parent_key) {
            Some(row) => (child, key, Some((column, row.id))),
            None => return not_found(),
        },
        // By its child it is known by its id.
        Place::Parent(child, child_key, _, parent) if store.find(child, child_key).is_some() => (parent, "", None),
        _ => return not_found(),
    };
    // A target is only changed where it is; anything else PUT makes as well.
    if held.is_none() && (patches || table == Table::Targets) {
        return not_found();
    }
    let mut entity = match entity(desk, table, request).await {
        Ok(entity) => entity,
        Err(why) => return why.into_response(),
    };
    let by = table.key().filter(|_| !key.is_empty() && as_id(key).is_none());
    match held.filter(|_| patches) {
        Some(row) => {
            let mut merged = row.fields();
            without_aliases(desk, &mut merged);
            merge(&mut merged, entity);
            entity = merged;
        }
        None => {
            let column = by.or((!key.is_empty()).then_some("id"));
            column.map(|column| entity.insert(column.to_owned(), key.into()));
        }
    }
    if let Some((column, id)) = parent {
        entity.insert(column.to_owned(), json!({ "id": id.to_string() }));
    }
    let verb = if patches { "update" } else { "create or update" };
    refused(desk, table, entity, store).unwrap_or_else(|| unsupported(verb, table, by))
}

fn remove(place: &Place<'_>, store: &Store) -> Response {
    let (table, key, nested) = match *place {
        Place::Item(table, key) => (table, key, false),
        Place::ItemUnder(_, _, child, _, key) => (child, key, true),
        _ => return not_found(),
    };
    match item(place, store) {
        Some(_) => unsupported("remove", table, table.key().filter(|_| as_id(key).is_none())),
        None if nested => not_found(),
        // What was never there is gone, too.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// The entity in a body.
async fn entity(desk: &Desk, table: Table, request: Request) -> Result<Map<String, Value>, Unreadable> {
    let shape = desk.shape(table);
    match body::read(request, limits::ADMIN_BODY_BYTES_MAX, false).await? {
        Body::Json(Value::Object(map)) => Ok(map),
        Body::Json(_) => Err(Unreadable::NotJson),
        Body::Form(pairs) => super::form::entity(&pairs, shape, desk.descriptors),
        Body::Empty | Body::Raw(_) => Ok(Map::new()),
    }
}

/// A patch: records are merged, everything else is replaced.
fn merge(held: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (held.get_mut(&name), value) {
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            (_, value) => {
                held.insert(name, value);
            }
        }
    }
}

/// Takes the older names out of a plugin's configuration: what they stand for says the same, and is what is patched.
fn without_aliases(desk: &Desk, plugin: &mut Map<String, Value>) {
    let name = plugin.get("name").and_then(Value::as_str).unwrap_or_default();
    let descriptor = desk.descriptors.iter().find(|descriptor| descriptor.name == name);
    if let (Some(descriptor), Some(Value::Object(config))) = (descriptor, plugin.get_mut("config")) {
        config.retain(|field, _| alias_of(descriptor.fields, field).is_none());
    }
}

/// What is wrong with an entity, as the answer.
fn refused(desk: &Desk, table: Table, mut entity: Map<String, Value>, store: &Store) -> Option<Response> {
    // What an answer shows and no entity has.
    if table == Table::Certificates {
        entity.shift_remove("snis");
    }
    resolve(desk, table, &mut entity, store).or_else(|| violation(desk, table, &Value::Object(entity)))
}

/// References by name become references by id.
fn resolve(desk: &Desk, table: Table, entity: &mut Map<String, Value>, store: &Store) -> Option<Response> {
    let (mut texts, mut fields) = (Vec::new(), Map::new());
    for (column, parent) in desk.shape(table).into_iter().flat_map(|shape| shape.foreign) {
        let Some(Value::Object(written)) = entity.get(*column) else { continue };
        let Some(name) = parent.key().filter(|_| !written.contains_key("id")) else { continue };
        let Some(text) = written.get(name).and_then(Value::as_str) else { continue };
        if let Some(row) = store.find(*parent, text).filter(|_| as_id(text).is_none()) {
            entity.insert((*column).to_owned(), json!({ "id": row.id.to_string() }));
            continue;
        }
        let why = format!(
            "the foreign key cannot be resolved with '{{{name}=\"{text}\"}}' for an existing '{}' entity",
            parent.name()
        );
        texts.push(format!("{column}.{name}: {why}"));
        fields.insert((*column).to_owned(), json!({ name: why }));
    }
    let message = match texts.as_slice() {
        [] => return None,
        [one] => format!("foreign key unresolved ({one})"),
        many => format!("{} foreign keys unresolved ({})", many.len(), many.join("; ")),
    };
    Some(error(Code::ForeignKeysUnresolved, &message, &[("fields", fields.into())]))
}

/// What an entity breaks of its rules, as the answer.
pub(super) fn violation(desk: &Desk, table: Table, entity: &Value) -> Option<Response> {
    let node = crate::config::doc::Node::of(entity, &crate::base::span::Span::nowhere());
    let report = crate::config::validate(table, &node, desk.descriptors);
    let faults = Faults::of_entity(&report.findings);
    let fields = faults.json();
    (!faults.is_empty()).then(|| error(Code::SchemaViolation, &faults.sentence(), &[("fields", fields)]))
}

fn unsupported(verb: &str, table: Table, by: Option<&str>) -> Response {
    let by = by.map_or(String::new(), |column| format!(" by '{column}'"));
    let message = format!("cannot {verb} '{}' entities{by} when not using a database", table.name());
    error(Code::Unsupported, &message, &[])
}
