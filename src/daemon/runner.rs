//! Runs schedules: what is due, what runs, what became of it, kept durably from one service to the next.
//!
//! What is known of a job is kept by its name and its schedule: a job with another schedule is a new one.

use crate::config::jobs::Assigned;
use crate::daemon::{
    error::{DaemonError, KeepError},
    standing::JobStatus,
};
use crate::schedule::{
    blackout::Window,
    planner::{Planner, Run, State, Why},
};
use crate::sys::durable;
use crate::types::time::Instant;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well; what it did.
    Done(String),
    /// Not; why.
    Failed(String),
    /// Somebody ended it.
    Cancelled,
}

/// What is kept of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    name: String,
    schedule: String,
    zone: String,
    covered_ns: i64,
    running_ns: Option<i64>,
    ended_ns: Option<i64>,
    failures: u32,
    succeeded_ns: Option<i64>,
    last_result: Option<String>,
    last_error: Option<String>,
}

impl Kept {
    fn is_of(&self, job: &Assigned) -> bool {
        self.name == job.job.name && self.schedule == job.job.schedule.to_string() && self.zone == job.job.zone.name()
    }

    fn state(&self) -> State {
        State {
            covered: Instant(self.covered_ns),
            running: self.running_ns.map(Instant),
            ended: self.ended_ns.map(Instant),
            failures: self.failures,
            succeeded: self.succeeded_ns.map(Instant),
        }
    }
}

/// What a job did last.
#[derive(Clone, Debug, Default)]
struct Last {
    result: Option<String>,
    error: Option<String>,
}

/// The jobs of the settings, and what is known of their runs.
pub struct Runner {
    file: PathBuf,
    planner: Planner,
    jobs: Vec<Assigned>,
    last: BTreeMap<String, Last>,
    /// What an earlier service kept, until the settings are known.
    kept: Vec<Kept>,
    trouble: Option<String>,
}

