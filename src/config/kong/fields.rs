//! The entities of the declarative format as rows: fields, what they refer to, what may be nested in them.
//!
//! Rules that span fields, and what becomes of the values, are in the modules of the entities.

use super::text;
use super::{credentials, entities, groups, others, plugins, Entity, Reader};
use crate::plan::ids::Table;
use crate::plan::schema::{Element, Field, Kind, Rule};
use crate::plan::spoken::ProxyVersion;

/// A kind of entity.
pub(super) struct Noun {
    /// Name of its list.
    pub(super) name: &'static str,
    /// What one is.
    pub(super) about: &'static str,
    /// Its table.
    pub(super) table: Table,
    /// Its own fields, beside [`COMMON`].
    pub(super) fields: &'static [Field],
    /// Columns that refer to others.
    pub(super) foreign: &'static [(&'static str, Table)],
    /// Lists that may be nested in it, and the column of the child that then refers here.
    pub(super) children: &'static [(&'static str, &'static str)],
    /// What becomes of one.
    pub(super) build: fn(&mut Reader<'_>, Entity<'_>),
}

impl std::fmt::Debug for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The noun of a list.
pub(super) fn noun(name: &str) -> Option<&'static Noun> {
    NOUNS.iter().find(|noun| noun.name == name)
}

/// Lists that Kong knows and that mean nothing here yet: taken, and named once.
pub(super) const UNSERVED: &[&str] = &[
    "acme_storage",
    "clustering_data_planes",
    "filter_chains",
    "licenses",
    "oauth2_authorization_codes",
    "oauth2_credentials",
    "oauth2_tokens",
    "parameters",
    "partials",
    "sessions",
    "workspaces",
    "_plugin_configs",
];

/// Keys without a meaning: remarks, a place for anchors, and what tools leave in their files.
pub(super) const IGNORED: &[&str] = &["_comment", "_ignore", "_info", "_workspace", "_konnect"];

const STRING: Element = Element { kind: Kind::String, rules: &[] };
const TAG: Element = Element { kind: Kind::String, rules: &[Rule::Text(text::tag)] };
const UUID: Element = Element { kind: Kind::String, rules: &[Rule::Text(text::uuid)] };

/// Fields of every entity.
pub(super) const COMMON: &[Field] = &[
    Field::optional("id", Kind::String, "Its id; without one it follows from the name.")
        .rules(&[Rule::Text(text::uuid)]),
    Field::optional("tags", Kind::Set(&TAG), "Words to find it by."),
    Field::optional("created_at", Kind::Number, "When it was made, s since the epoch; shown, and that is all."),
    Field::optional("updated_at", Kind::Number, "When it was last changed, likewise."),
];

/// Scheme words, in the order messages list them.
pub(super) const PROTOCOLS: &[&str] = &["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"];
const PROTOCOL: Element = Element { kind: Kind::String, rules: &[Rule::OneOf(PROTOCOLS)] };
const TIMEOUT: &[Rule] = &[Rule::Between(1.0, 2_147_483_646.0)];
const PORT: &[Rule] = &[Rule::Between(0.0, 65_535.0)];
const NAME: &[Rule] = &[Rule::Text(text::name)];

