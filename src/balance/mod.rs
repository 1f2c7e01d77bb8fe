//! Which target gets the next request, and which targets may be asked at all. Pure but for atomics: weights, loads, a
//! hash, `may` (who may be asked) and random numbers come in, an index goes out.
//!
//! ```text
//!   round_robin         by weight, in turn                       one relaxed add, whatever the number of targets
//!   consistent_hashing  by a hash of the request                 a binary search
//!   least_connections   by (open requests + 1) / weight          O(targets)
//!   latency             by smoothed latency / weight, of two     O(targets)
//!   health              what reports of good and bad make of a target
//!   member              what all shards share of one address: its health, its load
//! ```
//!
//! A pick is made twice where it has to be: among those that have not failed this request yet, and, where all have, among
//! all that are available. A target that is unhealthy is never asked.

pub mod consistent_hashing;
pub mod health;
pub mod latency;
pub mod least_connections;
pub mod member;
pub mod round_robin;

pub use member::Member;

use crate::base::rng::Rng;
use crate::base::time::Millis;
use crate::plan::{Algorithm, Upstream};
use consistent_hashing::Ring;
use round_robin::{Turn, Wheel};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

/// An algorithm with what it has prepared for the targets it picks among; places are those of the lists it was made of.
/// Clones share it.
#[derive(Clone, Debug)]
pub enum Picker {
    /// By weight, in turn.
    RoundRobin(Wheel),
    /// By a hash of the request.
    ConsistentHashing(Ring),
    /// Fewest open requests by weight.
    LeastConnections(Arc<[u32]>),
    /// Lowest smoothed latency by weight.
    Latency(Arc<[u32]>),
}

/// What a target is to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// May be asked.
    Ready,
    /// Has failed this request already: only where nobody else is left.
    Tried,
    /// Must not be asked.
    Down,
}

/// What a pick may look at.
pub struct Pick<'a> {
    /// The cursor of the upstream.
    pub turn: &'a Turn,
    /// Hash of the request; looked at by consistent hashing only.
    pub hash: u32,
    /// The shard's clock.
    pub now: Millis,
    /// Random numbers of the shard; borrowed by the algorithm that draws.
    pub rng: &'a RefCell<Rng>,
}

impl Picker {
    /// Prepares the algorithm of `upstream` for targets at these addresses and weights (none of them 0).
    pub fn new(upstream: &Upstream, targets: &[(SocketAddr, u32)]) -> Picker {
        let weights = || targets.iter().map(|(_, weight)| *weight);
        match upstream.algorithm {
            Algorithm::RoundRobin => Picker::RoundRobin(Wheel::new(&weights().collect::<Vec<_>>())),
            Algorithm::ConsistentHashing => Picker::ConsistentHashing(Ring::new(upstream.hashing.slots, targets)),
            Algorithm::LeastConnections => Picker::LeastConnections(weights().collect()),
            Algorithm::Latency => Picker::Latency(weights().collect()),
        }
    }

    /// The target to ask; `None` where there is none that may be. `member` gives what is shared of the target at a place.
    pub fn pick<'m>(
        &self,
        cx: &Pick<'_>,
        member: impl Fn(usize) -> &'m Member + Copy,
        standing: impl Fn(usize) -> Standing + Copy,
    ) -> Option<usize> {
        let fresh = self.pick_one(cx, member, |at| standing(at) == Standing::Ready);
        fresh.or_else(|| self.pick_one(cx, member, |at| standing(at) != Standing::Down))
    }

    fn pick_one<'m>(
        &self,
        cx: &Pick<'_>,
        member: impl Fn(usize) -> &'m Member,
        may: impl Fn(usize) -> bool + Copy,
    ) -> Option<usize> {
        match self {
            Picker::RoundRobin(wheel) => wheel.pick(cx.turn, may),
            Picker::ConsistentHashing(ring) => ring.pick(cx.hash, may),
            Picker::LeastConnections(weights) => {
                least_connections::pick(weights, |at| member(at).open(), cx.turn.next(), may)
            }
            Picker::Latency(weights) => {
                latency::pick(weights, |at| member(at).pace(cx.now), &mut cx.rng.borrow_mut(), may)
            }
        }
    }

    /// Is a hash of the request looked at?
    pub fn hashes(&self) -> bool {
        matches!(self, Picker::ConsistentHashing(_))
    }

    /// Must requests be counted while they are open?
    pub fn counts_open(&self) -> bool {
        matches!(self, Picker::LeastConnections(_))
    }

    /// Must answers be timed?
    pub fn times_answers(&self) -> bool {
        matches!(self, Picker::Latency(_))
    }
}

impl Default for Picker {
    fn default() -> Picker {
        Picker::RoundRobin(Wheel::new(&[]))
    }
}
