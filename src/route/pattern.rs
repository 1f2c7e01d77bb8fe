//! The regular expressions of a table: compiled once, shared by all shards, searched with memory that the caller
//! brings. `regex::Regex` keeps such memory in a pool behind a lock; here a shard has its own, so that no request
//! waits for another core.
//!
//! Three engines. A path expression that never needs to look back ("one-pass", most of them) is a table that also
//! yields captures, of fixed size. The others get `regex_automata`'s choice of engines. Where many expressions stand
//! at one place of the trie, a [`Set`] runs them all at once as a lazily built automaton, and gives up to one-by-one
//! when a request would make that automaton too large.
//!
//! Paths and values are bytes. An expression is Unicode: `.` is one character, and never part of a broken one.

use super::table::Match;
use crate::base::limits;
use regex_automata::dfa::onepass;
use regex_automata::hybrid::{dfa as lazy, LazyStateID};
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::captures::GroupInfo;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{meta, Anchored, Input, MatchKind, PatternID};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::Hir;
use regex_syntax::ParserBuilder;
use std::collections::HashMap;

/// Where a match must begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Anchor {
    /// At the first byte: paths.
    Start,
    /// Anywhere: values of headers.
    Nowhere,
}

/// The expressions of one table; the same text is compiled once.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    all: Vec<Pattern>,
    sets: Vec<Set>,
    by_text: HashMap<(Box<str>, Anchor), u32>,
}

#[derive(Debug)]
struct Pattern {
    text: Box<str>,
    engine: Engine,
    /// Every match begins with these bytes.
    prefix: Box<[u8]>,
}

#[derive(Debug)]
enum Engine {
    OnePass(Box<onepass::DFA>),
    Any(Box<meta::Regex>),
}

/// Several path expressions as one automaton that reports every one that matches.
#[derive(Debug)]
struct Set {
    automaton: lazy::DFA,
    members: u32,
}

/// The memory that searches need: one per shard, for one table.
#[derive(Debug, Default)]
pub(super) struct Scratchpad {
    patterns: Vec<Option<Memory>>,
    sets: Vec<Option<Box<lazy::Cache>>>,
    /// Members of a set that matched, in the order of the set.
    pub(super) hits: Vec<u32>,
    /// A bit per member.
    seen: Vec<u64>,
    /// A value in lower case.
    pub(super) lower: Vec<u8>,
    /// The host in lower case.
    pub(super) host: Vec<u8>,
    slots: Vec<Option<NonMaxUsize>>,
}

#[derive(Debug)]
enum Memory {
    OnePass(Box<onepass::Cache>),
    Any(Box<meta::Cache>),
}

impl Patterns {
    /// The place of the expression `text`.
    ///
    /// # Errors
    /// A sentence: it is no expression, or too large a one.
    pub(super) fn take_or_compile(&mut self, text: &str, anchor: Anchor) -> Result<u32, String> {
        if let Some(ix) = self.by_text.get(&(Box::from(text), anchor)) {
            return Ok(*ix);
        }
        let ix = self.all.len() as u32;
        self.all.push(Pattern::compile(text, anchor)?);
        self.by_text.insert((text.into(), anchor), ix);
        Ok(ix)
    }

    /// Makes a set of path expressions, or `None` where together they are too large for one.
    pub(super) fn make_set(&mut self, members: &[u32]) -> Option<u32> {
        let parsed: Result<Vec<Hir>, String> = members.iter().map(|ix| parse(&self.all[*ix as usize].text)).collect();
        let nfa = compiler(limits::ROUTE_SET_BYTES_MAX).build_many_from_hir(&parsed.ok()?).ok()?;
        let config = lazy::Config::new()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(limits::ROUTE_SET_MEMORY_BYTES)
            .minimum_cache_clear_count(Some(0));
        let automaton = lazy::Builder::new().configure(config).build_from_nfa(nfa).ok()?;
        self.sets.push(Set { automaton, members: members.len() as u32 });
        Some(self.sets.len() as u32 - 1)
    }

    /// What every match of `ix` begins with; often empty for expressions that are not anchored.
    pub(super) fn prefix(&self, ix: u32) -> &[u8] {
        &self.all[ix as usize].prefix
    }

    /// The end of the match at the start of `path`.
    pub(super) fn matched(&self, ix: u32, path: &[u8], pad: &mut Scratchpad) -> Option<usize> {
        let mut slots = [None; 2];
        self.search(ix, &Input::new(path).anchored(Anchored::Yes), pad, &mut slots);
        slots[1].map(NonMaxUsize::get)
    }

