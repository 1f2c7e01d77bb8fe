//! Which path is which entity: `/routes/r/plugins` and its like, from one row per kind and what refers to what.

use crate::config::Shape;
use crate::plan::ids::Table;

/// How a kind is called in paths.
#[derive(Debug)]
pub(super) struct Kind {
    /// The kind.
    pub(super) table: Table,
    /// Its collection; `None` where it stands under its parent only.
    pub(super) flat: Option<&'static str>,
    /// Its collection under what it refers to.
    pub(super) nested: &'static str,
}

/// Every kind that has paths.
pub(super) const KINDS: &[Kind] = &[
    kind(Table::Services, "services"),
    kind(Table::Routes, "routes"),
    kind(Table::Consumers, "consumers"),
    kind(Table::Plugins, "plugins"),
    kind(Table::Upstreams, "upstreams"),
    Kind { table: Table::Targets, flat: None, nested: "targets" },
    kind(Table::Certificates, "certificates"),
    kind(Table::Snis, "snis"),
    kind(Table::Authorities, "ca_certificates"),
    kind(Table::Vaults, "vaults"),
    kind(Table::KeySets, "key-sets"),
    kind(Table::SetKeys, "keys"),
    Kind { table: Table::Keys, flat: Some("key-auths"), nested: "key-auth" },
    Kind { table: Table::Jwts, flat: Some("jwts"), nested: "jwt" },
    Kind { table: Table::Basics, flat: Some("basic-auths"), nested: "basic-auth" },
    Kind { table: Table::Hmacs, flat: Some("hmac-auths"), nested: "hmac-auth" },
    Kind { table: Table::Subjects, flat: Some("mtls-auths"), nested: "mtls-auth" },
    kind(Table::Groups, "acls"),
    kind(Table::ConsumerGroups, "consumer_groups"),
];

const fn kind(table: Table, name: &'static str) -> Kind {
    Kind { table, flat: Some(name), nested: name }
}

/// The row of a kind.
pub(super) fn of(table: Table) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.table == table)
}

/// What a path of entities leads to. Texts are as in the path, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'p> {
    /// `/routes`
    List(Table),
    /// `/routes/r`
    Item(Table, &'p str),
    /// `/services/s/routes`: parent, its key, child, the child's column.
    Under(Table, &'p str, Table, &'static str),
    /// `/services/s/routes/r`: as `Under`, and the child's key.
    ItemUnder(Table, &'p str, Table, &'static str, &'p str),
    /// `/consumer_groups/g/consumers`: one side of a membership, its key, its column, the other side's column and kind.
    Members(Table, &'p str, &'static str, &'static str, Table),
    /// `/routes/r/service`: child, its key, column, parent.
    Parent(Table, &'p str, &'static str, Table),
}

impl Place<'_> {
    /// The methods it has, sorted.
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Place::List(_) | Place::Under(..) => "GET, HEAD, OPTIONS, POST",
            // Who is in a group is changed with the whole configuration.
            Place::Members(..) => "GET, HEAD, OPTIONS",
            Place::Item(..) | Place::ItemUnder(..) => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
            // What is a parent is not taken away by way of its child.
            Place::Parent(..) => "GET, HEAD, OPTIONS, PATCH, PUT",
        }
    }
}

/// Finds what a path leads to; `None` where nothing is.
pub(super) fn place<'p>(path: &[&'p str], shapes: &[Shape]) -> Option<Place<'p>> {
    let [first, rest @ ..] = path else { return None };
    let kind = KINDS.iter().find(|kind| kind.flat == Some(first))?;
    match *rest {
        [] => Some(Place::List(kind.table)),
        [key] => Some(Place::Item(kind.table, key)),
        [key, "consumers"] if kind.table == Table::ConsumerGroups => {
            Some(Place::Members(kind.table, key, "consumer_group", "consumer", Table::Consumers))
        }
        [key, "consumer_groups"] if kind.table == Table::Consumers => {
            Some(Place::Members(kind.table, key, "consumer", "consumer_group", Table::ConsumerGroups))
        }
        [key, second] => {
            if let Some((child, column)) = child(kind.table, second, shapes) {
                return Some(Place::Under(kind.table, key, child, column));
            }
            let shape = shapes.iter().find(|shape| shape.table == kind.table)?;
            // A server name is found under its certificate, and not the other way.
            let (column, parent) = shape.foreign.iter().find(|(column, _)| *column == second)?;
            (kind.table != Table::Snis).then_some(Place::Parent(kind.table, key, column, *parent))
        }
        [key, second, third] => {
            let (child, column) = child(kind.table, second, shapes)?;
            match (child, third) {
                // The list as it was written, weight 0 included; here it is always that.
                (Table::Targets, "all") => Some(Place::Under(kind.table, key, child, column)),
                _ => Some(Place::ItemUnder(kind.table, key, child, column, third)),
            }
        }
        _ => None,
    }
}

