//! What the commands of drills tell.

use super::plan_told::took;
use crate::cli::sizes::show_size;
use crate::drill::{
    coverage::{Covered, Whole},
    record::{Measured, Record, Verdict},
};
use crate::types::{
    path::tame,
    time::Instant,
    when::{show, zone::Zone},
};

fn word(record: &Record) -> &'static str {
    match record.verdict {
        Verdict::Passed => "passed",
        Verdict::PassedInPart => "passed, but for steps that failed and may",
        Verdict::Failed => "failed",
    }
}

/// A drill in a line.
pub(super) fn line(record: &Record, zone: &Zone) -> String {
    let begun = show::show_second(Instant(record.begun_ns), zone);
    let why = record.failures.first().map_or(String::new(), |why| format!(": {why}"));
    tame(&format!("{}  {begun}  at {}  {}{why}", record.drill, record.at, word(record)))
}

/// All of it.
pub(super) fn lines(record: &Record, zone: &Zone) -> Vec<String> {
    let begun = show::show_second(Instant(record.begun_ns), zone);
    let mut lines = vec![
        format!("drill {} of the plan {}, begun {begun}", record.drill, record.plan),
        format!("instant: {} ({})", record.at, record.chosen),
    ];
    for step in &record.steps {
        let copying = step.copying_ms.map_or(String::new(), |ms| format!(", copying takes about {} more", took(ms)));
        let why = step.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        lines.push(format!("  {}: {} in {}{copying}{why}", step.step, step.ended, took(step.took_ms)));
    }
    let proved = &record.proved;
    lines.push(format!("came back: {} file(s), {}", proved.files, show_size(proved.bytes)));
    lines.push(format!(
        "read and compared: {} file(s), {}, part {} of {}",
        proved.read_files,
        show_size(proved.read_bytes),
        record.part,
        record.parts
    ));
    lines.push(format!("databases read whole: {}", proved.databases));
    for of in &record.invariants {
        let (expected, found) = (of.expected.as_deref().unwrap_or("-"), of.found.as_deref().unwrap_or("-"));
        let why = of.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let values = format!("expected {expected:?}, found {found:?} ({})", of.compare);
        lines.push(format!("invariant {} of {}: {}, {values}{why}", of.name, of.source, of.verdict.words()));
    }
    lines.push(format!("recovery time: {}", measured(record.recovery_time)));
    lines.push(format!("recovery point: {}", measured(record.recovery_point)));
    lines.push(format!("taken on the disk: {}", show_size(record.scratch_bytes)));
    lines.extend(record.failures.iter().map(|why| format!("failed: {why}")));
    for step in record.failed_steps() {
        let why = step.why.as_deref().unwrap_or("nobody told why");
        lines.push(format!("failed, which the plan lets it: the step {}: {why}", step.step));
    }
    lines.push(word(record).to_owned());
    lines.into_iter().map(|line| tame(&line)).collect()
}

fn measured(of: Measured) -> String {
    let is = of.ms.map_or("not measured".to_owned(), took);
    match of.objective_ms {
        None => is,
        Some(wanted) => format!("{is}, objective {}: {}", took(wanted), if of.is_met() { "met" } else { "not met" }),
    }
}

/// What drills have proved of a source, in a line.
pub(super) fn covered(source: &str, covered: &Covered, zone: &Zone) -> String {
    match covered.proved_ns {
        None => format!("{source}: never proved by a drill"),
        Some(ns) => format!(
            "{source}: {} {} by the plan {}{}; {} of its files read, {} of {}, and {} of its bytes, {} of {}{}",
            if covered.whole { "proved" } else { "proved only in part," },
            show::show_second(Instant(ns), zone),
            covered.plan,
            match covered.whole {
                true => String::new(),
                false => format!(
                    ", which brings back {} of {} file(s), {} of {}",
                    covered.back_files,
                    covered.files,
                    show_size(covered.back_bytes),
                    show_size(covered.bytes)
                ),
            },
            percent(covered.share_files_read),
            covered.read_files,
            covered.files,
            percent(covered.share_read),
            show_size(covered.read_bytes),
            show_size(covered.bytes),
            covered
                .since_ns
                .map_or(String::new(), |since| format!(", since {}", show::show_second(Instant(since), zone)))
        ),
    }
}

/// What drills have proved of everything, in a line.
pub(super) fn whole(whole: &Whole) -> String {
    format!(
        "all: {} of {} source(s) proved, {} more in part, {} of {} plan(s) passed; {} of the files read, {} of {}, and {} of the bytes, \
         {} of {}",
        whole.sources_proved,
        whole.sources,
        whole.sources_in_part,
        whole.plans_passed,
        whole.plans,
        percent(whole.share_files_read),
        whole.read_files,
        whole.files,
        percent(whole.share_read),
        show_size(whole.read_bytes),
        show_size(whole.bytes)
    )
}

/// A share that says 100 % only of all, and 0 % only of nothing.
fn percent(share: f64) -> String {
    let percent = (share * 100.0).floor();
    if share > 0.0 && percent == 0.0 { "less than 1 %".to_owned() } else { format!("{percent:.0} %") }
}
