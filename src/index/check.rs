//! What a check of the repository asks of the index: everything it holds about packs, and which files need a chunk.

use crate::index::{
    chunks::{Location, pieces_of},
    error::IndexError,
    rows::{Piece, number, source_of},
    tree::Reader,
};
use crate::types::{
    ids::{Hash, Id, Node, Snap, SourceNum, Ver},
    op::Frame,
};
use rusqlite::{OptionalExtension, params};

/// A frame as the index has it; its list of chunks is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameRow {
    /// Its row.
    pub num: i64,
    /// The pack.
    pub pack: Id,
    /// Where it lies.
    pub frame: Frame,
}

impl FrameRow {
    /// The whole frame, as if it were one chunk.
    pub fn whole(&self) -> Location {
        let f = &self.frame;
        Location {
            frame: self.num,
            pack: self.pack,
            number: f.number,
            offset: f.offset,
            sealed_len: f.sealed_len,
            raw_len: f.raw_len,
            method: f.method,
            chunk_offset: 0,
            chunk_len: f.raw_len,
        }
    }
}

/// A regular file under one name, as some snapshots show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRow {
    /// The source.
    pub source: SourceNum,
    /// The directory.
    pub parent: Node,
    /// The name in it.
    pub name: Vec<u8>,
    /// The version.
    pub ver: Ver,
    /// The size in bytes.
    pub size: u64,
    /// The first snapshot that shows it.
    pub from: Snap,
    /// The first one that does not any more.
    pub to: Option<Snap>,
}

/// A segment of a journal, as far as records end in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentRow {
    /// Its name.
    pub name: String,
    /// The first snapshot whose record ends in it.
    pub first: Snap,
    /// The last one.
    pub last: Snap,
    /// How many there are.
    pub count: u64,
}

impl Reader {
    /// All frames, in the order of packs and of their numbers.
    pub fn each_frame(&self, mut f: impl FnMut(FrameRow)) -> Result<(), IndexError> {
        let doing = "list the frames";
        let sql = "SELECT f.num, p.id, f.number, f.offset, f.sealed, f.raw, f.method FROM frame f \
                   JOIN pack p ON p.num = f.pack ORDER BY p.num, f.number";
        let mut stmt = self.stmt(sql)?;
        let mut rows = stmt.query([]).map_err(IndexError::at(doing))?;
        while let Some(r) = rows.next().map_err(IndexError::at(doing))? {
            let read = || -> rusqlite::Result<FrameRow> {
                Ok(FrameRow {
                    num: r.get(0)?,
                    pack: Id(r.get(1)?),
                    frame: Frame {
                        number: r.get(2)?,
                        offset: r.get::<_, i64>(3)? as u64,
                        sealed_len: r.get(4)?,
                        raw_len: r.get(5)?,
                        method: r.get(6)?,
                        chunks: Vec::new(),
                    },
                })
            };
            f(read().map_err(IndexError::at(doing))?);
        }
        Ok(())
    }

    /// The first byte, in a frame, of the chunk with this hash and length; `None` where the index has no such chunk there.
    pub fn chunk_in_frame(&self, frame: i64, hash: &Hash, len: u32) -> Result<Option<u32>, IndexError> {
        self.stmt("SELECT off FROM chunk WHERE prefix = ?1 AND rest = ?2 AND frame = ?3 AND len = ?4")?
            .query_row(params![hash.prefix(), &hash.0[8..], frame, len], |r| r.get(0))
            .optional()
            .map_err(IndexError::at("find a chunk"))
    }

    /// Each chunk: its row and the row of its frame.
    pub fn each_chunk(&self, mut f: impl FnMut(i64, i64)) -> Result<(), IndexError> {
        let doing = "list the chunks";
        let mut stmt = self.stmt("SELECT num, frame FROM chunk ORDER BY num")?;
        let mut rows = stmt.query([]).map_err(IndexError::at(doing))?;
        while let Some(r) = rows.next().map_err(IndexError::at(doing))? {
            let read = || -> rusqlite::Result<(i64, i64)> { Ok((r.get(0)?, r.get(1)?)) };
            let (num, frame) = read().map_err(IndexError::at(doing))?;
            f(num, frame);
        }
        Ok(())
    }

    /// Each regular file under each of its names, with all the times that it was shown, and what it is made of. What it is made
    /// of may be an error: it is for the caller to say which file that concerns.
    pub fn each_file(&self, mut f: impl FnMut(FileRow, Result<Vec<Piece>, IndexError>)) -> Result<(), IndexError> {
        let doing = "list the files";
        for sql in [
            "SELECT parent, name, c.ver, c.size, c.from_snap, NULL, v.content FROM cur c \
             LEFT JOIN ver v ON v.num = (c.parent >> 48 << 48) | c.ver WHERE c.mode & 61440 = 32768",
            "SELECT parent, name, c.ver, c.size, c.from_snap, c.to_snap, v.content FROM old c \
             LEFT JOIN ver v ON v.num = (c.parent >> 48 << 48) | c.ver WHERE c.mode & 61440 = 32768",
        ] {
            let mut stmt = self.stmt(sql)?;
            let mut rows = stmt.query([]).map_err(IndexError::at(doing))?;
            while let Some(r) = rows.next().map_err(IndexError::at(doing))? {
                let read = || -> rusqlite::Result<(FileRow, Option<i64>)> {
                    let parent: i64 = r.get(0)?;
                    let row = FileRow {
                        source: source_of(parent),
                        parent: Node(number(parent)),
                        name: r.get_ref(1)?.as_blob()?.to_vec(),
                        ver: Ver(r.get::<_, i64>(2)? as u64),
                        size: r.get::<_, i64>(3)? as u64,
                        from: Snap(r.get::<_, i64>(4)? as u64),
                        to: r.get::<_, Option<i64>>(5)?.map(|to| Snap(to as u64)),
                    };
                    Ok((row, r.get(6)?))
                };
                let (row, content) = read().map_err(IndexError::at(doing))?;
                let pieces = match content {
                    Some(content) => pieces_of(&self.conn, content),
                    None => Err(IndexError::Damaged("a version is missing")),
                };
                f(row, pieces);
            }
        }
        Ok(())
    }

    /// The segments of the journal in which records of a source end: each with its first and last snapshot and how many there are.
    pub fn segments(&self, source: SourceNum) -> Result<Vec<SegmentRow>, IndexError> {
        let doing = "list the segments of a journal";
        let sql = "SELECT segment, min(number), max(number), count(*) FROM snapshot WHERE source = ?1 GROUP BY segment";
        let mut stmt = self.stmt(sql)?;
        let rows = stmt
            .query_map([source.0], |r| {
                let n = |i| r.get::<_, i64>(i).map(|n| n as u64);
                Ok(SegmentRow { name: r.get(0)?, first: Snap(n(1)?), last: Snap(n(2)?), count: n(3)? })
            })
            .map_err(IndexError::at(doing))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at(doing))
    }
}
