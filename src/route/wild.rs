//! Random routes and queries from a string of bytes, over alphabets so small that routes collide at every turn. For
//! the property test, the fuzz target and the benches; no part of the gateway's interface.

use super::naive::Naive;
use super::{Query, Scratch, Table};
use crate::base::span::Span;
use crate::plan::{HeaderMatch, HeaderWant, HostPattern, PathPattern, Protocol, Route};
use uuid::Uuid;

/// A route that matches everything; its id holds `n`.
pub fn route(n: u64) -> Route {
    Route {
        id: Uuid::from_u64_pair(0x4000_8000, n),
        name: None,
        protocols: vec![Protocol::Http, Protocol::Https],
        methods: Vec::new(),
        hosts: Vec::new(),
        paths: Vec::new(),
        headers: Vec::new(),
        snis: Vec::new(),
        strip_path: true,
        preserve_host: false,
        https_redirect_status: 426,
        regex_priority: 0,
        request_buffering: true,
        response_buffering: true,
        service: None,
        tags: Vec::new(),
        at: Span::nowhere(),
    }
}

/// Host of a route as one writes it: `a.test`, `*.test:8000`, `a.*`.
pub fn host(text: &str) -> HostPattern {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, port.parse().ok()),
        None => (text, None),
    };
    HostPattern { name: super::host::name_of(name), port }
}

/// Path of a route as one writes it: `/a`, `~/a/\d+`.
pub fn path(text: &str) -> PathPattern {
    match text.strip_prefix('~') {
        Some(regex) => PathPattern::Regex(regex.into()),
        None => PathPattern::Prefix(text.into()),
    }
}

/// Header of a route: a name and values, or one value that begins with `~*`.
pub fn header(name: &str, values: &[&str]) -> HeaderMatch {
    let want = match values {
        [one] if one.starts_with("~*") => HeaderWant::Regex(one[2..].to_ascii_lowercase()),
        _ => HeaderWant::OneOf(values.iter().map(|value| value.to_ascii_lowercase()).collect()),
    };
    HeaderMatch { name: name.to_ascii_lowercase(), want }
}

/// A query that owns its parts.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method.
    pub method: &'static str,
    /// Host without port.
    pub host: String,
    /// Port of the host.
    pub port: Option<u16>,
    /// Path.
    pub path: Vec<u8>,
    /// Server name.
    pub sni: Option<&'static str>,
    /// TLS?
    pub tls: bool,
    /// Fields.
    pub headers: Vec<(&'static str, &'static str)>,
}

impl Asked {
    /// The query.
    pub fn query(&self) -> Query<'_, [(&'static str, &'static str)]> {
        Query {
            method: self.method.as_bytes(),
            host: self.host.as_bytes(),
            port: self.port,
            listener_port: 8000,
            path: &self.path,
            sni: self.sni,
            tls: self.tls,
            headers: &self.headers,
        }
    }
}

/// Turns bytes into choices; when they run out, every choice is the first.
#[derive(Debug)]
pub struct Dice<'a>(pub &'a [u8]);

