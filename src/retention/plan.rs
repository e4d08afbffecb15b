//! Which snapshots of a source are kept, and by what. Pure.

use std::fmt;

use super::policy::{Policy, Rule};
use crate::types::hold::{Hold, Shown};
use crate::types::{
    ids::Snap,
    snapshot::Source,
    time::Instant,
    when::{window::Window, zone::Zone},
};

/// How far, in nanoseconds, a clock may be put back between two plans without a promise being broken: one hour.
pub const SLACK_NS: i64 = 3600 * 1_000_000_000;

/// A snapshot as far as retention goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    /// Its time.
    pub time: Instant,
    /// Its number; ordered as the times.
    pub number: Snap,
}

/// Why a snapshot is kept.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// It is the newest of its source.
    Newest,
    /// The source has no rule, and everything is kept.
    NoRule,
    /// An instant that a lock protects shows it.
    Lock,
    /// A rule asks for an instant that shows it.
    Rule(Rule),
    /// A legal hold touches it: the id of the case.
    Hold(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Newest => f.write_str("newest"),
            Reason::NoRule => f.write_str("no rule"),
            Reason::Lock => f.write_str("lock"),
            Reason::Rule(rule) => f.write_str(rule.word()),
            Reason::Hold(id) => write!(f, "hold {id}"),
        }
    }
}

/// A snapshot and what keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The snapshot.
    pub moment: Moment,
    /// All that keeps it, in order; nothing where it is released.
    pub kept_by: Vec<Reason>,
}

impl Verdict {
    /// Whether it is kept.
    pub fn is_kept(&self) -> bool {
        !self.kept_by.is_empty()
    }
}

/// What a plan is made by.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The source.
    pub source: &'a Source,
    /// Its policy.
    pub policy: &'a Policy,
    /// The zone of the calendar.
    pub zone: &'a Zone,
    /// The time now.
    pub now: Instant,
    /// All legal holds; those that are over are left out.
    pub holds: &'a [Hold],
}

impl Terms<'_> {
    /// The first instant of a window: [`SLACK_NS`] earlier than the clock says.
    pub fn since(&self, window: Window) -> Instant {
        window.since(self.slack(), self.zone)
    }

    fn slack(&self) -> Instant {
        Instant(self.now.0.saturating_sub(SLACK_NS))
    }

    /// The rules that are in force, each with the first instant that it asks for.
    fn asked(&self) -> Vec<(Rule, Instant)> {
        let rules = self.policy.rules.iter();
        rules.map(|(rule, window)| (*rule, rule.asks_from(self.since(*window), self.zone))).collect()
    }
}

/// What is kept of these snapshots of one source, and what is released: a verdict for each, in the order of time. What is promised is
/// in the documentation of the room.
pub fn plan(terms: &Terms<'_>, snapshots: &[Moment]) -> Vec<Verdict> {
    let mut moments = snapshots.to_vec();
    moments.sort_unstable();
    let asked = terms.asked();
    let locked = terms.policy.all_locks().map(|window| terms.since(window)).min();
    let holds: Vec<&Hold> = terms.holds.iter().filter(|hold| hold.is_in_force(terms.slack())).collect();
    let verdict = |n: usize, moment: &Moment| {
        let next = moments.get(n + 1).map(|next| next.time);
        let mut kept_by = Vec::new();
        if next.is_none() {
            kept_by.push(Reason::Newest);
        }
        if terms.policy.keeps_everything() {
            kept_by.push(Reason::NoRule);
        }
        if locked.is_some_and(|since| stands_for(Rule::Every, since, moment.time, next, terms.zone)) {
            kept_by.push(Reason::Lock);
        }
        let rules = asked.iter().filter(|(rule, from)| stands_for(*rule, *from, moment.time, next, terms.zone));
        kept_by.extend(rules.map(|(rule, _)| Reason::Rule(*rule)));
        let shown = Shown { from: moment.time, next };
        let touching = holds.iter().filter(|hold| hold.touches(shown, terms.source));
        kept_by.extend(touching.map(|hold| Reason::Hold(hold.id.clone())));
        Verdict { moment: *moment, kept_by }
    };
    moments.iter().enumerate().map(|(n, moment)| verdict(n, moment)).collect()
}

