//! Segments that the index has passed over: another writer of a source may have written them. What their records need nobody
//! here knows, so where there is one that holds a whole record, nothing is collected.

use crate::repo::{
    attach::Attached,
    collect::{
        merged::{self, MergedHead},
        take,
    },
    error::{Damage, RepoError},
    names::{self, Merged, Segment},
    record::Part,
    segment::{self, SEGMENT_MAX},
};
use crate::types::{ids::Id, snapshot::Source};
use std::collections::{HashMap, HashSet};

/// Refuses where a segment that the index has passed over holds a whole record.
pub(super) fn refuse(at: &Attached) -> Result<(), RepoError> {
    let mut heads: HashMap<Id, MergedHead> = HashMap::new();
    let objects = at.repo().store().list(names::JOURNAL)?;
    for newest in take::newest(objects.iter().map(|o| o.name.as_str())) {
        heads.insert(newest.source, merged::read_head(at.repo(), &newest)?);
    }
    let is_covered = |s: &Segment| heads.get(&s.source).is_some_and(|head| head.covers(s));
    for segment in unknown(at)?.iter().filter(|s| !is_covered(s)) {
        if ends_record(at, segment)? {
            let why = "the segment holds a record that is no part of the history that this host shows";
            let why = at.repo().damaged(&segment.name(), "record", Damage::other(why)).to_string();
            return Err(RepoError::Uncollectable { why });
        }
    }
    Ok(())
}

/// The segments of runs that the index has passed over.
pub(super) fn unknown(at: &Attached) -> Result<Vec<Segment>, RepoError> {
    let objects = at.repo().store().list(names::JOURNAL)?;
    let reader = at.reader()?;
    // The segments of a branch lie in the journal of the source that it branched off; the random part of an epoch tells them apart.
    let mut known: HashSet<String> = HashSet::new();
    for source in reader.sources()? {
        known.extend(reader.runs_of(source.num)?);
    }
    let segments = objects.iter().filter_map(|o| Segment::parse(&o.name));
    Ok(segments.filter(|s| !known.contains(s.epoch.as_str())).collect())
}

/// Whether another history rests on the segments of this source, or this one on those of another: then its history is not merged.
pub(super) fn has_branches(at: &Attached, source: &Source) -> Result<bool, RepoError> {
    let objects = at.repo().store().list(names::JOURNAL)?;
    let own: HashSet<Id> = objects
        .iter()
        .filter_map(|o| Segment::parse(&o.name).map(|s| s.source).or_else(|| Merged::parse(&o.name).map(|m| m.source)))
        .collect();
    let known = at.reader()?.sources()?;
    let rests = known.iter().any(|fork| fork.may_branch_off(source) && !own.contains(&fork.id));
    Ok(rests || !own.contains(&source.id))
}

/// Whether a record ends in a segment. The end of one that was never finished is nowhere.
fn ends_record(at: &Attached, segment: &Segment) -> Result<bool, RepoError> {
    let (repo, name) = (at.repo(), segment.name());
    let bytes = repo.store().get(&name, SEGMENT_MAX)?;
    let mut ends = false;
    segment::read(repo.keys(), &repo.store().location(), &name, &bytes, |item| -> Result<(), RepoError> {
        ends |= Part::read(item).map_err(|e| repo.damaged(&name, "record", e.into()))?.place.last;
        Ok(())
    })?;
    Ok(ends)
}
