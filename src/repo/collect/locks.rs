//! Locks that were once set. They are kept in the repository, so that settings which forget or shorten one change nothing.

use crate::repo::{
    audit::{check, event::Kind},
    collect::statement::{self, Named},
    error::{Damage, RepoError},
    names::COLLECTION,
    noted,
    open::Repository,
};
use crate::types::{ids::Id, role::Need, time::Instant, when::window::Window};
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

/// The names of all locks that this host has seen, and the file that is locked while they change, in the directory of a repository's
/// state.
const KNOWN: (&str, &str) = ("locks.known", "locks.lock");

/// All locks that were ever set, by source. One that can't be read, or that this host has seen and that is missing, is an error: nothing
/// may be released without it. `dir` is the directory of the repository's state.
pub fn locks(repo: &Repository, dir: &Path) -> Result<HashMap<Id, Vec<Window>>, RepoError> {
    let mut locks: HashMap<Id, Vec<Window>> = HashMap::new();
    let mut names = BTreeSet::new();
    for object in repo.store().list(COLLECTION)? {
        let Some(Named::Lock(source)) = Named::parse(&object.name) else { continue };
        let (_, text) = statement::read_note(repo, &object.name)?;
        let window =
            text.parse().map_err(|_| repo.damaged(&object.name, "lock", Damage::other("it names no window")))?;
        locks.entry(source).or_default().push(window);
        names.insert(object.name);
    }
    // A host that has noted nothing yet asks the audit trail, where each one stands.
    if !dir.join(KNOWN.0).exists()
        && let Some(name) = check::objects_of(repo, dir, (Kind::Lock, "lock")).into_iter().find(|o| !names.contains(o))
    {
        let why = "the audit trail names this lock, and it is missing: put back a good copy of the object";
        return Err(repo.damaged(&name, "lock", Damage::other(why)));
    }
    let gone = noted::missed(dir, KNOWN, &names).map_err(|source| RepoError::State {
        doing: "note the locks in",
        path: dir.join(KNOWN.0).display().to_string(),
        source,
    })?;
    match gone {
        None => Ok(locks),
        Some(name) => {
            let why = "this host has seen this lock, and it is missing: put back a good copy of the object";
            Err(repo.damaged(&name, "lock", Damage::other(why)))
        }
    }
}

/// Sets a lock on the history of a source, for ever. Gives the name of its object, which the audit trail has to name.
pub fn set(repo: &Repository, source: Id, window: Window, now: Instant) -> Result<String, RepoError> {
    repo.check(Need::Collect)?;
    statement::note(repo, &Named::Lock(source), now, &window.to_string())
}
