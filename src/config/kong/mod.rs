//! The declarative format: `kong.yml`, versions 1.1, 2.1 and 3.0, and the settings of a node ([`conf`]).
//!
//! [`read`] walks the lists of a document, checks every entity by its row ([`fields`]), gives it its id, and hands it to
//! the module of its kind, which checks what spans fields and appends to the [`Draft`]. The native dialect has the same
//! entities and comes here as well, without the envelope. Not here: references and uniqueness (`plan::link`).

pub mod conf;
mod credentials;
mod entities;
mod fields;
mod fill;
mod groups;
mod health;
mod others;
mod plugins;
mod text;
mod vault;

pub use vault::Vaults;

use super::check::{self, join, Cx};
use super::doc::{Key, Node, Value};
use super::native::Shape;
use crate::base::span::{At, Span};
use crate::hook::Descriptor;
use crate::plan::draft::{Common, Draft, Ref};
use crate::plan::ids::{derived, Table};
use crate::plan::record::Record;
use crate::plan::report::Report;
use crate::plan::schema::{Field, Read};
use fields::{noun, Noun, COMMON, IGNORED, NOUNS, UNSERVED};
use serde_json::{Map, Value as Json};
use std::cell::Cell;
use uuid::Uuid;

/// Versions of the format.
const VERSIONS: [&str; 3] = ["1.1", "2.1", "3.0"];

/// The key that every file of this format has.
pub const VERSION_KEY: &str = "_format_version";

/// What reading needs beside the document.
pub struct Reader<'a> {
    /// Where entities go.
    pub draft: &'a mut Draft,
    /// Where findings go.
    pub report: &'a mut Report,
    /// What references to vaults mean.
    pub vaults: &'a Vaults,
    /// What plugins there are.
    pub descriptors: &'static [Descriptor],
    /// Fills with unpredictable bytes: ids and secrets that nobody wrote.
    pub random: &'a mut dyn FnMut(&mut [u8]),
    /// Are passwords written as such, to be hashed?
    pub transform: bool,
    /// Reads files that plugins' settings name; `None` where nothing is served by what they say.
    pub read: Option<Read<'a>>,
    /// The entity that is being read, for those who show it; its own module may have more to say of it.
    pub shown: Option<Record>,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("draft", self.draft).finish_non_exhaustive()
    }
}

/// Names of the lists of entities.
pub fn nouns() -> Vec<&'static str> {
    NOUNS.iter().map(|noun| noun.name).collect()
}

/// Every kind of entity as its rows, for those who describe it.
pub fn shapes() -> Vec<Shape> {
    let shape = |noun: &Noun| Shape {
        noun: noun.name,
        table: noun.table,
        about: noun.about,
        common: COMMON,
        fields: noun.fields,
        foreign: noun.foreign,
        shorthands: fill::shorthands(noun.table),
        children: noun.children,
        members: groups::named(noun.table).map(|named| (named.key, &named.names[..])),
    };
    NOUNS.iter().map(shape).collect()
}

/// Checks one entity that stands by itself; findings have paths within it. References are not followed.
pub fn one(table: Table, node: &Node, reader: &mut Reader<'_>) {
    if let Some(noun) = NOUNS.iter().find(|noun| noun.table == table) {
        reader.entity(noun, node, String::new(), None);
    }
}

/// Reads a file of this format.
pub fn read(mut doc: Node, reader: &mut Reader<'_>) {
    let old = match envelope(&doc, reader.report) {
        Some(version) => version != "3.0",
        None => false,
    };
    reader.transform = !matches!(doc.get("_transform").map(|node| &node.value), Some(Value::Bool(false)));
    if let Some(node) = doc.get("_transform").filter(|node| !matches!(node.value, Value::Bool(_) | Value::Null)) {
        reader.report.fault(&node.span, "_transform", "expected a boolean", "");
    }
    if old {
        upgrade(&mut doc);
    }
    entities(doc, reader);
}

/// Checks the version; `None` where it is none.
fn envelope<'n>(doc: &'n Node, report: &mut Report) -> Option<&'n str> {
    let Some(version) = doc.get(VERSION_KEY) else {
        report.fault(&doc.span, VERSION_KEY, "required field missing", "write _format_version: \"3.0\"");
        return None;
    };
    let Some(text) = version.str() else {
        report.fault(&version.span, VERSION_KEY, "expected a string", "write _format_version: \"3.0\", with quotes");
        return None;
    };
    if !VERSIONS.contains(&text) {
        report.fault(&version.span, VERSION_KEY, "expected one of: 1.1, 2.1, 3.0", "");
        return None;
    }
    Some(text)
}

