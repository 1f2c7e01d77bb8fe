//! What would become of a request, in words: every route in the order in which it is considered, the first predicate
//! at which it fails, which one wins, and why it comes before the others that match. For `ringway explain`.

use super::matcher::{Fault, Paths};
use super::naive::{Entry, Miss, Naive};
use super::predicate::sni_asked;
use super::{Fields, Query};
use crate::base::id::RouteIx;
use crate::plan::rank::{Parts, Rank};
use crate::plan::{HeaderWant, HostName, HostPattern, Route};
use uuid::Uuid;

/// One entry of the order, judged. A route whose paths are of several kinds has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub route: RouteIx,
    /// The paths of this entry as they are written; empty for a route without paths.
    pub paths: Vec<String>,
    /// Its rank; larger is considered first.
    pub rank: Rank,
    /// Decides between equal ranks; larger is considered first.
    pub id: Uuid,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All its predicates hold, and none before it did.
    Wins {
        /// Bytes of the path that it matched.
        prefix_len: usize,
    },
    /// All its predicates hold, but another came first: why that one.
    ComesLater(String),
    /// The first predicate that does not hold, in words.
    Fails(String),
}

/// Judges every entry, best first.
///
/// # Errors
/// Every route that does not compile.
pub fn explain<F: Fields + ?Sized>(routes: &[Route], query: &Query<'_, F>) -> Result<Vec<Row>, Vec<Fault>> {
    let naive = Naive::of(routes)?;
    let mut winner: Option<&Entry<'_>> = None;
    let mut rows = Vec::with_capacity(naive.entries().len());
    for entry in naive.entries() {
        let verdict = match (naive.judge(entry, query), winner) {
            (Err(miss), _) => Verdict::Fails(in_words(miss, naive.route(entry), entry, query)),
            (Ok(_), Some(winner)) => Verdict::ComesLater(why_first(winner, entry)),
            (Ok(prefix_len), None) => {
                winner = Some(entry);
                Verdict::Wins { prefix_len }
            }
        };
        let matcher = &entry.matcher;
        rows.push(Row {
            route: matcher.route,
            paths: written(&matcher.paths),
            rank: matcher.rank,
            id: matcher.id,
            verdict,
        });
    }
    Ok(rows)
}

fn in_words<F: Fields + ?Sized>(miss: Miss, route: &Route, entry: &Entry<'_>, query: &Query<'_, F>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match miss {
        Miss::Method => format!("method {} is not {}", text(query.method), either(&route.methods)),
        Miss::Host if query.host.is_empty() => format!("no host; it must be {}", hosts(route)),
        Miss::Host => format!("host {} is not {}", text(query.host), hosts(route)),
        Miss::Port => format!("port {} is not that of {}", query.port_meant(), hosts(route)),
        Miss::Path => match &entry.matcher.paths {
            Paths::Regexes(_) => {
                format!("path {} does not match {}", text(query.path), either(&written(&entry.matcher.paths)))
            }
            Paths::Any | Paths::Prefixes(_) => {
                format!("path {} does not begin with {}", text(query.path), either(&written(&entry.matcher.paths)))
            }
        },
        Miss::Header(at) => {
            let header = &route.headers[at];
            let mut values = Vec::new();
            query.headers.any(&header.name.to_ascii_lowercase(), |value| {
                values.push(text(value));
                false
            });
            let want = match &header.want {
                HeaderWant::OneOf(wanted) => either(wanted),
                HeaderWant::Regex(regex) => format!("~*{regex}"),
            };
            match values.is_empty() {
                true => format!("no header {}; it must be {want}", header.name),
                false => format!("header {}: {} is not {want}", header.name, values.join(", ")),
            }
        }
        Miss::Sni => match sni_asked(query) {
            Some(sni) => format!("TLS server name {} is not {}", text(sni), either(&route.snis)),
            None => format!("no TLS server name; it must be {}", either(&route.snis)),
        },
    }
}

