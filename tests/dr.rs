//! Disaster recovery between sites, by the real program: a copy takes over without the repository, whoever wrote there stops, nothing that
//! either captured is lost, and it goes back with the difference only.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/s3.rs"]
mod s3;

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A machine: settings, a state directory, and the two places.
struct Machine {
    dir: PathBuf,
    name: String,
    env: Vec<(String, String)>,
}

impl Machine {
    /// With a repository and a site in directories, and a source.
    fn new(dir: &Path, more: &str) -> Machine {
        let repository = format!("{:?}", dir.canonicalize().unwrap().join("near"));
        Machine::at(dir, &repository, more, Vec::new())
    }

    fn at(dir: &Path, repository: &str, more: &str, env: Vec<(String, String)>) -> Machine {
        let machine = Machine { dir: dir.canonicalize().unwrap(), name: "a".into(), env };
        fs::create_dir(machine.path("src")).unwrap();
        machine.write(&format!(
            "# Ours.\nrepository = {repository}\nstate = {:?}\nhost = \"pluto\"\n[key]\nfile = {:?}\n[limits]\npressure = false\n\
             [[source]]\npath = {:?}\n[[site]]\nname = \"far\"\nrepository = {:?}\n{more}",
            machine.path("state"),
            machine.path("key"),
            machine.path("src"),
            machine.path("far")
        ));
        machine.ok(&["init"]);
        machine
    }

    /// A machine with the settings and the state that this one has now, and which goes on with them.
    fn left_behind(&self) -> Machine {
        let machine = Machine { name: "b".into(), dir: self.dir.clone(), env: self.env.clone() };
        let (state, other) = (self.path("state"), self.path("state-b"));
        assert!(Command::new("cp").arg("-a").args([&state, &other]).status().unwrap().success());
        machine.write(&self.settings().replace(&format!("{state:?}"), &format!("{other:?}")));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn file(&self) -> String {
        self.path("src/file").display().to_string()
    }

    fn settings(&self) -> String {
        fs::read_to_string(self.path(&format!("{}.toml", self.name))).unwrap()
    }

    fn write(&self, settings: &str) {
        fs::write(self.path(&format!("{}.toml", self.name)), settings).unwrap();
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.path(&format!("{}.toml", self.name))).args(args).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.dir).envs(self.env.iter().cloned()).stdin(Stdio::null());
        let out = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    /// Runs it, and it has to end so; all that it said.
    fn ends(&self, status: i32, args: &[&str]) -> String {
        let (is, out, told) = self.run(args);
        assert_eq!(is, status, "{} {args:?}: {out}{told}", self.name);
        out + &told
    }

    fn ok(&self, args: &[&str]) -> String {
        self.ends(0, args)
    }

    /// The lines of JSON that it prints, ending so.
    fn json(&self, status: i32, args: &[&str]) -> Vec<Value> {
        let (is, out, told) = self.run(&[&["--json"], args].concat());
        assert_eq!(is, status, "{} {args:?}: {out}{told}", self.name);
        out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// That this is the content of the file in what it captured last; which of two writers it is, it may say.
    fn shows(&self, content: &str) {
        let (status, out, told) = self.run(&["cat", &self.file()]);
        assert!(status == 0 && out == content, "{out}{told}");
    }

    fn capture(&self, content: &str) {
        fs::write(self.file(), content).unwrap();
        self.ok(&["snapshot"]);
    }

    /// The hosts of the repository, and all contents that the file ever had for each of them.
    fn histories(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        self.run(&["list"]);
        let status: Value = serde_json::from_str(&self.run(&["--json", "status"]).1).unwrap();
        let hosts: BTreeSet<String> =
            status["sources"].as_array().unwrap().iter().map(|s| s["host"].as_str().unwrap().to_owned()).collect();
        let mut contents = BTreeSet::new();
        for host in &hosts {
            for line in self.run(&["--json", "log", "--host", host, &self.file()]).1.lines() {
                let version: Value = serde_json::from_str(line).unwrap();
                let Some(at) = version["from"].as_str() else { continue };
                let (status, out, told) = self.run(&["cat", "--host", host, "--at", at, &self.file()]);
                assert!(status == 0 || !told.contains("damage"), "{told}");
                contents.extend((status == 0).then_some(out));
            }
        }
        (hosts, contents)
    }

    /// What `dr status` says of the repository and of the one site.
    fn status(&self, status: i32) -> (Value, Value) {
        let lines = self.json(status, &["dr", "status"]);
        (lines[0].clone(), lines[1].clone())
    }
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let (mut open, mut all) = (vec![dir.to_owned()], BTreeSet::new());
    while let Some(dir_now) = open.pop() {
        for entry in fs::read_dir(&dir_now).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => drop(all.insert(path.strip_prefix(dir).unwrap().display().to_string())),
            }
        }
    }
    all
}

