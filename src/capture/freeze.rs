//! A source held still: a snapshot of btrfs is looked at in its place, and removed afterwards.
//!
//! Inode numbers, births and change times in it are those of the live tree; only the device is another, and is told as
//! that of the live tree. Snapshots stand in a directory of the subvolume's root, which is no part of any source.

use crate::capture::report::CaptureError;
use crate::config::kinds::Atomic;
use crate::sys::{btrfs, dir, durable, make, stat};
use crate::types::path;
use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

/// The directory of snapshots, in the root of the subvolume.
pub const FREEZER: &[u8] = b".bygone-atomic";

/// What a capture looks at.
pub(super) struct Ground {
    /// The root of the source, as it is looked at.
    pub(super) root: OwnedFd,
    /// The device that is looked at, and the one that it is told as.
    pub(super) device: Option<(u64, u64)>,
    _frozen: Option<Frozen>,
}

/// A snapshot, which goes when this is dropped.
struct Frozen {
    dir: OwnedFd,
    name: Vec<u8>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(e) = btrfs::remove(&self.dir, &self.name) {
            tracing::warn!("cannot remove the snapshot {}: {e}; the next capture tries again", path::show(&self.name));
        }
    }
}

impl Ground {
    /// The source at `root_path` as it is, or held still. Only the writer of the source may call it: it removes what an earlier
    /// capture has left.
    pub(super) fn open(root_path: &[u8], atomic: Option<Atomic>) -> Result<Ground, CaptureError> {
        let root = Path::new(OsStr::from_bytes(root_path));
        let open = |path: &Path| {
            dir::open_root(path).map_err(|source| CaptureError::Root { root: root_path.to_vec(), source })
        };
        match atomic {
            None => Ok(Ground { root: open(root)?, device: None, _frozen: None }),
            Some(Atomic::Btrfs) => {
                let live = open(root)?;
                freeze(root, &live).map_err(|source| CaptureError::Atomic { root: root_path.to_vec(), source })
            }
        }
    }
}

fn freeze(root: &Path, live: &OwnedFd) -> io::Result<Ground> {
    let real = root.canonicalize()?;
    let (subvolume, top) = btrfs::subvolume_of(&real)?;
    let freezer = freezer(&subvolume, &top)?;
    let prefix = format!("{}-", &blake3::hash(real.as_os_str().as_bytes()).to_hex()[..16]);
    remove_left_over(&freezer, prefix.as_bytes())?;
    let name = [prefix.as_bytes(), &make::temp_name()?[make::TEMP_PREFIX.len()..]].concat();
    btrfs::snapshot(&subvolume, &freezer, &name)?;
    let frozen = Frozen { dir: freezer.try_clone()?, name };
    let image = dir::open_at(&freezer, &frozen.name)?;
    let below = real.strip_prefix(&top).unwrap_or(Path::new(""));
    let root = dir::open_beneath(&image, below.as_os_str().as_bytes())?;
    let (now, then) = (stat::of(&root)?, stat::of(live)?);
    if now.place.ino != then.place.ino {
        return Err(io::Error::other("the source was replaced while it was to be held still"));
    }
    Ok(Ground { root, device: Some((now.place.dev, then.place.dev)), _frozen: Some(frozen) })
}

/// The directory of snapshots; made where it is missing.
fn freezer(subvolume: &OwnedFd, top: &Path) -> io::Result<OwnedFd> {
    let path: PathBuf = top.join(OsStr::from_bytes(FREEZER));
    if !path.exists() {
        durable::create_dirs(&path, 0o700)?;
    }
    dir::open_at(subvolume, FREEZER)
}

fn remove_left_over(freezer: &OwnedFd, prefix: &[u8]) -> io::Result<()> {
    let (mut listing, mut buf) = (dir::Listing::new(), Vec::new());
    dir::list(freezer, &mut buf, &mut listing)?;
    for entry in listing.iter().filter(|entry| entry.name.starts_with(prefix)) {
        tracing::info!("removing the snapshot {}, which an earlier capture has left", path::show(entry.name));
        btrfs::remove(freezer, entry.name)?;
    }
    Ok(())
}
