//! Which stored bytes something still needs.

use crate::index::{
    bad,
    error::IndexError,
    rows::{Piece, decode_pieces},
    tree::Reader,
};
use crate::types::{
    ids::{Id, SourceNum},
    op::Frame,
};
use rusqlite::{OptionalExtension, params};
use std::collections::HashSet;

const DOING: &str = "find out what is needed";

/// A pack that the index knows, and what of it is needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackUse {
    /// The pack.
    pub id: Id,
    /// Its frames.
    pub frames: u64,
    /// Those of them with a chunk that some version needs.
    pub live_frames: u64,
    /// The length of its frames, in bytes.
    pub bytes: u64,
    /// The length of those that are needed.
    pub live_bytes: u64,
}

/// One bit a row.
pub(super) struct Bits(Vec<u64>);

impl Bits {
    fn new(max: i64) -> Bits {
        Bits(vec![0; (max.max(0) as usize >> 6) + 1])
    }

    fn set(&mut self, row: i64) {
        if let Some(word) = self.0.get_mut(row as usize >> 6) {
            *word |= 1 << (row & 63);
        }
    }

    pub(super) fn has(&self, row: i64) -> bool {
        self.0.get(row as usize >> 6).is_some_and(|word| word >> (row & 63) & 1 == 1)
    }
}

impl Reader {
    /// All packs, with what of them some version in the index needs. A chunk that lies in several frames is needed in each.
    ///
    /// Takes one pass over the versions, the contents and the chunks, and a bit of memory for each chunk and each frame.
    pub fn pack_uses(&self) -> Result<Vec<PackUse>, IndexError> {
        self.uses(&self.live_chunks()?)
    }

    /// The same, but a chunk that lies in several frames is needed only where this index takes it from.
    pub fn pack_needs(&self) -> Result<Vec<PackUse>, IndexError> {
        self.uses(&self.named_chunks()?)
    }

