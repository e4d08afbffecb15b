//! The clock: the one place that reads it, and an interface through which tests and simulations set it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::types::time::Instant;

/// The time of day of this machine. It may step back when the clock is set. Clocks outside the years 1677 to 2262 read as
/// the nearest end of that range.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Instant {
    from_system(SystemTime::now())
}

fn from_system(at: SystemTime) -> Instant {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => Instant(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
        Err(before) => Instant(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns)),
    }
}

/// Something that tells the time.
pub trait Clock: Send + Sync {
    /// The time now. May be earlier than what was told before.
    fn now(&self) -> Instant;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        now()
    }
}

/// A clock that stands still until it is set: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `at`.
    pub fn new(at: Instant) -> ManualClock {
        ManualClock(AtomicI64::new(at.0))
    }

    /// Sets it, forward or back.
    pub fn set(&self, at: Instant) {
        self.0.store(at.0, Ordering::SeqCst);
    }

    /// Moves it by `ns` nanoseconds, back where negative; it stops at the ends of its range.
    pub fn advance(&self, ns: i64) {
        // The closure always gives a value, so the update cannot fail.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |at| Some(at.saturating_add(ns)));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_before_1970_and_out_of_range() {
        assert_eq!(from_system(UNIX_EPOCH), Instant(0));
        assert_eq!(from_system(UNIX_EPOCH + Duration::from_nanos(7)), Instant(7));
        assert_eq!(from_system(UNIX_EPOCH - Duration::from_nanos(7)), Instant(-7));
        assert_eq!(from_system(UNIX_EPOCH + Duration::from_secs(1 << 36)), Instant(i64::MAX));
        assert_eq!(from_system(UNIX_EPOCH - Duration::from_secs(1 << 36)), Instant(i64::MIN));
    }

    #[test]
    fn the_system_clock_is_past_2025() {
        assert!(SystemClock.now() > Instant(1_735_689_600_000_000_000));
    }

    #[test]
    fn a_manual_clock_goes_where_it_is_put() {
        let clock = ManualClock::new(Instant(100));
        clock.advance(-30);
        assert_eq!(clock.now(), Instant(70));
        clock.set(Instant(i64::MAX));
        clock.advance(1);
        assert_eq!(clock.now(), Instant(i64::MAX));
    }
}
