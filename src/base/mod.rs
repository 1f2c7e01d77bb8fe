//! Words that every layer uses: bounds, time, ids, units, places in files. No I/O, no clock, no randomness of its own.

pub mod bytes;
pub mod id;
pub mod latency;
pub mod limits;
pub mod nearest;
pub mod rng;
pub mod span;
pub mod time;
pub mod units;
