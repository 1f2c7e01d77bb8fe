//! Text → Draft, by dialect.

pub mod kong;
pub mod native;
