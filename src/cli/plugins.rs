//! `ringway plugins`: what plugins there are, in the order they run; and one of them in full. Everything told here is the
//! plugin's own row, by which its configuration is read.

use super::{say, seam};
use crate::base::nearest::nearest;
use crate::hook::{unbuilt, Descriptor, UNBUILT};
use crate::plan::schema::{alias_of, Element, Field, Kind, Rule};
use serde_json::{json, Value};
use std::fmt::Write;
use std::process::ExitCode;

/// Arguments of `plugins`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The plugin to show in full.
    name: Option<String>,
    /// Print one JSON document instead of text.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringway plugins                                every plugin, in the order they run
  ringway plugins key-auth                       its fields, their defaults, an example
  ringway plugins key-auth --json | jq .fields

Exit code 1: there is no plugin of this name.";

/// Widest line of what is printed, characters.
const WIDTH: usize = 100;

/// Runs it.
pub(super) fn main(args: &Args) -> ExitCode {
    let rows = in_order(seam::descriptors());
    let Some(name) = &args.name else {
        match args.json {
            true => say(&format!("{:#}\n", Value::from_iter(rows.iter().map(|row| short(row))))),
            false => say(&listed(&rows)),
        }
        return ExitCode::SUCCESS;
    };
    let Some(row) = rows.iter().find(|row| row.name == name) else {
        eprintln!("{}", nobody(name, &rows));
        return ExitCode::FAILURE;
    };
    match args.json {
        true => say(&format!("{:#}\n", whole(row))),
        false => say(&shown(row)),
    }
    ExitCode::SUCCESS
}

/// As chains are ordered: by priority, and by name from the end of the alphabet where that is the same.
fn in_order(rows: &[Descriptor]) -> Vec<&Descriptor> {
    let mut rows: Vec<&Descriptor> = rows.iter().collect();
    rows.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| b.name.cmp(a.name)));
    rows
}

/// Why nothing is shown of a name.
fn nobody(name: &str, rows: &[&Descriptor]) -> String {
    if let Some(unbuilt) = unbuilt(name) {
        return unbuilt.fault();
    }
    let near = nearest(name, rows.iter().map(|row| row.name)).map(|near| format!("; did you mean \"{near}\"?"));
    format!("there is no plugin '{name}'{}", near.unwrap_or_default())
}

// ---- text --------------------------------------------------------------------------------------------------------------

fn listed(rows: &[&Descriptor]) -> String {
    let mut out = "In the order they run:\n".to_owned();
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in rows {
        let start = format!("{:>8}  {:name_width$}  ", row.priority, row.name);
        push_wrapped(&mut out, &start, &one_line(row.about));
    }
    out.push_str("\n`ringway plugins NAME` shows one in full.\n");
    let names: Vec<&str> = UNBUILT.iter().map(|row| row.name).collect();
    push_wrapped(&mut out, "Known and not served: ", &(names.join(", ") + "."));
    out
}

fn shown(row: &Descriptor) -> String {
    let mut out = format!("{}  (priority {}, version {})\n\n", row.name, row.priority, row.version);
    push_wrapped(&mut out, "", &one_line(row.about));
    let consumer = if row.consumer_scope { ", consumer" } else { "" };
    let protocols: Vec<&str> = row.protocols.default.iter().map(|protocol| protocol.word()).collect();
    let _ = writeln!(out, "\nScopes:    global, service, route{consumer}");
    let _ = writeln!(out, "Protocols: {}", protocols.join(", "));
    let _ = writeln!(out, "Runs:      {}", when(row));
    out.push_str("\nconfig:\n");
    if row.fields.is_empty() {
        out.push_str("  nothing to configure\n");
    }
    push_fields(&mut out, row.fields, "");
    out.push_str("\nExample:\n");
    for line in example(row).lines() {
        let _ = writeln!(out, "{}", format!("  {line}").trim_end());
    }
    out
}

/// The example as a file of its own.
fn example(row: &Descriptor) -> String {
    format!("_format_version: \"3.0\"\n{}", row.example.trim_start_matches('\n'))
}

fn when(row: &Descriptor) -> &'static str {
    match (row.hooks.request, row.hooks.response) {
        (true, true) => "before a request goes on, and before its answer goes back",
        (true, false) => "before a request goes on",
        (false, true) => "before an answer goes back",
        (false, false) => "never",
    }
}

