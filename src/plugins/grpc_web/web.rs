//! A call's answer as gRPC-Web has it: messages as they come, and behind them one that holds the trailers.

use super::text::Encoder;
use crate::hook::{Recode, Stop, Unfit};
use crate::http::grpc;
use crate::http::headers::{self, Known};
use crate::http::parse;
use crate::plugins::grpc::answer::{Form, Status};
use crate::plugins::grpc::frames::{self, Messages};

/// Rewrites one answer.
#[derive(Debug)]
pub(super) struct Web {
    text: Option<Encoder>,
    /// Of messages that become JSON.
    json: Option<(Form, Messages)>,
    /// What the head said; the body is then none of gRPC.
    said: Option<Status>,
    /// Messages on their way into text, reused.
    plain: Vec<u8>,
}

impl Web {
    pub(super) fn new(text: bool, form: Option<Form>, said: Option<Status>) -> Web {
        let json = form.map(|form| (form, Messages::default()));
        Web { text: text.then(Encoder::default), json, said, plain: Vec::new() }
    }

    /// The body of an answer that is nothing but a status.
    pub(super) fn alone(text: bool, status: &Status) -> Vec<u8> {
        let mut out = Vec::new();
        Web::new(text, None, None).last(&lines(status), &mut out);
        out
    }

    /// The message with the trailers.
    fn last(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        match &mut self.text {
            None => frames::put(frames::TRAILERS, lines, out),
            Some(encoder) => {
                encoder.flush(out);
                let mut message = Vec::with_capacity(frames::HEAD_BYTES + lines.len());
                frames::put(frames::TRAILERS, lines, &mut message);
                *encoder = Encoder::default();
                encoder.put(&message, out);
            }
        }
    }
}

impl Recode for Web {
    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.said.is_some() {
            return Ok(());
        }
        let Web { text, json, plain, .. } = self;
        let data = match json {
            None => data,
            Some((form, messages)) => {
                plain.clear();
                messages.take(data, |message| {
                    let mut json = Vec::new();
                    form.put(message, &mut json)?;
                    frames::put(0, &json, plain);
                    Ok(())
                })?;
                &plain[..]
            }
        };
        match text {
            None => out.extend_from_slice(data),
            Some(encoder) => encoder.put(data, out),
        }
        Ok(())
    }

    fn end(&mut self, trailers: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let status = match (self.said.take(), Status::of_trailers(trailers)) {
            (Some(status), _) => lines(&status),
            (None, Some(_)) => copied(trailers),
            (None, None) => lines(&Status::missing()),
        };
        self.last(&status, out);
        Ok(())
    }

    fn stop(&mut self, why: Stop, out: &mut Vec<u8>) -> bool {
        self.last(&lines(&Status::stopped(why)), out);
        true
    }
}

fn lines(status: &Status) -> Vec<u8> {
    format!("grpc-status:{}\r\ngrpc-message:{}\r\n", status.code, grpc::encode_message(&status.message)).into_bytes()
}

/// The lines of a trailer section, their names in lower case, as HTTP/2 has them and readers of this expect.
fn copied(trailers: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(trailers.len());
    for line in trailers.split(|&byte| byte == b'\n') {
        let Ok((name, value)) = parse::field_line(line.strip_suffix(b"\r").unwrap_or(line)) else { continue };
        if headers::is_hop_by_hop(Known::classify(name)) {
            continue;
        }
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        out.push(b':');
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out
}
