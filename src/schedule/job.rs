//! A job: its schedule, and what moves its runs.

use std::time::Duration;

use super::blackout::{Blackout, Window};
use super::model::Schedule;
use crate::types::{time::Instant, when::zone::Zone};

/// The longest pause before another attempt, however often a job has failed: longer where the first pause already is.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// Something that is to be run by a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name, which no other job has. Jitter comes from it.
    pub name: String,
    /// When it runs.
    pub schedule: Schedule,
    /// In which zone.
    pub zone: Zone,
    /// How much later than the schedule says it may begin, so that not everything begins at once. Never more than half of the
    /// time to the run after.
    pub jitter: Duration,
    /// When it must not begin.
    pub blackout: Blackout,
    /// What happens when it fails.
    pub retries: Retries,
}

/// What happens when a job fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often it is tried again before the next run of the schedule.
    pub count: u32,
    /// How long after the first failure; twice as long after each further one, up to six hours.
    pub after: Duration,
}

impl Retries {
    /// How long after the failure number `failures`, from 1, another attempt is made; `None` if none is.
    pub(super) fn pause(&self, failures: u32) -> Option<Duration> {
        let doubled = self.after.saturating_mul(1u32.checked_shl(failures.checked_sub(1)?).unwrap_or(u32::MAX));
        (failures <= self.count).then(|| doubled.min(LONGEST_PAUSE.max(self.after)))
    }
}

/// A run of the schedule, and when it may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    /// When the schedule says.
    pub(super) scheduled: Instant,
    /// When it begins: with its jitter, in no window.
    pub(super) start: Instant,
    /// The window it had to wait for.
    pub(super) postponed: Option<Window>,
}

impl Job {
    /// The first run that the schedule has after an instant.
    pub(super) fn planned_after(&self, after: Instant) -> Option<Planned> {
        let scheduled = self.schedule.next_after(after, &self.zone)?;
        let (free, first) = self.blackout.settle(scheduled, &self.zone)?;
        let (start, second) = self.blackout.settle(later(free, self.delay(scheduled)), &self.zone)?;
        Some(Planned { scheduled, start, postponed: second.or(first) })
    }

    /// The jitter of a run: always the same for the same job and run, in whole seconds.
    fn delay(&self, scheduled: Instant) -> Duration {
        if self.jitter.is_zero() {
            return Duration::ZERO;
        }
        let next = self.schedule.next_after(scheduled, &self.zone);
        let half_gap = next.map_or(Duration::ZERO, |next| Duration::from_nanos(next.0.abs_diff(scheduled.0) / 2));
        let most = self.jitter.min(half_gap).as_secs();
        let mut hash = blake3::Hasher::new();
        hash.update(&scheduled.0.to_le_bytes()).update(self.name.as_bytes());
        let mut eight = [0; 8];
        hash.finalize_xof().fill(&mut eight);
        Duration::from_secs(u64::from_le_bytes(eight) % (most + 1))
    }
}

/// An instant later by a duration; the end of history if there is none.
pub(super) fn later(at: Instant, by: Duration) -> Instant {
    Instant(at.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
}
