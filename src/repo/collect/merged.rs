//! Merged histories: the snapshots of a source up to one of them that are kept, each as what differs from the kept one before it, in
//! few large objects. One takes the place of all segments up to that snapshot, and of the merged history before.
//!
//! Its segments hold merged records. Its head is written last, so a merged history that has one is whole; opened, it is a segment of one
//! item: 1 (the version of this layout); the source's id, number, host and root; the number, hash, time, epoch and segment
//! number of the last snapshot, and the three next numbers of its writer; how many segments there are, and the hash of the last
//! merged record; how many snapshots are kept, and the distance of each number to the one before; how many ranges are lost, and for
//! each its first and last number, the times around it and why; how many runs of the writer it takes the place of, and their epochs.

use crate::chunk::compress::Compressor;
use crate::index::tree::Reader;
use crate::repo::{
    attach::Attached,
    error::{Damage, RepoError},
    names::{Epoch, Merged, Segment},
    open::Repository,
    record::{Closing, Layout, Opening, Place, RecordHasher, begin_part, end_part},
    segment::{self, SEGMENT_MAX, SegmentBuilder},
};
use crate::types::{
    ids::{Hash, Snap, SourceNum},
    op::Op,
    snapshot::{Counters, Head, Lost, Snapshot, Source},
    time::Instant,
    wire::{self, WireError, put_bytes, put_i64, put_u64},
};
use std::collections::HashSet;

/// A part is closed when its operations measure this many bytes.
const PART_TARGET: usize = 512 << 10;
/// A segment is put into the store when it measures this many bytes.
const SEGMENT_TARGET: usize = 16 << 20;

/// What the head of a merged history says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergedHead {
    /// The source.
    pub source: Source,
    /// The last snapshot in it, with the segment that its own record ended in.
    pub upto: Head,
    /// How many segments it has, from number 1 on.
    pub segments: u64,
    /// The hash of its last record.
    pub chain: Hash,
    /// All snapshots up to the last that are kept, in order; the last one is among them.
    pub kept: Vec<Snap>,
    /// What is lost of the time before.
    pub lost: Vec<Lost>,
    /// The runs of the source's writer whose segments it takes the place of, by their epochs.
    pub runs: Vec<String>,
}

impl MergedHead {
    /// Whether it takes the place of a segment: one of a run of the source's own writer, up to the last snapshot.
    pub fn covers(&self, segment: &Segment) -> bool {
        let place = (segment.epoch.as_str(), segment.seq);
        place <= (self.upto.epoch.as_str(), self.upto.seq) && self.runs.iter().any(|run| run == segment.epoch.as_str())
    }

    /// Whether the record of the last snapshot ends in a segment. It stays, since its writer goes on from it.
    pub fn ends_in(&self, segment: &Segment) -> bool {
        (segment.epoch.as_str(), segment.seq) == (self.upto.epoch.as_str(), self.upto.seq)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        let (source, upto) = (&self.source, &self.upto);
        out.extend_from_slice(&source.id.0);
        put_u64(&mut out, u64::from(source.num.0));
        put_bytes(&mut out, source.host.as_bytes());
        put_bytes(&mut out, &source.root);
        put_u64(&mut out, upto.number.0);
        out.extend_from_slice(&upto.hash.0);
        put_i64(&mut out, upto.time.0);
        put_bytes(&mut out, upto.epoch.as_bytes());
        for n in [upto.seq, upto.next.dir, upto.next.other, upto.next.ver, self.segments] {
            put_u64(&mut out, n);
        }
        out.extend_from_slice(&self.chain.0);
        put_u64(&mut out, self.kept.len() as u64);
        let mut before = 0;
        for number in &self.kept {
            put_u64(&mut out, number.0 - before);
            before = number.0;
        }
        put_u64(&mut out, self.lost.len() as u64);
        for lost in &self.lost {
            put_u64(&mut out, lost.first.0);
            put_u64(&mut out, lost.last.0);
            put_i64(&mut out, lost.after.0);
            put_i64(&mut out, lost.before.0);
            put_bytes(&mut out, lost.why.as_bytes());
        }
        put_u64(&mut out, self.runs.len() as u64);
        self.runs.iter().for_each(|run| put_bytes(&mut out, run.as_bytes()));
        out
    }

