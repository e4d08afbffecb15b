//! Whether something goes on: it beats whenever it comes on.

use crate::progress::{Progress, Total};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The pulse of something that runs. Also hears of progress, each of which is a beat.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    /// Milliseconds after that; nothing runs while it is [`RESTS`].
    last_ms: AtomicU64,
}

const RESTS: u64 = u64::MAX;

impl Pulse {
    /// One that rests.
    pub(super) fn new() -> Pulse {
        Pulse { begun: Instant::now(), last_ms: AtomicU64::new(RESTS) }
    }

    pub(super) fn beat(&self) {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(RESTS - 1);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// Nothing runs that could beat.
    pub(super) fn rest(&self) {
        self.last_ms.store(RESTS, Ordering::Relaxed);
    }

    /// For how long it has not beaten, while it should.
    pub(super) fn silent(&self) -> Duration {
        match self.last_ms.load(Ordering::Relaxed) {
            RESTS => Duration::ZERO,
            ms => self.begun.elapsed().saturating_sub(Duration::from_millis(ms)),
        }
    }
}

impl Progress for Pulse {
    fn start(&self, _phase: &str, _total: Option<Total>) {
        self.beat();
    }

    fn expect(&self, _more: Total) {
        self.beat();
    }

    fn add(&self, _files: u64, _bytes: u64) {
        self.beat();
    }

    fn note(&self, _message: &str) {
        self.beat();
    }

    fn finish(&self) {
        self.beat();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rests_is_not_silent() {
        let pulse = Pulse::new();
        assert_eq!(pulse.silent(), Duration::ZERO);
        pulse.last_ms.store(0, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        assert!(pulse.silent() >= Duration::from_millis(5));
        pulse.add(1, 1);
        assert!(pulse.last_ms.load(Ordering::Relaxed) >= 5);
        pulse.rest();
        assert_eq!(pulse.silent(), Duration::ZERO);
    }
}
