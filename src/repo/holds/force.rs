//! Which holds are in force. Where hosts have changed a case at the same time, the strictest reading wins: a placement is over only
//! when releases name it and everything that lengthened it.

use crate::repo::{
    holds::{
        error::HoldsError,
        event::{Deed, HoldEvent},
    },
    names::HOLDS,
    open::Repository,
};
use crate::sys::{
    durable::{self, LockGuard},
    shared::SharedWords,
};
use crate::types::{hold::Hold, ids::Id, time::Instant};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

/// The file with the names of all objects of holds that this host has seen, in the directory of a repository's state.
const KNOWN: &str = "holds.known";
/// The file whose lock is held while that one changes.
const LOCK: &str = "holds.lock";

/// The file whose lock is held while snapshots are released, and while a hold is placed.
const RELEASING: &str = "releasing.lock";

/// One placement of a hold, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The event that placed it.
    pub event: HoldEvent,
    /// The hold, until the latest instant that any event gives it.
    pub hold: Hold,
    /// The events that lengthened it.
    pub lengthened: Vec<Id>,
    /// Whether it was released; what it was placed until is another matter.
    pub released: bool,
}

/// A case with all that was done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Its id.
    pub id: String,
    /// What was done, in the order of time.
    pub events: Vec<HoldEvent>,
    /// Its placements.
    pub placements: Vec<Placement>,
}

impl Case {
    /// Whether it holds anything at `now`.
    pub fn is_in_force(&self, now: Instant) -> bool {
        self.placements.iter().any(|p| !p.released && p.hold.is_in_force(now))
    }
}

/// Waits until nobody on this host releases snapshots or places a hold, and keeps it so until what is given is dropped: what a hold
/// touches when it is placed is there when it is read. Hosts have no such word with each other.
pub fn settled(dir: &Path) -> Result<LockGuard, HoldsError> {
    let path = dir.join(RELEASING);
    durable::lock_wait(&path).map_err(|e| HoldsError::State {
        doing: "lock",
        path: path.display().to_string(),
        source: e.into(),
    })
}

/// The holds that were not released, one for each placement: also those whose time is over, which is for whoever has a clock to
/// say ([`Hold::is_in_force`]).
///
/// An error, and never less than all, where an object of a hold can't be read or is missing: nothing may be collected then. `dir` is
/// the directory of the repository's state.
pub fn in_force(repo: &Repository, dir: &Path) -> Result<Vec<Hold>, HoldsError> {
    let placements = cases(repo, dir)?.into_iter().flat_map(|case| case.placements);
    Ok(placements.filter(|p| !p.released).map(|p| p.hold).collect())
}

/// All cases, in the order of their ids. Errors as those of [`in_force`].
pub fn cases(repo: &Repository, dir: &Path) -> Result<Vec<Case>, HoldsError> {
    let names: BTreeSet<String> =
        repo.store().list(HOLDS).map_err(HoldsError::Store)?.into_iter().map(|o| o.name).collect();
    let mut cases: BTreeMap<String, Vec<HoldEvent>> = BTreeMap::new();
    for name in &names {
        let event = HoldEvent::read(repo, name)?;
        cases.entry(event.case.clone()).or_default().push(event);
    }
    // Only what is known to be a hold may be missed later.
    remember(dir, &names)?;
    Ok(cases.into_iter().map(|(id, events)| case(id, events)).collect())
}

/// Notes what there is; an error where something that was noted before is not there.
fn remember(dir: &Path, names: &BTreeSet<String>) -> Result<(), HoldsError> {
    let path = dir.join(KNOWN);
    let failed = |doing, path: &Path| {
        let path = path.display().to_string();
        move |source: io::Error| HoldsError::State { doing, path, source }
    };
    durable::create_dirs(dir, 0o700).map_err(|e| failed("create", dir)(e.into()))?;
    let lock = dir.join(LOCK);
    let words = SharedWords::open(&lock, 1).map_err(failed("open", &lock))?;
    let noted = words.with(|_| {
        let before = match std::fs::read_to_string(&path) {
            Ok(before) => before,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(failed("read", &path)(e)),
        };
        if let Some(gone) = before.lines().find(|name| !names.contains(*name)) {
            return Err(HoldsError::Gone { object: gone.to_owned() });
        }
        let now: String = names.iter().map(|name| format!("{name}\n")).collect();
        match now == before {
            true => Ok(()),
            false => durable::replace(&path, now.as_bytes(), 0o600).map_err(|e| failed("write", &path)(e.into())),
        }
    });
    noted.map_err(failed("lock", &lock))?
}

fn case(id: String, mut events: Vec<HoldEvent>) -> Case {
    events.sort_by_key(|event| (event.time, event.id));
    let released: BTreeSet<Id> = events
        .iter()
        .filter_map(|event| match &event.deed {
            Deed::Released { events, .. } => Some(events),
            _ => None,
        })
        .flatten()
        .copied()
        .collect();
    let placements = events.iter().filter_map(|event| placement(event, &events, &released)).collect();
    Case { id, placements, events }
}

fn placement(event: &HoldEvent, all: &[HoldEvent], released: &BTreeSet<Id>) -> Option<Placement> {
    let Deed::Placed(hold) = &event.deed else { return None };
    let (mut hold, mut lengthened) = (hold.clone(), Vec::new());
    for other in all {
        if let Deed::Lengthened { placements, until } = &other.deed
            && placements.contains(&event.id)
        {
            hold.until = hold.until.zip(*until).map(|(a, b)| a.max(b));
            lengthened.push(other.id);
        }
    }
    let over = released.contains(&event.id) && lengthened.iter().all(|id| released.contains(id));
    Some(Placement { event: event.clone(), hold, lengthened, released: over })
}
