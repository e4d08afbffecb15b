//! `bygone audit show`, `verify` and `export`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::args::evidence::{Audit, AuditExport, AuditShow, AuditVerify};
use crate::cli::context::{Context, absolute};
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::Past;
use crate::cli::trail;
use crate::crypto::sha256;
use crate::repo::{
    attach::state_dir_of,
    audit::{
        check::{self, Problem, Trail},
        entry::{self, Stored},
        event::{Event, Kind, Outcome as Ended, bytes_value, value_bytes},
        found::{self, Found},
    },
    error::RepoError,
    names,
    open::Repository,
};
use crate::sys::{clock, durable};
use crate::types::{path, time::Instant, when::show};

/// Runs one of them.
pub fn run(context: &Context, command: &Audit) -> Result<Outcome, Failure> {
    match command {
        Audit::Show(args) => show_entries(context, args),
        Audit::Verify(args) => verify(context, args),
        Audit::Export(args) => export(context, args),
    }
}

fn checked(context: &Context, repo: &Repository) -> Result<Trail, Failure> {
    check::check(repo, &state_dir_of(&context.config.state, repo.id())).into_failure()
}

fn show_entries(context: &Context, args: &AuditShow) -> Result<Outcome, Failure> {
    for kind in &args.kinds {
        if Kind::parse(kind).is_none() {
            let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
            return Err(
                Failure::usage(format!("{kind:?} is no kind of entry")).hint(format!("one of {}", all.join(", ")))
            );
        }
    }
    let past = Past::open(context)?;
    let since = args.since.as_deref().map(|text| past.time_from(text)).transpose()?.unwrap_or(Instant(i64::MIN));
    let until = args.until.as_deref().map(|text| past.time(text)).transpose()?.map_or(Instant(i64::MAX), |t| t.instant);
    past.refuse_no_time(since, until)?;
    let trail = checked(context, past.at.repo())?;
    let mut out = context.out();
    for stored in &trail.entries {
        let entry = &stored.entry;
        let asked = args.kinds.is_empty() || args.kinds.contains(&entry.kind);
        if !asked || entry.time() < since || entry.time() > until {
            continue;
        }
        match context.json {
            true => {
                out.json(&json!({ "hash": stored.hash.to_string(), "object": stored.place.name(), "entry": entry }))?
            }
            false => out.line(format_args!("{}  {}", past.show(entry.time()), in_words(stored)))?,
        }
    }
    out.finish()?;
    warn_of(&trail);
    Ok(if trail.problems.is_empty() { past.outcome } else { Outcome::Partial })
}

fn warn_of(trail: &Trail) {
    if !trail.problems.is_empty() {
        let found = trail.problems.len();
        tracing::error!("the trail is not whole: {found} problem(s); `bygone audit verify` names them");
    }
}

/// An entry in one line.
pub fn in_words(stored: &Stored) -> String {
    let entry = &stored.entry;
    let mut text = format!("{} {}", entry.kind, entry.outcome);
    for (name, value) in entry.subject.iter().chain(&entry.details).filter(|(_, value)| !value.is_null()) {
        text.push_str(&format!("  {name}={}", value_words(value)));
    }
    format!("{text}  by {}", path::show(entry.who.words().as_bytes()))
}

/// A value of an entry for people: nothing in it can steer a terminal.
fn value_words(value: &Value) -> String {
    match (value_bytes(value), value) {
        (Some(bytes), _) => path::show(&bytes),
        (None, Value::Array(all)) => format!("[{}]", all.iter().map(value_words).collect::<Vec<_>>().join(", ")),
        (None, Value::Object(map)) => {
            let all: Vec<String> = map.iter().map(|(name, value)| format!("{name} {}", value_words(value))).collect();
            format!("({})", all.join(", "))
        }
        (None, other) => other.to_string(),
    }
}

fn verify(context: &Context, args: &AuditVerify) -> Result<Outcome, Failure> {
    let repo = open::repository(context)?;
    let mut trail = checked(context, &repo)?;
    if trail.entries.is_empty() && trail.problems.is_empty() {
        let histories = repo.store().list(names::JOURNAL).map_err(RepoError::from).into_failure()?;
        if !histories.is_empty() {
            let what = "there is no entry at all, and there are histories, whose programs wrote entries: all of the trail was removed";
            trail.problems.push(Problem {
                object: names::AUDIT.to_owned(),
                number: None,
                what: what.to_owned(),
                after: None,
                before: None,
            });
        }
    }
    let accepts = args.accept && !trail.problems.is_empty();
    if accepts {
        accept(context, &repo, &trail.problems)?;
        trail.accepted.append(&mut trail.problems);
    }
    let noted = note(&state_dir_of(&context.config.state, repo.id()), &trail);
    let mut out = context.out();
    for (problem, accepted) in both(&trail) {
        match context.json {
            true => out.json(&problem_json(problem, accepted))?,
            false if accepted => out.line(format_args!("accepted: {}", problem_words(problem)))?,
            false => out.line(problem_words(problem))?,
        }
    }
    if context.json {
        out.json(&json!({
            "entries": trail.entries.len(), "runs": trail.runs, "problems": trail.problems.len(),
            "accepted": trail.accepted.len(),
        }))?;
    } else if !context.quiet {
        let (entries, runs, problems) = (trail.entries.len(), trail.runs, trail.problems.len());
        let found = match (problems, trail.accepted.len()) {
            (0, 0) => "nothing is altered or missing".to_owned(),
            (0, n) => format!("{n} problem(s), all accepted"),
            (n, _) => format!("{n} problem(s)"),
        };
        out.line(format_args!("checked {entries} entries of {runs} runs of programs: {found}"))?;
    }
    out.finish()?;
    Ok(if trail.problems.is_empty() { noted } else { Outcome::Partial })
}

