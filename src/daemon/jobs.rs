//! What jobs do: one row for each task of the settings.

use crate::config::{
    jobs,
    model::{Config, Source, Task},
};
use crate::crypto::random;
use crate::daemon::{
    captures::Captures,
    error::{self, Trouble},
    host::Host,
    runner::Ended,
    sites::Keeping,
    trail::{By, Trail},
    work::Work,
};
use crate::produce::run::{Ground, produce};
use crate::repo::{attach::Attached, replay};
use crate::retention::maintain::Maintenance;
use crate::sys::{child::Order, clock};
use crate::types::snapshot::Tier;
use crate::verify::{
    check::{self, Options},
    told,
};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How often what runs beside is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What a job works with.
pub(super) struct Tools {
    pub(super) task: Task,
    /// The source it is for; all of them if none.
    pub(super) source: Option<PathBuf>,
    /// The site it is for, where it brings one up to date.
    pub(super) site: Option<String>,
    /// The plan it is for, where it rehearses one.
    pub(super) drill: Option<String>,
    pub(super) config: Arc<Config>,
    pub(super) at: Arc<Attached>,
    pub(super) captures: Arc<Captures>,
    pub(super) host: Arc<dyn Host>,
    pub(super) trail: Arc<Trail>,
}

/// Does what a task is for, in the thread it is called in, until the flag of the work is set; and says what was done. It beats.
type Do = fn(&Tools, &Work) -> Result<String, Trouble>;

/// The tasks that can be run by schedule.
const TASKS: &[(Task, Do)] = &[
    (Task::Snapshot, |tools, work| capture(tools, work, Tier::Incremental)),
    (Task::Differential, |tools, work| capture(tools, work, Tier::Differential)),
    (Task::Full, |tools, work| capture(tools, work, Tier::Full)),
    (Task::Produce, produced),
    (Task::Verify, verify),
    (Task::Maintain, maintain),
    (Task::Replicate, replicate),
    (Task::Drill, drill),
];

/// Runs a job and says how it ended. `None` where the service ended it: it counts as interrupted.
pub(super) fn run(tools: &Tools, work: &Work) -> Option<Ended> {
    let result = match TASKS.iter().find(|(task, _)| *task == tools.task) {
        Some((_, what)) => what(tools, work),
        None => Err(format!("this version cannot {} by schedule", tools.task.word()).into()),
    };
    match result {
        _ if work.is_cancelled() => Some(Ended::Cancelled),
        Ok(done) => Some(Ended::Done(done)),
        Err(_) if work.stop.load(Ordering::Relaxed) => None,
        Err(e) => Some(Ended::Failed(error::told(&*e))),
    }
}

fn capture(tools: &Tools, work: &Work, tier: Tier) -> Result<String, Trouble> {
    let is_wanted = |source: &&Source| tools.source.as_ref().is_none_or(|path| *path == source.path);
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for source in tools.config.sources.iter().filter(is_wanted) {
        let path = source.path.display();
        // One source that fails does not keep the others from being captured.
        let taken = tools.captures.take((&tools.config, &tools.at), source, tier, work);
        tools.trail.snapshot(&tools.config, source, &taken, By::Job(&work.name));
        match taken {
            Ok(taken) => {
                let report = &taken.report;
                let number = report.snapshot.as_ref().map_or(0, |s| s.number.0);
                let tier = report.snapshot.as_ref().map_or(tier, |s| s.tier).word();
                let unread = match report.problems.len() {
                    0 => String::new(),
                    n => format!(", {n} not read"),
                };
                let altered = match report.altered.len() {
                    0 => String::new(),
                    n => format!(", {n} changed without a change of their times"),
                };
                let failures: String = taken.failures().map(|f| format!(", {} failed: {}", f.what, f.why)).collect();
                done.push(format!("{tier} snapshot {number} of {path}{unread}{altered}{failures}"));
            }
            Err(e) => failed.push(format!("{path}: {}", error::told(&*e))),
        }
    }
    if failed.is_empty() { Ok(done.join("; ")) } else { Err(failed.join("; ").into()) }
}

/// Produces the data of a source; whoever watches it sees what is new.
fn produced(tools: &Tools, work: &Work) -> Result<String, Trouble> {
    let is_wanted = |source: &&Source| tools.source.as_ref() == Some(&source.path);
    let source = tools.config.sources.iter().find(is_wanted).ok_or("its source is not in the settings any more")?;
    let ground = Ground { state: &tools.config.state, tier: Tier::Incremental, stop: &work.stop };
    let done = std::thread::scope(|threads| {
        let producing = threads.spawn(|| produce(source, &ground));
        while !producing.is_finished() {
            work.pulse.beat();
            std::thread::sleep(LOOK);
        }
        producing.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    })?;
    let path = source.path.display();
    match done.failures.first() {
        None => Ok(format!("produced {path}")),
        Some(first) => {
            let n = done.failures.len();
            Err(format!("{n} part(s) of {path} could not be produced, the first: {}: {}", first.what, first.why).into())
        }
    }
}

