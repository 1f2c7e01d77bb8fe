//! Entities as they were written, for those who show them: every field with its default, references to vaults as
//! references, and what is disabled or not served as well. The [`Plan`](super::Plan) has dropped all that.
//!
//! Front-ends collect them beside the draft; a node's control side keeps them, shards never see them. References are
//! resolved by whoever indexes them (`control/store.rs`); after a load without faults there is none that leads nowhere.
//!
//! There may be hundreds of thousands, so they lie packed in one text as soon as they are read ([`Records`]): as trees of
//! values they would take ten times that.

use super::draft::Ref;
use super::ids::Table;
use super::packed::{put_maybe, put_number, put_text, Unpack};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

/// What a load has read, beside the plan.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Every entity, in the order it was read.
    pub records: Records,
    /// SHA-256 of the one text that holds them; `None` where they come from several.
    pub digest: Option<[u8; 32]>,
    /// Is there no such text at all, not even an empty one? The node then waits to be given its configuration.
    pub is_absent: bool,
}

/// A column that refers to another entity: its name, the kind it refers to, and to which.
pub type Reference = (&'static str, Table, Option<Ref>);

/// One entity. Its `Debug` shows no value: some are secrets.
#[derive(Clone)]
pub struct Record {
    /// Its kind.
    pub table: Table,
    /// Its id.
    pub id: Uuid,
    /// Its fields in the order of their rows; null where there is nothing. Shorthands are resolved and left out.
    pub fields: Map<String, Json>,
    /// Columns that refer to others, each with the kind it refers to.
    pub references: Vec<Reference>,
    /// Is `password` the password itself, to be shown as its hash?
    pub plain: bool,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("table", &self.table).field("id", &self.id).finish_non_exhaustive()
    }
}

/// What stands in a field, packed: most of what entities say is said by their kind, their id or the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held<'r> {
    /// Nothing: null.
    Null,
    /// The entity's own id.
    Id,
    /// Text that stands in JSON as it is, between quotes.
    Text(&'r str),
    /// Any JSON.
    Json(&'r str),
    /// When it was loaded. Not in [`Records`], which nobody tells.
    Loaded,
    /// The entity at this place of the kind that the field refers to. Not in [`Records`], which have references.
    Parent(u32),
}

impl<'r> Held<'r> {
    /// A text; `None` where it needs to be escaped in JSON.
    pub fn text(text: &'r str) -> Option<Held<'r>> {
        let plain = text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\');
        plain.then_some(Held::Text(text))
    }

    /// Appends it.
    pub fn put(self, out: &mut String) {
        match self {
            Held::Null => put_number(out, 0),
            Held::Id => put_number(out, 1),
            Held::Loaded => put_number(out, 2),
            Held::Text(text) => {
                put_number(out, 3);
                put_text(out, text);
            }
            Held::Json(text) => {
                put_number(out, 4);
                put_text(out, text);
            }
            Held::Parent(place) => {
                put_number(out, 5);
                put_number(out, place.into());
            }
        }
    }

    /// Reads one that was appended.
    pub fn read(from: &mut Unpack<'r>) -> Held<'r> {
        match from.number() {
            1 => Held::Id,
            2 => Held::Loaded,
            3 => Held::Text(from.text()),
            4 => Held::Json(from.text()),
            5 => Held::Parent(from.number() as u32),
            _ => Held::Null,
        }
    }

    /// Appends what a field holds.
    fn put_value(name: &str, value: &Json, id: &Uuid, out: &mut String) {
        match value {
            Json::Null => Held::Null.put(out),
            Json::String(text) if name == "id" && *text == id.to_string() => Held::Id.put(out),
            Json::String(text) => match Held::text(text) {
                Some(held) => held.put(out),
                None => Held::Json(&value.to_string()).put(out),
            },
            _ => Held::Json(&value.to_string()).put(out),
        }
    }
}

/// Many entities, each a row and a stretch of one text. Its `Debug` shows no value.
#[derive(Clone, Default)]
pub struct Records {
    rows: Vec<Row>,
    texts: String,
    shapes: Vec<Shape>,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rows.iter().map(|row| (row.table, row.id))).finish()
    }
}

#[derive(Clone)]
struct Row {
    table: Table,
    plain: bool,
    shape: u16,
    id: Uuid,
    at: usize,
}

/// The fields and references of entities, in their order; of a kind there is one, or two.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The kind.
    pub table: Table,
    /// Names of fields.
    pub fields: Vec<String>,
    /// Columns, and what they refer to.
    pub references: Vec<(&'static str, Table)>,
}

impl Shape {
    fn fits(&self, record: &Record) -> bool {
        let columns = record.references.iter().map(|(column, table, _)| (*column, *table));
        self.table == record.table
            && self.fields.iter().eq(record.fields.keys())
            && self.references.iter().copied().eq(columns)
    }
}

/// One of [`Records`].
#[derive(Clone, Copy, Debug)]
pub struct Packed<'r> {
    /// Its kind.
    pub table: Table,
    /// Its id.
    pub id: Uuid,
    /// As [`Record::plain`].
    pub plain: bool,
    /// Which of the [shapes](Records::shapes) it has.
    pub shape: usize,
    fields: &'r [String],
    columns: &'r [(&'static str, Table)],
    text: Unpack<'r>,
}

