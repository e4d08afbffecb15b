//! Writing one record: into the journal and, at the same time, into the index.

use crate::index::{apply::Applying, error::IndexError};
use crate::repo::{
    attach::Attached,
    error::RepoError,
    ingest::{Claim, Claims},
    moment::Sealing,
    names::Epoch,
    parts::PartWriter,
    record::{Closing, Opening},
};
use crate::types::{
    ids::{Id, Node, Snap},
    op::{Content, Entry, Frame, Op, Run, Version},
    snapshot::{Counters, Counts, Head, Lost, Snapshot, Tier},
    time::Time,
};
use std::sync::Arc;

/// A record being written: into the journal and, at the same time, into the index, where it shows when it is durable.
pub struct RecordWriter<'a> {
    pub(super) applying: Applying<'a>,
    pub(super) parts: PartWriter<'a>,
    pub(super) at: &'a Attached,
    pub(super) head: &'a mut Head,
    pub(super) passed: &'a mut Option<Lost>,
    pub(super) epoch: &'a Epoch,
    pub(super) doubtful: &'a mut Option<Sealing>,
    pub(super) number: Snap,
    pub(super) claims: Arc<Claims>,
    pub(super) pack: Option<Id>,
    /// How many chunks this record brought.
    pub(super) chunks: u32,
    /// Versions that name a chunk whose frame another thread has not closed yet.
    pub(super) parked: Vec<Op>,
    /// Links to nodes that are new in this record: those may still be on their way.
    pub(super) links: Vec<Entry>,
    pub(super) counts: Counts,
    pub(super) renames: u64,
}

impl RecordWriter<'_> {
    /// The snapshot's number.
    pub fn number(&self) -> Snap {
        self.number
    }

    /// Takes one operation. Runs are given as [`Run::Known`]; those that this record brought are found here.
    pub fn op(&mut self, op: Op) -> Result<(), RepoError> {
        match op {
            Op::Add(entry, version) => match self.resolve(&version) {
                Some(version) => {
                    self.counts.new += 1;
                    self.put(&Op::Add(entry, version))
                }
                None => self.park(Op::Add(entry, version)),
            },
            Op::Set(entry, version) => match self.resolve(&version) {
                Some(version) => {
                    self.counts.changed += 1;
                    self.put(&Op::Set(entry, version))
                }
                None => self.park(Op::Set(entry, version)),
            },
            Op::Link(entry) if self.is_new(entry.node) => {
                self.links.push(entry);
                Ok(())
            }
            Op::Link(entry) => {
                self.renames += 1;
                self.put(&Op::Link(entry))
            }
            Op::Close { .. } => {
                self.counts.removed += 1;
                self.put(&op)
            }
            op => self.put(&op),
        }
    }

    fn park(&mut self, op: Op) -> Result<(), RepoError> {
        self.parked.push(op);
        Ok(())
    }

    /// Takes a frame that was closed.
    pub fn frame(&mut self, (pack, frame): (Id, Frame)) -> Result<(), RepoError> {
        if self.pack != Some(pack) {
            self.pack = Some(pack);
            self.put(&Op::Pack(pack))?;
        }
        for (hash, _) in &frame.chunks {
            self.claims.number(hash, self.chunks);
            self.chunks += 1;
        }
        self.put(&Op::Frame(frame))
    }

    /// Notes that a node was seen unchanged with other times of its inode. Not part of the record.
    pub fn seen(&mut self, parent: Node, name: &[u8], dev: u64, ino: u64, seen: Time) -> Result<(), RepoError> {
        Ok(self.applying.seen(parent, name, dev, ino, seen)?)
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.parked.is_empty() && self.links.is_empty()
    }

    /// Ends without a record: only what [`RecordWriter::seen`] noted is kept.
    pub fn discard(self) -> Result<(), RepoError> {
        Ok(self.applying.commit_seen()?)
    }

    /// Seals the record: after this the snapshot is durable and shows. All packs that it names must be durable.
    pub fn finish(mut self, next: Counters, counts: Counts) -> Result<Snapshot, RepoError> {
        for op in std::mem::take(&mut self.parked) {
            self.op(op)?;
        }
        if let Some(op) = self.parked.first() {
            let why = IndexError::Contradiction(format!("a chunk was claimed and never stored: {op:?}"));
            return Err(why.into());
        }
        for entry in std::mem::take(&mut self.links) {
            // The first name may have been unreadable, and has been reported: so is the second.
            if self.applying.has_node(entry.node)? {
                self.counts.new += 1;
                self.put(&Op::Link(entry))?;
            }
        }
        let counts = Counts {
            new: self.counts.new,
            changed: self.counts.changed + self.renames,
            removed: self.counts.removed.saturating_sub(self.renames),
            ..counts
        };
        self.state()?;
        let sealing = self.at.moment().seal(self.head.time)?;
        let time = sealing.time;
        *self.doubtful = Some(sealing);
        let Opening { tier, source, .. } = self.parts.opening();
        let (tier, source) = (*tier, source.num);
        let (hash, segment, seq) = self.parts.finish(&Closing { time, counts, next })?;
        let head = Head { number: self.number, hash, time, epoch: self.epoch.as_str().to_owned(), seq, next };
        let snapshot = Snapshot { source, number: self.number, time, tier, hash, counts };
        if let Some(lost) = &*self.passed {
            self.applying.lose(&Lost { before: time, ..lost.clone() })?;
        }
        self.applying.commit(&snapshot, &segment, &head)?;
        (*self.head, *self.passed) = (head, None);
        self.doubtful.take().map_or(Ok(()), |sealing| self.at.moment().release(sealing))?;
        Ok(snapshot)
    }

    /// States the tree where the tier asks for it. What the first record of a source says to have changed is its tree.
    fn state(&mut self) -> Result<(), RepoError> {
        let opening = self.parts.opening();
        let base = opening.base.map(|(number, _)| number);
        if opening.tier == Tier::Incremental || self.number == Snap(1) {
            return Ok(());
        }
        let parts = &mut self.parts;
        parts.op(&Op::Statement)?;
        self.applying.statement(base, |op| parts.op(op))
    }

    fn is_new(&self, node: Node) -> bool {
        let next = &self.head.next;
        node.serial() >= if node.is_dir() { next.dir } else { next.other }
    }

    /// The version with the chunks of this record by their numbers; `None` while one of them is in no frame yet.
    fn resolve(&self, version: &Version) -> Option<Version> {
        let mut version = version.clone();
        if let Content::Runs(runs) = &mut version.content {
            for run in runs {
                if let Run::Known(hash) = run {
                    match self.claims.of(hash) {
                        Claim::Numbered(n) => *run = Run::New(n),
                        Claim::Pending => return None,
                        Claim::None => {}
                    }
                }
            }
        }
        Some(version)
    }

    fn put(&mut self, op: &Op) -> Result<(), RepoError> {
        self.parts.op(op)?;
        Ok(self.applying.op(op)?)
    }
}
