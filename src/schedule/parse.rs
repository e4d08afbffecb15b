//! Schedules as people write them.
//!
//! | text | runs |
//! | --- | --- |
//! | `hourly` `mon..fri hourly` | at the beginning of each hour, of all days or of those |
//! | `daily` `daily 02:30` `daily 06:00,18:00` | at these times of each day; 00:00 if none is given |
//! | `sun` `sun 02:00` `mon,wed 18:00` `mon..fri daily 12:00` | on these days of the week |
//! | `weekly` `weekly 04:00` | on Monday |
//! | `monthly` `monthly 04:00` `last day monthly` | on the first or the last day of each month |
//! | `first mon monthly 03:00` `last sun monthly` | on the first, second, third, fourth or last such day of each month |
//! | `every 15m` `every 6h` | at every multiple of that since 1970, whatever the clock shows |
//! | `30 2 * * 1-5` | a cron expression: minute, hour, day of the month, month, day of the week |

use std::str::FromStr;
use std::time::Duration;

use super::error::ScheduleError;
use super::model::{Clock, Days, Kind, MonthDay, ORDINALS, Schedule, Week};
use super::{cron, words};
use crate::types::duration::parse_duration;
use crate::types::when::wall::Weekday;

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Schedule, ScheduleError> {
        parse(text)
    }
}

/// Reads a schedule; capital letters are as good as small ones. The error names the text, what is wrong and examples.
pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    read(&words).map(Schedule).map_err(|why| ScheduleError { text: text.to_owned(), why })
}

fn read(words: &[&str]) -> Result<Kind, String> {
    let first = words.first().ok_or("it is empty")?;
    if words.len() == 1 && words::times(first).is_ok() {
        return Err(format!("it does not say on which days: write \"daily {first}\""));
    }
    if first.starts_with(|c: char| c.is_ascii_digit() || c == '*') {
        return cron::read(words).map(Kind::Clock);
    }
    if *first == "every" {
        return every(&words[1..].join(" ")).map(Kind::Every);
    }
    let (days, rest, repeats) = days(words)?;
    match rest {
        [] if repeats => Ok(hourly(days)),
        [] => Ok(at(days, vec![0])),
        [_] if repeats => Err("hourly has no time of day: a cron expression can have minutes of the hour".to_owned()),
        [times] => Ok(at(days, words::times(times)?)),
        [_, more, ..] => {
            Err(format!("{more:?} is too much: times of day are separated by commas, and nothing follows them"))
        }
    }
}

fn at(days: Days, minutes: Vec<u16>) -> Kind {
    Kind::Clock(Clock { days, minutes, hourly: false })
}

fn hourly(days: Days) -> Kind {
    Kind::Clock(Clock { days, minutes: (0..24).map(|hour| hour * 60).collect(), hourly: true })
}

/// The days that words begin with, the words after them, and whether each hour of theirs is meant.
fn days<'a, 'b>(words: &'a [&'b str]) -> Result<(Days, &'a [&'b str], bool), String> {
    let every_day = Days::Week(Week::ALL);
    match words {
        ["hourly", rest @ ..] => Ok((every_day, rest, true)),
        ["daily", rest @ ..] => Ok((every_day, rest, false)),
        ["weekly", rest @ ..] => {
            let mut week = Week::default();
            week.add(Weekday::Mon);
            Ok((Days::Week(week), rest, false))
        }
        ["monthly", rest @ ..] => Ok((Days::Month(MonthDay::First), rest, false)),
        [ordinal, day, rest @ ..] if *ordinal == "last" || ORDINALS.contains(ordinal) => {
            let which = day_of_month(ordinal, day)?;
            let rest = rest.strip_prefix(&["monthly"]).unwrap_or(rest);
            Ok((Days::Month(which), rest, false))
        }
        [word, rest @ ..] => {
            let week = words::week(word).ok_or_else(|| format!("{word:?} is no word that schedules know"))??;
            match rest {
                ["hourly", rest @ ..] => Ok((Days::Week(week), rest, true)),
                ["daily", rest @ ..] => Ok((Days::Week(week), rest, false)),
                rest => Ok((Days::Week(week), rest, false)),
            }
        }
        [] => Err("it is empty".to_owned()),
    }
}

