//! Maintaining a repository: what the policies do not keep goes, what they keep reads whole from any index, and nothing else does.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/describe.rs"]
mod describe;
#[path = "common/lab.rs"]
mod lab;
#[path = "common/loopfs.rs"]
mod loopfs;
#[path = "common/program.rs"]
mod program;

use bygone::config::{
    load,
    places::{Places, Surroundings},
};
use bygone::progress::Quiet;
use bygone::repo::{attach::Attached, audit::who::Who, audit::writer::Audit, replay};
use bygone::retention::maintain::{Maintained, Maintenance};
use bygone::sys::clock::{self, SystemClock};
use bygone::types::{time::Instant, when::zone::Zone};
use program::{Program, Reported};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const DAY_NS: i64 = 86_400 * 1_000_000_000;

fn program(dir: &Path, retention: &str) -> Program {
    let program = Program::in_dir(dir);
    program.init();
    settings(&program, retention);
    program
}

/// Puts other rules into the settings.
fn settings(program: &Program, retention: &str) {
    let path = program.home.join("bygone.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.split("[retention]").next().unwrap();
    fs::write(&path, format!("{text}[retention]\n{retention}")).unwrap();
}

fn write(program: &Program, name: &str, bytes: impl AsRef<[u8]>) {
    let path = program.root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn ok(program: &Program, args: &[&str]) -> String {
    let out = program.run(args);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{args:?}: {told}");
    String::from_utf8(out.stdout).unwrap()
}

/// Bytes that nothing makes less of.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Some days of a source, in six snapshots.
fn history(program: &Program) -> Reported {
    let mut reported = Reported::new();
    write(program, "stays", noise(1, 100_000));
    write(program, "dir/changes", noise(2, 700_000));
    program.snapshot(&mut reported);
    for n in 0..5 {
        write(program, "dir/changes", noise(10 + n, 700_000));
        write(program, &format!("dir/new{n}"), noise(20 + n, 5000));
        if n == 1 {
            fs::rename(program.root.join("dir/new0"), program.root.join("renamed")).unwrap();
            fs::hard_link(program.root.join("stays"), program.root.join("dir/linked")).unwrap();
        }
        if n == 3 {
            fs::remove_file(program.root.join("renamed")).unwrap();
            fs::rename(program.root.join("dir"), program.root.join("moved")).unwrap();
            fs::create_dir(program.root.join("dir")).unwrap();
        }
        program.snapshot(&mut reported);
    }
    reported
}

/// Maintains as if so many days had gone by.
fn maintain(program: &Program, days: i64, thorough: bool) -> Maintained {
    let around = Surroundings { root: true, host: "host".into(), ..Surroundings::default() };
    let path = program.home.join("bygone.toml");
    let text = fs::read_to_string(&path).unwrap();
    let config = load::parse(&text, &path, &Places::of(&around).unwrap()).unwrap();
    let at = Attached::open(program.open(), &program.state, Arc::new(SystemClock)).unwrap();
    assert!(replay::catch_up(&at, &Quiet).unwrap().problems.is_empty());
    let who = Who {
        host: "host".into(),
        uid: 0,
        user: None,
        sudo_user: None,
        login_user: None,
        program: "test".into(),
        pid: std::process::id(),
    };
    let audit = Audit::open(at.repo().clone(), at.dir(), who, Arc::new(SystemClock));
    let now = Instant(clock::now().0 + days * DAY_NS);
    let zone = Zone::utc();
    let maintenance = Maintenance { at: &at, config: &config, zone: &zone, now, thorough };
    let plans = maintenance.plan().unwrap();
    maintenance.act(&plans, &audit, &Quiet).unwrap()
}

fn objects(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(objects(&entry.path())),
            false => drop(found.insert(entry.path().display().to_string())),
        }
    }
    found
}

