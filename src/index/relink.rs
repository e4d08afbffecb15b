//! Contents that name chunks in packs that are gone, or in frames that can't be read, where the same chunks lie elsewhere too.

use crate::index::{
    bad,
    error::IndexError,
    open::Index,
    rows::{Piece, decode_pieces, encode_pieces},
};
use crate::types::ids::Id;
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

const DOING: &str = "find chunks elsewhere";

impl Index {
    /// Makes contents name the same chunks elsewhere, where they name some in packs that are gone, or in frames that can't be read, and
    /// there is another place. Two captures at once may store a chunk twice, and which of them a record means is up to each index; and
    /// what was lost is stored again when it is seen again.
    pub fn relink(&self, gone: &HashSet<Id>, patience: Duration) -> Result<(), IndexError> {
        let conn = self.writer()?;
        conn.busy_timeout(patience).map_err(IndexError::at(DOING))?;
        let relink = || -> rusqlite::Result<()> {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            let elsewhere = elsewhere(&conn, gone)?;
            if !elsewhere.is_empty() {
                name_elsewhere(&conn, &elsewhere)?;
            }
            conn.execute_batch("COMMIT")
        };
        // The connection ends with an error, and the transaction with it.
        relink().map_err(IndexError::at(DOING))
    }
}

/// For each chunk in a pack that is gone, or a frame that can't be read, the row of the same in one that is not.
fn elsewhere(conn: &Connection, gone: &HashSet<Id>) -> rusqlite::Result<HashMap<i64, i64>> {
    conn.execute_batch("CREATE TEMP TABLE IF NOT EXISTS gone(num INTEGER PRIMARY KEY); DELETE FROM temp.gone;")?;
    for id in gone {
        let sql =
            "INSERT OR IGNORE INTO temp.gone SELECT f.num FROM frame f JOIN pack p ON p.num = f.pack WHERE p.id = ?1";
        conn.prepare_cached(sql)?.execute([&id.0[..]])?;
    }
    conn.execute(&format!("INSERT OR IGNORE INTO temp.gone {}", bad::ROWS), [])?;
    let mut stmt =
        conn.prepare("SELECT num, prefix, rest, len FROM chunk WHERE frame IN (SELECT num FROM temp.gone)")?;
    let other = "SELECT num FROM chunk WHERE prefix = ?1 AND rest = ?2 AND len = ?3 AND frame NOT IN (SELECT num FROM temp.gone) \
                 AND frame <> 0 ORDER BY num DESC LIMIT 1";
    let mut other = conn.prepare(other)?;
    let mut rows = stmt.query([])?;
    let mut found = HashMap::new();
    while let Some(r) = rows.next()? {
        let (num, prefix, rest, len): (i64, i64, Vec<u8>, u32) = (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?);
        if let Some(there) = other.query_row(params![prefix, rest, len], |r| r.get(0)).optional()? {
            found.insert(num, there);
        }
    }
    Ok(found)
}

fn name_elsewhere(conn: &Connection, elsewhere: &HashMap<i64, i64>) -> rusqlite::Result<()> {
    let mut changed: Vec<(i64, i64)> = Vec::new();
    {
        let mut stmt = conn.prepare("SELECT num, content FROM ver WHERE content & 1 = 1")?;
        let mut rows = stmt.query([])?;
        while let Some(r) = rows.next()? {
            let (num, content): (i64, i64) = (r.get(0)?, r.get(1)?);
            changed.extend(elsewhere.get(&(content >> 1)).map(|there| (num, there << 1 | 1)));
        }
    }
    for (num, content) in changed {
        conn.prepare_cached("UPDATE ver SET content = ?2 WHERE num = ?1")?.execute([num, content])?;
    }
    let mut lists: Vec<(i64, Vec<u8>)> = Vec::new();
    {
        // The target of a link is no list: only those of files are looked at.
        let sql = "SELECT num, data FROM runs WHERE num IN (SELECT v.content >> 1 FROM ver v JOIN cur e ON e.ver = v.num & 281474976710655 \
                   AND e.node & 281474976710655 = v.node WHERE v.content & 1 = 0 AND e.mode & 61440 = 32768 UNION \
                   SELECT v.content >> 1 FROM ver v JOIN old e ON e.ver = v.num & 281474976710655 AND e.node & 281474976710655 = v.node \
                   WHERE v.content & 1 = 0 AND e.mode & 61440 = 32768)";
        let mut stmt = conn.prepare(sql)?;
        let mut rows = stmt.query([])?;
        while let Some(r) = rows.next()? {
            let Ok(mut pieces) = decode_pieces(r.get_ref(1)?.as_blob()?) else { continue };
            let mut touched = false;
            for piece in &mut pieces {
                if let Piece::Chunk { num, .. } = piece
                    && let Some(there) = elsewhere.get(num)
                {
                    (*num, touched) = (*there, true);
                }
            }
            if touched {
                lists.push((r.get(0)?, encode_pieces(&pieces)));
            }
        }
    }
    for (num, data) in lists {
        conn.prepare_cached("UPDATE runs SET data = ?2 WHERE num = ?1")?.execute(params![num, data])?;
    }
    Ok(())
}
