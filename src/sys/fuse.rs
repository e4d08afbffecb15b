//! Mounting through FUSE: the device, the mount itself, its read-ahead, and letting go of it. By the system call where the
//! process may, else by the helper `fusermount3`.

use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// The type of our mounts in the mount table.
pub const FSTYPE: &str = "fuse.bygone";
/// The helper that mounts for users who are not root.
pub const HELPER: &str = "fusermount3";

/// Why a mount could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FuseError {
    /// The kernel has no FUSE.
    #[error("cannot open /dev/fuse: {0}; the kernel module may be missing: `modprobe fuse`")]
    Device(io::Error),
    /// The kernel refused the mount.
    #[error("the kernel refused the mount: {0}")]
    Mount(io::Error),
    /// The helper is not installed.
    #[error("only root can mount without {HELPER}, and it is not installed: install the package fuse3")]
    NoHelper,
    /// The helper failed.
    #[error("{HELPER} failed: {0}")]
    Helper(String),
    /// Talking to the helper failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Mounts a read-only file system on `dir`, which nobody answers for yet: that is for whoever reads the device that this
/// gives. `nosuid`, `nodev`, and permissions as the modes say; other users only with `allow_other`.
pub fn mount(dir: &Path, allow_other: bool) -> Result<OwnedFd, FuseError> {
    if rustix::process::geteuid().is_root() {
        match mount_directly(dir, allow_other) {
            // Root of a container, perhaps.
            Err(FuseError::Mount(e)) if e.kind() == io::ErrorKind::PermissionDenied => {}
            done => return done,
        }
    }
    mount_by_helper(dir, allow_other)
}

fn mount_directly(dir: &Path, allow_other: bool) -> Result<OwnedFd, FuseError> {
    let device: OwnedFd = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open("/dev/fuse")
        .map_err(FuseError::Device)?
        .into();
    let mode = std::fs::metadata(dir).map_err(FuseError::Mount)?.mode();
    let data = format!(
        "fd={},rootmode={mode:o},user_id={},group_id={},default_permissions{}",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
        if allow_other { ",allow_other" } else { "" }
    );
    let data = CString::new(data).map_err(|e| FuseError::Mount(e.into()))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    rustix::mount::mount("bygone", dir, FSTYPE, flags, data.as_c_str()).map_err(|e| FuseError::Mount(e.into()))?;
    Ok(device)
}

fn mount_by_helper(dir: &Path, allow_other: bool) -> Result<OwnedFd, FuseError> {
    let io = |doing| move |source: io::Error| FuseError::Io { doing, source };
    let (ours, theirs) = UnixStream::pair().map_err(io("make a socket for the helper"))?;
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())
        .map_err(|e| io("pass a socket to the helper")(e.into()))?;
    let mut options = "ro,nosuid,nodev,noatime,default_permissions,fsname=bygone,subtype=bygone".to_owned();
    if allow_other {
        options.push_str(",allow_other");
    }
    let child = Command::new(HELPER)
        .args(["-o", &options, "--"])
        .arg(dir)
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(
            |e| if e.kind() == io::ErrorKind::NotFound { FuseError::NoHelper } else { io("start the helper")(e) },
        )?;
    drop(theirs);
    let device = receive(&ours).map_err(io("receive the device from the helper"))?;
    drop(ours);
    let output = child.wait_with_output().map_err(io("wait for the helper"))?;
    let said = || FuseError::Helper(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    device.filter(|_| output.status.success()).ok_or_else(said)
}

/// The descriptor that comes over a socket; `None` where it was closed without one.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut byte)];
    loop {
        match rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }))
}

/// Takes the topmost mount at `point` out of the tree at once. Whoever still stands in it keeps it until they leave.
pub fn detach(point: &Path) -> Result<(), FuseError> {
    let refused = match rustix::mount::unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) => return Ok(()),
        Err(e) => e,
    };
    if refused != rustix::io::Errno::PERM {
        return Err(FuseError::Io { doing: "unmount", source: refused.into() });
    }
    let output = Command::new(HELPER).args(["-u", "-z", "--"]).arg(point).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(FuseError::Helper(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(FuseError::NoHelper),
        Err(source) => Err(FuseError::Io { doing: "start the helper", source }),
    }
}

/// Whether the mount at `point` has lost the process that answered for it.
pub fn is_dead(point: &Path) -> bool {
    matches!(rustix::fs::statvfs(point), Err(rustix::io::Errno::NOTCONN | rustix::io::Errno::CONNABORTED))
}

/// Lets the kernel read up to `kib` KiB ahead, and in pieces as large. Only root may.
pub fn set_read_ahead(dev: u64, kib: u32) -> io::Result<()> {
    let path = format!("/sys/class/bdi/{}:{}/read_ahead_kb", rustix::fs::major(dev), rustix::fs::minor(dev));
    OpenOptions::new().write(true).open(path)?.write_all(kib.to_string().as_bytes())
}
