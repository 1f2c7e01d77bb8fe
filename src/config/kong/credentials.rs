//! What consumers prove themselves by, and the groups they are in.

use super::{Entity, Reader};
use crate::auth::key::{Alg, Key};
use crate::plan::draft::{CredentialDraft, GroupDraft};
use crate::plan::{Secret, TokenKey};

pub(super) fn key(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let key = entity.owned("key").unwrap_or_default().into();
    let ttl_s = entity.has("ttl").then(|| entity.number("ttl"));
    keep(reader, entity, Secret::Key { key, ttl_s }, false);
}

pub(super) fn jwt(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let algorithm = entity.owned("algorithm").unwrap_or_default();
    let public_key = entity.owned("rsa_public_key");
    let asymmetric = !algorithm.starts_with("HS") && !algorithm.is_empty();
    match &public_key {
        // Without the public key a token of these algorithms can never be verified; ES* would be found out at the
        // first request only.
        None if asymmetric && entity.node.get("rsa_public_key").is_none() => {
            let span = entity.common.at.clone();
            let hint = format!("{algorithm} verifies with a public key, as PEM");
            reader.report.fault(&span, entity.path("rsa_public_key"), "required field missing", hint);
        }
        Some(text) if !is_public_key(text) => {
            let span = entity.span("rsa_public_key").clone();
            let hint = "write PEM: -----BEGIN PUBLIC KEY----- …";
            reader.report.fault(&span, entity.path("rsa_public_key"), "invalid key", hint);
        }
        Some(text) => {
            if let Some(why) = misfit(&algorithm, text) {
                let span = entity.span("rsa_public_key").clone();
                reader.report.fault(&span, entity.path("rsa_public_key"), "invalid key", why);
            }
        }
        None => {}
    }
    let key = entity.owned("key").unwrap_or_default().into();
    let secret: Box<str> = entity.owned("secret").unwrap_or_default().into();
    if !asymmetric {
        warn_of_short(reader, &entity, &algorithm, &secret);
    }
    let (algorithm, public_key) = (algorithm.into(), public_key.map(Box::from));
    keep(reader, entity, Secret::Jwt(TokenKey { key, secret, algorithm, public_key }), false);
}

/// RFC 7518 §3.2: "A key of the same size as the hash output … or larger MUST be used". Others take shorter ones, so this
/// is no fault; a token that is overheard gives a short secret away to whoever tries enough of them.
fn warn_of_short(reader: &mut Reader<'_>, entity: &Entity<'_>, algorithm: &str, secret: &str) {
    let hash_bytes = match algorithm {
        "HS384" => 48,
        "HS512" => 64,
        _ => 32,
    };
    // Empty is a reference that was warned of, or none at all; then one is made up.
    if secret.is_empty() || secret.len() >= hash_bytes || entity.node.get("secret").is_none() {
        return;
    }
    let message = format!("shorter than the hash that it keys: {hash_bytes} bytes are the least");
    let hint = format!("make one by: openssl rand -base64 {hash_bytes}");
    reader.report.warning(entity.span("secret"), entity.path("secret"), message, hint);
}

/// Why a public key cannot serve its algorithm: another kind, another curve, too few bits.
fn misfit(algorithm: &str, text: &str) -> Option<&'static str> {
    let alg = Alg::named(algorithm).filter(|alg| !alg.is_shared())?;
    // Empty is a reference that was warned of.
    Key::public(alg, text).err().filter(|_| !text.trim().is_empty())
}

/// Has a text the shape of a public key or a certificate in PEM? Empty is a reference that was warned of.
fn is_public_key(text: &str) -> bool {
    use base64::Engine;
    let text = text.trim();
    if text.is_empty() {
        return true;
    }
    let Some((label, rest)) = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")) else {
        return false;
    };
    let known = ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"].contains(&label);
    let Some(body) = rest.strip_suffix(&format!("-----END {label}-----")) else { return false };
    let body: String = body.split_ascii_whitespace().collect();
    known && base64::engine::general_purpose::STANDARD.decode(body).is_ok_and(|der| der.first() == Some(&0x30))
}

pub(super) fn basic(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let username = entity.owned("username").unwrap_or_default().into();
    let password_hash = entity.owned("password").unwrap_or_default().into();
    let plain = reader.transform;
    keep(reader, entity, Secret::Basic { username, password_hash }, plain);
}

pub(super) fn hmac(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let username = entity.owned("username").unwrap_or_default().into();
    let secret = entity.owned("secret").unwrap_or_default().into();
    keep(reader, entity, Secret::Hmac { username, secret }, false);
}

pub(super) fn subject(reader: &mut Reader<'_>, mut entity: Entity<'_>) {
    let name = entity.owned("subject_name").unwrap_or_default().into();
    let authority = entity.take("ca_certificate").map(Box::new);
    let before = reader.draft.credentials.len();
    keep(reader, entity, Secret::Subject { name, authority: None }, false);
    if let Some(draft) = reader.draft.credentials.get_mut(before) {
        draft.authority = authority;
    }
}

pub(super) fn group(reader: &mut Reader<'_>, mut entity: Entity<'_>) {
    let group = entity.owned("group").unwrap_or_default();
    match entity.take("consumer") {
        Some(consumer) => reader.draft.groups.push(GroupDraft { common: entity.common, consumer, group }),
        None => without_consumer(reader, &entity),
    }
}

fn keep(reader: &mut Reader<'_>, mut entity: Entity<'_>, secret: Secret<Box<str>>, plain: bool) {
    if is_guessable(&secret) {
        // A reference that meant nothing. Served, it would let in whoever proves himself with nothing.
        if ["key", "secret", "password", "rsa_public_key", "subject_name"]
            .iter()
            .any(|field| entity.text(field) == Some(""))
        {
            let message = "left out: its secret is empty";
            let hint = "set what it refers to, and load again";
            reader.report.warning(&entity.common.at, &entity.common.path, message, hint);
        }
        return;
    }
    match entity.take("consumer") {
        Some(consumer) => {
            reader.draft.credentials.push(CredentialDraft {
                common: entity.common,
                consumer,
                secret,
                plain,
                authority: None,
            });
        }
        None => without_consumer(reader, &entity),
    }
}

/// Would an empty text prove this?
fn is_guessable(secret: &Secret<Box<str>>) -> bool {
    match secret {
        Secret::Key { key, .. } => key.is_empty(),
        Secret::Jwt(held) if held.algorithm.starts_with("HS") => held.secret.is_empty(),
        Secret::Jwt(held) => held.public_key.as_deref().is_some_and(str::is_empty),
        Secret::Basic { password_hash, .. } => password_hash.is_empty(),
        Secret::Hmac { secret, .. } => secret.is_empty(),
        // Certificates without a name have an empty one.
        Secret::Subject { name, .. } => name.is_empty(),
    }
}

fn without_consumer(reader: &mut Reader<'_>, entity: &Entity<'_>) {
    if entity.node.get("consumer").is_none_or(super::Node::is_null) {
        reader.report.fault(&entity.common.at, entity.path("consumer"), "required field missing", "");
    }
}
