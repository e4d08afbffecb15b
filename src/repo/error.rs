//! Why the repository could not do what it was asked.

use crate::chunk::compress::DecompressError;
use crate::crypto::{keys::KeyError, random::RandomError, seal::OpenError, slots::SlotError};
use crate::index::error::IndexError;
use crate::repo::names;
use crate::store::api::StoreError;
use crate::types::{role::Denied, wire::WireError};
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
    /// The key has no role that allows it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The keys for it can't be had.
    #[error("{0}")]
    Keys(KeyError),
    /// The kernel gave no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The journal lacks a record that this host knows.
    #[error(
        "the repository {location} is older than what this host knows of it: {segment}, with snapshot {number}, is missing. It was \
         rolled back, or damaged; nothing is captured until that is cleared up. Put the newer repository back; or run `bygone \
         maintain`, which writes it again from this host's index; or, to go on without it, `bygone index rebuild`, which forgets it"
    )]
    RolledBack {
        /// Where the store is.
        location: String,
        /// The segment that is missing.
        segment: String,
        /// The snapshot in it.
        number: crate::types::ids::Snap,
    },
    /// A copy never promised to have it.
    #[error(
        "it is not in the copy {location}, which holds only what snapshots of the tier {tiers} need; read such a snapshot (`bygone list` \
         names them), or another copy. `bygone verify` tells whether one of these lacks anything"
    )]
    NotHeld {
        /// Where the copy is.
        location: String,
        /// The tiers whose snapshots are whole there.
        tiers: String,
    },
    /// Nobody can tell what is needed.
    #[error(
        "nothing is collected, since not all that the repository says can be read, and what can't be read may be needed: {why}. `bygone \
         verify` says more; `bygone maintain --help` says what to do where no good copy of it is left"
    )]
    Uncollectable {
        /// What could not be read.
        why: String,
    },
    /// What can't be read of a source can't be given up.
    #[error("nothing of the history of {root} is given up: {why}")]
    NotGivenUp {
        /// The source.
        root: String,
        /// What stands against it.
        why: String,
    },
    /// No host with this id writes into the repository.
    #[error(
        "no host with the id {id} writes into the repository {location}; `bygone maintain` names those it waits for"
    )]
    NoHost {
        /// Where the store is.
        location: String,
        /// The id.
        id: String,
    },
    /// This host is not waited for any more.
    #[error(
        "this host (id {id}) was retired from the repository {location}: what it had captured and not stored yet may rest on what has been \
         deleted. It is a new host from now on: start again, and run `bygone verify`"
    )]
    Retired {
        /// Where the store is.
        location: String,
        /// The host's id.
        id: String,
    },
    /// Keys were rotated again and again, and each time others changed them meanwhile.
    #[error(
        "the keys were rotated, and a key that was removed meanwhile opens the generation in force: run `bygone key rotate` again"
    )]
    Restless,
    /// Somebody else began to write this source.
    #[error("the source {path} on {host} has another writer since this one began: it begins again")]
    SecondWriter {
        /// The source.
        path: String,
        /// Its host.
        host: String,
    },
    /// Another process captures this source.
    #[error(
        "another process (number {holder}, holding {lock}) captures this source already: stop it first, or let it do the work"
    )]
    Locked {
        /// The process that holds it.
        holder: String,
        /// The lock file.
        lock: String,
    },
    /// Another process uses the index of this host.
    #[error("another bygone process uses the index {index}{pids}: stop it first")]
    InUse {
        /// The index.
        index: String,
        /// ` (pid 12, 34)`, or nothing where they can't be told.
        pids: String,
    },
    /// Another process makes the index of this host anew.
    #[error("another bygone process makes the index {index} anew{pids}: wait until it is done")]
    Rebuilding {
        /// The index.
        index: String,
        /// As above.
        pids: String,
    },
    /// The index was removed while it was used.
    #[error(
        "the index {index} was removed or replaced while this process used it; nothing of the repository is lost: \
         start again"
    )]
    IndexGone {
        /// The index.
        index: String,
    },
    /// Another place of the repository goes on.
    #[error(
        "{location} goes on no more: {by}, took its place (promotion {number}). Nothing was captured or collected here, and all that is \
         here stays. `bygone dr failover {site}` makes these settings follow it; what was captured here since then is joined to it by \
         `bygone dr rejoin`, there"
    )]
    Fenced {
        /// Where the store is.
        location: String,
        /// The number of the promotion.
        number: u32,
        /// What goes on, since when and by whom.
        by: String,
        /// What the site is called there.
        site: String,
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
    /// Its key can't be had.
    #[error(transparent)]
    Key(#[from] KeyError),
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

impl From<KeyError> for RepoError {
    fn from(e: KeyError) -> RepoError {
        match e {
            KeyError::Denied(denied) => denied.into(),
            other => RepoError::Keys(other),
        }
    }
}

impl RepoError {
    /// What is wrong, for a text that names the object and its part already.
    pub fn why_of(&self, object: &str, part: &str) -> String {
        match self {
            RepoError::Damaged { object: of, what, why, .. } if of == object && what == part => why.to_string(),
            RepoError::Damaged { object: of, what, why, .. } if of == object => format!("{what}: {why}"),
            RepoError::Store(e) => e.why_of(object),
            RepoError::NoRepository { .. } if object == names::REPOSITORY => "it is missing".to_owned(),
            other => other.to_string(),
        }
    }

    /// Whether the store did not answer, and everything may be well with what is in it.
    pub fn is_away(&self) -> bool {
        matches!(self, RepoError::Store(StoreError::Io { .. }))
    }

    /// Whether stored bytes are damaged, cut or missing, rather than out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            RepoError::Damaged { .. } => true,
            RepoError::Store(e) => RepoError::is_damage_of(e),
            _ => false,
        }
    }

    /// Whether what the store says is that an object is missing or cut.
    pub fn is_damage_of(e: &StoreError) -> bool {
        matches!(e, StoreError::Missing { .. } | StoreError::Short { .. })
    }
}
