//! Looking back from the command line: list, log, diff, find and cat over a small history.

#![allow(clippy::disallowed_methods, reason = "a test changes the directory that is captured")]

use bygone::sys::durable;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Case {
    dir: tempfile::TempDir,
    /// The times of the snapshots, as names.
    times: Vec<String>,
}

impl Case {
    /// Three snapshots of a small tree.
    fn new() -> Case {
        let case = Case { dir: tempfile::tempdir().unwrap(), times: Vec::new() };
        let dir = case.dir.path();
        let key = dir.join("key");
        let settings =
            format!("repository = {:?}\nstate = {:?}\n[key]\nfile = {key:?}\n", dir.join("repo"), dir.join("state"));
        durable::replace(&dir.join("bygone.toml"), settings.as_bytes(), 0o600).unwrap();
        fs::create_dir_all(dir.join("src/docs/old")).unwrap();
        case.write("docs/thesis.txt", "one\n");
        case.write("docs/old/notes", "n\n");
        case.write("gone", "g\n");
        case.write("same", "s\n");
        case.ok(&["init", "--key-file", key.to_str().unwrap()]);
        case.ok(&["source", "add", &case.path("")]);
        case.ok(&["snapshot"]);
        fs::rename(dir.join("src/docs"), dir.join("src/papers")).unwrap();
        case.write("papers/thesis.txt", "one and two\n");
        fs::remove_file(dir.join("src/gone")).unwrap();
        durable::replace(&dir.join("src").join(OsStr::from_bytes(b"bad\xff\n")), b"b", 0o644).unwrap();
        case.ok(&["snapshot"]);
        fs::remove_dir_all(dir.join("src/papers/old")).unwrap();
        case.write("same", "s again\n");
        case.ok(&["snapshot"]);
        let times = case.json(&["list"]).iter().map(|v| v["time"].as_str().unwrap().to_owned()).collect();
        Case { times, ..case }
    }

    fn write(&self, name: &str, text: &str) {
        fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(self.dir.path().join("src").join(name))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .unwrap();
    }

    fn path(&self, name: &str) -> String {
        let root: PathBuf = self.dir.path().canonicalize().unwrap().join("src");
        if name.is_empty() { root.to_str().unwrap().into() } else { root.join(name).to_str().unwrap().into() }
    }

