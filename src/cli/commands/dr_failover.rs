//! `bygone dr failover`.

use std::sync::Arc;

use serde_json::json;

use super::dr::{can_swap, failure, no_service, site, swap};
use crate::cli::args::dr::DrFailover;
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{json_bytes, json_time};
use crate::cli::trail;
use crate::config::site::{Site, SiteRole};
use crate::dr::{
    loss::{self, Loss},
    takeover::{self, Taking},
};
use crate::repo::{
    attach::Attached,
    audit::event::{Event, Kind, Outcome as Ended},
    promotion::{self, Standing},
};
use crate::sys::clock::SystemClock;
use crate::types::{path, when::show::show_second};

/// Runs it.
pub(super) fn run(context: &Context, args: &DrFailover) -> Result<Outcome, Failure> {
    let site = site(context, Some(&args.site))?;
    may_take_over(site)?;
    can_swap(context, site)?;
    if !args.dry_run {
        no_service(context)?;
    }
    // Nothing here opens the repository of the settings: it may be a place that hangs.
    let (here, copy) = (context.at(site), open::copy_by_key(context, site)?);
    copy.check(context.need).into_failure()?;
    let id = copy.id();
    takeover::check_unused(&context.config.state, id).map_err(|e| failure(&e))?;
    let at = Attached::open(Arc::new(copy), &here.config.state, Arc::new(SystemClock)).into_failure()?;
    let replayed = open::catch_up(&at, &*bar::on_stderr(!context.quiet && !context.json))?;
    let standing = promotion::standing(at.repo().store()).into_failure()?;
    let reader = at.reader().into_failure()?;
    let known = loss::losses(&context.config.state, id, &reader).map_err(|e| failure(&e))?;
    let follows = standing.here.is_some() && !standing.is_fenced();
    tell(context, site, (&standing, follows), known.as_deref(), args.dry_run)?;
    if !follows && !args.accept_loss {
        accepted(site, known.as_deref(), args.dry_run)?;
    }
    if args.dry_run {
        return Ok(if replayed.problems.is_empty() { Outcome::Done } else { Outcome::Partial });
    }
    let audit = trail::open(&here, at.repo());
    let number = match follows {
        true => standing.number(),
        false => promote(context, site, &at)?,
    };
    let lost: Vec<_> = known.iter().flatten().filter(|loss| !loss.is_none()).map(as_json).collect();
    let event = Event::new(Kind::Failover, Ended::Done)
        .about("site", site.name.as_str())
        .about("location", site.repository.to_string())
        .detail("before", context.config.repository.to_string())
        .detail("promotion", number)
        .detail("follows", follows)
        .detail("lost", lost);
    let mut outcome = trail::told(audit.record(event));
    at.repo().store().settle().explain(|| "the audit trail waits on this host until the copy takes it")?;
    drop((audit, reader, at));
    takeover::move_state((&context.config.state, &here.config.state), id, number).map_err(|e| failure(&e))?;
    swap(context, site)?;
    if !replayed.problems.is_empty() {
        outcome = outcome.and(Outcome::Partial);
    }
    let mut out = context.out();
    if !context.json && !context.quiet {
        out.line(format_args!(
            "{} goes on as {} (promotion {number}); {} is the site {} now. Start the service, or take a snapshot with `bygone snapshot`",
            site.repository, site.name, context.config.repository, context.config.site_name
        ))?;
    }
    out.finish()?;
    Ok(outcome)
}

fn may_take_over(site: &Site) -> Result<(), Failure> {
    if site.role == SiteRole::Archive {
        return Err(Failure::new(format!("the site {} is an archive, and never takes over", site.name))
            .hint("give it `role = \"standby\"` in the settings if it is to"));
    }
    if !site.sources.is_empty() {
        return Err(Failure::new(format!(
            "the site {} has a part of the sources only: the others would go on nowhere",
            site.name
        ))
        .hint("take `sources` off it in the settings if it is to take over all the same"));
    }
    Ok(())
}

fn promote(context: &Context, site: &Site, at: &Attached) -> Result<u32, Failure> {
    let by = Taking {
        host: context.config.host.clone(),
        site: site.name.clone(),
        location: site.repository.to_string(),
        before: context.config.repository.to_string(),
    };
    let reader = at.reader().into_failure()?;
    takeover::promote(at.repo(), &reader, &[], &by).map_err(|e| failure(&e))
}

/// Fails where something would be lost, or nobody can tell.
fn accepted(site: &Site, known: Option<&[Loss]>, dry_run: bool) -> Result<(), Failure> {
    let lost = known.unwrap_or_default().iter().filter(|loss| !loss.is_none()).count();
    if dry_run || (known.is_some() && lost == 0) {
        return Ok(());
    }
    let what = match known {
        Some(_) => {
            format!("the copy at {} lacks what was captured last of {lost} source(s): nothing was changed", site.name)
        }
        None => format!(
            "this host can't tell what the copy at {} lacks, since it knows nothing of the place before: nothing was changed",
            site.name
        ),
    };
    Err(Failure::new(what).hint(
        "give --accept-loss to go on without it; bring the repository back, or wait for it, if that is less harm",
    ))
}

fn as_json(loss: &Loss) -> serde_json::Value {
    json!({
        "host": loss.source.host, "root": json_bytes(&loss.source.root), "snapshot": loss.held.map(|(number, _)| number.0),
        "time": loss.held.map(|(_, time)| json_time(time)), "newest": loss.newest.0, "lost_seconds": loss.seconds(),
    })
}

fn tell(
    context: &Context,
    site: &Site,
    (standing, follows): (&Standing, bool),
    known: Option<&[Loss]>,
    dry_run: bool,
) -> Result<(), Failure> {
    let (mut out, zone) = (context.out(), context.zone()?);
    if context.json {
        let sources: Option<Vec<_>> = known.map(|all| all.iter().map(as_json).collect());
        out.json(&json!({
            "kind": "failover", "site": site.name, "repository": site.repository, "before": context.config.repository,
            "promotion": if follows { standing.number() } else { standing.number() + 1 }, "follows": follows,
            "sources": sources, "dry_run": dry_run,
        }))?;
        return out.finish();
    }
    if follows {
        out.line(format_args!(
            "{} was promoted already (promotion {}): these settings follow it",
            site.name,
            standing.number()
        ))?;
    }
    for loss in known.unwrap_or_default() {
        let (root, host) = (path::show(&loss.source.root), path::show(loss.source.host.as_bytes()));
        let point = loss.held.map_or_else(
            || "nothing of it is there".to_owned(),
            |(number, time)| format!("recovered up to snapshot {number}, {}", show_second(time, &zone)),
        );
        let lost = match loss.is_none() {
            true => "all that this host knows of".to_owned(),
            false => format!("{:.1} s are lost, up to snapshot {}", loss.seconds(), loss.newest),
        };
        out.line(format_args!("{root} on {host}: {point}; {lost}"))?;
    }
    if known.is_none() {
        out.line("this host knows nothing of the place before: what that had beyond the copy, nobody can tell here")?;
    }
    if dry_run {
        out.line(format_args!(
            "would promote {} and name it as the repository in {}, and {} as the site {}",
            site.repository,
            context.config.path.display(),
            context.config.repository,
            context.config.site_name
        ))?;
    }
    out.finish()
}
