//! `jwt`: a signed JSON Web Token says who sends a request.
//!
//! Either the token names a credential (by `iss`, or the claim that is configured), which has the key and the only
//! algorithm that counts. Or an issuer is trusted (`issuer`, `jwks_uri`): its published keys count, credentials do not,
//! and no consumer is needed ([`issued`]). `auth::jwt` gives the proof; claims may go into headers ([`told`]).
//!
//! A token that passed is remembered per shard, by a digest of itself and of all that its verdict hung on; its times are
//! looked at again with each request.

mod issued;
mod told;

use super::args;
use super::authentication::{self, Gate};
use crate::auth::jwt::{Claims, Malformed, Refused, Token, Verified};
use crate::auth::key::{secret_from_base64, Alg, Key};
use crate::auth::life::{LifeFaults, LifeRules};
use crate::auth::token_cache::{Parts, Realm, TokenCache};
use crate::base::id::{ConsumerIx, CredentialIx};
use crate::base::limits;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, Verdict};
use crate::http::{cookies, query};
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use crate::plan::{Plan, Secret, TokenKey};
use ahash::RandomState;
use issued::Issued;
use serde_json::{json, Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use told::Told;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "jwt",
    priority: 1450,
    version: env!("CARGO_PKG_VERSION"),
    about:
        "Lets those pass who bring a JSON Web Token signed by a consumer's key, or by one that a trusted issuer publishes, \
         and tells the upstream who they are.",
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
        Kind::Set(&Element { kind: Kind::String, rules: &[Rule::OneOf(&["exp", "nbf", "iat"])] }),
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
    Field::optional(
        "issuer",
        Kind::String,
        "What `iss` must be. Without `jwks_uri`, the URL below which the issuer's discovery document says where its keys are.",
    ),
    Field::optional("jwks_uri", Kind::String, "Where the issuer publishes its keys; then no credential is needed.")
        .rules(&[Rule::Url]),
    Field::optional("audiences", Kind::Set(&TEXT), "Whom a token must be for: one of these must be in `aud`."),
    Field::with_default("clock_skew", Kind::Integer, "0", "Seconds by which the clock that wrote `exp`, `nbf` and `iat` may be wrong.")
        .rules(&[Rule::Between(0.0, 3600.0)]),
    Field::optional(
        "claims_to_headers",
        Kind::Map(&Element { kind: Kind::String, rules: &[Rule::HeaderName] }),
        "Claim, or a path of names with dots between, to the header in which the upstream gets its value.",
    ),
    Field::optional("consumer_claim", Kind::String, "The claim that holds the username or custom id of a consumer; for tokens of an issuer."),
];

