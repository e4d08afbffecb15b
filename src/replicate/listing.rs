//! What there is at both ends, by names and lengths alone: nothing is read.

use crate::repo::{
    authentic::Sort,
    collect::statement::Named,
    error::RepoError,
    names::{AUDIT, COLLECTION, HOLDING, HOLDS, JOURNAL, KEYS, PACKS, REPOSITORY},
};
use crate::store::api::{Object, Store};
use std::collections::BTreeMap;

/// How often the origin is listed again while it is being collected.
const TRIES: usize = 4;

/// The objects of a store, with their lengths in bytes.
#[derive(Clone, Default, Debug)]
pub(super) struct Listing(pub(super) BTreeMap<String, u64>);

impl Listing {
    /// A repository that others write to. What names other objects is listed before them, so that all that a listed object names is
    /// listed too; what is collected meanwhile is stated, and then it is listed again.
    pub(super) fn of_origin(store: &dyn Store) -> Result<Listing, RepoError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut all = Listing::default();
            for prefix in [AUDIT, HOLDS, COLLECTION, HOLDING, JOURNAL, PACKS, KEYS] {
                all.take(store.list(prefix)?);
            }
            match store.size(REPOSITORY) {
                Ok(len) => drop(all.0.insert(REPOSITORY.to_owned(), len)),
                Err(e) if e.is_missing() => {}
                Err(e) => return Err(e.into()),
            }
            let mut now = Listing::default();
            now.take(store.list(COLLECTION)?);
            if tries == TRIES || now.statements().eq(all.statements()) {
                return Ok(all);
            }
        }
    }

    /// A copy, which nobody else writes to.
    pub(super) fn of_copy(store: &dyn Store) -> Result<Listing, RepoError> {
        let mut all = Listing::default();
        match store.list("") {
            Ok(objects) => all.take(objects),
            // A directory that is to be made.
            Err(e) if e.is_missing() => {}
            Err(e) => return Err(e.into()),
        }
        Ok(all)
    }

    fn take(&mut self, objects: Vec<Object>) {
        // What is no object of this format is left where it is.
        let ours = objects.into_iter().filter(|object| Sort::of(&object.name).is_some());
        self.0.extend(ours.map(|object| (object.name, object.len)));
    }

    fn statements(&self) -> impl Iterator<Item = &String> {
        self.names().filter(|name| matches!(Named::parse(name), Some(Named::Statement(_))))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
