//! Keys that vouch for tokens: what each algorithm needs, and what could never verify anything refused when it is read.
//!
//! Signatures are checked by `jsonwebtoken` over aws-lc. ES512, which that crate leaves out, is checked by aws-lc itself.

use aws_lc_rs::signature::{UnparsedPublicKey, ECDSA_P521_SHA512_FIXED};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::engine::DecodePaddingMode;
use base64::{alphabet, Engine};
use jsonwebtoken::{Algorithm, DecodingKey};

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

    /// Does it use an RSA key?
    pub fn is_rsa(self) -> bool {
        matches!(self, Alg::RS256 | Alg::RS384 | Alg::RS512 | Alg::PS256 | Alg::PS384 | Alg::PS512)
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

    /// An RSA key by its two numbers, big-endian, for one of RS* and PS*.
    ///
    /// # Errors
    /// A sentence: what about the key does not fit.
    pub fn rsa(alg: Alg, modulus: &[u8], exponent: &[u8]) -> Result<Key, &'static str> {
        if !alg.is_rsa() {
            return Err("the algorithm needs another kind of key");
        }
        let bits = bits_of(modulus);
        if !(2048..=8192).contains(&bits) {
            return Err("an RSA key must have 2048 to 8192 bits");
        }
        // With an exponent of 1 everybody signs; an even one is of no RSA key. aws-lc takes at most 33 bits.
        let is_odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
        if !is_odd || !(2..=33).contains(&bits_of(exponent)) {
            return Err("an RSA key must have an odd public exponent from 3 on");
        }
        Ok(Key { alg, key: DecodingKey::from_rsa_raw_components(modulus, exponent) })
    }

    /// A point on the curve of one of ES*: its coordinates in full width.
    ///
    /// # Errors
    /// A sentence: what about the key does not fit.
    pub fn point(alg: Alg, x: &[u8], y: &[u8]) -> Result<Key, &'static str> {
        let width = match alg {
            Alg::ES256 => 32,
            Alg::ES384 => 48,
            Alg::ES512 => 66,
            _ => return Err("the algorithm needs another kind of key"),
        };
        if x.len() != width || y.len() != width {
            return Err("the coordinates do not have the width of the curve");
        }
        Ok(Key { alg, key: DecodingKey::from_ec_der(&[&[4], x, y].concat()) })
    }

    /// An Ed25519 key, for EdDSA.
    ///
    /// # Errors
    /// A sentence: it does not have 32 bytes.
    pub fn ed25519(point: &[u8]) -> Result<Key, &'static str> {
        match point.len() {
            32 => Ok(Key { alg: Alg::EdDSA, key: DecodingKey::from_ed_der(point) }),
            _ => Err("not an Ed25519 public key"),
        }
    }

    /// The algorithm it verifies.
    pub fn alg(&self) -> Alg {
        self.alg
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
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
    Some(bits_of(open(open(der, 0x30)?, 0x02)?))
}

/// Bits of a number, big-endian.
fn bits_of(number: &[u8]) -> usize {
    match number.iter().position(|&byte| byte != 0) {
        Some(from) => (number.len() - from) * 8 - number[from].leading_zeros() as usize,
        None => 0,
    }
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
