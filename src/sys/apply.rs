//! The attributes of a version put on a node that was restored. What can't be put on is named, never left out silently.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use crate::sys::{flags, meta, read, stat};
use crate::types::attr::{Attr, Kind, Xattrs};
use crate::types::path::show;
use crate::types::time::Time;

/// Attributes that the machine restored to gives every file by its own policy: not removed where the version has none.
const HOST_LABELS: [&[u8]; 5] =
    [b"security.selinux", b"security.SMACK64", b"security.apparmor", b"security.ima", b"security.evm"];

/// Whether an extended attribute is given by the policy of the machine, and left alone where a version has none.
pub fn is_host_label(name: &[u8]) -> bool {
    HOST_LABELS.contains(&name)
}

const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;

/// One attribute that the node does not have as the version states it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The owner or the group.
    #[error("the owner could not be set to {uid}:{gid}: {source}; restore as root to keep owners")]
    Owner {
        /// Wanted.
        uid: u32,
        /// Wanted.
        gid: u32,
        /// Why not.
        source: io::Error,
    },
    /// Bits that would have given a wrong owner's or group's rights to whoever runs the file.
    #[error("set-user-id or set-group-id was left out of mode {mode:04o}, since the owner could not be set")]
    SetId {
        /// Wanted.
        mode: u32,
    },
    /// The mode.
    #[error("the mode could not be set to {mode:04o}: {source}")]
    Mode {
        /// Wanted.
        mode: u32,
        /// Why not.
        source: io::Error,
    },
    /// The kernel accepted the mode and set another.
    #[error("the mode is {got:04o} instead of {mode:04o}: the file system or a missing privilege changed it")]
    ModeDiffers {
        /// Wanted.
        mode: u32,
        /// What it is.
        got: u32,
    },
    /// The attributes already there could not be read.
    #[error("the extended attributes could not be read, so none were set: {source}")]
    XattrRead {
        /// Why not.
        source: io::Error,
    },
    /// An extended attribute, ACL or capability.
    #[error("the extended attribute {} could not be set: {source}", show(name))]
    Xattr {
        /// Which.
        name: Vec<u8>,
        /// Why not.
        source: io::Error,
    },
    /// An extended attribute that the version does not have.
    #[error("the extended attribute {} could not be removed: {source}", show(name))]
    XattrLeft {
        /// Which.
        name: Vec<u8>,
        /// Why not.
        source: io::Error,
    },
    /// The time of modification.
    #[error("the time of modification could not be set to {}.{:09}: {source}", time.sec, time.nsec)]
    Mtime {
        /// Wanted.
        time: Time,
        /// Why not.
        source: io::Error,
    },
    /// The file system holds no such time: too early, too late, or too precise.
    #[error(
        "the time of modification is {}.{:09} instead of {}.{:09}: the file system can't hold it",
        got.sec, got.nsec, time.sec, time.nsec
    )]
    MtimeDiffers {
        /// Wanted.
        time: Time,
        /// What it is.
        got: Time,
    },
    /// Inode flags.
    #[error("the inode flags ({}) could not be set or cleared: {source}", meta::flag_names(*flags))]
    Flags {
        /// Those that differ from what is wanted.
        flags: u32,
        /// Why.
        source: io::Error,
    },
    /// The attributes could not be read back.
    #[error("what was set could not be read back: {source}")]
    Check {
        /// Why not.
        source: io::Error,
    },
}

/// What became of the attributes of one node.
#[derive(Debug, Default)]
#[must_use = "what could not be set has to be reported"]
pub struct Applied {
    /// What the node lacks; empty if it has all its attributes.
    pub problems: Vec<Problem>,
}

/// Puts `attr` on the file or directory open as `fd` (reading suffices): owner, attributes and ACLs, mode, times, and
/// inode flags last. Attributes that the version does not have are removed. The access time, ctime and birth are not set.
pub fn to_open(fd: impl AsFd, attr: &Attr) -> Applied {
    let mut applied = Applied::default();
    apply(&Target::Open(fd.as_fd()), attr, &mut applied.problems);
    if let Err(left) = flags::set(fd, attr.flags) {
        applied.problems.push(Problem::Flags { flags: left.flags, source: left.source });
    }
    applied
}

/// Puts `attr` on the node called `name` in `dir`: a link, device, fifo or socket; a file or directory is opened. `EBADMSG`
/// if it is not of the kind that `attr` states: then nothing was touched.
pub fn to_name(dir: impl AsFd, name: &[u8], attr: &Attr) -> io::Result<Applied> {
    let opened = match attr.kind() {
        Kind::File | Kind::Dir => read::open(dir, name)?,
        _ => rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?,
    };
    if stat::of(&opened)?.kind() != Some(attr.kind()) {
        return Err(Errno::BADMSG.into());
    }
    if matches!(attr.kind(), Kind::File | Kind::Dir) {
        return Ok(to_open(opened, attr));
    }
    let mut applied = Applied::default();
    let path = meta::proc_path(opened.as_fd());
    apply(&Target::Path(opened.as_fd(), &path), attr, &mut applied.problems);
    if attr.flags != 0 {
        // Only files and directories can be asked for flags, so only a foreign record has them here.
        applied.problems.push(Problem::Flags { flags: attr.flags, source: Errno::NOTTY.into() });
    }
    Ok(applied)
}

