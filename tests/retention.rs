//! Retention over real histories: what a rule costs is what sets of chunks say, and the commands tell it.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use bygone::crypto::slots::Secret;
use bygone::index::{rows::Piece, tree::Reader};
use bygone::repo::{attach::Attached, open::Repository};
use bygone::retention::{
    cost::{self, Bytes, Uses},
    plan::{Moment, Reason, Verdict},
    policy::Rule,
};
use bygone::store::local::LocalStore;
use bygone::sys::clock::SystemClock;
use bygone::types::{
    attr::Kind,
    ids::{Node, Snap, SourceNum},
    time::Instant,
};
use serde_json::Value;

/// Two sources, with the settings in one directory.
struct Case {
    temp: tempfile::TempDir,
}

impl Case {
    fn new(settings: &str) -> Case {
        let case = Case { temp: tempfile::tempdir().unwrap() };
        let dir = case.dir();
        let (a, b) = (dir.join("a"), dir.join("b"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        let text = format!(
            "repository = {:?}\nstate = {:?}\n[key]\nfile = {:?}\n[mount]\nzone = \"UTC\"\n{}",
            dir.join("repo"),
            dir.join("state"),
            dir.join("key"),
            settings.replace("DIR", dir.to_str().unwrap())
        );
        fs::write(dir.join("bygone.toml"), text).unwrap();
        case.ok(&["init"]);
        case
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap()
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.dir().join("bygone.toml")).args(args);
        let Output { status, stdout, stderr } =
            command.env_clear().env("HOME", self.dir()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(self.dir().to_str().unwrap(), "DIR");
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn ok(&self, args: &[&str]) -> String {
        let (status, out, told) = self.run(args);
        assert_eq!((status, told.as_str()), (0, ""), "{args:?}: {out}");
        out
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir().join(name), bytes).unwrap();
    }

    fn snapshot(&self) {
        self.ok(&["-q", "snapshot"]);
    }

    fn index(&self) -> Reader {
        let key = fs::read_to_string(self.dir().join("key")).unwrap();
        let store = Arc::new(LocalStore::open(&self.dir().join("repo")));
        let repo = Arc::new(Repository::open(store, &Secret::from_key_file(&key).unwrap()).unwrap());
        Attached::open(repo, &self.dir().join("state"), Arc::new(SystemClock)).unwrap().reader().unwrap()
    }
}

const TWO: &str = "[[source]]\npath = \"DIR/a\"\n[[source]]\npath = \"DIR/b\"\n";

/// Bytes that no compressor and no deduplication makes less of, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A history of two sources that share contents, with renames, links, holes in time, large files changed in part, and small ones.
fn history() -> Case {
    let case = Case::new(TWO);
    let mut large = noise(1, 5 << 20);
    case.write("a/large", &large);
    case.write("a/small", &noise(2, 3000));
    case.write("b/other", &noise(2, 3000));
    case.snapshot();
    large[2_500_000..2_500_100].fill(7);
    case.write("a/large", &large);
    case.write("a/one", &noise(3, 9000));
    case.snapshot();
    fs::rename(case.dir().join("a/one"), case.dir().join("a/two")).unwrap();
    fs::hard_link(case.dir().join("a/two"), case.dir().join("a/link")).unwrap();
    case.write("b/one", &noise(3, 9000));
    case.write("a/small", &noise(4, 2000));
    case.snapshot();
    case.write("a/large", &noise(1, 3 << 20));
    fs::remove_file(case.dir().join("b/other")).unwrap();
    fs::remove_file(case.dir().join("a/two")).unwrap();
    std::os::unix::fs::symlink("small", case.dir().join("a/symlink")).unwrap();
    case.snapshot();
    case.write("a/small", &noise(2, 3000));
    case.write("a/empty", b"");
    fs::remove_file(case.dir().join("a/large")).unwrap();
    fs::remove_file(case.dir().join("a/link")).unwrap();
    case.write("b/last", &noise(6, 70_000));
    case.snapshot();
    case
}

/// The chunks that a snapshot needs, found by walking its tree.
fn chunks(index: &Reader, source: SourceNum, snap: Snap) -> BTreeSet<i64> {
    let mut dirs = vec![Node::ABOVE];
    let mut found = BTreeSet::new();
    while let Some(dir) = dirs.pop() {
        for row in index.children(source, dir, snap).unwrap() {
            if row.node.is_dir() {
                dirs.push(row.node);
            } else if row.attr.kind() == Kind::File {
                let content = index.version(source, row.ver).unwrap().unwrap().content;
                let pieces = index.pieces(content).unwrap();
                found.extend(pieces.iter().filter_map(|piece| match piece {
                    Piece::Chunk { num, .. } => Some(*num),
                    Piece::Hole(_) => None,
                }));
            }
        }
    }
    found
}

fn measure(index: &Reader, chunks: &BTreeSet<i64>) -> Bytes {
    let mut bytes = Bytes::default();
    for chunk in chunks {
        let at = index.location(*chunk).unwrap();
        bytes.content += u64::from(at.chunk_len);
        bytes.stored += u64::from(at.sealed_len) * u64::from(at.chunk_len) / u64::from(at.raw_len);
    }
    bytes
}

/// What would go as well without one reason: by sets of chunks, one snapshot after the other.
fn brute(
    index: &Reader,
    plans: &BTreeMap<SourceNum, Vec<Verdict>>,
    without: Option<&(SourceNum, Reason)>,
) -> BTreeSet<i64> {
    let mut kept = BTreeSet::new();
    for (source, verdicts) in plans {
        for v in verdicts {
            let left = v.kept_by.iter().filter(|r| without != Some(&(*source, (*r).clone()))).count();
            if left > 0 {
                kept.extend(chunks(index, *source, v.moment.number));
            }
        }
    }
    kept
}

#[test]
fn costs_are_what_sets_of_chunks_say() {
    let case = history();
    let index = case.index();
    let sources = index.sources().unwrap();
    assert_eq!(sources.len(), 2);
    let menu: [&[Reason]; 5] = [
        &[],
        &[Reason::Rule(Rule::Daily)],
        &[Reason::Rule(Rule::Weekly)],
        &[Reason::Lock, Reason::Rule(Rule::Daily)],
        &[Reason::Newest],
    ];
    let (mut costly, mut shared) = (0, 0);
    for seed in 0..60 {
        let choice = noise(seed, 64);
        let mut choice = choice.iter().map(|byte| usize::from(*byte) % menu.len());
        let mut plans = BTreeMap::new();
        let mut all = BTreeSet::new();
        for source in &sources {
            let snapshots = index.snapshots(source.num, Instant(i64::MIN), Instant(i64::MAX), 100).unwrap();
            let verdict = |s: &bygone::types::snapshot::Snapshot| {
                all.extend(chunks(&index, source.num, s.number));
                let moment = Moment { time: s.time, number: s.number };
                Verdict { moment, kept_by: menu[choice.next().unwrap()].to_vec() }
            };
            plans.insert(source.num, snapshots.iter().map(verdict).collect::<Vec<_>>());
        }
        let uses = Uses::new(plans.iter().map(|(source, verdicts)| (*source, &verdicts[..])));
        let costs = cost::costs(&index, &uses).unwrap();
        let kept = brute(&index, &plans, None);
        assert_eq!(costs.released, measure(&index, &(&all - &kept)), "seed {seed}");
        let mut wanted = HashMap::new();
        let mut rest = kept.clone();
        for source in &sources {
            for reason in menu.iter().flat_map(|reasons| reasons.iter()) {
                let reason = (source.num, reason.clone());
                let only = &kept - &brute(&index, &plans, Some(&reason));
                rest = &rest - &only;
                if !only.is_empty() {
                    wanted.insert(reason, measure(&index, &only));
                }
            }
        }
        assert_eq!(costs.only, wanted, "seed {seed}");
        assert_eq!(costs.shared, measure(&index, &rest), "seed {seed}");
        costly += costs.only.len();
        shared += usize::from(costs.shared.content > 0);
    }
    assert!(costly > 50 && shared > 10, "something was compared: {costly}, {shared}");
}

#[test]
fn a_simulation_is_told() {
    let case = Case::new(
        "[retention]\nevery = \"1h\"\n[[source]]\npath = \"DIR/a\"\n[[source]]\npath = \"DIR/b\"\n[source.retention]\nlock = \"7y\"\n",
    );
    case.write("a/kept", &noise(1, 4096));
    case.write("a/gone", &noise(2, 2048));
    let (a, b) = (case.dir().join("a"), case.dir().join("b"));
    let capture = |source: &Path| case.ok(&["-q", "snapshot", source.to_str().unwrap()]);
    capture(&a);
    fs::remove_file(case.dir().join("a/gone")).unwrap();
    case.write("b/new", &noise(3, 1024));
    capture(&a);
    capture(&b);
    case.write("a/more", &noise(4, 512));
    capture(&a);
    let shown = "DIR/a\n    every snapshot for 1 hour\nDIR/b\n    everything, for ever: it has no rule\n    \
                 locked: nothing younger than 7 years goes\n";
    assert_eq!(case.ok(&["retention", "show"]), shown);
    // Without the bytes in packs, which hold random parts.
    let plain = |text: String| {
        let line = |line: &str| line.split(" (").next().unwrap().to_owned();
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        plain(case.ok(&["retention", "simulate"])),
        [
            "DIR/a: 3 of 3 instant(s) stay, 0 go",
            "    newest: keeps 1, 0 of them alone; costs 0 B",
            "    every 1h: keeps 3, 2 of them alone; costs 2.0 KiB",
            "DIR/b: 1 of 1 instant(s) stay, 0 go",
            "    newest: keeps 1, 0 of them alone; costs 0 B",
            "    no rule: keeps 1, 0 of them alone; costs 0 B",
            "    lock 7y: keeps 1, 0 of them alone; costs 0 B",
            "kept by more than one reason: 5.5 KiB",
            "released: 0 B",
        ]
    );
    let later = plain(case.ok(&["retention", "simulate", "--at", "2099", "--all", a.to_str().unwrap()]));
    assert_eq!(
        later[..3],
        [
            "DIR/a: 1 of 3 instant(s) stay, 2 go",
            "    newest: keeps 1, 0 of them alone; costs 0 B",
            "    every 1h: keeps 1, 0 of them alone; costs 0 B",
        ]
    );
    assert!(later[3].ends_with("  goes") && later[4].ends_with("  goes"), "{later:?}");
    assert!(later[5].ends_with("  stays: newest, every"), "{later:?}");
    assert_eq!(later[6..], ["kept by more than one reason: 5.5 KiB", "released: 2.0 KiB"]);
    let json: Vec<Value> = case
        .ok(&["--json", "retention", "simulate", "--at", "2099", "--all"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> = json.iter().map(|v| v["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["instant", "instant", "instant", "source", "instant", "source", "sum"]);
    assert_eq!((&json[0]["stays"], &json[2]["kept_by"]), (&false.into(), &serde_json::json!(["newest", "every"])));
    assert_eq!((&json[3]["stay"], &json[3]["policy"]["rules"]["every"]), (&1.into(), &"1h".into()));
    assert_eq!(json[6]["released"]["content_bytes"], 2048);
    // What has no snapshot yet has a policy already.
    let new = Case::new(TWO);
    assert_eq!(new.ok(&["retention", "show"]).lines().filter(|line| line.starts_with("DIR/")).count(), 2);
    let (status, _, told) = case.run(&["retention", "show", "/nowhere"]);
    assert!(status == 1 && told.contains("has no source /nowhere"), "{told}");
}

#[test]
fn what_a_lock_keeps_anyway_is_told_of_each_rule() {
    let case = Case::new("[retention]\nevery = \"1h\"\ndaily = \"1d\"\nlock = \"7y\"\n[[source]]\npath = \"DIR/a\"\n");
    for n in 1..3 {
        case.write("a/file", &noise(n, 1024));
        case.ok(&["-q", "snapshot"]);
    }
    let told = case.ok(&["retention", "simulate"]);
    let line =
        |rule: &str| told.lines().find(|line| line.starts_with(rule)).unwrap_or_else(|| panic!("{told}")).to_owned();
    assert!(
        line("    every 1h: keeps 2, 0 of them alone; costs 0 B (").ends_with("; the lock keeps all of them anyway"),
        "{told}"
    );
    assert!(!line("    lock 7y: ").contains("anyway") && !line("    newest: ").contains("anyway"), "{told}");
    let json = case.ok(&["--json", "retention", "simulate"]);
    let json: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let every = json["reasons"].as_array().unwrap().iter().find(|r| r["reason"] == "every").unwrap();
    assert_eq!(every["kept_anyway_by"], serde_json::json!([{ "reason": "lock", "keeps": 2 }]));
}

/// A lock holds for ever once maintenance has put it into the repository: that settings name it no more changes nothing, and is told.
#[test]
fn a_lock_that_the_repository_keeps_counts_whatever_the_settings_say() {
    let case = Case::new(&format!("[retention]\nevery = \"1h\"\nlock = \"100y\"\n{TWO}"));
    for n in 1..4 {
        case.write("a/file", &noise(n, 1024));
        case.snapshot();
    }
    case.ok(&["-q", "maintain"]);
    let file = case.dir().join("bygone.toml");
    let text = fs::read_to_string(&file).unwrap();
    let held = "    locked: nothing younger than 100 years goes; this lock is kept in the repository\n";
    assert_eq!(case.ok(&["retention", "show"]).matches(held).count(), 2);
    let vain = "has no effect: a lock of 100 years is kept in the repository, for ever";
    for (lock, what) in
        [("", "that the settings name no lock"), ("lock = \"1d\"\n", "the lock of 1 day in the settings")]
    {
        fs::write(&file, text.replace("lock = \"100y\"\n", lock)).unwrap();
        let shown = case.ok(&["retention", "show"]);
        assert_eq!(shown.matches(&format!("{held}    {what} {vain}\n")).count(), 2, "{shown}");
        let json = case.ok(&["--json", "retention", "show"]);
        let policy = serde_json::from_str::<Value>(json.lines().next().unwrap()).unwrap()["policy"].clone();
        assert_eq!(policy["locks"], serde_json::json!(["100y"]));
        assert_eq!(policy["locks_in_repository"], policy["locks"]);
        assert_eq!(policy["without_effect"], format!("{what} {vain}"));
        let plan = case.ok(&["retention", "simulate", "--at", "2099"]);
        assert!(plan.contains("DIR/a: 3 of 3 instant(s) stay, 0 go"), "{plan}");
        assert!(plan.contains("    lock 100y (kept in the repository): keeps 3, 2 of them alone; costs"), "{plan}");
        let report: Value =
            serde_json::from_str(&case.ok(&["--json", "report", "compliance", "--from", "2020"])).unwrap();
        assert_eq!(report["sources"][0]["retention"][1], held.trim());
        let (status, _, told) = case.run(&["maintain"]);
        assert!(status == 0 && told.contains(&format!("the source DIR/a: {what} {vain}")), "{told}");
    }
}

#[test]
fn a_wrong_policy_is_told_with_its_place() {
    let case = Case::new(TWO);
    let file = case.dir().join("bygone.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}[source.retention]\ndaily = \"ninety\"\n")).unwrap();
    let (status, _, told) = case.run(&["retention", "show"]);
    let line = text.lines().count() + 2;
    let wanted = format!("error: DIR/bygone.toml:{line}:9: \"ninety\" is no length of time");
    assert!(status == 1 && told.starts_with(&wanted), "{told}");
}
