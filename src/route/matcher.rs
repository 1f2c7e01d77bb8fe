//! Routes become matchers, and matchers get their order. Shared by the table and its linear twin, so that what they
//! may disagree about is the search alone.
//!
//! A route with paths of several kinds is several matchers: one for all its regular expressions, one for every length
//! its prefixes have, because the rank holds a length. They are numbered from 1 in the order in which their first
//! path is listed; a route that needs no splitting is one matcher under its own id.

use crate::base::id::RouteIx;
use crate::plan::rank::{Parts, Rank};
use crate::plan::{HostName, PathPattern, Protocol, Route};
use std::cmp::Reverse;
use uuid::Uuid;

/// A route that cannot be compiled. The plan's own checks come first, so that this is rare: a regular expression that
/// is fine and too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The route.
    pub route: RouteIx,
    /// What is wrong, for the person who wrote it.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "routes[{}]: {}", self.route.0, self.what)
    }
}

/// One entry of the order.
#[derive(Clone, Debug)]
pub(super) struct Matcher<'a> {
    /// Whose.
    pub(super) route: RouteIx,
    /// Decides between equal ranks: the larger wins.
    pub(super) id: Uuid,
    /// What the rank is made of.
    pub(super) parts: Parts,
    /// Larger wins.
    pub(super) rank: Rank,
    /// Its share of the route's paths.
    pub(super) paths: Paths<'a>,
}

/// The paths of one matcher, in the order of the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Paths<'a> {
    /// The route names none: any path.
    Any,
    /// Prefixes of one length, in bytes.
    Prefixes(Vec<&'a str>),
    /// Regular expressions, anchored at the start.
    Regexes(Vec<&'a str>),
}

/// Every matcher, best first. Routes for streams (TCP, UDP, TLS) are not HTTP's and are left out.
///
/// Two matchers of one rank and one id cannot come from a plan; if they do, the earlier route is the better.
pub(super) fn ordered(routes: &[Route]) -> Vec<Matcher<'_>> {
    let mut all = Vec::with_capacity(routes.len());
    for (ix, route) in routes.iter().enumerate() {
        if speaks_http(route) {
            split(RouteIx(ix as u32), route, &mut all);
        }
    }
    all.sort_by_key(|matcher| Reverse((matcher.rank, matcher.id, Reverse(matcher.route))));
    all
}

/// A route without protocols is taken for HTTP's.
fn speaks_http(route: &Route) -> bool {
    let of_http =
        |protocol: &Protocol| matches!(protocol, Protocol::Http | Protocol::Https | Protocol::Grpc | Protocol::Grpcs);
    route.protocols.is_empty() || route.protocols.iter().any(of_http)
}

fn split<'a>(ix: RouteIx, route: &'a Route, all: &mut Vec<Matcher<'a>>) {
    let mut groups: Vec<Paths<'a>> = Vec::new();
    for path in &route.paths {
        match path {
            PathPattern::Regex(text) => {
                let group = groups.iter_mut().find_map(|group| match group {
                    Paths::Regexes(texts) => Some(texts),
                    _ => None,
                });
                match group {
                    Some(texts) => texts.push(text),
                    None => groups.push(Paths::Regexes(vec![text])),
                }
            }
            PathPattern::Prefix(text) => {
                let group = groups.iter_mut().find_map(|group| match group {
                    Paths::Prefixes(texts) if texts[0].len() == text.len() => Some(texts),
                    _ => None,
                });
                match group {
                    Some(texts) => texts.push(text),
                    None => groups.push(Paths::Prefixes(vec![text])),
                }
            }
        }
    }
    if groups.is_empty() {
        groups.push(Paths::Any);
    }
    let split = groups.len() > 1;
    for (n, paths) in (1..).zip(groups) {
        let id = match split {
            true => Uuid::new_v5(&SPLIT_IDS, format!("{}#{n}", route.id).as_bytes()),
            false => route.id,
        };
        let parts = parts(route, &paths);
        all.push(Matcher { route: ix, id, parts, rank: parts.into(), paths });
    }
}

fn parts(route: &Route, paths: &Paths<'_>) -> Parts {
    let populated = [
        !route.methods.is_empty(),
        !route.hosts.is_empty(),
        !route.headers.is_empty(),
        !route.snis.is_empty(),
        !route.paths.is_empty(),
    ];
    Parts {
        attributes: populated.into_iter().map(u32::from).sum(),
        plain_host: !route.hosts.is_empty() && route.hosts.iter().all(|host| matches!(host.name, HostName::Exact(_))),
        headers: route.headers.len(),
        regex_priority: matches!(paths, Paths::Regexes(_)).then_some(route.regex_priority),
        prefix_bytes: match paths {
            Paths::Prefixes(texts) => texts[0].len(),
            Paths::Any | Paths::Regexes(_) => 0,
        },
    }
}

/// Name space of the ids of split routes. Fixed: ties between routes must fall as they fell before a migration.
const SPLIT_IDS: Uuid = Uuid::from_u128(0x7f14_5bf9_0dce_4f91_98eb_debb_ce4b_9f6b);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::wild;

    #[test]
    fn paths_are_grouped_by_kind_and_length_and_numbered_as_listed() {
        let mut route = wild::route(7);
        let path = |text: &str| match text.strip_prefix('~') {
            Some(regex) => PathPattern::Regex(regex.into()),
            None => PathPattern::Prefix(text.into()),
        };
        route.paths = ["/aa", "~/x", "/b", "/cc", "~/y"].map(path).to_vec();
        let routes = [route];
        let all = ordered(&routes);
        let shown: Vec<_> = all.iter().map(|matcher| (matcher.paths.clone(), matcher.id)).collect();
        let id = |n: u32| Uuid::new_v5(&SPLIT_IDS, format!("{}#{n}", routes[0].id).as_bytes());
        let want = [
            (Paths::Regexes(vec!["/x", "/y"]), id(2)),
            (Paths::Prefixes(vec!["/aa", "/cc"]), id(1)),
            (Paths::Prefixes(vec!["/b"]), id(3)),
        ];
        assert_eq!(shown, want);
        assert_eq!(id(1).to_string(), "66c561ba-ecae-5b9d-8932-00ce84222c0c", "as any other maker of UUIDs has it");
    }

    #[test]
    fn a_route_of_one_group_keeps_its_id_and_streams_are_left_out() {
        let mut one = wild::route(1);
        one.paths = vec![PathPattern::Prefix("/a".into()), PathPattern::Prefix("/b".into())];
        let mut stream = wild::route(2);
        stream.protocols = vec![Protocol::Tls];
        stream.snis = vec!["a.test".into()];
        let routes = [one, stream];
        let all = ordered(&routes);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].id, routes[0].id);
    }
}
