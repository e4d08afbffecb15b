//! Sockets for the processes of this machine: one that everybody may speak to, and who it is that speaks.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The most groups that are asked for.
const GROUPS_MAX: usize = 1 << 16;

/// Listens at `path`, with mode 0666: who speaks is for the listener to check. A socket that a dead process left there is
/// replaced; one that somebody listens at, and a file that is no socket, are errors.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already and is no socket"));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(e) => return Err(e),
        },
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Whether the other end of a connection has been closed altogether, and not only for writing.
pub fn is_closed(connection: impl AsFd) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let connection = connection.as_fd();
    let mut fds = [PollFd::new(&connection, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// Who is at the other end of a connection, as the kernel noted when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process.
    pub pid: i32,
    /// The user.
    pub uid: u32,
    /// All groups.
    pub gids: Vec<u32>,
}

/// Tells who it is.
pub fn peer(connection: impl AsFd) -> io::Result<Peer> {
    let fd = connection.as_fd();
    let cred = rustix::net::sockopt::socket_peercred(fd)?;
    let mut gids = vec![cred.gid.as_raw()];
    gids.extend(groups(fd)?);
    Ok(Peer { pid: cred.pid.as_raw_nonzero().get(), uid: cred.uid.as_raw(), gids })
}

fn groups(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<Vec<libc::gid_t>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let bytes = size_of_val(groups.as_slice());
        let mut len = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the buffer is as long as `len` says, and the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let needed = len as usize / size_of::<libc::gid_t>();
        match (result, io::Error::last_os_error()) {
            (0, _) => {
                groups.truncate(needed);
                return Ok(groups);
            }
            (_, e) if e.raw_os_error() == Some(libc::ERANGE) && needed > groups.len() && needed <= GROUPS_MAX => {
                groups.resize(needed, 0);
            }
            (_, e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = listen(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let listener = listen(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let peer = peer(listener.accept().unwrap().0).unwrap();
        assert_eq!(peer.pid, std::process::id() as i32);
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert!(peer.gids.contains(&rustix::process::getegid().as_raw()));
        drop(client);
        let file = dir.path().join("file");
        std::fs::File::create(&file).unwrap();
        assert_eq!(listen(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(file.is_file(), "it was left alone");
    }
}
