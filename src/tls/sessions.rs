//! Sessions that are good once: those of listeners that take early data.
//!
//! Early data can be recorded and sent again by whoever is between (RFC 8446 §8). What a session was kept under goes with
//! its first use (§8.1, single-use tickets), so that a copy finds nothing, on whichever shard of the node it comes. Other
//! nodes have never had the session, nor has this one after a restart: there a full handshake is made, and its early data
//! refused. Clients' clocks are looked at by rustls (§8.3).

use super::tickets::Tickets;
use crate::base::limits::{TICKET_KEY_S, TLS_SESSIONS_MAX};
use rustls::server::StoresServerSessions;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What rustls knows of a session, and where it is good.
struct Held {
    context: Arc<[u8]>,
    session: Vec<u8>,
}

type Table = HashMap<Vec<u8>, Held>;

/// Two generations: the young one becomes the old one when it is full, or of the age at which keys of tickets change.
#[derive(Default)]
struct Generations {
    young: Table,
    old: Table,
    /// Since when the young one is, seconds.
    since: u64,
}

/// The sessions of a node. A lock, taken once or twice in a handshake of such a listener.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Generations>);

impl Sessions {
    /// Forgets what is old.
    pub(super) fn turn(&self, now: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= held.since.saturating_add(TICKET_KEY_S) {
            held.since = now;
            held.old = std::mem::take(&mut held.young);
        }
    }

    fn put(&self, id: Vec<u8>, context: &Arc<[u8]>, session: Vec<u8>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.young.len() >= TLS_SESSIONS_MAX / 2 {
            held.old = std::mem::take(&mut held.young);
        }
        held.young.insert(id, Held { context: context.clone(), session });
    }

    /// The session, which is gone with it, even where it was asked for in a context that it is not good in.
    fn take(&self, id: &[u8], context: &Arc<[u8]>) -> Option<Vec<u8>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let young = held.young.remove(id);
        let found = young.or_else(|| held.old.remove(id))?;
        (found.context == *context).then_some(found.session)
    }

    fn find(&self, id: &[u8], context: &Arc<[u8]>) -> Option<Vec<u8>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.young.get(id).or_else(|| held.old.get(id))?;
        (found.context == *context).then(|| found.session.clone())
    }
}

/// [`Sessions`] as rustls asks for them.
pub(super) struct Once {
    pub(super) tickets: Arc<Tickets>,
    /// Where they are good; see [`super::tickets`].
    pub(super) context: Arc<[u8]>,
}

impl std::fmt::Debug for Once {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Once")
    }
}

impl StoresServerSessions for Once {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        self.tickets.once.put(id, &self.context, session);
        true
    }

    /// TLS 1.2, which has no early data: good more than once.
    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.tickets.once.find(id, &self.context)
    }

    /// TLS 1.3.
    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.tickets.once.take(id, &self.context)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(tickets: &Arc<Tickets>, context: &[u8]) -> Once {
        Once { tickets: tickets.clone(), context: context.into() }
    }

    #[test]
    fn a_session_is_taken_once_and_where_it_is_good() {
        let tickets = Arc::new(Tickets::new(0));
        let (one, other) = (once(&tickets, b"one"), once(&tickets, b"other"));
        one.put(b"a".to_vec(), b"session a".to_vec());
        one.put(b"b".to_vec(), b"session b".to_vec());
        assert_eq!(one.get(b"a").as_deref(), Some(&b"session a"[..]));
        assert_eq!(other.get(b"a"), None);
        assert_eq!(one.take(b"a").as_deref(), Some(&b"session a"[..]));
        assert_eq!((one.take(b"a"), one.get(b"a")), (None, None), "it was used");
        assert_eq!(other.take(b"b"), None, "of another context");
        assert_eq!(one.take(b"b"), None, "and used up by that");
    }

    #[test]
    fn sessions_are_bounded_in_number_and_age() {
        let tickets = Arc::new(Tickets::new(0));
        let one = once(&tickets, b"");
        for n in 0..TLS_SESSIONS_MAX as u32 + 10 {
            one.put(n.to_be_bytes().to_vec(), Vec::new());
        }
        let held = || {
            let held = tickets.once.0.lock().expect("not poisoned");
            held.young.len() + held.old.len()
        };
        assert!(held() <= TLS_SESSIONS_MAX);
        assert!(one.get(&0u32.to_be_bytes()).is_none() && one.get(&(TLS_SESSIONS_MAX as u32).to_be_bytes()).is_some());
        tickets.once.turn(TICKET_KEY_S);
        tickets.once.turn(TICKET_KEY_S + 1);
        assert!(held() > 0, "a turn keeps the last ones");
        tickets.once.turn(2 * TICKET_KEY_S);
        assert_eq!(held(), 0);
    }
}
