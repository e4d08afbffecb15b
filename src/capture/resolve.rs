//! From a plan, which is made of paths, to tasks, which are made of open directories that the index knows.

use crate::capture::{
    compare::is_same_node,
    engine::Plan,
    report::CaptureError,
    scan::{is_gone, is_tagged},
    scope::{CACHEDIR_TAG, Descent},
    visit::path_of,
    worker::{Dir, Shared, Task},
};
use crate::index::{rows::Row, tree::Reader};
use crate::sys::{dir, stat};
use crate::types::{
    ids::{Node, Snap},
    path,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    os::fd::OwnedFd,
    sync::Arc,
};

/// The tasks that a plan comes to.
pub(super) fn resolve(shared: &Shared<'_>, plan: &Plan, index: &Reader) -> Result<Vec<Task>, CaptureError> {
    if plan.subtrees.contains(&Vec::new()) {
        let known = shared.head != Snap(0);
        return Ok(vec![Task::Scan { parent: None, name: Vec::new(), node: Node::ROOT, known, deep: true }]);
    }
    let mut looked = Resolved::default();
    for (dir, names) in &plan.entries {
        looked.names(shared, index, dir, names)?;
    }
    for place in &plan.nodes {
        for row in index.by_inode(shared.source, *place)? {
            looked.name_of(shared, index, &row)?;
        }
    }
    for dir in &plan.dirs {
        looked.scan(shared, index, dir, false)?;
    }
    for dir in &plan.subtrees {
        looked.scan(shared, index, dir, true)?;
    }
    Ok(looked.tasks())
}

/// Directories that are open, and the names in them that are to be looked at.
#[derive(Default)]
struct Resolved {
    dirs: HashMap<Vec<u8>, Option<Arc<Dir>>>,
    names: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, bool>>,
    scans: BTreeMap<Vec<u8>, bool>,
}

impl Resolved {
    /// Names of a directory; and the directory itself, whose times have changed with them.
    fn names(
        &mut self,
        shared: &Shared<'_>,
        index: &Reader,
        dir: &[u8],
        names: &BTreeSet<Vec<u8>>,
    ) -> Result<(), CaptureError> {
        if shared.scope.is_excluded_below(dir, true) {
            return Ok(());
        }
        if shared.scope.cachedir_tag && names.contains(CACHEDIR_TAG) {
            // The tag tells of everything in the directory.
            return self.scan(shared, index, dir, true);
        }
        let (known, next) = self.known_part(shared, index, dir)?;
        // Also where the directory is gone: files in it may go on under names elsewhere.
        if let Some(parent) = directory_at(shared, index, dir)? {
            for name in names {
                self.other_names(shared, index, parent, name)?;
            }
        }
        match next {
            None => {
                for name in names.iter().filter(|name| path::is_name(name)) {
                    self.names.entry(known.clone()).or_default().entry(name.clone()).or_insert(false);
                }
                self.itself(shared, index, dir)
            }
            // The index does not know the directory (yet, or at this place): look at what leads to it, and below.
            Some(name) => {
                *self.names.entry(known).or_default().entry(name).or_insert(true) = true;
                Ok(())
            }
        }
    }

    /// The other names of a node that is changed by one of them: that one may be gone by now, and nothing tells of the others.
    fn other_names(
        &mut self,
        shared: &Shared<'_>,
        index: &Reader,
        parent: Node,
        name: &[u8],
    ) -> Result<(), CaptureError> {
        let row = match index.child(shared.source, parent, name, shared.head)? {
            Some(row) => Some(row),
            // It may have been changed by somebody who has it open still.
            None => index.last_closed(shared.source, parent, name)?,
        };
        let Some(row) = row.filter(|row| row.linked) else { return Ok(()) };
        for other in index.names(shared.source, row.node, shared.head)? {
            self.name_of(shared, index, &other)?;
        }
        Ok(())
    }

    /// A name that the index knows.
    fn name_of(&mut self, shared: &Shared<'_>, index: &Reader, row: &Row) -> Result<(), CaptureError> {
        let Some(rel) = path_of(index, shared, row)? else { return Ok(()) };
        let (dir, name) = split(&rel);
        if self.open(shared, index, dir)?.is_some() {
            self.names.entry(dir.to_vec()).or_default().entry(name.to_vec()).or_insert(false);
        }
        Ok(())
    }

    fn itself(&mut self, shared: &Shared<'_>, index: &Reader, dir: &[u8]) -> Result<(), CaptureError> {
        let Some(at) = dir.iter().rposition(|b| *b == b'/').or(if dir.is_empty() { None } else { Some(0) }) else {
            return Ok(());
        };
        let (parent, name) = if dir[at] == b'/' { (&dir[..at], &dir[at + 1..]) } else { (&dir[..0], dir) };
        let (known, next) = self.known_part(shared, index, parent)?;
        if next.is_none() {
            self.names.entry(known).or_default().entry(name.to_vec()).or_insert(false);
        }
        Ok(())
    }

    fn scan(&mut self, shared: &Shared<'_>, index: &Reader, dir: &[u8], deep: bool) -> Result<(), CaptureError> {
        if shared.scope.is_excluded_below(dir, true) {
            return Ok(());
        }
        let (known, next) = self.known_part(shared, index, dir)?;
        match next {
            None => {
                *self.scans.entry(known).or_default() |= deep;
                self.itself(shared, index, dir)
            }
            Some(name) => {
                *self.names.entry(known).or_default().entry(name).or_insert(true) = true;
                Ok(())
            }
        }
    }

