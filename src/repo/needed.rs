//! The packs that snapshots need, by the index: of some sources, or of some tiers, or both.

use crate::index::tree::Reader;
use crate::repo::{attach::Attached, error::RepoError, holding::Holding};
use crate::types::{
    ids::{Id, Snap, SourceNum},
    time::Instant,
};
use std::collections::{HashMap, HashSet};

/// The packs that a copy needs that is to hold this.
///
/// What is released and not merged yet, journals still name: then it is all of them.
pub fn by_copy(at: &Attached, holding: &Holding) -> Result<HashSet<Id>, RepoError> {
    at.reader()?.hold(|reader| {
        for source in chosen(reader, holding)?.keys() {
            if reader.is_release_pending(*source)? {
                return Ok(reader.packs()?.into_iter().map(|(id, _)| id).collect());
            }
        }
        packs(reader, holding)
    })
}

/// The packs that the snapshots need that are whole where this is held.
pub fn packs(reader: &Reader, holding: &Holding) -> Result<HashSet<Id>, RepoError> {
    let chosen = chosen(reader, holding)?;
    let mut contents: HashSet<i64> = HashSet::new();
    reader.each_need(|need| {
        let is_needed = chosen.get(&need.source).is_some_and(|moments| moments.has(need.from, need.to));
        if is_needed {
            contents.insert(need.content);
        }
    })?;
    let mut chunks: HashSet<i64> = HashSet::new();
    for content in contents {
        reader.each_chunk_of(content, |chunk| {
            chunks.insert(chunk);
        })?;
    }
    let mut frames: HashSet<i64> = HashSet::new();
    reader.each_chunk(|chunk, frame| {
        if chunks.contains(&chunk) {
            frames.insert(frame);
        }
    })?;
    let mut of_frame: HashMap<i64, Id> = HashMap::new();
    reader.each_frame(|row| {
        of_frame.insert(row.num, row.pack);
    })?;
    Ok(frames.iter().filter_map(|frame| of_frame.get(frame).copied()).collect())
}

/// The snapshots of a source that are to be whole.
enum Moments {
    All,
    /// Only these, in order.
    Some(Vec<Snap>),
}

impl Moments {
    /// Whether one of them is in `from..to`.
    fn has(&self, from: Snap, to: Option<Snap>) -> bool {
        let Moments::Some(numbers) = self else { return true };
        let first = numbers.get(numbers.partition_point(|number| *number < from));
        first.is_some_and(|number| to.is_none_or(|to| *number < to))
    }
}

fn chosen(reader: &Reader, holding: &Holding) -> Result<HashMap<SourceNum, Moments>, RepoError> {
    let mut chosen = HashMap::new();
    for source in reader.sources()? {
        if holding.sources.as_ref().is_some_and(|ids| !ids.contains(&source.id)) {
            continue;
        }
        let moments = match holding.tiers {
            None => Moments::All,
            Some(_) => {
                let all = reader.snapshots(source.num, Instant(i64::MIN), Instant(i64::MAX), i64::MAX as usize)?;
                let whole = all.iter().filter(|snapshot| holding.is_whole(snapshot.tier));
                let mut numbers: Vec<Snap> = whole.map(|snapshot| snapshot.number).collect();
                numbers.sort_unstable();
                Moments::Some(numbers)
            }
        };
        chosen.insert(source.num, moments);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_chosen_snapshot_shows_is_not_needed() {
        let some = Moments::Some(vec![Snap(3), Snap(9)]);
        for (from, to, has) in
            [(1, Some(3), false), (1, Some(4), true), (4, Some(9), false), (4, None, true), (10, None, false)]
        {
            assert_eq!(some.has(Snap(from), to.map(Snap)), has, "{from} {to:?}");
        }
        assert!(Moments::All.has(Snap(1), Some(Snap(2))));
    }
}
