//! Other programs: started in a process group of their own, ended with all that they started, and heard to their last words.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::family::Family;
use rustix::process::{Pid, Signal};

/// So much of what a program says last is kept.
pub const KEPT_BYTES: usize = 64 << 10;
/// How long what a program has started may take to begin a session of its own, once that has ended.
const LEAVING: Duration = Duration::from_secs(2);
/// What a program may still do after it was asked to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long its last words are waited for: somebody whom it left behind may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often it is looked after.
const LOOK: Duration = Duration::from_millis(10);

/// How often it is looked who of those that are to end lives still.
const LOOK_AT_ALL: Duration = Duration::from_millis(25);

/// So many of the last lines of a stream are told.
const LINES: usize = 4;

/// A program to be run.
#[derive(Debug)]
pub struct Order {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    user: Option<String>,
    dir: Option<PathBuf>,
    out: Option<OwnedFd>,
    timeout: Option<Duration>,
}

impl Order {
    /// The program `program`, which is looked for as a shell does.
    pub fn new(program: impl Into<OsString>) -> Order {
        Order { program: program.into(), args: vec![], env: vec![], user: None, dir: None, out: None, timeout: None }
    }

    /// A line for `sh -c`.
    pub fn shell(line: &str) -> Order {
        Order::new("/bin/sh").args(["-c", line])
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Order {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an option with a path.
    pub fn arg_path(self, option: &str, path: &std::path::Path) -> Order {
        self.args([OsStr::new(option), path.as_os_str()])
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Order {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// Runs it as this user of the password file, which takes a privilege.
    pub fn user(mut self, user: Option<&str>) -> Order {
        self.user = user.map(str::to_owned);
        self
    }

    /// Where it runs.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Order {
        self.dir = Some(dir.into());
        self
    }

    /// What it prints goes into this file; the end of it is kept otherwise.
    pub fn out(mut self, to: OwnedFd) -> Order {
        self.out = Some(to);
        self
    }

    /// It is ended after so long.
    pub fn timeout(mut self, timeout: Duration) -> Order {
        self.timeout = Some(timeout);
        self
    }

    /// Starts it. `NotFound` where there is no such program.
    pub fn start(self) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        let family = Family::new()?;
        command.env(family.mark(), "1");
        command.args(&self.args).envs(self.env).stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        if let Some(user) = &self.user {
            let found = find_user(user)?;
            command.uid(found.uid).gid(found.gid).env("HOME", found.home).env("USER", user).env("LOGNAME", user);
        }
        // A directory that it may not enter would be no directory for its user.
        command.current_dir(self.dir.unwrap_or_else(|| "/".into()));
        match self.out {
            Some(to) => command.stdout(Stdio::from(to)),
            None => command.stdout(Stdio::piped()),
        };
        let mut child = super::apart::confined(move || command.spawn())??;
        let out = Words::of(child.stdout.take())?;
        let err = Words::of(child.stderr.take())?;
        let name = self.program.to_string_lossy().into_owned();
        Ok(Running { name, child, family, out, err, begun: Instant::now(), timeout: self.timeout })
    }

    /// Runs it to its end, or until its time is over or `stop` is set: then its whole group is asked to end, and killed if it
    /// does not.
    pub fn run(self, stop: &AtomicBool) -> io::Result<Ended> {
        self.start()?.wait(stop)
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    family: Family,
    out: Words,
    err: Words,
    begun: Instant,
    timeout: Option<Duration>,
}

impl Running {
    /// Its process id, which is that of its group too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn look(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The end of what it has said to its standard error.
    pub fn said(&self) -> String {
        text(&self.err.taken(Duration::ZERO))
    }

    /// Waits for its end, as [`Order::run`] does. What it has left behind in its group is ended then.
    pub fn wait(mut self, stop: &AtomicBool) -> io::Result<Ended> {
        let mut cut = None;
        let status = loop {
            if let Some(status) = self.look()? {
                break status;
            }
            let over = self.timeout.filter(|timeout| self.begun.elapsed() > *timeout);
            cut = over.map(Cut::TimeOut).or(stop.load(Ordering::Relaxed).then_some(Cut::Stopped));
            if cut.is_some() {
                break self.end()?;
            }
            std::thread::sleep(LOOK);
        };
        // What is meant to stay, as a service that was started, is in a session of its own, or will be in a moment.
        let until = Instant::now() + LEAVING;
        while cut.is_none() && is_there(self.id()) && Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
        if cut.is_none() && is_there(self.id()) {
            tracing::warn!(
                "what {} (process {}) had left in the background when it ended is ended too",
                self.name,
                self.id()
            );
            end_group(self.id(), || !is_there(self.id()));
        }
        let (stdout, stderr) = (self.out.taken(LAST_WORDS), self.err.taken(LAST_WORDS));
        Ok(Ended { status, cut, stdout, stderr })
    }

    /// Asks it and all that it started to end, also what has a group or a session of its own, kills what does not, and waits.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        let id = self.id();
        let mut status = None;
        for how in [Signal::TERM, Signal::KILL] {
            let until = Instant::now() + GRACE;
            let mut told = Vec::new();
            loop {
                // When it has been waited for, its number may be somebody else's.
                status = status.or(self.look()?);
                let living = self.family.living(status.is_none().then_some(id));
                if living.is_empty() && status.is_some() {
                    break;
                }
                let new: Vec<u32> = living.into_iter().filter(|pid| !told.contains(pid)).collect();
                Family::tell(&new, how);
                told.extend(new);
                if Instant::now() > until {
                    break;
                }
                std::thread::sleep(LOOK_AT_ALL);
            }
        }
        match status {
            Some(status) => Ok(status),
            None => self.child.wait(),
        }
    }
}

/// Asks a group that an earlier process has left to end, kills it if it does not, and waits until `is_gone`, in bounded time.
pub fn end_group(id: u32, is_gone: impl Fn() -> bool) {
    for how in [Signal::TERM, Signal::KILL] {
        signal(id, how);
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if is_gone() {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Whether anybody is left in a process group.
fn is_there(group: u32) -> bool {
    let group = i32::try_from(group).ok().and_then(Pid::from_raw);
    group.is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
}

/// Tells a process group. That nobody is left to hear it is what was wanted.
fn signal(group: u32, signal: Signal) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw)
        && let Err(e) = rustix::process::kill_process_group(group, signal)
    {
        tracing::debug!("cannot signal the process group {}: {e}", group.as_raw_nonzero());
    }
}

/// Why a program did not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Its time was over.
    TimeOut(Duration),
    /// It was to stop.
    Stopped,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Why it did not end by itself.
    pub cut: Option<Cut>,
    /// The end of what it printed, where that went into no file.
    pub stdout: Vec<u8>,
    /// The end of what it said to its standard error.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Whether it did what it was asked to.
    pub fn is_good(&self) -> bool {
        self.cut.is_none() && self.status.success()
    }

    /// How it ended and the last lines it said, in one line.
    pub fn why(&self) -> String {
        match last_lines(&self.stderr) {
            None => self.to_string(),
            Some(said) => format!("{self}; it said: {said}"),
        }
    }

    /// The same, with the last lines it printed.
    pub fn why_of_both(&self) -> String {
        match last_lines(&self.stdout) {
            None => self.why(),
            Some(printed) => format!("{}; it printed: {printed}", self.why()),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cut, self.status.code(), self.status.signal()) {
            (Some(Cut::TimeOut(time)), ..) => write!(f, "it was ended after {} s, its time-out", time.as_secs_f64()),
            (Some(Cut::Stopped), ..) => f.write_str("it was ended, since bygone was to stop"),
            (_, Some(code), _) => write!(f, "it ended with status {code}"),
            (_, None, Some(signal)) => write!(f, "it was ended by signal {signal}"),
            _ => write!(f, "it ended with {}", self.status),
        }
    }
}

/// The last lines in one, if there are any.
fn last_lines(bytes: &[u8]) -> Option<String> {
    let said = text(bytes);
    let mut last: Vec<&str> = said.lines().map(str::trim_end).filter(|l| !l.is_empty()).rev().take(LINES).collect();
    last.reverse();
    (!last.is_empty()).then(|| last.join(" | "))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The end of what comes through a pipe, read by a thread of its own.
#[derive(Debug, Default)]
struct Words(Arc<(Mutex<Tail>, Condvar)>);

#[derive(Debug, Default)]
struct Tail {
    kept: Vec<u8>,
    ended: bool,
}

impl Words {
    fn of(pipe: Option<impl Read + Send + 'static>) -> io::Result<Words> {
        let words = Words::default();
        let Some(mut pipe) = pipe else {
            words.lock().ended = true;
            return Ok(words);
        };
        let to = Words(words.0.clone());
        let listen = move || {
            let mut buf = [0; 8192];
            loop {
                match pipe.read(&mut buf) {
                    Ok(0) => break,
                    Ok(n) => to.lock().take(&buf[..n]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            to.lock().ended = true;
            to.0.1.notify_all();
        };
        std::thread::Builder::new().name("child".into()).spawn(listen)?;
        Ok(words)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come, after all has or the time is over.
    fn taken(&self, patience: Duration) -> Vec<u8> {
        let waited = self.0.1.wait_timeout_while(self.lock(), patience, |tail| !tail.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.kept.clone()
    }
}

impl Tail {
    fn take(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > 2 * KEPT_BYTES {
            self.kept.drain(..self.kept.len() - KEPT_BYTES);
        }
    }
}

/// A user of the password file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The number of the first group.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
}

/// Finds a user by name in the password file.
pub fn find_user(name: &str) -> io::Result<User> {
    let text = std::fs::read_to_string("/etc/passwd")?;
    let parse = |line: &str| -> Option<User> {
        let fields: Vec<&str> = line.split(':').collect();
        let user =
            User { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()?, home: fields.get(5)?.into() };
        (*fields.first()? == name).then_some(user)
    };
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("/etc/passwd has no user {name:?}"));
    text.lines().find_map(parse).ok_or_else(missing)
}

/// Whether a process of this id runs and has `word` in its command line.
pub fn is_running(id: u32, word: &OsStr) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    !word.is_empty() && line.split(|b| *b == 0).any(|arg| arg == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    static GO: AtomicBool = AtomicBool::new(false);

    #[test]
    fn status_and_last_words_are_told() {
        let ended = Order::shell("echo out; echo one >&2; echo two >&2; exit 7").run(&GO).unwrap();
        assert!(!ended.is_good());
        assert_eq!(ended.why(), "it ended with status 7; it said: one | two");
        assert_eq!(ended.why_of_both(), "it ended with status 7; it said: one | two; it printed: out");
        assert_eq!(ended.stdout, b"out\n");
        assert!(Order::shell("test \"$X\" = y").env("X", "y").run(&GO).unwrap().is_good());
        assert_eq!(Order::new("/nonexistent").run(&GO).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let ended = Order::shell("head -c 3000000 /dev/zero; echo end").run(&GO).unwrap();
        assert!(ended.stdout.len() <= 3 * KEPT_BYTES && ended.stdout.ends_with(b"end\n"), "{}", ended.stdout.len());
    }

    #[test]
    fn a_time_out_ends_the_whole_group_and_a_background_process_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let line = format!("sleep 1000 & echo $! >{}/pid; wait", dir.path().display());
        let ended = Order::shell(&line).timeout(Duration::from_millis(300)).run(&GO).unwrap();
        assert!(matches!(ended.cut, Some(Cut::TimeOut(_))) && !ended.is_good());
        let pid: u32 = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse().unwrap();
        let gone = || !is_running(pid, OsStr::new("sleep"));
        while !gone() {
            std::thread::sleep(LOOK);
        }
        let stubborn =
            Order::shell("trap '' TERM; while :; do sleep 1000 & wait; done").timeout(Duration::from_millis(100));
        assert!(!stubborn.run(&GO).unwrap().is_good());
    }

    #[test]
    fn a_time_out_ends_what_has_a_session_of_its_own_and_lost_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let line = format!(
            "(setsid sh -c 'echo $$ >{at}/own; exec sleep 1003' &); while ! [ -s {at}/own ]; do sleep 0.01; done; sleep 1004"
        );
        let ended = Order::shell(&line).timeout(Duration::from_secs(2)).run(&GO).unwrap();
        assert!(matches!(ended.cut, Some(Cut::TimeOut(_))), "{}", ended.why());
        let own: u32 = std::fs::read_to_string(dir.path().join("own")).unwrap().trim().parse().unwrap();
        assert!(!is_running(own, OsStr::new("1003")));
    }

    #[test]
    fn what_is_left_in_the_background_is_ended_and_what_has_left_the_group_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let line = format!(
            "sleep 1001 & echo $! >{at}/left; setsid sh -c 'echo $$ >{at}/own; exec sleep 1002' & \
             while ! [ -s {at}/own ]; do sleep 0.01; done"
        );
        let ended = Order::shell(&line).run(&GO).unwrap();
        assert!(ended.is_good(), "{}", ended.why());
        let pid = |name| std::fs::read_to_string(dir.path().join(name)).unwrap().trim().parse::<u32>().unwrap();
        assert!(!is_running(pid("left"), OsStr::new("1001")));
        let own = pid("own");
        let stays = std::fs::metadata(format!("/proc/{own}")).is_ok();
        end_group(own, || !is_running(own, OsStr::new("1002")));
        assert!(stays, "a service that a hook starts goes on");
    }

    #[test]
    fn a_stop_ends_it() {
        let stop = AtomicBool::new(true);
        assert_eq!(Order::shell("sleep 1000").run(&stop).unwrap().cut, Some(Cut::Stopped));
    }
}
