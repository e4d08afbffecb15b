//! The service as its administrator meets it: the real program, real signals, a real mount.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use bygone::sys::durable;
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixDatagram, UnixStream},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

/// Settings, repository, state and sources in one directory, and the service if it runs.
struct Host {
    dir: tempfile::TempDir,
    settings: String,
    child: Option<Child>,
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Host {
    /// A repository and the source `a`; `more` is added to the settings.
    fn new(more: &str) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(at("a")).unwrap();
        let settings = format!(
            "host = \"here\"\nstate = {:?}\n[key]\nfile = {:?}\n[capture]\nquiet = \"50ms\"\nio-class = \"none\"\n\
             [daemon]\nsocket = {:?}\n{}{}",
            at("state"),
            at("key"),
            at("run/control"),
            // Other tests want the machine, too.
            if more.contains("[limits]") { "" } else { "[limits]\npressure = false\n" },
            more.replace("DIR", dir.path().to_str().unwrap()),
        );
        let host = Host { dir, settings, child: None };
        host.configure(&host.with_source("a"));
        host.run(&["init"]);
        host.write("a/one", "first");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        durable::replace(&self.path(name), text.as_bytes(), 0o644).unwrap();
    }

    fn with_source(&self, name: &str) -> String {
        format!("{}\n[[source]]\npath = {:?}\n", self.settings, self.path(name))
    }

