//! Where a word was written: file, line, column. Every fault of a configuration carries one.

use std::sync::Arc;

/// A place in a configuration file; `line` and `column` count from 1, in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file as it was named on the command line; `-` where there is none (an environment variable, a default).
    pub file: Arc<str>,
    /// Line, from 1; 0 where there is no line.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Span {
    /// A place in `file`.
    pub fn new(file: &Arc<str>, line: u32, column: u32) -> Span {
        Span { file: file.clone(), line, column }
    }

    /// The place of something nobody wrote: a default, or a value of the program itself.
    pub fn nowhere() -> Span {
        Span { file: Arc::from("-"), line: 0, column: 0 }
    }
}

impl Default for Span {
    fn default() -> Span {
        Span::nowhere()
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.file);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T> At<T> {
    /// Puts `value` at `span`.
    pub fn new(value: T, span: Span) -> At<T> {
        At { value, span }
    }
}
