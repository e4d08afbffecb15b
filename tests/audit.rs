//! The audit trail: whatever is altered, removed or put elsewhere is found, and where; any number of processes write at once; a writer
//! that is killed, and a store that fails, lose nothing.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod common;
#[path = "common/loopfs.rs"]
mod loopfs;

use bygone::crypto::seal::ObjectKind;
use bygone::repo::{
    audit::{
        captures::{Captures, EVERY_NS},
        check::{self, Trail},
        entry,
        error::AuditError,
        event::{Event, Kind, Outcome},
        policy,
        who::Who,
        writer::Audit,
    },
    header,
    open::Repository,
};
use bygone::store::{
    api::{Object, Store, StoreError, Waiting},
    local::LocalStore,
};
use bygone::sys::{buffer::Buffer, clock::ManualClock};
use bygone::types::{
    ids::{Generation, Hash, Id, Snap, SourceNum},
    snapshot::{Counts, Snapshot, Source, Tier},
    time::Instant,
};
use common::repository::{TestRepo, secret};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

fn who(host: &str) -> Who {
    Who { host: host.into(), user: Some("anna".into()), program: "test".into(), ..Who::default() }
}

fn event(n: usize) -> Event {
    Event::new(Kind::Restore, Outcome::Done).detail("n", n)
}

/// A trail of several runs on two hosts, which know of one another in part. The time of each entry is its place in the whole.
fn trail(repo: &TestRepo) -> Arc<ManualClock> {
    let clock = Arc::new(ManualClock::new(Instant(0)));
    let audit = |host: &str| {
        Audit::open(repo.at.repo().clone(), &repo.dir.path().join(format!("state-{host}")), who(host), clock.clone())
    };
    let (a, b, c) = (audit("a"), audit("a"), audit("b"));
    for (n, run) in [&a, &b, &a, &c, &b, &a, &c].into_iter().enumerate() {
        clock.advance(1000);
        run.record(event(n)).unwrap();
    }
    for n in 7..10 {
        clock.advance(1000);
        audit(if n == 8 { "b" } else { "a" }).record(event(n)).unwrap();
    }
    clock
}

fn check_from(repo: &TestRepo, state: &str) -> Trail {
    check::check(repo.at.repo(), &repo.dir.path().join(state)).unwrap()
}

/// All objects of the trail, with their bytes.
fn objects(repo: &TestRepo) -> BTreeMap<String, Vec<u8>> {
    let names = repo.at.repo().store().list("audit/").unwrap();
    names.into_iter().map(|o| (o.name.clone(), fs::read(repo.store().join(&o.name)).unwrap())).collect()
}

/// That a problem names this object, its entry, and a time in which it was written.
fn is_located(trail: &Trail, name: &str, time: Instant, how: &str) {
    let found = trail.problems.iter().find(|p| p.object == name);
    let found = found.unwrap_or_else(|| panic!("{how} {name} is not found: {:?}", trail.problems));
    let number = u64::from_str_radix(name.rsplit_once('-').unwrap().1, 16).unwrap();
    assert_eq!(found.number, Some(number), "{how}");
    assert!(found.after.is_none_or(|after| after <= time), "{how} {name} of {time:?}: {found:?}");
    assert!(found.before.is_none_or(|before| before >= time), "{how} {name} of {time:?}: {found:?}");
    assert!(found.after.is_some() || found.before.is_some(), "{how} {name}: {found:?}");
}

