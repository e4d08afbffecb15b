//! Names of time: the strict grammar of what stands after `@` in a view.
//!
//! | name | denotes |
//! | --- | --- |
//! | `2025` `2025-09` `2025-09-20` | the end of that year, month, day |
//! | `2025-09-20T14` `...T14:30` `...T14:30:05` | the end of that hour, minute, second |
//! | `2025-09-20T14:30:05.123` | the end of that fraction, 1 to 9 digits |
//! | a day or time with `Z`, a time with `+02:00` | the same, in UTC or at that offset |
//! | `1758376205` `1758376205.5` | the end of that second or fraction since 1970, 9 digits of seconds or more |
//! | `latest` | the newest snapshot |
//! | `now` `today` | now |
//! | `yesterday` | the end of yesterday |
//! | `30s` `5m` `1h` | so many seconds, minutes, hours ago, exactly |
//! | `2d` `3w` `2mo` `1y` | so many days, weeks, months, years ago, at the same time of day |
//!
//! `m` is minutes and `mo` is months. A month or year back from a day that the target lacks is the last day it has.

use jiff::{
    SignedDuration, Span,
    civil::{Date, DateTime},
    tz::Offset,
};

use crate::types::{
    time::Instant,
    when::zone::{Zone, parse_offset},
};

const SECOND_NS: i64 = 1_000_000_000;

/// How exactly a period was named.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Precision {
    /// `2025`
    Year,
    /// `2025-09`
    Month,
    /// `2025-09-20`
    Day,
    /// `2025-09-20T14`
    Hour,
    /// `2025-09-20T14:30`
    Minute,
    /// `2025-09-20T14:30:05`
    Second,
    /// A fraction of so many digits, 1 to 9.
    Subsecond(u8),
    /// Seconds since 1970, with or without a fraction.
    Epoch,
}

impl Precision {
    /// A number of 4 bits, different for each: 0 for a year to 5 for a second, 5 + digits for a fraction, 15 for an epoch.
    pub fn code(self) -> u8 {
        match self {
            Precision::Year => 0,
            Precision::Month => 1,
            Precision::Day => 2,
            Precision::Hour => 3,
            Precision::Minute => 4,
            Precision::Second => 5,
            Precision::Subsecond(digits) => 5 + digits.min(9),
            Precision::Epoch => 15,
        }
    }
}

/// A unit of time ago.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unit {
    /// `s`: exact.
    Second,
    /// `m`: exact.
    Minute,
    /// `h`: exact, 3600 seconds.
    Hour,
    /// `d`: by the calendar.
    Day,
    /// `w`: by the calendar.
    Week,
    /// `mo`: by the calendar.
    Month,
    /// `y`: by the calendar.
    Year,
}

/// A name that denotes another instant as time goes on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Moving {
    /// The newest snapshot: only who has the snapshots can resolve it.
    Latest,
    /// `now`.
    Now,
    /// `today`: so far, which is now.
    Today,
    /// The end of yesterday.
    Yesterday,
    /// So long ago.
    Ago(u32, Unit),
}

/// What a name denotes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Name {
    /// A period, for ever the same; the name denotes its `end`.
    Period {
        /// The first instant.
        start: Instant,
        /// The last instant, inclusive; never before `start`.
        end: Instant,
        /// How exactly it was named.
        precision: Precision,
    },
    /// A name that moves.
    Moving(Moving),
}

/// Why a text is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It does not look like one.
    Shape,
    /// It looks like one, of a day or time that no calendar or clock has.
    NoSuch,
    /// It lies outside the range of instants.
    Range,
}

/// Reads a name of time: exact, case-sensitive, no spaces, no leading `@`. `None` for anything else, and for periods that
/// reach outside the range of instants (21 September 1677 to 11 April 2262).
pub fn parse_name(text: &str, zone: &Zone) -> Option<Name> {
    read(text, zone).ok()
}

