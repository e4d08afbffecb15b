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
    /// The users of this machine can't be looked up.
    #[error("cannot look up who the users and groups of this machine are: {source}")]
    Users {
        /// What the system said.
        source: io::Error,
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
    /// A part of something that is restored as a whole is to go elsewhere.
    #[error(
        "{from} is to go elsewhere, but lies in {root}, which is restored as a whole: name the paths below {root} one by one"
    )]
    MoveInside {
        /// The part.
        from: String,
        /// The whole.
        root: String,
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
    /// What a killed restore left could not be looked for, or this one not be noted.
    #[error("cannot note in {dir} that a restore runs, or remove what one before it has left behind: {source}")]
    Note {
        /// The state directory.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing could be done there at all.
    #[error("cannot restore into {path}: {why}; nothing was written")]
    NoRoom {
        /// The directory.
        path: String,
        /// What is missing.
        why: String,
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
