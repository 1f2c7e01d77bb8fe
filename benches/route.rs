//! What it costs to find a route: the table and its linear definition, for few routes and for many, by what tells the
//! routes apart.
//!
//! ```text
//! cargo bench --bench route                    all of it
//! cargo bench --bench route -- find            the table alone
//! cargo bench --bench route -- percentiles     p50, p99, p99.9 of single searches over random routes
//! ```
//!
//! Every search is for another route, picked at random, so that caches help with the table as little as they would in
//! service. The request itself is warm where percentiles are taken: in service it has just been parsed. In the other
//! benches it is one of a thousand and comes from the second cache, which costs some 20 ns.

use divan::{black_box, Bencher};
use ringway::plan::Route;
use ringway::route::naive::Naive;
use ringway::route::wild;
use ringway::route::{Query, Scratch, Table};
use std::time::Instant;

fn main() {
    if std::env::args().any(|arg| arg == "percentiles") {
        percentiles();
    } else {
        divan::main();
    }
}

/// What tells the routes of a table apart.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A host each.
    Host,
    /// A prefix each, two levels deep.
    Path,
    /// A tenth of them hosts, with ten prefixes each.
    HostAndPath,
    /// `*.tN.test` and a host without wildcard for every second.
    Wildcard,
    /// An expression each; their literal beginnings differ.
    Regex,
    /// An expression each; all begin alike.
    RegexAlike,
    /// One value of one header each, all at one path.
    Header,
    /// One path, a host each, and one of five methods; nine headers in the request.
    Mixed,
}

const KINDS: [Kind; 8] = [
    Kind::Host,
    Kind::Path,
    Kind::HostAndPath,
    Kind::Wildcard,
    Kind::Regex,
    Kind::RegexAlike,
    Kind::Header,
    Kind::Mixed,
];
const COUNTS: [usize; 4] = [10, 100, 1_000, 10_000];

fn route(kind: Kind, n: usize) -> Route {
    let mut route = wild::route(n as u64);
    match kind {
        Kind::Host => route.hosts = vec![wild::host(&format!("h{n}.example.test"))],
        Kind::Path => route.paths = vec![wild::path(&format!("/team{}/service{n}", n % 50))],
        Kind::HostAndPath => {
            route.hosts = vec![wild::host(&format!("h{}.example.test", n / 10))];
            route.paths = vec![wild::path(&format!("/service{}", n % 10))];
        }
        Kind::Wildcard if n.is_multiple_of(2) => route.hosts = vec![wild::host(&format!("*.t{n}.test"))],
        Kind::Wildcard => route.hosts = vec![wild::host(&format!("x.t{n}.test"))],
        Kind::Regex => route.paths = vec![wild::path(&format!("~/service{n}/(?<id>\\d+)$"))],
        Kind::RegexAlike => route.paths = vec![wild::path(&format!("~/api/v\\d+/service{n}/(?<id>\\d+)$"))],
        Kind::Header => {
            route.paths = vec![wild::path("/api")];
            route.headers = vec![wild::header("x-tenant", &[&format!("tenant-{n}")])];
        }
        Kind::Mixed => {
            route.hosts = vec![wild::host(&format!("h{}.example.test", n / 5))];
            route.paths = vec![wild::path("/api")];
            route.methods = vec![["GET", "POST", "PUT", "PATCH", "DELETE"][n % 5].into()];
        }
    }
    route
}

