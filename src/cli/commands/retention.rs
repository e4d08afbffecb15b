//! `bygone retention show` and `simulate`.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::args::retention::{Retention, Show, Simulate};
use crate::cli::context::Context;
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{Past, clean, json_bytes, json_time};
use crate::cli::sizes::show_size;
use crate::cli::trail;
use crate::repo::{collect::locks, holds::force};
use crate::retention::{
    cost::{self, Bytes, Costs, Uses},
    plan::{Moment, Reason, Terms, Verdict, plan},
    policy::Policy,
};
use crate::sys::clock;
use crate::types::{
    hold::{Hold, Shown},
    ids::{Id, SourceNum},
    path,
    snapshot::Source,
    time::Instant,
    when::window::Window,
};

/// Runs one of them.
pub fn run(context: &Context, command: &Retention) -> Result<Outcome, Failure> {
    match command {
        Retention::Show(args) => show(context, args),
        Retention::Simulate(args) => simulate(context, args),
    }
}

fn show(context: &Context, args: &Show) -> Result<Outcome, Failure> {
    let past = Past::open(context)?;
    let (holds, locks, now) = (holds(&past)?, locks(&past)?, clock::now());
    let audit = trail::open(context, past.at.repo());
    let recorded = trail::note_policy(context, past.at.repo(), &audit);
    let mut out = context.out();
    for source in sources(context, &past, &args.sources)? {
        let policy = Policy::of(&context.config, &source).with_kept(locks.get(&source.id));
        let all = Shown { from: Instant(i64::MIN), next: None };
        let mut cases: Vec<&str> = holds
            .iter()
            .filter(|hold| hold.is_in_force(now) && hold.touches(all, &source))
            .map(|hold| hold.id.as_str())
            .collect();
        cases.sort_unstable();
        cases.dedup();
        match context.json {
            true => out
                .json(&json!({ "source": json_bytes(&source.root), "policy": policy_json(&policy), "holds": cases }))?,
            false => {
                out.line(path::show(&source.root))?;
                policy.words().into_iter().try_for_each(|line| out.line(format_args!("    {line}")))?;
                cases.iter().try_for_each(|case| out.line(format_args!("    held: what the case {case} touches")))?;
            }
        }
    }
    out.finish()?;
    Ok(past.outcome.and(recorded))
}

/// The sources that are meant: those with a history, and those of the settings that have none yet.
fn sources(context: &Context, past: &Past, wanted: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let known = past.sources()?;
    let mut new: Vec<Source> = context
        .config
        .sources
        .iter()
        .map(|source| source.path.as_os_str().as_bytes().to_vec())
        .filter(|root| !known.iter().any(|known| known.root == *root))
        .map(|root| Source { id: Id([0; 16]), num: SourceNum(0), host: context.config.host.clone(), root })
        .collect();
    if wanted.is_empty() {
        return Ok(known.into_iter().chain(new).collect());
    }
    let roots = wanted.iter().map(|path| clean(path)).collect::<Result<Vec<_>, _>>()?;
    new.retain(|source| roots.contains(&source.root));
    let is_known = |(_, root): &(&PathBuf, &Vec<u8>)| !new.iter().any(|new| new.root == **root);
    let rest: Vec<PathBuf> = wanted.iter().zip(&roots).filter(is_known).map(|(path, _)| path.clone()).collect();
    let mut chosen = if rest.is_empty() { Vec::new() } else { past.chosen(&rest)? };
    chosen.extend(new);
    Ok(chosen)
}

fn policy_json(policy: &Policy) -> Value {
    let rules: serde_json::Map<String, Value> =
        policy.rules.iter().map(|(rule, window)| (rule.word().to_owned(), json!(window.to_string()))).collect();
    let locks: Vec<String> = policy.locks_that_count().map(|lock| lock.to_string()).collect();
    let kept: Vec<String> = policy.kept_locks.iter().map(ToString::to_string).collect();
    json!({
        "rules": rules, "locks": locks, "locks_in_repository": kept, "without_effect": policy.without_effect(),
        "keeps_everything": policy.keeps_everything(),
    })
}

/// The plan of a source.
struct Planned {
    source: Source,
    policy: Policy,
    verdicts: Vec<Verdict>,
}

