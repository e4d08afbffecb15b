//! The process itself: its priority, limits, memory, host, and the signals that ask it to stop.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit};

const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_IDLE: libc::c_int = 3;
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;

/// Puts the calling thread into the idle I/O class: its disk requests wait for everybody else's, where the disk's scheduler
/// knows classes. Threads that it starts later inherit it.
pub fn set_idle_io() -> io::Result<()> {
    // SAFETY: ioprio_set takes three integers and touches no memory of ours.
    let result =
        unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the nice value of the calling thread, -20 to 19; threads that it starts later inherit it. Lowering it needs a
/// privilege.
pub fn set_nice(nice: i32) -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, nice)?)
}

/// CPUs this process may run on, within its affinity and its cgroup's quota; at least 1.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Raises the limit of open files to what the process may have. The limit now in force.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Memory of the process that is resident, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Now.
    pub current: u64,
    /// The most there has been.
    pub peak: u64,
}

/// How much memory the process holds and has held, as `/proc/self/status` says.
pub fn memory() -> io::Result<Memory> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/self/status has no field {name}"));
        kib.map(|kib| kib << 10).ok_or_else(missing)
    };
    Ok(Memory { current: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// Keeps the heap of a long-lived process close to what it holds: large blocks go back to the system when they are freed, and threads
/// share few arenas. Does nothing where the C library has no such knobs. Call it before threads are started.
pub fn bound_heap() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt only stores numbers in the allocator, under its own lock.
        let taken = unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10) == 1 && libc::mallopt(libc::M_ARENA_MAX, 2) == 1
        };
        if !taken {
            tracing::debug!("the allocator takes no limits; memory may stay with the process for longer");
        }
    }
}

/// The name of this host. Bytes that are no text are replaced.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The group as which files are made.
pub fn effective_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// The permission bits that new files and directories of this process don't get.
pub fn umask() -> io::Result<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let mask = line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
    mask.ok_or_else(|| io::Error::other("/proc/self/status does not say the umask"))
}

/// The user whose rights the process has; 0 is root.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The longest log of a process in the background that is gone on with.
const LOG_MAX: u64 = 1 << 20;

/// Leaves the terminal and the session that the process was started in: it reads nothing from there, and what it says goes to
/// the file `log`, which begins anew when it has become long.
pub fn go_to_background(log: &Path) -> io::Result<()> {
    let long = std::fs::metadata(log).is_ok_and(|meta| meta.len() > LOG_MAX);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    if long {
        file.set_len(0)?;
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    match rustix::process::setsid() {
        // A leader of a process group stays in its session, as it was started.
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&file)?)
}

/// How long after the first signal another one means more than the first.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Signals that ask the process to stop: SIGINT, SIGTERM and SIGHUP. The first one is told to the program, one that comes more
/// than a second later ends the process at once with status 130. One that comes sooner is the same wish, told twice: by the
/// terminal and by a program that hands signals on.
#[derive(Debug)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    reader: UnixStream,
    _writer: UnixStream,
}

impl Signals {
    /// Takes the signals over, for the rest of the process's life.
    pub fn install() -> io::Result<Signals> {
        let stop = Arc::new(AtomicBool::new(false));
        let (reader, writer) = UnixStream::pair()?;
        let (mut first, told) = UnixStream::pair()?;
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&armed))?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
            signal_hook::low_level::pipe::register(signal, told.try_clone()?)?;
        }
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            // It fails only where nothing more can come.
            if io::Read::read_exact(&mut first, &mut [0]).is_ok() {
                std::thread::sleep(AGAIN);
                armed.store(true, Ordering::Relaxed);
            }
        })?;
        Ok(Signals { stop, reader, _writer: writer })
    }

    /// Whether a signal has come.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The flag itself, for threads that look at it.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Waits until a signal comes.
    pub fn wait(&self) -> io::Result<()> {
        let mut byte = [0];
        while !self.stopped() {
            match io::Read::read(&mut &self.reader, &mut byte) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

impl AsFd for Signals {
    /// A descriptor that becomes readable with the first signal, to poll with others instead of [`Signals::wait`], which
    /// reads it empty.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_is_set_for_this_thread_and_inherited() {
        std::thread::spawn(|| {
            set_idle_io().unwrap();
            set_nice(7).unwrap();
            assert_eq!(rustix::process::getpriority_process(None).unwrap(), 7);
            let class = || {
                // SAFETY: ioprio_get takes two integers and touches no memory of ours.
                unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) >> IOPRIO_CLASS_SHIFT }
            };
            assert_eq!(class(), i64::from(IOPRIO_CLASS_IDLE) as libc::c_long);
            std::thread::spawn(move || assert_eq!(class(), i64::from(IOPRIO_CLASS_IDLE) as libc::c_long))
                .join()
                .unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn tells_about_itself() {
        let before = memory().unwrap();
        assert!(before.current > 0 && before.peak >= before.current);
        let block = vec![1_u8; 64 << 20];
        assert!(memory().unwrap().peak >= before.current + (32 << 20));
        drop(block);
        assert!(cpus() >= 1);
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(host_name(), name.trim_end());
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.contains(&format!("\nUid:\t{}\t{}\t", rustix::process::getuid().as_raw(), effective_uid())));
        let limit = raise_open_files().unwrap();
        assert_eq!(rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), limit);
    }

    #[test]
    fn a_signal_is_told_by_flag_wait_and_descriptor() {
        let signals = Signals::install().unwrap();
        assert!(!signals.stopped());
        let flag = signals.flag();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        signals.wait().unwrap();
        assert!(signals.stopped() && flag.load(Ordering::Relaxed));
    }
}
