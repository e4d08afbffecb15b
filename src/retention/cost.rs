//! What each reason to keep a snapshot costs in bytes, from the index alone.
//!
//! A reason costs the chunks that would be released if it alone were taken away: all snapshots that need them are either released
//! already or kept by nothing else. This is exact, and takes one pass over the entries, the contents and the chunks of the index, with
//! a byte of memory for each content and each chunk:
//!
//! 1. Each snapshot is [`Use::Released`], [`Use::Only`] one reason, or [`Use::Several`].
//! 2. An entry needs its content for an interval of snapshots. The uses in it are joined by two binary searches: whether a kept one
//!    lies in it, and whether all of those, which follow one another among the kept ones, have the same single reason.
//! 3. Uses are joined over all entries of a content, then over all contents of a chunk, of all sources: a chunk that two
//!    sources share is released when neither needs it.
//! 4. Chunks are added up by their use. A chunk measures its length; it takes its share of its frame, by lengths and rounded down, in
//!    the pack. What records and the index take is not counted.

use std::collections::HashMap;

use super::plan::{Reason, Verdict};
use crate::index::{error::IndexError, needs::Need, tree::Reader};
use crate::types::ids::{Snap, SourceNum};

/// Who needs something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// No snapshot.
    Nothing,
    /// Snapshots that are released.
    Released,
    /// Snapshots that only the reason of this number keeps, and perhaps released ones.
    Only(u8),
    /// Snapshots that several reasons keep.
    Several,
}

/// The most reasons that are told apart; snapshots kept by one beyond count as kept by several.
const REASONS_MAX: usize = 250;

impl Use {
    fn join(self, other: Use) -> Use {
        match (self, other) {
            (Use::Nothing, x) | (x, Use::Nothing) | (Use::Released, x) | (x, Use::Released) => x,
            (Use::Only(a), Use::Only(b)) if a == b => self,
            _ => Use::Several,
        }
    }
}

/// Bytes of chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bytes {
    /// Their lengths together.
    pub content: u64,
    /// What they take in packs.
    pub stored: u64,
}

impl Bytes {
    fn add(&mut self, content: u64, stored: u64) {
        self.content += content;
        self.stored += stored;
    }
}

/// What is kept and released, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Costs {
    /// What each reason costs alone: what would be released as well without it.
    pub only: HashMap<(SourceNum, Reason), Bytes>,
    /// What snapshots need of which more than one reason keeps one.
    pub shared: Bytes,
    /// What only snapshots need that are released.
    pub released: Bytes,
}

/// The plans of sources, made for looking up intervals.
pub struct Uses {
    sources: HashMap<SourceNum, Kept>,
    reasons: Vec<(SourceNum, Reason)>,
}

/// The kept snapshots of a source in order: their numbers, their uses, and where the run of equal uses ends that each is in.
#[derive(Default)]
struct Kept {
    numbers: Vec<Snap>,
    uses: Vec<Use>,
    run_end: Vec<usize>,
}

impl Kept {
    fn over(&self, from: Snap, to: Option<Snap>) -> Use {
        let first = self.numbers.partition_point(|n| *n < from);
        let end = to.map_or(self.numbers.len(), |to| self.numbers.partition_point(|n| *n < to));
        match first < end {
            false => Use::Released,
            true if end <= self.run_end[first] => self.uses[first],
            true => Use::Several,
        }
    }
}

impl Uses {
    /// The uses of some plans, each of a source. A source without a plan keeps everything.
    pub fn new<'a>(plans: impl IntoIterator<Item = (SourceNum, &'a [Verdict])>) -> Uses {
        let mut uses = Uses { sources: HashMap::new(), reasons: Vec::new() };
        for (source, verdicts) in plans {
            let mut kept = Kept::default();
            for verdict in verdicts.iter().filter(|v| v.is_kept()) {
                let what = match &verdict.kept_by[..] {
                    [only] => uses.only(source, only),
                    _ => Use::Several,
                };
                kept.numbers.push(verdict.moment.number);
                kept.uses.push(what);
            }
            let mut end = kept.uses.len();
            kept.run_end = vec![end; end];
            for n in (0..kept.uses.len()).rev() {
                if kept.uses.get(n + 1).is_some_and(|next| *next != kept.uses[n]) {
                    end = n + 1;
                }
                kept.run_end[n] = end;
            }
            uses.sources.insert(source, kept);
        }
        uses
    }

    fn only(&mut self, source: SourceNum, reason: &Reason) -> Use {
        let known = self.reasons.iter().position(|(s, r)| *s == source && r == reason);
        let number = known.unwrap_or_else(|| {
            self.reasons.push((source, reason.clone()));
            self.reasons.len() - 1
        });
        if number < REASONS_MAX { Use::Only(number as u8) } else { Use::Several }
    }

    fn of(&self, need: &Need) -> Use {
        self.sources.get(&need.source).map_or(Use::Several, |kept| kept.over(need.from, need.to))
    }
}

