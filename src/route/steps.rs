//! The part of a path expression that leaves no choice: literal bytes, and runs of one class that can only end at one
//! place. `/api/v\d+/users/(?<id>\d+)$` is such steps to its end; `/files/.*\.png` is the step `/files/` and a rest.
//!
//! Steps are shared: a thousand expressions that begin with `/api/v\d+/` walk those bytes once, in the trie. What is
//! left of most expressions is nothing, or the same few rests, so that most need no engine at all.
//!
//! A run is forced where the byte after it is not of its class (`\d+/`), where the path must end after it (`\d+$`),
//! where it takes a fixed number of characters (`[0-9a-f]{8}`), or where it is greedy, unbounded and the last thing.

use regex_syntax::hir::{Capture, Class, Hir, HirKind, Look, Repetition};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes.
    Literal(Vec<u8>),
    /// Characters of a class.
    Run {
        /// Which and how many.
        run: Run,
        /// Is it a group of its own, as in `(\d+)`? Groups of steps are numbered in order from 1.
        group: bool,
    },
}

/// What follows the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing: the expression has matched.
    Done,
    /// The end of the path.
    End,
    /// An expression, its groups numbered from 1 and nameless, so that equal rests are equal.
    More(Hir),
}

/// Characters of a class, as many as there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Bytes that are a member by themselves: a bit each.
    bytes: [u64; 4],
    /// Members that UTF-8 writes in several bytes; sorted ranges, both ends included.
    wide: Vec<(char, char)>,
    min: u32,
    max: u32,
    /// Takes `min` and stops, even if more would follow.
    exact: bool,
}

