//! The request-target: which of the four forms it has, and the path that routes are matched against (RFC 9112 §3.2).
//!
//! [`Target::of`] splits and checks; [`normalize`] gives the one form that matching, stripping and the upstream's path all
//! start from; [`encode_path`] writes that form for the wire. Not here: which route it is, and what the upstream's path
//! becomes.

use super::head::{HeadRef, Method, Part};
use super::{authority, Fault};

/// The four forms of RFC 9112 §3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// A checked request-target: parts of the buffer its head was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which form it has. `OPTIONS http://host` counts as `Asterisk` (RFC 9112 §3.2.4), with an authority.
    pub form: Form,
    /// The authority of an absolute or authority form: it replaces Host (RFC 9112 §3.2.2). See `framing::host_of`.
    pub authority: Option<Part>,
    /// The path as written, percent-encoding and all. Empty for `http://host` and the forms without a path.
    pub path: Part,
    /// The query without its `?`. `Some` of nothing for a bare trailing `?`, which is preserved.
    pub query: Option<Part>,
}

impl Target {
    /// Splits and checks the target of a parsed request.
    ///
    /// A fragment is cut off and goes nowhere: it is no part of the target URI (RFC 9110 §7.1 "excluding any fragment"),
    /// yet some clients send it. Bytes above 0x7f must be UTF-8: an IRI that its sender forgot to encode; we encode it.
    ///
    /// # Errors
    /// [`Fault::TargetForm`] when the form does not fit the method, and what its parts are refused for: see [`Fault`].
    /// A path must be percent-encoded soundly: `%zz` and `%0` mean different things to different origins, and `%00` ends
    /// a path for some.
    pub fn of(head: HeadRef<'_>) -> Result<Target, Fault> {
        let part = head.head.target_part;
        let raw = part.of(head.buf);
        let method = head.head.method;
        let none = Part { at: part.at, len: 0 };
        if method == Method::Connect {
            let checked = authority::read(raw).ok_or(Fault::TargetAuthority)?;
            // RFC 9112 §3.2.3: "a client MUST send only the host and port number of the tunnel destination".
            if checked.port.is_none() {
                return Err(Fault::TargetAuthority);
            }
            return Ok(Target { form: Form::Authority, authority: Some(part), path: none, query: None });
        }
        match raw {
            [b'/', ..] => {
                let (path, query) = split(raw, part.at as usize)?;
                Ok(Target { form: Form::Origin, authority: None, path, query })
            }
            b"*" if method == Method::Options => {
                Ok(Target { form: Form::Asterisk, authority: None, path: none, query: None })
            }
            _ => absolute(raw, part, method),
        }
    }

    /// The path as written; `/` for an absolute form without one, `*` for the asterisk.
    pub fn path<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        match self.form {
            Form::Asterisk => b"*",
            Form::Authority => b"",
            Form::Origin | Form::Absolute if self.path.len == 0 => b"/",
            Form::Origin | Form::Absolute => self.path.of(buf),
        }
    }

    /// The query without its `?`.
    pub fn query<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.query.map(|query| query.of(buf))
    }

    /// The query with its `?`, to be put behind a path as it is; empty when there is none.
    pub fn query_marked<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        self.query.map_or(&[], |query| &buf[query.at as usize - 1..query.end()])
    }
}

fn absolute(raw: &[u8], part: Part, method: Method) -> Result<Target, Fault> {
    let Some(colon) = raw.iter().position(|&byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(&byte)) else {
        return Err(Fault::TargetForm);
    };
    let (scheme, rest) = raw.split_at(colon);
    let Some(rest) = rest.strip_prefix(b"://") else { return Err(Fault::TargetForm) };
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Fault::TargetScheme);
    }
    let len = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    authority::read(&rest[..len]).ok_or(Fault::TargetAuthority)?;
    let start = part.at as usize + colon + 3;
    let authority = Some(Part::new(start, start + len));
    let (path, query) = split(&rest[len..], start + len)?;
    // RFC 9112 §3.2.4: OPTIONS with "an absolute-form of request-target in which the URI has an empty path and no query
    // component" means `*` to the last proxy on the way.
    let whole_server = method == Method::Options && path.len == 0 && query.is_none();
    let form = if whole_server { Form::Asterisk } else { Form::Absolute };
    Ok(Target { form, authority, path, query })
}

