//! Lists of matchers that host and path have left: which is the best whose predicates hold?
//!
//! A short list is asked one by one, best first. A long one (ten thousand tenants on one path, told apart by a header)
//! is split by the field that divides it best: method, one header's value, or the TLS server name. What the field says
//! is looked up by hash; matchers that do not ask for the field, or not for plain values, stay in the list beside it,
//! which may be split again. What a look-up has answered is not asked again.

use super::pattern::{fold, Patterns, Scratchpad};
use super::predicate::{sni_asked, Needs, Want};
use super::trie::NONE;
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
    /// What candidates ask for. Equal needs are held once: the few that a table has stay in the cache.
    needs: Vec<Needs>,
    known: HashMap<Needs, u32>,
}

#[derive(Clone, Copy, Debug)]
struct List {
    /// The best of all its matchers, those in the split included.
    best: u32,
    /// Range of `candidates`, best first.
    at: u32,
    end: u32,
    /// Range of `splits`.
    splits_at: u32,
    splits_end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// The matcher: its place in the order.
    ord: u32,
    /// Index into `needs`; [`NONE`] for one that asks for nothing more.
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

/// In the number of a list: this is no list, but the one matcher it would hold, which asks for nothing.
const JUST: u32 = 1 << 31;

/// What routes ask for, and whose the matchers are.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    /// By matcher.
    pub(super) routes: &'a [RouteIx],
    /// By route.
    pub(super) needs: &'a [Needs],
}

impl<'a> Asking<'a> {
    fn of(self, ord: u32) -> &'a Needs {
        &self.needs[self.routes[ord as usize].ix()]
    }
}

impl Lists {
    /// Adds a list of these matchers, at least one, best first. Returns its number, which is never [`NONE`].
    pub(super) fn add(&mut self, ords: &[u32], asking: Asking<'_>) -> u32 {
        self.build(ords, asking, &mut Vec::new())
    }

    /// The best matcher of `list` that is better than `best` and whose predicates hold; `best` if there is none.
    #[inline]
    pub(super) fn better<F: Fields + ?Sized>(
        &self,
        list: u32,
        best: u32,
        query: &Query<'_, F>,
        patterns: &Patterns,
        pad: &mut Scratchpad,
    ) -> u32 {
        if list & JUST != 0 {
            return best.min(list & !JUST);
        }
        self.better_in(list, best, query, patterns, pad)
    }

    fn better_in<F: Fields + ?Sized>(
        &self,
        list: u32,
        mut best: u32,
        query: &Query<'_, F>,
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
            if candidate.needs == NONE || self.needs[candidate.needs as usize].hold(query, patterns, pad) {
                best = candidate.ord;
                break;
            }
        }
        for split in &self.splits[list.splits_at as usize..list.splits_end as usize] {
            best = self.better_by(split, best, query, patterns, pad);
        }
        best
    }

    fn better_by<F: Fields + ?Sized>(
        &self,
        split: &Split,
        mut best: u32,
        query: &Query<'_, F>,
        patterns: &Patterns,
        pad: &mut Scratchpad,
    ) -> u32 {
        match &split.by {
            Field::Method => {
                if let Some(list) = split.lists.get(query.method) {
                    best = self.better(*list, best, query, patterns, pad);
                }
            }
            Field::Sni if !query.tls => best = self.better(split.plain, best, query, patterns, pad),
            Field::Sni => {
                if let Some(sni) = sni_asked(query) {
                    fold(sni, &mut pad.lower);
                    if let Some(list) = split.lists.get(&*pad.lower) {
                        best = self.better(*list, best, query, patterns, pad);
                    }
                }
            }
            Field::Header(name) => {
                query.headers.any(name, |value| {
                    fold(value, &mut pad.lower);
                    if let Some(list) = split.lists.get(&*pad.lower) {
                        best = self.better(*list, best, query, patterns, pad);
                    }
                    false
                });
            }
        }
        best
    }

    /// `asked` are the fields that the way here has answered.
    fn build(&mut self, ords: &[u32], asking: Asking<'_>, asked: &mut Vec<Field>) -> u32 {
        if let [ord] = ords {
            if asking.of(*ord).without(asked).is_none() {
                return ord | JUST;
            }
        }
        let mut splits = Vec::new();
        let mut rest = ords.to_vec();
        while rest.len() > limits::ROUTE_CANDIDATES_MAX && splits.len() < limits::ROUTE_SPLITS_MAX {
            let Some(field) = divider(&rest, asking, asked) else { break };
            let all = std::mem::take(&mut rest);
            splits.push(self.split(field, &all, &mut rest, asking, asked));
        }
        let splits_at = self.splits.len() as u32;
        self.splits.extend(splits);
        let splits_end = self.splits.len() as u32;
        let at = self.candidates.len() as u32;
        for &ord in &rest {
            let needs = match asking.of(ord).without(asked) {
                Some(needs) => *self.known.entry(needs).or_insert_with_key(|needs| {
                    self.needs.push(needs.clone());
                    self.needs.len() as u32 - 1
                }),
                None => NONE,
            };
            self.candidates.push(Candidate { ord, needs });
        }
        let best = ords.first().copied().unwrap_or(NONE);
        self.lists.push(List { best, at, end: self.candidates.len() as u32, splits_at, splits_end });
        self.lists.len() as u32 - 1
    }

    /// Puts those that want plain values of `field` into lists by value, and the others into `rest`.
    fn split(
        &mut self,
        field: Field,
        ords: &[u32],
        rest: &mut Vec<u32>,
        asking: Asking<'_>,
        asked: &mut Vec<Field>,
    ) -> Split {
        let mut kin: HashMap<&[u8], Vec<u32>> = HashMap::new();
        let mut keyed = Vec::new();
        for &ord in ords {
            let Some(keys) = keys(asking.of(ord), &field) else {
                rest.push(ord);
                continue;
            };
            keyed.push(ord);
            for key in keys {
                let list = kin.entry(key).or_default();
                // A route that names a value twice is one candidate.
                if list.last() != Some(&ord) {
                    list.push(ord);
                }
            }
        }
        asked.push(field.clone());
        let mut lists = HashMap::with_hasher(RandomState::with_seeds(5, 6, 7, 8));
        for (key, ords) in kin {
            lists.insert(key.into(), self.build(&ords, asking, asked));
        }
        let plain = match field {
            Field::Sni => self.build(&keyed, asking, asked),
            Field::Method | Field::Header(_) => NONE,
        };
        asked.pop();
        Split { by: field, lists, plain }
    }
}

