//! What is promised, against a history of which nothing was ever released.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::plan::{Moment, SLACK_NS, Terms, plan};
use super::policy::{Policy, Rule};
use crate::types::{
    ids::{Id, Snap, SourceNum},
    snapshot::Source,
    time::Instant,
    when::{
        name::{Moving, Name, Unit, parse_name},
        show,
        window::Window,
        zone::Zone,
    },
};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The first and the last instant of a period by its name, which is another way than that of the plan.
fn named(name: &str, zone: &Zone) -> (i64, i64) {
    match parse_name(name, zone) {
        Some(Name::Period { start, end, .. }) => (start.0, end.0),
        other => panic!("{name}: {other:?}"),
    }
}

/// The period of a rule that the clock on the wall is in at `t`.
fn period(rule: Rule, t: i64, zone: &Zone) -> (i64, i64) {
    let shown = show::show(Instant(t), zone).replacen(' ', "T", 1);
    match rule {
        Rule::Every => (t, t),
        Rule::Hourly => named(&shown[..13], zone),
        Rule::Daily => named(&shown[..10], zone),
        Rule::Monthly => named(&shown[..7], zone),
        Rule::Yearly => named(&shown[..4], zone),
        Rule::Weekly => {
            // Midday is far from every change of the clock; 1970 began on a Thursday.
            let midday = |t: i64| named(&format!("{}T12Z", show::day(Instant(t), zone)), zone).0;
            let day = midday(t).div_euclid(DAY);
            let monday = day - (day + 3).rem_euclid(7);
            let name = |day: i64| show::day(Instant(day * DAY + DAY / 2), &Zone::utc());
            (named(&name(monday), zone).0, named(&name(monday + 6), zone).1)
        }
    }
}

/// The first instant of a window as it is promised, by the names of time: never later than what the plan takes.
fn promised_since(window: Window, now: i64, zone: &Zone) -> i64 {
    match window {
        Window::Forever => i64::MIN,
        Window::Last(count, unit) => {
            let ago = Moving::Ago(count, unit).resolve(Instant(now), zone).unwrap();
            match unit {
                Unit::Second | Unit::Minute | Unit::Hour => ago.0,
                _ => period(Rule::Daily, ago.0, zone).0.min(ago.0),
            }
        }
    }
}

fn at(history: &BTreeSet<Moment>, t: i64) -> Option<Moment> {
    history.range(..=Moment { time: Instant(t), number: Snap(u64::MAX) }).next_back().copied()
}

/// A history of which nothing was ever released, and what the plans have left of it.
struct World {
    zone: Zone,
    policy: Policy,
    source: Source,
    all: BTreeSet<Moment>,
    kept: BTreeSet<Moment>,
    clock: i64,
    /// The latest now of a plan that was acted on.
    acted: i64,
    released: usize,
}

impl World {
    fn new(zone: &str, rules: &[(Rule, Window)], lock: Option<Window>) -> World {
        World {
            zone: Zone::named(zone).unwrap(),
            policy: Policy { rules: rules.to_vec(), locks: lock.into_iter().collect(), ..Policy::default() },
            source: Source { id: Id([1; 16]), num: SourceNum(1), host: "host".into(), root: b"/srv".to_vec() },
            all: BTreeSet::new(),
            kept: BTreeSet::new(),
            // 2025-09-01, shortly before a change of the clock in most places.
            clock: 1_756_684_800 * SECOND,
            acted: i64::MIN,
            released: 0,
        }
    }

    fn capture(&mut self) {
        let before = self.all.last().map_or(i64::MIN, |m| m.time.0);
        let moment = Moment { time: Instant(self.clock.max(before + 1)), number: Snap(self.all.len() as u64 + 1) };
        self.all.insert(moment);
        self.kept.insert(moment);
    }

    fn run(&mut self, now: i64) {
        let terms =
            Terms { source: &self.source, policy: &self.policy, zone: &self.zone, now: Instant(now), holds: &[] };
        let moments: Vec<Moment> = self.kept.iter().copied().collect();
        let verdicts = plan(&terms, &moments);
        let left: Vec<Moment> = verdicts.iter().filter(|v| v.is_kept()).map(|v| v.moment).collect();
        self.released += moments.len() - left.len();
        assert!(plan(&terms, &left).iter().all(|v| v.is_kept()), "a plan of what a plan has left leaves all of it");
        self.kept = left.into_iter().collect();
        self.acted = self.acted.max(now);
    }

