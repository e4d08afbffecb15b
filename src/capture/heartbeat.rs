//! What whoever watches a source notes of it, beside the index: for `status` and for the next start.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is known of a source that is being watched: kept in a file beside the index, for `status` and for the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The process that watches.
    pub pid: u32,
    /// Everything up to this instant (ns) has been seen.
    pub seen_until_ns: i64,
    /// `fanotify` or `inotify`.
    pub watcher: String,
    /// Directories or file systems that are watched.
    pub watched: u64,
    /// What is not watched, relative to the root, and why.
    pub unwatched: Vec<(String, String)>,
    /// What someone should know or do.
    pub notes: Vec<String>,
    /// The root is not there.
    pub root_gone: bool,
}

/// Where the heartbeat of a source is kept.
pub fn heartbeat_path(dir: &Path, root: &[u8]) -> PathBuf {
    dir.join(format!("watch-{}.json", data_encoding::HEXLOWER.encode(&blake3::hash(root).as_bytes()[..8])))
}

/// The heartbeat of a source, if it was ever watched here.
pub fn heartbeat(dir: &Path, root: &[u8]) -> Option<Heartbeat> {
    serde_json::from_slice(&std::fs::read(heartbeat_path(dir, root)).ok()?).ok()
}
