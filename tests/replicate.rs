//! Copies at other sites: whole at every moment, the same as their origin, and never touched by who deletes there.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/describe.rs"]
mod describe;
#[path = "common/lab.rs"]
mod lab;
#[path = "common/program.rs"]
mod program;
#[path = "common/s3.rs"]
mod s3;

use bygone::progress::Quiet;
use bygone::replicate::run as sites;
use bygone::repo::{attach::Attached, replay};
use bygone::store::{
    api::{Object, Store, StoreError},
    limit::{Limited, Rates},
    local::LocalStore,
};
use bygone::sys::{buffer::Buffer, clock::SystemClock};
use bygone::verify::check::{self, Options};
use program::{Program, Reported};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A program with one source, and a site in a directory beside it.
struct Sited {
    program: Program,
    site: PathBuf,
    reported: Reported,
    _dir: tempfile::TempDir,
}

impl Sited {
    fn new(more: &str) -> Sited {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::in_dir(dir.path());
        program.init();
        let site = dir.path().join("site");
        add(&program, &format!("[[site]]\nname = \"far\"\nrepository = {site:?}\n{more}"));
        Sited { program, site, reported: Reported::new(), _dir: dir }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        write(&self.program, name, bytes);
    }

    fn snapshot(&mut self) {
        self.program.snapshot(&mut self.reported);
    }

    /// The copy as a repository of its own.
    fn copy(&self) -> Program {
        Program { repo: self.site.clone(), state: self.program.state.join("sites/far"), ..self.program.clone() }
    }

    fn replicate(&self) -> Value {
        done(&self.program, &["replicate"], 0)
    }
}

fn add(program: &Program, text: &str) {
    let path = program.home.join("bygone.toml");
    let old = fs::read_to_string(&path).unwrap();
    fs::write(path, old + text).unwrap();
}

fn write(program: &Program, name: &str, bytes: impl AsRef<[u8]>) {
    let path = program.root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn run(program: &Program, args: &[&str], status: i32) -> String {
    let out = program.run(args);
    let told = format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(status), "{args:?}: {told}");
    told
}

/// The last line of JSON that a command prints.
fn done(program: &Program, args: &[&str], status: i32) -> Value {
    let out = program.run(&[&["--json"], args].concat());
    let told = format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(status), "{args:?}: {told}");
    let text = String::from_utf8(out.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap_or_else(|| panic!("{args:?}: {told}"))).unwrap()
}

/// Bytes that nothing makes less of.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

fn objects(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let store = LocalStore::open(dir);
    let names = store.list("").unwrap().into_iter().map(|object| object.name);
    names.map(|name| (name.clone(), fs::read(dir.join(&name)).unwrap())).collect()
}

/// A new machine that has the copy and the key: what is wrong with it, and how many snapshots it shows.
fn seen_anew(program: &Program, copy: &Path) -> (Vec<String>, u64) {
    let repo = Arc::new(program.open().in_store(Arc::new(LocalStore::open(copy))));
    let state = tempfile::tempdir().unwrap();
    let at = Arc::new(Attached::open(repo, state.path(), Arc::new(SystemClock)).unwrap());
    let replayed = replay::catch_up(&at, &Quiet).unwrap();
    let mut problems: Vec<String> = replayed.problems.iter().map(ToString::to_string).collect();
    let options = Options { read_data: true, ..Options::default() };
    let report = check::verify(&at, &options, &Quiet, &AtomicBool::new(false)).unwrap();
    problems.extend(report.problems.iter().map(ToString::to_string));
    (problems, report.snapshots)
}

