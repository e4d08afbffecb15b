//! What restores keep aside: noted in the state directory before it is done, listed and dropped by `bygone aside`.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde_json::json;

use super::restore::Ask;
use crate::cli::args::restore::{AsideCommand, AsideDrop};
use crate::cli::context::Context;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::sizes::show_size;
use crate::restore::{
    aside::Aside,
    kept::{self, Kept},
    plan::Plan,
};
use crate::sys::clock;
use crate::types::{path, when::show};

/// Notes where something will be kept, and gives what keeps it.
pub(super) fn begin(ask: &Ask<'_>, plan: &Plan) -> Result<Aside, Failure> {
    let id = new_id()?;
    let aside = Aside::new(&id);
    note(ask.context, Kept { id, time: clock::now(), dirs: aside.places(plan), paths: ask.paths.to_vec() })?;
    Ok(aside)
}

/// An id that no other has.
pub(super) fn new_id() -> Result<String, Failure> {
    let id = crate::crypto::random::id().explain(|| "cannot make an id")?;
    Ok(id.to_string()[..8].to_owned())
}

/// Notes it.
pub(super) fn note(context: &Context, kept: Kept) -> Result<(), Failure> {
    kept::note(&context.config.state, &kept).explain(|| "cannot note what is kept aside")
}

/// Tells where what was replaced is.
pub(super) fn tell(ask: &Ask<'_>, aside: &Aside) -> Result<(), Failure> {
    let used: Vec<String> = aside.used().iter().map(|dir| path::show(dir)).collect();
    if used.is_empty() {
        // Nothing was replaced.
        return kept::forget(&ask.context.config.state, aside.id()).explain(|| "cannot forget what is kept aside");
    }
    told(ask.context, aside.id(), &used)
}

/// Says that something is kept in these directories.
pub(super) fn told(context: &Context, id: &str, dirs: &[String]) -> Result<(), Failure> {
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "aside": id, "dirs": dirs }))?,
        false if context.quiet => {}
        false => out.line(format_args!(
            "what was replaced is kept in {}; `bygone aside drop {id}` removes it",
            dirs.join(", ")
        ))?,
    }
    out.finish()
}

/// Runs `bygone aside`.
pub fn run(context: &Context, command: &AsideCommand) -> Result<Outcome, Failure> {
    match command {
        AsideCommand::List => list(context),
        AsideCommand::Drop(args) => drop_some(context, args),
    }
}

fn all(context: &Context) -> Result<Vec<Kept>, Failure> {
    kept::all(&context.config.state).explain(|| "cannot list what is kept aside")
}

fn list(context: &Context) -> Result<Outcome, Failure> {
    let (zone, mut out) = (context.zone()?, context.out());
    let all = all(context)?;
    for kept in &all {
        let (paths, mut bytes) = (kept.paths.iter().map(|p| path::show(p)).collect::<Vec<_>>(), 0);
        let mut there = Vec::new();
        for dir in &kept.dirs {
            let dir = PathBuf::from(std::ffi::OsString::from_vec(dir.clone()));
            if let Some(held) = kept::size(&dir).explain(|| format!("cannot look into {}", dir.display()))? {
                bytes += held;
                there.push(dir.display().to_string());
            }
        }
        match context.json {
            true => out.json(&json!({
                "id": kept.id, "time": show::exact_name(kept.time), "paths": paths, "dirs": there, "bytes": bytes,
            }))?,
            false => out.line(format_args!(
                "{}  {}  {:>10}  {}  in {}",
                kept.id,
                show::show(kept.time, &zone),
                show_size(bytes),
                paths.join(", "),
                if there.is_empty() { "no directory any more".to_owned() } else { there.join(", ") }
            ))?,
        }
    }
    if all.is_empty() && !context.json && !context.quiet {
        out.line("nothing is kept aside")?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn drop_some(context: &Context, args: &AsideDrop) -> Result<Outcome, Failure> {
    let mut all = all(context)?;
    for id in &args.ids {
        if !all.iter().any(|kept| kept.id == *id) {
            return Err(
                Failure::new(format!("nothing is kept aside as {id}")).hint("`bygone aside list` shows what is")
            );
        }
    }
    all.retain(|kept| args.all || args.ids.contains(&kept.id));
    let mut out = context.out();
    let mut outcome = Outcome::Done;
    for kept in all {
        let mut is_gone = true;
        for dir in &kept.dirs {
            let dir = PathBuf::from(std::ffi::OsString::from_vec(dir.clone()));
            // One that can't be removed keeps nobody from removing the others.
            if let Err(e) = kept::remove(&dir) {
                is_gone = false;
                let (dir, why) = (path::show(dir.as_os_str().as_encoded_bytes()), path::tame(&e.to_string()));
                match context.json {
                    true => out.json(&json!({ "id": kept.id, "dir": dir, "why": why }))?,
                    false => tracing::error!("cannot drop {}: cannot remove {dir}: {why}", kept.id),
                }
            }
        }
        if !is_gone {
            outcome = Outcome::Partial;
            continue;
        }
        kept::forget(&context.config.state, &kept.id).explain(|| "cannot forget what is kept aside")?;
        match context.json {
            true => out.json(&json!({ "dropped": kept.id }))?,
            false if context.quiet => {}
            false => out.line(format_args!("dropped {}", kept.id))?,
        }
    }
    out.finish()?;
    Ok(outcome)
}
