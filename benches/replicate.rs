//! A replication with nothing to do, of a repository with 10,000 objects in a directory: its time, and that no object is read; beside
//! its limit. `cargo bench --bench replicate [OBJECTS]`.

#![allow(clippy::disallowed_methods, reason = "a bench makes files as any program does")]

use bygone::crypto::slots::{Secret, SlotKind};
use bygone::progress::Quiet;
use bygone::replicate::run::{Site, replicate};
use bygone::repo::{attach::Attached, names, open::Repository, replay};
use bygone::store::{api::Store as _, local::LocalStore};
use bygone::sys::clock::{self, SystemClock};
use bygone::types::ids::Id;
use std::sync::{Arc, atomic::AtomicBool};
use std::time::Instant;

/// What a run with nothing to do may take, in seconds.
const LIMIT_S: f64 = 2.0;

fn main() {
    let objects = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10_000u64);
    let dir = tempfile::tempdir().unwrap();
    let (repo, site) = (dir.path().join("repo"), dir.path().join("site"));
    std::fs::create_dir(&repo).unwrap();
    let secret = Secret::generate_key().unwrap();
    let store = Arc::new(LocalStore::open(&repo));
    let id = Repository::new_id().unwrap();
    let repo = Repository::create(store.clone(), &secret, SlotKind::KeyFile, "bench", clock::now(), id).unwrap();
    let at = Attached::open(Arc::new(repo), &dir.path().join("state"), Arc::new(SystemClock)).unwrap();
    let copy = Arc::new(LocalStore::open(&site));
    for object in store.list("").unwrap() {
        copy.put(&object.name, &store.get(&object.name, 1 << 20).unwrap()).unwrap();
    }
    for n in 0..objects {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&n.to_le_bytes()).as_bytes()[..16]);
        // What is never read need not be a pack.
        for store in [&store, &copy] {
            store.put(&names::pack(Id(id)), b"x").unwrap();
        }
    }
    for what in ["first", "again"] {
        let begun = Instant::now();
        let replayed = replay::catch_up(&at, &Quiet).unwrap();
        let copy = at.repo().in_store(copy.clone());
        let to = Site { name: "far", copy, sources: Vec::new(), tiers: Vec::new(), anew: false, hands_over: false };
        let done = replicate(&at, &to, &replayed, &Quiet, &AtomicBool::new(false)).unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        assert!(done.is_whole() && done.done.copied == 0);
        println!("{what}: {} object(s), nothing to do: {seconds:.3} s (limit {LIMIT_S} s)", done.plan.same);
    }
}
