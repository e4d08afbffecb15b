//! What all parts of the service see.

use crate::capture::pace::Pace;
use crate::config::{model::Config, roles::Role};
use crate::daemon::{
    captures::Captures,
    error::DaemonError,
    host::Host,
    notices::run::Notified,
    observed::Observer,
    pause::Pause,
    pulse::Pulse,
    runner::Runner,
    standing::{Refused, Standing},
    task::Task,
    trail::Trail,
    work::Works,
};
use crate::repo::attach::Attached;
use crate::store::limit::Rates;
use crate::sys::clock::Clock;
use crate::types::time::Instant;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The settings that hold, and the repository that they name.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) config: Arc<Config>,
    pub(super) at: Arc<Attached>,
    /// Of that repository.
    pub(super) trail: Arc<Trail>,
}

/// What all parts of the service see.
pub(super) struct Shared {
    pub(super) host: Arc<dyn Host>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pause: Pause,
    pub(super) works: Arc<Works>,
    pub(super) captures: Arc<Captures>,
    pub(super) main_pulse: Pulse,
    pub(super) observer: Observer,
    pub(super) notified: Notified,
    /// What the service keeps.
    pub(super) dir: PathBuf,
    since: Instant,
    current: Mutex<Current>,
    tasks: Mutex<Vec<Arc<Task>>>,
    runner: Mutex<Runner>,
    refused: Mutex<Option<Refused>>,
}

impl Shared {
    /// With what an earlier service kept in `dir`.
    pub(super) fn open(
        host: Arc<dyn Host>,
        clock: Arc<dyn Clock>,
        current: Current,
        dir: &Path,
    ) -> Result<Shared, DaemonError> {
        let since = clock.now();
        Ok(Shared {
            pause: Pause::open(dir.join("pause.json"), since)?,
            runner: Mutex::new(Runner::open(&dir.join("jobs.json"))?),
            host,
            clock,
            works: Arc::default(),
            captures: Arc::default(),
            main_pulse: Pulse::new(),
            observer: Observer::default(),
            notified: Notified::default(),
            dir: dir.to_owned(),
            since,
            current: Mutex::new(current),
            tasks: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    pub(super) fn current(&self) -> Current {
        lock(&self.current).clone()
    }

    pub(super) fn set_current(&self, current: Current) {
        let limits = &current.config.limits;
        Pace::of_process().set(limits);
        Rates::of_process().set(limits.upload, limits.download);
        *lock(&self.current) = current;
    }

    pub(super) fn tasks(&self) -> Vec<Arc<Task>> {
        lock(&self.tasks).clone()
    }

    pub(super) fn set_tasks(&self, tasks: Vec<Arc<Task>>) {
        *lock(&self.tasks) = tasks;
    }

    pub(super) fn runner(&self) -> MutexGuard<'_, Runner> {
        lock(&self.runner)
    }

    pub(super) fn set_refused(&self, refused: Option<Refused>) {
        *lock(&self.refused) = refused;
    }

    /// How the service stands, for somebody with this role.
    pub(super) fn standing(&self, role: Option<Role>) -> Standing {
        let (jobs, trouble) = {
            let runner = self.runner();
            (runner.status(self.clock.now()), runner.trouble().map(str::to_owned))
        };
        Standing {
            pid: std::process::id(),
            since_ns: self.since.0,
            settings: self.current().config.path.clone(),
            paused: self.pause.state(),
            held_back: Pace::of_process().held(self.clock.now()),
            refused: lock(&self.refused).clone(),
            tasks: self.tasks().iter().map(|task| task.status()).collect(),
            jobs,
            running: self.works.status(),
            trouble,
            undelivered: self.notified.told().1,
            role,
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
