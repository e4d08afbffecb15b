//! Files that are brought back: the plan of it, which a dry run counts, and the act.

use crate::capture::{
    left_out::LeftOut,
    once::{self, OnceError},
    report::CaptureError,
};
use crate::config::{model::Source, own};
use crate::index::tree::Reader;
use crate::plan::check::is_source;
use crate::plan::ground::{Did, Doing, Ground, absolute, instant, sleep, told};
use crate::plan::journal::Amount;
use crate::plan::made::Made;
use crate::plan::model::{Restore, Undo};
use crate::plan::stage::{Laying, Stage};
use crate::plan::template::Values;
use crate::repo::error::RepoError;
use crate::restore::{
    act,
    aside::Aside,
    check,
    kept::{self, Kept},
    mapping::Mapping,
    plan::{Action, Newest, Plan, Request, Target},
    report::{Report, Why},
};
use crate::sys::clock;
use crate::types::{path, snapshot::Tier, time::Instant};
use crate::view::instant::View;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::Duration;

/// So many problems are told by name.
const TOLD_MAX: usize = 1000;
/// So many files that would be replaced are told by name.
const TAKEN_TOLD_MAX: usize = 20;
/// How often it is looked whether another process has captured.
const POLL: Duration = Duration::from_millis(300);
/// A process that watches notes every five seconds how far it has seen.
const HEARTBEAT: Duration = Duration::from_secs(6);

/// What is restored, with all inputs filled in.
pub(in crate::plan) struct Asked {
    pub(in crate::plan) paths: Vec<Vec<u8>>,
    pub(super) to: Option<PathBuf>,
    pub(super) delete: bool,
    pub(in crate::plan) host: Option<String>,
    pub(in crate::plan) at: Instant,
}

impl Asked {
    pub(in crate::plan) fn of(ground: &Ground<'_>, what: &Restore, values: &Values) -> Result<Asked, String> {
        let mut paths = Vec::new();
        for text in &what.paths {
            paths.push(absolute(&text.fill(values))?.into_os_string().into_vec());
        }
        if let Some(source) = &what.source {
            let name = source.fill(values);
            let found = ground.config.sources.iter().find(|s| is_source(s, &name));
            let found = found.ok_or_else(|| format!("the settings have no source {name:?}"))?;
            paths.push(found.path.as_os_str().as_bytes().to_vec());
        }
        Ok(Asked {
            paths,
            to: what.to.as_ref().map(|to| absolute(&to.fill(values))).transpose()?,
            delete: what.delete,
            host: what.host.as_ref().map(|host| host.fill(values)),
            at: instant(&what.at.fill(values), &ground.zone)?,
        })
    }

    /// Where a path comes to.
    pub(in crate::plan) fn place(&self, path: &[u8]) -> PathBuf {
        match &self.to {
            None => PathBuf::from(OsString::from_vec(path.to_vec())),
            Some(to) => path::components(path).last().map_or(to.clone(), |name| to.join(OsStr::from_bytes(name))),
        }
    }

    /// What it will do. Writes nothing.
    pub(in crate::plan) fn plan(&self, ground: &Ground<'_>, before: bool) -> Result<Plan, String> {
        let index = ground.at.reader().map_err(|e| told(&e))?;
        let view = self.view(ground, &index)?;
        let own = ground.whose(None)?;
        own.refresh(&ground.at).map_err(|e| told(&e))?;
        let newest = View::of(&index, &own, Instant(i64::MAX)).map_err(|e| told(&e))?;
        let is_captured =
            |path: &[u8]| ground.config.sources.iter().any(|s| path::is_within(path, s.path.as_os_str().as_bytes()));
        let upcoming = |path: &[u8]| before && is_captured(path);
        let (target, newest) = match &self.to {
            Some(dir) => {
                refuse_own(ground, dir)?;
                (Target::To(dir.clone()), None)
            }
            None => (Target::InPlace { delete: self.delete }, Some(Newest { view: &newest, upcoming: &upcoming })),
        };
        let guarded = guarded(ground)?;
        let left_out = LeftOut::of(ground.config).map_err(|e| told(&e))?;
        let spared = |path: &[u8], is_dir: bool| left_out.has(path, is_dir);
        let paths = &self.paths;
        let request = Request {
            view: &view,
            paths,
            target,
            mapping: &Mapping::default(),
            guarded: &guarded,
            spared: &spared,
            newest,
        };
        Plan::make(&index, &request).map_err(|e| told(&e))
    }

