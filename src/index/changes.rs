//! Which entries a range of snapshots touched.

use crate::index::{
    error::IndexError,
    rows::{Row, key, number},
    tree::Reader,
};
use crate::types::ids::{Node, Snap, SourceNum};
use rusqlite::params;
use std::ops::ControlFlow;

/// An entry that a snapshot opened, closed, or led to another version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// The snapshot.
    pub snap: Snap,
    /// The directory.
    pub parent: Node,
    /// The name in it.
    pub name: Vec<u8>,
}

impl Reader {
    /// Gives each entry that the snapshots `after < s <= upto` touched, once a snapshot, oldest first; stops when told to.
    ///
    /// Costs what was touched, whatever the size of the tree. What the first snapshot of a source touched is everything, and is not
    /// given here.
    pub fn touched<E: From<IndexError>>(
        &self,
        source: SourceNum,
        after: Snap,
        upto: Snap,
        mut each: impl FnMut(Touch) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        const DOING: &str = "list changes";
        let sql = "SELECT snap, parent, name FROM change WHERE snap > ?1 AND snap <= ?2 ORDER BY snap, parent, name";
        let mut stmt = self.stmt(sql)?;
        let mut rows =
            stmt.query(params![key(source, after.0), key(source, upto.0)]).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let read = |r: &rusqlite::Row<'_>| -> rusqlite::Result<Touch> {
                Ok(Touch {
                    snap: Snap(number(r.get(0)?)),
                    parent: Node(number(r.get(1)?)),
                    name: r.get_ref(2)?.as_blob()?.to_vec(),
                })
            };
            if each(read(r).map_err(IndexError::at(DOING))?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What an entry led to as of `snap`, or else the first that it led to after it.
    pub fn child_from(
        &self,
        source: SourceNum,
        parent: Node,
        name: &[u8],
        snap: Snap,
    ) -> Result<Option<Row>, IndexError> {
        match self.closed_after(source, parent, name, snap)? {
            Some(row) => Ok(Some(row)),
            None => self.current(source, parent, name),
        }
    }
}
