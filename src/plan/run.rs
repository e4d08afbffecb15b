//! A run of a plan: begun, or gone on with; it ends with everything done, taken back, or standing still until it is resumed.

use super::attempt::{Finished, Slot, Work};
use super::error::PlanError;
use super::estimate::Estimate;
use super::graph::{self, Next};
use super::ground::{Ground, News};
use super::journal::{Ended, Ending, Event, Journal, Over, Story};
use super::model::{OnFailure, Plan};
use super::parse;
use super::places::RunDir;
use super::stage;
use super::template::Values;
use super::undo;
use crate::sys::clock;
use crate::sys::durable::{self, LockGuard};
use crate::types::when::human::Resolved;
use crossbeam_channel::{RecvTimeoutError, Sender};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often it is looked whether somebody asks to stop, and whose time is over.
const LOOK: Duration = Duration::from_millis(50);

/// A run that this process has.
pub struct Run {
    /// Where it is.
    pub dir: RunDir,
    /// Its plan, as it was when it began.
    pub plan: Plan,
    journal: Mutex<Journal>,
    _lock: LockGuard,
}

/// What is to happen with steps that were cut off in the middle, where the plan says that they can't be begun again just so.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// They are begun again.
    pub again: Vec<String>,
    /// They count as done: somebody has looked.
    pub passed: Vec<String>,
}

/// How a run stands when this process is through with it.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its id.
    pub id: String,
    /// All that it did.
    pub story: Story,
}

impl Run {
    /// Begins a run of a plan that has no mistakes. `text` is its file's.
    pub fn begin(
        ground: &Ground<'_>,
        (plan, text): (Plan, &str),
        at: &Resolved,
        values: Values,
        estimate: Estimate,
    ) -> Result<Run, PlanError> {
        let now = clock::now();
        let dir = RunDir::create(ground.config, &plan.name, now)?;
        let lock = dir.lock()?;
        durable::replace(&dir.plan(&plan.name), text.as_bytes(), 0o600)?;
        let mut journal = Journal::open(&dir.journal())?;
        journal.add(Event::Begun {
            time_ns: now.0,
            plan: plan.name.clone(),
            file: plan.path.clone(),
            blake3: hash(text),
            at: at.text.clone(),
            latest: at.latest,
            values,
            estimate,
        })?;
        Ok(Run { dir, plan, journal: Mutex::new(journal), _lock: lock })
    }

    /// Goes on with a run that has stopped, however it did.
    pub fn resume(dir: RunDir, choices: &Choices) -> Result<Run, PlanError> {
        let lock = dir.lock()?;
        let mut journal = Journal::open(&dir.journal())?;
        let story = &journal.story;
        if let Some(over) = story.over {
            return Err(PlanError::Over { run: dir.id, how: over.words().to_owned() });
        }
        let plan = own_plan(&dir, story)?;
        durable::remove(&dir.stop())?;
        if story.rolling_back.is_none() {
            mend(&mut journal, &plan, choices)?;
        }
        journal.add(Event::Resumed { time_ns: clock::now().0 })?;
        Ok(Run { dir, plan, journal: Mutex::new(journal), _lock: lock })
    }

    /// Opens a run that has stopped, to be taken back. Nothing of it is begun again.
    pub fn to_undo(dir: RunDir) -> Result<Run, PlanError> {
        let lock = dir.lock()?;
        let journal = Journal::open(&dir.journal())?;
        if let Some(over) = journal.story.over.filter(|over| *over != Over::NotRolledBack) {
            return Err(PlanError::Over { run: dir.id, how: over.words().to_owned() });
        }
        let plan = own_plan(&dir, &journal.story)?;
        durable::remove(&dir.stop())?;
        Ok(Run { dir, plan, journal: Mutex::new(journal), _lock: lock })
    }

