//! The trait of a store and its guarantees.

use crate::sys::buffer::Buffer;
use crate::types::{time::Instant, when::show::exact_name};
use std::io;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No object has this name.
    #[error("{store}: object {name} is missing")]
    Missing {
        /// Where the store is.
        store: String,
        /// The object.
        name: String,
    },
    /// An object of this name is there already; nothing was changed.
    #[error("{store}: object {name} is there already; objects are never written twice")]
    Exists {
        /// Where the store is.
        store: String,
        /// The object.
        name: String,
    },
    /// The object is shorter than the range that was asked for.
    #[error("{store}: object {name} ends before byte {end}: it was cut short")]
    Short {
        /// Where the store is.
        store: String,
        /// The object.
        name: String,
        /// The end of the range.
        end: u64,
    },
    /// The store keeps the object and refuses to delete it.
    #[error("{store}: {name} is locked{}: the store does not delete it before", shown_until(*until))]
    Locked {
        /// Where the store is.
        store: String,
        /// The object.
        name: String,
        /// Until when, where it says so.
        until: Option<Instant>,
    },
    /// A name that no object can have.
    #[error("{name:?} can't be the name of an object")]
    Name {
        /// What was given.
        name: String,
    },
    /// Anything else.
    #[error("{store}: cannot {doing} {name}: {source}")]
    Io {
        /// Where the store is.
        store: String,
        /// The operation: `write`, `read`, `list`, `delete`.
        doing: &'static str,
        /// The object or prefix.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

fn shown_until(until: Option<Instant>) -> String {
    until.map_or_else(String::new, |until| format!(" until {}", exact_name(until)))
}

impl StoreError {
    /// What is wrong, for a text that names the object already.
    pub fn why_of(&self, object: &str) -> String {
        match self {
            StoreError::Missing { name, .. } if name == object => "it is missing".to_owned(),
            StoreError::Short { name, end, .. } if name == object => {
                format!("it ends before byte {end}: it was cut short")
            }
            other => other.to_string(),
        }
    }

    /// Whether the object is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, StoreError::Missing { .. })
    }

    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, StoreError::Io { source, .. } if full.contains(&source.kind()))
    }

    /// Whether it lies on a file system that is read-only, so that nothing at all can be written.
    pub fn is_read_only(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Whether nobody answered, or only to say that there is no answer now.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut)
    }
}

/// The name and length in bytes of a stored object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Object {
    /// Its whole name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// Named immutable bytes. Names are relative paths of `[0-9a-zA-Z._-]` components joined by `/`.
///
/// Every implementation guarantees, and `tests/store.rs` checks for each of them:
///
/// - `put` is durable when it returns: the object survives a power cut, whole. Before that it is either absent or
///   whole, never in part. An existing object is not overwritten, except by [`Store::mend`]. (Names that two writers could both choose carry a random
///   part, so nothing else rests on that.)
/// - `get` and `get_range` give exactly the bytes that were put, as the store has them; whether they are the right ones is
///   for the caller to verify.
/// - `list` gives every object that was put before it began and not deleted, in the order of names.
/// - `delete` of an object that is not there is no error. One that the store keeps by a lock is [`StoreError::Locked`].
pub trait Store: Send + Sync {
    /// Where it is, for messages.
    fn location(&self) -> String;
    /// Stores an object durably.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Puts the true bytes of an object in the place of what the store gives for it, or where it is missing: durable when it
    /// returns, and seen whole or not at all. This is the one exception from objects being written once, for what is damaged and
    /// nothing else: the caller has authenticated the bytes as those that were put under this name. A store that can't replace says
    /// so.
    fn mend(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let source = io::Error::new(io::ErrorKind::Unsupported, format!("it replaces nothing ({} bytes)", bytes.len()));
        Err(StoreError::Io { store: self.location(), doing: "replace", name: name.to_owned(), source })
    }
    /// A whole object, refused above `max` bytes.
    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError>;
    /// `len` bytes from `offset`.
    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError>;
    /// Several parts of one object: an offset and a length each, in the order of offsets, none into another. What lies between them
    /// may be read too: a store that is far away makes one request of them all.
    fn get_ranges(&self, name: &str, ranges: &[(u64, usize)]) -> Result<Vec<Buffer>, StoreError> {
        ranges.iter().map(|(offset, len)| self.get_range(name, *offset, *len)).collect()
    }
    /// All objects whose name begins with `prefix`, which is empty or ends with `/`, in the order of names.
    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError>;
    /// Deletes an object durably.
    fn delete(&self, name: &str) -> Result<(), StoreError>;
    /// The length of an object in bytes.
    fn size(&self, name: &str) -> Result<u64, StoreError>;

    /// Whether each request takes its time, so that it is worth asking early, for much, and for several things at once.
    fn far(&self) -> bool {
        false
    }
    /// Since when the store has not answered, as far as this host knows; `None` while it does.
    fn away(&self) -> Option<Away> {
        None
    }

    // A store may queue what it is given on a disk of this host, where it is as durable, and bring it on later, in order.

    /// From now on brings on what is queued, in the background. Nothing is queued by most stores.
    fn start(&self) {}
    /// Returns when nothing is queued any more, or what keeps it from being brought on.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// What is queued; `None` for a store that queues nothing.
    fn waiting(&self) -> Result<Option<Waiting>, StoreError> {
        Ok(None)
    }
}

/// A store that does not answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Away {
    /// Since when.
    pub since: Instant,
    /// What was wrong with the last request.
    pub why: String,
}

/// What is queued on this host: captured, and not stored yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them was captured.
    pub since: Option<Instant>,
    /// Why the last of them that was brought on could not be, and when.
    pub error: Option<(Instant, String)>,
}

/// Whether `name` can be the name of an object: no empty, hidden or parent component, plain characters only.
pub fn is_object_name(name: &str) -> bool {
    name.len() <= 512
        && name.split('/').all(|c| {
            !c.is_empty()
                && !c.starts_with('.')
                && c.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        })
}
