//! The routes of one generation, compiled: host → trie of paths → candidates in order of rank.
//!
//! Every matcher has a number, 0 the best; the answer is the least number whose predicates hold, so that buckets,
//! stops and lists may be met in any order, and whatever cannot be better than what was found is passed over.
//! Path expressions stand in the trie too, as far as they leave no choice (`steps.rs`); an engine runs only for what
//! is left of one, when the path has come that far and its matcher would be better.
//!
//! Cost: a look-up by hash per label of the host at most, one walk down the path for each bucket met and each run on
//! the way, and the candidates at the stops; nothing of it grows with the number of routes. What does: matchers with
//! the same host and path that no single field tells apart, and expressions that part only after `.*` or an
//! alternative, as far as the path holds the bytes that each of them needs. Routes that combine many hosts, each with a set of routes
//! of its own, with many paths stand in the tries of each.

use super::candidates::{Asking, Lists};
use super::host::{Gather, Hosts};
use super::matcher::{ordered, Fault, Matcher, Paths};
use super::pattern::{Captures, Patterns, Scratchpad, Stride, Tail};
use super::predicate::Needs;
use super::trie::{Plant, RunEdge, Seed, Trie, NONE};
use super::{Fields, Query};
use crate::base::id::RouteIx;
use crate::base::limits;
use crate::plan::Route;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Finds the route of a request. Immutable and shared by all shards; what a search writes to is in a [`Scratch`].
#[derive(Debug)]
pub struct Table {
    /// Buckets are roots of tries.
    hosts: Hosts,
    trie: Trie,
    lists: Lists,
    groups: Vec<Group>,
    patterns: Patterns,
    /// By matcher.
    outcomes: Vec<Outcome>,
    /// Path expressions of matchers that have several, in the order of their route.
    several: Vec<Box<[u32]>>,
    token: Arc<()>,
}

/// The rests of expressions at one place of a trie.
#[derive(Debug)]
struct Group {
    /// The best matcher of all.
    best: u32,
    /// Rest and the list of its matchers; the one with the best matcher first.
    members: Vec<(u32, u32)>,
    /// Says which members are worth running; [`NONE`] where they are few.
    sieve: u32,
}

/// What it means that a matcher has won. 16 bytes, aligned to as many: in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
struct Outcome {
    route: RouteIx,
    by: By,
}

/// By what a matcher matches paths.
#[derive(Clone, Copy, Debug)]
enum By {
    /// Prefixes of so many bytes; 0 for any path.
    Prefix(u32),
    /// One path expression.
    Expr(u32),
    /// Those at this place of `several`.
    Several(u32),
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
    /// The path expression, or [`NONE`].
    expr: u32,
}

/// The best so far.
#[derive(Clone, Copy)]
struct Best {
    ord: u32,
    /// Bytes of the path that were matched when it was found.
    matched: usize,
}

impl Table {
    /// Compiles the routes. Some ten milliseconds for ten thousand; do it off the serving threads.
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
        let mut outcomes = Vec::with_capacity(matchers.len());
        let mut several: Vec<Box<[u32]>> = Vec::new();
        for matcher in &matchers {
            let by = match &matcher.paths {
                Paths::Any => By::Prefix(0),
                Paths::Prefixes(texts) => By::Prefix(texts[0].len() as u32),
                Paths::Regexes(texts) => {
                    let compiled: Result<Box<[u32]>, String> =
                        texts.iter().map(|text| patterns.add_path(text)).collect();
                    match compiled.as_deref() {
                        Ok([one]) => By::Expr(*one),
                        Ok(all) => {
                            several.push(all.into());
                            By::Several(several.len() as u32 - 1)
                        }
                        Err(what) => {
                            faults.push(Fault { route: matcher.route, what: what.clone() });
                            By::Prefix(0)
                        }
                    }
                }
            };
            outcomes.push(Outcome { route: matcher.route, by });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let owners: Vec<RouteIx> = matchers.iter().map(|matcher| matcher.route).collect();
        let mut table = Table {
            hosts: Hosts::empty(),
            trie: Trie::default(),
            lists: Lists::default(),
            groups: Vec::new(),
            patterns,
            outcomes,
            several,
            token: Arc::new(()),
        };
        let mut gather = Gather::default();
        for (ord, matcher) in matchers.iter().enumerate() {
            gather.add(ord as u32, &routes[matcher.route.ix()].hosts);
        }
        let asking = Asking { routes: &owners, needs: &needs };
        table.hosts = gather.finish(|ords| table.add_bucket(ords, &matchers, asking));
        Ok(table)
    }