#[test]
fn a_trail_that_nobody_touched_is_whole() {
    let repo = TestRepo::create();
    trail(&repo);
    for state in ["state-a", "state-b", "another"] {
        let trail = check_from(&repo, state);
        assert_eq!((trail.problems, trail.entries.len(), trail.runs), (vec![], 10, 6));
        let order: Vec<u64> = trail.entries.iter().map(|s| s.entry.count("n")).collect();
        assert_eq!(order, (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn each_object_that_is_flipped_cut_removed_or_swapped_is_found_and_located() {
    let repo = TestRepo::create();
    trail(&repo);
    let all = objects(&repo);
    let times: BTreeMap<String, Instant> =
        check_from(&repo, "state-a").entries.iter().map(|s| (s.place.name(), s.entry.time())).collect();
    assert_eq!(times.len(), 10);
    let last_of_b = times.iter().find(|(_, time)| time.0 == 9000).unwrap().0.clone();
    for (name, bytes) in &all {
        let (at, time) = (repo.store().join(name), times[name]);
        // The host that wrote the last entries knows them, and they name all others; a stranger knows what is named alone.
        let newest = time.0 == 10_000;
        for state in ["state-a", "stranger"] {
            for flipped in [0, 20, header::LEN, bytes.len() / 2, bytes.len() - 1] {
                let mut bad = bytes.clone();
                bad[flipped] ^= 1;
                fs::write(&at, bad).unwrap();
                let trail = check_from(&repo, state);
                let named = trail.problems.iter().any(|p| p.object == *name);
                assert!(named, "byte {flipped} of {name}: {:?}", trail.problems);
                if !newest || state == "state-a" {
                    is_located(&trail, name, time, "flipped");
                }
            }
            fs::write(&at, &bytes[..bytes.len() - 1]).unwrap();
            assert!(check_from(&repo, state).problems.iter().any(|p| p.object == *name));
            fs::remove_file(&at).unwrap();
            let trail = check_from(&repo, state);
            match newest && state == "stranger" {
                // Nobody but its own host ever knew of it.
                true => assert_eq!(trail.problems, []),
                false => is_located(&trail, name, time, "removed"),
            }
            fs::write(&at, bytes).unwrap();
        }
    }
    // Each with each: what stands in the place of another is named.
    for (a, of_a) in &all {
        for (b, of_b) in all.iter().filter(|(b, _)| *b > a) {
            fs::write(repo.store().join(a), of_b).unwrap();
            fs::write(repo.store().join(b), of_a).unwrap();
            let trail = check_from(&repo, "state-a");
            is_located(&trail, a, times[a], "swapped");
            is_located(&trail, b, times[b], "swapped");
            fs::write(repo.store().join(a), of_a).unwrap();
            fs::write(repo.store().join(b), of_b).unwrap();
        }
    }
    // All of a run.
    let run = last_of_b.rsplit_once('-').unwrap().0;
    for name in all.keys().filter(|name| name.starts_with(run)) {
        fs::remove_file(repo.store().join(name)).unwrap();
    }
    is_located(&check_from(&repo, "state-b"), &last_of_b, times[&last_of_b], "removed with its run");
    fs::write(repo.store().join("audit/stranger"), b"x").unwrap();
    assert!(check_from(&repo, "x").problems.iter().any(|p| p.object == "audit/stranger" && p.number.is_none()));
}

/// Seals another text in the place of an entry, as somebody who has a key could.
fn forge(repo: &TestRepo, name: &str, text: &str) {
    let id = Id([9; 16]);
    let mut bytes = header::write(ObjectKind::Audit, id, repo.at.repo().keys().sealing(), Generation::FIRST).to_vec();
    bytes.extend_from_slice(text.as_bytes());
    let key = repo.at.repo().keys().object(Generation::FIRST, ObjectKind::Audit, id, name).unwrap();
    key.seal(0, &mut bytes, header::LEN);
    fs::write(repo.store().join(name), bytes).unwrap();
}

#[test]
fn an_entry_that_was_rewritten_with_the_key_is_found() {
    let repo = TestRepo::create();
    trail(&repo);
    let all = objects(&repo);
    let whole = check_from(&repo, "state-a");
    for stored in &whole.entries {
        let name = stored.place.name();
        forge(&repo, &name, &stored.text.replace("\"anna\"", "\"boris\""));
        let trail = check_from(&repo, "state-a");
        is_located(&trail, &name, stored.entry.time(), "rewritten");
        assert!(trail.problems.iter().all(|p| p.object == name), "it alone is named: {:?}", trail.problems);
        forge(&repo, &name, &stored.text.replace("\"number\":", "\"number\":1"));
        is_located(&check_from(&repo, "state-a"), &name, stored.entry.time(), "renumbered");
        fs::write(repo.store().join(&name), &all[&name]).unwrap();
    }
    assert_eq!(check_from(&repo, "state-a").problems, []);
    // Numbers and times that no program writes.
    let last = whole.entries.last().unwrap();
    let run = &whole.entries[0].entry.run;
    for number in [99, u64::MAX] {
        let mut entry = last.entry.clone();
        entry.parents[0] = entry::Link {
            run: run.clone(),
            number,
            hash: "x".into(),
            time_ns: if number == 99 { i64::MIN } else { i64::MAX },
        };
        forge(&repo, &last.place.name(), &serde_json::to_string(&entry).unwrap());
        assert!(check_from(&repo, "stranger").problems.iter().any(|p| p.number == Some(number)));
    }
}

/// A store whose entries of the trail can't be written, or not brought on.
struct Failing {
    behind: LocalStore,
    puts: AtomicBool,
    settles: AtomicBool,
}

impl Failing {
    fn error(&self, name: &str) -> StoreError {
        let (store, name) = (self.location(), name.to_owned());
        StoreError::Io { store, doing: "write", name, source: io::Error::other("away") }
    }
}

impl Store for Failing {
    fn location(&self) -> String {
        self.behind.location()
    }
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match self.puts.load(Ordering::SeqCst) {
            true => Err(self.error(name)),
            false => self.behind.put(name, bytes),
        }
    }
    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        self.behind.get(name, max)
    }
    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        self.behind.get_range(name, offset, len)
    }
    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.behind.list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.behind.delete(name)
    }
    fn size(&self, name: &str) -> Result<u64, StoreError> {
        self.behind.size(name)
    }
    fn settle(&self) -> Result<(), StoreError> {
        match self.settles.load(Ordering::SeqCst) {
            true => Err(self.error("queue")),
            false => Ok(()),
        }
    }
    fn waiting(&self) -> Result<Option<Waiting>, StoreError> {
        Ok(None)
    }
}

