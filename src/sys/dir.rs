//! Directories: opened without following a symbolic link, at any depth, and listed without an allocation a name.
//!
//! Errors are plain `io::Error`s; the caller knows the path and adds it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom};
use rustix::io::Errno;

use crate::types::attr::Kind;
use crate::types::path::components;

/// Bytes asked of the kernel at once when listing: some 2,000 names.
const LIST_BUF_BYTES: usize = 128 << 10;

/// The longest piece of a path given to the kernel at once, below `PATH_MAX`.
const PIECE_BYTES: usize = 4000;

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the directory `path`, which the user named: links in the middle and at the end are followed.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIR, Mode::empty())?)
}

/// Opens the directory `path`; its last component must not be a symbolic link (`ENOTDIR`).
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIR | OFlags::NOFOLLOW, Mode::empty())?)
}

/// Opens the directory called `name` in `dir`; `ENOTDIR` if it is anything else, a symbolic link included.
pub fn open_at(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(dir, name, DIR | OFlags::NOFOLLOW, Mode::empty())?)
}

/// Opens the directory at `path` below `root`, of any length, following no symbolic link anywhere and never leaving
/// `root`. An empty path opens `root` again. `EINVAL` for a path with `..` in it; a link in it is `ENOTDIR` or `ELOOP`.
pub fn open_beneath(root: impl AsFd, path: &[u8]) -> io::Result<OwnedFd> {
    let names: Vec<&[u8]> = components(path).collect();
    if names.contains(&&b".."[..]) {
        return Err(Errno::INVAL.into());
    }
    let pieces = pieces(&names);
    let Some((last, before)) = pieces.split_last() else {
        return Ok(rustix::fs::openat(root, c".", DIR, Mode::empty())?);
    };
    let mut at: Option<OwnedFd> = None;
    for piece in before {
        at = Some(step(at.as_ref().map_or(root.as_fd(), |fd| fd.as_fd()), piece, STEP)?);
    }
    Ok(step(at.as_ref().map_or(root.as_fd(), |fd| fd.as_fd()), last, DIR | OFlags::NOFOLLOW)?)
}

/// Opens the directory that holds the entry at `path` below `root`, and gives the entry's name. The guarantees of
/// [`open_beneath`]; `EINVAL` for an empty path.
pub fn open_parent_beneath(root: impl AsFd, path: &[u8]) -> io::Result<(OwnedFd, &[u8])> {
    let name = components(path).last().filter(|name| *name != b"..").ok_or(Errno::INVAL)?;
    let end = name.as_ptr() as usize - path.as_ptr() as usize;
    Ok((open_beneath(root, &path[..end])?, name))
}

/// Runs of components joined, each short enough for the kernel.
fn pieces(names: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for name in names {
        match out.last_mut() {
            Some(piece) if piece.len() + 1 + name.len() <= PIECE_BYTES => {
                piece.push(b'/');
                piece.extend_from_slice(name);
            }
            _ => out.push(name.to_vec()),
        }
    }
    out
}

/// Opens several components at once; one by one where the kernel or a sandbox has no `openat2`.
fn step(at: BorrowedFd<'_>, piece: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(at, piece, flags, Mode::empty(), how) {
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => one_by_one(at, piece, flags),
        other => other,
    }
}

fn one_by_one(at: BorrowedFd<'_>, piece: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut fd: Option<OwnedFd> = None;
    let mut names = components(piece).peekable();
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() { STEP } else { flags };
        fd = Some(rustix::fs::openat(fd.as_ref().map_or(at, |fd| fd.as_fd()), name, flags, Mode::empty())?);
    }
    fd.ok_or(Errno::NOENT)
}

/// One name of a directory, borrowed from its [`Listing`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name<'a> {
    /// The name: never `.` or `..`.
    pub name: &'a [u8],
    /// What it is, where the file system says so; else `stat` tells.
    pub kind: Option<Kind>,
    /// The inode number the directory states. At a mount point it is that of the directory below the mount.
    pub ino: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    start: usize,
    len: u16,
    kind: Option<Kind>,
    ino: u64,
}

/// The names of one directory, all in one buffer. Reused for the next directory, it allocates nothing.
#[derive(Default)]
pub struct Listing {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl Listing {
    /// An empty listing.
    pub fn new() -> Listing {
        Listing::default()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The name at `at`, which must be below [`Listing::len`].
    pub fn get(&self, at: usize) -> Name<'_> {
        self.name(&self.slots[at])
    }

    /// The names, in their present order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Name<'_>> {
        self.slots.iter().map(|slot| self.name(slot))
    }

    /// Orders by name, byte by byte.
    pub fn sort_by_name(&mut self) {
        let bytes = &self.bytes;
        let name = |slot: &Slot| &bytes[slot.start..slot.start + usize::from(slot.len)];
        self.slots.sort_unstable_by(|a, b| name(a).cmp(name(b)));
    }

    /// Orders by inode number: the order in which `stat` of a cold directory seeks least.
    pub fn sort_by_ino(&mut self) {
        self.slots.sort_unstable_by_key(|slot| slot.ino);
    }

    /// Forgets the names and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }

