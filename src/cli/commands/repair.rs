//! `bygone repair`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::cli::args::repair::Repair;
use crate::cli::bar;
use crate::cli::commands::{give_up, repair_told, verify_against};
use crate::cli::context::Context;
use crate::cli::open::{self, Reads};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::config::site::Site;
use crate::repair::{contents, error::RepairError, ground::Ground, histories};
use crate::repo::{
    attach::Attached,
    audit::{event::Outcome as Ended, writer::Audit},
    collect::give_up::Unreadable,
    replay,
};
use crate::sys::process::Signals;
use crate::types::{path, snapshot::Source};
use crate::verify::{
    check::{self, Options},
    report::{Problem, Report},
};

/// Runs it.
pub fn run(context: &Context, args: &Repair) -> Result<Outcome, Failure> {
    let signals = Signals::install().explain(|| "cannot take signals over")?;
    let (stop, bar) = (signals.flag(), bar::on_stderr(!context.quiet && !context.json));
    let site = args.from.as_ref().map(|name| open::sites(context, std::slice::from_ref(name))).transpose()?;
    let site = site.and_then(|found| found.into_iter().next());
    let at = match open::attached_with(context, Reads::Fresh) {
        Err(failure) if site.is_some() && !args.dry_run => verify_against::reopened(context, site, failure)?,
        at => at?,
    };
    replay::catch_up(&at, &*bar).into_failure()?;
    let audit = trail::open(context, at.repo());
    let all = Options { read_data: true, ..Options::default() };
    let mut report = check::verify(&at, &all, &*bar, &stop).into_failure()?;
    match site {
        Some(site) if !report.stopped && !report.problems.is_empty() => {
            let ground = verify_against::Ground { context, at: &at, site, audit: &audit, progress: &*bar };
            if ground.compare(&report, !args.dry_run)? {
                replay::catch_up(&at, &*bar).into_failure()?;
                report = check::verify(&at, &all, &*bar, &stop).into_failure()?;
            }
        }
        None if !report.problems.is_empty() => tell_of_copies(&context.config.sites),
        _ => {}
    }
    if report.stopped {
        return Err(Failure::new("interrupted before everything was read; nothing was changed"));
    }
    let ground = Ground {
        at: &at,
        host: &context.config.host,
        level: context.config.capture.level,
        trial: args.dry_run,
        progress: &*bar,
        stop: &stop,
    };
    let found = contents::repair(ground, &report).explain(|| "the packs could not be repaired")?;
    let mut failed = None;
    let mut decide = |source: &Source, what: &Unreadable| match given_up(context, &audit, args.yes, source, what) {
        Ok(decided) => Ok(decided),
        Err(failure) => {
            failed = Some(failure);
            Err(RepairError::Stopped)
        }
    };
    let histories = histories::repair(ground, &report, &mut decide);
    let histories = match failed {
        Some(failure) => return Err(failure),
        None => histories.explain(|| "the histories could not be repaired")?,
    };
    for history in &histories {
        if let (histories::Deed::GivenUp(what), false) = (&history.deed, args.dry_run) {
            trail::told(audit.record(give_up::event(&history.source, what, Ended::Done)));
        }
    }
    let remains = match args.dry_run {
        true => report.problems.iter().filter(|problem| !is_treated(problem, &histories)).cloned().collect(),
        false => remaining(&at, &*bar, &stop)?,
    };
    let told = repair_told::Told { context, at: &at, found: &found, histories: &histories, remains: &remains };
    let outcome = told.outcome();
    if args.dry_run {
        told.tell(true)?;
        return Ok(outcome);
    }
    let recorded = told.events().into_iter().map(|event| trail::told(audit.record(event)));
    let recorded = recorded.fold(Outcome::Done, Outcome::and);
    at.repo().store().settle().explain(|| "what was done waits on this host until it is stored")?;
    told.tell(false)?;
    Ok(outcome.and(recorded))
}

/// That a copy could give back all, before anything is taken for lost.
fn tell_of_copies(sites: &[Site]) {
    let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
    if let Some(first) = names.first() {
        tracing::warn!(
            "the settings have copies of this repository at {}: `bygone repair --from {first}` or `bygone verify --against {first} --repair` \
             gets back whole what that has",
            names.join(", ")
        );
    }
}

/// Whether what can't be read of a history may be given up: asked for, and in the audit trail.
fn given_up(context: &Context, audit: &Audit, yes: bool, source: &Source, what: &Unreadable) -> Result<bool, Failure> {
    give_up::tell(context, source, what, true)?;
    if !yes && !asked(source)? {
        return Ok(false);
    }
    let event =
        give_up::event(source, what, Ended::Begun).detail("authority", "whoever ran `repair`: it can't be read");
    audit
        .record_durably(event)
        .explain(|| "nothing is given up, since it could not be written into the audit trail first")?;
    Ok(true)
}

fn asked(source: &Source) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut to = io::stderr().lock();
    let asked = write!(to, "give up what can't be read of the history of {}? yes or no: ", path::show(&source.root));
    asked.and_then(|()| to.flush()).explain(|| "cannot ask at the terminal")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).explain(|| "cannot read from the terminal")?;
    Ok(line.trim() == "yes")
}

/// What is still wrong, beside contents that are lost.
fn remaining(
    at: &Attached,
    progress: &dyn crate::progress::Progress,
    stop: &std::sync::atomic::AtomicBool,
) -> Result<Vec<Problem>, Failure> {
    let report: Report = check::verify(at, &Options::default(), progress, stop).into_failure()?;
    Ok(report.problems.into_iter().filter(|problem| !problem.known).collect())
}

/// Whether a repair would deal with a problem.
fn is_treated(problem: &Problem, histories: &[histories::History]) -> bool {
    let of_history = |history: &histories::History| {
        let journal = crate::repo::names::journal(history.source.id);
        let is_left = matches!(history.deed, histories::Deed::Left(_));
        !is_left && (problem.object.starts_with(&journal) || problem.object == crate::repo::names::JOURNAL)
    };
    problem.object.starts_with(crate::repo::names::PACKS) || histories.iter().any(of_history)
}
