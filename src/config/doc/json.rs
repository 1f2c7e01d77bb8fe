//! JSON (RFC 8259) → tree. Our own, as no crate gives the place of every value.

use super::{twice, Fault, Key, Node, Value};
use crate::base::limits::DOC_DEPTH_MAX;
use crate::base::span::Span;
use std::sync::Arc;

pub(super) fn parse(file: &Arc<str>, text: &str) -> Result<Node, Fault> {
    let mut reader = Reader { file, text, at: 0, line: 1, line_start: 0 };
    reader.blank();
    let root = reader.node(0)?;
    reader.blank();
    if reader.at < text.len() {
        return Err(reader.fault("not JSON: text after the value"));
    }
    Ok(root)
}

struct Reader<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    /// Offset of the next byte; always between characters.
    at: usize,
    /// Line of the next byte.
    line: u32,
    /// Offset of that line's first byte.
    line_start: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Columns count characters; a line is scanned once per value on it, which is short but in minified files, where
    /// the bytes stand for the characters.
    fn span(&self) -> Span {
        let line = &self.text[self.line_start..self.at];
        let column = if line.len() > 4096 { line.len() } else { line.chars().count() };
        Span::new(self.file, self.line, column as u32 + 1)
    }

    fn fault(&self, message: &str) -> Fault {
        Fault::new(self.span(), message)
    }

    fn blank(&mut self) {
        while let Some(b @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.at += 1;
            if b == b'\n' {
                self.line += 1;
                self.line_start = self.at;
            }
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Fault> {
        if depth >= DOC_DEPTH_MAX {
            return Err(self.fault(&format!("nested deeper than {DOC_DEPTH_MAX} levels")));
        }
        let span = self.span();
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::Str(self.string()?),
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => return Err(self.fault("not JSON: expected a value")),
            None => return Err(self.fault("not JSON: the text ends where a value should be")),
        };
        Ok(Node::new(value, span))
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fault("not JSON: expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
        let text = &rest[..end];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let zero_led = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        let whole = digits.bytes().all(|b| b.is_ascii_digit());
        let value = match (whole, text.parse::<i64>(), text.parse::<f64>()) {
            _ if zero_led => return Err(self.fault("not JSON: a number with a leading zero")),
            (true, Ok(n), _) => Value::Int(n),
            (_, _, Ok(x)) => Value::Float(x),
            _ => return Err(self.fault("not JSON: not a number")),
        };
        self.at += end;
        Ok(value)
    }

    /// Reads a string; the next byte is its quote.
    fn string(&mut self) -> Result<String, Fault> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else {
                return Err(self.fault("not JSON: a string without its closing quote"));
            };
            out.push_str(&rest[..end]);
            self.at += end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.fault("not JSON: a control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let c = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.fault("not JSON: unknown escape")),
        };
        self.at += 2;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, Fault> {
        let unit = |at: usize| {
            let digits = self.text.get(at + 2..at + 6).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            self.text[at..].starts_with("\\u").then(|| u32::from_str_radix(digits, 16).ok())?
        };
        let first = unit(self.at);
        let (code, length) = match first {
            // A pair of surrogates is one character.
            Some(high @ 0xD800..=0xDBFF) => match unit(self.at + 6) {
                Some(low @ 0xDC00..=0xDFFF) => (Some(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)), 12),
                _ => (None, 6),
            },
            other => (other, 6),
        };
        let Some(c) = code.and_then(char::from_u32) else {
            return Err(self.fault("not JSON: not a character"));
        };
        self.at += length;
        Ok(c)
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut nodes = Vec::new();
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Seq(nodes));
        }
        loop {
            self.blank();
            nodes.push(self.node(depth + 1)?);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    nodes.shrink_to_fit();
                    return Ok(Value::Seq(nodes));
                }
                _ => return Err(self.fault("not JSON: expected , or ]")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut entries = Vec::new();
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(entries));
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.fault("not JSON: expected a key in quotes"));
            }
            let span = self.span();
            let key = Key { text: self.string()?, span };
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.fault("not JSON: expected :"));
            }
            self.at += 1;
            self.blank();
            entries.push((key, self.node(depth + 1)?));
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    entries.shrink_to_fit();
                    return twice(&entries).map_or(Ok(Value::Map(entries)), Err);
                }
                _ => return Err(self.fault("not JSON: expected , or }")),
            }
        }
    }
}
