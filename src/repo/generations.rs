//! Generations of the keys: those that a repository has, the next one, and what this host remembers of them.

use crate::crypto::{
    generation::{self, Finder, Rotated, Stated},
    keys::{KeyError, Sealing},
    slots::SlotError,
};
use crate::repo::{
    attach::Attached,
    error::RepoError,
    names,
    open::{Repository, SLOT_MAX},
};
use crate::store::api::{Store, StoreError};
use crate::sys::{clock, durable};
use crate::types::{
    ids::{Generation, Id},
    role::Need,
};
use std::{io, sync::Arc};

/// The file that names the newest generation that this host has written under.
const NOTED: &str = "generation";
/// How often the keys are rotated again, because others added, removed or rotated keys at the same time.
const TRIES: usize = 5;

/// How a rotation ended.
pub struct Rotation {
    /// The generation that is in force now.
    pub generation: Generation,
    /// The slots that open it.
    pub slots: Vec<Id>,
    /// Slots that do not, each with why.
    pub left_out: Vec<(Id, String)>,
}

/// Looks for generations in this store.
pub(super) fn finder(store: Arc<dyn Store>) -> Finder {
    Box::new(move |generation| {
        let name = names::generation(generation);
        store.get(&name, generation::BYTES_MAX).map_err(|e| match e.is_missing() {
            true => format!("{name} is missing"),
            false => format!("{name}: {e}"),
        })
    })
}

/// Takes in the generations that are there: from then on, new objects are sealed under the last one. A process that goes on for long does it
/// now and then.
pub fn refresh(repo: &Repository) -> Result<(), RepoError> {
    if repo.keys().sealing() == Sealing::Apart {
        let listed = repo.store().list(names::KEYS)?;
        meet(repo, listed.iter().filter_map(|object| names::parse_generation(&object.name)));
    }
    Ok(())
}

/// Looks at these generations, which are there.
pub(super) fn meet(repo: &Repository, there: impl Iterator<Item = Generation>) {
    let mut there: Vec<Generation> = there.collect();
    there.sort_unstable();
    for generation in there {
        repo.keys().meet(generation);
    }
}

/// A generation, and what its object states, or why that can't be read.
pub type ListedGeneration = (Generation, Result<Stated, String>);

/// What is stated of each generation after the first, in order, without a key; or why that can't be read.
pub fn list(store: &dyn Store) -> Result<Vec<ListedGeneration>, RepoError> {
    let mut found = Vec::new();
    for object in store.list(names::KEYS)? {
        let Some(named) = names::parse_generation(&object.name) else { continue };
        let stated = match store.get(&object.name, generation::BYTES_MAX) {
            Ok(bytes) => generation::describe(&bytes),
            Err(e @ StoreError::Short { .. }) => Err(e.why_of(&object.name)),
            Err(e) => return Err(e.into()),
        };
        let stated = stated.and_then(|stated| match stated.generation == named {
            true => Ok(stated),
            false => Err(format!("it states the generation {}", stated.generation)),
        });
        found.push((named, stated));
    }
    Ok(found)
}

/// Rotates the keys: when it returns, a new generation is in force that the slots open which are there, and those of keys that were removed do not. The
/// object that states it is put at once: whenever this ends, the old generation is in force or the new one.
pub fn rotate(repo: &Repository) -> Result<Rotation, RepoError> {
    repo.check(Need::Keys)?;
    if repo.keys().sealing() == Sealing::One {
        return Err(SlotError::NoGenerations.into());
    }
    for _ in 0..TRIES {
        refresh(repo)?;
        let Rotated { generation, bytes, slots, left_out } = next(repo)?;
        repo.store().put(&names::generation(generation), &bytes)?;
        repo.store().settle()?;
        refresh(repo)?;
        // Keys that were removed meanwhile, or that another admin still saw who rotated them at the same time, would open it.
        let there = slot_ids(repo.store())?;
        let in_force = repo.keys().in_force()?;
        if opened_by(repo.store(), in_force)?.iter().all(|slot| there.contains(slot)) {
            // That of another admin, which came behind this one, is as good.
            return Ok(Rotation { generation: in_force, slots, left_out });
        }
    }
    Err(RepoError::Restless)
}

/// The next generation, for the slots that are there.
fn next(repo: &Repository) -> Result<Rotated, RepoError> {
    let mut slots = Vec::new();
    for id in slot_ids(repo.store())? {
        match repo.store().get(&names::slot(id), SLOT_MAX) {
            Ok(bytes) => slots.push((id, bytes)),
            // It was removed in this moment.
            Err(e) if e.is_missing() => {}
            Err(e) => return Err(e.into()),
        }
    }
    let in_force = match repo.keys().in_force()? {
        Generation::FIRST => None,
        generation => Some(repo.store().get(&names::generation(generation), generation::BYTES_MAX)?),
    };
    Ok(generation::rotate(repo.keys(), repo.id(), in_force.as_deref(), &slots, clock::now())?)
}

fn slot_ids(store: &dyn Store) -> Result<Vec<Id>, RepoError> {
    let listed = store.list(names::KEYS)?;
    Ok(listed.iter().filter_map(|object| Id::parse(object.name.strip_prefix(names::KEYS)?)).collect())
}

/// The slots that a generation was made for.
fn opened_by(store: &dyn Store, generation: Generation) -> Result<Vec<Id>, RepoError> {
    let stated = list(store)?.into_iter().find(|(named, _)| *named == generation);
    Ok(stated
        .and_then(|(_, stated)| stated.ok())
        .map(|s| s.slots.into_iter().map(|(id, _)| id).collect())
        .unwrap_or_default())
}

/// To be called before this host writes, and now and then while it does: it learns what generation is in force. Fails where the key
/// in use does not open that one, and where the repository lacks one that this host has written under: nothing is sealed under an old
/// generation.
pub fn attend(at: &Attached) -> Result<(), RepoError> {
    let repo = at.repo();
    refresh(repo)?;
    check(at)
}

/// The same by what is known, without asking the store.
pub fn check(at: &Attached) -> Result<(), RepoError> {
    let keys = at.repo().keys();
    let in_force = keys.in_force()?;
    let path = at.dir().join(NOTED);
    let state = |doing, source: io::Error| RepoError::State { doing, path: path.display().to_string(), source };
    let noted = match std::fs::read_to_string(&path) {
        Ok(text) => Generation::parse(text.trim()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(state("read", e)),
    };
    match noted {
        Some(noted) if noted == in_force => Ok(()),
        Some(noted) if !keys.knows(noted) => {
            keys.meet(noted);
            match keys.knows(noted) {
                true => Ok(()),
                false => {
                    Err(KeyError::Superseded { generation: noted, why: gone(noted, &path.display().to_string()) }
                        .into())
                }
            }
        }
        _ if in_force == Generation::FIRST => Ok(()),
        _ => durable::replace(&path, format!("{in_force}\n").as_bytes(), 0o600).map_err(|e| state("write", e.into())),
    }
}

fn gone(generation: Generation, noted: &str) -> String {
    format!(
        "this host has written under it, and {} is not there any more or not as it was: the store was set back or damaged. Put the \
         object back from a copy of the repository; where it is lost for good, rotate the keys again on another host and remove {noted} here",
        names::generation(generation)
    )
}
