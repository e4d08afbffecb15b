//! `bygone status` as a person meets it, over a repository that grows.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bygone::sys::durable;
use serde_json::Value;

struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    /// A repository and one source `a`, not captured yet.
    fn new() -> Host {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        fs::create_dir(at.join("a")).unwrap();
        let settings = format!("host = \"here\"\nstate = {0:?}\n", at.join("state"));
        durable::replace(&at.join("bygone.toml"), settings.as_bytes(), 0o600).unwrap();
        let host = Host { dir };
        let key = host.path().join("key");
        host.run(&["init", "--key-file", key.to_str().unwrap()]);
        host.run(&["source", "add", host.path().join("a").to_str().unwrap()]);
        host
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.path().join("bygone.toml")).args(args);
        command.env_clear().env("HOME", self.path()).env("TZ", "UTC").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> String {
        let out = self.command(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().replace(self.path().to_str().unwrap(), "DIR")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        durable::replace(&self.path().join("a").join(name), bytes, 0o644).unwrap();
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["--json", "status"])).unwrap()
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut hash = blake3::Hasher::new().finalize_xof();
    let mut out = vec![0; len];
    hash.fill(&mut out);
    out
}

#[test]
fn what_a_repository_holds_is_added_up() {
    let host = Host::new();
    let before = host.status();
    assert_eq!(before["sources"][0]["path"], "DIR/a");
    assert_eq!(before["sources"][0]["history"], Value::Null);
    assert_eq!(before["stored"]["dedup_ratio"], Value::Null);
    assert!(host.run(&["status"]).contains("\n  snapshots   none yet\n  watched     by nobody\n"));

    host.write("one", &noise(100_000));
    host.write("same", &noise(100_000));
    host.write("zeros", &[0; 100_000]);
    fs::hard_link(host.path().join("a/one"), host.path().join("a/another")).unwrap();
    host.run(&["snapshot"]);
    host.write("one", b"short");
    host.run(&["snapshot"]);

    let after = host.status();
    let (stored, source) = (&after["stored"], &after["sources"][0]);
    assert_eq!(source["history"]["snapshots"], 2);
    assert_eq!(source["history"]["last"], 2);
    // The directory, `another` (the old content of `one`), `one`, `same` and `zeros`.
    assert_eq!((&source["history"]["entries"], &source["history"]["files"]), (&5.into(), &4.into()));
    assert_eq!(source["history"]["bytes"], 300_005);
    assert_eq!(source["history"]["version_bytes"], stored["version_bytes"]);
    let chunks = stored["chunk_bytes"].as_u64().unwrap();
    assert_eq!(chunks, 200_005, "the content of one and same is there once");
    let sealed = stored["sealed_bytes"].as_u64().unwrap();
    assert!((100_000..110_000).contains(&sealed), "{sealed}");
    assert!(stored["dedup_ratio"].as_f64().unwrap() >= 1.5 && stored["compression_ratio"].as_f64().unwrap() > 1.8);
    let on_disk = |name: &str| files(&host.path().join("state/repository").join(name));
    assert_eq!(
        (on_disk("packs"), on_disk("journal")),
        (pair(stored, "packs", "pack_bytes"), pair(stored, "journal_segments", "journal_bytes"))
    );
    assert_eq!(stored["journal_segments_not_in_index"], 0);
    assert!(after["index"]["bytes"].as_u64().unwrap() > 10_000);
    assert_eq!((&after["keys"], &after["damaged_keys"]), (&1.into(), &0.into()));

    host.run(&["source", "remove", host.path().join("a").to_str().unwrap()]);
    let text = host.run(&["status"]);
    assert!(text.contains("\nsource  here:DIR/a  (not protected any more)\n  snapshots   2, the last "), "{text}");
    assert!(text.contains("\n  now         4 files, 293.0 KiB\n"), "{text}");
}

fn pair(of: &Value, count: &str, bytes: &str) -> (u64, u64) {
    (of[count].as_u64().unwrap(), of[bytes].as_u64().unwrap())
}

