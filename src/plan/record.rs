//! Entities as they were written, for those who show them: every field with its default, references to vaults as
//! references, and what is disabled or not served as well. The [`Plan`](super::Plan) has dropped all that.
//!
//! Front-ends collect them beside the draft; a node's control side keeps them, shards never see them. References are
//! resolved by whoever indexes them (`control/store.rs`); after a load without faults there is none that leads nowhere.

use super::draft::Ref;
use super::ids::Table;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

/// What a load has read, beside the plan.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Every entity, in the order it was read.
    pub records: Vec<Record>,
    /// SHA-256 of the one text that holds them; `None` where they come from several.
    pub digest: Option<[u8; 32]>,
}

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
    pub references: Vec<(&'static str, Table, Option<Ref>)>,
    /// Is `password` the password itself, to be shown as its hash?
    pub plain: bool,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("table", &self.table).field("id", &self.id).finish_non_exhaustive()
    }
}
