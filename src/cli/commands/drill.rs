//! `bygone drill`: run, list, show, coverage, verify.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;

use super::plan::{failure as plan_failure, good, load};
use super::plan_run::{given, resolved_at};
use super::{drill_inside, drill_told, drill_verify};
use crate::cli::args::drill::{Drill, DrillRun, DrillShow};
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::drill::{
    coverage::{self, coverage},
    error::DrillError,
    outside::{self, Asked},
    place::{self, DrillDir},
    record::{Record, Verdict},
    when::{self, Choice},
};
use crate::plan::inputs;
use crate::repo::attach::Attached;
use crate::repo::audit::event::{Event, Kind, Outcome as Ended};
use crate::sys::{clock, process, process::Signals};
use crate::types::{
    duration::parse_duration,
    path::{self, tame},
    time::Instant,
    when::{
        human::Resolved,
        show::{self, exact_name},
    },
};
use crate::view::{names, whose::Whose};

/// Runs it.
pub fn run(context: &Context, command: &Drill) -> Result<Outcome, Failure> {
    match command {
        Drill::Run(args) => rehearse(context, args, Vec::new()),
        Drill::List => list(context),
        Drill::Show(args) => show_one(context, args),
        Drill::Coverage => covered(context),
        Drill::Verify(args) => drill_verify::run(context, args),
        Drill::Inside(args) => drill_inside::run(context, args),
    }
}

fn failure(e: &DrillError) -> Failure {
    let failure = match e {
        DrillError::Plan(e) => plan_failure(e),
        _ => Failure::from_error(e),
    };
    match e {
        DrillError::NotRoot => failure.hint("run it by sudo, or let the service run it"),
        DrillError::NoDrill { .. } => failure.hint("`bygone drill list` lists them"),
        DrillError::NoSnapshot { .. } => failure.hint("take one with `bygone snapshot`"),
        _ => failure,
    }
}

/// Rehearses a plan; the directories `unreachable` can't be entered in the process apart.
pub(super) fn rehearse(context: &Context, args: &DrillRun, unreachable: Vec<PathBuf>) -> Result<Outcome, Failure> {
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached(context)?;
    // Whatever keeps a drill from running is a drill that failed, and stands in the trail.
    let audit = trail::open(context, at.repo());
    let result = asked(context, args, &at).and_then(|asked| {
        let asked = Asked { unreachable, ..asked };
        let config = &context.config;
        let drill = DrillDir::create(config, &asked.plan.name, clock::now()).map_err(|e| failure(&e))?;
        let _lock = drill.lock().map_err(|e| failure(&e))?;
        let command = apart(context, &drill)?;
        outside::run(config, &at, &drill, &asked, command, &signals.flag()).map_err(|e| failure(&e))
    });
    let record = result.as_ref().ok().cloned();
    let outcome = result.and_then(|record| tell(context, &record));
    trail::ended_and_stored(&audit, at.repo(), outcome, |ended| match &record {
        Some(record) => event(record),
        None => Event::new(Kind::Drill, ended).about("plan", args.plan.clone()),
    })
}

/// What is to be rehearsed, once it is seen that it can be: the plan without mistakes, the rights, an index that is up to date, the
/// instant and all inputs. What drills before have left goes.
fn asked(context: &Context, args: &DrillRun, at: &Arc<Attached>) -> Result<Asked, Failure> {
    let (plan, text) = good(context, load(context, &args.plan)?)?;
    let sets = given(&args.set)?;
    let time = |text: &Option<String>| text.as_deref().map(parse_duration).transpose().map_err(Failure::usage);
    let (recovery_time, recovery_point) = (time(&args.recovery_time)?, time(&args.recovery_point)?);
    if process::effective_uid() != 0 {
        return Err(failure(&DrillError::NotRoot));
    }
    sweep(context, at)?;
    open::catch_up(at, &*bar::on_stderr(!context.quiet && !context.json))?;
    let (resolved, point_at, chosen) = instant(context, args, at)?;
    let values = inputs::values(&plan, &sets, &resolved, &context.zone()?).map_err(|e| plan_failure(&e))?;
    let parts = args.parts;
    let unreachable = Vec::new();
    Ok(Asked { plan, text, at: resolved, point_at, chosen, values, recovery_time, recovery_point, parts, unreachable })
}

/// Takes away what killed drills have left, and records them as failed.
fn sweep(context: &Context, at: &Arc<Attached>) -> Result<(), Failure> {
    for drill in place::sweep(&context.config).map_err(|e| failure(&e))? {
        if let Some(record) = outside::cut_off(&context.config, at, &drill).map_err(|e| failure(&e))? {
            tracing::warn!("the drill {} was cut off; what it had left is removed", record.drill);
            // That it could not be recorded is told.
            let _told = trail::told(trail::open(context, at.repo()).record(event(&record)));
        }
    }
    Ok(())
}

