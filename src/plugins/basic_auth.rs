//! `basic-auth`: a username and a password in Proxy-Authorization or Authorization say who sends a request (RFC 7617).
//!
//! Passwords are held as SHA-1 of password and consumer id, the form that migrated databases have. A name that nobody has
//! costs the same hash and comparison as one that somebody has: how long a refusal takes does not tell which names exist.

use super::authentication::{self, Gate};
use crate::base::id::CredentialIx;
use crate::hook::directory::Directory;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin, Reply, Verdict};
use crate::http::Known;
use crate::plan::schema::{Field, Kind, HTTP_PROTOCOLS};
use crate::plan::Secret;
use aws_lc_rs::digest::{digest, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "basic-auth",
    priority: 1100,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets those pass who bring a consumer's username and password, and tells the upstream who they are.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: false,
    protocols: HTTP_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r"
services:
  - name: reports
    url: http://reports.internal:8080
    routes:
      - name: reports
        paths: [/reports]
    plugins:
      - name: basic-auth
        config:
          hide_credentials: true
consumers:
  - username: ann
    basicauth_credentials:
      - username: ann
        password: replace-this-password
";

const FIELDS: &[Field] = &[
    authentication::ANONYMOUS,
    authentication::HIDE_CREDENTIALS,
    Field::with_default("realm", Kind::String, "\"service\"", "Realm in the WWW-Authenticate header of a refusal.")
        .required(),
];

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    Ok(Arc::new(BasicAuth {
        hide: config.get("hide_credentials").and_then(Value::as_bool).unwrap_or(false),
        gate: Gate::of(config, env),
        challenge: authentication::challenge("Basic", &[("realm", config.get("realm").and_then(Value::as_str))]),
    }))
}

struct BasicAuth {
    hide: bool,
    gate: Gate,
    /// `WWW-Authenticate` of a refusal.
    challenge: Cow<'static, str>,
}

/// What one field proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// It names nobody: it is not there, or no credentials, or of a name that nobody has.
    Nobody,
    /// Somebody's name with another password.
    Wrong,
    Right(CredentialIx),
}

/// The decoded field, `name:password`, and then password and consumer id. Kept from request to request.
#[derive(Default)]
struct Scratch(Vec<u8>);

impl Plugin for BasicAuth {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if self.gate.is_open(cx) {
            return Verdict::Next;
        }
        let Ctx { head, directory, locals, .. } = cx;
        let scratch = locals.of(Scratch::default);
        let mut prove = |id| head.field(id).map_or(Proof::Nobody, |value| prove(value, directory, &mut scratch.0));
        // Both are looked at, always: the second one's work must not tell what came of the first.
        let (proxy, plain) = (prove(Known::ProxyAuthorization), prove(Known::Authorization));
        let found = if proxy == Proof::Nobody { plain } else { proxy };
        if self.hide {
            cx.edits.remove_request("Proxy-Authorization");
            if proxy == Proof::Nobody {
                cx.edits.remove_request("Authorization");
            }
        }
        let Proof::Right(credential) = found else {
            let refusal = || Reply::message(401, "Unauthorized").with("WWW-Authenticate", self.challenge.clone());
            return self.gate.refuse(cx, refusal);
        };
        let name = match cx.directory.plan().credential(credential).secret {
            Secret::Basic { username, .. } => username.as_bytes(),
            _ => b"",
        };
        authentication::admit(cx, credential, name);
        Verdict::Next
    }
}

/// Compared with where there is no credential. No password has this hash: it is no hash.
const NO_HASH: &str = "----------------------------------------";

fn prove(value: &[u8], directory: &Directory, scratch: &mut Vec<u8>) -> Proof {
    let Some(encoded) = authentication::after_scheme(value, "basic") else { return Proof::Nobody };
    scratch.clear();
    if authentication::BASE64.decode_vec(encoded, scratch).is_err() {
        return Proof::Nobody;
    }
    // RFC 7617 §2: the name has no colon, the password may.
    let Some(colon) = memchr::memchr(b':', scratch).filter(|&colon| colon > 0) else { return Proof::Nobody };
    let plan = directory.plan();
    let known = std::str::from_utf8(&scratch[..colon]).ok().and_then(|name| directory.by_basic_username(name));
    let credential = known.map(|ix| plan.credential(ix));
    let (held, salt) = match credential.map(|credential| (credential.secret, credential.consumer)) {
        Some((Secret::Basic { password_hash, .. }, consumer)) => (password_hash, plan.consumers.id(consumer)),
        _ => (NO_HASH, Uuid::nil()),
    };
    let mut id = [0; 36];
    scratch.extend_from_slice(salt.hyphenated().encode_lower(&mut id).as_bytes());
    let hash = hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &scratch[colon + 1..]).as_ref());
    let same = bool::from(hash.ct_eq(held.as_bytes()));
    match (known, same) {
        (None, _) => Proof::Nobody,
        (Some(_), false) => Proof::Wrong,
        (Some(ix), true) => Proof::Right(ix),
    }
}

