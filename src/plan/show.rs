//! A plan as a runbook: what a person would do by hand, step by step.

use super::graph;
use super::model::{Check, How, OnFailure, Plan, Program, Restore, Server, Step, Undo, Wait, Work};
use super::template::{Template, Values};
use crate::types::duration::show_duration;

/// The runbook, in lines.
pub fn runbook(plan: &Plan) -> Vec<String> {
    let mut lines = vec![format!("PLAN {}", plan.name)];
    if !plan.about.is_empty() {
        lines.extend(plan.about.lines().map(str::to_owned));
    }
    lines.push(String::new());
    lines.push(match plan.on_failure {
        OnFailure::RollBack => "Where a step fails, what was made is taken back, the last step first.".into(),
        OnFailure::Stop => "Where a step fails, everything stays; mend the cause, and go on with --resume.".into(),
    });
    lines.extend([String::new(), "BEFORE YOU BEGIN, KNOW".into()]);
    lines.push("  ${at}: the instant that is recovered to, given by --at".into());
    for input in &plan.inputs {
        let default = match &input.default {
            Some(default) => format!("; {default:?} if nothing is said"),
            None if super::inputs::is_set_by_a_step(plan, input) => "; a step finds it".to_owned(),
            None => "; it has to be given".to_owned(),
        };
        let about = if input.about.is_empty() { String::new() } else { format!(": {}", input.about) };
        lines.push(format!("  ${{{}}}{about} (a {}{default})", input.name, input.sort.word()));
    }
    lines.extend([String::new(), "STEPS".into()]);
    for (n, at) in graph::order(plan).into_iter().enumerate() {
        lines.push(String::new());
        lines.extend(step_lines(n + 1, &plan.steps[at]));
    }
    lines
}

fn step_lines(n: usize, step: &Step) -> Vec<String> {
    let mut lines = vec![format!("{n}. {}", step.name)];
    let mut add = |text: String| lines.push(format!("   {text}"));
    step.about.lines().for_each(|line| add(line.to_owned()));
    if !step.needs.is_empty() {
        add(format!("After: {}.", step.needs.join(", ")));
    }
    for condition in &step.when {
        add(format!("Only if {condition}."));
    }
    does(step).into_iter().for_each(&mut add);
    let mut limits = Vec::new();
    limits.extend(step.timeout.map(|timeout| format!("It is done within {}.", show_duration(timeout))));
    if step.retries > 0 {
        limits.push(format!(
            "It is tried again up to {} time(s), after {}.",
            step.retries,
            show_duration(step.retry_after)
        ));
    }
    if !limits.is_empty() {
        add(limits.join(" "));
    }
    if step.may_fail {
        add("If it fails, go on.".into());
    }
    if !step.again {
        add("If it was cut off in the middle, look before it is done again.".into());
    }
    match &step.undo {
        Some(Undo::Remove) => add("To take it back: remove what it made.".into()),
        Some(Undo::Run(program)) => add(format!("To take it back: {}", line(program))),
        None => {}
    }
    lines
}

/// What a step does, and how that is done by hand.
fn does(step: &Step) -> Vec<String> {
    match &step.work {
        Work::Restore(what) => vec![format!("Run: {}", restore(what))],
        Work::Postgres(what) => vec![
            format!("Recover the PostgreSQL server {} as of {} into {}.", w(&what.source), w(&what.at), w(&what.data)),
            "By hand: restore its base, make recovery.signal, set restore_command and recovery_target_time, start it (bygone(7), Kinds of data)."
                .into(),
            format!("Then it {}.", if what.keeps_running { "runs on, on a socket of its own" } else { "is stopped" }),
        ],
        Work::Command { program, sets } => {
            let sets = sets.as_ref().map(|sets| format!("Its first line is ${{{sets}}} from now on."));
            [format!("Run: {}", line(program))].into_iter().chain(sets).collect()
        }
        Work::Check(what) => check(what),
        Work::Wait(Wait::For(time)) => vec![format!("Wait {}.", show_duration(*time))],
        Work::Wait(Wait::Until { program, .. }) => vec![format!("Wait until this ends with 0: {}", line(program))],
        Work::Wait(Wait::Port { port, .. }) => vec![format!("Wait until something listens at {}.", w(port))],
        Work::Manual { ask } => vec![format!("A person: {}", w(ask)), "Then confirm it.".into()],
        Work::Notify { channel, message } => {
            let to = channel.as_ref().map_or("all channels".to_owned(), |channel| format!("the channel {}", w(channel)));
            vec![format!("Tell by {to}: {}", w(message))]
        }
    }
}

fn check(what: &Check) -> Vec<String> {
    let list = |all: &[Template]| all.iter().map(w).collect::<Vec<_>>().join(", ");
    vec![match what {
        Check::Exists(paths) => format!("Look whether these are there: {}", list(paths)),
        Check::Sqlite(paths) => {
            format!("Look whether the SQLite databases in {} are whole (PRAGMA integrity_check).", list(paths))
        }
        Check::Hash { file, hash } => format!("Look whether {} has the hash {}.", w(file), w(hash)),
        Check::Same { path, here, at, .. } => format!("Compare {} with {} as of {}.", w(here), w(path), w(at)),
        Check::Program { program, prints: None } => format!("Look whether this ends with 0: {}", line(program)),
        Check::Program { program, prints: Some(text) } => {
            format!("Look whether this prints {:?}: {}", w(text), line(program))
        }
        Check::Query { server, query, expect, .. } => {
            let server = match server {
                Server::Step(step) => format!("of the step {step}"),
                Server::Connection(to) => format!("at {}", w(to)),
            };
            let expect = expect.as_ref().map_or("answers".to_owned(), |text| format!("answers {:?}", w(text)));
            format!("Look whether the server {server} {expect}: {}", w(query))
        }
        Check::Invariants => {
            "Measure the invariants of what came back, and compare them with what was recorded.".to_owned()
        }
        Check::Newest { probe, before, program, sets, .. } => format!(
            "Find ${{{sets}}}, the newest instant not after {} at which this ends with 0, given {}: {}",
            w(before),
            list(probe),
            line(program)
        ),
    }]
}

fn restore(what: &Restore) -> String {
    let mut words = vec!["bygone restore".to_owned()];
    words.extend(what.paths.iter().map(w));
    words.extend(what.source.iter().map(|source| format!("(the source {})", w(source))));
    words.push(format!("--at '{}'", w(&what.at)));
    match &what.to {
        Some(to) => words.push(format!("--to {}", w(to))),
        None => words.push("--in-place".into()),
    }
    if what.delete {
        words.push("--delete".into());
    }
    if what.overwrite {
        words.push("--overwrite".into());
    }
    words.extend(what.host.iter().map(|host| format!("--host {}", w(host))));
    words.join(" ")
}

fn line(program: &Program) -> String {
    let mut text = match &program.how {
        How::Shell(line) => line.trim().to_owned(),
        How::Args(args) => args.iter().map(w).collect::<Vec<_>>().join(" "),
    };
    if let Some(user) = &program.user {
        text = format!("{text}   (as the user {})", w(user));
    }
    text
}

/// As it is for a person: inputs by their names, and `${` where the file has it as `$${`.
fn w(text: &Template) -> String {
    text.fill(&Values::new())
}
