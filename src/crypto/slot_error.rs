//! What a slot is opened by, what that costs, and why it failed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::random::RandomError;
use crate::types::{
    ids::Id,
    role::{Denied, Role},
};

/// The longest label, in bytes.
pub(super) const LABEL_MAX: usize = 200;

/// What opens a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotKind {
    /// A passphrase.
    Passphrase,
    /// A key in a file.
    KeyFile,
    /// A key printed on paper.
    Paper,
}

impl fmt::Display for SlotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SlotKind::Passphrase => "passphrase",
            SlotKind::KeyFile => "key file",
            SlotKind::Paper => "key on paper",
        })
    }
}

/// What stretching a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes of the memory.
    pub lanes: u32,
}

impl Cost {
    /// The cost of new slots: 64 MiB, three passes.
    pub const DEFAULT: Cost = Cost { memory_kib: 64 << 10, passes: 3, lanes: 1 };
    /// The most that a slot may ask of its reader.
    pub const CEILING: Cost = Cost { memory_kib: 1 << 20, passes: 20, lanes: 16 };
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB of memory, {} passes and {} lanes", self.memory_kib, self.passes, self.lanes)
    }
}

/// Why a slot was not made, read or opened.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The bytes are not what was written.
    #[error("the key slot is damaged ({why}); put back a good copy of it, or open the repository by another slot")]
    Damaged {
        /// What is wrong with them.
        why: String,
    },
    /// A slot of a later format.
    #[error("the key slot has format {format}, and this bygone knows the formats 1 to 3: use a newer bygone")]
    Newer {
        /// The format it has.
        format: i64,
    },
    /// The secret does not fit, or the slot was made for another repository or altered on purpose.
    #[error(
        "the {kind} does not open key slot {id} ({label:?}): check it, and that the slot belongs to this repository"
    )]
    WrongKey {
        /// The slot.
        id: Id,
        /// What it is opened by.
        kind: SlotKind,
        /// Its label.
        label: String,
    },
    /// A passphrase was given to a slot that takes a key, or the other way round.
    #[error("key slot {id} ({label:?}) is opened by a {kind}, and something else was given")]
    WrongKind {
        /// The slot.
        id: Id,
        /// What it is opened by.
        kind: SlotKind,
        /// Its label.
        label: String,
    },
    /// The slot asks for more work than any slot needs.
    #[error("the key slot asks for {0}, more than this bygone allows ({ceiling}): it was not made by bygone", ceiling = Cost::CEILING)]
    Cost(Cost),
    /// An empty passphrase.
    #[error("the passphrase is empty: choose one of several words")]
    Empty,
    /// A label that does not fit.
    #[error("the label of a key slot has at most {max} bytes, and this one has {0}: choose a shorter one", max = LABEL_MAX)]
    Label(usize),
    /// No memory for Argon2.
    #[error("cannot stretch the passphrase: there is no memory for {0}; free some and try again")]
    Memory(Cost),
    /// The role can't be had in this repository.
    #[error(
        "no key of this repository can have the role {0}: it was made before keys had roles, and one key opens everything in it. \
         `bygone init` makes a new repository, whose keys have them"
    )]
    NoRole(Role),
    /// The keys can't be rotated in this repository.
    #[error(
        "the keys of this repository can't be rotated: it was made before keys had roles, and one key opens everything in it. \
         `bygone init` makes a new repository, whose keys can be"
    )]
    NoGenerations,
    /// There are as many generations as there can be.
    #[error(
        "the keys of this repository were rotated {0} times, and can't be again: make a new repository with `bygone init`"
    )]
    Generations(usize),
    /// The key that was to make the slot has no right to.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}
