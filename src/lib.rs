//! # Ringway: an API gateway on pinned io_uring shards
//!
//! ```text
//!   ringway.yaml      kong.yml       (any mix: -c may be given several times)
//!         \             /
//!      config/    Draft: names as written, each with file:line:column
//!                   |   plan::link → (Option<Plan>, Report)    every fault at once, with a hint
//!                 Plan    one neutral model, immutable
//!                   |   shard::Tables::compile, off the serving threads; one Arc per reload
//!   ┌───────────────┴──────────────────────────────────────────────────────────┐
//!   │ control thread (tokio)          │ shard 0 (monoio, pinned) │ shard 1 │ … │
//!   │ Admin API, file watch, DNS,     │ listeners, connections,  │         │   │
//!   │ probes, metrics scrape          │ pools: all its own       │         │   │
//!   └──────────────────────────────────────────────────────────────────────────┘
//!            the two sides never call each other: they exchange bus messages
//! ```
//!
//! # The rooms
//!
//! | room | what it decides | may name |
//! |---|---|---|
//! | [`base`] | bounds (`limits`), time, ids, units, places in files | nothing |
//! | [`plan`] | the one model, the draft it is linked from, the report of what is wrong | base |
//! | [`http`] | HTTP/1.1 over byte slices: heads, framing, chunks, targets | base |
//! | [`tls`] | handshakes, records, certificates, tickets: bytes in, bytes out | base |
//! | [`route`] | which route takes a request, and the path towards its upstream | base plan http |
//! | [`balance`] | which target is next, and which may be asked | base plan |
//! | [`limit`] | counts of the node, exact over all shards | base |
//! | [`auth`] | tokens: verified or not; where issuers' keys are | base |
//! | [`redis`] | what is said to Redis, and what it answers | base |
//! | [`hook`] | the plugin contract | base plan http redis |
//! | [`plugins`] | one file and one row per plugin | base plan http hook limit auth redis |
//! | [`config`] | text of any dialect → draft | base plan auth hook |
//! | [`io`] | sockets, clocks, the runtime: all that names monoio | base tls |
//! | [`bus`] | the messages between control and shards | base plan balance |
//! | [`shard`] | the data plane; `shard/request.rs` is the story of one request | all of the above but plugins, config |
//! | [`control`] | the control plane: one loop over one enum of events | base plan http tls route balance auth hook config io bus |
//! | [`boot`], [`cli`] | wiring, commands | anything |
//!
//! The table is checked by `tests/tidy.rs`.
//!
//! # Where is …?
//!
//! * the order in which things happen to a request: `src/shard/request.rs`; what its head says: `src/shard/look.rs`
//! * which target is tried, and when again: `src/shard/attempt.rs`
//! * every failure a client can see: `src/shard/refusal.rs`
//! * what is sent to upstreams and back: `src/shard/forward.rs`
//! * how answers come back: `src/shard/download.rs`
//! * TLS: `src/io/channel.rs` (a connection), `src/tls/record.rs`, `src/tls/certs.rs` (whose certificate), `src/shard/secure.rs`
//! * algorithms of limits: `src/limit/rule.rs`; counts in Redis: `src/plugins/rate_limiting/shared.rs`
//! * what is refused as smuggling: `src/http/framing.rs`, `src/http/parse.rs`, `src/http/chunked.rs`
//! * HTTP/2, to clients and to services: `src/shard/h2/mod.rs`; its smuggling rules: `src/shard/h2/convert.rs`; what clients must
//!   not do: `src/shard/h2/conduct.rs`; which connection to an upstream takes a request: `src/shard/h2/share.rs`
//! * who is asked for a certificate: `src/shard/greeting.rs`; what is told of it: `src/shard/certificate.rs`; whom it means:
//!   `src/plugins/mtls_auth.rs`
//! * what may be asked before the end of a handshake (0-RTT): `src/shard/early.rs`; on the socket: `src/io/early.rs`; that a
//!   session is good once: `src/tls/sessions.rs`
//! * consumers and credentials, packed: `src/plan/people.rs`; found by what a request brings: `src/hook/directory.rs`; groups of
//!   consumers: `src/plan/groups.rs`; which instance of a plugin runs for whom: `src/plan/chain.rs`
//! * what the Admin API shows of entities: `src/plan/record.rs` (as read), `src/control/store.rs` (as kept)
//! * gRPC for those who speak none: `src/plugins/grpc_web/mod.rs`, `src/plugins/grpc_gateway/mod.rs`,
//!   `src/plugins/grpc_http1_bridge.rs`; bodies rewritten as they come: `src/hook/recode.rs`, `src/shard/recode.rs`
//! * who is healthy and who says so: `src/balance/health.rs`; probes: `src/control/probe/`
//! * what a hash is made of: `src/shard/affinity.rs`
//! * what happens while Redis is slow, down or wrong: `src/shard/redis/conn.rs`
//! * what plugins can change, and what none can: `src/hook/edits.rs`; templates: `src/plugins/transform/template.rs`
//! * whose tokens are believed: `src/plugins/jwt.rs`; where an issuer's keys come from: `src/control/keys.rs`
//! * timeouts: `src/io/deadline.rs`; bounds: `src/base/limits.rs`
//! * precedence of routes: `src/plan/rank.rs`; of plugin instances: `src/plan/chain.rs`
//! * what a setting is called: `src/config/native/knobs.rs`, `src/config/kong/conf/mod.rs`, `src/config/kong/fields.rs`
//! * reload, signals, drain, configurations handed in: `src/control/life.rs`
//! * what the Admin API shows of entities: `src/control/store.rs`; their paths: `src/control/admin/kinds.rs`
//! * black-box cases: `tests/gateway/raw`, `tests/conformance`

pub mod auth;
pub mod balance;
pub mod base;
pub mod boot;
pub mod bus;
pub mod cli;
pub mod config;
pub mod control;
pub mod hook;
pub mod http;
pub mod io;
pub mod limit;
pub mod plan;
pub mod plugins;
pub mod redis;
pub mod route;
pub mod shard;
pub mod tls;
