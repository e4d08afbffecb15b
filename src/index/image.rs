//! A consistent image of any SQLite database, also while others write to it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// Why there is no image of a database.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// SQLite said no: it is damaged, encrypted, or needs a recovery that only its own programs may do.
    #[error("SQLite can't read it: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Somebody held it all the time.
    #[error("it was locked for {} s", .0.as_secs())]
    Locked(Duration),
    /// A query gives more than is kept of an answer.
    #[error("the answer has more than {0} bytes")]
    Long(usize),
}

/// How long a lock is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the database `from` as it is after some commit into the new file `to`, which stands in a directory of its own.
///
/// Nothing is changed beside `from`: no checkpoint is run, and its `-wal` stays. It is copied in one step, since a copy in
/// several begins anew with every commit. No other descriptor of `from` may be closed by this process meanwhile: that would
/// drop the locks that SQLite has on it.
pub fn image(from: &Path, to: &Path) -> Result<(), ImageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags)?;
    source.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    source.busy_timeout(Duration::from_secs(1))?;
    let mut target = Connection::open(to)?;
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;")?;
    let begun = Instant::now();
    let backup = Backup::new(&source, &mut target)?;
    loop {
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            StepResult::More | StepResult::Busy | StepResult::Locked if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => return Err(ImageError::Locked(PATIENCE)),
        }
    }
}

/// Looks whether the database `path`, which nobody writes to, can be opened: that it has the pages that its header names, and that
/// the list of its tables can be read. What is in them is not looked at: that would be all of it.
pub fn look(path: &Path) -> Result<(), ImageError> {
    // Nothing is made beside it, and nothing locked.
    let uri = format!("file:{}?immutable=1", escaped(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(uri, flags)?;
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    number("PRAGMA schema_version")?;
    // A table that only a newer SQLite understands is no damage.
    db.execute_batch("PRAGMA writable_schema = ON")?;
    number("SELECT count(*) FROM sqlite_schema")?;
    Ok(())
}

/// So many of the things that are wrong with a database are told.
const WRONG_MAX: usize = 20;

/// Reads all of the database `path`, and gives what is wrong with it, a line each; nothing where it is whole. What a `-wal` beside it
/// has counts; where there is none, nothing is made beside it. `stop` ends it early.
pub fn whole(path: &Path, stop: &AtomicBool) -> Result<Vec<String>, ImageError> {
    interruptible(path, &|| stop.load(Ordering::Relaxed), integrity)
}

/// Opens a database to read, as [`whole`] does, and does something with it until `is_over` is true.
pub(super) fn interruptible<T>(
    path: &Path,
    is_over: &(dyn Fn() -> bool + Sync),
    act: impl FnOnce(&Connection) -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let alone = if Path::new(&wal).exists() { "" } else { "?immutable=1" };
    let uri = format!("file:{}{alone}", escaped(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(uri, flags)?;
    db.busy_timeout(PATIENCE)?;
    let handle = db.get_interrupt_handle();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if is_over() {
                    handle.interrupt();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let result = act(&db);
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn integrity(db: &Connection) -> Result<Vec<String>, ImageError> {
    let mut statement = db.prepare(&format!("PRAGMA integrity_check({WRONG_MAX})"))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut told = rows.collect::<Result<Vec<_>, _>>()?;
    told.retain(|line| line != "ok");
    Ok(told)
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    let byte = |b: &u8| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") };
    path.as_os_str().as_bytes().iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_what_was_committed_and_leaves_the_database_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n); INSERT INTO t VALUES (7);").unwrap();
        let wal = std::fs::read(dir.path().join("db-wal")).unwrap();
        let to = tempfile::tempdir().unwrap();
        image(&path, &to.path().join("image")).unwrap();
        assert_eq!(std::fs::read(dir.path().join("db-wal")).unwrap(), wal);
        let copy = Connection::open(to.path().join("image")).unwrap();
        assert_eq!(copy.query_row("SELECT n FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
    }

    #[test]
    fn a_database_is_opened_whatever_it_is_called_and_whatever_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(std::ffi::OsStr::from_bytes(b"a?b#c%20 \xff.db"));
        let db = Connection::open(dir.path().join("db")).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n)").unwrap();
        for n in 0..400 {
            db.execute("INSERT INTO t VALUES (?1 || hex(randomblob(100)))", [n]).unwrap();
        }
        // Of a SQLite to come.
        db.execute_batch("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE t (n) BRAND NEW'")
            .unwrap();
        drop(db);
        let whole = std::fs::read(dir.path().join("db")).unwrap();
        let look = |bytes: &[u8]| {
            crate::sys::durable::replace(&path, bytes, 0o600).unwrap();
            look(&path)
        };
        look(&whole).unwrap();
        assert!(look(&whole[..whole.len() / 8192 * 4096]).unwrap_err().to_string().contains("malformed"));
        let mut no_list = whole.clone();
        no_list[100..200].fill(0xab);
        look(&no_list).unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is made beside it");
    }

    #[test]
    fn what_is_no_database_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut bytes = b"SQLite format 3\0".to_vec();
        bytes.resize(4096, 0xab);
        crate::sys::durable::replace(&path, &bytes, 0o600).unwrap();
        assert!(matches!(image(&path, &dir.path().join("image")), Err(ImageError::Sqlite(_))));
    }
}
