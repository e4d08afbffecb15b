//! `bygone restore`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::restore_first::{self, First};
use crate::capture::left_out::LeftOut;
use crate::cli::args::history::Restore;
use crate::cli::bar;
use crate::cli::context::{Context, absolute};
use crate::cli::open;
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::sizes::show_size;
use crate::cli::trail;
use crate::index::tree::Reader;
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    audit::event::{Event, Kind, Outcome as Ended, bytes_value, snapshot_value},
};
use crate::restore::{
    act,
    error::RestoreError,
    plan::{Newest, Plan, Request, Target},
    report::{Counts, Problem, Report, Why},
};
use crate::sys::{clock, mounts, process::Signals};
use crate::types::{
    path,
    when::{
        human::{Resolved, parse_time},
        show,
        zone::Zone,
    },
};
use crate::view::{
    instant::{Part, View},
    whose::Whose,
};

/// How many attributes that could not be set are told one by one.
const TOLD_MAX: usize = 20;

/// Runs it.
pub fn run(context: &Context, args: &Restore) -> Result<Outcome, Failure> {
    if let Some(dir) = &args.to {
        refuse_own(context, dir)?;
    }
    let zone = context.zone()?;
    let when = parse_time(&args.at, clock::now(), &zone).map_err(Failure::usage)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached(context)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let replayed = open::catch_up(&at, &*bar)?;
    let index = at.reader().into_failure()?;
    let whose = open::whose(context, &args.of, &at, &index)?;
    let view = View::of(&index, &whose, when.instant).into_failure()?;
    if view.parts.is_empty() {
        view.check(b"/").into_failure()?;
        return Err(nothing(context, &whose, &index, &when)?);
    }
    let paths = args.paths.iter().map(|p| clean(p)).collect::<Result<Vec<_>, _>>()?;
    tell_time(context, &parts(&view, &paths), &when, &zone)?;
    let own = Whose::own(&at, &context.config.host).into_failure()?;
    let ask = Ask { context, args, at: &at, own, paths: &paths, index: &index, view: &view, when: &when };
    let mut plan = ask.plan(true)?;
    let outcome = match replayed.problems.is_empty() {
        true => Outcome::Done,
        false => Outcome::Partial,
    };
    if args.dry_run {
        tell_plan(context, &plan)?;
        return Ok(if plan.problems.is_empty() { outcome } else { Outcome::Partial });
    }
    let stop = signals.flag();
    if args.in_place && !plan.is_empty() {
        plan = ask.plan_after_capture(&at, &zone, &*bar, &stop)?;
    }
    let acted = act::act(&at, plan, &*bar, &stop).map_err(|e| failure(&e));
    let event = event(&ask, acted.as_ref().ok());
    let ended = acted.and_then(|report| {
        tell(context, &report, &stop)?;
        match (report.stopped, report.problems.is_empty()) {
            (true, _) => Err(Failure::new("interrupted before everything was restored")
                .hint("run the same command again: it goes on with what is missing")),
            (false, false) => Ok(Outcome::Partial),
            (false, true) => Ok(outcome),
        }
    });
    trail::ended_and_stored(&trail::open(context, at.repo()), at.repo(), ended, event)
}

/// What the audit trail tells of it.
fn event(ask: &Ask<'_>, report: Option<&Report>) -> impl FnOnce(Ended) -> Event + use<> {
    let snapshots: Vec<Value> = parts(ask.view, ask.paths)
        .into_iter()
        .map(|p| json!({ "host": p.source.host, "source": bytes_value(&p.source.root), "snapshot": snapshot_value(&p.snapshot) }))
        .collect();
    let absolute = |dir: &PathBuf| std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    let to = ask.args.to.as_ref().map(|dir| bytes_value(absolute(dir).as_os_str().as_bytes()));
    let (in_place, delete) = (ask.args.in_place, ask.args.delete);
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
    // What is not there yet lies in the nearest directory that is.
    let real = |p: &Path| p.ancestors().find_map(|p| p.canonicalize().ok());
    let target = real(&absolute(to)?);
    for (what, dir) in context.config.own_dirs() {
        let own = dir.canonicalize().ok();
        if let (Some(target), Some(own)) = (&target, own)
            && target.starts_with(own)
        {
            return Err(Failure::new(format!(
                "cannot restore to {}: it is in the {what} {}",
                to.display(),
                dir.display()
            ))
            .hint("name a directory elsewhere"));
        }
    }
    Ok(())
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

/// The instant that was understood, before anything is done.
fn tell_time(context: &Context, parts: &[&Part], when: &Resolved, zone: &Zone) -> Result<(), Failure> {
    let mut out = context.out();
    if context.json {
        let parts: Vec<Value> = parts.iter().map(|p| {
            json!({ "source": path::show(&p.source.root), "number": p.snapshot.number.0, "time": show::exact_name(p.snapshot.time) })
        }).collect();
        out.json(&json!({ "at": when.text, "time_ns": when.instant.0, "latest": when.latest, "snapshots": parts }))?;
    } else if !context.quiet {
        out.line(format_args!("as of {}", when.text))?;
        for part in parts {
            let time = show::show(part.snapshot.time, zone);
            out.line(format_args!("  {}: snapshot of {time} ({})", path::show(&part.source.root), zone.name()))?;
        }
    }
    out.finish()
}

/// What is asked for.
struct Ask<'a> {
    context: &'a Context,
    at: &'a Attached,
    /// What this machine captured, whosever history is restored.
    own: Whose,
    args: &'a Restore,
    paths: &'a [Vec<u8>],
    index: &'a Reader,
    view: &'a View,
    when: &'a Resolved,
}

