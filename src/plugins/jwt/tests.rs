//! Tokens of consumers, as requests bring them.

use super::super::rig::{credential, faults, Held, Rig, Seen, ALICE, BOB, NOON};
use super::*;
use crate::base::time::WallMs;
use crate::hook::Shelf;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256};
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::Engine;
use std::sync::LazyLock;

const NOW: u64 = NOON.0 / 1000;

static RSA: LazyLock<RsaPair> = LazyLock::new(|| RsaPair::generate(KeySize::Rsa2048).unwrap());

fn pem() -> String {
    let der: PublicKeyX509Der<'_> = RSA.public_key().as_der().unwrap();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
}

fn secret(key: &str, secret: &str, algorithm: &str, public_key: Option<String>) -> Secret<String> {
    let (key, secret, algorithm) = (key.into(), secret.into(), algorithm.into());
    Secret::Jwt(TokenKey { key, secret, algorithm, public_key })
}

/// bob signs by HS256 or RS256, alice by HS512; `es` has no key and `blank` an empty secret.
fn credentials() -> Vec<Held> {
    vec![
        credential(0xd0, BOB, secret("bob", "bobs secret", "HS256", None)),
        credential(0xd1, BOB, secret("rsa", "", "RS256", Some(pem()))),
        credential(0xd2, ALICE, secret("alice", "YWxpY2Vz", "HS512", None)),
        credential(0xd3, ALICE, secret("es", "", "ES256", None)),
        credential(0xd4, ALICE, secret("blank", "", "HS256", None)),
    ]
}

fn signed(header: Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn hmac(algorithm: aws_lc_rs::hmac::Algorithm, secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(algorithm, secret);
    move |text| aws_lc_rs::hmac::sign(&key, text).as_ref().to_vec()
}

fn hs256(claims: Value) -> String {
    hs256_by(b"bobs secret", claims)
}

fn hs256_by(secret: &[u8], claims: Value) -> String {
    signed(json!({"alg": "HS256", "typ": "JWT"}), &claims, hmac(aws_lc_rs::hmac::HMAC_SHA256, secret))
}

fn rs256(claims: Value) -> String {
    signed(json!({"alg": "RS256"}), &claims, |text| {
        let mut out = vec![0; RSA.public_modulus_len()];
        RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut out).unwrap();
        out
    })
}

#[track_caller]
fn rig(config: Value) -> Rig {
    Rig::with(&DESCRIPTOR, config, &Shelf::default(), credentials())
}

fn bearer(token: &str) -> String {
    format!("GET /\nAuthorization: Bearer {token}")
}

/// The answer and its challenge, as `status body | challenge`.
fn said(seen: &Seen) -> String {
    let challenge = seen.reply_field("WWW-Authenticate").map(|challenge| format!(" | {challenge}"));
    seen.said() + &challenge.unwrap_or_default()
}

fn refused(message: &str) -> String {
    format!("401 {{\"message\":\"{message}\"}} | Bearer error=\"invalid_token\"")
}

