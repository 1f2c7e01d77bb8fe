//! `grpc-http1-bridge`: lets callers that speak HTTP/1.1 alone make unary calls of gRPC.
//!
//! They send the body of a call as gRPC has it, and get the answer's likewise. What the service says behind it, in trailers
//! that such callers do not read, stands before it: `grpc-status` and `grpc-message` are fields, the status of HTTP is 503
//! where a call has failed. So the answer is held until its end is known, and a stream of messages is no use here. A caller
//! that has no more than its message may send it as `application/x-protobuf` and gets the answer's message alone.

use super::grpc::answer::Status;
use super::grpc::frames;
use crate::base::limits::BODY_KEPT_BYTES_MAX;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, Verdict};
use crate::http::grpc;
use crate::plan::schema::{Field, Kind, HTTP_PROTOCOLS};
use serde_json::Value;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "grpc-http1-bridge",
    priority: 4,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets callers of HTTP/1.1 make unary calls of gRPC: the status of a call stands in fields of its answer.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: true, response: true },
};

const EXAMPLE: &str = r#"
services:
  - name: greeter
    url: grpc://greeter.internal:50051
    routes:
      - name: greeter-http1
        protocols: [http, https]
        paths: [/helloworld.Greeter]
        strip_path: false
    plugins:
      - name: grpc-http1-bridge
        config:
          upgrade_protobuf_to_grpc: true
"#;

const FIELDS: &[Field] = &[
    Field::with_default(
        "upgrade_protobuf_to_grpc",
        Kind::Boolean,
        "false",
        "Take application/x-protobuf, too: a message alone, which is framed on its way, and so is the answer freed of its frame.",
    ),
    Field::with_default(
        "ignore_query_parameters",
        Kind::Boolean,
        "false",
        "Leave the query out of what the service is asked with, where a message was framed here.",
    ),
];

/// What a caller sends that has no frames.
const PROTOBUF: &str = "application/x-protobuf";

/// The status of HTTP of a call that has failed, whatever its own.
const FAILED: u16 = 503;

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let is_on = |name: &str| config[name].as_bool().unwrap_or(false);
    Ok(Arc::new(Bridge { upgrades: is_on("upgrade_protobuf_to_grpc"), drops_query: is_on("ignore_query_parameters") }))
}

#[derive(Debug)]
struct Bridge {
    upgrades: bool,
    drops_query: bool,
}

/// How a caller's messages stand in bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Framed,
    Alone,
}

impl Bridge {
    /// The form of a call that this plugin has to do with.
    fn asked(&self, cx: &Ctx<'_>) -> Option<Form> {
        let media = cx.head.find(b"content-type");
        if cx.facts.http2 {
            return None;
        }
        match media? {
            _ if grpc::is_call(media) => Some(Form::Framed),
            media if self.upgrades && is_protobuf(media) => Some(Form::Alone),
            _ => None,
        }
    }
}

fn is_protobuf(media: &[u8]) -> bool {
    let essence = media.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(PROTOBUF.as_bytes())
}

/// Is it an answer to a call, whatever its end?
fn is_answer(cx: &Ctx<'_>) -> bool {
    cx.reply.is_some_and(|reply| reply.head.status == 200 && grpc::is_call(reply.find(b"content-type")))
}

fn tell(cx: &mut Ctx<'_>, status: &Status) {
    cx.edits.set_reply("grpc-status", itoa::Buffer::new().format(status.code).as_bytes());
    cx.edits.remove_reply("grpc-message");
    if !status.message.is_empty() {
        cx.edits.set_reply("grpc-message", grpc::encode_message(&status.message).as_bytes());
    }
}

