//! What drills have proved, and when: of each source, in files and bytes, and of each plan.

use super::error::DrillError;
use super::order::{Proved, SourceProved};
use super::place::DrillDir;
use super::proof::shown;
use super::record::{Record, Verdict};
use super::verdicts;
use crate::config::model::Config;
use crate::index::stats::Extent;
use crate::observe::facts::DrillFacts;
use crate::plan::places;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// What drills have proved of one source.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Covered {
    /// When a drill that passed last brought it back, in nanoseconds: all of it, where one ever did, and else a part.
    pub proved_ns: Option<i64>,
    /// The plan of that drill.
    pub plan: String,
    /// Whether that drill brought back all of it. Where it did not, the rest of the source is not proved.
    pub whole: bool,
    /// The files that it brought back.
    pub back_files: u64,
    /// What they measure, in bytes.
    pub back_bytes: u64,
    /// The files that the source has now; where that is not known, those that came back in that drill.
    pub files: u64,
    /// What they measure, in bytes.
    pub bytes: u64,
    /// Of the files, those that drills which passed have read and compared, each part of all files by the last drill that read it.
    pub read_files: u64,
    /// The one to the other, from 0 to 1; 1 for a source without a file.
    pub share_files_read: f64,
    /// Of the bytes, those of the files that were read.
    pub read_bytes: u64,
    /// The one to the other, from 0 to 1; 1 for a source without a byte.
    pub share_read: f64,
    /// When the oldest of those drills ended, in nanoseconds: all that is counted was read since then.
    pub since_ns: Option<i64>,
}

/// What drills have proved of everything.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Whole {
    /// Sources.
    pub sources: u64,
    /// Of them, those of which all came back in a drill that passed.
    pub sources_proved: u64,
    /// And those of which a part did, and never all.
    pub sources_in_part: u64,
    /// Plans: those beside the settings, those of drills of the settings, and those that were rehearsed.
    pub plans: u64,
    /// Of them, those whose last drill passed.
    pub plans_passed: u64,
    /// The files of all sources.
    pub files: u64,
    /// Those of them that were read and compared.
    pub read_files: u64,
    /// The one to the other, from 0 to 1.
    pub share_files_read: f64,
    /// What all sources measure, in bytes.
    pub bytes: u64,
    /// What of it was read and compared.
    pub read_bytes: u64,
    /// The one to the other, from 0 to 1.
    pub share_read: f64,
}

/// What a drill that passed has read of a source, once.
#[derive(Clone, Copy)]
struct Read {
    files: u64,
    bytes: u64,
    ended_ns: i64,
}

/// What drills have proved, by source: those that `sizes` knows the extent of now, those of the settings, and those that drills name.
pub fn coverage(config: &Config, sizes: &BTreeMap<String, Extent>) -> Result<BTreeMap<String, Covered>, DrillError> {
    let records: Vec<Record> = DrillDir::records(config)?.into_iter().map(|(_, record)| record).collect();
    let known = config.sources.iter().map(|s| s.path.display().to_string()).chain(sizes.keys().cloned());
    Ok(of(&records, known, sizes))
}

fn of(
    records: &[Record],
    known: impl Iterator<Item = String>,
    sizes: &BTreeMap<String, Extent>,
) -> BTreeMap<String, Covered> {
    let mut all: BTreeMap<String, Covered> = known.map(|name| (name, Covered::default())).collect();
    // What one plan reads of a source in all its parts is disjoint; what two read may be the same.
    let mut parts: BTreeMap<(String, String, u64), BTreeMap<u64, Read>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.verdict.has_passed()) {
        for (name, of) in by_source(&record.proved) {
            let group = parts.entry((name.clone(), record.plan.clone(), record.parts)).or_default();
            let read = Read { files: of.read_files, bytes: of.read_bytes, ended_ns: record.ended_ns };
            group.insert(record.part, read);
            let covered = all.entry(name.clone()).or_default();
            let now = sizes.get(&name);
            let is_all = of.whole || now.is_some_and(|now| of.files >= now.files && of.bytes >= now.bytes);
            if is_all || !covered.whole {
                (covered.proved_ns, covered.plan) = (Some(record.ended_ns), record.plan.clone());
                (covered.whole, covered.back_files, covered.back_bytes) = (is_all, of.files, of.bytes);
                (covered.files, covered.bytes) = (of.files, of.bytes);
            }
        }
    }
    for (name, covered) in &mut all {
        if let Some(now) = sizes.get(name) {
            (covered.files, covered.bytes) = (now.files, now.bytes);
        }
        let groups = parts.iter().filter(|((of, _, _), _)| of == name).map(|(_, group)| group);
        let sum = |group: &BTreeMap<u64, Read>| group.values().map(|read| read.bytes).sum::<u64>();
        if let Some(best) = groups.max_by_key(|group| sum(group)) {
            covered.read_files = best.values().map(|read| read.files).sum::<u64>().min(covered.files);
            covered.share_files_read = share(covered.read_files, covered.files);
            covered.read_bytes = sum(best).min(covered.bytes);
            covered.since_ns = best.values().map(|read| read.ended_ns).min();
            covered.share_read = share(covered.read_bytes, covered.bytes);
        }
    }
    all
}

