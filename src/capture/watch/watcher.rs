//! Starting a watcher, and what one can say of itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::hint::Hint;
use super::{fanotify, inotify};
use crate::types::path::show;
use crate::types::time::Instant;

/// Which watcher is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Prefer {
    /// fanotify if it works for this root, else inotify.
    #[default]
    Auto,
    /// inotify.
    Inotify,
    /// fanotify, and an error if it does not work.
    Fanotify,
}

/// Tells whether a path, relative to the root, is excluded (`true`); the flag says that it is a directory. What lies
/// below an excluded directory is not asked for.
pub type Exclude = Arc<dyn Fn(&[u8], bool) -> bool + Send + Sync>;

/// Gives the time, for gaps.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// What to watch and what not.
#[derive(Clone)]
pub struct WatchOptions {
    /// Directories that are never watched, by absolute path: the repository, the state directory, our own mounts.
    pub skip: Vec<PathBuf>,
    /// The source's exclusions.
    pub exclude: Exclude,
    /// The clock that gaps are told by.
    pub clock: Clock,
    /// Which watcher.
    pub prefer: Prefer,
    /// Changes made by this process are not told (fanotify only): pass our own, which writes nothing under a root but
    /// repository and state.
    pub ignore_pid: Option<u32>,
    /// At most so many inotify watches, besides the kernel's own limit.
    pub max_watches: Option<usize>,
}

impl WatchOptions {
    /// Options that skip and exclude nothing.
    pub fn new(clock: Clock) -> WatchOptions {
        let exclude: Exclude = Arc::new(|_, _| false);
        WatchOptions { skip: Vec::new(), exclude, clock, prefer: Prefer::Auto, ignore_pid: None, max_watches: None }
    }
}

impl fmt::Debug for WatchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchOptions")
            .field("skip", &self.skip)
            .field("prefer", &self.prefer)
            .field("ignore_pid", &self.ignore_pid)
            .field("max_watches", &self.max_watches)
            .finish_non_exhaustive()
    }
}

/// A part of the root that is not watched, and must be scanned at an interval.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwatched {
    /// The directory, relative to the root; everything below it as well.
    pub dir: Vec<u8>,
    /// Why, for people.
    pub why: String,
}

/// What a watcher watches.
#[derive(Clone, Debug, Default)]
pub struct WatchStatus {
    /// Directories with a watch of their own (inotify), or marked file systems (fanotify).
    pub watched: u64,
    /// What is not watched.
    pub unwatched: Vec<Unwatched>,
    /// What someone should know or do: why fanotify is not used, which limit to raise and to what.
    pub notes: Vec<String>,
    /// The root is not there.
    pub root_gone: bool,
}

/// Watches until it is dropped.
pub trait Watcher: Send {
    /// `"fanotify"` or `"inotify"`.
    fn kind(&self) -> &'static str;

    /// What is watched at this moment.
    fn status(&self) -> WatchStatus;
}

/// Why watching could not start.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The root cannot be looked at.
    #[error("cannot watch {}: {source}; check that the directory exists and may be read", show_path(.path))]
    Root {
        /// The root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The root is a file.
    #[error("cannot watch {}: it is not a directory; name a directory as the source's root", show_path(.path))]
    NotADirectory {
        /// The root.
        path: PathBuf,
    },
    /// fanotify was asked for and does not work here.
    #[error("cannot watch {} by fanotify: {why}; use inotify instead", show_path(.path))]
    Fanotify {
        /// The root.
        path: PathBuf,
        /// What failed and why.
        why: String,
    },
    /// inotify does not work here.
    #[error(
        "cannot watch {} by inotify: {why}; if instances or descriptors ran out, raise fs.inotify.max_user_instances \
         or the limit of open files", show_path(.path)
    )]
    Inotify {
        /// The root.
        path: PathBuf,
        /// What failed and why.
        why: String,
    },
    /// The table of mounts or a thread is not to be had.
    #[error("cannot watch {}: {what}: {source}; check that /proc is mounted and that limits allow a thread", show_path(.path))]
    System {
        /// The root.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A path for messages.
pub(super) fn show_path(path: &Path) -> String {
    show(path.as_os_str().as_encoded_bytes())
}

/// Starts watching `root` and returns once everything is watched: scan after that, and nothing is missed.
///
/// Hints go to `tx`. If it is bounded and full for long, hints are merged into one `Subtree` of the root; if its receiver
/// is dropped, the watcher ends.
pub fn start(root: &Path, options: &WatchOptions, tx: Sender<Hint>) -> Result<Box<dyn Watcher>, WatchError> {
    if options.prefer == Prefer::Inotify {
        return inotify::start(root, options, tx, Vec::new());
    }
    match fanotify::start(root, options, tx.clone()) {
        Err(WatchError::Fanotify { why, .. }) if options.prefer == Prefer::Auto => {
            inotify::start(root, options, tx, vec![format!("inotify is used because fanotify is not possible: {why}")])
        }
        other => other,
    }
}
