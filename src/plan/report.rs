//! What is wrong with a configuration: every fault at once, each with its place and a hint.

use crate::base::span::Span;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Served all the same; said once.
    Warning,
    /// Not served.
    Fault,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where it was written.
    pub span: Span,
    /// The path of the thing within its file: `services[0].routes[2].paths[0]`; may be empty.
    pub path: String,
    /// What is wrong, in the words of the dialect.
    pub message: String,
    /// What was probably meant, or what to write; may be empty.
    pub hint: String,
}

/// All findings of one load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order they were found; [`Report::sorted`] orders them by place.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Adds a fault.
    pub fn fault(&mut self, span: &Span, path: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Fault, span, path.into(), message.into(), hint.into());
    }

    /// Adds a warning.
    pub fn warning(
        &mut self,
        span: &Span,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, span, path.into(), message.into(), hint.into());
    }

    fn push(&mut self, severity: Severity, span: &Span, path: String, message: String, hint: String) {
        self.findings.push(Finding { severity, span: span.clone(), path, message, hint });
    }

    /// May this be served?
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Warning)
    }

    /// The findings by file, line and column.
    pub fn sorted(&self) -> Vec<&Finding> {
        let mut all: Vec<&Finding> = self.findings.iter().collect();
        all.sort_by(|a, b| a.span.cmp(&b.span));
        all
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.span)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}
