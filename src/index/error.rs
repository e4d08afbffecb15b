//! Why the index could not answer or take a change.

use crate::types::ids::Snap;
use rusqlite::ErrorCode;

/// An error of the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite failed.
    #[error("the index cannot {doing}: {source}")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Another process is changing the index, and it was not waited for.
    #[error("another process is writing to the index just now")]
    Busy,
    /// It is no database, or one that was overwritten in part.
    #[error(
        "the index cannot {doing}: its database is damaged ({source}); `bygone index rebuild` makes a new one from the repository"
    )]
    Corrupt {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Its disk refused. SQLite does not always tell a full disk from one that fails.
    #[error(
        "the index cannot {doing}: the disk of the state directory is full or fails; make space there, or look into the \
         kernel's log; `state` in the settings names another directory, where the index is made anew: {source}"
    )]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database was made by another version.
    #[error(
        "the index {path} has layout {found}, and this program knows {known}: remove it, `bygone index rebuild` makes a new one"
    )]
    Layout {
        /// The database.
        path: String,
        /// Its layout number.
        found: i64,
        /// The one this program writes.
        known: i64,
    },
    /// The database belongs to another repository.
    #[error("the index {path} belongs to the repository {found}, not to {wanted}")]
    Repository {
        /// The database.
        path: String,
        /// The id in it.
        found: String,
        /// The id that was asked for.
        wanted: String,
    },
    /// A record says something that can't be after the records before it.
    #[error("a record contradicts the history before it: {0}")]
    Contradiction(String),
    /// A record names a chunk that no record before it has brought; one of another source may.
    #[error("a record names a chunk that nothing before it has brought: {0}")]
    NoChunk(String),
    /// The snapshots that the instant would show are lost.
    #[error(
        "the snapshots {first} to {last} of {root} can't be shown: {why}. What was captured before and after them can; `bygone \
         list` says what there is, and a good copy of the repository's journal brings them back with `bygone index rebuild`"
    )]
    Lost {
        /// The root of the source.
        root: String,
        /// The first of them.
        first: Snap,
        /// The last of them.
        last: Snap,
        /// Why.
        why: String,
    },
    /// A row holds something that this program never writes.
    #[error("the index is damaged ({0}): `bygone index rebuild` makes a new one from the repository")]
    Damaged(&'static str),
}

impl IndexError {
    /// Wraps an error of SQLite with what was being done.
    pub(crate) fn at(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> IndexError {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => IndexError::Disk { doing, source },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => IndexError::Corrupt { doing, source },
            _ => IndexError::Sqlite { doing, source },
        }
    }
}
