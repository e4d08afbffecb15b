//! What a run has done, a line an event, each on the disk before the next thing happens: what a run goes on from.

use super::anchor::Anchor;
use super::checked::Checked;
use super::error::PlanError;
use super::estimate::Estimate;
use super::template::Values;
use crate::repo::audit::event::{bytes_value, value_bytes};
use crate::sys::lines::{self, Lines};
use crate::types::attr::Place;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All of it was done.
    Done,
    /// It was done except for what it names.
    Partial,
    /// It was not done.
    Failed,
    /// A condition did not hold.
    Skipped,
}

impl Ending {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Partial => "partial",
            Ending::Failed => "failed",
            Ending::Skipped => "skipped",
        }
    }

    /// The ending of a word.
    pub fn parse(word: &str) -> Option<Ending> {
        [Ending::Done, Ending::Partial, Ending::Failed, Ending::Skipped].into_iter().find(|e| e.word() == word)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Everything was done.
    Done,
    /// Everything was done except for what was named.
    Partial,
    /// It failed, and what it had made was taken back.
    RolledBack,
    /// It failed, and not all that it had made could be taken back.
    NotRolledBack,
    /// Somebody has begun the plan anew instead.
    GivenUp,
}

impl Over {
    /// It in words.
    pub fn words(self) -> &'static str {
        match self {
            Over::Done => "done",
            Over::Partial => "done in part",
            Over::RolledBack => "failed, rolled back",
            Over::NotRolledBack => "failed, not all rolled back",
            Over::GivenUp => "given up",
        }
    }
}

/// How much a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A PostgreSQL server that a step has recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The directory of its cluster.
    pub data: PathBuf,
    /// How it is reached, as libpq has it, without a database.
    pub connection: String,
    /// The directory of its programs.
    pub bin: PathBuf,
    /// The user that it runs as; the one that bygone runs as if none.
    pub user: Option<String>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "bygone-plan(5) has the words")]
pub enum Event {
    Begun {
        time_ns: i64,
        plan: String,
        file: PathBuf,
        /// The hash of its text; empty in a run of an older version.
        #[serde(default)]
        blake3: String,
        at: String,
        latest: bool,
        values: Values,
        estimate: Estimate,
    },
    Resumed {
        time_ns: i64,
    },
    StepBegun {
        time_ns: i64,
        step: String,
        attempt: u32,
    },
    /// Noted before it is made: the path was not there.
    Makes {
        step: String,
        paths: Vec<Value>,
        /// Where each of them leads to.
        #[serde(default)]
        places: Vec<Anchor>,
    },
    /// One of these stands now, and is this directory.
    Stands {
        step: String,
        path: Value,
        dev: u64,
        ino: u64,
    },
    Server {
        step: String,
        running: Running,
    },
    Invariants {
        step: String,
        checked: Vec<Checked>,
    },
    Set {
        step: String,
        input: String,
        value: String,
    },
    StepEnded {
        time_ns: i64,
        step: String,
        ending: Ending,
        took_ms: u64,
        amount: Amount,
        why: Option<String>,
        problems: Vec<String>,
        told: Option<String>,
    },
    StepStopped {
        time_ns: i64,
        step: String,
    },
    /// A failed or half-done step is to be begun again.
    Anew {
        step: String,
    },
    Stopped {
        time_ns: i64,
        why: String,
    },
    RollingBack {
        time_ns: i64,
        why: String,
    },
    Undone {
        time_ns: i64,
        step: String,
        why: Option<String>,
    },
    Over {
        time_ns: i64,
        over: Over,
    },
}

/// How a step ended, and what it did.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How much it did.
    pub amount: Amount,
    /// Why it failed or was skipped.
    pub why: Option<String>,
    /// What was not as it should be, each by name.
    pub problems: Vec<String>,
    /// What it has to tell.
    pub told: Option<String>,
}

/// A directory that a step makes whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadePath {
    /// Where it is.
    pub path: PathBuf,
    /// Where that led to; none in a run of an older version.
    pub place: Option<Anchor>,
    /// Which directory it is, once that was noted.
    pub stands: Option<Place>,
}

/// All that a journal says.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// The plan's name.
    pub plan: String,
    /// The plan's file.
    pub file: PathBuf,
    /// The hash of the plan's text as it began; empty in a run of an older version.
    pub blake3: String,
    /// The instant, as it was understood.
    pub at: String,
    /// Whether the newest of all was asked for.
    pub latest: bool,
    /// The values of the inputs.
    pub values: Values,
    /// What was expected.
    pub estimate: Estimate,
    /// When it began.
    pub begun_ns: i64,
    /// When the last event with a time was.
    pub last_ns: i64,
    /// The steps that are over.
    pub ended: BTreeMap<String, Ended>,
    /// The same, in the order in which they ended.
    pub order: Vec<String>,
    /// The steps that have begun and not ended.
    pub half: BTreeSet<String>,
    /// The directories that each step has made, or was about to, where it makes them whole.
    pub made: BTreeMap<String, Vec<MadePath>>,
    /// The servers that run.
    pub servers: BTreeMap<String, Running>,
    /// How invariants stood, by the steps that looked.
    pub invariants: BTreeMap<String, Vec<Checked>>,
    /// Why it is being rolled back, if it is.
    pub rolling_back: Option<String>,
    /// The steps that were taken back, with why not where they could not be.
    pub undone: BTreeMap<String, Option<String>>,
    /// Why it stands still, if it has stopped.
    pub stopped: Option<String>,
    /// How it ended, if it has.
    pub over: Option<Over>,
}

