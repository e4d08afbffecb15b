//! `bygone source add`, `remove` and `list`.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::capture::heartbeat;
use crate::cli::args::setup::{SourceAdd, SourceCommand, SourceRemove};
use crate::cli::config_file;
use crate::cli::context::{Context, absolute};
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::service;
use crate::config::model::Source;
use crate::config::patterns::Patterns;
use crate::config::{edit, kinds::Produce};
use crate::daemon::{client::Reached, protocol::What};
use crate::repo::{attach::state_dir_of, open::repository_id, write::writer_lock};
use crate::sys::durable;
use crate::types::path;

/// Runs one of them.
pub fn run(context: &Context, command: &SourceCommand) -> Result<Outcome, Failure> {
    match command {
        SourceCommand::Add(args) => add(context, args),
        SourceCommand::Remove(args) => remove(context, args),
        SourceCommand::List => list(context),
    }
}

fn add(context: &Context, args: &SourceAdd) -> Result<Outcome, Failure> {
    Patterns::compile(&args.exclude, &args.include).map_err(Failure::usage)?;
    let paths = args.paths.iter().map(|p| directory(p)).collect::<Result<Vec<_>, _>>()?;
    let source = |path: &PathBuf| Source {
        exclude: args.exclude.clone(),
        include: args.include.clone(),
        one_file_system: args.one_file_system,
        cachedir_tag: !args.ignore_cachedir_tag,
        ..Source::new(path.clone())
    };
    config_file::change(context, |text| {
        paths.iter().try_fold(text.to_owned(), |text, path| edit::add_source(&text, &source(path)))
    })?;
    let does =
        "watches other sources and does not take it up: start it again, and name the directory where it names others";
    let all: Vec<PathBuf> = context.config.sources.iter().map(|s| s.path.clone()).collect();
    let running = watching(context, &all, does)?;
    told(context, ("added", "is protected from the next snapshot on"), &paths, &running)?;
    Ok(Outcome::Done)
}

/// The directory that `path` is, from the root and with links followed: what a source is called. One that this user cannot list
/// can't be captured, and is refused.
pub fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let real = path.canonicalize().explain(|| format!("cannot protect {}", path.display()))?;
    if !real.is_dir() {
        return Err(Failure::new(format!("cannot protect {}: it is not a directory", real.display()))
            .hint("protect the directory it lies in"));
    }
    match std::fs::read_dir(&real) {
        Ok(_) => Ok(real),
        Err(e) => Err(Failure::new(format!("cannot protect {}: it cannot be listed", real.display()))
            .because(&e)
            .hint("run it as a user who may read the directory, as it is captured by the user who runs it")),
    }
}

fn remove(context: &Context, args: &SourceRemove) -> Result<Outcome, Failure> {
    let listed = |path: &PathBuf| context.config.sources.iter().any(|s| s.path == *path);
    let mut paths = Vec::new();
    for path in &args.paths {
        // As it is written in the file, or by a link to it; it need not exist any more.
        let written: PathBuf = absolute(path)?.components().collect();
        let real = path.canonicalize().ok().filter(|real| !listed(&written) && listed(real));
        paths.push(real.unwrap_or(written));
    }
    config_file::change(context, |text| {
        paths.iter().try_fold(text.to_owned(), |text, path| edit::remove_source(&text, path))
    })?;
    let running = watching(context, &paths, "goes on capturing it until it is stopped: start it again without it")?;
    told(context, ("removed", "is not protected any more; its history stays in the repository"), &paths, &running)?;
    Ok(Outcome::Done)
}

/// Says what was done, and which processes do not know of it.
fn told(context: &Context, (word, what): (&str, &str), paths: &[PathBuf], running: &[Running]) -> Result<(), Failure> {
    let mut out = context.out();
    if context.json {
        let restart: Vec<u32> = running.iter().map(|r| r.pid).collect();
        out.json(&json!({ word: paths, "settings": context.config.path, "restart": restart }))?;
    } else if !context.quiet {
        for path in paths {
            out.line(format_args!("{} {what}", path.display()))?;
        }
        if is_served(context) {
            out.line("the service takes it over with `bygone reload`")?;
        } else {
            running.iter().try_for_each(|Running { pid, does }| out.line(format_args!("process {pid} {does}")))?;
        }
    }
    out.finish()
}

/// A process that watches, and what it does not know.
struct Running {
    pid: u32,
    does: &'static str,
}

/// Whether a service runs for these settings: it takes them when it is told to.
fn is_served(context: &Context) -> bool {
    matches!(service::ask(context, What::Jobs, &mut |_| {}), Ok(Reached::Done { .. } | Reached::Refused { .. }))
}

/// The processes that watch one of these sources.
fn watching(context: &Context, sources: &[PathBuf], does: &'static str) -> Result<Vec<Running>, Failure> {
    // Where there is no repository that can be looked at, nobody watches into it.
    let Ok(id) = repository_id(&*open::store(context)?) else { return Ok(Vec::new()) };
    let dir = state_dir_of(&context.config.state, id);
    let mut pids = BTreeSet::new();
    for source in sources {
        let root = source.as_os_str().as_bytes();
        let holder = durable::lock_holder(&writer_lock(&dir, root))
            .explain(|| format!("cannot tell who watches {}", source.display()))?;
        // A process that holds the source and has noted that it watches; 0 is one that can't be seen from here.
        let beat = heartbeat::heartbeat(&dir, root);
        pids.extend(beat.filter(|beat| holder.is_some_and(|pid| pid == beat.pid || pid == 0)).map(|beat| beat.pid));
    }
    Ok(pids.into_iter().map(|pid| Running { pid, does }).collect())
}

fn list(context: &Context) -> Result<Outcome, Failure> {
    let mut out = context.out();
    for source in &context.config.sources {
        match context.json {
            true => out.json(&json!({
                "path": source.path,
                "exclude": source.exclude,
                "include": source.include,
                "one-file-system": source.one_file_system,
                "cachedir-tag": source.cachedir_tag,
                "kind": source.kind.word(),
                "name": source.name,
                "full": source.full.as_ref().map(ToString::to_string),
                "differential": source.differential.as_ref().map(ToString::to_string),
                "produce": source.produce.as_ref().map(|produce| produce.schedule().to_string()),
            }))?,
            false => out.line(describe(source))?,
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn describe(source: &Source) -> String {
    let mut text = path::show(source.path.as_os_str().as_bytes());
    if source.kind.is_produced() {
        let name = source.name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        text.push_str(&format!("\n    {}{name}", source.kind.word()));
    }
    let produce = source.produce.as_ref().map(Produce::schedule);
    for (word, schedule) in [("full", &source.full), ("differential", &source.differential), ("produce", &produce)] {
        text.extend(schedule.iter().map(|schedule| format!("\n    {word} {schedule}")));
    }
    for (word, patterns) in [("exclude", &source.exclude), ("include", &source.include)] {
        text.extend(patterns.iter().map(|p| format!("\n    {word} {p}")));
    }
    if source.one_file_system {
        text.push_str("\n    one file system");
    }
    if !source.cachedir_tag {
        text.push_str("\n    with directories tagged as caches");
    }
    text
}
