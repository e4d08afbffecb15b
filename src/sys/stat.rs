//! What `statx` says of a node, and on what kind of file system it lies.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Statx, StatxAttributes, StatxFlags, StatxTimestamp};

use crate::types::attr::{Attr, Kind, Place};
use crate::types::time::Time;

/// All that one `statx` tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Device and inode number.
    pub place: Place,
    /// Type, setuid, setgid, sticky and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes, as `st_size`: for a directory whatever the file system says.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Device number of a device.
    pub rdev: u64,
    /// Names that lead to the node.
    pub nlink: u32,
    /// Last modification of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Birth, where the file system tells.
    pub btime: Option<Time>,
    /// The mount it was reached through, as in [`crate::sys::mounts::Mount::id`]; since Linux 5.8.
    pub mnt_id: Option<u64>,
    /// Whether it is the root of a mount; since Linux 5.8.
    pub is_mount_root: bool,
}

impl Stat {
    /// Its mode, owner and times as attributes, with nothing of the content, and neither flags nor extended attributes.
    pub fn plain_attr(&self) -> Attr {
        Attr {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: 0,
            blocks: 0,
            rdev: 0,
            mtime: self.mtime,
            ctime: self.ctime,
            btime: None,
            flags: 0,
            xattrs: Vec::new(),
        }
    }

    /// The kind of node; `None` if the kernel gave a type that does not exist.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_mode(self.mode)
    }

    /// Whether `self` and `later`, of the same path or descriptor, show the same node with the same content: device,
    /// inode number, type, size, mtime and ctime.
    pub fn same_content(&self, later: &Stat) -> bool {
        self.place == later.place
            && self.mode & libc::S_IFMT == later.mode & libc::S_IFMT
            && self.size == later.size
            && self.mtime == later.mtime
            && self.ctime == later.ctime
    }
}

/// The node called `name` in `dir`, itself if it is a symbolic link. Never triggers an automount.
pub fn at(dir: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    statx(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The node open as `fd`, which may be an `O_PATH` descriptor.
pub fn of(fd: impl AsFd) -> io::Result<Stat> {
    statx(fd, b"", AtFlags::EMPTY_PATH)
}

/// A network file system is asked for its present attributes (no `AT_STATX_DONT_SYNC`): capture rests on them.
fn statx(dir: impl AsFd, name: &[u8], flags: AtFlags) -> io::Result<Stat> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    Ok(from_statx(&rustix::fs::statx(dir, name, flags | AtFlags::NO_AUTOMOUNT, mask)?))
}

fn from_statx(s: &Statx) -> Stat {
    let has = |bit| s.stx_mask & StatxFlags::bits(&bit) != 0;
    Stat {
        place: Place { dev: rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor), ino: s.stx_ino },
        mode: u32::from(s.stx_mode),
        uid: s.stx_uid,
        gid: s.stx_gid,
        size: s.stx_size,
        blocks: s.stx_blocks,
        rdev: rustix::fs::makedev(s.stx_rdev_major, s.stx_rdev_minor),
        nlink: s.stx_nlink,
        mtime: time(&s.stx_mtime),
        ctime: time(&s.stx_ctime),
        btime: has(StatxFlags::BTIME).then(|| time(&s.stx_btime)),
        mnt_id: has(StatxFlags::MNT_ID).then_some(s.stx_mnt_id),
        is_mount_root: s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    }
}

fn time(t: &StatxTimestamp) -> Time {
    Time { sec: t.tv_sec, nsec: t.tv_nsec }
}

/// The type of a file system by the number in `statfs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FsKind {
    /// `f_type`.
    pub magic: u64,
    /// Whether it shows the kernel's state and holds no files of anyone. `devtmpfs` has the number of tmpfs and is not
    /// told here: see [`crate::sys::mounts::Mount::is_pseudo`].
    pub is_pseudo: bool,
    /// Whether it keeps its files in memory (tmpfs, ramfs).
    pub is_memory: bool,
    /// Whether it is a FUSE mount.
    pub is_fuse: bool,
}