impl Story {
    /// How the steps that are over have ended.
    pub fn endings(&self) -> BTreeMap<String, Ending> {
        self.ended.iter().map(|(name, ended)| (name.clone(), ended.ending)).collect()
    }

    /// Takes an event in.
    pub fn take(&mut self, event: Event) {
        self.last_ns = event.time_ns().unwrap_or(self.last_ns);
        match event {
            Event::Begun { time_ns, plan, file, blake3, at, latest, values, estimate } => {
                let last_ns = time_ns;
                *self = Story {
                    plan,
                    file,
                    blake3,
                    at,
                    latest,
                    values,
                    estimate,
                    begun_ns: time_ns,
                    last_ns,
                    ..Story::default()
                };
            }
            Event::Resumed { .. } => self.stopped = None,
            Event::StepBegun { step, .. } => drop(self.half.insert(step)),
            Event::Makes { step, paths, places } => {
                let made = self.made.entry(step).or_default();
                for (n, path) in paths.iter().enumerate() {
                    let Some(path) = value_path(path) else { continue };
                    made.retain(|known| known.path != path);
                    made.push(MadePath { path, place: places.get(n).cloned(), stands: None });
                }
            }
            Event::Stands { step, path, dev, ino } => {
                let (made, path) = (self.made.entry(step).or_default(), value_path(&path));
                for known in made.iter_mut().filter(|known| Some(&known.path) == path.as_ref()) {
                    known.stands = Some(Place { dev, ino });
                }
            }
            Event::Server { step, running } => drop(self.servers.insert(step, running)),
            Event::Invariants { step, checked } => drop(self.invariants.insert(step, checked)),
            Event::Set { input, value, .. } => drop(self.values.insert(input, value)),
            Event::StepEnded { step, ending, took_ms, amount, why, problems, told, .. } => {
                self.half.remove(&step);
                self.order.push(step.clone());
                self.ended.insert(step, Ended { ending, took_ms, amount, why, problems, told });
            }
            Event::StepStopped { .. } => {}
            Event::Anew { step } => {
                self.half.remove(&step);
                self.ended.remove(&step);
                self.order.retain(|name| *name != step);
            }
            Event::Stopped { why, .. } => self.stopped = Some(why),
            Event::RollingBack { why, .. } => (self.rolling_back, self.stopped) = (Some(why), None),
            Event::Undone { step, why, .. } => drop(self.undone.insert(step, why)),
            Event::Over { over, .. } => self.over = Some(over),
        }
    }
}

impl Event {
    fn time_ns(&self) -> Option<i64> {
        match self {
            Event::Begun { time_ns, .. }
            | Event::Resumed { time_ns }
            | Event::StepBegun { time_ns, .. }
            | Event::StepEnded { time_ns, .. }
            | Event::StepStopped { time_ns, .. }
            | Event::Stopped { time_ns, .. }
            | Event::RollingBack { time_ns, .. }
            | Event::Undone { time_ns, .. }
            | Event::Over { time_ns, .. } => Some(*time_ns),
            Event::Makes { .. }
            | Event::Stands { .. }
            | Event::Server { .. }
            | Event::Invariants { .. }
            | Event::Set { .. }
            | Event::Anew { .. } => None,
        }
    }
}

/// A path as it stands in a journal.
pub(super) fn path_value(path: &Path) -> Value {
    bytes_value(path.as_os_str().as_bytes())
}

fn value_path(value: &Value) -> Option<PathBuf> {
    value_bytes(value).map(|bytes| OsString::from_vec(bytes).into())
}

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    lines: Lines,
    /// All that it says.
    pub story: Story,
}

impl Journal {
    /// Opens one, new or to be gone on with.
    pub fn open(path: &Path) -> Result<Journal, PlanError> {
        let lines = Lines::open(path)?;
        Ok(Journal { lines, story: read(path)? })
    }

    /// Writes an event. When it returns, it is on the disk.
    pub fn add(&mut self, event: Event) -> Result<(), PlanError> {
        let bad = |e: serde_json::Error| PlanError::Input(format!("an event can't be written: {e}"));
        self.lines.add(&serde_json::to_string(&event).map_err(bad)?)?;
        self.story.take(event);
        Ok(())
    }
}

/// All that a journal says. An empty one says nothing: its plan has no name.
pub fn read(path: &Path) -> Result<Story, PlanError> {
    let mut story = Story::default();
    for (n, line) in lines::read(path)?.lines().enumerate() {
        let wrong =
            |e: serde_json::Error| PlanError::Journal { path: path.to_owned(), line: n + 1, why: e.to_string() };
        story.take(serde_json::from_str(line).map_err(wrong)?);
    }
    Ok(story)
}
