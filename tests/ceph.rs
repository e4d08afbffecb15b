//! Ceph, which has object lock: the contract, work that goes on while a part of it is dead, and what is locked stays. Not run by
//! default: `tests/engines/ceph.sh install`, then `cargo test --test ceph -- --ignored`.

#[path = "common/contract.rs"]
mod contract;
#[path = "common/engine.rs"]
mod engine;

use bygone::store::{
    api::{Store, StoreError},
    s3_lock::Lock,
};
use engine::Engine;
use std::{process::Command, time::Duration};

/// Makes a bucket by a signed request of curl.
fn bucket(engine: &Engine, name: &str, lock: bool) {
    let set = &engine.settings;
    let (user, url) = (
        format!("{}:{}", set["AWS_ACCESS_KEY_ID"], set["AWS_SECRET_ACCESS_KEY"]),
        format!("{}/{name}", set["AWS_ENDPOINT_URL"]),
    );
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user, "-X", "PUT"]);
    curl.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    if lock {
        curl.args(["-H", "x-amz-bucket-object-lock-enabled: true"]);
    }
    let out = curl.arg(url).output().unwrap();
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}

#[test]
#[ignore = "needs Ceph: tests/engines/ceph.sh install"]
fn what_is_locked_stays_and_one_store_may_die() {
    let engine = Engine::start("ceph");
    bucket(&engine, "plain", false);
    bucket(&engine, "locked", true);
    contract::lenient(&engine.store("plain", "contract", None), "Ceph");

    let lock = Lock { keep: Duration::from_secs(3600), compliance: false };
    let store = engine.store("locked", "p", Some(lock));
    for name in ["packs/aa/one", "journal/s/1", "keys/one"] {
        store.put(name, b"1").unwrap();
    }
    for name in ["packs/aa/one", "journal/s/1"] {
        let e = store.delete(name).unwrap_err();
        assert!(matches!(e, StoreError::Locked { until: Some(_), .. }), "{name}: {e}");
        assert_eq!(store.get(name, 10).unwrap(), b"1");
    }
    // Key slots are not locked: they have to be taken away at once.
    store.delete("keys/one").unwrap();
    assert!(store.get("keys/one", 10).unwrap_err().is_missing());
    engine::goes_on_without_one(&engine, "s3://locked/work", "object-lock = \"1h\"", 2);
}
