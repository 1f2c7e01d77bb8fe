//! Latency histograms that are small enough for every route of every shard: log-linear, eight buckets to each power of two.
//!
//! With ten thousand busy routes none of a route's counters is in a cache when its request comes. So the two histograms of
//! a route lie interleaved: a request takes about as long as its upstream, and both recordings touch one line. Whoever reads
//! them merges them into a histogram of full precision.

/// Buckets: one a microsecond below 16 µs, then eight to each power of two, up to 134 s.
const BUCKETS: usize = 16 + (LAST_POWER - 4 + 1) * 8;
/// 2²⁶ µs: 67 s. What lasts longer than 134 s counts as that.
const LAST_POWER: usize = 26;

/// What a latency is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The whole request.
    Request,
    /// The wait for the upstream's head.
    Upstream,
}

/// Counts of latencies. 1.6 KB; recording is O(1) and allocates nothing but once in 2³² times. A bucket is an eighth
/// of its power of two wide, so a value read back is within 6 % of the one recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    counts: [[u32; 2]; BUCKETS],
    /// A bucket for each time that its count has passed 2³²: a busy route gets there in half a day.
    carries: Vec<(Of, u8)>,
}

const _: () = assert!(BUCKETS <= 256, "a bucket's index is a byte in `carries`");

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { counts: [[0; 2]; BUCKETS], carries: Vec::new() }
    }
}

impl Latencies {
    /// Counts one latency.
    pub fn record(&mut self, of: Of, us: u64) {
        self.add(of, bucket(us), 1);
    }

    fn add(&mut self, of: Of, at: usize, count: u32) {
        let (sum, carry) = self.counts[at][of as usize].overflowing_add(count);
        self.counts[at][of as usize] = sum;
        if carry {
            self.carries.push((of, at as u8));
        }
    }

    /// Adds all of another one's.
    pub fn merge(&mut self, other: &Latencies) {
        for of in [Of::Request, Of::Upstream] {
            (0..BUCKETS).for_each(|at| self.add(of, at, other.counts[at][of as usize]));
        }
        self.carries.extend_from_slice(&other.carries);
    }

    /// Buckets that hold something: a value from the middle of the bucket, µs, and how many.
    pub fn recorded(&self, of: Of) -> impl Iterator<Item = (u64, u64)> + '_ {
        let whole = move |at: usize| {
            let carries = self.carries.iter().filter(|&&carry| carry == (of, at as u8)).count() as u64;
            (carries << 32) + u64::from(self.counts[at][of as usize])
        };
        (0..BUCKETS).map(move |at| (middle(at), whole(at))).filter(|&(_, count)| count > 0)
    }
}

fn bucket(us: u64) -> usize {
    if us < 16 {
        return us as usize;
    }
    let power = (us.ilog2() as usize).min(LAST_POWER);
    let eighth = ((us >> (power - 3)).min(15) & 7) as usize;
    16 + (power - 4) * 8 + eighth
}

fn middle(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(16) else { return bucket as u64 };
    let (power, eighth) = (above / 8 + 4, above as u64 % 8);
    let width = 1 << (power - 3);
    (8 + eighth) * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_comes_back_within_an_eighth_of_its_power_of_two(us in 0u64..134_000_000) {
            let mut latencies = Latencies::default();
            latencies.record(Of::Upstream, us);
            let read: Vec<(u64, u64)> = latencies.recorded(Of::Upstream).collect();
            let [(value, 1)] = read[..] else { panic!("{read:?}") };
            prop_assert!(value.abs_diff(us) * 16 <= us, "{us} came back as {value}");
            prop_assert_eq!(latencies.recorded(Of::Request).count(), 0);
        }
    }

    #[test]
    fn counts_go_on_beyond_four_thousand_million() {
        let mut latencies = Latencies::default();
        (0..3).for_each(|_| latencies.add(Of::Request, 7, u32::MAX));
        latencies.record(Of::Request, 7);
        let read: Vec<(u64, u64)> = latencies.recorded(Of::Request).collect();
        assert_eq!(read, [(7, 3 * u64::from(u32::MAX) + 1)]);
    }

    #[test]
    fn buckets_follow_each_other_and_the_last_takes_the_rest() {
        let mut before = 0;
        for us in 0..1_000_000 {
            let at = bucket(us);
            assert!(at == before || at == before + 1, "{us}");
            before = at;
        }
        let last = [134_217_727, 134_217_728, u64::MAX].map(bucket);
        assert_eq!(last, [BUCKETS - 1; 3]);
    }
}
