//! Releasing snapshots: what only they show goes, and what stays begins and ends with snapshots that are kept.
//!
//! A number of a snapshot stands for the first kept one from it on. An interval of snapshots becomes the interval of what its ends
//! stand for, and what was in no kept snapshot becomes empty and goes. So the index is as if the released snapshots had never been,
//! and as it is made anew from a merged history.

use crate::index::{error::IndexError, open::Index, rows::key, tree::Reader};
use crate::types::{
    ids::{Snap, SourceNum},
    snapshot::Head,
};
use rusqlite::{Connection, OptionalExtension, functions::FunctionFlags, params};
use std::{sync::Arc, time::Duration};

const DOING: &str = "release snapshots";

/// What a release took out of the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Released {
    /// Snapshots.
    pub snapshots: u64,
    /// Versions.
    pub versions: u64,
}

/// The snapshots of a source up to one of them that are kept.
struct Kept {
    upto: i64,
    numbers: Vec<i64>,
}

impl Kept {
    /// The first kept one from a number on. Those behind `upto` are all kept.
    fn stands(&self, number: i64) -> i64 {
        if number > self.upto {
            return number;
        }
        let at = self.numbers.partition_point(|kept| *kept < number);
        self.numbers.get(at).copied().unwrap_or(self.upto + 1)
    }
}

impl Index {
    /// Takes all snapshots of a source up to `upto` out of the index that are not in `kept`, which is in order. What it says of the
    /// others stays, to the byte. Does nothing where they are out of it already.
    pub fn release(
        &self,
        source: SourceNum,
        (upto, kept): (Snap, &[Snap]),
        patience: Duration,
    ) -> Result<Released, IndexError> {
        let conn = self.writer()?;
        conn.busy_timeout(patience).map_err(IndexError::at(DOING))?;
        let kept = Kept { upto: upto.0 as i64, numbers: kept.iter().map(|s| s.0 as i64).collect() };
        conn.execute_batch("BEGIN IMMEDIATE").map_err(IndexError::at(DOING))?;
        let result = release(&conn, source, kept).and_then(|released| {
            let noted = conn.execute("INSERT OR REPLACE INTO meta VALUES(?1, 1)", [pending(source)]);
            noted.map(|_| released).map_err(IndexError::at(DOING))
        });
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = conn.execute_batch(end).map_err(IndexError::at(DOING));
        let released = result?;
        ended?;
        Ok(released)
    }

    /// Takes a source out of the index, as if nothing of it had been seen yet. Its packs and chunks stay.
    pub fn forget(&self, source: SourceNum, patience: Duration) -> Result<(), IndexError> {
        const DOING: &str = "forget a source";
        let conn = self.writer()?;
        conn.busy_timeout(patience).map_err(IndexError::at(DOING))?;
        let (from, to) = range(source);
        let forget = || -> rusqlite::Result<()> {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            for table in ["cur", "old"] {
                conn.execute(&format!("DELETE FROM {table} WHERE parent >= ?1 AND parent < ?2"), [from, to])?;
            }
            conn.execute("DELETE FROM meta WHERE key = ?1", [pending(source)])?;
            conn.execute("DELETE FROM change WHERE snap >= ?1 AND snap < ?2", [from, to])?;
            conn.execute("DELETE FROM ver WHERE num >= ?1 AND num < ?2", [from, to])?;
            for table in ["snapshot", "gap", "lost", "run", "beyond", "absent"] {
                conn.execute(&format!("DELETE FROM {table} WHERE source = ?1"), [source.0])?;
            }
            let head = Head::start();
            conn.execute(
                "UPDATE source SET number = 0, hash = ?2, time_ns = ?3, epoch = '', seq = 0, next_dir = ?4, next_other = ?5, \
                 next_ver = ?6, merged = '' WHERE num = ?1",
                params![
                    source.0,
                    &head.hash.0[..],
                    head.time.0,
                    head.next.dir as i64,
                    head.next.other as i64,
                    head.next.ver as i64
                ],
            )?;
            drop_contents(&conn)?;
            conn.execute_batch("COMMIT")
        };
        forget().map_err(|e| {
            if conn.execute_batch("ROLLBACK").is_err() {
                tracing::debug!("the transaction was over already");
            }
            IndexError::at(DOING)(e)
        })
    }

