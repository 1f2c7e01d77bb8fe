//! The gateway from outside: the real binary, real sockets, real upstreams. Nothing here names a module of the crate.
//!
//! `harness/` starts the program, speaks raw bytes on both of its sides and judges them with a strict parser of its own.
//! `raw.rs` replays the rows of `raw/*.toml` (HTTP/1.1 as bytes), `kong.rs` those of `cases/*.toml` (what users of a
//! kong.yml rely on), `abuse.rs` holds slow, greedy and sick peers, `bombs.rs` bodies made to take a validator down,
//! `announced.rs` load balancers that name their clients (PROXY protocol), `redis.rs` limits that gateways share,
//! `http2.rs` connections of HTTP/2, `http2_frames.rs` its frames and header blocks, `http2_requests.rs` requests and answers that
//! it can say and HTTP/1.1 cannot, `grpc.rs` calls of gRPC, `web.rs` those of browsers and by JSON,
//! `shared.rs` upstreams that speak HTTP/2, `stalled.rs` streams that stand still beside others,
//! `balancing.rs` targets that fall ill and recover, `issuer.rs` issuers of tokens and their keys, `tls.rs` curl and openssl as clients
//! and upstreams, `secured.rs` clients' certificates and the Admin API over TLS, `mtls.rs` the plugin that looks at them,
//! `certfiles.rs` files of certificates and scanners, `life.rs` signals, reloads and the admin listener.
//!
//! One group, or one file of rows: `cargo test --test gateway -- redis::`, `… -- kong::jwt`; over epoll with
//! `RINGWAY_TEST_DRIVER=epoll` before it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

mod abuse;
mod announced;
mod balancing;
mod bombs;
mod bridge;
mod certfiles;
mod clients;
mod early;
mod grpc;
mod harness;
mod http2;
mod http2_frames;
mod http2_requests;
mod issuer;
mod kong;
mod life;
mod mtls;
mod pyjwt;
mod raw;
mod redis;
mod redis_answers;
mod redis_groups;
mod redis_secure;
mod rewriting;
mod secured;
mod shared;
mod stalled;
mod tls;
mod web;