#[test]
fn a_token_is_found_where_it_may_stand() {
    let (one, two) = (hs256(json!({"iss": "bob"})), hs256(json!({"iss": "bob", "n": 2})));
    let missing = "401 {\"message\":\"Unauthorized\"} | Bearer".to_owned();
    let several = refused("Multiple tokens provided");
    let next = "next".to_owned();
    let cookies = json!({"cookie_names": ["tok"]});
    let rows: Vec<(Value, String, &String)> = vec![
        (json!({}), "GET /".into(), &missing),
        (json!({}), format!("GET /?jwt={one}"), &next),
        (json!({}), bearer(&one), &next),
        (json!({}), format!("GET /\nauthorization: bEARER   {one}"), &next),
        (json!({}), format!("GET /\nauthorization: Bearer{one}"), &missing),
        (json!({}), format!("GET /\nauthorization: Basic {one}"), &missing),
        (json!({}), "GET /\nauthorization: Bearer".into(), &missing),
        (json!({}), format!("GET /?jwt={one}\nauthorization: Bearer {one}"), &next),
        (json!({}), format!("GET /?jwt={one}\nauthorization: Bearer {two}"), &several),
        (json!({}), format!("GET /?jwt={one}&jwt={two}"), &several),
        (json!({}), format!("GET /\nauthorization: Bearer {one}\nauthorization: Bearer {two}"), &several),
        (json!({}), format!("GET /?jwt=\nauthorization: Bearer {one}"), &next),
        (json!({}), format!("GET /?jwt&jwt={one}"), &several),
        (json!({}), format!("GET /\nCookie: tok={one}"), &missing),
        (cookies.clone(), format!("GET /\nCookie: a=b; tok={one}"), &next),
        (cookies.clone(), format!("GET /?jwt={one}\nCookie: tok={one}\nAuthorization: Bearer {one}"), &next),
        (cookies, format!("GET /?jwt={one}\nCookie: tok={two}\nAuthorization: Bearer {one}"), &several),
        (json!({"uri_param_names": []}), format!("GET /?jwt={one}"), &missing),
        (json!({"header_names": ["x-jwt"]}), format!("GET /\nX-Jwt: Bearer {one}"), &next),
    ];
    for (config, request, want) in rows {
        assert_eq!(said(&rig(config.clone()).ask(&request)), *want, "{config} {request}");
    }
    assert_eq!(said(&rig(json!({})).ask("GET /?jwt")), refused("Unrecognizable token"));
}

#[test]
fn refusals_say_why_in_the_words_clients_know() {
    let none = signed(json!({"alg": "none"}), &json!({"iss": "bob"}), |_| Vec::new());
    let twice = URL_SAFE_NO_PAD.encode("{\"alg\":\"none\",\"alg\":\"HS256\"}");
    let crit = signed(json!({"alg": "HS256", "crit": ["x"]}), &json!({"iss": "bob"}), |_| vec![1]);
    // A public key as a shared secret: what the token says of its algorithm counts for nothing.
    let confused = hs256_by(pem().as_bytes(), json!({"iss": "rsa"}));
    let good = hs256(json!({"iss": "bob"}));
    let (text, signature) = good.rsplit_once('.').unwrap();
    let swapped = signature.chars().rev().collect::<String>();
    let list = signed(json!({"alg": "HS256"}), &json!(["iss"]), |_| vec![1]);
    let es = signed(json!({"alg": "ES256"}), &json!({"iss": "es"}), |_| vec![0; 64]);
    let rows = [
        ("abc".to_owned(), "Bad token; invalid JSON"),
        (format!("{good}.x"), "Bad token; invalid JSON"),
        (format!("{twice}.{}", text.split_once('.').unwrap().1) + ".YQ", "Bad token; invalid JSON"),
        (none, "Bad token; invalid alg"),
        (crit, "Bad token; invalid crit"),
        (list, "Bad token; invalid claims"),
        (format!("{text}.{signature}="), "Bad token; invalid signature"),
        (hs256(json!({})), "No mandatory 'iss' in claims"),
        (hs256(json!({"iss": null})), "No mandatory 'iss' in claims"),
        (hs256(json!({"iss": ""})), "Invalid 'iss' in claims"),
        (hs256(json!({"iss": "bobby"})), "No credentials found for given 'iss'"),
        (hs256(json!({"iss": ["bob"]})), "No credentials found for given 'iss'"),
        (hs256(json!({"iss": "alice"})), "Invalid algorithm"),
        (confused, "Invalid algorithm"),
        (es, "Invalid key/secret"),
        (hs256_by(b"x", json!({"iss": "blank"})), "Invalid key/secret"),
        (format!("{text}."), "Invalid signature"),
        (format!("{text}.{swapped}"), "Invalid signature"),
        (hs256_by(b"guessed", json!({"iss": "bob"})), "Invalid signature"),
    ];
    for (token, want) in rows {
        let seen = rig(json!({})).ask(&bearer(&token));
        let got = said(&seen);
        // Half of the reversed signatures end in bits that no encoder writes; both words are true then.
        let spelled = want == "Invalid signature" && got == refused("Bad token; invalid signature");
        assert!(got == refused(want) || spelled, "{token}: {got}, not {want}");
        assert_eq!(seen.identity.consumer, None);
    }
    let seen = rig(json!({"realm": "here"})).ask(&bearer("abc"));
    assert_eq!(seen.reply_field("WWW-Authenticate"), Some("Bearer realm=\"here\", error=\"invalid_token\""));
    let seen = rig(json!({"realm": "here"})).ask("GET /");
    assert_eq!(seen.reply_field("WWW-Authenticate"), Some("Bearer realm=\"here\""));
}