    fn configure(&self, text: &str) {
        self.write("bygone.toml", text);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        if !args.contains(&"--config") {
            command.arg("--config").arg(self.path("bygone.toml"));
        }
        command.args(args).env_clear();
        command.env("HOME", self.dir.path()).env("TZ", "UTC").env("PATH", std::env::var_os("PATH").unwrap());
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    fn try_run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn run(&self, args: &[&str]) -> String {
        let out = self.try_run(args);
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{args:?}: {error}\n{}", self.log());
        String::from_utf8(out.stdout).unwrap()
    }

    /// What it says when it fails with this status.
    fn fail(&self, args: &[&str], status: i32) -> String {
        let out = self.try_run(args);
        assert_eq!(out.status.code(), Some(status), "{args:?}: {out:?}");
        String::from_utf8(out.stderr).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn start_with(&mut self, env: &[(&str, &str)]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command(&["daemon"]);
        command.envs(env.iter().copied()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        self.until("the service answers", |host| host.try_run(&["jobs"]).status.success());
    }

    fn start(&mut self) {
        self.start_with(&[]);
    }

    fn until(&self, what: &str, mut is: impl FnMut(&Host) -> bool) {
        for _ in 0..2400 {
            if is(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{what}: it never came; the service said\n{}", self.log());
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends the service by a signal and gives its status.
    fn end(&mut self, signal: rustix::process::Signal) -> ExitStatus {
        self.signal(signal);
        self.child.take().unwrap().wait().unwrap()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["--json", "status"])).unwrap()
    }

    fn snapshots(&self, source: usize) -> u64 {
        self.status()["sources"][source]["history"]["snapshots"].as_u64().unwrap_or(0)
    }

    fn job(&self, name: &str) -> Value {
        let all = self.run(&["--json", "jobs"]);
        let mut jobs = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        jobs.find(|job| job["name"] == name).unwrap_or_else(|| panic!("{name} in {all}"))
    }

    /// What the repository has of a file.
    fn newest(&self, name: &str) -> Option<String> {
        let out = self.try_run(&["cat", self.path(name).to_str().unwrap(), "--at", "latest"]);
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    }

    fn is_mounted(&self, dir: &Path) -> bool {
        fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&format!(" {} ", dir.display()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let dir = self.path("mnt");
        if self.is_mounted(&dir) {
            let _ = Command::new("umount").arg("-l").arg(&dir).status();
        }
    }
}

const TERM: rustix::process::Signal = rustix::process::Signal::TERM;
const KILL: rustix::process::Signal = rustix::process::Signal::KILL;
const HUP: rustix::process::Signal = rustix::process::Signal::HUP;

#[test]
fn it_captures_a_change_and_goes_on_after_a_kill_and_ends_cleanly() {
    let mut host = Host::new(if is_root() { "[mount]\nat = \"DIR/mnt\"\n" } else { "" });
    let mount = host.path("mnt");
    host.start();
    host.until("the first capture", |host| host.newest("a/one").as_deref() == Some("first"));
    host.write("a/one", "second");
    host.until("the change", |host| host.newest("a/one").as_deref() == Some("second"));
    let told = host.fail(&["daemon"], 1);
    let pid = host.child.as_ref().unwrap().id().to_string();
    assert!(told.contains("a service runs already") && told.contains(&pid), "{told}");
    let text = host.run(&["status"]);
    assert!(text.contains(&format!("\nservice  process {pid}, ")), "{text}");
    if is_root() {
        let view = mount.join("@latest").join(host.path("a/one").strip_prefix("/").unwrap());
        host.until("the mount", |_| fs::read_to_string(&view).is_ok_and(|text| text == "second"));
    }

    assert!(!host.end(KILL).success());
    assert!(host.path("run/control").exists(), "what a killed process leaves");
    host.write("a/one", "third");
    host.start();
    host.until("the change of meanwhile", |host| host.newest("a/one").as_deref() == Some("third"));
    let gaps = host.status()["sources"][0]["history"]["gaps"].as_u64().unwrap();
    assert!(gaps >= 1, "the time in which nothing watched is a gap");
    if is_root() {
        let view = mount.join("@latest").join(host.path("a/one").strip_prefix("/").unwrap());
        host.until("the mount anew", |_| fs::read_to_string(&view).is_ok_and(|text| text == "third"));
    }

    let status = host.end(TERM);
    assert!(status.success(), "{status}: {}", host.log());
    assert!(!host.path("run/control").exists() && !host.is_mounted(&mount));
    assert!(host.run(&["status"]).contains("watched     by nobody"));
    assert!(host.fail(&["jobs"], 1).contains("no service runs with the settings"));
    host.run(&["snapshot"]);
}

#[test]
fn new_settings_are_taken_whole_or_not_at_all() {
    let mut host = Host::new("");
    fs::create_dir(host.path("b")).unwrap();
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let since = |host: &Host| {
        let tasks = host.status()["service"]["tasks"].clone();
        let find = |task: &&Value| task["name"].as_str().unwrap().ends_with("/a");
        tasks.as_array().unwrap().iter().find(find).map(|task| task["since_ns"].clone())
    };
    let first = since(&host);
    let bad = format!("{}\n[[source]]\npath = \"relative\"\n", host.with_source("a"));
    host.configure(&bad);
    let line = bad.lines().position(|line| line.contains("relative")).unwrap() + 1;
    let place = format!("bygone.toml:{line}:8: the path \"relative\" is not absolute: write it from the root");
    let told = host.fail(&["reload"], 1);
    // The command itself reads the file too; the service says the same by itself.
    assert!(told.contains(&place), "{told}");
    host.signal(HUP);
    host.until("the refusal", |host| host.log().contains(&place));
    // A file that reads well, and is wrong.
    host.configure(&format!("{}\n[[source]]\npath = {:?}\n", host.with_source("a"), host.path("none")));
    let told = host.fail(&["reload"], 1);
    assert!(told.contains("none cannot be looked at") && told.contains("to do: mount or make it"), "{told}");
    let refused = host.status()["service"]["refused"]["why"].as_str().unwrap().to_owned();
    assert!(refused.contains("none cannot be looked at"), "{refused}");
    assert!(host.run(&["status"]).contains("\n  refused     new settings, "));
    host.configure(&format!("state = \"/elsewhere\"\n{}", host.with_source("a").replace("\nstate =", "\n#state =")));
    assert!(host.fail(&["reload"], 1).contains("state can't be changed while the service runs"));
    assert_eq!(since(&host), first, "nothing was disturbed");

    host.configure(&format!("{}\n[[source]]\npath = {:?}\n", host.with_source("a"), host.path("b")));
    host.signal(HUP);
    host.write("b/two", "of b");
    host.until("the new source", |host| host.newest("b/two").as_deref() == Some("of b"));
    let status = host.status();
    assert_eq!((&status["service"]["refused"], since(&host)), (&Value::Null, first));
    host.until("the watch is noted", |host| host.status()["sources"][1]["watch"]["state"] == "watched");

    host.configure(&host.with_source("b"));
    assert!(host.run(&["reload"]).contains("1 task(s) ended, 0 begun, 1 go on"));
    assert_eq!(since(&host), None);
    host.write("b/two", "still");
    host.until("what stays", |host| host.newest("b/two").as_deref() == Some("still"));
    assert!(host.end(TERM).success());
}

/// A lock that the repository keeps holds on; who takes it out of the settings is told.
#[test]
fn settings_without_a_lock_that_is_kept_are_warned_of() {
    let mut host = Host::new("[retention]\nevery = \"1h\"\nlock = \"30d\"\n");
    host.run(&["-q", "snapshot"]);
    host.run(&["-q", "maintain"]);
    host.start();
    assert!(!host.log().contains("has no effect"), "{}", host.log());
    host.configure(&host.with_source("a").replace("lock = \"30d\"", "lock = \"1d\""));
    host.run(&["reload"]);
    let told = "the lock of 1 day in the settings has no effect: a lock of 30 days is kept in the repository, for ever";
    assert!(host.log().contains(told), "{}", host.log());
}

#[test]
fn a_service_is_found_and_shown_though_its_settings_were_broken() {
    let mut host = Host::new("");
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let line = host.with_source("a").lines().count() + 1;
    // A value that can't be, and what is no TOML.
    for (wrong, column) in [("exclude = 5", 11), ("exclude = [\"", 13)] {
        host.configure(&format!("{}{wrong}\n", host.with_source("a")));
        let place = format!("bygone.toml:{line}:{column}: ");
        for command in ["status", "jobs"] {
            let out = host.try_run(&[command]);
            let told = String::from_utf8(out.stderr).unwrap();
            assert_eq!(out.status.code(), Some(3), "{told}");
            assert!(told.contains("the settings can't be used, and the service goes by those that it has"), "{told}");
            assert!(told.contains(&place) && told.contains("to do: correct it there"), "{told}");
            assert!(!told.contains("can't be told"), "{told}");
            let text = String::from_utf8(out.stdout).unwrap();
            assert!(command == "jobs" || text.contains("\nservice  process "), "{text}");
        }
        let out = host.try_run(&["health"]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.code() == Some(3) && text.contains(&place), "{text}");
        // What needs no settings but the place of the service is done all the same.
        for (args, done) in [(&["pause", "1h"][..], "paused until "), (&["resume"], "resumed")] {
            let out = host.try_run(args);
            let told = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
            assert!(out.status.code() == Some(3) && told.contains(done) && told.contains(&place), "{told}");
        }
        assert!(host.fail(&["job", "cancel", "none"], 1).contains("there is no job and no source \"none\""));
        assert!(host.fail(&["reload"], 1).contains(&place));
    }
    host.configure(&format!("{}exclude = 5\n", host.with_source("a")));
    assert!(host.end(TERM).success());
    for command in ["status", "jobs", "health", "pause", "reload"] {
        let told = host.fail(&[command], 1);
        assert!(told.starts_with("error: ") && told.contains(&format!("bygone.toml:{line}:11: ")), "{told}");
    }
}

#[test]
fn a_service_of_another_file_is_told_of() {
    let mut host = Host::new("");
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let (good, own) = (host.path("good.toml"), host.path("bygone.toml"));
    fs::copy(&own, &good).unwrap();
    let pid = host.child.as_ref().unwrap().id();
    let its = format!("a service runs with {} at {}", own.display(), host.path("run/control").display());
    for command in ["jobs", "pause", "health", "status"] {
        let out = host.try_run(&["--config", good.to_str().unwrap(), command]);
        let told = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(told.contains(&format!("{its} (process {pid})")) && !told.contains("no service runs"), "{told}");
        assert!(told.contains(&format!("not the file of these settings, {}", good.display())), "{told}");
    }
    // Another source of the same name is refused.
    let named = |name: &str| format!("\n[[source]]\npath = {:?}\nname = \"twice\"\n", host.path(name));
    fs::create_dir(host.path("b")).unwrap();
    host.configure(&(host.settings.clone() + &named("a") + &named("b")));
    let told = host.fail(&["reload"], 1);
    assert!(told.contains("has the name \"twice\" of source"), "{told}");
    assert!(host.end(TERM).success());
}

#[test]
fn a_repository_that_is_away_is_brought_back_and_not_made_anew() {
    let host = Host::new("");
    let repository = host.path("state/repository");
    host.run(&["snapshot"]);
    let away = host.path("away");
    fs::rename(&repository, &away).unwrap();
    let check = |found: &str| {
        for args in
            [&["snapshot"][..], &["daemon"], &["status"], &["init"], &["protect", host.path("a").to_str().unwrap()]]
        {
            let told = host.fail(args, 1);
            let known = told.contains("which this host has used, is not there: ") && told.contains(found);
            assert!(known && told.contains("to do: bring it back: mount its disk"), "{args:?}: {told}");
        }
        let checked = host.try_run(&["config", "check"]);
        let told = String::from_utf8(checked.stdout).unwrap();
        let known = told.contains("which this host has used, is not there: ") && told.contains(found);
        assert!(checked.status.code() == Some(1) && known, "{told}");
    };
    check("there is no such directory");
    fs::create_dir(&repository).unwrap();
    check("the directory is empty");
    let new = host.path("new");
    let told = host.fail(&["--repo", new.to_str().unwrap(), "snapshot"], 1);
    assert!(
        told.contains("holds no repository") && told.contains("to do: check the place that --repo names"),
        "{told}"
    );
    host.run(&["init", "--replace-lost"]);
    host.run(&["snapshot"]);
    fs::remove_dir_all(&repository).unwrap();
    fs::rename(&away, &repository).unwrap();
    host.run(&["snapshot"]);
}

#[test]
fn who_unmounts_what_the_service_mounts_is_told_that_it_comes_back() {
    if !is_root() {
        return;
    }
    let mut host = Host::new("[mount]\nat = \"DIR/mnt\"\n");
    let mount = host.path("mnt");
    host.start();
    host.until("the mount", |host| host.is_mounted(&mount));
    let out = host.try_run(&["umount", mount.to_str().unwrap()]);
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{told}");
    let pid = host.child.as_ref().unwrap().id();
    assert!(told.contains(&format!("the service (process {pid}) mounts it there")), "{told}");
    assert!(told.contains("take `at` out of [mount] in ") && told.contains("run `bygone reload`"), "{told}");
    host.until("the mount again", |host| host.is_mounted(&mount));
    assert!(host.end(TERM).success());
}

#[test]
fn a_job_that_was_missed_runs_once_and_is_listed() {
    let mut host = Host::new(
        "[schedule]\nzone = \"UTC\"\n[[job]]\nname = \"nightly\"\nrun = \"snapshot\"\nschedule = \"daily\"\n\
                              [[job]]\nname = \"check\"\nrun = \"verify\"\nschedule = \"weekly\"\nread-data = 100\n",
    );
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let job = host.job("nightly");
    assert_eq!((&job["succeeded_ns"], &job["running_ns"]), (&Value::Null, &Value::Null), "a new schedule begins now");
    assert!(job["next_ns"].is_i64());
    assert!(host.end(TERM).success());

    // As if the machine had been off for eight days.
    let file = host.path("state/daemon/jobs.json");
    let mut kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for job in kept.as_array_mut().unwrap() {
        job["covered_ns"] = (job["covered_ns"].as_i64().unwrap() - 8 * 86_400 * 1_000_000_000).into();
    }
    durable::replace(&file, kept.to_string().as_bytes(), 0o600).unwrap();
    host.start();
    host.until("both runs", |host| ["nightly", "check"].iter().all(|name| host.job(name)["succeeded_ns"].is_i64()));
    let (nightly, check) = (host.job("nightly"), host.job("check"));
    assert!(nightly["last_result"].as_str().unwrap().contains("incremental snapshot "), "{nightly}");
    let result = check["last_result"].as_str().unwrap();
    let read = result.split_once(" snapshot(s), ").and_then(|(_, rest)| rest.split_once(" frame(s) read, no problem"));
    let (read, all) = read.and_then(|(counts, _)| counts.split_once(" of ")).unwrap_or_else(|| panic!("{check}"));
    assert!(read == all && read != "0", "everything was read: {check}");
    assert_eq!(host.log().matches("job \"nightly\" begins (missed, and caught up)").count(), 1);
    let text = host.run(&["jobs"]);
    assert!(text.contains("nightly  (daily 00:00)\n  next        ") && text.contains("\n  succeeded   "), "{text}");
    assert!(host.run(&["status"]).contains("\n  nightly  (daily 00:00)\n"));
    // Killed and begun again: what has run does not run again.
    host.end(KILL);
    host.start();
    assert_eq!(host.job("nightly")["succeeded_ns"], nightly["succeeded_ns"]);
    // Another schedule is a new one.
    let text = fs::read_to_string(host.path("bygone.toml")).unwrap();
    host.configure(&text.replace("schedule = \"daily\"", "schedule = \"daily 12:00\""));
    host.run(&["reload"]);
    assert_eq!(host.job("nightly")["succeeded_ns"], Value::Null);
    assert!(host.fail(&["job", "cancel", "nightly"], 1).contains("does not run now"));
    assert!(host.fail(&["job", "cancel", "nobody"], 1).contains("there is no job and no source \"nobody\""));
    let source = host.path("a");
    let told = host.fail(&["job", "cancel", source.to_str().unwrap()], 1);
    assert!(told.contains(&format!("nothing runs now for the source {}", source.display())), "{told}");
    // Times are shown in another zone than that of the schedule.
    host.configure(
        &(text.replace("schedule = \"daily\"", "schedule = \"daily 12:00\"") + "\n[mount]\nzone = \"Asia/Tokyo\"\n"),
    );
    let jobs = host.run(&["jobs"]);
    assert!(jobs.contains("nightly  (daily 12:00 UTC)\n") && jobs.contains(" 21:00:00 +09:00"), "{jobs}");
    assert!(host.end(TERM).success());
}

#[test]
fn a_pause_holds_over_a_restart_and_what_changed_is_captured_afterwards() {
    let mut host = Host::new("");
    host.start();
    host.until("the first capture", |host| host.newest("a/one").as_deref() == Some("first"));
    let before = host.snapshots(0);
    assert!(host.run(&["pause", "2h"]).starts_with("paused until "));
    host.write("a/one", "in between");
    host.write("a/one", "at last");
    // Long after it would have been captured.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(host.snapshots(0), before);
    assert!(host.run(&["status"]).contains("\n  paused      since "));
    host.end(KILL);
    host.start();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((host.snapshots(0), &host.status()["service"]["paused"]["until_ns"].is_i64()), (before, &true));
    // It watches already, and has not captured for the first time.
    let pid = host.child.as_ref().unwrap().id();
    host.until("it is watched", |host| host.status()["sources"][0]["watch"]["pid"] == pid);
    host.write("a/two", "after the restart");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(host.snapshots(0), before);
    let gaps = |host: &Host| -> Vec<String> {
        let gaps = host.status()["sources"][0]["history"]["last_gaps"].clone();
        gaps.as_array().unwrap().iter().map(|gap| gap["why"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(host.run(&["resume"]), "resumed\n");
    host.until("what changed", |host| host.newest("a/two").as_deref() == Some("after the restart"));
    assert_eq!(host.newest("a/one").as_deref(), Some("at last"));
    assert_eq!(host.run(&["resume"]), "it was not paused\n");
    assert_eq!(gaps(&host), ["paused", "paused"], "until it began again, and from then on");

    // While the watcher sees on, the time is a gap where something changed, and none where nothing did.
    let before = gaps(&host).len();
    host.run(&["pause"]);
    std::thread::sleep(Duration::from_secs(1));
    host.run(&["resume"]);
    // The loop looks at it a few times in a second.
    std::thread::sleep(Duration::from_millis(800));
    host.write("a/one", "after a pause without a change");
    host.until("it", |host| host.newest("a/one").as_deref() == Some("after a pause without a change"));
    assert_eq!(gaps(&host).len(), before);
    host.run(&["pause", "2s"]);
    // It holds when the loop has looked once.
    std::thread::sleep(Duration::from_millis(500));
    host.write("a/one", "during it");
    host.until("the end by itself", |host| host.newest("a/one").as_deref() == Some("during it"));
    assert_eq!((gaps(&host).len(), &host.status()["service"]["paused"]), (before + 1, &Value::Null));
    assert!(host.end(TERM).success());
}

#[test]
fn a_snapshot_goes_through_the_service_that_holds_the_source() {
    let mut host = Host::new("");
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let before = host.snapshots(0);
    let taken: Value = serde_json::from_str(&host.run(&["--json", "snapshot", "--tier", "full"])).unwrap();
    assert_eq!(taken["snapshot"]["tier"], "full");
    assert_eq!(taken["snapshot"]["number"], before + 1);
    let text = host.run(&["snapshot", host.path("a").to_str().unwrap()]);
    assert!(text.contains("  incremental: 0 new, 0 changed, 0 removed; "), "{text}");
    assert!(host.fail(&["snapshot", "/no/such"], 1).contains("/no/such is not protected"));
    host.run(&["pause"]);
    host.write("a/two", "asked for");
    host.run(&["snapshot"]);
    assert_eq!(host.newest("a/two").as_deref(), Some("asked for"), "who asks gets one, also while paused");
    assert!(host.end(TERM).success());
}

#[test]
fn each_command_is_for_its_role_and_those_above() {
    if !is_root() {
        eprintln!("not tested: only root can be somebody else");
        return;
    }
    let roles =
        "[roles]\nview = [\"@54101\"]\nrestore = [\"54102\"]\noperate = [\"54103\"]\nadminister = [\"54104\"]\n";
    let mut host = Host::new(roles);
    // Where somebody else can run it.
    fs::copy(env!("CARGO_BIN_EXE_bygone"), host.path("bygone")).unwrap();
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let ranks = ["nothing", "view", "restore", "operate", "administer"];
    let commands: [(&[&str], usize); 8] = [
        (&["status"], 1),
        (&["health"], 1),
        (&["jobs"], 1),
        (&["snapshot"], 3),
        (&["pause", "1m"], 3),
        (&["resume"], 3),
        (&["job", "cancel", "nobody"], 3),
        (&["reload"], 4),
    ];
    for (args, needs) in commands {
        for (rank, name) in ranks.iter().enumerate() {
            let mut command = Command::new(host.path("bygone"));
            command.arg("--config").arg(host.path("bygone.toml")).args(args);
            command.env_clear().env("HOME", "/nonexistent").stdin(Stdio::null()).current_dir("/");
            // The one who may view may as a member of a group.
            let number = 54_100 + u32::try_from(rank).unwrap();
            let out = command.uid(number).gid(number).output().unwrap();
            let told = String::from_utf8_lossy(&out.stderr).into_owned();
            let refused = told.contains("needs the role");
            assert_eq!(refused, rank < needs, "{args:?} by {name}: {told}");
            if refused {
                let has = if rank == 0 { "has none".to_owned() } else { format!("has {name}") };
                let word = if args[0] == "job" { "job cancel" } else { args[0] };
                let whole = format!("`{word}` needs the role {}, and uid {number} {has}", ranks[needs]);
                assert!(told.contains(&whole), "{told}");
                assert_eq!(out.status.code(), Some(1));
            } else if args[0] == "job" {
                assert!(told.contains("there is no job and no source \"nobody\""), "{told}");
            } else {
                let said = String::from_utf8_lossy(&out.stdout);
                assert!(out.status.success(), "{args:?} by {name}: {told}{said}");
            }
        }
    }
    assert!(host.end(TERM).success());
}

#[test]
fn whatever_is_said_at_the_socket_it_goes_on() {
    let mut host = Host::new("");
    host.start();
    let connect = || UnixStream::connect(host.path("run/control")).unwrap();
    let say = |bytes: &[u8]| {
        let mut stream = connect();
        // It may stop listening in the middle.
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(say(b"hello\n").contains("not understood"));
    assert!(say(b"{\"do\":\"launch\"}\n").contains("not understood"));
    assert!(say(&[&[b'['; 60_000][..], b"\n"].concat()).contains("not understood"));
    assert!(say(&[0xff; 200_000]).len() < 200);
    let other = b"{\"settings\":\"/another.toml\",\"repository\":null,\"do\":\"status\"}\n";
    assert!(say(other).contains("\"answer\":\"other\""));
    let silent: Vec<UnixStream> = (0..40).map(|_| connect()).collect();
    let jobs = b"{\"settings\":null,\"repository\":null,\"do\":\"jobs\"}\n";
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let socket = host.path("run/control");
            std::thread::spawn(move || {
                let mut stream = UnixStream::connect(socket).unwrap();
                stream.write_all(jobs).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            })
        })
        .collect();
    let answers: Vec<String> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.contains("\"answer\":\"standing\"")), "{answers:?}");
    drop(silent);
    host.until("it answers", |_| say(jobs).contains("\"answer\":\"standing\""));
    assert!(host.end(TERM).success());
}

#[test]
fn the_service_manager_hears_how_it_stands() {
    let mut host = Host::new("");
    let path = host.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    host.start_with(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    let hear = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let len = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{wanted} never came: {e}"));
            let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
            if text.lines().any(|line| line == wanted) {
                return text;
            }
        }
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    host.signal(HUP);
    let text = hear("RELOADING=1");
    assert!(text.contains("\nMONOTONIC_USEC="), "{text}");
    hear("READY=1");
    host.signal(TERM);
    hear("STOPPING=1");
    assert!(host.child.take().unwrap().wait().unwrap().success());
}

/// Bytes that do not compress, many enough that reading them takes a while.
fn noise(path: &Path, mib: u64) {
    let mut hash = blake3::Hasher::new().finalize_xof();
    let mut block = vec![0; 1 << 20];
    let mut file = fs::File::create(path).unwrap();
    for _ in 0..mib {
        hash.fill(&mut block);
        file.write_all(&block).unwrap();
    }
}

#[test]
fn what_runs_can_be_cancelled_and_does_not_hold_up_the_end() {
    let mut host = Host::new("");
    noise(&host.path("a/large"), 200);
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let before = host.snapshots(0);
    let name = format!("snapshot {}", host.path("a").display());
    let full = |host: &Host| {
        let child = host.command(&["snapshot", "--tier", "full"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        host.until("it runs", |host| host.run(&["jobs"]).contains(&name));
        child.unwrap()
    };
    let source = host.path("a").to_str().unwrap().to_owned();
    for (by, answer) in [(&name, "was asked to end"), (&source, " were asked to end")] {
        let child = full(&host);
        assert!(host.run(&["job", "cancel", by]).contains(answer));
        let out = child.wait_with_output().unwrap();
        let told = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{told}");
        assert!(told.contains("was cancelled; nothing of it was recorded"), "{told}");
        assert_eq!(host.snapshots(0), before, "nothing of it was recorded");
    }
    host.write("a/one", "captured as ever");
    host.until("the next change", |host| host.newest("a/one").as_deref() == Some("captured as ever"));
    let before = host.snapshots(0);
    let child = full(&host);
    let status = host.end(TERM);
    assert!(status.success(), "{status}: {}", host.log());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    assert_eq!(host.snapshots(0), before, "nothing of it was recorded");
}

#[test]
fn a_source_that_fails_is_begun_again_and_the_others_go_on() {
    let mut host = Host::new("");
    host.configure(&format!("{}\n[[source]]\npath = {:?}\n", host.with_source("a"), host.path("later")));
    host.start();
    host.until("the good one", |host| host.newest("a/one").as_deref() == Some("first"));
    let name = format!("watch {}", host.path("later").display());
    let task = |host: &Host| {
        let tasks = host.status()["service"]["tasks"].clone();
        tasks.as_array().unwrap().iter().find(|task| task["name"] == *name).unwrap().clone()
    };
    host.until("the failure", |host| task(host)["restarts"].as_u64().unwrap() > 0);
    assert!(task(&host)["last_error"].as_str().unwrap().contains("later"), "{}", task(&host));
    assert!(host.run(&["status"]).contains("\n    failed    "));
    fs::create_dir(host.path("later")).unwrap();
    host.write("later/x", "it is there now");
    host.until("the other one", |host| host.newest("later/x").as_deref() == Some("it is there now"));
    // A source that is added is taken up when the service is told to.
    fs::create_dir(host.path("b")).unwrap();
    let told = host.run(&["source", "add", host.path("b").to_str().unwrap()]);
    assert!(told.contains("the service takes it over with `bygone reload`"), "{told}");
    host.run(&["reload"]);
    host.write("b/y", "added");
    host.until("the added one", |host| host.newest("b/y").as_deref() == Some("added"));
    // An index that is taken away: it ends, and the next one makes it anew.
    let id = host.status()["id"].as_str().unwrap().to_owned();
    let state = host.path("state").join(id);
    // The service may write something into it meanwhile.
    while state.exists() {
        let _ = fs::remove_dir_all(&state);
    }
    let status = host.child.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(host.log().contains("the service has ended: "), "{}", host.log());
    host.start();
    host.write("b/y", "after that");
    host.until("the next service", |host| host.newest("b/y").as_deref() == Some("after that"));
    assert!(host.end(TERM).success());
}

/// Whatever keeps the processors busy, ended with the test.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Busy {
        let cpus = bygone::sys::process::cpus();
        Busy(
            (0..2 * cpus + 1)
                .map(|_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
                .collect(),
        )
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn what_somebody_waits_for_rests_for_nobody() {
    if !Path::new("/proc/pressure/cpu").exists() {
        eprintln!("not tested: the kernel does not tell whether others wait");
        return;
    }
    let host = Host::new("[limits]\npressure-cpu = 1\npatience = \"20s\"\n");
    noise(&host.path("a/large"), 6);
    let busy = Busy::start();
    for tier in ["incremental", "full"] {
        let out = host.command(&["snapshot", "--tier", tier]).output().unwrap();
        let told = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success() && !told.contains("held back"), "{told}");
    }
    drop(busy);
}

#[test]
fn a_full_rests_while_others_wait_and_small_changes_do_not() {
    if !Path::new("/proc/pressure/cpu").exists() {
        eprintln!("not tested: the kernel does not tell whether others wait");
        return;
    }
    // The first capture waits for nobody, however busy the machine is with other tests.
    let mut host = Host::new("[limits]\npressure = false\n");
    noise(&host.path("a/large"), 200);
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let at_rest = host.with_source("a");
    host.configure(&at_rest.replace("pressure = false", "pressure-cpu = 10\npatience = \"1h\""));
    host.run(&["reload"]);
    let busy = Busy::start();
    host.write("a/one", "small, and not held back");
    host.until("a small change", |host| host.newest("a/one").as_deref() == Some("small, and not held back"));
    let mut full = host.command(&["snapshot", "--tier", "full"]);
    let full = full.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let held = |host: &Host| host.status()["service"]["held_back"].clone();
    host.until("it is held back", |host| held(host)["by"] == "cpu");
    host.write("a/two", "waits");
    host.until("the change is counted", |host| held(host)["changes"].as_u64().is_some_and(|n| n > 0));
    assert!(held(&host)["behind_ns"].as_u64().is_some_and(|ns| ns > 0), "{}", held(&host));
    assert!(host.run(&["status"]).contains("held back   by cpu pressure, since "));
    assert!(host.log().contains("held back by cpu pressure"), "{}", host.log());
    // Who waits for it is told within a second or two.
    std::thread::sleep(Duration::from_secs(3));
    // Settings that let nothing rest hold at once.
    host.configure(&at_rest);
    host.run(&["reload"]);
    let full = full.wait_with_output().unwrap();
    let told = String::from_utf8(full.stderr).unwrap();
    assert!(full.status.success(), "{told}");
    assert_eq!(told.matches("held back by cpu pressure since ").count(), 1, "{told}");
    assert!(told.contains("for 1h in all at most; pressure = false in [limits]"), "{told}");
    assert_eq!(held(&host), Value::Null);
    drop(busy);
    host.until("what waited", |host| host.newest("a/two").as_deref() == Some("waits"));
}

#[test]
fn every_thread_is_nice_idle_and_one_of_few() {
    let mut host = Host::new("");
    let settings = host.with_source("a").replace("io-class = \"none\"", "io-class = \"idle\"");
    host.configure(&settings);
    noise(&host.path("a/large"), 100);
    host.start();
    host.until("the first capture", |host| host.snapshots(0) > 0);
    let pid = host.child.as_ref().unwrap().id();
    let mut full = host.command(&["snapshot", "--tier", "full"]).stdout(Stdio::null()).spawn().unwrap();
    let (mut seen, mut most) = (std::collections::BTreeSet::new(), 0);
    loop {
        let tasks: Vec<_> = fs::read_dir(format!("/proc/{pid}/task")).unwrap().filter_map(Result::ok).collect();
        most = most.max(tasks.len());
        for task in tasks {
            // A thread may end while it is looked at.
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
            let Some((name, rest)) = stat.rsplit_once(')') else { continue };
            let tid: i32 = task.file_name().to_str().unwrap().parse().unwrap();
            let nice = rest.split_whitespace().nth(16).unwrap();
            // SAFETY: ioprio_get takes two integers and touches no memory of ours.
            let class = unsafe { libc::syscall(libc::SYS_ioprio_get, 1, tid) };
            if class >= 0 {
                assert_eq!((nice, class >> 13), ("10", 3), "{name}");
                seen.insert(name.split_once('(').unwrap().1.to_owned());
            }
        }
        if let Some(status) = full.try_wait().unwrap() {
            assert!(status.success(), "{}", host.log());
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(seen.iter().any(|name| name.starts_with("capture-")), "{seen:?}");
    assert!(most <= 40, "{most} threads: {seen:?}");
}

#[test]
fn what_is_produced_at_its_times_is_a_job_like_the_others() {
    let mut host = Host::new("");
    let source = host.path("produced");
    let more = format!(
        "\n[[source]]\nkind = \"command\"\nname = \"ticks\"\npath = {source:?}\nevery = \"1s\"\nfull = \"daily 02:00\"\n\
         [[source.command]]\nname = \"now\"\nrun = \"date +%s%N\"\n"
    );
    host.configure(&(host.with_source("a") + &more));
    let name = format!("produce {}", source.display());
    let next = host.run(&["schedule", "next"]);
    assert!(next.contains(&format!("produce  {}  every 1s", source.display())), "{next}");
    let listed = host.run(&["source", "list"]);
    assert!(listed.contains("command ticks") && listed.contains("full daily 02:00"), "{listed}");
    assert!(listed.contains("produce every 1s"), "{listed}");
    host.start();
    host.until("it is produced", |host| !host.job(&name)["succeeded_ns"].is_null());
    assert_eq!(host.job(&name)["last_result"], format!("produced {}", source.display()));
    assert!(host.run(&["snapshot", "ticks"]).contains("/produced  "), "a source is found by its name");
    let first = host.newest("produced/now");
    host.until("it is produced again, and captured", |host| host.newest("produced/now") != first);
    // What fails is told as with any job.
    host.configure(&(host.with_source("a") + &more.replace("date +%s%N", "exit 7")));
    host.run(&["reload"]);
    host.until("it fails", |host| host.job(&name)["last_error"].as_str().is_some_and(|e| e.contains("status 7")));
    let health = |host: &Host| String::from_utf8(host.try_run(&["--json", "health"]).stdout).unwrap();
    host.until("its source is failing", |host| {
        health(host).contains(&format!("\"source {} produce\"", source.display()))
    });
    assert!(!health(&host).contains(&format!("\"job {name} failed\"")), "{}", health(&host));
    assert!(host.end(TERM).success());
}

/// What goes on after a failed hook is no success, and no path that could not be read.
#[test]
fn a_hook_that_fails_in_a_job_is_told_as_what_it_is() {
    let mut host = Host::new("");
    let (hook, fail) = ("echo out; echo err >&2; test ! -e DIR/fail", host.path("fail"));
    let hook = hook.replace("DIR", host.dir.path().to_str().unwrap());
    host.write("fail", "");
    host.configure(&format!(
        "{}name = \"work\"\n[source.hooks]\nafter = \"{hook}\"\non-failure = \"continue\"\n\
         [[job]]\nname = \"often\"\nrun = \"snapshot\"\nschedule = \"every 1m\"\n",
        host.with_source("a")
    ));
    host.start();
    let kept = host.path("state/output/work-after.log");
    let why = format!(
        "it ended with status 1; it said: err; it printed: out; the end of all it said is in {}",
        kept.display()
    );
    host.until("it has run", |host| !host.job("often")["last_result"].is_null());
    let result = host.job("often")["last_result"].as_str().unwrap().to_owned();
    assert!(result.ends_with(&format!(", the hook after failed: {why}")) && !result.contains("not read"), "{result}");
    let key = format!("\"source {} hook\"", host.path("a").display());
    let is_found = |host: &Host| String::from_utf8(host.try_run(&["--json", "health"]).stdout).unwrap().contains(&key);
    assert!(is_found(&host));
    let shown = host.run(&["--json", "audit", "show", "--kind", "snapshot"]);
    let entry = serde_json::from_str::<Value>(shown.lines().next().unwrap()).unwrap()["entry"].clone();
    assert_eq!((&entry["outcome"], &entry["details"]["unreadable"]), (&"partial".into(), &0.into()), "{entry}");
    assert_eq!(entry["details"]["failures"], serde_json::json!([format!("the hook after: {why}")]));
    // Who asks the service is told the same.
    let out = host.try_run(&["--json", "snapshot"]);
    let (told, error): (Value, _) =
        (serde_json::from_slice(&out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr));
    assert_eq!((out.status.code(), &told["unreadable"]), (Some(3), &serde_json::json!([])), "{told}");
    assert_eq!(told["failures"], serde_json::json!([{ "what": "the hook after", "why": why, "kept": false }]));
    assert!(error.contains(&format!("work: the hook after: {why}")) && !error.contains("not captured"), "{error}");
    fs::remove_file(fail).unwrap();
    host.run(&["-q", "snapshot"]);
    assert!(!is_found(&host), "it works again");
    assert!(host.end(TERM).success());
}

#[test]
fn what_is_produced_in_parts_becomes_one_snapshot_of_whole_files() {
    let mut host = Host::new("");
    let source = host.path("produced");
    let mut more = format!("\n[[source]]\nkind = \"command\"\nname = \"parts\"\npath = {source:?}\n");
    for part in ["one", "two", "three"] {
        let run = "date +%s%N; sleep 0.5; date +%s%N";
        more += &format!("[[source.command]]\nname = \"{part}\"\nrun = \"{run}\"\n");
    }
    host.configure(&(host.settings.clone() + &more));
    host.start();
    host.until("it is captured", |host| host.snapshots(0) == 1);
    host.run(&["snapshot", "parts"]);
    // Longer than what is seen late takes.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(host.snapshots(0), 2, "{}", host.log());
    let known = host.run(&["find", "*", "--ever"]);
    assert!(known.contains("/three") && !known.contains(".tmp-"), "{known}");
    assert!(host.end(TERM).success());
}

#[test]
fn for_who_has_gone_nothing_more_is_begun() {
    let mut host = Host::new("");
    let hook =
        |line: &str| format!("[source.hooks]\nbefore = \"{}\"\n", line.replace("DIR", host.path("").to_str().unwrap()));
    fs::create_dir(host.path("b")).unwrap();
    let first = hook("touch DIR/first; while ! [ -e DIR/go ]; do sleep 0.05; done");
    let second = format!("[[source]]\npath = {:?}\n{}", host.path("b"), hook("touch DIR/second"));
    host.configure(&format!("{}\n{first}{second}", host.with_source("a")));
    host.start();
    let mut stream = UnixStream::connect(host.path("run/control")).unwrap();
    stream
        .write_all(b"{\"settings\":null,\"repository\":null,\"do\":\"snapshot\",\"sources\":[],\"tier\":0}\n")
        .unwrap();
    host.until("the first is begun", |host| host.path("first").exists());
    drop(stream);
    host.write("go", "");
    host.until("it is told", |host| host.log().contains("who asked for it does not wait any more"));
    assert!(!host.path("second").exists());
    host.run(&["snapshot"]);
    assert!(host.path("second").exists(), "who waits gets both");
    assert!(host.end(TERM).success());
}
