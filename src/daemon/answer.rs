//! Answers: what somebody at the socket asked is done, if that role may.

use crate::config::{model::Source, roles::Role};
use crate::daemon::{
    error::told,
    observed,
    protocol::{Answer, Ask, Taken, What},
    roles::{self, System},
    shared::{Current, Shared},
    supervisor::Order,
    tasks,
    trail::By,
};
use crate::repo::audit::witness;
use crate::sys::{local::Peer, process};
use crate::types::{snapshot::Tier, time::Instant, when::show::show, when::zone::Zone};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

/// Where answers go.
pub(super) type To<'a> = &'a dyn Fn(Answer);

/// Who asks, and what the answer needs.
pub(super) struct Asked<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) orders: &'a UnboundedSender<Order>,
    pub(super) peer: &'a Peer,
    /// Whether nobody waits for the answer any more.
    pub(super) is_gone: &'a dyn Fn() -> bool,
}

/// Does what was asked, and says so. Blocks.
pub(super) fn answer(asked: &Asked<'_>, ask: &Ask, to: To<'_>) {
    let current = asked.shared.current();
    if !is_meant(&current, ask) {
        return to(Answer::Other { settings: current.config.path.clone() });
    }
    let own = process::effective_uid();
    let has = roles::role_of(asked.peer, own, &current.config.roles, &System);
    let needs = ask.what.needs();
    if has.is_none_or(|has| has < needs) {
        let (what, who) = (ask.what.word(), roles::shown(asked.peer));
        let role = has.map_or_else(|| "has none".to_owned(), |has| format!("has {has}"));
        let why = format!("`{what}` needs the role {needs}, and {who} {role}; [roles] in the settings gives it");
        tracing::warn!("refused: {why}");
        return to(Answer::Refused { why, needs, has });
    }
    if needs > Role::View {
        tracing::info!("{} asked for {}", roles::shown(asked.peer), ask.what.word());
    }
    let done = done(asked, &current, (&ask.what, has), to);
    if matches!(ask.what, What::Pause { .. } | What::Resume | What::Cancel { .. } | What::Reload) {
        let told = done.as_ref().map(|(what, _)| what.as_str()).map_err(String::as_str);
        current.trail.control(ask.what.word(), told, By::Peer(asked.peer));
    }
    match done {
        Ok((what, whole)) => to(Answer::Done { what, whole }),
        Err(why) => to(Answer::Failed { why }),
    }
}

/// Whether the service is the one that is meant.
fn is_meant(current: &Current, ask: &Ask) -> bool {
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let settings = ask.settings.as_ref().is_none_or(|path| real(path) == real(&current.config.path));
    settings && ask.repository.as_ref().is_none_or(|name| *name == current.config.repository.to_string())
}

/// What was done, and whether all of it was.
type Outcome = Result<(String, bool), String>;

fn done(asked: &Asked<'_>, current: &Current, (what, role): (&What, Option<Role>), to: To<'_>) -> Outcome {
    let shared = asked.shared;
    let now = shared.clock.now();
    match what {
        What::Status => {
            let standing = shared.host.standing(&current.config, &current.at);
            let trouble = standing.as_ref().err().cloned();
            to(Answer::Standing { service: Box::new(shared.standing(role)), standing: standing.ok(), trouble });
            Ok((String::new(), true))
        }
        What::Jobs => {
            to(Answer::Standing { service: Box::new(shared.standing(role)), standing: None, trouble: None });
            Ok((String::new(), true))
        }
        What::Observe => {
            to(Answer::Facts { facts: Box::new(observed::facts(shared, observed::LATELY)) });
            Ok((String::new(), true))
        }
        What::Snapshot { sources, tier } => snapshot(asked, current, (sources, *tier), to),
        What::Pause { for_ms } => {
            let ns = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            let until = for_ms.map(|ms| Instant(now.0.saturating_add(ns(ms))));
            shared.pause.set(until, now).map_err(|e| format!("cannot pause: {e}"))?;
            let zone = current.config.zone().unwrap_or_else(|_| Zone::system());
            let end = until.map_or_else(|| "somebody resumes".to_owned(), |at| show(at, &zone));
            Ok((format!("paused until {end}; what runs already is finished"), true))
        }
        What::Resume => match shared.pause.clear() {
            Ok(true) => Ok(("resumed".to_owned(), true)),
            Ok(false) => Ok(("it was not paused".to_owned(), true)),
            Err(e) => Err(format!("resumed, but the pause will be back after a restart: {e}")),
        },
        What::Cancel { name } => cancel(shared, current, name),
        What::Reload => {
            let (reply, answer) = oneshot::channel();
            let ending = || "the service is about to end".to_owned();
            asked.orders.send(Order::Reload(Some(reply))).map_err(|_| ending())?;
            Ok((answer.blocking_recv().map_err(|_| ending())??, true))
        }
    }
}

