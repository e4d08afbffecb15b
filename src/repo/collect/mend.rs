//! What an index that was made from records says of packs that were deleted since, and of frames that can't be read: chunks that lie
//! elsewhere too are named there, and what nothing needs is left out.

use crate::index::{apply::PATIENT, live::PackUse};
use crate::repo::{attach::Attached, collect::tables, error::RepoError, names};
use crate::types::ids::Id;
use std::collections::HashSet;

/// Brings the index to the packs that are there. Gives those that are not, and that something needs: they are lost.
pub fn mend(at: &Attached) -> Result<HashSet<Id>, RepoError> {
    let reader = at.reader()?;
    // The index is asked first: what comes into it meanwhile is in the list.
    let known = reader.packs()?;
    let there: HashSet<Id> =
        at.repo().store().list(names::PACKS)?.iter().filter_map(|o| names::parse_pack(&o.name)).collect();
    let gone: HashSet<Id> = known.into_iter().map(|(id, _)| id).filter(|id| !there.contains(id)).collect();
    let bad = reader.has_bad_frames()?;
    if gone.is_empty() {
        if bad {
            at.index().relink(&gone, PATIENT)?;
        }
        return Ok(gone);
    }
    let split = || -> Result<(Vec<PackUse>, Vec<PackUse>), RepoError> {
        Ok(reader.pack_needs()?.into_iter().filter(|u| gone.contains(&u.id)).partition(|u| u.live_frames > 0))
    };
    let (mut needed, mut free) = split()?;
    if bad || !needed.is_empty() {
        at.index().relink(&gone, PATIENT)?;
        (needed, free) = split()?;
    }
    // Where they were moved to says a statement, which may be lost; what is in the packs says the same.
    if !needed.is_empty() && tables::learn(at)? {
        at.index().relink(&gone, PATIENT)?;
        (needed, free) = split()?;
    }
    at.index().drop_packs(&free.iter().map(|u| u.id).collect::<Vec<_>>(), PATIENT)?;
    Ok(needed.iter().map(|u| u.id).collect())
}
