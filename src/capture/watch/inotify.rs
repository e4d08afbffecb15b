//! The watcher by inotify (`notify`): one watch a directory, set before the directory is listed.
//!
//! `notify` is used for single directories only: its recursive mode misses directories that fill while they are being
//! watched, and keeps the old paths of those that are renamed.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Moment};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use notify::event::{CreateKind, EventKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Config, EventKindMask, INotifyWatcher as Notify, PathOp, RecursiveMode, WatchPathConfig, Watcher as _};

use super::hint::{Hint, Why};
use super::mounts::Mounts;
use super::outbox::Outbox;
use super::root::Root;
use super::tree::{Failure, Identity, Tree, WatchDirs};
use super::watcher::{WatchError, WatchOptions, WatchStatus, Watcher};
use crate::capture::relative::split;
use crate::types::time::Instant;

/// How often the root and the mounts are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often what could not be watched is tried again, in ticks.
const RETRY_TICKS: u32 = 30;
/// Events between `notify`'s thread and ours; beyond, they count as lost.
const EVENTS_MAX: usize = 1 << 16;
/// So long without an event, and the kernel's queue was empty.
const CALM: Duration = Duration::from_millis(20);

struct InotifyWatcher {
    status: Arc<Mutex<WatchStatus>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher for InotifyWatcher {
    fn kind(&self) -> &'static str {
        "inotify"
    }

    fn status(&self) -> WatchStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for InotifyWatcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on standard error, and is at its end too.
            let _ = thread.join();
        }
    }
}

/// Watches `root` by inotify; `notes` go to the status.
pub(super) fn start(
    path: &Path,
    options: &WatchOptions,
    tx: Sender<Hint>,
    notes: Vec<String>,
) -> Result<Box<dyn Watcher>, WatchError> {
    let system = |what| move |e: std::io::Error| WatchError::System { path: path.to_owned(), what, source: e };
    let root = Root::open(path, options)?;
    let mounts = Mounts::open().map_err(system("reading /proc/self/mountinfo"))?;
    let status = Arc::new(Mutex::new(WatchStatus::default()));
    let source = Source::new().map_err(|why| WatchError::Inotify { path: path.to_owned(), why })?;
    let mut worker = Worker {
        root,
        mounts,
        source: Some(source),
        tree: Tree::new(options.max_watches),
        out: Outbox::new(tx, options.clock.clone()),
        options: options.clone(),
        status: status.clone(),
        notes,
        calm: (options.clock)(),
        blind: None,
        gone: false,
        ticks: 0,
    };
    worker.mounts.refresh(worker.root.real()).map_err(system("reading /proc/self/mountinfo"))?;
    worker.watch(b"");
    worker.publish();
    let (stop, stopped) = bounded(0);
    let thread = std::thread::Builder::new().name("watch-inotify".into()).spawn(move || worker.run(&stopped));
    let thread = Some(thread.map_err(system("starting a thread"))?);
    Ok(Box::new(InotifyWatcher { status, stop: Some(stop), thread }))
}

/// One inotify instance and its events.
struct Source {
    notify: Notify,
    events: Receiver<notify::Result<notify::Event>>,
    lost: Arc<AtomicBool>,
}

impl Source {
    fn new() -> Result<Source, String> {
        let (tx, events) = bounded(EVENTS_MAX);
        let lost = Arc::new(AtomicBool::new(false));
        let flag = lost.clone();
        // Its thread must not wait for ours, which waits for it when it sets a watch.
        let handler = move |event| {
            if let Err(TrySendError::Full(_)) = tx.try_send(event) {
                flag.store(true, Ordering::Release);
            }
        };
        // Closing after a write is told too: what was stored through a mapping raises nothing else.
        let config = Config::default().with_event_kinds(EventKindMask::CORE | EventKindMask::ACCESS_CLOSE);
        let notify = Notify::new(handler, config).map_err(|e| e.to_string())?;
        Ok(Source { notify, events, lost })
    }
}

impl WatchDirs for (&mut Source, &Root) {
    fn watch(&mut self, dirs: &[Vec<u8>]) -> Vec<(Vec<u8>, Failure)> {
        let config = WatchPathConfig::new(RecursiveMode::NonRecursive).with_dereference_symlinks(false);
        let ops = dirs.iter().map(|dir| PathOp::Watch(self.1.absolute(dir), config.clone())).collect();
        let failed = apply(&mut self.0.notify, ops);
        let relative = |p: &Path| self.1.relative(p.as_os_str().as_bytes()).unwrap_or_default().to_vec();
        failed.into_iter().map(|(path, error)| (relative(&path), failure(&error))).collect()
    }

    fn unwatch(&mut self, dirs: &[Vec<u8>]) {
        // One that fails is not watched any more, which is what was wanted.
        apply(&mut self.0.notify, dirs.iter().map(|dir| PathOp::Unwatch(self.1.absolute(dir))).collect());
    }

