//! What a file system has room for, and making all of it durable at once.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Access, AtFlags, StatVfsMountFlags};

/// What a file system has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes that this process may still write.
    pub available_bytes: u64,
    /// Nodes that can still be made; `None` where the file system does not count them.
    pub available_nodes: Option<u64>,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// The room on the file system that `fd` lies on.
pub fn of(fd: impl AsFd) -> io::Result<Space> {
    let s = rustix::fs::fstatvfs(fd)?;
    let blocks = if rustix::process::geteuid().is_root() { s.f_bfree } else { s.f_bavail };
    Ok(Space {
        // One that counts no blocks, as ramfs, has what memory there is.
        available_bytes: if s.f_blocks == 0 { u64::MAX } else { blocks.saturating_mul(s.f_frsize) },
        available_nodes: (s.f_files > 0).then_some(s.f_favail),
        read_only: s.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// Whether this process may make and remove names in the directory `dir`.
pub fn may_change(dir: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::accessat(dir, c".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// Returns when everything written to the file system that `fd` lies on is on the disk.
pub fn sync_all(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fd)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::dir;

    #[test]
    fn the_temporary_directory_has_room() {
        let tmp = tempfile::tempdir().unwrap();
        let fd = dir::open_root(tmp.path()).unwrap();
        let space = of(&fd).unwrap();
        assert!(space.available_bytes > 0 && !space.read_only);
        may_change(&fd).unwrap();
        sync_all(&fd).unwrap();
    }
}
