//! A restore that puts whole trees in their places in one step each.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::restore::{Ask, event, failure, finish};
use super::restore_kept;
use super::restore_tell::{tell, tell_plan};
use crate::cli::context::absolute;
use crate::cli::outcome::{Failure, Outcome};
use crate::cli::trail;
use crate::progress::Progress;
use crate::restore::{
    act,
    kept::Kept,
    mapping::Mapping,
    plan::{Plan, Target},
    report::Report,
    stage::{self, Stage},
};
use crate::sys::clock;
use crate::types::path;

/// One tree: what of the view, and where it goes.
struct Tree {
    paths: Vec<Vec<u8>>,
    stage: Stage,
    mapping: Mapping,
    plan: Plan,
}

/// What of the view goes to which target, and whether the stage itself becomes the target.
type Where = (Vec<Vec<u8>>, PathBuf, bool);

/// Restores beside, and then puts in place.
pub(super) fn run(ask: &Ask<'_>, progress: &dyn Progress, stop: &AtomicBool) -> Result<Outcome, Failure> {
    let mut trees = Vec::new();
    for (paths, target, whole) in targets(ask)? {
        refuse_held(ask, &target)?;
        let mut stage = Stage::new(&target, &key(ask, &paths), whole).map_err(|e| failure(&e))?;
        if let (false, Some(name)) = (whole, paths.first().and_then(|p| path::components(p).last())) {
            stage = stage.named(name);
        }
        let mapping = Mapping { moves: Vec::new(), ..ask.mapping.clone() };
        let plan = ask.plan_to(Target::To(stage.dir().to_owned()), &paths, None, &mapping)?;
        trees.push(Tree { paths, stage, mapping, plan });
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

fn put_all(
    ask: &Ask<'_>,
    trees: Vec<Tree>,
    whole: &mut Report,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Outcome, Failure> {
    let mut stages = Vec::new();
    for tree in trees {
        let report = act::act(ask.at, tree.plan, progress, stop).map_err(|e| failure(&e))?;
        let bad = report.stopped || !report.problems.is_empty();
        tell(ask.context, &report, stop)?;
        if bad {
            let beside = tree.stage.dir().display().to_string();
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
        drop((tree.paths, tree.mapping));
        stages.push(tree.stage);
    }
    let id = restore_kept::new_id()?;
    let replaced: Vec<&Stage> = stages.iter().filter(|stage| stage.replaces()).collect();
    if !replaced.is_empty() {
        let dirs = replaced.iter().map(|stage| stage.aside(&id).into_os_string().into_vec()).collect();
        let kept = Kept { id: id.clone(), time: clock::now(), dirs, paths: ask.paths.to_vec() };
        restore_kept::note(ask.context, kept)?;
    }
    let note = ask.note_restore(false)?;
    let mut kept = Vec::new();
    for stage in &stages {
        kept.extend(stage.put(&id).map_err(|e| failure(&e))?.map(|dir| dir.display().to_string()));
    }
    finish(note)?;
    if !kept.is_empty() {
        restore_kept::told(ask.context, &id, &kept)?;
    }
    Ok(Outcome::Done)
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