    fn uses(&self, chunks: &Bits) -> Result<Vec<PackUse>, IndexError> {
        let frames = self.live_frames(chunks)?;
        let mut uses: Vec<PackUse> = Vec::new();
        let mut stmt = self.stmt(
            "SELECT p.id, f.num, f.sealed FROM pack p LEFT JOIN frame f ON f.pack = p.num ORDER BY p.num, f.number",
        )?;
        let mut rows = stmt.query([]).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let read = || -> rusqlite::Result<(Id, Option<i64>, u64)> {
                Ok((Id(r.get(0)?), r.get(1)?, r.get::<_, Option<i64>>(2)?.unwrap_or(0) as u64))
            };
            let (id, frame, sealed) = read().map_err(IndexError::at(DOING))?;
            if uses.last().is_none_or(|last| last.id != id) {
                uses.push(PackUse { id, frames: 0, live_frames: 0, bytes: 0, live_bytes: 0 });
            }
            if let (Some(last), Some(frame)) = (uses.last_mut(), frame) {
                let live = frames.has(frame);
                last.frames += 1;
                last.bytes += sealed;
                last.live_frames += u64::from(live);
                last.live_bytes += if live { sealed } else { 0 };
            }
        }
        Ok(uses)
    }

    /// The frames of a pack that some version needs, with their chunks, in order.
    pub fn live_frames_of(&self, packs: &[Id]) -> Result<Vec<(Id, Frame)>, IndexError> {
        let live = self.live_frames(&self.live_chunks()?)?;
        let mut out = Vec::new();
        for pack in packs {
            let sql = "SELECT f.num, f.number, f.offset, f.sealed, f.raw, f.method FROM frame f JOIN pack p ON p.num = f.pack \
                       WHERE p.id = ?1 ORDER BY f.number";
            let mut stmt = self.stmt(sql)?;
            let rows = stmt
                .query_map([&pack.0[..]], |r| {
                    let frame = Frame {
                        number: r.get(1)?,
                        offset: r.get::<_, i64>(2)? as u64,
                        sealed_len: r.get(3)?,
                        raw_len: r.get(4)?,
                        method: r.get(5)?,
                        chunks: Vec::new(),
                    };
                    Ok((r.get::<_, i64>(0)?, frame))
                })
                .map_err(IndexError::at(DOING))?;
            for row in rows {
                let (num, frame) = row.map_err(IndexError::at(DOING))?;
                if live.has(num) {
                    out.push((*pack, frame));
                }
            }
        }
        Ok(out)
    }

    /// The runs of its writer that the history of a source comes from, by their epochs.
    pub fn runs_of(&self, source: SourceNum) -> Result<HashSet<String>, IndexError> {
        let mut stmt = self.stmt("SELECT epoch FROM run WHERE source = ?1")?;
        let rows = stmt.query_map([source.0], |r| r.get(0)).map_err(IndexError::at(DOING))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at(DOING))
    }

    pub(super) fn live_chunks(&self) -> Result<Bits, IndexError> {
        let mut live = self.named_chunks()?;
        let mut several: Vec<i64> = Vec::new();
        {
            let mut stmt = self.stmt("SELECT prefix FROM chunk GROUP BY prefix HAVING count(*) > 1")?;
            let rows = stmt.query_map([], |r| r.get(0)).map_err(IndexError::at(DOING))?;
            for prefix in rows {
                several.push(prefix.map_err(IndexError::at(DOING))?);
            }
        }
        for prefix in several {
            self.join_same(prefix, &mut live)?;
        }
        Ok(live)
    }

    /// The rows of chunks that contents name.
    pub(super) fn named_chunks(&self) -> Result<Bits, IndexError> {
        let max = self.stmt("SELECT coalesce(max(num), 0) FROM chunk")?.query_row([], |r| r.get(0));
        let mut live = Bits::new(max.map_err(IndexError::at(DOING))?);
        // The target of a link is no list of runs.
        let mut stmt = self.stmt(
            "SELECT v.content, r.data FROM ver v LEFT JOIN runs r ON v.content & 1 = 0 AND r.num = v.content >> 1 \
             WHERE v.content <> 0",
        )?;
        let mut rows = stmt.query([]).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let content: i64 = r.get(0).map_err(IndexError::at(DOING))?;
            if content & 1 == 1 {
                live.set(content >> 1);
                continue;
            }
            let data = r.get_ref(1).and_then(|v| Ok(v.as_blob_or_null()?)).map_err(IndexError::at(DOING))?;
            let data = data.ok_or(IndexError::Damaged("a content is missing"))?;
            // What is no list of runs can't be told from a target here: its numbers only keep what nothing needs.
            for piece in decode_pieces(data).unwrap_or_default() {
                if let Piece::Chunk { num, .. } = piece {
                    live.set(num);
                }
            }
        }
        Ok(live)
    }

    /// A chunk that lies in several frames is needed in each of them, since another index may have taken it from another one.
    fn join_same(&self, prefix: i64, live: &mut Bits) -> Result<(), IndexError> {
        let mut stmt = self.stmt("SELECT rest, num FROM chunk WHERE prefix = ?1 ORDER BY rest")?;
        let rows = stmt
            .query_map([prefix], |r| Ok((r.get::<_, [u8; 24]>(0)?, r.get::<_, i64>(1)?)))
            .map_err(IndexError::at(DOING))?;
        let same = rows.collect::<Result<Vec<_>, _>>().map_err(IndexError::at(DOING))?;
        for group in same.chunk_by(|a, b| a.0 == b.0) {
            if group.iter().any(|(_, num)| live.has(*num)) {
                // From a frame that can't be read nobody takes it, as long as there is another.
                let is_bad = |num| bad::is_bad(&self.conn, num).map_err(IndexError::at(DOING));
                let bad = group.iter().map(|(_, num)| is_bad(*num)).collect::<Result<Vec<bool>, _>>()?;
                let all_bad = bad.iter().all(|bad| *bad);
                group.iter().zip(&bad).filter(|(_, bad)| all_bad || !**bad).for_each(|((_, num), _)| live.set(*num));
            }
        }
        Ok(())
    }

    pub(super) fn live_frames(&self, chunks: &Bits) -> Result<Bits, IndexError> {
        let max = self.stmt("SELECT coalesce(max(num), 0) FROM frame")?.query_row([], |r| r.get(0));
        let mut live = Bits::new(max.map_err(IndexError::at(DOING))?);
        let mut stmt = self.stmt("SELECT num, frame FROM chunk")?;
        let mut rows = stmt.query([]).map_err(IndexError::at(DOING))?;
        while let Some(r) = rows.next().map_err(IndexError::at(DOING))? {
            let (num, frame): (i64, i64) =
                r.get(0).and_then(|num| Ok((num, r.get(1)?))).map_err(IndexError::at(DOING))?;
            if chunks.has(num) {
                live.set(frame);
            }
        }
        Ok(live)
    }

    /// How long each pack is by what the index knows of it, without what every pack has: its frames, and their lines in its table.
    pub fn pack_lengths(&self) -> Result<Vec<(Id, u64, u64)>, IndexError> {
        const VARINT: &str = "(CASE WHEN @ < 128 THEN 1 WHEN @ < 16384 THEN 2 WHEN @ < 2097152 THEN 3 ELSE 4 END)";
        let varint = |of: &str| VARINT.replace('@', of);
        let sql = format!(
            "WITH c AS (SELECT frame, count(*) AS n, sum(32 + {}) AS listed FROM chunk GROUP BY frame) \
             SELECT p.id, count(f.num), coalesce(sum(f.sealed + {} + {} + 1 + {} + c.listed), 0) \
             FROM pack p LEFT JOIN frame f ON f.pack = p.num LEFT JOIN c ON c.frame = f.num GROUP BY p.num",
            varint("len"),
            varint("f.sealed"),
            varint("f.raw"),
            varint("c.n"),
        );
        let mut stmt = self.stmt(&sql)?;
        let rows = stmt
            .query_map([], |r| Ok((Id(r.get(0)?), r.get::<_, i64>(1)? as u64, r.get::<_, i64>(2)? as u64)))
            .map_err(IndexError::at(DOING))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at(DOING))
    }

    /// Packs that are marked for deletion.
    pub fn marked(&self) -> Result<HashSet<Id>, IndexError> {
        self.ids("SELECT pack FROM marked")
    }

    /// Packs that collection made of others.
    pub fn moved(&self) -> Result<HashSet<Id>, IndexError> {
        self.ids("SELECT pack FROM moved")
    }

    /// Whether a statement of collection was taken in.
    pub fn is_collected(&self, name: &str) -> Result<bool, IndexError> {
        let found = self.stmt("SELECT 1 FROM collected WHERE name = ?1")?.query_row([name], |_| Ok(())).optional();
        Ok(found.map_err(IndexError::at(DOING))?.is_some())
    }

    /// Whether the index knows a pack.
    pub fn has_pack(&self, id: Id) -> Result<bool, IndexError> {
        let found = self.stmt("SELECT 1 FROM pack WHERE id = ?1")?.query_row(params![&id.0[..]], |_| Ok(())).optional();
        Ok(found.map_err(IndexError::at(DOING))?.is_some())
    }

    fn ids(&self, sql: &str) -> Result<HashSet<Id>, IndexError> {
        let mut stmt = self.stmt(sql)?;
        let rows = stmt.query_map([], |r| Ok(Id(r.get(0)?))).map_err(IndexError::at(DOING))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at(DOING))
    }
}
