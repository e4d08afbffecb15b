//! Where plans and their runs are: plans beside the settings, runs in the state directory.

use super::error::PlanError;
use super::journal::{self, Story};
use crate::config::model::Config;
use crate::crypto::random;
use crate::sys::durable::{self, LockGuard};
use crate::types::{time::Instant, when::show::exact_name};
use std::io;
use std::path::{Path, PathBuf};

/// The directory of the plans of these settings.
pub fn plans_dir(config: &Config) -> PathBuf {
    config.path.parent().unwrap_or(Path::new("/")).join("plans")
}

/// The file of a plan: a path where it has a slash or ends in `.toml`, else a name beside the settings.
pub fn plan_file(config: &Config, named: &str) -> PathBuf {
    match named.contains('/') || named.ends_with(".toml") {
        true => PathBuf::from(named),
        false => plans_dir(config).join(format!("{named}.toml")),
    }
}

/// The plans beside the settings, in the order of names; none where there is no such directory.
pub fn plans(config: &Config) -> Result<Vec<PathBuf>, PlanError> {
    let is_plan = |path: &PathBuf| path.extension().is_some_and(|e| e == "toml");
    let mut all = listed(&plans_dir(config))?;
    all.retain(is_plan);
    Ok(all)
}

fn listed(dir: &Path) -> Result<Vec<PathBuf>, PlanError> {
    let failed = |source| PlanError::Io { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut all = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    all.sort();
    Ok(all)
}

/// The directory of all that is kept of plans.
pub fn kept_dir(config: &Config) -> PathBuf {
    config.state.join("plans")
}

/// The directory of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    /// Its id.
    pub id: String,
    /// The directory.
    pub path: PathBuf,
}

impl RunDir {
    /// A new one for a plan, which begins now.
    pub fn create(config: &Config, plan: &str, now: Instant) -> Result<RunDir, PlanError> {
        let random: [u8; 2] = random::bytes().map_err(|e| PlanError::Input(e.to_string()))?;
        let second: String = exact_name(now).chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        let id = format!("{plan}-{second}-{}", data_encoding::HEXLOWER.encode(&random));
        let run = RunDir { path: kept_dir(config).join("runs").join(&id), id };
        durable::create_dirs(&run.path, 0o711)?;
        durable::create_dirs(&run.path.join("out"), 0o700)?;
        Ok(run)
    }

    /// The run of an id.
    pub fn find(config: &Config, id: &str) -> Result<RunDir, PlanError> {
        let dir = kept_dir(config).join("runs");
        let is_name = crate::types::path::is_name(id.as_bytes());
        match dir.join(id) {
            path if is_name && path.is_dir() => Ok(RunDir { id: id.to_owned(), path }),
            _ => Err(PlanError::NoRun { run: id.to_owned(), dir }),
        }
    }

    /// All runs with what their journals say, the oldest first. Of one that has not noted its beginning nothing was done.
    pub fn all(config: &Config) -> Result<Vec<(RunDir, Story)>, PlanError> {
        let mut all = Vec::new();
        for path in listed(&kept_dir(config).join("runs"))? {
            let run = RunDir { id: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path };
            let story = journal::read(&run.journal())?;
            if !story.plan.is_empty() {
                all.push((run, story));
            }
        }
        all.sort_by_key(|(_, story)| story.begun_ns);
        Ok(all)
    }

    /// Its journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The plan as it was when it began.
    pub fn plan(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.toml"))
    }

    /// Where the end of what a step said is kept.
    pub fn output(&self, step: &str) -> PathBuf {
        self.path.join("out").join(format!("{step}.log"))
    }

    /// A directory for what a step needs for a while.
    pub fn scratch(&self, step: &str) -> PathBuf {
        self.path.join("scratch").join(step)
    }

    /// The file by which it is asked to stop.
    pub fn stop(&self) -> PathBuf {
        self.path.join("stop")
    }

    /// The file by which somebody confirms a step.
    pub fn confirmed(&self, step: &str) -> PathBuf {
        self.path.join(format!("confirmed-{step}"))
    }

    /// Takes it for this process. Fails while another one has it.
    pub fn lock(&self) -> Result<LockGuard, PlanError> {
        match durable::lock_file(&self.path.join("lock"))? {
            Some(guard) => Ok(guard),
            None => {
                let pid = self.process().map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                Err(PlanError::Busy { run: self.id.clone(), pid })
            }
        }
    }

    /// The process that runs it, if one does.
    pub fn process(&self) -> Option<u32> {
        durable::lock_holder(&self.path.join("lock")).ok().flatten()
    }
}
