//! Why a site could not be brought up to date.

use crate::repo::{audit::error::AuditError, error::RepoError};
use crate::store::api::StoreError;
use crate::types::ids::Id;

/// An error of replication. What has been copied by then stays, and the next run goes on from it.
#[derive(Debug, thiserror::Error)]
pub enum ReplicateError {
    /// The repository, at either end.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The audit trail could not be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Something else is where the copy is to be.
    #[error(
        "{location} holds {found}, and no copy of this repository (id {id}): nothing was written there; name an empty place for the site"
    )]
    Other {
        /// Where.
        location: String,
        /// What is there.
        found: String,
        /// The id of this repository.
        id: Id,
    },
    /// The copy goes on where the origin does not.
    #[error(
        "the copy {location} has history that {origin} lacks, {count} object(s), the first {first}: it was promoted or written to, or \
         the origin has lost them and this host's index with it. Nothing was copied. Where the copy is the repository now, replicate \
         the other way; where the origin has lost them, `bygone verify --against SITE --repair` brings them back; where both sides wrote, `bygone dr rejoin SITE` keeps both histories"
    )]
    Ahead {
        /// The copy.
        location: String,
        /// The repository that was to be copied.
        origin: String,
        /// How many objects of histories and of collection.
        count: usize,
        /// The name of the first.
        first: String,
    },
    /// The copy was promoted, and the origin did not know.
    #[error(
        "the copy {location} was promoted, and goes on in the place of {origin}: nothing was copied. What was captured in {origin} since \
         then is joined to it by `bygone dr rejoin`, there"
    )]
    Promoted {
        /// The copy.
        location: String,
        /// The repository that was to be copied.
        origin: String,
    },
    /// The place of a copy is empty that was there.
    #[error(
        "the copy {location}, which this host has brought up to date before, is not there: bring back its disk or its bucket; where it \
         is lost for good, `bygone replicate --anew SITE` makes it again"
    )]
    Gone {
        /// Where it was.
        location: String,
    },
    /// The site has sources that nobody knows.
    #[error("the site {site} is to have the source {source_path}, which the repository does not have")]
    NoSource {
        /// The site.
        site: String,
        /// The source.
        source_path: String,
    },
}

impl From<StoreError> for ReplicateError {
    fn from(e: StoreError) -> ReplicateError {
        ReplicateError::Repo(e.into())
    }
}