fn simulate(context: &Context, args: &Simulate) -> Result<Outcome, Failure> {
    let past = Past::open(context)?;
    let now = match &args.at {
        Some(text) => Some(past.time(text)?).filter(|time| !time.latest).map_or_else(clock::now, |time| time.instant),
        None => clock::now(),
    };
    let chosen = past.chosen(&args.sources)?;
    // What sources share costs as their policies together have it.
    let (holds, locks) = (holds(&past)?, locks(&past)?);
    let mut plans = Vec::new();
    for source in past.sources()? {
        plans.push(planned(context, &past, (source, &locks), (now, &holds))?);
    }
    let uses = Uses::new(plans.iter().map(|p| (p.source.num, &p.verdicts[..])));
    let costs = cost::costs(&past.index, &uses)?;
    let mut out = context.out();
    for p in plans.iter().filter(|p| chosen.contains(&p.source)) {
        match context.json {
            true => tell_json(p, &costs, args.all, &mut out)?,
            false => tell(&past, p, &costs, args.all, &mut out)?,
        }
    }
    match context.json {
        true => out.json(&json!({
            "kind": "sum", "now": json_time(now), "shared": bytes_json(costs.shared), "released": bytes_json(costs.released),
        }))?,
        false => {
            out.line(format_args!("kept by more than one reason: {}", bytes_text(costs.shared)))?;
            out.line(format_args!("released: {}", bytes_text(costs.released)))?;
        }
    }
    out.finish()?;
    Ok(past.outcome)
}

/// The legal holds that were not released.
fn holds(past: &Past) -> Result<Vec<Hold>, Failure> {
    force::in_force(past.at.repo(), past.at.dir()).into_failure()
}

/// The locks that the repository keeps, by source.
type Locks = HashMap<Id, Vec<Window>>;

fn locks(past: &Past) -> Result<Locks, Failure> {
    locks::locks(past.at.repo(), past.at.dir()).into_failure()
}

fn planned(
    context: &Context,
    past: &Past,
    (source, locks): (Source, &Locks),
    (now, holds): (Instant, &[Hold]),
) -> Result<Planned, Failure> {
    let policy = Policy::of(&context.config, &source).with_kept(locks.get(&source.id));
    let snapshots = past.index.snapshots(source.num, Instant(i64::MIN), Instant(i64::MAX), i64::MAX as usize)?;
    let moments: Vec<Moment> = snapshots.iter().map(|s| Moment { time: s.time, number: s.number }).collect();
    let terms = Terms { source: &source, policy: &policy, zone: &past.zone, now, holds };
    let verdicts = plan(&terms, &moments);
    Ok(Planned { source, policy, verdicts })
}

impl Planned {
    fn kept(&self) -> usize {
        self.verdicts.iter().filter(|v| v.is_kept()).count()
    }

    /// The reasons there can be, with the windows they have.
    fn reasons(&self) -> Vec<(Reason, Option<String>)> {
        let rules = self.policy.rules.iter().map(|(rule, window)| (Reason::Rule(*rule), Some(window.to_string())));
        let lock = self.policy.locks_that_count().map(|lock| lock.to_string()).collect::<Vec<_>>().join(", ");
        let no_rule = self.policy.keeps_everything().then_some((Reason::NoRule, None));
        let held: BTreeSet<&str> = self
            .verdicts
            .iter()
            .flat_map(|v| &v.kept_by)
            .filter_map(|reason| match reason {
                Reason::Hold(case) => Some(case.as_str()),
                _ => None,
            })
            .collect();
        let held = held.into_iter().map(|case| (Reason::Hold(case.to_owned()), None));
        let lock = (!lock.is_empty()).then_some((Reason::Lock, Some(lock)));
        [(Reason::Newest, None)].into_iter().chain(no_rule).chain(lock).chain(held).chain(rules).collect()
    }

    /// What no rule can do without keeps what this rule keeps too, whatever the rule says: locks and holds, and how many of its
    /// instants each keeps.
    fn anyway(&self, reason: &Reason) -> Vec<(Reason, usize)> {
        if !matches!(reason, Reason::Rule(_)) {
            return Vec::new();
        }
        let count = |other: &Reason| {
            self.verdicts.iter().filter(|v| v.kept_by.contains(reason) && v.kept_by.contains(other)).count()
        };
        let others = self.reasons().into_iter().map(|(other, _)| other);
        let others = others.filter(|other| matches!(other, Reason::Lock | Reason::Hold(_)));
        others.map(|other| (count(&other), other)).filter(|(n, _)| *n > 0).map(|(n, other)| (other, n)).collect()
    }

