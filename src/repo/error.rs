//! Why the repository could not do what it was asked.

use crate::chunk::compress::DecompressError;
use crate::crypto::{random::RandomError, seal::OpenError, slots::SlotError};
use crate::index::error::IndexError;
use crate::store::api::StoreError;
use crate::types::wire::WireError;
use std::io;

/// An error of the repository.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A stored object is not what it must be.
    #[error("{location}: {object}: {what}: {why}")]
    Damaged {
        /// Where the store is.
        location: String,
        /// The object.
        object: String,
        /// The part of it: `header`, `frame 7`, `table`.
        what: String,
        /// Why it can't be used.
        why: Damage,
    },
    /// There is no repository there.
    #[error("{location} holds no repository: it has no bygone.toml")]
    NoRepository {
        /// Where it was looked for.
        location: String,
    },
    /// There is something there already.
    #[error("{location} holds a repository already (id {id})")]
    ThereAlready {
        /// Where.
        location: String,
        /// Its id.
        id: String,
    },
    /// No slot opens with what was given.
    #[error(
        "no key slot of the repository {location} opens with what was given (where the key is surely the right one, the \
         slots or the id in bygone.toml were altered):\n    {tried}"
    )]
    NoSlot {
        /// Where the repository is.
        location: String,
        /// What each slot said.
        tried: String,
    },
    /// A key slot could not be made or read.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The kernel gave no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Another process captures this source.
    #[error("another process (holding {lock}) captures this source already: stop it first, or let it do the work")]
    Locked {
        /// The lock file.
        lock: String,
    },
    /// A local file that belongs to the repository's state failed.
    #[error("cannot {doing} {path}: {source}")]
    State {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The numbers of a source are used up.
    #[error("the repository can number no more {0}")]
    Full(&'static str),
}

/// What is wrong with stored bytes.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It does not authenticate.
    #[error(transparent)]
    Seal(#[from] OpenError),
    /// It does not decompress.
    #[error(transparent)]
    Compression(#[from] DecompressError),
    /// It does not decode.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It contradicts what it should be.
    #[error("{0}")]
    Other(String),
}

impl Damage {
    /// Any other damage, in words.
    pub fn other(text: impl Into<String>) -> Damage {
        Damage::Other(text.into())
    }
}

impl RepoError {
    /// Whether stored bytes are damaged, cut or missing, rather than out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            RepoError::Damaged { .. } => true,
            RepoError::Store(e) => matches!(e, StoreError::Missing { .. } | StoreError::Short { .. }),
            _ => false,
        }
    }
}
