//! Media types as this plugin compares them: type and subtype, where `*` stands for any, and the parameters.

/// `type/subtype; name=value`, in lower case but for values other than that of `charset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    kind: String,
    subtype: String,
    /// Sorted by name.
    params: Vec<(String, String)>,
}

impl Media {
    /// `None` where it is no media type.
    pub(super) fn of(text: &str) -> Option<Media> {
        let mut pieces = text.split(';');
        let (kind, subtype) = pieces.next()?.trim().split_once('/')?;
        let is_token = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&b))
        };
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut params = Vec::new();
        for piece in pieces.map(str::trim).filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=')?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            // RFC 9110 §8.3.2: the names of character sets are the same in any case.
            let value = if name == "charset" { value.to_ascii_lowercase() } else { value.to_owned() };
            params.push((name, value));
        }
        params.sort();
        Some(Media { kind: kind.to_ascii_lowercase(), subtype: subtype.to_ascii_lowercase(), params })
    }

    /// Does `self`, which was configured, allow `sent`? With `strict`, the parameters must be the same too.
    pub(super) fn allows(&self, sent: &Media, strict: bool) -> bool {
        let part = |own: &str, sent: &str| own == "*" || own == sent;
        part(&self.kind, &sent.kind) && part(&self.subtype, &sent.subtype) && (!strict || self.params == sent.params)
    }

    /// Is it one of JSON (RFC 6839 §3.1)?
    pub(super) fn is_json(&self) -> bool {
        self.subtype == "json" || self.subtype.ends_with("+json")
    }
}

/// The rule of a configured one.
pub(super) fn is_media(text: &str) -> Result<(), String> {
    Media::of(text).map(|_| ()).ok_or_else(|| format!("invalid value: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_with_their_parameters() {
        let rows = [
            ("application/json", "Application/JSON", true, true),
            ("application/json", "application/json; charset=utf-8", true, false),
            ("application/json", "application/json; charset=utf-8", false, true),
            ("application/json; charset=UTF-8", "application/json;charset=\"utf-8\"", true, true),
            ("application/json; charset=utf-8", "application/json", true, false),
            ("application/*", "application/problem+json", true, true),
            ("*/*", "text/xml", true, true),
            ("text/*", "application/json", true, false),
            ("a/b; x=1; y=2", "a/b; Y=2; x=1", true, true),
            ("a/b; x=A", "a/b; x=a", true, false),
        ];
        for (own, sent, strict, want) in rows {
            assert_eq!(Media::of(own).unwrap().allows(&Media::of(sent).unwrap(), strict), want, "{own} {sent}");
        }
        for text in ["", "json", "a/", "/b", "a/b;x", "a b/c"] {
            assert!(Media::of(text).is_none(), "{text}");
        }
        assert!(Media::of("application/vnd.a+json; v=1").unwrap().is_json());
        assert!(!Media::of("application/jsonp").unwrap().is_json());
    }
}
