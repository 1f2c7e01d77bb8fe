//! `cors`: tells browsers which origins may read answers, and answers their preflight requests (the Fetch standard, §3.2).
//!
//! Every answer is dressed, whoever makes it: an upstream, a plugin or a refusal; by a global instance also that to a
//! request no route matched. An answer that differs by origin says `Vary: Origin`, so that caches keep them apart.

use super::authentication::texts;
use super::expressions::Expressions;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Locals, Plugin, Reply, ReplyBody, Verdict};
use crate::http::{Known, Method};
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "cors",
    priority: 2000,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets web pages of other origins read answers, and answers the preflight requests of browsers.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: false,
    protocols: HTTP_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: true, response: true },
};

const EXAMPLE: &str = r#"
services:
  - name: shop
    url: http://shop.internal:8080
    routes:
      - name: shop
        paths: [/shop]
    plugins:
      - name: cors
        config:
          origins: ["https://www.example.com", '(.*\.)?example\.org']
          methods: [GET, POST]
          exposed_headers: [X-Total-Count]
          credentials: true
          max_age: 600
"#;

const TEXT: Element = Element { kind: Kind::String, rules: &[] };
const ORIGIN: Element = Element { kind: Kind::String, rules: &[Rule::Text(is_origin)] };
const METHOD: Element = Element {
    kind: Kind::String,
    rules: &[Rule::OneOf(&["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"])],
};

const FIELDS: &[Field] = &[
    Field::optional(
        "origins",
        Kind::Array(&ORIGIN),
        "Origins that may read answers: `*` for all, an origin, or an expression for all of one; all where it is not given.",
    ),
    Field::optional(
        "headers",
        Kind::Array(&TEXT),
        "Request headers that a preflight allows; those it asks for where it is not given.",
    ),
    Field::optional("exposed_headers", Kind::Array(&TEXT), "Headers of answers that pages may read."),
    Field::with_default(
        "methods",
        Kind::Array(&METHOD),
        r#"["GET","HEAD","PUT","PATCH","POST","DELETE","OPTIONS","TRACE","CONNECT"]"#,
        "Methods that a preflight allows.",
    ),
    Field::optional("max_age", Kind::Number, "Seconds for which browsers may remember a preflight's answer."),
    Field::with_default("credentials", Kind::Boolean, "false", "Let pages send cookies and credentials.").required(),
    Field::with_default(
        "private_network",
        Kind::Boolean,
        "false",
        "Let pages of public networks reach private ones, where a preflight asks.",
    )
    .required(),
    Field::with_default("preflight_continue", Kind::Boolean, "false", "Let the upstream answer preflights.").required(),
    Field::with_default("allow_origin_absent", Kind::Boolean, "true", "Dress answers to requests without Origin too.")
        .required(),
];

/// Has it only characters of an origin? Anything else makes it an expression.
fn is_literal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:/-".contains(&b))
}

fn is_origin(text: &str) -> Result<(), String> {
    match text == "*" || is_literal(text) || Expressions::is_one(text) {
        true => Ok(()),
        false => Err(format!("'{text}' is not a valid regex")),
    }
}

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let on = |name: &str, default| config.get(name).and_then(Value::as_bool).unwrap_or(default);
    let joined = |name: &str| Some(texts(config, name)).filter(|list| !list.is_empty()).map(|list| list.join(","));
    Ok(Arc::new(Cors {
        origins: Origins::of(texts(config, "origins"))?,
        headers: joined("headers"),
        exposed: joined("exposed_headers"),
        methods: joined("methods").unwrap_or_default(),
        max_age: config.get("max_age").filter(|age| !age.is_null()).map(Value::to_string),
        credentials: on("credentials", false),
        private_network: on("private_network", false),
        preflight_continue: on("preflight_continue", false),
        origin_may_be_absent: on("allow_origin_absent", true),
    }))
}

