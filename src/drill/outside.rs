//! What the process outside does: it gives the order, looks after the process apart, and makes the report of what that one did.

use super::error::DrillError;
use super::order::{Order, RanApart};
use super::place::{self, DrillDir};
use super::record::{Measured, Record, Verdict};
use super::verdicts;
use super::when;
use crate::config::model::Config;
use crate::plan::{checked::Checked, journal::Ending, model::Plan, template::Values};
use crate::repo::attach::Attached;
use crate::sys::{apart, clock, durable};
use crate::types::{time::Instant, when::human::Resolved};
use crate::view::whose::Whose;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the process apart is looked after.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is looked how much the drill takes on the disk, in looks.
const SCRATCH_LOOKS: u32 = 20;
/// What the drill writes may take so much on the disk; then it is ended.
const SCRATCH_MAX: u64 = 16 << 30;
/// All files are read in so many drills.
pub const PARTS: u64 = 8;

/// What is to be rehearsed.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The plan.
    pub plan: Plan,
    /// Its text.
    pub text: String,
    /// The instant.
    pub at: Resolved,
    /// The instant for which it is told how old the newest snapshot was.
    pub point_at: Instant,
    /// How the instant was chosen.
    pub chosen: String,
    /// The values of the inputs.
    pub values: Values,
    /// How long recovery may take.
    pub recovery_time: Option<Duration>,
    /// How old the newest snapshot may be.
    pub recovery_point: Option<Duration>,
    /// All files are read in so many drills.
    pub parts: u64,
    /// Directories that can't be entered in the process apart: what is lost.
    pub unreachable: Vec<PathBuf>,
}

/// Runs a drill, whose directory the caller has locked: `command` is the process apart. Its record is on the disk when this returns.
pub fn run(
    config: &Config,
    at: &Arc<Attached>,
    drill: &DrillDir,
    asked: &Asked,
    command: Command,
    stop: &AtomicBool,
) -> Result<Record, DrillError> {
    let begun = clock::now();
    let (part, parts) = (next_part(config, &asked.plan.name)? % asked.parts.max(1), asked.parts.max(1));
    durable::replace(&drill.plan(&asked.plan.name), asked.text.as_bytes(), 0o600)?;
    let Resolved { instant, latest, text } = asked.at.clone();
    let (plan, values) = (asked.plan.name.clone(), asked.values.clone());
    let unreachable = asked.unreachable.clone();
    place::write(
        &drill.order(),
        &Order { plan, at_ns: instant.0, at: text, latest, values, part, parts, unreachable },
    )?;
    let mut failures = Vec::new();
    let scratch_bytes = match start(command) {
        Ok(child) => look_after(child, drill, stop, &mut failures)?,
        Err(e) => {
            failures.push(format!("it could not be run: {e}"));
            0
        }
    };
    let ran: RanApart = match drill.ran().exists() {
        true => place::read(&drill.ran())?,
        false => RanApart::default(),
    };
    if !drill.ran().exists() && failures.is_empty() {
        failures.push("the process apart ended before it had told how it went".to_owned());
    }
    drill.clear()?;
    let recovery_point = {
        let index = at.reader()?;
        let whose = Whose::own(at, &config.host)?;
        when::recovery_point(&index, &whose, asked.point_at)?
    };
    let record = Record {
        drill: drill.id.clone(),
        plan: asked.plan.name.clone(),
        plan_blake3: blake3::hash(asked.text.as_bytes()).to_hex().to_string(),
        host: config.host.clone(),
        repository: at.repo().id().to_string(),
        begun_ns: begun.0,
        ended_ns: clock::now().0,
        at_ns: instant.0,
        at: asked.at.text.clone(),
        chosen: asked.chosen.clone(),
        verdict: Verdict::Failed,
        failures,
        recovery_time: Measured { ms: recovery_ms(&ran), objective_ms: asked.recovery_time.map(millis) },
        recovery_point: Measured {
            ms: recovery_point.map(|ns| u64::try_from(ns / 1_000_000).unwrap_or(0)),
            objective_ms: asked.recovery_point.map(millis),
        },
        rehearsed_ms: ran.took_ms,
        part: part + 1,
        parts,
        scratch_bytes,
        steps: ran.steps,
        proved: ran.proved,
        page_blake3: String::new(),
        invariants: ran.invariants,
        authentication: String::new(),
    };
    keep(drill, judged(record, ran.failed), config, at)
}

/// The record of a drill whose processes were killed.
pub fn cut_off(config: &Config, at: &Attached, drill: &DrillDir) -> Result<Option<Record>, DrillError> {
    // It had not begun: nothing was asked for.
    if !drill.order().exists() {
        durable::remove_tree(&drill.path)?;
        return Ok(None);
    }
    let order: Order = place::read(&drill.order())?;
    let begun = std::fs::metadata(drill.order()).map_or(0, |meta| meta.mtime() * 1_000_000_000 + meta.mtime_nsec());
    let record = Record {
        drill: drill.id.clone(),
        plan: order.plan,
        plan_blake3: String::new(),
        host: config.host.clone(),
        repository: at.repo().id().to_string(),
        begun_ns: begun,
        ended_ns: begun,
        at_ns: order.at_ns,
        at: order.at,
        chosen: "cut off".to_owned(),
        verdict: Verdict::Failed,
        failures: vec!["it was cut off: its processes were killed, or the machine was".to_owned()],
        steps: Vec::new(),
        proved: Default::default(),
        invariants: Vec::new(),
        part: order.part + 1,
        parts: order.parts,
        rehearsed_ms: 0,
        recovery_time: Measured::default(),
        recovery_point: Measured::default(),
        scratch_bytes: 0,
        page_blake3: String::new(),
        authentication: String::new(),
    };
    keep(drill, record, config, at).map(Some)
}

