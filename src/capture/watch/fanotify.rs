//! The watcher by fanotify: one mark a file system, paths by directory handle.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Moment};

use crossbeam_channel::Sender;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::hint::{Hint, Why};
use super::mounts::{Mount, Mounts};
use super::outbox::Outbox;
use super::resolve::Resolver;
use super::root::Root;
use super::watcher::{Unwatched, WatchError, WatchOptions, WatchStatus, Watcher};
use crate::sys::fanotify::{Fanotify, check_handles};
use crate::types::path::show;
use crate::types::time::Instant;

/// How often the root is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often a watcher that failed is tried again, in ticks.
const RETRY_TICKS: u32 = 30;
/// One read of the queue.
const BUFFER_BYTES: usize = 256 << 10;
/// Reads before mounts, the root and the end are looked at in between.
const READS_MAX: usize = 64;

/// The thread and the way to end it.
struct FanotifyWatcher {
    status: Arc<Mutex<WatchStatus>>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher for FanotifyWatcher {
    fn kind(&self) -> &'static str {
        "fanotify"
    }

    fn status(&self) -> WatchStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FanotifyWatcher {
    fn drop(&mut self) {
        let told = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let (Ok(_), Some(thread)) = (told, self.thread.take()) {
            // A thread that panicked has said so on standard error, and is at its end too.
            let _ = thread.join();
        }
    }
}

/// Watches `root` by fanotify.
pub(super) fn start(path: &Path, options: &WatchOptions, tx: Sender<Hint>) -> Result<Box<dyn Watcher>, WatchError> {
    let system = |what| move |e: std::io::Error| WatchError::System { path: path.to_owned(), what, source: e };
    let root = Root::open(path, options)?;
    let mounts = Mounts::open().map_err(system("reading /proc/self/mountinfo"))?;
    let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let stop = Arc::new(stop.map_err(|e| system("making an eventfd")(e.into()))?);
    let status = Arc::new(Mutex::new(WatchStatus::default()));
    let mut worker = Worker {
        root,
        mounts,
        group: None,
        resolver: Resolver::new(),
        out: Outbox::new(tx, options.clock.clone()),
        options: options.clone(),
        status: status.clone(),
        unmarked: BTreeMap::new(),
        calm: (options.clock)(),
        blind: None,
        gone: false,
        moved: Vec::new(),
        ticks: 0,
        remount: false,
    };
    worker.arm().map_err(|why| WatchError::Fanotify { path: path.to_owned(), why })?;
    worker.publish();
    let until = stop.clone();
    let thread = std::thread::Builder::new().name("watch-fanotify".into()).spawn(move || worker.run(&until));
    let thread = Some(thread.map_err(system("starting a thread"))?);
    Ok(Box::new(FanotifyWatcher { status, stop, thread }))
}

pub(super) struct Worker {
    pub(super) root: Root,
    mounts: Mounts,
    /// None while nothing is watched.
    group: Option<Fanotify>,
    pub(super) resolver: Resolver,
    pub(super) out: Outbox,
    pub(super) options: WatchOptions,
    status: Arc<Mutex<WatchStatus>>,
    /// Mounts below the root that cannot be marked, and why.
    unmarked: BTreeMap<Vec<u8>, String>,
    /// When the queue was last seen empty: nothing before is missing.
    pub(super) calm: Instant,
    /// Since when nothing is watched.
    blind: Option<Instant>,
    pub(super) gone: bool,
    /// Directories renamed within the root since the queue was last empty: where to, and handle.
    pub(super) moved: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ticks: u32,
    /// The table of mounts has changed.
    remount: bool,
}

impl Worker {
    /// Marks the root's file system and those mounted below it.
    fn arm(&mut self) -> Result<(), String> {
        let real = self.root.absolute(b"");
        let group = Fanotify::new().map_err(|e| format!("fanotify_init: {e} (needs CAP_SYS_ADMIN and Linux 5.17)"))?;
        group.mark_filesystem(&real).map_err(|e| format!("its file system cannot be marked: {e}"))?;
        check_handles(&real).map_err(|e| format!("its file system's handles cannot be opened: {e}"))?;
        self.resolver = Resolver::new();
        self.resolver.add_point(self.root.real()).map_err(|e| format!("statvfs: {e}"))?;
        self.group = Some(group);
        self.moved.clear();
        self.unmarked.clear();
        if let Err(error) = self.mounts.refresh(self.root.real()) {
            self.group = None;
            return Err(format!("/proc/self/mountinfo: {error}"));
        }
        let below: Vec<Mount> = self.mounts.below().cloned().collect();
        below.iter().for_each(|mount| self.mark(mount));
        Ok(())
    }

    /// Marks a file system below the root, or notes that it is not watched.
    fn mark(&mut self, mount: &Mount) {
        let Some(relative) = self.root.relative(&mount.point).map(<[u8]>::to_vec) else { return };
        let Some(group) = &self.group else { return };
        if mount.is_pseudo() || self.root.is_left_out(&relative) {
            return;
        }
        let point = self.root.absolute(&relative);
        let done = group.mark_filesystem(&point).and_then(|()| check_handles(&point));
        match done.and_then(|()| self.resolver.add_point(&mount.point)) {
            Ok(()) => {}
            Err(error) => {
                let why = format!("fanotify cannot watch this {} file system: {error}", show(&mount.kind));
                self.unmarked.insert(relative, why);
            }
        }
    }

