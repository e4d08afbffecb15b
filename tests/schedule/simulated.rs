//! A machine that goes through two years with a clock that is set by hand: what it runs, what it misses and catches up.

use std::time::Duration;

use bygone::schedule::{
    blackout::{Blackout, Window},
    job::{Job, Retries},
    planner::{Planner, Run, State, Why},
};
use bygone::sys::clock::{Clock as _, ManualClock};
use bygone::types::{time::Instant, when::zone::Zone};
use jiff::civil::DateTime;
use proptest::prelude::*;

use crate::minutes::{CASES, FROM, NS, TO, expected, shown};

fn job(schedule: &str, zone: &str) -> Job {
    Job {
        name: format!("test {schedule}"),
        schedule: schedule.parse().unwrap(),
        zone: Zone::named(zone).unwrap(),
        jitter: Duration::ZERO,
        blackout: Blackout::default(),
        retries: Retries { count: 0, after: Duration::from_secs(60) },
    }
}

fn blackout(windows: &[&str]) -> Blackout {
    Blackout::new(windows.iter().map(|text| Window::parse(text).unwrap()).collect()).unwrap()
}

fn seconds(s: i64) -> Instant {
    Instant(s * NS)
}

/// What happens to the runs.
struct World<'a> {
    /// When the machine is off: from, to; ascending.
    off: Vec<(Instant, Instant)>,
    /// How long the run number n takes, and whether it succeeds.
    run: &'a dyn Fn(usize) -> (Duration, bool),
}

const STEADY: World<'static> = World { off: Vec::new(), run: &|_| (Duration::from_secs(7), true) };

/// Goes from one instant to another and gives the runs, with the instant at which each began.
fn live(job: &Job, from: Instant, to: Instant, world: &World) -> Vec<(Instant, Run)> {
    let clock = ManualClock::new(from);
    let mut planner = Planner::default();
    planner.put(job.clone(), None, Instant(from.0 - 1));
    let (mut begun, mut off): (Vec<(Instant, Run)>, _) = (Vec::new(), world.off.iter().peekable());
    while clock.now() < to {
        if let Some((_, back)) = off.next_if(|(since, _)| *since <= clock.now()) {
            // The process ends, and another one is given what was kept.
            clock.set((*back).max(clock.now()));
            let kept: State = *planner.state(&job.name).unwrap();
            planner = Planner::default();
            planner.put(job.clone(), Some(kept), clock.now());
            continue;
        }
        let now = clock.now();
        if let Some(run) = planner.due(now).pop() {
            assert!(planner.begin(&job.name, now).unwrap());
            assert!(!planner.begin(&job.name, now).unwrap(), "a job does not overlap with itself");
            assert_eq!((planner.due(now), planner.wake(now)), (Vec::new(), None));
            let (takes, succeeds) = (world.run)(begun.len());
            begun.push((now, run));
            clock.advance(i64::try_from(takes.as_nanos()).unwrap());
            planner.end(&job.name, clock.now(), succeeds).unwrap();
            continue;
        }
        let Some(wake) = planner.wake(now) else { break };
        assert!(wake > now, "waiting ends");
        clock.set(off.peek().map_or(wake, |(since, _)| (*since).min(wake)).max(Instant(now.0 + 1)));
    }
    begun
}

#[test]
fn two_years_without_a_run_doubled_or_lost_berlin() {
    two_years_without_a_run_doubled_or_lost_in("Europe/Berlin");
}

#[test]
fn two_years_without_a_run_doubled_or_lost_new_york() {
    two_years_without_a_run_doubled_or_lost_in("America/New_York");
}

#[test]
fn two_years_without_a_run_doubled_or_lost_utc() {
    two_years_without_a_run_doubled_or_lost_in("UTC");
}

fn two_years_without_a_run_doubled_or_lost_in(zone: &str) {
    let shown = shown(zone);
    for case in CASES {
        // The jitter of frequent runs is looked at elsewhere.
        for jitter in [0, 300].into_iter().take(if case.0.starts_with('*') { 1 } else { 2 }) {
            let job = Job { jitter: Duration::from_secs(jitter), ..job(case.0, zone) };
            let begun = live(&job, FROM, TO, &STEADY);
            let expected = expected(*case, &shown);
            let scheduled: Vec<Instant> = begun.iter().map(|(_, run)| run.scheduled).collect();
            // A run whose jitter goes beyond the end is not there yet.
            assert!(scheduled.len() + 1 >= expected.len(), "{} in {zone}", case.0);
            assert_eq!(scheduled, expected[..scheduled.len()], "{} in {zone}", case.0);
            for (at, run) in &begun {
                let late = at.0 - run.scheduled.0;
                assert!((0..=i64::try_from(jitter).unwrap() * NS).contains(&late), "{run:?}");
                assert_eq!(run.why, Why::Scheduled);
            }
        }
    }
}

