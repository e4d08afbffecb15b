//! What a watcher says.

use crate::types::{attr::Place, time::Instant};

/// Something may have changed. Paths are bytes, relative to the source's root; `""` is the root itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hint {
    /// The entry `name` of directory `dir` may have changed: created, written, removed, renamed, its attributes; and with
    /// it the times of `dir`, which are not told apart. A
    /// file with several names is told by one of them. An empty name is the root itself (then `dir` is empty too).
    Entry {
        /// The directory.
        dir: Vec<u8>,
        /// The entry in it.
        name: Vec<u8>,
    },
    /// A node lost a name, through which it may have been changed, and goes on under others.
    Node {
        /// Where it is.
        place: Place,
    },
    /// A directory was renamed within the root. Both names are dirty, and whatever was dirty below `from` is now to be
    /// found below `to`.
    Moved {
        /// The path before.
        from: Vec<u8>,
        /// The path now.
        to: Vec<u8>,
    },
    /// The directory itself and everything below it must be scanned.
    Subtree {
        /// The directory.
        dir: Vec<u8>,
        /// The reason.
        why: Why,
        /// Changes may have been missed since then: a gap of this subtree.
        blind_since: Option<Instant>,
    },
    /// The root's path no longer leads to the directory that was watched.
    RootGone,
    /// There is a directory at the root's path again. A `Subtree` hint of the root follows.
    RootBack {
        /// It is the same directory as before (device, inode and birth time). If not, a file system may be missing there.
        same: bool,
    },
}

/// Why a subtree must be scanned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    /// A directory that was not watched while it filled.
    Appeared,
    /// A directory renamed to here, from outside, from an excluded place, or where the rename could not be followed.
    RenamedIn,
    /// Events were lost because they came faster than they were read.
    Overflow,
    /// It is watched now; before, there were no watches left for it.
    WatchedAgain,
    /// The watcher failed and was set up anew.
    WatchLost,
    /// A file system was mounted there.
    Mounted,
    /// A file system was unmounted there.
    Unmounted,
    /// The root was gone and is there again.
    RootReturned,
    /// An event lies too deep for its path to be told.
    TooDeep,
}

impl Why {
    /// The reason, for a gap's record and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Appeared => "directory appeared",
            Why::RenamedIn => "directory renamed to here",
            Why::Overflow => "events lost: too many at once",
            Why::WatchedAgain => "not watched before: no watches left",
            Why::WatchLost => "watcher failed",
            Why::Mounted => "file system mounted",
            Why::Unmounted => "file system unmounted",
            Why::RootReturned => "root was gone",
            Why::TooDeep => "path too long to tell",
        }
    }
}
