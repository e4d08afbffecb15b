//! Repair without a copy: what is whole stays, what the disk has is stored anew, what is lost is named and nothing else is, and a file
//! that comes back makes old versions whole.

#![allow(clippy::disallowed_methods, reason = "a test plays the part of the user, and damages a repository")]

#[path = "common/describe.rs"]
mod describe;
#[path = "common/lab.rs"]
mod lab;
#[path = "common/program.rs"]
mod program;
#[path = "common/s3.rs"]
mod s3;

use program::{Program, Reported};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Bytes that don't compress.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A repository of three snapshots, each of which brought six files in a pack of its own, of several frames.
struct World {
    _dir: tempfile::TempDir,
    program: Program,
    reported: Reported,
    /// The pack of each snapshot, and its segment.
    packs: Vec<PathBuf>,
    segments: Vec<PathBuf>,
}

/// What one run said: its exit status, its lines of JSON, and what went to the standard error.
struct Said {
    status: i32,
    lines: Vec<Value>,
    told: String,
}

impl Said {
    fn of(&self, kind: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["kind"] == kind).collect()
    }

    fn done(&self) -> &Value {
        self.of("done").pop().unwrap_or_else(|| panic!("{}: {:?} {}", self.status, self.lines, self.told))
    }

    /// The paths and first snapshots of what is lost.
    fn lost(&self) -> BTreeSet<(String, u64)> {
        let each = |line: &&Value| (line["path"].as_str().unwrap().to_owned(), line["from"].as_u64().unwrap());
        self.of("lost").iter().map(each).collect()
    }
}

impl World {
    fn make() -> World {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::in_dir(&dir.path().canonicalize().unwrap());
        program.init();
        let mut world =
            World { _dir: dir, program, reported: Reported::new(), packs: Vec::new(), segments: Vec::new() };
        for round in 0..3u64 {
            for n in 0..6u64 {
                fs::write(world.file(round, n), World::content(round, n)).unwrap();
            }
            let (packs, segments) = (world.objects("packs"), world.objects("journal"));
            world.program.snapshot(&mut world.reported);
            let new =
                |before: &[PathBuf], after: Vec<PathBuf>| after.into_iter().find(|p| !before.contains(p)).unwrap();
            world.packs.push(new(&packs, world.objects("packs")));
            world.segments.push(new(&segments, world.objects("journal")));
        }
        world
    }

    fn file(&self, round: u64, n: u64) -> PathBuf {
        self.program.root.join(format!("file-{round}-{n}"))
    }

    fn content(round: u64, n: u64) -> Vec<u8> {
        noise(300_000 + 1000 * n as usize, round * 10 + n)
    }

