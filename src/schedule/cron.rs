//! Cron expressions of five fields. The library reads them and tells which days they mean; when the clock shows their times,
//! across its changes, is said by [`super::next`] for all schedules alike.

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, time::Weekday as CronWeekday};

use super::model::{Clock, Days};
use crate::types::{
    time::Instant,
    when::{
        wall::{Day, Weekday},
        zone::Zone,
    },
};

/// In so many days every date with every day of the week has come by, also past a century without a leap year.
pub(super) const ALL_DAYS: usize = 41 * 366;

/// The days of a cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CronDays {
    text: String,
    cron: Box<Cron>,
}

impl CronDays {
    /// The expression, with one space between its fields.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn has(&self, day: Day) -> bool {
        let (year, month, date) = day.date();
        let pattern = &self.cron.pattern;
        // A day of the calendar is never out of the range of its month, which is the only error.
        pattern.month_match(month).unwrap_or(false)
            && pattern.day_match(year, month, date, weekday(day)).unwrap_or(false)
    }
}

fn weekday(day: Day) -> CronWeekday {
    match day.weekday() {
        Weekday::Mon => CronWeekday::Monday,
        Weekday::Tue => CronWeekday::Tuesday,
        Weekday::Wed => CronWeekday::Wednesday,
        Weekday::Thu => CronWeekday::Thursday,
        Weekday::Fri => CronWeekday::Friday,
        Weekday::Sat => CronWeekday::Saturday,
        Weekday::Sun => CronWeekday::Sunday,
    }
}

/// Reads an expression. The error says what is wrong.
pub(super) fn read(fields: &[&str]) -> Result<Clock, String> {
    let [_, _, _, _, _] = fields else {
        return Err(format!(
            "a cron expression has five fields (minute, hour, day of the month, month, day of the week), not {}",
            fields.len()
        ));
    };
    names(fields)?;
    let text = fields.join(" ");
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(&text).map_err(|e| reason(&e))?;
    let (hours, in_hour) = (cron.pattern.hours.values(), cron.pattern.minutes.values());
    let minutes: Vec<u16> =
        hours.iter().flat_map(|hour| in_hour.iter().map(move |minute| hour * 60 + minute)).collect();
    let days = CronDays { text, cron: Box::new(cron) };
    if minutes.is_empty() || !comes(&days) {
        return Err("there is no such day in any year".to_owned());
    }
    Ok(Clock { days: Days::Cron(days), minutes, hourly: hours.len() == 24 })
}

/// The library takes the name of a month or a day for its number, in whatever field it stands: each has to be where it belongs.
fn names(fields: &[&str]) -> Result<(), String> {
    const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun", "l"];
    let allowed: [(&str, &[&str]); 5] = [
        ("minute", &[]),
        ("hour", &[]),
        ("day of the month", &["l", "w", "lw"]),
        ("month", MONTHS),
        ("day of the week", DAYS),
    ];
    for (field, (name, words)) in fields.iter().zip(allowed) {
        let lower = field.to_ascii_lowercase();
        for word in lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
            let known = words.contains(&word) || word.strip_suffix('l').is_some_and(|day| words.contains(&day));
            if !known {
                return Err(format!("{word:?} is nothing that the field {name} can have"));
            }
        }
    }
    Ok(())
}

fn comes(days: &CronDays) -> bool {
    let first = Day::at(Instant(0), &Zone::utc());
    std::iter::successors(Some(first), |day| day.next()).take(ALL_DAYS).any(|day| days.has(day))
}

fn reason(e: &CronError) -> String {
    match e {
        CronError::InvalidPattern(why) | CronError::IllegalCharacters(why) | CronError::ComponentError(why) => {
            why.trim_end_matches('.').to_owned()
        }
        other => other.to_string().trim_end_matches('.').to_owned(),
    }
}
