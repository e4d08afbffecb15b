//! The generations of the keys after the first one: those that are known, those that this key does not open, and how others are found.

use crate::crypto::{
    generation::{self, Learning},
    keys::{Apart, KeyError, Keys, Secret32, Secrets},
    master::Master,
};
use crate::types::ids::{Generation, Id};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// A repository has no more generations after the first.
pub(super) const GENERATIONS_MAX: usize = 400;

/// Gives the bytes of the object that states a generation, or says why it can't.
pub type Finder = Box<dyn Fn(Generation) -> Result<Vec<u8>, String> + Send + Sync>;

/// The keys of one generation that a role has.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) apart: Arc<Apart>,
    /// Its secret, from which the others follow, with the role admin.
    pub(super) master: Option<Arc<Master>>,
}

impl Known {
    /// All of them.
    pub(super) fn of(master: Master) -> Known {
        Known { apart: Arc::new(Apart::of(&master)), master: Some(Arc::new(master)) }
    }
}

/// What the slot that was opened has of its own: the keys of later generations are sealed to it.
pub(super) struct Opened {
    pub(super) repository: Id,
    pub(super) id: Id,
    pub(super) private: Secret32,
    pub(super) public: [u8; 32],
    pub(super) shared: Secret32,
}

/// Generations after the first. Others are added as they are found, whoever looks.
#[derive(Default)]
pub(super) struct Later {
    state: RwLock<State>,
    finder: OnceLock<Finder>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<Generation, Known>,
    /// Those that are there and that this key does not open, with why.
    closed: BTreeMap<Generation, String>,
}

impl Later {
    pub(super) fn of(known: BTreeMap<Generation, Known>) -> Later {
        Later { state: RwLock::new(State { known, closed: BTreeMap::new() }), finder: OnceLock::new() }
    }

    /// All that are known, in order.
    pub(super) fn all(&self) -> Vec<(Generation, Known)> {
        self.read().known.iter().map(|(generation, known)| (*generation, known.clone())).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    /// From now on, generations that are met and not known are looked for so. Only the first call counts.
    pub fn find_with(&self, finder: Finder) {
        let _ = self.later.finder.set(finder);
    }

    /// Whether these keys have those of this generation, without looking for it.
    pub fn knows(&self, generation: Generation) -> bool {
        generation == Generation::FIRST || self.later.read().known.contains_key(&generation)
    }

    /// The generation under which new objects are sealed: the last one. Fails where this key does not open that.
    pub fn in_force(&self) -> Result<Generation, KeyError> {
        let state = self.later.read();
        let known = state.known.last_key_value().map_or(Generation::FIRST, |(last, _)| *last);
        match state.closed.last_key_value() {
            Some((last, why)) if *last > known => Err(KeyError::Superseded { generation: *last, why: why.clone() }),
            _ => Ok(known),
        }
    }

    /// Looks at a generation that is there: it is known then, or it is known that this key does not open it. One that is known is not
    /// looked at again.
    pub fn meet(&self, generation: Generation) {
        if let Err(KeyError::Generation { why, .. }) = self.known(generation) {
            self.later.write().closed.insert(generation, why);
        }
    }

    /// Fails where this key does not open a generation.
    pub fn check_generation(&self, generation: Generation) -> Result<(), KeyError> {
        self.known(generation).map(drop)
    }

    /// The keys of a generation that seal structure and content apart.
    pub(super) fn of(&self, generation: Generation) -> Result<Arc<Apart>, KeyError> {
        Ok(self.known(generation)?.apart)
    }

    /// The keys of a generation; looked for, with those that it builds on, where they are not known yet.
    pub(super) fn known(&self, generation: Generation) -> Result<Known, KeyError> {
        let failed = |why: String| KeyError::Generation { generation, why };
        let mut wanted = vec![generation];
        loop {
            let Some(next) = wanted.last().copied() else { return Err(failed("it builds on none".to_owned())) };
            if let Some(known) = self.present(next) {
                if wanted.len() == 1 {
                    return Ok(known);
                }
                wanted.pop();
                continue;
            }
            let finder = self.later.finder.get().ok_or_else(|| failed("nobody can look for it".to_owned()))?;
            let bytes = finder(next).map_err(failed)?;
            match generation::learn(self, next, &bytes) {
                Ok(known) => {
                    let mut state = self.later.write();
                    state.closed.remove(&next);
                    state.known.insert(next, known);
                }
                // One builds on another of the number before: so this ends.
                Err(Learning::Needs(previous)) if wanted.len() < GENERATIONS_MAX => wanted.push(previous),
                Err(Learning::Needs(_)) => return Err(failed("it builds on too many others".to_owned())),
                Err(Learning::Closed(why)) => return Err(failed(why)),
            }
        }
    }

    /// The keys of a generation that is known.
    pub(super) fn present(&self, generation: Generation) -> Option<Known> {
        match (&self.secrets, generation) {
            (Secrets::Apart(apart), Generation::FIRST) => {
                Some(Known { apart: apart.clone(), master: self.master.clone() })
            }
            _ => self.later.read().known.get(&generation).cloned(),
        }
    }
}