#[test]
fn a_copy_is_the_repository_byte_for_byte_and_is_used_as_one() {
    let mut at = Sited::new("");
    at.write("a", noise(1, 300_000));
    at.write("dir/b", "b");
    at.snapshot();
    at.write("a", noise(2, 300_000));
    at.snapshot();
    let plan = done(&at.program, &["replicate", "--dry-run"], 0);
    assert_eq!((plan["new"].as_bool(), plan["same"].as_u64()), (Some(true), Some(0)), "{plan}");
    assert!(!at.site.exists(), "a dry run writes nothing");
    let first = at.replicate();
    assert!(first["copied"].as_u64().unwrap() > 5 && first["whole"] == true, "{first}");
    let copied = objects(&at.site);
    let origin = objects(&at.program.repo);
    assert!(copied.iter().all(|(name, bytes)| origin.get(name) == Some(bytes)));
    // What the first run wrote into the trail goes with the next, and then there is nothing.
    assert_eq!(at.replicate()["copied"], 1);
    assert_eq!(at.replicate()["copied"], 0);
    assert_eq!(objects(&at.site), objects(&at.program.repo));
    at.copy().check(&at.reported, "the copy");

    let repo = at.site.to_str().unwrap();
    let list = |args: &[&str]| run(&at.program, &[args, &["list"]].concat(), 0);
    assert_eq!(list(&["--repo", repo]), list(&[]));
    let to = at.site.with_file_name("restored");
    let root = at.program.root.to_str().unwrap();
    run(&at.program, &["--repo", repo, "restore", root, "--at", "latest", "--to", to.to_str().unwrap()], 0);
    assert!(at.program.state.join("sites/far").is_dir(), "a copy has a state of its own");
    run(&at.program, &["--repo", repo, "verify", "--read-data"], 0);
    // That the copy was used stands in its trail, and does not keep it from being brought up to date.
    at.write("c", "c");
    at.snapshot();
    assert_eq!(at.replicate()["whole"], true);
    at.copy().check(&at.reported, "the copy after it was used");
    run(&at.program, &["verify"], 0);
}

#[test]
fn a_run_that_is_killed_anywhere_leaves_a_whole_copy_and_is_gone_on_with() {
    let mut at = Sited::new("");
    for n in 0..12 {
        at.write(&format!("f{n}"), noise(n, 20_000));
        at.snapshot();
    }
    // Some objects later each time, into what the runs before have left, until one comes to its end.
    let (mut killed, mut shown) = (0, 0);
    for when in [1, 2, 3].into_iter().cycle() {
        let status =
            at.program.with_fault(&format!("renameat2:signal=KILL:when={when}"), &["replicate"]).status().unwrap();
        if at.site.join("bygone.toml").exists() {
            let (problems, snapshots) = seen_anew(&at.program, &at.site);
            assert_eq!(problems, Vec::<String>::new(), "killed at rename {when}");
            assert!(snapshots >= shown, "nothing that was there goes");
            shown = snapshots;
        }
        if status.success() {
            break;
        }
        killed += 1;
        assert!(killed < 100, "it comes to its end");
    }
    assert!(killed >= 4, "killed {killed} times");
    at.replicate();
    at.copy().check(&at.reported, "the copy");
    assert_eq!(objects(&at.site), objects(&at.program.repo));
}

#[test]
fn a_damaged_object_is_named_and_the_rest_is_copied() {
    let mut at = Sited::new("");
    at.write("a", noise(1, 50_000));
    at.snapshot();
    at.write("b", noise(2, 50_000));
    at.snapshot();
    let pack = objects(&at.program.repo).into_keys().find(|name| name.starts_with("packs/")).unwrap();
    let path = at.program.repo.join(&pack);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[100] ^= 1;
    fs::write(&path, &bad).unwrap();
    let told = done(&at.program, &["replicate"], 3);
    assert_eq!(told["problems"][0]["object"], pack.as_str(), "{told}");
    let why = told["problems"][0]["why"].as_str().unwrap();
    assert!(why.contains("at the origin") && why.contains("frame 0") && why.contains("authentication"), "{why}");
    assert!(!at.site.join(&pack).exists());
    let there = objects(&at.site);
    assert!(there.keys().filter(|name| name.starts_with("journal/")).count() == 2, "{:?}", there.keys());
    let text = run(&at.program, &["replicate"], 3);
    assert!(text.contains(&format!("far: {pack}: at the origin")), "{text}");
    let status = run(&at.program, &["sites"], 0);
    assert!(status.contains("1 object(s) could not be copied"), "{status}");
    fs::write(&path, &good).unwrap();
    assert_eq!(at.replicate()["whole"], true);
    at.copy().check(&at.reported, "the copy");
    // Damage at the site that changes a length is mended by the next run.
    fs::write(at.site.join(&pack), &good[..200]).unwrap();
    assert_eq!(at.replicate()["mended"], 1);
    assert_eq!(fs::read(at.site.join(&pack)).unwrap(), good);
}

