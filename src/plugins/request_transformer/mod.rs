//! `request-transformer`: changes requests before they are sent on: method, path, headers, body, query.
//!
//! Values of all templates are made first, of the request as the plugins before this one have left it; then the parts are
//! changed in this order: path, method, headers, body, query; and within a part: remove, rename, replace, add, append.
//! Headers that frame the message, or that the gateway writes itself, are not changed, whatever is configured.
//!
//! A body is asked for only where the configuration changes bodies, and then only where its media type is one that can be
//! changed; one that is compressed is passed on as it is. One that is too large to be held is refused.

mod body;
mod fields;
#[cfg(test)]
mod tests;

use super::transform::arguments::Arguments;
use super::transform::lines::{pairs, Rendered, Steps};
use super::transform::template::Template;
use super::transform::values::Source;
use super::transform::words::{is_text, Words};
use crate::base::limits::{TARGET_BYTES_MAX, TRANSFORMED_BODY_BYTES_MAX};
use crate::hook::{Ctx, Descriptor, Edits, Env, Hooks, Need, Outcome, Plugin, Reply, Verdict};
use crate::http::framing::{self, Length};
use crate::http::{authority, HeadRef};
use crate::plan::schema::ANY_PROTOCOLS;
use body::{Bodies, Kind};
use serde_json::Value;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "request-transformer",
    priority: 801,
    version: env!("CARGO_PKG_VERSION"),
    about: "Changes the method, path, headers, query and body of requests. Values may be templates over the request: \
            $(headers.name), $(query_params.name), $(uri_captures.name).",
    example: EXAMPLE,
    fields: fields::FIELDS,
    consumer_scope: true,
    protocols: ANY_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r#"
services:
  - name: legacy
    url: http://legacy.internal:8080
    routes:
      - name: orders
        paths: ["~/v2/users/(?<user>[0-9]+)/orders$"]
    plugins:
      - name: request-transformer
        config:
          remove:
            headers: [X-Internal-Debug]
          replace:
            uri: /orders?user=$(uri_captures.user)
          add:
            headers: ["X-Gateway-Version:1.0", "X-Tenant:$(headers.x_tenant or 'none')"]
"#;

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let mut templates = Vec::new();
    let headers = Steps::read(config, "headers", &mut templates)?;
    let query = Steps::read(config, "querystring", &mut templates)?;
    let nested = config["dots_in_keys"].as_bool() == Some(false);
    let steps = Steps::read(config, "body", &mut templates)?;
    let words = match &config["replace"]["body"] {
        map @ Value::Object(_) => pairs(map),
        _ => Vec::new(),
    };
    let words = if words.is_empty() { None } else { Some(Words::of(words)?) };
    let uri = config["replace"]["uri"].as_str().map(Template::parse).transpose()?.map(Template::split_query);
    let method = config["http_method"].as_str().map(str::to_owned);
    let names = |name: &str| name.eq_ignore_ascii_case("content-type");
    let given = [&headers.replace, &headers.add, &headers.append];
    Ok(Arc::new(RequestTransformer {
        merges: method.as_deref().is_some_and(|method| matches!(method, "GET" | "HEAD" | "TRACE")),
        changes_type: headers.remove.iter().any(|name| names(name))
            || headers.rename.iter().any(|(old, new)| names(old) || names(new))
            || given.iter().any(|given| given.iter().any(|given| names(&given.name))),
        asks: templates.iter().any(|template| template.literal().is_none()),
        bodies: Bodies::of(steps, nested, words),
        method,
        uri,
        headers,
        query,
        templates,
    }))
}

struct RequestTransformer {
    method: Option<String>,
    /// Do the fields of a form become arguments of the query too, as the method takes no body?
    merges: bool,
    /// The path, and the query behind it.
    uri: Option<(Template, Option<Template>)>,
    headers: Steps,
    /// Does it change the type of the body, and with it what can be done to the body?
    changes_type: bool,
    query: Steps,
    bodies: Bodies,
    /// Values of all steps.
    templates: Vec<Template>,
    /// Does any of them ask something of the request?
    asks: bool,
}

/// What a shard uses again from request to request.
#[derive(Default)]
struct Scratch {
    values: Rendered,
    arguments: Arguments,
    path: Vec<u8>,
    query: Vec<u8>,
}

impl Plugin for RequestTransformer {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if self.reads_body(cx) {
            let declared = framing::of_request(cx.head);
            if matches!(declared, Ok(Length::Fixed(bytes)) if bytes > TRANSFORMED_BODY_BYTES_MAX as u64) {
                return too_large();
            }
            return Verdict::Need(Need::Body { bytes_max: TRANSFORMED_BODY_BYTES_MAX });
        }
        self.transform(cx, None)
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        match outcome.body() {
            Some(body) => self.transform(cx, Some(body)),
            None => too_large(),
        }
    }
}

