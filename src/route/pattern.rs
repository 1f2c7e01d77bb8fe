//! The regular expressions of a table: those of paths, taken apart into steps and a rest, and those of header values.
//!
//! Equal runs and equal rests are held once, whatever expression they come from.

use super::engine::{Engine, Memory, Sieve, Sieved, Slots};
use super::steps::{group_names, take_apart, Rest, Run, Step};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;
use std::collections::HashMap;

/// The expressions of one table.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    paths: Vec<PathExpr>,
    runs: Vec<Run>,
    rests: Vec<Compiled>,
    values: Vec<Engine>,
    sieves: Vec<Sieve>,
    path_by_text: HashMap<Box<str>, u32>,
    rest_by_text: HashMap<String, u32>,
    value_by_text: HashMap<Box<str>, u32>,
}

/// A path expression.
#[derive(Debug)]
pub(super) struct PathExpr {
    /// Its steps, with runs by their place in [`Patterns`].
    pub(super) steps: Vec<Stride>,
    /// What follows.
    pub(super) tail: Tail,
    /// Names of its groups, whole match first.
    names: Vec<Option<Box<str>>>,
    /// Groups in the steps; those of the rest are counted on from here.
    step_groups: usize,
}

/// A step whose run has a number.
#[derive(Clone, Debug)]
pub(super) enum Stride {
    /// These bytes.
    Literal(Box<[u8]>),
    /// A run, and whether it is a group.
    Run(u32, bool),
}

/// A rest that has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tail {
    /// Nothing.
    Done,
    /// The end of the path.
    End,
    /// Something for an engine.
    Rest(u32),
}

#[derive(Debug)]
struct Compiled {
    hir: Hir,
    engine: Engine,
}

/// The memory that searches need: one per shard, for one table. Filled as engines are first used.
#[derive(Debug, Default)]
pub(super) struct Scratchpad {
    rests: Vec<Option<Memory>>,
    values: Vec<Option<Memory>>,
    /// Rests that are worth running.
    pub(super) sieved: Sieved,
    /// A value in lower case.
    pub(super) lower: Vec<u8>,
    /// The host in lower case.
    pub(super) host: Vec<u8>,
    groups: Vec<Option<(usize, usize)>>,
    slots: Vec<Option<NonMaxUsize>>,
}

impl Patterns {
    /// The place of a path expression.
    ///
    /// # Errors
    /// A sentence: it is no expression, or too large a one.
    pub(super) fn add_path(&mut self, text: &str) -> Result<u32, String> {
        if let Some(ix) = self.path_by_text.get(text) {
            return Ok(*ix);
        }
        let hir = parse(text)?;
        let (steps, rest, step_groups) = take_apart(&hir);
        let mut strides = Vec::with_capacity(steps.len());
        for step in steps {
            strides.push(match step {
                Step::Literal(bytes) => Stride::Literal(bytes.into()),
                Step::Run { run, group } => Stride::Run(self.add_run(run), group),
            });
        }
        let tail = match rest {
            Rest::Done => Tail::Done,
            Rest::End => Tail::End,
            Rest::More(hir) => Tail::Rest(self.add_rest(hir).map_err(|e| format!("{text}: {e}"))?),
        };
        let names = group_names(&hir);
        self.paths.push(PathExpr { steps: strides, tail, names, step_groups: step_groups as usize });
        let ix = self.paths.len() as u32 - 1;
        self.path_by_text.insert(text.into(), ix);
        Ok(ix)
    }

    /// The place of an expression for header values in lower case.
    ///
    /// # Errors
    /// A sentence: it is no expression, or too large a one.
    pub(super) fn add_value(&mut self, text: &str) -> Result<u32, String> {
        if let Some(ix) = self.value_by_text.get(text) {
            return Ok(*ix);
        }
        self.values.push(Engine::anywhere(&parse(text)?).map_err(|e| format!("{text}: {e}"))?);
        let ix = self.values.len() as u32 - 1;
        self.value_by_text.insert(text.into(), ix);
        Ok(ix)
    }

    /// Adds a sieve of these rests, or `None` where it would be of no use.
    pub(super) fn add_sieve(&mut self, rests: &[u32]) -> Option<u32> {
        let hirs: Vec<&Hir> = rests.iter().map(|ix| &self.rests[*ix as usize].hir).collect();
        self.sieves.push(Sieve::of(&hirs)?);
        Some(self.sieves.len() as u32 - 1)
    }

    /// A path expression by its place.
    pub(super) fn path(&self, ix: u32) -> &PathExpr {
        &self.paths[ix as usize]
    }

    /// Where run number `ix` ends if it starts at `at`.
    #[inline]
    pub(super) fn run_end(&self, ix: u32, path: &[u8], at: usize) -> Option<usize> {
        self.runs[ix as usize].end(path, at)
    }

    /// Where the match of rest number `ix` ends if it starts at `at`.
    pub(super) fn rest_end(&self, ix: u32, path: &[u8], at: usize, pad: &mut Scratchpad) -> Option<usize> {
        let mut slots = [None; 2];
        self.search_rest(ix, path, at, pad, &mut slots);
        slots[1].map(NonMaxUsize::get)
    }

    /// Fills `pad.sieved` with those rests of a sieve that may match at `at`: places in the list it was made of.
    pub(super) fn sieve(&self, ix: u32, path: &[u8], at: usize, pad: &mut Scratchpad) {
        self.sieves[ix as usize].sieve(path, at, &mut pad.sieved);
    }

