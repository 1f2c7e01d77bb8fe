//! Radix tries over the prefixes of paths, one per bucket of hosts, all in one arena.
//!
//! A walk goes down as long as the path agrees and ends at the last [`Stop`] it passed. From there `up` leads through
//! the stops at shorter prefixes: every candidate whose prefix the path has, longest first, without a stack.

use std::collections::BTreeMap;

/// Nothing: no list, no group, no stop above.
pub(super) const NONE: u32 = u32::MAX;

/// The tries of a table.
#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The first byte on the edge to each node; siblings lie side by side, so that one scan finds the child.
    firsts: Vec<u8>,
    /// The other bytes on the edges.
    labels: Vec<u8>,
    stops: Vec<Stop>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    label_at: u32,
    label_len: u32,
    kids_at: u32,
    kids: u32,
    /// The last stop from the root to here.
    stop: u32,
}

/// A place with candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// The best matcher here or further up: nothing to look for beyond it.
    pub(super) best: u32,
    /// Candidates by prefix.
    pub(super) list: u32,
    /// Candidates by regular expression.
    pub(super) group: u32,
    /// The next stop at a shorter prefix.
    pub(super) up: u32,
}

/// What stands at one prefix; the numbers are the table's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plant {
    /// The best matcher of both.
    pub(super) best: u32,
    /// Candidates by prefix.
    pub(super) list: u32,
    /// Candidates by regular expression.
    pub(super) group: u32,
}

impl Trie {
    /// Adds the trie of `plants` and returns its root. O(bytes of the prefixes).
    pub(super) fn grow(&mut self, plants: &BTreeMap<&[u8], Plant>) -> u32 {
        let sorted: Vec<(&[u8], Plant)> = plants.iter().map(|(key, plant)| (*key, *plant)).collect();
        let root = self.push(0, &[]);
        // (node, its keys, bytes of them that lead to it, last stop above). A list, not recursion: prefixes of
        // prefixes may go as deep as a path is long.
        let mut work = vec![(root, &sorted[..], 0, NONE)];
        while let Some((node, mut keys, depth, mut stop)) = work.pop() {
            if let Some(((key, plant), rest)) = keys.split_first() {
                if key.len() == depth {
                    let above = self.stops.get(stop as usize).map_or(u32::MAX, |stop| stop.best);
                    let Plant { best, list, group } = *plant;
                    self.stops.push(Stop { best: best.min(above), list, group, up: stop });
                    stop = self.stops.len() as u32 - 1;
                    keys = rest;
                }
            }
            let kids_at = self.nodes.len() as u32;
            for kin in keys.chunk_by(|a, b| a.0[depth] == b.0[depth]) {
                let (first, last) = (kin[0].0, kin[kin.len() - 1].0);
                // Sorted: what the first and the last share, all share.
                let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
                let kid = self.push(first[depth], &first[depth + 1..shared]);
                work.push((kid, kin, shared, stop));
            }
            let kids = self.nodes.len() as u32 - kids_at;
            let node = &mut self.nodes[node as usize];
            (node.kids_at, node.kids, node.stop) = (kids_at, kids, stop);
        }
        root
    }

    /// The last stop on the way of `path`, or [`NONE`]. O(bytes of the longest prefix that it shares).
    #[inline]
    pub(super) fn walk(&self, root: u32, path: &[u8]) -> u32 {
        let mut node = &self.nodes[root as usize];
        let mut rest = path;
        while let Some((&byte, after)) = rest.split_first() {
            let kids = &self.firsts[node.kids_at as usize..(node.kids_at + node.kids) as usize];
            let Some(nth) = position(byte, kids) else { break };
            let kid = &self.nodes[node.kids_at as usize + nth];
            let label = &self.labels[kid.label_at as usize..(kid.label_at + kid.label_len) as usize];
            let Some(after) = after.strip_prefix(label) else { break };
            (node, rest) = (kid, after);
        }
        node.stop
    }

    /// A stop by its number.
    #[inline]
    pub(super) fn stop(&self, ix: u32) -> Stop {
        self.stops[ix as usize]
    }

    fn push(&mut self, first: u8, label: &[u8]) -> u32 {
        let label_at = self.labels.len() as u32;
        self.labels.extend_from_slice(label);
        self.firsts.push(first);
        self.nodes.push(Node { label_at, label_len: label.len() as u32, kids_at: 0, kids: 0, stop: NONE });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_meets_every_prefix_of_the_path_longest_first() {
        let keys = ["", "/", "/a", "/ab", "/abc/d", "/abd", "/b"];
        let plants: BTreeMap<&[u8], Plant> =
            (0..).zip(keys).map(|(nth, key)| (key.as_bytes(), Plant { best: nth, list: nth, group: NONE })).collect();
        let mut trie = Trie::default();
        // Another trie first: roots need not be node 0.
        trie.grow(&BTreeMap::new());
        let root = trie.grow(&plants);
        for path in ["", "/", "/a", "/ab", "/abc", "/abc/", "/abc/d", "/abc/dd", "/abd", "/abe", "/b/", "x", "//"] {
            let mut met = Vec::new();
            let mut stop = trie.walk(root, path.as_bytes());
            while stop != NONE {
                met.push(keys[trie.stop(stop).list as usize]);
                stop = trie.stop(stop).up;
            }
            let want: Vec<&str> = keys.into_iter().rev().filter(|key| path.starts_with(key)).collect();
            assert_eq!(met, want, "{path}");
        }
        assert_eq!(trie.walk(0, b"/a"), NONE);
    }
}