const SERVICE: &[Field] = &[
    Field::optional("name", Kind::String, "Unique name.").rules(NAME),
    Field::optional("url", Kind::String, "Shorthand for protocol, host, port and path.").rules(&[Rule::Text(url)]),
    Field::with_default("protocol", Kind::String, "\"http\"", "Scheme towards the upstream.")
        .rules(&[Rule::OneOf(PROTOCOLS)]),
    Field::optional("host", Kind::String, "Name, address, or name of an upstream.").rules(&[Rule::Text(text::host)]),
    Field::with_default("port", Kind::Integer, "80", "Port; an upstream's targets have their own.").rules(PORT),
    Field::optional("path", Kind::String, "Put before the request's path.").rules(&[Rule::Text(text::path)]),
    Field::with_default("retries", Kind::Integer, "5", "Attempts after the first.")
        .rules(&[Rule::Between(0.0, 32_767.0)]),
    Field::with_default("connect_timeout", Kind::Integer, "60000", "To connect, ms.").rules(TIMEOUT),
    Field::with_default("write_timeout", Kind::Integer, "60000", "Between two writes, ms.").rules(TIMEOUT),
    Field::with_default("read_timeout", Kind::Integer, "60000", "Between two reads, ms.").rules(TIMEOUT),
    Field::optional("client_certificate", Kind::String, "Certificate shown to the upstream."),
    Field::optional("tls_verify", Kind::Boolean, "Verify the upstream's certificate?"),
    Field::optional("tls_verify_depth", Kind::Integer, "Longest chain.").rules(&[Rule::Between(0.0, 64.0)]),
    Field::optional("ca_certificates", Kind::Array(&UUID), "Authorities to trust."),
    Field::optional("http2", Kind::Boolean, "Speak HTTP/2 with the upstream: by ALPN over TLS, at once in the clear."),
    Field::optional("proxy_protocol", Kind::String, "Announce each client to the upstream by the PROXY protocol.")
        .rules(&[Rule::OneOf(&ProxyVersion::WORDS)]),
    Field::with_default("enabled", Kind::Boolean, "true", "Served? If not, its routes are not there."),
];

fn url(value: &str) -> Result<(), String> {
    text::to_url(value).map(|_| ()).ok_or_else(|| format!("invalid url: {value}"))
}

const METHOD: Element = Element { kind: Kind::String, rules: &[Rule::Text(method)] };
const HOST: Element = Element { kind: Kind::String, rules: &[Rule::Text(text::route_host)] };
const PATH: Element = Element { kind: Kind::String, rules: &[Rule::Text(text::route_path)] };
const SNI: Element = Element { kind: Kind::String, rules: &[Rule::Text(text::sni)] };
const VALUES: Element = Element { kind: Kind::Array(&STRING), rules: &[] };
const PEER: Element = Element { kind: Kind::Record(PEER_FIELDS), rules: &[] };
const PEER_FIELDS: &[Field] = &[
    Field::optional("ip", Kind::String, "Address or CIDR block.").rules(&[Rule::Text(cidr)]),
    Field::optional("port", Kind::Integer, "Port.").rules(PORT),
];

fn method(value: &str) -> Result<(), String> {
    if value.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(format!("invalid value: {value}"))
}

fn cidr(value: &str) -> Result<(), String> {
    let network = crate::config::native::value::network(value);
    network.map(|_| ()).ok_or_else(|| format!("invalid ip or cidr range: '{value}'"))
}

const ROUTE: &[Field] = &[
    Field::optional("name", Kind::String, "Unique name.").rules(NAME),
    Field::with_default("protocols", Kind::Set(&PROTOCOL), "[\"http\",\"https\"]", "Schemes it is meant for.")
        .rules(&[Rule::LengthMin(1)]),
    Field::optional("methods", Kind::Set(&METHOD), "Methods; none is any."),
    Field::optional("hosts", Kind::Array(&HOST), "Hosts, one of them with a wildcard label and a port; none is any."),
    Field::optional("paths", Kind::Array(&PATH), "Prefixes, or regular expressions after ~; none is any."),
    Field::optional("headers", Kind::Map(&VALUES), "Header → values, one of which it must have; ~* is an expression."),
    Field::optional("snis", Kind::Set(&SNI), "TLS server names."),
    Field::optional("sources", Kind::Set(&PEER), "Not served yet."),
    Field::optional("destinations", Kind::Set(&PEER), "Not served yet."),
    Field::optional("strip_path", Kind::Boolean, "Takes the matched prefix off the path? (true; for gRPC false)"),
    Field::with_default("preserve_host", Kind::Boolean, "false", "Sends the client's Host to the upstream?"),
    Field::with_default(
        "https_redirect_status_code",
        Kind::Integer,
        "426",
        "Answer to plain HTTP where it is not meant for it.",
    )
    .rules(&[Rule::OneOfNumbers(&[426, 301, 302, 307, 308])]),
    Field::with_default("regex_priority", Kind::Integer, "0", "Orders regular expressions; larger first.")
        .rules(&[Rule::Between(-2_147_483_648.0, 4_294_967_295.0)]),
    Field::with_default("path_handling", Kind::String, "\"v0\"", "Ignored, as by the reference's default router.")
        .rules(&[Rule::OneOf(&["v0", "v1"])]),
    Field::with_default("request_buffering", Kind::Boolean, "true", "Collect a small request body before connecting?"),
    Field::with_default("response_buffering", Kind::Boolean, "true", "Collect a small answer before passing it on?"),
    Field::optional("service", Kind::String, "The service it leads to: name or id."),
];

