//! A tree that is made beside its place, and put there in one step.

use crate::restore::error::RestoreError;
use crate::sys::{dir, make, mounts, space};
use crate::types::path::{self, ASIDE_PREFIX, STAGE_PREFIX};
use rustix::fd::OwnedFd;
use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// One tree in the making.
pub struct Stage {
    target: PathBuf,
    dir: PathBuf,
    /// Whether the directory itself becomes the target, and not what of that name is in it.
    whole: bool,
    /// What it is called in the directory, where that does not become the target itself.
    name: Vec<u8>,
}

impl Stage {
    /// For a tree that is to stand at `target`; `key` tells it from any other one for that place. Makes nothing.
    pub fn new(target: &Path, key: &[u8], whole: bool) -> Result<Stage, RestoreError> {
        let failed = |why: &str| RestoreError::Target {
            path: target.display().to_string(),
            source: io::Error::other(why.to_owned()),
        };
        let (Some(above), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(failed("the root can't be replaced in one step"));
        };
        let hash = blake3::Hasher::new().update(target.as_os_str().as_bytes()).update(&[0]).update(key).finalize();
        let dir = above.join(format!("{STAGE_PREFIX}{}", &hash.to_hex()[..16]));
        Ok(Stage { target: target.to_owned(), dir, whole, name: name.as_bytes().to_vec() })
    }

    /// The directory in which it is made.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the tree is called there, where the directory does not become the target itself; its place may have another name.
    pub fn named(mut self, name: &[u8]) -> Stage {
        self.name = name.to_vec();
        self
    }

    /// Whether something stands at the target.
    pub fn replaces(&self) -> bool {
        std::fs::symlink_metadata(&self.target).is_ok()
    }

    /// The directory in which what stands there is kept.
    pub fn aside(&self, id: &str) -> PathBuf {
        self.target.with_file_name(format!("{ASIDE_PREFIX}{id}"))
    }

    /// Puts the tree in its place, in one step; what stood there goes aside. Gives the directory in which that is. The tree must
    /// be whole and durable.
    pub fn put(&self, id: &str) -> Result<Option<PathBuf>, RestoreError> {
        self.exchange(id).map_err(|source| RestoreError::Target { path: self.target.display().to_string(), source })
    }

    fn exchange(&self, id: &str) -> io::Result<Option<PathBuf>> {
        let parent = dir::open_root(self.target.parent().unwrap_or(Path::new("/")))?;
        let target = self.target.file_name().unwrap_or_default().as_bytes();
        let stage = self.dir.file_name().unwrap_or_default().as_bytes();
        let inside: Option<OwnedFd> = if self.whole { None } else { Some(dir::open_at(&parent, stage)?) };
        let (from, name) = match &inside {
            Some(fd) => (fd, self.name.as_slice()),
            None => (&parent, stage),
        };
        let kept = match make::rename(from, name, &parent, target, make::Taken::Refuse) {
            Ok(()) => None,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let aside = self.aside(id);
                let aside_name = aside.file_name().unwrap_or_default().as_bytes();
                make::directory(&parent, aside_name)?;
                let beside = dir::open_at(&parent, aside_name)?;
                // From there it changes places with what is to be there: that is aside in the same step.
                make::rename(from, name, &beside, target, make::Taken::Refuse)?;
                space::sync_all(&parent)?;
                make::rename(&beside, target, &parent, target, make::Taken::Exchange)?;
                Some(aside)
            }
            Err(e) => return Err(e),
        };
        if inside.is_some() {
            make::remove_dir(&parent, stage)?;
        }
        space::sync_all(&parent)?;
        Ok(kept)
    }
}

/// What is mounted at an absolute path or below it, if anything is.
pub fn mounted_in(absolute: &[u8]) -> Result<Option<Vec<u8>>, RestoreError> {
    let all = mounts::mounts().map_err(|source| RestoreError::Target { path: path::show(absolute), source })?;
    Ok(all.into_iter().map(|m| m.point).find(|point| path::is_within(point, absolute)))
}