    /// The route that wins, or `None`. Allocates nothing once `scratch` has met the table's expressions.
    pub fn find<F: Fields + ?Sized>(&self, query: &Query<'_, F>, scratch: &mut Scratch) -> Option<Match> {
        let pad = scratch.fit(self);
        let mut best = Best { ord: NONE, matched: 0 };
        let mut host = std::mem::take(&mut pad.host);
        self.hosts.visit(query.host, query.port_meant(), &mut host, |root| self.search(root, 0, query, pad, &mut best));
        pad.host = host;
        let Outcome { route, by } = *self.outcomes.get(best.ord as usize)?;
        match by {
            By::Prefix(bytes) => Some(Match { route, prefix_len: bytes as usize, expr: NONE }),
            By::Expr(expr) => Some(Match { route, prefix_len: best.matched, expr }),
            // The first listed counts, which need not be the one that was met.
            By::Several(at) => self.several[at as usize].iter().find_map(|expr| {
                let prefix_len = self.patterns.matched(*expr, query.path, pad)?;
                Some(Match { route, prefix_len, expr: *expr })
            }),
        }
    }

    /// The groups of the path expression that matched `path`; `None` where no expression did. Runs it again: only
    /// routes with something that wants the groups pay for them.
    pub fn captures<'t, 'p>(
        &'t self,
        found: &Match,
        path: &'p [u8],
        scratch: &'t mut Scratch,
    ) -> Option<Captures<'t, 'p>> {
        let pad = scratch.fit(self);
        (found.expr != NONE).then(|| self.patterns.captures(found.expr, path, pad)).flatten()
    }

    /// Narrows `best` by the trie at `root`, for the path from `from` on. Recursion is as deep as an expression has
    /// runs that are steps, which `steps.rs` bounds.
    fn search<F: Fields + ?Sized>(
        &self,
        root: u32,
        from: usize,
        query: &Query<'_, F>,
        pad: &mut Scratchpad,
        best: &mut Best,
    ) {
        let mut next = self.trie.walk(root, &query.path[from..]);
        while next != NONE {
            let stop = self.trie.stop(next);
            if stop.best >= best.ord {
                return;
            }
            let at = from + stop.depth as usize;
            if stop.plant.list != NONE {
                self.take_better(stop.plant.list, at, query, pad, best);
            }
            if stop.plant.end != NONE && at == query.path.len() {
                self.take_better(stop.plant.end, at, query, pad, best);
            }
            if stop.plant.group != NONE {
                self.search_group(&self.groups[stop.plant.group as usize], at, query, pad, best);
            }
            for edge in self.trie.runs(stop.plant.runs) {
                if edge.best < best.ord {
                    if let Some(end) = self.patterns.run_end(edge.run, query.path, at) {
                        self.search(edge.root, end, query, pad, best);
                    }
                }
            }
            next = stop.up;
        }
    }

    fn search_group<F: Fields + ?Sized>(
        &self,
        group: &Group,
        at: usize,
        query: &Query<'_, F>,
        pad: &mut Scratchpad,
        best: &mut Best,
    ) {
        if group.best >= best.ord {
            return;
        }
        if group.sieve == NONE {
            group.members.iter().for_each(|member| self.search_member(*member, at, query, pad, best));
            return;
        }
        self.patterns.sieve(group.sieve, query.path, at, pad);
        let members = std::mem::take(&mut pad.sieved.members);
        members.iter().for_each(|nth| self.search_member(group.members[*nth as usize], at, query, pad, best));
        pad.sieved.members = members;
    }

    fn search_member<F: Fields + ?Sized>(
        &self,
        (rest, list): (u32, u32),
        at: usize,
        query: &Query<'_, F>,
        pad: &mut Scratchpad,
        best: &mut Best,
    ) {
        // The other predicates first: they cost less than an engine.
        let ord = self.lists.better(list, best.ord, query, &self.patterns, pad);
        if ord < best.ord {
            if let Some(matched) = self.patterns.rest_end(rest, query.path, at, pad) {
                *best = Best { ord, matched };
            }
        }
    }

    #[inline]
    fn take_better<F: Fields + ?Sized>(
        &self,
        list: u32,
        matched: usize,
        query: &Query<'_, F>,
        pad: &mut Scratchpad,
        best: &mut Best,
    ) {
        let ord = self.lists.better(list, best.ord, query, &self.patterns, pad);
        if ord < best.ord {
            *best = Best { ord, matched };
        }
    }

