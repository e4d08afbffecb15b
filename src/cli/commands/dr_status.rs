//! `bygone dr status`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::dr::failure;
use crate::cli::args::dr::DrStatus;
use crate::cli::context::Context;
use crate::cli::open::{self, Reads};
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{json_bytes, json_time};
use crate::config::site::Site as Settings;
use crate::dr::{
    estimate::{self, Estimate},
    standing::{self, Found, Side},
};
use crate::progress::Quiet;
use crate::repo::{
    attach::Attached,
    promotion::{self, Standing},
    replay::Replayed,
    sites::{self, Point, Site},
};
use crate::sys::clock;
use crate::types::{path, snapshot::Source, time::Instant, when::show::ago};

/// A site as it stands.
struct Stands<'a> {
    one: &'a Settings,
    found: Result<Found, String>,
    side: Option<Side>,
    points: Vec<Point>,
    estimate: Estimate,
    missed: Vec<String>,
}

impl Stands<'_> {
    fn behind(&self, now: Instant) -> f64 {
        self.points.iter().map(|point| point.behind_ns(now)).max().unwrap_or(0) as f64 / 1e9
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &DrStatus) -> Result<Outcome, Failure> {
    let settings = open::sites(context, &args.sites)?;
    let at = open::attached_with(context, Reads::Fresh)?;
    let replayed = Arc::new(open::catch_up_to_read(&at, &Quiet)?);
    let own = promotion::standing(at.repo().store()).into_failure()?;
    let now = clock::now();
    let mut out = context.out();
    let mut outcome = Outcome::Done;
    let fenced = promotion::goes_on(at.repo()).err().map(|e| e.to_string());
    tell_own(context, &mut out, &own, fenced.as_deref())?;
    if fenced.is_some() {
        outcome = Outcome::Partial;
    }
    for one in settings {
        let stands = stands(context, (&at, &replayed), one, Duration::from_secs(args.within), now)?;
        if !stands.missed.is_empty() {
            outcome = Outcome::Partial;
        }
        match context.json {
            true => out.json(&as_json(&stands, now))?,
            false => tell(&mut out, &stands, now)?,
        }
    }
    out.finish()?;
    Ok(outcome)
}

fn stands<'a>(
    context: &Context,
    (at, replayed): (&Arc<Attached>, &Arc<Replayed>),
    one: &'a Settings,
    within: Duration,
    now: Instant,
) -> Result<Stands<'a>, Failure> {
    let noted = sites::all(at.dir()).remove(&one.name);
    let copy = open::copy(at.repo(), &context.config, one)?;
    let found = standing::ask(at, copy, replayed, within);
    let reader = at.reader().into_failure()?;
    // Of one that does not answer, what it had last is told, and counts for nothing.
    let held = match &found {
        Ok(found) => found.held.clone(),
        Err(_) => noted.as_ref().map(|site| site.held.clone()).unwrap_or_default(),
    };
    let known = Site { held, ..Site::default() };
    let points = sites::points(&reader, &known, |of| one.wants(&context.config.host, of)).into_failure()?;
    let wanted: Vec<Source> = points.iter().map(|point| point.source.clone()).collect();
    let of_site = context.at(one);
    let last = noted.as_ref().map(|site| &site.last);
    let estimate =
        estimate::estimate((&context.config, &of_site.config), &reader, &wanted, last).map_err(|e| failure(&e))?;
    let side = found.as_ref().ok().map(|found| match (&found.standing.here, found.standing.is_fenced()) {
        (_, true) => Side::Fenced,
        (Some(_), false) => Side::GoesOn,
        (None, false) => Side::Copy,
    });
    let mut stands = Stands { one, found, side, points, estimate, missed: Vec::new() };
    stands.missed = missed(&stands, now);
    Ok(stands)
}

/// Why it is not as it should be, each reason.
fn missed(stands: &Stands<'_>, now: Instant) -> Vec<String> {
    let (one, mut missed) = (stands.one, Vec::new());
    match &stands.found {
        Err(why) => missed.push(format!("nothing can be recovered from there now: {why}")),
        Ok(found) => {
            if stands.side == Some(Side::GoesOn) {
                missed.push(format!(
                    "it was promoted (promotion {}), and these settings do not follow it: `bygone dr failover {}`",
                    found.standing.number(),
                    one.name
                ));
            }
            if found.beyond > 0 {
                missed.push(format!(
                    "both sides wrote: it has {} part(s) of histories that are not here; `bygone dr rejoin {}` keeps both",
                    found.beyond, one.name
                ));
            }
            if found.lacking_packs > 0 {
                missed.push(format!(
                    "it lacks {} pack(s) that its history needs: `bygone replicate`",
                    found.lacking_packs
                ));
            }
        }
    }
    let behind = stands.behind(now);
    if let Some(objective) = one.objective.filter(|objective| behind > objective.as_secs_f64()) {
        let why = "`bygone sites` says how its last run ended";
        missed.push(format!(
            "{behind:.1} s would be lost, and its objective allows {:.1} s: {why}",
            objective.as_secs_f64()
        ));
    }
    if let Some(wanted) = one.recovery_time.map(|time| time.as_secs_f64()) {
        match stands.estimate.seconds {
            Some(seconds) if seconds <= wanted => {}
            Some(seconds) => {
                missed.push(format!("recovery would take {seconds:.1} s, and its objective allows {wanted:.1} s"))
            }
            None => missed.push("how long recovery would take is not known, and it has an objective".to_owned()),
        }
    }
    missed
}

