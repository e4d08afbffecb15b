//! What is due: a state machine over jobs that is told the time, and when a run begins and ends.
//!
//! One rule carries it: **a run that begins at an instant covers every time of its schedule up to that instant.** So
//!
//! - runs that were missed, because the machine was off, are caught up by one run;
//! - what becomes due while its job runs is run once after it: a job never overlaps with itself;
//! - runs that a blackout window holds back are one run at its end.
//!
//! A run that fails is tried again after a pause, and after a longer one, as often as the job allows; then the schedule's next run
//! is waited for, which also takes the place of an attempt that would come after it.

use std::time::Duration;

use super::blackout::Window;
use super::job::{Job, Planned, later};
use crate::types::time::Instant;

/// A run that begins later than this after its time was missed.
const LATE: Duration = Duration::from_secs(60);
/// A clock that is behind what was recorded by more than this had been wrong before, and not just been corrected.
const STEP_BACK: Duration = Duration::from_secs(3600);

/// What is known of a job's past: kept by the caller, from one process to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// All times of the schedule up to this one have had their run, or need none.
    pub covered: Instant,
    /// When the run that goes on has begun.
    pub running: Option<Instant>,
    /// When the last run ended.
    pub ended: Option<Instant>,
    /// How often the job has failed since it last succeeded or a run of the schedule began.
    pub failures: u32,
    /// When it last succeeded.
    pub succeeded: Option<Instant>,
}

impl State {
    /// A job that is new: its schedule counts from now on.
    pub fn new(now: Instant) -> State {
        State { covered: now, running: None, ended: None, failures: 0, succeeded: None }
    }
}

/// Why a run begins when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The schedule says so; jitter is part of it.
    Scheduled,
    /// The end of a blackout window was waited for, the last one if there were several.
    Postponed(Window),
    /// It was not run when it was due.
    Missed,
    /// It became due while the job was running.
    Overrun,
    /// The run before failed; which attempt it is, from 2.
    Retry(u32),
}

/// A run that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The name of its job.
    pub job: String,
    /// The time of the schedule that it is for: the first one that it covers. For another attempt, the failure.
    pub scheduled: Instant,
    /// When it may begin; not later than now if it is due.
    pub start: Instant,
    /// Why it begins then.
    pub why: Why,
}

/// All jobs and their states.
#[derive(Debug, Default)]
pub struct Planner {
    jobs: Vec<(Job, State)>,
}

/// A job has no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no job {0:?}: `bygone schedule next` shows those that there are")]
pub struct NoJob(pub String);

impl Planner {
    /// Adds a job, or gives a job of this name another definition. Its state is the one given, as an earlier process kept it; or
    /// the one it has; or that of a new job. A run that was going on in an earlier process has failed.
    pub fn put(&mut self, job: Job, kept: Option<State>, now: Instant) {
        let place = self.jobs.iter().position(|(known, _)| known.name == job.name);
        let state = match (kept, place) {
            (Some(state), _) => interrupted(state, now),
            (None, Some(n)) => redefined(&self.jobs[n], &job, now),
            (None, None) => State::new(now),
        };
        match place {
            Some(n) => self.jobs[n] = (job, state),
            None => self.jobs.push((job, state)),
        }
    }

    /// Takes a job out. A run that goes on is the caller's to end.
    pub fn remove(&mut self, name: &str) {
        self.jobs.retain(|(job, _)| job.name != name);
    }

    /// The state of a job.
    pub fn state(&self, name: &str) -> Result<&State, NoJob> {
        self.jobs.iter().find(|(job, _)| job.name == name).map(|(_, state)| state).ok_or_else(|| NoJob(name.to_owned()))
    }

    /// The runs that may begin now, the longest due first; of jobs that run already, none.
    pub fn due(&self, now: Instant) -> Vec<Run> {
        let mut due: Vec<Run> = self.coming(now).into_iter().filter(|run| run.start <= now).collect();
        due.sort_by_key(|run| (run.scheduled, run.job.clone()));
        due
    }

    /// The next run of each job that is not running, in the order in which they begin.
    pub fn coming(&self, now: Instant) -> Vec<Run> {
        let mut runs: Vec<Run> = self.jobs.iter().filter_map(|(job, state)| next(job, state, now)).collect();
        runs.sort_by_key(|run| (run.start, run.job.clone()));
        runs
    }

