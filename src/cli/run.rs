//! `ringway run`: reads the files, starts the log, and serves until told to end.

use super::sources::{Files, Overrides};
use super::{report, seam};
use crate::control::journal::Journal;
use crate::control::sink::Reopen;
use crate::control::{First, Line, Loaded};
use crate::plan::report::Report;
use crate::plan::Node;
use std::process::ExitCode;
use std::sync::Arc;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    overrides: Overrides,
}

const EXAMPLES: &str = "\
Examples:
  ringway run -c kong.yml
  ringway run -c kong.yml -c ringway.yaml        the second file has `runtime:`, `listeners:`, `access_log:` …
  ringway run -c ringway.yaml --shards 2         on two CPUs
  ringway run -c ringway.yaml --driver epoll     without io_uring
  KONG_DECLARATIVE_CONFIG=/kong/kong.yml ringway run
                                                 as a container of Kong is configured

Its own log goes to standard error, or where error_log says. RINGWAY_LOG=debug overrides the level.
Exit code 0: told to end, and did. 1: the configuration cannot be served, a port is taken, a shard died, or a second
signal cut the end short.";

/// Runs it.
pub(super) fn main(args: &Args) -> ExitCode {
    let (files, overrides) = (args.files.clone(), args.overrides.clone());
    let shelf = seam::Shelf::default();
    let load = move |posted: Option<&str>| seam::load(&files, posted, &overrides, &shelf);
    let loaded = load(None);
    let (line, inbox) = Line::new();
    match begin(loaded) {
        Ok((first, reopen, journal)) => {
            seam::serve(seam::Start { first, load: Arc::new(load), line, inbox, reopen, journal })
        }
        Err(code) => code,
    }
}

/// Starts the log that a loaded configuration asks for; or says why it cannot be served, where there is no log yet.
pub(super) fn begin(loaded: Loaded) -> Result<(First, Reopen, Option<Journal>), ExitCode> {
    let Loaded { plan, report, files, written } = loaded;
    if !report::is_good(&report, plan.as_ref()) {
        eprint!("{}", report::as_text(&report, plan.as_ref(), files.paths.len()));
        return Err(ExitCode::FAILURE);
    }
    let Some(plan) = plan else { return Err(ExitCode::FAILURE) };
    let reopen = Reopen::default();
    let journal = start_log(&plan.node, &report, &reopen)?;
    Ok((First { plan: Arc::new(plan), report, files, written }, reopen, journal))
}

fn start_log(node: &Node, report: &Report, reopen: &Reopen) -> Result<Option<Journal>, ExitCode> {
    match Journal::start(&node.error_log, node.log_level, reopen) {
        Ok(journal) => {
            for finding in report.sorted() {
                tracing::warn!("{finding}");
            }
            Ok(Some(journal))
        }
        Err(error) => {
            eprintln!("ringway: the log cannot be opened: {:?}: {error}", node.error_log);
            Err(ExitCode::FAILURE)
        }
    }
}
