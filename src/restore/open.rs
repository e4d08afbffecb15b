//! Open directories of the target, by their number in the plan.

use crate::restore::{
    aside::Aside,
    plan::{Plan, PlannedFile},
    report::Why,
};
use crate::sys::{dir, flags, make, stat};
use rustix::fd::OwnedFd;
use std::{collections::HashMap, io};

/// How many directories a thread keeps open.
const OPEN_MAX: usize = 128;

/// Directories of the target, opened when they are needed, never through a symbolic link.
pub(super) struct Dirs<'a> {
    base: &'a OwnedFd,
    plan: &'a Plan,
    open: HashMap<usize, OwnedFd>,
}

impl<'a> Dirs<'a> {
    pub(super) fn new(base: &'a OwnedFd, plan: &'a Plan) -> Dirs<'a> {
        Dirs { base, plan, open: HashMap::new() }
    }

    /// The directory with this number.
    pub(super) fn get(&mut self, dir: usize) -> io::Result<&OwnedFd> {
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(&dir) {
            self.open.clear();
        }
        Ok(match self.open.entry(dir) {
            std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::hash_map::Entry::Vacant(e) => {
                e.insert(dir::open_beneath(self.base, &self.plan.dir_path(dir))?)
            }
        })
    }
}

/// Where things are put.
pub(super) struct Places<'a> {
    pub(super) base: &'a OwnedFd,
    pub(super) plan: &'a Plan,
    /// Keeps what is replaced.
    pub(super) aside: Option<&'a Aside>,
}

impl Places<'_> {
    /// Puts what was made under a temporary name in its place, if nothing stands there or only what the plan knew of.
    pub(super) fn put(&self, dir: &OwnedFd, temp: &[u8], file: &PlannedFile) -> Result<(), Why> {
        let name = file.name.as_slice();
        // Where nothing stood, nothing may stand now either.
        let taken = if file.was.is_some() { make::Taken::Replace } else { make::Taken::Refuse };
        let keep = || match (self.aside, file.was) {
            (Some(aside), Some(_)) => aside.before_replaced(self.base, self.plan, file.dir, dir, name),
            _ => Ok(()),
        };
        let put = || match make::rename(dir, temp, dir, name, taken) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(changed()),
            other => other,
        };
        let all = || keep().and_then(|()| put());
        let result = match as_planned(dir, file).and_then(|()| all()) {
            // What stands there, or the directory, may be immutable or append-only.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                if unprotect(dir, name).unwrap_or(false) {
                    all()
                } else {
                    Err(e)
                }
            }
            other => other,
        };
        result.map_err(|e| {
            // The error to report is the first one; a temporary file left behind is known by its name.
            let _ = make::unlink(dir, temp);
            Why::io("put it in place")(e)
        })
    }
}

/// Fails where what the plan would replace was changed after it.
fn as_planned(dir: &OwnedFd, file: &PlannedFile) -> io::Result<()> {
    let Some(was) = file.was else { return Ok(()) };
    match stat::at(dir, &file.name) {
        Ok(now) if was == (now.place, now.size, now.mtime) => Ok(()),
        Ok(_) => Err(changed()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn changed() -> io::Error {
    io::Error::other("what stands there was made or changed meanwhile, and left as it is")
}

/// Clears what keeps a file or directory, or its directory, from being changed. Whether anything did.
pub(super) fn unprotect(dir: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    let own = match crate::sys::read::open(dir, name) {
        Ok(fd) if is_file_or_dir(&fd)? => flags::unprotect(fd)?,
        _ => false,
    };
    Ok(flags::unprotect(dir)? || own)
}

fn is_file_or_dir(fd: &OwnedFd) -> io::Result<bool> {
    use crate::types::attr::Kind;
    Ok(matches!(crate::sys::stat::of(fd)?.kind(), Some(Kind::File | Kind::Dir)))
}
