//! Why the legal holds could not be read or changed.

use crate::repo::error::RepoError;
use crate::store::api::StoreError;
use crate::types::{hold_text::HoldError, time::Instant};
use std::io;

/// An error of legal holds.
#[derive(Debug, thiserror::Error)]
pub enum HoldsError {
    /// An object that holds one can't be read.
    #[error(
        "the legal hold in the object {object} can't be read, so nothing may be collected: {}; restore the object from a copy, \
         or use the newer program that wrote it",
        why.why_of(object, "")
    )]
    Unreadable {
        /// The object.
        object: String,
        /// Why.
        why: Box<RepoError>,
    },
    /// An object that this host has seen is gone.
    #[error(
        "the legal hold in the object {object} was stored and is missing, so nothing may be collected: restore the object from a copy; \
         `bygone audit show --kind hold-place` tells which case it was"
    )]
    Gone {
        /// The object.
        object: String,
    },
    /// The repository failed.
    #[error("cannot read or write the legal holds: {0}")]
    Repo(#[from] RepoError),
    /// It could not be stored.
    #[error("the legal hold can't be stored: {0}")]
    Store(#[from] StoreError),
    /// It is on this host, and not in the store yet.
    #[error(
        "what was done about the legal hold is kept on this host and not in the store yet, so other hosts don't know of it: {0}; it goes on \
         with the next snapshot, and need not be done again"
    )]
    Waiting(StoreError),
    /// It can't be.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// There is no such case.
    #[error("no legal hold of the case {0:?} is in force; `bygone hold list` shows all cases")]
    NoCase(String),
    /// A hold only ever gets longer.
    #[error(
        "the hold {case:?} is in force {until} already: it can be lengthened, and not shortened; `bygone hold release` ends it"
    )]
    Shorter {
        /// The case.
        case: String,
        /// Until when it is in force.
        until: String,
        /// The same as an instant; none until it is released.
        at: Option<Instant>,
    },
    /// It was released with no reason.
    #[error("a hold is released for a reason: write it")]
    NoReason,
    /// What this host knows could not be read or written.
    #[error("cannot {doing} {path}, what this host knows of legal holds: {source}")]
    State {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It can't be written as text.
    #[error("cannot write a legal hold: {0}")]
    Text(#[from] serde_json::Error),
}
