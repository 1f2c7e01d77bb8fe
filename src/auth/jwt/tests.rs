//! Tokens of every algorithm, and the attacks on them. Keys are made anew in every run.

use super::super::key::secret_from_base64;
use super::super::life::LifeRules;
use super::*;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use aws_lc_rs::{hmac, signature::EcdsaSigningAlgorithm};
use base64::engine::general_purpose::STANDARD;
use std::sync::LazyLock;

/// A pair to sign by.
enum Pair {
    Shared(Vec<u8>),
    Rsa(RsaPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

impl Pair {
    fn for_alg(alg: Alg) -> Pair {
        let ec = |alg: &'static EcdsaSigningAlgorithm| Pair::Ec(EcdsaKeyPair::generate(alg).unwrap());
        match alg {
            Alg::HS256 | Alg::HS384 | Alg::HS512 => Pair::Shared(b"a secret of 32 bytes or a bit more".to_vec()),
            Alg::ES256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Alg::ES384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Alg::ES512 => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Alg::EdDSA => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            _ => Pair::Rsa(RsaPair::generate(KeySize::Rsa2048).unwrap()),
        }
    }

    fn spki(&self) -> String {
        match self {
            Pair::Ec(pair) => pem("PUBLIC KEY", AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).unwrap().as_ref()),
            Pair::Ed(pair) => pem("PUBLIC KEY", AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).unwrap().as_ref()),
            Pair::Rsa(pair) => {
                pem("PUBLIC KEY", AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).unwrap().as_ref())
            }
            Pair::Shared(_) => panic!("a secret has no public part"),
        }
    }

    fn key(&self, alg: Alg) -> Key {
        match self {
            Pair::Shared(secret) => Key::shared(alg, secret).unwrap(),
            _ => Key::public(alg, &self.spki()).unwrap(),
        }
    }

    fn sign(&self, alg: Alg, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        match self {
            Pair::Shared(secret) => {
                let hash = match alg {
                    Alg::HS384 => hmac::HMAC_SHA384,
                    Alg::HS512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
            }
            Pair::Ec(pair) => pair.sign(&rng, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let encoding: &'static dyn signature::RsaEncoding = match alg {
                    Alg::RS384 => &signature::RSA_PKCS1_SHA384,
                    Alg::RS512 => &signature::RSA_PKCS1_SHA512,
                    Alg::PS256 => &signature::RSA_PSS_SHA256,
                    Alg::PS384 => &signature::RSA_PSS_SHA384,
                    Alg::PS512 => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &rng, message, &mut out).unwrap();
                out
            }
        }
    }

    fn token(&self, alg: Alg, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(alg, message.as_bytes());
        format!("{message}.{}", b64(signature))
    }
}

const CLAIMS: &str = r#"{"iss":"k","exp":2000000000}"#;

const ALL: [Alg; 13] = [
    Alg::HS256,
    Alg::HS384,
    Alg::HS512,
    Alg::RS256,
    Alg::RS384,
    Alg::RS512,
    Alg::ES256,
    Alg::ES384,
    Alg::ES512,
    Alg::PS256,
    Alg::PS384,
    Alg::PS512,
    Alg::EdDSA,
];

static RSA: LazyLock<Pair> = LazyLock::new(|| Pair::for_alg(Alg::RS256));
static EC: LazyLock<Pair> = LazyLock::new(|| Pair::for_alg(Alg::ES256));
static HS: LazyLock<Pair> = LazyLock::new(|| Pair::for_alg(Alg::HS256));

/// What comes of a token: `ok`, or the reason in a word or two.
fn outcome(token: impl AsRef<[u8]>, key: &Key) -> &'static str {
    match Token::parse(token.as_ref()) {
        Err(malformed) => malformed.text(),
        Ok(token) => match token.verify(&[key]) {
            Ok(_) => "ok",
            Err(Refused::Alg) => "refused alg",
            Err(Refused::Signature) => "refused signature",
        },
    }
}

