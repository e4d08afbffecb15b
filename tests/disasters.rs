//! Simulated disasters, by the real program: each is broken, recovered as the documentation says, and compared byte for byte.

use serde_json::Value;
use std::process::{Command, Stdio};

fn rehearse(name: &str) -> Option<Value> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    // A real repository is never looked at: these settings would be refused if they were read.
    command.args(["--config", "/nonexistent/bygone.toml", "--json", "disaster", name, "--in"]).arg(dir.path());
    let out = command.env("BYGONE_CONFIG", "/nonexistent").stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    if told.contains("takes root") {
        eprintln!("not tested: {name} takes root");
        return None;
    }
    assert_eq!(out.status.code(), Some(0), "{name}: {told}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{name}: nothing stays");
    Some(serde_json::from_slice(&out.stdout).unwrap())
}

fn recovers(name: &str) {
    let Some(told) = rehearse(name) else { return };
    assert_eq!((&told["disaster"], &told["recovered"]), (&name.into(), &true.into()), "{told}");
    assert!(told["files"].as_u64().unwrap() >= 60, "{told}");
    assert!(!told["done"].as_array().unwrap().is_empty(), "{told}");
}

macro_rules! each {
    ($($test:ident: $name:literal),*) => { $(#[test] fn $test() { recovers($name); })* };
}

each!(
    lost_index: "lost-index",
    lost_host: "lost-host",
    lost_site: "lost-site",
    damaged_packs: "damaged-packs",
    read_only_store: "read-only-store",
    lying_store: "lying-store",
    expired_credentials: "expired-credentials",
    encrypted_files: "encrypted-files",
    wrong_clock: "wrong-clock",
    key_lost_with_paper: "key-lost-with-paper"
);

#[test]
fn without_any_key_nothing_helps_and_it_says_so() {
    let told = rehearse("key-lost-without-paper").unwrap();
    assert_eq!((&told["recovered"], &told["files"]), (&false.into(), &0.into()), "{told}");
    assert!(told["told"].as_str().unwrap().starts_with("nothing helps"), "{told}");
}

#[test]
fn one_that_there_is_not_is_refused_with_all_that_there_are() {
    let out = Command::new(env!("CARGO_BIN_EXE_bygone")).args(["disaster", "flood"]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(2) && told.contains("key-lost-without-paper"), "{told}");
}
