//! A captured directory, the program, and a plain copy on which the same is done.

use crate::tree::describe;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A source with a directory in it, which is captured, and a copy of that.
pub(crate) struct World {
    _temp: tempfile::TempDir,
    dir: PathBuf,
    name: String,
}

pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

/// Something of everything.
fn plant(data: &Path) {
    fs::create_dir_all(data.join("dir/below/deep")).unwrap();
    fs::create_dir_all(data.join("gone/with/all")).unwrap();
    fs::write(data.join("gone/with/all/in it"), "i").unwrap();
    fs::write(data.join("small"), "small\n").unwrap();
    fs::write(data.join("dir/large"), noise(3 << 20, 1)).unwrap();
    fs::write(data.join("dir/below/deep/x"), "x").unwrap();
    for n in 0..200 {
        fs::write(data.join(format!("dir/below/{n}")), format!("{n}\n")).unwrap();
    }
    fs::write(data.join(OsStr::from_bytes(b"bad:,\\ \xff\n")), "b").unwrap();
    fs::hard_link(data.join("small"), data.join("dir/other name")).unwrap();
    symlink("../nowhere", data.join("dir/link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, data.join("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    xattr(&data.join("dir"), "user.note", b"n");
    xattr(&data.join("dir/large"), "trusted.t", b"t");
    fs::set_permissions(data.join("dir/below"), Permissions::from_mode(0o1755)).unwrap();
    chown(data.join("dir/large"), Some(1234), Some(4321)).unwrap();
    chown(data, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(data, Permissions::from_mode(0o750)).unwrap();
    settle(data, "2010-10-10 10:10:10.25");
}

/// Changes of every kind, the same wherever they are done.
pub(crate) fn change(data: &Path) {
    let at = |name: &str| data.join(name);
    fs::write(at("new"), "new\n").unwrap();
    fs::hard_link(at("new"), at("dir/new too")).unwrap();
    fs::write(at("dir/below/7"), "seven\n").unwrap();
    let large = File::options().write(true).open(at("dir/large")).unwrap();
    large.write_all_at(b"other", 1 << 20).unwrap();
    fs::remove_file(at("dir/below/8")).unwrap();
    fs::rename(at("dir/below/9"), at("dir/below/nine")).unwrap();
    fs::rename(at("dir/below/10"), at("dir/below/11")).unwrap();
    fs::remove_dir_all(at("gone")).unwrap();
    fs::create_dir(at("gone")).unwrap();
    fs::write(at("gone/another"), "a").unwrap();
    fs::remove_file(at("dir/link")).unwrap();
    symlink("elsewhere", at("dir/link")).unwrap();
    fs::create_dir_all(at("made/in/here")).unwrap();
    fs::write(at("made/in/here/f"), "f").unwrap();
    fs::rename(at("made"), at("renamed")).unwrap();
    fs::remove_file(at("fifo")).unwrap();
    fs::create_dir(at("fifo")).unwrap();
    xattr(&at("dir/below/12"), "user.new", b"value");
    xattr(&at("dir"), "user.note", b"changed");
    fs::set_permissions(at("dir/below/13"), Permissions::from_mode(0o4711)).unwrap();
    chown(at("dir/below"), Some(77), Some(78)).unwrap();
    fs::remove_dir_all(at("dir/below/deep")).unwrap();
    fs::write(at("dir/below/deep"), "a file now").unwrap();
    // Times that tell nothing of when this was done.
    settle(data, "2020-02-02 02:02:02.5");
}

/// Gives everything below that was changed lately this time.
pub(crate) fn settle(dir: &Path, time: &str) {
    let done = Command::new("find")
        .arg(dir)
        .args(["-depth", "-newermt", "2025-01-01", "-exec", "touch", "-h", "-d", time, "{}", "+"])
        .status()
        .unwrap();
    assert!(done.success());
}

impl World {
    /// `None`, and a line that says so, where it can't be tested.
    pub(crate) fn new() -> Option<World> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested: only root can mount an overlay");
            return None;
        }
        // The temporary directory may lie on an overlay, on which there can be no other.
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        let world = World { name: dir.join("src/data").to_str().unwrap().to_owned(), _temp: temp, dir };
        if !world.can_overlay() {
            eprintln!("not tested: no overlay can be mounted here");
            return None;
        }
        let settings = format!(
            "repository = {:?}\nstate = {:?}\nhost = \"host\"\n[key]\nfile = {:?}\n[limits]\npressure = false\n[[source]]\npath = {:?}\n",
            world.dir.join("repo"),
            world.dir.join("state"),
            world.dir.join("key"),
            world.source()
        );
        fs::write(world.dir.join("bygone.toml"), settings).unwrap();
        fs::create_dir(world.source()).unwrap();
        fs::create_dir(world.data()).unwrap();
        plant(&world.data());
        world.ok(&["init"]);
        world.ok(&["snapshot"]);
        assert!(Command::new("cp").arg("-a").arg(world.data()).arg(world.model()).status().unwrap().success());
        Some(world)
    }

    fn can_overlay(&self) -> bool {
        let at = |name: &str| self.dir.join("probe").join(name);
        ["lower", "upper", "work", "on"].iter().for_each(|name| fs::create_dir_all(at(name)).unwrap());
        let options =
            format!("lowerdir={:?},upperdir={:?},workdir={:?}", at("lower"), at("upper"), at("work")).replace('"', "");
        let mounted =
            Command::new("mount").args(["-t", "overlay", "probe", "-o", &options]).arg(at("on")).output().unwrap();
        let done = mounted.status.success() && Command::new("umount").arg(at("on")).status().unwrap().success();
        fs::remove_dir_all(self.dir.join("probe")).unwrap();
        done
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.dir.join("src")
    }

    /// The directory that is given back.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("src/data")
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The copy.
    pub(crate) fn model(&self) -> PathBuf {
        self.dir.join("model")
    }

    fn prepare<'a>(&self, command: &'a mut Command, args: &[&str]) -> &'a mut Command {
        command.arg("--config").arg(self.dir.join("bygone.toml")).args(args);
        command.env_clear().env("HOME", &self.dir).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.prepare(&mut Command::new(env!("CARGO_BIN_EXE_bygone")), args).output().unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}{}", text(&out), self.log());
        String::from_utf8(out.stdout).unwrap()
    }

    /// Adds to the settings.
    pub(crate) fn add(&self, settings: &str) {
        let path = self.dir.join("bygone.toml");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, before + settings).unwrap();
    }

    /// The program, started; it ends with what is given.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        let child = self.prepare(&mut command, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Started(child)
    }

    /// All that is mounted goes, as with the machine.
    pub(crate) fn unmount_all(&self) {
        let mut points: Vec<String> =
            self.mounts().iter().filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect();
        points.reverse();
        for point in points {
            assert!(Command::new("umount").arg("-l").arg(point).status().unwrap().success());
        }
    }

    /// The program under strace, with one fault; the process is the one that works.
    pub(crate) fn with_fault(&self, inject: &str, args: &[&str]) -> Output {
        let calls = inject.split(':').next().unwrap().to_owned();
        let mut command = Command::new("strace");
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
        self.prepare(&mut command, args).output().unwrap()
    }

    /// What the process in the background has logged.
    pub(crate) fn log(&self) -> String {
        let dirs = fs::read_dir(self.dir.join("state")).into_iter().flatten().flatten();
        dirs.filter_map(|dir| fs::read_to_string(dir.path().join("recover.log")).ok()).collect()
    }

    /// The directory of the notes of what is given back.
    pub(crate) fn notes(&self) -> PathBuf {
        let states = fs::read_dir(self.dir.join("state")).unwrap().map(|e| e.unwrap().path());
        states.into_iter().find(|path| path.join("index.db").exists()).unwrap().join("recover")
    }

    /// What stands beside the directory with this in its name.
    pub(crate) fn beside(&self, mark: &str) -> Option<PathBuf> {
        let all = fs::read_dir(self.source()).unwrap().map(|e| e.unwrap().path());
        all.into_iter().find(|path| path.to_str().is_some_and(|path| path.contains(&format!("data{mark}"))))
    }

    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().filter(|line| line.contains(self.dir.to_str().unwrap())).map(str::to_owned).collect()
    }

    pub(crate) fn is_overlay(&self) -> bool {
        self.mounts().iter().any(|line| line.contains(&format!(" {} ", self.name)) && line.contains(" overlay "))
    }

    pub(crate) fn nothing_is_mounted(&self) {
        assert_eq!(self.mounts(), Vec::<String>::new(), "{}", self.log());
    }

    /// Nothing is left but the directory.
    pub(crate) fn is_plain(&self) {
        self.nothing_is_mounted();
        assert!(self.beside(".bygone-recover-").is_none(), "{}", self.log());
    }

    pub(crate) fn wait_until_plain(&self) {
        for _ in 0..1200 {
            if self.beside(".bygone-recover-").is_none() {
                return self.is_plain();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not become a plain directory: {}{}", text(&self.run(&["recover", "--status"])), self.log());
    }

    /// The directory is as the copy, in everything.
    pub(crate) fn equals_the_model(&self) {
        let (is, wanted) = (describe(&self.data()), describe(&self.model()));
        let keys: std::collections::BTreeSet<_> = is.keys().chain(wanted.keys()).collect();
        let differ: Vec<_> = keys
            .into_iter()
            .filter(|key| is.get(*key) != wanted.get(*key))
            .map(|key| format!("{key}:\n  {:?}\n  {:?}", is.get(key), wanted.get(key)))
            .collect();
        assert!(differ.is_empty(), "{}", differ.join("\n"));
    }

    /// The state, as it is written.
    pub(crate) fn state(&self) -> String {
        let dir = self.beside(".bygone-recover-").unwrap();
        fs::read_to_string(dir.join("recovery.json")).unwrap()
    }

    /// Asks for something, as another command would.
    pub(crate) fn request(&self, what: &str) {
        fs::write(self.beside(".bygone-recover-").unwrap().join("request"), what).unwrap();
    }

    /// The process that works on it.
    pub(crate) fn worker(&self) -> Option<u32> {
        let out = self.run(&["--json", "recover", "--status"]);
        let line = String::from_utf8(out.stdout).unwrap();
        let value: serde_json::Value = serde_json::from_str(line.lines().next()?).unwrap();
        value["process"].as_u64().map(|pid| pid as u32)
    }
}

/// A process of the program.
pub(crate) struct Started(std::process::Child);

impl Started {
    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for World {
    /// Whatever failed, nothing stays behind.
    fn drop(&mut self) {
        if let Some(pid) =
            std::thread::panicking().then(|| self.worker()).flatten().and_then(|pid| i32::try_from(pid).ok())
        {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let mut points: Vec<String> =
            self.mounts().iter().filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect();
        points.reverse();
        for point in points {
            let _ = Command::new("umount").arg("-l").arg(point).status();
        }
    }
}
