//! The same command again, as a process of its own in the background.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::outcome::{Explain as _, Failure, Outcome};

/// How a process in the background began.
pub(super) enum Begun {
    /// It goes on, and has said this line on its standard output.
    Said(String),
    /// It has ended before it said anything there; why is on the standard error.
    Ended(Outcome),
}

/// Starts the same command again with `--in-background`, and waits for its first line. `what` says what then can't be done.
pub(super) fn again(what: impl Fn() -> String) -> Result<Begun, Failure> {
    let program = std::env::current_exe().explain(&what)?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--in-background")
        .stdout(Stdio::piped())
        .spawn()
        .explain(&what)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).explain(&what)?;
    }
    if line.is_empty() {
        let status = child.wait().explain(&what)?;
        return Ok(Begun::Ended(match status.code() {
            Some(0) => Outcome::Done,
            Some(2) => Outcome::Usage,
            _ => Outcome::Failed,
        }));
    }
    Ok(Begun::Said(line.trim_end().to_owned()))
}
