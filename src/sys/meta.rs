//! The rest of a node's metadata: extended attributes (POSIX ACLs and capabilities among them), inode flags, and the
//! target of a symbolic link.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::IFlags;
use rustix::io::Errno;

use crate::sys::stat;
use crate::types::attr::Xattrs;
use crate::types::path::show;

/// The most bytes that the names of one node, or one value, can have on Linux.
const XATTR_MAX_BYTES: usize = 64 << 10;

/// How often a list or value that grows while it is read is tried again.
const TRIES: usize = 8;

/// `FS_COMPR_FL` ... as `chattr` sets them; `FS_NOCOMP_FL` and `FS_CASEFOLD_FL` have no name in rustix.
const NOCOMPRESS: u32 = 0x400;
const CASEFOLD: u32 = 0x4000_0000;

/// Flags that restore can set again: append, immutable, nodump, noatime, sync, dirsync, nocow, compress, nocompress,
/// notail, topdir, project inherit, data journaling.
pub const SETTABLE_FLAGS: u32 = IFlags::APPEND.bits()
    | IFlags::IMMUTABLE.bits()
    | IFlags::NODUMP.bits()
    | IFlags::NOATIME.bits()
    | IFlags::SYNC.bits()
    | IFlags::DIRSYNC.bits()
    | IFlags::NOCOW.bits()
    | IFlags::COMPRESSED.bits()
    | NOCOMPRESS
    | IFlags::NOTAIL.bits()
    | IFlags::TOPDIR.bits()
    | IFlags::PROJECT_INHERIT.bits()
    | IFlags::JOURNALING.bits();

/// Flags that [`flags`] reports: those that can be set again, and casefold, which is only noted.
pub const KEPT_FLAGS: u32 = SETTABLE_FLAGS | CASEFOLD;

/// Flags that forbid changing the node while they are set.
pub const PROTECTING_FLAGS: u32 = IFlags::APPEND.bits() | IFlags::IMMUTABLE.bits();

/// Flags that only take hold while a file is empty: set them before its first byte.
pub const EARLY_FLAGS: u32 = IFlags::NOCOW.bits() | IFlags::COMPRESSED.bits() | NOCOMPRESS | IFlags::JOURNALING.bits();

/// The names of flags, as `chattr(1)` describes them.
const FLAG_NAMES: [(u32, &str); 14] = [
    (IFlags::COMPRESSED.bits(), "compress"),
    (IFlags::SYNC.bits(), "sync"),
    (IFlags::IMMUTABLE.bits(), "immutable"),
    (IFlags::APPEND.bits(), "append"),
    (IFlags::NODUMP.bits(), "nodump"),
    (IFlags::NOATIME.bits(), "noatime"),
    (NOCOMPRESS, "nocompress"),
    (IFlags::JOURNALING.bits(), "data journaling"),
    (IFlags::NOTAIL.bits(), "notail"),
    (IFlags::DIRSYNC.bits(), "dirsync"),
    (IFlags::TOPDIR.bits(), "topdir"),
    (IFlags::NOCOW.bits(), "nocow"),
    (IFlags::PROJECT_INHERIT.bits(), "project inherit"),
    (CASEFOLD, "casefold"),
];

/// The flags in `flags` in words, separated by commas.
pub fn flag_names(flags: u32) -> String {
    let mut names: Vec<String> =
        FLAG_NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let unnamed = flags & !KEPT_FLAGS;
    if unnamed != 0 {
        names.push(format!("{unnamed:#x}"));
    }
    names.join(", ")
}

/// The attributes of a file or directory open for reading. One system call where there are none. An attribute that
/// vanishes meanwhile is left out; one that can't be read is an error that names it.
pub fn xattrs(fd: impl AsFd) -> io::Result<Xattrs> {
    read(&Node::Open(fd.as_fd()))
}

/// The attributes of the node called `name` in `dir`, of any kind, itself if it is a symbolic link. Opens nothing, and
/// needs `/proc`.
pub fn xattrs_at(dir: impl AsFd, name: &[u8]) -> io::Result<Xattrs> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    read(&Node::Path(path)).map_err(|e| proc_missing(e, || stat::at(&dir, name)))
}

/// The attributes of the node behind an `O_PATH` descriptor, of any kind. Needs `/proc`.
pub fn xattrs_of_path(fd: impl AsFd) -> io::Result<Xattrs> {
    let path = proc_path(fd.as_fd());
    // Following the link leads to the node itself, also where that is a symbolic link.
    read(&Node::Follow(path)).map_err(|e| proc_missing(e, || stat::of(&fd)))
}

/// The name in `/proc` that leads to the node open as `fd`.
pub(in crate::sys) fn proc_path(fd: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes()
}

/// `ENOENT` may mean that the node is gone or that there is no `/proc`; the second must not look like the first.
pub(in crate::sys) fn proc_missing<T>(e: io::Error, node: impl FnOnce() -> io::Result<T>) -> io::Error {
    if e.kind() == io::ErrorKind::NotFound && node().is_ok() && !std::path::Path::new("/proc/self/fd").exists() {
        return io::Error::other("/proc is not mounted: extended attributes can't be reached without it");
    }
    e
}

/// The three ways to reach a node's attributes.
enum Node<'a> {
    Open(BorrowedFd<'a>),
    Path(Vec<u8>),
    Follow(Vec<u8>),
}

impl Node<'_> {
    fn list(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Node::Open(fd) => rustix::fs::flistxattr(fd, buf),
            Node::Path(path) => rustix::fs::llistxattr(path.as_slice(), buf),
            Node::Follow(path) => rustix::fs::listxattr(path.as_slice(), buf),
        }
    }

    fn get(&self, name: &[u8], buf: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Node::Open(fd) => rustix::fs::fgetxattr(fd, name, buf),
            Node::Path(path) => rustix::fs::lgetxattr(path.as_slice(), name, buf),
            Node::Follow(path) => rustix::fs::getxattr(path.as_slice(), name, buf),
        }
    }
}

