//! Snapshots of btrfs: taken read-only, and removed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::sys::{dir, stat};

/// The inode number of the root of every subvolume.
pub const SUBVOLUME_ROOT: u64 = 256;
/// The inode number of what stands in a snapshot where another subvolume was.
pub const EMPTY_SUBVOLUME: u64 = 2;

const MAGIC: u64 = 0x9123_683e;
const RDONLY: u64 = 1 << 1;
/// `_IOW(0x94, 23, struct btrfs_ioctl_vol_args_v2)`.
const SNAP_CREATE_V2: libc::Ioctl = 0x5000_9417;
/// `_IOW(0x94, 15, struct btrfs_ioctl_vol_args)`.
const SNAP_DESTROY: libc::Ioctl = 0x5000_940f;

#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

/// Whether what is open as `fd` lies on btrfs.
pub fn is_btrfs(fd: impl AsFd) -> io::Result<bool> {
    Ok(stat::fs_kind(fd)?.magic == MAGIC)
}

/// Takes a read-only snapshot of the subvolume whose root is open as `subvolume`, under the new name `name` in `dir`, of the same
/// file system. It has what has been synced before, and all names and attributes, as of one moment.
pub fn snapshot(subvolume: &OwnedFd, dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let mut args =
        VolArgsV2 { fd: i64::from(subvolume.as_raw_fd()), transid: 0, flags: RDONLY, unused: [0; 4], name: [0; 4040] };
    put_name(&mut args.name, name)?;
    // SAFETY: the request reads a vol_args_v2 that outlives the call, its name ends with a NUL, and both descriptors are open.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), SNAP_CREATE_V2, &args) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Removes the snapshot called `name` in `dir`. Only the root of a subvolume is removed by it.
pub fn remove(dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: [0; 4088] };
    put_name(&mut args.name, name)?;
    // SAFETY: the request reads a vol_args that outlives the call, its name ends with a NUL, and the descriptor is open.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), SNAP_DESTROY, &args) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn put_name(to: &mut [u8], name: &[u8]) -> io::Result<()> {
    if name.is_empty() || name.len() > 255 || name.iter().any(|b| matches!(b, 0 | b'/')) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    to[..name.len()].copy_from_slice(name);
    Ok(())
}

/// The root of the subvolume that `path` lies in: open, with its path.
pub fn subvolume_of(path: &std::path::Path) -> io::Result<(OwnedFd, std::path::PathBuf)> {
    let first = dir::open_root(path)?;
    if !is_btrfs(&first)? {
        return Err(io::Error::other("it is not on btrfs"));
    }
    let mut at = path;
    loop {
        let fd = dir::open_root(at)?;
        if stat::of(&fd)?.place.ino == SUBVOLUME_ROOT {
            return Ok((fd, at.to_owned()));
        }
        at = at.parent().ok_or_else(|| io::Error::other("the root of its subvolume is not mounted"))?;
    }
}
