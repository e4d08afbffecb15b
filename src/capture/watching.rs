//! Continuous capture of one source: watch, coalesce, capture, again and again.

use crate::capture::{
    dirty::{
        budget::Share,
        machine::{Batch, Blind, Dirty, RootChange},
    },
    engine::{self, Plan, Settings},
    heartbeat::{Heartbeat, heartbeat, heartbeat_path},
    pace::Pace,
    report::{CaptureError, Report},
    scope::{Scope, bytes, is_freezer},
    steer::{Steering, Wanted},
    watch::{
        hint::Hint,
        watcher::{self, Prefer, WatchError, WatchOptions, WatchStatus, Watcher},
    },
};
use crate::config::{
    model::{self, Capture},
    patterns::Patterns,
};
use crate::progress::Progress;
use crate::repo::{error::RepoError, write::SourceWriter};
use crate::sys::{clock, durable};
use crate::types::{ids::Snap, op::Gap, snapshot::Tier, time::Instant};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{self, Duration},
};

/// Hints that may wait; more are merged by the watcher.
const HINTS: usize = 65_536;
/// What could not be watched is scanned at this interval at the latest.
const UNWATCHED_INTERVAL: Duration = Duration::from_secs(300);
/// How often it is noted that the source is being watched.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long to wait after a failure, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// So long at most what has been produced waits for the rest of it: much of it that takes hours is captured by and by.
const PRODUCER: Duration = Duration::from_secs(600);
/// Why there is a gap where capture was held still.
const PAUSED: &str = "paused";
/// The loop looks at the stop flag this often.
const TICK: Duration = Duration::from_millis(200);

/// What happens while a source is watched.
#[derive(Debug)]
pub enum Event {
    /// Watching has begun, by this watcher.
    Watching(&'static str, WatchStatus),
    /// The first capture begins.
    Begins,
    /// A snapshot was made, or nothing had changed.
    Captured(Report),
    /// A capture failed; what it would have captured is tried again.
    Failed(CaptureError, Duration),
    /// The root of the source is not there.
    RootGone,
    /// It is there again; not the same directory if false.
    RootBack(bool),
}

/// How a source is watched.
pub struct Options<'a> {
    /// The source.
    pub source: &'a model::Source,
    /// The capture settings.
    pub capture: &'a Capture,
    /// Directories that are never captured.
    pub never: Vec<PathBuf>,
    /// Who hears how the first capture goes on.
    pub progress: &'a dyn Progress,
    /// Who hears what happens.
    pub events: &'a (dyn Fn(Event) + Sync),
    /// Ends it all when it is set.
    pub stop: &'a AtomicBool,
    /// How it is steered meanwhile, if it is.
    pub steering: Option<&'a Steering>,
    /// Whether the data of the source is being produced now: nothing is captured by itself until it is all there.
    pub is_going: &'a (dyn Fn() -> bool + Sync),
}

/// Why a source can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchingError {
    /// The watcher did not start.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The index is not what it was.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The first capture failed.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// Watches a source until `stop` is set. Begins with a capture of all that changed while nothing watched, as soon as capture is
/// not held still.
pub fn watch(mut writer: SourceWriter, mut scope: Scope, options: &Options<'_>) -> Result<(), WatchingError> {
    let (to, hints) = crossbeam_channel::bounded(HINTS);
    let watcher = watcher::start(&options.source.path, &watch_options(options), to)?;
    (options.events)(Event::Watching(watcher.kind(), watcher.status()));
    let capture = options.capture;
    let queue = hints.clone();
    let _counting = Pace::of_process().counting(Arc::new(move || queue.len()));
    let share = Share { share: f64::from(capture.large_file_share.max(1)) / 100.0, ..Share::default() };
    let mut state = Watching {
        dirty: Dirty::new(capture.quiet, capture.bound, share),
        options,
        watcher,
        hints,
        backoff: BACKOFF.0,
        retry_at: None,
        scanned: clock::now(),
        unwatched_scanned: (clock::now(), time::Instant::now()),
        next_scan: time::Instant::now() + capture.scan_interval,
        beat: None,
        held: None,
        pauses: Vec::new(),
        missed: None,
        waiting: None,
    };
    state.begin(&mut writer, &mut scope)?;
    while !options.stop.load(Ordering::Relaxed) {
        let due = state.listen() && !state.waits_for_producer();
        state.answer(&mut writer, &mut scope);
        if due {
            state.step(&mut writer, &mut scope)?;
        }
        state.heartbeat(&writer)?;
    }
    state.beat = None;
    state.heartbeat(&writer)
}

