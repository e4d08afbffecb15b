//! What whoever watches a source does whose data is produced: produce it at the beginning and at its times; the watcher sees what is
//! new.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::kinds::Produce;
use crate::config::model::Source;
use crate::produce::error::{Failure, ProduceError};
use crate::produce::{
    hooks,
    receiver::Receiver,
    run::{Ground, produce},
};
use crate::sys::clock;
use crate::types::{snapshot::Tier, when::zone::Zone};

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_millis(200);
/// After this time a receiver that ended is started again.
const AGAIN: Duration = Duration::from_secs(5);

/// A source whose data goes on being produced.
pub struct Producing<'a> {
    state: &'a Path,
    zone: Zone,
    source: &'a Source,
    receiver: std::sync::Mutex<Option<Receiver>>,
}

/// Produces the data of a source for the first time, and begins to receive where it does so all the time. For a directory
/// there is nothing to do.
///
/// `state` is the state directory, `zone` that of its schedule.
pub fn begin<'a>(
    (state, zone): (&'a Path, Zone),
    source: &'a Source,
    stop: &AtomicBool,
) -> Result<Producing<'a>, ProduceError> {
    let producing = Producing { state, zone, source, receiver: std::sync::Mutex::default() };
    producing.once(stop)?;
    if source.kind.is_produced() {
        *lock(&producing.receiver) = Receiver::start(source, state, stop)?;
    }
    Ok(producing)
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Producing<'_> {
    fn once(&self, stop: &AtomicBool) -> Result<(), ProduceError> {
        let ground = Ground { state: self.state, tier: Tier::Incremental, stop };
        let produced = produce(self.source, &ground)?;
        tell_failures(self.source, produced.failures.iter());
        Ok(())
    }

    /// Produces at the times of the settings until one of the two is set.
    pub fn go_on(&self, ended: &AtomicBool, stop: &AtomicBool) {
        if !self.source.kind.is_produced() {
            return;
        }
        let mut next = self.next();
        let mut again: Option<Instant> = None;
        while !ended.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            self.look_after_receiver(&mut again, stop);
            if next.is_some_and(|next| clock::now().0 >= next) {
                if let Err(e) = self.once(stop) {
                    tracing::error!("{}: {e}", hooks::label(self.source));
                }
                next = self.next();
            }
        }
        if let Some(Err(e)) = lock(&self.receiver).take().map(Receiver::stop) {
            tracing::warn!("{}: cannot end the receiver of WAL: {e}", hooks::label(self.source));
        }
    }

    fn look_after_receiver(&self, again: &mut Option<Instant>, stop: &AtomicBool) {
        let name = hooks::label(self.source);
        let mut receiver = lock(&self.receiver);
        if let Some(Err(why)) = receiver.as_mut().map(Receiver::alive) {
            tracing::error!("{name}: {why}; it is started again in {} s", AGAIN.as_secs());
            *receiver = None;
            *again = Some(Instant::now() + AGAIN);
        }
        if again.is_some_and(|at| Instant::now() >= at) {
            *again = None;
            match Receiver::start(self.source, self.state, stop) {
                Ok(started) => *receiver = started,
                Err(e) => {
                    tracing::error!("{name}: {e}; tried again in {} s", AGAIN.as_secs());
                    *again = Some(Instant::now() + AGAIN);
                }
            }
        }
    }

    /// When it is to be produced next (ns).
    fn next(&self) -> Option<i64> {
        let now = clock::now();
        match self.source.produce.as_ref()? {
            Produce::Every(every) => Some(now.0.saturating_add(every.as_nanos().min(i64::MAX as u128) as i64)),
            Produce::At(schedule) => schedule.next_after(now, &self.zone).map(|at| at.0),
        }
    }
}

/// Tells what of a source could not be produced, and which hooks failed.
pub fn tell_failures<'a>(source: &Source, failures: impl Iterator<Item = &'a Failure>) {
    for failure in failures {
        let name = hooks::label(source);
        let kept = if failure.is_kept { "; what was there before of it still is" } else { "" };
        tracing::error!("{name}: {}: {}{kept}", failure.what, failure.why);
    }
}
