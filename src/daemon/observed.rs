//! What the service tells those who watch over it: facts, of which what is costly is looked at seldom.

use crate::config::model::Config;
use crate::daemon::{
    error::{Trouble, told as told_error},
    runner::Ended,
    shared::{Current, Shared},
    standing::{JobStatus, TaskState},
};
use crate::drill::coverage;
use crate::observe::{
    facts::{Count, Facts, JobFacts, NotProduced, RecoveryFacts, ServiceFacts, SourceFacts, Stored, TaskFacts},
    gather,
};
use crate::produce::{archiver, note};
use crate::recover::{
    lease,
    state::{self, Phase},
};
use crate::repo::attach::Attached;
use crate::store::counts;
use crate::types::{path, time};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// For somebody who asks, what is costly may be so old,
pub(super) const LATELY: Duration = Duration::from_secs(5);
/// and for what asks all the time, so old;
pub(super) const SELDOM: Duration = Duration::from_secs(60);
/// and it takes at most such a part of the time.
const PART: u32 = 20;

/// What is looked at seldom, and counters.
#[derive(Default)]
pub(super) struct Observer {
    seldom: Mutex<Option<Seldom>>,
    runs: Mutex<BTreeMap<(String, &'static str), u64>>,
}

#[derive(Clone)]
struct Seldom {
    looked: Instant,
    cost: Duration,
    /// The repository that was looked at.
    of: usize,
    sources: Vec<SourceFacts>,
    stored: Option<Stored>,
    trouble: Option<String>,
}

impl Observer {
    /// A run of a job has ended.
    pub(super) fn ended(&self, job: &str, ended: &Ended) {
        let result = match ended {
            Ended::Done(_) => "success",
            Ended::Failed(_) => "failure",
            Ended::Cancelled => "cancelled",
        };
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs.entry((job.to_owned(), result)).or_default() += 1;
    }

    fn runs(&self) -> Vec<Count> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |((of, result), count): (&(String, &'static str), &u64)| Count {
            of: of.clone(),
            result: (*result).to_owned(),
            count: *count,
        };
        runs.iter().map(count).collect()
    }

