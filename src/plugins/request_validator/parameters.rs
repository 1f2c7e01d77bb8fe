//! Parameters of a request: from what stands in its path, query and headers to values that a schema can judge, by the
//! styles of OpenAPI 3 (§4.8.12.3, which follow RFC 6570).
//!
//! Text becomes what the schema's `type` asks for where it reads as such; else it stays text, and the schema refuses it.
//! What is there twice and is no list is refused: whoever reads the request next may take the other one.

use super::schema::{Miss, Schema};
use crate::hook::{Ctx, Group};
use crate::http::query;
use percent_encoding::percent_decode;
use serde_json::{Map, Number, Value};

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    pub(super) fn of(word: &str) -> Option<Place> {
        Some(match word {
            "path" => Place::Path,
            "query" => Place::Query,
            "header" => Place::Header,
            _ => return None,
        })
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        }
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Simple,
    Label,
    Matrix,
    Form,
    SpaceDelimited,
    PipeDelimited,
    DeepObject,
}

impl Style {
    pub(super) fn of(word: &str) -> Option<Style> {
        Some(match word {
            "simple" => Style::Simple,
            "label" => Style::Label,
            "matrix" => Style::Matrix,
            "form" => Style::Form,
            "spaceDelimited" => Style::SpaceDelimited,
            "pipeDelimited" => Style::PipeDelimited,
            "deepObject" => Style::DeepObject,
            _ => return None,
        })
    }

    /// That of parameters which name none.
    pub(super) fn usual(place: Place) -> Style {
        if place == Place::Query {
            Style::Form
        } else {
            Style::Simple
        }
    }

    pub(super) fn may_stand(self, place: Place) -> bool {
        match place {
            Place::Path => matches!(self, Style::Simple | Style::Label | Style::Matrix),
            Place::Header => self == Style::Simple,
            Place::Query => {
                matches!(self, Style::Form | Style::SpaceDelimited | Style::PipeDelimited | Style::DeepObject)
            }
        }
    }
}

/// What a schema says that its values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Object,
}

/// A parameter that is checked.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    required: bool,
    style: Style,
    explode: bool,
    schema: Option<Schema>,
    shape: Shape,
}