    /// Says that a run which has stopped will not be gone on with.
    pub fn give_up(dir: &RunDir) -> Result<(), PlanError> {
        let _lock = dir.lock()?;
        Journal::open(&dir.journal())?.add(Event::Over { time_ns: clock::now().0, over: Over::GivenUp })
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that it has done.
    pub fn story(&self) -> Story {
        self.journal().story.clone()
    }

    /// Runs it until it is over, or `stop` is set, or somebody asks it to stop.
    pub fn go(self, ground: &Ground<'_>, stop: &AtomicBool) -> Result<Ran, PlanError> {
        if self.story().rolling_back.is_none() {
            match self.steps(ground, stop)? {
                Verdict::Through => self.end(ground)?,
                Verdict::Stopped => self.stopped("somebody asked it to stop".into())?,
                Verdict::Failed(why) if ground.stage.is_some() => self.stopped(why)?,
                Verdict::Failed(why) => match self.plan.on_failure {
                    OnFailure::Stop => self.stopped(why)?,
                    OnFailure::RollBack => {
                        self.journal().add(Event::RollingBack { time_ns: clock::now().0, why })?;
                        self.roll_back(ground, stop)?;
                    }
                },
            }
        } else {
            self.roll_back(ground, stop)?;
        }
        Ok(Ran { id: self.dir.id.clone(), story: self.story() })
    }

    /// Takes back what was done, and nothing more.
    pub fn undo(self, ground: &Ground<'_>, stop: &AtomicBool) -> Result<Ran, PlanError> {
        if self.story().rolling_back.is_none() {
            let why = "somebody asked to take it back".to_owned();
            self.journal().add(Event::RollingBack { time_ns: clock::now().0, why })?;
        }
        self.roll_back(ground, stop)?;
        Ok(Ran { id: self.dir.id.clone(), story: self.story() })
    }

    fn end(&self, ground: &Ground<'_>) -> Result<(), PlanError> {
        let is_whole = |ended: &Ended| matches!(ended.ending, Ending::Done | Ending::Skipped);
        let over = match self.story().ended.values().all(is_whole) {
            true => Over::Done,
            false => Over::Partial,
        };
        self.journal().add(Event::Over { time_ns: clock::now().0, over })?;
        undo::keep_nothing(ground, &self.plan, &self.dir);
        Ok(())
    }

    fn stopped(&self, why: String) -> Result<(), PlanError> {
        self.journal().add(Event::Stopped { time_ns: clock::now().0, why })
    }

    fn roll_back(&self, ground: &Ground<'_>, stop: &AtomicBool) -> Result<(), PlanError> {
        let why = self.story().rolling_back.unwrap_or_default();
        ground.hands.hear(News::RollingBack(&why));
        for name in undo::order(&self.story()) {
            let Some(step) = self.plan.step(&name).filter(|step| step.undo.is_some()) else { continue };
            if stop.load(Ordering::Relaxed) || self.dir.stop().exists() {
                return self.stopped(format!("somebody asked it to stop while it was rolled back, since {why}"));
            }
            let failed = undo::step(ground, &self.plan, step, &self.dir, &self.journal).err();
            ground.hands.hear(News::Undone(step, failed.as_deref()));
            self.journal().add(Event::Undone { time_ns: clock::now().0, step: name, why: failed })?;
        }
        let over = match self.story().undone.values().all(Option::is_none) {
            true => Over::RolledBack,
            false => Over::NotRolledBack,
        };
        self.journal().add(Event::Over { time_ns: clock::now().0, over })
    }

    fn steps(&self, ground: &Ground<'_>, stop: &AtomicBool) -> Result<Verdict, PlanError> {
        let (to, from) = crossbeam_channel::unbounded();
        std::thread::scope(|scope| {
            let mut going = Going { run: self, ground, slots: BTreeMap::new(), failed: None, stopping: false };
            loop {
                if stop.load(Ordering::Relaxed) || self.dir.stop().exists() {
                    going.stop();
                }
                while let Some(begun) = going.next()? {
                    let (to, slot) = (to.clone(), begun.1.clone());
                    let step = begun.0;
                    scope.spawn(move || self.one(ground, step, &slot, &to));
                }
                if going.slots.is_empty() {
                    return Ok(going.verdict());
                }
                going.slots.values().for_each(|slot| slot.look());
                match from.recv_timeout(LOOK) {
                    Ok((step, finished)) => going.finished(step, finished)?,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
        })
    }

    fn one(&self, ground: &Ground<'_>, n: usize, slot: &Slot, to: &Sender<(usize, Finished)>) {
        let step = &self.plan.steps[n];
        let work = Work { ground, plan: &self.plan, step, run: &self.dir, journal: &self.journal, slot };
        // The run waits for each step that it has begun.
        let _heard = to.send((n, work.run()));
    }
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// The plan that a run began with.
fn own_plan(dir: &RunDir, story: &Story) -> Result<Plan, PlanError> {
    let path = dir.plan(&story.plan);
    let read = parse::load(&path)?;
    match story.blake3.is_empty() || story.blake3 == hash(&read.text) {
        true => Ok(read.plan),
        false => Err(PlanError::Changed { run: dir.id.clone(), path }),
    }
}

/// What was cut off in the middle or has failed is begun again, where that may be.
fn mend(journal: &mut Journal, plan: &Plan, choices: &Choices) -> Result<(), PlanError> {
    let story = journal.story.clone();
    let lets_go_on = |name: &str, ended: &Ended| plan.step(name).is_some_and(|s| graph::lets_go_on(s, ended.ending));
    let failed = story.ended.iter().filter(|(name, ended)| !lets_go_on(name, ended)).map(|(name, _)| name);
    let open: BTreeSet<&String> = story.half.iter().chain(failed).collect();
    for step in open.into_iter().filter_map(|name| plan.step(name)) {
        let (half, name) = (story.half.contains(&step.name), step.name.clone());
        if choices.passed.contains(&name) {
            let told = Some("counts as done: somebody said so".to_owned());
            let ended = Ended {
                ending: Ending::Done,
                took_ms: 0,
                amount: Default::default(),
                why: None,
                problems: vec![],
                told,
            };
            journal.add(Event::Anew { step: name.clone() })?;
            journal.add(ended_event(name, ended))?;
        } else if half && !step.again && !choices.again.contains(&name) {
            return Err(PlanError::HalfDone { step: name });
        } else {
            journal.add(Event::Anew { step: name })?;
        }
    }
    Ok(())
}

fn ended_event(step: String, ended: Ended) -> Event {
    let Ended { ending, took_ms, amount, why, problems, told } = ended;
    Event::StepEnded { time_ns: clock::now().0, step, ending, took_ms, amount, why, problems, told }
}

/// How all steps together came to their end.
enum Verdict {
    Through,
    Stopped,
    Failed(String),
}

/// The steps that run.
struct Going<'a> {
    run: &'a Run,
    ground: &'a Ground<'a>,
    slots: BTreeMap<usize, Arc<Slot>>,
    failed: Option<String>,
    stopping: bool,
}

impl Going<'_> {
    fn stop(&mut self) {
        self.stopping = true;
        self.slots.values().for_each(|slot| slot.ask());
    }

    /// Begins the next step, if one can begin now; skips those that are to be.
    fn next(&mut self) -> Result<Option<(usize, Arc<Slot>)>, PlanError> {
        let plan = &self.run.plan;
        while !self.stopping && self.failed.is_none() && self.slots.len() < plan.parallel {
            let story = self.run.story();
            let running: BTreeSet<String> = self.slots.keys().map(|n| plan.steps[*n].name.clone()).collect();
            let Some((n, next)) = graph::next(plan, &story.endings(), &running, &story.values).into_iter().next()
            else {
                return Ok(None);
            };
            let step = plan.steps[n].name.clone();
            let left_out = self.ground.stage.and_then(|_| stage::left_out(&plan.steps[n]));
            match left_out.map_or(next, |why| Next::Skip(why.to_owned())) {
                Next::Skip(why) => {
                    let why = Some(why);
                    let skipped = Ended {
                        ending: Ending::Skipped,
                        took_ms: 0,
                        amount: Default::default(),
                        why,
                        problems: vec![],
                        told: None,
                    };
                    self.run.journal().add(ended_event(step, skipped.clone()))?;
                    self.ground.hands.hear(News::Ended(&plan.steps[n], &skipped));
                }
                Next::Begin => {
                    self.run.journal().add(Event::StepBegun { time_ns: clock::now().0, step, attempt: 1 })?;
                    let slot = Arc::new(Slot::default());
                    self.slots.insert(n, slot.clone());
                    return Ok(Some((n, slot)));
                }
            }
        }
        Ok(None)
    }

    fn finished(&mut self, n: usize, finished: Finished) -> Result<(), PlanError> {
        self.slots.remove(&n);
        let plan = &self.run.plan;
        let step = &plan.steps[n];
        match finished {
            Finished::Stopped => {
                let name = step.name.clone();
                self.run.journal().add(Event::StepStopped { time_ns: clock::now().0, step: name })?;
                self.ground.hands.hear(News::Stopped(step));
            }
            Finished::Over(ended) => {
                self.run.journal().add(ended_event(step.name.clone(), ended.clone()))?;
                self.ground.hands.hear(News::Ended(step, &ended));
                if !graph::lets_go_on(step, ended.ending) && self.failed.is_none() {
                    self.failed = Some(format!("the step {} failed: {}", step.name, ended.why.unwrap_or_default()));
                    if plan.on_failure == OnFailure::RollBack {
                        self.slots.values().for_each(|slot| slot.ask());
                    }
                }
            }
        }
        Ok(())
    }

    fn verdict(self) -> Verdict {
        match self.failed {
            Some(why) => Verdict::Failed(why),
            None if self.run.story().ended.len() < self.run.plan.steps.len() => Verdict::Stopped,
            None => Verdict::Through,
        }
    }
}