    /// Everything that is promised at `now`.
    fn check(&self, now: i64) {
        assert_eq!(self.kept.last(), self.all.last(), "the newest is kept");
        if self.policy.keeps_everything() {
            assert_eq!(self.kept, self.all);
        }
        for (rule, window) in &self.policy.rules {
            self.check_rule(*rule, promised_since(*window, now, &self.zone), now);
        }
        for window in &self.policy.locks {
            self.check_rule(Rule::Every, promised_since(*window, now, &self.zone), now);
        }
    }

    fn check_rule(&self, rule: Rule, since: i64, now: i64) {
        let times = self.all.iter().map(|m| m.time.0).filter(|t| *t >= since.saturating_sub(400 * DAY));
        let mut instants: Vec<i64> = times.flat_map(|t| [t - 1, t, t + 1, t + 1800 * SECOND]).collect();
        instants.extend([since, since.saturating_add(1), now]);
        for t in instants.into_iter().filter(|t| *t >= since && *t <= now && *t > 0) {
            let (start, end) = period(rule, t, &self.zone);
            let zone = self.zone.name();
            let shown = || format!("{} {} in {zone}", rule.word(), show::show(Instant(t), &self.zone));
            assert_eq!(at(&self.kept, end), at(&self.all, end), "the end of the period of {}", shown());
            if start <= t && start > 0 {
                let ended = if rule == Rule::Every { t } else { start - 1 };
                assert_eq!(at(&self.kept, ended), at(&self.all, ended), "the end of the period before {}", shown());
                assert!(at(&self.kept, t) >= at(&self.all, ended), "no older than a step: {}", shown());
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Time goes by.
    Wait(i64),
    Capture,
    /// A plan is acted on, with a clock that is so far behind.
    Run(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let waits = prop_oneof![
        (1i64..4000).prop_map(|s| s * SECOND),
        (1i64..100).prop_map(|n| n * 1800 * SECOND),
        (1i64..40).prop_map(|n| n * DAY / 2),
    ];
    let step = prop_oneof![
        4 => waits.prop_map(Step::Wait),
        5 => Just(Step::Capture),
        2 => (0..=SLACK_NS).prop_map(Step::Run),
    ];
    proptest::collection::vec(step, 1..120)
}

fn window() -> impl Strategy<Value = Window> {
    let units =
        [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year].map(Just).to_vec();
    prop_oneof![
        8 => (1u32..50, proptest::strategy::Union::new(units)).prop_map(|(count, unit)| Window::Last(count, unit)),
        1 => Just(Window::Forever),
    ]
}

fn rules() -> impl Strategy<Value = Vec<(Rule, Window)>> {
    proptest::collection::vec(proptest::option::weighted(0.4, window()), 6).prop_map(|windows| {
        Rule::ALL.into_iter().zip(windows).filter_map(|(rule, window)| Some((rule, window?))).collect()
    })
}

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_holds_after_any_runs(
        zone in 0usize..6, rules in rules(), lock in proptest::option::weighted(0.2, window()), steps in steps(), back in 0..=SLACK_NS,
    ) {
        let mut world = World::new(ZONES[zone], &rules, lock);
        for step in steps {
            match step {
                Step::Wait(ns) => world.clock += ns,
                Step::Capture => world.capture(),
                Step::Run(back) => {
                    // Behind the latest run by as much as is promised to be survived.
                    world.run((world.clock - back).max(world.acted.saturating_sub(SLACK_NS)));
                    world.check(world.clock);
                    world.check(world.acted - SLACK_NS);
                }
            }
        }
        if world.acted > i64::MIN {
            world.check((world.clock - back).max(world.acted - SLACK_NS));
        }
    }
}

#[test]
fn a_year_of_one_snapshot_every_ten_minutes_becomes_a_few() {
    let window = |text: &str| text.parse::<Window>().unwrap();
    let rules = [
        (Rule::Every, window("48h")),
        (Rule::Hourly, window("14d")),
        (Rule::Daily, window("90d")),
        (Rule::Weekly, window("1y")),
    ];
    let mut world = World::new("Europe/Berlin", &rules, None);
    for n in 0..365 * 144 {
        world.clock += 600 * SECOND;
        world.capture();
        if n % (144 * 5) == 0 {
            world.run(world.clock);
        }
    }
    world.run(world.clock);
    let kept = world.kept.len();
    // 295 in 49 hours, 24 a day for 12 days more, a day for 76 days more, a week for the rest.
    assert!((680..=730).contains(&kept), "{kept} are kept of {}", world.all.len());
    assert_eq!(kept + world.released, world.all.len());
}
