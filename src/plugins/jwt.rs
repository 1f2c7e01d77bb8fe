//! `jwt`: a signed JSON Web Token says who sends a request.
//!
//! The token names a credential (by `iss`, or the claim that is configured), the credential has the key and the only
//! algorithm that counts, and `auth::jwt` gives the proof. A token that passed is remembered per shard, by a digest of
//! itself and of all that its verdict hung on; its times are looked at again with each request.

use super::args;
use super::authentication::{self, Gate};
use crate::auth::jwt::{secret_from_base64, Alg, Key, LifeFaults, LifeRules, Malformed, Refused, Token};
use crate::auth::token_cache::{Realm, TokenCache};
use crate::base::id::CredentialIx;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin, Reply, Verdict};
use crate::http::{cookies, query};
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use crate::plan::{Plan, Secret};
use serde_json::{json, Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "jwt",
    priority: 1450,
    version: env!("CARGO_PKG_VERSION"),
    about:
        "Lets those pass who bring a JSON Web Token signed by a consumer's key, and tells the upstream who they are.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: false,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r"
services:
  - name: orders
    url: http://orders.internal:8080
    routes:
      - name: orders
        paths: [/orders]
    plugins:
      - name: jwt
        config:
          claims_to_verify: [exp]
          maximum_expiration: 3600
consumers:
  - username: mobile-app
    jwt_secrets:
      - key: https://login.example.com
        algorithm: HS256
        secret: replace-this-secret-of-32-bytes-or-more
";

const TEXT: Element = Element { kind: Kind::String, rules: &[] };

const FIELDS: &[Field] = &[
    Field::with_default("uri_param_names", Kind::Set(&TEXT), "[\"jwt\"]", "Query arguments that may carry the token."),
    Field::with_default("cookie_names", Kind::Set(&TEXT), "[]", "Cookies that may carry the token."),
    Field::with_default("key_claim_name", Kind::String, "\"iss\"", "The claim that names the credential."),
    Field::with_default("secret_is_base64", Kind::Boolean, "false", "Secrets of HS* are written in base64.").required(),
    Field::optional(
        "claims_to_verify",
        Kind::Set(&Element { kind: Kind::String, rules: &[Rule::OneOf(&["exp", "nbf"])] }),
        "Times that a token must have and that must be right.",
    ),
    authentication::ANONYMOUS,
    authentication::RUN_ON_PREFLIGHT,
    Field::with_default("maximum_expiration", Kind::Number, "0", "Most seconds that `exp` may be ahead; 0: any.")
        .rules(&[Rule::Between(0.0, 31_536_000.0)]),
    Field::with_default(
        "header_names",
        Kind::Set(&Element { kind: Kind::String, rules: &[Rule::HeaderName] }),
        "[\"authorization\"]",
        "Headers that may carry the token, after the word Bearer.",
    ),
    authentication::REALM,
];

fn check(config: &Value) -> Vec<(String, String)> {
    let bounded = config.get("maximum_expiration").and_then(Value::as_f64).is_some_and(|most| most > 0.0);
    if bounded && !authentication::texts(config, "claims_to_verify").iter().any(|claim| claim == "exp") {
        let conditional = "failed conditional validation given value of field 'config.maximum_expiration'";
        return vec![
            ("claims_to_verify".to_owned(), "expected to contain: exp".to_owned()),
            (String::new(), conditional.to_owned()),
        ];
    }
    Vec::new()
}

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let claims = authentication::texts(config, "claims_to_verify");
    let claim_name = config.get("key_claim_name").and_then(Value::as_str).unwrap_or("iss").to_owned();
    let keys = if config.get("secret_is_base64").and_then(Value::as_bool) == Some(true) {
        env.generation.take_or(|| Base64Keys(Keys::of(env.plan, true).map(Arc::new))).0.clone()?
    } else {
        env.generation.take_or(|| PlainKeys(Keys::of(env.plan, false).map(Arc::new))).0.clone()?
    };
    let realm = config.get("realm").and_then(Value::as_str);
    let ahead_s_max = config.get("maximum_expiration").and_then(Value::as_f64).unwrap_or(0.0);
    Ok(Arc::new(Jwt {
        arguments: authentication::texts(config, "uri_param_names"),
        cookies: authentication::texts(config, "cookie_names"),
        headers: authentication::texts(config, "header_names"),
        // Rounded up: 0.5 must not come to mean "any".
        rules: LifeRules {
            exp: claims.iter().any(|claim| claim == "exp"),
            nbf: claims.iter().any(|claim| claim == "nbf"),
            ahead_s_max: ahead_s_max.ceil() as u32,
        },
        realm: Realm::of([&keys.digest.bytes()[..], claim_name.as_bytes()]),
        claim_name,
        keys,
        gate: Gate::of(config, env),
        challenge: authentication::challenge("Bearer", &[("realm", realm)]),
        challenge_invalid: authentication::challenge("Bearer", &[("realm", realm), ("error", Some("invalid_token"))]),
    }))
}

