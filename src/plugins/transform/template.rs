//! Templates: text with `$(expression)` in it. Read once; rendered per request into a buffer that is used again.
//!
//! A parenthesis that is never closed begins no expression, and a `$` alone is one.

use super::expression::{Broken, Expr};
use super::values::{Source, Value};
use crate::http::query;

/// A template.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::plugins) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Vec<u8>),
    Value(Expr),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence about its first expression that cannot be read.
    pub(in crate::plugins) fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, inner, after)) = first(rest) {
            push(&mut pieces, before.as_bytes());
            match Expr::parse(inner)? {
                Expr::Nil => {}
                Expr::Literal(text) => push(&mut pieces, &text),
                expr if expr.is_constant() => {
                    let mut text = Vec::new();
                    match expr {
                        Expr::Boolean(truth) => Value::Boolean(truth).write(&mut text),
                        Expr::Number(number) => Value::Number(number).write(&mut text),
                        _ => {}
                    }
                    push(&mut pieces, &text);
                }
                expr => pieces.push(Piece::Value(expr)),
            }
            rest = after;
        }
        push(&mut pieces, rest.as_bytes());
        Ok(Template(pieces))
    }

    /// Its text, where it asks nothing of the request.
    pub(in crate::plugins) fn literal(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its text with `x` for every value.
    pub(in crate::plugins) fn outline(&self) -> Vec<u8> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value(_) => b"x".to_vec(),
        };
        self.0.iter().flat_map(text).collect()
    }

    /// The template before the first `?` that is written in it, and the one behind it.
    pub(in crate::plugins) fn split_query(mut self) -> (Template, Option<Template>) {
        for at in 0..self.0.len() {
            let Piece::Text(text) = &mut self.0[at] else { continue };
            let Some(mark) = memchr::memchr(b'?', text) else { continue };
            let mut query = vec![Piece::Text(text.split_off(mark + 1))];
            text.pop();
            query.extend(self.0.split_off(at + 1));
            let is_empty = |piece: &Piece| matches!(piece, Piece::Text(text) if text.is_empty());
            self.0.retain(|piece| !is_empty(piece));
            query.retain(|piece| !is_empty(piece));
            return (self, Some(Template(query)));
        }
        (self, None)
    }

    /// Appends what it says for a request.
    ///
    /// # Errors
    /// Where an expression cannot be evaluated.
    pub(in crate::plugins) fn render(&self, of: &Source<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.each(of, out, |value, out| value.write(out))
    }

    /// The same as a path: what a client sent otherwise than in its own path cannot end the path, and no triplet of it
    /// stands for a dot, a slash or a control.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(in crate::plugins) fn render_path(&self, of: &Source<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.each(of, out, |value, out| match value {
            Value::Text(text) if !text.trusted => {
                for (at, &byte) in text.bytes.iter().enumerate() {
                    match byte {
                        b'%' if query::triplet(&text.bytes[at..]).is_some_and(may_stay) => out.push(byte),
                        b'%' | b'?' | b'#' | b'\\' => query::encode(&[byte], out),
                        _ => out.push(byte),
                    }
                }
            }
            value => value.write(out),
        })
    }

    /// The same as a query: values are encoded.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(in crate::plugins) fn render_query(&self, of: &Source<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.each(of, out, |value, out| match value {
            Value::Text(text) => query::encode(&text.bytes, out),
            value => value.write(out),
        })
    }

    fn each(&self, of: &Source<'_>, out: &mut Vec<u8>, write: impl Fn(&Value<'_>, &mut Vec<u8>)) -> Result<(), Broken> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Value(expr) => write(&expr.value(of)?, out),
            }
        }
        Ok(())
    }
}

fn may_stay(byte: u8) -> bool {
    !matches!(byte, b'.' | b'/' | b'\\' | b'%' | 0..=0x1f | 0x7f)
}

fn push(pieces: &mut Vec<Piece>, text: &[u8]) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(held)) => held.extend_from_slice(text),
        _ => pieces.push(Piece::Text(text.to_vec())),
    }
}

