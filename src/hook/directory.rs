//! Consumers and credentials of one generation, found by what a request brings. Built once, shared by all shards.
//!
//! The tables hold places only, five bytes each: what a place means, and so what it is found by, stands in the plan.

use crate::base::id::{ConsumerIx, CredentialIx};
use crate::base::time::WallMs;
use crate::plan::{Consumer, Plan, Secret};
use ahash::RandomState;
use hashbrown::HashTable;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Look-ups of consumers and credentials. All O(1); none allocates.
#[derive(Debug)]
pub struct Directory {
    plan: Arc<Plan>,
    /// Keyed, so that nobody can choose keys or names that share a place.
    hasher: RandomState,
    /// By API key. The hash narrows, a constant-time comparison decides: neither a prefix nor a bucket of a key can be
    /// learnt from how long an answer takes.
    keys: HashTable<CredentialIx>,
    jwts: HashTable<CredentialIx>,
    /// By username, which is no secret: what proves it is compared by the plugin.
    basics: HashTable<CredentialIx>,
    hmacs: HashTable<CredentialIx>,
    /// By a name of a certificate; several may have one.
    subjects: HashTable<CredentialIx>,
    ids: HashTable<ConsumerIx>,
    usernames: HashTable<ConsumerIx>,
    custom_ids: HashTable<ConsumerIx>,
    loaded: WallMs,
}

impl Directory {
    /// Indexes the consumers and credentials of `plan`. O(their number).
    pub fn of(plan: &Arc<Plan>) -> Directory {
        let hasher = RandomState::new();
        let credentials = |name: Name| {
            let named =
                plan.credentials.iter().enumerate().filter_map(move |(ix, held)| Some((ix, name(held.secret)?)));
            table(&hasher, named.map(|(ix, name)| (CredentialIx(ix as u32), name.as_bytes())))
        };
        let consumers = |name: for<'p> fn(Consumer<'p>) -> Option<&'p str>| {
            let named = plan.consumers.iter().enumerate().filter_map(move |(ix, held)| Some((ix, name(held)?)));
            table(&hasher, named.map(|(ix, name)| (ConsumerIx(ix as u32), name.as_bytes())))
        };
        let ids: Vec<_> = plan.consumers.iter().map(|held| held.id).collect();
        let ids = ids.iter().enumerate().map(|(ix, id)| (ConsumerIx(ix as u32), &id.as_bytes()[..]));
        Directory {
            keys: credentials(key),
            jwts: credentials(jwt),
            basics: credentials(basic),
            hmacs: credentials(hmac),
            subjects: credentials(subject),
            ids: table(&hasher, ids),
            usernames: consumers(|held| held.username),
            custom_ids: consumers(|held| held.custom_id),
            loaded: WallMs(0),
            hasher,
            plan: plan.clone(),
        }
    }

    /// The same, loaded at `now`: from then on credentials with a time to live have it. Without it they are long dead,
    /// so that forgetting to say when lets nobody in.
    #[must_use]
    pub fn loaded_at(self, now: WallMs) -> Directory {
        Directory { loaded: now, ..self }
    }

    /// Does this credential still live? True for all but keys whose time to live is over.
    pub fn alive(&self, credential: CredentialIx, now: WallMs) -> bool {
        match self.plan.credential(credential).secret {
            Secret::Key { ttl_s: Some(ttl_s), .. } => now.0 < self.loaded.0.saturating_add(ttl_s.saturating_mul(1000)),
            _ => true,
        }
    }

    /// The plan that the indexes mean.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The credential of an API key.
    pub fn by_key(&self, key: &[u8]) -> Option<CredentialIx> {
        self.compared(key).0
    }

    /// The credential of an API key, and how many keys it was compared with: one at least, so that a key that nobody has
    /// costs what one costs that somebody has.
    fn compared(&self, sought: &[u8]) -> (Option<CredentialIx>, usize) {
        let mut compared = 0;
        let found = self.keys.find(self.hasher.hash_one(sought), |ix| {
            compared += 1;
            key(self.plan.credential(*ix).secret).is_some_and(|held| bool::from(held.as_bytes().ct_eq(sought)))
        });
        if compared == 0 {
            compared = 1;
            let _ = std::hint::black_box(bool::from(sought.ct_eq(std::hint::black_box(sought))));
        }
        (found.copied(), compared)
    }

    /// The credential that a token's `iss` (or another claim) names.
    pub fn by_jwt_key(&self, key: &str) -> Option<CredentialIx> {
        self.credential(&self.jwts, jwt, key)
    }

    /// The credential of this username whose password is to be compared.
    pub fn by_basic_username(&self, username: &str) -> Option<CredentialIx> {
        self.credential(&self.basics, basic, username)
    }

    /// The credential of this username whose secret signs requests.
    pub fn by_hmac_username(&self, username: &str) -> Option<CredentialIx> {
        self.credential(&self.hmacs, hmac, username)
    }

    /// The credentials that a name of a certificate may mean.
    pub fn by_subject<'s>(&'s self, name: &'s str) -> impl Iterator<Item = CredentialIx> + 's {
        let hash = self.hasher.hash_one(name.as_bytes());
        let all = self.subjects.iter_hash(hash).copied();
        all.filter(move |ix| subject(self.plan.credential(*ix).secret) == Some(name))
    }

    fn credential(&self, table: &HashTable<CredentialIx>, name: Name, sought: &str) -> Option<CredentialIx> {
        let hash = self.hasher.hash_one(sought.as_bytes());
        table.find(hash, |ix| name(self.plan.credential(*ix).secret) == Some(sought)).copied()
    }

    /// A consumer by id, in the one form that ids are written in, or username.
    pub fn consumer(&self, id_or_username: &str) -> Option<ConsumerIx> {
        let id = (id_or_username.len() == 36).then(|| Uuid::try_parse(id_or_username).ok()).flatten();
        let by_id = id.and_then(|id| {
            let hash = self.hasher.hash_one(&id.as_bytes()[..]);
            self.ids.find(hash, |ix| self.plan.consumers.id(*ix) == id).copied()
        });
        by_id.or_else(|| self.by_username(id_or_username))
    }

    /// A consumer by username or, where nobody has it, custom id.
    pub fn consumer_called(&self, name: &str) -> Option<ConsumerIx> {
        self.by_username(name).or_else(|| self.by_custom_id(name))
    }

    /// A consumer by custom id.
    pub fn by_custom_id(&self, name: &str) -> Option<ConsumerIx> {
        let hash = self.hasher.hash_one(name.as_bytes());
        let is_it = |ix: &ConsumerIx| self.plan.consumer(*ix).custom_id == Some(name);
        self.custom_ids.find(hash, is_it).copied()
    }

    /// A consumer by username.
    pub fn by_username(&self, name: &str) -> Option<ConsumerIx> {
        let hash = self.hasher.hash_one(name.as_bytes());
        let is_it = |ix: &ConsumerIx| self.plan.consumer(*ix).username == Some(name);
        self.usernames.find(hash, is_it).copied()
    }
}

