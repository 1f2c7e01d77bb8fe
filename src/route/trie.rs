//! Radix tries over literal stretches of paths, all in one arena: one per bucket of hosts, and one more behind every
//! run of an expression (`/api/v`, then `\d+`, then the trie of what follows).
//!
//! A walk goes down as long as the path agrees and ends at the last [`Stop`] it passed. From there `up` leads through
//! the stops at shorter prefixes: every candidate whose prefix the path has, longest first, without a stack.

/// Nothing: no list, no group, no stop above.
pub(super) const NONE: u32 = u32::MAX;

/// The tries of a table.
#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The first byte on the edge to each node; siblings lie side by side, so that one scan finds the child.
    firsts: Vec<u8>,
    /// Edges too long for their node.
    labels: Vec<u8>,
    stops: Vec<Stop>,
    edges: Vec<RunEdge>,
}

/// 32 bytes, and aligned to as many: a node is in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Node {
    kids_at: u32,
    /// The last stop from the root to here.
    stop: u32,
    /// Where the bytes of the edge to here are, without the first, if there are more than `label` holds.
    label_at: u32,
    kids: u16,
    label_len: u16,
    label: [u8; LABEL_HERE],
}

/// A place with candidates. 32 bytes, as a [`Node`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Stop {
    /// The best matcher here, behind a run from here, or further up: nothing to look for beyond it.
    pub(super) best: u32,
    /// The next stop at a shorter prefix.
    pub(super) up: u32,
    /// Bytes from the root to here.
    pub(super) depth: u32,
    /// What is here.
    pub(super) plant: Plant,
}

/// What stands at one prefix; the numbers are the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plant {
    /// Matchers that have matched by coming here.
    pub(super) list: u32,
    /// Matchers that have, if the path ends here.
    pub(super) end: u32,
    /// Matchers that want more.
    pub(super) group: u32,
    /// The first and the end of the runs from here; see [`Trie::runs`].
    pub(super) runs: (u32, u32),
}

/// What is to stand at a key of a trie.
#[derive(Debug)]
pub(super) struct Seed {
    /// The prefix.
    pub(super) key: Vec<u8>,
    /// The best matcher of the plant, behind its runs too.
    pub(super) best: u32,
    /// What stands there.
    pub(super) plant: Plant,
}

/// A run of one class, and the trie of what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunEdge {
    /// Number of the run.
    pub(super) run: u32,
    /// Root of the trie behind it.
    pub(super) root: u32,
    /// The best matcher there.
    pub(super) best: u32,
}

impl Trie {
    /// Adds the trie of `seeds`, which are sorted by key, no key twice; returns its root. O(bytes of the keys).
    pub(super) fn grow(&mut self, seeds: &[Seed]) -> u32 {
        let root = self.push(0, &[]);
        // (node, its keys, bytes of them that lead to it, last stop above). A list, not recursion: prefixes of
        // prefixes may go as deep as a path is long.
        let mut work = vec![(root, seeds, 0, NONE)];
        while let Some((node, mut keys, depth, mut stop)) = work.pop() {
            if let Some((seed, rest)) = keys.split_first() {
                if seed.key.len() == depth {
                    let above = self.stops.get(stop as usize).map_or(NONE, |stop| stop.best);
                    let best = seed.best.min(above);
                    self.stops.push(Stop { best, up: stop, depth: depth as u32, plant: seed.plant });
                    stop = self.stops.len() as u32 - 1;
                    keys = rest;
                }
            }
            let kids_at = self.nodes.len() as u32;
            for kin in keys.chunk_by(|a, b| a.key[depth] == b.key[depth]) {
                let (first, last) = (&kin[0].key, &kin[kin.len() - 1].key);
                // Sorted: what the first and the last share, all share.
                let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count().min(depth + LABEL_MAX);
                let kid = self.push(first[depth], &first[depth + 1..shared]);
                work.push((kid, kin, shared, stop));
            }
            let kids = (self.nodes.len() as u32 - kids_at) as u16;
            let node = &mut self.nodes[node as usize];
            (node.kids_at, node.kids, node.stop) = (kids_at, kids, stop);
        }
        root
    }

    /// Adds runs that lead from one place; returns what [`Plant::runs`] wants.
    pub(super) fn add_runs(&mut self, edges: &[RunEdge]) -> (u32, u32) {
        let at = self.edges.len() as u32;
        self.edges.extend_from_slice(edges);
        (at, self.edges.len() as u32)
    }

