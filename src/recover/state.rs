//! How far a recovery has come, in a file that outlives every process.
//!
//! The state stands in the work directory, beside what it tells of, and the state directory has a note for each that says where:
//! the note is written first and removed last.

use crate::recover::error::{RecoverError, io};
use crate::repo::audit::event::{bytes_value, value_bytes};
use crate::sys::durable::{self, LockGuard};
use crate::types::path;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    ffi::OsString,
    io::{ErrorKind, Read as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

/// The directory of notes in the directory of a repository's state.
const NOTES: &str = "recover";
/// The file of the state in the work directory.
const FILE: &str = "recovery.json";
/// The file that is locked by the process that works on it.
const LOCK: &str = "lock";
/// The file with what somebody asks of that process.
const REQUEST: &str = "request";
/// The version of the file.
const VERSION: u32 = 1;
/// States are no larger, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The overlay is there, or is to be; the plain directory may be partly filled.
    Overlay,
    /// The plain directory is filled.
    Filled,
    /// Nobody can write any more, and what was changed is put into the plain directory. From here on it only goes forward.
    Merging,
    /// The plain directory is whole, and takes its place.
    Swapping,
    /// It has its place; the rest is removed.
    Swapped,
    /// It was given up; the upper layer is kept.
    Abandoned,
}

/// When the plain directory takes its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Swap {
    /// When no process has anything open in it.
    Idle,
    /// When no process has a file open for writing.
    Now,
    /// When it is told to.
    Manual,
}

/// A recovery.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Eight hexadecimal digits, part of the names beside the directory.
    pub id: String,
    /// The directory.
    path: Value,
    /// The directory in the view.
    from: Value,
    /// Whose history, if another one's than this machine's own.
    pub host: Option<String>,
    /// The instant: that of a snapshot.
    pub time_ns: i64,
    /// The instant as it was asked for.
    pub as_of: String,
    /// Whether the directory was not there.
    pub was_missing: bool,
    /// Whether the upper layer has the attributes of the directory.
    pub prepared: bool,
    /// Whether it is to become a plain directory.
    pub fill: bool,
    /// When.
    pub swap: Swap,
    /// How far it has come.
    pub phase: Phase,
    /// When it was begun.
    pub begun_ns: i64,
    /// Device and inode of the plain directory, from the phase of swapping on.
    pub tree: Option<(u64, u64)>,
    /// What could not be brought back, or what stands in the way, to be told.
    pub problems: Vec<String>,
    /// A command to be run right before and after the swap.
    pub hook: Option<String>,
}

impl State {
    /// A new one.
    pub fn new(id: String, path: &Path, from: &[u8], begun_ns: i64) -> State {
        State {
            version: VERSION,
            id,
            path: bytes_value(path.as_os_str().as_bytes()),
            from: bytes_value(from),
            host: None,
            time_ns: 0,
            as_of: String::new(),
            was_missing: false,
            prepared: false,
            fill: true,
            swap: Swap::Idle,
            phase: Phase::Overlay,
            begun_ns,
            tree: None,
            problems: Vec::new(),
            hook: None,
        }
    }

