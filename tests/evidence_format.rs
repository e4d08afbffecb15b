//! The holds and the audit trail of the repository that is kept under `tests/formats/v1` stay readable for ever.
//! `BYGONE_BLESS=1 cargo test --test evidence_format` writes them where they are missing.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use bygone::crypto::slots::Secret;
use bygone::repo::{
    audit::{
        check,
        event::{Event, Kind, Outcome},
        who::Who,
        writer::Audit,
    },
    holds::{force, write},
    open::Repository,
};
use bygone::store::local::LocalStore;
use bygone::sys::clock::ManualClock;
use bygone::types::{
    hold::{Hold, Scope},
    time::Instant,
};
use std::{path::PathBuf, sync::Arc};

fn v1() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1")
}

fn open() -> Arc<Repository> {
    let key = std::fs::read_to_string(v1().join("key")).unwrap();
    let store = Arc::new(LocalStore::open(&v1().join("repo")));
    Arc::new(Repository::open(store, &Secret::from_key_file(&key).unwrap()).unwrap())
}

fn held(until: i64) -> Hold {
    let paths = vec![b"/srv/a".to_vec(), b"/srv/\xff".to_vec()];
    let scope = Scope { paths, hosts: vec!["web1".into()], from: Some(Instant(5)), ..Scope::default() };
    Hold { id: "case-7".into(), owner: "Legal".into(), reason: "a claim".into(), scope, until: Some(Instant(until)) }
}

/// Two runs that know of each other, and a case with everything that can be done about one.
fn bless(repo: &Arc<Repository>) {
    let state = tempfile::tempdir().unwrap();
    let who = Who { host: "web1".into(), user: Some("anna".into()), program: "bygone 0.1.0".into(), ..Who::default() };
    let clock = Arc::new(ManualClock::new(Instant(1_000)));
    let audit = || Audit::open(repo.clone(), state.path(), who.clone(), clock.clone());
    let (one, two) = (audit(), audit());
    for (n, audit) in [&one, &two, &one].into_iter().enumerate() {
        clock.advance(1_000);
        audit.record(Event::new(Kind::Restore, Outcome::Done).paths([&b"/srv/\xff"[..]]).detail("n", n)).unwrap();
    }
    let dir = state.path();
    write::place(repo, &held(100), &who, Instant(10)).unwrap();
    write::lengthen(repo, dir, "case-7", Some(Instant(200)), (&who, Instant(20))).unwrap();
    write::release(repo, dir, "case-7", "settled", (&who, Instant(30))).unwrap();
    write::place(repo, &held(300), &who, Instant(40)).unwrap();
}

#[test]
fn what_was_written_is_read() {
    let repo = open();
    if std::env::var_os("BYGONE_BLESS").is_some() && !v1().join("repo/audit").exists() {
        bless(&repo);
    }
    let state = tempfile::tempdir().unwrap();
    let trail = check::check(&repo, state.path()).unwrap();
    assert_eq!((trail.problems, trail.runs), (vec![], 2));
    let told: Vec<(u64, i64, usize)> =
        trail.entries.iter().map(|s| (s.entry.count("n"), s.entry.time_ns, s.entry.parents.len())).collect();
    assert_eq!(told, [(0, 2_000, 0), (1, 3_000, 1), (2, 4_000, 1)]);
    assert_eq!(trail.entries[0].entry.subject["paths"][0]["bytes_base64"], "L3Nydi//");
    let cases = force::cases(&repo, state.path()).unwrap();
    assert_eq!((cases.len(), cases[0].events.len()), (1, 4));
    let ends: Vec<_> = cases[0].placements.iter().map(|p| (p.hold.until, p.released)).collect();
    assert_eq!(ends, [(Some(Instant(200)), true), (Some(Instant(300)), false)]);
    assert_eq!(force::in_force(&repo, state.path()).unwrap(), [held(300)]);
}
