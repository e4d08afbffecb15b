//! `bygone replicate`: plan, print, act.

use serde_json::{Value, json};

use crate::cli::args::sites::Replicate;
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open::{self, Reads};
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::sizes::show_size;
use crate::cli::trail;
use crate::config::site::Site as Settings;
use crate::replicate::plan::Plan;
use crate::replicate::run::{self, Replicated, Site};
use crate::repo::attach::Attached;
use crate::repo::audit::writer::Audit;
use crate::sys::process::Signals;

/// So many objects of a kind are named in text; in JSON all are.
const NAMED: usize = 20;

/// Runs it.
pub fn run(context: &Context, args: &Replicate) -> Result<Outcome, Failure> {
    let settings = open::sites(context, &args.sites)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached_with(context, Reads::Fresh)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let replayed = open::catch_up(&at, &*bar)?;
    let audit = trail::open(context, at.repo());
    let (mut out, mut outcome, mut failed) = (context.out(), Outcome::Done, None);
    for one in settings {
        let site = site(context, &at, one, args.anew)?;
        let ended = match args.dry_run {
            true => run::look(&at, &site, &replayed)
                .into_failure()
                .and_then(|plan| tell_plan(context, &mut out, one, &plan).map(|()| Outcome::Done)),
            false => {
                let ended = run::replicate(&at, &site, &replayed, &*bar, &signals.flag()).into_failure();
                let told = recorded(&audit, one, &ended);
                ended.and_then(|all| tell(context, &mut out, one, &all).map(|ended| ended.and(told)))
            }
        };
        match ended {
            Ok(ended) => outcome = outcome.and(ended),
            // One site that is out of reach does not keep the others from being brought up to date.
            Err(e) => {
                tracing::error!("site {}: {}", one.name, e.in_short());
                failed.get_or_insert(e);
            }
        }
    }
    out.finish()?;
    if let Err(e) = at.repo().store().settle() {
        tracing::warn!("the audit trail waits on this host until the store takes it: {e}");
    }
    failed.map_or(Ok(outcome), Err)
}

fn site<'a>(context: &Context, at: &Attached, one: &'a Settings, anew: bool) -> Result<Site<'a>, Failure> {
    let copy = open::copy(at.repo(), &context.config, one)?;
    Ok(Site {
        name: &one.name,
        copy,
        sources: one.sources_of(&context.config.host),
        tiers: one.tiers.clone(),
        anew,
        hands_over: false,
    })
}

fn recorded(audit: &Audit, one: &Settings, ended: &Result<Replicated, Failure>) -> Outcome {
    let ended = match ended {
        Ok(all) => Ok(all.clone()),
        Err(e) => Err(e.in_short()),
    };
    match run::event(&one.name, &one.repository.to_string(), &ended) {
        Some(event) => trail::told(audit.record(event)),
        None => Outcome::Done,
    }
}

fn tell_plan(context: &Context, out: &mut Out, one: &Settings, plan: &Plan) -> Result<(), Failure> {
    if context.json {
        let objects = |all: &[crate::store::api::Object]| -> Vec<Value> {
            all.iter().map(|object| json!({ "object": object.name, "bytes": object.len })).collect()
        };
        return out.json(&json!({
            "kind": "plan", "site": one.name, "repository": one.repository, "new": plan.is_new, "same": plan.same,
            "copy": objects(&plan.copy), "bytes": plan.bytes(), "delete": objects(&plan.remove), "kept": kept_json(plan),
            "differing": plan.differing.iter().map(|d| json!({ "object": d.name, "bytes": d.here, "bytes_at_site": d.there })).collect::<Vec<_>>(),
        }));
    }
    let n = plan.copy.len();
    out.line(format_args!(
        "{}: {} object(s) are there already; {n} object(s), {}, would be copied, and {} deleted",
        one.name,
        plan.same,
        show_size(plan.bytes()),
        plan.remove.len()
    ))?;
    let named = |sign: &str, objects: &[crate::store::api::Object], out: &mut Out| {
        for object in objects.iter().take(NAMED) {
            out.line(format_args!("  {sign} {}  {}", object.name, show_size(object.len)))?;
        }
        match objects.len() > NAMED {
            true => out.line(format_args!("  {sign} and {} more", objects.len() - NAMED)),
            false => Ok(()),
        }
    };
    named("+", &plan.copy, out)?;
    named("-", &plan.remove, out)?;
    kept_text(out, plan)
}

fn kept_json(plan: &Plan) -> Vec<Value> {
    plan.kept.iter().map(|k| json!({ "object": k.name, "why": k.why, "origin_lost_it": k.is_lost })).collect()
}

fn kept_text(out: &mut Out, plan: &Plan) -> Result<(), Failure> {
    let kept: Vec<_> = plan.kept.iter().filter(|kept| kept.is_lost).collect();
    for kept in kept.iter().take(NAMED) {
        out.line(format_args!("  kept at the site: {}: {}", kept.name, kept.why))?;
    }
    if kept.len() > NAMED {
        out.line(format_args!("  and {} more are kept there", kept.len() - NAMED))?;
    }
    if !kept.is_empty() {
        out.line(
            "  to do: find out who or what deleted them here; `bygone verify --against SITE --repair` brings back what is missing",
        )?;
    }
    Ok(())
}

fn tell(context: &Context, out: &mut Out, one: &Settings, all: &Replicated) -> Result<Outcome, Failure> {
    let done = &all.done;
    let gone_back = run::gone_back(all);
    let outcome = match (all.is_whole() && gone_back.is_none(), done.stopped) {
        (true, _) => Outcome::Done,
        (false, true) => Outcome::Failed,
        (false, false) => Outcome::Partial,
    };
    if context.json {
        let problems: Vec<Value> = done.problems.iter().map(|p| json!({ "object": p.object, "why": p.why })).collect();
        out.json(&json!({
            "kind": "done", "site": one.name, "repository": one.repository, "same": all.plan.same, "copied": done.copied,
            "bytes": done.bytes, "mended": done.mended, "deleted": done.removed, "deleted_bytes": done.removed_bytes,
            "locked": done.locked, "vanished": done.vanished, "problems": problems, "kept": kept_json(&all.plan),
            "interrupted": done.stopped, "whole": all.is_whole(), "gone_back": all.gone_back,
        }))?;
        return Ok(outcome);
    }
    for problem in &done.problems {
        out.line(format_args!("{}: {}: {}; not copied", one.name, problem.object, problem.why))?;
    }
    if !context.quiet {
        let mended = match done.mended {
            0 => String::new(),
            n => format!(", replaced {n} that were damaged there"),
        };
        out.line(format_args!(
            "{}: copied {} object(s), {}{mended}; deleted {}; {} were there already",
            one.name,
            done.copied,
            show_size(done.bytes),
            done.removed,
            all.plan.same
        ))?;
    }
    if let Some(gone_back) = gone_back {
        out.line(format_args!("{}: {gone_back}", one.name))?;
    }
    kept_text(out, &all.plan)?;
    let is_told = !done.problems.is_empty() || all.plan.kept.iter().any(|kept| kept.is_lost);
    if let Some(why) = run::why_not(all).filter(|_| !is_told) {
        out.line(format_args!("{}: {why}", one.name))?;
    }
    Ok(outcome)
}