#[test]
fn what_somebody_deletes_at_the_origin_stays_at_the_site_and_comes_back() {
    let mut at = Sited::new("");
    for n in 0..4 {
        at.write(&format!("f{n}"), noise(n, 60_000));
        at.snapshot();
    }
    run(&at.program, &["hold", "place", "case-1", "--owner", "legal", "--reason", "x"], 0);
    at.replicate();
    at.replicate();
    let whole = objects(&at.program.repo);
    let some = |prefix: &str, n: usize| whole.keys().filter(|name| name.starts_with(prefix)).nth(n).unwrap().clone();
    let gone = [some("packs/", 1), some("journal/", 1), some("holds/", 0), some("keys/", 0)];
    for name in &gone[..3] {
        fs::remove_file(at.program.repo.join(name)).unwrap();
    }
    let told = done(&at.program, &["replicate"], 3);
    let kept: Vec<&str> = told["kept"].as_array().unwrap().iter().filter_map(|kept| kept["object"].as_str()).collect();
    assert!(gone[..3].iter().all(|name| kept.contains(&name.as_str())), "{told}");
    assert!(gone[..3].iter().all(|name| at.site.join(name).exists()));
    let text = run(&at.program, &["replicate"], 3);
    assert!(text.contains("verify --against SITE --repair"), "{text}");

    // It is told where it is whole, and put back only where that is wanted.
    let told = run(&at.program, &["verify", "--against", "far"], 3);
    assert!(gone[..3].iter().all(|name| told.contains(&format!("{name}: it is missing; whole at far"))), "{told}");
    assert!(!at.program.repo.join(&gone[0]).exists());
    let told = run(&at.program, &["verify", "--against", "far", "--repair"], 0);
    assert!(gone[..3].iter().all(|name| told.contains(&format!("{name}: it is missing; put back from far"))), "{told}");
    assert!(whole.iter().all(|(name, bytes)| fs::read(at.program.repo.join(name)).unwrap() == *bytes));
    let trail = run(&at.program, &["audit", "show"], 0);
    assert!(trail.contains("repair"), "{trail}");
    at.replicate();
    at.program.check(&at.reported, "the repository");
}

#[test]
fn every_sort_of_object_is_repaired_from_a_copy() {
    let mut at = Sited::new("");
    for n in 0..3 {
        at.write(&format!("f{n}"), noise(n, 60_000));
        at.snapshot();
    }
    run(&at.program, &["hold", "place", "case-1", "--owner", "legal", "--reason", "x"], 0);
    at.replicate();
    at.replicate();
    let whole = objects(&at.program.repo);
    let sorts = ["packs/", "journal/", "holds/", "gc/", "audit/", "keys/", "bygone.toml"];
    for sort in sorts {
        for how in ["flipped", "in the id", "cut", "missing"] {
            let name = whole.keys().find(|name| name.starts_with(sort)).unwrap();
            let path = at.program.repo.join(name);
            let mut bytes = whole[name].clone();
            match how {
                "missing" => fs::remove_file(&path).unwrap(),
                "cut" => fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
                _ => {
                    let id = bytes.windows(4).position(|at| at == b"id =").map(|at| at + 8);
                    let place = id.filter(|_| how == "in the id").unwrap_or(bytes.len() / 2);
                    bytes[place] ^= 1;
                    fs::write(&path, &bytes).unwrap();
                }
            }
            let told = run(&at.program, &["verify", "--read-data", "--against", "far", "--repair"], 0);
            assert!(told.contains(name.as_str()), "{name} {how}: {told}");
            assert_eq!(fs::read(&path).unwrap(), whole[name], "{name} {how}: {told}");
        }
    }
    at.program.check(&at.reported, "the repository");
}