/// Authenticates the record with its page, and keeps both, and its verdict beside them.
fn keep(drill: &DrillDir, mut record: Record, config: &Config, at: &Attached) -> Result<Record, DrillError> {
    let zone = config.zone().unwrap_or_else(|_| crate::types::when::zone::Zone::system());
    record.page_blake3 = blake3::hash(super::page::page(&record, &zone).as_bytes()).to_hex().to_string();
    let record = record.signed(at.repo().keys());
    durable::replace(&drill.page(), super::page::page(&record, &zone).as_bytes(), 0o600)?;
    verdicts::note(config, &record)?;
    place::write(&drill.record(), &record)?;
    Ok(record)
}

/// The part after the one that the last drill of the plan has read; one that failed is read again.
fn next_part(config: &Config, plan: &str) -> Result<u64, DrillError> {
    let all = DrillDir::records(config)?;
    let last = all.iter().rev().map(|(_, record)| record).find(|r| r.plan == plan && r.proved.read_files > 0);
    Ok(last.map_or(0, |r| if r.proved.wrong.is_empty() { r.part } else { r.part - 1 }))
}

fn start(mut command: Command) -> std::io::Result<Child> {
    // It ends when its standard input does: with this process, however that ends.
    command.stdin(Stdio::piped());
    apart::start(command)
}

/// Waits for its end. How much the drill took on the disk at the most.
fn look_after(
    mut child: Child,
    drill: &DrillDir,
    stop: &AtomicBool,
    failures: &mut Vec<String>,
) -> Result<u64, DrillError> {
    let (mut most, mut looks) = (0, 0u32);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(DrillError::Apart)? {
            break status;
        }
        if looks % SCRATCH_LOOKS == 0 {
            most = most.max(taken(&drill.scratch()));
        }
        looks += 1;
        let stopped = stop.load(Ordering::Relaxed);
        if stopped || most > SCRATCH_MAX {
            failures.push(match stopped {
                true => "it was stopped".to_owned(),
                false => format!("it wrote more than {} GiB", SCRATCH_MAX >> 30),
            });
            child.kill().map_err(DrillError::Apart)?;
            break child.wait().map_err(DrillError::Apart)?;
        }
        std::thread::sleep(LOOK);
    };
    if !status.success() && failures.is_empty() && !drill.ran().exists() {
        failures.push(format!("the process apart ended with {status}"));
    }
    Ok(most.max(taken(&drill.scratch())))
}

/// What lies below a directory takes so much, in bytes. What goes away meanwhile takes nothing.
fn taken(dir: &Path) -> u64 {
    let (mut open, mut sum) = (vec![dir.to_owned()], 0);
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            sum += meta.blocks() * 512;
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    sum
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What recovery takes: what the plan took here, and what copying takes beside. None where it did not come to its end.
fn recovery_ms(ran: &RanApart) -> Option<u64> {
    let copying: u64 = ran.steps.iter().filter_map(|step| step.copying_ms).sum();
    (ran.failed.is_none() && !ran.steps.is_empty()).then_some(ran.took_ms + copying)
}

/// The record with its verdict.
fn judged(mut record: Record, failed: Option<String>) -> Record {
    record.failures.extend(failed);
    for step in &record.steps {
        record.failures.extend(step.problems.iter().map(|problem| format!("the step {}: {problem}", step.step)));
    }
    record.failures.extend(record.proved.wrong.iter().cloned());
    // A step that looked has told it already.
    let told = record.failures.join("\n");
    let wrong = record.invariants.iter().filter_map(Checked::wrong);
    record.failures.extend(wrong.filter(|wrong| !told.contains(wrong)));
    if record.failures.is_empty() && record.proved.files == 0 {
        record
            .failures
            .push("nothing came back, so nothing was proved: a plan for a drill restores something".to_owned());
    }
    for (what, measured) in [("recovery time", record.recovery_time), ("recovery point", record.recovery_point)] {
        if !measured.is_met() {
            let is = measured.ms.map_or("not measured".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
            let wanted = measured.objective_ms.unwrap_or(0) as f64 / 1000.0;
            record.failures.push(format!("the {what} is {is}, and not within {wanted:.1} s"));
        }
    }
    let some_failed = record.steps.iter().any(|step| step.ended == Ending::Failed.word());
    record.verdict = match (record.failures.is_empty(), some_failed) {
        (true, false) => Verdict::Passed,
        (true, true) => Verdict::PassedInPart,
        (false, _) => Verdict::Failed,
    };
    record
}
