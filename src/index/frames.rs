//! The frames of a record on their way into the index, with the chunks in them.

use crate::index::{apply::Applying, bad, error::IndexError};
use crate::types::{ids::Id, op::Frame};
use rusqlite::{Connection, OptionalExtension, params};

impl Applying<'_> {
    pub(super) fn pack(&mut self, id: Id) -> Result<(), IndexError> {
        self.run("INSERT OR IGNORE INTO pack(id) VALUES(?1)", [&id.0[..]])?;
        let num = self
            .stmt("SELECT num FROM pack WHERE id = ?1")?
            .query_row([&id.0[..]], |r| r.get(0))
            .map_err(IndexError::at("find a pack"))?;
        self.pack = Some(num);
        Ok(())
    }

    pub(super) fn frame(&mut self, f: &Frame) -> Result<(), IndexError> {
        let pack = self.pack.ok_or_else(|| IndexError::Contradiction("a frame stands before its pack".into()))?;
        let first = match self.known_frame(pack, f)? {
            Some(first) => first,
            None => self.new_frame(pack, f)?,
        };
        let number = self.new.len() as u32;
        let follows = |(from, row): &(u32, i64)| row + i64::from(number - from) == first;
        if !f.chunks.is_empty() && !self.spans.last().is_some_and(follows) {
            self.spans.push((number, first));
        }
        self.new.extend(f.chunks.iter().map(|(_, len)| *len));
        Ok(())
    }

    /// The row of the first chunk of a frame; the others follow it.
    fn new_frame(&self, pack: i64, f: &Frame) -> Result<i64, IndexError> {
        insert_frame(self.conn, pack, f).map_err(IndexError::at("take a frame"))
    }

    /// The row of the first chunk of a frame that is known already; the others follow it.
    fn known_frame(&self, pack: i64, f: &Frame) -> Result<Option<i64>, IndexError> {
        let known: Option<(i64, i64, u32, u32, u8)> = self
            .stmt("SELECT num, offset, sealed, raw, method FROM frame WHERE pack = ?1 AND number = ?2")?
            .query_row(params![pack, f.number], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))
            .optional()
            .map_err(IndexError::at("find a frame"))?;
        let Some((frame, offset, sealed, raw, method)) = known else {
            return super::packs::moved_frame(self.conn, pack, f).map_err(IndexError::at("find a frame"));
        };
        let otherwise = || IndexError::Contradiction(format!("the frame {} of a pack is stated in two ways", f.number));
        if (offset as u64, sealed, raw, method) != (f.offset, f.sealed_len, f.raw_len, f.method) {
            return Err(otherwise());
        }
        let Some((hash, _)) = f.chunks.first() else { return Ok(Some(0)) };
        let first: Option<i64> = self
            .stmt("SELECT num FROM chunk WHERE prefix = ?1 AND rest = ?2 AND frame = ?3 AND off = 0")?
            .query_row(params![hash.prefix(), &hash.0[8..], frame], |r| r.get(0))
            .optional()
            .map_err(IndexError::at("find a chunk"))?;
        let first = first.ok_or_else(otherwise)?;
        match has_chunks(self.conn, frame, first, f).map_err(IndexError::at("find a chunk"))? {
            true => Ok(Some(first)),
            false => Err(otherwise()),
        }
    }
}

/// Adds a frame with its chunks. Gives the row of the first; the others follow it.
pub(super) fn insert_frame(conn: &Connection, pack: i64, f: &Frame) -> rusqlite::Result<i64> {
    conn.prepare_cached("INSERT INTO frame(pack, number, offset, sealed, raw, method) VALUES(?1,?2,?3,?4,?5,?6)")?
        .execute(params![pack, f.number, f.offset as i64, f.sealed_len, f.raw_len, f.method])?;
    let (frame, mut offset, mut first) = (conn.last_insert_rowid(), 0u32, 0);
    let mut insert = conn.prepare_cached("INSERT INTO chunk(prefix, rest, frame, off, len) VALUES(?1,?2,?3,?4,?5)")?;
    for (hash, len) in &f.chunks {
        let num = insert.insert(params![hash.prefix(), &hash.0[8..], frame, offset, len])?;
        if offset == 0 {
            first = num;
        }
        offset += len;
    }
    bad::note_new(conn, (frame, first), &f.chunks)?;
    Ok(first)
}

/// Whether the chunks of a frame are these, from this row on, and no more.
pub(super) fn has_chunks(conn: &Connection, frame: i64, first: i64, wanted: &Frame) -> rusqlite::Result<bool> {
    let mut stmt = conn.prepare_cached("SELECT prefix, rest, len FROM chunk WHERE num = ?1 AND frame = ?2")?;
    for ((hash, len), num) in wanted.chunks.iter().zip(first..) {
        let same = stmt
            .query_row([num, frame], |r| {
                let rest = r.get_ref(1)?.as_blob()? == &hash.0[8..];
                Ok(rest && r.get::<_, i64>(0)? == hash.prefix() && r.get::<_, u32>(2)? == *len)
            })
            .optional()?;
        if same != Some(true) {
            return Ok(false);
        }
    }
    let behind = stmt.query_row([first + wanted.chunks.len() as i64, frame], |_| Ok(())).optional()?;
    Ok(behind.is_none())
}
