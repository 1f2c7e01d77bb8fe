//! `hmac-auth`: a signature over parts of the request, made with a shared secret, says who sends it.
//!
//! `Authorization: hmac username="u", algorithm="hmac-sha256", headers="date @request-target", signature="base64"`: the
//! scheme of the HTTP signature drafts. What is signed is a line per listed name, put together anew from the request, never
//! taken from it. A field that stands there several times is signed with all of its values, so that none can be slipped in.
//!
//! A name that nobody has costs the same signature as one that somebody has. Signatures are compared in constant time.
//!
//! Not here: a body larger than [`BODY_KEPT_BYTES_MAX`] is not held, so its digest cannot be checked and it is refused.

use super::authentication::{self, texts, Gate};
use crate::base::id::CredentialIx;
use crate::base::limits::{BODY_KEPT_BYTES_MAX, HMAC_NAMES_MAX};
use crate::base::time::WallMs;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, Verdict};
use crate::http::{HeadRef, Known, Target, Version};
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use crate::plan::Secret;
use aws_lc_rs::digest::{digest, SHA256};
use aws_lc_rs::hmac;
use base64::Engine;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "hmac-auth",
    priority: 1030,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets those pass who sign their requests with a consumer's secret, and tells the upstream who they are.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: false,
    protocols: HTTP_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r#"
services:
  - name: payments
    url: http://payments.internal:8080
    routes:
      - name: payments
        paths: [/payments]
    plugins:
      - name: hmac-auth
        config:
          clock_skew: 60
          algorithms: [hmac-sha256]
          enforce_headers: [date, "@request-target", digest]
          validate_request_body: true
consumers:
  - username: bank
    hmacauth_credentials:
      - username: bank
        secret: replace-this-secret
"#;

const ALGORITHMS: &[&str] = &["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"];
const TEXT: Element = Element { kind: Kind::String, rules: &[] };

const FIELDS: &[Field] = &[
    authentication::HIDE_CREDENTIALS,
    Field::with_default("clock_skew", Kind::Number, "300", "Seconds by which the date of a request may be off.")
        .rules(&[Rule::GreaterThan(0.0)]),
    authentication::ANONYMOUS,
    Field::with_default(
        "validate_request_body",
        Kind::Boolean,
        "false",
        "Check the body against the Digest header; of 1 MiB at most.",
    )
    .required(),
    Field::with_default("enforce_headers", Kind::Array(&TEXT), "[]", "Names that every signature must be over."),
    Field::with_default(
        "algorithms",
        Kind::Array(&Element { kind: Kind::String, rules: &[Rule::OneOf(ALGORITHMS)] }),
        r#"["hmac-sha1","hmac-sha256","hmac-sha384","hmac-sha512"]"#,
        "Algorithms that are taken.",
    ),
    authentication::REALM,
];

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let on = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let skew_s = config.get("clock_skew").and_then(Value::as_f64).unwrap_or(300.0);
    Ok(Arc::new(HmacAuth {
        hide: on("hide_credentials"),
        // Of what is too large for a number, the largest number: a float is cut off so.
        skew_ms: (skew_s * 1000.0) as u64,
        validates_body: on("validate_request_body"),
        enforced: texts(config, "enforce_headers"),
        algorithms: texts(config, "algorithms"),
        gate: Gate::of(config, env),
        challenge: authentication::challenge("hmac", &[("realm", config.get("realm").and_then(Value::as_str))]),
    }))
}

struct HmacAuth {
    hide: bool,
    skew_ms: u64,
    validates_body: bool,
    enforced: Vec<String>,
    algorithms: Vec<String>,
    gate: Gate,
    /// `WWW-Authenticate` of a refusal.
    challenge: Cow<'static, str>,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Missing,
    Date,
    Unverifiable,
    Mismatch,
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Refusal::Missing => "Unauthorized",
            Refusal::Date => {
                "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication"
            }
            Refusal::Unverifiable => "HMAC signature cannot be verified",
            Refusal::Mismatch => "HMAC signature does not match",
        }
    }
}