fn watch_options(options: &Options<'_>) -> WatchOptions {
    // A scope of its own, since the watcher lives in other threads; patterns that compiled once compile again.
    let patterns = Patterns::compile(&options.source.exclude, &options.source.include);
    let mut watch = WatchOptions::new(Arc::new(clock::now));
    if let Ok(patterns) = patterns {
        let kind = options.source.kind.clone();
        watch.exclude =
            Arc::new(move |rel, is_dir| is_freezer(rel) || kind.is_unfinished(rel) || patterns.excluded(rel, is_dir));
    }
    watch.skip = options.never.clone();
    watch.prefer = match options.capture.watcher {
        model::Watcher::Auto => Prefer::Auto,
        model::Watcher::Fanotify => Prefer::Fanotify,
        model::Watcher::Inotify => Prefer::Inotify,
    };
    // What is produced is written by this process, and is what is to be captured.
    watch.ignore_pid = (!options.source.kind.is_produced()).then(std::process::id);
    watch
}

struct Watching<'a> {
    options: &'a Options<'a>,
    watcher: Box<dyn Watcher>,
    hints: Receiver<Hint>,
    dirty: Dirty,
    backoff: Duration,
    retry_at: Option<time::Instant>,
    /// Everything had been seen at this instant.
    scanned: Instant,
    unwatched_scanned: (Instant, time::Instant),
    next_scan: time::Instant,
    beat: Option<time::Instant>,
    /// Capture is held still since then.
    held: Option<Instant>,
    /// Times in which it was, and something changed.
    pauses: Vec<Gap>,
    /// The time before watching began, until a capture has it.
    missed: Option<Gap>,
    /// What is due waits for its producer since then.
    waiting: Option<time::Instant>,
}

/// Tells of the large files that have changed and are not due again yet; some of them by name.
fn resting(paths: &[&[u8]]) -> Option<String> {
    let first: Vec<String> = paths.iter().take(3).map(|path| crate::types::path::show(path)).collect();
    let more = if paths.len() > first.len() { ", ..." } else { "" };
    (!paths.is_empty()).then(|| {
        let (n, first) = (paths.len(), first.join(", "));
        format!("{n} large file(s) have changed again and wait, to keep to large-file-share: {first}{more}")
    })
}

/// The time since a source was seen last, if it ever was.
fn missed(writer: &SourceWriter, why: &str) -> Option<Gap> {
    let (head, now) = (writer.head(), clock::now());
    let seen = heartbeat(writer.attached().dir(), &writer.source().root).map(|h| Instant(h.seen_until_ns));
    let from = seen.map_or(head.time, |seen| seen.max(head.time)).min(now);
    (head.number > Snap(0)).then(|| Gap { subtree: Vec::new(), from, to: now, why: why.into() })
}

fn gaps(batch: &Batch, to: Instant) -> Vec<Gap> {
    let gap = |blind: &Blind| Gap { subtree: blind.dir.clone(), from: blind.since, to, why: blind.why.as_str().into() };
    batch.gaps.iter().map(gap).collect()
}

fn capture(
    writer: &mut SourceWriter,
    scope: &mut Scope,
    plan: &Plan,
    how: &Settings<'_>,
) -> Result<Report, CaptureError> {
    if let Err(e) = scope.refresh() {
        tracing::warn!("cannot read the table of mounts: {e}; it is taken as it was");
    }
    engine::capture(writer, scope, plan, how)
}

