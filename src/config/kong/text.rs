//! The shapes of text in this format: names, hosts, paths, targets, addresses; and the words for what is wrong with one.

use crate::plan::{HostName, HostPattern, PathPattern};
use regex::bytes::RegexBuilder;
use std::net::{IpAddr, Ipv6Addr};

/// A name: no separators, so that it can stand in a URL.
pub(super) fn name(text: &str) -> Result<(), String> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_~".contains(c) || (!c.is_ascii() && !c.is_control())) {
        return Ok(());
    }
    Err(format!("invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"))
}

/// A tag.
pub(super) fn tag(text: &str) -> Result<(), String> {
    if text.chars().all(|c| !c.is_control() && c != ',' && c != '/') {
        return Ok(());
    }
    Err(format!("invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"))
}

/// A UUID in its long form.
pub(super) fn uuid(text: &str) -> Result<(), String> {
    if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() {
        return Ok(());
    }
    Err("expected a valid UUID".to_owned())
}

/// The long form of a UUID, read.
pub(super) fn to_uuid(text: &str) -> Option<uuid::Uuid> {
    uuid(text).ok().and_then(|()| uuid::Uuid::try_parse(text).ok())
}

/// A host, and the port after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    /// Name or address, without brackets.
    pub(super) host: String,
    /// The port, where there is one.
    pub(super) port: Option<u16>,
    /// Is it an address?
    pub(super) is_address: bool,
}

/// Reads `name`, `name:80`, `1.2.3.4:80`, `::1`, `[::1]:80`.
pub(super) fn host_port(text: &str) -> Option<HostPort> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok())?
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(number(port)?),
            None if after.is_empty() => None,
            None => return None,
        };
        return Some(HostPort { host: address.to_string(), port, is_address: true });
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(HostPort { host: address.to_string(), port: None, is_address: true });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(number(port)?)),
        None => (text, None),
    };
    if host.parse::<IpAddr>().is_ok() {
        return Some(HostPort { host: host.to_owned(), port, is_address: true });
    }
    // Digits and dots alone are a mistyped address: 10.0.0.256.
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (is_host_name(host) && !numeric).then(|| HostPort { host: host.to_owned(), port, is_address: false })
}

/// Letters, digits, `-` and `_` in labels of at most 63; a dot may end it.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The host of a service.
pub(super) fn host(text: &str) -> Result<(), String> {
    match host_port(text) {
        None => Err(format!("invalid value: {text}")),
        Some(HostPort { port: Some(_), .. }) => Err("must not have a port".to_owned()),
        Some(_) => Ok(()),
    }
}

/// The name of an upstream.
pub(super) fn upstream_name(text: &str) -> Result<(), String> {
    match host_port(text) {
        None => Err(format!("Invalid name ('{text}'); must be a valid hostname")),
        Some(HostPort { is_address: true, .. }) => Err(format!("Invalid name ('{text}'); no ip addresses allowed")),
        Some(HostPort { port: Some(_), .. }) => Err(format!("Invalid name ('{text}'); no port allowed")),
        Some(_) => Ok(()),
    }
}

/// A target.
pub(super) fn target(text: &str) -> Result<(), String> {
    match host_port(text) {
        Some(HostPort { port: Some(0), .. }) | None => {
            Err(format!("Invalid target ('{text}'); not a valid hostname or ip address"))
        }
        Some(_) => Ok(()),
    }
}

/// A host of a route.
pub(super) fn route_host(text: &str) -> Result<(), String> {
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => text,
    };
    match name.matches('*').count() {
        0 => {}
        1 if name.starts_with("*.") || name.ends_with(".*") => {}
        1 => return Err("invalid wildcard: must be placed at leftmost or rightmost label".to_owned()),
        _ => return Err("invalid wildcard: must have at most one wildcard".to_owned()),
    }
    to_host_pattern(text).map(|_| ())
}

