//! Which instants rest on which records: pure.

use crate::types::{
    ids::{Id, Snap},
    snapshot::{Source, Tier},
};
use std::collections::BTreeMap;

/// What a record needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) tier: Tier,
    /// The full that a differential builds on.
    pub(super) base: Option<Snap>,
}

/// What the history of a source rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chains {
    /// The source's id.
    pub id: Id,
    /// The host it is on and its root, where that is known.
    pub of: Option<(String, Vec<u8>)>,
    /// How many records of each tier were read: incremental, differential, full.
    pub counts: [u64; 3],
    /// How many snapshots are in a merged history.
    pub merged: u64,
    /// For each full and differential, in order, how many instants its loss would cost.
    pub costs: Vec<Cost>,
    /// The most that the loss of one incremental record would cost.
    pub worst_incremental: u64,
    /// Snapshots that only an index can show which has seen them: first and last of each range.
    pub lost: Vec<(Snap, Snap)>,
}

/// What the loss of one record would cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// The snapshot.
    pub number: Snap,
    /// Its tier.
    pub tier: Tier,
    /// How many instants could not be shown without its record: its own, and those that need it.
    pub instants: u64,
}

impl Chains {
    /// From the records that were read and follow, by number, of a history that reached `last`.
    ///
    /// `merged` are the kept snapshots of its merged history and their tiers: they rest on nothing but that, and those between them
    /// were released.
    pub(super) fn of(
        id: Id,
        source: Option<&Source>,
        (merged, records): (&[(Snap, Tier)], &BTreeMap<u64, Link>),
        last: u64,
    ) -> Chains {
        let mut chains = Chains {
            id,
            of: source.map(|s| (s.host.clone(), s.root.clone())),
            counts: [0; 3],
            merged: merged.len() as u64,
            costs: Vec::new(),
            worst_incremental: 0,
            lost: lost(merged, records, last),
        };
        let last = records.last_key_value().map_or(last, |(n, _)| last.max(*n));
        // The next record, from behind, that does without those before it.
        let (mut next_stated, mut next_full) = (last + 1, last + 1);
        for (number, link) in records.iter().rev() {
            chains.counts[link.tier as usize] += 1;
            let instants = if link.tier == Tier::Full { next_full } else { next_stated } - number;
            match link.tier {
                Tier::Incremental => chains.worst_incremental = chains.worst_incremental.max(instants),
                tier => {
                    chains.costs.push(Cost { number: Snap(*number), tier, instants });
                    next_stated = *number;
                }
            }
            if link.tier == Tier::Full {
                next_full = *number;
            }
        }
        chains.costs.reverse();
        chains
    }

    /// The most that the loss of one record of a tier would cost.
    pub fn worst(&self, tier: Tier) -> u64 {
        match tier {
            Tier::Incremental => self.worst_incremental,
            tier => self.costs.iter().filter(|c| c.tier == tier).map(|c| c.instants).max().unwrap_or(0),
        }
    }
}

/// The snapshots that a new machine can't show.
fn lost(merged: &[(Snap, Tier)], records: &BTreeMap<u64, Link>, last: u64) -> Vec<(Snap, Snap)> {
    let mut lost: Vec<(Snap, Snap)> = Vec::new();
    // Of those that can be shown: the newest, and the newest full. A differential builds on the newest full of its time.
    let mut shown = merged.last().map_or(0, |(number, _)| number.0);
    let mut fulls: BTreeMap<Snap, ()> =
        merged.iter().filter(|(_, tier)| *tier == Tier::Full).map(|(number, _)| (*number, ())).collect();
    for number in shown + 1..=last {
        let can = records.get(&number).is_some_and(|link| {
            shown + 1 == number || link.tier == Tier::Full || link.base.is_some_and(|base| fulls.contains_key(&base))
        });
        if can {
            shown = number;
            if records.get(&number).is_some_and(|link| link.tier == Tier::Full) {
                fulls.insert(Snap(number), ());
            }
            continue;
        }
        match lost.last_mut() {
            Some((_, to)) if to.0 + 1 == number => *to = Snap(number),
            _ => lost.push((Snap(number), Snap(number))),
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use Tier::{Differential as D, Full as F, Incremental as I};

    fn chains(lost: &[u64]) -> Chains {
        let tiers = [F, I, I, D, I, I, D, I, F, I];
        let mut full = 0;
        let mut records = BTreeMap::new();
        for (number, tier) in (1..).zip(tiers) {
            let base = (tier == D).then_some(Snap(full));
            full = if tier == F { number } else { full };
            if !lost.contains(&number) {
                records.insert(number, Link { tier, base });
            }
        }
        Chains::of(Id([1; 16]), None, (&[], &records), 10)
    }

    #[test]
    fn what_a_loss_would_cost() {
        let whole = chains(&[]);
        let costs: Vec<_> = whole.costs.iter().map(|c| (c.number.0, c.instants)).collect();
        assert_eq!(costs, [(1, 8), (4, 3), (7, 2), (9, 2)]);
        assert_eq!((whole.counts, whole.lost.len()), ([6, 2, 2], 0));
        assert_eq!([I, D, F].map(|tier| whole.worst(tier)), [2, 3, 8]);
    }

    #[test]
    fn what_was_released_is_not_lost() {
        let records = [(9, Link { tier: I, base: None }), (10, Link { tier: D, base: Some(Snap(4)) })];
        let records: BTreeMap<u64, Link> = records.into_iter().collect();
        let merged = [(Snap(1), F), (Snap(4), F), (Snap(8), I)];
        let chains = Chains::of(Id([1; 16]), None, (&merged, &records), 10);
        assert_eq!((chains.merged, chains.lost.len()), (3, 0));
        let chains = Chains::of(Id([1; 16]), None, (&merged[..2], &records), 10);
        assert_eq!(chains.lost, [(Snap(5), Snap(9))], "the differential needs none of them");
    }

    #[test]
    fn what_a_loss_costs() {
        for (missing, want) in [
            (&[5][..], &[(5, 6)][..]),
            (&[5, 6], &[(5, 6)]),
            (&[4], &[(4, 6)]),
            (&[1], &[(1, 8)]),
            (&[2, 8, 10], &[(2, 3), (8, 8), (10, 10)]),
            (&[9], &[(9, 10)]),
        ] {
            let found: Vec<_> = chains(missing).lost.iter().map(|(a, b)| (a.0, b.0)).collect();
            assert_eq!(found, want, "{missing:?}");
        }
    }
}
