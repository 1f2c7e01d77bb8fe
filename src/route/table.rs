//! The routes of one generation, compiled: host → trie of paths → candidates in order of rank.
//!
//! Every matcher has a number, 0 the best; the answer is the least number whose predicates hold, so that buckets,
//! stops and lists may be met in any order, and whatever cannot be better than what was found is passed over.
//! A regular expression stands in the trie at the literal bytes that every match of it begins with, and is run only
//! when the walk has come there and its matcher would be better.
//!
//! Cost: a look-up by hash per label of the host at most, one walk down the path for each bucket met, and the
//! candidates of the prefixes on the way; nothing grows with the number of routes. What does: matchers with the same
//! host and path that no single field tells apart, and expressions that begin alike (see [`Patterns::make_set`]).
//! Routes that combine many hosts, each with a set of routes of its own, with many paths stand in the tables of each.

use super::candidates::Lists;
use super::host::{Gather, Hosts};
use super::matcher::{ordered, Fault, Matcher, Paths};
use super::pattern::{Anchor, Captures, Patterns, Scratchpad};
use super::predicate::Needs;
use super::trie::{Plant, Trie, NONE};
use super::{Fields, Query};
use crate::base::id::RouteIx;
use crate::base::limits;
use crate::plan::Route;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Finds the route of a request. Immutable and shared by all shards; what a search writes to is in a [`Scratch`].
#[derive(Debug)]
pub struct Table {
    hosts: Hosts,
    /// Roots of tries, by bucket.
    buckets: Vec<u32>,
    trie: Trie,
    lists: Lists,
    groups: Vec<Group>,
    patterns: Patterns,
    /// By route.
    needs: Vec<Needs>,
    /// Routes and lengths by matcher, best first.
    routes: Vec<RouteIx>,
    lengths: Vec<Length>,
    token: Arc<()>,
}

/// The regular expressions at one place of a trie.
#[derive(Debug)]
struct Group {
    /// The best matcher of all.
    best: u32,
    /// Expression and the list of its matchers; the one with the best matcher first.
    members: Vec<(u32, u32)>,
    /// All of them at once; [`NONE`] where they are few.
    set: u32,
}

/// How many bytes a matcher matches.
#[derive(Debug)]
enum Length {
    /// This many.
    Known(u32),
    /// As many as the first of these expressions that matches.
    First(Box<[u32]>),
}

/// What a search writes to: one per shard. It serves any table; the first search in another one starts it afresh.
#[derive(Debug, Default)]
pub struct Scratch {
    token: Option<Arc<()>>,
    pad: Scratchpad,
}

/// The route of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which.
    pub route: RouteIx,
    /// Bytes of the normalised path that the route's path matched: a prefix, or the whole match of an expression;
    /// 0 for a route without paths.
    pub prefix_len: usize,
    /// The expression, or `u32::MAX`.
    pub(super) pattern: u32,
}

/// The best so far.
#[derive(Clone, Copy)]
struct Best {
    ord: u32,
    /// The expression by which it was found and the bytes it matched; [`NONE`] where that is not known yet.
    pattern: u32,
    matched: usize,
}

impl Table {
    /// Compiles the routes. For ten thousand of them some tens of milliseconds; do it off the serving threads.
    ///
    /// # Errors
    /// Every route that does not compile.
    pub fn compile(routes: &[Route]) -> Result<Table, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut patterns = Patterns::default();
        let mut needs = Vec::with_capacity(routes.len());
        for (ix, route) in routes.iter().enumerate() {
            needs.push(Needs::of(route, &mut patterns).unwrap_or_else(|what| {
                faults.push(Fault { route: RouteIx(ix as u32), what });
                Needs::default()
            }));
        }
        let matchers = ordered(routes);
        let mut lengths = Vec::with_capacity(matchers.len());
        for matcher in &matchers {
            lengths.push(match &matcher.paths {
                Paths::Any => Length::Known(0),
                Paths::Prefixes(texts) => Length::Known(texts[0].len() as u32),
                Paths::Regexes(texts) => {
                    let compiled = texts.iter().map(|text| patterns.take_or_compile(text, Anchor::Start));
                    Length::First(compiled.collect::<Result<_, _>>().unwrap_or_else(|what| {
                        faults.push(Fault { route: matcher.route, what });
                        Box::default()
                    }))
                }
            });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut table = Table {
            hosts: Hosts::default(),
            buckets: Vec::new(),
            trie: Trie::default(),
            lists: Lists::default(),
            groups: Vec::new(),
            patterns,
            needs,
            routes: matchers.iter().map(|matcher| matcher.route).collect(),
            lengths,
            token: Arc::new(()),
        };
        let mut gather = Gather::default();
        for (ord, matcher) in matchers.iter().enumerate() {
            gather.add(ord as u32, &routes[matcher.route.ix()].hosts);
        }
        table.hosts = gather.finish(|ords| table.add_bucket(ords, &matchers));
        Ok(table)
    }

