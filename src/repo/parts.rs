//! The parts of a record on their way into segments: what is in memory is one part and one segment.

use crate::chunk::compress::Compressor;
use crate::repo::{
    attach::Attached,
    error::RepoError,
    names::{Epoch, Segment},
    record::{Closing, Layout, Opening, Place, RecordHasher, begin_part, end_part},
    segment::SegmentBuilder,
};
use crate::types::{
    ids::{Hash, Snap},
    op::Op,
};

/// A part is closed when its operations measure this many bytes.
const PART_TARGET: usize = 512 << 10;
/// A segment is put into the store when it measures this many bytes, also in the middle of a record.
const SEGMENT_TARGET: usize = 16 << 20;

/// Writes one record into the journal.
pub(super) struct PartWriter<'a> {
    at: &'a Attached,
    epoch: &'a Epoch,
    seq: &'a mut u64,
    number: Snap,
    opening: Opening,
    compressor: Compressor,
    segment: Option<SegmentBuilder>,
    ops: Vec<u8>,
    part: u64,
    hasher: RecordHasher,
}

impl<'a> PartWriter<'a> {
    /// The record of a snapshot; `seq` is the number of the next segment of `epoch`.
    pub(super) fn new(
        at: &'a Attached,
        (epoch, seq): (&'a Epoch, &'a mut u64),
        number: Snap,
        opening: Opening,
    ) -> Result<PartWriter<'a>, RepoError> {
        let compressor = Compressor::new(3).map_err(|source| RepoError::State {
            doing: "set up compression for",
            path: "the journal".into(),
            source,
        })?;
        Ok(PartWriter {
            at,
            epoch,
            seq,
            number,
            opening,
            compressor,
            segment: None,
            ops: Vec::new(),
            part: 0,
            hasher: RecordHasher::default(),
        })
    }

    /// What part 0 states.
    pub(super) fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.part == 0 && self.ops.is_empty()
    }

    /// Writes an operation.
    pub(super) fn op(&mut self, op: &Op) -> Result<(), RepoError> {
        op.encode(&mut self.ops);
        if self.ops.len() >= PART_TARGET { self.close_part(None) } else { Ok(()) }
    }

    /// Ends the record: it is durable. Gives its hash, the name of its last segment, and that segment's number.
    pub(super) fn finish(mut self, closing: &Closing) -> Result<(Hash, String, u64), RepoError> {
        self.close_part(Some(closing))?;
        let (name, seq) = (self.segment_name().name(), *self.seq);
        self.close_segment()?;
        Ok((self.hasher.finish(), name, seq))
    }

    fn close_part(&mut self, closing: Option<&Closing>) -> Result<(), RepoError> {
        let place =
            Place { source: self.opening.source.id, number: self.number, part: self.part, last: closing.is_some() };
        let mut bytes = begin_part(place, (self.part == 0).then_some(&self.opening), Layout::Record);
        bytes.append(&mut self.ops);
        end_part(&mut bytes, closing);
        self.hasher.part(&bytes);
        self.part += 1;
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => SegmentBuilder::new(self.at.repo().keys(), self.segment_name().name())?,
        };
        segment.push(&mut self.compressor, &bytes);
        let full = segment.len() >= SEGMENT_TARGET;
        self.segment = Some(segment);
        if full && closing.is_none() { self.close_segment() } else { Ok(()) }
    }

    fn segment_name(&self) -> Segment {
        Segment { source: self.opening.source.id, epoch: self.epoch.clone(), seq: *self.seq }
    }

    fn close_segment(&mut self) -> Result<(), RepoError> {
        if let Some(segment) = self.segment.take() {
            let (name, bytes) = segment.finish(&mut self.compressor);
            // A number is used once, also when the store fails: what it says of a put that failed may be wrong.
            *self.seq += 1;
            self.at.repo().store().put(&name, &bytes)?;
        }
        Ok(())
    }
}
