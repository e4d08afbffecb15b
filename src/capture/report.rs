//! What a capture says when it is done, and why it failed.

use crate::index::error::IndexError;
use crate::repo::error::RepoError;
use crate::types::{path, snapshot::Snapshot};
use std::io;

/// Something that could not be captured as it should; the rest was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The path, relative to the source's root.
    pub path: Vec<u8>,
    /// What was tried and why it failed.
    pub why: String,
}

/// The outcome of one capture.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The snapshot; `None` where nothing had changed and none was asked for.
    pub snapshot: Option<Snapshot>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Files that never held still while they were read: their content may mix two states.
    pub fuzzy: Vec<Vec<u8>>,
    /// SQLite databases that are captured as their bytes stand, and why there is no image of them. They are fuzzy too.
    pub no_image: Vec<Problem>,
    /// Files whose bytes a full capture found changed without a change of their times: damage, or somebody who hid a change.
    pub altered: Vec<Vec<u8>>,
    /// Whether another writer of the source was found, so that this is the history of another name.
    pub forked: bool,
    /// Sockets, which are noted and not captured.
    pub sockets: u64,
    /// Entries that were looked at.
    pub seen: u64,
    /// Files read, with their bytes and the time it took (ns): what a budget goes by.
    pub large: Vec<(Vec<u8>, u64, i64)>,
}

impl Report {
    /// How many files are fuzzy.
    pub fn fuzzy_count(&self) -> usize {
        self.fuzzy.len() + self.no_image.len()
    }
}

/// Why a capture ended without a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The root of the source is not there, or is no directory.
    #[error("cannot open the source {}: {source}", path::show(root))]
    Root {
        /// The root.
        root: Vec<u8>,
        /// Why.
        source: io::Error,
    },
    /// The source can't be held still, as its settings ask.
    #[error("cannot hold the source {} still by a snapshot of btrfs: {source}", path::show(root))]
    Atomic {
        /// The root.
        root: Vec<u8>,
        /// Why.
        source: io::Error,
    },
    /// Another, empty directory stands where the source was.
    #[error(
        "the source {} is an empty directory now, and another one than before: the file system that belongs there may not be \
         mounted. Nothing was recorded; put a file into it if it is meant to be empty",
        path::show(root)
    )]
    Emptied {
        /// The root.
        root: Vec<u8>,
    },
    /// The path of the source leads through a symbolic link now, and did not before.
    #[error(
        "the source {} is reached through a symbolic link now, which leads to {}, and was a directory itself before. Nothing was recorded: \
         whoever can put a link there could have anything captured. Put the directory back, or name the one it leads to as a source",
        path::show(root),
        path::show(to)
    )]
    Linked {
        /// The root.
        root: Vec<u8>,
        /// Where its path leads.
        to: Vec<u8>,
    },
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The capture was asked to stop.
    #[error("the capture was stopped before it was complete; nothing of it was recorded")]
    Stopped,
    /// The machine gave no thread.
    #[error("cannot start a thread to capture with: {0}")]
    Thread(io::Error),
    /// A thread ended by itself.
    #[error("a thread of the capture ended unexpectedly: {0}")]
    Panic(String),
}

impl From<IndexError> for CaptureError {
    fn from(e: IndexError) -> CaptureError {
        CaptureError::Repo(e.into())
    }
}
