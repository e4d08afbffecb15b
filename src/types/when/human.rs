//! Times as the command line takes them: every name of time, with or without `@`, and a few forms of plain speech.

use jiff::civil::{Date, Weekday};

use crate::types::{
    time::Instant,
    when::{
        name::{Moving, Name, Refusal, Unit, count_of, read},
        show::{day, show},
        zone::Zone,
    },
};

/// The forms that [`parse_time`] takes, for messages and help.
pub const FORMS: &str = "2025, 2025-09, 2025-09-20, 2025-09-20T14:30, '2025-09-20 14:30:05', \
    2025-09-20T14:30:05.123Z, '2025-09-20 14:30 +02:00' (the end of that period), 1758376205 (seconds since 1970), \
    latest, now, today, yesterday, 'yesterday 14:00', 'today 9:05', 'monday 14:00' (the last one gone by), \
    30s, 5m, 1h, 2d, 3w, 2mo, 1y (so long ago; m is minutes, mo is months), '2 hours ago'";

/// Why a text could not be taken as a time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TimeError {
    /// No form fits.
    #[error("cannot take {text:?} as a time; write it like one of these: {FORMS}")]
    Unknown {
        /// What was given.
        text: String,
    },
    /// A form fits, but there is no such day or time of day.
    #[error("there is no such time as {text:?}: check the month, the day and the time of day (00:00 to 23:59)")]
    NoSuch {
        /// What was given.
        text: String,
    },
    /// Too far away to be an instant of history.
    #[error("the time {text:?} is outside the years that history can hold, 1678 to 2261")]
    OutOfRange {
        /// What was given.
        text: String,
    },
    /// Today is that day of the week: this one or the last?
    #[error("{text:?} could mean today or a week ago: write today, {week_ago}, or a time of day with it")]
    Ambiguous {
        /// What was given.
        text: String,
        /// The name of the day a week ago.
        week_ago: String,
    },
}

/// A time, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The instant denoted; the given now where `latest`.
    pub instant: Instant,
    /// Whether the newest snapshot was asked for, whenever it was.
    pub latest: bool,
    /// What was understood, to show before acting: `2025-09-20 14:30:59.999 +02:00 (Europe/Berlin)`, or `latest`.
    pub text: String,
}

/// Reads a time from the command line. A time of day denotes the end of the minute or second it names, as in a view. Nothing
/// ambiguous is guessed: anything else is an error that lists the forms.
pub fn parse_time(text: &str, now: Instant, zone: &Zone) -> Result<Resolved, TimeError> {
    let trimmed = text.trim();
    let words: Vec<&str> = trimmed.strip_prefix('@').unwrap_or(trimmed).split_whitespace().collect();
    let name = match words[..] {
        [word] => one_word(word, now, zone),
        [count, unit, ago] if ago.eq_ignore_ascii_case("ago") => spoken_ago(count, unit),
        [short, ago] if ago.eq_ignore_ascii_case("ago") => short_ago(short, zone),
        [day, time] => day_and_time(day, time, "", now, zone),
        [day, time, offset] => day_and_time(day, time, offset, now, zone),
        _ => Err(Failure::Refused(Refusal::Shape)),
    };
    let resolved = name.and_then(|name| resolve(name, now, zone));
    resolved.map_err(|failure| failure.into_error(text))
}

enum Failure {
    Refused(Refusal),
    TodayIsThatDay { week_ago: Date },
}