    /// The last stop on the way of `path`, or [`NONE`]. O(bytes of the longest prefix that it shares).
    #[inline]
    pub(super) fn walk(&self, root: u32, path: &[u8]) -> u32 {
        let mut node = &self.nodes[root as usize];
        let mut rest = path;
        while let Some((&byte, after)) = rest.split_first() {
            let kids = &self.firsts[node.kids_at as usize..][..usize::from(node.kids)];
            let Some(nth) = position(byte, kids) else { break };
            let kid = &self.nodes[node.kids_at as usize + nth];
            let len = usize::from(kid.label_len);
            if len > 0 {
                let label =
                    if len <= LABEL_HERE { &kid.label[..len] } else { &self.labels[kid.label_at as usize..][..len] };
                if !after.starts_with(label) {
                    break;
                }
            }
            (node, rest) = (kid, &after[len..]);
        }
        node.stop
    }

    /// A stop by its number.
    #[inline]
    pub(super) fn stop(&self, ix: u32) -> &Stop {
        &self.stops[ix as usize]
    }

    /// The runs that lead on from a plant.
    #[inline]
    pub(super) fn runs(&self, (at, end): (u32, u32)) -> &[RunEdge] {
        &self.edges[at as usize..end as usize]
    }

    fn push(&mut self, first: u8, label: &[u8]) -> u32 {
        let mut here = [0; LABEL_HERE];
        let label_at = self.labels.len() as u32;
        match here.get_mut(..label.len()) {
            Some(here) => here.copy_from_slice(label),
            None => self.labels.extend_from_slice(label),
        }
        self.firsts.push(first);
        let label_len = label.len() as u16;
        self.nodes.push(Node { kids_at: 0, stop: NONE, label_at, kids: 0, label_len, label: here });
        self.nodes.len() as u32 - 1
    }
}

/// memchr's set-up costs more than looking at a few bytes.
#[inline]
fn position(byte: u8, bytes: &[u8]) -> Option<usize> {
    if bytes.len() <= 8 {
        bytes.iter().position(|held| *held == byte)
    } else {
        memchr::memchr(byte, bytes)
    }
}

/// Bytes of an edge that its node holds. 16 makes the node 32 bytes and holds nearly every segment of a path.
const LABEL_HERE: usize = 16;

/// Longest edge; longer ones become several. So that its length fits 16 bits.
const LABEL_MAX: usize = 60_000;

const _: () = assert!(size_of::<Node>() == 32 && size_of::<Stop>() == 32, "two to a cache line");

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(nth: u32, key: &str) -> Seed {
        let plant = Plant { list: nth, end: NONE, group: NONE, runs: (0, 0) };
        Seed { key: key.as_bytes().to_vec(), best: nth, plant }
    }

    #[track_caller]
    fn check(keys: &[&str], paths: &[&str]) {
        let mut sorted: Vec<&str> = keys.to_vec();
        sorted.sort_unstable();
        let seeds: Vec<_> = (0..).zip(&sorted).map(|(nth, key)| seed(nth, key)).collect();
        let mut trie = Trie::default();
        // Another trie first: roots need not be node 0.
        trie.grow(&[]);
        let root = trie.grow(&seeds);
        for path in paths {
            let mut met = Vec::new();
            let mut at = trie.walk(root, path.as_bytes());
            while at != NONE {
                let stop = trie.stop(at);
                let key = sorted[stop.plant.list as usize];
                assert_eq!(stop.depth as usize, key.len());
                met.push(key);
                at = stop.up;
            }
            let want: Vec<&str> = sorted.iter().rev().copied().filter(|key| path.starts_with(key)).collect();
            assert_eq!(met, want, "{path}");
        }
        assert_eq!(trie.walk(0, b"/a"), NONE);
    }

    #[test]
    fn a_walk_meets_every_prefix_of_the_path_longest_first() {
        let keys = ["", "/", "/a", "/ab", "/abc/d", "/abd", "/b"];
        check(&keys, &["", "/", "/a", "/ab", "/abc", "/abc/", "/abc/d", "/abc/dd", "/abd", "/abe", "/b/", "x", "//"]);
    }

    #[test]
    fn edges_may_be_long_and_nodes_wide() {
        let long = format!("/{}", "x".repeat(3 * LABEL_MAX));
        let wide: Vec<String> = (b'!'..b'~').map(|byte| format!("/w{}", char::from(byte))).collect();
        let mut keys: Vec<&str> = wide.iter().map(String::as_str).collect();
        keys.extend([&*long, "/x/a-label-of-17-byte", "/x/a-label-of-18-bytes"]);
        let longer = format!("{long}/y");
        check(
            &keys,
            &[&longer, &long[..LABEL_MAX + 9], "/wA/", "/w~", "/x/a-label-of-18-bytes!", "/x/a-label-of-17-byt"],
        );
    }
}
