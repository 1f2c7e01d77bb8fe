//! `key-auth`: an API key in a header, the query or the body says who sends a request.
//!
//! Keys are looked up by a keyed hash and compared in constant time ([`Directory::by_key`]).
//!
//! Not here: what a body's fields are (`form`). A body larger than `limits::KEY_BODY_BYTES_MAX` is not looked into: a key
//! in it does not count, and is not taken out where another place has one.
//!
//! [`Directory::by_key`]: crate::hook::directory::Directory::by_key

use super::authentication::{self, Gate};
use super::form::{self, Form, Held};
use crate::base::limits;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, Verdict};
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "key-auth",
    priority: 1250,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets those pass who bring a consumer's API key, and tells the upstream who they are.",
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
  - name: orders
    url: http://orders.internal:8080
    routes:
      - name: orders
        paths: [/orders]
    plugins:
      - name: key-auth
        config:
          key_names: [X-API-Key]
          key_in_query: false
          hide_credentials: true
consumers:
  - username: nightly
    keyauth_credentials:
      - key: replace-this-key
";

const FIELDS: &[Field] = &[
    Field::with_default(
        "key_names",
        Kind::Array(&Element { kind: Kind::String, rules: &[Rule::HeaderName] }),
        "[\"apikey\"]",
        "Names of the header, query argument or form field that carries the key; the first one found counts.",
    )
    .required(),
    Field::with_default("hide_credentials", Kind::Boolean, "false", "Keep the key from the upstream.").required(),
    authentication::ANONYMOUS,
    Field::with_default("key_in_header", Kind::Boolean, "true", "Look in headers.").required(),
    Field::with_default("key_in_query", Kind::Boolean, "true", "Look in the query.").required(),
    Field::with_default(
        "key_in_body",
        Kind::Boolean,
        "false",
        "Look in the body: a form, urlencoded or multipart, or a JSON object.",
    )
    .required(),
    authentication::RUN_ON_PREFLIGHT,
    authentication::REALM,
];

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let on = |name: &str, default| config.get(name).and_then(Value::as_bool).unwrap_or(default);
    let realm = config.get("realm").and_then(Value::as_str);
    Ok(Arc::new(KeyAuth {
        names: authentication::texts(config, "key_names"),
        hide: on("hide_credentials", false),
        in_header: on("key_in_header", true),
        in_query: on("key_in_query", true),
        in_body: on("key_in_body", false),
        gate: Gate::of(config, env),
        challenge: authentication::challenge("Key", &[("realm", realm)]),
    }))
}

struct KeyAuth {
    names: Vec<String>,
    hide: bool,
    in_header: bool,
    in_query: bool,
    in_body: bool,
    gate: Gate,
    /// `WWW-Authenticate` of a refusal.
    challenge: Cow<'static, str>,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Missing,
    Repeated,
    Unknown,
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Refusal::Missing => "No API key found in request",
            Refusal::Repeated => "Duplicate API key found",
            Refusal::Unknown => "Unauthorized",
        }
    }
}

impl Plugin for KeyAuth {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if self.gate.is_open(cx) {
            return Verdict::Next;
        }
        // The body is only waited for when it may be what carries the key, or must not reach the upstream with one.
        let wanted =
            || self.hide && Form::of(cx.head).is_some() || matches!(self.find(cx, None), Err(Refusal::Missing));
        if self.in_body && wanted() {
            return Verdict::Need(Need::Body { bytes_max: limits::KEY_BODY_BYTES_MAX });
        }
        self.decide(cx, None)
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let body = outcome.body();
        self.decide(cx, body)
    }
}

