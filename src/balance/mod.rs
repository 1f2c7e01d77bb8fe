//! Which target gets the next request. Pure: weights in, an index out.

pub mod round_robin;
