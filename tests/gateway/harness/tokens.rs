//! JSON Web Tokens for rows: signed well, signed ill, or not at all. Keys are made anew in each run.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use aws_lc_rs::{digest, hmac};
use base64::prelude::{Engine, BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A token as a file of rows describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// What its header says; HS256 where nothing is given.
    #[serde(default = "hs256")]
    alg: String,
    /// What it is signed as, where that is another than the header says; `none` leaves the signature empty.
    sign: Option<String>,
    /// The shared secret; `$rsa_public` is the text of that key, for those who confuse the two.
    #[serde(default)]
    key: String,
    /// More of the header.
    #[serde(default)]
    header: serde_json::Map<String, serde_json::Value>,
    /// The claims; `"+600"` and `"-600"` are seconds from now.
    #[serde(default)]
    claims: serde_json::Map<String, serde_json::Value>,
    /// Changes one character of the signature.
    #[serde(default)]
    tamper: bool,
}

fn hs256() -> String {
    "HS256".into()
}

struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        ec: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        ed: Ed25519KeyPair::generate().unwrap(),
    })
}

/// What rows may write: `$rsa_public`, `$ec_public`, `$ed_public` as PEM with escaped line ends, and each token's name.
pub(crate) fn words(tokens: &BTreeMap<String, Token>) -> BTreeMap<String, String> {
    if tokens.is_empty() {
        return BTreeMap::new();
    }
    let spki = |key: &dyn AsDer<PublicKeyX509Der<'static>>| pem(key.as_der().unwrap().as_ref());
    let mut words = BTreeMap::from([
        ("rsa_public".to_owned(), spki(keys().rsa.public_key()).replace('\n', "\\n")),
        ("ec_public".to_owned(), spki(keys().ec.public_key()).replace('\n', "\\n")),
        ("ed_public".to_owned(), spki(keys().ed.public_key()).replace('\n', "\\n")),
    ]);
    let made: Vec<_> = tokens.iter().map(|(name, token)| (name.clone(), made(token, &words))).collect();
    words.extend(made);
    words
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn made(token: &Token, words: &BTreeMap<String, String>) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut header = token.header.clone();
    header.insert("alg".into(), token.alg.clone().into());
    header.insert("typ".into(), "JWT".into());
    let mut claims = token.claims.clone();
    for (name, value) in &mut claims {
        let relative = value.as_str().filter(|text| text.starts_with(['+', '-']) && name != "iss");
        if let Some(seconds) = relative.and_then(|text| text.parse::<i64>().ok()) {
            *value = (now + seconds).into();
        }
    }
    let part = |map: &serde_json::Map<_, _>| BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(map).unwrap());
    let message = format!("{}.{}", part(&header), part(&claims));
    let key = words.get(token.key.trim_start_matches('$')).map_or(token.key.clone(), |pem| pem.replace("\\n", "\n"));
    let mut signature = signed(token.sign.as_ref().unwrap_or(&token.alg), key.as_bytes(), message.as_bytes());
    if token.tamper {
        signature[0] ^= 1;
    }
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn signed(alg: &str, key: &[u8], message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let hs = |algorithm| hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec();
    let rsa = |padding: &'static dyn signature::RsaEncoding| {
        let mut out = vec![0; keys().rsa.public_modulus_len()];
        keys().rsa.sign(padding, &random, message, &mut out).unwrap();
        out
    };
    match alg {
        "HS256" => hs(hmac::HMAC_SHA256),
        "HS384" => hs(hmac::HMAC_SHA384),
        "HS512" => hs(hmac::HMAC_SHA512),
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
        "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_SHA256),
        "ES256" => keys().ec.sign(&random, message).unwrap().as_ref().to_vec(),
        "EdDSA" => keys().ed.sign(message).as_ref().to_vec(),
        // The forgery of CVE-2022-21449: r = s = 0.
        "zero" => vec![0; 64],
        "digest" => digest::digest(&digest::SHA256, message).as_ref().to_vec(),
        "none" => Vec::new(),
        other => panic!("no such way to sign: {other}"),
    }
}
