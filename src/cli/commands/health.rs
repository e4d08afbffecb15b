//! `bygone health` and `bygone metrics`: how everything stands, for monitors.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::args::watched::Metrics;
use crate::cli::context::{Context, absolute};
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::service;
use crate::config::jobs;
use crate::daemon::{
    client::Reached,
    observed,
    protocol::{Answer, What},
    runner::Runner,
};
use crate::observe::{
    facts::Facts,
    gather,
    health::{self, Finding, Level, Sort},
    metrics,
};
use crate::repo::{error::RepoError, open::repository_id};
use crate::store::api::Store;
use crate::sys::{clock, durable};

/// Runs `bygone health`.
pub fn run(context: &Context) -> Result<Outcome, Failure> {
    let Seen { facts, other, is_new } = facts(context)?;
    let mut found = health::findings(&facts, &context.config.health);
    if let Some(store) = found.iter_mut().find(|finding| is_new && finding.key == "store") {
        store.why = "there is no repository yet".to_owned();
        store.to_do =
            "make it with `bygone init`, or name the place of one with `repository` in the settings".to_owned();
    }
    if let Some(settings) = &other {
        // Which of the two files is meant nobody but a person can tell.
        found.retain(|finding| finding.key != "no service");
        found.push(Finding {
            key: "other service".to_owned(),
            level: Level::Degraded,
            sort: Sort::Failure,
            about: "service".to_owned(),
            why: service::other(context, settings),
            to_do: format!("ask with `--config {}`, or end that service", settings.display()),
        });
        found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    }
    found.extend(context.broken.as_ref().map(|broken| Finding {
        key: "settings".to_owned(),
        level: Level::Degraded,
        sort: Sort::Failure,
        about: context.config.path.display().to_string(),
        why: format!("the file can't be used, and the service goes by the settings that it has: {}", broken.in_short()),
        to_do: "correct the file, and run `bygone reload`; `bygone config check` names all that is wrong".to_owned(),
    }));
    let mut out = context.out();
    let level = found.first().map(|worst| worst.level);
    let (state, outcome) = match level {
        None => ("ok", Outcome::Done),
        Some(Level::Degraded) => ("degraded", Outcome::Partial),
        Some(Level::Failing) => ("failing", Outcome::Failed),
    };
    let summary = health::summary(&facts, &found, &context.zone()?);
    if context.json {
        out.json(
            &json!({ "state": state, "summary": summary, "service": facts.service.is_some(), "findings": found }),
        )?;
    } else {
        out.line(summary)?;
        for finding in &found {
            let word = if finding.level == Level::Failing { "failing" } else { "degraded" };
            out.line(format_args!("{word}: {}: {}; to do: {}", finding.about, finding.why, finding.to_do))?;
        }
    }
    out.finish()?;
    Ok(outcome)
}

/// Runs `bygone metrics`.
pub fn metrics(context: &Context, args: &Metrics) -> Result<Outcome, Failure> {
    let facts = facts(context)?.facts;
    let text = metrics::metrics(&facts);
    let Some(path) = &args.out else {
        let mut out = context.out();
        match context.json {
            true => out.json(&facts)?,
            false => out.bytes(text.as_bytes())?,
        }
        out.finish()?;
        return Ok(context.looked(Outcome::Done));
    };
    // Whoever collects it may be another user.
    durable::replace(&absolute(path)?, text.as_bytes(), 0o644).into_failure()?;
    Ok(context.looked(Outcome::Done))
}

/// What was seen.
struct Seen {
    facts: Facts,
    /// The settings of a service that runs in the place of these settings for others.
    other: Option<PathBuf>,
    /// Whether no repository was made yet.
    is_new: bool,
}

/// As the service has them, or as they are seen without one. What can't be opened is a fact too.
fn facts(context: &Context) -> Result<Seen, Failure> {
    let mut told = None;
    let asked = service::ask(context, What::Observe, &mut |answer| told = Some(answer));
    if let (Ok(reached), Some(Answer::Facts { facts })) = (&asked, told)
        && matches!(reached, Reached::Done { .. })
    {
        return Ok(Seen { facts: *facts, other: None, is_new: false });
    }
    context.whole()?;
    let reached = asked?;
    let other = match &reached {
        // Of another repository, which was named, no service need know.
        Reached::Other { settings } if context.repository_named.is_none() => Some(settings.clone()),
        _ => None,
    };
    service::ended(reached)?;
    let (now, mut is_new) = (clock::now(), false);
    let mut facts = match open::attached(context) {
        Ok(at) => match (gather::sources(&context.config, &at), gather::stored(&at, now)) {
            (Ok(mut sources), stored) => {
                observed::archiving(&context.config, &mut sources);
                observed::producing(&context.config, &mut sources);
                let mut facts = gather::quick(&context.config, &at, sources, now);
                facts.trouble = facts.trouble.or(stored.as_ref().err().map(ToString::to_string));
                observed::drilled(&context.config, &mut facts);
                observed::recovering(&at, &mut facts);
                facts.stored = stored.ok();
                facts
            }
            (Err(e), _) => unopened(context, &Failure::from_error(&e)),
        },
        Err(failure) => {
            is_new = is_new_place(context);
            unopened(context, &failure)
        }
    };
    let file = context.config.state.join("daemon").join("jobs.json");
    let jobs = Runner::peek(&file, jobs::jobs(&context.config), now).into_failure()?;
    facts.jobs = jobs.iter().map(observed::job).collect();
    Ok(Seen { facts, other, is_new })
}

/// Whether there is no repository and none was ever used from here.
fn is_new_place(context: &Context) -> bool {
    let is_new = |store: &dyn Store| {
        let there = repository_id(store);
        matches!(there, Err(RepoError::NoRepository { .. })) && open::gone(context, store).is_none()
    };
    open::store(context).is_ok_and(|store| is_new(&*store))
}

fn unopened(context: &Context, failure: &Failure) -> Facts {
    let repository = context.config.repository.to_string();
    let (host, at_ns) = (context.config.host.clone(), clock::now().0);
    let (trouble, trouble_to_do) = (Some(failure.in_short()), failure.to_do().map(str::to_owned));
    Facts { at_ns, host, repository, trouble, trouble_to_do, ..Facts::default() }
}