    /// Adds the trie of these matchers, best first, and returns its root.
    fn add_bucket(&mut self, ords: &[u32], matchers: &[Matcher<'_>], asking: Asking<'_>) -> u32 {
        let mut level = Level::default();
        for &ord in ords {
            match &matchers[ord as usize].paths {
                Paths::Any => push(&mut level.place(b"").done, ord),
                Paths::Prefixes(texts) => {
                    texts.iter().for_each(|text| push(&mut level.place(text.as_bytes()).done, ord));
                }
                Paths::Regexes(_) => {
                    let exprs = match &self.outcomes[ord as usize].by {
                        By::Prefix(_) => &[],
                        By::Expr(one) => std::slice::from_ref(one),
                        By::Several(at) => &self.several[*at as usize][..],
                    };
                    for &ix in exprs {
                        let expr = self.patterns.path(ix);
                        level.add(&expr.steps, expr.tail, ord);
                    }
                }
            }
        }
        self.add_level(level, asking).0
    }

    /// Returns the root and the best matcher of the whole level.
    fn add_level(&mut self, level: Level, asking: Asking<'_>) -> (u32, u32) {
        let mut seeds = Vec::with_capacity(level.places.len());
        let mut best_of_all = NONE;
        for (key, place) in level.places {
            let mut best = NONE;
            let mut add_list = |ords: &[u32]| match ords.first() {
                Some(first) => {
                    best = best.min(*first);
                    self.lists.add(ords, asking)
                }
                None => NONE,
            };
            let list = add_list(&place.done);
            let end = add_list(&place.end);
            let group = self.add_group(place.rests, asking);
            if let Some(group) = self.groups.get(group as usize) {
                best = best.min(group.best);
            }
            let mut edges = Vec::with_capacity(place.runs.len());
            for (run, level) in place.runs {
                let (root, behind) = self.add_level(level, asking);
                edges.push(RunEdge { run, root, best: behind });
                best = best.min(behind);
            }
            edges.sort_by_key(|edge| edge.best);
            let runs = self.trie.add_runs(&edges);
            seeds.push(Seed { key, best, plant: Plant { list, end, group, runs } });
            best_of_all = best_of_all.min(best);
        }
        (self.trie.grow(&seeds), best_of_all)
    }

    fn add_group(&mut self, mut rests: Vec<(u32, Vec<u32>)>, asking: Asking<'_>) -> u32 {
        rests.sort_by_key(|(_, ords)| ords[0]);
        let Some(best) = rests.first().map(|(_, ords)| ords[0]) else { return NONE };
        let sieve = if rests.len() > limits::ROUTE_RESTS_ONE_BY_ONE_MAX {
            let ixs: Vec<u32> = rests.iter().map(|(ix, _)| *ix).collect();
            self.patterns.add_sieve(&ixs).unwrap_or(NONE)
        } else {
            NONE
        };
        let members = rests.into_iter().map(|(ix, ords)| (ix, self.lists.add(&ords, asking))).collect();
        self.groups.push(Group { best, members, sieve });
        self.groups.len() as u32 - 1
    }
}

/// A trie before it is compiled.
#[derive(Default)]
struct Level {
    places: BTreeMap<Vec<u8>, Place>,
}

/// What stands at one prefix of it; matchers best first.
#[derive(Default)]
struct Place {
    /// They have matched.
    done: Vec<u32>,
    /// They want the end of the path.
    end: Vec<u32>,
    /// They want this rest.
    rests: Vec<(u32, Vec<u32>)>,
    /// What follows a run.
    runs: Vec<(u32, Level)>,
}

impl Level {
    fn place(&mut self, key: &[u8]) -> &mut Place {
        if !self.places.contains_key(key) {
            self.places.insert(key.to_vec(), Place::default());
        }
        self.places.get_mut(key).expect("it was inserted above, if it was not there")
    }

    /// Adds a matcher that has these steps and this tail.
    fn add(&mut self, steps: &[Stride], tail: Tail, ord: u32) {
        let (key, after) = match steps {
            [Stride::Literal(bytes), after @ ..] => (&bytes[..], after),
            _ => (&b""[..], steps),
        };
        let place = self.place(key);
        match (after, tail) {
            ([Stride::Run(run, _), after @ ..], _) => {
                let at = place.runs.iter().position(|(held, _)| held == run).unwrap_or_else(|| {
                    place.runs.push((*run, Level::default()));
                    place.runs.len() - 1
                });
                place.runs[at].1.add(after, tail, ord);
            }
            // Literals that follow each other are one step, so nothing else is left.
            (_, Tail::Done) => push(&mut place.done, ord),
            (_, Tail::End) => push(&mut place.end, ord),
            (_, Tail::Rest(rest)) => match place.rests.iter_mut().find(|(held, _)| *held == rest) {
                Some((_, ords)) => push(ords, ord),
                None => place.rests.push((rest, vec![ord])),
            },
        }
    }
}

/// A route that lists a path twice is one candidate.
fn push(ords: &mut Vec<u32>, ord: u32) {
    if ords.last() != Some(&ord) {
        ords.push(ord);
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