fn numbers(program: &Program) -> Vec<u64> {
    let listed = ok(program, &["--json", "list"]);
    let mut numbers: Vec<u64> = listed
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["number"].as_u64())
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn what_no_rule_keeps_goes_and_the_rest_reads_whole() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    let mut reported = history(&program);
    let before = objects(&program.repo.join("packs"));
    let none = maintain(&program, 0, false);
    assert_eq!((none.released, none.swept.packs), (0, 0), "all of it is younger than a day");
    program.check(&reported, "nothing was released");
    let done = maintain(&program, 3, false);
    assert_eq!((done.released, done.merged), (5, 1));
    assert!(done.swept.packs > 0 && done.awaited.is_empty(), "{done:?}");
    assert_eq!(numbers(&program), [6]);
    reported.retain(|number, _| *number == 6);
    program.check(&reported, "only the newest is kept");
    let after = objects(&program.repo.join("packs"));
    assert!(after.len() < before.len(), "{before:?} {after:?}");
    // It goes on, and what comes back that was released is stored again.
    write(&program, "again", noise(10, 700_000));
    program.snapshot(&mut reported);
    program.check(&reported, "it goes on");
    // The trail tells what went, on whose authority, and the check of it finds nothing wrong.
    let trail = ok(&program, &["--json", "audit", "show", "--kind", "delete"]);
    assert!(trail.contains("\"1-5\"") && trail.contains("every snapshot for 1 day"), "{trail}");
    ok(&program, &["audit", "verify"]);
    let text = ok(&program, &["verify", "--read-data"]);
    assert!(text.contains("merged history") && text.contains("no problem was found"), "{text}");
    let text = ok(&program, &["index", "rebuild"]);
    assert!(text.contains("2 snapshot(s)") || text.contains("1 snapshot(s)"), "{text}");
    program.check(&reported, "after a rebuild");
    // Once more: there is nothing left to do.
    let again = maintain(&program, 0, false);
    assert_eq!((again.released, again.swept.packs, again.marked.packs), (0, 0, 0), "{again:?}");
}

#[test]
fn holds_and_locks_keep_what_rules_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    let mut reported = history(&program);
    ok(&program, &["hold", "place", "case-7", "--owner", "legal", "--reason", "a claim"]);
    let done = maintain(&program, 3, true);
    assert_eq!(done.released, 0);
    program.check(&reported, "a hold keeps all of it");
    ok(&program, &["hold", "release", "case-7", "--reason", "settled", "--confirm", "case-7"]);
    // A lock that was set once holds, also when the settings forget it.
    settings(&program, "every = \"1d\"\nlock = \"30d\"\n");
    assert_eq!(maintain(&program, 3, true).released, 0);
    settings(&program, "every = \"1d\"\n");
    assert_eq!(maintain(&program, 3, true).released, 0, "a lock is never shortened");
    program.check(&reported, "a lock keeps all of it");
    // A clock that has jumped ahead is not believed further than a week behind the newest snapshot.
    assert_eq!(maintain(&program, 3650, true).released, 0);
    write(&program, "more", "more");
    program.snapshot(&mut reported);
    program.check(&reported, "and it goes on");
}

#[test]
fn a_hold_that_can_not_be_read_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    history(&program);
    ok(&program, &["hold", "place", "case-7", "--owner", "legal", "--reason", "a claim"]);
    let hold = objects(&program.repo.join("holds")).into_iter().next().unwrap();
    let mut bytes = fs::read(&hold).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&hold).unwrap();
    fs::write(&hold, bytes).unwrap();
    let before = objects(&program.repo);
    let out = program.run(&["maintain"]);
    assert_eq!(out.status.code(), Some(1));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.contains("nothing is released") && told.contains("holds/"), "{told}");
    let gone: Vec<_> = before.difference(&objects(&program.repo)).cloned().collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn the_command_prints_its_plan_and_says_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    let reported = history(&program);
    let text = ok(&program, &["maintain", "--dry-run"]);
    assert!(text.contains("0 of 6 instant(s) are released"), "{text}");
    let text = ok(&program, &["maintain", "--thorough"]);
    assert!(text.contains("merged 1 history(ies)") && text.contains("deleted"), "{text}");
    program.check(&reported, "all is kept, in fewer objects");
    let segments = objects(&program.repo.join("journal"));
    assert!(segments.len() <= 3, "a head, a segment, and the one that the writer goes on from: {segments:?}");
    let out = program.run(&["maintain", "--retire", "none"]);
    assert_eq!(out.status.code(), Some(2));
}

