//! Certificates, authorities and what sockets ask of TLS: PEM texts, not read yet. Who reads them holds keys to
//! certificates (`shard/secure.rs`). No `Debug` here shows a key.

use crate::base::span::Span;
use uuid::Uuid;

/// A text that must not be shown.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A chain of certificates and its key, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PemPair {
    /// The certificate, then those that vouch for it.
    pub chain: String,
    /// Its key.
    pub key: Hidden,
    /// The files it was read from; empty: from none. Where they are broken later, what they held before is shown on.
    pub files: String,
    /// Was it only referred to? Then messages do not repeat what stands there.
    pub is_secret: bool,
    /// Where a setting names it; nowhere in an entity, which has a place of its own.
    pub at: Span,
    /// The file of what its authority says of it (OCSP), which is shown with it; empty: none.
    pub staple_file: String,
    /// What that holds, DER.
    pub staple: Vec<u8>,
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

/// How clients prove who they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// Do they show certificates?
    pub certificate: ClientCertificate,
    /// Who vouches for them, PEM.
    pub authorities: String,
    /// Who is vouched for no more, PEM; empty: nobody is asked.
    pub revoked: String,
    /// Most certificates between a client's and its authority.
    pub depth: u32,
    /// Bytes that clients may send before the end of a handshake that goes on from an earlier one (RFC 8446 §2.3); 0: none.
    pub early_data: u32,
}

impl Default for ClientTls {
    fn default() -> ClientTls {
        ClientTls {
            certificate: ClientCertificate::None,
            authorities: String::new(),
            revoked: String::new(),
            depth: CLIENT_DEPTH,
            early_data: 0,
        }
    }
}

/// What TLS of the node, or of one socket, is set to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// TLS 1.3 alone?
    pub tls13_only: bool,
    /// Shown where no name fits: a pair per kind of key; empty: one is made up.
    pub default: Vec<PemPair>,
    /// Clients that ask for no name of [`TlsOptions::of_names`].
    pub client: ClientTls,
    /// Clients that ask for these names: `a.test`, `*.test`, `a.*`.
    pub of_names: Vec<(String, ClientTls)>,
}

/// Certificates between a client's own and its authority, where nothing is said; real chains have one or two.
pub const CLIENT_DEPTH: u32 = 3;

/// What becomes of `X-Forwarded-Client-Cert`, in which a proxy tells what certificate its client has shown. The names and
/// meanings are Envoy's (`forward_client_cert_details`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardedCert {
    /// It goes no further, and none is written.
    #[default]
    Sanitize,
    /// What came is passed on from clients that have shown a certificate themselves.
    ForwardOnly,
    /// The same, and the client's own is added.
    AppendForward,
    /// What came goes no further, and the client's own is written.
    SanitizeSet,
    /// What came is passed on, whoever sends it.
    AlwaysForwardOnly,
}

/// What the header tells of a certificate beside its digest, as Envoy's `set_current_client_cert_details`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ForwardedDetails {
    /// The certificate, PEM, escaped.
    pub cert: bool,
    /// With those that vouch for it.
    pub chain: bool,
    /// Its subject.
    pub subject: bool,
    /// The URIs it is for.
    pub uri: bool,
    /// The hosts it is for.
    pub dns: bool,
}

/// What the node sets for all of its sockets and services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTls {
    /// For sockets that say nothing of their own.
    pub listeners: TlsOptions,
    /// What the Admin API shows over TLS; empty: as [`NodeTls::listeners`].
    pub admin: Vec<PemPair>,
    /// What upstreams are told of clients' certificates.
    pub forwarded: ForwardedCert,
    /// How much.
    pub forwarded_details: ForwardedDetails,
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
            admin: Vec::new(),
            forwarded: ForwardedCert::Sanitize,
            forwarded_details: ForwardedDetails::default(),
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
