//! Going through all names of a source: those of the newest snapshot, and those that were.

use crate::index::{
    error::IndexError,
    rows::{key, number},
    tree::Reader,
};
use crate::types::ids::{Node, Snap, SourceNum};
use rusqlite::params;
use std::ops::ControlFlow;

impl Reader {
    /// Gives directory, name and node of each entry of the newest snapshot whose name contains `needle`, in the order of nodes; stops
    /// when told to.
    ///
    /// Reads one narrow index and no rows.
    pub fn scan_current<E: From<IndexError>>(
        &self,
        source: SourceNum,
        needle: &[u8],
        mut each: impl FnMut(Node, &[u8], Node) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        const DOING: &str = "go through the names";
        let sql = "SELECT parent, name, node FROM cur INDEXED BY cur_node WHERE node >= ?1 AND node < ?2 AND instr(name, ?3) > 0";
        let mut stmt = self.stmt(sql)?;
        let (first, end) = range(source);
        let mut rows = stmt.query(params![first, end, needle]).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let parent = r.get(0).map_err(IndexError::at(DOING))?;
            let node = r.get(2).map_err(IndexError::at(DOING))?;
            let name = r.get_ref(1).map_err(IndexError::at(DOING))?;
            let name = name.as_blob().map_err(|_| IndexError::Damaged("a name is no bytes"))?;
            if each(Node(number(parent)), name, Node(number(node)))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Gives directory and name of each entry that ended with a snapshot after `after` and whose name contains `needle`, with that
    /// snapshot: by directory, name and then time, so that those of one name follow one another. Stops when told to. Reads one narrow index and no rows.
    pub fn scan_closed<E: From<IndexError>>(
        &self,
        source: SourceNum,
        needle: &[u8],
        after: Snap,
        mut each: impl FnMut(Node, &[u8], Snap) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        const DOING: &str = "go through the names that were";
        let sql = "SELECT parent, name, to_snap FROM old INDEXED BY old_name \
                   WHERE parent >= ?1 AND parent < ?2 AND to_snap > ?3 AND instr(name, ?4) > 0 ORDER BY parent, name, to_snap";
        let mut stmt = self.stmt(sql)?;
        let (first, end) = range(source);
        let mut rows = stmt.query(params![first, end, after.0 as i64, needle]).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let parent = r.get(0).map_err(IndexError::at(DOING))?;
            let to: i64 = r.get(2).map_err(IndexError::at(DOING))?;
            let name = r.get_ref(1).map_err(IndexError::at(DOING))?;
            let name = name.as_blob().map_err(|_| IndexError::Damaged("a name is no bytes"))?;
            if each(Node(number(parent)), name, Snap(to as u64))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The keys of a source: from the first, and below the second.
fn range(source: SourceNum) -> (i64, i64) {
    (key(source, 0), key(SourceNum(source.0 + 1), 0))
}
