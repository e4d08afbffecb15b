//! Why a repair could not be made. What it finds is in what it gives.

use crate::index::error::IndexError;
use crate::repo::error::RepoError;

/// Why a repair ended.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// It was told to stop. What was stated by then counts.
    #[error("interrupted before everything was repaired; run it again")]
    Stopped,
}