fn missed(site: &Value) -> String {
    site["missed"].to_string()
}

#[test]
fn status_holds_each_site_against_its_objectives_and_says_what_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let a = Machine::new(dir.path(), "objective = \"100ms\"\n");
    a.capture("one");
    let (own, site) = a.status(3);
    assert_eq!((&own["side"], &own["promotion"], &own["site"]), (&"goes-on".into(), &0.into(), &"origin".into()));
    assert!(site["reached"] == false && missed(&site).contains("nothing can be recovered from there now"), "{site}");
    assert!(site["recovery_point_seconds"].is_null(), "{site}");

    a.ok(&["replicate"]);
    let (_, site) = a.status(0);
    assert_eq!(
        (&site["side"], &site["role"], &site["missed"]),
        (&"copy".into(), &"standby".into(), &Value::Array(vec![]))
    );
    assert_eq!(site["recovery_point_seconds"], 0.0, "{site}");
    assert!(
        site["recovery_time_seconds"].is_null()
            && site["recovery_time_by"].as_str().unwrap().contains("nothing was measured")
    );

    // A recovery time that nobody has measured does not meet an objective.
    a.write(&format!("{}recovery-time = \"1h\"\n", a.settings()));
    assert!(missed(&a.status(3).1).contains("is not known"));
    a.write(&a.settings().replace("recovery-time = \"1h\"\n", ""));

    a.capture("two");
    std::thread::sleep(std::time::Duration::from_millis(150));
    let (_, site) = a.status(3);
    assert!(missed(&site).contains("would be lost") && site["sources"][0]["snapshot"] == 1, "{site}");
    let told = a.ends(3, &["dr", "status"]);
    assert!(told.contains("missed:") && told.contains("up to snapshot 1 of 2"), "{told}");

    // What is asked is the site as it is now, and not what the last run left there.
    a.ok(&["replicate"]);
    a.status(0);
    let pack = names(&a.path("far")).into_iter().find(|name| name.starts_with("packs/")).unwrap();
    fs::rename(a.path("far").join(&pack), a.path("aside")).unwrap();
    assert!(missed(&a.status(3).1).contains("lacks 1 pack(s)"));
    let told = a.ends(2, &["dr", "status", "nowhere"]);
    assert!(told.contains("no site \"nowhere\""), "{told}");
}

#[test]
fn a_copy_takes_over_without_the_repository_and_goes_back_with_the_difference() {
    let dir = tempfile::tempdir().unwrap();
    let a = Machine::new(dir.path(), "");
    a.capture("one");
    a.ok(&["replicate"]);
    a.capture("two");
    let before = a.settings();
    let (near, gone) = (a.path("near"), a.path("near-gone"));
    fs::rename(&near, &gone).unwrap();
    assert!(!a.run(&["snapshot"]).1.contains("snapshot 3"));

    // What is lost is told, and nothing is done unless that is accepted.
    let told = a.ends(1, &["dr", "failover", "far"]);
    assert!(told.contains("are lost, up to snapshot 2") && told.contains("--accept-loss"), "{told}");
    let told = a.ok(&["dr", "failover", "far", "--dry-run"]);
    assert!(told.contains("would promote"), "{told}");
    assert_eq!(a.settings(), before);
    assert!(!a.path("far/promotion").exists());
    a.ok(&["dr", "failover", "far", "--accept-loss"]);
    let now = a.settings();
    assert!(
        now.contains("# Ours.") && now.contains("site-name = \"far\"") && now.contains("name = \"origin\""),
        "{now}"
    );
    a.ok(&["config", "check"]);
    a.shows("one");
    a.capture("three");
    assert_eq!(a.histories(), (set(&["pluto"]), set(&["one", "three"])));
    a.ok(&["verify", "--read-data"]);

    // An old place that comes back with nothing new in it is brought up to date, and then it is the repository again.
    fs::rename(&gone, &near).unwrap();
    fs::remove_dir_all(&near).unwrap();
    let told = a.ends(3, &["dr", "status"]);
    assert!(told.contains("nothing can be recovered from there now"), "{told}");
    a.ok(&["dr", "rejoin", "--anew"]);
    let (own, site) = a.status(0);
    assert_eq!((&own["site"], &own["promotion"], &site["side"]), (&"far".into(), &1.into(), &"fenced".into()));
    a.capture("four");
    let known = names(&a.path("far"));
    let plan = a.json(0, &["dr", "failback", "--dry-run"]).remove(0);
    let there = names(&near);
    let new = known.difference(&there).filter(|name| !name.starts_with("promotion/")).count();
    assert_eq!(plan["copy"].as_u64().unwrap() as usize, new, "only the difference: {plan}");
    assert!(new > 0 && plan["same"].as_u64().unwrap() > plan["copy"].as_u64().unwrap(), "{plan}");
    let told = a.ok(&["dr", "failback"]);
    assert!(told.contains("nothing is lost"), "{told}");
    assert!(a.settings().contains("site-name = \"origin\"") && a.settings().contains("name = \"far\""));
    a.capture("five");
    assert_eq!(a.histories(), (set(&["pluto"]), set(&["one", "three", "four", "five"])));
    let (own, site) = a.status(0);
    assert_eq!((&own["site"], &own["promotion"], &site["side"]), (&"origin".into(), &2.into(), &"fenced".into()));
    a.ok(&["replicate"]);
    let (status, out, _) = a.run(&["dr", "status"]);
    assert!(status == 0 && !out.contains("missed"), "{out}");
    a.ok(&["verify", "--read-data"]);
    // And once more, the other way.
    a.ok(&["dr", "failover", "far"]);
    a.capture("six");
    assert!(a.histories().1.contains("six"));
    let kinds = a.ok(&["--json", "audit", "show", "--kind", "failover"]);
    assert_eq!(kinds.lines().count(), 2, "{kinds}");
}

