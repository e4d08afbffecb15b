//! A planner in miniature: learns of the tree by hints alone, and trusts inode numbers across renames as the real one does.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use crossbeam_channel::Receiver;
use tempfile::TempDir;

use crate::capture::dirty::budget::Share;
use crate::capture::dirty::machine::{Batch, Dirty};
use crate::capture::relative::within;
use crate::capture::watch::hint::Hint;
use crate::capture::watch::watcher::{Prefer, WatchOptions, Watcher, start};
use crate::types::path::join;
use crate::types::time::Instant;

/// What is known of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Known {
    ino: u64,
    mode: u32,
    size: u64,
    mtime: (i64, i64),
}

impl Known {
    fn of(path: &Path) -> Option<Known> {
        let m = fs::symlink_metadata(path).ok()?;
        let size = if m.is_dir() { 0 } else { m.len() };
        Some(Known { ino: m.ino(), mode: m.mode(), size, mtime: (m.mtime(), m.mtime_nsec()) })
    }

    fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
}

pub(super) type Picture = BTreeMap<Vec<u8>, Known>;

/// A watched directory and what its hints have told.
pub(super) struct Follower {
    pub(super) dir: TempDir,
    pub(super) watcher: Option<Box<dyn Watcher>>,
    pub(super) hints: VecDeque<Hint>,
    rx: Receiver<Hint>,
    dirty: Dirty,
    known: Picture,
    markers: usize,
}

/// Every watcher on every file system that tests can have here.
pub(super) fn places() -> Vec<(Prefer, &'static str)> {
    let all = [Prefer::Fanotify, Prefer::Inotify].into_iter();
    all.flat_map(|prefer| ["/tmp", "/dev/shm"].map(|base| (prefer, base))).collect()
}

pub(super) fn options(prefer: Prefer) -> WatchOptions {
    let started = Moment::now();
    let clock = Arc::new(move || Instant(started.elapsed().as_nanos() as i64));
    WatchOptions { prefer, ..WatchOptions::new(clock) }
}

impl Follower {
    pub(super) fn new(prefer: Prefer, base: &str) -> Follower {
        Follower::with(options(prefer), base, |_| {})
    }

