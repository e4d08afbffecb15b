//! The snapshots that the audit trail names, compared with the journals: a history that ends before one of them, or has another in
//! its place, has shrunk or was rolled back, also where this host has never seen more of it.

use crate::progress::Quiet;
use crate::repo::{
    attach::Attached,
    audit::{
        check::{self, Trail},
        error::AuditError,
        known::State,
        named::{self, Named, missing},
    },
    error::RepoError,
    holding, replay,
};

/// The snapshots that the trail names and that neither the journals have nor anybody has given up. The trail is read as far as this
/// host has not read it, and of what was found in the journals only the newest of each source is looked for again.
pub fn check(at: &Attached) -> Result<Vec<Named>, AuditError> {
    State::in_dir(at.dir()).update(|known| known.learn(at.repo()))??;
    check_known(at)
}

/// The same after an index was made anew, which keeps nothing in mind of what it had.
pub fn check_anew(at: &Attached) -> Result<Vec<Named>, AuditError> {
    State::in_dir(at.dir()).update(|known| known.look_again())?;
    check(at)
}

/// The same by the whole trail, also of what was found once: all that is to be given up together.
pub fn check_all(at: &Attached) -> Result<Vec<Named>, AuditError> {
    missing_of(at, &check::check(at.repo(), at.dir())?)
}

/// The snapshots that this trail names, or that this host has seen one name, and that neither the journals have nor anybody has given up.
pub fn missing_of(at: &Attached, trail: &Trail) -> Result<Vec<Named>, AuditError> {
    let mut named = named::all(trail.entries.iter().map(|stored| &stored.entry));
    named.extend(State::in_dir(at.dir()).load()?.named.into_keys());
    named.sort();
    named.dedup();
    look(at, named)
}

/// The same as [`check()`] as far as this host has read the trail.
pub fn check_known(at: &Attached) -> Result<Vec<Named>, AuditError> {
    let state = State::in_dir(at.dir());
    let named: Vec<Named> = state.load()?.named.into_keys().collect();
    let missing = look(at, named.clone())?;
    state.update(|known| known.looked_for(&named, &missing))?;
    Ok(missing)
}

/// What [`check_known`] found, for people, and that it could not be looked for; nothing where nothing is missing.
pub fn told_known(at: &Attached) -> Vec<String> {
    match check_known(at) {
        Ok(missing) => missing.iter().map(|named| format!("{}; `bygone verify` says what to do", why(named))).collect(),
        Err(e) => vec![format!("whether the repository has all that its audit trail names is not known: {e}")],
    }
}

fn look(at: &Attached, named: Vec<Named>) -> Result<Vec<Named>, AuditError> {
    let look = |named| at.reader()?.hold(|reader| missing(reader, named)).map_err(RepoError::from);
    let mut missing = look(named)?;
    if !missing.is_empty() && holding::held(at.repo())?.sources.is_some() {
        // A copy that has some sources only has the trail of all.
        let known = at.reader()?.sources().map_err(RepoError::from)?;
        missing.retain(|named| known.iter().any(|s| s.root == named.root && s.is_of(&named.host)));
    }
    if missing.is_empty() {
        return Ok(missing);
    }
    // What was captured while the trail was read.
    replay::catch_up(at, &Quiet)?;
    Ok(look(missing)?)
}

/// What is wrong where one is missing.
pub fn why(named: &Named) -> String {
    format!(
        "the audit trail names {named}, and the history that the journal gives has no such record: it has shrunk, was rolled back or \
         rewritten, or this host's index has seen another one"
    )
}
