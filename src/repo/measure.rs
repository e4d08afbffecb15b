//! How large a repository is, and how much of its journal the index has not seen: from the list of its objects alone.

use crate::repo::{
    attach::Attached,
    error::RepoError,
    names::{self, Segment},
};
use crate::types::ids::Id;
use std::collections::{HashMap, HashSet};

/// What is stored, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measure {
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Segments of journals.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Segments that the index of this host has not taken in.
    pub unseen: u64,
}

/// Lists the packs and journals of a repository and adds them up. Reads none of them.
pub fn measure(at: &Attached) -> Result<Measure, RepoError> {
    Ok(measure_and_packs(at)?.0)
}

/// As [`measure`], with the packs that are there.
pub fn measure_and_packs(at: &Attached) -> Result<(Measure, HashSet<Id>), RepoError> {
    let store = at.repo().store();
    let mut out = Measure::default();
    let mut packs = HashSet::new();
    for object in store.list(names::PACKS)? {
        if let Some(id) = names::parse_pack(&object.name) {
            packs.insert(id);
            out.packs += 1;
            out.pack_bytes += object.len;
        }
    }
    // The journal is listed before the index is asked: what is taken in meanwhile counts as seen.
    let segments = store.list(names::JOURNAL)?;
    let reader = at.reader()?;
    let mut heads: HashMap<Id, (String, u64)> = HashMap::new();
    for source in reader.sources()? {
        let head = reader.head(source.num)?;
        heads.insert(source.id, (head.epoch, head.seq));
    }
    for object in segments {
        let Some(segment) = Segment::parse(&object.name) else { continue };
        out.segments += 1;
        out.segment_bytes += object.len;
        let seen = heads.get(&segment.source).is_some_and(|(epoch, seq)| {
            !epoch.is_empty() && (segment.epoch.as_str(), segment.seq) <= (epoch.as_str(), *seq)
        });
        out.unseen += u64::from(!seen);
    }
    Ok((out, packs))
}