    fn identity(&self, dir: &[u8]) -> Option<Identity> {
        let metadata = std::fs::symlink_metadata(self.1.absolute(dir)).ok()?;
        metadata.is_dir().then(|| (metadata.dev(), metadata.ino()))
    }

    fn list(&self, dir: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.1.absolute(dir))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(crate::types::path::join(dir, entry.file_name().as_bytes()));
            }
        }
        Ok(found)
    }
}

/// Applies all of `ops`, whichever of them fail.
fn apply(notify: &mut Notify, mut ops: Vec<PathOp>) -> Vec<(std::path::PathBuf, notify::Error)> {
    let mut failed = Vec::new();
    while !ops.is_empty() {
        match notify.update_paths(std::mem::take(&mut ops)) {
            Ok(()) => {}
            Err(error) => {
                ops = error.remaining;
                if let Some(op) = error.origin {
                    failed.push((op.into_path(), error.source));
                }
            }
        }
    }
    failed
}

fn failure(error: &notify::Error) -> Failure {
    match &error.kind {
        notify::ErrorKind::PathNotFound => Failure::Vanished,
        notify::ErrorKind::MaxFilesWatch => Failure::Limit,
        notify::ErrorKind::Io(e) if e.kind() == std::io::ErrorKind::NotFound => Failure::Vanished,
        // The text of the whole error repeats the path, which whoever tells it names already.
        notify::ErrorKind::Io(e) => Failure::Other(format!("it cannot be watched: {e}")),
        notify::ErrorKind::Generic(why) => Failure::Other(format!("it cannot be watched: {why}")),
        _ => Failure::Other(error.to_string()),
    }
}

struct Worker {
    root: Root,
    mounts: Mounts,
    /// None while nothing is watched.
    source: Option<Source>,
    tree: Tree,
    out: Outbox,
    options: WatchOptions,
    status: Arc<Mutex<WatchStatus>>,
    notes: Vec<String>,
    /// When the queues were last seen empty: nothing before is missing.
    calm: Instant,
    /// Since when nothing is watched.
    blind: Option<Instant>,
    gone: bool,
    ticks: u32,
}

