//! A restore that puts whole trees in their places in one step each.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::restore::{Ask, event, failure, finish};
use super::restore_kept;
use super::restore_tell::{tell, tell_plan};
use crate::cli::context::absolute;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::progress::Progress;
use crate::restore::{
    act,
    kept::{self, Kept},
    mapping::Mapping,
    plan::Plan,
    report::Report,
    stage::{self, Put, Stage},
};
use crate::sys::clock;
use crate::types::path;

/// One tree: where it is made and goes, and what is to be done for it.
struct Tree {
    stage: Stage,
    plan: Plan,
}

/// What of the view goes to which target, and whether the stage itself becomes the target.
type Where = (Vec<Vec<u8>>, PathBuf, bool);

/// Restores beside, and then puts in place.
pub(super) fn run(ask: &Ask<'_>, progress: &dyn Progress, stop: &AtomicBool) -> Result<Outcome, Failure> {
    let mut trees = Vec::new();
    for (paths, target, whole) in targets(ask)? {
        refuse_held(ask, &target)?;
        let mut stage = Stage::find(ask.at.dir(), &target, &key(ask, &paths), whole).map_err(|e| failure(&e))?;
        if let (false, Some(name)) = (whole, paths.first().and_then(|p| path::components(p).last())) {
            stage = stage.named(name);
        }
        let mapping = Mapping { moves: Vec::new(), ..ask.mapping.clone() };
        let plan = ask.plan_to(stage.place(), &paths, None, &mapping)?;
        trees.push(Tree { stage, plan });
    }
    for tree in &trees {
        ask.check(&tree.plan)?;
    }
    if ask.args.dry_run {
        for tree in &trees {
            tell_plan(ask.context, &tree.plan)?;
        }
        return Ok(Outcome::Done);
    }
    let mut whole = Report::default();
    let ended = put_all(ask, trees, &mut whole, progress, stop);
    let event = event(ask, ended.is_ok().then_some(&whole));
    trail::ended_and_stored(&trail::open(ask.context, ask.at.repo()), ask.at.repo(), ended, event)
}

/// A tree that is whole, and whether nothing in the view has said what mode its directory is to have.
type Whole = (Stage, bool);

