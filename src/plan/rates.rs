//! What runs were measured to take: kept in the state directory, and what estimates are made of.

use super::error::PlanError;
use super::journal::{Amount, Ending, Over, Story};
use super::model::{Plan, Work};
use super::places::kept_dir;
use crate::config::model::Config;
use crate::sys::durable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// A file costs as much as so many bytes.
const FILE_WEIGHT: u64 = 16 << 10;
/// So many runs are remembered.
const RUNS: usize = 100;
/// Of what was measured before, so much counts beside something new.
const FADES: u64 = 2;

/// What was measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Restores: bytes, those that files stand for too, and the milliseconds they took.
    restored: (u64, u64),
    /// The last time of each step in milliseconds, by `plan/step`.
    steps: BTreeMap<String, u64>,
    /// Runs that came to their end, the newest last.
    pub runs: Vec<Compared>,
}

/// A run, and what was expected of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Its id.
    pub run: String,
    /// What was expected, in milliseconds.
    pub estimated_ms: u64,
    /// What it took.
    pub took_ms: u64,
}

impl Rates {
    /// What was measured on this host.
    pub fn load(config: &Config) -> Result<Rates, PlanError> {
        let path = kept_dir(config).join("rates.json");
        match std::fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Rates::default()),
            Err(source) => Err(PlanError::Io { path, source }),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| PlanError::Io { path, source: e.into() }),
        }
    }

    /// How long a step of a plan took the last time.
    pub fn step_ms(&self, plan: &str, step: &str) -> Option<u64> {
        self.steps.get(&format!("{plan}/{step}")).copied()
    }

    /// How long restoring so much takes.
    pub fn restore_ms(&self, amount: Amount) -> Option<u64> {
        let (bytes, ms) = self.restored;
        (bytes > 0).then(|| (u128::from(weight(amount)) * u128::from(ms) / u128::from(bytes)) as u64)
    }

    fn take(&mut self, plan: &Plan, run: &str, story: &Story) {
        for (name, ended) in story.ended.iter().filter(|(_, e)| matches!(e.ending, Ending::Done | Ending::Partial)) {
            self.steps.insert(format!("{}/{name}", plan.name), ended.took_ms);
            let restores = plan.step(name).is_some_and(|step| matches!(step.work, Work::Restore(_)));
            if restores && weight(ended.amount) > 0 {
                let (bytes, ms) = self.restored;
                self.restored = (bytes / FADES + weight(ended.amount), ms / FADES + ended.took_ms.max(1));
            }
        }
        if matches!(story.over, Some(Over::Done | Over::Partial)) {
            self.runs.push(compared(run, story));
            self.runs.drain(..self.runs.len().saturating_sub(RUNS));
        }
    }
}

/// A run, and what was expected of it.
pub fn compared(run: &str, story: &Story) -> Compared {
    let took_ms = u64::try_from((story.last_ns - story.begun_ns) / 1_000_000).unwrap_or(0);
    Compared { run: run.to_owned(), estimated_ms: story.estimate.takes_ms, took_ms }
}

fn weight(amount: Amount) -> u64 {
    amount.bytes.saturating_add(amount.files.saturating_mul(FILE_WEIGHT))
}

/// Notes what a run was measured to take.
pub fn note(config: &Config, plan: &Plan, run: &str, story: &Story) -> Result<(), PlanError> {
    let dir = kept_dir(config);
    durable::create_dirs(&dir, 0o711)?;
    let _lock = durable::lock_wait(&dir.join("rates.lock"))?;
    let mut rates = Rates::load(config)?;
    rates.take(plan, run, story);
    let path = dir.join("rates.json");
    let bytes = serde_json::to_vec(&rates).map_err(|e| PlanError::Io { path: path.clone(), source: e.into() })?;
    Ok(durable::replace(&path, &bytes, 0o600)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_last_counts_most() {
        let mut rates = Rates::default();
        let amount = Amount { files: 0, bytes: 1000 };
        assert_eq!(rates.restore_ms(amount), None);
        rates.restored = (1000, 100);
        assert_eq!(rates.restore_ms(Amount { bytes: 500, ..amount }), Some(50));
        assert_eq!(rates.restore_ms(Amount { files: 1, bytes: 0 }), Some(1638));
    }
}