/// Takes an expression apart. Returns its steps, what follows, and how many groups the steps hold.
pub(super) fn take_apart(hir: &Hir) -> (Vec<Step>, Rest, u32) {
    let parts = match hir.kind() {
        HirKind::Concat(parts) => &parts[..],
        HirKind::Empty => &[],
        _ => std::slice::from_ref(hir),
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut groups = 0;
    let mut runs = 0;
    let mut at = 0;
    while let Some(part) = parts.get(at) {
        match part.kind() {
            HirKind::Literal(literal) => match steps.last_mut() {
                Some(Step::Literal(bytes)) => bytes.extend_from_slice(&literal.0),
                _ => steps.push(Step::Literal(literal.0.to_vec())),
            },
            // Nobody need write it, and it holds.
            HirKind::Look(Look::Start) if steps.is_empty() => {}
            _ if runs == RUNS_MAX => break,
            _ => {
                let (inner, group) = match part.kind() {
                    HirKind::Capture(capture) => (&*capture.sub, true),
                    _ => (part, false),
                };
                let Some(run) = forced_run(inner, &parts[at + 1..]) else { break };
                steps.push(Step::Run { run, group });
                groups += u32::from(group);
                runs += 1;
            }
        }
        at += 1;
    }
    let rest = match &parts[at..] {
        [] => Rest::Done,
        [end] if is_end(end) => Rest::End,
        more => Rest::More(Hir::concat(more.iter().map(|part| renumbered(part, groups)).collect())),
    };
    (steps, rest, groups)
}

/// The names of all groups of an expression, whole match first.
pub(super) fn group_names(hir: &Hir) -> Vec<Option<Box<str>>> {
    let mut names = vec![None];
    let mut work = vec![hir];
    while let Some(hir) = work.pop() {
        match hir.kind() {
            HirKind::Capture(Capture { index, name, sub }) => {
                let at = *index as usize;
                names.resize(names.len().max(at + 1), None);
                names[at] = name.clone();
                work.push(sub);
            }
            HirKind::Repetition(repetition) => work.push(&repetition.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => work.extend(parts),
            HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => {}
        }
    }
    names
}

impl Run {
    /// Where the run that starts at `at` ends; `None` if the class has too few characters there, or too many.
    #[inline]
    pub(super) fn end(&self, path: &[u8], at: usize) -> Option<usize> {
        let mut end = at;
        let mut count = 0;
        while let Some(&byte) = path.get(end) {
            if self.exact && count == self.min {
                break;
            }
            if self.bytes[usize::from(byte / 64)] & (1 << (byte % 64)) != 0 {
                end += 1;
            } else if byte < 0x80 || self.wide.is_empty() {
                break;
            } else {
                let Some((char, len)) = first_char(&path[end..]) else { break };
                if !self.has_wide(char) {
                    break;
                }
                end += len;
            }
            count += 1;
        }
        (self.min <= count && count <= self.max).then_some(end)
    }

    fn of(class: &Class, min: u32, max: Option<u32>) -> Run {
        let mut run =
            Run { bytes: [0; 4], wide: Vec::new(), min, max: max.unwrap_or(u32::MAX), exact: max == Some(min) };
        let mut add = |byte: u8| run.bytes[usize::from(byte / 64)] |= 1 << (byte % 64);
        match class {
            Class::Bytes(class) => {
                class.ranges().iter().for_each(|range| (range.start()..=range.end()).for_each(&mut add))
            }
            Class::Unicode(class) => {
                for range in class.ranges() {
                    (range.start()..=range.end().min('\x7f')).for_each(|char| add(char as u8));
                    if range.end() >= FIRST_WIDE {
                        run.wide.push((range.start().max(FIRST_WIDE), range.end()));
                    }
                }
            }
        }
        run
    }

    fn has_wide(&self, char: char) -> bool {
        self.wide
            .binary_search_by(|(from, to)| match () {
                () if *to < char => std::cmp::Ordering::Less,
                () if *from > char => std::cmp::Ordering::Greater,
                () => std::cmp::Ordering::Equal,
            })
            .is_ok()
    }
}

/// The run that `part` is, if what comes `after` forces its end.
fn forced_run(part: &Hir, after: &[Hir]) -> Option<Run> {
    let (class, min, max, greedy) = match part.kind() {
        HirKind::Class(class) => (class, 1, Some(1), true),
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => match sub.kind() {
            HirKind::Class(class) => (class, *min, *max, *greedy),
            _ => return None,
        },
        _ => return None,
    };
    let run = Run::of(class, min, max);
    let forced = match after {
        _ if run.exact => true,
        [] => greedy && max.is_none(),
        [end] if is_end(end) => true,
        [next, ..] => match next.kind() {
            HirKind::Literal(literal) => {
                let byte = literal.0[0];
                byte < 0x80 && run.bytes[usize::from(byte / 64)] & (1 << (byte % 64)) == 0
            }
            _ => false,
        },
    };
    forced.then_some(run)
}

fn is_end(part: &Hir) -> bool {
    matches!(part.kind(), HirKind::Look(Look::End))
}

/// The same without names and with every group's number less `by`.
fn renumbered(hir: &Hir, by: u32) -> Hir {
    let sub = |sub: &Hir| Box::new(renumbered(sub, by));
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => hir.clone(),
        HirKind::Repetition(repetition) => {
            Hir::repetition(Repetition { sub: sub(&repetition.sub), ..repetition.clone() })
        }
        HirKind::Capture(capture) => {
            Hir::capture(Capture { index: capture.index - by, name: None, sub: sub(&capture.sub) })
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(|part| renumbered(part, by)).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(|part| renumbered(part, by)).collect()),
    }
}

/// The character that `bytes` begin with, and its length; `None` for what is not UTF-8.
fn first_char(bytes: &[u8]) -> Option<(char, usize)> {
    let len = match bytes.first()? {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let text = std::str::from_utf8(bytes.get(..len)?).ok()?;
    Some((text.chars().next()?, len))
}

/// The first character that takes more than a byte.
const FIRST_WIDE: char = '\u{80}';

/// Runs of one expression that become steps; the rest goes to an engine. Each is a level of recursion in a search.
const RUNS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows steps as `"literal"`, `run`, `(run)`, and what follows as `done`, `end` or `rest`.
    fn shown(text: &str) -> String {
        let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(text).unwrap();
        let (steps, rest, _) = take_apart(&hir);
        let mut words: Vec<String> = steps
            .iter()
            .map(|step| match step {
                Step::Literal(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
                Step::Run { group: true, .. } => "(run)".into(),
                Step::Run { group: false, .. } => "run".into(),
            })
            .collect();
        words.push(match rest {
            Rest::Done => "done".into(),
            Rest::End => "end".into(),
            Rest::More(_) => "rest".into(),
        });
        words.join(" ")
    }

    #[test]
    fn what_leaves_no_choice_becomes_steps() {
        let rows = [
            ("/api/v\\d+/users/(?<id>\\d+)$", "\"/api/v\" run \"/users/\" (run) end"),
            ("/a", "\"/a\" done"),
            ("/a$", "\"/a\" end"),
            ("^/a", "\"/a\" done"),
            ("/x[^/]+", "\"/x\" run done"),
            ("/x[^/]+?/y", "\"/x\" run \"/y\" done"),
            ("/[0-9]{4}[0-9]{2}x", "\"/\" run run \"x\" done"),
            ("/[0-9]{1,3}x", "\"/\" run \"x\" done"),
            ("/(?i)u", "\"/\" run done"),
            ("/([0-9]+)/(?<tail>[a-z]?)1", "\"/\" (run) \"/\" (run) \"1\" done"),
            // A choice: where does the run end, or what follows?
            ("/[0-9]{1,3}", "\"/\" rest"),
            ("/x[^/]+?", "\"/x\" rest"),
            ("/.*/x", "\"/\" rest"),
            ("/[0-9]+1", "\"/\" rest"),
            ("/[0-9]+\\b", "\"/\" rest"),
            ("/(a|bc)/([0-9]+)", "\"/\" rest"),
            ("/a|/b", "rest"),
            ("", "done"),
        ];
        for (text, want) in rows {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn a_run_takes_whole_characters() {
        let run = |text: &str| {
            let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(text).unwrap();
            match take_apart(&hir).0.remove(0) {
                Step::Run { run, .. } => run,
                Step::Literal(_) => panic!("a run was meant"),
            }
        };
        let rows: [(&str, &[u8], Option<usize>); 12] = [
            ("[0-9]+", b"12a", Some(2)),
            ("[0-9]+", b"a", None),
            ("[0-9]*", b"a", Some(0)),
            ("[0-9]+", b"", None),
            ("\\d+", "1٣a".as_bytes(), Some(3)),
            ("[^/]+", "é/".as_bytes(), Some(2)),
            ("[^/]+", b"a\xff/", Some(1)),
            ("[^/]+", b"\xe2\x82", None),
            ("(?-u:[^/])+", b"a\xff/", Some(2)),
            ("[ab]{2}", b"abab", Some(2)),
            ("[ab]{2,3}$", b"abab", None),
            ("[ab]{2,4}$", b"abab", Some(4)),
        ];
        for (text, path, want) in rows {
            assert_eq!(run(text).end(path, 0), want, "{text} on {path:?}");
        }
    }
}
