//! Is this JSON Web Token what it says, signed by this key? (RFC 7515, 7519, 8725.)
//!
//! ```text
//! bytes ─ Token::parse ─→ Token (believed by nobody) ─ Token::verify(&Key) ─→ Verified<Claims> | Refused
//! ```
//!
//! Strict where leniency is the attack: three parts and no more; base64url in its one canonical form; JSON of bounded
//! depth whose names are unique; `crit` and unencoded payloads refused; no algorithm but those of [`Alg`], and only the
//! one that the *key* is for. A header never brings a key: `jwk`, `jku`, `x5c` and `x5u` are not read.
//!
//! Signatures are checked by `jsonwebtoken` over aws-lc. ES512, which that crate leaves out, is checked by aws-lc itself.
//!
//! Not here: which credential a token names, and what its claims must say beyond [`Claims::check`] (`plugins/jwt.rs`).

use crate::base::limits;
use aws_lc_rs::signature::{UnparsedPublicKey, ECDSA_P521_SHA512_FIXED};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::engine::DecodePaddingMode;
use base64::{alphabet, Engine};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The algorithms we verify. `none` is not one of them, in any spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 §3.1 and RFC 8037")]
pub enum Alg {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    ES512,
    PS256,
    PS384,
    PS512,
    EdDSA,
}

impl Alg {
    /// The algorithm of this name. Names are case-sensitive (RFC 7515 §4.1.1).
    pub fn named(name: &str) -> Option<Alg> {
        Some(match name {
            "HS256" => Alg::HS256,
            "HS384" => Alg::HS384,
            "HS512" => Alg::HS512,
            "RS256" => Alg::RS256,
            "RS384" => Alg::RS384,
            "RS512" => Alg::RS512,
            "ES256" => Alg::ES256,
            "ES384" => Alg::ES384,
            "ES512" => Alg::ES512,
            "PS256" => Alg::PS256,
            "PS384" => Alg::PS384,
            "PS512" => Alg::PS512,
            "EdDSA" => Alg::EdDSA,
            _ => return None,
        })
    }

    /// Does it use a shared secret?
    pub fn is_shared(self) -> bool {
        matches!(self, Alg::HS256 | Alg::HS384 | Alg::HS512)
    }

    /// What `jsonwebtoken` calls it; `None` where it does not know it.
    fn provided(self) -> Option<Algorithm> {
        Some(match self {
            Alg::HS256 => Algorithm::HS256,
            Alg::HS384 => Algorithm::HS384,
            Alg::HS512 => Algorithm::HS512,
            Alg::RS256 => Algorithm::RS256,
            Alg::RS384 => Algorithm::RS384,
            Alg::RS512 => Algorithm::RS512,
            Alg::ES256 => Algorithm::ES256,
            Alg::ES384 => Algorithm::ES384,
            Alg::PS256 => Algorithm::PS256,
            Alg::PS384 => Algorithm::PS384,
            Alg::PS512 => Algorithm::PS512,
            Alg::EdDSA => Algorithm::EdDSA,
            Alg::ES512 => return None,
        })
    }
}

/// A key to verify by, and the only algorithm it verifies. Its `Debug` shows no key.
#[derive(Clone)]
pub struct Key {
    alg: Alg,
    key: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("alg", &self.alg).finish_non_exhaustive()
    }
}

