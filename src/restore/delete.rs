//! What is removed: listed with care, and never more than what can be seen now.

use crate::index::error::IndexError;
use crate::restore::{
    held::Held,
    plan::{Removal, Spared},
    report::{Problem, Why},
};
use crate::sys::{
    dir::{self, Listing},
    stat,
};
use crate::types::{
    attr::{Kind, Place},
    path,
};
use rustix::fd::OwnedFd;
use std::{collections::HashSet, io};

/// What is never removed.
pub(super) struct Guard<'a> {
    /// Directories, wherever a path leads to them.
    pub(super) places: HashSet<Place>,
    /// What capture leaves out.
    pub(super) spared: Spared<'a>,
    /// What a snapshot holds; anything else stays.
    pub(super) held: Held<'a>,
}

/// Lists removals below one base.
pub(super) struct Remover<'a> {
    pub(super) base: &'a OwnedFd,
    /// The base from the root.
    pub(super) root: &'a [u8],
    pub(super) guard: &'a Guard<'a>,
}

/// A directory met on the way down.
struct Met {
    path: Vec<u8>,
    place: Place,
    parent: Option<usize>,
    /// Something in it stays, and so it does.
    stays: bool,
    files: Vec<Removal>,
}

impl Remover<'_> {
    /// Lists the removal of the entry at `path` below the base and of everything in it. False where something of it stays.
    pub(super) fn remove(
        &self,
        path: &[u8],
        out: &mut Vec<Removal>,
        problems: &mut Vec<Problem>,
    ) -> Result<bool, IndexError> {
        let mut met: Vec<Met> = Vec::new();
        let mut files = Vec::new();
        let mut stays = self.entry(path, None, &mut met, &mut files, problems)?;
        out.append(&mut files);
        let mut next = 0;
        while next < met.len() {
            self.list(next, &mut met, problems)?;
            next += 1;
        }
        // Those met later lie deeper: contents come before their directory.
        for n in (0..met.len()).rev() {
            let dir = &mut met[n];
            out.append(&mut dir.files);
            if !dir.stays {
                out.push(Removal {
                    path: std::mem::take(&mut dir.path),
                    is_dir: true,
                    place: dir.place,
                    content: None,
                });
            } else if let Some(parent) = dir.parent {
                met[parent].stays = true;
            } else {
                stays = true;
            }
        }
        Ok(!stays)
    }

    /// Takes in one entry; true where it stays.
    fn entry(
        &self,
        path: &[u8],
        parent: Option<usize>,
        met: &mut Vec<Met>,
        files: &mut Vec<Removal>,
        problems: &mut Vec<Problem>,
    ) -> Result<bool, IndexError> {
        let seen = dir::open_parent_beneath(self.base, path)
            .and_then(|(fd, name)| stat::at(&fd, name).map(|now| (fd, name, now)));
        let (fd, name, now) = match seen {
            Ok(seen) => seen,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => {
                problems.push(Problem { path: self.absolute(path), why: Why::Io { doing: "look at it", source } });
                return Ok(true);
            }
        };
        let is_dir = now.kind() == Some(Kind::Dir);
        let stays = now.is_mount_root
            || now.kind() == Some(Kind::Socket)
            || self.guard.places.contains(&now.place)
            || (self.guard.spared)(&self.absolute(path), is_dir);
        if stays {
            return Ok(true);
        }
        if !self.guard.held.holds(&self.absolute(path), &fd, name, &now)? {
            problems.push(Problem { path: self.absolute(path), why: Why::NotHeld });
            return Ok(true);
        }
        match is_dir {
            true => met.push(Met { path: path.to_vec(), place: now.place, parent, stays: false, files: Vec::new() }),
            false => files.push(Removal {
                path: path.to_vec(),
                is_dir: false,
                place: now.place,
                content: Some((now.size, now.mtime)),
            }),
        }
        Ok(false)
    }

    fn list(&self, n: usize, met: &mut Vec<Met>, problems: &mut Vec<Problem>) -> Result<(), IndexError> {
        let (mut listing, mut buf) = (Listing::new(), Vec::new());
        let path = met[n].path.clone();
        let listed = dir::open_beneath(self.base, &path).and_then(|fd| dir::list(&fd, &mut buf, &mut listing));
        if let Err(source) = listed {
            problems.push(Problem { path: self.absolute(&path), why: Why::Io { doing: "list it", source } });
            met[n].stays = true;
            return Ok(());
        }
        let mut files = Vec::new();
        let mut stays = false;
        for entry in listing.iter() {
            stays |= self.entry(&path::join(&path, entry.name), Some(n), met, &mut files, problems)?;
        }
        met[n].files = files;
        met[n].stays = stays;
        Ok(())
    }

    fn absolute(&self, path: &[u8]) -> Vec<u8> {
        path::join(self.root, path)
    }
}
