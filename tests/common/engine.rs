//! A distributed object store on loopback, by one of the scripts in `tests/engines`, and a host that uses it.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

use bygone::store::{s3::S3Store, s3_lock::Lock};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The engine, ended when it is dropped.
pub struct Engine {
    script: PathBuf,
    dir: tempfile::TempDir,
    /// How a client reaches it.
    pub settings: BTreeMap<String, String>,
}

impl Engine {
    /// Starts it by `tests/engines/<name>.sh`.
    pub fn start(name: &str) -> Engine {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/engines/{name}.sh"));
        let mut engine = Engine { script, dir: tempfile::tempdir().unwrap(), settings: BTreeMap::new() };
        let told = engine.run(&["up"], &[]);
        engine.settings =
            told.lines().filter_map(|l| l.split_once('=')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        engine
    }

    fn run(&self, before: &[&str], after: &[&str]) -> String {
        let mut command = Command::new(&self.script);
        // Daemons that go on keep what they were given open: a file does not wait for them.
        let (out, err) = (self.dir.path().join("out"), self.dir.path().join("err"));
        command.args(before).arg(self.dir.path()).args(after).stdin(Stdio::null());
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
        let status = command.status().unwrap();
        assert!(status.success(), "{before:?} {after:?}: {}", fs::read_to_string(err).unwrap());
        fs::read_to_string(out).unwrap()
    }

    pub fn kill(&self, node: u32) {
        self.run(&["kill"], &[&node.to_string()]);
    }

    pub fn again(&self, node: u32) {
        self.run(&["start"], &[&node.to_string()]);
    }

    pub fn store(&self, bucket: &str, prefix: &str, lock: Option<Lock>) -> S3Store {
        S3Store::open_locking(format!("s3://{bucket}/{prefix}").parse().unwrap(), &self.settings, lock).unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("down").arg(self.dir.path()).status();
    }
}

/// A host with settings, state and a source of its own.
pub struct Host<'a> {
    engine: &'a Engine,
    pub dir: tempfile::TempDir,
}

impl<'a> Host<'a> {
    pub fn new(engine: &'a Engine, url: &str, remote: &str) -> Host<'a> {
        let host = Host { engine, dir: tempfile::tempdir().unwrap() };
        fs::create_dir(host.path("src")).unwrap();
        fs::create_dir(host.path("mnt")).unwrap();
        let text = format!(
            "repository = {url:?}\nstate = {:?}\nhost = \"here\"\n[key]\nfile = {:?}\n[remote]\n{remote}\n[[source]]\npath = {:?}\n",
            host.path("state"),
            host.path("key"),
            host.path("src")
        );
        fs::write(host.path("bygone.toml"), text).unwrap();
        host.ok(&["init"]);
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.path("bygone.toml")).args(args).env_clear();
        command.env("HOME", self.dir.path()).envs(&self.engine.settings).stdin(Stdio::null());
        command
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.command(args).output().unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{args:?}: {told}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// The mount, and the newest view of the source in it.
    pub fn mount(&self) -> Mounted {
        let point = self.path("mnt");
        let log = fs::File::create(self.path("mount.log")).unwrap();
        let mut command = self.command(&["mount", "--foreground", point.to_str().unwrap()]);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mounted = Mounted { child, point };
        until("the mount is there", || mounted.point.join("@latest").exists());
        mounted
    }

    /// What the newest view has of a file.
    pub fn seen(&self, mounted: &Mounted, name: &str) -> Option<Vec<u8>> {
        let src = self.path("src");
        fs::read(mounted.point.join("@latest").join(src.strip_prefix("/").unwrap()).join(name)).ok()
    }
}

/// The program that mounts, until it is dropped.
pub struct Mounted {
    child: Child,
    point: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.point).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something that comes by itself.
pub fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Bytes that neither compress nor repeat.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

/// Capture, mount and restore, with all nodes, with one killed, and with all again.
pub fn goes_on_without_one(engine: &Engine, url: &str, remote: &str, node: u32) {
    let host = Host::new(engine, url, remote);
    let mounted = host.mount_after_first();
    for (step, change) in ["all", "one less", "all again"].into_iter().enumerate() {
        match step {
            1 => engine.kill(node),
            2 => engine.again(node),
            _ => {}
        }
        let body = noise(5_000_000, step as u64);
        fs::write(host.path("src/large"), &body).unwrap();
        fs::write(host.path("src/small"), change).unwrap();
        host.ok(&["snapshot"]);
        until(change, || host.seen(&mounted, "small").as_deref() == Some(change.as_bytes()));
        assert!(host.seen(&mounted, "large").as_ref() == Some(&body), "{change}");
        let to = host.path(&format!("to-{step}"));
        let src = host.path("src");
        host.ok(&["restore", src.to_str().unwrap(), "--at", "latest", "--to", to.to_str().unwrap()]);
        assert!(fs::read(to.join("src/large")).unwrap() == body, "{change}");
    }
    drop(mounted);
    host.ok(&["verify", "--read-data"]);
}

impl Host<'_> {
    fn mount_after_first(&self) -> Mounted {
        fs::write(self.path("src/small"), "first").unwrap();
        self.ok(&["snapshot"]);
        self.mount()
    }
}
