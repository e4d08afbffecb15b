//! What a schedule must do, found by looking at the clock in every minute; and that it does that.

use std::collections::BTreeSet;

use bygone::schedule::model::Schedule;
use bygone::types::{time::Instant, when::zone::Zone};
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

pub(crate) const NS: i64 = 1_000_000_000;
/// Two years: 2027-01-01 to 2029-01-01, UTC. Eight changes of the clock each in Berlin and New York, and a leap day.
pub(crate) const FROM: Instant = Instant(1_798_761_600 * NS);
pub(crate) const TO: Instant = Instant(1_861_920_000 * NS);
pub(crate) const ZONES: [&str; 3] = ["Europe/Berlin", "America/New_York", "UTC"];

/// A schedule, whether a time on the wall belongs to it, and whether repeated hours are run again.
pub(crate) type Case = (&'static str, fn(DateTime) -> bool, bool);

fn at(t: DateTime, hour: i8, minute: i8) -> bool {
    (t.hour(), t.minute()) == (hour, minute)
}

fn work(t: DateTime) -> bool {
    !matches!(t.weekday(), Weekday::Saturday | Weekday::Sunday)
}

pub(crate) const CASES: &[Case] = &[
    ("hourly", |t| t.minute() == 0, true),
    ("mon..fri hourly", |t| work(t) && t.minute() == 0, true),
    ("daily", |t| at(t, 0, 0), false),
    ("daily 02:30", |t| at(t, 2, 30), false),
    ("daily 01:15,02:00,02:45,03:00", |t| [(1, 15), (2, 0), (2, 45), (3, 0)].contains(&(t.hour(), t.minute())), false),
    ("sun 02:00", |t| t.weekday() == Weekday::Sunday && at(t, 2, 0), false),
    ("mon,wed 18:00", |t| matches!(t.weekday(), Weekday::Monday | Weekday::Wednesday) && at(t, 18, 0), false),
    ("weekly", |t| t.weekday() == Weekday::Monday && at(t, 0, 0), false),
    ("monthly", |t| t.day() == 1 && at(t, 0, 0), false),
    (
        "last sun monthly 02:30",
        |t| t.weekday() == Weekday::Sunday && t.day() + 7 > t.days_in_month() && at(t, 2, 30),
        false,
    ),
    ("last sun monthly", |t| t.weekday() == Weekday::Sunday && t.day() + 7 > t.days_in_month() && at(t, 0, 0), false),
    ("first mon monthly 03:00", |t| t.weekday() == Weekday::Monday && t.day() <= 7 && at(t, 3, 0), false),
    ("second sun 02:00", |t| t.weekday() == Weekday::Sunday && (8..15).contains(&t.day()) && at(t, 2, 0), false),
    ("last day monthly 23:30", |t| t.day() == t.days_in_month() && at(t, 23, 30), false),
    ("*/15 * * * *", |t| t.minute() % 15 == 0, true),
    ("30 * * * 1-5", |t| work(t) && t.minute() == 30, true),
    ("*/20 2,3 * * *", |t| [2, 3].contains(&t.hour()) && t.minute() % 20 == 0, false),
    ("30 2 29 2 *", |t| (t.month(), t.day()) == (2, 29) && at(t, 2, 30), false),
    ("0 0 13 * fri", |t| (t.day() == 13 || t.weekday() == Weekday::Friday) && at(t, 0, 0), false),
];

/// What the clock of a zone shows in each minute from the one before `FROM` to `TO`.
pub(crate) fn shown(zone: &str) -> Vec<DateTime> {
    let zone = TimeZone::get(zone).unwrap();
    let seconds = (FROM.0 / NS - 60..TO.0 / NS).step_by(60);
    seconds.map(|at| zone.to_datetime(Timestamp::new(at, 0).unwrap())).collect()
}

/// The runs from `FROM`, inclusive, to `TO`: every minute is looked at once, and every minute that the clock left out.
pub(crate) fn expected((_, is, again): Case, shown: &[DateTime]) -> Vec<Instant> {
    let (mut runs, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for (n, pair) in shown.windows(2).enumerate() {
        let at = Instant(FROM.0 + i64::try_from(n).unwrap() * 60 * NS);
        let now = pair[1];
        if pair[0].minute() != (now.minute() + 59) % 60 || pair[0].hour() != now.hour() {
            let mut left_out = pair[0] + 1.minute();
            while left_out < now {
                if is(left_out) && !again {
                    runs.insert(at);
                }
                left_out += 1.minute();
            }
        }
        if is(now) && (again || seen.insert(now)) {
            runs.insert(at);
        }
    }
    runs.into_iter().collect()
}

/// The runs that the schedule has.
fn runs(schedule: &Schedule, zone: &Zone) -> Vec<Instant> {
    let first = Instant(FROM.0 - 1);
    let next = |at: &Instant| schedule.next_after(*at, zone);
    std::iter::successors(next(&first), next).take_while(|at| *at < TO).collect()
}

#[test]
fn every_minute_of_two_years() {
    for zone in ZONES {
        let shown = shown(zone);
        for case in CASES {
            let schedule: Schedule = case.0.parse().unwrap();
            let (runs, expected) = (runs(&schedule, &Zone::named(zone).unwrap()), expected(*case, &shown));
            let differ = runs.iter().zip(&expected).find(|(a, b)| a != b);
            assert_eq!(differ, None, "{} in {zone}", case.0);
            assert_eq!(runs.len(), expected.len(), "{} in {zone}", case.0);
            assert!(!runs.is_empty());
        }
    }
}

#[test]
fn counts_over_two_years() {
    let count = |text: &str, zone: &str| runs(&text.parse().unwrap(), &Zone::named(zone).unwrap()).len();
    for zone in ZONES {
        assert_eq!(count("hourly", zone), 731 * 24, "{zone}: one in each hour that passes, whatever the clock shows");
        assert_eq!(count("daily 02:30", zone), 731, "{zone}: one a day");
        assert_eq!(count("every 6h", zone), 731 * 4, "{zone}");
        assert_eq!(count("every 15m", zone), 731 * 96, "{zone}");
        assert_eq!(count("*/15 * * * *", zone), 731 * 96, "{zone}");
    }
}

#[test]
fn zones_with_other_changes() {
    // By half an hour (Lord Howe), at midnight (Beirut), and over midnight (Scoresbysund).
    for zone in ["Australia/Lord_Howe", "Asia/Beirut", "America/Scoresbysund"] {
        let shown = shown(zone);
        for case in CASES {
            let schedule: Schedule = case.0.parse().unwrap();
            assert_eq!(runs(&schedule, &Zone::named(zone).unwrap()), expected(*case, &shown), "{} in {zone}", case.0);
        }
    }
}
