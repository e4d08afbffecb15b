//! Taking a record into the index. The one way by which history gets there: from a capture, and from the journal again.

use crate::index::{
    error::IndexError,
    open::{COLUMNS, Index},
    rows::{FUZZY, LINKED, Piece, SqlTime, encode_pieces, key},
};
use crate::types::{
    ids::{Hash, Id, Node, Snap, SourceNum},
    op::{Content, Entry, Frame, Gap, Op, Run, Version, encode_xattrs},
    snapshot::{Head, Snapshot},
    time::Time,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params};
use std::collections::HashMap;

/// How many sets of extended attributes are remembered while a record is applied.
const XATTR_CACHE: usize = 4096;

/// A writer of the index: applies one record at a time, each in one transaction.
pub struct Applier {
    conn: Connection,
}

impl Applier {
    /// A writer of `index`. Waits for others when a record begins.
    pub fn open(index: &Index) -> Result<Applier, IndexError> {
        let conn = index.writer()?;
        // The first record of a large source may take minutes, in another process.
        conn.busy_timeout(std::time::Duration::from_secs(1200)).map_err(IndexError::at("set its time-out"))?;
        Ok(Applier { conn })
    }

    /// Begins the record of `snap`. What is applied shows nowhere until [`Applying::commit`]; dropped, it is undone.
    pub fn begin(&self, source: SourceNum, snap: Snap) -> Result<Applying<'_>, IndexError> {
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(IndexError::at("begin a transaction"))?;
        Ok(Applying {
            conn: &self.conn,
            source,
            snap,
            pack: None,
            new: Vec::new(),
            first_new: 0,
            xattrs: HashMap::new(),
            open: true,
        })
    }
}

