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
    fn contents(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let status: serde_json::Value = serde_json::from_str(&self.run(&["--json", "status"]).1).unwrap();
        let hosts: BTreeSet<String> =
            status["sources"].as_array().unwrap().iter().map(|s| s["host"].as_str().unwrap().to_owned()).collect();
        let mut contents = BTreeSet::new();
        for host in &hosts {
            let file = self.path("src/file").display().to_string();
            for line in self.run(&["--json", "log", "--host", host, &file]).1.lines() {
                let version: serde_json::Value = serde_json::from_str(line).unwrap();
                let Some(at) = version["from"].as_str() else { continue };
                let (status, out, told) = self.run(&["cat", "--host", host, "--at", at, &file]);
                if status == 0 {
                    contents.insert(out);
                } else {
                    assert!(!told.contains("damage"), "{told}");
                }
            }
        }
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
        let (hosts, contents) = machine.contents();
        assert_eq!(contents, all, "{}", machine.name);
        assert!(hosts.len() == 2 && hosts.contains("pluto"), "{hosts:?}");
        assert_eq!(machine.ok(&["list"]).matches('~').count() > 0, machine.ok(&["list"]).contains("pluto~"));
    }
    let before = a.contents();
    for machine in [&a, &b] {
        machine.ok(&["index", "rebuild"]);
        assert_eq!(machine.contents(), before, "rebuilt");
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
            let (hosts, contents) = machine.contents();
            assert_eq!(contents, all, "{} after {first}: {hosts:?}", machine.name);
            assert!(hosts.len() >= 2, "{hosts:?}");
        }
        for machine in [&a, &b] {
            let (status, out, told) = machine.run(&["index", "rebuild"]);
            assert!([0, 3].contains(&status), "{out}{told}");
            let (hosts, contents) = machine.contents();
            assert_eq!(contents, all, "{} rebuilt, after {first}: {hosts:?}: {told}", machine.name);
        }
        // And a host that only looks.
        let c = Machine::new(dir.path(), "c", Some(&server));
        let (status, _, told) = c.run(&["list"]);
        assert!(status == 3 && told.contains("a second writer"), "{status}: {told}");
        assert_eq!(c.contents().1, all);
        c.ok(&["verify", "--read-data"]);
    }
}

/// A mount that goes with it.
struct Mounted<'a> {
    machine: &'a Machine<'a>,
    dir: String,
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.machine.run(&["umount", &self.dir]);
    }
}

/// After a fork each machine sees its own history where nothing else is said, and the other's by its name.
#[test]
fn what_a_machine_shows_of_a_forked_history_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(SOURCE)).unwrap();
    let (a, b) = (Machine::new(dir.path(), "a", None), Machine::new(dir.path(), "b", None));
    let file = a.path("src/file").display().to_string();
    let src = a.path(SOURCE).display().to_string();
    a.ok(&["init"]);
    assert_eq!((a.capture("a1").0, b.capture("b1").0), (0, 0));
    assert_eq!((a.capture("a2").0, a.capture("a3").0, b.capture("b2").0), (3, 0, 0));
    a.ok(&["list"]);
    for (machine, newest) in [(&a, "a3"), (&b, "b2")] {
        assert_eq!(machine.ok(&["cat", &file]), newest, "{}", machine.name);
        assert_eq!(machine.ok(&["cat", "--at", "now", &file]), newest, "{}", machine.name);
        let to = machine.path(&format!("to-{}", machine.name)).display().to_string();
        machine.ok(&["restore", &file, "--at", "latest", "--to", &to]);
        assert_eq!(fs::read_to_string(Path::new(&to).join("file")).unwrap(), newest);
        let times = |log: String| log.lines().filter(|l| l.contains("\"what\"")).count();
        assert_eq!(times(machine.ok(&["--json", "log", &file])), if newest == "a3" { 4 } else { 3 });
    }
    let other = a.ok(&["cat", "--host", "pluto", &file]);
    assert_eq!(other, "b2");
    assert_eq!(a.ok(&["find", "file", "--host", "pluto", "--ever"]).lines().count(), 1);
    let name = a.ok(&["--json", "list"]);
    let name = name.lines().find_map(|l| Some(format!("pluto~{}", l.split_once("pluto~")?.1.get(..8)?))).unwrap();
    assert_eq!(b.ok(&["cat", "--host", &name, &file]), "a3");
    assert_eq!(a.ok(&["list", "--host", &name]).lines().count(), 2);
    let (status, _, told) = a.run(&["cat", "--host", "venus", &file]);
    assert!(status == 1 && told.contains("no host venus") && told.contains(&name), "{told}");

    if rustix::process::geteuid().is_root() {
        let mnt = a.path("mnt");
        let mounted = Mounted { machine: &a, dir: mnt.display().to_string() };
        a.ok(&["mount", &mounted.dir]);
        let read = |at: &str| fs::read_to_string(format!("{}/{at}{file}", mnt.display())).unwrap();
        assert_eq!((read("@latest"), read("hosts/pluto/@latest")), ("a3".into(), "b2".into()));
        assert_eq!(read(&format!("hosts/{name}/@latest")), "a3");
        assert!(fs::read_dir(mnt.join("timeline")).unwrap().count() > 0);
    }

    // In place: what is there counts as held by its own newest snapshot, whosever history is restored.
    fs::write(&file, "a3").unwrap();
    let (status, out, told) = a.run(&["restore", &src, "--at", "latest", "--in-place", "--host", "pluto"]);
    assert_eq!((status, fs::read_to_string(&file).unwrap().as_str()), (0, "b2"), "{out}{told}");
    assert_eq!(a.run(&["restore", &src, "--at", "latest", "--in-place"]).0, 0);

    // How the source stands is how its own history does.
    let status: serde_json::Value = serde_json::from_str(&a.ok(&["--json", "status"])).unwrap();
    let sources = status["sources"].as_array().unwrap();
    let of = |host: &str| sources.iter().find(|s| s["host"] == host).unwrap();
    assert_eq!((&of(&name)["configured"], &of("pluto")["of_another_writer"]), (&true.into(), &true.into()));
    let (status, out, _) = a.run(&["health"]);
    assert!(status == 3 && out.contains("forked") && out.contains(&name), "{status}: {out}");
    let (status, out, _) = b.run(&["health"]);
    assert!(!out.contains("forked"), "{status}: {out}");
}

