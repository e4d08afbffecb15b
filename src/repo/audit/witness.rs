//! The snapshots that the audit trail names, compared with the journals: a history that ends before one of them, or has another in
//! its place, has shrunk or was rolled back, also where this host has never seen more of it.

use crate::index::{error::IndexError, tree::Reader};
use crate::progress::Quiet;
use crate::repo::{
    attach::Attached,
    audit::{error::AuditError, known::State, named::Named},
    error::RepoError,
    replay,
};

/// Those of them that an index has neither as they are named nor as released ones.
pub fn missing(reader: &Reader, named: Vec<Named>) -> Result<Vec<Named>, IndexError> {
    let sources = reader.sources()?;
    let mut missing = Vec::new();
    for named in named {
        let mut is_there = false;
        // Of another writer of the source, what it wrote shows as a source of its own.
        for source in sources.iter().filter(|s| s.root == named.root && s.is_of(&named.host)) {
            let known = reader.snapshot(source.num, named.number)?;
            let reached = reader.head(source.num)?.number >= named.number
                || reader.beyond(source.num)?.is_some_and(|beyond| beyond.number >= named.number);
            is_there |= known.map_or(reached, |known| known.hash == named.hash);
        }
        if !is_there {
            missing.push(named);
        }
    }
    Ok(missing)
}

/// The snapshots that the trail names and that neither the journals have nor anybody has given up. The trail is read as far as this
/// host has not read it, and what was found in the journals once is not looked for again: the index keeps it in mind.
pub fn check(at: &Attached) -> Result<Vec<Named>, AuditError> {
    State::in_dir(at.dir()).update(|known| known.learn(at.repo()))??;
    check_known(at)
}

/// The same as far as this host has read the trail.
pub fn check_known(at: &Attached) -> Result<Vec<Named>, AuditError> {
    let state = State::in_dir(at.dir());
    let look = || -> Result<Vec<Named>, AuditError> {
        let named: Vec<Named> = state.load()?.named.into_iter().collect();
        if named.is_empty() {
            return Ok(named);
        }
        Ok(at.reader()?.hold(|reader| missing(reader, named)).map_err(RepoError::from)?)
    };
    let mut found = look()?;
    if !found.is_empty() {
        // What was captured while the trail was read.
        replay::catch_up(at, &Quiet)?;
        found = look()?;
    }
    state.update(|known| known.named = found.iter().cloned().collect())?;
    Ok(found)
}

/// What is wrong where one is missing.
pub fn why(named: &Named) -> String {
    format!(
        "the audit trail names {named}, and the journal has no such record: the history has shrunk, was rolled back or rewritten"
    )
}
