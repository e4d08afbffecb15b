//! The words that schedules and blackout windows are made of.

use super::model::Week;
use crate::types::when::wall::Weekday;

/// Days of the week: `mon`, `mon..fri`, `sat..mon`, `mon,wed`, or ranges and days with commas. `None` if it does not look like
/// that at all.
pub(super) fn week(word: &str) -> Option<Result<Week, String>> {
    let parts: Vec<&str> = word.split(',').collect();
    let looks = |part: &&str| part.split("..").any(|day| Weekday::read(day).is_some());
    if !parts.iter().any(looks) {
        return None;
    }
    let mut week = Week::default();
    for part in parts {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (first, last) = match (day(first), day(last)) {
            (Ok(first), Ok(last)) => (first, last),
            (Err(why), _) | (_, Err(why)) => return Some(Err(why)),
        };
        let all = Weekday::ALL.into_iter().cycle().skip(first as usize);
        let after_last = (last as usize + 7 - first as usize) % 7 + 1;
        all.take(after_last).for_each(|day| week.add(day));
    }
    Some(Ok(week))
}

/// A day of the week.
pub(super) fn day(word: &str) -> Result<Weekday, String> {
    Weekday::read(word).ok_or_else(|| format!("{word:?} is no day of the week (mon, tue, wed, thu, fri, sat, sun)"))
}

/// Times of day with commas: `02:30` or `06:00,18:00`; in minutes, ascending.
pub(super) fn times(word: &str) -> Result<Vec<u16>, String> {
    let mut minutes = word.split(',').map(time).collect::<Result<Vec<_>, _>>()?;
    minutes.sort_unstable();
    minutes.dedup();
    Ok(minutes)
}

/// A time of day, 00:00 to 23:59, in minutes.
pub(super) fn time(word: &str) -> Result<u16, String> {
    let wrong = || format!("{word:?} is no time of day (00:00 to 23:59)");
    let number = |text: &str, longest: usize, below: u16| -> Option<u16> {
        let digits = (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| digits && *n < below)
    };
    let (hour, minute) = word.split_once(':').ok_or_else(wrong)?;
    let minute = Some(minute).filter(|text| text.len() == 2).and_then(|text| number(text, 2, 60));
    Ok(number(hour, 2, 24).ok_or_else(wrong)? * 60 + minute.ok_or_else(wrong)?)
}
