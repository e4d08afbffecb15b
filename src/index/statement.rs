//! What the statement of a record says, from the index as the record leaves it: the whole tree, or what differs from a full. It is
//! handed out in the order of directories and names, one entry at a time.

use crate::index::{
    apply::Applying,
    chunks::{chunk_hash, pieces_of, runs},
    contents::content_code,
    error::IndexError,
    open::COLUMNS,
    restate::version_at,
    rows::{Piece, Row, key},
    tree::{Reader, concat_sql, read_closed},
};
use crate::types::{
    attr::{Kind, Xattrs},
    ids::{Hash, Id, Node, Snap, SourceNum},
    op::{Content, Entry, Frame, Op, Run, Version, decode_xattrs},
    wire,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params};
use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

/// Runs are stated as kept where at least so many follow one another.
const KEEP_MIN: usize = 4;
const DOING: &str = "state the tree";

/// Closed rows of the source from ?1 up to ?2 as of ?3.
static CLOSED_AT: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {COLUMNS} FROM old WHERE parent >= ?1 AND parent < ?2 AND from_snap <= ?3 AND to_snap > ?3")
});

fn prepare<'a>(conn: &'a Connection, sql: &str) -> Result<CachedStatement<'a>, IndexError> {
    conn.prepare_cached(sql).map_err(IndexError::at("prepare a statement of the tree"))
}

/// A statement on its way out. What it keeps in memory is a few words a frame and a node with several names.
struct Statement<'a, F> {
    conn: &'a Connection,
    source: SourceNum,
    /// The snapshot whose tree it is; the current rows where none is named.
    at: Option<Snap>,
    /// The record that it is part of, whose own chunks need no frame.
    of: Option<&'a Applying<'a>>,
    base: Option<Snap>,
    /// The frames that records before it stated: their chunks are named by their hashes.
    before: &'a mut HashSet<i64>,
    /// The frames that were stated: the number of the first chunk, and its row.
    frames: HashMap<i64, (u32, i64)>,
    /// The rows of the chunks of the frame that was used last, and the number of the first.
    last: (std::ops::Range<i64>, u32),
    next_number: u32,
    pack: Option<Id>,
    /// Nodes with several names that were stated.
    linked: HashSet<Node>,
    xattrs: (i64, Xattrs),
    each: F,
}

impl Applying<'_> {
    /// Hands out the statement of the tree with this record's changes: all of it, or what differs from the snapshot `base`.
    ///
    /// Chunks are named by their numbers in the record: frames that it did not bring are stated again, before they are used.
    pub fn statement<E: From<IndexError>>(
        &self,
        base: Option<Snap>,
        each: impl FnMut(&Op) -> Result<(), E>,
    ) -> Result<(), E> {
        let next_number = self.new.len() as u32;
        let mut before = HashSet::new();
        let mut statement = Statement {
            conn: self.conn,
            source: self.source,
            at: None,
            of: Some(self),
            base,
            before: &mut before,
            frames: HashMap::new(),
            last: (0..0, 0),
            next_number,
            pack: None,
            linked: HashSet::new(),
            xattrs: (0, Vec::new()),
            each,
        };
        match base {
            None => statement.whole(),
            Some(base) => statement.since(base, self.snap),
        }
    }
}

impl Reader {
    /// Hands out the statement of the tree of a snapshot: all of it, or what differs from the one before it, `base`, where no
    /// snapshot lies between them. Frames that are in `stated` are not stated again, and those that are stated are added to it.
    pub fn statement<E: From<IndexError>>(
        &self,
        source: SourceNum,
        at: Snap,
        base: Option<Snap>,
        stated: &mut HashSet<i64>,
        each: impl FnMut(&Op) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = Statement {
            conn: &self.conn,
            source,
            at: Some(at),
            of: None,
            base,
            before: stated,
            frames: HashMap::new(),
            last: (0..0, 0),
            next_number: 0,
            pack: None,
            linked: HashSet::new(),
            xattrs: (0, Vec::new()),
            each,
        };
        match base {
            None => statement.whole()?,
            Some(base) => statement.since(base, at)?,
        }
        let frames = std::mem::take(&mut statement.frames);
        statement.before.extend(frames.into_keys());
        Ok(())
    }
}

