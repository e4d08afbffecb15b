//! `bygone dr failback` and `bygone dr rejoin`.

use std::sync::Arc;

use serde_json::json;

use super::dr::{can_swap, failure, no_service, site, swap};
use crate::cli::args::dr::{DrFailback, DrRejoin};
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open::{self, Reads};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::sizes::show_size;
use crate::cli::trail;
use crate::dr::{
    error::DrError,
    rejoin::{self, Joined},
    takeover::{self, Taking},
};
use crate::replicate::run::{self, Site};
use crate::repo::{
    audit::event::{Event, Kind, Outcome as Ended},
    names::REPOSITORY,
    promotion,
};
use crate::sys::process::Signals;
use crate::types::path::tame;

/// So many objects are named in the audit trail.
const NOTED_MAX: usize = 20;

/// Runs `bygone dr failback`.
pub(super) fn failback(context: &Context, args: &DrFailback) -> Result<Outcome, Failure> {
    let one = site(context, args.site.as_deref())?;
    if !one.sources.is_empty() {
        return Err(Failure::new(format!("the site {} has a part of the sources only", one.name))
            .hint("take `sources` off it in the settings if it is to be the repository"));
    }
    can_swap(context, one)?;
    if !args.dry_run {
        no_service(context)?;
    }
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached_with(context, Reads::Fresh)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let replayed = open::catch_up(&at, &*bar)?;
    let copy = open::copy(at.repo(), &context.config, one)?;
    let to = Site { name: &one.name, copy, sources: Vec::new(), tiers: Vec::new(), anew: args.anew, hands_over: true };
    let by = Taking {
        host: context.config.host.clone(),
        site: one.name.clone(),
        location: one.repository.to_string(),
        before: context.config.repository.to_string(),
    };
    let mut out = context.out();
    let own = promotion::standing(at.repo().store()).into_failure()?;
    if own.is_fenced() {
        let theirs = promotion::standing(to.copy.store()).into_failure()?;
        // One that was interrupted is gone on with; behind any other this place does not go on.
        if takeover::interrupted(at.repo(), &own, &theirs, &by.location).map_err(|e| failure(&e))?.is_none() {
            return promotion::goes_on(at.repo()).into_failure().map(|()| Outcome::Done);
        }
    }
    if args.dry_run {
        let plan = run::look(&at, &to, &replayed).map_err(|e| failure(&DrError::from(e)))?;
        match context.json {
            true => out.json(&json!({
                "kind": "failback", "site": one.name, "repository": one.repository, "copy": plan.copy.len(), "bytes": plan.bytes(),
                "same": plan.same, "dry_run": true,
            }))?,
            false => out.line(format_args!(
                "{}: {} object(s) are there already; {}, {}, would be copied, and {} promoted",
                one.name,
                plan.same,
                plan.copy.len(),
                show_size(plan.bytes()),
                one.repository
            ))?,
        }
        out.finish()?;
        return Ok(Outcome::Done);
    }
    let audit = trail::open(context, at.repo());
    let ended = takeover::hand_over(&at, &to, &by, &*bar, &signals.flag()).map_err(|e| failure(&e));
    let event = |ended| {
        Event::new(Kind::Failback, ended).about("site", one.name.as_str()).about("location", by.location.clone())
    };
    let (number, objects, bytes) = match ended {
        Ok(ended) => ended,
        Err(e) => return trail::ended_and_stored(&audit, at.repo(), Err(e), event),
    };
    let event = event(Ended::Done).detail("promotion", number).detail("copied", objects).detail("bytes", bytes);
    // What is told from now on stands where it goes on.
    let outcome = trail::told(trail::open(context, &Arc::new(to.copy)).record(event));
    swap(context, one)?;
    match context.json {
        true => out.json(&json!({
            "kind": "failback", "site": one.name, "repository": one.repository, "promotion": number, "copied": objects,
            "bytes": bytes, "dry_run": false,
        }))?,
        false if context.quiet => {}
        false => out.line(format_args!(
            "copied {objects} object(s), {}; {} goes on as {} (promotion {number}), and nothing is lost. Start the service, or take a snapshot with `bygone snapshot`",
            show_size(bytes),
            one.repository,
            one.name
        ))?,
    }
    out.finish()?;
    Ok(outcome)
}

