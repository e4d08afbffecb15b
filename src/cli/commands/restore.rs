//! `bygone restore`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::restore_first::{self, First, Now};
use super::restore_tell::{counts_json, tell, tell_apart, tell_checked, tell_plan, tell_taken, tell_time};
use super::{restore_kept, restore_map, restore_stage, restore_what};
use crate::capture::left_out::LeftOut;
use crate::cli::args::restore::Restore;
use crate::cli::bar;
use crate::cli::context::{Context, absolute};
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::index::tree::Reader;
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    audit::event::{Event, Kind, Outcome as Ended, bytes_value, snapshot_value},
};
use crate::restore::{
    act,
    check::{self, Missing},
    error::RestoreError,
    held,
    mapping::Mapping,
    plan::{Newest, Plan, Request, Target},
    report::{Report, Why},
    went_back::{self, Note, WentBack},
};
use crate::sys::process::Signals;
use crate::types::path as types_path;
use crate::types::when::{human::Resolved, show, zone::Zone};
use crate::view::{
    instant::{Part, View},
    whose::Whose,
};

/// Up to so many things that are replaced are captured one by one before, and not with all that is around them.
const SINGLY_MAX: usize = 10_000;

/// So many paths that were not there are named.
const MISSING_TOLD_MAX: usize = 100;

/// Runs it.
pub fn run(context: &Context, args: &Restore) -> Result<Outcome, Failure> {
    if let Some(dir) = &args.to {
        refuse_own(context, dir)?;
    }
    let zone = context.zone()?;
    let mapping = restore_map::mapping(args)?;
    let what = restore_what::What::read(context, args, &zone)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached(context)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let replayed = open::catch_up(&at, &*bar)?;
    let index = at.reader().into_failure()?;
    let whose = open::whose(context, &args.of, &at, &index)?;
    let when = what.when(context, (&at, &index), &whose, &zone)?;
    let view = View::of(&index, &whose, when.instant).into_failure()?;
    if view.parts.is_empty() {
        view.check(b"/").into_failure()?;
        return Err(nothing(context, &whose, &index, &when)?);
    }
    let (paths, is_missing) = there(context, args, &index, &view, what.paths(context, &view)?, &when)?;
    tell_time(context, &parts(&view, &paths), &when, &zone)?;
    let own = Whose::own(&at, &context.config.host).into_failure()?;
    let before = what.before();
    let is_own = whose.is_own();
    let (paths, index, view, when, mapping) = (&paths, &index, &view, &when, &mapping);
    let ask = Ask { context, args, at: &at, own, is_own, before, paths, index, view, when, mapping };
    let done = match replayed.problems.is_empty() && !is_missing {
        true => Outcome::Done,
        false => Outcome::Partial,
    };
    let stop = signals.flag();
    let outcome = match args.stage {
        true => restore_stage::run(&ask, &*bar, &stop)?,
        false => ask.run(&zone, &*bar, &stop)?,
    };
    Ok(outcome.and(done))
}

/// The paths at which something stands in the view, and whether any are missing: that is refused, unless what can be restored is wanted
/// anyway.
fn there(
    context: &Context,
    args: &Restore,
    index: &Reader,
    view: &View,
    paths: Vec<Vec<u8>>,
    when: &Resolved,
) -> Result<(Vec<Vec<u8>>, bool), Failure> {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for path in paths {
        match view.look_up(index, &path).into_failure()? {
            Some(_) => there.push(path),
            None => missing.push(path),
        }
    }
    if missing.is_empty() || (args.anyway && !there.is_empty()) {
        let mut out = context.out();
        for path in &missing {
            let (path, why) = (types_path::show(path), "it was not there at that time");
            match context.json {
                true => out.json(&json!({ "path": path, "why": why, "restored": false }))?,
                false => tracing::error!("{path}: {why}"),
            }
        }
        out.finish()?;
        return Ok((there, !missing.is_empty()));
    }
    let mut names: Vec<String> = missing.iter().take(MISSING_TOLD_MAX).map(|path| types_path::show(path)).collect();
    let more = missing.len() - names.len();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    let was = if missing.len() == 1 { "was" } else { "were" };
    let failure = Failure::new(format!("{} {was} not there at that time", names.join(", ")));
    let hint = format!("`bygone log PATH` shows when it was there; the view is as of {}", when.text);
    Err(match there.is_empty() {
        true => failure.hint(hint),
        false => failure.hint(format!("{hint}; --anyway restores the others")),
    })
}