#[test]
fn jitter_is_spread_and_always_the_same() {
    let job = Job { jitter: Duration::from_secs(300), ..job("hourly", "UTC") };
    let late = |job: &Job| {
        live(job, FROM, seconds(FROM.0 / NS + 90 * 86400), &STEADY)
            .iter()
            .map(|(at, run)| (at.0 - run.scheduled.0) / NS)
            .collect::<Vec<_>>()
    };
    let (one, other) = (late(&job), late(&Job { name: "another".into(), ..job.clone() }));
    assert_eq!(one, late(&job));
    assert_ne!(one, other);
    for minute in 0..5 {
        assert!(one.iter().filter(|late| (minute * 60..minute * 60 + 60).contains(*late)).count() > one.len() / 10);
    }
}

/// Whether the window from 22:00 to 06:00 or that of the weekend is open: by what the clock showed in that minute.
fn is_dark(at: Instant, shown: &[DateTime]) -> bool {
    // What is beyond the end is looked at no further.
    let minute = usize::try_from((at.0 - FROM.0) / (60 * NS)).unwrap() + 1;
    shown.get(minute).is_some_and(|wall| !(6..22).contains(&wall.hour()) || wall.weekday().to_monday_zero_offset() >= 5)
}

#[test]
fn what_falls_into_a_blackout_runs_once_at_its_end_berlin() {
    what_falls_into_a_blackout_runs_once_at_its_end_in("Europe/Berlin");
}

#[test]
fn what_falls_into_a_blackout_runs_once_at_its_end_new_york() {
    what_falls_into_a_blackout_runs_once_at_its_end_in("America/New_York");
}

#[test]
fn what_falls_into_a_blackout_runs_once_at_its_end_utc() {
    what_falls_into_a_blackout_runs_once_at_its_end_in("UTC");
}

fn what_falls_into_a_blackout_runs_once_at_its_end_in(zone: &str) {
    let shown = shown(zone);
    for case in CASES {
        let job = Job { blackout: blackout(&["22:00-06:00", "sat..sun"]), ..job(case.0, zone) };
        let begun = live(&job, FROM, TO, &STEADY);
        // Each time of the schedule is moved to the first minute that is not dark; those that meet are one.
        let mut wanted: Vec<Instant> = expected(*case, &shown);
        for at in &mut wanted {
            while is_dark(*at, &shown) {
                *at = Instant(at.0 + 60 * NS);
            }
        }
        wanted.dedup();
        wanted.retain(|at| *at < TO);
        let at: Vec<Instant> = begun.iter().map(|(at, _)| *at).collect();
        assert_eq!(at, wanted, "{} in {zone}", case.0);
        for (at, run) in &begun {
            assert_eq!(matches!(run.why, Why::Postponed(_)), *at != run.scheduled, "{run:?}");
        }
    }
}

#[test]
fn a_machine_that_was_off_catches_up_once() {
    let job = job("daily 02:30", "Europe/Berlin");
    let day = |n: i64| seconds(FROM.0 / NS + n * 86400);
    // Off for ten days, and for an hour at noon in which nothing was to be run.
    let noon = |n: i64| Instant(day(n).0 + 43200 * NS);
    let world = World { off: vec![(noon(5), noon(15)), (noon(20), Instant(noon(20).0 + 3600 * NS))], ..STEADY };
    let begun = live(&job, FROM, day(30), &world);
    assert_eq!(begun.len(), 30 - 10 + 1);
    let missed: Vec<_> = begun.iter().filter(|(_, run)| run.why == Why::Missed).collect();
    assert_eq!((missed.len(), missed[0].0), (1, noon(15)));
}

#[test]
fn a_run_that_is_due_while_the_job_runs_is_run_once_after_it() {
    let job = job("hourly", "UTC");
    // The first run takes 3 h 20 min.
    let takes = |n: usize| Duration::from_secs(if n == 0 { 12_000 } else { 7 });
    let world = World { run: &|n| (takes(n), true), off: Vec::new() };
    let begun = live(&job, FROM, seconds(FROM.0 / NS + 6 * 3600), &world);
    let at: Vec<_> = begun.iter().map(|(at, run)| ((at.0 - FROM.0) / NS, run.why)).collect();
    let plain = Why::Scheduled;
    assert_eq!(at, [(0, plain), (12_000, Why::Overrun), (14_400, plain), (18_000, plain)]);
}

