//! A repository with a key of each role.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::disallowed_methods, reason = "a test plays the part of the user")]

use bygone::crypto::slots::Secret;
use bygone::progress::Quiet;
use bygone::repo::{attach::Attached, names, open::Repository, replay};
use bygone::store::local::LocalStore;
use bygone::sys::clock::SystemClock;
use bygone::types::{ids::Id, role::Role};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

/// A repository with a key of each role, and a host for each: settings and state of its own, and a source.
pub(crate) struct Lab {
    pub(crate) temp: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        let lab = Lab { temp: tempfile::tempdir().unwrap() };
        for role in Role::ALL {
            lab.host(role.word(), role.word());
        }
        lab.ok("admin", &["init"]);
        for role in [Role::Reader, Role::Writer, Role::Auditor] {
            let (word, key) = (role.word(), lab.at("keys").join(role.word()));
            let told = lab.ok("admin", &["key", "add", "--role", word, "--key-file", key.to_str().unwrap()]);
            assert!(told.contains(&format!("added a key file with the role {word} as slot ")), "{told}");
        }
        lab
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Settings of a host that has the key of a role.
    pub(crate) fn host(&self, name: &str, key: &str) {
        let (home, source) = (self.at(name), self.source(name));
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&source).unwrap();
        fs::create_dir_all(self.at("keys")).unwrap();
        fs::write(source.join("note"), format!("of {name}")).unwrap();
        let text = format!(
            "repository = {:?}\nstate = {:?}\nhost = {name:?}\n[key]\nfile = {:?}\n[limits]\npressure = false\n[mount]\nzone = \"UTC\"\n\
             [[source]]\npath = {source:?}\n",
            self.at("repo"),
            home.join("state"),
            self.at("keys").join(key),
        );
        fs::write(home.join("bygone.toml"), text).unwrap();
    }

    pub(crate) fn source(&self, host: &str) -> PathBuf {
        self.at(&format!("files-{host}"))
    }

    pub(crate) fn run(&self, host: &str, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.at(host).join("bygone.toml")).args(args);
        let out = command.env_clear().env("HOME", self.at(host)).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    }

    pub(crate) fn ok(&self, host: &str, args: &[&str]) -> String {
        let (status, out, told) = self.run(host, args);
        assert_eq!(status, 0, "{host} {args:?}: {out}{told}");
        out
    }

    pub(crate) fn json(&self, host: &str, args: &[&str]) -> Value {
        let out = self.ok(host, &[&["--json"], args].concat());
        serde_json::from_str(out.lines().last().unwrap()).unwrap()
    }

    pub(crate) fn secret(&self, key: &str) -> Secret {
        Secret::from_key_file(&fs::read_to_string(self.at("keys").join(key)).unwrap()).unwrap()
    }

    pub(crate) fn open(&self, role: Role) -> Arc<Repository> {
        let store = Arc::new(LocalStore::open(&self.at("repo")));
        Arc::new(Repository::open(store, &self.secret(role.word())).unwrap())
    }

    pub(crate) fn attached(&self, role: Role) -> Arc<Attached> {
        let state = self.at(role.word()).join("state");
        let at = Attached::open(self.open(role), &state, Arc::new(SystemClock)).unwrap();
        replay::catch_up(&at, &Quiet).unwrap();
        Arc::new(at)
    }

    pub(crate) fn packs(&self) -> Vec<(Id, u64)> {
        let all = self.open(Role::Auditor).store().list(names::PACKS).unwrap();
        all.into_iter().map(|o| (names::parse_pack(&o.name).unwrap(), o.len)).collect()
    }

    pub(crate) fn bytes_in_packs(&self) -> u64 {
        self.packs().iter().map(|(_, len)| len).sum()
    }
}

/// Bytes that do not compress.
pub(crate) fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}