struct Cors {
    origins: Origins,
    headers: Option<String>,
    exposed: Option<String>,
    methods: String,
    max_age: Option<String>,
    credentials: bool,
    private_network: bool,
    preflight_continue: bool,
    origin_may_be_absent: bool,
}

/// Who may read answers.
enum Origins {
    Any,
    /// This one, whoever asks: the browser compares.
    One(String),
    Listed {
        /// Is `*` among them?
        any: bool,
        /// Normalised.
        literals: Vec<Vec<u8>>,
        /// Expressions of hosts, and of whole origins.
        hosts: Option<Expressions>,
        wholes: Option<Expressions>,
    },
}

/// What is said of one request's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed<'a> {
    All,
    This(&'a [u8]),
    Not,
}

/// `scheme://host[:port]` without a default port. Always a beginning of the text that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Normal<'a> {
    whole: &'a [u8],
    host: &'a [u8],
}

impl<'a> Normal<'a> {
    /// `None`: not what a browser would send. What is no URL (`null`) stands for itself.
    fn of(text: &'a [u8]) -> Option<Normal<'a>> {
        let Some(at) = memchr::memmem::find(text, b"://") else { return Some(Normal { whole: text, host: text }) };
        let (scheme, from) = (&text[..at], at + 3);
        let len = text[from..].iter().position(|b| b"/?#\\".contains(b)).unwrap_or(text.len() - from);
        let authority = &text[from..from + len];
        if authority.contains(&b'@') {
            return None;
        }
        let host_len = match memchr::memrchr(b':', authority) {
            Some(colon) if !authority[colon..].contains(&b']') => colon,
            _ => authority.len(),
        };
        let is_default =
            matches!((scheme, &authority[host_len..]), (b"http", b":80" | b":") | (b"https", b":443" | b":"));
        let end = if is_default { from + host_len } else { from + len };
        Some(Normal { whole: &text[..end], host: &authority[..host_len] })
    }
}

impl Origins {
    fn of(entries: Vec<String>) -> Result<Origins, String> {
        match entries.as_slice() {
            [] => return Ok(Origins::Any),
            [one] if one == "*" => return Ok(Origins::Any),
            [one] if is_literal(one) => return Ok(Origins::One(one.clone())),
            _ => {}
        }
        let (literals, expressions): (Vec<_>, Vec<_>) =
            entries.iter().filter(|entry| *entry != "*").partition(|entry| is_literal(entry));
        // Anchored as a whole: an alternative must not end in the middle of a host.
        let anchored = |with_colon: bool| -> Result<_, String> {
            let those = expressions.iter().filter(|entry| entry.contains(':') == with_colon);
            Expressions::of(&those.map(|entry| format!("^(?:{entry})$")).collect::<Vec<_>>())
        };
        let normal = |entry: &String| Normal::of(entry.as_bytes()).map(|normal| normal.whole.to_vec());
        Ok(Origins::Listed {
            any: entries.iter().any(|entry| entry == "*"),
            literals: literals.into_iter().filter_map(normal).collect(),
            hosts: anchored(false)?,
            wholes: anchored(true)?,
        })
    }

    /// What an answer says, and whether another origin would have got another answer.
    fn decide<'a>(&'a self, origin: Option<&'a [u8]>, locals: &mut Locals) -> (Allowed<'a>, bool) {
        let (any, literals, hosts, wholes) = match self {
            Origins::Any => return (Allowed::All, false),
            Origins::One(one) => return (Allowed::This(one.as_bytes()), true),
            Origins::Listed { any, literals, hosts, wholes } => (*any, literals, hosts, wholes),
        };
        let Some(origin) = origin else { return (Allowed::Not, true) };
        if any {
            return (Allowed::All, true);
        }
        let Some(normal) = Normal::of(origin) else { return (Allowed::Not, true) };
        let mut is = |which: &Option<Expressions>, text| which.as_ref().is_some_and(|one| one.match_any(locals, text));
        let known = literals.iter().any(|literal| literal == normal.whole)
            || is(hosts, normal.host)
            || is(wholes, normal.whole);
        (if known { Allowed::This(normal.whole) } else { Allowed::Not }, true)
    }
}

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";
const ALLOW_CREDENTIALS: &str = "Access-Control-Allow-Credentials";

