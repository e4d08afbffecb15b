//! Settings, a repository and the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory with everything in it.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// With these sources, in which DIR is the directory.
    pub(crate) fn new(sources: &str) -> World {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        let world = World { dir };
        world.settings(sources);
        let (status, _, told) = world.run(&["init"]);
        assert_eq!(status, 0, "{told}");
        world
    }

    /// Writes other settings.
    pub(crate) fn settings(&self, sources: &str) {
        let head = "repository = \"DIR/repo\"\nstate = \"DIR/state\"\nhost = \"host\"\n[key]\nfile = \"DIR/key\"\n";
        let text = format!("{head}{sources}").replace("DIR", self.path().to_str().unwrap());
        std::fs::write(self.path().join("bygone.toml"), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.at("bygone.toml")).args(args).stdin(Stdio::null());
        command
    }

    /// Status, standard output and standard error.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (status.code().unwrap_or(-1), text(&stdout), text(&stderr))
    }

    /// Runs it, with this status.
    pub(crate) fn good(&self, status: i32, args: &[&str]) -> (String, String) {
        let (is, out, told) = self.run(args);
        assert_eq!(is, status, "{args:?}: {out}{told}");
        (out, told)
    }

    /// A file as the repository has it.
    #[allow(dead_code, reason = "each test uses a part")]
    pub(crate) fn cat(&self, path: &Path, time: &str) -> Vec<u8> {
        let out = self.command(&["cat", path.to_str().unwrap(), "--at", time]).output().unwrap();
        assert!(out.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    /// Takes a snapshot of a source; its time as a name of time, to be looked at at once.
    pub(crate) fn snapshot(&self, args: &[&str]) -> String {
        let args: Vec<&str> = ["--json", "snapshot"].into_iter().chain(args.iter().copied()).collect();
        let (out, told) = self.good(0, &args);
        let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).expect(&told);
        first["snapshot"]["time"].as_str().unwrap().to_owned()
    }
}
