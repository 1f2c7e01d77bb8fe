//! Routing as data: which route answers which request. The first table is about one rule each; then the table and its
//! linear twin must agree on whatever chance makes.

use super::naive::Naive;
use super::*;
use crate::plan::Route;
use proptest::prelude::*;

/// A route in one line: `name: GET,POST a.test *.b:81 /prefix ~/regex x-header=v1,v2 sni=a.test prio=3`.
fn parse(line: &str) -> Route {
    let (name, rest) = line.split_once(':').expect("a name and a colon");
    let mut route = wild::route(u64::from(name.bytes().last().unwrap()));
    route.name = Some(name.into());
    for word in rest.split_whitespace() {
        if let Some(sni) = word.strip_prefix("sni=") {
            route.snis.push(sni.into());
        } else if let Some(priority) = word.strip_prefix("prio=") {
            route.regex_priority = priority.parse().unwrap();
        } else if word.starts_with('/') || word.starts_with('~') {
            route.paths.push(wild::path(word));
        } else if let Some((name, values)) = word.split_once('=') {
            route.headers.push(wild::header(name, &values.split(',').collect::<Vec<_>>()));
        } else if word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b',') {
            route.methods = word.split(',').map(String::from).collect();
        } else {
            route.hosts.push(wild::host(word));
        }
    }
    route
}

/// A request in one line: `GET a.test:8000 /path x-header=v1 sni=a.test`. `-` stands for no host; TLS where there is `sni`,
/// with the word `-` for a handshake without a name.
#[track_caller]
fn check(routes: &str, request: &str, want: Option<&str>) {
    let routes: Vec<Route> = routes.split(';').map(str::trim).filter(|line| !line.is_empty()).map(parse).collect();
    let mut words = request.split_whitespace();
    let (method, host, path) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let (host, port) = match host.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().unwrap())),
        None => (host.trim_matches('-'), None),
    };
    let mut headers = Vec::new();
    let mut sni = None;
    let mut tls = false;
    for word in words {
        match word.split_once('=').unwrap() {
            ("sni", name) => (tls, sni) = (true, (name != "-").then_some(name)),
            pair => headers.push(pair),
        }
    }
    let (method, path) = (method.as_bytes(), path.as_bytes());
    let query =
        Query { method, host: host.as_bytes(), port, listener_port: 8000, path, sni, tls, headers: &headers[..] };
    let table = Table::compile(&routes).unwrap();
    let naive = Naive::of(&routes).unwrap();
    let found = table.find(&query, &mut Scratch::default());
    assert_eq!(found.map(|found| (found.route, found.prefix_len)), naive.find(&query), "table, naive: {request}");
    let name = found.map(|found| routes[found.route.ix()].name.clone().unwrap());
    assert_eq!(name.as_deref(), want, "{request}");
}