#[test]
fn what_collection_deletes_goes_at_the_site_too_also_where_statements_were_missed() {
    let mut at = Sited::new("");
    add(&at.program, "[retention]\nevery = \"1s\"\n");
    for round in 0..3 {
        for n in 0..4 {
            at.write("f", noise(round * 10 + n, 80_000));
            at.snapshot();
        }
        if round != 1 {
            at.replicate();
        }
        std::thread::sleep(std::time::Duration::from_millis(1200));
        run(&at.program, &["maintain", "--thorough"], 0);
        if round == 0 {
            let told = at.replicate();
            assert!(told["deleted"].as_u64().unwrap() > 0 && told["whole"] == true, "{told}");
            at.replicate();
            assert_eq!(objects(&at.site), objects(&at.program.repo));
        }
    }
    let told = at.replicate();
    assert!(told["deleted"].as_u64().unwrap() > 0 && told["kept"].as_array().unwrap().is_empty(), "{told}");
    at.replicate();
    assert_eq!(objects(&at.site), objects(&at.program.repo));
    let (problems, _) = seen_anew(&at.program, &at.site);
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn a_copy_that_was_written_to_and_another_repository_are_refused() {
    let mut at = Sited::new("");
    at.write("a", "a");
    at.snapshot();
    at.replicate();
    let before = objects(&at.site);
    let repo = at.site.to_str().unwrap().to_owned();
    at.write("b", "b");
    run(&at.program, &["--repo", &repo, "snapshot"], 0);
    at.write("c", "c");
    at.snapshot();
    let told = run(&at.program, &["replicate"], 1);
    assert!(told.contains("it was promoted or written to") && told.contains("Nothing was copied"), "{told}");
    let after = objects(&at.site);
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)));
    let health = run(&at.program, &["sites"], 0);
    assert!(health.contains("promoted or written to"), "{health}");

    // Another repository in the place, and a place that is no repository's.
    fs::remove_dir_all(&at.site).unwrap();
    let told = run(&at.program, &["replicate"], 1);
    assert!(told.contains("is not there: bring back its disk") && !at.site.exists(), "{told}");
    let other = tempfile::tempdir().unwrap();
    let other = Program { repo: at.site.clone(), ..Program::in_dir(other.path()) };
    other.init();
    let theirs = objects(&at.site);
    let told = run(&at.program, &["replicate", "far", "--anew"], 1);
    assert!(told.contains("and no copy of this repository"), "{told}");
    assert_eq!(objects(&at.site), theirs);
    fs::remove_dir_all(&at.site).unwrap();
    run(&at.program, &["replicate", "far", "--anew"], 0);
    // What the index of the copy had seen of it before is another history.
    fs::remove_dir_all(at.program.state.join("sites")).unwrap();
    at.copy().check(&at.reported, "the copy, made again");
}

#[test]
fn a_site_may_have_some_sources_and_is_whole_as_what_it_is() {
    let at = Sited::new("");
    let other = at.program.root.with_file_name("other");
    fs::create_dir(&other).unwrap();
    let text = fs::read_to_string(at.program.home.join("bygone.toml")).unwrap();
    let text = text.replace("[[site]]", &format!("[[source]]\npath = {other:?}\n[[site]]"));
    fs::write(at.program.home.join("bygone.toml"), format!("{text}sources = [{:?}]\n", at.program.root)).unwrap();
    // Some of what it needs another source has brought.
    let (own, theirs, shared) = (noise(1, 300_000), noise(2, 300_000), noise(3, 300_000));
    fs::write(other.join("theirs"), &theirs).unwrap();
    fs::write(other.join("shared"), &shared).unwrap();
    run(&at.program, &["snapshot", other.to_str().unwrap()], 0);
    at.write("own", &own);
    at.write("shared", &shared);
    run(&at.program, &["snapshot"], 0);
    assert_eq!(at.replicate()["whole"], true);
    at.replicate();
    assert_eq!(at.replicate()["copied"], 0);
    let (here, there) = (objects(&at.program.repo), objects(&at.site));
    let journals = |all: &BTreeMap<String, Vec<u8>>| all.keys().filter(|name| name.starts_with("journal/")).count();
    assert!(journals(&there) < journals(&here), "{:?}", there.keys());
    assert_eq!(there.keys().filter(|name| name.starts_with("holding/")).count(), 1);
    let (problems, _) = seen_anew(&at.program, &at.site);
    assert_eq!(problems, Vec::<String>::new());
    let repo = at.site.to_str().unwrap();
    let list = run(&at.program, &["--repo", repo, "list"], 0);
    assert!(list.contains(at.program.root.to_str().unwrap()) && !list.contains(other.to_str().unwrap()), "{list}");
    let file = at.program.root.join("shared");
    let to = at.site.with_file_name("restored");
    run(
        &at.program,
        &["--repo", repo, "restore", file.to_str().unwrap(), "--at", "latest", "--to", to.to_str().unwrap()],
        0,
    );
    let sites = done(&at.program, &["sites"], 0);
    assert_eq!(sites["sources"].as_array().unwrap().len(), 1, "{sites}");
    // All of it later.
    fs::write(at.program.home.join("bygone.toml"), &text).unwrap();
    at.replicate();
    at.replicate();
    let (problems, _) = seen_anew(&at.program, &at.site);
    assert_eq!(problems, Vec::<String>::new());
    let list = run(&at.program, &["--repo", repo, "list"], 0);
    assert!(list.contains(other.to_str().unwrap()), "{list}");
}

