//! What this index can't take of a history: records behind some that are lost, which the repository has; and what it has and the
//! repository has not any more.

use crate::index::{
    apply::Applier,
    error::IndexError,
    restate::lose,
    sources::{HEAD, read_head},
    tree::Reader,
};
use crate::types::{
    ids::{Snap, SourceNum},
    snapshot::{Head, Lost, Tier},
    time::Instant,
};
use rusqlite::{Connection, OptionalExtension, params};

/// How it was found that the repository does not have what the index has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// By the names of its objects.
    Listed = 0,
    /// By a verification, which read them.
    Read = 1,
}

/// Snapshots that this index shows and that nobody could read from the repository any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Absent {
    /// The first of them.
    pub first: Snap,
    /// The last of them.
    pub last: Snap,
    /// What is missing, in words.
    pub what: String,
    /// Since when that is known.
    pub since: Instant,
}

impl Reader {
    /// The newest record behind those that are lost, where nothing of it can be shown.
    pub fn beyond(&self, source: SourceNum) -> Result<Option<Head>, IndexError> {
        self.stmt(&format!("SELECT {HEAD} FROM beyond WHERE source = ?1"))?
            .query_row([source.0], read_head)
            .optional()
            .map_err(IndexError::at("read what lies behind lost records"))
    }

    /// How far a source is known to go, also where that can't be shown.
    pub fn reached(&self, source: SourceNum) -> Result<Head, IndexError> {
        Ok(match self.beyond(source)? {
            Some(beyond) => beyond,
            None => self.head(source)?,
        })
    }

    /// What of a source the index has and the repository has not.
    pub fn absent(&self, source: SourceNum) -> Result<Vec<Absent>, IndexError> {
        let doing = "list what the repository has lost";
        let mut stmt = self.stmt("SELECT first, last, what, since_ns FROM absent WHERE source = ?1 ORDER BY first")?;
        let rows = stmt.query_map([source.0], |r| {
            let n = |i| r.get::<_, i64>(i).map(|n| Snap(n as u64));
            Ok(Absent { first: n(0)?, last: n(1)?, what: r.get(2)?, since: Instant(r.get(3)?) })
        });
        rows.and_then(Iterator::collect).map_err(IndexError::at(doing))
    }

    /// Whether a later snapshot does without what is absent: a full, or a differential whose full is none of it.
    pub fn is_bridged(&self, source: SourceNum, absent: &Absent) -> Result<bool, IndexError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM snapshot WHERE source = ?1 AND number > ?3 AND (tier = ?4 OR tier = ?5 AND \
                   (SELECT max(number) FROM snapshot f WHERE f.source = ?1 AND f.number < snapshot.number AND f.tier = ?4) < ?2))";
        let (first, last) = (absent.first.0 as i64, absent.last.0 as i64);
        self.stmt(sql)?
            .query_row(params![source.0, first, last, Tier::Full as u8, Tier::Differential as u8], |r| r.get(0))
            .map_err(IndexError::at("tell what does without lost records"))
    }
}

impl Applier {
    /// Notes what lies behind the records of a source that are lost, or that nothing does. Passed over where its history is not at
    /// `head` any more.
    pub fn set_beyond(&self, source: SourceNum, head: Snap, beyond: Option<(&Head, &Lost)>) -> Result<(), IndexError> {
        self.write("note what lies behind lost records", |conn| {
            let sql = "SELECT number FROM source WHERE num = ?1";
            let at: Option<i64> = conn.query_row(sql, [source.0], |r| r.get(0)).optional()?;
            if at != Some(head.0 as i64) {
                return Ok(());
            }
            conn.execute("DELETE FROM beyond WHERE source = ?1", [source.0])?;
            conn.execute("DELETE FROM lost WHERE source = ?1 AND before_ns = ?2", params![source.0, i64::MAX])?;
            let Some((beyond, lost)) = beyond else { return Ok(()) };
            let next = [beyond.next.dir, beyond.next.other, beyond.next.ver].map(|n| n as i64);
            conn.execute(
                "INSERT INTO beyond VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
                params![
                    source.0,
                    beyond.number.0 as i64,
                    &beyond.hash.0[..],
                    beyond.time.0,
                    beyond.epoch,
                    beyond.seq as i64,
                    next[0],
                    next[1],
                    next[2]
                ],
            )?;
            lose(conn, lost)
        })
    }

    /// Notes what the repository has lost of a source, as it was found; `None` where nothing is.
    pub fn set_absent(&self, source: SourceNum, found: Found, absent: Option<&Absent>) -> Result<(), IndexError> {
        self.write("note what the repository has lost", |conn| {
            let Some(absent) = absent else {
                let sql = "DELETE FROM absent WHERE source = ?1 AND found = ?2";
                return conn.execute(sql, params![source.0, found as u8]).map(drop);
            };
            // Since when it is known stays.
            let sql = "INSERT INTO absent VALUES(?1,?2,?3,?4,?5,?6) ON CONFLICT DO UPDATE SET first = ?3, last = ?4, what = ?5";
            let Absent { first, last, what, since } = absent;
            conn.execute(sql, params![source.0, found as u8, first.0 as i64, last.0 as i64, what, since.0]).map(drop)
        })
    }

    fn write(
        &self,
        doing: &'static str,
        write: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), IndexError> {
        self.begin_transaction()?;
        let written = write(&self.conn);
        let end = if written.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.conn.execute_batch(end);
        written.and(ended).map_err(IndexError::at(doing))
    }
}