/// The first expression: what stands before it, within it, behind it. Its parentheses are counted, whatever they stand in.
fn first(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("$(").map(|at| from + at) {
        let mut depth = 0usize;
        for (offset, byte) in text.bytes().enumerate().skip(at + 1) {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some((&text[..at], &text[at + 2..offset], &text[offset + 1..]));
            }
        }
        from = at + 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Edits, Group};
    use crate::http::Head;

    /// What a template says, as value, path and query, of one request.
    fn said(text: &str) -> [String; 3] {
        let fields = [("X-A", "a b"), ("x-two", "1"), ("X-Two", "2"), ("X-Path", "../%2e/%41?#"), ("x_u", "u")];
        let (mut head, mut buf) = (Head::new(), Vec::new());
        fields.iter().for_each(|(name, value)| head.append(&mut buf, name.as_bytes(), value.as_bytes()));
        let mut edits = Edits::default();
        edits.set_request("X-Edited", b"new");
        edits.drop_query_arg(b"hidden");
        let captures = |group: Group<'_>| match group {
            Group::At(0) => Some(0..9),
            Group::At(1) | Group::Named("user") => Some(6..9),
            _ => None,
        };
        let source = Source {
            head: head.on(&buf),
            edits: &edits,
            path: b"/user/42x",
            captures: &captures,
            query: Some(b"q=1%20%0d%0aX&flag&n=10&hidden=s&dup=1&dup=2"),
        };
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(why) => return [why, String::new(), String::new()],
        };
        let render = |how: fn(&Template, &Source<'_>, &mut Vec<u8>) -> Result<(), Broken>| {
            let mut out = Vec::new();
            match how(&template, &source, &mut out) {
                Ok(()) => String::from_utf8(out).expect("text"),
                Err(Broken) => "(broken)".to_owned(),
            }
        };
        [render(Template::render), render(Template::render_path), render(Template::render_query)]
    }

    #[track_caller]
    fn check(rows: &[(&str, &str)]) {
        for (text, want) in rows {
            assert_eq!(said(text)[0], *want, "{text}");
        }
    }

    #[test]
    fn a_template_names_parts_of_the_request() {
        check(&[
            ("plain $ text $(", "plain $ text $("),
            ("<$(headers.x_a)>", "<a b>"),
            ("$(headers['X-A'])$(headers[\"x-a\"])", "a ba b"),
            ("$(headers.x_u)", "u"),
            ("$(headers.x_two)", "1, 2"),
            ("$(headers.x_edited)", "new"),
            ("<$(headers.none)>", "<>"),
            ("$(query_params.q)", "1 \r\nX"),
            ("$(query_params.flag)", "true"),
            ("$(query_params.dup)", "1"),
            ("<$(query_params.hidden)>", "<>"),
            ("$(uri_captures.user)-$(uri_captures[1])-$(uri_captures[2])", "42x-42x-"),
            ("<$(shared.x)>", "<>"),
            ("$('$(uri_captures.user)')", "$(uri_captures.user)"),
        ]);
    }

    #[test]
    fn expressions_are_those_of_the_language() {
        check(&[
            ("$(headers.none or 'd')", "d"),
            ("$(headers.none or headers.x_a)", "a b"),
            ("$(headers.x_a and 'yes' or 'no')", "yes"),
            ("$(not headers.none)", "true"),
            ("$(headers.x_a == 'a b' and 1 or 2)", "1"),
            ("$(query_params.n * 2 + 1)", "21"),
            ("$(7 / 2)$(7 % 4)$(2 ^ 3)$(-1)", "3.538-1"),
            ("$(10 * uri_captures.user)", "(broken)"),
            ("$(headers.none .. 'x')", "(broken)"),
            ("$(headers.x_u .. '-' .. 1)", "u-1"),
            ("$(headers.x_a < 'b')", "true"),
            ("$(1 < 'b')", "(broken)"),
            ("$(headers.x_a:upper())$(string.lower('AB'))", "A Bab"),
            ("$(uri_captures.user:sub(1, 2))$(string.sub('abc', -1))", "42c"),
            ("$(#headers.x_a)$(string.len('abc'))", "33"),
            ("$(tostring(headers.none))$(tonumber('5') + 1)", "nil6"),
            ("$((('x')))", "x"),
        ]);
    }

    #[test]
    fn what_is_not_known_is_said_when_it_is_read() {
        check(&[
            ("$(heders.x)", "\"heders\" is not known; there are: headers, query_params, uri_captures"),
            ("$(headers)", "headers is no value: write headers.name or headers[\"name\"]"),
            ("$(headers[query_params.a])", "the name of headers must stand there in quotes"),
            ("$(os.exit())", "\"os\" is not run here: only expressions over the request are"),
            ("$((function() return 1 end)())", "\"function\" is not run here: only expressions over the request are"),
            (
                "$(headers.x:gsub('a', 'b'))",
                "\"gsub\" is no function here; of strings there are: lower, upper, len, sub",
            ),
            ("$(1 2)", "\"1 2\" is more than one expression"),
            ("$()", "an expression is missing"),
            ("$('x)", "a text has no end"),
            ("$(headers.a.b)", "a value has no fields"),
        ]);
        let deep = format!("$({}1{})", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(said(&deep)[0], "it is nested too deeply");
        let signs = format!("$({}1)", "not ".repeat(5000));
        assert_eq!(said(&signs)[0], "it is nested too deeply");
    }

    #[test]
    fn what_a_client_sent_cannot_leave_its_place() {
        let [_, path, query] = said("/a/$(headers.x_path)/$(uri_captures.user)");
        assert_eq!(path, "/a/../%252e/%41%3F%23/42x", "dots are refused by who sets the path");
        assert_eq!(query, "/a/..%2F%252e%2F%2541%3F%23/42x");
        assert_eq!(said("a=$(query_params.q)")[2], "a=1%20%0D%0AX");
        let (path, rest) = Template::parse("/a$(headers.x_u)?b=$(headers.x_u)?").expect("sound").split_query();
        assert_eq!(path, Template::parse("/a$(headers.x_u)").expect("sound"));
        assert_eq!(rest, Some(Template::parse("b=$(headers.x_u)?").expect("sound")));
    }
}
