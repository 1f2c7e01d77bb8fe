//! Answers of the Admin API, and its error object: the only place that gives errors their numbers and names.

use axum::body::Body;
use axum::http::{header, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{json, Value};

/// Errors that clients tell apart by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// An entity breaks the rules of its fields.
    SchemaViolation,
    /// A list is asked for from a place there is not.
    InvalidOffset,
    /// A page of a size there is not.
    InvalidSize,
    /// A filter that means nothing.
    InvalidOptions,
    /// What this node does not do.
    Unsupported,
    /// A reference by name that leads nowhere.
    ForeignKeysUnresolved,
    /// A declarative configuration has faults.
    DeclarativeConfig,
}

impl Code {
    /// Number, name and status.
    fn row(self) -> (u8, &'static str, StatusCode) {
        match self {
            Code::SchemaViolation => (2, "schema violation", StatusCode::BAD_REQUEST),
            Code::InvalidOffset => (7, "invalid offset", StatusCode::BAD_REQUEST),
            Code::InvalidSize => (9, "invalid size", StatusCode::BAD_REQUEST),
            Code::InvalidOptions => (11, "invalid options", StatusCode::BAD_REQUEST),
            Code::Unsupported => (12, "operation unsupported", StatusCode::METHOD_NOT_ALLOWED),
            Code::ForeignKeysUnresolved => (13, "foreign keys unresolved", StatusCode::BAD_REQUEST),
            Code::DeclarativeConfig => (14, "invalid declarative configuration", StatusCode::BAD_REQUEST),
        }
    }
}

/// Why a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Its body is larger than is taken here.
    TooLarge,
    /// Its body is of a type nobody reads here.
    MediaType,
    /// It says twice of what type its body is.
    TwoMediaTypes,
    /// Its body is no text.
    NotUtf8,
    /// Its body is not the JSON it says it is.
    NotJson,
    /// Its body is not the form it says it is.
    NotForm,
    /// Its form has too many fields.
    TooManyFields,
    /// Its filter by tags means nothing; why.
    Tags(&'static str),
}

impl IntoResponse for Unreadable {
    fn into_response(self) -> Response {
        let bad = |text| message(StatusCode::BAD_REQUEST, text);
        match self {
            Unreadable::TooLarge => message(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"),
            Unreadable::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
            Unreadable::TwoMediaTypes => bad("Multiple Content-Type headers not allowed"),
            Unreadable::NotUtf8 => bad("The body is not UTF-8"),
            Unreadable::NotJson => bad("Cannot parse JSON body"),
            Unreadable::NotForm => bad("Cannot parse the form"),
            Unreadable::TooManyFields => bad("Too many arguments"),
            Unreadable::Tags(why) => {
                let text = format!("invalid option (tags: {why})");
                error(Code::InvalidOptions, &text, &[("options", json!({ "tags": why }))])
            }
        }
    }
}

/// The error object; what more it has is put in as members.
pub(super) fn error(code: Code, message: &str, more: &[(&str, Value)]) -> Response {
    let (number, name, status) = code.row();
    let mut body = json!({ "code": number, "name": name, "message": message });
    for (member, value) in more {
        body[*member] = value.clone();
    }
    as_json(status, &body)
}

/// `{"message": …}`.
pub(super) fn message(status: StatusCode, text: &str) -> Response {
    as_json(status, &json!({ "message": text }))
}

/// There is no such thing, or no such path.
pub(super) fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "Not found")
}

/// The path is there, the method is not. `allow` are its methods, sorted.
pub(super) fn not_allowed(allow: &'static str) -> Response {
    let mut response = message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// A body of JSON.
pub(super) fn as_json(status: StatusCode, body: &Value) -> Response {
    as_text(status, body.to_string())
}

/// A body of JSON that is text already.
pub(super) fn as_text(status: StatusCode, body: String) -> Response {
    let kind = (header::CONTENT_TYPE, "application/json; charset=utf-8");
    (status, [kind], Body::from(body)).into_response()
}
