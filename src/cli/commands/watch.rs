//! `bygone watch`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::capture::pace::Pace;
use crate::capture::report::CaptureError;
use crate::capture::scope::Scope;
use crate::capture::{
    report::Report,
    watching::{self, Event, Options},
};
use crate::cli::args::upkeep::Watch;
use crate::cli::bar;
use crate::cli::commands::snapshot;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::config::{jobs, model::Source};
use crate::produce::{go_on, run::is_going};
use crate::progress::Quiet;
use crate::repo::{attach::Attached, audit::captures::Captures, error::RepoError, write::SourceWriter};
use crate::sys::process::Signals;
use crate::types::{path, snapshot as types};

/// How often it is looked whether the audit trail is to be told something.
const TICK: Duration = Duration::from_millis(200);

/// Runs it.
pub fn run(context: &Context, args: &Watch) -> Result<Outcome, Failure> {
    let wanted = snapshot::chosen(context, &args.sources)?;
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let at = open::attached(context)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    open::catch_up(&at, &*bar)?;
    snapshot::lower_priority(context, &context.config.limits.without_rests());
    watch_all(context, prepare(context, &at, &wanted)?, &signals.flag(), &|| {})
}

/// A source that nobody else captures now.
pub struct Prepared<'a> {
    source: &'a Source,
    scope: Scope,
    writer: SourceWriter,
}

/// Takes hold of sources, all or none.
pub fn prepare<'a>(
    context: &Context,
    at: &Arc<Attached>,
    sources: &[&'a Source],
) -> Result<Vec<Prepared<'a>>, Failure> {
    use std::os::unix::ffi::OsStrExt as _;
    let hold = |source: &&'a Source| {
        let scope = open::scope(context, source)?;
        let writer = SourceWriter::open(at.clone(), &context.config.host, source.path.as_os_str().as_bytes())
            .explain(|| format!("cannot watch {}", source.path.display()))?;
        Ok(Prepared { source, scope, writer })
    };
    sources.iter().map(hold).collect()
}

/// Watches sources, each in a thread of its own, until `stop` is set or none is watched any more. `ready` is called when
/// every source has been captured for the first time; captures rest for others from then on.
///
/// The outcome is partial where something could not be read at the end. A source that can't be watched is told, and the
/// others go on; where none could, that is the failure.
pub fn watch_all(
    context: &Context,
    sources: Vec<Prepared<'_>>,
    stop: &AtomicBool,
    ready: &(dyn Fn() + Sync),
) -> Result<Outcome, Failure> {
    if let Some(first) = sources.first() {
        first.writer.attached().repo().store().start();
    }
    let audit = sources.first().map(|first| {
        let repo = first.writer.attached().repo();
        let audit = trail::open(context, repo);
        trail::note_policy(context, repo, &audit);
        audit
    });
    let captures = audit.as_ref().map(Captures::new);
    let captures = captures.as_ref();
    let ended = AtomicBool::new(false);
    let waiting = Mutex::new(sources.len());
    // The failure of the only source is what the command ends with, and is told then.
    let alone = sources.len() == 1;
    let first_done = || {
        let mut left = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *left -= 1;
        if *left == 0 {
            // Somebody waits for the first captures; what comes by itself rests for others.
            Pace::of_process().set(&context.config.limits);
            ready();
        }
    };
    let results: Vec<Result<Outcome, Failure>> = std::thread::scope(|scope| {
        scope.spawn(|| tick(captures, &ended));
        let threads: Vec<_> = sources
            .into_iter()
            .map(|source| {
                let (first_done, alone) = (&first_done, alone);
                scope.spawn(move || {
                    let told = AtomicBool::new(false);
                    let first = || {
                        if !told.swap(true, Ordering::Relaxed) {
                            first_done();
                        }
                    };
                    let result = watch_one(context, source, stop, &first, captures);
                    if let Err(failure) = result.as_ref().map(drop)
                        && !alone
                    {
                        tracing::error!("{}", failure.to_string().trim_end());
                    }
                    first();
                    result
                })
            })
            .collect();
        let panicked = |_| Err(Failure::new("a thread that watches ended unexpectedly"));
        let results = threads.into_iter().map(|t| t.join().unwrap_or_else(panicked)).collect();
        ended.store(true, Ordering::Relaxed);
        results
    });
    let all = results.len();
    let mut failures: Vec<Failure> = Vec::new();
    let mut outcome = captures.map_or(Outcome::Done, |captures| trail::told(captures.finish()));
    for result in results {
        match result {
            Ok(Outcome::Done) => {}
            Ok(other) => outcome = other,
            Err(failure) => failures.push(failure),
        }
    }
    match failures.pop() {
        Some(failure) if failures.len() + 1 == all => Err(failure),
        Some(_) => Ok(Outcome::Partial),
        None => Ok(outcome),
    }
}

/// Brings into the audit trail what is due, until all has ended.
fn tick(captures: Option<&Captures<'_>>, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        if let Some(captures) = captures {
            trail::told(captures.tick());
        }
    }
}