/// Runs `bygone dr rejoin`.
pub(super) fn rejoin(context: &Context, args: &DrRejoin) -> Result<Outcome, Failure> {
    let one = site(context, args.site.as_deref())?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached_with(context, Reads::Fresh)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let replayed = open::catch_up(&at, &*bar)?;
    promotion::goes_on(at.repo()).into_failure()?;
    let place = || open::copy(at.repo(), &context.config, one);
    let (from, audit) = (place()?, trail::open(context, at.repo()));
    // Whoever writes there is to stop first.
    let fenced = match from.store().size(REPOSITORY) {
        // It is lost, and to be made anew.
        Err(e) if e.is_missing() => Ok(false),
        Err(e) => Err(e.into()),
        Ok(_) => promotion::fence(&from, at.repo()),
    };
    fenced.explain(|| format!("cannot fence {}", one.repository))?;
    let ended = rejoin::join(&at, &from, &replayed, &*bar, &signals.flag());
    let (joined, replayed) = match ended.map_err(|e| failure(&e)) {
        Ok(ended) => ended,
        Err(e) => return trail::ended_and_stored(&audit, at.repo(), Err(e), |ended| about(one, ended)),
    };
    // Of a record that does not follow the one before, it is told where it branches off: that is what was to be joined.
    replayed.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
    if joined.stopped || !joined.problems.is_empty() {
        tell(context, one, &joined, None)?;
        let ended = Ok(if joined.stopped { Outcome::Failed } else { Outcome::Partial });
        return trail::ended_and_stored(&audit, at.repo(), ended, |ended| noted(about(one, ended), &joined));
    }
    let replayed = open::catch_up(&at, &*bar)?;
    let to = Site {
        name: &one.name,
        copy: place()?,
        sources: one.sources_of(&context.config.host),
        tiers: one.tiers.clone(),
        anew: args.anew,
        hands_over: false,
    };
    let back = run::replicate(&at, &to, &replayed, &*bar, &signals.flag()).map_err(|e| failure(&DrError::from(e)));
    let ended = back.and_then(|back| {
        tell(context, one, &joined, Some(back.done.copied))?;
        Ok(match run::why_not(&back) {
            None => Outcome::Done,
            Some(why) => {
                tracing::error!("{}: {why}", one.name);
                Outcome::Partial
            }
        })
    });
    trail::ended_and_stored(&audit, at.repo(), ended, |ended| noted(about(one, ended), &joined))
}

fn about(one: &crate::config::site::Site, ended: Ended) -> Event {
    Event::new(Kind::Rejoin, ended).about("site", one.name.as_str()).about("location", one.repository.to_string())
}

fn noted(event: Event, joined: &Joined) -> Event {
    let problems: Vec<String> =
        joined.problems.iter().take(NOTED_MAX).map(|(name, why)| format!("{name}: {why}")).collect();
    event
        .detail("joined", joined.objects)
        .detail("segments", joined.segments)
        .detail("bytes", joined.bytes)
        .detail("problems", problems)
}

fn tell(context: &Context, one: &crate::config::site::Site, joined: &Joined, back: Option<u64>) -> Result<(), Failure> {
    let mut out = context.out();
    if context.json {
        let problems: Vec<_> =
            joined.problems.iter().map(|(name, why)| json!({ "object": name, "why": why })).collect();
        out.json(&json!({
            "kind": "rejoin", "site": one.name, "joined": joined.objects, "segments": joined.segments, "bytes": joined.bytes,
            "problems": problems, "interrupted": joined.stopped, "copied_back": back,
        }))?;
        return out.finish();
    }
    for (name, why) in &joined.problems {
        out.line(tame(&format!("{name}: {why}; not joined, and {} stays as it is", one.repository)))?;
    }
    let back = back.map_or_else(String::new, |n| format!("; copied {n} object(s) back: it is a copy now"));
    match joined.objects {
        0 => out.line(format_args!("{}: it has nothing that is not here{back}", one.name))?,
        n => out.line(format_args!(
            "{}: joined {n} object(s), {}, with {} part(s) of journals: `bygone list` has both histories{back}",
            one.name,
            show_size(joined.bytes),
            joined.segments
        ))?,
    }
    out.finish()
}