impl<F, E> Statement<'_, F>
where
    E: From<IndexError>,
    F: FnMut(&Op) -> Result<(), E>,
{
    fn whole(&mut self) -> Result<(), E> {
        let (from, to) = (key(self.source, 0), key(SourceNum(self.source.0 + 1), 0));
        match self.at {
            None => {
                let sql = concat_sql!("SELECT ", " FROM cur WHERE parent >= ?1 AND parent < ?2 ORDER BY parent, name");
                self.entries(sql, params![from, to])
            }
            Some(at) => {
                let at = at.0 as i64;
                let sql = concat_sql!("SELECT ", " FROM cur WHERE parent >= ?1 AND parent < ?2 AND from_snap <= ?3");
                self.entries(
                    &format!("{} UNION ALL {} ORDER BY parent, name", &**sql, &*CLOSED_AT),
                    params![from, to, at],
                )
            }
        }
    }

    fn entries(&mut self, sql: &str, params: &[&dyn ToSql]) -> Result<(), E> {
        let conn = self.conn;
        let mut stmt = prepare(conn, sql)?;
        let mut rows = stmt.query(params).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let row = Row::read(r, None).map_err(IndexError::at(DOING))?;
            self.entry(row, None)?;
        }
        Ok(())
    }

    fn since(&mut self, base: Snap, upto: Snap) -> Result<(), E> {
        let range = params![key(self.source, base.0), key(self.source, upto.0)];
        let sql = "SELECT DISTINCT parent, name FROM change WHERE snap > ?1 AND snap <= ?2 ORDER BY parent, name";
        let conn = self.conn;
        let mut stmt = prepare(conn, sql)?;
        let mut rows = stmt.query(range).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let parent: i64 = r.get(0).map_err(IndexError::at(DOING))?;
            let name: Vec<u8> = r.get(1).map_err(IndexError::at(DOING))?;
            self.touched(parent, &name, base)?;
        }
        Ok(())
    }

    fn touched(&mut self, parent: i64, name: &[u8], base: Snap) -> Result<(), E> {
        let current = prepare(self.conn, concat_sql!("SELECT ", " FROM cur WHERE parent = ?1 AND name = ?2"))?
            .query_row(params![parent, name], |r| Row::read(r, None))
            .optional()
            .map_err(IndexError::at(DOING))?;
        if current.as_ref().is_some_and(|row| row.from <= base) {
            return Ok(());
        }
        let now = match self.at {
            Some(at) if current.as_ref().is_none_or(|row| row.from > at) => self.closed_at(parent, name, at)?,
            _ => current,
        };
        if now.as_ref().is_some_and(|row| row.from <= base) {
            return Ok(());
        }
        let then = self.closed_at(parent, name, base)?;
        match (now, then) {
            (None, None) => Ok(()),
            (None, Some(then)) => (self.each)(&Op::Close { parent: then.parent, name: then.name }),
            (Some(now), Some(then)) if (now.node, now.ver) == (then.node, then.ver) => Ok(()),
            (Some(now), then) => self.entry(now, then),
        }
    }

    fn closed_at(&self, parent: i64, name: &[u8], at: Snap) -> Result<Option<Row>, IndexError> {
        let sql = concat_sql!(
            "SELECT ",
            ", to_snap FROM old INDEXED BY old_name WHERE parent = ?1 AND name = ?2 AND to_snap > ?3 AND from_snap <= ?3 ORDER BY to_snap LIMIT 1"
        );
        prepare(self.conn, sql)?
            .query_row(params![parent, name, at.0 as i64], read_closed)
            .optional()
            .map_err(IndexError::at(DOING))
    }

    /// One entry; `then` is what stood there in the full.
    fn entry(&mut self, row: Row, then: Option<Row>) -> Result<(), E> {
        let entry = Entry { parent: row.parent, name: row.name.clone(), node: row.node };
        if row.linked && !self.linked.insert(row.node) {
            return (self.each)(&Op::Link(entry));
        }
        let content = self.content(&row, then)?;
        let mut attr = row.attr;
        attr.xattrs = self.xattrs(row.xattr)?;
        let racy = row.seen.is_none() && !row.fuzzy;
        let version = Version { ver: row.ver, place: row.place, attr, content, fuzzy: row.fuzzy, racy };
        (self.each)(&Op::Add(entry, version))
    }

    fn xattrs(&mut self, num: i64) -> Result<Xattrs, IndexError> {
        if num == 0 {
            return Ok(Vec::new());
        }
        if self.xattrs.0 != num {
            let found = prepare(self.conn, "SELECT data FROM xattr WHERE num = ?1")?
                .query_row([num], |r| Ok(decode_xattrs(&mut wire::Reader::new(r.get_ref(0)?.as_blob()?))))
                .optional()
                .map_err(IndexError::at(DOING))?;
            let xattrs = found
                .ok_or(IndexError::Damaged("a set of extended attributes is missing"))?
                .map_err(|_| IndexError::Damaged("a set of extended attributes"))?;
            self.xattrs = (num, xattrs);
        }
        Ok(self.xattrs.1.clone())
    }

    fn content(&mut self, row: &Row, then: Option<Row>) -> Result<Content, E> {
        let code = content_code(self.conn, self.source, row.ver.0 as i64)?;
        let kind = row.attr.kind();
        if code == 0 || !matches!(kind, Kind::File | Kind::Symlink) {
            return Ok(Content::None);
        }
        let before = match self.version_before(row, then)? {
            Some(ver) => content_code(self.conn, self.source, ver)?,
            None => 0,
        };
        if code == before {
            return Ok(Content::Same);
        }
        if kind == Kind::Symlink {
            return Ok(Content::Target(runs(self.conn, code)?));
        }
        let pieces = pieces_of(self.conn, code)?;
        let kept = if pieces.len() < 2 * KEEP_MIN { Vec::new() } else { pieces_of(self.conn, before)? };
        Ok(Content::Runs(self.runs(&pieces, &kept)?))
    }

    /// The version of the node in the full: mostly that of the same entry.
    fn version_before(&self, row: &Row, then: Option<Row>) -> Result<Option<i64>, IndexError> {
        match (self.base, then) {
            (None, _) => Ok(None),
            (Some(_), Some(then)) if then.node == row.node => Ok(Some(then.ver.0 as i64)),
            (Some(base), _) => version_at(self.conn, key(self.source, row.node.0), base),
        }
    }

    fn runs(&mut self, pieces: &[Piece], kept: &[Piece]) -> Result<Vec<Run>, E> {
        let mut first: HashMap<i64, usize> = HashMap::new();
        for (at, piece) in kept.iter().enumerate() {
            if let Piece::Chunk { num, .. } = piece {
                first.entry(*num).or_insert(at);
            }
        }
        let mut runs = Vec::with_capacity(pieces.len());
        let mut at = 0;
        while at < pieces.len() {
            let num = match pieces[at] {
                Piece::Hole(len) => {
                    runs.push(Run::Hole(len));
                    at += 1;
                    continue;
                }
                Piece::Chunk { num, .. } => num,
            };
            let from = first.get(&num).copied().unwrap_or(kept.len());
            let same = pieces[at..].iter().zip(&kept[from..]).take_while(|(a, b)| a == b).count();
            if same >= KEEP_MIN {
                runs.push(Run::Keep { from: from as u32, count: same as u32 });
                at += same;
            } else {
                runs.push(self.named(num)?);
                at += 1;
            }
        }
        Ok(runs)
    }

    /// A chunk by its number in the record; its frame is stated where it was not yet. By its hash, where a record before stated the
    /// frame.
    fn named(&mut self, chunk: i64) -> Result<Run, E> {
        if let Some(number) = self.of.and_then(|of| of.number_of(chunk)) {
            return Ok(Run::New(number));
        }
        if !self.last.0.contains(&chunk) {
            let frame = self.frame_row(chunk)?;
            if self.before.contains(&frame) {
                return Ok(Run::Known(chunk_hash(self.conn, chunk)?));
            }
            self.last = self.frame_of(chunk, frame)?;
        }
        Ok(Run::New(self.last.1 + (chunk - self.last.0.start) as u32))
    }

    fn frame_row(&self, chunk: i64) -> Result<i64, IndexError> {
        prepare(self.conn, "SELECT frame FROM chunk WHERE num = ?1")?
            .query_row([chunk], |r| r.get(0))
            .optional()
            .map_err(IndexError::at(DOING))?
            .ok_or(IndexError::Damaged("a chunk is missing"))
    }

    fn frame_of(&mut self, chunk: i64, frame: i64) -> Result<(std::ops::Range<i64>, u32), E> {
        if let Some((number, first)) = self.frames.get(&frame) {
            // How many chunks follow in the frame does not matter here.
            return Ok((*first..chunk + 1, *number));
        }
        let (pack, mut stated) = self.frame(frame)?;
        let (first, chunks) = self.chunks(chunk, frame)?;
        stated.chunks = chunks;
        let number = self.next_number;
        self.next_number = number
            .checked_add(stated.chunks.len() as u32)
            .ok_or_else(|| IndexError::Contradiction("a record names more than 2^32 chunks".into()))?;
        if self.pack != Some(pack) {
            self.pack = Some(pack);
            (self.each)(&Op::Pack(pack))?;
        }
        self.frames.insert(frame, (number, first));
        let end = first + stated.chunks.len() as i64;
        (self.each)(&Op::Frame(stated))?;
        Ok((first..end, number))
    }

    fn frame(&self, frame: i64) -> Result<(Id, Frame), IndexError> {
        let sql = "SELECT p.id, f.number, f.offset, f.sealed, f.raw, f.method FROM frame f \
                   JOIN pack p ON p.num = f.pack WHERE f.num = ?1";
        prepare(self.conn, sql)?
            .query_row([frame], |r| {
                let frame = Frame {
                    number: r.get(1)?,
                    offset: r.get::<_, i64>(2)? as u64,
                    sealed_len: r.get(3)?,
                    raw_len: r.get(4)?,
                    method: r.get(5)?,
                    chunks: Vec::new(),
                };
                Ok((Id(r.get(0)?), frame))
            })
            .optional()
            .map_err(IndexError::at(DOING))?
            .ok_or(IndexError::Damaged("a frame is missing"))
    }

    /// All chunks of the frame of one of them, and the row of the first: they follow one another.
    fn chunks(&self, chunk: i64, frame: i64) -> Result<(i64, Vec<(Hash, u32)>), IndexError> {
        let sql = "SELECT num FROM chunk WHERE num <= ?1 AND off = 0 ORDER BY num DESC LIMIT 1";
        let first: i64 = prepare(self.conn, sql)?.query_row([chunk], |r| r.get(0)).map_err(IndexError::at(DOING))?;
        let mut chunks = Vec::new();
        let mut stmt = prepare(self.conn, "SELECT len FROM chunk WHERE num = ?1 AND frame = ?2")?;
        for num in first.. {
            let len = stmt.query_row([num, frame], |r| r.get(0)).optional().map_err(IndexError::at(DOING))?;
            match len {
                Some(len) => chunks.push((chunk_hash(self.conn, num)?, len)),
                None => break,
            }
        }
        Ok((first, chunks))
    }
}
