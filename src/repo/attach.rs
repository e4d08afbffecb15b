//! A repository together with what this host keeps of it: the index, and the agreement on time.

use crate::index::{open::Index, tree::Reader};
use crate::repo::{error::RepoError, moment::Moment, open::Repository};
use crate::sys::{clock::Clock, durable};
use crate::types::ids::Id;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A repository with this host's index of it, in a directory of its own below the state directory.
pub struct Attached {
    repo: Arc<Repository>,
    index: Index,
    moment: Moment,
    dir: PathBuf,
}

impl Attached {
    /// Opens the index of `repo` below `state`, empty where it is new.
    pub fn open(repo: Arc<Repository>, state: &Path, clock: Arc<dyn Clock>) -> Result<Attached, RepoError> {
        let dir = state_dir(state, &repo);
        durable::create_dirs(&dir, 0o700).map_err(|e| RepoError::State {
            doing: "create",
            path: dir.display().to_string(),
            source: e.into(),
        })?;
        let index = Index::open(&dir.join("index.db"), repo.id())?;
        let moment = Moment::open(&dir, clock)?;
        Ok(Attached { repo, index, moment, dir })
    }

    /// Removes the index of `repo` below `state`, so that the next open makes a new one.
    pub fn remove_index(repo: &Repository, state: &Path) -> Result<(), RepoError> {
        let dir = state_dir(state, repo);
        for name in ["index.db", "index.db-wal", "index.db-shm"] {
            let path = dir.join(name);
            match durable::remove(&path).map_err(io::Error::from) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(RepoError::State { doing: "remove", path: path.display().to_string(), source });
                }
                Ok(_) => {}
            }
        }
        Ok(())
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
