//! The target with the fewest open requests by weight: least `(open + 1) / weight`, this request counted as open already.
//!
//! Open requests are counted node-wide ([`super::member`]). Shards that pick at the same moment do not see each other's
//! pick; the next one corrects it.

/// The target to ask. Of equals the first from `first` on, so that they take turns. O(targets).
pub fn pick(weights: &[u32], open: impl Fn(usize) -> u64, first: u64, may: impl Fn(usize) -> bool) -> Option<usize> {
    let all = weights.len();
    let first = (first % all.max(1) as u64) as usize;
    let mut best: Option<(usize, u64, u64)> = None;
    for at in (first..all).chain(0..first).filter(|&at| weights[at] > 0 && may(at)) {
        let (load, weight) = (open(at) + 1, u64::from(weights[at]));
        // a/b < c/d as a·d < c·b: exact, and within 64 bits while there are fewer than 2⁴⁸ requests.
        if best.is_none_or(|(_, least, of)| load * of < least * weight) {
            best = Some((at, load, weight));
        }
    }
    best.map(|(at, ..)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(weights: &[u32], open: &[u64], first: u64, want: Option<usize>) {
        assert_eq!(pick(weights, |at| open[at], first, |_| true), want, "{weights:?} {open:?}");
    }

    #[test]
    fn the_least_loaded_by_weight_is_picked() {
        check(&[100, 100], &[3, 2], 0, Some(1));
        check(&[300, 100], &[2, 0], 0, Some(0));
        check(&[300, 100], &[3, 0], 0, Some(1));
        check(&[0, 100], &[0, 9], 0, Some(1));
        check(&[0], &[0], 5, None);
        check(&[], &[], 5, None);
    }

    #[test]
    fn equals_take_turns() {
        for (first, want) in [(0, 0), (1, 1), (2, 2), (3, 0), (u64::MAX, 0)] {
            check(&[100, 100, 100], &[1, 1, 1], first, Some(want));
        }
    }

    #[test]
    fn requests_that_never_end_are_shared_by_weight() {
        let mut open = [0u64; 3];
        for turn in 0..60 {
            let at = pick(&[300, 200, 100], |at| open[at], turn, |_| true).unwrap();
            open[at] += 1;
        }
        assert_eq!(open, [30, 20, 10]);
    }

    proptest! {
        #[test]
        fn nobody_who_may_be_asked_is_less_loaded(
            targets in prop::collection::vec((0u32..1000, 0u64..100, any::<bool>()), 0..20), first: u64,
        ) {
            let weights: Vec<u32> = targets.iter().map(|(weight, ..)| *weight).collect();
            let may = |at: usize| targets[at].2;
            let load = |at: usize| (targets[at].1 + 1) as f64 / f64::from(weights[at]);
            let free: Vec<usize> = (0..targets.len()).filter(|&at| weights[at] > 0 && may(at)).collect();
            match pick(&weights, |at| targets[at].1, first, may) {
                None => prop_assert!(free.is_empty()),
                Some(at) => prop_assert!(free.contains(&at) && free.iter().all(|&other| load(at) <= load(other) + 1e-9)),
            }
        }
    }
}