/// Gives the owner of the directory called `name` in `dir` all rights to it, and leaves the rest of its mode. For its owner, who
/// may have taken them from himself; a symbolic link is `ENOTDIR`.
pub fn grant_owner(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let mode = stat::of(&fd)?.mode & 0o7777 | 0o700;
    Ok(rustix::fs::chmod(meta::proc_path(fd.as_fd()).as_slice(), Mode::from_raw_mode(mode))?)
}

/// A node open for reading, or behind an `O_PATH` descriptor and its name in `/proc`.
enum Target<'a> {
    Open(BorrowedFd<'a>),
    Path(BorrowedFd<'a>, &'a [u8]),
}

impl Target<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Target::Open(fd) | Target::Path(fd, _) => *fd,
        }
    }

    fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        // All ones means "leave it" to the kernel, and can be no owner.
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        rustix::fs::chownat(self.fd(), c"", uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::EMPTY_PATH)
    }

    fn chmod(&self, mode: u32) -> Result<(), Errno> {
        match self {
            Target::Open(fd) => rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)),
            Target::Path(_, path) => rustix::fs::chmod(*path, Mode::from_raw_mode(mode)),
        }
    }

    fn set_mtime(&self, time: Time) -> Result<(), Errno> {
        // Larger values have a meaning of their own to the kernel ("now").
        if time.nsec > 999_999_999 {
            return Err(Errno::INVAL);
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: time.sec, tv_nsec: i64::from(time.nsec) },
        };
        match self {
            Target::Open(fd) => rustix::fs::futimens(fd, &times),
            Target::Path(fd, _) => rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH),
        }
    }

    fn xattrs(&self) -> io::Result<Xattrs> {
        match self {
            Target::Open(fd) => meta::xattrs(fd),
            Target::Path(fd, _) => meta::xattrs_of_path(fd),
        }
    }

    fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Target::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Target::Path(_, path) => rustix::fs::setxattr(*path, name, value, XattrFlags::empty()),
        }
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Target::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Target::Path(_, path) => rustix::fs::removexattr(*path, name),
        }
    }
}

/// The order matters: a change of owner clears set-id bits and capabilities; an ACL changes the mode; a time is changed by
/// neither.
fn apply(target: &Target<'_>, attr: &Attr, problems: &mut Vec<Problem>) {
    let allowed = set_owner(target, attr, problems);
    set_xattrs(target, &attr.xattrs, problems);
    let mode = set_mode(target, attr, allowed, problems);
    if let Err(e) = target.set_mtime(attr.mtime) {
        problems.push(Problem::Mtime { time: attr.mtime, source: e.into() });
    }
    check(target, attr, mode, problems);
}

/// Sets owner and group, the group alone where only that is allowed. Gives the set-id bits that are safe to set now.
fn set_owner(target: &Target<'_>, attr: &Attr, problems: &mut Vec<Problem>) -> u32 {
    let Err(e) = target.chown(Some(attr.uid), Some(attr.gid)) else { return SET_ID };
    // A failure shows as a difference right below.
    let _ = target.chown(None, Some(attr.gid));
    let (uid, gid) = match stat::of(target.fd()) {
        Ok(now) => (now.uid == attr.uid, now.gid == attr.gid),
        Err(_) => (false, false),
    };
    if !(uid && gid) {
        problems.push(Problem::Owner { uid: attr.uid, gid: attr.gid, source: e.into() });
    }
    (if uid { libc::S_ISUID } else { 0 }) | (if gid { libc::S_ISGID } else { 0 })
}

fn set_xattrs(target: &Target<'_>, want: &Xattrs, problems: &mut Vec<Problem>) {
    let have = match target.xattrs() {
        Ok(have) => have,
        Err(source) => return problems.push(Problem::XattrRead { source }),
    };
    for (name, _) in &have {
        if want.iter().any(|(n, _)| n == name) || is_host_label(name) {
            continue;
        }
        match target.remove_xattr(name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(e) => problems.push(Problem::XattrLeft { name: name.clone(), source: e.into() }),
        }
    }
    for (name, value) in want {
        if have.iter().any(|(n, v)| n == name && v == value) {
            continue;
        }
        if let Err(e) = target.set_xattr(name, value) {
            problems.push(Problem::Xattr { name: name.clone(), source: e.into() });
        }
    }
}

/// Gives the permission bits that the node should have now; `None` if they could not be set, or a link has none.
fn set_mode(target: &Target<'_>, attr: &Attr, allowed: u32, problems: &mut Vec<Problem>) -> Option<u32> {
    if attr.kind() == Kind::Symlink {
        return None;
    }
    let wanted = attr.mode & 0o7777;
    let mode = wanted & !(SET_ID & !allowed);
    if mode != wanted {
        problems.push(Problem::SetId { mode: wanted });
    }
    match target.chmod(mode) {
        Ok(()) => Some(mode),
        Err(e) => {
            problems.push(Problem::Mode { mode, source: e.into() });
            None
        }
    }
}

/// The kernel changes a mode or a time it can't keep without an error, so both are read back.
fn check(target: &Target<'_>, attr: &Attr, mode: Option<u32>, problems: &mut Vec<Problem>) {
    let now = match stat::of(target.fd()) {
        Ok(now) => now,
        Err(source) => return problems.push(Problem::Check { source }),
    };
    if let Some(mode) = mode.filter(|mode| *mode != now.mode & 0o7777) {
        problems.push(Problem::ModeDiffers { mode, got: now.mode & 0o7777 });
    }
    let failed = problems.iter().any(|p| matches!(p, Problem::Mtime { .. }));
    if now.mtime != attr.mtime && !failed {
        problems.push(Problem::MtimeDiffers { time: attr.mtime, got: now.mtime });
    }
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