    fn raw(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.dir.path().join("bygone.toml")).args(args);
        command.env_clear().env("HOME", self.dir.path()).env("TZ", "UTC").stdin(Stdio::null());
        command.current_dir(self.dir.path().join("src")).output().unwrap()
    }

    /// Status, output and errors, the root of the source called SRC and the times T1, T2 and T3.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.raw(args);
        let text = |bytes: Vec<u8>| {
            let mut text = String::from_utf8(bytes).unwrap().replace(&self.path(""), "SRC");
            for (n, time) in self.times.iter().enumerate() {
                let shown = format!("{} {} +00:00", &time[..10], &time[11..23]);
                text = text.replace(&shown, &format!("T{}", n + 1));
            }
            text
        };
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn ok(&self, args: &[&str]) -> String {
        let (status, out, told) = self.run(args);
        assert_eq!((status, told.as_str()), (0, ""), "{args:?}: {out}");
        out
    }

    fn json(&self, args: &[&str]) -> Vec<Value> {
        let out = self.raw(&[&["--json"], args].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn a_history_is_told() {
    let case = Case::new();
    let [t1, t2, t3] = [0, 1, 2].map(|n| case.times[n].as_str());

    let listed = case.ok(&["list"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.starts_with("T1  SRC  full  "), "{listed}");
    assert_eq!(case.ok(&["list", "-n", "1"]).lines().count(), 1);
    assert!(case.ok(&["list", "--by-source"]).starts_with("SRC  T1 to T3  3 snapshot(s): "));
    assert_eq!(case.ok(&["list", "--since", t1, "--until", t2]).lines().count(), 1);

    assert_eq!(
        case.ok(&["diff", t1, t2]),
        "+ SRC/bad\\xff\\n\n- SRC/gone\nR SRC/docs -> SRC/papers/\nM SRC/papers/thesis.txt  (content, mtime)\n"
    );
    assert_eq!(case.ok(&["diff", t2, t3]), "- SRC/papers/old/\n- SRC/papers/old/notes\nM SRC/same  (content, mtime)\n");
    assert_eq!(case.ok(&["diff", t3, t2, "papers"]), "+ SRC/papers/old/\n+ SRC/papers/old/notes\n");
    assert_eq!(case.ok(&["diff", t1, t1]), "");
    let stat = case.ok(&["diff", "--stat", t1, t3]);
    assert!(stat.contains("renamed         1"), "{stat}");
    let bad = case.json(&["diff", t1, t2]).into_iter().find(|c| c["change"] == "added").unwrap();
    let end = bad["path"]["bytes_base64"].as_str().unwrap();
    assert!(data_encoding::BASE64.decode(end.as_bytes()).unwrap().ends_with(b"/bad\xff\n"));

    let log = case.ok(&["log", "papers/thesis.txt"]);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].starts_with("T2  renamed") && lines[0].ends_with("from SRC/docs/thesis.txt  (content, mtime)"),
        "{log}"
    );
    assert!(lines[1].starts_with("T1  created") && lines[1].ends_with("at SRC/docs/thesis.txt"), "{log}");
    let log = case.ok(&["log", &case.path("docs/thesis.txt")]);
    assert!(log.starts_with("T2  left") && log.contains("for SRC/papers/thesis.txt"), "{log}");
    assert!(case.ok(&["log", "gone"]).starts_with("T2  removed"));

    assert_eq!(case.ok(&["find", "t*.txt"]), "SRC/papers/thesis.txt\n");
    assert_eq!(case.ok(&["find", "docs/*.txt", "--at", t1]), "SRC/docs/thesis.txt\n");
    let deleted = case.ok(&["find", "*", "--deleted"]);
    let mut deleted: Vec<&str> = deleted.lines().collect();
    deleted.sort();
    assert_eq!(deleted, ["SRC/gone  (until T2)", "SRC/papers/old/  (until T3)", "SRC/papers/old/notes  (until T3)"]);
    assert!(case.ok(&["find", "notes", "--ever"]).contains("SRC/papers/old/notes"));
    let null = case.raw(&["find", "-0", "bad*"]).stdout;
    assert!(null.ends_with(b"/bad\xff\n\0"));

    assert_eq!(case.ok(&["cat", "docs/thesis.txt", "--at", t1]), "one\n");
    assert_eq!(case.ok(&["cat", "./x/../papers/thesis.txt"]), "one and two\n");
}

#[test]
fn what_is_not_there_is_explained() {
    let case = Case::new();
    let t1 = case.times[0].clone();
    let told = |args: &[&str], wanted: i32| {
        let (status, out, told) = case.run(args);
        assert_eq!((status, out.as_str()), (wanted, ""), "{args:?}: {told}");
        told
    };
    let gone = told(&["cat", "gone"], 1);
    assert!(gone.contains("SRC/gone was not there at latest"), "{gone}");
    assert!(gone.contains("it was there from T1 until T2; `bygone log SRC/gone`"), "{gone}");
    assert!(told(&["cat", "papers/thesis.txt", "--at", &t1], 1).contains("it is there since T2"));
    assert!(told(&["cat", "papers"], 1).contains("was a directory"));
    assert!(told(&["cat", "never"], 1).contains("no snapshot has it"));
    assert!(told(&["cat", "/elsewhere/x"], 1).contains("lies in no source"));
    let early = told(&["cat", "gone", "--at", "2001"], 1);
    assert!(early.contains("the first snapshot is of T1"), "{early}");
    assert!(told(&["log", "never"], 1).contains("was never captured"));
    assert!(told(&["diff", "2001", "2002"], 1).contains("nothing of the host"));
    assert!(told(&["cat", "gone", "--at", "whenever"], 2).contains("cannot take"));
    assert!(told(&["find", "a["], 2).contains("cannot use the pattern"));
}

#[test]
fn damage_is_named() {
    let case = Case::new();
    for pack in packs(&case.dir.path().join("repo/packs")) {
        let mut bytes = fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[40..middle].iter_mut().for_each(|b| *b ^= 1);
        durable::replace(&pack, &bytes, 0o600).unwrap();
    }
    let (status, out, told) = case.run(&["cat", "same"]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(
        told.contains("cannot print SRC/same past byte 0") && told.contains("packs/") && told.contains("frame"),
        "{told}"
    );
    assert!(told.contains("`bygone verify`"), "{told}");
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    let below = |dir: &Path| fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    below(dir).iter().flat_map(|dir| below(dir)).collect()
}
