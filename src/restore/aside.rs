//! What a restore replaces and removes, kept aside: beside what is restored, on the same file system, under the paths it had.

use crate::restore::plan::{DirAction, Plan};
use crate::sys::{apply, dir, make, stat};
use crate::types::{
    attr::Kind,
    path::{self, ASIDE_PREFIX},
};
use rustix::fd::OwnedFd;
use std::{
    collections::{BTreeSet, HashSet},
    io,
    sync::{Mutex, PoisonError},
};

/// Keeps aside what one restore replaces and removes. May be used by several threads.
pub struct Aside {
    id: String,
    /// The name of its directories.
    name: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Directories that were made, below the base.
    made: HashSet<Vec<u8>>,
    /// The directories of [`ASIDE_PREFIX`], from the root.
    used: BTreeSet<Vec<u8>>,
}

impl Aside {
    /// For the restore of this id, which is part of a name.
    pub fn new(id: &str) -> Aside {
        Aside {
            id: id.to_owned(),
            name: format!("{ASIDE_PREFIX}{id}").into_bytes(),
            state: Mutex::new(State::default()),
        }
    }

    /// What the restore is called.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directories in which something may be kept for this plan, from the root.
    pub fn places(&self, plan: &Plan) -> Vec<Vec<u8>> {
        plan.anchors.iter().map(|at| plan.from_root(&path::join(at, &self.name))).collect()
    }

    /// The directories in which something was kept, from the root.
    pub fn used(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used.iter().cloned().collect()
    }

    /// Keeps what is called `name` in the directory `at` of the plan, open as `dir`, and is about to be replaced. It stays where
    /// it is, where it can have a second name; a directory does not.
    pub(super) fn before_replaced(
        &self,
        base: &OwnedFd,
        plan: &Plan,
        at: usize,
        dir: &OwnedFd,
        name: &[u8],
    ) -> io::Result<()> {
        match stat::at(dir, name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
            Ok(now) if now.kind() == Some(Kind::Dir) => return Ok(()),
            Ok(_) => {}
        }
        let to = self.open_for(base, plan, at)?;
        match make::hard_link(dir, name, &to, name) {
            // From the try before this one.
            Err(e)
                if e.kind() == io::ErrorKind::AlreadyExists
                    && stat::at(&to, name)?.place == stat::at(dir, name)?.place =>
            {
                Ok(())
            }
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP | libc::EMLINK)) => {
                make::rename(dir, name, &to, name, make::Taken::Refuse)
            }
            other => other,
        }
    }

    /// Moves what is called `name` in the directory `below` (below the base), open as `dir`, out of the way. Of a directory, which is
    /// empty by then, the attributes are kept.
    pub(super) fn instead_of_removing(
        &self,
        (base, plan): (&OwnedFd, &Plan),
        below: &[u8],
        dir: &OwnedFd,
        name: &[u8],
        is_dir: bool,
    ) -> io::Result<()> {
        let to = self.open_below(base, plan, below)?;
        if !is_dir {
            return make::rename(dir, name, &to, name, make::Taken::Refuse);
        }
        match make::directory(&to, name) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let (now, kept) = (stat::at(dir, name)?, dir::open_at(&to, name)?);
        make::remove_dir(dir, name)?;
        // The directory is kept for what is in it; attributes that can't be given to it are no loss to that.
        let _ = apply::to_open(kept, &now.plain_attr());
        Ok(())
    }

    fn open_for(&self, base: &OwnedFd, plan: &Plan, at: usize) -> io::Result<OwnedFd> {
        self.open_below(base, plan, &plan.dir_path(at))
    }

    /// The directory for what lies in `below`, open; made where it is missing.
    fn open_below(&self, base: &OwnedFd, plan: &Plan, below: &[u8]) -> io::Result<OwnedFd> {
        let anchor = anchor(plan, below);
        let rest: Vec<&[u8]> = path::components(below).skip(path::components(&anchor).count()).collect();
        let mut at = path::join(&anchor, &self.name);
        let mut fd = self.open_or_make(base, &anchor, &self.name, &at)?;
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used.insert(plan.from_root(&at));
        for name in rest {
            let parent = at.clone();
            at = path::join(&at, name);
            fd = self.open_or_make(base, &parent, name, &at)?;
        }
        Ok(fd)
    }

    fn open_or_make(&self, base: &OwnedFd, parent: &[u8], name: &[u8], whole: &[u8]) -> io::Result<OwnedFd> {
        let known = self.state.lock().unwrap_or_else(PoisonError::into_inner).made.contains(whole);
        if !known {
            let parent = dir::open_beneath(base, parent)?;
            match make::directory(&parent, name) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            self.state.lock().unwrap_or_else(PoisonError::into_inner).made.insert(whole.to_vec());
        }
        dir::open_beneath(base, whole)
    }
}

/// Where what lies in the directory `below` is kept: in the directory that what is restored lies in, or in the nearest one above on
/// which another file system is mounted.
fn anchor(plan: &Plan, below: &[u8]) -> Vec<u8> {
    let names: Vec<&[u8]> = path::components(below).collect();
    (0..=names.len()).rev().map(|n| names[..n].join(&b'/')).find(|dir| plan.anchors.contains(dir)).unwrap_or_default()
}

/// The anchors of a plan: where the roots of what is restored lie, and where other file systems begin. Below the base.
pub(super) fn anchors(plan: &Plan, parents: &[usize]) -> HashSet<Vec<u8>> {
    let there = |n: &usize| matches!(plan.dirs[*n].action, DirAction::Keep | DirAction::Change);
    let mounted = plan.dirs.iter().enumerate().filter(|(_, d)| d.mounted).map(|(n, _)| n);
    let mut all: HashSet<Vec<u8>> =
        mounted.chain(parents.iter().copied()).filter(there).map(|n| plan.dir_path(n)).collect();
    all.insert(Vec::new());
    all
}