    /// Is the expression found in `value`, put in lower case?
    pub(super) fn found_in_lower(&self, ix: u32, value: &[u8], pad: &mut Scratchpad) -> bool {
        let mut lower = std::mem::take(&mut pad.lower);
        fold(value, &mut lower);
        let mut slots = [None; 2];
        self.search(ix, &Input::new(&lower), pad, &mut slots);
        pad.lower = lower;
        slots[1].is_some()
    }

    /// Fills `pad.hits` with the members of `set` that match `path`. False: the set gave up, ask them one by one.
    pub(super) fn matching(&self, set: u32, path: &[u8], pad: &mut Scratchpad) -> bool {
        let Set { automaton, members } = &self.sets[set as usize];
        let memory = pad.sets[set as usize].get_or_insert_with(|| Box::new(automaton.create_cache()));
        pad.hits.clear();
        pad.seen.clear();
        pad.seen.resize(members.div_ceil(64) as usize, 0);
        match collect(automaton, memory, path, &mut pad.hits, &mut pad.seen) {
            Ok(()) => true,
            Err(GaveUp::AtByte) => false,
            Err(GaveUp::Full) => {
                // The next search starts from nothing, or every path not seen before would give up from now on.
                automaton.reset_cache(memory);
                false
            }
        }
    }

    /// The groups of the match that `found` stands for; `None` where it was no expression that matched.
    pub(super) fn captures<'t, 'p>(
        &'t self,
        ix: u32,
        path: &'p [u8],
        pad: &'t mut Scratchpad,
    ) -> Option<Captures<'t, 'p>> {
        let info = self.all[ix as usize].group_info();
        let mut slots = std::mem::take(&mut pad.slots);
        slots.clear();
        slots.resize(info.slot_len(), None);
        self.search(ix, &Input::new(path).anchored(Anchored::Yes), pad, &mut slots);
        pad.slots = slots;
        (*pad.slots.get(1)?)?;
        Some(Captures { path, slots: &pad.slots, info })
    }

    /// Memory for searches: filled as expressions are first used.
    pub(super) fn pad(&self) -> Scratchpad {
        Scratchpad {
            patterns: self.all.iter().map(|_| None).collect(),
            sets: self.sets.iter().map(|_| None).collect(),
            ..Scratchpad::default()
        }
    }

    fn search(&self, ix: u32, input: &Input<'_>, pad: &mut Scratchpad, slots: &mut [Option<NonMaxUsize>]) {
        let memory = &mut pad.patterns[ix as usize];
        match &self.all[ix as usize].engine {
            Engine::OnePass(dfa) => {
                if !matches!(memory, Some(Memory::OnePass(_))) {
                    *memory = Some(Memory::OnePass(Box::new(dfa.create_cache())));
                }
                if let Some(Memory::OnePass(memory)) = memory {
                    // Fails only for searches that are not anchored; these are.
                    let _ = dfa.try_search_slots(memory, input, slots);
                }
            }
            Engine::Any(regex) => {
                if !matches!(memory, Some(Memory::Any(_))) {
                    *memory = Some(Memory::Any(Box::new(regex.create_cache())));
                }
                if let Some(Memory::Any(memory)) = memory {
                    regex.search_slots_with(memory, input, slots);
                }
            }
        }
    }
}

impl Pattern {
    fn compile(text: &str, anchor: Anchor) -> Result<Pattern, String> {
        let hir = parse(text)?;
        let too_large = |e: &dyn std::fmt::Display| format!("{text}: {e}");
        let nfa = compiler(limits::ROUTE_PATTERN_BYTES_MAX).build_from_hir(&hir).map_err(|e| too_large(&e))?;
        let engine = match (anchor, one_pass(&nfa)) {
            (Anchor::Start, Some(dfa)) => Engine::OnePass(Box::new(dfa)),
            _ => {
                let config = meta::Config::new()
                    .utf8_empty(false)
                    .nfa_size_limit(Some(limits::ROUTE_PATTERN_BYTES_MAX))
                    .hybrid_cache_capacity(limits::ROUTE_PATTERN_MEMORY_BYTES);
                let regex = meta::Builder::new().configure(config).build_from_hir(&hir);
                Engine::Any(Box::new(regex.map_err(|e| too_large(&e))?))
            }
        };
        let prefix = match anchor {
            Anchor::Start => {
                let literals = Extractor::new().kind(ExtractKind::Prefix).extract(&hir);
                literals.longest_common_prefix().unwrap_or_default().into()
            }
            Anchor::Nowhere => Box::default(),
        };
        Ok(Pattern { text: text.into(), engine, prefix })
    }

