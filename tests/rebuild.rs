//! The index made anew from the repository and a key, where sources share content.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bygone::sys::durable;

fn run(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    command.arg("--config").arg(dir.join("bygone.toml")).args(args);
    let out = command.env_clear().env("HOME", dir).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Each of two sources brings a chunk that the other one names: in whatever order they are replayed, one has to wait.
#[test]
fn sources_that_name_each_others_chunks() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let (a, b, key) = (dir.join("a"), dir.join("b"), dir.join("key"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    durable::replace(&dir.join("bygone.toml"), format!("state = {:?}\n", dir.join("state")).as_bytes(), 0o600).unwrap();
    for source in [&a, &b] {
        fs::create_dir(source).unwrap();
    }
    run(dir, &["init", "--key-file", &text(&key)]);
    run(dir, &["source", "add", &text(&a), &text(&b)]);
    let turns = [(&a, "one", b"first"), (&b, "one", b"first"), (&b, "two", b"other"), (&a, "two", b"other")];
    for (source, name, content) in turns {
        durable::replace(&source.join(name), &content.repeat(9_000), 0o644).unwrap();
        run(dir, &["snapshot", &text(source)]);
    }
    // Of the four files two are stored.
    let count = |status: &str| -> (u64, Vec<u64>) {
        let status: serde_json::Value = serde_json::from_str(status).unwrap();
        let sources = status["sources"].as_array().unwrap();
        let snapshots = sources.iter().map(|s| s["history"]["snapshots"].as_u64().unwrap()).collect();
        (status["stored"]["chunks"].as_u64().unwrap(), snapshots)
    };
    let before = count(&run(dir, &["--json", "status"]));
    assert_eq!(before, (2, vec![2, 2]));
    run(dir, &["index", "rebuild"]);
    assert_eq!(count(&run(dir, &["--json", "status"])), before);
    for file in ["a/one", "a/two", "b/one", "b/two"] {
        let content = run(dir, &["cat", &text(&dir.join(file))]);
        assert_eq!(content.as_bytes(), fs::read(dir.join(file)).unwrap(), "{file}");
    }
    run(dir, &["verify", "--read-data"]);
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A protected directory, and the command that watches it.
fn watched(dir: &Path) -> Ended {
    durable::replace(&dir.join("bygone.toml"), format!("state = {:?}\n", dir.join("state")).as_bytes(), 0o600).unwrap();
    fs::create_dir(dir.join("src")).unwrap();
    fs::write(dir.join("src/file"), b"x").unwrap();
    run(dir, &["init", "--key-file", dir.join("key").to_str().unwrap()]);
    run(dir, &["source", "add", dir.join("src").to_str().unwrap()]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    command.arg("--config").arg(dir.join("bygone.toml")).arg("watch").env_clear().env("HOME", dir);
    let child = Ended(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let there = |dir: &Path| {
        let mut names = fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.any(|n| n.starts_with("watch-"))
    };
    while !fs::read_dir(dir.join("state")).into_iter().flatten().any(|e| there(&e.unwrap().path())) {
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

/// It would go on with the old one, and nobody would see what it captures.
#[test]
fn an_index_that_is_used_is_not_made_anew() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let watch = watched(dir);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    command.arg("--config").arg(dir.join("bygone.toml")).args(["index", "rebuild"]);
    let out = command.env_clear().env("HOME", dir).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{told}");
    let pid = format!("another bygone process uses the index {}", dir.join("state").display());
    assert!(told.contains(&pid) && told.contains(&format!("(pid {})", watch.0.id())), "{told}");
    drop(watch);
    run(dir, &["index", "rebuild"]);
    assert_eq!(run(dir, &["cat", dir.join("src/file").to_str().unwrap()]), "x");
}

#[test]
fn whoever_watches_ends_when_the_index_is_taken_away() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let mut watch = watched(dir);
    // The repository lies there too, and is left.
    for entry in fs::read_dir(dir.join("state")).unwrap().map(Result::unwrap).filter(|e| e.file_name() != "repository")
    {
        fs::remove_dir_all(entry.path()).unwrap();
    }
    let mut told = String::new();
    std::io::Read::read_to_string(&mut watch.0.stderr.take().unwrap(), &mut told).unwrap();
    assert_eq!(watch.0.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("was removed or replaced while this process used it"), "{told}");
    assert_eq!(run(dir, &["cat", dir.join("src/file").to_str().unwrap()]), "x");
}

/// A protected directory with some snapshots, and the record of the newest.
struct Lab {
    temp: tempfile::TempDir,
    newest: std::path::PathBuf,
}

impl Lab {
    fn new(snapshots: u32) -> Lab {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        let text = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        durable::replace(&dir.join("bygone.toml"), format!("state = {:?}\n", dir.join("state")).as_bytes(), 0o600)
            .unwrap();
        fs::create_dir(dir.join("a")).unwrap();
        run(&dir, &["init", "--repo", &text("repo"), "--key-file", &text("key")]);
        run(&dir, &["source", "add", &text("a")]);
        for n in 0..snapshots {
            fs::write(dir.join("a/f"), format!("{n}")).unwrap();
            run(&dir, &["snapshot"]);
        }
        let mut segments: Vec<_> = walk(&dir.join("repo/journal"));
        segments.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
        Lab { newest: segments.pop().unwrap(), temp }
    }

    /// From now on it is a machine that has seen nothing yet.
    fn machine(&self, name: &str) {
        let settings = self.temp.path().join("bygone.toml");
        let before = fs::read_to_string(&settings).unwrap();
        let rest: Vec<&str> = before.lines().filter(|line| !line.starts_with("state")).collect();
        let text = format!("state = {:?}\n{}\n", self.temp.path().join(name), rest.join("\n"));
        fs::write(&settings, text).unwrap();
    }

    fn ended(&self, args: &[&str]) -> (i32, String) {
        let dir = self.temp.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        let command = command.arg("--config").arg(dir.join("bygone.toml")).args(args).env_clear().env("HOME", dir);
        let out = command.stdin(Stdio::null()).output().unwrap();
        (out.status.code().unwrap(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    }

    #[track_caller]
    fn ends(&self, args: &[&str], status: i32, says: &str) {
        let (ended, told) = self.ended(args);
        assert!(ended == status && told.contains(says), "{args:?}: {ended}: {told}");
    }
}

#[test]
fn a_journal_that_has_lost_its_end_is_told() {
    let lab = Lab::new(3);
    lab.ends(&["index", "rebuild"], 0, "");
    fs::remove_file(&lab.newest).unwrap();
    lab.ends(&["index", "rebuild"], 3, "ends with snapshot 2, and snapshot 3 was known here before");
}

#[test]
fn verify_says_which_record_is_damaged_and_what_to_do() {
    let lab = Lab::new(3);
    let mut bytes = fs::read(&lab.newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&lab.newest).unwrap();
    fs::write(&lab.newest, bytes).unwrap();
    let dir = lab.temp.path().canonicalize().unwrap();
    let name = lab.newest.strip_prefix(dir.join("repo")).unwrap().to_str().unwrap();
    let why = format!(
        "snapshot 3 can't be shown from the repository alone: its record, or one that it rests on, is damaged or gone: {name}"
    );
    lab.ends(&["verify"], 3, &why);
    lab.ends(&["verify"], 3, "to do: there is no copy at a [[site]]: `bygone repair`");
    let settings = dir.join("bygone.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let site = format!("[[site]]\nname = \"far\"\nrepository = {:?}\n", dir.join("far"));
    fs::write(&settings, format!("{text}\n{site}")).unwrap();
    lab.ends(&["verify"], 3, "to do: `bygone verify --against far --repair`");
    lab.ends(&["--json", "verify"], 3, "\"to_do\":\"`bygone verify --against far --repair`");
}

/// The trail names what was captured: a new machine, which has seen nothing of it, misses the record all the same.
#[test]
fn a_new_machine_misses_what_was_rolled_back() {
    let lab = Lab::new(3);
    let kept = fs::read(&lab.newest).unwrap();
    let source = lab.temp.path().canonicalize().unwrap().join("a");
    let named = "names snapshot 3 of";
    fs::remove_file(&lab.newest).unwrap();
    lab.machine("state-1");
    lab.ends(&["verify"], 3, named);
    lab.ends(&["maintain"], 1, named);
    // It was somebody's mistake: put back, all is well.
    fs::write(&lab.newest, kept).unwrap();
    lab.ends(&["verify"], 0, "");
    lab.ends(&["maintain"], 0, "");
    // It was not, and there is none to put back: capturing goes on, and says so, and somebody decides.
    fs::remove_file(&lab.newest).unwrap();
    lab.machine("state-2");
    fs::write(source.join("f"), "after").unwrap();
    lab.ends(&["snapshot"], 3, named);
    // Another record has its number now.
    lab.ends(&["maintain"], 1, "");
    lab.ends(&["verify"], 3, named);
    lab.ends(&["maintain", "--give-up", source.to_str().unwrap()], 0, "snapshot 3 of");
    for command in ["maintain", "verify", "snapshot"] {
        lab.ends(&[command], 0, "");
    }
    lab.machine("state-3");
    for command in ["verify", "maintain"] {
        lab.ends(&[command], 0, "");
    }
}

#[test]
fn a_newest_record_that_is_lost_is_written_again_and_capture_goes_on() {
    let lab = Lab::new(2);
    let kept = fs::read(&lab.newest).unwrap();
    fs::remove_file(&lab.newest).unwrap();
    lab.ends(&["snapshot"], 1, "`bygone maintain`, which writes it again");
    lab.ends(&["maintain"], 0, "");
    fs::write(lab.temp.path().join("a/f"), "3").unwrap();
    lab.ends(&["snapshot"], 0, "1 changed");
    lab.ends(&["verify"], 0, "no problem");
    // It was put back after all: it is part of what was written again.
    fs::write(&lab.newest, kept).unwrap();
    lab.ends(&["verify"], 0, "no problem");
    lab.ends(&["index", "rebuild"], 0, "from 3 snapshot(s)");
    fs::write(lab.temp.path().join("a/f"), "4").unwrap();
    lab.ends(&["snapshot"], 0, "1 changed");
    lab.ends(&["verify", "--read-data"], 0, "no problem");
}

#[test]
fn an_index_that_was_made_anew_forgets_no_loss() {
    let lab = Lab::new(2);
    fs::remove_file(&lab.newest).unwrap();
    let named = "the audit trail names snapshot 2 of";
    lab.ends(&["index", "rebuild"], 3, "ends with snapshot 1");
    fs::write(lab.temp.path().join("a/f"), "3").unwrap();
    lab.ends(&["snapshot"], 3, named);
    lab.ends(&["maintain"], 1, named);
    lab.ends(&["verify"], 3, named);
    let source = lab.temp.path().canonicalize().unwrap().join("a");
    lab.ends(&["maintain", "--give-up", source.to_str().unwrap()], 0, "snapshot 2 of");
    lab.ends(&["maintain"], 0, "");
    lab.ends(&["verify"], 0, "no problem");
}

/// What is left of a lost record may be in the index alone: it is kept, and brings the record back.
#[test]
fn an_index_that_knows_more_than_the_repository_is_kept() {
    let lab = Lab::new(3);
    fs::remove_file(&lab.newest).unwrap();
    let (status, told) = lab.ended(&["index", "rebuild"]);
    let (_, command) = told.split_once("if it knew more, `mv ").unwrap_or_else(|| panic!("{status}: {told}"));
    let (paths, _) = command.split_once('`').unwrap();
    let (kept, index) = paths.split_once(' ').unwrap();
    // The next one has nothing more to keep.
    lab.ends(&["index", "rebuild"], 3, &format!("`mv {kept} {index}`"));
    fs::rename(kept, index).unwrap();
    lab.ends(&["maintain"], 0, "");
    lab.ends(&["verify"], 0, "no problem");
    lab.ends(&["cat", lab.temp.path().canonicalize().unwrap().join("a/f").to_str().unwrap()], 0, "2");
    lab.ends(&["index", "rebuild"], 0, "from 3 snapshot(s)");
    let left = walk(&lab.temp.path().join("state"));
    assert!(!left.iter().any(|path| path.to_string_lossy().contains("before")), "{left:?}");
}

/// What is captured behind a lost record follows it: who has seen that one writes it again, and nothing is lost.
#[test]
fn a_lost_record_comes_back_from_another_machine_though_captures_went_on() {
    let lab = Lab::new(3);
    let file = lab.temp.path().canonicalize().unwrap().join("a/f");
    lab.machine("second");
    lab.ends(&["verify"], 0, "no problem");
    lab.machine("state");
    fs::remove_file(&lab.newest).unwrap();
    lab.ends(&["index", "rebuild"], 3, "the index from before is kept");
    // Nothing older is shown as the newest, and health tells.
    lab.ends(&["cat", file.to_str().unwrap()], 1, "the audit trail names snapshot 3, taken ");
    lab.ends(&["health"], 1, "1 of its snapshots can't be shown, the newest among them");
    fs::write(&file, "4").unwrap();
    lab.ends(&["snapshot"], 3, "this snapshot is a full one");
    lab.ends(&["cat", file.to_str().unwrap()], 0, "4");
    lab.ends(&["list"], 0, "lost: snapshots 3 to 3");
    lab.ends(&["maintain"], 1, "the audit trail names snapshot 3 of");
    lab.machine("second");
    lab.ends(&["verify"], 3, "`bygone maintain` writes it again from there");
    lab.ends(&["maintain"], 0, "");
    lab.ends(&["verify", "--read-data"], 0, "no problem");
    lab.machine("state");
    lab.ends(&["index", "rebuild"], 0, "from 4 snapshot(s)");
    lab.ends(&["verify"], 0, "no problem");
    lab.ends(&["health"], 0, "OK");
}

#[test]
fn a_repository_that_was_set_back_is_accepted_by_a_person() {
    let lab = Lab::new(2);
    let dir = lab.temp.path();
    let (repo, old) = (dir.join("repo"), dir.join("old"));
    assert!(Command::new("cp").arg("-a").arg(&repo).arg(&old).status().unwrap().success());
    fs::write(dir.join("a/f"), "3").unwrap();
    lab.ends(&["snapshot"], 0, "1 changed");
    fs::remove_dir_all(&repo).unwrap();
    fs::rename(&old, &repo).unwrap();
    lab.ends(&["audit", "verify"], 3, "this host has seen it");
    lab.ends(&["index", "rebuild"], 3, "ends with snapshot 2");
    lab.ends(&["audit", "verify", "--accept"], 0, "all accepted");
    lab.ends(&["audit", "verify"], 0, "accepted: audit/");
    lab.ends(&["verify"], 3, "names snapshot 3 of");
    let source = dir.canonicalize().unwrap().join("a");
    lab.ends(&["maintain", "--give-up", source.to_str().unwrap()], 0, "snapshot 3 of");
    lab.ends(&["snapshot"], 0, "");
    lab.ends(&["maintain"], 0, "");
    lab.ends(&["verify", "--read-data"], 0, "no problem");
    lab.ends(&["audit", "show"], 0, "audit-accept done");
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
