//! Regular expressions of plugins: many as one, matched in time linear in the text, in memory that is the shard's.
//!
//! They match bytes: `.` is one byte and `\w` an ASCII letter, digit or `_`. There is no look-around.

use crate::base::limits;
use crate::hook::Locals;
use ahash::RandomState;
use regex_automata::meta::{Cache, Config, Regex};
use regex_automata::util::syntax;
use regex_automata::Input;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Expressions that are asked together: does any of them match?
pub(super) struct Expressions(Arc<Regex>);

/// What a shard needs to run them: by the address of each, which is not used again while its `Weak` is held.
#[derive(Default)]
struct Memory(HashMap<usize, (Weak<Regex>, Cache), RandomState>);

impl Expressions {
    /// Compiles them; `None` where there are none.
    ///
    /// # Errors
    /// A sentence: one is no expression, or together they are too large.
    pub(super) fn of<T: AsRef<str>>(texts: &[T]) -> Result<Option<Expressions>, String> {
        if texts.is_empty() {
            return Ok(None);
        }
        let config = Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(limits::PLUGIN_PATTERNS_BYTES_MAX))
            .hybrid_cache_capacity(limits::PLUGIN_PATTERNS_MEMORY_BYTES);
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let regex = Regex::builder().configure(config).syntax(syntax).build_many(texts).map_err(|e| e.to_string())?;
        Ok(Some(Expressions(Arc::new(regex))))
    }

    /// Is this one?
    pub(super) fn is_one(text: &str) -> bool {
        Expressions::of(&[text]).is_ok()
    }

    /// Does one of them match somewhere in `text`? O(length of the text). Allocates when a shard first asks, and later as
    /// the engine learns texts of new kinds, up to a bound.
    pub(super) fn match_any(&self, locals: &mut Locals, text: &[u8]) -> bool {
        let memory = &mut locals.of(Memory::default).0;
        let address = Arc::as_ptr(&self.0) as usize;
        if !memory.contains_key(&address) {
            // Those of configurations that are gone have nobody who will ask for them.
            memory.retain(|_, (regex, _)| regex.strong_count() > 0);
            memory.insert(address, (Arc::downgrade(&self.0), self.0.create_cache()));
        }
        let Some((_, cache)) = memory.get_mut(&address) else { return false };
        self.0.search_half_with(cache, &Input::new(text).earliest(true)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_many_matches() {
        let found = Expressions::of(&["^a$", r"b\w+", "\u{e9}"]).unwrap().unwrap();
        let mut locals = Locals::default();
        for (text, want) in [("a", true), ("aa", false), ("xb1", true), ("b", false), ("", false), ("caf\u{e9}", true)]
        {
            assert_eq!(found.match_any(&mut locals, text.as_bytes()), want, "{text}");
        }
        assert!(!found.match_any(&mut locals, b"\xff\xe9"));
        assert!(Expressions::of::<&str>(&[]).unwrap().is_none());
        for text in ["(", "a(?=b)", r"(a)\1", "(?:a{1000}){1000}"] {
            assert!(!Expressions::is_one(text), "{text}");
        }
    }

    #[test]
    fn memory_of_what_is_gone_is_given_back() {
        let mut locals = Locals::default();
        for _ in 0..10 {
            let one = Expressions::of(&["a"]).unwrap().unwrap();
            assert!(one.match_any(&mut locals, b"a"));
        }
        assert_eq!(locals.of(Memory::default).0.len(), 1);
    }
}
