//! The Lua programs that run in Redis: each one atomic there, so that asking and counting cannot be parted.
//!
//! Sent by their hash (EVALSHA), and whole (EVAL) to a server that has forgotten them (NOSCRIPT).

/// A Lua program.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// Its text.
    pub source: &'static str,
    /// SHA-1 of the text, lower-case hex.
    pub sha1: &'static str,
}

/// Takes from every count, or from none. KEYS: counts. ARGV: what to take, then for each key its limit and the life of a
/// new one, s. Answers 1 or 0 (were they taken?), then the counts.
pub static TAKE: Script =
    Script { source: include_str!("scripts/take.lua"), sha1: "644b444d5756886a51415c368eae78794e04ede0" };

/// Gives back to a count what was taken. KEYS: the count. ARGV: how much. Answers the count.
pub static GIVE_BACK: Script =
    Script { source: include_str!("scripts/give_back.lua"), sha1: "04f80adcdb2e81086d1cd3ecfdebbe58becd53c0" };

/// Adds to a count, whatever it is. KEYS: the count. ARGV: how much, and when a new one ends, s since the epoch. Answers
/// the count.
pub static ADD: Script =
    Script { source: include_str!("scripts/add.lua"), sha1: "d33107fc1692f030750ff081aaf57d4fb27299e6" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_texts() {
        for script in [&TAKE, &GIVE_BACK, &ADD] {
            let hash =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, script.source.as_bytes());
            let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, script.sha1, "{}", script.source);
        }
    }
}