fn check(config: &Value) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let is_given = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
    let bounded = config.get("maximum_expiration").and_then(Value::as_f64).is_some_and(|most| most > 0.0);
    let trusts_issuer = is_given("issuer") || is_given("jwks_uri");
    let exp = || trusts_issuer || authentication::texts(config, "claims_to_verify").iter().any(|claim| claim == "exp");
    if bounded && !exp() {
        let conditional = "failed conditional validation given value of field 'config.maximum_expiration'";
        faults.push(("claims_to_verify".to_owned(), "expected to contain: exp".to_owned()));
        faults.push((String::new(), conditional.to_owned()));
    }
    if is_given("consumer_claim") && !trusts_issuer {
        faults.push(("consumer_claim".to_owned(), "needs 'issuer' or 'jwks_uri'".to_owned()));
    }
    faults.extend(issued::check(config));
    faults.extend(told::check(config));
    faults
}

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let claims = authentication::texts(config, "claims_to_verify");
    let claim_name = config.get("key_claim_name").and_then(Value::as_str).unwrap_or("iss").to_owned();
    let audiences = authentication::texts(config, "audiences");
    let settings = ["issuer", "jwks_uri", "audiences", "consumer_claim", "claims_to_headers"];
    let settings = settings.map(|name| config.get(name).map(Value::to_string).unwrap_or_default());
    let mut parts: Vec<&[u8]> = settings.iter().map(String::as_bytes).collect();
    let issued = Issued::of(config, env);
    let trust = match issued {
        Some(issued) => {
            // Consumers are remembered by their place, which means the same one in this generation only.
            parts.push(env.plan.hash.as_bytes());
            Trust::Issuer(issued)
        }
        None if config.get("secret_is_base64").and_then(Value::as_bool) == Some(true) => {
            Trust::Credentials(env.generation.take_or(|| Base64Keys(Keys::of(env.plan, true).map(Arc::new))).0.clone()?)
        }
        None => {
            Trust::Credentials(env.generation.take_or(|| PlainKeys(Keys::of(env.plan, false).map(Arc::new))).0.clone()?)
        }
    };
    if let Trust::Credentials(keys) = &trust {
        parts.extend([&keys.digest.bytes()[..], claim_name.as_bytes()]);
    }
    let is_issued = matches!(trust, Trust::Issuer(_));
    let realm = config.get("realm").and_then(Value::as_str);
    let ahead_s_max = config.get("maximum_expiration").and_then(Value::as_f64).unwrap_or(0.0);
    Ok(Arc::new(Jwt {
        arguments: authentication::texts(config, "uri_param_names"),
        cookies: authentication::texts(config, "cookie_names"),
        headers: authentication::texts(config, "header_names"),
        rules: LifeRules {
            exp: is_issued || claims.iter().any(|claim| claim == "exp"),
            nbf: claims.iter().any(|claim| claim == "nbf"),
            iat: claims.iter().any(|claim| claim == "iat"),
            present: is_issued,
            // Rounded up: 0.5 must not come to mean "any".
            ahead_s_max: ahead_s_max.ceil() as u32,
            skew_s: config.get("clock_skew").and_then(Value::as_u64).map_or(0, |skew| skew as u32),
        },
        realm: Realm::of(parts),
        audiences,
        claim_name,
        told: Told::of(config),
        trust,
        gate: Gate::of(config, env),
        challenge: authentication::challenge("Bearer", &[("realm", realm)]),
        challenge_invalid: authentication::challenge("Bearer", &[("realm", realm), ("error", Some("invalid_token"))]),
    }))
}

/// The keys of all credentials of a generation, and a digest of what they are. One for all instances of this plugin that
/// read secrets in the same way.
struct Keys {
    /// Of those that there is something to verify by.
    by_credential: HashMap<CredentialIx, Key, RandomState>,
    digest: Realm,
}

struct PlainKeys(Result<Arc<Keys>, String>);
struct Base64Keys(Result<Arc<Keys>, String>);

impl Keys {
    fn of(plan: &Plan, base64: bool) -> Result<Keys, String> {
        let mut by_credential = HashMap::default();
        // Every place counts, so that an index that is remembered means the same credential as long as it is found.
        let mut digest = Parts::default();
        digest.add(if base64 { b"base64" } else { b"plain" });
        for (ix, credential) in plan.credentials.iter().enumerate() {
            digest.add(credential.id.as_bytes());
            let Secret::Jwt(TokenKey { key, secret, algorithm, public_key: pem }) = credential.secret else { continue };
            for part in [key, secret, algorithm, pem.unwrap_or_default()] {
                digest.add(part.as_bytes());
            }
            let fault = |why: &str| format!("credential \"{key}\" ({}): {why}", credential.at());
            let alg = Alg::named(algorithm).ok_or_else(|| fault("its algorithm is not known"))?;
            let made = match (alg.is_shared(), pem) {
                (true, _) if base64 => secret_from_base64(secret).and_then(|secret| Key::shared(alg, &secret).ok()),
                (true, _) => Key::shared(alg, secret.as_bytes()).ok(),
                (false, Some(pem)) => Some(Key::public(alg, pem).map_err(fault)?),
                (false, None) => None,
            };
            by_credential.extend(made.map(|key| (CredentialIx(ix as u32), key)));
        }
        Ok(Keys { by_credential, digest: digest.realm() })
    }
}

