//! Entities as they were written, by kind: what the Admin API shows of a configuration. One store per configuration,
//! never changed; it is made of [`Records`] on the thread that loads, and swapped with the plan that it belongs to.
//!
//! The plan is no source for it: tags, defaults, what is disabled and what is not served yet have no place there. Shards
//! never see it. A control plane that takes writes would keep the records, change them, link, and make the next store.
//!
//! There may be a hundred thousand, and seldom is one asked for: they lie packed, are found by halving, and become JSON when
//! they are shown. A consumer takes some 45 bytes here, its key 75.

mod row;

use crate::base::time::WallMs;
use crate::plan::draft::Ref;
use crate::plan::ids::Table;
use crate::plan::packed::{place, put_number};
use crate::plan::record::{Records, Written};
pub(super) use row::Row;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use uuid::Uuid;

/// All entities. Its `Debug` shows no value: some are secrets.
#[derive(Default)]
pub(super) struct Store {
    kinds: BTreeMap<Table, Rows>,
    /// Names of the fields that entities have; a row says which of these lists its values are of.
    fields: Vec<Vec<String>>,
    /// When they were loaded.
    loaded: WallMs,
    /// SHA-256 of the text they came from; `None` where there were several.
    pub(super) digest: Option<[u8; 32]>,
    /// Is there no text that they could have come from?
    pub(super) is_absent: bool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("entities", &self.len()).finish_non_exhaustive()
    }
}

/// The entities of one kind.
#[derive(Default)]
struct Rows {
    /// By id, so that pages and exports are the same on every node; and where in `texts` each begins.
    rows: Vec<(Uuid, u32)>,
    /// Of each its list of fields, and what they hold.
    texts: String,
    /// Places of those that have a name beside the id, by that name; of the same names the last counts.
    names: Vec<u32>,
    /// What it may refer to.
    columns: Vec<Column>,
}

const _: () = assert!(size_of::<(Uuid, u32)>() == 20, "a row is kept as short as it can be");

/// A column that refers to another kind.
struct Column {
    name: &'static str,
    table: Table,
    /// Places of those that refer to something, by the place of that and their own.
    children: Vec<u32>,
}

impl Store {
    /// Makes a store of what was read at `now`; that is when an entity was made, unless it says another time.
    ///
    /// O(entities). References that lead nowhere, which a load with faults may hold, are shown as null.
    pub(super) fn of(written: Written, now: WallMs) -> Store {
        let Written { records, digest, is_absent } = written;
        let index = Index::of(&records);
        let mut snis = index.names_of_certificates();
        let fields: Vec<Vec<String>> = records.shapes().iter().map(row::fields).collect();
        let mut store = Store { kinds: BTreeMap::new(), fields, loaded: now, digest, is_absent };
        for (&table, range) in &index.kinds {
            let mut held = Rows::default();
            // (place of the parent, place) of each column.
            let mut children: Vec<Vec<(u32, u32)>> = Vec::new();
            for (at, &record) in index.order[range.clone()].iter().enumerate() {
                let record = records.at(record as usize);
                held.rows.push((record.id, place(&held.texts)));
                put_number(&mut held.texts, record.shape as u64);
                let leads = |(column, table, of)| (column, table, index.find(table, of));
                let parents: Vec<row::Leads> = record.references().map(leads).collect();
                for &(name, table, parent) in &parents {
                    let column = held.columns.iter().position(|held| held.name == name).unwrap_or_else(|| {
                        held.columns.push(Column { name, table, children: Vec::new() });
                        children.push(Vec::new());
                        held.columns.len() - 1
                    });
                    children[column].extend(parent.map(|parent| (parent, at as u32)));
                }
                let snis = match table {
                    Table::Certificates => snis.remove(&record.id).unwrap_or_default(),
                    _ => Vec::new(),
                };
                row::put(&record, &store.fields[record.shape], &parents, snis, &index, &mut held.texts);
            }
            for (column, mut children) in held.columns.iter_mut().zip(children) {
                children.sort_unstable();
                column.children = children.into_iter().map(|(_, at)| at).collect();
            }
            held.names = index.names.get(&table).into_iter().flatten().map(|(_, at)| *at).collect();
            held.rows.shrink_to_fit();
            held.texts.shrink_to_fit();
            store.kinds.insert(table, held);
        }
        store
    }

