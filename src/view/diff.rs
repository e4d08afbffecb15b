//! What led from one view to another, from the index alone.

use crate::index::{error::IndexError, paths::Paths, rows::Row, tree::Reader};
use crate::types::{
    ids::{Node, Snap},
    path,
    snapshot::Source,
};
use crate::view::{
    compare::{Bits, compare},
    instant::{Part, View},
};
use std::{collections::BTreeSet, ops::ControlFlow};

/// Up to so many touched entries are put in the order of paths before the first is given.
const SORTED_MAX: usize = 1_200;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It is not there any more.
    Removed,
    /// It is new.
    Added,
    /// The node had another name before.
    Renamed,
    /// It changed, or another node of the same type is in its place.
    Modified,
    /// A node of another type is in its place.
    Type,
}

/// A difference between two views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// The path: in the second view, or in the first where it is removed.
    pub path: Vec<u8>,
    /// The path in the first view, where that is another one.
    pub old_path: Option<Vec<u8>>,
    /// What differs.
    pub bits: Bits,
    /// The entry in the first view.
    pub before: Option<Row>,
    /// The entry in the second view.
    pub after: Option<Row>,
}

impl Change {
    /// Whether another node stands there.
    pub fn is_replaced(&self) -> bool {
        self.before.as_ref().zip(self.after.as_ref()).is_some_and(|(before, after)| before.node != after.node)
    }
}

