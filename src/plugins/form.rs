//! The fields of a body: of an urlencoded form, of a JSON object, of `multipart/form-data` (RFC 7578). Reads those of one
//! name, and takes those of some names out.
//!
//! Not here: files. Whoever looks for a field has the whole body, so bodies are small where this is used.

use super::args;
use crate::http::headers::Known;
use crate::http::{query, HeadRef};
use serde_json::Value;
use std::borrow::Cow;

/// How a body holds its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
    /// `application/json`; fields are members of the outermost object.
    Json,
    /// `multipart/form-data` with this boundary.
    Multipart(&'a [u8]),
}

/// What stands under one name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held<'a> {
    /// No field of this name.
    Nothing,
    /// One, with this value.
    One(Cow<'a, [u8]>),
    /// More than one, or a list.
    Several,
}

impl<'a> Held<'a> {
    /// Of these values.
    pub(super) fn of(mut found: impl Iterator<Item = Cow<'a, [u8]>>) -> Held<'a> {
        match (found.next(), found.next()) {
            (None, _) => Held::Nothing,
            (Some(one), None) => Held::One(one),
            (Some(_), Some(_)) => Held::Several,
        }
    }
}

impl<'a> Form<'a> {
    /// By the `Content-Type` of a head; `None` where the body is no form.
    pub(super) fn of(head: HeadRef<'a>) -> Option<Form<'a>> {
        let field = head.field(Known::ContentType)?;
        let mut pieces = field.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let media = pieces.next()?;
        if media.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Some(Form::Urlencoded);
        }
        if media.eq_ignore_ascii_case(b"application/json") {
            return Some(Form::Json);
        }
        if !media.eq_ignore_ascii_case(b"multipart/form-data") {
            return None;
        }
        boundary(field).map(Form::Multipart)
    }

    /// The field of this name. A JSON member counts where it is text.
    pub(super) fn find<'b>(self, body: &'b [u8], name: &str) -> Held<'b> {
        match self {
            Form::Urlencoded => in_arguments(body, name),
            Form::Json => {
                let mut json = serde_json::from_slice::<Value>(body).ok();
                match json.as_mut().and_then(|json| json.get_mut(name)).map(Value::take) {
                    Some(Value::String(text)) => Held::One(Cow::Owned(text.into_bytes())),
                    Some(Value::Array(_)) => Held::Several,
                    _ => Held::Nothing,
                }
            }
            Form::Multipart(boundary) => {
                let named = parts(body, boundary).filter(|part| part.name == name.as_bytes());
                Held::of(named.map(|part| Cow::Borrowed(part.value)))
            }
        }
    }

    /// The body without the fields of these names; `None` where it has none of them. What else it holds stays as it is
    /// (JSON: by value, in the same order).
    pub(super) fn without(self, body: &[u8], names: &[String]) -> Option<Vec<u8>> {
        let gone = |name: &[u8]| names.iter().any(|held| held.as_bytes() == name);
        let (mut out, mut scratch) = (Vec::with_capacity(body.len()), Vec::new());
        let changed = match self {
            Form::Urlencoded => query::remove(body, gone, &mut scratch, &mut out),
            Form::Json => {
                let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else { return None };
                let before = members.len();
                members.retain(|name, _| !gone(name.as_bytes()));
                let fewer = members.len() < before;
                out = Value::Object(members).to_string().into_bytes();
                fewer
            }
            Form::Multipart(boundary) => {
                let mut kept = 0;
                for part in parts(body, boundary).filter(|part| gone(part.name)) {
                    out.extend_from_slice(&body[kept..part.from]);
                    kept = part.to;
                }
                out.extend_from_slice(&body[kept..]);
                kept > 0
            }
        };
        changed.then_some(out)
    }
}

/// The boundary that a Content-Type names.
pub(super) fn boundary(media: &[u8]) -> Option<&[u8]> {
    let mut pieces = media.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    pieces.find_map(|piece| parameter(piece, b"boundary")).filter(|boundary| !boundary.is_empty())
}

/// The argument of this name, decoded. One without `=` holds nothing.
pub(super) fn in_arguments<'a>(arguments: &'a [u8], name: &str) -> Held<'a> {
    let named = query::args(arguments).filter(|arg| args::decoded(arg.name) == name.as_bytes());
    Held::of(named.filter_map(|arg| arg.value).map(args::decoded))
}

