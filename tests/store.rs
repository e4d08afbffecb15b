//! What every store and everything around one guarantees.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/s3.rs"]
mod s3;

use bygone::store::{
    api::{Object, Store, StoreError},
    cache::Cached,
    limit::{Limited, Rates},
    local::LocalStore,
    spool::Spool,
};
use std::{path::Path, sync::Arc, time::Duration};

/// The contract of the trait.
fn contract(store: &dyn Store, what: &str) {
    let body: Vec<u8> = (0..300_000u32).map(|n| ((n * 7) >> 3) as u8).collect();
    let long = format!("packs/ab/{}", "f".repeat(64));
    assert_eq!(store.list("").unwrap(), [], "{what}: it is empty at first");
    for (name, bytes) in [("bygone.toml", &b"text"[..]), (&long, &body), ("keys/one", b""), ("keys/two", b"2")] {
        store.put(name, bytes).unwrap();
        assert_eq!(store.size(name).unwrap(), bytes.len() as u64, "{what}: {name}");
        assert_eq!(store.get(name, 1 << 20).unwrap(), bytes, "{what}: {name}");
    }
    let object = |name: &str, len| Object { name: name.to_owned(), len };
    let keys = [object("keys/one", 0), object("keys/two", 1)];
    assert_eq!(store.list("keys/").unwrap(), keys, "{what}");
    assert_eq!(store.list("none/").unwrap(), [], "{what}");
    let all = [object("bygone.toml", 4), keys[0].clone(), keys[1].clone(), object(&long, 300_000)];
    assert_eq!(store.list("").unwrap(), all, "{what}: in the order of names");

    for (offset, len) in [(0, 1), (0, 300_000), (299_999, 1), (100_000, 65_536), (7, 0)] {
        let got = store.get_range(&long, offset, len).unwrap();
        assert_eq!(got[..], body[offset as usize..offset as usize + len], "{what}: {offset}+{len}");
    }
    for (offset, len) in [(299_999, 2), (300_000, 1), (1 << 40, 10)] {
        let e = store.get_range(&long, offset, len).unwrap_err();
        assert!(matches!(e, StoreError::Short { .. }), "{what}: {offset}+{len}: {e}");
    }
    assert!(store.get(&long, 299_999).unwrap_err().to_string().contains("more than"), "{what}");
    for e in [
        store.get("keys/none", 10).unwrap_err(),
        store.get_range("keys/none", 0, 1).unwrap_err(),
        store.size("keys/none").unwrap_err(),
    ] {
        assert!(e.is_missing() && e.to_string().contains("keys/none"), "{what}: {e}");
    }
    for bad in ["", "/abs", "a//b", "../up", "a/../b", ".hidden", "a b", "keys/"] {
        assert!(matches!(store.put(bad, b"x"), Err(StoreError::Name { .. })), "{what}: {bad:?}");
    }
    assert!(matches!(store.put("keys/two", b"other").unwrap_err(), StoreError::Exists { .. }), "{what}");
    assert_eq!(store.get("keys/two", 10).unwrap(), b"2", "{what}: an object is never written twice");
    store.delete("keys/one").unwrap();
    store.delete("keys/one").unwrap();
    store.delete("none/at/all").unwrap();
    assert!(store.get("keys/one", 10).unwrap_err().is_missing(), "{what}");
    assert_eq!(store.list("keys/").unwrap(), [object("keys/two", 1)], "{what}");

    std::thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || {
                for m in 0..8 {
                    let name = format!("many/{n}/{m}");
                    store.put(&name, name.as_bytes()).unwrap();
                    assert_eq!(store.get(&name, 100).unwrap(), name.as_bytes());
                }
            });
        }
    });
    assert_eq!(store.list("many/").unwrap().len(), 64, "{what}");
}

#[test]
fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&LocalStore::open(dir.path()), "a directory");
}

#[test]
fn a_bucket_keeps_the_contract() {
    let server = s3::Server::start();
    contract(&server.store("some/prefix"), "below a prefix");
    let whole = server.store("");
    assert!(whole.list("some/").unwrap().iter().all(|o| o.name.starts_with("some/prefix/")));
}

#[test]
fn a_store_at_a_bounded_rate_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let behind = Arc::new(LocalStore::open(dir.path()));
    // What the contract moves takes some of the debt that a slower rate would leave.
    let rates = Arc::new(Rates::new(Some(4 << 20), Some(4 << 20)));
    contract(&Limited::new(behind, rates.clone()), "a directory at a bounded rate");
    assert_eq!(rates.waited(), Duration::ZERO, "as much as flows in during one second goes at once");
}

