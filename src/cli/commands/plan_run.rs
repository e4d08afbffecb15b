//! `bygone plan run` and `bygone plan undo`.

use serde_json::json;

use super::plan::{failure, good, load};
use super::plan_hands::Terminal;
use super::plan_told::{compared, estimate_lines, run_json, steps_json, undone_json};
use crate::cli::args::plan::{PlanRun, PlanUndo};
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::plan::{
    error::PlanError,
    estimate::Estimate,
    ground::Ground,
    inputs,
    journal::{Over, Story},
    model::Plan,
    places::RunDir,
    rates::{self, Rates},
    run::{Choices, Ran, Run},
};
use crate::repo::attach::Attached;
use crate::repo::audit::{
    event::{Event, Kind, Outcome as Ended},
    writer::Audit,
};
use crate::sys::{clock, process::Signals};
use crate::types::{
    path::tame,
    time::Instant,
    when::{
        human::{Resolved, parse_time},
        zone::Zone,
    },
};
use crate::view::names;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Runs it.
pub(super) fn run(context: &Context, args: &PlanRun) -> Result<Outcome, Failure> {
    match (&args.plan, &args.resume) {
        (_, Some(id)) => resume(context, args, id),
        (Some(plan), None) => begin(context, args, plan),
        (None, None) => Err(Failure::usage("name a plan, or a run by --resume")),
    }
}

/// Opens what steps stand on.
fn with_ground<T>(
    context: &Context,
    yes_manual: bool,
    work: impl FnOnce(&Ground<'_>, Outcome) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let at = open::attached(context)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let outcome = match open::catch_up(&at, &*bar)?.problems.is_empty() {
        true => Outcome::Done,
        false => Outcome::Partial,
    };
    let hands = Terminal::new(context, yes_manual);
    work(&Ground { config: &context.config, at, zone: context.zone()?, hands: &hands, stage: None }, outcome)
}

fn begin(context: &Context, args: &PlanRun, named: &str) -> Result<Outcome, Failure> {
    let (plan, text) = good(context, load(context, named)?)?;
    let given = given(&args.set)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    with_ground(context, args.yes_manual, |ground, outcome| {
        let text_of_time = args.at.as_deref().unwrap_or_default();
        let at = resolved(ground, text_of_time)?;
        let values = inputs::values(&plan, &given, &at, &ground.zone).map_err(|e| failure(&e))?;
        let rates = Rates::load(&context.config).map_err(|e| failure(&e))?;
        if args.dry_run {
            let estimate = Estimate::of(ground, &plan, &values, &rates);
            return tell_estimate(context, &plan, &at, &estimate).map(|told| outcome.and(told));
        }
        unfinished(context, args, &plan)?;
        let estimate = Estimate::of(ground, &plan, &values, &rates);
        let run = Run::begin(ground, (plan, &text), &at, values, estimate).map_err(|e| failure(&e))?;
        go(context, ground, run, &signals.flag(), false).map(|ended| outcome.and(ended))
    })
}

fn resume(context: &Context, args: &PlanRun, id: &str) -> Result<Outcome, Failure> {
    let dir = RunDir::find(&context.config, id).map_err(|e| failure(&e))?;
    let choices = Choices { again: args.again.clone(), passed: args.passed.clone() };
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    with_ground(context, args.yes_manual, |ground, outcome| {
        let run = Run::resume(dir, &choices).map_err(|e| failure(&e))?;
        go(context, ground, run, &signals.flag(), false).map(|ended| outcome.and(ended))
    })
}

/// Takes a run back.
pub(super) fn undo(context: &Context, args: &PlanUndo) -> Result<Outcome, Failure> {
    let dir = RunDir::find(&context.config, &args.run).map_err(|e| failure(&e))?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    with_ground(context, false, |ground, outcome| {
        let run = Run::to_undo(dir).map_err(|e| match e {
            PlanError::Over { .. } => Failure::from_error(&e).hint(
                "a run that is over can't be taken back. What its steps made stays: remove it, or bring back what stood there before, as of \
                 a time before the run (`bygone restore --before-change PATH`), or what a restore has kept aside (`bygone aside list`)",
            ),
            e => failure(&e),
        })?;
        go(context, ground, run, &signals.flag(), true).map(|ended| outcome.and(ended))
    })
}