/// Neither the host that placed a hold, nor one that has only the repository, takes a hold that was removed for none.
#[test]
fn a_hold_or_a_lock_that_was_removed_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    history(&program);
    let new = program.elsewhere(&dir.path().join("new"));
    ok(&program, &["hold", "place", "case-7", "--owner", "legal", "--reason", "a claim"]);
    fs::rename(program.repo.join("holds"), dir.path().join("holds")).unwrap();
    for (whose, program) in [("its own", &program), ("a new one", &new)] {
        for args in [&["maintain"][..], &["hold", "list"]] {
            let out = program.run(args);
            let told = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(
                out.status.code() == Some(1) && told.contains("was stored and is missing"),
                "{whose} {args:?}: {told}"
            );
        }
        let out = program.run(&["verify"]);
        let told = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.code() == Some(3) && told.contains("legal hold: it is missing"), "{whose}: {told}");
    }
    fs::rename(dir.path().join("holds"), program.repo.join("holds")).unwrap();
    ok(&new, &["hold", "list"]);
    settings(&program, "every = \"1d\"\nlock = \"30d\"\n");
    ok(&program, &["maintain"]);
    settings(&program, "every = \"1d\"\n");
    let lock = objects(&program.repo.join("gc")).into_iter().find(|name| name.contains("/lock-")).unwrap();
    fs::remove_file(lock).unwrap();
    let out = program.run(&["maintain"]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(1) && told.contains("has seen this lock, and it is missing"), "{told}");
    let out = program.run(&["verify"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("for how long instants are locked"));
    let newer = program.elsewhere(&dir.path().join("newer"));
    let out = newer.run(&["maintain"]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        out.status.code() == Some(1) && told.contains("the audit trail names this lock, and it is missing"),
        "{told}"
    );
    let out = newer.run(&["verify"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("for how long instants are locked"));
    assert_eq!(numbers(&program).len(), 6);
}

/// What nothing of any history needs keeps no new machine from capturing, nor from being told what is wrong.
#[test]
fn a_statement_that_can_not_be_read_keeps_nobody_from_capturing() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    let mut reported = history(&program);
    ok(&program, &["maintain", "--thorough"]);
    let all = objects(&program.repo.join("gc"));
    let statement = all.iter().find(|name| name.rsplit('/').next().unwrap().starts_with("0000")).unwrap();
    let mut bytes = fs::read(statement).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(statement).unwrap();
    fs::write(statement, bytes).unwrap();
    let new = program.elsewhere(&dir.path().join("new"));
    write(&program, "more", "more");
    new.snapshot(&mut reported);
    let out = new.run(&["verify"]);
    let told = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.code() == Some(3) && told.contains("what it stated about collection"), "{told}");
    assert!(told.contains("remove it while nothing else uses the repository"), "{told}");
    let out = new.run(&["--json", "verify", "--read-data"]);
    let told = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(told.contains("\"problems\":1,"), "all that was captured can be read: {told}");
    // The cure that is told.
    fs::remove_file(statement).unwrap();
    ok(&new, &["verify", "--read-data"]);
    ok(&new, &["maintain", "--thorough"]);
    new.check(&reported, "after it was removed");
    let newer = program.elsewhere(&dir.path().join("newer"));
    newer.check(&reported, "by one that never saw it");
}

/// A trail of which nothing is left is no trail in which nothing is wrong.
#[test]
fn a_trail_that_was_removed_is_missed_by_a_new_machine() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    history(&program);
    let new = program.elsewhere(&dir.path().join("new"));
    ok(&new, &["audit", "verify"]);
    fs::remove_dir_all(program.repo.join("audit")).unwrap();
    let newer = program.elsewhere(&dir.path().join("newer"));
    let out = newer.run(&["audit", "verify"]);
    let told = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.code() == Some(3) && told.contains("all of the trail was removed"), "{told}");
}