impl Runner {
    /// With what an earlier service kept in `file`; nothing where there is none.
    pub fn open(file: &Path) -> Result<Runner, DaemonError> {
        let bad = |source| DaemonError::Kept { path: file.to_owned(), source };
        let kept = match std::fs::read(file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(bad(e)),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| bad(e.into()))?,
        };
        Ok(Runner {
            file: file.to_owned(),
            planner: Planner::default(),
            jobs: Vec::new(),
            last: BTreeMap::new(),
            kept,
            trouble: None,
        })
    }

    /// Takes the jobs of new settings. Those that stay as they are keep what is known of them.
    pub fn configure(&mut self, jobs: Vec<Assigned>, now: Instant) {
        for gone in self.jobs.iter().filter(|old| !jobs.iter().any(|job| job.job.name == old.job.name)) {
            self.planner.remove(&gone.job.name);
            self.last.remove(&gone.job.name);
        }
        for job in &jobs {
            let name = &job.job.name;
            let known = self.jobs.iter().find(|old| old.job.name == *name);
            let changed =
                known.is_some_and(|old| (&old.job.schedule, &old.job.zone) != (&job.job.schedule, &job.job.zone));
            let runs = self.planner.state(name).is_ok_and(|state| state.running.is_some());
            if changed && !runs {
                self.planner.remove(name);
                self.last.remove(name);
            }
            let kept = self.kept.iter().find(|kept| kept.is_of(job)).filter(|_| known.is_none());
            if let Some(kept) = kept {
                let interrupted = kept.running_ns.map(|_| "the service ended while it ran".to_owned());
                let last =
                    Last { result: kept.last_result.clone(), error: interrupted.or_else(|| kept.last_error.clone()) };
                self.last.insert(name.clone(), last);
            }
            self.planner.put(job.job.clone(), kept.map(Kept::state), now);
        }
        self.jobs = jobs;
        self.kept.clear();
        self.keep();
    }

    /// What may begin now.
    pub fn due(&self, now: Instant) -> Vec<(Assigned, Run)> {
        let of = |run: Run| Some((self.jobs.iter().find(|job| job.job.name == run.job)?.clone(), run));
        self.planner.due(now).into_iter().filter_map(of).collect()
    }

    /// A run begins. Whether it may: not beside itself, and not where there is no such job any more.
    pub fn begin(&mut self, name: &str, now: Instant) -> bool {
        let may = self.planner.begin(name, now).unwrap_or(false);
        if may {
            self.keep();
        }
        may
    }

    /// A run has ended.
    pub fn end(&mut self, name: &str, now: Instant, ended: &Ended) {
        let told = match ended {
            Ended::Cancelled => self.planner.cancel(name, now),
            _ => self.planner.end(name, now, matches!(ended, Ended::Done(_))),
        };
        // A job that was taken out of the settings while it ran.
        if told.is_err() {
            return;
        }
        let last = self.last.entry(name.to_owned()).or_default();
        match ended {
            Ended::Done(result) => *last = Last { result: Some(result.clone()), error: None },
            Ended::Failed(why) => last.error = Some(why.clone()),
            Ended::Cancelled => last.error = Some("it was cancelled".to_owned()),
        }
        self.keep();
    }

    /// How all jobs stand.
    pub fn status(&self, now: Instant) -> Vec<JobStatus> {
        let coming = self.planner.coming(now);
        let status = |job: &Assigned| {
            let name = &job.job.name;
            let state = self.planner.state(name).copied().unwrap_or_else(|_| State::new(now));
            let next = coming.iter().find(|run| run.job == *name);
            let last = self.last.get(name).cloned().unwrap_or_default();
            JobStatus {
                name: name.clone(),
                run: job.task.word().to_owned(),
                source: job.source.clone(),
                schedule: job.job.schedule.to_string(),
                running_ns: state.running.map(|at| at.0),
                next_ns: next.map(|run| run.start.0),
                next_why: next.map(|run| why(&run.why)),
                ended_ns: state.ended.map(|at| at.0),
                succeeded_ns: state.succeeded.map(|at| at.0),
                failures: state.failures,
                last_result: last.result,
                last_error: last.error,
            }
        };
        self.jobs.iter().map(status).collect()
    }

    /// Whether there is such a job.
    pub fn has(&self, name: &str) -> bool {
        self.jobs.iter().any(|job| job.job.name == name)
    }

    /// What keeps the state from being kept.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Writes everything down. Where that fails jobs run all the same, and it is told.
    fn keep(&mut self) {
        let trouble = self.write().err().map(|e| e.to_string());
        if let Some(trouble) = trouble.as_ref().filter(|new| self.trouble.as_ref() != Some(new)) {
            tracing::error!("what is known of jobs can't be kept, and will be forgotten with the next start: {trouble}");
        }
        self.trouble = trouble;
    }

    fn write(&self) -> Result<(), KeepError> {
        let kept: Vec<Kept> = self.jobs.iter().filter_map(|job| self.kept(job)).collect();
        let bytes = serde_json::to_vec_pretty(&kept)
            .map_err(|source| KeepError::Form { path: self.file.clone(), source })?;
        Ok(durable::replace(&self.file, &bytes, 0o600)?)
    }

    fn kept(&self, job: &Assigned) -> Option<Kept> {
        let state = self.planner.state(&job.job.name).ok()?;
        let last = self.last.get(&job.job.name).cloned().unwrap_or_default();
        Some(Kept {
            name: job.job.name.clone(),
            schedule: job.job.schedule.to_string(),
            zone: job.job.zone.name(),
            covered_ns: state.covered.0,
            running_ns: state.running.map(|at| at.0),
            ended_ns: state.ended.map(|at| at.0),
            failures: state.failures,
            succeeded_ns: state.succeeded.map(|at| at.0),
            last_result: last.result,
            last_error: last.error,
        })
    }
}

/// Why a run begins, in words.
pub fn why(why: &Why) -> String {
    let waited = |window: &Window| format!("postponed by the blackout {window}");
    match why {
        Why::Scheduled => "scheduled".to_owned(),
        Why::Postponed(window) => waited(window),
        Why::Missed => "missed, and caught up".to_owned(),
        Why::Overrun => "due while it ran".to_owned(),
        Why::Retry(attempt) => format!("attempt {attempt}"),
    }
}