#[test]
fn failures_are_tried_again_with_growing_pauses_and_then_the_schedule_counts() {
    let retries = Retries { count: 3, after: Duration::from_secs(300) };
    let job = Job { retries, ..job("every 6h", "UTC") };
    let world = World { run: &|_| (Duration::from_secs(10), false), off: Vec::new() };
    let begun = live(&job, FROM, seconds(FROM.0 / NS + 7 * 3600), &world);
    let at: Vec<_> = begun.iter().map(|(at, run)| ((at.0 - FROM.0) / NS, run.why)).collect();
    let again = [(310, Why::Retry(2)), (920, Why::Retry(3)), (2130, Why::Retry(4))];
    let (first, second) = ([(0, Why::Scheduled)], [(21600, Why::Scheduled)]);
    let second_again = again.iter().map(|(at, why)| (at + 21600, *why)).collect::<Vec<_>>();
    assert_eq!(at, [&first[..], &again[..], &second[..], &second_again[..]].concat());

    // One that comes right is followed by the schedule only; an attempt waits for a window too.
    let dark = Job { blackout: blackout(&["00:01-02:00"]), ..job };
    let world = World { run: &|n| (Duration::from_secs(10), n > 0), off: Vec::new() };
    let begun = live(&dark, FROM, seconds(FROM.0 / NS + 7 * 3600), &world);
    let at: Vec<_> = begun.iter().map(|(at, run)| ((at.0 - FROM.0) / NS, run.why)).collect();
    assert_eq!(at, [(0, Why::Scheduled), (7200, Why::Retry(2)), (21600, Why::Scheduled)]);
}

#[test]
fn a_clock_that_is_set_back_doubles_nothing_and_one_that_was_wrong_stops_nothing() {
    let job = job("hourly", "UTC");
    let mut planner = Planner::default();
    planner.put(job.clone(), None, Instant(FROM.0 - 1));
    assert!(planner.begin(&job.name, FROM).unwrap());
    planner.end(&job.name, FROM, true).unwrap();
    assert_eq!(planner.due(Instant(FROM.0 - 600 * NS)), []);
    assert_eq!(planner.wake(Instant(FROM.0 - 600 * NS)), Some(Instant(FROM.0 + 3600 * NS)));
    // It had shown a time ten years ahead.
    let past = Instant(FROM.0 - 10 * 365 * 86400 * NS);
    assert_eq!(planner.wake(past), Some(Instant(past.0 + 3600 * NS)));
    let kept = *planner.state(&job.name).unwrap();
    planner.put(job.clone(), Some(kept), past);
    assert!(planner.begin(&job.name, past).unwrap());
    assert_eq!(planner.state(&job.name).unwrap().covered, past);
}

#[test]
fn what_an_earlier_process_left_running_has_failed() {
    let retries = Retries { count: 1, after: Duration::from_secs(60) };
    let job = Job { retries, ..job("daily", "UTC") };
    let kept = State { running: Some(FROM), ..State::new(FROM) };
    let (mut planner, now) = (Planner::default(), Instant(FROM.0 + 1000 * NS));
    planner.put(job.clone(), Some(kept), now);
    let run = planner.coming(now).remove(0);
    assert_eq!((run.why, run.start), (Why::Retry(2), Instant(now.0 + 60 * NS)));
    // Another schedule does not make up for times that it never had.
    planner.put(Job { schedule: "every 1m".parse().unwrap(), ..job.clone() }, None, now);
    assert_eq!(planner.due(now), []);
    planner.remove(&job.name);
    assert!(planner.begin(&job.name, now).unwrap_err().to_string().contains("there is no job \"test daily\""));
}