#[test]
fn a_site_may_have_some_tiers_and_says_what_it_does_not_hold() {
    let at = Sited::new("tiers = [\"full\"]\n");
    let (one, two, three) = (noise(1, 300_000), noise(2, 300_000), noise(3, 300_000));
    at.write("f", &one);
    run(&at.program, &["snapshot"], 0);
    at.write("f", &two);
    at.write("small", "s");
    run(&at.program, &["snapshot"], 0);
    assert_eq!(at.replicate()["whole"], true);
    let packs = |dir: &Path| objects(dir).into_keys().filter(|name| name.starts_with("packs/")).count();
    assert!(packs(&at.site) < packs(&at.program.repo), "what an incremental snapshot needs is not copied");
    let repo = at.site.to_str().unwrap();
    let there = |args: &[&str], status| run(&at.program, &[&["--repo", repo], args].concat(), status);
    let list = there(&["list"], 0);
    let told: Vec<bool> =
        list.lines().filter(|line| !line.is_empty()).map(|line| line.contains("not all of its content")).collect();
    assert_eq!(told, [false, true], "{list}");

    // What is held comes back; what is not is told as that, and as no damage.
    let file = at.program.root.join("f");
    let file = file.to_str().unwrap();
    let verified = there(&["verify", "--read-data"], 0);
    assert!(verified.contains("are not held") && verified.contains("no problem was found"), "{verified}");
    let (first, last) = (at.site.with_file_name("first"), at.site.with_file_name("last"));
    let at_first = run(&at.program, &["--json", "list", "--limit", "9"], 0);
    let at_first: Value = serde_json::from_str(at_first.lines().next().unwrap()).unwrap();
    let at_first = at_first["time"].as_str().unwrap().to_owned();
    there(&["restore", file, "--at", &at_first, "--to", first.to_str().unwrap()], 0);
    assert_eq!(fs::read(first.join("f")).unwrap(), one);
    let told = there(&["restore", file, "--at", "latest", "--to", last.to_str().unwrap()], 3);
    assert!(told.contains("holds only what snapshots of the tier full need") && !told.contains("damage"), "{told}");
    assert!(!last.join("f").exists());
    let health = there(&["health"], 0);
    assert!(!health.contains("pack(s)"), "{health}");

    // What it promised and lacks is damage.
    let held = objects(&at.site).into_keys().find(|name| name.starts_with("packs/")).unwrap();
    let bytes = fs::read(at.site.join(&held)).unwrap();
    fs::remove_file(at.site.join(&held)).unwrap();
    let verified = there(&["verify"], 3);
    assert!(verified.contains(&format!("{held}: object: it is missing")), "{verified}");
    fs::write(at.site.join(&held), bytes).unwrap();

    // The recovery point counts from the full one.
    let sites = done(&at.program, &["sites"], 0);
    assert_eq!((&sites["sources"][0]["snapshot"], &sites["sources"][0]["newest"]), (&1.into(), &2.into()), "{sites}");
    assert_eq!(sites["tiers"], serde_json::json!(["full"]));
    assert!(sites["recovery_point_seconds"].as_f64().unwrap() > 0.0, "{sites}");
    let text = run(&at.program, &["sites"], 0);
    assert!(text.contains("the snapshots of the tier full, and no others"), "{text}");
    at.write("f", &three);
    run(&at.program, &["snapshot", "--tier", "full"], 0);
    assert_eq!(at.replicate()["whole"], true);
    let sites = done(&at.program, &["sites"], 0);
    assert_eq!((sites["recovery_point_seconds"].as_f64(), &sites["sources"][0]["snapshot"]), (Some(0.0), &3.into()));
    there(&["restore", file, "--at", "latest", "--to", last.to_str().unwrap()], 0);
    assert_eq!(fs::read(last.join("f")).unwrap(), three);

    // Killed anywhere on the way to more tiers, it never says that it holds what it does not.
    let path = at.program.home.join("bygone.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("tiers = [\"full\"]", "tiers = [\"incremental\", \"full\"]")).unwrap();
    for when in [1, 2, 3].into_iter().cycle() {
        let killed = at.program.with_fault(&format!("renameat2:signal=KILL:when={when}"), &["replicate"]).status();
        let (problems, _) = seen_anew(&at.program, &at.site);
        assert_eq!(problems, Vec::<String>::new(), "killed at rename {when}");
        if killed.unwrap().success() {
            break;
        }
    }
    let list = there(&["list"], 0);
    assert!(!list.contains("not all of its content"), "{list}");
    // All of it later.
    fs::write(&path, text.replace("tiers = [\"full\"]\n", "")).unwrap();
    at.replicate();
    at.replicate();
    assert_eq!(packs(&at.site), packs(&at.program.repo));
    let sites = done(&at.program, &["sites"], 0);
    assert!(sites["tiers"].is_null(), "{sites}");
}

