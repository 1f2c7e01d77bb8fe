//! TLS as a pure engine: bytes in, bytes out. rustls makes the handshakes; the records after it are sealed and opened here.
//!
//! | file | what it decides |
//! |---|---|
//! | `hello` | whom a client asks for, before anything is made for it |
//! | `engine` | handshakes of both sides |
//! | `session` | what comes after: alerts, key updates, tickets |
//! | `record` | how bytes are protected |
//! | `certs` | which certificate a name gets |
//! | `identity` | what a certificate says of itself |
//! | `tickets` | how sessions are resumed |
//! | `sessions` | how those are whose clients may ask before the end of a handshake |
//! | `settings` | versions, suites, verification |

pub mod certs;
pub mod engine;
pub mod hello;
pub mod identity;
pub mod record;
pub mod session;
mod sessions;
pub mod settings;
pub mod tickets;

pub use rustls::pki_types::ServerName;
pub use rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

#[cfg(test)]
mod tests;