    fn decode(bytes: &[u8]) -> Result<MergedHead, WireError> {
        let mut r = wire::Reader::new(bytes);
        if r.u8()? != 1 {
            return Err(WireError::Invalid("a layout of heads that this version does not know"));
        }
        let text =
            |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::Invalid("no text"));
        let id = r.id()?;
        let num = r.u64_max(u64::from(SourceNum::MAX), "a source number above 14 bits")? as u16;
        let (host, root) = (text(r.bytes(255)?)?, r.bytes(1 << 20)?.to_vec());
        if num == 0 || root.first() != Some(&b'/') || root.contains(&0) {
            return Err(WireError::Invalid("a source that can't be"));
        }
        let number = Snap(r.u64_max((1 << 47) - 1, "a snapshot number above 47 bits")?);
        let (hash, time, epoch) = (r.hash()?, Instant(r.i64()?), text(r.bytes(16)?)?);
        if Epoch::parse(&epoch).is_none() {
            return Err(WireError::Invalid("an epoch that can't be"));
        }
        let mut n = || r.u64_max(i64::MAX as u64, "a number above 63 bits");
        let (seq, dir, other, ver, segments) = (n()?, n()?, n()?, n()?, n()?);
        let chain = r.hash()?;
        let count = r.u64_max(r.len() as u64, "more snapshots than its bytes can hold")?;
        let (mut kept, mut before) = (Vec::with_capacity(count as usize), 0u64);
        for _ in 0..count {
            let step = r.u64_max(number.0 - before, "a snapshot behind the last")?;
            if step == 0 {
                return Err(WireError::Invalid("a snapshot that is kept twice"));
            }
            before += step;
            kept.push(Snap(before));
        }
        if kept.last() != Some(&number) {
            return Err(WireError::Invalid("a last snapshot that is not kept"));
        }
        let count = r.u64_max((r.len() / 5) as u64, "more ranges than its bytes can hold")?;
        let mut lost = Vec::with_capacity(count as usize);
        for _ in 0..count {
            lost.push(Lost {
                source: SourceNum(num),
                first: Snap(r.u64_max(number.0, "a lost snapshot behind the last")?),
                last: Snap(r.u64_max(number.0, "a lost snapshot behind the last")?),
                after: Instant(r.i64()?),
                before: Instant(r.i64()?),
                why: text(r.bytes(1 << 16)?)?,
            });
        }
        let count = r.u64_max((r.len() / 17) as u64, "more runs than its bytes can hold")?;
        let mut runs = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let run = text(r.bytes(16)?)?;
            runs.push(Epoch::parse(&run).map(|_| run).ok_or(WireError::Invalid("an epoch that can't be"))?);
        }
        if !r.is_empty() {
            return Err(WireError::Invalid("bytes behind its end"));
        }
        let source = Source { id, num: SourceNum(num), host, root };
        let upto = Head { number, hash, time, epoch, seq, next: Counters { dir, other, ver } };
        Ok(MergedHead { source, upto, segments, chain, kept, lost, runs })
    }
}

/// Reads the head of a merged history. Its bytes are checked like those of any object.
pub fn read_head(repo: &Repository, of: &Merged) -> Result<MergedHead, RepoError> {
    let name = Merged { seq: 0, ..of.clone() }.name();
    let bytes = repo.store().get(&name, SEGMENT_MAX)?;
    let damaged = |why: Damage| repo.damaged(&name, "head of a merged history", why);
    let mut found = None;
    segment::read(repo.keys(), &repo.store().location(), &name, &bytes, |item| -> Result<(), RepoError> {
        found = Some(MergedHead::decode(item).map_err(|e| damaged(e.into()))?);
        Ok(())
    })?;
    let head = found.ok_or_else(|| damaged(Damage::other("it is empty")))?;
    if head.source.id != of.source {
        return Err(damaged(Damage::other("it belongs to another source")));
    }
    Ok(head)
}

