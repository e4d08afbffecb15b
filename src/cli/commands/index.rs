//! `bygone index rebuild`.

use std::sync::Arc;

use serde_json::json;

use crate::cli::args::upkeep::Index;
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::repo::{attach::Attached, audit::witness, error::RepoError};
use crate::sys::clock::SystemClock;
use crate::types::{
    path,
    snapshot::{Head, Source},
};

/// Runs it.
pub fn run(context: &Context, command: &Index) -> Result<Outcome, Failure> {
    match command {
        Index::Rebuild => rebuild(context),
    }
}

fn rebuild(context: &Context) -> Result<Outcome, Failure> {
    let repo = open::repository(context)?;
    let clock = Arc::new(SystemClock);
    // Where there is none, or one that can't be read, there is nothing to compare with.
    let before = Attached::open(repo.clone(), &context.config.state, clock.clone()).and_then(|at| heads(&at));
    let at = Attached::anew(repo, &context.config.state, clock).into_failure()?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    bar.start("reading the journal", None);
    let replayed = open::catch_up(&at, &*bar)?;
    bar.finish();
    let mut out = context.out();
    let mut problems: Vec<String> = replayed.problems.iter().map(ToString::to_string).collect();
    if replayed.problems.is_empty() {
        let shrunk = shrunk(&before.unwrap_or_default(), &heads(&at).into_failure()?);
        shrunk.iter().for_each(|problem| tracing::error!("{problem}"));
        problems.extend(shrunk);
        for named in witness::check_anew(&at).into_failure()? {
            let why = format!("{}; `bygone verify` says what to do", witness::why(&named));
            tracing::error!("{why}");
            problems.push(why);
        }
    }
    let snapshots = count(&at).into_failure()?;
    if context.json {
        out.json(&json!({ "index": at.index().path(), "snapshots": snapshots, "problems": problems }))?;
    } else if !context.quiet {
        out.line(format_args!("made {} from {} snapshot(s)", at.index().path().display(), snapshots))?;
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

/// The snapshots of all sources.
fn count(at: &Attached) -> Result<u64, RepoError> {
    let index = at.reader()?;
    let count = |source: Source| index.snapshot_count(source.num);
    Ok(index.sources()?.into_iter().map(count).sum::<Result<u64, _>>()?)
}

/// The newest snapshot of each source that the index knows.
fn heads(at: &Attached) -> Result<Vec<(Source, Head)>, RepoError> {
    let index = at.reader()?;
    let with_head = |source: Source| index.head(source.num).map(|head| (source, head));
    Ok(index.sources()?.into_iter().map(with_head).collect::<Result<_, _>>()?)
}

/// The sources whose history was longer before: a journal never shrinks by itself.
fn shrunk(before: &[(Source, Head)], now: &[(Source, Head)]) -> Vec<String> {
    let told = |(source, had): &(Source, Head)| {
        let has = now.iter().find(|(s, _)| s.id == source.id).map_or(0, |(_, head)| head.number.0);
        let root = path::show(&source.root);
        (has < had.number.0).then(|| {
            format!(
                "the journal of {root} on {} ends with snapshot {has}, and snapshot {} was known here before: newer segments \
                 were removed from the repository, or it was set back. Put them back from another copy of the repository",
                source.host, had.number.0
            )
        })
    };
    before.iter().filter_map(told).collect()
}
