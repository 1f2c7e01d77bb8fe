//! A configuration as it was written: every entity checked by itself, but referring to others by name.
//!
//! Front-ends of `config` append to one [`Draft`], file after file; [`super::link::link`] looks at the whole. So a file
//! may refer to what another one holds, and nothing is unique or missing before all are read.

use super::balancing::{Checks, Hashing};
use super::ids::Table;
use super::node::NodeDraft;
use super::record::Records;
use super::spoken::ProxyVersion;
use super::tls::{PemPair, ServiceTls};
use super::{Algorithm, HeaderMatch, HostPattern, Ordering, PathPattern, Protocol, Secret};
use crate::base::span::{At, Span};
use std::collections::HashMap;
use uuid::Uuid;

/// Everything that was written, in order.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Settings of the process, and its sockets.
    pub node: NodeDraft,
    /// Services.
    pub services: Vec<ServiceDraft>,
    /// Routes.
    pub routes: Vec<RouteDraft>,
    /// Upstreams.
    pub upstreams: Vec<UpstreamDraft>,
    /// Their targets.
    pub targets: Vec<TargetDraft>,
    /// Consumers.
    pub consumers: Vec<ConsumerDraft>,
    /// Groups of consumers.
    pub groups: Vec<GroupDraft>,
    /// Groups of consumers that plugins may be for.
    pub consumer_groups: Vec<ConsumerGroupDraft>,
    /// Who is in which of those.
    pub members: Vec<MemberDraft>,
    /// Proofs of consumers.
    pub credentials: Vec<CredentialDraft>,
    /// Plugin instances.
    pub plugins: Vec<PluginDraft>,
    /// Pairs of certificates and authorities, by their ids: what [`OtherDraft`] says no more of them.
    pub pems: Vec<PemDraft>,
    /// What is understood, but not served yet: unique and well-formed, and that is all.
    pub others: Vec<OtherDraft>,
    /// All of these as they were written; not linked.
    pub records: Records,
    /// How many entities without a name would have an id: of those that are alike, one has it.
    pub unnamed: HashMap<Uuid, u32>,
}

impl Draft {
    /// Nothing but the settings of the node.
    pub fn new(node: NodeDraft) -> Draft {
        Draft {
            node,
            services: Vec::new(),
            routes: Vec::new(),
            upstreams: Vec::new(),
            targets: Vec::new(),
            consumers: Vec::new(),
            groups: Vec::new(),
            consumer_groups: Vec::new(),
            members: Vec::new(),
            credentials: Vec::new(),
            plugins: Vec::new(),
            pems: Vec::new(),
            others: Vec::new(),
            records: Records::default(),
            unnamed: HashMap::new(),
        }
    }
}

/// What every entity has.
#[derive(Clone, Debug)]
pub struct Common {
    /// Its id: as written, [derived](super::ids::derived), or random where nothing names it.
    pub id: Uuid,
    /// Tags, without duplicates.
    pub tags: Vec<String>,
    /// Where it begins.
    pub at: Span,
    /// Its path within its file: `services[0].routes[2]`.
    pub path: String,
}

/// A reference to another entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ref {
    /// By id: the entity it is nested in, or one that was named so.
    Id(Uuid),
    /// As written: an id or a name; an id is looked for first.
    Text(String),
}

/// A service.
#[derive(Clone, Debug)]
pub struct ServiceDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Unique name.
    pub name: Option<String>,
    /// Scheme.
    pub protocol: Protocol,
    /// Host without port: a name, an address, or the name of an upstream.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path put before the request's.
    pub prefix: Option<String>,
    /// Attempts after the first.
    pub retries: u32,
    /// Per attempt, ms.
    pub connect_timeout_ms: u64,
    /// Between two writes, ms.
    pub write_timeout_ms: u64,
    /// Between two reads, ms.
    pub read_timeout_ms: u64,
    /// How its upstreams are asked over TLS; the places in it are not known yet.
    pub tls: ServiceTls,
    /// HTTP/2 with its upstreams?
    pub http2: bool,
    /// How clients are announced to its upstreams.
    pub announces: Option<ProxyVersion>,
    /// Authorities that vouch for its upstreams; `None`: the node's.
    pub authorities: Option<Vec<At<Ref>>>,
    /// What is shown to them.
    pub certificate: Option<At<Ref>>,
    /// Served? If not, its routes are not there either.
    pub enabled: bool,
}

