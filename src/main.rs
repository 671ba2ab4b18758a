//! The multi-call binary: argv and environment in, exit status out.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect(), nival::settings::Environment::from_process())
}
