//! The paths of nodes as of one snapshot.

use crate::index::{
    error::IndexError,
    rows::{key, number},
    tree::Reader,
};
use crate::types::{
    ids::{Node, Snap, SourceNum},
    path,
};
use rusqlite::{OptionalExtension, params};
use std::{collections::HashMap, sync::Arc};

/// How many directories are remembered.
const CACHE: usize = 100_000;
/// No path has more components: a longer chain goes in a circle.
const DEPTH_MAX: usize = 1 << 16;

/// Finds the paths of directories as of one snapshot of a source, and remembers them, within bounds.
pub struct Paths {
    source: SourceNum,
    snap: Snap,
    root: Arc<[u8]>,
    known: HashMap<Node, Option<Arc<[u8]>>>,
}

impl Paths {
    /// For one snapshot; paths begin with `root`.
    pub fn new(source: SourceNum, snap: Snap, root: &[u8]) -> Paths {
        Paths { source, snap, root: root.into(), known: HashMap::new() }
    }

    /// The snapshot.
    pub fn snap(&self) -> Snap {
        self.snap
    }

    /// The path of a directory; `None` where no name led to it from the root.
    pub fn dir(&mut self, index: &Reader, node: Node) -> Result<Option<Arc<[u8]>>, IndexError> {
        let mut below: Vec<(Node, Vec<u8>)> = Vec::new();
        let mut at = node;
        let mut found = loop {
            if at == Node::ABOVE {
                break Some(self.root.clone());
            }
            if let Some(known) = self.known.get(&at) {
                break known.clone();
            }
            if below.len() >= DEPTH_MAX {
                return Err(IndexError::Damaged("a directory lies in itself"));
            }
            match index.place(self.source, at, self.snap)? {
                Some((parent, name)) => {
                    below.push((at, name));
                    at = parent;
                }
                None => {
                    below.push((at, Vec::new()));
                    break None;
                }
            }
        };
        if self.known.len() > CACHE {
            self.known.clear();
        }
        while let Some((node, name)) = below.pop() {
            found = found.map(|dir| path::join(&dir, &name).into());
            self.known.insert(node, found.clone());
        }
        Ok(found)
    }

    /// The path of an entry of a directory; `None` where no name led to the directory.
    pub fn entry(&mut self, index: &Reader, parent: Node, name: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.dir(index, parent)?.map(|dir| path::join(&dir, name)))
    }
}

impl Reader {
    /// One place of a node as of `snap`: directory and name.
    pub fn place(&self, source: SourceNum, node: Node, snap: Snap) -> Result<Option<(Node, Vec<u8>)>, IndexError> {
        const DOING: &str = "find the place of a node";
        let node = key(source, node.0);
        let read = |r: &rusqlite::Row<'_>| Ok((Node(number(r.get(0)?)), r.get_ref(1)?.as_blob()?.to_vec()));
        let current = self
            .stmt("SELECT parent, name FROM cur WHERE node = ?1 AND from_snap <= ?2 LIMIT 1")?
            .query_row(params![node, snap.0 as i64], read)
            .optional()
            .map_err(IndexError::at(DOING))?;
        if current.is_some() {
            return Ok(current);
        }
        self.stmt(
            "SELECT parent, name FROM old WHERE node = ?1 AND to_snap > ?2 AND from_snap <= ?2 ORDER BY to_snap LIMIT 1",
        )?
        .query_row(params![node, snap.0 as i64], read)
        .optional()
        .map_err(IndexError::at(DOING))
    }
}