/// Whether a snapshot is what shows at one of the instants that a rule asks for from `from` on.
fn stands_for(rule: Rule, from: Instant, time: Instant, next: Option<Instant>, zone: &Zone) -> bool {
    let Some(next) = next else { return true };
    // The cheap question first: the calendar is asked only inside the window.
    next > from && {
        let last = rule.last_before(next, zone);
        last >= time && last >= from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        ids::{Id, SourceNum},
        when::human::parse_time,
    };

    fn source() -> Source {
        Source { id: Id([1; 16]), num: SourceNum(1), host: "host".into(), root: b"/srv".to_vec() }
    }

    /// The plan of snapshots at these times, as `time: reasons`.
    fn shown(rules: &[(Rule, &str)], lock: &[&str], holds: &[Hold], now: &str, times: &[&str]) -> Vec<String> {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let at = |text: &str| parse_time(text, Instant(0), &zone).unwrap().instant;
        let policy = Policy {
            rules: rules.iter().map(|(rule, window)| (*rule, window.parse().unwrap())).collect(),
            locks: lock.iter().map(|window| window.parse().unwrap()).collect(),
            ..Policy::default()
        };
        let moments: Vec<Moment> =
            times.iter().enumerate().map(|(n, t)| Moment { time: at(t), number: Snap(n as u64 + 1) }).collect();
        let source = source();
        let terms = Terms { source: &source, policy: &policy, zone: &zone, now: at(now), holds };
        let plan = plan(&terms, &moments);
        let reasons = |v: &Verdict| v.kept_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        plan.iter().zip(times).map(|(v, time)| format!("{time}: {}", reasons(v))).collect()
    }

    const TIMES: [&str; 8] = [
        "2024-12-31T23:00",
        "2025-03-28T10:00",
        "2025-03-29T10:00",
        "2025-03-29T22:00",
        "2025-03-30T01:30",
        "2025-03-31T09:10",
        "2025-03-31T09:50",
        "2025-03-31T10:05",
    ];

    #[test]
    fn the_last_of_a_period_stands_for_it() {
        let plan = shown(&[(Rule::Daily, "2d"), (Rule::Yearly, "forever")], &[], &[], "2025-03-31T12:00", &TIMES);
        assert_eq!(
            plan,
            [
                "2024-12-31T23:00: yearly",
                // The end of the day before the window: each instant of the window has a promised one before it.
                "2025-03-28T10:00: daily",
                "2025-03-29T10:00: ",
                "2025-03-29T22:00: daily",
                "2025-03-30T01:30: daily",
                "2025-03-31T09:10: ",
                "2025-03-31T09:50: ",
                "2025-03-31T10:05: newest, daily, yearly",
            ]
        );
    }

    #[test]
    fn every_snapshot_that_an_instant_of_the_window_shows() {
        // Two hours and the hour by which a clock may be put back.
        let plan = shown(&[(Rule::Every, "2h"), (Rule::Hourly, "3h")], &[], &[], "2025-03-31T12:55", &TIMES);
        let kept: Vec<&str> = plan.iter().filter(|line| !line.ends_with(": ")).map(String::as_str).collect();
        assert_eq!(
            kept,
            [
                // What the end of the hour before the window shows.
                "2025-03-30T01:30: hourly",
                "2025-03-31T09:50: every, hourly",
                "2025-03-31T10:05: newest, every, hourly"
            ]
        );
        let plan = shown(&[(Rule::Every, "1h")], &[], &[], "2025-03-31T12:55", &TIMES);
        assert_eq!(plan.iter().filter(|line| !line.ends_with(": ")).count(), 1, "{plan:?}");
    }

    #[test]
    fn without_a_rule_everything_is_kept_and_a_lock_goes_before_rules() {
        for line in shown(&[], &["1d"], &[], "2025-03-31T12:00", &TIMES) {
            assert!(line.contains("no rule"), "{line}");
        }
        let plan = shown(&[(Rule::Yearly, "1y")], &["12h", "1d"], &[], "2025-03-31T12:00", &TIMES);
        let locked = plan.iter().filter(|line| line.contains("lock")).count();
        assert_eq!(locked, 5, "what the beginning of 30 March shows, and all after it: {plan:?}");
    }

    #[test]
    fn a_hold_is_named() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let at = |text: &str| Some(parse_time(text, Instant(0), &zone).unwrap().instant);
        let mut hold = Hold {
            id: "case-7".into(),
            owner: "legal".into(),
            reason: "a claim".into(),
            scope: crate::types::hold::Scope {
                from: at("2025-03-29T12:00"),
                to: at("2025-03-29T22:30"),
                ..Default::default()
            },
            until: at("2025-04-01"),
        };
        let rules = [(Rule::Every, "1m")];
        let plan = shown(&rules, &[], std::slice::from_ref(&hold), "2025-03-31T12:00", &TIMES);
        assert_eq!(
            plan[2..5],
            ["2025-03-29T10:00: hold case-7", "2025-03-29T22:00: hold case-7", "2025-03-30T01:30: "]
        );
        hold.until = at("2025-03-30");
        let plan = shown(&rules, &[], &[hold], "2025-03-31T12:00", &TIMES);
        assert!(plan.iter().all(|line| !line.contains("hold")), "{plan:?}");
    }

    #[test]
    fn no_snapshot_and_the_ends_of_time() {
        let (source, zone) = (source(), Zone::utc());
        let rules = Rule::ALL.into_iter().map(|rule| (rule, "1y".parse().unwrap())).collect();
        let policy = Policy { rules, ..Policy::default() };
        for now in [i64::MIN, 0, i64::MAX] {
            let terms = Terms { source: &source, policy: &policy, zone: &zone, now: Instant(now), holds: &[] };
            assert!(plan(&terms, &[]).is_empty());
            let moments = [i64::MIN, 0, i64::MAX].map(|t| Moment { time: Instant(t), number: Snap(1) });
            assert!(plan(&terms, &moments)[2].is_kept());
        }
    }
}
