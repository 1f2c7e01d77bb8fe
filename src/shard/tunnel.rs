//! After a 101: bytes both ways, until both sides have ended, or both are silent for too long.

use super::count::bump;
use super::pool::Link;
use super::serve::Client;
use super::Shard;
use crate::base::time::Millis;
use crate::io::channel::Channel;
use crate::io::clock;
use crate::io::deadline::Watch;
use std::cell::Cell;

/// Relays until the end. `early` is what the upstream sent right behind its 101, `late` what the client sent behind its
/// request.
pub(super) async fn run(
    shard: &Shard,
    client: &Client,
    link: &Link,
    early: Vec<u8>,
    late: Vec<u8>,
    timeout_ms: u64,
) -> (u64, u64) {
    bump(&shard.counters.tunnels);
    let (up, down) = (Cell::new(0), Cell::new(0));
    let alive = || {
        // Both directions count: a one-way stream is not silence.
        let until = Millis(clock::millis().0 + timeout_ms);
        for watch in [&client.watch, &link.watch] {
            watch.arm_read(until);
        }
    };
    alive();
    let from_client = copy(&client.stream, &link.stream, &link.watch, late, &up, &alive, timeout_ms);
    let from_upstream = copy(&link.stream, &client.stream, &client.watch, early, &down, &alive, timeout_ms);
    let (a, b) = crate::io::both(from_client, from_upstream).await;
    shard.put_buf(a);
    shard.put_buf(b);
    client.bytes_in.set(client.bytes_in.get() + up.get());
    client.bytes_out.set(client.bytes_out.get() + down.get());
    let bytes = &shard.counters.tunnel_bytes;
    bytes.set(bytes.get() + up.get() + down.get());
    (up.get(), down.get())
}

async fn copy(
    from: &Channel,
    to: &Channel,
    to_watch: &Watch,
    mut buf: Vec<u8>,
    count: &Cell<u64>,
    alive: &dyn Fn(),
    timeout_ms: u64,
) -> Vec<u8> {
    loop {
        if !buf.is_empty() {
            to_watch.arm_write(Millis(clock::millis().0 + timeout_ms));
            let bytes = buf.len() as u64;
            let (result, back) = to.send(buf, 0).await;
            buf = back;
            to_watch.disarm_write();
            if result.is_err() {
                break;
            }
            count.set(count.get() + bytes);
            alive();
            buf.clear();
        }
        let (result, back) = from.recv(buf).await;
        buf = back;
        match result {
            Ok(1..) => alive(),
            _ => break,
        }
    }
    // Half-close: the other direction may still have something to say.
    to.shutdown_write();
    buf
}
