//! What an instant shows: for each source of a host its newest snapshot at or before it, at the absolute path of its root.

use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::types::{
    ids::Node,
    path,
    snapshot::{Lost, Snapshot, Source},
    time::Instant,
};
use crate::view::whose::Whose;

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
    /// The sources that can't be shown: which snapshot the instant falls on is not known, because records are lost.
    pub lost: Vec<(Source, Lost)>,
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
        View::of(index, &Whose::named(host), at)
    }

    /// The tree of a history as of `at`. It has no parts where the first snapshot is later.
    pub fn of(index: &Reader, whose: &Whose, at: Instant) -> Result<View, IndexError> {
        let mut parts: Vec<Part> = Vec::new();
        let mut lost: Vec<(Source, Lost)> = Vec::new();
        for line in whose.lines(index)? {
            let root = &line.source.root;
            if parts.iter().any(|p| p.source.root == *root) || lost.iter().any(|(s, _)| s.root == *root) {
                continue;
            }
            if let Some(what) = index.lost_at(line.source.num, line.cut(at))? {
                lost.push((line.source, what));
            } else if let Some(snapshot) = line.snapshot_at(index, at)? {
                parts.push(Part { source: line.source, snapshot });
            }
        }
        parts.sort_by(|a, b| a.source.root.cmp(&b.source.root));
        Ok(View { at, parts, lost })
    }

    /// An error where what stands at or below a path can't be shown.
    pub fn check(&self, absolute: &[u8]) -> Result<(), IndexError> {
        self.check_if(|root| path::is_within(absolute, root) || path::is_within(root, absolute))
    }

    fn check_if(&self, concerned: impl Fn(&[u8]) -> bool) -> Result<(), IndexError> {
        match self.lost.iter().find(|(source, _)| concerned(&source.root)) {
            Some((source, lost)) => Err(IndexError::Lost {
                root: path::show(&source.root),
                first: lost.first,
                last: lost.last,
                why: lost.why.clone(),
            }),
            None => Ok(()),
        }
    }

    /// The roots of all sources, also of those that can't be shown.
    fn roots(&self) -> impl Iterator<Item = &[u8]> {
        let shown = self.parts.iter().map(|part| part.source.root.as_slice());
        shown.chain(self.lost.iter().map(|(source, _)| source.root.as_slice()))
    }

    /// The parts that hold what stands at or below a path.
    pub fn parts_at<'a>(&'a self, absolute: &[u8]) -> Vec<&'a Part> {
        match self.parts.iter().find(|part| path::is_within(absolute, &part.source.root)) {
            Some(part) => vec![part],
            None => self.parts.iter().filter(|part| path::is_within(&part.source.root, absolute)).collect(),
        }
    }

    /// Whether a path leads to the root of a source without being one.
    pub fn is_above(&self, absolute: &[u8]) -> bool {
        self.roots().any(|root| root != absolute && path::is_within(root, absolute))
    }

    /// An error where a path lies in a source that can't be shown.
    pub fn check_place(&self, absolute: &[u8]) -> Result<(), IndexError> {
        self.check_if(|root| path::is_within(absolute, root))
    }

    /// The names in a directory above the roots of sources: the next component on the way to each of them.
    pub fn names_above(&self, dir: &[u8]) -> Vec<Vec<u8>> {
        let depth = path::components(dir).count();
        let mut names: Vec<Vec<u8>> = self
            .roots()
            .filter(|root| path::is_within(root, if dir.is_empty() { b"/" } else { dir }))
            .filter_map(|root| path::components(root).nth(depth).map(<[u8]>::to_vec))
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
        self.check_place(absolute)?;
        Ok(self.is_above(absolute).then_some(Object::Above))
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
