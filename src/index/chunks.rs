//! Where content lies: versions to pieces, chunks to frames and packs.

use crate::index::{
    bad,
    error::IndexError,
    rows::{Piece, decode_pieces, key},
    tree::Reader,
};
use crate::types::ids::{Hash, Id, Node, Snap, SourceNum, Ver};
use rusqlite::{Connection, OptionalExtension, params};

/// Where a chunk lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// The frame's row: what a cache of frames goes by.
    pub frame: i64,
    /// The pack.
    pub pack: Id,
    /// The frame's number in the pack.
    pub number: u32,
    /// The frame's first byte in the pack.
    pub offset: u64,
    /// The frame's length in the pack.
    pub sealed_len: u32,
    /// The frame's length when decompressed.
    pub raw_len: u32,
    /// The number of its compression method.
    pub method: u8,
    /// The chunk's first byte in the frame.
    pub chunk_offset: u32,
    /// The chunk's length.
    pub chunk_len: u32,
}

/// A row of frame, pack, number in it, offset, sealed and raw length, method, and the chunk's offset and length.
fn read_location(r: &rusqlite::Row<'_>) -> rusqlite::Result<Location> {
    Ok(Location {
        frame: r.get(0)?,
        pack: Id(r.get(1)?),
        number: r.get(2)?,
        offset: r.get::<_, i64>(3)? as u64,
        sealed_len: r.get(4)?,
        raw_len: r.get(5)?,
        method: r.get(6)?,
        chunk_offset: r.get(7)?,
        chunk_len: r.get(8)?,
    })
}

/// What a version is of, and what it contains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionRow {
    /// The node.
    pub node: Node,
    /// The first snapshot with this version.
    pub from: Snap,
    /// The size in bytes.
    pub size: u64,
    /// The code of its content, for [`Reader::pieces`] and [`Reader::target`]; 0 for none. The same code means the same content.
    pub content: i64,
}

/// The row and length of the newest chunk with this hash: an older one may lie in a pack that was lost. One in a pack that is marked, or
/// in a frame that can't be read, only where there is no other.
pub(super) fn find_chunk(conn: &Connection, hash: &Hash) -> Result<Option<(i64, u32)>, IndexError> {
    let doing = "find a chunk";
    let mut stmt = conn
        .prepare_cached("SELECT num, rest, len FROM chunk WHERE prefix = ?1 ORDER BY num DESC")
        .map_err(IndexError::at("prepare a look-up"))?;
    let mut rows = stmt.query([hash.prefix()]).map_err(IndexError::at(doing))?;
    let mut found: Vec<(i64, u32)> = Vec::new();
    while let Some(row) = rows.next().map_err(IndexError::at(doing))? {
        let read = |r: &rusqlite::Row<'_>| -> rusqlite::Result<Option<(i64, u32)>> {
            Ok((r.get_ref(1)?.as_blob()? == &hash.0[8..]).then_some((r.get(0)?, r.get(2)?)))
        };
        found.extend(read(row).map_err(IndexError::at(doing))?);
    }
    if found.len() > 1 {
        for at in &found {
            let avoided = is_marked(conn, at.0).and_then(|marked| Ok(marked || bad::is_bad(conn, at.0)?));
            if !avoided.map_err(IndexError::at(doing))? {
                return Ok(Some(*at));
            }
        }
    }
    Ok(found.first().copied())
}

/// Whether a chunk lies in a pack that is marked.
fn is_marked(conn: &Connection, chunk: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM chunk c JOIN frame f ON f.num = c.frame JOIN pack p ON p.num = f.pack \
               JOIN marked m ON m.pack = p.id WHERE c.num = ?1)";
    conn.prepare_cached(sql)?.query_row([chunk], |r| r.get(0))
}

/// The pieces behind a content code.
pub(super) fn pieces_of(conn: &Connection, content: i64) -> Result<Vec<Piece>, IndexError> {
    if content == 0 {
        return Ok(Vec::new());
    }
    if content & 1 == 0 {
        return decode_pieces(&runs(conn, content)?);
    }
    let num = content >> 1;
    let mut stmt =
        conn.prepare_cached("SELECT len FROM chunk WHERE num = ?1").map_err(IndexError::at("prepare a look-up"))?;
    let len = stmt.query_row([num], |r| r.get(0)).optional().map_err(IndexError::at("find a chunk"))?;
    Ok(vec![Piece::Chunk { num, len: len.ok_or(IndexError::Damaged("a chunk is missing"))? }])
}

/// The hash of the chunk of a row.
pub(super) fn chunk_hash(conn: &Connection, chunk: i64) -> Result<Hash, IndexError> {
    let mut stmt = conn
        .prepare_cached("SELECT prefix, rest FROM chunk WHERE num = ?1")
        .map_err(IndexError::at("prepare a look-up"))?;
    let found = stmt
        .query_row([chunk], |r| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&r.get::<_, i64>(0)?.to_be_bytes());
            hash[8..].copy_from_slice(&r.get::<_, [u8; 24]>(1)?);
            Ok(Hash(hash))
        })
        .optional()
        .map_err(IndexError::at("find a chunk"))?;
    found.ok_or(IndexError::Damaged("a chunk is missing"))
}

