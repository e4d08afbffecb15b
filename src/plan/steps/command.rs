//! A program, and what it says.

use crate::plan::ground::{Did, Doing};
use crate::plan::model::Program;
use crate::sys::child::Ended;
use std::time::Duration;

/// Runs it; its first line becomes the value of the input `sets`.
pub(super) fn run(doing: &Doing<'_>, program: &Program, sets: Option<&str>) -> Result<Did, String> {
    let ended = ended(doing, program, doing.step.timeout)?;
    if !ended.is_good() {
        return Err(failed(doing, &ended)?);
    }
    doing.keep(&[&ended.stdout, &ended.stderr])?;
    let Some(input) = sets else { return Ok(Did::default()) };
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.ok_or_else(|| format!("it printed nothing, and the input {input} was to get its first line"))?;
    doing.set(input, line)?;
    Ok(Did::saying(format!("{input} is {line}")))
}

/// Runs it to its end, with this time-out.
pub(super) fn ended(doing: &Doing<'_>, program: &Program, timeout: Option<Duration>) -> Result<Ended, String> {
    let mut order = doing.order(program);
    if let Some(timeout) = timeout {
        order = order.timeout(timeout);
    }
    order.run(doing.stop).map_err(|e| format!("cannot run {}: {e}", named(doing, program)))
}

/// Why it failed, and where all it said is.
pub(super) fn failed(doing: &Doing<'_>, ended: &Ended) -> Result<String, String> {
    let file = doing.keep(&[&ended.stdout, &ended.stderr])?;
    Ok(match ended.stdout.is_empty() && ended.stderr.is_empty() {
        true => ended.why_of_both(),
        false => format!("{}; the end of all it said is in {}", ended.why_of_both(), file.display()),
    })
}

fn named(doing: &Doing<'_>, program: &Program) -> String {
    use crate::plan::model::How;
    match &program.how {
        How::Shell(_) => "/bin/sh".to_owned(),
        How::Args(args) => args.first().map(|name| doing.fill(name)).unwrap_or_default(),
    }
}
