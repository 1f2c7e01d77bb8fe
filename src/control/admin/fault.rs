//! Findings as the Admin API tells them: nested by field (`fields`), as one sentence (`message`), and by entity
//! (`flattened_errors`). What the rules say is `config`'s; here it only changes its shape.

use crate::base::limits;
use crate::config::Shape;
use crate::plan::report::{Finding, Severity};
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;

/// Under this key stand faults of a whole entity.
const WHOLE: &str = "@entity";

/// One step of a path: `services[0].host` has three.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A place in a list.
    Index(usize),
    /// A key of a map.
    Key(String),
}

impl Step {
    /// As messages name it: lists count from one there.
    fn shown(&self) -> String {
        match self {
            Step::Index(ix) => (ix + 1).to_string(),
            Step::Key(key) => key.clone(),
        }
    }
}

/// Takes a path apart, as far as the deepest true one goes: keys are the sender's, and what follows stays one key. Keys of
/// maps that hold dots or brackets come out as several steps.
fn steps(path: &str) -> Vec<Step> {
    let (mut steps, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        if steps.len() == limits::ADMIN_FAULT_STEPS_MAX {
            steps.push(Step::Key(rest.to_owned()));
            break;
        }
        let bracketed = rest.strip_prefix('[');
        let begun = bracketed.unwrap_or(rest);
        let (piece, after) = begun.split_at(begun.find(['.', '[']).unwrap_or(begun.len()));
        // No document has room for more places than 32 bits count.
        let index = || piece.strip_suffix(']')?.parse::<u32>().ok();
        match bracketed.and_then(|_| index()) {
            Some(index) => steps.push(Step::Index(index as usize)),
            None if bracketed.is_none() && piece.is_empty() => {}
            None => steps.push(Step::Key(piece.to_owned())),
        }
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    steps
}

/// Faults by field.
#[derive(Debug)]
pub(super) enum Faults {
    /// What is wrong.
    Text(String),
    /// What is wrong within.
    Within(BTreeMap<Step, Faults>),
}

impl Default for Faults {
    fn default() -> Faults {
        Faults::Within(BTreeMap::new())
    }
}

impl Faults {
    /// The faults of one entity, whose paths begin within it.
    pub(super) fn of_entity(findings: &[Finding]) -> Faults {
        let mut all = Faults::default();
        for finding in faults(findings) {
            all.add(&steps(&finding.path), &finding.message);
        }
        all
    }

    /// Are there any?
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Faults::Within(held) if held.is_empty())
    }

    /// Adds one; of several at the same place the first stays, as the words of one are the clearer for it.
    fn add(&mut self, path: &[Step], message: &str) {
        let Faults::Within(held) = self else { return };
        match path {
            [] => {
                let whole = held.entry(Step::Key(WHOLE.to_owned())).or_default();
                if let Faults::Within(list) = whole {
                    list.insert(Step::Index(list.len()), Faults::Text(message.to_owned()));
                }
            }
            [last] if !held.contains_key(last) => {
                held.insert(last.clone(), Faults::Text(message.to_owned()));
            }
            [last] => {
                if let Some(within @ Faults::Within(_)) = held.get_mut(last) {
                    within.add(&[], message);
                }
            }
            [first, rest @ ..] => held.entry(first.clone()).or_default().add(rest, message),
        }
    }

    /// Adds one of the whole of what stands at `path`.
    fn add_whole(&mut self, path: &[Step], message: &str) {
        match (path, self) {
            ([], whole) => whole.add(&[], message),
            ([first, rest @ ..], Faults::Within(held)) => {
                held.entry(first.clone()).or_default().add_whole(rest, message);
            }
            (_, Faults::Text(_)) => {}
        }
    }

    /// As JSON: lists by position, with null where nothing is wrong; by number where that would be too many nulls.
    pub(super) fn json(&self) -> Value {
        let mut places = limits::ADMIN_FAULT_PLACES_MAX;
        self.json_within(&mut places)
    }

    /// `places`: how many of lists may still be written.
    fn json_within(&self, places: &mut usize) -> Value {
        let held = match self {
            Faults::Text(text) => return text.as_str().into(),
            Faults::Within(held) => held,
        };
        let last = held.keys().map(|step| if let Step::Index(ix) = step { Some(*ix) } else { None }).max().flatten();
        let only_indexes = held.keys().all(|step| matches!(step, Step::Index(_)));
        match last.filter(|last| only_indexes && *last < *places) {
            Some(last) => {
                *places -= last;
                let at = |ix| held.get(&Step::Index(ix)).map_or(Value::Null, |faults| faults.json_within(places));
                (0..=last).map(at).collect()
            }
            None => {
                let entry = |(step, faults): (&Step, &Faults)| (step.shown(), faults.json_within(places));
                Value::Object(held.iter().map(entry).collect())
            }
        }
    }

    /// As the table that messages print, in one line.
    pub(super) fn table(&self) -> String {
        self.printed(None)
    }

    /// As a table; over several lines where a depth is given, that of its own lines.
    fn printed(&self, depth: Option<usize>) -> String {
        let held = match self {
            Faults::Text(text) => return quoted(text),
            Faults::Within(held) => held,
        };
        let (inner, is) = (depth.map(|depth| depth + 1), if depth.is_some() { " = " } else { "=" });
        let mut next = 0;
        let entry = |(step, faults): (&Step, &Faults)| match step {
            Step::Index(ix) if *ix == next => {
                next += 1;
                faults.printed(inner)
            }
            Step::Index(ix) => format!("[{}]{is}{}", ix + 1, faults.printed(inner)),
            Step::Key(key) if is_plain(key) => format!("{key}{is}{}", faults.printed(inner)),
            Step::Key(key) => format!("[{}]{is}{}", quoted(key), faults.printed(inner)),
        };
        let entries: Vec<String> = held.iter().map(entry).collect();
        match depth {
            None => format!("{{{}}}", entries.join(",")),
            Some(depth) => {
                let (own, end) = ("  ".repeat(depth + 1), "  ".repeat(depth));
                format!("{{\n{own}{}\n{end}}}", entries.join(&format!(",\n{own}")))
            }
        }
    }

    /// As one sentence: faults of the whole first, then by field; two levels deep, below that as tables.
    pub(super) fn sentence(&self) -> String {
        let Faults::Within(held) = self else { return self.table() };
        let mut all = Vec::new();
        if let Some(Faults::Within(whole)) = held.get(&Step::Key(WHOLE.to_owned())) {
            all.extend(whole.values().map(|fault| match fault {
                Faults::Text(text) => text.clone(),
                within => within.table(),
            }));
        }
        for (step, fault) in held.iter().filter(|(step, _)| **step != Step::Key(WHOLE.to_owned())) {
            match fault {
                Faults::Text(text) => all.push(format!("{}: {text}", step.shown())),
                Faults::Within(within) => all.extend(within.iter().map(|(inner, fault)| {
                    let text = match fault {
                        Faults::Text(text) => text.clone(),
                        within => within.printed(Some(0)),
                    };
                    format!("{}.{}: {text}", step.shown(), inner.shown())
                })),
            }
        }
        match all.as_slice() {
            [one] => format!("schema violation ({one})"),
            many => format!("{} schema violations ({})", many.len(), many.join("; ")),
        }
    }

    /// Every fault of one entity with its field; `None` is the whole.
    fn flat(&self, field: &str, out: &mut Vec<(Option<String>, String)>) {
        let held = match self {
            Faults::Text(text) => return out.push((Some(field.to_owned()), text.clone())),
            Faults::Within(held) => held,
        };
        for (step, fault) in held {
            match (step, fault) {
                (Step::Key(key), Faults::Within(whole)) if key == WHOLE => {
                    let texts = whole.values().filter_map(|fault| match fault {
                        Faults::Text(text) => Some((None, text.clone())),
                        Faults::Within(_) => None,
                    });
                    out.extend(texts);
                }
                _ => {
                    let step = step.shown();
                    let field = if field.is_empty() { step } else { format!("{field}.{step}") };
                    fault.flat(&field, out);
                }
            }
        }
    }
}

