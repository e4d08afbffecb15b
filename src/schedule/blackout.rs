//! Windows in which nothing begins.

use std::fmt;

use super::error::BlackoutError;
use super::model::{Week, show_time};
use super::words;
use crate::types::{
    time::Instant,
    when::{
        wall::{Day, MINUTES, Weekday},
        zone::Zone,
    },
};

/// A window: days of the week and a part of the day. One that goes over midnight belongs to the day on which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    week: Week,
    /// Minutes since midnight; a window over midnight ends after [`MINUTES`].
    from: u16,
    to: u16,
}

impl Window {
    /// Reads `22:00-06:00`, `sat..sun` or `mon..fri 08:00-18:00`.
    pub fn parse(text: &str) -> Result<Window, BlackoutError> {
        let lower = text.to_ascii_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        read(&words).map_err(|why| BlackoutError::Window { text: text.to_owned(), why })
    }

    /// From when to when the window of a day goes. A clock that is put back makes it longer and never shorter.
    fn of(self, day: Day, zone: &Zone) -> Option<(Instant, Instant)> {
        let belongs = self.week.has(day.weekday());
        belongs.then(|| Some((zone.shown(day, self.from)?.first(), zone.shown(day, self.to)?.last())))?
    }

    /// The end of the window that an instant lies in.
    fn end(self, at: Instant, zone: &Zone) -> Option<Instant> {
        let today = Day::at(at, zone);
        let days = [today.before(), Some(today), today.next()];
        let windows = days.into_iter().flatten().filter_map(|day| self.of(day, zone));
        windows.filter(|(from, to)| *from <= at && at < *to).map(|(_, to)| to).max()
    }
}

fn read(words: &[&str]) -> Result<Window, String> {
    let (week, range) = match *words {
        [word] => match words::week(word) {
            Some(week) => (week?, None),
            None => (Week::ALL, Some(word)),
        },
        [days, range] => (words::week(days).ok_or_else(|| format!("{days:?} are no days of the week"))??, Some(range)),
        _ => return Err("it is days of the week, a range of times of day, or the two in this order".to_owned()),
    };
    let Some(range) = range else { return Ok(Window { week, from: 0, to: MINUTES }) };
    let (from, to) = range.split_once('-').ok_or_else(|| format!("{range:?} is no range of times of day"))?;
    let from = words::time(from)?;
    let to = if to == "24:00" { MINUTES } else { words::time(to)? };
    match to {
        to if to == from => Err("it ends where it begins".to_owned()),
        to if to < from => Ok(Window { week, from, to: to + MINUTES }),
        to => Ok(Window { week, from, to }),
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole_days = (self.from, self.to) == (0, MINUTES);
        if self.week != Week::ALL {
            write!(f, "{}{}", self.week, if whole_days { "" } else { " " })?;
        }
        if whole_days && self.week != Week::ALL {
            return Ok(());
        }
        let to = if self.to == MINUTES { "24:00".to_owned() } else { show_time(self.to % MINUTES) };
        write!(f, "{}-{to}", show_time(self.from))
    }
}

/// The windows of a job. They leave some minute of every week.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blackout {
    windows: Vec<Window>,
}

impl Blackout {
    /// These windows together; an error if nothing could ever begin beside them.
    pub fn new(windows: Vec<Window>) -> Result<Blackout, BlackoutError> {
        let week_len = usize::from(MINUTES) * 7;
        let mut taken = vec![false; week_len];
        for window in &windows {
            for day in Weekday::ALL.into_iter().filter(|day| window.week.has(*day)) {
                let start = day as usize * usize::from(MINUTES);
                for minute in usize::from(window.from)..usize::from(window.to) {
                    taken[(start + minute) % week_len] = true;
                }
            }
        }
        match taken.contains(&false) {
            true => Ok(Blackout { windows }),
            false => Err(BlackoutError::NoTime),
        }
    }

    /// The windows.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The first instant from `at` on that lies in no window, and the last window that it had to wait for, if any. `None` if
    /// there is none before history ends, in 2262.
    pub fn settle(&self, at: Instant, zone: &Zone) -> Option<(Instant, Option<Window>)> {
        let (mut at, mut last) = (at, None);
        // Each round goes on to a later instant, and in every week there is one that lies in none.
        while let Some((end, window)) = self.end(at, zone) {
            (at, last) = (end, Some(window));
            if at.0 == i64::MAX {
                return None;
            }
        }
        Some((at, last))
    }

    fn end(&self, at: Instant, zone: &Zone) -> Option<(Instant, Window)> {
        let ends = self.windows.iter().filter_map(|window| Some((window.end(at, zone)?, *window)));
        ends.max_by_key(|(end, _)| *end)
    }
}
