//! Every setting of a native file as a row: name, kind, what it is worth. The rows read files (`read.rs`) and make the
//! JSON Schema (`schema.rs`), so that the two cannot disagree; defaults are read off the model through the same rows.

use super::sections;
use crate::config::doc::Node;
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::{Driver, Level};

/// A setting.
pub(crate) struct Knob {
    /// Its key.
    pub(crate) name: &'static str,
    /// What may stand there, and where it goes.
    pub(crate) kind: Kind,
    /// What it does, in a sentence or two.
    pub(crate) about: &'static str,
}

/// What may stand at a key.
pub(crate) enum Kind {
    /// More settings.
    Section(&'static [Knob]),
    /// A number in a unit.
    Number(Number),
    /// `true` or `false`.
    Switch { read: fn(&NodeDraft) -> bool, write: fn(&mut NodeDraft, bool) },
    /// One of these words; they are known by their place in the list.
    Word { words: &'static [&'static str], read: fn(&NodeDraft) -> usize, write: fn(&mut NodeDraft, usize) },
    /// Text that a peer sees, or `off`.
    Shown { read: fn(&NodeDraft) -> Option<&String>, write: fn(&mut NodeDraft, Option<String>) },
    /// A shape of its own.
    Own { read: fn(&Node, &str, &mut NodeDraft, &mut Report), schema: fn() -> serde_json::Value },
}

/// A number in a unit, within bounds.
pub(crate) struct Number {
    pub(crate) unit: Unit,
    pub(crate) min: u64,
    pub(crate) max: u64,
    /// The word for 0, which in the model means that there is no bound.
    pub(crate) none: Option<&'static str>,
    pub(crate) read: fn(&NodeDraft) -> u64,
    pub(crate) write: fn(&mut NodeDraft, u64),
}

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Milliseconds; written `5s`.
    Time,
    /// Bytes; written `16KiB`.
    Size,
    /// Bytes per second; written `64B/s`.
    Rate,
    /// Things; the one kind that is written bare.
    Count,
}

/// A number of `node.runtime`; the bounds fit its type.
macro_rules! number {
    ($field:ident, $unit:ident, $min:expr, $max:expr, $none:expr) => {
        Kind::Number(Number {
            unit: Unit::$unit,
            min: $min,
            max: $max,
            none: $none,
            read: |draft| u64::from(draft.node.runtime.$field),
            write: |draft, value| draft.node.runtime.$field = value as _,
        })
    };
}

