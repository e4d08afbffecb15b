//! The history of one path.

use crate::index::{error::IndexError, history::Stay, rows::Row, tree::Reader};
use crate::types::{
    ids::{Node, Snap},
    snapshot::{Snapshot, Source},
};
use crate::view::{
    compare::{Bits, compare},
    positions::{Position, Positions, overlap},
    trail::{Came, came, is_part, partner, same_entry},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

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

/// All versions of what stood at an absolute path, oldest first; also for a path that is no more. Empty where nothing ever
/// stood there.
///
/// A node is followed under the names that it had before, and the path under those of the directories above; where a node
/// came to an older name by taking the place of another, with that one.
pub fn versions(index: &Reader, source: &Source, absolute: &[u8]) -> Result<Vec<PathVersion>, IndexError> {
    let mut history = History {
        index,
        source,
        positions: Positions::new(index, source),
        nodes: HashMap::new(),
        stands: HashMap::new(),
        rows: HashMap::new(),
        times: HashMap::new(),
        told: HashSet::new(),
        ended: HashSet::new(),
        out: Vec::new(),
    };
    history.collect(absolute)?;
    let mut out = history.out;
    out.sort_by_key(|v| (v.from.number, v.row.is_some(), v.path == absolute));
    Ok(out)
}

/// A position that is to be told. Its path is that of what was asked for, if `own`: only directories above were renamed.
struct Step {
    here: Position,
    own: bool,
}

struct History<'a> {
    index: &'a Reader,
    source: &'a Source,
    positions: Positions<'a>,
    nodes: HashMap<Node, Rc<[Position]>>,
    stands: HashMap<Vec<u8>, Rc<[Stay]>>,
    rows: HashMap<(Node, Vec<u8>), Rc<[Row]>>,
    times: HashMap<Snap, Snapshot>,
    /// The positions and the ends that are in `out`.
    told: HashSet<(Vec<u8>, Snap)>,
    ended: HashSet<(Vec<u8>, Snap)>,
    out: Vec<PathVersion>,
}