    /// How many there are of all kinds.
    pub(super) fn len(&self) -> usize {
        self.kinds.values().map(|held| held.rows.len()).sum()
    }

    /// The kinds of which there are any.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Table> + '_ {
        self.kinds.keys().copied()
    }

    /// Those of a kind, by id.
    pub(super) fn rows(&self, table: Table) -> impl Iterator<Item = Row<'_>> {
        let all = self.kinds.get(&table).map_or(0, |held| held.rows.len());
        (0..all).filter_map(move |at| self.row(table, at as u32))
    }

    fn row(&self, table: Table, at: u32) -> Option<Row<'_>> {
        let held = self.kinds.get(&table)?;
        held.rows.get(at as usize).map(|(id, begin)| Row::new(self, table, held, *id, *begin))
    }

    fn place(&self, table: Table, id: Uuid) -> Option<u32> {
        let rows = &self.kinds.get(&table)?.rows;
        rows.binary_search_by_key(&id, |(held, _)| *held).ok().map(|at| at as u32)
    }

    /// The one with this id.
    pub(super) fn by_id(&self, table: Table, id: Uuid) -> Option<Row<'_>> {
        self.row(table, self.place(table, id)?)
    }

    /// The one with this id or, where the text is none, of this name; a certificate also by one of its server names.
    pub(super) fn find(&self, table: Table, text: &str) -> Option<Row<'_>> {
        if let Some(id) = as_id(text) {
            return self.by_id(table, id);
        }
        if table == Table::Certificates {
            let sni = self.find(Table::Snis, text)?;
            return self.by_id(table, sni.parent("certificate")?);
        }
        let names = &self.kinds.get(&table)?.names;
        let column = table.key()?;
        let name = |at: u32| self.row(table, at).and_then(|row| row.text(column));
        let found = names.binary_search_by(|at| name(*at).as_deref().cmp(&Some(text))).ok()?;
        self.row(table, names[found])
    }

    /// Those whose `column` refers to `parent`, by id.
    pub(super) fn children(&self, table: Table, column: &str, parent: Uuid) -> Vec<Row<'_>> {
        let column = self.kinds.get(&table).and_then(|held| held.columns.iter().find(|held| held.name == column));
        let Some(Column { name, table: to, children }) = column else { return Vec::new() };
        let Some(parent) = self.place(*to, parent) else { return Vec::new() };
        let parent_of = |at: u32| self.row(table, at).and_then(|row| row.parent_place(name));
        let from = children.partition_point(|at| parent_of(*at) < Some(parent));
        let of_it = children[from..].iter().take_while(|at| parent_of(**at) == Some(parent));
        of_it.filter_map(|at| self.row(table, *at)).collect()
    }

    /// Everything as one declarative text, which gives this configuration again: YAML, references by id.
    pub(super) fn export(&self) -> String {
        use std::fmt::Write;
        let mut text = String::from("_format_version: \"3.0\"\n_transform: false\n");
        for table in self.kinds() {
            // Writing to a string cannot fail. JSON is YAML's flow style, so only the outer layers are written as blocks.
            let _ = writeln!(text, "{}:", table.name());
            for row in self.rows(table) {
                let mut mark = '-';
                for (name, value) in row.fields() {
                    let _ = match row.parent(&name) {
                        Some(parent) => writeln!(text, "{mark} {name}: \"{parent}\""),
                        // The names of a certificate are entities of their own.
                        None if table == Table::Certificates && name == "snis" => continue,
                        None => writeln!(text, "{mark} {name}: {value}"),
                    };
                    mark = ' ';
                }
            }
        }
        text
    }
}

