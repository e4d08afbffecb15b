//! `bygone dr`: which of its commands, and what they share.

use std::path::PathBuf;

use super::{dr_back, dr_failover, dr_status, drill};
use crate::cli::args::dr::{Dr, DrTest};
use crate::cli::args::drill::DrillRun;
use crate::cli::config_file;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::service;
use crate::config::{edit, site::Site};
use crate::daemon::{client::Reached, protocol::What};
use crate::dr::error::DrError;

/// Runs it.
pub fn run(context: &Context, command: &Dr) -> Result<Outcome, Failure> {
    match command {
        Dr::Status(args) => dr_status::run(context, args),
        Dr::Test(args) => test(context, args),
        Dr::Failover(args) => dr_failover::run(context, args),
        Dr::Failback(args) => dr_back::failback(context, args),
        Dr::Rejoin(args) => dr_back::rejoin(context, args),
    }
}

/// The site of that name; the only one where none is given.
pub(super) fn site<'a>(context: &'a Context, name: Option<&str>) -> Result<&'a Site, Failure> {
    let names: Vec<String> = name.map(str::to_owned).into_iter().collect();
    match open::sites(context, &names)?[..] {
        [one] => Ok(one),
        _ => Err(Failure::usage("the settings have several sites: name the one that is meant")),
    }
}

pub(super) fn failure(e: &DrError) -> Failure {
    let failure = Failure::from_error(e);
    match e {
        DrError::Replicate(crate::replicate::error::ReplicateError::Ahead { .. }) => {
            failure.hint("`bygone dr rejoin` joins what was captured there, and then it goes back")
        }
        DrError::NotWhole(_) => failure.hint("see to what it says, and try again"),
        DrError::Collected { .. } => failure.hint("see what it has with --repo, and restore from it what is needed"),
        _ => failure,
    }
}

/// Fails while a service runs with these settings: it would go on with the ones from before.
pub(super) fn no_service(context: &Context) -> Result<(), Failure> {
    match service::ask(context, What::Jobs, &mut |_| {})? {
        Reached::Nobody | Reached::Other { .. } => Ok(()),
        _ => Err(Failure::new("the service runs with these settings, and would go on with the place from before")
            .hint("end it with `systemctl stop bygone`, and start it again afterwards")),
    }
}

/// Writes the settings in which the site is the repository, and the repository the site.
pub(super) fn swap(context: &Context, site: &Site) -> Result<(), Failure> {
    config_file::change(context, |text| edit::swap_site(text, &context.config, site)).map(drop)
}

/// Fails where the settings can't be changed that way, before anything else is.
pub(super) fn can_swap(context: &Context, site: &Site) -> Result<(), Failure> {
    let path = &context.config.path;
    let text = std::fs::read_to_string(path).explain(|| format!("cannot read the configuration {}", path.display()))?;
    let new = edit::swap_site(&text, &context.config, site)
        .explain(|| format!("cannot change the configuration {}", path.display()))?;
    crate::config::load::parse(&new, path, &context.places).into_failure().map(drop)
}

fn test(context: &Context, args: &DrTest) -> Result<Outcome, Failure> {
    let site = site(context, Some(&args.site))?;
    let millis = |time: Option<std::time::Duration>| time.map(|time| format!("{}ms", time.as_millis()));
    let run = DrillRun {
        plan: args.plan.clone(),
        at: args.at.clone(),
        random: false,
        worst: false,
        set: args.set.clone(),
        recovery_time: args.recovery_time.clone().or_else(|| millis(site.recovery_time)),
        recovery_point: args.recovery_point.clone().or_else(|| millis(site.objective)),
        parts: crate::drill::outside::PARTS,
    };
    let covered: Vec<PathBuf> = context.config.repository.dir().map(|dir| dir.to_owned()).into_iter().collect();
    drill::rehearse(&context.at(site), &run, covered)
}