/// Path and query of `raw`, whose first byte is at `at` in the buffer. `raw` is empty or begins with one of `/?#`.
fn split(raw: &[u8], at: usize) -> Result<(Part, Option<Part>), Fault> {
    if !raw.is_ascii() && std::str::from_utf8(raw).is_err() {
        return Err(Fault::TargetEncoding);
    }
    let whole = &raw[..memchr::memchr(b'#', raw).unwrap_or(raw.len())];
    let mark = memchr::memchr(b'?', whole);
    let path = &whole[..mark.unwrap_or(whole.len())];
    let mut rest = path;
    while let Some(percent) = memchr::memchr(b'%', rest) {
        match triplet(&rest[percent..]) {
            None | Some(0) => return Err(Fault::TargetEncoding),
            Some(_) => rest = &rest[percent + 3..],
        }
    }
    Ok((Part::new(at, at + path.len()), mark.map(|mark| Part::new(at + mark + 1, at + whole.len()))))
}

/// Whether a path was in normal form already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normal {
    /// It was: use it as it is; `out` was not touched.
    Already,
    /// It was not: `out` holds the normal form, and nothing else.
    Rewritten,
}

/// The normal form of a path: percent-encoding undone except for reserved characters and control bytes, the triplets
/// that stay in upper case, dot segments removed (RFC 3986 §5.2.4), then `//` merged.
///
/// `path` begins with `/`. Control bytes stay encoded so that the form can be logged, compared and passed to a header
/// without care; the wire sees the same either way, since [`encode_path`] would encode them again. A `%` that does not
/// begin a triplet stays as it is ([`Target::of`] refuses those of clients; configuration may hold them).
/// Normal already: one pass, nothing copied. Otherwise O(n) into `out`, which is cleared first.
pub fn normalize(path: &[u8], out: &mut Vec<u8>) -> Normal {
    if is_normal(path) {
        return Normal::Already;
    }
    out.clear();
    out.push(b'/');
    let mut empties = false;
    let mut segments = path.strip_prefix(b"/").unwrap_or(path).split(|&byte| byte == b'/').peekable();
    // `out` ends with the slash that begins the next segment, whenever the loop comes round.
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let start = out.len();
        decode(segment, out);
        match &out[start..] {
            b"." => out.truncate(start),
            b".." => {
                out.truncate(start);
                let before = out[..start - 1].iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                out.truncate(before + 1);
            }
            written => {
                empties |= written.is_empty();
                if !last {
                    out.push(b'/');
                }
            }
        }
    }
    if empties {
        // RFC 3986 removes dot segments while empty segments still count as segments; merging comes after.
        out.dedup_by(|next, before| *next == b'/' && *before == b'/');
    }
    Normal::Rewritten
}

fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    for (i, &byte) in path.iter().enumerate() {
        if byte == b'%' || (byte == b'/' && before == b'/') {
            return false;
        }
        if byte == b'.' && before == b'/' && matches!(&path[i + 1..], [] | [b'/', ..] | [b'.'] | [b'.', b'/', ..]) {
            return false;
        }
        before = byte;
    }
    path.first() == Some(&b'/')
}

/// Appends `segment` with every triplet decoded that may be, and the others in upper case.
fn decode(segment: &[u8], out: &mut Vec<u8>) {
    let mut rest = segment;
    while let Some(percent) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..percent]);
        rest = &rest[percent..];
        let Some(byte) = triplet(rest) else {
            out.push(b'%');
            rest = &rest[1..];
            continue;
        };
        if stays_encoded(byte) {
            push_triplet(byte, out);
        } else {
            out.push(byte);
        }
        rest = &rest[3..];
    }
    out.extend_from_slice(rest);
}

/// The byte that a triplet at the start of `rest` stands for.
pub fn triplet(rest: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = rest else { return None };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    Some((high * 16 + low) as u8)
}

pub(super) fn push_triplet(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

fn stays_encoded(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f || b"!*'();:@&=+$,/?%#[]".contains(&byte)
}

/// Appends a normalised path for the wire: every byte that may not stand in a path is percent-encoded.
///
/// With [`normalize`] before it this is the identity on sound paths, up to equivalence: `/a%7cb` → `/a|b` → `/a%7Cb`.
pub fn encode_path(path: &[u8], out: &mut Vec<u8>) {
    encode_by(path, out, PATH);
}

/// Whether [`encode_path`] would change nothing.
pub fn is_encoded_path(path: &[u8]) -> bool {
    path.iter().all(|&byte| PASSES[usize::from(byte)] & PATH != 0)
}

/// Appends a query for the wire: as it is, except that bytes above 0x7f and controls are percent-encoded.
pub fn encode_query(query: &[u8], out: &mut Vec<u8>) {
    encode_by(query, out, QUERY);
}

const PATH: u8 = 1;
const QUERY: u8 = 2;

/// Where a byte may stand as it is.
static PASSES: [u8; 256] = {
    let (marks, mut table, mut byte) = (b"!#$&'()*+,/:;=?@[]-_.~%", [0; 256], 0x21u8);
    while byte < 0x7f {
        table[byte as usize] = if byte.is_ascii_alphanumeric() { PATH | QUERY } else { QUERY };
        byte += 1;
    }
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] |= PATH;
        i += 1;
    }
    table
};