impl Plugin for HmacAuth {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if self.gate.is_open(cx) {
            return Verdict::Next;
        }
        let proof = self.prove(cx);
        // The body is only waited for when it may be what decides.
        if self.validates_body && proof.is_ok() {
            return Verdict::Need(Need::Body { bytes_max: BODY_KEPT_BYTES_MAX });
        }
        self.decide(cx, proof)
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let body = outcome.body();
        let proof = self.prove(cx).and_then(|credential| match body {
            Some(body) if is_digest_of(cx.head, body) => Ok(credential),
            _ => Err(Refusal::Mismatch),
        });
        self.decide(cx, proof)
    }
}

impl HmacAuth {
    fn decide(&self, cx: &mut Ctx<'_>, proof: Result<CredentialIx, Refusal>) -> Verdict {
        if self.hide {
            cx.edits.remove_request("Proxy-Authorization");
            cx.edits.remove_request("Authorization");
        }
        let credential = match proof {
            Ok(credential) => credential,
            Err(why) => {
                let refusal = || Reply::message(401, why.text()).with("WWW-Authenticate", self.challenge.clone());
                return self.gate.refuse(cx, refusal);
            }
        };
        let name = match cx.directory.plan().credential(credential).secret {
            Secret::Hmac { username, .. } => username.as_bytes(),
            _ => b"",
        };
        authentication::admit(cx, credential, name);
        Verdict::Next
    }

    /// Allocates nothing: what is signed goes into the hash piece by piece.
    fn prove(&self, cx: &Ctx<'_>) -> Result<CredentialIx, Refusal> {
        let head = cx.head;
        let fields = [Known::ProxyAuthorization, Known::Authorization].map(|id| head.field(id));
        if fields == [None, None] {
            return Err(Refusal::Missing);
        }
        if ![&b"x-date"[..], b"date"].iter().any(|name| self.is_timely(head.find(name), cx.now)) {
            return Err(Refusal::Date);
        }
        let claim = fields.into_iter().flatten().find_map(Claim::of).ok_or(Refusal::Unverifiable)?;
        let algorithm = self.algorithm(claim.algorithm).ok_or(Refusal::Unverifiable)?;
        let is_signed = |name: &String| claim.names().any(|signed| signed.eq_ignore_ascii_case(name.as_bytes()));
        if claim.names().count() > HMAC_NAMES_MAX || !self.enforced.iter().all(is_signed) {
            return Err(Refusal::Unverifiable);
        }
        let plan = cx.directory.plan();
        let known = std::str::from_utf8(claim.username).ok().and_then(|name| cx.directory.by_hmac_username(name));
        let secret = match known.map(|ix| plan.credential(ix).secret) {
            Some(Secret::Hmac { secret, .. }) => secret.as_bytes(),
            _ => b"",
        };
        let tag = claim.sign(head, &hmac::Key::new(algorithm, secret));
        // 72: 64 bytes of the longest signature, and what the decoder wants beyond it.
        let mut room = [0; 72];
        let sent = authentication::BASE64.decode_slice(claim.signature, &mut room).map_or(&[][..], |len| &room[..len]);
        let same = bool::from(tag.as_ref().ct_eq(sent));
        match (known, same) {
            (None, _) => Err(Refusal::Unverifiable),
            (Some(_), false) => Err(Refusal::Mismatch),
            (Some(ix), true) => Ok(ix),
        }
    }

    fn is_timely(&self, date: Option<&[u8]>, now: WallMs) -> bool {
        // To the second, as dates are.
        let date = date.and_then(WallMs::of_http_date);
        date.is_some_and(|date| (now.seconds() * 1000).abs_diff(date.0) <= self.skew_ms)
    }

    fn algorithm(&self, name: &[u8]) -> Option<hmac::Algorithm> {
        let name = self.algorithms.iter().find(|taken| taken.as_bytes() == name)?;
        Some(match name.as_str() {
            "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            "hmac-sha256" => hmac::HMAC_SHA256,
            "hmac-sha384" => hmac::HMAC_SHA384,
            "hmac-sha512" => hmac::HMAC_SHA512,
            _ => return None,
        })
    }
}

