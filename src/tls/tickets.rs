//! Session tickets: one set of keys for all shards, and for all nodes that are given the same files.
//!
//! A ticket is the session's secret, sealed: its key must be young or well kept. Without files, keys are random, live in
//! memory, and are replaced every few hours; with files, the first one seals and all of them open, and whoever writes the
//! files replaces them. Reading the keys of a ticket takes no lock.

use super::sessions::Sessions;
use crate::base::limits::{TICKET_KEYS_MAX, TICKET_KEY_S};
use arc_swap::ArcSwap;
use aws_lc_rs::aead::{Aad, Nonce, RandomizedNonceKey, AES_256_GCM};
use aws_lc_rs::digest::{digest, SHA256};
use rustls::server::ProducesTickets;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

const NAME_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

struct TicketKey {
    /// What tickets call it; says nothing of it.
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl TicketKey {
    /// The key that follows from a secret of any length.
    fn of(secret: &[u8]) -> Option<TicketKey> {
        let hash = |label: &[u8]| digest(&SHA256, &[label, secret].concat());
        let key = RandomizedNonceKey::new(&AES_256_GCM, hash(b"ticket key").as_ref()).ok()?;
        let name = hash(b"ticket name").as_ref()[..NAME_BYTES].try_into().ok()?;
        Some(TicketKey { name, key })
    }

    fn random() -> Option<TicketKey> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        TicketKey::of(&secret)
    }
}

/// The keys of tickets. Outlives reloads.
pub struct Tickets {
    /// The first one seals.
    keys: ArcSwap<Vec<Arc<TicketKey>>>,
    /// When the first one was made, seconds of the wall clock; `u64::MAX`: they come from files.
    since: AtomicU64,
    /// Sessions that are good once, and have no ticket.
    pub(super) once: Sessions,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets")
    }
}

impl Tickets {
    /// A random key, made at `now`, seconds.
    pub fn new(now: u64) -> Tickets {
        let keys = TicketKey::random().map(Arc::new).into_iter().collect();
        Tickets { keys: ArcSwap::new(Arc::new(keys)), since: AtomicU64::new(now), once: Sessions::default() }
    }

    /// Takes the secrets of files instead, the sealing one first; none of them: random ones from now on.
    pub fn set(&self, secrets: &[Vec<u8>], now: u64) {
        const OF_FILES: u64 = u64::MAX;
        if secrets.is_empty() {
            if self.since.swap(now, Ordering::AcqRel) == OF_FILES {
                self.keys.store(Arc::new(TicketKey::random().map(Arc::new).into_iter().collect()));
            } else {
                self.turn(now);
            }
            return;
        }
        self.since.store(OF_FILES, Ordering::Release);
        let keys = secrets.iter().take(TICKET_KEYS_MAX).filter_map(|secret| TicketKey::of(secret)).map(Arc::new);
        self.keys.store(Arc::new(keys.collect()));
    }

    /// Replaces a random key that is old enough; the one before it still opens. Whichever shard asks first does it.
    pub fn turn(&self, now: u64) {
        self.once.turn(now);
        let since = self.since.load(Ordering::Acquire);
        if since == u64::MAX || now < since.saturating_add(TICKET_KEY_S) {
            return;
        }
        if self.since.compare_exchange(since, now, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let before = self.keys.load();
            let keys = TicketKey::random().map(Arc::new).into_iter().chain(before.first().cloned());
            self.keys.store(Arc::new(keys.collect()));
        }
    }
}

/// [`Tickets`] as rustls asks for them.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) tickets: Arc<Tickets>,
    /// Where they are good: a ticket that was sealed for another context does not open. rustls takes whoever resumes for
    /// who it was, so that a session begun where clients need no certificate would go on where they do.
    pub(super) context: Arc<[u8]>,
}

impl Shared {
    /// What is authenticated beside the ticket itself.
    fn aad(&self, name: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([name, &self.context].concat())
    }
}

impl ProducesTickets for Shared {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // One that was sealed just before its key was replaced is good for as long again.
        TICKET_KEY_S as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.tickets.keys.load();
        let key = keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.key.seal_in_place_append_tag(self.aad(&key.name), &mut sealed).ok()?;
        Some([&key.name, &nonce.as_ref()[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES)?;
        let keys = self.tickets.keys.load();
        let key = keys.iter().find(|key| key.name == name)?;
        let mut text = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = key.key.open_in_place(nonce, self.aad(&key.name), &mut text).ok()?.len();
        text.truncate(plain);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(tickets: Tickets) -> Shared {
        Shared { tickets: Arc::new(tickets), context: Arc::default() }
    }

    #[test]
    fn a_ticket_opens_on_every_node_with_the_same_file_and_on_no_other() {
        let node = |secrets: &[&[u8]]| {
            let tickets = Tickets::new(0);
            tickets.set(&secrets.iter().map(|secret| secret.to_vec()).collect::<Vec<_>>(), 0);
            shared(tickets)
        };
        let ticket = node(&[b"old", b"older"]).encrypt(b"a session").expect("seals");
        assert_eq!(node(&[b"new", b"old"]).decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(node(&[b"new"]).decrypt(&ticket), None);
        assert_eq!(shared(Tickets::new(0)).decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(node(&[b"old"]).decrypt(&changed), None, "changed at {at}");
            assert_eq!(node(&[b"old"]).decrypt(&ticket[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_random_key_opens_for_one_turn_more() {
        let tickets = shared(Tickets::new(100));
        let ticket = tickets.encrypt(b"s").expect("seals");
        tickets.tickets.turn(100 + TICKET_KEY_S - 1);
        assert_eq!(tickets.tickets.keys.load().len(), 1);
        tickets.tickets.turn(100 + TICKET_KEY_S);
        assert!(tickets.decrypt(&ticket).is_some());
        assert!(!tickets.encrypt(b"s").expect("seals").starts_with(&ticket[..NAME_BYTES]));
        tickets.tickets.turn(100 + 2 * TICKET_KEY_S);
        assert!(tickets.decrypt(&ticket).is_none());
    }
}
