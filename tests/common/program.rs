//! The program itself, with settings, repository, state and source in one directory.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::disallowed_methods, reason = "a test plays the part of the user")]

use crate::{
    describe::{self, Depth, Tree},
    lab,
};
use bygone::crypto::slots::Secret;
use bygone::progress::Quiet;
use bygone::repo::{attach::Attached, frames::Frames, open::Repository, replay};
use bygone::store::local::LocalStore;
use bygone::sys::clock::SystemClock;
use bygone::types::{ids::Snap, path::show};
use bygone::verify::check::{self, Options};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, atomic::AtomicBool},
};

/// What was reported: the number of each snapshot, and what it must show.
pub(crate) type Reported = BTreeMap<u64, Tree>;

/// Where everything is.
#[derive(Clone)]
pub(crate) struct Program {
    /// The settings and the key.
    pub(crate) home: PathBuf,
    pub(crate) repo: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) root: PathBuf,
}

impl Program {
    /// Everything in `dir`.
    pub(crate) fn in_dir(dir: &Path) -> Program {
        let at = |name: &str| dir.join(name);
        Program { home: at("home"), repo: at("repo"), state: at("state"), root: at("root") }
    }

    /// Makes the settings, the repository and its key; the source is there.
    pub(crate) fn init(&self) {
        std::fs::create_dir_all(&self.home).unwrap();
        std::fs::create_dir_all(&self.root).unwrap();
        let text = format!(
            "repository = {:?}\nstate = {:?}\nhost = \"host\"\n[key]\nfile = {:?}\n[limits]\npressure = false\n[[source]]\npath = {:?}\n",
            self.repo,
            self.state,
            self.home.join("key"),
            self.root
        );
        std::fs::write(self.home.join("bygone.toml"), text).unwrap();
        let out = self.run(&["init"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// The same settings and repository, with a new state directory and home below `dir`: another machine of the same name.
    pub(crate) fn elsewhere(&self, dir: &Path) -> Program {
        let new = Program { home: dir.join("home"), state: dir.join("state"), ..self.clone() };
        std::fs::create_dir_all(&new.home).unwrap();
        let settings = std::fs::read_to_string(self.home.join("bygone.toml")).unwrap();
        let settings = settings.replace(&format!("{:?}", self.state), &format!("{:?}", new.state));
        std::fs::write(new.home.join("bygone.toml"), settings).unwrap();
        std::fs::copy(self.home.join("key"), new.home.join("key")).unwrap();
        new
    }

    /// The program with these arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        self.prepare(&mut command, args);
        command
    }

    /// The program under strace, with one fault.
    pub(crate) fn with_fault(&self, inject: &str, args: &[&str]) -> Command {
        let mut command = Command::new("strace");
        let calls = inject.split(':').next().unwrap();
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
            "-e",
            &format!("inject={inject}"),
        ]);
        command.arg(env!("CARGO_BIN_EXE_bygone"));
        self.prepare(&mut command, args);
        command
    }

    fn prepare(&self, command: &mut Command, args: &[&str]) {
        command.arg("--config").arg(self.home.join("bygone.toml")).args(args);
        command.env_clear().env("HOME", &self.home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null());
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Takes a snapshot that must succeed, and keeps what it must show.
    pub(crate) fn snapshot(&self, reported: &mut Reported) {
        let out = self.run(&["--json", "snapshot"]);
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{}: {error}", out.status);
        let number = number_in(&out.stdout).expect("a snapshot was reported");
        reported.insert(number, describe::of_disk(&self.root));
    }

    /// The repository with its key.
    pub(crate) fn open(&self) -> Arc<Repository> {
        let key = std::fs::read_to_string(self.home.join("key")).unwrap();
        let store = Arc::new(LocalStore::open(&self.repo));
        Arc::new(Repository::open(store, &Secret::from_key_file(&key).unwrap()).unwrap())
    }

    /// Everything that was reported reads back whole, from the index as it is and from one that is rebuilt; both are the same, and
    /// a check of everything finds nothing.
    pub(crate) fn check(&self, reported: &Reported, when: &str) {
        let repo = self.open();
        let kept = Arc::new(Attached::open(repo.clone(), &self.state, Arc::new(SystemClock)).unwrap());
        let replayed = replay::catch_up(&kept, &Quiet).unwrap();
        assert!(replayed.problems.is_empty(), "{when}: {:?}", replayed.problems);
        let aside = tempfile::tempdir().unwrap();
        let rebuilt = lab::rebuilt(&repo, aside.path());
        for (at, index) in [(&kept, "the index"), (&rebuilt, "a rebuilt index")] {
            let reader = at.reader().unwrap();
            let frames = Frames::new(repo.clone(), 16 << 20);
            for (number, tree) in reported {
                let source = reader.sources().unwrap()[0].num;
                assert!(
                    reader.snapshot(source, Snap(*number)).unwrap().is_some(),
                    "{when}: snapshot {number} was reported and is not in {index}"
                );
                let view = describe::of_view(&reader, &frames, source, Snap(*number));
                let differ = describe::differences(tree, &view, Depth::All);
                assert!(differ.is_empty(), "{when}: snapshot {number} in {index}:\n{differ}");
            }
        }
        self.same_rows(&kept, &rebuilt, when);
        let options = Options { read_data: true, ..Options::default() };
        let report = check::verify(&kept, &options, &Quiet, &AtomicBool::new(false)).unwrap();
        let problems: Vec<_> = report.problems.iter().map(|p| format!("{}: {}: {}", p.object, p.part, p.why)).collect();
        assert!(problems.is_empty(), "{when}: verify: {problems:?}");
    }

    fn same_rows(&self, kept: &Attached, rebuilt: &Attached, when: &str) {
        let (a, b) = (kept.reader().unwrap(), rebuilt.reader().unwrap());
        let Some(source) = b.sources().unwrap().first().map(|s| s.num) else { return };
        let (head, other) = (a.head(source).unwrap(), b.head(source).unwrap());
        assert_eq!(head, other, "{when}: the head and what is rebuilt");
        for number in 1..=head.number.0 {
            let rows = |reader| describe::rows(reader, source, Snap(number));
            assert_eq!(
                rows(&a),
                rows(&b),
                "{when}: snapshot {number} of {}",
                show(self.root.as_os_str().as_encoded_bytes())
            );
        }
    }
}

/// The number of the snapshot that the program has reported in JSON.
pub(crate) fn number_in(stdout: &[u8]) -> Option<u64> {
    let line = stdout.split(|b| *b == b'\n').find(|line| !line.is_empty())?;
    serde_json::from_slice::<serde_json::Value>(line).ok()?["snapshot"]["number"].as_u64()
}