/// A part of a multipart body.
pub(super) struct Part<'a> {
    /// Where its delimiter begins.
    pub(super) from: usize,
    /// Where the next delimiter begins.
    pub(super) to: usize,
    pub(super) name: &'a [u8],
    value: &'a [u8],
}

/// The named parts of a body. A part whose end is missing is none.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = Part<'a>> + use<'a> {
    // RFC 2046 §5.1.1: the delimiter stands at the beginning of a line, and the line break before it belongs to it.
    let delimiter = [b"--", boundary].concat();
    let length = delimiter.len();
    let is_line = move |&at: &usize| {
        let after = &body[at + length..];
        // A longer word that begins like the delimiter is not it.
        let ends = after.starts_with(b"--") || after.first().is_some_and(u8::is_ascii_whitespace);
        ends && (at == 0 || body[..at].ends_with(b"\r\n"))
    };
    let starts: Vec<usize> = memchr::memmem::find_iter(body, &delimiter).filter(is_line).collect();
    (1..starts.len()).filter_map(move |next| {
        let (from, to) = (starts[next - 1], starts[next]);
        let inner = body[from..to].strip_suffix(b"\r\n")?;
        let fields = memchr::memmem::find(inner, b"\r\n")? + 2;
        let end = memchr::memmem::find(&inner[fields - 2..], b"\r\n\r\n")? + fields - 2;
        let lines = inner.get(fields..end)?.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let name = lines.filter_map(disposition).next()?;
        Some(Part { from, to, name, value: &inner[end + 4..] })
    })
}

/// The name that a `Content-Disposition` line gives its part.
fn disposition(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', line)?;
    if !line[..colon].eq_ignore_ascii_case(b"content-disposition") {
        return None;
    }
    line[colon + 1..].split(|&byte| byte == b';').skip(1).find_map(|piece| parameter(piece.trim_ascii(), b"name"))
}

/// The value of `name=value` or `name="value"`.
fn parameter<'a>(piece: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (held, value) = piece.split_at_checked(name.len())?;
    let value = value.strip_prefix(b"=").filter(|_| held.eq_ignore_ascii_case(name))?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
        --B\r\ncontent-disposition: form-data; filename=\"x\"; name=b\r\nContent-Type: text/plain\r\n\r\n--B2\r\n\r\n--B--\r\n";

    #[test]
    fn fields_are_found_and_taken_out() {
        let names = ["a".to_owned(), "z".to_owned()];
        let rows: &[(Form<'_>, &str, &str, &str)] = &[
            (Form::Urlencoded, "x=1&a=%31&b", "1", "x=1&b"),
            (Form::Urlencoded, "x=1", "-", "-"),
            (Form::Urlencoded, "a=1&a=2", "several", ""),
            (Form::Json, r#"{"z":1,"a":"1","b":[2]}"#, "1", r#"{"b":[2]}"#),
            (Form::Json, r#"{"a":["1"]}"#, "several", "{}"),
            (Form::Json, r#"{"b":1}"#, "-", "-"),
            (Form::Json, "[1]", "-", "-"),
            (Form::Json, "{", "-", "-"),
            (
                Form::Multipart(b"B"),
                TWO,
                "1",
                "--B\r\ncontent-disposition: form-data; filename=\"x\"; name=b\r\nContent-Type: text/plain\r\n\r\n--B2\r\n\r\n--B--\r\n",
            ),
            (Form::Multipart(b"C"), TWO, "-", "-"),
            (Form::Multipart(b"B"), "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n1", "-", "-"),
            (Form::Multipart(b"B"), "--B\r\n--B\r\n\r\n--B--", "-", "-"),
        ];
        for (form, body, value, left) in rows {
            let found = match form.find(body.as_bytes(), "a") {
                Held::Nothing => "-".to_owned(),
                Held::One(value) => String::from_utf8_lossy(&value).into_owned(),
                Held::Several => "several".to_owned(),
            };
            assert_eq!(found, *value, "{form:?} {body}");
            let without = form.without(body.as_bytes(), &names).map(|body| String::from_utf8(body).unwrap());
            assert_eq!(without.as_deref().unwrap_or("-"), *left, "{form:?} {body}");
        }
    }
}
