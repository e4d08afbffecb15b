//! A bounded set of dirty paths: entries, directories to list, subtrees to scan.

use std::collections::{BTreeMap, BTreeSet};

use crate::capture::relative::{ancestors, within};
use crate::types::{attr::Place, path::join};

/// Names told apart in one directory; with more, the whole directory is listed.
pub const NAMES_MAX: usize = 4096;

/// Dirty paths, relative to the root. What a subtree covers is in nothing else, and what a listed directory covers is
/// not among the entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Paths {
    /// Names to look at, by directory.
    pub entries: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    /// Directories of which every entry is to be looked at, but not what is below those.
    pub dirs: BTreeSet<Vec<u8>>,
    /// Directories to scan with everything below.
    pub subtrees: BTreeSet<Vec<u8>>,
    /// Nodes of which the names that are known are to be looked at.
    pub nodes: BTreeSet<Place>,
    names: usize,
}

impl Paths {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.names + self.dirs.len() + self.subtrees.len() + self.nodes.len()
    }

    /// Whether looking at these paths looks at entry `name` of `dir`.
    pub fn covers(&self, dir: &[u8], name: &[u8]) -> bool {
        self.in_subtree(dir)
            || (name.is_empty() && self.subtrees.contains(dir))
            || (!name.is_empty() && self.dirs.contains(dir))
            || self.entries.get(dir).is_some_and(|names| names.contains(name))
    }

    /// Whether `dir` is, or lies in, a subtree that is scanned as a whole.
    pub fn in_subtree(&self, dir: &[u8]) -> bool {
        !self.subtrees.is_empty() && ancestors(dir).any(|d| self.subtrees.contains(d))
    }

    /// Adds an entry.
    pub fn add_entry(&mut self, dir: Vec<u8>, name: Vec<u8>) {
        if self.in_subtree(&dir) || (!name.is_empty() && self.dirs.contains(&dir)) {
            return;
        }
        let names = self.entries.entry(dir.clone()).or_default();
        self.names += usize::from(names.insert(name));
        if names.len() > NAMES_MAX {
            self.add_dir(dir);
        }
    }

    /// Adds a directory to list.
    pub fn add_dir(&mut self, dir: Vec<u8>) {
        if self.in_subtree(&dir) {
            return;
        }
        if let Some(names) = self.entries.remove(&dir) {
            self.names -= names.len();
            // The directory's own attributes are not among its entries.
            if names.contains(&b""[..]) {
                self.names += 1;
                self.entries.insert(dir.clone(), BTreeSet::from([Vec::new()]));
            }
        }
        self.dirs.insert(dir);
    }

    /// Adds a subtree to scan.
    pub fn add_subtree(&mut self, dir: Vec<u8>) {
        if self.in_subtree(&dir) {
            return;
        }
        for inner in below(self.entries.range(dir.clone()..).map(|(d, _)| d), &dir) {
            self.names -= self.entries.remove(&inner).map_or(0, |names| names.len());
        }
        for inner in below(self.dirs.range(dir.clone()..), &dir) {
            self.dirs.remove(&inner);
        }
        for inner in below(self.subtrees.range(dir.clone()..), &dir) {
            self.subtrees.remove(&inner);
        }
        if dir.is_empty() {
            self.nodes.clear();
        }
        self.subtrees.insert(dir);
    }

    /// Adds a node; too many of them are a scan of everything.
    pub fn add_node(&mut self, place: Place) {
        if self.subtrees.contains(&Vec::new()) {
            return;
        }
        self.nodes.insert(place);
        if self.nodes.len() > NAMES_MAX {
            self.add_subtree(Vec::new());
        }
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: Paths) {
        other.subtrees.into_iter().for_each(|dir| self.add_subtree(dir));
        other.dirs.into_iter().for_each(|dir| self.add_dir(dir));
        other.nodes.into_iter().for_each(|node| self.add_node(node));
        for (dir, names) in other.entries {
            names.into_iter().for_each(|name| self.add_entry(dir.clone(), name));
        }
    }

    /// What lies below `from`, as it is called when `from` is called `to`.
    pub fn moved(&self, from: &[u8], to: &[u8]) -> Paths {
        let renamed = |dir: &[u8]| join(to, dir[from.len()..].strip_prefix(b"/").unwrap_or_default());
        let mut out = Paths::default();
        for dir in below(self.subtrees.range(from.to_vec()..), from) {
            out.add_subtree(renamed(&dir));
        }
        for dir in below(self.dirs.range(from.to_vec()..), from) {
            out.add_dir(renamed(&dir));
        }
        for dir in below(self.entries.range(from.to_vec()..).map(|(d, _)| d), from) {
            self.entries[&dir].iter().for_each(|name| out.add_entry(renamed(&dir), name.clone()));
        }
        out
    }

    /// Makes fewer, coarser items of these until there are at most `max` (at least 1): the subtree that holds most, as
    /// deep as it can be and still hold a quarter.
    pub fn shrink(&mut self, max: usize) {
        while self.len() > max.max(1) {
            let dir = self.heaviest();
            self.add_subtree(dir);
        }
    }

    fn heaviest(&self) -> Vec<u8> {
        let quarter = self.len() / 4;
        let mut at = Vec::new();
        loop {
            let mut weights: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            let mut weigh = |dir: &Vec<u8>, items: usize| {
                if let Some(child) = child_of(&at, dir) {
                    *weights.entry(child).or_default() += items;
                }
            };
            self.entries.iter().for_each(|(dir, names)| weigh(dir, names.len()));
            self.dirs.iter().chain(&self.subtrees).for_each(|dir| weigh(dir, 1));
            match weights.into_iter().max_by_key(|(_, weight)| *weight) {
                // A subtree of one item would make nothing smaller.
                Some((child, weight)) if weight > quarter && weight > 1 => at = child,
                _ => return at,
            }
        }
    }
}

/// Of sorted paths from `dir` on, `dir` itself and those below it. Others may be sorted in between: `a-b` is before `a/b`.
fn below<'a>(sorted: impl Iterator<Item = &'a Vec<u8>>, dir: &[u8]) -> Vec<Vec<u8>> {
    sorted.take_while(|path| path.starts_with(dir)).filter(|path| within(path, dir)).cloned().collect()
}

/// The directory right below `at` that `path` is or lies in.
fn child_of(at: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    if path.len() <= at.len() || !within(path, at) {
        return None;
    }
    let start = if at.is_empty() { 0 } else { at.len() + 1 };
    let end = path[start..].iter().position(|b| *b == b'/').map_or(path.len(), |slash| start + slash);
    Some(path[..end].to_vec())
}