fn push_fields(out: &mut String, fields: &[Field], within: &str) {
    for field in fields {
        let name = format!("{within}{}", field.name);
        let mut traits = vec![kind(&field.kind, field.rules)];
        if let Some((record, inner)) = alias_of(fields, field.name) {
            traits.push(format!("older name of {record}.{inner}"));
        }
        if field.default != "null" && !matches!(field.kind, Kind::Record(_)) {
            traits.push(format!("default {}", field.default));
        } else if field.required && !matches!(field.kind, Kind::Record(_)) {
            traits.push("required".to_owned());
        }
        push_wrapped(out, &format!("  {name:24}  "), &traits.join("; "));
        push_wrapped(out, "      ", &one_line(field.about));
        if let Some(inner) = inner_fields(&field.kind) {
            let mark = if matches!(field.kind, Kind::Record(_)) { "." } else { "[]." };
            push_fields(out, inner, &format!("{name}{mark}"));
        }
    }
}

fn inner_fields(kind: &Kind) -> Option<&'static [Field]> {
    match kind {
        Kind::Record(fields) => Some(fields),
        Kind::Array(element) | Kind::Set(element) | Kind::Lines(element) | Kind::Map(element) => {
            inner_fields(&element.kind)
        }
        Kind::Boolean | Kind::Integer | Kind::Number | Kind::String => None,
    }
}

/// A type and what binds it, as words: `integer from 100 to 599`.
fn kind(kind: &Kind, rules: &[Rule]) -> String {
    let of = |element: &Element| self::kind(&element.kind, element.rules);
    let mut text = match kind {
        Kind::Boolean => "boolean".to_owned(),
        Kind::Integer => "integer".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Array(element) => format!("list of ({})", of(element)),
        Kind::Set(element) => format!("set of ({})", of(element)),
        Kind::Lines(_) => "list of (name:value), or map of name to value".to_owned(),
        Kind::Map(element) => format!("map of name to ({})", of(element)),
        Kind::Record(_) => "record".to_owned(),
    };
    for rule in rules.iter().filter_map(bound) {
        text.push_str(&rule);
    }
    text
}

/// What a rule says after a type's name; nothing where it is a function, whose fault is a sentence of its own.
fn bound(rule: &Rule) -> Option<String> {
    Some(match rule {
        Rule::OneOf(words) => format!(", one of {}", words.join(", ")),
        Rule::OneOfNumbers(numbers) => {
            format!(", one of {}", numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))
        }
        Rule::Between(low, high) => format!(" from {low} to {high}"),
        Rule::GreaterThan(low) => format!(" more than {low}"),
        Rule::LengthMin(least) => format!(", {least} long at least"),
        Rule::MayBeEmpty => " that may be empty".to_owned(),
        Rule::Referenceable => ", or a reference to a vault".to_owned(),
        Rule::HeaderName => ", a header's name".to_owned(),
        Rule::Url => ", a URL".to_owned(),
        Rule::OrList => ", or a list of such".to_owned(),
        Rule::Reads(_) => ", a file".to_owned(),
        Rule::Text(_) => return None,
    })
}

