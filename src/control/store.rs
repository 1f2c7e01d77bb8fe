//! Entities as they were written, by kind: what the Admin API shows of a configuration. One store per configuration,
//! never changed; it is made of [`Record`]s on the thread that loads, and swapped with the plan that it belongs to.
//!
//! The plan is no source for it: tags, defaults, what is disabled and what is not served yet have no place there. Shards
//! never see it. A control plane that takes writes would keep the records, change them, link, and make the next store.

use crate::base::time::WallMs;
use crate::plan::draft::Ref;
use crate::plan::ids::Table;
use crate::plan::link::salted;
use crate::plan::record::{Record, Written};
use serde_json::{json, Map, Value};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// All entities. Its `Debug` shows no value: some are secrets.
#[derive(Default)]
pub(super) struct Store {
    kinds: BTreeMap<Table, Rows>,
    /// SHA-256 of the text they came from; `None` where there were several.
    pub(super) digest: Option<[u8; 32]>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("entities", &self.len()).finish_non_exhaustive()
    }
}

/// The entities of one kind.
#[derive(Default)]
struct Rows {
    /// By id, so that pages and exports are the same on every node.
    rows: Vec<Row>,
    ids: HashMap<Uuid, usize>,
    /// By what names them beside the id; of the same names the last.
    names: HashMap<String, usize>,
    /// Column and parent → children in order.
    children: HashMap<(&'static str, Uuid), Vec<usize>>,
}

/// One entity. As text it is a quarter of what its fields take as values, and most of what is asked for is the text.
pub(super) struct Row {
    /// Its id.
    pub(super) id: Uuid,
    /// Its fields, as an answer shows them: a JSON object.
    pub(super) json: Box<str>,
    /// Its tags.
    tags: Box<[Box<str>]>,
    /// What it refers to.
    pub(super) parents: Box<[(&'static str, Table, Uuid)]>,
}

impl Row {
    /// Its fields. O(text); for one entity, not for a list.
    pub(super) fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.json).expect("the text was written from an object")
    }

    /// Does this field hold this text?
    pub(super) fn holds(&self, field: &str, text: &str) -> bool {
        // Most do not hold it anywhere, and need not be read.
        let quoted = Value::from(text).to_string();
        self.json.contains(&quoted) && self.fields().get(field).and_then(Value::as_str) == Some(text)
    }

    /// Its tags.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|tag| &**tag)
    }
}

impl Store {
    /// Makes a store of what was read at `now`; that is when an entity was made, unless it says another time.
    ///
    /// O(entities). References that lead nowhere, which a load with faults may hold, are shown as null.
    pub(super) fn of(written: Written, now: WallMs) -> Store {
        let Written { mut records, digest } = written;
        records.sort_by_key(|record| (record.table, record.id));
        let mut kinds: BTreeMap<Table, Rows> = BTreeMap::new();
        for record in &records {
            let held = kinds.entry(record.table).or_default();
            let at = held.ids.len();
            held.ids.insert(record.id, at);
            let name = record.table.key().and_then(|column| record.fields.get(column)).and_then(Value::as_str);
            if let Some(name) = name {
                held.names.insert(name.to_owned(), at);
            }
        }
        let ids: Vec<Vec<Option<Uuid>>> = records.iter().map(|record| resolved(record, &kinds, &records)).collect();
        let mut snis = names_of_certificates(&records, &ids);
        for (record, parents) in records.into_iter().zip(ids) {
            let Some(held) = kinds.get_mut(&record.table) else { continue };
            // An id twice is a fault of the load; such a store is never shown.
            let at = held.rows.len();
            let row = row(record, &parents, &mut snis, now);
            for (column, _, parent) in &row.parents {
                held.children.entry((column, *parent)).or_default().push(at);
            }
            held.rows.push(row);
        }
        Store { kinds, digest }
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
    pub(super) fn rows(&self, table: Table) -> &[Row] {
        self.kinds.get(&table).map_or(&[], |held| &held.rows)
    }

    /// The one with this id.
    pub(super) fn by_id(&self, table: Table, id: Uuid) -> Option<&Row> {
        let held = self.kinds.get(&table)?;
        held.ids.get(&id).and_then(|at| held.rows.get(*at))
    }

    /// The one with this id or, where the text is none, of this name; a certificate also by one of its server names.
    pub(super) fn find(&self, table: Table, text: &str) -> Option<&Row> {
        if let Some(id) = as_id(text) {
            return self.by_id(table, id);
        }
        if table == Table::Certificates {
            let sni = self.find(Table::Snis, text)?;
            return sni.parents.first().and_then(|(_, _, id)| self.by_id(table, *id));
        }
        let held = self.kinds.get(&table)?;
        held.names.get(text).and_then(|at| held.rows.get(*at))
    }

    /// Those whose `column` refers to `parent`, by id.
    pub(super) fn children(&self, table: Table, column: &'static str, parent: Uuid) -> Vec<&Row> {
        let Some(held) = self.kinds.get(&table) else { return Vec::new() };
        let places = held.children.get(&(column, parent)).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|at| held.rows.get(*at)).collect()
    }