/// The keys of all credentials of a generation, and a digest of what they are. One for all instances of this plugin that
/// read secrets in the same way.
struct Keys {
    /// By [`CredentialIx`]; `None`: not of this kind, or nothing to verify by.
    by_credential: Vec<Option<Key>>,
    digest: Realm,
}

struct PlainKeys(Result<Arc<Keys>, String>);
struct Base64Keys(Result<Arc<Keys>, String>);

impl Keys {
    fn of(plan: &Plan, base64: bool) -> Result<Keys, String> {
        let mut by_credential = Vec::with_capacity(plan.credentials.len());
        // Every place counts, so that an index that is remembered means the same credential as long as it is found.
        let mut parts: Vec<&[u8]> = vec![if base64 { b"base64" } else { b"plain" }];
        for credential in &plan.credentials {
            parts.push(credential.id.as_bytes());
            let Secret::Jwt { key, secret, algorithm, public_key } = &credential.secret else {
                by_credential.push(None);
                continue;
            };
            let pem = public_key.as_deref();
            parts.extend([key.as_bytes(), secret.as_bytes(), algorithm.as_bytes(), pem.unwrap_or_default().as_bytes()]);
            let fault = |why: &str| format!("credential \"{key}\" ({}): {why}", credential.at);
            let alg = Alg::named(algorithm).ok_or_else(|| fault("its algorithm is not known"))?;
            by_credential.push(match (alg.is_shared(), pem) {
                (true, _) if base64 => secret_from_base64(secret).and_then(|secret| Key::shared(alg, &secret).ok()),
                (true, _) => Key::shared(alg, secret.as_bytes()).ok(),
                (false, Some(pem)) => Some(Key::public(alg, pem).map_err(fault)?),
                (false, None) => None,
            });
        }
        Ok(Keys { by_credential, digest: Realm::of(parts) })
    }
}

struct Jwt {
    arguments: Vec<String>,
    cookies: Vec<String>,
    headers: Vec<String>,
    claim_name: String,
    rules: LifeRules,
    keys: Arc<Keys>,
    /// What a remembered verdict hangs on besides its token.
    realm: Realm,
    gate: Gate,
    /// `WWW-Authenticate` where no token came, and where it was not good enough.
    challenge: Cow<'static, str>,
    challenge_invalid: Cow<'static, str>,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Missing,
    Several,
    NotText,
    Malformed(Malformed),
    NoName,
    EmptyName,
    UnknownName,
    Alg,
    NoKey,
    Signature,
    Life(LifeFaults),
}

