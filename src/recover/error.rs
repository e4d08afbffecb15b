//! Why a directory could not be given back.

use crate::index::error::IndexError;
use crate::mount::session::MountError;
use crate::repo::error::RepoError;
use crate::restore::error::RestoreError;
use crate::sys::{durable, open_files::User};
use std::io;

/// An error of a recovery.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The view could not be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The plain directory could not be filled.
    #[error("cannot fill the directory behind {path}: {source}")]
    Fill {
        /// The directory.
        path: String,
        /// Why not.
        source: Box<RestoreError>,
    },
    /// A file of the recovery could not be written.
    #[error(transparent)]
    Durable(#[from] durable::Error),
    /// Something else of the system.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Only root may.
    #[error("only root can give a directory back at once, since that takes a mount")]
    NotRoot,
    /// The kernel has no overlays.
    #[error("this kernel has no overlay file system")]
    NoOverlay,
    /// The directory can't be used.
    #[error("cannot give {path} back at once: {why}")]
    Place {
        /// The directory.
        path: String,
        /// What is in the way.
        why: String,
    },
    /// There is not enough room to fill it.
    #[error(
        "there is not enough room beside {path}: {needed} bytes are needed and {available} are available; nothing was done"
    )]
    Space {
        /// The directory.
        path: String,
        /// What the files take.
        needed: u64,
        /// What the file system has.
        available: u64,
    },
    /// It is under way already.
    #[error("{path} is being given back already, by process {pid}")]
    UnderWay {
        /// The directory.
        path: String,
        /// The process.
        pid: u32,
    },
    /// An earlier one was interrupted.
    #[error("{path} was being given back as of {as_of}, and that was interrupted: what was written into it is kept")]
    Interrupted {
        /// The directory.
        path: String,
        /// The time.
        as_of: String,
    },
    /// Nothing is known of it.
    #[error("{path} is not being given back")]
    NotUnderWay {
        /// The directory.
        path: String,
    },
    /// It can't be given up any more.
    #[error("{path} is becoming a plain directory already, and can't be given up any more")]
    TooLate {
        /// The directory.
        path: String,
    },
    /// Something uses what would be unmounted.
    #[error("{path} is still used by {users}")]
    InUse {
        /// The directory.
        path: String,
        /// Who.
        users: String,
    },
    /// The state can't be read.
    #[error("the state of a recovery, {path}, can't be used: {why}")]
    State {
        /// The file.
        path: String,
        /// Why not.
        why: String,
    },
    /// What is noted of it leads to nothing that can be read.
    #[error("what is noted of giving {path} back can't be read: {why}")]
    Broken {
        /// The directory.
        path: String,
        /// Why not.
        why: String,
    },
    /// Another writer holds the instant up.
    #[error("a snapshot of this host is just being made, and may still show in that instant: try again in a moment")]
    Unsettled,
    /// The view has no such directory any more.
    #[error("the snapshot that {path} is given back from is no longer there")]
    Released {
        /// The directory.
        path: String,
    },
}

/// Wraps an error of the system with what was being done, and with what.
pub(super) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> RecoverError {
    use std::os::unix::ffi::OsStrExt as _;
    let path = crate::types::path::show(path.as_os_str().as_bytes());
    move |source| RecoverError::Io { doing, path, source }
}

/// Processes for people.
pub fn users_text(users: &[User]) -> String {
    let one = |u: &User| format!("{} ({}{})", u.name, u.pid, if u.writes { ", writing" } else { "" });
    users.iter().map(one).collect::<Vec<_>>().join(", ")
}
