//! Finding by name, at an instant or in all of history.

use crate::index::{error::IndexError, paths::Paths, rows::Row, tree::Reader};
use crate::types::{
    ids::{Node, Snap},
    path,
    snapshot::Source,
};
use crate::view::{glob::Pattern, positions::Positions};
use std::ops::ControlFlow;

/// An entry that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its absolute path; of one that is no more, the last it had.
    pub path: Vec<u8>,
    /// The entry.
    pub row: Row,
}

/// Which entries are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Those of this snapshot; `newest` if it is that.
    At {
        /// The snapshot.
        snap: Snap,
        /// Whether it is the newest.
        newest: bool,
    },
    /// Those of any snapshot, each name in a directory once.
    Ever,
    /// Those of an earlier snapshot whose name and node are not in the newest one.
    Deleted {
        /// The newest snapshot.
        newest: Snap,
    },
}

/// Gives the entries of a source that match, in the order in which the index has them; stops when told to.
pub fn find<E: From<IndexError>>(
    index: &Reader,
    source: &Source,
    pattern: &Pattern,
    when: When,
    mut each: impl FnMut(Found) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut search = Search { index, source, pattern, positions: Positions::new(index, source), each: &mut each };
    match when {
        When::At { snap, newest } => {
            if search.current(snap)?.is_continue() && !newest {
                search.closed(snap)?;
            }
        }
        When::Ever => {
            // The newest snapshot has every entry that is open.
            if search.current(Snap(u64::MAX >> 16))?.is_continue() {
                search.gone(|_, _| Ok(true))?;
            }
        }
        When::Deleted { newest } => {
            search.gone(|index, row| Ok(index.place(row.source, row.node, newest)?.is_none())).map(drop)?
        }
    }
    Ok(())
}

struct Search<'a, F> {
    index: &'a Reader,
    source: &'a Source,
    pattern: &'a Pattern,
    positions: Positions<'a>,
    each: &'a mut F,
}

impl<E: From<IndexError>, F: FnMut(Found) -> Result<ControlFlow<()>, E>> Search<'_, F> {
    /// Entries that are open, and were as of `snap`.
    fn current(&mut self, snap: Snap) -> Result<ControlFlow<()>, E> {
        let (index, num, pattern) = (self.index, self.source.num, self.pattern);
        let mut paths = Paths::new(num, snap, &self.source.root);
        let mut flow = ControlFlow::Continue(());
        index.scan_current(num, pattern.needle(), |parent, name, _| -> Result<_, E> {
            if !pattern.name(name) {
                return Ok(ControlFlow::Continue(()));
            }
            let dir = paths.dir(index, parent)?.filter(|dir| pattern.dir(dir));
            let path = dir.map(|dir| path::join(&dir, name)).filter(|p| pattern.path(p));
            let Some(path) = path else { return Ok(ControlFlow::Continue(())) };
            if let Some(row) = index.current(num, parent, name)?.filter(|row| row.from <= snap) {
                flow = (self.each)(Found { path, row })?;
            }
            Ok(flow)
        })?;
        Ok(flow)
    }

    /// Entries that were open as of `snap` and have ended since.
    fn closed(&mut self, snap: Snap) -> Result<(), E> {
        let (index, num, pattern) = (self.index, self.source.num, self.pattern);
        let mut paths = Paths::new(num, snap, &self.source.root);
        let mut last: (Node, Vec<u8>) = (Node(0), Vec::new());
        index.scan_closed(num, pattern.needle(), snap, |parent, name, _| -> Result<_, E> {
            let again = last.0 == parent && last.1 == name;
            if again || !pattern.name(name) {
                return Ok(ControlFlow::Continue(()));
            }
            last = (parent, name.to_vec());
            let Some(row) = index.closed_after(num, parent, name, snap)?.filter(|row| row.from <= snap) else {
                return Ok(ControlFlow::Continue(()));
            };
            match paths.entry(index, parent, name)?.filter(|p| pattern.path(p)) {
                Some(path) => (self.each)(Found { path, row }),
                None => Ok(ControlFlow::Continue(())),
            }
        })
    }

    /// Entries whose name leads nowhere any more, as they were last.
    fn gone(&mut self, wanted: impl Fn(&Reader, &Row) -> Result<bool, IndexError>) -> Result<(), E> {
        let (index, num, pattern) = (self.index, self.source.num, self.pattern);
        let mut last: (Node, Vec<u8>) = (Node(0), Vec::new());
        index.scan_closed(num, pattern.needle(), Snap(0), |parent, name, _| -> Result<_, E> {
            let again = last.0 == parent && last.1 == name;
            if again || !pattern.name(name) {
                return Ok(ControlFlow::Continue(()));
            }
            last = (parent, name.to_vec());
            let Some(row) = index.last_closed(num, parent, name)? else { return Ok(ControlFlow::Continue(())) };
            if index.current(num, parent, name)?.is_some() || !wanted(index, &row)? {
                return Ok(ControlFlow::Continue(()));
            }
            let end = row.to.map_or(row.from, |to| Snap(to.0 - 1));
            let path = self.positions.dir_at(parent, end)?.map(|dir| path::join(&dir, name));
            match path.filter(|p| pattern.path(p)) {
                Some(path) => (self.each)(Found { path, row }),
                None => Ok(ControlFlow::Continue(())),
            }
        })
    }
}