    /// Takes a source out of the index of which nothing is in it, as after [`Index::forget`].
    pub fn drop_source(&self, source: SourceNum) -> Result<(), IndexError> {
        let sql = "DELETE FROM source WHERE num = ?1 AND number = 0";
        self.writer()?.execute(sql, [source.0]).map(drop).map_err(IndexError::at("forget a source"))
    }

    /// Notes that the history of a source up to some snapshot is in the merged history of this name, which takes the place of these runs.
    pub fn set_merged(
        &self,
        source: SourceNum,
        (merged, runs): (&str, &[String]),
        upto: Snap,
    ) -> Result<(), IndexError> {
        let doing = IndexError::at("note a merged history");
        let conn = self.writer()?;
        let set = || -> rusqlite::Result<()> {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            conn.execute("UPDATE source SET merged = ?2 WHERE num = ?1", params![source.0, merged])?;
            conn.execute("DELETE FROM meta WHERE key = ?1", [pending(source)])?;
            // All that the index has is in the repository again.
            conn.execute("DELETE FROM absent WHERE source = ?1", [source.0])?;
            for run in runs {
                conn.execute("INSERT OR IGNORE INTO run VALUES(?1,?2)", params![source.0, run])?;
            }
            conn.execute(
                "UPDATE snapshot SET segment = ?2 WHERE source = ?1 AND number <= ?3",
                params![source.0, merged, upto.0 as i64],
            )?;
            conn.execute_batch("COMMIT")
        };
        set().map_err(doing)
    }
}

/// What notes that snapshots of a source were released here and that no merged history says so yet.
fn pending(source: SourceNum) -> String {
    format!("released {}", source.0)
}

impl Reader {
    /// Whether snapshots of a source were released that its journal in the store still has: what they need is needed until a merged
    /// history takes their place, since whoever replays the journal needs it.
    pub fn is_release_pending(&self, source: SourceNum) -> Result<bool, IndexError> {
        let mut stmt = self.stmt("SELECT 1 FROM meta WHERE key = ?1")?;
        stmt.exists([pending(source)]).map_err(IndexError::at("tell whether a release is pending"))
    }

    /// The name of the merged history that a source was taken from or brought to; empty where there is none.
    pub fn merged(&self, source: SourceNum) -> Result<String, IndexError> {
        let merged =
            self.stmt("SELECT merged FROM source WHERE num = ?1")?.query_row([source.0], |r| r.get(0)).optional();
        Ok(merged.map_err(IndexError::at("read the merged history of a source"))?.unwrap_or_default())
    }
}

fn range(source: SourceNum) -> (i64, i64) {
    (key(source, 0), key(SourceNum(source.0 + 1), 0))
}