#[test]
fn the_upstream_is_told_who_it_is() {
    let by_kid =
        signed(json!({"alg": "HS256", "kid": "bob"}), &json!({}), hmac(aws_lc_rs::hmac::HMAC_SHA256, b"bobs secret"));
    let alice =
        signed(json!({"alg": "HS512"}), &json!({"iss": "alice"}), hmac(aws_lc_rs::hmac::HMAC_SHA512, b"alices"));
    let rows = [
        (json!({}), hs256(json!({"iss": "bob"})), "bob", "bob"),
        (json!({}), rs256(json!({"iss": "rsa"})), "bob", "rsa"),
        (json!({"key_claim_name": "kid"}), by_kid, "bob", "bob"),
        (json!({"secret_is_base64": true}), alice, "alice", "alice"),
    ];
    for (config, token, username, key) in rows {
        let seen = rig(config).ask(&(bearer(&token) + "\nX-Consumer-Username: evil\nX-Anonymous-Consumer: true"));
        assert_eq!(seen.said(), "next");
        assert_eq!(seen.upstream("X-Consumer-Username"), Some(username));
        assert_eq!(seen.upstream("X-Credential-Identifier"), Some(key));
        assert_eq!(seen.upstream("X-Anonymous-Consumer"), Some(""));
    }
    let seen = rig(json!({"anonymous": "guest"})).ask(&bearer("abc"));
    assert_eq!((seen.said().as_str(), seen.upstream("X-Consumer-Username")), ("next", Some("guest")));
    assert_eq!(rig(json!({"run_on_preflight": false})).ask("OPTIONS /").said(), "next");
}