    fn view(&self, ground: &Ground<'_>, index: &Reader) -> Result<View, String> {
        let whose = ground.whose(self.host.clone())?;
        let view = View::of(index, &whose, self.at).map_err(|e| told(&e))?;
        for path in &self.paths {
            view.check(path).map_err(|e| told(&e))?;
        }
        match view.parts.is_empty() {
            true => Err(format!(
                "nothing of the host {} had been captured by then; `bygone list` shows what there is",
                whose.host()
            )),
            false => Ok(view),
        }
    }
}

/// Restores.
pub(super) fn run(doing: &Doing<'_>, what: &Restore) -> Result<Did, String> {
    let asked = Asked::of(doing.ground, what, &doing.values)?;
    if let Some(stage) = doing.ground.stage {
        return lay(doing, asked, stage);
    }
    let plan = match asked.to {
        Some(_) => asked.plan(doing.ground, false)?,
        None => plan_in_place(doing, &asked)?,
    };
    if asked.to.is_some() {
        refuse_taken(&plan, what.overwrite)?;
    }
    match (&asked.to, &doing.step.undo) {
        (Some(_), Some(Undo::Remove)) => noted(doing, plan),
        _ => act(doing, plan, None),
    }
}

/// Restores, and notes before and after what it makes; what it replaces is kept aside until the run is over.
fn noted(doing: &Doing<'_>, plan: Plan) -> Result<Did, String> {
    let state = &doing.ground.config.state;
    let mut made = Made::load(doing.run, &doing.step.name)?.unwrap_or_default();
    let aside = Aside::new(&format!("{}-{}", doing.run.id, doing.step.name));
    made.add(&plan, aside.id()).map_err(|e| format!("cannot look at {}: {e}", plan.base.display()))?;
    let keeps = plan.replaced().next().is_some();
    if keeps {
        let (time, dirs, paths) = (clock::now(), aside.places(&plan), plan.roots.clone());
        let paths = paths.iter().map(|root| plan.from_root(root)).collect();
        let note = Kept { id: aside.id().to_owned(), time, dirs, paths };
        kept::note(state, &note).map_err(|e| format!("cannot note what is kept aside: {e}"))?;
    }
    made.save(doing.run, &doing.step.name)?;
    let did = act(doing, plan, Some(&aside));
    made.settle();
    made.save(doing.run, &doing.step.name)?;
    did
}

/// Refuses to replace what is in another directory, unless the plan says so: nothing else may hold it.
fn refuse_taken(plan: &Plan, overwrite: bool) -> Result<(), String> {
    let taken = if overwrite { Vec::new() } else { check::taken(plan) };
    let named: Vec<String> = taken.iter().take(TAKEN_TOLD_MAX).map(|unmet| path::show(&unmet.path)).collect();
    match taken.len() {
        0 => Ok(()),
        count => Err(format!(
            "{count} file(s) there would be replaced, such as {}; nothing was written: move them away, or say overwrite = true",
            named.join(", ")
        )),
    }
}

/// In a rehearsal: everything appears where it would be restored to, and nothing is copied.
pub(super) fn lay(doing: &Doing<'_>, asked: Asked, stage: &dyn Stage) -> Result<Did, String> {
    let at = asked.at;
    for path in &asked.paths {
        let to = asked.place(path);
        let alone = asked.to.is_none() && asked.delete;
        stage.lay(&Laying { host: asked.host.as_deref(), at, path, to: &to, alone })?;
    }
    // Counted as if all of it were written.
    let all = Asked { to: Some(doing.run.scratch(&doing.step.name)), delete: false, ..asked };
    let plan = all.plan(doing.ground, false)?;
    let problems = plan.problems.iter().take(TOLD_MAX).map(|p| format!("{}: {}", path::show(&p.path), p.why)).collect();
    let told = Some("shown where it would be restored to, and not copied".to_owned());
    Ok(Did { amount: amount(&plan), problems, told })
}

/// Does what a plan of a restore says.
pub(super) fn act(doing: &Doing<'_>, plan: Plan, aside: Option<&Aside>) -> Result<Did, String> {
    let files = amount(&plan).files;
    let report = act::act_keeping(&doing.ground.at, plan, aside, doing.progress, doing.stop).map_err(|e| told(&e))?;
    if report.stopped {
        return Err("it was stopped before everything was restored".into());
    }
    Ok(did(&report, files))
}

