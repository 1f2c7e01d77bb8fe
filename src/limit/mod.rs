//! How often somebody may do something: what a limit allows, and the node-wide truth about what was used.
//!
//! [`bank`] keeps one word per key, the same for all shards. What the word says is an algorithm's: [`fixed`] windows,
//! [`sliding`] ones, [`bucket`]s. [`window`] says which window of the calendar a moment falls in, [`rule`] is the one face
//! of all algorithms. Everything takes `now` as an argument.
//!
//! | algorithm | passes | words | exact in |
//! |---|---|---|---|
//! | fixed | N per window of the calendar, so up to 2N around a turn | 1 | tokens |
//! | sliding | N per period, as estimated from two windows, rounded against the client | 2 | tokens |
//! | bucket | `burst` at once, then one per period ÷ N | 1 | half a nanosecond per token |

pub mod bank;
pub mod bucket;
pub mod fixed;
pub mod rule;
mod sliding;
pub mod window;
mod word;
