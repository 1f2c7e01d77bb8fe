//! Groups of consumers that plugins may be for, as the enterprise edition has them, and who is in them: said by the group, by
//! the consumer, or in a list of its own.

use super::{join, Entity, Parent, Reader};
use crate::config::doc::{Key, Node, Value};
use crate::plan::draft::{ConsumerGroupDraft, MemberDraft};
use crate::plan::ids::Table;

pub(super) fn group(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let Some(name) = entity.owned("name") else { return };
    reader.draft.consumer_groups.push(ConsumerGroupDraft { common: entity.common, name });
}

pub(super) fn member(reader: &mut Reader<'_>, mut entity: Entity<'_>) {
    for column in ["consumer", "consumer_group"] {
        if entity.node.get(column).is_none_or(Node::is_null) && !entity.refers(column) {
            reader.report.fault(&entity.common.at, entity.path(column), "required field missing", "");
        }
    }
    let (consumer, group) = (entity.take("consumer"), entity.take("consumer_group"));
    if let (Some(consumer), Some(group)) = (consumer, group) {
        reader.draft.members.push(MemberDraft { common: entity.common, consumer, group });
    }
}

/// A list that is nested in one side and names the other: of the kind it is nested in, its key, the column that it says
/// more of, and the keys that an element may be named by.
pub(super) struct Named {
    table: Table,
    pub(super) key: &'static str,
    column: &'static str,
    pub(super) names: [&'static str; 2],
}

const NAMED: [Named; 2] = [
    Named { table: Table::Consumers, key: "groups", column: "consumer_group", names: ["name", "id"] },
    Named { table: Table::ConsumerGroups, key: "consumers", column: "consumer", names: ["username", "id"] },
];

/// The list of members that an entity of this kind may hold.
pub(super) fn named(table: Table) -> Option<&'static Named> {
    NAMED.iter().find(|named| named.table == table)
}

impl Reader<'_> {
    /// Reads such a list: each element becomes an entity of its own, between `parent` and what it names.
    pub(super) fn members(&mut self, named: &Named, list: &Node, path: &str, parent: Parent) {
        let Some(noun) = super::fields::noun(Table::Members.name()) else { return };
        let nodes = match &list.value {
            Value::Null => return,
            Value::Seq(nodes) => nodes,
            _ => return self.report.fault(&list.span, path, "expected an array", ""),
        };
        for (ix, node) in nodes.iter().enumerate() {
            let path = format!("{path}[{ix}]");
            let name = match &node.value {
                Value::Str(_) => Some(node),
                _ => named.names.iter().find_map(|name| node.get(name).filter(|node| !node.is_null())),
            };
            let Some(name) = name else {
                let hint = format!("write {}, or id", named.names[0]);
                self.report.fault(&node.span, join(&path, named.names[0]), "required field missing", hint);
                continue;
            };
            let key = Key { text: named.column.to_owned(), span: name.span.clone() };
            let entry = Node::new(Value::Map(vec![(key, name.clone())]), node.span.clone());
            self.entity(noun, &entry, path, Some(parent));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn editors_know_the_lists_of_members() {
        let schema = crate::config::schema(&[]);
        for (noun, list, name) in [("consumers", "groups", "name"), ("consumer_groups", "consumers", "username")] {
            let list = &schema["$defs"][noun]["properties"][list];
            assert_eq!(list["items"]["anyOf"][1]["properties"][name]["type"], "string", "{noun}");
        }
    }
}
