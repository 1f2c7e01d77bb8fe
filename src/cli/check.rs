//! `ringway check`: everything that is wrong with a configuration, at once.

use super::sources::{Files, Overrides};
use super::{report, say, seam};
use std::process::ExitCode;
use std::sync::Arc;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// Print one JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringway check -c kong.yml
  ringway check -c kong.yml -c ringway.yaml      as `run` would read them together
  ringway check -c kong.yml --json | jq .findings

Exit code 0: it can be served, warnings or not. 1: it cannot.";

/// Runs it.
pub(super) fn main(args: &Args) -> ExitCode {
    let mut loaded = seam::load(&args.files, None, &Overrides::default(), &seam::Shelf::default());
    let plan = loaded.plan.map(Arc::new);
    if let Some(plan) = plan.as_ref().filter(|_| loaded.report.is_clean()) {
        seam::compile(plan, &mut loaded.report);
    }
    let plan = plan.as_deref();
    match args.json {
        true => say(&format!("{:#}\n", report::as_json(&loaded.report, plan))),
        false => say(&report::as_text(&loaded.report, plan, loaded.files.paths.len())),
    }
    match report::is_good(&loaded.report, plan) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
