//! The history of one path.

use crate::index::{error::IndexError, history::Stay, rows::Row, tree::Reader};
use crate::types::{
    ids::Snap,
    snapshot::{Snapshot, Source},
};
use crate::view::{
    compare::{Bits, compare},
    positions::{Position, Positions, overlap},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What happened with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It was new.
    Created,
    /// It changed.
    Changed,
    /// It had another path before: it was renamed, or a directory above it was.
    Renamed {
        /// That path.
        from: Vec<u8>,
    },
    /// It was there under another path already, and got this one too: a hard link.
    Linked {
        /// The other path.
        to: Vec<u8>,
    },
    /// Another node took the place of the one before.
    Replaced,
    /// It was renamed away, or a directory above it was.
    Left {
        /// The path it has from then on.
        to: Vec<u8>,
    },
    /// It was removed.
    Removed,
}

/// A version of what stands at a path, or the end of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathVersion {
    /// The first snapshot with it.
    pub from: Snapshot,
    /// The first snapshot without it; `None` while it lasts.
    pub to: Option<Snapshot>,
    /// The path at that time.
    pub path: Vec<u8>,
    /// The entry; `None` where nothing is there any more.
    pub row: Option<Row>,
    /// What made it.
    pub what: What,
    /// What differs from the version before.
    pub bits: Bits,
}

/// A name that a directory has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EverName {
    /// The name.
    pub name: Vec<u8>,
    /// A directory stood there.
    pub dir: bool,
    /// Something else than a directory stood there.
    pub other: bool,
    /// The first snapshot with it.
    pub first: Snap,
    /// The first snapshot without it; `None` while it is there.
    pub gone: Option<Snap>,
}

/// All names that ever existed in the directories that ever stood at an absolute path, in the order of names. Empty where
/// no directory ever did.
pub fn names_ever(index: &Reader, source: &Source, absolute: &[u8]) -> Result<Vec<EverName>, IndexError> {
    let mut names: BTreeMap<Vec<u8>, EverName> = BTreeMap::new();
    for dir in Positions::new(index, source).at(absolute)?.iter().filter(|s| s.node.is_dir()) {
        for stay in index.dir_stays(source.num, dir.node)? {
            let Some((from, to)) = overlap((dir.from, dir.to), (stay.from, stay.to)) else { continue };
            let ever = names.entry(stay.name.clone()).or_insert_with(|| EverName {
                name: stay.name.clone(),
                dir: false,
                other: false,
                first: from,
                gone: to,
            });
            ever.dir |= stay.node.is_dir();
            ever.other |= !stay.node.is_dir();
            ever.first = ever.first.min(from);
            ever.gone = ever.gone.zip(to).map(|(a, b)| a.max(b));
        }
    }
    Ok(names.into_values().collect())
}

/// All versions of what stood at an absolute path, oldest first, and under the names that it had before; also for a path
/// that is no more. Empty where nothing ever stood there.
pub fn versions(index: &Reader, source: &Source, absolute: &[u8]) -> Result<Vec<PathVersion>, IndexError> {
    let mut history =
        History { index, source, positions: Positions::new(index, source), times: HashMap::new(), out: Vec::new() };
    history.collect(absolute)?;
    let mut out = history.out;
    out.sort_by_key(|v| (v.from.number, v.row.is_some()));
    Ok(out)
}

struct History<'a> {
    index: &'a Reader,
    source: &'a Source,
    positions: Positions<'a>,
    times: HashMap<Snap, Snapshot>,
    out: Vec<PathVersion>,
}

