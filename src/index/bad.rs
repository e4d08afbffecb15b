//! Frames that can't be read: what lies in them is stored again when it is seen again, and is named there then.
//!
//! A check notes what it found; what a repair has stated in the repository is taken in from there. Reading asks nothing of this: a frame
//! that was put back reads.

use crate::index::{chunks::chunk_hash, error::IndexError, open::Index, tree::Reader};
use crate::types::ids::{Hash, Id};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

const DOING: &str = "note frames that can't be read";

/// A frame by its pack and its number in it.
pub type FramePlace = (Id, u32);

/// The rows of the frames that can't be read.
pub(super) const ROWS: &str =
    "SELECT f.num FROM bad_frame b JOIN pack p ON p.id = b.pack JOIN frame f ON f.pack = p.num AND f.number = b.number";

/// A chunk that contents name, in a frame that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NeededChunk {
    /// Its row.
    pub num: i64,
    /// The row of its frame.
    pub frame: i64,
    /// Its hash.
    pub hash: Hash,
    /// Its first byte in the frame.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
}

impl Index {
    /// Takes in what the object `name` states: that these frames can't be read.
    pub fn set_lost(&self, name: &str, frames: &[FramePlace], patience: Duration) -> Result<(), IndexError> {
        self.change(patience, |conn| {
            for (pack, number) in frames {
                conn.prepare_cached("INSERT OR REPLACE INTO bad_frame VALUES(?1, ?2, 1)")?
                    .execute(params![&pack.0[..], number])?;
            }
            conn.execute("INSERT OR IGNORE INTO collected VALUES(?1)", [name])?;
            refresh(conn)?;
            stale(conn)
        })
    }

    /// Notes what a check found: frames that can't be read, and some of those that were known as such and read whole now.
    pub fn note_read(&self, bad: &[FramePlace], whole: &[FramePlace], patience: Duration) -> Result<(), IndexError> {
        if bad.is_empty() && whole.is_empty() {
            return Ok(());
        }
        self.change(patience, |conn| {
            let mut changed = 0;
            for (pack, number) in bad {
                changed += conn
                    .prepare_cached("INSERT OR IGNORE INTO bad_frame VALUES(?1, ?2, 0)")?
                    .execute(params![&pack.0[..], number])?;
            }
            for (pack, number) in whole {
                changed += conn
                    .prepare_cached("DELETE FROM bad_frame WHERE pack = ?1 AND number = ?2")?
                    .execute(params![&pack.0[..], number])?;
            }
            if changed == 0 {
                return Ok(());
            }
            refresh(conn)?;
            stale(conn)
        })
    }
}

/// Brings the chunks in frames that can't be read up to date with the frames.
pub(super) fn refresh(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("DELETE FROM bad_chunk")?;
    if conn.query_row("SELECT EXISTS(SELECT 1 FROM bad_frame)", [], |r| r.get(0))? {
        let sql = format!("INSERT INTO bad_chunk SELECT num, prefix FROM chunk WHERE frame IN ({ROWS})");
        conn.execute(&sql, [])?;
    }
    Ok(())
}

/// A frame that the index takes in, and the row of its first chunk: where it can't be read, or brings what lies in one that can't, contents are to be looked at again.
pub(super) fn note_new(conn: &Connection, (frame, first): (i64, i64), chunks: &[(Hash, u32)]) -> rusqlite::Result<()> {
    let any = "SELECT EXISTS(SELECT 1 FROM bad_frame)";
    if !conn.prepare_cached(any)?.query_row([], |r| r.get::<_, bool>(0))? {
        return Ok(());
    }
    let sql = "SELECT 1 FROM frame f JOIN pack p ON p.num = f.pack JOIN bad_frame b ON b.pack = p.id AND b.number = f.number \
               WHERE f.num = ?1";
    if conn.prepare_cached(sql)?.query_row([frame], |_| Ok(())).optional()?.is_some() {
        let mut note = conn.prepare_cached("INSERT OR IGNORE INTO bad_chunk VALUES(?1, ?2)")?;
        for ((hash, _), num) in chunks.iter().zip(first..) {
            note.execute([num, hash.prefix()])?;
        }
        return stale(conn);
    }
    let mut same = conn.prepare_cached("SELECT 1 FROM bad_chunk WHERE prefix = ?1")?;
    for (hash, _) in chunks {
        if same.query_row([hash.prefix()], |_| Ok(())).optional()?.is_some() {
            return stale(conn);
        }
    }
    Ok(())
}

