//! The upstream side of a request: which target, over which connection, and what to do when it fails.

use super::count::bump;
use super::pool::{Link, Pool};
use super::{Complaint, Shard};
use crate::balance::round_robin::{Turn, Wheel};
use crate::base::limits::ACCEPT_PAUSE_MS;
use crate::bus::Located;
use crate::io::clock;
use crate::io::listen::is_out_of_descriptors;
use crate::io::tcp::Stream;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// An upstream on this shard; outlives a reload.
pub(super) struct Group {
    name: String,
    turn: Arc<Turn>,
    peers: RefCell<Rc<Peers>>,
}

/// Where an upstream is at the moment; a request sees one of these from its first try to its last.
#[derive(Default)]
pub(super) struct Peers {
    peers: Vec<Rc<Peer>>,
    wheel: Wheel,
    /// A name did not resolve, and there is nothing else to go on with.
    failed: bool,
}

/// One address of an upstream.
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    /// Host of the target as configured.
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pool: Rc<Pool>,
}

/// Why there is nobody to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPeer {
    /// The name did not resolve.
    Name,
    /// No target has a weight.
    Empty,
}

impl Group {
    pub(super) fn new(name: &str, turn: Arc<Turn>) -> Group {
        Group { name: name.to_owned(), turn, peers: RefCell::default() }
    }

    /// Takes new addresses; connections to those that stay are kept.
    pub(super) fn locate(&self, located: Option<&Located>, pool: impl Fn(SocketAddr) -> Rc<Pool>) {
        let Some(located) = located else { return };
        let weights: Vec<u32> = located.endpoints.iter().map(|endpoint| endpoint.weight).collect();
        let peers = located.endpoints.iter().map(|endpoint| {
            Rc::new(Peer {
                addr: endpoint.addr,
                host: endpoint.host.clone(),
                port: endpoint.port,
                pool: pool(endpoint.addr),
            })
        });
        let peers = Peers { peers: peers.collect(), wheel: Wheel::new(&weights), failed: located.failed };
        *self.peers.borrow_mut() = Rc::new(peers);
    }

    pub(super) fn peers(&self) -> Rc<Peers> {
        self.peers.borrow().clone()
    }

    /// The target of the next try: the next of the wheel that has not failed this request yet, or, where all have, the
    /// next one.
    pub(super) fn pick(&self, peers: &Peers, failed: &[SocketAddr]) -> Result<Rc<Peer>, NoPeer> {
        let none = if peers.failed { NoPeer::Name } else { NoPeer::Empty };
        for _ in 0..=failed.len().min(peers.peers.len()) {
            let peer = &peers.peers[peers.wheel.at(self.turn.next()).ok_or(none)?];
            if failed.len() >= peers.peers.len() || !failed.contains(&peer.addr) {
                return Ok(peer.clone());
            }
        }
        let at = peers.wheel.at(self.turn.next()).ok_or(none)?;
        Ok(peers.peers[at].clone())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Peer {
    /// A connection that was used before, if a live one lies idle.
    pub(super) fn reuse(&self, shard: &Shard) -> Option<Box<Link>> {
        let link = self.pool.take()?;
        bump(&shard.counters.upstream_reuses);
        Some(link)
    }

    /// A new connection.
    pub(super) async fn connect(&self, shard: &Shard, group: &Group, timeout_ms: u64) -> std::io::Result<Box<Link>> {
        let mut connected = Stream::connect(self.addr, timeout_ms).await;
        if connected.as_ref().is_err_and(is_out_of_descriptors) {
            bump(&shard.counters.out_of_descriptors);
            shard.free_descriptors();
            crate::io::sleep_ms(ACCEPT_PAUSE_MS).await;
            connected = Stream::connect(self.addr, timeout_ms).await;
        }
        match connected {
            Ok(stream) => {
                bump(&shard.counters.upstream_connects);
                let watch = shard.deadlines.watch(stream.fd());
                Ok(Box::new(Link::new(stream, watch)))
            }
            Err(error) => {
                bump(&shard.counters.upstream_connect_failures);
                shard.complain(Complaint::UpstreamConnect, || {
                    format!("cannot connect to {} of upstream {:?}: {error}", self.addr, group.name)
                });
                Err(error)
            }
        }
    }

    /// Keeps a connection for the next request. Only when its answer has ended where its framing said, and nothing came
    /// after it.
    pub(super) fn give_back(&self, shard: &Shard, mut link: Box<Link>) {
        link.served += 1;
        if !shard.is_draining() {
            self.pool.put(link, clock::millis(), shard.pool_bounds);
        }
    }
}