    /// The route that wins, or `None`. Allocates nothing once `scratch` has met the table's expressions.
    pub fn find<F: Fields + ?Sized>(&self, query: &Query<'_, F>, scratch: &mut Scratch) -> Option<Match> {
        let pad = scratch.fit(self);
        let mut best = Best { ord: NONE, pattern: NONE, matched: 0 };
        let mut host = std::mem::take(&mut pad.host);
        self.hosts.visit(query.host, query.port_meant(), &mut host, |bucket| {
            self.search(self.buckets[bucket as usize], query, pad, &mut best);
        });
        pad.host = host;
        let route = *self.routes.get(best.ord as usize)?;
        match &self.lengths[best.ord as usize] {
            Length::Known(bytes) => Some(Match { route, prefix_len: *bytes as usize, pattern: NONE }),
            Length::First(all) if all.len() == 1 && best.pattern != NONE => {
                Some(Match { route, prefix_len: best.matched, pattern: best.pattern })
            }
            Length::First(all) => all.iter().find_map(|ix| {
                let prefix_len = self.patterns.matched(*ix, query.path, pad)?;
                Some(Match { route, prefix_len, pattern: *ix })
            }),
        }
    }

    /// The groups of the expression that matched `path`; `None` where no expression did. Runs it again: only routes
    /// with something that wants the groups pay for them.
    pub fn captures<'t, 'p>(
        &'t self,
        found: &Match,
        path: &'p [u8],
        scratch: &'t mut Scratch,
    ) -> Option<Captures<'t, 'p>> {
        self.patterns.captures(found.pattern()?, path, scratch.fit(self))
    }

    /// Narrows `best` by the candidates of one bucket.
    #[inline]
    fn search<F: Fields + ?Sized>(&self, root: u32, query: &Query<'_, F>, pad: &mut Scratchpad, best: &mut Best) {
        let mut at = self.trie.walk(root, query.path);
        while at != NONE {
            let stop = self.trie.stop(at);
            if stop.best >= best.ord {
                return;
            }
            if stop.list != NONE {
                let ord = self.better(stop.list, best.ord, query, pad);
                if ord != best.ord {
                    *best = Best { ord, pattern: NONE, matched: 0 };
                }
            }
            if stop.group != NONE {
                self.search_group(&self.groups[stop.group as usize], query, pad, best);
            }
            at = stop.up;
        }
    }

    fn search_group<F: Fields + ?Sized>(
        &self,
        group: &Group,
        query: &Query<'_, F>,
        pad: &mut Scratchpad,
        best: &mut Best,
    ) {
        if group.best >= best.ord {
            return;
        }
        if group.set != NONE && self.patterns.matching(group.set, query.path, pad) {
            let hits = std::mem::take(&mut pad.hits);
            for hit in &hits {
                let (_, list) = group.members[*hit as usize];
                let ord = self.better(list, best.ord, query, pad);
                if ord != best.ord {
                    *best = Best { ord, pattern: NONE, matched: 0 };
                }
            }
            pad.hits = hits;
            return;
        }
        for (pattern, list) in &group.members {
            // The other predicates first: they cost less than an expression.
            let ord = self.better(*list, best.ord, query, pad);
            if ord == best.ord {
                continue;
            }
            if let Some(matched) = self.patterns.matched(*pattern, query.path, pad) {
                *best = Best { ord, pattern: *pattern, matched };
            }
        }
    }

