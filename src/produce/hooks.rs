//! What runs before and after a snapshot.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::config::kinds::{Hooks, OnFailure};
use crate::config::model::Source;
use crate::produce::error::{Failure, ProduceError};
use crate::produce::run::Ground;
use crate::sys::{child::Order, durable};

/// What failures of the two are of.
const BEFORE: &str = "the hook before";
const AFTER: &str = "the hook after";

/// Runs the hook before a snapshot, if there is one. A failure is the error where the settings say so, and told otherwise.
pub fn before(source: &Source, ground: &Ground<'_>) -> Result<Option<Failure>, ProduceError> {
    let Some(line) = &source.hooks.before else { return Ok(None) };
    match hook(source, "before", line, "", ground, ground.stop) {
        Ok(()) => Ok(None),
        Err(why) if source.hooks.on_failure == OnFailure::Abort => Err(ProduceError::Hook { why }),
        Err(why) => Ok(Some(Failure { what: BEFORE.into(), why, is_kept: false })),
    }
}

/// Runs the hook after a snapshot, if there is one, and tells it how the snapshot went: `ok`, `partial` or `failed`. It runs
/// also where bygone was asked to stop, since it may have to undo what the one before did.
pub fn after(source: &Source, status: &str, ground: &Ground<'_>) -> Option<Failure> {
    let line = source.hooks.after.as_ref()?;
    let why = hook(source, "after", line, status, ground, &AtomicBool::new(false)).err()?;
    Some(Failure { what: AFTER.into(), why, is_kept: false })
}

/// Whether the settings of a source have the hook that a failure is of.
pub(super) fn has(source: &Source, what: &str) -> bool {
    (what == BEFORE && source.hooks.before.is_some()) || (what == AFTER && source.hooks.after.is_some())
}

fn hook(
    source: &Source,
    which: &str,
    line: &str,
    status: &str,
    ground: &Ground<'_>,
    stop: &AtomicBool,
) -> Result<(), String> {
    let Hooks { timeout, .. } = source.hooks;
    let name = label(source);
    tracing::info!("{name}: the hook {which} begins");
    let mut order = Order::shell(line).timeout(timeout).env("BYGONE_SOURCE", &name).env("BYGONE_PATH", &source.path);
    order = order.env("BYGONE_TIER", ground.tier.word());
    if which == "after" {
        order = order.env("BYGONE_STATUS", status);
    }
    let ended = order.run(stop).map_err(|e| format!("cannot run it: {e}"))?;
    let said = [&ended.stdout[..], &ended.stderr[..]].concat();
    let kept = keep(ground.state, &format!("{}-{which}", label_of_file(source)), &said);
    for line in String::from_utf8_lossy(&said).lines() {
        tracing::info!("{name}: the hook {which}: {line}");
    }
    let all = match kept {
        Ok(file) if !said.is_empty() => format!("; the end of all it said is in {}", file.display()),
        Ok(_) => String::new(),
        Err(e) => {
            tracing::warn!("{name}: cannot keep what the hook {which} said: {e}");
            String::new()
        }
    };
    if ended.is_good() { Ok(()) } else { Err(ended.why_of_both() + &all) }
}

/// What a source is called: its name, or its path.
pub fn label(source: &Source) -> String {
    source.name.clone().unwrap_or_else(|| source.path.display().to_string())
}

/// The same as the name of a file.
pub(super) fn label_of_file(source: &Source) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    match &source.name {
        Some(name) => name.clone(),
        None => blake3::hash(source.path.as_os_str().as_bytes()).to_hex()[..16].to_owned(),
    }
}

/// Keeps the end of what a program said, where a person can read it: `<state>/output/<name>.log`. Gives that file.
pub(super) fn keep(state: &Path, name: &str, said: &[u8]) -> Result<PathBuf, durable::Error> {
    let dir = state.join("output");
    durable::create_dirs(&dir, 0o700)?;
    let said = &said[said.len().saturating_sub(crate::sys::child::KEPT_BYTES)..];
    let file = dir.join(format!("{name}.log"));
    durable::replace(&file, said, 0o600)?;
    Ok(file)
}