fn put_all(
    ask: &Ask<'_>,
    trees: Vec<Tree>,
    whole: &mut Report,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Outcome, Failure> {
    let mut stages = Vec::new();
    for Tree { mut stage, mut plan } in trees {
        plan.opened = Some(stage.begin().map_err(|e| failure(&e))?);
        let with_mode = plan.dirs.first().is_some_and(|base| base.wanted.is_none());
        let report = act::act(ask.at, plan, progress, stop).map_err(|e| failure(&e))?;
        let bad = report.stopped || !report.problems.is_empty();
        tell(ask.context, &report, stop)?;
        if bad {
            let beside = stage.dir().display().to_string();
            let what = if report.stopped {
                "interrupted before everything was restored"
            } else {
                "not everything could be restored"
            };
            return Err(Failure::new(format!("{what}: nothing was put in place")).hint(format!(
                "what was restored is in {beside}: the same command goes on with it, and without --stage what can be restored is"
            )));
        }
        whole.add(report);
        stages.push((stage, with_mode));
    }
    put(ask, &stages)
}

/// Puts all in their places, and tells of each what was done also where a later one fails.
fn put(ask: &Ask<'_>, stages: &[Whole]) -> Result<Outcome, Failure> {
    let id = restore_kept::new_id()?;
    let state = &ask.context.config.state;
    let replaced: Vec<&Stage> = stages.iter().map(|(stage, _)| stage).filter(|stage| stage.replaces()).collect();
    if !replaced.is_empty() {
        let dirs = replaced.iter().map(|stage| stage.aside(&id).into_os_string().into_vec()).collect();
        let kept = Kept { id: id.clone(), time: clock::now(), dirs, paths: ask.paths.to_vec() };
        restore_kept::note(ask.context, kept)?;
    }
    let note = ask.note_restore(false)?;
    let (mut kept, mut outcome, mut done, mut failed) = (Vec::new(), Outcome::Done, Vec::new(), None);
    for (stage, with_mode) in stages {
        match stage.put(&id, *with_mode) {
            Ok(put) => {
                done.push(stage.target().display().to_string());
                kept.extend(put.kept.as_ref().map(|dir| dir.display().to_string()));
                outcome = outcome.and(left(ask, stage, &put)?);
            }
            Err(e) => {
                failed = Some(failure(&e));
                break;
            }
        }
    }
    match kept.is_empty() {
        false => restore_kept::told(ask.context, &id, &kept)?,
        // Nothing has taken the place of anything.
        true if !replaced.is_empty() => kept::forget(state, &id).explain(|| "cannot forget what is kept aside")?,
        true => {}
    }
    match failed {
        None => {
            finish(note)?;
            Ok(outcome)
        }
        Some(failed) if done.is_empty() => Err(failed),
        Some(failed) => {
            Err(Failure::new(format!("{}; what is in place already: {}", failed.in_short(), done.join(", ")))
                .hint("the same command goes on with what is missing"))
        }
    }
}

/// Tells what was not as it should be after a tree was put in place.
fn left(ask: &Ask<'_>, stage: &Stage, put: &Put) -> Result<Outcome, Failure> {
    let mut told = Vec::new();
    if let Some((dir, e)) = &put.left {
        let why =
            format!("it was left, since it holds something that is not of this restore, or can't be removed: {e}");
        told.push((dir.display().to_string(), why));
    }
    if let Some(e) = &put.unsynced {
        told.push((
            stage.target().display().to_string(),
            format!("it is in place, and may not be on the disk yet: {e}"),
        ));
    }
    let mut out = ask.context.out();
    for (at, why) in &told {
        match ask.context.json {
            true => out.json(&json!({ "path": at, "why": why, "in_place": stage.target().display().to_string() }))?,
            false => tracing::error!("{at}: {why}; {} is in place", stage.target().display()),
        }
    }
    out.finish()?;
    Ok(if told.is_empty() { Outcome::Done } else { Outcome::Partial })
}

/// What goes where.
fn targets(ask: &Ask<'_>) -> Result<Vec<Where>, Failure> {
    if let Some(dir) = &ask.args.to {
        return Ok(vec![(ask.paths.to_vec(), absolute(dir)?, true)]);
    }
    let mut all: Vec<Where> = Vec::new();
    for root in ask.paths {
        let target = ask.mapping.goes_to(root);
        if target == b"/" {
            return Err(Failure::usage("the root of the file system can't be replaced in one step")
                .hint("name the directories in it, or restore without --stage"));
        }
        all.push((vec![root.clone()], PathBuf::from(std::ffi::OsString::from_vec(target)), false));
    }
    Ok(all)
}

/// Nothing that is mounted, or bygone's own, may go aside with what stands there.
fn refuse_held(ask: &Ask<'_>, target: &Path) -> Result<(), Failure> {
    let bytes = target.as_os_str().as_bytes();
    if let Some(point) = stage::mounted_in(bytes).map_err(|e| failure(&e))? {
        return Err(Failure::new(format!(
            "cannot replace {} in one step: {} is mounted in it",
            target.display(),
            path::show(&point)
        ))
        .hint("unmount it first, or restore without --stage"));
    }
    for own in ask.context.guarded()? {
        if path::is_within(own.as_os_str().as_bytes(), bytes) {
            return Err(Failure::new(format!(
                "cannot replace {} in one step: {} lies in it",
                target.display(),
                own.display()
            ))
            .hint("restore without --stage"));
        }
    }
    Ok(())
}

/// What tells one such restore from another: a stage that was begun for something else is not gone on with.
fn key(ask: &Ask<'_>, paths: &[Vec<u8>]) -> Vec<u8> {
    let parts = ask
        .view
        .parts
        .iter()
        .map(|part| (&part.source.host, &part.source.root, part.snapshot.number, part.snapshot.time));
    format!("{paths:?} {:?} {:?}", parts.collect::<Vec<_>>(), ask.mapping).into_bytes()
}
