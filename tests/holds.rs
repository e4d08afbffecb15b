//! Legal holds as cases: what hosts do at once is all kept, what can't be read is never ignored, and what is handed over checks.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod common;

use bygone::repo::{
    audit::who::Who,
    holds::{
        error::HoldsError,
        event::{Deed, HoldEvent},
        force::{cases, in_force},
        write::{lengthen, place, release},
    },
};
use bygone::types::{
    hold::{Hold, Scope},
    time::Instant,
};
use common::repository::TestRepo;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn who() -> Who {
    Who { host: "a".into(), user: Some("anna".into()), ..Who::default() }
}

fn hold(id: &str, until: Option<i64>) -> Hold {
    let (owner, reason) = ("legal".into(), "a claim".into());
    Hold { id: id.into(), owner, reason, scope: Scope::default(), until: until.map(Instant) }
}

fn untils(repo: &TestRepo, state: &str) -> Vec<Option<i64>> {
    let all = in_force(repo.at.repo(), &repo.dir.path().join(state)).unwrap();
    all.iter().map(|hold| hold.until.map(|at| at.0)).collect()
}

/// The objects of holds.
fn objects(repo: &TestRepo) -> Vec<PathBuf> {
    let all = repo.at.repo().store().list("holds/").unwrap();
    all.into_iter().map(|o| repo.store().join(o.name)).collect()
}

#[test]
fn a_case_is_in_force_until_all_of_it_is_released() {
    let repo = TestRepo::create();
    let (r, dir) = (repo.at.repo(), repo.dir.path().join("state"));
    let by = |at: i64| (who(), Instant(at));
    place(r, &hold("c", Some(100)), &who(), Instant(1)).unwrap();
    place(r, &hold("other", None), &who(), Instant(1)).unwrap();
    let (w, now) = by(2);
    let shorter = lengthen(r, &dir, "c", Some(Instant(100)), (&w, now)).unwrap_err().to_string();
    assert!(shorter.contains("lengthened, and not shortened"), "{shorter}");
    lengthen(r, &dir, "c", Some(Instant(300)), (&w, now)).unwrap();
    assert!(lengthen(r, &dir, "c", Some(Instant(200)), (&w, now)).is_err());
    assert!(lengthen(r, &dir, "other", Some(Instant(i64::MAX)), (&w, now)).is_err(), "it has no end already");
    assert_eq!(untils(&repo, "state"), [Some(300), None]);
    assert!(matches!(release(r, &dir, "c", " ", (&w, now)), Err(HoldsError::NoReason)));
    assert!(matches!(release(r, &dir, "unknown", "x", (&w, now)), Err(HoldsError::NoCase(_))));
    release(r, &dir, "c", "settled", (&w, now)).unwrap();
    assert_eq!(untils(&repo, "state"), [None]);
    assert!(matches!(release(r, &dir, "c", "again", (&w, now)), Err(HoldsError::NoCase(_))));
    place(r, &hold("c", Some(50)), &who(), Instant(3)).unwrap();
    assert_eq!(untils(&repo, "state"), [Some(50), None]);
    let all = cases(r, &dir).unwrap();
    assert_eq!(all.iter().map(|c| (c.id.as_str(), c.events.len())).collect::<Vec<_>>(), [("c", 4), ("other", 1)]);
    for wrong in ["", "..", "a/b", "a\nb", "a\u{7f}"] {
        assert!(place(r, &hold(wrong, None), &who(), Instant(1)).is_err(), "{wrong:?}");
    }
}

/// What another host does to a case at the same moment, before or after in the order of times.
#[test]
fn what_two_hosts_do_at_once_is_all_kept_and_the_strictest_wins() {
    for at in [4, 6] {
        let repo = TestRepo::create();
        let (r, dir) = (repo.at.repo(), repo.dir.path().join("state"));
        let first = place(r, &hold("c", Some(100)), &who(), Instant(1)).unwrap();
        let aside = tempfile::tempdir().unwrap();
        // The other host lengthens and places; this one releases without having seen either.
        let longer = lengthen(r, &dir, "c", Some(Instant(900)), (&who(), Instant(at))).unwrap();
        let again = place(r, &hold("c", Some(70)), &who(), Instant(at)).unwrap();
        let hidden: Vec<(PathBuf, PathBuf)> = [&longer, &again]
            .iter()
            .map(|e| (repo.store().join(e.name(r)), aside.path().join(e.id.to_string())))
            .collect();
        hidden.iter().for_each(|(from, to)| fs::rename(from, to).unwrap());
        let released = release(r, &repo.dir.path().join("state-2"), "c", "settled", (&who(), Instant(5))).unwrap();
        assert_eq!(released.deed, Deed::Released { events: vec![first.id], reason: "settled".into() });
        hidden.iter().for_each(|(from, to)| fs::rename(to, from).unwrap());
        let mut both = untils(&repo, "state");
        both.sort();
        assert_eq!(both, [Some(70), Some(900)]);
        // A release that has seen them ends them.
        release(r, &dir, "c", "settled", (&who(), Instant(7))).unwrap();
        assert_eq!(untils(&repo, "state"), []);
    }
}

