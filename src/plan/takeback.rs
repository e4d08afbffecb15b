//! Taking back what a restore has made: what is as it was made is removed, what was replaced comes back, and all else stays and is named.

use super::ground::{Ground, told};
use super::journal::MadePath;
use super::made::{Made, Make, Part};
use super::places::RunDir;
use super::steps::same::first_difference;
use crate::index::tree::Reader;
use crate::repo::frames::Frames;
use crate::restore::kept;
use crate::sys::{
    clear,
    dir::{self, Listing},
    make, meta, read, space,
    stat::{self, Stat},
};
use crate::types::{
    attr::Kind,
    ids::{SourceNum, Ver},
    path,
};
use rustix::fd::OwnedFd;
use std::fs::File;
use std::io;

/// So many names are told.
const TOLD_MAX: usize = 100;
/// So many bytes of decoded frames are kept.
const FRAMES: usize = 16 << 20;
/// How it begins where something stays that the step did not make, or not as it is.
pub(super) const LEFT: &str = "left: ";

/// Takes back what the restores of a step have made. The error names what stays.
pub(super) fn restores(ground: &Ground<'_>, run: &RunDir, step: &str) -> Result<(), String> {
    let Some(made) = Made::load(run, step)? else { return Ok(()) };
    let index = ground.at.reader().map_err(|e| told(&e))?;
    let frames = Frames::of(ground.at.clone(), FRAMES);
    let mut left = Vec::new();
    for part in made.parts.iter().rev() {
        let mut taking = Taking { part, index: &index, frames: &frames, left: Vec::new() };
        taking.all(ground);
        left.append(&mut taking.left);
    }
    let more = left.len().saturating_sub(TOLD_MAX);
    left.truncate(TOLD_MAX);
    match (left.is_empty(), more) {
        (true, _) => Ok(()),
        (false, 0) => Err(left.join("; ")),
        (false, more) => Err(format!("{}; and {more} more", left.join("; "))),
    }
}

