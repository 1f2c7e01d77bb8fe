//! # Ringway: an API gateway on pinned io_uring shards
//!
//! ```text
//!   ringway.yaml      kong.yml       (any mix: -c may be given several times)
//!         \             /
//!      config/    Draft: names as written, each with file:line:column
//!                   |   plan::link → (Option<Plan>, Report)    every fault at once, with a hint
//!                 Plan    one neutral model, immutable
//!                   |   shard::Tables::compile, off the serving threads; one Arc per reload
//!   ┌───────────────┴──────────────────────────────────────────────────────────┐
//!   │ control thread (tokio)          │ shard 0 (monoio, pinned) │ shard 1 │ … │
//!   │ Admin API, file watch, DNS,     │ listeners, connections,  │         │   │
//!   │ metrics scrape                  │ pools: all its own       │         │   │
//!   └──────────────────────────────────────────────────────────────────────────┘
//!            the two sides never call each other: they exchange bus messages
//! ```
//!
//! Who may name whom is a table in `tests/tidy.rs`, checked by `cargo test`.

pub mod auth;
pub mod balance;
pub mod base;
pub mod boot;
pub mod bus;
pub mod cli;
pub mod config;
pub mod control;
pub mod hook;
pub mod http;
pub mod io;
pub mod limit;
pub mod plan;
pub mod plugins;
pub mod route;
pub mod shard;
