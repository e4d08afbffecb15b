//! One capture: what is dirty is looked at, read, and sealed as a snapshot.

use crate::capture::{
    compare::{Verdict, compare, is_same_node},
    copy,
    queue::Queue,
    report::{CaptureError, Report},
    scan::{is_gone, is_tagged},
    scope::{CACHEDIR_TAG, Descent, Scope},
    visit::{Dir, Known, Next, Out, Shared, Task, Worker, path_of},
};
use crate::config::model::Capture;
use crate::index::{rows::Row, tree::Reader};
use crate::progress::Progress;
use crate::repo::{
    ingest::{Claims, Ingest},
    write::{RecordWriter, SourceWriter},
};
use crate::sys::{dir, stat};
use crate::types::{
    ids::{Node, Snap},
    op::{Gap, Op},
    path,
    snapshot::{Counts, Tier},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
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
    let root = dir::open_root(Path::new(OsStr::from_bytes(&root_path)))
        .map_err(|source| CaptureError::Root { root: root_path.clone(), source })?;
    tracing::info!("capturing {}", path::show(&root_path));
    writer.settle()?;
    let (head, source) = (writer.head().clone(), writer.source().num);
    let at = writer.attached().clone();
    let first = head.number == Snap(0);
    let tier = if first { Tier::Full } else { settings.tier };
    let shared = Shared {
        root: &root,
        root_path: &root_path,
        source,
        head: head.number,
        scope,
        full: settings.tier == Tier::Full,
        next: Next::new(head.next),
        links: Mutex::default(),
        moved: Mutex::default(),
        looked: Mutex::default(),
        removed: Mutex::default(),
        queue: Queue::new(Vec::new()),
        progress: settings.progress,
        stop: settings.stop,
    };
    let lost = writer.lost_packs().clone();
    let claims = Arc::new(Claims::default());
    let (to, from) = crossbeam_channel::bounded(64);
    let mut workers = Vec::new();
    for _ in 0..threads_for(plan, settings.capture.threads) {
        let ingest =
            Ingest::new(at.repo().clone(), at.reader()?, claims.clone(), settings.capture.level)?.without(lost.clone());
        workers.push(Worker::new(&shared, ingest, to.clone()));
    }
    drop(to);
    let mut report = Report::default();
    let reader = at.reader()?;
    if let Some(lead) = workers.first_mut() {
        look_at_root(lead, &reader, &root)?;
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
    if record.is_empty() && !settings.always && !first {
        record.discard()?;
    } else {
        let counts = Counts { unreadable: report.problems.len() as u64, fuzzy: report.fuzzy.len() as u64, ..counts };
        report.snapshot = Some(record.finish(shared.next.counters(), counts)?);
    }
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
    let few = plan.subtrees.is_empty()
        && plan.dirs.is_empty()
        && plan.entries.values().map(BTreeSet::len).sum::<usize>() < 32;
    if few { 1 } else { configured.max(1) }
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
                Out::Fuzzy(path) => self.report.fuzzy.push(path),
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
            let node = shared.next.node(true);
            debug_assert!(node == Node::ROOT);
            Known::New(node)
        }
    };
    worker.state(Node::ABOVE, Vec::new(), copied, known)
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

/// The tasks that a plan comes to.
fn resolve(shared: &Shared<'_>, plan: &Plan, index: &Reader) -> Result<Vec<Task>, CaptureError> {
    if plan.subtrees.contains(&Vec::new()) {
        let known = shared.head != Snap(0);
        return Ok(vec![Task::Scan { parent: None, name: Vec::new(), node: Node::ROOT, known, deep: true }]);
    }
    let mut looked = Resolved::default();
    for (dir, names) in &plan.entries {
        looked.names(shared, index, dir, names)?;
    }
    for dir in &plan.dirs {
        looked.scan(shared, index, dir, false)?;
    }
    for dir in &plan.subtrees {
        looked.scan(shared, index, dir, true)?;
    }
    Ok(looked.tasks())
}

/// Directories that are open, and the names in them that are to be looked at.
#[derive(Default)]
struct Resolved {
    dirs: HashMap<Vec<u8>, Option<Arc<Dir>>>,
    names: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, bool>>,
    scans: BTreeMap<Vec<u8>, bool>,
}

