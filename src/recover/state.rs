//! How far a recovery has come, in a file that outlives every process.
//!
//! The state stands in the work directory, beside what it tells of, and the state directory has a note for each that says where:
//! the note is written first and removed last.

use crate::recover::error::{RecoverError, io};
use crate::repo::audit::event::{bytes_value, value_bytes};
use crate::sys::{
    durable::{self, LockGuard},
    make, read,
};
use crate::types::path;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
/// Names are no longer, in bytes.
const NAME_MAX: usize = 255;
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

    /// A name beside the directory, which begins as that of the directory does; of one that would be too long, less of that.
    fn beside(&self, mark: &str) -> PathBuf {
        let path = self.path();
        let own = path.file_name().unwrap_or_default().as_bytes();
        let room = NAME_MAX.saturating_sub(mark.len() + self.id.len());
        let mut name = own[..own.len().min(room)].to_vec();
        name.extend_from_slice(mark.as_bytes());
        name.extend_from_slice(self.id.as_bytes());
        path.with_file_name(OsString::from_vec(name))
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
        let bytes = |path: PathBuf| bytes_value(path.as_os_str().as_bytes());
        let note = json!({ "work_dir": bytes(self.work_dir()), "path": bytes(self.path()) });
        let text = serde_json::to_vec(&note).map_err(|e| unusable(&notes, e))?;
        durable::replace(&notes.join(&self.id), &text, 0o600)?;
        let made = durable::create_dirs(&self.work_dir(), 0o700).map_err(RecoverError::from).and_then(|()| self.save());
        if made.is_err() {
            // Nothing was begun. What can't be forgotten now is told by the status, and given up there.
            let _ = self.forget(dir);
        }
        made
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
    match read::open_regular(&path) {
        Ok((file, _)) => file.take(MAX_BYTES).read_to_end(&mut text).map_err(io("read", &path))?,
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

/// A note that leads to something which can't be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// What it is called.
    pub id: String,
    /// The directory that was to be given back, where that is known.
    pub path: Option<PathBuf>,
    /// Its work directory, where that is known.
    pub work_dir: Option<PathBuf>,
    /// Why it can't be read.
    pub why: String,
}

impl Broken {
    /// Forgets it: the note in the directory `dir` of the repository's state. What is left on the disk stays there.
    pub fn forget(&self, dir: &Path) -> Result<(), RecoverError> {
        durable::remove(&dir.join(NOTES).join(&self.id))?;
        Ok(())
    }
}

/// All that is noted.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Noted {
    /// In the order of their beginning.
    pub states: Vec<State>,
    /// What can't be read.
    pub broken: Vec<Broken>,
}

/// All that is noted in the directory `dir` of the repository's state. A note that leads to nothing counts for nothing: its recovery
/// ended, or never began, or its file system is not mounted now. One that can't be followed does not keep others from being.
pub fn noted(dir: &Path) -> Result<Noted, RecoverError> {
    let notes = dir.join(NOTES);
    let listed = match std::fs::read_dir(&notes) {
        Ok(listed) => listed,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Noted::default()),
        Err(e) => return Err(io("list", &notes)(e)),
    };
    let mut all = Noted::default();
    for entry in listed {
        let note = entry.map_err(io("list", &notes))?.path();
        let id = note.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if make::is_temp_name(id.as_bytes()) {
            continue;
        }
        match read_note(&note) {
            Err(why) => all.broken.push(Broken { id, path: None, work_dir: None, why }),
            Ok(None) => {}
            Ok(Some((work_dir, path))) => match load(&work_dir) {
                Ok(state) => all.states.extend(state),
                Err(e) => {
                    let path = path.or_else(|| place_of(&work_dir, &id));
                    all.broken.push(Broken { id, path, work_dir: Some(work_dir), why: e.to_string() });
                }
            },
        }
    }
    all.states.sort_by_key(|s| s.begun_ns);
    all.broken.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(all)
}

/// The work directory that a note names, and the directory, where it says that too; `None` where the note is gone.
fn read_note(note: &Path) -> Result<Option<(PathBuf, Option<PathBuf>)>, String> {
    let mut text = Vec::new();
    match read::open_regular(note).and_then(|(file, _)| file.take(MAX_BYTES).read_to_end(&mut text)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("cannot read {}: {e}", note.display())),
        Ok(_) => {}
    }
    let value: Value = serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", note.display()))?;
    let path = |value: &Value| value_bytes(value).map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
    // Notes once were the work directory alone.
    let found = match value.get("work_dir") {
        Some(work_dir) => path(work_dir).map(|work_dir| (work_dir, value.get("path").and_then(path))),
        None => path(&value).map(|work_dir| (work_dir, None)),
    };
    found.map(Some).ok_or_else(|| format!("{} names no directory", note.display()))
}

/// The directory by the name of its work directory.
fn place_of(work_dir: &Path, id: &str) -> Option<PathBuf> {
    let name = work_dir.file_name()?.as_bytes();
    let own = name.strip_suffix(id.as_bytes())?.strip_suffix(path::RECOVERY_MARK.as_bytes())?;
    Some(work_dir.with_file_name(OsString::from_vec(own.to_vec())))
}

/// The one of this directory that is under way.
pub fn of(dir: &Path, path: &Path) -> Result<Option<State>, RecoverError> {
    let live = |s: &State| s.path() == path && s.phase != Phase::Abandoned;
    Ok(noted(dir)?.states.into_iter().rev().find(live))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]
mod tests {
    use super::*;

    #[test]
    fn one_that_can_not_be_read_keeps_no_other_from_being() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, base) = (temp.path().join("state"), temp.path().join("p"));
        std::fs::create_dir_all(base.join("sub")).unwrap();
        let new = |id: &str, path: &Path| State::new(id.to_owned(), path, b"/x", 1);
        let good = new("00000001", &base.join("good"));
        good.create(&dir).unwrap();
        // The longest name that a directory can have has names beside it too.
        let long = new("00000002", &base.join("n".repeat(255)));
        long.create(&dir).unwrap();
        assert!(path::is_of_recovery(long.work_dir().file_name().unwrap().as_bytes()));
        assert_eq!(long.work_dir().file_name().unwrap().len(), 255);
        let lost = new("00000003", &base.join("sub/lost"));
        lost.create(&dir).unwrap();
        std::fs::remove_dir_all(base.join("sub")).unwrap();
        std::fs::write(base.join("sub"), "a file").unwrap();
        // As earlier versions noted it.
        std::fs::write(
            dir.join(NOTES).join("00000004"),
            serde_json::to_vec(&json!(base.join("sub/x.bygone-recover-00000004"))).unwrap(),
        )
        .unwrap();
        std::fs::write(dir.join(NOTES).join("00000005"), "nothing that reads").unwrap();
        // What can't be begun leaves nothing behind.
        new("00000006", &base.join("sub/y")).create(&dir).unwrap_err();
        let all = noted(&dir).unwrap();
        assert_eq!(all.states, [good.clone(), long]);
        let broken: Vec<_> = all.broken.iter().map(|b| (b.id.as_str(), b.path.clone())).collect();
        let in_sub = |name: &str| Some(base.join("sub").join(name));
        assert_eq!(broken, [("00000003", in_sub("lost")), ("00000004", in_sub("x")), ("00000005", None)]);
        assert_eq!(of(&dir, &base.join("good")).unwrap(), Some(good.clone()));
        all.broken.iter().for_each(|b| b.forget(&dir).unwrap());
        assert_eq!(noted(&dir).unwrap().broken, []);
        assert_eq!(of(&dir, &good.path()).unwrap(), Some(good));
    }
}