#[test]
fn what_goes_out_and_what_comes_in_wait_each_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let behind: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()));
    let rates = Arc::new(Rates::new(Some(100_000), None));
    let store = Limited::new(behind.clone(), rates.clone());
    store.put("packs/one", &[1; 100_000]).unwrap();
    assert_eq!(store.get("packs/one", 1 << 20).unwrap().len(), 100_000);
    assert_eq!(store.get_range("packs/one", 0, 100_000).unwrap().len(), 100_000);
    assert_eq!(rates.waited(), Duration::ZERO, "reading has no rate");
    rates.set(Some(1 << 30), Some(200_000));
    store.put("packs/two", &[2; 200_000]).unwrap();
    assert_eq!(rates.waited(), Duration::ZERO, "another rate holds at once");
    store.get("packs/two", 1 << 20).unwrap();
    store.get_range("packs/two", 0, 40_000).unwrap();
    assert!(rates.waited() > Duration::ZERO);
}

#[test]
fn a_store_that_is_away_is_told_and_heals() {
    let server = s3::Server::start();
    let store = server.store("p");
    store.put("keys/one", b"1").unwrap();
    server.set(s3::Mode::Cut);
    let e = store.get("keys/one", 10).unwrap_err();
    assert!(matches!(e, StoreError::Io { doing: "read", .. }) && e.to_string().contains("keys/one"), "{e}");
    server.set(s3::Mode::Up);
    assert_eq!(store.get("keys/one", 10).unwrap(), b"1");
}

#[test]
fn a_wrong_key_is_told_with_what_to_do() {
    let server = s3::Server::start();
    let mut settings = server.settings();
    settings.insert("AWS_SECRET_ACCESS_KEY".into(), "wrong".into());
    let url = format!("s3://{}/p", s3::BUCKET).parse().unwrap();
    let store = bygone::store::s3::S3Store::open(url, &settings).unwrap();
    let e = store.put("keys/one", b"1").unwrap_err().to_string();
    assert!(e.contains("check the access key"), "{e}");
}

/// A spool in a directory of its own before a store.
fn spool(behind: Arc<dyn Store>, dir: &Path, max_bytes: u64) -> Spool {
    Spool::open(behind, dir, max_bytes).unwrap()
}

fn waiting(store: &dyn Store) -> u64 {
    store.waiting().unwrap().unwrap().objects
}

#[test]
fn what_is_captured_waits_here_and_is_stored_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3::Server::start();
    server.set(s3::Mode::Cut);
    let bucket = Arc::new(server.store("p"));
    let spool = spool(bucket.clone(), dir.path(), 1 << 30);
    for n in 0..20 {
        let name = if n % 5 == 4 { format!("journal/s/{n:02}") } else { format!("packs/aa/{n:02}") };
        spool.put(&name, &[n as u8; 1000]).unwrap();
        // Without the network, and at once.
        assert_eq!(spool.get(&name, 2000).unwrap(), [n as u8; 1000]);
        assert_eq!(spool.get_range(&name, 10, 5).unwrap()[..], [n as u8; 5]);
        assert_eq!(spool.size(&name).unwrap(), 1000);
    }
    assert!(matches!(spool.put("packs/aa/03", b"other").unwrap_err(), StoreError::Exists { .. }));
    let held = spool.waiting().unwrap().unwrap();
    assert_eq!((held.objects, held.bytes), (20, 20_000));
    assert!(held.since.is_some());
    let e = spool.settle().unwrap_err();
    assert!(matches!(e, StoreError::Io { doing: "write", .. }), "{e}");
    assert_eq!(waiting(&spool), 20, "nothing is lost by a failure");
    drop(spool);

    // Another process goes on, and whatever is there at any moment is whole: no record without the packs before it.
    server.set(s3::Mode::Up);
    let again = self::spool(bucket.clone(), dir.path(), 1 << 30);
    std::thread::scope(|scope| {
        let upload = scope.spawn(|| again.settle());
        while !upload.is_finished() {
            let records = bucket.list("journal/").unwrap();
            let packs: Vec<String> = bucket.list("packs/").unwrap().into_iter().map(|o| o.name).collect();
            for record in records {
                let n: u32 = record.name[record.name.len() - 2..].parse().unwrap();
                for before in (0..n).filter(|n| n % 5 != 4) {
                    assert!(
                        packs.contains(&format!("packs/aa/{before:02}")),
                        "{} is there before {before}",
                        record.name
                    );
                }
            }
        }
        upload.join().unwrap().unwrap();
    });
    assert_eq!((waiting(&again), bucket.list("").unwrap().len()), (0, 20));
    assert_eq!(again.list("").unwrap(), bucket.list("").unwrap());
}