#[inline(always)]
fn encode_by(bytes: &[u8], out: &mut Vec<u8>, place: u8) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| PASSES[usize::from(byte)] & place == 0) {
        out.extend_from_slice(&rest[..at]);
        push_triplet(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Head;
    use proptest::prelude::*;

    fn read(method: &str, raw: &str) -> Result<Target, Fault> {
        let mut head = Head::new();
        head.method = Method::classify(method.as_bytes());
        head.target_part = Part::new(2, 2 + raw.len());
        Target::of(head.on(format!("__{raw}").as_bytes()))
    }

    #[test]
    fn a_target_has_one_of_four_forms() {
        type Row =
            (&'static str, &'static str, Result<(Form, Option<&'static str>, &'static str, &'static str), Fault>);
        let rows: &[Row] = &[
            ("GET", "/", Ok((Form::Origin, None, "/", ""))),
            ("GET", "/a/b?c=d", Ok((Form::Origin, None, "/a/b", "?c=d"))),
            ("GET", "/a?", Ok((Form::Origin, None, "/a", "?"))),
            ("GET", "/a?b?c", Ok((Form::Origin, None, "/a", "?b?c"))),
            ("GET", "/a#f?x", Ok((Form::Origin, None, "/a", ""))),
            ("GET", "/a?q#f", Ok((Form::Origin, None, "/a", "?q"))),
            ("GET", "//double", Ok((Form::Origin, None, "//double", ""))),
            ("GET", "/\u{e0}%20k", Ok((Form::Origin, None, "/\u{e0}%20k", ""))),
            ("GET", "http://a.test/x?y", Ok((Form::Absolute, Some("a.test"), "/x", "?y"))),
            ("GET", "HTTPS://a.test:443", Ok((Form::Absolute, Some("a.test:443"), "/", ""))),
            ("GET", "http://a.test?y", Ok((Form::Absolute, Some("a.test"), "/", "?y"))),
            ("GET", "http://a.test#f", Ok((Form::Absolute, Some("a.test"), "/", ""))),
            ("GET", "http://[::1]:80/", Ok((Form::Absolute, Some("[::1]:80"), "/", ""))),
            ("OPTIONS", "*", Ok((Form::Asterisk, None, "*", ""))),
            ("OPTIONS", "http://a.test", Ok((Form::Asterisk, Some("a.test"), "*", ""))),
            ("OPTIONS", "http://a.test/", Ok((Form::Absolute, Some("a.test"), "/", ""))),
            ("CONNECT", "a.test:443", Ok((Form::Authority, Some("a.test:443"), "", ""))),
            ("CONNECT", "a.test", Err(Fault::TargetAuthority)),
            ("CONNECT", "/", Err(Fault::TargetAuthority)),
            ("CONNECT", "http://a.test/", Err(Fault::TargetAuthority)),
            ("GET", "*", Err(Fault::TargetForm)),
            ("OPTIONS", "**", Err(Fault::TargetForm)),
            ("GET", "a.test:443", Err(Fault::TargetForm)),
            ("GET", "foo/bar", Err(Fault::TargetForm)),
            ("GET", "?x", Err(Fault::TargetForm)),
            ("GET", "http:/a", Err(Fault::TargetForm)),
            ("GET", "ftp://a.test/", Err(Fault::TargetScheme)),
            ("GET", "://a.test/", Err(Fault::TargetScheme)),
            ("GET", "http://u:p@a.test/", Err(Fault::TargetAuthority)),
            ("GET", "http:///x", Err(Fault::TargetAuthority)),
            ("GET", "http://a.test:x/", Err(Fault::TargetAuthority)),
            ("GET", "/%zz", Err(Fault::TargetEncoding)),
            ("GET", "/%4", Err(Fault::TargetEncoding)),
            ("GET", "/%", Err(Fault::TargetEncoding)),
            ("GET", "/a%00b", Err(Fault::TargetEncoding)),
            ("GET", "/a?b=%zz%00", Ok((Form::Origin, None, "/a", "?b=%zz%00"))),
        ];
        for &(method, raw, want) in rows {
            let text = format!("__{raw}");
            let buf = text.as_bytes();
            let got = read(method, raw).map(|target| {
                (target.form, target.authority.map(|part| part.of(buf)), target.path(buf), target.query_marked(buf))
            });
            let want = want.map(|(form, authority, path, query)| {
                (form, authority.map(str::as_bytes), path.as_bytes(), query.as_bytes())
            });
            assert_eq!(got, want, "{method} {raw}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        let mut head = Head::new();
        head.target_part = Part::new(0, 4);
        assert_eq!(Target::of(head.on(b"/?\xb6/")), Err(Fault::TargetEncoding));
        assert_eq!(Target::of(head.on(b"/\xe9\xe8x")), Err(Fault::TargetEncoding));
    }

    fn normal(path: &[u8]) -> Vec<u8> {
        let mut out = b"left over".to_vec();
        match normalize(path, &mut out) {
            Normal::Already => path.to_vec(),
            Normal::Rewritten => out,
        }
    }

    #[test]
    fn paths_have_one_normal_form() {
        let rows: &[(&str, &str)] = &[
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/%7Euser/../b//c", "/a/b/c"),
            ("/a/./b/", "/a/b/"),
            ("/a/b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/..", "/"),
            ("/../../x", "/x"),
            ("/%2e%2E/x", "/x"),
            ("/a/.%2e/b", "/b"),
            ("/a//b///c//", "/a/b/c/"),
            ("/a//../b", "/a/b"),
            ("//", "/"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/c.", "/a..b/c."),
            ("/%2f", "/%2F"),
            ("/a%7cb", "/a|b"),
            ("/a%20b", "/a b"),
            ("/%25zz", "/%25zz"),
            (
                "/%21%2a%27%28%29%3b%3a%40%26%3d%2b%24%2c%3f%23%5b%5d",
                "/%21%2A%27%28%29%3B%3A%40%26%3D%2B%24%2C%3F%23%5B%5D",
            ),
            ("/%00%0d%0A%1f%7f", "/%00%0D%0A%1F%7F"),
            ("/%c3%a9", "/\u{e9}"),
            ("/%zz%4", "/%zz%4"),
            ("/wor%6cd", "/world"),
        ];
        for &(path, want) in rows {
            assert_eq!(String::from_utf8_lossy(&normal(path.as_bytes())), want, "{path}");
        }
    }

    #[test]
    fn what_may_not_stand_in_a_path_is_encoded() {
        let rows: &[(&str, &str)] = &[
            ("/a|b c\"d", "/a%7Cb%20c%22d"),
            ("/\u{e9}", "/%C3%A9"),
            ("/!#$&'()*+,/:;=?@[]-_.~%2F", "/!#$&'()*+,/:;=?@[]-_.~%2F"),
            ("/<>\\^`{}", "/%3C%3E%5C%5E%60%7B%7D"),
        ];
        for &(path, want) in rows {
            let mut out = Vec::new();
            encode_path(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want, "{path}");
        }
        let mut out = Vec::new();
        encode_query("a=\u{e9}|\"&b=%zz?".as_bytes(), &mut out);
        assert_eq!(out, b"a=%C3%A9|\"&b=%zz?");
    }

    /// A path of the pieces that matter.
    fn paths() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "/", "/", ".", "..", "a", "%2e", "%2F", "%2f", "%41", "%7c", "%20", "%c3%a9", "%0a", "%25", "|", "\u{e9}",
        ]);
        prop::collection::vec(piece, 0..20).prop_map(|pieces| format!("/{}", pieces.concat()).into_bytes())
    }

    proptest! {
        #[test]
        fn a_normal_form_is_normal(path in paths()) {
            let once = normal(&path);
            // Decoding may uncover nothing further: `%` itself never is decoded.
            prop_assert_eq!(normal(&once), once.clone());
            prop_assert_eq!(once[0], b'/');
            prop_assert!(!once.windows(2).any(|pair| pair == b"//"));
            prop_assert!(!once.split(|&byte| byte == b'/').any(|segment| segment == b"." || segment == b".."));
        }

        #[test]
        fn what_goes_upstream_means_the_same(path in paths()) {
            let once = normal(&path);
            let mut wire = Vec::new();
            encode_path(&once, &mut wire);
            prop_assert!(wire.iter().all(|byte| (0x21..0x7f).contains(byte)));
            prop_assert_eq!(normal(&wire), once);
        }
    }
}