/// The instant that it goes back to, the one for which the recovery point is measured, and how they were chosen.
fn instant(context: &Context, args: &DrillRun, at: &Arc<Attached>) -> Result<(Resolved, Instant, String), Failure> {
    let (zone, index) = (context.zone()?, at.reader().into_failure()?);
    let host = &context.config.host;
    let whose = Whose::own(at, host).into_failure()?;
    let choice = if args.worst { Some(Choice::Worst) } else { args.random.then_some(Choice::Random) };
    if let Some(choice) = choice {
        let instant = when::choose(&index, &whose, choice).map_err(|e| failure(&e))?;
        let word = if choice == Choice::Worst { "the worst case" } else { "at random" };
        let resolved = Resolved { instant, latest: false, text: show::show(instant, &zone) };
        return Ok((resolved, instant, word.to_owned()));
    }
    let text = args.at.as_deref().unwrap_or("latest");
    let mut resolved = resolved_at(at, host, &zone, text)?;
    let point_at = resolved.instant;
    if resolved.latest {
        // An instant that no snapshot can land before any more.
        let newest = names::newest(&index, &whose, Instant(i64::MAX)).into_failure()?;
        resolved.instant = newest.ok_or_else(|| failure(&DrillError::NoSnapshot { host: host.clone() }))?;
    }
    Ok((resolved, point_at, format!("asked for: {text}")))
}

/// The command of the process apart.
fn apart(context: &Context, drill: &DrillDir) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe().explain(|| "cannot find the program itself")?);
    command.arg("--config").arg(&context.config.path);
    if let Some(repository) = &context.repository_named {
        command.arg("--repo").arg(repository);
    }
    for (is, option) in [(context.json, "--json"), (context.quiet, "--quiet")] {
        if is {
            command.arg(option);
        }
    }
    command.args(["drill", "inside", &drill.id]);
    Ok(command)
}

/// What the audit trail tells of a drill.
fn event(record: &Record) -> Event {
    let ended = match record.verdict {
        Verdict::Passed => Ended::Done,
        Verdict::PassedInPart => Ended::Partial,
        Verdict::Failed => Ended::Failed,
    };
    let steps: Vec<_> = record
        .steps
        .iter()
        .map(|s| json!({ "step": s.step, "ended": s.ended, "took_ms": s.took_ms, "copying_ms": s.copying_ms }))
        .collect();
    let proved = &record.proved;
    Event::new(Kind::Drill, ended)
        .about("plan", record.plan.clone())
        .about("drill", record.drill.clone())
        .detail("as_of", exact_name(Instant(record.at_ns)))
        .detail("chosen", record.chosen.clone())
        .detail("steps", steps)
        .detail("failures", record.failures.iter().take(20).cloned().collect::<Vec<_>>())
        .detail("recovery_time_ms", record.recovery_time.ms)
        .detail("recovery_time_objective_ms", record.recovery_time.objective_ms)
        .detail("recovery_point_ms", record.recovery_point.ms)
        .detail("recovery_point_objective_ms", record.recovery_point.objective_ms)
        .detail("sources", proved.sources.clone())
        .detail("files", proved.files)
        .detail("bytes", proved.bytes)
        .detail("read_files", proved.read_files)
        .detail("read_bytes", proved.read_bytes)
        .detail("report", record.authentication.clone())
}

/// How the drill went, and how the command ends by that.
fn tell(context: &Context, record: &Record) -> Result<Outcome, Failure> {
    let mut out = context.out();
    match context.json {
        true => out.json(record)?,
        false if context.quiet => {}
        false => drill_told::lines(record, &context.zone()?).into_iter().try_for_each(|line| out.line(line))?,
    }
    out.finish()?;
    match record.verdict {
        Verdict::Passed => Ok(Outcome::Done),
        Verdict::PassedInPart => Ok(Outcome::Partial),
        Verdict::Failed => {
            let first = record.failures.first().map_or("", String::as_str);
            let more = match record.failures.len() {
                0 | 1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            Err(Failure::new(format!("the drill failed: {first}{more}"))
                .hint(format!("`bygone drill show {}` shows all of it", record.drill)))
        }
    }
}

fn list(context: &Context) -> Result<Outcome, Failure> {
    let (mut out, zone) = (context.out(), context.zone()?);
    for (_, record) in DrillDir::records(&context.config).map_err(|e| failure(&e))? {
        match context.json {
            true => out.json(&record)?,
            false => out.line(drill_told::line(&record, &zone))?,
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn show_one(context: &Context, args: &DrillShow) -> Result<Outcome, Failure> {
    let drill = DrillDir::find(&context.config, &args.drill).map_err(|e| failure(&e))?;
    let record: Record = place::read(&drill.record()).map_err(|e| failure(&e))?;
    let mut out = context.out();
    match context.json {
        true => out.json(&record)?,
        false => {
            drill_told::lines(&record, &context.zone()?).into_iter().try_for_each(|line| out.line(line))?;
            out.line(format_args!("report: {} and {}", drill.record().display(), drill.page().display()))?;
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn covered(context: &Context) -> Result<Outcome, Failure> {
    let (mut out, zone) = (context.out(), context.zone()?);
    let at = open::attached(context)?;
    let reader = at.reader().into_failure()?;
    let mut sizes = BTreeMap::new();
    for source in reader.sources()?.into_iter().filter(|source| source.host == context.config.host) {
        sizes.insert(path::show(&source.root), reader.extent(source.num)?);
    }
    let sources = coverage(&context.config, &sizes).map_err(|e| failure(&e))?;
    let whole = coverage::whole(&context.config, &sources).map_err(|e| failure(&e))?;
    for (source, covered) in &sources {
        match context.json {
            true => out.json(&json!({ "source": source, "covered": covered }))?,
            false => out.line(tame(&drill_told::covered(source, covered, &zone)))?,
        }
    }
    match context.json {
        true => out.json(&json!({ "whole": whole }))?,
        false => out.line(drill_told::whole(&whole))?,
    }
    out.finish()?;
    Ok(Outcome::Done)
}