impl Key {
    /// A shared secret for one of HS*.
    ///
    /// # Errors
    /// A sentence: the algorithm takes no secret, or the secret is empty, which anybody could sign by.
    pub fn shared(alg: Alg, secret: &[u8]) -> Result<Key, &'static str> {
        if !alg.is_shared() {
            return Err("the algorithm needs a public key, not a secret");
        }
        if secret.is_empty() {
            return Err("the secret is empty");
        }
        Ok(Key { alg, key: DecodingKey::from_secret(secret) })
    }

    /// A public key in PEM (`PUBLIC KEY`, or `RSA PUBLIC KEY`) for one of the other algorithms.
    ///
    /// # Errors
    /// A sentence: what about the key does not fit.
    pub fn public(alg: Alg, pem: &str) -> Result<Key, &'static str> {
        // A certificate or a private key would be searched for its first bit string; take neither for a public key.
        let pem = pem.trim();
        let is_pkcs1 = pem.starts_with("-----BEGIN RSA PUBLIC KEY-----");
        if !is_pkcs1 && !pem.starts_with("-----BEGIN PUBLIC KEY-----") {
            return Err("not a public key in PEM");
        }
        let (key, fault) = match alg {
            Alg::HS256 | Alg::HS384 | Alg::HS512 => return Err("the algorithm needs a secret, not a public key"),
            Alg::RS256 | Alg::RS384 | Alg::RS512 | Alg::PS256 | Alg::PS384 | Alg::PS512 => {
                (DecodingKey::from_rsa_pem(pem.as_bytes()), "not an RSA public key")
            }
            Alg::ES256 | Alg::ES384 | Alg::ES512 => {
                (DecodingKey::from_ec_pem(pem.as_bytes()), "not a public key on an elliptic curve")
            }
            Alg::EdDSA => (DecodingKey::from_ed_pem(pem.as_bytes()), "not an Ed25519 public key"),
        };
        let key = key.map_err(|_| fault)?;
        let bytes = key.try_get_as_bytes().map_err(|_| fault)?;
        // Points are uncompressed: 0x04, x, y. A key on another curve could never verify anything: say so at load.
        match alg {
            Alg::ES256 if bytes.len() != 1 + 2 * 32 => return Err("not a key on the curve P-256"),
            Alg::ES384 if bytes.len() != 1 + 2 * 48 => return Err("not a key on the curve P-384"),
            Alg::ES512 if bytes.len() != 1 + 2 * 66 => return Err("not a key on the curve P-521"),
            Alg::EdDSA if bytes.len() != 32 => return Err(fault),
            Alg::RS256 | Alg::RS384 | Alg::RS512 | Alg::PS256 | Alg::PS384 | Alg::PS512 => {
                // RFC 7518 §3.3: "A key of size 2048 bits or larger MUST be used with these algorithms."
                let bits = rsa_bits(bytes).ok_or(fault)?;
                if !(2048..=8192).contains(&bits) {
                    return Err("an RSA key must have 2048 to 8192 bits");
                }
            }
            _ => {}
        }
        Ok(Key { alg, key })
    }

    /// The algorithm it verifies.
    pub fn alg(&self) -> Alg {
        self.alg
    }

    fn verifies(&self, message: &[u8], signature: &str) -> bool {
        match self.alg.provided() {
            Some(alg) => jsonwebtoken::crypto::verify(signature, message, &self.key, alg).unwrap_or(false),
            None => {
                let (Ok(point), Ok(signature)) = (self.key.try_get_as_bytes(), URL_SAFE_NO_PAD.decode(signature))
                else {
                    return false;
                };
                UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).verify(message, &signature).is_ok()
            }
        }
    }
}

/// Bits of the modulus of a PKCS#1 `RSAPublicKey`: SEQUENCE { INTEGER n, INTEGER e }.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    fn open(der: &[u8], tag: u8) -> Option<&[u8]> {
        let (&first, rest) = der.strip_prefix(&[tag])?.split_first()?;
        if first < 0x80 {
            return rest.get(..usize::from(first));
        }
        let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if len.len() > 4 {
            return None;
        }
        rest.get(..len.iter().fold(0, |len, &byte| len << 8 | usize::from(byte)))
    }
    let modulus = open(open(der, 0x30)?, 0x02)?;
    let from = modulus.iter().position(|&byte| byte != 0)?;
    Some((modulus.len() - from) * 8 - modulus[from].leading_zeros() as usize)
}

/// Decodes a secret that a configuration holds in base64: either alphabet, with or without padding.
pub fn secret_from_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    let text: String = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    STANDARD.decode(text).ok()
}

/// What is wrong with a token before any key is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not three parts of canonical base64url, too large or too deep, or not JSON with unique names.
    Json,
    /// No algorithm, or none that we verify.
    Alg,
    /// The claims are not an object.
    Claims,
    /// The signature is not base64url.
    Signature,
    /// `crit`: extensions we do not understand must be refused (RFC 7515 §4.1.11).
    Crit,
    /// `b64`: an unencoded payload (RFC 7797).
    B64,
}

impl Malformed {
    /// Two words for the client.
    pub fn text(self) -> &'static str {
        match self {
            Malformed::Json => "invalid JSON",
            Malformed::Alg => "invalid alg",
            Malformed::Claims => "invalid claims",
            Malformed::Signature => "invalid signature",
            Malformed::Crit => "invalid crit",
            Malformed::B64 => "invalid b64",
        }
    }
}

/// Why a key does not vouch for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token was made for another algorithm than the key's.
    Alg,
    /// The signature is not this key's.
    Signature,
}