impl History<'_> {
    fn collect(&mut self, absolute: &[u8]) -> Result<(), IndexError> {
        let stands = self.positions.at(absolute)?;
        let mut path = absolute.to_vec();
        let mut done = HashSet::new();
        let mut replaced: Option<Row> = None;
        for (n, stand) in stands.iter().enumerate() {
            let all = self.positions.of(stand.node)?;
            // The path as positions spell it.
            if let Some(here) = all.iter().find(|p| is_part(p, stand)) {
                path.clone_from(&here.path);
            }
            let trail = trail(&all, stand, &path);
            let before = n.checked_sub(1).and_then(|n| stands.get(n)).filter(|b| b.to == Some(stand.from));
            let origin = origin(&all, &trail, stand, before.is_some());
            let mut last: Option<(Row, Vec<u8>)> = None;
            for (m, part) in trail.iter().enumerate() {
                let start = match &last {
                    Some((_, from)) if *from != part.path => What::Renamed { from: from.clone() },
                    Some(_) => What::Changed,
                    None => origin.clone(),
                };
                let seed = if m == 0 { replaced.take().filter(|_| origin == What::Replaced) } else { None };
                let known = last.take().map(|(row, _)| row).or(seed);
                last = self.part(part, start, known, &mut done)?.map(|row| (row, part.path.clone()));
            }
            replaced = last.map(|(row, _)| row);
            let next = stands.get(n + 1).is_some_and(|next| Some(next.from) == stand.to);
            if let (Some(end), false) = (stand.to, next) {
                let until = stands.get(n + 1).map(|s| s.from);
                self.end(&all, &path, end, until)?;
            }
        }
        Ok(())
    }

    /// The versions of one part of a trail; gives the last.
    fn part(
        &mut self,
        part: &Position,
        start: What,
        before: Option<Row>,
        done: &mut HashSet<(Vec<u8>, Snap)>,
    ) -> Result<Option<Row>, IndexError> {
        let mut last = before;
        let mut what = Some(start);
        for row in self.index.entry_history(self.source.num, part.stay.parent, &part.stay.name)? {
            let time = overlap((row.from, row.to), (part.stay.from, part.stay.to));
            let Some((from, to)) = time.filter(|_| row.node == part.stay.node) else { continue };
            let bits = match &last {
                Some(before) => compare(self.index, before, &row)?,
                None => Bits::default(),
            };
            let what = what.take().unwrap_or(What::Changed);
            if done.insert((part.path.clone(), from)) {
                let (from, to) = (self.snapshot(from)?, to.map(|to| self.snapshot(to)).transpose()?);
                let row = Some(row.clone());
                self.out.push(PathVersion { from, to, path: part.path.clone(), row, what, bits });
            }
            last = Some(row);
        }
        Ok(last)
    }

    /// Says where the node went that stood at `path` until `end`.
    fn end(&mut self, all: &[Position], path: &[u8], end: Snap, until: Option<Snap>) -> Result<(), IndexError> {
        let what = match all.iter().find(|p| p.stay.from == end) {
            Some(next) => What::Left { to: next.path.clone() },
            None => What::Removed,
        };
        let (from, to) = (self.snapshot(end)?, until.map(|to| self.snapshot(to)).transpose()?);
        self.out.push(PathVersion { from, to, path: path.to_vec(), row: None, what, bits: Bits::default() });
        Ok(())
    }

    fn snapshot(&mut self, number: Snap) -> Result<Snapshot, IndexError> {
        if let Some(known) = self.times.get(&number) {
            return Ok(known.clone());
        }
        let found = self.index.snapshot(self.source.num, number)?;
        let found = found.ok_or(IndexError::Damaged("a snapshot is missing"))?;
        self.times.insert(number, found.clone());
        Ok(found)
    }
}

fn is_part(position: &Position, stand: &Stay) -> bool {
    position.stay.parent == stand.parent
        && position.stay.name == stand.name
        && overlap((position.stay.from, position.stay.to), (stand.from, stand.to)).is_some()
}

/// The positions of a node that led to a stand without a break, oldest first, the stand itself last.
fn trail(all: &[Position], stand: &Stay, path: &[u8]) -> Vec<Position> {
    let mut trail = vec![Position { path: path.to_vec(), stay: stand.clone() }];
    let mut at = stand.from;
    // A name that goes on beside the new one makes it a link and not a rename.
    let goes_on = |at: Snap| all.iter().any(|p| p.stay.from < at && p.stay.covers(at));
    while let Some(before) = all.iter().find(|p| p.stay.to == Some(at) && p.path != path).filter(|_| !goes_on(at)) {
        at = before.stay.from;
        trail.push(before.clone());
    }
    trail.reverse();
    trail
}

fn origin(all: &[Position], trail: &[Position], stand: &Stay, follows: bool) -> What {
    let start = trail.first().map_or(stand.from, |p| p.stay.from);
    if let Some(other) = all.iter().find(|p| p.stay.from < start && p.stay.covers(start)) {
        return What::Linked { to: other.path.clone() };
    }
    let back = all.iter().find(|p| p.stay.to == Some(start));
    match (back, follows && trail.len() == 1) {
        (Some(before), _) => What::Renamed { from: before.path.clone() },
        (None, true) => What::Replaced,
        (None, false) => What::Created,
    }
}