/// The text as an id, in the one form that ids are written in.
pub(super) fn as_id(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// Where records are, while a store is made.
struct Index<'r> {
    records: &'r Records,
    /// Places of records, by kind and id.
    order: Vec<u32>,
    /// Kind → where in `order` its own begin and end. Places of a kind count from there.
    kinds: BTreeMap<Table, Range<usize>>,
    /// Kind → names and places of a kind, by name; each name once.
    names: HashMap<Table, Vec<(Cow<'r, str>, u32)>>,
}

impl<'r> Index<'r> {
    fn of(records: &'r Records) -> Index<'r> {
        let mut order: Vec<u32> = (0..records.len() as u32).collect();
        // An id twice is a fault of the load; such a store is never shown.
        order.sort_by_key(|at| records.key(*at as usize));
        let mut kinds: BTreeMap<Table, Range<usize>> = BTreeMap::new();
        let mut names: HashMap<Table, Vec<(Cow<'r, str>, u32)>> = HashMap::new();
        for (at, record) in order.iter().enumerate() {
            let record = records.at(*record as usize);
            let range = kinds.entry(record.table).or_insert(at..at);
            range.end = at + 1;
            let own = (at - range.start) as u32;
            let name = record.table.key().and_then(|column| row::text(record.fields(), column));
            if let Some(name) = name {
                names.entry(record.table).or_default().push((name, own));
            }
        }
        for names in names.values_mut() {
            // Of the same names the last counts.
            names.sort_by(|(a, at_a), (b, at_b)| a.cmp(b).then(at_b.cmp(at_a)));
            names.dedup_by(|(next, _), (held, _)| next == held);
        }
        Index { records, order, kinds, names }
    }

    /// The place of what a reference leads to.
    fn find(&self, table: Table, reference: Option<Ref>) -> Option<u32> {
        match reference? {
            Ref::Id(id) => self.by_id(table, id),
            Ref::Text(text) => as_id(&text).and_then(|id| self.by_id(table, id)).or_else(|| {
                let names = self.names.get(&table)?;
                let found = names.binary_search_by(|(name, _)| (**name).cmp(text.as_str())).ok()?;
                Some(names[found].1)
            }),
        }
    }

    fn by_id(&self, table: Table, id: Uuid) -> Option<u32> {
        let own = &self.order[self.kinds.get(&table)?.clone()];
        own.binary_search_by_key(&id, |at| self.records.key(*at as usize).1).ok().map(|at| at as u32)
    }

    /// The id of the one at a place of its kind.
    fn id(&self, table: Table, place: u32) -> Option<Uuid> {
        let own = &self.order[self.kinds.get(&table)?.clone()];
        own.get(place as usize).map(|at| self.records.key(*at as usize).1)
    }

    /// Certificate → the names that lead to it, which its answers show.
    fn names_of_certificates(&self) -> HashMap<Uuid, Vec<String>> {
        let mut names: HashMap<Uuid, Vec<String>> = HashMap::new();
        let snis = self.kinds.get(&Table::Snis).cloned().unwrap_or_default();
        for at in &self.order[snis] {
            let record = self.records.at(*at as usize);
            let to = record.references().next().and_then(|(_, table, of)| self.id(table, self.find(table, of)?));
            if let (Some(name), Some(certificate)) = (row::text(record.fields(), "name"), to) {
                names.entry(certificate).or_default().push(name.into_owned());
            }
        }
        names.values_mut().for_each(|names| names.sort());
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::link::salted;
    use crate::plan::record::Record;
    use serde_json::{json, Value};

    fn record(table: Table, id: u128, fields: Value, references: Vec<(&'static str, Table, Option<Ref>)>) -> Record {
        let mut map = serde_json::Map::new();
        map.insert("id".to_owned(), Uuid::from_u128(id).to_string().into());
        map.insert("created_at".to_owned(), Value::Null);
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        map.extend(fields);
        Record { table, id: Uuid::from_u128(id), fields: map, references, plain: table == Table::Basics }
    }

    fn store() -> Store {
        let alice = Some(Ref::Text("alice".to_owned()));
        let all = [
            record(Table::Consumers, 9, json!({"username": "bob"}), vec![]),
            record(Table::Consumers, 2, json!({"username": "alice"}), vec![]),
            record(
                Table::Basics,
                1,
                json!({"username": "a", "password": "p"}),
                vec![("consumer", Table::Consumers, alice)],
            ),
            record(Table::Certificates, 3, json!({}), vec![]),
            record(
                Table::Snis,
                4,
                json!({"name": "a.test"}),
                vec![("certificate", Table::Certificates, Some(Ref::Id(Uuid::from_u128(3))))],
            ),
        ];
        let mut records = Records::default();
        all.iter().for_each(|record| records.push(record));
        Store::of(Written { records, ..Written::default() }, WallMs(5_250))
    }

    #[test]
    fn references_are_resolved_and_passwords_hashed() {
        let store = store();
        let alice = store.find(Table::Consumers, "alice").unwrap();
        assert_eq!(alice.id, Uuid::from_u128(2));
        assert_eq!(store.rows(Table::Consumers).next().unwrap().id, alice.id, "rows are not in the order of ids");
        let basic = store.children(Table::Basics, "consumer", alice.id)[0];
        assert_eq!(basic.fields()["consumer"]["id"], alice.id.to_string());
        assert_eq!(basic.fields()["created_at"], 5);
        assert!(basic.holds("password", &salted("p", alice.id)) && !basic.holds("username", "p"));
        assert_eq!(store.find(Table::Certificates, "a.test").unwrap().fields()["snis"], json!(["a.test"]));
        assert!(!format!("{store:?}").contains("alice"));
    }

    /// One with a name of fifteen characters and an API key of 32. What it is served by is as much again, see
    /// `tests/steady.rs`.
    #[test]
    fn a_consumer_with_a_key_takes_at_most_140_bytes_to_be_shown() {
        const CONSUMERS: usize = 5_000;
        let mut records = Records::default();
        for n in 0..CONSUMERS {
            let key = u128::MAX - n as u128;
            let consumer =
                json!({"updated_at": null, "username": format!("consumer-{n:06}"), "custom_id": null, "tags": null});
            records.push(&record(Table::Consumers, n as u128, consumer, vec![]));
            let owner = vec![("consumer", Table::Consumers, Some(Ref::Id(Uuid::from_u128(n as u128))))];
            let key_fields = json!({"key": format!("k{n:031}"), "ttl": null, "tags": null});
            records.push(&record(Table::Keys, key, key_fields, owner));
        }
        let store = Store::of(Written { records, ..Written::default() }, WallMs(5_250));
        let bytes = |held: &Rows| {
            let children: usize = held.columns.iter().map(|column| column.children.capacity() * 4).sum();
            held.rows.capacity() * 20 + held.texts.capacity() + held.names.capacity() * 4 + children
        };
        let each = store.kinds.values().map(bytes).sum::<usize>() / CONSUMERS;
        assert!(each <= 140, "{each} bytes");
        let last = store.find(Table::Consumers, "consumer-004999").unwrap();
        assert_eq!(store.children(Table::Keys, "consumer", last.id)[0].fields()["key"], format!("k{:031}", 4_999));
    }

    #[test]
    fn an_export_has_references_as_ids_and_no_names_of_certificates() {
        let text = store().export();
        assert!(text.starts_with("_format_version: \"3.0\"\n_transform: false\n"), "{text}");
        assert!(text.contains("  certificate: \"00000000-0000-0000-0000-000000000003\"\n"), "{text}");
        assert!(!text.contains("snis: [") && text.contains("\nsnis:\n- id: "), "{text}");
    }
}
