//! Engines for what is left of expressions after their steps, and for header values: compiled once, shared by all
//! shards, searched with memory that the caller brings. `regex::Regex` keeps such memory in a pool behind a lock;
//! here a shard has its own, so that no request waits for another core.
//!
//! An expression that never needs to look back ("one-pass") is a table of fixed size that also yields groups. The
//! others get `regex_automata`'s choice of engines. Where many stand at one place of the trie, a [`Sieve`] says first
//! which of them are worth running.
//!
//! Paths and values are bytes. An expression is Unicode: `.` is one character, and never part of a broken one.

use crate::base::limits;
use aho_corasick::automaton::OverlappingState;
use aho_corasick::AhoCorasick;
use regex_automata::dfa::onepass;
use regex_automata::nfa::thompson;
use regex_automata::util::captures::GroupInfo;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{meta, Input};
use regex_syntax::hir::{Hir, HirKind};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

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
        let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(limits::ROUTE_PATTERN_BYTES_MAX));
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).map_err(|e| e.to_string())?;
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

/// Tells of many expressions which may match, by bytes that every match of each must hold: `/api/.*/users/\d+` cannot
/// match a path without `/users/`. One pass over the path whatever their number, in memory that all shards share.
///
/// One automaton of the expressions themselves was tried instead: a hundred that begin with `.*` have more states than
/// any bounded memory holds, so that it started over again at almost every path.
#[derive(Debug)]
pub(super) struct Sieve {
    literals: AhoCorasick,
    /// By literal: the members that it speaks for.
    members: Vec<Vec<u32>>,
    /// Members that need no certain bytes.
    always: Vec<u32>,
    len: usize,
}

/// What a [`Sieve`] lets through.
#[derive(Debug, Default)]
pub(super) struct Sieved {
    /// Members, in order, each once.
    pub(super) members: Vec<u32>,
    /// A bit per member.
    seen: Vec<u64>,
}

impl Sieve {
    /// Of expressions that will be searched from a given place on. `None` if too few of them need certain bytes for
    /// it to be of use, or their bytes are too many.
    pub(super) fn of(expressions: &[&Hir]) -> Option<Sieve> {
        let clauses: Vec<Vec<Clause>> = expressions.iter().map(|hir| required(hir)).collect();
        let mut shared: HashMap<&[u8], usize> = HashMap::new();
        for literal in clauses.iter().flatten().flatten() {
            *shared.entry(literal).or_default() += 1;
        }
        let mut by_literal: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
        let mut always = Vec::new();
        for (member, clauses) in (0..).zip(&clauses) {
            // The clause that the fewest others share says the most; then the longest.
            let worth = |clause: &&Clause| {
                let sharing = clause.iter().map(|literal| shared[&**literal]).max();
                (sharing, Reverse(clause.iter().map(Vec::len).min()))
            };
            match clauses.iter().min_by_key(worth) {
                Some(clause) => clause.iter().for_each(|literal| by_literal.entry(literal).or_default().push(member)),
                None => always.push(member),
            }
        }
        if always.len() * 2 > expressions.len() {
            return None;
        }
        let literals = AhoCorasick::new(by_literal.keys()).ok()?;
        Some(Sieve { literals, members: by_literal.into_values().collect(), always, len: expressions.len() })
    }

    /// Fills `sieved` with the members that may match `path` at `at`.
    pub(super) fn sieve(&self, path: &[u8], at: usize, sieved: &mut Sieved) {
        sieved.seen.clear();
        sieved.seen.resize(self.len.div_ceil(64), 0);
        sieved.members.clear();
        let mut let_through = |members: &[u32]| {
            for &member in members {
                let (word, bit) = (&mut sieved.seen[(member / 64) as usize], 1 << (member % 64));
                if *word & bit == 0 {
                    *word |= bit;
                    sieved.members.push(member);
                }
            }
        };
        let_through(&self.always);
        let mut state = OverlappingState::start();
        let rest = aho_corasick::Input::new(path).range(at..);
        loop {
            self.literals.find_overlapping(rest.clone(), &mut state);
            match state.get_match() {
                Some(found) => let_through(&self.members[found.pattern().as_usize()]),
                None => break,
            }
        }
        sieved.members.sort_unstable();
    }
}

/// Literals of which one must be in every match.
type Clause = Vec<Vec<u8>>;

/// What every match of an expression holds; often nothing is known.
fn required(hir: &Hir) -> Vec<Clause> {
    match hir.kind() {
        HirKind::Literal(literal) => vec![vec![literal.0.to_vec()]],
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(required).collect(),
        HirKind::Alternation(branches) => {
            let longest =
                |branch: &Hir| required(branch).into_iter().max_by_key(|clause| clause.iter().map(Vec::len).min());
            let joined: Option<Vec<Clause>> = branches.iter().map(longest).collect();
            let joined: Clause = joined.unwrap_or_default().concat();
            if joined.is_empty() || joined.len() > ALTERNATIVES_MAX {
                Vec::new()
            } else {
                vec![joined]
            }
        }
        HirKind::Repetition(_) | HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => Vec::new(),
    }
}

/// Literals that one expression may have in a sieve.
const ALTERNATIVES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Hir {
        regex_syntax::ParserBuilder::new().utf8(false).build().parse(text).unwrap()
    }

    #[test]
    fn a_sieve_lets_through_whatever_may_match() {
        let texts = [".*/a/x$", ".*/b/x$", "(.*)(/c/|/d/)y", "(?:e|.)f+", "[ab].*", ".*/a/(?:zz)?"];
        let hirs: Vec<Hir> = texts.iter().map(|text| parse(text)).collect();
        let sieve = Sieve::of(&hirs.iter().collect::<Vec<_>>()).unwrap();
        let rows: [(&str, &[u32]); 7] = [
            ("/a/x", &[0, 4, 5]),
            ("", &[4]),
            ("/b/b/b/x/d/", &[1, 2, 4]),
            ("//c/y", &[2, 4]),
            ("ef", &[3, 4]),
            ("/a/b/x", &[1, 4, 5]),
            ("/A/", &[4]),
        ];
        let mut sieved = Sieved::default();
        for (path, want) in rows {
            sieve.sieve(path.as_bytes(), 0, &mut sieved);
            assert_eq!(sieved.members, want, "{path}");
        }
        sieve.sieve(b"/a/x", 3, &mut sieved);
        assert_eq!(sieved.members, [4], "what stands before the place does not count");
        let vague: Vec<Hir> = [".*", "[ab]+", "a|.", "/x/"].iter().map(|text| parse(text)).collect();
        assert!(Sieve::of(&vague.iter().collect::<Vec<_>>()).is_none());
    }
}
