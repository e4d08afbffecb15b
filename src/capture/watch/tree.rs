//! Which directories have a watch of their own, and which could not get one.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::watcher::{Unwatched, WatchStatus};
use crate::capture::relative::{split, within};

/// Directories watched before the first of them is listed; one message to the watcher.
const BATCH: usize = 1024;
/// Unwatched subtrees told apart; more are told as the directories above them.
const UNWATCHED_MAX: usize = 1000;

/// Why a directory has no watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// It is not there any more, which its parent's watch tells.
    Vanished,
    /// There are no watches left.
    Limit,
    /// Something else.
    Other(String),
}

/// A directory whatever its path: device and inode.
pub(super) type Identity = (u64, u64);

/// What sets watches and lists directories. Paths are relative to the root.
pub(super) trait WatchDirs {
    /// Watches each of `dirs`; returns those that failed.
    fn watch(&mut self, dirs: &[Vec<u8>]) -> Vec<(Vec<u8>, Failure)>;
    /// No longer watches `dirs`.
    fn unwatch(&mut self, dirs: &[Vec<u8>]);
    /// Which directory is at `dir`; none if there is none.
    fn identity(&self, dir: &[u8]) -> Option<Identity>;
    /// The directories in `dir`.
    fn list(&self, dir: &[u8]) -> io::Result<Vec<Vec<u8>>>;
}

/// A subtree without watches.
struct Bare {
    dirs: u64,
    why: Failure,
}

/// The watched directories of one root.
pub(super) struct Tree {
    /// Each with the directory that was there after its watch was set.
    watched: BTreeMap<Vec<u8>, Option<Identity>>,
    /// The path by which a directory is watched.
    paths: HashMap<Identity, Vec<u8>>,
    bare: BTreeMap<Vec<u8>, Bare>,
    limit: Option<usize>,
}

impl Tree {
    /// With at most `limit` watches, besides the kernel's own limit.
    pub(super) fn new(limit: Option<usize>) -> Tree {
        Tree { watched: BTreeMap::new(), paths: HashMap::new(), bare: BTreeMap::new(), limit }
    }

    /// Nothing is watched any more.
    pub(super) fn clear(&mut self) {
        self.watched.clear();
        self.paths.clear();
        self.bare.clear();
    }

    /// Nothing can be watched.
    pub(super) fn give_up(&mut self, why: &str) {
        self.clear();
        self.bare.insert(Vec::new(), Bare { dirs: 0, why: Failure::Other(why.to_owned()) });
    }

    /// Watches `top` and everything below, each directory before it is listed, so that nothing appears unseen.
    pub(super) fn watch(&mut self, dirs: &mut impl WatchDirs, left_out: &dyn Fn(&[u8]) -> bool, top: &[u8]) {
        self.bare.retain(|dir, _| !within(dir, top));
        let mut pending = vec![top.to_vec()];
        while !pending.is_empty() {
            let batch = pending.split_off(pending.len().saturating_sub(BATCH));
            let batch: Vec<Vec<u8>> = batch.into_iter().filter(|dir| !left_out(dir)).collect();
            for dir in self.watch_batch(dirs, batch, left_out) {
                match dirs.list(&dir) {
                    Ok(found) => pending.extend(found),
                    Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                    Err(error) => self.note(dir, 0, Failure::Other(format!("cannot be listed: {error}"))),
                }
            }
        }
        self.merge_bare();
    }

