//! `redirect`: sends clients elsewhere; no upstream is asked.

use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin, Reply, ReplyBody, Verdict};
use crate::http::target;
use crate::plan::schema::{Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "redirect",
    priority: 779,
    version: env!("CARGO_PKG_VERSION"),
    about: "Answers with a redirect to another URL; no upstream is asked.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r"
routes:
  - name: old-shop
    paths: [/store]
    plugins:
      - name: redirect
        config:
          status_code: 308
          location: https://shop.example.com
          keep_incoming_path: true
";

const FIELDS: &[Field] = &[
    Field::with_default("status_code", Kind::Integer, "301", "Status of the answer.")
        .required()
        .rules(&[Rule::Between(100.0, 599.0)]),
    Field::optional("location", Kind::String, "The URL that clients are sent to.").required().rules(&[Rule::Url]),
    Field::with_default(
        "keep_incoming_path",
        Kind::Boolean,
        "false",
        "Put the path and query of the request in the place of the URL's own.",
    ),
];

fn check(config: &Value) -> Vec<(String, String)> {
    let status = config.get("status_code").and_then(Value::as_i64).unwrap_or(301);
    let why = "a status below 200 does not end a request; write one from 200 to 599";
    if status < 200 {
        vec![("status_code".to_owned(), why.to_owned())]
    } else {
        Vec::new()
    }
}

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let status = config.get("status_code").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let location = config.get("location").and_then(Value::as_str).unwrap_or_default();
    let keeps = config.get("keep_incoming_path").and_then(Value::as_bool).unwrap_or(false);
    let (before, after) = if keeps { around_path(location) } else { (location, "") };
    Ok(Arc::new(Redirect { status: status.unwrap_or(301), keeps, before: before.to_owned(), after: after.to_owned() }))
}

/// What of a URL stands before its path, and what behind its query: `https://a.test` and `#b` of `https://a.test/x?y#b`.
fn around_path(url: &str) -> (&str, &str) {
    let (rest, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let authority = rest.find("://").map_or(0, |at| at + 3);
    let end = rest[authority..].find(['/', '?', '\\']).map_or(rest.len(), |at| authority + at);
    (&rest[..end], fragment)
}

struct Redirect {
    status: u16,
    keeps: bool,
    /// The URL, or what stands before and behind the request's path and query.
    before: String,
    after: String,
}

impl Plugin for Redirect {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        let mut location = self.before.clone();
        if self.keeps {
            let mut kept = Vec::with_capacity(64);
            target::encode_path(cx.facts.path, &mut kept);
            if let Some(query) = cx.facts.query.filter(|query| !query.is_empty()) {
                kept.push(b'?');
                target::encode_query(query, &mut kept);
            }
            location.push_str(&String::from_utf8_lossy(&kept));
            location.push_str(&self.after);
        }
        let body = ReplyBody::Raw { content_type: "".into(), bytes: b"redirecting".to_vec() };
        let reply = Reply { status: self.status, headers: Vec::new(), body };
        Verdict::Reply(Box::new(reply.with("Location", location)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{faults, Rig};
    use super::*;
    use serde_json::json;

    #[test]
    fn clients_are_sent_where_it_says() {
        let kept = |location: &str| json!({"location": location, "keep_incoming_path": true});
        let rows = [
            (json!({"location": "https://b.test/x?y=1"}), "GET /a?b=c", "301", "https://b.test/x?y=1"),
            (json!({"location": "https://b.test", "status_code": 308}), "POST /a", "308", "https://b.test"),
            (kept("https://b.test"), "GET /a/b?c=d", "301", "https://b.test/a/b?c=d"),
            (kept("https://b.test:8443/x/y?z=1#f"), "GET /a?c=d", "301", "https://b.test:8443/a?c=d#f"),
            (kept("https://b.test?z=1"), "GET /", "301", "https://b.test/"),
            (kept("https://b.test/x?z=1"), "GET /a?", "301", "https://b.test/a"),
            // Whatever the path is, the host is ours.
            (kept("https://b.test"), "GET //evil.test/x", "301", "https://b.test//evil.test/x"),
            (kept("https://b.test"), "GET /@evil.test", "301", "https://b.test/@evil.test"),
        ];
        for (config, request, status, location) in rows {
            let seen = Rig::new(&DESCRIPTOR, config).ask(request);
            assert_eq!(seen.said(), format!("{status} : redirecting"));
            assert_eq!(seen.reply_field("Location"), Some(location), "{request}");
        }
    }

    #[test]
    fn a_status_that_ends_nothing_is_refused() {
        assert_eq!(faults(&DESCRIPTOR, json!({"location": "http://a.test", "status_code": 101})).len(), 1);
    }
}