/// A TLS server name of a route.
pub(super) fn sni(text: &str) -> Result<(), String> {
    match to_host_pattern(text)?.port {
        Some(_) => Err("must not have a port".to_owned()),
        None => Ok(()),
    }
}

/// Reads a host of a route; it is compared in lower case.
pub(super) fn to_host_pattern(text: &str) -> Result<HostPattern, String> {
    let text = text.to_ascii_lowercase();
    let whole = |mock: &str| host_port(mock).ok_or_else(|| format!("invalid value: {text}"));
    let Some(star) = text.find('*') else {
        let plain = whole(&text)?;
        return Ok(HostPattern { name: HostName::Exact(plain.host), port: plain.port });
    };
    if text.matches('*').count() > 1 {
        return Err("only one wildcard must be specified".to_owned());
    }
    let mock = whole(&text.replace('*', "w"))?;
    let name = match text.rsplit_once(':') {
        Some((name, _)) if mock.port.is_some() => name,
        _ => &text,
    };
    let name = match (star, name.len()) {
        (0, 1) => HostName::Any,
        (0, _) if name[1..].starts_with('.') => HostName::Suffix(name[1..].to_owned()),
        (_, length) if star + 1 == length && name[..star].ends_with('.') => HostName::Prefix(name[..star].to_owned()),
        _ => return Err("wildcard must be leftmost or rightmost character".to_owned()),
    };
    Ok(HostPattern { name, port: mock.port })
}

/// The path of a service.
pub(super) fn path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("should start with: /".to_owned());
    }
    plain_path(text)
}

fn plain_path(text: &str) -> Result<(), String> {
    if text.contains("//") {
        return Err("must not have empty segments".to_owned());
    }
    // RFC 3986 §2: unreserved, reserved and percent-encoded.
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    if !text.bytes().all(known) {
        return Err(format!("invalid path: '{text}' (characters outside of the reserved list of RFC 3986 found)"));
    }
    percent_encoded(text)
}

/// Is every `%` the start of a triplet?
fn percent_encoded(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('%') {
        let digits = text.get(at + 1..at + 3).is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        if !digits {
            let shown: String = text[at..].chars().take(3).collect();
            return Err(format!("invalid url-encoded value: '{shown}'"));
        }
    }
    Ok(())
}

/// A path of a route: a prefix, or a regular expression after `~`.
pub(super) fn route_path(text: &str) -> Result<(), String> {
    if !text.strip_prefix('~').unwrap_or(text).starts_with('/') {
        return Err("should start with: / (fixed path) or ~/ (regex path)".to_owned());
    }
    if text.contains("//") {
        return Err("must not have empty segments".to_owned());
    }
    if let Some(regex) = text.strip_prefix('~') {
        return self::regex(regex);
    }
    percent_encoded(text)?;
    // Requests are decoded before they are matched, so a prefix may hold what a request must encode: a space, "é".
    let normal = normalised(text);
    if normal != text {
        return Err(format!("non-normalized path, consider use '{normal}' instead"));
    }
    Ok(())
}

/// Reads a checked path of a route.
pub(super) fn to_path_pattern(text: &str) -> PathPattern {
    match text.strip_prefix('~') {
        Some(regex) => PathPattern::Regex(regex.to_owned()),
        None => PathPattern::Prefix(text.to_owned()),
    }
}

