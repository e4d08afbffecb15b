//! SQLite databases that are written to all the time.

use crate::world::World;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ROOT: &str = "[[source]]\npath = \"DIR/root\"\n";

fn create(path: &Path, mode: &str) -> Connection {
    let db = Connection::open(path).unwrap();
    let set: String = db.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get(0)).unwrap();
    assert_eq!(set.to_uppercase(), mode);
    db.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE t (n INTEGER PRIMARY KEY, filler BLOB)").unwrap();
    db.busy_timeout(Duration::from_secs(20)).unwrap();
    db
}

/// Commits 1, 2, 3, ... until it is told to stop; how many. An error ends it, BUSY after 20 s among them.
fn write_all_the_time(db: &Connection, stop: &AtomicBool) -> i64 {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        db.execute("INSERT INTO t VALUES (?1, randomblob(200))", [n + 1]).expect("every commit is taken");
        n += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    n
}

/// The number of commits in a captured database, which is whole and has the first of them.
fn commits(world: &World, path: &Path, time: &str) -> i64 {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    std::fs::write(&copy, world.cat(path, time)).unwrap();
    let db = Connection::open(&copy).unwrap();
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "{} at {time}", path.display());
    let (count, max): (i64, Option<i64>) =
        db.query_row("SELECT count(*), max(n) FROM t", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(Some(count), max.or(Some(0)), "a beginning of the commits at {time}");
    count
}

#[test]
fn every_instant_of_a_busy_database_opens_and_has_a_beginning_of_the_commits() {
    let world = World::new(ROOT);
    let paths = [("WAL", world.at("root/wal.db")), ("DELETE", world.at("root/rollback.db"))];
    for (mode, path) in &paths {
        create(path, mode);
    }
    let stop = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let open = |path: &Path| {
            let db = Connection::open(path).unwrap();
            db.busy_timeout(Duration::from_secs(20)).unwrap();
            db.execute_batch("PRAGMA synchronous = OFF").unwrap();
            db
        };
        let writers: Vec<_> = paths
            .iter()
            .map(|(_, path)| {
                let (db, stop) = (open(path), &stop);
                scope.spawn(move || write_all_the_time(&db, stop))
            })
            .collect();
        let times: Vec<String> = (0..6)
            .map(|n| {
                let time = world.snapshot(if n == 3 { &["--tier", "full"] } else { &[] });
                std::thread::sleep(Duration::from_millis(50));
                time
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            assert!(writer.join().unwrap() > 20, "it was written to while it was captured");
        }
        times
    });
    for (mode, path) in &paths {
        let found: Vec<i64> = times.iter().map(|time| commits(&world, path, time)).collect();
        assert!(found.is_sorted() && found[0] < found[5], "{mode}: {found:?}");
    }
    for side in ["wal.db-wal", "wal.db-shm", "rollback.db-journal"] {
        let path = world.at("root").join(side);
        assert_ne!(world.run(&["cat", path.to_str().unwrap(), "--at", "latest"]).0, 0, "{side} is left out");
    }
}

#[test]
fn a_commit_that_changes_the_wal_only_is_captured_and_a_look_that_finds_nothing_reads_nothing() {
    let world = World::new(ROOT);
    let path = world.at("root/x.db");
    let db = create(&path, "WAL");
    db.execute("INSERT INTO t VALUES (1, 'a')", []).unwrap();
    let one = world.snapshot(&[]);
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    db.execute("INSERT INTO t VALUES (2, 'b')", []).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before, "only the WAL has changed");
    std::thread::sleep(Duration::from_millis(50));
    let two = world.snapshot(&[]);
    assert_eq!((commits(&world, &path, &one), commits(&world, &path, &two)), (1, 2));
    let report = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(world.good(0, args).0.lines().next().unwrap()).unwrap()
    };
    let quiet = report(&["--json", "snapshot"]);
    assert_eq!((&quiet["snapshot"]["bytes_read"], &quiet["snapshot"]["changed"]), (&0.into(), &0.into()), "{quiet}");
    // Every byte is read again, and is the same: an image of one state is always the same.
    let full = report(&["--json", "snapshot", "--tier", "full"]);
    assert_eq!((&full["snapshot"]["changed"], full["altered"].as_array().unwrap().len()), (&0.into(), 0), "{full}");
    drop(db);
    assert!(!world.at("root/x.db-wal").exists(), "closed and checkpointed");
    let three = world.snapshot(&[]);
    assert_eq!(commits(&world, &path, &three), 2);
    let left: Vec<_> = std::fs::read_dir(world.at("root")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["x.db"], "capture leaves nothing beside a database");
}

