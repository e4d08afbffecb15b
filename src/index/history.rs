//! All that an entry led to, and all the places where a node stood.

use crate::index::{
    error::IndexError,
    open::COLUMNS,
    rows::{Row, key, number},
    tree::{Reader, concat_sql, read_closed},
};
use crate::types::ids::{Node, Snap, SourceNum};
use rusqlite::{OptionalExtension, Row as SqlRow, params};

/// A time in which a node stood at a name. Changes of the node itself do not end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The directory.
    pub parent: Node,
    /// The name in it.
    pub name: Vec<u8>,
    /// The node.
    pub node: Node,
    /// The first snapshot of it.
    pub from: Snap,
    /// The first snapshot after it; `None` while it lasts.
    pub to: Option<Snap>,
}

impl Stay {
    /// Whether the node stood there as of `snap`.
    pub fn covers(&self, snap: Snap) -> bool {
        self.from <= snap && self.to.is_none_or(|to| snap < to)
    }

    fn read(r: &SqlRow<'_>) -> rusqlite::Result<Stay> {
        Ok(Stay {
            parent: Node(number(r.get(0)?)),
            name: r.get_ref(1)?.as_blob()?.to_vec(),
            node: Node(number(r.get(2)?)),
            from: Snap(r.get::<_, i64>(3)? as u64),
            to: r.get::<_, Option<i64>>(4)?.map(|n| Snap(n as u64)),
        })
    }
}

/// The columns of [`Stay::read`].
const STAY_CUR: &str = "SELECT parent, name, node, from_snap, NULL FROM cur";
const STAY_OLD: &str = "SELECT parent, name, node, from_snap, to_snap FROM old";

impl Reader {
    /// Everything that an entry led to, oldest first.
    pub fn entry_history(&self, source: SourceNum, parent: Node, name: &[u8]) -> Result<Vec<Row>, IndexError> {
        let doing = "list the history of a name";
        let sql = concat_sql!(
            "SELECT ",
            ", to_snap FROM old INDEXED BY old_name WHERE parent = ?1 AND name = ?2 ORDER BY to_snap"
        );
        let mut rows: Vec<Row> = self
            .stmt(sql)?
            .query_map(params![key(source, parent.0), name], read_closed)
            .map_err(IndexError::at(doing))?
            .collect::<Result<_, _>>()
            .map_err(IndexError::at(doing))?;
        rows.extend(self.current(source, parent, name)?);
        Ok(rows)
    }

    /// Everything that an entry led to, oldest first, changes of the nodes left out.
    pub fn entry_stays(&self, source: SourceNum, parent: Node, name: &[u8]) -> Result<Vec<Stay>, IndexError> {
        let place = "WHERE parent = ?1 AND name = ?2";
        let sql = format!("{STAY_OLD} {place} UNION ALL {STAY_CUR} {place}");
        let mut stmt = self.stmt(&sql)?;
        let rows = stmt.query_map(params![key(source, parent.0), name], Stay::read);
        stays(rows.map_err(IndexError::at("list the history of a name"))?)
    }

    /// All places where a node stood, by name and then oldest first; several at one time for hard links.
    pub fn node_stays(&self, source: SourceNum, node: Node) -> Result<Vec<Stay>, IndexError> {
        let sql = format!("{STAY_OLD} WHERE node = ?1 UNION ALL {STAY_CUR} WHERE node = ?1");
        let mut stmt = self.stmt(&sql)?;
        let rows = stmt.query_map(params![key(source, node.0)], Stay::read);
        stays(rows.map_err(IndexError::at("list the places of a node"))?)
    }

    /// All names that a directory ever had with what they led to, by name and then oldest first.
    pub fn dir_stays(&self, source: SourceNum, parent: Node) -> Result<Vec<Stay>, IndexError> {
        let sql = format!("{STAY_OLD} WHERE parent = ?1 UNION ALL {STAY_CUR} WHERE parent = ?1");
        let mut stmt = self.stmt(&sql)?;
        let rows = stmt.query_map(params![key(source, parent.0)], Stay::read);
        stays(rows.map_err(IndexError::at("list the history of a directory"))?)
    }

    /// What an entry leads to in the newest snapshot.
    pub fn current(&self, source: SourceNum, parent: Node, name: &[u8]) -> Result<Option<Row>, IndexError> {
        self.stmt(concat_sql!("SELECT ", " FROM cur WHERE parent = ?1 AND name = ?2"))?
            .query_row(params![key(source, parent.0), name], |r| Row::read(r, None))
            .optional()
            .map_err(IndexError::at("look up a name"))
    }

    /// The first row of an entry that ended after `snap`.
    pub fn closed_after(
        &self,
        source: SourceNum,
        parent: Node,
        name: &[u8],
        snap: Snap,
    ) -> Result<Option<Row>, IndexError> {
        let sql = concat_sql!(
            "SELECT ",
            ", to_snap FROM old INDEXED BY old_name WHERE parent = ?1 AND name = ?2 AND to_snap > ?3 ORDER BY to_snap LIMIT 1"
        );
        self.stmt(sql)?
            .query_row(params![key(source, parent.0), name, snap.0 as i64], read_closed)
            .optional()
            .map_err(IndexError::at("look up a name"))
    }

    /// The last row of an entry that has ended.
    pub fn last_closed(&self, source: SourceNum, parent: Node, name: &[u8]) -> Result<Option<Row>, IndexError> {
        let sql = concat_sql!(
            "SELECT ",
            ", to_snap FROM old INDEXED BY old_name WHERE parent = ?1 AND name = ?2 ORDER BY to_snap DESC LIMIT 1"
        );
        self.stmt(sql)?
            .query_row(params![key(source, parent.0), name], read_closed)
            .optional()
            .map_err(IndexError::at("look up a name"))
    }
}

/// Puts rows in order and joins those that follow one another without a break.
fn stays(rows: impl Iterator<Item = rusqlite::Result<Stay>>) -> Result<Vec<Stay>, IndexError> {
    let mut all = rows.collect::<Result<Vec<Stay>, _>>().map_err(IndexError::at("list stays"))?;
    all.sort_by(|a, b| (a.parent, &a.name, a.from).cmp(&(b.parent, &b.name, b.from)));
    let mut joined: Vec<Stay> = Vec::new();
    for stay in all {
        match joined.last_mut() {
            Some(last)
                if last.to == Some(stay.from)
                    && (last.node, last.parent) == (stay.node, stay.parent)
                    && last.name == stay.name =>
            {
                last.to = stay.to;
            }
            _ => joined.push(stay),
        }
    }
    Ok(joined)
}
