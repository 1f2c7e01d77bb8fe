//! Which route does a request take, and what path does it ask the upstream for? Bytes in, an index out; no I/O.
//!
//! ```text
//!   plan::Route ──matcher──▶ matchers in order of rank       one per route, or one per length of its prefixes
//!                               │
//!        ┌──────────────────────┴──────────────────┐
//!     naive    the definition: a linear scan     table   the same answer, flat in the number of routes
//!     explain  the scan, in words                  host → trie → candidates (→ pattern)
//!
//!   predicate  method, header, TLS name            entry   does the route accept this scheme?
//!   path       the path towards the upstream       wild    random routes and queries for tests
//! ```
//!
//! [`Table`] and [`naive::Naive`] must agree on everything; a property test and a fuzz target hold them to it.
//!
//! Hosts are compared without regard to case, as RFC 9110 §4.2.3 has it. The gateways whose configurations we read
//! compare the bytes; a route that matched there matches here.
//!
//! Not here: taking the target apart and normalising its path (`http/target.rs`), answering (`shard/refusal.rs`).

mod candidates;
mod engine;
pub mod entry;
pub mod explain;
mod host;
mod matcher;
pub mod naive;
pub mod path;
mod pattern;
mod predicate;
mod steps;
mod table;
mod trie;
#[doc(hidden)]
pub mod wild;

pub use matcher::Fault;
pub use pattern::Captures;
pub use table::{Match, Scratch, Table};

/// What routing looks at in a request.
#[derive(Debug)]
pub struct Query<'a, F: Fields + ?Sized> {
    /// Method as sent.
    pub method: &'a [u8],
    /// `Host` as sent, without its port; empty where there is none.
    pub host: &'a [u8],
    /// Port in `Host`.
    pub port: Option<u16>,
    /// Port the request came in by; what `Host` means where it names none.
    pub listener_port: u16,
    /// Normalised path.
    pub path: &'a [u8],
    /// Server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// Did it come by TLS? If not, the server names of routes are not asked for.
    pub tls: bool,
    /// Its header fields.
    pub headers: &'a F,
}

impl<F: Fields + ?Sized> Clone for Query<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Fields + ?Sized> Copy for Query<'_, F> {}

impl<F: Fields + ?Sized> Query<'_, F> {
    /// The port the client meant.
    pub fn port_meant(&self) -> u16 {
        self.port.unwrap_or(self.listener_port)
    }
}

/// The header fields of a request, as much as routing wants of them.
pub trait Fields {
    /// Does any value of the fields named `name` (given in lower case) pass `test`? Asks in the order of the wire and
    /// stops at the first that does.
    fn any(&self, name: &str, test: impl FnMut(&[u8]) -> bool) -> bool;
}

/// Pairs of name and value, for tests and for `explain`.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Fields for [(N, V)] {
    fn any(&self, name: &str, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        self.iter().any(|(held, value)| held.as_ref().eq_ignore_ascii_case(name.as_bytes()) && test(value.as_ref()))
    }
}

#[cfg(test)]
mod tests;