impl Dice<'_> {
    /// A number below `n`; `n` is 1 to 256.
    pub fn below(&mut self, n: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % n
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Nothing, mostly; else one to three of them.
    fn some<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        let count = self.pick(&[0, 0, 1, 1, 2, 3]);
        (0..count).map(|_| self.pick(of)).collect()
    }

    /// A random route.
    pub fn route(&mut self, n: u64) -> Route {
        let mut made = route(n);
        made.hosts = self.some(&HOSTS).into_iter().map(host).collect();
        made.paths = self.some(&PATHS).into_iter().map(path).collect();
        if self.below(3) == 0 {
            let text: String = ["~/"].into_iter().chain((0..self.below(4)).map(|_| self.pick(&PIECES))).collect();
            made.paths.push(path(&text));
        }
        if self.below(2) == 0 {
            made.methods = self.some(&METHODS).into_iter().map(String::from).collect();
        }
        if self.below(2) == 0 {
            let mut names = self.some(&HEADERS);
            names.sort_unstable();
            names.dedup();
            made.headers = names
                .into_iter()
                .map(|name| match self.below(4) {
                    0 => header(name, &[self.pick(&["~*^v", "~*1$", "~*v.1"])]),
                    1 => header(name, &[self.pick(&VALUES), self.pick(&VALUES)]),
                    _ => header(name, &[self.pick(&VALUES)]),
                })
                .collect();
        }
        if self.below(4) == 0 {
            made.snis = self.some(&SNIS).into_iter().map(String::from).collect();
        }
        made.regex_priority = self.pick(&[0, 0, 1, 7]);
        made
    }

    /// A random query.
    pub fn asked(&mut self) -> Asked {
        let mut host: String = (0..self.below(4)).map(|_| self.pick(&["a.", "b.", "test.", "A.", "."])).collect();
        host.push_str(self.pick(&["test", "a", "b", "TEST", ""]));
        let mut path = b"/".to_vec();
        for _ in 0..self.below(6) {
            path.extend_from_slice(self.pick(&[
                b"a",
                b"b",
                b"/",
                b"1",
                b"12",
                b"\xff",
                b"\xc3\xa9",
                b"\xd9\xa3",
                b"ab/",
                b"a/b",
            ]));
        }
        Asked {
            method: self.pick(&METHODS),
            host,
            port: self.pick(&[None, None, Some(8000), Some(81)]),
            path,
            sni: self.pick(&[None, Some("a.test"), Some("b.TEST"), Some("x.a.test."), Some("a.b")]),
            tls: self.below(2) == 0,
            headers: (0..self.below(4))
                .map(|_| (self.pick(&["X-A", "x-b", "host", "X-B"]), self.pick(&VALUES)))
                .collect(),
        }
    }
}

/// Builds routes and queries of `bytes` and panics where the table and its definition disagree.
pub fn agree(bytes: &[u8]) {
    let mut dice = Dice(bytes);
    let count = [3, 12, 40][dice.below(3)];
    let routes: Vec<Route> = (0..count).map(|n| dice.route(n % 251 * 7 % 11 * 1000 + n)).collect();
    let table = Table::compile(&routes).expect("the alphabet holds only sound expressions");
    let naive = Naive::of(&routes).expect("the alphabet holds only sound expressions");
    let mut scratch = Scratch::default();
    for _ in 0..24 {
        let asked = dice.asked();
        let query = asked.query();
        let found = table.find(&query, &mut scratch);
        let pair = found.map(|found| (found.route, found.prefix_len));
        assert_eq!(pair, naive.find(&query), "{asked:?}\n{routes:#?}");
        let Some(found) = found else { continue };
        let groups = table.captures(&found, query.path, &mut scratch).map(|groups| {
            groups.iter().map(|(_, name, bytes)| (name.map(String::from), bytes.map(Vec::from))).collect()
        });
        assert_eq!(groups, naive.groups(&query), "{asked:?}\n{routes:#?}");
    }
}

const HOSTS: [&str; 16] = [
    "a.test",
    "b.test",
    "a.b.test",
    "*.test",
    "*.a.test",
    "*.b",
    "a.*",
    "a.b.*",
    "b.*",
    "*",
    "a.test:8000",
    "a.test:81",
    "*.test:81",
    "a.*:8000",
    "*:81",
    "A.test",
];
const PATHS: [&str; 14] = [
    "/",
    "/a",
    "/b",
    "/ab",
    "/a/",
    "/a/b",
    "/a/b/a",
    "/ab/a",
    "/1",
    "~/a",
    "~/[ab]+",
    "~/a/(?<id>[0-9]+)$",
    "~/.*b",
    "~/a|/b",
];
const PIECES: [&str; 20] = [
    "a",
    "b",
    "/",
    "[ab]",
    "(.)",
    ".*",
    "(a|b)?",
    "$",
    "\\d+",
    "\\w",
    "\\b",
    "(?:a/b|ab/)*",
    "(\\d+)/",
    "([^/]+)/",
    "[^/]*?/",
    "(\\w+)",
    "[ab]{2}",
    "[ab]{1,2}/",
    "(?i)A",
    "([^/]+)$",
];
const METHODS: [&str; 4] = ["GET", "POST", "get", "PURGE"];
const HEADERS: [&str; 3] = ["x-a", "X-B", "host"];
const VALUES: [&str; 6] = ["v1", "V1", "v2", "x1", "", "v11"];
const SNIS: [&str; 6] = ["a.test", "b.test.", "*.test", "a.*", "*", "A.TEST"];