impl Plugin for Bridge {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if self.asked(cx) != Some(Form::Alone) {
            return Verdict::Next;
        }
        cx.edits.set_request("Content-Type", b"application/grpc");
        if self.drops_query {
            cx.edits.set_query(b"");
        }
        Verdict::Need(Need::Body { bytes_max: BODY_KEPT_BYTES_MAX - frames::HEAD_BYTES })
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let Some(message) = outcome.body() else {
            return Verdict::Reply(Box::new(Reply::message(413, "Payload too large")));
        };
        let message = cx.edits.body().unwrap_or(message);
        let mut body = Vec::with_capacity(frames::HEAD_BYTES + message.len());
        frames::put(0, message, &mut body);
        cx.edits.set_body(body);
        Verdict::Next
    }

    fn on_response(&self, cx: &mut Ctx<'_>, status: u16) {
        let Some(form) = self.asked(cx) else { return };
        if cx.made_here {
            if status >= 400 {
                let status = Status::new(grpc::status_of(status), cx.edits.message());
                tell(cx, &status);
            }
            return;
        }
        if !is_answer(cx) {
            return;
        }
        if form == Form::Alone {
            cx.edits.set_reply("Content-Type", PROTOBUF.as_bytes());
        }
        // A call that failed at once: its head has said all.
        if let Some(said) = cx.reply.and_then(Status::of_head).filter(|said| said.code != 0) {
            cx.edits.set_status(FAILED);
            tell(cx, &said);
        }
    }

    fn rewrites(&self) -> bool {
        true
    }

    fn wants_body(&self, cx: &Ctx<'_>) -> bool {
        !cx.made_here && self.asked(cx).is_some() && is_answer(cx)
    }

    fn on_response_body(&self, cx: &mut Ctx<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let (form, reply) = (self.asked(cx)?, cx.reply?);
        let said = Status::of_head(reply).or_else(|| Status::of_trailers(cx.trailers));
        let mut said = said.unwrap_or_else(Status::missing);
        let message = match form {
            Form::Framed => Some(body),
            Form::Alone if body.is_empty() => Some(body),
            Form::Alone => frames::only(body),
        };
        if message.is_none() && said.code == 0 {
            said = Status::new(grpc::INTERNAL, "the answer is not one message");
        }
        if said.code != 0 {
            cx.edits.set_status(FAILED);
        }
        tell(cx, &said);
        Some(message.unwrap_or_default().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;
    use serde_json::json;

    const CALL: &str = "POST /p.S/M?a=1\nContent-Type: application/grpc\n\n";
    const ALONE: &str = "POST /p.S/M?a=1\nContent-Type: application/x-protobuf; v=1\n\nab";

    #[test]
    fn a_message_alone_is_framed_where_that_is_wanted() {
        let ask = |config: Value, request: &str| {
            let seen = Rig::new(&DESCRIPTOR, config).ask(request);
            (seen.said(), seen.upstream("Content-Type").map(str::to_owned), seen.body(), seen.aim()[2].clone())
        };
        let untouched = |query: &str| ("next".to_owned(), None, None, query.to_owned());
        assert_eq!(ask(json!({"upgrade_protobuf_to_grpc": true}), CALL), untouched("-"));
        assert_eq!(ask(json!({}), ALONE), untouched("-"));
        let framed = |query: &str| {
            let body = "\0\0\0\0\u{2}ab".to_owned();
            ("next".to_owned(), Some("application/grpc".to_owned()), Some(body), query.to_owned())
        };
        assert_eq!(ask(json!({"upgrade_protobuf_to_grpc": true}), ALONE), framed("-"));
        assert_eq!(ask(json!({"upgrade_protobuf_to_grpc": true, "ignore_query_parameters": true}), ALONE), framed(""));
        let mut hidden = Rig::new(&DESCRIPTOR, json!({"upgrade_protobuf_to_grpc": true}));
        hidden.left = Some("b");
        assert_eq!(hidden.ask(ALONE).body().as_deref(), Some("\0\0\0\0\u{1}b"), "as a plugin before has left it");
    }

    /// Status, grpc-status, grpc-message and body of an answer.
    type Told = (u16, String, String, String);

    fn told(
        config: Value,
        request: &str,
        head: &[(&'static str, &'static str)],
        body: &str,
        trailers: &'static str,
    ) -> Told {
        let mut rig = Rig::new(&DESCRIPTOR, config);
        rig.reply = [&[("content-type", "application/grpc")], head].concat();
        rig.trailers = trailers;
        let seen = rig.answered(request, 200, body);
        let field = |name| seen.client(name).unwrap_or("").to_owned();
        let status = seen.status().unwrap_or(200);
        (status, field("grpc-status"), field("grpc-message"), seen.rewritten.clone().unwrap_or_default())
    }

    #[test]
    fn what_stands_behind_an_answer_is_told_before_it() {
        let made = |status: u16, code: &str, message: &str, body: &str| {
            (status, code.to_owned(), message.to_owned(), body.to_owned())
        };
        let framed = "\0\0\0\0\u{2}ok";
        let ask =
            |head: &[(&'static str, &'static str)], body: &str, trailers| told(json!({}), CALL, head, body, trailers);
        assert_eq!(ask(&[], framed, "grpc-status: 0\r\n"), made(200, "0", "", framed));
        let failed = "grpc-status: 5\r\ngrpc-message: no %C3%A9\r\n";
        assert_eq!(ask(&[], "", failed), made(503, "5", "no %C3%A9", ""));
        assert_eq!(ask(&[("grpc-status", "7")], "", ""), made(503, "7", "", ""));
        assert_eq!(ask(&[], framed, "").0, 503, "an end without a status is none");
        let up = |body: &str, trailers| told(json!({"upgrade_protobuf_to_grpc": true}), ALONE, &[], body, trailers);
        assert_eq!(up(framed, "grpc-status: 0\r\n"), made(200, "0", "", "ok"));
        assert_eq!(up("\0\0\0", "grpc-status: 0\r\n"), made(503, "13", "the answer is not one message", ""));
    }
}
