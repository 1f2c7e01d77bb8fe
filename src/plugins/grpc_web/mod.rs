//! `grpc-web`: lets pages in browsers call services of gRPC, over HTTP/1.1 or HTTP/2.
//!
//! A browser reads no trailers, so what stands in them is told as a last message of the body, with a flag of its own; a call
//! in text has its bytes in base64. Messages pass as they come, both ways, with no more of them held than base64 makes
//! necessary. With the service's types messages may also be JSON, with or without the framing of gRPC.
//!
//! Refusals of the gateway, whoever made them, are told as a call's status as well: in fields and as that last message.

mod media;
mod text;
mod web;

use super::grpc::answer::{Form, Lines, Status};
use super::grpc::frames;
use super::grpc::message::{self, Mapping};
use super::grpc::proto::{self, Types};
use crate::base::limits::BODY_KEPT_BYTES_MAX;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, ReplyBody, Verdict};
use crate::http::{grpc, Method};
use crate::plan::schema::{Field, Kind, Rule, ANY_PROTOCOLS};
use media::{Content, Media};
use prost_reflect::MethodDescriptor;
use serde_json::Value;
use std::sync::Arc;
use web::Web;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "grpc-web",
    priority: 3,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets browsers call services of gRPC: gRPC-Web in bytes and in text, and with the service's types JSON.",
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
      - name: greeter-web
        protocols: [http, https]
        paths: [/helloworld.Greeter]
    plugins:
      - name: grpc-web
        config:
          allow_origin_header: https://shop.example
"#;

const FIELDS: &[Field] = &[
    Field::optional(
        "proto",
        Kind::String,
        "The service's types, for calls whose messages are JSON: a .proto, or a set of descriptors with its imports.",
    )
    .rules(&[Rule::Reads(proto::read)]),
    Field::optional(
        "pass_stripped_path",
        Kind::Boolean,
        "Ask the service for the path that is left of the request's by strip_path, not for the whole one.",
    ),
    Field::with_default(
        "allow_origin_header",
        Kind::String,
        "\"*\"",
        "Which pages may call: the Access-Control-Allow-Origin of answers, where no other plugin decides it.",
    ),
];

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    Ok(Arc::new(GrpcWeb {
        types: env.made_of("proto").map(Types::of).transpose()?,
        stripped: config["pass_stripped_path"].as_bool().unwrap_or(false),
        origin: config["allow_origin_header"].as_str().unwrap_or("*").to_owned(),
        mapping: Mapping::new(false, false),
    }))
}

#[derive(Debug)]
struct GrpcWeb {
    types: Option<Types>,
    stripped: bool,
    origin: String,
    mapping: Mapping,
}

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";