#[test]
fn a_hold_that_cannot_be_read_is_an_error_that_names_it() {
    let repo = TestRepo::create();
    let (r, dir) = (repo.at.repo(), repo.dir.path().join("state"));
    place(r, &hold("c", None), &who(), Instant(1)).unwrap();
    place(r, &hold("d", None), &who(), Instant(2)).unwrap();
    assert_eq!(untils(&repo, "state").len(), 2);
    let all = objects(&repo);
    let told = |state: &str| in_force(r, &repo.dir.path().join(state)).unwrap_err().to_string();
    for at in &all {
        let name = at.strip_prefix(repo.store()).unwrap().to_str().unwrap();
        let bytes = fs::read(at).unwrap();
        for n in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[n] ^= 4;
            fs::write(at, bad).unwrap();
            let told = told("stranger");
            assert!(told.contains(name) && told.contains("nothing may be collected"), "byte {n}: {told}");
        }
        fs::write(at, fs::read(all.iter().find(|other| *other != at).unwrap()).unwrap()).unwrap();
        assert!(told("stranger").contains(name), "another hold in its place");
        fs::remove_file(at).unwrap();
        let gone = told("state");
        assert!(gone.contains(name) && gone.contains("is missing"), "{gone}");
        fs::write(at, bytes).unwrap();
    }
    let stranger = repo.store().join("holds/x");
    fs::write(&stranger, "not of this format").unwrap();
    assert!(told("state").contains("holds/x"), "what is not understood is never ignored");
    fs::remove_file(stranger).unwrap();
    let events: Vec<HoldEvent> = cases(r, &dir).unwrap().into_iter().flat_map(|c| c.events).collect();
    assert!(events.iter().all(|e| e.who == who()));
}

/// The program with settings in a directory of its own.
struct Case(tempfile::TempDir);