#[test]
fn the_rules_one_by_one() {
    let rows: &[(&str, &str, Option<&str>)] = &[
        // No routes.
        ("", "GET - /", None),
        // Longer prefix; raw bytes, not segments.
        ("r1: /foo; r2: /foo/bar", "GET - /foo/bar/x", Some("r2")),
        ("r1: /foo; r2: /foo/bar", "GET - /foo/ba", Some("r1")),
        ("r1: /foo", "GET - /foobar", Some("r1")),
        ("r1: /foo", "GET - /fo", None),
        ("r1: /foo/bar", "GET - /foo/bar", Some("r1")),
        // A plain host beats a path; two attributes beat it; a wildcard host does not beat a path by itself.
        ("r1: a.test; r2: /very/long/path", "GET a.test /very/long/path", Some("r1")),
        ("r1: a.test; r2: GET /", "GET a.test /", Some("r2")),
        ("r1: *.test; r2: /very/long/path", "GET a.test /very/long/path", Some("r2")),
        ("r1: a.test *.b.test; r2: c.test a.test", "GET a.test /", Some("r2")),
        ("r9: *.test; r2: a.test", "GET a.test /", Some("r2")),
        // Headers: any value, any case, all names; more names win.
        ("r1: version=v1", "GET - / Version=V1", Some("r1")),
        ("r1: version=v1,v2", "GET - / version=x version=v2", Some("r1")),
        ("r1: version=v1", "GET - / version=v11", None),
        ("r1: version=v1", "GET - /", None),
        ("r1: a=1 b=2; r2: a=1", "GET - / a=1 b=2", Some("r1")),
        ("r1: a=1 b=2; r2: a=1", "GET - / a=1", Some("r2")),
        ("r1: a=~*^V\\d$", "GET - / a=v7", Some("r1")),
        ("r1: a=~*b", "GET - / a=aBc", Some("r1")),
        ("r1: a=~*^b", "GET - / a=aBc", None),
        ("r2: /long; r1: a=1", "GET - /long a=1", Some("r1")),
        // A regular expression beats any prefix; then regex_priority, which means nothing to prefixes.
        ("r1: /abc; r2: ~/a.c", "GET - /abc", Some("r2")),
        ("r1: /abc/def/ghi; r2: ~/a", "GET - /abc/def/ghi", Some("r2")),
        ("r1: ~/a prio=1; r2: ~/a.*", "GET - /abc", Some("r1")),
        ("r1: /status prio=100; r2: /status/200", "GET - /status/200", Some("r2")),
        // Anchored at the start, and only there.
        ("r1: ~/api/v\\d$", "GET - /api/v1/users", None),
        ("r1: ~/api/v\\d", "GET - /api/v1/users", Some("r1")),
        ("r1: ~/api", "GET - /x/api", None),
        ("r1: ~/a|/b", "GET - /x/b", None),
        ("r1: ~/a|/b", "GET - /b", Some("r1")),
        ("r1: ~/(?i)user", "GET - /USER", Some("r1")),
        // Hosts: port in Host, wildcard labels, case, ports of routes.
        ("r1: a.test", "GET a.test:8000 /", Some("r1")),
        ("r1: *.a.test", "GET x.y.a.test /", Some("r1")),
        ("r1: *.a.test", "GET a.test /", None),
        ("r1: a.*", "GET a.b.c /", Some("r1")),
        ("r1: a.*", "GET ba.b /", None),
        ("r1: a.test", "GET A.TEST /", Some("r1")),
        ("r1: a.test", "GET - /", None),
        ("r1: *", "GET - /", Some("r1")),
        ("r1: a.test:81", "GET a.test:81 /", Some("r1")),
        ("r1: a.test:81", "GET a.test /", None),
        ("r1: a.test:8000", "GET a.test /", Some("r1")),
        ("r1: a.test:8000", "GET a.test:81 /", None),
        ("r1: *.test:81; r2: *.test", "GET a.test:82 /", Some("r2")),
        // Server names count where there is TLS.
        ("r1: /x sni=a.test", "GET - /x", Some("r1")),
        ("r1: /x sni=a.test", "GET - /x sni=a.test", Some("r1")),
        ("r1: /x sni=a.test", "GET - /x sni=A.test.", Some("r1")),
        ("r1: /x sni=a.test.", "GET - /x sni=a.test", Some("r1")),
        ("r1: /x sni=a.test", "GET - /x sni=b.test", None),
        ("r1: /x sni=a.test", "GET - /x sni=-", None),
        ("r1: /x sni=*.test", "GET - /x sni=b.test", Some("r1")),
        ("r1: /x sni=b.*", "GET - /x sni=b.test", Some("r1")),
        // Methods are exact.
        ("r1: GET,POST", "POST - /", Some("r1")),
        ("r1: GET", "get - /", None),
        // Equal in everything: the larger id.
        ("r1: /a; r2: /a", "GET - /a", Some("r2")),
        ("r2: /a; r1: /a", "GET - /a", Some("r2")),
        // The first whose predicates all hold: a better one that fails is passed over.
        ("r1: POST a.test /a; r2: /a", "GET a.test /a", Some("r2")),
        ("r1: a.test /b; r2: *.test /a; r3: /a", "GET a.test /a", Some("r2")),
        // A route that was split is judged by the part that matches.
        ("r1: /a /a/b/c; r2: /a/b", "GET - /a/b", Some("r2")),
        ("r1: /a /a/b/c; r2: /a/b", "GET - /a/b/c", Some("r1")),
        ("r1: /a ~/a/b$; r2: /a/b", "GET - /a/b", Some("r1")),
        ("r1: /a ~/a/b$; r2: /a/b", "GET - /a/bc", Some("r2")),
    ];
    for (routes, request, want) in rows {
        check(routes, request, *want);
    }
}

#[test]
fn groups_come_from_the_first_listed_expression_that_matches() {
    let rows = [
        ("r: ~/user/(?<id>\\d+)", "/user/42/x", 8, &[("0", "/user/42"), ("1", "42"), ("id", "42")][..]),
        ("r: ~/(?<a>x)?(?<b>y) ~/(.*)", "/y", 2, &[("0", "/y"), ("b", "y"), ("2", "y")]),
        ("r: ~/zz ~/(?<rest>.*)$ ~/y", "/y/z", 4, &[("rest", "y/z")]),
        // Not one-pass: another engine.
        ("r: ~/.*(?<end>a.c)", "/abcabcd", 7, &[("end", "abc"), ("0", "/abcabc")]),
    ];
    for (routes, path, prefix_len, groups) in rows {
        let routes = [parse(routes)];
        let table = Table::compile(&routes).unwrap();
        let mut scratch = Scratch::default();
        let headers: &[(&str, &str)] = &[];
        let path = path.as_bytes();
        let query =
            Query { method: b"GET", host: b"", port: None, listener_port: 80, path, sni: None, tls: false, headers };
        let found = table.find(&query, &mut scratch).unwrap();
        assert_eq!(found.prefix_len, prefix_len);
        let captures = table.captures(&found, path, &mut scratch).unwrap();
        for (group, want) in groups {
            let got = group.parse().map_or_else(|_| captures.named(group), |at| captures.at(at));
            assert_eq!(got, Some(want.as_bytes()), "{path:?} {group}");
        }
        assert!(captures.iter().any(|(at, _, bytes)| at == 0 && bytes.map(<[u8]>::len) == Some(prefix_len)));
    }
}