impl History<'_> {
    fn collect(&mut self, absolute: &[u8]) -> Result<(), IndexError> {
        let stands = self.stands(absolute)?;
        let mut open = Vec::new();
        for (n, stand) in stands.iter().enumerate() {
            let here = self.position(absolute, stand)?;
            let next = stands.get(n + 1).map(|next| next.from);
            if next.is_none() || next != stand.to {
                self.end(&here, next)?;
            }
            open.push(Step { here, own: true });
        }
        let mut done = HashSet::new();
        while let Some(step) = open.pop() {
            if done.insert((step.here.path.clone(), step.here.stay.from, step.own)) {
                self.step(&step, &mut open)?;
            }
        }
        Ok(())
    }

    /// Tells a position, and adds those before it.
    fn step(&mut self, Step { here, own }: &Step, open: &mut Vec<Step>) -> Result<(), IndexError> {
        let at = here.stay.from;
        let came = came(&self.of(here.stay.node)?, here);
        let before = self.before(here)?;
        let taken = before.as_ref().filter(|b| b.stay.to == Some(at));
        let (what, base) = match &came {
            Came::Moved(from) if from.path == here.path => (What::Changed, Some(&from.stay)),
            Came::Moved(from) => (What::Renamed { from: from.path.clone() }, Some(&from.stay)),
            Came::Linked(to) => (What::Linked { to: to.clone() }, None),
            Came::New if taken.is_some() => (What::Replaced, taken.map(|b| &b.stay)),
            Came::New => (What::Created, None),
        };
        if self.told.insert((here.path.clone(), at)) {
            self.tell(here, what, base)?;
        }
        let goes_on = match &came {
            // Where a directory above was renamed, the path was another one before; where the node itself was, this is
            // followed only as far as it is what was asked for.
            Came::Moved(from) => *own && !same_entry(&from.stay, &here.stay),
            Came::Linked(_) | Came::New => *own || taken.is_some(),
        };
        if let Some(before) = before.filter(|_| goes_on) {
            if before.stay.to != Some(at) {
                self.end(&before, Some(at))?;
            }
            open.push(Step { here: before, own: *own });
        }
        if let Came::Moved(from) = came {
            let own = *own && same_entry(&from.stay, &here.stay);
            open.push(Step { here: from, own });
        }
        Ok(())
    }

    /// The versions of a position; the first was made by `what` and follows the last of `base`.
    fn tell(&mut self, here: &Position, what: What, base: Option<&Stay>) -> Result<(), IndexError> {
        let (num, stay) = (self.source.num, &here.stay);
        let base = base.and_then(|base| Some((base, Snap(base.to?.0.checked_sub(1)?))));
        let mut last = match base {
            Some((base, end)) => self.index.child(num, base.parent, &base.name, end)?,
            None => None,
        };
        let mut what = Some(what);
        let rows = self.entry(stay.parent, &stay.name)?;
        let first = rows.partition_point(|row| row.to.is_some_and(|to| to <= stay.from));
        for row in rows.iter().skip(first) {
            let Some((from, to)) = overlap((row.from, row.to), (stay.from, stay.to)) else { break };
            if row.node != stay.node {
                continue;
            }
            let bits = match &last {
                Some(before) => compare(self.index, before, row)?,
                None => Bits::default(),
            };
            let (from, to) = (self.snapshot(from)?, to.map(|to| self.snapshot(to)).transpose()?);
            let what = what.take().unwrap_or(What::Changed);
            self.out.push(PathVersion { from, to, path: here.path.clone(), row: Some(row.clone()), what, bits });
            last = Some(row.clone());
        }
        Ok(())
    }

    /// Says where the node of a position went at its end, if it has one, and until when nothing was there then.
    fn end(&mut self, here: &Position, until: Option<Snap>) -> Result<(), IndexError> {
        let Some(end) = here.stay.to else { return Ok(()) };
        if !self.ended.insert((here.path.clone(), end)) {
            return Ok(());
        }
        let what = match partner(&self.of(here.stay.node)?, here, end) {
            Some(next) => What::Left { to: next.path.clone() },
            None => What::Removed,
        };
        let (from, to) = (self.snapshot(end)?, until.map(|to| self.snapshot(to)).transpose()?);
        self.out.push(PathVersion { from, to, path: here.path.clone(), row: None, what, bits: Bits::default() });
        Ok(())
    }

    /// What stood last at the path of a position before it.
    fn before(&mut self, here: &Position) -> Result<Option<Position>, IndexError> {
        let stands = self.stands(&here.path)?;
        let later = stands.partition_point(|s| s.from < here.stay.from);
        let last = later.checked_sub(1).and_then(|n| stands.get(n));
        last.map(|stand| self.position(&here.path, stand)).transpose()
    }

    /// The whole position that a stand is a part of, its path as positions spell it.
    fn position(&mut self, path: &[u8], stand: &Stay) -> Result<Position, IndexError> {
        let all = self.of(stand.node)?;
        let found = all.iter().find(|p| is_part(p, stand)).cloned();
        Ok(found.unwrap_or_else(|| Position { path: path.to_vec(), stay: stand.clone() }))
    }

    fn of(&mut self, node: Node) -> Result<Rc<[Position]>, IndexError> {
        if let Some(known) = self.nodes.get(&node) {
            return Ok(known.clone());
        }
        let found: Rc<[Position]> = self.positions.of(node)?.into();
        self.nodes.insert(node, found.clone());
        Ok(found)
    }

    fn stands(&mut self, path: &[u8]) -> Result<Rc<[Stay]>, IndexError> {
        if let Some(known) = self.stands.get(path) {
            return Ok(known.clone());
        }
        let found: Rc<[Stay]> = self.positions.at(path)?.into();
        self.stands.insert(path.to_vec(), found.clone());
        Ok(found)
    }

    fn entry(&mut self, parent: Node, name: &[u8]) -> Result<Rc<[Row]>, IndexError> {
        let key = (parent, name.to_vec());
        if let Some(known) = self.rows.get(&key) {
            return Ok(known.clone());
        }
        let found: Rc<[Row]> = self.index.entry_history(self.source.num, parent, name)?.into();
        self.rows.insert(key, found.clone());
        Ok(found)
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
