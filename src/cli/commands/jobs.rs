//! `bygone jobs`, and how a service stands, for people.

use crate::cli::context::Context;
use crate::cli::out::Out;
use crate::cli::outcome::{Failure, Outcome};
use crate::cli::service;
use crate::daemon::protocol::{Answer, What};
use crate::daemon::standing::{JobStatus, Paused, Standing, TaskState, TaskStatus};
use crate::sys::clock;
use crate::types::{
    time::Instant,
    when::{
        show::{ago, show_second},
        zone::Zone,
    },
};

/// Runs it.
pub fn run(context: &Context) -> Result<Outcome, Failure> {
    let mut told = None;
    service::must(context, What::Jobs, &mut |answer| {
        if let Answer::Standing { service, .. } = answer {
            told = Some(service);
        }
    })?;
    let mut out = context.out();
    match told {
        Some(standing) if context.json => standing.jobs.iter().try_for_each(|job| out.json(job))?,
        Some(standing) => list((&mut out, &context.zone()?), &standing)?,
        None => {}
    }
    out.finish()?;
    Ok(context.looked(Outcome::Done))
}

fn list((out, zone): (&mut Out, &Zone), standing: &Standing) -> Result<(), Failure> {
    if standing.jobs.is_empty() {
        tracing::warn!("nothing has a schedule; bygone.toml(5) says how to give one");
    }
    standing.jobs.iter().try_for_each(|one| job((&mut *out, zone), one, ""))?;
    others((out, zone), standing)
}

/// What runs and is no job of the settings.
fn others((out, zone): (&mut Out, &Zone), standing: &Standing) -> Result<(), Failure> {
    let is_job = |name: &str| standing.jobs.iter().any(|job| job.name == name);
    for work in standing.running.iter().filter(|work| !is_job(&work.name)) {
        out.line(format_args!("{}\n  runs        {}", work.name, since(work.since_ns, zone)))?;
    }
    Ok(())
}

fn job((out, zone): (&mut Out, &Zone), job: &JobStatus, indent: &str) -> Result<(), Failure> {
    // Its times are shown in the zone of the settings, which may be another than that of its schedule.
    let apart = (!job.zone.is_empty() && job.zone != zone.name()).then(|| format!(" {}", job.zone));
    out.line(format_args!("{indent}{}  ({}{})", job.name, job.schedule, apart.unwrap_or_default()))?;
    if let Some(ns) = job.running_ns {
        out.line(format_args!("{indent}  runs        {}", since(ns, zone)))?;
    }
    if let Some(ns) = job.next_ns {
        let why = job.next_why.as_deref().filter(|why| *why != "scheduled").map(|why| format!(", {why}"));
        out.line(format_args!("{indent}  next        {}{}", at(ns, zone), why.unwrap_or_default()))?;
    }
    if let Some(ns) = job.succeeded_ns {
        let result = job.last_result.as_deref().map(|result| format!(": {result}")).unwrap_or_default();
        out.line(format_args!("{indent}  succeeded   {}{result}", at(ns, zone)))?;
    }
    if let Some(error) = &job.last_error {
        let when = job.ended_ns.map(|ns| format!("{}: ", at(ns, zone))).unwrap_or_default();
        out.line(format_args!("{indent}  failed      {when}{error}"))?;
    }
    Ok(())
}

/// How a service stands, below how sources stand.
pub(super) fn print((out, zone): (&mut Out, &Zone), standing: &Standing) -> Result<(), Failure> {
    out.line(format_args!("\nservice  process {}, {}", standing.pid, since(standing.since_ns, zone)))?;
    if let Some(Paused { since_ns, until_ns }) = standing.paused {
        let until = until_ns.map_or_else(|| "`bygone resume`".to_owned(), |ns| at(ns, zone));
        out.line(format_args!("  paused      {}, until {until}", since(since_ns, zone)))?;
    }
    if let Some(held) = &standing.held_back {
        let behind = held
            .behind_ns
            .map_or_else(String::new, |ns| format!("; the recovery point is {} s behind", ns / 1_000_000_000));
        let (by, changes) = (&held.by, held.changes);
        out.line(format_args!(
            "  held back   by {by} pressure, {}; {changes} change(s) wait{behind}",
            since(held.since_ns, zone)
        ))?;
    }
    if let Some(refused) = &standing.refused {
        out.line(format_args!("  refused     new settings, {}: {}", at(refused.at_ns, zone), refused.why))?;
    }
    if let Some(trouble) = &standing.trouble {
        out.line(format_args!("  trouble     {trouble}"))?;
    }
    for channel in standing.undelivered.iter().filter(|channel| channel.waiting > 0) {
        let why = channel.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        out.line(format_args!("  {}: {} notification(s) wait{why}", channel.channel, channel.waiting))?;
    }
    standing.tasks.iter().try_for_each(|one| task((&mut *out, zone), one))?;
    for one in &standing.jobs {
        job((&mut *out, zone), one, "  ")?;
    }
    Ok(())
}

fn task((out, zone): (&mut Out, &Zone), task: &TaskStatus) -> Result<(), Failure> {
    let note = task.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    out.line(format_args!("  {}{note}", task.name))?;
    if let Some(error) = &task.last_error {
        let when = task.failed_ns.map(|ns| at(ns, zone)).unwrap_or_default();
        let again = match (task.state, task.again_ns) {
            (TaskState::Waiting, Some(ns)) => format!("; begun again {}", at(ns, zone)),
            _ => String::new(),
        };
        out.line(format_args!("    failed    {when}: {error}{again}"))?;
    }
    Ok(())
}

fn at(ns: i64, zone: &Zone) -> String {
    show_second(Instant(ns), zone)
}

fn since(ns: i64, zone: &Zone) -> String {
    format!("since {} ({})", at(ns, zone), ago(Instant(ns), clock::now()))
}
