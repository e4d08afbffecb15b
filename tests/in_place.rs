//! `restore --in-place` by the program: what it replaces or removes can be brought back.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

struct Case {
    _temp: tempfile::TempDir,
    dir: PathBuf,
    src: PathBuf,
}

impl Case {
    /// A protected directory with one snapshot, in which `file` holds `one`.
    fn new() -> Case {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        let case = Case { src: dir.join("src"), _temp: temp, dir };
        let settings = format!("repository = {:?}\nstate = {:?}\n", case.dir.join("repo"), case.dir.join("state"));
        fs::write(case.dir.join("bygone.toml"), settings).unwrap();
        fs::create_dir(&case.src).unwrap();
        fs::write(case.src.join("file"), "one").unwrap();
        case.ok(&["init", "--key-file", case.dir.join("key").to_str().unwrap()]);
        case.ok(&["source", "add", case.src.to_str().unwrap()]);
        case.ok(&["snapshot"]);
        case
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.dir.join("bygone.toml")).args(args);
        command.env_clear().env("HOME", &self.dir).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The times of the snapshots; lines that tell of gaps have none.
    fn times(&self) -> Vec<String> {
        let list = self.ok(&["--json", "list"]);
        let lines = list.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.filter_map(|line| line["time"].as_str().map(str::to_owned)).collect()
    }

    fn newest(&self) -> String {
        self.times().pop().unwrap()
    }

    fn restore(&self, at: &str, more: &[&str]) -> Output {
        let args = [&["restore", self.src.to_str().unwrap(), "--in-place", "--at", at], more].concat();
        self.run(&args)
    }

    fn cat(&self, name: &str, at: &str) -> String {
        self.ok(&["cat", self.src.join(name).to_str().unwrap(), "--at", at])
    }

    /// A process that watches, and has begun to.
    fn watch(&self) -> Ended {
        let child = self.command(&["watch"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let child = Ended(child);
        let there = |dir: &Path| {
            let mut names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            names.any(|n| n.starts_with("watch-"))
        };
        while !fs::read_dir(self.dir.join("state")).unwrap().any(|e| there(&e.unwrap().path())) {
            std::thread::sleep(Duration::from_millis(50));
        }
        child
    }
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn what_was_never_captured_is_captured_first() {
    let case = Case::new();
    let first = case.newest();
    fs::write(case.src.join("file"), "two, never captured").unwrap();
    fs::write(case.src.join("extra"), "never captured").unwrap();
    let plan = case.restore(&first, &["--delete", "--dry-run"]);
    assert_eq!(plan.status.code(), Some(0), "{}", text(&plan));
    assert!(text(&plan).contains("remove   "), "{}", text(&plan));
    let done = case.restore(&first, &["--delete"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(text(&done).contains("captured what is there now first: snapshot of "), "{}", text(&done));
    assert_eq!(fs::read_to_string(case.src.join("file")).unwrap(), "one");
    assert!(!case.src.join("extra").exists());
    let between = case.newest();
    assert_eq!(case.cat("file", &between), "two, never captured");
    assert_eq!(case.cat("extra", &between), "never captured");
    // Nothing to do: nothing is captured.
    let again = case.restore(&first, &["--delete"]);
    assert!(again.status.success() && !text(&again).contains("captured what"), "{}", text(&again));
}

#[test]
fn what_is_not_protected_any_more_is_left_and_named() {
    let case = Case::new();
    let first = case.newest();
    case.ok(&["source", "remove", case.src.to_str().unwrap()]);
    fs::write(case.src.join("file"), "two, never captured").unwrap();
    fs::write(case.src.join("extra"), "never captured").unwrap();
    for more in [&["--delete", "--dry-run"][..], &["--delete"]] {
        let done = case.restore(&first, more);
        assert_eq!(done.status.code(), Some(3), "{}", text(&done));
        for name in ["src/file", "src/extra"] {
            let told = format!("{name}: no snapshot holds it as it is now: left where it is");
            assert!(text(&done).contains(&told), "{}", text(&done));
        }
        assert!(text(&done).contains("2 path(s) were left") && text(&done).contains("--aside"), "{}", text(&done));
    }
    assert_eq!(fs::read_to_string(case.src.join("file")).unwrap(), "two, never captured");
    assert_eq!(fs::read_to_string(case.src.join("extra")).unwrap(), "never captured");
}

#[test]
fn a_process_that_watches_gets_the_time_to_capture() {
    let case = Case::new();
    let first = case.newest();
    let _watch = case.watch();
    fs::write(case.src.join("file"), "two, just written").unwrap();
    let done = case.restore(&first, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert_eq!(fs::read_to_string(case.src.join("file")).unwrap(), "one");
    let held: Vec<String> = case.times().iter().map(|time| case.cat("file", time)).collect();
    assert!(held.iter().any(|content| content == "two, just written"), "{held:?}");
}
