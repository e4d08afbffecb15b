//! `bygone snapshot`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use crate::capture::{once, pace::Pace, report::Report};
use crate::cli::args::upkeep::Snapshot;
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::service;
use crate::cli::sizes::show_size;
use crate::cli::trail;
use crate::config::limits::Limits;
use crate::config::model::{IoClass, Source};
use crate::daemon::protocol::{Answer, What};
use crate::produce::{
    error as produced,
    go_on::tell_failures,
    run::Ground,
    take::{self, TakeError, Taken},
};
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    audit::{
        event::{Event, Kind, Outcome as Ended, bytes_value},
        measured, witness,
    },
};
use crate::sys::process::{self, Signals};
use crate::types::{path, snapshot::Tier, when::show};

/// Runs it: by the service, where one runs for these settings, as that holds the sources.
pub fn run(context: &Context, args: &Snapshot) -> Result<Outcome, Failure> {
    match by_service(context, args)? {
        Some(outcome) => Ok(outcome),
        None => alone(context, args),
    }
}

/// None where no service runs.
fn by_service(context: &Context, args: &Snapshot) -> Result<Option<Outcome>, Failure> {
    let path_of = |wanted: &PathBuf| match meant(&context.config.sources, wanted) {
        Some(source) => Ok(source.path.clone()),
        None => wanted.canonicalize().or_else(|_| std::path::absolute(wanted)),
    };
    let sources = args.sources.iter().map(path_of).collect::<Result<_, _>>().explain(|| "cannot tell which source")?;
    let mut failed = None;
    let what = What::Snapshot { sources, tier: Tier::from(args.tier) as u8 };
    let zone = context.zone()?;
    let reached = service::ask(context, what, &mut |answer| match answer {
        Answer::Taken(taken) => {
            // By its name, as without a service.
            let own = context.config.sources.iter().find(|source| source.path == taken.source);
            let source = own.cloned().unwrap_or_else(|| Source::new(taken.source.clone()));
            let failures = taken.failures.clone();
            failed = failed.take().or(tell(context, &source, &taken.report(), &failures).err());
        }
        Answer::Held(held) => tracing::warn!("{}", held.told(&zone)),
        Answer::Missing { why } => tracing::error!("{why}"),
        _ => {}
    })?;
    let ended = service::ended(reached)?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(ended.map(|(_, whole)| if whole { Outcome::Done } else { Outcome::Partial })),
    }
}

fn alone(context: &Context, args: &Snapshot) -> Result<Outcome, Failure> {
    let wanted = chosen(context, &args.sources)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached(context)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let mut outcome = match open::catch_up(&at, &*bar)?.problems.is_empty() {
        true => Outcome::Done,
        false => Outcome::Partial,
    };
    // Somebody waits for it: it rests for nobody.
    lower_priority(context, &context.config.limits.without_rests());
    at.repo().store().start();
    let audit = trail::open(context, at.repo());
    outcome = outcome.and(trail::note_policy(context, at.repo(), &audit));
    for source in wanted {
        let taken = take(context, &at, source, args.tier.into(), (&*bar, &signals.flag()));
        let recorded = trail::told(audit.record(event(context, source, &taken)));
        let taken = taken?;
        let failures: Vec<produced::Failure> = taken.failures().cloned().collect();
        tell(context, source, &taken.report, &failures)?;
        outcome = outcome.and(recorded);
        if !taken.is_whole() {
            outcome = Outcome::Partial;
        }
    }
    if open::settle(&at) == Outcome::Partial {
        outcome = Outcome::Partial;
    }
    Ok(outcome.and(tell_missing(&at)))
}

/// Tells which snapshots the audit trail names and the journals do not have: whoever captures on from there does not know of them.
fn tell_missing(at: &Attached) -> Outcome {
    let missing = witness::told_known(at);
    missing.iter().for_each(|why| tracing::error!("{why}"));
    if missing.is_empty() { Outcome::Done } else { Outcome::Partial }
}

/// The sources that were named, or all.
pub fn chosen<'a>(context: &'a Context, wanted: &[PathBuf]) -> Result<Vec<&'a Source>, Failure> {
    let all = &context.config.sources;
    if all.is_empty() {
        return Err(Failure::new("nothing is protected yet").hint("`bygone source add DIRECTORY` protects a directory"));
    }
    if wanted.is_empty() {
        return Ok(all.iter().collect());
    }
    wanted
        .iter()
        .map(|wanted| {
            meant(all, wanted).ok_or_else(|| {
                Failure::new(format!("{} is not protected", wanted.display()))
                    .hint("`bygone source list` shows what is")
            })
        })
        .collect()
}

/// The source at a path or, where none is, of a name.
pub(super) fn meant<'a>(all: &'a [Source], wanted: &Path) -> Option<&'a Source> {
    let real = wanted.canonicalize().unwrap_or_else(|_| wanted.to_owned());
    let named = |s: &&Source| s.name.as_deref().is_some_and(|name| wanted.as_os_str() == name);
    all.iter().find(|s| s.path == real || s.path == *wanted).or_else(|| all.iter().find(named))
}

/// Leaves the machine to others, within these limits.
pub fn lower_priority(context: &Context, limits: &Limits) {
    if context.config.capture.io_class == IoClass::Idle
        && let Err(e) = process::set_idle_io().and_then(|()| process::set_nice(10))
    {
        tracing::warn!("cannot lower the priority: {e}");
    }
    Pace::of_process().set(limits);
    if let Err(e) = process::raise_open_files() {
        tracing::debug!("cannot raise the number of open files: {e}");
    }
}