/// As [`parse_name`], with the reason.
pub(super) fn read(text: &str, zone: &Zone) -> Result<Name, Refusal> {
    if let Some(moving) = moving(text) {
        return Ok(Name::Moving(moving));
    }
    if let Some((seconds, fraction)) = epoch(text) {
        return epoch_period(seconds?, fraction);
    }
    Written::read(text).ok_or(Refusal::Shape)?.period(zone)
}

impl Moving {
    /// The instant this denotes at `now`; `None` for [`Moving::Latest`] and outside the range of instants.
    pub fn resolve(&self, now: Instant, zone: &Zone) -> Option<Instant> {
        match *self {
            Moving::Latest => None,
            Moving::Now | Moving::Today => Some(now),
            Moving::Yesterday => {
                let today = zone.civil(now).date();
                let (_, end) = zone.period(midnight(today.yesterday().ok()?), midnight(today))?;
                Some(end)
            }
            Moving::Ago(count, unit) => ago(i64::from(count), unit, now, zone),
        }
    }
}

fn ago(count: i64, unit: Unit, now: Instant, zone: &Zone) -> Option<Instant> {
    let exact = |seconds: i64| now.0.checked_sub(count.checked_mul(seconds)?.checked_mul(SECOND_NS)?).map(Instant);
    let span = match unit {
        Unit::Second => return exact(1),
        Unit::Minute => return exact(60),
        Unit::Hour => return exact(3600),
        Unit::Day => Span::new().try_days(count),
        Unit::Week => Span::new().try_weeks(count),
        Unit::Month => Span::new().try_months(count),
        Unit::Year => Span::new().try_years(count),
    };
    zone.instant(zone.civil(now).checked_sub(span.ok()?).ok()?)
}

