//! Taking back what steps have made: the last one that ended first.

use super::ground::{Doing, Ground};
use super::journal::{Ending, Journal, Story};
use super::model::{Plan, Step, Undo, Work};
use super::places::RunDir;
use crate::progress::Quiet;
use crate::sys::durable;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long taking a step back may take where it has no time-out.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// The steps that are to be taken back, in order: those that were cut off, then those that ended, the last one first. What was taken
/// back already is not named again.
pub(super) fn order(story: &Story) -> Vec<String> {
    let did = |name: &&String| story.ended.get(*name).is_some_and(|ended| ended.ending != Ending::Skipped);
    let open = |name: &String| !matches!(story.undone.get(name), Some(None));
    let ended = story.order.iter().rev().filter(did);
    story.half.iter().chain(ended).filter(|name| open(name)).cloned().collect()
}

/// Takes a step back. The error says why it could not be.
pub(super) fn step(
    ground: &Ground<'_>,
    plan: &Plan,
    step: &Step,
    run: &RunDir,
    journal: &Mutex<Journal>,
) -> Result<(), String> {
    let story = journal.lock().unwrap_or_else(PoisonError::into_inner).story.clone();
    match &step.undo {
        None => Ok(()),
        Some(Undo::Remove) => remove(ground, step, &story),
        Some(Undo::Run(program)) => {
            let stop = AtomicBool::new(false);
            let values = story.values;
            let doing = Doing { ground, plan, step, values, run, journal, stop: &stop, progress: &Quiet };
            let order = doing.order(program).timeout(step.timeout.unwrap_or(TIMEOUT));
            let ended = order.run(&stop).map_err(|e| format!("cannot run what takes it back: {e}"))?;
            if ended.is_good() { Ok(()) } else { Err(ended.why_of_both()) }
        }
    }
}

/// Removes what the step has made, and nothing else.
fn remove(ground: &Ground<'_>, step: &Step, story: &Story) -> Result<(), String> {
    let made = story.made.get(&step.name).cloned().unwrap_or_default();
    if let Work::Postgres(postgres) = &step.work
        && !made.is_empty()
    {
        super::steps::postgres::stop(ground, postgres, story)?;
    }
    let mut failed = Vec::new();
    for path in made.iter().rev() {
        let own = ground.config.own_dirs().into_iter().any(|(_, dir)| path.starts_with(dir) || dir.starts_with(path));
        let removed = if own {
            Err("it is bygone's own".to_owned())
        } else {
            durable::remove_tree(path).map_err(|e| e.to_string())
        };
        if let Err(e) = removed {
            failed.push(format!("cannot remove {}: {e}", path.display()));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}