    /// Everything as one declarative text, which gives this configuration again: YAML, references by id.
    pub(super) fn export(&self) -> String {
        use std::fmt::Write;
        let mut text = String::from("_format_version: \"3.0\"\n_transform: false\n");
        for (table, held) in &self.kinds {
            if held.rows.is_empty() {
                continue;
            }
            // Writing to a string cannot fail. JSON is YAML's flow style, so only the outer layers are written as blocks.
            let _ = writeln!(text, "{}:", table.name());
            for row in &held.rows {
                let mut mark = '-';
                for (name, value) in row.fields() {
                    let _ = match row.parents.iter().find(|(column, ..)| *column == name) {
                        Some((_, _, parent)) => writeln!(text, "{mark} {name}: \"{parent}\""),
                        // The names of a certificate are entities of their own.
                        None if *table == Table::Certificates && name == "snis" => continue,
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

/// What the references of a record lead to, in their order.
fn resolved(record: &Record, kinds: &BTreeMap<Table, Rows>, records: &[Record]) -> Vec<Option<Uuid>> {
    let of = |(_, table, reference): &(&'static str, Table, Option<Ref>)| {
        let held = kinds.get(table)?;
        let at_first = records.partition_point(|other| other.table < *table);
        match reference.as_ref()? {
            Ref::Id(id) => held.ids.contains_key(id).then_some(*id),
            Ref::Text(text) => as_id(text).filter(|id| held.ids.contains_key(id)).or_else(|| {
                let at = held.names.get(text.as_str())?;
                records.get(at_first + at).map(|record| record.id)
            }),
        }
    };
    record.references.iter().map(of).collect()
}

/// Certificate → the names that lead to it, which its answers show.
fn names_of_certificates(records: &[Record], ids: &[Vec<Option<Uuid>>]) -> HashMap<Uuid, Vec<String>> {
    let mut names: HashMap<Uuid, Vec<String>> = HashMap::new();
    for (record, parents) in records.iter().zip(ids).filter(|(record, _)| record.table == Table::Snis) {
        let name = record.fields.get("name").and_then(Value::as_str);
        if let (Some(name), Some(Some(certificate))) = (name, parents.first()) {
            names.entry(*certificate).or_default().push(name.to_owned());
        }
    }
    names.values_mut().for_each(|names| names.sort());
    names
}

fn row(record: Record, parents: &[Option<Uuid>], snis: &mut HashMap<Uuid, Vec<String>>, now: WallMs) -> Row {
    let Record { table, id, mut fields, references, plain } = record;
    let mut leads_to = Vec::new();
    for ((column, parent_table, _), parent) in references.into_iter().zip(parents) {
        fields.insert(column.to_owned(), parent.map_or(Value::Null, |id| json!({ "id": id.to_string() })));
        leads_to.extend(parent.map(|parent| (column, parent_table, parent)));
    }
    for time in ["created_at", "updated_at"] {
        if fields.get(time).is_some_and(Value::is_null) {
            // Targets are the one kind whose time has fractions: their order was once taken from it.
            let value = if table == Table::Targets { json!(now.0 as f64 / 1000.0) } else { json!(now.0 / 1000) };
            fields.insert(time.to_owned(), value);
        }
    }
    let owner = leads_to.iter().find(|(column, ..)| *column == "consumer").map(|(_, _, id)| *id);
    if let (true, Some(owner)) = (plain, owner) {
        // A reference stays one: what it stands for is not known here, and must not be.
        let password = fields.get("password").and_then(Value::as_str).filter(|text| !text.starts_with("{vault://"));
        if let Some(hash) = password.map(|password| salted(password, owner)) {
            fields.insert("password".to_owned(), hash.into());
        }
    }
    if table == Table::Certificates {
        fields.insert("snis".to_owned(), snis.remove(&id).unwrap_or_default().into());
    }
    let tags = fields.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let tags = tags.map(Box::from).collect();
    Row { id, tags, json: Value::Object(fields).to_string().into(), parents: leads_to.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(table: Table, id: u128, fields: Value, references: Vec<(&'static str, Table, Option<Ref>)>) -> Record {
        let mut map = Map::new();
        map.insert("id".to_owned(), Uuid::from_u128(id).to_string().into());
        map.insert("created_at".to_owned(), Value::Null);
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        map.extend(fields);
        Record { table, id: Uuid::from_u128(id), fields: map, references, plain: table == Table::Basics }
    }

    fn store() -> Store {
        let alice = Some(Ref::Text("alice".to_owned()));
        let records = vec![
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
        Store::of(Written { records, digest: None }, WallMs(5_250))
    }

    #[test]
    fn references_are_resolved_and_passwords_hashed() {
        let store = store();
        let alice = store.find(Table::Consumers, "alice").unwrap();
        assert_eq!(alice.id, Uuid::from_u128(2));
        assert_eq!(store.rows(Table::Consumers)[0].id, alice.id, "rows are not in the order of ids");
        let basic = store.children(Table::Basics, "consumer", alice.id)[0];
        assert_eq!(basic.fields()["consumer"]["id"], alice.id.to_string());
        assert_eq!(basic.fields()["created_at"], 5);
        assert!(basic.holds("password", &salted("p", alice.id)) && !basic.holds("username", "p"));
        assert_eq!(store.find(Table::Certificates, "a.test").unwrap().fields()["snis"], json!(["a.test"]));
        assert!(!format!("{store:?}").contains("alice"));
    }

    #[test]
    fn an_export_has_references_as_ids_and_no_names_of_certificates() {
        let text = store().export();
        assert!(text.starts_with("_format_version: \"3.0\"\n_transform: false\n"), "{text}");
        assert!(text.contains("  certificate: \"00000000-0000-0000-0000-000000000003\"\n"), "{text}");
        assert!(!text.contains("snis: [") && text.contains("\nsnis:\n- id: "), "{text}");
    }
}