impl KeyAuth {
    fn decide(&self, cx: &mut Ctx<'_>, body: Option<&[u8]>) -> Verdict {
        let key = self.find(cx, body);
        if self.hide && key.is_ok() {
            self.hide_keys(cx, body);
        }
        let credential = key.and_then(|key| {
            let known = cx.directory.by_key(&key);
            known.filter(|&ix| cx.directory.alive(ix, cx.now)).ok_or(Refusal::Unknown)
        });
        let credential = match credential {
            Ok(credential) => credential,
            Err(why) => {
                let refusal = || Reply::message(401, why.text()).with("WWW-Authenticate", self.challenge.clone());
                return self.gate.refuse(cx, refusal);
            }
        };
        let mut id = [0; 36];
        cx.directory.plan().credentials.id(credential).hyphenated().encode_lower(&mut id);
        authentication::admit(cx, credential, &id);
        Verdict::Next
    }

    /// Takes away all that may be a key: who sends one under two names does not mean the upstream to have either.
    fn hide_keys(&self, cx: &mut Ctx<'_>, body: Option<&[u8]>) {
        for name in &self.names {
            if self.in_header {
                cx.edits.remove_request(name);
            }
            if self.in_query {
                cx.edits.drop_query_arg(name.as_bytes());
            }
        }
        if let Some(left) = body.and_then(|body| Form::of(cx.head)?.without(body, &self.names)) {
            cx.edits.set_body(left);
        }
    }

    /// The first key by the order of names and, for each, of header, query, body.
    fn find<'a>(&'a self, cx: &Ctx<'a>, body: Option<&'a [u8]>) -> Result<Cow<'a, [u8]>, Refusal> {
        for name in &self.names {
            let places = [
                if self.in_header { in_header(cx, name) } else { Held::Nothing },
                if self.in_query {
                    form::in_arguments(cx.facts.query.unwrap_or_default(), name)
                } else {
                    Held::Nothing
                },
                body.zip(Form::of(cx.head)).map_or(Held::Nothing, |(body, form)| form.find(body, name)),
            ];
            for held in places {
                match held {
                    Held::Nothing => {}
                    Held::Several => return Err(Refusal::Repeated),
                    // An empty value is the client's answer; later names are not asked.
                    Held::One(key) if key.is_empty() => return Err(Refusal::Missing),
                    Held::One(key) => return Ok(key),
                }
            }
        }
        Err(Refusal::Missing)
    }
}