/// On a full disk that is deleted which nothing needs at all, also where packs should be made into others first.
#[test]
fn a_full_disk_gets_room() {
    let Some(disk) = loopfs::LoopFs::make("ext4", 24) else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = Program { repo: disk.path().join("repo"), ..Program::in_dir(dir.path()) };
    program.init();
    settings(&program, "every = \"1d\"\n");
    write(&program, "stays", noise(1, 2_000_000));
    for n in 0..4 {
        // In packs of their own.
        write(&program, "changes", noise(10 + n, 2_500_000));
        ok(&program, &["snapshot"]);
        write(&program, &format!("new {n}"), noise(20 + n, 400_000));
        ok(&program, &["snapshot"]);
    }
    let filler = disk.path().join("filler");
    let room = |leave: u64| {
        let _ = fs::remove_file(&filler);
        let space = bygone::sys::space::of(fs::File::open(disk.path()).unwrap()).unwrap().available_bytes;
        // The file system takes some of it for itself.
        let sizes = (0..20).map(|n| space.saturating_sub(leave + n * 100_000) as usize);
        assert!(sizes.into_iter().any(|size| fs::write(&filler, vec![7; size]).is_ok()));
    };
    room(150_000);
    let done = maintain(&program, 3, true);
    assert!(done.released > 0 && done.swept.packs > 0 && done.marked.moved == (0, 0), "{done:?}");
    fs::remove_file(&filler).unwrap();
    let done = maintain(&program, 3, true);
    assert!(done.marked.moved.0 > 0, "what it had no room for is done now: {done:?}");
    ok(&program, &["verify", "--read-data"]);
}

/// A slip in the path of a hold is told when it is placed and when it is handed over; a path whose time will come may be meant.
#[test]
fn a_hold_of_what_never_was_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    history(&program);
    let never = program.root.join("typo/never").display().to_string();
    let was = program.root.join("renamed").display().to_string();
    let args = ["hold", "place", "case-7", "--owner", "legal", "--reason", "a claim", "--path", &never, "--path", &was];
    let out = program.run(&args);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        out.status.success() && told.contains("nothing was ever captured at") && told.contains("typo/never"),
        "{told}"
    );
    assert!(!told.contains("renamed"), "{told}");
    let to = dir.path().join("export").display().to_string();
    let out = program.run(&["hold", "export", "case-7", "--to", &to]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(3) && told.contains("typo/never: nothing was ever captured there"), "{told}");
}

/// A store that loses what a merged history was written into: what that takes the place of is not deleted.
#[test]
fn nothing_is_deleted_for_a_merged_history_that_does_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    let reported = history(&program);
    // Another host, which the collection waits for.
    let other = program.elsewhere(&dir.path().join("other"));
    let path = other.home.join("bygone.toml");
    let text = fs::read_to_string(&path).unwrap().replace("host = \"host\"", "host = \"other\"");
    fs::write(&path, text.replace(&format!("path = {:?}", program.root), &format!("path = {:?}", other.home))).unwrap();
    ok(&other, &["snapshot"]);
    let told = ok(&program, &["maintain", "--thorough"]);
    assert!(told.contains("merged 1 history(ies)"), "{told}");
    let merged = objects(&program.repo.join("journal"));
    let merged = merged.iter().find(|name| name.contains("/merged-") && name.ends_with("-000000000001")).unwrap();
    let mut bytes = fs::read(merged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(merged).unwrap();
    fs::write(merged, bytes).unwrap();
    ok(&other, &["snapshot"]);
    let before = objects(&program.repo);
    let out = program.run(&["maintain"]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        out.status.code() == Some(1) && told.contains("nothing is collected") && told.contains("merged-"),
        "{told}"
    );
    let gone: Vec<_> = before.difference(&objects(&program.repo)).cloned().collect();
    assert!(gone.is_empty(), "{gone:?}");
    // Once it was found, it is written again from the index.
    assert_eq!(program.run(&["verify"]).status.code(), Some(3));
    ok(&program, &["maintain"]);
    ok(&other, &["snapshot"]);
    ok(&program, &["maintain"]);
    let numbers: Vec<u64> = reported.keys().copied().collect();
    let new = program.elsewhere(&dir.path().join("new"));
    let listed = ok(&new, &["--json", "list", "--host", "host"]);
    let listed: Vec<u64> = listed
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["number"].as_u64())
        .collect();
    assert_eq!(listed, numbers);
    ok(&new, &["verify", "--read-data"]);
}

