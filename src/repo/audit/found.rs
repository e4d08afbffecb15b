//! What the last check of the audit trail on this host found wrong, kept beside its index, for those who watch.

use crate::repo::error::RepoError;
use crate::sys::durable;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The file, in the directory of a repository's state; there is none where nothing is wrong.
const FILE: &str = "audit.found";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// When (ns).
    pub at_ns: i64,
    /// How many problems, without those that are accepted; at least one.
    pub problems: u64,
    /// The first of them.
    pub first: String,
}

/// Notes what a check found, or that it found nothing.
pub fn note(dir: &Path, found: Option<&Found>) -> Result<(), RepoError> {
    let path = file(dir);
    let failed = |source: io::Error| RepoError::State { doing: "write", path: path.display().to_string(), source };
    let Some(found) = found else { return durable::remove(&path).map(drop).map_err(|e| failed(e.into())) };
    let bytes = serde_json::to_vec(found).map_err(|e| failed(e.into()))?;
    durable::replace(&path, &bytes, 0o600).map_err(|e| failed(e.into()))
}

/// What stands. A file that does not read is as none: the next check makes it anew.
pub fn standing(dir: &Path) -> Option<Found> {
    let path = file(dir);
    match std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
        Ok(found) => Some(found),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => {
            tracing::warn!("cannot read {}, which the next `bygone audit verify` makes anew: {e}", path.display());
            None
        }
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}