impl Failure {
    fn into_error(self, text: &str) -> TimeError {
        let text = text.to_owned();
        match self {
            Failure::Refused(Refusal::Shape) => TimeError::Unknown { text },
            Failure::Refused(Refusal::NoSuch) => TimeError::NoSuch { text },
            Failure::Refused(Refusal::Range) => TimeError::OutOfRange { text },
            Failure::TodayIsThatDay { week_ago } => TimeError::Ambiguous { text, week_ago: week_ago.to_string() },
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

fn resolve(name: Name, now: Instant, zone: &Zone) -> Result<Resolved, Failure> {
    let instant = match name {
        Name::Moving(Moving::Latest) => {
            return Ok(Resolved { instant: now, latest: true, text: "latest".to_owned() });
        }
        Name::Moving(moving) => moving.resolve(now, zone).ok_or(Refusal::Range)?,
        Name::Period { end, .. } => end,
    };
    Ok(Resolved { instant, latest: false, text: format!("{} ({})", show(instant, zone), zone.name()) })
}

fn one_word(word: &str, now: Instant, zone: &Zone) -> Result<Name, Failure> {
    if let Some(weekday) = weekday(word) {
        let today = zone.civil(now).date();
        let date = last_before(weekday, today).ok_or(Refusal::Range)?;
        if today.weekday() == weekday {
            return Err(Failure::TodayIsThatDay { week_ago: date });
        }
        return Ok(read(&date.to_string(), zone)?);
    }
    // Words in any case, and a small t or z in a date; but 5M might be meant as months, so units stay exact.
    let spelt = match word {
        w if w.bytes().all(|b| b.is_ascii_alphabetic()) => w.to_ascii_lowercase(),
        w if w.contains('-') => w.to_ascii_uppercase(),
        w => w.to_owned(),
    };
    Ok(read(&spelt, zone)?)
}

fn spoken_ago(count: &str, unit: &str) -> Result<Name, Failure> {
    let one = ["a", "an", "one"].iter().any(|word| word.eq_ignore_ascii_case(count));
    let count = if one { Some(1) } else { count_of(count) };
    let (count, unit) = (count.ok_or(Refusal::Shape)?, spoken_unit(unit).ok_or(Refusal::Shape)?);
    Ok(Name::Moving(Moving::Ago(count, unit)))
}

fn short_ago(short: &str, zone: &Zone) -> Result<Name, Failure> {
    match read(short, zone)? {
        name @ Name::Moving(Moving::Ago(..)) => Ok(name),
        _ => Err(Refusal::Shape.into()),
    }
}

fn spoken_unit(word: &str) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_str() {
        "second" | "seconds" | "sec" | "secs" => Unit::Second,
        "minute" | "minutes" | "min" | "mins" => Unit::Minute,
        "hour" | "hours" | "hr" | "hrs" => Unit::Hour,
        "day" | "days" => Unit::Day,
        "week" | "weeks" => Unit::Week,
        "month" | "months" => Unit::Month,
        "year" | "years" => Unit::Year,
        _ => return None,
    })
}

/// A day by any name, a time of day with minutes at least, and an offset after it where the day is a written date.
fn day_and_time(day_word: &str, time: &str, offset: &str, now: Instant, zone: &Zone) -> Result<Name, Failure> {
    let hour_digits = time.bytes().take_while(u8::is_ascii_digit).count();
    if !time[hour_digits..].starts_with(':') {
        return Err(Refusal::Shape.into());
    }
    let pad = if hour_digits == 1 { "0" } else { "" };
    let at =
        |day: &str| read(&format!("{day}T{pad}{}{}", time.to_ascii_uppercase(), offset.to_ascii_uppercase()), zone);
    if day_word.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(at(day_word)?);
    }
    // Which day it is depends on the zone, so an offset would make two zones of one time.
    if !offset.is_empty() || time.contains(['Z', 'z', '+', '-']) {
        return Err(Refusal::Shape.into());
    }
    let today = zone.civil(now).date();
    if let Some(weekday) = weekday(day_word) {
        let begun = |name: &Name| matches!(name, Name::Period { start, .. } if *start <= now);
        if today.weekday() == weekday
            && let Some(name) = Some(at(&day(now, zone))?).filter(begun)
        {
            return Ok(name);
        }
        return Ok(at(&last_before(weekday, today).ok_or(Refusal::Range)?.to_string())?);
    }
    match day_word.to_ascii_lowercase().as_str() {
        "today" => Ok(at(&today.to_string())?),
        "yesterday" => Ok(at(&today.yesterday().map_err(|_| Refusal::Range)?.to_string())?),
        _ => Err(Refusal::Shape.into()),
    }
}

fn weekday(word: &str) -> Option<Weekday> {
    Some(match word.to_ascii_lowercase().as_str() {
        "monday" | "mon" => Weekday::Monday,
        "tuesday" | "tue" => Weekday::Tuesday,
        "wednesday" | "wed" => Weekday::Wednesday,
        "thursday" | "thu" => Weekday::Thursday,
        "friday" | "fri" => Weekday::Friday,
        "saturday" | "sat" => Weekday::Saturday,
        "sunday" | "sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// The latest such day before `today`.
fn last_before(weekday: Weekday, today: Date) -> Option<Date> {
    today.nth_weekday(-1, weekday).ok()
}
