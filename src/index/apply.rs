//! Taking a record into the index. The one way by which history gets there: from a capture, and from the journal again.

use crate::index::{
    error::IndexError,
    open::{COLUMNS, Index},
    rows::{FUZZY, LINKED, SqlTime, key},
};
use crate::types::{
    ids::{Node, Snap, SourceNum},
    op::{Entry, Gap, Op, Version},
    snapshot::{Head, Snapshot},
    time::Time,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params, params_from_iter, types::Value};
use std::time::Duration;
use std::{collections::HashMap, sync::LazyLock};

/// The first record of a large source may take minutes, in another process: whoever has something to write waits.
pub const PATIENT: Duration = Duration::from_secs(1200);

/// A writer of the index: applies one record at a time, each in one transaction.
pub struct Applier {
    pub(super) conn: Connection,
}

impl Applier {
    /// A writer of `index`, which waits for others as long as `patience` when a record begins.
    pub fn open(index: &Index, patience: Duration) -> Result<Applier, IndexError> {
        let conn = index.writer()?;
        conn.busy_timeout(patience).map_err(IndexError::at("set its time-out"))?;
        Ok(Applier { conn })
    }

    /// Begins the record of `snap`. What is applied shows nowhere until [`Applying::commit`]; dropped, it is undone.
    pub fn begin(&self, source: SourceNum, snap: Snap) -> Result<Applying<'_>, IndexError> {
        self.begin_transaction()?;
        let mut applying = Applying {
            conn: &self.conn,
            source,
            snap,
            first: false,
            stage: Stage::Changes,
            pack: None,
            new: Vec::new(),
            spans: Vec::new(),
            xattrs: HashMap::new(),
            dropped: HashMap::new(),
            open: true,
        };
        applying.first = applying.head_number()? == Snap(0);
        Ok(applying)
    }

    pub(super) fn begin_transaction(&self) -> Result<(), IndexError> {
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(|e| match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => IndexError::Busy,
            _ => IndexError::at("begin a transaction")(e),
        })
    }

    /// Begins the record of `snap` where the one before it is not known: its statement is taken, and not what it says to have
    /// changed. `base` is the full that the statement builds on, which the index must have; `None` for a full.
    pub fn begin_stated(&self, source: SourceNum, snap: Snap, base: Option<Snap>) -> Result<Applying<'_>, IndexError> {
        let mut applying = self.begin(source, snap)?;
        applying.stage = Stage::Awaiting(base);
        Ok(applying)
    }
}

/// A record on its way into the index.
pub struct Applying<'a> {
    pub(super) conn: &'a Connection,
    pub(super) source: SourceNum,
    pub(super) snap: Snap,
    /// Nothing of the source is in the index yet.
    first: bool,
    pub(super) stage: Stage,
    pub(super) pack: Option<i64>,
    /// The lengths of the chunks that this record brought, by their numbers in it.
    pub(super) new: Vec<u32>,
    /// Where their rows are: numbers from the first on have rows from the second on, up to the next span.
    pub(super) spans: Vec<(u32, i64)>,
    pub(super) xattrs: HashMap<Vec<u8>, i64>,
    /// Rows that began with this record and were closed by it again, by node: a link may still follow.
    dropped: HashMap<i64, Vec<Value>>,
    open: bool,
}

/// How the operations of a record are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// What changed since the record before.
    Changes,
    /// It was taken so, and its statement says the same.
    Passing,
    /// The record before is not known: only what does not rest on it is taken, until the statement begins.
    Awaiting(Option<Snap>),
    /// The statement, against this full or nothing.
    Stating(Option<Snap>),
}

impl Drop for Applying<'_> {
    fn drop(&mut self) {
        if self.open && self.conn.execute_batch("ROLLBACK").is_err() {
            // SQLite has rolled back by itself; the connection's next BEGIN tells if not.
            tracing::debug!("the transaction of snapshot {} was over already", self.snap);
        }
    }
}