/// One snapshot of a source, of everything that has changed, with its hooks and after its data was produced.
pub fn take(
    context: &Context,
    at: &Arc<Attached>,
    source: &Source,
    tier: Tier,
    (progress, stop): (&dyn Progress, &AtomicBool),
) -> Result<Taken, Failure> {
    let what = || format!("cannot capture {}", source.path.display());
    open::scope(context, source)?;
    let ground = Ground { state: &context.config.state, tier, stop };
    let capture = || Ok::<_, TakeError>(once::take(&context.config, at, source, tier, (progress, stop))?);
    take::take(source, &ground, (at, &context.config.host), capture).explain(what)
}

/// What the audit trail tells of it.
fn event(context: &Context, source: &Source, taken: &Result<Taken, Failure>) -> Event {
    let ended = match taken {
        Ok(taken) if taken.is_whole() => Ended::Done,
        Ok(_) => Ended::Partial,
        Err(_) => Ended::Failed,
    };
    let event = Event::new(Kind::Snapshot, ended)
        .about("host", context.config.host.as_str())
        .about("source", bytes_value(path_bytes(&source.path)));
    match taken {
        Err(failure) => event.detail("why", failure.in_short()),
        Ok(taken) => {
            let report = &taken.report;
            let event = event.detail("unreadable", report.problems.len()).detail("fuzzy", report.fuzzy_count());
            let event = event.detail("altered", report.altered.len());
            let event =
                event.detail("failures", taken.failures().map(produced::Failure::to_string).collect::<Vec<_>>());
            let event = taken.invariants.iter().fold(event, |event, of| event.detail(measured::DETAIL, of.clone()));
            report.snapshot.iter().fold(event, |event, s| event.snapshot(s).detail("tier", s.tier.word()))
        }
    }
}

fn path_bytes(path: &std::path::Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes()
}

/// Says what a capture did, what could not be produced for it, and which hooks failed.
pub fn tell(
    context: &Context,
    source: &Source,
    report: &Report,
    failures: &[produced::Failure],
) -> Result<(), Failure> {
    let (mut out, zone) = (context.out(), context.zone()?);
    if context.json {
        out.json(&as_json(source, report, failures))?;
    } else if !context.quiet {
        if let Some(s) = &report.snapshot {
            let c = &s.counts;
            out.line(format_args!(
                "{}  {}  {}: {} new, {} changed, {} removed; read {}, stored {}",
                show::show(s.time, &zone),
                source.path.display(),
                s.tier.word(),
                c.new,
                c.changed,
                c.removed,
                show_size(c.read_bytes),
                show_size(c.stored_bytes)
            ))?;
        }
        if report.sockets > 0 {
            out.line(format_args!("  {} socket(s) noted and left out", report.sockets))?;
        }
    }
    out.finish()?;
    let root = path_bytes(&source.path);
    for problem in &report.problems {
        let path = path::join(root, &problem.path);
        tracing::error!(
            "{}: {}; not captured: this snapshot has it as it was captured last, or not at all",
            path::show(&path),
            problem.why
        );
    }
    for fuzzy in &report.fuzzy {
        let path = path::join(root, fuzzy);
        tracing::warn!("{}: changed all the time while it was read: its content may mix two states", path::show(&path));
    }
    for problem in &report.no_image {
        let path = path::join(root, &problem.path);
        tracing::warn!("{}: {}", path::show(&path), problem.why);
    }
    for altered in &report.altered {
        let path = path::join(root, altered);
        tracing::error!(
            "{}: its bytes have changed, and neither its times nor its size: its disk may be failing, or somebody hid a change. \
             The snapshot has it as it is now, the one before as it was",
            path::show(&path)
        );
    }
    tell_failures(source, failures.iter());
    if !report.altered.is_empty() {
        tracing::error!("{} file(s) changed without a change of their times", report.altered.len());
    }
    Ok(())
}

fn as_json(source: &Source, report: &Report, failures: &[produced::Failure]) -> Value {
    let snapshot = report.snapshot.as_ref().map(|s| {
        json!({
            "number": s.number.0, "time_ns": s.time.0, "time": show::exact_name(s.time), "tier": s.tier.word(),
            "new": s.counts.new, "changed": s.counts.changed, "removed": s.counts.removed,
            "bytes_read": s.counts.read_bytes, "bytes_stored": s.counts.stored_bytes,
        })
    });
    let problems: Vec<Value> =
        report.problems.iter().map(|p| json!({ "path": path::show(&p.path), "why": p.why })).collect();
    let altered: Vec<String> = report.altered.iter().map(|p| path::show(p)).collect();
    let no_image: Vec<Value> =
        report.no_image.iter().map(|p| json!({ "path": path::show(&p.path), "why": p.why })).collect();
    let fuzzy: Vec<String> = report.fuzzy.iter().map(|p| path::show(p)).collect();
    let failures: Vec<Value> =
        failures.iter().map(|f| json!({ "what": f.what, "why": f.why, "kept": f.is_kept })).collect();
    json!({
        "source": source.path, "snapshot": snapshot, "looked_at": report.seen, "sockets": report.sockets,
        "unreadable": problems, "fuzzy": fuzzy, "no_image": no_image, "altered": altered, "failures": failures,
    })
}