fn asked(kind: Kind, n: usize) -> Asked {
    let mut asked = Asked { method: "GET", host: "www.example.test".into(), path: "/".into(), tenant: String::new() };
    match kind {
        Kind::Host => asked.host = format!("h{n}.example.test"),
        Kind::Path => asked.path = format!("/team{}/service{n}/items/17", n % 50),
        Kind::HostAndPath => {
            asked.host = format!("h{}.example.test", n / 10);
            asked.path = format!("/service{}/items/17", n % 10);
        }
        Kind::Wildcard => asked.host = format!("x.t{n}.test"),
        Kind::Regex => asked.path = format!("/service{n}/1234"),
        Kind::RegexAlike => asked.path = format!("/api/v2/service{n}/1234"),
        Kind::Header => {
            asked.path = "/api/items/17".into();
            asked.tenant = format!("tenant-{n}");
        }
        Kind::Mixed => {
            asked.host = format!("h{}.example.test", n / 5);
            asked.path = "/api/items/17".into();
            asked.method = ["GET", "POST", "PUT", "PATCH", "DELETE"][n % 5];
        }
    }
    asked
}

struct Asked {
    method: &'static str,
    host: String,
    path: String,
    tenant: String,
}

impl Clone for Asked {
    fn clone(&self) -> Asked {
        let mut copy = Asked { method: "", host: String::new(), path: String::new(), tenant: String::new() };
        copy.clone_from(self);
        copy
    }

    /// Into the same memory.
    fn clone_from(&mut self, source: &Asked) {
        self.method = source.method;
        self.host.clone_from(&source.host);
        self.path.clone_from(&source.path);
        self.tenant.clone_from(&source.tenant);
    }
}

impl Asked {
    fn headers(&self) -> [(&str, &str); 9] {
        [
            ("host", &self.host),
            ("user-agent", "curl/8.5.0"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip, br"),
            ("accept-language", "en"),
            ("x-request-id", "0123456789abcdef"),
            ("cookie", "a=b; c=d"),
            ("authorization", "Bearer abc"),
            ("x-tenant", &self.tenant),
        ]
    }
}

/// The table of `count` routes and as many requests in random order, each for one of them.
fn scene(kind: Kind, count: usize) -> (Vec<Route>, Vec<Asked>) {
    let routes = (0..count).map(|n| route(kind, n)).collect();
    // 7919 is prime: a walk over all routes that looks random to caches and predictors.
    let requests = (0..count.max(1000)).map(|n| asked(kind, n * 7919 % count)).collect();
    (routes, requests)
}

/// A thousand of the requests, or all if fewer.
fn some(requests: &[Asked]) -> impl Iterator<Item = &Asked> {
    requests.iter().step_by(requests.len().div_ceil(1000))
}

fn query<'a>(asked: &'a Asked, headers: &'a [(&'a str, &'a str)]) -> Query<'a, [(&'a str, &'a str)]> {
    Query {
        method: asked.method.as_bytes(),
        host: asked.host.as_bytes(),
        port: None,
        listener_port: 8000,
        path: asked.path.as_bytes(),
        sni: None,
        tls: false,
        headers,
    }
}

#[divan::bench(args = KINDS, consts = COUNTS)]
fn find<const N: usize>(bencher: Bencher<'_, '_>, kind: Kind) {
    let (routes, requests) = scene(kind, N);
    let table = Table::compile(&routes).expect("the routes are sound");
    let mut scratch = Scratch::default();
    let requests: Vec<(&Asked, _)> = some(&requests).map(|asked| (asked, asked.headers())).collect();
    for (asked, headers) in &requests {
        assert!(table.find(&query(asked, headers), &mut scratch).is_some());
    }
    let mut turn = requests.iter().cycle();
    bencher.bench_local(|| {
        let (asked, headers) = turn.next().expect("a cycle does not end");
        table.find(black_box(&query(asked, headers)), &mut scratch)
    });
}

#[divan::bench(args = KINDS, consts = COUNTS, sample_count = 20)]
fn naive<const N: usize>(bencher: Bencher<'_, '_>, kind: Kind) {
    let (routes, requests) = scene(kind, N);
    let naive = Naive::of(&routes).expect("the routes are sound");
    let requests: Vec<(&Asked, _)> = some(&requests).map(|asked| (asked, asked.headers())).collect();
    let mut turn = requests.iter().cycle();
    bencher.bench_local(|| {
        let (asked, headers) = turn.next().expect("a cycle does not end");
        naive.find(black_box(&query(asked, headers)))
    });
}

#[divan::bench(args = KINDS, consts = [10_000], sample_count = 3, sample_size = 1)]
fn compile<const N: usize>(bencher: Bencher<'_, '_>, kind: Kind) {
    let (routes, _) = scene(kind, N);
    bencher.bench_local(|| Table::compile(&routes).expect("the routes are sound"));
}

/// Expressions that leave a choice before they differ (`/api/.*/serviceN/…`), the worst there is: what can neither
/// stand in the trie nor be told apart without an engine.
#[divan::bench(consts = [10, 100, 1_000])]
fn find_after_any<const N: usize>(bencher: Bencher<'_, '_>) {
    let (table, mut scratch) = (after_any(N), Scratch::default());
    let path = |n: usize| with_path(format!("/api/v{}/x/service{}/1234", n % 7, n * 7919 % N));
    let requests: Vec<Asked> = (0..100).map(path).collect();
    // Engines build what they need as they go: the first search by each costs a hundred times the next.
    for asked in &requests {
        assert!(table.find(&query(asked, &[]), &mut scratch).is_some());
    }
    let mut turn = requests.iter().cycle();
    bencher.bench_local(|| {
        let asked = turn.next().expect("a cycle does not end");
        table.find(black_box(&query(asked, &[])), &mut scratch)
    });
}

/// The same with paths of 8 KiB full of what the expressions ask for. Per search.
#[divan::bench(consts = [10, 100, 1_000], sample_count = 20)]
fn find_hostile<const N: usize>(bencher: Bencher<'_, '_>) {
    let (table, mut scratch) = (after_any(N), Scratch::default());
    let mut seed = 1u32;
    bencher.bench_local(|| {
        let mut path = String::from("/api/");
        while path.len() < 8 * 1024 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            path.push_str(["service", "/service", "1", "2", "/", "3", "0", "serv"][(seed >> 29) as usize]);
        }
        table.find(black_box(&query(&with_path(path), &[])), &mut scratch)
    });
}

