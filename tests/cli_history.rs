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
        let case = Case::empty();
        let dir = case.dir.path();
        fs::create_dir_all(dir.join("src/docs/old")).unwrap();
        case.write("docs/thesis.txt", "one\n");
        case.write("docs/old/notes", "n\n");
        case.write("gone", "g\n");
        case.write("same", "s\n");
        case.ok(&["snapshot"]);
        fs::rename(dir.join("src/docs"), dir.join("src/papers")).unwrap();
        case.write("papers/thesis.txt", "one and two\n");
        fs::remove_file(dir.join("src/gone")).unwrap();
        durable::replace(&dir.join("src").join(OsStr::from_bytes(b"bad\xff\n")), b"b", 0o644).unwrap();
        case.ok(&["snapshot"]);
        fs::remove_dir_all(dir.join("src/papers/old")).unwrap();
        case.write("same", "s again\n");
        case.ok(&["snapshot"]);
        case.timed()
    }

    /// An empty source, not captured yet.
    fn empty() -> Case {
        let case = Case { dir: tempfile::tempdir().unwrap(), times: Vec::new() };
        let dir = case.dir.path();
        let key = dir.join("key");
        let settings =
            format!("repository = {:?}\nstate = {:?}\n[key]\nfile = {key:?}\n", dir.join("repo"), dir.join("state"));
        durable::replace(&dir.join("bygone.toml"), settings.as_bytes(), 0o600).unwrap();
        fs::create_dir(dir.join("src")).unwrap();
        case.ok(&["init", "--key-file", key.to_str().unwrap()]);
        case.ok(&["source", "add", &case.path("")]);
        case
    }

    /// With the times of all snapshots until now.
    fn timed(self) -> Case {
        let times = self.json(&["list"]).iter().map(|v| v["time"].as_str().unwrap().to_owned()).collect();
        Case { times, ..self }
    }

    /// Renames, and captures that.
    fn renamed(&self, from: &str, to: &str) {
        let src = self.dir.path().join("src");
        fs::rename(src.join(from), src.join(to)).unwrap();
        self.ok(&["snapshot"]);
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
    assert_eq!(case.ok(&["list", "-l", "1"]).lines().count(), 1);
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
    for times in [["2001", "2002"], ["2001", "latest"], ["latest", "2001"]] {
        let early = told(&["diff", times[0], times[1]], 1);
        assert!(early.contains("captured at 2001") && early.contains("the first snapshot is of T1"), "{early}");
    }
    assert!(told(&["cat", "gone", "--at", "whenever"], 2).contains("cannot take"));
    let (status, out, range) = case.run(&["list", "--since", "2001", "--until", "2002"]);
    assert_eq!((status, out.as_str()), (0, ""));
    assert!(range.contains("in the range asked for; the first is of T1, the last of T3"), "{range}");
    let bytes = OsStr::from_bytes(b"bad\xff*");
    let mut find = Command::new(env!("CARGO_BIN_EXE_bygone"));
    let find = find.arg("--config").arg(case.dir.path().join("bygone.toml")).arg("find").arg(bytes).output().unwrap();
    let bytes = String::from_utf8_lossy(&find.stderr);
    assert_eq!(find.status.code(), Some(2), "{bytes}");
    assert!(bytes.contains("bad\\xff*: it is not UTF-8") && bytes.contains("`?` stands for any one byte"), "{bytes}");
    assert_eq!(case.ok(&["find", "bad?*"]), "SRC/bad\\xff\\n\n");
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

/// The lines without sizes, spaces between words joined.
fn told(log: &str) -> Vec<String> {
    let size = |word: &&str| word.parse::<u64>().is_err() && *word != "B";
    log.lines().map(|line| line.split_whitespace().filter(size).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_log_goes_on_under_older_names() {
    // An editor saves by renaming, and then the directory is renamed.
    let case = Case::empty();
    fs::create_dir(case.dir.path().join("src/q")).unwrap();
    case.write("q/f", "v1\n");
    case.ok(&["snapshot"]);
    case.write("q/f~", "v2!\n");
    case.renamed("q/f~", "q/f");
    case.renamed("q", "qq");
    let case = case.timed();
    let log = told(&case.ok(&["log", "qq/f"]));
    assert_eq!(
        log,
        ["T3 renamed from SRC/q/f", "T2 replaced at SRC/q/f (content, mtime)", "T1 created at SRC/q/f"],
        "{log:#?}"
    );
    let log = told(&case.ok(&["log", "q/f"]));
    assert_eq!(log, ["T3 left for SRC/qq/f", "T2 replaced (content, mtime)", "T1 created"], "{log:#?}");

    // What was there before a pause counts too.
    let src = case.dir.path().join("src");
    fs::remove_file(src.join("qq/f")).unwrap();
    case.ok(&["snapshot"]);
    case.write("qq/f", "v3\n");
    case.ok(&["snapshot"]);
    case.renamed("qq", "q");
    let case = case.timed();
    let log = told(&case.ok(&["log", "q/f"]));
    assert_eq!(log[..3], ["T6 renamed from SRC/qq/f", "T5 created at SRC/qq/f", "T4 removed at SRC/qq/f"], "{log:#?}");
    assert_eq!(log.last().unwrap(), "T1 created", "{log:#?}");
}

#[test]
fn a_log_follows_the_name_that_was_renamed() {
    let case = Case::empty();
    let src = case.dir.path().join("src");
    fs::create_dir(src.join("q")).unwrap();
    case.write("q/h", "v1\n");
    fs::hard_link(src.join("q/h"), src.join("q/h2")).unwrap();
    case.ok(&["snapshot"]);
    case.renamed("q/h", "q/hh");
    case.renamed("q", "qq");
    let case = case.timed();
    let log = told(&case.ok(&["log", "qq/hh"]));
    assert_eq!(log, ["T3 renamed from SRC/q/hh", "T2 renamed from SRC/q/h at SRC/q/hh", "T1 created at SRC/q/h"]);
    assert_eq!(told(&case.ok(&["log", "qq/h2"])), ["T3 renamed from SRC/q/h2", "T1 created at SRC/q/h2"]);
    assert_eq!(told(&case.ok(&["log", "q/h"])), ["T2 left for SRC/q/hh", "T1 created"]);

    // All of it between two snapshots.
    fs::rename(src.join("qq/hh"), src.join("qq/h")).unwrap();
    case.renamed("qq", "q");
    let case = case.timed();
    assert_eq!(told(&case.ok(&["log", "q/h"]))[0], "T4 renamed from SRC/qq/hh");
    assert_eq!(told(&case.ok(&["log", "q/h2"]))[0], "T4 renamed from SRC/qq/h2");
}

#[test]
fn an_exchange_is_a_rename_of_both() {
    let case = Case::empty();
    let src = case.dir.path().join("src");
    case.write("a.txt", "v1\n");
    case.write("rnd", "r1\n");
    fs::hard_link(src.join("a.txt"), src.join("hard")).unwrap();
    case.ok(&["snapshot"]);
    case.write("a.txt", "v2 of it\n");
    case.ok(&["snapshot"]);
    let (a, b) = (src.join("a.txt"), src.join("rnd"));
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &b, exchange).unwrap();
    case.ok(&["snapshot"]);
    let case = case.timed();
    let log = told(&case.ok(&["log", "rnd"]));
    assert_eq!(log[0], "T3 renamed from SRC/a.txt", "{log:#?}");
    assert!(log.contains(&"T2 changed at SRC/a.txt (content, mtime)".to_owned()), "{log:#?}");
    assert!(log.contains(&"T1 created at SRC/a.txt".to_owned()) && log.contains(&"T1 created".to_owned()), "{log:#?}");
    let log = told(&case.ok(&["log", "a.txt"]));
    assert_eq!(log[0], "T3 renamed from SRC/rnd", "{log:#?}");
}

#[test]
fn what_stands_in_the_place_of_another_is_not_new() {
    let case = Case::empty();
    case.write("f", "old\n");
    case.write("g", "g\n");
    case.write("g.new", "g again\n");
    case.ok(&["snapshot"]);
    // An editor that keeps the file before, and one that saves beside it.
    let src = case.dir.path().join("src");
    fs::rename(src.join("f"), src.join("f~")).unwrap();
    case.write("f", "newer\n");
    case.renamed("g.new", "g");
    let case = case.timed();
    let [t1, t2] = [0, 1].map(|n| case.times[n].as_str());
    let changes = case.ok(&["diff", t1, t2]);
    // Whether the times differ is a matter of the clock.
    let changes = changes.replace(", mtime", "");
    let lines: Vec<&str> = changes.lines().collect();
    let wanted = ["M SRC/f  (replaced, content)", "R SRC/f -> SRC/f~", "R SRC/g.new -> SRC/g"];
    assert_eq!(lines[..3], wanted, "{changes}");
    assert_eq!(lines[3..], ["M SRC/g  (replaced, content)"], "{changes}");
    let json = case.json(&["diff", t1, t2]);
    let f = json.iter().find(|c| c["path"].as_str().is_some_and(|p| p.ends_with("/f"))).unwrap();
    assert_eq!((f["change"].as_str(), f["replaced"].as_bool()), (Some("modified"), Some(true)), "{f}");
    assert_eq!(json.iter().filter(|c| c["change"] == "added" || c["change"] == "removed").count(), 0, "{json:?}");
}