/// How many files are below a directory, and their bytes.
fn files(dir: &Path) -> (u64, u64) {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).fold((0, 0), |(n, sum), path| {
        let (m, len) = if path.is_dir() { files(&path) } else { (1, path.metadata().unwrap().len()) };
        (n + m, sum + len)
    })
}

#[test]
fn a_lost_index_and_a_damaged_slot_are_told() {
    let host = Host::new();
    host.run(&["snapshot"]);
    fs::remove_dir_all(host.path().join("state").join(host.status()["id"].as_str().unwrap())).unwrap();
    let status = host.status();
    assert_eq!(status["stored"]["journal_segments_not_in_index"], 0, "it was filled from the journal");
    assert_eq!(status["sources"][0]["history"]["snapshots"], 1);
    let page = host.path().join("page");
    host.run(&["key", "export", "-o", page.to_str().unwrap()]);
    let listed = host.run(&["--json", "key", "list"]);
    let paper: Value =
        listed.lines().map(|l| serde_json::from_str(l).unwrap()).find(|v: &Value| v["label"] == "paper").unwrap();
    let slot = host.path().join("state/repository/keys").join(paper["id"].as_str().unwrap());
    durable::replace(&slot, b"damaged", 0o600).unwrap();
    let out = host.command(&["status"]).output().unwrap();
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8(out.stdout).unwrap().contains("1 slot damaged: `bygone key list` says why"));
}

/// Ends when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_watches_is_told_and_gaps_are_counted() {
    let host = Host::new();
    host.write("one", b"1");
    host.run(&["snapshot"]);
    let watch = Running(host.command(&["-q", "watch"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let watched = || Some(host.status()).filter(|s| s["sources"][0]["watch"]["state"] == "watched");
    let mut tries = std::iter::repeat_with(|| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        watched()
    });
    let status = tries.by_ref().take(300).flatten().next().expect("the watcher never said that it watches");
    let source = &status["sources"][0];
    assert_eq!(source["watch"]["pid"], watch.0.id());
    assert!(["fanotify", "inotify"].contains(&source["watch"]["watcher"].as_str().unwrap()));
    // The time between the snapshot and the watch is a gap of the whole source.
    assert_eq!((&source["history"]["gaps"], &source["history"]["gaps_recent"]), (&1.into(), &1.into()));
    assert_eq!(source["history"]["last_gaps"][0]["path"], "DIR/a");
    let (b, pid) = (host.path().join("b"), watch.0.id());
    fs::create_dir(&b).unwrap();
    let b = b.to_str().unwrap();
    let told = host.run(&["source", "add", b]);
    assert!(told.contains(&format!("process {pid} watches other sources and does not take it up")), "{told}");
    let told: Value = serde_json::from_str(&host.run(&["--json", "source", "remove", b])).unwrap();
    assert_eq!((&told["removed"][0], &told["restart"]), (&"DIR/b".into(), &Value::Array(Vec::new())));
    let a = host.path().join("a");
    let told = host.run(&["source", "remove", a.to_str().unwrap()]);
    assert!(told.contains(&format!("process {pid} goes on capturing it until it is stopped")), "{told}");
    host.run(&["source", "add", a.to_str().unwrap()]);
    let text = host.run(&["status"]);
    assert!(text.contains(&format!(", process {}\n", watch.0.id())), "{text}");
    assert!(text.contains("\n  gaps        1, 1 in the last 7 days\n    "), "{text}");
    // It lies between the version of a file and now.
    let one = host.path().join("a/one");
    let log = host.run(&["log", one.to_str().unwrap()]);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("  gap of DIR/a since ") && lines[1].contains("  created "), "{log}");
    let json = host.run(&["--json", "log", one.to_str().unwrap()]);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["what"], &first["path"]), (&"gap".into(), &"DIR/a".into()), "{json}");
    drop(watch);
    let after = host.status();
    assert_eq!(after["sources"][0]["watch"]["state"], "unwatched");
    assert!(after["sources"][0]["watch"]["last"]["pid"].is_u64());
}
