//! From arguments to an exit status.

use std::ffi::OsString;
use std::io;

use clap::Parser as _;

use super::args::setup::ConfigCommand;
use super::args::top::{Cli, Command};
use super::commands::{
    cat, completions, config_check, diff, find, index, init, key, list, log, mount, protect, restore, snapshot, source,
    status, umount, verify, watch,
};
use super::context::{Context, Missing};
use super::logging;
use super::outcome::{Failure, Outcome};
use crate::sys::process;

/// Runs the command line `args`, the program's name first, and gives the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // Help to a reader that has gone, or a complaint that can't be printed: the status says it all.
            let _unread = e.print();
            return if e.use_stderr() { Outcome::Usage.status() } else { Outcome::Done.status() };
        }
    };
    let json = cli.global.json;
    let ended = logging::start(&cli.global).and_then(|()| dispatch(&cli));
    match ended {
        Ok(outcome) => outcome.status(),
        Err(failure) => {
            let _unread = failure.tell(&mut io::stderr().lock(), json);
            failure.outcome().status()
        }
    }
}

/// Large buffers come and go in all commands that run for long.
fn dispatch(cli: &Cli) -> Result<Outcome, Failure> {
    process::bound_heap();
    let load = |missing| Context::load(&cli.global, missing);
    match &cli.command {
        Command::Completions(args) => completions::run(args),
        Command::Config(ConfigCommand::Check) => config_check::run(&load(Missing::Error)?),
        Command::Source(command) => source::run(&load(Missing::Fine)?, command),
        Command::Protect(args) => protect::run(load(Missing::Fine)?, args),
        Command::Init(args) => init::run(&load(Missing::Fine)?, args),
        Command::Key(command) => key::run(&load(Missing::Error)?, command),
        Command::Status(_) => status::run(&load(Missing::Error)?),
        Command::Restore(args) => restore::run(&load(Missing::Error)?, args),
        Command::Verify(args) => verify::run(&load(Missing::Error)?, args),
        Command::Index(command) => index::run(&load(Missing::Error)?, command),
        Command::Snapshot(args) => snapshot::run(&load(Missing::Error)?, args),
        Command::Mount(args) => mount::run(&load(Missing::Error)?, args),
        Command::Umount(args) => umount::run(args),
        Command::Watch(args) => watch::run(&load(Missing::Error)?, args),
        Command::List(args) => list::run(&load(Missing::Error)?, args),
        Command::Log(args) => log::run(&load(Missing::Error)?, args),
        Command::Diff(args) => diff::run(&load(Missing::Error)?, args),
        Command::Find(args) => find::run(&load(Missing::Error)?, args),
        Command::Cat(args) => cat::run(&load(Missing::Error)?, args),
    }
}