const UPSTREAM: &[Field] = &[
    Field::optional("name", Kind::String, "Unique name; services name it as their host.")
        .required()
        .rules(&[Rule::Text(text::upstream_name)]),
    Field::optional("algorithm", Kind::String, "How a target is picked. (round-robin)").rules(&[Rule::OneOf(&[
        "consistent-hashing",
        "least-connections",
        "round-robin",
        "latency",
    ])]),
    Field::optional("hash_on", Kind::String, "What a hash is made of. (none)").rules(HASH_ON),
    Field::with_default("hash_fallback", Kind::String, "\"none\"", "What it is made of where that is missing.")
        .rules(HASH_ON),
    Field::optional("hash_on_header", Kind::String, "Header.").rules(&[Rule::HeaderName]),
    Field::optional("hash_fallback_header", Kind::String, "Header.").rules(&[Rule::HeaderName]),
    Field::optional("hash_on_cookie", Kind::String, "Cookie."),
    Field::with_default("hash_on_cookie_path", Kind::String, "\"/\"", "Path of a cookie made here.")
        .rules(&[Rule::Text(text::path)]),
    Field::optional("hash_on_query_arg", Kind::String, "Query argument."),
    Field::optional("hash_fallback_query_arg", Kind::String, "Query argument."),
    Field::optional("hash_on_uri_capture", Kind::String, "Group of the path's expression."),
    Field::optional("hash_fallback_uri_capture", Kind::String, "Group of the path's expression."),
    Field::with_default(
        "slots",
        Kind::Integer,
        "10000",
        "Points of the ring that hashes fall on; 1000 at least are made.",
    )
    .rules(&[Rule::Between(10.0, 65_536.0)]),
    Field::optional("host_header", Kind::String, "Host sent instead of the target's.")
        .rules(&[Rule::Text(host_header)]),
    Field::optional(
        "client_certificate",
        Kind::String,
        "Certificate shown to targets: by probes, and by services that have none of their own.",
    ),
    Field::with_default("use_srv_name", Kind::Boolean, "false", "Send the SRV record's name as Host?"),
    Field::optional("healthchecks", Kind::Record(HEALTHCHECKS), "Health checks.").required(),
];

const HASH_ON: &[Rule] =
    &[Rule::OneOf(&["none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"])];

fn host_header(value: &str) -> Result<(), String> {
    text::host_port(value).map(|_| ()).ok_or_else(|| format!("invalid value: {value}"))
}

const COUNTER: &[Rule] = &[Rule::Between(0.0, 255.0)];
const SECONDS: &[Rule] = &[Rule::Between(0.0, 65_535.0)];
const STATUS: Element = Element { kind: Kind::Integer, rules: &[Rule::Between(100.0, 999.0)] };
const CHECK_TYPES: &[Rule] = &[Rule::OneOf(&["tcp", "http", "https", "grpc", "grpcs"])];

