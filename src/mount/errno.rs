//! Errors as the numbers that programs see. The one place where that is decided, and where what is worse than a wrong
//! question is logged.

use crate::index::error::IndexError;
use crate::mount::inodes::TooLarge;
use crate::repo::error::RepoError;

/// Why a request on the mount failed.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The node is no directory.
    #[error("not a directory")]
    NotADirectory,
    /// The node is a directory.
    #[error("a directory")]
    IsADirectory,
    /// The request does not fit the kind of node.
    #[error("not a request for this kind of node")]
    WrongKind,
    /// The number leads to nothing any more.
    #[error("the node is not known any more")]
    Stale,
    /// There is no such extended attribute.
    #[error("no such extended attribute")]
    NoAttribute,
    /// There is no such control operation.
    #[error("no such control operation")]
    NoControl,
    /// An offset behind the end, or without data behind it.
    #[error("no data or hole at or after that offset")]
    NoSuchOffset,
    /// A buffer that is too small for the answer.
    #[error("the buffer is too small")]
    TooSmall,
    /// A view can't be changed.
    #[error("views never change")]
    ReadOnly,
    /// A number outgrew the inode numbers.
    #[error("{0}: mount it with fewer sources or views, or in the other way of numbering")]
    TooLarge(#[from] TooLarge),
    /// More views than a mount can number.
    #[error("this mount shows half a million views already: unmount it and mount it again")]
    TooManyViews,
    /// There is no snapshot at or before the instant that was to be mounted.
    #[error("there is no snapshot at or before that time")]
    NoSnapshot,
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The repository failed, or is damaged.
    #[error(transparent)]
    Repo(RepoError),
    /// A system call failed.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<RepoError> for FsError {
    fn from(e: RepoError) -> FsError {
        match e {
            RepoError::Index(e) => FsError::Index(e),
            e => FsError::Repo(e),
        }
    }
}

impl FsError {
    /// The number for the program. Failures of the index, the repository and the system are logged here; whatever failed,
    /// it never looks like a file that is not there.
    pub fn errno(&self) -> i32 {
        match self {
            FsError::NotADirectory => libc::ENOTDIR,
            FsError::IsADirectory => libc::EISDIR,
            FsError::WrongKind => libc::EINVAL,
            FsError::Stale => libc::ESTALE,
            FsError::NoSnapshot => libc::ENOENT,
            FsError::NoAttribute => libc::ENODATA,
            FsError::NoControl => libc::ENOTTY,
            FsError::NoSuchOffset => libc::ENXIO,
            FsError::TooSmall => libc::ERANGE,
            FsError::ReadOnly => libc::EROFS,
            FsError::TooLarge(_) | FsError::TooManyViews => {
                tracing::error!("{self}");
                libc::EOVERFLOW
            }
            FsError::Index(e) => {
                tracing::error!("{self}");
                of_index(e)
            }
            FsError::Repo(e) => {
                tracing::error!("{self}");
                of_repo(e)
            }
            FsError::System { .. } => {
                tracing::error!("{self}");
                libc::EIO
            }
        }
    }
}

fn of_index(e: &IndexError) -> i32 {
    match e {
        IndexError::Sqlite { .. }
        | IndexError::Busy
        | IndexError::Corrupt { .. }
        | IndexError::Disk { .. }
        | IndexError::Layout { .. }
        | IndexError::Repository { .. }
        | IndexError::Contradiction(_)
        | IndexError::NoChunk(_)
        | IndexError::Lost { .. }
        | IndexError::Damaged(_) => libc::EIO,
    }
}

fn of_repo(e: &RepoError) -> i32 {
    match e {
        RepoError::Store(_)
        | RepoError::Index(_)
        | RepoError::Damaged { .. }
        | RepoError::NoRepository { .. }
        | RepoError::ThereAlready { .. }
        | RepoError::NoSlot { .. }
        | RepoError::Slot(_)
        | RepoError::Random(_)
        | RepoError::Keys(_)
        | RepoError::Locked { .. }
        | RepoError::SecondWriter { .. }
        | RepoError::Fenced { .. }
        | RepoError::RolledBack { .. }
        | RepoError::Restless
        | RepoError::Uncollectable { .. }
        | RepoError::NotGivenUp { .. }
        | RepoError::Retired { .. }
        | RepoError::NoHost { .. }
        | RepoError::State { .. }
        | RepoError::InUse { .. }
        | RepoError::Rebuilding { .. }
        | RepoError::IndexGone { .. }
        | RepoError::Full(_) => libc::EIO,
        RepoError::Denied(_) => libc::EACCES,
        // No damage, and nothing that is not there either: this copy has no data of it.
        RepoError::NotHeld { .. } => libc::ENODATA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::api::StoreError;

    #[test]
    fn a_failure_never_looks_like_an_absence() {
        let missing = StoreError::Missing { store: "s".into(), name: "packs/x".into() };
        assert_eq!(FsError::from(RepoError::Store(missing)).errno(), libc::EIO);
        let not_held = RepoError::NotHeld { location: "s".into(), tiers: "full".into() };
        assert_eq!(FsError::from(not_held).errno(), libc::ENODATA);
        assert_eq!(FsError::from(IndexError::Damaged("x")).errno(), libc::EIO);
        assert_eq!(FsError::NoAttribute.errno(), libc::ENODATA);
        assert_eq!(FsError::NoControl.errno(), libc::ENOTTY);
    }
}
