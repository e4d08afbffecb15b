//! Placing, lengthening and releasing holds. Each is an object of its own, in the store itself when the function returns.

use crate::repo::{
    audit::who::Who,
    holds::{
        error::HoldsError,
        event::{Deed, HoldEvent},
        force::{Case, cases},
    },
    open::Repository,
};
use crate::types::{hold::Hold, ids::Id, role::Need, time::Instant, when::show};
use std::path::Path;

/// Places a hold. A case may have several placements: each holds until it is released.
pub fn place(repo: &Repository, hold: &Hold, who: &Who, now: Instant) -> Result<HoldEvent, HoldsError> {
    repo.check(Need::Holds)?;
    hold.check()?;
    let event = HoldEvent::new(&hold.id, now, who, Deed::Placed(hold.clone()))?;
    event.store(repo)?;
    Ok(event)
}

/// The case, with placements that were not released.
pub fn open_case(repo: &Repository, dir: &Path, case: &str) -> Result<Case, HoldsError> {
    let mut all = cases(repo, dir)?;
    all.retain(|c| c.id == case && c.placements.iter().any(|p| !p.released));
    all.pop().ok_or_else(|| HoldsError::NoCase(case.to_owned()))
}

/// Gives all placements of a case that were not released a later end; no end if `None`. An end that is not later for any of them
/// is refused.
pub fn lengthen(
    repo: &Repository,
    dir: &Path,
    case: &str,
    until: Option<Instant>,
    (who, now): (&Who, Instant),
) -> Result<HoldEvent, HoldsError> {
    repo.check(Need::Holds)?;
    let open = open_case(repo, dir, case)?;
    let placements: Vec<_> = open.placements.iter().filter(|p| !p.released).collect();
    for p in &placements {
        let longer = match (p.hold.until, until) {
            (Some(before), Some(until)) => until > before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !longer {
            let until =
                p.hold.until.map_or("until it is released".into(), |at| format!("until {}", show::exact_name(at)));
            return Err(HoldsError::Shorter { case: case.to_owned(), until, at: p.hold.until });
        }
    }
    let placements = placements.iter().map(|p| p.event.id).collect();
    let event = HoldEvent::new(case, now, who, Deed::Lengthened { placements, until })?;
    event.store(repo)?;
    Ok(event)
}

/// Releases all placements of a case that are known here, and what lengthened them. What another host does to the case at the same time
/// stays in force.
pub fn release(
    repo: &Repository,
    dir: &Path,
    case: &str,
    reason: &str,
    (who, now): (&Who, Instant),
) -> Result<HoldEvent, HoldsError> {
    repo.check(Need::Holds)?;
    if reason.trim().is_empty() {
        return Err(HoldsError::NoReason);
    }
    let open = open_case(repo, dir, case)?;
    let events: Vec<Id> = open
        .placements
        .iter()
        .filter(|p| !p.released)
        .flat_map(|p| std::iter::once(p.event.id).chain(p.lengthened.iter().copied()))
        .collect();
    let event = HoldEvent::new(case, now, who, Deed::Released { events, reason: reason.to_owned() })?;
    event.store(repo)?;
    Ok(event)
}
