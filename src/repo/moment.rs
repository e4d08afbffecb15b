//! How the writers and the views of one host agree on time.
//!
//! A view of an instant must never change, so no snapshot may get a time at or before an instant that was shown, even where
//! the clock steps back between two processes. The file `moment` in the state directory holds the latest instant that
//! either was given to a snapshot or shown as settled; whoever needs a time takes the file's lock, looks at it, and moves
//! it on. While a writer holds a time that readers can't see yet, it says so beside it.

use crate::repo::error::RepoError;
use crate::sys::{clock::Clock, shared::SharedWords};
use crate::types::time::Instant;
use std::{path::Path, sync::Arc};

/// How many writers can be between taking a time and showing their snapshot.
const SLOTS: usize = 62;

/// The agreement on time in one state directory. Word 0: the latest instant given or shown. Word 1 and on: times of snapshots that
/// do not show yet, 0 for none.
pub struct Moment {
    words: SharedWords,
    clock: Arc<dyn Clock>,
}

/// A time that was given to a snapshot which does not show yet. It stands until it is released, also when its process ends:
/// its record may be in the journal, and show when that is read.
#[must_use]
#[derive(Debug)]
pub struct Sealing {
    slot: usize,
    /// The time of the snapshot.
    pub time: Instant,
}

impl Moment {
    /// The agreement in the directory `state`.
    pub fn open(state: &Path, clock: Arc<dyn Clock>) -> Result<Moment, RepoError> {
        let path = state.join("moment");
        let words = SharedWords::open(&path, SLOTS + 1).map_err(|source| RepoError::State {
            doing: "open",
            path: path.display().to_string(),
            source,
        })?;
        Ok(Moment { words, clock })
    }

    /// The clock.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A time for a snapshot: now, but after `last` and after every instant that was given or shown.
    pub fn seal(&self, last: Instant) -> Result<Sealing, RepoError> {
        let now = self.clock.now();
        self.words
            .with(|w| {
                let time = now.0.max(last.0.saturating_add(1)).max(w.get(0).saturating_add(1));
                let slot = w.claim(1, time)?;
                w.set(0, time);
                Some(Sealing { slot, time: Instant(time) })
            })
            .map_err(|source| self.error(source))?
            .ok_or(RepoError::Full("writers at one moment on this host"))
    }

    /// Whether no snapshot of this host can get a time at or before `at` any more. True stays true: the instant
    /// is marked as shown.
    pub fn settle(&self, at: Instant) -> Result<bool, RepoError> {
        let now = self.clock.now();
        self.words
            .with(|w| {
                let pending = w.claimed(1).min().unwrap_or(i64::MAX);
                let latest = w.get(0);
                let settled = at.0 < pending && (at.0 <= latest || at < now);
                if settled && at.0 > latest {
                    w.set(0, at.0);
                }
                settled
            })
            .map_err(|source| self.error(source))
    }

    /// The snapshot with this time shows now, or never will.
    pub fn release(&self, sealing: Sealing) -> Result<(), RepoError> {
        self.words.with(|w| w.release(sealing.slot)).map_err(|source| self.error(source))
    }

    /// Times that were given to writers which have ended since. Once the journal has been read, [`Moment::forget`] them.
    pub fn abandoned(&self) -> Result<Vec<usize>, RepoError> {
        self.words.with(|w| w.abandoned(1)).map_err(|source| self.error(source))
    }

    /// What [`Moment::abandoned`] gave shows now, or never will.
    pub fn forget(&self, abandoned: &[usize]) -> Result<(), RepoError> {
        if abandoned.is_empty() {
            return Ok(());
        }
        self.words.with(|w| abandoned.iter().for_each(|at| w.release(*at))).map_err(|source| self.error(source))
    }

    fn error(&self, source: std::io::Error) -> RepoError {
        RepoError::State { doing: "lock", path: self.words.path().display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::ManualClock;

    #[test]
    fn what_was_shown_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Instant(1_000)));
        let writer = Moment::open(dir.path(), clock.clone()).unwrap();
        let view = Moment::open(dir.path(), clock.clone()).unwrap();
        assert!(view.settle(Instant(900)).unwrap());
        assert!(!view.settle(Instant(1_000)).unwrap(), "now is not over");
        let sealing = writer.seal(Instant(0)).unwrap();
        assert_eq!(sealing.time, Instant(1_000));
        clock.set(Instant(2_000));
        assert!(view.settle(Instant(999)).unwrap());
        assert!(!view.settle(Instant(1_000)).unwrap(), "a snapshot of that time does not show yet");
        writer.release(sealing).unwrap();
        assert!(view.settle(Instant(1_999)).unwrap());
        clock.set(Instant(500));
        assert_eq!(
            writer.seal(Instant(0)).unwrap().time,
            Instant(2_000),
            "after what was shown, whatever the clock says"
        );
        assert!(view.settle(Instant(1_999)).unwrap(), "true stays true");
    }
}
