//! One capture: what is dirty is looked at, read, and sealed as a snapshot.

use crate::capture::{
    compare::{Verdict, compare, is_same_node},
    copy::{self, Fuzzy},
    database, freeze,
    pace::Pace,
    queue::Queue,
    report::{CaptureError, Problem, Report},
    resolve::resolve,
    scope::Scope,
    way,
    worker::{Known, Next, Out, Shared, Worker},
};
use crate::config::model::Capture;
use crate::index::{rows::Row, tree::Reader};
use crate::progress::Progress;
use crate::repo::{
    collect::attend,
    ingest::{Claims, Ingest},
    recording::RecordWriter,
    write::SourceWriter,
};
use crate::sys::{dir, stat};
use crate::types::{
    attr::Place,
    ids::{Node, Snap},
    op::{Gap, Op},
    path,
    snapshot::{Counts, Tier},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

/// What a capture looks at. Paths are relative to the source's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Single entries: names by directory.
    pub entries: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    /// Directories to be listed, without what is below them.
    pub dirs: BTreeSet<Vec<u8>>,
    /// Directories with everything below them.
    pub subtrees: BTreeSet<Vec<u8>>,
    /// Nodes that may have been changed by a name that is gone: the names that are known are looked at.
    pub nodes: BTreeSet<Place>,
    /// Times in which capture was blind, to be recorded.
    pub gaps: Vec<Gap>,
    /// The same, where they are worth a record only if something has changed.
    pub soft_gaps: Vec<Gap>,
}

impl Plan {
    /// Everything.
    pub fn everything() -> Plan {
        Plan { subtrees: BTreeSet::from([Vec::new()]), ..Plan::default() }
    }
}

/// How a capture is done.
pub struct Settings<'a> {
    /// Threads, level and the like.
    pub capture: &'a Capture,
    /// Its tier; a full one reads every byte again.
    pub tier: Tier,
    /// Whether a snapshot is made also where nothing has changed.
    pub always: bool,
    /// Who hears how it goes on.
    pub progress: &'a dyn Progress,
    /// Ends the capture when it is set.
    pub stop: &'a AtomicBool,
}

