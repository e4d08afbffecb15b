//! `bygone maintain`: plan, print, act.

use serde_json::json;

use crate::cli::args::upkeep::Maintain;
use crate::cli::bar;
use crate::cli::commands::give_up;
use crate::cli::context::Context;
use crate::cli::open::{self, Reads};
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{json_bytes, json_time};
use crate::cli::sizes::show_size;
use crate::cli::trail;
use crate::config::jobs;
use crate::repo::{
    audit::event::{Event, Kind, Outcome as Ended},
    collect::sweep,
};
use crate::retention::maintain::{Maintained, Maintenance, SourcePlan};
use crate::sys::clock;
use crate::types::{ids::Id, path, when::show::exact_name};

/// Runs it.
pub fn run(context: &Context, args: &Maintain) -> Result<Outcome, Failure> {
    let at = open::attached_with(context, Reads::Fresh)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    if let Some(root) = &args.give_up {
        return give_up::run(context, &at, (root, args.host.as_deref(), args.dry_run), &*bar);
    }
    if let Err(e) = sweep::caught_up(&at, &*bar) {
        return Err(Failure::new(format!("nothing was changed: {e}"))
            .hint("`bygone verify` says what is damaged, and what depends on it"));
    }
    let audit = trail::open(context, at.repo());
    if let Some(id) = &args.retire {
        return retire(context, &at, &audit, id);
    }
    let zone = jobs::zone(&context.config);
    let maintenance =
        Maintenance { at: &at, config: &context.config, zone: &zone, now: clock::now(), thorough: args.thorough };
    let plans = maintenance.plan().into_failure()?;
    let mut out = context.out();
    tell_plans(context, &plans, &mut out)?;
    if args.dry_run {
        out.finish()?;
        return Ok(Outcome::Done);
    }
    let noted = trail::note_policy(context, at.repo(), &audit);
    let done = match maintenance.act(&plans, &audit, &*bar).into_failure() {
        Ok(done) => done,
        // What was done before it failed may not be undone: that it was tried stands in the trail.
        Err(failure) => {
            let event = |ended: Ended| Event::new(Kind::Maintain, ended);
            return trail::ended_and_stored(&audit, at.repo(), Err(failure), event);
        }
    };
    at.repo().store().settle().explain(|| "what was done waits on this host until it is stored")?;
    tell(context, &done, &mut out)?;
    out.finish()?;
    Ok(if done.swept.locked == 0 { noted } else { noted.and(Outcome::Partial) })
}

fn retire(
    context: &Context,
    at: &crate::repo::attach::Attached,
    audit: &crate::repo::audit::writer::Audit,
    id: &str,
) -> Result<Outcome, Failure> {
    let host = Id::parse(id)
        .ok_or_else(|| Failure::usage(format!("{id} is no id of a host: `bygone maintain` names them")))?;
    let retired = sweep::retire(at, host, &context.config.host).explain(|| format!("cannot retire the host {id}"));
    let retired = retired.map(|()| Outcome::Done);
    let ended = trail::ended_and_stored(audit, at.repo(), retired, |ended: Ended| {
        Event::new(Kind::Maintain, ended).about("retired_host", id)
    })?;
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "retired": id }))?,
        false if context.quiet => {}
        false => out.line(format_args!("nobody waits for the host {id} any more"))?,
    }
    out.finish()?;
    Ok(ended)
}

fn tell_plans(context: &Context, plans: &[SourcePlan], out: &mut Out) -> Result<(), Failure> {
    for plan in plans {
        let (root, all, released) = (&plan.source.root, plan.verdicts.len(), plan.released().len());
        if context.json {
            out.json(&json!({
                "kind": "plan", "source": json_bytes(root), "instants": all, "released": released,
                "segments": plan.segments, "incomplete": plan.incomplete, "now": plan.merge,
            }))?;
        } else if !context.quiet {
            let when = match (released, plan.merge) {
                (0, false) => "",
                (0, true) if plan.incomplete => {
                    "; records of it are not in the repository any more, and its history is written again from the index"
                }
                (0, true) => "; its history is merged",
                (_, true) => "; they go now, and its history is merged",
                (_, false) => "; too few to be worth it now, --thorough does it",
            };
            out.line(format_args!("{}: {released} of {all} instant(s) are released{when}", path::show(root)))?;
        }
    }
    Ok(())
}

fn tell(context: &Context, done: &Maintained, out: &mut Out) -> Result<(), Failure> {
    if context.json {
        let awaited: Vec<_> = done
            .awaited
            .iter()
            .map(|a| json!({ "id": a.id.to_string(), "host": a.host, "since": json_time(a.since) }))
            .collect();
        return out.json(&json!({
            "kind": "done", "released": done.released, "merged": done.merged, "restored": done.restored,
            "marked_packs": done.marked.packs, "marked_bytes": done.marked.bytes, "moved_packs": done.marked.moved.0,
            "made_packs": done.marked.moved.1, "marked_journal_objects": done.marked.objects,
            "deleted_packs": done.swept.packs, "deleted_bytes": done.swept.bytes,
            "deleted_journal_objects": done.swept.objects, "needed_after_all": done.swept.rescued,
            "locked": done.swept.locked, "waits_for": awaited,
        }));
    }
    if context.quiet {
        return Ok(());
    }
    out.line(format_args!(
        "released {} instant(s), merged {} history(ies)",
        done.released,
        done.merged + done.restored
    ))?;
    let (from, to) = done.marked.moved;
    if from > 0 {
        out.line(format_args!("made {from} pack(s) into {to}"))?;
    }
    out.line(format_args!(
        "marked {} pack(s), {}, and {} journal object(s)",
        done.marked.packs,
        show_size(done.marked.bytes),
        done.marked.objects
    ))?;
    out.line(format_args!(
        "deleted {} pack(s), {}, and {} journal object(s)",
        done.swept.packs,
        show_size(done.swept.bytes),
        done.swept.objects
    ))?;
    if done.swept.locked > 0 {
        out.line(format_args!("{} object(s) stay until the store's lock on them is over", done.swept.locked))?;
    }
    for a in &done.awaited {
        out.line(format_args!(
            "the rest waits for the host {}, known since {} (id {}): it looks when it captures next; `bygone maintain --retire {}` if \
             it will not come back",
            a.host,
            exact_name(a.since),
            a.id,
            a.id
        ))?;
    }
    Ok(())
}
