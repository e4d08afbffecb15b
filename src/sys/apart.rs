//! Processes apart: a process with mounts and process numbers of its own, and programs that it starts without a network and without
//! writing what is not theirs.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Starts a program as the first process of a space of process numbers, with mounts and shared memory of its own. When it ends, the
/// kernel ends every process below it, and undoes every mount. Takes root.
pub fn start(mut command: Command) -> io::Result<Child> {
    // A name space is that of a thread: the others of this process stay where they are.
    on_a_thread(move || {
        unshare(UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC)?;
        command.spawn()
    })?
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("apart".into()).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("a thread has panicked"))
    })
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: file descriptors stay shared, since CLONE_FILES is never among the flags; nothing else of memory changes.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Where the programs of this process are started, if not where it is itself.
static CONFINED: OnceLock<Confined> = OnceLock::new();

#[derive(Debug)]
struct Confined {
    net: OwnedFd,
    mounts: OwnedFd,
}

/// From now on programs that this process starts have no network but a loopback of their own, and can't write below the directories
/// `spared`. What is mounted later shows for them too. Once in the life of a process.
pub fn confine(spared: &[PathBuf]) -> io::Result<()> {
    let confined = on_a_thread(|| {
        unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET)?;
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        for dir in spared {
            mount_bind(dir, dir)?;
            mount_remount(dir, MountFlags::BIND | MountFlags::RDONLY, c"")?;
        }
        loopback_up()?;
        let own = |what: &str| {
            let path = format!("/proc/thread-self/ns/{what}");
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        };
        Ok::<_, io::Error>(Confined { net: own("net")?, mounts: own("mnt")? })
    })??;
    CONFINED.set(confined).map_err(|_| io::Error::other("the programs of this process are confined already"))
}

/// Does something where the programs of this process are started.
pub fn confined<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let Some(place) = CONFINED.get() else { return Ok(work()) };
    on_a_thread(|| {
        unshare(UnshareFlags::FS)?;
        move_into_link_name_space(place.net.as_fd(), Some(LinkNameSpaceType::Network))?;
        move_into_link_name_space(place.mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        Ok(work())
    })?
}

/// A new network has a loopback that is down.
fn loopback_up() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an interface request of zeros is valid: it is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is whole and lives until the call returns, which only reads it.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits for a child as the first process of a space: what others have left behind is taken care of too. Whether it ended well.
pub fn wait_and_reap(child: &Child) -> io::Result<bool> {
    use rustix::process::{WaitOptions, wait};
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if u32::try_from(pid.as_raw_nonzero().get()) == Ok(child.id()) => {
                return Ok(status.exit_status() == Some(0));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
