//! The report on compliance: what it says, that names can't become markup, and that a browser shows it.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The name of a source that would be markup, were it not escaped.
const HOSTILE: &str = "<script>document.title='hostile'<";

struct Case(tempfile::TempDir);

impl Case {
    fn new() -> Case {
        let case = Case(tempfile::tempdir().unwrap());
        let dir = case.dir();
        let (plain, hostile) = (dir.join("plain"), dir.join(HOSTILE));
        fs::create_dir(&plain).unwrap();
        fs::create_dir(&hostile).unwrap();
        fs::write(plain.join("file"), "x").unwrap();
        let text = format!(
            "repository = {:?}\nstate = {:?}\nhost = \"web1\"\n[key]\nfile = {:?}\n[mount]\nzone = \"UTC\"\n[retention]\ndaily = \"90d\"\n\
             lock = \"7y\"\n[compliance]\nobjective = \"1h\"\n[[source]]\npath = {plain:?}\nobjective = \"1ms\"\n[[source]]\npath = {hostile:?}\n",
            dir.join("repo"),
            dir.join("state"),
            dir.join("key"),
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

    /// A history with something of everything.
    fn live(&self) {
        let dir = self.dir();
        self.ok(&["-q", "snapshot"]);
        fs::write(dir.join("plain/file"), "y").unwrap();
        self.ok(&["-q", "snapshot"]);
        self.ok(&["-q", "verify", "--read-data"]);
        self.ok(&[
            "-q",
            "restore",
            dir.join("plain/file").to_str().unwrap(),
            "--at",
            "latest",
            "--to",
            dir.join("to").to_str().unwrap(),
        ]);
        self.ok(&["-q", "hold", "place", "case-1", "--owner", "<b>Legal</b>", "--reason", "it's \"serious\" & urgent"]);
        fs::write(dir.join("phrase"), "correct horse\n").unwrap();
        self.ok(&["-q", "key", "add", "--passphrase-file", dir.join("phrase").to_str().unwrap(), "--label", "second"]);
        let (status, _, _) = self.run(&["-q", "hold", "lengthen", "case-1", "--until", "2099"]);
        assert_eq!(status, 1);
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.ok(&["--json", "report", "compliance", "--from", "2020"])).unwrap()
    }
}

fn findings(report: &Value, weight: &str) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter().filter(|f| f["weight"] == weight);
    all.map(|f| f["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_restore_names_the_sources_that_hold_what_it_restores() {
    let case = Case::new();
    case.ok(&["-q", "snapshot"]);
    let file = case.dir().join("plain/file");
    let told = case.ok(&["restore", file.to_str().unwrap(), "--at", "latest", "--in-place"]);
    assert_eq!(told.matches(": snapshot of ").count(), 1, "{told}");
    assert!(told.contains("/plain: snapshot of "), "{told}");
    case.ok(&["-q", "restore", "/", "--at", "latest", "--to", case.dir().join("to").to_str().unwrap()]);
    let shown = case.ok(&["--json", "audit", "show", "--kind", "restore"]);
    let details: Vec<Value> =
        shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["entry"]["details"].clone()).collect();
    let told = |n: usize| (details[n]["in_place"].clone(), details[n]["snapshots"].as_array().unwrap().len());
    assert_eq!((told(0), told(1)), ((true.into(), 1), (false.into(), 2)), "{shown}");
}

#[test]
fn it_says_what_there_is_to_say() {
    let case = Case::new();
    let empty = case.json();
    assert_eq!(findings(&empty, "problem").len(), 2, "two sources without a recovery point: {empty}");
    case.live();
    let report = case.json();
    let sources = report["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2);
    let of = |name: &str| sources.iter().find(|s| s["source"].as_str().unwrap().ends_with(name)).unwrap();
    let (plain, hostile) = (of("plain"), of(HOSTILE));
    assert_eq!((&plain["recovery_points"], &plain["objective_ns"]), (&2.into(), &1_000_000.into()));
    assert!(plain["met_percent"].as_f64().unwrap() < 100.0 && plain["missed_count"].as_u64().unwrap() > 0);
    assert_eq!((&hostile["met_percent"], &hostile["objective_ns"]), (&100.0.into(), &3_600_000_000_000_i64.into()));
    assert_eq!(plain["retention"][1], "locked: nothing younger than 7 years goes");
    let problems = findings(&report, "problem");
    assert!(problems.len() == 1 && problems[0].contains("plain on web1 missed its objective of 1ms"), "{problems:?}");
    assert_eq!(findings(&report, "attention"), [""; 0]);
    assert!(findings(&report, "note").contains(&"1 request(s) were refused or could not be done as asked.".to_owned()));
    case.ok(&["-q", "hold", "release", "case-1", "--reason", "settled", "--confirm", "case-1"]);
    let rows = case.json()["hold_events"].clone();
    let released = rows.as_array().unwrap().iter().filter(|row| row["what"].as_str().unwrap().starts_with("released"));
    assert_eq!(released.map(|row| row["outcome"].clone()).collect::<Vec<_>>(), ["done"], "{rows}");
    for (list, what) in [
        ("verifications", "structure and all data"),
        ("restores", "restored "),
        ("hold_events", "placed the hold case-1"),
        ("changes", "added the key "),
        ("refused", "tried, in vain: lengthened the hold case-1"),
    ] {
        let rows = report[list].as_array().unwrap();
        assert!(rows.iter().any(|row| row["what"].as_str().unwrap().contains(what)), "{list}: {rows:?}");
    }
    assert_eq!(report["holds"][0]["reason"], "it's \"serious\" & urgent");
    assert_eq!(report["deletions"], serde_json::json!([]));
    assert_eq!(report["trail"]["problems"], serde_json::json!([]));
    // Nothing of it lies in another time.
    let before: Value =
        serde_json::from_str(&case.ok(&["--json", "report", "compliance", "--from", "2020", "--to", "2021"])).unwrap();
    assert_eq!(before["restores"], serde_json::json!([]));
    assert_eq!(before["sources"][0]["recovery_points"], 0);
    let (status, _, told) = case.run(&["report", "compliance", "--from", "2090"]);
    assert!(status == 2 && told.contains("no time at all"), "{told}");
    for args in
        [&["list", "--since", "2025", "--until", "2024"][..], &["audit", "show", "--since", "2025", "--until", "2024"]]
    {
        let (status, _, told) = case.run(args);
        assert!(status == 2 && told.contains("leave no time at all"), "{told}");
    }

    // A trail that is not whole is the first thing to be told.
    let hosts = fs::read_dir(case.dir().join("repo/audit")).unwrap().next().unwrap().unwrap().path();
    let mut entries: Vec<PathBuf> = fs::read_dir(hosts).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    fs::remove_file(&entries[3]).unwrap();
    let report = case.json();
    assert!(findings(&report, "problem").iter().any(|text| text.starts_with("The audit trail is not whole")));
    assert_eq!(report["trail"]["problems"].as_array().unwrap().len(), 1);
}

/// A source that keeps its objective, and lacks something all the time.
#[test]
fn a_source_that_is_not_whole_is_named() {
    let case = Case::new();
    let settings = case.dir().join("bygone.toml");
    let before = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{before}[source.hooks]\nafter = \"echo full; exit 7\"\n")).unwrap();
    assert_eq!(case.run(&["snapshot"]).0, 3);
    let report = case.json();
    let problems = findings(&report, "problem");
    let named = |f: &&String| f.contains("hostile") && f.contains("is not whole: ") && f.contains("status 7");
    assert_eq!(problems.iter().filter(named).count(), 1, "{problems:?}");
    fs::write(&settings, before).unwrap();
    case.ok(&["snapshot"]);
    assert!(!findings(&case.json(), "problem").iter().any(|f| f.contains("is not whole")));
}

