//! What every store and everything around one guarantees.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/s3.rs"]
mod s3;

use bygone::store::{
    api::{Object, Store, StoreError},
    local::LocalStore,
};

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
