//! What a file system can hold, found by trying it: in a directory of its own that is gone again at the end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys::{apply, dir, make, stat};
use crate::types::attr::{Attr, Kind, Xattrs};
use crate::types::time::Time;

/// What is to be held.
#[derive(Debug, Default)]
pub struct Wants {
    /// Symbolic links.
    pub symlinks: bool,
    /// Named pipes.
    pub fifos: bool,
    /// The number of a device, if there is one.
    pub device: Option<u64>,
    /// Several names of one file.
    pub links: bool,
    /// The size of the largest file, in bytes.
    pub largest: u64,
    /// User and group of a file that is not this process's own.
    pub owner: Option<(u32, u32)>,
    /// An extended attribute of each kind.
    pub xattrs: Xattrs,
    /// A time of modification with all its digits.
    pub mtime: Option<Time>,
    /// Permissions of a file.
    pub mode: Option<u32>,
    /// Names that not every file system takes.
    pub names: Vec<Vec<u8>>,
}

/// Something that can't be held.
#[derive(Debug)]
pub enum Cannot {
    /// Symbolic links.
    Symlinks(io::Error),
    /// Named pipes.
    Fifos(io::Error),
    /// Devices.
    Devices(io::Error),
    /// Several names of one file.
    Links(io::Error),
    /// A file of the largest size.
    Size(io::Error),
    /// Other owners.
    Owner(io::Error),
    /// This extended attribute, and so most likely all of its kind.
    Xattr(Vec<u8>, io::Error),
    /// The time as it is; what it became.
    Mtime(Time),
    /// The permissions as they are; what they became.
    Mode(u32),
    /// This name.
    Name(Vec<u8>, io::Error),
}

/// What a file system does with names that differ by case only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// They are different names.
    Kept,
    /// They are one name.
    Folded,
}

/// Tries in `parent` all that is wanted. An error means that nothing could be tried there.
pub fn probe(parent: impl AsFd, wants: &Wants) -> io::Result<(Vec<Cannot>, Case)> {
    let (name, ()) = make::with_temp_name(|temp| make::directory(&parent, temp))?;
    let tried = dir::open_at(&parent, &name).and_then(|at| {
        let mut tries = Tries { at: &at, cannot: Vec::new() };
        let case = tries.all(wants);
        Ok((tries.cannot, case?))
    });
    // All that was made in it is gone; what is left behind by a failure is known by its name.
    let removed = make::remove_dir(&parent, &name);
    let tried = tried?;
    removed.map(|()| tried)
}

struct Tries<'a> {
    at: &'a OwnedFd,
    cannot: Vec<Cannot>,
}

impl Tries<'_> {
    fn all(&mut self, wants: &Wants) -> io::Result<Case> {
        let fd = make::file(self.at, b"file")?;
        let case = match stat::at(self.at, b"FILE") {
            Ok(_) => Case::Folded,
            Err(_) => Case::Kept,
        };
        self.nodes(wants);
        for name in &wants.names {
            self.note(name, make::file(self.at, name).map(drop), |e| Cannot::Name(name.clone(), e));
        }
        if wants.largest > 0 {
            self.cannot.extend(make::set_len(&fd, wants.largest).err().map(Cannot::Size));
        }
        self.attributes(&fd, wants)?;
        make::unlink(self.at, b"file")?;
        Ok(case)
    }

    fn nodes(&mut self, wants: &Wants) {
        if wants.symlinks {
            self.note(b"link", make::symlink(self.at, b"link", b"file"), Cannot::Symlinks);
        }
        if wants.fifos {
            self.note(b"fifo", make::special(self.at, b"fifo", Kind::Fifo, 0), Cannot::Fifos);
        }
        if let Some(rdev) = wants.device {
            self.note(b"device", make::special(self.at, b"device", Kind::CharDevice, rdev), Cannot::Devices);
        }
        if wants.links {
            self.note(b"other", make::hard_link(self.at, b"file", self.at, b"other"), Cannot::Links);
        }
    }

    fn note(&mut self, name: &[u8], made: io::Result<()>, cannot: impl FnOnce(io::Error) -> Cannot) {
        let removed = made.and_then(|()| make::unlink(self.at, name));
        self.cannot.extend(removed.err().map(cannot));
    }

    /// By what puts them on everything that is restored, one after the other.
    fn attributes(&mut self, fd: &OwnedFd, wants: &Wants) -> io::Result<()> {
        let now = stat::of(fd)?;
        let plain = Attr { mode: libc::S_IFREG | now.mode & 0o7777, ..now.plain_attr() };
        for xattr in &wants.xattrs {
            self.put(fd, &Attr { xattrs: vec![xattr.clone()], ..plain.clone() });
        }
        self.put(fd, &Attr { mtime: wants.mtime.unwrap_or(plain.mtime), ..plain.clone() });
        self.put(fd, &Attr { mode: libc::S_IFREG | wants.mode.unwrap_or(plain.mode) & 0o777, ..plain.clone() });
        if let Some((uid, gid)) = wants.owner {
            self.put(fd, &Attr { uid, gid, ..plain });
        }
        Ok(())
    }

    fn put(&mut self, fd: &OwnedFd, attr: &Attr) {
        for problem in apply::to_open(fd, attr).problems {
            let cannot = match problem {
                apply::Problem::Owner { source, .. } => Cannot::Owner(source),
                apply::Problem::Xattr { name, source } => Cannot::Xattr(name, source),
                apply::Problem::XattrRead { source } => {
                    let Some((name, _)) = attr.xattrs.first() else { continue };
                    Cannot::Xattr(name.clone(), source)
                }
                apply::Problem::ModeDiffers { got, .. } => Cannot::Mode(got),
                apply::Problem::MtimeDiffers { got, .. } => Cannot::Mtime(got),
                // What fails otherwise is told where it concerns a file.
                _ => continue,
            };
            self.cannot.push(cannot);
        }
    }
}

/// Whether an error of a probe says that this process may not, and not that the file system can't.
pub fn is_a_right(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

/// Whether there are file systems that do not take a name: FAT, exFAT, NTFS and SMB, or those that want UTF-8.
pub fn is_unusual(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_err()
        || name.len() > 200
        || name.iter().any(|b| *b < 32 || b"\\:*?\"<>|".contains(b))
        || name.last().is_some_and(|b| matches!(b, b'.' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_like_any_other_holds_everything_and_keeps_nothing_of_the_trial() {
        let tmp = tempfile::tempdir().unwrap();
        let at = dir::open_root(tmp.path()).unwrap();
        let wants = Wants {
            symlinks: true,
            fifos: true,
            links: true,
            largest: 5 << 30,
            mtime: Some(Time { sec: 1, nsec: 123_456_789 }),
            mode: Some(0o751),
            names: vec![b"a:b".to_vec(), b"\xff".to_vec()],
            ..Wants::default()
        };
        let (cannot, case) = probe(&at, &wants).unwrap();
        assert!(cannot.is_empty(), "{cannot:?}");
        assert_eq!(case, Case::Kept);
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_that_is_too_long_can_not_be_held() {
        let tmp = tempfile::tempdir().unwrap();
        let at = dir::open_root(tmp.path()).unwrap();
        let (cannot, _) = probe(&at, &Wants { names: vec![vec![b'n'; 300]], ..Wants::default() }).unwrap();
        assert!(matches!(&cannot[..], [Cannot::Name(..)]), "{cannot:?}");
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}
