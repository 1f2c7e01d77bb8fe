//! The keys that an issuer publishes (RFC 7517), as far as they are of use here.
//!
//! A key serves one algorithm: the one it names, or else the one that its kind implies. Keys of unknown kinds, for other
//! uses, weak ones, shared secrets (which a published set must not hold) and private ones are left out and counted; so one
//! odd key does not take the others away. A set that is no JSON, or far too large, is refused whole.

use super::jwt::{depth, Unique};
use super::key::{Alg, Key};
use super::token_cache::Realm;
use crate::base::limits;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A set of keys.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<(Option<Box<str>>, Key)>,
    ignored: usize,
    digest: Realm,
}

/// What a set says of a `kid`.
#[derive(Debug)]
pub enum Found<'a> {
    /// The keys that may have signed, [`limits::JWKS_TRIES_MAX`] at most.
    Keys(Vec<&'a Key>),
    /// There are keys of this name, but none for the algorithm.
    OtherAlg,
    /// There is no such key.
    Nothing,
}

impl KeySet {
    /// Reads a set. O(its bytes), at most [`limits::JWKS_BYTES_MAX`].
    ///
    /// # Errors
    /// A sentence: why it is none.
    pub fn parse(text: &[u8]) -> Result<KeySet, &'static str> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Unique>,
        }
        if text.len() > limits::JWKS_BYTES_MAX {
            return Err("the set of keys is too large");
        }
        if depth(text) > limits::TOKEN_DEPTH_MAX {
            return Err("the set of keys is nested too deeply");
        }
        let set: Set = serde_json::from_slice(text).map_err(|_| "not a set of keys")?;
        if set.keys.len() > limits::JWKS_KEYS_MAX {
            return Err("the set has too many keys");
        }
        let all = set.keys.len();
        let mut held: Vec<Read> = Vec::with_capacity(all);
        for Unique(jwk) in set.keys {
            let Ok(key) = Read::of(&jwk) else { continue };
            match held
                .iter_mut()
                .find(|other| key.kid.is_some() && other.kid == key.kid && other.key.alg() == key.key.alg())
            {
                // Which of the two a token means could not be said.
                Some(other) => other.is_twice |= other.part != key.part,
                None => held.push(key),
            }
        }
        held.retain(|key| !key.is_twice);
        let digest = Realm::of(held.iter().map(|key| key.part.bytes().as_slice()));
        let keys: Vec<_> = held.into_iter().map(|key| (key.kid, key.key)).collect();
        Ok(KeySet { ignored: all - keys.len(), keys, digest })
    }

    /// How many keys are of use.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many were left out.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// What a verdict by these keys hangs on: equal where the usable keys and their names are.
    pub fn digest(&self) -> &Realm {
        &self.digest
    }

    /// The keys that may have signed a token of this algorithm: those called `kid`, or any where it names none. O(keys).
    pub fn find(&self, kid: Option<&str>, alg: Alg) -> Found<'_> {
        let named = || self.keys.iter().filter(move |(held, _)| kid.is_none() || held.as_deref() == kid);
        let fitting: Vec<&Key> =
            named().filter(|(_, key)| key.alg() == alg).map(|(_, key)| key).take(limits::JWKS_TRIES_MAX).collect();
        if !fitting.is_empty() {
            Found::Keys(fitting)
        } else if named().next().is_some() {
            Found::OtherAlg
        } else {
            Found::Nothing
        }
    }
}

/// A key as it was read.
struct Read {
    kid: Option<Box<str>>,
    key: Key,
    /// Tells it from others, its name included.
    part: Realm,
    /// Is there another of the same name and algorithm?
    is_twice: bool,
}