#[test]
fn names_never_become_markup() {
    let case = Case::new();
    case.live();
    let page = case.ok(&["report", "compliance", "--from", "2020"]);
    assert!(page.contains("&lt;script&gt;document.title=&#39;hostile&#39;&lt;") && !page.contains("<script"));
    assert!(
        page.contains("&lt;b&gt;Legal&lt;/b&gt;: it&#39;s &quot;serious&quot; &amp; urgent") && !page.contains("<b>")
    );
    for outside in ["http://", "https://", "src=", "url(", "<link", "@import"] {
        assert!(!page.contains(outside), "it needs nothing else: {outside}");
    }
    assert!(page.contains("Backups were not as they should be: 1 problem(s)."));
}

/// Chromium, with a profile of its own, on a page.
fn chromium(profile: &str, args: &[&str], page: &str) -> (String, String) {
    let out = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={profile}"))
        .args(args)
        .arg(page)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("chromium can't be run ({e}): install the package chromium"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}", text(&out.stderr));
    (text(&out.stdout), text(&out.stderr))
}

#[test]
fn a_browser_shows_it() {
    let case = Case::new();
    case.live();
    let file = case.dir().join("report.html");
    let told = case.ok(&["report", "compliance", "--from", "2020", "--out", file.to_str().unwrap()]);
    assert!(told.starts_with("wrote the report to "), "{told}");
    assert!(case.ok(&["audit", "show", "--kind", "report"]).contains("report.html"));
    let profile = case.dir().join("profile");
    let page = format!("file://{}", file.display());
    let (dom, _) = chromium(profile.to_str().unwrap(), &["--dump-dom"], &page);
    assert!(
        dom.contains("<title>Backup compliance report</title>"),
        "nothing in it ran: {}",
        &dom[..dom.len().min(400)]
    );
    for heading in [
        "Backup compliance report",
        "What was protected",
        "What was verified",
        "Legal holds in force",
        "What was deleted, and on what authority",
        "What was restored, handed over or mounted",
        "Changes of keys and rules",
        "What failed",
        "Whether this record is whole",
    ] {
        assert!(dom.contains(&format!(">{heading}</h")), "{heading}");
    }
    // As the browser understood it, the name is text in a heading, and there is no element of it.
    assert!(dom.contains("&lt;script&gt;document.title='hostile'&lt;") && !dom.contains("<script"), "{dom}");
    let shot = case.dir().join("shot.png");
    chromium(
        profile.to_str().unwrap(),
        &[&format!("--screenshot={}", shot.display()), "--window-size=1200,2400"],
        &page,
    );
    let png = fs::read(shot).unwrap();
    assert!(png.starts_with(b"\x89PNG") && png.len() > 50_000, "a page with something on it: {} bytes", png.len());
}