impl Plugin for Jwt {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if self.gate.is_open(cx) {
            return Verdict::Next;
        }
        match self.verify(cx) {
            Ok(credential) => {
                let plan = cx.directory.plan();
                let name = match &plan.credentials[credential.ix()].secret {
                    Secret::Jwt { key, .. } => key.as_bytes(),
                    _ => b"",
                };
                authentication::admit(cx, credential, name);
                Verdict::Next
            }
            Err(why) => self.gate.refuse(cx, || self.refusal(why)),
        }
    }
}

impl Jwt {
    fn verify(&self, cx: &mut Ctx<'_>) -> Result<CredentialIx, Refusal> {
        let token = self.find(cx)?;
        let now_s = cx.now.seconds();
        let cache = cx.locals.of(TokenCache::default);
        let digest = cache.digest(&self.realm, &token);
        if let Some(hit) = cache.find(&digest) {
            return hit.owner(self.rules, now_s).map(CredentialIx).map_err(Refusal::Life);
        }
        let token = Token::parse(&token).map_err(Refusal::Malformed)?;
        let name = match token.hint(&self.claim_name) {
            None | Some(Value::Null | Value::Bool(false)) => return Err(Refusal::NoName),
            Some(Value::String(name)) if name.is_empty() => return Err(Refusal::EmptyName),
            Some(Value::String(name)) => name,
            Some(_) => return Err(Refusal::UnknownName),
        };
        let credential = cx.directory.by_jwt_key(name).ok_or(Refusal::UnknownName)?;
        let plan = cx.directory.plan();
        let Secret::Jwt { algorithm, .. } = &plan.credentials[credential.ix()].secret else {
            return Err(Refusal::UnknownName);
        };
        if Alg::named(algorithm) != Some(token.alg()) {
            return Err(Refusal::Alg);
        }
        let key = self.keys.by_credential.get(credential.ix()).and_then(Option::as_ref).ok_or(Refusal::NoKey)?;
        let proof = token.verify(key).map_err(|refused| match refused {
            Refused::Alg => Refusal::Alg,
            Refused::Signature => Refusal::Signature,
        })?;
        proof.life().check(self.rules, now_s).map_err(Refusal::Life)?;
        cx.locals.of(TokenCache::default).remember(&digest, &proof, credential.0);
        Ok(credential)
    }

    /// The one token of the request. The same token in several places is one; two tokens are a question of whom to
    /// believe, and not ours to answer.
    fn find<'a>(&self, cx: &Ctx<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
        let query = cx.facts.query.unwrap_or_default();
        let (mut found, mut bare): (Option<Cow<'a, [u8]>>, bool) = (None, false);
        let mut take = |token: Cow<'a, [u8]>| match &found {
            _ if token.is_empty() => Ok(()),
            Some(held) if *held != token => Err(Refusal::Several),
            _ => {
                found = Some(token);
                Ok(())
            }
        };
        for name in &self.arguments {
            for arg in query::args(query).filter(|arg| args::decoded(arg.name) == name.as_bytes()) {
                match arg.value {
                    Some(value) => take(args::decoded(value))?,
                    None => bare = true,
                }
            }
        }
        for name in &self.cookies {
            for (_, value) in cookies::of(cx.head).filter(|(held, _)| *held == name.as_bytes()) {
                take(Cow::Borrowed(value))?;
            }
        }
        for name in &self.headers {
            for value in cx.head.find_all(name.as_bytes()) {
                take(Cow::Borrowed(bearer(value)))?;
            }
        }
        match (found, bare) {
            (Some(_), true) => Err(Refusal::Several),
            (Some(token), false) => Ok(token),
            (None, true) => Err(Refusal::NotText),
            (None, false) => Err(Refusal::Missing),
        }
    }

    #[cold]
    fn refusal(&self, why: Refusal) -> Reply {
        let claim = &self.claim_name;
        let message: Cow<'static, str> = match why {
            Refusal::Missing => "Unauthorized".into(),
            Refusal::Several => "Multiple tokens provided".into(),
            Refusal::NotText => "Unrecognizable token".into(),
            Refusal::Malformed(malformed) => format!("Bad token; {}", malformed.text()).into(),
            Refusal::NoName => format!("No mandatory '{claim}' in claims").into(),
            Refusal::EmptyName => format!("Invalid '{claim}' in claims").into(),
            Refusal::UnknownName => format!("No credentials found for given '{claim}'").into(),
            Refusal::Alg => "Invalid algorithm".into(),
            Refusal::NoKey => "Invalid key/secret".into(),
            Refusal::Signature => "Invalid signature".into(),
            Refusal::Life(LifeFaults { exp, nbf }) => {
                let faults = [("exp", exp), ("nbf", nbf)].into_iter();
                let faults: Map<_, _> =
                    faults.filter_map(|(claim, why)| Some((claim.to_owned(), why?.into()))).collect();
                let reply = Reply::json(401, Value::Object(faults).to_string());
                return reply.with("WWW-Authenticate", self.challenge_invalid.clone());
            }
        };
        let challenge = if why == Refusal::Missing { &self.challenge } else { &self.challenge_invalid };
        Reply::json(401, json!({ "message": message }).to_string()).with("WWW-Authenticate", challenge.clone())
    }
}