/// What a kind of credential is found by; `None` where it is of another kind.
type Name = for<'p> fn(Secret<&'p str>) -> Option<&'p str>;

/// A table of places by what they are found by. Names are unique: linking saw to it.
fn table<'p, P: Copy>(hasher: &RandomState, named: impl Iterator<Item = (P, &'p [u8])> + Clone) -> HashTable<P> {
    let mut table = HashTable::with_capacity(named.clone().count());
    for (place, name) in named {
        // It has room for all of them: nothing is ever hashed anew.
        table.insert_unique(hasher.hash_one(name), place, |_| 0);
    }
    table
}

fn key(secret: Secret<&str>) -> Option<&str> {
    match secret {
        Secret::Key { key, .. } => Some(key),
        _ => None,
    }
}

fn jwt(secret: Secret<&str>) -> Option<&str> {
    match secret {
        Secret::Jwt(held) => Some(held.key),
        _ => None,
    }
}

fn basic(secret: Secret<&str>) -> Option<&str> {
    match secret {
        Secret::Basic { username, .. } => Some(username),
        _ => None,
    }
}

fn hmac(secret: Secret<&str>) -> Option<&str> {
    match secret {
        Secret::Hmac { username, .. } => Some(username),
        _ => None,
    }
}

fn subject(secret: Secret<&str>) -> Option<&str> {
    match secret {
        Secret::Subject { name, .. } => Some(name),
        _ => None,
    }
}
