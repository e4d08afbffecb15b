//! What every store and everything around one guarantees.

use bygone::store::api::{Object, Store, StoreError};

/// The contract of the trait.
#[allow(dead_code, reason = "each test uses a part")]
pub(crate) fn contract(store: &dyn Store, what: &str) {
    kept(store, what, true);
}

/// The same for a store that may write over what is there, as some real ones do whatever they are asked: nothing rests on it.
#[allow(dead_code, reason = "each test uses a part")]
pub(crate) fn lenient(store: &dyn Store, what: &str) {
    kept(store, what, false);
}

fn kept(store: &dyn Store, what: &str, exclusive: bool) {
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
    for ranges in [&[][..], &[(0, 300_000)], &[(0, 10), (10, 20), (40, 7)], &[(5, 0), (5, 5), (250_000, 50_000)]] {
        let got = store.get_ranges(&long, ranges).unwrap();
        assert_eq!(got.len(), ranges.len(), "{what}: {ranges:?}");
        for ((offset, len), got) in ranges.iter().zip(&got) {
            assert_eq!(got[..], body[*offset as usize..][..*len], "{what}: {ranges:?}");
        }
    }
    let e = store.get_ranges(&long, &[(0, 10), (299_990, 11)]).unwrap_err();
    assert!(matches!(e, StoreError::Short { .. }), "{what}: {e}");
    assert!(store.get_ranges("keys/none", &[(0, 1), (2, 1)]).unwrap_err().is_missing(), "{what}");
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
    if exclusive {
        assert!(matches!(store.put("keys/two", b"other").unwrap_err(), StoreError::Exists { .. }), "{what}");
        assert_eq!(store.get("keys/two", 10).unwrap(), b"2", "{what}: an object is never written twice");
    }
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
