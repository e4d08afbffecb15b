use crate::config::watched::Health;
use crate::observe::{
    facts::{
        DrillFacts, Facts, JobFacts, NotProduced, RecoveryFacts, ServiceFacts, SourceFacts, Spool, Stored, TaskFacts,
        Undelivered, Watched,
    },
    health::{Level, Sort, findings, summary},
};
use crate::repo::audit::found::Found;
use crate::repo::verified::Verification;
use crate::types::when::zone::Zone;

const HOUR: i64 = 3_600_000_000_000;
const NOW: i64 = 20_000 * 24 * HOUR;

/// All is well.
fn well() -> Facts {
    let source = SourceFacts {
        host: "h".into(),
        path: "/a".into(),
        configured: true,
        seen_ns: Some(NOW - HOUR),
        watched: Watched::Watched,
        ..SourceFacts::default()
    };
    let task = TaskFacts { name: "watch /a".into(), running: true, ..TaskFacts::default() };
    Facts {
        at_ns: NOW,
        repository: "/repo".into(),
        stored: Some(Stored::default()),
        spool: Some(Spool { limit_bytes: 1000, ..Spool::default() }),
        sources: vec![source],
        verified: vec![Verification { at_ns: NOW - HOUR, ..Verification::default() }],
        jobs: vec![JobFacts { name: "check".into(), overdue_ns: Some(NOW + HOUR), ..JobFacts::default() }],
        service: Some(ServiceFacts { since_ns: NOW - HOUR, tasks: vec![task], ..ServiceFacts::default() }),
        ..Facts::default()
    }
}

/// What is found after a change.
fn drill(failed: Option<(i64, String)>, due_ns: i64) -> DrillFacts {
    DrillFacts { plan: "p".into(), failed, due_ns: Some(due_ns), ..DrillFacts::default() }
}

fn recovery(working: bool, held_until_ns: Option<i64>) -> RecoveryFacts {
    RecoveryFacts { path: "/d".into(), working, held_until_ns, ..RecoveryFacts::default() }
}

fn found(change: impl FnOnce(&mut Facts)) -> Vec<(String, Level, Sort)> {
    let mut facts = well();
    change(&mut facts);
    let found = findings(&facts, &Health::default());
    assert!(found.iter().all(|f| !f.why.is_empty() && !f.to_do.is_empty() && !f.about.is_empty()), "{found:?}");
    found.into_iter().map(|f| (f.key, f.level, f.sort)).collect()
}

fn service(facts: &mut Facts) -> &mut ServiceFacts {
    facts.service.as_mut().unwrap()
}

#[test]
fn each_thing_that_is_wrong_is_found_by_itself() {
    use Level::{Degraded, Failing};
    use Sort::{Failure, Overdue};
    type Change = fn(&mut Facts);
    let table: [(&str, Level, Sort, Change); 32] = [
        ("no service", Degraded, Failure, |f| f.service = None),
        ("store", Failing, Failure, |f| f.trouble = Some("away".into())),
        ("source /a age", Failing, Overdue, |f| f.sources[0].seen_ns = Some(NOW - 27 * HOUR)),
        ("source /a age", Failing, Overdue, |f| f.sources[0].objective_s = Some(1800)),
        ("source /a gone", Failing, Failure, |f| f.sources[0].root_gone = true),
        ("source /a forked", Degraded, Failure, |f| f.sources[0].goes_on_as = Some("h~1".into())),
        ("source /a archive", Failing, Failure, |f| f.sources[0].not_archived = Some("no".into())),
        ("source /a produce", Failing, Failure, |f| {
            (f.sources[0].is_produced, f.sources[0].not_produced) = (true, Some(NotProduced::default()));
            f.sources[0].not_produced.as_mut().unwrap().first = "x: no".into();
        }),
        ("source /a hook", Failing, Failure, |f| {
            let first = "the hook after: no".to_owned();
            f.sources[0].failed_hooks = Some(NotProduced { at_ns: NOW, parts: 1, first });
        }),
        ("source /a invariant", Failing, Failure, |f| {
            let first = "the invariant orders: no".to_owned();
            f.sources[0].unmeasured = Some(NotProduced { at_ns: NOW, parts: 1, first });
        }),
        ("store away", Degraded, Failure, |f| f.spool.as_mut().unwrap().away = Some((NOW - HOUR, "no".into()))),
        ("spool error", Degraded, Failure, |f| {
            (f.spool.as_mut().unwrap().objects, f.spool.as_mut().unwrap().error) = (1, Some((NOW, "no".into())));
        }),
        ("source /a unread", Degraded, Failure, |f| f.sources[0].unreadable = 2),
        ("source /a unwatched", Degraded, Failure, |f| f.sources[0].watched = Watched::Nobody),
        ("source /a lost", Failing, Failure, |f| f.sources[0].lost = 1),
        ("drill p failed", Failing, Failure, |f| f.drills.push(drill(Some((NOW, "no".into())), NOW + HOUR))),
        ("drill p overdue", Degraded, Overdue, |f| f.drills.push(drill(None, NOW - 1))),
        ("recover /d left", Degraded, Failure, |f| f.recoveries.push(recovery(false, Some(NOW + HOUR)))),
        ("recover /d not held", Degraded, Failure, |f| f.recoveries.push(recovery(true, None))),
        ("job check failed", Failing, Failure, |f| f.jobs[0].last_error = Some("no".into())),
        ("job check late", Failing, Overdue, |f| f.jobs[0].overdue_ns = Some(NOW - 1)),
        ("spool full", Failing, Failure, |f| f.spool.as_mut().unwrap().bytes = 950),
        ("spool old", Degraded, Overdue, |f| f.spool.as_mut().unwrap().since_ns = Some(NOW - 2 * HOUR)),
        ("packs", Failing, Failure, |f| f.stored.as_mut().unwrap().lost_packs.push("x".into())),
        ("holds", Degraded, Failure, |f| f.stored.as_mut().unwrap().holds_trouble = Some("no".into())),
        ("collection", Degraded, Overdue, |f| f.stored.as_mut().unwrap().awaited_since_ns = Some(NOW - 200 * HOUR)),
        ("verify problems", Failing, Failure, |f| f.verified[0].problems = 1),
        ("audit", Failing, Failure, |f| {
            f.trail_found = Some(Found { at_ns: NOW, problems: 1, first: "audit/x: it is missing".into() });
        }),
        ("verify age", Degraded, Overdue, |f| f.verified[0].at_ns = NOW - 36 * 24 * HOUR),
        ("settings", Degraded, Failure, |f| service(f).refused = Some("no".into())),
        ("paused", Degraded, Failure, |f| service(f).paused_ns = Some(NOW)),
        ("notify x", Degraded, Failure, |f| {
            let why = Some("no".to_owned());
            service(f).undelivered.push(Undelivered { channel: "x".into(), waiting: 1, why });
        }),
    ];
    assert_eq!(found(|_| {}), []);
    for (key, level, sort, change) in table {
        assert_eq!(found(change), [(key.to_owned(), level, sort)]);
    }
}

