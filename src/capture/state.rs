//! Reading a node, and stating what is new about it.

use crate::capture::{
    compare::{Verdict, compare, same_attr},
    copy::{Copied, known_runs, shorten},
    database::CopyError,
    report::CaptureError,
    worker::{Dir, Known, Out, Pending, Worker, lock},
};
use crate::index::rows::Row;
use crate::sys::clock;
use crate::types::{
    attr::Kind,
    ids::Node,
    op::{Content, Entry, Op, Version},
    path,
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// Files above this size are told to the budget.
const LARGE_BYTES: u64 = 1 << 20;

impl Worker<'_> {
    /// Reads one node and states what is new about it. False where it could not be read.
    pub(super) fn read(&mut self, dir: &Arc<Dir>, pending: Pending) -> Result<bool, CaptureError> {
        if self.shared.stop.load(Ordering::Relaxed) {
            return Err(CaptureError::Stopped);
        }
        let Pending { name, stat, known } = pending;
        // Whether it has another name is not known beforehand: it may have got one since the last snapshot.
        if let Known::Row(row) = &known
            && !row.node.is_dir()
            && !lock(&self.shared.looked).insert(row.node)
        {
            return Ok(true);
        }
        let start = clock::now();
        let copied = match self.copy(dir, &name, &stat) {
            Ok(copied) => copied,
            Err(CopyError::Capture(e)) => return Err(e),
            Err(CopyError::Read(_)) if self.shared.stop.load(Ordering::Relaxed) => return Err(CaptureError::Stopped),
            Err(CopyError::Read(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(CopyError::Read(e)) => {
                self.problem(&dir.rel, &name, "read it", &e)?;
                return Ok(false);
            }
        };
        if copied.read_bytes > LARGE_BYTES {
            let ns = clock::now().0 - start.0;
            let path = path::join(&dir.rel, &name);
            self.emit(Out::Large { path, bytes: copied.read_bytes, ns })?;
        }
        if copied.fuzzy {
            self.emit(Out::Fuzzy(path::join(&dir.rel, &name)))?;
        }
        let unexplained = self.shared.full && is_unexplained(&known, &copied);
        let path = unexplained.then(|| path::join(&dir.rel, &name));
        self.read_bytes += copied.read_bytes;
        self.shared.progress.add(1, copied.read_bytes);
        let changed = self.state(dir.node, name, copied, known)?;
        if let Some(path) = path.filter(|_| changed) {
            self.emit(Out::Altered(path))?;
        }
        Ok(true)
    }

    /// States what was read. Whether its content is new.
    pub(super) fn state(
        &mut self,
        parent: Node,
        name: Vec<u8>,
        copied: Copied,
        known: Known,
    ) -> Result<bool, CaptureError> {
        let version = |worker: &Worker<'_>, copied: Copied, content| Version {
            ver: worker.shared.next.ver(),
            place: worker.shared.live(copied.stat.place),
            attr: copied.attr,
            content,
            fuzzy: copied.fuzzy,
            racy: copied.racy,
        };
        match known {
            Known::New(node) => {
                let mut copied = copied;
                let content = std::mem::replace(&mut copied.content, Content::None);
                let op = Op::Add(Entry { parent, name, node }, version(self, copied, content));
                self.hold(op).map(|()| true)
            }
            Known::Row(row) => {
                let mut copied = copied;
                let content = self.new_content(&row, std::mem::replace(&mut copied.content, Content::None))?;
                let index = self.ingest.index();
                let mut before = row.attr.clone();
                before.xattrs = index.xattrs(row.xattr)?;
                if content == Content::Same && same_attr(&before, &copied.attr) && row.fuzzy == copied.fuzzy {
                    let (place, seen) = (self.shared.live(copied.stat.place), copied.stat.ctime);
                    if !copied.racy && (row.seen != Some(seen) || row.place != place) {
                        self.emit(Out::Seen { parent, name, place, seen })?;
                    }
                    return Ok(false);
                }
                let is_new = content != Content::Same;
                let op = Op::Set(Entry { parent, name, node: row.node }, version(self, copied, content));
                self.hold(op).map(|()| is_new)
            }
        }
    }

    /// The content against that of the version before: the same, or new runs.
    fn new_content(&self, row: &Row, content: Content) -> Result<Content, CaptureError> {
        let index = self.ingest.index();
        match content {
            Content::Runs(runs) => {
                let before = known_runs(index, row)?;
                if runs.len() == before.len() && runs.iter().zip(&before).all(|(a, (b, _))| a == b) {
                    return Ok(Content::Same);
                }
                Ok(Content::Runs(shorten(runs, &before)))
            }
            Content::Target(target) => {
                let version = index.version(row.source, row.ver)?;
                let same = version.is_some_and(|v| index.target(v.content).is_ok_and(|t| t == target));
                Ok(if same { Content::Same } else { Content::Target(target) })
            }
            Content::None => {
                // An empty file may have had content; nothing else has any.
                let had = row.attr.kind() == Kind::File && row.attr.size > 0;
                Ok(if had { Content::None } else { Content::Same })
            }
            Content::Same => Ok(Content::Same),
        }
    }

    /// Hands on a version when its content is in frames, and holds it until then.
    fn hold(&mut self, op: Op) -> Result<(), CaptureError> {
        self.held.push(op);
        for framed in self.ingest.take_framed() {
            self.emit(Out::Framed(framed))?;
        }
        if self.ingest.is_settled() {
            for op in std::mem::take(&mut self.held) {
                self.emit(Out::Op(op))?;
            }
        }
        Ok(())
    }
}

/// Whether nothing but its bytes could tell that a file has changed: its times, its size and its inode are as they were.
fn is_unexplained(known: &Known, copied: &Copied) -> bool {
    match known {
        Known::Row(row) => {
            row.attr.kind() == Kind::File && !copied.fuzzy && compare(row, &copied.stat, false) == Verdict::Unchanged
        }
        Known::New(_) => false,
    }
}