impl Applying<'_> {
    /// Applies one operation.
    pub fn op(&mut self, op: &Op) -> Result<(), IndexError> {
        match (self.stage, op) {
            (Stage::Changes, Op::Statement) => {
                self.stage = Stage::Passing;
                Ok(())
            }
            (Stage::Awaiting(base), Op::Statement) => self.begin_statement(base),
            (_, Op::Statement) => Err(IndexError::Contradiction("a record states its tree twice".into())),
            (Stage::Passing, _) => Ok(()),
            (_, Op::Pack(id)) => self.pack(*id),
            (_, Op::Frame(frame)) => self.frame(frame),
            (_, Op::Gap(gap)) => self.gap(gap),
            (Stage::Awaiting(_), _) => Ok(()),
            (Stage::Changes, op) => self.change(op),
            (Stage::Stating(base), op) => self.state(op, base),
        }
    }

    fn change(&mut self, op: &Op) -> Result<(), IndexError> {
        match op {
            Op::Add(entry, version) => self.add(entry, version),
            Op::Set(entry, version) => self.set(entry, version),
            Op::Link(entry) => self.link(entry),
            Op::Close { parent, name } => self.close(*parent, name),
            Op::Pack(_) | Op::Frame(_) | Op::Gap(_) | Op::Statement => Ok(()),
        }
    }

    /// The newest snapshot of the source in the index.
    pub fn head_number(&self) -> Result<Snap, IndexError> {
        self.stmt("SELECT number FROM source WHERE num = ?1")?
            .query_row([self.source.0], |r| r.get::<_, i64>(0).map(|n| Snap(n as u64)))
            .map_err(IndexError::at("read the head of a source"))
    }

    /// Whether an entry leads to the node, as the record stands.
    pub fn has_node(&self, node: Node) -> Result<bool, IndexError> {
        self.stmt("SELECT EXISTS(SELECT 1 FROM cur WHERE node = ?1)")?
            .query_row([self.key(node)], |r| r.get(0))
            .map_err(IndexError::at("find a node"))
    }

    /// Notes that an unchanged node was seen again with these times, without a new version. Not part of the record.
    pub fn seen(&mut self, parent: Node, name: &[u8], dev: u64, ino: u64, seen: Time) -> Result<(), IndexError> {
        let sql = "UPDATE cur SET dev = ?3, ino = ?4, seen = ?5 WHERE parent = ?1 AND name = ?2";
        self.run(sql, params![self.key(parent), name, dev as i64, ino as i64, SqlTime(seen)]).map(drop)
    }

    /// Ends the record: its snapshot and the head of its source are stated, and all of it shows at once.
    pub fn commit(mut self, snapshot: &Snapshot, segment: &str, head: &Head) -> Result<(), IndexError> {
        match self.stage {
            Stage::Stating(base) => self.end_statement(base)?,
            Stage::Awaiting(_) => {
                return Err(IndexError::Contradiction("a record that must state its tree does not".into()));
            }
            Stage::Changes | Stage::Passing => {}
        }
        let c = &snapshot.counts;
        let sql = "INSERT INTO snapshot VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)";
        let counts =
            [c.new, c.changed, c.removed, c.read_bytes, c.stored_bytes, c.unreadable, c.fuzzy].map(|n| n as i64);
        self.run(
            sql,
            params![
                self.source.0,
                snapshot.number.0 as i64,
                snapshot.time.0,
                snapshot.tier as u8,
                &snapshot.hash.0[..],
                segment,
                counts[0],
                counts[1],
                counts[2],
                counts[3],
                counts[4],
                counts[5],
                counts[6]
            ],
        )?;
        let sql = "UPDATE source SET number = ?2, hash = ?3, time_ns = ?4, epoch = ?5, seq = ?6, next_dir = ?7, next_other = ?8, \
                   next_ver = ?9 WHERE num = ?1";
        let next = [head.next.dir, head.next.other, head.next.ver].map(|n| n as i64);
        self.run(
            sql,
            params![
                self.source.0,
                head.number.0 as i64,
                &head.hash.0[..],
                head.time.0,
                head.epoch,
                head.seq as i64,
                next[0],
                next[1],
                next[2]
            ],
        )?;
        self.run("INSERT OR IGNORE INTO run VALUES(?1,?2)", params![self.source.0, head.epoch])?;
        self.run("DELETE FROM beyond WHERE source = ?1", [self.source.0])?;
        self.run("DELETE FROM lost WHERE source = ?1 AND before_ns = ?2", params![self.source.0, i64::MAX])?;
        self.finish()
    }

    /// Ends without a snapshot: keeps only what [`Applying::seen`] noted.
    pub fn commit_seen(self) -> Result<(), IndexError> {
        self.finish()
    }

    fn finish(mut self) -> Result<(), IndexError> {
        self.conn.execute_batch("COMMIT").map_err(IndexError::at("commit a record"))?;
        self.open = false;
        Ok(())
    }

    pub(super) fn key(&self, node: Node) -> i64 {
        key(self.source, node.0)
    }

    pub(super) fn stmt(&self, sql: &str) -> Result<CachedStatement<'_>, IndexError> {
        self.conn.prepare_cached(sql).map_err(IndexError::at("prepare a change"))
    }

    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, IndexError> {
        self.stmt(sql)?.execute(params).map_err(IndexError::at("take a change"))
    }

    fn add(&mut self, entry: &Entry, v: &Version) -> Result<(), IndexError> {
        let content = self.content(v, None)?;
        let xattr = self.xattr(&v.attr.xattrs)?;
        self.insert_ver(entry.node, v, content)?;
        self.insert_row(entry, v, xattr)?;
        self.touch(self.key(entry.parent), &entry.name)
    }

    /// A current row of an entry, from this snapshot on.
    pub(super) fn insert_row(&self, entry: &Entry, v: &Version, xattr: i64) -> Result<(), IndexError> {
        let (node, a) = (self.key(entry.node), &v.attr);
        self.stmt(ADD)?
            .execute(params![
                self.key(entry.parent),
                entry.name,
                node,
                v.ver.0 as i64,
                self.snap.0 as i64,
                a.mode,
                a.uid,
                a.gid,
                a.size as i64,
                a.blocks as i64,
                a.rdev as i64,
                SqlTime(a.mtime),
                SqlTime(a.ctime),
                a.btime.map(SqlTime),
                a.flags,
                xattr,
                bits(v),
                v.place.dev as i64,
                v.place.ino as i64,
                seen(v)
            ])
            .map(drop)
            .map_err(|e| self.conflict(e, entry))
    }

    fn conflict(&self, e: rusqlite::Error, entry: &Entry) -> IndexError {
        if e.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) {
            let name = crate::types::path::show(&entry.name);
            return IndexError::Contradiction(format!(
                "the name {name} is opened twice in the directory {}",
                entry.parent.0
            ));
        }
        IndexError::Sqlite { doing: "open an entry", source: e }
    }

    fn set(&mut self, entry: &Entry, v: &Version) -> Result<(), IndexError> {
        let found: Option<(i64, i64, i64)> = self
            .stmt("SELECT node, ver, bits FROM cur WHERE parent = ?1 AND name = ?2")?
            .query_row(params![self.key(entry.parent), entry.name], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .optional()
            .map_err(IndexError::at("find an entry"))?;
        let (_, before, had) = found.filter(|(node, ..)| *node == self.key(entry.node)).ok_or_else(|| {
            IndexError::Contradiction(format!(
                "node {} gets a version at a name that does not lead to it",
                entry.node.0
            ))
        })?;
        let content = self.content(v, Some(before))?;
        let xattr = self.xattr(&v.attr.xattrs)?;
        self.insert_ver(entry.node, v, content)?;
        // Every name of the node shows its new version.
        let (k1, k2): (i64, &[u8]) = match had & LINKED {
            0 => (self.key(entry.parent), &entry.name),
            _ => (self.key(entry.node), b""),
        };
        let sql = if had & LINKED == 0 { &*AT_NAME } else { &*AT_NODE };
        self.run(&sql.close, params![k1, k2, self.snap.0 as i64])?;
        self.touch_at(sql, k1, k2)?;
        let a = &v.attr;
        self.run(
            &sql.update,
            params![
                k1,
                k2,
                self.snap.0 as i64,
                v.ver.0 as i64,
                a.mode,
                a.uid,
                a.gid,
                a.size as i64,
                a.blocks as i64,
                a.rdev as i64,
                SqlTime(a.mtime),
                SqlTime(a.ctime),
                a.btime.map(SqlTime),
                a.flags,
                xattr,
                bits(v) | (had & LINKED),
                v.place.dev as i64,
                v.place.ino as i64,
                seen(v)
            ],
        )?;
        Ok(())
    }

    fn link(&mut self, entry: &Entry) -> Result<(), IndexError> {
        let node = self.key(entry.node);
        if !entry.node.is_dir() {
            self.run("UPDATE cur SET bits = bits | ?2 WHERE node = ?1", params![node, LINKED])?;
        }
        if !self.link_from(&LINK_CURRENT, entry)? && !self.revive(entry)? && !self.link_from(&LINK_CLOSED, entry)? {
            let message = format!("the node {} is linked but was never there", entry.node.0);
            return Err(IndexError::Contradiction(message));
        }
        self.touch(self.key(entry.parent), &entry.name)
    }

    fn link_from(&self, sql: &str, entry: &Entry) -> Result<bool, IndexError> {
        let params = params![self.key(entry.parent), entry.name, self.snap.0 as i64, self.key(entry.node)];
        self.stmt(sql)?.execute(params).map(|n| n > 0).map_err(|e| self.conflict(e, entry))
    }

    /// Opens an entry for a node whose last name began and ended with this record.
    fn revive(&mut self, entry: &Entry) -> Result<bool, IndexError> {
        let Some(mut row) = self.dropped.remove(&self.key(entry.node)) else { return Ok(false) };
        row[0] = Value::Integer(self.key(entry.parent));
        row[1] = Value::Blob(entry.name.clone());
        self.stmt(ADD)?.execute(params_from_iter(row)).map_err(|e| self.conflict(e, entry))?;
        Ok(true)
    }

    fn close(&mut self, parent: Node, name: &[u8]) -> Result<(), IndexError> {
        let key = self.key(parent);
        self.run(&AT_NAME.close, params![key, name, self.snap.0 as i64])?;
        let gone = {
            let read = |r: &rusqlite::Row<'_>| (0..20).map(|n| r.get(n)).collect::<rusqlite::Result<Vec<Value>>>();
            let mut stmt = self.stmt(&REMOVE)?;
            stmt.query_row(params![key, name], |r| {
                let began: i64 = r.get(4)?;
                Ok((r.get(2)?, if began == self.snap.0 as i64 { Some(read(r)?) } else { None }))
            })
            .optional()
            .map_err(IndexError::at("close an entry"))?
        };
        match gone {
            Some((node, Some(row))) => drop(self.dropped.insert(node, row)),
            Some((_, None)) => {}
            None => {
                let name = crate::types::path::show(name);
                return Err(IndexError::Contradiction(format!("the name {name} is closed but is not open")));
            }
        }
        self.touch(key, name)
    }

    /// Notes that this snapshot touched an entry.
    pub(super) fn touch(&self, parent: i64, name: &[u8]) -> Result<(), IndexError> {
        if self.first {
            return Ok(());
        }
        let snap = key(self.source, self.snap.0);
        self.run("INSERT OR IGNORE INTO change VALUES(?1,?2,?3)", params![snap, parent, name]).map(drop)
    }

    fn touch_at(&self, sql: &At, k1: i64, k2: &[u8]) -> Result<(), IndexError> {
        if self.first {
            return Ok(());
        }
        self.run(&sql.touch, params![k1, k2, key(self.source, self.snap.0)]).map(drop)
    }

    fn gap(&mut self, g: &Gap) -> Result<(), IndexError> {
        self.run(
            "INSERT INTO gap(source, snap, subtree, from_ns, to_ns, why) VALUES(?1,?2,?3,?4,?5,?6)",
            params![self.source.0, self.snap.0 as i64, g.subtree, g.from.0, g.to.0, g.why],
        )
        .map(drop)
    }
}

