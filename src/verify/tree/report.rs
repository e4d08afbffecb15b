//! What a comparison of a directory with an instant found.

use crate::index::error::IndexError;
use crate::repo::error::RepoError;
use crate::types::{ids::Hash, role::Denied};
use crate::verify::tree::aspects::Aspect;
use std::io;

/// Why a directory could not be compared at all.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The key does not prove content.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Nothing stands at the path in the view.
    #[error("{path} was not there at that time")]
    NotThere {
        /// The path, absolute.
        path: String,
    },
    /// Something else than a directory stands there in the view.
    #[error("{path} was no directory at that time")]
    NotADirectory {
        /// The path, absolute.
        path: String,
    },
    /// The directory can't be opened.
    #[error("cannot open the directory {path}: {source}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The snapshot went while it was compared with.
    #[error("the snapshot that {path} was compared with was released meanwhile, so that nothing is proved")]
    Released {
        /// The root of the source.
        path: String,
    },
}

/// One way in which a node differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// In what.
    pub aspect: Aspect,
    /// What the instant has.
    pub was: String,
    /// What the directory has.
    pub is: String,
}

/// How one path differs.
#[derive(Debug)]
pub enum What {
    /// The instant has it, and the directory has not.
    Missing,
    /// The directory has it, with all that is in it, and the instant has not.
    Extra,
    /// Both have it.
    Differs(Vec<Field>),
    /// It could not be read, so nothing is known.
    Unread {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// One path that is not known to be as it was.
#[derive(Debug)]
pub struct Difference {
    /// The path below the directory; empty for itself.
    pub path: Vec<u8>,
    /// How it differs.
    pub what: What,
}

/// What was compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Regular files, each once.
    pub files: u64,
    /// Directories, the one that was named among them.
    pub dirs: u64,
    /// Symbolic links, devices and fifos.
    pub others: u64,
    /// Further names of files.
    pub links: u64,
    /// Bytes of files that were proved, holes among them.
    pub bytes: u64,
    /// Sockets in the directory, which no snapshot has, and which do not count as a difference.
    pub sockets: u64,
}

/// The result.
#[derive(Debug, Default)]
pub struct Report {
    /// How much was compared.
    pub counts: Counts,
    /// All that differs or could not be read, in the order of paths.
    pub differences: Vec<Difference>,
    /// The digest of the tree, where nothing differs.
    pub digest: Option<Hash>,
    /// Whether it was told to stop before its end.
    pub stopped: bool,
}

impl Report {
    /// Whether the directory equals the instant.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && !self.stopped
    }

    /// How many paths could not be read.
    pub fn unread(&self) -> usize {
        self.differences.iter().filter(|d| matches!(d.what, What::Unread { .. })).count()
    }

    pub(super) fn differs(&mut self, path: &[u8], what: What) {
        self.differences.push(Difference { path: path.to_vec(), what });
    }

    pub(super) fn unreadable(&mut self, path: &[u8], doing: &'static str, source: io::Error) {
        self.differs(path, What::Unread { doing, source });
    }

    pub(super) fn merge(&mut self, other: Report) {
        let (a, b) = (&mut self.counts, other.counts);
        a.files += b.files;
        a.dirs += b.dirs;
        a.others += b.others;
        a.links += b.links;
        a.bytes += b.bytes;
        a.sockets += b.sockets;
        self.differences.extend(other.differences);
        self.stopped |= other.stopped;
    }
}
