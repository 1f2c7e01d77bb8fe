//! What is spoken with the upstreams of a service.

use super::{Protocol, Service};

/// What is spoken over a connection to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, or the upstream is not asked: by prior knowledge in the clear, by ALPN over TLS.
    Http2,
    /// HTTP/2 where the upstream chooses it by ALPN, HTTP/1.1 where it does not.
    Either,
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyVersion {
    /// The words in configurations.
    pub const WORDS: [&'static str; 2] = ["v1", "v2"];

    /// By its word.
    pub fn of(word: &str) -> Option<ProxyVersion> {
        match word {
            "v1" => Some(ProxyVersion::V1),
            "v2" => Some(ProxyVersion::V2),
            _ => None,
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        ProxyVersion::WORDS[self as usize]
    }
}

impl Service {
    /// What is spoken with its upstreams. A WebSocket keeps to HTTP/1.1 all the same.
    pub fn speaks(&self) -> Spoken {
        match self.protocol {
            Protocol::Grpc | Protocol::Grpcs => Spoken::Http2,
            Protocol::Http if self.http2 => Spoken::Http2,
            Protocol::Https if self.http2 => Spoken::Either,
            _ => Spoken::Http1,
        }
    }

    /// Is it asked over TLS?
    pub fn is_secure(&self) -> bool {
        matches!(self.protocol, Protocol::Https | Protocol::Grpcs)
    }
}