pub(super) fn given(sets: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
        None => Err(Failure::usage(format!("--set {text:?} has no =: write --set NAME=VALUE"))),
    };
    sets.iter().map(pair).collect()
}

/// The time that is recovered to. The newest of all is that of the newest snapshot, also where the clock has been put back since.
fn resolved(ground: &Ground<'_>, text: &str) -> Result<Resolved, Failure> {
    resolved_at(&ground.at, &ground.config.host, &ground.zone, text)
}

/// The same, of a host and in a zone.
pub(super) fn resolved_at(at: &Attached, host: &str, zone: &Zone, text: &str) -> Result<Resolved, Failure> {
    let mut time = parse_time(text, clock::now(), zone).map_err(Failure::usage)?;
    if time.latest {
        let index = at.reader().into_failure()?;
        let whose = crate::view::whose::Whose::own(at, host).into_failure()?;
        let newest = names::newest(&index, &whose, Instant(i64::MAX)).into_failure()?;
        time.instant = time.instant.max(newest.unwrap_or(time.instant));
    }
    Ok(time)
}

/// A run of the plan that has stopped: it is gone on with, or given up.
fn unfinished(context: &Context, args: &PlanRun, plan: &Plan) -> Result<(), Failure> {
    for (run, story) in RunDir::all(&context.config).map_err(|e| failure(&e))? {
        if story.plan != plan.name || story.over.is_some() || story.file != plan.path {
            continue;
        }
        if run.process().is_some() {
            return Err(Failure::new(format!("the plan {} is being run already: {}", plan.name, run.id))
                .hint(format!("`bygone plan stop {}` asks it to stop", run.id)));
        }
        if !args.anew {
            return Err(Failure::new(format!("a run of the plan {} has not come to its end: {}", plan.name, run.id))
                .hint(format!(
                    "`bygone plan run --resume {}` goes on with it; --anew gives it up and begins anew",
                    run.id
                )));
        }
        Run::give_up(&run).map_err(|e| failure(&e))?;
    }
    Ok(())
}

fn tell_estimate(context: &Context, plan: &Plan, at: &Resolved, estimate: &Estimate) -> Result<Outcome, Failure> {
    let mut out = context.out();
    match context.json {
        true => {
            out.json(&json!({ "plan": plan.name, "at": at.text, "would": estimate, "amount": estimate.amount() }))?
        }
        false => {
            out.line(format_args!("plan {} at {}", plan.name, at.text))?;
            estimate_lines(plan, estimate).into_iter().try_for_each(|line| out.line(line))?;
        }
    }
    out.finish()?;
    // What a step before it sets is not known yet; anything else is a problem.
    let later = |why: &String| why.starts_with("${");
    let is_well = estimate.steps.values().all(|e| e.problem.as_ref().is_none_or(later));
    Ok(if is_well { Outcome::Done } else { Outcome::Partial })
}

/// Runs it to its end, with all of it in the audit trail.
fn go(context: &Context, ground: &Ground<'_>, run: Run, stop: &AtomicBool, undo: bool) -> Result<Outcome, Failure> {
    let audit = trail::open(context, ground.at.repo());
    let (dir, plan) = (run.dir.clone(), run.plan.clone());
    let begun = event(Ended::Begun, &dir.id, &run.story()).detail("inputs", json!(run.story().values));
    let recorded = trail::told(audit.record(begun));
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "run": dir.id, "plan": plan.name, "at": run.story().at }))?,
        false if context.quiet => {}
        false => out.line(tame(&format!("run {} of the plan {}, at {}", dir.id, plan.name, run.story().at)))?,
    }
    out.finish()?;
    let ran = match undo {
        true => run.undo(ground, stop),
        false => run.go(ground, stop),
    };
    let ran = match ran {
        Ok(ran) => ran,
        Err(e) => {
            let failure = failure(&e).hint(format!("`bygone plan run --resume {}` goes on with it", dir.id));
            return ended(&audit, ground, &dir, None, Err(failure));
        }
    };
    if let Err(e) = rates::note(&context.config, &plan, &dir.id, &ran.story) {
        tracing::warn!("what the run took is not noted for estimates: {e}");
    }
    let result = match (undo, ran.story.over) {
        (true, Some(Over::RolledBack)) => taken_back(context, &dir, &ran),
        _ => verdict(context, &dir, &plan, &ran),
    };
    ended(&audit, ground, &dir, Some(&ran.story), result).map(|outcome| outcome.and(recorded))
}

