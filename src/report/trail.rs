//! Entries of the audit trail, told to people.

use crate::repo::audit::{
    check::{Problem, Trail},
    entry::{ACCEPTED, Entry},
    event::{Kind, Outcome, value_bytes},
    named,
};
use crate::report::{
    gather::text,
    model::{Row, When},
};
use crate::types::{path, role::Role, time::Instant, when::show};
use serde_json::Value;

/// The entries of a span that are asked for.
pub(super) fn rows(trail: &Trail, (from, to): (Instant, Instant), is: impl Fn(&Entry) -> bool) -> Vec<Row> {
    let inside = |entry: &Entry| entry.time() >= from && entry.time() <= to;
    let asked = trail.entries.iter().filter(|stored| inside(&stored.entry) && is(&stored.entry));
    let asked = asked.filter(|stored| !is_told_later(trail, &stored.entry));
    asked
        .map(|stored| Row {
            time: When(stored.entry.time()),
            what: what(&stored.entry),
            outcome: text(&stored.entry.outcome),
            who: text(&stored.entry.who.words()),
            entry: stored.hash.to_string(),
        })
        .collect()
}

/// Whether an entry is of one of these kinds.
pub(super) fn is_of(entry: &Entry, kinds: &[Kind]) -> bool {
    kinds.iter().any(|kind| kind.word() == entry.kind)
}

/// Whether it says only that something has begun, of which a later entry of the same run tells the end.
fn is_told_later(trail: &Trail, entry: &Entry) -> bool {
    let is_its_end = |later: &Entry| {
        let same = (&later.run, &later.kind, &later.subject) == (&entry.run, &entry.kind, &entry.subject);
        same && later.number > entry.number && later.outcome != Outcome::Begun.word()
    };
    entry.outcome == Outcome::Begun.word() && trail.entries.iter().any(|stored| is_its_end(&stored.entry))
}

/// Whether it tells of something that was not done, or not all of it.
pub(super) fn has_failed(entry: &Entry) -> bool {
    let is_short = entry.kind == Kind::Failure.word() || matches!(entry.outcome.as_str(), "failed" | "partial");
    is_short && !is_refused(entry)
}

/// Whether it tells of what somebody asked for and did not get, such as for a slip in a name: nothing that was to happen by itself.
pub(super) fn is_refused(entry: &Entry) -> bool {
    let asked = [Kind::Control, Kind::HoldLengthen, Kind::HoldRelease];
    entry.outcome == Outcome::Failed.word() && is_of(entry, &asked)
}