impl Records {
    /// Packs one behind the others.
    pub fn push(&mut self, record: &Record) {
        let shape = self.shapes.iter().position(|shape| shape.fits(record)).unwrap_or_else(|| {
            let references = record.references.iter().map(|(column, table, _)| (*column, *table)).collect();
            self.shapes.push(Shape {
                table: record.table,
                fields: record.fields.keys().cloned().collect(),
                references,
            });
            self.shapes.len() - 1
        });
        let Record { table, id, plain, .. } = *record;
        self.rows.push(Row { table, plain, shape: shape as u16, id, at: self.texts.len() });
        for (_, _, reference) in &record.references {
            match reference {
                None => put_maybe(&mut self.texts, None),
                Some(Ref::Text(text)) => put_maybe(&mut self.texts, Some(text)),
                // No name is empty, so the empty one says that an id follows.
                Some(Ref::Id(id)) => {
                    put_maybe(&mut self.texts, Some(""));
                    let (high, low) = id.as_u64_pair();
                    put_number(&mut self.texts, high);
                    put_number(&mut self.texts, low);
                }
            }
        }
        for (name, value) in &record.fields {
            Held::put_value(name, value, &id, &mut self.texts);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The shapes of all.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The kind and the id of the one at a place.
    pub fn key(&self, place: usize) -> (Table, Uuid) {
        (self.rows[place].table, self.rows[place].id)
    }

    /// The one at a place, in the order they were packed.
    pub fn at(&self, place: usize) -> Packed<'_> {
        let Row { table, plain, shape, id, at } = self.rows[place];
        let Shape { fields, references: columns, .. } = &self.shapes[usize::from(shape)];
        let text = Unpack::from(self.texts.get(at..).unwrap_or_default());
        Packed { table, id, plain, shape: shape.into(), fields, columns, text }
    }

    /// All of them, unpacked.
    pub fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        (0..self.len()).map(|place| self.at(place).unpacked())
    }
}

impl<'r> Packed<'r> {
    /// What it refers to.
    pub fn references(&self) -> impl Iterator<Item = Reference> + use<'r> {
        let mut text = self.text;
        self.columns.iter().map(move |(column, table)| (*column, *table, reference(&mut text)))
    }

    /// Its fields.
    pub fn fields(&self) -> impl Iterator<Item = (&'r str, Held<'r>)> + use<'r> {
        let mut text = self.text;
        self.columns.iter().for_each(|_| drop(reference(&mut text)));
        self.fields.iter().map(move |name| (name.as_str(), Held::read(&mut text)))
    }

    /// As it was before it was packed.
    pub fn unpacked(&self) -> Record {
        let value = |held| match held {
            Held::Id => self.id.to_string().into(),
            Held::Text(text) => text.into(),
            Held::Json(text) => serde_json::from_str(text).unwrap_or_default(),
            Held::Null | Held::Loaded | Held::Parent(_) => Json::Null,
        };
        let fields = self.fields().map(|(name, held)| (name.to_owned(), value(held))).collect();
        let Packed { table, id, plain, .. } = *self;
        Record { table, id, fields, references: self.references().collect(), plain }
    }
}

fn reference(text: &mut Unpack<'_>) -> Option<Ref> {
    match text.maybe() {
        None => None,
        Some("") => Some(Ref::Id(Uuid::from_u64_pair(text.number(), text.number()))),
        Some(name) => Some(Ref::Text(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn records_are_unpacked_as_they_were() {
        let record = |n: u128, table, fields: Json, references| {
            let Json::Object(mut fields) = fields else { panic!("an object") };
            fields.insert("id".to_owned(), Uuid::from_u128(n).to_string().into());
            Record { table, id: Uuid::from_u128(n), fields, references, plain: n > 3 }
        };
        let refer = |to| vec![("consumer", Table::Consumers, to)];
        let all = [
            record(
                1,
                Table::Consumers,
                json!({"username": "alice", "tags": ["a", "\u{e4}"], "custom_id": null}),
                vec![],
            ),
            record(
                2,
                Table::Keys,
                json!({"key": "a \"quoted\"\n\\ key", "ttl": 5}),
                refer(Some(Ref::Text("alice".into()))),
            ),
            record(
                3,
                Table::Keys,
                json!({"key": "", "ttl": 5.5}),
                refer(Some(Ref::Id(Uuid::from_u128(u128::MAX - 7)))),
            ),
            record(4, Table::Keys, json!({"key": "\u{7f}\u{e4}", "ttl": null}), refer(None)),
            record(5, Table::Plugins, json!({"config": {"b": [1, {"a": null}], "a": true}}), vec![]),
        ];
        let mut records = Records::default();
        all.iter().for_each(|record| records.push(record));
        assert_eq!((records.len(), records.shapes().len()), (5, 3));
        for (held, want) in records.iter().zip(&all) {
            assert_eq!((held.table, held.id, held.plain), (want.table, want.id, want.plain));
            assert_eq!(Json::Object(held.fields).to_string(), Json::Object(want.fields.clone()).to_string());
            assert_eq!(held.references, want.references);
        }
        assert!(!format!("{records:?}").contains("alice"));
    }
}