#[test]
fn a_spool_keeps_the_contract_once_it_has_settled() {
    let (dir, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let behind = Arc::new(LocalStore::open(store.path()));
    contract(&spool(behind, dir.path(), 1 << 30), "a spool");
}

#[test]
fn a_spool_while_it_uploads_keeps_the_contract() {
    let (dir, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let behind = Arc::new(LocalStore::open(store.path()));
    let spool = spool(behind.clone(), dir.path(), 1 << 30);
    spool.start();
    for n in 0..200 {
        let name = format!("packs/{:02x}/{n}", n % 7);
        spool.put(&name, &[n as u8; 3000]).unwrap();
        assert_eq!(spool.get(&name, 3000).unwrap(), [n as u8; 3000]);
        spool.delete(&format!("packs/{:02x}/{}", (n / 2) % 7, n / 2)).unwrap();
    }
    spool.settle().unwrap();
    let left: Vec<String> = behind.list("").unwrap().into_iter().map(|o| o.name).collect();
    assert_eq!(left.len(), 100);
    assert!((100..200).all(|n| left.contains(&format!("packs/{:02x}/{n}", n % 7))));
}

#[test]
fn a_full_spool_makes_writers_wait_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3::Server::start();
    server.set(s3::Mode::Cut);
    let bucket = Arc::new(server.store("p"));
    let spool = spool(bucket.clone(), dir.path(), 10_000);
    spool.start();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..30).for_each(|n| spool.put(&format!("packs/aa/{n:02}"), &[n; 1000]).unwrap()));
        while waiting(&spool) < 10 {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        let (held, finished) = (waiting(&spool), writer.is_finished());
        server.set(s3::Mode::Up);
        writer.join().unwrap();
        // One more may have been on its way when what waits was counted.
        assert!((10..=11).contains(&held) && !finished, "{held} wait, finished: {finished}");
    });
    spool.settle().unwrap();
    for n in 0..30 {
        assert_eq!(bucket.get(&format!("packs/aa/{n:02}"), 1000).unwrap(), [n; 1000]);
    }
}

#[test]
fn a_cache_serves_what_was_read_when_the_store_is_away_and_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3::Server::start();
    let bucket = Arc::new(server.store("p"));
    let body: Vec<u8> = (0..100_000u32).map(|n| (n >> 3) as u8).collect();
    bucket.put("packs/aa/one", &body).unwrap();
    let open = || Cached::open(bucket.clone(), dir.path(), 50_000).unwrap();
    let cached = open();
    contract(&Cached::open(Arc::new(server.store("q")), &dir.path().join("q"), 1 << 20).unwrap(), "a cache");
    for part in 0..4 {
        assert_eq!(
            cached.get_range("packs/aa/one", part * 10_000, 10_000).unwrap()[..],
            body[part as usize * 10_000..][..10_000]
        );
    }
    server.set(s3::Mode::Cut);
    let again = open();
    for store in [&cached, &again] {
        assert_eq!(store.get_range("packs/aa/one", 20_000, 10_000).unwrap()[..], body[20_000..30_000]);
    }
    assert!(cached.get_range("packs/aa/one", 70_000, 10).is_err(), "nobody read that");
    server.set(s3::Mode::Up);
    for part in 0..10 {
        cached.get_range("packs/aa/one", part * 10_000, 10_000).unwrap();
        assert!(cached.bytes() <= 50_000);
    }
    // A bad disk here is not taken for damage there.
    for entry in std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        let mut bytes = std::fs::read(&entry).unwrap();
        bytes[5] ^= 1;
        std::fs::write(&entry, bytes).unwrap();
    }
    for part in 0..10 {
        assert_eq!(
            open().get_range("packs/aa/one", part * 10_000, 10_000).unwrap()[..],
            body[part as usize * 10_000..][..10_000]
        );
    }
}
