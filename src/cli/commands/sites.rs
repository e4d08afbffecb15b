//! `bygone sites`.

use serde_json::{Value, json};

use crate::cli::args::sites::Sites;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{json_bytes, json_time};
use crate::cli::sizes::show_size;
use crate::config::site::Site as Settings;
use crate::progress::Quiet;
use crate::repo::sites::{self, Point, Site};
use crate::sys::clock;
use crate::types::{
    path,
    time::Instant,
    when::{
        show::{ago, show_second},
        zone::Zone,
    },
};

/// Runs it.
pub fn run(context: &Context, args: &Sites) -> Result<Outcome, Failure> {
    let settings = open::sites(context, &args.sites)?;
    let at = open::attached(context)?;
    open::catch_up_to_read(&at, &Quiet)?;
    let (known, reader, now) = (sites::all(at.dir()), at.reader().into_failure()?, clock::now());
    let (mut out, zone, mut outcome) = (context.out(), context.zone()?, Outcome::Done);
    for one in settings {
        let site = known.get(&one.name).cloned().unwrap_or_default();
        if let Some(why) = one.no_copy(&context.config.repository) {
            match context.json {
                true => out.json(&json!({ "site": one.name, "repository": one.repository, "error": why }))?,
                false => out.line(format_args!("{}  {}\n  {why}", one.name, one.repository))?,
            }
            outcome = Outcome::Failed;
            continue;
        }
        let points = sites::points(&reader, &site, |of| one.wants(&context.config.host, of)).into_failure()?;
        match context.json {
            true => out.json(&as_json(one, &site, &points, now))?,
            false => tell((&mut out, &zone), one, &site, &points, now)?,
        }
    }
    out.finish()?;
    Ok(outcome)
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// How many seconds would be lost of the source of which most would be; `None` where nothing was ever brought there.
fn worst(points: &[Point], now: Instant) -> i64 {
    points.iter().map(|point| point.behind_ns(now)).max().unwrap_or(0)
}

fn as_json(one: &Settings, site: &Site, points: &[Point], now: Instant) -> Value {
    let time = |ns: Option<i64>| ns.filter(|ns| *ns != 0).map(|ns| json_time(Instant(ns)));
    let sources: Vec<Value> = points
        .iter()
        .map(|p| {
            json!({
                "host": p.source.host, "root": json_bytes(&p.source.root), "snapshot": p.held.map(|(number, _)| number.0),
                "time": p.held.map(|(_, time)| json_time(time)), "newest": p.newest.0, "lost_seconds": seconds(p.behind_ns(now)),
            })
        })
        .collect();
    json!({
        "site": one.name, "repository": one.repository, "last_run": time(Some(site.last.ended_ns)),
        "last_success": time(site.succeeded_ns), "error": site.last.error, "failures": site.failures,
        "gone_back": site.gone_back.as_ref().map(|b| json!({ "time": time(Some(b.at_ns)), "how": b.how })), "copied": site.last.copied,
        "bytes": site.last.bytes, "objective_seconds": one.objective.map(|o| o.as_secs()),
        "recovery_point_seconds": seconds(worst(points, now)), "tiers": site.tiers, "sources": sources,
    })
}

fn tell(
    (out, zone): (&mut Out, &Zone),
    one: &Settings,
    site: &Site,
    points: &[Point],
    now: Instant,
) -> Result<(), Failure> {
    let at = |ns: i64| format!("{} ({})", show_second(Instant(ns), zone), ago(Instant(ns), now));
    out.line(format_args!("{}  {}", one.name, one.repository))?;
    match (&site.last.error, site.last.ended_ns) {
        (_, 0) => out.line("  last run    never")?,
        (None, ns) => out.line(format_args!(
            "  last run    {}: {} object(s), {}",
            at(ns),
            site.last.copied,
            show_size(site.last.bytes)
        ))?,
        (Some(why), ns) => out.line(format_args!("  last run    {}: {why}", at(ns)))?,
    }
    if let Some(ns) = site.succeeded_ns.filter(|_| site.last.error.is_some()) {
        out.line(format_args!("  succeeded   {}", at(ns)))?;
    }
    if let Some(back) = &site.gone_back {
        out.line(format_args!("  gone back   {}: {}", at(back.at_ns), back.how))?;
    }
    if let Some(tiers) = site.holding().tiers_in_words() {
        out.line(format_args!("  whole       the snapshots of the tier {tiers}, and no others"))?;
    }
    for p in points {
        let (root, host) = (path::show(&p.source.root), path::show(p.source.host.as_bytes()));
        let has = p.held.map_or_else(|| "nothing".to_owned(), |(number, _)| format!("up to snapshot {number}"));
        let loss = match p.lacks_since {
            None => "nothing would be lost".to_owned(),
            Some(_) => format!("{:.0} s would be lost", seconds(p.behind_ns(now)).ceil()),
        };
        out.line(format_args!("  {root} on {host}: {has} of {}; {loss}", p.newest))?;
    }
    Ok(())
}