fn day_of_month(ordinal: &str, day: &str) -> Result<MonthDay, String> {
    let nth = ORDINALS.iter().position(|word| *word == ordinal).and_then(|n| u8::try_from(n).ok());
    match (nth, day) {
        (None, "day") => Ok(MonthDay::Last),
        (Some(0), "day") => Ok(MonthDay::First),
        (None, day) => words::day(day).map(MonthDay::LastOf),
        (Some(n), day) => words::day(day).map(|day| MonthDay::Nth(n, day)),
    }
}

fn every(text: &str) -> Result<Duration, String> {
    const MINUTE: Duration = Duration::from_secs(60);
    const YEAR: Duration = Duration::from_secs(366 * 86400);
    match parse_duration(text)? {
        step if step < MINUTE => Err("less than a minute is too often: capture watches for changes".to_owned()),
        step if step > YEAR => Err("more than 366 days is too seldom".to_owned()),
        step => Ok(step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_have_one_way_to_be_shown() {
        for (text, shown) in [
            ("hourly", "hourly"),
            ("daily 02:30", "daily 02:30"),
            ("daily", "daily 00:00"),
            ("Daily 2:30", "daily 02:30"),
            ("daily 18:00,6:00,18:00", "daily 06:00,18:00"),
            ("mon..fri  hourly", "mon..fri hourly"),
            ("sun 02:00", "sun 02:00"),
            ("Sunday 02:00", "sun 02:00"),
            ("wed,mon 18:00", "mon,wed 18:00"),
            ("sat..mon", "mon,sat,sun 00:00"),
            ("mon..sun hourly", "hourly"),
            ("mon..wed,sat daily 12:00", "mon..wed,sat 12:00"),
            ("weekly", "mon 00:00"),
            ("monthly", "monthly 00:00"),
            ("last sun monthly", "last sun monthly 00:00"),
            ("last sun", "last sun monthly 00:00"),
            ("first mon monthly 03:00", "first mon monthly 03:00"),
            ("last day monthly 23:00", "last day monthly 23:00"),
            ("first day monthly", "monthly 00:00"),
            ("every 15m", "every 15m"),
            ("every 90 min", "every 1h 30m"),
            ("30  2 * * mon-FRI", "30 2 * * mon-fri"),
            ("*/5 * * * *", "*/5 * * * *"),
            ("0 0 l * *", "0 0 l * *"),
            ("0 3 * * sun#2,5l", "0 3 * * sun#2,5l"),
        ] {
            let schedule = parse(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(schedule.to_string(), shown, "{text}");
            assert_eq!(parse(shown).as_ref(), Ok(&schedule), "{shown}");
        }
    }

    #[test]
    fn errors_name_the_text_what_is_wrong_and_examples() {
        for (text, why) in [
            ("", "it is empty"),
            ("02:30", "it does not say on which days: write \"daily 02:30\""),
            ("dayly", "\"dayly\" is no word that schedules know"),
            ("daily 24:00", "\"24:00\" is no time of day (00:00 to 23:59)"),
            ("daily 2:3", "\"2:3\" is no time of day"),
            ("daily 02:30 06:00", "\"06:00\" is too much"),
            ("hourly 02:30", "hourly has no time of day"),
            ("mon..fry", "\"fry\" is no day of the week"),
            ("mon,", "\"\" is no day of the week"),
            ("fifth mon monthly", "\"fifth\" is no word"),
            ("second day monthly", "\"day\" is no day of the week"),
            ("every", "\"\" is no duration"),
            ("every 1s", "less than a minute"),
            ("every 500d", "more than 366 days"),
            ("* * * *", "a cron expression has five fields"),
            ("0 2 * * * *", "a cron expression has five fields"),
            ("61 * * * *", ""),
            ("0 mon * * *", "\"mon\" is nothing that the field hour can have"),
            ("0 0 * mon *", "\"mon\" is nothing that the field month can have"),
            ("0 0 30 2 *", "there is no such day in any year"),
            ("*/0 * * * *", ""),
            ("5-1 * * * *", ""),
            ("1é * * * *", ""),
        ] {
            let error = parse(text).unwrap_err().to_string();
            let begin = format!("{text:?} is no schedule: {why}");
            assert!(error.starts_with(&begin) && error.contains("; write one like \"daily 02:30\""), "{text}: {error}");
        }
    }
}
