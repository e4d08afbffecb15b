//! Notes of what restores keep aside, in the state directory, so that it can be listed and dropped.

use crate::sys::durable;
use crate::types::{
    path::{self, ASIDE_PREFIX},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// The directory of the notes, in the state directory.
const DIR: &str = "asides";
/// The longest note that is read, in bytes.
const NOTE_MAX: u64 = 64 << 20;

/// What one restore or recovery keeps aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What it is called.
    pub id: String,
    /// When it began.
    #[serde(with = "nanoseconds")]
    pub time: Instant,
    /// The directories that it keeps, or would keep, something in.
    pub dirs: Vec<Vec<u8>>,
    /// What was restored.
    pub paths: Vec<Vec<u8>>,
}

mod nanoseconds {
    use crate::types::time::Instant;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Instant, to: S) -> Result<S::Ok, S::Error> {
        at.0.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
        i64::deserialize(from).map(Instant)
    }
}

fn place(state: &Path, id: &str) -> PathBuf {
    state.join(DIR).join(format!("{id}.json"))
}

/// Notes it, durably.
pub fn note(state: &Path, kept: &Kept) -> io::Result<()> {
    let text = serde_json::to_vec(kept).map_err(io::Error::other)?;
    durable::create_dirs(&state.join(DIR), 0o700)?;
    Ok(durable::replace(&place(state, &kept.id), &text, 0o600)?)
}

/// Forgets the note, and removes nothing.
pub fn forget(state: &Path, id: &str) -> io::Result<()> {
    durable::remove(&place(state, id))?;
    Ok(())
}

/// All that is noted, the oldest first.
pub fn all(state: &Path) -> io::Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(state.join(DIR)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_note = entry.path().extension().is_some_and(|e| e == "json") && entry.metadata()?.len() <= NOTE_MAX;
        if is_note {
            let read = serde_json::from_slice::<Kept>(&std::fs::read(entry.path())?);
            all.push(read.map_err(|e| io::Error::other(format!("{}: {e}", entry.path().display())))?);
        }
    }
    all.sort_by_key(|kept| kept.time);
    Ok(all)
}

/// The bytes of the files in a directory; `None` if it is not there.
pub fn size(dir: &Path) -> io::Result<Option<u64>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = 0;
    for entry in entries {
        let (path, kind) = entry.and_then(|e| Ok((e.path(), e.file_type()?)))?;
        match kind.is_dir() {
            true => bytes += size(&path)?.unwrap_or(0),
            false => bytes += std::fs::symlink_metadata(&path)?.len(),
        }
    }
    Ok(Some(bytes))
}

/// Removes a directory in which something was kept, with all that is in it. Refuses any other.
pub fn remove(dir: &Path) -> io::Result<()> {
    let name = dir.file_name().map(|name| name.as_bytes()).unwrap_or_default();
    if !name.starts_with(ASIDE_PREFIX.as_bytes()) && !path::is_of_recovery(name) {
        return Err(io::Error::other("it is no directory in which something is kept aside"));
    }
    match std::fs::symlink_metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(now) if !now.is_dir() => Err(io::Error::other("it is no directory any more")),
        Ok(_) => Ok(durable::remove_tree(dir).map(drop)?),
    }
}
