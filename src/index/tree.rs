//! Look-ups of the tree as of a snapshot.

use crate::index::{
    error::IndexError,
    open::{COLUMNS, Index},
    rows::{Row, key},
};
use crate::types::{
    attr::{Place, Xattrs},
    ids::{Node, Snap, SourceNum, Ver},
    op::decode_xattrs,
    wire,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

/// `SELECT ` + columns + the rest, built once a place.
macro_rules! concat_sql {
    ($head:literal, $tail:literal) => {{
        static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("{}{}{}", $head, COLUMNS, $tail));
        &SQL
    }};
}

pub(super) use concat_sql;

/// A reading connection. One a thread; cheap to keep.
pub struct Reader {
    pub(super) conn: Connection,
}

impl Reader {
    /// A reader of `index`.
    pub fn open(index: &Index) -> Result<Reader, IndexError> {
        Ok(Reader { conn: index.reader()? })
    }

    /// Runs `f` in one read transaction: it sees one state of the index, and its look-ups cost less.
    pub fn hold<T, E: From<IndexError>>(&self, f: impl FnOnce(&Reader) -> Result<T, E>) -> Result<T, E> {
        self.stmt("BEGIN")?.execute([]).map_err(IndexError::at("begin to read"))?;
        let result = f(self);
        self.stmt("COMMIT")?.execute([]).map_err(IndexError::at("end reading"))?;
        result
    }

    /// A number that changes with every committed change by another connection.
    pub fn data_version(&self) -> Result<i64, IndexError> {
        self.stmt("PRAGMA data_version")?.query_row([], |r| r.get(0)).map_err(IndexError::at("read its data version"))
    }

