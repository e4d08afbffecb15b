//! One name against what the index knows of it.

use crate::capture::{
    compare::{Verdict, compare, is_moved_node},
    report::CaptureError,
    worker::{Dir, Known, Out, Pending, Shared, Task, Worker, lock},
};
use crate::index::{error::IndexError, rows::Row, tree::Reader};
use crate::sys::{
    btrfs::EMPTY_SUBVOLUME,
    dir,
    stat::{self, Stat},
};
use crate::types::{
    attr::Kind,
    ids::{Node, Snap},
    op::{Entry, Op},
    path,
};
use std::{io, sync::Arc};

impl Worker<'_> {
    /// Looks at one name. Files that must be read are added to `files`, directories to be scanned to `dirs`.
    ///
    /// What is part of a database beside it is captured, or left out, with that.
    pub(super) fn visit(
        &mut self,
        dir: &Arc<Dir>,
        name: &[u8],
        row: Option<Row>,
        deep: bool,
        to: (&mut Vec<Pending>, &mut Vec<Task>),
    ) -> Result<(), CaptureError> {
        if self.is_beside_database(dir, name) { Ok(()) } else { self.visit_itself(dir, name, row, deep, to) }
    }

    /// The same, of this name alone.
    pub(super) fn visit_itself(
        &mut self,
        dir: &Arc<Dir>,
        name: &[u8],
        row: Option<Row>,
        deep: bool,
        (files, dirs): (&mut Vec<Pending>, &mut Vec<Task>),
    ) -> Result<(), CaptureError> {
        let stat = match stat::at(&dir.fd, name) {
            Ok(stat) => stat,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return self.gone(dir, name, row),
            Err(e) => return self.problem(&dir.rel, name, "look at it", &e),
        };
        self.seen += 1;
        let Some(kind) = stat.kind() else {
            return self.problem(&dir.rel, name, "use it", &io::Error::other("its type is unknown"));
        };
        if self.shared.scope.is_own_mount(&stat) {
            // What it hides is still there: it stays as it is known.
            return Ok(());
        }
        // Its own place is asked for: the live one, where a snapshot is looked at.
        let live = Stat { place: self.shared.live(stat.place), ..stat };
        if self.shared.scope.is_never(&live) || self.is_excluded(dir, name, kind) {
            return self.gone(dir, name, row);
        }
        if self.shared.device.is_some() && kind == Kind::Dir && stat.place.ino == EMPTY_SUBVOLUME {
            let why =
                "it is another subvolume, of which a snapshot has nothing: make it a source of its own, and exclude it";
            return self.problem(&dir.rel, name, "capture it", &io::Error::other(why));
        }
        if kind == Kind::Socket {
            self.emit(Out::Socket)?;
            return self.gone(dir, name, row);
        }
        let stat = self.seen_as(dir, name, stat, row.as_ref());
        let row = match row {
            Some(row) => match compare(&row, &stat, self.shared.full) {
                Verdict::Unchanged => {
                    if kind == Kind::Dir && deep {
                        dirs.push(scan(dir, name, row.node, true, deep));
                    }
                    return Ok(());
                }
                Verdict::Look => Some(row),
                Verdict::Replaced => {
                    self.close(dir, name, &row)?;
                    None
                }
            },
            None => None,
        };
        let (known, is_known) = match row {
            Some(row) => (Known::Row(Box::new(row)), true),
            None => match self.identify(dir, name, &stat, kind)? {
                Some(known) => {
                    let is_known = matches!(known, Known::Row(_));
                    (known, is_known)
                }
                None => return Ok(()),
            },
        };
        let node = match &known {
            Known::New(node) => *node,
            Known::Row(row) => row.node,
        };
        let pending = Pending { name: name.to_vec(), stat, known };
        if kind == Kind::File {
            files.push(pending);
            return Ok(());
        }
        let done = self.read(dir, pending)?;
        if kind == Kind::Dir && done && (deep || !is_known) {
            dirs.push(scan(dir, name, node, is_known, true));
        }
        Ok(())
    }

    fn is_excluded(&self, dir: &Dir, name: &[u8], kind: Kind) -> bool {
        self.shared.scope.is_excluded(&path::join(&dir.rel, name), kind == Kind::Dir)
    }

    /// A name that is not there (any more).
    pub(super) fn gone(&mut self, dir: &Dir, name: &[u8], row: Option<Row>) -> Result<(), CaptureError> {
        match row {
            Some(row) => self.close(dir, name, &row),
            None => Ok(()),
        }
    }

    fn close(&mut self, dir: &Dir, name: &[u8], row: &Row) -> Result<(), CaptureError> {
        if row.node.is_dir() {
            lock(&self.shared.removed).push(row.node);
        }
        self.emit(Out::Op(Op::Close { parent: dir.node, name: name.to_vec() }))
    }

    /// What a name is that the index does not know: a known node under another name, or a new one. `None` where nothing is left
    /// to do.
    fn identify(&mut self, dir: &Dir, name: &[u8], stat: &Stat, kind: Kind) -> Result<Option<Known>, CaptureError> {
        if let Some(row) = self.find_moved(stat, kind)? {
            let entry = Entry { parent: dir.node, name: name.to_vec(), node: row.node };
            self.emit(Out::Op(Op::Link(entry)))?;
            let row = Row { parent: dir.node, name: name.to_vec(), ..row };
            return Ok(Some(Known::Row(Box::new(row))));
        }
        let several = kind != Kind::Dir && stat.nlink > 1;
        let node = self.shared.next.node(kind == Kind::Dir);
        if several {
            let first = *lock(&self.shared.links).entry(stat.place).or_insert(node);
            if first != node {
                let entry = Entry { parent: dir.node, name: name.to_vec(), node: first };
                self.emit(Out::Op(Op::Link(entry)))?;
                return Ok(None);
            }
        }
        Ok(Some(Known::New(node)))
    }

    fn find_moved(&mut self, stat: &Stat, kind: Kind) -> Result<Option<Row>, CaptureError> {
        if self.shared.head == Snap(0) {
            return Ok(None);
        }
        let live = Stat { place: self.shared.live(stat.place), ..*stat };
        for row in self.ingest.index().by_inode(self.shared.source, live.place)? {
            if !is_moved_node(&row, &live) || row.node == Node::ROOT {
                continue;
            }
            // The same directory may show twice, where it is bound to another place: only one of them is it.
            if kind == Kind::Dir && (self.is_still_there(&row, stat)? || !lock(&self.shared.moved).insert(row.node)) {
                continue;
            }
            return Ok(Some(row));
        }
        Ok(None)
    }

    fn is_still_there(&self, row: &Row, stat: &Stat) -> Result<bool, CaptureError> {
        let Some(old) = path_of(self.ingest.index(), self.shared, row)? else { return Ok(false) };
        let found = dir::open_parent_beneath(self.shared.root, &old).and_then(|(fd, name)| stat::at(fd, name));
        Ok(found.is_ok_and(|found| found.place == stat.place))
    }
}

/// The path of an entry as the index has it, relative to the root.
pub(super) fn path_of(index: &Reader, shared: &Shared<'_>, row: &Row) -> Result<Option<Vec<u8>>, IndexError> {
    let mut names = vec![row.name.clone()];
    let mut parent = row.parent;
    while parent != Node::ROOT {
        match index.node(shared.source, parent, shared.head)? {
            Some(up) if names.len() < 100_000 => {
                parent = up.parent;
                names.push(up.name);
            }
            _ => return Ok(None),
        }
    }
    names.reverse();
    Ok(Some(names.join(&b'/')))
}

fn scan(dir: &Arc<Dir>, name: &[u8], node: Node, known: bool, deep: bool) -> Task {
    Task::Scan { parent: Some(dir.clone()), name: name.to_vec(), node, known, deep }
}