impl Read {
    /// # Errors
    /// A sentence: why it is of no use.
    fn of(jwk: &Map<String, Value>) -> Result<Read, &'static str> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes =
            |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or("a member is missing");
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= limits::JWKS_KID_BYTES_MAX => Some(Box::from(kid.as_str())),
            Some(_) => return Err("its name is no text, or too long"),
        };
        if jwk.get("use").is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures");
        }
        let verifies = |ops: &Value| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"));
        if jwk.get("key_ops").is_some_and(|ops| !verifies(ops)) {
            return Err("it is not for verifying");
        }
        // Whoever publishes these has given the key away.
        if jwk.contains_key("d") || jwk.contains_key("k") {
            return Err("it is a private or a shared key");
        }
        let named = match jwk.get("alg") {
            None => None,
            Some(alg) => Some(alg.as_str().and_then(Alg::named).ok_or("its algorithm is not known")?),
        };
        let fits = |implied: Alg| match named {
            Some(alg) if alg != implied => Err("its algorithm is for another kind of key"),
            _ => Ok(implied),
        };
        let (key, parts) = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                // RS256 is what issuers sign by who say nothing (OpenID Connect Core §3.1.3.7).
                (Key::rsa(named.unwrap_or(Alg::RS256), &n, &e)?, [n, e])
            }
            (Some("EC"), Some(curve)) => {
                let alg = match curve {
                    "P-256" => Alg::ES256,
                    "P-384" => Alg::ES384,
                    "P-521" => Alg::ES512,
                    _ => return Err("its curve is not known"),
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                (Key::point(fits(alg)?, &x, &y)?, [x, y])
            }
            (Some("OKP"), Some("Ed25519")) => {
                fits(Alg::EdDSA)?;
                let x = bytes("x")?;
                (Key::ed25519(&x)?, [x, Vec::new()])
            }
            _ => return Err("its kind is not known"),
        };
        let (is_named, name): (_, &str) = ([u8::from(kid.is_some())], kid.as_deref().unwrap_or_default());
        let alg = format!("{:?}", key.alg());
        let part = Realm::of([&is_named[..], name.as_bytes(), alg.as_bytes(), &parts[0], &parts[1]]);
        Ok(Read { kid, key, part, is_twice: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair, ECDSA_P256_SHA256_FIXED_SIGNING};
    use serde_json::json;

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "kid": "r", "n": b64(&vec![0xc1; bytes]), "e": "AQAB"})
    }

    fn ec() -> Value {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": b64(&point[1..33]), "y": b64(&point[33..])})
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_key_serves_one_algorithm() {
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&[7; 32])});
        let rows = [
            (rsa(256), Some(Alg::RS256)),
            (with(rsa(256), "alg", "PS512".into()), Some(Alg::PS512)),
            (with(rsa(256), "alg", "RSA-OAEP".into()), None),
            (with(rsa(256), "alg", "HS256".into()), None),
            (with(rsa(256), "alg", "ES256".into()), None),
            (with(rsa(256), "alg", 5.into()), None),
            (ec(), Some(Alg::ES256)),
            (with(ec(), "alg", "ES384".into()), None),
            (with(ec(), "crv", "P-384".into()), None),
            (with(ec(), "crv", "secp256k1".into()), None),
            (okp.clone(), Some(Alg::EdDSA)),
            (with(okp.clone(), "crv", "Ed448".into()), None),
            (with(okp, "x", b64(&[7; 31]).into()), None),
        ];
        for (jwk, want) in rows {
            let set = set(std::slice::from_ref(&jwk));
            assert_eq!(set.keys.first().map(|(_, key)| key.alg()), want, "{jwk}");
            assert_eq!(set.ignored(), usize::from(want.is_none()), "{jwk}");
        }
    }

    #[test]
    fn keys_of_no_use_are_left_out_and_the_others_stay() {
        let odd = [
            rsa(128),
            rsa(1025),
            with(rsa(256), "e", "AQ".into()),
            with(rsa(256), "e", "AAAC".into()),
            with(rsa(256), "e", b64(&[1; 9]).into()),
            with(rsa(256), "n", json!("not base64!")),
            with(rsa(256), "n", Value::Null),
            with(rsa(256), "use", "enc".into()),
            with(rsa(256), "key_ops", json!(["encrypt"])),
            with(rsa(256), "d", "AQ".into()),
            with(rsa(256), "kid", 7.into()),
            with(rsa(256), "kid", "k".repeat(limits::JWKS_KID_BYTES_MAX + 1).into()),
            with(ec(), "x", b64(&[1; 31]).into()),
            json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "s"}),
            json!({"kty": "OKP", "crv": "Ed448", "kid": "r", "x": b64(&[7; 57])}),
            json!({"kty": "OKP", "crv": "Ed448", "alg": "Ed448", "x": b64(&[7; 57])}),
            json!({"kty": "OKP", "crv": "Ed448", "alg": "EdDSA", "x": b64(&[7; 57])}),
            json!({"kty": "new"}),
            json!({}),
        ];
        let mut keys = odd.to_vec();
        keys.push(with(with(rsa(256), "use", "sig".into()), "key_ops", json!(["verify"])));
        let set = set(&keys);
        assert_eq!((set.len(), set.ignored()), (1, odd.len()));
        assert!(matches!(set.find(Some("r"), Alg::RS256), Found::Keys(keys) if keys.len() == 1));
    }

    #[test]
    fn a_name_finds_its_key_and_no_name_finds_all_of_the_algorithm() {
        let other = with(rsa(256), "alg", "PS256".into());
        let twice = [with(rsa(257), "kid", "t".into()), with(rsa(258), "kid", "t".into())];
        let [first, second] = twice;
        let set = set(&[rsa(256), other, rsa(256), first, second, with(rsa(258), "kid", "r2".into()), ec()]);
        assert_eq!(
            (set.len(), set.ignored()),
            (4, 3),
            "one that stands twice counts once, two of one name do not count"
        );
        let found = |kid, alg| match set.find(kid, alg) {
            Found::Keys(keys) => format!("{}", keys.len()),
            Found::OtherAlg => "other".to_owned(),
            Found::Nothing => "nothing".to_owned(),
        };
        let rows = [
            (Some("r"), Alg::RS256, "1"),
            (Some("r"), Alg::PS256, "1"),
            (Some("t"), Alg::RS256, "nothing"),
            (Some("r"), Alg::ES256, "other"),
            (Some("e"), Alg::RS256, "other"),
            (Some("../r"), Alg::RS256, "nothing"),
            (Some(""), Alg::RS256, "nothing"),
            (None, Alg::RS256, "2"),
            (None, Alg::EdDSA, "other"),
        ];
        for (kid, alg, want) in rows {
            assert_eq!(found(kid, alg), want, "{kid:?} {alg:?}");
        }
        let many: Vec<Value> = (0..20).map(|n| with(rsa(256), "kid", n.to_string().into())).collect();
        let many = KeySet::parse(json!({ "keys": many }).to_string().as_bytes()).unwrap();
        assert!(matches!(many.find(None, Alg::RS256), Found::Keys(keys) if keys.len() == limits::JWKS_TRIES_MAX));
    }

    #[test]
    fn what_is_no_set_is_refused_whole() {
        let deep = format!("{{\"keys\":[],\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let many = json!({ "keys": vec![json!({}); limits::JWKS_KEYS_MAX + 1] }).to_string();
        let large = format!("{{\"keys\":[]}}{}", " ".repeat(limits::JWKS_BYTES_MAX));
        let rows = [
            "",
            "<html>",
            "[]",
            "{}",
            "{\"keys\":{}}",
            "{\"keys\":[1]}",
            "{\"keys\":[],\"keys\":[]}",
            "{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"oct\"}]}",
            &deep,
            &many,
            &large,
        ];
        for text in rows {
            assert!(KeySet::parse(text.as_bytes()).is_err(), "{:.60}", text);
        }
        assert!(KeySet::parse(b"{\"keys\":[]}").unwrap().is_empty());
    }

    #[test]
    fn the_digest_follows_the_usable_keys() {
        let digest = |keys: &[Value]| *set(keys).digest();
        let (one, renamed) = (rsa(256), with(rsa(256), "kid", "other".into()));
        assert_eq!(digest(std::slice::from_ref(&one)), digest(&[one.clone(), json!({"kty": "new"})]));
        for changed in
            [vec![renamed], vec![rsa(257)], vec![one.clone(), ec()], vec![with(one.clone(), "alg", "PS256".into())]]
        {
            assert_ne!(digest(&changed), digest(std::slice::from_ref(&one)));
        }
    }
}
