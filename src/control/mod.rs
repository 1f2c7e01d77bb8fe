//! The control plane: one thread, one loop.

pub mod access_log;
pub mod sink;
#[cfg(test)]
pub(crate) mod testing;
