//! `bygone drill inside`: the process apart. First it makes its root, then another one runs the plan there.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use super::plan_hands::Terminal;
use crate::cli::args::drill::DrillInside;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::drill::{inside, order::RanApart, place::DrillDir};
use crate::sys::apart;

/// Runs it.
pub(super) fn run(context: &Context, args: &DrillInside) -> Result<Outcome, Failure> {
    let drill = DrillDir::find(&context.config, &args.drill).map_err(|e| Failure::from_error(&e))?;
    let ended = match args.worker {
        true => work(context, &drill),
        false => first(context, &drill),
    };
    // Whoever waits outside learns why, unless it has been told already.
    if let Err(failure) = &ended
        && !drill.ran().exists()
    {
        let ran = RanApart { failed: Some(failure.in_short()), ..RanApart::default() };
        inside::tell(&drill, &ran).map_err(|e| Failure::from_error(&e))?;
        return Ok(Outcome::Failed);
    }
    ended
}

/// The first process of the space: it ends when the one outside does, and everything with it.
fn first(context: &Context, drill: &DrillDir) -> Result<Outcome, Failure> {
    let program = std::env::current_exe().explain(|| "cannot find the program itself")?;
    inside::enter(&context.config, drill).map_err(|e| Failure::from_error(&e))?;
    std::thread::Builder::new()
        .name("lifeline".into())
        .spawn(|| {
            let mut nothing = [0; 1];
            // Nothing is ever written: the end means that nobody is there any more.
            while std::io::stdin().read(&mut nothing).is_ok_and(|n| n > 0) {}
            std::process::exit(1);
        })
        .explain(|| "cannot start a thread")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).arg("--worker").stdin(Stdio::null());
    let child = command.spawn().explain(|| "cannot start the process that runs the plan")?;
    match apart::wait_and_reap(&child).explain(|| "cannot wait for the process that runs the plan")? {
        true => Ok(Outcome::Done),
        false => Ok(Outcome::Failed),
    }
}

fn work(context: &Context, drill: &DrillDir) -> Result<Outcome, Failure> {
    let at = open::attached(context)?;
    let hands = Terminal::new(context, true);
    let never = AtomicBool::new(false);
    let ran = inside::run(&context.config, drill, &at, &hands, &never).map_err(|e| Failure::from_error(&e))?;
    inside::tell(drill, &ran).map_err(|e| Failure::from_error(&e))?;
    Ok(Outcome::Done)
}
