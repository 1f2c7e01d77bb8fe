//! `request-size-limiting`: how large the body of a request may be.
//!
//! A body whose length is declared is judged by that, before a byte of it is read. One in chunks is read first, as long as
//! it is small enough to be held; under a larger limit it is passed on and counted, and cut off where it is too large, so
//! that the size of a limit is never a size of memory.

use crate::base::limits::BODY_KEPT_BYTES_MAX;
use crate::hook::{BodyLimit, Ctx, Descriptor, Env, Hooks, Need, Outcome, Plugin, Reply, Verdict};
use crate::http::framing::{self, Expectation, Length};
use crate::plan::schema::{Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "request-size-limiting",
    priority: 951,
    version: env!("CARGO_PKG_VERSION"),
    about: "Refuses requests whose body is too large.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r"
services:
  - name: payments
    url: http://payments.internal:8080
    routes:
      - name: payments
        paths: [/payments]
    plugins:
      - name: request-size-limiting
        config:
          allowed_payload_size: 64
          size_unit: kilobytes
          require_content_length: true
";

const FIELDS: &[Field] = &[
    Field::with_default("allowed_payload_size", Kind::Integer, "128", "Largest body, in units of `size_unit`."),
    Field::with_default("size_unit", Kind::String, "\"megabytes\"", "The unit: of 1048576, of 1024 bytes or of one.")
        .required()
        .rules(&[Rule::OneOf(&["megabytes", "kilobytes", "bytes"])]),
    Field::with_default(
        "require_content_length",
        Kind::Boolean,
        "false",
        "Refuse requests that declare no length and do not come in chunks.",
    )
    .required(),
];

fn check(config: &Value) -> Vec<(String, String)> {
    // Below nothing there is no size: every request would be refused, those without a body too.
    let negative = config.get("allowed_payload_size").and_then(Value::as_i64).is_some_and(|size| size < 0);
    let fault = || ("allowed_payload_size".to_owned(), "value must be at least 0".to_owned());
    negative.then(fault).into_iter().collect()
}

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let size = config.get("allowed_payload_size").and_then(Value::as_u64).unwrap_or(128);
    let unit: u64 = match config.get("size_unit").and_then(Value::as_str) {
        Some("bytes") => 1,
        Some("kilobytes") => 1 << 10,
        _ => 1 << 20,
    };
    Ok(Arc::new(RequestSizeLimiting {
        bytes_max: size.saturating_mul(unit),
        requires_length: config.get("require_content_length").and_then(Value::as_bool).unwrap_or(false),
    }))
}

struct RequestSizeLimiting {
    bytes_max: u64,
    requires_length: bool,
}

const TOO_LARGE: &str = "Request size limit exceeded";

impl Plugin for RequestSizeLimiting {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        match framing::of_request(cx.head) {
            Ok(Length::Fixed(bytes)) if bytes > self.bytes_max => self.refuse(cx),
            Ok(Length::Fixed(_)) => Verdict::Next,
            Ok(Length::Chunked) => match usize::try_from(self.bytes_max) {
                Ok(bytes_max) if bytes_max <= BODY_KEPT_BYTES_MAX => Verdict::Need(Need::Body { bytes_max }),
                _ => {
                    cx.edits.limit_body(BodyLimit { bytes: self.bytes_max, message: TOO_LARGE });
                    Verdict::Next
                }
            },
            _ if self.requires_length && cx.head.field(crate::http::Known::ContentLength).is_none() => {
                Verdict::Reply(Box::new(Reply::message(411, "A valid Content-Length header is required")))
            }
            _ => Verdict::Next,
        }
    }

    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        match outcome.body() {
            Some(_) => Verdict::Next,
            None => self.refuse(cx),
        }
    }
}

impl RequestSizeLimiting {
    #[cold]
    fn refuse(&self, cx: &Ctx<'_>) -> Verdict {
        let waits = framing::expectation(cx.head) == Expectation::Continue;
        Verdict::Reply(Box::new(Reply::message(if waits { 417 } else { 413 }, TOO_LARGE)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{faults, Rig};
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_decide() {
        let bytes = |n: u64| json!({"allowed_payload_size": n, "size_unit": "bytes"});
        let required = || json!({"require_content_length": true});
        let large = "413 E(Request size limit exceeded)";
        let missing = "411 E(A valid Content-Length header is required)";
        let chunked = "POST /\nTransfer-Encoding: chunked\n\n";
        let rows = [
            (bytes(5), "POST /\nContent-Length: 5".to_owned(), "next"),
            (bytes(5), "POST /\nContent-Length: 6".to_owned(), large),
            (
                bytes(5),
                "POST /\nContent-Length: 6\nExpect: 100-continue".to_owned(),
                "417 E(Request size limit exceeded)",
            ),
            (bytes(5), format!("{chunked}12345"), "next"),
            (bytes(5), format!("{chunked}123456"), large),
            (bytes(0), "GET /".to_owned(), "next"),
            (bytes(0), "POST /\nContent-Length: 0".to_owned(), "next"),
            (bytes(0), format!("{chunked}1"), large),
            (
                json!({"allowed_payload_size": 1, "size_unit": "kilobytes"}),
                "POST /\nContent-Length: 1024".into(),
                "next",
            ),
            (
                json!({"allowed_payload_size": 1, "size_unit": "kilobytes"}),
                "POST /\nContent-Length: 1025".into(),
                large,
            ),
            (json!({"allowed_payload_size": 1}), "POST /\nContent-Length: 1048576".into(), "next"),
            (json!({"allowed_payload_size": 1}), "POST /\nContent-Length: 1048577".into(), large),
            (json!({}), "POST /\nContent-Length: 134217728".into(), "next"),
            (json!({}), "POST /\nContent-Length: 134217729".into(), large),
            (json!({"allowed_payload_size": u64::MAX}), "POST /\nContent-Length: 134217729".into(), "next"),
            (required(), "GET /".to_owned(), missing),
            (required(), "POST /\nContent-Length: 0".to_owned(), "next"),
            (required(), format!("{chunked}1"), "next"),
        ];
        for (config, request, want) in rows {
            assert_eq!(Rig::new(&DESCRIPTOR, config.clone()).ask(&request).said(), want, "{config} {request}");
        }
    }

    #[test]
    fn a_large_limit_holds_nothing_in_memory() {
        let seen = Rig::new(&DESCRIPTOR, json!({})).ask("POST /\nTransfer-Encoding: chunked\n\n1");
        assert!(!seen.asked_body);
        assert_eq!(seen.body_limit(), Some(128 << 20));
        let seen =
            Rig::new(&DESCRIPTOR, json!({"allowed_payload_size": 1})).ask("POST /\nTransfer-Encoding: chunked\n\n1");
        assert!(seen.asked_body && seen.body_limit().is_none());
        assert_eq!(faults(&DESCRIPTOR, json!({"allowed_payload_size": -1})).len(), 1);
    }
}