    /// Watches one batch, as far as the limit allows; returns the directories that are watched.
    fn watch_batch(
        &mut self,
        dirs: &mut impl WatchDirs,
        mut batch: Vec<Vec<u8>>,
        left_out: &dyn Fn(&[u8]) -> bool,
    ) -> Vec<Vec<u8>> {
        // A path that is watched already may lead to another directory now.
        let again: Vec<Vec<u8>> = batch.iter().filter(|dir| self.drop_path(dir)).cloned().collect();
        dirs.unwatch(&again);
        let room = self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.watched.len()));
        let mut failed: BTreeMap<Vec<u8>, Failure> =
            batch.split_off(batch.len().min(room)).into_iter().map(|dir| (dir, Failure::Limit)).collect();
        let refused = dirs.watch(&batch);
        failed.extend(refused);
        batch.retain(|dir| !failed.contains_key(dir));
        batch.iter().for_each(|dir| self.add_path(dirs, dir));
        for (dir, why) in failed {
            if why != Failure::Vanished {
                let below = count(dirs, left_out, &dir);
                self.note(dir, below, why);
            }
        }
        batch
    }

    /// Notes that `dir` is watched. The kernel has one watch a directory, whatever its paths, and its events are told by
    /// the first: the path it had before a rename that is still to be told must go.
    fn add_path(&mut self, dirs: &mut impl WatchDirs, dir: &[u8]) {
        let identity = dirs.identity(dir);
        let before = identity.and_then(|id| self.paths.insert(id, dir.to_vec()));
        if let Some(before) = before.filter(|before| before != dir && dirs.identity(before) != identity) {
            self.watched.remove(&before);
            dirs.unwatch(&[before]);
        }
        self.watched.insert(dir.to_vec(), identity);
    }

    /// Forgets one path; tells whether it was watched.
    fn drop_path(&mut self, dir: &[u8]) -> bool {
        let Some(identity) = self.watched.remove(dir) else { return false };
        if let Some(identity) = identity.filter(|id| self.paths.get(id).is_some_and(|path| path == dir)) {
            self.paths.remove(&identity);
        }
        true
    }

    fn note(&mut self, dir: Vec<u8>, dirs: u64, why: Failure) {
        self.bare.insert(dir, Bare { dirs, why });
    }

    /// Tells unwatched subtrees by the directories above them until there are few enough to tell.
    fn merge_bare(&mut self) {
        while self.bare.len() > UNWATCHED_MAX {
            let mut merged: BTreeMap<Vec<u8>, Bare> = BTreeMap::new();
            for (dir, bare) in std::mem::take(&mut self.bare) {
                merged.entry(split(&dir).0).and_modify(|b| b.dirs += bare.dirs).or_insert(bare);
            }
            self.bare = merged;
        }
    }

    /// What was at `top` and below is no longer here; it may live on elsewhere.
    pub(super) fn forget(&mut self, dirs: &mut impl WatchDirs, top: &[u8]) {
        self.bare.retain(|dir, _| !within(dir, top));
        let gone: Vec<Vec<u8>> = self.below(top);
        for dir in &gone {
            self.drop_path(dir);
        }
        if !gone.is_empty() {
            dirs.unwatch(&gone);
        }
    }

    fn below(&self, top: &[u8]) -> Vec<Vec<u8>> {
        let itself = self.watched.contains_key(top).then(|| top.to_vec());
        let mut prefix = top.to_vec();
        if !top.is_empty() {
            prefix.push(b'/');
        }
        let rest = self.watched.range(prefix.clone()..).map(|(dir, _)| dir).take_while(|dir| dir.starts_with(&prefix));
        itself.into_iter().chain(rest.filter(|dir| *dir != top).cloned()).collect()
    }

    /// Whether the directory has a watch.
    pub(super) fn is_watched(&self, dir: &[u8]) -> bool {
        self.watched.contains_key(dir)
    }

    /// Whether our own limit allows another watch.
    pub(super) fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.watched.len() < limit)
    }

    /// The subtrees without watches.
    pub(super) fn unwatched_dirs(&self) -> Vec<Vec<u8>> {
        self.bare.keys().cloned().collect()
    }

    /// What is watched and what is not, with the limit to raise.
    pub(super) fn status(&self) -> WatchStatus {
        let limited = self.bare.values().filter(|b| b.why == Failure::Limit);
        let missing: u64 = limited.map(|b| b.dirs).sum();
        let watched = self.watched.len() as u64;
        let needed = watched + missing;
        let why = |bare: &Bare| match &bare.why {
            Failure::Vanished => "it is gone".to_owned(),
            Failure::Limit => format!("no inotify watches left for {} directories", bare.dirs),
            Failure::Other(why) => why.clone(),
        };
        let unwatched = self.bare.iter().map(|(dir, bare)| Unwatched { dir: dir.clone(), why: why(bare) }).collect();
        let notes = (missing > 0).then(|| match self.limit {
            Some(limit) if watched >= limit as u64 => format!(
                "{missing} directories are not watched but scanned at an interval: the configured limit is {limit} \
                 watches; {needed} are needed"
            ),
            _ => format!(
                "{missing} directories are not watched but scanned at an interval: raise the limit with `sysctl \
                 fs.inotify.max_user_watches={}` ({needed} are needed for this root alone)",
                needed.next_multiple_of(65_536) + 65_536
            ),
        });
        WatchStatus { watched, unwatched, notes: notes.into_iter().collect(), root_gone: false }
    }
}

/// How many directories `top` and what is below it are.
fn count(dirs: &impl WatchDirs, left_out: &dyn Fn(&[u8]) -> bool, top: &[u8]) -> u64 {
    let mut pending = vec![top.to_vec()];
    let mut seen = 0;
    while let Some(dir) = pending.pop() {
        seen += 1;
        // What cannot be listed has no watches to need.
        pending.extend(dirs.list(&dir).unwrap_or_default().into_iter().filter(|d| !left_out(d)));
    }
    seen
}