    /// What is costly: from lately, or from now. Who asks meanwhile waits for the same.
    fn seldom(&self, shared: &Shared, current: &Current, age: Duration) -> Seldom {
        let of = Arc::as_ptr(&current.at) as usize;
        let mut kept = self.seldom.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.take().filter(|kept| kept.of == of);
        if let Some(kept_) = before.as_ref().filter(|k| k.looked.elapsed() < (k.cost * PART).max(age)) {
            return kept.insert(kept_.clone()).clone();
        }
        let begun = Instant::now();
        let (mut stored, mut trouble) = (before.as_ref().and_then(|before| before.stored.clone()), None);
        let mut sources = gather::sources(&current.config, &current.at).unwrap_or_else(|e| {
            trouble = Some(e.to_string());
            before.map(|before| before.sources).unwrap_or_default()
        });
        archiving(&current.config, &mut sources);
        match gather::stored(&current.at, shared.clock.now()) {
            Ok(now) => stored = Some(now),
            // What was known before is told with its time.
            Err(e) => trouble = Some(e.to_string()),
        }
        kept.insert(Seldom { looked: Instant::now(), cost: begun.elapsed(), of, sources, stored, trouble }).clone()
    }
}

/// Asks the servers of sources whether their WAL is archived.
pub fn archiving(config: &Config, facts: &mut [SourceFacts]) {
    for source in &config.sources {
        let root = source.path.as_os_str().as_encoded_bytes();
        if let Some(facts) = facts.iter_mut().find(|facts| facts.configured && facts.root == root) {
            facts.not_archived = archiver::failing(source);
        }
    }
}

/// Looks up what could not be produced of sources when that was tried last, and which of their hooks failed.
pub fn producing(config: &Config, facts: &mut [SourceFacts]) {
    for source in &config.sources {
        let root = source.path.as_os_str().as_encoded_bytes();
        let Some(facts) = facts.iter_mut().find(|facts| facts.configured && facts.root == root) else { continue };
        facts.is_produced = source.kind.is_produced();
        facts.not_produced = note::standing(&config.state, source).and_then(noted);
        facts.failed_hooks = note::failed_hooks(&config.state, source).and_then(noted);
        facts.unmeasured = note::unmeasured(&config.state, source).and_then(noted);
    }
}

fn noted(noted: note::NotProduced) -> Option<NotProduced> {
    let first = noted.parts.first()?;
    let first = first.what.iter().chain([&first.why]).map(String::as_str).collect::<Vec<_>>().join(": ");
    Some(NotProduced { at_ns: noted.at_ns, parts: noted.parts.len() as u64, first })
}

/// How everything stands; what is costly as of so long ago at most, or longer where it costs much. Blocks.
pub(super) fn facts(shared: &Shared, age: Duration) -> Facts {
    let current = shared.current();
    let seldom = shared.observer.seldom(shared, &current, age);
    let mut facts = gather::quick(&current.config, &current.at, seldom.sources, shared.clock.now());
    producing(&current.config, &mut facts.sources);
    drilled(&current.config, &mut facts);
    recovering(&current.at, &mut facts);
    facts.stored = seldom.stored;
    facts.trouble = seldom.trouble.or(facts.trouble);
    let standing = shared.standing(None);
    let (notified, undelivered) = shared.notified.told();
    facts.jobs = standing.jobs.iter().map(job).collect();
    facts.service = Some(ServiceFacts {
        since_ns: standing.since_ns,
        paused_ns: standing.paused.map(|paused| paused.since_ns),
        paused_until_ns: standing.paused.and_then(|paused| paused.until_ns),
        refused: standing.refused.map(|refused| refused.why),
        trouble: standing.trouble,
        tasks: standing
            .tasks
            .into_iter()
            .map(|task| TaskFacts {
                running: task.state == TaskState::Running,
                name: task.name,
                restarts: task.restarts,
                last_error: task.last_error,
            })
            .collect(),
        runs: shared.observer.runs(),
        requests: counts::requests()
            .filter(|_| current.config.repository.dir().is_none())
            .map(|(of, result, count)| Count { of: of.to_owned(), result: result.to_owned(), count })
            .collect(),
        notified,
        undelivered,
    });
    facts
}

/// Notes how the plans stand that were rehearsed. That it can't be told is trouble.
pub fn drilled(config: &Config, facts: &mut Facts) {
    match coverage::plans(config) {
        Ok(plans) => facts.drills = plans,
        Err(e) => facts.trouble = facts.trouble.take().or(Some(e.to_string())),
    }
}

/// Notes how the directories stand that are being given back. That it can't be told is trouble.
pub fn recovering(at: &Attached, facts: &mut Facts) {
    let told = || -> Result<Vec<RecoveryFacts>, Trouble> {
        let now = time::Instant(facts.at_ns);
        let noted = state::noted(at.dir())?;
        let broken = noted.broken.into_iter().map(|of| {
            Ok(RecoveryFacts {
                path: of.path.map_or(of.id, |path| path::show(path.as_os_str().as_encoded_bytes())),
                problems: vec![of.why],
                ..RecoveryFacts::default()
            })
        });
        let live = noted.states.into_iter().filter(|s| !matches!(s.phase, Phase::Abandoned | Phase::Swapped));
        live.map(|of| {
            Ok(RecoveryFacts {
                path: path::show(of.path().as_os_str().as_encoded_bytes()),
                as_of: of.as_of.clone(),
                begun_ns: of.begun_ns,
                working: of.worker()?.is_some(),
                problems: of.problems.clone(),
                held_until_ns: lease::until(at, &of, now)?.map(|until| until.0),
            })
        })
        .chain(broken)
        .collect()
    };
    match told() {
        Ok(all) => facts.recoveries = all,
        Err(e) => facts.trouble = facts.trouble.take().or(Some(told_error(&*e))),
    }
}

/// How a job stands, for those who watch.
pub fn job(status: &JobStatus) -> JobFacts {
    JobFacts {
        name: status.name.clone(),
        run: status.run.clone(),
        source: status.source.as_ref().map(|source| path::show(source.as_os_str().as_encoded_bytes())),
        running_ns: status.running_ns,
        next_ns: status.next_ns,
        ended_ns: status.ended_ns,
        succeeded_ns: status.succeeded_ns,
        failures: status.failures,
        last_error: status.last_error.clone(),
        overdue_ns: status.overdue_ns,
    }
}
