//! The command line: one file per command.
//!
//! ```text
//!   run.rs      serve                         report.rs   findings as text and JSON
//!   check.rs    say what is wrong             sources.rs  which files, which overrides
//!   explain.rs  what would become of one      seam.rs     where configuration, plugins and the data plane
//!   demo.rs     see it work                               are reached
//!   schema.rs   for editors                      plugins.rs  what plugins there are
//! ```
//!
//! Exit codes: 0 done; 1 a configuration that cannot be served, or a failure; 2 a command line that means nothing.

mod check;
mod demo;
mod echo;
mod explain;
mod plugins;
mod report;
mod run;
mod schema;
mod seam;
mod sources;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// An API gateway on pinned io_uring shards that runs the kong.yml you already have.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, about, after_help = TOUR, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

const TOUR: &str = "\
A first tour:
  ringway demo                                   two upstreams, a gateway, a request and its answer
  ringway check -c kong.yml                      every fault at once, each with file:line:column
  ringway run -c kong.yml -c ringway.yaml        entities from one file, threads and timeouts from the other
  ringway explain -c kong.yml 'GET http://api.test/users'
                                                 which route, which service, which plugins, and why not the others
Signals of a running gateway:
  SIGHUP   read the files again (a changed file is noticed without it); a bad file leaves the old ones serving
  SIGTERM  finish what is in flight and end; a second one ends at once
  SIGUSR1  open log files anew, after they were moved";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve requests by these files.
    Run(run::Args),
    /// Read the files and say everything that is wrong with them.
    Check(check::Args),
    /// Say what would become of a request: route, service, plugins, and why not the other routes.
    Explain(explain::Args),
    /// List the plugins in the order they run, or show one: its fields, defaults and an example.
    Plugins(plugins::Args),
    /// Print the JSON Schema of ringway.yaml, for editors.
    Schema,
    /// Start demo upstreams and a gateway before them, and send a request.
    Demo(demo::Args),
    /// Print the version.
    Version,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    seam::set_up();
    match Line::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::Plugins(args) => plugins::main(&args),
        Command::Schema => schema::main(),
        Command::Demo(args) => demo::main(&args),
        Command::Version => {
            say(&format!("ringway {}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

/// Writes to standard output. A reader that has gone (`| head`) is no failure of ours, and `println!` would panic.
fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_every_command_teaches() {
        let mut command = Line::command();
        command.clone().debug_assert();
        for name in ["run", "check", "explain", "plugins", "demo"] {
            let found = command.find_subcommand_mut(name).unwrap();
            let help = found.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{name} has no examples:\n{help}");
        }
    }

    #[test]
    fn lines_are_read() {
        let rows: &[(&str, bool)] = &[
            ("run -c a.yml -c b.yml --shards 4 --driver epoll", true),
            ("run", true),
            ("run --shards none", false),
            ("check -c a.yml --json", true),
            ("explain -c a.yml GET -H a:b", true),
            ("explain -c a.yml", false),
            ("plugins", true),
            ("plugins key-auth --json", true),
            ("plugins key-auth acl", false),
            ("schema", true),
            ("demo --once --port 9000", true),
            ("version", true),
            ("serve", false),
        ];
        for (line, want) in rows {
            let words = std::iter::once("ringway").chain(line.split(' '));
            assert_eq!(Line::try_parse_from(words).is_ok(), *want, "{line}");
        }
    }
}