/// The sources of which something came back, by name, with what was proved of each.
fn by_source(proved: &Proved) -> Vec<(String, SourceProved)> {
    let of = |source: &serde_json::Value| {
        let told = proved.of_sources.iter().find(|of| of.source == *source).cloned().unwrap_or_default();
        (shown(source).display().to_string(), told)
    };
    proved.sources.iter().map(of).collect()
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { part as f64 / of as f64 }
}

/// The sum over sources and plans.
pub fn whole(config: &Config, sources: &BTreeMap<String, Covered>) -> Result<Whole, DrillError> {
    let rehearsed = plans(config)?;
    let mut names: BTreeSet<String> = rehearsed.iter().map(|plan| plan.plan.clone()).collect();
    names.extend(places::plans(config)?.iter().map(|path| stem(path)));
    let passed = rehearsed.iter().filter(|plan| plan.passed_ns.is_some() && plan.failed.is_none());
    let sum = |of: fn(&Covered) -> u64| sources.values().map(of).sum::<u64>();
    let (files, read_files) = (sum(|c| c.files), sum(|c| c.read_files));
    let (bytes, read_bytes) = (sum(|c| c.bytes), sum(|c| c.read_bytes));
    Ok(Whole {
        sources: sources.len() as u64,
        sources_proved: sources.values().filter(|c| c.proved_ns.is_some() && c.whole).count() as u64,
        sources_in_part: sources.values().filter(|c| c.proved_ns.is_some() && !c.whole).count() as u64,
        plans: names.len() as u64,
        plans_passed: passed.count() as u64,
        files,
        read_files,
        share_files_read: share(read_files, files),
        bytes,
        read_bytes,
        share_read: share(read_bytes, bytes),
    })
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// How the plans stand that were rehearsed here, or are to be by the settings, in the order of their names.
pub fn plans(config: &Config) -> Result<Vec<DrillFacts>, DrillError> {
    let mut all: BTreeMap<String, DrillFacts> = BTreeMap::new();
    for (_, record) in DrillDir::records(config)? {
        let first = DrillFacts { plan: record.plan.clone(), first_ns: record.begun_ns, ..DrillFacts::default() };
        let facts = all.entry(record.plan).or_insert(first);
        match record.verdict {
            Verdict::Passed | Verdict::PassedInPart => {
                (facts.passed_ns, facts.failed) = (Some(record.ended_ns), None);
                facts.recovery_ms = record.recovery_time.ms;
            }
            Verdict::Failed => {
                let why = record.failures.first().cloned().unwrap_or_default();
                facts.failed = Some((record.ended_ns, why));
            }
        }
    }
    for (plan, noted) in verdicts::all(config)? {
        let first = DrillFacts { plan: plan.clone(), first_ns: noted.ended_ns, ..DrillFacts::default() };
        noted.stand_for(config, all.entry(plan).or_insert(first));
    }
    // One that never ran is waited for from when the settings were written.
    let written = std::fs::metadata(&config.path).and_then(|meta| meta.modified()).ok();
    let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, nanos);
    for drill in &config.drills {
        let plan = stem(Path::new(&drill.plan));
        let new = || DrillFacts { plan: plan.clone(), first_ns: written, ..DrillFacts::default() };
        let facts = all.entry(plan.clone()).or_insert_with(new);
        facts.within_s = drill.within.map(|within| within.as_secs());
    }
    for facts in all.values_mut() {
        let within = facts.within_s.map_or(config.health.drilled_within, Duration::from_secs);
        facts.within_s = Some(within.as_secs());
        facts.due_ns = Some(facts.passed_ns.unwrap_or(facts.first_ns).saturating_add(nanos(within)));
    }
    Ok(all.into_values().collect())
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::record::Measured;
    use super::*;

    fn record(ended_ns: i64, part: u64, read_bytes: u64, verdict: Verdict) -> Record {
        let source = serde_json::json!("/srv");
        Record {
            drill: "d".into(),
            plan: "p".into(),
            plan_blake3: String::new(),
            host: "h".into(),
            repository: String::new(),
            begun_ns: ended_ns,
            ended_ns,
            at_ns: 0,
            at: String::new(),
            chosen: String::new(),
            verdict,
            failures: Vec::new(),
            steps: Vec::new(),
            proved: Proved {
                of_sources: vec![SourceProved {
                    source: source.clone(),
                    whole: true,
                    files: 10,
                    bytes: 100,
                    read_files: read_bytes / 10,
                    read_bytes,
                }],
                sources: vec![source],
                ..Proved::default()
            },
            invariants: Vec::new(),
            part,
            parts: 2,
            rehearsed_ms: 0,
            recovery_time: Measured::default(),
            recovery_point: Measured::default(),
            scratch_bytes: 0,
            page_blake3: String::new(),
            authentication: String::new(),
        }
    }

    #[test]
    fn a_share_is_of_bytes_and_each_part_counts_as_it_was_read_last() {
        let extent = |files, bytes| Extent { entries: files, files, bytes };
        let sizes: BTreeMap<String, Extent> =
            [("/srv".to_owned(), extent(20, 200)), ("/etc".to_owned(), extent(5, 50))].into();
        let covered = |records: &[Record]| of(records, sizes.keys().cloned(), &sizes);
        let (passed, failed) = (Verdict::Passed, Verdict::Failed);
        let none = covered(&[record(1, 1, 90, failed)]);
        assert_eq!((none["/srv"].proved_ns, none["/srv"].read_bytes, none["/srv"].share_read), (None, 0, 0.0));
        let one = &covered(&[record(1, 1, 90, passed)])["/srv"];
        assert_eq!((one.bytes, one.read_bytes, one.share_read, one.since_ns), (200, 90, 0.45, Some(1)));
        assert_eq!((one.files, one.read_files, one.whole), (20, 9, true));
        // The same part again is no more; another one is.
        let both = [record(1, 1, 90, passed), record(2, 1, 80, passed), record(3, 2, 10, passed)];
        let two = &covered(&both)["/srv"];
        assert_eq!((two.read_bytes, two.since_ns, two.proved_ns), (90, Some(2), Some(3)));
        assert_eq!(covered(&both)["/etc"], Covered { files: 5, bytes: 50, ..Covered::default() });
    }

    #[test]
    fn a_part_of_a_source_proves_no_source() {
        let sizes = |files, bytes| BTreeMap::from([("/srv".to_owned(), Extent { entries: files, files, bytes })]);
        let small = |ended_ns| {
            let mut record = record(ended_ns, 1, 90, Verdict::Passed);
            record.proved.of_sources[0].whole = false;
            record
        };
        let covered = |records: &[Record], of: Extent| {
            super::of(records, std::iter::empty(), &sizes(of.files, of.bytes))["/srv"].clone()
        };
        let large = Extent { entries: 200, files: 200, bytes: 2000 };
        let part = covered(&[small(1)], large);
        assert_eq!((part.whole, part.back_files, part.back_bytes, part.proved_ns), (false, 10, 100, Some(1)));
        assert_eq!((part.share_files_read, part.share_read), (0.045, 0.045));
        // All that it has now came back, though by parts; and a part that comes after all takes nothing away.
        assert!(covered(&[small(1)], Extent { entries: 10, files: 10, bytes: 100 }).whole);
        let both = covered(&[record(1, 1, 90, Verdict::Passed), small(2)], large);
        assert_eq!((both.whole, both.proved_ns), (true, Some(1)));
    }
}
