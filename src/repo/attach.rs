//! A repository together with what this host keeps of it: the index, and the agreement on time.

use crate::index::{open::Index, tree::Reader};
use crate::repo::{error::RepoError, moment::Moment, open::Repository};
use crate::sys::{
    clock::Clock,
    durable::{self, LockGuard},
};
use crate::types::ids::Id;
use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The file of the index, in the directory of a repository's state.
const INDEX: &str = "index.db";
/// What the name of an index that was put aside begins with; its number follows, from 1.
const BEFORE: &str = "index.before.";
/// The file that is locked, shared, by everyone who uses the index, and alone by who makes it anew.
const LOCK: &str = "index.lock";

/// The file that says where the repository was when it was opened last.
const LOCATION: &str = "location";

/// A repository with this host's index of it, in a directory of its own below the state directory.
pub struct Attached {
    repo: Arc<Repository>,
    index: Index,
    moment: Moment,
    dir: PathBuf,
    /// Device and inode of the index when it was opened.
    place: (u64, u64),
    _lock: LockGuard,
}

impl Attached {
    /// Opens the index of `repo` below `state`, empty where it is new. As long as it is open, nobody else makes it anew.
    pub fn open(repo: Arc<Repository>, state: &Path, clock: Arc<dyn Clock>) -> Result<Attached, RepoError> {
        let dir = made(state, &repo)?;
        let path = dir.join(LOCK);
        let lock = durable::lock_shared(&path).map_err(failed("lock", &path))?;
        let lock = lock.ok_or_else(|| RepoError::Rebuilding { index: index_shown(&dir), pids: pids(&path) })?;
        Attached::locked(repo, dir, clock, lock)
    }

