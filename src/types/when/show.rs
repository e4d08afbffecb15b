//! Instants and times for people, and the names that denote them again.

use jiff::{Timestamp, civil::DateTime};

use crate::types::{
    time::{Instant, Time},
    when::{
        name::{Name, Precision, parse_name},
        zone::{Zone, offset_text},
    },
};

/// Local time in milliseconds (the rest is cut off) with its offset: `2025-09-20 14:30:05.123 +02:00`.
pub fn show(at: Instant, zone: &Zone) -> String {
    let civil = zone.civil(at);
    let ms = civil.subsec_nanosecond() / 1_000_000;
    format!("{} {}.{ms:03} {}", date(civil), clock(civil), offset_text(zone.offset(at)))
}

/// Local time in seconds (the rest is cut off) with its offset: `2025-09-20 14:30:05 +02:00`.
pub fn show_second(at: Instant, zone: &Zone) -> String {
    let civil = zone.civil(at);
    format!("{} {} {}", date(civil), clock(civil), offset_text(zone.offset(at)))
}

/// The ends of a span of time, to be read together: in seconds, or in milliseconds where they would read the same.
pub fn show_span(from: Instant, to: Instant, zone: &Zone) -> (String, String) {
    let seconds = (show_second(from, zone), show_second(to, zone));
    if seconds.0 == seconds.1 { (show(from, zone), show(to, zone)) } else { seconds }
}

/// A file's time in local time with all its digits: `2025-09-20 14:30:05.123456789 +02:00`. Outside the years -9999 to
/// 9999, which file systems can hold: `@253402300800.000000000`, in seconds since 1970.
pub fn show_time(time: Time, zone: &Zone) -> String {
    let stamp = i32::try_from(time.nsec).ok().and_then(|nsec| Timestamp::new(time.sec, nsec).ok());
    match stamp {
        Some(stamp) => {
            let (civil, offset) = zone.wall(stamp);
            let ns = civil.subsec_nanosecond();
            format!("{} {}.{ns:09} {}", date(civil), clock(civil), offset_text(offset))
        }
        None => format!("@{}.{:09}", time.sec, time.nsec),
    }
}

/// The day of an instant, as its name: `2025-09-20`.
pub fn day(at: Instant, zone: &Zone) -> String {
    date(zone.civil(at))
}

/// The first and the last instant of a day written `2025-09-20`; `None` for anything else and outside the range of
/// instants. Successive days abut; a day that the zone left out is the one after it.
pub fn day_range(day: &str, zone: &Zone) -> Option<(Instant, Instant)> {
    match parse_name(day, zone)? {
        Name::Period { start, end, precision: Precision::Day } if !day.ends_with('Z') => Some((start, end)),
        _ => None,
    }
}

/// The name of exactly this nanosecond, the same in every zone: `2025-09-20T12:30:05.123456789Z`.
pub fn exact_name(at: Instant) -> String {
    let civil = Zone::utc().civil(at);
    format!("{}T{}.{:09}Z", date(civil), clock(civil), civil.subsec_nanosecond())
}

/// The name of this nanosecond within its day: `14:30:05.123456789`, with the offset where the clock shows it twice.
/// `<day>T<this>` is a name that denotes `at`.
pub fn time_of_day_name(at: Instant, zone: &Zone) -> String {
    let civil = zone.civil(at);
    let offset = if zone.occurs_twice(civil) { offset_text(zone.offset(at)) } else { String::new() };
    format!("{}.{:09}{offset}", clock(civil), civil.subsec_nanosecond())
}

