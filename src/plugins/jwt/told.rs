//! Claims that the upstream gets as headers.
//!
//! Upstreams believe these headers. So each is either written or taken away, whatever a client sends; and a value that a
//! reader could take for another one is left out rather than mended: with control characters or white space around it, an
//! element of a list with a comma in it, anything longer than [`limits::CLAIM_BYTES_MAX`].
//!
//! What a token says is gathered once and remembered beside it: for each value its length in two bytes and its bytes.

use crate::auth::jwt::Claims;
use crate::base::limits;
use crate::hook::Edits;
use serde_json::Value;
use std::borrow::Cow;

/// Which claim goes into which header.
pub(super) struct Told(Vec<(String, String)>);

/// The length that stands for "no value".
const NONE: u16 = u16::MAX;
const _: () = assert!(limits::CLAIM_BYTES_MAX < NONE as usize, "a value's length has two bytes");

/// Headers that frame a message, say where it goes, or are the gateway's own to write.
const KEPT: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// The faults of what [`Told::of`] reads.
pub(super) fn check(config: &Value) -> Vec<(String, String)> {
    let told = Told::of(config);
    let mut faults = Vec::new();
    for (at, (claim, header)) in told.0.iter().enumerate() {
        let field = || format!("claims_to_headers.{claim}");
        if KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(header)) {
            faults.push((field(), format!("the header '{header}' is not one a claim can be written to")));
        }
        if told.0[..at].iter().any(|(_, other)| other.eq_ignore_ascii_case(header)) {
            faults.push((field(), format!("the header '{header}' gets another claim already")));
        }
    }
    faults
}

impl Told {
    /// `claims_to_headers` of a configuration.
    pub(super) fn of(config: &Value) -> Told {
        let map = config.get("claims_to_headers").and_then(Value::as_object);
        let pairs =
            map.into_iter().flatten().filter_map(|(claim, header)| Some((claim.clone(), header.as_str()?.to_owned())));
        Told(pairs.collect())
    }

    /// Takes the headers away from the request, until something is known of its sender.
    pub(super) fn clear(&self, edits: &mut Edits) {
        for (_, header) in &self.0 {
            edits.remove_request(header);
        }
    }

    /// Adds what `claims` say to `out`.
    pub(super) fn gather(&self, claims: &Claims, out: &mut Vec<u8>) {
        for (claim, _) in &self.0 {
            add(claims.at(claim), out);
        }
    }

    /// Writes what was gathered. Allocates nothing.
    pub(super) fn write(&self, gathered: &[u8], edits: &mut Edits) {
        let mut rest = gathered;
        for (_, header) in &self.0 {
            let value;
            (value, rest) = split(rest);
            if let Some(value) = value {
                edits.set_request(header, value);
            }
        }
    }
}

/// Adds a claim's value, or that there is none, to what is gathered.
pub(super) fn add(claim: Option<&Value>, out: &mut Vec<u8>) {
    match claim.and_then(text).filter(|text| is_plain(text)) {
        Some(text) => {
            out.extend_from_slice(&(text.len() as u16).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        None => out.extend_from_slice(&NONE.to_le_bytes()),
    }
}

/// The first value of what was gathered, and the rest.
pub(super) fn split(gathered: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some((&[low, high], rest)) = gathered.split_first_chunk() else { return (None, b"") };
    match u16::from_le_bytes([low, high]) {
        NONE => (None, rest),
        len => rest.split_at_checked(usize::from(len)).map_or((None, b""), |(value, rest)| (Some(value), rest)),
    }
}

/// A value as text: elements of a list with commas between them, an object as JSON.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) | Value::Object(_) => Some(Cow::Owned(value.to_string())),
        Value::Array(list) => {
            let texts = list.iter().map(|value| scalar(value).filter(|text| is_plain(text) && !text.contains(',')));
            texts.collect::<Option<Vec<_>>>().map(|texts| Cow::Owned(texts.join(",")))
        }
    }
}

/// Does every reader see the same in it?
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::CLAIM_BYTES_MAX
        && text.trim().len() == text.len()
        && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_written_as_it_is_or_not_at_all() {
        let long = "x".repeat(limits::CLAIM_BYTES_MAX);
        let rows = [
            (json!("bob"), Some("bob")),
            (json!("b\u{fc}b"), Some("b\u{fc}b")),
            (json!(7), Some("7")),
            (json!(1.5), Some("1.5")),
            (json!(true), Some("true")),
            (json!(["a", 1, false]), Some("a,1,false")),
            (json!({"a": [1, "\n"]}), Some(r#"{"a":[1,"\n"]}"#)),
            (json!(long), Some(long.as_str())),
            (json!(format!("{long}x")), None),
            (json!(null), None),
            (json!(""), None),
            (json!([]), None),
            (json!("a\r\nX-Admin: 1"), None),
            (json!("a\u{0}b"), None),
            (json!("a\u{7f}"), None),
            (json!("a\u{85}b"), None),
            (json!("admin "), None),
            (json!("\tadmin"), None),
            (json!(["a,admin"]), None),
            (json!(["a", ["b"]]), None),
            (json!(["a", "b\n"]), None),
            (json!(["a", ""]), None),
        ];
        for (value, want) in rows {
            let mut out = Vec::new();
            add(Some(&value), &mut out);
            add(Some(&json!("next")), &mut out);
            let (first, rest) = split(&out);
            assert_eq!(first, want.map(str::as_bytes), "{value}");
            assert_eq!(split(rest), (Some(&b"next"[..]), &b""[..]));
        }
        assert_eq!(split(b""), (None, &b""[..]));
        assert_eq!(split(b"\x09\x00short"), (None, &b""[..]));
    }

    #[test]
    fn headers_that_are_not_a_claims_to_write_are_refused() {
        let faults = |map: Value| {
            let faults = check(&json!({ "claims_to_headers": map }));
            faults.into_iter().map(|(field, message)| format!("{field}: {message}")).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(faults(json!({"sub": "X-User", "realm.roles": "X-Roles"})), "");
        let host = "claims_to_headers.sub: the header 'Host' is not one a claim can be written to";
        assert_eq!(faults(json!({"sub": "Host"})), host);
        let twice = "claims_to_headers.b: the header 'x-a' gets another claim already";
        assert_eq!(faults(json!({"a": "X-A", "b": "x-a"})), twice);
    }
}