#[test]
fn a_recovery_point_is_what_would_be_lost() {
    let mut at = Sited::new("objective = \"1s\"\n");
    at.write("a", "a");
    at.snapshot();
    let sites = done(&at.program, &["sites"], 0);
    assert!(sites["last_run"].is_null() && sites["recovery_point_seconds"].as_f64().unwrap() > 0.0, "{sites}");
    at.replicate();
    let sites = done(&at.program, &["sites"], 0);
    assert_eq!((sites["recovery_point_seconds"].as_f64(), &sites["sources"][0]["snapshot"]), (Some(0.0), &1.into()));
    let health = run(&at.program, &["health"], 0);
    assert!(!health.contains("site far"), "{health}");
    at.write("b", "b");
    at.snapshot();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let sites = done(&at.program, &["sites"], 0);
    assert!(sites["recovery_point_seconds"].as_f64().unwrap() > 1.0, "{sites}");
    let health = run(&at.program, &["health"], 1);
    assert!(health.contains("site far") && health.contains("would be lost with the repository"), "{health}");
    let metrics = run(&at.program, &["metrics"], 0);
    assert!(metrics.contains("bygone_site_recovery_point_seconds{site=\"far\"} 1."), "{metrics}");
}

/// A program whose settings say how to reach the server.
fn over(program: &Program, server: &s3::Server, args: &[&str]) -> Value {
    let mut command = program.command(&[&["--json"], args].concat());
    for (name, value) in server.settings() {
        command.env(name, value);
    }
    let out = command.output().unwrap();
    let told = format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(0), "{args:?}: {told}");
    serde_json::from_slice(out.stdout.rsplit(|b| *b == b'\n').nth(1).unwrap_or_else(|| panic!("{told}"))).unwrap()
}

#[test]
fn from_a_directory_to_a_bucket_and_from_a_bucket_to_a_directory() {
    let server = s3::Server::start();
    let mut at = Sited::new("");
    let bucket = format!("s3://{}/copy", s3::BUCKET);
    let back = at.site.with_file_name("back");
    add(&at.program, &format!("[[site]]\nname = \"bucket\"\nrepository = {bucket:?}\n"));
    for n in 0..3 {
        at.write(&format!("f{n}"), noise(n, 100_000));
        at.snapshot();
    }
    over(&at.program, &server, &["replicate", "bucket"]);
    over(&at.program, &server, &["replicate", "bucket"]);
    drop(server.requests());
    let told = over(&at.program, &server, &["replicate", "bucket"]);
    assert_eq!(told["copied"], 0);
    let requests = server.requests();
    assert!(
        requests.iter().all(|request| !request.contains("packs/") && !request.contains("journal/")),
        "{requests:?}"
    );

    // Another machine has the bucket for its repository, and a copy of it on a disk.
    let other = tempfile::tempdir().unwrap();
    let other = at.program.elsewhere(other.path());
    let path = other.home.join("bygone.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (text, _) = text.split_once("[[site]]").unwrap();
    let text = text.replace(&format!("repository = {:?}", other.repo), &format!("repository = {bucket:?}"));
    fs::write(&path, format!("{text}[[site]]\nname = \"back\"\nrepository = {back:?}\n")).unwrap();
    over(&other, &server, &["replicate"]);
    over(&other, &server, &["replicate"]);
    let origin = objects(&at.program.repo);
    let there = objects(&back);
    let lacks: Vec<_> =
        origin.iter().filter(|(name, bytes)| there.get(*name) != Some(*bytes)).map(|(name, _)| name).collect();
    assert!(lacks.is_empty(), "{lacks:?}");
    let copy = Program { repo: back, ..at.copy() };
    copy.check(&at.reported, "the copy of the copy");
}

/// A service that ends with the test.
struct Service(std::process::Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _gone =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ended = self.0.wait();
    }
}

