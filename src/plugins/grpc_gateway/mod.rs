//! `grpc-gateway`: lets callers of HTTP and JSON use services of gRPC, by the `google.api.http` annotations of their methods.
//!
//! ```text
//!   rules      annotations → bindings, each with the way its answers are told
//!   template   paths of bindings: `/v1/{name=shelves/*}:read`
//!   fields     path, query and body → one JSON value of the shape of the method's message
//! ```
//!
//! An answer of one message is held until its status is known, and has the status of HTTP that is nearest; one of many is
//! told line by line as it comes. What is wrong with a request is told by the place, never by what stands there.

mod fields;
mod rules;
mod template;

use super::grpc::answer::{Lines, Status};
use super::grpc::frames;
use super::grpc::message::{self, Mapping};
use super::grpc::proto::{self, Types};
use crate::base::limits::BODY_KEPT_BYTES_MAX;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, ReplyBody, Verdict};
use crate::http::{grpc, Method};
use crate::plan::schema::{Field, Kind, Rule, ANY_PROTOCOLS};
use rules::{Binding, Body, Rules};
use serde_json::{json, Value};
use std::sync::Arc;
use template::Bound;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "grpc-gateway",
    priority: 998,
    version: env!("CARGO_PKG_VERSION"),
    about:
        "Lets callers of HTTP and JSON use services of gRPC, as the google.api.http annotations of their methods say.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: ANY_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: true, response: true },
};

const EXAMPLE: &str = r#"
services:
  - name: greeter
    url: grpc://greeter.internal:50051
    routes:
      - name: greeter-json
        protocols: [http, https]
        paths: [/v1/greeting]
    plugins:
      - name: grpc-gateway
        config:
          proto: config/greeter.proto
"#;

const FIELDS: &[Field] = &[
    Field::optional(
        "proto",
        Kind::String,
        "The service's types and their annotations: a .proto, or a set of descriptors with its imports.",
    )
    .rules(&[Rule::Reads(read)]),
    Field::with_default(
        "canonical_json",
        Kind::Boolean,
        "false",
        "Write JSON as protobuf's own mapping has it: names in camel case, 64-bit integers as text, no defaults.",
    ),
    Field::with_default(
        "refuse_unknown_fields",
        Kind::Boolean,
        "false",
        "Refuse bodies and queries that name what the method's message does not have.",
    ),
];

/// As [`proto::read`], of types whose annotations hold.
fn read(name: &str, read: crate::plan::schema::Read<'_>) -> Result<Vec<u8>, String> {
    let made = proto::read(name, read)?;
    let rules = Types::of(&made).and_then(|types| Rules::of(&types, &Mapping::new(false, false)));
    match rules {
        Ok(rules) if rules.is_empty() => Err(format!("{name}: no method has a google.api.http annotation")),
        Ok(_) => Ok(made),
        Err(why) => Err(format!("{name}: {why}")),
    }
}

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let strict = config["refuse_unknown_fields"].as_bool().unwrap_or(false);
    let mapping = Mapping::new(config["canonical_json"].as_bool().unwrap_or(false), strict);
    let types = env.made_of("proto").map(Types::of).transpose()?;
    let rules = types.map(|types| Rules::of(&types, &mapping)).transpose()?;
    Ok(Arc::new(GrpcGateway { rules: rules.unwrap_or_default(), mapping, strict }))
}

#[derive(Debug)]
struct GrpcGateway {
    rules: Rules,
    mapping: Mapping,
    strict: bool,
}

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";

