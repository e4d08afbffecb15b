//! What a restore tells: its plan, what is missing for it, what it did.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::out::Out;
use crate::cli::outcome::Failure;
use crate::cli::sizes::show_size;
use crate::restore::{
    check::{Checked, Unmet},
    plan::Plan,
    report::{Counts, Problem, Report, Why},
};
use crate::types::{
    path,
    when::{human::Resolved, show, zone::Zone},
};
use crate::view::instant::Part;

/// How many problems of one sort are told one by one.
const TOLD_MAX: usize = 20;

/// The instant that was understood, before anything is done.
pub(super) fn tell_time(context: &Context, parts: &[&Part], when: &Resolved, zone: &Zone) -> Result<(), Failure> {
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

/// What keeps a plan from being carried out, and users that are not known here.
pub(super) fn tell_checked(context: &Context, checked: &Checked) -> Result<(), Failure> {
    let mut out = context.out();
    for unmet in &checked.unmet {
        let at = path::show(&unmet.path);
        match context.json {
            true => out.json(&json!({
                "path": at, "unmet": unmet.what.word(), "why": unmet.text, "hint": unmet.cure,
            }))?,
            false => tracing::error!("{at}: {}; {}", unmet.text, unmet.cure),
        }
    }
    let unknown = [("user", "--map-owner", &checked.unknown_users), ("group", "--map-group", &checked.unknown_groups)];
    for (what, option, ids) in unknown {
        for (id, count) in ids {
            match context.json {
                true => out.json(&json!({ "unknown": what, "id": id, "files": count }))?,
                false => tracing::warn!(
                    "{count} file(s) will belong to the {what} {id}, which has no name on this machine; {option} {id}=NAME gives them to another"
                ),
            }
        }
    }
    out.finish()
}

/// Files that would be replaced: the first ones, and for a program all.
pub(super) fn tell_taken(context: &Context, taken: &[Unmet]) -> Result<(), Failure> {
    let mut out = context.out();
    for (n, unmet) in taken.iter().enumerate() {
        let at = path::show(&unmet.path);
        match context.json {
            true => out.json(&json!({
                "path": at, "unmet": unmet.what.word(), "why": unmet.text, "hint": unmet.cure,
            }))?,
            false if n < TOLD_MAX => tracing::error!("{at}: {}", unmet.text),
            false => {}
        }
    }
    if !context.json && taken.len() > TOLD_MAX {
        tracing::error!("and {} more; --json names them all", taken.len() - TOLD_MAX);
    }
    out.finish()
}

pub(super) fn tell_plan(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let mut out = context.out();
    for step in plan.steps() {
        match context.json {
            true => out.json(&json!({ "do": step.verb, "path": path::show(&step.path), "bytes": step.bytes }))?,
            false => out.line(format_args!("{:8} {}", step.verb, path::show(&step.path)))?,
        }
    }
    tell_apart(context, plan)?;
    tell_problems(context, &mut out, &plan.problems)?;
    match context.json {
        true => out.json(&json!({ "would": counts_json(&plan.will) }))?,
        false => out.line(format_args!("would have {}", counts_text(&plan.will)))?,
    }
    out.finish()
}

/// Which files become files of their own.
pub(super) fn tell_apart(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let mut out = context.out();
    for (n, at) in plan.apart.iter().enumerate() {
        let (at, why) = (
            path::show(at),
            "a file of its own: its other names of that time are not restored with it, and lead to something else now",
        );
        match context.json {
            true => out.json(&json!({ "path": at, "apart": why }))?,
            false if n < TOLD_MAX => tracing::warn!("{at} becomes {why}"),
            false => {}
        }
    }
    let more = plan.apart.len().saturating_sub(TOLD_MAX);
    if more > 0 && !context.json {
        tracing::warn!("and {more} more become files of their own; --json names them all");
    }
    out.finish()
}

pub(super) fn tell(context: &Context, report: &Report, stop: &AtomicBool) -> Result<(), Failure> {
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
    let (mut attributes, mut untold, mut not_held) = (0, 0, 0);
    for problem in problems {
        let (at, why) = (path::show(&problem.path), problem.why.to_string());
        if context.json {
            out.json(&json!({ "path": at, "why": why, "restored": problem.why.is_attribute() }))?;
            continue;
        }
        attributes += usize::from(problem.why.is_attribute());
        not_held += usize::from(matches!(problem.why, Why::NotHeld));
        match problem.why {
            Why::Attribute(_) if attributes > TOLD_MAX => untold += 1,
            Why::NotHeld if not_held > TOLD_MAX => {}
            _ => tracing::error!("{at}: {why}"),
        }
    }
    if not_held > 0 {
        tracing::error!(
            "{not_held} path(s) were left where they are since no snapshot holds them as they are now{}; --aside restores them too, and \
             keeps what it replaces or deletes on the disk",
            if not_held > TOLD_MAX { ", of which the first are named above and --json names all" } else { "" }
        );
    }
    if untold > 0 {
        tracing::error!("{untold} more attribute(s) could not be set; --json names them all");
    }
    Ok(())
}

pub(super) fn counts_json(c: &Counts) -> Value {
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
