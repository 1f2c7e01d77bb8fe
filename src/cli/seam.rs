//! Where the command line reaches configuration, plugins and the data plane: thin functions, so that the commands
//! themselves name none of them.

use super::sources::{Files, Overrides};
use crate::base::span::Span;
use crate::config::{self, kong, Sources};
use crate::control::journal::Journal;
use crate::control::sink::Reopen;
use crate::control::{First, Inbox, Line, Loaded};
use crate::hook::Descriptor;
use crate::plan::report::Report;
use std::cell::RefCell;
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
    let mut watched = files.config.clone();
    let mut texts = Vec::new();
    for path in &files.config {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((name, text)),
            Err(error) => {
                report.fault(&Span::new(&Arc::from(&*name), 1, 1), "", format!("cannot be read: {error}"), "");
            }
        }
    }
    let conf = conf_of(files, &mut report);
    watched.extend(conf.iter().map(|(path, _)| path.into()));
    let named = RefCell::new(Vec::new());
    let read = |path: &str| {
        named.borrow_mut().push(path.into());
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    };
    let conf = conf.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut loaded = from(&Sources { files: &texts, conf, env: &environment(), read: &read }, report);
    watched.extend(named.into_inner());
    loaded.files = watched;
    if let Some(plan) = &mut loaded.plan {
        overrides.apply(plan);
    }
    loaded
}

/// The node's settings: the file that is named, or the first of the usual ones that exists.
fn conf_of(files: &Files, report: &mut Report) -> Option<(String, String)> {
    if let Some(path) = &files.conf {
        let name = path.display().to_string();
        return match std::fs::read_to_string(path) {
            Ok(text) => Some((name, text)),
            Err(error) => {
                report.fault(&Span::new(&Arc::from(&*name), 1, 1), "", format!("cannot be read: {error}"), "");
                None
            }
        };
    }
    kong::conf::CONF_PATHS
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok().map(|text| ((*path).to_owned(), text)))
}

fn environment() -> Vec<(String, String)> {
    // A variable that is no text cannot be one of ours.
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn from(sources: &Sources<'_>, mut report: Report) -> Loaded {
    let unreadable = !report.is_clean();
    let mut random = |bytes: &mut [u8]| {
        aws_lc_rs::rand::fill(bytes).expect("the system gives random bytes, or nothing secret can be made");
    };
    let (plan, found) = config::load(sources, descriptors(), &mut random);
    report.findings.extend(found.findings);
    Loaded { plan: plan.filter(|_| !unreadable), report, files: Vec::new() }
}

/// Reads a configuration that is no file.
pub(super) fn load_text(name: &str, text: &str) -> Loaded {
    let files = [(name.to_owned(), text.to_owned())];
    let read = |path: &str| Err(format!("{path} is not to be read from here"));
    from(&Sources { files: &files, conf: None, env: &[], read: &read }, Report::default())
}

/// The JSON Schema of the native dialect.
pub(super) fn schema() -> serde_json::Value {
    config::schema(descriptors())
}

/// Serves until the process is to end.
pub(super) fn serve(start: Start) -> ExitCode {
    let Start { first, load, line, inbox, reopen, journal } = start;
    crate::boot::serve(crate::boot::Start { first, load, line, inbox, reopen, journal })
}