/// What answers say of origins.
struct Said<'a> {
    origin: Allowed<'a>,
    credentials: bool,
    vary: bool,
}

impl Cors {
    fn say<'a>(&'a self, origin: Option<&'a [u8]>, locals: &mut Locals) -> Said<'a> {
        match (self.origins.decide(origin, locals), origin) {
            // Browsers take no `*` together with credentials: the origin itself is named.
            ((Allowed::All, _), Some(origin)) if self.credentials => {
                Said { origin: Allowed::This(origin), credentials: true, vary: true }
            }
            ((Allowed::All, vary), _) => Said { origin: Allowed::All, credentials: false, vary },
            ((allowed, vary), _) => Said { origin: allowed, credentials: self.credentials, vary },
        }
    }

    #[cold]
    fn preflight(&self, cx: &mut Ctx<'_>) -> Reply {
        let head = cx.head;
        let said = self.say(head.field(Known::Origin), cx.locals);
        let text = |bytes: &[u8]| Cow::Owned(String::from_utf8_lossy(bytes).into_owned());
        let mut reply = Reply { status: 200, headers: Vec::with_capacity(8), body: ReplyBody::Empty };
        if said.vary {
            reply = reply.with("Vary", "Origin");
        }
        reply = match said.origin {
            Allowed::All => reply.with(ALLOW_ORIGIN, "*"),
            Allowed::This(origin) => reply.with(ALLOW_ORIGIN, text(origin)),
            Allowed::Not => reply,
        };
        if said.credentials {
            reply = reply.with(ALLOW_CREDENTIALS, "true");
        }
        let headers = self.headers.as_ref().map(|headers| Cow::Owned(headers.clone()));
        if let Some(headers) = headers.or_else(|| head.find(b"access-control-request-headers").map(text)) {
            reply = reply.with("Access-Control-Allow-Headers", headers);
        }
        reply = reply.with("Access-Control-Allow-Methods", self.methods.clone());
        if let Some(age) = &self.max_age {
            reply = reply.with("Access-Control-Max-Age", age.clone());
        }
        let asks_private = head.find(b"access-control-request-private-network") == Some(b"true");
        if self.private_network && asks_private {
            reply = reply.with("Access-Control-Allow-Private-Network", "true");
        }
        reply
    }
}

/// Does a browser ask whether it may ask? Where no route matched nobody answers that, so it is a request like any other.
fn is_preflight(cx: &Ctx<'_>) -> bool {
    cx.head.head.method == Method::Options
        && cx.route.is_some()
        && cx.head.has(Known::Origin)
        && cx.head.find(b"access-control-request-method").is_some()
}