macro_rules! shown {
    ($field:ident) => {
        Kind::Shown {
            read: |draft| draft.node.dress.$field.as_ref(),
            write: |draft, text| draft.node.dress.$field = text,
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const DAY: u64 = 24 * 3_600_000;
const MANY: u64 = i64::MAX as u64;

/// A file's settings; entities stand beside them.
pub(crate) const TOP: &[Knob] = &[
    Knob { name: "runtime", kind: Kind::Section(RUNTIME), about: "Threads, sizes and times of the gateway." },
    Knob {
        name: "listeners",
        kind: Kind::Own { read: sections::listeners, schema: sections::listeners_schema },
        about: "Where clients connect: \"0.0.0.0:8000 backlog=4096\", or a map. Every shard opens each of them.",
    },
    Knob {
        name: "admin",
        kind: Kind::Own { read: sections::admin, schema: sections::admin_schema },
        about: "Where the Admin API listens, or \"off\". Who reaches it is an operator: keep it on loopback.",
    },
    Knob {
        name: "tls",
        kind: Kind::Own { read: super::tls::node, schema: super::tls::node_schema },
        about: "TLS of all listeners and services. Files are PEM.",
    },
    Knob {
        name: "access_log",
        kind: Kind::Own { read: sections::access_log, schema: sections::access_log_schema },
        about: "A JSON line per request: a path, or a map of path and format.",
    },
    Knob {
        name: "admin_access_log",
        kind: Kind::Own { read: sections::admin_access_log, schema: sections::path_schema },
        about: "Requests of the Admin API: a file, /dev/stdout, /dev/stderr or \"off\".",
    },
    Knob {
        name: "error_log",
        kind: Kind::Own { read: sections::error_log, schema: sections::path_schema },
        about: "The program's own words: a file, /dev/stdout, /dev/stderr or \"off\".",
    },
    Knob {
        name: "log_level",
        kind: Kind::Word {
            words: &["debug", "info", "warn", "error"],
            read: |draft| draft.node.log_level as usize,
            write: |draft, at| draft.node.log_level = [Level::Debug, Level::Info, Level::Warn, Level::Error][at],
        },
        about: "From which level on the program's own words are written.",
    },
    Knob {
        name: "trusted_ips",
        kind: Kind::Own { read: sections::trusted_ips, schema: sections::trusted_ips_schema },
        about: "Peers whose forwarding headers are believed: addresses and CIDR blocks of your load balancers.",
    },
    Knob { name: "real_ip", kind: Kind::Section(REAL_IP), about: "How a trusted peer tells the client's address." },
    Knob {
        name: "headers",
        kind: Kind::Section(HEADERS),
        about: "Headers that the gateway itself writes: a name, or \"off\".",
    },
];

const RUNTIME: &[Knob] = &[
    Knob {
        name: "shards",
        kind: Kind::Own { read: sections::shards, schema: sections::shards_schema },
        about: "Serving threads, one per CPU: \"auto\", a number, a list of CPUs, or {cpus: \"0-3,8\"}.",
    },
    Knob {
        name: "pin",
        kind: Kind::Switch { read: |d| d.node.runtime.pin, write: |d, on| d.node.runtime.pin = on },
        about: "Pin each shard to its CPU.",
    },
    Knob {
        name: "driver",
        kind: Kind::Word {
            words: &["auto", "uring", "epoll"],
            read: |draft| draft.node.runtime.driver as usize,
            write: |draft, at| draft.node.runtime.driver = [Driver::Auto, Driver::Uring, Driver::Epoll][at],
        },
        about: "What a shard waits with: io_uring or nothing, epoll, or io_uring where the kernel allows it.",
    },
    Knob {
        name: "ring_entries",
        kind: number!(ring_entries, Count, 64, 32_768, None),
        about: "Submission entries of each shard's ring; completions have four times as many.",
    },
    Knob {
        name: "connections_max",
        kind: number!(connections_max, Count, 1, 100_000_000, None),
        about: "Open client connections of the process; one more is answered with 503.",
    },
    Knob {
        name: "hand_off",
        kind: Kind::Switch { read: |d| d.node.runtime.hand_off, write: |d, on| d.node.runtime.hand_off = on },
        about: "Move new connections from a shard over its share to the least busy one.",
    },
    Knob {
        name: "keepalive_requests_max",
        kind: number!(keepalive_requests_max, Count, 1, MANY, Some("unlimited")),
        about: "Requests that one client connection may carry.",
    },
    Knob {
        name: "body_max",
        kind: number!(body_bytes_max, Size, 1, MANY, Some("unlimited")),
        about: "Largest request body; more is answered with 413.",
    },
    Knob {
        name: "field_max",
        kind: number!(field_bytes_max, Size, KIB, MANY, Some("unlimited")),
        about:
            "Largest value of one header field; more is answered with 431. Whole heads have their own bound, 32 KiB.",
    },
    Knob {
        name: "body_rate_min",
        kind: number!(body_rate_min, Rate, 1, MANY, Some("off")),
        about: "Lowest rate of a request body after its first seconds; slower clients get 408.",
    },
    Knob {
        name: "log_ring",
        kind: number!(log_ring_bytes, Size, 4 * KIB, 1024 * MIB, None),
        about: "Each shard's ring for access-log lines; a full one drops lines and counts them.",
    },
    Knob { name: "buffers", kind: Kind::Section(BUFFERS), about: "Buffers of connections." },
    Knob { name: "timeouts", kind: Kind::Section(TIMEOUTS), about: "How long to wait for clients." },
    Knob { name: "upstream", kind: Kind::Section(UPSTREAM), about: "Idle connections to upstreams, of each shard." },
    Knob {
        name: "hosts",
        kind: Kind::Own { read: sections::hosts, schema: sections::hosts_schema },
        about: "Names that need no DNS: name to address, or to a list of addresses.",
    },
    Knob { name: "dns", kind: Kind::Section(DNS), about: "How names are resolved." },
];

const BUFFERS: &[Knob] = &[
    Knob {
        name: "small",
        kind: number!(buffer_small, Size, KIB, 64 * KIB, None),
        about: "Buffer that a connection waits for a request head in.",
    },
    Knob {
        name: "large",
        kind: number!(buffer_large, Size, 4 * KIB, 16 * MIB, None),
        about: "Buffer that bodies are relayed through, one per direction.",
    },
    Knob {
        name: "kept",
        kind: number!(buffers_kept, Count, 0, 1_000_000, None),
        about: "Free buffers of each size that a shard keeps.",
    },
];

const TIMEOUTS: &[Knob] = &[
    Knob {
        name: "header",
        kind: number!(header_timeout_ms, Time, 1, DAY, None),
        about: "From the first byte of a request head to its last.",
    },
    Knob {
        name: "body",
        kind: number!(body_timeout_ms, Time, 1, DAY, None),
        about: "Between two reads of a request body.",
    },
    Knob {
        name: "send",
        kind: number!(send_timeout_ms, Time, 1, DAY, None),
        about: "Between two writes to a client that does not read.",
    },
    Knob {
        name: "keepalive",
        kind: number!(keepalive_timeout_ms, Time, 1, DAY, None),
        about: "Between two requests of one connection.",
    },
    Knob {
        name: "tunnel",
        kind: number!(tunnel_timeout_ms, Time, 1, 7 * DAY, None),
        about: "Silence in a tunnel (WebSocket).",
    },
    Knob {
        name: "drain",
        kind: number!(drain_timeout_ms, Time, 0, DAY, None),
        about: "From SIGTERM until what is still in flight is cut off.",
    },
];

const UPSTREAM: &[Knob] = &[
    Knob {
        name: "idle_max",
        kind: number!(upstream_idle_max, Count, 0, 1_000_000, None),
        about: "Idle connections a shard keeps per address; 0 closes each after its answer.",
    },
    Knob {
        name: "requests_max",
        kind: number!(upstream_requests_max, Count, 1, MANY, Some("unlimited")),
        about: "Requests that one connection to an upstream may carry.",
    },
    Knob {
        name: "idle_timeout",
        kind: number!(upstream_idle_ms, Time, 1, DAY, Some("never")),
        about: "How long an idle connection is kept; below the upstream's own keep-alive timeout.",
    },
    Knob {
        name: "age_max",
        kind: number!(upstream_age_ms, Time, 1, 7 * DAY, Some("never")),
        about: "Age from which on a connection takes no more requests.",
    },
    Knob {
        name: "http2_connections_max",
        kind: number!(upstream_http2_connections_max, Count, 1, 10_000, None),
        about: "Connections of HTTP/2 a shard has side by side to one address; requests beyond wait for connect_timeout.",
    },
    Knob {
        name: "http2_streams_max",
        kind: number!(upstream_http2_streams_max, Count, 1, 10_000, None),
        about: "Requests at once over one of them, where the upstream allows so many.",
    },
    Knob {
        name: "http2_ping",
        kind: number!(upstream_http2_ping_ms, Time, 1000, DAY, Some("never")),
        about: "Silence with requests under way before an upstream is sent a PING; as long again without an answer is its end.",
    },
];

const DNS: &[Knob] = &[Knob {
    name: "servers",
    kind: Kind::Own { read: sections::dns_servers, schema: sections::dns_servers_schema },
    about: "Servers to ask instead of the system's.",
}];

const REAL_IP: &[Knob] = &[
    Knob {
        name: "header",
        kind: Kind::Own { read: sections::real_ip_header, schema: sections::real_ip_header_schema },
        about: "The header: X-Real-IP, X-Forwarded-For, or the word proxy_protocol.",
    },
    Knob {
        name: "recursive",
        kind: Kind::Switch { read: |d| d.node.real_ip_recursive, write: |d, on| d.node.real_ip_recursive = on },
        about: "Walk the list from the right over trusted addresses.",
    },
];

const HEADERS: &[Knob] = &[
    Knob { name: "server", kind: shown!(server), about: "Value of Server where no upstream sent one." },
    Knob {
        name: "via",
        kind: Kind::Shown {
            read: |draft| draft.node.dress.via_reply.as_ref(),
            write: |draft, text| {
                draft.node.dress.via_request.clone_from(&text);
                draft.node.dress.via_reply = text;
            },
        },
        about: "Name of the gateway in Via, both ways.",
    },
    Knob {
        name: "request_id_upstream",
        kind: shown!(request_id_upstream),
        about: "Header of the request's id towards upstreams.",
    },
    Knob {
        name: "request_id_client",
        kind: shown!(request_id_client),
        about: "Header of the request's id towards clients.",
    },
    Knob {
        name: "upstream_latency",
        kind: shown!(upstream_latency),
        about: "Header of the ms spent waiting for the upstream's head.",
    },
    Knob {
        name: "proxy_latency",
        kind: shown!(proxy_latency),
        about: "Header of the ms spent in the gateway before connecting.",
    },
    Knob {
        name: "response_latency",
        kind: shown!(response_latency),
        about: "Header of the ms spent on answers that the gateway made itself.",
    },
    Knob { name: "upstream_status", kind: shown!(upstream_status), about: "Header of the upstream's status." },
    Knob {
        name: "debug_trigger",
        kind: Kind::Shown {
            read: |draft| draft.node.dress.debug_trigger.as_ref(),
            write: |draft, text| draft.node.dress.debug_trigger = text.map(|name| name.to_ascii_lowercase()),
        },
        about: "Request header that asks for the names of route and service; leave it off where strangers come by.",
    },
    Knob {
        name: "error_type",
        kind: Kind::Word {
            words: ERROR_TYPES,
            read: |draft| ERROR_TYPES.iter().position(|known| *known == draft.node.dress.error_type).unwrap_or(0),
            write: |draft, at| ERROR_TYPES[at].clone_into(&mut draft.node.dress.error_type),
        },
        about: "Media type of error pages where a client names none.",
    },
];

/// The media types that error pages are written in.
pub(crate) const ERROR_TYPES: &[&str] = &["text/plain", "text/html", "application/json", "application/xml", "text/xml"];
