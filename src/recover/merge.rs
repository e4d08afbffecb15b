//! Putting what was changed in an overlay into the plain directory that takes its place.
//!
//! Files are linked, not moved, so that the upper layer stays whole and this can be done again from the start, as long as nobody
//! writes to the overlay meanwhile.

use crate::sys::{
    apply,
    clear::{self, loosened},
    dir::{self, Listing},
    make::{self, Taken},
    meta, overlay, read,
    stat::{self, Stat},
};
use crate::types::{
    attr::{Attr, Kind},
    path,
};
use rustix::fd::{AsFd, OwnedFd};
use std::io;

/// What was put into the plain directory.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Names that were put in place.
    pub(super) placed: u64,
    /// Names that were removed.
    pub(super) removed: u64,
    /// Attributes that could not be set.
    pub(super) problems: Vec<String>,
}

/// An error with the path below the directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path::show(path))]
pub(super) struct MergeError {
    doing: &'static str,
    path: Vec<u8>,
    source: io::Error,
}

fn failed(doing: &'static str, path: &[u8]) -> impl FnOnce(io::Error) -> MergeError {
    let path = if path.is_empty() { b".".to_vec() } else { path.to_vec() };
    move |source| MergeError { doing, path, source }
}

/// A directory of the upper layer, and the flags that the one in its place had.
struct Visited {
    path: Vec<u8>,
    flags: u32,
}

/// Puts all that `upper` has into `tree`. Nothing may change either of them meanwhile. `aside` is a directory on the same file
/// system for names that are not finished: what an end in the middle leaves there is in nobody's way.
pub(super) fn merge(upper: &OwnedFd, tree: &OwnedFd, aside: &OwnedFd) -> Result<Merged, MergeError> {
    let mut merge =
        Merge { aside, upper, tree, done: Merged::default(), visited: Vec::new(), pending: vec![Vec::new()] };
    while let Some(next) = merge.pending.pop() {
        merge.directory(next)?;
    }
    // Directories after all that is in them: their times have changed with it.
    while let Some(dir) = merge.visited.pop() {
        merge.attributes(&dir)?;
    }
    Ok(merge.done)
}

struct Merge<'a> {
    aside: &'a OwnedFd,
    upper: &'a OwnedFd,
    tree: &'a OwnedFd,
    done: Merged,
    visited: Vec<Visited>,
    pending: Vec<Vec<u8>>,
}

impl Merge<'_> {
    fn directory(&mut self, at: Vec<u8>) -> Result<(), MergeError> {
        let from = dir::open_beneath(self.upper, &at).map_err(failed("open what was changed in", &at))?;
        let to = dir::open_beneath(self.tree, &at).map_err(failed("open the directory", &at))?;
        let flags = meta::flags(&to).map_err(failed("read the flags of", &at))?;
        let (mut listing, mut buf) = (Listing::new(), Vec::new());
        dir::list(&from, &mut buf, &mut listing).map_err(failed("list what was changed in", &at))?;
        self.visited.push(Visited { path: at.clone(), flags });
        for entry in listing.iter() {
            let path = path::join(&at, entry.name);
            let now = stat::at(&from, entry.name).map_err(failed("look at", &path))?;
            match now.kind() {
                Some(Kind::CharDevice) if now.rdev == 0 => {
                    let removed = clear::remove(&to, entry.name).map_err(failed("remove", &path))?;
                    self.done.removed += u64::from(removed);
                }
                Some(Kind::Dir) => {
                    self.enter(&from, &to, entry.name).map_err(failed("make the directory", &path))?;
                    self.pending.push(path);
                }
                _ => self.place(&from, &to, entry.name, &now).map_err(failed("put in place", &path))?,
            }
        }
        Ok(())
    }

    /// Makes the directory where there is none, or another one.
    fn enter(&mut self, from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let is_opaque = overlay::is_opaque(dir::open_at(from, name)?)?;
        let is_there = match stat::at(to, name) {
            Ok(now) => now.kind() == Some(Kind::Dir) && !is_opaque,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        if !is_there {
            clear::remove(to, name)?;
            loosened(to.as_fd(), name, || make::directory(to, name))?;
            self.done.placed += 1;
        }
        Ok(())
    }

    /// Links what is no directory into its place.
    fn place(&mut self, from: &OwnedFd, to: &OwnedFd, name: &[u8], new: &Stat) -> io::Result<()> {
        match stat::at(to, name) {
            Ok(now) if now.place == new.place => return Ok(()),
            Ok(now) if now.kind() == Some(Kind::Dir) => drop(clear::remove(to, name)?),
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let plain = new.kind() == Some(Kind::File);
        let flags = if plain { meta::flags(read::open(from, name)?)? } else { 0 };
        let (temp, ()) = make::with_temp_name(|temp| {
            // A file that must not be changed can't be linked either.
            loosened(from.as_fd(), name, || make::hard_link(from, name, self.aside, temp))
        })?;
        loosened(to.as_fd(), name, || make::rename(self.aside, &temp, to, name, Taken::Replace))?;
        let node = rustix::fs::openat(
            to,
            name,
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        overlay::remove_notes(node.as_fd())?;
        if plain && let Err(left) = crate::sys::flags::set(read::open(to, name)?, flags) {
            return Err(left.source);
        }
        self.done.placed += 1;
        Ok(())
    }

    /// Gives a directory the attributes that the overlay showed.
    fn attributes(&mut self, dir: &Visited) -> Result<(), MergeError> {
        let looked = (|| {
            let from = dir::open_beneath(self.upper, &dir.path)?;
            Ok((stat::of(&from)?, meta::xattrs(&from)?, meta::flags(&from)?, dir::open_beneath(self.tree, &dir.path)?))
        })();
        let (now, mut xattrs, flags, to) = looked.map_err(failed("read the attributes of", &dir.path))?;
        xattrs.retain(|(name, _)| !name.starts_with(overlay::NOTES_PREFIX));
        // Flags are not seen through a view: those that were there stay.
        let flags = (flags | dir.flags) & meta::SETTABLE_FLAGS;
        let attr = Attr { flags, xattrs, ..now.plain_attr() };
        let shown = path::show(if dir.path.is_empty() { b"." } else { &dir.path });
        let applied = apply::to_open(&to, &attr);
        self.done.problems.extend(applied.problems.iter().map(|p| format!("{shown}: {p}")));
        Ok(())
    }
}