/// Adds up all chunks of the repository by who needs them. Chunks that no entry names are left out.
pub fn costs(index: &Reader, uses: &Uses) -> Result<Costs, IndexError> {
    index.hold(|index| {
        let chunks = chunk_uses(index, uses)?;
        let mut costs = Costs::default();
        index.each_chunk_size(|chunk| {
            let (len, raw) = (u64::from(chunk.len), u64::from(chunk.frame_raw).max(1));
            let stored = u64::from(chunk.frame_sealed) * len / raw;
            match chunks.get(chunk.num as usize) {
                Some(Use::Only(n)) => {
                    costs.only.entry(uses.reasons[usize::from(*n)].clone()).or_default().add(len, stored);
                }
                Some(Use::Several) => costs.shared.add(len, stored),
                Some(Use::Released) => costs.released.add(len, stored),
                Some(Use::Nothing) | None => {}
            }
        })?;
        Ok(costs)
    })
}

/// The use of each chunk, by its row.
fn chunk_uses(index: &Reader, uses: &Uses) -> Result<Vec<Use>, IndexError> {
    let (runs, chunks) = index.largest_rows()?;
    let mut runs = vec![Use::Nothing; runs.max(0) as usize + 1];
    let mut chunks = vec![Use::Nothing; chunks.max(0) as usize + 1];
    let mut missing = false;
    let mut join = |list: &mut Vec<Use>, row: i64, what: Use| match list.get_mut(row as usize) {
        Some(entry) => *entry = entry.join(what),
        None => missing = true,
    };
    index.each_need(|need| {
        // A content of one chunk is coded by that chunk, and any other by its list of runs.
        let list = if need.content & 1 == 1 { &mut chunks } else { &mut runs };
        join(list, need.content >> 1, uses.of(&need));
    })?;
    for (row, what) in runs.iter().enumerate().filter(|(_, what)| **what != Use::Nothing) {
        index.each_chunk_of((row as i64) << 1, |chunk| join(&mut chunks, chunk, *what))?;
    }
    if missing { Err(IndexError::Damaged("a chunk is missing")) } else { Ok(chunks) }
}

#[cfg(test)]
mod tests {
    use super::super::{plan::Moment, policy::Rule};
    use super::*;
    use crate::types::time::Instant;
    use proptest::prelude::*;

    proptest! {
        /// Joined over an interval by two searches, as one by one.
        #[test]
        fn intervals_are_joined_as_their_snapshots(kinds in proptest::collection::vec(0u8..5, 0..40), from in 1u64..45, len in 0u64..45) {
            let reasons = |kind: u8| match kind {
                0 => vec![],
                1 => vec![Reason::Rule(Rule::Daily)],
                2 => vec![Reason::Rule(Rule::Weekly)],
                3 => vec![Reason::Lock],
                _ => vec![Reason::Rule(Rule::Daily), Reason::Lock],
            };
            let verdicts: Vec<Verdict> = kinds.iter().enumerate().map(|(n, kind)| Verdict {
                moment: Moment { time: Instant(n as i64), number: Snap(n as u64 + 1) },
                kept_by: reasons(*kind),
            }).collect();
            let uses = Uses::new([(SourceNum(1), &verdicts[..])]);
            for to in [None, Some(Snap(from + len))] {
                let need = Need { source: SourceNum(1), from: Snap(from), to, content: 2 };
                let inside = verdicts.iter().filter(|v| v.moment.number >= Snap(from) && to.is_none_or(|to| v.moment.number < to));
                let mut wanted = Use::Released;
                for v in inside {
                    let number = |reason| uses.reasons.iter().position(|(_, r)| r == reason).unwrap() as u8;
                    wanted = wanted.join(match &v.kept_by[..] {
                        [] => Use::Released,
                        [only] => Use::Only(number(only)),
                        _ => Use::Several,
                    });
                }
                prop_assert_eq!(uses.of(&need), wanted);
            }
            let other = Need { source: SourceNum(2), from: Snap(1), to: None, content: 2 };
            prop_assert_eq!(uses.of(&other), Use::Several);
        }
    }
}
