//! The rules of retention in the trail: recorded when they are others than this host recorded last.

use crate::repo::audit::{
    entry,
    error::AuditError,
    event::{Event, Kind, Outcome},
    writer::Audit,
};
use crate::sys::durable;
use std::{io, path::Path};

/// The file with the hash of what was recorded last, in the directory of a repository's state.
const FILE: &str = "audit.policy";

/// Records the policy, a text that says all of it, unless it is what was recorded last; whether it was.
pub fn note(audit: &Audit, dir: &Path, text: &str) -> Result<bool, AuditError> {
    let path = dir.join(FILE);
    let shown = || path.display().to_string();
    let failed = |doing| {
        let path = shown();
        move |source: io::Error| AuditError::State { doing, path, source }
    };
    let hash = entry::hash(text.as_bytes()).to_string();
    let before = match std::fs::read_to_string(&path) {
        Ok(before) => Some(before),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed("read")(e)),
    };
    if before.as_deref() == Some(&hash) {
        return Ok(false);
    }
    let event = Event::new(Kind::Policy, Outcome::Done).detail("text", text).detail("hash", hash.clone());
    audit.record(event.detail("hash_before", before))?;
    durable::replace(&path, hash.as_bytes(), 0o600).map_err(|e| failed("write")(e.into()))?;
    Ok(true)
}
