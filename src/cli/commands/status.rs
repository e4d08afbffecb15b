//! `bygone status`: how things stand, gathered; `status_text` prints it.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::{jobs, status_text};
use crate::capture::heartbeat::{self, Heartbeat};
use crate::cli::bar;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::service;
use crate::daemon::{
    client::Reached,
    protocol::{Answer, What},
    standing::Standing,
};
use crate::drill::coverage;
use crate::index::tree::Reader;
use crate::observe::facts::DrillFacts;
use crate::repo::{
    attach::Attached,
    error::RepoError,
    measure,
    open::list_slots,
    write::{apart, writer_lock},
};
use crate::sys::{clock, durable};
use crate::types::{op::Gap, path, snapshot, time::Instant, when::show::exact_name};

/// A heartbeat older than this was not written by a process that only watches.
const FRESH_NS: i64 = 20_000_000_000;
/// So many gaps are shown, the newest.
const GAPS: usize = 5;
/// Gaps that ended in the last seven days are recent.
const RECENT_NS: i64 = 7 * 86_400 * 1_000_000_000;

/// How things stand.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) repository: String,
    pub(super) id: String,
    pub(super) stored: Stored,
    /// Where the store is far away: what is captured and not stored yet.
    pub(super) waiting: Option<WaitingStatus>,
    /// Where the store does not answer: what follows is from the index.
    pub(super) away: Option<AwayStatus>,
    pub(super) index: IndexFile,
    pub(super) keys: u64,
    pub(super) damaged_keys: u64,
    pub(super) sources: Vec<SourceStatus>,
    /// The plans that are rehearsed.
    #[serde(default)]
    pub(super) drills: Vec<DrillFacts>,
}

/// What the repository holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) packs: u64,
    pub(super) pack_bytes: u64,
    pub(super) journal_segments: Option<u64>,
    pub(super) journal_bytes: Option<u64>,
    pub(super) journal_segments_not_in_index: Option<u64>,
    pub(super) chunks: u64,
    pub(super) frames: u64,
    /// Each chunk once, before compression.
    pub(super) chunk_bytes: u64,
    /// The same, compressed and sealed.
    pub(super) sealed_bytes: u64,
    /// Every version of every file as a plain copy.
    pub(super) version_bytes: u64,
    /// `version_bytes` to `chunk_bytes`.
    pub(super) dedup_ratio: Option<f64>,
    /// `chunk_bytes` to `sealed_bytes`.
    pub(super) compression_ratio: Option<f64>,
}

/// What waits on this host until it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WaitingStatus {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// How long the oldest of it has waited.
    pub(super) lag_seconds: Option<i64>,
    /// Why the last of it that was brought on could not be.
    pub(super) last_error: Option<String>,
    /// When, in nanoseconds.
    pub(super) last_error_ns: Option<i64>,
}

/// A store that does not answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AwayStatus {
    pub(super) since_ns: i64,
    pub(super) since: String,
    pub(super) why: String,
}

/// The index of this host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IndexFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// A source that is configured, or known in the repository, or both.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SourceStatus {
    pub(super) host: String,
    pub(super) path: String,
    pub(super) configured: bool,
    /// Whether it is the history of another writer under a name of this host, or a branch.
    #[serde(default)]
    pub(super) of_another_writer: bool,
    pub(super) history: Option<History>,
    /// Snapshots that can't be shown.
    pub(super) lost: Vec<LostShown>,
    /// What the repository has lost and the index still has.
    pub(super) absent: Vec<LostShown>,
    pub(super) watch: Watch,
    /// How long ago everything had been seen last, in nanoseconds.
    pub(super) lag_ns: Option<i64>,
}

/// What is in the repository of a source.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct History {
    pub(super) snapshots: u64,
    pub(super) last: u64,
    pub(super) last_ns: i64,
    pub(super) last_time: String,
    pub(super) unreadable: u64,
    pub(super) fuzzy: u64,
    pub(super) entries: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) versions: u64,
    pub(super) version_bytes: u64,
    pub(super) gaps: u64,
    pub(super) gaps_recent: u64,
    pub(super) last_gaps: Vec<GapShown>,
}

/// Snapshots that can't be shown, for people and programs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LostShown {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) why: String,
}

/// A gap for people and programs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GapShown {
    pub(super) path: String,
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    pub(super) why: String,
}

/// Whether a source is being watched on this host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum Watch {
    /// By a process that has lately said so.
    Watched(Beat),
    /// A process holds the source to capture it, and has not lately said that it watches.
    Capturing { pid: u32 },
    /// By nobody; what the last one who did noted at its end.
    Unwatched { last: Option<Beat> },
    /// On another host, of which nothing is known here.
    Elsewhere,
}

