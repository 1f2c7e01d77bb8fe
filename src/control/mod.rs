//! The control plane: one thread, one loop.

pub mod access_log;
mod dns;
mod names;
pub mod sink;
#[cfg(test)]
pub(crate) mod testing;
mod watch;