/// The kind that is called so under `parent`, and its column that refers there.
fn child(parent: Table, name: &str, shapes: &[Shape]) -> Option<(Table, &'static str)> {
    let mut kinds = KINDS.iter().filter(|kind| kind.nested == name);
    kinds.find_map(|kind| {
        let shape = shapes.iter().find(|shape| shape.table == kind.table)?;
        let (column, _) = shape.foreign.iter().find(|(_, refers_to)| *refers_to == parent)?;
        Some((kind.table, *column))
    })
}

/// Every path, as `/endpoints` lists them.
pub(super) fn paths(shapes: &[Shape]) -> Vec<String> {
    let mut all = Vec::new();
    for kind in KINDS {
        let Some(flat) = kind.flat else { continue };
        let item = format!("/{flat}/{{{flat}}}");
        let under = KINDS.iter().filter(|other| child(kind.table, other.nested, shapes).is_some());
        for other in under {
            all.push(format!("{item}/{}", other.nested));
            all.push(format!("{item}/{}/{{{}}}", other.nested, other.nested));
        }
        let shape = shapes.iter().find(|shape| shape.table == kind.table && kind.table != Table::Snis);
        all.extend(shape.into_iter().flat_map(|shape| shape.foreign).map(|(column, _)| format!("{item}/{column}")));
        match kind.table {
            Table::Consumers => all.push(format!("{item}/consumer_groups")),
            Table::ConsumerGroups => all.push(format!("{item}/consumers")),
            _ => {}
        }
        all.extend([format!("/{flat}"), item]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_entities() {
        let shapes = crate::config::shapes();
        let rows: &[(&str, Option<Place<'static>>)] = &[
            ("routes", Some(Place::List(Table::Routes))),
            ("routes/r", Some(Place::Item(Table::Routes, "r"))),
            ("services/s/routes", Some(Place::Under(Table::Services, "s", Table::Routes, "service"))),
            ("services/s/routes/r", Some(Place::ItemUnder(Table::Services, "s", Table::Routes, "service", "r"))),
            ("routes/r/service", Some(Place::Parent(Table::Routes, "r", "service", Table::Services))),
            ("consumers/c/key-auth", Some(Place::Under(Table::Consumers, "c", Table::Keys, "consumer"))),
            ("consumers/c/acls", Some(Place::Under(Table::Consumers, "c", Table::Groups, "consumer"))),
            ("key-auths/k/consumer", Some(Place::Parent(Table::Keys, "k", "consumer", Table::Consumers))),
            ("upstreams/u/targets/all", Some(Place::Under(Table::Upstreams, "u", Table::Targets, "upstream"))),
            (
                "certificates/c/services",
                Some(Place::Under(Table::Certificates, "c", Table::Services, "client_certificate")),
            ),
            (
                "consumer_groups/g/consumers",
                Some(Place::Members(Table::ConsumerGroups, "g", "consumer_group", "consumer", Table::Consumers)),
            ),
            (
                "consumers/c/consumer_groups",
                Some(Place::Members(Table::Consumers, "c", "consumer", "consumer_group", Table::ConsumerGroups)),
            ),
            (
                "consumer_groups/g/plugins",
                Some(Place::Under(Table::ConsumerGroups, "g", Table::Plugins, "consumer_group")),
            ),
            ("consumer_group_consumers", None),
            ("targets", None),
            ("snis/s/certificate", None),
            ("consumers/c/key-auths", None),
            ("services/s/consumers", None),
            ("services/s/routes/r/plugins", None),
            ("", None),
        ];
        for (path, want) in rows {
            let path: Vec<&str> = path.split('/').collect();
            assert_eq!(place(&path, &shapes), *want, "{path:?}");
        }
    }
}
