//! The entities of a native file: the nouns and fields of the declarative format, with units where that has bare
//! numbers. They are turned into that format and read by its one reader.

use super::read::{join, show};
use crate::base::units::duration_ms;
use crate::config::doc::{Key, Node, Value};
use crate::plan::report::Report;

/// A duration among the fields of an entity.
pub(crate) struct Duration {
    /// The entity's noun.
    pub(crate) noun: &'static str,
    /// Path of the field within the entity.
    pub(crate) path: &'static [&'static str],
    /// What the declarative format counts it in.
    pub(crate) scale: Scale,
}

/// What a duration is counted in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Whole milliseconds.
    Ms,
    /// Seconds, with a fraction.
    Seconds,
    /// Whole seconds.
    WholeSeconds,
}

/// Every duration of an entity. Those within a plugin's `config` are not here: its documentation gives their units.
pub(crate) const DURATIONS: &[Duration] = &[
    Duration { noun: "services", path: &["connect_timeout"], scale: Scale::Ms },
    Duration { noun: "services", path: &["write_timeout"], scale: Scale::Ms },
    Duration { noun: "services", path: &["read_timeout"], scale: Scale::Ms },
    Duration { noun: "upstreams", path: &["healthchecks", "active", "timeout"], scale: Scale::Seconds },
    Duration { noun: "upstreams", path: &["healthchecks", "active", "healthy", "interval"], scale: Scale::Seconds },
    Duration { noun: "upstreams", path: &["healthchecks", "active", "unhealthy", "interval"], scale: Scale::Seconds },
    Duration { noun: "keyauth_credentials", path: &["ttl"], scale: Scale::WholeSeconds },
];

/// Turns a list of entities of `noun` into the declarative format's; entities within them as well.
pub(super) fn translate(doc: &mut Node, noun: &str, path: &str, report: &mut Report) {
    let Value::Seq(entities) = &mut doc.value else { return };
    for (ix, entity) in entities.iter_mut().enumerate() {
        let path = format!("{path}[{ix}]");
        for duration in DURATIONS.iter().filter(|duration| duration.noun == noun) {
            within(entity, duration.path, duration.scale, &path, report);
        }
        let Value::Map(fields) = &mut entity.value else { continue };
        for (Key { text, .. }, value) in fields {
            // A field that has the name of a noun and holds a list of maps is a list of entities; `config` is not.
            translate(value, text, &join(&path, text), report);
        }
    }
}

/// Goes down `path` and turns the duration at its end, where there is one, into a number.
fn within(doc: &mut Node, path: &[&str], scale: Scale, place: &str, report: &mut Report) {
    let [first, rest @ ..] = path else { return number(doc, scale, place, report) };
    let Value::Map(fields) = &mut doc.value else { return };
    if let Some((_, value)) = fields.iter_mut().find(|(key, _)| key.text == *first) {
        within(value, rest, scale, &join(place, first), report);
    }
}

fn number(doc: &mut Node, scale: Scale, place: &str, report: &mut Report) {
    let read = match &doc.value {
        Value::Null => return,
        Value::Str(text) => duration_ms(text),
        Value::Int(n) => duration_ms(&n.to_string()), // says what a bare number lacks
        _ => Err(format!("not a duration: {}; write it as in \"5s\"", show(doc))),
    };
    let value = read.and_then(|ms| match (scale, i64::try_from(ms)) {
        (Scale::Ms, Ok(ms)) => Ok(Value::Int(ms)),
        (_, Ok(ms)) if ms % 1000 == 0 => Ok(Value::Int(ms / 1000)),
        (Scale::Seconds, Ok(ms)) => Ok(Value::Float(ms as f64 / 1000.0)),
        (Scale::WholeSeconds, Ok(_)) => Err(format!("{} is not a number of whole seconds", show(doc))),
        (_, Err(_)) => Err(format!("{} is too long", show(doc))),
    });
    doc.value = match value {
        Ok(value) => value,
        Err(why) => {
            report.fault(&doc.span, place, why, "");
            Value::Null // so that the reader after us does not speak of it again
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::doc;
    use std::sync::Arc;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let mut report = Report::default();
        let mut node = doc::parse(&Arc::from("n.yaml"), text, &mut report).unwrap();
        translate(&mut node, "services", "services", &mut report);
        let said: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        let got = if said.is_empty() { node.json().to_string() } else { said.join("\n") };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn durations_become_the_numbers_of_the_declarative_format() {
        check("- {connect_timeout: 2s, read_timeout: 250ms}", r#"[{"connect_timeout":2000,"read_timeout":250}]"#);
        check(
            "- {upstreams: [{healthchecks: {active: {timeout: 1500ms, healthy: {interval: 5s}}}}]}",
            r#"[{"upstreams":[{"healthchecks":{"active":{"timeout":1.5,"healthy":{"interval":5}}}}]}]"#,
        );
        check("- {c: [{keyauth_credentials: [{ttl: 1h}]}]}", r#"[{"c":[{"keyauth_credentials":[{"ttl":3600}]}]}]"#);
        check("- {plugins: [{config: {read_timeout: 5}}]}", r#"[{"plugins":[{"config":{"read_timeout":5}}]}]"#);
        check("- {connect_timeout: null}", r#"[{"connect_timeout":null}]"#);
        check(
            "- name: a\n  connect_timeout: 2000",
            "n.yaml:2:20: services[0].connect_timeout: \"2000\" has no unit; write \"2000ms\", \"2000s\", \"2000m\" or \
             \"2000h\"",
        );
        check(
            "- {c: [{keyauth_credentials: [{ttl: 1ms}]}]}",
            "n.yaml:1:37: services[0].c[0].keyauth_credentials[0].ttl: \"1ms\" is not a number of whole seconds",
        );
    }
}
