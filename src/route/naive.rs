//! The definition of routing: every matcher in order, every predicate of it, the first that holds wins. O(routes).
//!
//! [`super::Table`] must give the same answer for every query. This file is written to be read, and shares with the
//! table only the order of matchers and the question whether one name fits one host; it also tells `explain` at which
//! predicate a route failed.

use super::host::fits;
use super::matcher::{ordered, Fault, Matcher, Paths};
use super::predicate::{sni_fits, sni_pattern};
use super::{Fields, Query};
use crate::base::id::RouteIx;
use crate::plan::{HeaderWant, HostName, Route};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

/// A list of matchers, best first.
#[derive(Debug)]
pub struct Naive<'a> {
    routes: &'a [Route],
    entries: Vec<Entry<'a>>,
}

#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) matcher: Matcher<'a>,
    /// Of the matcher's paths, in their order.
    regexes: Vec<Regex>,
    /// Of the route's headers, in their order; `None` where plain values are wanted.
    headers: Vec<Option<Regex>>,
    snis: Vec<HostName>,
}

/// Name and bytes of a group.
type Group = (Option<String>, Option<Vec<u8>>);

/// The first predicate that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Method,
    Host,
    /// A host fits, but not at this port.
    Port,
    Path,
    /// The header at this place of the route.
    Header(usize),
    Sni,
}

impl<'a> Naive<'a> {
    /// Orders the routes and compiles their regular expressions.
    ///
    /// # Errors
    /// Every route that does not compile.
    pub fn of(routes: &'a [Route]) -> Result<Naive<'a>, Vec<Fault>> {
        let mut entries = Vec::new();
        let mut faults = Vec::new();
        for matcher in ordered(routes) {
            let route = matcher.route;
            match Entry::of(matcher, &routes[route.ix()]) {
                Ok(entry) => entries.push(entry),
                Err(what) => faults.push(Fault { route, what }),
            }
        }
        if faults.is_empty() {
            Ok(Naive { routes, entries })
        } else {
            Err(faults)
        }
    }

    /// The route that wins, and how many bytes of the path it matched.
    pub fn find<F: Fields + ?Sized>(&self, query: &Query<'_, F>) -> Option<(RouteIx, usize)> {
        self.entries.iter().find_map(|entry| {
            let matched = self.judge(entry, query).ok()?;
            Some((entry.matcher.route, matched))
        })
    }

    /// Names and bytes of the groups of the expression that wins, whole match first; `None` where none does.
    pub(super) fn groups<F: Fields + ?Sized>(&self, query: &Query<'_, F>) -> Option<Vec<Group>> {
        let winner = self.entries.iter().find(|entry| self.judge(entry, query).is_ok())?;
        winner.regexes.iter().find_map(|regex| {
            let mut found = regex.create_captures();
            regex.captures(Input::new(query.path).anchored(Anchored::Yes), &mut found);
            let names = found.group_info().pattern_names(found.pattern()?);
            let bytes = found.iter().map(|span| Some(query.path[span?.range()].to_vec()));
            Some(names.map(|name| name.map(String::from)).zip(bytes).collect())
        })
    }

    pub(super) fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    pub(super) fn route(&self, entry: &Entry<'a>) -> &'a Route {
        &self.routes[entry.matcher.route.ix()]
    }

    /// Bytes of the path that `entry` matches, or why it does not match.
    pub(super) fn judge<F: Fields + ?Sized>(&self, entry: &Entry<'a>, query: &Query<'_, F>) -> Result<usize, Miss> {
        let route = self.route(entry);
        if !route.methods.is_empty() && !route.methods.iter().any(|method| method.as_bytes() == query.method) {
            return Err(Miss::Method);
        }
        if !route.hosts.is_empty() {
            let mut fitting = route.hosts.iter().filter(|host| fits(&host.name, query.host)).peekable();
            if fitting.peek().is_none() {
                return Err(Miss::Host);
            }
            if !fitting.any(|host| host.port.is_none_or(|port| port == query.port_meant())) {
                return Err(Miss::Port);
            }
        }
        let matched = match &entry.matcher.paths {
            Paths::Any => Some(0),
            Paths::Prefixes(texts) => {
                texts.iter().find(|text| query.path.starts_with(text.as_bytes())).map(|text| text.len())
            }
            Paths::Regexes(_) => entry
                .regexes
                .iter()
                .find_map(|regex| Some(regex.find(Input::new(query.path).anchored(Anchored::Yes))?.end())),
        };
        let matched = matched.ok_or(Miss::Path)?;
        for (at, header) in route.headers.iter().enumerate() {
            let regex = &entry.headers[at];
            let holds = query.headers.any(&header.name.to_ascii_lowercase(), |value| {
                let value = value.to_ascii_lowercase();
                match (&header.want, regex) {
                    (HeaderWant::OneOf(wanted), _) => wanted.iter().any(|want| want.as_bytes() == value),
                    (HeaderWant::Regex(_), Some(regex)) => regex.is_match(&value),
                    (HeaderWant::Regex(_), None) => false,
                }
            });
            if !holds {
                return Err(Miss::Header(at));
            }
        }
        if !entry.snis.is_empty() && !sni_fits(&entry.snis, query) {
            return Err(Miss::Sni);
        }
        Ok(matched)
    }
}

impl<'a> Entry<'a> {
    fn of(matcher: Matcher<'a>, route: &Route) -> Result<Entry<'a>, String> {
        let regexes = match &matcher.paths {
            Paths::Regexes(texts) => texts.iter().map(|text| regex(text)).collect::<Result<_, _>>()?,
            Paths::Any | Paths::Prefixes(_) => Vec::new(),
        };
        let mut headers = Vec::new();
        for header in &route.headers {
            headers.push(match &header.want {
                HeaderWant::Regex(text) => Some(regex(text)?),
                HeaderWant::OneOf(_) => None,
            });
        }
        let snis = route.snis.iter().map(|sni| sni_pattern(sni)).collect();
        Ok(Entry { matcher, regexes, headers, snis })
    }
}

/// Paths are bytes: an expression may match part of a character that is not UTF-8, but `.` never does.
fn regex(text: &str) -> Result<Regex, String> {
    let config = Regex::config().utf8_empty(false);
    let built = Regex::builder().configure(config).syntax(syntax::Config::new().utf8(false)).build(text);
    built.map_err(|e| match e.syntax_error() {
        Some(syntax) => format!("{text}: {syntax}"),
        None => format!("{text}: {e}"),
    })
}