struct Jwt {
    arguments: Vec<String>,
    cookies: Vec<String>,
    headers: Vec<String>,
    claim_name: String,
    rules: LifeRules,
    /// One of them must be the token's; empty: any.
    audiences: Vec<String>,
    told: Told,
    trust: Trust,
    /// What a remembered verdict hangs on besides its token and the keys of an issuer.
    realm: Realm,
    gate: Gate,
    /// `WWW-Authenticate` where no token came, and where it was not good enough.
    challenge: Cow<'static, str>,
    challenge_invalid: Cow<'static, str>,
}

/// Whose keys count.
enum Trust {
    Credentials(Arc<Keys>),
    Issuer(Issued),
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
    /// It is for somebody else.
    Audience,
    /// Another issuer made it.
    Issuer,
    /// The issuer's keys are not there, or not this one; they may be in a moment.
    Wait,
    /// The issuer's keys were never to be had.
    NoKeys,
    /// The issuer has no key of this name.
    UnknownKey,
    /// Nobody here is called what the consumer's claim says.
    NoConsumer,
}

impl Refusal {
    fn of(refused: Refused) -> Refusal {
        match refused {
            Refused::Alg => Refusal::Alg,
            Refused::Signature => Refusal::Signature,
        }
    }
}

/// The owner of a token that is no consumer's.
const NOBODY: u32 = u32::MAX;

/// Lets the request in by a credential that a token names.
fn admit(cx: &mut Ctx<'_>, credential: CredentialIx) {
    let name = match cx.directory.plan().credential(credential).secret {
        Secret::Jwt(held) => held.key.as_bytes(),
        _ => b"",
    };
    authentication::admit(cx, credential, name);
}

impl Plugin for Jwt {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        self.told.clear(cx.edits);
        if self.gate.is_open(cx) {
            return Verdict::Next;
        }
        match self.verify(cx) {
            Ok(()) => Verdict::Next,
            Err(Refusal::Wait) => Verdict::Need(Need::Sleep(limits::JWKS_LOOK_MS)),
            Err(why) => self.gate.refuse(cx, || self.refusal(why)),
        }
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, _: Outcome<'_>) -> Verdict {
        // Some time has passed: the keys may be there. How long this goes on, the issuer says.
        self.on_request(cx)
    }
}

impl Jwt {
    /// Lets the request in by its token.
    fn verify(&self, cx: &mut Ctx<'_>) -> Result<(), Refusal> {
        let token = self.find(cx)?;
        match &self.trust {
            Trust::Credentials(keys) => self.by_credential(cx, &token, keys),
            Trust::Issuer(issued) => self.by_issuer(cx, &token, issued),
        }
    }

    fn by_credential(&self, cx: &mut Ctx<'_>, token: &[u8], keys: &Keys) -> Result<(), Refusal> {
        let now_s = cx.now.seconds();
        let cache = cx.locals.of(TokenCache::default);
        let digest = cache.digest([&self.realm], token);
        if let Some(hit) = cache.find(&digest) {
            let (credential, told) = hit.owner(self.rules, now_s).map_err(Refusal::Life)?;
            self.told.write(told, cx.edits);
            admit(cx, CredentialIx(credential));
            return Ok(());
        }
        let token = Token::parse(token).map_err(Refusal::Malformed)?;
        let name = match token.hint(&self.claim_name) {
            None | Some(Value::Null | Value::Bool(false)) => return Err(Refusal::NoName),
            Some(Value::String(name)) if name.is_empty() => return Err(Refusal::EmptyName),
            Some(Value::String(name)) => name,
            Some(_) => return Err(Refusal::UnknownName),
        };
        let credential = cx.directory.by_jwt_key(name).ok_or(Refusal::UnknownName)?;
        let plan = cx.directory.plan();
        let Secret::Jwt(held) = plan.credential(credential).secret else {
            return Err(Refusal::UnknownName);
        };
        if Alg::named(held.algorithm) != Some(token.alg()) {
            return Err(Refusal::Alg);
        }
        let key = keys.by_credential.get(&credential).ok_or(Refusal::NoKey)?;
        let proof = token.verify(&[key]).map_err(Refusal::of)?;
        self.judge(&proof, now_s)?;
        let mut told = Vec::new();
        self.told.gather(&proof, &mut told);
        self.told.write(&told, cx.edits);
        cx.locals.of(TokenCache::default).remember(&digest, &proof, credential.0, &told);
        admit(cx, credential);
        Ok(())
    }

