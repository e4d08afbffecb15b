//! What every store and everything around one guarantees.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/contract.rs"]
mod contract;
#[path = "common/s3.rs"]
mod s3;

use bygone::store::{
    api::{Store, StoreError},
    cache::Cached,
    guard::{Guarded, noted},
    limit::{Limited, Rates},
    local::LocalStore,
    spool::Spool,
};
use contract::contract;
use std::{path::Path, sync::Arc, time::Duration};

#[test]
fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&LocalStore::open(dir.path()), "a directory");
}

#[test]
fn a_bucket_keeps_the_contract() {
    let server = s3::Server::start();
    contract(&server.store("some/prefix"), "below a prefix");
    let near = |store: &dyn Store| (store.far(), store.away());
    assert_eq!(near(&server.store("p")), (true, None));
    assert_eq!(near(&LocalStore::open(Path::new("/"))), (false, None));
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

/// Waits for something that another thread brings about.
fn until(what: &str, is: impl Fn() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_store_that_is_away_is_asked_once_and_heals_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("state/away");
    let server = s3::Server::start();
    contract(&Guarded::open(Arc::new(server.store("q")), &note), "a guard");
    let bucket = server.store("p");
    bucket.hurry();
    let guarded = Guarded::open(Arc::new(bucket), &note);
    guarded.put("keys/one", b"1").unwrap();
    assert!(guarded.away().is_none() && !note.exists() && guarded.far());
    server.set(s3::Mode::Cut);
    let e = guarded.get("keys/one", 10).unwrap_err();
    assert!(e.is_unanswered(), "{e}");
    let away = guarded.away().unwrap();
    assert_eq!(noted(&note).unwrap(), away);
    // None of these makes a request: they are refused by what is known.
    for e in [
        guarded.get("keys/one", 10).map(drop).unwrap_err(),
        guarded.get_ranges("keys/one", &[(0, 1)]).map(drop).unwrap_err(),
        guarded.list("keys/").map(drop).unwrap_err(),
        guarded.size("keys/one").map(drop).unwrap_err(),
    ] {
        assert!(e.is_unanswered() && e.to_string().contains("has not answered for"), "{e}");
    }
    // Another process begins with what this one found out, and tries once.
    let other = Guarded::open(Arc::new(server.store("p")), &note);
    assert_eq!(other.away().map(|a| a.since), Some(away.since));
    server.set(s3::Mode::Up);
    until("it is found again", || guarded.away().is_none());
    assert_eq!(guarded.get("keys/one", 10).unwrap(), b"1");
    assert_eq!(other.get("keys/one", 10).unwrap(), b"1");
    assert!(other.away().is_none() && !note.exists());
}

#[test]
fn a_key_slot_that_was_removed_is_forgotten_here_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3::Server::start();
    let bucket = Arc::new(server.store("p"));
    bucket.hurry();
    for name in ["bygone.toml", "keys/one", "keys/two"] {
        bucket.put(name, name.as_bytes()).unwrap();
    }
    let cached = Cached::open(bucket.clone(), dir.path(), 5_000).unwrap();
    assert_eq!(cached.list("keys/").unwrap().len(), 2);
    for name in ["bygone.toml", "keys/one", "keys/two"] {
        cached.get(name, 100).unwrap();
    }
    // What is read otherwise does not push it out.
    bucket.put("packs/aa/x", &[7; 9_000]).unwrap();
    for part in 0..9 {
        cached.get_range("packs/aa/x", part * 1_000, 1_000).unwrap();
    }
    bucket.delete("keys/one").unwrap();
    assert_eq!(cached.list("keys/").unwrap().len(), 1);
    server.set(s3::Mode::Cut);
    let again = Cached::open(bucket, dir.path(), 5_000).unwrap();
    assert_eq!(again.list("keys/").unwrap().len(), 1);
    assert_eq!(again.get("keys/two", 100).unwrap(), b"keys/two");
    assert!(again.get("keys/one", 100).is_err(), "it opens nothing any more");
}

#[test]
fn neighbours_are_one_request() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3::Server::start();
    let bucket = Arc::new(server.store("p"));
    let body: Vec<u8> = (0..100_000u32).map(|n| (n >> 3) as u8).collect();
    bucket.put("packs/aa/one", &body).unwrap();
    let cached = Cached::open(bucket, dir.path(), 1 << 20).unwrap();
    let ranges: Vec<(u64, usize)> = (0..10).map(|n| (n * 10_000, 9_000)).collect();
    server.requests();
    for _ in 0..2 {
        let got = cached.get_ranges("packs/aa/one", &ranges).unwrap();
        assert!(ranges.iter().zip(&got).all(|((at, len), got)| got[..] == body[*at as usize..][..*len]));
    }
    assert_eq!(server.requests().len(), 1, "the second time nothing is asked for");
    cached.get_ranges("packs/aa/one", &[(0, 9_000), (9_500, 100), (10_000, 9_000), (95_000, 5)]).unwrap();
    assert_eq!(server.requests().len(), 2, "what is here splits what is not");
}

#[test]
fn a_key_that_is_rotated_is_read_again_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3::Server::start();
    let settings = server.settings();
    let file = dir.path().join("credentials");
    let write = |secret: &str| {
        let id = &settings["AWS_ACCESS_KEY_ID"];
        std::fs::write(&file, format!("[work]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")).unwrap();
    };
    write(&settings["AWS_SECRET_ACCESS_KEY"]);
    std::fs::write(
        dir.path().join("config"),
        format!("[profile work]\nregion = us-east-1\nendpoint_url = {}\n", settings["AWS_ENDPOINT_URL"]),
    )
    .unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let named = [
        ("AWS_PROFILE", "work".into()),
        ("AWS_SHARED_CREDENTIALS_FILE", at("credentials")),
        ("AWS_CONFIG_FILE", at("config")),
    ];
    let named = named.map(|(name, value)| (name.to_owned(), value)).into();
    let url = format!("s3://{}/p", s3::BUCKET).parse().unwrap();
    let spool =
        spool(Arc::new(bygone::store::s3::S3Store::open(url, &named).unwrap()), &dir.path().join("spool"), 1 << 20);
    spool.put("packs/aa/1", b"1").unwrap();
    spool.settle().unwrap();
    server.rotate("another one");
    spool.put("packs/aa/2", b"2").unwrap();
    let e = spool.settle().unwrap_err().to_string();
    assert!(e.contains("check the access key"), "{e}");
    let told = spool.waiting().unwrap().unwrap();
    assert!(told.objects == 1 && told.error.unwrap().1.contains("check the access key"));
    write("another one");
    spool.settle().unwrap();
    assert_eq!(spool.waiting().unwrap().unwrap(), bygone::store::api::Waiting::default());
    assert_eq!(spool.get("packs/aa/2", 1).unwrap(), b"2");
}

#[test]
fn a_store_that_asks_to_slow_down_gets_everything_later() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3::Server::start();
    let bucket = Arc::new(server.store("p"));
    let spool = spool(bucket.clone(), dir.path(), 1 << 20);
    server.refuse(6);
    for n in 0..8 {
        spool.put(&format!("packs/aa/{n}"), &[n; 100]).unwrap();
    }
    spool.start();
    until("all is stored", || waiting(&spool) == 0);
    assert_eq!((server.refusing(), bucket.list("packs/").unwrap().len()), (0, 8));
}