pub(super) fn runs(conn: &Connection, content: i64) -> Result<Vec<u8>, IndexError> {
    let mut stmt =
        conn.prepare_cached("SELECT data FROM runs WHERE num = ?1").map_err(IndexError::at("prepare a look-up"))?;
    let data = stmt
        .query_row([content >> 1], |r| Ok(r.get_ref(0)?.as_blob()?.to_vec()))
        .optional()
        .map_err(IndexError::at("read a content"))?;
    data.ok_or(IndexError::Damaged("a content is missing"))
}

impl Reader {
    /// A version of a source.
    pub fn version(&self, source: SourceNum, ver: Ver) -> Result<Option<VersionRow>, IndexError> {
        self.stmt("SELECT node, from_snap, size, content FROM ver WHERE num = ?1")?
            .query_row([key(source, ver.0)], |r| {
                Ok(VersionRow {
                    node: Node(r.get::<_, i64>(0)? as u64),
                    from: Snap(r.get::<_, i64>(1)? as u64),
                    size: r.get::<_, i64>(2)? as u64,
                    content: r.get(3)?,
                })
            })
            .optional()
            .map_err(IndexError::at("find a version"))
    }

    /// The pieces of a file's content, in order.
    pub fn pieces(&self, content: i64) -> Result<Vec<Piece>, IndexError> {
        pieces_of(&self.conn, content)
    }

    /// The target of a symbolic link.
    pub fn target(&self, content: i64) -> Result<Vec<u8>, IndexError> {
        if content == 0 || content & 1 == 1 {
            return Err(IndexError::Damaged("a symbolic link has no target"));
        }
        runs(&self.conn, content)
    }

    /// Where the chunk of a row lies.
    pub fn location(&self, chunk: i64) -> Result<Location, IndexError> {
        let sql = "SELECT f.num, p.id, f.number, f.offset, f.sealed, f.raw, f.method, c.off, c.len \
                   FROM chunk c JOIN frame f ON f.num = c.frame JOIN pack p ON p.num = f.pack WHERE c.num = ?1";
        let found =
            self.stmt(sql)?.query_row([chunk], read_location).optional().map_err(IndexError::at("find a chunk"))?;
        found.ok_or(IndexError::Damaged("a chunk is missing"))
    }

    /// Where a frame lies, without a chunk.
    pub fn frame_location(&self, frame: i64) -> Result<Option<Location>, IndexError> {
        let sql = "SELECT f.num, p.id, f.number, f.offset, f.sealed, f.raw, f.method, 0, 0 FROM frame f \
                   JOIN pack p ON p.num = f.pack WHERE f.num = ?1";
        self.stmt(sql)?.query_row([frame], read_location).optional().map_err(IndexError::at("find a frame"))
    }

    /// Up to `count` frames that follow one in its pack, in order, without chunks. What was read one after another lies so.
    pub fn frames_after(&self, frame: i64, count: usize) -> Result<Vec<Location>, IndexError> {
        // Several packs are written at a time, and their frames mixed in the order of rows: but never far apart.
        let sql = "SELECT f.num, p.id, f.number, f.offset, f.sealed, f.raw, f.method, 0, 0 FROM frame f \
                   JOIN pack p ON p.num = f.pack WHERE f.num > ?1 AND f.num <= ?1 + 64 \
                   AND f.pack = (SELECT pack FROM frame WHERE num = ?1) ORDER BY f.num LIMIT ?2";
        let doing = "find the frames that follow";
        let mut stmt = self.stmt(sql)?;
        let rows = stmt.query_map([frame, count as i64], read_location).map_err(IndexError::at(doing))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at(doing))
    }

    /// The hash of the chunk of a row.
    pub fn chunk_hash(&self, chunk: i64) -> Result<Hash, IndexError> {
        chunk_hash(&self.conn, chunk)
    }

    /// The newest row of a chunk with this hash.
    pub fn find_chunk(&self, hash: &Hash) -> Result<Option<i64>, IndexError> {
        Ok(find_chunk(&self.conn, hash)?.map(|(num, _)| num))
    }

    /// All packs that the index knows, with the end of the last frame in each: no pack may be shorter.
    pub fn packs(&self) -> Result<Vec<(Id, u64)>, IndexError> {
        let sql = "SELECT p.id, coalesce(max(f.offset + f.sealed), 0) FROM pack p LEFT JOIN frame f ON f.pack = p.num GROUP BY p.num";
        let mut stmt = self.stmt(sql)?;
        let rows = stmt
            .query_map(params![], |r| Ok((Id(r.get(0)?), r.get::<_, i64>(1)? as u64)))
            .map_err(IndexError::at("list the packs"))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at("list the packs"))
    }
}
