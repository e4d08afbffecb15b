//! The program with a repository in an object store, over a line that fails.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

#[path = "common/s3.rs"]
mod s3;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
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
    assert!(status == 3 && told.contains("captured on this host and not stored yet: 9 objects"), "{told}");
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
    wait("it waits", &|note| note.contains("objects wait"));
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
