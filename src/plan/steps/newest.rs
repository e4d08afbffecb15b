//! The newest instant at which all is well: going back from one to the next before, the files of each are given to a program.

use super::command;
use super::restore::{Asked, act};
use crate::plan::ground::{Did, Doing, told};
use crate::plan::model::Program;
use crate::plan::template::Template;
use crate::types::{path, time::Instant, when::show};
use crate::view::whose::Whose;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// What is looked for.
pub(super) struct Looking<'a> {
    pub(super) probe: &'a [Template],
    pub(super) before: Instant,
    pub(super) program: &'a Program,
    pub(super) tries: u32,
    pub(super) sets: &'a str,
}

/// Looks for it, and gives it to the input.
pub(super) fn run(doing: &Doing<'_>, looking: &Looking<'_>) -> Result<Did, String> {
    let mut paths = Vec::new();
    for text in looking.probe {
        paths.push(doing.path(text)?.into_os_string().into_vec());
    }
    let whose = doing.ground.whose(None)?;
    let mut at = looking.before;
    let mut last = String::new();
    for tried in 1..=looking.tries {
        if doing.stopped() {
            return Err("it was stopped".into());
        }
        let Some(time) = before(doing, &whose, &paths, at)? else {
            return Err(format!("no instant is well, of {} that were tried; the last: {last}", tried - 1));
        };
        match is_well(doing, looking, &paths, time)? {
            None => {
                doing.set(looking.sets, &show::exact_name(time))?;
                let shown = show::show(time, &doing.ground.zone);
                return Ok(Did::saying(format!("{} is {shown}, the {tried}. instant that was tried", looking.sets)));
            }
            Some(why) => last = format!("{}: {why}", show::show(time, &doing.ground.zone)),
        }
        at = Instant(time.0 - 1);
    }
    Err(format!("none of {} instants is well; `tries` goes further back. The last: {last}", looking.tries))
}

/// The newest snapshot at or before an instant of a source that has to do with the paths.
fn before(doing: &Doing<'_>, whose: &Whose, paths: &[Vec<u8>], at: Instant) -> Result<Option<Instant>, String> {
    let index = doing.ground.at.reader().map_err(|e| told(&e))?;
    let mut newest = None;
    for line in whose.lines(&index).map_err(|e| told(&e))? {
        let root = &line.source.root;
        if paths.iter().any(|p| path::is_within(p, root) || path::is_within(root, p)) {
            let found = line.snapshot_at(&index, at).map_err(|e| told(&e))?;
            newest = newest.max(found.map(|snapshot| snapshot.time));
        }
    }
    Ok(newest)
}

/// Why the files of an instant are not well, or nothing.
fn is_well(
    doing: &Doing<'_>,
    looking: &Looking<'_>,
    paths: &[Vec<u8>],
    time: Instant,
) -> Result<Option<String>, String> {
    let dir = doing.run.scratch(&doing.step.name);
    empty(&dir)?;
    crate::sys::durable::create_dirs(&dir, 0o700).map_err(|e| e.to_string())?;
    let asked = Asked { paths: paths.to_vec(), to: Some(dir.clone()), delete: false, host: None, at: time };
    let plan = match asked.plan(doing.ground, false) {
        Ok(plan) => plan,
        // What was not there then is not well.
        Err(why) => return Ok(Some(why)),
    };
    let did = act(doing, plan, None)?;
    if let Some(problem) = did.problems.first() {
        return Ok(Some(problem.clone()));
    }
    let mut program = looking.program.clone();
    let as_it_is = |text: &str| Template::parse(&text.replace("${", "$${"));
    program.env.push(("BYGONE_PROBE".into(), as_it_is(&dir.to_string_lossy())?));
    program.env.push(("BYGONE_AT".into(), as_it_is(&show::exact_name(time))?));
    let ended = command::ended(doing, &program, doing.step.timeout)?;
    doing.keep(&[&ended.stdout, &ended.stderr])?;
    if doing.stopped() {
        return Err("it was stopped".into());
    }
    empty(&dir)?;
    Ok((!ended.is_good()).then(|| ended.why_of_both()))
}

fn empty(dir: &Path) -> Result<(), String> {
    crate::sys::durable::remove_tree(dir).map(drop).map_err(|e| e.to_string())
}
