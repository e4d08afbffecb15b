//! What this host has seen of the repository that never goes: objects that somebody removed are missed.

use crate::sys::{durable, shared::SharedWords};
use std::{collections::BTreeSet, io, path::Path};

/// Notes in `file` of `dir` the names of objects that are there. Gives one that was noted before and is not there any more, if there is
/// one: then nothing is noted. `lock` is the file that is locked meanwhile.
pub(super) fn missed(dir: &Path, (file, lock): (&str, &str), names: &BTreeSet<String>) -> io::Result<Option<String>> {
    durable::create_dirs(dir, 0o700)?;
    let path = dir.join(file);
    let words = SharedWords::open(&dir.join(lock), 1)?;
    words.with(|_| {
        let before = match std::fs::read_to_string(&path) {
            Ok(before) => before,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        if let Some(gone) = before.lines().find(|name| !names.contains(*name)) {
            return Ok(Some(gone.to_owned()));
        }
        let now: String = names.iter().map(|name| format!("{name}\n")).collect();
        if now != before {
            durable::replace(&path, now.as_bytes(), 0o600)?;
        }
        Ok(None)
    })?
}
