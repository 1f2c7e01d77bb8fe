//! HTTP/1.1 over byte slices: what a head says, where a message ends, and how it is written again. Knows no socket.
//!
//! ```text
//! bytes ─ parse::Parser ─→ Head (offsets, known ids) ─ HeadRef ─┬─ target::Target      which path, which authority
//!                                                               ├─ framing::of_request where the body ends, Host
//!                                                               ├─ headers::Drop       what is not passed on
//!                                                               ├─ upgrade             WebSocket or not
//!                                                               └─ encode              the same head in one normal form
//! body bytes ─ chunked::Decoder ─→ payload ranges ─→ encode / chunked::encode_size
//! ```
//!
//! Everything that is refused is a [`Fault`]; it names the exact reason and the status a client gets for it.
//! Strictness is one policy, written down where it is decided: `parse` (bytes of a head), `target`, `framing` (lengths,
//! Host), `chunked`. Nothing here allocates in the steady state: outputs are buffers that the caller keeps.

pub mod accept;
pub mod authority;
pub mod chunked;
pub mod cookies;
pub mod encode;
mod fault;
pub mod framing;
pub mod grpc;
mod head;
pub mod headers;
pub mod parse;
pub mod proxy_protocol;
pub mod query;
pub mod reply;
mod scan;
pub mod target;
pub mod upgrade;

pub use fault::Fault;
pub use head::{Field, Fields, Head, HeadRef, Method, Part, Version};
pub use headers::Known;
pub use target::Target;
