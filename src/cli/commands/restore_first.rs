//! Before a restore in place: what is there now is captured, so that nothing is lost by being replaced or removed.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Monotonic};

use serde_json::json;

use crate::capture::{
    engine::{self, Plan, Settings},
    heartbeat,
    report::{CaptureError, Report},
};
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure};
use crate::config::model::Source;
use crate::progress::Progress;
use crate::repo::{attach::Attached, error::RepoError, write::SourceWriter};
use crate::sys::clock;
use crate::types::{
    path,
    snapshot::Tier,
    time::Instant,
    when::{show, zone::Zone},
};
use crate::view::{instant::View, whose::Whose};

/// How often it is looked whether another process has captured.
const POLL: Duration = Duration::from_millis(200);
/// A file that is read so soon after it changed counts as one that may have changed again.
const SETTLE: Duration = Duration::from_millis(50);
/// A process that watches notes every five seconds how far it has seen.
const HEARTBEAT: Duration = Duration::from_secs(6);

/// What a restore in place is about to change, of one source.
struct Part<'a> {
    source: &'a Source,
    plan: Plan,
}

/// What is captured first: absolute paths.
pub(super) enum Now {
    /// Just this.
    Only(Vec<Vec<u8>>),
    /// All that is at and below this.
    Below(Vec<Vec<u8>>),
}

/// Captures what is there before a restore in place.
pub(super) struct First<'a> {
    context: &'a Context,
    at: &'a Arc<Attached>,
    zone: &'a Zone,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
    /// Sources that another process captures.
    busy: Vec<Part<'a>>,
    /// What had changed by then is to be in a snapshot.
    from: Instant,
    until: Monotonic,
}

impl<'a> First<'a> {
    /// Captures it as far as it belongs to sources of the settings. Where it can't, it says why, and
    /// what no snapshot holds will be left as it is.
    pub(super) fn capture(
        context: &'a Context,
        at: &'a Arc<Attached>,
        what: &Now,
        zone: &'a Zone,
        progress: &'a dyn Progress,
        stop: &'a AtomicBool,
    ) -> Result<First<'a>, Failure> {
        let limit = context.config.capture.bound.saturating_mul(2).saturating_add(HEARTBEAT);
        let until = Monotonic::now() + limit;
        let mut first = First { context, at, zone, progress, stop, busy: Vec::new(), from: clock::now(), until };
        std::thread::sleep(SETTLE);
        first.try_all(parts(context, what))?;
        Ok(first)
    }

    /// Waits until another process has captured something, or this one could; false where nothing more is to be expected.
    pub(super) fn wait(&mut self, seen: &View) -> Result<bool, Failure> {
        let index = self.at.reader().into_failure()?;
        if !self.busy.is_empty() {
            self.progress.start("waiting for the process that watches", None);
        }
        while !self.busy.is_empty() && Monotonic::now() < self.until && !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(POLL);
            let (busy, before) = (std::mem::take(&mut self.busy), self.busy.len());
            self.try_all(busy)?;
            if self.busy.len() < before
                || newest(&index, &Whose::own(self.at, &self.context.config.host).into_failure()?)? != *seen
            {
                return Ok(true);
            }
            if self.busy.iter().all(|part| self.has_seen(part)) {
                // One last look.
                self.busy.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the process that watches a source has captured all that had changed when this one began.
    fn has_seen(&self, part: &Part<'_>) -> bool {
        let beat = heartbeat::heartbeat(self.at.dir(), part.source.path.as_os_str().as_bytes());
        beat.is_some_and(|beat| beat.seen_until_ns > self.from.0)
    }

    fn try_all(&mut self, parts: Vec<Part<'a>>) -> Result<(), Failure> {
        for part in parts {
            match self.one(&part) {
                Ok(report) => self.tell(part.source, &report)?,
                Err(CaptureError::Repo(RepoError::Locked { .. })) => self.busy.push(part),
                // Nothing is there that could be lost; and whoever asked to stop is told so by the restore.
                Err(CaptureError::Emptied { .. } | CaptureError::Stopped) => {}
                Err(CaptureError::Root { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    tracing::warn!("cannot capture what is there now: {e}; what no snapshot holds is left where it is")
                }
            }
        }
        Ok(())
    }

    fn one(&self, part: &Part<'_>) -> Result<Report, CaptureError> {
        let root = part.source.path.as_os_str().as_bytes();
        let mut writer = SourceWriter::open(self.at.clone(), &self.context.config.host, root)?;
        let failed = |source| CaptureError::Root { root: root.to_vec(), source };
        let scope = open::scope(self.context, part.source).map_err(|e| failed(io::Error::other(e.to_string())))?;
        let settings = Settings {
            capture: &self.context.config.capture,
            tier: Tier::Incremental,
            always: false,
            progress: self.progress,
            stop: self.stop,
        };
        self.progress.start(&format!("capturing {}", part.source.path.display()), None);
        let report = engine::capture(&mut writer, &scope, &part.plan, &settings);
        self.progress.finish();
        report
    }

    fn tell(&self, source: &Source, report: &Report) -> Result<(), Failure> {
        let Some(snapshot) = &report.snapshot else { return Ok(()) };
        let mut out = self.context.out();
        let root = path::show(source.path.as_os_str().as_bytes());
        if self.context.json {
            let captured = json!({
                "source": root, "number": snapshot.number.0, "time": show::exact_name(snapshot.time),
                "unreadable": report.problems.len(),
            });
            out.json(&json!({ "captured_first": captured }))?;
        } else if !self.context.quiet {
            let time = show::show(snapshot.time, self.zone);
            out.line(format_args!("captured what is there now first: snapshot of {time} ({root})"))?;
        }
        out.finish()
    }
}

/// The newest view of a history.
pub(super) fn newest(index: &crate::index::tree::Reader, whose: &Whose) -> Result<View, Failure> {
    View::of(index, whose, Instant(i64::MAX)).into_failure()
}

/// Whether an absolute path belongs to a source of the settings, and so is captured first.
pub(super) fn is_captured(context: &Context, path: &[u8]) -> bool {
    context.config.sources.iter().any(|s| path::is_within(path, s.path.as_os_str().as_bytes()))
}

/// What of the sources is meant.
fn parts<'a>(context: &'a Context, what: &Now) -> Vec<Part<'a>> {
    let part = |source: &'a Source| {
        let root = source.path.as_os_str().as_bytes();
        let mut plan = Plan::default();
        match what {
            Now::Only(paths) => {
                paths.iter().filter_map(|path| relative(root, path)).for_each(|rel| only(&mut plan, rel))
            }
            Now::Below(paths) => plan.subtrees.extend(paths.iter().filter_map(|path| relative(root, path))),
        }
        Part { source, plan }
    };
    context.config.sources.iter().map(part).filter(|part| part.plan != Plan::default()).collect()
}

/// The part of a source that an absolute path means, relative to its root: all of it, where it lies below the path.
fn relative(root: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    match path::is_within(root, path) {
        true => Some(Vec::new()),
        false if path::is_within(path, root) => {
            Some(path::components(&path[root.len()..]).collect::<Vec<_>>().join(&b'/'))
        }
        false => None,
    }
}

fn only(plan: &mut Plan, rel: Vec<u8>) {
    let Some(name) = path::components(&rel).last().map(<[u8]>::to_vec) else {
        plan.subtrees.insert(rel);
        return;
    };
    let dir = rel[..rel.len() - name.len()].strip_suffix(b"/").unwrap_or_default().to_vec();
    plan.entries.entry(dir).or_default().insert(name);
}
