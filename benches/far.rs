//! A repository in an object store: reads over a server in this process, with and without a delay added to every request, and a
//! first snapshot into three nodes beside restic.
//!
//! `cargo bench --bench far -- [read|first|all]`. `FAR_MIB` (1024) is read; `FAR_TREE` (/usr) is captured, for which Garage
//! (`tests/engines/garage.sh install`) and restic have to be there. Needs root, for the mount and to drop the page cache.
//! Machines differ and are shared: trust ratios, not times.

#![allow(clippy::disallowed_methods, reason = "a benchmark makes files as any program does")]

#[path = "../tests/common/engine.rs"]
mod engine;
#[path = "../tests/common/s3.rs"]
mod s3;

use bygone::crypto::slots::Secret;
use bygone::repo::{attach::Attached, frames::Frames, open::Repository};
use bygone::store::api::Store;
use bygone::sys::clock::SystemClock;
use bygone::view::{content::Content, instant};
use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;
/// So much is read one request at a time: the rest would take as long for each MiB.
const SLOW_MIB: u64 = 32;

fn main() {
    let what = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_else(|| "all".into());
    if what == "read" || what == "all" {
        reads();
    }
    if what == "first" || what == "all" {
        first();
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let out = work();
    (out, start.elapsed().as_secs_f64())
}

fn env(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn cold() {
    let _ = Command::new("sync").status();
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
}

struct Host {
    dir: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Host {
    /// One that rests for nobody, as its peer does not: the nodes of the store, which wait for this machine too, are others to it.
    fn new(url: &str, settings: Vec<(String, String)>, source: &Path) -> Host {
        let host = Host { dir: tempfile::tempdir_in("/var/tmp").unwrap(), settings };
        let text = format!(
            "repository = {url:?}\nstate = {:?}\nhost = \"here\"\n[key]\nfile = {:?}\n[capture]\nio-class = \"none\"\n[limits]\npressure = false\n[[source]]\npath = {source:?}\n",
            host.path("state"),
            host.path("key")
        );
        fs::write(host.path("bygone.toml"), text).unwrap();
        host.ok(&["init"]);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.path("bygone.toml")).arg("-q").args(args).stdin(Stdio::null());
        command.envs(self.settings.iter().cloned());
        command
    }

    fn ok(&self, args: &[&str]) {
        let out = self.command(args).stdout(Stdio::null()).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn forget_cache(&self) {
        for remote in fs::read_dir(self.path("state")).unwrap().flatten() {
            let _ = fs::remove_dir_all(remote.path().join("cache"));
        }
    }

    /// Reads a file to its end through a mount of its own, cold; seconds, and requests for packs.
    fn through_the_mount(&self, server: &s3::Server, file: &Path, delay: u64) -> (f64, usize) {
        self.forget_cache();
        let point = self.path("mnt");
        fs::create_dir_all(&point).unwrap();
        let mut child = self.command(&["mount", "--foreground", point.to_str().unwrap()]).spawn().unwrap();
        engine::until("the mount is there", || point.join("@latest").exists());
        let path = point.join("@latest").join(file.strip_prefix("/").unwrap());
        fs::metadata(&path).unwrap();
        cold();
        server.delay(Duration::from_millis(delay));
        server.requests();
        let ((), seconds) = timed(|| {
            let (mut file, mut buffer) = (File::open(&path).unwrap(), vec![0; 1 << 20]);
            while file.read(&mut buffer).unwrap() > 0 {}
        });
        server.delay(Duration::ZERO);
        let _ = Command::new("umount").arg("-l").arg(&point).status();
        let _ = child.kill();
        let _ = child.wait();
        (seconds, server.requests().iter().filter(|r| r.contains("/packs/")).count())
    }
}

fn reads() {
    let mib: u64 = env("FAR_MIB", "1024").parse().unwrap();
    let server = s3::Server::start();
    let source = tempfile::tempdir_in("/var/tmp").unwrap();
    let (large, small) = (source.path().join("large"), source.path().join("small"));
    let mut file = File::create(&large).unwrap();
    for n in 0..mib {
        file.write_all(&engine::noise(MIB as usize, n + 1)).unwrap();
    }
    fs::write(&small, engine::noise(4096, 1 << 40)).unwrap();
    let host = Host::new(&format!("s3://{}/r", s3::BUCKET), server.settings().into_iter().collect(), source.path());
    host.ok(&["snapshot"]);

    let store = server.store("r");
    let packs = store.list("packs/").unwrap();
    let plain = || {
        for pack in &packs {
            store.get_range(&pack.name, 0, pack.len as usize).unwrap();
        }
    };
    let bytes = packs.iter().map(|p| p.len).sum::<u64>() as f64 / MIB as f64;
    cold();
    let ((), seconds) = timed(plain);
    let plain = bytes / seconds;
    println!("plain ranged GETs, one after another   {plain:8.0} MiB/s");
    let (seconds, requests) = host.through_the_mount(&server, &small, 0);
    println!("cold 4 KB file                         {:8.1} ms  {requests} requests for packs", seconds * 1e3);
    let (seconds, requests) = host.through_the_mount(&server, &large, 0);
    let near = mib as f64 / seconds;
    println!(
        "{mib} MiB sequential                    {near:8.0} MiB/s  {requests} requests  {:.0} % of plain",
        near / plain * 100.0
    );
    let slow = one_at_a_time(&host, &server, &large);
    println!("50 ms added, one request at a time     {slow:8.1} MiB/s");
    let (seconds, requests) = host.through_the_mount(&server, &large, 50);
    let far = mib as f64 / seconds;
    println!(
        "50 ms added, {mib} MiB sequential       {far:8.0} MiB/s  {requests} requests  {:.0} x one at a time",
        far / slow
    );
}

/// MiB a second, by one frame a request.
fn one_at_a_time(host: &Host, server: &s3::Server, file: &Path) -> f64 {
    let key = Secret::from_key_file(&fs::read_to_string(host.path("key")).unwrap()).unwrap();
    let repo = Arc::new(Repository::open(Arc::new(server.store("r")), &key).unwrap());
    let at = Attached::open(repo.clone(), &host.path("state"), Arc::new(SystemClock)).unwrap();
    let index = at.reader().unwrap();
    let view = instant::View::open(&index, "here", bygone::types::time::Instant(i64::MAX)).unwrap();
    use std::os::unix::ffi::OsStrExt as _;
    let Some(instant::Object::Node(_, row)) = view.look_up(&index, file.as_os_str().as_bytes()).unwrap() else {
        panic!("the file is there")
    };
    let content = Content::open(&index, row.source, row.ver).unwrap();
    let frames = Frames::new(repo, 8 << 20);
    server.delay(Duration::from_millis(50));
    let ((), seconds) = timed(|| {
        let mut out = Vec::new();
        for n in 0..SLOW_MIB {
            out.clear();
            content.read(&index, &frames, n * MIB, MIB as usize, &mut out).unwrap();
        }
    });
    server.delay(Duration::ZERO);
    SLOW_MIB as f64 / seconds
}

fn first() {
    let tree = PathBuf::from(env("FAR_TREE", "/usr"));
    let mut engine = engine::Engine::start("garage");
    engine.settings.insert("AWS_ENDPOINT_URL".into(), "http://127.0.0.11:3900".into());
    let settings: Vec<(String, String)> = engine.settings.clone().into_iter().collect();
    let host = Host::new("s3://backup/bygone", settings.clone(), &tree);
    cold();
    let ((), ours) = timed(|| host.ok(&["snapshot"]));
    let cache = tempfile::tempdir_in("/var/tmp").unwrap();
    let restic = |args: &[&str]| {
        let mut command = Command::new("restic");
        command.args(["-q", "-o", "s3.bucket-lookup=path", "-r", "s3:http://127.0.0.11:3900/backup/restic"]).args(args);
        command.env("RESTIC_PASSWORD", "far").env("RESTIC_CACHE_DIR", cache.path()).envs(settings.iter().cloned());
        let out =
            command.env("AWS_DEFAULT_REGION", "garage").output().expect("restic is there: apt-get install restic");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    restic(&["init"]);
    cold();
    let ((), theirs) = timed(|| restic(&["backup", tree.to_str().unwrap()]));
    println!(
        "first snapshot of {} into three nodes: {ours:.1} s, restic {theirs:.1} s, {:.2} x",
        tree.display(),
        ours / theirs
    );
}
