//! An overlay: a directory that shows a read-only one below it, and keeps what is changed in a third.

use crate::sys::mounts::{self, Mount};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The type of overlays in the mount table.
const FSTYPE: &str = "overlay";
/// The source of ours in the mount table.
const SOURCE: &str = "bygone-recover";
/// How the kernel's notes on the nodes of an upper directory begin.
pub const NOTES_PREFIX: &[u8] = b"trusted.overlay.";
/// The note on a directory that hides all of the one below it.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// What an overlay is made of, each open.
#[derive(Debug)]
pub struct Layers {
    /// What is shown below; never written to.
    pub lower: OwnedFd,
    /// What is changed.
    pub upper: OwnedFd,
    /// An empty directory beside `upper`, for the kernel.
    pub work: OwnedFd,
}

/// Mounts the layers on `dir`. What it keeps is plain: each changed node whole and under its own name, a device 0:0 where
/// something was removed, a note on directories that hide the one below.
pub fn mount(dir: &Path, layers: &Layers) -> io::Result<()> {
    let by = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (lower, upper, work) = (by(&layers.lower), by(&layers.upper), by(&layers.work));
    let mut options =
        format!("lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off,metacopy=off,index=off");
    // Numbers of nodes stay what they are; older kernels have no such option.
    for more in [",xino=off", ""] {
        options.push_str(more);
        let data = CString::new(options.as_str())?;
        match rustix::mount::mount(SOURCE, dir, FSTYPE, flags_of(dir)?, data.as_c_str()) {
            Err(rustix::io::Errno::INVAL) if !more.is_empty() => options.truncate(options.len() - more.len()),
            done => return Ok(done?),
        }
    }
    Err(io::ErrorKind::InvalidInput.into())
}

/// What the file system that a directory lies on allows is allowed in the overlay too, and no more.
fn flags_of(dir: &Path) -> io::Result<MountFlags> {
    let on = crate::sys::stat::of(crate::sys::dir::open_root(dir)?)?.mnt_id;
    let mounts = mounts::mounts()?;
    let options = mounts.iter().find(|m| Some(m.id) == on).map(|m| m.options.clone()).unwrap_or_default();
    let has = |wanted: &[u8]| options.split(|b| *b == b',').any(|o| o == wanted);
    let kept = [
        (&b"nosuid"[..], MountFlags::NOSUID),
        (b"nodev", MountFlags::NODEV),
        (b"noexec", MountFlags::NOEXEC),
        (b"noatime", MountFlags::NOATIME),
    ];
    Ok(kept.into_iter().filter(|(word, _)| has(word)).fold(MountFlags::empty(), |all, (_, flag)| all | flag))
}

/// Lets nobody write to the overlay on `dir` any more, or lets them again. `EBUSY` where a file is open for writing.
pub fn set_read_only(dir: &Path, on: bool) -> io::Result<()> {
    let flags = flags_of(dir)?;
    let flags = if on { flags | MountFlags::RDONLY } else { flags };
    Ok(rustix::mount::mount_remount(dir, flags, c"")?)
}

/// Shows the directory `from` at `to` as well, without what is mounted below it, to be read and not to be written to.
pub fn show_at(from: &Path, to: &Path) -> io::Result<()> {
    let flags = flags_of(from)? | MountFlags::BIND | MountFlags::RDONLY;
    rustix::mount::mount_bind(from, to)?;
    let done = rustix::mount::mount_remount(to, flags, c"");
    if done.is_err() {
        detach(to)?;
    }
    Ok(done?)
}

/// Unmounts what is on `dir`. `EBUSY` where something in it is open, or the working directory of a process.
pub fn unmount(dir: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(dir, UnmountFlags::NOFOLLOW)?)
}

/// Takes what is mounted on `dir` out of the tree. Whoever has something open in it keeps that until it is closed.
pub fn detach(dir: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(dir, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?)
}

/// Whether a mount is an overlay that gives a directory back.
pub fn is_ours(mount: &Mount) -> bool {
    gives_back(mount.fstype.as_bytes(), &mount.source)
}

/// The same by the type and the source in the mount table.
pub fn gives_back(fstype: &[u8], source: &[u8]) -> bool {
    fstype == FSTYPE.as_bytes() && source == SOURCE.as_bytes()
}

/// The overlay of ours that lies on `dir`, if it is the topmost mount there.
pub fn on(dir: &Path) -> io::Result<Option<Mount>> {
    let top = mounts::mounts()?.into_iter().rfind(|m| m.point == dir.as_os_str().as_bytes());
    Ok(top.filter(is_ours))
}

/// Where else an overlay is mounted, whole or in part, and what is mounted in it: each by its point.
pub fn also_at(of: &Mount) -> io::Result<Vec<Vec<u8>>> {
    let all = mounts::mounts()?;
    let parent = |id: u64| all.iter().find(|m| m.id == id).map(|m| m.parent).filter(|parent| *parent != id);
    let is_in =
        |m: &Mount| std::iter::successors(Some(m.parent), |id| parent(*id)).take(all.len()).any(|id| id == of.id);
    let others = all.iter().filter(|m| m.id != of.id && (m.dev == of.dev || is_in(m)));
    Ok(others.map(|m| m.point.clone()).collect())
}

/// Whether a directory of an upper layer hides all of the one below it.
pub fn is_opaque(dir: impl AsFd) -> io::Result<bool> {
    Ok(crate::sys::meta::xattrs(dir)?.iter().any(|(name, value)| name == OPAQUE && value == b"y"))
}

/// Removes the kernel's notes from a node of an upper layer, which then is like any other.
pub fn remove_notes(path_fd: BorrowedFd<'_>) -> io::Result<()> {
    let path = crate::sys::meta::proc_path(path_fd);
    for (name, _) in crate::sys::meta::xattrs_of_path(path_fd)? {
        if name.starts_with(NOTES_PREFIX) {
            match rustix::fs::removexattr(path.as_slice(), name.as_slice()) {
                Ok(()) | Err(rustix::io::Errno::NODATA) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}
