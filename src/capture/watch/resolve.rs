//! From a directory's handle to its paths in the root: cached, bounded, never out of date after a rename.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use lru::LruCache;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat, statvfs};
use rustix::io::Errno;

use super::root::Root;
use crate::sys::{fanotify, stat};
use crate::types::{attr::Place, path::is_within};

/// Directories whose paths are remembered: some 15 MB at most.
const CACHE_MAX: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Where a directory is, seen from the root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spots {
    /// Its paths within the root; several where a file system is mounted more than once.
    pub(super) inside: Vec<Vec<u8>>,
    /// It is in the root, too deep to have a path; the nearest directory above it that has one.
    pub(super) below: Vec<Vec<u8>>,
    /// Its absolute path, if the root is below it.
    pub(super) above: Option<Vec<u8>>,
    /// It could not be found out.
    pub(super) unknown: bool,
}

impl Spots {
    /// Nothing of it concerns the root.
    pub(super) fn is_outside(&self) -> bool {
        *self == Spots::default()
    }
}

/// A mount through which directories of one file system are seen.
struct Point {
    fsid: u64,
    path: Vec<u8>,
}

/// Finds and remembers where directories are.
pub(super) struct Resolver {
    points: Vec<Point>,
    cache: LruCache<Vec<u8>, Arc<Spots>>,
}

impl Resolver {
    pub(super) fn new() -> Resolver {
        Resolver { points: Vec::new(), cache: LruCache::new(CACHE_MAX) }
    }

    /// Sees file systems through the mount at `path` too.
    pub(super) fn add_point(&mut self, path: &[u8]) -> std::io::Result<()> {
        let fsid = statvfs(OsStr::from_bytes(path))?.f_fsid;
        self.points.push(Point { fsid, path: path.to_vec() });
        self.forget();
        Ok(())
    }

    /// No longer sees through the mount at `path`.
    pub(super) fn remove_point(&mut self, path: &[u8]) {
        self.points.retain(|p| p.path != path);
        self.forget();
    }

    /// Through how many mounts it sees.
    pub(super) fn points(&self) -> u64 {
        self.points.len() as u64
    }

    /// Forgets all paths: a directory in the root, or above it, got another one.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
    }

    /// Where the directory with this handle is. One that no longer exists is nowhere.
    pub(super) fn find(&mut self, root: &Root, directory: &[u8]) -> Arc<Spots> {
        if let Some(spots) = self.cache.get(directory) {
            return spots.clone();
        }
        let spots = Arc::new(self.look(root, directory));
        if !spots.unknown {
            self.cache.put(directory.to_vec(), spots.clone());
        }
        spots
    }

    /// Where the node with this handle is, if it has a name still.
    pub(super) fn place_of(&self, object: &[u8]) -> Option<Place> {
        let fsid = fanotify::Place { directory: object, name: b"" }.fsid();
        let open = |point: &Point| -> std::io::Result<Place> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let mount = openat(CWD, OsStr::from_bytes(&point.path), flags, Mode::empty())?;
            let stat = stat::of(fanotify::open_object(std::os::fd::AsFd::as_fd(&mount), object)?)?;
            if stat.nlink == 0 { Err(Errno::STALE.into()) } else { Ok(stat.place) }
        };
        // One that can't be opened has no name any more; where that is not why, the interval's scan looks at it.
        self.points.iter().filter(|p| p.fsid == fsid).find_map(|point| open(point).ok())
    }

    fn look(&self, root: &Root, directory: &[u8]) -> Spots {
        let mut spots = Spots::default();
        let fsid = fanotify::Place { directory, name: b"" }.fsid();
        for point in self.points.iter().filter(|p| p.fsid == fsid) {
            match through(&point.path, directory) {
                Ok(Some(Found { path, whole })) => sort_in(&mut spots, root, path, whole),
                Ok(None) => {}
                Err(_) => spots.unknown = true,
            }
        }
        spots
    }
}

/// A directory's absolute path, or (not `whole`) that of one above it.
struct Found {
    path: Vec<u8>,
    whole: bool,
}

fn sort_in(spots: &mut Spots, root: &Root, path: Vec<u8>, whole: bool) {
    if let Some(relative) = root.relative(&path) {
        let list = if whole { &mut spots.inside } else { &mut spots.below };
        if !root.is_left_out(relative) && !list.iter().any(|p| p == relative) {
            list.push(relative.to_vec());
        }
    } else if is_within(root.real(), &path) {
        spots.above = Some(path);
    }
}

/// Looks through one mount. Descriptors are held for this moment only: one that is held keeps a file system from being
/// unmounted.
fn through(point: &[u8], directory: &[u8]) -> std::io::Result<Option<Found>> {
    // The kernel does not take an O_PATH descriptor for the mount.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mount = match openat(CWD, OsStr::from_bytes(point), flags, Mode::empty()) {
        Ok(mount) => mount,
        // The mount is gone, which is told by the table of mounts.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match fanotify::open_directory(std::os::fd::AsFd::as_fd(&mount), directory) {
        Ok(opened) => path_of(opened),
        Err(error) if error.raw_os_error() == Some(Errno::STALE.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn path_of(opened: OwnedFd) -> std::io::Result<Option<Found>> {
    let mut directory = opened;
    let mut whole = true;
    loop {
        match std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd())).map(into_bytes) {
            Ok(path) if !path.starts_with(b"/") => return Ok(None),
            Ok(path) if path.ends_with(b" (deleted)") && fstat(&directory)?.st_nlink == 0 => return Ok(None),
            Ok(path) => return Ok(Some(Found { path, whole })),
            Err(error) if error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                directory = openat(&directory, "..", flags, Mode::empty())?;
                whole = false;
            }
            Err(error) => return Err(error),
        }
    }
}

fn into_bytes(path: std::path::PathBuf) -> Vec<u8> {
    OsString::into_vec(path.into_os_string())
}