/// The statements that change current rows at a place, which parameters 1 and 2 name.
pub(super) struct At {
    /// Keeps them as closed at snapshot ?3, unless they began with it.
    pub(super) close: String,
    /// Gives them a new version.
    update: String,
    /// Notes that the snapshot ?3 touched them.
    touch: String,
}

impl At {
    fn new(place: &str) -> At {
        let rest = COLUMNS.split_once("name,").map(|(_, rest)| rest).unwrap_or_default();
        At {
            close: format!(
                "INSERT INTO old(parent, to_snap, name, {rest}) SELECT parent, ?3, name, {rest} FROM cur \
                 WHERE {place} AND from_snap < ?3"
            ),
            update: format!(
                "UPDATE cur SET from_snap=?3, ver=?4, mode=?5, uid=?6, gid=?7, size=?8, blocks=?9, rdev=?10, mtime=?11, \
                 ctime=?12, btime=?13, flags=?14, xattr=?15, bits=?16, dev=?17, ino=?18, seen=?19 WHERE {place}"
            ),
            touch: format!("INSERT OR IGNORE INTO change SELECT ?3, parent, name FROM cur WHERE {place}"),
        }
    }
}

const ADD: &str = "INSERT INTO cur VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)";
pub(super) static AT_NAME: LazyLock<At> = LazyLock::new(|| At::new("parent = ?1 AND name = ?2"));
static AT_NODE: LazyLock<At> = LazyLock::new(|| At::new("node = ?1 AND ?2 IS NOT NULL"));
static REMOVE: LazyLock<String> =
    LazyLock::new(|| format!("DELETE FROM cur WHERE parent = ?1 AND name = ?2 RETURNING {COLUMNS}"));
static LINK_CURRENT: LazyLock<String> = LazyLock::new(|| link_sql("cur WHERE node = ?4"));
static LINK_CLOSED: LazyLock<String> = LazyLock::new(|| link_sql("old WHERE node = ?4 AND to_snap = ?3"));

/// Opens the entry ?1, ?2 from snapshot ?3 on, with what another row of its node has.
fn link_sql(from: &str) -> String {
    let rest = COLUMNS.split_once("from_snap,").map(|(_, rest)| rest).unwrap_or_default();
    format!("INSERT INTO cur({COLUMNS}) SELECT ?1, ?2, node, ver, ?3, {rest} FROM {from} LIMIT 1")
}

fn bits(v: &Version) -> i64 {
    if v.fuzzy { FUZZY } else { 0 }
}

fn seen(v: &Version) -> Option<SqlTime> {
    (!v.racy && !v.fuzzy).then_some(SqlTime(v.attr.ctime))
}