#[test]
fn the_service_keeps_a_copy_after_each_snapshot_and_by_schedule() {
    let mut at = Sited::new("continuous = true\n");
    let nightly = at.site.with_file_name("nightly");
    let socket = at.site.with_file_name("control");
    add(
        &at.program,
        &format!(
            "[[site]]\nname = \"nightly\"\nrepository = {nightly:?}\nschedule = \"* * * * *\"\n\
             [daemon]\nsocket = {socket:?}\n[capture]\nquiet = \"50ms\"\nio-class = \"none\"\n"
        ),
    );
    at.write("a", noise(1, 10_000));
    let mut command = at.program.command(&["daemon"]);
    let log = fs::File::create(at.site.with_file_name("log")).unwrap();
    let service = Service(command.stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap());
    let said = || fs::read_to_string(at.site.with_file_name("log")).unwrap_or_default();
    let until = |what: &str, is: &dyn Fn() -> bool| {
        for _ in 0..1200 {
            if is() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{what} never came: {}", said());
    };
    let held = |site: &str| {
        let out = at.program.run(&["--json", "sites", site]);
        let sites: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        sites["sources"][0]["snapshot"].as_u64().unwrap_or(0)
    };
    until("the first snapshot at the site", &|| held("far") >= 1);
    let before = held("far");
    at.write("b", noise(2, 10_000));
    until("the next snapshot at both", &|| held("far") > before && held("nightly") > before);
    let jobs = run(&at.program, &["jobs"], 0);
    assert!(jobs.contains("replicate nightly"), "{jobs}");
    drop(service);
    at.snapshot();
    at.replicate();
    at.copy().check(&at.reported, "the copy");
}

/// A store that counts what is read.
struct Counting(LocalStore, AtomicU64);

impl Store for Counting {
    fn location(&self) -> String {
        self.0.location()
    }
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.put(name, bytes)
    }
    fn get(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.get(name, max)
    }
    fn get_range(&self, name: &str, offset: u64, len: usize) -> Result<Buffer, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.get_range(name, offset, len)
    }
    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        self.0.list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.0.delete(name)
    }
    fn size(&self, name: &str) -> Result<u64, StoreError> {
        self.0.size(name)
    }
}

#[test]
fn where_there_is_nothing_to_do_no_object_is_read_and_a_limit_holds() {
    let lab = lab::Lab::new();
    fs::write(lab.root.join("a"), noise(1, 400_000)).unwrap();
    lab.captured();
    let dir = lab.dir().join("site");
    let rates = Arc::new(Rates::new(Some(200_000), None));
    let to = Arc::new(Limited::new(Arc::new(LocalStore::open(&dir)), rates.clone()));
    let site = |copy| sites::Site {
        name: "far",
        copy,
        sources: Vec::new(),
        tiers: Vec::new(),
        anew: false,
        hands_over: false,
    };
    let (never, replayed) = (AtomicBool::new(false), replay::catch_up(&lab.at, &Quiet).unwrap());
    let all = sites::replicate(&lab.at, &site(lab.repo.in_store(to)), &replayed, &Quiet, &never).unwrap();
    assert!(all.is_whole() && all.done.bytes > 400_000);
    assert!(rates.waited() > std::time::Duration::ZERO, "what goes to a site waits for its limit");

    let store = lab.dir().join("repo");
    let counting = |dir: &Path| Arc::new(Counting(LocalStore::open(dir), AtomicU64::new(0)));
    let (here, there) = (counting(&store), counting(&dir));
    let repo = Arc::new(lab.repo.in_store(here.clone()));
    let at = Attached::open(repo, &lab.state, Arc::new(SystemClock)).unwrap();
    let replayed = replay::catch_up(&at, &Quiet).unwrap();
    here.1.store(0, Ordering::SeqCst);
    let all = sites::replicate(&at, &site(lab.repo.in_store(there.clone())), &replayed, &Quiet, &never).unwrap();
    assert!(all.is_whole() && all.plan.is_empty() && all.done.copied == 0);
    assert_eq!((here.1.load(Ordering::SeqCst), there.1.load(Ordering::SeqCst)), (0, 0));
}

