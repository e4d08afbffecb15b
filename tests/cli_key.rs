//! Keys as a person meets them: slots added, listed, removed and exported, and what is refused.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bygone::sys::durable;

/// bygone with the settings `<dir>/bygone.toml`, and nothing from outside.
fn bygone(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    command.arg("--config").arg(dir.join("bygone.toml")).args(args);
    command.env_clear().env("HOME", dir).env("TZ", "UTC").stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = bygone(dir, args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(dir.to_str().unwrap(), "DIR");
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A directory with a repository that `DIR/key` opens, and a passphrase in `DIR/phrase`.
fn repository() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let key = dir.join("key");
    let repo = dir.join("repo");
    let state = format!("state = {:?}\n", dir.join("state"));
    durable::replace(&dir.join("bygone.toml"), state.as_bytes(), 0o600).unwrap();
    durable::replace(&dir.join("phrase"), b"correct horse\n", 0o600).unwrap();
    let made = run(dir, &["init", "--repo", repo.to_str().unwrap(), "--key-file", key.to_str().unwrap()]);
    assert_eq!(made.0, 0, "{}", made.2);
    temp
}

/// The ids, kinds and labels of the slots.
fn slots(dir: &Path) -> Vec<(String, String, String)> {
    let (status, out, told) = run(dir, &["--json", "key", "list"]);
    assert_eq!((status, told.as_str()), (0, ""));
    let field = |line: &str, name: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()[name].as_str().unwrap().to_owned()
    };
    out.lines().map(|l| (field(l, "id"), field(l, "kind"), field(l, "label"))).collect()
}

fn id_of(dir: &Path, kind: &str) -> String {
    slots(dir).into_iter().find(|s| s.1 == kind).unwrap().0
}

