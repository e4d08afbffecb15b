//! `bygone completions`.

use clap::CommandFactory as _;

use crate::cli::args::{top::Cli, upkeep::Completions};
use crate::cli::out::Out;
use crate::cli::outcome::{Failure, Outcome};

/// Prints the completions of a shell.
pub fn run(args: &Completions) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bygone", &mut script);
    let mut out = Out::stdout();
    out.bytes(&script)?;
    out.finish()?;
    Ok(Outcome::Done)
}
