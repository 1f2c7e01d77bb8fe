//! Lists by pages: `size`, `offset`, and which of the rows a `tags` filter lets through.

use super::answer::{as_text, error, Code, Unreadable};
use crate::base::limits;
use axum::http::StatusCode;
use axum::response::Response;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use serde_json::Value;
use std::borrow::Cow;

/// The arguments of a query.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part after `?`.
    pub(super) fn of(query: Option<&str>) -> Query {
        Query(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value of an argument.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }
}

/// What a `tags` filter asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tags<'q> {
    /// `a,b`, or one.
    All(Vec<&'q str>),
    /// `a/b`.
    Any(Vec<&'q str>),
}

impl<'q> Tags<'q> {
    /// Reads the filter of a query, where it has one.
    ///
    /// # Errors
    /// Where it means nothing.
    pub(super) fn of(query: &'q Query) -> Result<Option<Tags<'q>>, Unreadable> {
        let Some(text) = query.get("tags") else { return Ok(None) };
        let bad = |why| Err(Unreadable::Tags(why));
        if text.is_empty() {
            return bad("cannot be null");
        }
        let (any, all) = (text.contains('/'), text.contains(','));
        let tags: Vec<&str> = text.split(['/', ',']).collect();
        if (any && all) || tags.iter().any(|tag| tag.is_empty()) {
            return bad("invalid filter syntax");
        }
        if tags.len() > limits::ADMIN_TAGS_MAX {
            return bad("cannot query more than 5 tags");
        }
        Ok(Some(if any { Tags::Any(tags) } else { Tags::All(tags) }))
    }

    /// Does it let an entity with these tags through?
    pub(super) fn admits(&self, held: &[Cow<'_, str>]) -> bool {
        let is_held = |tag: &&str| held.iter().any(|held| held == tag);
        match self {
            Tags::All(tags) => tags.iter().all(is_held),
            Tags::Any(tags) => tags.iter().any(is_held),
        }
    }
}

/// Answers with one page of `rows`, which are sorted by their key; only those of the page are shown, as JSON.
///
/// `path` is that of the list; `keep` are arguments of this query that the next one needs, too. An offset is the key of
/// the last row before it, so that a list that changes between two pages repeats and leaves out nothing that stays.
pub(super) fn page<R>(
    rows: Vec<R>,
    key: impl Fn(&R) -> Vec<u8>,
    show: impl Fn(&R) -> String,
    query: &Query,
    path: &str,
    keep: &[&str],
) -> Response {
    let size = match query.get("size").map(str::parse::<f64>) {
        None => limits::ADMIN_PAGE,
        Some(Err(_)) => return error(Code::InvalidSize, "size must be a number", &[]),
        Some(Ok(size)) if size.fract() == 0.0 && (1.0..=limits::ADMIN_PAGE_MAX as f64).contains(&size) => size as usize,
        Some(Ok(_)) => {
            let message = format!("size must be an integer between 1 and {}", limits::ADMIN_PAGE_MAX);
            return error(Code::InvalidSize, &message, &[]);
        }
    };
    let after = match query.get("offset").map(|text| (text, URL_SAFE_NO_PAD.decode(text))) {
        None => Vec::new(),
        // Shorter than any key: it was never given out.
        Some((_, Ok(key))) if key.len() >= 16 => key,
        Some((text, _)) => {
            let message = format!("'{text}' is not a valid offset: bad base64 encoding");
            return error(Code::InvalidOffset, &message, &[]);
        }
    };
    let first = rows.partition_point(|row| !after.is_empty() && key(row) <= after);
    let left = rows.len() - first;
    let shown = &rows[first..first + left.min(size)];
    let mut body = String::from("{\"data\":[");
    for (at, row) in shown.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        body.push_str(&show(row));
    }
    if let (Some(last), true) = (shown.last(), left > size) {
        let offset = URL_SAFE_NO_PAD.encode(key(last));
        let mut next = format!("{path}?offset={offset}");
        for name in keep {
            if let Some(value) = query.get(name) {
                next.push('&');
                next.push_str(&form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish());
            }
        }
        body.push_str(&format!("],\"next\":{},\"offset\":\"{offset}\"}}", Value::from(next)));
    } else {
        body.push_str("],\"next\":null}");
    }
    as_text(StatusCode::OK, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_tags_are_read() {
        let rows = [
            ("tags=a", Ok(Tags::All(vec!["a"]))),
            ("tags=a,b", Ok(Tags::All(vec!["a", "b"]))),
            ("tags=a%2Fb", Ok(Tags::Any(vec!["a", "b"]))),
            ("tags=a,b/c", Err(())),
            ("tags=", Err(())),
            ("tags=a,", Err(())),
            ("tags=a,b,c,d,e,f", Err(())),
        ];
        for (query, want) in rows {
            let query = Query::of(Some(query));
            assert_eq!(Tags::of(&query).map_err(|_| ()), want.map(Some), "{query:?}");
        }
    }
}
