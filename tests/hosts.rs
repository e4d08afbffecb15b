//! Several hosts in one repository at the same time: what one collects while another captures or verifies is no damage to anybody.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// So often the first host does its part, while the second does its own all the time.
const ROUNDS: u32 = 8;

/// A host with a source, settings and a state of its own, in a repository of all.
struct Host {
    dir: PathBuf,
    name: &'static str,
}

impl Host {
    fn new(dir: &Path, name: &'static str) -> Host {
        let host = Host { dir: dir.canonicalize().unwrap(), name };
        fs::create_dir(host.source()).unwrap();
        let path = |name: &str| host.dir.join(name);
        let text = format!(
            "repository = {:?}\nstate = {:?}\nhost = {name:?}\n[key]\nfile = {:?}\n[limits]\npressure = false\n[retention]\nevery = \
             \"1s\"\n[[source]]\npath = {:?}\n",
            path("repo"),
            path(&format!("state-{name}")),
            path("key"),
            host.source()
        );
        fs::write(path(&format!("{name}.toml")), text).unwrap();
        host
    }

    fn source(&self) -> PathBuf {
        self.dir.join(format!("src-{}", self.name))
    }

    fn ok(&self, args: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.dir.join(format!("{}.toml", self.name))).args(args).env_clear();
        let out = command.env("HOME", &self.dir).stdin(Stdio::null()).output().unwrap();
        let told = [out.stdout, out.stderr].concat();
        assert!(out.status.success(), "{} {args:?}: {}: {}", self.name, out.status, String::from_utf8_lossy(&told));
    }

    /// Captures something new, in small pieces, so that there is always something to collect.
    fn capture(&self, n: u32) {
        fs::write(self.source().join(format!("f{}", n % 5)), format!("{} {n}", self.name).repeat(2000)).unwrap();
        self.ok(&["snapshot"]);
    }
}

/// Two hosts that both have captured.
fn two(dir: &Path) -> (Host, Host) {
    let (a, b) = (Host::new(dir, "a"), Host::new(dir, "b"));
    a.ok(&["init"]);
    a.capture(0);
    b.capture(0);
    (a, b)
}

/// Does the one while the other goes on and on.
fn beside(one: impl FnOnce(), other: impl Fn(u32) + Sync) {
    let stop = AtomicBool::new(false);
    /// Also where the test fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| (1..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(&other));
        let _ends = Stop(&stop);
        one();
    });
}

#[test]
fn a_host_is_one_also_where_its_first_captures_go_on_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path(), "a");
    let settings = host.dir.join("a.toml");
    let sources: Vec<String> = (0..6).map(|n| host.dir.join(format!("more-{n}")).display().to_string()).collect();
    let mut text = fs::read_to_string(&settings).unwrap();
    for source in &sources {
        fs::create_dir(source).unwrap();
        text.push_str(&format!("[[source]]\npath = {source:?}\n"));
    }
    fs::write(&settings, text).unwrap();
    host.ok(&["init"]);
    thread::scope(|scope| sources.iter().for_each(|source| drop(scope.spawn(|| host.ok(&["snapshot", source])))));
    let hosts = fs::read_dir(host.dir.join("repo/gc")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let ids: std::collections::BTreeSet<String> =
        hosts.filter(|name| name.starts_with("host-")).map(|name| name[5..37].to_owned()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    host.ok(&["maintain", "--thorough"]);
}

#[test]
fn one_collects_while_another_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path());
    let collect = || {
        for round in 0..ROUNDS {
            (0..3).for_each(|n| a.capture(round * 3 + n));
            a.ok(&["maintain", "--thorough"]);
        }
    };
    beside(collect, |n| b.ok(if n % 2 == 0 { &["verify"] } else { &["verify", "--read-data"] }));
    for host in [&a, &b] {
        host.ok(&["verify", "--read-data"]);
    }
}

#[test]
fn one_captures_while_another_collects() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path());
    let collect = |n| {
        b.capture(n);
        b.ok(&["maintain", "--thorough"]);
    };
    beside(|| (0..4 * ROUNDS).for_each(|n| a.capture(n)), collect);
    for host in [&a, &b] {
        host.ok(&["verify", "--read-data"]);
    }
}
