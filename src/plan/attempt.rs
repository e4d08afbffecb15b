//! A step with its attempts: each within its time, and again where it has failed and may.

use super::ground::{Did, Doing, Ground, News, sleep};
use super::journal::{Ended, Ending, Event, Journal};
use super::model::{Plan, Step};
use super::places::RunDir;
use super::steps::work;
use crate::sys::clock;
use crate::types::duration::show_duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the run and a step tell each other while it runs.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The step is to end, whatever the reason.
    pub(super) stop: AtomicBool,
    /// Somebody asked for it, and there is no other attempt.
    pub(super) asked: AtomicBool,
    timed_out: AtomicBool,
    deadline: Mutex<Option<Instant>>,
}

impl Slot {
    /// Asks the step to end.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Ends the attempt where its time is over.
    pub(super) fn look(&self) {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        if deadline.is_some_and(|deadline| Instant::now() > deadline) && !self.asked.load(Ordering::Relaxed) {
            self.timed_out.store(true, Ordering::Relaxed);
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn begin(&self, step: &Step) {
        let deadline = step.timeout.map(|timeout| Instant::now() + timeout);
        self.timed_out.store(false, Ordering::Relaxed);
        self.stop.store(self.asked.load(Ordering::Relaxed), Ordering::Relaxed);
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn end(&self) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// How a step came to its end.
pub(super) enum Finished {
    /// It is over.
    Over(Ended),
    /// It was asked to end before.
    Stopped,
}

/// All that a step needs to run.
pub(super) struct Work<'a> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) plan: &'a Plan,
    pub(super) step: &'a Step,
    pub(super) run: &'a RunDir,
    pub(super) journal: &'a Mutex<Journal>,
    pub(super) slot: &'a Slot,
}

impl Work<'_> {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the step to its end. The first attempt has been noted already.
    pub(super) fn run(&self) -> Finished {
        let begun = Instant::now();
        for attempt in 1.. {
            if attempt > 1 {
                let (time_ns, step) = (clock::now().0, self.step.name.clone());
                if let Err(e) = self.journal().add(Event::StepBegun { time_ns, step, attempt }) {
                    return Finished::Over(failed(e.to_string(), begun));
                }
            }
            self.ground.hands.hear(News::Begun(self.step, attempt));
            self.slot.begin(self.step);
            let result = self.attempt();
            self.slot.end();
            let why = match result {
                Ok(did) => return Finished::Over(over(did, begun)),
                Err(_) if self.slot.asked.load(Ordering::Relaxed) => return Finished::Stopped,
                Err(why) => self.in_time(why),
            };
            if attempt > self.step.retries {
                return Finished::Over(failed(why, begun));
            }
            self.ground.hands.hear(News::Again(self.step, &why));
            if !sleep(self.step.retry_after, &self.slot.asked) {
                return Finished::Stopped;
            }
        }
        unreachable!("attempts are counted without an end")
    }

    fn attempt(&self) -> Result<Did, String> {
        let progress = self.ground.hands.progress();
        let values = self.journal().story.values.clone();
        let doing = Doing {
            ground: self.ground,
            plan: self.plan,
            step: self.step,
            values,
            run: self.run,
            journal: self.journal,
            stop: &self.slot.stop,
            progress: &*progress,
        };
        work::attempt(&doing)
    }

    /// Why an attempt failed, where its time was over.
    fn in_time(&self, why: String) -> String {
        match (self.slot.timed_out.load(Ordering::Relaxed), self.step.timeout) {
            // A program that was ended tells so itself.
            (true, Some(_)) if why.contains("its time-out") => why,
            (true, Some(timeout)) => format!("it did not end within {}, its time-out: {why}", show_duration(timeout)),
            _ => why,
        }
    }
}

fn over(did: Did, begun: Instant) -> Ended {
    let ending = if did.problems.is_empty() { Ending::Done } else { Ending::Partial };
    let Did { amount, problems, told } = did;
    Ended { ending, took_ms: millis(begun), amount, why: None, problems, told }
}

fn failed(why: String, begun: Instant) -> Ended {
    let amount = Default::default();
    Ended { ending: Ending::Failed, took_ms: millis(begun), amount, why: Some(why), problems: Vec::new(), told: None }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
