//! `bygone schedule next`.

use std::iter::Peekable;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::args::schedule::{Next, ScheduleCommand};
use crate::cli::context::Context;
use crate::cli::outcome::{Failure, Outcome};
use crate::cli::past::json_time;
use crate::config::jobs::{self, Assigned};
use crate::schedule::planner::{Run, Why, runs_after};
use crate::sys::clock;
use crate::types::{
    duration::show_duration,
    when::{human, wall::show_minute},
};

/// Runs it.
pub fn run(context: &Context, command: &ScheduleCommand) -> Result<Outcome, Failure> {
    match command {
        ScheduleCommand::Next(args) => next(context, args),
    }
}

fn next(context: &Context, args: &Next) -> Result<Outcome, Failure> {
    let now = clock::now();
    let zone = jobs::zone(&context.config);
    let after = match &args.after {
        Some(text) => human::parse_time(text, now, &zone).map_err(Failure::usage)?.instant,
        None => now,
    };
    let jobs = jobs::jobs(&context.config);
    if jobs.is_empty() && !context.json && !context.quiet {
        tracing::warn!(
            "nothing has a schedule: give a source `full` or `differential`, or add a [[job]]; bygone.toml(5) says how"
        );
    }
    let mut coming: Vec<_> = jobs.iter().map(|job| (job, runs_after(&job.job, after).peekable())).collect();
    let mut out = context.out();
    for _ in 0..args.count {
        let Some((job, run)) = earliest(&mut coming) else { break };
        match context.json {
            true => out.json(&as_json(job, &run))?,
            false => out.line(as_text(job, &run))?,
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

/// Takes the earliest of the next runs of all jobs; the first job's, of several at once.
fn earliest<'a, I: Iterator<Item = Run>>(coming: &mut [(&'a Assigned, Peekable<I>)]) -> Option<(&'a Assigned, Run)> {
    let starts = coming.iter_mut().enumerate().filter_map(|(n, (_, runs))| Some((runs.peek()?.start, n)));
    let (_, n) = starts.min()?;
    let (job, runs) = &mut coming[n];
    Some((job, runs.next()?))
}

fn as_text(job: &Assigned, run: &Run) -> String {
    let at = show_minute(run.start, &job.job.zone);
    let what = match &job.source {
        Some(source) => format!("{}  {}", job.task.word(), source.display()),
        None if job.job.name == job.task.word() => job.job.name.clone(),
        None => format!("{}  {}", job.job.name, job.task.word()),
    };
    format!("{at}  {what}  {}", why(job, run))
}

/// The schedule, and what moved the run away from it.
fn why(job: &Assigned, run: &Run) -> String {
    let schedule = &job.job.schedule;
    let scheduled = show_minute(run.scheduled, &job.job.zone);
    match run.why {
        Why::Postponed(window) => format!("{schedule}; postponed from {scheduled} by the blackout {window}"),
        _ if run.start > run.scheduled => {
            let late = (run.start.0 - run.scheduled.0) / 1_000_000_000;
            format!("{schedule}; {} later by jitter", show_duration(Duration::from_secs(late.unsigned_abs())))
        }
        _ => schedule.to_string(),
    }
}

fn as_json(job: &Assigned, run: &Run) -> Value {
    let (why, blackout) = match run.why {
        Why::Postponed(window) => ("postponed", Some(window.to_string())),
        _ => ("scheduled", None),
    };
    json!({
        "start": json_time(run.start), "local": show_minute(run.start, &job.job.zone),
        "scheduled": json_time(run.scheduled),
        "job": job.job.name, "run": job.task, "source": job.source,
        "schedule": job.job.schedule.to_string(), "zone": job.job.zone.name(), "why": why, "blackout": blackout,
    })
}
