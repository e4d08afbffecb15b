//! `bygone plan`: check, list, show, runs, stop, confirm, undo. Running one has a file of its own.

use serde_json::{Value, json};

use super::{plan_run, plan_told};
use crate::cli::args::plan::{Plan, PlanCheck, PlanConfirm, PlanRuns, PlanShow, PlanStop};
use crate::cli::context::{Context, absolute};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::config::check::Problem;
use crate::plan::{
    check,
    error::PlanError,
    journal::{self, Ending},
    model::{self, Work},
    parse::{self, Read},
    places::{self, RunDir},
    show,
};
use crate::sys::{clock, durable};
use std::path::PathBuf;

/// Runs it.
pub fn run(context: &Context, command: &Plan) -> Result<Outcome, Failure> {
    match command {
        Plan::Check(args) => check_all(context, args),
        Plan::List => list(context),
        Plan::Show(args) => show_one(context, args),
        Plan::Run(args) => plan_run::run(context, args),
        Plan::Runs(args) => runs(context, args),
        Plan::Stop(args) => stop(context, args),
        Plan::Confirm(args) => confirm(context, args),
        Plan::Undo(args) => plan_run::undo(context, args),
    }
}

/// What failed, with what to do.
pub(super) fn failure(e: &PlanError) -> Failure {
    let failure = match e {
        PlanError::Input(_) => Failure::usage(e),
        _ => Failure::from_error(e),
    };
    match e {
        PlanError::NoRun { .. } => failure.hint("`bygone plan runs` lists them"),
        PlanError::Busy { run, .. } => failure.hint(format!("`bygone plan stop {run}` asks it to stop")),
        PlanError::Over { .. } => failure.hint("run the plan anew"),
        PlanError::HalfDone { step } => failure.hint(format!(
            "look how far it came; then --again {step} begins it again, or --passed {step} takes it for done"
        )),
        PlanError::Journal { .. } => {
            failure.hint("run the plan anew with --anew; the directory of the run can be moved away")
        }
        _ => failure,
    }
}

/// The file of a plan as it was named, absolute.
fn file(context: &Context, named: &str) -> Result<PathBuf, Failure> {
    absolute(&places::plan_file(&context.config, named))
}

/// Reads a plan, which has to be there.
pub(super) fn load(context: &Context, named: &str) -> Result<Read, Failure> {
    let path = file(context, named)?;
    parse::load(&path).map_err(|e| match &e {
        PlanError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::usage(format!("there is no plan {}", path.display()))
                .hint("`bygone plan list` shows what there is; a path with a slash names any file")
        }
        _ => failure(&e),
    })
}

fn check_all(context: &Context, args: &PlanCheck) -> Result<Outcome, Failure> {
    let named: Vec<String> = match args.plans.is_empty() {
        false => args.plans.clone(),
        true => {
            let all = places::plans(&context.config).map_err(|e| failure(&e))?;
            all.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
        }
    };
    let mut out = context.out();
    let mut outcome = Outcome::Done;
    if named.is_empty() && !context.json {
        out.line(format_args!("there are no plans in {}", places::plans_dir(&context.config).display()))?;
    }
    for name in named {
        let read = load(context, &name)?;
        let problems = check::check(&read, &context.config);
        if !problems.is_empty() {
            outcome = Outcome::Usage;
        }
        if context.json {
            let problems: Vec<Value> = problems.iter().map(problem_json).collect();
            out.json(&json!({ "plan": read.plan.name, "file": read.plan.path, "problems": problems }))?;
            continue;
        }
        for p in &problems {
            out.line(format_args!("{}: {}\n  to do: {}", p.place, p.what, p.cure))?;
        }
        if problems.is_empty() && !context.quiet {
            out.line(format_args!("{}: no mistakes, {} step(s)", read.plan.path.display(), read.plan.steps.len()))?;
        }
    }
    out.finish()?;
    Ok(outcome)
}

fn problem_json(p: &Problem) -> Value {
    json!({ "file": p.place.path, "line": p.place.line, "column": p.place.column, "what": p.what, "to_do": p.cure })
}

/// A plan without mistakes; else all of them, as a failure.
pub(super) fn good(context: &Context, read: Read) -> Result<(model::Plan, String), Failure> {
    let problems = check::check(&read, &context.config);
    let Some(first) = problems.first() else { return Ok((read.plan, read.text)) };
    for p in &problems[1..] {
        tracing::error!("{}: {}; to do: {}", p.place, p.what, p.cure);
    }
    Err(Failure::usage(format!("{}: {}", first.place, first.what)).hint(&first.cure))
}