/// What the audit trail tells of an event.
fn note(captures: &Captures<'_>, source: &types::Source, event: &Event) {
    let recorded = match event {
        Event::Captured(report) => captures.captured(source, report.snapshot.as_ref()),
        Event::Failed(e, _) => captures.failed(source, &e.to_string()),
        Event::RootGone => captures.ended(source),
        Event::Watching(..) | Event::Begins | Event::RootBack(_) => Ok(()),
    };
    trail::told(recorded);
}

fn watch_one(
    context: &Context,
    Prepared { source, scope, writer }: Prepared<'_>,
    stop: &AtomicBool,
    first: &(dyn Fn() + Sync),
    captures: Option<&Captures<'_>>,
) -> Result<Outcome, Failure> {
    let what = || format!("cannot watch {}", source.path.display());
    let place = (context.config.state.as_path(), jobs::zone(&context.config));
    let produced = go_on::begin(place, source, stop).explain(what)?;
    let bar = bar::on_stderr(!context.quiet && !context.json);
    let unread = Mutex::new(std::collections::BTreeSet::<Vec<u8>>::new());
    let recorded_as = writer.source().clone();
    let events = |event: Event| {
        if let Some(captures) = captures {
            note(captures, &recorded_as, &event);
        }
        tell(context, source, event, first, &unread);
    };
    let never: Vec<PathBuf> = context.config.own_dirs().into_iter().map(|(_, dir)| dir.to_owned()).collect();
    let options = Options {
        source,
        capture: &context.config.capture,
        never,
        progress: &*bar,
        events: &events,
        stop,
        steering: None,
        is_going: &|| is_going(&context.config.state, source),
    };
    let at = writer.attached().clone();
    let (mut next, mut forked) = (Some((writer, scope)), false);
    while let Some((writer, scope)) = next.take() {
        forked |= writer.is_forked();
        let ended = AtomicBool::new(false);
        let watched = std::thread::scope(|threads| {
            threads.spawn(|| produced.go_on(&ended, stop));
            let watched = watching::watch(writer, scope, &options);
            ended.store(true, Ordering::Relaxed);
            watched
        });
        match watched {
            Ok(()) => {}
            // Asked to stop in the middle of the first capture: nothing of it was recorded, and nothing failed.
            Err(watching::WatchingError::Capture(CaptureError::Stopped)) => {}
            Err(watching::WatchingError::Capture(CaptureError::Repo(e @ RepoError::SecondWriter { .. }))) => {
                tracing::error!("{e}");
                forked = true;
                open::catch_up(&at, &Quiet)?;
                let writer =
                    SourceWriter::open(at.clone(), &context.config.host, source.path.as_os_str().as_encoded_bytes());
                next = Some((writer.explain(what)?, open::scope(context, source)?));
            }
            Err(e) => {
                if let Some(captures) = captures {
                    trail::told(captures.failed(&recorded_as, &e.to_string()));
                    trail::told(captures.ended(&recorded_as));
                }
                return Err(Failure::new(what()).because(&e));
            }
        }
    }
    let unread = unread.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(if unread.is_empty() && !forked { Outcome::Done } else { Outcome::Partial })
}

fn tell(
    context: &Context,
    source: &Source,
    event: Event,
    first: &(dyn Fn() + Sync),
    unread: &Mutex<std::collections::BTreeSet<Vec<u8>>>,
) {
    let path = path::show(source.path.as_os_str().as_encoded_bytes());
    match event {
        Event::Watching(kind, status) => {
            tracing::info!("{path}: watched by {kind}");
            for note in status.notes {
                tracing::warn!("{path}: {note}");
            }
            for part in status.unwatched {
                let dir = match part.dir.is_empty() {
                    true => "the source itself".to_owned(),
                    false => path::show(&part.dir),
                };
                tracing::warn!("{path}: {dir} is not watched but scanned at an interval: {}", part.why);
            }
        }
        Event::Captured(report) => {
            note_unread(&report, unread);
            if let Err(failure) = snapshot::tell(context, source, &report, &[]) {
                tracing::error!("{failure}");
            }
            first();
        }
        Event::Failed(e, again) => {
            tracing::error!("cannot capture {path}: {e}; trying again in {} s", again.as_secs());
        }
        Event::Begins => {}
        Event::RootGone => tracing::warn!("{path} is not there any more; waiting for it to come back"),
        Event::RootBack(true) => tracing::info!("{path} is there again"),
        Event::RootBack(false) => tracing::warn!("{path} is there again, but is another directory than before"),
    }
}

/// What could not be read the last time it was tried.
fn note_unread(report: &Report, unread: &Mutex<std::collections::BTreeSet<Vec<u8>>>) {
    let mut unread = unread.lock().unwrap_or_else(PoisonError::into_inner);
    unread.extend(report.problems.iter().map(|p| p.path.clone()));
}