impl Plugin for GrpcGateway {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if cx.head.head.method == Method::Options {
            return Verdict::Reply(Box::new(preflight()));
        }
        if self.rules.is_empty() {
            return refused("transcoding requests require a .proto file defining the service");
        }
        let Some((binding, _)) = self.binding(cx) else {
            return refused("no method of the service is called by this method and path");
        };
        let coded = |coding: &[u8]| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
        if binding.body != Body::None && cx.head.find(b"content-encoding").is_some_and(coded) {
            return refused("the body is compressed");
        }
        Verdict::Need(Need::Body { bytes_max: BODY_KEPT_BYTES_MAX })
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let Some(body) = outcome.body() else {
            return Verdict::Reply(Box::new(Reply::message(413, "Payload too large")));
        };
        let Some((binding, bound)) = self.binding(cx) else { return Verdict::Next };
        // As the plugins before have left it: a key that was hidden is no field of the message.
        let body = cx.edits.body().unwrap_or(body);
        let message = match self.message(cx, binding, &bound, body) {
            Ok(message) => message,
            Err(why) => return refused(&why),
        };
        let edits = &mut *cx.edits;
        edits.set_body(message);
        edits.set_method(b"POST");
        edits.set_path(binding.path.as_bytes());
        edits.set_query(b"");
        edits.set_request("Content-Type", b"application/grpc");
        edits.remove_request("Content-Encoding");
        edits.remove_request("grpc-encoding");
        edits.set_request("grpc-accept-encoding", b"identity");
        Verdict::Next
    }

    fn on_response(&self, cx: &mut Ctx<'_>, _: u16) {
        if !cx.edits.decides_reply(ALLOW_ORIGIN.as_bytes()) {
            cx.edits.set_reply(ALLOW_ORIGIN, b"*");
        }
        let (Some(reply), false) = (cx.reply, cx.made_here) else { return };
        let Some((binding, _)) = self.binding(cx) else { return };
        let said = Status::of_head(reply);
        // What is no answer of gRPC was made by somebody in between, who has said in HTTP what is to be said.
        if !is_grpc(cx) {
            return;
        }
        cx.edits.set_reply("Content-Type", b"application/json");
        for name in ["grpc-status", "grpc-message", "grpc-encoding", "grpc-accept-encoding"] {
            cx.edits.remove_reply(name);
        }
        if binding.streams {
            if let Some(status) = said.as_ref().filter(|status| status.code != 0) {
                cx.edits.set_status(grpc::http_of(status.code));
            }
            cx.edits.recode_reply(Box::new(Lines::new(binding.form.clone(), said)));
        }
    }

    fn rewrites(&self) -> bool {
        true
    }

    fn wants_body(&self, cx: &Ctx<'_>) -> bool {
        !cx.made_here && is_grpc(cx) && self.binding(cx).is_some_and(|(binding, _)| !binding.streams)
    }

    fn on_response_body(&self, cx: &mut Ctx<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let (binding, _) = self.binding(cx)?;
        let status = Status::of_head(cx.reply?).or_else(|| Status::of_trailers(cx.trailers));
        let (status, body) = binding.form.whole(body, &status.unwrap_or_else(Status::missing));
        cx.edits.set_status(status);
        Some(body)
    }
}

fn preflight() -> Reply {
    let body = ReplyBody::Raw { content_type: "application/json".into(), bytes: b"OK".to_vec() };
    let reply = Reply { status: 200, headers: Vec::new(), body };
    reply
        .with("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE")
        .with("Access-Control-Allow-Headers", "content-type")
}

/// As a service would refuse it.
fn refused(why: &str) -> Verdict {
    let body = json!({"code": grpc::INVALID_ARGUMENT, "message": why});
    Verdict::Reply(Box::new(Reply::json(400, body.to_string())))
}

fn is_grpc(cx: &Ctx<'_>) -> bool {
    cx.reply.is_some_and(|reply| grpc::is_call(reply.find(b"content-type")))
}

impl GrpcGateway {
    fn binding<'s, 'c>(&'s self, cx: &Ctx<'c>) -> Option<(&'s Binding, Vec<Bound<'s, 'c>>)> {
        self.rules.find(cx.head.method_bytes(), cx.facts.path)
    }

    /// What the service gets for a body.
    fn message(
        &self,
        cx: &Ctx<'_>,
        binding: &Binding,
        bound: &[Bound<'_, '_>],
        body: &[u8],
    ) -> Result<Vec<u8>, String> {
        let parse = |body: &[u8]| match body.trim_ascii().is_empty() {
            true => Ok(None),
            false => message::parse(body).map(Some),
        };
        let mut value = Value::Object(Default::default());
        match &binding.body {
            Body::None => {}
            Body::Whole => {
                if let Some(body) = parse(body)? {
                    if !body.is_object() {
                        return Err("the body is no JSON object".to_owned());
                    }
                    value = body;
                }
            }
            Body::Field(name) => {
                if let Some(body) = parse(body)? {
                    value[name.as_str()] = body;
                }
            }
        }
        if binding.body != Body::Whole {
            fields::put_query(
                &binding.input,
                cx.facts.query.unwrap_or_default(),
                &binding.body,
                self.strict,
                &mut value,
            )?;
        }
        for one in bound {
            fields::put(&binding.input, one.field, one.text()?, &mut value)?;
        }
        let message = self.mapping.message(&binding.input, value)?;
        let mut out = Vec::with_capacity(frames::HEAD_BYTES + message.len());
        frames::put(0, &message, &mut out);
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