    /// Is the expression found in `value`, put in lower case?
    pub(super) fn found_in_lower(&self, ix: u32, value: &[u8], pad: &mut Scratchpad) -> bool {
        fold(value, &mut pad.lower);
        let mut slots = [None; 2];
        self.values[ix as usize].search(&Input::new(&pad.lower), &mut pad.values[ix as usize], &mut slots);
        slots[1].is_some()
    }

    /// Bytes that a path expression matches.
    pub(super) fn matched(&self, ix: u32, path: &[u8], pad: &mut Scratchpad) -> Option<usize> {
        let expr = &self.paths[ix as usize];
        let mut at = 0;
        for step in &expr.steps {
            at = self.stride(step, path, at)?;
        }
        match expr.tail {
            Tail::Done => Some(at),
            Tail::End => (at == path.len()).then_some(at),
            Tail::Rest(ix) => self.rest_end(ix, path, at, pad),
        }
    }

    /// The groups of a path expression that matches.
    pub(super) fn captures<'t, 'p>(
        &'t self,
        ix: u32,
        path: &'p [u8],
        pad: &'t mut Scratchpad,
    ) -> Option<Captures<'t, 'p>> {
        let expr = &self.paths[ix as usize];
        let mut groups = std::mem::take(&mut pad.groups);
        groups.clear();
        groups.resize(expr.names.len(), None);
        let mut at = 0;
        let mut group = 0;
        for step in &expr.steps {
            let end = self.stride(step, path, at)?;
            if let Stride::Run(_, true) = step {
                group += 1;
                groups[group] = Some((at, end));
            }
            at = end;
        }
        if let Tail::Rest(rest) = expr.tail {
            let mut slots = std::mem::take(&mut pad.slots);
            slots.clear();
            slots.resize(self.rests[rest as usize].engine.groups().slot_len(), None);
            self.search_rest(rest, path, at, pad, &mut slots);
            for (nth, pair) in slots.chunks_exact(2).enumerate().skip(1) {
                groups[expr.step_groups + nth] = pair[0].zip(pair[1]).map(|(from, to)| (from.get(), to.get()));
            }
            at = slots[1]?.get();
            pad.slots = slots;
        }
        groups[0] = Some((0, at));
        pad.groups = groups;
        Some(Captures { path, groups: &pad.groups, names: &expr.names })
    }

    /// Memory for searches.
    pub(super) fn pad(&self) -> Scratchpad {
        Scratchpad {
            rests: self.rests.iter().map(|_| None).collect(),
            values: self.values.iter().map(|_| None).collect(),
            ..Scratchpad::default()
        }
    }

    #[inline]
    fn stride(&self, step: &Stride, path: &[u8], at: usize) -> Option<usize> {
        match step {
            Stride::Literal(bytes) => path[at..].starts_with(bytes).then_some(at + bytes.len()),
            Stride::Run(run, _) => self.run_end(*run, path, at),
        }
    }

    fn search_rest(&self, ix: u32, path: &[u8], at: usize, pad: &mut Scratchpad, slots: &mut Slots) {
        // The whole path, searched from `at`: what looks behind (\b) sees the byte before.
        let input = Input::new(path).range(at..).anchored(Anchored::Yes);
        self.rests[ix as usize].engine.search(&input, &mut pad.rests[ix as usize], slots);
    }

    /// O(distinct runs), a handful.
    fn add_run(&mut self, run: Run) -> u32 {
        let known = self.runs.iter().position(|held| *held == run);
        known.unwrap_or_else(|| {
            self.runs.push(run);
            self.runs.len() - 1
        }) as u32
    }

    fn add_rest(&mut self, hir: Hir) -> Result<u32, String> {
        let text = hir.to_string();
        if let Some(ix) = self.rest_by_text.get(&text) {
            if self.rests[*ix as usize].hir == hir {
                return Ok(*ix);
            }
        }
        let engine = Engine::anchored(&hir)?;
        self.rests.push(Compiled { hir, engine });
        let ix = self.rests.len() as u32 - 1;
        self.rest_by_text.insert(text, ix);
        Ok(ix)
    }
}

/// Groups of a path expression that matched. Group 0 is the whole match.
#[derive(Debug)]
pub struct Captures<'t, 'p> {
    path: &'p [u8],
    groups: &'t [Option<(usize, usize)>],
    names: &'t [Option<Box<str>>],
}

impl<'t, 'p> Captures<'t, 'p> {
    /// The group at this place; `None` where it took no part in the match.
    pub fn at(&self, group: usize) -> Option<&'p [u8]> {
        self.path.get(self.span(group)?)
    }

    /// Where in the path the group at this place stands.
    pub fn span(&self, group: usize) -> Option<std::ops::Range<usize>> {
        let (from, to) = (*self.groups.get(group)?)?;
        Some(from..to)
    }

    /// The place of the group of this name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|held| held.as_deref() == Some(name))
    }

    /// The group of this name.
    pub fn named(&self, name: &str) -> Option<&'p [u8]> {
        self.at(self.place(name)?)
    }

    /// Every group: place, name if it has one, bytes if it took part.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Option<&'t str>, Option<&'p [u8]>)> + use<'_, 't, 'p> {
        self.names.iter().enumerate().map(|(at, name)| (at, name.as_deref(), self.at(at)))
    }
}

fn parse(text: &str) -> Result<Hir, String> {
    regex_syntax::ParserBuilder::new().utf8(false).build().parse(text).map_err(|e| e.to_string())
}

/// Puts `text` in lower case into `lower`, ASCII only.
pub(super) fn fold(text: &[u8], lower: &mut Vec<u8>) {
    lower.clear();
    lower.extend(text.iter().map(u8::to_ascii_lowercase));
}
