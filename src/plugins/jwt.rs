//! `jwt`: a signed JSON Web Token says who sends a request.
//!
//! The token names a credential (by `iss`, or the claim that is configured), the credential has the key and the only
//! algorithm that counts, and `auth::jwt` gives the proof. A token that passed is remembered per shard, by a digest of
//! itself and of all that its verdict hung on; its times are looked at again with each request.

use super::args;
use super::authentication::{self, Gate};
use crate::auth::jwt::{secret_from_base64, Alg, Key, LifeFaults, LifeRules, Malformed, Refused, Token};
use crate::auth::token_cache::{Digest, Realm, TokenCache};
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
    fields: FIELDS,
    consumer_scope: false,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

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
        let digest = Digest::of(&self.realm, &token);
        if let Some(hit) = cx.locals.of(TokenCache::default).find(&digest) {
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
