//! The faster of two targets drawn at random, by smoothed latency over weight.
//!
//! The latency of a target is a peak EWMA: a slower answer counts at once and in full, a faster one as far as time has
//! passed since the last ([`DECAY_MS`]). Between answers it sinks towards 0, so that a target that was slow once is asked
//! again some day. Two are drawn instead of the best of all being taken: shards that pick at the same moment would all
//! take the same.

use crate::base::rng::Rng;
use crate::base::time::Millis;

/// In this time an old latency loses 63 % of its weight, ms: long against a request, short against an outage.
pub const DECAY_MS: f32 = 10_000.0;

/// The smoothed latency of a target, and when it was last touched. Eight bytes, so that it fits one atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// µs; 0 before the first answer.
    score: f32,
    /// Low bits of the shard clock, ms. Wraps after 49 days; differences do not mind.
    touched: u32,
}

impl Pace {
    /// With one more answer, which took `us`.
    #[must_use]
    pub fn after(self, us: u64, now: Millis) -> Pace {
        let us = us.max(1) as f32;
        let old = self.at(now).unwrap_or(0.0);
        let kept = self.kept(now);
        let score = if us >= old { us } else { self.score * kept + us * (1.0 - kept) };
        Pace { score, touched: now.0 as u32 }
    }

    /// The score at `now`, µs; `None` for a target that has not answered yet.
    pub fn at(self, now: Millis) -> Option<f32> {
        (self.score > 0.0).then(|| (self.score * self.kept(now)).max(f32::MIN_POSITIVE))
    }

    /// What is left of the old score, 0 to 1.
    fn kept(self, now: Millis) -> f32 {
        let since = (now.0 as u32).wrapping_sub(self.touched);
        // Shards read their clocks apart: one may be a tick behind another's last touch.
        let since = if since > u32::MAX / 2 { 0 } else { since };
        (-(since as f32) / DECAY_MS).exp()
    }

    /// As a word.
    pub fn word(self) -> u64 {
        u64::from(self.score.to_bits()) << 32 | u64::from(self.touched)
    }

    /// From [`Pace::word`].
    pub fn of(word: u64) -> Pace {
        Pace { score: f32::from_bits((word >> 32) as u32), touched: word as u32 }
    }
}

/// The target to ask; `score` gives the latency of a target, `None` before its first answer: it is then taken for as fast
/// as the one it is compared with. O(targets).
pub fn pick(
    weights: &[u32],
    score: impl Fn(usize) -> Option<f32>,
    rng: &mut Rng,
    may: impl Fn(usize) -> bool,
) -> Option<usize> {
    let free = || (0..weights.len()).filter(|&at| weights[at] > 0 && may(at));
    let count = free().count() as u64;
    let one = rng.below(count);
    let other = rng.below(count.saturating_sub(1));
    // Drawn from what is left of the others, so that the two are never the same.
    let other = if other >= one { other + 1 } else { other };
    // Health may change between the two looks; a draw that has gone is only one choice fewer.
    let (one, other) = (free().nth(one as usize), free().nth(other as usize));
    let (Some(a), Some(b)) = (one, other) else { return one.or(other) };
    let (of_a, of_b) = (score(a), score(b));
    let rest = of_a.or(of_b).unwrap_or(1.0);
    let (of_a, of_b) = (of_a.unwrap_or(rest), of_b.unwrap_or(rest));
    // The first of the two was drawn as likely as the second, so equals share.
    Some(if of_a * weights[b] as f32 <= of_b * weights[a] as f32 { a } else { b })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(weights: &[u32], scores: &[Option<f32>], down: &[usize]) -> Vec<usize> {
        let mut rng = Rng::new(11);
        let mut shares = vec![0; weights.len()];
        for _ in 0..1000 {
            if let Some(at) = pick(weights, |at| scores[at], &mut rng, |at| !down.contains(&at)) {
                shares[at] += 1;
            }
        }
        shares
    }

    #[test]
    fn the_faster_of_two_gets_everything() {
        assert_eq!(shares(&[100, 100], &[Some(900.0), Some(100.0)], &[]), [0, 1000]);
    }

    #[test]
    fn the_slowest_of_many_gets_nothing() {
        let shares = shares(&[100; 4], &[Some(1.0), Some(2.0), Some(3.0), Some(4.0)], &[]);
        assert!(shares[3] == 0 && shares[0] > shares[1] && shares[1] > shares[2], "{shares:?}");
    }

    #[test]
    fn a_weight_makes_up_for_slowness() {
        assert_eq!(shares(&[1000, 100], &[Some(900.0), Some(100.0)], &[]), [1000, 0]);
    }

    #[test]
    fn the_untried_and_the_equal_share() {
        for scores in [[None, None], [Some(5.0), None], [None, Some(5.0)], [Some(5.0), Some(5.0)]] {
            let shares = shares(&[100, 100], &scores, &[]);
            assert!(shares.iter().all(|&share| share > 400), "{scores:?} {shares:?}");
        }
    }

    #[test]
    fn one_and_none_are_served() {
        assert_eq!(shares(&[100, 0, 100], &[Some(1.0), None, Some(9.0)], &[0]), [0, 0, 1000]);
        assert_eq!(shares(&[100, 100], &[None, None], &[0, 1]), [0, 0]);
        assert_eq!(shares(&[], &[], &[]), [0; 0]);
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_a_fast_one_by_and_by() {
        let pace = Pace::default().after(1000, Millis(5));
        assert_eq!(pace.at(Millis(5)), Some(1000.0));
        let slow = pace.after(50_000, Millis(6));
        assert_eq!(slow.at(Millis(6)), Some(50_000.0));
        let soon = slow.after(1000, Millis(106)).at(Millis(106)).unwrap();
        assert!(soon > 49_000.0, "{soon}");
        let later = slow.after(1000, Millis(6 + 10_000)).at(Millis(6 + 10_000)).unwrap();
        assert!(later > 15_000.0 && later < 25_000.0, "{later}");
        let rested = slow.at(Millis(6 + 60_000)).unwrap();
        assert!(rested < 200.0, "{rested}");
    }

    #[test]
    fn the_clock_may_wrap_and_lag() {
        let pace = Pace::default().after(1000, Millis(u64::from(u32::MAX)));
        assert!(pace.at(Millis(u64::from(u32::MAX) + 3)).unwrap() > 990.0);
        assert_eq!(pace.at(Millis(u64::from(u32::MAX) - 3)), Some(1000.0));
    }

    #[test]
    fn a_pace_survives_its_word() {
        let pace = Pace::default().after(12_345, Millis(7_777_777));
        assert_eq!(Pace::of(pace.word()), pace);
        assert_eq!(Pace::of(0).at(Millis(1)), None);
    }
}