/// File systems without files, by number: proc, sysfs, devpts, cgroup, cgroup2, debugfs, tracefs, securityfs, pstore,
/// bpf, configfs, fusectl, mqueue, hugetlbfs, binfmt_misc, autofs, efivarfs, nsfs, rpc_pipefs, selinuxfs, smackfs,
/// pipefs, sockfs, anon_inodefs, resctrl, binderfs.
const PSEUDO: [u64; 26] = [
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x27_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x6165_676c,
    0xcafe_4a11,
    0x6265_6570,
    0x6573_5543,
    0x1980_0202,
    0x9584_58f6,
    0x4249_4e4d,
    0x0187,
    0xde5e_81e4,
    0x6e73_6673,
    0x6759_6969,
    0xf97c_ff8c,
    0x4341_5d53,
    0x5049_5045,
    0x534f_434b,
    0x0904_1934,
    0x0765_5821,
    0x6c6f_6f70,
];
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const FUSE: u64 = 0x6573_5546;

/// The kind of file system that `fd` lies on.
pub fn fs_kind(fd: impl AsFd) -> io::Result<FsKind> {
    // The kernel's number has 32 bits; the field's width and sign differ between machines.
    let magic = (rustix::fs::fstatfs(fd)?.f_type as u64) & 0xffff_ffff;
    Ok(FsKind {
        magic,
        is_pseudo: PSEUDO.contains(&magic),
        is_memory: magic == TMPFS || magic == RAMFS,
        is_fuse: magic == FUSE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::dir;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    #[test]
    fn agrees_with_the_standard_library() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::File::create(tmp.path().join("f")).unwrap().set_len(12345).unwrap();
        std::os::unix::fs::symlink("f", tmp.path().join("l")).unwrap();
        let fd = dir::open(tmp.path()).unwrap();
        for name in ["f", "l"] {
            let want = std::fs::symlink_metadata(tmp.path().join(name)).unwrap();
            let got = at(&fd, name.as_bytes()).unwrap();
            assert_eq!(got.place, Place { dev: want.dev(), ino: want.ino() });
            assert_eq!((got.mode, got.uid, got.gid), (want.mode(), want.uid(), want.gid()));
            assert_eq!((got.size, got.blocks, got.nlink), (want.size(), want.blocks(), 1));
            assert_eq!(got.mtime, Time { sec: want.mtime(), nsec: want.mtime_nsec() as u32 });
            assert_eq!(got.ctime, Time { sec: want.ctime(), nsec: want.ctime_nsec() as u32 });
        }
        assert_eq!(at(&fd, b"l").unwrap().kind(), Some(Kind::Symlink));
        assert_eq!(at(&fd, b"none").unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = std::fs::File::open(tmp.path().join("f")).unwrap();
        assert_eq!(of(&file).unwrap(), at(&fd, b"f").unwrap());
        assert!(of(&file).unwrap().btime.is_some());
    }

    #[test]
    fn tells_a_device_and_a_mount_root() {
        let root = dir::open(Path::new("/")).unwrap();
        let null = at(&root, b"dev/null").unwrap();
        assert_eq!((null.kind(), null.rdev), (Some(Kind::CharDevice), libc::makedev(1, 3)));
        assert!(at(&root, b"proc").unwrap().is_mount_root);
        assert!(!at(&root, b"proc/self").unwrap().is_mount_root);
    }

    #[test]
    fn knows_pseudo_file_systems() {
        for (path, pseudo) in [("/proc", true), ("/sys", true), ("/", false)] {
            let kind = fs_kind(dir::open(Path::new(path)).unwrap()).unwrap();
            assert_eq!(kind.is_pseudo, pseudo, "{path}: {kind:?}");
        }
        for mount in crate::sys::mounts::mounts().unwrap() {
            if mount.fstype == "devtmpfs" {
                continue;
            }
            use std::os::unix::ffi::OsStrExt;
            let Ok(fd) = dir::open(Path::new(std::ffi::OsStr::from_bytes(&mount.point))) else { continue };
            if of(&fd).unwrap().mnt_id == Some(mount.id) {
                assert_eq!(fs_kind(&fd).unwrap().is_pseudo, mount.is_pseudo(), "{mount:?}");
            }
        }
    }
}
