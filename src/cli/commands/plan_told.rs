//! Plans, runs and estimates, as they are told.

use serde_json::{Value, json};

use crate::cli::sizes::show_size;
use crate::plan::{
    estimate::Estimate,
    graph,
    journal::{Ended, Story},
    model::Plan,
    places::RunDir,
    rates, undo,
};
use crate::types::{
    duration::show_duration,
    path::tame,
    time::Instant,
    when::{show, zone::Zone},
};
use std::time::Duration;

/// A time that something took.
pub(super) fn took(ms: u64) -> String {
    // Nobody counts milliseconds of an hour.
    let ms = if ms > 10_000 { ms / 1000 * 1000 } else { ms };
    show_duration(Duration::from_millis(ms))
}

/// How much a step did, behind what it took.
pub(super) fn did(ended: &Ended) -> String {
    let mut text = String::new();
    if ended.amount.files > 0 || ended.amount.bytes > 0 {
        text.push_str(&format!(", {} file(s), {}", ended.amount.files, show_size(ended.amount.bytes)));
    }
    if let Some(told) = &ended.told {
        text.push_str(&format!(" ({told})"));
    }
    text
}

/// How a run stands, in a few words.
pub(super) fn standing(run: &RunDir, story: &Story) -> String {
    match (story.over, run.process(), &story.stopped) {
        (Some(over), ..) => over.words().to_owned(),
        (None, Some(pid), _) if story.rolling_back.is_some() => format!("is rolled back by process {pid}"),
        (None, Some(pid), _) => format!("runs, process {pid}"),
        (None, None, Some(why)) => format!("stopped: {why}"),
        (None, None, None) => "interrupted".to_owned(),
    }
}

/// What an estimate and the fact have to do with each other.
pub(super) fn compared(run: &str, story: &Story) -> String {
    let compared = rates::compared(run, story);
    match compared.estimated_ms {
        0 => format!("took {}; there was no estimate, since nothing had been measured", took(compared.took_ms)),
        estimated => format!("took {}; estimated {}", took(compared.took_ms), took(estimated)),
    }
}

pub(super) fn run_line(run: &RunDir, story: &Story, zone: &Zone) -> String {
    let begun = show::show_second(Instant(story.begun_ns), zone);
    tame(&format!("{}  {begun}  at {}  {}", run.id, story.at, standing(run, story)))
}

pub(super) fn run_lines(run: &RunDir, story: &Story, zone: &Zone) -> Vec<String> {
    let mut lines = vec![run_line(run, story, zone)];
    for (name, value) in &story.values {
        lines.push(format!("  {name} = {value}"));
    }
    for name in &story.order {
        let Some(ended) = story.ended.get(name) else { continue };
        let why = ended.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        lines.push(format!("  {name}: {} in {}{}{why}", ended.ending.word(), took(ended.took_ms), did(ended)));
        lines.extend(ended.problems.iter().map(|problem| format!("    {problem}")));
    }
    lines.extend(story.half.iter().map(|name| format!("  {name}: begun, and not over")));
    for (name, why) in &story.undone {
        let why = why.as_ref().map_or("taken back".to_owned(), |why| undo::words(why));
        lines.push(format!("  {name}: {why}"));
    }
    if let Some(why) = &story.rolling_back {
        lines.push(format!("  rolled back, since {why}"));
    }
    if story.over.is_some() {
        lines.push(format!("  {}", compared(&run.id, story)));
    }
    lines.into_iter().map(|line| tame(&line)).collect()
}

/// What each step did, for programs and for the audit trail.
pub(super) fn steps_json(story: &Story) -> Vec<Value> {
    let step = |name: &String| {
        let ended = &story.ended[name];
        json!({
            "step": name, "ended": ended.ending.word(), "took_ms": ended.took_ms, "files": ended.amount.files,
            "bytes": ended.amount.bytes, "why": ended.why, "problems": ended.problems.len(), "told": ended.told,
        })
    };
    story.order.iter().filter(|name| story.ended.contains_key(*name)).map(step).collect()
}

pub(super) fn undone_json(story: &Story) -> Vec<Value> {
    story.undone.iter().map(|(step, why)| json!({ "step": step, "undone": why.is_none(), "why": why })).collect()
}

pub(super) fn run_json(run: &RunDir, story: &Story) -> Value {
    let compared = rates::compared(&run.id, story);
    json!({
        "run": run.id, "plan": story.plan, "at": story.at, "begun": show::exact_name(Instant(story.begun_ns)),
        "standing": standing(run, story), "process": run.process(), "inputs": story.values,
        "over": story.over.map(|over| over.words()), "stopped": story.stopped, "rolled_back_since": story.rolling_back,
        "steps": steps_json(story), "half_done": story.half, "undone": undone_json(story),
        "estimated_ms": compared.estimated_ms, "took_ms": compared.took_ms,
    })
}

/// A plan for programs.
pub(super) fn plan_json(plan: &Plan) -> Value {
    let inputs: Vec<Value> = plan
        .inputs
        .iter()
        .map(|i| json!({ "name": i.name, "about": i.about, "type": i.sort.word(), "default": i.default }))
        .collect();
    let steps: Vec<Value> = graph::order(plan)
        .into_iter()
        .map(|n| &plan.steps[n])
        .map(|s| {
            json!({
                "name": s.name, "kind": s.work.word(), "about": s.about, "needs": s.needs,
                "when": s.when.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "timeout_ms": s.timeout.map(|t| t.as_millis() as u64), "retries": s.retries, "may_fail": s.may_fail,
                "again": s.again, "undo": s.undo.is_some(),
            })
        })
        .collect();
    json!({ "plan": plan.name, "file": plan.path, "about": plan.about, "on_failure": plan.on_failure, "inputs": inputs, "steps": steps })
}

/// What a dry run tells.
pub(super) fn estimate_lines(plan: &Plan, estimate: &Estimate) -> Vec<String> {
    let mut lines = Vec::new();
    for step in graph::order(plan).into_iter().map(|n| &plan.steps[n]) {
        let Some(expected) = estimate.steps.get(&step.name) else { continue };
        let mut text = format!("{}: {}", step.name, step.work.word());
        if let Some(why) = &expected.skipped {
            lines.push(format!("{text}, skipped: the condition \"{why}\" does not hold"));
            continue;
        }
        if expected.amount.files > 0 || expected.amount.bytes > 0 {
            text.push_str(&format!(", {} file(s), {}", expected.amount.files, show_size(expected.amount.bytes)));
        }
        match expected.takes_ms {
            Some(ms) => text.push_str(&format!(", about {}", took(ms))),
            None => text.push_str(", time not measured yet"),
        }
        if let Some(problem) = &expected.problem {
            text.push_str(&format!("; {problem}"));
        }
        lines.push(text);
    }
    let amount = estimate.amount();
    let steps = estimate.steps.values().filter(|e| e.skipped.is_none()).count();
    let mut last = format!("would do {steps} step(s), {} file(s), {}", amount.files, show_size(amount.bytes));
    if estimate.takes_ms > 0 {
        last.push_str(&format!(", in about {}", took(estimate.takes_ms)));
    }
    if !estimate.unknown.is_empty() {
        last.push_str(&format!("; how long these take was not measured yet: {}", estimate.unknown.join(", ")));
    }
    lines.push(last);
    lines.into_iter().map(|line| tame(&line)).collect()
}