#[test]
fn an_entry_that_could_not_be_stored_is_told_and_stored_with_the_next() {
    let repo = TestRepo::create();
    let behind = LocalStore::open(&repo.store());
    let store = Arc::new(Failing { behind, puts: AtomicBool::new(false), settles: AtomicBool::new(false) });
    let opened = Arc::new(Repository::open(store.clone(), &secret()).unwrap());
    let clock = Arc::new(ManualClock::new(Instant(5)));
    let audit = Audit::open(opened, &repo.dir.path().join("state-a"), who("a"), clock);
    audit.record(event(0)).unwrap();
    store.puts.store(true, Ordering::SeqCst);
    let told = audit.record(event(1)).unwrap_err().to_string();
    assert!(told.contains("cannot store the entry audit/") && told.contains("away"), "{told}");
    assert!(audit.record(event(2)).is_err());
    store.puts.store(false, Ordering::SeqCst);
    audit.record(event(3)).unwrap();
    let trail = check_from(&repo, "state-a");
    assert_eq!(trail.problems, []);
    assert_eq!(trail.entries.iter().map(|s| s.entry.count("n")).collect::<Vec<_>>(), [0, 1, 2, 3]);
    // What is to be deleted waits for the store itself.
    store.settles.store(true, Ordering::SeqCst);
    assert!(audit.record(event(4)).is_ok());
    assert!(matches!(audit.record_durably(event(5)), Err(AuditError::Waiting(_))));
}

