//! Reading a node, and stating what is new about it.

use crate::capture::{
    compare::{Verdict, compare, same_attr},
    copy::{Copied, Fuzzy, known_runs, shorten},
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

/// What of a node is new.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum New {
    Nothing,
    Attributes,
    Content,
}

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
        let full_path = || path::join(&dir.rel, &name);
        let fuzzy = copied.fuzzy.clone().map(|why| (full_path(), why));
        let unexplained = self.shared.full && is_unexplained(&known, &copied);
        let path = unexplained.then(full_path);
        self.read_bytes += copied.read_bytes;
        self.shared.progress.add(1, copied.read_bytes);
        let new = self.state(dir.node, name, copied, known)?;
        if let Some(path) = path.filter(|_| new == New::Content) {
            self.emit(Out::Altered(path))?;
        }
        if let Some((path, why)) = fuzzy.filter(|_| new != New::Nothing) {
            self.emit(Out::Fuzzy(path, why))?;
        }
        Ok(true)
    }

    /// States what was read, as far as it is new.
    pub(super) fn state(
        &mut self,
        parent: Node,
        name: Vec<u8>,
        copied: Copied,
        known: Known,
    ) -> Result<New, CaptureError> {
        let stands = matches!(copied.fuzzy, Some(Fuzzy::NoImage(_))) && !copied.racy;
        let seen = Out::Seen {
            parent,
            name: name.clone(),
            place: self.shared.live(copied.stat.place),
            seen: copied.stat.ctime,
        };
        let version = |worker: &Worker<'_>, copied: Copied, content| Version {
            ver: worker.shared.next.ver(),
            place: worker.shared.live(copied.stat.place),
            attr: copied.attr,
            content,
            fuzzy: copied.fuzzy.is_some(),
            racy: copied.racy,
        };
        match known {
            Known::New(node) => {
                let mut copied = copied;
                let content = std::mem::replace(&mut copied.content, Content::None);
                let op = Op::Add(Entry { parent, name, node }, version(self, copied, content));
                self.hold(op)?;
                self.noted.extend(stands.then_some(seen));
                Ok(New::Content)
            }
            Known::Row(row) => {
                let mut copied = copied;
                let content = self.new_content(&row, std::mem::replace(&mut copied.content, Content::None))?;
                let index = self.ingest.index();
                let mut before = row.attr.clone();
                before.xattrs = index.xattrs(row.xattr)?;
                if content == Content::Same && same_attr(&before, &copied.attr) && row.fuzzy == copied.fuzzy.is_some() {
                    let (place, ctime) = (self.shared.live(copied.stat.place), copied.stat.ctime);
                    let held_still = !copied.racy && copied.fuzzy != Some(Fuzzy::Changed);
                    if held_still && (row.seen != Some(ctime) || row.place != place) {
                        self.emit(seen)?;
                    }
                    return Ok(New::Nothing);
                }
                let new = if content == Content::Same { New::Attributes } else { New::Content };
                let op = Op::Set(Entry { parent, name, node: row.node }, version(self, copied, content));
                self.hold(op)?;
                self.noted.extend(stands.then_some(seen));
                Ok(new)
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
            row.attr.kind() == Kind::File
                && copied.fuzzy.is_none()
                && compare(row, &copied.stat, false) == Verdict::Unchanged
        }
        Known::New(_) => false,
    }
}