    /// The objects below a prefix.
    fn objects(&self, prefix: &str) -> Vec<PathBuf> {
        let (mut dirs, mut found) = (vec![self.program.repo.join(prefix)], Vec::new());
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { dirs.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }

    fn say(&self, args: &[&str]) -> Said {
        let out = self.program.run(&[&["--json"], args].concat());
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        Said {
            status: out.status.code().unwrap(),
            lines: text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            told: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// A check of everything: exit status, problems, and those of them that are known.
    fn verify(&self) -> (i32, u64, u64) {
        let said = self.say(&["verify", "--read-data"]);
        let last = said.lines.last().unwrap();
        (said.status, last["problems"].as_u64().unwrap(), last["known_problems"].as_u64().unwrap())
    }

    fn remove_round(&mut self, round: u64) {
        (0..6).for_each(|n| fs::remove_file(self.file(round, n)).unwrap());
        self.program.snapshot(&mut self.reported);
    }

    /// Prints a file as snapshot `number` had it; `None` where that fails, and then it names a pack.
    fn cat(&self, file: &Path, number: u64) -> Option<Vec<u8>> {
        let list = self.say(&["list"]);
        let at = list.lines.iter().find(|line| line["number"] == number).unwrap_or_else(|| panic!("{:?}", list.lines));
        let out = self.program.run(&["cat", "--at", at["time"].as_str().unwrap(), file.to_str().unwrap()]);
        if !out.status.success() {
            let told = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(told.contains("packs/"), "{told}");
            return None;
        }
        Some(out.stdout)
    }

    /// The files of a round that do not read as the snapshot that brought them has them; any other bytes are a failure.
    fn unreadable(&self, round: u64) -> BTreeSet<(String, u64)> {
        let mut lost = BTreeSet::new();
        for n in 0..6 {
            let file = self.file(round, n);
            match self.cat(&file, round + 1) {
                Some(bytes) => assert!(bytes == World::content(round, n), "wrong bytes were read"),
                None => drop(lost.insert((file.to_str().unwrap().to_owned(), round + 1))),
            }
        }
        lost
    }
}

fn flip(path: &Path, thousandth: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = (bytes.len() - 1) * thousandth / 1000;
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

fn flip_from_end(path: &Path, back: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() - back;
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_the_disk_still_has_is_stored_anew() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("a frame", |path| flip(path, 300)),
        ("the header", |path| flip(path, 0)),
        ("the table", |path| flip_from_end(path, 40)),
        ("cut", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("empty", |path| fs::write(path, b"").unwrap()),
        ("missing", |path| fs::remove_file(path).unwrap()),
    ];
    for (what, harm) in harms {
        let mut world = World::make();
        harm(&world.packs[0]);
        let before = world.objects("");
        let would = world.say(&["repair", "--dry-run"]);
        assert_eq!((would.status, would.done()["dry_run"].as_bool()), (0, Some(true)), "{what}: {:?}", would.lines);
        assert_eq!(world.objects(""), before, "{what}: a trial changes nothing");
        let said = world.say(&["repair"]);
        assert_eq!((said.status, said.lost().len()), (0, 0), "{what}: {:?} {}", said.lines, said.told);
        for key in ["frames", "chunks_from_packs", "chunks_from_disk"] {
            assert_eq!(said.done()[key], would.done()[key], "{what}: {key}");
        }
        let from_disk = said.done()["chunks_from_disk"].as_u64().unwrap();
        let is_torn = matches!(what, "the header" | "the table");
        assert_eq!(from_disk == 0, is_torn, "{what}: {:?}", said.done());
        assert!(before.iter().all(|path| path.exists()), "{what}: nothing is deleted");
        assert_eq!(world.verify(), (0, 0, 0), "{what}");
        // Also by an index that is made anew.
        world.program.check(&world.reported, what);
        let again = world.say(&["repair"]);
        assert_eq!((again.status, again.done()["frames"].as_u64()), (0, Some(0)), "{what}: {:?}", again.lines);
        assert_eq!(again.done()["statements"], serde_json::json!([]), "{what}");
        world.program.snapshot(&mut world.reported);
        // What is damaged and needed by nothing is cleared away, and the rest stays.
        let out = world.program.run(&["maintain", "--thorough"]);
        assert!(out.status.success(), "{what}: {}", String::from_utf8_lossy(&out.stderr));
        let verified = world.say(&["verify", "--read-data"]);
        let last = verified.lines.last().unwrap();
        assert_eq!((verified.status, &last["set_aside"]), (0, &serde_json::json!([])), "{what}");
        world.program.check(&world.reported, what);
    }
}

#[test]
fn what_is_lost_is_named_and_a_file_that_returns_makes_it_whole() {
    let mut world = World::make();
    world.remove_round(0);
    flip(&world.packs[0], 300);
    let lost = world.unreadable(0);
    assert!(!lost.is_empty() && lost.len() < 6, "some and not all: {lost:?}");
    let said = world.say(&["repair"]);
    assert_eq!((said.status, said.lost()), (3, lost.clone()), "{:?} {}", said.lines, said.told);
    assert!(said.of("lost").iter().all(|line| line["to"] == 4 && line["known"] == false), "{:?}", said.lines);
    assert_eq!(world.unreadable(0), lost, "all else reads");
    assert!(world.packs[0].exists());
    let (status, problems, known) = world.verify();
    assert!(status == 3 && problems > 0 && problems == known, "{problems} {known}");
    // It stands in the audit trail, all of it.
    let trail = world.say(&["audit", "show"]);
    let text = serde_json::to_string(&trail.lines).unwrap();
    assert!(lost.iter().all(|(path, _)| text.contains(path)), "{text}");
    // A second repair finds nothing new.
    let again = world.say(&["repair"]);
    assert_eq!((again.status, again.lost()), (3, lost.clone()));
    assert_eq!((again.done()["frames"].as_u64(), again.done()["new_lost"].as_u64()), (Some(0), Some(0)));
    assert_eq!(again.done()["statements"], serde_json::json!([]));
    // Nor does new damage hide among what is known.
    flip(&world.packs[1], 300);
    let (status, problems, more) = world.verify();
    assert!(status == 3 && problems > more && more == known, "{problems} {more}");
    assert_eq!(world.say(&["repair"]).lost(), lost, "the files of the second pack are on the disk");
    // Maintaining goes on with what is lost.
    let out = world.program.run(&["maintain", "--thorough"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(world.unreadable(0), lost);
    assert_eq!(world.unreadable(1).len(), 0);
    // The same bytes come back under other names.
    for n in 0..6 {
        fs::write(world.program.root.join(format!("back-{n}")), World::content(0, n)).unwrap();
    }
    world.program.snapshot(&mut world.reported);
    assert_eq!(world.unreadable(0).len(), 0, "what was lost is whole again");
    assert_eq!(world.verify(), (0, 0, 0));
    let healed = world.say(&["repair"]);
    assert_eq!((healed.status, healed.lost().len()), (0, 0), "{:?}", healed.lines);
    world.program.check(&world.reported, "healed");
}

/// Without any repair: what a check has found is not built on.
#[test]
fn what_a_check_found_is_stored_again_when_it_is_seen_again() {
    let mut world = World::make();
    flip(&world.packs[0], 300);
    assert!(!world.unreadable(0).is_empty());
    assert_eq!(world.verify().0, 3);
    for n in 0..6 {
        fs::write(world.program.root.join(format!("again-{n}")), World::content(0, n)).unwrap();
    }
    world.program.snapshot(&mut world.reported);
    assert_eq!(world.unreadable(0).len(), 0);
    for n in 0..6 {
        let again = world.program.root.join(format!("again-{n}"));
        assert_eq!(world.cat(&again, 4), Some(World::content(0, n)));
    }
    assert_eq!(world.verify(), (0, 0, 0));
}

#[test]
fn a_history_that_the_index_still_has_is_written_again() {
    let mut world = World::make();
    fs::remove_file(&world.segments[2]).unwrap();
    fs::write(world.program.root.join("more"), b"more").unwrap();
    let refused = world.say(&["snapshot"]);
    assert_ne!(refused.status, 0, "capture stands still");
    let said = world.say(&["repair"]);
    assert_eq!((said.status, said.of("history")[0]["did"].as_str()), (0, Some("rewritten")), "{:?}", said.lines);
    world.program.snapshot(&mut world.reported);
    world.program.check(&world.reported, "the newest record was missing");
    flip(&world.segments[1], 600);
    fs::remove_file(&world.segments[0]).unwrap_or_default();
    let said = world.say(&["repair"]);
    assert_eq!(said.status, 0, "{:?} {}", said.lines, said.told);
    world.program.snapshot(&mut world.reported);
    world.program.check(&world.reported, "older records were damaged");
}

#[test]
fn what_nobody_has_of_a_history_is_given_up_only_when_it_is_decided() {
    let mut world = World::make();
    flip(&world.segments[1], 600);
    // The index is lost too; a full snapshot goes on without what can't be read.
    fs::remove_dir_all(&world.program.state).unwrap();
    fs::write(world.program.root.join("more"), b"more").unwrap();
    world.say(&["snapshot"]);
    let said = world.say(&["repair"]);
    assert_eq!(said.status, 3, "{:?}", said.lines);
    assert_eq!(said.of("history")[0]["did"], "left", "{:?}", said.lines);
    let said = world.say(&["repair", "--yes"]);
    assert_eq!((said.status, said.of("history")[0]["did"].as_str()), (3, Some("given-up")), "{:?}", said.lines);
    assert_eq!(said.lost().len(), 0, "{:?}", said.lines);
    world.reported.retain(|number, _| *number == 1 || *number > 3);
    let again = world.say(&["repair", "--yes"]);
    assert_eq!((again.status, again.of("history").len()), (0, 0), "{:?}", again.lines);
    world.program.snapshot(&mut world.reported);
    assert_eq!(world.verify(), (0, 0, 0));
    world.program.check(&world.reported, "given up");
}

#[test]
fn killed_at_any_moment_it_is_run_again() {
    let traces = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success());
    if !traces {
        eprintln!("not tested: strace is not here, or may not trace");
        return;
    }
    let mut world = World::make();
    world.remove_round(0);
    let aside = tempfile::tempdir().unwrap();
    // A frame of which the disk has nothing, and one that it has.
    flip(&world.packs[0], 300);
    flip(&world.packs[1], 300);
    let lost = world.unreadable(0);
    assert!(!lost.is_empty());
    let places = [world.program.repo.clone(), world.program.state.clone()];
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    places.iter().for_each(|place| copy(place, aside.path()));
    let mut kills = 0;
    for call in ["/rename", "fsync,fdatasync"] {
        let (mut at, mut missed) = (1, 0);
        while missed < 2 {
            for place in &places {
                fs::remove_dir_all(place).unwrap();
                copy(&aside.path().join(place.file_name().unwrap()), place);
            }
            let inject = format!("{call}:signal=SIGKILL:when={at}");
            let out = world.program.with_fault(&inject, &["--json", "repair"]).output().unwrap();
            let killed = out.status.signal() == Some(9) || out.status.code() == Some(137);
            (kills, missed) = if killed { (kills + 1, 0) } else { (kills, missed + 1) };
            let said = world.say(&["repair"]);
            assert_eq!((said.status, said.lost()), (3, lost.clone()), "{inject}: {:?} {}", said.lines, said.told);
            let (status, problems, known) = world.verify();
            assert!(status == 3 && problems > 0 && problems == known, "{inject}: {problems} {known}");
            at += 2;
        }
    }
    assert!(kills > 3, "it was killed {kills} times");
    assert_eq!((world.unreadable(0), world.unreadable(1).len()), (lost, 0));
    // A copy came back: what was stated is no loss any more.
    flip(&world.packs[0], 300);
    assert_eq!(world.verify(), (0, 0, 0));
    world.program.check(&world.reported, "after all of that");
}

#[test]
fn a_key_that_only_reads_is_refused() {
    let world = World::make();
    let key = world.program.home.join("reader");
    let out = world.program.run(&["key", "add", "--role", "reader", "--key-file", key.to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    fs::copy(&key, world.program.home.join("key")).unwrap();
    flip(&world.packs[0], 300);
    let before = world.objects("");
    let said = world.say(&["repair"]);
    assert!(said.status == 1 && said.told.contains("role reader"), "{} {}", said.status, said.told);
    assert_eq!(world.objects(""), before);
}

#[test]
fn a_copy_is_told_of_and_asked_first() {
    let mut world = World::make();
    let copy = world.program.home.with_file_name("copy");
    let settings = world.program.home.join("bygone.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}[[site]]\nname = \"copy\"\nrepository = {copy:?}\n")).unwrap();
    world.remove_round(0);
    let out = world.program.run(&["replicate"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    flip(&world.packs[0], 300);
    let said = world.say(&["repair", "--dry-run"]);
    assert!(said.status == 3 && said.told.contains("repair --from copy"), "{}", said.told);
    let said = world.say(&["repair", "--from", "copy"]);
    assert_eq!((said.status, said.lost().len()), (0, 0), "{:?} {}", said.lines, said.told);
    assert_eq!(said.done()["frames"], 0);
    assert_eq!(world.verify(), (0, 0, 0));
    world.program.check(&world.reported, "put back");
}

#[test]
fn over_the_wire() {
    let server = s3::Server::start();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().canonicalize().unwrap().join(name);
    fs::create_dir(at("src")).unwrap();
    let aws = server.settings();
    let text = format!(
        "repository = \"s3://{}/backups\"\nstate = {:?}\nhost = \"host\"\n[key]\nfile = {:?}\n[remote]\nendpoint = {:?}\nregion = \
         \"us-east-1\"\n[[source]]\npath = {:?}\n",
        s3::BUCKET,
        at("state"),
        at("key"),
        aws["AWS_ENDPOINT_URL"],
        at("src")
    );
    fs::write(at("bygone.toml"), text).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(at("bygone.toml")).args(args).env_clear().env("HOME", dir.path());
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            command.env(name, &aws[name]);
        }
        let out = command.stdin(Stdio::null()).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.code().unwrap(), text)
    };
    let ok = |args: &[&str]| {
        let (status, told) = run(args);
        assert_eq!(status, 0, "{args:?}: {told}");
    };
    ok(&["init"]);
    (0..6).for_each(|n| fs::write(at("src").join(format!("file-{n}")), World::content(0, n)).unwrap());
    ok(&["snapshot"]);
    ok(&["verify", "--read-data"]);
    let mut packs = Vec::new();
    for sub in fs::read_dir(server.file("backups/packs")).unwrap().flatten() {
        packs.extend(fs::read_dir(sub.path()).unwrap().flatten().map(|entry| entry.path()));
    }
    let pack = packs.into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    flip(&pack, 300);
    // One file has gone from the disk, the others are there.
    fs::remove_file(at("src").join("file-0")).unwrap();
    assert_eq!(run(&["verify", "--read-data"]).0, 3);
    let (status, told) = run(&["repair"]);
    let is_lost = told.contains("file-0");
    assert_eq!(status, if is_lost { 3 } else { 0 }, "{told}");
    (1..6).for_each(|n| {
        assert!(!told.contains(&format!("lost: {}", at("src").join(format!("file-{n}")).display())), "{told}")
    });
    fs::write(at("src").join("file-0"), World::content(0, 0)).unwrap();
    ok(&["repair"]);
    ok(&["verify", "--read-data"]);
}
