//! A query over any SQLite database, which is not changed by it.

use super::image::{ImageError, interruptible};
use rusqlite::types::ValueRef;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a query gives: a line a row, with `|` between columns, as the shell of SQLite prints it; of no more than `max` bytes. `stop`
/// or the end of the time ends it with an error.
pub fn ask(
    path: &Path,
    query: &str,
    max: usize,
    (timeout, stop): (Duration, &AtomicBool),
) -> Result<String, ImageError> {
    let until = Instant::now() + timeout;
    let is_over = || stop.load(Ordering::Relaxed) || Instant::now() > until;
    interruptible(path, &is_over, |db| {
        let mut statement = db.prepare(query)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut text = String::new();
        while let Some(row) = rows.next()? {
            if !text.is_empty() {
                text.push('\n');
            }
            for column in 0..columns {
                if column > 0 {
                    text.push('|');
                }
                // A value may be as long as the database, so what is too long is not shown first.
                match row.get_ref(column)? {
                    ValueRef::Null => {}
                    ValueRef::Integer(n) => text.push_str(&n.to_string()),
                    ValueRef::Real(n) => text.push_str(&n.to_string()),
                    ValueRef::Text(bytes) if bytes.len() <= max => text.push_str(&String::from_utf8_lossy(bytes)),
                    ValueRef::Blob(bytes) if bytes.len() <= max => {
                        text.push_str(&data_encoding::HEXLOWER.encode(bytes));
                    }
                    ValueRef::Text(_) | ValueRef::Blob(_) => return Err(ImageError::Long(max)),
                }
                if text.len() > max {
                    return Err(ImageError::Long(max));
                }
            }
        }
        Ok(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn the_answer_is_text_and_bounded_and_nothing_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t (n, x); INSERT INTO t VALUES (1, 'a'), (NULL, x'ff'), (1.5, '')").unwrap();
        drop(db);
        let never = AtomicBool::new(false);
        let ask = |sql: &str| ask(&path, sql, 100, (LONG, &never));
        assert_eq!(ask("SELECT * FROM t ORDER BY rowid").unwrap(), "1|a\n|ff\n1.5|");
        assert!(matches!(ask("SELECT zeroblob(1000)"), Err(ImageError::Long(100))));
        assert!(matches!(ask("SELECT a.n FROM t a, t b, t c, t d, t e"), Err(ImageError::Long(100))));
        ask("DELETE FROM t").unwrap_err();
        ask("SELECT nothing FROM t").unwrap_err();
        assert_eq!(ask("SELECT count(*) FROM t").unwrap(), "3");
    }

    #[test]
    fn one_without_an_end_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (n)").unwrap();
        let endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
        let never = AtomicBool::new(false);
        let e = ask(&path, endless, 100, (Duration::from_millis(50), &never)).unwrap_err();
        assert!(e.to_string().contains("interrupted"), "{e}");
        ask(&path, endless, 100, (LONG, &AtomicBool::new(true))).unwrap_err();
    }
}