/// What a watching process noted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) pid: u32,
    pub(super) seen_until_ns: i64,
    pub(super) watcher: String,
    pub(super) watched: u64,
    pub(super) unwatched: Vec<(String, String)>,
    pub(super) notes: Vec<String>,
    pub(super) root_gone: bool,
}

/// Runs it. An index that knows some source is taken as it is, so that nothing waits for a capture that is under way; one
/// that is empty, as it is when the state directory was lost, is filled from the journal first.
pub fn run(context: &Context) -> Result<Outcome, Failure> {
    let asked = by_service(context);
    match &asked {
        Ok(Some((service, Ok(status)))) => {
            return tell(context, status, Some(service), Outcome::Done).map(|outcome| context.looked(outcome));
        }
        Ok(Some((service, Err(trouble)))) => {
            return service_alone(context, service, trouble).map(|outcome| context.looked(outcome));
        }
        _ => context.whole()?,
    }
    let at = match (open::attached(context), asked) {
        (Ok(at), Ok(_)) => at,
        // The service says no, and without it the same can be seen.
        (Ok(at), Err(refused)) => {
            tracing::warn!("what the service knows is missing: {}", refused.to_string().trim_end());
            at
        }
        (Err(_), Err(refused)) => return Err(refused),
        (Err(e), Ok(_)) => return Err(e),
    };
    let mut outcome = Outcome::Done;
    if is_new(context, &at)? {
        let bar = bar::on_stderr(!context.quiet && !context.json);
        if !open::catch_up(&at, &*bar)?.problems.is_empty() {
            outcome = Outcome::Partial;
        }
    }
    tell(context, &gather(context, &at, clock::now())?, None, outcome)
}

fn tell(context: &Context, status: &Status, service: Option<&Standing>, outcome: Outcome) -> Result<Outcome, Failure> {
    let (mut out, zone) = (context.out(), context.zone()?);
    match context.json {
        true => out.json(&With { status, service })?,
        false => {
            status_text::print(&mut out, status, clock::now(), &zone)?;
            service.iter().try_for_each(|service| jobs::print((&mut out, &zone), service))?;
        }
    }
    out.finish()?;
    Ok(if status.damaged_keys == 0 { outcome } else { Outcome::Partial })
}

/// What the service knows of itself, where the repository can't be looked at now.
fn service_alone(context: &Context, service: &Standing, trouble: &str) -> Result<Outcome, Failure> {
    tracing::error!("how repository and sources stand can't be told now: {trouble}");
    let mut out = context.out();
    match context.json {
        true => out.json(&serde_json::json!({ "service": service, "trouble": trouble }))?,
        false => jobs::print((&mut out, &context.zone()?), service)?,
    }
    out.finish()?;
    Ok(Outcome::Partial)
}

/// How things stand, with what the service knows.
#[derive(Serialize)]
struct With<'a> {
    #[serde(flatten)]
    status: &'a Status,
    service: Option<&'a Standing>,
}

/// How a service stands, and repository and sources, or why that can't be told.
type Served = (Standing, Result<Status, String>);

/// How things stand by the service, if one runs for these settings.
fn by_service(context: &Context) -> Result<Option<Served>, Failure> {
    let mut told = None;
    let reached = service::ask(context, What::Status, &mut |answer| told = Some(answer))?;
    if let Reached::Other { settings } = &reached
        && context.repository_named.is_none()
    {
        let its = service::other(context, settings);
        tracing::warn!("{its}; `--config {}` shows how it stands", settings.display());
    }
    service::ended(reached)?;
    let Some(Answer::Standing { service, standing, trouble }) = told else { return Ok(None) };
    match (standing, trouble) {
        (Some(standing), _) => {
            let status = serde_json::from_value(standing).explain(|| "the service is of another version")?;
            Ok(Some((*service, Ok(status))))
        }
        (None, trouble) => Ok(Some((*service, Err(trouble.unwrap_or_default())))),
    }
}

/// How repository and sources stand, for a service to tell.
pub(super) fn standing(context: &Context, at: &Attached) -> Result<serde_json::Value, Failure> {
    let status = gather(context, at, clock::now())?;
    serde_json::to_value(status).explain(|| "cannot write the status as JSON")
}

/// Whether the index is empty, and nobody is just filling it by a first capture.
fn is_new(context: &Context, at: &Attached) -> Result<bool, Failure> {
    let empty = at.reader().into_failure()?.sources().into_failure()?.is_empty();
    for source in context.config.sources.iter().filter(|_| empty) {
        let root = source.path.as_os_str().as_bytes();
        if durable::lock_holder(&writer_lock(at.dir(), root)).explain(|| "cannot tell who captures")?.is_some() {
            return Ok(false);
        }
    }
    Ok(empty)
}

