//! The program with a repository in an object store, over a line that fails.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/s3.rs"]
mod s3;

use bygone::store::{api::Store as _, guard::Guarded};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A host with settings, state and a source of its own.
struct Host {
    dir: tempfile::TempDir,
    name: &'static str,
}

impl Host {
    /// `key` is copied where there is one already.
    fn new(server: &s3::Server, name: &'static str, key: Option<&Path>) -> Host {
        let host = Host { dir: tempfile::tempdir().unwrap(), name };
        fs::create_dir(host.path("src")).unwrap();
        if let Some(key) = key {
            fs::copy(key, host.path("key")).unwrap();
        }
        let endpoint = &server.settings()["AWS_ENDPOINT_URL"];
        let text = format!(
            "repository = \"s3://{}/backups\"\nstate = {:?}\nhost = {name:?}\n[key]\nfile = {:?}\n\
             [remote]\nendpoint = {endpoint:?}\nregion = \"us-east-1\"\nspool = \"64 MiB\"\ncache = \"64 MiB\"\n[[source]]\npath = {:?}\n",
            s3::BUCKET,
            host.path("state"),
            host.path("key"),
            host.path("src")
        );
        fs::write(host.path("bygone.toml"), text).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn command(&self, server: &s3::Server, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.path("bygone.toml")).args(args).env_clear().env("HOME", self.dir.path());
        let settings = server.settings();
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            command.env(name, &settings[name]);
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, server: &s3::Server, args: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(server, args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn ok(&self, server: &s3::Server, args: &[&str]) -> String {
        let (status, out, told) = self.run(server, args);
        assert_eq!(status, 0, "{} {args:?}: {out}{told}", self.name);
        out
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn capture_restore_and_verify_over_the_wire() {
    let server = s3::Server::start();
    let host = Host::new(&server, "one", None);
    fs::write(host.path("src/small"), "first").unwrap();
    let large: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
    fs::write(host.path("src/large"), &large).unwrap();
    host.ok(&server, &["init"]);
    host.ok(&server, &["snapshot"]);
    fs::write(host.path("src/small"), "second").unwrap();
    host.ok(&server, &["snapshot"]);
    assert!(server.file("backups/bygone.toml").exists());
    assert!(!host.path("state").join("repository").exists());
    for to in ["to", "again"] {
        host.ok(&server, &["restore", &host.text("src"), "--at", "latest", "--to", &host.text(to)]);
        assert_eq!(fs::read(host.path(&format!("{to}/src/large"))).unwrap(), large);
        assert_eq!(fs::read(host.path(&format!("{to}/src/small"))).unwrap(), b"second");
    }
    host.ok(&server, &["verify", "--read-data"]);
    // From the store and the key alone.
    fs::remove_dir_all(host.path("state")).unwrap();
    host.ok(&server, &["index", "rebuild"]);
    assert_eq!(host.ok(&server, &["cat", &host.text("src/small")]), "second");
}

#[test]
fn capture_does_not_wait_for_the_network() {
    let server = s3::Server::start();
    let host = Host::new(&server, "one", None);
    fs::write(host.path("src/file"), "first").unwrap();
    host.ok(&server, &["init"]);
    let log = fs::File::create(host.path("log")).unwrap();
    let mut watch =
        host.command(&server, &["--json", "watch"]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let told = || fs::read_to_string(host.path("log")).unwrap();
    let snapshots = || told().matches("\"snapshot\"").count();
    let wait = |what: &str, is: &dyn Fn() -> bool| {
        let until = Instant::now() + Duration::from_secs(60);
        while !is() {
            assert!(Instant::now() < until, "{what}: {}", told());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let queue = || {
        let remotes = fs::read_dir(host.path("state")).unwrap().flatten().map(|e| e.path().join("spool/queue"));
        remotes.filter_map(|p| fs::read_dir(p).ok()).flatten().count()
    };
    wait("the first snapshot", &|| snapshots() == 1);
    wait("it is stored", &|| queue() == 0);
    server.set(s3::Mode::Cut);
    for n in 0..3 {
        fs::write(host.path("src/file"), format!("while it was cut {n}")).unwrap();
        wait("captured all the same", &|| snapshots() == 2 + n);
    }
    let waiting = queue();
    assert_eq!(waiting, 6, "a pack and a record each: {}", told());
    // After a kill it goes on, and what was captured is stored when the line is back.
    watch.kill().unwrap();
    watch.wait().unwrap();
    fs::write(host.path("src/file"), "captured by a process that began while it was cut").unwrap();
    let (status, _, told) = host.run(&server, &["snapshot"]);
    // Its own pack and record, and its entry of the audit trail.
    assert!(status == 3 && told.contains("captured on this host and not stored yet: 9 object(s)"), "{told}");
    server.set(s3::Mode::Up);
    let status: serde_json::Value = serde_json::from_str(&host.ok(&server, &["--json", "status"])).unwrap();
    assert_eq!(status["waiting"]["objects"], 9, "{status}");
    host.ok(&server, &["snapshot"]);
    assert_eq!(queue(), 0);
    fs::remove_dir_all(host.path("state")).unwrap();
    let list: Vec<serde_json::Value> = host
        .ok(&server, &["--json", "log", &host.text("src/file")])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(list.len() >= 5, "every version is there: {list:?}");
    assert_eq!(host.ok(&server, &["cat", &host.text("src/file")]), "captured by a process that began while it was cut");
    host.ok(&server, &["verify", "--read-data"]);
    host.ok(&server, &["audit", "verify"]);
    assert_eq!(queue(), 0, "the entry of the check is stored too");
}

#[test]
fn two_hosts_write_at_once_and_share_what_is_the_same() {
    let server = s3::Server::start();
    let one = Host::new(&server, "one", None);
    one.ok(&server, &["init"]);
    let two = Host::new(&server, "two", Some(&one.path("key")));
    let same: Vec<u8> = (0..500_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 9).to_le_bytes()).collect();
    for host in [&one, &two] {
        fs::write(host.path("src/own"), host.name).unwrap();
    }
    fs::write(one.path("src/same"), &same).unwrap();
    one.ok(&server, &["snapshot"]);
    fs::write(two.path("src/same"), &same).unwrap();
    let report: serde_json::Value =
        serde_json::from_str(two.ok(&server, &["--json", "snapshot"]).lines().next().unwrap()).unwrap();
    assert!(report["snapshot"]["bytes_stored"].as_u64().is_some_and(|n| n < 10_000), "{report}");
    std::thread::scope(|scope| {
        for host in [&one, &two] {
            let server = &server;
            scope.spawn(move || {
                for n in 0..5 {
                    fs::write(host.path("src/own"), format!("{} {n}", host.name)).unwrap();
                    host.ok(server, &["snapshot"]);
                }
            });
        }
    });
    for (host, other) in [(&one, &two), (&two, &one)] {
        assert_eq!(host.ok(&server, &["cat", &host.text("src/own")]), format!("{} 4", host.name));
        host.ok(&server, &["verify", "--read-data"]);
        let hosts = host.ok(&server, &["--json", "status"]);
        assert!(hosts.contains(&other.text("src")), "{hosts}");
    }
}

#[test]
fn the_service_brings_on_what_waits_when_the_line_is_back() {
    let server = s3::Server::start();
    let host = Host::new(&server, "one", None);
    let settings = fs::read_to_string(host.path("bygone.toml")).unwrap();
    let socket = format!("[daemon]\nsocket = {:?}\n[[source]]", host.path("control"));
    fs::write(host.path("bygone.toml"), settings.replacen("[[source]]", &socket, 1)).unwrap();
    host.ok(&server, &["init"]);
    host.ok(&server, &["snapshot"]);
    // On a host that knows the repository it begins, captures and answers without the store.
    server.set(s3::Mode::Cut);
    fs::write(host.path("src/file"), "while it was cut").unwrap();
    let log = fs::File::create(host.path("log")).unwrap();
    let service = host.command(&server, &["daemon"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let mut service = Running(service);
    let told = || fs::read_to_string(host.path("log")).unwrap();
    let upload = || -> Option<String> {
        let (status, out, _) = host.run(&server, &["--json", "status"]);
        // While the store is away the service tells of itself.
        let all: serde_json::Value = [0, 3].contains(&status).then(|| serde_json::from_str(&out).unwrap())?;
        let task = all["service"]["tasks"].as_array()?.iter().find(|task| task["name"] == "upload")?.clone();
        task["note"].as_str().map(str::to_owned)
    };
    let wait = |what: &str, is: &dyn Fn(&str) -> bool| {
        let until = Instant::now() + Duration::from_secs(120);
        while !upload().is_some_and(|note| is(&note)) {
            assert!(Instant::now() < until, "{what}: {:?} {}", upload(), told());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait("it waits", &|note| note.contains("object(s) wait"));
    server.set(s3::Mode::Up);
    wait("it is stored", &|note| note == "everything is stored");
    let pid = rustix::process::Pid::from_child(&service.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(service.0.wait().unwrap().success(), "{}", told());
    fs::remove_dir_all(host.path("state")).unwrap();
    assert_eq!(host.ok(&server, &["cat", &host.text("src/file")]), "while it was cut");
}

/// Ends when it is dropped.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
/// The program that mounts, until it is dropped.
struct Mounted {
    child: std::process::Child,
    point: PathBuf,
}

impl Mounted {
    fn of(host: &Host, server: &s3::Server) -> Mounted {
        let point = host.path("mnt");
        fs::create_dir_all(&point).unwrap();
        let log = fs::File::create(host.path("mount.log")).unwrap();
        let mut command = host.command(server, &["mount", "--foreground", point.to_str().unwrap()]);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mounted = Mounted { child, point };
        let until = Instant::now() + Duration::from_secs(60);
        while !mounted.point.join("@latest").exists() {
            assert!(Instant::now() < until, "{}", fs::read_to_string(host.path("mount.log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        mounted
    }

    /// A path of the source in the newest view.
    fn path(&self, host: &Host, name: &str) -> PathBuf {
        let src = host.path("src");
        self.point.join("@latest").join(src.strip_prefix("/").unwrap()).join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.point).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes that neither compress nor repeat.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

fn pack_reads(server: &s3::Server) -> usize {
    server.requests().iter().filter(|r| r.starts_with("GET") && r.contains("/packs/")).count()
}

fn forget_cache(host: &Host) {
    for remote in fs::read_dir(host.path("state")).unwrap().flatten().filter(|e| e.path().join("cache").exists()) {
        fs::remove_dir_all(remote.path().join("cache")).unwrap();
    }
}

#[test]
fn a_far_store_is_read_ahead_in_few_requests_and_several_at_once() {
    let server = s3::Server::start();
    let host = Host::new(&server, "one", None);
    let large = noise(40 << 20, 7);
    fs::write(host.path("src/large"), &large).unwrap();
    fs::write(host.path("src/small"), noise(4096, 3)).unwrap();
    for n in 0..60 {
        fs::write(host.path(&format!("src/z{n:02}")), noise(200_000, 100 + n)).unwrap();
    }
    host.ok(&server, &["init"]);
    host.ok(&server, &["snapshot"]);
    forget_cache(&host);
    let mounted = Mounted::of(&host, &server);
    server.delay(Duration::from_millis(20));
    server.requests();
    assert_eq!(fs::read_dir(mounted.path(&host, "")).unwrap().count(), 62);
    assert_eq!(fs::metadata(mounted.path(&host, "large")).unwrap().len(), 40 << 20);
    assert_eq!(pack_reads(&server), 0, "a listing needs no network");
    assert_eq!(fs::read(mounted.path(&host, "small")).unwrap(), noise(4096, 3));
    assert!(pack_reads(&server) <= 2, "a small file is in one frame");
    server.most_at_once();
    assert!(fs::read(mounted.path(&host, "large")).unwrap() == large);
    let (reads, at_once) = (pack_reads(&server), server.most_at_once());
    // 40 MiB in frames of some 300 KiB.
    assert!(reads < 60, "{reads} requests");
    assert!(at_once >= 4, "{at_once} at once");
    for n in 0..60 {
        assert!(fs::read(mounted.path(&host, &format!("z{n:02}"))).unwrap() == noise(200_000, 100 + n));
    }
    let reads = pack_reads(&server);
    assert!(reads < 30, "{reads} requests for 60 small files");
    drop(mounted);
    forget_cache(&host);
    for args in [&["cat"][..], &["restore", "--at", "latest", "--to"]] {
        server.requests();
        server.most_at_once();
        let (to, file) = (host.text("to"), host.text("src/large"));
        let args: Vec<&str> =
            args.iter().copied().chain((args.len() > 1).then_some(to.as_str())).chain([file.as_str()]).collect();
        let out = host.command(&server, &args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let got = if args.len() > 2 { fs::read(host.path("to/large")).unwrap() } else { out.stdout };
        assert!(got == large);
        let (reads, at_once) = (pack_reads(&server), server.most_at_once());
        assert!(reads < 60 && at_once >= 4, "{args:?}: {reads} requests, {at_once} at once");
        forget_cache(&host);
    }
}

#[test]
fn while_the_store_is_away_what_is_here_is_served_and_the_rest_is_an_error() {
    let server = s3::Server::start();
    let host = Host::new(&server, "one", None);
    fs::write(host.path("src/read"), noise(300_000, 5)).unwrap();
    host.ok(&server, &["init"]);
    host.ok(&server, &["snapshot"]);
    // In a pack of their own, of which nothing is read ahead.
    fs::write(host.path("src/unread"), noise(300_000, 6)).unwrap();
    fs::write(host.path("src/also"), noise(300_000, 8)).unwrap();
    fs::write(host.path("src/new"), "new").unwrap();
    host.ok(&server, &["snapshot"]);
    forget_cache(&host);
    let mounted = Mounted::of(&host, &server);
    assert!(fs::read(mounted.path(&host, "read")).unwrap() == noise(300_000, 5));
    server.set(s3::Mode::Cut);
    assert!(fs::read(mounted.path(&host, "read")).unwrap() == noise(300_000, 5));
    assert_eq!(fs::read_dir(mounted.path(&host, "")).unwrap().count(), 4);
    for name in ["unread", "also", "unread"] {
        let e = fs::read(mounted.path(&host, name)).map(|bytes| bytes.len()).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(5), "{name}: {e}");
    }
    // What is in the index is told without the store, by every command that only looks.
    fs::write(host.path("src/new"), "newer").unwrap();
    let (status, _, told) = host.run(&server, &["snapshot"]);
    assert!(status == 3 && told.contains("not stored yet"), "{told}");
    let text = host.ok(&server, &["status"]);
    assert!(text.contains("away") && text.contains("the last failure"), "{text}");
    let status: serde_json::Value = serde_json::from_str(&host.ok(&server, &["--json", "status"])).unwrap();
    assert!(status["away"]["since_ns"].as_i64().is_some_and(|ns| ns > 0), "{status}");
    assert!(status["waiting"]["last_error"].as_str().is_some_and(|why| why.contains("cannot write")), "{status}");
    assert!(status["waiting"]["objects"].as_u64().is_some_and(|n| n >= 2), "{status}");
    assert!(status["stored"]["packs"].as_u64().is_some_and(|n| n >= 2), "{status}");
    assert!(host.ok(&server, &["list"]).lines().count() >= 3);
    assert_eq!(host.ok(&server, &["--json", "log", &host.text("src/new")]).lines().count(), 2);
    assert!(host.ok(&server, &["find", "unread"]).contains("unread"));
    assert_eq!(host.ok(&server, &["cat", &host.text("src/new")]), "newer", "what waits here can be read");
    // It heals by itself.
    server.set(s3::Mode::Up);
    let until = Instant::now() + Duration::from_secs(60);
    while fs::read(mounted.path(&host, "unread")).is_err() {
        assert!(Instant::now() < until, "{}", fs::read_to_string(host.path("mount.log")).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(fs::read(mounted.path(&host, "also")).unwrap() == noise(300_000, 8));
    host.ok(&server, &["snapshot"]);
    let status: serde_json::Value = serde_json::from_str(&host.ok(&server, &["--json", "status"])).unwrap();
    assert!(status["away"].is_null() && status["waiting"]["last_error"].is_null(), "{status}");
}

/// A line that breaks in the middle of what it brings is as good as none, although every short answer comes through.
#[test]
fn bodies_that_end_early_are_waited_for_once_and_not_at_every_request() {
    let server = s3::Server::start();
    let dir = tempfile::tempdir().unwrap();
    let store = Guarded::open(Arc::new(server.store("r")), &dir.path().join("away"));
    store.put("bygone.toml", &[1; 500]).unwrap();
    store.put("packs/x", &noise(100_000, 1)).unwrap();
    server.break_bodies(true);
    assert!(store.get("packs/x", 1 << 20).unwrap_err().is_unanswered());
    server.requests();
    let mut probes = 0;
    while probes < 2 {
        probes += server.requests().iter().filter(|r| r.contains("bygone.toml")).count();
        assert!(store.away().is_some(), "what comes through is too short to tell");
        assert!(store.size("packs/x").unwrap_err().to_string().contains("has not answered"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.break_bodies(false);
    while store.away().is_some() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(store.get("packs/x", 1 << 20).unwrap(), noise(100_000, 1));
}