fn ended(
    audit: &Audit,
    ground: &Ground<'_>,
    dir: &RunDir,
    story: Option<&Story>,
    result: Result<Outcome, Failure>,
) -> Result<Outcome, Failure> {
    let read = crate::plan::journal::read(&dir.journal()).unwrap_or_default();
    let story = story.unwrap_or(&read);
    let of = |ended| {
        let compared = rates::compared(&dir.id, story);
        event(ended, &dir.id, story)
            .detail("steps", steps_json(story))
            .detail("undone", undone_json(story))
            .detail("over", story.over.map(|over| over.words()))
            .detail("estimated_ms", compared.estimated_ms)
            .detail("took_ms", compared.took_ms)
    };
    trail::ended_and_stored(audit, ground.at.repo(), result, of)
}

fn event(ended: Ended, run: &str, story: &Story) -> Event {
    Event::new(Kind::PlanRun, ended)
        .about("plan", story.plan.clone())
        .about("run", run)
        .detail("as_of", story.at.clone())
}

/// That a run was taken back, as somebody asked for.
fn taken_back(context: &Context, dir: &RunDir, ran: &Ran) -> Result<Outcome, Failure> {
    let mut out = context.out();
    match context.json {
        true => out.json(&run_json(dir, &ran.story))?,
        false if context.quiet => {}
        false => out.line(format_args!("{} is taken back: {} step(s)", dir.id, ran.story.undone.len()))?,
    }
    out.finish()?;
    Ok(Outcome::Done)
}

/// How the command ends, told.
fn verdict(context: &Context, dir: &RunDir, plan: &Plan, ran: &Ran) -> Result<Outcome, Failure> {
    let story = &ran.story;
    let mut out = context.out();
    if context.json {
        out.json(&run_json(dir, story))?;
    } else if !context.quiet && matches!(story.over, Some(Over::Done | Over::Partial)) {
        let over = story.over.map_or("", |over| over.words());
        out.line(format_args!("{over}: {} step(s), {}", story.ended.len(), compared(&dir.id, story)))?;
    }
    out.finish()?;
    match story.over {
        Some(Over::Done) => Ok(Outcome::Done),
        Some(Over::Partial) => Ok(Outcome::Partial),
        Some(over) => Err(rolled_back(context, dir, plan, story, over)),
        None => {
            let why = story.stopped.clone().unwrap_or_default();
            Err(Failure::new(format!("the run has stopped: {why}")).hint(format!(
                "`bygone plan run --resume {}` goes on with it; `bygone plan undo {}` takes it back",
                dir.id, dir.id
            )))
        }
    }
}

fn rolled_back(context: &Context, dir: &RunDir, plan: &Plan, story: &Story, over: Over) -> Failure {
    let why = story.rolling_back.clone().unwrap_or_default();
    let failure = Failure::new(format!("{}: {why}", over.words()));
    let has_undo = |name: &&String| plan.step(name).is_some_and(|step| step.undo.is_some());
    let stays = story.order.iter().filter(|name| !has_undo(name) && story.ended[*name].amount.files > 0);
    let stays: Vec<&str> = stays.map(String::as_str).collect();
    let config = shown(&context.config.path);
    let mut hint = format!("`bygone --config {config} plan runs {}` shows all steps", dir.id);
    if !stays.is_empty() {
        hint.push_str(&format!(
            "; what these made stays, since they do not say how it is taken back: {}",
            stays.join(", ")
        ));
    }
    failure.hint(hint)
}

fn shown(path: &Path) -> String {
    crate::types::path::show(path.as_os_str().as_encoded_bytes())
}