    fn run(mut self, stop: &OwnedFd) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut next = Moment::now() + TICK;
        loop {
            let wait = next.saturating_duration_since(Moment::now());
            match self.wait(stop, wait) {
                Ok(true) => return,
                Ok(false) => {}
                // A poll that fails at once must not spin.
                Err(_) => std::thread::sleep(wait.min(TICK / 4)),
            }
            self.look_at_mounts();
            self.drain(&mut buffer);
            if Moment::now() >= next {
                next = Moment::now() + TICK;
                self.tick();
            }
            if self.out.is_closed() {
                return;
            }
        }
    }

    /// Waits for events, a changed table of mounts, the end (`true`), or the time.
    fn wait(&mut self, stop: &OwnedFd, wait: Duration) -> rustix::io::Result<bool> {
        let mut fds = vec![PollFd::new(stop, PollFlags::IN), PollFd::new(&self.mounts, PollFlags::PRI)];
        if let Some(group) = &self.group {
            fds.push(PollFd::new(group, PollFlags::IN));
        }
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        poll(&mut fds, Some(&timeout))?;
        let (ended, mounts) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        // The kernel says it once.
        self.remount |= mounts;
        Ok(ended)
    }

    /// Reads the queue until it is empty, or for a while.
    fn drain(&mut self, buffer: &mut [u8]) {
        for _ in 0..READS_MAX {
            let Some(group) = &self.group else { return };
            let read_at = (self.options.clock)();
            match group.read(buffer) {
                Ok(events) if events.is_empty() => {
                    self.calm = read_at;
                    return self.settle_moves();
                }
                Ok(events) => events.for_each(|event| self.take(&event)),
                Err(error) => return self.lose(&format!("reading fanotify's queue failed: {error}")),
            }
        }
    }

    /// The watcher no longer works: nothing is seen until it is set up anew.
    fn lose(&mut self, why: &str) {
        self.group = None;
        self.blind.get_or_insert(self.calm);
        self.unmarked = BTreeMap::from([(Vec::new(), why.to_owned())]);
        self.publish();
    }

    /// Looks at what was mounted and unmounted. Changes of an unmounted file system that had not been read are lost.
    fn look_at_mounts(&mut self) {
        if !self.remount || self.group.is_none() {
            return;
        }
        let change = match self.mounts.refresh(self.root.real()) {
            Ok(change) => change,
            Err(error) => return self.lose(&format!("reading /proc/self/mountinfo failed: {error}")),
        };
        self.remount = false;
        self.check_root();
        self.resolver.forget();
        for mount in change.gone {
            self.resolver.remove_point(&mount.point);
            self.tell_mount(&mount, Why::Unmounted, Some(self.calm));
        }
        for mount in change.new {
            self.mark(&mount);
            self.tell_mount(&mount, Why::Mounted, None);
        }
        self.publish();
    }

    fn tell_mount(&mut self, mount: &Mount, why: Why, blind_since: Option<Instant>) {
        let Some(dir) = self.root.relative(&mount.point).map(<[u8]>::to_vec) else { return };
        if why == Why::Unmounted {
            self.unmarked.remove(&dir);
        }
        if !self.root.is_left_out(&dir) {
            self.out.send(Hint::Subtree { dir, why, blind_since });
        }
    }

    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.out.flush();
        self.check_root();
        if self.gone {
            self.look_for_root();
        } else if self.group.is_none() && self.ticks.is_multiple_of(RETRY_TICKS) {
            self.arm_again(Why::WatchLost);
        }
    }

    /// Notices that the root's path no longer leads to the watched directory.
    pub(super) fn check_root(&mut self) {
        if !self.gone && !self.root.is_there() {
            self.root_gone();
        }
    }

    /// The root is gone, or was for a moment.
    pub(super) fn root_gone(&mut self) {
        self.gone = true;
        self.group = None;
        self.blind.get_or_insert(self.calm);
        self.out.send(Hint::RootGone);
        self.publish();
    }

    fn look_for_root(&mut self) {
        if let Some(same) = self.root.come_back() {
            self.gone = false;
            self.out.send(Hint::RootBack { same });
            self.arm_again(Why::RootReturned);
        }
    }

    /// Sets everything up anew, and has everything scanned after that.
    fn arm_again(&mut self, why: Why) {
        match self.arm() {
            Ok(()) => {
                let blind_since = self.blind.take();
                self.out.send(Hint::Subtree { dir: Vec::new(), why, blind_since });
            }
            Err(error) => {
                self.lose(&error);
                self.out.send(Hint::Subtree { dir: Vec::new(), why, blind_since: self.blind });
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let unwatched = self.unmarked.iter().map(|(dir, why)| Unwatched { dir: dir.clone(), why: why.clone() });
        let status = WatchStatus {
            watched: if self.group.is_some() { self.resolver.points() } else { 0 },
            unwatched: unwatched.collect(),
            notes: Vec::new(),
            root_gone: self.gone,
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
