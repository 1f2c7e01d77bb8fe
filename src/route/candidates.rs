//! Lists of matchers that host and path have left: which is the best whose predicates hold?
//!
//! A short list is asked one by one, best first. A long one (ten thousand tenants on one path, told apart by a header)
//! is split by the field that divides it best: method, one header's value, or the TLS server name. What the field says
//! is looked up by hash; matchers that do not ask for the field, or not for plain values, stay in the list beside it.

use super::pattern::{fold, Patterns, Scratchpad};
use super::predicate::{sni_asked, Needs, Want};
use super::{Fields, Query};
use crate::base::id::RouteIx;
use crate::base::limits;
use crate::plan::HostName;
use ahash::RandomState;
use std::collections::HashMap;

/// The lists of a table.
#[derive(Debug, Default)]
pub(super) struct Lists {
    lists: Vec<List>,
    candidates: Vec<Candidate>,
    splits: Vec<Split>,
}

#[derive(Clone, Copy, Debug)]
struct List {
    /// The best of all its matchers, those in the split included.
    best: u32,
    /// Range of `candidates`, best first.
    at: u32,
    end: u32,
    /// Index into `splits`, or [`NONE`].
    split: u32,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// The matcher: its place in the order.
    ord: u32,
    /// Index into the needs of routes; [`NONE`] for a route that asks for nothing more.
    needs: u32,
}

#[derive(Debug)]
struct Split {
    by: Field,
    lists: HashMap<Box<[u8]>, u32, RandomState>,
    /// For server names: the same matchers for requests without TLS, of whom nobody asks for a server name.
    plain: u32,
}

/// What a list may be split by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Field {
    Method,
    Sni,
    /// Lower-case name.
    Header(Box<str>),
}

const NONE: u32 = u32::MAX;

impl Lists {
    /// Adds a list of these matchers, given in order. `needs_of` says which predicates a matcher has.
    pub(super) fn add(&mut self, ords: &[u32], routes: &[RouteIx], needs: &[Needs]) -> u32 {
        self.build(ords, routes, needs, &mut Vec::new())
    }

    /// The best matcher of `list` that is better than `best` and whose predicates hold; `best` if there is none.
    pub(super) fn better<F: Fields + ?Sized>(
        &self,
        list: u32,
        mut best: u32,
        query: &Query<'_, F>,
        needs: &[Needs],
        patterns: &Patterns,
        pad: &mut Scratchpad,
    ) -> u32 {
        let list = self.lists[list as usize];
        if list.best >= best {
            return best;
        }
        for candidate in &self.candidates[list.at as usize..list.end as usize] {
            if candidate.ord >= best {
                break;
            }
            if candidate.needs == NONE || needs[candidate.needs as usize].hold(query, patterns, pad) {
                best = candidate.ord;
                break;
            }
        }
        let Some(split) = self.splits.get(list.split as usize) else { return best };
        match &split.by {
            Field::Method => {
                if let Some(list) = split.lists.get(query.method) {
                    best = self.better(*list, best, query, needs, patterns, pad);
                }
            }
            Field::Sni if !query.tls => best = self.better(split.plain, best, query, needs, patterns, pad),
            Field::Sni => {
                if let Some(sni) = sni_asked(query) {
                    fold(sni, &mut pad.lower);
                    if let Some(list) = split.lists.get(&*pad.lower) {
                        best = self.better(*list, best, query, needs, patterns, pad);
                    }
                }
            }
            Field::Header(name) => {
                query.headers.any(name, |value| {
                    fold(value, &mut pad.lower);
                    if let Some(list) = split.lists.get(&*pad.lower) {
                        best = self.better(*list, best, query, needs, patterns, pad);
                    }
                    false
                });
            }
        }
        best
    }