fn verify(tools: &Tools, work: &Work) -> Result<String, Trouble> {
    // What can't be replayed is found and told by the check itself, in more detail.
    let at = tools.host.fresh(&tools.config)?;
    replay::catch_up(&at, &*work.pulse)?;
    let options = read_data(tools, work)?;
    let report = check::verify(&at, &options, &*work.pulse, &work.stop)?;
    tools.trail.verified(&options, &report, By::Job(&work.name));
    if report.stopped {
        return Err("it was ended before everything was checked".into());
    }
    told::note(at.dir(), &report)?;
    for problem in &report.problems {
        tracing::error!("{problem}");
    }
    match report.problems.first() {
        None => Ok(format!(
            "{} pack(s) and {} snapshot(s), {} of {} frame(s) read, no problem",
            report.packs, report.snapshots, report.read_frames, report.frames
        )),
        Some(p) => {
            let n = report.problems.len();
            Err(format!("{n} problem(s) were found, the first: {p}; `bygone verify --read-data` names them all").into())
        }
    }
}

/// How much of the data a job reads that verifies: another random part each time.
fn read_data(tools: &Tools, work: &Work) -> Result<Options, Trouble> {
    let job = tools.config.jobs.iter().find(|job| job.name == work.name);
    let percent = job.ok_or("it is not in the settings any more")?.read_data;
    Ok(Options {
        read_data: percent > 0,
        subset_percent: (percent < 100).then_some(f64::from(percent)),
        seed: u64::from_le_bytes(random::bytes()?),
    })
}

fn replicate(tools: &Tools, work: &Work) -> Result<String, Trouble> {
    let site = tools.config.sites.iter().find(|site| Some(&site.name) == tools.site.as_ref());
    let site = site.ok_or("its site is not in the settings any more")?;
    let at = tools.host.fresh(&tools.config)?;
    let ground = Keeping { host: &*tools.host, config: &tools.config, at: &at, trail: &tools.trail };
    ground.replicate(site, &*work.pulse, &work.stop, Some(By::Job(&work.name)))
}

/// Rehearses a plan, in a process of its own, which records how it went.
fn drill(tools: &Tools, work: &Work) -> Result<String, Trouble> {
    let drill = tools.config.drills.iter().find(|drill| Some(&drill.plan) == tools.drill.as_ref());
    let drill = drill.ok_or("it is not in the settings any more")?;
    let order = Order::new(std::env::current_exe()?).arg_path("--config", &tools.config.path).args(["--quiet"]);
    let mut running = order.args(drill.arguments()).start()?;
    while running.look()?.is_none() && !work.stop.load(Ordering::Relaxed) {
        work.pulse.beat();
        std::thread::sleep(LOOK);
    }
    let ended = running.wait(&work.stop)?;
    match (ended.is_good(), ended.cut, ended.status.code()) {
        (true, ..) => Ok(format!("the drill of the plan {} has passed", drill.plan)),
        // Its record names them.
        (_, None, Some(3)) => {
            Ok(format!("the drill of the plan {} has passed, but for steps that failed and may", drill.plan))
        }
        _ => Err(ended.why().into()),
    }
}

fn maintain(tools: &Tools, work: &Work) -> Result<String, Trouble> {
    let at = tools.host.fresh(&tools.config)?;
    let audit = tools.host.audit(&tools.config, &at)?;
    let zone = jobs::zone(&tools.config);
    let maintenance = Maintenance { at: &at, config: &tools.config, zone: &zone, now: clock::now(), thorough: false };
    let plans = maintenance.plan()?;
    let done = maintenance.act(&plans, &audit, &*work.pulse)?;
    at.repo().store().settle()?;
    let mut text = format!(
        "{} instant(s) released, {} pack(s) with {} bytes and {} journal object(s) deleted",
        done.released, done.swept.packs, done.swept.bytes, done.swept.objects
    );
    if !done.awaited.is_empty() {
        let hosts: Vec<&str> = done.awaited.iter().map(|a| a.host.as_str()).collect();
        text.push_str(&format!("; the rest waits for {}", hosts.join(", ")));
    }
    match done.swept.locked {
        0 => Ok(text),
        n => Err(format!("{text}; {n} object(s) stay until the store's lock on them is over").into()),
    }
}