impl Resolved {
    /// Names of a directory; and the directory itself, whose times have changed with them.
    fn names(
        &mut self,
        shared: &Shared<'_>,
        index: &Reader,
        dir: &[u8],
        names: &BTreeSet<Vec<u8>>,
    ) -> Result<(), CaptureError> {
        if shared.scope.is_excluded_below(dir, true) {
            return Ok(());
        }
        if shared.scope.cachedir_tag && names.contains(CACHEDIR_TAG) {
            // The tag tells of everything in the directory.
            return self.scan(shared, index, dir, true);
        }
        let (known, next) = self.known_part(shared, index, dir)?;
        match next {
            None => {
                for name in names.iter().filter(|name| path::is_name(name)) {
                    self.other_names(shared, index, &known, name)?;
                    self.names.entry(known.clone()).or_default().entry(name.clone()).or_insert(false);
                }
                self.itself(shared, index, dir)
            }
            // The index does not know the directory (yet, or at this place): look at what leads to it, and below.
            Some(name) => {
                *self.names.entry(known).or_default().entry(name).or_insert(true) = true;
                Ok(())
            }
        }
    }

    /// The other names of a node that is changed by one of them: that one may be gone by now, and nothing tells of the others.
    fn other_names(
        &mut self,
        shared: &Shared<'_>,
        index: &Reader,
        dir: &[u8],
        name: &[u8],
    ) -> Result<(), CaptureError> {
        let Some(parent) = self.open(shared, index, dir)?.map(|dir| dir.node) else { return Ok(()) };
        let row = match index.child(shared.source, parent, name, shared.head)? {
            Some(row) => Some(row),
            // It may have been changed by somebody who has it open still.
            None => index.last_closed(shared.source, parent, name)?,
        };
        let Some(row) = row.filter(|row| row.linked) else { return Ok(()) };
        for other in index.names(shared.source, row.node, shared.head)? {
            let Some(rel) = path_of(index, shared, &other)? else { continue };
            let (dir, name) = split(&rel);
            if self.open(shared, index, dir)?.is_some() {
                self.names.entry(dir.to_vec()).or_default().entry(name.to_vec()).or_insert(false);
            }
        }
        Ok(())
    }

    fn itself(&mut self, shared: &Shared<'_>, index: &Reader, dir: &[u8]) -> Result<(), CaptureError> {
        let Some(at) = dir.iter().rposition(|b| *b == b'/').or(if dir.is_empty() { None } else { Some(0) }) else {
            return Ok(());
        };
        let (parent, name) = if dir[at] == b'/' { (&dir[..at], &dir[at + 1..]) } else { (&dir[..0], dir) };
        let (known, next) = self.known_part(shared, index, parent)?;
        if next.is_none() {
            self.names.entry(known).or_default().entry(name.to_vec()).or_insert(false);
        }
        Ok(())
    }

    fn scan(&mut self, shared: &Shared<'_>, index: &Reader, dir: &[u8], deep: bool) -> Result<(), CaptureError> {
        if shared.scope.is_excluded_below(dir, true) {
            return Ok(());
        }
        let (known, next) = self.known_part(shared, index, dir)?;
        match next {
            None => {
                *self.scans.entry(known).or_default() |= deep;
                self.itself(shared, index, dir)
            }
            Some(name) => {
                *self.names.entry(known).or_default().entry(name).or_insert(true) = true;
                Ok(())
            }
        }
    }

    /// The part of a path that the index knows and that is there, and the first name that is not.
    fn known_part(
        &mut self,
        shared: &Shared<'_>,
        index: &Reader,
        dir: &[u8],
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), CaptureError> {
        let mut known = Vec::new();
        if self.open(shared, index, &known)?.is_none() {
            return Ok((known, None));
        }
        for name in path::components(dir) {
            let below = path::join(&known, name);
            if self.open(shared, index, &below)?.is_none() {
                return Ok((known, Some(name.to_vec())));
            }
            known = below;
        }
        Ok((known, None))
    }