/// Notes what was found, for `bygone health`.
fn note(dir: &Path, trail: &Trail) -> Outcome {
    let found = trail.problems.first().map(|first| Found {
        at_ns: clock::now().0,
        problems: trail.problems.len() as u64,
        first: problem_words(first),
    });
    match found::note(dir, found.as_ref()) {
        Ok(()) => Outcome::Done,
        Err(e) => {
            tracing::error!("`bygone health` does not know of this check: {e}");
            Outcome::Partial
        }
    }
}

/// What is wrong, and whether it is accepted.
fn both(trail: &Trail) -> impl Iterator<Item = (&Problem, bool)> {
    let open = trail.problems.iter().map(|problem| (problem, false));
    open.chain(trail.accepted.iter().map(|problem| (problem, true)))
}

/// Writes down that what is wrong will not be mended.
fn accept(context: &Context, repo: &Arc<Repository>, problems: &[Problem]) -> Result<(), Failure> {
    let names: Vec<&str> = problems.iter().map(|problem| problem.object.as_str()).collect();
    let audit = trail::open(context, repo);
    let event = Event::new(Kind::AuditAccept, Ended::Done).detail(entry::ACCEPTED, names);
    audit.record_durably(event).explain(|| "nothing is accepted, since it could not be written into the audit trail")
}

/// A problem in one line: the object, the number of the entry, what is wrong, and when it was written.
pub fn problem_words(p: &Problem) -> String {
    let number = p.number.map_or(String::new(), |n| format!(" entry {n}:"));
    let at = match (p.after.map(show::exact_name), p.before.map(show::exact_name)) {
        (Some(a), Some(b)) if a == b => format!("; it was written at {a}"),
        (Some(a), Some(b)) => format!("; it was written between {a} and {b}"),
        (Some(a), None) => format!("; it was written at {a} or later"),
        (None, Some(b)) => format!("; it was written at {b} or earlier"),
        (None, None) => String::new(),
    };
    format!("{}:{number} {}{at}", path::show(p.object.as_bytes()), path::show(p.what.as_bytes()))
}

fn problem_json(p: &Problem, accepted: bool) -> Value {
    json!({
        "accepted": accepted, "object": p.object, "entry": p.number, "what": p.what,
        "after": p.after.map(show::exact_name), "before": p.before.map(show::exact_name),
    })
}

fn export(context: &Context, args: &AuditExport) -> Result<Outcome, Failure> {
    let given = absolute(&args.to)?;
    let to = if given.is_dir() { given.join("audit.jsonl") } else { given };
    let repo = open::repository(context)?;
    let trail = checked(context, &repo)?;
    warn_of(&trail);
    write(&to, &trail)?;
    let audit = trail::open(context, &repo);
    let event = Event::new(Kind::AuditExport, Ended::Done)
        .about("file", bytes_value(to.as_os_str().as_encoded_bytes()))
        .detail("entries", trail.entries.len())
        .detail("problems", trail.problems.len());
    let recorded = trail::told(audit.record(event));
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "file": to, "entries": trail.entries.len(), "problems": trail.problems.len() }))?,
        false if !context.quiet => {
            out.line(format_args!("wrote {} entries to {}", trail.entries.len(), to.display()))?;
        }
        false => {}
    }
    out.finish()?;
    Ok(if trail.problems.is_empty() { recorded } else { Outcome::Partial })
}

/// The entries, their hashes, and the checksums of both. Entries of a run stand together, in order.
fn write(to: &Path, trail: &Trail) -> Result<(), Failure> {
    let beside = |end: &str| {
        let mut name = to.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let mut entries: Vec<&Stored> = trail.entries.iter().collect();
    entries.sort_by(|a, b| a.place.cmp(&b.place));
    let lines: String = entries.iter().map(|s| format!("{}\n", s.text)).collect();
    let hashes: String = entries.iter().map(|s| format!("{}  {}\n", s.hash, s.place.name())).collect();
    let hashes_at = beside(".b3");
    let mut sums = Vec::new();
    for (path, text) in [(to, &lines), (&hashes_at, &hashes)] {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        sums.extend(sha256::line(&sha256::sum(text.as_bytes()), name));
        durable::write_new(path, text.as_bytes(), 0o600).explain(|| "cannot write the audit trail out")?;
    }
    durable::write_new(&beside(".sha256"), &sums, 0o600).explain(|| "cannot write the audit trail out")
}
