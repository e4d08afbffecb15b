//! What a file has besides its name and its content.

use crate::types::time::Time;

/// The type of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket: noted, never captured.
    Socket,
}

impl Kind {
    /// The kind in the type bits of `st_mode`; `None` where they mean nothing.
    pub fn from_mode(mode: u32) -> Option<Kind> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Dir,
            libc::S_IFLNK => Kind::Symlink,
            libc::S_IFCHR => Kind::CharDevice,
            libc::S_IFBLK => Kind::BlockDevice,
            libc::S_IFIFO => Kind::Fifo,
            libc::S_IFSOCK => Kind::Socket,
            _ => return None,
        })
    }

    /// The type bits for `st_mode`.
    pub fn mode_bits(self) -> u32 {
        match self {
            Kind::File => libc::S_IFREG,
            Kind::Dir => libc::S_IFDIR,
            Kind::Symlink => libc::S_IFLNK,
            Kind::CharDevice => libc::S_IFCHR,
            Kind::BlockDevice => libc::S_IFBLK,
            Kind::Fifo => libc::S_IFIFO,
            Kind::Socket => libc::S_IFSOCK,
        }
    }
}

/// The attributes of a version: all that is journaled and shown by a view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attr {
    /// `st_mode`: type, setuid, setgid, sticky and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes: of a file's content or a link's target; 0 for everything else.
    pub size: u64,
    /// Allocated blocks of 512 bytes at the time of capture.
    pub blocks: u64,
    /// Device number of a device, as `st_rdev`.
    pub rdev: u64,
    /// Last modification.
    pub mtime: Time,
    /// Last change of the inode when this version was captured.
    pub ctime: Time,
    /// Birth, where the file system tells.
    pub btime: Option<Time>,
    /// Inode flags as `FS_IOC_GETFLAGS` gives them (`chattr`), without those that only describe the layout.
    pub flags: u32,
    /// Extended attributes, sorted by name, POSIX ACLs among them in their kernel form.
    pub xattrs: Xattrs,
}

impl Attr {
    /// The kind; a mode from outside has been checked when it was decoded.
    pub fn kind(&self) -> Kind {
        Kind::from_mode(self.mode).unwrap_or(Kind::File)
    }
}

/// Extended attributes: name and value each, sorted by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Where a node was seen on its file system: what tells that it is the same one again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Place {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}
