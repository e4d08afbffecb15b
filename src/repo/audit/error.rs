//! Why the audit trail could not be written or read.

use crate::repo::error::RepoError;
use crate::store::api::StoreError;
use std::io;

/// An error of the audit trail.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The repository failed.
    #[error("cannot keep the audit trail: {0}")]
    Repo(#[from] RepoError),
    /// An entry could not be stored.
    #[error(
        "cannot store the entry {name} of the audit trail: {source}; it is stored with the next entry of this process, if that can be"
    )]
    Store {
        /// Its object.
        name: String,
        /// What the store said.
        source: StoreError,
    },
    /// An entry is queued on this host and could not be brought to the store.
    #[error("the audit trail waits on this host and can't be stored: {0}; nothing is deleted before it is")]
    Waiting(StoreError),
    /// What this host knows of the trail could not be read or written.
    #[error("cannot {doing} {path}, what this host knows of the audit trail: {source}")]
    State {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// An entry can't be written as text.
    #[error("cannot write an entry of the audit trail: {0}")]
    Text(#[from] serde_json::Error),
}

impl AuditError {
    /// Whether the store can keep no entry at all, since it is read-only.
    pub fn is_read_only(&self) -> bool {
        matches!(self, AuditError::Store { source, .. } if source.is_read_only())
    }
}
