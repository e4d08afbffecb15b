//! Nodes made, renamed and removed relative to an open directory; content written where it belongs, holes kept.
//!
//! Nothing here follows a symbolic link, replaces an existing node unasked, or makes anything durable: for that see
//! [`sync`] and [`crate::sys::durable`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use rustix::fs::{AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::sys::buffer::Buffer;
use crate::types::attr::Kind;

/// How the names of unfinished files start: whoever finds one that is old may remove it.
pub const TEMP_PREFIX: &str = ".tmp-";

/// So many temporary names are told for those of one process: more than any makes.
const TEMPS_MAX: u64 = 1 << 40;

/// A new name that starts with [`TEMP_PREFIX`]: of this process, the next after a random one.
pub fn temp_name() -> io::Result<Vec<u8>> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = first_temp()?.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    Ok(format!("{TEMP_PREFIX}{number:016x}").into_bytes())
}

/// The random number with which the temporary names of this process begin.
pub fn first_temp() -> io::Result<u64> {
    static FIRST: OnceLock<u64> = OnceLock::new();
    match FIRST.get() {
        Some(first) => Ok(*first),
        None => {
            let mut bytes = [0_u8; 8];
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
            Ok(*FIRST.get_or_init(|| u64::from_ne_bytes(bytes)))
        }
    }
}

/// Whether it is a temporary name of the process whose names begin with `first`, as [`first_temp`] told it.
pub fn is_temp_after(name: &[u8], first: u64) -> bool {
    let number = name.strip_prefix(TEMP_PREFIX.as_bytes()).and_then(|n| std::str::from_utf8(n).ok());
    let number = number.filter(|_| is_temp_name(name)).and_then(|n| u64::from_str_radix(n, 16).ok());
    number.is_some_and(|n| n.wrapping_sub(first) < TEMPS_MAX)
}

/// Whether it is a name as [`temp_name`] makes them.
pub fn is_temp_name(name: &[u8]) -> bool {
    let number = name.strip_prefix(TEMP_PREFIX.as_bytes());
    number.is_some_and(|n| n.len() == 16 && n.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Makes something under a temporary name: calls `make` with new names until one is free.
pub fn with_temp_name<T>(mut make: impl FnMut(&[u8]) -> io::Result<T>) -> io::Result<(Vec<u8>, T)> {
    const TRIES: usize = 16;
    for _ in 1..TRIES {
        let name = temp_name()?;
        match make(&name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => return Ok((name, other?)),
        }
    }
    let name = temp_name()?;
    let made = make(&name)?;
    Ok((name, made))
}

/// Creates the file `name` in `dir`, mode 0600, open for reading and writing; `EEXIST` if anything has that name.
pub fn file(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Creates the directory `name` in `dir`, mode 0700; `EEXIST` if anything has that name.
pub fn directory(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(dir, name, Mode::RWXU)?)
}

/// Gives what is open the permission bits `mode`.
pub fn set_mode(fd: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(fd, Mode::from_raw_mode(mode & 0o7777))?)
}

/// Creates the symbolic link `name` in `dir`; `EEXIST` if anything has that name.
pub fn symlink(dir: impl AsFd, name: &[u8], target: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::symlinkat(target, dir, name)?)
}

/// Creates a device, fifo or socket `name` in `dir`, mode 0600; `rdev` counts for devices. `EEXIST` if anything has that
/// name, `EPERM` for a device without the privilege, `EINVAL` for any other kind.
pub fn special(dir: impl AsFd, name: &[u8], kind: Kind, rdev: u64) -> io::Result<()> {
    let (file_type, rdev) = match kind {
        Kind::CharDevice => (FileType::CharacterDevice, rdev),
        Kind::BlockDevice => (FileType::BlockDevice, rdev),
        Kind::Fifo => (FileType::Fifo, 0),
        Kind::Socket => (FileType::Socket, 0),
        Kind::File | Kind::Dir | Kind::Symlink => return Err(Errno::INVAL.into()),
    };
    Ok(rustix::fs::mknodat(dir, name, file_type, Mode::RUSR | Mode::WUSR, rdev)?)
}

/// Gives the node `from` in `from_dir` a second name; `EEXIST` if anything has that name.
pub fn hard_link(from_dir: impl AsFd, from: &[u8], to_dir: impl AsFd, to: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::linkat(from_dir, from, to_dir, to, AtFlags::empty())?)
}