    fn group_info(&self) -> &GroupInfo {
        match &self.engine {
            Engine::OnePass(dfa) => dfa.get_nfa().group_info(),
            Engine::Any(regex) => regex.group_info(),
        }
    }
}

/// Groups of a path expression that matched. Group 0 is the whole match.
#[derive(Debug)]
pub struct Captures<'t, 'p> {
    path: &'p [u8],
    slots: &'t [Option<NonMaxUsize>],
    info: &'t GroupInfo,
}

impl<'t, 'p> Captures<'t, 'p> {
    /// The group at this place; `None` where it took no part in the match.
    pub fn at(&self, group: usize) -> Option<&'p [u8]> {
        let start = (*self.slots.get(group * 2)?)?.get();
        let end = (*self.slots.get(group * 2 + 1)?)?.get();
        self.path.get(start..end)
    }

    /// The group of this name.
    pub fn named(&self, name: &str) -> Option<&'p [u8]> {
        self.at(self.info.to_index(PatternID::ZERO, name)?)
    }

    /// Every group: place, name if it has one, bytes if it took part.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Option<&'t str>, Option<&'p [u8]>)> + use<'_, 't, 'p> {
        self.info.pattern_names(PatternID::ZERO).enumerate().map(|(at, name)| (at, name, self.at(at)))
    }
}

impl Match {
    /// The path expression that matched, where it was one.
    pub(super) fn pattern(&self) -> Option<u32> {
        (self.pattern != u32::MAX).then_some(self.pattern)
    }
}

/// Why the members of a set must be asked one by one.
enum GaveUp {
    /// The automaton would grow too large.
    Full,
    /// It met a byte that it cannot judge: one that is not ASCII, beside a Unicode word boundary.
    AtByte,
}

/// Walks the automaton over the whole path and notes every member that matches some beginning of it.
///
/// A state tells its matches one byte late, and the last ones at the end of the input.
fn collect(
    automaton: &lazy::DFA,
    memory: &mut lazy::Cache,
    path: &[u8],
    hits: &mut Vec<u32>,
    seen: &mut [u64],
) -> Result<(), GaveUp> {
    let input = Input::new(path).anchored(Anchored::Yes);
    let mut state = automaton.start_state_forward(memory, &input).map_err(|_| GaveUp::Full)?;
    let mut told = state;
    for &byte in path {
        state = automaton.next_state(memory, state, byte).map_err(|_| GaveUp::Full)?;
        if !state.is_tagged() {
            continue;
        }
        if state.is_dead() {
            return Ok(());
        }
        if state.is_quit() {
            return Err(GaveUp::AtByte);
        }
        // `.*` stays in one state for the rest of the path; its matches are told once.
        if state.is_match() && state != told {
            told = state;
            tell(automaton, memory, state, hits, seen);
        }
    }
    state = automaton.next_eoi_state(memory, state).map_err(|_| GaveUp::Full)?;
    if state.is_match() {
        tell(automaton, memory, state, hits, seen);
    }
    Ok(())
}

fn tell(automaton: &lazy::DFA, memory: &lazy::Cache, state: LazyStateID, hits: &mut Vec<u32>, seen: &mut [u64]) {
    for nth in 0..automaton.match_len(memory, state) {
        let member = automaton.match_pattern(memory, state, nth).as_u32();
        let (word, bit) = (&mut seen[(member / 64) as usize], 1 << (member % 64));
        if *word & bit == 0 {
            *word |= bit;
            hits.push(member);
        }
    }
}

fn parse(text: &str) -> Result<Hir, String> {
    ParserBuilder::new().utf8(false).build().parse(text).map_err(|e| format!("{text}: {e}"))
}

fn compiler(bytes_max: usize) -> thompson::Compiler {
    let mut compiler = thompson::Compiler::new();
    compiler.configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(bytes_max)));
    compiler
}

fn one_pass(nfa: &NFA) -> Option<onepass::DFA> {
    let config = onepass::Config::new().size_limit(Some(limits::ROUTE_ONE_PASS_BYTES_MAX));
    onepass::Builder::new().configure(config).build_from_nfa(nfa.clone()).ok()
}

/// Puts `text` in lower case into `lower`, ASCII only.
pub(super) fn fold(text: &[u8], lower: &mut Vec<u8>) {
    lower.clear();
    lower.extend(text.iter().map(u8::to_ascii_lowercase));
}
