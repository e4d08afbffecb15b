//! What a restore did, and what it could not do, each by name.

use crate::repo::error::RepoError;
use crate::sys::apply;
use std::{io, sync::Arc};

/// What became of one path that is not as it was.
#[derive(Debug)]
pub struct Problem {
    /// Where it was to be restored.
    pub path: Vec<u8>,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong with one path.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// Its content could not be read from the repository. Nothing was put in its place.
    #[error("{0}")]
    Damaged(Arc<RepoError>),
    /// It could not be made, written or put in place.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It was written and reads back differently.
    #[error("what was written at byte {offset} does not read back the same: the disk or the memory failed")]
    Differs {
        /// The first byte of the run that differs.
        offset: u64,
    },
    /// The file that its name is linked to could not be restored.
    #[error("{first} could not be restored, and this is another name of it")]
    FirstName {
        /// The other name.
        first: String,
    },
    /// It is there, without one of its attributes.
    #[error("{0}")]
    Attribute(#[from] apply::Problem),
    /// Something stands in its place that is not replaced.
    #[error("{0}")]
    InTheWay(&'static str),
    /// It would be lost: nothing could bring it back.
    #[error("no snapshot holds it as it is now: left where it is")]
    NotHeld,
    /// The repository says something that can't be.
    #[error("the repository states {0}")]
    Impossible(&'static str),
}

impl Why {
    /// Wraps an error of the system with what was being done.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Why {
        move |source| Why::Io { doing, source }
    }

    /// Whether the path is there with its content, and only an attribute is missing.
    pub fn is_attribute(&self) -> bool {
        matches!(self, Why::Attribute(_))
    }
}

/// Counts of a plan or of what was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Made where nothing was.
    pub created: u64,
    /// Put in the place of something else, or of other content.
    pub replaced: u64,
    /// Given other attributes, their content being as it was.
    pub changed: u64,
    /// Linked to another name.
    pub linked: u64,
    /// As they were already.
    pub kept: u64,
    /// Removed.
    pub removed: u64,
    /// Bytes of content written; holes count for nothing.
    pub bytes: u64,
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct Report {
    /// How much was done.
    pub done: Counts,
    /// What is not as it was, in no order.
    pub problems: Vec<Problem>,
    /// Whether it was told to stop before its end.
    pub stopped: bool,
}

impl Report {
    pub(super) fn problem(&mut self, path: Vec<u8>, why: Why) {
        self.problems.push(Problem { path, why });
    }

    /// Adds what another restore did.
    pub fn add(&mut self, other: Report) {
        self.merge(other);
    }

    /// Adds what another thread did.
    pub(super) fn merge(&mut self, other: Report) {
        let (a, b) = (&mut self.done, other.done);
        a.created += b.created;
        a.replaced += b.replaced;
        a.changed += b.changed;
        a.linked += b.linked;
        a.kept += b.kept;
        a.removed += b.removed;
        a.bytes += b.bytes;
        self.problems.extend(other.problems);
        self.stopped |= other.stopped;
    }
}
