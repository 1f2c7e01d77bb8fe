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

/// The entities of one kind. There may be a hundred thousand, and seldom is one asked for: so everything is found by halving,
/// in lists of places.
#[derive(Default)]
struct Rows {
    /// By id, so that pages and exports are the same on every node.
    rows: Vec<Row>,
    /// Places of those that have a name beside the id, by that name; of the same names the last counts.
    names: Vec<u32>,
    /// Places, and which of their parents, by column, parent and place.
    children: Vec<(u32, u32)>,
}

impl Rows {
    fn parent(&self, &(at, which): &(u32, u32)) -> (&'static str, Uuid) {
        let (column, _, id) = self.rows[at as usize].parents[which as usize];
        (column, id)
    }
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
        let mut names: Names = HashMap::new();
        let mut kinds: BTreeMap<Table, Rows> = BTreeMap::new();
        for record in &records {
            // Places count from the first of the kind.
            let held = names.entry(record.table).or_default();
            let at = held.records;
            held.records += 1;
            let name = record.table.key().and_then(|column| record.fields.get(column)).and_then(Value::as_str);
            if let Some(name) = name {
                held.of.insert(name.to_owned(), at);
            }
        }
        let ids: Vec<Vec<Option<Uuid>>> = records.iter().map(|record| resolved(record, &names, &records)).collect();
        let mut snis = names_of_certificates(&records, &ids);
        // A copy of each, and all of them freed at the end: what is freed here would be taken again for what stays, and that
        // would keep the pages of the whole text.
        for (record, parents) in records.iter().zip(ids) {
            let held = kinds.entry(record.table).or_default();
            // An id twice is a fault of the load; such a store is never shown.
            let at = held.rows.len() as u32;
            let row = row(record.clone(), &parents, &mut snis, now);
            held.children.extend((0..row.parents.len()).map(|which| (at, which as u32)));
            held.rows.push(row);
        }
        for (table, held) in &mut kinds {
            let mut named: Vec<(String, u32)> = names.remove(table).unwrap_or_default().of.into_iter().collect();
            named.sort_unstable();
            held.names = named.into_iter().map(|(_, at)| at).collect();
            held.rows.shrink_to_fit();
            let mut children = std::mem::take(&mut held.children);
            children.sort_unstable_by_key(|child| (held.parent(child), *child));
            children.shrink_to_fit();
            held.children = children;
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
        held.rows.binary_search_by_key(&id, |row| row.id).ok().map(|at| &held.rows[at])
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
        let column = table.key()?;
        let name = |at: &u32| held.rows[*at as usize].fields().get(column).and_then(Value::as_str).map(str::to_owned);
        let found = held.names.binary_search_by(|at| name(at).as_deref().cmp(&Some(text))).ok()?;
        held.rows.get(held.names[found] as usize)
    }

    /// Those whose `column` refers to `parent`, by id.
    pub(super) fn children(&self, table: Table, column: &'static str, parent: Uuid) -> Vec<&Row> {
        let Some(held) = self.kinds.get(&table) else { return Vec::new() };
        let from = held.children.partition_point(|child| held.parent(child) < (column, parent));
        let of_it = held.children[from..].iter().take_while(|child| held.parent(child) == (column, parent));
        of_it.map(|(at, _)| &held.rows[*at as usize]).collect()
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

/// Names while a store is made: of each kind how many records there are, and name → place among them.
type Names = HashMap<Table, Named>;

/// See [`Names`].
#[derive(Default)]
struct Named {
    records: u32,
    of: HashMap<String, u32>,
}

/// What the references of a record lead to, in their order.
fn resolved(record: &Record, names: &Names, records: &[Record]) -> Vec<Option<Uuid>> {
    let of = |(_, table, reference): &(&'static str, Table, Option<Ref>)| {
        let there_is =
            |id: &Uuid| records.binary_search_by_key(&(*table, *id), |other| (other.table, other.id)).is_ok();
        match reference.as_ref()? {
            Ref::Id(id) => there_is(id).then_some(*id),
            Ref::Text(text) => as_id(text).filter(there_is).or_else(|| {
                let at = names.get(table)?.of.get(text.as_str())?;
                let at_first = records.partition_point(|other| other.table < *table);
                records.get(at_first + *at as usize).map(|record| record.id)
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
