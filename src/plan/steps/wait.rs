//! Waiting: for a time, for a program, for a port.

use super::command;
use crate::plan::ground::{Did, Doing};
use crate::plan::model::Wait;
use crate::sys::apart;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
const STOPPED: &str = "it was stopped while it waited";

/// Waits.
pub(super) fn run(doing: &Doing<'_>, what: &Wait) -> Result<Did, String> {
    let mut last = String::new();
    let (every, mut look): (Duration, Box<dyn FnMut() -> Result<bool, String>>) = match what {
        Wait::For(time) => {
            return match doing.sleep(*time) {
                true => Ok(Did::default()),
                false => Err(STOPPED.into()),
            };
        }
        Wait::Until { program, every } => {
            let look = || {
                let ended = command::ended(doing, program, doing.step.timeout)?;
                doing.keep(&[&ended.stdout, &ended.stderr])?;
                last = ended.why_of_both();
                Ok(ended.is_good())
            };
            (*every, Box::new(look))
        }
        Wait::Port { port, every } => {
            let port = doing.fill(port);
            let failed = |e: std::io::Error| format!("cannot look at the port: {e}");
            (*every, Box::new(move || apart::confined(|| answers(&port)).map_err(failed)))
        }
    };
    loop {
        if look()? {
            return Ok(Did::default());
        }
        if !doing.sleep(every) {
            drop(look);
            let last = if last.is_empty() { "nothing answers".to_owned() } else { last };
            return Err(format!("{STOPPED}; the last time: {last}"));
        }
    }
}

/// Whether something listens there.
fn answers(port: &str) -> bool {
    if port.starts_with('/') {
        return UnixStream::connect(port).is_ok();
    }
    let addresses = port.to_socket_addrs().into_iter().flatten();
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok())
}
