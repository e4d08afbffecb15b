//! Two writers of one source: machines that were copied, or two state directories. Nothing of either is lost, and both are shown.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/s3.rs"]
mod s3;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SOURCE: &str = "src";

/// One machine: a state directory, and settings that name the same host, source and repository as those of the others.
struct Machine<'a> {
    dir: &'a Path,
    name: String,
    env: Vec<(String, String)>,
}

impl<'a> Machine<'a> {
    fn new(dir: &'a Path, name: &str, server: Option<&s3::Server>) -> Machine<'a> {
        let machine = Machine {
            dir,
            name: name.to_owned(),
            env: server.map_or(Vec::new(), |s| s.settings().into_iter().collect()),
        };
        machine.settings("pluto", server.is_some());
        machine
    }

    fn settings(&self, host: &str, far: bool) {
        let repository = if far { format!("s3://{}/r", s3::BUCKET) } else { self.path("repo").display().to_string() };
        let text = format!(
            "repository = {repository:?}\nstate = {:?}\nhost = {host:?}\n[key]\nfile = {:?}\n[[source]]\npath = {:?}\n",
            self.path(&format!("state-{}", self.name)),
            self.path("key"),
            self.path(SOURCE)
        );
        fs::write(self.path(&format!("{}.toml", self.name)), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.canonicalize().unwrap().join(name)
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.path(&format!("{}.toml", self.name))).args(args).env_clear();
        command.env("HOME", self.dir).envs(self.env.iter().cloned()).stdin(Stdio::null());
        let out = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    fn ok(&self, args: &[&str]) -> String {
        let (status, out, told) = self.run(args);
        assert_eq!(status, 0, "{} {args:?}: {out}{told}", self.name);
        out
    }

    /// Captures the file with this content; the status.
    fn capture(&self, content: &str) -> (i32, String) {
        fs::write(self.path("src/file"), content).unwrap();
        let (status, _, told) = self.run(&["snapshot"]);
        (status, told)
    }

    /// The hosts of the repository, and all contents that the file ever had for each of them.
    fn contents(&self, far: bool) -> (BTreeSet<String>, BTreeSet<String>) {
        let status: serde_json::Value = serde_json::from_str(&self.run(&["--json", "status"]).1).unwrap();
        let hosts: BTreeSet<String> =
            status["sources"].as_array().unwrap().iter().map(|s| s["host"].as_str().unwrap().to_owned()).collect();
        let mut contents = BTreeSet::new();
        for host in &hosts {
            self.settings(host, far);
            let file = self.path("src/file").display().to_string();
            for line in self.run(&["--json", "log", &file]).1.lines() {
                let version: serde_json::Value = serde_json::from_str(line).unwrap();
                let Some(at) = version["from"].as_str() else { continue };
                let (status, out, told) = self.run(&["cat", "--at", at, &file]);
                if status == 0 {
                    contents.insert(out);
                } else {
                    assert!(!told.contains("damage"), "{told}");
                }
            }
        }
        self.settings("pluto", far);
        (hosts, contents)
    }
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn in_turns(server: Option<&s3::Server>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(SOURCE)).unwrap();
    let (a, b) = (Machine::new(dir.path(), "a", server), Machine::new(dir.path(), "b", server));
    a.ok(&["init"]);
    assert_eq!(a.capture("a1").0, 0);
    assert_eq!(a.capture("a2").0, 0);
    // The second one takes over: the first may be gone for good.
    assert_eq!(b.capture("b1").0, 0);
    assert_eq!(b.capture("b2").0, 0);
    // It is not: it says so, once, and goes on under another name.
    let (status, told) = a.capture("a3");
    assert!(status == 3 && told.contains("has another writer"), "{status}: {told}");
    assert_eq!(a.capture("a4").0, 0);
    assert_eq!(b.capture("b3").0, 0, "the other one is not troubled");
    assert!(a.ok(&["status"]).contains("another writer under this name"));
    let all = set(&["a1", "a2", "a3", "a4", "b1", "b2", "b3"]);
    for machine in [&a, &b] {
        let (hosts, contents) = machine.contents(server.is_some());
        assert_eq!(contents, all, "{}", machine.name);
        assert!(hosts.len() == 2 && hosts.contains("pluto"), "{hosts:?}");
        assert_eq!(machine.ok(&["list"]).matches('~').count() > 0, machine.ok(&["list"]).contains("pluto~"));
    }
    let before = a.contents(server.is_some());
    for machine in [&a, &b] {
        machine.ok(&["index", "rebuild"]);
        assert_eq!(machine.contents(server.is_some()), before, "rebuilt");
        machine.ok(&["verify", "--read-data"]);
    }
    assert_eq!((a.capture("a5").0, b.capture("b4").0), (0, 0));
}

#[test]
fn two_that_write_in_turns_are_found_and_both_are_kept() {
    in_turns(None);
}

#[test]
fn the_same_over_an_object_store() {
    in_turns(Some(&s3::Server::start()));
}

/// Both continue the history after the same snapshot, neither seeing the other: one of them is away from the store.
#[test]
fn two_that_write_at_the_same_time_become_two_branches_on_every_host() {
    for first in ["a", "b"] {
        let dir = tempfile::tempdir().unwrap();
        let server = s3::Server::start();
        fs::create_dir(dir.path().join(SOURCE)).unwrap();
        let (a, b) = (Machine::new(dir.path(), "a", Some(&server)), Machine::new(dir.path(), "b", Some(&server)));
        a.ok(&["init"]);
        assert_eq!(a.capture("both").0, 0);
        b.ok(&["list"]);
        let (near, away) = if first == "a" { (&a, &b) } else { (&b, &a) };
        server.set(s3::Mode::Cut);
        for content in ["away1", "away2"] {
            let (status, told) = away.capture(content);
            assert!(status == 3 && told.contains("not stored yet"), "{told}");
        }
        server.set(s3::Mode::Up);
        for content in ["near1", "near2", "near3"] {
            assert!([0, 3].contains(&near.capture(content).0), "a new state directory takes over");
        }
        // Back: what it captured meanwhile is stored, as a branch.
        let _ = away.capture("away3");
        let _ = near.capture("near4");
        let (_, _) = (away.capture("away4"), near.capture("near5"));
        let all = set(&["both", "away1", "away2", "away3", "away4", "near1", "near2", "near3", "near4", "near5"]);
        for machine in [&a, &b] {
            machine.run(&["list"]);
            let (hosts, contents) = machine.contents(true);
            assert_eq!(contents, all, "{} after {first}: {hosts:?}", machine.name);
            assert!(hosts.len() >= 2, "{hosts:?}");
        }
        for machine in [&a, &b] {
            let (status, out, told) = machine.run(&["index", "rebuild"]);
            assert!([0, 3].contains(&status), "{out}{told}");
            let (hosts, contents) = machine.contents(true);
            assert_eq!(contents, all, "{} rebuilt, after {first}: {hosts:?}: {told}", machine.name);
        }
        // And a host that only looks.
        let c = Machine::new(dir.path(), "c", Some(&server));
        let (status, _, told) = c.run(&["list"]);
        assert!(status == 3 && told.contains("a second writer"), "{status}: {told}");
        assert_eq!(c.contents(true).1, all);
        c.ok(&["verify", "--read-data"]);
    }
}
