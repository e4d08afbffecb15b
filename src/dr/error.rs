//! Why a place could not take over, or histories not be brought together.

use crate::index::error::IndexError;
use crate::replicate::error::ReplicateError;
use crate::repo::error::RepoError;
use crate::store::api::StoreError;
use crate::sys::durable;
use std::path::PathBuf;

/// An error of disaster recovery.
#[derive(Debug, thiserror::Error)]
pub enum DrError {
    /// The repository, in one of its places.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// What one place has could not be brought to another.
    #[error(transparent)]
    Replicate(#[from] ReplicateError),
    /// The index of this host.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A file of the state directory.
    #[error(transparent)]
    State(#[from] durable::Error),
    /// The index that is to be put aside is used.
    #[error("the index in {} is used by another process: end it, and the service with `systemctl stop bygone`, and try again", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A place has collected since another was promoted.
    #[error(
        "{location} has collected since another place was promoted, {count} object(s), the first {first}: its history can't be joined any \
         more. Nothing was changed: it stays a repository of its own, which --repo names"
    )]
    Collected {
        /// The place.
        location: String,
        /// Objects that say so.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// Not all of what the old place has is in the new one.
    #[error("{0}: nothing was promoted, and capture goes on here")]
    NotWhole(String),
}

impl From<StoreError> for DrError {
    fn from(e: StoreError) -> DrError {
        DrError::Repo(e.into())
    }
}