#[test]
fn one_cause_is_one_finding_and_what_is_not_due_is_none() {
    let one = found(|f| {
        let task = &mut service(f).tasks[0];
        (task.running, task.last_error) = (false, Some("no".into()));
        f.sources[0].watched = Watched::Nobody;
    });
    assert_eq!(one.into_iter().map(|(key, ..)| key).collect::<Vec<_>>(), ["task watch /a"]);
    let away = found(|f| {
        f.trouble = Some("away".into());
        f.spool.as_mut().unwrap().away = Some((NOW - HOUR, "away".into()));
    });
    assert_eq!(away.into_iter().map(|(key, ..)| key).collect::<Vec<_>>(), ["store"]);
    let never = |f: &mut Facts| f.sources[0].seen_ns = None;
    assert_eq!(found(never), [], "the service has just begun");
    let old = found(|f| {
        never(f);
        service(f).since_ns = NOW - 48 * HOUR;
    });
    assert_eq!(old.len(), 1);
    assert_eq!(found(|f| f.sources[0].configured = false).len(), 0);
    assert_eq!(found(|f| (f.sources[0].configured, f.sources[0].seen_ns) = (false, None)), []);
    assert_eq!(found(|f| f.verified.clear()), [], "nothing is asked of what is new");
    // A clock that was set back.
    assert_eq!(found(|f| f.sources[0].seen_ns = Some(i64::MAX)), []);
}

#[test]
fn the_summary_is_one_line_with_the_worst() {
    let mut facts = well();
    facts.sources[0].unreadable = 1;
    facts.jobs[0].last_error = Some("no".into());
    let line = |facts: &Facts| summary(facts, &findings(facts, &Health::default()), &Zone::utc());
    assert_eq!(line(&facts), "bygone FAILING - job check: it failed: no; 1 more");
    // A pause that ends is no finding, and is told all the same.
    (service(&mut facts).paused_ns, service(&mut facts).paused_until_ns) = (Some(NOW), Some(NOW + HOUR));
    let until = "paused until 2024-10-04 01:00:00 +00:00";
    assert_eq!(line(&facts), format!("bygone FAILING - job check: it failed: no; 1 more; {until}"));
    facts = Facts { service: facts.service, ..well() };
    assert_eq!(line(&facts), format!("bygone OK - 1 source(s), 1 job(s), {until}"));
}

#[test]
fn what_a_job_could_not_produce_is_told_by_its_source() {
    let failed = |f: &mut Facts| {
        f.jobs[0] = JobFacts {
            name: "produce /a".into(),
            run: "produce".into(),
            source: Some("/a".into()),
            ..f.jobs[0].clone()
        };
        f.jobs[0].last_error = Some("no".into());
    };
    assert_eq!(found(failed).len(), 1, "its source is not in the settings any more");
    let keys = |not_produced: Option<NotProduced>| {
        let told = found(|f| {
            failed(f);
            (f.sources[0].is_produced, f.sources[0].not_produced) = (true, not_produced);
        });
        told.into_iter().map(|(key, ..)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys(Some(NotProduced { parts: 2, ..NotProduced::default() })), ["source /a produce"]);
    assert_eq!(keys(None), [""; 0], "somebody has produced it since");
}
