//! How the last drill of each plan ended, noted beside the reports: a report that is taken away takes no failure with it.

use super::error::DrillError;
use super::place::{self, drills_dir};
use super::record::{Record, Verdict};
use crate::config::model::Config;
use crate::observe::facts::DrillFacts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How the last drill of a plan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// Its id.
    pub drill: String,
    /// When it ended.
    pub ended_ns: i64,
    /// How.
    pub verdict: Verdict,
    /// The first reason why it failed.
    pub why: Option<String>,
}

fn file(config: &Config) -> PathBuf {
    config.state.join("drill-verdicts.json")
}

/// Of each plan; none where no drill was run since this is noted.
pub fn all(config: &Config) -> Result<BTreeMap<String, Noted>, DrillError> {
    match file(config) {
        file if file.exists() => place::read(&file),
        _ => Ok(BTreeMap::new()),
    }
}

/// Notes how a drill ended.
pub(super) fn note(config: &Config, record: &Record) -> Result<(), DrillError> {
    let mut noted = all(config)?;
    let newer = |known: &Noted| known.ended_ns > record.ended_ns;
    if noted.get(&record.plan).is_some_and(newer) {
        return Ok(());
    }
    let (drill, why) = (record.drill.clone(), record.failures.first().cloned());
    let one = Noted { drill, ended_ns: record.ended_ns, verdict: record.verdict, why };
    noted.insert(record.plan.clone(), one);
    place::write(&file(config), &noted)
}

impl Noted {
    /// Where its report is gone, the plan stands as the note says; what nobody can look at any more is no proof.
    pub(super) fn stand_for(&self, config: &Config, facts: &mut DrillFacts) {
        if drills_dir(config).join(&self.drill).join("report.json").exists() {
            return;
        }
        let why = match (self.verdict.has_passed(), &self.why) {
            (false, Some(why)) => format!("{why}; its report {} is gone", self.drill),
            _ => format!("the report {} of the last drill is gone, so nothing shows how it went", self.drill),
        };
        facts.failed = Some((self.ended_ns, why));
    }
}