impl Needs {
    /// What is left to ask once these fields were answered; `None` for nothing. A field is answered only where plain
    /// values were wanted.
    fn without(&self, asked: &[Field]) -> Option<Needs> {
        let mut left = self.clone();
        for field in asked.iter().filter(|field| keys(self, field).is_some()) {
            match field {
                Field::Method => left.methods = Box::default(),
                Field::Sni => left.snis = Box::default(),
                Field::Header(name) => {
                    // The first of this name is the one that was looked up.
                    if let Some(at) = left.headers.iter().position(|need| need.name == *name) {
                        left.headers = left
                            .headers
                            .iter()
                            .enumerate()
                            .filter(|(nth, _)| *nth != at)
                            .map(|(_, need)| need.clone())
                            .collect();
                    }
                }
            }
        }
        (!left.is_empty()).then_some(left)
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

/// The field that spares the most questions: those who want it, less the most of one value. None, if no field would
/// halve those who want it.
fn divider(ords: &[u32], asking: Asking<'_>, asked: &[Field]) -> Option<Field> {
    #[derive(Default)]
    struct Count<'n> {
        with: usize,
        values: HashMap<&'n [u8], usize>,
    }
    let mut counts: HashMap<Field, Count<'_>> = HashMap::new();
    for &ord in ords {
        let needs = asking.of(ord);
        let headers = needs.headers.iter().map(|need| Field::Header(need.name.clone()));
        for field in headers.chain([Field::Method, Field::Sni]) {
            if asked.contains(&field) {
                continue;
            }
            if let Some(keys) = keys(needs, &field) {
                let count = counts.entry(field).or_default();
                count.with += 1;
                keys.into_iter().for_each(|key| *count.values.entry(key).or_default() += 1);
            }
        }
    }
    let spared = |count: &Count<'_>| count.with.saturating_sub(count.values.values().copied().max().unwrap_or(0));
    // A matcher stands in the list of every value it takes; a split must not multiply the table.
    let entries = |count: &Count<'_>| count.values.values().sum::<usize>();
    let worth = |count: &Count<'_>| {
        count.with > limits::ROUTE_CANDIDATES_MAX && spared(count) * 2 >= count.with && entries(count) <= count.with * 4
    };
    counts
        .into_iter()
        .filter(|(_, count)| worth(count))
        .max_by(|a, b| spared(&a.1).cmp(&spared(&b.1)).then_with(|| name_of(&a.0).cmp(name_of(&b.0))))
        .map(|(field, _)| field)
}

/// Makes the choice the same every time.
fn name_of(field: &Field) -> &str {
    match field {
        Field::Method => "",
        Field::Sni => " ",
        Field::Header(name) => name,
    }
}