#[test]
fn a_prefix_has_no_groups() {
    let routes = [parse("r: /a")];
    let table = Table::compile(&routes).unwrap();
    let mut scratch = Scratch::default();
    let asked = wild::Dice(&[]).asked();
    let asked = wild::Asked { path: b"/a".to_vec(), ..asked };
    let found = table.find(&asked.query(), &mut scratch).unwrap();
    assert!(table.captures(&found, b"/a", &mut scratch).is_none());
}

#[test]
fn one_scratch_serves_many_tables() {
    let tables: Vec<Table> =
        ["r: ~/a.*b", "r: ~/(a)(b)", "r: x=~*y"].map(|line| Table::compile(&[parse(line)]).unwrap()).into();
    let mut scratch = Scratch::default();
    for table in tables.iter().chain(&tables) {
        let asked = wild::Asked { path: b"/ab".to_vec(), headers: vec![("x", "y")], ..wild::Dice(&[]).asked() };
        assert!(table.find(&asked.query(), &mut scratch).is_some());
    }
}

#[test]
fn a_broken_expression_is_a_fault_of_its_route() {
    let faults = Table::compile(&[parse("a: /a"), parse("b: ~/(a"), parse("c: x=~*[")]).unwrap_err();
    let routes: Vec<u32> = faults.iter().map(|fault| fault.route.0).collect();
    assert_eq!(routes.len(), 2);
    assert!(routes.contains(&1) && routes.contains(&2), "{faults:?}");
}

#[test]
fn hundreds_of_expressions_that_begin_alike_agree_with_the_scan() {
    let lines: Vec<String> = (0..300)
        .map(|n| match n % 3 {
            0 => format!("r{}: ~/api/\\d+/res{n}/[^/]+$", n % 10),
            1 => format!("r{}: POST ~/api/.*/res{n}", n % 10),
            _ => format!("r{}: ~/api/\\w+\\b.*{n}$ prio={}", n % 10, n % 4),
        })
        .collect();
    let routes: Vec<Route> = lines.iter().map(|line| parse(line)).collect();
    let table = Table::compile(&routes).unwrap();
    let naive = Naive::of(&routes).unwrap();
    let mut scratch = Scratch::default();
    for n in 0..400 {
        let path = match n % 4 {
            0 => format!("/api/{n}/res{n}/x"),
            1 => format!("/api/a/b/c/res{n}"),
            2 => format!("/api/{n}"),
            _ => format!("/api/é{n}"),
        };
        let method = if n % 5 == 0 { "POST" } else { "GET" };
        let asked = wild::Asked { method, path: path.into_bytes(), ..wild::Dice(&[]).asked() };
        let found = table.find(&asked.query(), &mut scratch).map(|found| (found.route, found.prefix_len));
        assert_eq!(found, naive.find(&asked.query()), "{asked:?}");
    }
}

#[test]
fn long_lists_are_split_by_any_field_and_agree_with_the_scan() {
    let line = |n: usize| match n % 4 {
        0 => format!("r{}: /t x-tenant=t{n},shared", n % 10),
        1 => format!("r{}: /t x-tenant=t{n} x-kind=k{}", n % 10, n % 7),
        2 => format!("r{}: /t sni=s{n}.test x-kind=k{}", n % 10, n % 3),
        _ => format!("r{}: /t M{} x-kind=k{}", n % 10, "ABCDEFGHIJ".get(n % 10..=n % 10).unwrap(), n % 3),
    };
    // Another list that only the method splits, for the header is wanted by a pattern.
    let other = |n: usize| format!("r{}: /u M{} x-kind=~*^k{n}$", n % 10, ["B", "C", "D"][n % 3]);
    let routes: Vec<Route> = (0..400).map(line).chain((0..30).map(other)).map(|line| parse(&line)).collect();
    let table = Table::compile(&routes).unwrap();
    let naive = Naive::of(&routes).unwrap();
    let mut scratch = Scratch::default();
    for n in 0..800usize {
        let texts = [format!("t{}", n % 400), format!("k{}", n % 5), format!("s{}.test", n % 400)];
        let mut headers = vec![("X-Tenant", "shared"), ("x-kind", &texts[1]), ("x-tenant", &texts[0])];
        headers.drain(..n % 3);
        let query = Query {
            method: [&b"MB"[..], b"MD", b"GET"][n / 7 % 3],
            host: b"h",
            port: None,
            listener_port: 80,
            path: if n % 11 > 2 { b"/t/x" } else { b"/u/x" },
            sni: (n % 5 > 0).then_some(&*texts[2]),
            tls: n % 2 == 0,
            headers: &headers[..],
        };
        let found = table.find(&query, &mut scratch).map(|found| (found.route, found.prefix_len));
        assert_eq!(found, naive.find(&query), "{query:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(500), ..ProptestConfig::default() })]

    /// 500 tables with 24 queries each; more with PROPTEST_CASES.
    #[test]
    fn the_table_agrees_with_the_scan(bytes in prop::collection::vec(any::<u8>(), 0..1600)) {
        wild::agree(&bytes);
    }
}
