//! What the mount tells about a node, in its own types.

use crate::index::rows::Row;
use crate::types::{
    attr::Kind,
    time::{Instant, Time},
};
use std::time::Duration;

/// The attributes of a node as the mount shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeAttr {
    /// Its inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Last modification.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// `st_mode`: type and permissions.
    pub mode: u32,
    /// Names it has in this view; never 0.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number as FUSE transports it.
    pub rdev: u32,
}

impl NodeAttr {
    /// Of a captured node. A directory has one link, as on btrfs: programs that would save look-ups by counting links
    /// know that 1 tells nothing.
    pub fn captured(ino: u64, row: &Row, nlink: u32) -> NodeAttr {
        let a = &row.attr;
        NodeAttr {
            ino,
            size: a.size,
            blocks: a.blocks,
            mtime: a.mtime,
            ctime: a.ctime,
            mode: a.mode,
            nlink: nlink.max(1),
            uid: a.uid,
            gid: a.gid,
            rdev: device(a.rdev),
        }
    }

    /// Of a directory that only leads somewhere.
    pub fn directory(ino: u64, at: Instant, owner: Owner) -> NodeAttr {
        NodeAttr::made(ino, libc::S_IFDIR | 0o555, 0, at, owner)
    }

    /// Of a symbolic link of the mount's own.
    pub fn link(ino: u64, target: &[u8], at: Instant, owner: Owner) -> NodeAttr {
        NodeAttr::made(ino, libc::S_IFLNK | 0o777, target.len() as u64, at, owner)
    }

    fn made(ino: u64, mode: u32, size: u64, at: Instant, owner: Owner) -> NodeAttr {
        let time = Time::from_ns(at.0);
        NodeAttr {
            ino,
            size,
            blocks: 0,
            mtime: time,
            ctime: time,
            mode,
            nlink: 1,
            uid: owner.uid,
            gid: owner.gid,
            rdev: 0,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        Kind::from_mode(self.mode).unwrap_or(Kind::File)
    }
}

/// Who owns what the mount makes up: whoever mounted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Owner {
    /// The user and group of this process.
    pub fn this_process() -> Owner {
        Owner { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
    }
}

/// How long the kernel may believe an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// For ever: it belongs to a view.
    Forever,
    /// A quarter of a second: it moves.
    Shortly,
}

impl Keep {
    /// As a duration. The kernel cuts what its clock can't count.
    pub fn ttl(self) -> Duration {
        match self {
            Keep::Forever => Duration::from_secs(100 * 365 * 86_400),
            Keep::Shortly => Duration::from_millis(250),
        }
    }
}

/// The answer to a look-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The node.
    Node(NodeAttr, Keep),
    /// There is no such name; `Forever` where there never will be.
    Nothing(Keep),
}

/// A device number from `st_rdev` to the 32 bits of the kernel: 12 of the major number, 20 of the minor.
fn device(rdev: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_in_the_form_of_the_kernel() {
        assert_eq!(device(rustix::fs::makedev(1, 3)), 0x103);
        assert_eq!(device(rustix::fs::makedev(259, 0x12345)), 0x45 | 259 << 8 | 0x12300 << 12);
        assert_eq!(device(0), 0);
    }
}
