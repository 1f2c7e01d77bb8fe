//! What is said to Redis and what it answers, over byte slices; knows no socket.
//!
//! [`server`] says which Redis and who we are there; [`call`] holds commands until they are sent, and why they failed;
//! [`codec`] turns commands into bytes and bytes into [`Reply`]s, bounded, since an answer is a peer's; [`script`] holds
//! the Lua programs that make counting exact; [`cluster`] says which node has a key; [`sentinel`] who is master.
//!
//! Spoken is RESP2, which every Redis since 1.2 and its relatives understand; nothing here would be shorter or cheaper in
//! RESP3, so nobody is asked for it (HELLO). Connections, timeouts and what is tried
//! again are in `shard/redis/`.

pub mod call;
pub mod cluster;
pub mod codec;
pub mod script;
pub mod sentinel;
pub mod server;

pub use call::{Call, Command, Fault, Shape, Spare};
pub use codec::Reply;
pub use script::Script;
pub use server::{Host, Login, Place, Secure, Server};
