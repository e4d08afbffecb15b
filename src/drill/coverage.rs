//! What drills have proved, and when.

use super::error::DrillError;
use super::place::DrillDir;
use super::proof::shown;
use super::record::Verdict;
use crate::config::model::Config;
use crate::observe::facts::DrillFacts;
use std::collections::{BTreeMap, BTreeSet};

/// What drills have proved of one source.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Covered {
    /// When a drill that passed was last over it, in nanoseconds.
    pub proved_ns: Option<i64>,
    /// The plan of that drill.
    pub plan: String,
    /// The share of its bytes that drills which passed have read, from 0 to 1.
    pub share_read: f64,
}

/// What drills have proved, by source: those of the settings and those that drills name.
pub fn coverage(config: &Config) -> Result<BTreeMap<String, Covered>, DrillError> {
    let mut all: BTreeMap<String, Covered> =
        config.sources.iter().map(|s| (s.path.display().to_string(), Covered::default())).collect();
    let mut parts: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    for (_, record) in DrillDir::records(config)? {
        if record.verdict != Verdict::Passed {
            continue;
        }
        for source in &record.proved.sources {
            let name = shown(source).display().to_string();
            let read = parts.entry((name.clone(), record.plan.clone())).or_default();
            read.insert(record.part);
            let share = read.len() as f64 / record.parts.max(1) as f64;
            let covered = all.entry(name).or_default();
            covered.share_read = covered.share_read.max(share.min(1.0));
            (covered.proved_ns, covered.plan) = (Some(record.ended_ns), record.plan.clone());
        }
    }
    Ok(all)
}

/// How the plans stand that were rehearsed here, in the order of their names.
pub fn plans(config: &Config) -> Result<Vec<DrillFacts>, DrillError> {
    let mut all: BTreeMap<String, DrillFacts> = BTreeMap::new();
    for (_, record) in DrillDir::records(config)? {
        let first = DrillFacts { plan: record.plan.clone(), first_ns: record.begun_ns, ..DrillFacts::default() };
        let facts = all.entry(record.plan).or_insert(first);
        match record.verdict {
            Verdict::Passed => {
                (facts.passed_ns, facts.failed) = (Some(record.ended_ns), None);
                facts.recovery_ms = record.recovery_time.ms;
            }
            Verdict::Failed => {
                let why = record.failures.first().cloned().unwrap_or_default();
                facts.failed = Some((record.ended_ns, why));
            }
        }
    }
    Ok(all.into_values().collect())
}
