//! Which holds are in force. Where hosts have changed a case at the same time, the strictest reading wins: a placement is over only
//! when releases name it and everything that lengthened it.

use crate::repo::{
    audit::{check, event::Kind},
    holds::{
        error::HoldsError,
        event::{Deed, HoldEvent},
    },
    names::HOLDS,
    noted,
    open::Repository,
};
use crate::sys::durable::{self, LockGuard};
use crate::types::{hold::Hold, ids::Id, time::Instant};
use std::{
    collections::{BTreeMap, BTreeSet},
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
    remember(repo, dir, &names)?;
    Ok(cases.into_iter().map(|(id, events)| case(id, events)).collect())
}

/// Notes what there is; an error where something that was noted before is not there. A host that has noted nothing yet asks the audit
/// trail, where every placement stands.
fn remember(repo: &Repository, dir: &Path, names: &BTreeSet<String>) -> Result<(), HoldsError> {
    let path = dir.join(KNOWN);
    if !path.exists()
        && let Some(object) = check::objects_of(repo, dir, (Kind::HoldPlace, "legal hold"))
            .into_iter()
            .find(|object| !names.contains(object))
    {
        return Err(HoldsError::Gone { object });
    }
    let gone = noted::missed(dir, (KNOWN, LOCK), names);
    let gone = gone.map_err(|source| HoldsError::State { doing: "note", path: path.display().to_string(), source })?;
    gone.map_or(Ok(()), |object| Err(HoldsError::Gone { object }))
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
