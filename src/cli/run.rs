//! From arguments to an exit status.

use std::ffi::OsString;
use std::io::{self, Write as _};

use clap::Parser as _;

use super::args::setup::ConfigCommand;
use super::args::top::{Cli, Command};
use super::commands::{
    audit, cat, completions, config_check, daemon, diff, disaster, dr, drill, find, health, hold, index, init, jobs,
    key, kit, list, log, maintain, mount, notices, plan, protect, recover, repair, replicate, report, restore,
    restore_kept, retention, schedule, sites, snapshot, source, status, umount, verify, verify_tree, wal, watch,
};
use super::context::{Context, Missing};
use super::elsewhere;
use super::logging;
use super::needs;
use super::outcome::{Failure, Outcome};
use crate::sys::process;
use crate::types::path::tame;

/// Runs the command line `args`, the program's name first, and gives the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) => return refused(&e, &args),
    };
    let json = cli.global.json;
    let ended = logging::start(&cli.global, matches!(cli.command, Command::Daemon(_))).and_then(|()| dispatch(&cli));
    match ended {
        Ok(outcome) => outcome.status(),
        Err(failure) => {
            let _unread = failure.tell(&mut io::stderr().lock(), json, width());
            failure.outcome().status()
        }
    }
}

/// The columns of the terminal that the standard error is, if it is one.
fn width() -> Option<usize> {
    let columns = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok()?.ws_col;
    (columns >= 40).then_some(columns.into())
}

/// Tells why a command line is none, or prints the help that it asks for.
fn refused(e: &clap::Error, args: &[OsString]) -> u8 {
    // Help to a reader that has gone, or a complaint that can't be printed: the status says it all.
    if !e.use_stderr() {
        let _unread = e.print();
        return Outcome::Done.status();
    }
    // There are no options yet to look at.
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let _unread = match json {
        true => in_words(e).tell(&mut io::stderr().lock(), true, None),
        // The parser repeats what it was given.
        false if args.iter().any(|arg| arg.to_string_lossy().contains(char::is_control)) => {
            write!(io::stderr().lock(), "{}", tame(&e.render().to_string()))
        }
        false => e.print(),
    };
    Outcome::Usage.status()
}

/// What the parser says, taken apart: what is wrong, and how it is written.
fn in_words(e: &clap::Error) -> Failure {
    let text = e.render().to_string();
    let (what, more) = text.split_once("\n\n").unwrap_or((&text, ""));
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let failure = Failure::usage(one_line(what.strip_prefix("error: ").unwrap_or(what)));
    match one_line(more) {
        more if more.is_empty() => failure,
        more => failure.hint(more),
    }
}

/// Large buffers come and go in all commands that run for long.
fn dispatch(cli: &Cli) -> Result<Outcome, Failure> {
    process::bound_heap();
    let need = needs::of(&cli.command);
    let load = |missing| {
        let context = Context { need, ..Context::load(&cli.global, missing)? };
        match &context.known_at {
            Some(known) if needs::writes(&cli.command) => Err(elsewhere::refused(&context.config.repository, known)),
            _ => Ok(context),
        }
    };
    let look = || Context::load_to_look(&cli.global);
    match &cli.command {
        Command::Completions(args) => completions::run(args),
        Command::Config(ConfigCommand::Check) => config_check::run(&cli.global),
        Command::Source(command) => source::run(&load(Missing::Fine)?, command),
        Command::Protect(args) => protect::run(load(Missing::Fine)?, args),
        Command::Init(args) => init::run(&load(Missing::Fine)?, args),
        Command::Key(command) => key::run(&load(Missing::Error)?, command),
        Command::Health(_) => health::run(&look()?),
        Command::Metrics(args) => health::metrics(&look()?, args),
        Command::Notify(command) => notices::run(&load(Missing::Error)?, command),
        Command::Status(_) => status::run(&look()?),
        Command::Aside(aside) => restore_kept::run(&load(Missing::Error)?, &aside.command),
        Command::Restore(args) => restore::run(&load(Missing::Error)?, args),
        // On a bare machine it makes the file.
        Command::Recover(args) if args.is_bare() && cli.global.repo.is_some() => {
            recover::run(&load(Missing::Fine)?, args)
        }
        Command::Recover(args) => recover::run(&load(Missing::Error)?, args),
        Command::Kit(args) => kit::run(&load(Missing::Error)?, args),
        Command::Plan(command) => plan::run(&load(Missing::Error)?, command),
        Command::Disaster(args) => disaster::run(&cli.global, args),
        Command::Drill(command) => drill::run(&load(Missing::Error)?, command),
        Command::Dr(command) => dr::run(&load(Missing::Error)?, command),
        Command::Retention(command) => retention::run(&load(Missing::Error)?, command),
        Command::Hold(command) => hold::run(&load(Missing::Error)?, command),
        Command::Audit(command) => audit::run(&load(Missing::Error)?, command),
        Command::Report(command) => report::run(&load(Missing::Error)?, command),
        Command::Maintain(args) => maintain::run(&load(Missing::Error)?, args),
        Command::Replicate(args) => replicate::run(&load(Missing::Error)?, args),
        Command::Sites(args) => sites::run(&load(Missing::Error)?, args),
        Command::Verify(args) => verify::run(&load(Missing::Error)?, args),
        Command::Repair(args) => repair::run(&load(Missing::Error)?, args),
        Command::VerifyTree(args) => verify_tree::run(&load(Missing::Error)?, args),
        Command::Wal(command) => wal::run(&load(Missing::Error)?, command),
        Command::Index(command) => index::run(&load(Missing::Error)?, command),
        Command::Schedule(command) => schedule::run(&load(Missing::Error)?, command),
        Command::Snapshot(args) => snapshot::run(&load(Missing::Error)?, args),
        Command::Mount(args) => mount::run(&load(Missing::Error)?, args),
        Command::Daemon(_) => daemon::run(&cli.global),
        Command::Reload(_) => daemon::reload(&look()?),
        Command::Pause(args) => daemon::pause(&look()?, args),
        Command::Resume(_) => daemon::resume(&look()?),
        Command::Jobs(_) => jobs::run(&look()?),
        Command::Job(command) => daemon::job(&look()?, command),
        Command::Umount(args) => umount::run(&cli.global, args),
        Command::Watch(args) => watch::run(&load(Missing::Error)?, args),
        Command::List(args) => list::run(&load(Missing::Error)?, args),
        Command::Log(args) => log::run(&load(Missing::Error)?, args),
        Command::Diff(args) => diff::run(&load(Missing::Error)?, args),
        Command::Find(args) => find::run(&load(Missing::Error)?, args),
        Command::Cat(args) => cat::run(&load(Missing::Error)?, args),
    }
}