#[test]
fn captures_are_summed_up_and_failures_are_told_once() {
    let repo = TestRepo::create();
    let clock = Arc::new(ManualClock::new(Instant(1_000)));
    let audit = Audit::open(repo.at.repo().clone(), &repo.dir.path().join("state-a"), who("a"), clock.clone());
    let source = Source { id: Id([1; 16]), num: SourceNum(1), host: "a".into(), root: b"/srv/\xff".to_vec() };
    let snapshot = |n: u64| Snapshot {
        source: SourceNum(1),
        number: Snap(n),
        time: Instant(n as i64),
        tier: Tier::Incremental,
        hash: Hash([n as u8; 32]),
        counts: Counts::default(),
    };
    let captures = Captures::new(&audit);
    for n in 1..=500 {
        captures.captured(&source, Some(&snapshot(n))).unwrap();
        captures.tick().unwrap();
        captures.failed(&source, "the disk is full").unwrap();
    }
    clock.advance(EVERY_NS);
    captures.captured(&source, None).unwrap();
    clock.advance(7);
    captures.finish().unwrap();
    captures.finish().unwrap();
    let trail = check_from(&repo, "state-a");
    let of = |kind: Kind| trail.entries.iter().filter(|s| s.entry.kind == kind.word()).collect::<Vec<_>>();
    let (captured, failures) = (of(Kind::Captures), of(Kind::Failure));
    assert_eq!((captured.len(), failures.len(), trail.entries.len()), (2, 500, 502));
    let told = &captured[0].entry.details["sources"][0];
    assert_eq!(
        (&told["count"], &told["first"]["number"], &told["last"]["number"]),
        (&500.into(), &1.into(), &500.into())
    );
    assert_eq!(told["last"]["hash"], Hash([500_u64 as u8; 32]).to_string());
    assert_eq!(told["source"]["bytes_base64"], "L3Nydi//");
    assert_eq!((told["watched_from_ns"].as_i64(), told["watched_to_ns"].as_i64()), (Some(1000), Some(1000 + EVERY_NS)));
    let told = &captured[1].entry.details["sources"][0];
    assert_eq!((&told["count"], told["watched_from_ns"].as_i64()), (&0.into(), Some(1000 + EVERY_NS)));
    // A failure that goes on is told once an hour.
    for _ in 0..10 {
        captures.failed(&source, "again").unwrap();
        clock.advance(EVERY_NS / 10);
    }
    assert_eq!(check_from(&repo, "state-a").entries.len(), 503);
}

#[test]
fn a_policy_is_recorded_when_it_changes() {
    let repo = TestRepo::create();
    let dir = repo.dir.path().join("state-a");
    let clock = Arc::new(ManualClock::new(Instant(1)));
    let audit = Audit::open(repo.at.repo().clone(), &dir, who("a"), clock);
    let noted: Vec<bool> =
        ["a", "a", "b", "b", "a"].iter().map(|text| policy::note(&audit, &dir, text).unwrap()).collect();
    assert_eq!(noted, [true, false, true, false, true]);
    let texts: Vec<String> =
        check_from(&repo, "state-a").entries.iter().map(|s| s.entry.details["text"].to_string()).collect();
    assert_eq!(texts, ["\"a\"", "\"b\"", "\"a\""]);
}

/// The program with settings in a directory of its own.
struct Case(tempfile::TempDir);

impl Case {
    fn new() -> Case {
        let case = Case(tempfile::tempdir().unwrap());
        let dir = case.dir();
        fs::create_dir(dir.join("src")).unwrap();
        fs::write(dir.join("src/file"), "first").unwrap();
        let text = format!(
            "repository = {:?}\nstate = {:?}\nhost = \"web1\"\n[key]\nfile = {:?}\n[[source]]\npath = {:?}\n",
            dir.join("repo"),
            dir.join("state"),
            dir.join("key"),
            dir.join("src")
        );
        fs::write(dir.join("bygone.toml"), text).unwrap();
        case.ok(&["init"]);
        case
    }

    fn dir(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.dir().join("bygone.toml")).args(args);
        command.env_clear().env("HOME", self.dir()).env("TZ", "UTC").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let out = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    fn ok(&self, args: &[&str]) -> String {
        let (status, out, told) = self.run(args);
        assert_eq!((status, told.as_str()), (0, ""), "{args:?}: {out}");
        out
    }