    /// A directory that the index knows, that is the same on disk, and of which everything belongs to the source: where
    /// that is not so, a scan of it tells what is left out.
    fn open(&mut self, shared: &Shared<'_>, index: &Reader, rel: &[u8]) -> Result<Option<Arc<Dir>>, CaptureError> {
        if let Some(found) = self.dirs.get(rel) {
            return Ok(found.clone());
        }
        let found = self.open_known(shared, index, rel)?;
        self.dirs.insert(rel.to_vec(), found.clone());
        Ok(found)
    }

    fn open_known(
        &mut self,
        shared: &Shared<'_>,
        index: &Reader,
        rel: &[u8],
    ) -> Result<Option<Arc<Dir>>, CaptureError> {
        let failed = |source| CaptureError::Root { root: rel.to_vec(), source };
        if rel.is_empty() {
            let fd = shared.root.try_clone().map_err(failed)?;
            let dev = stat::of(&fd).map_err(failed)?.place.dev;
            return Ok(Some(Arc::new(Dir { fd, node: Node::ROOT, rel: Vec::new(), dev })));
        }
        let at = rel.iter().rposition(|b| *b == b'/');
        let (parent, name) = at.map_or((&rel[..0], rel), |at| (&rel[..at], &rel[at + 1..]));
        let Some(parent) = self.open(shared, index, parent)? else { return Ok(None) };
        let Some(row) = index.child(shared.source, parent.node, name, shared.head)? else { return Ok(None) };
        if !row.node.is_dir() {
            return Ok(None);
        }
        let opened = dir::open_at(&parent.fd, name).and_then(|fd| stat::of(&fd).map(|stat| (fd, stat)));
        match opened {
            Ok((fd, stat)) if is_same_node(&row, &stat) && is_whole(shared, &fd, &stat, parent.dev) => {
                Ok(Some(Arc::new(Dir { fd, node: row.node, rel: rel.to_vec(), dev: stat.place.dev })))
            }
            Ok(_) => Ok(None),
            Err(e) if is_gone(&e) => Ok(None),
            // It can't be opened: looking at its name says so.
            Err(_) => Ok(None),
        }
    }

    fn tasks(self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let dir_of = |rel: &[u8]| self.dirs.get(rel).cloned().flatten();
        for (rel, names) in &self.names {
            let names: Vec<_> = match self.scans.get(rel) {
                // The scan looks at all of them.
                Some(_) => names.iter().filter(|(_, deep)| **deep).map(|(n, d)| (n.clone(), *d)).collect(),
                None => names.iter().map(|(n, d)| (n.clone(), *d)).collect(),
            };
            let below_scan = self
                .scans
                .iter()
                .any(|(dir, deep)| *deep && rel != dir && path::is_within(rel, dir) && !dir.is_empty());
            let covered = self.scans.get(rel).is_some_and(|deep| *deep) || below_scan;
            if let Some(dir) = dir_of(rel)
                && !names.is_empty()
                && !covered
            {
                tasks.push(Task::Names { dir, names });
            }
        }
        for (rel, deep) in &self.scans {
            let covered = self.scans.iter().any(|(dir, deep)| *deep && dir != rel && path::is_within(rel, dir));
            if let Some(dir) = dir_of(rel)
                && !covered
            {
                let (parent, name) = split(rel);
                let task = match dir_of(parent) {
                    Some(up) if !rel.is_empty() => {
                        Task::Scan { parent: Some(up), name: name.to_vec(), node: dir.node, known: true, deep: *deep }
                    }
                    _ => Task::Scan { parent: None, name: Vec::new(), node: Node::ROOT, known: true, deep: *deep },
                };
                tasks.push(task);
            }
        }
        tasks
    }
}

/// Whether everything in a directory belongs to the source, as far as no pattern leaves it out. What can't be told will be
/// by looking at its name.
fn is_whole(shared: &Shared<'_>, fd: &OwnedFd, stat: &stat::Stat, parent_dev: u64) -> bool {
    shared.scope.descent(fd, stat, parent_dev).is_ok_and(|descent| descent == Descent::Enter)
        && !(shared.scope.cachedir_tag && is_tagged(fd))
}

fn split(rel: &[u8]) -> (&[u8], &[u8]) {
    match rel.iter().rposition(|b| *b == b'/') {
        Some(at) => (&rel[..at], &rel[at + 1..]),
        None => (&rel[..0], rel),
    }
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
