//! The media types of gRPC-Web's calls.

/// How a call comes, and how its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Media<'a> {
    /// As it was sent, without parameters; the answer has the same.
    pub(super) name: &'a str,
    /// In base64?
    pub(super) text: bool,
    /// Are messages framed, with the trailers behind them?
    pub(super) framed: bool,
    pub(super) content: Content,
}

/// What messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Proto,
    Json,
}

impl<'a> Media<'a> {
    /// That of a Content-Type; `None` where it is another's.
    pub(super) fn of(value: &'a [u8]) -> Option<Media<'a>> {
        let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
        let name = std::str::from_utf8(value[..end].trim_ascii()).ok()?;
        if name.eq_ignore_ascii_case("application/json") {
            return Some(Media { name, text: false, framed: false, content: Content::Json });
        }
        let (base, suffix) = name.split_once('+').unwrap_or((name, "proto"));
        let is = |text: &str| base.eq_ignore_ascii_case(text);
        let text = is("application/grpc-web-text");
        if !text && !is("application/grpc-web") {
            return None;
        }
        let content = match suffix {
            "json" => Content::Json,
            "proto" => Content::Proto,
            _ => return None,
        };
        Some(Media { name, text, framed: true, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_call_has_its_media_type() {
        let rows = [
            ("application/grpc-web", Some((false, true, Content::Proto))),
            ("application/grpc-web+proto; charset=utf-8", Some((false, true, Content::Proto))),
            ("application/grpc-web-text", Some((true, true, Content::Proto))),
            ("Application/Grpc-Web-Text+proto", Some((true, true, Content::Proto))),
            ("application/grpc-web+json", Some((false, true, Content::Json))),
            ("application/grpc-web-text+json", Some((true, true, Content::Json))),
            ("application/json", Some((false, false, Content::Json))),
            ("application/grpc-web+thrift", None),
            ("application/grpc", None),
            ("application/grpc-website", None),
            ("text/plain", None),
        ];
        for (value, want) in rows {
            let got = Media::of(value.as_bytes()).map(|media| (media.text, media.framed, media.content));
            assert_eq!(got, want, "{value}");
        }
    }
}
