//! `bygone index rebuild`.

use std::path::PathBuf;
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

/// Makes the index anew, and tells what is wrong with what it is made of.
pub(super) fn rebuild(context: &Context) -> Result<Outcome, Failure> {
    let repo = open::repository(context)?;
    let clock = Arc::new(SystemClock);
    // Where there is none, or one that can't be read, there is nothing to compare with.
    let before = Attached::open(repo.clone(), &context.config.state, clock.clone()).and_then(|at| known(&at)).ok();
    let at = Attached::anew(repo, &context.config.state, clock).into_failure()?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    bar.start("reading the journal", None);
    let replayed = open::catch_up(&at, &*bar)?;
    bar.finish();
    let mut out = context.out();
    let mut problems: Vec<String> = replayed.problems.iter().map(ToString::to_string).collect();
    if replayed.problems.is_empty() {
        let shrunk = shrunk(before.as_deref().unwrap_or_default(), &known(&at).into_failure()?);
        shrunk.iter().for_each(|problem| tracing::error!("{problem}"));
        problems.extend(shrunk);
        for named in witness::check_anew(&at).into_failure()? {
            let why = format!("{}; `bygone verify` says what to do", witness::why(&named));
            tracing::error!("{why}");
            problems.push(why);
        }
    }
    let kept = keep(&at, before.as_deref(), problems.is_empty()).into_failure()?;
    let snapshots = count(&at).into_failure()?;
    if context.json {
        out.json(&json!({ "index": at.index().path(), "snapshots": snapshots, "problems": problems, "before": kept }))?;
    } else if !context.quiet {
        out.line(format_args!("made {} from {} snapshot(s)", at.index().path().display(), snapshots))?;
        if !problems.is_empty() {
            out.line(format_args!(
                "{} problem(s), named above: what could not be read does not show; `bygone verify` says more",
                problems.len()
            ))?;
            if let Some(kept) = &kept {
                let (kept, index) = (kept.display(), at.index().path().display());
                out.line(format_args!(
                    "the index from before is kept: if it knew more, `mv {kept} {index}` and `bygone maintain` write that again"
                ))?;
            }
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

/// What the index knows of each source: its newest snapshot, and how many there are.
type Known = (Source, Head, u64);

fn known(at: &Attached) -> Result<Vec<Known>, RepoError> {
    let index = at.reader()?;
    let of = |source: Source| Ok((index.head(source.num)?, index.snapshot_count(source.num)?, source));
    index.sources()?.into_iter().map(|source| of(source).map(|(head, count, source)| (source, head, count))).collect()
}

/// The index to which a person may go back. What was known before may be all that is left of what the repository has lost.
fn keep(at: &Attached, before: Option<&[Known]>, is_whole: bool) -> Result<Option<PathBuf>, RepoError> {
    if is_whole {
        return at.forget_before().map(|()| None);
    }
    let (index, now) = (at.reader()?, known(at)?);
    let mut knew_more = before.is_none();
    for (source, head, count) in before.unwrap_or_default().iter().filter(|(_, head, _)| head.number.0 > 0) {
        let same = now.iter().find(|(s, _, c)| s.id == source.id && c >= count);
        let newest = same.map(|(s, ..)| index.snapshot(s.num, head.number)).transpose()?.flatten();
        // By its hash, which stands for all before it: a record of this number may be another one.
        knew_more |= newest.is_none_or(|newest| newest.hash != head.hash);
    }
    if !knew_more {
        at.forget_last()?;
    }
    at.before()
}

/// The sources whose history was longer before: a journal never shrinks by itself.
fn shrunk(before: &[Known], now: &[Known]) -> Vec<String> {
    let told = |(source, had, _): &Known| {
        let has = now.iter().find(|(s, ..)| s.id == source.id).map_or(0, |(_, head, _)| head.number.0);
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