/// What a rename does when the new name is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// `EEXIST`.
    Refuse,
    /// Replaces it, in one step.
    Replace,
    /// The two change places, in one step; `ENOENT` if the new name is free.
    Exchange,
}

/// Renames in one step. [`Taken::Refuse`] also holds on file systems that can't refuse by themselves, except for a
/// directory there, which is `EINVAL`.
pub fn rename(from_dir: impl AsFd, from: &[u8], to_dir: impl AsFd, to: &[u8], taken: Taken) -> io::Result<()> {
    let flags = match taken {
        Taken::Replace => return Ok(rustix::fs::renameat(from_dir, from, to_dir, to)?),
        Taken::Exchange => RenameFlags::EXCHANGE,
        Taken::Refuse => RenameFlags::NOREPLACE,
    };
    match rustix::fs::renameat_with(&from_dir, from, &to_dir, to, flags) {
        Err(Errno::INVAL | Errno::NOSYS) if taken == Taken::Refuse => link_then_unlink(from_dir, from, to_dir, to),
        other => Ok(other?),
    }
}

/// A rename that never replaces, in two steps: interrupted between them, the node has both names.
fn link_then_unlink(from_dir: impl AsFd, from: &[u8], to_dir: impl AsFd, to: &[u8]) -> io::Result<()> {
    match rustix::fs::linkat(&from_dir, from, to_dir, to, AtFlags::empty()) {
        // A directory has no second name.
        Err(Errno::PERM) => Err(Errno::INVAL.into()),
        Err(e) => Err(e.into()),
        Ok(()) => Ok(rustix::fs::unlinkat(from_dir, from, AtFlags::empty())?),
    }
}

/// Removes the name of anything but a directory.
pub fn unlink(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

/// Removes an empty directory.
pub fn remove_dir(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// Writes all of `bytes` at `offset`.
pub fn write_at(fd: impl AsFd, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(&fd, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// What storage wants buffers, offsets and lengths to be multiples of, in bytes: the largest that is in use.
const ALIGN: usize = 4096;
/// What is handed to storage at once, in bytes.
const DIRECT_BYTES: usize = 2 << 20;

/// Writes all of `bytes` from the start of the new file open as `fd`, around the page cache where the file system can: no
/// copy of it is made there, and nothing that others use is pushed out.
pub fn write_around_cache(fd: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let whole = bytes.len() / ALIGN * ALIGN;
    let done = match whole > 0 && set_direct(&fd, true).is_ok() {
        true => {
            let done = write_aligned(&fd, &bytes[..whole]);
            set_direct(&fd, false)?;
            done?
        }
        false => 0,
    };
    write_at(&fd, &bytes[done..], done as u64)
}

/// Writes whole blocks; gives how much was written before the file system said that it can't.
fn write_aligned(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let mut room = Buffer::with_capacity(DIRECT_BYTES + ALIGN);
    room.resize(bytes.len().min(DIRECT_BYTES) + ALIGN, 0);
    let start = room.as_ptr().align_offset(ALIGN);
    let mut done = 0;
    while done < bytes.len() {
        let len = (bytes.len() - done).min(DIRECT_BYTES);
        let block = &mut room[start..start + len];
        block.copy_from_slice(&bytes[done..done + len]);
        match rustix::io::pwrite(&fd, block, done as u64) {
            // A short write leaves the alignment: the rest goes through the cache.
            Ok(n) if n % ALIGN != 0 => return Ok(done + n),
            Ok(0) | Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(done),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(done)
}

fn set_direct(fd: impl AsFd, on: bool) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT })?)
}

/// Sets the length of a file; what is added is a hole.
pub fn set_len(fd: impl AsFd, size: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(fd, size)?)
}

/// Makes a hole, within the file's size; `EOPNOTSUPP` where the file system has none.
pub fn punch_hole(fd: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(fd, how, offset, len)?)
}

