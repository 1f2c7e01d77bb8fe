//! The path towards the upstream: the service's path, and the request's with or without what the route matched.
//!
//! All paths here are normalised; `http/target.rs` encodes the outcome for the wire. How the parts are joined, and
//! when a slash between them is added or dropped, follows the `v0` rules of the configurations we read; the table in
//! the tests is their definition.

/// Appends the path to ask the upstream for to `out`.
///
/// `base` is the service's path, `None` for `/`; `path` the request's normalised path, which begins with `/`;
/// `matched` the bytes of it that the route's path matched, 0 where the route has no path.
pub fn upstream_path(base: Option<&str>, path: &[u8], matched: usize, strip: bool, out: &mut Vec<u8>) {
    let base = base.unwrap_or("/").as_bytes();
    let (stem, slashed) = match base.strip_suffix(b"/") {
        Some(stem) => (stem, true),
        None => (base, false),
    };
    if !strip {
        // "/" alone adds nothing to a base, so that a service at /srv is asked for /srv and not /srv/.
        let whole = slashed || path != b"/";
        out.extend_from_slice(stem);
        if whole {
            out.extend_from_slice(path);
        }
        return;
    }
    // A route without a path has matched nothing, yet stripping takes the first slash.
    let rest = without_dots(&path[matched.max(1).min(path.len())..]);
    if rest.is_empty() {
        out.extend_from_slice(stem);
        let asked_for_folder = path.ends_with(b"/") && (slashed || path.len() > 1);
        if asked_for_folder || stem.is_empty() {
            out.push(b'/');
        }
        return;
    }
    out.extend_from_slice(stem);
    if rest[0] != b'/' {
        out.push(b'/');
    }
    out.extend_from_slice(rest);
}

/// What `X-Forwarded-Prefix` says: the prefix that was taken off, unless it is `/` or nothing.
pub fn forwarded_prefix(path: &[u8], matched: usize, strip: bool) -> Option<&[u8]> {
    let prefix = path.get(..matched)?;
    (strip && !prefix.is_empty() && prefix != b"/").then_some(prefix)
}

