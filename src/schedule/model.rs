//! A schedule as a value.

use std::fmt;
use std::time::Duration;

use super::cron::CronDays;
use crate::types::{
    duration::show_duration,
    when::wall::{Day, Weekday},
};

/// When a job runs: [`parse`](super::parse::parse) reads one. What it displays is read back as the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(pub(super) Kind);

impl Schedule {
    /// At every multiple of a duration, of a second at least.
    pub fn every(step: Duration) -> Schedule {
        Schedule(Kind::Every(step.max(Duration::from_secs(1))))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// At every multiple of a duration since 1970, whatever clocks show.
    Every(Duration),
    /// When the clock shows a time of day on certain days.
    Clock(Clock),
}

/// Times of day on certain days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) days: Days,
    /// Minutes since midnight, ascending, at least one.
    pub(super) minutes: Vec<u16>,
    /// Whether they are the same in every hour: then an hour that the clock shows twice has them twice, and one that it never
    /// shows has none.
    pub(super) hourly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    Week(Week),
    Month(MonthDay),
    Cron(CronDays),
}

impl Days {
    pub(super) fn has(&self, day: Day) -> bool {
        match self {
            Days::Week(week) => week.has(day.weekday()),
            Days::Month(which) => which.is(day),
            Days::Cron(cron) => cron.has(day),
        }
    }
}

/// Some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Week(u8);

impl Week {
    pub(super) const ALL: Week = Week(0x7f);

    pub(super) fn has(self, day: Weekday) -> bool {
        self.0 & (1 << day as u8) != 0
    }

    pub(super) fn add(&mut self, day: Weekday) {
        self.0 |= 1 << day as u8;
    }

    /// The runs of days in it, none of which begins before its end.
    fn runs(self) -> Vec<(Weekday, Weekday)> {
        let mut runs: Vec<(Weekday, Weekday)> = Vec::new();
        for day in Weekday::ALL.into_iter().filter(|day| self.has(*day)) {
            match runs.last_mut() {
                Some((_, last)) if *last as u8 + 1 == day as u8 => *last = day,
                _ => runs.push((day, day)),
            }
        }
        runs
    }
}

impl fmt::Display for Week {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |(first, last): (Weekday, Weekday)| match last as u8 - first as u8 {
            0 => first.word().to_owned(),
            1 => format!("{},{}", first.word(), last.word()),
            _ => format!("{}..{}", first.word(), last.word()),
        };
        f.write_str(&self.runs().into_iter().map(text).collect::<Vec<_>>().join(","))
    }
}

/// The ordinals, for the first to the fourth of a day of the week in a month.
pub(super) const ORDINALS: [&str; 4] = ["first", "second", "third", "fourth"];

/// A day of every month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MonthDay {
    /// The first.
    First,
    /// The last.
    Last,
    /// One of the days of the week, from 0 for the first, as in [`ORDINALS`].
    Nth(u8, Weekday),
    /// The last of the days of the week.
    LastOf(Weekday),
}

impl MonthDay {
    fn is(self, day: Day) -> bool {
        let (_, _, date) = day.date();
        match self {
            MonthDay::First => date == 1,
            MonthDay::Last => date == day.month_len(),
            MonthDay::Nth(n, weekday) => day.weekday() == weekday && (date - 1) / 7 == u32::from(n),
            MonthDay::LastOf(weekday) => day.weekday() == weekday && date + 7 > day.month_len(),
        }
    }
}

impl fmt::Display for MonthDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MonthDay::First => f.write_str("monthly"),
            MonthDay::Last => f.write_str("last day monthly"),
            MonthDay::Nth(n, day) => {
                write!(f, "{} {} monthly", ORDINALS[usize::from(*n) % ORDINALS.len()], day.word())
            }
            MonthDay::LastOf(day) => write!(f, "last {} monthly", day.word()),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clock { days, minutes, hourly } = match &self.0 {
            Kind::Every(step) => return write!(f, "every {}", show_duration(*step)),
            Kind::Clock(clock) => clock,
        };
        match days {
            Days::Cron(cron) => return f.write_str(cron.text()),
            Days::Week(Week::ALL) if *hourly => return f.write_str("hourly"),
            Days::Week(week) if *hourly => return write!(f, "{week} hourly"),
            Days::Week(Week::ALL) => f.write_str("daily")?,
            Days::Week(week) => write!(f, "{week}")?,
            Days::Month(day) => write!(f, "{day}")?,
        }
        let times: Vec<String> = minutes.iter().copied().map(show_time).collect();
        write!(f, " {}", times.join(","))
    }
}

/// A minute of the day: `02:30`.
pub(super) fn show_time(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}