fn gather(context: &Context, at: &Attached, now: Instant) -> Result<Status, Failure> {
    let what = || format!("cannot tell how {} stands", at.repo().store().location());
    let measure = match measure::measure(at) {
        Ok(measure) => Ok(measure),
        Err(e) if e.is_away() => Err(away(at, &e, now)),
        Err(e) => return Err(e).explain(what),
    };
    let slots = match list_slots(at.repo().store()) {
        // That it is away is told.
        Err(e) if e.is_away() && measure.is_err() => Vec::new(),
        slots => slots.explain(what)?,
    };
    let reader = at.reader().explain(what)?;
    let sources = sources(context, at, &reader, now)?;
    let stored = reader.stored().explain(what)?;
    let version_bytes = sources.iter().filter_map(|s| s.history.as_ref()).map(|h| h.version_bytes).sum();
    let index = IndexFile { path: at.index().path().to_owned(), bytes: at.index().size().explain(what)? };
    let waiting = at.repo().store().waiting().explain(what)?.map(|w| WaitingStatus {
        objects: w.objects,
        bytes: w.bytes,
        lag_seconds: w.since.map(|since| (now.0 - since.0) / 1_000_000_000),
        last_error_ns: w.error.as_ref().map(|(at, _)| at.0),
        last_error: w.error.map(|(_, why)| why),
    });
    let known = reader.packs().explain(what)?;
    let (packs, pack_bytes) = match &measure {
        Ok(m) => (m.packs, m.pack_bytes),
        Err(_) => (known.len() as u64, known.iter().map(|(_, end)| end).sum()),
    };
    let journal = |count: fn(&measure::Measure) -> u64| measure.as_ref().ok().map(count);
    let drills = coverage::plans(&context.config).explain(|| "cannot tell how drills stand")?;
    Ok(Status {
        drills,
        waiting,
        repository: context.config.repository.to_string(),
        id: at.repo().id().to_string(),
        stored: Stored {
            packs,
            pack_bytes,
            journal_segments: journal(|m| m.segments),
            journal_bytes: journal(|m| m.segment_bytes),
            journal_segments_not_in_index: journal(|m| m.unseen),
            chunks: stored.chunks,
            frames: stored.frames,
            chunk_bytes: stored.raw_bytes,
            sealed_bytes: stored.sealed_bytes,
            version_bytes,
            dedup_ratio: ratio(version_bytes, stored.raw_bytes),
            compression_ratio: ratio(stored.raw_bytes, stored.sealed_bytes),
        },
        index,
        keys: slots.iter().filter(|(_, slot)| slot.is_ok()).count() as u64,
        damaged_keys: slots.iter().filter(|(_, slot)| slot.is_err()).count() as u64,
        sources,
        away: measure.err(),
    })
}

/// Since when the store is away, as far as this host knows.
fn away(at: &Attached, e: &RepoError, now: Instant) -> AwayStatus {
    let (since, why) = at.repo().store().away().map_or_else(|| (now, e.to_string()), |away| (away.since, away.why));
    AwayStatus { since_ns: since.0, since: exact_name(since), why }
}

/// To two digits behind the point.
fn ratio(a: u64, b: u64) -> Option<f64> {
    (a > 0 && b > 0).then(|| (a as f64 / b as f64 * 100.0).round() / 100.0)
}

/// The configured sources in their order, then what else the repository knows.
fn sources(context: &Context, at: &Attached, reader: &Reader, now: Instant) -> Result<Vec<SourceStatus>, Failure> {
    let known = reader.sources().into_failure()?;
    let host = &context.config.host;
    let apart = apart(at, host).into_failure()?;
    // The name under which this machine goes on with a source.
    let name_of = |root: &[u8]| apart.iter().find(|a| a.root == root).map_or(host, |a| &a.name);
    let mut all = Vec::new();
    for source in &context.config.sources {
        let root = source.path.as_os_str().as_bytes();
        let name = name_of(root);
        let found = known.iter().find(|k| k.host == *name && k.root == root);
        all.push(source_status(at, reader, (name, root, true), found, now)?);
    }
    let configured = |k: &snapshot::Source| {
        k.host == *name_of(&k.root) && context.config.sources.iter().any(|s| s.path.as_os_str().as_bytes() == k.root)
    };
    for source in known.iter().filter(|k| !configured(k)) {
        let here = source.host == *name_of(&source.root);
        let mut status = source_status(at, reader, (&source.host, &source.root, false), Some(source), now)?;
        status.of_another_writer = !here && source.is_of(host);
        if !here {
            status.watch = Watch::Elsewhere;
            status.lag_ns = status.history.as_ref().map(|h| now.0 - h.last_ns);
        }
        all.push(status);
    }
    Ok(all)
}