    #[inline]
    fn better<F: Fields + ?Sized>(&self, list: u32, best: u32, query: &Query<'_, F>, pad: &mut Scratchpad) -> u32 {
        self.lists.better(list, best, query, &self.needs, &self.patterns, pad)
    }

    fn add_bucket(&mut self, ords: &[u32], matchers: &[Matcher<'_>]) -> u32 {
        #[derive(Default)]
        struct Here {
            plain: Vec<u32>,
            by_pattern: Vec<(u32, Vec<u32>)>,
        }
        let mut places: BTreeMap<&[u8], Here> = BTreeMap::new();
        let patterns = &self.patterns;
        let mut at_pattern: HashMap<u32, usize> = HashMap::new();
        for &ord in ords {
            match (&matchers[ord as usize].paths, &self.lengths[ord as usize]) {
                (Paths::Any, _) => places.entry(b"").or_default().plain.push(ord),
                (Paths::Prefixes(texts), _) => {
                    for text in texts {
                        let plain = &mut places.entry(text.as_bytes()).or_default().plain;
                        // A route that lists a path twice is one candidate.
                        if plain.last() != Some(&ord) {
                            plain.push(ord);
                        }
                    }
                }
                (Paths::Regexes(_), Length::First(all)) => {
                    for &ix in all {
                        let here = &mut places.entry(patterns.prefix(ix)).or_default().by_pattern;
                        let nth = *at_pattern.entry(ix).or_insert_with(|| {
                            here.push((ix, Vec::new()));
                            here.len() - 1
                        });
                        if here[nth].1.last() != Some(&ord) {
                            here[nth].1.push(ord);
                        }
                    }
                }
                (Paths::Regexes(_), Length::Known(_)) => {}
            }
        }
        // The prefixes of expressions live in `patterns`, which sets are added to: first the lists, then the sets.
        let mut groups: Vec<Vec<(u32, Vec<u32>)>> = Vec::new();
        let mut plants: BTreeMap<Vec<u8>, Plant> = BTreeMap::new();
        for (key, here) in places {
            let mut plant = Plant { best: NONE, list: NONE, group: NONE };
            if let Some(best) = here.plain.first() {
                plant.best = *best;
                plant.list = self.lists.add(&here.plain, &self.routes, &self.needs);
            }
            if let Some((_, ords)) = here.by_pattern.first() {
                // Matchers came best first, so the first expression has the best of all.
                plant.best = plant.best.min(ords[0]);
                plant.group = (self.groups.len() + groups.len()) as u32;
                groups.push(here.by_pattern);
            }
            plants.insert(key.to_vec(), plant);
        }
        for group in groups {
            self.add_group(group);
        }
        let plants = plants.iter().map(|(key, plant)| (&**key, *plant)).collect();
        self.buckets.push(self.trie.grow(&plants));
        self.buckets.len() as u32 - 1
    }

    fn add_group(&mut self, group: Vec<(u32, Vec<u32>)>) {
        let ixs: Vec<u32> = group.iter().map(|(ix, _)| *ix).collect();
        let set = match ixs.len() > limits::ROUTE_PATTERNS_ONE_BY_ONE_MAX {
            true => self.patterns.make_set(&ixs).unwrap_or(NONE),
            false => NONE,
        };
        let best = group.first().map_or(NONE, |(_, ords)| ords[0]);
        let members = group.iter().map(|(ix, ords)| (*ix, self.lists.add(ords, &self.routes, &self.needs))).collect();
        self.groups.push(Group { best, members, set });
    }
}

impl Scratch {
    /// Memory for a search in `table`.
    fn fit(&mut self, table: &Table) -> &mut Scratchpad {
        if !self.token.as_ref().is_some_and(|token| Arc::ptr_eq(token, &table.token)) {
            self.token = Some(table.token.clone());
            self.pad = table.patterns.pad();
        }
        &mut self.pad
    }
}
