//! How often somebody may do something: the windows of a limit and the node-wide count of what was used.
//!
//! [`window`] says which window a moment falls in; [`bank`] counts per key and window, exactly, for all shards at once.

pub mod bank;
pub mod window;