    fn build(&mut self, ords: &[u32], routes: &[RouteIx], needs: &[Needs], used: &mut Vec<Field>) -> u32 {
        let needs_of = |ord: u32| &needs[routes[ord as usize].ix()];
        let mut split = NONE;
        let mut rest = Vec::new();
        let field = (ords.len() > limits::ROUTE_CANDIDATES_MAX).then(|| divider(ords, needs_of, used)).flatten();
        if let Some(field) = field {
            let mut kin: HashMap<Box<[u8]>, Vec<u32>> = HashMap::new();
            for &ord in ords {
                match keys(needs_of(ord), &field) {
                    Some(keys) => keys.into_iter().for_each(|key| {
                        let list = kin.entry(key.into()).or_default();
                        // A route that names a value twice is one candidate.
                        if list.last() != Some(&ord) {
                            list.push(ord);
                        }
                    }),
                    None => rest.push(ord),
                }
            }
            used.push(field.clone());
            let mut lists = HashMap::with_hasher(RandomState::with_seeds(5, 6, 7, 8));
            for (key, ords) in kin {
                lists.insert(key, self.build(&ords, routes, needs, used));
            }
            let plain = match field {
                Field::Sni => {
                    let split: Vec<u32> =
                        ords.iter().copied().filter(|ord| keys(needs_of(*ord), &field).is_some()).collect();
                    self.build(&split, routes, needs, used)
                }
                Field::Method | Field::Header(_) => NONE,
            };
            used.pop();
            split = self.splits.len() as u32;
            self.splits.push(Split { by: field, lists, plain });
        } else {
            rest.extend_from_slice(ords);
        }
        let at = self.candidates.len() as u32;
        for &ord in &rest {
            let route = routes[ord as usize];
            let needs = if needs[route.ix()].is_empty() { NONE } else { route.0 };
            self.candidates.push(Candidate { ord, needs });
        }
        let best = ords.first().copied().unwrap_or(NONE);
        self.lists.push(List { best, at, end: self.candidates.len() as u32, split });
        self.lists.len() as u32 - 1
    }
}

/// The values of `field` that a matcher takes; `None` if it takes any, or says so by a pattern.
fn keys<'n>(needs: &'n Needs, field: &Field) -> Option<Vec<&'n [u8]>> {
    match field {
        Field::Method => (!needs.methods.is_empty()).then(|| needs.methods.iter().map(|method| &**method).collect()),
        Field::Sni if needs.snis.is_empty() => None,
        Field::Sni => needs
            .snis
            .iter()
            .map(|sni| match sni {
                HostName::Exact(name) => Some(name.as_bytes()),
                HostName::Suffix(_) | HostName::Prefix(_) | HostName::Any => None,
            })
            .collect(),
        Field::Header(name) => {
            let need = needs.headers.iter().find(|need| need.name == *name)?;
            match &need.want {
                Want::OneOf(values) => Some(values.iter().map(|value| &**value).collect()),
                Want::Pattern(_) => None,
            }
        }
    }
}

/// The field that leaves the fewest matchers to ask in the worst case: those without the field, and the most of one
/// value. None, if no field would halve the list.
fn divider<'n>(ords: &[u32], needs_of: impl Fn(u32) -> &'n Needs, used: &[Field]) -> Option<Field> {
    let mut counts: HashMap<Field, (usize, HashMap<&[u8], usize>)> = HashMap::new();
    for &ord in ords {
        let needs = needs_of(ord);
        let headers = needs.headers.iter().map(|need| Field::Header(need.name.clone()));
        for field in headers.chain([Field::Method, Field::Sni]) {
            if used.contains(&field) {
                continue;
            }
            if let Some(keys) = keys(needs, &field) {
                let (with, values) = counts.entry(field).or_default();
                *with += 1;
                keys.into_iter().for_each(|key| *values.entry(key).or_default() += 1);
            }
        }
    }
    let worst = |(with, values): &(usize, HashMap<&[u8], usize>)| {
        ords.len() - with + values.values().copied().max().unwrap_or(0)
    };
    let entries = |(_, values): &(usize, HashMap<&[u8], usize>)| values.values().sum::<usize>();
    let best = counts
        .iter()
        // A matcher stands in the list of every value it takes; a split must not multiply the table.
        .filter(|(_, count)| worst(count) * 2 <= ords.len() && entries(count) <= ords.len() * 4)
        .min_by(|a, b| worst(a.1).cmp(&worst(b.1)).then_with(|| name_of(a.0).cmp(name_of(b.0))))?;
    Some(best.0.clone())
}

/// Makes the choice the same every time.
fn name_of(field: &Field) -> &str {
    match field {
        Field::Method => "",
        Field::Sni => " ",
        Field::Header(name) => name,
    }
}
