//! How a client comes to a shard: accepted here, or handed over by a shard that has more than its share.

use super::count::bump;
use super::serve::{self, Client};
use super::{Complaint, Shard};
use crate::base::limits::{ACCEPTS_PER_TURN, ACCEPT_PAUSE_MS};
use crate::bus::{Gauges, ToShard};
use crate::io::channel::Channel;
use crate::io::listen::{is_out_of_descriptors, Listener as Socket};
use crate::io::tcp::{last_words, Stream};
use crate::plan::Listener;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::Arc;

/// Accepts until the shard drains. Dropping the socket then would reset who waits in its queue, so the queue is emptied
/// first.
pub(super) async fn accept(shard: Rc<Shard>, listener: Arc<Listener>, socket: Socket) {
    let name: Arc<str> = listener.name.as_str().into();
    let slot = shard.drain_wakers.borrow_mut().insert(None);
    loop {
        let (ready, drained) = either(socket.ready(), shard.drained(slot)).await;
        let mut pause = matches!(ready, Some(Err(_)));
        for turn in 0.. {
            // When draining, all that wait are taken; otherwise other work gets its turn.
            if turn == ACCEPTS_PER_TURN && !drained {
                break;
            }
            match socket.accept() {
                Ok(Some(client)) => place(&shard, &listener, &name, client),
                Ok(None) => break,
                Err(error) => {
                    if is_out_of_descriptors(&error) {
                        bump(&shard.counters.out_of_descriptors);
                        shard.free_descriptors();
                    }
                    shard.complain(Complaint::Accept, || format!("cannot accept on {}: {error}", listener.bind.addr));
                    pause = true;
                    break;
                }
            }
        }
        if drained {
            return;
        }
        if pause {
            // The connection stays in the queue and the socket stays readable: without a pause this loop would spin.
            crate::io::sleep_ms(ACCEPT_PAUSE_MS).await;
        }
    }
}

/// Whichever ends first; whether the second did. Dropping a poll loses nothing.
async fn either<T>(
    first: impl std::future::Future<Output = T>,
    second: impl std::future::Future<Output = ()>,
) -> (Option<T>, bool) {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    std::future::poll_fn(|cx| {
        if second.as_mut().poll(cx).is_ready() {
            return std::task::Poll::Ready((None, true));
        }
        first.as_mut().poll(cx).map(|output| (Some(output), false))
    })
    .await
}

fn place(shard: &Rc<Shard>, listener: &Arc<Listener>, name: &Arc<str>, client: OwnedFd) {
    bump(&shard.counters.accepted);
    let max = shard.world.borrow().tables.plan.node.runtime.connections_max;
    if shard.gauges.iter().map(|gauges| gauges.connections.load(Relaxed)).sum::<u64>() >= max {
        bump(&shard.counters.refused_full);
        // Said without a task and without a buffer: those who are too many must cost nothing but the saying.
        last_words(client, REFUSED_FULL);
        return;
    }
    match better_shard(shard) {
        Some(other) => {
            let adopt = ToShard::Adopt { socket: client, listener: name.clone() };
            match shard.shards[other].post(adopt) {
                Ok(()) => bump(&shard.counters.handed_off),
                // Its mailbox is full: it is busier than its gauge says.
                Err(ToShard::Adopt { socket, .. }) => start(shard, Some(listener), socket),
                Err(_) => {}
            }
        }
        None => start(shard, Some(listener), client),
    }
}

/// What a client beyond the most connections is told, whatever it was about to ask.
const REFUSED_FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n\
    Content-Length: 38\r\nConnection: close\r\n\r\n{\n  \"message\":\"Too many connections\"\n}";

/// The least loaded shard, where this one has clearly more: beyond 2 and a tenth. Listener sockets are chosen by hash, so
/// few long connections spread unevenly, and the fullest shard sets the tail.
fn better_shard(shard: &Shard) -> Option<usize> {
    if !shard.hand_off || shard.gauges.len() < 2 || shard.is_draining() {
        return None;
    }
    let mine = shard.gauges().connections.load(Relaxed);
    let open = shard.gauges.iter().enumerate().filter(|(_, gauges)| gauges.open.load(Acquire));
    let (other, least) =
        open.map(|(index, gauges)| (index, gauges.connections.load(Relaxed))).min_by_key(|&(_, load)| load)?;
    (mine >= least + (mine / 10).max(2)).then_some(other)
}

/// A client that another shard accepted.
pub(super) fn adopt(shard: &Rc<Shard>, socket: OwnedFd, listener: Arc<str>) {
    let world = shard.world();
    let found = world.tables.plan.listeners.iter().find(|held| *held.name == *listener);
    start(shard, found, socket);
}

fn start(shard: &Rc<Shard>, listener: Option<&Listener>, socket: OwnedFd) {
    let bind = listener.map(|listener| &listener.bind);
    let Ok(stream) = Stream::adopt(socket) else { return };
    // A client that is gone already has no address.
    let (Ok(peer), Ok(mut local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    if let Some(bind) = bind {
        local.set_port(bind.addr.port());
    }
    let watch = shard.deadlines.watch(stream.fd());
    // Boxed, so that the futures which pass it on do not each keep room for it.
    let mut client = Box::new(Client::new(shard, Channel::from(stream), watch, peer, local));
    client.announces = bind.is_some_and(|bind| bind.proxy_protocol);
    client.http2 = bind.is_some_and(|bind| bind.http2);
    client.listener = listener.filter(|listener| listener.bind.tls).map(|listener| listener.name.as_str().into());
    Gauges::add(&shard.gauges().connections, 1);
    let shard = shard.clone();
    crate::io::spawn(async move {
        // Pinned here: handed over by value, a future has its room twice, and idle clients are what there is most of.
        let served = std::pin::pin!(serve::connection(&shard, &mut client));
        if let Err(panic) = crate::io::catch_panic(served).await {
            bump(&shard.counters.panics);
            shard
                .complain(Complaint::Panic, || format!("a connection ended by a fault of the gateway itself: {panic}"));
        }
        Gauges::sub(&shard.gauges().connections, 1);
    });
}
