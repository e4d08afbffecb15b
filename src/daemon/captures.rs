//! Snapshots that are asked for: of a source that is being watched by whoever watches it, of another one directly.

use crate::capture::{
    once::{self, OnceError},
    report::{CaptureError, Report},
    steer::Wanted,
};
use crate::config::model::{Config, Source};
use crate::daemon::{error::Trouble, work::Work};
use crate::produce::{
    go_on::tell_failures,
    run::Ground,
    take::{self, Taken},
};
use crate::repo::{attach::Attached, error::RepoError};
use crate::types::snapshot::Tier;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

/// How often who waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// So often a source is looked for again that this service seems to watch.
const TRIES: usize = 25;

/// The sources that are being watched, and how to ask for snapshots of them.
#[derive(Default)]
pub(super) struct Captures {
    watched: Mutex<BTreeMap<PathBuf, Sender<Wanted>>>,
}

impl Captures {
    /// A source is being watched until the second value is dropped.
    pub(super) fn watching(self: &Arc<Captures>, source: &Path) -> (Receiver<Wanted>, Watching) {
        let (to, wanted) = crossbeam_channel::unbounded();
        self.lock().insert(source.to_owned(), to);
        (wanted, Watching { captures: self.clone(), source: source.to_owned() })
    }

    /// Takes a snapshot. Waits for one that is under way.
    pub(super) fn take(
        &self,
        (config, at): (&Config, &Arc<Attached>),
        source: &Source,
        tier: Tier,
        work: &Work,
    ) -> Result<Taken, Trouble> {
        let ground = Ground { state: &config.state, tier, stop: &work.stop };
        let taken = take::take(source, &ground, (at, &config.host), || -> Result<Report, Trouble> {
            let mut tries = 0;
            loop {
                let (told, hear) = crossbeam_channel::bounded(1);
                let wanted = Wanted { tier, stop: work.stop.clone(), told };
                let watched = self.lock().get(&source.path).cloned();
                if let Some(Ok(())) = watched.map(|to| to.send(wanted)) {
                    return answer(&hear, source, work);
                }
                match once::take(config, at, source, tier, (&*work.pulse, &work.stop)) {
                    // This service has just begun to watch it, or is about to end that.
                    Err(OnceError::Repo(RepoError::Locked { holder, .. }))
                        if tries < TRIES && holder == std::process::id().to_string() =>
                    {
                        tries += 1;
                        std::thread::sleep(LOOK);
                    }
                    other => return Ok(other?),
                }
            }
        })?;
        tell_failures(source, taken.failures());
        Ok(taken)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Sender<Wanted>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(hear: &Receiver<Result<Report, CaptureError>>, source: &Source, work: &Work) -> Result<Report, Trouble> {
    loop {
        match hear.recv_timeout(LOOK) {
            Ok(result) => return Ok(result?),
            Err(RecvTimeoutError::Timeout) if work.stop.load(Ordering::Relaxed) => {
                return Err(CaptureError::Stopped.into());
            }
            // Whoever watches has a pulse of its own.
            Err(RecvTimeoutError::Timeout) => work.pulse.beat(),
            Err(RecvTimeoutError::Disconnected) => {
                let path = source.path.display();
                return Err(format!(
                    "the watching of {path} ended before the snapshot was taken; `bygone status` says why"
                )
                .into());
            }
        }
    }
}

/// A source is known to be watched until this is dropped.
pub(super) struct Watching {
    captures: Arc<Captures>,
    source: PathBuf,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.captures.lock().remove(&self.source);
    }
}