/// Captures what `plan` names of the writer's source.
///
/// What can't be read is in the report, and the rest is captured. On an error nothing of it shows.
pub fn capture(
    writer: &mut SourceWriter,
    scope: &Scope,
    plan: &Plan,
    settings: &Settings<'_>,
) -> Result<Report, CaptureError> {
    let root_path = writer.source().root.clone();
    let way = way::Way::of(writer.attached().dir(), &root_path)?;
    let ground = freeze::Ground::open(&root_path, scope.atomic)?;
    let root = &ground.root;
    tracing::info!("capturing {}", path::show(&root_path));
    writer.settle()?;
    let _capturing = attend::capturing(writer.attached())?;
    let (head, source) = (writer.head().clone(), writer.source().num);
    let at = writer.attached().clone();
    let first = head.number == Snap(0);
    let tier = writer.possible(settings.tier)?;
    let restated = !first && writer.must_restate()?;
    let everything = Plan { gaps: plan.gaps.clone(), soft_gaps: plan.soft_gaps.clone(), ..Plan::everything() };
    let plan = if restated { &everything } else { plan };
    if restated {
        tracing::warn!(
            "{}: records that it would rest on are lost: this snapshot is a full one",
            path::show(&root_path)
        );
    }
    if let Err(e) = database::remove_left_over(at.dir(), source.0) {
        tracing::warn!("cannot remove what an earlier capture has left in {}: {e}", at.dir().display());
    }
    let bulk = !is_few(plan);
    let _bulk = bulk.then(|| Pace::of_process().bulk((!first).then_some(head.time)));
    let shared = Shared {
        root,
        device: ground.device,
        root_path: &root_path,
        state: at.dir(),
        source,
        head: head.number,
        scope,
        full: tier == Tier::Full && !first,
        next: Next::new(head.next),
        links: Mutex::default(),
        moved: Mutex::default(),
        looked: Mutex::default(),
        removed: Mutex::default(),
        queue: Queue::new(Vec::new()),
        progress: settings.progress,
        stop: settings.stop,
        bulk,
    };
    let avoid = writer.avoid()?;
    let claims = Arc::new(Claims::default());
    let (to, from) = crossbeam_channel::bounded(64);
    let mut workers = Vec::new();
    for _ in 0..threads_for(plan, settings.capture.threads) {
        let ingest = Ingest::new(at.repo().clone(), at.reader()?, claims.clone(), settings.capture.level)?
            .without(avoid.clone());
        workers.push(Worker::new(&shared, ingest, to.clone()));
    }
    drop(to);
    let mut report = Report::default();
    let reader = at.reader()?;
    if let Some(lead) = workers.first_mut() {
        look_at_root(lead, &reader, root)?;
    }
    let tasks = resolve(&shared, plan, &reader)?;
    shared.queue.push(tasks.into_iter());
    let mut record = writer.begin(tier, claims)?;
    let mut sink = Sink { report: &mut report, counts: Counts::default() };
    for gap in &plan.gaps {
        record.op(Op::Gap(gap.clone()))?;
    }
    let stored = std::thread::scope(|scope| -> Result<u64, CaptureError> {
        let threads = workers
            .into_iter()
            .enumerate()
            .map(|(n, mut worker)| {
                let shared = &shared;
                std::thread::Builder::new()
                    .name(format!("capture-{n}"))
                    .spawn_scoped(scope, move || {
                        let result = worker.run().and_then(|()| worker.finish());
                        if result.is_err() {
                            shared.queue.stop();
                        }
                        result
                    })
                    .map_err(|e| {
                        shared.queue.stop();
                        CaptureError::Thread(e)
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut failure = None;
        for batch in &from {
            if failure.is_none()
                && let Err(e) = sink.take(&mut record, batch)
            {
                shared.queue.stop();
                failure = Some(e);
            }
        }
        let mut stored = 0;
        for thread in threads {
            match join(thread)? {
                Ok(bytes) => stored += bytes,
                Err(CaptureError::Stopped) => failure = failure.or(Some(CaptureError::Stopped)),
                // What a thread says weighs more than that the others were stopped for it.
                Err(e) => failure = Some(e),
            }
        }
        failure.map_or(Ok(stored), Err)
    })?;
    let counts = Counts { stored_bytes: stored, ..sink.counts };
    close_removed(&shared, &reader, &mut record)?;
    if !record.is_empty() {
        for gap in &plan.soft_gaps {
            record.op(Op::Gap(gap.clone()))?;
        }
    }
    if record.is_empty() && !settings.always && !first && !restated {
        record.discard()?;
    } else {
        let counts = Counts { unreadable: report.problems.len() as u64, fuzzy: report.fuzzy_count() as u64, ..counts };
        report.snapshot = Some(record.finish(shared.next.counters(), counts)?);
    }
    way.note()?;
    tell_end(&root_path, &report);
    Ok(report)
}

fn tell_end(root: &[u8], report: &Report) {
    let (root, seen, problems) = (path::show(root), report.seen, report.problems.len());
    match &report.snapshot {
        Some(s) => {
            let (n, c) = (s.number.0, &s.counts);
            tracing::info!(
                "captured {root}: snapshot {n}; looked at {seen} entries, {} new, {} changed, {} removed, {problems} not read",
                c.new,
                c.changed,
                c.removed
            );
        }
        None => tracing::info!("captured {root}: looked at {seen} entries, nothing had changed"),
    }
}

/// One thread is enough for a few entries, and costs less.
fn threads_for(plan: &Plan, configured: usize) -> usize {
    if is_few(plan) { 1 } else { configured.max(1) }
}

/// Whether a capture is of a few changes: then it waits for nobody.
fn is_few(plan: &Plan) -> bool {
    plan.subtrees.is_empty() && plan.dirs.is_empty() && plan.entries.values().map(BTreeSet::len).sum::<usize>() < 32
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> Result<T, CaptureError> {
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        CaptureError::Panic(text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default())
    })
}

/// Takes what the threads hand over.
struct Sink<'a> {
    report: &'a mut Report,
    counts: Counts,
}

impl Sink<'_> {
    fn take(&mut self, record: &mut RecordWriter<'_>, batch: Vec<Out>) -> Result<(), CaptureError> {
        for out in batch {
            match out {
                Out::Op(op) => record.op(op)?,
                Out::Framed(framed) => record.frame(framed)?,
                Out::Seen { parent, name, place, seen } => record.seen(parent, &name, place.dev, place.ino, seen)?,
                Out::Problem(problem) => self.report.problems.push(problem),
                Out::Fuzzy(path, Fuzzy::Changed) => self.report.fuzzy.push(path),
                Out::Fuzzy(path, Fuzzy::NoImage(why)) => self.report.no_image.push(Problem { path, why }),
                Out::Altered(path) => self.report.altered.push(path),
                Out::Socket => self.report.sockets += 1,
                Out::Counted { seen, read_bytes } => {
                    self.report.seen += seen;
                    self.counts.read_bytes += read_bytes;
                }
                Out::Large { path, bytes, ns } => self.report.large.push((path, bytes, ns)),
            }
        }
        Ok(())
    }
}

/// The root itself: whatever directory stands at the path of the source is its root.
fn look_at_root(worker: &mut Worker<'_>, index: &Reader, root: &OwnedFd) -> Result<(), CaptureError> {
    let shared = worker.shared;
    let failed = |source| CaptureError::Root { root: shared.root_path.to_vec(), source };
    let stat = stat::of(root).map_err(failed)?;
    let row = index.child(shared.source, Node::ABOVE, b"", shared.head)?;
    refuse_emptied(shared, index, root, &stat, row.as_ref())?;
    if let Some(row) = &row
        && compare(row, &stat, false) == Verdict::Unchanged
    {
        return Ok(());
    }
    let copied = copy::copy_dir(root).map_err(failed)?;
    let known = match row {
        Some(row) => Known::Row(Box::new(row)),
        None => {
            // Where the records that brought it are lost, its number was given before.
            if shared.next.counters().dir == 1 {
                shared.next.node(true);
            }
            Known::New(Node::ROOT)
        }
    };
    worker.state(Node::ABOVE, Vec::new(), copied, known).map(drop)
}

/// Another directory at the path of the source is taken for it, but not an empty one: that is what an unmounted file system
/// leaves, and recording it would end everything.
fn refuse_emptied(
    shared: &Shared<'_>,
    index: &Reader,
    root: &OwnedFd,
    stat: &stat::Stat,
    row: Option<&Row>,
) -> Result<(), CaptureError> {
    let Some(_) = row.filter(|row| !is_same_node(row, stat)) else { return Ok(()) };
    let path = |source| CaptureError::Root { root: shared.root_path.to_vec(), source };
    let mut listing = dir::Listing::new();
    dir::list(root, &mut Vec::new(), &mut listing).map_err(path)?;
    if listing.is_empty() && !index.children(shared.source, Node::ROOT, shared.head)?.is_empty() {
        return Err(CaptureError::Emptied { root: shared.root_path.to_vec() });
    }
    Ok(())
}

/// Ends everything that was in directories which are gone and was not found elsewhere.
fn close_removed(shared: &Shared<'_>, index: &Reader, record: &mut RecordWriter<'_>) -> Result<(), CaptureError> {
    let lock = |m: &Mutex<HashSet<Node>>| m.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let moved = lock(&shared.moved);
    let mut removed = std::mem::take(&mut *shared.removed.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    while let Some(node) = removed.pop() {
        if moved.contains(&node) {
            continue;
        }
        for row in index.children(shared.source, node, shared.head)? {
            if row.node.is_dir() {
                removed.push(row.node);
            }
            record.op(Op::Close { parent: node, name: row.name })?;
        }
    }
    Ok(())
}