#[test]
fn times_are_held_to_the_rules_at_every_request() {
    let both = || json!({"claims_to_verify": ["exp", "nbf"]});
    let exp = || json!({"claims_to_verify": ["exp"], "maximum_expiration": 300});
    let rows = [
        (json!({}), json!({"exp": 1, "nbf": NOW + 9}), "next"),
        (both(), json!({"exp": NOW + 1, "nbf": NOW}), "next"),
        (both(), json!({"exp": NOW, "nbf": NOW + 1}), r#"401 {"exp":"token expired","nbf":"token not valid yet"}"#),
        (both(), json!({"exp": "9999999999"}), r#"401 {"exp":"must be a number","nbf":"must be a number"}"#),
        (exp(), json!({"exp": NOW + 300}), "next"),
        (exp(), json!({"exp": NOW + 600}), r#"401 {"exp":"exceeds maximum allowed expiration"}"#),
    ];
    for (config, mut claims, want) in rows {
        claims["iss"] = "bob".into();
        let (mut rig, request) = (rig(config), bearer(&hs256(claims.clone())));
        for _ in 0..2 {
            assert_eq!(rig.ask(&request).said(), want, "{claims}");
        }
    }
    // A token that was remembered still expires.
    let (mut rig, request) = (rig(both()), bearer(&hs256(json!({"iss": "bob", "exp": NOW + 5, "nbf": 0}))));
    assert_eq!(rig.ask(&request).upstream("X-Credential-Identifier"), Some("bob"));
    rig.now = WallMs(NOON.0 + 4_999);
    assert_eq!(rig.ask(&request).upstream("X-Credential-Identifier"), Some("bob"));
    rig.now = WallMs(NOON.0 + 5_000);
    assert_eq!(rig.ask(&request).said(), r#"401 {"exp":"token expired"}"#);
}

#[test]
fn a_remembered_token_dies_with_its_secret_and_survives_other_reloads() {
    let request = bearer(&hs256(json!({"iss": "bob"})));
    let mut before = rig(json!({}));
    assert_eq!([before.ask(&request).said(), before.ask(&request).said()], ["next", "next"]);
    assert_eq!(before.locals.of(TokenCache::default).counts(), (1, 1));
    // The same credentials: it is still known.
    let mut same = rig(json!({"claims_to_verify": []}));
    same.locals = before.locals;
    assert_eq!(same.ask(&request).said(), "next");
    assert_eq!(same.locals.of(TokenCache::default).counts(), (2, 1));
    // Another secret, or another claim to name it: it is not.
    let mut changed = credentials();
    changed[0].2 = secret("bob", "another secret", "HS256", None);
    let mut after = Rig::with(&DESCRIPTOR, json!({}), &Shelf::default(), changed);
    after.locals = same.locals;
    assert_eq!(said(&after.ask(&request)), refused("Invalid signature"));
    let mut by_kid = rig(json!({"key_claim_name": "kid"}));
    by_kid.locals = after.locals;
    assert_eq!(said(&by_kid.ask(&request)), refused("No mandatory 'kid' in claims"));
}

#[test]
fn claims_of_a_consumers_token_may_be_headers_too() {
    let config = json!({"claims_to_headers": {"role": "X-Role"}, "audiences": ["api"], "clock_skew": 10, "claims_to_verify": ["exp"]});
    let mut rig = rig(config);
    let request =
        bearer(&hs256(json!({"iss": "bob", "role": "dev", "aud": "api", "exp": NOW - 9}))) + "\nX-Role: admin";
    for _ in 0..2 {
        let seen = rig.ask(&request);
        assert_eq!((seen.said().as_str(), seen.upstream("X-Role")), ("next", Some("dev")));
        assert_eq!(seen.upstream("X-Credential-Identifier"), Some("bob"));
    }
    let seen = rig.ask(&(bearer(&hs256(json!({"iss": "bob", "aud": "web", "exp": NOW + 9}))) + "\nX-Role: admin"));
    assert_eq!((seen.said().as_str(), seen.upstream("X-Role")), (r#"401 {"aud":"not for this service"}"#, Some("")));
    assert_eq!(
        rig.ask(&bearer(&hs256(json!({"iss": "bob", "aud": "api", "exp": NOW - 10})))).said(),
        r#"401 {"exp":"token expired"}"#
    );
}

#[test]
fn configurations_that_cannot_be_meant_are_refused() {
    let found = faults(&DESCRIPTOR, json!({"maximum_expiration": 300}));
    assert_eq!(found[0], ("claims_to_verify".to_owned(), "expected to contain: exp".to_owned()));
    assert_eq!(faults(&DESCRIPTOR, json!({"maximum_expiration": 300, "claims_to_verify": ["exp"]})), []);
    let plan = |secret| {
        let mut plan = Rig::with(&DESCRIPTOR, json!({}), &Shelf::default(), Vec::new()).plan_copy();
        plan.credentials = [credential(0xd0, BOB, secret)].iter().collect();
        plan
    };
    let broken = Keys::of(&plan(secret("k", "", "RS256", Some("no pem".to_owned()))), false);
    assert_eq!(broken.err(), Some("credential \"k\" (-): not a public key in PEM".to_owned()));
    let unknown = Keys::of(&plan(secret("k", "", "HS1", None)), false);
    assert_eq!(unknown.err(), Some("credential \"k\" (-): its algorithm is not known".to_owned()));
}

/// Tokens of a trusted issuer.
mod of_an_issuer {
    use super::*;
    use crate::auth::issuer::{Issuer, Issuers, Source};
    use crate::auth::jwks::KeySet;
    use crate::base::limits;
    use crate::hook::Identity;
    use aws_lc_rs::signature::{EcdsaKeyPair, ECDSA_P256_SHA256_FIXED_SIGNING};

    const KEYS: &str = "https://id.test/keys";
    const ISSUER: &str = "https://id.test";

    static EC: LazyLock<EcdsaKeyPair> =
        LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    static OTHER: LazyLock<RsaPair> = LazyLock::new(|| RsaPair::generate(KeySize::Rsa2048).unwrap());

    /// A key of 2048 bits as a set shows it: PKCS#1 has nine bytes before the modulus.
    fn jwk(pair: &RsaPair, kid: &str) -> Value {
        let modulus = &pair.public_key().as_ref()[9..265];
        json!({"kty": "RSA", "kid": kid, "use": "sig", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"})
    }

    fn ec_jwk() -> Value {
        let point = EC.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({"kty": "EC", "crv": "P-256", "kid": "e1", "x": part(1..33), "y": part(33..65)})
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    /// The plugin, and the issuer that it trusts.
    fn rig(config: Value) -> (Rig, Arc<Issuer>) {
        let mut all = json!({"issuer": ISSUER, "jwks_uri": KEYS});
        all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let shelf = Shelf::default();
        let rig = Rig::with(&DESCRIPTOR, all, &shelf, credentials());
        let issuer = shelf.take_or(Issuers::default).of(&Source::Keys(KEYS.to_owned()));
        (rig, issuer)
    }

    /// The same, with the keys `r1` and `e1` fetched.
    fn rig_with_keys(config: Value) -> Rig {
        let (rig, issuer) = rig(config);
        issuer.put(set(&[jwk(&RSA, "r1"), ec_jwk()]));
        rig
    }

    fn by(pair: &'static RsaPair) -> impl Fn(&[u8]) -> Vec<u8> {
        |text| {
            let mut out = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut out).unwrap();
            out
        }
    }

    /// Claims that pass, but for what `more` says otherwise; null takes one away.
    fn claims(more: Value) -> Value {
        let mut claims = json!({"iss": ISSUER, "sub": "u-1", "aud": "api", "exp": NOW + 60, "iat": NOW});
        for (name, value) in more.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn token(header: Value, more: Value) -> String {
        signed(header, &claims(more), by(&RSA))
    }

    fn good(more: Value) -> String {
        token(json!({"alg": "RS256", "kid": "r1"}), more)
    }

    #[test]
    fn no_consumer_is_needed_and_claims_become_headers() {
        let config = json!({"claims_to_headers": {"sub": "X-User", "realm.roles": "X-Roles", "evil": "X-Evil"}});
        let mut rig = rig_with_keys(config);
        let more = json!({"realm": {"roles": ["a", "b"]}, "evil": "a\r\nX-Admin: 1"});
        let names = "X-Consumer-ID: evil\nX-Consumer-Username: evil\nX-User: evil\nX-Roles: evil\nX-Evil: evil";
        let request = bearer(&good(more)) + "\n" + names;
        // The second time it is remembered.
        for _ in 0..2 {
            let seen = rig.ask(&request);
            assert_eq!(seen.said(), "next");
            let told = ["X-User", "X-Roles", "X-Evil", "X-Credential-Identifier"].map(|name| seen.upstream(name));
            assert_eq!(told, [Some("u-1"), Some("a,b"), Some(""), Some("u-1")]);
            let consumer = ["X-Consumer-ID", "X-Consumer-Custom-ID", "X-Consumer-Username", "X-Anonymous-Consumer"];
            assert_eq!(consumer.map(|name| seen.upstream(name)), [Some(""); 4]);
            assert_eq!(seen.identity, Identity { is_vouched: true, ..Identity::default() });
        }
        assert_eq!(rig.locals.of(TokenCache::default).counts(), (1, 1));
        // What a client says of itself does not pass with a refusal or without a token either.
        let (mut rig, _) =
            super::of_an_issuer::rig(json!({"claims_to_headers": {"sub": "X-User"}, "anonymous": "guest"}));
        let seen = rig.ask("GET /\nX-User: evil");
        assert_eq!((seen.said().as_str(), seen.upstream("X-User")), ("next", Some("")));
    }

    #[test]
    fn a_consumer_may_be_named_by_a_claim() {
        let config = || json!({"consumer_claim": "sub"});
        for (sub, want) in [("alice", ALICE), ("a-1", ALICE), ("bob", BOB)] {
            let mut rig = rig_with_keys(config());
            for _ in 0..2 {
                let seen = rig.ask(&bearer(&good(json!({"sub": sub}))));
                assert_eq!(seen.identity, Identity { consumer: Some(want), credential: None, is_vouched: true });
                assert_eq!(seen.upstream("X-Credential-Identifier"), Some(sub));
            }
        }
        for sub in [json!("nobody"), json!(null), json!(["bob"]), json!("00000000-0000-0000-0000-0000000000b0")] {
            let seen = rig_with_keys(config()).ask(&bearer(&good(json!({"sub": sub}))));
            assert_eq!(said(&seen), refused("Could not find consumer for the token"), "{sub}");
        }
    }

    #[test]
    fn claims_are_held_to_what_is_asked() {
        let mut rig = rig_with_keys(json!({"audiences": ["api", "web"]}));
        let rows = [
            (json!({}), "next"),
            (json!({"aud": ["x", "web"]}), "next"),
            (json!({"aud": "apis"}), r#"401 {"aud":"not for this service"}"#),
            (json!({"aud": null}), r#"401 {"aud":"not for this service"}"#),
            (json!({"iss": "https://id.test/"}), r#"401 {"iss":"not the issuer that is trusted"}"#),
            (json!({"iss": "https://id.test.evil"}), r#"401 {"iss":"not the issuer that is trusted"}"#),
            (json!({"iss": ["https://id.test"]}), r#"401 {"iss":"not the issuer that is trusted"}"#),
            (json!({"iss": null}), r#"401 {"iss":"not the issuer that is trusted"}"#),
            (json!({"exp": NOW + 1}), "next"),
            (json!({"exp": NOW}), r#"401 {"exp":"token expired"}"#),
            (json!({"exp": NOW - 1}), r#"401 {"exp":"token expired"}"#),
            (json!({"exp": null}), r#"401 {"exp":"must be a number"}"#),
            (json!({"nbf": NOW}), "next"),
            (json!({"nbf": NOW + 1}), r#"401 {"nbf":"token not valid yet"}"#),
            (json!({"iat": NOW + 1}), r#"401 {"iat":"token not valid yet"}"#),
            (json!({"iat": null}), "next"),
        ];
        for (more, want) in rows {
            assert_eq!(rig.ask(&bearer(&good(more.clone()))).said(), want, "{more}");
        }
        let seen = rig.ask(&bearer(&good(json!({"exp": NOW - 1}))));
        assert_eq!(seen.reply_field("WWW-Authenticate"), Some("Bearer error=\"invalid_token\""));
        let mut rig = rig_with_keys(json!({"clock_skew": 5, "claims_to_verify": ["nbf"]}));
        let rows = [
            (json!({"exp": NOW - 4, "nbf": NOW + 5, "iat": NOW + 5}), "next"),
            (json!({"exp": NOW - 5, "nbf": NOW}), r#"401 {"exp":"token expired"}"#),
            (json!({"nbf": NOW + 6}), r#"401 {"nbf":"token not valid yet"}"#),
            (json!({}), r#"401 {"nbf":"must be a number"}"#),
        ];
        for (more, want) in rows {
            assert_eq!(rig.ask(&bearer(&good(more.clone()))).said(), want, "{more}");
        }
    }

    #[test]
    fn what_no_key_of_the_issuer_signed_is_refused() {
        let ec = |text: &[u8]| EC.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec();
        let shared = |secret: &[u8]| hmac(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let own = jwk(&OTHER, "r1");
        let with_keys = json!({"alg": "RS256", "kid": "r1", "jwk": own, "jku": "https://evil.test", "x5u": "https://evil.test", "x5c": ["AA=="]});
        let kid = |alg: &str| json!({"alg": alg, "kid": "r1"});
        let long = "k".repeat(limits::JWKS_KID_BYTES_MAX + 1);
        let good = good(json!({}));
        let (text, signature) = good.rsplit_once('.').unwrap();
        let rows = [
            (signed(json!({"alg": "ES256", "kid": "e1"}), &claims(json!({})), ec), "next"),
            (token(json!({"alg": "RS256"}), json!({})), "next"),
            (signed(with_keys, &claims(json!({})), by(&OTHER)), "Invalid signature"),
            // No key is named, and none fits: the issuer may have a new one.
            (signed(json!({"alg": "RS256"}), &claims(json!({})), by(&OTHER)), "waits"),
            (signed(kid("none"), &claims(json!({})), |_| Vec::new()), "Bad token; invalid alg"),
            (signed(kid("HS256"), &claims(json!({})), shared(pem().as_bytes())), "Invalid algorithm"),
            (
                signed(kid("HS256"), &claims(json!({})), shared(jwk(&RSA, "r1").to_string().as_bytes())),
                "Invalid algorithm",
            ),
            (signed(kid("PS256"), &claims(json!({})), by(&RSA)), "Invalid algorithm"),
            (signed(kid("RS384"), &claims(json!({})), by(&RSA)), "Invalid algorithm"),
            (signed(kid("ES256"), &claims(json!({})), |_| vec![0; 64]), "Invalid algorithm"),
            (signed(json!({"alg": "ES256", "kid": "e1"}), &claims(json!({})), |_| vec![0; 64]), "Invalid signature"),
            (signed(json!({"alg": "ES256"}), &claims(json!({})), |_| vec![0; 64]), "waits"),
            (token(json!({"alg": "RS256", "kid": long}), json!({})), "No key of the issuer found for given 'kid'"),
            (token(json!({"alg": "RS256", "kid": ["r1"]}), json!({})), "No key of the issuer found for given 'kid'"),
            (token(json!({"alg": "RS256", "kid": "r1", "crit": ["b64"]}), json!({})), "Bad token; invalid crit"),
            (format!("{text}."), "Invalid signature"),
            (format!("{text}.{}", &signature[..signature.len() - 4]), "Invalid signature"),
            (format!("{text}.{signature}AAAA"), "Invalid signature"),
            (text.to_owned(), "Bad token; invalid JSON"),
            (format!("{good}.{signature}.x"), "Bad token; invalid JSON"),
            // A consumer's own credential is none here.
            (hs256(json!({"iss": ISSUER, "exp": NOW + 9})), "Invalid algorithm"),
        ];
        let mut rig = rig_with_keys(json!({}));
        for (token, want) in rows {
            let seen = rig.ask(&bearer(&token));
            let want = if matches!(want, "next" | "waits") { want.to_owned() } else { refused(want) };
            let got = said(&seen);
            // What a signature is cut to may end in bits that no encoder writes.
            let spelled = want == refused("Invalid signature") && got == refused("Bad token; invalid signature");
            assert!(got == want || spelled, "{token}: {got}, not {want}");
            assert_eq!(seen.identity.is_proved(), want == "next");
        }
    }

    #[test]
    fn a_key_that_is_not_known_yet_is_waited_for() {
        let new = || bearer(&signed(json!({"alg": "RS256", "kid": "r2"}), &claims(json!({})), by(&OTHER)));
        let (mut rig, issuer) = rig(json!({}));
        let old = bearer(&good(json!({})));
        // Before the first fetch, everybody waits, for a while.
        let seen = rig.ask(&old);
        assert_eq!((seen.said().as_str(), seen.asked_sleep), ("waits", Some(limits::JWKS_LOOK_MS)));
        assert!(issuer.is_wanted());
        rig.now = WallMs(NOON.0 + limits::JWKS_WAIT_MS);
        assert_eq!(rig.ask(&old).said(), r#"503 {"message":"The keys of the issuer are not available"}"#);
        issuer.put(set(&[jwk(&RSA, "r1")]));
        assert_eq!(rig.ask(&old).said(), "next");
        // A new key: the fetch that was asked for at the start was just now.
        assert_eq!(said(&rig.ask(&new())), refused("No key of the issuer found for given 'kid'"));
        rig.now = WallMs(NOON.0 + limits::JWKS_ASK_MS_MIN);
        assert_eq!(rig.ask(&new()).said(), "waits");
        issuer.begin(rig.now);
        issuer.put(set(&[jwk(&RSA, "r1"), jwk(&OTHER, "r2")]));
        assert_eq!(rig.ask(&new()).said(), "next");
        // Who brings another issuer's token, or no signature of a public key, has nothing fetched.
        rig.now = WallMs(NOON.0 + 2 * limits::JWKS_ASK_MS_MIN);
        for token in [
            token(json!({"alg": "RS256", "kid": "made up"}), json!({"iss": "https://evil.test"})),
            signed(json!({"alg": "HS256", "kid": "made up"}), &claims(json!({})), |_| vec![1]),
        ] {
            assert_ne!(rig.ask(&bearer(&token)).said(), "waits");
        }
        assert!(!issuer.is_wanted());
    }

    #[test]
    fn a_remembered_token_dies_with_its_key() {
        let (mut rig, issuer) = rig(json!({}));
        issuer.put(set(&[jwk(&RSA, "r1"), ec_jwk()]));
        let request = bearer(&good(json!({})));
        assert_eq!([rig.ask(&request).said(), rig.ask(&request).said()], ["next", "next"]);
        // The same keys, fetched again.
        issuer.put(set(&[jwk(&RSA, "r1"), ec_jwk()]));
        assert_eq!(rig.ask(&request).said(), "next");
        assert_eq!(rig.locals.of(TokenCache::default).counts(), (2, 1));
        // Another key of the same name.
        issuer.put(set(&[jwk(&OTHER, "r1"), ec_jwk()]));
        assert_eq!(said(&rig.ask(&request)), refused("Invalid signature"));
        issuer.fail();
        assert_eq!(said(&rig.ask(&request)), refused("Invalid signature"), "a fetch that failed changes nothing");
    }

    #[test]
    fn one_proof_is_enough_where_there_is_an_anonymous() {
        let vouched = Identity { is_vouched: true, ..Identity::default() };
        let mut rig = rig_with_keys(json!({"anonymous": "guest"}));
        rig.identity = vouched;
        let seen = rig.ask("GET /");
        assert_eq!((seen.said().as_str(), seen.identity), ("next", vouched));
        rig.identity = Identity::default();
        assert_eq!(rig.ask("GET /").upstream("X-Consumer-Username"), Some("guest"));
        let mut rig = rig_with_keys(json!({}));
        rig.identity = vouched;
        assert_eq!(rig.ask("GET /").said(), r#"401 {"message":"Unauthorized"}"#);
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        let rows = [
            (json!({"consumer_claim": "sub"}), "consumer_claim: needs 'issuer' or 'jwks_uri'"),
            (json!({"jwks_uri": "file:///etc/keys"}), "jwks_uri: expected a URL of https or http"),
            (json!({"issuer": "accounts"}), "issuer: expected a URL of https or http, since no 'jwks_uri' is given"),
            (json!({"issuer": "accounts", "jwks_uri": KEYS}), ""),
            (json!({"issuer": ISSUER, "maximum_expiration": 300}), ""),
            (
                json!({"claims_to_headers": {"sub": "Transfer-Encoding"}}),
                "claims_to_headers.sub: the header 'Transfer-Encoding' is not one a claim can be written to",
            ),
        ];
        for (config, want) in rows {
            let found = faults(&DESCRIPTOR, config.clone());
            let found: Vec<String> = found.into_iter().map(|(field, message)| format!("{field}: {message}")).collect();
            assert_eq!(found.join("; "), want, "{config}");
        }
    }
}