impl Watching<'_> {
    /// The first capture, as soon as nothing holds it still.
    fn begin(&mut self, writer: &mut SourceWriter, scope: &mut Scope) -> Result<(), WatchingError> {
        let held = self.is_held();
        self.missed = missed(writer, if held { PAUSED } else { "nothing watched" });
        while self.is_held() {
            if self.options.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.listen();
            self.answer(writer, scope);
            self.heartbeat(writer)?;
        }
        Ok(self.catch_up(writer, scope)?)
    }

    /// The first capture: everything, and the time since the last one as a gap.
    fn catch_up(&mut self, writer: &mut SourceWriter, scope: &mut Scope) -> Result<(), CaptureError> {
        (self.options.events)(Event::Begins);
        let batch = self.take();
        let now = clock::now();
        let gaps = self.missed.iter().cloned().chain(gaps(&batch, now)).collect();
        let plan = Plan { gaps, soft_gaps: self.pauses.clone(), ..Plan::everything() };
        self.options.progress.start(&format!("capturing {}", self.options.source.path.display()), None);
        let report = self.capture(writer, scope, &plan, self.options.progress);
        self.options.progress.finish();
        self.done(report?);
        self.scanned = now;
        Ok(())
    }

    /// Takes hints until it is time to capture; true then.
    fn listen(&mut self) -> bool {
        if self.is_held() {
            // What is due stays due, and must not keep the loop busy.
            std::thread::sleep(TICK);
            self.drain();
            return false;
        }
        let now = time::Instant::now();
        let due = [self.dirty.ready_at(), Some(self.next_scan)].into_iter().flatten().min();
        let due = due.map(|due| self.retry_at.map_or(due, |retry| due.max(retry)));
        let wait = due.map_or(TICK, |due| due.saturating_duration_since(now)).min(TICK);
        if wait.is_zero() && due.is_some_and(|due| due <= now) {
            self.drain();
            // More may have come that is not quiet yet.
            return [self.dirty.ready_at(), Some(self.next_scan)]
                .into_iter()
                .flatten()
                .any(|due| due <= time::Instant::now());
        }
        match self.hints.recv_timeout(wait) {
            Ok(hint) => {
                self.dirty.hint(time::Instant::now(), hint);
                self.drain();
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The watcher ended: the interval scans go on, and the heartbeat tells.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
        }
        false
    }

    /// Whether what is due waits for the rest of what is being produced: so it becomes one snapshot.
    fn waits_for_producer(&mut self) -> bool {
        if !(self.options.is_going)() {
            self.waiting = None;
            return false;
        }
        let since = *self.waiting.get_or_insert_with(time::Instant::now);
        let waits = since.elapsed() < PRODUCER;
        if waits {
            // What is due stays due, and must not keep the loop busy.
            std::thread::sleep(TICK);
        }
        waits
    }

    fn drain(&mut self) {
        while let Ok(hint) = self.hints.try_recv() {
            self.dirty.hint(time::Instant::now(), hint);
        }
    }

    /// Whether capture is held still now. Says that watching goes on.
    fn is_held(&mut self) -> bool {
        let Some(steering) = self.options.steering else { return false };
        steering.alive.add(0, 0);
        let hold = steering.hold.load(Ordering::Relaxed);
        match (hold, self.held) {
            (true, None) => self.held = Some(clock::now()),
            (false, Some(_)) => {
                self.drain();
                self.note_pause(clock::now());
                self.held = None;
            }
            _ => {}
        }
        hold
    }

    /// The time up to now in which capture was held still is a gap, if something changed in it.
    fn note_pause(&mut self, now: Instant) {
        let dirty = self.dirty.ready_at().is_some();
        let gap = |from| Gap { subtree: Vec::new(), from, to: now, why: PAUSED.into() };
        self.pauses.extend(self.held.filter(|_| dirty).map(gap));
    }

    /// Takes the snapshots that are wanted.
    fn answer(&mut self, writer: &mut SourceWriter, scope: &mut Scope) {
        let Some(steering) = self.options.steering else { return };
        while let Ok(Wanted { tier, stop, told }) = steering.wanted.try_recv() {
            self.drain();
            let now = clock::now();
            self.note_pause(now);
            self.held = self.held.map(|_| now);
            let batch = self.take();
            let gaps = self.missed.iter().cloned().chain(gaps(&batch, now)).collect();
            let plan = Plan { gaps, soft_gaps: self.pauses.clone(), ..Plan::everything() };
            let how =
                Settings { capture: self.options.capture, tier, always: true, progress: &*steering.alive, stop: &stop };
            let result = capture(writer, scope, &plan, &how);
            match &result {
                Ok(report) => {
                    self.scanned = now;
                    self.done(report.clone());
                }
                Err(_) => self.dirty.put_back(time::Instant::now(), batch),
            }
            // Who does not wait any more is not told.
            let _gone = told.send(result);
        }
    }

    /// What is dirty. Tells what became of the root.
    fn take(&mut self) -> Batch {
        let batch = self.dirty.take(time::Instant::now());
        match batch.root {
            Some(RootChange::Gone) => (self.options.events)(Event::RootGone),
            Some(RootChange::Back { same }) => (self.options.events)(Event::RootBack(same)),
            None => {}
        }
        batch
    }

    fn step(&mut self, writer: &mut SourceWriter, scope: &mut Scope) -> Result<(), CaptureError> {
        let batch = self.take();
        let now = clock::now();
        let plan = self.plan(&batch, now);
        if plan == Plan::default() {
            return Ok(());
        }
        let plan = Plan { soft_gaps: [self.pauses.clone(), plan.soft_gaps.clone()].concat(), ..plan };
        let scanned_all = plan.subtrees.contains(&Vec::new());
        let progress: &dyn Progress = self.options.steering.map_or(&crate::progress::Quiet, |s| &*s.alive);
        match self.capture(writer, scope, &plan, progress) {
            Ok(report) => {
                if scanned_all {
                    self.scanned = now;
                }
                self.done(report);
            }
            Err(CaptureError::Stopped) => self.dirty.put_back(time::Instant::now(), batch),
            // Whoever watches begins again, and captures everything.
            Err(e @ CaptureError::Repo(RepoError::SecondWriter { .. } | RepoError::Fenced { .. })) => return Err(e),
            Err(e) => {
                self.dirty.put_back(time::Instant::now(), batch);
                self.retry_at = Some(time::Instant::now() + self.backoff);
                (self.options.events)(Event::Failed(e, self.backoff));
                self.backoff = (self.backoff * 2).min(BACKOFF.1);
            }
        }
        Ok(())
    }

    fn plan(&mut self, batch: &Batch, now: Instant) -> Plan {
        let mut plan = Plan {
            entries: batch.paths.entries.clone(),
            dirs: batch.paths.dirs.clone(),
            subtrees: batch.paths.subtrees.clone(),
            nodes: batch.paths.nodes.clone(),
            gaps: gaps(batch, now),
            ..Plan::default()
        };
        let instant = time::Instant::now();
        if instant >= self.next_scan {
            self.next_scan = instant + self.options.capture.scan_interval;
            plan.subtrees = BTreeSet::from([Vec::new()]);
        }
        if instant >= self.unwatched_scanned.1 + UNWATCHED_INTERVAL.min(self.options.capture.scan_interval) {
            for unwatched in self.watcher.status().unwatched {
                let from = self.unwatched_scanned.0;
                plan.soft_gaps.push(Gap { subtree: unwatched.dir.clone(), from, to: now, why: unwatched.why });
                plan.subtrees.insert(unwatched.dir);
            }
            self.unwatched_scanned = (now, instant);
        }
        plan
    }

    fn capture(
        &mut self,
        writer: &mut SourceWriter,
        scope: &mut Scope,
        plan: &Plan,
        progress: &dyn Progress,
    ) -> Result<Report, CaptureError> {
        let how = Settings {
            capture: self.options.capture,
            tier: Tier::Incremental,
            always: false,
            progress,
            stop: self.options.stop,
        };
        capture(writer, scope, plan, &how)
    }

    fn done(&mut self, report: Report) {
        self.backoff = BACKOFF.0;
        self.retry_at = None;
        self.pauses.clear();
        self.missed = None;
        for (path, bytes, ns) in &report.large {
            let cost = Duration::from_nanos((*ns).max(0) as u64);
            self.dirty.captured(path, *bytes, cost, time::Instant::now());
        }
        (self.options.events)(Event::Captured(report));
    }

    /// Notes how far everything has been seen. Fails where the index was taken away: then nobody would see what is captured.
    fn heartbeat(&mut self, writer: &SourceWriter) -> Result<(), WatchingError> {
        if self.beat.is_some_and(|beat| beat.elapsed() < HEARTBEAT) {
            return Ok(());
        }
        writer.attached().check_in_place()?;
        let status = self.watcher.status();
        // What is dirty has been seen to have changed, but not been captured: then only the last capture counts.
        let seen = match &self.missed {
            Some(missed) => missed.from,
            None if self.dirty.ready_at().is_none() && !status.root_gone => clock::now(),
            None => writer.head().time,
        };
        let show = |path: &[u8]| crate::types::path::show(path);
        let resting = resting(&self.dirty.resting(time::Instant::now()));
        let beat = Heartbeat {
            pid: std::process::id(),
            seen_until_ns: seen.0,
            watcher: self.watcher.kind().into(),
            watched: status.watched,
            unwatched: status.unwatched.iter().map(|u| (show(&u.dir), u.why.clone())).collect(),
            notes: status.notes.into_iter().chain(resting).collect(),
            root_gone: status.root_gone,
        };
        let path = heartbeat_path(writer.attached().dir(), bytes(&self.options.source.path));
        let written = serde_json::to_vec(&beat).map_err(std::io::Error::from);
        if let Err(e) = written.and_then(|json| durable::replace(&path, &json, 0o600).map_err(std::io::Error::from)) {
            tracing::warn!("cannot note in {} that the source is watched: {e}", path.display());
        }
        self.beat = Some(time::Instant::now());
        Ok(())
    }
}
