//! Certificates, authorities and what sockets ask of TLS: PEM texts, not read yet. Who reads them holds keys to
//! certificates (`shard/secure.rs`). No `Debug` here shows a key.

use crate::base::span::Span;
use uuid::Uuid;

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A chain of certificates and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PemPair {
    /// The certificate, then those that vouch for it.
    pub chain: String,
    /// Its key.
    pub key: Hidden,
}

/// A certificate, of one or two kinds of key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Stable id.
    pub id: Uuid,
    /// The pairs: one, or one per kind of key.
    pub pairs: Vec<PemPair>,
    /// Server names it is for: `a.test`, `*.test`, `a.*`; `*` is every other.
    pub names: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Where it was written.
    pub at: Span,
}

/// A certificate of an authority.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Stable id.
    pub id: Uuid,
    /// PEM.
    pub pem: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Where it was written.
    pub at: Span,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Secure {
    /// Certificates that are shown.
    pub certificates: Vec<Certificate>,
    /// Authorities that services and plugins may trust.
    pub authorities: Vec<Authority>,
}

/// Do clients show certificates?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCertificate {
    /// They are not asked.
    #[default]
    None,
    /// They are asked; what they show must verify.
    Optional,
    /// No handshake without.
    Required,
}

/// What TLS of the node, or of one socket, is set to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// TLS 1.3 alone?
    pub tls13_only: bool,
    /// Shown where no name fits: a pair per kind of key; empty: one is made up.
    pub default: Vec<PemPair>,
    /// Do clients show certificates?
    pub client_certificate: ClientCertificate,
    /// Who vouches for clients, PEM.
    pub client_authorities: String,
    /// Who is vouched for no more, PEM; empty: nobody is asked.
    pub client_revoked: String,
    /// Most certificates between a client's and its authority.
    pub client_depth: u32,
}

impl Default for TlsOptions {
    fn default() -> TlsOptions {
        TlsOptions {
            tls13_only: false,
            default: Vec::new(),
            client_certificate: ClientCertificate::None,
            client_authorities: String::new(),
            client_revoked: String::new(),
            client_depth: CLIENT_DEPTH,
        }
    }
}

/// Certificates between a client's own and its authority, where nothing is said; real chains have one or two.
pub const CLIENT_DEPTH: u32 = 3;

/// What the node sets for all of its sockets and services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTls {
    /// For sockets that say nothing of their own.
    pub listeners: TlsOptions,
    /// Secrets of session tickets, the sealing one first; empty: random ones.
    pub ticket_secrets: Vec<Hidden>,
    /// Authorities that vouch for upstreams beside the system's, PEM.
    pub upstream_authorities: String,
    /// Are the system's own authorities asked?
    pub system_authorities: bool,
    /// Verify the certificates of upstreams where their service does not say? They are where anybody vouches at all.
    pub upstream_verify: bool,
}

impl Default for NodeTls {
    fn default() -> NodeTls {
        NodeTls {
            listeners: TlsOptions::default(),
            ticket_secrets: Vec::new(),
            upstream_authorities: String::new(),
            system_authorities: true,
            upstream_verify: true,
        }
    }
}

/// How a service's upstreams are asked over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTls {
    /// Verify their certificates? `None`: as the node does.
    pub verify: Option<bool>,
    /// Most certificates between theirs and an authority.
    pub depth: Option<u32>,
    /// Who vouches for them: places in [`Secure::authorities`]; `None`: the node's.
    pub authorities: Option<Vec<usize>>,
    /// What is shown to them: a place in [`Secure::certificates`].
    pub certificate: Option<usize>,
}
