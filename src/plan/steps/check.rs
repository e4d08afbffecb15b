//! Looking whether something is as it should be.

use super::{command, newest, same, server, sqlite};
use crate::crypto::sha256::Sum;
use crate::plan::checked::{Checked, Verdict};
use crate::plan::ground::{Did, Doing, told};
use crate::plan::invariants;
use crate::plan::journal::Amount;
use crate::plan::model::{Check, Program};
use crate::plan::template::Template;
use crate::view::instant::View;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Looks. An error says what is not as it should be.
pub(super) fn run(doing: &Doing<'_>, what: &Check) -> Result<Did, String> {
    match what {
        Check::Exists(paths) => exists(doing, paths),
        Check::Sqlite(paths) => databases(doing, paths),
        Check::Hash { file, hash } => has_hash(doing, &doing.path(file)?, &doing.fill(hash)),
        Check::Same { path, here, at, host } => {
            let index = doing.ground.at.reader().map_err(|e| told(&e))?;
            let whose = doing.ground.whose(host.as_ref().map(|host| doing.fill(host)))?;
            let view = View::of(&index, &whose, doing.instant(at)?).map_err(|e| told(&e))?;
            same::run(doing, &view, &doing.path(path)?, &doing.path(here)?)
        }
        Check::Program { program, prints } => prints_so(doing, program, prints.as_ref()),
        Check::Query { server: which, database, query, expect } => {
            server::query(doing, which, database.as_ref(), (query, expect.as_ref()))
        }
        Check::Invariants => held(doing),
        Check::Newest { probe, before, program, tries, sets } => {
            let before = doing.instant(before)?;
            newest::run(doing, &newest::Looking { probe, before, program, tries: *tries, sets })
        }
    }
}

fn held(doing: &Doing<'_>) -> Result<Did, String> {
    let story = doing.journal().story.clone();
    let all = invariants::check(doing.ground, doing.plan, &story, doing.stop)?;
    doing.checked(all.clone())?;
    let wrong: Vec<String> = all.iter().filter_map(Checked::wrong).collect();
    let held = all.iter().filter(|checked| checked.verdict == Verdict::Held).count();
    match wrong.is_empty() {
        true => Ok(Did::saying(format!("{held} invariant(s) held, {} could not be compared", all.len() - held))),
        false => Err(wrong.join("; ")),
    }
}

fn exists(doing: &Doing<'_>, paths: &[Template]) -> Result<Did, String> {
    let mut missing = Vec::new();
    for path in paths {
        let path = doing.path(path)?;
        if let Err(e) = std::fs::symlink_metadata(&path) {
            missing.push(format!("{}: {e}", path.display()));
        }
    }
    if missing.is_empty() { Ok(Did::default()) } else { Err(missing.join("; ")) }
}

fn databases(doing: &Doing<'_>, paths: &[Template]) -> Result<Did, String> {
    let mut all = Vec::new();
    for path in paths {
        let path = doing.path(path)?;
        let found = sqlite::found(&path)?;
        if found.is_empty() {
            return Err(format!("there is no SQLite database in {}", path.display()));
        }
        all.extend(found);
    }
    let wrong = sqlite::look(doing, &all)?;
    match wrong.is_empty() {
        true => Ok(Did::saying(format!("{} database(s) are whole", all.len()))),
        false => Err(wrong.join("; ")),
    }
}

fn has_hash(doing: &Doing<'_>, file: &Path, wanted: &str) -> Result<Did, String> {
    if !crate::plan::parse::is_hash(wanted) {
        return Err(format!("{wanted:?} is no hash: sha256: or blake3: and 64 hexadecimal digits"));
    }
    let failed = |e: std::io::Error| format!("cannot read {}: {e}", file.display());
    let mut from = File::open(file).map_err(failed)?;
    let (mut sum, mut blake) = (Sum::default(), blake3::Hasher::new());
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        if doing.stopped() {
            return Err("it was stopped".into());
        }
        let n = from.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            break;
        }
        match wanted.starts_with("sha256:") {
            true => sum.update(&buffer[..n]),
            false => drop(blake.update(&buffer[..n])),
        }
        bytes += n as u64;
    }
    let is = match wanted.starts_with("sha256:") {
        true => format!("sha256:{}", sum.finish()),
        false => format!("blake3:{}", blake.finalize().to_hex()),
    };
    match is == wanted {
        true => Ok(Did { amount: Amount { files: 1, bytes }, ..Did::default() }),
        false => Err(format!("{} has the hash {is}, and not {wanted}", file.display())),
    }
}

fn prints_so(doing: &Doing<'_>, program: &Program, prints: Option<&Template>) -> Result<Did, String> {
    let ended = command::ended(doing, program, doing.step.timeout)?;
    if !ended.is_good() {
        return Err(command::failed(doing, &ended)?);
    }
    doing.keep(&[&ended.stdout, &ended.stderr])?;
    let Some(wanted) = prints.map(|text| doing.fill(text)) else { return Ok(Did::default()) };
    let text = String::from_utf8_lossy(&ended.stdout);
    match text.trim() == wanted.trim() {
        true => Ok(Did::default()),
        false => Err(format!("it printed {:?}, and not {:?}", text.trim(), wanted.trim())),
    }
}