fn faults(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.severity == Severity::Fault)
}

fn is_plain(key: &str) -> bool {
    let begins = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    begins && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// The faults of a declarative text, nested from its top.
pub(super) fn of_document(findings: &[Finding], more: &[String], shapes: &[Shape]) -> Faults {
    let mut all = Faults::default();
    for finding in faults(findings) {
        of_top(&mut all, finding, shapes);
    }
    for text in more {
        all.add(&[], text);
    }
    all
}

fn of_top(all: &mut Faults, finding: &Finding, shapes: &[Shape]) {
    let path = steps(&finding.path);
    let depth = entity_depth(&path, shapes);
    match path.as_slice() {
        // Of the text itself: it could not be read.
        [] => {
            const PREFIX: &str = "failed parsing declarative configuration";
            let message = &finding.message;
            let text = if message.starts_with(PREFIX) { message.clone() } else { format!("{PREFIX}: {message}") };
            all.add(&[Step::Key("error".to_owned())], &text);
        }
        // An entity that is there twice is told in its place, any other fault of an entity within it.
        path if path.len() == depth && !finding.message.starts_with("uniqueness violation") => {
            all.add_whole(path, &finding.message);
        }
        path => all.add(path, &finding.message),
    }
}

/// How many steps of a path lead to the innermost entity on it; 0 where there is none.
fn entity_depth(path: &[Step], shapes: &[Shape]) -> usize {
    let (mut depth, mut children): (usize, Option<Vec<&str>>) = (0, None);
    while let [Step::Key(list), Step::Index(_), ..] = &path[depth..] {
        let is_list = children.as_ref().is_none_or(|names| names.contains(&list.as_str()));
        let Some(shape) = shapes.iter().find(|shape| is_list && shape.noun == list) else { break };
        depth += 2;
        children = Some(shape.children.iter().map(|(child, _)| *child).collect());
    }
    depth
}

/// The faults of a declarative text by entity, as `flattened_errors` lists them; and those of none, nested. `document`
/// is the text as JSON.
pub(super) fn flattened(
    findings: &[Finding],
    more: &[String],
    document: &Value,
    shapes: &[Shape],
) -> (Vec<Value>, Faults) {
    let mut by_entity: BTreeMap<Vec<Step>, Faults> = BTreeMap::new();
    let mut rest = Faults::default();
    for finding in faults(findings) {
        let path = steps(&finding.path);
        let depth = entity_depth(&path, shapes);
        match depth {
            0 => of_top(&mut rest, finding, shapes),
            _ => by_entity.entry(path[..depth].to_vec()).or_default().add(&path[depth..], &finding.message),
        }
    }
    for text in more {
        rest.add(&[], text);
    }
    let entries = by_entity.iter().map(|(path, faults)| entry(path, faults, document, shapes)).collect();
    (entries, rest)
}

fn entry(path: &[Step], faults: &Faults, document: &Value, shapes: &[Shape]) -> Value {
    let noun = path.iter().rev().find_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None });
    let shape = noun.and_then(|noun| shapes.iter().find(|shape| shape.noun == noun));
    let mut entity = at(document, path).cloned().unwrap_or(Value::Null);
    if let (Some(shape), Some(map)) = (shape, entity.as_object_mut()) {
        for (child, _) in shape.children {
            map.shift_remove(*child);
        }
        // What it is nested in, where that says its id.
        let outer = at(document, &path[..path.len().saturating_sub(2)]);
        let id = outer.and_then(|outer| outer.get("id")).and_then(Value::as_str);
        let outer_noun = path.len().checked_sub(4).and_then(|ix| path.get(ix));
        let outer_shape = outer_noun.and_then(|step| shapes.iter().find(|shape| step.shown() == shape.noun));
        let column = outer_shape.and_then(|outer| outer.children.iter().find(|(child, _)| *child == shape.noun));
        if let (Some(id), Some((_, column))) = (id, column) {
            map.entry(*column).or_insert_with(|| json!({ "id": id }));
        }
    }
    let mut flat = Vec::new();
    faults.flat("", &mut flat);
    let errors: Vec<Value> = flat
        .into_iter()
        .map(|(field, message)| match field {
            Some(field) => json!({ "type": "field", "field": field, "message": message }),
            None => json!({ "type": "entity", "message": message }),
        })
        .collect();
    let mut out = Map::new();
    let noun = noun.unwrap_or_default();
    out.insert("entity_type".to_owned(), noun.strip_suffix('s').unwrap_or(noun).into());
    for (member, field) in [("entity_name", "name"), ("entity_id", "id"), ("entity_tags", "tags")] {
        let usable = |value: &&Value| if field == "tags" { value.is_array() } else { value.is_string() };
        if let Some(value) = entity.get(field).filter(usable) {
            out.insert(member.to_owned(), value.clone());
        }
    }
    out.insert("entity".to_owned(), entity);
    out.insert("errors".to_owned(), errors.into());
    Value::Object(out)
}

