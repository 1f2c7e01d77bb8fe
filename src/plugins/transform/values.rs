//! What templates speak of: the parts of a request that they may name, and values as the language of templates has them.

use super::super::args;
use crate::hook::{Edits, Group};
use crate::http::{query, HeadRef};
use std::borrow::Cow;
use std::ops::Range;

/// A request as the plugins before this one have left it.
pub(in crate::plugins) struct Source<'a> {
    pub(in crate::plugins) head: HeadRef<'a>,
    pub(in crate::plugins) edits: &'a Edits,
    /// Normalised path, and where groups of the route's expression stand in it.
    pub(in crate::plugins) path: &'a [u8],
    pub(in crate::plugins) captures: &'a dyn Fn(Group<'_>) -> Option<Range<usize>>,
    /// The client's query.
    pub(in crate::plugins) query: Option<&'a [u8]>,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(Text<'a>),
}

/// Text, and whether it may stand in a path as it is: text of the configuration, and what was a part of a path.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) trusted: bool,
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Nil, Value::Nil) => true,
            (Value::Boolean(a), Value::Boolean(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a.bytes == b.bytes,
            _ => false,
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn is_true(&self) -> bool {
        !matches!(self, Value::Nil | Value::Boolean(false))
    }

    /// A number, or text that is one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Text(text) => {
                let text = std::str::from_utf8(&text.bytes).ok()?.trim();
                // Words that are numbers only to Rust.
                let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
                plain.then(|| text.parse().ok()).flatten()
            }
            Value::Nil | Value::Boolean(_) => None,
        }
    }

    /// Text, or a number as text: what `..` takes.
    pub(super) fn joinable(self) -> Option<Text<'a>> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(_) => {
                let mut bytes = Vec::new();
                self.write(&mut bytes);
                Some(Text { bytes: Cow::Owned(bytes), trusted: true })
            }
            Value::Nil | Value::Boolean(_) => None,
        }
    }

    /// Appends it as it stands in a rendered template: nil is nothing.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Nil => {}
            Value::Boolean(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
            Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                out.extend_from_slice(itoa::Buffer::new().format(*number as i64).as_bytes());
            }
            Value::Number(number) if number.is_finite() => out.extend_from_slice(number.to_string().as_bytes()),
            Value::Number(number) if number.is_nan() => out.extend_from_slice(b"nan"),
            Value::Number(number) => out.extend_from_slice(if *number > 0.0 { b"inf" } else { b"-inf" }),
            Value::Text(text) => out.extend_from_slice(&text.bytes),
        }
    }
}

impl<'a> Source<'a> {
    /// Values of a field, `, ` between them.
    pub(super) fn header(&self, name: &'a str) -> Value<'a> {
        let mut values = self.edits.request_values(self.head, name.as_bytes());
        let Some(first) = values.next() else { return Value::Nil };
        let mut bytes = Cow::Borrowed(first);
        for value in values {
            let all = bytes.to_mut();
            all.extend_from_slice(b", ");
            all.extend_from_slice(value);
        }
        Value::Text(Text { bytes, trusted: false })
    }

    /// The first value of an argument; `true` for one without `=`.
    pub(super) fn argument(&self, name: &str) -> Value<'a> {
        let name = name.as_bytes();
        // What a plugin keeps from the upstream is not told it by another way.
        if self.edits.dropped_query_args().any(|dropped| dropped == name) {
            return Value::Nil;
        }
        let query = self.edits.query().or(self.query).unwrap_or(b"");
        match query::args(query).find(|arg| *args::decoded(arg.name) == *name) {
            None => Value::Nil,
            Some(query::Arg { value: None, .. }) => Value::Boolean(true),
            Some(query::Arg { value: Some(value), .. }) => {
                Value::Text(Text { bytes: args::decoded(value), trusted: false })
            }
        }
    }

    /// A group of the route's expression.
    pub(super) fn group(&self, group: Group<'_>) -> Value<'a> {
        match (self.captures)(group).and_then(|range| self.path.get(range)) {
            Some(bytes) => Value::Text(Text { bytes: Cow::Borrowed(bytes), trusted: true }),
            None => Value::Nil,
        }
    }
}