impl Plugin for Cors {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if is_preflight(cx) && !self.preflight_continue {
            return Verdict::Reply(Box::new(self.preflight(cx)));
        }
        Verdict::Next
    }

    fn on_response(&self, cx: &mut Ctx<'_>, _status: u16) {
        let origin = cx.head.field(Known::Origin);
        if is_preflight(cx) || (origin.is_none() && !self.origin_may_be_absent) {
            return;
        }
        let said = self.say(origin, cx.locals);
        match said.origin {
            Allowed::All => cx.edits.set_reply(ALLOW_ORIGIN, b"*"),
            Allowed::This(origin) => cx.edits.set_reply(ALLOW_ORIGIN, origin),
            Allowed::Not => cx.edits.remove_reply(ALLOW_ORIGIN),
        }
        if said.vary {
            cx.edits.add_reply("Vary", b"Origin");
        }
        if said.credentials {
            cx.edits.set_reply(ALLOW_CREDENTIALS, b"true");
        }
        if let Some(exposed) = &self.exposed {
            cx.edits.set_reply("Access-Control-Expose-Headers", exposed.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, Seen};
    use super::*;
    use serde_json::json;

    const METHODS: &str = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT";

    fn preflight(config: Value, more: &str) -> Seen {
        Rig::new(&DESCRIPTOR, config)
            .ask_and_answer(&format!("OPTIONS /\nAccess-Control-Request-Method: PUT{more}"), 200)
    }

    #[test]
    fn an_origin_is_normalised() {
        let rows: &[(&str, Option<(&str, &str)>)] = &[
            ("http://a.test", Some(("http://a.test", "a.test"))),
            ("http://a.test:80", Some(("http://a.test", "a.test"))),
            ("https://a.test:443/x", Some(("https://a.test", "a.test"))),
            ("https://a.test:80", Some(("https://a.test:80", "a.test"))),
            ("http://[::1]:80", Some(("http://[::1]", "[::1]"))),
            ("http://[::1]", Some(("http://[::1]", "[::1]"))),
            ("http://a.test/?b=http://c.test", Some(("http://a.test", "a.test"))),
            ("http://b.test\\@a.test", Some(("http://b.test", "b.test"))),
            ("null", Some(("null", "null"))),
            ("http://b.test@a.test", None),
        ];
        for (text, want) in rows {
            let got = Normal::of(text.as_bytes());
            assert_eq!(
                got,
                want.map(|(whole, host)| Normal { whole: whole.as_bytes(), host: host.as_bytes() }),
                "{text}"
            );
        }
    }

    #[test]
    fn answers_say_who_may_read_them() {
        let listed = |list: &[&str]| json!({ "origins": list });
        let with = |mut config: Value| {
            config["credentials"] = true.into();
            config
        };
        let (a, star) = (Some("http://a.test"), Some("*"));
        // Configuration, Origin → Allow-Origin, Vary, Allow-Credentials.
        let rows = [
            (json!({}), "http://x.test", star, false, false),
            (json!({}), "", star, false, false),
            (listed(&["*"]), "http://x.test", star, false, false),
            (with(json!({})), "http://a.test", a, true, true),
            (with(json!({})), "", star, false, false),
            (listed(&["http://a.test"]), "http://x.test", a, true, false),
            (listed(&["http://a.test"]), "", a, true, false),
            (with(listed(&["http://a.test"])), "http://x.test", a, true, true),
            (listed(&["http://a.test", "http://b.test"]), "http://a.test", a, true, false),
            (listed(&["http://a.test", "http://b.test"]), "http://a.test:80", a, true, false),
            (listed(&["http://a.test:80", "http://b.test"]), "http://a.test", a, true, false),
            (listed(&["http://a.test", "http://b.test"]), "https://a.test", Some(""), true, false),
            (listed(&["http://a.test", "http://b.test"]), "http://a.test.evil", Some(""), true, false),
            (listed(&["http://a.test", "http://b.test"]), "", Some(""), true, false),
            (listed(&["http://b.test", "*"]), "http://x.test", star, true, false),
            (listed(&[r"(.*\.)?a\.test"]), "http://a.test", a, true, false),
            (listed(&[r"(.*\.)?a\.test"]), "http://x.a.test:81", Some("http://x.a.test:81"), true, false),
            (listed(&[r"(.*\.)?a\.test"]), "http://xa.test", Some(""), true, false),
            (listed(&[r"(.*\.)?a\.test"]), "http://evil.test@a.test", Some(""), true, false),
            (listed(&[r"^https?://a\.test$"]), "http://a.test", a, true, false),
            (listed(&[r"http://a\.test|http://b\.test"]), "http://a.test.evil", Some(""), true, false),
            (listed(&[r"http://a\.test|http://b\.test"]), "http://evil/http://b.test", Some(""), true, false),
            (listed(&["null", "http://b.test"]), "null", Some("null"), true, false),
        ];
        for (config, origin, allowed, vary, credentials) in rows {
            let fields = if origin.is_empty() { String::new() } else { format!("\nOrigin: {origin}") };
            let seen = Rig::new(&DESCRIPTOR, config.clone()).ask_and_answer(&format!("GET /{fields}"), 200);
            assert_eq!(seen.client(ALLOW_ORIGIN), allowed, "{config} {origin}");
            assert_eq!(seen.client("Vary"), vary.then_some("Origin"), "{config} {origin}");
            assert_eq!(seen.client(ALLOW_CREDENTIALS), credentials.then_some("true"), "{config} {origin}");
            // The answer to a preflight says the same.
            if !origin.is_empty() {
                let seen = preflight(config, &fields);
                assert_eq!(seen.reply_field(ALLOW_ORIGIN), allowed.filter(|text| !text.is_empty()), "{origin}");
                assert_eq!(seen.reply_field("Vary"), vary.then_some("Origin"));
                assert_eq!(seen.reply_field(ALLOW_CREDENTIALS), credentials.then_some("true"));
                assert_eq!(seen.client_fields(), Vec::<&str>::new());
            }
        }
    }

    #[test]
    fn a_preflight_is_answered() {
        let origin = "\nOrigin: http://a.test";
        let seen = preflight(json!({}), origin);
        let fields = |seen: &Seen| {
            let names = ["Allow-Methods", "Allow-Headers", "Max-Age", "Allow-Private-Network"];
            names.map(|name| seen.reply_field(&format!("Access-Control-{name}")).unwrap_or("-").to_owned())
        };
        assert_eq!((seen.said().as_str(), fields(&seen)), ("200", [METHODS, "-", "-", "-"].map(str::to_owned)));
        let asks =
            format!("{origin}\nAccess-Control-Request-Headers: x-a, x-b\nAccess-Control-Request-Private-Network: true");
        assert_eq!(fields(&preflight(json!({}), &asks)), [METHODS, "x-a, x-b", "-", "-"].map(str::to_owned));
        let config =
            json!({"methods": ["GET", "PUT"], "headers": ["x-c", "x-d"], "max_age": 23, "private_network": true});
        assert_eq!(fields(&preflight(config, &asks)), ["GET,PUT", "x-c,x-d", "23", "true"].map(str::to_owned));
        // Not a preflight: no Origin; another method; left to the upstream, whose answer is then not dressed.
        assert_eq!(preflight(json!({}), "").said(), "next");
        let seen = Rig::new(&DESCRIPTOR, json!({})).ask(&format!("GET /\nAccess-Control-Request-Method: PUT{origin}"));
        assert_eq!(seen.said(), "next");
        let seen = preflight(json!({"preflight_continue": true}), origin);
        assert_eq!((seen.said().as_str(), seen.client_fields()), ("next", vec![]));
    }

    #[test]
    fn every_answer_is_dressed() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"exposed_headers": ["x-a", "x-b"]}));
        let seen = rig.ask_and_answer("GET /", 503);
        assert_eq!(seen.client("Access-Control-Expose-Headers"), Some("x-a,x-b"));
        rig.matched = false;
        let seen = rig.ask_and_answer("OPTIONS /\nOrigin: http://a.test\nAccess-Control-Request-Method: PUT", 404);
        assert_eq!((seen.said().as_str(), seen.client(ALLOW_ORIGIN)), ("next", Some("*")));
        let mut rig = Rig::new(&DESCRIPTOR, json!({"allow_origin_absent": false}));
        assert_eq!(rig.ask_and_answer("GET /", 200).client_fields(), Vec::<&str>::new());
        assert_eq!(rig.ask_and_answer("GET /\nOrigin: a", 200).client(ALLOW_ORIGIN), Some("*"));
        assert_eq!(is_origin("("), Err("'(' is not a valid regex".to_owned()));
    }
}
