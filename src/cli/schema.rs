//! `ringway schema`: what ringway.yaml may hold, for editors that complete and check while one writes.

use super::{say, seam};
use std::process::ExitCode;

/// Runs it.
pub(super) fn main() -> ExitCode {
    say(&format!("{:#}\n", seam::schema()));
    ExitCode::SUCCESS
}
