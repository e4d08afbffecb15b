//! Segments that the index has passed over: another writer of a source may have written them. What their records need nobody
//! here knows, so where there is one that holds a whole record, nothing is collected.

use crate::repo::{
    attach::Attached,
    collect::{merged, take},
    error::{Damage, RepoError},
    names::{self, Epoch, Segment},
    record::Part,
    segment::{self, SEGMENT_MAX},
};
use crate::types::ids::Id;
use std::collections::{HashMap, HashSet};

/// Refuses where a segment that the index has passed over holds a whole record.
pub(super) fn refuse(at: &Attached) -> Result<(), RepoError> {
    let objects = at.repo().store().list(names::JOURNAL)?;
    let mut covered: HashMap<Id, (String, u64)> = HashMap::new();
    for newest in take::newest(objects.iter().map(|o| o.name.as_str())) {
        let upto = merged::read_head(at.repo(), &newest)?.upto;
        covered.insert(newest.source, (upto.epoch, upto.seq));
    }
    let reader = at.reader()?;
    let mut known: HashSet<(Id, Epoch)> = HashSet::new();
    for source in reader.sources()? {
        let runs = reader.runs_of(source.num)?;
        known.extend(runs.iter().filter_map(|epoch| Epoch::parse(epoch)).map(|epoch| (source.id, epoch)));
    }
    for segment in objects.iter().filter_map(|o| Segment::parse(&o.name)) {
        // What a merged history covers was looked at before it was written; what came later is of another writer.
        let place = (segment.epoch.as_str(), segment.seq);
        let is_covered = covered.get(&segment.source).is_some_and(|(epoch, seq)| place <= (epoch.as_str(), *seq));
        if !is_covered && !known.contains(&(segment.source, segment.epoch.clone())) && ends_record(at, &segment)? {
            let why = "the segment holds a record that is no part of the history that this host shows";
            let why = at.repo().damaged(&segment.name(), "record", Damage::other(why)).to_string();
            return Err(RepoError::Uncollectable { why });
        }
    }
    Ok(())
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