/// Rewrites the paths of routes, those nested in services too, as version 3.0 writes them.
fn upgrade(doc: &mut Node) {
    each(doc, "routes", &mut upgrade_route);
    each(doc, "services", &mut |service| each(service, "routes", &mut upgrade_route));
}

fn upgrade_route(route: &mut Node) {
    each(route, "paths", &mut |path| {
        if let Value::Str(text) = &mut path.value {
            *text = text::upgraded(text);
        }
    });
}

/// Does something with every element of the list under `key`.
fn each(doc: &mut Node, key: &str, then: &mut dyn FnMut(&mut Node)) {
    let Value::Map(entries) = &mut doc.value else { return };
    let list = entries.iter_mut().find(|(held, _)| held.text == key).map(|(_, node)| &mut node.value);
    if let Some(Value::Seq(nodes)) = list {
        nodes.iter_mut().for_each(then);
    }
}

/// Reads the lists of entities of a document; the envelope's keys are known, and left out. What was read of it is freed
/// as it goes, since what is made of it takes its place.
pub fn entities(doc: Node, reader: &mut Reader<'_>) {
    let Value::Map(entries) = doc.value else {
        let message = "failed parsing declarative configuration: expected an object";
        reader.report.fault(&doc.span, "", message, "");
        return;
    };
    let mut unserved: Vec<Key> = Vec::new();
    for (key, list) in entries {
        let name = key.text.as_str();
        if let Some(noun) = noun(name) {
            reader.whole_list(noun, list, name);
        } else if UNSERVED.contains(&name) {
            unserved.push(key);
        } else if !IGNORED.contains(&name) && name != VERSION_KEY && name != "_transform" {
            let known = NOUNS.iter().map(|noun| noun.name).chain([VERSION_KEY, "_transform"]);
            check::unknown(&key, known, "", reader.report);
        }
    }
    if let Some(first) = unserved.first() {
        let names: Vec<&str> = unserved.iter().map(|key| key.text.as_str()).collect();
        reader.report.warning(&first.span, "", format!("not served yet, ignored: {}", names.join(", ")), "");
    }
}

/// What an entity is nested in.
#[derive(Clone, Copy, Debug)]
struct Parent {
    /// The column that refers to it.
    column: &'static str,
    /// Its id.
    id: Uuid,
}

/// One entity with its fields checked.
#[derive(Debug)]
struct Entity<'n> {
    /// As it was written.
    node: &'n Node,
    /// Id, tags, place.
    common: Common,
    /// Its values, defaults filled in; null where there is none, or a fault.
    values: Map<String, Json>,
    /// Its references.
    references: Vec<(&'static str, Option<At<Ref>>)>,
}

impl Entity<'_> {
    /// Text of a field.
    fn text(&self, field: &str) -> Option<&str> {
        self.values.get(field).and_then(Json::as_str)
    }

    /// Owned text of a field.
    fn owned(&self, field: &str) -> Option<String> {
        self.text(field).map(str::to_owned)
    }

    /// A whole number that is not negative.
    fn number(&self, field: &str) -> u64 {
        self.values.get(field).and_then(Json::as_u64).unwrap_or_default()
    }

    /// A truth value; none is false.
    fn flag(&self, field: &str) -> bool {
        self.values.get(field).and_then(Json::as_bool).unwrap_or_default()
    }

    /// The texts of a list.
    fn texts(&self, field: &str) -> Vec<&str> {
        let list = self.values.get(field).and_then(Json::as_array);
        list.map(|values| values.iter().filter_map(Json::as_str).collect()).unwrap_or_default()
    }

    /// Was something given?
    fn has(&self, field: &str) -> bool {
        match self.values.get(field) {
            None | Some(Json::Null) => false,
            Some(Json::Array(values)) => !values.is_empty(),
            Some(Json::Object(values)) => !values.is_empty(),
            Some(_) => true,
        }
    }

    /// Does it refer to something in this column?
    fn refers(&self, column: &str) -> bool {
        self.references.iter().any(|(held, reference)| *held == column && reference.is_some())
    }

    /// Takes a reference.
    fn take(&mut self, column: &str) -> Option<At<Ref>> {
        self.references.iter_mut().find(|(held, _)| *held == column).and_then(|(_, reference)| reference.take())
    }

    /// Where a field stands, or the entity.
    fn span(&self, field: &str) -> &Span {
        self.node.get(field).map_or(&self.node.span, |node| &node.span)
    }

    /// The path of a field.
    fn path(&self, field: &str) -> String {
        join(&self.common.path, field)
    }
}

