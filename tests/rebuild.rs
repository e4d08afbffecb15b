//! The index made anew from the repository and a key, where sources share content.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

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