    /// The part of a path that the index knows and that is there, and the first name that is not.
    fn known_part(
        &mut self,
        shared: &Shared<'_>,
        index: &Reader,
        dir: &[u8],
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), CaptureError> {
        let mut known = Vec::new();
        if self.open(shared, index, &known)?.is_none() {
            return Ok((known, None));
        }
        for name in path::components(dir) {
            let below = path::join(&known, name);
            if self.open(shared, index, &below)?.is_none() {
                return Ok((known, Some(name.to_vec())));
            }
            known = below;
        }
        Ok((known, None))
    }

    /// A directory that the index knows, that is the same on disk, and of which everything belongs to the source: where
    /// that is not so, a scan of it tells what is left out.
    fn open(&mut self, shared: &Shared<'_>, index: &Reader, rel: &[u8]) -> Result<Option<Arc<Dir>>, CaptureError> {
        if let Some(found) = self.dirs.get(rel) {
            return Ok(found.clone());
        }
        let found = self.open_known(shared, index, rel)?;
        self.dirs.insert(rel.to_vec(), found.clone());
        Ok(found)
    }

    fn open_known(
        &mut self,
        shared: &Shared<'_>,
        index: &Reader,
        rel: &[u8],
    ) -> Result<Option<Arc<Dir>>, CaptureError> {
        let failed = |source| CaptureError::Root { root: rel.to_vec(), source };
        if rel.is_empty() {
            let fd = shared.root.try_clone().map_err(failed)?;
            let dev = stat::of(&fd).map_err(failed)?.place.dev;
            return Ok(Some(Arc::new(Dir { fd, node: Node::ROOT, rel: Vec::new(), dev })));
        }
        let at = rel.iter().rposition(|b| *b == b'/');
        let (parent, name) = at.map_or((&rel[..0], rel), |at| (&rel[..at], &rel[at + 1..]));
        let Some(parent) = self.open(shared, index, parent)? else { return Ok(None) };
        let Some(row) = index.child(shared.source, parent.node, name, shared.head)? else { return Ok(None) };
        if !row.node.is_dir() {
            return Ok(None);
        }
        let opened = dir::open_at(&parent.fd, name).and_then(|fd| stat::of(&fd).map(|stat| (fd, stat)));
        match opened {
            Ok((fd, stat)) if is_same_node(&row, &stat) && is_whole(shared, &fd, &stat, parent.dev) => {
                Ok(Some(Arc::new(Dir { fd, node: row.node, rel: rel.to_vec(), dev: stat.place.dev })))
            }
            Ok(_) => Ok(None),
            Err(e) if is_gone(&e) => Ok(None),
            // It can't be opened: looking at its name says so.
            Err(_) => Ok(None),
        }
    }

    fn tasks(self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let dir_of = |rel: &[u8]| self.dirs.get(rel).cloned().flatten();
        for (rel, names) in &self.names {
            let names: Vec<_> = match self.scans.get(rel) {
                // The scan looks at all of them.
                Some(_) => names.iter().filter(|(_, deep)| **deep).map(|(n, d)| (n.clone(), *d)).collect(),
                None => names.iter().map(|(n, d)| (n.clone(), *d)).collect(),
            };
            let below_scan = self
                .scans
                .iter()
                .any(|(dir, deep)| *deep && rel != dir && path::is_within(rel, dir) && !dir.is_empty());
            let covered = self.scans.get(rel).is_some_and(|deep| *deep) || below_scan;
            if let Some(dir) = dir_of(rel)
                && !names.is_empty()
                && !covered
            {
                tasks.push(Task::Names { dir, names });
            }
        }
        for (rel, deep) in &self.scans {
            let covered = self.scans.iter().any(|(dir, deep)| *deep && dir != rel && path::is_within(rel, dir));
            if let Some(dir) = dir_of(rel)
                && !covered
            {
                let (parent, name) = split(rel);
                let task = match dir_of(parent) {
                    Some(up) if !rel.is_empty() => {
                        Task::Scan { parent: Some(up), name: name.to_vec(), node: dir.node, known: true, deep: *deep }
                    }
                    _ => Task::Scan { parent: None, name: Vec::new(), node: Node::ROOT, known: true, deep: *deep },
                };
                tasks.push(task);
            }
        }
        tasks
    }
}

/// Whether everything in a directory belongs to the source, as far as no pattern leaves it out. What can't be told will be
/// by looking at its name.
fn is_whole(shared: &Shared<'_>, fd: &OwnedFd, stat: &stat::Stat, parent_dev: u64) -> bool {
    shared.scope.descent(fd, stat, parent_dev).is_ok_and(|descent| descent == Descent::Enter)
        && !(shared.scope.cachedir_tag && is_tagged(fd))
}

/// The directory at a path of the index, whether it is still there or not.
fn directory_at(shared: &Shared<'_>, index: &Reader, rel: &[u8]) -> Result<Option<Node>, CaptureError> {
    let mut node = Node::ROOT;
    for name in path::components(rel) {
        match index.child(shared.source, node, name, shared.head)? {
            Some(row) if row.node.is_dir() => node = row.node,
            _ => return Ok(None),
        }
    }
    Ok(Some(node))
}

fn split(rel: &[u8]) -> (&[u8], &[u8]) {
    match rel.iter().rposition(|b| *b == b'/') {
        Some(at) => (&rel[..at], &rel[at + 1..]),
        None => (&rel[..0], rel),
    }
}