fn list(context: &Context) -> Result<Outcome, Failure> {
    let mut out = context.out();
    for path in places::plans(&context.config).map_err(|e| failure(&e))? {
        let read = parse::load(&path).map_err(|e| failure(&e))?;
        let mistakes = check::check(&read, &context.config).len();
        let plan = &read.plan;
        let about = plan.about.lines().next().unwrap_or_default();
        match context.json {
            true => out.json(&json!({ "plan": plan.name, "file": path, "about": plan.about, "steps": plan.steps.len(), "mistakes": mistakes }))?,
            false if mistakes > 0 => out.line(format_args!("{}  {mistakes} mistake(s): `bygone plan check {}`", plan.name, plan.name))?,
            false => out.line(format_args!("{}  {about}", plan.name))?,
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn show_one(context: &Context, args: &PlanShow) -> Result<Outcome, Failure> {
    let (plan, _) = good(context, load(context, &args.plan)?)?;
    let mut out = context.out();
    match context.json {
        true => out.json(&plan_told::plan_json(&plan))?,
        false => show::runbook(&plan).into_iter().try_for_each(|line| out.line(crate::types::path::tame(&line)))?,
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn runs(context: &Context, args: &PlanRuns) -> Result<Outcome, Failure> {
    let mut out = context.out();
    let mut all = RunDir::all(&context.config).map_err(|e| failure(&e))?;
    if let Some(id) = &args.run {
        RunDir::find(&context.config, id).map_err(|e| failure(&e))?;
        all.retain(|(run, _)| run.id == *id);
    }
    let zone = context.zone()?;
    for (run, story) in &all {
        match (context.json, &args.run) {
            (true, _) => out.json(&plan_told::run_json(run, story))?,
            (false, None) => out.line(plan_told::run_line(run, story, &zone))?,
            (false, Some(_)) => {
                plan_told::run_lines(run, story, &zone).into_iter().try_for_each(|line| out.line(line))?
            }
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn stop(context: &Context, args: &PlanStop) -> Result<Outcome, Failure> {
    let run = RunDir::find(&context.config, &args.run).map_err(|e| failure(&e))?;
    if run.process().is_none() {
        return Err(Failure::new(format!("no process runs {}", run.id)).hint("`bygone plan runs` shows how runs stand"));
    }
    durable::replace(&run.stop(), b"", 0o600).into_failure()?;
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "run": run.id, "asked": "stop" }))?,
        false if context.quiet => {}
        false => out.line(format_args!("{} is asked to stop; --resume goes on with it", run.id))?,
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn confirm(context: &Context, args: &PlanConfirm) -> Result<Outcome, Failure> {
    let run = RunDir::find(&context.config, &args.run).map_err(|e| failure(&e))?;
    let story = journal::read(&run.journal()).map_err(|e| failure(&e))?;
    let plan = parse::load(&run.plan(&story.plan)).map_err(|e| failure(&e))?.plan;
    let is_manual = plan.step(&args.step).is_some_and(|step| matches!(step.work, Work::Manual { .. }));
    if !is_manual {
        let all = plan.steps.iter().filter(|step| matches!(step.work, Work::Manual { .. }));
        let all: Vec<&str> = all.map(|step| step.name.as_str()).collect();
        let failure = Failure::usage(format!("{} is no manual step of {}", args.step, run.id));
        return Err(failure.hint(format!("its manual steps are: {}", all.join(", "))));
    }
    if story.ended.get(&args.step).is_some_and(|ended| ended.ending == Ending::Done) || story.over.is_some() {
        return Err(Failure::new(format!("the step {} of {} is over", args.step, run.id)));
    }
    let who = trail::who(context);
    let name = who.sudo_user.or(who.login_user).or(who.user).unwrap_or_else(|| who.uid.to_string());
    let when = crate::types::when::show::exact_name(clock::now());
    durable::replace(&run.confirmed(&args.step), format!("{name} at {when}\n").as_bytes(), 0o600).into_failure()?;
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "run": run.id, "confirmed": args.step, "by": name }))?,
        false if context.quiet => {}
        false => out.line(format_args!("{} of {} is confirmed", args.step, run.id))?,
    }
    out.finish()?;
    Ok(Outcome::Done)
}