    fn name(&self, slot: &Slot) -> Name<'_> {
        let name = &self.bytes[slot.start..slot.start + usize::from(slot.len)];
        Name { name, kind: slot.kind, ino: slot.ino }
    }

    fn push(&mut self, name: &[u8], kind: Option<Kind>, ino: u64) -> io::Result<()> {
        let len = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.slots.push(Slot { start: self.bytes.len(), len, kind, ino });
        self.bytes.extend_from_slice(name);
        Ok(())
    }
}

/// Lists the directory `fd` from its start into `into`, which is emptied first. `buf` is scratch memory, one a thread,
/// given its size on first use. A directory that changes meanwhile may or may not show what changed.
pub fn list(fd: impl AsFd, buf: &mut Vec<u8>, into: &mut Listing) -> io::Result<()> {
    into.clear();
    buf.clear();
    buf.reserve_exact(LIST_BUF_BYTES);
    let fd = fd.as_fd();
    rustix::fs::seek(fd, SeekFrom::Start(0))?;
    let mut raw = RawDir::new(fd, buf.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        match entry {
            Ok(entry) => match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => into.push(name, kind_of(entry.file_type()), entry.ino())?,
            },
            // The directory was removed while it was open: it has no names any more.
            Err(Errno::NOENT) => break,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn kind_of(file_type: FileType) -> Option<Kind> {
    match file_type {
        FileType::Unknown => None,
        known => Kind::from_mode(known.as_raw_mode()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{mkdirat, openat, symlinkat};
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn lists_every_name_once_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let fd = open(dir.path()).unwrap();
        let long = vec![b'x'; 255];
        let odd: [&[u8]; 4] = [b"\xff\xfe", b"new\nline", b" ", &long];
        let mut want: Vec<Vec<u8>> = (0..5000).map(|n| format!("name-{n:04}").into_bytes()).collect();
        want.extend(odd.iter().map(|n| n.to_vec()));
        for name in &want {
            openat(&fd, name.as_slice(), OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        }
        mkdirat(&fd, "sub", Mode::RWXU).unwrap();
        symlinkat("sub", &fd, "link").unwrap();
        want.extend([b"sub".to_vec(), b"link".to_vec()]);
        want.sort();
        let (mut buf, mut listing) = (Vec::new(), Listing::new());
        for _ in 0..2 {
            list(&fd, &mut buf, &mut listing).unwrap();
            listing.sort_by_name();
            let got: Vec<_> = listing.iter().map(|n| n.name.to_vec()).collect();
            assert_eq!(got, want);
        }
        let kind = |name: &[u8]| listing.iter().find(|n| n.name == name).unwrap().kind;
        assert_eq!(kind(b"sub"), Some(Kind::Dir));
        assert_eq!(kind(b"link"), Some(Kind::Symlink));
        assert_eq!(kind(b"\xff\xfe"), Some(Kind::File));
        listing.sort_by_ino();
        assert!((1..listing.len()).all(|i| listing.get(i - 1).ino <= listing.get(i).ino));
    }

    #[test]
    fn opens_deeper_than_a_path_can_say() {
        let dir = tempfile::tempdir().unwrap();
        let root = open(dir.path()).unwrap();
        let name = [b'd'; 200];
        let mut path = Vec::new();
        let mut at = open(dir.path()).unwrap();
        for _ in 0..70 {
            mkdirat(&at, &name[..], Mode::RWXU).unwrap();
            at = open_at(&at, &name).unwrap();
            path.extend_from_slice(&name);
            path.push(b'/');
        }
        mkdirat(&at, "bottom", Mode::RWXU).unwrap();
        path.extend_from_slice(b"bottom");
        assert!(path.len() > 3 * 4096);
        open_beneath(&root, &path).unwrap();
        let (parent, last) = open_parent_beneath(&root, &path).unwrap();
        assert_eq!(last, b"bottom");
        open_at(&parent, last).unwrap();
        one_by_one(root.as_fd(), &path, DIR).unwrap();
        drop(at);
        drop(parent);
        std::fs::remove_dir_all(dir.path()).unwrap();
    }

    #[test]
    fn never_follows_a_link_or_leaves_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = open(dir.path()).unwrap();
        mkdirat(&root, "real", Mode::RWXU).unwrap();
        mkdirat(&root, "real/sub", Mode::RWXU).unwrap();
        symlinkat("real", &root, "link").unwrap();
        symlinkat(dir.path().as_os_str().as_bytes(), &root, "abs").unwrap();
        open_beneath(&root, b"real/./sub//").unwrap();
        open_beneath(&root, b"").unwrap();
        for bad in [&b"link"[..], b"link/sub", b"abs/real", b"real/../real", b"..", b"missing"] {
            assert!(open_beneath(&root, bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(one_by_one(root.as_fd(), b"link/sub", DIR | OFlags::NOFOLLOW).is_err());
        assert!(one_by_one(root.as_fd(), b"link", DIR | OFlags::NOFOLLOW).is_err());
        assert!(open_at(&root, b"link").is_err());
        assert!(open(&dir.path().join("link")).is_err());
        open_root(&dir.path().join("link")).unwrap();
        assert!(open_parent_beneath(&root, b"").is_err());
        assert!(open_parent_beneath(&root, b"real/..").is_err());
    }
}
