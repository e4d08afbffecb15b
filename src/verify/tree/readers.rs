//! The threads that read files while another one walks.

use crate::index::rows::Row;
use crate::progress::Progress;
use crate::repo::attach::Attached;
use crate::sys::stat::Stat;
use crate::types::ids::Hash;
use crate::verify::tree::{
    aspects::Ignored,
    content::Prover,
    node::{Comparer, Pair},
    report::{Report, TreeError},
};
use rustix::fd::OwnedFd;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
    mpsc::Receiver,
};

/// A file that is to be read.
pub(super) struct Task {
    pub(super) dir: Arc<OwnedFd>,
    pub(super) path: Vec<u8>,
    pub(super) row: Row,
    pub(super) now: Stat,
    /// The number of its entry in the order of the tree.
    pub(super) number: u64,
}

/// What was found, and the hashes of entries with their numbers.
pub(super) type Read = (Report, Vec<(u64, Hash)>);

/// The threads that read files.
pub(super) struct Readers<'a> {
    pub(super) at: &'a Attached,
    pub(super) ignored: &'a Ignored,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a AtomicBool,
    /// One of them has failed: the others need not go on.
    pub(super) failed: &'a AtomicBool,
}

impl Readers<'_> {
    /// Reads what comes, until nothing can come any more.
    pub(super) fn run(&self, tasks: &Mutex<Receiver<Task>>) -> Result<Read, TreeError> {
        let done = self.all(tasks);
        if done.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        done
    }

    fn all(&self, tasks: &Mutex<Receiver<Task>>) -> Result<Read, TreeError> {
        let index = self.at.reader()?;
        let mut prover = Prover::new(self.at.repo().keys(), &index, self.stop);
        let comparer = Comparer { index: &index, ignored: self.ignored };
        let (mut report, mut entries) = (Report::default(), Vec::new());
        loop {
            let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(task) = next else { return Ok((report, entries)) };
            if self.failed.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed) {
                continue;
            }
            let pair = Pair { dir: &task.dir, name: &task.row.name, path: &task.path, row: &task.row, now: &task.now };
            let hash = index.hold(|_| comparer.file(&pair, &mut prover, &mut report))?;
            entries.extend(hash.map(|hash| (task.number, hash)));
            self.progress.add(1, task.now.size);
        }
    }
}
