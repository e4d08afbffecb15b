//! What could not be produced when a source was produced last, and which of its hooks failed, kept in the state directory: whoever produces
//! it or runs them notes it there, for those who watch.

use crate::config::kinds::Kind;
use crate::config::model::Source;
use crate::produce::{
    error::{Failure, ProduceError, Produced},
    hooks, invariants,
    run::Ground,
};
use crate::sys::{clock, durable};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::{
    io,
    path::{Path, PathBuf},
};

/// How the file ends that says which hooks failed.
const HOOKS: &str = "hooks.json";
/// How the file ends that says which invariants could not be measured.
const INVARIANTS: &str = "invariants.json";

/// What could not be produced, and when that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotProduced {
    /// When it was tried last (ns).
    pub at_ns: i64,
    /// What failed; at least one.
    pub parts: Vec<Part>,
}

/// A part that could not be produced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is; none where nothing at all was produced.
    pub what: Option<String>,
    /// Why not.
    pub why: String,
}

/// Notes what producing came to; what was all produced needs no note.
pub(super) fn note(
    state: &Path,
    source: &Source,
    result: &Result<Produced, ProduceError>,
) -> Result<(), durable::Error> {
    let parts: Vec<Part> = match result {
        Ok(produced) => produced.failures.iter().map(part).collect(),
        Err(e) => vec![Part { what: None, why: e.to_string() }],
    };
    write(&file(state, source), parts)
}

/// Notes which hooks failed; where none did there is no note. What was ended stands as it did.
pub(super) fn note_hooks(source: &Source, ground: &Ground<'_>, failed: &[Failure]) {
    note_of((HOOKS, "hooks"), source, ground, failed);
}

/// Notes which invariants could not be measured, in the same way.
pub(super) fn note_invariants(source: &Source, ground: &Ground<'_>, failed: &[Failure]) {
    note_of((INVARIANTS, "invariants"), source, ground, failed);
}

fn note_of((ending, what): (&str, &str), source: &Source, ground: &Ground<'_>, failed: &[Failure]) {
    if ground.stop.load(Ordering::Relaxed) {
        return;
    }
    let path = beside(ground.state, source, ending);
    if let Err(e) = write(&path, failed.iter().map(part).collect()) {
        tracing::warn!("how the {what} of {} ended is not known to `bygone health`: {e}", hooks::label(source));
    }
}

fn part(f: &Failure) -> Part {
    Part { what: Some(f.what.clone()), why: f.why.clone() }
}

fn write(path: &Path, parts: Vec<Part>) -> Result<(), durable::Error> {
    if parts.is_empty() {
        return durable::remove(path).map(drop);
    }
    let noted = NotProduced { at_ns: clock::now().0, parts };
    let bytes = serde_json::to_vec(&noted).map_err(io::Error::from);
    let bytes = bytes.map_err(|source| durable::Error::Io { doing: "write", path: path.to_owned(), source })?;
    durable::replace(path, &bytes, 0o600)
}

/// What of a source could not be produced when that was tried last, if anything. A command that the settings do not have any more
/// counts no more.
pub fn standing(state: &Path, source: &Source) -> Option<NotProduced> {
    if !source.kind.is_produced() {
        return None;
    }
    let mut noted = read(&file(state, source), source)?;
    if let Kind::Command(outputs) = &source.kind {
        noted.parts.retain(|part| part.what.as_ref().is_none_or(|what| outputs.iter().any(|o| o.name == *what)));
    }
    (!noted.parts.is_empty()).then_some(noted)
}

/// Which hooks of a source failed when they ran last, if any. One that the settings do not have any more counts no more.
pub fn failed_hooks(state: &Path, source: &Source) -> Option<NotProduced> {
    failed_of(HOOKS, state, source, hooks::has)
}

/// Which invariants of a source could not be measured last, in the same way.
pub fn unmeasured(state: &Path, source: &Source) -> Option<NotProduced> {
    failed_of(INVARIANTS, state, source, invariants::has)
}

fn failed_of(ending: &str, state: &Path, source: &Source, has: fn(&Source, &str) -> bool) -> Option<NotProduced> {
    let mut noted = read(&beside(state, source, ending), source)?;
    noted.parts.retain(|part| part.what.as_ref().is_some_and(|what| has(source, what)));
    (!noted.parts.is_empty()).then_some(noted)
}

fn read(path: &Path, source: &Source) -> Option<NotProduced> {
    let read = std::fs::read(path).and_then(|bytes| Ok(serde_json::from_slice::<NotProduced>(&bytes)?));
    match read {
        Ok(noted) => Some(noted),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => {
            tracing::warn!(
                "cannot read {}, which is made anew with the next snapshot of {}: {e}",
                path.display(),
                source.path.display()
            );
            None
        }
    }
}

fn file(state: &Path, source: &Source) -> PathBuf {
    beside(state, source, "json")
}

/// A file in the state directory that is for producing one source.
pub(super) fn beside(state: &Path, source: &Source, ending: &str) -> PathBuf {
    let hash = blake3::hash(source.path.as_os_str().as_encoded_bytes()).to_hex();
    state.join(format!("producing-{}.{ending}", &hash[..16]))
}
