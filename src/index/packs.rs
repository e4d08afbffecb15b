//! Packs that are marked, moved and gone.

use crate::index::{
    bad,
    error::IndexError,
    frames::{has_chunks, insert_frame},
    open::Index,
};
use crate::types::{ids::Id, op::Frame};
use rusqlite::{Connection, OptionalExtension, params};
use std::{collections::HashSet, time::Duration};

const DOING: &str = "take in a collection";

/// What a statement of collection says, as the index takes it.
#[derive(Debug)]
pub struct Collection<'a> {
    /// The name of the statement.
    pub name: &'a str,
    /// Packs that were made of others, with the frames in them.
    pub moved: &'a [(Id, Vec<Frame>)],
    /// Packs that will be deleted.
    pub marked: &'a [Id],
    /// Packs that are not in the store any more.
    pub gone: &'a HashSet<Id>,
}

impl Index {
    /// Takes in a statement of collection: frames that were moved are where they are now, and what is marked is not built on.
    pub fn collect(&self, collection: &Collection<'_>, patience: Duration) -> Result<(), IndexError> {
        self.change(patience, |conn| {
            for id in collection.marked {
                conn.execute("INSERT OR IGNORE INTO marked VALUES(?1)", [&id.0[..]])?;
            }
            for (id, frames) in collection.moved {
                conn.execute("INSERT OR IGNORE INTO moved VALUES(?1)", [&id.0[..]])?;
                let pack = pack_row(conn, *id)?;
                for frame in frames {
                    place(conn, pack, frame, collection.gone)?;
                }
            }
            conn.execute("INSERT OR IGNORE INTO collected VALUES(?1)", [collection.name])?;
            // What was moved is not where it could not be read any more.
            bad::refresh(conn)
        })
    }

    /// Adds the frames of a pack that the index does not know yet.
    pub fn learn_pack(&self, id: Id, frames: &[Frame], patience: Duration) -> Result<(), IndexError> {
        self.change(patience, |conn| {
            let pack = pack_row(conn, id)?;
            for frame in frames {
                let sql = "SELECT 1 FROM frame WHERE pack = ?1 AND number = ?2";
                if conn.prepare_cached(sql)?.query_row(params![pack, frame.number], |_| Ok(())).optional()?.is_none() {
                    insert_frame(conn, pack, frame)?;
                }
            }
            Ok(())
        })
    }

    /// Takes packs out of the index that are not in the store any more and that nothing needs. The last row of a table stays, empty: its
    /// number is not given again, and never means something else to a reader that has kept it.
    pub fn drop_packs(&self, packs: &[Id], patience: Duration) -> Result<(), IndexError> {
        self.change(patience, |conn| {
            conn.execute_batch("CREATE TEMP TABLE IF NOT EXISTS gone(num INTEGER PRIMARY KEY); DELETE FROM temp.gone;")?;
            for id in packs {
                let sql = "INSERT OR IGNORE INTO temp.gone SELECT f.num FROM frame f JOIN pack p ON p.num = f.pack WHERE p.id = ?1";
                conn.prepare_cached(sql)?.execute([&id.0[..]])?;
            }
            conn.execute_batch(
                "INSERT OR IGNORE INTO temp.gone VALUES(0);
                 UPDATE chunk SET frame = 0, prefix = 0, rest = zeroblob(24)
                     WHERE num = (SELECT max(num) FROM chunk) AND frame IN (SELECT num FROM temp.gone);
                 DELETE FROM chunk WHERE frame IN (SELECT num FROM temp.gone) AND num < (SELECT max(num) FROM chunk);
                 UPDATE frame SET pack = 0, number = 0, offset = 0, sealed = 0, raw = 0
                     WHERE num = (SELECT max(num) FROM frame) AND num IN (SELECT num FROM temp.gone);
                 DELETE FROM frame WHERE (pack = 0 OR num IN (SELECT num FROM temp.gone)) AND num < (SELECT max(num) FROM frame);
                 DELETE FROM temp.gone;",
            )?;
            for id in packs {
                conn.prepare_cached("DELETE FROM pack WHERE id = ?1")?.execute([&id.0[..]])?;
                conn.prepare_cached("DELETE FROM moved WHERE pack = ?1")?.execute([&id.0[..]])?;
                conn.prepare_cached("DELETE FROM bad_frame WHERE pack = ?1")?.execute([&id.0[..]])?;
            }
            bad::refresh(conn)
        })
    }