const HEALTHCHECKS: &[Field] = &[
    Field::with_default(
        "active",
        Kind::Record(ACTIVE),
        "{}",
        "Probes that are made to find out; on where an interval is.",
    ),
    Field::with_default("passive", Kind::Record(PASSIVE), "{}", "What answers to clients' requests tell."),
    Field::with_default("threshold", Kind::Number, "0", "Least share of healthy weight, percent.")
        .rules(&[Rule::Between(0.0, 100.0)]),
];
const ACTIVE: &[Field] = &[
    Field::with_default("type", Kind::String, "\"http\"", "Kind of probe; grpc and grpcs call grpc.health.v1.")
        .rules(CHECK_TYPES),
    Field::with_default("timeout", Kind::Number, "1", "Of a probe, s.").rules(SECONDS),
    Field::with_default("concurrency", Kind::Integer, "10", "Probes at a time.")
        .rules(&[Rule::Between(1.0, 2_147_483_648.0)]),
    Field::with_default("http_path", Kind::String, "\"/\"", "Path asked for; of grpc, the service.")
        .rules(&[Rule::Text(text::path)]),
    Field::optional("https_sni", Kind::String, "TLS server name.").rules(&[Rule::Text(text::sni)]),
    Field::with_default("https_verify_certificate", Kind::Boolean, "true", "Verify the target's certificate?"),
    Field::optional("headers", Kind::Map(&VALUES), "Headers sent."),
    Field::with_default("healthy", Kind::Record(ACTIVE_HEALTHY), "{}", "What makes a target healthy."),
    Field::with_default("unhealthy", Kind::Record(ACTIVE_UNHEALTHY), "{}", "What makes it unhealthy."),
];
const ACTIVE_HEALTHY: &[Field] = &[
    Field::with_default("interval", Kind::Number, "0", "Between probes, s; 0 is never.").rules(SECONDS),
    Field::with_default("http_statuses", Kind::Array(&STATUS), "[200,302]", "Good statuses."),
    Field::with_default("successes", Kind::Integer, "0", "So many in a row.").rules(COUNTER),
];
const ACTIVE_UNHEALTHY: &[Field] = &[
    Field::with_default("interval", Kind::Number, "0", "Between probes, s; 0 is never.").rules(SECONDS),
    Field::with_default("http_statuses", Kind::Array(&STATUS), "[429,404,500,501,502,503,504,505]", "Bad statuses."),
    Field::with_default("tcp_failures", Kind::Integer, "0", "So many failed connections.").rules(COUNTER),
    Field::with_default("timeouts", Kind::Integer, "0", "So many timeouts.").rules(COUNTER),
    Field::with_default("http_failures", Kind::Integer, "0", "So many bad statuses.").rules(COUNTER),
];
const PASSIVE: &[Field] = &[
    Field::with_default("type", Kind::String, "\"http\"", "Kind of traffic.").rules(CHECK_TYPES),
    Field::with_default("healthy", Kind::Record(PASSIVE_HEALTHY), "{}", "What makes a target healthy."),
    Field::with_default("unhealthy", Kind::Record(PASSIVE_UNHEALTHY), "{}", "What makes it unhealthy."),
];
const PASSIVE_HEALTHY: &[Field] = &[
    Field::with_default(
        "http_statuses",
        Kind::Array(&STATUS),
        "[200,201,202,203,204,205,206,207,208,226,300,301,302,303,304,305,306,307,308]",
        "Good statuses.",
    ),
    Field::with_default("successes", Kind::Integer, "0", "So many in a row.").rules(COUNTER),
];
const PASSIVE_UNHEALTHY: &[Field] = &[
    Field::with_default("http_statuses", Kind::Array(&STATUS), "[429,500,503]", "Bad statuses."),
    Field::with_default("tcp_failures", Kind::Integer, "0", "So many failed connections.").rules(COUNTER),
    Field::with_default("timeouts", Kind::Integer, "0", "So many timeouts.").rules(COUNTER),
    Field::with_default("http_failures", Kind::Integer, "0", "So many bad statuses.").rules(COUNTER),
];

const TARGET: &[Field] = &[
    Field::optional("target", Kind::String, "host:port; the port is 8000 where there is none.")
        .required()
        .rules(&[Rule::Text(text::target)]),
    Field::with_default("weight", Kind::Integer, "100", "Share of the traffic; 0 is none.")
        .rules(&[Rule::Between(0.0, 65_535.0)]),
    Field::optional("upstream", Kind::String, "Its upstream: name or id."),
];

