//! What could be brought back: what the newest snapshots hold just as it stands on the disk.

use crate::capture::{
    compare::{Verdict, compare},
    database,
};
use crate::index::{error::IndexError, tree::Reader};
use crate::restore::plan::{Newest, Plan};
use crate::sys::{
    dir, read,
    stat::{self, Stat},
};
use crate::types::{
    attr::Kind,
    ids::{Node, Snap, SourceNum},
    path,
};
use crate::view::instant::Object;
use rustix::fd::OwnedFd;
use std::{cell::RefCell, io};

/// Whether all that `plan` replaces and removes is in a snapshot of `newest` as it stands now.
///
/// Costs what is replaced and removed, whatever the size of the tree. What can't be looked at is not held.
pub fn holds_all(index: &Reader, plan: &Plan, newest: &Newest<'_>) -> Result<bool, IndexError> {
    let Ok(base) = plan.open_base() else { return Ok(false) };
    let held = Held::new(index, Some(newest));
    let holds = |below: &[u8]| -> Result<bool, IndexError> {
        let looked =
            dir::open_parent_beneath(&base, below).and_then(|(fd, name)| Ok((stat::at(&fd, name)?, fd, name.to_vec())));
        match looked {
            Ok((now, fd, name)) => held.holds(&plan.from_root(below), &fd, &name, &now),
            Err(e) => Ok(e.kind() == io::ErrorKind::NotFound),
        }
    };
    for path in plan.replaced() {
        if !holds(&path)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A directory of the newest view; `None` where nothing there is one.
type Dir = Option<(SourceNum, Node, Snap)>;

/// Tells what the newest snapshots hold.
pub(super) struct Held<'a> {
    index: &'a Reader,
    newest: Option<&'a Newest<'a>>,
    /// The directory that was asked for last: whoever walks asks for all in one.
    last: RefCell<Option<(Vec<u8>, Dir)>>,
}

impl<'a> Held<'a> {
    pub(super) fn new(index: &'a Reader, newest: Option<&'a Newest<'a>>) -> Held<'a> {
        Held { index, newest, last: RefCell::new(None) }
    }

    /// Whether what stands at the absolute `path`, the entry `name` of `dir`, is in a snapshot as it is now. Of a directory
    /// only that it is there is asked; what is in it is asked for by itself.
    pub(super) fn holds(&self, path: &[u8], dir: &OwnedFd, name: &[u8], now: &Stat) -> Result<bool, IndexError> {
        let Some(newest) = self.newest else { return Ok(true) };
        if (newest.upcoming)(path) {
            return Ok(now.kind() != Some(Kind::File) || read::open(dir, name).is_ok());
        }
        let above = &path[..path.iter().rposition(|b| *b == b'/').unwrap_or(0)];
        let row = match self.dir(newest, above)? {
            Some((source, node, snap)) => self.index.child(source, node, name, snap)?,
            // The root of a source, below directories that no source has.
            None => match newest.view.look_up(self.index, path)? {
                Some(Object::Node(_, row)) => Some(*row),
                Some(Object::Above) | None => None,
            },
        };
        Ok(row.is_some_and(|row| match now.kind() {
            Some(Kind::Dir) => row.attr.kind() == Kind::Dir,
            // A commit may be in the `-wal` of a database only. What never held still has not been seen.
            _ => compare(&row, &database::seen_as(dir, name, *now, &row), false) == Verdict::Unchanged,
        }))
    }

    fn dir(&self, newest: &Newest<'_>, absolute: &[u8]) -> Result<Dir, IndexError> {
        if let Some((path, dir)) = &*self.last.borrow()
            && path == absolute
        {
            return Ok(*dir);
        }
        let root = path::join(b"/", absolute);
        let found = match newest.view.look_up(self.index, &root)? {
            Some(Object::Node(part, row)) if row.node.is_dir() => {
                Some((row.source, row.node, newest.view.parts[part].snapshot.number))
            }
            _ => None,
        };
        *self.last.borrow_mut() = Some((absolute.to_vec(), found));
        Ok(found)
    }
}