/// What stands in the request: pieces still encoded, or names with them.
enum Written<'a> {
    Nothing,
    /// There is something, and it is not how this parameter is written.
    Wrong,
    Values(Vec<&'a [u8]>),
    Pairs(Vec<(String, &'a [u8])>),
}

impl Parameter {
    pub(super) fn new(
        name: String,
        place: Place,
        required: bool,
        style: Option<Style>,
        explode: Option<bool>,
        schema: Option<Schema>,
    ) -> Parameter {
        let style = style.unwrap_or(Style::usual(place));
        let shape = match schema.as_ref().map(|schema| schema.text()) {
            Some(text) if has_type(text, "array") || text.get("items").is_some() => Shape::List,
            Some(text) if has_type(text, "object") || text.get("properties").is_some() => Shape::Object,
            _ => Shape::One,
        };
        // OpenAPI's defaults: form explodes, the others do not.
        let explode = explode.unwrap_or(style == Style::Form);
        Parameter { name, place, required, style, explode, schema, shape }
    }

    /// Checks a request's own.
    pub(super) fn check(&self, cx: &Ctx<'_>, tell: bool) -> Result<(), Miss> {
        let miss = |keyword: &str| Err(Miss { keyword: Some(keyword.to_owned()), ..Miss::default() });
        let written = match self.place {
            Place::Query => self.in_query(cx.facts.query.unwrap_or_default()),
            Place::Path => match cx.capture(Group::Named(&self.name)) {
                Some(text) => self.in_path(text),
                None => Written::Nothing,
            },
            Place::Header => self.in_header(cx),
        };
        let value = match written {
            Written::Nothing if self.required => return miss("required"),
            Written::Nothing => return Ok(()),
            Written::Wrong => return miss("style"),
            Written::Values(pieces) => match self.value_of(&pieces) {
                Some(value) => value,
                None => return miss("style"),
            },
            Written::Pairs(pairs) => match self.object_of(&pairs) {
                Some(value) => value,
                None => return miss("style"),
            },
        };
        let Some(schema) = &self.schema else { return Ok(()) };
        schema.judge(&value, nodes(&value), tell)
    }

    /// Is an argument of this (decoded) name one of this parameter?
    pub(super) fn owns(&self, name: &[u8]) -> bool {
        if self.place != Place::Query {
            return false;
        }
        if self.is_spread() {
            return self.property(name).is_some();
        }
        match self.style {
            Style::DeepObject => self.deep(name).is_some(),
            _ => name == self.name.as_bytes(),
        }
    }

    /// Do an object's properties stand in the query under their own names?
    fn is_spread(&self) -> bool {
        self.shape == Shape::Object && self.style == Style::Form && self.explode
    }

    /// The schema of a property; `None` where the schema names none of this name.
    fn property(&self, name: &[u8]) -> Option<&Value> {
        self.schema.as_ref()?.text().get("properties")?.get(std::str::from_utf8(name).ok()?)
    }

    /// `prop` of `name[prop]`.
    fn deep<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        name.strip_prefix(self.name.as_bytes())?.strip_prefix(b"[")?.strip_suffix(b"]")
    }

    fn in_query<'a>(&self, arguments: &'a [u8]) -> Written<'a> {
        let mut scratch = Vec::new();
        if self.is_spread() || self.style == Style::DeepObject {
            let mut pairs = Vec::new();
            for arg in query::args(arguments) {
                let name = query::decode(arg.name, &mut scratch);
                let own = if self.is_spread() { self.property(name).map(|_| name) } else { self.deep(name) };
                let Some(own) = own else { continue };
                let Ok(own) = std::str::from_utf8(own) else { return Written::Wrong };
                pairs.push((own.to_owned(), arg.value.unwrap_or_default()));
            }
            return if pairs.is_empty() { Written::Nothing } else { Written::Pairs(pairs) };
        }
        let named = query::args(arguments).filter(|arg| query::decode(arg.name, &mut scratch) == self.name.as_bytes());
        let values: Vec<&[u8]> = named.map(|arg| arg.value.unwrap_or_default()).collect();
        match (values.as_slice(), self.shape) {
            ([], _) => Written::Nothing,
            // Each is an element; a delimiter of other styles has no say.
            (_, Shape::List) if self.explode => Written::Values(values),
            ([one], Shape::One) => Written::Values(vec![one]),
            ([one], _) => Written::Values(self.split(one)),
            (_, _) => Written::Wrong,
        }
    }

    /// Takes an argument apart by the style's delimiter. One that is encoded is a part of the value in `form`, and the
    /// delimiter itself in the others, whose delimiters may not stand in a query as they are.
    fn split<'a>(&self, text: &'a [u8]) -> Vec<&'a [u8]> {
        let (plain, encoded): (&[u8], &[u8]) = match self.style {
            Style::SpaceDelimited => (b"+ ", b"%20"),
            Style::PipeDelimited => (b"|", b"%7c"),
            _ => (b",", b""),
        };
        let (mut pieces, mut from, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let ahead = &text[at..];
            let long = !encoded.is_empty() && ahead.len() >= 3 && ahead[..3].eq_ignore_ascii_case(encoded);
            let width = if plain.contains(&ahead[0]) { 1 } else { usize::from(long) * 3 };
            if width > 0 {
                pieces.push(&text[from..at]);
                from = at + width;
            }
            at += width.max(1);
        }
        pieces.push(&text[from..]);
        pieces
    }

    fn in_path<'a>(&self, text: &'a [u8]) -> Written<'a> {
        let commas = |text: &'a [u8]| text.split(|&byte| byte == b',').collect::<Vec<_>>();
        let pairs = |pieces: Vec<&'a [u8]>| {
            let pair = |piece: &'a [u8]| {
                let eq = memchr::memchr(b'=', piece)?;
                Some((decoded(&piece[..eq])?, &piece[eq + 1..]))
            };
            pieces.into_iter().map(pair).collect::<Option<Vec<_>>>().map_or(Written::Wrong, Written::Pairs)
        };
        let (mark, separator) = match self.style {
            Style::Label => (b'.', b'.'),
            Style::Matrix => (b';', b';'),
            _ => (0, b','),
        };
        let rest = match mark {
            0 => text,
            mark => match text.strip_prefix(&[mark]) {
                Some(rest) => rest,
                None => return Written::Wrong,
            },
        };
        let pieces = || rest.split(|&byte| byte == separator).collect::<Vec<_>>();
        let named = |piece: &'a [u8]| piece.strip_prefix(self.name.as_bytes())?.strip_prefix(b"=");
        match (self.style, self.shape, self.explode) {
            (Style::Matrix, Shape::List, true) => {
                pieces().into_iter().map(named).collect::<Option<Vec<_>>>().map_or(Written::Wrong, Written::Values)
            }
            (Style::Matrix, Shape::Object, true) => pairs(pieces()),
            (Style::Matrix, shape, _) => match named(rest) {
                Some(value) if shape == Shape::One => Written::Values(vec![value]),
                Some(value) => Written::Values(commas(value)),
                None => Written::Wrong,
            },
            (_, Shape::One, _) => Written::Values(vec![rest]),
            (_, Shape::Object, true) => pairs(pieces()),
            (Style::Label, _, false) => Written::Values(commas(rest)),
            (_, _, _) => Written::Values(pieces()),
        }
    }

    fn in_header<'a>(&self, cx: &Ctx<'a>) -> Written<'a> {
        let lines: Vec<&[u8]> = cx.head.find_all(self.name.as_bytes()).collect();
        let pieces = |lines: &[&'a [u8]]| {
            lines.iter().flat_map(|line| line.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii).collect::<Vec<_>>()
        };
        match (lines.as_slice(), self.shape) {
            ([], _) => Written::Nothing,
            ([one], Shape::One) => Written::Values(vec![one]),
            (_, Shape::One) => Written::Wrong,
            // RFC 9110 §5.3: lines of a list are one list.
            (lines, Shape::Object) if self.explode => {
                let pair = |piece: &'a [u8]| {
                    let eq = memchr::memchr(b'=', piece)?;
                    Some((std::str::from_utf8(&piece[..eq]).ok()?.to_owned(), &piece[eq + 1..]))
                };
                let pairs = pieces(lines).into_iter().map(pair).collect::<Option<Vec<_>>>();
                pairs.map_or(Written::Wrong, Written::Pairs)
            }
            (lines, _) => Written::Values(pieces(lines)),
        }
    }

    /// The value of pieces; `None` where they make none.
    fn value_of(&self, pieces: &[&[u8]]) -> Option<Value> {
        let text = self.schema.as_ref().map(|schema| schema.text());
        match self.shape {
            Shape::One => Some(one(self.text_of(pieces.first()?)?, text)),
            Shape::List => {
                let items = text.and_then(|text| text.get("items"));
                // An empty text is an empty list where nothing else could be written so.
                if let ([b""], false) = (pieces, self.explode && self.place == Place::Query) {
                    return Some(Value::Array(Vec::new()));
                }
                pieces.iter().map(|piece| Some(one(self.text_of(piece)?, items))).collect()
            }
            // Names and values in turn.
            Shape::Object => {
                let pairs = pieces.chunks(2).map(|pair| match pair {
                    [name, value] => Some((self.text_of(name)?, *value)),
                    _ => None,
                });
                self.object_of(&pairs.collect::<Option<Vec<_>>>()?)
            }
        }
    }

    fn object_of(&self, pairs: &[(String, &[u8])]) -> Option<Value> {
        let mut map = Map::new();
        for (name, value) in pairs {
            let value = one(self.text_of(value)?, self.property(name.as_bytes()));
            if map.insert(name.clone(), value).is_some() {
                return None;
            }
        }
        Some(map.into())
    }

    /// A piece as text; `None` where it is none.
    fn text_of(&self, piece: &[u8]) -> Option<String> {
        match self.place {
            Place::Query => {
                let mut scratch = Vec::new();
                String::from_utf8(query::decode(piece, &mut scratch).to_vec()).ok()
            }
            Place::Path => decoded(piece),
            Place::Header => String::from_utf8(piece.to_vec()).ok(),
        }
    }
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.len(),
        Value::Object(map) => 1 + map.len(),
        _ => 1,
    }
}

