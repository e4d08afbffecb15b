//! Sources, their snapshots, heads and gaps.

use crate::index::{error::IndexError, open::Index, tree::Reader};
use crate::types::{
    ids::{Hash, Id, Snap, SourceNum},
    op::Gap,
    snapshot::{Counters, Counts, Head, Lost, Snapshot, Source, Tier},
    time::Instant,
};
use rusqlite::{OptionalExtension, Row as SqlRow, params};

const SNAPSHOT: &str = "SELECT source, number, time_ns, tier, hash, files_new, files_changed, files_removed, bytes_read, \
                        bytes_stored, unreadable, fuzzy FROM snapshot";

/// The columns of a head, as [`read_head`] reads them.
pub(super) const HEAD: &str = "number, hash, time_ns, epoch, seq, next_dir, next_other, next_ver";

impl Index {
    /// Adds a source that the index does not know yet.
    pub fn add_source(&self, source: &Source) -> Result<(), IndexError> {
        let head = Head::start();
        let doing = "add a source";
        self.writer()?
            .execute(
                "INSERT OR IGNORE INTO source VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,'')",
                params![
                    source.num.0,
                    &source.id.0[..],
                    source.host,
                    source.root,
                    head.number.0 as i64,
                    &head.hash.0[..],
                    head.time.0,
                    head.epoch,
                    head.seq as i64,
                    head.next.dir as i64,
                    head.next.other as i64,
                    head.next.ver as i64
                ],
            )
            .map_err(IndexError::at(doing))?;
        match Reader::open(self)?.sources()?.iter().find(|s| s.num == source.num) {
            Some(s) if s.id == source.id => Ok(()),
            _ => Err(IndexError::Contradiction(format!(
                "two sources have the number {}: {} and another one",
                source.num.0, source.id
            ))),
        }
    }
}