#[test]
fn every_algorithm_verifies_its_own_and_no_other() {
    let pairs: Vec<(Alg, Pair)> = ALL.into_iter().map(|alg| (alg, Pair::for_alg(alg))).collect();
    let header = |alg: Alg| format!(r#"{{"alg":"{alg:?}","typ":"JWT"}}"#);
    for (alg, pair) in &pairs {
        assert_eq!(Alg::named(&format!("{alg:?}")), Some(*alg));
        let token = pair.token(*alg, &header(*alg), CLAIMS);
        for (other, other_pair) in &pairs {
            let want = if alg == other { "ok" } else { "refused alg" };
            assert_eq!(outcome(&token, &other_pair.key(*other)), want, "{alg:?} by {other:?}");
        }
        // The same algorithm and another key; a flipped bit; half a signature; none; one byte more.
        let fresh = Pair::for_alg(*alg);
        let stranger =
            if let Pair::Shared(_) = fresh { Key::shared(*alg, b"another").unwrap() } else { fresh.key(*alg) };
        assert_eq!(outcome(&token, &stranger), "refused signature", "{alg:?}");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let mut flipped = signature.clone();
        flipped[signature.len() / 2] ^= 1;
        let longer = [&signature[..], &[0]].concat();
        for bad in [&flipped[..], &signature[..signature.len() / 2], &[], &longer] {
            assert_eq!(outcome(format!("{message}.{}", b64(bad)), &pair.key(*alg)), "refused signature", "{alg:?}");
        }
    }
}

#[test]
fn attacks_on_the_header_are_refused() {
    let key = HS.key(Alg::HS256);
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "x".repeat(4096));
    let rows: &[(&str, &str)] = &[
        // Control: what is only strange is not wrong, and keys in a header are not looked at.
        (r#"{"alg":"HS256"}"#, "ok"),
        (r#"{"alg":"HS256","typ":"at+jwt","b64":true}"#, "ok"),
        (r#"{"alg":"HS256","kid":"../../dev/null"}"#, "ok"),
        (r#"{"alg":"HS256","kid":"' or 1=1 --\u0000"}"#, "ok"),
        (&long, "ok"),
        // No algorithm, or `none` in its disguises.
        (r#"{}"#, "invalid alg"),
        (r#"{"alg":"none"}"#, "invalid alg"),
        (r#"{"alg":"None"}"#, "invalid alg"),
        (r#"{"alg":"NONE"}"#, "invalid alg"),
        (r#"{"alg":"nOnE"}"#, "invalid alg"),
        (r#"{"alg":" none"}"#, "invalid alg"),
        (r#"{"alg":""}"#, "invalid alg"),
        (r#"{"alg":null}"#, "invalid alg"),
        (r#"{"alg":["HS256"]}"#, "invalid alg"),
        (r#"{"alg":"hs256"}"#, "invalid alg"),
        (r#"{"alg":"HS256 "}"#, "invalid alg"),
        (r#"{"ALG":"HS256"}"#, "invalid alg"),
        (r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, "invalid alg"),
        // Another algorithm than the key's.
        (r#"{"alg":"HS512"}"#, "refused alg"),
        (r#"{"alg":"RS256"}"#, "refused alg"),
        // Two readers, two meanings.
        (r#"{"alg":"HS256","alg":"none"}"#, "invalid JSON"),
        (r#"{"alg":"none","alg":"HS256"}"#, "invalid JSON"),
        (r#"{"alg":"HS256","\u0061lg":"HS256"}"#, "invalid JSON"),
        (r#"{"alg":"HS256","kid":"a","kid":"b"}"#, "invalid JSON"),
        // Extensions we do not understand.
        (r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, "invalid crit"),
        (r#"{"alg":"HS256","crit":[]}"#, "invalid crit"),
        (r#"{"alg":"HS256","b64":false}"#, "invalid b64"),
        (r#"{"alg":"HS256","b64":"true"}"#, "invalid b64"),
        (r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, "invalid crit"),
        // Not an object, or not JSON.
        (r#"["HS256"]"#, "invalid JSON"),
        (r#""HS256""#, "invalid JSON"),
        ("", "invalid JSON"),
        (r#"{"alg":"HS256"}x"#, "invalid JSON"),
        (r#"{"alg":"HS256",}"#, "invalid JSON"),
        (r#"{'alg':'HS256'}"#, "invalid JSON"),
        ("\u{feff}{\"alg\":\"HS256\"}", "invalid JSON"),
    ];
    for &(header, want) in rows {
        assert_eq!(outcome(HS.token(Alg::HS256, header, CLAIMS), &key), want, "{header}");
    }
}

#[test]
fn a_key_that_the_token_brings_along_is_not_used() {
    // The attacker signs by his own pair and puts it (or the way to it) into the header.
    let thief = Pair::for_alg(Alg::ES256);
    for brought in [
        r#""jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
        r#""jku":"https://thief.test/keys""#,
        r#""x5u":"https://thief.test/cert""#,
        r#""x5c":["MIIB"]"#,
    ] {
        let token = thief.token(Alg::ES256, &format!(r#"{{"alg":"ES256",{brought}}}"#), CLAIMS);
        assert_eq!(outcome(&token, &EC.key(Alg::ES256)), "refused signature", "{brought}");
        assert_eq!(outcome(&token, &thief.key(Alg::ES256)), "ok", "{brought}: the header is legal");
    }
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    let text = RSA.spki();
    let der = STANDARD.decode(text.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    let secrets = [text.clone().into_bytes(), text.trim_end().as_bytes().to_vec(), der, b"".to_vec(), b"\0".to_vec()];
    for secret in secrets {
        let token = Pair::Shared(secret).token(Alg::HS256, r#"{"alg":"HS256"}"#, CLAIMS);
        assert_eq!(outcome(&token, &RSA.key(Alg::RS256)), "refused alg");
        // And with the header lying about the algorithm, so that it fits the key.
        let lying = token.split_once('.').map(|(_, rest)| format!("{}.{rest}", b64(r#"{"alg":"RS256"}"#))).unwrap();
        assert_eq!(outcome(&lying, &RSA.key(Alg::RS256)), "refused signature");
    }
    assert!(Key::shared(Alg::HS256, b"").is_err(), "anybody could sign by an empty secret");
    assert!(Key::shared(Alg::RS256, b"secret").is_err());
    assert!(Key::public(Alg::HS256, &text).is_err());
}

#[test]
fn ecdsa_signatures_of_no_key_are_refused() {
    let message = format!("{}.{}", b64(r#"{"alg":"ES256"}"#), b64(CLAIMS));
    let genuine = EC.sign(Alg::ES256, message.as_bytes());
    // The order of P-256 (SEC 2 §2.4.2).
    let n: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (r, s) = genuine.split_at(32);
    let der = |r: &[u8], s: &[u8]| {
        let int = |v: &[u8]| [&[0x02, v.len() as u8 + 1, 0][..], v].concat();
        let both = [int(r), int(s)].concat();
        [&[0x30, both.len() as u8][..], &both].concat()
    };
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("r = s = 0 (CVE-2022-21449)", vec![0; 64]),
        ("r = 0", [&[0; 32][..], s].concat()),
        ("s = 0", [r, &[0; 32]].concat()),
        ("r = s = n", [n, n].concat()),
        ("r = n", [&n[..], s].concat()),
        ("s = n", [r, &n].concat()),
        ("r = s = 1", [&[0; 31][..], &[1], &[0; 31], &[1]].concat()),
        ("r = s = 2^256 - 1", vec![0xff; 64]),
        ("DER instead of r and s", der(r, s)),
        ("swapped", [s, r].concat()),
        ("a byte short", genuine[..63].to_vec()),
        ("padded to P-384", [&[0; 16][..], r, &[0; 16], s].concat()),
        ("nothing", Vec::new()),
    ];
    let key = EC.key(Alg::ES256);
    assert_eq!(outcome(format!("{message}.{}", b64(&genuine)), &key), "ok");
    for (what, signature) in rows {
        assert_eq!(outcome(format!("{message}.{}", b64(signature)), &key), "refused signature", "{what}");
    }
}

#[test]
fn a_token_has_one_spelling() {
    let key = HS.key(Alg::HS256);
    let good = HS.token(Alg::HS256, r#"{"alg":"HS256"}"#, CLAIMS);
    assert_eq!(outcome(&good, &key), "ok");
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    // 32 bytes of HMAC end in a character of which two bits mean nothing; all other spellings of it are refused.
    let mut uncanonical = signature.to_owned();
    let last = uncanonical.pop().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    uncanonical.push(alphabet.as_bytes()[at ^ 1] as char);
    let huge = format!("{header}.{}.{signature}", "e".repeat(1 << 20));
    let rows: Vec<(String, &str)> = vec![
        (format!("{header}.{claims}"), "invalid JSON"),
        (format!("{header}.{claims}.{signature}."), "invalid JSON"),
        (format!("{header}.{claims}.{signature}.x"), "invalid JSON"),
        (format!(".{claims}.{signature}"), "invalid JSON"),
        (format!("{header}..{signature}"), "invalid JSON"),
        (format!("{header}.{claims}."), "refused signature"),
        (format!("{header}.{claims}.{uncanonical}"), "invalid signature"),
        (format!("{header}.{claims}.{signature}="), "invalid signature"),
        (format!("{header}.{claims}.{signature}\n"), "invalid signature"),
        (format!("{header}.{claims}. {signature}"), "invalid signature"),
        (format!("{header}.{claims}.{}+/", &signature[..40]), "invalid signature"),
        (format!("{header}.{claims}.é"), "invalid signature"),
        (format!(" {header}.{claims}.{signature}"), "invalid JSON"),
        (format!("{header}=.{claims}.{signature}"), "invalid JSON"),
        (format!("{header}.{claims}=.{signature}"), "invalid JSON"),
        (format!("{header}\0.{claims}.{signature}"), "invalid JSON"),
        (format!(r#"{{"protected":"{header}","payload":"{claims}","signature":"{signature}"}}"#), "invalid JSON"),
        // A JWE has five parts.
        (format!("{header}.{claims}.{signature}.{claims}.{signature}"), "invalid JSON"),
        (huge, "invalid JSON"),
        ("".into(), "invalid JSON"),
        ("..".into(), "invalid JSON"),
        ("...".into(), "invalid JSON"),
    ];
    for (token, want) in rows {
        assert_eq!(outcome(&token, &key), want, "{}", &token[..token.len().min(200)]);
    }
    assert_eq!(outcome([0xff, 0xfe, b'.', b'.'], &key), "invalid JSON");
}

#[test]
fn claims_are_an_object_of_unique_names_and_bounded_depth() {
    let key = HS.key(Alg::HS256);
    let nested = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    let rows: Vec<(String, &str)> = vec![
        ("{}".into(), "ok"),
        (r#" {"a":"[[[[[[[[[[[[[[[[[[[[[[[\"[[[[["} "#.into(), "ok"),
        (nested(limits::TOKEN_DEPTH_MAX - 1), "ok"),
        (nested(limits::TOKEN_DEPTH_MAX), "invalid JSON"),
        (nested(5000), "invalid JSON"),
        ("[".repeat(10_000), "invalid JSON"),
        (r#"{"exp":1,"exp":2000000000}"#.into(), "invalid JSON"),
        (r#"{"exp":1e400}"#.into(), "invalid JSON"),
        (r#"{"exp":0x10}"#.into(), "invalid JSON"),
        (r#"{"exp":NaN}"#.into(), "invalid JSON"),
        ("foo".into(), "invalid JSON"),
        (r#""foo""#.into(), "invalid claims"),
        ("[1]".into(), "invalid claims"),
        ("null".into(), "invalid claims"),
        ("7".into(), "invalid claims"),
    ];
    for (claims, want) in rows {
        let got = outcome(HS.token(Alg::HS256, r#"{"alg":"HS256"}"#, &claims), &key);
        assert_eq!(got, want, "{}", &claims[..claims.len().min(80)]);
    }
}

#[test]
fn times_are_numbers_and_hold_to_the_second() {
    const NOW: u64 = 1_700_000_000;
    let both = LifeRules { exp: true, nbf: true, ..LifeRules::default() };
    let exp = LifeRules { exp: true, ..LifeRules::default() };
    let nbf = LifeRules { nbf: true, ..LifeRules::default() };
    let short = LifeRules { exp: true, ahead_s_max: 300, ..LifeRules::default() };
    let skewed = LifeRules { skew_s: 60, ..both };
    let issued = LifeRules { exp: true, present: true, skew_s: 1, ..LifeRules::default() };
    let rows: &[(&str, LifeRules, &str, &str)] = &[
        // claims, rules, message about exp, about nbf
        (r#"{}"#, LifeRules::default(), "", ""),
        (r#"{"exp":1,"nbf":1e18}"#, LifeRules::default(), "", ""),
        (r#"{"exp":1700000001}"#, exp, "", ""),
        (r#"{"exp":1700000000}"#, exp, "token expired", ""),
        (r#"{"exp":1700000000.5}"#, exp, "", ""),
        (r#"{"exp":1.7000000005e9}"#, exp, "", ""),
        (r#"{"exp":-1}"#, exp, "token expired", ""),
        (r#"{"exp":-1e308}"#, exp, "token expired", ""),
        (r#"{"exp":1e308}"#, exp, "", ""),
        (r#"{"exp":18446744073709551615}"#, exp, "", ""),
        (r#"{}"#, exp, "must be a number", ""),
        (r#"{"exp":"1700000001"}"#, exp, "must be a number", ""),
        (r#"{"exp":null}"#, exp, "must be a number", ""),
        (r#"{"exp":true}"#, exp, "must be a number", ""),
        (r#"{"exp":[1700000001]}"#, exp, "must be a number", ""),
        (r#"{"nbf":1700000000}"#, nbf, "", ""),
        (r#"{"nbf":1700000001}"#, nbf, "", "token not valid yet"),
        (r#"{"nbf":1700000000.1}"#, nbf, "", "token not valid yet"),
        (r#"{"nbf":"0"}"#, nbf, "", "must be a number"),
        (r#"{"exp":1,"nbf":1700000001}"#, both, "token expired", "token not valid yet"),
        (r#"{"exp":1700000300}"#, short, "", ""),
        (r#"{"exp":1700000301}"#, short, "exceeds maximum allowed expiration", ""),
        (r#"{"exp":1}"#, short, "token expired", ""),
        (r#"{}"#, LifeRules { exp: false, ..short }, "exceeds maximum allowed expiration", ""),
        (r#"{"exp":1699999941,"nbf":1700000060}"#, skewed, "", ""),
        (r#"{"exp":1699999940,"nbf":1700000061}"#, skewed, "token expired", "token not valid yet"),
        (r#"{"exp":1700000001}"#, issued, "", ""),
        (r#"{"exp":1700000001,"nbf":1700000001,"iat":1700000001}"#, issued, "", ""),
        (r#"{"exp":1700000001,"nbf":1700000002}"#, issued, "", "token not valid yet"),
        (r#"{"exp":1700000001,"nbf":"0"}"#, issued, "", "must be a number"),
        (r#"{"nbf":1}"#, issued, "must be a number", ""),
    ];
    for &(claims, rules, about_exp, about_nbf) in rows {
        let token = HS.token(Alg::HS256, r#"{"alg":"HS256"}"#, claims);
        let verified = Token::parse(token.as_bytes()).unwrap().verify(&[&HS.key(Alg::HS256)]).unwrap();
        let faults = verified.life().check(rules, NOW).err().unwrap_or_default();
        assert_eq!((faults.exp.unwrap_or(""), faults.nbf.unwrap_or("")), (about_exp, about_nbf), "{claims}");
    }
}

#[test]
fn a_token_from_the_future_is_refused_where_that_is_asked_for() {
    let rules = LifeRules { exp: true, present: true, ..LifeRules::default() };
    let must = LifeRules { iat: true, ..LifeRules::default() };
    let rows = [
        (r#"{"exp":1e10}"#, rules, None),
        (r#"{"exp":1e10,"iat":1700000000}"#, rules, None),
        (r#"{"exp":1e10,"iat":1700000001}"#, rules, Some("token not valid yet")),
        (r#"{"exp":1e10,"iat":"then"}"#, rules, Some("must be a number")),
        (r#"{}"#, must, Some("must be a number")),
        (r#"{"iat":1700000000}"#, must, None),
        (r#"{"iat":1700000001}"#, must, Some("token not valid yet")),
        (r#"{"iat":1700000001}"#, LifeRules { skew_s: 1, ..must }, None),
    ];
    for (claims, rules, want) in rows {
        let token = HS.token(Alg::HS256, r#"{"alg":"HS256"}"#, claims);
        let verified = Token::parse(token.as_bytes()).unwrap().verify(&[&HS.key(Alg::HS256)]).unwrap();
        assert_eq!(verified.life().check(rules, 1_700_000_000).err().and_then(|faults| faults.iat), want, "{claims}");
    }
}

#[test]
fn an_audience_is_a_text_or_a_list_and_a_claim_may_lie_deeper() {
    let verified = |claims: &str| {
        let token = HS.token(Alg::HS256, r#"{"alg":"HS256"}"#, claims);
        Token::parse(token.as_bytes()).unwrap().verify(&[&HS.key(Alg::HS256)]).unwrap()
    };
    let ours = ["api".to_owned(), "admin".to_owned()];
    let rows = [
        (r#"{"aud":"api"}"#, true),
        (r#"{"aud":["x","admin"]}"#, true),
        (r#"{"aud":"apis"}"#, false),
        (r#"{"aud":"ap"}"#, false),
        (r#"{"aud":["x",["api"]]}"#, false),
        (r#"{"aud":{"api":1}}"#, false),
        (r#"{"aud":null}"#, false),
        (r#"{}"#, false),
    ];
    for (claims, want) in rows {
        assert_eq!(verified(claims).is_for(&ours), want, "{claims}");
    }
    let claims = verified(r#"{"a":{"b":{"c":1}},"a.b":2,"https://x.test/roles":3}"#);
    let found =
        ["a.b", "a.b.c", "https://x.test/roles", "a.x", "b"].map(|path| claims.at(path).and_then(Value::as_u64));
    assert_eq!(found, [Some(2), Some(1), Some(3), None, None]);
}

#[test]
fn keys_that_could_not_verify_are_refused_at_load() {
    let small = RsaPair::generate(KeySize::Rsa2048).unwrap();
    let rsa_pkcs1 = pem("RSA PUBLIC KEY", small.public_key().as_ref());
    assert!(Key::public(Alg::RS256, &rsa_pkcs1).is_ok());
    // 1024 bits: SEQUENCE { INTEGER (129 bytes, leading zero), INTEGER 65537 }.
    let modulus = [&[0x02, 0x81, 0x81, 0x00][..], &[0xab; 128]].concat();
    let weak = [&[0x30, 0x81, (modulus.len() + 5) as u8][..], &modulus, &[0x02, 0x03, 1, 0, 1]].concat();
    let rows: Vec<(Alg, String, &str)> = vec![
        (Alg::RS256, pem("RSA PUBLIC KEY", &weak), "2048 to 8192 bits"),
        (Alg::RS256, EC.spki(), "not an RSA public key"),
        (Alg::ES256, RSA.spki(), "not a public key on an elliptic curve"),
        (Alg::ES384, EC.spki(), "not a key on the curve P-384"),
        (Alg::ES512, EC.spki(), "not a key on the curve P-521"),
        (Alg::EdDSA, EC.spki(), "not an Ed25519 public key"),
        (Alg::RS256, "secret".into(), "not a public key in PEM"),
        (Alg::RS256, RSA.spki().replace("PUBLIC", "PRIVATE"), "not a public key in PEM"),
        (Alg::RS256, RSA.spki().replace("PUBLIC KEY", "CERTIFICATE"), "not a public key in PEM"),
        (Alg::RS256, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(), "not an RSA public key"),
    ];
    for (alg, text, want) in rows {
        let fault = Key::public(alg, &text).unwrap_err();
        assert!(fault.contains(want), "{alg:?}: {fault}");
    }
}

#[test]
fn secrets_in_base64_are_read_in_either_alphabet() {
    for text in ["+/+/YQ==", "-_-_YQ", "-_-_YQ==", " +/+/\nYQ "] {
        assert_eq!(secret_from_base64(text).as_deref(), Some(&[0xfb, 0xff, 0xbf, b'a'][..]), "{text:?}");
    }
    assert_eq!(secret_from_base64("not base64!"), None);
}

/// Tokens and keys of another implementation, where it is installed.
#[test]
fn tokens_made_by_openssl_verify() {
    use std::process::Command;
    let dir = std::env::temp_dir().join(format!("ringway-jwt-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let run = |args: &[&str]| Command::new("openssl").args(args).current_dir(&dir).output().ok();
    if run(&["version"]).is_none() {
        eprintln!("openssl is not installed; nothing was tested");
        return;
    }
    let rsa: &[&str] = &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key"];
    let ec: &[&str] = &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key"];
    let ed: &[&str] = &["genpkey", "-algorithm", "ED25519", "-out", "key"];
    let pss: &[&str] = &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"];
    let digest: &[&str] = &["dgst", "-sha256", "-sign", "key", "-out", "signature"];
    let raw: &[&str] = &["pkeyutl", "-sign", "-inkey", "key", "-rawin", "-out", "signature", "-in"];
    let rows: &[(Alg, &[&str], Vec<&str>)] = &[
        (Alg::RS256, rsa, digest.to_vec()),
        (Alg::PS256, rsa, [digest, pss].concat()),
        (Alg::ES256, ec, digest.to_vec()),
        (Alg::EdDSA, ed, raw.to_vec()),
    ];
    for (alg, make, sign) in rows {
        let ok = |args: &[&str]| {
            let out = run(args).unwrap();
            assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        };
        ok(make);
        ok(&["pkey", "-in", "key", "-pubout", "-out", "public"]);
        let message = format!("{}.{}", b64(format!(r#"{{"alg":"{alg:?}"}}"#)), b64(CLAIMS));
        std::fs::write(dir.join("message"), &message).unwrap();
        ok(&[&sign[..], &["message"]].concat());
        let mut signature = std::fs::read(dir.join("signature")).unwrap();
        if *alg == Alg::ES256 {
            signature = fixed(&signature, 32);
        }
        let key = Key::public(*alg, &std::fs::read_to_string(dir.join("public")).unwrap()).unwrap();
        assert_eq!(outcome(format!("{message}.{}", b64(&signature)), &key), "ok", "{alg:?}");
        signature[20] ^= 4;
        assert_eq!(outcome(format!("{message}.{}", b64(&signature)), &key), "refused signature", "{alg:?}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// SEQUENCE { INTEGER r, INTEGER s } as r and s of fixed width, as tokens carry them.
fn fixed(der: &[u8], width: usize) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), &der[2..]);
    for _ in 0..2 {
        let (int, tail) = rest[2..].split_at(rest[1] as usize);
        let int = &int[int.len().saturating_sub(width)..];
        out.extend(std::iter::repeat_n(0, width - int.len()));
        out.extend_from_slice(int);
        rest = tail;
    }
    out
}