fn decoded(piece: &[u8]) -> Option<String> {
    percent_decode(piece).decode_utf8().ok().map(|text| text.into_owned())
}

/// Does a schema name this type, alone or among others?
fn has_type(schema: &Value, word: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(held)) => held == word,
        Some(Value::Array(held)) => held.iter().any(|held| held == word),
        _ => false,
    }
}

/// Text as the type its schema asks for.
fn one(text: String, schema: Option<&Value>) -> Value {
    let Some(schema) = schema else { return text.into() };
    let asks = |word| has_type(schema, word);
    if asks("integer") || asks("number") {
        if let Some(number) = number(&text) {
            return number.into();
        }
    }
    match text.as_str() {
        "true" | "false" if asks("boolean") => (text == "true").into(),
        "null" | "" if asks("null") && !asks("string") => Value::Null,
        _ => text.into(),
    }
}

/// A number as JSON writes them: what reads as one in fewer places is none.
fn number(text: &str) -> Option<Number> {
    let looks = text.strip_prefix('-').unwrap_or(text).as_bytes().first().is_some_and(u8::is_ascii_digit);
    if !looks || text.len() > 64 {
        return None;
    }
    serde_json::from_str::<Number>(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The value that a text of a path or header, or a query, stands for; `-` where there is none, `!` where it is wrong.
    fn read(place: Place, style: Style, explode: bool, schema: Value, text: &str) -> String {
        let schema = Schema::of(schema, jsonschema::Draft::Draft202012).unwrap();
        let parameter = Parameter::new("p".to_owned(), place, false, Some(style), Some(explode), Some(schema));
        let written = match place {
            Place::Query => parameter.in_query(text.as_bytes()),
            _ => parameter.in_path(text.as_bytes()),
        };
        let value = match written {
            Written::Nothing => return "-".to_owned(),
            Written::Wrong => None,
            Written::Values(pieces) => parameter.value_of(&pieces),
            Written::Pairs(pairs) => parameter.object_of(&pairs),
        };
        value.map_or("!".to_owned(), |value| value.to_string())
    }

    #[test]
    fn styles_are_those_of_the_standard() {
        let (one, list) = (json!({"type": "integer"}), json!({"type": "array", "items": {"type": "integer"}}));
        let object = json!({"type": "object", "properties": {"r": {"type": "integer"}, "g": {"type": "string"}}});
        let rows = [
            (Place::Path, Style::Simple, false, &one, "5", "5"),
            (Place::Path, Style::Simple, false, &list, "3,4,5", "[3,4,5]"),
            (Place::Path, Style::Simple, false, &object, "r,100,g,x%2Cy", r#"{"r":100,"g":"x,y"}"#),
            (Place::Path, Style::Simple, true, &object, "r=100,g=200", r#"{"r":100,"g":"200"}"#),
            (Place::Path, Style::Simple, false, &object, "r,100,g", "!"),
            (Place::Path, Style::Label, false, &one, ".5", "5"),
            (Place::Path, Style::Label, false, &one, "5", "!"),
            (Place::Path, Style::Label, false, &list, ".3,4", "[3,4]"),
            (Place::Path, Style::Label, true, &list, ".3.4", "[3,4]"),
            (Place::Path, Style::Label, true, &object, ".r=1.g=2", r#"{"r":1,"g":"2"}"#),
            (Place::Path, Style::Matrix, false, &one, ";p=5", "5"),
            (Place::Path, Style::Matrix, false, &one, ";q=5", "!"),
            (Place::Path, Style::Matrix, false, &list, ";p=3,4", "[3,4]"),
            (Place::Path, Style::Matrix, true, &list, ";p=3;p=4", "[3,4]"),
            (Place::Path, Style::Matrix, false, &object, ";p=r,1,g,2", r#"{"r":1,"g":"2"}"#),
            (Place::Path, Style::Matrix, true, &object, ";r=1;g=2", r#"{"r":1,"g":"2"}"#),
            (Place::Query, Style::Form, true, &one, "q=1&p=5", "5"),
            (Place::Query, Style::Form, true, &one, "%70=%35", "5"),
            (Place::Query, Style::Form, true, &one, "q=1", "-"),
            (Place::Query, Style::Form, true, &one, "p=5&p=6", "!"),
            (Place::Query, Style::Form, true, &one, "p=%ff", "!"),
            (Place::Query, Style::Form, true, &list, "p=3&x=1&p=4", "[3,4]"),
            (Place::Query, Style::Form, false, &list, "p=3,4", "[3,4]"),
            (Place::Query, Style::Form, false, &list, "p=3%2C4", r#"["3,4"]"#),
            (Place::Query, Style::Form, false, &list, "p=3&p=4", "!"),
            (Place::Query, Style::Form, false, &list, "p=", "[]"),
            (Place::Query, Style::Form, false, &object, "p=r,1,g,2", r#"{"r":1,"g":"2"}"#),
            (Place::Query, Style::Form, true, &object, "r=1&x=3&g=2", r#"{"r":1,"g":"2"}"#),
            (Place::Query, Style::Form, true, &object, "r=1&r=2", "!"),
            (Place::Query, Style::SpaceDelimited, false, &list, "p=3%204+5", "[3,4,5]"),
            (Place::Query, Style::PipeDelimited, false, &list, "p=3|4%7C5", "[3,4,5]"),
            (Place::Query, Style::DeepObject, true, &object, "p[r]=1&p%5Bg%5D=2&p=3", r#"{"r":1,"g":"2"}"#),
            (Place::Query, Style::DeepObject, true, &object, "p[r]=1&p[r]=2", "!"),
        ];
        for (place, style, explode, schema, text, want) in rows {
            let got = read(place, style, explode, schema.clone(), text);
            assert_eq!(got, want, "{} {style:?} {explode} {schema} {text}", place.word());
        }
    }

    #[test]
    fn text_becomes_what_is_asked_for() {
        let rows = [
            (json!({"type": "integer"}), "7", json!(7)),
            (json!({"type": "integer"}), "7.5", json!(7.5)),
            (json!({"type": "integer"}), " 7", json!(" 7")),
            (json!({"type": "integer"}), "+7", json!("+7")),
            (json!({"type": "integer"}), "0x7", json!("0x7")),
            (json!({"type": "integer"}), "07", json!("07")),
            (json!({"type": "number"}), "-1e3", json!(-1000.0)),
            (json!({"type": "number"}), "1e999", json!("1e999")),
            (json!({"type": "number"}), "NaN", json!("NaN")),
            (json!({"type": "string"}), "7", json!("7")),
            (json!({"type": "boolean"}), "true", json!(true)),
            (json!({"type": "boolean"}), "TRUE", json!("TRUE")),
            (json!({"type": ["integer", "string"]}), "x", json!("x")),
            (json!({"type": ["integer", "null"]}), "", json!(null)),
            (json!({}), "7", json!("7")),
        ];
        for (schema, text, want) in rows {
            assert_eq!(one(text.to_owned(), Some(&schema)), want, "{schema} {text:?}");
        }
    }
}
