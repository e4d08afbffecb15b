//! How far back something reaches: `48h`, `90d`, `7y`, `forever`.

use std::fmt;
use std::str::FromStr;

use jiff::Span;

use crate::types::{
    time::Instant,
    when::{name::Unit, period::day_of, zone::Zone},
};

/// A length of time that ends now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Window {
    /// So many of a unit.
    Last(u32, Unit),
    /// All of time.
    Forever,
}

/// Why a text is no such length.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WindowError {
    /// It does not look like one.
    #[error(
        "{0:?} is no length of time: write a whole number and s, m, h, d, w, months or y, such as \"48h\" or \"7y\", or \"forever\""
    )]
    Shape(String),
    /// It has no length.
    #[error("{0:?} is no time at all: leave the setting out, or write how long")]
    Zero(String),
    /// It is a number too large.
    #[error("{0:?} is longer than there are instants: write \"forever\"")]
    Long(String),
}

/// The most of a unit: years beyond reach as many instants as there are.
const COUNT_MAX: u32 = 1_000_000_000;

const UNITS: [(Unit, &str, &str); 7] = [
    (Unit::Second, "s", "second"),
    (Unit::Minute, "m", "minute"),
    (Unit::Hour, "h", "hour"),
    (Unit::Day, "d", "day"),
    (Unit::Week, "w", "week"),
    (Unit::Month, "months", "month"),
    (Unit::Year, "y", "year"),
];

impl Window {
    /// The first instant of the window that ends at `now`.
    ///
    /// Seconds, minutes and hours are exact. Days, weeks, months and years go by the calendar, and reach to the **beginning** of the
    /// day so long ago: where the month has no such day, of its last one. Never earlier for a later `now`.
    pub fn since(self, now: Instant, zone: &Zone) -> Instant {
        let Window::Last(count, unit) = self else { return Instant(i64::MIN) };
        let exact = |unit_s: i64| {
            let back_ns = i64::from(count).checked_mul(unit_s)?.checked_mul(1_000_000_000)?;
            now.0.checked_sub(back_ns).map(Instant)
        };
        let count_of = i64::from(count);
        let span = match unit {
            Unit::Second => return exact(1).unwrap_or(Instant(i64::MIN)),
            Unit::Minute => return exact(60).unwrap_or(Instant(i64::MIN)),
            Unit::Hour => return exact(3600).unwrap_or(Instant(i64::MIN)),
            Unit::Day => Span::new().try_days(count_of),
            Unit::Week => Span::new().try_weeks(count_of),
            Unit::Month => Span::new().try_months(count_of),
            Unit::Year => Span::new().try_years(count_of),
        };
        let first = || zone.first(day_of(now, zone)?.checked_sub(span.ok()?).ok()?.at(0, 0, 0, 0));
        first().unwrap_or(Instant(i64::MIN))
    }

    /// Whether it reaches further back than another, with months and years as long as they are on average.
    pub fn is_longer_than(self, other: Window) -> bool {
        self.average_s() > other.average_s()
    }

    fn average_s(self) -> u64 {
        let Window::Last(count, unit) = self else { return u64::MAX };
        let unit_s: u64 = match unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
            Unit::Day => 86_400,
            Unit::Week => 7 * 86_400,
            Unit::Month => 2_629_746,
            Unit::Year => 12 * 2_629_746,
        };
        u64::from(count) * unit_s
    }

    /// For people: `90 days`, `1 year`, `ever`.
    pub fn words(self) -> String {
        match self {
            Window::Forever => "ever".to_owned(),
            Window::Last(count, unit) => format!("{count} {}{}", names(unit).1, if count == 1 { "" } else { "s" }),
        }
    }
}

/// As it is written in the settings.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Window::Forever => f.write_str("forever"),
            Window::Last(1, Unit::Month) => f.write_str("1month"),
            Window::Last(count, unit) => write!(f, "{count}{}", names(unit).0),
        }
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Window, WindowError> {
        let shape = || WindowError::Shape(text.to_owned());
        let trimmed = text.trim();
        if trimmed == "forever" {
            return Ok(Window::Forever);
        }
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = (&trimmed[..digits], trimmed[digits..].trim_start());
        let unit = match unit {
            "month" | "mo" => Unit::Month,
            _ => UNITS.iter().find(|(_, short, _)| *short == unit).ok_or_else(shape)?.0,
        };
        if count.is_empty() {
            return Err(shape());
        }
        match count.parse::<u32>() {
            Ok(0) => Err(WindowError::Zero(text.to_owned())),
            Ok(count) if count <= COUNT_MAX => Ok(Window::Last(count, unit)),
            _ => Err(WindowError::Long(text.to_owned())),
        }
    }
}