/// A record on its way into the index.
pub struct Applying<'a> {
    conn: &'a Connection,
    source: SourceNum,
    snap: Snap,
    pack: Option<i64>,
    /// The lengths of the chunks that this record brought; their rows follow one another from `first_new`.
    new: Vec<u32>,
    first_new: i64,
    xattrs: HashMap<Vec<u8>, i64>,
    open: bool,
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
        match op {
            Op::Pack(id) => self.pack(*id),
            Op::Frame(frame) => self.frame(frame),
            Op::Add(entry, version) => self.add(entry, version),
            Op::Set(entry, version) => self.set(entry, version),
            Op::Link(entry) => self.link(entry),
            Op::Close { parent, name } => self.close(*parent, name),
            Op::Gap(gap) => self.gap(gap),
        }
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
    pub fn commit(self, snapshot: &Snapshot, segment: &str, head: &Head) -> Result<(), IndexError> {
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

    fn key(&self, node: Node) -> i64 {
        key(self.source, node.0)
    }

    fn stmt(&self, sql: &str) -> Result<CachedStatement<'_>, IndexError> {
        self.conn.prepare_cached(sql).map_err(IndexError::at("prepare a change"))
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<usize, IndexError> {
        self.stmt(sql)?.execute(params).map_err(IndexError::at("take a change"))
    }

    fn pack(&mut self, id: Id) -> Result<(), IndexError> {
        self.run("INSERT OR IGNORE INTO pack(id) VALUES(?1)", [&id.0[..]])?;
        let num = self
            .stmt("SELECT num FROM pack WHERE id = ?1")?
            .query_row([&id.0[..]], |r| r.get(0))
            .map_err(IndexError::at("find a pack"))?;
        self.pack = Some(num);
        Ok(())
    }

    fn frame(&mut self, f: &Frame) -> Result<(), IndexError> {
        let pack = self.pack.ok_or_else(|| IndexError::Contradiction("a frame stands before its pack".into()))?;
        self.run(
            "INSERT INTO frame(pack, number, offset, sealed, raw, method) VALUES(?1,?2,?3,?4,?5,?6)",
            params![pack, f.number, f.offset as i64, f.sealed_len, f.raw_len, f.method],
        )?;
        let frame = self.conn.last_insert_rowid();
        let mut offset = 0u32;
        let mut insert = self.stmt("INSERT INTO chunk(prefix, rest, frame, off, len) VALUES(?1,?2,?3,?4,?5)")?;
        let (mut first, mut new) = (self.first_new, Vec::new());
        for (hash, len) in &f.chunks {
            let num = insert
                .insert(params![hash.prefix(), &hash.0[8..], frame, offset, len])
                .map_err(IndexError::at("take a chunk"))?;
            if self.new.is_empty() && new.is_empty() {
                first = num;
            }
            new.push(*len);
            offset += len;
        }
        drop(insert);
        self.first_new = first;
        self.new.append(&mut new);
        Ok(())
    }

    fn add(&mut self, entry: &Entry, v: &Version) -> Result<(), IndexError> {
        let content = self.content(v, None)?;
        let xattr = self.xattr(&v.attr.xattrs)?;
        self.insert_ver(entry.node, v, content)?;
        let node = self.key(entry.node);
        let sql = "INSERT INTO cur VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)";
        let a = &v.attr;
        self.stmt(sql)?
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
            .map_err(|e| self.conflict(e, entry))?;
        Ok(())
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
        let place = if had & LINKED == 0 { "parent = ?1 AND name = ?2" } else { "node = ?1 AND ?2 IS NOT NULL" };
        self.run(&close_sql(place), params![k1, k2, self.snap.0 as i64])?;
        let a = &v.attr;
        let sql = format!(
            "UPDATE cur SET from_snap=?3, ver=?4, mode=?5, uid=?6, gid=?7, size=?8, blocks=?9, rdev=?10, mtime=?11, ctime=?12, \
             btime=?13, flags=?14, xattr=?15, bits=?16, dev=?17, ino=?18, seen=?19 WHERE {place}"
        );
        self.run(
            &sql,
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
        let rest = COLUMNS.split_once("from_snap,").map(|(_, rest)| rest).unwrap_or_default();
        let from = |table: &str, more: &str| {
            format!(
                "INSERT INTO cur({COLUMNS}) SELECT ?1, ?2, node, ver, ?3, {rest} FROM {table} WHERE node = ?4 {more} LIMIT 1"
            )
        };
        let params = params![self.key(entry.parent), entry.name, self.snap.0 as i64, node];
        let insert = |sql: &str| -> Result<usize, IndexError> {
            self.stmt(sql)?.execute(params).map_err(|e| self.conflict(e, entry))
        };
        if insert(&from("cur", ""))? == 0 && insert(&from("old", "AND to_snap = ?3"))? == 0 {
            let message = format!("the node {} is linked but was never there", entry.node.0);
            return Err(IndexError::Contradiction(message));
        }
        Ok(())
    }

    fn close(&mut self, parent: Node, name: &[u8]) -> Result<(), IndexError> {
        let place = "parent = ?1 AND name = ?2";
        let parent = self.key(parent);
        self.run(&close_sql(place), params![parent, name, self.snap.0 as i64])?;
        let gone = self.run("DELETE FROM cur WHERE parent = ?1 AND name = ?2", params![parent, name])?;
        if gone == 0 {
            let name = crate::types::path::show(name);
            return Err(IndexError::Contradiction(format!("the name {name} is closed but is not open")));
        }
        Ok(())
    }

    fn gap(&mut self, g: &Gap) -> Result<(), IndexError> {
        self.run(
            "INSERT INTO gap(source, snap, subtree, from_ns, to_ns, why) VALUES(?1,?2,?3,?4,?5,?6)",
            params![self.source.0, self.snap.0 as i64, g.subtree, g.from.0, g.to.0, g.why],
        )
        .map(drop)
    }

    fn insert_ver(&self, node: Node, v: &Version, content: i64) -> Result<(), IndexError> {
        let num = key(self.source, v.ver.0);
        self.stmt("INSERT INTO ver VALUES(?1,?2,?3,?4,?5)")?
            .execute(params![num, node.0 as i64, self.snap.0 as i64, v.attr.size as i64, content])
            .map_err(|e| match e.sqlite_error_code() {
                Some(rusqlite::ErrorCode::ConstraintViolation) => {
                    IndexError::Contradiction(format!("the version {} is given twice", v.ver.0))
                }
                _ => IndexError::Sqlite { doing: "take a version", source: e },
            })
            .map(drop)
    }

    /// The code of a content: 0 for none, odd for one chunk (twice its row and one), even for a row of `runs` (twice it).
    fn content(&mut self, v: &Version, before: Option<i64>) -> Result<i64, IndexError> {
        let contradiction = |what: &str| IndexError::Contradiction(format!("version {}: {what}", v.ver.0));
        match &v.content {
            Content::None => Ok(0),
            Content::Same => {
                let before = before.ok_or_else(|| contradiction("has the content of a version that is not there"))?;
                self.content_code(before)
            }
            Content::Target(target) => self.insert_runs(target),
            Content::Runs(runs) => {
                let pieces = self.pieces(v, runs, before)?;
                if pieces.iter().map(Piece::len).try_fold(0u64, u64::checked_add) != Some(v.attr.size) {
                    return Err(contradiction("its runs do not add up to its size"));
                }
                match pieces[..] {
                    [Piece::Chunk { num, .. }] => Ok(num << 1 | 1),
                    _ => self.insert_runs(&encode_pieces(&pieces)),
                }
            }
        }
    }

    fn content_code(&self, ver: i64) -> Result<i64, IndexError> {
        self.stmt("SELECT content FROM ver WHERE num = ?1")?
            .query_row([key(self.source, ver as u64)], |r| r.get(0))
            .map_err(IndexError::at("find a version"))
    }

    fn insert_runs(&self, data: &[u8]) -> Result<i64, IndexError> {
        self.run("INSERT INTO runs(data) VALUES(?1)", [data])?;
        Ok(self.conn.last_insert_rowid() << 1)
    }

    fn pieces(&self, v: &Version, runs: &[Run], before: Option<i64>) -> Result<Vec<Piece>, IndexError> {
        let contradiction = |what: &str| IndexError::Contradiction(format!("version {}: {what}", v.ver.0));
        let mut kept: Option<Vec<Piece>> = None;
        let mut pieces = Vec::with_capacity(runs.len());
        for run in runs {
            match *run {
                Run::Hole(len) => pieces.push(Piece::Hole(len)),
                Run::New(n) => {
                    let len =
                        *self.new.get(n as usize).ok_or_else(|| contradiction("names a chunk before its frame"))?;
                    pieces.push(Piece::Chunk { num: self.first_new + i64::from(n), len });
                }
                Run::Known(hash) => {
                    pieces
                        .push(self.find_chunk(&hash)?.ok_or_else(|| contradiction("names a chunk that is not there"))?);
                }
                Run::Keep { from, count } => {
                    if kept.is_none() {
                        let before =
                            before.ok_or_else(|| contradiction("keeps runs of a version that is not there"))?;
                        kept = Some(super::chunks::pieces_of(self.conn, self.content_code(before)?)?);
                    }
                    let all = kept.as_deref().unwrap_or_default();
                    let range = from as usize..(from as usize).saturating_add(count as usize);
                    pieces.extend_from_slice(
                        all.get(range).ok_or_else(|| contradiction("keeps runs that are not there"))?,
                    );
                }
            }
        }
        Ok(pieces)
    }

    fn find_chunk(&self, hash: &Hash) -> Result<Option<Piece>, IndexError> {
        super::chunks::find_chunk(self.conn, hash).map(|c| c.map(|(num, len)| Piece::Chunk { num, len }))
    }

    fn xattr(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<i64, IndexError> {
        if xattrs.is_empty() {
            return Ok(0);
        }
        let mut data = Vec::new();
        encode_xattrs(xattrs, &mut data);
        if let Some(num) = self.xattrs.get(&data) {
            return Ok(*num);
        }
        let hash = Hash(*blake3::hash(&data).as_bytes()).prefix();
        let found: Option<i64> = self
            .stmt("SELECT num FROM xattr WHERE hash = ?1 AND data = ?2")?
            .query_row(params![hash, data], |r| r.get(0))
            .optional()
            .map_err(IndexError::at("find extended attributes"))?;
        let num = match found {
            Some(num) => num,
            None => {
                self.run("INSERT INTO xattr(hash, data) VALUES(?1,?2)", params![hash, data])?;
                self.conn.last_insert_rowid()
            }
        };
        if self.xattrs.len() >= XATTR_CACHE {
            self.xattrs.clear();
        }
        self.xattrs.insert(data, num);
        Ok(num)
    }
}

/// Keeps the current rows at `place` (parameters 1 and 2) as closed at snapshot ?3, unless they began with it.
fn close_sql(place: &str) -> String {
    let rest = COLUMNS.split_once("name,").map(|(_, rest)| rest).unwrap_or_default();
    format!(
        "INSERT INTO old(parent, to_snap, name, {rest}) SELECT parent, ?3, name, {rest} FROM cur WHERE {place} AND from_snap < ?3"
    )
}

fn bits(v: &Version) -> i64 {
    if v.fuzzy { FUZZY } else { 0 }
}

fn seen(v: &Version) -> Option<SqlTime> {
    (!v.racy && !v.fuzzy).then_some(SqlTime(v.attr.ctime))
}