    /// The directory.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(value_bytes(&self.path).unwrap_or_default()))
    }

    /// The directory in the view.
    pub fn from(&self) -> Vec<u8> {
        value_bytes(&self.from).unwrap_or_default()
    }

    /// The work directory.
    pub fn work_dir(&self) -> PathBuf {
        self.beside(path::RECOVERY_MARK)
    }

    /// Where what was there before is kept, after the swap.
    pub fn before_dir(&self) -> PathBuf {
        self.beside(path::BEFORE_MARK)
    }

    fn beside(&self, mark: &str) -> PathBuf {
        let mut name = self.path().into_os_string();
        name.push(mark);
        name.push(&self.id);
        PathBuf::from(name)
    }

    /// Writes it, durably.
    pub fn save(&self) -> Result<(), RecoverError> {
        let path = self.work_dir().join(FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|e| unusable(&path, e))?;
        Ok(durable::replace(&path, &text, 0o600)?)
    }

    /// Makes the work directory and notes it in the directory `dir` of the repository's state, before anything else is done.
    pub fn create(&self, dir: &Path) -> Result<(), RecoverError> {
        let notes = dir.join(NOTES);
        durable::create_dirs(&notes, 0o700)?;
        let text = serde_json::to_vec(&bytes_value(self.work_dir().as_os_str().as_bytes()))
            .map_err(|e| unusable(&notes, e))?;
        durable::replace(&notes.join(&self.id), &text, 0o600)?;
        durable::create_dirs(&self.work_dir(), 0o700)?;
        self.save()
    }

    /// Forgets it: the note of the state directory, when nothing else is left.
    pub fn forget(&self, dir: &Path) -> Result<(), RecoverError> {
        durable::remove(&dir.join(NOTES).join(&self.id))?;
        Ok(())
    }

    /// Takes the lock of who works on it; `None` where a process has it.
    pub fn lock(&self) -> Result<Option<LockGuard>, RecoverError> {
        Ok(durable::lock_file(&self.work_dir().join(LOCK))?)
    }

    /// The process that works on it.
    pub fn worker(&self) -> Result<Option<u32>, RecoverError> {
        let lock = self.work_dir().join(LOCK);
        durable::lock_holder(&lock).map_err(io("tell who works on", &lock))
    }

    /// Asks the process that works on it for something.
    pub fn ask(&self, what: Request) -> Result<(), RecoverError> {
        let text = match what {
            Request::Finish => "finish\n",
            Request::Abandon => "abandon\n",
        };
        Ok(durable::replace(&self.work_dir().join(REQUEST), text.as_bytes(), 0o600)?)
    }

    /// What somebody asks for.
    pub fn asked(&self) -> Option<Request> {
        match std::fs::read_to_string(self.work_dir().join(REQUEST)).ok()?.trim() {
            "finish" => Some(Request::Finish),
            "abandon" => Some(Request::Abandon),
            _ => None,
        }
    }

    /// Takes notice of a request, so that it is not seen again.
    pub fn answered(&self) -> Result<(), RecoverError> {
        durable::remove(&self.work_dir().join(REQUEST))?;
        Ok(())
    }
}

/// What is asked of a process that works on a recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Swap as soon as nobody writes.
    Finish,
    /// Give it up.
    Abandon,
}

/// The state in a work directory; `None` where there is none (any more).
pub fn load(work_dir: &Path) -> Result<Option<State>, RecoverError> {
    let path = work_dir.join(FILE);
    let mut text = Vec::new();
    match std::fs::File::open(&path) {
        Ok(file) => file.take(MAX_BYTES).read_to_end(&mut text).map_err(io("read", &path))?,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io("read", &path)(e)),
    };
    let state: State = serde_json::from_slice(&text).map_err(|e| unusable(&path, e))?;
    if state.version != VERSION {
        return Err(unusable(&path, format!("it is of version {}, and this program knows {VERSION}", state.version)));
    }
    // Whoever copies a work directory elsewhere has not copied what it tells of.
    if state.work_dir() != work_dir || !state.path().is_absolute() {
        return Err(unusable(&path, "it tells of another place"));
    }
    Ok(Some(state))
}

fn unusable(path: &Path, why: impl ToString) -> RecoverError {
    RecoverError::State { path: path.display().to_string(), why: why.to_string() }
}

/// All that is noted in the directory `dir` of the repository's state, in the order of their beginning. A note that leads to
/// nothing counts for nothing: its recovery ended, or never began, or its file system is not mounted now.
pub fn all(dir: &Path) -> Result<Vec<State>, RecoverError> {
    let notes = dir.join(NOTES);
    let listed = match std::fs::read_dir(&notes) {
        Ok(listed) => listed,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io("list", &notes)(e)),
    };
    let mut states = Vec::new();
    for entry in listed {
        let note = entry.map_err(io("list", &notes))?.path();
        let text = match std::fs::read(&note) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(io("read", &note)(e)),
        };
        let Ok(value) = serde_json::from_slice::<Value>(&text) else { continue };
        let Some(bytes) = value_bytes(&value) else { continue };
        let work_dir = PathBuf::from(OsString::from_vec(bytes));
        states.extend(load(&work_dir)?);
    }
    states.sort_by_key(|s| s.begun_ns);
    Ok(states)
}

/// The one of this directory that is under way.
pub fn of(dir: &Path, path: &Path) -> Result<Option<State>, RecoverError> {
    let live = |s: &State| s.path() == path && s.phase != Phase::Abandoned;
    Ok(all(dir)?.into_iter().rev().find(live))
}