const CONSUMER: &[Field] = &[
    Field::optional("username", Kind::String, "Unique name."),
    Field::optional("custom_id", Kind::String, "Unique name of somebody else's."),
];

const OF_CONSUMER: Field = Field::optional("consumer", Kind::String, "Whose: username or id.");

const KEY: &[Field] = &[
    Field::optional("key", Kind::String, "The key; made up where there is none.").rules(&[Rule::Referenceable]),
    Field::optional("ttl", Kind::Integer, "How long it lives after loading, s.").rules(&[Rule::Between(0.0, 1e8)]),
    OF_CONSUMER,
];
const JWT: &[Field] = &[
    Field::optional("key", Kind::String, "What a token calls it; made up where there is none."),
    Field::optional("secret", Kind::String, "Shared secret; made up where there is none.")
        .rules(&[Rule::Referenceable]),
    Field::optional("rsa_public_key", Kind::String, "Public key, PEM.").rules(&[Rule::Referenceable]),
    Field::with_default("algorithm", Kind::String, "\"HS256\"", "Algorithm of the signature.").rules(&[Rule::OneOf(
        &[
            "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
            "EdDSA",
        ],
    )]),
    OF_CONSUMER,
];
const BASIC: &[Field] = &[
    Field::optional("username", Kind::String, "Unique username.").required(),
    Field::optional("password", Kind::String, "Password; kept as a hash.")
        .required()
        .rules(&[Rule::Referenceable, Rule::MayBeEmpty]),
    OF_CONSUMER,
];
const HMAC: &[Field] = &[
    Field::optional("username", Kind::String, "Unique username.").required(),
    Field::optional("secret", Kind::String, "Shared secret; made up where there is none.")
        .rules(&[Rule::Referenceable]),
    OF_CONSUMER,
];
const SUBJECT: &[Field] = &[
    Field::optional("subject_name", Kind::String, "A name of a certificate: an alternative one, or the common one.")
        .required(),
    Field::optional("ca_certificate", Kind::String, "The authority that must vouch for it; any, where none is named."),
    OF_CONSUMER,
];
const GROUP: &[Field] = &[Field::optional("group", Kind::String, "The group.").required(), OF_CONSUMER];

const CONSUMER_GROUP: &[Field] = &[Field::optional("name", Kind::String, "Unique name.").required().rules(NAME)];
const MEMBER: &[Field] = &[
    Field::optional("consumer", Kind::String, "Who: username or id."),
    Field::optional("consumer_group", Kind::String, "In which group: name or id."),
];

const PLUGIN: &[Field] = &[
    Field::optional("name", Kind::String, "The plugin.").required(),
    Field::optional("instance_name", Kind::String, "Unique name of this instance.").rules(NAME),
    Field::with_default("enabled", Kind::Boolean, "true", "Does it run?"),
    Field::optional("protocols", Kind::Set(&PROTOCOL), "Schemes it runs for."),
    Field::optional("route", Kind::String, "Only for this route: name or id."),
    Field::optional("service", Kind::String, "Only for this service: name or id."),
    Field::optional("consumer", Kind::String, "Only for this consumer: username or id."),
    Field::optional("consumer_group", Kind::String, "Only for consumers of this group: name or id."),
    Field::optional(
        "ordering",
        Kind::Record(ORDERING),
        "Where it runs on the way to the upstream, if not by its priority.",
    ),
    Field::optional("config", Kind::Map(&STRING), "Its configuration, as the plugin documents it."),
];
const ORDERING: &[Field] = &[
    Field::optional("before", Kind::Record(PHASES), "It runs before these."),
    Field::optional("after", Kind::Record(PHASES), "It runs after these."),
];
const PHASES: &[Field] = &[Field::optional("access", Kind::Array(&STRING), "Names of plugins.")];