impl Case {
    fn new() -> Case {
        let case = Case(tempfile::tempdir().unwrap());
        let dir = case.dir();
        for name in ["src", "src/sub", "other"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        let text = format!(
            "repository = {:?}\nstate = {:?}\nhost = \"web1\"\n[key]\nfile = {:?}\n[mount]\nzone = \"UTC\"\n[retention]\nevery = \"1h\"\n\
             [[source]]\npath = {:?}\n[[source]]\npath = {:?}\n",
            dir.join("repo"),
            dir.join("state"),
            dir.join("key"),
            dir.join("src"),
            dir.join("other")
        );
        fs::write(dir.join("bygone.toml"), text).unwrap();
        case.ok(&["init"]);
        case
    }

    fn dir(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.dir().join("bygone.toml")).args(args);
        let out = command.env_clear().env("HOME", self.dir()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    fn ok(&self, args: &[&str]) -> String {
        let (status, out, told) = self.run(args);
        assert_eq!((status, told.as_str()), (0, ""), "{args:?}: {out}");
        out
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir().join(name), text).unwrap();
    }
}

/// What `sha256sum -c` says in a directory.
fn sha256sum(dir: &Path) -> (bool, String) {
    let out =
        Command::new("sha256sum").args(["-c", "--strict", "--quiet", "SHA256SUMS"]).current_dir(dir).output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

#[test]
fn a_hold_keeps_what_it_touches_and_is_not_released_silently() {
    let case = Case::new();
    case.write("src/file", "one");
    case.ok(&["-q", "snapshot"]);
    case.write("src/file", "two");
    case.ok(&["-q", "snapshot"]);
    let src = case.dir().join("src");
    let of_src = |text: &str| text.lines().find(|line| line.contains("/src: ")).unwrap().to_owned();
    assert!(of_src(&case.ok(&["retention", "simulate", "--at", "2090"])).contains("1 of 2 instant(s) stay"));
    let place =
        ["hold", "place", "case-7", "--owner", "Legal", "--reason", "a claim", "--source", src.to_str().unwrap()];
    assert_eq!(case.ok(&place), "placed the hold case-7: it touches 2 snapshot(s) now\n");
    let simulated = case.ok(&["retention", "simulate", "--at", "2090"]);
    assert!(
        of_src(&simulated).contains("2 of 2 instant(s) stay") && simulated.contains("hold case-7: keeps 2"),
        "{simulated}"
    );
    assert!(case.ok(&["retention", "show"]).contains("held: what the case case-7 touches"));
    let (status, _, told) = case.run(&["hold", "release", "case-7", "--reason", "settled"]);
    assert!(status == 2 && told.contains("nothing was released"), "{told}");
    let (status, _, _) = case.run(&["hold", "release", "case-7", "--reason", "settled", "--confirm", "case-8"]);
    assert_eq!(status, 2);
    assert!(case.ok(&["hold", "list"]).starts_with("case-7  until it is released  Legal: a claim"));
    case.ok(&["-q", "hold", "release", "case-7", "--reason", "settled", "--confirm", "case-7"]);
    assert_eq!(case.ok(&["hold", "list"]), "");
    assert!(case.ok(&["hold", "list", "--all"]).starts_with("case-7  over"));
    assert!(of_src(&case.ok(&["retention", "simulate", "--at", "2090"])).contains("1 of 2 instant(s) stay"));
    let shown: Value = serde_json::from_str(&case.ok(&["--json", "hold", "show", "case-7"])).unwrap();
    assert_eq!((&shown["in_force"], shown["events"].as_array().unwrap().len()), (&false.into(), 2));
    let recorded = case.ok(&["audit", "show", "--kind", "hold-release"]);
    assert_eq!(recorded.lines().count(), 2, "before it and after it: {recorded}");

    // One that can't be read: nothing goes on without it.
    case.ok(&["-q", "hold", "place", "case-8", "--owner", "Legal", "--reason", "x", "--until", "2099"]);
    case.ok(&["-q", "hold", "lengthen", "case-8", "--until", "2199"]);
    let (status, _, told) = case.run(&["hold", "lengthen", "case-8", "--until", "2098"]);
    assert!(status == 1 && told.contains("is in force until 2199-12-31 ") && !told.contains(".999999"), "{told}");
    let place = ["hold", "place", "x", "--owner", "o", "--reason", "r", "--source", "/nosuch", "--host", "nohost"];
    let (status, _, told) = case.run(&place);
    assert!(status == 1 && told.contains("no host \"nohost\""), "{told}");
    let found = Command::new("find").arg(case.dir().join("repo/holds")).args(["-type", "f"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.lines().count(), 4);
    let one = found.lines().next().unwrap();
    let bytes = fs::read(one).unwrap();
    fs::write(one, &bytes[1..]).unwrap();
    let name = Path::new(one).file_name().unwrap().to_str().unwrap();
    for args in [&["retention", "simulate"][..], &["hold", "list"], &["retention", "show"]] {
        let (status, _, told) = case.run(args);
        assert!(status == 1 && told.contains(name) && told.contains("nothing may be collected"), "{args:?}: {told}");
    }
}

#[test]
fn what_is_handed_over_is_whole_and_checks() {
    let case = Case::new();
    case.write("src/kept", "never changes");
    case.write("src/file", "one");
    case.write("src/sub/odd\nname\\", "odd");
    case.write("src/not-in-scope", "x");
    case.write("other/file", "of another source");
    case.ok(&["-q", "snapshot"]);
    case.write("src/file", "two");
    fs::rename(case.dir().join("src/sub"), case.dir().join("src/moved")).unwrap();
    case.ok(&["-q", "snapshot"]);
    fs::remove_file(case.dir().join("src/file")).unwrap();
    case.write("src/not-in-scope", "y");
    case.ok(&["-q", "snapshot"]);
    let src = case.dir().join("src");
    let path = |name: &str| src.join(name).to_str().unwrap().to_owned();
    let mut place = vec![
        "hold".to_owned(),
        "place".into(),
        "c".into(),
        "--owner".into(),
        "Legal".into(),
        "--reason".into(),
        "r".into(),
    ];
    for name in ["kept", "file", "sub", "moved"] {
        place.extend(["--path".to_owned(), path(name)]);
    }
    case.ok(&place.iter().map(String::as_str).chain(["-q"]).collect::<Vec<_>>());
    let to = case.dir().join("handed");
    let told = case.ok(&["hold", "export", "c", "--to", to.to_str().unwrap()]);
    assert!(told.contains("3 snapshot(s)"), "{told}");
    let (fine, told) = sha256sum(&to);
    assert!(fine && told.is_empty(), "{told}");

    let host = to.join("web1");
    let mut instants: Vec<PathBuf> = fs::read_dir(&host).unwrap().map(|e| e.unwrap().path()).collect();
    instants.sort();
    let at = |n: usize, name: &str| instants[n].join(src.strip_prefix("/").unwrap()).join(name);
    let read = |n, name| fs::read_to_string(at(n, name)).ok();
    assert_eq!((read(0, "file").as_deref(), read(1, "file").as_deref()), (Some("one"), Some("two")));
    assert_eq!(
        (read(0, "kept").as_deref(), read(1, "kept")),
        (Some("never changes"), None),
        "each version is there once"
    );
    assert_eq!(
        (read(0, "sub/odd\nname\\").as_deref(), read(1, "moved/odd\nname\\").as_deref()),
        (Some("odd"), Some("odd"))
    );
    assert!(!at(0, "not-in-scope").exists());
    assert_eq!(fs::metadata(at(0, "kept")).unwrap().mtime(), fs::metadata(src.join("kept")).unwrap().mtime());
    let changes: Vec<Value> = fs::read_to_string(to.join("CHANGES.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let removed: Vec<&Value> = changes.iter().filter(|c| c["what"] == "removed").collect();
    assert!(removed.iter().any(|c| c["path"] == path("file").as_str() && c["snapshot"] == 3), "{changes:?}");
    assert!(changes.iter().all(|c| !c["path"].as_str().unwrap().contains("not-in-scope")));

    let custody: Value = serde_json::from_str(&fs::read_to_string(to.join("CUSTODY.json")).unwrap()).unwrap();
    assert_eq!((&custody["case"], custody["snapshots"].as_array().unwrap().len()), (&"c".into(), 3));
    assert_eq!(custody["snapshots"][0]["record_hash"].as_str().unwrap().len(), 64);
    assert_eq!(custody["audit_entries"].as_array().unwrap().len(), 2, "that it was placed, and that this has begun");
    let entry = &custody["audit_entries"][0];
    assert_eq!(
        blake3::hash(entry["text"].as_str().unwrap().as_bytes()).to_hex().to_string(),
        entry["hash"].as_str().unwrap()
    );
    assert_eq!(custody["verification"]["not_exported"].as_array().unwrap().len(), 0);
    let text = fs::read_to_string(to.join("CUSTODY.txt")).unwrap();
    assert!(
        text.starts_with("CHAIN OF CUSTODY: case c\n")
            && text.contains("Everything that the hold touches was written.")
    );
    assert!(fs::read_to_string(to.join("README.txt")).unwrap().contains("sha256sum -c SHA256SUMS"));

    // What is changed afterwards is noticed, and nothing is written over.
    fs::write(at(0, "file"), "One").unwrap();
    assert!(!sha256sum(&to).0);
    let (status, _, told) = case.run(&["hold", "export", "c", "--to", to.to_str().unwrap()]);
    assert!(status == 1 && told.contains("is not empty"), "{told}");

    // What can't be read is named, in the papers too.
    let packs = Command::new("find").arg(case.dir().join("repo/packs")).args(["-type", "f"]).output().unwrap();
    for pack in String::from_utf8(packs.stdout).unwrap().lines() {
        let mut bytes = fs::read(pack).unwrap();
        // Behind the header, which stands in the table once more.
        bytes[84] ^= 1;
        fs::write(pack, bytes).unwrap();
    }
    let (status, _, _) = case.run(&["hold", "export", "c", "--to", case.dir().join("second").to_str().unwrap()]);
    assert_eq!(status, 3);
    let custody = fs::read_to_string(case.dir().join("second/CUSTODY.json")).unwrap();
    let custody: Value = serde_json::from_str(&custody).unwrap();
    assert!(!custody["verification"]["not_exported"].as_array().unwrap().is_empty());
    assert!(sha256sum(&case.dir().join("second")).0);
}