fn stale(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE meta SET value = 1 WHERE key = 'stale'", []).map(drop)
}

/// Whether a chunk lies in a frame that can't be read.
pub(super) fn is_bad(conn: &Connection, chunk: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS(SELECT 1 FROM bad_chunk WHERE num = ?1)")?.query_row([chunk], |r| r.get(0))
}

impl Reader {
    /// Whether frames are known that can't be read.
    pub fn has_bad_frames(&self) -> Result<bool, IndexError> {
        self.stmt("SELECT EXISTS(SELECT 1 FROM bad_frame)")?.query_row([], |r| r.get(0)).map_err(IndexError::at(DOING))
    }

    /// Whether the chunk of a row lies in a frame that can't be read.
    pub fn is_bad_chunk(&self, chunk: i64) -> Result<bool, IndexError> {
        is_bad(&self.conn, chunk).map_err(IndexError::at(DOING))
    }

    /// The frames that can't be read, as far as is known, and whether the repository states so.
    pub fn bad_frames(&self) -> Result<HashMap<FramePlace, bool>, IndexError> {
        let mut stmt = self.stmt("SELECT pack, number, stated FROM bad_frame")?;
        let rows =
            stmt.query_map([], |r| Ok(((Id(r.get(0)?), r.get(1)?), r.get(2)?))).map_err(IndexError::at(DOING))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at(DOING))
    }

    /// Of the frames that can't be read, the rows of those that nothing needs any more.
    pub fn bad_and_free(&self) -> Result<HashSet<i64>, IndexError> {
        if !self.has_bad_frames()? {
            return Ok(HashSet::new());
        }
        let live = self.live_frames(&self.live_chunks()?)?;
        let mut stmt = self.stmt(ROWS)?;
        let rows = stmt.query_map([], |r| r.get(0)).map_err(IndexError::at(DOING))?;
        let rows: Vec<i64> = rows.collect::<Result<_, _>>().map_err(IndexError::at(DOING))?;
        Ok(rows.into_iter().filter(|row| !live.has(*row)).collect())
    }

    /// The packs with a frame that can't be read and that something needs.
    pub fn packs_with_loss(&self) -> Result<HashSet<Id>, IndexError> {
        let free = self.bad_and_free()?;
        let sql = format!("SELECT f.num, p.id FROM frame f JOIN pack p ON p.num = f.pack WHERE f.num IN ({ROWS})");
        let mut stmt = self.stmt(&sql)?;
        let rows = stmt.query_map([], |r| Ok((r.get::<_, i64>(0)?, Id(r.get(1)?)))).map_err(IndexError::at(DOING))?;
        let rows: Vec<(i64, Id)> = rows.collect::<Result<_, _>>().map_err(IndexError::at(DOING))?;
        Ok(rows.into_iter().filter(|(row, _)| !free.contains(row)).map(|(_, pack)| pack).collect())
    }

    /// The chunks in these frames that contents name.
    pub fn needed_in(&self, frames: &HashSet<i64>) -> Result<Vec<NeededChunk>, IndexError> {
        let named = self.named_chunks()?;
        let mut needed = Vec::new();
        let mut stmt = self.stmt("SELECT num, frame, off, len FROM chunk ORDER BY num")?;
        let mut rows = stmt.query([]).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let read =
                || -> rusqlite::Result<(i64, i64, u32, u32)> { Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)) };
            let (num, frame, offset, len) = read().map_err(IndexError::at(DOING))?;
            if frames.contains(&frame) && named.has(num) {
                needed.push(NeededChunk { num, frame, hash: chunk_hash(&self.conn, num)?, offset, len });
            }
        }
        Ok(needed)
    }

    /// Whether the same chunk lies in a frame beside these.
    pub fn is_elsewhere(&self, chunk: &NeededChunk, than: &HashSet<i64>) -> Result<bool, IndexError> {
        let sql = "SELECT num, frame FROM chunk WHERE prefix = ?1 AND rest = ?2 AND len = ?3 AND frame <> 0";
        let mut stmt = self.stmt(sql)?;
        let rows = stmt
            .query_map(params![chunk.hash.prefix(), &chunk.hash.0[8..], chunk.len], |r| Ok((r.get(0)?, r.get(1)?)))
            .map_err(IndexError::at(DOING))?;
        for row in rows {
            let (num, frame): (i64, i64) = row.map_err(IndexError::at(DOING))?;
            if !than.contains(&frame) && !self.is_bad_chunk(num)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