    /// How many instants a reason keeps, how many it alone, and what those cost.
    fn by(&self, reason: &Reason, costs: &Costs) -> (usize, usize, Bytes) {
        let kept = self.verdicts.iter().filter(|v| v.kept_by.contains(reason)).count();
        let only = self.verdicts.iter().filter(|v| v.kept_by == std::slice::from_ref(reason)).count();
        (kept, only, costs.only.get(&(self.source.num, reason.clone())).copied().unwrap_or_default())
    }
}

fn tell(past: &Past, p: &Planned, costs: &Costs, all: bool, out: &mut Out) -> Result<(), Failure> {
    let (kept, total) = (p.kept(), p.verdicts.len());
    out.line(format_args!("{}: {kept} of {total} instant(s) stay, {} go", path::show(&p.source.root), total - kept))?;
    for (reason, window) in p.reasons() {
        let (kept, only, cost) = p.by(&reason, costs);
        let named = window.map_or_else(|| reason.to_string(), |window| format!("{reason} {window}"));
        let named = if reason == Reason::Lock { named + kept_text(&p.policy) } else { named };
        let anyway: String = p.anyway(&reason).iter().map(|(other, n)| anyway_text(other, *n, kept)).collect();
        out.line(format_args!("    {named}: keeps {kept}, {only} of them alone; costs {}{anyway}", bytes_text(cost)))?;
    }
    for v in p.verdicts.iter().filter(|_| all) {
        let reasons: Vec<String> = v.kept_by.iter().map(ToString::to_string).collect();
        let what = if v.is_kept() { format!("stays: {}", reasons.join(", ")) } else { "goes".to_owned() };
        out.line(format_args!("    {}  {what}", past.show(v.moment.time)))?;
    }
    Ok(())
}

/// Where the lock is one that the repository keeps, it is said.
fn kept_text(policy: &Policy) -> &'static str {
    if policy.locks_that_count().any(|lock| policy.is_kept(lock)) { " (kept in the repository)" } else { "" }
}

/// What keeps instants of a rule too, so that the rule costs nothing for them.
fn anyway_text(other: &Reason, n: usize, kept: usize) -> String {
    let other = if *other == Reason::Lock { "the lock".to_owned() } else { format!("the {other}") };
    match n == kept {
        true => format!("; {other} keeps all of them anyway"),
        false => format!("; {other} keeps {n} of them anyway"),
    }
}

fn tell_json(p: &Planned, costs: &Costs, all: bool, out: &mut Out) -> Result<(), Failure> {
    let root = json_bytes(&p.source.root);
    for v in p.verdicts.iter().filter(|_| all) {
        let reasons: Vec<String> = v.kept_by.iter().map(ToString::to_string).collect();
        out.json(&json!({
            "kind": "instant", "source": root, "number": v.moment.number.0, "time": json_time(v.moment.time),
            "stays": v.is_kept(), "kept_by": reasons,
        }))?;
    }
    let reasons: Vec<Value> = p.reasons().into_iter().map(|(reason, window)| {
        let (kept, only, cost) = p.by(&reason, costs);
        let anyway = p.anyway(&reason).into_iter().map(|(other, n)| json!({ "reason": other.to_string(), "keeps": n }));
        json!({
            "reason": reason.to_string(), "window": window, "keeps": kept, "keeps_alone": only, "costs": bytes_json(cost),
            "kept_anyway_by": anyway.collect::<Vec<_>>(),
        })
    }).collect();
    out.json(&json!({
        "kind": "source", "source": root, "policy": policy_json(&p.policy), "instants": p.verdicts.len(), "stay": p.kept(),
        "reasons": reasons,
    }))
}

fn bytes_text(bytes: Bytes) -> String {
    format!("{} ({} stored)", show_size(bytes.content), show_size(bytes.stored))
}

fn bytes_json(bytes: Bytes) -> Value {
    json!({ "content_bytes": bytes.content, "stored_bytes": bytes.stored })
}