const CERTIFICATE: &[Field] = &[
    Field::optional("cert", Kind::String, "Certificate chain, PEM.").required().rules(PEM),
    Field::optional("key", Kind::String, "Private key, PEM.").required().rules(PEM),
    Field::optional("cert_alt", Kind::String, "Second chain, of another kind of key.").rules(PEM),
    Field::optional("key_alt", Kind::String, "Second private key.").rules(PEM),
];
const PEM: &[Rule] = &[Rule::Referenceable, Rule::Text(others::pem)];
const SNI_FIELDS: &[Field] = &[
    Field::optional("name", Kind::String, "Server name.").required().rules(&[Rule::Text(text::sni)]),
    Field::optional("certificate", Kind::String, "Its certificate: id."),
];
const AUTHORITY: &[Field] = &[
    Field::optional("cert", Kind::String, "Certificate, PEM.").required().rules(PEM),
    Field::optional("cert_digest", Kind::String, "SHA-256 of it, hex."),
];
const VAULT: &[Field] = &[
    Field::optional("prefix", Kind::String, "What references call it.").required().rules(&[Rule::Text(others::prefix)]),
    Field::optional("name", Kind::String, "Kind of vault.").required().rules(&[Rule::OneOf(&["env"])]),
    Field::optional("description", Kind::String, "For people.").rules(&[Rule::MayBeEmpty]),
    Field::optional("config", Kind::Record(VAULT_CONFIG), "Its settings."),
];
const VAULT_CONFIG: &[Field] = &[
    Field::optional("prefix", Kind::String, "Put before names of variables."),
    Field::optional("base64_decode", Kind::Boolean, "Ignored."),
];
const KEY_SET: &[Field] = &[Field::optional("name", Kind::String, "Unique name.").rules(NAME)];
const SET_KEY: &[Field] = &[
    Field::optional("kid", Kind::String, "Id of the key.").required(),
    Field::optional("name", Kind::String, "Unique name.").rules(NAME),
    Field::optional("set", Kind::String, "Its set: name or id."),
    Field::optional("jwk", Kind::String, "The key as JSON.").rules(&[Rule::Referenceable]),
    Field::optional("pem", Kind::Record(PEM_PAIR), "The key as PEM."),
];
const PEM_PAIR: &[Field] = &[
    Field::optional("private_key", Kind::String, "Private key.").rules(PEM),
    Field::optional("public_key", Kind::String, "Public key.").rules(PEM),
];

