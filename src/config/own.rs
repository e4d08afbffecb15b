//! What is bygone's own, and is neither restored to nor removed by a restore.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::model::Config;
use crate::sys::mounts;

impl Config {
    /// What a restore never removes: the repository, its copies, the state, and what bygone has mounted.
    pub fn guarded(&self) -> io::Result<Vec<PathBuf>> {
        let mut all: Vec<PathBuf> = self.own_dirs().into_iter().map(|(_, dir)| dir.to_owned()).collect();
        let own = mounts::mounts()?.into_iter().filter(|m| m.fstype == "fuse.bygone");
        all.extend(own.map(|m| PathBuf::from(OsString::from_vec(m.point))));
        Ok(all)
    }

    /// The directory of its own that the absolute path `to` lies in, with what it is: what is restored there would be taken for its own.
    pub fn own_around(&self, to: &Path) -> Option<(&'static str, &Path)> {
        let target = real(to)?;
        self.own_dirs().into_iter().find(|(_, dir)| dir.canonicalize().is_ok_and(|own| target.starts_with(own)))
    }
}

/// Where `path` really is, with what is not there yet of it.
pub fn real_whole(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, real)) = there else { return path.to_owned() };
    path.strip_prefix(above).map_or_else(|_| real.clone(), |rest| real.join(rest))
}

/// Where `path` really is. What is not there yet lies in the nearest directory that is.
pub fn real(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|path| path.canonicalize().ok())
}
