//! Opening and laying out the database.

use crate::index::error::IndexError;
use crate::types::ids::Id;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::path::{Path, PathBuf};

/// The layout this program writes. The index is derived, so another layout is rebuilt and not migrated.
const LAYOUT: i64 = 5;
/// So often an index is laid out while other processes do the same, 50 ms apart.
const LAY_OUT_TRIES: usize = 200;

/// Columns that current and closed rows share, in this order: `rows.rs` reads them.
pub(super) const COLUMNS: &str = "parent, name, node, ver, from_snap, mode, uid, gid, size, blocks, rdev, mtime, ctime, btime, \
                           flags, xattr, bits, dev, ino, seen";

/// Numbers of rows that belong to a source carry it above bit 48, so that one integer is a whole key. Rows that are current are kept
/// apart from rows that are closed: a directory lists as fast whatever has passed through it. `change` names the entries that a
/// snapshot touched, so that comparing two costs what changed between them; the first snapshot, which touches all, writes none.
const SCHEMA: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE source(num INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, host TEXT NOT NULL, root BLOB NOT NULL,
    number INTEGER NOT NULL, hash BLOB NOT NULL, time_ns INTEGER NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
    next_dir INTEGER NOT NULL, next_other INTEGER NOT NULL, next_ver INTEGER NOT NULL, merged TEXT NOT NULL);
CREATE TABLE snapshot(source INTEGER NOT NULL, number INTEGER NOT NULL, time_ns INTEGER NOT NULL, tier INTEGER NOT NULL,
    hash BLOB NOT NULL, segment TEXT NOT NULL, files_new INTEGER, files_changed INTEGER, files_removed INTEGER, bytes_read INTEGER,
    bytes_stored INTEGER, unreadable INTEGER, fuzzy INTEGER, PRIMARY KEY(source, number)) WITHOUT ROWID;
