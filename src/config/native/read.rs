//! Rows of [`knobs`](super::knobs) × a document → settings, and every fault in it.

use super::knobs::{Kind, Knob, Number, Unit};
use crate::base::nearest::nearest;
use crate::base::units;
use crate::config::doc::{Key, Node, Value};
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;

/// Reads the settings of a section into `draft`; what it does not name stays as it is.
pub(super) fn section(doc: &Node, knobs: &[Knob], path: &str, draft: &mut NodeDraft, report: &mut Report) {
    let Some(entries) = map(doc, path, report) else { return };
    for (key, value) in entries {
        match knobs.iter().find(|knob| knob.name == key.text) {
            Some(one) => knob(value, one, &join(path, &key.text), draft, report),
            None => unknown(key, knobs.iter().map(|knob| knob.name), path, report),
        }
    }
}

/// Reads one setting; `null` leaves it as it is.
pub(super) fn knob(doc: &Node, knob: &Knob, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    if doc.is_null() {
        return;
    }
    match &knob.kind {
        Kind::Section(knobs) => section(doc, knobs, path, draft, report),
        Kind::Number(number) => match read_number(doc, number) {
            Ok(value) => (number.write)(draft, value),
            Err((message, hint)) => report.fault(&doc.span, path, message, hint),
        },
        Kind::Switch { write, .. } => {
            if let Some(on) = switch(doc, path, report) {
                write(draft, on);
            }
        }
        Kind::Word { words, write, .. } => match words.iter().position(|word| doc.str() == Some(word)) {
            Some(at) => write(draft, at),
            None => {
                let hint = format!("write one of: {}", words.join(", "));
                report.fault(&doc.span, path, format!("not one of its words: {}", show(doc)), hint);
            }
        },
        Kind::Shown { write, .. } => match (&doc.value, is_off(doc)) {
            (_, true) => write(draft, None),
            // It becomes a header's name or a token of one; a line break in it would split heads.
            (Value::Str(text), _) if is_shown(text) => write(draft, Some(text.clone())),
            _ => {
                let message = format!("not a header's name or token: {}", show(doc));
                report.fault(&doc.span, path, message, "write letters, digits, \"-\", \".\" and \"/\", or \"off\"");
            }
        },
        Kind::Own { read, .. } => read(doc, path, draft, report),
    }
}

/// Letters, digits and what stands in `Server` and `Via` besides: `ringway/1.0`.
fn is_shown(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b))
}

fn read_number(doc: &Node, number: &Number) -> Result<u64, (String, String)> {
    if let Some(none) = number.none {
        if doc.str() == Some(none) || (none == "off" && is_off(doc)) {
            return Ok(0);
        }
    }
    let value = match (number.unit, &doc.value) {
        (Unit::Count, Value::Int(n)) => u64::try_from(*n).map_err(|_| ("below zero".to_owned(), String::new()))?,
        (Unit::Count, _) => return Err((format!("not a whole number: {}", show(doc)), or_none(number))),
        (unit, Value::Str(text)) => with_unit(text, unit).map_err(|why| (why, or_none(number)))?,
        // A bare number: the reader of units says what is missing.
        (unit, Value::Int(n)) => with_unit(&n.to_string(), unit).map_err(|why| (why, or_none(number)))?,
        (unit, _) => {
            let example = match unit {
                Unit::Time => "\"5s\"",
                Unit::Size => "\"16KiB\"",
                _ => "\"64B/s\"",
            };
            return Err((format!("not a number in a unit: {}", show(doc)), format!("write it as in {example}")));
        }
    };
    if value < number.min || value > number.max {
        let (low, high) = (in_unit(number.min, number.unit), in_unit(number.max, number.unit));
        let message = if value < number.min {
            format!("{} is too small; the least is {low}", show(doc))
        } else {
            format!("{} is too large; the most is {high}", show(doc))
        };
        return Err((message, or_none(number)));
    }
    Ok(value)
}

fn or_none(number: &Number) -> String {
    number.none.map_or_else(String::new, |word| format!("\"{word}\" sets no bound"))
}

fn with_unit(text: &str, unit: Unit) -> Result<u64, String> {
    match unit {
        Unit::Time => units::duration_ms(text),
        Unit::Size => units::size_bytes(text),
        Unit::Rate => match text.strip_suffix("/s") {
            Some(size) => units::size_bytes(size),
            None => Err(format!("\"{text}\" is not a rate; write bytes per second, as in \"64B/s\"")),
        },
        Unit::Count => text.parse().map_err(|_| format!("not a whole number: \"{text}\"")),
    }
}

/// Writes a number as people do, in the largest unit that holds it exactly.
pub(super) fn in_unit(value: u64, unit: Unit) -> String {
    let scaled = |scales: &[(u64, &str)]| {
        let fits = scales.iter().find(|(scale, _)| value >= *scale && value.is_multiple_of(*scale));
        let (scale, name) = fits.copied().unwrap_or((1, scales[scales.len() - 1].1));
        format!("{}{name}", value / scale)
    };
    const TIME: &[(u64, &str)] = &[(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    const SIZE: &[(u64, &str)] = &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
    match unit {
        Unit::Time => scaled(TIME),
        Unit::Size => scaled(SIZE),
        Unit::Rate => format!("{}/s", scaled(SIZE)),
        Unit::Count => value.to_string(),
    }
}

/// Is this `off`, in quotes or not (YAML reads the bare word as `false`)?
pub(super) fn is_off(doc: &Node) -> bool {
    matches!(&doc.value, Value::Bool(false)) || doc.str() == Some("off")
}

/// The entries of a map; of anything else but null, a fault.
pub(super) fn map<'a>(doc: &'a Node, path: &str, report: &mut Report) -> Option<&'a [(Key, Node)]> {
    if doc.map().is_none() && !doc.is_null() {
        report.fault(&doc.span, path, format!("expected a map, not {}", doc.value.word()), "");
    }
    doc.map()
}

/// The elements of a list; a single value is a list of one.
pub(super) fn list(doc: &Node) -> &[Node] {
    doc.seq().unwrap_or(std::slice::from_ref(doc))
}

/// Text, or a fault.
pub(super) fn text<'a>(doc: &'a Node, path: &str, report: &mut Report) -> Option<&'a str> {
    if doc.str().is_none() {
        let message = format!("expected a string, not {}", doc.value.word());
        report.fault(&doc.span, path, message, "put it in quotes");
    }
    doc.str()
}

/// `true` or `false`, or a fault.
pub(super) fn switch(doc: &Node, path: &str, report: &mut Report) -> Option<bool> {
    match doc.value {
        Value::Bool(on) => Some(on),
        _ => {
            report.fault(&doc.span, path, format!("not a switch: {}", show(doc)), "write true or false");
            None
        }
    }
}

/// A key that nobody knows.
pub(super) fn unknown<'a>(key: &Key, names: impl Iterator<Item = &'a str> + Clone, path: &str, report: &mut Report) {
    let hint = match nearest(&key.text, names.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are: {}", names.collect::<Vec<_>>().join(", ")),
    };
    report.fault(&key.span, join(path, &key.text), "unknown field", hint);
}

/// `path.key`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A value as a message repeats it.
pub(super) fn show(doc: &Node) -> String {
    match &doc.value {
        Value::Str(text) => format!("{text:?}"), // escaped: what was written must not steer a terminal
        Value::Int(n) => n.to_string(),
        Value::Float(x) => x.to_string(),
        Value::Bool(b) => b.to_string(),
        other => other.word().to_owned(),
    }
}