fn at<'v>(document: &'v Value, path: &[Step]) -> Option<&'v Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Index(ix) => value.get(ix),
        Step::Key(key) => value.get(key.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::span::Span;
    use crate::plan::report::Report;

    fn report(rows: &[(&str, &str)]) -> Vec<Finding> {
        let mut report = Report::default();
        for (path, message) in rows {
            report.fault(&Span::nowhere(), *path, *message, "a hint that is not told");
        }
        report.warning(&Span::nowhere(), "x", "a warning", "");
        report.findings
    }

    #[test]
    fn faults_of_an_entity_are_a_sentence_and_a_tree() {
        type Row = (&'static [(&'static str, &'static str)], &'static str, &'static str);
        let rows: &[Row] = &[
            (
                &[("host", "required field missing")],
                "schema violation (host: required field missing)",
                r#"{"host":"required field missing"}"#,
            ),
            (
                &[("protocols[1]", "expected a string"), ("", "at least one")],
                "2 schema violations (at least one; protocols.2: expected a string)",
                r#"{"@entity":["at least one"],"protocols":[null,"expected a string"]}"#,
            ),
            (
                &[("config.redis.port", "bad"), ("config.minute", "low"), ("config.minute", "second")],
                "2 schema violations (config.minute: low; config.redis: {\n  port = \"bad\"\n})",
                r#"{"config":{"minute":"low","redis":{"port":"bad"}}}"#,
            ),
        ];
        for (findings, sentence, fields) in rows {
            let faults = Faults::of_entity(&report(findings));
            assert_eq!((faults.sentence().as_str(), faults.json().to_string().as_str()), (*sentence, *fields));
        }
    }

    #[test]
    fn paths_are_taken_apart_as_far_as_they_can_be_true() {
        let key = |text: &str| Step::Key(text.to_owned());
        let rows: &[(&str, &[Step])] = &[
            ("", &[]),
            ("a.b", &[key("a"), key("b")]),
            ("a[0][2].b", &[key("a"), Step::Index(0), Step::Index(2), key("b")]),
            ("[1]", &[Step::Index(1)]),
            (".a..b.", &[key("a"), key("b")]),
            ("a[x].c[", &[key("a"), key("x]"), key("c"), key("")]),
            ("a[4294967296]", &[key("a"), key("4294967296]")]),
        ];
        for (path, want) in rows {
            assert_eq!(steps(path), *want, "{path:?}");
        }
        let deep = steps(&"a.".repeat(100_000));
        assert_eq!(deep.len(), limits::ADMIN_FAULT_STEPS_MAX + 1);
        let written = deep.iter().map(|step| step.shown().len() + 1).sum::<usize>();
        assert_eq!(written, 200_001, "nothing of it is lost");
    }

    #[test]
    fn a_place_far_down_a_list_is_told_by_its_number() {
        let faults = Faults::of_entity(&report(&[("a[1]", "no"), ("b[4294967295]", "no"), ("b[0]", "neither")]));
        assert_eq!(faults.json().to_string(), r#"{"a":[null,"no"],"b":{"1":"neither","4294967296":"no"}}"#);
    }

    #[test]
    fn faults_of_a_text_are_nested_or_told_by_entity() {
        let shapes = crate::config::shapes();
        let findings = report(&[
            ("services[1].routes[0].paths[1]", "should start with: /"),
            ("services[1].routes[0]", "must set one"),
            ("services[1]", "uniqueness violation: twice"),
            ("_format_version", "expected a string"),
            ("routes[0].snis[0]", "bad"),
        ]);
        let nested = of_document(&findings, &[], &shapes);
        assert_eq!(
            nested.json().to_string(),
            r#"{"_format_version":"expected a string","routes":[{"snis":["bad"]}],"services":[null,{"@entity":["uniqueness violation: twice"],"routes":[{"@entity":["must set one"],"paths":[null,"should start with: /"]}]}]}"#
        );
        assert!(nested.table().contains(r#"services={[2]={["@entity"]={"uniqueness"#), "{}", nested.table());
        let document = json!({
            "services": [{}, {"id": "1", "name": "s", "routes": [{"name": "r", "tags": ["t"], "plugins": []}]}],
            "routes": [{}],
        });
        let (flat, rest) = flattened(&findings, &[], &document, &shapes);
        assert_eq!(rest.table(), r#"{_format_version="expected a string"}"#);
        assert_eq!(
            flat[2].to_string(),
            r#"{"entity_type":"route","entity_name":"r","entity_tags":["t"],"entity":{"name":"r","tags":["t"],"service":{"id":"1"}},"errors":[{"type":"entity","message":"must set one"},{"type":"field","field":"paths.2","message":"should start with: /"}]}"#
        );
        assert_eq!(flat[1]["errors"][0]["type"], "entity");
    }
}