CREATE UNIQUE INDEX snapshot_time ON snapshot(source, time_ns);
CREATE TABLE cur(parent INTEGER NOT NULL, name BLOB NOT NULL, node INTEGER NOT NULL, ver INTEGER NOT NULL, from_snap INTEGER NOT NULL,
    mode INTEGER, uid INTEGER, gid INTEGER, size INTEGER, blocks INTEGER, rdev INTEGER, mtime, ctime, btime, flags INTEGER,
    xattr INTEGER, bits INTEGER, dev INTEGER, ino INTEGER, seen, PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE INDEX cur_node ON cur(node);
CREATE INDEX cur_ino ON cur(ino);
CREATE TABLE old(parent INTEGER NOT NULL, to_snap INTEGER NOT NULL, name BLOB NOT NULL, node INTEGER NOT NULL, ver INTEGER NOT NULL,
    from_snap INTEGER NOT NULL, mode INTEGER, uid INTEGER, gid INTEGER, size INTEGER, blocks INTEGER, rdev INTEGER, mtime, ctime,
    btime, flags INTEGER, xattr INTEGER, bits INTEGER, dev INTEGER, ino INTEGER, seen,
    PRIMARY KEY(parent, to_snap, name)) WITHOUT ROWID;
CREATE INDEX old_name ON old(parent, name, to_snap);
CREATE INDEX old_node ON old(node, to_snap);
CREATE TABLE change(snap INTEGER NOT NULL, parent INTEGER NOT NULL, name BLOB NOT NULL, PRIMARY KEY(snap, parent, name)) WITHOUT ROWID;
CREATE TABLE ver(num INTEGER PRIMARY KEY, node INTEGER NOT NULL, from_snap INTEGER NOT NULL, size INTEGER NOT NULL, content INTEGER NOT NULL);
CREATE TABLE runs(num INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE xattr(num INTEGER PRIMARY KEY, hash INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX xattr_hash ON xattr(hash);
CREATE TABLE pack(num INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE frame(num INTEGER PRIMARY KEY, pack INTEGER NOT NULL, number INTEGER NOT NULL, offset INTEGER NOT NULL,
    sealed INTEGER NOT NULL, raw INTEGER NOT NULL, method INTEGER NOT NULL);
CREATE INDEX frame_place ON frame(pack, number);
CREATE TABLE chunk(num INTEGER PRIMARY KEY, prefix INTEGER NOT NULL, rest BLOB NOT NULL, frame INTEGER NOT NULL, off INTEGER NOT NULL,
    len INTEGER NOT NULL);
CREATE INDEX chunk_prefix ON chunk(prefix);
CREATE TABLE gap(num INTEGER PRIMARY KEY, source INTEGER NOT NULL, snap INTEGER NOT NULL, subtree BLOB NOT NULL, from_ns INTEGER NOT NULL,
    to_ns INTEGER NOT NULL, why TEXT NOT NULL);
CREATE INDEX gap_source ON gap(source, to_ns);
CREATE INDEX gap_snap ON gap(source, snap);
CREATE TABLE lost(source INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, after_ns INTEGER NOT NULL,
    before_ns INTEGER NOT NULL, why TEXT NOT NULL, PRIMARY KEY(source, first)) WITHOUT ROWID;
CREATE TABLE beyond(source INTEGER PRIMARY KEY, number INTEGER NOT NULL, hash BLOB NOT NULL, time_ns INTEGER NOT NULL,
    epoch TEXT NOT NULL, seq INTEGER NOT NULL, next_dir INTEGER NOT NULL, next_other INTEGER NOT NULL, next_ver INTEGER NOT NULL);
CREATE TABLE absent(source INTEGER NOT NULL, found INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, what TEXT NOT NULL,
    since_ns INTEGER NOT NULL, PRIMARY KEY(source, found)) WITHOUT ROWID;
CREATE TABLE run(source INTEGER NOT NULL, epoch TEXT NOT NULL, PRIMARY KEY(source, epoch)) WITHOUT ROWID;
CREATE TABLE marked(pack BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE moved(pack BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE collected(name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE bad_frame(pack BLOB NOT NULL, number INTEGER NOT NULL, stated INTEGER NOT NULL, PRIMARY KEY(pack, number)) WITHOUT ROWID;
CREATE TABLE bad_chunk(num INTEGER PRIMARY KEY, prefix INTEGER NOT NULL);
CREATE INDEX bad_chunk_prefix ON bad_chunk(prefix);
";

/// The database of one host and repository. Cheap: connections are made from it.
#[derive(Clone, Debug)]
pub struct Index {
    path: PathBuf,
}

impl Index {
    /// Opens the database at `path`, laying it out where it is new.
    ///
    /// Fails where it has another layout or belongs to another repository.
    pub fn open(path: &Path, repository: Id) -> Result<Index, IndexError> {
        let index = Index { path: path.to_owned() };
        let mut conn = index.connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let layout: i64 =
            conn.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(IndexError::at("read its layout"))?;
        match layout {
            0 => create(&mut conn, repository)?,
            LAYOUT => {}
            found => return Err(IndexError::Layout { path: path.display().to_string(), found, known: LAYOUT }),
        }
        let found: Option<Vec<u8>> = conn
            .query_row("SELECT value FROM meta WHERE key = 'repository'", [], |r| r.get(0))
            .optional()
            .map_err(IndexError::at("read its repository"))?;
        if found.as_deref() != Some(&repository.0[..]) {
            return Err(IndexError::Repository {
                path: path.display().to_string(),
                found: data_encoding::HEXLOWER.encode(&found.unwrap_or_default()),
                wanted: repository.to_string(),
            });
        }
        Ok(index)
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what it says of packs comes from records that may be older than the packs that are there.
    pub fn is_stale(&self) -> Result<bool, IndexError> {
        self.reader()?
            .query_row("SELECT value FROM meta WHERE key = 'stale'", [], |r| r.get(0))
            .map_err(IndexError::at("tell whether it is stale"))
    }

    /// Notes whether it is [stale](Index::is_stale).
    pub fn set_stale(&self, stale: bool) -> Result<(), IndexError> {
        self.writer()?
            .execute("UPDATE meta SET value = ?1 WHERE key = 'stale'", [stale])
            .map(drop)
            .map_err(IndexError::at("note whether it is stale"))
    }

    /// Every row of every table as text, in order.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Result<Vec<String>, IndexError> {
        let conn = self.reader()?;
        let all = || -> rusqlite::Result<Vec<String>> {
            let mut tables = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
            let tables: Vec<String> = tables.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
            let mut out = Vec::new();
            // What it knows of itself is not what it holds.
            for table in tables.into_iter().filter(|table| table != "meta") {
                let mut rows = conn.prepare(&format!("SELECT * FROM {table}"))?;
                let columns = rows.column_count();
                let mut rows = rows.query([])?;
                let mut lines = Vec::new();
                while let Some(row) = rows.next()? {
                    let values: Vec<_> = (0..columns).map(|n| row.get_ref(n)).collect::<Result<_, _>>()?;
                    lines.push(format!("{table} {values:?}"));
                }
                lines.sort();
                out.append(&mut lines);
            }
            Ok(out)
        };
        all().map_err(IndexError::at("be read"))
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, IndexError> {
        let conn = Connection::open_with_flags(&self.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(IndexError::at("open its database"))?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.busy_timeout(std::time::Duration::from_secs(30)).map_err(IndexError::at("set its time-out"))?;
        Ok(conn)
    }

    /// A connection for reading, with a page cache of 8 MiB.
    pub(crate) fn reader(&self) -> Result<Connection, IndexError> {
        let conn = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.execute_batch("PRAGMA cache_size = -8192; PRAGMA query_only = 1;")
            .map_err(IndexError::at("be opened for reading"))?;
        Ok(conn)
    }

    /// A connection for writing. NORMAL is enough: what a power cut takes from the end is in the journal.
    pub(crate) fn writer(&self) -> Result<Connection, IndexError> {
        let conn = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.execute_batch(
            "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -49152; PRAGMA wal_autocheckpoint = 16384;",
        )
        .map_err(IndexError::at("be opened for writing"))?;
        Ok(conn)
    }
}

fn create(conn: &mut Connection, repository: Id) -> Result<(), IndexError> {
    let doing = IndexError::at("be laid out");
    let lay_out = |conn: &mut Connection| -> rusqlite::Result<()> {
        conn.execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;")?;
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
        // Another process may have been faster.
        if tx.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0))? == 0 {
            tx.execute_batch(SCHEMA)?;
            tx.execute("INSERT INTO meta VALUES('repository', ?1)", [&repository.0[..]])?;
            tx.execute("INSERT INTO meta VALUES('stale', 1)", [])?;
            tx.pragma_update(None, "user_version", LAYOUT)?;
        }
        tx.commit()
    };
    // The change of the journal's mode does not wait for another process that is about it.
    for _ in 0..LAY_OUT_TRIES {
        match lay_out(conn) {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            other => return other.map_err(doing),
        }
    }
    lay_out(conn).map_err(doing)
}
