//! The expressions of templates: a small part of Lua, read once and evaluated per request. What it has: `headers`,
//! `query_params`, `uri_captures` and `shared` with constant names, literals, `or and not`, comparisons, `..`, arithmetic,
//! parentheses, `tostring`, `tonumber`, and of strings `lower`, `upper`, `len` and `sub`. Whatever else is written is a fault of
//! the configuration, never a surprise while requests are served.
//!
//! Evaluation follows the language: nil and false are false, `or` gives the value that decides, numbers in text count.
//! What the language would end with an error is [`Broken`].

use super::values::{Source, Text, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// An expression that cannot be evaluated for this request: arithmetic on words, a comparison of unlike things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugins) struct Broken;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Nil,
    Boolean(bool),
    Number(f64),
    Literal(Box<[u8]>),
    /// Values of a header; the second name is tried where the first finds nothing.
    Header(Box<str>, Option<Box<str>>),
    /// The first value of a query argument.
    Argument(Box<str>),
    /// A group of the route's expression.
    Group(Box<str>),
    /// The same by place.
    GroupAt(usize),
    Or(Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Length(Box<Expr>),
    Concat(Box<Expr>, Box<Expr>),
    Arithmetic(u8, Box<Expr>, Box<Expr>),
    Compare(Test, Box<Expr>, Box<Expr>),
    Call(Function, Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Lower,
    Upper,
    Sub,
    ToText,
    ToNumber,
}

impl Expr {
    /// Reads the text between `$(` and `)`.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn parse(text: &str) -> Result<Expr, String> {
        let mut reader = Reader { text: text.as_bytes(), at: 0, depth: 0 };
        let expr = reader.binary(0)?;
        reader.space();
        if reader.at < reader.text.len() {
            return Err(format!("\"{}\" is more than one expression", text));
        }
        Ok(expr)
    }

    /// Does it look at the request at all?
    pub(super) fn is_constant(&self) -> bool {
        matches!(self, Expr::Nil | Expr::Boolean(_) | Expr::Number(_) | Expr::Literal(_))
    }

    /// Its value for a request. Copies only what is computed.
    pub(super) fn value<'a>(&'a self, of: &Source<'a>) -> Result<Value<'a>, Broken> {
        Ok(match self {
            Expr::Nil => Value::Nil,
            Expr::Boolean(truth) => Value::Boolean(*truth),
            Expr::Number(number) => Value::Number(*number),
            Expr::Literal(text) => Value::Text(Text { bytes: Cow::Borrowed(text), trusted: true }),
            Expr::Header(name, other) => match (of.header(name), other) {
                (Value::Nil, Some(other)) => of.header(other),
                (value, _) => value,
            },
            Expr::Argument(name) => of.argument(name),
            Expr::Group(name) => of.group(crate::hook::Group::Named(name)),
            Expr::GroupAt(place) => of.group(crate::hook::Group::At(*place)),
            Expr::Or(a, b) => match a.value(of)? {
                value if value.is_true() => value,
                _ => b.value(of)?,
            },
            Expr::And(a, b) => match a.value(of)? {
                value if value.is_true() => b.value(of)?,
                value => value,
            },
            Expr::Not(a) => Value::Boolean(!a.value(of)?.is_true()),
            Expr::Negative(a) => Value::Number(-a.value(of)?.number().ok_or(Broken)?),
            Expr::Length(a) => match a.value(of)? {
                Value::Text(text) => Value::Number(text.bytes.len() as f64),
                _ => return Err(Broken),
            },
            Expr::Concat(a, b) => {
                let (a, b) = (a.value(of)?.joinable().ok_or(Broken)?, b.value(of)?.joinable().ok_or(Broken)?);
                let trusted = a.trusted && b.trusted;
                Value::Text(Text { bytes: Cow::Owned([&*a.bytes, &*b.bytes].concat()), trusted })
            }
            Expr::Arithmetic(sign, a, b) => {
                let (a, b) = (a.value(of)?.number().ok_or(Broken)?, b.value(of)?.number().ok_or(Broken)?);
                Value::Number(match sign {
                    b'+' => a + b,
                    b'-' => a - b,
                    b'*' => a * b,
                    b'/' => a / b,
                    b'^' => a.powf(b),
                    _ => a - (a / b).floor() * b,
                })
            }
            Expr::Compare(test, a, b) => {
                let (a, b) = (a.value(of)?, b.value(of)?);
                let order = match (&a, &b) {
                    _ if matches!(test, Test::Equal | Test::Unequal) => {
                        return Ok(Value::Boolean((a == b) == (*test == Test::Equal)));
                    }
                    (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
                    (Value::Text(a), Value::Text(b)) => Some(a.bytes.cmp(&b.bytes)),
                    _ => return Err(Broken),
                };
                let less = order == Some(Ordering::Less);
                Value::Boolean(less || *test == Test::LessOrEqual && order == Some(Ordering::Equal))
            }
            Expr::Call(function, arguments) => call(*function, arguments, of)?,
        })
    }
}

fn call<'a>(function: Function, arguments: &'a [Expr], of: &Source<'a>) -> Result<Value<'a>, Broken> {
    let value = match arguments.first() {
        Some(first) => first.value(of)?,
        None => Value::Nil,
    };
    match function {
        Function::ToNumber => return Ok(value.number().map_or(Value::Nil, Value::Number)),
        Function::ToText => {
            let mut bytes = Vec::new();
            match &value {
                Value::Nil => bytes.extend_from_slice(b"nil"),
                value => value.write(&mut bytes),
            }
            let trusted = !matches!(&value, Value::Text(text) if !text.trusted);
            return Ok(Value::Text(Text { bytes: Cow::Owned(bytes), trusted }));
        }
        Function::Lower | Function::Upper | Function::Sub => {}
    }
    let Text { bytes, trusted } = value.joinable().ok_or(Broken)?;
    let number = |at: usize| -> Result<Option<f64>, Broken> {
        let Some(expr) = arguments.get(at) else { return Ok(None) };
        expr.value(of)?.number().map(Some).ok_or(Broken)
    };
    let bytes = match function {
        Function::Lower => bytes.to_ascii_lowercase(),
        Function::Upper => bytes.to_ascii_uppercase(),
        // Places count from 1, and from the end where they are negative.
        _ => {
            let length = bytes.len() as f64;
            let place = |at: f64| if at < 0.0 { length + at + 1.0 } else { at };
            let from = place(number(1)?.ok_or(Broken)?).max(1.0);
            let to = place(number(2)?.unwrap_or(-1.0)).min(length);
            if from > to {
                Vec::new()
            } else {
                bytes[from as usize - 1..to as usize].to_vec()
            }
        }
    };
    Ok(Value::Text(Text { bytes: Cow::Owned(bytes), trusted }))
}

/// Deepest nesting of an expression; it is read and evaluated by recursion.
const DEPTH_MAX: usize = 32;

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
}

/// Operators by how tightly they bind, loosest first.
const LEVELS: &[&[&str]] =
    &[&["or"], &["and"], &["==", "~=", "<=", ">=", "<", ">"], &[".."], &["+", "-"], &["*", "/", "%"]];

impl Reader<'_> {
    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// Takes a sign or a word; a word is taken only where it is not the beginning of a longer one.
    fn take(&mut self, token: &str) -> bool {
        self.space();
        let Some(rest) = self.text[self.at..].strip_prefix(token.as_bytes()) else { return false };
        let is_word = token.as_bytes()[0].is_ascii_alphabetic();
        if is_word && rest.first().is_some_and(|&b| is_name(b)) {
            return false;
        }
        self.at += token.len();
        true
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.take(token) {
            true => Ok(()),
            false => Err(format!("expected {token} at character {}", self.at + 1)),
        }
    }

    fn binary(&mut self, level: usize) -> Result<Expr, String> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        self.depth += 1;
        if self.depth > DEPTH_MAX * LEVELS.len() {
            return Err("it is nested too deeply".to_owned());
        }
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.take(operator)) {
            // `..` binds to the right; the others do not mind.
            let right = if *operator == ".." { self.binary(level)? } else { self.binary(level + 1)? };
            left = joined(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX * LEVELS.len() {
            return Err("it is nested too deeply".to_owned());
        }
        let expr = if self.take("not") {
            Expr::Not(Box::new(self.unary()?))
        } else if self.take("-") {
            Expr::Negative(Box::new(self.unary()?))
        } else if self.take("#") {
            Expr::Length(Box::new(self.unary()?))
        } else {
            let base = self.postfix()?;
            match self.take("^") {
                true => Expr::Arithmetic(b'^', Box::new(base), Box::new(self.unary()?)),
                false => base,
            }
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn postfix(&mut self) -> Result<Expr, String> {
        let mut expr = self.primary()?;
        while self.take(":") {
            let name = self.name()?;
            let function = string_function(&name)?;
            self.expect("(")?;
            let mut arguments = vec![expr];
            arguments.extend(self.arguments()?);
            expr = match function {
                Some(function) => Expr::Call(function, arguments),
                None => Expr::Length(Box::new(arguments.swap_remove(0))),
            };
        }
        self.space();
        match self.text.get(self.at) {
            Some(b'.') if self.text.get(self.at + 1) != Some(&b'.') => Err("a value has no fields".to_owned()),
            Some(b'[') => Err("a value has no fields".to_owned()),
            Some(b'(') => Err("a value cannot be called".to_owned()),
            _ => Ok(expr),
        }
    }

    /// The arguments of a call, its opening parenthesis taken.
    fn arguments(&mut self) -> Result<Vec<Expr>, String> {
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.binary(0)?);
            if self.take(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }

    fn primary(&mut self) -> Result<Expr, String> {
        self.space();
        match self.text.get(self.at) {
            None => Err("an expression is missing".to_owned()),
            Some(b'(') => {
                self.at += 1;
                let expr = self.binary(0)?;
                self.expect(")")?;
                Ok(expr)
            }
            Some(b'"' | b'\'') => Ok(Expr::Literal(self.literal()?.into())),
            Some(b) if b.is_ascii_digit() => self.number(),
            Some(b) if is_name(*b) => {
                let name = self.name()?;
                self.named(&name)
            }
            Some(b) => Err(format!("\"{}\" is no expression", char::from(*b))),
        }
    }

    fn number(&mut self) -> Result<Expr, String> {
        let from = self.at;
        while self.text.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'.') {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.text[from..self.at]).unwrap_or("");
        text.parse().map(Expr::Number).map_err(|_| format!("\"{text}\" is no number"))
    }

    fn name(&mut self) -> Result<String, String> {
        self.space();
        let from = self.at;
        while self.text.get(self.at).is_some_and(|&b| is_name(b)) {
            self.at += 1;
        }
        let name = String::from_utf8_lossy(&self.text[from..self.at]).into_owned();
        match name.is_empty() {
            true => Err(format!("a name is missing at character {}", from + 1)),
            false => Ok(name),
        }
    }

    fn literal(&mut self) -> Result<Vec<u8>, String> {
        let quote = self.text[self.at];
        let mut out = Vec::new();
        let mut at = self.at + 1;
        loop {
            match self.text.get(at) {
                None => return Err("a text has no end".to_owned()),
                Some(b) if *b == quote => break,
                Some(b'\\') => {
                    at += 1;
                    out.push(match self.text.get(at) {
                        Some(b'n') => b'\n',
                        Some(b't') => b'\t',
                        Some(b @ (b'\\' | b'"' | b'\'')) => *b,
                        _ => return Err("a text has an escape that is not known".to_owned()),
                    });
                }
                Some(b) => out.push(*b),
            }
            at += 1;
        }
        self.at = at + 1;
        Ok(out)
    }

    fn named(&mut self, name: &str) -> Result<Expr, String> {
        match name {
            "nil" => return Ok(Expr::Nil),
            "true" => return Ok(Expr::Boolean(true)),
            "false" => return Ok(Expr::Boolean(false)),
            "tostring" | "tonumber" => {
                self.expect("(")?;
                let arguments = self.arguments()?;
                let function = if name == "tostring" { Function::ToText } else { Function::ToNumber };
                return Ok(Expr::Call(function, arguments));
            }
            "string" => {
                self.expect(".")?;
                let function = self.name()?;
                let function = string_function(&function)?;
                self.expect("(")?;
                let mut arguments = self.arguments()?;
                return match (function, arguments.is_empty()) {
                    (_, true) => Err("an argument is missing".to_owned()),
                    (Some(function), false) => Ok(Expr::Call(function, arguments)),
                    (None, false) => Ok(Expr::Length(Box::new(arguments.swap_remove(0)))),
                };
            }
            "headers" | "query_params" | "uri_captures" | "shared" => {}
            "function" | "if" | "local" | "return" | "os" | "require" => {
                return Err(format!("\"{name}\" is not run here: only expressions over the request are"));
            }
            _ => {
                let known = "headers, query_params, uri_captures";
                return Err(format!("\"{name}\" is not known; there are: {known}"));
            }
        }
        self.space();
        let key = if self.text.get(self.at) == Some(&b'.') && self.text.get(self.at + 1) != Some(&b'.') {
            self.at += 1;
            self.name()?
        } else if self.take("[") {
            self.space();
            let key = match self.text.get(self.at) {
                Some(b'"' | b'\'') => String::from_utf8_lossy(&self.literal()?).into_owned(),
                Some(b) if b.is_ascii_digit() => match self.number()? {
                    Expr::Number(place) if name == "uri_captures" && place.fract() == 0.0 => {
                        self.expect("]")?;
                        return Ok(Expr::GroupAt(place as usize));
                    }
                    _ => return Err(format!("{name} has names, no places")),
                },
                _ => return Err(format!("the name of {name} must stand there in quotes")),
            };
            self.expect("]")?;
            key
        } else {
            return Err(format!("{name} is no value: write {name}.name or {name}[\"name\"]"));
        };
        Ok(match name {
            "headers" => {
                // A field's name is asked for as it is, and then with the hyphens that a name in Lua cannot have.
                let dashed = key.contains('_').then(|| key.replace('_', "-").into());
                Expr::Header(key.into(), dashed)
            }
            "query_params" => Expr::Argument(key.into()),
            "uri_captures" => Expr::Group(key.into()),
            // What plugins share there is shared by plugins that do not exist here.
            _ => Expr::Nil,
        })
    }
}

/// `None` is the length.
fn string_function(name: &str) -> Result<Option<Function>, String> {
    match name {
        "lower" => Ok(Some(Function::Lower)),
        "upper" => Ok(Some(Function::Upper)),
        "sub" => Ok(Some(Function::Sub)),
        "len" => Ok(None),
        _ => Err(format!("\"{name}\" is no function here; of strings there are: lower, upper, len, sub")),
    }
}

fn joined(operator: &str, left: Box<Expr>, right: Box<Expr>) -> Expr {
    match operator {
        "or" => Expr::Or(left, right),
        "and" => Expr::And(left, right),
        "==" => Expr::Compare(Test::Equal, left, right),
        "~=" => Expr::Compare(Test::Unequal, left, right),
        "<" => Expr::Compare(Test::Less, left, right),
        "<=" => Expr::Compare(Test::LessOrEqual, left, right),
        ">" => Expr::Compare(Test::Less, right, left),
        ">=" => Expr::Compare(Test::LessOrEqual, right, left),
        ".." => Expr::Concat(left, right),
        sign => Expr::Arithmetic(sign.as_bytes()[0], left, right),
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
