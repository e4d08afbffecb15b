//! What this host's index, which has taken in all of the origin's journals, says about what the origin must have.

use crate::repo::{attach::Attached, error::RepoError, replay::Replayed};
use crate::types::ids::Id;
use std::collections::{HashMap, HashSet};

/// What the origin must have.
#[derive(Default, Debug)]
pub struct Known {
    /// The runs of all writers that the index has records of.
    pub(super) runs: HashSet<String>,
    /// The newest merged history of each source that the index has seen, by the name of its head.
    pub(super) merged: HashMap<Id, String>,
    /// The packs that some version needs.
    live: Option<HashSet<Id>>,
    /// Whether all of the journals could be read, and nothing of them is missing.
    pub(super) whole: bool,
}

impl Known {
    /// By the index, which `replayed` has brought up to date.
    pub fn of(at: &Attached, replayed: &Replayed) -> Result<Known, RepoError> {
        let reader = at.reader()?;
        let mut known = Known { whole: replayed.problems.is_empty(), ..Known::default() };
        for source in reader.sources()? {
            known.runs.extend(reader.runs_of(source.num)?);
            known.merged.insert(source.id, reader.merged(source.num)?);
            known.whole &= reader.absent(source.num)?.is_empty() && reader.beyond(source.num)?.is_none();
        }
        Ok(known)
    }

    /// The packs that some version needs; found out when it is asked for the first time.
    pub(super) fn live(&mut self, at: &Attached) -> Result<&HashSet<Id>, RepoError> {
        if self.live.is_none() {
            let uses = at.reader()?.pack_uses()?;
            self.live = Some(uses.into_iter().filter(|pack| pack.live_frames > 0).map(|pack| pack.id).collect());
        }
        Ok(self.live.get_or_insert_default())
    }
}