/// Gives all differences between the views `a` and `b` of one host at or below `within`; stops when told to.
///
/// The cost is that of what changed between them; a source that only one of them has costs its size. `b` may be the older one. Few
/// changes come in the order of paths, many in the order in which they were captured; sources one after another.
pub fn diff<E: From<IndexError>>(
    index: &Reader,
    a: &View,
    b: &View,
    within: &[u8],
    mut each: impl FnMut(Change) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    a.check(within)?;
    b.check(within)?;
    let part = |view: &View, source: &Source| view.parts.iter().find(|p| p.source.num == source.num).cloned();
    let mut sources: Vec<&Source> = a.parts.iter().chain(&b.parts).map(|p| &p.source).collect();
    sources.sort_by(|x, y| (&x.root, x.num).cmp(&(&y.root, y.num)));
    sources.dedup_by_key(|s| s.num);
    for source in sources {
        if !path::is_within(within, &source.root) && !path::is_within(&source.root, within) {
            continue;
        }
        let flow = match (part(a, source), part(b, source)) {
            (Some(x), Some(y)) if x.snapshot.number == y.snapshot.number => ControlFlow::Continue(()),
            (Some(x), Some(y)) => {
                Compare::new(index, source, x.snapshot.number, y.snapshot.number, within).run(&mut each)?
            }
            (Some(only), None) => whole(index, &only, ChangeKind::Removed, within, &mut each)?,
            (None, Some(only)) => whole(index, &only, ChangeKind::Added, within, &mut each)?,
            (None, None) => ControlFlow::Continue(()),
        };
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// Everything of a source that only one view has, in the order of paths.
fn whole<E: From<IndexError>>(
    index: &Reader,
    part: &Part,
    kind: ChangeKind,
    within: &[u8],
    each: &mut impl FnMut(Change) -> Result<ControlFlow<()>, E>,
) -> Result<ControlFlow<()>, E> {
    let (num, snap) = (part.source.num, part.snapshot.number);
    let mut open: Vec<(Vec<u8>, Row)> =
        index.child(num, Node::ABOVE, b"", snap)?.map(|row| (part.source.root.clone(), row)).into_iter().collect();
    while let Some((at, row)) = open.pop() {
        if !path::is_within(&at, within) && !path::is_within(within, &at) {
            continue;
        }
        if row.node.is_dir() {
            let below = index.children(num, row.node, snap)?;
            open.extend(below.into_iter().rev().map(|row| (path::join(&at, &row.name), row)));
        }
        if path::is_within(&at, within) {
            let (before, after) = if kind == ChangeKind::Removed { (Some(row), None) } else { (None, Some(row)) };
            let change = Change { kind, path: at, old_path: None, bits: Bits::default(), before, after };
            if each(change)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The order of paths: a directory is followed by what is in it.
fn order(path: &[u8]) -> impl Iterator<Item = u8> {
    path.iter().map(|b| if *b == b'/' { 0 } else { *b })
}

/// An entry in one of the two snapshots.
#[derive(Clone)]
struct Side {
    path: Vec<u8>,
    row: Row,
}

/// Two snapshots of one source being compared.
struct Compare<'a> {
    index: &'a Reader,
    source: &'a Source,
    a: Snap,
    b: Snap,
    paths_a: Paths,
    paths_b: Paths,
    within: &'a [u8],
}

impl<'a> Compare<'a> {
    fn new(index: &'a Reader, source: &'a Source, a: Snap, b: Snap, within: &'a [u8]) -> Compare<'a> {
        let paths = |snap| Paths::new(source.num, snap, &source.root);
        Compare { index, source, a, b, paths_a: paths(a), paths_b: paths(b), within }
    }

    fn run<E: From<IndexError>>(
        mut self,
        each: &mut impl FnMut(Change) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let (lo, hi) = (self.a.min(self.b), self.a.max(self.b));
        let mut few = BTreeSet::new();
        let mut count = 0;
        let index = self.index;
        index.touched(self.source.num, lo, hi, |touch| -> Result<_, E> {
            count += 1;
            few.insert((touch.parent, touch.name));
            Ok(if count > SORTED_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if count > SORTED_MAX {
            return self.stream(lo, hi, each);
        }
        let mut changes = Vec::new();
        for (parent, name) in few {
            self.entry(parent, &name, None, &mut changes)?;
        }
        changes.sort_by(|x: &Change, y: &Change| order(&x.path).cmp(order(&y.path)).then(x.kind.cmp(&y.kind)));
        for change in changes {
            if each(change)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Gives changes as they are found: nothing is kept. An entry counts where it was touched first.
    fn stream<E: From<IndexError>>(
        &mut self,
        lo: Snap,
        hi: Snap,
        each: &mut impl FnMut(Change) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let mut flow = ControlFlow::Continue(());
        let mut changes = Vec::new();
        let index = self.index;
        index.touched(self.source.num, lo, hi, |touch| -> Result<_, E> {
            self.entry(touch.parent, &touch.name, Some(touch.snap), &mut changes)?;
            for change in changes.drain(..) {
                if flow.is_continue() {
                    flow = each(change)?;
                }
            }
            Ok(flow)
        })?;
        Ok(flow)
    }

    /// What became of one entry; nothing if another snapshot than `touched` was the first to touch it.
    fn entry(
        &mut self,
        parent: Node,
        name: &[u8],
        touched: Option<Snap>,
        out: &mut Vec<Change>,
    ) -> Result<(), IndexError> {
        let in_a = self.paths_a.entry(self.index, parent, name)?;
        let in_b = self.paths_b.entry(self.index, parent, name)?;
        if !in_a.as_ref().is_some_and(|p| self.matters(p)) && !in_b.as_ref().is_some_and(|p| self.matters(p)) {
            return Ok(());
        }
        let between = (self.a.min(self.b), self.a.max(self.b));
        let ends = self.index.ends(self.source.num, parent, name, between)?;
        if touched.is_some() && ends.touched != touched {
            return Ok(());
        }
        let (x, y) = if self.a < self.b { (ends.lo, ends.hi) } else { (ends.hi, ends.lo) };
        let side = |path: Option<Vec<u8>>, row: Option<Row>| path.zip(row).map(|(path, row)| Side { path, row });
        match (side(in_a, x), side(in_b, y)) {
            (None, None) => Ok(()),
            (Some(x), Some(y)) if x.row.node == y.row.node => self.put(ChangeKind::Modified, Some(x), Some(y), out),
            (x, y) => self.replaced(x, y, out),
        }
    }

    /// Whether a change at a path can be one that was asked for.
    fn matters(&self, path: &[u8]) -> bool {
        path::is_within(path, self.within) || path::is_within(self.within, path)
    }

    fn side(&mut self, parent: Node, name: &[u8], first: bool) -> Result<Option<Side>, IndexError> {
        let (paths, snap) = if first { (&mut self.paths_a, self.a) } else { (&mut self.paths_b, self.b) };
        let Some(row) = self.index.child(self.source.num, parent, name, snap)? else { return Ok(None) };
        let path = paths.entry(self.index, parent, name)?;
        Ok(path.map(|path| Side { path, row }))
    }

    /// What became of a name that led to `x`, if to anything, and leads to `y`: another node.
    fn replaced(&mut self, x: Option<Side>, y: Option<Side>, out: &mut Vec<Change>) -> Result<(), IndexError> {
        let to = self.partner(x.as_ref(), true)?;
        let from = self.partner(y.as_ref(), false)?;
        // Something else is there, if nothing says that by itself: both came from or went to other names.
        if let (Some(x), Some(y), false) = (&x, &y, to.is_some() && from.is_some()) {
            let kind = if x.row.attr.kind() == y.row.attr.kind() { ChangeKind::Modified } else { ChangeKind::Type };
            self.put(kind, Some(x.clone()), Some(y.clone()), out)?;
        }
        let both = x.is_some() && y.is_some();
        match (x, to) {
            (Some(x), None) if !both => self.put(ChangeKind::Removed, Some(x), None, out)?,
            // It is told at its new name, unless that is not asked for.
            (Some(x), Some(to)) if !path::is_within(&to.path, self.within) => {
                self.put(ChangeKind::Renamed, Some(x), Some(to), out)?;
            }
            _ => {}
        }
        match (y, from) {
            (Some(y), None) if !both => self.put(ChangeKind::Added, None, Some(y), out),
            (Some(y), Some(from)) => self.put(ChangeKind::Renamed, Some(from), Some(y), out),
            _ => Ok(()),
        }
    }

    /// The name in the other snapshot that a name which only this one has became, or came from. Of several, the first goes with the
    /// first.
    fn partner(&mut self, of: Option<&Side>, first: bool) -> Result<Option<Side>, IndexError> {
        let Some(side) = of else { return Ok(None) };
        let (here, there) = if first { (self.a, self.b) } else { (self.b, self.a) };
        let names = |snap| -> Result<BTreeSet<(Node, Vec<u8>)>, IndexError> {
            let rows = self.index.names(self.source.num, side.row.node, snap)?;
            Ok(rows.into_iter().map(|row| (row.parent, row.name)).collect())
        };
        let (mine, theirs) = (names(here)?, names(there)?);
        let at = mine.difference(&theirs).position(|(p, n)| *p == side.row.parent && *n == side.row.name);
        let other = at.and_then(|at| theirs.difference(&mine).nth(at));
        match other {
            Some((parent, name)) => self.side(*parent, name, !first),
            None => Ok(None),
        }
    }

    fn put(
        &mut self,
        kind: ChangeKind,
        x: Option<Side>,
        y: Option<Side>,
        out: &mut Vec<Change>,
    ) -> Result<(), IndexError> {
        let wanted = |side: &Option<Side>| {
            side.as_ref().is_some_and(|side| {
                let above = kind != ChangeKind::Modified && path::is_within(self.within, &side.path);
                above || path::is_within(&side.path, self.within)
            })
        };
        if !wanted(&x) && !wanted(&y) {
            return Ok(());
        }
        let bits = match (&x, &y) {
            (Some(x), Some(y)) => compare(self.index, &x.row, &y.row)?,
            _ => Bits::default(),
        };
        // A version that differs in nothing that is compared, such as after a change and its undoing.
        let same_node = x.as_ref().zip(y.as_ref()).is_some_and(|(x, y)| x.row.node == y.row.node);
        if kind == ChangeKind::Modified && same_node && bits.is_empty() {
            return Ok(());
        }
        let (old_path, before) = x.map(|x| (x.path, x.row)).unzip();
        let (path, after) = y.map(|y| (y.path, y.row)).unzip();
        let (path, old_path) = match (path, old_path) {
            (Some(path), old) => (path.clone(), old.filter(|old| *old != path)),
            (None, old) => (old.unwrap_or_default(), None),
        };
        out.push(Change { kind, path, old_path, bits, before, after });
        Ok(())
    }
}

/// As [`diff`] between two snapshots of one source, as if there were too many changes to be sorted.
#[cfg(test)]
pub(super) fn streamed(
    index: &Reader,
    source: &Source,
    (a, b): (Snap, Snap),
    each: &mut impl FnMut(Change) -> Result<ControlFlow<()>, IndexError>,
) -> Result<(), IndexError> {
    Compare::new(index, source, a, b, b"/").stream(a.min(b), a.max(b), each).map(drop)
}
