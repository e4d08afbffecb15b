//! Taking a tree from the statement of a record, where the records before it are lost: what the index has is changed into what the
//! record states, as if one snapshot had done it.

use crate::index::{
    apply::{AT_NAME, Applying, Stage},
    chunks::{chunk_hash, pieces_of},
    error::IndexError,
    open::{COLUMNS, Index},
    rows::{LINKED, Piece, key},
};
use crate::types::{
    ids::{Node, Snap, SourceNum},
    op::{Content, Entry, Op, Version},
    snapshot::Lost,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::LazyLock;

/// What a statement has said so far. It may be a million names, so they are not kept in memory.
const STATED: &str = "CREATE TEMP TABLE IF NOT EXISTS stated(parent INTEGER NOT NULL, name BLOB NOT NULL, \
                      PRIMARY KEY(parent, name)) WITHOUT ROWID; DELETE FROM temp.stated;";
/// Names that were touched since the full and that the statement does not mention.
const REVERTED: &str = "CREATE TEMP TABLE IF NOT EXISTS reverted(parent INTEGER NOT NULL, name BLOB NOT NULL, \
                        PRIMARY KEY(parent, name)) WITHOUT ROWID; DELETE FROM temp.reverted;";
/// Current rows of the source from ?1 up to ?2 that were not stated.
const UNSTATED: &str = "cur.parent >= ?1 AND cur.parent < ?2 AND NOT EXISTS(SELECT 1 FROM temp.stated s \
                        WHERE s.parent = cur.parent AND s.name = cur.name)";

static CLOSE_UNSTATED: LazyLock<String> = LazyLock::new(|| {
    let rest = COLUMNS.split_once("name,").map(|(_, rest)| rest).unwrap_or_default();
    format!("INSERT INTO old(parent, to_snap, name, {rest}) SELECT parent, ?3, name, {rest} FROM cur WHERE {UNSTATED}")
});
/// Opens the entry ?1, ?2 from snapshot ?3 on as another current row has its node ?4 in version ?5.
static COPY: LazyLock<String> = LazyLock::new(|| reopened("cur WHERE node = ?4 AND ver = ?5 LIMIT 1"));
/// Opens the entry ?1, ?2 from snapshot ?3 on as it was at the snapshot ?4.
static REVERT: LazyLock<String> = LazyLock::new(|| {
    reopened(
        "old INDEXED BY old_name WHERE parent = ?1 AND name = ?2 AND to_snap > ?4 AND from_snap <= ?4 ORDER BY to_snap LIMIT 1",
    )
});

fn reopened(from: &str) -> String {
    let rest = COLUMNS.split_once("from_snap,").map(|(_, rest)| rest).unwrap_or_default();
    format!("INSERT INTO cur({COLUMNS}) SELECT ?1, ?2, node, ver, ?3, {rest} FROM {from}")
}

impl Index {
    /// Notes snapshots that can't be shown.
    pub fn note_lost(&self, lost: &Lost) -> Result<(), IndexError> {
        lose(&self.writer()?, lost).map_err(IndexError::at("note what is lost"))
    }
}

pub(super) fn lose(conn: &Connection, lost: &Lost) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO lost VALUES(?1,?2,?3,?4,?5,?6)",
        params![lost.source.0, lost.first.0 as i64, lost.last.0 as i64, lost.after.0, lost.before.0, lost.why],
    )
    .map(drop)
}