/// The parameters of the field, believed by nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Claim<'a> {
    username: &'a [u8],
    algorithm: &'a [u8],
    headers: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Claim<'a> {
    /// All four, each once, quoted, in any order; others are passed over.
    fn of(field: &'a [u8]) -> Option<Claim<'a>> {
        let mut rest = authentication::after_scheme(field, "hmac")?;
        let mut claim = Claim::default();
        loop {
            let equals = memchr::memchr(b'=', rest)?;
            let name = rest[..equals].trim_ascii();
            let quoted = rest[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
            let end = memchr::memchr(b'"', quoted)?;
            let slot = match name {
                b"username" => Some(&mut claim.username),
                b"algorithm" => Some(&mut claim.algorithm),
                b"headers" => Some(&mut claim.headers),
                b"signature" => Some(&mut claim.signature),
                _ => None,
            };
            if let Some(slot) = slot {
                if !slot.is_empty() {
                    return None;
                }
                *slot = &quoted[..end];
            }
            match quoted[end + 1..].trim_ascii_start() {
                [] => break,
                [b',', more @ ..] => rest = more,
                _ => return None,
            }
        }
        let all = [claim.username, claim.algorithm, claim.headers, claim.signature];
        all.iter().all(|value| !value.is_empty()).then_some(claim)
    }

    /// What is signed, in order.
    fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.headers.split(|&byte| byte == b' ').filter(|name| !name.is_empty())
    }

    fn sign(&self, head: HeadRef<'_>, key: &hmac::Key) -> hmac::Tag {
        let mut context = hmac::Context::with_key(key);
        for (at, name) in self.names().enumerate() {
            if at > 0 {
                context.update(b"\n");
            }
            if name == b"request-line" {
                let version: &[u8] = if head.head.version == Version::H10 { b" HTTP/1.0" } else { b" HTTP/1.1" };
                context.update(head.method_bytes());
                context.update(b" ");
                path_and_query(head).iter().for_each(|part| context.update(part));
                context.update(version);
                continue;
            }
            context.update(name);
            if name == b"@request-target" {
                context.update(b": ");
                head.method_bytes().iter().for_each(|byte| context.update(&[byte.to_ascii_lowercase()]));
                context.update(b" ");
                path_and_query(head).iter().for_each(|part| context.update(part));
                continue;
            }
            context.update(b":");
            for (nth, value) in head.find_all(name).enumerate() {
                context.update(if nth == 0 { b" " } else { b", " });
                context.update(value);
            }
        }
        context.sign()
    }
}

/// Does the Digest field speak of this body? Without the field there must be no body.
fn is_digest_of(head: HeadRef<'_>, body: &[u8]) -> bool {
    let Some(sent) = head.find(b"digest") else { return body.is_empty() };
    let mut room = [0; 44];
    let len = authentication::BASE64.encode_slice(digest(&SHA256, body), &mut room).unwrap_or(0);
    sent.strip_prefix(b"SHA-256=").is_some_and(|sent| sent == &room[..len])
}