/// Two that began with one state, at the same moment: exactly one of them keeps the name, and all see the same afterwards.
#[test]
fn copies_of_a_state_that_write_at_once_part() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(SOURCE)).unwrap();
    let (a, b) = (Machine::new(dir.path(), "a", None), Machine::new(dir.path(), "b", None));
    a.ok(&["init"]);
    assert_eq!(a.capture("both").0, 0);
    let copied = Command::new("cp").arg("-a").arg(a.path("state-a")).arg(a.path("state-b")).status().unwrap();
    assert!(copied.success());
    let mut told = Vec::new();
    for round in 0..5 {
        fs::write(a.path("src/file"), format!("round {round}")).unwrap();
        let began = [&a, &b].map(|machine| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
            command.arg("--config").arg(machine.path(&format!("{}.toml", machine.name))).arg("snapshot").env_clear();
            command.env("HOME", machine.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        });
        for child in began {
            let out = child.wait_with_output().unwrap();
            told.push((out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned()));
        }
    }
    // Whatever they saw of each other in those moments, they have parted by now.
    let mut parted = [a.capture("a"), b.capture("b")];
    parted[0] = a.capture("a, alone");
    assert_eq!((parted[0].0, b.capture("b, alone").0), (0, 0), "{parted:?} {told:?}");
    let own: Vec<bool> =
        [&a, &b].iter().map(|m| m.ok(&["status"]).contains("of another writer under this name")).collect();
    assert!(own.contains(&true), "{own:?} {told:?}");
    let c = Machine::new(dir.path(), "c", None);
    let (all, hosts) = {
        c.run(&["list"]);
        let (hosts, contents) = c.contents();
        (contents, hosts)
    };
    let mut want: BTreeSet<String> = (0..5).map(|round| format!("round {round}")).collect();
    want.extend(set(&["both", "a", "b", "a, alone", "b, alone"]));
    assert_eq!(all, want, "{hosts:?}");
    for machine in [&a, &b] {
        machine.run(&["list"]);
        assert_eq!(machine.contents(), (hosts.clone(), all.clone()), "{}: {told:?}", machine.name);
        machine.ok(&["verify", "--read-data"]);
    }
}

#[test]
fn a_source_that_has_become_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(SOURCE)).unwrap();
    fs::create_dir(dir.path().join("secret")).unwrap();
    fs::write(dir.path().join("secret/file"), "secret").unwrap();
    let a = Machine::new(dir.path(), "a", None);
    a.ok(&["init"]);
    assert_eq!(a.capture("a1").0, 0);
    fs::rename(a.path("src"), a.path("aside")).unwrap();
    std::os::unix::fs::symlink(a.path("secret"), a.path("src")).unwrap();
    let (status, _, told) = a.run(&["snapshot"]);
    assert!(status == 1 && told.contains("is reached through a symbolic link now"), "{status}: {told}");
    assert_eq!(a.contents().1, set(&["a1"]));
    fs::remove_file(a.path("src")).unwrap();
    fs::rename(a.path("aside"), a.path("src")).unwrap();
    assert_eq!(a.capture("a2").0, 0);
    // One that was a link from the first may be led elsewhere by it.
    let b = Machine::new(dir.path(), "b", None);
    b.settings("venus", false);
    let text = fs::read_to_string(b.path("b.toml")).unwrap().replace("/src\"", "/link\"");
    fs::write(b.path("b.toml"), text).unwrap();
    for to in ["src", "secret"] {
        let _ = fs::remove_file(b.path("link"));
        std::os::unix::fs::symlink(b.path(to), b.path("link")).unwrap();
        b.ok(&["snapshot"]);
    }
    assert_eq!(b.ok(&["cat", &b.path("link/file").display().to_string()]), "secret");
}
