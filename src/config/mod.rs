//! Text → Draft, by dialect.

pub mod check;
pub mod doc;
pub mod kong;
pub mod native;