#[test]
fn a_database_that_is_none_is_captured_as_it_is_with_what_lies_beside_it_and_told() {
    let world = World::new(ROOT);
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.resize(8192, 0xab);
    std::fs::write(world.at("root/broken.db"), &bytes).unwrap();
    std::fs::write(world.at("root/broken.db-journal"), b"the journal").unwrap();
    let (_, told) = world.good(3, &["snapshot"]);
    assert!(told.contains("broken.db: there is no image of this SQLite database"), "{told}");
    assert_eq!(world.cat(&world.at("root/broken.db"), "latest"), bytes);
    assert_eq!(world.cat(&world.at("root/broken.db-journal"), "latest"), b"the journal");
    // Where the settings leave databases alone, they are files as any others.
    world.settings(&format!("{ROOT}sqlite = {{ find = false }}\n"));
    std::fs::write(world.at("root/broken.db"), &bytes[..4096]).unwrap();
    world.good(0, &["snapshot"]);
    assert_eq!(world.cat(&world.at("root/broken.db"), "latest"), bytes[..4096]);
}

/// What SQLite notices when it opens a database is told once for each change of it; its bytes are captured as they stand, and the
/// database as it was can be put back in its place.
#[test]
fn a_damaged_database_is_told_once_and_captured_as_it_stands() {
    let world = World::new(ROOT);
    let path = world.at("root/x.db");
    let db = create(&path, "WAL");
    for n in 0..400 {
        db.execute("INSERT INTO t VALUES (?1, randomblob(300))", [n]).unwrap();
    }
    drop(db);
    let whole = std::fs::read(&path).unwrap();
    let good = world.snapshot(&[]);
    let mut other_header = whole.clone();
    other_header[16..8192].fill(0xab);
    let cases = [
        ("an odd length", whole[..50_000].to_vec(), "its size is no whole number of pages"),
        ("pages missing", whole[..49_152].to_vec(), "SQLite can't read it: database disk image is malformed"),
        ("no header", other_header, "SQLite can't read it: file is not a database"),
    ];
    for (case, bytes, why) in cases {
        std::fs::write(&path, &bytes).unwrap();
        // So old that its times tell of every later change.
        std::thread::sleep(Duration::from_millis(50));
        let (_, told) = world.good(3, &["snapshot"]);
        assert!(told.contains(&format!("x.db: there is no image of this SQLite database: {why}")), "{case}: {told}");
        assert!(!told.contains("changed all the time"), "{case}: {told}");
        assert_eq!(world.cat(&path, "latest"), bytes, "{case}");
        let (log, _) = world.good(0, &["log", path.to_str().unwrap()]);
        assert!(log.contains("fuzzy"), "{case}: {log}");
        let (again, _) = world.good(0, &["--json", "snapshot"]);
        let again: serde_json::Value = serde_json::from_str(again.lines().next().unwrap()).unwrap();
        assert_eq!(again["snapshot"]["bytes_read"], 0, "{case}: {again}");
    }
    world.good(0, &["restore", path.to_str().unwrap(), "--at", &good, "--in-place"]);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn a_database_that_stays_locked_is_captured_as_it_stands_for_that_reason() {
    let world = World::new(ROOT);
    let path = world.at("root/x.db");
    let db = create(&path, "DELETE");
    db.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (_, told) = world.good(3, &["snapshot"]);
    assert!(told.contains("no image of this SQLite database: it was locked for 10 s"), "{told}");
    assert_eq!(told.matches("x.db").count(), 1, "{told}");
    db.execute_batch("COMMIT").unwrap();
    let time = world.snapshot(&[]);
    assert_eq!(commits(&world, &path, &time), 0);
}

#[test]
fn a_database_restored_in_place_has_no_wal_of_another_time_beside_it() {
    let world = World::new(ROOT);
    let path = world.at("root/x.db");
    let db = create(&path, "WAL");
    db.execute("INSERT INTO t VALUES (1, 'a')", []).unwrap();
    let one = world.snapshot(&[]);
    db.execute("INSERT INTO t VALUES (2, 'b')", []).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    world.snapshot(&[]);
    // A program that was killed leaves its WAL.
    let kept: Vec<(String, Vec<u8>)> = ["", "-wal"]
        .map(|side| (format!("root/x.db{side}"), std::fs::read(world.at(&format!("root/x.db{side}"))).unwrap()))
        .into();
    drop(db);
    for (name, bytes) in kept {
        std::fs::write(world.at(&name), bytes).unwrap();
    }
    world.good(0, &["restore", path.to_str().unwrap(), "--at", &one, "--in-place"]);
    assert!(!world.at("root/x.db-wal").exists(), "the WAL of another time is gone");
    let db = Connection::open(&path).unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}