    pub(super) fn stmt(&self, sql: &str) -> Result<CachedStatement<'_>, IndexError> {
        self.conn.prepare_cached(sql).map_err(IndexError::at("prepare a look-up"))
    }

    /// The entry `name` of a directory as of `snap`.
    pub fn child(&self, source: SourceNum, parent: Node, name: &[u8], snap: Snap) -> Result<Option<Row>, IndexError> {
        let current = self.current(source, parent, name)?;
        if current.as_ref().is_some_and(|row| row.from <= snap) {
            return Ok(current);
        }
        Ok(self.closed_after(source, parent, name, snap)?.filter(|row| row.from <= snap))
    }

    /// All entries of a directory as of `snap`, in the order of names.
    pub fn children(&self, source: SourceNum, parent: Node, snap: Snap) -> Result<Vec<Row>, IndexError> {
        let parent = key(source, parent.0);
        let mut rows = Vec::new();
        let doing = "list a directory";
        {
            let mut stmt =
                self.stmt(concat_sql!("SELECT ", " FROM cur WHERE parent = ?1 AND from_snap <= ?2 ORDER BY name"))?;
            let found = stmt
                .query_map(params![parent, snap.0 as i64], |r| Row::read(r, None))
                .map_err(IndexError::at(doing))?;
            for row in found {
                rows.push(row.map_err(IndexError::at(doing))?);
            }
        }
        let current = rows.len();
        let mut stmt = self.stmt(concat_sql!(
            "SELECT ",
            ", to_snap FROM old WHERE parent = ?1 AND to_snap > ?2 AND from_snap <= ?2"
        ))?;
        let found = stmt.query_map(params![parent, snap.0 as i64], read_closed).map_err(IndexError::at(doing))?;
        for row in found {
            rows.push(row.map_err(IndexError::at(doing))?);
        }
        if rows.len() > current {
            rows.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(rows)
    }

    /// The entries that lead to a node as of `snap`: one, or several for hard links.
    pub fn names(&self, source: SourceNum, node: Node, snap: Snap) -> Result<Vec<Row>, IndexError> {
        let node = key(source, node.0);
        let doing = "find the names of a node";
        let mut rows = Vec::new();
        let mut stmt = self.stmt(concat_sql!("SELECT ", " FROM cur WHERE node = ?1 AND from_snap <= ?2"))?;
        for row in
            stmt.query_map(params![node, snap.0 as i64], |r| Row::read(r, None)).map_err(IndexError::at(doing))?
        {
            rows.push(row.map_err(IndexError::at(doing))?);
        }
        let mut stmt = self
            .stmt(concat_sql!("SELECT ", ", to_snap FROM old WHERE node = ?1 AND to_snap > ?2 AND from_snap <= ?2"))?;
        for row in stmt.query_map(params![node, snap.0 as i64], read_closed).map_err(IndexError::at(doing))? {
            rows.push(row.map_err(IndexError::at(doing))?);
        }
        Ok(rows)
    }

    /// One entry that leads to a node as of `snap`.
    pub fn node(&self, source: SourceNum, node: Node, snap: Snap) -> Result<Option<Row>, IndexError> {
        let node = key(source, node.0);
        let doing = "find a node";
        let current = self
            .stmt(concat_sql!("SELECT ", " FROM cur WHERE node = ?1 AND from_snap <= ?2 LIMIT 1"))?
            .query_row(params![node, snap.0 as i64], |r| Row::read(r, None))
            .optional()
            .map_err(IndexError::at(doing))?;
        if current.is_some() {
            return Ok(current);
        }
        self.stmt(concat_sql!(
            "SELECT ",
            ", to_snap FROM old WHERE node = ?1 AND to_snap > ?2 AND from_snap <= ?2 ORDER BY to_snap LIMIT 1"
        ))?
        .query_row(params![node, snap.0 as i64], read_closed)
        .optional()
        .map_err(IndexError::at(doing))
    }

    /// An entry that led to this version of a node.
    pub fn entry_of(&self, source: SourceNum, ver: Ver) -> Result<Option<Row>, IndexError> {
        match self.version(source, ver)? {
            Some(v) => Ok(self.node(source, v.node, v.from)?.filter(|row| row.ver == ver)),
            None => Ok(None),
        }
    }

    /// How many names lead to a node as of `snap`.
    pub fn link_count(&self, source: SourceNum, node: Node, snap: Snap) -> Result<u32, IndexError> {
        let sql = "SELECT (SELECT count(*) FROM cur WHERE node = ?1 AND from_snap <= ?2) \
                   + (SELECT count(*) FROM old WHERE node = ?1 AND to_snap > ?2 AND from_snap <= ?2)";
        self.stmt(sql)?
            .query_row(params![key(source, node.0), snap.0 as i64], |r| r.get(0))
            .map_err(IndexError::at("count the names of a node"))
    }

    /// How many directories are in a directory as of `snap`.
    pub fn subdirs(&self, source: SourceNum, parent: Node, snap: Snap) -> Result<u32, IndexError> {
        let sql = "SELECT (SELECT count(*) FROM cur WHERE parent = ?1 AND from_snap <= ?2 AND node & 1 = 1) \
                   + (SELECT count(*) FROM old WHERE parent = ?1 AND to_snap > ?2 AND from_snap <= ?2 AND node & 1 = 1)";
        self.stmt(sql)?
            .query_row(params![key(source, parent.0), snap.0 as i64], |r| r.get(0))
            .map_err(IndexError::at("count directories"))
    }

    /// The current entries of a source whose node was last seen with this inode number.
    pub fn by_inode(&self, source: SourceNum, place: Place) -> Result<Vec<Row>, IndexError> {
        let mut stmt = self.stmt(concat_sql!("SELECT ", " FROM cur WHERE ino = ?1"))?;
        let rows = stmt
            .query_map([place.ino as i64], |r| Row::read(r, None))
            .map_err(IndexError::at("find an inode"))?
            .collect::<Result<Vec<Row>, _>>()
            .map_err(IndexError::at("find an inode"))?;
        Ok(rows.into_iter().filter(|row| row.source == source).collect())
    }

    /// A set of extended attributes.
    pub fn xattrs(&self, num: i64) -> Result<Xattrs, IndexError> {
        if num == 0 {
            return Ok(Vec::new());
        }
        let found = self
            .stmt("SELECT data FROM xattr WHERE num = ?1")?
            .query_row([num], |r| Ok(decode_xattrs(&mut wire::Reader::new(r.get_ref(0)?.as_blob()?))))
            .optional()
            .map_err(IndexError::at("read extended attributes"))?;
        found
            .ok_or(IndexError::Damaged("a set of extended attributes is missing"))?
            .map_err(|_| IndexError::Damaged("a set of extended attributes"))
    }
}

pub(super) fn read_closed(r: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let to = Snap(r.get::<_, i64>(20)? as u64);
    Row::read(r, Some(to))
}
