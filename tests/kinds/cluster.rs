//! A PostgreSQL cluster, for tests.

#![allow(dead_code, reason = "each test uses a part")]

use crate::world::World;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A cluster of its own, stopped when the test ends, also by a panic.
pub(crate) struct Cluster {
    pub(crate) bin: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) sock: PathBuf,
    pub(crate) port: u16,
}

/// Where Debian has the server's programs.
fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = versions.map(|e| e.unwrap().path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").exists());
    found.sort();
    found.pop().expect("PostgreSQL is missing: apt-get install postgresql")
}

/// A command as the user `postgres`, where this is root: a server refuses to be run by root.
pub(crate) fn as_postgres(program: &Path) -> Command {
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    command
}

pub(crate) fn ran(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?}: {}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout).trim_end().to_owned()
}

pub(crate) fn give_to_postgres(path: &Path) {
    if rustix::process::geteuid().is_root() {
        ran(Command::new("chown").args(["-R", "postgres:postgres"]).arg(path));
    }
}

/// A port on which nothing listens.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Cluster {
    pub(crate) fn create(world: &World, settings: &str) -> Cluster {
        use std::os::unix::fs::PermissionsExt as _;
        // The user postgres has to get through.
        std::fs::set_permissions(world.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let dir = world.at("pg");
        std::fs::create_dir(&dir).unwrap();
        give_to_postgres(&dir);
        let bin = bin();
        let cluster = Cluster { data: dir.join("data"), sock: dir, port: free_port(), bin };
        ran(as_postgres(&cluster.bin.join("initdb")).arg("-D").arg(&cluster.data).args([
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
            "--data-checksums",
        ]));
        cluster.configure(&format!("wal_level = replica\nmax_wal_senders = 4\n{settings}"));
        cluster.start();
        cluster
    }

    pub(crate) fn configure(&self, settings: &str) {
        let (sock, port) = (self.sock.display(), self.port);
        let text = format!(
            "listen_addresses = ''\nport = {port}\nunix_socket_directories = '{sock}'\nfsync = off\nshared_buffers = 16MB\n{settings}\n"
        );
        let path = self.data.join("postgresql.auto.conf");
        std::fs::write(&path, text).unwrap();
        give_to_postgres(&path);
    }

    pub(crate) fn start(&self) {
        let log = self.sock.join("log");
        let started = as_postgres(&self.bin.join("pg_ctl"))
            .arg("-D")
            .arg(&self.data)
            .arg("-l")
            .arg(&log)
            .args(["-w", "-t", "60", "start"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(started.success(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    }

    pub(crate) fn stop(&self) {
        let mut stop = as_postgres(&self.bin.join("pg_ctl"));
        let _unheard = stop.arg("-D").arg(&self.data).args(["-w", "-m", "immediate", "stop"]).output();
    }

    pub(crate) fn connection(&self) -> String {
        format!("host={} port={} user=postgres", self.sock.display(), self.port)
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        let to = format!("{} dbname=postgres", self.connection());
        ran(Command::new(self.bin.join("psql")).args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &to, "-c", sql]))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