/// Texts of rows are written over several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Appends `start` and the words of `text`; further lines are indented to where the text began.
fn push_wrapped(out: &mut String, start: &str, text: &str) {
    let indent = start.chars().count().min(WIDTH / 2);
    out.push_str(start);
    let mut column = start.chars().count();
    for (at, word) in text.split(' ').enumerate() {
        let wide = word.chars().count();
        if at > 0 && column + 1 + wide > WIDTH {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += wide;
    }
    out.push('\n');
}

// ---- JSON --------------------------------------------------------------------------------------------------------------

fn short(row: &Descriptor) -> Value {
    json!({ "name": row.name, "priority": row.priority, "about": one_line(row.about) })
}

fn whole(row: &Descriptor) -> Value {
    let mut scopes = vec!["global", "service", "route"];
    if row.consumer_scope {
        scopes.push("consumer");
    }
    json!({
        "name": row.name,
        "priority": row.priority,
        "version": row.version,
        "about": one_line(row.about),
        "scopes": scopes,
        "protocols": row.protocols.default.iter().map(|protocol| protocol.word()).collect::<Vec<_>>(),
        "hooks": { "request": row.hooks.request, "response": row.hooks.response },
        "fields": row.fields.iter().map(field_json).collect::<Vec<_>>(),
        "example": example(row),
    })
}

fn field_json(field: &Field) -> Value {
    let default = serde_json::from_str::<Value>(field.default).unwrap_or(Value::Null);
    let mut out = json!({
        "name": field.name,
        "type": kind(&field.kind, &[]),
        "constraints": bounds(field),
        "required": field.required,
        "default": default,
        "about": one_line(field.about),
    });
    if let Some(inner) = inner_fields(&field.kind) {
        out["fields"] = inner.iter().map(field_json).collect();
    }
    out
}

/// What binds a field, a text each.
fn bounds(field: &Field) -> Vec<String> {
    let words = |rule| bound(rule).map(|text| text.trim_start_matches([',', ' ']).to_owned());
    field.rules.iter().filter_map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: &[Field] =
        &[Field::with_default("port", Kind::Integer, "6379", "Its port.").rules(&[Rule::Between(0.0, 65_535.0)])];
    const FIELDS: &[Field] = &[
        Field::optional("name", Kind::String, "What it is\n  called.").required().rules(&[Rule::HeaderName]),
        Field::with_default(
            "words",
            Kind::Set(&Element { kind: Kind::String, rules: &[Rule::OneOf(&["a", "b"])] }),
            "[\"a\"]",
            "Words.",
        ),
        Field::with_default("redis", Kind::Record(INNER), "{}", "Where it is.").required(),
        Field::optional("redis_port", Kind::Integer, "Older name."),
    ];

    fn row(name: &'static str, priority: i32) -> Descriptor {
        Descriptor {
            name,
            priority,
            version: "1",
            about: "Does a thing.",
            example: "\nplugins:\n  - name: a\n",
            fields: FIELDS,
            consumer_scope: false,
            protocols: crate::plan::schema::HTTP_PROTOCOLS,
            check: |_| Vec::new(),
            build: |_, _| Err(String::new()),
            hooks: crate::hook::Hooks { request: true, response: false },
        }
    }

    #[test]
    fn they_are_listed_in_the_order_they_run() {
        let rows = [row("a", 1), row("c", 20), row("b", 20)];
        let names: Vec<&str> = in_order(&rows).iter().map(|row| row.name).collect();
        assert_eq!(names, ["c", "b", "a"]);
        let text = listed(&in_order(&rows));
        assert!(text.contains("      20  c  Does a thing.\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn one_is_shown_with_its_fields_and_an_example() {
        let text = shown(&row("a", 7));
        let lines = [
            "a  (priority 7, version 1)",
            "Scopes:    global, service, route",
            "Runs:      before a request goes on",
            "  name                      string, a header's name; required",
            "      What it is called.",
            "  words                     set of (string, one of a, b); default [\"a\"]",
            "  redis                     record",
            "  redis.port                integer from 0 to 65535; default 6379",
            "  redis_port                integer; older name of redis.port",
            "  _format_version: \"3.0\"",
            "  plugins:",
            "    - name: a",
        ];
        for line in lines {
            assert!(text.lines().any(|held| held == line), "no line {line:?} in:\n{text}");
        }
        let json = whole(&row("a", 7));
        assert_eq!(json["fields"][2]["fields"][0]["constraints"], json!(["from 0 to 65535"]));
        assert_eq!(json["fields"][1]["default"], json!(["a"]));
        assert_eq!(json["scopes"], json!(["global", "service", "route"]));
    }

    #[test]
    fn a_name_that_nobody_has_gets_a_hint() {
        let rows = [row("key-auth", 1)];
        let said = |name| nobody(name, &in_order(&rows));
        assert_eq!(said("key-aut"), "there is no plugin 'key-aut'; did you mean \"key-auth\"?");
        assert_eq!(said("zzz"), "there is no plugin 'zzz'");
        assert!(said("pre-function").contains("it runs Lua"));
    }

    #[test]
    fn every_plugin_can_be_shown() {
        for row in seam::descriptors() {
            let text = shown(row);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 30), "{text}");
            assert!(row.fields.iter().all(|field| text.contains(field.name)), "{text}");
            assert_eq!(whole(row)["name"], row.name);
        }
    }
}
