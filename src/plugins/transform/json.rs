//! Members of JSON bodies: named as they are, or, where dots lead into what is nested, by a path: `a.b`, `list[*].name` for
//! every element, `list[1]` for the first.

use serde_json::{Map, Value};

/// Where a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugins) struct Path {
    within: Vec<Step>,
    last: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Each,
    /// From 0.
    Nth(usize),
}

/// What is done there.
pub(in crate::plugins) enum Change<'a> {
    /// Takes it away.
    Remove,
    /// Gives it another name.
    Rename(&'a str),
    /// Writes over it.
    Replace(&'a Value),
    /// Writes it where there is none.
    Add(&'a Value),
    /// Makes a list of what is there and this.
    Append(&'a Value),
}

impl Path {
    /// Reads a name; `nested`: do dots and brackets lead into it?
    pub(in crate::plugins) fn of(name: &str, nested: bool) -> Path {
        if !nested {
            return Path { within: Vec::new(), last: Step::Member(name.to_owned()) };
        }
        let mut steps = Vec::new();
        for part in name.split('.') {
            let (member, brackets) = part.split_at(part.find('[').unwrap_or(part.len()));
            if !member.is_empty() {
                steps.push(Step::Member(member.to_owned()));
            }
            for bracket in brackets.split('[').filter(|bracket| !bracket.is_empty()) {
                steps.push(match bracket.strip_suffix(']') {
                    Some("*") => Step::Each,
                    // The first has the number 1.
                    Some(number) => match number.parse::<usize>() {
                        Ok(place) if place > 0 => Step::Nth(place - 1),
                        _ => Step::Member(format!("[{bracket}")),
                    },
                    None => Step::Member(format!("[{bracket}")),
                });
            }
        }
        let last = steps.pop().unwrap_or_else(|| Step::Member(name.to_owned()));
        Path { within: steps, last }
    }

    /// Changes a body; whether anything is another than before.
    pub(in crate::plugins) fn change(&self, body: &mut Value, change: &Change<'_>) -> bool {
        self.walk(body, &self.within, change)
    }

    fn walk(&self, at: &mut Value, within: &[Step], change: &Change<'_>) -> bool {
        let Some((first, rest)) = within.split_first() else { return self.apply(at, change) };
        match (first, at) {
            (Step::Member(name), Value::Object(members)) => {
                if !members.contains_key(name) && matches!(change, Change::Add(_) | Change::Append(_)) {
                    members.insert(name.clone(), Value::Object(Map::new()));
                }
                members.get_mut(name).is_some_and(|inner| self.walk(inner, rest, change))
            }
            (Step::Each, Value::Array(elements)) => every(elements, |inner| self.walk(inner, rest, change)),
            (Step::Nth(place), Value::Array(elements)) => {
                elements.get_mut(*place).is_some_and(|inner| self.walk(inner, rest, change))
            }
            _ => false,
        }
    }

    fn apply(&self, at: &mut Value, change: &Change<'_>) -> bool {
        match (&self.last, at) {
            (Step::Member(name), Value::Object(members)) => in_object(members, name, change),
            (Step::Each, Value::Array(elements)) if matches!(change, Change::Remove) => {
                let any = !elements.is_empty();
                elements.clear();
                any
            }
            (Step::Each, Value::Array(elements)) => every(elements, |element| in_element(element, change)),
            (Step::Nth(place), Value::Array(elements)) if *place < elements.len() => match change {
                Change::Remove => {
                    elements.remove(*place);
                    true
                }
                _ => in_element(&mut elements[*place], change),
            },
            _ => false,
        }
    }
}

/// Does the work for every element; whether it has changed any.
fn every(elements: &mut [Value], mut work: impl FnMut(&mut Value) -> bool) -> bool {
    let mut any = false;
    for element in elements {
        any |= work(element);
    }
    any
}

fn in_object(members: &mut Map<String, Value>, name: &str, change: &Change<'_>) -> bool {
    match change {
        Change::Remove => members.shift_remove(name).is_some(),
        Change::Rename(new) if *new == name => false,
        Change::Rename(new) => match members.shift_remove(name) {
            Some(value) => {
                members.insert((*new).to_owned(), value);
                true
            }
            None => false,
        },
        Change::Replace(value) => match members.get_mut(name) {
            Some(held) => {
                *held = (*value).clone();
                true
            }
            None => false,
        },
        Change::Add(value) => {
            let absent = !members.contains_key(name);
            if absent {
                members.insert(name.to_owned(), (*value).clone());
            }
            absent
        }
        Change::Append(value) => match members.get_mut(name) {
            Some(held) => in_element(held, change),
            None => {
                members.insert(name.to_owned(), Value::Array(vec![(*value).clone()]));
                true
            }
        },
    }
}

fn in_element(held: &mut Value, change: &Change<'_>) -> bool {
    match (change, held) {
        (Change::Replace(value), held) => *held = (*value).clone(),
        (Change::Append(value), Value::Array(elements)) => elements.push((*value).clone()),
        (Change::Append(value), held @ Value::String(_)) => {
            *held = Value::Array(vec![held.take(), (*value).clone()]);
        }
        // A list of members is none that something could be put behind.
        (Change::Append(_), Value::Object(_)) => return false,
        (Change::Append(value), held) => *held = Value::Array(vec![(*value).clone()]),
        (Change::Remove | Change::Rename(_) | Change::Add(_), _) => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(body: Value, name: &str, nested: bool, change: &Change<'_>, want: Value) {
        let mut got = body.clone();
        let changed = Path::of(name, nested).change(&mut got, change);
        assert_eq!(got, want, "{name}");
        assert_eq!(changed, got != body, "{name}");
    }

    #[test]
    fn members_are_named_literally_unless_dots_lead_on() {
        let v = json!("v");
        let body = || json!({"a.b": 1, "a": {"b": 2}, "l": [{"n": 1}, {"n": 2}, 3], "e": []});
        check(body(), "a.b", false, &Change::Remove, json!({"a": {"b": 2}, "l": [{"n": 1}, {"n": 2}, 3], "e": []}));
        check(body(), "a.b", true, &Change::Remove, json!({"a.b": 1, "a": {}, "l": [{"n": 1}, {"n": 2}, 3], "e": []}));
        check(body(), "l[*].n", true, &Change::Remove, json!({"a.b": 1, "a": {"b": 2}, "l": [{}, {}, 3], "e": []}));
        let replaced = json!({"a.b": 1, "a": {"b": 2}, "l": [{"n": "v"}, {"n": 2}, 3], "e": []});
        check(body(), "l[1].n", true, &Change::Replace(&v), replaced);
        check(body(), "l[9].n", true, &Change::Replace(&v), body());
        check(body(), "x.y", true, &Change::Replace(&v), body());
        let added = json!({"a.b": 1, "a": {"b": 2}, "l": [{"n": 1}, {"n": 2}, 3], "e": [], "x": {"y": "v"}});
        check(body(), "x.y", true, &Change::Add(&v), added);
        check(json!([{"n": 1}]), "[*].n", true, &Change::Rename("m"), json!([{"m": 1}]));
        check(json!([1, 2]), "[1]", true, &Change::Remove, json!([2]));
        check(json!([1]), "n", false, &Change::Add(&v), json!([1]));
        check(json!("text"), "n", false, &Change::Add(&v), json!("text"));
    }

    #[test]
    fn what_is_appended_makes_a_list() {
        let v = json!("v");
        for (held, want) in [
            (json!({"a": "1"}), json!({"a": ["1", "v"]})),
            (json!({"a": ["1"]}), json!({"a": ["1", "v"]})),
            (json!({}), json!({"a": ["v"]})),
            (json!({"a": 5}), json!({"a": ["v"]})),
            (json!({"a": {}}), json!({"a": {}})),
        ] {
            check(held, "a", false, &Change::Append(&v), want);
        }
        check(json!({"a": 1, "b": 2}), "a", false, &Change::Rename("b"), json!({"b": 1}));
        check(json!({"a": 1}), "a", false, &Change::Rename("a"), json!({"a": 1}));
        check(json!({"a": null}), "a", false, &Change::Add(&v), json!({"a": null}));
    }
}
