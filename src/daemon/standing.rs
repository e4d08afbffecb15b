//! How the service stands, for people and programs.

use crate::capture::pace::HeldBack;
use crate::config::roles::Role;
use crate::observe::facts::Undelivered;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How the service stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Its process.
    pub pid: u32,
    /// Since when it runs (ns).
    pub since_ns: i64,
    /// The file of its settings.
    pub settings: PathBuf,
    /// Whether capture and jobs are held still.
    pub paused: Option<Paused>,
    /// Whether captures rest for others.
    #[serde(default)]
    pub held_back: Option<HeldBack>,
    /// The last settings that were given and not taken.
    pub refused: Option<Refused>,
    /// What it supervises.
    pub tasks: Vec<TaskStatus>,
    /// What it runs by schedule.
    pub jobs: Vec<JobStatus>,
    /// What runs at this moment, by schedule or because somebody asked.
    pub running: Vec<WorkStatus>,
    /// What keeps it from keeping its state, if anything does.
    pub trouble: Option<String>,
    /// Where notifications wait, and why.
    #[serde(default)]
    pub undelivered: Vec<Undelivered>,
    /// What whoever asked may do.
    pub role: Option<Role>,
}

/// Capture and jobs are held still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when (ns).
    pub since_ns: i64,
    /// Until when; until somebody resumes if none.
    pub until_ns: Option<i64>,
}

/// Settings that were not taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// When (ns).
    pub at_ns: i64,
    /// Why, with the place and the cure.
    pub why: String,
}

/// Whether a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// It runs.
    Running,
    /// It ended, and will be begun again.
    Waiting,
}

/// How a task stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskStatus {
    /// What it is.
    pub name: String,
    /// Whether it runs.
    pub state: TaskState,
    /// Since when (ns).
    pub since_ns: i64,
    /// How often it was begun again.
    pub restarts: u64,
    /// What it does now.
    pub note: Option<String>,
    /// Why it ended last.
    pub last_error: Option<String>,
    /// When it ended last (ns).
    pub failed_ns: Option<i64>,
    /// When it is begun again (ns).
    pub again_ns: Option<i64>,
}

/// How a job stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// What it does.
    pub run: String,
    /// Its source, if it is for one.
    pub source: Option<PathBuf>,
    /// Its schedule.
    pub schedule: String,
    /// The zone of its schedule.
    #[serde(default)]
    pub zone: String,
    /// Since when it runs (ns), if it does.
    pub running_ns: Option<i64>,
    /// When it begins next (ns).
    pub next_ns: Option<i64>,
    /// Why then.
    pub next_why: Option<String>,
    /// When it ended last (ns).
    pub ended_ns: Option<i64>,
    /// When it succeeded last (ns).
    pub succeeded_ns: Option<i64>,
    /// How often it has failed since.
    pub failures: u32,
    /// What it did when it succeeded last.
    pub last_result: Option<String>,
    /// Why it failed last; none once it has succeeded again.
    pub last_error: Option<String>,
    /// When it should have succeeded again (ns): two times of its schedule after its last success, and an hour.
    #[serde(default)]
    pub overdue_ns: Option<i64>,
}

/// Something that runs at this moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkStatus {
    /// The name by which it is cancelled.
    pub name: String,
    /// Since when (ns).
    pub since_ns: i64,
    /// Whether it was asked to end.
    pub cancelled: bool,
}
