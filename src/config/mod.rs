//! Text → Draft, by dialect.

pub mod doc;
pub mod kong;
pub mod native;