impl Plugin for GrpcWeb {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if cx.head.head.method == Method::Options {
            return Verdict::Reply(Box::new(preflight()));
        }
        let content = cx.head.find(b"content-type");
        let media = content.and_then(Media::of);
        if !self.stripped {
            let path = cx.facts.path;
            cx.edits.set_path(path);
        }
        // A caller that speaks gRPC itself needs nothing of this.
        if media.is_none() && grpc::is_call(content) {
            return Verdict::Next;
        }
        let Some(media) = media else {
            return refused("Content-Type is none of gRPC-Web, nor JSON");
        };
        if media.content == Content::Json {
            if self.types.is_none() {
                return refused("transcoding requests require a .proto file defining the service");
            }
            if self.method(cx).is_none() {
                return refused("no method of the service has this path");
            }
            cx.edits.remove_request("grpc-encoding");
            cx.edits.set_request("grpc-accept-encoding", b"identity");
        }
        cx.edits.set_request("Content-Type", b"application/grpc");
        match media.text || media.content == Content::Json {
            true => Verdict::Need(Need::Body { bytes_max: BODY_KEPT_BYTES_MAX }),
            false => Verdict::Next,
        }
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let Some(body) = outcome.body() else {
            return Verdict::Reply(Box::new(Reply::message(413, "Payload too large")));
        };
        let Some(media) = cx.head.find(b"content-type").and_then(Media::of) else { return Verdict::Next };
        match self.upstream(cx, media, cx.edits.body().unwrap_or(body)) {
            Ok(body) => {
                cx.edits.set_body(body);
                Verdict::Next
            }
            Err(why) => Verdict::Reply(Box::new(Reply::message(400, why))),
        }
    }

    fn on_response(&self, cx: &mut Ctx<'_>, status: u16) {
        if !cx.edits.decides_reply(ALLOW_ORIGIN.as_bytes()) {
            cx.edits.set_reply(ALLOW_ORIGIN, self.origin.as_bytes());
        }
        let (Some(media), Some(reply)) = (self.asked(cx), cx.reply) else { return };
        if cx.made_here {
            if media.framed && status >= 400 {
                let code = itoa::Buffer::new().format(grpc::status_of(status)).to_owned();
                let message = grpc::encode_message(cx.edits.message());
                cx.edits.set_reply("Content-Type", media.name.as_bytes());
                cx.edits.set_reply("grpc-status", code.as_bytes());
                cx.edits.set_reply("grpc-message", message.as_bytes());
            }
            return;
        }
        let said = Status::of_head(reply);
        let form = (media.content == Content::Json).then(|| self.form(cx)).flatten();
        cx.edits.set_reply("Content-Type", media.name.as_bytes());
        match form {
            Some((form, streams)) if !media.framed => {
                if streams {
                    if let Some(status) = said.as_ref().filter(|status| status.code != 0) {
                        cx.edits.set_status(grpc::http_of(status.code));
                    }
                    cx.edits.recode_reply(Box::new(Lines::new(form, said)));
                }
            }
            form => cx.edits.recode_reply(Box::new(Web::new(media.text, form.map(|(form, _)| form), said))),
        }
    }

    fn rewrites(&self) -> bool {
        true
    }

    fn wants_body(&self, cx: &Ctx<'_>) -> bool {
        let Some(media) = self.asked(cx) else { return false };
        if cx.made_here {
            return media.framed && cx.reply.is_some_and(|reply| reply.head.status >= 400);
        }
        !media.framed && self.method(cx).is_some_and(|method| !method.is_server_streaming())
    }

    fn on_response_body(&self, cx: &mut Ctx<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let (media, reply) = (self.asked(cx)?, cx.reply?);
        if cx.made_here {
            let status = Status::new(grpc::status_of(reply.head.status), cx.edits.message());
            return Some(Web::alone(media.text, &status));
        }
        let (form, _) = self.form(cx)?;
        let status = Status::of_head(reply).or_else(|| Status::of_trailers(cx.trailers));
        let (status, body) = form.whole(body, &status.unwrap_or_else(Status::missing));
        cx.edits.set_status(status);
        Some(body)
    }
}

fn preflight() -> Reply {
    let media = "application/grpc-web-text+proto";
    let body = ReplyBody::Raw { content_type: media.into(), bytes: b"OK".to_vec() };
    let reply = Reply { status: 200, headers: Vec::new(), body };
    reply
        .with("Access-Control-Allow-Methods", "POST")
        .with("Access-Control-Allow-Headers", "content-type,x-grpc-web,x-user-agent")
}

fn refused(why: &'static str) -> Verdict {
    Verdict::Reply(Box::new(Reply::message(400, why)))
}

impl GrpcWeb {
    /// The form of a call that this plugin has to do with.
    fn asked<'c>(&self, cx: &Ctx<'c>) -> Option<Media<'c>> {
        let media = cx.head.find(b"content-type").and_then(Media::of)?;
        (cx.head.head.method != Method::Options && (media.content == Content::Proto || self.types.is_some()))
            .then_some(media)
    }

    fn method(&self, cx: &Ctx<'_>) -> Option<&MethodDescriptor> {
        let path = cx.facts.path;
        let mut slashes = path.iter().enumerate().rev().filter(|(_, &byte)| byte == b'/').map(|(at, _)| at);
        let from = if self.stripped { slashes.nth(1)? } else { 0 };
        self.types.as_ref()?.method(&path[from..])
    }

    /// How answers are told in JSON, and whether there may be many.
    fn form(&self, cx: &Ctx<'_>) -> Option<(Form, bool)> {
        let method = self.method(cx)?;
        let form = Form { kind: method.output(), field: None, mapping: self.mapping.clone() };
        Some((form, method.is_server_streaming()))
    }

    /// What the service gets for a body.
    fn upstream(&self, cx: &Ctx<'_>, media: Media<'_>, body: &[u8]) -> Result<Vec<u8>, String> {
        let plain;
        let body = match media.text {
            true => {
                plain = text::decode(body).ok_or("the body is not base64")?;
                &plain
            }
            false => body,
        };
        let (Content::Json, Some(method)) = (media.content, self.method(cx)) else { return Ok(body.to_vec()) };
        let message = match media.framed {
            true => frames::only(body).ok_or("the body is not one message")?,
            false => body,
        };
        let message = self.mapping.message(&method.input(), message::parse(message)?)?;
        let mut out = Vec::with_capacity(frames::HEAD_BYTES + message.len());
        frames::put(0, &message, &mut out);
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
