//! Why a restore could not begin or go on at all. What happens to single files is a [`crate::restore::report::Problem`].

use crate::index::error::IndexError;
use crate::repo::error::RepoError;
use std::io;

/// An error that ends a restore.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// Nothing stands at a path in the view.
    #[error("{path} was not there at that time")]
    NotThere {
        /// The path, absolute.
        path: String,
    },
    /// Two paths would be restored to one place.
    #[error("{one} and {other} would both become {name}: restore them into different directories")]
    Collide {
        /// The first.
        one: String,
        /// The second.
        other: String,
        /// What both would become.
        name: String,
    },
    /// The target can't be opened.
    #[error("cannot restore into {path}: {source}")]
    Target {
        /// The directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A symbolic link or something else stands where a directory on the way to the target was.
    #[error(
        "cannot restore into {path}: on the way to it stands something that is no directory (a symbolic link is not followed); \
         move it away, or use --to"
    )]
    OnTheWay {
        /// The directory.
        path: String,
    },
    /// The file system of the target is mounted read-only.
    #[error("cannot restore into {path}: its file system is mounted read-only")]
    ReadOnly {
        /// The directory.
        path: String,
    },
    /// There is not enough room.
    #[error(
        "cannot restore into {path}: {needed} {what} are needed and {available} are available; nothing was written"
    )]
    Space {
        /// The directory.
        path: String,
        /// `bytes` or `nodes`.
        what: &'static str,
        /// How many would be written.
        needed: u64,
        /// How many the file system has.
        available: u64,
    },
    /// Everything was written and the disk did not confirm it.
    #[error("what was restored into {path} may not be on the disk yet: {source}")]
    Sync {
        /// The directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}
