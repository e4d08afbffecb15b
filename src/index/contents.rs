//! The versions of a record on their way into the index: their numbers, contents and extended attributes.

use crate::index::{
    apply::Applying,
    error::IndexError,
    rows::{Piece, encode_pieces, key},
};
use crate::types::{
    ids::{Hash, Node, SourceNum},
    op::{Content, Run, Version, encode_xattrs},
};
use rusqlite::{Connection, OptionalExtension, params};

/// How many sets of extended attributes are remembered while a record is applied.
const XATTR_CACHE: usize = 4096;

impl Applying<'_> {
    pub(super) fn insert_ver(&self, node: Node, v: &Version, content: i64) -> Result<(), IndexError> {
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
    pub(super) fn content(&mut self, v: &Version, before: Option<i64>) -> Result<i64, IndexError> {
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

    pub(super) fn content_code(&self, ver: i64) -> Result<i64, IndexError> {
        content_code(self.conn, self.source, ver)
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
                    pieces.push(self.brought(n).ok_or_else(|| contradiction("names a chunk before its frame"))?);
                }
                Run::Known(hash) => {
                    let found = self.find_chunk(&hash)?;
                    pieces.push(found.ok_or_else(|| IndexError::NoChunk(format!("version {}: {hash}", v.ver.0)))?);
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

    /// The chunk that this record brought with a number.
    fn brought(&self, n: u32) -> Option<Piece> {
        let len = *self.new.get(n as usize)?;
        let (first, row) = self.spans[..self.spans.partition_point(|(first, _)| *first <= n)].last()?;
        Some(Piece::Chunk { num: row + i64::from(n - first), len })
    }

    /// The number in this record of the chunk of a row, where the record brought it.
    pub(super) fn number_of(&self, row: i64) -> Option<u32> {
        let end = |at: usize| self.spans.get(at + 1).map_or(self.new.len() as u32, |(first, _)| *first);
        let holds =
            |(at, (first, start)): &(usize, &(u32, i64))| *start <= row && row < *start + i64::from(end(*at) - *first);
        let (_, (first, start)) = self.spans.iter().enumerate().find(holds)?;
        Some(first + (row - start) as u32)
    }

    fn find_chunk(&self, hash: &Hash) -> Result<Option<Piece>, IndexError> {
        super::chunks::find_chunk(self.conn, hash).map(|c| c.map(|(num, len)| Piece::Chunk { num, len }))
    }

    pub(super) fn xattr(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<i64, IndexError> {
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

/// The code of the content of a version.
pub(super) fn content_code(conn: &Connection, source: SourceNum, ver: i64) -> Result<i64, IndexError> {
    conn.prepare_cached("SELECT content FROM ver WHERE num = ?1")
        .and_then(|mut stmt| stmt.query_row([key(source, ver as u64)], |r| r.get(0)))
        .map_err(IndexError::at("find a version"))
}