impl Ask<'_> {
    /// The newest view of what this machine captured; the capture before it may just have found another writer.
    fn newest(&self) -> Result<View, Failure> {
        self.own.refresh(self.at).into_failure()?;
        restore_first::newest(self.index, &self.own)
    }

    /// The plan. `before` the capture that a restore in place begins with, what that will capture counts as held.
    fn plan(&self, before: bool) -> Result<Plan, Failure> {
        let context = self.context;
        let newest = self.newest()?;
        let upcoming = |path: &[u8]| before && restore_first::is_captured(context, path);
        let (target, newest) = match &self.args.to {
            Some(dir) => (Target::To(absolute(dir)?), None),
            None => {
                let newest = Newest { view: &newest, upcoming: &upcoming };
                (Target::InPlace { delete: self.args.delete }, Some(newest))
            }
        };
        let guarded = guarded(context)?;
        let left_out = LeftOut::of(&context.config).map_err(|e| open::unscoped(&e))?;
        let spared = |path: &[u8], is_dir: bool| left_out.has(path, is_dir);
        let request =
            Request { view: self.view, paths: self.paths, target, guarded: &guarded, spared: &spared, newest };
        Plan::make(self.index, &request).map_err(|e| match &e {
            RestoreError::NotThere { .. } => failure(&e)
                .hint(format!("`bygone log PATH` shows when it was there; the view is as of {}", self.when.text)),
            _ => failure(&e),
        })
    }

    /// The plan, once what is there now has been captured; where another process captures, it gets the time to do so.
    fn plan_after_capture(
        &self,
        at: &Arc<Attached>,
        zone: &Zone,
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<Plan, Failure> {
        let mut first = First::capture(self.context, at, self.paths, zone, progress, stop)?;
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

fn failure(e: &RestoreError) -> Failure {
    let failure = Failure::from_error(e);
    match e {
        RestoreError::Target { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            failure.hint("restore as root, or --to a directory of your own")
        }
        RestoreError::Space { .. } => failure.hint("make room, restore less at a time, or --to another file system"),
        RestoreError::Collide { .. } => failure.hint("restore each by a command of its own, with a --to of its own"),
        _ => failure,
    }
}

/// The absolute path, `..` and `.` taken out: what the view calls it.
fn clean(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::path::Component;
    let mut out = PathBuf::from("/");
    for part in absolute(path)?.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    Ok(out.as_os_str().as_bytes().to_vec())
}

/// What a restore never removes: the repository, the state, and what bygone has mounted.
pub(super) fn guarded(context: &Context) -> Result<Vec<PathBuf>, Failure> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut all: Vec<PathBuf> = context.config.own_dirs().into_iter().map(|(_, dir)| dir.to_owned()).collect();
    let mounts = mounts::mounts().explain(|| "cannot read what is mounted")?;
    let own = mounts.into_iter().filter(|m| m.fstype == "fuse.bygone");
    all.extend(own.map(|m| PathBuf::from(std::ffi::OsString::from_vec(m.point))));
    Ok(all)
}

fn tell_plan(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let mut out = context.out();
    for step in plan.steps() {
        match context.json {
            true => out.json(&json!({ "do": step.verb, "path": path::show(&step.path), "bytes": step.bytes }))?,
            false => out.line(format_args!("{:8} {}", step.verb, path::show(&step.path)))?,
        }
    }
    tell_problems(context, &mut out, &plan.problems)?;
    match context.json {
        true => out.json(&json!({ "would": counts_json(&plan.will) }))?,
        false => out.line(format_args!("would have {}", counts_text(&plan.will)))?,
    }
    out.finish()
}

fn tell(context: &Context, report: &Report, stop: &AtomicBool) -> Result<(), Failure> {
    let mut out = context.out();
    tell_problems(context, &mut out, &report.problems)?;
    if context.json {
        let stopped = report.stopped || stop.load(Ordering::Relaxed);
        out.json(
            &json!({ "done": counts_json(&report.done), "problems": report.problems.len(), "interrupted": stopped }),
        )?;
    } else if !context.quiet {
        out.line(counts_text(&report.done))?;
    }
    out.finish()
}

fn tell_problems(context: &Context, out: &mut Out, problems: &[Problem]) -> Result<(), Failure> {
    let (mut attributes, mut untold) = (0, 0);
    for problem in problems {
        let (at, why) = (path::show(&problem.path), problem.why.to_string());
        if context.json {
            out.json(&json!({ "path": at, "why": why, "restored": problem.why.is_attribute() }))?;
            continue;
        }
        attributes += usize::from(problem.why.is_attribute());
        match problem.why.is_attribute() && attributes > TOLD_MAX {
            true => untold += 1,
            false => tracing::error!("{at}: {why}"),
        }
    }
    if untold > 0 {
        tracing::error!("{untold} more attribute(s) could not be set; --json names them all");
    }
    Ok(())
}

fn counts_json(c: &Counts) -> Value {
    json!({
        "created": c.created, "replaced": c.replaced, "changed": c.changed, "linked": c.linked, "kept": c.kept,
        "removed": c.removed, "bytes": c.bytes,
    })
}

fn counts_text(c: &Counts) -> String {
    format!(
        "{} created, {} replaced, {} with other attributes, {} linked, {} removed, {} kept as they were; {} written",
        c.created,
        c.replaced,
        c.changed,
        c.linked,
        c.removed,
        c.kept,
        show_size(c.bytes)
    )
}
