//! The parts of a `multipart/form-data` body while they are changed. Parts that are not changed stay as they came.

use super::super::form::parts;
use super::lines::Steps;
use std::borrow::Cow;

/// A value that would be read as the end of its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugins) struct Unsafe;

enum Entry<'b> {
    /// As it came, with the line break before the next delimiter.
    Whole { name: &'b [u8], bytes: &'b [u8] },
    /// A field of ours.
    Simple { name: &'b [u8], value: Cow<'b, [u8]> },
}

impl Entry<'_> {
    fn name(&self) -> &[u8] {
        match self {
            Entry::Whole { name, .. } | Entry::Simple { name, .. } => name,
        }
    }
}

/// The body after the steps (but `append`, which means nothing here), `None` where nothing was to be changed. Parts are
/// renamed before any is removed. A body that is no multipart stays as it is; one is made of nothing where something is added.
///
/// # Errors
/// [`Unsafe`].
pub(in crate::plugins) fn change<'b>(
    body: &'b [u8],
    boundary: &[u8],
    steps: &'b Steps,
    value: impl Fn(usize) -> &'b [u8],
) -> Result<Option<Vec<u8>>, Unsafe> {
    let mut entries: Vec<Entry<'b>> = Vec::new();
    let (mut first, mut end, mut known) = (None, 0, true);
    for part in parts(body, boundary) {
        known &= first.is_none() || part.from == end;
        first.get_or_insert(part.from);
        end = part.to;
        entries.push(Entry::Whole { name: part.name, bytes: &body[part.from..part.to] });
    }
    // A part without a name, or an end that is missing: whoever reads it may read it otherwise than we do.
    let ends = body.get(end..).is_some_and(|rest| {
        rest.strip_prefix(b"--")
            .and_then(|rest| rest.strip_prefix(boundary))
            .is_some_and(|rest| rest.starts_with(b"--"))
    });
    let is_sound = known && first.is_some() && ends;
    if !body.is_empty() && !is_sound {
        return Ok(None);
    }
    let safe = |value: &'b [u8]| match memchr::memmem::find(value, boundary) {
        Some(_) => Err(Unsafe),
        None => Ok(Cow::Borrowed(value)),
    };
    let mut changed = false;
    let had = !body.is_empty();
    for (old, new) in steps.rename.iter().filter(|(old, new)| had && old != new) {
        let Some(at) = entries.iter().position(|entry| entry.name() == old.as_bytes()) else { continue };
        let held = match entries.remove(at) {
            Entry::Whole { bytes, .. } => Cow::Borrowed(content(bytes)),
            Entry::Simple { value, .. } => value,
        };
        entries.retain(|entry| entry.name() != new.as_bytes());
        entries.insert(at.min(entries.len()), Entry::Simple { name: new.as_bytes(), value: held });
        changed = true;
    }
    for name in steps.remove.iter().filter(|_| had) {
        let before = entries.len();
        entries.retain(|entry| entry.name() != name.as_bytes());
        changed |= entries.len() < before;
    }
    for given in steps.replace.iter().filter(|_| had) {
        let Some(at) = entries.iter().position(|entry| entry.name() == given.name.as_bytes()) else { continue };
        let new = Entry::Simple { name: given.name.as_bytes(), value: safe(value(given.value))? };
        entries[at] = new;
        changed = true;
    }
    for given in &steps.add {
        if entries.iter().all(|entry| entry.name() != given.name.as_bytes()) {
            entries.push(Entry::Simple { name: given.name.as_bytes(), value: safe(value(given.value))? });
            changed = true;
        }
    }
    if !changed {
        return Ok(None);
    }
    let mut out = body[..first.unwrap_or(0)].to_vec();
    for entry in &entries {
        match entry {
            Entry::Whole { bytes, .. } => out.extend_from_slice(bytes),
            Entry::Simple { name, value } => {
                for piece in [&b"--"[..], boundary, b"\r\nContent-Disposition: form-data; name=\""] {
                    out.extend_from_slice(piece);
                }
                for &byte in *name {
                    match byte {
                        b'"' => out.extend_from_slice(b"%22"),
                        b'\r' => out.extend_from_slice(b"%0D"),
                        b'\n' => out.extend_from_slice(b"%0A"),
                        byte => out.push(byte),
                    }
                }
                for piece in [&b"\"\r\n\r\n"[..], value, b"\r\n"] {
                    out.extend_from_slice(piece);
                }
            }
        }
    }
    if had {
        out.extend_from_slice(&body[end..]);
    } else {
        for piece in [&b"--"[..], boundary, b"--\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    Ok(Some(out))
}

/// What a part holds: behind its empty line, without the line break before the next delimiter.
fn content(part: &[u8]) -> &[u8] {
    let from = memchr::memmem::find(part, b"\r\n\r\n").map_or(part.len(), |at| at + 4);
    part[from..].strip_suffix(b"\r\n").unwrap_or(&part[from..])
}

#[cfg(test)]
mod tests {
    use super::super::lines::Given;
    use super::*;

    fn part(name: &str, value: &str) -> String {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    fn steps(work: impl Fn(&mut Steps)) -> Steps {
        let mut steps = Steps::default();
        work(&mut steps);
        steps
    }

    #[test]
    fn parts_are_changed_and_the_rest_stays() {
        let file =
            "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\nContent-Type: a/b\r\n\r\n\0\r\n1\r\n";
        let body = |parts: &[&str]| format!("pre\r\n{}--B--\r\nend", parts.concat());
        let (a, b) = (part("a", "1"), part("b", "2"));
        let given = |name: &str| vec![Given { name: name.to_owned(), value: 0 }];
        let rows: Vec<(Steps, Option<String>)> = vec![
            (steps(|s| s.remove = vec!["a".into()]), Some(body(&[file, &b]))),
            (steps(|s| s.remove = vec!["z".into()]), None),
            (steps(|s| s.rename = vec![("a".into(), "b".into())]), Some(body(&[&part("b", "1"), file]))),
            (steps(|s| s.rename = vec![("a".into(), "q\"".into())]), Some(body(&[&part("q%22", "1"), file, &b]))),
            (steps(|s| s.replace = given("f")), Some(body(&[&a, &part("f", "new"), &b]))),
            (steps(|s| s.add = given("c")), Some(body(&[&a, file, &b, &part("c", "new")]))),
            (steps(|s| s.add = given("a")), None),
            (steps(|s| s.append = given("a")), None),
        ];
        let whole = body(&[&a, file, &b]);
        for (steps, want) in rows {
            let got = change(whole.as_bytes(), b"B", &steps, |_| b"new").expect("safe");
            assert_eq!(got.map(|got| String::from_utf8(got).expect("text")), want, "{steps:?}");
        }
    }

    #[test]
    fn a_value_cannot_end_its_part_and_what_is_broken_stays() {
        let add = steps(|s| s.add = vec![Given { name: "c".into(), value: 0 }]);
        let body = format!("{}--B--", part("a", "1"));
        assert_eq!(change(body.as_bytes(), b"B", &add, |_| b"x\r\n--B--\r\n"), Err(Unsafe));
        for broken in ["none", "--B\r\n\r\n1\r\n--B--", &part("a", "1"), "--B\r\n--B--"] {
            assert_eq!(change(broken.as_bytes(), b"B", &add, |_| b"x"), Ok(None), "{broken}");
        }
        let built = change(b"", b"B", &add, |_| b"x").expect("safe").expect("made of nothing");
        assert_eq!(String::from_utf8(built).expect("text"), format!("{}--B--\r\n", part("c", "x")));
    }
}