/// Does an expression compile? The engine bounds its size (10 MiB); look-around and back-references it does not have.
///
/// Compiling costs twenty times what reading does, and is done again for the table. So it is only done here where the
/// size is in doubt: a short expression grows beyond the bound by counted repetition alone.
pub(super) fn regex(text: &str) -> Result<(), String> {
    const SURELY_SMALL: usize = 256;
    let read = regex_syntax::ParserBuilder::new().utf8(false).build().parse(text);
    let why = match read {
        Ok(_) if !text.contains('{') && text.len() <= SURELY_SMALL => return Ok(()),
        Ok(_) => match RegexBuilder::new(text).build() {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    // The engine draws the expression and marks the place; its last line says what is wrong.
    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Err(format!("invalid regex: '{text}' ({why})"))
}

/// The form in which paths are compared: percent-decoded but for reserved characters, without dot segments and
/// doubled slashes.
pub(super) fn normalised(path: &str) -> String {
    let mut decoded: Vec<u8> = Vec::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let triplet = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match triplet.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(b) if b"!*'();:@&=+$,/?%#[]".contains(&b) => {
                decoded.extend_from_slice(path[at..at + 3].to_ascii_uppercase().as_bytes());
                at += 3;
            }
            Some(b) => {
                decoded.push(b);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    let mut segments: Vec<&str> = Vec::new();
    let all: Vec<&str> = decoded.split('/').skip(1).collect();
    for (ix, segment) in all.iter().enumerate() {
        let last = ix + 1 == all.len();
        match *segment {
            "." | "" if !last => {}
            ".." => {
                segments.pop();
                if last {
                    segments.push("");
                }
            }
            "." => segments.push(""),
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}

/// A path of format 1.1 or 2.1 as 3.0 writes it. What holds more than plain characters was a regular expression there.
pub(super) fn upgraded(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_~/%".contains(&b);
    match (path.starts_with('~'), path.bytes().all(plain)) {
        (true, _) => path.to_owned(),
        (false, false) => format!("~{path}"),
        (false, true) if path.starts_with('/') => normalised(path),
        (false, true) => path.to_owned(),
    }
}

/// What the shorthand `url` of a service stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Scheme, or what the port says.
    pub(super) protocol: String,
    /// Host without brackets.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
    /// Path, query left out.
    pub(super) path: Option<String>,
}

/// Reads `scheme://host[:port][/path]`.
pub(super) fn to_url(text: &str) -> Option<Url> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        // Without slashes there is no host (RFC 3986 §3): `a.test/x` is a path.
        None => (None, text.strip_prefix("//")?),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let target = host_port(authority)?;
    let protocol = match (scheme, target.port) {
        (Some(scheme), _) => scheme,
        (None, Some(443)) => "https".to_owned(),
        (None, _) => "http".to_owned(),
    };
    let port = target.port.unwrap_or(if protocol == "https" { 443 } else { 80 });
    let path = after.split(['?', '#']).next().unwrap_or_default();
    let path = path.starts_with('/').then(|| path.to_owned());
    Some(Url { protocol, host: target.host, port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_of_a_route_is_a_whole_label_at_an_end() {
        let place = "invalid wildcard: must be placed at leftmost or rightmost label";
        let many = "invalid wildcard: must have at most one wildcard";
        let rows = [
            ("a.test", ""),
            ("*.a.test:81", ""),
            ("a.*", ""),
            ("a.*:81", ""),
            ("[::1]:81", ""),
            ("*", place),
            ("*a.test", place),
            ("a.*.test", place),
            ("*.a.*", many),
        ];
        for (text, want) in rows {
            assert_eq!(route_host(text).err().unwrap_or_default(), want, "{text}");
        }
    }

    #[test]
    fn hosts_of_routes_have_four_shapes() {
        let rows: &[(&str, Result<(HostName, Option<u16>), &str>)] = &[
            ("A.test", Ok((HostName::Exact("a.test".into()), None))),
            ("a.test:81", Ok((HostName::Exact("a.test".into()), Some(81)))),
            ("*.a.test", Ok((HostName::Suffix(".a.test".into()), None))),
            ("*.a.test:81", Ok((HostName::Suffix(".a.test".into()), Some(81)))),
            ("a.*", Ok((HostName::Prefix("a.".into()), None))),
            ("a.*:81", Ok((HostName::Prefix("a.".into()), Some(81)))),
            ("*", Ok((HostName::Any, None))),
            ("[::1]:81", Ok((HostName::Exact("::1".into()), Some(81)))),
            ("a.*.test", Err("wildcard must be leftmost or rightmost character")),
            ("*a.test", Err("wildcard must be leftmost or rightmost character")),
            ("*.a.*", Err("only one wildcard must be specified")),
            ("a b", Err("invalid value: a b")),
            ("a.test:99999", Err("invalid value: a.test:99999")),
        ];
        for (text, want) in rows {
            let got = to_host_pattern(text).map(|pattern| (pattern.name, pattern.port));
            assert_eq!(got, want.clone().map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn paths_are_refused_in_the_known_words() {
        let rows = [
            ("/a", ""),
            ("/a/", ""),
            ("/a%2Fb", ""),
            ("~/a/(?<id>\\d+)$", ""),
            ("foo", "should start with: / (fixed path) or ~/ (regex path)"),
            ("~foo", "should start with: / (fixed path) or ~/ (regex path)"),
            ("/a//b", "must not have empty segments"),
            ("/a/../b", "non-normalized path, consider use '/b' instead"),
            ("/%7euser", "non-normalized path, consider use '/~user' instead"),
            ("/a%2fb", "non-normalized path, consider use '/a%2Fb' instead"),
            ("/a%2", "invalid url-encoded value: '%2'"),
            ("/a b|é", ""),
            ("~/a//b", "must not have empty segments"),
            (
                "~/(?:\\w{500}){500}",
                "invalid regex: '/(?:\\w{500}){500}' (Compiled regex exceeds size limit of 10485760 bytes.)",
            ),
            ("~/a(", "invalid regex: '/a(' (unclosed group)"),
            (
                "~/(?=a)",
                "invalid regex: '/(?=a)' (look-around, including look-ahead and look-behind, is not supported)",
            ),
        ];
        for (text, want) in rows {
            assert_eq!(route_path(text).err().unwrap_or_default(), want, "{text}");
        }
    }

    #[test]
    fn old_paths_are_upgraded() {
        let rows = [
            ("/plain-path", "/plain-path"),
            ("/a/../b", "/b"),
            ("/v\\d+", "~/v\\d+"),
            ("/a*", "~/a*"),
            ("~/x", "~/x"),
            ("/%7Euser", "/~user"),
        ];
        for (old, new) in rows {
            assert_eq!(upgraded(old), new, "{old}");
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let rows = [
            ("http://a.test", "http a.test 80 -"),
            ("https://a.test/x?y", "https a.test 443 /x"),
            ("http://a.test:443", "http a.test 443 -"),
            ("grpc://a.test", "grpc a.test 80 -"),
            ("//a.test:443", "https a.test 443 -"),
            ("//a.test:81/x/", "http a.test 81 /x/"),
            ("a.test:81/x/", "none"),
            ("http://[::1]:81/", "http ::1 81 /"),
            ("http://", "none"),
            ("http://a b/", "none"),
        ];
        for (text, want) in rows {
            let got = to_url(text).map_or("none".to_owned(), |url| {
                format!("{} {} {} {}", url.protocol, url.host, url.port, url.path.as_deref().unwrap_or("-"))
            });
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn targets_and_upstream_names_are_told_apart() {
        assert_eq!(upstream_name("u.test"), Ok(()));
        assert_eq!(upstream_name("my_upstream"), Ok(()));
        assert_eq!(upstream_name("1.2.3.4"), Err("Invalid name ('1.2.3.4'); no ip addresses allowed".to_owned()));
        assert_eq!(upstream_name("a:80"), Err("Invalid name ('a:80'); no port allowed".to_owned()));
        assert_eq!(target("1.2.3.4:80"), Ok(()));
        assert_eq!(target("[::1]:80"), Ok(()));
        assert!(target("a b").is_err());
        assert!(target("10.0.0.256").is_err());
        assert_eq!(host("a:80"), Err("must not have a port".to_owned()));
    }
}
