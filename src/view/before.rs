//! The last change of a path: of what stands or stood there, of anything in it, or of a directory above that took it away.

use crate::index::{
    changes::{Ends, Touch},
    error::IndexError,
    tree::Reader,
};
use crate::sys::make;
use crate::types::{
    ids::{Node, Snap},
    path,
    snapshot::Snapshot,
    time::Instant,
};
use crate::view::{
    compare::{Bits, compare},
    instant::{Object, View},
    positions::Positions,
    whose::Line,
};
use std::{cell::Cell, collections::HashSet, ops::ControlFlow};

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

/// A snapshot of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The host of the source.
    pub host: String,
    /// The root of the source.
    pub root: Vec<u8>,
    /// The snapshot.
    pub number: Snap,
}

/// What became of a path since something went back to an earlier state of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// No change was captured.
    Nothing,
    /// One change was, and nothing after it.
    OneChange,
    /// More than that.
    More,
}

/// What was captured of `absolute` after the snapshots `since`, where something went back to what `then` shows just after them: what is as
/// `then` shows it was put there by that, and is no change.
///
/// Attributes count for nothing here: they are set after the content.
pub fn changes_since(
    index: &Reader,
    (lines, absolute): (&[Line], &[u8]),
    since: &[Point],
    then: &View,
) -> Result<Since, IndexError> {
    let mut last: Option<Instant> = None;
    let mut foreign: HashSet<Instant> = HashSet::new();
    for line in lines {
        let Some(newest) = line.snapshot_at(index, Instant(i64::MAX))? else { continue };
        let is_it = |p: &&Point| p.host == line.source.host && p.root == line.source.root;
        let after = since.iter().find(is_it).map_or(Snap(0), |p| p.number);
        changes_back(
            index,
            line,
            (after, newest.number),
            absolute,
            |_| true,
            |change| {
                let Some(snapshot) = index.snapshot(line.source.num, change.snap)? else {
                    return Ok(ControlFlow::Continue(()));
                };
                last = last.max(Some(snapshot.time));
                if !is_as_shown(index, then, &change)? {
                    foreign.insert(snapshot.time);
                }
                Ok(if foreign.len() > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )?;
    }
    Ok(match foreign.is_empty() {
        true => Since::Nothing,
        false if foreign.iter().all(|time| Some(*time) == last) => Since::OneChange,
        false => Since::More,
    })
}

fn is_as_shown(index: &Reader, view: &View, change: &Change) -> Result<bool, IndexError> {
    // What was being written when it was captured.
    if path::components(&change.path).last().is_some_and(make::is_temp_name) {
        return Ok(true);
    }
    let shown = match view.look_up(index, &change.path)? {
        Some(Object::Node(_, row)) => Some(*row),
        Some(Object::Above) | None => None,
    };
    match (&shown, &change.ends.hi) {
        (None, None) => Ok(true),
        (Some(a), Some(b)) => {
            let bits = compare(index, a, b)?;
            Ok(!bits.has(Bits::KIND) && !bits.has(Bits::CONTENT))
        }
        _ => Ok(false),
    }
}

/// What a snapshot changed at, in or above a path.
struct Change {
    snap: Snap,
    path: Vec<u8>,
    became: Became,
    ends: Ends,
    /// Whether something stood at the path before.
    stood: bool,
}

/// Gives every change of `absolute` that the snapshots `after < s <= upto` brought, the newest snapshot first, until told to stop
/// or told that a snapshot is of no interest any more.
fn changes_back(
    index: &Reader,
    line: &Line,
    (after, upto): (Snap, Snap),
    absolute: &[u8],
    is_wanted: impl Fn(Snap) -> bool,
    mut each: impl FnMut(Change) -> Result<ControlFlow<()>, IndexError>,
) -> Result<(), IndexError> {
    let source = &line.source;
    let mut positions = Positions::new(index, source);
    let stood = positions.at(absolute)?;
    let is_above = path::is_within(&source.root, absolute);
    index.touched_back(source.num, after, upto, |touch: Touch| -> Result<ControlFlow<()>, IndexError> {
        if !is_wanted(touch.snap) {
            return Ok(ControlFlow::Break(()));
        }
        let before = Snap(touch.snap.0.saturating_sub(1));
        let stood_at = |snap| is_above || stood.iter().any(|stay| stay.covers(snap));
        let stood = stood_at(before);
        if !stood && !stood_at(touch.snap) {
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
            if each(Change { snap: touch.snap, path: changed, became, ends, stood })?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

fn in_line(index: &Reader, line: &Line, newest: Snap, absolute: &[u8]) -> Result<Option<LastChange>, IndexError> {
    let mut found: Option<LastChange> = None;
    // All of the newest snapshot with a change are looked at: what is nearest to the path says it best.
    let found_at: Cell<Option<Snap>> = Cell::new(None);
    let is_wanted = |snap| found_at.get().is_none_or(|at| at == snap);
    changes_back(index, line, (Snap(0), newest), absolute, is_wanted, |change| {
        if !change.stood {
            return Ok(ControlFlow::Continue(()));
        }
        let nearer = |known: &LastChange| distance(&change.path, absolute) < distance(&known.path, absolute);
        if found.as_ref().is_none_or(nearer)
            && let Some(snapshot) = index.snapshot(line.source.num, change.snap)?
        {
            found_at.set(Some(change.snap));
            found = Some(LastChange { snapshot, path: change.path, became: change.became });
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