/// Writes the history of a source up to its newest snapshot in the index as the merged history of a generation, which takes the place of
/// the segments of these runs of its writer. It counts when this returns.
pub fn write(
    at: &Attached,
    reader: &Reader,
    source: &Source,
    generation: &Epoch,
    runs: Vec<String>,
) -> Result<MergedHead, RepoError> {
    let upto = reader.head(source.num)?;
    let snapshots = reader.snapshots(source.num, Instant(i64::MIN), Instant(i64::MAX), usize::MAX >> 1)?;
    let mut writer = Writer::new(at, source, generation)?;
    let (mut before, mut stated) = (None, HashSet::new());
    for snapshot in &snapshots {
        writer.begin(snapshot, before);
        for gap in reader.gaps_of(source.num, snapshot.number)? {
            writer.op(&Op::Gap(gap))?;
        }
        writer.op(&Op::Statement)?;
        let base = before.map(|(number, _)| number);
        reader.statement(source.num, snapshot.number, base, &mut stated, |op| writer.op(op))?;
        writer.finish(snapshot, upto.next)?;
        before = Some((snapshot.number, snapshot.hash));
    }
    let head = MergedHead {
        source: source.clone(),
        upto,
        segments: 0,
        chain: Hash::ZERO,
        kept: snapshots.iter().map(|s| s.number).collect(),
        lost: reader.lost(source.num)?,
        runs,
    };
    writer.close(head)
}

/// Writes merged records one after another.
struct Writer<'a> {
    at: &'a Attached,
    source: &'a Source,
    generation: &'a Epoch,
    compressor: Compressor,
    segment: Option<SegmentBuilder>,
    segments: u64,
    opening: Option<Opening>,
    number: Snap,
    part: u64,
    ops: Vec<u8>,
    hasher: RecordHasher,
    chain: Hash,
}

impl<'a> Writer<'a> {
    fn new(at: &'a Attached, source: &'a Source, generation: &'a Epoch) -> Result<Writer<'a>, RepoError> {
        let compressor = Compressor::new(3).map_err(|source| RepoError::State {
            doing: "set up compression for",
            path: "a merged history".into(),
            source,
        })?;
        Ok(Writer {
            at,
            source,
            generation,
            compressor,
            segment: None,
            segments: 0,
            opening: None,
            number: Snap(0),
            part: 0,
            ops: Vec::new(),
            hasher: RecordHasher::default(),
            chain: Hash::ZERO,
        })
    }

    fn begin(&mut self, snapshot: &Snapshot, base: Option<(Snap, Hash)>) {
        self.opening = Some(Opening {
            previous: self.chain,
            tier: snapshot.tier,
            base,
            restates: false,
            stands_for: Some(snapshot.hash),
            source: self.source.clone(),
        });
        (self.number, self.part, self.hasher) = (snapshot.number, 0, RecordHasher::default());
    }

    fn op(&mut self, op: &Op) -> Result<(), RepoError> {
        op.encode(&mut self.ops);
        if self.ops.len() >= PART_TARGET { self.close_part(None) } else { Ok(()) }
    }

    fn finish(&mut self, snapshot: &Snapshot, next: Counters) -> Result<(), RepoError> {
        self.close_part(Some(&Closing { time: snapshot.time, counts: snapshot.counts, next }))?;
        self.chain = self.hasher.finish();
        Ok(())
    }

    fn close_part(&mut self, closing: Option<&Closing>) -> Result<(), RepoError> {
        let place = Place { source: self.source.id, number: self.number, part: self.part, last: closing.is_some() };
        let mut bytes = begin_part(place, self.opening.take().as_ref(), Layout::Merged);
        bytes.append(&mut self.ops);
        end_part(&mut bytes, closing);
        self.hasher.part(&bytes);
        self.part += 1;
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => {
                self.segments += 1;
                SegmentBuilder::new(self.at.repo().keys(), self.name(self.segments))?
            }
        };
        segment.push(&mut self.compressor, &bytes);
        let full = segment.len() >= SEGMENT_TARGET;
        self.segment = Some(segment);
        if full { self.close_segment() } else { Ok(()) }
    }

    fn name(&self, seq: u64) -> String {
        Merged { source: self.source.id, generation: self.generation.clone(), seq }.name()
    }

    fn close_segment(&mut self) -> Result<(), RepoError> {
        if let Some(segment) = self.segment.take() {
            let (name, bytes) = segment.finish(&mut self.compressor);
            self.at.repo().store().put(&name, &bytes)?;
        }
        Ok(())
    }

    fn close(mut self, head: MergedHead) -> Result<MergedHead, RepoError> {
        self.close_segment()?;
        let head = MergedHead { segments: self.segments, chain: self.chain, ..head };
        let mut segment = SegmentBuilder::new(self.at.repo().keys(), self.name(0))?;
        segment.push(&mut self.compressor, &head.encode());
        let (name, bytes) = segment.finish(&mut self.compressor);
        self.at.repo().store().put(&name, &bytes)?;
        Ok(head)
    }
}