/// A token that was read but not believed.
#[derive(Debug)]
pub struct Token<'a> {
    signed: &'a [u8],
    signature: &'a str,
    alg: Alg,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Reads a token. O(its bytes), at most `limits::TOKEN_BYTES_MAX`; allocates.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it.
    pub fn parse(text: &'a [u8]) -> Result<Token<'a>, Malformed> {
        if text.len() > limits::TOKEN_BYTES_MAX {
            return Err(Malformed::Json);
        }
        let text = std::str::from_utf8(text).map_err(|_| Malformed::Json)?;
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Json);
        };
        let signed = &text.as_bytes()[..header.len() + 1 + claims.len()];
        let Value::Object(header) = json(header)? else { return Err(Malformed::Json) };
        if header.contains_key("crit") {
            return Err(Malformed::Crit);
        }
        if header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
            return Err(Malformed::B64);
        }
        let alg = header.get("alg").and_then(Value::as_str).and_then(Alg::named).ok_or(Malformed::Alg)?;
        let Value::Object(claims) = json(claims)? else { return Err(Malformed::Claims) };
        if URL_SAFE_NO_PAD.decode(signature).is_err() {
            return Err(Malformed::Signature);
        }
        Ok(Token { signed, signature, alg, header, claims })
    }

    /// The algorithm that the token says it was signed by.
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// A claim or else a header parameter, *unverified*: only to find out which key to ask.
    pub fn hint(&self, name: &str) -> Option<&Value> {
        self.claims.get(name).or_else(|| self.header.get(name))
    }

    /// The claims, if `key` signed them.
    ///
    /// # Errors
    /// [`Refused::Alg`] before any signature is computed, so that a public key is never used as a shared secret.
    pub fn verify(self, key: &Key) -> Result<Verified<Claims>, Refused> {
        if self.alg != key.alg {
            return Err(Refused::Alg);
        }
        if !key.verifies(self.signed, self.signature) {
            return Err(Refused::Signature);
        }
        Ok(Verified(Claims(self.claims)))
    }
}

/// Something that a signature vouches for. Made by [`Token::verify`] and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T>(T);

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The claims of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// A claim by its name.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The two times that bound the token's life.
    pub fn life(&self) -> Life {
        let date = |name| self.0.get(name).and_then(Value::as_f64);
        Life { exp: date("exp"), nbf: date("nbf") }
    }
}

/// NumericDates of a token: seconds since the epoch, possibly with a fraction. `None`: absent, or not a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Life {
    /// Not accepted from this second on.
    pub exp: Option<f64>,
    /// Not accepted before.
    pub nbf: Option<f64>,
}

/// What to hold a token's times to.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct LifeRules {
    /// It must have an `exp` that is to come.
    pub exp: bool,
    /// It must have an `nbf` that is not to come.
    pub nbf: bool,
    /// Its `exp` may be at most so many seconds ahead; 0 means any.
    pub ahead_s_max: u32,
}

/// What is wrong with a token's times: a message per claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LifeFaults {
    /// About `exp`.
    pub exp: Option<&'static str>,
    /// About `nbf`.
    pub nbf: Option<&'static str>,
}

impl Life {
    /// Holds the times to `rules` at `now_s`, without leeway. O(1).
    ///
    /// # Errors
    /// Every fault at once; the length of a life is only looked at when nothing else is wrong.
    pub fn check(self, rules: LifeRules, now_s: u64) -> Result<(), LifeFaults> {
        // Exact: seconds stay below 2^53 for 285 million years.
        let now = now_s as f64;
        let mut faults = LifeFaults::default();
        if rules.exp {
            faults.exp = match self.exp {
                None => Some("must be a number"),
                Some(exp) if exp <= now => Some("token expired"),
                Some(_) => None,
            };
        }
        if rules.nbf {
            faults.nbf = match self.nbf {
                None => Some("must be a number"),
                Some(nbf) if nbf > now => Some("token not valid yet"),
                Some(_) => None,
            };
        }
        if faults == LifeFaults::default() && rules.ahead_s_max > 0 {
            let within = self.exp.is_some_and(|exp| exp - now <= f64::from(rules.ahead_s_max));
            faults.exp = (!within).then_some("exceeds maximum allowed expiration");
        }
        if faults == LifeFaults::default() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

/// A part of a token as JSON. Names of the outermost object are unique: of two `alg`s, two readers may see different
/// ones (RFC 7515 §4: "Header Parameter names within the JOSE Header MUST be unique").
fn json(part: &str) -> Result<Value, Malformed> {
    struct Unique;

    impl<'de> Visitor<'de> for Unique {
        type Value = Map<String, Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = Map::new();
            while let Some(name) = access.next_key::<String>()? {
                let value = access.next_value()?;
                if map.insert(name, value).is_some() {
                    return Err(A::Error::custom("a name stands twice"));
                }
            }
            Ok(map)
        }
    }

    struct Object(Map<String, Value>);

    impl<'de> Deserialize<'de> for Object {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Object, D::Error> {
            from.deserialize_map(Unique).map(Object)
        }
    }

    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Json)?;
    if depth(&bytes) > limits::TOKEN_DEPTH_MAX {
        return Err(Malformed::Json);
    }
    let opens = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if opens == Some(&b'{') {
        return serde_json::from_slice::<Object>(&bytes)
            .map(|object| Value::Object(object.0))
            .map_err(|_| Malformed::Json);
    }
    serde_json::from_slice(&bytes).map_err(|_| Malformed::Json)
}

/// How deep arrays and objects of a JSON text are nested. Text that is not JSON gets some number.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
