//! A site brought up to date, and what this host notes of it.

use crate::progress::Progress;
use crate::replicate::{
    act::{self, Done},
    error::ReplicateError,
    known::Known,
    plan::{self, Plan, Wanted},
};
use crate::repo::{
    attach::Attached,
    audit::event::{Event, Kind, Outcome},
    holding::Holding,
    names, needed,
    open::Repository,
    promotion,
    replay::Replayed,
    sites::{self, Found, Now, Run},
};
use crate::sys::clock;
use crate::types::{ids::Id, path, snapshot::Tier};
use std::{collections::HashSet, sync::atomic::AtomicBool};

/// How often it is looked again, where objects were collected at the origin while they were copied.
const TRIES: usize = 5;
/// So many problems are told in the audit trail.
const NOTED_MAX: usize = 20;

/// A site, ready to be written to.
pub struct Site<'a> {
    /// Its name.
    pub name: &'a str,
    /// The repository in its store.
    pub copy: Repository,
    /// The sources that it is to have, by host and path; all if none are named.
    pub sources: Vec<(String, Vec<u8>)>,
    /// The tiers whose snapshots are to be whole there; all if none are named.
    pub tiers: Vec<Tier>,
    /// It is made again, though this host knows of a copy that was there.
    pub anew: bool,
    /// What there is goes to it though the repository is fenced: it is about to be promoted.
    pub hands_over: bool,
}

/// How a run ended that came to its end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Replicated {
    /// What was planned, the last time that it was.
    pub plan: Plan,
    /// What was done, all together.
    pub done: Done,
    /// Where the site had more of a history than when this run began: it was set back, or has lost objects.
    pub gone_back: Vec<String>,
}

impl Replicated {
    /// Whether the site has all that it is to have, and the origin too.
    pub fn is_whole(&self) -> bool {
        let done = &self.done;
        done.problems.is_empty()
            && done.vanished == 0
            && done.locked == 0
            && !done.stopped
            && !self.plan.kept.iter().any(|k| k.is_lost)
    }
}

/// What would be done at a site now. `replayed` has brought the index of `at` up to date.
pub fn look(at: &Attached, site: &Site<'_>, replayed: &Replayed) -> Result<Plan, ReplicateError> {
    let plan = planned(at, site, replayed)?;
    if plan.is_new
        && !site.anew
        && sites::all(at.dir()).get(site.name).is_some_and(|known| known.succeeded_ns.is_some())
    {
        return Err(ReplicateError::Gone { location: site.copy.store().location() });
    }
    Ok(plan)
}

fn planned(at: &Attached, site: &Site<'_>, replayed: &Replayed) -> Result<Plan, ReplicateError> {
    let wanted = wanted(at, site)?;
    plan::plan(at, &site.copy, &wanted, &mut Known::of(at, replayed)?, site.hands_over)
}

