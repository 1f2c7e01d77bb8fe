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
//! Not here: which credential a token names, and what its claims must say beyond their times (`plugins/jwt`).

use super::key::{Alg, Key};
use super::life::Life;
use crate::base::limits;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

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

/// A `kid` that no key can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

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

    /// The `kid` of its header, *unverified*: only to find out which key to ask.
    ///
    /// # Errors
    /// It is there and is not a text of at most [`limits::JWKS_KID_BYTES_MAX`].
    pub fn kid(&self) -> Result<Option<&str>, TooLong> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) if kid.len() <= limits::JWKS_KID_BYTES_MAX => Ok(Some(kid)),
            Some(_) => Err(TooLong),
        }
    }

    /// A claim or else a header parameter, *unverified*: only to find out which key to ask.
    pub fn hint(&self, name: &str) -> Option<&Value> {
        self.claims.get(name).or_else(|| self.header.get(name))
    }

    /// The claims, if one of `keys` signed them.
    ///
    /// # Errors
    /// [`Refused::Alg`] before any signature is computed, so that a public key is never used as a shared secret: a key of
    /// another algorithm than the token's is not asked.
    pub fn verify(self, keys: &[&Key]) -> Result<Verified<Claims>, Refused> {
        let mut fitting = keys.iter().filter(|key| key.alg() == self.alg).peekable();
        if fitting.peek().is_none() {
            return Err(Refused::Alg);
        }
        if !fitting.any(|key| key.verifies(self.signed, self.signature)) {
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

    /// A claim by its name or, where no claim has it, by a path of names with dots between: `realm_access.roles`.
    pub fn at(&self, path: &str) -> Option<&Value> {
        self.0.get(path).or_else(|| {
            let (first, rest) = path.split_once('.')?;
            rest.split('.').try_fold(self.0.get(first)?, |value, name| value.get(name))
        })
    }

    /// Is one of these among those the token is for (RFC 7519 §4.1.3: a text, or a list of them)?
    pub fn is_for(&self, audiences: &[String]) -> bool {
        let is_one = |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|one| one == text));
        match self.0.get("aud") {
            Some(Value::Array(list)) => list.iter().any(is_one),
            Some(one) => is_one(one),
            None => false,
        }
    }

    /// The times that bound the token's life.
    pub fn life(&self) -> Life {
        let date = |name| self.0.get(name).and_then(Value::as_f64);
        let odd = |name| self.0.get(name).is_some_and(|value| !value.is_number());
        Life { exp: date("exp"), nbf: date("nbf"), iat: date("iat"), nbf_is_odd: odd("nbf"), iat_is_odd: odd("iat") }
    }
}

/// A part of a token as JSON. Names of the outermost object are unique: of two `alg`s, two readers may see different
/// ones (RFC 7515 §4: "Header Parameter names within the JOSE Header MUST be unique").
fn json(part: &str) -> Result<Value, Malformed> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Json)?;
    if depth(&bytes) > limits::TOKEN_DEPTH_MAX {
        return Err(Malformed::Json);
    }
    let opens = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if opens == Some(&b'{') {
        return serde_json::from_slice::<Unique>(&bytes)
            .map(|object| Value::Object(object.0))
            .map_err(|_| Malformed::Json);
    }
    serde_json::from_slice(&bytes).map_err(|_| Malformed::Json)
}

/// A JSON object none of whose own names stands twice.
pub(super) struct Unique(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Unique, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
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

        from.deserialize_map(Names).map(Unique)
    }
}

/// How deep arrays and objects of a JSON text are nested. Text that is not JSON gets some number.
pub(super) fn depth(json: &[u8]) -> usize {
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