/// Path and query as they were sent, without scheme and host where the target names them.
fn path_and_query(head: HeadRef<'_>) -> [&[u8]; 2] {
    match head.target() {
        whole if whole.starts_with(b"/") => [whole, b""],
        whole => Target::of(head).map_or([whole, b""], |target| [target.path(head.buf), target.query_marked(head.buf)]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{credential, Rig, Seen, ALICE, BOB, NOON};
    use super::*;
    use crate::hook::Shelf;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    const NO_DATE: &str =
        "401 E(HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication)";
    const UNVERIFIABLE: &str = "401 E(HMAC signature cannot be verified)";
    const MISMATCH: &str = "401 E(HMAC signature does not match)";

    #[track_caller]
    fn rig(config: Value) -> Rig {
        let secret = |username: &str, secret: &str| Secret::Hmac { username: username.into(), secret: secret.into() };
        let more = vec![
            credential(0xf0, BOB, secret("bob", "bobs secret")),
            credential(0xf1, ALICE, secret("alice", "alices secret")),
        ];
        Rig::with(&DESCRIPTOR, config, &Shelf::default(), more)
    }

    fn date(off_s: i64) -> String {
        let at = WallMs(NOON.0.saturating_add_signed(off_s * 1000));
        String::from_utf8_lossy(&at.imf_fixdate()).into_owned()
    }

    /// The field for a text, signed.
    fn signed(name: &str, secret: &str, algorithm: &str, headers: &str, text: &str) -> String {
        let key = hmac::Key::new(
            match algorithm {
                "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                "hmac-sha384" => hmac::HMAC_SHA384,
                "hmac-sha512" => hmac::HMAC_SHA512,
                _ => hmac::HMAC_SHA256,
            },
            secret.as_bytes(),
        );
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        format!("hmac username=\"{name}\", algorithm=\"{algorithm}\", headers=\"{headers}\", signature=\"{signature}\"")
    }

    fn bobs(headers: &str, text: &str) -> String {
        signed("bob", "bobs secret", "hmac-sha256", headers, text)
    }

    /// `GET /p?x=1` with a date of now and more fields.
    fn ask(config: Value, more: &str) -> Seen {
        rig(config).ask(&format!("GET /p?x=1\nDate: {}\n{more}", date(0)))
    }

    #[test]
    fn a_signature_over_what_is_listed_is_let_in() {
        let dated = format!("date: {}", date(0));
        let rows = [
            bobs("date", &dated),
            bobs("date @request-target", &format!("{dated}\n@request-target: get /p?x=1")),
            bobs("Date  request-line", &format!("D{}\nGET /p?x=1 HTTP/1.1", &dated[1..])),
            bobs("date x-none x-a x-b", &format!("{dated}\nx-none:\nx-a: 1\nx-b: 1, 2")),
            signed("bob", "bobs secret", "hmac-sha1", "date", &dated),
            signed("bob", "bobs secret", "hmac-sha384", "date", &dated),
            signed("bob", "bobs secret", "hmac-sha512", "date", &dated),
            bobs("date", &dated).replace("hmac user", "Hmac   user").replace(", ", ","),
            bobs("date", &dated).replace("hmac username=\"bob\", ", "hmac ") + ", username=\"bob\", more=\"x\"",
        ];
        for field in &rows {
            for name in ["Authorization", "Proxy-Authorization"] {
                let seen = ask(json!({}), &format!("X-A: 1\nX-B: 1\nX-B: 2\n{name}: {field}"));
                assert_eq!(seen.said(), "next", "{field}");
                assert_eq!(seen.upstream("X-Credential-Identifier"), Some("bob"));
                assert_eq!(seen.upstream("X-Consumer-Username"), Some("bob"));
            }
        }
    }

    #[test]
    fn a_target_with_a_host_is_signed_by_its_path_and_query() {
        let dated = format!("date: {}", date(0));
        let rows = [
            ("http://a.test:80/p?x=1", "/p?x=1", "next"),
            ("HTTPS://a.test/p/%7e", "/p/%7e", "next"),
            ("http://a.test?x", "/?x", "next"),
            ("http://a.test/p", "http://a.test/p", MISMATCH),
        ];
        for (target, signed, want) in rows {
            let request_target = bobs("date @request-target", &format!("{dated}\n@request-target: get {signed}"));
            let line = bobs("date request-line", &format!("{dated}\nGET {signed} HTTP/1.1"));
            for field in [request_target, line] {
                let seen = rig(json!({})).ask(&format!("GET {target}\nDate: {}\nAuthorization: {field}", date(0)));
                assert_eq!(seen.said(), want, "{target} {field}");
            }
        }
    }

    #[test]
    fn refusals_say_why_in_the_words_clients_know() {
        let dated = format!("date: {}", date(0));
        let good = bobs("date", &dated);
        let sha1 = signed("bob", "bobs secret", "hmac-sha1", "date", &dated);
        let algorithms = || json!({"algorithms": ["hmac-sha256"]});
        let enforce = || json!({"enforce_headers": ["Date", "@request-target"]});
        let many = "date ".repeat(HMAC_NAMES_MAX + 1);
        let rows = [
            (json!({}), good.clone(), "next"),
            (json!({}), "Basic Ym9iOmtvbmc=".to_owned(), UNVERIFIABLE),
            (json!({}), "hmac".to_owned(), UNVERIFIABLE),
            (json!({}), "hmac username=\"bob\"".to_owned(), UNVERIFIABLE),
            (json!({}), good.replace("username", "user"), UNVERIFIABLE),
            (json!({}), format!("{good}, username=\"alice\""), UNVERIFIABLE),
            (json!({}), format!("{good} x"), UNVERIFIABLE),
            (json!({}), good.replace("\"date\"", "date"), UNVERIFIABLE),
            (json!({}), good.replace("sha256", "md5"), UNVERIFIABLE),
            (json!({}), bobs(&many, &dated), UNVERIFIABLE),
            (json!({}), signed("nobody", "", "hmac-sha256", "date", &dated), UNVERIFIABLE),
            (json!({}), signed("alice", "bobs secret", "hmac-sha256", "date", &dated), MISMATCH),
            (json!({}), good.replace("sha256", "sha512"), MISMATCH),
            (json!({}), good.replace("signature=\"", "signature=\"A"), MISMATCH),
            (json!({}), bobs("date", "date: now"), MISMATCH),
            (json!({}), bobs("date @request-target", &format!("{dated}\n@request-target: get /p?x=2")), MISMATCH),
            (json!({}), bobs("date @request-target", &format!("{dated}\n@request-target: put /p?x=1")), MISMATCH),
            (algorithms(), good.clone(), "next"),
            (algorithms(), sha1, UNVERIFIABLE),
            (enforce(), good.clone(), UNVERIFIABLE),
            (enforce(), bobs("date @request-target", &format!("{dated}\n@request-target: get /p?x=1")), "next"),
        ];
        for (config, field, want) in rows {
            let seen = ask(config, &format!("Authorization: {field}"));
            assert_eq!(seen.said(), want, "{field}");
            assert_eq!(seen.reply_field("WWW-Authenticate"), seen.reply.is_some().then_some("hmac"));
        }
        let seen = rig(json!({"realm": "here"})).ask("GET /");
        assert_eq!(seen.said(), "401 E(Unauthorized)");
        assert_eq!(seen.reply_field("WWW-Authenticate"), Some("hmac realm=\"here\""));
        let seen = ask(json!({"anonymous": "guest"}), "Authorization: hmac");
        assert_eq!(seen.upstream("X-Consumer-Username"), Some("guest"));
    }

    #[test]
    fn a_date_is_near_or_it_is_none() {
        let ask = |config: Value, name: &str, date: &str| {
            let field = bobs(&name.to_ascii_lowercase(), &format!("{}: {date}", name.to_ascii_lowercase()));
            rig(config).ask(&format!("GET /\n{name}: {date}\nAuthorization: {field}")).said()
        };
        let skew = |s: f64| json!({ "clock_skew": s });
        let rows = [
            (json!({}), "Date", date(300), "next"),
            (json!({}), "Date", date(-300), "next"),
            (json!({}), "X-Date", date(-300), "next"),
            (json!({}), "Date", date(301), NO_DATE),
            (json!({}), "Date", date(-301), NO_DATE),
            (json!({}), "Date", "yesterday".to_owned(), NO_DATE),
            (json!({}), "X-Other", date(0), NO_DATE),
            (skew(1.0), "Date", date(-2), NO_DATE),
            (skew(1e300), "Date", date(-1_000_000), "next"),
        ];
        for (config, name, date, want) in rows {
            assert_eq!(ask(config, name, &date), want, "{name} {date}");
        }
    }

    #[test]
    fn a_body_is_held_against_its_digest() {
        let config = || json!({"validate_request_body": true, "hide_credentials": true});
        let of = |body: &str| format!("SHA-256={}", STANDARD.encode(digest(&SHA256, body.as_bytes())));
        let large = "x".repeat(BODY_KEPT_BYTES_MAX + 1);
        let rows = [
            (of("body"), "body", "next"),
            (of("body"), "Body", MISMATCH),
            (of(""), "", "next"),
            (of("body").replace("SHA-256", "MD5"), "body", MISMATCH),
            (String::new(), "body", MISMATCH),
            (of(&large), large.as_str(), MISMATCH),
        ];
        for (sent, body, want) in rows {
            let dated = format!("date: {}", date(0));
            let field = bobs("date digest", &format!("{dated}\ndigest: {sent}"));
            let seen = rig(config())
                .ask(&format!("POST /\nDate: {}\nDigest: {sent}\nAuthorization: {field}\n\n{body}", date(0)));
            assert_eq!(seen.said(), want, "{sent}");
            assert!(seen.asked_body);
            assert_eq!(seen.upstream("Authorization"), Some(""));
        }
        let bare = format!("POST /\nDate: {}\nAuthorization: {}", date(0), bobs("date", &format!("date: {}", date(0))));
        assert_eq!(rig(config()).ask(&bare).said(), "next");
        assert_eq!(rig(config()).ask(&format!("{bare}\n\nbody")).said(), MISMATCH);
        assert!(!rig(config()).ask("POST /\n\nbody").asked_body);
    }
}