/// 20 bytes as 40 lower-case digits.
fn hex(bytes: &[u8]) -> [u8; 40] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 40];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::rig::{credential, Rig, Seen, ALICE, BOB};
    use super::*;
    use crate::hook::{Identity, Shelf};
    use crate::plan::link::salted;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    /// `bob:kong`, `alice:a:b` and `empty:`.
    #[track_caller]
    fn rig(config: Value) -> Rig {
        let secret = |username: &str, password: &str, consumer: u128| Secret::Basic {
            username: username.into(),
            password_hash: salted(password, Uuid::from_u128(consumer)),
        };
        let more = vec![
            credential(0xe0, BOB, secret("bob", "kong", 0xb0)),
            credential(0xe1, ALICE, secret("alice", "a:b", 0xb1)),
            credential(0xe2, ALICE, secret("empty", "", 0xb1)),
        ];
        Rig::with(&DESCRIPTOR, config, &Shelf::default(), more)
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    fn ask(config: Value, authorization: &str) -> Seen {
        rig(config).ask(&format!("GET /\nAuthorization: {authorization}\nX-Consumer-Username: evil"))
    }

    #[test]
    fn a_name_and_its_password_are_let_in() {
        let bob = basic("bob:kong");
        let next = [
            bob.clone(),
            bob.replace("Basic", "bAsIc"),
            bob.replace("Basic ", "Basic   "),
            bob.trim_end_matches('=').to_owned(),
            basic("alice:a:b"),
            basic("empty:"),
        ];
        for value in &next {
            assert_eq!(ask(json!({}), value).said(), "next", "{value}");
        }
        let refused = [
            String::new(),
            "Basic".to_owned(),
            "Basic !".to_owned(),
            bob.replace("Basic", "Bearer"),
            bob.replace("Basic ", "Basic"),
            basic("bob"),
            basic(":kong"),
            basic("bob:"),
            basic("bob:Kong"),
            basic("bob:kong "),
            basic("Bob:kong"),
            basic("nobody:kong"),
            basic("alice:kong"),
            basic("b\u{fc}b:kong"),
            format!("Basic {}", STANDARD.encode(b"\xff\xfe:\xfd")),
            basic(&format!("bob:{}", "k".repeat(10_000))),
            // The hash itself is no password.
            basic(&format!("bob:{}", salted("kong", Uuid::from_u128(0xb0)))),
        ];
        for value in &refused {
            let seen = ask(json!({}), value);
            assert_eq!(seen.said(), "401 E(Unauthorized)", "{value}");
            assert_eq!(seen.reply_field("WWW-Authenticate"), Some("Basic realm=\"service\""));
            assert_eq!(seen.identity, Identity::default());
        }
        assert_eq!(rig(json!({})).ask("GET /").said(), "401 E(Unauthorized)");
        let seen = ask(json!({"realm": "here"}), "");
        assert_eq!(seen.reply_field("WWW-Authenticate"), Some("Basic realm=\"here\""));
    }

    #[test]
    fn a_proxys_field_goes_first_where_it_names_somebody() {
        let ask = |proxy: &str, plain: &str| {
            let fields = format!("Proxy-Authorization: {}\nAuthorization: {}", basic(proxy), basic(plain));
            rig(json!({"hide_credentials": true})).ask(&format!("GET /\n{fields}"))
        };
        let rows = [
            ("bob:kong", "x:y", Some("bob"), [Some(""), None]),
            ("nobody:x", "bob:kong", Some("bob"), [Some(""), Some("")]),
            ("bob:wrong", "alice:a:b", None, [Some(""), None]),
            ("bob", "alice:a:b", Some("alice"), [Some(""), Some("")]),
        ];
        for (proxy, plain, want, hidden) in rows {
            let seen = ask(proxy, plain);
            assert_eq!(seen.upstream("X-Credential-Identifier"), want, "{proxy} {plain}");
            assert_eq!([seen.upstream("Proxy-Authorization"), seen.upstream("Authorization")], hidden);
        }
    }

    #[test]
    fn the_upstream_is_told_who_it_is() {
        let seen = ask(json!({}), &basic("alice:a:b"));
        assert_eq!(seen.identity.consumer, Some(ALICE));
        assert_eq!(seen.upstream("X-Consumer-Custom-ID"), Some("a-1"));
        assert_eq!(seen.upstream("X-Consumer-Username"), Some("alice"));
        assert_eq!(seen.upstream("X-Anonymous-Consumer"), Some(""));
        assert_eq!(seen.upstream("Authorization"), None);
        for value in ["", &basic("bob:wrong")] {
            let seen = ask(json!({"anonymous": "guest"}), value);
            assert_eq!((seen.said().as_str(), seen.upstream("X-Consumer-Username")), ("next", Some("guest")));
            assert_eq!(seen.upstream("X-Credential-Identifier"), Some(""));
        }
    }
}
