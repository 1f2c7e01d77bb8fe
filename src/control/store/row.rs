//! One entity of a store: how it is packed, and what is read of it.

use super::{Index, Rows, Store};
use crate::base::time::WallMs;
use crate::plan::ids::Table;
use crate::plan::link::salted;
use crate::plan::packed::Unpack;
use crate::plan::record::{Held, Packed, Shape};
use serde_json::{json, Map, Value};
use std::borrow::Cow;
use uuid::Uuid;

/// The field of certificates that nobody writes: the names that lead to it.
const SNIS: &str = "snis";

/// Fields of entities of this shape, in the order they are shown: references that have no field of their own come last.
pub(super) fn fields(shape: &Shape) -> Vec<String> {
    let mut fields = shape.fields.clone();
    let snis = (shape.table == Table::Certificates).then_some(SNIS);
    for name in shape.references.iter().map(|(column, _)| *column).chain(snis) {
        if !fields.iter().any(|field| field == name) {
            fields.push(name.to_owned());
        }
    }
    fields
}

/// A column, the kind it refers to, and the place there of what it leads to.
pub(super) type Leads = (&'static str, Table, Option<u32>);

/// Appends what the [`fields`] of a record hold; `shown` are its names. `snis` are those of a certificate.
pub(super) fn put(
    record: &Packed<'_>,
    shown: &[String],
    leads: &[Leads],
    snis: Vec<String>,
    index: &Index<'_>,
    out: &mut String,
) {
    let mut written = record.fields();
    for name in shown {
        // What is shown is what was written, and then what was not.
        let held = written.next().map_or(Held::Null, |(_, held)| held);
        if let Some((_, _, place)) = leads.iter().find(|(column, ..)| column == name) {
            place.map_or(Held::Null, Held::Parent).put(out);
            continue;
        }
        match (name.as_str(), held) {
            ("created_at" | "updated_at", Held::Null) => Held::Loaded.put(out),
            ("password", _) if record.plain => match hash(held, leads, index).as_deref().and_then(Held::text) {
                Some(hash) => hash.put(out),
                None => held.put(out),
            },
            (SNIS, _) if record.table == Table::Certificates => Held::Json(&json!(snis).to_string()).put(out),
            _ => held.put(out),
        }
    }
}

/// What is shown of a password. A reference stays one: what it stands for is not known here, and must not be.
fn hash(password: Held<'_>, leads: &[Leads], index: &Index<'_>) -> Option<String> {
    let password = as_text(password).filter(|text| !text.starts_with("{vault://"))?;
    let (_, table, place) = leads.iter().find(|(column, ..)| *column == "consumer")?;
    Some(salted(&password, index.id(*table, (*place)?)?))
}

/// The text of a field, where it holds one.
pub(super) fn text<'r>(mut fields: impl Iterator<Item = (&'r str, Held<'r>)>, name: &str) -> Option<Cow<'r, str>> {
    fields.find(|(field, _)| *field == name).and_then(|(_, held)| as_text(held))
}

fn as_text(held: Held<'_>) -> Option<Cow<'_, str>> {
    match held {
        Held::Text(text) => Some(Cow::Borrowed(text)),
        Held::Json(json) => serde_json::from_str(json).ok().map(Cow::Owned),
        Held::Null | Held::Id | Held::Loaded | Held::Parent(_) => None,
    }
}

/// One entity.
#[derive(Clone, Copy)]
pub(in crate::control) struct Row<'s> {
    /// Its id.
    pub(in crate::control) id: Uuid,
    table: Table,
    store: &'s Store,
    rows: &'s Rows,
    names: &'s [String],
    values: Unpack<'s>,
}

impl<'s> Row<'s> {
    /// The one whose text begins at a place.
    pub(super) fn new(store: &'s Store, table: Table, rows: &'s Rows, id: Uuid, begin: u32) -> Row<'s> {
        let mut values = Unpack::at(&rows.texts, begin);
        let names = store.fields.get(values.number() as usize).map_or(&[][..], Vec::as_slice);
        Row { id, table, store, rows, names, values }
    }

    fn held(&self) -> impl Iterator<Item = (&'s str, Held<'s>)> + use<'s> {
        let mut values = self.values;
        self.names.iter().map(move |name| (name.as_str(), Held::read(&mut values)))
    }

    /// Its fields, as an answer shows them: a JSON object.
    pub(in crate::control) fn json(&self) -> String {
        let mut out = String::with_capacity(256);
        for (name, held) in self.held() {
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push('"');
            out.push_str(name);
            out.push_str("\":");
            self.put_json(name, held, &mut out);
        }
        out.push('}');
        out
    }

    fn put_json(&self, name: &str, held: Held<'_>, out: &mut String) {
        let quote = |text: &str, out: &mut String| {
            out.push('"');
            out.push_str(text);
            out.push('"');
        };
        match held {
            Held::Null => out.push_str("null"),
            Held::Id => quote(self.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()), out),
            Held::Text(text) => quote(text, out),
            Held::Json(json) => out.push_str(json),
            Held::Loaded => out.push_str(&self.loaded().to_string()),
            Held::Parent(place) => match self.id_at(name, place) {
                None => out.push_str("null"),
                Some(id) => {
                    out.push_str("{\"id\":");
                    quote(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()), out);
                    out.push('}');
                }
            },
        }
    }

    /// Targets are the one kind whose time has fractions: their order was once taken from it.
    fn loaded(&self) -> Value {
        let WallMs(now) = self.store.loaded;
        match self.table {
            Table::Targets => json!(now as f64 / 1000.0),
            _ => json!(now / 1000),
        }
    }

    /// Its fields as values. O(text); for one entity, not for a list.
    pub(in crate::control) fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.json()).expect("the text was written as an object")
    }

    /// The text of a field.
    pub(super) fn text(&self, field: &str) -> Option<Cow<'s, str>> {
        text(self.held(), field)
    }

    /// Does this field hold this text?
    pub(in crate::control) fn holds(&self, field: &str, text: &str) -> bool {
        self.text(field).is_some_and(|held| held == text)
    }

    /// Its tags.
    pub(in crate::control) fn tags(&self) -> Vec<Cow<'s, str>> {
        match self.held().find(|(name, _)| *name == "tags") {
            Some((_, Held::Json(json))) => serde_json::from_str(json).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// What a column of it refers to.
    pub(in crate::control) fn parent(&self, column: &str) -> Option<Uuid> {
        self.parent_place(column).and_then(|place| self.id_at(column, place))
    }

    /// The place of that among its kind.
    pub(super) fn parent_place(&self, column: &str) -> Option<u32> {
        match self.held().find(|(name, _)| *name == column) {
            Some((_, Held::Parent(place))) => Some(place),
            _ => None,
        }
    }

    fn id_at(&self, column: &str, place: u32) -> Option<Uuid> {
        let column = self.rows.columns.iter().find(|held| held.name == column)?;
        let (id, _) = self.store.kinds.get(&column.table)?.rows.get(place as usize)?;
        Some(*id)
    }
}
