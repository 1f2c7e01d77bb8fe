//! The shape of a `request-transformer` configuration, and what each of its lines must satisfy.

use super::super::transform::lines::split;
use super::super::transform::template::Template;
use crate::base::limits::METHOD_BYTES_MAX;
use crate::http::authority;
use crate::plan::schema::{Element, Field, Kind, Rule};

pub(super) const FIELDS: &[Field] = &[
    Field::optional("http_method", Kind::String, "The method that the upstream is asked with.")
        .rules(&[Rule::Text(method)]),
    Field::with_default("remove", Kind::Record(REMOVE), "{}", "Takes away what has these names; first of all.")
        .required(),
    Field::with_default("rename", Kind::Record(RENAME), "{}", "Gives it another name: `old:new`.").required(),
    Field::with_default("replace", Kind::Record(REPLACE), "{}", "Writes over it where it is: `name:value`.").required(),
    Field::with_default("add", Kind::Record(GIVE), "{}", "Writes it where it is not: `name:value`.").required(),
    Field::with_default("append", Kind::Record(GIVE), "{}", "Writes one more: `name:value`.").required(),
    Field::optional(
        "dots_in_keys",
        Kind::Boolean,
        "If false, the name of a JSON member is a path: `a.b`, `list[*].a`, `list[1]`; else dots belong to the name.",
    ),
];

const REMOVE: &[Field] = &[
    Field::with_default("body", Kind::Array(&NAME), "[]", "Fields of a form, members of a JSON object.").required(),
    Field::with_default("headers", Kind::Array(&HEADER), "[]", "Headers.").required(),
    Field::with_default("querystring", Kind::Array(&NAME), "[]", "Arguments of the query.").required(),
];
const RENAME: &[Field] = &[
    Field::with_default("body", Kind::Lines(&LINE), "[]", "Fields of a form, members of a JSON object.").required(),
    Field::with_default("headers", Kind::Lines(&HEADERS), "[]", "Headers.").required(),
    Field::with_default("querystring", Kind::Lines(&LINE), "[]", "Arguments of the query.").required(),
];
const REPLACE: &[Field] = &[
    Field::optional("uri", Kind::String, "The path that the upstream is asked for; a template.").rules(&[Rule::Text(uri)]),
    Field::with_default(
        "body",
        Kind::Lines(&LINE),
        "[]",
        "Fields of a form, members of a JSON object. A map is one of old texts to new ones, anywhere in a body of text.",
    )
    .required(),
    Field::with_default("headers", Kind::Lines(&HEADER_LINE), "[]", "Headers; Host too.").required(),
    Field::with_default("querystring", Kind::Lines(&LINE), "[]", "Arguments of the query.").required(),
];
const GIVE: &[Field] = &[
    Field::with_default("body", Kind::Lines(&LINE), "[]", "Fields of a form, members of a JSON object.").required(),
    Field::with_default("headers", Kind::Lines(&HEADER_LINE), "[]", "Headers.").required(),
    Field::with_default("querystring", Kind::Lines(&LINE), "[]", "Arguments of the query.").required(),
];

const NAME: Element = Element { kind: Kind::String, rules: &[] };
const HEADER: Element = Element { kind: Kind::String, rules: &[Rule::Text(header)] };
const LINE: Element = Element { kind: Kind::String, rules: &[Rule::Text(line)] };
const HEADERS: Element = Element { kind: Kind::String, rules: &[Rule::Text(headers)] };
const HEADER_LINE: Element = Element { kind: Kind::String, rules: &[Rule::Text(header_line)] };

fn method(text: &str) -> Result<(), String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_uppercase()) || text.len() > METHOD_BYTES_MAX {
        return Err(format!("invalid value: {text}"));
    }
    // What follows the answer to it would be a tunnel, and nobody asked for one.
    match text {
        "CONNECT" => Err("an upstream cannot be asked to CONNECT".to_owned()),
        _ => Ok(()),
    }
}

fn template(text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|why| format!("value '{text}' is not in supported format, error: {why}"))
}

fn uri(text: &str) -> Result<(), String> {
    let (path, _) = template(text)?.split_query();
    match super::has_dot_segment(&path.outline()) {
        true => Err("must not have dot segments".to_owned()),
        false => Ok(()),
    }
}

fn line(text: &str) -> Result<(), String> {
    let (name, value) = split(text);
    if name.is_empty() || value.is_empty() {
        return Err(format!("key '{name}' has no value"));
    }
    template(value).map(|_| ())
}

fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn header(text: &str) -> Result<(), String> {
    let (name, _) = split(text);
    is_header(name).then_some(()).ok_or_else(|| format!("'{name}' is not a valid header"))
}

fn headers(text: &str) -> Result<(), String> {
    if !text.contains(':') {
        return Err(format!("invalid value: {text}"));
    }
    header(text)?;
    let (_, new) = split(text);
    is_header(new).then_some(()).ok_or_else(|| format!("'{new}' is not a valid header"))
}

fn header_line(text: &str) -> Result<(), String> {
    if !text.contains(':') {
        return Err(format!("invalid value: {text}"));
    }
    header(text)?;
    let (name, value) = split(text);
    let template = template(value)?;
    let literal = template.literal().filter(|literal| !literal.is_empty());
    match literal {
        Some(host) if name.eq_ignore_ascii_case("host") && authority::read(host).is_none() => {
            Err(format!("'{value}' is not a host"))
        }
        _ => Ok(()),
    }
}
