//! What would be lost if a copy went on now: what this host's index knows that the copy lacks. The place that is lost is not asked.

use super::error::DrError;
use crate::index::{open::Index, tree::Reader};
use crate::repo::attach;
use crate::types::{
    ids::{Id, Snap},
    snapshot::Source,
    time::Instant,
};
use std::path::Path;

/// Where a copy stands with a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The source.
    pub source: Source,
    /// The newest snapshot of the copy.
    pub held: Option<(Snap, Instant)>,
    /// The newest that this host knows of.
    pub newest: Snap,
    /// The time of the oldest snapshot that the copy lacks; `None` where it has all that this host knows of.
    pub since: Option<Instant>,
    /// The time of the newest that it lacks.
    pub upto: Option<Instant>,
}

impl Loss {
    /// Whether the copy has all that this host knows of.
    pub fn is_none(&self) -> bool {
        self.since.is_none()
    }

    /// How long it was between the recovery point and the newest snapshot, in seconds: what is lost.
    pub fn seconds(&self) -> f64 {
        let from = self.held.map(|(_, time)| time).or(self.since);
        let span = self.upto.zip(from).map_or(0, |(upto, from)| upto.0.saturating_sub(from.0).max(0));
        span as f64 / 1e9
    }
}

/// What `there`, the index of the copy, lacks of what the index of this host below `state` knows; `None` where this host has none.
pub fn losses(state: &Path, repository: Id, there: &Reader) -> Result<Option<Vec<Loss>>, DrError> {
    let Some(path) = attach::index_of(state, repository) else { return Ok(None) };
    let index = Index::open(&path, repository)?;
    let known = Reader::open(&index)?;
    let in_copy = there.sources()?;
    let mut all = Vec::new();
    for source in known.sources()? {
        let newest = known.head(source.num)?.number;
        let held = match in_copy.iter().find(|other| other.id == source.id) {
            Some(other) => there.snapshot(other.num, there.head(other.num)?.number)?.map(|s| (s.number, s.time)),
            None => None,
        };
        let after = held.map_or(Instant(i64::MIN), |(_, time)| Instant(time.0.saturating_add(1)));
        let since = known.snapshots(source.num, after, Instant(i64::MAX), 1)?.first().map(|s| s.time);
        let upto = known.snapshot(source.num, newest)?.map(|s| s.time).filter(|_| since.is_some());
        all.push(Loss { source, held, newest, since, upto });
    }
    Ok((!all.is_empty()).then_some(all))
}