    fn kinds(&self) -> Vec<String> {
        let line = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["entry"]["kind"].as_str().unwrap().to_owned()
        };
        self.ok(&["--json", "audit", "show"]).lines().map(line).collect()
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    entries_at(&dir.join("repo"))
}

fn entries_at(repo: &Path) -> Vec<PathBuf> {
    let hosts = fs::read_dir(repo.join("audit")).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<PathBuf> = hosts.flat_map(|host| fs::read_dir(host).unwrap().map(|e| e.unwrap().path())).collect();
    all.sort();
    all
}

#[test]
fn commands_leave_their_entries_and_what_is_altered_is_told() {
    let case = Case::new();
    let dir = case.dir();
    let to = dir.join("to");
    case.ok(&["-q", "snapshot"]);
    case.ok(&["-q", "verify"]);
    case.ok(&["-q", "restore", dir.join("src/file").to_str().unwrap(), "--at", "latest", "--to", to.to_str().unwrap()]);
    let entry: serde_json::Value =
        serde_json::from_str(&case.ok(&["--json", "audit", "show", "--kind", "restore"])).unwrap();
    assert_eq!(entry["entry"]["details"]["in_place"], false, "{entry}");
    fs::write(dir.join("phrase"), "correct horse\n").unwrap();
    case.ok(&["-q", "key", "add", "--passphrase-file", dir.join("phrase").to_str().unwrap()]);
    assert_eq!(case.kinds(), ["policy", "snapshot", "verify", "restore", "key-add"]);
    let shown = case.ok(&["audit", "show", "--kind", "restore"]);
    assert!(shown.lines().count() == 1 && shown.contains("src/file") && shown.contains(" on web1"), "{shown}");
    assert_eq!(case.ok(&["audit", "show", "--until", "2020"]), "");
    assert!(case.ok(&["audit", "verify"]).starts_with("checked 5 entries of 4 runs of programs: nothing is altered"));
    let (status, _, told) = case.run(&["audit", "show", "--kind", "fun"]);
    assert!(status == 2 && told.contains("hold-place"), "{told}");

    // What is handed over can be checked with nothing but it.
    case.ok(&["-q", "audit", "export", "--to", dir.to_str().unwrap()]);
    let text = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    let hashes = fs::read_to_string(dir.join("audit.jsonl.b3")).unwrap();
    let mut before = BTreeMap::new();
    for (line, hash) in text.lines().zip(hashes.lines()) {
        let own = blake3::hash(line.as_bytes()).to_hex().to_string();
        assert!(hash.starts_with(&format!("{own}  audit/")));
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let previous = before.insert(entry["run"].to_string(), own).unwrap_or_else(|| "0".repeat(64));
        assert_eq!(entry["previous"], previous);
    }
    assert_eq!(text.lines().count(), 5);
    let sums =
        Command::new("sha256sum").args(["-c", "--strict", "audit.jsonl.sha256"]).current_dir(&dir).output().unwrap();
    assert!(sums.status.success(), "{}", String::from_utf8_lossy(&sums.stderr));

    let all = entries(&dir);
    let victim = &all[2];
    let bytes = fs::read(victim).unwrap();
    fs::remove_file(victim).unwrap();
    let (status, out, _) = case.run(&["audit", "verify"]);
    let name = victim.file_name().unwrap().to_str().unwrap();
    assert!(status == 3 && out.contains(name) && out.contains("entry 0: it is missing"), "{out}");
    assert!(out.contains("; it was written "), "{out}");
    // It counts at once, until a check finds nothing.
    let finding = "failing: audit trail: a check of it, ";
    let (status, health, _) = case.run(&["health"]);
    assert!(status == 1 && health.contains(finding) && health.contains("found 1 problem(s), the first: "), "{health}");
    assert!(health.contains(name), "{health}");
    let (status, _, told) = case.run(&["-q", "snapshot"]);
    assert!(status == 0 && told.is_empty() || told.contains("is missing"), "{told}");
    fs::write(victim, &bytes[..40]).unwrap();
    let (status, out, _) = case.run(&["--json", "audit", "verify"]);
    assert!(status == 3 && out.contains(name) && out.contains("altered"), "{out}");
    fs::write(victim, &bytes).unwrap();
    case.ok(&["audit", "verify"]);
    let is_told = || case.run(&["health"]).1.contains(finding);
    assert!(!is_told());
    fs::remove_file(victim).unwrap();
    assert_eq!((case.run(&["audit", "verify"]).0, is_told()), (3, true));
    fs::write(victim, &bytes).unwrap();
    case.ok(&["-q", "verify"]);
    assert!(!is_told(), "the same check by another command");
    fs::remove_file(victim).unwrap();
    assert_eq!((case.run(&["audit", "verify"]).0, is_told()), (3, true));
    case.run(&["audit", "verify", "--accept"]);
    assert!(!is_told());
}