fn as_json(stands: &Stands<'_>, now: Instant) -> Value {
    let one = stands.one;
    let reached = stands.found.is_ok();
    let sources: Vec<Value> = stands
        .points
        .iter()
        .map(|p| {
            json!({
                "host": p.source.host, "root": json_bytes(&p.source.root), "snapshot": p.held.map(|(number, _)| number.0),
                "time": p.held.map(|(_, time)| json_time(time)), "newest": p.newest.0, "lost_seconds": p.behind_ns(now) as f64 / 1e9,
            })
        })
        .collect();
    json!({
        "kind": "site", "site": one.name, "role": one.role.word(), "repository": one.repository, "reached": reached,
        "why_not_reached": stands.found.as_ref().err(), "side": stands.side.map(Side::word),
        "promotion": stands.found.as_ref().ok().map(|found| found.standing.number()),
        "diverged": stands.found.as_ref().ok().map(|found| found.beyond),
        "recovery_point_seconds": reached.then(|| stands.behind(now)),
        "recovery_point_objective_seconds": one.objective.map(|time| time.as_secs_f64()),
        "recovery_time_seconds": stands.estimate.seconds, "recovery_time_by": stands.estimate.by,
        "recovery_time_objective_seconds": one.recovery_time.map(|time| time.as_secs_f64()),
        "sources": sources, "missed": stands.missed,
    })
}

fn tell_own(context: &Context, out: &mut Out, own: &Standing, fenced: Option<&str>) -> Result<(), Failure> {
    let (config, side) = (&context.config, standing::side(own));
    if context.json {
        return out.json(&json!({
            "kind": "repository", "site": config.site_name, "repository": config.repository, "side": side.word(),
            "promotion": own.number(), "fenced": fenced,
        }));
    }
    let number = match own.number() {
        0 => String::new(),
        n => format!(" (promotion {n})"),
    };
    let word = if side == Side::Fenced { "is fenced" } else { "goes on" };
    out.line(format_args!("{}  {}: the repository, {word}{number}", config.site_name, config.repository))?;
    match fenced {
        Some(why) => out.line(format_args!("  missed: {why}")),
        None => Ok(()),
    }
}

fn tell(out: &mut Out, stands: &Stands<'_>, now: Instant) -> Result<(), Failure> {
    let one = stands.one;
    let side = match stands.side {
        None => "does not answer",
        Some(Side::GoesOn) => "goes on",
        Some(Side::Copy) => "a copy",
        Some(Side::Fenced) => "a copy, fenced",
    };
    out.line(format_args!("{}  {}: {}, {side}", one.name, one.repository, one.role.word()))?;
    for p in &stands.points {
        let (root, host) = (path::show(&p.source.root), path::show(p.source.host.as_bytes()));
        let has = p.held.map_or_else(
            || "nothing".to_owned(),
            |(number, time)| format!("up to snapshot {number} of {}, {}", p.newest, ago(time, now)),
        );
        let had = if stands.found.is_ok() { "has" } else { "had, when it answered last," };
        let loss = match p.lacks_since {
            None => "nothing would be lost".to_owned(),
            Some(_) => format!("{:.1} s would be lost", p.behind_ns(now) as f64 / 1e9),
        };
        out.line(format_args!("  {root} on {host}: it {had} {has}; {loss}"))?;
    }
    let objective =
        |wanted: Option<Duration>| wanted.map_or(String::new(), |w| format!(", of {:.0} s allowed", w.as_secs_f64()));
    let point = match stands.found {
        Ok(_) => format!("{:.1} s{}", stands.behind(now), objective(one.objective)),
        Err(_) => format!("none can be reached{}", objective(one.objective)),
    };
    out.line(format_args!("  recovery point  {point}"))?;
    let time = match stands.estimate.seconds {
        Some(seconds) => format!("{seconds:.1} s{}, by {}", objective(one.recovery_time), stands.estimate.by),
        None => format!("not known{}: {}", objective(one.recovery_time), stands.estimate.by),
    };
    out.line(format_args!("  recovery time   {time}"))?;
    stands.missed.iter().try_for_each(|why| out.line(format_args!("  missed: {}", path::tame(why))))
}
