//! Holding still: capture and jobs, for a time or until somebody resumes; also over a restart.

use crate::daemon::{
    error::{DaemonError, KeepError},
    standing::Paused,
};
use crate::sys::durable;
use crate::types::time::Instant;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Whether everything is held still, kept in a file.
pub(super) struct Pause {
    file: PathBuf,
    state: Mutex<Option<Paused>>,
    /// Set while it is.
    pub(super) hold: Arc<AtomicBool>,
}

impl Pause {
    /// As an earlier service kept it.
    pub(super) fn open(file: PathBuf, now: Instant) -> Result<Pause, DaemonError> {
        let kept = |source| DaemonError::Kept { path: file.clone(), source };
        let state = match std::fs::read(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(kept(e)),
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|e| kept(e.into()))?),
        };
        let pause = Pause { file, state: Mutex::new(state), hold: Arc::new(AtomicBool::new(state.is_some())) };
        if let Err(e) = pause.look(now) {
            tracing::error!("{e}");
        }
        Ok(pause)
    }

    pub(super) fn state(&self) -> Option<Paused> {
        *self.lock()
    }

    /// Holds still from now on; one that is under way gets another end.
    pub(super) fn set(&self, until: Option<Instant>, now: Instant) -> Result<(), KeepError> {
        let mut state = self.lock();
        let since_ns = state.map_or(now.0, |paused| paused.since_ns);
        let paused = Paused { since_ns, until_ns: until.map(|at| at.0) };
        let bytes =
            serde_json::to_vec(&paused).map_err(|source| KeepError::Form { path: self.file.clone(), source })?;
        durable::replace(&self.file, &bytes, 0o600)?;
        *state = Some(paused);
        self.hold.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Goes on. Whether it was held still.
    pub(super) fn clear(&self) -> Result<bool, KeepError> {
        let mut state = self.lock();
        let was = state.take().is_some();
        self.hold.store(false, Ordering::Relaxed);
        durable::remove(&self.file)?;
        Ok(was)
    }

    /// Goes on where the time is over. Whether it did.
    pub(super) fn look(&self, now: Instant) -> Result<bool, KeepError> {
        let over = self.state().and_then(|paused| paused.until_ns).is_some_and(|until| until <= now.0);
        if over { self.clear() } else { Ok(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Paused>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_outlives_the_process_and_ends_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let open = |now| Pause::open(dir.path().join("pause.json"), Instant(now)).unwrap();
        let pause = open(100);
        assert_eq!(pause.state(), None);
        pause.set(Some(Instant(500)), Instant(100)).unwrap();
        pause.set(Some(Instant(900)), Instant(200)).unwrap();
        let again = open(899);
        assert_eq!(again.state(), Some(Paused { since_ns: 100, until_ns: Some(900) }));
        assert!(again.hold.load(Ordering::Relaxed));
        assert!(!again.look(Instant(899)).unwrap() && again.look(Instant(900)).unwrap());
        assert!(!again.hold.load(Ordering::Relaxed) && open(0).state().is_none());
        again.set(None, Instant(1)).unwrap();
        assert!(open(i64::MAX).state().is_some(), "without an end, it waits for somebody");
        assert!(again.clear().unwrap() && !again.clear().unwrap());
        pause.set(Some(Instant(500)), Instant(100)).unwrap();
        assert!(open(500).state().is_none(), "one that ended while nothing ran");
    }
}