/// The objects of the journal, of which the first is the oldest.
fn journal(program: &Program) -> Vec<String> {
    objects(&program.repo.join("journal")).into_iter().collect()
}

/// Maintains after all hosts that are waited for were retired: those whose state was lost.
fn maintain_alone(program: &Program) {
    let told = ok(program, &["--json", "maintain"]);
    let done: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    for host in done["waits_for"].as_array().unwrap() {
        ok(program, &["maintain", "--retire", host["id"].as_str().unwrap()]);
    }
    ok(program, &["maintain"]);
}

/// What nobody can follow any more keeps everything from being collected, until somebody gives it up.
#[test]
fn what_nobody_can_follow_is_given_up_by_a_person_only() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    let root = program.root.display().to_string();
    let mut reported = Reported::new();
    for n in 0..3 {
        write(&program, &format!("file{n}"), noise(n, 50_000));
        program.snapshot(&mut reported);
    }
    let told = ok(&program, &["maintain", "--give-up", &root]);
    assert!(told.contains("there is nothing to give up"), "{told}");
    let segments = journal(&program);
    fs::remove_file(&segments[1]).unwrap();
    fs::remove_dir_all(&program.state).unwrap();
    // The last one needs what is not there: what is new does without it, and nothing can take its place yet.
    let run = |args: &[&str]| {
        let out = program.run(args);
        (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    let (status, told) = run(&["maintain", "--give-up", &root]);
    assert!(status == Some(1) && told.contains("take a snapshot of it first"), "{status:?} {told}");
    write(&program, "file3", noise(3, 50_000));
    run(&["snapshot"]);
    let (status, told) = run(&["maintain"]);
    assert!(status == Some(1) && told.contains("nothing is collected"), "{status:?} {told}");

    let lost = Path::new(&segments[2]).file_name().unwrap().to_str().unwrap();
    let before = objects(&program.repo);
    let (status, told) = run(&["maintain", "--give-up", &root, "--dry-run"]);
    assert!(status == Some(0) && told.contains(lost) && told.contains("snapshots 2 to 3"), "{status:?} {told}");
    assert_eq!(objects(&program.repo), before);
    let (status, told) = run(&["maintain", "--give-up", &root]);
    assert!(status == Some(0) && told.contains(lost) && told.contains("is given up"), "{status:?} {told}");
    maintain_alone(&program);
    assert!(!Path::new(&segments[2]).exists());
    let trail = ok(&program, &["audit", "show"]);
    assert!(trail.contains("given_up") && trail.contains(lost), "{trail}");

    let new = program.elsewhere(&dir.path().join("new"));
    assert_eq!(numbers(&new), [1, 4]);
    let (status, told) = run(&["verify", "--read-data"]);
    assert!(status == Some(0), "{status:?} {told}");
    for (n, at) in [(0, "latest"), (3, "latest")] {
        let out = new.run(&["cat", &format!("{root}/file{n}"), "--at", at]);
        assert_eq!(out.stdout, noise(n, 50_000), "{n}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

/// The same of a merged history that no index has whole.
#[test]
fn a_merged_history_that_nobody_can_read_is_given_up_by_a_person_only() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "every = \"1d\"\n");
    let root = program.root.display().to_string();
    history(&program);
    ok(&program, &["maintain", "--thorough"]);
    let merged = journal(&program).into_iter().find(|name| name.ends_with("-000000000001")).unwrap();
    let mut bytes = fs::read(&merged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&merged).unwrap();
    fs::write(&merged, bytes).unwrap();
    fs::remove_dir_all(&program.state).unwrap();
    write(&program, "afterwards", noise(7, 50_000));
    program.run(&["snapshot"]);
    assert_eq!(program.run(&["maintain"]).status.code(), Some(1));
    let told = ok(&program, &["maintain", "--give-up", &root]);
    assert!(told.contains("is given up") && told.contains("merged-"), "{told}");
    maintain_alone(&program);
    assert!(!Path::new(&merged).exists());
    let new = program.elsewhere(&dir.path().join("new"));
    let listed = numbers(&new);
    assert_eq!((listed.last(), &numbers(&program)), (Some(&7), &listed));
    ok(&new, &["verify", "--read-data"]);
}
