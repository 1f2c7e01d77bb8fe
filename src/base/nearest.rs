//! Which name was probably meant: edit distance over short words.

use super::limits::NEAREST_CHARS_MAX;

/// The name of `names` that `word` was probably meant to be; none where all are too far, or where no name is so long.
///
/// O(n · l²) for n names of about its length l; for messages, not for requests.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // A third of the letters, at least one: `pats` is `paths`, but `foo` is not `host`.
    let length = word.chars().take(NEAREST_CHARS_MAX + 1).count();
    if length > NEAREST_CHARS_MAX {
        return None;
    }
    let far = (length / 3).max(1);
    // As many letters as one is longer than the other are away at least.
    let near = names.into_iter().filter(|name| name.chars().take(length + far + 1).count().abs_diff(length) <= far);
    let measured = near.map(|name| (distance(&word, &name.to_lowercase()), name));
    measured.filter(|(away, _)| *away <= far).min_by_key(|(away, _)| *away).map(|(_, name)| name)
}

/// Fewest insertions, deletions, replacements and swaps of neighbours that make `a` of `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut rows = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(rows[(i - 1) * width + j] + 1).min(rows[i * width + j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[(i - 2) * width + j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_probable_name_is_found_and_the_far_one_is_not() {
        const NAMES: [&str; 5] = ["host", "paths", "methods", "rate-limiting", "proxy_listen"];
        let rows = [
            ("pats", Some("paths")),
            ("path", Some("paths")),
            ("hsot", Some("host")),
            ("Host", Some("host")),
            ("ratelimiting", Some("rate-limiting")),
            ("proxy_listn", Some("proxy_listen")),
            ("foo", None),
            ("", None),
        ];
        for (word, want) in rows {
            assert_eq!(nearest(word, NAMES), want, "{word:?}");
        }
    }

    #[test]
    fn what_is_longer_than_any_name_is_near_to_none() {
        let long = "a".repeat(1_000_000);
        assert_eq!(nearest(&long, [long.as_str()]), None);
        assert_eq!(nearest("host", [long.as_str(), "hosts"]), Some("hosts"));
    }
}
