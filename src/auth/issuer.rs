//! Where the keys of issuers are: put there by the control side, read by shards without a lock.
//!
//! ```text
//! shard: Issuer::keys ──────────── a pointer ───────────── Issuer::put: control
//!        Issuer::await_keys ─ "a kid that nobody knows" ─→ Issuer::begin … put or fail
//! ```
//!
//! [`Issuers`] knows every issuer that a plugin of a living generation was built for; one that no generation needs any
//! more is forgotten with its keys. Fetching, and when: `control/keys.rs`.

use super::jwks::KeySet;
use crate::base::limits;
use crate::base::time::WallMs;
use arc_swap::{ArcSwapOption, Guard};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Where an issuer publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A set of keys is at this URL.
    Keys(String),
    /// This issuer says where, in its discovery document (OpenID Connect Discovery §4).
    Discovery(String),
}

impl Source {
    /// The URL that was configured.
    pub fn url(&self) -> &str {
        match self {
            Source::Keys(url) | Source::Discovery(url) => url,
        }
    }
}

/// One issuer's keys, and whether they are being fetched.
pub struct Issuer {
    source: Source,
    keys: ArcSwapOption<KeySet>,
    /// When the fetch that is under way or asked for began, wall ms; 0: none is.
    since: AtomicU64,
    /// When a request last asked for one, wall ms; 0: never.
    asked: AtomicU64,
    /// Has a request asked since the last fetch began?
    is_wanted: AtomicBool,
    bell: Arc<Bell>,
}

