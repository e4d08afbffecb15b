//! What a clock on the wall shows: days of the calendar, minutes of a day, and the instants at which they are shown.

use jiff::civil::{Date, DateTime};
use jiff::tz::AmbiguousOffset;

use crate::types::{
    time::Instant,
    when::{
        show,
        zone::{self, Zone},
    },
};

/// The minutes of a day without a change of the clock.
pub const MINUTES: u16 = 24 * 60;

/// A day of the week.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "each is what it says")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Weekday {
    /// All of them, as the week has them.
    pub const ALL: [Weekday; 7] =
        [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

    /// Its word: `mon`.
    pub fn word(self) -> &'static str {
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][self as usize]
    }

    /// Reads `mon` or `monday`, in small letters.
    pub fn read(word: &str) -> Option<Weekday> {
        const LONG: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        Weekday::ALL.into_iter().find(|day| word == day.word() || word == LONG[*day as usize])
    }
}

/// A day of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Day(Date);

impl Day {
    /// The day that the clock of a zone shows at an instant.
    pub fn at(instant: Instant, zone: &Zone) -> Day {
        Day(zone.civil(instant).date())
    }

    /// The day after; `None` after the year 9999.
    pub fn next(self) -> Option<Day> {
        self.0.tomorrow().ok().map(Day)
    }

    /// The day before; `None` before the year -9999.
    pub fn before(self) -> Option<Day> {
        self.0.yesterday().ok().map(Day)
    }

    /// The day of the week.
    pub fn weekday(self) -> Weekday {
        Weekday::ALL[usize::from(self.0.weekday().to_monday_zero_offset().unsigned_abs()) % 7]
    }

    /// Year, month (1 to 12) and day of the month (1 to 31).
    pub fn date(self) -> (i32, u32, u32) {
        (self.0.year().into(), self.0.month().unsigned_abs().into(), self.0.day().unsigned_abs().into())
    }

    /// How many days its month has.
    pub fn month_len(self) -> u32 {
        self.0.days_in_month().unsigned_abs().into()
    }

    fn minute(self, minute: u16) -> Option<DateTime> {
        let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
        DateTime::new(self.0.year(), self.0.month(), self.0.day(), hour, minute, 0, 0).ok()
    }
}

/// When a clock shows a time of day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// Once, as nearly always.
    Once(Instant),
    /// Twice: the clock was put back over it.
    Twice(Instant, Instant),
    /// Never: the clock was put forward over it, at this instant.
    Never(Instant),
}

impl Shown {
    /// The only or the first instant; where there is none, that after the gap.
    pub fn first(self) -> Instant {
        match self {
            Shown::Once(at) | Shown::Twice(at, _) | Shown::Never(at) => at,
        }
    }

    /// The only or the last instant; where there is none, that after the gap.
    pub fn last(self) -> Instant {
        match self {
            Shown::Once(at) | Shown::Twice(_, at) | Shown::Never(at) => at,
        }
    }
}

impl Zone {
    /// When the clock shows a minute of a day, counted from midnight; a minute of [`MINUTES`] or more belongs to the day
    /// after. `None` outside the range of instants.
    pub fn shown(&self, day: Day, minute: u16) -> Option<Shown> {
        if minute >= MINUTES {
            return self.shown(day.next()?, minute - MINUTES);
        }
        let civil = day.minute(minute)?;
        let ambiguous = self.ambiguous(civil);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => self.instant(civil).map(Shown::Once),
            AmbiguousOffset::Gap { .. } => self.change_over(civil).map(Shown::Never),
            AmbiguousOffset::Fold { .. } => {
                let first = zone::instant(ambiguous.earlier().ok()?)?;
                Some(Shown::Twice(first, self.instant(civil)?))
            }
        }
    }

    /// The instant at which a day begins, if the clock is not changed in it: all its minutes follow at their distance.
    pub fn steady(&self, day: Day) -> Option<Instant> {
        let (Shown::Once(start), Shown::Once(end)) = (self.shown(day, 0)?, self.shown(day, MINUTES)?) else {
            return None;
        };
        let even = end.0.checked_sub(start.0)? == i64::from(MINUTES) * 60_000_000_000;
        (even && !self.changes_between(start, end)).then_some(start)
    }
}

/// Local time in minutes with its offset: `2025-09-20 14:30 +02:00`; with the seconds where it has some.
pub fn show_minute(at: Instant, zone: &Zone) -> String {
    let text = show::show_second(at, zone);
    text.replacen(":00 ", " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: i64 = 1_000_000_000;

    /// The day of an instant in seconds.
    fn day(seconds: i64, zone: &Zone) -> Day {
        Day::at(Instant(seconds * NS), zone)
    }

    #[test]
    fn days_have_their_place_in_week_and_month() {
        let day = day(1_709_164_800, &Zone::utc());
        assert_eq!((day.date(), day.weekday(), day.month_len()), ((2024, 2, 29), Weekday::Thu, 29));
        assert_eq!((day.next().unwrap().date(), day.before().unwrap().date()), ((2024, 3, 1), (2024, 2, 28)));
        assert_eq!((Weekday::read("sun"), Weekday::read("sunday")), (Some(Weekday::Sun), Some(Weekday::Sun)));
        assert_eq!(Weekday::read("su"), None);
    }

    #[test]
    fn minutes_are_shown_once_twice_or_never() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let spring = day(1_743_292_800, &berlin);
        assert_eq!(berlin.shown(spring, 119), Some(Shown::Once(Instant(1_743_296_340 * NS))));
        assert_eq!(berlin.shown(spring, 150), Some(Shown::Never(Instant(1_743_296_400 * NS))));
        assert_eq!(berlin.shown(spring, 180), Some(Shown::Once(Instant(1_743_296_400 * NS))));
        let autumn = day(1_761_436_800, &berlin);
        let half_past = |s: i64| Instant(s * NS);
        assert_eq!(berlin.shown(autumn, 150), Some(Shown::Twice(half_past(1_761_438_600), half_past(1_761_442_200))));
        assert_eq!(berlin.shown(autumn, MINUTES), berlin.shown(autumn.next().unwrap(), 0));
        assert_eq!((berlin.steady(spring), berlin.steady(autumn)), (None, None));
        let plain = autumn.next().unwrap();
        assert_eq!(berlin.steady(plain), berlin.shown(plain, 0).map(Shown::first));
    }

    #[test]
    fn a_day_that_was_left_out_is_never_shown() {
        let apia = Zone::named("Pacific/Apia").unwrap();
        let before = day(1_325_200_000, &apia);
        let skipped = before.next().unwrap();
        let (Some(Shown::Never(a)), Some(Shown::Never(b))) = (apia.shown(skipped, 0), apia.shown(skipped, 1439)) else {
            panic!("{skipped:?} was shown");
        };
        assert_eq!((a, Day::at(a, &apia)), (b, skipped.next().unwrap()));
    }
}
