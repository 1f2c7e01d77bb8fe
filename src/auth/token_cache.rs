//! Tokens that were verified, so that a client's next request costs a digest instead of a signature.
//!
//! Keyed by the SHA-256 of the token and of everything the verdict hung on: the credentials of the generation and how
//! the token names one of them ([`Realm`]). So a changed secret, key or consumer makes every older entry unfindable,
//! and no entry has to be searched for and removed. The token itself is not kept.
//!
//! What changes while nobody writes is the time: an entry holds the token's `exp` and `nbf`, and whoever gets a hit must
//! hold them to its rules again, which [`Hit`] makes hard to forget. Only tokens that passed are remembered; a flood of
//! bad ones pushes nobody out.

use super::jwt::{Claims, Verified};
use super::life::{Life, LifeFaults, LifeRules};
use crate::base::limits;
use aws_lc_rs::digest::{digest, Context, SHA256};

const WAYS: usize = 4;

const _: () = assert!(limits::TOKENS_CACHED.is_multiple_of(WAYS), "a cache is made of whole sets");
const _: () = assert!((limits::TOKENS_CACHED / WAYS).is_power_of_two(), "a set is found by masking");

/// What a token is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    fn set(&self, sets: usize) -> usize {
        u64::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3], self.0[4], self.0[5], self.0[6], self.0[7]])
            as usize
            & (sets - 1)
    }
}

/// What a verdict hangs on besides the token: credentials and settings, as a digest of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realm([u8; 32]);

impl Realm {
    /// Of these parts, in order; each part's length is hashed with it.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Realm {
        let mut all = Parts::default();
        parts.into_iter().for_each(|part| all.add(part));
        all.realm()
    }

    /// The digest itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A [`Realm`] in the making, part by part.
pub struct Parts(Context);

impl Default for Parts {
    fn default() -> Parts {
        Parts(Context::new(&SHA256))
    }
}

impl Parts {
    /// The next part; its length is hashed with it.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// The realm of all parts.
    pub fn realm(self) -> Realm {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        Realm(out)
    }
}

#[derive(Clone, Debug)]
struct Entry {
    digest: Digest,
    life: Life,
    /// Whose it is: an index that the realm vouches for.
    owner: u32,
    /// What else the verdict said, as whoever remembered it wrote it down.
    told: Box<[u8]>,
    /// When it was last asked for, in look-ups of this cache; 0 is a free entry.
    asked: u32,
}

/// A shard's verified tokens. Fixed size; finding and remembering are O(1) and allocate nothing.
#[derive(Debug)]
pub struct TokenCache {
    sets: Box<[[Entry; WAYS]]>,
    turn: u32,
    hits: u64,
    misses: u64,
    /// Where a realm and a token are put side by side, to be hashed in one go: the library's running hash lives on its own
    /// heap, out of sight of anyone who counts allocations. Grows to the longest token seen.
    side_by_side: Vec<u8>,
}

impl Default for TokenCache {
    fn default() -> TokenCache {
        TokenCache::new(limits::TOKENS_CACHED)
    }
}

impl TokenCache {
    /// A cache of so many tokens, rounded up to 4 × a power of two.
    pub fn new(tokens: usize) -> TokenCache {
        let life = Life { exp: None, nbf: None, iat: None, nbf_is_odd: false, iat_is_odd: false };
        let free = || Entry { digest: Digest([0; 32]), life, owner: 0, told: Box::default(), asked: 0 };
        let sets = tokens.div_ceil(WAYS).max(1).next_power_of_two();
        let sets = (0..sets).map(|_| std::array::from_fn(|_| free())).collect();
        TokenCache { sets, turn: 0, hits: 0, misses: 0, side_by_side: Vec::new() }
    }

    /// What `token` is remembered by under `realms`: all that its verdict hangs on besides itself. O(bytes).
    pub fn digest<const N: usize>(&mut self, realms: [&Realm; N], token: &[u8]) -> Digest {
        self.side_by_side.clear();
        self.side_by_side.push(N as u8);
        for realm in realms {
            self.side_by_side.extend_from_slice(&realm.0);
        }
        self.side_by_side.extend_from_slice(token);
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, &self.side_by_side).as_ref());
        Digest(out)
    }

    /// The token of this digest, if it passed before and was not forgotten since.
    pub fn find(&mut self, digest: &Digest) -> Option<Hit<'_>> {
        let turn = self.next_turn();
        let at = digest.set(self.sets.len());
        let Some(entry) = self.sets[at].iter_mut().find(|entry| entry.asked != 0 && entry.digest == *digest) else {
            self.misses += 1;
            return None;
        };
        entry.asked = turn;
        self.hits += 1;
        Some(Hit { owner: entry.owner, told: &entry.told, life: entry.life })
    }

    /// Remembers that the token of this digest passed, by its proof, and what was `told` of it. Forgets the token of its set
    /// that nobody has asked for longest. Not remembered with more than [`limits::TOKEN_TOLD_BYTES_MAX`] told.
    pub fn remember(&mut self, digest: &Digest, proof: &Verified<Claims>, owner: u32, told: &[u8]) {
        if told.len() > limits::TOKEN_TOLD_BYTES_MAX {
            return;
        }
        let turn = self.next_turn();
        let at = digest.set(self.sets.len());
        let set = &mut self.sets[at];
        let same = set.iter().position(|entry| entry.asked != 0 && entry.digest == *digest);
        let oldest = (0..WAYS).min_by_key(|&way| set[way].asked);
        if let Some(way) = same.or(oldest) {
            set[way] = Entry { digest: *digest, life: proof.life(), owner, told: told.into(), asked: turn };
        }
    }

    /// Look-ups that found their token, and those that did not, since start.
    pub fn counts(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    fn next_turn(&mut self) -> u32 {
        // After 2^32 look-ups the order of age starts over: once in a while a younger token is forgotten.
        self.turn = self.turn.wrapping_add(1).max(1);
        self.turn
    }
}

