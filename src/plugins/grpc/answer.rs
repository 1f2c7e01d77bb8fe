//! How a call has ended, and its answer as JSON: whole for one message, line by line for a stream of them.

use super::frames::Messages;
use super::message::Mapping;
use crate::hook::{Recode, Stop, Unfit};
use crate::http::{grpc, HeadRef};
use prost_reflect::MessageDescriptor;
use serde_json::json;

/// The status of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugins) struct Status {
    /// One of gRPC's codes; 0 is success.
    pub(in crate::plugins) code: u16,
    /// For people; empty for none.
    pub(in crate::plugins) message: String,
}

impl Status {
    pub(in crate::plugins) fn new(code: u16, message: impl Into<String>) -> Status {
        Status { code, message: message.into() }
    }

    /// That of an answer's head, where it has one: of a call that failed at once, or of what is no answer of gRPC.
    pub(in crate::plugins) fn of_head(reply: HeadRef<'_>) -> Option<Status> {
        if let Some(code) = reply.find(b"grpc-status") {
            return Some(Status::read(code, reply.find(b"grpc-message")));
        }
        let media = reply.find(b"content-type");
        if reply.head.status == 200 && grpc::is_call(media) {
            return None;
        }
        let code = grpc::status_of_foreign(reply.head.status);
        Some(Status::new(code, format!("the service has answered with HTTP status {}", reply.head.status)))
    }

    /// That of the lines of a trailer section.
    pub(in crate::plugins) fn of_trailers(lines: &[u8]) -> Option<Status> {
        let code = grpc::trailer(lines, b"grpc-status")?;
        Some(Status::read(code, grpc::trailer(lines, b"grpc-message")))
    }

    /// Of an answer that ended without one.
    pub(in crate::plugins) fn missing() -> Status {
        Status::new(grpc::INTERNAL, "the answer ended without a status")
    }

    /// Of an answer that broke off.
    pub(in crate::plugins) fn stopped(why: Stop) -> Status {
        match why {
            Stop::Late => Status::new(grpc::DEADLINE_EXCEEDED, "the upstream server is timing out"),
            Stop::Broken => Status::new(grpc::UNAVAILABLE, "the answer broke off"),
        }
    }

    fn read(code: &[u8], message: Option<&[u8]>) -> Status {
        let code = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()).unwrap_or(grpc::UNKNOWN);
        Status { code, message: grpc::decode_message(message.unwrap_or_default()) }
    }

    /// As the body of an answer.
    pub(in crate::plugins) fn json(&self) -> serde_json::Value {
        json!({"code": self.code, "message": self.message})
    }
}

/// How answers of a method are told.
#[derive(Clone, Debug)]
pub(in crate::plugins) struct Form {
    pub(in crate::plugins) kind: MessageDescriptor,
    /// The field that is the answer, where that is not the whole message.
    pub(in crate::plugins) field: Option<String>,
    pub(in crate::plugins) mapping: Mapping,
}

impl Form {
    /// The status of HTTP and the body for a whole answer of one message, which has ended so.
    pub(in crate::plugins) fn whole(&self, body: &[u8], status: &Status) -> (u16, Vec<u8>) {
        if status.code != 0 {
            return (grpc::http_of(status.code), status.json().to_string().into_bytes());
        }
        let (mut messages, mut out) = (Messages::default(), Vec::new());
        let taken = messages.take(body, |message| match out.is_empty() {
            true => self.put(message, &mut out),
            false => Err(Unfit),
        });
        if taken.is_err() || out.is_empty() || messages.is_midway() {
            let status = Status::new(grpc::INTERNAL, "the answer is not one message of its type");
            return (502, status.json().to_string().into_bytes());
        }
        (200, out)
    }

    /// Appends a message as JSON.
    pub(in crate::plugins) fn put(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        self.mapping.json(&self.kind, message, self.field.as_deref(), out)
    }
}

/// An answer of many messages: each is a line of JSON as soon as it is there. A failure after the first is a last line,
/// `{"error": …}`; one before it stands alone, as it would for one message.
#[derive(Debug)]
pub(in crate::plugins) struct Lines {
    form: Form,
    messages: Messages,
    /// What the head said.
    said: Option<Status>,
    any: bool,
}

impl Lines {
    pub(in crate::plugins) fn new(form: Form, said: Option<Status>) -> Lines {
        Lines { form, messages: Messages::default(), said, any: false }
    }

    fn finish(&mut self, status: &Status, out: &mut Vec<u8>) {
        if status.code == 0 {
            return;
        }
        let told = if self.any { json!({"error": status.json()}) } else { status.json() };
        out.extend_from_slice(told.to_string().as_bytes());
        out.push(b'\n');
    }
}

impl Recode for Lines {
    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.said.is_some() {
            return Ok(());
        }
        let Lines { form, messages, any, .. } = self;
        messages.take(data, |message| {
            *any = true;
            form.put(message, out)?;
            out.push(b'\n');
            Ok(())
        })
    }

    fn end(&mut self, trailers: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let status = self.said.take().or_else(|| Status::of_trailers(trailers)).unwrap_or_else(Status::missing);
        self.finish(&status, out);
        if self.messages.is_midway() {
            return Err(Unfit);
        }
        Ok(())
    }

    fn stop(&mut self, why: Stop, out: &mut Vec<u8>) -> bool {
        self.finish(&Status::stopped(why), out);
        true
    }
}