fn some_schedule() -> impl Strategy<Value = String> {
    let time = (0..24u32, 0..60u32).prop_map(|(h, m)| format!("{h:02}:{m:02}"));
    let day = prop::sample::select(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"]);
    let field = |max: u32| {
        prop_oneof![
            Just("*".to_owned()),
            (0..max).prop_map(|n| n.to_string()),
            (2..9u32).prop_map(|n| format!("*/{n}"))
        ]
    };
    prop_oneof![
        Just("hourly".to_owned()),
        time.clone().prop_map(|t| format!("daily {t}")),
        (day.clone(), day.clone(), time.clone()).prop_map(|(a, b, t)| format!("{a}..{b} {t}")),
        (day.clone(), time.clone()).prop_map(|(d, t)| format!("last {d} monthly {t}")),
        (1..2000u32).prop_map(|n| format!("every {n}m")),
        (field(60), field(24), day).prop_map(|(m, h, d)| format!("{m} {h} * * {d}")),
    ]
}

fn some_zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Europe/Berlin",
        "America/New_York",
        "UTC",
        "Australia/Lord_Howe",
        "Asia/Beirut",
        "Pacific/Apia",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_next_run_is_after_and_there_is_none_between(
        text in some_schedule(), zone in some_zone(), at in FROM.0..TO.0, part in 0..1000i64,
    ) {
        let job = job(&text, zone);
        let next = job.schedule.next_after(Instant(at), &job.zone).unwrap();
        prop_assert!(next.0 > at);
        let between = Instant(at + (next.0 - at - 1) / 1000 * part);
        prop_assert_eq!(job.schedule.next_after(between, &job.zone), Some(next));
        prop_assert_eq!(text.parse::<bygone::schedule::model::Schedule>().unwrap().to_string().parse(), Ok(job.schedule));
    }

    #[test]
    fn a_window_is_left_at_its_end_and_never_entered(
        windows in prop::collection::vec((0..24u32, 0..60u32, 1..20u32), 1..3), zone in some_zone(), at in FROM.0..TO.0,
    ) {
        let text = |(h, m, long): &(u32, u32, u32)| format!("{h:02}:{m:02}-{:02}:{m:02}", (h + long) % 24);
        let windows = windows.iter().map(|w| Window::parse(&text(w)).unwrap()).collect();
        if let Ok(blackout) = Blackout::new(windows) {
            let zone = Zone::named(zone).unwrap();
            let (free, waited) = blackout.settle(Instant(at), &zone).unwrap();
            prop_assert!(free.0 >= at && (free.0 > at) == waited.is_some());
            prop_assert_eq!(blackout.settle(free, &zone), Some((free, None)));
            if waited.is_some() {
                prop_assert!(blackout.settle(Instant(free.0 - 1), &zone).unwrap().1.is_some());
            }
        }
    }

    /// Whatever happens: each time of the schedule has one run, at the first instant at which it may begin; no more runs.
    #[test]
    fn nothing_is_doubled_or_lost_on_an_unsteady_machine(
        text in some_schedule(), zone in some_zone(), start in FROM.0..TO.0, jitter in 0..900u64,
        off in prop::collection::vec((1..200_000i64, 1..200_000i64), 0..6),
        takes in prop::collection::vec(1..20_000u64, 1..8),
        dark in prop::sample::select(vec![vec![], vec!["22:00-06:00"], vec!["mon..fri 08:00-18:00", "sun"]]),
    ) {
        let job = Job { jitter: Duration::from_secs(jitter), blackout: blackout(&dark), ..job(&text, zone) };
        let (from, to) = (Instant(start), Instant(start + 20 * 86400 * NS));
        let mut at = from.0;
        let off: Vec<_> = off.iter().map(|(after, long)| {
            let since = at + after * NS;
            at = since + long * NS;
            (Instant(since), Instant(at))
        }).collect();
        let world = World { off, run: &|n| (Duration::from_secs(takes[n % takes.len()]), true) };
        let begun = live(&job, from, to, &world);
        let mut before = Instant(from.0 - 1);
        let mut ended = from;
        for (n, (at, run)) in begun.iter().enumerate() {
            let first = job.schedule.next_after(before, &job.zone).unwrap();
            prop_assert_eq!(run.scheduled, first, "a run covers what came after the run before");
            prop_assert!(first <= *at, "no run without a time of its own");
            prop_assert_eq!(job.blackout.settle(*at, &job.zone).unwrap().1, None, "none in the dark");
            prop_assert!(*at >= ended, "no overlap");
            before = *at;
            ended = Instant(at.0 + i64::try_from(takes[n % takes.len()]).unwrap() * NS);
        }
        let left = job.schedule.next_after(before, &job.zone).unwrap();
        let may = job.blackout.settle(left.max(ended), &job.zone).unwrap().0;
        let slack = Duration::from_secs(jitter + 200_000 + 3 * 86400);
        prop_assert!(may.0 + i64::try_from(slack.as_nanos()).unwrap() > to.0, "nothing is left behind: {:?}", left);
    }
}
