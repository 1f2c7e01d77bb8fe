//! Where the command line reaches configuration, plugins and the data plane: thin functions, so that the commands
//! themselves name none of them.

pub(super) use crate::hook::Shelf;

use super::sources::{Files, Overrides};
use crate::config::{self, gather, Sources};
use crate::control::journal::Journal;
use crate::control::sink::Reopen;
use crate::control::{look, First, Inbox, Line, Load, Loaded, Look, Watched};
use crate::hook::Descriptor;
use crate::plan::report::Report;
use crate::plan::Plan;
use crate::shard::secure::Secure;
use crate::shard::Tables;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Everything a gateway is started with.
pub(super) struct Start {
    /// What was read.
    pub(super) first: First,
    /// Reads it anew.
    pub(super) load: Arc<Load>,
    /// To tell the control thread something.
    pub(super) line: Line,
    /// Its other end.
    pub(super) inbox: Inbox,
    /// Reopens log files.
    pub(super) reopen: Reopen,
    /// The program's own log.
    pub(super) journal: Option<Journal>,
}

/// Sets up the process, before it has threads.
pub(super) fn set_up() {
    crate::io::runtime::keep_little();
}

/// The plugins there are.
pub(super) fn descriptors() -> &'static [Descriptor] {
    crate::boot::descriptors()
}

/// Reads the files of the command line, or without any those that the node's settings name; the entities of a text that
/// was `posted` take the place of theirs.
///
/// `shelf` outlives reloads: what a broken certificate file held before is on it.
pub(super) fn load(files: &Files, posted: Option<&str>, overrides: &Overrides, shelf: &Shelf) -> Loaded {
    let named: Vec<String> =
        files.config.iter().chain(&files.conf).map(|path| path.to_string_lossy().into_owned()).collect();
    // A variable that is no text cannot be one of ours.
    let env: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let looks: RefCell<HashMap<PathBuf, Look>> = RefCell::default();
    let open = |path: &str| {
        let path = PathBuf::from(path);
        looks.borrow_mut().entry(path.clone()).or_insert_with(|| look(&path));
        std::fs::read(path)
    };
    let gather::Loaded { plan, mut report, watch, own, written } =
        gather::load(&named, posted, &env, &open, descriptors(), &mut random);
    // A copy: the plan was made piece by piece between pieces of the text, and is what stays.
    let mut plan = plan.map(|plan| crate::io::runtime::apart(|| plan.clone()));
    if let Some(plan) = &mut plan {
        overrides.apply(plan);
    }
    let plan = plan.filter(|plan| is_secure(plan, shelf, &mut report));
    let files = Watched::new(watch.into_iter().map(Into::into).collect(), own, &looks.borrow());
    Loaded { plan, report, files, written }
}

fn random(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the system gives random bytes, or nothing secret can be made");
}

/// Reads a configuration that is no file; as for files, the entities of what was `posted` take the place of its own.
pub(super) fn load_text(name: &str, text: &str, posted: Option<&str>) -> Loaded {
    let files = [(name.to_owned(), text.to_owned())];
    let read = |path: &str| Err(format!("{path} is not to be read from here"));
    let sources = Sources { files: &files, conf: None, env: &[], read: &read };
    let config::Reading { plan, mut report, written } = config::read(&sources, posted, descriptors(), &mut random);
    let plan = plan.filter(|plan| is_secure(plan, &Shelf::default(), &mut report));
    Loaded { plan, report, files: Watched::default(), written }
}

/// Says what is wrong with the keys and certificates of a plan; `false` where it cannot be served.
fn is_secure(plan: &Plan, shelf: &Shelf, report: &mut Report) -> bool {
    let now = crate::io::clock::wall_exact().seconds() as i64;
    let (findings, is_sound) = match Secure::compile(plan, shelf, now) {
        Ok((_, findings)) => (findings, true),
        Err(findings) => (findings, false),
    };
    for finding in findings {
        match finding.is_fault {
            true => report.fault(&finding.at, "", finding.what, ""),
            false => report.warning(&finding.at, "", finding.what, ""),
        }
    }
    is_sound
}

/// Says what only shows when the tables are made, as they are before shards are given them: what constructors of plugins
/// and expressions of routes refuse.
pub(super) fn compile(plan: &Arc<Plan>, report: &mut Report) {
    if let Err(faults) = Tables::compile(plan.clone(), descriptors(), &Shelf::default()) {
        for finding in faults {
            report.fault(&finding.at, "", finding.what, "");
        }
    }
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
