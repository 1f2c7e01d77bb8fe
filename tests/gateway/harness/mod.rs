//! What every group needs: the program under test, a client and an upstream that see and send exact bytes.

pub(crate) mod board;
pub(crate) mod client;
pub(crate) mod echo;
pub(crate) mod frames;
pub(crate) mod gateway;
pub(crate) mod greeter;
pub(crate) mod nginx;
pub(crate) mod origin;
pub(crate) mod ports;
pub(crate) mod redis;
pub(crate) mod switch;
pub(crate) mod text;
pub(crate) mod tokens;
pub(crate) mod upstream;
pub(crate) mod wire;

pub(crate) use client::Client;
pub(crate) use gateway::{Gateway, Setup};
pub(crate) use upstream::Upstream;

use std::time::Duration;

/// How long a case waits for something that must come. Generous: it is only spent where a case fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