fn names(unit: Unit) -> (&'static str, &'static str) {
    UNITS.iter().find(|(u, ..)| *u == unit).map_or(("", ""), |(_, short, long)| (*short, *long))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::when::show::show_second;

    #[test]
    fn of_two_one_is_longer() {
        let longer = |a: &str, b: &str| a.parse::<Window>().unwrap().is_longer_than(b.parse().unwrap());
        for (long, short) in [("forever", "900y"), ("1y", "364d"), ("5w", "1month"), ("25h", "1d"), ("13months", "1y")]
        {
            assert!(longer(long, short) && !longer(short, long), "{long} and {short}");
        }
        assert!(!longer("12months", "1y") && !longer("7d", "1w"));
    }

    #[test]
    fn lengths_are_read_and_written() {
        for (text, written, words) in [
            ("48h", "48h", "48 hours"),
            (" 90 d ", "90d", "90 days"),
            ("1 month", "1month", "1 month"),
            ("6months", "6months", "6 months"),
            ("6mo", "6months", "6 months"),
            ("2w", "2w", "2 weeks"),
            ("7y", "7y", "7 years"),
            ("forever", "forever", "ever"),
        ] {
            let window: Window = text.parse().unwrap();
            assert_eq!((window.to_string().as_str(), window.words().as_str()), (written, words));
            assert_eq!(window.to_string().parse(), Ok(window));
        }
        for wrong in ["", "d", "5", "-1d", "1.5d", "1d 2h", "5 parsecs", "1Y", "Forever", "５d"] {
            assert!(matches!(wrong.parse::<Window>(), Err(WindowError::Shape(_))), "{wrong}");
        }
        assert!(matches!("0d".parse::<Window>(), Err(WindowError::Zero(_))));
        assert!(matches!("99999999999999999999d".parse::<Window>(), Err(WindowError::Long(_))));
    }

    #[test]
    fn calendar_units_reach_to_the_beginning_of_a_day() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        // 2025-03-31 14:30:05 +02:00
        let now = Instant(1_743_424_205 * 1_000_000_000);
        let since = |text: &str| show_second(text.parse::<Window>().unwrap().since(now, &berlin), &berlin);
        assert_eq!(since("90s"), "2025-03-31 14:28:35 +02:00");
        assert_eq!(since("48h"), "2025-03-29 13:30:05 +01:00");
        assert_eq!(since("1d"), "2025-03-30 00:00:00 +01:00");
        assert_eq!(since("1w"), "2025-03-24 00:00:00 +01:00");
        assert_eq!(since("1mo"), "2025-02-28 00:00:00 +01:00");
        assert_eq!(since("1y"), "2024-03-31 00:00:00 +01:00");
        for far in ["forever", "1000000000y", "1000000000h", "400y", "1000000000d"] {
            assert_eq!(far.parse::<Window>().unwrap().since(now, &berlin), Instant(i64::MIN), "{far}");
        }
    }

    #[test]
    fn the_first_instant_never_moves_back() {
        for zone in ["Europe/Berlin", "America/St_Johns", "Pacific/Apia"].map(|name| Zone::named(name).unwrap()) {
            for window in ["1d", "30d", "1w", "1mo", "3mo", "1y"].map(|text| text.parse::<Window>().unwrap()) {
                let mut before = Instant(i64::MIN);
                // Every 7 minutes over the changes of the clock of 2006, and every 11 hours for six years.
                let near = (0..9000).map(|n| 1_161_900_000 + n * 60 / 10);
                let far = (0..4800).map(|n| 1_161_960_000 + n * 39_600);
                for second in near.chain(far) {
                    let since = window.since(Instant(second * 1_000_000_000), &zone);
                    assert!(since >= before, "{window} at {second} in {}", zone.name());
                    before = since;
                }
            }
        }
    }
}
