//! A root for a process apart: all that is there shows, and what is written is nobody else's and gone with the process.

use super::layered::{self, Layers};
use super::mounts::{self, Mount};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

/// File systems that can lie below an overlay. Others are seen as they are, and can't be written.
const LAYERED: &[&str] =
    &["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "tmpfs", "zfs", "vfat", "overlay"];

/// A directory that is seen as it is.
#[derive(Debug, Clone)]
pub struct Real {
    /// The directory.
    pub dir: PathBuf,
    /// Whether this process may write it.
    pub writable: bool,
}

/// An error, with what could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub struct RoomError {
    what: String,
    source: io::Error,
}

fn cant(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> RoomError {
    let what = what.into();
    move |e| RoomError { what, source: e.into() }
}

fn cannot(what: impl Into<String>) -> impl FnOnce(io::Error) -> RoomError {
    let what = what.into();
    move |source| RoomError { what, source }
}

/// Makes the root in `dir`, an empty directory, and goes there with the whole process, which has to be the first of mounts of its own
/// and to have one thread. What is written takes memory, at most `memory` bytes, save in the directories `real`, which are the true
/// ones. A socket of a service outside can't be connected to.
///
/// In the place of the directories `covered` stand empty ones that only root may enter, and nobody write.
pub fn enter(dir: &Path, memory: u64, real: &[Real], covered: &[PathBuf]) -> Result<(), RoomError> {
    let table = topmost(mounts::mounts().map_err(cannot("read what is mounted"))?);
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(cant("make mounts private"))?;
    let size = layered::text(format!("size={memory},mode=0755"));
    mount("tmpfs", dir, "tmpfs", MountFlags::empty(), size.as_deref())
        .map_err(cant(format!("mount on {}", dir.display())))?;
    let root = dir.join("root");
    make(&root)?;
    for (n, (point, seen)) in table.iter().enumerate() {
        let to = match point.strip_prefix("/") {
            Ok(below) if !below.as_os_str().is_empty() => root.join(below),
            _ => root.clone(),
        };
        show(seen, point, &to, &dir.join(format!("layer-{n}")))?;
    }
    for one in real {
        let to = root.join(one.dir.strip_prefix("/").unwrap_or(&one.dir));
        bind(&one.dir, &to, one.writable)?;
    }
    for one in covered.iter().filter(|one| one.is_dir()) {
        let to = root.join(one.strip_prefix("/").unwrap_or(one));
        mount("tmpfs", &to, "tmpfs", MountFlags::RDONLY, Some(c"mode=0,size=4k"))
            .map_err(cant(format!("cover {}", one.display())))?;
    }
    go(&root)
}

/// The mounts by their points: where several are on one, the last one shows. What is below another one that hides it does not.
fn topmost(all: Vec<Mount>) -> BTreeMap<PathBuf, Mount> {
    let mut seen: BTreeMap<PathBuf, Mount> = BTreeMap::new();
    for one in all {
        let point = PathBuf::from(OsString::from_vec(one.point.clone()));
        if point.symlink_metadata().is_ok() {
            seen.insert(point, one);
        }
    }
    seen
}

fn show(seen: &Mount, point: &Path, to: &Path, layer: &Path) -> Result<(), RoomError> {
    let below = |dir: &str| point.starts_with(dir);
    if point == Path::new("/proc") {
        mount("proc", to, "proc", MountFlags::empty(), None).map_err(cant("mount /proc"))?;
        // The settings of the kernel are those of the whole machine.
        return bind(&to.join("sys"), &to.join("sys"), false);
    }
    if point == Path::new("/dev/shm") {
        return mount("tmpfs", to, "tmpfs", MountFlags::empty(), Some(c"mode=1777")).map_err(cant("mount /dev/shm"));
    }
    if point == Path::new("/dev") {
        return mount_bind_recursive("/dev", to).map_err(cant("show /dev"));
    }
    if below("/proc") || below("/dev") || !to.exists() {
        return Ok(());
    }
    if LAYERED.contains(&seen.fstype.as_str()) && point.is_dir() {
        make(layer)?;
        let layers = Layers { lower: &[point], upper: &layer.join("up"), work: &layer.join("work"), data: false };
        match layered::mount(&layers, to) {
            Ok(()) => return Ok(()),
            Err(e) if point == Path::new("/") => return Err(cannot("put a layer over the root")(e)),
            Err(e) => tracing::debug!("{} takes no layer, and is read-only: {e}", point.display()),
        }
    }
    match bind(point, to, false) {
        Err(e) if point != Path::new("/") => {
            tracing::debug!("{} is not seen: {e}", point.display());
            Ok(())
        }
        other => other,
    }
}

fn bind(from: &Path, to: &Path, writable: bool) -> Result<(), RoomError> {
    mount_bind(from, to).map_err(cant(format!("show {}", from.display())))?;
    if writable {
        return Ok(());
    }
    // What the mount forbids already stays forbidden.
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    mount_remount(to, flags, c"")
        .or_else(|_| mount_remount(to, flags | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, c""))
        .map_err(cant(format!("make {} read-only", from.display())))
}

/// Makes it the root, and lets the other one go.
fn go(root: &Path) -> Result<(), RoomError> {
    std::env::set_current_dir(root).map_err(cannot(format!("go to {}", root.display())))?;
    rustix::process::pivot_root(".", ".").map_err(cant("change the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(cant("let the root before go"))?;
    std::env::set_current_dir("/").map_err(cannot("go to the new root"))?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).map_err(cant("share mounts with the programs that are started"))
}

fn make(dir: &Path) -> Result<(), RoomError> {
    std::fs::create_dir(dir).map_err(cannot(format!("make {}", dir.display())))
}
