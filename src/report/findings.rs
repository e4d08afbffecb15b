//! What a reader must know first.

use crate::report::model::{Compliance, Finding, Protected, Weight};
use crate::types::duration::show_duration;
use std::time::Duration;

/// What there is to say of a report, the weightiest first.
pub(super) fn findings(report: &Compliance) -> Vec<Finding> {
    let mut out = Findings::default();
    if report.sources.is_empty() {
        out.add(Weight::Problem, "Nothing is protected.".to_owned());
    }
    report.sources.iter().for_each(|source| out.source(source));
    out.verification(report);
    for hold in report.holds.iter().filter(|hold| hold.touches == 0) {
        out.add(Weight::Attention, format!("The legal hold {} touches no recovery point.", hold.case));
    }
    if !report.trail.problems.is_empty() {
        let n = report.trail.problems.len();
        out.add(
            Weight::Problem,
            format!(
                "The audit trail is not whole: {n} problem(s). What this report says may lack what was taken out of it."
            ),
        );
    }
    let failed = report.failures.iter().filter(|row| row.outcome == "failed").count();
    let partial = report.failures.len() - failed;
    if failed > 0 {
        out.add(Weight::Attention, format!("{failed} operation(s) failed."));
    }
    if partial > 0 {
        out.add(Weight::Attention, format!("{partial} operation(s) were done in part only."));
    }
    if !report.refused.is_empty() {
        let n = report.refused.len();
        out.add(Weight::Note, format!("{n} request(s) were refused or could not be done as asked."));
    }
    if !report.deletions.is_empty() {
        let n = report.deletions.len();
        out.add(Weight::Note, format!("{n} deletion(s) were made; each is listed with its authority."));
    }
    out.0.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    out.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, weight: Weight, text: String) {
        self.0.push(Finding { weight, text });
    }

    fn source(&mut self, s: &Protected) {
        let name = format!("{} on {}", s.source, s.host);
        if s.since.is_none() {
            self.add(Weight::Problem, format!("{name} is to be protected and has no recovery point at all."));
        } else if s.recovery_points == 0 && s.met_percent.is_none_or(|percent| percent < 100.0) {
            let weight = if s.in_settings { Weight::Problem } else { Weight::Attention };
            self.add(weight, format!("{name} got no recovery point in this time."));
        }
        match (s.met_percent, s.objective_ns) {
            (Some(percent), Some(objective)) if s.missed_count > 0 => {
                let (objective, longest) = (words(objective), words(s.longest_ns));
                let share = share(percent);
                self.add(Weight::Problem, format!("{name} missed its objective of {objective}: it held for {share} of the time, and the longest time without a recovery point was {longest}."));
            }
            (None, None) if s.in_settings => {
                self.add(Weight::Note, format!("{name} has no objective to be measured against."));
            }
            _ => {}
        }
        if !s.incomplete.is_empty() {
            self.add(Weight::Problem, format!("{name} is not whole: {}.", s.incomplete.join("; ")));
        }
        if !s.lost.is_empty() {
            self.add(Weight::Problem, format!("{name} has lost recovery points: they can't be shown any more."));
        }
        if s.gap_count > 0 {
            self.add(Weight::Note, format!("{name}: capture was blind {} time(s); what changed meanwhile was found afterwards, at its last state.", s.gap_count));
        }
    }

    fn verification(&mut self, report: &Compliance) {
        let found = report.verifications.iter().rev().skip(1).filter(|row| row.outcome == "partial").count();
        if found > 0 {
            self.add(
                Weight::Attention,
                format!("{found} earlier verification(s) found damage; what became of it, later ones say."),
            );
        }
        match report.verifications.last() {
            None => self.add(Weight::Attention, "The repository was not verified in this time.".to_owned()),
            Some(last) if last.outcome != "done" => {
                self.add(Weight::Problem, format!("The last verification found damage or did not end: {}.", last.what));
            }
            Some(_) => {}
        }
    }
}

/// A share that was not whole never reads as whole.
pub(super) fn share(percent: f64) -> String {
    let cut = (percent * 100.0).floor() / 100.0;
    format!("{cut:.2} %")
}

/// So many nanoseconds in words, without more than two units.
pub(super) fn words(ns: i64) -> String {
    let duration = Duration::from_nanos(ns.max(0).unsigned_abs());
    let rounded = match duration.as_secs() {
        0 => duration,
        s if s < 3600 => Duration::from_secs(s),
        s if s < 86_400 => Duration::from_secs(s / 60 * 60),
        s => Duration::from_secs(s / 3600 * 3600),
    };
    show_duration(rounded)
}
