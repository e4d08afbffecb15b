//! What ties a long-lived process to its supervisor: signals, and messages to the one who started it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// SIGTERM or SIGINT: to end.
    Stop,
    /// SIGHUP: to read the settings again.
    Reload,
}

/// Calls `told` for each signal, in a thread of its own, for the rest of the process's life.
pub fn on_signals(told: impl Fn(Asked) + Send + 'static) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            told(if signal == libc::SIGHUP { Asked::Reload } else { Asked::Stop });
        }
    })?;
    Ok(())
}

/// What whoever started the process said in its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// `NOTIFY_SOCKET`.
    pub notify_socket: Option<OsString>,
    /// `WATCHDOG_USEC`.
    pub watchdog_usec: Option<u64>,
    /// `WATCHDOG_PID`.
    pub watchdog_pid: Option<u32>,
}

/// Tells the supervisor of the process how it stands, by the protocol of sd_notify(3). Where there is none, nothing is told.
#[derive(Debug)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// To whom the environment says. An address that is none is an error.
    pub fn new(started: &Started) -> io::Result<Notify> {
        let Some(name) = started.notify_socket.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(Notify { to: None, watchdog: None });
        };
        let socket = UnixDatagram::unbound()?;
        // A supervisor that does not read must not hold up what it supervises.
        socket.set_nonblocking(true)?;
        let is_for_us = started.watchdog_pid.is_none_or(|pid| pid == std::process::id());
        let watchdog = started.watchdog_usec.filter(|usec| *usec > 0 && is_for_us).map(Duration::from_micros);
        Ok(Notify { to: Some((socket, address(name)?)), watchdog })
    }

    /// How often it must hear `WATCHDOG=1` at least, if it wants to.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends lines of `NAME=value`. One that can't be taken now is lost: the next one tells more.
    pub fn send(&self, lines: &[&str]) {
        let Some((socket, to)) = &self.to else { return };
        if let Err(e) = socket.send_to_addr(lines.join("\n").as_bytes(), to) {
            tracing::debug!("the service manager does not take messages: {e}");
        }
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "NOTIFY_SOCKET is neither a path nor an abstract name")),
    }
}

/// Microseconds of the monotonic clock: what `RELOADING=1` is told with.
pub fn monotonic_usec() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_and_a_watchdog_for_another_process_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let to = UnixDatagram::bind(&path).unwrap();
        let mut started = Started {
            notify_socket: Some(path.into_os_string()),
            watchdog_usec: Some(500_000),
            watchdog_pid: Some(std::process::id()),
        };
        let notify = Notify::new(&started).unwrap();
        assert_eq!(notify.watchdog(), Some(Duration::from_millis(500)));
        notify.send(&["READY=1", "STATUS=well"]);
        let mut buffer = [0; 100];
        let len = to.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"READY=1\nSTATUS=well");
        started.watchdog_pid = Some(1);
        assert_eq!(Notify::new(&started).unwrap().watchdog(), None);
        started.notify_socket = Some("relative".into());
        assert!(Notify::new(&started).is_err());
        assert!(Notify::new(&Started::default()).unwrap().to.is_none());
    }
}
