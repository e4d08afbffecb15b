//! The last change of a path: of what stands or stood there, of anything in it, or of a directory above that took it away.

use crate::index::{
    changes::{Ends, Touch},
    error::IndexError,
    tree::Reader,
};
use crate::types::{
    ids::{Node, Snap},
    path,
    snapshot::Snapshot,
    time::Instant,
};
use crate::view::{positions::Positions, whose::Line};
use std::ops::ControlFlow;

/// What became of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Became {
    /// It was new.
    Created,
    /// It changed.
    Changed,
    /// Another node took its place.
    Replaced,
    /// It was removed, or got another name.
    Gone,
}

impl Became {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Became::Created => "was created",
            Became::Changed => "was changed",
            Became::Replaced => "was replaced",
            Became::Gone => "was removed or renamed",
        }
    }

    fn of(ends: &Ends) -> Option<Became> {
        match (&ends.lo, &ends.hi) {
            (None, None) => None,
            (None, Some(_)) => Some(Became::Created),
            (Some(_), None) => Some(Became::Gone),
            (Some(lo), Some(hi)) if lo.node != hi.node => Some(Became::Replaced),
            (Some(_), Some(_)) => Some(Became::Changed),
        }
    }
}

/// The last change of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastChange {
    /// The first snapshot with it.
    pub snapshot: Snapshot,
    /// What changed: the path itself, something in it, or a directory above.
    pub path: Vec<u8>,
    /// What became of that.
    pub became: Became,
}

impl LastChange {
    /// The last instant before it.
    pub fn before(&self) -> Instant {
        Instant(self.snapshot.time.0.saturating_sub(1))
    }
}

/// The last change of `absolute` in these histories before which something stood there; `None` where there was none.
///
/// Costs what was captured since then, whatever the size of the tree.
pub fn last_change(index: &Reader, lines: &[Line], absolute: &[u8]) -> Result<Option<LastChange>, IndexError> {
    let mut last: Option<LastChange> = None;
    for line in lines {
        let Some(newest) = line.snapshot_at(index, Instant(i64::MAX))? else { continue };
        let found = in_line(index, line, newest.number, absolute)?;
        if let Some(found) = found
            && last.as_ref().is_none_or(|last| last.snapshot.time < found.snapshot.time)
        {
            last = Some(found);
        }
    }
    Ok(last)
}

fn in_line(index: &Reader, line: &Line, newest: Snap, absolute: &[u8]) -> Result<Option<LastChange>, IndexError> {
    let source = &line.source;
    let mut positions = Positions::new(index, source);
    let stood = positions.at(absolute)?;
    let is_above = path::is_within(&source.root, absolute);
    let mut found: Option<LastChange> = None;
    index.touched_back(source.num, Snap(0), newest, |touch: Touch| -> Result<ControlFlow<()>, IndexError> {
        // All of the newest snapshot with a change are looked at: what is nearest to the path says it best.
        if found.as_ref().is_some_and(|found| found.snapshot.number != touch.snap) {
            return Ok(ControlFlow::Break(()));
        }
        let before = Snap(touch.snap.0.saturating_sub(1));
        if !is_above && !stood.iter().any(|stay| stay.covers(before)) {
            return Ok(ControlFlow::Continue(()));
        }
        let mut paths = Vec::new();
        for snap in [before, touch.snap] {
            paths.extend(path_of(&mut positions, touch.parent, &touch.name, snap)?);
        }
        paths.dedup();
        for changed in paths {
            let above = path::is_within(absolute, &changed) && changed != absolute;
            if !above && !path::is_within(&changed, absolute) {
                continue;
            }
            let ends = index.ends(source.num, touch.parent, &touch.name, (before, touch.snap))?;
            // A directory above that only has other attributes takes nothing away.
            let Some(became) = Became::of(&ends).filter(|b| !above || *b != Became::Changed) else { continue };
            let nearer = |known: &LastChange| distance(&changed, absolute) < distance(&known.path, absolute);
            if found.as_ref().is_none_or(nearer)
                && let Some(snapshot) = index.snapshot(source.num, touch.snap)?
            {
                found = Some(LastChange { snapshot, path: changed, became });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

fn path_of(
    positions: &mut Positions<'_>,
    parent: Node,
    name: &[u8],
    snap: Snap,
) -> Result<Option<Vec<u8>>, IndexError> {
    Ok(positions.dir_at(parent, snap)?.map(|dir| path::join(&dir, name)))
}

/// How many names lie between two paths of which one is within the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    path::components(one).count().abs_diff(path::components(other).count())
}
