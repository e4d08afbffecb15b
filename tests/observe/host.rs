//! Settings, repository and one source in a directory, and the service if it runs.

use bygone::sys::durable;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

pub(crate) struct Host {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Host {
    /// A repository and the source `a`; `more` is added to the settings, with `DIR` in it replaced.
    pub(crate) fn new(more: &str) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let host = Host { dir, child: None };
        fs::create_dir(host.path("a")).unwrap();
        let text = format!(
            "host = \"here\"\nstate = \"DIR/state\"\nrepository = \"DIR/repo\"\n[key]\nfile = \"DIR/key\"\n[capture]\nquiet = \"50ms\"\n\
             io-class = \"none\"\n[daemon]\nsocket = \"DIR/run/control\"\n{more}\n[[source]]\npath = \"DIR/a\"\n"
        );
        host.configure(&text);
        host.run(&["init"], 0);
        host.write("a/one", "first");
        host
    }

    pub(crate) fn configure(&self, text: &str) {
        self.write("bygone.toml", &text.replace("DIR", self.dir.path().to_str().unwrap()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        durable::replace(&self.path(name), text.as_bytes(), 0o644).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.arg("--config").arg(self.path("bygone.toml")).args(args).env_clear();
        command.env("HOME", self.dir.path()).env("TZ", "UTC").env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOOK_SECRET", "X-Secret: of the environment");
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    pub(crate) fn try_run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What it prints, ending with this status.
    pub(crate) fn run(&self, args: &[&str], status: i32) -> String {
        let out = self.try_run(args);
        assert_eq!(out.status.code(), Some(status), "{args:?}: {out:?}\n{}", self.read("log"));
        String::from_utf8(out.stdout).unwrap()
    }

    pub(crate) fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        self.child = Some(self.command(&["daemon"]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        self.until("the service answers", |host| host.try_run(&["jobs"]).status.success());
    }

    pub(crate) fn until(&self, what: &str, mut is: impl FnMut(&Host) -> bool) {
        for _ in 0..1200 {
            if is(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{what}: it never came; the service said\n{}", self.read("log"));
    }

    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.read("log"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let mount = self.path("mnt");
        if fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&format!(" {} ", mount.display())) {
            let _ = Command::new("umount").arg("-l").arg(mount).status();
        }
    }
}
