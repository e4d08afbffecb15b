//! `bygone disaster`: a disaster rehearsed on a repository made for it.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::args::disaster::Disaster as Args;
use crate::cli::args::top::Global;
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::crypto::random;
use crate::drill::disaster::{Disaster, Rehearsed, rehearse};
use crate::sys::durable;
use crate::types::path::tame;

/// Runs it. No settings are read.
pub fn run(global: &Global, args: &Args) -> Result<Outcome, Failure> {
    let disaster = args.name.as_deref().map(|name| {
        Disaster::parse(name).ok_or_else(|| {
            let all: Vec<&str> = Disaster::ALL.into_iter().map(Disaster::word).collect();
            Failure::usage(format!("there is no disaster {name:?}")).hint(format!("it can be {}", all.join(", ")))
        })
    });
    let Some(disaster) = disaster.transpose()? else { return all(global, args) };
    let program = std::env::current_exe().explain(|| "cannot find the program itself")?;
    let above = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let random: [u8; 8] = random::bytes().into_failure()?;
    let dir = above.join(format!("bygone-disaster-{}", data_encoding::HEXLOWER.encode(&random)));
    let ended = rehearse(&program, &dir, disaster);
    if args.keep {
        tracing::warn!("the directory is kept: {}", dir.display());
    } else if dir.exists() {
        durable::remove_tree(&dir).into_failure()?;
    }
    match ended {
        Ok(rehearsed) => tell(global, &rehearsed),
        Err(why) => Err(Failure::new(format!("{}: {why}", disaster.word()))
            .hint("--keep keeps the directory, to look at what went wrong")),
    }
}

/// Each in a process of its own: one of them changes what the process may.
fn all(global: &Global, args: &Args) -> Result<Outcome, Failure> {
    let program = std::env::current_exe().explain(|| "cannot find the program itself")?;
    let mut failed = Vec::new();
    for disaster in Disaster::ALL {
        let mut command = std::process::Command::new(&program);
        command.args(["disaster", disaster.word()]);
        if global.json {
            command.arg("--json");
        }
        if let Some(dir) = &args.dir {
            command.arg("--in").arg(PathBuf::from(dir));
        }
        if args.keep {
            command.arg("--keep");
        }
        if !command.status().explain(|| "cannot start the program itself")?.success() {
            failed.push(disaster.word());
        }
    }
    match failed.is_empty() {
        true => Ok(Outcome::Done),
        false => Err(Failure::new(format!("these did not go as the documentation says: {}", failed.join(", ")))),
    }
}

fn tell(global: &Global, rehearsed: &Rehearsed) -> Result<Outcome, Failure> {
    let mut out = Out::stdout();
    if global.json {
        out.json(&json!(rehearsed))?;
    } else if !global.quiet {
        out.line(format_args!("{}: {}", rehearsed.disaster.word(), rehearsed.broken))?;
        for done in &rehearsed.done {
            out.line(tame(&format!("  {done}")))?;
        }
        if rehearsed.recovered {
            out.line(format_args!("  {} file(s) are byte for byte what they were", rehearsed.files))?;
        }
        out.line(format_args!("  {}", rehearsed.told))?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}