    /// When to ask again at the latest, if no run begins or ends before. Wall time: a clock that is set calls for asking at once.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        self.coming(now).first().map(|run| run.start.max(now))
    }

    /// A run of the job begins, whether it is due or somebody asked for it. Says whether it may: not while it runs already.
    pub fn begin(&mut self, name: &str, now: Instant) -> Result<bool, NoJob> {
        let (job, state) = self.entry(name)?;
        if state.running.is_some() {
            return Ok(false);
        }
        let fresh = job.schedule.next_after(trusted(state, now), &job.zone).is_some_and(|next| next <= now);
        state.failures = if fresh { 0 } else { state.failures };
        // A clock that was put back a little must not run again what has run.
        state.covered = trusted(state, now).max(now);
        state.running = Some(now);
        Ok(true)
    }

    /// The run of the job has ended.
    pub fn end(&mut self, name: &str, now: Instant, succeeded: bool) -> Result<(), NoJob> {
        let (_, state) = self.entry(name)?;
        end(state, now, succeeded);
        Ok(())
    }

    /// The run of the job was ended by somebody: it neither failed nor succeeded, and is not tried again.
    pub fn cancel(&mut self, name: &str, now: Instant) -> Result<(), NoJob> {
        let (_, state) = self.entry(name)?;
        *state = State { running: None, ended: Some(now), failures: 0, ..*state };
        Ok(())
    }

    fn entry(&mut self, name: &str) -> Result<&mut (Job, State), NoJob> {
        self.jobs.iter_mut().find(|(job, _)| job.name == name).ok_or_else(|| NoJob(name.to_owned()))
    }
}

fn end(state: &mut State, now: Instant, succeeded: bool) {
    state.running = None;
    state.ended = Some(now);
    match succeeded {
        true => (state.failures, state.succeeded) = (0, Some(now)),
        false => state.failures = state.failures.saturating_add(1),
    }
}

/// The state as an earlier process left it: what ran then does not run now.
fn interrupted(mut state: State, now: Instant) -> State {
    if state.running.is_some() {
        end(&mut state, now, false);
    }
    state
}

/// The state of a job that is given another definition: times that only the new schedule has and that are past were not missed.
fn redefined((old, state): &(Job, State), new: &Job, now: Instant) -> State {
    let same = (&old.schedule, &old.zone) == (&new.schedule, &new.zone);
    let covered = if same { state.covered } else { state.covered.max(now) };
    State { covered, ..*state }
}

/// Up to where the schedule is covered: what was recorded, unless it was recorded by a clock that was wrong.
fn trusted(state: &State, now: Instant) -> Instant {
    match state.covered > later(now, STEP_BACK) {
        true => now,
        false => state.covered,
    }
}

/// The next run of a job.
pub(super) fn next(job: &Job, state: &State, now: Instant) -> Option<Run> {
    if state.running.is_some() {
        return None;
    }
    let planned = job.planned_after(trusted(state, now));
    let scheduled = planned.and_then(|planned| from_schedule(job, state, planned, now));
    match (scheduled, retry(job, state, now)) {
        (Some(scheduled), Some(retry)) if scheduled.start <= retry.start => Some(scheduled),
        (scheduled, None) => scheduled,
        (_, retry) => retry,
    }
}

fn from_schedule(job: &Job, state: &State, planned: Planned, now: Instant) -> Option<Run> {
    let overrun = state.ended.is_some_and(|ended| planned.scheduled <= ended);
    // What is late begins now, or when the window that it is now is over.
    let (start, waits) = match planned.start < now {
        true => job.blackout.settle(now, &job.zone)?,
        false => (planned.start, planned.postponed),
    };
    let why = match waits {
        Some(window) => Why::Postponed(window),
        None if overrun => Why::Overrun,
        None if start > later(planned.start, LATE) => Why::Missed,
        None => planned.postponed.map_or(Why::Scheduled, Why::Postponed),
    };
    Some(Run { job: job.name.clone(), scheduled: planned.scheduled, start, why })
}

fn retry(job: &Job, state: &State, now: Instant) -> Option<Run> {
    let (failed, pause) = (state.ended?, job.retries.pause(state.failures)?);
    // A failure that a wrong clock recorded in the future is as one of now.
    let wanted = later(failed.min(now), pause);
    let (start, _) = job.blackout.settle(wanted, &job.zone)?;
    let start = if start < now { job.blackout.settle(now, &job.zone)?.0 } else { start };
    Some(Run { job: job.name.clone(), scheduled: failed, start, why: Why::Retry(state.failures.saturating_add(1)) })
}

/// The runs of one job from an instant on, as if each began when it may and ended at once.
pub fn runs_after(job: &Job, after: Instant) -> impl Iterator<Item = Run> + '_ {
    let mut covered = after;
    std::iter::from_fn(move || {
        let Planned { scheduled, start, postponed } = job.planned_after(covered)?;
        covered = start;
        let why = postponed.map_or(Why::Scheduled, Why::Postponed);
        Some(Run { job: job.name.clone(), scheduled, start, why })
    })
}