/// Ends what has this name, or what runs for the source of this name or path.
fn cancel(shared: &Shared, current: &Current, name: &str) -> Outcome {
    if shared.works.cancel(name) > 0 {
        return Ok((format!("{name:?} was asked to end"), true));
    }
    if shared.runner().has(name) {
        return Err(format!("the job {name:?} does not run now"));
    }
    let is_it = |source: &&Source| source.name.as_deref() == Some(name) || source.path.as_os_str() == name;
    match current.config.sources.iter().find(is_it).map(|source| (source, shared.works.cancel_source(&source.path))) {
        Some((source, 0)) => Err(format!("nothing runs now for the source {}", source.path.display())),
        Some((source, n)) => {
            Ok((format!("{n} job(s) for the source {} were asked to end", source.path.display()), true))
        }
        None => Err(format!(
            "there is no job and no source {name:?}, and nothing of this name runs: `bygone jobs` lists them"
        )),
    }
}

fn snapshot(asked: &Asked<'_>, current: &Current, (names, tier): (&[PathBuf], u8), to: To<'_>) -> Outcome {
    let shared = asked.shared;
    let tier = Tier::from_u8(tier).ok_or("there is no such tier")?;
    let mut whole = true;
    for source in chosen(current, names)? {
        let path = source.path.display();
        if (asked.is_gone)() {
            let why = format!("{path} and what follows is not captured: who asked for it does not wait any more");
            tracing::warn!("{why}");
            return Err(why);
        }
        let running = shared.works.begin(&format!("snapshot {path}"), Some(&source.path));
        let taken = shared.captures.take((&current.config, &current.at), source, tier, &running.work);
        current.trail.snapshot(&current.config, source, &taken, By::Peer(asked.peer));
        let taken = taken.map_err(|e| match running.work.is_cancelled() {
            true => format!("the snapshot of {path} was cancelled; nothing of it was recorded"),
            false => format!("cannot capture {path}: {}", told(&*e)),
        })?;
        let report = &taken.report;
        tasks::captured(source, report);
        whole &= report.problems.is_empty() && report.fuzzy_count() == 0 && report.altered.is_empty();
        whole &= taken.failures().next().is_none();
        to(Answer::Taken(Taken::new(source.path.clone(), &taken)));
    }
    for why in witness::told_known(&current.at) {
        tracing::error!("{why}");
        whole = false;
        to(Answer::Missing { why });
    }
    Ok((String::new(), whole))
}

fn chosen<'a>(current: &'a Current, names: &[PathBuf]) -> Result<Vec<&'a Source>, String> {
    let all = &current.config.sources;
    if all.is_empty() {
        return Err("nothing is protected yet: `bygone source add DIRECTORY` protects a directory".to_owned());
    }
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    let find = |name: &PathBuf| {
        let unknown = || format!("{} is not protected: `bygone source list` shows what is", name.display());
        all.iter().find(|source| source.path == *name).ok_or_else(unknown)
    };
    let mut chosen: Vec<&Source> = Vec::new();
    for name in names {
        let source = find(name)?;
        // Named twice is wanted once.
        if !chosen.iter().any(|other| other.path == source.path) {
            chosen.push(source);
        }
    }
    Ok(chosen)
}
