//! Where the command line reaches configuration, plugins and the data plane: thin functions, so that the commands
//! themselves name none of them.

use super::sources::{Files, Overrides};
use crate::base::span::Span;
use crate::control::journal::Journal;
use crate::control::sink::Reopen;
use crate::control::{First, Inbox, Line, Loaded};
use crate::hook::Descriptor;
use crate::plan::report::Report;
use std::process::ExitCode;
use std::sync::Arc;

/// Everything a gateway is started with.
pub(super) struct Start {
    /// What was read.
    pub(super) first: First,
    /// Reads it anew.
    pub(super) load: Arc<dyn Fn() -> Loaded + Send + Sync>,
    /// To tell the control thread something.
    pub(super) line: Line,
    /// Its other end.
    pub(super) inbox: Inbox,
    /// Reopens log files.
    pub(super) reopen: Reopen,
    /// The program's own log.
    pub(super) journal: Option<Journal>,
}

/// The plugins there are.
pub(super) fn descriptors() -> &'static [Descriptor] {
    crate::boot::descriptors()
}

/// Reads the files of the command line, or without any those that the node's settings name.
pub(super) fn load(files: &Files, overrides: &Overrides) -> Loaded {
    let mut report = Report::default();
    report.fault(&Span::nowhere(), "", "this build reads no configuration", "");
    let mut loaded = Loaded { plan: None, report, files: files.config.clone() };
    if let Some(plan) = &mut loaded.plan {
        overrides.apply(plan);
    }
    loaded
}

/// Reads a configuration that is no file.
pub(super) fn load_text(name: &str, _text: &str) -> Loaded {
    let mut report = Report::default();
    report.fault(&Span::new(&Arc::from(name), 1, 1), "", "this build reads no configuration", "");
    Loaded { plan: None, report, files: Vec::new() }
}

/// The JSON Schema of the native dialect.
pub(super) fn schema() -> serde_json::Value {
    serde_json::json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object" })
}

/// Serves until the process is to end.
pub(super) fn serve(start: Start) -> ExitCode {
    let Start { first, load, line, inbox, reopen, journal } = start;
    crate::boot::serve(crate::boot::Start { first, load, line, inbox, reopen, journal })
}