fn moving(text: &str) -> Option<Moving> {
    Some(match text {
        "latest" => Moving::Latest,
        "now" => Moving::Now,
        "today" => Moving::Today,
        "yesterday" => Moving::Yesterday,
        _ => {
            let (count, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
            Moving::Ago(count_of(count)?, unit_of(unit)?)
        }
    })
}

/// A count of units: 1 to 999,999,999, without leading zeros.
pub(super) fn count_of(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') && digits.len() <= 9;
    digits.parse().ok().filter(|_| plain)
}

fn unit_of(letters: &str) -> Option<Unit> {
    Some(match letters {
        "s" => Unit::Second,
        "m" => Unit::Minute,
        "h" => Unit::Hour,
        "d" => Unit::Day,
        "w" => Unit::Week,
        "mo" => Unit::Month,
        "y" => Unit::Year,
        _ => return None,
    })
}

/// Seconds since 1970 and the digits of their fraction, if the text has that shape; the seconds may be too many.
fn epoch(text: &str) -> Option<(Result<i64, Refusal>, Option<&str>)> {
    let (seconds, fraction) = match text.split_once('.') {
        Some((seconds, fraction)) => (seconds, Some(fraction)),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let whole = seconds.len() >= 9 && digits(seconds) && !seconds.starts_with('0');
    let part = fraction.is_none_or(|f| (1..=9).contains(&f.len()) && digits(f));
    (whole && part).then(|| (seconds.parse().map_err(|_| Refusal::Range), fraction))
}

fn epoch_period(seconds: i64, fraction: Option<&str>) -> Result<Name, Refusal> {
    let (ns, width) = match fraction {
        Some(digits) => fraction_ns(digits).ok_or(Refusal::Shape)?,
        None => (0, SECOND_NS),
    };
    let start = seconds.checked_mul(SECOND_NS).and_then(|s| s.checked_add(ns)).ok_or(Refusal::Range)?;
    let end = start.checked_add(width - 1).ok_or(Refusal::Range)?;
    Ok(Name::Period { start: Instant(start), end: Instant(end), precision: Precision::Epoch })
}

/// The value of 1 to 9 digits after the point, and of one in the last place, in nanoseconds.
fn fraction_ns(digits: &str) -> Option<(i64, i64)> {
    let places = u32::try_from(digits.len()).ok().filter(|n| (1..=9).contains(n))?;
    let width = 10i64.pow(9 - places);
    Some((digits.parse::<i64>().ok()? * width, width))
}

/// A period as it was written: fields that may yet be impossible.
struct Written {
    /// Year, month, day, hour, minute, second; those not written at their least.
    fields: [i16; 6],
    fraction_ns: i64,
    /// Of the last place written, for a second or less.
    width_ns: i64,
    precision: Precision,
    offset: Option<Offset>,
}

impl Written {
    fn read(text: &str) -> Option<Written> {
        const STEPS: [(char, Precision); 5] = [
            ('-', Precision::Month),
            ('-', Precision::Day),
            ('T', Precision::Hour),
            (':', Precision::Minute),
            (':', Precision::Second),
        ];
        let (year, mut rest) = digits(text, 4)?;
        let mut written = Written {
            fields: [year, 1, 1, 0, 0, 0],
            fraction_ns: 0,
            width_ns: SECOND_NS,
            precision: Precision::Year,
            offset: None,
        };
        for (i, (separator, precision)) in STEPS.into_iter().enumerate() {
            let Some(after) = rest.strip_prefix(separator) else { break };
            (written.fields[i + 1], rest) = digits(after, 2)?;
            written.precision = precision;
        }
        if written.precision == Precision::Second && rest.starts_with('.') {
            rest = written.read_fraction(&rest[1..])?;
        }
        written.read_offset(rest)?;
        Some(written)
    }

    fn read_fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let (fraction, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        (self.fraction_ns, self.width_ns) = fraction_ns(fraction)?;
        self.precision = Precision::Subsecond(fraction.len() as u8);
        Some(rest)
    }

    fn read_offset(&mut self, text: &str) -> Option<()> {
        let allowed = text == "Z" && self.precision >= Precision::Day || self.precision >= Precision::Hour;
        if !text.is_empty() {
            self.offset = Some(parse_offset(text).filter(|_| allowed)?);
        }
        Some(())
    }

    fn period(&self, zone: &Zone) -> Result<Name, Refusal> {
        // Years that have instants, and their neighbours, stay far from the ends of what the calendar computes.
        if !(1677..=2262).contains(&self.fields[0]) {
            return Err(Refusal::Range);
        }
        let from = self.civil().ok_or(Refusal::NoSuch)?;
        let next = self.next(from).ok_or(Refusal::Range)?;
        let own = self.offset.map(Zone::fixed);
        let (start, end) = own.as_ref().unwrap_or(zone).period(from, next).ok_or(Refusal::Range)?;
        Ok(Name::Period { start, end, precision: self.precision })
    }

    fn civil(&self) -> Option<DateTime> {
        let [year, month, day, hour, minute, second] = self.fields;
        let small = |n: i16| i8::try_from(n).ok();
        let ns = i32::try_from(self.fraction_ns).ok()?;
        DateTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, small(second)?, ns).ok()
    }

    fn next(&self, from: DateTime) -> Option<DateTime> {
        let later = |ns| from.checked_add(SignedDuration::from_nanos(ns)).ok();
        match self.precision {
            Precision::Year => Date::new(from.year() + 1, 1, 1).ok().map(midnight),
            Precision::Month => from.checked_add(Span::new().try_months(1).ok()?).ok(),
            Precision::Day => from.tomorrow().ok(),
            Precision::Hour => later(3600 * SECOND_NS),
            Precision::Minute => later(60 * SECOND_NS),
            Precision::Second | Precision::Subsecond(_) | Precision::Epoch => later(self.width_ns),
        }
    }
}

/// The number in the first `n` characters, all digits, and what follows.
fn digits(text: &str, n: usize) -> Option<(i16, &str)> {
    let (number, rest) = text.split_at_checked(n)?;
    let plain = number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|_| plain).map(|number| (number, rest))
}

fn midnight(day: Date) -> DateTime {
    day.at(0, 0, 0, 0)
}
