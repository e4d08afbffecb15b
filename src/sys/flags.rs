//! Inode flags (`chattr`) set again. Which there are: [`meta::SETTABLE_FLAGS`].

use std::io;
use std::os::fd::AsFd;

use rustix::fs::IFlags;
use rustix::io::Errno;

use crate::sys::meta;

/// Flags that are not as they should be.
#[derive(Debug, thiserror::Error)]
#[error("the inode flags ({}) could not be set or cleared: {source}", meta::flag_names(*flags))]
pub struct Left {
    /// Those that differ from what is wanted.
    pub flags: u32,
    /// Why.
    pub source: io::Error,
}

/// Makes the flags that can be set of the file or directory open as `fd` equal to `want`, and leaves those alone that
/// describe the layout. What the file system lacks does not keep the others from being set.
pub fn set(fd: impl AsFd, want: u32) -> Result<(), Left> {
    let differs = |now: u32| (now ^ want) & meta::KEPT_FLAGS;
    let now = match meta::raw_flags(&fd) {
        Ok(now) if differs(now) == 0 => return Ok(()),
        Ok(now) => now,
        Err(source) => return Err(Left { flags: want, source }),
    };
    let target = (now & !meta::SETTABLE_FLAGS) | (want & meta::SETTABLE_FLAGS);
    let why = match change(&fd, target) {
        Ok(()) => None,
        Err(_) => one_by_one(&fd, now, target),
    };
    match meta::raw_flags(&fd) {
        Ok(now) if differs(now) == 0 => Ok(()),
        // Some are accepted and have no effect: casefold of a directory with names, nocow of a file with content.
        Ok(now) => Err(Left { flags: differs(now), source: why.unwrap_or(Errno::OPNOTSUPP).into() }),
        Err(source) => Err(Left { flags: want, source }),
    }
}

fn change(fd: impl AsFd, flags: u32) -> Result<(), Errno> {
    rustix::fs::ioctl_setflags(fd, IFlags::from_bits_retain(flags))
}

/// One flag that the file system lacks refuses them all together, so each is tried alone. The last error.
fn one_by_one(fd: impl AsFd, mut now: u32, target: u32) -> Option<Errno> {
    let mut why = None;
    let differ = now ^ target;
    let bits = (0..32).map(|n| 1_u32 << n).filter(|bit| differ & bit != 0);
    // Append and immutable come last: they could forbid the others.
    let (last, first): (Vec<u32>, Vec<u32>) = bits.partition(|bit| meta::PROTECTING_FLAGS & bit != 0);
    for bit in first.into_iter().chain(last) {
        match change(&fd, now ^ bit) {
            Ok(()) => now ^= bit,
            Err(e) => why = Some(e),
        }
    }
    why
}

/// Sets those flags of `want` that only take hold in an empty file (nocow, compression, data journaling). To be called
/// right after the file was created. What fails here is not lost: [`set`] at the end compares again and names it.
pub fn set_early(fd: impl AsFd, want: u32) {
    let early = want & meta::EARLY_FLAGS;
    if early != 0 {
        let _ = set(fd, early);
    }
}

/// Whether neither append nor immutable is known to be set.
pub fn are_clear(fd: impl AsFd) -> bool {
    meta::raw_flags(&fd).is_ok_and(|now| now & meta::PROTECTING_FLAGS == 0)
}

/// Clears append and immutable, so that the node can be changed. Whether one was set.
pub fn unprotect(fd: impl AsFd) -> io::Result<bool> {
    let now = meta::raw_flags(&fd)?;
    let protected = now & meta::PROTECTING_FLAGS != 0;
    if protected {
        change(&fd, now & !meta::PROTECTING_FLAGS)?;
    }
    Ok(protected)
}