/// What the audit trail tells of it.
pub(super) fn event(ask: &Ask<'_>, report: Option<&Report>) -> impl FnOnce(Ended) -> Event + use<> {
    let snapshots: Vec<Value> = parts(ask.view, ask.paths)
        .into_iter()
        .map(|p| json!({ "host": p.source.host, "source": bytes_value(&p.source.root), "snapshot": snapshot_value(&p.snapshot) }))
        .collect();
    let absolute = |dir: &PathBuf| std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    let to = ask.args.to.as_ref().map(|dir| bytes_value(absolute(dir).as_os_str().as_bytes()));
    let (in_place, delete, stage) = (ask.args.in_place, ask.args.delete, ask.args.stage);
    let overwrite = ask.args.overwrite.then_some(true);
    let paths: Vec<Value> = ask.paths.iter().map(|p| bytes_value(p)).collect();
    let (at, done) = (ask.when.text.clone(), report.map(|r| counts_json(&r.done)));
    let problems = report.map(|r| r.problems.len());
    move |ended| {
        Event::new(Kind::Restore, ended)
            .about("paths", paths)
            .detail("as_of", at)
            .detail("to", to)
            .detail("in_place", in_place)
            .detail("delete", delete)
            .detail("stage", stage)
            .detail("overwrite", overwrite)
            .detail("snapshots", snapshots)
            .detail("done", done)
            .detail("problems", problems)
    }
}

/// The parts of a view that hold what is restored, each once.
fn parts<'a>(view: &'a View, paths: &[Vec<u8>]) -> Vec<&'a Part> {
    let held: Vec<&Part> = paths.iter().flat_map(|path| view.parts_at(path)).collect();
    view.parts.iter().filter(|part| held.contains(part)).collect()
}

/// The repository and the state are no place to restore to: what is restored there would be taken for theirs.
pub(super) fn refuse_own(context: &Context, to: &Path) -> Result<(), Failure> {
    match context.config.own_around(&absolute(to)?) {
        None => Ok(()),
        Some((what, dir)) => {
            let (to, dir) = (to.display(), dir.display());
            Err(Failure::new(format!("cannot restore to {to}: it is in the {what} {dir}"))
                .hint("name a directory elsewhere"))
        }
    }
}

/// There is no snapshot so early.
fn nothing(context: &Context, whose: &Whose, index: &Reader, when: &Resolved) -> Result<Failure, Failure> {
    let mut first = None;
    for line in whose.lines(index).into_failure()? {
        let snapshot = line.snapshot_after(index, when.instant).into_failure()?;
        first = first.into_iter().chain(snapshot.map(|s| s.time)).min();
    }
    let failure = Failure::new(format!("nothing of the host {} had been captured at {}", whose.host(), when.text));
    Ok(match first {
        Some(time) => failure.hint(format!("its first snapshot is of {}", show::show(time, &context.zone()?))),
        None => failure.hint("`bygone list` shows what there is"),
    })
}

/// What is asked for.
pub(super) struct Ask<'a> {
    pub(super) context: &'a Context,
    pub(super) at: &'a Arc<Attached>,
    /// What this machine captured, whosever history is restored.
    own: Whose,
    /// Whether it is this machine's history that is restored.
    is_own: bool,
    /// The path before whose last change it is asked for.
    before: Option<&'a [u8]>,
    pub(super) args: &'a Restore,
    pub(super) paths: &'a [Vec<u8>],
    pub(super) index: &'a Reader,
    pub(super) view: &'a View,
    pub(super) when: &'a Resolved,
    pub(super) mapping: &'a Mapping,
}