fn after_any(count: usize) -> Table {
    let with = |n: usize| {
        let mut route = wild::route(n as u64);
        route.paths = vec![wild::path(&format!("~/api/.*/service{n}/(?<id>\\d+)$"))];
        route
    };
    Table::compile(&(0..count).map(with).collect::<Vec<_>>()).expect("the routes are sound")
}

fn with_path(path: String) -> Asked {
    Asked { method: "GET", host: "www.example.test".into(), path, tenant: String::new() }
}

/// Times single searches; what the clock itself costs is taken off.
fn percentiles() {
    println!("{:<14}{:>8}{:>10}{:>10}{:>10}   ns per search", "kind", "routes", "p50", "p99", "p99.9");
    let mut idle: Vec<u128> = (0..100_000).map(|_| Instant::now().elapsed().as_nanos()).collect();
    idle.sort_unstable();
    let clock = idle[idle.len() / 2];
    for kind in KINDS {
        for count in COUNTS {
            let (routes, requests) = scene(kind, count);
            let table = Table::compile(&routes).expect("the routes are sound");
            let mut scratch = Scratch::default();
            let mut took = Vec::new();
            let mut warm = Asked { host: String::new(), path: String::new(), tenant: String::new(), method: "" };
            for round in 0..200_000 / requests.len() + 2 {
                for asked in &requests {
                    warm.clone_from(asked);
                    let headers = black_box(warm.headers());
                    let query = query(&warm, &headers);
                    let start = Instant::now();
                    black_box(table.find(black_box(&query), &mut scratch));
                    let ns = start.elapsed().as_nanos().saturating_sub(clock);
                    if round > 0 {
                        took.push(ns);
                    }
                }
            }
            took.sort_unstable();
            let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
            let kind = format!("{kind:?}");
            println!("{kind:<14}{count:>8}{:>10}{:>10}{:>10}", at(0.5), at(0.99), at(0.999));
        }
    }
}