    /// The root is `dir/root`, so that there is a place outside of it on the same file system.
    pub(super) fn with(mut options: WatchOptions, base: &str, prepare: impl FnOnce(&Path)) -> Follower {
        let dir = tempfile::tempdir_in(base).unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        options.skip = options.skip.iter().map(|p| root.join(p)).collect();
        let (tx, rx) = crossbeam_channel::unbounded();
        let watcher = start(&root, &options, tx).unwrap();
        let dirty = Dirty::new(Duration::ZERO, Duration::ZERO, Share::default());
        let mut new = Follower {
            dir,
            watcher: Some(watcher),
            hints: VecDeque::new(),
            rx,
            dirty,
            known: Picture::new(),
            markers: 0,
        };
        new.known = picture(&new.root());
        new
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Takes in what has been told so far, in batches as they come.
    pub(super) fn follow(&mut self) {
        while let Ok(hint) = self.rx.try_recv() {
            self.hints.push_back(hint.clone());
            self.dirty.hint(Moment::now(), hint);
            if self.rx.is_empty() || self.hints.len().is_multiple_of(100) {
                let batch = self.dirty.take(Moment::now());
                self.plan(&batch);
            }
        }
        let batch = self.dirty.take(Moment::now());
        self.plan(&batch);
    }

    /// Waits for a hint.
    pub(super) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Hint) -> bool) {
        let until = Moment::now() + Duration::from_secs(10);
        loop {
            self.follow();
            if self.hints.iter().any(&wanted) {
                return;
            }
            assert!(Moment::now() < until, "no hint: {what}; got {:?}", self.hints);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until everything done so far has been told: a file made now is told after it.
    pub(super) fn settle(&mut self) {
        self.markers += 1;
        let name = format!("marker-{}", self.markers).into_bytes();
        fs::File::create(self.root().join(String::from_utf8_lossy(&name).as_ref())).unwrap();
        self.wait_for("the marker", |hint| match hint {
            Hint::Entry { dir, name: n } => dir.is_empty() && *n == name,
            _ => false,
        });
        // The last hints of a burst come when the queue is empty.
        std::thread::sleep(Duration::from_millis(100));
        self.follow();
    }

    /// What the hints have told is what is there.
    pub(super) fn assert_true(&mut self, what: &str) {
        let until = Moment::now() + Duration::from_secs(10);
        // After lost events the marker may be among the lost, and the scan comes a little later.
        while picture(&self.root()) != self.known && Moment::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            self.follow();
        }
        let real = picture(&self.root());
        let text = |p: &[u8]| String::from_utf8_lossy(p).into_owned();
        let missed: Vec<_> = real.iter().filter(|(p, k)| self.known.get(*p) != Some(k)).map(|(p, _)| text(p)).collect();
        let stale: Vec<_> = self.known.keys().filter(|p| !real.contains_key(*p)).map(|p| text(p)).collect();
        assert!(missed.is_empty() && stale.is_empty(), "{what}: missed {missed:?}, stale {stale:?}");
    }

    pub(super) fn told(&self, path: &str) -> bool {
        self.hints.iter().any(|hint| match hint {
            Hint::Entry { dir, name } => within(&join(dir, name), path.as_bytes()),
            Hint::Subtree { dir, .. } => within(dir, path.as_bytes()) && !path.is_empty(),
            _ => false,
        })
    }

    fn plan(&mut self, batch: &Batch) {
        let absolute = |root: &Path, p: &[u8]| root.join(std::ffi::OsStr::from_bytes(p));
        let root = self.root();
        for dir in &batch.paths.subtrees {
            self.scan(dir);
        }
        let listed = batch.paths.dirs.iter().flat_map(|dir| {
            let there = fs::read_dir(absolute(&root, dir)).into_iter().flatten().flatten();
            let mut paths: Vec<_> = there.map(|e| join(dir, e.file_name().as_bytes())).collect();
            paths.extend(self.known.keys().filter(|p| crate::capture::relative::split(p).0 == *dir).cloned());
            paths
        });
        let named = batch.paths.entries.iter().flat_map(|(dir, names)| names.iter().map(|name| join(dir, name)));
        for path in listed.chain(named).collect::<Vec<_>>() {
            self.look(&path);
        }
        self.look_again(&batch.paths.nodes.iter().map(|place| place.ino).collect::<Vec<_>>());
        // A directory's times change with its entries.
        for dir in batch.paths.entries.keys().chain(&batch.paths.dirs) {
            if let (Some(known), Some(now)) = (self.known.get_mut(dir), Known::of(&absolute(&root, dir))) {
                *known = if known.ino == now.ino { now } else { known.clone() };
            }
        }
    }

    fn look(&mut self, path: &[u8]) {
        let Some(now) = Known::of(&self.root().join(std::ffi::OsStr::from_bytes(path))) else {
            return self.gone(path);
        };
        let before = self.known.get(path).cloned();
        if now.is_dir() && before.as_ref().is_none_or(|b| b.ino != now.ino) {
            self.known.retain(|p, _| !within(p, path));
            match self.known.iter().find(|(_, k)| k.ino == now.ino && k.is_dir()).map(|(p, _)| p.clone()) {
                Some(old) => self.rename(&old, path),
                None => self.scan(path),
            }
        }
        if !now.is_dir() {
            self.known.retain(|p, _| p == path || !within(p, path));
        }
        let names = fs::symlink_metadata(self.root().join(std::ffi::OsStr::from_bytes(path))).map_or(1, |m| m.nlink());
        if !now.is_dir() && names > 1 {
            self.known.values_mut().filter(|k| k.ino == now.ino).for_each(|k| *k = now.clone());
        }
        self.known.insert(path.to_vec(), now);
    }

    /// What is gone may go on under other names, of which nothing else tells.
    fn gone(&mut self, path: &[u8]) {
        let leaves = |p: &[u8]| within(p, path) && !p.is_empty();
        let inodes: Vec<u64> = self.known.iter().filter(|(p, _)| leaves(p)).map(|(_, k)| k.ino).collect();
        self.known.retain(|p, _| !leaves(p));
        self.look_again(&inodes);
    }

    /// Looks at the names that are known of these.
    fn look_again(&mut self, inodes: &[u64]) {
        let root = self.root();
        for (p, known) in self.known.iter_mut().filter(|(_, k)| !k.is_dir() && inodes.contains(&k.ino)) {
            if let Some(now) = Known::of(&root.join(std::ffi::OsStr::from_bytes(p))).filter(|now| now.ino == known.ino)
            {
                *known = now;
            }
        }
    }

    /// A directory that is known is not looked into again because of its new name.
    fn rename(&mut self, old: &[u8], new: &[u8]) {
        let below: Vec<_> = self.known.keys().filter(|p| within(p, old)).cloned().collect();
        for path in below {
            if let Some(known) = self.known.remove(&path) {
                self.known.insert([new, &path[old.len()..]].concat(), known);
            }
        }
    }

    fn scan(&mut self, dir: &[u8]) {
        self.known.retain(|p, _| !within(p, dir));
        let root = self.root().join(std::ffi::OsStr::from_bytes(dir));
        self.known.extend(picture(&root).into_iter().map(|(p, k)| (join(dir, &p), k)));
    }
}

/// What is at `a` and what is at `b` change places at once.
pub(super) fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).map_err(Into::into)
}

/// Everything at and below `top`, by relative path.
pub(super) fn picture(top: &Path) -> Picture {
    let mut out = Picture::new();
    let mut pending = vec![Vec::new()];
    while let Some(path) = pending.pop() {
        let absolute = if path.is_empty() { top.to_owned() } else { top.join(std::ffi::OsStr::from_bytes(&path)) };
        let Some(known) = Known::of(&absolute) else { continue };
        if known.is_dir() {
            let there = fs::read_dir(&absolute).into_iter().flatten().flatten();
            pending.extend(there.map(|e| join(&path, &e.file_name().into_vec())));
        }
        out.insert(path, known);
    }
    out
}
