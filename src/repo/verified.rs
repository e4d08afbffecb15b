//! The verifications that this host made, kept beside its index, for telling how much of the data was read lately.

use crate::repo::error::RepoError;
use crate::sys::durable;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The file, in the directory of a repository's state: a list in JSON.
const FILE: &str = "verified.json";
/// So many are kept, the newest.
const KEPT: usize = 1000;

/// A verification that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// When it ended (ns).
    pub at_ns: i64,
    /// The frames there were.
    pub frames: u64,
    /// Those of them that were read.
    pub read_frames: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Problems that were found.
    pub problems: u64,
    /// The first of them.
    pub first: Option<String>,
}

/// All that are known, oldest first. A file that does not read is as none: what counts is in the audit trail.
pub fn all(dir: &Path) -> Vec<Verification> {
    let path = file(dir);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|e| {
            tracing::warn!("{} does not read, and is made anew with the next verification: {e}", path.display());
            Vec::new()
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => {
            tracing::warn!("cannot read {}: {e}", path.display());
            Vec::new()
        }
    }
}

/// Notes one.
pub fn note(dir: &Path, made: Verification) -> Result<(), RepoError> {
    let mut known = all(dir);
    known.push(made);
    let known = &known[known.len().saturating_sub(KEPT)..];
    let path = file(dir);
    let failed = |source: io::Error| RepoError::State { doing: "write", path: path.display().to_string(), source };
    let bytes = serde_json::to_vec(known).map_err(|e| failed(e.into()))?;
    durable::replace(&path, &bytes, 0o600).map_err(|e| failed(e.into()))
}

fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_a_damaged_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        durable::replace(&file(dir.path()), b"[{", 0o600).unwrap();
        assert_eq!(all(dir.path()), []);
        for n in 0..3 {
            note(dir.path(), Verification { at_ns: n, ..Verification::default() }).unwrap();
        }
        assert_eq!(all(dir.path()).iter().map(|v| v.at_ns).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
