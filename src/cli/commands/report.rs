//! `bygone report compliance`.

use crate::cli::args::evidence::{Compliance, Report};
use crate::cli::context::Context;
use crate::cli::outcome::{Failure, Outcome};

/// Runs it.
pub fn run(context: &Context, command: &Report) -> Result<Outcome, Failure> {
    match command {
        Report::Compliance(args) => compliance(context, args),
    }
}

fn compliance(_context: &Context, _args: &Compliance) -> Result<Outcome, Failure> {
    Ok(Outcome::Done)
}
