//! What runs at this moment: each can be cancelled by its name.

use crate::daemon::{pulse::Pulse, standing::WorkStatus};
use crate::sys::clock;
use crate::types::time::Instant;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Something that runs.
pub(super) struct Work {
    pub(super) name: String,
    /// Ends it when it is set.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) pulse: Arc<Pulse>,
    source: Option<PathBuf>,
    since: Instant,
    cancelled: AtomicBool,
}

impl Work {
    /// Whether somebody ended it.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// All that runs.
#[derive(Default)]
pub(super) struct Works {
    all: Mutex<Vec<Arc<Work>>>,
    closed: AtomicBool,
}

impl Works {
    /// Something begins; it is known until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Works>, name: &str, source: Option<&Path>) -> Running {
        let work = Arc::new(Work {
            name: name.to_owned(),
            stop: Arc::new(AtomicBool::new(false)),
            pulse: Arc::new(Pulse::new()),
            source: source.map(Path::to_owned),
            since: clock::now(),
            cancelled: AtomicBool::new(false),
        });
        work.pulse.beat();
        let mut all = self.lock();
        // What begins when all was asked to end ends too.
        work.stop.store(self.closed.load(Ordering::Relaxed), Ordering::Relaxed);
        all.push(work.clone());
        Running { works: self.clone(), work }
    }

    pub(super) fn all(&self) -> Vec<Arc<Work>> {
        self.lock().clone()
    }

    pub(super) fn status(&self) -> Vec<WorkStatus> {
        let status = |work: &Arc<Work>| WorkStatus {
            name: work.name.clone(),
            since_ns: work.since.0,
            cancelled: work.stop.load(Ordering::Relaxed),
        };
        self.lock().iter().map(status).collect()
    }

    /// Asks what has this name to end. How many there were.
    pub(super) fn cancel(&self, name: &str) -> usize {
        let named: Vec<Arc<Work>> = self.lock().iter().filter(|work| work.name == name).cloned().collect();
        for work in &named {
            work.cancelled.store(true, Ordering::Relaxed);
            work.stop.store(true, Ordering::Relaxed);
        }
        named.len()
    }

    /// Asks what somebody wants of this source to end, as [`Works::cancel`] does. How many there were.
    pub(super) fn cancel_source(&self, source: &Path) -> usize {
        let of_it: Vec<Arc<Work>> =
            self.lock().iter().filter(|work| work.source.as_deref() == Some(source)).cloned().collect();
        for work in &of_it {
            work.cancelled.store(true, Ordering::Relaxed);
            work.stop.store(true, Ordering::Relaxed);
        }
        of_it.len()
    }

    /// Asks what is for this source to end.
    pub(super) fn stop_source(&self, source: &Path) {
        self.lock().iter().filter(|work| work.source.as_deref() == Some(source)).for_each(|work| {
            work.stop.store(true, Ordering::Relaxed);
        });
    }

    /// Asks everything to end, also what is only beginning.
    pub(super) fn stop_all(&self) {
        let all = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        all.iter().for_each(|work| work.stop.store(true, Ordering::Relaxed));
    }

    /// Whether everything was asked to end.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Work>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something is known to run until this is dropped.
pub(super) struct Running {
    works: Arc<Works>,
    pub(super) work: Arc<Work>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.works.lock().retain(|work| !Arc::ptr_eq(work, &self.work));
    }
}
