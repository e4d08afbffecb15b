//! What an instant shows: for each source of a host its newest snapshot at or before it, at the absolute path of its root.

use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::types::{
    ids::Node,
    path,
    snapshot::{Snapshot, Source},
    time::Instant,
};

/// A source as of an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The source.
    pub source: Source,
    /// Its newest snapshot at or before the instant.
    pub snapshot: Snapshot,
}

/// The tree of a host as of an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The instant.
    pub at: Instant,
    /// The sources that had a snapshot by then, in the order of their paths.
    pub parts: Vec<Part>,
}

/// What stands at a path of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A directory above the roots of sources: it was not captured, it only leads to them.
    Above,
    /// A captured node: the part it belongs to, as an index into [`View::parts`], and its entry.
    Node(usize, Box<Row>),
}

impl View {
    /// The tree of `host` as of `at`. It has no parts where the first snapshot is later.
    pub fn open(index: &Reader, host: &str, at: Instant) -> Result<View, IndexError> {
        let mut parts = Vec::new();
        for source in index.sources()? {
            if source.host == host
                && let Some(snapshot) = index.snapshot_at(source.num, at)?
            {
                parts.push(Part { source, snapshot });
            }
        }
        parts.sort_by(|a, b| a.source.root.cmp(&b.source.root));
        Ok(View { at, parts })
    }

    /// The names in a directory above the roots of sources: the next component on the way to each of them.
    pub fn names_above(&self, dir: &[u8]) -> Vec<Vec<u8>> {
        let depth = path::components(dir).count();
        let mut names: Vec<Vec<u8>> = self
            .parts
            .iter()
            .filter(|p| path::is_within(&p.source.root, if dir.is_empty() { b"/" } else { dir }))
            .filter_map(|p| path::components(&p.source.root).nth(depth).map(<[u8]>::to_vec))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// What stands at an absolute path; `None` where nothing does. `..` is no name here.
    pub fn look_up(&self, index: &Reader, absolute: &[u8]) -> Result<Option<Object>, IndexError> {
        let wanted: Vec<&[u8]> = path::components(absolute).collect();
        for (at, part) in self.parts.iter().enumerate() {
            let root: Vec<&[u8]> = path::components(&part.source.root).collect();
            if let Some(below) = wanted.strip_prefix(root.as_slice()) {
                return Ok(self.descend(index, at, below)?.map(|row| Object::Node(at, Box::new(row))));
            }
            if root.starts_with(&wanted) {
                return Ok(Some(Object::Above));
            }
        }
        Ok(None)
    }

    fn descend(&self, index: &Reader, at: usize, below: &[&[u8]]) -> Result<Option<Row>, IndexError> {
        let Part { source, snapshot } = &self.parts[at];
        let (num, snap) = (source.num, snapshot.number);
        let Some(mut row) = index.child(num, Node::ABOVE, b"", snap)? else { return Ok(None) };
        for name in below {
            if !row.node.is_dir() {
                return Ok(None);
            }
            match index.child(num, row.node, name, snap)? {
                Some(next) => row = next,
                None => return Ok(None),
            }
        }
        Ok(Some(row))
    }
}
