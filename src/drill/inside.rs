//! What the process apart does: it makes its root, mounts history there, runs the plan, and proves what came back.

use super::error::DrillError;
use super::order::{Order, RanApart, StepRan};
use super::overlays::Overlays;
use super::place::{self, DrillDir};
use super::proof::{Part, Prover};
use crate::config::model::Config;
use crate::mount::session::{self, MountOptions};
use crate::plan::{
    estimate::Estimate,
    ground::{Ground, Hands},
    invariants,
    journal::{Over, Story},
    model::Plan,
    parse,
    rates::Rates,
    run::Run,
};
use crate::repo::attach::Attached;
use crate::sys::{apart, room};
use crate::types::{time::Instant, when::human::Resolved};
use crate::view::whose::Whose;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Where history is mounted, in the root of the process apart.
const HISTORY: &str = "/.bygone-drill";
/// So much memory what is written outside of what came back may take.
const MEMORY: u64 = 512 << 20;

/// Makes the root and goes there, with the whole process, which has one thread.
pub fn enter(config: &Config, drill: &DrillDir) -> Result<(), DrillError> {
    let mut real = Vec::new();
    for (_, dir) in config.own_dirs() {
        if dir.is_dir() {
            real.push(room::Real { dir: dir.to_owned(), writable: dir == config.state });
        }
    }
    let order: Order = place::read(&drill.order())?;
    Ok(room::enter(&drill.room(), MEMORY, &real, &order.unreachable)?)
}

/// Runs the plan and proves what came back. What fails in it is told in what it returns.
///
/// The index has to be up to date: this process does not see those that write it, and must not think that they have ended.
pub fn run(
    config: &Config,
    drill: &DrillDir,
    at: &Arc<Attached>,
    hands: &dyn Hands,
    stop: &AtomicBool,
) -> Result<RanApart, DrillError> {
    let order: Order = place::read(&drill.order())?;
    let own: Vec<_> = config.own_dirs().into_iter().map(|(_, dir)| dir.to_owned()).filter(|dir| dir.is_dir()).collect();
    apart::confine(&own).map_err(DrillError::Apart)?;
    let mut options = MountOptions::of(config).map_err(|e| wrong(drill, &e))?;
    options.allow_other = true;
    let mounted = session::mount(at.clone(), &options, Path::new(HISTORY)).map_err(|e| wrong(drill, &e))?;
    let overlays = Overlays::new(HISTORY.into(), drill.scratch());
    let rates = Rates::load(config)?;
    // What a run keeps lies with the drill.
    let kept = Config { state: drill.path.clone(), ..config.clone() };
    let zone = config.zone().map_err(|e| wrong(drill, &e))?;
    let ground = Ground { config: &kept, at: at.clone(), zone, hands, stage: Some(&overlays) };
    let read = parse::load(&drill.plan(&order.plan))?;
    let when = Resolved { instant: Instant(order.at_ns), latest: order.latest, text: order.at.clone() };
    let run = Run::begin(&ground, (read.plan, &read.text), &when, order.values.clone(), Estimate::default())?;
    let plan = run.plan.clone();
    let began = std::time::Instant::now();
    let story = run.go(&ground, stop)?.story;
    let mut ran = RanApart {
        steps: steps(&plan, &story, &rates),
        failed: failed(&story),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        laid: overlays.laid(),
        ..RanApart::default()
    };
    // A plan that looks itself says when: what it does behind that may change what came back.
    match story.invariants.is_empty() {
        true => match invariants::check(&ground, &plan, &story, stop) {
            Ok(checked) => ran.invariants = checked,
            Err(why) => ran.proved.wrong.push(format!("the invariants could not be looked at: {why}")),
        },
        false => ran.invariants = story.invariants.values().flatten().cloned().collect(),
    }
    let index = at.reader()?;
    let prover = Prover {
        index: &index,
        keys: at.repo().keys(),
        overlays: &overlays,
        part: Part { part: order.part, parts: order.parts },
        stop,
    };
    for (n, laid) in ran.laid.iter().enumerate() {
        let is_again = laid.is_again(n, &ran.laid);
        let whose = match &laid.host {
            Some(host) if *host != config.host => Whose::named(host.clone()),
            _ => Whose::own(at, &config.host)?,
        };
        prover.prove(&whose, laid, is_again, &mut ran.proved)?;
    }
    // The kernel undoes the mount with the process: overlays stand on it until then.
    std::mem::forget(mounted);
    Ok(ran)
}

fn wrong(drill: &DrillDir, e: &dyn std::error::Error) -> DrillError {
    DrillError::File { path: drill.order(), why: e.to_string() }
}

fn failed(story: &Story) -> Option<String> {
    match (&story.over, &story.stopped) {
        (Some(Over::Done | Over::Partial), _) => None,
        (_, Some(why)) => Some(why.clone()),
        (over, None) => Some(over.map_or("it did not come to its end", |over| over.words()).to_owned()),
    }
}

fn steps(plan: &Plan, story: &Story, rates: &Rates) -> Vec<StepRan> {
    use crate::plan::model::Work;
    let step = |name: &String| {
        let ended = story.ended.get(name)?;
        let copies = plan.step(name).is_some_and(|s| matches!(s.work, Work::Restore(_) | Work::Postgres(_)));
        Some(StepRan {
            step: name.clone(),
            ended: ended.ending.word().to_owned(),
            took_ms: ended.took_ms,
            copying_ms: copies.then(|| rates.restore_ms(ended.amount)).flatten(),
            files: ended.amount.files,
            bytes: ended.amount.bytes,
            why: ended.why.clone(),
            problems: ended.problems.clone(),
            told: ended.told.clone(),
        })
    };
    story.order.iter().filter_map(step).collect()
}

/// Tells how it went to the process outside.
pub fn tell(drill: &DrillDir, ran: &RanApart) -> Result<(), DrillError> {
    place::write(&drill.ran(), ran)
}