/// How much a plan of a restore writes: directories are no files.
pub(in crate::plan) fn amount(plan: &Plan) -> Amount {
    let is_written = |file: &&crate::restore::plan::PlannedFile| !matches!(file.action, Action::Change);
    Amount { files: plan.files.iter().filter(is_written).count() as u64, bytes: plan.will.bytes }
}

fn did(report: &Report, files: u64) -> Did {
    let done = &report.done;
    let lost = report.problems.iter().filter(|p| !p.why.is_attribute()).count() as u64;
    let files = files.saturating_sub(lost);
    let problems = &report.problems;
    let name = |p: &crate::restore::report::Problem| format!("{}: {}", path::show(&p.path), p.why);
    let mut named: Vec<String> = problems.iter().take(TOLD_MAX).map(name).collect();
    if problems.len() > TOLD_MAX {
        named.push(format!("and {} more", problems.len() - TOLD_MAX));
    }
    let told = format!(
        "{} created, {} replaced, {} removed, {} kept as they were",
        done.created, done.replaced, done.removed, done.kept
    );
    Did { amount: Amount { files, bytes: done.bytes }, problems: named, told: Some(told) }
}

/// The plan in place, once what is there now has been captured: by this process, or by the one that watches.
fn plan_in_place(doing: &Doing<'_>, asked: &Asked) -> Result<Plan, String> {
    let ground = doing.ground;
    let limit = ground.config.capture.bound.saturating_mul(2).saturating_add(HEARTBEAT);
    let until = std::time::Instant::now() + limit;
    let mut first = true;
    loop {
        let plan = asked.plan(ground, first)?;
        if plan.is_empty() {
            return Ok(plan);
        }
        let would_be_lost = plan.problems.iter().any(|p| matches!(p.why, Why::NotHeld));
        if !first && (!would_be_lost || std::time::Instant::now() > until) {
            return Ok(plan);
        }
        for source in asked.paths.iter().flat_map(|path| sources_at(ground, path)) {
            capture(doing, source)?;
        }
        if !first && !sleep(POLL, doing.stop) {
            return Err("it was stopped before anything was restored".into());
        }
        first = false;
    }
}

/// The sources that a path belongs to, or that lie below it.
fn sources_at<'a>(ground: &'a Ground<'_>, wanted: &'a [u8]) -> impl Iterator<Item = &'a Source> {
    let near = move |s: &&Source| {
        let root = s.path.as_os_str().as_bytes();
        path::is_within(wanted, root) || path::is_within(root, wanted)
    };
    ground.config.sources.iter().filter(near)
}

fn capture(doing: &Doing<'_>, source: &Source) -> Result<(), String> {
    let ground = doing.ground;
    match once::take(ground.config, &ground.at, source, Tier::Incremental, (doing.progress, doing.stop)) {
        // Who watches captures it.
        Ok(_) | Err(OnceError::Repo(RepoError::Locked { .. }) | OnceError::Capture(CaptureError::Emptied { .. })) => {
            Ok(())
        }
        Err(OnceError::Capture(CaptureError::Stopped)) => Err("it was stopped before anything was restored".into()),
        Err(OnceError::Capture(CaptureError::Root { source, .. })) if source.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        Err(e) => {
            let e = told(&e);
            tracing::warn!("cannot capture what is there now: {e}; what no snapshot holds is left where it is");
            Ok(())
        }
    }
}

/// What a restore never removes.
fn guarded(ground: &Ground<'_>) -> Result<Vec<PathBuf>, String> {
    ground.config.guarded().map_err(|e| format!("cannot read what is mounted: {e}"))
}

/// The repository and the state are no place to restore to, save for what a run keeps for itself.
pub(super) fn refuse_own(ground: &Ground<'_>, to: &std::path::Path) -> Result<(), String> {
    let runs = own::real(&crate::plan::places::kept_dir(ground.config).join("runs"));
    if own::real(to).zip(runs).is_some_and(|(target, runs)| target.starts_with(runs)) {
        return Ok(());
    }
    match ground.config.own_around(to) {
        None => Ok(()),
        Some((what, dir)) => Err(format!("cannot restore to {}: it is in the {what} {}", to.display(), dir.display())),
    }
}