/// The first part of the rank in which `first` is larger, or that the ranks are equal.
fn why_first(first: &Entry<'_>, later: &Entry<'_>) -> String {
    let (a, b): (Parts, Parts) = (first.matcher.parts, later.matcher.parts);
    let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    if a.attributes != b.attributes {
        let kinds = "of method, host, header, server name and path";
        return format!("it asks for {} {kinds}, the winner for {}", b.attributes, a.attributes);
    }
    if a.plain_host != b.plain_host {
        return "its hosts are not all plain names, the winner's are".into();
    }
    if a.headers != b.headers {
        return format!("it asks for {}, the winner for {}", count(b.headers, "header"), a.headers);
    }
    if a.regex_priority.is_some() != b.regex_priority.is_some() {
        return "the winner's path is a regular expression, which comes before every prefix".into();
    }
    if let (Some(a), Some(b)) = (a.regex_priority, b.regex_priority) {
        if a != b {
            return format!("its regex_priority is {b}, the winner's {a}");
        }
    }
    if a.prefix_bytes != b.prefix_bytes {
        return format!("its prefix has {}, the winner's {}", count(b.prefix_bytes, "byte"), a.prefix_bytes);
    }
    if first.matcher.route == later.matcher.route {
        return "the same route".into();
    }
    format!("the ranks are equal; the larger id wins: {} over {}", first.matcher.id, later.matcher.id)
}

fn written(paths: &Paths<'_>) -> Vec<String> {
    match paths {
        Paths::Any => Vec::new(),
        Paths::Prefixes(texts) => texts.iter().map(|text| (*text).to_owned()).collect(),
        Paths::Regexes(texts) => texts.iter().map(|text| format!("~{text}")).collect(),
    }
}

fn hosts(route: &Route) -> String {
    let shown: Vec<String> = route.hosts.iter().map(host).collect();
    either(&shown)
}

fn host(pattern: &HostPattern) -> String {
    let name = match &pattern.name {
        HostName::Exact(name) => name.clone(),
        HostName::Suffix(rest) => format!("*{rest}"),
        HostName::Prefix(rest) => format!("{rest}*"),
        HostName::Any => "*".into(),
    };
    match pattern.port {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

fn either(words: &[String]) -> String {
    match words {
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
        [] => "anything".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::wild;

    #[test]
    fn every_route_says_where_it_fails_or_why_it_comes_later() {
        let base = |n: u64, change: &dyn Fn(&mut Route)| {
            let mut route = wild::route(n);
            change(&mut route);
            route
        };
        let routes = [
            base(0, &|r| {
                r.hosts = vec![wild::host("a.test")];
                r.paths = vec![wild::path("/a")];
                r.methods = vec!["POST".into(), "PUT".into()];
            }),
            base(1, &|r| r.hosts = vec![wild::host("b.test")]),
            base(2, &|r| r.hosts = vec![wild::host("a.test:9000")]),
            base(3, &|r| r.paths = vec![wild::path("/x"), wild::path("~/y\\d")]),
            base(4, &|r| r.headers = vec![wild::header("x-a", &["v1", "v3"])]),
            base(5, &|r| r.headers = vec![wild::header("x-b", &["~*^v"])]),
            base(6, &|r| r.snis = vec!["c.test".into()]),
            base(7, &|r| r.hosts = vec![wild::host("a.test")]),
            base(8, &|r| r.hosts = vec![wild::host("a.test")]),
            base(9, &|r| r.paths = vec![wild::path("/")]),
            base(10, &|r| r.hosts = vec![wild::host("*.test")]),
        ];
        let headers = [("X-A", "v2")];
        let query = Query {
            method: b"GET",
            host: b"A.test",
            port: None,
            listener_port: 8443,
            path: b"/a/b",
            sni: Some("d.test"),
            tls: true,
            headers: &headers[..],
        };
        let rows = explain(&routes, &query).unwrap();
        let shown: Vec<String> = rows
            .iter()
            .map(|row| {
                let verdict = match &row.verdict {
                    Verdict::Wins { prefix_len } => format!("wins, {prefix_len}"),
                    Verdict::ComesLater(why) => format!("later: {why}"),
                    Verdict::Fails(why) => why.clone(),
                };
                format!("{} {verdict}", row.route.0)
            })
            .collect();
        let want = [
            "0 method GET is not POST or PUT",
            "8 wins, 0",
            "7 later: the ranks are equal; the larger id wins: 00000000-4000-8000-0000-000000000008 over \
             00000000-4000-8000-0000-000000000007",
            "2 port 8443 is not that of a.test:9000",
            "1 host A.test is not b.test",
            "5 no header x-b; it must be ~*^v",
            "4 header x-a: v2 is not v1 or v3",
            "3 path /a/b does not match ~/y\\d",
            "3 path /a/b does not begin with /x",
            "9 later: its hosts are not all plain names, the winner's are",
            "10 later: its hosts are not all plain names, the winner's are",
            "6 TLS server name d.test is not c.test",
        ];
        assert_eq!(shown, want);
    }
}