/// Every kind of entity. The order is that of reading where it matters to nobody but people: parents first.
pub(super) const NOUNS: &[Noun] = &[
    Noun {
        name: "services",
        about: "Where requests go.",
        table: Table::Services,
        fields: SERVICE,
        foreign: &[("client_certificate", Table::Certificates)],
        children: &[("routes", "service"), ("plugins", "service")],
        build: entities::service,
    },
    Noun {
        name: "routes",
        about: "Which requests go to a service.",
        table: Table::Routes,
        fields: ROUTE,
        foreign: &[("service", Table::Services)],
        children: &[("plugins", "route")],
        build: entities::route,
    },
    Noun {
        name: "upstreams",
        about: "Groups of targets.",
        table: Table::Upstreams,
        fields: UPSTREAM,
        foreign: &[("client_certificate", Table::Certificates)],
        children: &[("targets", "upstream")],
        build: entities::upstream,
    },
    Noun {
        name: "targets",
        about: "Places of an upstream.",
        table: Table::Targets,
        fields: TARGET,
        foreign: &[("upstream", Table::Upstreams)],
        children: &[],
        build: entities::target,
    },
    Noun {
        name: "consumers",
        about: "Who sends requests.",
        table: Table::Consumers,
        fields: CONSUMER,
        foreign: &[],
        children: &[
            ("plugins", "consumer"),
            ("keyauth_credentials", "consumer"),
            ("jwt_secrets", "consumer"),
            ("basicauth_credentials", "consumer"),
            ("hmacauth_credentials", "consumer"),
            ("mtls_auth_credentials", "consumer"),
            ("acls", "consumer"),
        ],
        build: entities::consumer,
    },
    Noun {
        name: "keyauth_credentials",
        about: "API keys.",
        table: Table::Keys,
        fields: KEY,
        foreign: &[("consumer", Table::Consumers)],
        children: &[],
        build: credentials::key,
    },
    Noun {
        name: "jwt_secrets",
        about: "Keys of JSON Web Tokens.",
        table: Table::Jwts,
        fields: JWT,
        foreign: &[("consumer", Table::Consumers)],
        children: &[],
        build: credentials::jwt,
    },
    Noun {
        name: "basicauth_credentials",
        about: "Usernames and passwords.",
        table: Table::Basics,
        fields: BASIC,
        foreign: &[("consumer", Table::Consumers)],
        children: &[],
        build: credentials::basic,
    },
    Noun {
        name: "hmacauth_credentials",
        about: "Usernames and secrets of signatures.",
        table: Table::Hmacs,
        fields: HMAC,
        foreign: &[("consumer", Table::Consumers)],
        children: &[],
        build: credentials::hmac,
    },
    Noun {
        name: "mtls_auth_credentials",
        about: "Names of certificates, and whom they mean.",
        table: Table::Subjects,
        fields: SUBJECT,
        foreign: &[("consumer", Table::Consumers), ("ca_certificate", Table::Authorities)],
        children: &[],
        build: credentials::subject,
    },
    Noun {
        name: "acls",
        about: "Groups of consumers.",
        table: Table::Groups,
        fields: GROUP,
        foreign: &[("consumer", Table::Consumers)],
        children: &[],
        build: credentials::group,
    },
    Noun {
        name: "plugins",
        about: "Plugin instances.",
        table: Table::Plugins,
        fields: PLUGIN,
        foreign: &[
            ("route", Table::Routes),
            ("service", Table::Services),
            ("consumer", Table::Consumers),
            ("consumer_group", Table::ConsumerGroups),
        ],
        children: &[],
        build: plugins::plugin,
    },
    Noun {
        name: "consumer_groups",
        about: "Groups of consumers that plugins may be for.",
        table: Table::ConsumerGroups,
        fields: CONSUMER_GROUP,
        foreign: &[],
        children: &[("plugins", "consumer_group")],
        build: groups::group,
    },
    Noun {
        name: "consumer_group_consumers",
        about: "Who is in which group of consumers.",
        table: Table::Members,
        fields: MEMBER,
        foreign: &[("consumer", Table::Consumers), ("consumer_group", Table::ConsumerGroups)],
        children: &[],
        build: groups::member,
    },
    Noun {
        name: "certificates",
        about: "Certificates and their keys.",
        table: Table::Certificates,
        fields: CERTIFICATE,
        foreign: &[],
        children: &[("snis", "certificate"), ("services", "client_certificate"), ("upstreams", "client_certificate")],
        build: others::certificate,
    },
    Noun {
        name: "snis",
        about: "Server names of certificates.",
        table: Table::Snis,
        fields: SNI_FIELDS,
        foreign: &[("certificate", Table::Certificates)],
        children: &[],
        build: others::sni,
    },
    Noun {
        name: "ca_certificates",
        about: "Certificates of authorities.",
        table: Table::Authorities,
        fields: AUTHORITY,
        foreign: &[],
        children: &[],
        build: others::authority,
    },
    Noun {
        name: "vaults",
        about: "Where references are looked up.",
        table: Table::Vaults,
        fields: VAULT,
        foreign: &[],
        children: &[],
        build: others::vault,
    },
    Noun {
        name: "key_sets",
        about: "Sets of keys. Not served yet.",
        table: Table::KeySets,
        fields: KEY_SET,
        foreign: &[],
        children: &[("keys", "set")],
        build: others::key_set,
    },
    Noun {
        name: "keys",
        about: "Keys of sets. Not served yet.",
        table: Table::SetKeys,
        fields: SET_KEY,
        foreign: &[("set", Table::KeySets)],
        children: &[],
        build: others::set_key,
    },
];
