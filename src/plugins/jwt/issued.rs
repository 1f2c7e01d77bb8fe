//! Tokens of an issuer whose published keys are trusted: no credential is needed, and a consumer only where a claim is to
//! name one.
//!
//! The keys come from the control side ([`Issuer`]). A token whose `kid` nobody knows, or one without a `kid` that no key
//! fits, may have been signed by a key that is newer than what we hold: such requests have the keys fetched, at a bounded
//! rate, and wait for them a little.

use super::Refusal;
use crate::auth::issuer::{Issuer, Issuers, Source};
use crate::auth::jwks::{Found, KeySet};
use crate::auth::jwt::{Claims, Refused, Token, Verified};
use crate::base::id::ConsumerIx;
use crate::base::time::WallMs;
use crate::hook::directory::Directory;
use crate::hook::Env;
use serde_json::Value;
use std::sync::Arc;

/// An issuer, and what its tokens must say.
pub(super) struct Issued {
    pub(super) issuer: Arc<Issuer>,
    /// What `iss` must be; `None`: anything.
    name: Option<String>,
    /// The claim that names a consumer; `None`: there need be none.
    consumer_claim: Option<String>,
}

/// The faults of what [`Issued::of`] reads.
pub(super) fn check(config: &Value) -> Vec<(String, String)> {
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let is_web = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    let mut faults = Vec::new();
    match (text("jwks_uri"), text("issuer")) {
        (Some(url), _) if !is_web(url) => {
            faults.push(("jwks_uri".to_owned(), "expected a URL of https or http".to_owned()));
        }
        (None, Some(url)) if !is_web(url) => {
            let message = "expected a URL of https or http, since no 'jwks_uri' is given";
            faults.push(("issuer".to_owned(), message.to_owned()));
        }
        _ => {}
    }
    faults
}

impl Issued {
    /// What the configuration says; `None` where it trusts no issuer.
    pub(super) fn of(config: &Value, env: &Env<'_>) -> Option<Issued> {
        let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
        let name = text("issuer");
        let source = match text("jwks_uri") {
            Some(url) => Source::Keys(url),
            None => Source::Discovery(name.clone()?),
        };
        let issuers: Arc<Issuers> = env.shelf.take_or(Issuers::default);
        Some(Issued { issuer: issuers.of(&source), name, consumer_claim: text("consumer_claim") })
    }

    /// The proof of a token that the issuer signed by one of `keys`.
    ///
    /// Whose it says it is comes first, so that other issuers' tokens cost no signature and no fetch.
    pub(super) fn verify(&self, token: Token<'_>, keys: &KeySet, now: WallMs) -> Result<Verified<Claims>, Refusal> {
        let is_ours = |iss: Option<&Value>| self.name.is_none() || iss.and_then(Value::as_str) == self.name.as_deref();
        if !is_ours(token.hint("iss")) {
            return Err(Refusal::Issuer);
        }
        if token.alg().is_shared() {
            return Err(Refusal::Alg);
        }
        let kid = token.kid().map_err(|_| Refusal::UnknownKey)?;
        let (found, is_named) = (keys.find(kid, token.alg()), kid.is_some());
        let proof = match found {
            Found::Keys(candidates) => match token.verify(&candidates) {
                Ok(proof) => proof,
                // Without a `kid` any key may be meant, also one that is newer than what we hold.
                Err(Refused::Signature) if !is_named && self.may_be_newer(keys, now) => return Err(Refusal::Wait),
                Err(refused) => return Err(Refusal::of(refused)),
            },
            Found::OtherAlg => return Err(Refusal::Alg),
            // A fetch may also have ended between the look into the keys and the question whether there is one.
            Found::Nothing if self.may_be_newer(keys, now) => return Err(Refusal::Wait),
            Found::Nothing => return Err(Refusal::UnknownKey),
        };
        // The hint may have been of the header, which says nothing.
        if !is_ours(proof.claim("iss")) {
            return Err(Refusal::Issuer);
        }
        Ok(proof)
    }

    /// May there be other keys than `keys` in a moment? Has them fetched, at a bounded rate.
    fn may_be_newer(&self, keys: &KeySet, now: WallMs) -> bool {
        self.issuer.await_keys(now) || self.issuer.has_others(keys)
    }

    /// The consumer that the token names, where it must.
    pub(super) fn consumer(
        &self,
        proof: &Verified<Claims>,
        directory: &Directory,
    ) -> Result<Option<ConsumerIx>, Refusal> {
        let Some(claim) = &self.consumer_claim else { return Ok(None) };
        let name = proof.at(claim).and_then(Value::as_str);
        let consumer = name.and_then(|name| directory.consumer_called(name));
        consumer.map(Some).ok_or(Refusal::NoConsumer)
    }
}
