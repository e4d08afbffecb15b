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

/// An entry as of two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// What it led to as of the earlier one.
    pub lo: Option<Row>,
    /// What it led to as of the later one.
    pub hi: Option<Row>,
    /// The first snapshot after the earlier one that changed it.
    pub touched: Option<Snap>,
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
        each: impl FnMut(Touch) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let sql = "SELECT snap, parent, name FROM change WHERE snap > ?1 AND snap <= ?2 ORDER BY snap, parent, name";
        self.touches(sql, source, (after, upto), each)
    }

    /// The same, the newest first.
    pub fn touched_back<E: From<IndexError>>(
        &self,
        source: SourceNum,
        after: Snap,
        upto: Snap,
        each: impl FnMut(Touch) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let sql =
            "SELECT snap, parent, name FROM change WHERE snap > ?1 AND snap <= ?2 ORDER BY snap DESC, parent, name";
        self.touches(sql, source, (after, upto), each)
    }

    fn touches<E: From<IndexError>>(
        &self,
        sql: &str,
        source: SourceNum,
        (after, upto): (Snap, Snap),
        mut each: impl FnMut(Touch) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        const DOING: &str = "list changes";
        let mut stmt = self.stmt(sql)?;
        let mut rows = stmt.query(params![key(source, after.0), key(source, upto.0)]).map_err(IndexError::at(DOING))?;
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

    /// What an entry led to as of `lo` and as of `hi`, a later snapshot, and which snapshot touched it first in between.
    pub fn ends(
        &self,
        source: SourceNum,
        parent: Node,
        name: &[u8],
        (lo, hi): (Snap, Snap),
    ) -> Result<Ends, IndexError> {
        let next = self.closed_after(source, parent, name, lo)?;
        let current = self.current(source, parent, name)?;
        let first = next.as_ref().or(current.as_ref());
        let touched = first.and_then(|row| if row.from <= lo { row.to } else { Some(row.from) });
        let at = |row: &Option<Row>, snap| row.as_ref().filter(|row| row.covers(snap)).cloned();
        let mut last = at(&current, hi).or_else(|| at(&next, hi));
        if last.is_none() && next.is_some() {
            last = self.closed_after(source, parent, name, hi)?.filter(|row| row.from <= hi);
        }
        Ok(Ends { lo: at(&next, lo).or_else(|| at(&current, lo)), hi: last, touched })
    }
}