/// What follows the word Bearer; empty where it is another scheme.
fn bearer(value: &[u8]) -> &[u8] {
    match value.split_at_checked(6) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer") && rest.starts_with(b" ") => rest.trim_ascii(),
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{credential, faults, Rig, Seen, ALICE, BOB, NOON};
    use super::*;
    use crate::base::time::WallMs;
    use crate::hook::Shelf;
    use crate::plan::Credential;
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

    fn secret(key: &str, secret: &str, algorithm: &str, public_key: Option<String>) -> Secret {
        let (key, secret, algorithm) = (key.to_owned(), secret.to_owned(), algorithm.to_owned());
        Secret::Jwt { key, secret, algorithm, public_key }
    }

    /// bob signs by HS256 or RS256, alice by HS512; `es` has no key and `blank` an empty secret.
    fn credentials() -> Vec<Credential> {
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
        let by_kid = signed(
            json!({"alg": "HS256", "kid": "bob"}),
            &json!({}),
            hmac(aws_lc_rs::hmac::HMAC_SHA256, b"bobs secret"),
        );
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
        changed[0].secret = secret("bob", "another secret", "HS256", None);
        let mut after = Rig::with(&DESCRIPTOR, json!({}), &Shelf::default(), changed);
        after.locals = same.locals;
        assert_eq!(said(&after.ask(&request)), refused("Invalid signature"));
        let mut by_kid = rig(json!({"key_claim_name": "kid"}));
        by_kid.locals = after.locals;
        assert_eq!(said(&by_kid.ask(&request)), refused("No mandatory 'kid' in claims"));
    }

    #[test]
    fn configurations_that_cannot_be_meant_are_refused() {
        let found = faults(&DESCRIPTOR, json!({"maximum_expiration": 300}));
        assert_eq!(found[0], ("claims_to_verify".to_owned(), "expected to contain: exp".to_owned()));
        assert_eq!(faults(&DESCRIPTOR, json!({"maximum_expiration": 300, "claims_to_verify": ["exp"]})), []);
        let plan = |secret| {
            let mut plan = Rig::with(&DESCRIPTOR, json!({}), &Shelf::default(), Vec::new()).plan_copy();
            plan.credentials = vec![credential(0xd0, BOB, secret)];
            plan
        };
        let broken = Keys::of(&plan(secret("k", "", "RS256", Some("no pem".to_owned()))), false);
        assert_eq!(broken.err(), Some("credential \"k\" (-): not a public key in PEM".to_owned()));
        let unknown = Keys::of(&plan(secret("k", "", "HS1", None)), false);
        assert_eq!(unknown.err(), Some("credential \"k\" (-): its algorithm is not known".to_owned()));
    }
}
