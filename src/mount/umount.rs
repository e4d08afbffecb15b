//! Unmounting: by the number in the mount table, so that never another mount at that place is hit.

use crate::sys::{
    fuse::{self, FuseError},
    mounts::{self, Mount},
};
use crate::types::path;
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Why something could not be unmounted.
#[derive(Debug, thiserror::Error)]
pub enum UmountError {
    /// Nothing of ours is there.
    #[error("bygone is not mounted on {dir}")]
    NotMounted {
        /// The directory.
        dir: String,
    },
    /// Another mount lies on top.
    #[error("another mount ({fstype}) lies on top of bygone's on {dir}: unmount that one first")]
    Covered {
        /// The directory.
        dir: String,
        /// What lies there.
        fstype: String,
    },
    /// The system refused.
    #[error("cannot unmount {dir}: {source}")]
    Fuse {
        /// The directory.
        dir: String,
        /// Why.
        source: FuseError,
    },
    /// The mount table can't be read.
    #[error("cannot tell what is mounted on {dir}: {source}")]
    Table {
        /// The directory.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What `umount` found and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmounted {
    /// A mount that was answered for.
    Alive,
    /// What a killed process had left.
    Dead,
}

/// Unmounts bygone from `dir`, also what a killed process left there.
pub fn umount(dir: &Path) -> Result<Unmounted, UmountError> {
    let show = || path::show(dir.as_os_str().as_bytes());
    let dir = resolve(dir).map_err(|source| UmountError::Table { dir: show(), source })?;
    let table = |source| UmountError::Table { dir: show(), source };
    match top(&dir).map_err(table)? {
        Some(found) if found.fstype == fuse::FSTYPE => {
            let state = if fuse::is_dead(&dir) { Unmounted::Dead } else { Unmounted::Alive };
            own(found.id, &dir)?;
            Ok(state)
        }
        Some(found) if mounts::mounts().map_err(table)?.iter().any(|m| is_ours_at(m, &dir)) => {
            Err(UmountError::Covered { dir: show(), fstype: found.fstype })
        }
        _ => Err(UmountError::NotMounted { dir: show() }),
    }
}

/// Detaches the mount with this number of the mount table, wherever it stands now. One that is gone is no error.
pub(super) fn own(id: u64, dir: &Path) -> Result<(), UmountError> {
    let show = path::show(dir.as_os_str().as_bytes());
    let all = mounts::mounts().map_err(|source| UmountError::Table { dir: show.clone(), source })?;
    let Some(ours) = all.iter().find(|m| m.id == id && m.fstype == fuse::FSTYPE) else { return Ok(()) };
    match all.iter().rev().find(|m| m.point == ours.point) {
        Some(top) if top.id != id => Err(UmountError::Covered { dir: show, fstype: top.fstype.clone() }),
        _ => fuse::detach(Path::new(OsStr::from_bytes(&ours.point)))
            .map_err(|source| UmountError::Fuse { dir: show, source }),
    }
}

/// The mount that stands on a directory, the topmost if there are several.
pub(super) fn top(dir: &Path) -> io::Result<Option<Mount>> {
    Ok(mounts::mounts()?.into_iter().rfind(|m| m.point == dir.as_os_str().as_bytes()))
}

fn is_ours_at(mount: &Mount, dir: &Path) -> bool {
    mount.point == dir.as_os_str().as_bytes() && mount.fstype == fuse::FSTYPE
}

/// The absolute path without symbolic links. Its last component is not touched: it may be a mount that nobody answers for.
pub fn resolve(dir: &Path) -> io::Result<PathBuf> {
    let whole = std::path::absolute(dir)?;
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => {
            let plain = parent.canonicalize()?.join(name);
            // A link to a directory is followed; what does not answer is no link.
            match plain.symlink_metadata() {
                Ok(meta) if meta.is_symlink() => plain.canonicalize(),
                _ => Ok(plain),
            }
        }
        // `/`, or a path that ends in `..`.
        _ => whole.canonicalize(),
    }
}
