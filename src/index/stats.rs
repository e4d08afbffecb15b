//! Sums over the index, for people who ask how things stand. Each is one statement.

use crate::index::{error::IndexError, open::Index, rows::key, tree::Reader};
use crate::types::{ids::SourceNum, op::Gap, time::Instant};
use rusqlite::{Row as SqlRow, params};
use std::io;

/// What packs hold, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stored {
    /// Chunks.
    pub chunks: u64,
    /// Frames.
    pub frames: u64,
    /// Bytes of content in them, each chunk once.
    pub raw_bytes: u64,
    /// Bytes of these frames, compressed and sealed.
    pub sealed_bytes: u64,
}

/// What the newest snapshot of a source shows, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// Entries of all kinds.
    pub entries: u64,
    /// Regular files, one with several names once.
    pub files: u64,
    /// Their sizes together in bytes, holes included.
    pub bytes: u64,
}

/// The history of a source, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Versions of all nodes.
    pub versions: u64,
    /// What they would measure as plain copies in bytes, holes included.
    pub bytes: u64,
}

impl Reader {
    /// What packs hold.
    pub fn stored(&self) -> Result<Stored, IndexError> {
        let sql =
            "SELECT (SELECT count(*) FROM chunk), count(*), coalesce(sum(raw), 0), coalesce(sum(sealed), 0) FROM frame";
        self.stmt(sql)?
            .query_row([], |r| {
                Ok(Stored { chunks: n(r, 0)?, frames: n(r, 1)?, raw_bytes: n(r, 2)?, sealed_bytes: n(r, 3)? })
            })
            .map_err(IndexError::at("add up what is stored"))
    }

    /// What the newest snapshot of a source shows.
    pub fn extent(&self, source: SourceNum) -> Result<Extent, IndexError> {
        // A file with several names counts at the first of them; the bit says which files to ask for.
        let sql = "SELECT count(*), coalesce(sum(once), 0), coalesce(sum(once * size), 0) FROM (SELECT size, \
                   (mode & 61440) = 32768 AND (bits & 2 = 0 OR NOT EXISTS (SELECT 1 FROM cur o WHERE o.node = c.node \
                   AND (o.parent, o.name) < (c.parent, c.name))) AS once FROM cur c WHERE parent >= ?1 AND parent < ?2)";
        self.stmt(sql)?
            .query_row(bounds(source), |r| Ok(Extent { entries: n(r, 0)?, files: n(r, 1)?, bytes: n(r, 2)? }))
            .map_err(IndexError::at("add up a source"))
    }

    /// The history of a source.
    pub fn history(&self, source: SourceNum) -> Result<History, IndexError> {
        let sql = "SELECT count(*), coalesce(sum(size), 0) FROM ver WHERE num >= ?1 AND num < ?2";
        self.stmt(sql)?
            .query_row(bounds(source), |r| Ok(History { versions: n(r, 0)?, bytes: n(r, 1)? }))
            .map_err(IndexError::at("add up the versions of a source"))
    }

    /// What was read and stored for the snapshots of a source, in bytes.
    pub fn captured_bytes(&self, source: SourceNum) -> Result<(u64, u64), IndexError> {
        let sql = "SELECT coalesce(sum(bytes_read), 0), coalesce(sum(bytes_stored), 0) FROM snapshot WHERE source = ?1";
        self.stmt(sql)?
            .query_row([source.0], |r| Ok((n(r, 0)?, n(r, 1)?)))
            .map_err(IndexError::at("add up the snapshots of a source"))
    }

    /// How many gaps a source has, and how many of them end after an instant.
    pub fn gap_counts(&self, source: SourceNum, since: Instant) -> Result<(u64, u64), IndexError> {
        let sql = "SELECT count(*), coalesce(sum(to_ns > ?2), 0) FROM gap WHERE source = ?1";
        self.stmt(sql)?
            .query_row(params![source.0, since.0], |r| Ok((n(r, 0)?, n(r, 1)?)))
            .map_err(IndexError::at("count gaps"))
    }

    /// The last `limit` gaps of a source, the newest first.
    pub fn last_gaps(&self, source: SourceNum, limit: usize) -> Result<Vec<Gap>, IndexError> {
        let sql =
            "SELECT subtree, from_ns, to_ns, why FROM gap WHERE source = ?1 ORDER BY to_ns DESC, num DESC LIMIT ?2";
        let mut stmt = self.stmt(sql)?;
        let rows = stmt
            .query_map(params![source.0, limit as i64], |r| {
                Ok(Gap { subtree: r.get(0)?, from: Instant(r.get(1)?), to: Instant(r.get(2)?), why: r.get(3)? })
            })
            .map_err(IndexError::at("list gaps"))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at("list gaps"))
    }
}

impl Index {
    /// The bytes that the database and its log measure on disk.
    pub fn size(&self) -> io::Result<u64> {
        let mut total = 0;
        for suffix in ["", "-wal", "-shm"] {
            let mut name = self.path().as_os_str().to_owned();
            name.push(suffix);
            match std::fs::metadata(&name) {
                Ok(meta) => total += meta.len(),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(total)
    }
}

/// The keys of a source: from the first to the one behind the last.
fn bounds(source: SourceNum) -> [i64; 2] {
    [key(source, 0), (i64::from(source.0) + 1) << 48]
}

fn n(r: &SqlRow<'_>, column: usize) -> rusqlite::Result<u64> {
    r.get::<_, i64>(column).map(|n| n as u64)
}