/// Wakes the control side.
#[derive(Default)]
struct Bell(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl Bell {
    fn ring(&self) {
        if let Some(ring) = self.0.get() {
            ring();
        }
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Where its keys are published.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its keys as they were fetched last; `None` before the first time.
    pub fn keys(&self) -> Guard<Option<Arc<KeySet>>> {
        self.keys.load()
    }

    /// Have others come in the place of `keys` since those were looked into?
    pub fn has_others(&self, keys: &KeySet) -> bool {
        self.keys.load().as_ref().is_some_and(|held| !std::ptr::eq(Arc::as_ptr(held), keys))
    }

    /// Ought a request whose key is not there wait a little? It ought while a fetch is under way, for
    /// [`limits::JWKS_WAIT_MS`] from its begin. Asks for one where none is, once in [`limits::JWKS_ASK_MS_MIN`].
    pub fn await_keys(&self, now: WallMs) -> bool {
        // A shard's clock may be a little behind. Should it be set back, the difference is huge: nobody waits, and asking is
        // allowed.
        let since = self.since.load(Ordering::Acquire);
        if since != 0 {
            return now.0.abs_diff(since) < limits::JWKS_WAIT_MS;
        }
        let asked = self.asked.load(Ordering::Relaxed);
        if asked != 0 && now.0.abs_diff(asked) < limits::JWKS_ASK_MS_MIN {
            return false;
        }
        if self.since.compare_exchange(0, now.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.asked.store(now.0, Ordering::Relaxed);
            self.is_wanted.store(true, Ordering::Release);
            self.bell.ring();
        }
        true
    }

    /// Has a request asked for a fetch that has not begun?
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// A fetch begins.
    pub fn begin(&self, now: WallMs) {
        self.is_wanted.store(false, Ordering::Release);
        let _ = self.since.compare_exchange(0, now.0.max(1), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The fetch has brought these keys.
    pub fn put(&self, keys: KeySet) {
        self.keys.store(Some(Arc::new(keys)));
        self.fail();
    }

    /// The fetch has brought nothing; the keys stay what they are.
    pub fn fail(&self) {
        self.since.store(0, Ordering::Release);
    }
}

/// Every issuer that is needed, and what became of fetches.
#[derive(Default)]
pub struct Issuers {
    // Taken when a configuration is compiled and when the control side looks around; never while a request is served.
    known: Mutex<Vec<Weak<Issuer>>>,
    bell: Arc<Bell>,
    /// Fetches that were begun.
    pub fetches: AtomicU64,
    /// Fetches that brought nothing.
    pub failures: AtomicU64,
    /// Keys that were left out of sets, at every fetch.
    pub ignored: AtomicU64,
}

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuers").finish_non_exhaustive()
    }
}

impl Issuers {
    /// The issuer of this source: the one that older generations have, so that its keys outlive a reload.
    pub fn of(&self, source: &Source) -> Arc<Issuer> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|held| held.strong_count() > 0);
        let held = known.iter().filter_map(Weak::upgrade).find(|held| held.source == *source);
        held.unwrap_or_else(|| {
            let issuer = Arc::new(Issuer {
                source: source.clone(),
                keys: ArcSwapOption::empty(),
                since: AtomicU64::new(0),
                asked: AtomicU64::new(0),
                is_wanted: AtomicBool::new(false),
                bell: self.bell.clone(),
            });
            known.push(Arc::downgrade(&issuer));
            self.bell.ring();
            issuer
        })
    }

    /// Those that somebody needs.
    pub fn living(&self) -> Vec<Arc<Issuer>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter_map(Weak::upgrade).collect()
    }

    /// Calls `ring`, on any thread, when there is a new issuer or a request asks for keys. Must not block. Set once.
    pub fn on_wanted(&self, ring: Box<dyn Fn() + Send + Sync>) {
        let _ = self.bell.0.set(ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_435_200_000;

    #[test]
    fn an_issuer_outlives_a_reload_and_not_its_last_user() {
        let issuers = Issuers::default();
        let source = Source::Keys("http://a.test/keys".into());
        let old = issuers.of(&source);
        old.put(KeySet::parse(b"{\"keys\":[]}").unwrap());
        let new = issuers.of(&source);
        assert!(Arc::ptr_eq(&old, &new) && new.keys().is_some());
        assert!(!Arc::ptr_eq(&old, &issuers.of(&Source::Discovery(source.url().into()))));
        assert_eq!(issuers.living().len(), 1);
        drop((old, new));
        assert!(issuers.living().is_empty());
        assert!(issuers.of(&source).keys().is_none());
    }

    #[test]
    fn unknown_keys_are_asked_for_at_a_bounded_rate_and_waited_for_a_while() {
        let issuers = Issuers::default();
        let rings = Arc::new(AtomicU64::new(0));
        let counted = rings.clone();
        issuers.on_wanted(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        let issuer = issuers.of(&Source::Keys("http://a.test/keys".into()));
        let rung = || rings.swap(0, Ordering::Relaxed);
        assert_eq!(rung(), 1);
        // A scheduled fetch is waited for and needs no asking.
        issuer.begin(WallMs(NOW));
        assert!(issuer.await_keys(WallMs(NOW - 5)), "a shard's clock is a little behind");
        assert!(issuer.await_keys(WallMs(NOW + 999)) && !issuer.await_keys(WallMs(NOW + 1_000)));
        assert_eq!((rung(), issuer.is_wanted()), (0, false));
        issuer.fail();
        // The first who misses a key asks; the others wait with it, until it is over or for a second.
        for after in [2_000, 2_001, 2_999] {
            assert!(issuer.await_keys(WallMs(NOW + after)));
        }
        assert!(!issuer.await_keys(WallMs(NOW + 3_000)));
        assert_eq!((rung(), issuer.is_wanted()), (1, true));
        issuer.begin(WallMs(NOW + 2_010));
        assert!(!issuer.is_wanted() && !issuer.await_keys(WallMs(NOW + 3_000)), "it counts from when it was asked for");
        issuer.fail();
        // Whoever makes up names of keys gets no more fetches out of us.
        for after in (3_000..12_000).step_by(10) {
            assert!(!issuer.await_keys(WallMs(NOW + after)));
        }
        assert_eq!(rung(), 0);
        assert!(issuer.await_keys(WallMs(NOW + 12_000)));
        assert_eq!(rung(), 1);
        issuer.fail();
        // A clock that was set back stops nobody.
        assert!(issuer.await_keys(WallMs(NOW)));
    }
}
