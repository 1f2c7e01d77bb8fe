//! Engines for what is left of expressions after their steps, and for header values: compiled once, shared by all
//! shards, searched with memory that the caller brings. `regex::Regex` keeps such memory in a pool behind a lock;
//! here a shard has its own, so that no request waits for another core.
//!
//! An expression that never needs to look back ("one-pass") is a table of fixed size that also yields groups. The
//! others get `regex_automata`'s choice of engines. Where many stand at one place of the trie, a [`Set`] runs them
//! all at once as a lazily built automaton, and gives up to one-by-one when a path would make it too large.
//!
//! Paths and values are bytes. An expression is Unicode: `.` is one character, and never part of a broken one.

use crate::base::limits;
use regex_automata::dfa::onepass;
use regex_automata::hybrid::{dfa as lazy, LazyStateID};
use regex_automata::nfa::thompson;
use regex_automata::util::captures::GroupInfo;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{meta, Anchored, Input, MatchKind};
use regex_syntax::hir::Hir;

/// Start and end of every group in turn.
pub(super) type Slots = [Option<NonMaxUsize>];

/// A searchable expression.
#[derive(Debug)]
pub(super) enum Engine {
    /// Finds matches at a given place only.
    OnePass(Box<onepass::DFA>),
    /// Finds matches anywhere.
    Any(Box<meta::Regex>),
}

/// What an [`Engine`] writes to while it searches.
#[derive(Debug)]
pub(super) enum Memory {
    /// Of [`Engine::OnePass`].
    OnePass(Box<onepass::Cache>),
    /// Of [`Engine::Any`].
    Any(Box<meta::Cache>),
}

impl Engine {
    /// For matches that begin where the search does.
    ///
    /// # Errors
    /// The expression is too large.
    pub(super) fn anchored(hir: &Hir) -> Result<Engine, String> {
        let nfa = compiler(limits::ROUTE_PATTERN_BYTES_MAX).build_from_hir(hir).map_err(|e| e.to_string())?;
        let config = onepass::Config::new().size_limit(Some(limits::ROUTE_ONE_PASS_BYTES_MAX));
        match onepass::Builder::new().configure(config).build_from_nfa(nfa) {
            Ok(dfa) => Ok(Engine::OnePass(Box::new(dfa))),
            Err(_) => Engine::anywhere(hir),
        }
    }

    /// For matches anywhere.
    ///
    /// # Errors
    /// The expression is too large.
    pub(super) fn anywhere(hir: &Hir) -> Result<Engine, String> {
        let config = meta::Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(limits::ROUTE_PATTERN_BYTES_MAX))
            .hybrid_cache_capacity(limits::ROUTE_PATTERN_MEMORY_BYTES);
        let regex = meta::Builder::new().configure(config).build_from_hir(hir).map_err(|e| e.to_string())?;
        Ok(Engine::Any(Box::new(regex)))
    }

    /// Fills `slots` (at least two) with the match of `input`, or leaves them empty.
    pub(super) fn search(&self, input: &Input<'_>, memory: &mut Option<Memory>, slots: &mut Slots) {
        match self {
            Engine::OnePass(dfa) => {
                if !matches!(memory, Some(Memory::OnePass(_))) {
                    *memory = Some(Memory::OnePass(Box::new(dfa.create_cache())));
                }
                if let Some(Memory::OnePass(memory)) = memory {
                    // Fails only for searches that are not anchored; `anchored` made it, so this one is.
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

    /// Its groups.
    pub(super) fn groups(&self) -> &GroupInfo {
        match self {
            Engine::OnePass(dfa) => dfa.get_nfa().group_info(),
            Engine::Any(regex) => regex.group_info(),
        }
    }
}

/// Several expressions as one automaton that reports every one that matches at a given place.
#[derive(Debug)]
pub(super) struct Set {
    automaton: lazy::DFA,
    members: usize,
}

/// What a [`Set`] writes to, and what it found.
#[derive(Debug, Default)]
pub(super) struct SetMemory {
    states: Vec<Option<Box<lazy::Cache>>>,
    /// Members that matched, each once.
    pub(super) hits: Vec<u32>,
    /// A bit per member.
    seen: Vec<u64>,
}

/// Why the members of a set must be asked one by one.
enum GaveUp {
    /// The automaton would grow too large.
    Full,
    /// It met a byte that it cannot judge: one that is not ASCII, beside a Unicode word boundary.
    AtByte,
}

impl Set {
    /// Joins expressions, or `None` where together they are too large.
    pub(super) fn of(members: &[&Hir]) -> Option<Set> {
        let nfa = compiler(limits::ROUTE_SET_BYTES_MAX).build_many_from_hir(members).ok()?;
        let config = lazy::Config::new()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(limits::ROUTE_SET_MEMORY_BYTES)
            .minimum_cache_clear_count(Some(0));
        let automaton = lazy::Builder::new().configure(config).build_from_nfa(nfa).ok()?;
        Some(Set { automaton, members: members.len() })
    }

    /// Fills `memory.hits` with the members that match `path` at `at`. False: it gave up, ask them one by one. `ix` is
    /// the set's place in `memory`.
    pub(super) fn search(&self, ix: usize, path: &[u8], at: usize, memory: &mut SetMemory) -> bool {
        if memory.states.len() <= ix {
            memory.states.resize_with(ix + 1, || None);
        }
        let states = memory.states[ix].get_or_insert_with(|| Box::new(self.automaton.create_cache()));
        memory.hits.clear();
        memory.seen.clear();
        memory.seen.resize(self.members.div_ceil(64), 0);
        match collect(&self.automaton, states, path, at, &mut memory.hits, &mut memory.seen) {
            Ok(()) => true,
            Err(GaveUp::AtByte) => false,
            Err(GaveUp::Full) => {
                // The next search starts from nothing, or every path not seen before would give up from now on.
                self.automaton.reset_cache(states);
                false
            }
        }
    }
}

/// Walks the automaton over the path from `at` and notes every member that matches some beginning of that.
///
/// A state tells its matches one byte late, and the last ones at the end of the input.
fn collect(
    automaton: &lazy::DFA,
    states: &mut lazy::Cache,
    path: &[u8],
    at: usize,
    hits: &mut Vec<u32>,
    seen: &mut [u64],
) -> Result<(), GaveUp> {
    let input = Input::new(path).range(at..).anchored(Anchored::Yes);
    let mut state = automaton.start_state_forward(states, &input).map_err(|_| GaveUp::Full)?;
    let mut told = state;
    for &byte in &path[at..] {
        state = automaton.next_state(states, state, byte).map_err(|_| GaveUp::Full)?;
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
            tell(automaton, states, state, hits, seen);
        }
    }
    state = automaton.next_eoi_state(states, state).map_err(|_| GaveUp::Full)?;
    if state.is_match() {
        tell(automaton, states, state, hits, seen);
    }
    Ok(())
}

fn tell(automaton: &lazy::DFA, states: &lazy::Cache, state: LazyStateID, hits: &mut Vec<u32>, seen: &mut [u64]) {
    for nth in 0..automaton.match_len(states, state) {
        let member = automaton.match_pattern(states, state, nth).as_u32();
        let (word, bit) = (&mut seen[(member / 64) as usize], 1 << (member % 64));
        if *word & bit == 0 {
            *word |= bit;
            hits.push(member);
        }
    }
}

fn compiler(bytes_max: usize) -> thompson::Compiler {
    let mut compiler = thompson::Compiler::new();
    compiler.configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(bytes_max)));
    compiler
}