    /// Puts the index of `repo` below `state` aside and opens a new, empty one, which nobody else can open before this one is
    /// dropped. Refuses where another process uses it: that one would go on with the old one.
    ///
    /// What was put aside stays until [`Attached::forget_before`]: it may know what the repository has lost.
    ///
    /// Whoever opens it later, after an end in the middle, brings it up to date with the journal as ever.
    pub fn anew(repo: Arc<Repository>, state: &Path, clock: Arc<dyn Clock>) -> Result<Attached, RepoError> {
        let dir = made(state, &repo)?;
        let path = dir.join(LOCK);
        let lock = durable::lock_file(&path).map_err(failed("lock", &path))?;
        let lock = lock.ok_or_else(|| RepoError::InUse { index: index_shown(&dir), pids: pids(&path) })?;
        let last = put_aside(&dir)?.iter().filter_map(|path| number(path)).max().unwrap_or(0);
        let before = format!("{BEFORE}{}", last + 1);
        // The file itself last: a new one must never meet what was left beside an old one.
        for end in ["-shm", "-wal", ""] {
            let path = dir.join(format!("{INDEX}{end}"));
            match durable::rename(&path, &dir.join(format!("{before}{end}"))) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("put aside", &path)(e)),
                _ => {}
            }
        }
        Attached::locked(repo, dir, clock, lock)
    }

    /// Removes the indexes that were put aside: the new one has all that they knew.
    pub fn forget_before(&self) -> Result<(), RepoError> {
        for path in put_aside(&self.dir)? {
            durable::remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// Removes the index that was put aside last: the new one has all that it knew.
    pub fn forget_last(&self) -> Result<(), RepoError> {
        let Some(last) = self.before()?.as_deref().and_then(number) else { return Ok(()) };
        let name = format!("{BEFORE}{last}");
        for end in ["-shm", "-wal", ""] {
            let path = self.dir.join(format!("{name}{end}"));
            durable::remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// The index that was put aside last, if there is one.
    pub fn before(&self) -> Result<Option<PathBuf>, RepoError> {
        let found = put_aside(&self.dir)?;
        Ok(found.into_iter().filter_map(|path| Some((number(&path)?, path))).max().map(|(_, path)| path))
    }

    fn locked(
        repo: Arc<Repository>,
        dir: PathBuf,
        clock: Arc<dyn Clock>,
        lock: LockGuard,
    ) -> Result<Attached, RepoError> {
        let path = dir.join(INDEX);
        let index = Index::open(&path, repo.id())?;
        let place = place(&path).map_err(failed("look at", &path))?;
        let moment = Moment::open(&dir, clock)?;
        note_location(&dir, &repo.store().location())?;
        Ok(Attached { repo, index, moment, dir, place, _lock: lock })
    }

    /// Fails where the path of the index does not lead any more to what was opened: others would use another one.
    pub fn check_in_place(&self) -> Result<(), RepoError> {
        let path = self.dir.join(INDEX);
        match place(&path) {
            Ok(place) if place == self.place => Ok(()),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("look at", &path)(e)),
            _ => Err(RepoError::IndexGone { index: index_shown(&self.dir) }),
        }
    }

    /// The repository.
    pub fn repo(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// A new reader of the index.
    pub fn reader(&self) -> Result<Reader, RepoError> {
        Ok(Reader::open(&self.index)?)
    }

    /// The agreement on time.
    pub fn moment(&self) -> &Moment {
        &self.moment
    }

    /// The directory of this repository's state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn state_dir(state: &Path, repo: &Repository) -> PathBuf {
    state_dir_of(state, repo.id())
}

/// The directory below `state` of the repository with this id.
pub fn state_dir_of(state: &Path, id: Id) -> PathBuf {
    state.join(id.to_string())
}

/// The index below `state` of the repository with this id, if there is one.
pub fn index_of(state: &Path, id: Id) -> Option<PathBuf> {
    Some(state_dir_of(state, id).join(INDEX)).filter(|path| path.exists())
}

/// Whether no process has the index below `state` of this repository open.
pub fn is_unused(state: &Path, id: Id) -> Result<bool, RepoError> {
    let path = state_dir_of(state, id).join(LOCK);
    Ok(durable::lock_file(&path).map_err(failed("lock", &path))?.is_some())
}

/// Notes where the repository of this state is, for a time when it is not there.
fn note_location(dir: &Path, location: &str) -> Result<(), RepoError> {
    let path = dir.join(LOCATION);
    match std::fs::read_to_string(&path) {
        Ok(noted) if noted == location => Ok(()),
        _ => durable::replace(&path, location.as_bytes(), 0o600).map_err(failed("write", &path)),
    }
}

/// Where the repository with this id was when this host opened it last, by its state below `state`.
pub fn location_of(state: &Path, id: Id) -> Option<String> {
    std::fs::read_to_string(state_dir_of(state, id).join(LOCATION)).ok()
}

/// The repository that this host opened last at `location`, by its state below `state`.
pub fn known_at(state: &Path, location: &str) -> Option<Id> {
    // A state that can't be looked at is one of which nothing is known.
    let entries = std::fs::read_dir(state).ok()?.flatten();
    let mut ids = entries.filter_map(|entry| Id::parse(entry.file_name().to_str()?));
    ids.find(|id| std::fs::read_to_string(state_dir_of(state, *id).join(LOCATION)).is_ok_and(|noted| noted == location))
}

fn made(state: &Path, repo: &Repository) -> Result<PathBuf, RepoError> {
    let dir = state_dir(state, repo);
    durable::create_dirs(&dir, 0o700).map_err(failed("create", &dir))?;
    Ok(dir)
}

/// All files of the indexes that were put aside.
fn put_aside(dir: &Path) -> Result<Vec<PathBuf>, RepoError> {
    let entries = std::fs::read_dir(dir).map_err(failed("look into", dir))?;
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed("look into", dir))?;
    paths.retain(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(BEFORE.as_bytes())));
    Ok(paths)
}

/// The number of an index that was put aside; none for a file beside one.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(BEFORE)?.parse().ok()
}

fn failed<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> RepoError {
    move |e| RepoError::State { doing, path: path.display().to_string(), source: e.into() }
}

fn index_shown(dir: &Path) -> String {
    dir.join(INDEX).display().to_string()
}

fn place(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Who holds the lock, for an error to name: that they can't be told is no reason to say less.
fn pids(lock: &Path) -> String {
    let mut pids = durable::lock_holders(lock).unwrap_or_default();
    pids.retain(|pid| *pid != 0);
    pids.sort_unstable();
    pids.dedup();
    match pids.is_empty() {
        true => String::new(),
        false => format!(" (pid {})", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}