/// A copy made by hand, as `cp -a` does it.
fn copy_by_hand(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn what_is_seen_of_a_copy_is_not_asked_of_the_repository() {
    let mut at = Sited::new("");
    at.write("a", "one");
    at.snapshot();
    let copy = at.program.repo.with_file_name("by-hand");
    copy_by_hand(&at.program.repo, &copy);
    let before = objects(&copy);
    let repo = copy.to_str().unwrap();
    run(&at.program, &["--repo", repo, "verify"], 0);
    run(&at.program, &["--repo", repo, "list"], 0);
    let told = run(&at.program, &["--repo", repo, "snapshot"], 1);
    assert!(told.contains("is a copy of the repository") && told.contains("dr failover"), "{told}");
    run(&at.program, &["--repo", repo, "maintain"], 1);
    assert_eq!(objects(&copy), before, "nothing was written into it");
    let told = run(&at.program, &["audit", "verify"], 0);
    assert!(told.contains("nothing is altered or missing"), "{told}");
    run(&at.program, &["verify"], 0);
    at.write("a", "two");
    at.snapshot();
    // The copy lacks what was captured since, which is said of neither.
    run(&at.program, &["--repo", repo, "verify"], 0);
    run(&at.program, &["verify"], 0);
    // By another name it is the repository still, and one that was moved goes on where it is.
    let link = copy.with_file_name("link");
    std::os::unix::fs::symlink(&at.program.repo, &link).unwrap();
    run(&at.program, &["--repo", link.to_str().unwrap(), "snapshot"], 0);
    fs::remove_dir_all(&copy).unwrap();
    fs::rename(&at.program.repo, &copy).unwrap();
    fs::remove_file(&link).unwrap();
    run(&at.program, &["--repo", repo, "snapshot"], 0);
    run(&at.program, &["--repo", repo, "audit", "verify"], 0);
}

#[test]
fn what_is_no_file_in_a_store_is_named_by_verify_and_not_waited_for() {
    let mut at = Sited::new("");
    at.write("a", noise(3, 100_000));
    at.snapshot();
    let pack = objects(&at.program.repo).into_keys().find(|name| name.starts_with("packs/")).unwrap();
    let path = at.program.repo.join(&pack);
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let out = at.program.command(&["verify", "--read-data"]).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(3), "{told}");
    assert!(told.contains(&pack) && told.contains("a named pipe, and no regular file"), "{told}");
}

#[test]
fn a_site_that_is_the_repository_by_another_name_is_none() {
    let mut at = Sited::new("");
    at.write("a", "a");
    at.snapshot();
    std::os::unix::fs::symlink(&at.program.repo, &at.site).unwrap();
    let check = || {
        let out = at.program.run(&["config", "check"]);
        (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    for how in ["link", "mount"] {
        if how == "mount" {
            if !rustix::process::geteuid().is_root() {
                continue;
            }
            fs::remove_file(&at.site).unwrap();
            fs::create_dir(&at.site).unwrap();
            let mut mount = std::process::Command::new("mount");
            assert!(mount.arg("--bind").arg(&at.program.repo).arg(&at.site).status().unwrap().success());
        }
        let (status, told) = check();
        let replicated = at.program.run(&["replicate"]);
        let sites = at.program.run(&["sites"]);
        if how == "mount" {
            assert!(std::process::Command::new("umount").arg("-l").arg(&at.site).status().unwrap().success());
        }
        assert!(status != Some(0) && told.contains("is in the same place as the repository"), "{how}: {told}");
        for out in [replicated, sites] {
            let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert!(out.status.code() == Some(1) && told.contains("itself, by another name"), "{how}: {told}");
        }
    }
}

#[test]
fn a_copy_that_was_set_back_is_told_and_filled_again() {
    let mut at = Sited::new("");
    at.write("a", "one");
    at.snapshot();
    at.replicate();
    let old = at.site.with_file_name("old");
    copy_by_hand(&at.site, &old);
    for n in 0..3 {
        at.write("a", format!("more {n}"));
        at.snapshot();
    }
    assert_eq!(at.replicate()["gone_back"], serde_json::json!([]));
    fs::remove_dir_all(&at.site).unwrap();
    fs::rename(&old, &at.site).unwrap();
    let told = run(&at.program, &["replicate"], 3);
    assert!(told.contains("the copy had gone back") && told.contains("from snapshot 4 to 1"), "{told}");
    assert!(run(&at.program, &["audit", "show", "--json"], 0).contains("gone_back"));
    assert!(run(&at.program, &["sites"], 0).contains("gone back"));
    // It was filled again, and is told once.
    run(&at.program, &["replicate"], 0);
    assert_eq!(seen_anew(&at.program, &at.site), (Vec::new(), 4));
    assert!(run(&at.program, &["health"], 3).contains("had gone back"));
}
