//! One reader a file at a time: closing any descriptor of a file drops the locks that the process has on it, also those of
//! SQLite, which would then read a database that changes under it.

use crate::types::attr::Place;
use std::{
    collections::HashSet,
    sync::{Condvar, LazyLock, Mutex, PoisonError},
};

static HELD: LazyLock<(Mutex<HashSet<Place>>, Condvar)> = LazyLock::new(Default::default);

/// The right to open and close a file, until it is dropped.
pub(super) struct Held(Place);

/// Waits until nobody else in this process reads the file.
pub(super) fn hold(place: Place) -> Held {
    let (held, changed) = &*HELD;
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    while !held.insert(place) {
        held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
    }
    Held(place)
}

impl Drop for Held {
    fn drop(&mut self) {
        let (held, changed) = &*HELD;
        held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        changed.notify_all();
    }
}