fn release(conn: &Connection, source: SourceNum, kept: Kept) -> Result<Released, IndexError> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| conn.execute(sql, params).map_err(IndexError::at(DOING));
    let upto = kept.upto;
    let num = i64::from(source.0);
    conn.execute_batch("CREATE TEMP TABLE IF NOT EXISTS kept(number INTEGER PRIMARY KEY); DELETE FROM temp.kept;")
        .map_err(IndexError::at(DOING))?;
    {
        let mut insert = conn.prepare("INSERT INTO temp.kept VALUES(?1)").map_err(IndexError::at(DOING))?;
        for number in &kept.numbers {
            insert.execute([number]).map_err(IndexError::at(DOING))?;
        }
    }
    let gone = run(
        "DELETE FROM snapshot WHERE source = ?1 AND number <= ?2 AND number NOT IN (SELECT number FROM temp.kept)",
        params![num, upto],
    )?;
    if gone == 0 {
        return Ok(Released::default());
    }
    let first = kept.numbers.first().copied().unwrap_or(upto + 1);
    let kept = Arc::new(kept);
    let stands = kept.clone();
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("stands", 1, flags, move |context| Ok(stands.stands(context.get(0)?)))
        .map_err(IndexError::at(DOING))?;
    let (from, to) = range(source);
    run(
        "DELETE FROM old WHERE parent >= ?1 AND parent < ?2 AND stands(from_snap) >= stands(to_snap)",
        params![from, to],
    )?;
    close_ranks(conn, source, &kept).map_err(IndexError::at(DOING))?;
    run(
        "UPDATE cur SET from_snap = stands(from_snap) WHERE parent >= ?1 AND parent < ?2 AND stands(from_snap) <> from_snap",
        params![from, to],
    )?;
    // What the first kept snapshot touches is everything: that is not noted.
    let (below, behind) = (key(source, 0), key(source, upto as u64 + 1));
    run("DELETE FROM change WHERE snap >= ?1 AND snap <= ?2", params![below, key(source, first as u64)])?;
    for sql in [
        "INSERT OR IGNORE INTO change SELECT (snap >> 48 << 48) + stands(snap & 281474976710655), parent, name FROM change \
         WHERE snap >= ?1 AND snap < ?2 AND (snap & 281474976710655) NOT IN (SELECT number FROM temp.kept)",
        "DELETE FROM change WHERE snap >= ?1 AND snap < ?2 AND (snap & 281474976710655) NOT IN (SELECT number FROM temp.kept)",
    ] {
        run(sql, params![below, behind])?;
    }
    run("UPDATE gap SET snap = stands(snap) WHERE source = ?1", params![num])?;
    run("DELETE FROM lost WHERE source = ?1 AND last < ?2", params![num, first])?;
    let versions = drop_versions(conn, source)?;
    run(
        "UPDATE ver SET from_snap = stands(from_snap) WHERE num >= ?1 AND num < ?2 AND stands(from_snap) <> from_snap",
        params![from, to],
    )?;
    drop_contents(conn).map_err(IndexError::at(DOING))?;
    Ok(Released { snapshots: gone as u64, versions })
}

/// A closed row, as far as its interval goes.
struct Closed {
    parent: i64,
    name: Vec<u8>,
    to: i64,
    from: i64,
    leads: (i64, i64),
}

impl Closed {
    fn read(r: &rusqlite::Row<'_>) -> rusqlite::Result<Closed> {
        Ok(Closed { parent: r.get(0)?, name: r.get(1)?, to: r.get(2)?, from: r.get(3)?, leads: (r.get(4)?, r.get(5)?) })
    }
}

/// Brings the closed rows of a source to what the ends of their intervals stand for, in the order of names and time: two of a name that come to follow one another and show the same become one.
fn close_ranks(conn: &Connection, source: SourceNum, kept: &Kept) -> rusqlite::Result<()> {
    const BATCH: usize = 20_000;
    let (from, to) = range(source);
    let sql = "SELECT parent, name, to_snap, from_snap, node, ver FROM old WHERE (parent, name, to_snap) > (?1, ?2, ?3) \
               AND parent < ?4 ORDER BY parent, name, to_snap LIMIT ?5";
    let mut after = (from, Vec::new(), -1);
    let mut last: Option<Closed> = None;
    loop {
        let mut stmt = conn.prepare_cached(sql)?;
        let batch: Vec<Closed> = stmt
            .query_map(params![after.0, after.1, after.2, to, BATCH as i64], Closed::read)?
            .collect::<Result<_, _>>()?;
        let Some(end) = batch.last() else { break };
        after = (end.parent, end.name.clone(), end.to);
        for row in batch {
            last = close_rank(conn, kept, last, row)?;
        }
    }
    Ok(())
}