/// A route.
#[derive(Clone, Debug)]
pub struct RouteDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Unique name.
    pub name: Option<String>,
    /// Schemes, without duplicates.
    pub protocols: Vec<Protocol>,
    /// Methods.
    pub methods: Vec<String>,
    /// Hosts.
    pub hosts: Vec<HostPattern>,
    /// Paths.
    pub paths: Vec<PathPattern>,
    /// Headers.
    pub headers: Vec<HeaderMatch>,
    /// TLS server names.
    pub snis: Vec<String>,
    /// Takes the matched prefix off.
    pub strip_path: bool,
    /// Sends the client's Host on.
    pub preserve_host: bool,
    /// 426, 301, 302, 307 or 308.
    pub https_redirect_status: u16,
    /// Orders regex paths.
    pub regex_priority: u32,
    /// Collect a small request body before connecting?
    pub request_buffering: bool,
    /// Collect a small answer before passing it on?
    pub response_buffering: bool,
    /// Where it leads.
    pub service: Option<At<Ref>>,
}

/// An upstream.
#[derive(Clone, Debug)]
pub struct UpstreamDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Unique name.
    pub name: String,
    /// How a target is picked.
    pub algorithm: Algorithm,
    /// What a hash is made of.
    pub hashing: Hashing,
    /// How the health of its targets is learnt.
    pub checks: Checks,
    /// `Host` to send.
    pub host_header: Option<String>,
    /// What is shown to its targets.
    pub certificate: Option<At<Ref>>,
}

/// A target of an upstream.
#[derive(Clone, Debug)]
pub struct TargetDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Whose.
    pub upstream: At<Ref>,
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Share of the traffic.
    pub weight: u32,
}

/// A consumer; has one of the two names at least.
#[derive(Clone, Debug)]
pub struct ConsumerDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Unique name.
    pub username: Option<String>,
    /// Unique name of somebody else's.
    pub custom_id: Option<String>,
}

/// A consumer's membership of a group.
#[derive(Clone, Debug)]
pub struct GroupDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Whose.
    pub consumer: At<Ref>,
    /// The group.
    pub group: String,
}

/// A group of consumers that plugins may be for.
#[derive(Clone, Debug)]
pub struct ConsumerGroupDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Unique name.
    pub name: String,
}

/// A consumer's being in such a group.
#[derive(Clone, Debug)]
pub struct MemberDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Who.
    pub consumer: At<Ref>,
    /// In which.
    pub group: At<Ref>,
}

/// A proof of a consumer. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct CredentialDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Whose.
    pub consumer: At<Ref>,
    /// The proof.
    pub secret: Secret<Box<str>>,
    /// Does a [`Secret::Basic`] hold the password itself, yet to be hashed with the consumer's id?
    pub plain: bool,
    /// Who must have vouched for a [`Secret::Subject`]. Boxed: few have one, and there may be very many without.
    pub authority: Option<Box<At<Ref>>>,
}

impl std::fmt::Debug for CredentialDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialDraft").field("common", &self.common).finish_non_exhaustive()
    }
}

/// A plugin instance; its config is checked and has its defaults.
#[derive(Clone, Debug)]
pub struct PluginDraft {
    /// Id, tags, place.
    pub common: Common,
    /// `rate-limiting`, …
    pub name: String,
    /// Unique name of its own.
    pub instance_name: Option<String>,
    /// Only for this route.
    pub route: Option<At<Ref>>,
    /// Only for this service.
    pub service: Option<At<Ref>>,
    /// Only for this consumer.
    pub consumer: Option<At<Ref>>,
    /// Only for consumers of this group.
    pub group: Option<At<Ref>>,
    /// Schemes it runs for: as written, or the plugin's own.
    pub protocols: Vec<Protocol>,
    /// Its configuration.
    pub config: serde_json::Value,
    /// What was made of the files that `config` names, by field.
    pub files: Vec<(Box<str>, std::sync::Arc<[u8]>)>,
    /// Does it run? If not, the next less specific instance does.
    pub enabled: bool,
    /// Where it runs, if not by its priority.
    pub ordering: Option<Box<Ordering>>,
}

/// An entity of a kind that is not served yet.
#[derive(Clone, Debug)]
pub struct OtherDraft {
    /// Id, tags, place.
    pub common: Common,
    /// Its kind.
    pub table: Table,
    /// Its unique name and the column it stands in.
    pub name: Option<(&'static str, String)>,
    /// What it belongs to.
    pub parent: Option<(&'static str, Table, At<Ref>)>,
}

/// The PEM of a certificate, or of an authority: then one chain without a key.
#[derive(Clone, Debug)]
pub struct PemDraft {
    /// Whose.
    pub id: Uuid,
    /// The texts.
    pub pairs: Vec<PemPair>,
}
