//! Ports for programs that we start. `:0` serves our own sockets; a program needs to be told a number.
//!
//! Below the ephemeral range, or thousands of outgoing connections would take them; never the same twice in a process,
//! because two gateways could open one port side by side (SO_REUSEPORT) and share each other's clients.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free() -> u16 {
    // Test processes that run side by side start at different places.
    let start = 11_000 + (std::process::id() % 190) as u16 * 100;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