/// Removes what the restores of a step have kept aside: the run has come to a good end.
pub(super) fn keep_nothing(ground: &Ground<'_>, run: &RunDir, step: &str) -> Result<(), String> {
    let Some(made) = Made::load(run, step)? else { return Ok(()) };
    for part in &made.parts {
        let Some(id) = &part.aside else { continue };
        let above = part.base.open()?;
        let base = dir::open_beneath(&above, part.base.rest()).map_err(|e| e.to_string())?;
        for aside in part.aside_dirs() {
            let shown = || path::show(&part.path(&aside));
            match dir::open_parent_beneath(&base, &aside) {
                Ok((parent, name)) if stat::at(&parent, name).is_ok() => {
                    clear::remove(&parent, name).map_err(|e| format!("cannot remove {}: {e}", shown()))?;
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(format!("cannot remove {}: {e}", shown())),
            }
        }
        kept::forget(&ground.config.state, id).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Removes a directory that a step has made whole, with all that is in it, if it is that one still.
pub(super) fn directory(made: &MadePath) -> Result<(), String> {
    let shown = made.path.display();
    let left = |why: String| format!("{LEFT}{shown}, {why}");
    let place =
        made.place.as_ref().ok_or_else(|| left("it was made by an older version: remove it yourself".into()))?;
    let above = place.open().map_err(|why| left(format!("with all that is in it: {why}")))?;
    let found = dir::open_parent_beneath(&above, place.rest()).and_then(|(parent, name)| {
        let now = stat::at(&parent, name)?;
        Ok((parent, name, now))
    });
    match found {
        Ok((.., now)) if made.stands.is_some_and(|place| place != now.place) => {
            Err(left("it is not the directory that the step made".into()))
        }
        Ok((parent, name, _)) => {
            clear::remove(&parent, name).map(drop).map_err(|e| left(format!("it can't be removed: {e}")))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // It was there, and empty: nothing of it was made.
        Err(e) if place.rest().is_empty() => Err(left(format!("it was there before: {e}"))),
        Err(e) => Err(left(format!("the way to it is another now: {e}"))),
    }
}

struct Taking<'a> {
    part: &'a Part,
    index: &'a Reader,
    frames: &'a Frames,
    left: Vec<String>,
}

impl Taking<'_> {
    fn left(&mut self, below: &[u8], why: impl std::fmt::Display) {
        self.left.push(format!("{LEFT}{}, {why}", path::show(&self.part.path(below))));
    }

    fn all(&mut self, ground: &Ground<'_>) {
        let part = self.part;
        let above = match part.base.open() {
            Ok(above) => above,
            Err(why) => return self.left(b"", format_args!("with all that is in it: {why}")),
        };
        let base = match dir::open_beneath(&above, part.base.rest()) {
            Ok(base) => base,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return self.above(&above),
            Err(e) => {
                return self
                    .left(b"", format_args!("with all that is in it: it is not the directory that was made: {e}"));
            }
        };
        for (below, thing) in part.things.iter().rev() {
            match &thing.make {
                Some(make) => self.remove(&base, below, make),
                None if thing.over => {}
                None => self.left(below, "it was there before, and has the attributes that were restored"),
            }
        }
        for (below, _) in part.things.iter().filter(|(_, thing)| thing.over) {
            self.put_back(&base, below);
        }
        let mut empty = true;
        for aside in part.aside_dirs() {
            match pruned(&base, &aside) {
                Ok(true) => {}
                Ok(false) => {
                    empty = false;
                    self.left(&aside, "it keeps what was replaced and could not be put back");
                }
                Err(e) => {
                    empty = false;
                    self.left(&aside, format_args!("it keeps what was replaced: {e}"));
                }
            }
        }
        if let Some(id) = part.aside.as_ref().filter(|_| empty)
            && let Err(e) = kept::forget(&ground.config.state, id)
        {
            tracing::warn!("the note of what {id} kept aside stays: {e}");
        }
        if let Err(e) = space::sync_all(&base) {
            self.left(b"", format_args!("what was removed may not be so on the disk: {e}"));
        }
        drop(base);
        self.above(&above);
    }

    /// Removes one thing, if it is what was made.
    fn remove(&mut self, base: &OwnedFd, below: &[u8], made: &Make) {
        let found = dir::open_parent_beneath(base, below).and_then(|(parent, name)| {
            let now = stat::at(&parent, name)?;
            Ok((parent, name, now))
        });
        let (parent, name, now) = match found {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(e) => return self.left(below, format_args!("the way to it is another now: {e}")),
        };
        if let Err(why) = self.is_as_made(&parent, name, &now, made) {
            return self.left(below, why);
        }
        let removed = match made.kind() {
            Some(Kind::Dir) => self.remove_dir(&parent, name),
            _ => make::unlink(&parent, name),
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => self.inside(&parent, name, below),
            Err(e) if e.kind() != io::ErrorKind::NotFound => self.left(below, format_args!("it can't be removed: {e}")),
            _ => {}
        }
    }

    /// What a killed restore had not finished goes with the directory that it made.
    fn remove_dir(&self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let fd = dir::open_at(parent, name)?;
        for entry in names(&fd)?.into_iter().filter(|entry| self.part.is_unfinished(entry)) {
            make::unlink(&fd, &entry)?;
        }
        make::remove_dir(parent, name)
    }

    /// Names what is in a directory that is not empty, but for what has been named already.
    fn inside(&mut self, parent: &OwnedFd, name: &[u8], below: &[u8]) {
        let names = match dir::open_at(parent, name).and_then(|fd| names(&fd)) {
            Ok(names) => names,
            Err(e) => return self.left(below, format_args!("it is not empty, and can't be listed: {e}")),
        };
        let of_the_step = |at: &Vec<u8>| self.part.things.contains_key(at);
        let all = names.iter().filter(|name| !path::is_beside(name)).map(|name| path::join(below, name));
        let others: Vec<Vec<u8>> = all.filter(|at| !of_the_step(at)).collect();
        for other in others {
            self.left(&other, "the step did not make it");
        }
    }

    /// The error says how it is not what was made.
    fn is_as_made(&self, parent: &OwnedFd, name: &[u8], now: &Stat, made: &Make) -> Result<(), String> {
        if now.kind() != made.kind() || !made.is_place(now) {
            return Err("it is not what the step made, but was put in its place".into());
        }
        if made.kind() == Some(Kind::Dir) || made.is_untouched(now) {
            return Ok(());
        }
        let unknown = |why: String| format!("whether it is as the step made it can't be seen: {why}");
        let changed = || "it is not as the step made it".to_owned();
        let (source, ver) = made.of.map(|(source, ver)| (SourceNum(source), Ver(ver))).ok_or_else(changed)?;
        match made.kind() {
            Some(Kind::File) => {
                if now.size != made.size {
                    return Err(changed());
                }
                let file = File::from(read::open(parent, name).map_err(|e| unknown(e.to_string()))?);
                if stat::of(&file).map_err(|e| unknown(e.to_string()))?.place != now.place {
                    return Err(changed());
                }
                let mut goes_on = |_| true;
                match first_difference((self.index, self.frames), (source, ver), &file, &mut goes_on) {
                    Ok(None) => Ok(()),
                    Ok(Some(_)) => Err(changed()),
                    Err(why) => Err(unknown(why)),
                }
            }
            Some(Kind::Symlink) => {
                let version = self.index.version(source, ver).map_err(|e| unknown(told(&e)))?;
                let version = version.ok_or_else(|| unknown("its version is removed from the repository".into()))?;
                let want = self.index.target(version.content).map_err(|e| unknown(told(&e)))?;
                let is = meta::link_target(parent, name).map_err(|e| unknown(e.to_string()))?;
                if is == want { Ok(()) } else { Err(changed()) }
            }
            _ => Ok(()),
        }
    }

    /// Puts back what stood in a place before.
    fn put_back(&mut self, base: &OwnedFd, below: &[u8]) {
        let Some((aside, from, old)) = self.part.aside_of(below).into_iter().find_map(|aside| {
            let (from, name) = dir::open_parent_beneath(base, &aside).ok()?;
            stat::at(&from, name).ok().map(|now| (aside.clone(), from, now))
        }) else {
            return;
        };
        let (from_name, shown) =
            (path::components(&aside).last().unwrap_or_default(), path::show(&self.part.path(&aside)));
        let put = dir::open_parent_beneath(base, below).and_then(|(to, name)| match stat::at(&to, name) {
            // It had not been replaced yet.
            Ok(now) if now.place == old.place => make::unlink(&from, from_name),
            Ok(_) => Err(io::Error::other("something else stands there")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make::rename(&from, from_name, &to, name, make::Taken::Refuse)
            }
            Err(e) => Err(e),
        });
        if let Err(e) = put {
            self.left(below, format_args!("what stood there before is kept as {shown}, and was not put back: {e}"));
        }
    }

    /// Removes the directories that were made above what was restored, where they are empty.
    fn above(&mut self, above: &OwnedFd) {
        let rest: Vec<&[u8]> = path::components(self.part.base.rest()).collect();
        for n in (0..rest.len()).rev() {
            let parent = match dir::open_beneath(above, &rest[..n].join(&b'/')) {
                Ok(parent) => parent,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return self.left(b"", format_args!("the way to it is another now: {e}")),
            };
            match make::remove_dir(&parent, rest[n]) {
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    if n + 1 == rest.len() {
                        self.inside(&parent, rest[n], b"");
                    }
                    return;
                }
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return self.left(b"", format_args!("a directory above it, or it, can't be removed: {e}"));
                }
                _ => {}
            }
        }
    }
}

fn names(fd: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let (mut listing, mut buffer) = (Listing::new(), Vec::new());
    dir::list(fd, &mut buffer, &mut listing)?;
    listing.sort_by_name();
    Ok(listing.iter().map(|entry| entry.name.to_vec()).collect())
}

/// Removes the empty directories at a path and below it; whether nothing is left there.
fn pruned(base: &OwnedFd, below: &[u8]) -> io::Result<bool> {
    let (parent, name) = match dir::open_parent_beneath(base, below) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    let fd = match dir::open_at(&parent, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => return Ok(false),
        other => other?,
    };
    let mut empty = true;
    for entry in names(&fd)? {
        empty &= pruned(base, &path::join(below, &entry))?;
    }
    if empty {
        make::remove_dir(&parent, name)?;
    }
    Ok(empty)
}