fn read(node: &Node<'_>) -> io::Result<Xattrs> {
    let mut small = [0_u8; 1024];
    let names = match sized(&mut small, |buf| node.list(buf)) {
        Ok(names) if names.is_empty() => return Ok(Vec::new()),
        Ok(names) => names.to_vec(),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut out = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        match sized(&mut small, |buf| node.get(name, buf)) {
            Ok(value) => out.push((name.to_vec(), value.to_vec())),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(named(name, e)),
        }
    }
    out.sort_unstable();
    Ok(out)
}

fn named(name: &[u8], e: Errno) -> io::Error {
    let e = io::Error::from(e);
    io::Error::new(e.kind(), format!("reading extended attribute {}: {e}", show(name)))
}

/// A list or value: in the small buffer if it fits, else in one as large as Linux allows.
fn sized<'b>(
    small: &'b mut [u8],
    mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<std::borrow::Cow<'b, [u8]>, Errno> {
    match read(small) {
        Ok(len) => return Ok(std::borrow::Cow::Borrowed(&small[..len])),
        Err(Errno::RANGE | Errno::TOOBIG) => {}
        Err(e) => return Err(e),
    }
    let mut large = vec![0_u8; XATTR_MAX_BYTES];
    for _ in 0..TRIES {
        match read(&mut large) {
            Ok(len) => {
                large.truncate(len);
                return Ok(std::borrow::Cow::Owned(large));
            }
            // Some file systems let the list of names be longer than the limit of one value.
            Err(Errno::RANGE) => large.resize(large.len() * 2, 0),
            Err(e) => return Err(e),
        }
    }
    Err(Errno::TOOBIG)
}

/// The inode flags of a file or directory open for reading, those in [`KEPT_FLAGS`]; 0 where the file system has none.
/// Not for devices: there the request would go to the driver.
pub fn flags(fd: impl AsFd) -> io::Result<u32> {
    Ok(raw_flags(fd)? & KEPT_FLAGS)
}

/// All inode flags, also those that describe the layout.
pub(in crate::sys) fn raw_flags(fd: impl AsFd) -> io::Result<u32> {
    match rustix::fs::ioctl_getflags(fd) {
        Ok(flags) => Ok(flags.bits()),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(0),
        Err(e) => Err(e.into()),
    }
}

/// The target of the symbolic link called `name` in `dir`; `EINVAL` if it is no link.
pub fn link_target(dir: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::dir;
    use rustix::fs::{OFlags, XattrFlags};

    #[test]
    fn reads_none_one_many_and_large() {
        let tmp = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(tmp.path().join("f")).unwrap();
        let fd = dir::open(tmp.path()).unwrap();
        assert_eq!(xattrs(&file).unwrap(), vec![]);
        let mut want: Xattrs = (0..90).map(|n| (format!("user.a{n:02}").into_bytes(), vec![n; 5])).collect();
        want.push((b"user.large".to_vec(), vec![7; 1500]));
        want.push((b"user.empty".to_vec(), vec![]));
        want.sort();
        for (name, value) in &want {
            rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()).unwrap();
        }
        assert_eq!(xattrs(&file).unwrap(), want);
        assert_eq!(xattrs_at(&fd, b"f").unwrap(), want);
        let path = rustix::fs::openat(&fd, "f", OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(xattrs_of_path(&path).unwrap(), want);
        assert_eq!(xattrs_at(&fd, b"gone").unwrap_err().kind(), io::ErrorKind::NotFound);
        std::os::unix::fs::symlink("f", tmp.path().join("l")).unwrap();
        assert_eq!(xattrs_at(&fd, b"l").unwrap(), vec![], "a link has its own attributes");
    }

    #[test]
    fn a_value_of_64_kib_and_a_long_list_on_tmpfs() {
        let Ok(tmp) = tempfile::tempdir_in("/dev/shm") else { return };
        let file = std::fs::File::create(tmp.path().join("f")).unwrap();
        let value = vec![9_u8; XATTR_MAX_BYTES];
        let set = |name: String, value: &[u8]| rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty());
        match set("trusted.large".into(), &value) {
            Ok(()) => assert_eq!(xattrs(&file).unwrap(), vec![(b"trusted.large".to_vec(), value)]),
            Err(e) => assert!(matches!(e, Errno::PERM | Errno::OPNOTSUPP | Errno::NOSPC), "{e}"),
        }
    }

    #[test]
    fn flags_are_told_where_there_are_any() {
        let tmp = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(tmp.path().join("f")).unwrap();
        assert_eq!(flags(&file).unwrap() & PROTECTING_FLAGS, 0);
        assert_eq!(flags(std::fs::File::open("/proc/self/status").unwrap()).unwrap(), 0);
        assert_eq!(flag_names(IFlags::IMMUTABLE.bits() | IFlags::NODUMP.bits()), "immutable, nodump");
        assert_eq!(flag_names(CASEFOLD | 1), "casefold, 0x1");
    }

    #[test]
    fn a_link_tells_its_target_bytes() {
        let tmp = tempfile::tempdir().unwrap();
        let fd = dir::open(tmp.path()).unwrap();
        let target = [&b"\xff/"[..], &[b'x'; 3000]].concat();
        rustix::fs::symlinkat(target.as_slice(), &fd, "l").unwrap();
        assert_eq!(link_target(&fd, b"l").unwrap(), target);
        assert!(link_target(&fd, b".").is_err());
    }
}
