//! `bygone snapshot`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use crate::capture::{
    engine::{Plan, Settings},
    report::Report,
};
use crate::cli::args::upkeep::Snapshot;
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::sizes::show_size;
use crate::config::model::{IoClass, Source};
use crate::produce::{
    self, hooks,
    run::Ground,
    take::{self, Taken},
};
use crate::progress::Progress;
use crate::repo::{attach::Attached, write::SourceWriter};
use crate::sys::process::{self, Signals};
use crate::types::{
    path,
    snapshot::Tier,
    when::{show, zone::Zone},
};

/// Runs it.
pub fn run(context: &Context, args: &Snapshot) -> Result<Outcome, Failure> {
    let wanted = chosen(context, &args.sources)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached(context)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let mut outcome = match open::catch_up(&at, &*bar)?.problems.is_empty() {
        true => Outcome::Done,
        false => Outcome::Partial,
    };
    lower_priority(context);
    at.repo().store().start();
    for source in wanted {
        let taken = take(context, &at, source, args.tier.into(), (&*bar, &signals.flag()))?;
        tell(context, source, &taken.report)?;
        tell_failures(source, taken.produced.failures.iter().chain(&taken.hooks));
        if !taken.is_whole() {
            outcome = Outcome::Partial;
        }
    }
    if open::settle(&at) == Outcome::Partial {
        outcome = Outcome::Partial;
    }
    Ok(outcome)
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
            let real = wanted.canonicalize().unwrap_or_else(|_| wanted.clone());
            let named = |s: &&Source| s.name.as_deref().is_some_and(|name| wanted.as_os_str() == name);
            let found = all.iter().find(|s| s.path == real || s.path == *wanted).or_else(|| all.iter().find(named));
            found.ok_or_else(|| {
                Failure::new(format!("{} is not protected", wanted.display()))
                    .hint("`bygone source list` shows what is")
            })
        })
        .collect()
}

/// Leaves the machine to others.
pub fn lower_priority(context: &Context) {
    if context.config.capture.io_class == IoClass::Idle
        && let Err(e) = process::set_idle_io().and_then(|()| process::set_nice(10))
    {
        tracing::warn!("cannot lower the priority: {e}");
    }
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
    let scope = open::scope(context, source)?;
    let root = path_bytes(&source.path);
    let mut writer = SourceWriter::open(at.clone(), &context.config.host, root).explain(what)?;
    progress.start(&format!("capturing {}", source.path.display()), None);
    let settings = Settings { capture: &context.config.capture, tier, always: true, progress, stop };
    let ground = Ground { state: &context.config.state, tier, stop };
    let taken = take::take(source, &mut writer, &scope, &Plan::everything(), &settings, &ground).explain(what);
    progress.finish();
    taken
}

/// Tells what of a source could not be produced, and which hooks failed.
pub fn tell_failures<'a>(source: &Source, failures: impl Iterator<Item = &'a produce::error::Failure>) {
    for failure in failures {
        let name = hooks::label(source);
        tracing::error!("{name}: {}: {}; what was there before of it still is", failure.what, failure.why);
    }
}

fn path_bytes(path: &std::path::Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes()
}

/// Says what a capture did.
pub fn tell(context: &Context, source: &Source, report: &Report) -> Result<(), Failure> {
    let mut out = context.out();
    if context.json {
        out.json(&as_json(source, report))?;
    } else if !context.quiet {
        if let Some(s) = &report.snapshot {
            let c = &s.counts;
            out.line(format_args!(
                "{}  {}  {}: {} new, {} changed, {} removed; read {}, stored {}",
                show::show(s.time, &Zone::system()),
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
    for altered in &report.altered {
        let path = path::join(root, altered);
        tracing::error!(
            "{}: its bytes have changed, and neither its times nor its size: its disk may be failing, or somebody hid a change. \
             The snapshot has it as it is now, the one before as it was",
            path::show(&path)
        );
    }
    if !report.altered.is_empty() {
        tracing::error!("{} file(s) changed without a change of their times", report.altered.len());
    }
    Ok(())
}

fn as_json(source: &Source, report: &Report) -> Value {
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
    let fuzzy: Vec<String> = report.fuzzy.iter().map(|p| path::show(p)).collect();
    json!({
        "source": source.path, "snapshot": snapshot, "looked_at": report.seen, "sockets": report.sockets,
        "unreadable": problems, "fuzzy": fuzzy, "altered": altered,
    })
}