impl RequestTransformer {
    /// Does the body have to be there before anything is changed?
    fn reads_body(&self, cx: &Ctx<'_>) -> bool {
        if !self.merges && self.bodies.is_empty() {
            return false;
        }
        let mut coded = cx.edits.request_values(cx.head, b"content-encoding");
        if coded.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")) {
            return false;
        }
        let media = media(cx.edits, cx.head);
        let kind = media.and_then(Kind::of);
        self.merges && kind == Some(Kind::Form)
            || self.bodies.changes_fields() && (kind.is_some() || self.changes_type)
            || self.bodies.changes_words() && (is_text(media) || self.changes_type)
    }

    fn transform(&self, cx: &mut Ctx<'_>, body: Option<&[u8]>) -> Verdict {
        let Ctx { head, facts, captures, edits, locals, .. } = cx;
        let (head, facts) = (*head, *facts);
        let scratch = locals.of(Scratch::default);
        let source = Source { head, edits, path: facts.path, captures: *captures, query: facts.query };
        if self.asks && !scratch.values.render(&self.templates, &source) {
            return broken();
        }
        let Scratch { values, arguments, path, query } = scratch;
        path.clear();
        query.clear();
        let mut asks_other = !self.query.is_empty();
        if let Some((path_of, query_of)) = &self.uri {
            if path_of.render_path(&source, path).is_err() {
                return broken();
            }
            if let Some(query_of) = query_of {
                asks_other = true;
                if query_of.render_query(&source, query).is_err() {
                    return broken();
                }
            }
            if has_dot_segment(path) {
                return refused();
            }
            if path.first() != Some(&b'/') {
                path.insert(0, b'/');
            }
        }
        // What the arguments are before any step: those of the path's template, the client's, those of the form.
        let form = match media(edits, head).and_then(Kind::of) {
            // As the plugins before have left it: a key that is hidden in a body must not come back in a query.
            Some(Kind::Form) if self.merges => {
                body.map(|body| edits.body().unwrap_or(body)).filter(|body| !body.is_empty())
            }
            _ => None,
        };
        asks_other |= form.is_some();
        if asks_other {
            arguments.read(query, |_| false);
            let gone = |name: &[u8]| edits.dropped_query_args().any(|dropped| dropped == name);
            arguments.add_all(edits.query().or(facts.query).unwrap_or(b""), gone);
            arguments.add_all(form.unwrap_or(b""), |_| false);
            arguments.change(&self.query, true, |value| values.of(&self.templates, value));
            query.clear();
            arguments.write(query);
        }
        if path.len() + query.len() > TARGET_BYTES_MAX {
            return Verdict::Reply(Box::new(Reply::message(414, "URI too long")));
        }

        if self.uri.is_some() {
            edits.set_path(path);
        }
        if let Some(method) = &self.method {
            edits.set_method(method.as_bytes());
        }
        if !self.change_headers(head, edits, values) {
            return refused();
        }
        if let Some(body) = body.filter(|_| !self.bodies.is_empty()) {
            let media = media(edits, head);
            match self.bodies.change(edits.body().unwrap_or(body), media, &self.templates, values, arguments) {
                Ok(Some(new)) if new.len() > TRANSFORMED_BODY_BYTES_MAX => return too_large(),
                Ok(Some(new)) => edits.set_body(new),
                Ok(None) => {}
                Err(body::Fault::TooLarge) => return too_large(),
                Err(body::Fault::Unsafe) => return refused(),
            }
        }
        if asks_other {
            edits.set_query(query);
        }
        Verdict::Next
    }

    /// `false` where a template made a host that is none.
    fn change_headers(&self, head: HeadRef<'_>, edits: &mut Edits, values: &Rendered) -> bool {
        let value = |at: usize| values.of(&self.templates, at);
        for name in &self.headers.remove {
            if has(edits, head, name) {
                edits.remove_request(name);
            }
        }
        for (old, new) in &self.headers.rename {
            edits.rename_request(head, old, new);
        }
        for given in &self.headers.replace {
            if given.name.eq_ignore_ascii_case("host") {
                if authority::read(value(given.value)).is_none() {
                    return false;
                }
                edits.set_host(value(given.value));
            } else if has(edits, head, &given.name) {
                edits.set_request(&given.name, value(given.value));
            }
        }
        for given in &self.headers.add {
            if !has(edits, head, &given.name) {
                edits.set_request(&given.name, value(given.value));
            }
        }
        for given in &self.headers.append {
            edits.add_request(&given.name, value(given.value));
        }
        true
    }
}

fn has(edits: &Edits, head: HeadRef<'_>, name: &str) -> bool {
    edits.request_values(head, name.as_bytes()).next().is_some()
}

/// The type of the body, as the upstream would be told.
fn media<'a>(edits: &'a Edits, head: HeadRef<'a>) -> Option<&'a [u8]> {
    edits.request_values(head, b"content-type").next()
}

/// Would a reader of this path climb out of it?
fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."))
}

#[cold]
fn too_large() -> Verdict {
    Verdict::Reply(Box::new(Reply::message(413, "Payload too large")))
}

/// What the client sent makes a request that nobody should be sent.
#[cold]
fn refused() -> Verdict {
    Verdict::Reply(Box::new(Reply::message(400, "Bad request")))
}

/// A template that says nothing sensible of this request.
#[cold]
fn broken() -> Verdict {
    Verdict::Reply(Box::new(Reply::message(500, "An unexpected error occurred")))
}
