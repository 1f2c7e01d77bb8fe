//! Consumers and credentials of one generation, found by what a request brings. Built once, shared by all shards.

use crate::base::id::{ConsumerIx, CredentialIx};
use crate::base::time::WallMs;
use crate::plan::{Plan, Secret};
use ahash::RandomState;
use std::collections::HashMap;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Look-ups of consumers and credentials.
#[derive(Debug)]
pub struct Directory {
    plan: Arc<Plan>,
    hasher: RandomState,
    /// Keyed hash of an API key → credentials. The hash narrows, a constant-time comparison decides: neither a prefix
    /// nor a bucket of a key can be learnt from how long an answer takes.
    keys: HashMap<u64, Vec<CredentialIx>, RandomState>,
    jwts: HashMap<Box<str>, CredentialIx, RandomState>,
    /// By username, which is no secret: what proves it is compared by the plugin.
    basics: HashMap<Box<str>, CredentialIx, RandomState>,
    hmacs: HashMap<Box<str>, CredentialIx, RandomState>,
    consumers: HashMap<Box<str>, ConsumerIx, RandomState>,
    loaded: WallMs,
}

impl Directory {
    /// Indexes the consumers and credentials of `plan`. O(their number).
    pub fn of(plan: &Arc<Plan>) -> Directory {
        let mut directory = Directory {
            plan: plan.clone(),
            hasher: RandomState::new(),
            keys: HashMap::default(),
            jwts: HashMap::default(),
            basics: HashMap::default(),
            hmacs: HashMap::default(),
            consumers: HashMap::default(),
            loaded: WallMs(0),
        };
        for (ix, consumer) in plan.consumers.iter().enumerate() {
            let ix = ConsumerIx(ix as u32);
            directory.consumers.insert(consumer.id.to_string().into(), ix);
            if let Some(username) = &consumer.username {
                directory.consumers.entry(username.as_str().into()).or_insert(ix);
            }
        }
        for (ix, credential) in plan.credentials.iter().enumerate() {
            let ix = CredentialIx(ix as u32);
            match &credential.secret {
                Secret::Key { key, .. } => {
                    let hash = directory.hasher.hash_one(key.as_bytes());
                    directory.keys.entry(hash).or_default().push(ix);
                }
                Secret::Jwt { key, .. } => {
                    directory.jwts.insert(key.as_str().into(), ix);
                }
                Secret::Basic { username, .. } => {
                    directory.basics.insert(username.as_str().into(), ix);
                }
                Secret::Hmac { username, .. } => {
                    directory.hmacs.insert(username.as_str().into(), ix);
                }
            }
        }
        directory
    }

    /// The same, loaded at `now`: from then on credentials with a time to live have it. Without it they are long dead,
    /// so that forgetting to say when lets nobody in.
    #[must_use]
    pub fn loaded_at(self, now: WallMs) -> Directory {
        Directory { loaded: now, ..self }
    }

    /// Does this credential still live? True for all but keys whose time to live is over.
    pub fn alive(&self, credential: CredentialIx, now: WallMs) -> bool {
        match &self.plan.credentials[credential.ix()].secret {
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
        let candidates = self.keys.get(&self.hasher.hash_one(key))?;
        candidates.iter().copied().find(|ix| match &self.plan.credentials[ix.ix()].secret {
            Secret::Key { key: held, .. } => bool::from(held.as_bytes().ct_eq(key)),
            _ => false,
        })
    }

    /// The credential that a token's `iss` (or another claim) names.
    pub fn by_jwt_key(&self, key: &str) -> Option<CredentialIx> {
        self.jwts.get(key).copied()
    }

    /// The credential of this username whose password is to be compared.
    pub fn by_basic_username(&self, username: &str) -> Option<CredentialIx> {
        self.basics.get(username).copied()
    }

    /// The credential of this username whose secret signs requests.
    pub fn by_hmac_username(&self, username: &str) -> Option<CredentialIx> {
        self.hmacs.get(username).copied()
    }

    /// A consumer by id or username.
    pub fn consumer(&self, id_or_username: &str) -> Option<ConsumerIx> {
        self.consumers.get(id_or_username).copied()
    }
}