/// Returns when the content and metadata of a file, or the names in a directory, are on the disk.
pub fn sync(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(fd)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{dir, stat};

    fn names(at: &OwnedFd) -> Vec<Vec<u8>> {
        let mut listing = dir::Listing::new();
        dir::list(at, &mut Vec::new(), &mut listing).unwrap();
        listing.sort_by_name();
        listing.iter().map(|n| n.name.to_vec()).collect()
    }

    #[test]
    fn nothing_is_replaced_unasked() {
        let tmp = tempfile::tempdir().unwrap();
        let at = dir::open(tmp.path()).unwrap();
        file(&at, b"a").unwrap();
        let exists = |r: io::Result<()>| r.unwrap_err().kind() == io::ErrorKind::AlreadyExists;
        assert!(exists(file(&at, b"a").map(drop)));
        assert!(exists(directory(&at, b"a")));
        assert!(exists(symlink(&at, b"a", b"x")));
        assert!(exists(special(&at, b"a", Kind::Fifo, 0)));
        file(&at, b"b").unwrap();
        assert!(exists(hard_link(&at, b"b", &at, b"a")));
        assert!(exists(rename(&at, b"b", &at, b"a", Taken::Refuse)));
        assert!(exists(link_then_unlink(&at, b"b", &at, b"a")));
        assert_eq!(names(&at), [b"a", b"b"]);
        assert!(special(&at, b"c", Kind::File, 0).is_err());
    }

    #[test]
    fn renames_refuse_replace_and_exchange() {
        let tmp = tempfile::tempdir().unwrap();
        let at = dir::open(tmp.path()).unwrap();
        let ino = |name: &[u8]| stat::at(&at, name).unwrap().place.ino;
        file(&at, b"a").unwrap();
        directory(&at, b"d").unwrap();
        let (a, d) = (ino(b"a"), ino(b"d"));
        rename(&at, b"a", &at, b"d", Taken::Exchange).unwrap();
        assert_eq!((ino(b"a"), ino(b"d")), (d, a));
        rename(&at, b"d", &at, b"e", Taken::Refuse).unwrap();
        link_then_unlink(at.as_fd(), b"e", &at, b"f").unwrap();
        assert!(link_then_unlink(at.as_fd(), b"a", &at, b"g").is_err());
        file(&at, b"h").unwrap();
        rename(&at, b"f", &at, b"h", Taken::Replace).unwrap();
        assert_eq!(names(&at), [b"a", b"h"]);
        assert_eq!(ino(b"h"), a);
        unlink(&at, b"h").unwrap();
        remove_dir(&at, b"a").unwrap();
        assert_eq!(names(&at), [[0_u8; 0]; 0]);
    }

    #[test]
    fn what_goes_around_the_cache_arrives_whole() {
        let bytes: Vec<u8> = (0..5_000_123_u32).map(|n| (n ^ (n >> 7)) as u8).collect();
        let mut places = vec![tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap()];
        places.extend(tempfile::tempdir_in("/var/tmp"));
        for tmp in places {
            let at = dir::open(tmp.path()).unwrap();
            for len in [0, 1, 4095, 4096, 4097, 2 << 20, (2 << 20) + 1, bytes.len()] {
                let name = len.to_string();
                let fd = file(&at, name.as_bytes()).unwrap();
                write_around_cache(&fd, &bytes[..len]).unwrap();
                assert!(std::fs::read(tmp.path().join(&name)).unwrap() == bytes[..len], "{len} bytes in {tmp:?}");
                // It is an ordinary file again.
                write_at(&fd, b"odd", 1).unwrap();
            }
        }
    }

    #[test]
    fn temporary_names_are_free_and_recognisable() {
        let tmp = tempfile::tempdir().unwrap();
        let at = dir::open(tmp.path()).unwrap();
        let mut tries = 0;
        let (name, _) = with_temp_name(|name| {
            tries += 1;
            if tries < 3 { Err(Errno::EXIST.into()) } else { file(&at, name) }
        })
        .unwrap();
        assert!(is_temp_name(&name) && names(&at) == [name]);
        assert!(with_temp_name(|_| -> io::Result<()> { Err(Errno::EXIST.into()) }).is_err());
    }

    #[test]
    fn names_that_are_long_or_no_text() {
        let tmp = tempfile::tempdir().unwrap();
        let at = dir::open(tmp.path()).unwrap();
        let long = [b'n'; 255];
        for name in [&long[..], b"\xff\x80", b"a\nb", b" ", b"-rf"] {
            file(&at, name).unwrap();
            assert_eq!(stat::at(&at, name).unwrap().size, 0);
        }
        assert_eq!(file(&at, &[b'n'; 256]).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
        assert!(file(&at, b"nul\0inside").is_err());
        assert_eq!(names(&at).len(), 5);
    }
}