/// How long ago, in the one unit that says it best: `3 minutes ago`, `just now`, `in 2 hours`.
pub fn ago(at: Instant, now: Instant) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = at.0.abs_diff(now.0) / 1_000_000_000;
    let (count, unit) = match seconds {
        0 => return "just now".to_owned(),
        s if s < MINUTE => (s, "second"),
        s if s < HOUR => (s / MINUTE, "minute"),
        s if s < 2 * DAY => (s / HOUR, "hour"),
        s if s < 60 * DAY => (s / DAY, "day"),
        // A mean month is 30.436875 days, a mean year 365.2425.
        s if s < 730 * DAY => (s / 2_629_746, "month"),
        s => (s / 31_556_952, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if at <= now { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

fn date(civil: DateTime) -> String {
    let (sign, year) = (if civil.year() < 0 { "-" } else { "" }, civil.year().unsigned_abs());
    format!("{sign}{year:04}-{:02}-{:02}", civil.month(), civil.day())
}

fn clock(civil: DateTime) -> String {
    format!("{:02}:{:02}:{:02}", civil.hour(), civil.minute(), civil.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: i64 = 1_000_000_000;

    #[test]
    fn instants_in_local_time() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let at = Instant(1_758_371_405_123_999_999);
        assert_eq!(show(at, &berlin), "2025-09-20 14:30:05.123 +02:00");
        assert_eq!(show_second(at, &berlin), "2025-09-20 14:30:05 +02:00");
        assert_eq!(day(at, &berlin), "2025-09-20");
        assert_eq!(exact_name(at), "2025-09-20T12:30:05.123999999Z");
        assert_eq!(time_of_day_name(at, &berlin), "14:30:05.123999999");
        assert_eq!(show(Instant(-1), &Zone::utc()), "1969-12-31 23:59:59.999 +00:00");
        let kolkata = Zone::named("Asia/Kolkata").unwrap();
        assert_eq!(show_second(at, &kolkata), "2025-09-20 18:00:05 +05:30");
        let new_york = Zone::named("America/New_York").unwrap();
        assert_eq!(show_second(at, &new_york), "2025-09-20 08:30:05 -04:00");
    }

    #[test]
    fn the_ends_of_a_span_are_told_apart() {
        let span = |from, to| show_span(Instant(from), Instant(to), &Zone::utc());
        let text = |from: &str, to: &str| (format!("1970-01-01 {from} +00:00"), format!("1970-01-01 {to} +00:00"));
        assert_eq!(span(NS / 2, 2 * NS), text("00:00:00", "00:00:02"));
        assert_eq!(span(NS, NS + NS / 2), text("00:00:01.000", "00:00:01.500"));
        assert_eq!(span(NS - 1, NS), text("00:00:00", "00:00:01"));
    }

    #[test]
    fn repeated_times_of_day_carry_their_offset() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        for (seconds, name) in [
            (1_761_436_799, "01:59:59.000000000"),
            (1_761_436_800, "02:00:00.000000000+02:00"),
            (1_761_440_399, "02:59:59.000000000+02:00"),
            (1_761_440_400, "02:00:00.000000000+01:00"),
            (1_761_443_999, "02:59:59.000000000+01:00"),
            (1_761_444_000, "03:00:00.000000000"),
        ] {
            assert_eq!(time_of_day_name(Instant(seconds * NS), &berlin), name);
        }
    }

    #[test]
    fn file_times_of_any_age() {
        let show = |sec, nsec| show_time(Time { sec, nsec }, &Zone::utc());
        assert_eq!(show(0, 1), "1970-01-01 00:00:00.000000001 +00:00");
        assert_eq!(show(-1, 999_999_999), "1969-12-31 23:59:59.999999999 +00:00");
        assert_eq!(show(-62_167_219_201, 0), "-0001-12-31 23:59:59.000000000 +00:00");
        assert_eq!(show(i64::MAX, 7), "@9223372036854775807.000000007");
        assert_eq!(show(i64::MIN, u32::MAX), "@-9223372036854775808.4294967295");
        assert_eq!(show(0, u32::MAX), "@0.4294967295");
    }

    #[test]
    fn how_long_ago() {
        let now = Instant(1_758_371_405 * NS);
        for (seconds, text) in [
            (0, "just now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (3599, "59 minutes ago"),
            (3600, "1 hour ago"),
            (47 * 3600, "47 hours ago"),
            (48 * 3600, "2 days ago"),
            (59 * 86400, "59 days ago"),
            (61 * 86400, "2 months ago"),
            (731 * 86400, "2 years ago"),
            (-7200, "in 2 hours"),
        ] {
            assert_eq!(ago(Instant(now.0 - seconds * NS), now), text);
        }
        assert_eq!(ago(Instant(i64::MIN), Instant(i64::MAX)), "584 years ago");
    }

    #[test]
    fn the_ends_of_the_range_are_shown() {
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"].map(|name| Zone::named(name).unwrap()) {
            for at in [Instant(i64::MIN), Instant(i64::MAX)] {
                assert!(show(at, &zone).len() >= 30);
                assert!(day_range(&day(at, &zone), &zone).is_none());
                assert!(!time_of_day_name(at, &zone).is_empty());
            }
        }
        assert_eq!(exact_name(Instant(i64::MIN)), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(exact_name(Instant(i64::MAX)), "2262-04-11T23:47:16.854775807Z");
    }
}