impl Reader {
    /// All sources, in the order of host and path.
    pub fn sources(&self) -> Result<Vec<Source>, IndexError> {
        let mut stmt = self.stmt("SELECT num, id, host, root FROM source ORDER BY host, root, num")?;
        let rows = stmt
            .query_map([], |r| {
                Ok(Source { num: SourceNum(r.get(0)?), id: Id(r.get(1)?), host: r.get(2)?, root: r.get(3)? })
            })
            .map_err(IndexError::at("list the sources"))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at("list the sources"))
    }

    /// How far a source is known.
    pub fn head(&self, source: SourceNum) -> Result<Head, IndexError> {
        self.stmt(&format!("SELECT {HEAD} FROM source WHERE num = ?1"))?
            .query_row([source.0], read_head)
            .map_err(IndexError::at("read the head of a source"))
    }

    /// The newest snapshot of a source at or before an instant.
    pub fn snapshot_at(&self, source: SourceNum, at: Instant) -> Result<Option<Snapshot>, IndexError> {
        self.stmt(&format!("{SNAPSHOT} WHERE source = ?1 AND time_ns <= ?2 ORDER BY time_ns DESC LIMIT 1"))?
            .query_row(params![source.0, at.0], read_snapshot)
            .optional()
            .map_err(IndexError::at("find a snapshot"))
    }

    /// The oldest snapshot of a source after an instant.
    pub fn snapshot_after(&self, source: SourceNum, after: Instant) -> Result<Option<Snapshot>, IndexError> {
        self.stmt(&format!("{SNAPSHOT} WHERE source = ?1 AND time_ns > ?2 ORDER BY time_ns LIMIT 1"))?
            .query_row(params![source.0, after.0], read_snapshot)
            .optional()
            .map_err(IndexError::at("find a snapshot"))
    }

    /// A snapshot by its number.
    pub fn snapshot(&self, source: SourceNum, number: Snap) -> Result<Option<Snapshot>, IndexError> {
        self.stmt(&format!("{SNAPSHOT} WHERE source = ?1 AND number = ?2"))?
            .query_row(params![source.0, number.0 as i64], read_snapshot)
            .optional()
            .map_err(IndexError::at("find a snapshot"))
    }

    /// At most `limit` snapshots of a source with times in `from..to` (ns), oldest first.
    pub fn snapshots(
        &self,
        source: SourceNum,
        from: Instant,
        to: Instant,
        limit: usize,
    ) -> Result<Vec<Snapshot>, IndexError> {
        let sql = format!("{SNAPSHOT} WHERE source = ?1 AND time_ns >= ?2 AND time_ns < ?3 ORDER BY time_ns LIMIT ?4");
        let mut stmt = self.stmt(&sql)?;
        let rows = stmt
            .query_map(params![source.0, from.0, to.0, limit as i64], read_snapshot)
            .map_err(IndexError::at("list snapshots"))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at("list snapshots"))
    }

    /// The newest full snapshot of a source with the segment that its record ends in.
    pub fn last_full(&self, source: SourceNum) -> Result<Option<(Snap, Hash, String)>, IndexError> {
        let sql =
            "SELECT number, hash, segment FROM snapshot WHERE source = ?1 AND tier = ?2 ORDER BY number DESC LIMIT 1";
        self.stmt(sql)?
            .query_row(params![source.0, Tier::Full as u8], |r| {
                Ok((Snap(r.get::<_, i64>(0)? as u64), Hash(r.get(1)?), r.get(2)?))
            })
            .optional()
            .map_err(IndexError::at("find the last full snapshot"))
    }

    /// The snapshots of a source that can't be shown, oldest first.
    pub fn lost(&self, source: SourceNum) -> Result<Vec<Lost>, IndexError> {
        let sql = "SELECT first, last, after_ns, before_ns, why FROM lost WHERE source = ?1 ORDER BY first";
        let mut stmt = self.stmt(sql)?;
        let rows = stmt
            .query_map([source.0], |r| {
                let n = |i| r.get::<_, i64>(i).map(|n| n as u64);
                Ok(Lost {
                    source,
                    first: Snap(n(0)?),
                    last: Snap(n(1)?),
                    after: Instant(r.get(2)?),
                    before: Instant(r.get(3)?),
                    why: r.get(4)?,
                })
            })
            .map_err(IndexError::at("list what is lost"))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at("list what is lost"))
    }

    /// What is lost of a source at an instant: one of those snapshots may be what it showed.
    pub fn lost_at(&self, source: SourceNum, at: Instant) -> Result<Option<Lost>, IndexError> {
        Ok(self.lost(source)?.into_iter().find(|lost| lost.hides(at)))
    }

    /// How many snapshots a source has.
    pub fn snapshot_count(&self, source: SourceNum) -> Result<u64, IndexError> {
        self.stmt("SELECT count(*) FROM snapshot WHERE source = ?1")?
            .query_row([source.0], |r| r.get::<_, i64>(0).map(|n| n as u64))
            .map_err(IndexError::at("count snapshots"))
    }

    /// The gaps that the record of a snapshot states.
    pub fn gaps_of(&self, source: SourceNum, number: Snap) -> Result<Vec<Gap>, IndexError> {
        let sql = "SELECT subtree, from_ns, to_ns, why FROM gap WHERE source = ?1 AND snap = ?2 ORDER BY num";
        let mut stmt = self.stmt(sql)?;
        let rows = stmt.query_map(params![source.0, number.0 as i64], read_gap).map_err(IndexError::at("list gaps"))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at("list gaps"))
    }

    /// The gaps of a source that overlap the times `from..=to`, oldest first.
    pub fn gaps(&self, source: SourceNum, from: Instant, to: Instant) -> Result<Vec<Gap>, IndexError> {
        let sql = "SELECT subtree, from_ns, to_ns, why FROM gap WHERE source = ?1 AND to_ns >= ?2 AND from_ns <= ?3 ORDER BY num";
        let mut stmt = self.stmt(sql)?;
        let rows = stmt.query_map(params![source.0, from.0, to.0], read_gap).map_err(IndexError::at("list gaps"))?;
        rows.collect::<Result<_, _>>().map_err(IndexError::at("list gaps"))
    }
}

pub(super) fn read_head(r: &SqlRow<'_>) -> rusqlite::Result<Head> {
    let n = |i| r.get::<_, i64>(i).map(|n| n as u64);
    Ok(Head {
        number: Snap(n(0)?),
        hash: Hash(r.get(1)?),
        time: Instant(r.get(2)?),
        epoch: r.get(3)?,
        seq: n(4)?,
        next: Counters { dir: n(5)?, other: n(6)?, ver: n(7)? },
    })
}

fn read_gap(r: &SqlRow<'_>) -> rusqlite::Result<Gap> {
    Ok(Gap { subtree: r.get(0)?, from: Instant(r.get(1)?), to: Instant(r.get(2)?), why: r.get(3)? })
}

fn read_snapshot(r: &SqlRow<'_>) -> rusqlite::Result<Snapshot> {
    let n = |i| r.get::<_, Option<i64>>(i).map(|n| n.unwrap_or_default() as u64);
    let tier: u8 = r.get(3)?;
    Ok(Snapshot {
        source: SourceNum(r.get(0)?),
        number: Snap(n(1)?),
        time: Instant(r.get(2)?),
        tier: Tier::from_u8(tier).ok_or(rusqlite::Error::IntegralValueOutOfRange(3, i64::from(tier)))?,
        hash: Hash(r.get(4)?),
        counts: Counts {
            new: n(5)?,
            changed: n(6)?,
            removed: n(7)?,
            read_bytes: n(8)?,
            stored_bytes: n(9)?,
            unreadable: n(10)?,
            fuzzy: n(11)?,
        },
    })
}
