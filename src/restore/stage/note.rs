//! What is noted of a tree in the making, in the state directory, so that the next try finds it.

use crate::sys::durable::{self, LockGuard};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The directory of the notes.
const DIR: &str = "stages";
/// The longest note that is read, in bytes.
const NOTE_MAX: u64 = 64 << 10;

/// Where one is noted.
#[derive(Debug)]
pub(super) struct Note {
    dir: PathBuf,
    key: String,
}

/// What is noted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    /// The name of the directory.
    pub(super) name: Vec<u8>,
    /// Its device and inode number, once it has been made.
    pub(super) place: Option<(u64, u64)>,
}

impl Note {
    /// The one called `key`; nothing is read.
    pub(super) fn new(state: &Path, key: &str) -> Note {
        Note { dir: state.join(DIR), key: key.to_owned() }
    }

    /// The directory of the notes.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.key))
    }

    fn lock(&self) -> PathBuf {
        self.dir.join(format!("{}.lock", self.key))
    }

    /// What is noted. What can't be understood is none: then a new tree is begun.
    pub(super) fn read(&self) -> io::Result<Option<Begun>> {
        match std::fs::metadata(self.file()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(meta) if meta.len() <= NOTE_MAX => Ok(serde_json::from_slice(&std::fs::read(self.file())?).ok()),
            Ok(_) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Keeps others away; `None` if another is at it.
    pub(super) fn hold(&self) -> io::Result<Option<LockGuard>> {
        durable::create_dirs(&self.dir, 0o700)?;
        Ok(durable::lock_file(&self.lock())?)
    }

    /// Notes it, durably.
    pub(super) fn write(&self, name: &[u8], place: Option<(u64, u64)>) -> io::Result<()> {
        let text = serde_json::to_vec(&Begun { name: name.to_vec(), place }).map_err(io::Error::other)?;
        Ok(durable::replace(&self.file(), &text, 0o600)?)
    }

    /// Forgets it. What stays makes the next try look once for nothing.
    pub(super) fn remove(&self) {
        let _ = durable::remove(&self.file());
        let _ = durable::remove(&self.lock());
    }
}