#[test]
fn whoever_wrote_there_stops_and_both_histories_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let a = Machine::new(dir.path(), "");
    a.capture("one");
    a.ok(&["replicate"]);
    let (near, gone) = (a.path("near"), a.path("near-gone"));
    fs::rename(&near, &gone).unwrap();
    let b = a.left_behind();
    a.ok(&["dr", "failover", "far"]);
    a.capture("far 1");
    fs::rename(&gone, &near).unwrap();

    // The old side does not know, and goes on, until it sees the promotion.
    b.capture("near 1");
    b.capture("near 2");
    let health = a.ends(3, &["dr", "status"]);
    assert!(health.contains("both sides wrote"), "{health}");
    let (_, site) = a.status(3);
    assert_eq!(site["diverged"], 2, "{site}");
    let told = b.ends(3, &["dr", "status"]);
    assert!(told.contains("was promoted (promotion 1)") && told.contains("bygone dr failover far"), "{told}");
    let told = b.ends(1, &["replicate"]);
    assert!(told.contains("was promoted"), "{told}");
    let told = b.ends(1, &["snapshot"]);
    assert!(told.contains("goes on no more") && told.contains("promotion 1"), "{told}");
    assert!(b.ends(1, &["maintain"]).contains("goes on no more"));
    assert_eq!(b.histories().1, set(&["one", "near 1", "near 2"]), "it is read as ever");

    // It can't be copied over, nor be gone back to, before it is joined; health says so.
    a.run(&["replicate"]);
    let health = a.ends(1, &["health"]);
    assert!(health.contains("both sides wrote"), "{health}");
    let told = a.run(&["dr", "failback"]);
    assert!(told.0 == 1 && !a.settings().contains("site-name = \"origin\""), "{told:?}");
    let both = set(&["one", "near 1", "near 2", "far 1", "far 2"]);
    a.capture("far 2");
    a.ok(&["dr", "rejoin"]);
    let (hosts, contents) = a.histories();
    assert_eq!(contents, both);
    assert!(
        hosts.len() == 2 && hosts.contains("pluto") && hosts.iter().any(|host| host.starts_with("pluto~")),
        "{hosts:?}"
    );
    assert_eq!(a.json(0, &["dr", "status"])[1]["diverged"], 0);
    // Whichever of the two keeps the name, capture goes on, and what is captured is what this machine shows.
    fs::write(a.file(), "far 3").unwrap();
    let (status, out, told) = a.run(&["snapshot"]);
    assert!(status == 0 || (status == 3 && told.contains("another writer")), "{out}{told}");
    a.shows("far 3");
    let both: BTreeSet<String> = both.into_iter().chain(["far 3".to_owned()]).collect();
    assert_eq!(a.histories().1, both);
    // For whoever sees it for the first time everything is whole.
    let fresh = |name: &str| {
        let machine = Machine { name: name.into(), dir: a.dir.clone(), env: Vec::new() };
        machine.write(&a.settings().replace(&format!("{:?}", a.path("state")), &format!("{:?}", a.path(name))));
        assert_eq!(machine.histories().1, both);
        machine.ok(&["verify", "--read-data"]);
    };
    fresh("fresh");

    // The machine that was left behind follows, and sees both.
    let (status, out, told) = b.run(&["dr", "failover", "far"]);
    assert!(out.contains("promoted already") && (status == 0 || told.contains("a second writer")), "{out}{told}");
    assert!([0, 3].contains(&status) && b.settings().contains("site-name = \"far\""), "{out}{told}");
    assert_eq!(b.histories().1, both);
    a.ok(&["dr", "failback"]);
    fresh("home");
    a.capture("home");
    let contents = a.histories().1;
    assert!(contents.is_superset(&both) && contents.contains("home"), "{contents:?}");
    a.shows("home");
}