impl Ask<'_> {
    fn run(&self, zone: &Zone, progress: &dyn Progress, stop: &AtomicBool) -> Result<Outcome, Failure> {
        let mut plan = self.plan(true)?;
        self.check(&plan)?;
        if self.args.dry_run {
            tell_plan(self.context, &plan)?;
            return Ok(if plan.problems.is_empty() { Outcome::Done } else { Outcome::Partial });
        }
        if self.args.in_place && !plan.is_empty() {
            plan = self.plan_after_capture(plan, self.at, zone, progress, stop)?;
        }
        let aside = match self.args.aside && !plan.is_empty() {
            true => Some(restore_kept::begin(self, &plan)?),
            false => None,
        };
        tell_apart(self.context, &plan)?;
        let note = self.note_restore(plan.is_empty())?;
        let acted = act::act_keeping(self.at, plan, aside.as_ref(), progress, stop).map_err(|e| failure(&e));
        if let Some(aside) = &aside {
            restore_kept::tell(self, aside)?;
        }
        let event = event(self, acted.as_ref().ok());
        let ended = acted.and_then(|report| {
            if !report.stopped {
                finish(note)?;
            }
            tell(self.context, &report, stop)?;
            match (report.stopped, report.problems.is_empty()) {
                (true, _) => Err(Failure::new("interrupted before everything was restored")
                    .hint("run the same command again: it goes on with what is missing")),
                (false, false) => Ok(Outcome::Partial),
                (false, true) => Ok(Outcome::Done),
            }
        });
        trail::ended_and_stored(&trail::open(self.context, self.at.repo()), self.at.repo(), ended, event)
    }

    /// Notes a restore in place of this machine's own history before it writes anything: it is no change of what it restores.
    /// One that was begun before and has nothing left to do has come to its end.
    pub(super) fn note_restore(&self, is_done: bool) -> Result<Option<Note>, Failure> {
        let state = self.at.dir();
        let noting = || format!("cannot note the restore in the state directory {}", state.display());
        let is_moved = |path: &Vec<u8>| self.mapping.goes_to(path) != *path;
        if !self.args.in_place || !self.is_own || self.paths.iter().any(is_moved) {
            return Ok(None);
        }
        if is_done {
            let known = match self.before {
                Some(path) => went_back::newest_of(state, path).explain(noting)?,
                None => None,
            };
            return Ok(known.filter(|note| !note.restore.finished && note.restore.is_shown_by(self.view)));
        }
        let restore = WentBack::now(self.before, self.paths, self.view, &self.newest()?);
        Note::begin(state, restore).map(Some).explain(noting)
    }

    /// Refuses what can't be done as a whole, unless that is wanted anyway.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), Failure> {
        let checked = check::check(self.index, plan).map_err(|e| failure(&e))?;
        tell_checked(self.context, &checked)?;
        self.refuse_taken(plan)?;
        let count = checked.unmet.len();
        if count == 0 || self.args.dry_run {
            return Ok(());
        }
        if checked.unmet.iter().any(|unmet| unmet.what.is_final()) {
            return Err(Failure::new(
                "cannot restore: there is no room for it, or nothing may be written; nothing was written",
            ));
        }
        if self.args.anyway {
            return Ok(());
        }
        let rights = checked.unmet.iter().any(|unmet| unmet.what == Missing::Right);
        let how = if rights { "as root, or with another target" } else { "to another file system" };
        let what =
            format!("not everything could be restored as it was ({count} reason(s), named above); nothing was written");
        Err(Failure::new(what).hint(format!("restore {how}; or --anyway restores what can be, and names what can't")))
    }

    /// Refuses to replace what is in another directory unasked: nothing else may hold it.
    fn refuse_taken(&self, plan: &Plan) -> Result<(), Failure> {
        let args = self.args;
        if args.to.is_none() || args.aside || args.overwrite || args.stage {
            return Ok(());
        }
        let taken = check::taken(plan);
        tell_taken(self.context, &taken)?;
        match taken.len() {
            0 => Ok(()),
            _ if args.dry_run => Ok(()),
            count => Err(Failure::new(format!("{count} file(s) there would be replaced (named above); nothing was written"))
                .hint("--aside keeps them beside what is restored, --overwrite replaces them, or restore to an empty directory")),
        }
    }

    /// The newest view of what this machine captured; the capture before it may just have found another writer.
    fn newest(&self) -> Result<View, Failure> {
        self.own.refresh(self.at).into_failure()?;
        restore_first::newest(self.index, &self.own)
    }

    /// The plan. `before` the capture that a restore in place begins with, what that will capture counts as held; and so does
    /// everything that is kept aside.
    fn plan(&self, before: bool) -> Result<Plan, Failure> {
        let context = self.context;
        let newest = self.newest()?;
        let upcoming = |path: &[u8]| before && restore_first::is_captured(context, path);
        let (target, newest) = match &self.args.to {
            Some(dir) => (Target::To(absolute(dir)?), None),
            None => {
                let newest = Newest { view: &newest, upcoming: &upcoming };
                (Target::InPlace { delete: self.args.delete }, Some(newest).filter(|_| !self.args.aside))
            }
        };
        self.plan_to(target, self.paths, newest, self.mapping)
    }

    /// The plan for a target.
    pub(super) fn plan_to(
        &self,
        target: Target,
        paths: &[Vec<u8>],
        newest: Option<Newest<'_>>,
        mapping: &Mapping,
    ) -> Result<Plan, Failure> {
        let guarded = self.context.guarded()?;
        let left_out = LeftOut::of(&self.context.config).map_err(|e| open::unscoped(&e))?;
        let spared = |path: &[u8], is_dir: bool| left_out.has(path, is_dir);
        let request = Request { view: self.view, paths, target, mapping, guarded: &guarded, spared: &spared, newest };
        Plan::make(self.index, &request).map_err(|e| match &e {
            RestoreError::NotThere { .. } => failure(&e)
                .hint(format!("`bygone log PATH` shows when it was there; the view is as of {}", self.when.text)),
            _ => failure(&e),
        })
    }

    /// The plan, once what would be replaced has been captured; where another process captures, it gets the time to do so.
    fn plan_after_capture(
        &self,
        planned: Plan,
        at: &Arc<Attached>,
        zone: &Zone,
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<Plan, Failure> {
        let replaced: Vec<Vec<u8>> =
            planned.replaced().take(SINGLY_MAX + 1).map(|below| planned.from_root(&below)).collect();
        let what = match replaced.len() > SINGLY_MAX {
            true => Now::Below(self.paths.iter().map(|path| self.mapping.goes_to(path)).collect()),
            false => Now::Only(replaced),
        };
        let mut first = First::capture(self.context, at, &what, zone, progress, stop)?;
        let seen = self.newest()?;
        if held::holds_all(self.index, &planned, &Newest { view: &seen, upcoming: &|_| false })? {
            return Ok(planned);
        }
        loop {
            let seen = self.newest()?;
            let plan = self.plan(false)?;
            let would_be_lost = plan.problems.iter().any(|p| matches!(p.why, Why::NotHeld));
            if !would_be_lost || !first.wait(&seen)? {
                return Ok(plan);
            }
        }
    }
}

/// Notes that a restore came to its end.
pub(super) fn finish(note: Option<Note>) -> Result<(), Failure> {
    note.map_or(Ok(()), Note::finish).explain(|| "cannot note in the state directory that the restore came to its end")
}

pub(super) fn failure(e: &RestoreError) -> Failure {
    let failure = Failure::from_error(e);
    match e {
        RestoreError::Target { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            failure.hint("restore as root, or --to a directory of your own")
        }
        RestoreError::NoRoom { .. } => failure.hint("make room, restore less at a time, or --to another file system"),
        RestoreError::Collide { .. } => failure.hint(
            "with --full-paths each goes below its whole path and both fit; or restore each by a command of its own, with a --to \
             of its own",
        ),
        _ => failure,
    }
}