/// A repository that is mounted read-only can't keep an entry: that is told, and what was asked for is done all the same.
#[test]
fn a_read_only_repository_keeps_no_entry_and_gives_everything() {
    let case = Case::new();
    let dir = case.dir();
    let Some(disk) = loopfs::LoopFs::make("ext4", 24) else { return };
    let (repo, on_disk) = (dir.join("repo"), disk.path().join("repo"));
    loopfs::run(Command::new("cp").arg("-a").args([&repo, &on_disk])).unwrap();
    let settings = fs::read_to_string(dir.join("bygone.toml")).unwrap();
    let there = settings.replace(&format!("{repo:?}"), &format!("{on_disk:?}"));
    fs::write(dir.join("bygone.toml"), there).unwrap();
    case.ok(&["-q", "snapshot"]);
    let remount = |how: &str| loopfs::run(Command::new("mount").args(["-o", how]).arg(disk.path())).unwrap();
    remount("remount,ro");
    let (file, to) = (dir.join("src/file"), dir.join("to"));
    let restore = ["restore", file.to_str().unwrap(), "--at", "latest", "--to", to.to_str().unwrap()];
    for args in [&["verify", "--read-data"][..], &restore] {
        let (status, out, told) = case.run(args);
        assert!(status == 0 && told.contains("since the repository is read-only"), "{args:?}: {status}: {out}{told}");
        assert!(told.contains("cannot store the entry audit/"), "{told}");
    }
    assert_eq!(fs::read_to_string(to.join("file")).unwrap(), "first");
    remount("remount,rw");
    // Another reason is as it was.
    let of_host = entries_at(&on_disk)[0].parent().unwrap().to_owned();
    loopfs::run(Command::new("chattr").arg("+i").arg(&of_host)).unwrap();
    let (status, out, told) = case.run(&["verify"]);
    loopfs::run(Command::new("chattr").arg("-i").arg(&of_host)).unwrap();
    assert!(status == 3 && told.contains("what was done is not in the audit trail: "), "{status}: {out}{told}");
}

#[test]
fn many_processes_write_at_once_and_one_that_is_killed_leaves_a_whole_trail() {
    let case = Case::new();
    case.ok(&["-q", "snapshot"]);
    let before = case.kinds().len();
    let running: Vec<_> =
        (0..8).map(|_| case.command(&["-q", "verify"]).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for child in running {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    assert_eq!(case.kinds().len(), before + 8);
    case.ok(&["audit", "verify"]);
    // Killed at some moment between nothing and its end, again and again.
    for wait_ms in [1, 5, 10, 20, 30, 40, 60, 80] {
        let mut child = case.command(&["-q", "snapshot"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        case.ok(&["audit", "verify"]);
    }
    // What was stored before its host could note it is learnt.
    let id = fs::read_dir(case.dir().join("state"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.join("audit.known").exists());
    fs::remove_file(id.unwrap().join("audit.known")).unwrap();
    case.ok(&["-q", "snapshot"]);
    case.ok(&["audit", "verify"]);
    let trail: Vec<String> = case.kinds();
    assert_eq!(trail.last().unwrap(), "snapshot");
}