fn source_status(
    at: &Attached,
    reader: &Reader,
    (host, root, configured): (&str, &[u8], bool),
    known: Option<&snapshot::Source>,
    now: Instant,
) -> Result<SourceStatus, Failure> {
    let what = || format!("cannot tell how the source {} stands", path::show(root));
    let history = known.map(|source| history(reader, source, now)).transpose()?.flatten();
    let (mut lost, mut absent) = (Vec::new(), Vec::new());
    if let Some(source) = known {
        let (found, gone) = (reader.lost(source.num).explain(what)?, reader.absent(source.num).explain(what)?);
        lost.extend(found.into_iter().map(|l| LostShown { first: l.first.0, last: l.last.0, why: l.why }));
        absent.extend(gone.into_iter().map(|a| LostShown { first: a.first.0, last: a.last.0, why: a.what }));
    }
    let watch = watch(at.dir(), root, now).explain(what)?;
    let seen = match &watch {
        Watch::Watched(beat) => Some(beat.seen_until_ns),
        Watch::Unwatched { last: Some(beat) } => Some(beat.seen_until_ns),
        _ => None,
    };
    let last = history.as_ref().map(|h| h.last_ns);
    let lag_ns = seen.max(last).map(|ns| now.0.saturating_sub(ns));
    Ok(SourceStatus {
        host: host.to_owned(),
        path: path::show(root),
        configured,
        of_another_writer: false,
        history,
        lost,
        absent,
        watch,
        lag_ns,
    })
}

fn history(reader: &Reader, source: &snapshot::Source, now: Instant) -> Result<Option<History>, Failure> {
    let what = || format!("cannot read the history of {}", path::show(&source.root));
    let head = reader.head(source.num).explain(what)?;
    let Some(last) = reader.snapshot(source.num, head.number).explain(what)? else { return Ok(None) };
    let extent = reader.extent(source.num).explain(what)?;
    let versions = reader.history(source.num).explain(what)?;
    let recent = Instant(now.0.saturating_sub(RECENT_NS));
    let (gaps, gaps_recent) = reader.gap_counts(source.num, recent).explain(what)?;
    let last_gaps = reader.last_gaps(source.num, GAPS).explain(what)?;
    Ok(Some(History {
        snapshots: reader.snapshot_count(source.num).explain(what)?,
        last: last.number.0,
        last_ns: last.time.0,
        last_time: exact_name(last.time),
        unreadable: last.counts.unreadable,
        fuzzy: last.counts.fuzzy,
        entries: extent.entries,
        files: extent.files,
        bytes: extent.bytes,
        versions: versions.versions,
        version_bytes: versions.bytes,
        gaps,
        gaps_recent,
        last_gaps: last_gaps.into_iter().map(|gap| shown(&source.root, gap)).collect(),
    }))
}

fn shown(root: &[u8], gap: Gap) -> GapShown {
    let path = path::show(&path::join(root, &gap.subtree));
    GapShown { path, from_ns: gap.from.0, to_ns: gap.to.0, why: gap.why }
}

/// Who watches a source on this host, by what it noted, and by the lock that a writer holds.
fn watch(dir: &Path, root: &[u8], now: Instant) -> io::Result<Watch> {
    let beat = heartbeat::heartbeat(dir, root);
    let written = match std::fs::metadata(heartbeat::heartbeat_path(dir, root)).and_then(|m| m.modified()) {
        Ok(at) => at.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok()),
        Err(_) => None,
    };
    let holder = durable::lock_holder(&writer_lock(dir, root))?;
    let fresh = written.is_some_and(|at| now.0.saturating_sub(at) < FRESH_NS);
    Ok(match (beat, holder) {
        (Some(beat), Some(pid)) if beat.pid == pid || (fresh && pid == 0) => Watch::Watched(noted(beat)),
        (_, Some(pid)) => Watch::Capturing { pid },
        (beat, None) => Watch::Unwatched { last: beat.map(noted) },
    })
}

fn noted(beat: Heartbeat) -> Beat {
    Beat {
        pid: beat.pid,
        seen_until_ns: beat.seen_until_ns,
        watcher: beat.watcher,
        watched: beat.watched,
        unwatched: beat.unwatched,
        notes: beat.notes,
        root_gone: beat.root_gone,
    }
}
