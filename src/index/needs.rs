//! What retention asks of the index: which snapshots need which contents, which contents need which chunks, and what those measure.

use crate::index::{
    chunks::pieces_of,
    error::IndexError,
    rows::{Piece, source_of},
    tree::Reader,
};
use crate::types::ids::{Snap, SourceNum};
use rusqlite::{Row as SqlRow, params};

/// An entry that leads to a regular file, for the snapshots `from <= s < to`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Need {
    /// The source.
    pub source: SourceNum,
    /// The first snapshot.
    pub from: Snap,
    /// The first one that does not need it any more.
    pub to: Option<Snap>,
    /// The code of the content.
    pub content: i64,
}

/// What a chunk measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkSize {
    /// Its row.
    pub num: i64,
    /// Its length in bytes.
    pub len: u32,
    /// The length of its frame when decompressed.
    pub frame_raw: u32,
    /// The length of its frame in its pack.
    pub frame_sealed: u32,
}

impl Reader {
    /// The largest row of a list of runs, and of a chunk.
    pub fn largest_rows(&self) -> Result<(i64, i64), IndexError> {
        let sql = "SELECT (SELECT coalesce(max(num), 0) FROM runs), (SELECT coalesce(max(num), 0) FROM chunk)";
        self.stmt(sql)?.query_row([], |r| Ok((r.get(0)?, r.get(1)?))).map_err(IndexError::at("count the contents"))
    }

    /// Gives each entry of all sources that leads or led to a regular file with content. One file comes several times, by its names
    /// and by its versions.
    pub fn each_need(&self, mut each: impl FnMut(Need)) -> Result<(), IndexError> {
        let current = "SELECT e.parent, e.from_snap, NULL, v.content FROM cur e \
                       LEFT JOIN ver v ON v.num = (e.parent >> 48 << 48) | e.ver WHERE e.mode & 61440 = 32768";
        let closed = "SELECT e.parent, e.from_snap, e.to_snap, v.content FROM old e \
                      LEFT JOIN ver v ON v.num = (e.parent >> 48 << 48) | e.ver WHERE e.mode & 61440 = 32768";
        let mut missing = false;
        for sql in [current, closed] {
            self.each_row(sql, |r| {
                let content: Option<i64> = r.get(3)?;
                missing |= content.is_none();
                let snap = |n: i64| Snap(n as u64);
                if let Some(content) = content.filter(|content| *content != 0) {
                    let (from, to) = (snap(r.get(1)?), r.get::<_, Option<i64>>(2)?.map(snap));
                    each(Need { source: source_of(r.get(0)?), from, to, content });
                }
                Ok(())
            })?;
        }
        if missing { Err(IndexError::Damaged("a version is missing")) } else { Ok(()) }
    }

    /// Gives the row of each chunk of a content; one that is there twice, twice.
    pub fn each_chunk_of(&self, content: i64, mut each: impl FnMut(i64)) -> Result<(), IndexError> {
        for piece in pieces_of(&self.conn, content)? {
            if let Piece::Chunk { num, .. } = piece {
                each(num);
            }
        }
        Ok(())
    }

    /// Gives each chunk, in the order of rows.
    pub fn each_chunk_size(&self, mut each: impl FnMut(ChunkSize)) -> Result<(), IndexError> {
        let sql = "SELECT c.num, c.len, f.raw, f.sealed FROM chunk c JOIN frame f ON f.num = c.frame ORDER BY c.num";
        self.each_row(sql, |r| {
            each(ChunkSize { num: r.get(0)?, len: r.get(1)?, frame_raw: r.get(2)?, frame_sealed: r.get(3)? });
            Ok(())
        })
    }

    fn each_row(&self, sql: &str, mut each: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<()>) -> Result<(), IndexError> {
        let doing = "add up what is needed";
        let mut stmt = self.stmt(sql)?;
        let mut rows = stmt.query(params![]).map_err(IndexError::at(doing))?;
        while let Some(row) = rows.next().map_err(IndexError::at(doing))? {
            each(row).map_err(IndexError::at(doing))?;
        }
        Ok(())
    }
}
