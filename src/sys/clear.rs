//! Removing a directory of our own with all that is in it.

use crate::sys::{
    dir::{self, Listing},
    flags, make, stat,
};
use crate::types::{attr::Kind, path};
use rustix::fd::{AsFd, OwnedFd};
use std::io;

/// Removes what is called `name` in `dir`, whatever it is, never following a link and never crossing a mount. Whether it was there.
pub fn remove(dir: impl AsFd, name: &[u8]) -> io::Result<bool> {
    let now = match stat::at(&dir, name) {
        Ok(now) => now,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    if now.kind() != Some(Kind::Dir) {
        return loosened(dir.as_fd(), name, || make::unlink(&dir, name)).map(|()| true);
    }
    let root = dir::open_at(&dir, name)?;
    // Each directory before those in it; they are removed in the opposite order.
    let mut found = vec![Vec::new()];
    let mut next = 0;
    while next < found.len() {
        let below = contents(&root, &found[next], now.place.dev)?;
        found.extend(below);
        next += 1;
    }
    for path in found.iter().skip(1).rev() {
        let (parent, name) = dir::open_parent_beneath(&root, path).map_err(named(path))?;
        loosened(parent.as_fd(), name, || make::remove_dir(&parent, name)).map_err(named(path))?;
    }
    loosened(dir.as_fd(), name, || make::remove_dir(&dir, name))?;
    Ok(true)
}

/// Removes what an interrupted restore has left unfinished below `dir`: names that it makes for a while only. A file that has
/// such a name of its own is restored again.
pub fn unfinished(dir: &OwnedFd) -> io::Result<()> {
    let mut pending = vec![Vec::new()];
    while let Some(at) = pending.pop() {
        let fd = dir::open_beneath(dir, &at)?;
        let (mut listing, mut buf) = (Listing::new(), Vec::new());
        dir::list(&fd, &mut buf, &mut listing)?;
        for entry in listing.iter() {
            match stat::at(&fd, entry.name)?.kind() {
                Some(Kind::Dir) => pending.push(path::join(&at, entry.name)),
                _ if make::is_temp_name(entry.name) => {
                    loosened(fd.as_fd(), entry.name, || make::unlink(&fd, entry.name))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Removes what is no directory, and gives the directories.
fn contents(root: &OwnedFd, at: &[u8], dev: u64) -> io::Result<Vec<Vec<u8>>> {
    let fd = dir::open_beneath(root, at).map_err(named(at))?;
    let (mut listing, mut buf) = (Listing::new(), Vec::new());
    dir::list(&fd, &mut buf, &mut listing).map_err(named(at))?;
    let mut dirs = Vec::new();
    for entry in listing.iter() {
        let whole = path::join(at, entry.name);
        let now = stat::at(&fd, entry.name).map_err(named(&whole))?;
        if now.is_mount_root || now.place.dev != dev {
            return Err(named(&whole)(io::Error::other("something is mounted there: unmount that first")));
        }
        match now.kind() {
            Some(Kind::Dir) => dirs.push(whole),
            _ => loosened(fd.as_fd(), entry.name, || make::unlink(&fd, entry.name)).map_err(named(&whole))?,
        }
    }
    Ok(dirs)
}

/// Says of what below the directory it was an error.
fn named(below: &[u8]) -> impl FnOnce(io::Error) -> io::Error {
    move |e| match below.is_empty() {
        true => e,
        false => io::Error::new(e.kind(), format!("{} in it: {e}", path::show(below))),
    }
}

/// Does it again without the flags that keep a node, or its directory, from being changed.
pub fn loosened(dir: rustix::fd::BorrowedFd<'_>, name: &[u8], act: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match act() {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let is_plain = stat::at(dir, name).is_ok_and(|now| matches!(now.kind(), Some(Kind::File | Kind::Dir)));
            let own = if is_plain { flags::unprotect(crate::sys::read::open(dir, name)?)? } else { false };
            if flags::unprotect(dir)? || own { act() } else { Err(e) }
        }
        other => other,
    }
}