/// What an entry says, in words.
fn what(entry: &Entry) -> String {
    let about = |name: &str| entry.subject.get(name).filter(|v| !v.is_null()).map(words);
    let detail = |name: &str| entry.details.get(name).filter(|v| !v.is_null()).map(words);
    let count = |name: &str| entry.count(name);
    let told = match Kind::parse(&entry.kind) {
        Some(Kind::Verify) => {
            let depth = match entry.details.get("data_read") {
                Some(Value::Bool(true)) => match detail("subset_percent") {
                    Some(part) => format!("structure and {part} % of the data"),
                    None => "structure and all data".to_owned(),
                },
                _ => "structure".to_owned(),
            };
            format!(
                "{depth}: {} snapshot(s), {} pack(s), {} problem(s)",
                count("snapshots"),
                count("packs"),
                count("problems")
            )
        }
        Some(Kind::Restore) => {
            let to = detail("to").map_or("to where they were".to_owned(), |to| format!("to {to}"));
            let done = entry
                .details
                .get("done")
                .map(|d| d["created"].as_u64().unwrap_or(0) + d["replaced"].as_u64().unwrap_or(0));
            let files = done.map_or(String::new(), |n| format!(", {n} file(s)"));
            let as_of = detail("as_of").unwrap_or_default();
            let deleted = match entry.details.get("delete") {
                Some(Value::Bool(true)) => "; what was not there at that time was to be deleted",
                _ => "",
            };
            format!("restored {} {to}, as of {as_of}{files}{deleted}", about("paths").unwrap_or_default())
        }
        Some(Kind::Mount) => format!("mounted history on {}", about("directory").unwrap_or_default()),
        Some(Kind::Unmount) => format!("unmounted history from {}", about("directory").unwrap_or_default()),
        Some(Kind::HoldPlace) => format!("placed the hold {}", about("case").unwrap_or_default()),
        Some(Kind::HoldLengthen) => format!("lengthened the hold {}", about("case").unwrap_or_default()),
        Some(Kind::HoldRelease) => format!("released the hold {}", about("case").unwrap_or_default()),
        Some(Kind::HoldExport) => format!("handed over what the hold {} touches", about("case").unwrap_or_default()),
        Some(Kind::Lock) => format!(
            "locked the history of {}: nothing younger than {} goes",
            about("source").unwrap_or_default(),
            detail("window").unwrap_or_default()
        ),
        Some(Kind::AuditExport) => "handed over the audit trail".to_owned(),
        Some(Kind::AuditAccept) => {
            format!(
                "accepted that entries of the audit trail are missing or altered: {}",
                detail(ACCEPTED).unwrap_or_default()
            )
        }
        Some(Kind::KeyAdd) => {
            let role = detail("role").filter(|role| role != Role::Admin.word());
            let role = role.map(|role| format!(", with the role {role}")).unwrap_or_default();
            format!("added the key {} ({}{role})", about("key").unwrap_or_default(), detail("kind").unwrap_or_default())
        }
        Some(Kind::KeyRemove) => format!("removed the key {}", about("key").unwrap_or_default()),
        Some(Kind::KeyRotate) => format!(
            "rotated the keys{}",
            detail("generation").map(|generation| format!(": generation {generation} is in force")).unwrap_or_default()
        ),
        Some(Kind::Policy) => format!("the rules of retention are: {}", detail("text").unwrap_or_default()),
        Some(Kind::Snapshot) => snapshot(entry),
        Some(Kind::Failure) => {
            let of = about("source").map_or(String::new(), |source| format!(" of {source}"));
            format!("{}{of} failed", detail("doing").unwrap_or_else(|| "something".to_owned()))
        }
        Some(Kind::Delete) if detail("given_up").is_some() => format!(
            "gave up what can't be read of {}: {}",
            about("source").unwrap_or_default(),
            ["given_up", "lost", named::GIVEN_UP].iter().filter_map(|name| detail(name)).collect::<Vec<_>>().join(", ")
        ),
        Some(Kind::Delete) => format!(
            "released {} recovery point(s) of {} on {} ({}), by the authority of {}",
            count("snapshots"),
            about("source").unwrap_or_default(),
            about("host").unwrap_or_default(),
            detail("numbers").unwrap_or_default(),
            detail("authority").unwrap_or_default()
        ),
        Some(Kind::Maintain) if about("retired_host").is_some() => {
            format!("waits no longer for the host {}", about("retired_host").unwrap_or_default())
        }
        Some(Kind::Maintain) => format!(
            "maintained the repository: released {} recovery point(s), deleted {} pack(s)",
            count("released"),
            count("deleted_packs")
        ),
        Some(Kind::Replicate) => format!(
            "brought the copy at the site {} ({}) up to date: {} object(s) copied, {} deleted, {} problem(s)",
            about("site").unwrap_or_default(),
            about("location").unwrap_or_default(),
            count("copied"),
            count("deleted"),
            count("problems")
        ),
        Some(Kind::Repair) => format!(
            "put {} damaged or missing object(s) back from the site {}; {} could not be",
            count("put_back"),
            about("site").unwrap_or_default(),
            count("not_put_back")
        ),
        Some(Kind::Control) => {
            let done = detail("done").map_or(String::new(), |done| format!(": {done}"));
            format!("told the service: {}{done}", detail("asked").unwrap_or_default())
        }
        Some(Kind::Report) => "made a report".to_owned(),
        Some(Kind::PlanRun) => {
            let steps = entry.details.get("steps").and_then(Value::as_array).map_or(0, Vec::len);
            let over = detail("over").map_or(String::new(), |over| format!(": {over}, {steps} step(s)"));
            let (plan, run) = (about("plan").unwrap_or_default(), about("run").unwrap_or_default());
            format!("ran the recovery plan {plan} as of {}, run {run}{over}", detail("as_of").unwrap_or_default())
        }
        _ => {
            let all = entry.subject.iter().chain(&entry.details).filter(|(_, v)| !v.is_null());
            let all: Vec<String> = all.map(|(name, value)| format!("{name} {}", words(value))).collect();
            format!("{}: {}", text(&entry.kind), all.join(", "))
        }
    };
    let spelt_out = matches!(Kind::parse(&entry.kind), None | Some(Kind::Captures));
    let says_so = spelt_out || entry.kind == Kind::Failure.word();
    let told = match entry.outcome == "failed" && !says_so {
        true => format!("tried, in vain: {told}"),
        false => told,
    };
    match detail("why").filter(|_| !spelt_out) {
        Some(why) => format!("{told}; {why}"),
        None => told,
    }
}

/// A snapshot that somebody asked for, and what of it was not captured.
fn snapshot(entry: &Entry) -> String {
    let value = |name: &str| entry.subject.get(name).filter(|v| !v.is_null()).map(words).unwrap_or_default();
    let mut told = format!("captured {} on {}", value("source"), value("host"));
    if let Some(number) = entry.subject.get("snapshot").and_then(|s| s.get("number")) {
        told.push_str(&format!(" as recovery point {number}"));
    }
    for (name, what) in [
        ("unreadable", "could not be read"),
        ("fuzzy", "changed all the time while being read, or are databases that could not be copied as a whole"),
        ("altered", "had changed without a change of their times"),
    ] {
        if entry.count(name) > 0 {
            told.push_str(&format!("; {} file(s) {what}", entry.count(name)));
        }
    }
    if let Some(Value::Array(failures)) = entry.details.get("failures") {
        failures.iter().for_each(|failure| told.push_str(&format!("; {}", words(failure))));
    }
    told
}

/// A value of an entry.
fn words(value: &Value) -> String {
    match (value_bytes(value), value) {
        (Some(bytes), _) => path::show(&bytes).replace("\\n", "; "),
        (None, Value::Array(all)) => all.iter().map(words).collect::<Vec<_>>().join(", "),
        (None, Value::Object(map)) => {
            let all: Vec<String> = map.iter().map(|(name, value)| format!("{} {}", text(name), words(value))).collect();
            format!("({})", all.join(", "))
        }
        (None, other) => other.to_string(),
    }
}

/// What is wrong with the trail, in one line.
pub(super) fn problem_words(p: &Problem) -> String {
    let number = p.number.map_or(String::new(), |n| format!(", entry {n}"));
    let at = |at: Option<Instant>| at.map_or("an unknown time".to_owned(), show::exact_name);
    format!("{}{number}: {}; written between {} and {}", text(&p.object), text(&p.what), at(p.after), at(p.before))
}