impl Applying<'_> {
    pub(super) fn begin_statement(&mut self, base: Option<Snap>) -> Result<(), IndexError> {
        self.conn.execute_batch(STATED).map_err(IndexError::at("take a statement"))?;
        self.stage = Stage::Stating(base);
        Ok(())
    }

    /// Notes which snapshots this record passes over.
    pub fn lose(&self, lost: &Lost) -> Result<(), IndexError> {
        lose(self.conn, lost).map_err(IndexError::at("note what is lost"))
    }

    /// Takes one operation of a statement.
    pub(super) fn state(&mut self, op: &Op, base: Option<Snap>) -> Result<(), IndexError> {
        match op {
            Op::Add(entry, version) => self.state_entry(entry, version, base),
            Op::Link(entry) => self.state_name(entry),
            Op::Close { parent, name } => {
                self.mark(*parent, name)?;
                self.end_row(self.key(*parent), name)
            }
            _ => Err(IndexError::Contradiction("a statement says what only a change can".into())),
        }
    }

    fn mark(&self, parent: Node, name: &[u8]) -> Result<(), IndexError> {
        match self.run("INSERT OR IGNORE INTO temp.stated VALUES(?1,?2)", params![self.key(parent), name])? {
            0 => Err(IndexError::Contradiction(format!(
                "the name {} in the directory {} is stated twice",
                crate::types::path::show(name),
                parent.0
            ))),
            _ => Ok(()),
        }
    }

    fn state_entry(&mut self, entry: &Entry, v: &Version, base: Option<Snap>) -> Result<(), IndexError> {
        self.mark(entry.parent, &entry.name)?;
        let before = base.map_or(Ok(None), |base| version_at(self.conn, self.key(entry.node), base))?;
        let known: Option<(i64, i64, i64)> = self
            .stmt("SELECT node, size, content FROM ver WHERE num = ?1")?
            .query_row([key(self.source, v.ver.0)], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .optional()
            .map_err(IndexError::at("find a version"))?;
        let content = self.content(v, before)?;
        match known {
            None => self.insert_ver(entry.node, v, content)?,
            Some((node, size, known)) => {
                let same = node == entry.node.0 as i64 && size == v.attr.size as i64;
                if !same || !self.is_same_content(known, content)? {
                    let why = format!("the version {} is stated otherwise than it was before", v.ver.0);
                    return Err(IndexError::Contradiction(why));
                }
                if content & 1 == 0 && content != known && matches!(v.content, Content::Target(_) | Content::Runs(_)) {
                    self.run("DELETE FROM runs WHERE num = ?1", [content >> 1])?;
                }
            }
        }
        let parent = self.key(entry.parent);
        if self.row_at(parent, &entry.name)? != Some((self.key(entry.node), v.ver.0 as i64)) {
            self.end_row(parent, &entry.name)?;
            let xattr = self.xattr(&v.attr.xattrs)?;
            self.insert_row(entry, v, xattr)?;
            self.touch(parent, &entry.name)?;
        }
        self.mark_linked(self.key(entry.node))
    }

    /// A further name of a node that was stated before.
    fn state_name(&self, entry: &Entry) -> Result<(), IndexError> {
        let node = self.key(entry.node);
        let sql = "SELECT ver FROM cur WHERE node = ?1 AND EXISTS(SELECT 1 FROM temp.stated s \
                   WHERE s.parent = cur.parent AND s.name = cur.name) LIMIT 1";
        let ver: Option<i64> = self
            .stmt(sql)?
            .query_row([node], |r| r.get(0))
            .optional()
            .map_err(IndexError::at("find the names of a node"))?;
        let missing = || IndexError::Contradiction(format!("the node {} has a name and no version", entry.node.0));
        let ver = ver.ok_or_else(missing)?;
        self.mark(entry.parent, &entry.name)?;
        let parent = self.key(entry.parent);
        if self.row_at(parent, &entry.name)? != Some((node, ver)) {
            self.end_row(parent, &entry.name)?;
            self.run(&COPY, params![parent, entry.name, self.snap.0 as i64, node, ver])?;
            self.touch(parent, &entry.name)?;
        }
        self.mark_linked(node)
    }

    /// Ends the statement: what it does not mention is as it was in the full, or is not there where it is a full itself.
    pub(super) fn end_statement(&mut self, base: Option<Snap>) -> Result<(), IndexError> {
        match base {
            None => self.close_unstated(),
            Some(base) => self.revert_unstated(base),
        }
    }

    fn close_unstated(&self) -> Result<(), IndexError> {
        let (from, to) = (key(self.source, 0), key(SourceNum(self.source.0 + 1), 0));
        let snap = self.snap.0 as i64;
        self.run(&CLOSE_UNSTATED, params![from, to, snap])?;
        let sql = format!("INSERT OR IGNORE INTO change SELECT ?3, parent, name FROM cur WHERE {UNSTATED}");
        self.run(&sql, params![from, to, key(self.source, self.snap.0)])?;
        self.run(&format!("DELETE FROM cur WHERE {UNSTATED}"), params![from, to]).map(drop)
    }

    fn revert_unstated(&self, base: Snap) -> Result<(), IndexError> {
        const DOING: &str = "go back to a full";
        self.conn.execute_batch(REVERTED).map_err(IndexError::at(DOING))?;
        let sql = "INSERT OR IGNORE INTO temp.reverted SELECT parent, name FROM change c WHERE snap > ?1 AND snap < ?2 \
                   AND NOT EXISTS(SELECT 1 FROM temp.stated s WHERE s.parent = c.parent AND s.name = c.name)";
        self.run(sql, params![key(self.source, base.0), key(self.source, self.snap.0)])?;
        let mut stmt = self.stmt("SELECT parent, name FROM temp.reverted")?;
        let mut rows = stmt.query([]).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let parent: i64 = r.get(0).map_err(IndexError::at(DOING))?;
            let name: Vec<u8> = r.get(1).map_err(IndexError::at(DOING))?;
            self.revert(parent, &name, base)?;
        }
        Ok(())
    }

    fn revert(&self, parent: i64, name: &[u8], base: Snap) -> Result<(), IndexError> {
        const DOING: &str = "find an entry";
        let (base, snap) = (base.0 as i64, self.snap.0 as i64);
        let now: Option<(i64, i64, i64)> = self
            .stmt("SELECT node, ver, from_snap FROM cur WHERE parent = ?1 AND name = ?2")?
            .query_row(params![parent, name], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .optional()
            .map_err(IndexError::at(DOING))?;
        if now.is_some_and(|(.., from)| from <= base) {
            return Ok(());
        }
        let sql = "SELECT node, ver FROM old INDEXED BY old_name WHERE parent = ?1 AND name = ?2 AND to_snap > ?3 AND from_snap <= ?3 \
                   ORDER BY to_snap LIMIT 1";
        let then: Option<(i64, i64)> = self
            .stmt(sql)?
            .query_row(params![parent, name, base], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()
            .map_err(IndexError::at(DOING))?;
        if now.map(|(node, ver, _)| (node, ver)) == then {
            return Ok(());
        }
        self.end_row(parent, name)?;
        if let Some((node, _)) = then {
            self.run(&REVERT, params![parent, name, snap, base])?;
            self.mark_linked(node)?;
        }
        self.touch(parent, name)
    }

    /// Ends the current row of an entry, where there is one.
    fn end_row(&self, parent: i64, name: &[u8]) -> Result<(), IndexError> {
        self.run(&AT_NAME.close, params![parent, name, self.snap.0 as i64])?;
        match self.run("DELETE FROM cur WHERE parent = ?1 AND name = ?2", params![parent, name])? {
            0 => Ok(()),
            _ => self.touch(parent, name),
        }
    }

    fn row_at(&self, parent: i64, name: &[u8]) -> Result<Option<(i64, i64)>, IndexError> {
        self.stmt("SELECT node, ver FROM cur WHERE parent = ?1 AND name = ?2")?
            .query_row(params![parent, name], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()
            .map_err(IndexError::at("find an entry"))
    }

    /// Marks a node with several names.
    fn mark_linked(&self, node: i64) -> Result<(), IndexError> {
        if node & 1 == 1 {
            return Ok(());
        }
        let sql = "UPDATE cur SET bits = bits | ?2 WHERE node = ?1 AND bits & ?2 = 0 \
                   AND (SELECT count(*) FROM cur WHERE node = ?1) > 1";
        self.run(sql, params![node, LINKED]).map(drop)
    }

    /// Whether two contents are the same: a chunk may be in several packs.
    fn is_same_content(&self, a: i64, b: i64) -> Result<bool, IndexError> {
        if a == b {
            return Ok(true);
        }
        if a == 0 || b == 0 {
            return Ok(false);
        }
        let raw = |code: i64| -> Result<Option<Vec<u8>>, IndexError> {
            self.stmt("SELECT data FROM runs WHERE num = ?1")?
                .query_row([code >> 1], |r| r.get(0))
                .optional()
                .map_err(IndexError::at("read a content"))
        };
        // The target of a link is kept as it is: compared so before it is taken for a list of runs.
        if a & 1 == 0 && b & 1 == 0 && raw(a)? == raw(b)? {
            return Ok(true);
        }
        let (a, b) = match (pieces_of(self.conn, a), pieces_of(self.conn, b)) {
            (Ok(a), Ok(b)) => (a, b),
            _ => return Ok(false),
        };
        if a.len() != b.len() {
            return Ok(false);
        }
        for pair in a.iter().zip(&b) {
            let same = match pair {
                (Piece::Chunk { num: a, .. }, Piece::Chunk { num: b, .. }) => {
                    a == b || chunk_hash(self.conn, *a)? == chunk_hash(self.conn, *b)?
                }
                (a, b) => a == b,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The version of a node, by its key, as of a snapshot.
pub(super) fn version_at(conn: &Connection, node: i64, snap: Snap) -> Result<Option<i64>, IndexError> {
    let params = params![node, snap.0 as i64];
    for sql in [
        "SELECT ver FROM cur WHERE node = ?1 AND from_snap <= ?2 LIMIT 1",
        "SELECT ver FROM old WHERE node = ?1 AND to_snap > ?2 AND from_snap <= ?2 ORDER BY to_snap LIMIT 1",
    ] {
        let mut stmt = conn.prepare_cached(sql).map_err(IndexError::at("prepare a look-up"))?;
        if let Some(ver) = stmt.query_row(params, |r| r.get(0)).optional().map_err(IndexError::at("find a version"))? {
            return Ok(Some(ver));
        }
    }
    Ok(None)
}