impl Worker {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut next = Moment::now() + TICK;
        while !self.out.is_closed() {
            if !matches!(stopped.try_recv(), Err(crossbeam_channel::TryRecvError::Empty)) {
                return;
            }
            self.wait(stopped, next);
            if Moment::now() >= next {
                self.tick();
                next = Moment::now() + TICK;
            }
        }
    }

    /// Waits for an event, the end, or the time.
    fn wait(&mut self, stopped: &Receiver<()>, until: Moment) {
        let Some(source) = &self.source else {
            let _ = stopped.recv_deadline(until);
            return;
        };
        let (events, lost) = (source.events.clone(), source.lost.clone());
        let before = Moment::now();
        let event = crossbeam_channel::select! {
            recv(events) -> event => event.map_err(|_| RecvTimeoutError::Disconnected),
            recv(stopped) -> _ => return,
            default(until.saturating_duration_since(before)) => Err(RecvTimeoutError::Timeout),
        };
        if before.elapsed() >= CALM {
            self.calm = (self.options.clock)();
        }
        match event {
            Ok(event) => self.take(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.rebuild(Why::WatchLost),
        }
        if lost.swap(false, Ordering::AcqRel) {
            self.rebuild(Why::Overflow);
        }
    }

    fn take(&mut self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(_) => return self.rebuild(Why::WatchLost),
        };
        if event.need_rescan() {
            return self.rebuild(Why::Overflow);
        }
        let tracked = event.tracker().is_some();
        for path in &event.paths {
            let relative = self.root.relative(path.as_os_str().as_bytes()).map(<[u8]>::to_vec);
            if let Some(relative) = relative {
                self.take_path(event.kind, tracked, relative);
            }
        }
    }

    fn take_path(&mut self, kind: EventKind, tracked: bool, path: Vec<u8>) {
        let (dir, name) = split(&path);
        match kind {
            // Both halves have been told already.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {}
            // Without a tracker, the directory says itself that it moved: its parent says the same, unless it is the root.
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) if !tracked => self.check_root(),
            EventKind::Remove(RemoveKind::Other) => self.look_at_mounts(true),
            // What stood at the path is somewhere else, or nowhere; what stands there now may have come since.
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                self.out.send(Hint::Entry { dir, name });
                if path.is_empty() {
                    return self.check_root();
                }
                self.watch_anew(path, Why::RenamedIn);
            }
            EventKind::Create(CreateKind::Folder | CreateKind::Any) => {
                self.out.send(Hint::Entry { dir, name });
                self.watch_anew(path, Why::Appeared);
            }
            _ => self.out.send(Hint::Entry { dir, name }),
        }
    }

    /// Forgets what was at `path`, watches the directory that is there now, if any, and has it scanned after that. Right
    /// whatever has happened since the event: the event of a later rename, however its path is told, does this again
    /// for the directory it happened in, or for one above that was renamed before.
    fn watch_anew(&mut self, path: Vec<u8>, why: Why) {
        self.with_tree(|tree, dirs| tree.forget(dirs, &path));
        let is_directory = std::fs::symlink_metadata(self.root.absolute(&path)).is_ok_and(|m| m.is_dir());
        if is_directory && !self.root.is_left_out(&path) {
            self.watch(&path);
            self.out.send(Hint::Subtree { dir: path, why, blind_since: None });
        }
    }

    /// Watches a directory and everything below it.
    fn watch(&mut self, path: &[u8]) {
        let pseudo = self.mounts.below().filter(|m| m.is_pseudo());
        let pseudo: Vec<Vec<u8>> = pseudo.filter_map(|m| self.root.relative(&m.point).map(<[u8]>::to_vec)).collect();
        let Some(source) = &mut self.source else { return };
        let root = &self.root;
        let left_out = |dir: &[u8]| root.leaves_out(dir) || pseudo.iter().any(|p| p == dir);
        self.tree.watch(&mut (source, root), &left_out, path);
    }

    fn with_tree(&mut self, work: impl FnOnce(&mut Tree, &mut (&mut Source, &Root))) {
        if let Some(source) = &mut self.source {
            work(&mut self.tree, &mut (source, &self.root));
        }
    }

    /// Starts from nothing: after lost events it is not known which directories are where.
    fn rebuild(&mut self, why: Why) {
        if self.gone {
            return;
        }
        let since = *self.blind.get_or_insert(self.calm);
        self.source = None;
        self.tree.clear();
        match Source::new() {
            Ok(source) => {
                self.source = Some(source);
                self.blind = None;
                self.watch(b"");
            }
            Err(error) => self.tree.give_up(&error),
        }
        self.publish();
        self.out.send(Hint::Subtree { dir: Vec::new(), why, blind_since: Some(since) });
    }

    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.out.flush();
        self.check_root();
        if self.gone {
            self.look_for_root();
        } else {
            self.look_at_mounts(false);
            if self.ticks.is_multiple_of(RETRY_TICKS) {
                self.retry();
            }
        }
        self.publish();
    }

    fn check_root(&mut self) {
        if !self.gone && !self.root.is_there() {
            self.gone = true;
            self.blind.get_or_insert(self.calm);
            self.source = None;
            self.tree.clear();
            self.out.send(Hint::RootGone);
            self.publish();
        }
    }

    fn look_for_root(&mut self) {
        if let Some(same) = self.root.come_back() {
            self.gone = false;
            self.out.send(Hint::RootBack { same });
            if self.mounts.refresh(self.root.real()).is_err() {
                return self.rebuild(Why::WatchLost);
            }
            self.rebuild(Why::RootReturned);
        }
    }

    /// What was mounted hides directories, and what was unmounted shows them again: both are watched anew.
    fn look_at_mounts(&mut self, unmounted: bool) {
        match self.mounts.changed() {
            Ok(false) if !unmounted => return,
            Ok(_) => {}
            Err(_) => return self.rebuild(Why::WatchLost),
        }
        self.check_root();
        let Ok(change) = self.mounts.refresh(self.root.real()) else { return self.rebuild(Why::WatchLost) };
        let gone = change.gone.into_iter().map(|m| (m, Why::Unmounted, Some(self.calm)));
        let all: Vec<_> = gone.chain(change.new.into_iter().map(|m| (m, Why::Mounted, None))).collect();
        for (mount, why, blind_since) in all {
            let Some(dir) = self.root.relative(&mount.point).map(<[u8]>::to_vec) else { continue };
            if self.gone || self.root.is_left_out(&dir) {
                continue;
            }
            self.with_tree(|tree, dirs| tree.forget(dirs, &dir));
            self.watch(&dir);
            self.out.send(Hint::Subtree { dir, why, blind_since });
        }
    }

    /// Tries again to watch what could not be watched.
    fn retry(&mut self) {
        if self.source.is_none() {
            return self.rebuild(Why::WatchLost);
        }
        for dir in self.tree.unwatched_dirs() {
            if !self.tree.has_room() {
                continue;
            }
            self.watch(&dir);
            if self.tree.is_watched(&dir) {
                self.out.send(Hint::Subtree { dir, why: Why::WatchedAgain, blind_since: None });
            }
        }
    }

    fn publish(&self) {
        let mut status = self.tree.status();
        status.notes.extend(self.notes.iter().cloned());
        status.root_gone = self.gone;
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