#[test]
fn a_passphrase_and_a_key_file_are_second_ways_in() {
    let temp = repository();
    let dir = temp.path();
    let phrase = dir.join("phrase");
    let (status, out, told) =
        run(dir, &["key", "add", "--passphrase-file", phrase.to_str().unwrap(), "--label", "mine"]);
    assert_eq!((status, told.as_str()), (0, ""));
    let id = id_of(dir, "passphrase");
    assert_eq!(out, format!("added a passphrase as slot {id}\n"));
    let second = dir.join("second");
    let (status, out, _) = run(dir, &["key", "add", "--key-file", second.to_str().unwrap()]);
    assert!(status == 0 && out.starts_with("made the key file DIR/second: keep a copy of it elsewhere\n"), "{out}");
    assert_eq!(slots(dir).len(), 3);
    let (_, listed, _) = run(dir, &["key", "list"]);
    let line = listed.lines().find(|l| l.starts_with(&id[..8])).unwrap();
    assert!(line.contains("passphrase") && line.ends_with(" +00:00  mine"), "{line}");

    // Each opens: settings that know only it can add a slot.
    for (name, from) in [("phrase", "passphrase-file"), ("second", "file")] {
        let other = dir.join(name).to_str().unwrap().to_owned();
        let settings =
            format!("repository = \"{0}/repo\"\nstate = \"{0}/s2\"\n[key]\n{from} = \"{other}\"\n", dir.display());
        durable::replace(&dir.join("other.toml"), settings.as_bytes(), 0o600).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(dir.join("other.toml")).args(["key", "export", "--label", name]);
        let done = command.env_clear().env("HOME", dir).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    assert_eq!(slots(dir).len(), 5);

    let nowhere = dir.join("nodir/k");
    let (status, _, told) = run(dir, &["key", "add", "--key-file", nowhere.to_str().unwrap()]);
    assert!(status == 1 && told.contains("DIR/nodir/k: there is no such directory"), "{told}");
    assert!(!dir.join("nodir").exists());
    let (status, _, told) = run(dir, &["key", "add", "--key-file", second.to_str().unwrap()]);
    assert!(status == 1 && told.starts_with("error: this key opens the repository already, by the slot "), "{told}");
}

#[test]
fn a_page_on_paper_opens_and_is_written_once() {
    let temp = repository();
    let dir = temp.path();
    let (status, page, told) = run(dir, &["key", "export"]);
    assert_eq!((status, told.as_str()), (0, ""));
    assert!(page.starts_with("A KEY FOR A BYGONE REPOSITORY\n") && page.contains("\n    BYGONE-KEY-1\n"), "{page}");
    // The page, saved, is a key file: with it the slot of the settings can go.
    durable::replace(&dir.join("page"), page.as_bytes(), 0o600).unwrap();
    let settings = fs::read_to_string(dir.join("bygone.toml")).unwrap();
    let first = id_of(dir, "key file");
    let (status, _, told) = run(dir, &["key", "remove", &first[..6]]);
    assert!(
        status == 1 && told.contains("is the one by which the settings DIR/bygone.toml open the repository"),
        "{told}"
    );
    let settings = settings.replace(dir.join("key").to_str().unwrap(), dir.join("page").to_str().unwrap());
    durable::replace(&dir.join("bygone.toml"), settings.as_bytes(), 0o600).unwrap();
    let (status, out, told) = run(dir, &["key", "remove", &first[..6]]);
    assert_eq!((status, told.as_str()), (0, ""));
    let removed = format!(
        "removed the slot {first}: its key opens nothing any more\nwhere somebody else may have used it, run `bygone key rotate`"
    );
    assert!(out.starts_with(&removed), "{out}");

    let paper = slots(dir);
    assert_eq!(paper.iter().map(|s| (s.1.as_str(), s.2.as_str())).collect::<Vec<_>>(), [("key on paper", "paper")]);
    let (status, _, told) = run(dir, &["key", "remove", &paper[0].0]);
    assert!(status == 1 && told.contains("is the last one that can open the repository, and stays"), "{told}");

    let (status, out, _) = run(dir, &["key", "export", "-o", dir.join("two").to_str().unwrap()]);
    assert!(status == 0 && out.starts_with("wrote a key to DIR/two (slot "), "{out}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.join("two")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let (status, _, told) = run(dir, &["key", "export", "-o", dir.join("two").to_str().unwrap()]);
    assert!(status == 1 && told.starts_with("error: DIR/two is there already, and is not replaced"), "{told}");
    assert_eq!(slots(dir).len(), 2);
}

#[test]
fn a_page_that_nobody_read_leaves_no_slot() {
    let temp = repository();
    let dir = temp.path();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let out = bygone(dir, &["key", "export"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(bygone(dir, &["key", "export"]).stdout(full).output().unwrap().status.code(), Some(1));
    let nowhere = dir.join("nowhere/page");
    assert_eq!(run(dir, &["key", "export", "-o", nowhere.to_str().unwrap()]).0, 1);
    assert_eq!(slots(dir).len(), 1);
}

#[test]
fn damaged_slots_are_listed_and_do_not_count() {
    let temp = repository();
    let dir = temp.path();
    let (status, ..) = run(dir, &["key", "export", "-o", dir.join("page").to_str().unwrap()]);
    assert_eq!(status, 0);
    let (good, bad) = (id_of(dir, "key file"), id_of(dir, "key on paper"));
    let path = dir.join("repo/keys").join(&bad);
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    durable::replace(&path, &bytes, 0o600).unwrap();
    let (status, out, told) = run(dir, &["key", "list"]);
    assert_eq!((status, told.as_str()), (3, ""));
    assert!(out.contains(&format!("{}  cannot be used: the key slot is damaged", &bad[..8])), "{out}");
    assert!(out.contains(&format!("{}  key file", &good[..8])), "{out}");
    let (status, _, told) = run(dir, &["key", "remove", &good]);
    assert!(status == 1 && told.contains("is the last one that can open the repository"), "{told}");
    assert_eq!(run(dir, &["key", "remove", &bad]).0, 0);
    assert_eq!(run(dir, &["key", "list"]).0, 0);
    // A slot under another slot's name is none.
    let other = "0".repeat(32);
    fs::copy(dir.join("repo/keys").join(&good), dir.join("repo/keys").join(&other)).unwrap();
    let (status, out, _) = run(dir, &["key", "list"]);
    assert!(status == 3 && out.contains(&format!("its text is that of the slot {good}")), "{out}");
}

#[test]
fn a_damaged_slot_is_named_by_its_object() {
    let temp = repository();
    let dir = temp.path();
    let slot = fs::read_dir(dir.join("repo/keys")).unwrap().next().unwrap().unwrap().path();
    fs::write(&slot, "nothing").unwrap();
    let (status, _, told) = run(dir, &["list"]);
    let name = format!("keys/{}: the key slot is damaged", slot.file_name().unwrap().to_str().unwrap());
    assert!(status == 1 && told.contains(&name), "{told}");
}

#[test]
fn a_key_that_opens_nothing_is_told_with_a_line_for_each_slot() {
    let temp = repository();
    let dir = temp.path();
    let (phrase, other) = (dir.join("phrase"), dir.join("other"));
    let (status, out, told) =
        run(dir, &["--json", "key", "add", "--passphrase-file", phrase.to_str().unwrap(), "--label", "horse"]);
    assert_eq!((status, told.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["key"], serde_json::json!({ "passphrase-file": "DIR/phrase" }));
    durable::replace(&other, b"wrong\n", 0o600).unwrap();
    let settings = format!(
        "repository = {:?}\nstate = {:?}\n[key]\npassphrase-file = {other:?}\n",
        dir.join("repo"),
        dir.join("state")
    );
    durable::replace(&dir.join("bygone.toml"), settings.as_bytes(), 0o600).unwrap();
    let (status, _, told) = run(dir, &["list"]);
    let slots: Vec<&str> = told.lines().filter(|l| l.starts_with("    ")).collect();
    assert!(status == 1 && slots.len() == 2, "{told}");
    assert!(
        slots.iter().any(|l| l.contains("(\"horse\")")) && slots.iter().any(|l| l.contains("(\"first\")")),
        "{told}"
    );
}

#[test]
fn ids_that_name_no_slot_are_refused() {
    let temp = repository();
    let dir = temp.path();
    assert_eq!(run(dir, &["key", "remove", "xyz"]).0, 2);
    assert_eq!(run(dir, &["key", "remove", ""]).0, 2);
    let (status, _, told) = run(dir, &["key", "remove", &"0".repeat(32)]);
    assert!(status == 1 && told.starts_with("error: no key slot has an id that begins with 0000"), "{told}");
    fs::remove_dir_all(dir.join("repo")).unwrap();
    let (status, _, told) = run(dir, &["key", "list"]);
    assert!(status == 1 && told.contains("holds no repository"), "{told}");
}