/// Normalisation has resolved every dot segment of the request; cutting `/route` off `/route../x` makes a new one,
/// which must not climb out of the service's path.
fn without_dots(rest: &[u8]) -> &[u8] {
    match rest {
        b"." | b".." => b"",
        _ => rest.strip_prefix(b"./").or_else(|| rest.strip_prefix(b"../")).unwrap_or(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base, path of the route (`-`: it has none), path of the request, upstream path without and with stripping.
    const JOINED: [(&str, &str, &str, &str, &str); 63] = [
        ("/", "/", "/", "/", "/"),
        ("/", "/", "/r", "/r", "/r"),
        ("/", "/", "/r/", "/r/", "/r/"),
        ("/", "/", "/rx", "/rx", "/rx"),
        ("/", "/", "/r/x", "/r/x", "/r/x"),
        ("/", "/r", "/r", "/r", "/"),
        ("/", "/r", "/r/", "/r/", "/"),
        ("/", "/r", "/rx", "/rx", "/x"),
        ("/", "/r", "/r/x", "/r/x", "/x"),
        ("/", "/r/", "/r/", "/r/", "/"),
        ("/", "/r/", "/r/x", "/r/x", "/x"),
        ("/", "-", "/", "/", "/"),
        ("/", "-", "/r", "/r", "/r"),
        ("/", "-", "/r/", "/r/", "/r/"),
        ("/", "-", "/r/x", "/r/x", "/r/x"),
        ("/", "/r", "/r./x", "/r./x", "/x"),
        ("/", "/r", "/r../x", "/r../x", "/x"),
        ("/", "/r", "/r.", "/r.", "/"),
        ("/", "/r", "/r..", "/r..", "/"),
        ("/", "/r", "/r../", "/r../", "/"),
        ("/", "/r", "/r.x", "/r.x", "/.x"),
        ("/s", "/", "/", "/s", "/s"),
        ("/s", "/", "/r", "/s/r", "/s/r"),
        ("/s", "/", "/r/", "/s/r/", "/s/r/"),
        ("/s", "/", "/rx", "/s/rx", "/s/rx"),
        ("/s", "/", "/r/x", "/s/r/x", "/s/r/x"),
        ("/s", "/r", "/r", "/s/r", "/s"),
        ("/s", "/r", "/r/", "/s/r/", "/s/"),
        ("/s", "/r", "/rx", "/s/rx", "/s/x"),
        ("/s", "/r", "/r/x", "/s/r/x", "/s/x"),
        ("/s", "/r/", "/r/", "/s/r/", "/s/"),
        ("/s", "/r/", "/r/x", "/s/r/x", "/s/x"),
        ("/s", "-", "/", "/s", "/s"),
        ("/s", "-", "/r", "/s/r", "/s/r"),
        ("/s", "-", "/r/", "/s/r/", "/s/r/"),
        ("/s", "-", "/r/x", "/s/r/x", "/s/r/x"),
        ("/s", "/r", "/r./x", "/s/r./x", "/s/x"),
        ("/s", "/r", "/r../x", "/s/r../x", "/s/x"),
        ("/s", "/r", "/r.", "/s/r.", "/s"),
        ("/s", "/r", "/r..", "/s/r..", "/s"),
        ("/s", "/r", "/r../", "/s/r../", "/s/"),
        ("/s", "/r", "/r.x", "/s/r.x", "/s/.x"),
        ("/s/", "/", "/", "/s/", "/s/"),
        ("/s/", "/", "/r", "/s/r", "/s/r"),
        ("/s/", "/", "/r/", "/s/r/", "/s/r/"),
        ("/s/", "/", "/rx", "/s/rx", "/s/rx"),
        ("/s/", "/", "/r/x", "/s/r/x", "/s/r/x"),
        ("/s/", "/r", "/r", "/s/r", "/s"),
        ("/s/", "/r", "/r/", "/s/r/", "/s/"),
        ("/s/", "/r", "/rx", "/s/rx", "/s/x"),
        ("/s/", "/r", "/r/x", "/s/r/x", "/s/x"),
        ("/s/", "/r/", "/r/", "/s/r/", "/s/"),
        ("/s/", "/r/", "/r/x", "/s/r/x", "/s/x"),
        ("/s/", "-", "/", "/s/", "/s/"),
        ("/s/", "-", "/r", "/s/r", "/s/r"),
        ("/s/", "-", "/r/", "/s/r/", "/s/r/"),
        ("/s/", "-", "/r/x", "/s/r/x", "/s/r/x"),
        ("/s/", "/r", "/r./x", "/s/r./x", "/s/x"),
        ("/s/", "/r", "/r../x", "/s/r../x", "/s/x"),
        ("/s/", "/r", "/r.", "/s/r.", "/s"),
        ("/s/", "/r", "/r..", "/s/r..", "/s"),
        ("/s/", "/r", "/r../", "/s/r../", "/s/"),
        ("/s/", "/r", "/r.x", "/s/r.x", "/s/.x"),
    ];

    fn joined(base: Option<&str>, path: &str, matched: usize, strip: bool) -> String {
        let mut out = b">".to_vec();
        upstream_path(base, path.as_bytes(), matched, strip, &mut out);
        assert_eq!(out.remove(0), b'>', "it appends");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn base_and_request_are_joined_by_one_slash_and_never_climb() {
        for (base, route, request, kept, stripped) in JOINED {
            let matched = if route == "-" { 0 } else { route.len() };
            assert!(route == "-" || request.starts_with(route), "a row that cannot happen: {route} {request}");
            assert_eq!(joined(Some(base), request, matched, false), kept, "{base} + {request}, kept");
            assert_eq!(joined(Some(base), request, matched, true), stripped, "{base} + {request} - {route}");
            if base == "/" {
                assert_eq!(joined(None, request, matched, false), kept);
                assert_eq!(joined(None, request, matched, true), stripped);
            }
            // A deeper base behaves as a shallow one.
            let deep = |text: &str| text.replacen("/s", "/s/t", 1);
            if base != "/" {
                assert_eq!(joined(Some(&deep(base)), request, matched, false), deep(kept));
                assert_eq!(joined(Some(&deep(base)), request, matched, true), deep(stripped));
            }
        }
    }

    /// The same rules in other words: rows of the acceptance cases, group C, that the table above has not.
    #[test]
    fn acceptance_rows() {
        let rows: [(&str, usize, Option<bool>, &str, &str); 16] = [
            ("/", 1, None, "/", "/"),
            ("/", 6, Some(false), "/route/", "/route/"),
            ("/", 6, Some(true), "/route/", "/"),
            ("/", 7, Some(true), "/route/req", "/req"),
            ("/srv", 4, Some(true), "/roureq", "/srv/req"),
            ("/srv/", 4, Some(false), "/rou", "/srv/rou"),
            ("/service", 1, None, "/route/", "/service/route/"),
            ("/service", 6, Some(true), "/route/", "/service/"),
            ("/service", 7, Some(true), "/route/", "/service/"),
            ("/service/", 1, None, "/", "/service/"),
            ("/service/", 6, Some(true), "/route", "/service"),
            ("/service/", 6, Some(true), "/routereq", "/service/req"),
            ("/service", 0, None, "/", "/service"),
            ("/service", 6, Some(true), "/route./req", "/service/req"),
            ("/service", 6, Some(true), "/route../req", "/service/req"),
            ("/service", 6, Some(false), "/route./req", "/service/route./req"),
        ];
        for (base, matched, strip, request, want) in rows {
            for strip in strip.map_or(vec![false, true], |strip| vec![strip]) {
                assert_eq!(joined(Some(base), request, matched, strip), want, "{base} + {request}, strip {strip}");
            }
        }
    }

    #[test]
    fn the_whole_match_of_an_expression_is_stripped() {
        // ~/user/\d+ on /user/42/posts matched 8 bytes.
        assert_eq!(joined(Some("/api"), "/user/42/posts", 8, true), "/api/posts");
        assert_eq!(joined(Some("/api"), "/user/42/posts", 8, false), "/api/user/42/posts");
        assert_eq!(joined(None, "/user/42", 8, true), "/");
    }

    #[test]
    fn the_prefix_is_told_when_something_was_stripped() {
        let rows: [(&str, usize, bool, Option<&str>); 6] = [
            ("/a/b", 2, true, Some("/a")),
            ("/a/b", 4, true, Some("/a/b")),
            ("/a/b", 2, false, None),
            ("/a/b", 1, true, None),
            ("/a/b", 0, true, None),
            ("/a/", 3, true, Some("/a/")),
        ];
        for (path, matched, strip, want) in rows {
            assert_eq!(forwarded_prefix(path.as_bytes(), matched, strip), want.map(str::as_bytes), "{path} {matched}");
        }
    }
}