/// A token that passed once. It says whose it is only to those who hold its times to their rules.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    owner: u32,
    told: &'a [u8],
    life: Life,
}

impl<'a> Hit<'a> {
    /// Whose token it is and what was told of it, if its times are right at `now_s`.
    ///
    /// # Errors
    /// What [`Life::check`] says.
    pub fn owner(self, rules: LifeRules, now_s: u64) -> Result<(u32, &'a [u8]), LifeFaults> {
        self.life.check(rules, now_s).map(|()| (self.owner, self.told))
    }
}

#[cfg(test)]
mod tests {
    use super::super::jwt::Token;
    use super::super::key::{Alg, Key};
    use super::*;
    use jsonwebtoken::{encode, Algorithm, EncodingKey, Header};

    fn proof(claims: serde_json::Value) -> Verified<Claims> {
        let token = encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(b"s")).unwrap();
        let key = Key::shared(Alg::HS256, b"s").unwrap();
        Token::parse(token.as_bytes()).unwrap().verify(&[&key]).unwrap()
    }

    #[test]
    fn a_hit_is_held_to_its_times_again() {
        let mut cache = TokenCache::new(16);
        let digest = cache.digest([&Realm::of([&b"r"[..]])], b"token");
        assert!(cache.find(&digest).is_none());
        cache.remember(&digest, &proof(serde_json::json!({"exp": 100, "nbf": 50})), 7, b"who");
        let rules = LifeRules { exp: true, nbf: true, ahead_s_max: 40, ..LifeRules::default() };
        let ask = |cache: &mut TokenCache, now| {
            let hit = cache.find(&digest).unwrap().owner(rules, now);
            hit.map(|(owner, told)| (owner, told.to_vec()))
        };
        let who = || (7, b"who".to_vec());
        assert_eq!(ask(&mut cache, 99), Ok(who()));
        assert_eq!(ask(&mut cache, 60), Ok(who()));
        assert_eq!(ask(&mut cache, 100).unwrap_err().exp, Some("token expired"));
        assert_eq!(ask(&mut cache, 49).unwrap_err().nbf, Some("token not valid yet"));
        assert_eq!(ask(&mut cache, 59).unwrap_err().exp, Some("exceeds maximum allowed expiration"));
        assert_eq!(cache.counts(), (5, 1));
    }

    #[test]
    fn another_realm_does_not_find_it() {
        let mut cache = TokenCache::new(16);
        let (old, new) = (Realm::of([&b"a"[..], b"bc"]), Realm::of([&b"ab"[..], b"c"]));
        let digests = [[&old, &new], [&new, &old]].map(|realms| cache.digest(realms, b"token"));
        assert_ne!(digests[0], digests[1]);
        let (old, new) = (cache.digest([&old], b"token"), cache.digest([&new], b"token"));
        cache.remember(&old, &proof(serde_json::json!({})), 1, b"");
        assert!(cache.find(&old).is_some());
        assert!(cache.find(&new).is_none());
    }

    #[test]
    fn what_is_told_is_bounded() {
        let mut cache = TokenCache::new(16);
        let (realm, proof) = (Realm::of([]), proof(serde_json::json!({})));
        for (len, is_kept) in [(limits::TOKEN_TOLD_BYTES_MAX, true), (limits::TOKEN_TOLD_BYTES_MAX + 1, false)] {
            let digest = cache.digest([&realm], &len.to_le_bytes());
            cache.remember(&digest, &proof, 1, &vec![b'x'; len]);
            assert_eq!(cache.find(&digest).is_some(), is_kept);
        }
    }

    #[test]
    fn a_full_cache_forgets_what_nobody_asks_for() {
        let mut cache = TokenCache::new(WAYS);
        let (realm, proof) = (Realm::of([]), proof(serde_json::json!({})));
        let digests: Vec<Digest> = (0..100u8).map(|n| cache.digest([&realm], &[n])).collect();
        for (n, digest) in digests.iter().enumerate() {
            cache.remember(digest, &proof, n as u32, b"");
            assert!(cache.find(&digests[0]).is_some(), "the one that is asked for stays");
        }
        assert_eq!(digests.iter().filter(|digest| cache.find(digest).is_some()).count(), WAYS);
    }
}
