//! From one run to the next, across the changes of the clock.
//!
//! - A time of day that the clock leaves out runs at the moment after the gap; if something runs there anyway, once.
//! - A time of day that the clock shows twice runs once, the first time.
//! - What runs in every hour (`hourly`, a cron expression for all hours) runs whenever the clock shows its minutes: in the
//!   hour that is there twice too, and not in the hour that is not there. Where hours are left out and repeated whole, its runs
//!   keep their distance.
//! - `every 6h` does not look at the clock.

use super::cron::ALL_DAYS;
use super::model::{Clock, Kind, Schedule};
use crate::types::{
    time::Instant,
    when::{
        wall::{Day, Shown},
        zone::Zone,
    },
};

const MINUTE_NS: i64 = 60_000_000_000;

impl Schedule {
    /// The first run strictly after an instant, in a zone; `None` if there is none before history ends, in 2262.
    pub fn next_after(&self, after: Instant, zone: &Zone) -> Option<Instant> {
        match &self.0 {
            Kind::Every(step) => {
                let step = i64::try_from(step.as_nanos()).ok().filter(|step| *step > 0)?;
                after.0.div_euclid(step).checked_add(1)?.checked_mul(step).map(Instant)
            }
            Kind::Clock(clock) => clock.next_after(after, zone),
        }
    }
}

impl Clock {
    fn next_after(&self, after: Instant, zone: &Zone) -> Option<Instant> {
        let today = Day::at(after, zone);
        // A clock put back over midnight shows times of the day before after some of today, and one of tomorrow before some of
        // today: of three days that follow one another, the earliest run is the next.
        let mut best: Option<Instant> = None;
        let mut beyond = 0;
        let days = std::iter::successors(Some(today.before().unwrap_or(today)), |day| day.next());
        for day in days.take(ALL_DAYS) {
            if self.days.has(day) {
                let steady = zone.steady(day);
                let found = match steady {
                    Some(start) => self.first_from(start, after),
                    None => self.first_shown(day, after, zone),
                };
                if best.is_none() && steady.is_some() && found.is_some() {
                    // All of such a day comes before all of the next.
                    return found;
                }
                best = best.into_iter().chain(found).min();
            }
            beyond += usize::from(best.is_some());
            if beyond == 2 {
                break;
            }
        }
        best
    }

    /// The first run after an instant, of a day that begins at `start` and in which the clock is not changed.
    fn first_from(&self, start: Instant, after: Instant) -> Option<Instant> {
        let at = |minute: &u16| start.0.checked_add(i64::from(*minute) * MINUTE_NS);
        let next = self.minutes.partition_point(|minute| at(minute).is_some_and(|at| at <= after.0));
        self.minutes.get(next).and_then(at).map(Instant)
    }

    /// The first run after an instant, of any day.
    fn first_shown(&self, day: Day, after: Instant, zone: &Zone) -> Option<Instant> {
        let runs = self.minutes.iter().filter_map(|minute| zone.shown(day, *minute)).flat_map(|shown| self.runs(shown));
        runs.flatten().filter(|at| *at > after).min()
    }

    fn runs(&self, shown: Shown) -> [Option<Instant>; 2] {
        match shown {
            Shown::Twice(first, second) if self.hourly => [Some(first), Some(second)],
            Shown::Never(_) if self.hourly => [None, None],
            shown => [Some(shown.first()), None],
        }
    }
}