fn in_header<'a>(cx: &Ctx<'a>, name: &'a str) -> Held<'a> {
    Held::of(cx.head.find_all(name.as_bytes()).map(Cow::Borrowed))
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, Seen, ALICE, BOB, NOON};
    use super::*;
    use crate::base::id::CredentialIx;
    use crate::base::time::WallMs;
    use crate::hook::Identity;
    use serde_json::json;

    const NO_KEY: &str = "401 E(No API key found in request)";
    const TWICE: &str = "401 E(Duplicate API key found)";
    const UNKNOWN: &str = "401 E(Unauthorized)";

    #[track_caller]
    fn ask(config: Value, request: &str) -> Seen {
        Rig::new(&DESCRIPTOR, config).ask(request)
    }

    #[test]
    fn a_key_is_found_where_it_may_stand() {
        let form = "POST /\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\n\n";
        let json = "POST /\nContent-Type: application/json\n\n";
        let rows: &[(Value, String, &str)] = &[
            (json!({}), "GET /".into(), NO_KEY),
            (json!({}), "GET /?apikey=bobs".into(), "next"),
            (json!({}), "GET /\nApiKey: bobs".into(), "next"),
            (json!({}), "GET /?a=1&%61pikey=%62obs".into(), "next"),
            (json!({}), "GET /\napikey: wrong".into(), UNKNOWN),
            (json!({}), "GET /\napikey: bobsx".into(), UNKNOWN),
            (json!({}), "GET /\napikey: bob".into(), UNKNOWN),
            (json!({}), "GET /\napikey:".into(), NO_KEY),
            (json!({}), "GET /?apikey".into(), NO_KEY),
            (json!({}), "GET /?apikey=".into(), NO_KEY),
            (json!({}), "GET /?apikey=bobs&apikey=bobs".into(), TWICE),
            (json!({}), "GET /\napikey: bobs\napikey: bobs".into(), TWICE),
            // The header is asked first.
            (json!({}), "GET /?apikey=wrong\napikey: bobs".into(), "next"),
            (json!({}), "GET /?apikey=bobs\napikey: wrong".into(), UNKNOWN),
            (json!({"key_in_header": false}), "GET /\napikey: bobs".into(), NO_KEY),
            (json!({"key_in_query": false}), "GET /?apikey=bobs".into(), NO_KEY),
            (json!({"key_names": ["x-a", "x-b"]}), "GET /?x-b=bobs".into(), "next"),
            (json!({"key_names": ["x-a", "x-b"]}), "GET /?apikey=bobs".into(), NO_KEY),
            (json!({"key_in_body": true}), format!("{form}x=1&apikey=bo%62s"), "next"),
            (json!({"key_in_body": true}), format!("{form}apikey=bobs&apikey=bobs"), TWICE),
            (json!({"key_in_body": true}), format!("{json}{{\"apikey\": \"bobs\"}}"), "next"),
            (json!({"key_in_body": true}), format!("{json}{{\"apikey\": [\"bobs\"]}}"), TWICE),
            (json!({"key_in_body": true}), format!("{json}{{\"apikey\": 7}}"), NO_KEY),
            (json!({"key_in_body": true}), format!("{json}[\"bobs\"]"), NO_KEY),
            (json!({"key_in_body": true}), format!("{json}{{"), NO_KEY),
            (json!({"key_in_body": true}), "POST /\n\napikey=bobs".into(), NO_KEY),
            (json!({"key_in_body": true}), format!("{form}{}&apikey=bobs", "x".repeat(100_000)), NO_KEY),
            (json!({}), format!("{form}apikey=bobs"), NO_KEY),
        ];
        for (config, request, want) in rows {
            let seen = ask(config.clone(), request);
            assert_eq!(seen.said(), *want, "{config} {}", &request[..request.len().min(80)]);
            assert_eq!(seen.reply_field("WWW-Authenticate"), seen.reply.is_some().then_some("Key"));
        }
    }

    #[test]
    fn a_body_is_asked_for_only_when_it_may_decide() {
        assert!(ask(json!({"key_in_body": true}), "GET /").asked_body);
        assert!(!ask(json!({"key_in_body": true}), "GET /?apikey=bobs").asked_body);
        assert!(!ask(json!({}), "GET /").asked_body);
    }

    #[test]
    fn the_upstream_is_told_who_it_is_and_nothing_the_client_made_up() {
        let names = [
            "X-Consumer-ID",
            "X-Consumer-Custom-ID",
            "X-Consumer-Username",
            "X-Credential-Identifier",
            "X-Anonymous-Consumer",
        ];
        let told = |seen: &Seen| names.map(|name| seen.upstream(name).map(str::to_owned).unwrap_or("?".to_owned()));
        let bob = ask(json!({}), "GET /?apikey=bobs\nX-Consumer-Username: evil");
        assert_eq!(
            told(&bob),
            ["00000000-0000-0000-0000-0000000000b0", "", "bob", "00000000-0000-0000-0000-0000000000c0", ""]
        );
        assert_eq!(
            bob.identity,
            Identity { consumer: Some(BOB), credential: Some(CredentialIx(0)), is_vouched: false }
        );
        let alice = ask(json!({}), "GET /?apikey=alices");
        assert_eq!(told(&alice)[1..3], ["a-1", "alice"]);
        assert_eq!(alice.identity.consumer, Some(ALICE));
        let guest = ask(json!({"anonymous": "guest"}), "GET /\nX-Credential-Identifier: evil");
        assert_eq!(told(&guest), ["00000000-0000-0000-0000-0000000000b2", "", "guest", "", "true"]);
        assert_eq!(guest.identity.credential, None);
    }

    #[test]
    fn the_anonymous_stands_in_for_every_failure() {
        let guest = || json!({"anonymous": "00000000-0000-0000-0000-0000000000B2"});
        for request in ["GET /", "GET /?apikey=wrong", "GET /?apikey=a&apikey=b"] {
            assert_eq!(ask(guest(), request).upstream("X-Consumer-Username"), Some("guest"), "{request}");
        }
        let seen = ask(json!({"anonymous": "nobody"}), "GET /");
        assert_eq!(seen.said(), "500 E(anonymous consumer nobody is configured but doesn't exist)");
        // One proof is enough where there is an anonymous, and is not where there is none.
        let known = Identity { consumer: Some(ALICE), credential: Some(CredentialIx(1)), is_vouched: false };
        let mut rig = Rig::new(&DESCRIPTOR, guest());
        rig.identity = known;
        let seen = rig.ask("GET /");
        assert_eq!((seen.said().as_str(), seen.identity), ("next", known));
        let mut rig = Rig::new(&DESCRIPTOR, json!({}));
        rig.identity = known;
        assert_eq!(rig.ask("GET /").said(), NO_KEY);
    }

    #[test]
    fn a_preflight_may_pass_without_a_key_but_not_with_a_made_up_name() {
        let config = || json!({"run_on_preflight": false});
        let seen = ask(config(), "OPTIONS /\nX-Consumer-Username: evil");
        assert_eq!((seen.said().as_str(), seen.upstream("X-Consumer-Username")), ("next", Some("")));
        assert_eq!(ask(config(), "GET /").said(), NO_KEY);
        assert_eq!(ask(json!({}), "OPTIONS /").said(), NO_KEY);
    }

    #[test]
    fn hidden_keys_do_not_reach_the_upstream() {
        let config = || json!({"hide_credentials": true, "key_names": ["k1", "k2"], "anonymous": "guest"});
        for request in ["GET /?k1=bobs&x=1", "GET /?k1=wrong&x=1", "GET /\nk2: bobs"] {
            let seen = ask(config(), request);
            assert_eq!(seen.dropped_args(), ["k1", "k2"], "{request}");
            assert_eq!([seen.upstream("k1"), seen.upstream("k2")], [Some(""); 2], "{request}");
        }
        assert_eq!(ask(json!({}), "GET /?apikey=bobs").dropped_args(), Vec::<&str>::new());
    }

    #[test]
    fn hidden_keys_are_taken_out_of_bodies() {
        let form = "Content-Type: application/x-www-form-urlencoded\n\n";
        let rows = [
            (format!("POST /\n{form}a=1&apikey=bobs&b"), "next", Some("a=1&b")),
            // A key in the header is no reason to let one in the body through.
            (format!("POST /\napikey: bobs\n{form}a=1&apikey=bobs"), "next", Some("a=1")),
            (format!("POST /\napikey: bobs\n{form}a=1"), "next", None),
            (
                "POST /\nContent-Type: application/json\n\n{\"apikey\":\"bobs\",\"a\":[1]}".to_owned(),
                "next",
                Some("{\"a\":[1]}"),
            ),
            ("POST /\nContent-Type: text/plain\n\napikey=bobs".to_owned(), NO_KEY, None),
        ];
        for (request, want, left) in rows {
            let seen = ask(json!({"hide_credentials": true, "key_in_body": true}), &request);
            assert_eq!((seen.said().as_str(), seen.body().as_deref()), (want, left), "{request}");
        }
        let seen = ask(json!({"hide_credentials": true, "key_in_body": true}), "GET /?apikey=bobs");
        assert!(!seen.asked_body);
    }

    #[test]
    fn a_key_dies_when_its_time_is_over() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"realm": "here"}));
        for (after_ms, want) in [(0, "next"), (9_999, "next"), (10_000, UNKNOWN)] {
            rig.now = WallMs(NOON.0 + after_ms);
            let seen = rig.ask("GET /?apikey=short");
            assert_eq!(seen.said(), want, "after {after_ms} ms");
            assert_eq!(seen.reply_field("WWW-Authenticate"), seen.reply.is_some().then_some("Key realm=\"here\""));
        }
    }
}