/// The same for one row; `last` is the row before it as it is now. Gives what this one is now.
fn close_rank(conn: &Connection, kept: &Kept, last: Option<Closed>, row: Closed) -> rusqlite::Result<Option<Closed>> {
    const AT: &str = "parent = ?1 AND name = ?2 AND to_snap = ?3";
    let (mut from, to) = (kept.stands(row.from), kept.stands(row.to));
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| conn.prepare_cached(sql)?.execute(params);
    let joins = |l: &Closed| l.parent == row.parent && l.name == row.name && l.leads == row.leads && l.to == from;
    if let Some(before) = last.filter(joins) {
        run(&format!("DELETE FROM old WHERE {AT}"), params![before.parent, before.name, before.to])?;
        from = before.from;
    }
    if to != row.to {
        let sql = "SELECT node, ver, from_snap FROM cur WHERE parent = ?1 AND name = ?2";
        let current: Option<(i64, i64, i64)> = conn
            .prepare_cached(sql)?
            .query_row(params![row.parent, row.name], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .optional()?;
        if current.is_some_and(|(node, ver, begin)| (node, ver) == row.leads && kept.stands(begin) == to) {
            run(&format!("DELETE FROM old WHERE {AT}"), params![row.parent, row.name, row.to])?;
            run("UPDATE cur SET from_snap = ?3 WHERE parent = ?1 AND name = ?2", params![row.parent, row.name, from])?;
            return Ok(None);
        }
    }
    if (from, to) != (row.from, row.to) {
        let sql = format!("UPDATE old SET from_snap = ?4, to_snap = ?5 WHERE {AT}");
        run(&sql, params![row.parent, row.name, row.to, from, to])?;
    }
    Ok(Some(Closed { from, to, ..row }))
}

/// Drops the versions that no entry leads to any more. Gives how many.
fn drop_versions(conn: &Connection, source: SourceNum) -> Result<u64, IndexError> {
    let (from, to) = range(source);
    let drop = || -> rusqlite::Result<u64> {
        conn.execute_batch("CREATE TEMP TABLE IF NOT EXISTS live(num INTEGER PRIMARY KEY); DELETE FROM temp.live;")?;
        for table in ["cur", "old"] {
            conn.execute(
                &format!("INSERT OR IGNORE INTO temp.live SELECT ver FROM {table} WHERE parent >= ?1 AND parent < ?2"),
                [from, to],
            )?;
        }
        let gone = conn.execute(
            "DELETE FROM ver WHERE num >= ?1 AND num < ?2 AND (num & 281474976710655) NOT IN (SELECT num FROM temp.live)",
            [from, to],
        )?;
        conn.execute_batch("DELETE FROM temp.live;")?;
        Ok(gone as u64)
    };
    drop().map_err(IndexError::at(DOING))
}

/// Drops the lists of runs and the sets of attributes that nothing names. The last row of a table stays: its number is not given
/// again, and means for readers what it meant.
fn drop_contents(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS live(num INTEGER PRIMARY KEY); DELETE FROM temp.live;
         INSERT OR IGNORE INTO temp.live SELECT content >> 1 FROM ver WHERE content & 1 = 0 AND content <> 0;
         DELETE FROM runs WHERE num NOT IN (SELECT num FROM temp.live) AND num < (SELECT max(num) FROM runs);
         DELETE FROM temp.live;
         INSERT OR IGNORE INTO temp.live SELECT DISTINCT xattr FROM cur WHERE xattr <> 0;
         INSERT OR IGNORE INTO temp.live SELECT DISTINCT xattr FROM old WHERE xattr <> 0;
         DELETE FROM xattr WHERE num NOT IN (SELECT num FROM temp.live) AND num < (SELECT max(num) FROM xattr);
         DELETE FROM temp.live;",
    )
}