impl Reader<'_> {
    /// A list that stands by itself; each of its entities is freed once it was read.
    fn whole_list(&mut self, noun: &'static Noun, list: Node, path: &str) {
        let Value::Seq(nodes) = list.value else { return self.list(noun, &list, path, None) };
        for (ix, node) in nodes.into_iter().enumerate() {
            self.entity(noun, &node, format!("{path}[{ix}]"), None);
        }
    }

    fn list(&mut self, noun: &'static Noun, list: &Node, path: &str, parent: Option<Parent>) {
        match &list.value {
            Value::Null => {}
            Value::Seq(nodes) => {
                for (ix, node) in nodes.iter().enumerate() {
                    self.entity(noun, node, format!("{path}[{ix}]"), parent);
                }
            }
            _ => self.report.fault(&list.span, path, "expected an array", ""),
        }
    }

    fn entity(&mut self, noun: &'static Noun, node: &Node, path: String, parent: Option<Parent>) {
        // The names of a certificate may be written without `name:`.
        if let (Table::Snis, Some(_), Value::Str(_)) = (noun.table, parent, &node.value) {
            let key = Key { text: "name".to_owned(), span: node.span.clone() };
            let entry = Node::new(Value::Map(vec![(key, node.clone())]), node.span.clone());
            return self.entity(noun, &entry, path, parent);
        }
        let Some(entries) = node.map() else {
            return self.report.fault(&node.span, path, "expected a record", "");
        };
        // A consumer's key that is written as if it was a plugin of the consumer.
        if let (Table::Plugins, Some(Parent { column: "consumer", .. })) = (noun.table, parent) {
            let config = node.get("config").filter(|config| config.get("key").is_some());
            let is_key = node.get("name").and_then(Node::str) == Some("key-auth");
            if let (true, Some(config), Some(keys)) = (is_key, config, fields::noun("keyauth_credentials")) {
                return self.entity(keys, config, join(&path, "config"), parent);
            }
        }
        let is_child = |key: &str| noun.children.iter().any(|(child, _)| *child == key);
        let is_foreign = |key: &str| noun.foreign.iter().any(|(column, _)| *column == key);
        let is_common = |key: &str| COMMON.iter().any(|field| field.name == key);
        let is_config = |key: &str| noun.table == Table::Plugins && key == "config";
        let referred = Cell::new(false);
        let resolve = |text: &str| {
            referred.set(true);
            self.vaults.resolve(text)
        };
        let mut cx = Cx::new(self.report, &resolve);
        let common = entries.iter().filter(|(key, _)| is_common(&key.text));
        let common = check::record(COMMON, common, &node.span, &path, &mut cx);
        let own = entries.iter().filter(|(key, _)| {
            let key = key.text.as_str();
            let others = is_child(key) || is_foreign(key) || is_common(key) || is_config(key);
            let members = groups::named(noun.table).is_some_and(|named| named.key == key);
            !others && !IGNORED.contains(&key) && !UNSERVED.contains(&key) && !members
        });
        let own: Vec<_> = own.collect();
        let mut values = check::record(noun.fields, own.iter().copied(), &node.span, &path, &mut cx);
        let unresolved = referred.get().then(|| as_written(noun.fields, &own, &node.span));
        let references: Vec<_> =
            noun.foreign.iter().map(|(column, _)| (*column, self.reference(node, column, &path, parent))).collect();
        self.unserved_within(entries, &path);
        let given = common["id"].as_str().and_then(text::to_uuid);
        let id = given.unwrap_or_else(|| self.id(noun, node, &values, &references));
        fill::fill(noun.table, &mut values, self);
        self.shown = Some(self.record(noun, id, &common, &values, unresolved, &references));
        let tags = common["tags"].as_array().map(|tags| tags.iter().filter_map(Json::as_str).map(str::to_owned));
        let tags = tags.map(Iterator::collect).unwrap_or_default();
        let common = Common { id, tags, at: node.span.clone(), path: path.clone() };
        (noun.build)(self, Entity { node, common, values, references });
        if let Some(record) = self.shown.take() {
            self.draft.records.push(&record);
        }
        for (child, column) in noun.children {
            if let (Some(list), Some(child)) = (node.get(child), fields::noun(child)) {
                self.list(child, list, &join(&path, child.name), Some(Parent { column, id }));
            }
        }
        if let Some(named) = groups::named(noun.table) {
            let column = if noun.table == Table::Consumers { "consumer" } else { "consumer_group" };
            if let Some(list) = node.get(named.key) {
                self.members(named, list, &join(&path, named.key), Parent { column, id });
            }
        }
    }

    /// An entity for those who show it.
    fn record(
        &self,
        noun: &Noun,
        id: Uuid,
        common: &Map<String, Json>,
        values: &Map<String, Json>,
        unresolved: Option<Map<String, Json>>,
        references: &[(&'static str, Option<At<Ref>>)],
    ) -> Record {
        let mut fields = Map::with_capacity(common.len() + values.len());
        fields.insert("id".to_owned(), id.to_string().into());
        fields.extend(common.iter().filter(|(name, _)| *name != "id" && *name != "tags").map(cloned));
        fields.extend(values.iter().map(cloned));
        fields.insert("tags".to_owned(), common["tags"].clone());
        if let Some(written) = unresolved {
            fill::restore(&mut fields, written);
        }
        fill::show(noun.table, &mut fields);
        // Files that are taken elsewhere know the column only where it is used.
        let is_shown = |column: &str| {
            let is_used = || references.iter().any(|(held, reference)| *held == column && reference.is_some());
            (noun.table, column) != (Table::Plugins, "consumer_group") || is_used()
        };
        if !is_shown("consumer_group") {
            fields.shift_remove("consumer_group");
        }
        let of = |(column, table): &(&'static str, Table)| {
            let held = references.iter().find(|(held, _)| held == column);
            (*column, *table, held.and_then(|(_, at)| at.as_ref()).map(|at| at.value.clone()))
        };
        let references = noun.foreign.iter().filter(|(column, _)| is_shown(column)).map(of).collect();
        let plain = noun.table == Table::Basics && self.transform;
        Record { table: noun.table, id, fields, references, plain }
    }

    /// Names what is nested in an entity and not served.
    fn unserved_within(&mut self, entries: &[(Key, Node)], path: &str) {
        for (key, _) in entries {
            if UNSERVED.contains(&key.text.as_str()) {
                self.report.warning(&key.span, join(path, &key.text), "not served yet, ignored", "");
            }
        }
    }

    /// Reads a reference: a name, an id, or `{id: …}`; of a nested entity it is its parent.
    fn reference(&mut self, node: &Node, column: &str, path: &str, parent: Option<Parent>) -> Option<At<Ref>> {
        let written = node.entry(column).filter(|(_, value)| !value.is_null());
        if let Some(parent) = parent.filter(|parent| parent.column == column) {
            if let Some((key, _)) = written {
                let message = "ignored: what it is nested in counts";
                self.report.warning(&key.span, join(path, column), message, "take the line out");
            }
            return Some(At::new(Ref::Id(parent.id), node.span.clone()));
        }
        let (_, value) = written?;
        let reference = match &value.value {
            Value::Str(text) if text.is_empty() => {
                self.report.fault(&value.span, join(path, column), "length must be at least 1", "");
                return None;
            }
            Value::Str(text) => Ref::Text(text.clone()),
            Value::Map(entries) => {
                let id = value.get("id").and_then(Node::str).and_then(text::to_uuid);
                match (id, entries.len()) {
                    (Some(id), 1) => Ref::Id(id),
                    _ => {
                        let hint = "write its name, or {id: <uuid>}";
                        self.report.fault(&value.span, join(path, column), "expected a reference", hint);
                        return None;
                    }
                }
            }
            _ => {
                self.report.fault(&value.span, join(path, column), "expected a string", "write a name or an id");
                return None;
            }
        };
        Some(At::new(reference, value.span.clone()))
    }

    /// The id of an entity that has none: of its unique key, of what it is for, or random.
    fn id(
        &mut self,
        noun: &Noun,
        node: &Node,
        values: &Map<String, Json>,
        references: &[(&'static str, Option<At<Ref>>)],
    ) -> Uuid {
        let text = |field: &str| values.get(field).and_then(Json::as_str);
        let refer = |column: &str| -> Option<String> {
            let (_, reference) = references.iter().find(|(held, _)| *held == column)?;
            match reference.as_ref().map(|at| &at.value) {
                // Written as a table it is no part of the key, not even as an empty one.
                Some(Ref::Id(_)) if node.get(column).is_some_and(|node| node.map().is_some()) => None,
                Some(Ref::Id(id)) => Some(id.to_string()),
                Some(Ref::Text(text)) => Some(text.clone()),
                None => Some(String::new()),
            }
        };
        let of = |columns: &[Option<String>]| {
            let columns: Vec<&str> = columns.iter().flatten().map(String::as_str).collect();
            derived(noun.table, &columns)
        };
        let name = |field: &str| text(field).map(|text| derived(noun.table, &[text]));
        let id = match noun.table {
            Table::Services | Table::Routes | Table::Upstreams | Table::Snis | Table::KeySets => name("name"),
            Table::Consumers => name("username"),
            Table::Keys | Table::Jwts => name("key"),
            Table::Basics | Table::Hmacs => name("username"),
            Table::Vaults => name("prefix"),
            Table::Targets => text("target").map(|target| of(&[refer("upstream"), Some(target.to_owned())])),
            Table::Subjects => text("subject_name").map(|name| of(&[Some(name.to_owned()), refer("ca_certificate")])),
            Table::Groups => text("group").map(|group| of(&[refer("consumer"), Some(group.to_owned())])),
            Table::SetKeys => text("kid").map(|kid| of(&[Some(kid.to_owned()), refer("set")])),
            Table::Plugins => text("name").map(|name| {
                // No part of the key where there is none: ids of files without groups are those they have elsewhere.
                let group = refer("consumer_group").filter(|group| !group.is_empty());
                of(&[Some(name.to_owned()), refer("route"), refer("service"), refer("consumer"), group])
            }),
            Table::ConsumerGroups => name("name"),
            Table::Members => Some(of(&[refer("consumer_group"), refer("consumer")])),
            Table::Certificates | Table::Authorities => None,
        };
        let alike: &[&str] = match noun.table {
            Table::Services => &["url", "protocol", "host", "port", "path"],
            Table::Routes => &["protocols", "methods", "hosts", "paths", "headers", "snis", "sources", "destinations"],
            _ => &[],
        };
        match id {
            Some(id) => id,
            None if alike.is_empty() => self.random_id(),
            // What it is asked for stands for its name, so that it is the same one after a reload: its counters go on.
            None => {
                let held = alike.iter().map(|field| values.get(*field).map_or(String::new(), Json::to_string));
                // No name begins so.
                let columns = ["\n".to_owned(), refer("service").unwrap_or_default()].into_iter().chain(held);
                let id = of(&columns.map(Some).collect::<Vec<_>>());
                let before = self.draft.unnamed.entry(id).or_default();
                *before += 1;
                match *before {
                    1 => id,
                    nth => Uuid::new_v5(&id, &nth.to_be_bytes()),
                }
            }
        }
    }

    /// A random id (RFC 9562 §5.4).
    fn random_id(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A secret that nobody wrote: 32 letters and digits of 24 random bytes.
    fn random_secret(&mut self) -> String {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut bytes = [0; 32];
        (self.random)(&mut bytes);
        // 256 is no multiple of 62: the first eight letters come up a quarter more often; 189 bits of 190 are left.
        bytes.iter().map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])).collect()
    }
}

/// The fields of an entity with references to vaults as they were written; its faults were found before.
fn as_written(fields: &[Field], own: &[&(Key, Node)], span: &Span) -> Map<String, Json> {
    let mut again = Report::default();
    let mut cx = Cx::new(&mut again, &|text| Ok(text.to_owned()));
    check::record(fields, own.iter().copied(), span, "", &mut cx)
}

fn cloned((name, value): (&String, &Json)) -> (String, Json) {
    (name.clone(), value.clone())
}
