//! Ids that follow from names, so that the same file gives the same ids on every node and at every load. They are those
//! that the declarative format has elsewhere: counters in a shared Redis, dashboards and `X-Consumer-ID` survive a migration.

use uuid::{uuid, Uuid};

const ROOT: Uuid = uuid!("fd02801f-0957-4a15-a55a-c8d9606f30b5");

/// Kinds of entities that have ids, by the name of their table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Services.
    Services,
    /// Routes.
    Routes,
    /// Consumers.
    Consumers,
    /// Upstreams.
    Upstreams,
    /// Targets of upstreams.
    Targets,
    /// Plugin instances.
    Plugins,
    /// API keys.
    Keys,
    /// JWT secrets.
    Jwts,
    /// Usernames and passwords.
    Basics,
    /// Usernames and HMAC secrets.
    Hmacs,
    /// Names of certificates.
    Subjects,
    /// Groups of consumers for access lists: words, no entities.
    Groups,
    /// Groups of consumers that plugins may be for.
    ConsumerGroups,
    /// Who is in which of those.
    Members,
    /// Certificates.
    Certificates,
    /// Server names of certificates.
    Snis,
    /// Certificates of authorities.
    Authorities,
    /// Vaults.
    Vaults,
    /// Sets of keys.
    KeySets,
    /// Keys of key sets.
    SetKeys,
}

impl Table {
    /// The table's name: what a file and a message call it.
    pub fn name(self) -> &'static str {
        match self {
            Table::Services => "services",
            Table::Routes => "routes",
            Table::Consumers => "consumers",
            Table::Upstreams => "upstreams",
            Table::Targets => "targets",
            Table::Plugins => "plugins",
            Table::Keys => "keyauth_credentials",
            Table::Jwts => "jwt_secrets",
            Table::Basics => "basicauth_credentials",
            Table::Hmacs => "hmacauth_credentials",
            Table::Subjects => "mtls_auth_credentials",
            Table::Groups => "acls",
            Table::ConsumerGroups => "consumer_groups",
            Table::Members => "consumer_group_consumers",
            Table::Certificates => "certificates",
            Table::Snis => "snis",
            Table::Authorities => "ca_certificates",
            Table::Vaults => "vaults",
            Table::KeySets => "key_sets",
            Table::SetKeys => "keys",
        }
    }

    /// The column that names an entity where its id does not.
    pub fn key(self) -> Option<&'static str> {
        match self {
            Table::Services
            | Table::Routes
            | Table::Upstreams
            | Table::ConsumerGroups
            | Table::Snis
            | Table::KeySets
            | Table::SetKeys => Some("name"),
            Table::Consumers | Table::Basics | Table::Hmacs => Some("username"),
            Table::Targets => Some("target"),
            Table::Plugins => Some("instance_name"),
            Table::Keys | Table::Jwts => Some("key"),
            Table::Vaults => Some("prefix"),
            Table::Subjects | Table::Groups | Table::Members | Table::Certificates | Table::Authorities => None,
        }
    }

    /// Is it what a consumer has? These are never changed, so they have no time of a change.
    pub fn is_of_consumer(self) -> bool {
        matches!(
            self,
            Table::Keys | Table::Jwts | Table::Basics | Table::Hmacs | Table::Subjects | Table::Groups | Table::Members
        )
    }

    /// Is an id derived from a unique key of several columns (`table:*:a:b`), or from the one name alone?
    fn keyed(self) -> bool {
        !matches!(
            self,
            Table::Services
                | Table::Routes
                | Table::Consumers
                | Table::Upstreams
                | Table::ConsumerGroups
                | Table::Certificates
                | Table::Snis
                | Table::Authorities
        )
    }
}

/// The id of the entity that `columns` name: its name, or the columns of its unique key. References among them are
/// written as in the file: a name where it says a name, an id where the entity is nested in its parent.
pub fn derived(table: Table, columns: &[&str]) -> Uuid {
    let space = Uuid::new_v5(&ROOT, table.name().as_bytes());
    let columns = columns.join(":");
    if table.keyed() {
        Uuid::new_v5(&space, format!("{}:*:{columns}", table.name()).as_bytes())
    } else {
        Uuid::new_v5(&space, columns.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_file_elsewhere() {
        let svc1 = "2254ba65-245b-5b72-a0b8-7341d45f5e77";
        let rows: &[(Table, &[&str], &str)] = &[
            (Table::Services, &["my-service"], "0855b320-0dd2-547d-891d-601e9b38647f"),
            (Table::Routes, &["my-route"], "481a9539-f49c-51b6-b2e2-fe99ee68866c"),
            (Table::Consumers, &["alice"], "b32379d9-3d28-5683-a79c-72139be6e34f"),
            (Table::Services, &["svc1"], svc1),
            (Table::Plugins, &["rate-limiting", "", svc1, ""], "6ff11e9d-1aeb-561c-87a6-fe376cd9490a"),
            (Table::Plugins, &["rate-limiting", "", "", ""], "8328de13-9a5c-5a91-8f06-fb4062fec696"),
        ];
        for (table, columns, want) in rows {
            assert_eq!(derived(*table, columns).to_string(), *want, "{table:?} {columns:?}");
        }
    }
}
