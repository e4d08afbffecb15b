//! Periods of the calendar: the hours, days, weeks, months and years that follow one another without a space between them.
//!
//! They are those that names of time denote: where the clock is put back, an hour lasts until it is shown for the last time.

use jiff::{
    Span, ToSpan as _,
    civil::{Date, DateTime},
};

use crate::types::{time::Instant, when::zone::Zone};

/// How long the periods are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Step {
    /// Hours of the clock.
    Hour,
    /// Days.
    Day,
    /// Weeks, from Monday to Sunday.
    Week,
    /// Months.
    Month,
    /// Years.
    Year,
}

/// The first instant of the period that holds `at`; the earliest instant there is where the period begins before that.
///
/// Never later than `at`, and never earlier for a later `at`.
pub fn start_of(at: Instant, step: Step, zone: &Zone) -> Instant {
    begin(at, step, zone).map_or(Instant(i64::MIN), |(_, first)| first)
}

/// The day that holds `at`.
pub(super) fn day_of(at: Instant, zone: &Zone) -> Option<Date> {
    begin(at, Step::Day, zone).map(|(civil, _)| civil.date())
}

/// The wall time at which the period that holds `at` begins, and its first instant.
fn begin(at: Instant, step: Step, zone: &Zone) -> Option<(DateTime, Instant)> {
    let mut civil = floor(zone.civil(at), step)?;
    loop {
        match zone.first(civil)? {
            first if first <= at => return Some((civil, first)),
            // The clock was put back over the boundary after this instant: the period before had not ended.
            _ => civil = floor(civil.checked_sub(1.second()).ok()?, step)?,
        }
    }
}

fn floor(civil: DateTime, step: Step) -> Option<DateTime> {
    let day = civil.date();
    let day = match step {
        Step::Hour => return Some(day.at(civil.hour(), 0, 0, 0)),
        Step::Day => day,
        Step::Week => {
            let gone = i64::from(day.weekday().to_monday_zero_offset());
            day.checked_sub(Span::new().try_days(gone).ok()?).ok()?
        }
        Step::Month => day.first_of_month(),
        Step::Year => day.first_of_year(),
    };
    Some(day.at(0, 0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::when::name::{Name, parse_name};

    fn end(name: &str, zone: &Zone) -> i64 {
        match parse_name(name, zone) {
            Some(Name::Period { end, .. }) => end.0,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn periods_are_those_of_the_names() {
        for zone in ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"] {
            let zone = Zone::named(zone).unwrap();
            for (name, before, step) in [
                ("2025-10-26", "2025-10-25", Step::Day),
                ("2025-03-30", "2025-03-29", Step::Day),
                ("2006-10-29", "2006-10-28", Step::Day),
                ("2025-10-26T03", "2025-10-26T02", Step::Hour),
                ("2025-04-06T02", "2025-04-06T01", Step::Hour),
                ("2025-09", "2025-08", Step::Month),
                ("2025", "2024", Step::Year),
                ("2025-10-26", "2025-10-19", Step::Week),
            ] {
                let (last, first) = (end(name, &zone), end(before, &zone) + 1);
                for at in [first, first + 1, (first + last) / 2, last] {
                    assert_eq!(start_of(Instant(at), step, &zone).0, first, "{name} {at} {}", zone.name());
                }
                assert_eq!(start_of(Instant(last + 1), step, &zone).0, last + 1, "{name} {}", zone.name());
            }
        }
    }

    #[test]
    fn an_hour_lasts_until_it_is_shown_for_the_last_time() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let first = 1_761_436_800 * 1_000_000_000;
        assert_eq!(start_of(Instant(first + 7199 * 1_000_000_000), Step::Hour, &berlin).0, first);
        assert_eq!(start_of(Instant(first + 7200 * 1_000_000_000), Step::Hour, &berlin).0, first + 7_200_000_000_000);
    }

    #[test]
    fn a_day_goes_on_where_the_clock_is_put_back_over_midnight() {
        // In 2006 it was put back from 00:01 to 23:01: midnight was shown twice.
        let zone = Zone::named("America/St_Johns").unwrap();
        let (before, midnight) = (end("2006-10-27", &zone) + 1, end("2006-10-28", &zone) + 1);
        let shown_first = Instant(midnight - 3_570 * 1_000_000_000);
        assert_eq!((zone.civil(shown_first).day(), zone.civil(shown_first).hour()), (29, 0));
        assert_eq!(start_of(shown_first, Step::Day, &zone).0, before);
        assert_eq!(start_of(Instant(midnight), Step::Day, &zone).0, midnight);
    }

    #[test]
    fn the_ends_of_the_range_have_periods() {
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"].map(|name| Zone::named(name).unwrap()) {
            for step in [Step::Hour, Step::Day, Step::Week, Step::Month, Step::Year] {
                assert_eq!(start_of(Instant(i64::MIN), step, &zone).0, i64::MIN);
                assert!(start_of(Instant(i64::MAX), step, &zone).0 > i64::MAX - (1 << 55));
            }
        }
    }
}
