//! `bygone index rebuild`.

use std::sync::Arc;

use serde_json::json;

use crate::cli::args::upkeep::Index;
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::repo::attach::Attached;
use crate::sys::clock::SystemClock;

/// Runs it.
pub fn run(context: &Context, command: &Index) -> Result<Outcome, Failure> {
    match command {
        Index::Rebuild => rebuild(context),
    }
}

fn rebuild(context: &Context) -> Result<Outcome, Failure> {
    let repo = open::repository(context)?;
    let at = Attached::anew(repo, &context.config.state, Arc::new(SystemClock)).into_failure()?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    bar.start("reading the journal", None);
    let replayed = open::catch_up(&at, &*bar)?;
    bar.finish();
    let mut out = context.out();
    let problems: Vec<String> = replayed.problems.iter().map(ToString::to_string).collect();
    if context.json {
        out.json(&json!({ "index": at.index().path(), "snapshots": replayed.snapshots, "problems": problems }))?;
    } else if !context.quiet {
        out.line(format_args!("made {} from {} snapshots", at.index().path().display(), replayed.snapshots))?;
        if !problems.is_empty() {
            out.line(format_args!(
                "{} problem(s), named above: what could not be read does not show; `bygone verify` says more",
                problems.len()
            ))?;
        }
    }
    out.finish()?;
    Ok(if problems.is_empty() { Outcome::Done } else { Outcome::Partial })
}
