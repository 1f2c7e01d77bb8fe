//! Bodies of admin requests: JSON, forms, and for whole configurations any text.

use super::answer::Unreadable;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{header, HeaderMap};
use serde_json::Value;

/// What was in a body.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Value),
    /// A form's fields in order, of either kind of form.
    Form(Vec<(String, String)>),
    /// Any other text.
    Raw(String),
}

/// Reads a body of at most `bytes_max`. Where `any` text is taken, what is no form with fields comes as [`Body::Raw`].
///
/// # Errors
/// Why it cannot be read.
pub(super) async fn read(request: Request, bytes_max: usize, any: bool) -> Result<Body, Unreadable> {
    let kind = kind(request.headers())?;
    if kind == Kind::Multipart {
        return multipart(request, bytes_max).await.map(Body::Form);
    }
    let bytes = to_bytes(request.into_body(), bytes_max).await.map_err(|_| Unreadable::TooLarge)?;
    if bytes.is_empty() {
        return Ok(Body::Empty);
    }
    if !any && matches!(kind, Kind::Other | Kind::None) {
        return Err(Unreadable::MediaType);
    }
    let text = String::from_utf8(bytes.into()).map_err(|_| Unreadable::NotUtf8)?;
    // What a tool sends without being told the type of it has the type of a form as well.
    let is_form = !any || text.starts_with("config=") || text.contains("&config=");
    match kind {
        Kind::Json => serde_json::from_str(&text).map(Body::Json).map_err(|_| Unreadable::NotJson),
        Kind::Form if is_form => Ok(Body::Form(form_urlencoded::parse(text.as_bytes()).into_owned().collect())),
        Kind::Form | Kind::Multipart | Kind::Other | Kind::None => Ok(Body::Raw(text)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Json,
    Form,
    Multipart,
    Other,
}

fn kind(headers: &HeaderMap) -> Result<Kind, Unreadable> {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(first) = all.next() else { return Ok(Kind::None) };
    if all.next().is_some() {
        return Err(Unreadable::TwoMediaTypes);
    }
    let text = first.to_str().unwrap_or_default().to_ascii_lowercase();
    Ok(match text.split(';').next().unwrap_or_default().trim() {
        "application/json" => Kind::Json,
        "application/x-www-form-urlencoded" => Kind::Form,
        "multipart/form-data" => Kind::Multipart,
        _ => Kind::Other,
    })
}

async fn multipart(request: Request, bytes_max: usize) -> Result<Vec<(String, String)>, Unreadable> {
    let bad = |_| Unreadable::NotForm;
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| Unreadable::NotForm)?;
    let (mut pairs, mut left) = (Vec::new(), bytes_max);
    while let Some(mut field) = form.next_field().await.map_err(bad)? {
        let name = field.name().unwrap_or_default().to_owned();
        let mut value = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(bad)? {
            left = left.checked_sub(chunk.len()).ok_or(Unreadable::TooLarge)?;
            value.extend_from_slice(&chunk);
        }
        pairs.push((name, String::from_utf8(value).map_err(|_| Unreadable::NotUtf8)?));
    }
    Ok(pairs)
}
