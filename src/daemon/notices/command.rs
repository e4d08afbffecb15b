//! By a command, with the message as JSON on its standard input.

use crate::daemon::notices::{
    deliver::{DeliveryError, WAIT, json},
    message::Message,
};
use std::{
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// So many bytes of what it says are told.
const SAID_MAX: u64 = 2 << 10;

pub(super) fn run(command: &str, message: &Message) -> Result<(), DeliveryError> {
    let refused = |why: String| DeliveryError::Refused { to: format!("the command {command:?}"), why };
    let body = json(message)?;
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| refused(format!("it can't be started: {e}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read has ended or will be ended.
        std::thread::spawn(move || drop(stdin.write_all(&body)));
    }
    let said = said(&mut child);
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let said = said.recv_timeout(LOOK * 10).unwrap_or_default();
                return Err(refused(format!("{status}: {}", said.trim())));
            }
            Ok(None) if begun.elapsed() < WAIT => std::thread::sleep(LOOK),
            Ok(None) => {
                end(&mut child);
                return Err(refused(format!("it did not end within {} s, and was ended", WAIT.as_secs())));
            }
            Err(e) => return Err(refused(format!("it can't be waited for: {e}"))),
        }
    }
}

/// The beginning of what it says on its standard error, when that is closed.
fn said(child: &mut Child) -> mpsc::Receiver<String> {
    let (to, said) = mpsc::channel();
    if let Some(mut stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What can't be read is not told.
            let _ = stderr.by_ref().take(SAID_MAX).read_to_end(&mut text);
            let _gone = to.send(String::from_utf8_lossy(&text).into_owned());
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        });
    }
    said
}

/// Ends it, with whatever it has started.
fn end(child: &mut Child) {
    let group = rustix::process::Pid::from_child(child);
    if let Err(e) = rustix::process::kill_process_group(group, rustix::process::Signal::KILL) {
        tracing::warn!("a command that notifies can't be ended: {e}");
    }
    let _reaped = child.wait();
}