    pub(super) fn change(
        &self,
        patience: Duration,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), IndexError> {
        let conn = self.writer()?;
        conn.busy_timeout(patience).map_err(IndexError::at(DOING))?;
        conn.execute_batch("BEGIN IMMEDIATE").map_err(|e| match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => IndexError::Busy,
            _ => IndexError::at(DOING)(e),
        })?;
        // The connection ends with an error, and the transaction with it.
        change(&conn).map_err(IndexError::at(DOING))?;
        conn.execute_batch("COMMIT").map_err(IndexError::at(DOING))
    }
}

fn pack_row(conn: &Connection, id: Id) -> rusqlite::Result<i64> {
    conn.prepare_cached("INSERT OR IGNORE INTO pack(id) VALUES(?1)")?.execute([&id.0[..]])?;
    conn.prepare_cached("SELECT num FROM pack WHERE id = ?1")?.query_row([&id.0[..]], |r| r.get(0))
}

/// Frames with the same chunks in packs that are marked or gone are in this place from now on.
fn place(conn: &Connection, pack: i64, frame: &Frame, gone: &HashSet<Id>) -> rusqlite::Result<()> {
    let Some((hash, _)) = frame.chunks.first() else { return Ok(()) };
    let sql = "SELECT c.num, c.frame, p.id, f.pack = ?3 AND f.number = ?4, EXISTS(SELECT 1 FROM marked m WHERE m.pack = p.id) \
               FROM chunk c JOIN frame f ON f.num = c.frame JOIN pack p ON p.num = f.pack \
               WHERE c.prefix = ?1 AND c.rest = ?2 AND c.off = 0";
    let mut stmt = conn.prepare_cached(sql)?;
    let found: Vec<(i64, i64, Id, bool, bool)> = stmt
        .query_map(params![hash.prefix(), &hash.0[8..], pack, frame.number], |r| {
            Ok((r.get(0)?, r.get(1)?, Id(r.get(2)?), r.get(3)?, r.get(4)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut placed = false;
    for (first, row, of, here, marked) in found {
        if here {
            placed = true;
        } else if (marked || gone.contains(&of)) && has_chunks(conn, row, first, frame)? {
            conn.prepare_cached(
                "UPDATE frame SET pack = ?2, number = ?3, offset = ?4, sealed = ?5, raw = ?6, method = ?7 WHERE num = ?1",
            )?
            .execute(params![
                row,
                pack,
                frame.number,
                frame.offset as i64,
                frame.sealed_len,
                frame.raw_len,
                frame.method
            ])?;
            placed = true;
        }
    }
    if placed { Ok(()) } else { insert_frame(conn, pack, frame).map(drop) }
}

/// The row of the first chunk of a frame with just these chunks in a pack that is not marked, for a frame of one that is: it was moved.
pub(super) fn moved_frame(conn: &Connection, pack: i64, frame: &Frame) -> rusqlite::Result<Option<i64>> {
    let Some((hash, _)) = frame.chunks.first() else { return Ok(None) };
    let marked = "SELECT 1 FROM pack p JOIN marked m ON m.pack = p.id WHERE p.num = ?1";
    if conn.prepare_cached(marked)?.query_row([pack], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT c.num, c.frame FROM chunk c JOIN frame f ON f.num = c.frame JOIN pack p ON p.num = f.pack \
               WHERE c.prefix = ?1 AND c.rest = ?2 AND c.off = 0 AND NOT EXISTS(SELECT 1 FROM marked m WHERE m.pack = p.id)";
    let mut stmt = conn.prepare_cached(sql)?;
    let found: Vec<(i64, i64)> = stmt
        .query_map(params![hash.prefix(), &hash.0[8..]], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (first, row) in found {
        if has_chunks(conn, row, first, frame)? {
            return Ok(Some(first));
        }
    }
    Ok(None)
}