    fn by_issuer(&self, cx: &mut Ctx<'_>, token: &[u8], issued: &Issued) -> Result<(), Refusal> {
        let now_s = cx.now.seconds();
        let keys = issued.issuer.keys();
        let Some(keys) = keys.as_ref() else {
            return Err(if issued.issuer.await_keys(cx.now) { Refusal::Wait } else { Refusal::NoKeys });
        };
        let cache = cx.locals.of(TokenCache::default);
        let digest = cache.digest([&self.realm, keys.digest()], token);
        if let Some(hit) = cache.find(&digest) {
            let (owner, told) = hit.owner(self.rules, now_s).map_err(Refusal::Life)?;
            let consumer = (owner != NOBODY).then_some(ConsumerIx(owner));
            let (subject, told) = told::split(told);
            self.told.write(told, cx.edits);
            authentication::vouch(cx.edits, cx.identity, cx.directory, consumer, subject);
            return Ok(());
        }
        let token = Token::parse(token).map_err(Refusal::Malformed)?;
        let proof = issued.verify(token, keys, cx.now)?;
        self.judge(&proof, now_s)?;
        let consumer = issued.consumer(&proof, cx.directory)?;
        let mut all = Vec::new();
        told::add(proof.claim("sub"), &mut all);
        self.told.gather(&proof, &mut all);
        let (subject, told) = told::split(&all);
        self.told.write(told, cx.edits);
        authentication::vouch(cx.edits, cx.identity, cx.directory, consumer, subject);
        let owner = consumer.map_or(NOBODY, |consumer| consumer.0);
        cx.locals.of(TokenCache::default).remember(&digest, &proof, owner, &all);
        Ok(())
    }

    /// Is it for us, and is it its time?
    fn judge(&self, proof: &Verified<Claims>, now_s: u64) -> Result<(), Refusal> {
        proof.life().check(self.rules, now_s).map_err(Refusal::Life)?;
        if !self.audiences.is_empty() && !proof.is_for(&self.audiences) {
            return Err(Refusal::Audience);
        }
        Ok(())
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
            Refusal::Life(LifeFaults { exp, nbf, iat }) => {
                return self.claims_refused([("exp", exp), ("nbf", nbf), ("iat", iat)]);
            }
            Refusal::Audience => return self.claims_refused([("aud", Some("not for this service"))]),
            Refusal::Issuer => return self.claims_refused([("iss", Some("not the issuer that is trusted"))]),
            Refusal::UnknownKey => "No key of the issuer found for given 'kid'".into(),
            Refusal::NoConsumer => "Could not find consumer for the token".into(),
            Refusal::Wait | Refusal::NoKeys => {
                return Reply::json(503, r#"{"message":"The keys of the issuer are not available"}"#);
            }
        };
        let challenge = if why == Refusal::Missing { &self.challenge } else { &self.challenge_invalid };
        Reply::json(401, json!({ "message": message }).to_string()).with("WWW-Authenticate", challenge.clone())
    }

    /// A refusal that says of each claim what is wrong with it.
    fn claims_refused<const N: usize>(&self, faults: [(&str, Option<&str>); N]) -> Reply {
        let said = faults.into_iter().filter_map(|(claim, why)| Some((claim.to_owned(), why?.into())));
        let reply = Reply::json(401, Value::Object(said.collect::<Map<_, _>>()).to_string());
        reply.with("WWW-Authenticate", self.challenge_invalid.clone())
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
mod tests;