/// Brings a site up to date, and notes how that went and what it has now.
pub fn replicate(
    at: &Attached,
    site: &Site<'_>,
    replayed: &Replayed,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Replicated, ReplicateError> {
    let begun = clock::now();
    let known = sites::all(at.dir()).remove(site.name).unwrap_or_default();
    let ended = run(at, site, &known, replayed, progress, stop);
    let diverged = match &ended {
        // Whichever goes on, the other one is told.
        Err(ReplicateError::Promoted { .. }) => {
            promotion::fence(at.repo(), &site.copy)?;
            None
        }
        Err(ReplicateError::Ahead { count, .. }) => {
            promotion::fence(&site.copy, at.repo())?;
            Some(*count as u64)
        }
        Ok(all) => {
            Some(all.plan.kept.iter().filter(|k| k.is_lost && names::source_of(&k.name).is_some()).count() as u64)
        }
        Err(_) => None,
    };
    let run = Run { begun_ns: begun.0, ended_ns: clock::now().0, ..of(&ended) };
    let held = match &ended {
        Ok(all) if !all.done.stopped => {
            let there = there_now(all);
            let held = sites::held(at, &|name| there.contains(name))?;
            // Where not all could be copied, no more is told than is held for certain.
            let holding = match all.done.problems.is_empty() && all.done.vanished == 0 {
                true => all.plan.holding.clone(),
                false => all.plan.held.on_the_way_to(&all.plan.holding),
            };
            let tips = sites::tips(at, &|name| there.contains(name))?;
            Some(Now { held, tiers: holding.tiers, tips })
        }
        _ => None,
    };
    let gone_back = ended.as_ref().ok().and_then(gone_back);
    sites::note(at.dir(), site.name, run, held, Found { diverged, gone_back })?;
    ended
}

fn run(
    at: &Attached,
    site: &Site<'_>,
    known: &sites::Site,
    replayed: &Replayed,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Replicated, ReplicateError> {
    let mut all = Replicated { plan: look(at, site, replayed)?, ..Replicated::default() };
    // A copy that is made anew was told to be lost.
    if !all.plan.is_new {
        all.gone_back = sites::gone_back(at, known, &|name| all.plan.journals.contains(name))?;
    }
    for again in 0..TRIES {
        if again > 0 {
            all.plan = planned(at, site, replayed)?;
        }
        let done = act::act((at.repo(), &site.copy), &all.plan, progress, stop)?;
        add(&mut all.done, done);
        if all.done.vanished == 0 || all.done.stopped {
            break;
        }
    }
    Ok(all)
}

fn add(all: &mut Done, done: Done) {
    all.copied += done.copied;
    all.bytes += done.bytes;
    all.of_histories += done.of_histories;
    all.mended += done.mended;
    all.removed += done.removed;
    all.removed_bytes += done.removed_bytes;
    (all.locked, all.vanished, all.problems, all.stopped) = (done.locked, done.vanished, done.problems, done.stopped);
}

/// What a site is to hold, and what that needs.
fn wanted(at: &Attached, site: &Site<'_>) -> Result<Wanted, ReplicateError> {
    let tiers = (!site.tiers.is_empty()).then(|| site.tiers.clone());
    let holding = Holding { sources: sources(at, site)?, tiers };
    let packs = match holding.is_all() {
        true => None,
        false => Some(needed::by_copy(at, &holding)?),
    };
    Ok(Wanted { holding, packs })
}

/// The sources of a site; `None` for all.
fn sources(at: &Attached, site: &Site<'_>) -> Result<Option<HashSet<Id>>, ReplicateError> {
    if site.sources.is_empty() {
        return Ok(None);
    }
    let reader = at.reader().map_err(ReplicateError::from)?;
    let known = reader.sources().map_err(crate::repo::error::RepoError::from)?;
    let mut ids: HashSet<Id> = HashSet::new();
    for (host, root) in &site.sources {
        let found = known.iter().filter(|s| s.root == *root && (s.host == *host || s.is_of(host)));
        let before = ids.len();
        ids.extend(found.map(|s| s.id));
        if ids.len() == before {
            let source_path = path::show(root);
            return Err(ReplicateError::NoSource { site: site.name.to_owned(), source_path });
        }
    }
    Ok(Some(ids))
}

/// The parts of journals that the site has after a run.
fn there_now(all: &Replicated) -> HashSet<&str> {
    let problems: HashSet<&str> = all.done.problems.iter().map(|problem| problem.object.as_str()).collect();
    let copied = all.plan.copy.iter().map(|object| object.name.as_str()).filter(|name| !problems.contains(name));
    all.plan.journals.iter().map(String::as_str).chain(copied).collect()
}

fn of(ended: &Result<Replicated, ReplicateError>) -> Run {
    match ended {
        Ok(all) => Run {
            copied: all.done.copied,
            bytes: all.done.bytes,
            removed: all.done.removed,
            error: why_not(all).or_else(|| gone_back(all)),
            ..Run::default()
        },
        Err(e) => Run { error: Some(e.to_string()), ..Run::default() },
    }
}

/// That the site had more before the run, if it had.
pub fn gone_back(all: &Replicated) -> Option<String> {
    (!all.gone_back.is_empty()).then(|| {
        format!(
            "the copy had gone back: it was set back, or has lost objects ({}); what it lacked was copied again",
            all.gone_back.join("; ")
        )
    })
}

/// Why a run that came to its end did not do all, if it did not.
pub fn why_not(all: &Replicated) -> Option<String> {
    let done = &all.done;
    if let Some(first) = done.problems.first() {
        let n = done.problems.len();
        return Some(format!("{n} object(s) could not be copied, the first: {}: {}", first.object, first.why));
    }
    if done.stopped {
        return Some("it was ended before everything was copied".to_owned());
    }
    if done.vanished > 0 {
        return Some(format!("{} object(s) were collected again and again while they were copied", done.vanished));
    }
    let lost: Vec<_> = all.plan.kept.iter().filter(|kept| kept.is_lost).collect();
    if let Some(first) = lost.first() {
        return Some(format!(
            "the site has {} object(s) that the origin should have, the first: {}: {}",
            lost.len(),
            first.name,
            first.why
        ));
    }
    (done.locked > 0)
        .then(|| format!("{} object(s) stay until the lock of the site's store on them is over", done.locked))
}

/// The event of the audit trail; `None` where there is nothing to tell: what only brings on what the trail itself says would be told
/// again by the next run.
pub fn event(site: &str, location: &str, ended: &Result<Replicated, String>) -> Option<Event> {
    let about = |outcome| Event::new(Kind::Replicate, outcome).about("site", site).about("location", location);
    let all = match ended {
        Ok(all) => all,
        Err(why) => return Some(about(Outcome::Failed).detail("why", why.as_str())),
    };
    let done = &all.done;
    if all.is_whole() && all.gone_back.is_empty() && done.of_histories + done.removed + done.mended == 0 {
        return None;
    }
    let outcome = match (all.is_whole() && all.gone_back.is_empty(), done.stopped) {
        (true, _) => Outcome::Done,
        (false, true) => Outcome::Failed,
        (false, false) => Outcome::Partial,
    };
    let problems: Vec<String> =
        done.problems.iter().take(NOTED_MAX).map(|p| format!("{}: {}", p.object, p.why)).collect();
    let lost: Vec<&str> = all.plan.kept.iter().filter(|k| k.is_lost).take(NOTED_MAX).map(|k| k.name.as_str()).collect();
    let event = about(outcome)
        .detail("copied", done.copied)
        .detail("bytes", done.bytes)
        .detail("deleted", done.removed)
        .detail("mended", done.mended)
        .detail("problems", done.problems.len())
        .detail("some_problems", problems);
    let event = match all.gone_back.is_empty() {
        true => event,
        false => event.detail("gone_back", all.gone_back.clone()),
    };
    Some(event.detail("origin_lacks", lost))
}
