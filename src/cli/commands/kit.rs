//! `bygone kit`.

use std::path::Path;

use serde_json::json;

use super::key;
use crate::cli::args::kit::Kit as Args;
use crate::cli::args::setup::{Key as KeyCommand, KeyExport};
use crate::cli::context::{Context, absolute};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::Past;
use crate::config::edit;
use crate::drill::place::DrillDir;
use crate::plan::{inputs, parse, places, show::runbook};
use crate::repo::{
    open::{fingerprint, list_slots},
    verified,
};
use crate::report::{
    kit::{Key, Kit, Place, Plan, Source, page, text},
    model::When,
};
use crate::sys::{clock, durable};
use crate::types::{path, role::Role, time::Instant};

/// So many digits of the id of a key slot are shown, as `key list` does.
const DIGITS: usize = 8;
/// The name of the key in a kit.
const KEY_FILE: &str = "key.txt";

/// Runs it.
pub fn run(context: &Context, args: &Args) -> Result<Outcome, Failure> {
    let to = absolute(&args.to)?;
    if std::fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(
            Failure::new(format!("{} is not empty", to.display())).hint("name a new directory: nothing is replaced")
        );
    }
    let past = Past::open(context)?;
    durable::create_dirs(&to, 0o700).explain(|| format!("cannot make {}", to.display()))?;
    let mut outcome = past.outcome;
    let mut kit = gather(context, &past, args)?;
    for plan in places::plans(&context.config).into_failure()? {
        let read = parse::load(&plan).into_failure()?;
        let found = &read.plan;
        if !read.problems.is_empty() {
            tracing::error!(
                "{}: the plan has mistakes, and is not in the kit; `bygone plan check` names them",
                plan.display()
            );
            outcome = outcome.and(Outcome::Partial);
            continue;
        }
        write(&to.join("plans").join(format!("{}.toml", found.name)), read.text.as_bytes(), 0o644)?;
        let inputs = inputs::to_give(found).map(|input| format!("{}={}", input.name, input.sort.word().to_uppercase()));
        kit.plans.push(Plan { name: found.name.clone(), inputs: inputs.collect(), runbook: runbook(found) });
    }
    if args.with_key {
        let export = KeyExport {
            output: Some(to.join(KEY_FILE)),
            role: Role::default(),
            label: format!("in the kit of {}", context.config.host),
        };
        let quiet = Context { quiet: true, json: false, ..context.clone() };
        outcome = outcome.and(key::run(&quiet, &KeyCommand::Export(export))?);
        kit.keys = keys(&past)?;
    }
    if kit.program {
        let program = std::env::current_exe().explain(|| "cannot find the program itself")?;
        let bytes = std::fs::read(&program).explain(|| format!("cannot read {}", program.display()))?;
        write(&to.join("bygone"), &bytes, 0o755)?;
    }
    if let Some(settings) = settings(context)? {
        write(&to.join("bygone.toml"), settings.as_bytes(), 0o644)?;
    }
    let zone = &past.zone;
    let json = serde_json::to_string_pretty(&kit).explain(|| "cannot write the kit as JSON")? + "\n";
    write(&to.join("kit.json"), json.as_bytes(), 0o644)?;
    write(&to.join("README.txt"), text(&kit, zone).as_bytes(), 0o644)?;
    write(&to.join("kit.html"), page(&kit, zone).as_bytes(), 0o644)?;
    let mut out = context.out();
    match context.json {
        true => out.json(
            &json!({ "kit": to, "fingerprint": kit.fingerprint, "plans": kit.plans.len(), "with_key": args.with_key }),
        )?,
        false if context.quiet => {}
        false => {
            out.line(format_args!("made the kit in {}: print kit.html, and keep both away from here", to.display()))?;
            if args.with_key {
                out.line("it has a key in it: whoever has the kit can read everything")?;
                key::tell_copies(context, &mut out, "the key in it")?;
            }
        }
    }
    out.finish()?;
    Ok(outcome)
}

fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let what = || format!("cannot write {}", file.display());
    if let Some(dir) = file.parent() {
        durable::create_dirs(dir, 0o700).explain(what)?;
    }
    durable::replace(file, bytes, mode).explain(what)
}

fn gather(context: &Context, past: &Past, args: &Args) -> Result<Kit, Failure> {
    let config = &context.config;
    let store = past.at.repo().store();
    let mut sources = Vec::new();
    for source in past.index.sources()? {
        let newest = past.index.snapshot_at(source.num, Instant(i64::MAX))?;
        if let Some(newest) = newest {
            let root = path::show(&source.root);
            sources.push(Source { host: path::show(source.host.as_bytes()), root, newest: When(newest.time) });
        }
    }
    let place = |name: &str, location: String| Place { name: name.to_owned(), location };
    Ok(Kit {
        made: When(clock::now()),
        host: config.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program: !args.no_program,
        key_file: args.with_key.then(|| KEY_FILE.to_owned()),
        repository: place("repository", config.repository.to_string()),
        sites: config.sites.iter().map(|site| place(&site.name, site.repository.to_string())).collect(),
        endpoint: config.remote.endpoint.clone(),
        id: past.at.repo().id().to_string(),
        fingerprint: fingerprint(store).into_failure()?,
        keys: keys(past)?,
        sources,
        plans: Vec::new(),
        last_drill: last_drill(context, past)?,
        last_verified: last_verified(past),
    })
}

/// The drill that was begun last, and how it ended.
fn last_drill(context: &Context, past: &Past) -> Result<Option<String>, Failure> {
    let all = DrillDir::records(&context.config).into_failure()?;
    let last = all.into_iter().map(|(_, record)| record).max_by_key(|record| record.begun_ns);
    Ok(last.map(|r| {
        let how = match r.failures.first() {
            None => "it succeeded".to_owned(),
            Some(why) => format!("it failed: {why}"),
        };
        format!("{}, of the plan {}, as of {}: {how}", past.show(Instant(r.ended_ns)), r.plan, r.at)
    }))
}

/// When the repository was checked last, and how that ended.
fn last_verified(past: &Past) -> Option<String> {
    let last = verified::all(past.at.dir()).into_iter().max_by_key(|v| v.at_ns)?;
    let how = match last.problems {
        0 => "nothing was wrong".to_owned(),
        count => format!("{count} problem(s)"),
    };
    Some(format!("{}: {how}", past.show(Instant(last.at_ns))))
}

fn keys(past: &Past) -> Result<Vec<Key>, Failure> {
    let store = past.at.repo().store();
    let slots = list_slots(store).explain(|| format!("cannot list the keys of {}", store.location()))?;
    let told = |(id, slot): (crate::types::ids::Id, Result<_, _>)| {
        let slot: Result<crate::crypto::slots::SlotInfo, crate::crypto::slots::SlotError> = slot;
        let id = id.to_string()[..DIGITS].to_owned();
        match slot {
            Ok(slot) => {
                let label = path::show(slot.label.as_bytes());
                Key { id, kind: format!("{} ({})", slot.kind, slot.role), label, made: Some(When(slot.created)) }
            }
            Err(why) => Key { id, kind: "cannot be used".to_owned(), label: why.to_string(), made: None },
        }
    };
    Ok(slots.into_iter().map(told).collect())
}

/// The settings without secrets; none where there is no file.
fn settings(context: &Context) -> Result<Option<String>, Failure> {
    let path = &context.config.path;
    if !context.config.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).explain(|| format!("cannot read the configuration {}", path.display()))?;
    let bare = edit::without_secrets(&text).explain(|| format!("cannot take the secrets out of {}", path.display()))?;
    let key = "# What opened the repository is left out here, and so is where notifications go.\n[key]\nfile = \"/root/bygone.key\"\n";
    Ok(Some(format!("{}\n\n{key}", bare.trim_end())))
}