#[test]
fn a_hand_over_that_was_interrupted_is_gone_on_with_and_an_archive_never_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let a = Machine::new(dir.path(), "");
    a.capture("one");
    a.ok(&["replicate"]);
    a.ok(&["dr", "failback"]);
    // As if it had been killed before the copy was promoted: the place before is fenced, and none goes on.
    let b = a.left_behind();
    let promotion = names(&a.path("far")).into_iter().find(|name| name.starts_with("promotion/")).unwrap();
    fs::remove_file(a.path("far").join(&promotion)).unwrap();
    b.write(
        &b.settings()
            .replace("site-name = \"far\"\n", "")
            .replace("name = \"origin\"", "name = \"far\"")
            .replace(&format!("{:?}", a.path("near")), "NEAR")
            .replace(&format!("{:?}", a.path("far")), &format!("{:?}", a.path("near")))
            .replace("NEAR", &format!("{:?}", a.path("far"))),
    );
    assert!(b.ends(1, &["snapshot"]).contains("goes on no more"));
    b.ok(&["dr", "failback"]);
    assert!(a.path("far").join(&promotion).exists(), "the same promotion, and no second one");
    b.capture("two");
    assert_eq!(b.histories().1, set(&["one", "two"]));

    let dir = tempfile::tempdir().unwrap();
    let a = Machine::new(dir.path(), "role = \"archive\"\n");
    a.capture("one");
    a.ok(&["replicate"]);
    assert!(a.ends(1, &["dr", "failover", "far"]).contains("is an archive"));
}

/// A store that takes connections and never answers: it is not asked.
#[test]
fn a_repository_that_hangs_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3::Server::start();
    let env = server.settings().into_iter().collect();
    let a = Machine::at(dir.path(), &format!("\"s3://{}/r\"", s3::BUCKET), "", env);
    a.capture("one");
    a.ok(&["replicate"]);
    server.set(s3::Mode::Hole);
    server.requests();
    a.ok(&["dr", "failover", "far"]);
    a.capture("two");
    assert_eq!(a.histories().1, set(&["one", "two"]));
    assert_eq!(server.requests(), Vec::<String>::new());
    server.set(s3::Mode::Up);
    a.ok(&["dr", "failback"]);
    assert!(a.settings().contains("repository = \"s3://"));
    a.capture("three");
    assert_eq!(a.histories().1, set(&["one", "two", "three"]));
    a.ok(&["verify", "--read-data"]);
}

#[test]
fn a_plan_is_rehearsed_from_a_site_without_the_repository() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: a drill takes root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let a = Machine::new(dir.path(), "recovery-time = \"1h\"\n");
    a.capture("one");
    a.ok(&["replicate"]);
    a.capture("two");
    let (near, src) = (a.path("near"), a.path("src"));
    let plan = format!(
        "about = \"t\"\n[[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [{src:?}]\nto = {:?}\n[[step]]\nname = \"lost\"\n\
         kind = \"command\"\nneeds = [\"files\"]\nshell = \"test -d {near} && test ! -e {near}/bygone.toml && ! touch {near}/x\"\n",
        a.path("to"),
        near = near.display()
    );
    fs::create_dir(a.path("plans")).unwrap();
    fs::write(a.path("plans/p.toml"), plan).unwrap();
    let path = a.path("plans/p.toml").display().to_string();
    a.ok(&["plan", "check", &path]);
    let report = a.json(0, &["dr", "test", "far", &path]).pop().unwrap();
    assert_eq!((&report["verdict"], &report["proved"]["files"]), (&"passed".into(), &1.into()), "{report}");
    // The same drill of the repository itself finds it there: the step can fail.
    let report = a.json(1, &["drill", "run", &path]).pop();
    assert!(report.is_none_or(|report| report["verdict"] == "failed"));
    let (_, site) = a.status(0);
    assert!(site["recovery_time_by"].as_str().unwrap().starts_with("the drill p-"), "{site}");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(a.dir.to_str().unwrap()));
    // It is the copy that is rehearsed: without it nothing is.
    fs::rename(a.path("far"), a.path("far-gone")).unwrap();
    a.ends(1, &["dr", "test", "far", &path]);
}

/// The store of `tests/disaster/two-sites`, until it is killed.
#[test]
#[ignore = "serves, and does not end"]
fn serve() {
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    s3::serve(Path::new(&given("BYGONE_STORE_DIR")), given("BYGONE_STORE_AT").parse().unwrap());
}
