//! The Kong dialect.

pub mod conf;
