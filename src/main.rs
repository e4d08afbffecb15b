//! Hands the arguments to the command line and turns its outcome into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(bygone::cli::run::run(std::env::args_os()))
}
