//! Locks that were once set. They are kept in the repository, so that settings which forget or shorten one change nothing.

use crate::repo::{
    collect::statement::{self, Named},
    error::{Damage, RepoError},
    names::COLLECTION,
    open::Repository,
};
use crate::types::{ids::Id, time::Instant, when::window::Window};
use std::collections::HashMap;

/// All locks that were ever set, by source. One that can't be read is an error: nothing may be released without it.
pub fn locks(repo: &Repository) -> Result<HashMap<Id, Vec<Window>>, RepoError> {
    let mut locks: HashMap<Id, Vec<Window>> = HashMap::new();
    for object in repo.store().list(COLLECTION)? {
        let Some(Named::Lock(source)) = Named::parse(&object.name) else { continue };
        let (_, text) = statement::read_note(repo, &object.name)?;
        let window =
            text.parse().map_err(|_| repo.damaged(&object.name, "lock", Damage::other("it names no window")))?;
        locks.entry(source).or_default().push(window);
    }
    Ok(locks)
}

/// Sets a lock on the history of a source, for ever.
pub fn set(repo: &Repository, source: Id, window: Window, now: Instant) -> Result<(), RepoError> {
    statement::note(repo, &Named::Lock(source), now, &window.to_string()).map(drop)
}
