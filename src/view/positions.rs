//! The paths of nodes through all of history: renames of a node and of the directories above it.

use crate::index::{error::IndexError, history::Stay, tree::Reader};
use crate::types::{
    ids::{Node, Snap},
    path,
    snapshot::Source,
};
use std::{collections::HashMap, sync::Arc};

/// How many stays of directories are remembered.
const CACHE: usize = 400_000;
/// No path has more components: a longer chain goes in a circle.
const DEPTH_MAX: usize = 1 << 16;

/// A time in which a node stood at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The absolute path.
    pub path: Vec<u8>,
    /// The node, its directory and its name there; its times are those of the position.
    pub stay: Stay,
}

/// Finds positions in one source, and remembers where directories stood, within bounds.
pub struct Positions<'a> {
    index: &'a Reader,
    source: &'a Source,
    stays: HashMap<Node, Arc<[Stay]>>,
    held: usize,
}

impl<'a> Positions<'a> {
    /// For one source.
    pub fn new(index: &'a Reader, source: &'a Source) -> Positions<'a> {
        Positions { index, source, stays: HashMap::new(), held: 0 }
    }

    fn stays(&mut self, node: Node) -> Result<Arc<[Stay]>, IndexError> {
        if let Some(known) = self.stays.get(&node) {
            return Ok(known.clone());
        }
        if self.held > CACHE {
            self.stays.clear();
            self.held = 0;
        }
        let found: Arc<[Stay]> = self.index.node_stays(self.source.num, node)?.into();
        self.held += found.len() + 1;
        self.stays.insert(node, found.clone());
        Ok(found)
    }

    /// The path of a directory as of `snap`; `None` where no name led to it from the root.
    pub fn dir_at(&mut self, dir: Node, snap: Snap) -> Result<Option<Vec<u8>>, IndexError> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = dir;
        while at != Node::ABOVE {
            let stays = self.stays(at)?;
            let Some(stay) = stays.iter().find(|s| s.covers(snap)) else { return Ok(None) };
            names.push(stay.name.clone());
            if names.len() > DEPTH_MAX {
                return Err(IndexError::Damaged("a directory lies in itself"));
            }
            at = stay.parent;
        }
        Ok(Some(names.iter().rev().fold(self.source.root.clone(), |dir, name| path::join(&dir, name))))
    }

    /// All positions of a node, oldest first; several at one time for hard links.
    pub fn of(&mut self, node: Node) -> Result<Vec<Position>, IndexError> {
        let mut found = Vec::new();
        for stay in self.index.node_stays(self.source.num, node)? {
            self.paths_of(&stay, &mut found)?;
        }
        found.sort_by(|a, b| (a.stay.from, &a.path).cmp(&(b.stay.from, &b.path)));
        Ok(found)
    }

    /// The paths of a stay: several where a directory above it was renamed meanwhile.
    fn paths_of(&mut self, stay: &Stay, found: &mut Vec<Position>) -> Result<(), IndexError> {
        // A directory may have been above another one and later below it, so this goes by times and not by nodes alone.
        let mut open = vec![(vec![stay.name.clone()], stay.parent, stay.from, stay.to)];
        let first = found.len();
        while let Some((names, at, from, to)) = open.pop() {
            if at == Node::ABOVE {
                let path = names.iter().rev().fold(self.source.root.clone(), |dir, name| path::join(&dir, name));
                found.push(Position { path, stay: Stay { from, to, ..stay.clone() } });
                continue;
            }
            if names.len() > DEPTH_MAX {
                return Err(IndexError::Damaged("a directory lies in itself"));
            }
            for above in self.stays(at)?.iter() {
                if let Some((from, to)) = overlap((from, to), (above.from, above.to)) {
                    let mut names = names.clone();
                    names.push(above.name.clone());
                    open.push((names, above.parent, from, to));
                }
            }
        }
        let mut new = found.split_off(first);
        new.sort_by_key(|p| p.stay.from);
        // Another directory in the place of one above may give the same path again.
        for position in new {
            match found.last_mut() {
                Some(last) if found_again(last, &position) => last.stay.to = position.stay.to,
                _ => found.push(position),
            }
        }
        Ok(())
    }

    /// Everything that ever stood at an absolute path, oldest first.
    pub fn at(&mut self, absolute: &[u8]) -> Result<Vec<Stay>, IndexError> {
        let root: Vec<&[u8]> = path::components(&self.source.root).collect();
        let wanted: Vec<&[u8]> = path::components(absolute).collect();
        let Some(below) = wanted.strip_prefix(root.as_slice()) else { return Ok(Vec::new()) };
        let mut stands = self.index.entry_stays(self.source.num, Node::ABOVE, b"")?;
        for name in below {
            let mut next = Vec::new();
            for dir in stands.iter().filter(|s| s.node.is_dir()) {
                for stay in self.index.entry_stays(self.source.num, dir.node, name)? {
                    if let Some((from, to)) = overlap((dir.from, dir.to), (stay.from, stay.to)) {
                        next.push(Stay { from, to, ..stay });
                    }
                }
            }
            next.sort_by_key(|s| s.from);
            stands = next;
        }
        Ok(stands)
    }
}

fn found_again(last: &Position, next: &Position) -> bool {
    let place = |p: &Position| (p.stay.node, p.stay.parent);
    last.stay.to == Some(next.stay.from)
        && last.path == next.path
        && place(last) == place(next)
        && last.stay.name == next.stay.name
}

/// What two half-open times share; an end of `None` lies behind all.
pub(super) fn overlap(a: (Snap, Option<Snap>), b: (Snap, Option<Snap>)) -> Option<(Snap, Option<Snap>)> {
    let from = a.0.max(b.0);
    let to = match (a.1, b.1) {
        (Some(x), Some(y)) => Some(x.min(y)),
        (x, y) => x.or(y),
    };
    to.is_none_or(|to| from < to).then_some((from, to))
}
