//! argv → command.

fn main() -> std::process::ExitCode {
    ringway::cli::main()
}
