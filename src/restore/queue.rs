//! What has to be written, in the order of the store: files whose content lies together are written together.

use crate::index::{error::IndexError, rows::Piece, tree::Reader};
use crate::restore::plan::{Action, Plan};
use crate::types::attr::Kind;
use rustix::fd::OwnedFd;
use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// A file above this size is written in parts, by several threads at once.
const SPLIT_BYTES: u64 = 16 << 20;
/// A part of it.
const PART_BYTES: u64 = 8 << 20;
/// What a thread takes at once.
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_FILES: usize = 256;

/// A file that is written in parts.
pub(super) struct Parts {
    /// Its pieces.
    pub(super) pieces: Vec<Piece>,
    /// Parts that are not done yet.
    pub(super) left: AtomicUsize,
    /// Whether one failed: then nothing is put in place.
    pub(super) failed: AtomicBool,
    /// The temporary file, once the first part has made it.
    pub(super) temp: Mutex<Option<Arc<Temp>>>,
}

/// A file under its temporary name.
pub(super) struct Temp {
    pub(super) name: Vec<u8>,
    pub(super) fd: OwnedFd,
}

/// What a job writes.
pub(super) enum Work {
    /// Something without content.
    Empty,
    /// A whole file, by the code of its content.
    Whole(i64),
    /// Some pieces of a large one, and where they begin.
    Part(Arc<Parts>, Range<usize>, u64),
}

/// Something to be written.
pub(super) struct Job {
    /// The file, as an index into [`Plan::files`].
    pub(super) file: usize,
    pub(super) work: Work,
    /// The first chunk: chunks are numbered in the order in which they were stored.
    first: i64,
    bytes: u64,
}

/// Jobs in their order; threads take from the front.
pub(super) struct Queue {
    jobs: Mutex<std::vec::IntoIter<Job>>,
}

impl Queue {
    /// All that the plan creates and replaces.
    pub(super) fn fill(index: &Reader, plan: &Plan) -> Result<Queue, IndexError> {
        let mut jobs = Vec::with_capacity(plan.files.len());
        for (n, file) in plan.files.iter().enumerate() {
            if !matches!(file.action, Action::Create | Action::Replace) {
                continue;
            }
            if file.wanted.attr.kind() != Kind::File || file.wanted.attr.size == 0 {
                jobs.push(Job { file: n, work: Work::Empty, first: 0, bytes: 0 });
                continue;
            }
            let version = index.version(file.source, file.ver)?.ok_or(IndexError::Damaged("a version is missing"))?;
            let whole = |first| Job { file: n, work: Work::Whole(version.content), first, bytes: version.size };
            match version.content {
                code if code & 1 == 1 => jobs.push(whole(code >> 1)),
                code => {
                    let pieces = index.pieces(code)?;
                    match version.size > SPLIT_BYTES {
                        true => split(n, pieces, &mut jobs),
                        false => jobs.push(whole(first_chunk(&pieces))),
                    }
                }
            }
        }
        jobs.sort_by_key(|job| job.first);
        Ok(Queue { jobs: Mutex::new(jobs.into_iter()) })
    }

    /// The next jobs. They end where a frame ends, so that no other thread needs it too.
    pub(super) fn take(&self, index: &Reader) -> Result<Vec<Job>, IndexError> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut batch, mut bytes): (Vec<Job>, u64) = (Vec::new(), 0);
        let mut frame = None;
        while let Some(next) = jobs.as_slice().first() {
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_FILES {
                let last = match frame {
                    Some(frame) => frame,
                    None => frame_of(index, batch.last().map_or(0, |job| job.first))?,
                };
                frame = Some(last);
                if batch.len() >= 8 * BATCH_FILES || last.is_none() || frame_of(index, next.first)? != last {
                    break;
                }
            }
            bytes = bytes.saturating_add(next.bytes);
            batch.extend(jobs.next());
        }
        Ok(batch)
    }
}

fn frame_of(index: &Reader, chunk: i64) -> Result<Option<i64>, IndexError> {
    if chunk == 0 { Ok(None) } else { Ok(Some(index.location(chunk)?.frame)) }
}

fn first_chunk(pieces: &[Piece]) -> i64 {
    let chunk = |piece: &Piece| match piece {
        Piece::Chunk { num, .. } => Some(*num),
        Piece::Hole(_) => None,
    };
    pieces.iter().find_map(chunk).unwrap_or(0)
}

fn split(file: usize, pieces: Vec<Piece>, jobs: &mut Vec<Job>) {
    let mut ranges: Vec<(Range<usize>, u64, u64)> = Vec::new();
    let (mut start, mut begin, mut at, mut data) = (0, 0u64, 0u64, 0u64);
    for (n, piece) in pieces.iter().enumerate() {
        at = at.saturating_add(piece.len());
        data += if matches!(piece, Piece::Chunk { .. }) { piece.len() } else { 0 };
        if data >= PART_BYTES || n + 1 == pieces.len() {
            ranges.push((start..n + 1, begin, data));
            (start, begin, data) = (n + 1, at, 0);
        }
    }
    let parts = Arc::new(Parts {
        left: AtomicUsize::new(ranges.len()),
        failed: AtomicBool::new(false),
        temp: Mutex::new(None),
        pieces,
    });
    for (range, begin, bytes) in ranges {
        let first = first_chunk(&parts.pieces[range.clone()]);
        jobs.push(Job { file, work: Work::Part(parts.clone(), range, begin), first, bytes });
    }
}

impl Parts {
    /// Notes that a part is done; true for the last one.
    pub(super) fn done(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
