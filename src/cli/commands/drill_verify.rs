//! `bygone drill verify`: whether reports and their pages are as they were written, and whether all are there that the audit trail
//! tells of.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::args::drill::DrillVerify;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::drill::{
    place::{self, DrillDir},
    record::Record,
};
use crate::repo::{
    attach::state_dir_of,
    audit::{check, event::Kind},
    open::Repository,
};
use crate::types::path::tame;

/// Verifies them.
pub(super) fn run(context: &Context, args: &DrillVerify) -> Result<Outcome, Failure> {
    let repo = open::repository(context)?;
    let failed = |e| Failure::from_error(&e);
    let mut told: Vec<(String, Result<(), String>)> = Vec::new();
    for named in &args.reports {
        let is = match named.contains('/') {
            true => authentic(&repo, Path::new(named)).map(drop),
            false => whole(&repo, &DrillDir::find(&context.config, named).map_err(failed)?).map(drop),
        };
        told.push((named.clone(), is));
    }
    let mut trail_is_whole = true;
    if args.reports.is_empty() {
        let (entries, is_whole) = in_trail(context, &repo)?;
        trail_is_whole = is_whole;
        let mut missing = entries.clone();
        for drill in DrillDir::all(&context.config).map_err(failed)? {
            if !drill.record().exists() {
                continue;
            }
            missing.remove(&drill.id);
            let is = whole(&repo, &drill).and_then(|record| match entries.get(&drill.id) {
                Some(noted) if *noted != record.authentication => {
                    Err("it is another report than the one that the audit trail tells of".to_owned())
                }
                _ => Ok(()),
            });
            told.push((drill.id, is));
        }
        let gone =
            |id| (id, Err("it is missing: the audit trail tells of the drill, and there is no report".to_owned()));
        told.extend(missing.into_keys().map(gone));
    }
    let mut out = context.out();
    for (name, is) in &told {
        let said = is.as_ref().err().map_or("as it was written", String::as_str);
        match context.json {
            true => out.json(&json!({ "report": name, "authentic": is.is_ok(), "why": said }))?,
            false => out.line(tame(&format!("{name}: {said}")))?,
        }
    }
    out.finish()?;
    if !trail_is_whole {
        tracing::error!(
            "the audit trail is not whole, and may not tell of all drills; `bygone audit verify` says what is wrong"
        );
    }
    Ok(if told.iter().all(|(_, is)| is.is_ok()) && trail_is_whole { Outcome::Done } else { Outcome::Partial })
}

/// The report in a file, if it is as it was written.
fn authentic(repo: &Repository, path: &Path) -> Result<Record, String> {
    let record: Record = place::read(path).map_err(|e| format!("it does not read: {e}"))?;
    match record.is_authentic(repo.keys()) {
        true => Ok(record),
        false => Err("it is not as it was written, or of another repository".to_owned()),
    }
}

/// The report of a drill, if it, its name and its page are as they were written.
fn whole(repo: &Repository, drill: &DrillDir) -> Result<Record, String> {
    let record = authentic(repo, &drill.record())?;
    if record.drill != drill.id {
        return Err(format!("it is the report of the drill {}, under another name", record.drill));
    }
    let page = drill.page();
    let text = std::fs::read_to_string(&page).map_err(|e| format!("its page {} can't be read: {e}", page.display()))?;
    match record.is_page(&text) {
        true => Ok(record),
        false => Err(format!("its page {} is not as it was written", page.display())),
    }
}

/// The drills of this host that the audit trail tells of, with the authentication of their reports, and whether the trail is whole.
fn in_trail(context: &Context, repo: &Repository) -> Result<(BTreeMap<String, String>, bool), Failure> {
    let trail = check::check(repo, &state_dir_of(&context.config.state, repo.id())).into_failure()?;
    let entries = trail.entries.iter().map(|stored| &stored.entry);
    let of_drill = entries.filter(|e| e.kind == Kind::Drill.word() && e.who.host == context.config.host);
    let named = of_drill.filter_map(|entry| {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Some((text(entry.subject.get("drill"))?, text(entry.details.get("report"))?))
    });
    Ok((named.collect(), trail.problems.is_empty()))
}
